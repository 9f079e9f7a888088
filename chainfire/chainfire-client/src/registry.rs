//! Who offers which service where: instances register under leases, and their callers find them.
//!
//! An instance's record is `/registry/<service>/<id>`, JSON of an [`Instance`], under a lease: it ends with the process
//! that keeps it. Beside them stand the verdicts, `/registry/.verdicts/<node>`: ChainFire's leader writes one when it has
//! found a machine dead, long before the leases of its instances end, and takes it back when the machine is there again.
//! Readers leave the instances of such a node out. Whether a verdict is just (several ways of asking, never half of a
//! service, nodes that fail again and again) is the leader's care and nobody else's.
//!
//! It has no tasks of its own: a registration is kept by whoever awaits [`Registration::keep`], and a [`Resolver`] is
//! current while [`Resolver::keep`] is awaited.

mod catalog;
mod instance;
mod keys;
mod registration;
mod resolver;
mod verdict;

use std::time::Duration;

use chainfire_proto::KeyRange;

pub use self::{
    catalog::Catalog,
    instance::{Health, Instance},
    keys::everything,
    registration::Registration,
    resolver::{Resolved, Resolver},
    verdict::Verdict,
};
use crate::{Client, Error, PageRequest};

/// Records in one page.
const PAGE_RECORDS: u32 = 1_000;

/// The registry of a cluster.
#[derive(Debug, Clone)]
pub struct Registry {
    client: Client,
}

impl Registry {
    /// The registry that this client's cluster holds.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Registers an instance. It stays for as long as [`Registration::keep`] is awaited, and for `ttl` after that.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an instance or a `ttl` that cannot be registered, and any other.
    pub async fn register(&self, instance: Instance, ttl: Duration) -> Result<Registration, Error> {
        Registration::begin(self.client.clone(), instance, ttl).await
    }

    /// Everything that is registered, and every verdict, of one revision.
    ///
    /// # Errors
    /// Any [`Error`] but an unknown outcome.
    pub async fn everything(&self) -> Result<Catalog, Error> {
        let mut catalog = Catalog::default();
        self.read(&mut catalog, everything(), 0).await?;
        Ok(catalog)
    }

    /// The instances of one service and every verdict, of one revision, and which that is.
    ///
    /// # Errors
    /// Any [`Error`] but an unknown outcome.
    pub async fn of_service(&self, service: &str) -> Result<(Catalog, i64), Error> {
        keys::check_name("service", service)?;
        let mut catalog = Catalog::default();
        let revision = self.read(&mut catalog, keys::of_service(service), 0).await?;
        self.read(&mut catalog, keys::verdicts(), revision).await?;
        Ok((catalog, revision))
    }

    /// One that knows a service's instances while [`Resolver::keep`] is awaited.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that no service can have.
    pub fn resolver(&self, service: impl Into<String>) -> Result<Resolver, Error> {
        Resolver::new(self.clone(), service.into())
    }

    /// Reads a range page by page; returns the revision that all of it is of.
    async fn read(&self, catalog: &mut Catalog, range: KeyRange, revision: i64) -> Result<i64, Error> {
        let mut request = PageRequest { range, limit: PAGE_RECORDS, revision };
        loop {
            let page = self.client.page(request.clone()).await?;
            page.records.iter().try_for_each(|record| catalog.put(record))?;
            let Some(next) = page.next else { return Ok(page.revision) };
            let (_, end) = request.range.into_request();
            request = PageRequest { range: KeyRange::new(next, end), revision: page.revision, ..request };
        }
    }
}
