//! How a record is kept: three varints (the revision that created it, how often it was written since, its lease), and
//! the value behind them. The revision of the last write is the engine's version.

use bytes::{BufMut as _, Bytes, BytesMut};
use chainfire_proto::mvccpb::KeyValue;
use flaredb_engine::{Current, EngineError, RecordView, Versioned};
use prost::encoding::{decode_varint, encode_varint};

use crate::number::{signed, unsigned};

const DAMAGED: EngineError = EngineError::Corrupt { what: "record" };
/// Three varints, at most.
const HEADER_BYTES_MAX: usize = 30;

/// What is known of a record besides its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) create_revision: u64,
    pub(crate) version: u64,
    /// 0: it stays.
    pub(crate) lease: i64,
}

impl Header {
    /// A row with this value.
    pub(crate) fn encode(self, value: &[u8]) -> Bytes {
        let mut row = BytesMut::with_capacity(HEADER_BYTES_MAX + value.len());
        encode_varint(self.create_revision, &mut row);
        encode_varint(self.version, &mut row);
        encode_varint(unsigned(self.lease), &mut row);
        row.put_slice(value);
        row.freeze()
    }

    /// Reads a row back.
    pub(crate) fn decode(mut row: &[u8]) -> Result<(Self, &[u8]), EngineError> {
        let mut field = || decode_varint(&mut row).map_err(|_damaged| DAMAGED);
        let (create_revision, version, lease) = (field()?, field()?, signed(field()?));
        Ok((Self { create_revision, version, lease }, row))
    }

    fn record(self, key: Bytes, value: Bytes, mod_revision: u64) -> KeyValue {
        KeyValue {
            key,
            value,
            create_revision: signed(self.create_revision),
            mod_revision: signed(mod_revision),
            version: signed(self.version),
            lease: self.lease,
        }
    }
}

/// The record that one looks at.
pub(crate) fn of_view(record: RecordView<'_>) -> Result<KeyValue, EngineError> {
    let (header, value) = Header::decode(record.value)?;
    Ok(header.record(Bytes::copy_from_slice(record.key), Bytes::copy_from_slice(value), record.version))
}

/// The record of a row, whose value stays part of it.
pub(crate) fn of_row(key: Bytes, row: &Bytes, version: u64) -> Result<KeyValue, EngineError> {
    let (header, value) = Header::decode(row)?;
    Ok(header.record(key, row.slice_ref(value), version))
}

/// A record that a write meets.
#[derive(Debug)]
pub(crate) struct Before {
    pub(crate) header: Header,
    pub(crate) current: Current,
    /// What it held, if that was read.
    pub(crate) kv: Option<KeyValue>,
}

impl Before {
    pub(crate) fn of(key: Bytes, found: &Versioned) -> Result<Self, EngineError> {
        let current = Current { version: found.version, value_bytes: found.value.len() };
        let (header, value) = Header::decode(&found.value)?;
        let kv = header.record(key, found.value.slice_ref(value), found.version);
        Ok(Self { header, current, kv: Some(kv) })
    }
}
