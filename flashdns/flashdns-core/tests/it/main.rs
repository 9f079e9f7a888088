//! What FlashDNS answers, tested through the crate's public face: zones in as text, packets out, read by a codec
//! that is not the one that wrote them.
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a failing test panics; the numbers are small"
)]

mod answers;
mod ask;
mod catalogs;
mod chains;
mod delegations;
mod malformed;
mod packets;
mod properties;
mod survive;
mod texts;
mod zone_rules;
