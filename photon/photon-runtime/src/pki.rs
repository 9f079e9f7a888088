//! The cloud's certificate authority: makes a CA, and certificates of services signed by it.
//!
//! Every certificate names one identity, `spiffe://<cluster>/<service>/<node>`, and the DNS names and addresses under
//! which its process is reached; it serves for both ends of a connection. Nothing here reads a clock or a file
//! except [`write_private`].

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use time::OffsetDateTime;

use crate::identity::{Identity, IdentityError};

const DAY: Duration = Duration::from_secs(24 * 3_600);
const LIFETIME_MAX: Duration = DAY.saturating_mul(3_653);
/// Clocks of two machines differ; a certificate that is valid from this second on is not valid everywhere. A clock that
/// is an hour behind, as by a wrong time zone, must not refuse new peers.
const CLOCK_SKEW: Duration = Duration::from_secs(2 * 3_600);

/// From when to when a certificate counts: 24 hours to 10 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    from: OffsetDateTime,
    until: OffsetDateTime,
}

/// A certificate and its private key, PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub cert_pem: String,
    /// Its private key.
    pub key_pem: String,
}

/// What a service's certificate is to say.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// Who it is.
    pub identity: Identity,
    /// DNS names under which it is reached.
    pub dns_names: Vec<String>,
    /// Addresses under which it is reached.
    pub addresses: Vec<IpAddr>,
    /// When it counts.
    pub validity: Validity,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// Lifetimes are bounded.
    #[error("a lifetime of {found_hours} h, expected 24 h to 10 years")]
    Lifetime {
        /// The lifetime asked for.
        found_hours: u64,
    },
    /// A name cannot be an identity.
    #[error("a name cannot be in a certificate")]
    Identity(#[from] IdentityError),
    /// The CA's files, or a DNS name, cannot be used.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
}

impl Validity {
    /// Valid for `lifetime` from `now`, and two hours earlier for clocks that are behind.
    ///
    /// # Errors
    /// [`PkiError::Lifetime`]
    pub fn starting(now: OffsetDateTime, lifetime: Duration) -> Result<Self, PkiError> {
        match (DAY..=LIFETIME_MAX).contains(&lifetime) {
            true => Ok(Self { from: now - CLOCK_SKEW, until: now + lifetime }),
            false => Err(PkiError::Lifetime { found_hours: lifetime.as_secs() / 3_600 }),
        }
    }

    /// Valid for `days` from the time that the system's clock shows.
    ///
    /// # Errors
    /// [`PkiError::Lifetime`]
    pub fn days(days: u32) -> Result<Self, PkiError> {
        Self::starting(OffsetDateTime::now_utc(), DAY.saturating_mul(days))
    }
}

/// Makes a CA for a cluster.
///
/// # Errors
/// When the cluster's name cannot be in an identity.
pub fn create_ca(cluster: &str, validity: Validity) -> Result<Issued, PkiError> {
    Identity::new(cluster, "ca", "ca")?;
    let mut params = params(&format!("PhotonCloud CA {cluster}"), validity);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(Issued { cert_pem: certificate.pem(), key_pem: key.serialize_pem() })
}

/// Makes a service's certificate, signed by a CA that [`create_ca`] made.
///
/// # Errors
/// When the CA's PEM or a DNS name cannot be used.
pub fn issue(ca: &Issued, leaf: &Leaf) -> Result<Issued, PkiError> {
    let issuer = Issuer::from_ca_cert_pem(&ca.cert_pem, KeyPair::from_pem(&ca.key_pem)?)?;
    let Identity { service, node, .. } = &leaf.identity;
    let mut params = params(&format!("{service}/{node}"), leaf.validity);
    params.subject_alt_names = names(leaf)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Issued { cert_pem: certificate.pem(), key_pem: key.serialize_pem() })
}

fn params(common_name: &str, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = validity.from;
    params.not_after = validity.until;
    params
}

fn names(leaf: &Leaf) -> Result<Vec<SanType>, PkiError> {
    let mut names = vec![SanType::URI(leaf.identity.to_string().try_into()?)];
    for name in &leaf.dns_names {
        names.push(SanType::DnsName(name.as_str().try_into()?));
    }
    names.extend(leaf.addresses.iter().copied().map(SanType::IpAddress));
    Ok(names)
}

/// Writes a file that only its owner may read, whole or not at all.
///
/// # Errors
/// When the system says so.
pub fn write_private(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(contents)?;
    file.sync_all()?;
    std::fs::rename(&partial, path)
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("cert_pem", &self.cert_pem).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn lifetimes_outside_a_day_to_ten_years_are_refused() {
        for (days, accepted) in [(0, false), (1, true), (3_650, true), (3_660, false)] {
            assert_eq!(Validity::days(days).is_ok(), accepted, "{days}");
        }
    }

    #[test]
    fn certificate_counts_by_a_clock_that_is_an_hour_behind() {
        let now = OffsetDateTime::now_utc();
        let validity = Validity::starting(now, DAY).unwrap();
        assert!(validity.from <= now - Duration::from_secs(3_600));
    }

    #[test]
    fn private_file_is_its_owners_only_and_replaces_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.key");
        std::fs::write(&path, "old and longer").unwrap();
        write_private(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
