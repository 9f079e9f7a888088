//! How a server process tells ChainFire's registry that it is there: one `[registry]` section and one task, the same for
//! every service. How others are found is `chainfire_client`'s `Resolver`.
//!
//! The registry is a help, never a need: a process starts and serves whether or not it can be reached. What a process
//! says of itself follows its readiness, and it is taken out when it begins to drain, before it takes no more calls.

mod announce;
mod config;

pub use announce::{About, announce};
pub use config::RegistryConfig;
