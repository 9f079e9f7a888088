//! The `flaredb` binary; see [`flaredb_server::cli`].

use std::process::ExitCode;

/// Serves RocksDB's allocations too. A write makes some dozens of small ones, many of which another thread frees. It is
/// built without huge pages: to clear 2 MiB for each buffer of some hundred KiB costs more than they spare.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    flaredb_server::cli::main()
}
