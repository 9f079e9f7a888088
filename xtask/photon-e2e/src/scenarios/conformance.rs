//! The metadata store's own suite, on each of its backends as they really run.

mod cluster;
mod embedded;
mod keys;

use anyhow::{Result, ensure};
use metadata_store::{
    Namespace,
    conformance::{self, Harness},
};

use self::{cluster::Cluster, embedded::Embedded, keys::Keys};
use super::{Run, say};

/// Whose data the suite writes.
const NAMESPACE: Namespace = Namespace { name: "fiberlb", prefix: "/fiberlb/" };

/// The store in the process, crashed by taking its folder away from it.
pub(super) async fn embedded_backend_passes_the_conformance_suite(run: Run) -> Result<()> {
    every_promise_is_kept(&Embedded::new(&run.folder), run.seed).await
}

/// One FlareDB node, crashed by SIGKILL.
pub(super) async fn flaredb_with_one_node_passes_the_conformance_suite(run: Run) -> Result<()> {
    every_promise_is_kept(&Cluster::start(&run.folder, 1).await?, run.seed).await
}

/// Three FlareDB nodes, all crashed at once by SIGKILL.
pub(super) async fn flaredb_with_three_nodes_passes_the_conformance_suite(run: Run) -> Result<()> {
    every_promise_is_kept(&Cluster::start(&run.folder, 3).await?, run.seed).await
}

/// One etcd process, crashed by SIGKILL.
pub(super) async fn chainfire_backend_with_one_etcd_passes_the_conformance_suite(run: Run) -> Result<()> {
    every_promise_is_kept(&Keys::etcd(&run.folder, 1).await?, run.seed).await
}

/// Three etcd processes, all crashed at once by SIGKILL.
pub(super) async fn chainfire_backend_with_three_etcds_passes_the_conformance_suite(run: Run) -> Result<()> {
    every_promise_is_kept(&Keys::etcd(&run.folder, 3).await?, run.seed).await
}

/// Three nodes of ChainFire, all crashed at once by SIGKILL.
pub(super) async fn chainfire_backend_with_three_chainfires_passes_the_conformance_suite(
    run: Run,
) -> Result<()> {
    every_promise_is_kept(&Keys::chainfire(&run.folder, 3).await?, run.seed).await
}

async fn every_promise_is_kept(harness: &dyn Harness, seed: u64) -> Result<()> {
    let report = conformance::run(harness, seed).await;
    ensure!(report.is_clean(), "{report}");
    say(&format!("{} promises were kept", report.outcomes.len()));
    Ok(())
}
