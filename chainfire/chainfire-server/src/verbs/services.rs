//! `chainfire services`: what is registered, and what of it may be called.

use anyhow::{Result, ensure};
use chainfire_client::{
    Registry,
    registry::{Catalog, Health, Instance},
};
use photon_runtime::output::Row;
use serde::Serialize;

use super::Options;

#[derive(Debug, Serialize)]
struct ServiceRow {
    service: String,
    instances: usize,
    available: usize,
}

impl Row for ServiceRow {
    const COLUMNS: &'static [&'static str] = &["SERVICE", "INSTANCES", "AVAILABLE"];

    fn cells(&self) -> Vec<String> {
        vec![self.service.clone(), self.instances.to_string(), self.available.to_string()]
    }
}

#[derive(Debug, Serialize)]
struct InstanceRow {
    #[serde(flatten)]
    instance: Instance,
    state: &'static str,
}

impl Row for InstanceRow {
    const COLUMNS: &'static [&'static str] =
        &["INSTANCE", "NODE", "ADDRESS", "STATE", "ZONE", "WEIGHT", "TAGS"];

    fn cells(&self) -> Vec<String> {
        let or_none = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        let Instance { id, node, address, zone, weight, tags, .. } = self.instance.clone();
        vec![
            id,
            node,
            address,
            self.state.to_owned(),
            or_none(zone),
            weight.to_string(),
            or_none(tags.join(",")),
        ]
    }
}

/// Shows all services, or the instances of one.
pub(super) async fn run(name: Option<&str>, options: &Options) -> Result<()> {
    let registry = Registry::new(options.connect.client()?);
    let Some(name) = name else {
        return Ok(options.output.rows(&services(&registry.everything().await?))?);
    };
    let (catalog, _) = registry.of_service(name).await?;
    let rows: Vec<_> = catalog.instances().map(|instance| row(&catalog, instance)).collect();
    ensure!(!rows.is_empty(), "no instance of {name} is registered");
    Ok(options.output.rows(&rows)?)
}

fn services(catalog: &Catalog) -> Vec<ServiceRow> {
    let of = |service: &str| {
        let instances = catalog.instances().filter(|instance| instance.service == service);
        let available = catalog.available().filter(|instance| instance.service == service);
        ServiceRow { service: service.to_owned(), instances: instances.count(), available: available.count() }
    };
    catalog.services().into_iter().map(of).collect()
}

fn row(catalog: &Catalog, instance: &Instance) -> InstanceRow {
    let state = match (catalog.verdict(&instance.node), instance.health) {
        (Some(_), _) => "node is down",
        (None, Health::Failing) => "wants no calls",
        (None, Health::Passing) => "available",
    };
    InstanceRow { instance: instance.clone(), state }
}
