//! The conformance suite on the embedded backend, and on backends that are broken on purpose.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod broken;
mod cached;
mod embedded;
mod harness;
mod kill;
