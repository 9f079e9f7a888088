//! RocksDB on a disk that is full: what finds it so changes nothing, reads go on, and the same works again later.

use std::time::{Duration, Instant};

use bytes::Bytes;
use flaredb_engine::{
    Applied, Durability, Engine, EngineError, Entry, NamespaceId, Options, Region, RegionId,
};
use flaredb_proto::v1::{CreateNamespaceRequest, NamespaceMode, flare_request::Command};

use crate::{
    disk::Disk,
    store::{encode, put},
};

/// Larger than what files of RocksDB may still have reserved when the disk is full.
const VALUES: u64 = 64;
const PATIENCE: Duration = Duration::from_secs(30);

fn open(disk: &Disk) -> Region {
    let options = Options { durability: Durability::Flushed, ..Options::default() };
    Engine::open(&disk.path().join("state"), options).unwrap().region(RegionId(1)).unwrap()
}

fn apply(region: &Region, index: u64, command: Command) -> Result<(), EngineError> {
    let command = encode(command);
    let applied = Applied { index, host: Bytes::from_static(b"host") };
    region.apply(&[Entry { index, command: Some(&command) }], applied).map(drop)
}

/// A value that does not compress.
fn value(index: u64) -> String {
    let mut state = index + 1;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + u8::try_from(state >> 58).unwrap())
    };
    (0..64 << 10).map(next).collect()
}

fn written(region: &Region, index: u64) -> Result<(), EngineError> {
    apply(region, index, put(&index.to_string(), &value(index), 0))
}

#[test]
fn flush_and_apply_that_find_the_disk_full_change_nothing_and_work_when_there_is_room() {
    let disk = Disk::of_mib(96);
    let region = open(&disk);
    let mode = NamespaceMode::Strong.into();
    let create = CreateNamespaceRequest { name: "n".to_owned(), mode, ..CreateNamespaceRequest::default() };
    apply(&region, 1, Command::CreateNamespace(create)).unwrap();
    (2..VALUES).for_each(|index| written(&region, index).unwrap());
    disk.fill();
    assert!(region.flush().unwrap_err().is_full());
    assert_eq!(region.flushed_index(), 0);
    let refused = written(&region, VALUES).unwrap_err();
    assert!(refused.is_full(), "{refused}");
    assert_eq!(region.applied().index, VALUES - 1);
    for index in 2..VALUES {
        let (record, _) = region.get(NamespaceId(1), index.to_string().as_bytes()).unwrap();
        assert_eq!(record.unwrap().value, value(index));
    }
    let hash = region.state_hash().unwrap();
    disk.free();
    let freed = Instant::now();
    while let Err(error) = written(&region, VALUES) {
        assert!(error.is_full() && freed.elapsed() < PATIENCE, "{error}");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(freed.elapsed() < Duration::from_secs(8), "it took {:?}", freed.elapsed());
    assert_ne!(region.state_hash().unwrap(), hash);
    assert_eq!(region.flush().unwrap(), VALUES);
    let hash = region.state_hash().unwrap();
    drop(region);
    assert_eq!(open(&disk).state_hash().unwrap(), hash);
}
