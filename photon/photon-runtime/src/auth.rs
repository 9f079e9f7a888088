//! Who is calling: a token that a person sends, or the certificate that a service connected with.
//!
//! A call that names a token is judged by that token alone: a wrong one is refused even on a connection with a good
//! certificate, since the caller meant to be somebody else. There is no anonymous principal and no way to configure
//! one.

mod tokens;

use std::sync::Arc;

use http::{HeaderMap, header::AUTHORIZATION};
use rustls_pki_types::CertificateDer;
use tonic::Status;

use self::tokens::Tokens;
pub use self::tokens::{TokensError, add_token};
use crate::{
    config::{AuthConfig, ConfigError},
    identity::{Identity, IdentityError},
    principal::Principal,
};

/// Knows the tokens and the cluster, and thereby who calls.
#[derive(Debug, Default)]
pub struct Authenticator {
    cluster: String,
    tokens: Tokens,
}

/// What a connection's certificate says.
#[derive(Debug, Clone)]
pub(crate) enum Peer {
    /// There is none.
    Anonymous,
    /// It is one of our services.
    Known(Arc<Principal>),
    /// Our CA signed it, and it is nobody here.
    Unknown(Arc<IdentityError>),
}

/// Why a caller is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unauthenticated {
    #[error(
        "no credentials: send `authorization: Bearer <token>`, or connect with a certificate of this cluster"
    )]
    Nothing,
    #[error("the authorization header is not `Bearer <token>`")]
    Scheme,
    #[error("the token is not known here: it was mistyped, revoked, or belongs to another cluster")]
    Token,
    #[error("the certificate identifies nobody here: {0}")]
    Certificate(IdentityError),
}

impl Authenticator {
    /// Reads the tokens file that `[auth]` names, if it names one.
    ///
    /// # Errors
    /// When the file cannot be read or parsed.
    pub fn load(config: &AuthConfig) -> Result<Self, ConfigError> {
        let tokens = config.tokens_file.as_deref().map(Tokens::read).transpose()?.unwrap_or_default();
        Ok(Self { cluster: config.cluster.clone(), tokens })
    }

    /// What the certificates of a connection say; rustls has verified them against our CA.
    pub(crate) fn peer(&self, certificates: Option<&[CertificateDer<'_>]>) -> Peer {
        let Some(certificate) = certificates.and_then(<[_]>::first) else { return Peer::Anonymous };
        match Identity::of_certificate(certificate).and_then(|identity| identity.in_cluster(&self.cluster)) {
            Ok(Identity { service, node, .. }) => Peer::Known(Arc::new(Principal::Service { service, node })),
            Err(error) => Peer::Unknown(Arc::new(error)),
        }
    }

    /// Who sent a request with these headers over a connection of this peer.
    pub(crate) fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: &Peer,
    ) -> Result<Arc<Principal>, Unauthenticated> {
        let mut credentials = headers.get_all(AUTHORIZATION).iter();
        match (credentials.next(), credentials.next()) {
            (Some(credential), None) => {
                let token = bearer(credential.as_bytes()).ok_or(Unauthenticated::Scheme)?;
                self.tokens.find(token).ok_or(Unauthenticated::Token)
            }
            (Some(_), Some(_)) => Err(Unauthenticated::Scheme),
            (None, _) => match peer {
                Peer::Anonymous => Err(Unauthenticated::Nothing),
                Peer::Known(principal) => Ok(Arc::clone(principal)),
                Peer::Unknown(error) => Err(Unauthenticated::Certificate(error.as_ref().clone())),
            },
        }
    }
}

fn bearer(credential: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(credential).ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl From<Unauthenticated> for Status {
    fn from(error: Unauthenticated) -> Self {
        Self::unauthenticated(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::{principal::Role, token::Token};

    fn operator() -> Principal {
        Principal::Operator { name: "ada".to_owned(), role: Role::Admin }
    }

    fn service() -> Peer {
        Peer::Known(Arc::new(Principal::Service { service: "flashdns".to_owned(), node: "1".to_owned() }))
    }

    fn authenticator(token: &Token) -> Authenticator {
        let tokens =
            format!("[[token]]\nname = \"ada\"\nsha256 = \"{}\"\nrole = \"admin\"\n", token.sha256_hex());
        Authenticator { cluster: "photon".to_owned(), tokens: tokens.parse().unwrap() }
    }

    fn headers(credentials: &[&str]) -> HeaderMap {
        let values = credentials.iter().map(|value| (AUTHORIZATION, HeaderValue::from_str(value).unwrap()));
        values.collect()
    }

    #[test]
    fn caller_is_known_by_token_or_certificate_and_not_otherwise() {
        let token = Token::generate();
        let authenticator = authenticator(&token);
        let good = format!("Bearer {}", token.expose());
        let wrong = format!("Bearer {}", Token::generate().expose());
        let unknown = Peer::Unknown(Arc::new(IdentityError::UriNames(0)));
        for (credentials, peer, expected) in [
            (vec![good.as_str()], Peer::Anonymous, Ok(operator())),
            (vec![good.as_str()], service(), Ok(operator())),
            (
                vec![],
                service(),
                Ok(Principal::Service { service: "flashdns".to_owned(), node: "1".to_owned() }),
            ),
            (vec![], Peer::Anonymous, Err(Unauthenticated::Nothing)),
            (vec![], unknown, Err(Unauthenticated::Certificate(IdentityError::UriNames(0)))),
            (vec![wrong.as_str()], Peer::Anonymous, Err(Unauthenticated::Token)),
            (vec![wrong.as_str()], service(), Err(Unauthenticated::Token)),
            (vec!["Bearer "], service(), Err(Unauthenticated::Token)),
            (vec!["Basic YTpi"], service(), Err(Unauthenticated::Scheme)),
            (vec![good.as_str(), good.as_str()], Peer::Anonymous, Err(Unauthenticated::Scheme)),
        ] {
            let found = authenticator.authenticate(&headers(&credentials), &peer);
            assert_eq!(
                found.map(|principal| principal.as_ref().clone()),
                expected,
                "{credentials:?} {peer:?}"
            );
        }
    }

    #[test]
    fn bytes_that_are_no_certificate_identify_nobody() {
        let authenticator = authenticator(&Token::generate());
        let peer = authenticator.peer(Some(&[CertificateDer::from(vec![1, 2, 3])]));
        assert!(matches!(peer, Peer::Unknown(error) if *error == IdentityError::NotACertificate));
    }
}
