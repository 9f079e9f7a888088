//! The `flaredb` binary; see [`flaredb_server::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    flaredb_server::cli::main()
}
