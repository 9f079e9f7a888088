//! Big-endian fields at the front of rows, so that keys sort as numbers do.

use crate::EngineError;

/// Takes a `u64` off the front.
pub(crate) fn take_u64<'a>(row: &'a [u8], what: &'static str) -> Result<(u64, &'a [u8]), EngineError> {
    let (field, rest) = row.split_first_chunk().ok_or(EngineError::Corrupt { what })?;
    Ok((u64::from_be_bytes(*field), rest))
}

/// Takes a `u32` off the front.
pub(crate) fn take_u32<'a>(row: &'a [u8], what: &'static str) -> Result<(u32, &'a [u8]), EngineError> {
    let (field, rest) = row.split_first_chunk().ok_or(EngineError::Corrupt { what })?;
    Ok((u32::from_be_bytes(*field), rest))
}

/// Takes one byte off the front.
pub(crate) fn take_u8<'a>(row: &'a [u8], what: &'static str) -> Result<(u8, &'a [u8]), EngineError> {
    let (&field, rest) = row.split_first().ok_or(EngineError::Corrupt { what })?;
    Ok((field, rest))
}

/// Takes so many bytes off the front.
pub(crate) fn take<'a>(
    row: &'a [u8],
    bytes: usize,
    what: &'static str,
) -> Result<(&'a [u8], &'a [u8]), EngineError> {
    row.split_at_checked(bytes).ok_or(EngineError::Corrupt { what })
}
