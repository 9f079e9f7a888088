//! How our clients call a cluster of nodes, whatever its protocol: connections, credentials, which node is asked next,
//! and what may be tried again.
//!
//! A client library brings its protocol: what a status says about a request ([`Outcome`]), and its own error. Here is
//! what must not differ between them:
//!
//! - **A write that may have happened is never told as one that failed** ([`Attempts`]), and is repeated only where that
//!   cannot take effect twice ([`Safety`]).
//! - **Credentials do not leave the machine in plaintext** ([`Dialer`]).
//! - **Every call has a deadline**, each node gets a share of it ([`Retries`]), and pauses are bounded and jittered.
//!
//! There are no background tasks of this crate but those of the connections.

mod attempts;
mod backoff;
mod dialer;
mod pool;
mod retries;
mod words;

pub use attempts::{Attempts, CallError, Next, NodeError, Outcome, Safety, Verdict};
pub use backoff::pause;
pub use dialer::{BadSetting, Dialer, Tls};
pub use pool::{Node, Pool, Route};
pub use retries::{Attempt, Retries, until_answered};
pub use words::{is_local, message_of, was_not_sent, words, words_of};
