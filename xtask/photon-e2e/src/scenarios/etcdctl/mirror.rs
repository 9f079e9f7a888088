//! `make-mirror`: another cluster gets the same keys, by a scan and a watch.

use std::time::Duration;

use anyhow::Result;

use super::Ctl;
use crate::wait::Patience;

const MIRRORED_AT_MOST: Duration = Duration::from_secs(30);

/// From one cluster into the other and back, each under a prefix of its own, before and while the mirror runs.
pub(super) async fn keys_are_mirrored_both_ways(ours: &Ctl, theirs: &Ctl) -> Result<()> {
    mirrored(theirs, ours, "/to-us/").await?;
    mirrored(ours, theirs, "/to-them/").await
}

async fn mirrored(from: &Ctl, to: &Ctl, prefix: &str) -> Result<()> {
    let key = |number: u32| format!("{prefix}{number:02}");
    for number in 0..40 {
        from.run(&["put", &key(number), &format!("before {number}")])?;
    }
    let destination = to.endpoints().split(',').next().unwrap_or_default().trim_start_matches("http://");
    let log = format!("mirror{}.log", prefix.replace('/', "-"));
    let mirror = from.start(&log, &["make-mirror", "--prefix", prefix, destination])?;
    same(from, to, prefix).await?;
    for number in 20..60 {
        from.run(&["put", &key(number), &format!("meanwhile {number}")])?;
    }
    from.run(&["del", &key(0)])?;
    same(from, to, prefix).await?;
    mirror.end()
}

/// Waits until both hold the same keys and values.
async fn same(from: &Ctl, to: &Ctl, prefix: &str) -> Result<()> {
    let wanted = from.run(&["get", prefix, "--prefix"])?;
    let patience = Patience::new("the mirror to hold the same keys", MIRRORED_AT_MOST);
    while to.run(&["get", prefix, "--prefix"])? != wanted {
        patience.look_again().await?;
    }
    Ok(())
}
