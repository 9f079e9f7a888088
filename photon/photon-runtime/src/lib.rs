//! How a PhotonCloud server process is run: everything between `main` and the service itself, once for all services.
//!
//! A service implements [`Service`] (its name, its config type, its `start`) and its whole `main` is
//! [`run::<S>()`](run()). The runtime reads the configuration, sets up tracing, loads the certificate, binds the ports,
//! starts the service, answers health and metrics, and on SIGTERM drains: first NOT_SERVING, then no new
//! connections, then the calls in flight, then the tasks, all within a bound.
//!
//! # Invariants
//! - Whoever calls is known: there is no RPC on the process's own port, not even health or reflection, that answers
//!   without a [`Principal`]; and what a principal may do is decided in [`authorize()`] and nowhere else. A port of its
//!   own for a foreign protocol ([`OpenPort`]) has no principals, and so nothing there can pass for one.
//! - Every call has a deadline or is a stream that ends when the process drains; every message, queue and connection
//!   count has a limit.
//! - Every task is joined by shutdown, or reported by name as not having ended in time.
//! - A wrong configuration is refused before anything is bound or opened, with one message that names the file, flag
//!   or variable, the key, what was found and what would be accepted.
//!
//! # What it refuses to do
//! Plaintext on anything but loopback; a server that nobody could authenticate to; a certificate of another service
//! or cluster. It knows no service's protobuf, and depends on no other crate of the workspace.

mod admin;
pub mod auth;
mod authorize;
pub mod client;
pub mod config;
pub mod errors;
pub mod grpc;
pub mod health;
pub mod identity;
pub mod metrics;
mod open_port;
pub mod output;
pub mod pki;
mod principal;
mod process;
mod run;
mod secret;
mod service;
mod shutdown;
mod tasks;
pub mod telemetry;
mod tls;
pub mod token;

pub use auth::Authenticator;
pub use authorize::{Action, Denied, Resource, authorize};
pub use client::ClientTls;
pub use config::{
    AuthConfig, CommonRef, ConfigError, HasCommon, LogConfig, LogFormat, ServerConfig, TlsConfig,
};
pub use grpc::{GrpcServer, RpcPath, rpc_paths};
pub use health::{Condition, Health};
pub use identity::Identity;
pub use metrics::Metrics;
pub use open_port::{OpenPort, OpenTls};
pub use principal::{Principal, Role, principal};
pub use process::{Process, StopError};
pub use run::{ServeArgs, run, run_with};
pub use secret::Secret;
pub use service::{BoxError, Context, Service, StartError, Started};
pub use shutdown::Shutdown;
pub use tasks::{TaskOutcome, Tasks};
pub use tls::Tls;
pub use token::Token;
