//! Etcd's services.

mod auth;
pub(crate) mod cluster;
mod election;
pub(crate) mod kv;
mod lease;
mod lock;
pub(crate) mod maintenance;
mod saving;
mod session;
pub(crate) mod watch;
mod watcher;
