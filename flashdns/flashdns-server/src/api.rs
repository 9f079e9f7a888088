//! The control API: thin gRPC shells over [`crate::editor`]. A request is authorized, validated, carried out,
//! and answered when the data plane of this process serves it.
//!
//! Nothing is decided here, and nothing is read from the data plane but its conditions.

mod changes;
mod record_sets;
mod status;
mod wire;
mod zones;

use std::{sync::Arc, time::Duration};

use metadata_store::Version;
use photon_runtime::{Action, Principal, Resource, authorize, principal};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tonic::{Request, Status};

pub(crate) use self::{record_sets::RecordSetsApi, zones::ZonesApi};
use crate::{
    clock,
    editor::{Editor, ZoneName},
    plan::Author,
    served::Served,
    text,
};

/// How long a change waits to be served before it answers all the same; the zone's condition then tells why.
const SERVED_WITHIN: Duration = Duration::from_secs(1);

/// The same for an import, which is compiled whole before it is served.
const IMPORT_SERVED_WITHIN: Duration = Duration::from_secs(10);

/// Zone files that are read and written at a time; each may take ten times its size in memory.
const IMPORTS_MAX: usize = 2;

/// Bytes of a comment.
const COMMENT_BYTES_MAX: usize = 1024;

/// What every RPC works with.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) editor: Editor,
    pub(crate) served: Served,
    /// Wakes the sweeper after something was left behind.
    pub(crate) sweep: Arc<Notify>,
    imports: Arc<Semaphore>,
}

impl Api {
    pub(crate) fn new(editor: Editor, served: Served) -> Api {
        Api { editor, served, sweep: Arc::default(), imports: Arc::new(Semaphore::new(IMPORTS_MAX)) }
    }

    /// Waits until this import may begin; the call's deadline bounds it.
    async fn import_turn(&self) -> Result<SemaphorePermit<'_>, Status> {
        self.imports.acquire().await.map_err(|_closed| Status::unavailable("no imports are taken any more"))
    }

    async fn wait_served(&self, version: Version) {
        self.wait_served_within(version, SERVED_WITHIN).await;
    }

    async fn wait_served_within(&self, version: Version, limit: Duration) {
        if !self.served.wait_for(version, limit).await {
            tracing::warn!(version = version.0, "change is committed but not served yet");
        }
    }
}

/// Lets the caller read, or tells why not.
fn reader<T>(request: &Request<T>) -> Result<(), Status> {
    allow(request, Action::Read).map(|_principal| ())
}

/// Lets the caller write, and says who it is for the log.
fn writer<T>(request: &Request<T>, comment: &str) -> Result<Author, Status> {
    let actor = actor(allow(request, Action::Write)?);
    if comment.len() > COMMENT_BYTES_MAX {
        let found = comment.len();
        return Err(status::invalid("comment", format!("{found} bytes"), "at most 1,024 bytes"));
    }
    Ok(Author { actor, comment: comment.to_owned(), at_unix_ms: clock::unix_ms() })
}

fn allow<T>(request: &Request<T>, action: Action) -> Result<&Principal, Status> {
    let principal = principal(request)?;
    authorize(principal, action, &Resource::Dns)?;
    Ok(principal)
}

fn actor(principal: &Principal) -> String {
    match principal {
        Principal::Service { service, node } => format!("service {service}/{node}"),
        Principal::Operator { name, .. } => name.clone(),
    }
}

fn zone_name(name: &str) -> Result<ZoneName, Status> {
    text::zone_name(name).map_err(|error| status::bad_text("zone", &error))
}

/// The asked page size within the bounds; 0 is the default.
fn page_size(asked: u32, default: usize, most: usize) -> usize {
    match usize::try_from(asked) {
        Ok(0) => default,
        Ok(asked) => asked.min(most),
        Err(_) => most,
    }
}
