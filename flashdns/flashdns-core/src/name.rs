//! Domain names in wire form (RFC 1035 §3.1), with the case they were given in.
//!
//! Equality, order and hash ignore ASCII case (RFC 4343); the order is the canonical one (RFC 4034 §6.1).
//! Presentation form is always absolute when printed. No IDNA: letters beyond ASCII are refused, with a hint.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};

/// Octets of a label (RFC 1035 §2.3.4).
pub(crate) const LABEL_BYTES_MAX: usize = 63;
/// Octets of a name in wire form, the root's zero included (RFC 1035 §2.3.4).
pub(crate) const NAME_BYTES_MAX: usize = 255;
/// Labels of a name without the root: each takes two octets at least.
pub(crate) const LABELS_MAX: usize = 127;

/// An absolute domain name.
#[derive(Clone)]
pub struct Name(Box<[u8]>);

/// Why bytes or text are no domain name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing at all.
    #[error("empty name; the root is \".\"")]
    Empty,
    /// Two dots in a row, or one at the start.
    #[error("{text:?} has an empty label")]
    EmptyLabel {
        /// The name as given.
        text: String,
    },
    /// More than 63 octets between two dots.
    #[error("{text:?} has a label of {found} octets; at most 63 are allowed")]
    LongLabel {
        /// The name as given.
        text: String,
        /// Octets of the label.
        found: usize,
    },
    /// More than 255 octets in all.
    #[error("{text:?} takes {found} octets in wire form; at most 255 are allowed")]
    LongName {
        /// The name as given, cut short.
        text: String,
        /// Octets in wire form.
        found: usize,
    },
    /// A backslash that is not followed by a character or a decimal octet.
    #[error("{text:?} has a bad escape; write \\. or \\DDD with DDD at most 255")]
    Escape {
        /// The name as given.
        text: String,
    },
    /// A space, a control character, a quote or the like that would have to be escaped.
    #[error("{text:?} has {found:?}, which must be written as an escape (\\DDD)")]
    Character {
        /// The name as given.
        text: String,
        /// The first such character.
        found: char,
    },
    /// A letter beyond ASCII.
    #[error("{text:?} has {found:?}; write internationalized names in their ASCII form (xn--…)")]
    NotAscii {
        /// The name as given.
        text: String,
        /// The first such character.
        found: char,
    },
    /// Bytes that are not a well-formed uncompressed name.
    #[error("not a name in wire form")]
    Wire,
}

/// The first label and the rest of a wire name; `None` at the root (or at the end of what is no name).
pub(crate) fn split_first(wire: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = wire.split_first()?;
    if length == 0 { None } else { rest.split_at_checked(usize::from(length)) }
}

/// Octets of the uncompressed name that `bytes` begin with; `None` if they do not begin with one.
pub(crate) fn wire_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for _ in 0..=LABELS_MAX {
        let length = usize::from(*bytes.get(at)?);
        at += 1 + length;
        if length > LABEL_BYTES_MAX || at > NAME_BYTES_MAX || at > bytes.len() {
            return None;
        }
        if length == 0 {
            return Some(at);
        }
    }
    None
}

impl Name {
    /// The root.
    pub fn root() -> Name {
        Name(Box::new([0]))
    }

    /// A name from its uncompressed wire form, all of it.
    ///
    /// # Errors
    /// [`NameError::Wire`].
    pub fn from_wire(wire: &[u8]) -> Result<Name, NameError> {
        match wire_length(wire) {
            Some(length) if length == wire.len() => Ok(Name(wire.into())),
            _ => Err(NameError::Wire),
        }
    }

    /// An absolute name; the final dot may be left out.
    ///
    /// # Errors
    /// Everything but [`NameError::Wire`].
    pub fn parse(text: &str) -> Result<Name, NameError> {
        Name::parse_in(text, &Name::root())
    }

    /// A name as in a zone file: absolute with the final dot, else relative to `origin`; `@` is the origin.
    ///
    /// # Errors
    /// As [`Name::parse`].
    pub fn parse_in(text: &str, origin: &Name) -> Result<Name, NameError> {
        match text {
            "" => Err(NameError::Empty),
            "." => Ok(Name::root()),
            "@" => Ok(origin.clone()),
            _ => parse(text, origin),
        }
    }

    /// Wire form, uncompressed, in the case it was given.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// The same name in lower case.
    #[must_use]
    pub fn to_lowercase(&self) -> Name {
        // Length octets are at most 63, below 'A': lowering all octets touches letters only.
        Name(self.0.to_ascii_lowercase().into())
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// Labels without the root, the leftmost first.
    pub fn labels(&self) -> Labels<'_> {
        Labels(&self.0)
    }

    /// Number of labels without the root.
    pub fn depth(&self) -> usize {
        self.labels().count()
    }

    /// The name without its first label; `None` for the root.
    pub fn parent(&self) -> Option<Name> {
        split_first(&self.0).map(|(_, rest)| Name(rest.into()))
    }

    /// Whether this is `other` or below it.
    pub fn is_within(&self, other: &Name) -> bool {
        let Some(extra) = self.0.len().checked_sub(other.0.len()) else { return false };
        let boundary =
            std::iter::successors(Some(&self.0[..]), |rest| split_first(rest).map(|(_, rest)| rest));
        self.0[extra..].eq_ignore_ascii_case(&other.0)
            && boundary.take_while(|rest| rest.len() >= other.0.len()).any(|rest| rest.len() == other.0.len())
    }

    /// Whether the first label is `*` (RFC 4592).
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with(b"\x01*")
    }
}

/// Iterator over the labels of a name.
#[derive(Debug, Clone)]
pub struct Labels<'a>(&'a [u8]);

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (label, rest) = split_first(self.0)?;
        self.0 = rest;
        Some(label)
    }
}

/// Reads one possibly escaped octet of presentation form.
fn octet(text: &str, rest: &mut std::str::Chars<'_>, first: char) -> Result<u8, NameError> {
    if first != '\\' {
        return plain(text, first);
    }
    let escape = || NameError::Escape { text: text.to_owned() };
    let next = rest.next().ok_or_else(escape)?;
    let Some(digit) = next.to_digit(10) else {
        return u8::try_from(next).ok().filter(u8::is_ascii_graphic).ok_or_else(escape);
    };
    let more = [rest.next(), rest.next()].map(|next| next.and_then(|c| c.to_digit(10)));
    let [Some(tens), Some(ones)] = more else { return Err(escape()) };
    u8::try_from(digit * 100 + tens * 10 + ones).map_err(|_large| escape())
}

fn plain(text: &str, found: char) -> Result<u8, NameError> {
    if !found.is_ascii() {
        return Err(NameError::NotAscii { text: text.to_owned(), found });
    }
    match u8::try_from(found) {
        Ok(octet) if octet.is_ascii_graphic() && !matches!(octet, b'"' | b'(' | b')' | b';') => Ok(octet),
        _ => Err(NameError::Character { text: text.to_owned(), found }),
    }
}

fn parse(text: &str, origin: &Name) -> Result<Name, NameError> {
    let mut wire = vec![0];
    let mut label = 0;
    let mut chars = text.chars();
    while let Some(found) = chars.next() {
        if found == '.' {
            close_label(text, &mut wire, label)?;
            label = wire.len();
            wire.push(0);
        } else {
            wire.push(octet(text, &mut chars, found)?);
        }
    }
    let absolute = label + 1 == wire.len();
    if !absolute {
        close_label(text, &mut wire, label)?;
        wire.extend_from_slice(&origin.0);
    }
    if wire.len() > NAME_BYTES_MAX {
        let text = text.chars().take(NAME_BYTES_MAX).collect();
        return Err(NameError::LongName { text, found: wire.len() });
    }
    Ok(Name(wire.into()))
}

fn close_label(text: &str, wire: &mut [u8], label: usize) -> Result<(), NameError> {
    let found = wire.len() - label - 1;
    match u8::try_from(found) {
        Ok(0) => Err(NameError::EmptyLabel { text: text.to_owned() }),
        Ok(length) if found <= LABEL_BYTES_MAX => {
            wire[label] = length;
            Ok(())
        }
        _ => Err(NameError::LongLabel { text: text.to_owned(), found }),
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for label in self.labels() {
            for &octet in label {
                write_octet(f, octet)?;
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

fn write_octet(f: &mut fmt::Formatter<'_>, octet: u8) -> fmt::Result {
    match octet {
        b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => write!(f, "\\{}", char::from(octet)),
        0x21..=0x7e => write!(f, "{}", char::from(octet)),
        _ => write!(f, "\\{octet:03}"),
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Name, NameError> {
        Name::parse(text)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_ascii_lowercase().hash(state);
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Name) -> Ordering {
        let (mine, others) = (Starts::of(&self.0), Starts::of(&other.0));
        let lower = u8::to_ascii_lowercase;
        for (a, b) in mine.rightmost_first(&self.0).zip(others.rightmost_first(&other.0)) {
            let order = a.iter().map(lower).cmp(b.iter().map(lower));
            if order.is_ne() {
                return order;
            }
        }
        mine.count.cmp(&others.count)
    }
}

/// Where the labels of a name begin, so that it can be read from the right without allocating.
struct Starts {
    at: [u8; LABELS_MAX],
    count: usize,
}

impl Starts {
    fn of(wire: &[u8]) -> Starts {
        let mut starts = Starts { at: [0; LABELS_MAX], count: 0 };
        let mut rest = wire;
        while let (Some((_, after)), Some(at)) = (split_first(rest), starts.at.get_mut(starts.count)) {
            *at = u8::try_from(wire.len() - rest.len()).unwrap_or(u8::MAX);
            starts.count += 1;
            rest = after;
        }
        starts
    }

    fn rightmost_first<'a>(&'a self, wire: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let starts = self.at.iter().take(self.count).rev();
        starts.filter_map(|&at| split_first(wire.get(usize::from(at)..)?).map(|(label, _)| label))
    }
}
