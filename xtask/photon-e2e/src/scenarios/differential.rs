//! Random zones and random questions, asked of us, NSD and Knot: where those two agree, we agree.

mod servers;
mod zones;

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use domain::{
    base::{Message, ParsedName, Record},
    rdata::AllRecordData,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{Run, say};
use crate::dns::{Asker, Query};

const ZONES: usize = 40;
const QUESTIONS: u32 = 20_000;
/// Differences that are shown before the scenario gives up.
const SHOWN_MAX: usize = 12;
/// Peers that hardly ever agree would make the comparison empty.
const AGREED_SHARE_MIN: f64 = 0.8;
const ANSWERED_AT_MOST: Duration = Duration::from_secs(2);

/// What of an answer is compared: everything but the id, the order of records and the case of names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    rcode: String,
    authoritative: bool,
    truncated: bool,
    sections: [Vec<String>; 3],
}

/// Asks the same questions of all three servers and compares.
pub(super) async fn answers_agree_with_nsd_and_knot_where_those_agree(run: Run) -> Result<()> {
    let mut random = StdRng::seed_from_u64(run.seed);
    let zones: Vec<_> = (0..ZONES).map(|number| zones::Zone::random(&mut random, number)).collect();
    let servers = servers::start_all(&run.folder, &zones).await?;
    let [mut ours, mut nsd, mut knot] = servers.ports.map(|port| Asker::new(port, ANSWERED_AT_MOST));
    let (mut agreed, mut different) = (0_u32, Vec::new());
    for _ in 0..QUESTIONS {
        let zone = &zones[random.random_range(0..zones.len())];
        let question = zone.question(&mut random);
        let theirs = ask(&mut nsd, &question)?;
        if theirs != ask(&mut knot, &question)? {
            continue;
        }
        agreed += 1;
        let answer = ask(&mut ours, &question)?;
        if answer != theirs {
            different.push(format!("{question:?}\n  we:   {answer:?}\n  they: {theirs:?}\n{}", zone.text));
        }
        if different.len() > SHOWN_MAX {
            break;
        }
    }
    if let Some(first) = different.first() {
        std::fs::write(run.folder.join("differences.txt"), different.join("\n\n"))?;
        bail!("{} of {agreed} answers differ; the first: {first}", different.len());
    }
    let share = f64::from(agreed) / f64::from(QUESTIONS);
    say(&format!("NSD and Knot agreed on {agreed} of {QUESTIONS} answers, and we with them"));
    ensure!(share >= AGREED_SHARE_MIN, "NSD and Knot agreed on only {agreed} of {QUESTIONS} questions");
    Ok(())
}

fn ask(asker: &mut Result<Asker>, question: &Query) -> Result<Answer> {
    match asker {
        Ok(asker) => parse(asker.ask(question)?),
        Err(error) => bail!("no socket: {error}"),
    }
}

fn parse(octets: Vec<u8>) -> Result<Answer> {
    let message = Message::from_octets(octets)?;
    let header = message.header();
    let truncated = header.tc();
    let mut sections = [Vec::new(), Vec::new(), Vec::new()];
    if !truncated {
        let (_, answer, authority, additional) = message.sections()?;
        for (section, records) in sections.iter_mut().zip([answer, authority, additional]) {
            for record in records.limit_to::<AllRecordData<_, ParsedName<_>>>() {
                section.push(words(&record?));
            }
            section.sort();
            // Knot and NSD repeat the record when a wildcard CNAME stands for its own target.
            section.dedup();
        }
    }
    Ok(Answer { rcode: header.rcode().to_string(), authoritative: header.aa(), truncated, sections })
}

fn words<N: std::fmt::Display, D: domain::base::RecordData + std::fmt::Display>(
    record: &Record<N, D>,
) -> String {
    format!("{} {} {} {}", record.owner(), record.ttl().as_secs(), record.rtype(), record.data())
        .to_ascii_lowercase()
}
