//! Who a certificate says that its holder is: `spiffe://<cluster>/<service>/<node>`, its only URI name.
//!
//! A certificate without such a name, or with two, identifies nobody; that is an error, never a default identity.

use std::{fmt, str::FromStr};

use x509_parser::{extensions::GeneralName, parse_x509_certificate};

const SCHEME: &str = "spiffe://";
const SEGMENT_BYTES_MAX: usize = 63;

/// A service's process, by name. Displayed as its URI.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Name of the cloud.
    pub cluster: String,
    /// Name of the service, such as `flaredb`.
    pub service: String,
    /// Name of the node inside the service, such as `1`.
    pub node: String,
}

/// Why there is no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The bytes are no certificate.
    #[error("it is no X.509 certificate")]
    NotACertificate,
    /// There must be one URI name, and there are none or several.
    #[error("it has {0} URI names; exactly one is needed, spiffe://<cluster>/<service>/<node>")]
    UriNames(usize),
    /// The URI is not an identity.
    #[error("its name {0:?} is not spiffe://<cluster>/<service>/<node>")]
    NotAnIdentity(String),
    /// The identity is of another cloud.
    #[error("it is {found}, of another cluster than {cluster}")]
    OtherCluster {
        /// Who it is.
        found: String,
        /// Whose certificates count here.
        cluster: String,
    },
}

impl Identity {
    /// An identity of its parts.
    ///
    /// # Errors
    /// When a part has other characters than letters, digits, `.`, `_` and `-`, or is longer than 63 bytes.
    pub fn new(cluster: &str, service: &str, node: &str) -> Result<Self, IdentityError> {
        format!("{SCHEME}{cluster}/{service}/{node}").parse()
    }

    /// The identity in a certificate (DER).
    ///
    /// # Errors
    /// When it has not exactly one.
    pub fn of_certificate(der: &[u8]) -> Result<Self, IdentityError> {
        let (_, certificate) =
            parse_x509_certificate(der).map_err(|_detail| IdentityError::NotACertificate)?;
        let names =
            certificate.subject_alternative_name().map_err(|_detail| IdentityError::NotACertificate)?;
        let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
        let uris = names.iter().filter_map(uri).collect::<Vec<_>>();
        match uris.as_slice() {
            [uri] => uri.parse(),
            _ => Err(IdentityError::UriNames(uris.len())),
        }
    }

    /// This identity, provided that it is of `cluster`.
    ///
    /// # Errors
    /// [`IdentityError::OtherCluster`]
    pub fn in_cluster(self, cluster: &str) -> Result<Self, IdentityError> {
        match self.cluster == cluster {
            true => Ok(self),
            false => {
                Err(IdentityError::OtherCluster { found: self.to_string(), cluster: cluster.to_owned() })
            }
        }
    }
}

fn uri<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    match name {
        GeneralName::URI(uri) => Some(uri),
        _ => None,
    }
}

/// Whether a text can be a part of an identity.
pub(crate) fn is_segment(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=SEGMENT_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let wrong = || IdentityError::NotAnIdentity(text.to_owned());
        let path = text.strip_prefix(SCHEME).ok_or_else(wrong)?;
        let parts = path.split('/').collect::<Vec<_>>();
        match parts.as_slice() {
            [cluster, service, node] if parts.iter().all(|part| is_segment(part)) => Ok(Self {
                cluster: (*cluster).to_owned(),
                service: (*service).to_owned(),
                node: (*node).to_owned(),
            }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}", self.cluster, self.service, self.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_is_read_back_as_it_is_written() {
        let identity = Identity::new("photon", "flaredb", "1").unwrap();
        assert_eq!(identity.to_string(), "spiffe://photon/flaredb/1");
        assert_eq!(identity.to_string().parse(), Ok(identity));
    }

    #[test]
    fn anything_but_three_plain_segments_is_no_identity() {
        for text in [
            "",
            "https://photon/flaredb/1",
            "spiffe://photon/flaredb",
            "spiffe://photon/flaredb/1/2",
            "spiffe://photon//1",
            "spiffe://photon/flare db/1",
            "spiffe://photon/flaredb/%31",
        ] {
            assert_eq!(text.parse::<Identity>(), Err(IdentityError::NotAnIdentity(text.to_owned())));
        }
    }

    #[test]
    fn identity_of_another_cluster_is_refused() {
        let identity = Identity::new("proton", "flaredb", "1").unwrap();
        assert!(matches!(identity.in_cluster("photon"), Err(IdentityError::OtherCluster { .. })));
    }
}
