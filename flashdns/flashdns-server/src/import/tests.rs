//! Against the embedded store: whatever dies half-way, nothing is left behind, and nothing is taken that is in use.

use metadata_store::{Credentials, MetadataConfig};
use tempfile::TempDir;

use super::*;
use crate::{
    metadata::{FlareDbMetadataStore, NAMESPACE, PREFIX},
    plan::{Precondition, Request, SetChange},
    sweep, text,
};

const NOW_MS: i64 = 1_700_000_000_000;

async fn editor(folder: &TempDir) -> Editor {
    let config = MetadataConfig { data_dir: Some(folder.path().to_owned()), ..MetadataConfig::default() };
    let backend = metadata_store::open(&config, NAMESPACE, Credentials::default()).await.unwrap();
    Editor::new(FlareDbMetadataStore::over(backend))
}

fn name() -> ZoneName {
    text::zone_name("example.org").unwrap()
}

fn author(at_unix_ms: i64) -> Author {
    Author { actor: "ada".to_owned(), comment: String::new(), at_unix_ms }
}

fn file(hosts: usize) -> ZoneFile {
    let mut text = "@ 60 IN SOA ns1 h 1 2 3 4 5\n@ 60 IN NS ns1\n".to_owned();
    for host in 0..hosts {
        text.push_str(&format!("h{host} 60 IN A 192.0.2.1\n"));
    }
    text::zone_file(&name(), &text).unwrap()
}

/// How many keys there are under `prefix`.
async fn count(editor: &Editor, prefix: &str) -> usize {
    let (mut count, mut token) = (0, None);
    loop {
        let page = editor.store().scan(prefix, 1000, token.as_ref()).await.unwrap();
        count += page.records.len();
        token = page.next;
        if token.is_none() {
            return count;
        }
    }
}

#[tokio::test]
async fn import_that_died_is_collected_and_the_zone_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let editor = editor(&folder).await;
    import(&editor, &name(), &file(3), &author(NOW_MS)).await.unwrap();
    let before = count(&editor, PREFIX).await;
    let generation = announce(&editor, &author(NOW_MS)).await.unwrap();
    write_rows(&editor, generation.root, &file(1200)).await.unwrap();
    sweep::pass(editor.store(), NOW_MS + EXPIRES_MS - 1).await.unwrap();
    assert_eq!(count(&editor, PREFIX).await, before + 1202, "it may still be under way");
    sweep::pass(editor.store(), NOW_MS + EXPIRES_MS).await.unwrap();
    assert_eq!(count(&editor, PREFIX).await, before);
}

#[tokio::test]
async fn import_that_is_too_late_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let editor = editor(&folder).await;
    let before = import(&editor, &name(), &file(3), &author(NOW_MS)).await.unwrap();
    let generation = announce(&editor, &author(NOW_MS)).await.unwrap();
    write_rows(&editor, generation.root, &file(5)).await.unwrap();
    sweep::pass(editor.store(), NOW_MS + EXPIRES_MS).await.unwrap();
    let stored = editor.find(&name()).await.unwrap();
    let (_, late) = flip(&editor, &name(), &file(5), &author(NOW_MS), &generation, stored).await.unwrap();
    assert!(matches!(editor.commit(late).await, Err(StoreError::Conflict(_))));
    let told = still_ours(&editor, &name(), &generation).await;
    assert!(matches!(told, Err(EditError::ImportExpired { .. })), "{told:?}");
    assert_eq!(editor.zone(&name()).await.unwrap().version, before.version);
}

#[tokio::test]
async fn replaced_rows_and_deleted_zones_leave_nothing_behind() {
    let folder = TempDir::new().unwrap();
    let editor = editor(&folder).await;
    import(&editor, &name(), &file(700), &author(NOW_MS)).await.unwrap();
    let imported = import(&editor, &name(), &file(2), &author(NOW_MS)).await.unwrap();
    sweep::pass(editor.store(), NOW_MS).await.unwrap();
    assert_eq!(count(&editor, keys::RECORD_SETS).await, 3);
    assert_eq!(count(&editor, &keys::log(imported.zone.id)).await, 2);
    editor.delete(&name(), imported.version, NOW_MS).await.unwrap();
    sweep::pass(editor.store(), NOW_MS).await.unwrap();
    assert_eq!(count(&editor, PREFIX).await, 0);
}

/// Editors of two processes know nothing of each other; only the store is between them.
#[tokio::test(flavor = "multi_thread")]
async fn writers_in_two_processes_never_share_a_serial() {
    let folder = TempDir::new().unwrap();
    let first = editor(&folder).await;
    let second = Editor::new(first.store().clone());
    let begun = import(&first, &name(), &file(0), &author(NOW_MS)).await.unwrap().zone.serial;
    let write = |editor: Editor, writer: u8| async move {
        let mut serials = Vec::new();
        for round in 0..20 {
            let data = [format!("\"{writer} {round}\"")];
            let (owner, set) = text::record_set(&name(), "both", "TXT", 60, &data).unwrap();
            let changes = vec![SetChange { owner, set, precondition: Precondition::None }];
            let author = author(NOW_MS);
            let request = Request { changes, soa: None, expected: Version(0), author, repeat: None };
            serials.push(editor.change(&name(), &request).await.unwrap().serial);
        }
        serials
    };
    let (mut all, other) = tokio::join!(write(first.clone(), 1), write(second, 2));
    all.extend(other);
    all.sort_unstable();
    assert_eq!(all, (begun + 1..=begun + 40).collect::<Vec<_>>());
    assert_eq!(count(&first, &keys::log(first.zone(&name()).await.unwrap().zone.id)).await, 41);
}
