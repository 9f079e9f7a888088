//! The bounds of what FlareDB takes, for every mode and backend.

/// Longest key.
pub const KEY_BYTES_MAX: usize = 4_096;
/// Largest value.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Largest atomic batch: keys, values and compares together.
pub const BATCH_BYTES_MAX: usize = 8 << 20;
/// Most operations (compares and writes) in a batch.
pub const BATCH_OPS_MAX: usize = 1_024;
/// Largest page of a scan, unless its first record alone is larger.
pub const SCAN_BYTES_MAX: usize = 8 << 20;
/// Most records in a page of a scan.
pub const SCAN_RECORDS_MAX: usize = 1_024;
/// Most bytes of values that the conflicts of one batch report.
pub const CONFLICT_BYTES_MAX: usize = 8 << 20;
/// Most namespaces of a cluster.
pub const NAMESPACES_MAX: usize = 4_096;
/// Longest idempotency id.
pub const IDEMPOTENCY_ID_BYTES_MAX: usize = 64;
/// Longest name of a namespace.
pub const NAMESPACE_BYTES_MAX: usize = 63;
