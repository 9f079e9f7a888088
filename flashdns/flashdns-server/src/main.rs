//! The `flashdns` binary; see [`flashdns_server`].

use std::process::ExitCode;

fn main() -> ExitCode {
    photon_runtime::run::<flashdns_server::FlashDns>()
}
