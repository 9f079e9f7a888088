//! One watch: which events it wants, how far it has got, and how they are sent.

use std::sync::Arc;

use chainfire_proto::{
    KeyRange,
    etcdserverpb::{ResponseHeader, WatchCreateRequest, WatchResponse, watch_create_request::FilterType},
    mvccpb::{Event, event::EventType},
};
use chainfire_store::Revision;
use prost::Message as _;
use tonic::Status;

use crate::{api::Api, recent::Batch};

/// Largest piece of a revision, for clients that take it in pieces.
const PIECE_BYTES_MAX: usize = 3 << 19;

/// One watch.
#[derive(Debug)]
pub(super) struct Watcher {
    range: KeyRange,
    puts: bool,
    deletions: bool,
    previous: bool,
    fragment: bool,
    progress: bool,
    /// The first revision that it has not got.
    next: i64,
    /// Something was sent since the last look.
    spoke: bool,
}

/// An event that a watch wants: where it is among those of its revision.
pub(super) type Wanted = (Arc<Revision>, usize);

impl Watcher {
    /// What was asked for, where the store is at `revision`.
    pub(super) fn new(request: &WatchCreateRequest, revision: i64) -> Self {
        let unwanted = |kind: FilterType| request.filters.contains(&i32::from(kind));
        // As etcd: no key is the first one.
        let key = if request.key.is_empty() { vec![0].into() } else { request.key.clone() };
        Self {
            range: KeyRange::new(key, request.range_end.clone()),
            puts: !unwanted(FilterType::Noput),
            deletions: !unwanted(FilterType::Nodelete),
            previous: request.prev_kv,
            fragment: request.fragment,
            progress: request.progress_notify,
            next: if request.start_revision > 0 { request.start_revision } else { revision + 1 },
            spoke: true,
        }
    }

    /// The keys that it watches.
    pub(super) fn range(&self) -> &KeyRange {
        &self.range
    }

    /// The first revision that it has not got.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    /// Whether it is to be told how far it is: it wants to know, and was told nothing since this was asked last.
    pub(super) fn progress_is_due(&mut self) -> bool {
        !std::mem::replace(&mut self.spoke, false) && self.progress
    }

    /// The events of a batch that it wants and has not got. From now on it has got them.
    pub(super) fn take(&mut self, batch: &Batch) -> Vec<Wanted> {
        let new = batch.revisions.iter().filter(|revision| revision.revision >= self.next);
        let wanted = new.flat_map(|revision| {
            let events = revision.events.iter().enumerate();
            let wanted = events.filter(|(_, event)| self.wants(event.kind, &event.kv.key));
            wanted.map(|(at, _)| (Arc::clone(revision), at))
        });
        let wanted = wanted.collect();
        self.next = self.next.max(batch.next);
        wanted
    }

    fn wants(&self, kind: EventType, key: &[u8]) -> bool {
        let kind = match kind {
            EventType::Put => self.puts,
            EventType::Delete => self.deletions,
        };
        kind && self.range.contains(key)
    }

    /// The events as they are sent, with what was there before if that is wanted.
    pub(super) async fn with_previous(&self, api: &Api, wanted: Vec<Wanted>) -> Result<Vec<Event>, Status> {
        if !self.previous || wanted.is_empty() {
            return Ok(wanted.iter().filter_map(|(revision, at)| event(revision, *at)).collect());
        }
        api.read(move |store| {
            let events =
                wanted.iter().filter_map(|(revision, at)| Some((event(revision, *at)?, revision, at)));
            events
                .map(|(sent, revision, at)| {
                    let before = revision.events.get(*at).map(|event| store.previous(event)).transpose()?;
                    Ok(Event { prev_kv: before.flatten(), ..sent })
                })
                .collect()
        })
        .await
    }

    /// The messages in which events are sent: one, or pieces of it for those who take pieces.
    pub(super) fn responses(
        &mut self,
        watch_id: i64,
        header: &ResponseHeader,
        events: Vec<Event>,
    ) -> Vec<WatchResponse> {
        if events.is_empty() {
            return Vec::new();
        }
        self.spoke = true;
        let pieces = if self.fragment { pieces(events) } else { vec![events] };
        let last = pieces.len() - 1;
        let pieces = pieces.into_iter().enumerate();
        pieces
            .map(|(number, events)| WatchResponse {
                header: Some(*header),
                watch_id,
                fragment: number < last,
                events,
                ..WatchResponse::default()
            })
            .collect()
    }
}

fn event(revision: &Revision, at: usize) -> Option<Event> {
    let event = revision.events.get(at)?;
    Some(Event { r#type: event.kind.into(), kv: Some(event.kv.clone()), prev_kv: None })
}

/// Cuts events into messages of a bounded size, unless one event alone is larger.
fn pieces(events: Vec<Event>) -> Vec<Vec<Event>> {
    let (mut pieces, mut bytes) = (vec![Vec::new()], 0);
    for event in events {
        let event_bytes = event.encoded_len();
        if bytes > 0 && bytes + event_bytes > PIECE_BYTES_MAX {
            pieces.push(Vec::new());
            bytes = 0;
        }
        bytes += event_bytes;
        if let Some(piece) = pieces.last_mut() {
            piece.push(event);
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use chainfire_proto::mvccpb::KeyValue;
    use chainfire_store::StoreEvent;

    use super::*;

    fn batch() -> Batch {
        let event = |kind, key: &'static str| StoreEvent {
            kind,
            kv: KeyValue { key: key.into(), ..KeyValue::default() },
            previous_revision: 0,
        };
        let revision = |revision, events| Arc::new(Revision { revision, events });
        let first = revision(2, vec![event(EventType::Put, "a"), event(EventType::Put, "b")]);
        Batch { revisions: vec![first, revision(3, vec![event(EventType::Delete, "a")])], next: 4 }
    }

    fn taken(request: &WatchCreateRequest) -> Vec<(i64, usize)> {
        let mut watcher = Watcher::new(request, 1);
        let taken = watcher.take(&batch()).iter().map(|(revision, at)| (revision.revision, *at)).collect();
        assert_eq!(watcher.next(), 4);
        taken
    }

    #[test]
    fn watch_gets_what_it_asked_for_and_nothing_else() {
        let of = |key: &'static str| WatchCreateRequest { key: key.into(), ..WatchCreateRequest::default() };
        assert_eq!(taken(&of("a")), [(2, 0), (3, 0)]);
        assert_eq!(taken(&WatchCreateRequest { start_revision: 3, ..of("a") }), [(3, 0)]);
        assert_eq!(taken(&WatchCreateRequest { range_end: vec![0].into(), ..of("") }).len(), 3);
        let noput = vec![FilterType::Noput.into()];
        assert_eq!(taken(&WatchCreateRequest { filters: noput, ..of("a") }), [(3, 0)]);
    }

    #[test]
    fn large_events_come_in_pieces_for_those_who_take_them_and_whole_for_others() {
        let value = vec![7; PIECE_BYTES_MAX / 2 + 1];
        let kv = KeyValue { key: "a".into(), value: value.into(), ..KeyValue::default() };
        let events = vec![Event { kv: Some(kv), ..Event::default() }; 3];
        let sent = |fragment| {
            let request = WatchCreateRequest { key: "a".into(), fragment, ..WatchCreateRequest::default() };
            let sent = Watcher::new(&request, 1).responses(7, &ResponseHeader::default(), events.clone());
            sent.iter().map(|response| (response.fragment, response.events.len())).collect::<Vec<_>>()
        };
        assert_eq!(sent(true), [(true, 1), (true, 1), (false, 1)]);
        assert_eq!(sent(false), [(false, 3)]);
    }
}
