//! What a service says about one of its instances, and the record in which it stands.

use serde::{Deserialize, Serialize};

use super::keys::{self, TEXT_BYTES_MAX};
use crate::Error;

/// Tags of an instance, at most.
const TAGS_MAX: usize = 32;
/// What an instance weighs that says nothing about it.
const WEIGHT: u32 = 100;

/// One instance of a service. Its record is this as JSON; fields that a reader does not know are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The service's name, such as `flaredb`.
    pub service: String,
    /// Tells the instances of a service apart. An instance that starts again under its id takes its record over.
    pub id: String,
    /// The machine it runs on, by the name that the machine has in gossip.
    pub node: String,
    /// Where it is reached, as its clients write it: a URL, or host and port.
    pub address: String,
    /// Where the machine stands; empty when nobody said.
    #[serde(default)]
    pub zone: String,
    /// Words that its clients may choose by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Its share of the load, beside the others' weights.
    #[serde(default = "weight")]
    pub weight: u32,
    /// What it says about itself.
    #[serde(default)]
    pub health: Health,
}

/// What an instance says about itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It takes calls.
    #[default]
    Passing,
    /// It is there, and wants none.
    Failing,
}

/// A record that is no instance's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("it is no JSON of an instance")]
    Json(#[from] serde_json::Error),
    #[error("it names another instance than its key")]
    Misplaced,
}

fn weight() -> u32 {
    WEIGHT
}

impl Instance {
    /// A healthy instance of ordinary weight, without zone and tags.
    pub fn new(
        service: impl Into<String>,
        id: impl Into<String>,
        node: impl Into<String>,
        address: impl Into<String>,
    ) -> Self {
        Self {
            service: service.into(),
            id: id.into(),
            node: node.into(),
            address: address.into(),
            zone: String::new(),
            tags: Vec::new(),
            weight: WEIGHT,
            health: Health::Passing,
        }
    }

    pub(crate) fn key(&self) -> String {
        keys::instance(&self.service, &self.id)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        keys::check_name("instance.service", &self.service)?;
        keys::check_name("instance.id", &self.id)?;
        keys::check_name("instance.node", &self.node)?;
        let texts = [("instance.address", &self.address), ("instance.zone", &self.zone)];
        let tags = self.tags.iter().map(|tag| ("instance.tags", tag));
        for (field, text) in texts.into_iter().chain(tags) {
            if text.len() > TEXT_BYTES_MAX {
                let accepted = format!("at most {TEXT_BYTES_MAX} bytes");
                return Err(Error::Invalid { field, found: text.clone(), accepted });
            }
        }
        if self.tags.len() > TAGS_MAX {
            let (found, accepted) = (self.tags.len().to_string(), format!("at most {TAGS_MAX} tags"));
            return Err(Error::Invalid { field: "instance.tags", found, accepted });
        }
        Ok(())
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(self).map_err(|error| Error::Invalid {
            field: "instance",
            found: error.to_string(),
            accepted: "what JSON can hold".to_owned(),
        })
    }

    /// Reads the record of the instance `id` of a service.
    pub(crate) fn decode(service: &str, id: &str, record: &[u8]) -> Result<Self, Unreadable> {
        let instance: Self = serde_json::from_slice(record)?;
        match instance.service == service && instance.id == id {
            true => Ok(instance),
            false => Err(Unreadable::Misplaced),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance() -> Instance {
        Instance::new("flaredb", "db1", "host-1", "https://10.0.0.1:7001")
    }

    #[test]
    fn record_is_read_as_it_was_written_and_what_it_leaves_out_has_defaults() {
        let tagged = Instance { tags: vec!["ssd".to_owned()], weight: 7, ..instance() };
        assert_eq!(Instance::decode("flaredb", "db1", &tagged.encode().unwrap()).unwrap(), tagged);
        let short =
            br#"{"service":"flaredb","id":"db1","node":"host-1","address":"https://10.0.0.1:7001","new":1}"#;
        assert_eq!(Instance::decode("flaredb", "db1", short).unwrap(), instance());
    }

    #[test]
    fn record_under_another_key_counts_for_nothing() {
        let record = instance().encode().unwrap();
        assert!(matches!(Instance::decode("flaredb", "db2", &record), Err(Unreadable::Misplaced)));
        assert!(matches!(Instance::decode("flaredb", "db1", b"{}"), Err(Unreadable::Json(_))));
    }

    #[test]
    fn names_that_would_be_another_key_are_refused() {
        assert!(instance().check().is_ok());
        for (service, id) in [("", "a"), ("a/b", "a"), (".verdicts", "a"), ("a", "b/c"), ("a", "")] {
            let refused = Instance { service: service.to_owned(), id: id.to_owned(), ..instance() }.check();
            assert!(matches!(refused, Err(Error::Invalid { .. })), "{service:?} {id:?}");
        }
    }
}
