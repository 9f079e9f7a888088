//! The client against ChainFire's own nodes, in this process: who may connect, who may do what, leases, and nodes that
//! end.

#![expect(clippy::unwrap_used, reason = "tests")]

mod calls;
#[allow(dead_code, reason = "the server's own tests need more of it")]
#[path = "../../../chainfire-server/tests/it/cloud.rs"]
mod cloud;
mod connections;
mod leases;
mod passwords;
#[path = "../../../chainfire-server/tests/it/users.rs"]
mod users;
