//! What a person sees: edit by `photon dns`, then `dig`.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{Run, say};
use crate::{
    cloud::{Cloud, Layout},
    dns::{Asker, Query, dig},
};

const CHANGES: u32 = 200;
const VISIBLE_AT_MOST: Duration = Duration::from_millis(100);
const ANSWERED_AT_MOST: Duration = Duration::from_secs(1);
/// 192.0.2.0
const FIRST_ADDRESS: u32 = 0xC000_0200;
const A: u16 = 1;
const ZONE: &str = "edits.example.";

/// 200 creates, updates and deletes by the command line; each is in `dig`'s answer within 100 ms of its return.
pub(super) async fn every_change_is_answered_within_100_ms_of_the_command(run: Run) -> Result<()> {
    let cloud = Cloud::start(&run.folder, Layout { nodes: 3, ..Layout::default() }).await?;
    cloud.photon(&["dns", "zone", "create", ZONE])?;
    let mut random = StdRng::seed_from_u64(run.seed);
    let mut asker = Asker::new(cloud.dns_port(), ANSWERED_AT_MOST)?;
    let mut address: Option<Ipv4Addr> = None;
    let mut visible = Vec::new();
    for number in 0..CHANGES {
        let wanted = match &address {
            Some(_) if random.random_ratio(1, 3) => None,
            _ => Some(Ipv4Addr::from_bits(FIRST_ADDRESS + number)),
        };
        change(&cloud, address, wanted)?;
        visible.push(visible_after(&cloud, &mut asker, wanted)?);
        address = wanted;
    }
    visible.sort();
    let [p50, p99, max] =
        [50, 99, 100].map(|percent| visible[(visible.len() - 1) * percent / 100].as_micros());
    say(&format!("{CHANGES} changes were visible after p50 {p50} us, p99 {p99} us, at most {max} us"));
    cloud.photon(&["dns", "zone", "delete", ZONE])?;
    let returned = Instant::now();
    while !dig(cloud.dns_port(), ZONE, "SOA")?.is_empty() {
        ensure!(returned.elapsed() <= VISIBLE_AT_MOST, "the deleted zone is still answered");
    }
    Ok(())
}

fn change(cloud: &Cloud, there: Option<Ipv4Addr>, wanted: Option<Ipv4Addr>) -> Result<()> {
    let new = wanted.map(|address| address.to_string());
    let (verb, data) = match (there, new.as_deref()) {
        (None, data) => ("create", data),
        (Some(_), Some(new)) => ("update", Some(new)),
        (Some(_), None) => ("delete", None),
    };
    let words = ["dns", "record", verb, ZONE, "www", "A"].into_iter().chain(data);
    cloud.photon(&words.collect::<Vec<_>>())?;
    Ok(())
}

/// How long after now the answer was `wanted`, by plain questions; then `dig` is asked as well, whose own start takes
/// longer than most changes.
fn visible_after(cloud: &Cloud, asker: &mut Asker, wanted: Option<Ipv4Addr>) -> Result<Duration> {
    let returned = Instant::now();
    let question = Query::new(&format!("www.{ZONE}"), A);
    let waited = loop {
        let answer = asker.ask(&question)?;
        let waited = returned.elapsed();
        if is(&answer, wanted) {
            break waited;
        }
        ensure!(
            waited <= VISIBLE_AT_MOST,
            "{} ms later, {wanted:?} is not answered: {answer:x?}",
            waited.as_millis()
        );
    };
    ensure!(waited <= VISIBLE_AT_MOST, "a change was visible only {} ms later", waited.as_millis());
    let dug = dig(cloud.dns_port(), &question.name, "A")?;
    let expected: Vec<_> = wanted.iter().map(Ipv4Addr::to_string).collect();
    ensure!(dug == expected, "dig answers {dug:?}, not {expected:?}");
    Ok(waited)
}

/// Whether an answer has this address as its only record, or none.
fn is(answer: &[u8], wanted: Option<Ipv4Addr>) -> bool {
    match wanted {
        Some(address) => answer[7] == 1 && answer.ends_with(&address.octets()),
        None => answer[7] == 0,
    }
}
