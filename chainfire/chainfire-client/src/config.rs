//! Where a cluster is, who the caller is, and how long a call may take.

use std::{fmt, time::Duration};

use photon_dial::{Dialer, Tls};

/// How to reach a cluster.
#[derive(Clone)]
pub struct ClientConfig {
    /// The nodes, as `http://host:port`, or `https://host:port` with [`ClientConfig::tls`].
    pub endpoints: Vec<String>,
    /// TLS; without it, everything is sent in plaintext.
    pub tls: Option<Tls>,
    /// The name that the nodes' certificates are checked against, when it is not the endpoint's host.
    pub tls_domain: Option<String>,
    /// Who calls, where the cluster asks for a password. Never sent in plaintext to another machine.
    pub user: Option<User>,
    /// Longest time that a call takes, all retries included. Streams are exempt; opening one is not.
    pub request_timeout: Duration,
    /// Longest time until a connection is made, before the next node is tried.
    pub connect_timeout: Duration,
}

/// A user of the cluster.
#[derive(Clone)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its password.
    pub password: String,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            tls: None,
            tls_domain: None,
            user: None,
            request_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(2),
        }
    }
}

/// Shows no secrets.
impl fmt::Debug for ClientConfig {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ClientConfig")
            .field("endpoints", &self.endpoints)
            .field("tls", &self.tls)
            .field("tls_domain", &self.tls_domain)
            .field("user", &self.user)
            .field("request_timeout", &self.request_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .finish()
    }
}

/// Shows no secrets.
impl fmt::Debug for User {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ClientConfig {
    /// What makes connections with these credentials.
    pub(crate) fn dialer(&self) -> Dialer {
        let secret = self.user.is_some();
        Dialer::new(self.tls.as_ref(), self.tls_domain.as_deref(), secret, self.connect_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let tls = Tls { ca: b"ca".to_vec(), identity: Some((b"cert".to_vec(), b"SECRET".to_vec())) };
        let user = User { name: "root".to_owned(), password: "SECRET".to_owned() };
        let config = ClientConfig { tls: Some(tls), user: Some(user), ..ClientConfig::default() };
        let shown = format!("{config:?}");
        assert!(shown.contains("root") && !shown.contains("SECRET"), "{shown}");
    }
}
