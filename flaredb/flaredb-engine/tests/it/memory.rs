//! Memory does not grow with the data.

use bytes::Bytes;
use flaredb_engine::{Durability, Engine, NamespaceId, Options, Region, RegionId, ScanRange};
use flaredb_proto::v1::{CasCommit, NamespaceMode, Write, flare_request::Command, write::Op};

use crate::store::Store;

const MEMORY_BYTES: u64 = 32 << 20;
const RECORDS: u32 = 8_000;
const VALUE_BYTES: usize = 4 << 10;

/// About 32 MiB that do not compress, all of it in files.
fn filled() -> (Engine, Store) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { durability: Durability::Flushed, memory_bytes: MEMORY_BYTES };
    let engine = Engine::open(folder.path(), options).unwrap();
    let mut store = Store::of(folder, engine.region(RegionId(1)).unwrap());
    store.create("strong", NamespaceMode::Strong, "");
    let numbers: Vec<u32> = (0..RECORDS).collect();
    for numbers in numbers.chunks(500) {
        let writes =
            numbers.iter().map(|&number| Write { key: key(number), op: Some(Op::Put(value(number))) });
        let batch = CasCommit { namespace_id: 1, writes: writes.collect(), ..CasCommit::default() };
        store.apply(Command::CasCommit(batch));
    }
    store.region.flush().unwrap();
    (engine, store)
}

fn key(number: u32) -> Bytes {
    format!("{number:08}").into()
}

fn value(number: u32) -> Bytes {
    let mut state = u64::from(number) | 1 << 40;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 32).to_le_bytes()
    });
    words.flat_map(|word| word.into_iter().take(4)).take(VALUE_BYTES).collect()
}

/// Reads every record; returns how many pages that took.
fn scan(region: &Region) -> usize {
    let (mut pages, mut found) = (0, 0);
    let mut range = ScanRange::default();
    loop {
        let page = region.scan(NamespaceId(1), range).unwrap();
        pages += 1;
        found += page.records.len();
        let Some(next) = page.next else { break };
        range = ScanRange { start: next, revision: Some(page.revision), ..ScanRange::default() };
    }
    assert_eq!(found, usize::try_from(RECORDS).unwrap());
    pages
}

#[test]
fn reads_fill_the_cache_up_to_its_bound_and_open_files_take_nothing_beside_it() {
    let (engine, store) = filled();
    for number in 0..RECORDS {
        assert!(store.region.get(NamespaceId(1), &key(number)).unwrap().0.is_some());
    }
    let memory = engine.memory().unwrap();
    let bytes = memory.block_cache_bytes + store.region.remembered_bytes();
    assert!(bytes > MEMORY_BYTES / 2, "{memory:?}");
    assert!(bytes <= MEMORY_BYTES + (1 << 20), "{memory:?}");
    assert!(memory.table_readers_bytes < 1 << 20, "{memory:?}");
}

#[test]
fn long_scan_leaves_no_more_than_its_first_page_in_the_cache() {
    let (engine, store) = filled();
    let before = engine.memory().unwrap();
    assert!(scan(&store.region) > 5);
    let after = engine.memory().unwrap();
    let growth = after.block_cache_bytes.saturating_sub(before.block_cache_bytes);
    assert!(growth < 6 << 20, "{before:?}, {after:?}");
}
