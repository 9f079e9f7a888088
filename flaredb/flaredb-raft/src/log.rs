//! The node's log on disk, shared by all regions.
//!
//! One thread writes for all regions ([`writer`]), so that everything that waits shares one sync. Each region
//! keeps its recent entries in memory ([`region`]), readable before they are on disk; older ones are read back
//! from the engine. [`store`] is the view that openraft has of one region.

mod engine;
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

pub(crate) use self::engine::Engine;
use self::engine::engine_error;
use crate::{config::LogConfig, simulation::SimulatedDisk};

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
    Engine::open(config, files).map(Arc::new)
}
