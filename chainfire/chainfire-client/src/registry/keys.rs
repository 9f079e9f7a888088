//! Where the registry's records stand. One place, so that whoever writes and whoever reads cannot disagree.

use chainfire_proto::KeyRange;

use crate::Error;

/// Before every key of the registry.
const PREFIX: &str = "/registry/";
/// Before every verdict. No service's name begins with a dot.
const VERDICTS: &str = "/registry/.verdicts/";
/// Bytes of a name, at most.
const NAME_BYTES_MAX: usize = 63;
/// Bytes of every other text, at most.
pub(super) const TEXT_BYTES_MAX: usize = 255;

/// What a key of the registry is the key of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    Instance { service: &'a str, id: &'a str },
    Verdict { node: &'a str },
}

pub(super) fn instance(service: &str, id: &str) -> String {
    format!("{PREFIX}{service}/{id}")
}

/// The key of the verdict on a node.
pub(super) fn verdict(node: &str) -> String {
    format!("{VERDICTS}{node}")
}

/// The keys of all records.
pub fn everything() -> KeyRange {
    KeyRange::prefix(PREFIX)
}

/// The instances of one service.
pub(super) fn of_service(service: &str) -> KeyRange {
    KeyRange::prefix(format!("{PREFIX}{service}/"))
}

/// All verdicts.
pub(super) fn verdicts() -> KeyRange {
    KeyRange::prefix(VERDICTS)
}

/// What stands under a key; `None`: nothing of the registry's.
pub(super) fn place(key: &[u8]) -> Option<Place<'_>> {
    let key = std::str::from_utf8(key).ok()?;
    if let Some(node) = key.strip_prefix(VERDICTS) {
        return Some(Place::Verdict { node });
    }
    let (service, id) = key.strip_prefix(PREFIX)?.split_once('/')?;
    (is_name(service) && is_name(id)).then_some(Place::Instance { service, id })
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(plain)
}

/// Refuses a name that no key can hold.
pub(super) fn check_name(field: &'static str, name: &str) -> Result<(), Error> {
    if is_name(name) {
        return Ok(());
    }
    let accepted =
        format!("1 to {NAME_BYTES_MAX} letters, digits, hyphens, underscores, colons and dots, no dot first");
    Err(Error::Invalid { field, found: format!("{name:?}"), accepted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_again_and_in_the_range_that_is_watched_for_it() {
        let (own, verdict) = (instance("flaredb", "db1"), verdict("host-1"));
        assert_eq!(place(own.as_bytes()), Some(Place::Instance { service: "flaredb", id: "db1" }));
        assert_eq!(place(verdict.as_bytes()), Some(Place::Verdict { node: "host-1" }));
        assert!(of_service("flaredb").contains(own.as_bytes()) && verdicts().contains(verdict.as_bytes()));
        assert!(everything().contains(own.as_bytes()) && everything().contains(verdict.as_bytes()));
        assert!(!of_service("flaredb").contains(instance("flaredb2", "db1").as_bytes()));
    }

    #[test]
    fn what_is_no_record_has_no_place() {
        for key in ["/registry/", "/registry/flaredb", "/registry/flaredb/a/b", "/other/a/b", "/registry//x"]
        {
            assert_eq!(place(key.as_bytes()), None, "{key}");
        }
    }
}
