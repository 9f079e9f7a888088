//! What a node says about itself: small, so that it fits beside other gossip in one packet.

use std::net::SocketAddr;

use bytes::BufMut as _;

use crate::wire::{Malformed, Reader, put_addr, put_text};

/// Bytes of a node's metadata on the wire, at most.
pub const METADATA_BYTES_MAX: usize = 512;
/// Bytes of a name: of the node, a zone, a service.
const NAME_BYTES_MAX: usize = 63;
/// Addresses of a node, at most.
const ADDRESSES_MAX: usize = 4;
/// Services of a node, at most.
const SERVICES_MAX: usize = 32;

/// What a node says about itself. It was checked when it was made, and is checked again when it comes from a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    name: String,
    zone: String,
    addresses: Vec<SocketAddr>,
    services: Vec<String>,
}

/// Metadata that no packet could carry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// A name that is empty or too long. The zone alone may be empty.
    #[error("{what} {value:?} must have 1 to {NAME_BYTES_MAX} bytes")]
    Name {
        /// Which of the names.
        what: &'static str,
        /// What was given.
        value: String,
    },
    /// A list that is too long.
    #[error("{count} {what}, at most {max} can be told")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many were given.
        count: usize,
        /// How many may be.
        max: usize,
    },
    /// All together is too large.
    #[error("metadata of {bytes} bytes, at most {METADATA_BYTES_MAX} fit into a packet")]
    TooLarge {
        /// What it would take.
        bytes: usize,
    },
}

impl Metadata {
    /// Metadata of a node called `name`.
    ///
    /// # Errors
    /// When a name is empty or over 63 bytes, there are over 4 addresses or 32 services, or all takes over
    /// [`METADATA_BYTES_MAX`].
    pub fn new(
        name: impl Into<String>,
        zone: impl Into<String>,
        addresses: Vec<SocketAddr>,
        services: Vec<String>,
    ) -> Result<Self, MetadataError> {
        let metadata = Self { name: name.into(), zone: zone.into(), addresses, services };
        metadata.check()?;
        Ok(metadata)
    }

    /// The node's name, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it stands; empty when nobody said.
    pub fn zone(&self) -> &str {
        &self.zone
    }

    /// Where its services are reached.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The services that run on it.
    pub fn services(&self) -> &[String] {
        &self.services
    }

    fn check(&self) -> Result<(), MetadataError> {
        check_name("node name", &self.name)?;
        if !self.zone.is_empty() {
            check_name("zone", &self.zone)?;
        }
        check_count("addresses", self.addresses.len(), ADDRESSES_MAX)?;
        check_count("services", self.services.len(), SERVICES_MAX)?;
        self.services.iter().try_for_each(|service| check_name("service", service))?;
        let bytes = self.encoded().len();
        if bytes > METADATA_BYTES_MAX {
            return Err(MetadataError::TooLarge { bytes });
        }
        Ok(())
    }

    pub(crate) fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        put_text(&mut out, &self.name);
        put_text(&mut out, &self.zone);
        out.put_u8(u8::try_from(self.addresses.len()).unwrap_or(u8::MAX));
        self.addresses.iter().for_each(|addr| put_addr(&mut out, *addr));
        out.put_u8(u8::try_from(self.services.len()).unwrap_or(u8::MAX));
        self.services.iter().for_each(|service| put_text(&mut out, service));
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let name = reader.text()?.to_owned();
        let zone = reader.text()?.to_owned();
        let addresses = (0..reader.u8()?).map(|_| reader.addr()).collect::<Result<_, _>>()?;
        let services =
            (0..reader.u8()?).map(|_| reader.text().map(str::to_owned)).collect::<Result<_, _>>()?;
        reader.end()?;
        Self::new(name, zone, addresses, services).map_err(|_invalid| Malformed)
    }
}

fn check_name(what: &'static str, value: &str) -> Result<(), MetadataError> {
    if (1..=NAME_BYTES_MAX).contains(&value.len()) {
        return Ok(());
    }
    Err(MetadataError::Name { what, value: value.to_owned() })
}

fn check_count(what: &'static str, count: usize, max: usize) -> Result<(), MetadataError> {
    if count <= max { Ok(()) } else { Err(MetadataError::TooMany { what, count, max }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn metadata() -> impl Strategy<Value = Metadata> {
        let addr =
            any::<std::net::IpAddr>().prop_flat_map(|ip| any::<u16>().prop_map(move |p| (ip, p).into()));
        let addresses = proptest::collection::vec(addr, 0..=ADDRESSES_MAX);
        let services = proptest::collection::vec("[a-z]{1,10}", 0..=SERVICES_MAX);
        ("[a-z]{1,63}", "[a-z]{0,20}", addresses, services)
            .prop_filter_map("too large", |(name, zone, addresses, services)| {
                Metadata::new(name, zone, addresses, services).ok()
            })
    }

    proptest! {
        #[test]
        fn metadata_is_read_as_it_was_written(metadata in metadata()) {
            prop_assert_eq!(Metadata::decode(&metadata.encoded()), Ok(metadata));
        }

        #[test]
        fn any_bytes_are_metadata_or_malformed(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            if let Ok(metadata) = Metadata::decode(&bytes) {
                prop_assert_eq!(metadata.encoded(), bytes);
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let long = "n".repeat(64);
        let error = Metadata::new(long, "", vec![], vec![]).unwrap_err();
        assert!(matches!(error, MetadataError::Name { what: "node name", .. }));
        let services = vec!["s".repeat(40); 20];
        let error = Metadata::new("n", "", vec![], services).unwrap_err();
        assert_eq!(error, MetadataError::TooLarge { bytes: 2 + 1 + 1 + 1 + 20 * 41 });
    }
}
