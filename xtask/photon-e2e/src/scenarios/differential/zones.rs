//! Random zones that every authoritative server loads, and questions that meet their corners.
//!
//! Names are made of few labels, so that wildcards, empty non-terminals, delegations, aliases and missing names lie
//! close together.

use std::{collections::BTreeMap, fmt::Write as _};

use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};

use crate::dns::Query;

const LABELS: [&str; 6] = ["a", "b", "c", "d", "*", "A"];
const TYPES: [u16; 13] = [1, 2, 5, 6, 12, 15, 16, 28, 33, 39, 43, 257, 65_280];
const OWNERS_MAX: usize = 14;

/// A zone as a zone file.
#[derive(Debug)]
pub(super) struct Zone {
    /// With its final dot.
    pub(super) name: String,
    /// The zone file.
    pub(super) text: String,
    owners: Vec<String>,
}

/// What stands at an owner, which decides what may stand beside and below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Records,
    Alias,
    Redirection,
    Delegation,
}

impl Zone {
    /// Zone number `number`.
    pub(super) fn random(random: &mut StdRng, number: usize) -> Self {
        let name = format!("zone{number}.test.");
        let mut owners: BTreeMap<String, Kind> = BTreeMap::new();
        for _ in 0..random.random_range(3..OWNERS_MAX) {
            let owner = relative(random, 4);
            let kind = kind(random, &owner);
            // `A` and `a` are one name, and nothing may stand below a delegation or a redirection.
            let folded = owner.to_ascii_lowercase();
            let fits =
                owners.iter().all(|(other, there)| apart(&folded, kind, &other.to_ascii_lowercase(), *there));
            if fits {
                owners.insert(owner, kind);
            }
        }
        let mut text = format!(
            "$ORIGIN {name}\n$TTL 300\n@ 3600 IN SOA ns1 hostmaster 1 7200 900 1209600 60\n@ 3600 IN NS ns1\n\
             ns1 3600 IN A 192.0.2.53\n"
        );
        for (owner, kind) in &owners {
            records(random, &mut text, owner, *kind, &owners);
        }
        let owners = owners.into_keys().map(|owner| format!("{owner}.{name}")).collect();
        Self { name, text, owners }
    }

    /// A question about the zone: often about what is there, or just above, below or beside it.
    pub(super) fn question(&self, random: &mut StdRng) -> Query {
        let there = self.owners.choose(random).unwrap_or(&self.name);
        let name = match random.random_range(0..10) {
            0 => self.name.clone(),
            1..5 => there.clone(),
            5 => format!("{}.{there}", LABELS.choose(random).unwrap_or(&"a")),
            6 => there.split_once('.').map_or_else(|| self.name.clone(), |(_, parent)| parent.to_owned()),
            7 => format!("x.{}.{there}", LABELS.choose(random).unwrap_or(&"a")),
            _ => format!("{}.{}", relative(random, 4), self.name),
        };
        let name = if name.ends_with(&self.name) { name } else { self.name.clone() };
        Query::new(&name, *TYPES.choose(random).unwrap_or(&1))
    }
}

fn relative(random: &mut StdRng, depth_max: usize) -> String {
    let depth = random.random_range(1..=depth_max);
    let mut labels: Vec<&str> = (0..depth).map(|_| *LABELS.choose(random).unwrap_or(&"a")).collect();
    // A wildcard is one only as the first label; elsewhere it is a name like any other, but servers warn.
    for label in labels.iter_mut().skip(1) {
        if *label == "*" {
            *label = "d";
        }
    }
    labels.join(".")
}

fn kind(random: &mut StdRng, owner: &str) -> Kind {
    match random.random_range(0..10) {
        0..5 => Kind::Records,
        5..7 => Kind::Alias,
        7 if !owner.starts_with('*') => Kind::Redirection,
        8 | 9 if !owner.starts_with('*') => Kind::Delegation,
        _ => Kind::Records,
    }
}

/// Whether the two owners may stand in one zone.
fn apart(owner: &str, kind: Kind, other: &str, there: Kind) -> bool {
    let below = |upper: &str, lower: &str| lower.ends_with(&format!(".{upper}"));
    let closed = |kind| matches!(kind, Kind::Delegation | Kind::Redirection);
    owner != other && !(closed(kind) && below(owner, other)) && !(closed(there) && below(other, owner))
}

fn records(random: &mut StdRng, text: &mut String, owner: &str, kind: Kind, owners: &BTreeMap<String, Kind>) {
    let mut target = || {
        let known: Vec<&String> = owners.keys().collect();
        match random.random_range(0..4) {
            0 => "elsewhere.example.".to_owned(),
            1 => relative(random, 3),
            _ => known.choose(random).map_or_else(|| "ns1".to_owned(), |name| (*name).clone()),
        }
    };
    let lines = match kind {
        Kind::Alias => vec![format!("CNAME {}", target())],
        Kind::Redirection => vec![format!("DNAME {}", target()), "A 192.0.2.39".to_owned()],
        Kind::Delegation => vec![format!("NS ns.{owner}"), "NS ns.elsewhere.example.".to_owned()],
        Kind::Records => {
            let mx = format!("MX 10 {}", target());
            let srv = format!("SRV 0 5 443 {}", target());
            some_of(
                random,
                &[
                    "A 192.0.2.1",
                    "A 192.0.2.2",
                    "AAAA 2001:db8::1",
                    "TXT \"text\" \"two\"",
                    &mx,
                    &srv,
                    "CAA 0 issue \"ca.example\"",
                    "TYPE65280 \\# 2 abcd",
                ],
            )
        }
    };
    for line in lines {
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "{owner} IN {line}");
    }
    if kind == Kind::Delegation {
        let _infallible = writeln!(text, "ns.{owner} IN A 192.0.2.54");
    }
}

fn some_of(random: &mut StdRng, lines: &[&str]) -> Vec<String> {
    let mut chosen: Vec<_> =
        lines.iter().filter(|_| random.random_ratio(1, 3)).map(|line| (*line).to_owned()).collect();
    if chosen.is_empty() {
        chosen.push("A 192.0.2.3".to_owned());
    }
    chosen
}
