//! Promises about watches.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::future::try_join;
use rand::{RngExt as _, rngs::StdRng};

use super::case::{Case, Kept, PAUSE, Violation, delete, json, keep, next, put, revision, watch};
use crate::{Event, Revision, StoreError, Version, Write};

/// Revisions of one run.
const REVISIONS: u32 = 120;
/// Names that are written.
const NAMES: u32 = 12;

/// Makes random batches and says what a watch has to deliver of each.
struct Writer {
    random: StdRng,
    now: BTreeMap<String, Version>,
    number: u32,
}

impl Writer {
    fn new(case: &Case<'_>) -> Writer {
        Writer { random: case.random(), now: BTreeMap::new(), number: 0 }
    }

    fn batch(&mut self, case: &Case<'_>) -> Vec<Write> {
        self.number += 1;
        let size = self.random.random_range(1..6);
        let names: std::collections::BTreeSet<u32> =
            (0..size).map(|_| self.random.random_range(0..NAMES)).collect();
        let mut writes = Vec::new();
        for name in names {
            let key = case.key(&format!("{name:02}"));
            let gone = self.now.contains_key(&key) && self.random.random_ratio(1, 3);
            writes.push(if gone { delete(&key) } else { put(&key, &format!("{} of {name}", self.number)) });
        }
        writes
    }

    /// Writes a batch and tells the revision that it made.
    async fn write(&mut self, case: &Case<'_>) -> Result<Revision, Violation> {
        let writes = self.batch(case);
        let version = case.write(writes.clone()).await?;
        let events = writes.into_iter().map(|write| self.event(write, version)).collect();
        Ok(Revision { version, events })
    }

    fn event(&mut self, write: Write, version: Version) -> Event {
        let (key, value): (String, Option<Bytes>) = match write {
            Write::Put { key, value } => (key, Some(value)),
            Write::Delete { key } => (key, None),
        };
        let previous = match value {
            Some(_) => self.now.insert(key.clone(), version),
            None => self.now.remove(&key),
        };
        Event { key, value, previous: previous.unwrap_or_default() }
    }
}

fn sorted(mut revision: Revision) -> Revision {
    revision.events.sort_unstable_by(|one, two| one.key.cmp(&two.key));
    revision
}

/// What was written is what is seen.
fn same(seen: &[Revision], written: &[Revision]) -> Kept {
    for (place, (seen, written)) in seen.iter().zip(written).enumerate() {
        let seen = sorted(seen.clone());
        keep!(seen == *written, "revision number {place} of the watch is {seen:?}, written was {written:?}");
    }
    keep!(seen.len() == written.len(), "{} revisions written, {} watched", written.len(), seen.len());
    Ok(())
}

/// A watch that is open all the time, beside the writer.
pub(super) async fn watch_sees_each_revision_whole_once_and_in_order(case: &Case<'_>) -> Kept {
    let first = case.put(&case.key("first"), "x").await?;
    let mut events = watch(case.store.as_ref(), &case.folder, first.next()).await?;
    let write = async {
        let (mut writer, mut written) = (Writer::new(case), Vec::new());
        for _ in 0..REVISIONS {
            written.push(writer.write(case).await?);
        }
        let last = case.put(&case.key("last"), "x").await?;
        Ok::<_, Violation>((written, last))
    };
    let read = async {
        let mut seen = Vec::new();
        let last = case.key("last");
        loop {
            let revision = revision(&mut events).await?;
            if revision.events.iter().any(|event| event.key == last) {
                return Ok((seen, revision.version));
            }
            seen.push(revision);
        }
    };
    let ((written, last), (seen, end)) = try_join(write, read).await?;
    keep!(last == end, "the last revision is {last}, watched at {end}");
    same(&seen, &written)
}

/// Also when it ended because what keeps the data did; and from any revision that is retained.
pub(super) async fn watch_goes_on_where_the_last_one_ended(case: &Case<'_>) -> Kept {
    let first = case.put(&case.key("first"), "x").await?;
    let write = async {
        let (mut writer, mut written) = (Writer::new(case), Vec::new());
        for _ in 0..REVISIONS / 2 {
            written.push(writer.write(case).await?);
        }
        case.harness.crash().await?;
        let behind = case.reconnected().await?;
        for _ in REVISIONS / 2..REVISIONS {
            written.push(writer.write(&behind).await?);
        }
        Ok::<_, Violation>(written)
    };
    let (written, seen) = try_join(write, follow(case, first.next(), REVISIONS as usize)).await?;
    same(&seen, &written)?;
    let middle = REVISIONS as usize / 3;
    let from = written[middle].version;
    let store = case.connect().await?;
    let mut events = watch(store.as_ref(), &case.folder, from).await?;
    let seen = revision(&mut events).await?;
    keep!(seen.version == from, "a watch from {from} begins at {}", seen.version);
    Ok(())
}

/// Follows as a service does: a watch that ends is opened again behind the last revision. It gives up each watch
/// after a few revisions as well.
async fn follow(case: &Case<'_>, from: Version, count: usize) -> Result<Vec<Revision>, Violation> {
    let (mut seen, mut from): (Vec<Revision>, Version) = (Vec::new(), from);
    while seen.len() < count {
        let store = case.connect().await?;
        let mut events = match store.watch(&case.folder, from).await {
            Err(error) if error.is_passing() => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            other => other?,
        };
        for _ in 0..17 {
            match next(&mut events).await? {
                Some(Ok(revision)) => {
                    from = revision.version.next();
                    seen.push(revision);
                }
                Some(Err(error)) if !error.is_passing() => return Err(error.into()),
                _ended => break,
            }
            if seen.len() >= count {
                break;
            }
        }
    }
    Ok(seen)
}

/// And nothing from before.
pub(super) async fn watch_from_now_sees_what_comes_next(case: &Case<'_>) -> Kept {
    let key = case.key("thing");
    case.put(&key, "before").await?;
    let mut events = watch(case.store.as_ref(), &case.folder, Version::ABSENT).await?;
    let version = case.put(&key, "after").await?;
    let seen = revision(&mut events).await?;
    keep!(seen.version == version, "written at {version}, watched at {}", seen.version);
    let value = seen.events.first().and_then(|event| event.value.clone());
    keep!(value == Some(json("after")), "written \"after\", watched {value:?}");
    Ok(())
}

/// Not answered with a gap.
pub(super) async fn watch_behind_history_is_told_so(case: &Case<'_>) -> Kept {
    let key = case.key("thing");
    let old = case.put(&key, "old").await?;
    for number in 0..5 {
        case.put(&key, &number.to_string()).await?;
    }
    let last = case.put(&key, "last").await?;
    case.harness.compact(last).await?;
    let newest = case.put(&key, "newest").await?;
    let store = case.connect().await?;
    let told = match watch(store.as_ref(), &case.folder, old).await {
        Ok(mut events) => next(&mut events).await?.map(Result::err),
        Err(error) => Some(Some(error)),
    };
    let is_told = matches!(told, Some(Some(StoreError::TooOld { .. })));
    keep!(is_told, "a watch from {old}, which is forgotten, was told {told:?}");
    let mut events = watch(store.as_ref(), &case.folder, newest).await?;
    let seen = revision(&mut events).await?.version;
    keep!(seen == newest, "a watch from {newest}, which is retained, begins at {seen}");
    Ok(())
}
