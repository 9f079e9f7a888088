//! All records under a prefix, as a stream that asks for a page when the one before it is used up.
//!
//! All pages of a Strong scan are of one revision, that of the first page. No more than one page is held.

use std::{
    pin::Pin,
    task::{Context, Poll},
    vec,
};

use bytes::Bytes;
use flaredb_proto::{
    prefix_end,
    v1::{RawRecord, RawScanRequest, Record, ScanRequest},
};
use futures::{Stream, stream};

use crate::{Error, IntoBytes, RdbClient};

type Boxed<R> = Pin<Box<dyn Stream<Item = Result<R, Error>> + Send>>;

/// The records of a Strong namespace under a prefix, in the order of their keys, all of one revision. An error is the
/// last item.
pub struct Scan(Boxed<Record>);

/// The records of an Eventual namespace under a prefix, in the order of their keys. An error is the last item.
pub struct RawScan(Boxed<RawRecord>);

/// A page: its records, and what follows it.
type Page<R, Q> = (Vec<R>, Option<Q>);

/// Where a scan is.
struct Pages<R, Q> {
    records: vec::IntoIter<R>,
    /// The request of the next page; `None`: there is none.
    next: Option<Q>,
}

impl RdbClient {
    /// Reads all records under a prefix, page by page as the stream is polled.
    pub fn scan_prefix(&self, namespace: &str, prefix: impl IntoBytes) -> Scan {
        let (start_key, end_key) = range(prefix.into_bytes());
        let first =
            ScanRequest { namespace: namespace.to_owned(), start_key, end_key, ..ScanRequest::default() };
        let client = self.clone();
        Scan(stream_of(first, move |request| next_page(client.clone(), request)))
    }

    /// Like [`RdbClient::scan_prefix`], of an Eventual namespace at whatever this client's replica holds, and no less
    /// than this client has seen.
    pub fn raw_scan_prefix(&self, namespace: &str, prefix: impl IntoBytes) -> RawScan {
        let (start_key, end_key) = range(prefix.into_bytes());
        let first = RawScanRequest {
            namespace: namespace.to_owned(),
            start_key,
            end_key,
            ..RawScanRequest::default()
        };
        let client = self.clone();
        RawScan(stream_of(first, move |request| next_raw_page(client.clone(), request)))
    }
}

/// The keys that start with a prefix; an empty end is the end of the namespace.
fn range(prefix: Bytes) -> (Bytes, Bytes) {
    let end = prefix_end(&prefix).map(Bytes::from).unwrap_or_default();
    (prefix, end)
}

async fn next_page(client: RdbClient, request: ScanRequest) -> Result<Page<Record, ScanRequest>, Error> {
    let page = client.scan_page(request.clone()).await?;
    let next = (!page.next_key.is_empty()).then_some(ScanRequest {
        start_key: page.next_key,
        revision: page.revision,
        ..request
    });
    Ok((page.records, next))
}

async fn next_raw_page(
    client: RdbClient,
    request: RawScanRequest,
) -> Result<Page<RawRecord, RawScanRequest>, Error> {
    let page = client.raw_scan_page(request.clone()).await?;
    let next = (!page.next_key.is_empty()).then_some(RawScanRequest { start_key: page.next_key, ..request });
    Ok((page.records, next))
}

fn stream_of<R, Q, F>(first: Q, fetch: impl Fn(Q) -> F + Send + 'static) -> Boxed<R>
where
    R: Send + 'static,
    Q: Send + 'static,
    F: Future<Output = Result<Page<R, Q>, Error>> + Send + 'static,
{
    let pages = Pages { records: Vec::new().into_iter(), next: Some(first) };
    Box::pin(stream::unfold((pages, fetch), |(mut pages, fetch)| async move {
        loop {
            if let Some(record) = pages.records.next() {
                return Some((Ok(record), (pages, fetch)));
            }
            match fetch(pages.next.take()?).await {
                Ok((records, next)) => pages = Pages { records: records.into_iter(), next },
                // Without a next page, the stream is at its end.
                Err(error) => return Some((Err(error), (pages, fetch))),
            }
        }
    }))
}

macro_rules! stream {
    ($type:ident, $record:ident) => {
        impl Stream for $type {
            type Item = Result<$record, Error>;

            fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
                self.0.as_mut().poll_next(context)
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.debug_struct(stringify!($type)).finish_non_exhaustive()
            }
        }
    };
}

stream!(Scan, Record);
stream!(RawScan, RawRecord);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_without_a_successor_is_scanned_to_the_end_of_the_namespace() {
        let range = |prefix: &'static [u8]| range(Bytes::from_static(prefix));
        assert_eq!(range(b"/a"), (Bytes::from_static(b"/a"), Bytes::from_static(b"/b")));
        assert_eq!(range(b"a\xff"), (Bytes::from_static(b"a\xff"), Bytes::from_static(b"b")));
        assert_eq!(range(b"\xff\xff"), (Bytes::from_static(b"\xff\xff"), Bytes::new()));
        assert_eq!(range(b""), (Bytes::new(), Bytes::new()));
    }
}
