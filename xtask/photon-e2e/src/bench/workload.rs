//! What the clients of both sides of a database benchmark do: their operations, keys and connections, and how the use of
//! the machine is counted.

use std::{collections::HashMap, path::Path};

use anyhow::Result;

use super::{Usage, load::KEYS};
use crate::process;

/// Bytes of a value.
pub(super) const VALUE_BYTES: usize = 256;
const KEY_BYTES: usize = 64;
/// Connections of all clients of a side together, at most.
pub(super) const CONNECTIONS: u32 = 16;
/// Keys that each client swaps.
const OWN_KEYS: u64 = 64;
/// Writes of one batch.
pub(super) const BATCH: u64 = 32;
/// In a mix, one operation in so many is a write.
const WRITES_ONE_IN: u64 = 10;

/// One operation of the benchmark.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    /// Writes a key, whatever is there.
    Put,
    /// Reads a key, linearizably.
    Get,
    /// Nine reads for each write.
    Mix,
    /// Compares and swaps a key of the client's own.
    Swap,
    /// Writes several keys atomically.
    Batch,
    /// Reads a key of the client's own and swaps it, in one transaction.
    ReadAndSwap,
}

/// The load's key with this number, padded to 64 bytes.
pub(super) fn key(number: u64) -> Vec<u8> {
    padded(format!("/load/{number:016x}"))
}

fn padded(key: String) -> Vec<u8> {
    let mut key = key.into_bytes();
    key.resize(KEY_BYTES, b'k');
    key
}

/// The numbers of the keys in the batch that begins with this one.
pub(super) fn batch(first: u64) -> impl Iterator<Item = u64> {
    (first..first + BATCH).map(|number| number % KEYS)
}

/// Whether the operation of a mix that met this number is a write.
pub(super) fn is_write(number: u64) -> bool {
    number.is_multiple_of(WRITES_ONE_IN)
}

/// Keys that only one client writes, with the version that its last write made.
#[derive(Debug)]
pub(super) struct OwnKeys {
    owner: String,
    versions: HashMap<Vec<u8>, u64>,
}

impl OwnKeys {
    /// None written yet.
    pub(super) fn of(owner: String) -> Self {
        Self { owner, versions: HashMap::new() }
    }

    /// The own key behind a number, and the version it is at; 0: it was never written.
    pub(super) fn pick(&self, number: u64) -> (Vec<u8>, u64) {
        let key = padded(format!("/cas/{}/{:x}", self.owner, number % OWN_KEYS));
        let version = self.versions.get(&key).copied().unwrap_or(0);
        (key, version)
    }

    /// Remembers the version that a swap made.
    pub(super) fn learned(&mut self, key: Vec<u8>, version: u64) {
        self.versions.insert(key, version);
    }
}

/// One measurement: what, by how many clients, for which time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    /// What.
    pub(super) operation: Operation,
    /// By how many clients.
    pub(super) clients: u32,
    /// Of which round.
    pub(super) number: u32,
}

/// What the servers of a side have used so far; both sides take turns on the same disk.
pub(super) fn usage(disk: &Path, pids: &[u32]) -> Result<Usage> {
    let mut usage = Usage { written_bytes: process::written_bytes(disk)?, ..Usage::default() };
    for pid in pids {
        usage.cpu_s += process::cpu_s([*pid])?;
        usage.resident_bytes = usage.resident_bytes.max(process::resident_bytes(*pid)?);
    }
    Ok(usage)
}

/// A connection, shared evenly, and keys of its own for each client.
pub(super) fn shared<C: Clone>(connections: &[C], round: Round) -> impl Iterator<Item = (C, OwnKeys)> {
    let Round { clients, number, .. } = round;
    let keys = (0..clients).map(move |client| OwnKeys::of(format!("{clients}-{number}-{client}")));
    connections.iter().cloned().cycle().zip(keys)
}
