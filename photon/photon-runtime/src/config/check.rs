//! What the common sections must satisfy beyond their types. Pure: files are looked into elsewhere.

use std::net::SocketAddr;

use super::{AuthConfig, CommonRef, ConfigError, ServerConfig, TlsConfig};
use crate::{identity, telemetry};

const MESSAGE_BYTES: std::ops::RangeInclusive<u32> = 1_024..=64 << 20;

/// Checks the sections that every service has.
pub(crate) fn check_common(common: &CommonRef<'_>) -> Result<(), ConfigError> {
    check_tls(common.tls)?;
    check_exposure(common.server, common.tls)?;
    check_bounds(common.server)?;
    check_auth(common.auth, common.tls)?;
    telemetry::parse_filter(&common.log.filter).map(drop)
}

fn check_tls(tls: &TlsConfig) -> Result<(), ConfigError> {
    let files = [("tls.cert", &tls.cert), ("tls.key", &tls.key), ("tls.ca", &tls.ca)];
    let set = files.iter().find(|(_, file)| file.is_some());
    let unset = files.iter().find(|(_, file)| file.is_none());
    match (set, unset) {
        (Some((set, _)), Some((unset, _))) => {
            Err(ConfigError::invalid(*unset, "nothing", format!("a PEM file, since {set} is set")))
        }
        _ => Ok(()),
    }
}

fn check_exposure(server: &ServerConfig, tls: &TlsConfig) -> Result<(), ConfigError> {
    if tls.cert.is_none() {
        let accepted =
            "a loopback address, or a certificate under [tls]: plaintext does not leave the machine";
        check_loopback("server.listen", server.listen, accepted)?;
    }
    let accepted = "a loopback address: this port is plain HTTP without authentication";
    check_loopback("server.admin_listen", server.admin_listen, accepted)
}

fn check_loopback(key: &str, address: SocketAddr, accepted: &str) -> Result<(), ConfigError> {
    match address.ip().to_canonical().is_loopback() {
        true => Ok(()),
        false => Err(ConfigError::invalid(key, format!("\"{address}\""), accepted)),
    }
}

fn check_bounds(server: &ServerConfig) -> Result<(), ConfigError> {
    let positive = [
        ("server.request_timeout_ms", server.request_timeout_ms),
        ("server.drain_timeout_ms", server.drain_timeout_ms),
        ("server.requests_max", u64::from(server.requests_max)),
        ("server.connections_max", u64::from(server.connections_max)),
    ];
    if let Some((key, _)) = positive.into_iter().find(|&(_, value)| value == 0) {
        return Err(ConfigError::invalid(key, "0", "at least 1"));
    }
    let bytes = server.message_bytes_max;
    if !MESSAGE_BYTES.contains(&bytes) {
        let accepted = format!("{} to {}", MESSAGE_BYTES.start(), MESSAGE_BYTES.end());
        return Err(ConfigError::invalid("server.message_bytes_max", bytes.to_string(), accepted));
    }
    Ok(())
}

fn check_auth(auth: &AuthConfig, tls: &TlsConfig) -> Result<(), ConfigError> {
    if !identity::is_segment(&auth.cluster) {
        let accepted = "a name of up to 63 letters, digits, '.', '_' and '-'";
        return Err(ConfigError::invalid("auth.cluster", format!("{:?}", auth.cluster), accepted));
    }
    if auth.tokens_file.is_none() && tls.cert.is_none() {
        let accepted =
            "a file of tokens, or a certificate under [tls]: with neither, nobody could authenticate";
        return Err(ConfigError::invalid("auth.tokens_file", "nothing", accepted));
    }
    Ok(())
}
