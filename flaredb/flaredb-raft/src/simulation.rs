//! What a node touches beside memory and time, for a simulation that plays it: the log's files, threads, peers.
//!
//! A simulation runs all nodes of a cluster on one thread whose clock it moves, so that one seed decides everything.
//! Nothing may then hang on how threads race: calls that block run on the spot, and the log is written by a task, to
//! files of which the simulation decides what survives. Peers are reached through [`Connector::links`].
//!
//! A node that is not told of a simulation has the real ones.
//!
//! [`Connector::links`]: crate::Connector::links

use std::{
    cell::Cell,
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::task::JoinError;
use tokio_util::task::TaskTracker;

pub use tonic::{body::Body, codegen::http};

/// The disk of a simulated node.
pub trait SimulatedDisk: fmt::Debug + Send + Sync {
    /// Makes an empty file, in place of one that is there.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn SimulatedFile>>;

    /// Opens a file that is there.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn SimulatedFile>>;

    /// Removes a file.
    fn delete(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// How long the log's next write takes.
    fn write_delay(&self) -> Duration;
}

/// A file of the log. What was written and not synced may be lost.
pub trait SimulatedFile: Send + Sync {
    /// Reads as much as is there at `offset`; returns how many bytes.
    fn read_at(&self, offset: usize, bytes: &mut [u8]) -> io::Result<usize>;

    /// Writes at `offset`, growing the file.
    fn write_at(&self, offset: usize, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file off.
    fn truncate(&self, length: usize) -> io::Result<()>;

    /// The file's length.
    fn size(&self) -> io::Result<usize>;

    /// Makes what was written so far survive.
    fn sync(&self) -> io::Result<()>;
}

/// What is called to reach one peer.
pub trait Link: Send + Sync {
    /// Sends one gRPC request; the future ends with the head of the answer.
    fn call(
        &self,
        request: http::Request<Body>,
    ) -> BoxFuture<'static, Result<http::Response<Body>, LinkError>>;
}

/// Why a link brought no answer.
pub type LinkError = Box<dyn std::error::Error + Send + Sync>;

thread_local! {
    static INLINE: Cell<bool> = const { Cell::new(false) };
}

/// From now on, what nodes on this thread would hand to threads of their own runs on the spot.
pub fn block_inline() {
    INLINE.set(true);
}

/// Whether this thread runs everything on the spot.
pub(crate) fn is_inline() -> bool {
    INLINE.get()
}

/// Runs a call that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    if !is_inline() {
        return tokio::task::spawn_blocking(call).await;
    }
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(called) => Ok(called),
        // A task's end is all that becomes of a panic on a thread.
        Err(panic) => TaskTracker::new().spawn(async move { resume_unwind(panic) }).await,
    }
}
