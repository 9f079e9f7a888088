//! Bugs of watches.

use async_trait::async_trait;
use futures::{Stream, StreamExt as _, future::ready, stream};
use metadata_store::{MetadataStore, Revision, StoreError, Version, Watch};

use super::{Bug, Every, each_breaks};

each_breaks! {
    dropped_event_is_noticed: DroppedEvent => watch_sees_each_revision_whole_once_and_in_order,
    dropped_revision_is_noticed: DroppedRevision::default() => watch_sees_each_revision_whole_once_and_in_order,
    doubled_revision_is_noticed: DoubledRevision => watch_sees_each_revision_whole_once_and_in_order,
    reordered_revisions_are_noticed: Reordered => watch_sees_each_revision_whole_once_and_in_order,
    split_revision_is_noticed: Split => watch_sees_each_revision_whole_once_and_in_order,
    delete_without_an_event_is_noticed: SilentDelete => watch_sees_each_revision_whole_once_and_in_order,
    revision_that_a_new_watch_repeats_is_noticed: OneTooEarly => watch_goes_on_where_the_last_one_ended,
    revision_that_a_new_watch_misses_is_noticed: OneTooLate => watch_goes_on_where_the_last_one_ended,
    old_watch_that_starts_now_is_noticed: ForgivenWatch => watch_behind_history_is_told_so,
    watch_from_now_that_starts_before_is_noticed: FromTheStart => watch_from_now_sees_what_comes_next,
}

type Item = Result<Revision, StoreError>;

/// A bug in what comes out of a right watch.
macro_rules! watch_bug {
    ($(#[$about:meta])* $bug:ident, |$bug_self:ident, $watch:ident| $body:expr) => {
        #[async_trait]
        impl Bug for $bug {
            async fn watch(
                &self,
                store: &dyn MetadataStore,
                prefix: &str,
                from: Version,
            ) -> Result<Watch, StoreError> {
                let ($bug_self, $watch) = (self, store.watch(prefix, from).await?);
                Ok($body.boxed())
            }
        }
    };
}

/// A revision of several events loses one.
struct DroppedEvent;

watch_bug!(DroppedEvent, |_bug, watch| watch.map(|item| {
    item.map(|mut revision| {
        revision.events.truncate(revision.events.len().max(2) - 1);
        revision
    })
}));

/// A revision is left out now and then.
#[derive(Default)]
struct DroppedRevision(std::sync::Arc<Every>);

watch_bug!(DroppedRevision, |bug, watch| {
    let every = std::sync::Arc::clone(&bug.0);
    watch.filter(move |_item| ready(!every.nth(7)))
});

/// Each revision comes twice.
struct DoubledRevision;

watch_bug!(DoubledRevision, |_bug, watch| watch.flat_map(|item| {
    let again = item.as_ref().ok().cloned().map(Ok);
    stream::iter(std::iter::once(item).chain(again))
}));

/// One revision comes after the one behind it.
struct Reordered;

watch_bug!(Reordered, |_bug, watch| {
    let changes =
        watch.filter(|item| ready(item.as_ref().map_or(true, |revision| !revision.events.is_empty())));
    changes
        .enumerate()
        .scan(None, |held, (number, item): (usize, Item)| {
            let out = match number {
                2 => {
                    *held = Some(item);
                    Vec::new()
                }
                _ => std::iter::once(item).chain(held.take()).collect(),
            };
            ready(Some(stream::iter(out)))
        })
        .flatten()
});

/// Each event is a revision.
struct Split;

fn split(item: Item) -> impl Stream<Item = Item> {
    let parts: Vec<Item> = match item {
        Ok(Revision { version, events }) => {
            events.into_iter().map(|event| Ok(Revision { version, events: vec![event] })).collect()
        }
        error => vec![error],
    };
    stream::iter(parts)
}

watch_bug!(Split, |_bug, watch| watch.flat_map(split));

/// Deletes are not told.
struct SilentDelete;

watch_bug!(SilentDelete, |_bug, watch| watch.map(|item| {
    item.map(|mut revision| {
        revision.events.retain(|event| event.value.is_some());
        revision
    })
}));

/// Begins somewhere else than it was asked to.
macro_rules! wrong_start {
    ($bug:ident, |$from:ident| $wrong:expr) => {
        #[async_trait]
        impl Bug for $bug {
            async fn watch(
                &self,
                store: &dyn MetadataStore,
                prefix: &str,
                $from: Version,
            ) -> Result<Watch, StoreError> {
                store.watch(prefix, $wrong).await
            }
        }
    };
}

/// Takes `from` for the last revision that was seen.
struct OneTooLate;

wrong_start!(OneTooLate, |from| if from == Version(0) { from } else { from.next() });

/// Repeats the revision before.
struct OneTooEarly;

wrong_start!(OneTooEarly, |from| Version(from.0.saturating_sub(1)));

/// From now on is from the start.
struct FromTheStart;

wrong_start!(FromTheStart, |from| Version(from.0.max(1)));

/// A watch that is too old begins now.
struct ForgivenWatch;

#[async_trait]
impl Bug for ForgivenWatch {
    async fn watch(
        &self,
        store: &dyn MetadataStore,
        prefix: &str,
        from: Version,
    ) -> Result<Watch, StoreError> {
        match store.watch(prefix, from).await {
            Err(StoreError::TooOld { .. }) => store.watch(prefix, Version(0)).await,
            other => other,
        }
    }
}
