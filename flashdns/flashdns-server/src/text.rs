//! Between what people write and what is stored and served: names, types, record data, zone files.
//!
//! What is stored was parsed and printed again, and its records are in canonical order, so two equal record sets
//! are equal text. What passes here can be served: each set is held against the rules of zones and against the
//! data plane itself, so that nothing is committed which every name server would then leave out.

use flashdns_core::{
    Name, NameError, RrSet, Zone, ZoneError,
    present::{self, DataError, FileError, TypeError},
    rtype,
    validate::{self, RuleError, TTL_MAX},
};

use crate::{
    editor::ZoneName,
    import::ZoneFile,
    metadata::records::{RecordSetRecord, SoaRecord},
};

/// Why a text is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TextError {
    /// It is no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// It is no type.
    #[error(transparent)]
    Type(#[from] TypeError),
    /// It is no data of its type.
    #[error(transparent)]
    Data(#[from] DataError),
    /// It breaks a rule of zones.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// It is no zone file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The data plane cannot serve it.
    #[error(transparent)]
    Zone(#[from] ZoneError),
    /// A zone cannot be called so.
    #[error("{found} cannot be the name of a zone; accepted are names below the root, without wildcards")]
    NoZone {
        /// The name.
        found: Name,
    },
    /// A number of the start of authority.
    #[error("{field}: found {found}, accepted is 0 to {TTL_MAX} seconds")]
    Seconds {
        /// Which.
        field: &'static str,
        /// What it is.
        found: u32,
    },
}

/// Reads the name of a zone; the final dot may be left out.
pub(crate) fn zone_name(text: &str) -> Result<ZoneName, TextError> {
    let name = Name::parse(text)?.to_lowercase();
    if name.is_root() || name.labels().any(|label| label == b"*") {
        return Err(TextError::NoZone { found: name });
    }
    Ok(ZoneName { text: name.to_string(), wire: name.as_wire().to_vec() })
}

fn apex(zone: &ZoneName) -> Result<Name, TextError> {
    Ok(Name::from_wire(&zone.wire)?)
}

/// Reads the name of an owner, relative to the zone unless it ends with a dot: in wire form and lower case, and
/// as text in the case as given.
pub(crate) fn owner(zone: &ZoneName, text: &str) -> Result<(Vec<u8>, String), TextError> {
    let zone = apex(zone)?;
    let owner = Name::parse_in(text, &zone)?;
    if !owner.is_within(&zone) {
        return Err(RuleError::OutOfZone { owner, zone }.into());
    }
    Ok((owner.to_lowercase().as_wire().to_vec(), owner.to_string()))
}

/// Reads a type, and writes it as it is stored.
pub(crate) fn mnemonic(text: &str) -> Result<String, TextError> {
    Ok(present::type_name(type_number(text)?))
}

/// Reads a type.
pub(crate) fn type_number(text: &str) -> Result<u16, TextError> {
    Ok(present::parse_type(text)?)
}

/// Reads a record set of the zone: its owner in wire form and lower case, and the set as it is stored.
pub(crate) fn record_set(
    zone: &ZoneName,
    name: &str,
    rtype: &str,
    ttl_s: u32,
    data: &[String],
) -> Result<(Vec<u8>, RecordSetRecord), TextError> {
    let (key, owner) = owner(zone, name)?;
    let zone = apex(zone)?;
    let rtype = type_number(rtype)?;
    let data = data.iter().map(|text| present::parse_data(rtype, text, &zone));
    let data = data.collect::<Result<Vec<_>, DataError>>()?;
    let mut set = RrSet { owner: Name::parse(&owner)?, rtype, ttl: ttl_s, data };
    set.data.sort_unstable();
    servable(&zone, &set)?;
    Ok((key, stored(&set)))
}

/// Holds one set against the rules and the data plane.
fn servable(zone: &Name, set: &RrSet) -> Result<(), TextError> {
    validate::record_set(zone, set)?;
    let soa = (set.rtype != rtype::SOA).then(|| placeholder(zone));
    Zone::compile(zone.clone(), soa.into_iter().chain([set.clone()]))?;
    Ok(())
}

/// A start of authority, since there is no zone without one.
fn placeholder(zone: &Name) -> RrSet {
    let mut data = zone.as_wire().repeat(2);
    data.extend_from_slice(&[0; 20]);
    RrSet { owner: zone.clone(), rtype: rtype::SOA, ttl: 0, data: vec![data.into()] }
}

fn stored(set: &RrSet) -> RecordSetRecord {
    RecordSetRecord {
        name: set.owner.to_string(),
        rtype: present::type_name(set.rtype),
        ttl_s: set.ttl,
        data: set.data.iter().map(|data| present::data_text(set.rtype, data)).collect(),
    }
}

/// The stored set as the data plane wants it.
pub(crate) fn rrset(record: &RecordSetRecord) -> Result<RrSet, TextError> {
    let owner = Name::parse(&record.name)?;
    let rtype = type_number(&record.rtype)?;
    let data = record.data.iter().map(|text| present::parse_data(rtype, text, &Name::root()));
    let data = data.collect::<Result<Vec<_>, DataError>>()?;
    Ok(RrSet { owner, rtype, ttl: record.ttl_s, data })
}

/// Reads the start of authority of the zone.
pub(crate) fn soa(zone: &ZoneName, soa: SoaRecord) -> Result<SoaRecord, TextError> {
    let zone = apex(zone)?;
    let seconds = [
        ("refresh_s", soa.refresh_s),
        ("retry_s", soa.retry_s),
        ("expire_s", soa.expire_s),
        ("minimum_s", soa.minimum_s),
        ("ttl_s", soa.ttl_s),
    ];
    if let Some(&(field, found)) = seconds.iter().find(|(_, found)| *found > TTL_MAX) {
        return Err(TextError::Seconds { field, found });
    }
    let absolute = |text: &str| Name::parse_in(text, &zone).map(|name| name.to_string());
    Ok(SoaRecord { primary: absolute(&soa.primary)?, mailbox: absolute(&soa.mailbox)?, ..soa })
}

/// Reads a zone file, which has to be a whole zone.
pub(crate) fn zone_file(zone: &ZoneName, text: &str) -> Result<ZoneFile, TextError> {
    let apex = apex(zone)?;
    let mut file = present::parse_file(text, &apex)?;
    for set in &mut file.sets {
        set.data.sort_unstable();
    }
    validate::zone(&apex, &file.sets)?;
    Zone::compile(apex.clone(), file.sets.iter().cloned())?;
    let (soas, sets): (Vec<RrSet>, Vec<RrSet>) =
        file.sets.into_iter().partition(|set| set.rtype == rtype::SOA);
    let missing = || RuleError::Missing { zone: apex.clone(), rtype: "SOA" };
    let first = soas.first().ok_or_else(missing)?;
    let (record, serial) = soa_of(first).ok_or_else(missing)?;
    let key = |set: &RrSet| set.owner.to_lowercase().as_wire().to_vec();
    Ok(ZoneFile {
        soa: soa(zone, record)?,
        serial,
        sets: sets.iter().map(|set| (key(set), stored(set))).collect(),
        records: file.records as u64,
    })
}

/// What a start of authority says, and its serial.
fn soa_of(set: &RrSet) -> Option<(SoaRecord, u32)> {
    let data = set.data.first()?;
    let (names, numbers) = data.split_last_chunk::<20>()?;
    let (primary, mailbox) = (1..names.len()).find_map(|at| {
        let (primary, mailbox) = names.split_at(at);
        Some((Name::from_wire(primary).ok()?, Name::from_wire(mailbox).ok()?))
    })?;
    let mut numbers = numbers.as_chunks::<4>().0.iter().map(|number| u32::from_be_bytes(*number));
    let serial = numbers.next()?;
    let soa = SoaRecord {
        primary: primary.to_string(),
        mailbox: mailbox.to_string(),
        refresh_s: numbers.next()?,
        retry_s: numbers.next()?,
        expire_s: numbers.next()?,
        minimum_s: numbers.next()?,
        ttl_s: set.ttl,
    };
    Some((soa, serial))
}

/// The lines of a stored set in a zone file.
pub(crate) fn zone_file_lines(set: &RecordSetRecord) -> String {
    let RecordSetRecord { name, rtype, ttl_s, data } = set;
    data.iter().map(|data| format!("{name} {ttl_s} IN {rtype} {data}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> ZoneName {
        zone_name("Example.NET").unwrap()
    }

    fn set(name: &str, rtype: &str, data: &[&str]) -> Result<RecordSetRecord, String> {
        let data: Vec<String> = data.iter().map(|text| (*text).to_owned()).collect();
        record_set(&zone(), name, rtype, 60, &data).map(|(_, set)| set).map_err(|error| error.to_string())
    }

    #[test]
    fn zone_is_called_by_its_lower_case_name_and_not_by_every_name() {
        assert_eq!(zone().text, "example.net.");
        for wrong in [".", "*.example.net", "", "a..b"] {
            zone_name(wrong).unwrap_err();
        }
    }

    #[test]
    fn equal_record_sets_are_equal_text() {
        let one = set("WWW", "a", &["192.0.2.2", "192.0.2.1"]).unwrap();
        assert_eq!(one, set("WWW.example.net.", "A", &["192.0.2.1", "192.0.2.2"]).unwrap());
        assert_eq!((one.name.as_str(), one.rtype.as_str()), ("WWW.example.net.", "A"));
    }

    #[test]
    fn stored_set_is_what_is_served() {
        for (rtype, data) in [("MX", "10 mail"), ("TXT", "\"a b\" c"), ("TYPE65280", "\\# 2 abcd")] {
            let stored = set("@", rtype, &[data]).unwrap();
            let served = rrset(&stored).unwrap();
            assert_eq!(super::stored(&served), stored);
        }
    }

    #[test]
    fn set_that_no_name_server_could_serve_is_refused() {
        for (name, rtype, data) in [
            ("www.example.org.", "A", "192.0.2.1"),
            ("www", "A", "192.0.2"),
            ("www", "SOA", "a. b. 1 2 3 4 5"),
            ("www", "AXFR", "x"),
            ("*", "NS", "ns1"),
        ] {
            set(name, rtype, &[data]).unwrap_err();
        }
        let texts: Vec<String> = (0..400).map(|number| format!("\"{number:0>250}\"")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let error = set("big", "TXT", &texts).unwrap_err();
        assert!(error.contains("larger than a message"), "{error}");
    }

    #[test]
    fn zone_file_is_a_whole_zone() {
        let soa = "@ 60 IN SOA ns1 hostmaster 7 1 2 3 4\n";
        let file = zone_file(&zone(), &format!("{soa}@ NS ns1\nns1 A 192.0.2.1\n")).unwrap();
        assert_eq!((file.serial, file.records, file.sets.len()), (7, 3, 2));
        assert_eq!(
            (file.soa.primary.as_str(), file.soa.minimum_s, file.soa.ttl_s),
            ("ns1.example.net.", 4, 60)
        );
        for wrong in ["", soa, "@ 60 IN NS ns1\n", &format!("{soa}@ NS ns1\nw CNAME a\nw A 192.0.2.1\n")] {
            zone_file(&zone(), wrong).unwrap_err();
        }
    }

    #[test]
    fn exported_lines_are_read_back() {
        let soa = "@ 60 IN SOA ns1 hostmaster 7 1 2 3 4\n@ NS ns1\n";
        let file =
            zone_file(&zone(), &format!("{soa}a\\.b TXT \"x;y\" \"\\\"\"\n* CAA 0 issue \"ca\"\n")).unwrap();
        let lines: String = file.sets.iter().map(|(_, set)| zone_file_lines(set)).collect();
        let again = zone_file(&zone(), &format!("{soa}{lines}")).unwrap();
        assert_eq!(again.sets, file.sets);
    }
}
