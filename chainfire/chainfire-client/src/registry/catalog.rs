//! What the registry holds, or the part of it that somebody reads: from records and their changes to instances that may
//! be called. Pure.

use std::collections::{BTreeMap, BTreeSet};

use chainfire_proto::mvccpb::{Event, KeyValue, event::EventType};

use super::{
    instance::{Health, Instance},
    keys::{self, Place},
    verdict::Verdict,
};
use crate::Error;

/// Records that a reader holds, at most.
const RECORDS_MAX: usize = 100_000;

/// Instances, and the nodes that are down.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// By service and id.
    instances: BTreeMap<(String, String), Instance>,
    /// By node.
    verdicts: BTreeMap<String, Verdict>,
}

impl Catalog {
    /// The instances that are registered, whatever is thought of them.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values()
    }

    /// The instances that may be called: those that are well by their own word, on nodes that no verdict is on.
    pub fn available(&self) -> impl Iterator<Item = &Instance> {
        self.instances().filter(|instance| self.is_available(instance))
    }

    /// Whether an instance may be called.
    pub fn is_available(&self, instance: &Instance) -> bool {
        instance.health == Health::Passing && !self.verdicts.contains_key(&instance.node)
    }

    /// The verdict on a node.
    pub fn verdict(&self, node: &str) -> Option<&Verdict> {
        self.verdicts.get(node)
    }

    /// All verdicts.
    pub fn verdicts(&self) -> impl Iterator<Item = &Verdict> {
        self.verdicts.values()
    }

    /// The names of the services that have an instance.
    pub fn services(&self) -> BTreeSet<&str> {
        self.instances.keys().map(|(service, _)| service.as_str()).collect()
    }

    /// Takes over a record. One that nobody can read counts as absent: it is not this reader's to repair, and the others
    /// are as good as before.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when there are more records than a reader holds.
    pub fn put(&mut self, record: &KeyValue) -> Result<(), Error> {
        match keys::place(&record.key) {
            Some(Place::Instance { service, id }) => {
                let key = (service.to_owned(), id.to_owned());
                match Instance::decode(service, id, &record.value) {
                    Ok(instance) => drop(self.instances.insert(key, instance)),
                    Err(error) => {
                        self.instances.remove(&key);
                        tracing::warn!(service, id, %error, "a record of the registry cannot be read");
                    }
                }
            }
            Some(Place::Verdict { node }) => match serde_json::from_slice::<Verdict>(&record.value) {
                Ok(verdict) if verdict.node == node => drop(self.verdicts.insert(node.to_owned(), verdict)),
                Ok(_) => tracing::warn!(node, "a verdict names another node than its key"),
                Err(error) => tracing::warn!(node, %error, "a verdict cannot be read"),
            },
            None => {}
        }
        if self.instances.len() + self.verdicts.len() > RECORDS_MAX {
            let message = format!("the registry holds over {RECORDS_MAX} records");
            return Err(Error::TooLarge { message });
        }
        Ok(())
    }

    /// Takes over a change.
    ///
    /// # Errors
    /// As [`Catalog::put`].
    pub fn apply(&mut self, event: &Event) -> Result<(), Error> {
        let Some(record) = &event.kv else { return Ok(()) };
        if event.r#type() == EventType::Put {
            return self.put(record);
        }
        match keys::place(&record.key) {
            Some(Place::Instance { service, id }) => {
                self.instances.remove(&(service.to_owned(), id.to_owned()));
            }
            Some(Place::Verdict { node }) => drop(self.verdicts.remove(node)),
            None => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(id: &str, node: &str) -> Instance {
        Instance::new("flaredb", id, node, "10.0.0.1:1")
    }

    fn record(key: String, value: Vec<u8>) -> KeyValue {
        KeyValue { key: key.into(), value: value.into(), ..KeyValue::default() }
    }

    fn put(catalog: &mut Catalog, instance: &Instance) {
        catalog.put(&record(instance.key(), instance.encode().unwrap())).unwrap();
    }

    fn verdict(node: &str) -> KeyValue {
        let verdict = Verdict { node: node.to_owned(), since_ms: 1, judge: "a".to_owned() };
        record(Verdict::key_of(node), serde_json::to_vec(&verdict).unwrap())
    }

    fn delete(catalog: &mut Catalog, kv: KeyValue) {
        catalog.apply(&Event { r#type: EventType::Delete.into(), kv: Some(kv), prev_kv: None }).unwrap();
    }

    fn available(catalog: &Catalog) -> Vec<&str> {
        catalog.available().map(|instance| instance.id.as_str()).collect()
    }

    #[test]
    fn instances_of_a_node_are_gone_while_a_verdict_is_on_it_whichever_came_first() {
        let mut catalog = Catalog::default();
        put(&mut catalog, &instance("a", "host-1"));
        put(&mut catalog, &instance("b", "host-2"));
        catalog.put(&verdict("host-1")).unwrap();
        assert_eq!(available(&catalog), ["b"]);
        put(&mut catalog, &instance("c", "host-1"));
        assert_eq!(available(&catalog), ["b"]);
        delete(&mut catalog, verdict("host-1"));
        assert_eq!(available(&catalog), ["a", "b", "c"]);
        delete(&mut catalog, record(instance("a", "").key(), Vec::new()));
        assert_eq!(available(&catalog), ["b", "c"]);
    }

    #[test]
    fn instance_that_wants_no_calls_gets_none() {
        let mut catalog = Catalog::default();
        put(&mut catalog, &Instance { health: Health::Failing, ..instance("a", "host-1") });
        assert_eq!((available(&catalog).len(), catalog.instances().count()), (0, 1));
    }

    #[test]
    fn record_that_became_unreadable_is_absent_and_the_others_stay() {
        let mut catalog = Catalog::default();
        put(&mut catalog, &instance("a", "host-1"));
        put(&mut catalog, &instance("b", "host-1"));
        catalog.put(&record(instance("a", "").key(), b"?".to_vec())).unwrap();
        catalog.put(&record(Verdict::key_of("host-1"), b"?".to_vec())).unwrap();
        assert_eq!(available(&catalog), ["b"]);
    }
}
