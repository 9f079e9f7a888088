//! `[metadata]`: which backend keeps a service's records, and where it is.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The `[metadata]` section of a service's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetadataConfig {
    /// What keeps the records.
    pub backend: Backend,
    /// Folder of the embedded backend.
    pub data_dir: Option<PathBuf>,
    /// Nodes of the flaredb backend, e.g. `https://db1:7401`, or of the chainfire backend, which may be etcd's as well,
    /// e.g. `https://cf1:2379`; any one that is up is enough.
    pub endpoints: Vec<String>,
    /// ChainFire's nodes, by whose registry those of the flaredb backend are found, in place of `endpoints`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub registry: Vec<String>,
    /// Certificates for the nodes, where they are not those of the service itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClusterTls>,
    /// Who the service is, where the chainfire backend's cluster asks for a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<ClusterUser>,
    /// How long one operation may take.
    pub timeout_ms: u64,
    /// Create the namespace where it is not there yet.
    pub create_namespace: bool,
}

/// What keeps the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// FlareDB's engine in the process: one machine, no database to run.
    Embedded,
    /// A FlareDB cluster.
    Flaredb,
    /// A ChainFire cluster, or etcd.
    Chainfire,
}

/// `[metadata.tls]`: files, all PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterTls {
    /// The CA whose nodes are believed.
    pub ca: PathBuf,
    /// The service's certificate chain.
    pub cert: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
}

/// `[metadata.user]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterUser {
    /// Its name.
    pub name: String,
    /// A file with its password; a line end behind it does not count.
    pub password_file: PathBuf,
}

impl Default for MetadataConfig {
    fn default() -> MetadataConfig {
        MetadataConfig {
            backend: Backend::Embedded,
            data_dir: None,
            endpoints: Vec::new(),
            registry: Vec::new(),
            tls: None,
            user: None,
            timeout_ms: 10_000,
            create_namespace: true,
        }
    }
}

/// A value of `[metadata]` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("metadata.{field}: {found} is not accepted; accepted: {accepted}")]
pub struct ConfigIssue {
    /// The key in `[metadata]`.
    pub field: &'static str,
    /// What it held.
    pub found: String,
    /// What it may hold.
    pub accepted: String,
}

impl MetadataConfig {
    /// Refuses what no backend could be opened with.
    ///
    /// # Errors
    /// The first value that cannot be used.
    pub fn validate(&self) -> Result<(), ConfigIssue> {
        let issue = |field, found: &str, accepted: &str| {
            Err(ConfigIssue { field, found: found.to_owned(), accepted: accepted.to_owned() })
        };
        match self.backend {
            Backend::Embedded if self.data_dir.is_none() => issue("data_dir", "nothing", "a folder"),
            Backend::Embedded if !self.endpoints.is_empty() => {
                issue("endpoints", &format!("{:?}", self.endpoints), "none with backend = \"embedded\"")
            }
            Backend::Embedded | Backend::Chainfire if !self.registry.is_empty() => {
                issue("registry", &format!("{:?}", self.registry), "none without backend = \"flaredb\"")
            }
            Backend::Flaredb if !self.registry.is_empty() && !self.endpoints.is_empty() => {
                issue("registry", &format!("{:?}", self.registry), "none beside endpoints")
            }
            Backend::Flaredb | Backend::Chainfire
                if self.endpoints.is_empty() && self.registry.is_empty() =>
            {
                issue("endpoints", "none", "at least one, e.g. https://db1:7401")
            }
            Backend::Flaredb | Backend::Chainfire if self.data_dir.is_some() => {
                issue("data_dir", "a folder", "nothing with a cluster as backend")
            }
            Backend::Embedded | Backend::Flaredb if self.user.is_some() => {
                issue("user", "a user", "nothing without backend = \"chainfire\"")
            }
            _ if self.tls.as_ref().is_some_and(|tls| tls.cert.is_some() != tls.key.is_some()) => {
                issue("tls", "one of cert and key", "both or none")
            }
            _ if !(100..=300_000).contains(&self.timeout_ms) => {
                issue("timeout_ms", &self.timeout_ms.to_string(), "100 to 300000")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<MetadataConfig, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn backend_that_is_not_there_yet_is_refused_with_those_that_are() {
        let message = parse(r#"{"backend":"zookeeper"}"#).unwrap_err().to_string();
        let known = "`embedded`, `flaredb`, `chainfire`";
        assert!(message.contains("zookeeper") && message.contains(known), "{message}");
    }

    #[test]
    fn each_backend_needs_its_own_place_and_no_other() {
        let message = |json| parse(json).unwrap().validate().unwrap_err().to_string();
        assert_eq!(message("{}"), "metadata.data_dir: nothing is not accepted; accepted: a folder");
        assert!(message(r#"{"backend":"flaredb"}"#).starts_with("metadata.endpoints: none"));
        assert!(
            message(r#"{"data_dir":"/x","endpoints":["http://a"]}"#).starts_with("metadata.endpoints: [")
        );
        let user =
            r#"{"backend":"flaredb","endpoints":["http://a"],"user":{"name":"a","password_file":"/p"}}"#;
        assert!(message(user).starts_with("metadata.user: "), "FlareDB knows people by tokens");
        assert!(
            message(r#"{"backend":"chainfire","registry":["http://a"]}"#).starts_with("metadata.registry: ")
        );
        let both = r#"{"backend":"flaredb","endpoints":["http://a"],"registry":["http://b"]}"#;
        assert!(message(both).starts_with("metadata.registry: "));
        parse(r#"{"backend":"flaredb","registry":["http://a"]}"#).unwrap().validate().unwrap();
        for backend in ["flaredb", "chainfire"] {
            let json = format!(r#"{{"backend":"{backend}","endpoints":["https://a:1"]}}"#);
            parse(&json).unwrap().validate().unwrap();
        }
    }
}
