//! What only a node itself can tell of its machine: its clock, how long its disk takes to sync, its certificate.

use std::{
    fs::{self, File},
    io::{self, Seek as _, SeekFrom, Write as _},
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use flaredb_node::Free;
use flaredb_proto::v1::ExamineResponse;
use photon_runtime::Tls;

use crate::{node::Node, status::Refusal};

/// Syncs that are timed.
const SYNCS: usize = 16;
const SYNCED_BYTES: usize = 4 << 10;
/// A disk that is slower than this is not asked for more.
const SYNCS_PATIENCE: Duration = Duration::from_secs(3);

/// The certificate that a node serves with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Certificate {
    identity: String,
    expires_s: u64,
}

impl Certificate {
    /// What there is to tell of it.
    pub(crate) fn of(tls: &Tls) -> Self {
        Self { identity: tls.identity().to_string(), expires_s: tls.expires_s().unwrap_or_default() }
    }
}

/// Examines the machine of `node`.
pub(super) async fn examine(node: &Node) -> Result<ExamineResponse, Refusal> {
    let unreadable = |error: io::Error| Refusal::Storage(Box::new(error));
    let folder = node.disk.folder().to_owned();
    let data_dir = folder.display().to_string();
    let timed = tokio::task::spawn_blocking(move || time_syncs(&folder)).await;
    let syncs_us = timed.map_err(io::Error::other).flatten().map_err(unreadable)?;
    let Free { free_bytes, total_bytes } = node.disk.look().map_err(unreadable)?;
    Ok(ExamineResponse {
        node_id: node.identity.node_id,
        clock_ms: clock_ms(),
        data_dir,
        sync_count: u32::try_from(syncs_us.len()).unwrap_or(u32::MAX),
        sync_median_us: syncs_us.get(syncs_us.len() / 2).copied().unwrap_or_default(),
        sync_max_us: syncs_us.last().copied().unwrap_or_default(),
        disk_free_bytes: free_bytes,
        disk_bytes: total_bytes,
        disk_low_bytes: node.disk.low_bytes(),
        certificate_identity: node.certificate.identity.clone(),
        certificate_expires_s: node.certificate.expires_s,
    })
}

fn clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Times, in rising order, of writing and syncing a small file in place: what a log does that writes into files that it
/// has made before.
fn time_syncs(folder: &Path) -> io::Result<Vec<u64>> {
    let path = folder.join("examine.tmp");
    let timed = File::create(&path).and_then(|mut file| time_syncs_of(&mut file));
    fs::remove_file(&path)?;
    let mut times_us = timed?;
    times_us.sort_unstable();
    Ok(times_us)
}

fn time_syncs_of(file: &mut File) -> io::Result<Vec<u64>> {
    let piece = [0xa5; SYNCED_BYTES];
    // The first one also allocates.
    file.write_all(&piece)?;
    file.sync_data()?;
    let (began, mut times_us) = (Instant::now(), Vec::with_capacity(SYNCS));
    while times_us.len() < SYNCS && began.elapsed() < SYNCS_PATIENCE {
        let started = Instant::now();
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&piece)?;
        file.sync_data()?;
        times_us.push(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    Ok(times_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_are_timed_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let times_us = time_syncs(folder.path()).unwrap();
        assert!(!times_us.is_empty() && times_us.is_sorted());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
