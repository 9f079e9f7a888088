//! The `chainfire` binary; see [`chainfire_server::cli`].

use std::process::ExitCode;

/// Serves RocksDB's allocations too; see flaredb-server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    chainfire_server::cli::main()
}
