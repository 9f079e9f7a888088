//! The benchmark's zone of about 100,000 records and its query sets, the same at every run.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Result;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

/// The zone's name.
pub(super) const NAME: &str = "bench.test.";
const HOSTS: u32 = 64_000;
const DELEGATIONS: u32 = 1_000;
const QUERIES: usize = 200_000;
const SEED: u64 = 20_260_101;

const HEAD: &str = "$ORIGIN bench.test.
$TTL 300
@ 3600 IN SOA ns1 hostmaster 1 7200 900 1209600 300
@ 3600 IN NS ns1
@ 3600 IN NS ns2
ns1 3600 IN A 192.0.2.1
ns2 3600 IN A 192.0.2.2
ns1 3600 IN AAAA 2001:db8::1
ns2 3600 IN AAAA 2001:db8::2
@ IN A 192.0.2.10
@ IN MX 10 mail
mail IN A 192.0.2.11
*.wild IN A 192.0.2.99
*.wild IN TXT \"wild\"
ent.a.b.c IN A 192.0.2.77
";

/// Owners by what a query about them meets.
#[derive(Default)]
struct Owners {
    address: Vec<String>,
    address6: Vec<String>,
    alias: Vec<String>,
    text: Vec<String>,
    service: Vec<String>,
}

/// Writes `bench.test.zone`, `mix.txt` and `nx.txt` into `folder`; returns the number of records.
///
/// # Errors
/// When the folder cannot be written.
pub(super) fn write(folder: &Path) -> Result<usize> {
    let mut random = StdRng::seed_from_u64(SEED);
    let (zone, owners) = zone(&mut random)?;
    fs::write(folder.join("bench.test.zone"), &zone)?;
    let mix: Vec<_> = (0..QUERIES).map(|_| query(&mut random, &owners)).collect();
    fs::write(folder.join("mix.txt"), mix.join("\n"))?;
    let missing: Vec<_> = (0..QUERIES).map(|_| format!("{}.{NAME} A", absent(&mut random))).collect();
    fs::write(folder.join("nx.txt"), missing.join("\n"))?;
    Ok(zone.lines().count() - 2)
}

fn zone(random: &mut StdRng) -> Result<(String, Owners)> {
    let (mut zone, mut owners) = (HEAD.to_owned(), Owners::default());
    for number in 0..HOSTS {
        let host = format!("h{number:06}-{:06x}", random.random_range(0..1_u32 << 24));
        host_records(&mut zone, &mut owners, number, &host)?;
    }
    for number in 0..DELEGATIONS {
        writeln!(zone, "sub{number} IN NS ns1.sub{number}")?;
        writeln!(zone, "ns1.sub{number} IN A 10.255.{}.{}", number >> 8, number & 255)?;
    }
    Ok((zone, owners))
}

fn host_records(zone: &mut String, owners: &mut Owners, number: u32, host: &str) -> Result<()> {
    let [_, a, b, c] = number.to_be_bytes();
    writeln!(zone, "{host} IN A 10.{a}.{b}.{c}")?;
    owners.address.push(host.to_owned());
    if number.is_multiple_of(3) {
        writeln!(zone, "{host} IN AAAA 2001:db8:1::{number:x}")?;
        owners.address6.push(host.to_owned());
    }
    if number.is_multiple_of(10) {
        let padding = "x".repeat(usize::try_from(number % 60)?);
        writeln!(zone, "{host} IN TXT \"v=bench{number} {padding}\"")?;
        owners.text.push(host.to_owned());
    }
    if number.is_multiple_of(12) {
        writeln!(zone, "alias{number} IN CNAME {host}")?;
        owners.alias.push(format!("alias{number}"));
    }
    if number.is_multiple_of(30) {
        writeln!(zone, "_svc._tcp.{host} IN SRV 0 5 443 {host}")?;
        owners.service.push(format!("_svc._tcp.{host}"));
    }
    Ok(())
}

fn absent(random: &mut StdRng) -> String {
    format!("nx-{:010x}", random.random_range(0..1_u64 << 40))
}

/// One line of the mix: mostly addresses that are there, some of everything else.
fn query(random: &mut StdRng, owners: &Owners) -> String {
    let share = random.random_range(0..100);
    let (list, rtype) = match share {
        0..70 => (&owners.address, "A"),
        70..82 => (&owners.address6, "AAAA"),
        82..85 => (&owners.address, "MX"),
        85..88 => (&owners.alias, "A"),
        88..90 => (&owners.text, "TXT"),
        90 => (&owners.service, "SRV"),
        91..93 => return format!("{}.wild.{NAME} A", absent(random)),
        93..95 => return format!("www.sub{}.{NAME} A", random.random_range(0..DELEGATIONS)),
        _ => return format!("{}.{NAME} A", absent(random)),
    };
    let owner = list.choose(random).map_or("ns1", String::as_str);
    format!("{owner}.{NAME} {rtype}")
}
