//! What a person sees: edit by `photon dns`, then `dig`.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{Run, say};
use crate::{
    cloud::{Cloud, Layout},
    dns::dig,
};

const CHANGES: u32 = 200;
const VISIBLE_AT_MOST: Duration = Duration::from_millis(100);
const ZONE: &str = "edits.example.";

/// 200 creates, updates and deletes by the command line; each is in `dig`'s answer within 100 ms of its return.
pub(super) async fn every_change_is_answered_within_100_ms_of_the_command(run: Run) -> Result<()> {
    let cloud = Cloud::start(&run.folder, Layout { nodes: 3, ..Layout::default() }).await?;
    cloud.photon(&["dns", "zone", "create", ZONE])?;
    let mut random = StdRng::seed_from_u64(run.seed);
    let mut address: Option<String> = None;
    let mut visible = Vec::new();
    for number in 0..CHANGES {
        let wanted = match &address {
            Some(_) if random.random_ratio(1, 3) => None,
            _ => Some(format!("192.0.{}.{}", number >> 8, number & 255)),
        };
        change(&cloud, address.as_deref(), wanted.as_deref())?;
        visible.push(visible_after(&cloud, wanted.as_deref())?);
        address = wanted;
    }
    visible.sort();
    let [p50, p99, max] =
        [50, 99, 100].map(|percent| visible[(visible.len() - 1) * percent / 100].as_millis());
    say(&format!("{CHANGES} changes were visible after p50 {p50} ms, p99 {p99} ms, at most {max} ms"));
    cloud.photon(&["dns", "zone", "delete", ZONE])?;
    let returned = Instant::now();
    while !dig(cloud.dns_port(), ZONE, "SOA")?.is_empty() {
        ensure!(returned.elapsed() <= VISIBLE_AT_MOST, "the deleted zone is still answered");
    }
    Ok(())
}

fn change(cloud: &Cloud, there: Option<&str>, wanted: Option<&str>) -> Result<()> {
    let (verb, data) = match (there, wanted) {
        (None, data) => ("create", data),
        (Some(_), Some(new)) => ("update", Some(new)),
        (Some(_), None) => ("delete", None),
    };
    let words = ["dns", "record", verb, ZONE, "www", "A"].into_iter().chain(data);
    cloud.photon(&words.collect::<Vec<_>>())?;
    Ok(())
}

/// How long after now `dig` answers with `wanted`; the time that dig itself takes is in it.
fn visible_after(cloud: &Cloud, wanted: Option<&str>) -> Result<Duration> {
    let returned = Instant::now();
    loop {
        let answer = dig(cloud.dns_port(), &format!("www.{ZONE}"), "A")?;
        let waited = returned.elapsed();
        if answer.first().map(String::as_str) == wanted {
            ensure!(waited <= VISIBLE_AT_MOST, "a change was visible only {} ms later", waited.as_millis());
            return Ok(waited);
        }
        ensure!(
            waited <= VISIBLE_AT_MOST,
            "{} ms later, dig answers {answer:?}, not {wanted:?}",
            waited.as_millis()
        );
    }
}
