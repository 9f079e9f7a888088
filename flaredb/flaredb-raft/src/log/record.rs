//! Entry records as the log engine wants them.
//!
//! raft-engine stores protobuf-2 messages. [`Record`] is one whose encoding is the record itself, so that the
//! shared bytes of an entry are copied once, into the write buffer, and wrapped in nothing.

use std::{any::Any, fmt, io::Read as _};

use bytes::Bytes;
use protobuf::{
    Clear, CodedInputStream, CodedOutputStream, Message, ProtobufResult, UnknownFields,
    reflect::MessageDescriptor,
};
use raft_engine::MessageExt;

/// The bytes of one entry.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Record {
    bytes: Bytes,
    unknown: UnknownFields,
}

impl Record {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes, unknown: UnknownFields::new() }
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

/// Tells the engine where a record has its index.
pub(crate) struct Records;

impl MessageExt for Records {
    type Entry = Record;

    fn index(record: &Record) -> u64 {
        record.bytes.iter().take(8).fold(0, |index, byte| index << 8 | u64::from(*byte))
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({} bytes)", self.bytes.len())
    }
}

impl Clear for Record {
    fn clear(&mut self) {
        self.bytes.clear();
    }
}

impl Message for Record {
    fn descriptor(&self) -> &'static MessageDescriptor {
        Self::descriptor_static()
    }

    fn is_initialized(&self) -> bool {
        true
    }

    fn merge_from(&mut self, input: &mut CodedInputStream<'_>) -> ProtobufResult<()> {
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes)?;
        self.bytes = Bytes::from(bytes);
        Ok(())
    }

    fn write_to_with_cached_sizes(&self, output: &mut CodedOutputStream<'_>) -> ProtobufResult<()> {
        output.write_raw_bytes(&self.bytes)
    }

    fn compute_size(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    fn get_cached_size(&self) -> u32 {
        self.compute_size()
    }

    fn get_unknown_fields(&self) -> &UnknownFields {
        &self.unknown
    }

    fn mut_unknown_fields(&mut self) -> &mut UnknownFields {
        &mut self.unknown
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn new() -> Self {
        Self::default()
    }

    fn default_instance() -> &'static Self {
        static INSTANCE: std::sync::LazyLock<Record> = std::sync::LazyLock::new(Record::default);
        &INSTANCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_is_its_own_encoding() {
        let bytes = Bytes::from_iter((0..=255u8).cycle().take(100_000));
        let written = Record::new(bytes.clone()).write_to_bytes().unwrap();
        assert_eq!(written, bytes);
        assert_eq!(Record::parse_from_bytes(&written).unwrap().into_bytes(), bytes);
    }
}
