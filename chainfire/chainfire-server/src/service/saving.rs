//! A snapshot on its way out: read piece by piece, so that it is never in memory whole.

use bytes::Bytes;
use flaredb_engine::Snapshot;
use futures::{Stream, stream};
use tonic::Status;

use crate::{snapshot_file::Encoder, status};

/// Bytes that are read at once.
const PIECE_BYTES_MAX: usize = 1 << 20;

struct Saving {
    view: Snapshot,
    cursor: Vec<u8>,
    file: Encoder,
}

/// The pieces of the file, in order.
pub(super) fn pieces(view: Snapshot) -> impl Stream<Item = Result<Bytes, Status>> {
    let start = Saving { view, cursor: Vec::new(), file: Encoder::new() };
    stream::try_unfold(Some(start), |saving| async {
        let Some(saving) = saving else { return Ok(None) };
        let next = tokio::task::spawn_blocking(|| next(saving)).await;
        let next = next.map_err(|stopped| Status::unavailable(stopped.to_string()))?;
        next.map(Some).map_err(|error| status::storage(&error))
    })
}

fn next(mut saving: Saving) -> Result<(Bytes, Option<Saving>), flaredb_engine::EngineError> {
    let read = saving.view.read(&saving.cursor, PIECE_BYTES_MAX)?;
    let mut piece = saving.file.chunk(&read.data);
    match read.next {
        Some(cursor) => {
            saving.cursor = cursor;
            Ok((piece.into(), Some(saving)))
        }
        None => {
            piece.extend(saving.file.finish());
            Ok((piece.into(), None))
        }
    }
}
