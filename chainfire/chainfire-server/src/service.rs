//! Etcd's services.

pub(crate) mod cluster;
pub(crate) mod kv;
pub(crate) mod maintenance;
mod saving;
mod session;
pub(crate) mod watch;
mod watcher;
