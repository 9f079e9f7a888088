//! The registry as a judge sees it: what is registered on whom, and who is down already.

use std::collections::{BTreeMap, BTreeSet};

use chainfire_client::registry::{self, Catalog};
use chainfire_gossip::{Census, NodeId};
use chainfire_proto::{KeyRange, etcdserverpb::RangeRequest};
use chainfire_store::{Store, StoreError, internal::Caller};

use crate::gossip::id_of;

/// Records read at once.
const PAGE_RECORDS: i64 = 1_000;

/// Why the registry cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// This node does not lead any more, or cannot tell.
    #[error(transparent)]
    Leadership(#[from] flaredb_raft::ReadError),
    /// There is too much of it.
    #[error(transparent)]
    Registry(#[from] chainfire_client::Error),
    /// The process ends.
    #[error("the process ends")]
    Stopped,
}

/// Everything that this node's replica holds of the registry, of one revision.
pub(super) fn read(store: &Store, caller: &Caller) -> Result<Catalog, ReadError> {
    let mut catalog = Catalog::default();
    let (mut range, mut revision) = (registry::everything(), store.revision());
    loop {
        let (key, range_end) = range.clone().into_request();
        let request = RangeRequest {
            key,
            range_end: range_end.clone(),
            limit: PAGE_RECORDS,
            revision,
            ..RangeRequest::default()
        };
        let page = store.range(caller, &request)?;
        page.kvs.iter().try_for_each(|record| catalog.put(record))?;
        let Some(last) = page.kvs.last().filter(|_| page.more) else { return Ok(catalog) };
        let next: Vec<u8> = last.key.iter().copied().chain([0]).collect();
        range = KeyRange::new(next, range_end);
        revision = revision.max(1);
    }
}

/// The nodes on which each service has an instance.
pub(super) fn census(catalog: &Catalog) -> Census {
    let mut census = Census::new();
    for instance in catalog.instances() {
        census.entry(instance.service.clone()).or_default().insert(id_of(&instance.node));
    }
    census
}

/// The nodes on which there is a verdict.
pub(super) fn down(catalog: &Catalog) -> BTreeSet<NodeId> {
    catalog.verdicts().map(|verdict| id_of(&verdict.node)).collect()
}

/// The names of all nodes that anybody names.
pub(super) fn names<'a>(
    catalog: &'a Catalog,
    told: impl Iterator<Item = (NodeId, &'a str)>,
) -> BTreeMap<NodeId, String> {
    let instances = catalog.instances().map(|instance| instance.node.as_str());
    let verdicts = catalog.verdicts().map(|verdict| verdict.node.as_str());
    let registered = instances.chain(verdicts).map(|name| (id_of(name), name));
    registered.chain(told).map(|(node, name)| (node, name.to_owned())).collect()
}

/// The nodes with a verdict from before a moment, whom neither the registry nor gossip names any more.
pub(super) fn forgotten(catalog: &Catalog, before_ms: u64, members: &BTreeSet<&str>) -> Vec<String> {
    let registered: BTreeSet<&str> = catalog.instances().map(|instance| instance.node.as_str()).collect();
    let old = catalog.verdicts().filter(|verdict| verdict.since_ms < before_ms);
    let names = old.map(|verdict| verdict.node.as_str());
    names.filter(|name| !registered.contains(name) && !members.contains(name)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use chainfire_client::registry::{Instance, Verdict};
    use chainfire_proto::mvccpb::KeyValue;

    use super::*;

    fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        let mut put = |key: String, value: Vec<u8>| {
            let record = KeyValue { key: key.into(), value: value.into(), ..KeyValue::default() };
            catalog.put(&record).unwrap();
        };
        for (service, id, node) in [("a", "1", "n1"), ("a", "2", "n2"), ("a", "3", "n2"), ("b", "1", "n1")] {
            let instance = Instance::new(service, id, node, "x");
            put(format!("/registry/{service}/{id}"), serde_json::to_vec(&instance).unwrap());
        }
        for (node, since_ms) in [("n2", 10), ("gone", 10), ("heard-of", 10), ("late", 30)] {
            let verdict = Verdict { node: node.to_owned(), since_ms, judge: String::new() };
            put(Verdict::key_of(node), serde_json::to_vec(&verdict).unwrap());
        }
        catalog
    }

    #[test]
    fn service_is_where_its_instances_are_each_node_once() {
        let nodes = |names: &[&str]| names.iter().map(|name| id_of(name)).collect::<BTreeSet<_>>();
        let census = census(&catalog());
        assert_eq!(census["a"], nodes(&["n1", "n2"]));
        assert_eq!(census["b"], nodes(&["n1"]));
        assert_eq!(down(&catalog()), nodes(&["n2", "gone", "heard-of", "late"]));
    }

    #[test]
    fn verdict_outlives_its_node_for_as_long_as_anybody_names_it() {
        assert_eq!(forgotten(&catalog(), 20, &BTreeSet::from(["heard-of"])), ["gone"]);
    }

    #[test]
    fn every_node_that_anybody_names_has_a_name() {
        let (catalog, told) = (catalog(), [(id_of("new"), "new")]);
        let names = names(&catalog, told.into_iter());
        for name in ["n1", "n2", "gone", "new"] {
            assert_eq!(names[&id_of(name)], name);
        }
    }
}
