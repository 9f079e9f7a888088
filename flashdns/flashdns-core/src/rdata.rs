//! Where names are in record data: what compression, additional records and well-formedness need to know.
//!
//! Only the types of RFC 1035 may have compressed names in their data (RFC 3597 §4); of the others only those are
//! listed whose names the data plane follows.

use crate::{name::wire_length, rtype};

/// Octets of the four numbers and the serial that end a start of authority.
pub(crate) const SOA_NUMBERS: usize = 20;

/// The data of a type: a fixed head, then names, then a fixed tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) head: usize,
    pub(crate) names: usize,
    pub(crate) tail: usize,
    /// Whether the names may be compressed.
    pub(crate) compress: bool,
}

impl Shape {
    const fn compressed(head: usize, names: usize, tail: usize) -> Option<Shape> {
        Some(Shape { head, names, tail, compress: true })
    }

    /// The shape of a type's data; `None`: opaque.
    pub(crate) const fn of(rtype: u16) -> Option<Shape> {
        match rtype {
            // NS, MD, MF, CNAME, MB, MG, MR, PTR.
            rtype::NS | 3 | 4 | rtype::CNAME | 7 | 8 | 9 | rtype::PTR => Shape::compressed(0, 1, 0),
            rtype::SOA => Shape::compressed(0, 2, SOA_NUMBERS),
            // MINFO.
            14 => Shape::compressed(0, 2, 0),
            rtype::MX => Shape::compressed(2, 1, 0),
            rtype::SRV => Some(Shape { head: 6, names: 1, tail: 0, compress: false }),
            rtype::DNAME => Some(Shape { head: 0, names: 1, tail: 0, compress: false }),
            _ => None,
        }
    }
}

/// Where the name in the data is whose addresses belong into the additional section (RFC 1034 §4.3.2 step 6,
/// RFC 2782).
pub(crate) const fn target_offset(rtype: u16) -> Option<usize> {
    match rtype {
        rtype::NS => Some(0),
        rtype::MX => Some(2),
        rtype::SRV => Some(6),
        _ => None,
    }
}

/// Whether `data` can be record data of `rtype` as far as the data plane looks into it.
pub(crate) fn is_well_formed(rtype: u16, data: &[u8]) -> bool {
    match rtype {
        rtype::A => data.len() == 4,
        rtype::AAAA => data.len() == 16,
        _ => Shape::of(rtype).is_none_or(|shape| fits(shape, data)),
    }
}

fn fits(shape: Shape, data: &[u8]) -> bool {
    let Some(mut rest) = data.get(shape.head..) else { return false };
    for _ in 0..shape.names {
        match wire_length(rest).and_then(|length| rest.get(length..)) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.len() == shape.tail
}

/// What equal data has in common: names in lower case (RFC 4034 §6.2).
pub(crate) fn canonical(rtype: u16, data: &[u8]) -> Box<[u8]> {
    let mut data: Box<[u8]> = data.into();
    let Some(shape) = Shape::of(rtype) else { return data };
    let end = data.len().saturating_sub(shape.tail);
    // Length octets are at most 63, below 'A'.
    if let Some(names) = data.get_mut(shape.head..end) {
        names.make_ascii_lowercase();
    }
    data
}
