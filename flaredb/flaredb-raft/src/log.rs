//! The node's log on disk, shared by all regions.
//!
//! One thread writes for all regions ([`writer`]), so that everything that waits shares one sync. Each region
//! keeps its recent entries in memory ([`region`]), readable before they are on disk; older ones are read back
//! from the engine. [`store`] is the view that openraft has of one region.

mod files;
#[cfg(test)]
mod full_tests;
#[cfg(test)]
mod model_tests;
pub(crate) mod record;
pub(crate) mod region;
pub(crate) mod store;
#[cfg(test)]
mod suite_tests;
pub(crate) mod writer;

use std::{io, path::Path, sync::Arc};

use raft_engine::{Config, ReadableSize, RecoveryMode};

use crate::{config::LogConfig, simulation::SimulatedDisk};

pub(crate) type Engine = raft_engine::Engine<files::Files>;

/// Opens the log; a torn write at its end, from a crash, is cut off.
pub(crate) fn open(dir: &Path, config: &LogConfig) -> io::Result<Arc<Engine>> {
    open_in(files::Files::real(), dir, config)
}

/// Opens the log of a simulated node.
pub(crate) fn open_simulated(
    disk: Arc<dyn SimulatedDisk>,
    dir: &Path,
    config: &LogConfig,
) -> io::Result<Arc<Engine>> {
    open_in(files::Files::Simulated(disk), dir, config)
}

fn open_in(files: files::Files, dir: &Path, config: &LogConfig) -> io::Result<Arc<Engine>> {
    std::fs::create_dir_all(dir)?;
    let dir = dir.to_str().ok_or_else(|| io::Error::other("the path of the log is not UTF-8"))?;
    let config = Config {
        dir: dir.to_owned(),
        recovery_mode: RecoveryMode::TolerateTailCorruption,
        // Values are opaque and often compressed already; the writer thread has better things to do.
        batch_compression_threshold: ReadableSize(0),
        target_file_size: ReadableSize(config.segment_bytes),
        purge_threshold: ReadableSize(config.retained_bytes),
        enable_log_recycle: true,
        prefill_for_recycle: config.prefill_bytes > 0,
        prefill_limit: (config.prefill_bytes > 0).then_some(ReadableSize(config.prefill_bytes)),
        ..Config::default()
    };
    let engine = Engine::open_with_file_system(config, Arc::new(files));
    engine.map(Arc::new).map_err(engine_error)
}

pub(crate) fn engine_error(error: raft_engine::Error) -> io::Error {
    match error {
        raft_engine::Error::Io(error) => error,
        // It met a full disk, made room by its own means, and met it again.
        raft_engine::Error::TryAgain(words) => io::Error::new(io::ErrorKind::StorageFull, words),
        other => io::Error::other(other.to_string()),
    }
}
