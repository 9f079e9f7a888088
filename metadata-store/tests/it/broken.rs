//! Backends that break one thing each: the suite has to notice.

mod commits;
mod reads;
mod watches;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use metadata_store::{Commit, MetadataStore, Page, Record, StoreError, Token, Version, Watch, conformance};

use crate::harness::Embedded;

/// One thing that a backend does wrong. What is not overridden is right.
#[async_trait]
pub(crate) trait Bug: Send + Sync {
    async fn get(
        &self,
        store: &dyn MetadataStore,
        key: &str,
        at_least: Version,
    ) -> Result<Option<Record>, StoreError> {
        store.get(key, at_least).await
    }

    async fn scan(
        &self,
        store: &dyn MetadataStore,
        prefix: &str,
        limit: usize,
        token: Option<&Token>,
    ) -> Result<Page, StoreError> {
        store.scan(prefix, limit, token).await
    }

    async fn commit(&self, store: &dyn MetadataStore, commit: Commit) -> Result<Version, StoreError> {
        store.commit(commit).await
    }

    async fn watch(
        &self,
        store: &dyn MetadataStore,
        prefix: &str,
        from: Version,
    ) -> Result<Watch, StoreError> {
        store.watch(prefix, from).await
    }

    /// Whether a crash takes what was acknowledged last.
    fn loses_the_tail(&self) -> bool {
        false
    }
}

/// A right backend behind a bug.
pub(crate) struct Broken {
    pub(crate) store: Arc<dyn MetadataStore>,
    pub(crate) bug: Arc<dyn Bug>,
}

#[async_trait]
impl MetadataStore for Broken {
    async fn get(&self, key: &str, at_least: Version) -> Result<Option<Record>, StoreError> {
        self.bug.get(self.store.as_ref(), key, at_least).await
    }

    async fn scan(&self, prefix: &str, limit: usize, token: Option<&Token>) -> Result<Page, StoreError> {
        self.bug.scan(self.store.as_ref(), prefix, limit, token).await
    }

    async fn commit(&self, commit: Commit) -> Result<Version, StoreError> {
        self.bug.commit(self.store.as_ref(), commit).await
    }

    async fn watch(&self, prefix: &str, from: Version) -> Result<Watch, StoreError> {
        self.bug.watch(self.store.as_ref(), prefix, from).await
    }
}

/// Says yes every so many times.
#[derive(Default)]
pub(crate) struct Every(AtomicUsize);

impl Every {
    pub(crate) fn nth(&self, n: usize) -> bool {
        (self.0.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(n)
    }
}

/// The promise is among those of the suite, and the suite finds it broken.
pub(crate) async fn breaks(promise: &str, bug: impl Bug + 'static) {
    let report = conformance::run_only(&Embedded::broken(bug).await, 1, |name| name == promise).await;
    assert_eq!(report.outcomes.len(), 1, "no promise is called {promise}");
    let violation = report.outcomes[0].violation.as_deref();
    let how = violation.unwrap_or_else(|| panic!("the suite did not notice: {report}"));
    assert!(!how.starts_with("the harness failed"), "{how}");
}

/// One test for each bug, named after it: which promise it breaks.
macro_rules! each_breaks {
    ($($test:ident: $bug:expr => $promise:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                crate::broken::breaks(stringify!($promise), $bug).await;
            }
        )*
    };
}
pub(crate) use each_breaks;
