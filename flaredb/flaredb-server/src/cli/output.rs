//! Printing: rows as every binary of the cloud prints them, and the bytes of keys and values as text.

use base64::Engine as _;
pub(crate) use photon_runtime::output::{Output, Row, bytes, remark};

/// Bytes as people and programs read them: text as it is, anything else as `base64:…`.
pub(crate) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.starts_with(BASE64) => text.to_owned(),
        _ => format!("{BASE64}{}", base64::engine::general_purpose::STANDARD.encode(bytes)),
    }
}

/// Reads what [`text`] wrote.
pub(crate) fn parse_bytes(text: &str) -> Result<bytes::Bytes, base64::DecodeError> {
    match text.strip_prefix(BASE64) {
        None => Ok(bytes::Bytes::copy_from_slice(text.as_bytes())),
        Some(encoded) => base64::engine::general_purpose::STANDARD.decode(encoded).map(Into::into),
    }
}

const BASE64: &str = "base64:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_can_be_printed_and_given_back() {
        for bytes in [&b"/flashdns/zones"[..], b"\xff\x00", b"", b"base64:trap"] {
            assert_eq!(parse_bytes(&text(bytes)).unwrap(), bytes);
        }
    }
}
