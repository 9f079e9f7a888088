//! How the keys are watched at one node, without the client library: what a server sends is grouped by its revision
//! as it came, so that a revision that came in two responses is seen as that.

use anyhow::Result;
use chainfire_proto::{
    KeyRange,
    etcdserverpb::{
        WatchCreateRequest, WatchRequest, WatchResponse, watch_client::WatchClient,
        watch_request::RequestUnion,
    },
    mvccpb,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

use super::{CONNECT_AT_MOST, PING_EVERY, Program};
use crate::faults::{
    check::{Event, Meta, Revision, watch::Watched},
    cluster::SLOTS,
    load::watchers::Feed,
};

/// The responses of a watch as a server sends them.
#[derive(Debug)]
pub(super) struct Responses {
    endpoints: Vec<Endpoint>,
}

/// A watch that is open; it ends when no more requests can come.
#[derive(Debug)]
pub(super) struct Open {
    _requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
}

impl Responses {
    /// From any slot.
    ///
    /// # Errors
    /// When an address cannot be used.
    pub(super) fn new<P: Program>() -> Result<Self> {
        let endpoint = |slot| {
            let endpoint = Endpoint::from_shared(P::url(slot))?.connect_timeout(CONNECT_AT_MOST);
            anyhow::Ok(endpoint.http2_keep_alive_interval(PING_EVERY).keep_alive_timeout(PING_EVERY))
        };
        Ok(Self { endpoints: (0..SLOTS).map(endpoint).collect::<Result<_>>()? })
    }
}

impl Feed for Responses {
    type Stream = Open;

    async fn open(&self, slot: usize, watched: &Watched) -> Option<Open> {
        let channel: Channel = self.endpoints.get(slot)?.connect().await.ok()?;
        let (requests, received) = mpsc::channel(1);
        requests.send(request(&watched.prefix, watched.next())).await.ok()?;
        let opened = WatchClient::new(channel).watch(ReceiverStream::new(received)).await;
        let opened = opened.inspect_err(|status| tracing::debug!(%status, "a watch was refused")).ok()?;
        Some(Open { _requests: requests, responses: opened.into_inner() })
    }

    async fn next(stream: &mut Open) -> Option<Vec<Revision>> {
        let response = stream.responses.message().await.ok()??;
        if response.canceled {
            tracing::debug!(reason = response.cancel_reason, "a watch was cancelled");
            return None;
        }
        Some(revisions(&response))
    }
}

fn request(prefix: &str, from_revision: u64) -> WatchRequest {
    let (key, range_end) = KeyRange::prefix(prefix.to_owned()).into_request();
    let create = WatchCreateRequest {
        // etcd takes the empty key for none.
        key: if key.is_empty() { "\0".into() } else { key },
        range_end,
        start_revision: i64::try_from(from_revision).unwrap_or(i64::MAX),
        progress_notify: true,
        prev_kv: true,
        ..WatchCreateRequest::default()
    };
    WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
}

/// The revisions in a response; without events, it is progress up to its header's.
fn revisions(response: &WatchResponse) -> Vec<Revision> {
    if response.created {
        return Vec::new();
    }
    if response.events.is_empty() {
        let revision = response.header.as_ref().map_or(0, |header| number(header.revision));
        return vec![Revision { revision, events: Vec::new() }];
    }
    let mut revisions: Vec<Revision> = Vec::new();
    for event in response.events.iter().filter_map(|event| Some((event, event.kv.as_ref()?))) {
        let revision = number(event.1.mod_revision);
        match revisions.last_mut().filter(|last| last.revision == revision) {
            Some(last) => last.events.push(changed(event.0, event.1)),
            None => revisions.push(Revision { revision, events: vec![changed(event.0, event.1)] }),
        }
    }
    revisions
}

fn changed(event: &mvccpb::Event, record: &mvccpb::KeyValue) -> Event {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let is_put = event.r#type() == mvccpb::event::EventType::Put;
    Event {
        key: text(&record.key),
        value: is_put.then(|| text(&record.value)),
        previous: event.prev_kv.as_ref().map_or(0, |previous| number(previous.mod_revision)),
        meta: is_put.then(|| Meta {
            create_revision: number(record.create_revision),
            version: number(record.version),
            lease: record.lease,
        }),
    }
}

/// What is never negative. If it is after all, it is taken for something that no check accepts.
pub(super) fn number(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use chainfire_proto::etcdserverpb::ResponseHeader;

    use super::*;

    fn event(key: &'static str, mod_revision: i64) -> mvccpb::Event {
        let kv = mvccpb::KeyValue { key: key.into(), mod_revision, ..mvccpb::KeyValue::default() };
        mvccpb::Event { kv: Some(kv), ..mvccpb::Event::default() }
    }

    #[test]
    fn events_of_a_response_are_grouped_by_their_revision_in_the_order_in_which_they_came() {
        let events = vec![event("a", 4), event("b", 4), event("a", 3), event("a", 4)];
        let found = revisions(&WatchResponse { events, ..WatchResponse::default() });
        let shape: Vec<_> = found.iter().map(|entry| (entry.revision, entry.events.len())).collect();
        assert_eq!(shape, [(4, 2), (3, 1), (4, 1)]);
    }

    #[test]
    fn a_response_without_events_is_progress_but_for_the_first() {
        let header = Some(ResponseHeader { revision: 9, ..ResponseHeader::default() });
        let progress = WatchResponse { header, ..WatchResponse::default() };
        assert_eq!(revisions(&progress), [Revision { revision: 9, events: Vec::new() }]);
        assert_eq!(revisions(&WatchResponse { created: true, ..progress }), []);
    }
}
