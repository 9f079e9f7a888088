//! Presentation form: types, record data and whole zone files as text, and back (RFC 1035 §5, RFC 3597 §5).
//!
//! NLnet's `domain` is the codec. What is ours is what the control plane needs on top: a text is one record and
//! nothing else (no second line, no comment that swallows half of it), long texts are cut into strings, what is
//! printed reads back as the same octets, and every refusal says what would be accepted.
//!
//! All of it is for the control plane: it allocates, and no packet comes here.

mod data;
mod file;
mod tokens;

use domain::base::iana::Rtype;

pub use self::{
    data::{DATA_TEXT_BYTES_MAX, DataError, data_text, parse_data},
    file::{FILE_BYTES_MAX, FILE_RECORDS_MAX, FileError, ZoneFile, export, parse_file, set_lines},
};
use crate::rtype;

/// Whether `octets` are data of its type: uncompressed, complete, with nothing behind it.
pub fn data_is_valid(rtype: u16, octets: &[u8]) -> bool {
    data::check(rtype, octets).is_ok()
}

/// Why a text is no type of a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    /// No mnemonic, no `TYPE123`.
    #[error("type {found:?} is not known; write a mnemonic such as AAAA, or TYPE123 with its number")]
    Unknown {
        /// The text.
        found: String,
    },
    /// Only asked for, or only in packets.
    #[error("type {found} cannot be in a zone; it is only a question or part of a packet")]
    NotData {
        /// The type.
        found: String,
    },
}

/// What a type is called: its mnemonic, or `TYPE123` (RFC 3597 §5).
pub fn type_name(rtype: u16) -> String {
    Rtype::from_int(rtype).to_string()
}

/// The number of a type that records can have; case does not matter.
///
/// # Errors
/// [`TypeError`].
pub fn parse_type(text: &str) -> Result<u16, TypeError> {
    let shown = || text.chars().take(32).collect();
    let rtype: Rtype = text.parse().map_err(|_unknown| TypeError::Unknown { found: shown() })?;
    if rtype::is_data(rtype.to_int()) {
        Ok(rtype.to_int())
    } else {
        Err(TypeError::NotData { found: rtype.to_string() })
    }
}
