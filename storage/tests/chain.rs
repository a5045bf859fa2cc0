//! State, blocks and journal.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::open;
use floe_ledger::{ChangeSet, MemoryState, StateRead};
use floe_storage::book::{PEERS_MAX, UPLOAD_BYTES_MAX};
use floe_storage::{StorageError, Store, StoreConfig, Upload};
use floe_types::{Height, NodeId};
use proptest::prelude::*;

fn changes(entries: &[(&[u8], Option<&[u8]>)]) -> ChangeSet {
    ChangeSet(entries.iter().map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec))).collect())
}

fn begun() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.commit_genesis(&changes(&[(b"a", Some(b"1"))])).unwrap();
    (directory, store)
}

#[test]
fn a_block_its_certificate_and_its_changes_come_back() {
    let (directory, store) = begun();
    store.commit_block(Height(1), b"block", b"certificate", &changes(&[(b"a", None), (b"b", Some(b"2"))])).unwrap();
    drop(store);
    let store = open(directory.path());
    assert_eq!(store.last_height(), Some(Height(1)));
    let block = store.block(Height(1)).unwrap().unwrap();
    assert_eq!((block.block.as_slice(), block.certificate.as_slice()), (&b"block"[..], &b"certificate"[..]));
    assert_eq!(store.get(b"a").unwrap(), None);
    assert_eq!(store.get(b"b").unwrap(), Some(b"2".to_vec()));
    assert_eq!(store.block(Height(2)).unwrap(), None);
}

#[test]
#[should_panic(expected = "does not follow")]
fn a_height_that_does_not_follow_is_our_bug() {
    let (_directory, store) = begun();
    let _ = store.commit_block(Height(2), b"", b"", &ChangeSet::new());
}

#[test]
#[should_panic(expected = "genesis is written once")]
fn a_second_genesis_is_our_bug() {
    let (_directory, store) = begun();
    let _ = store.commit_genesis(&ChangeSet::new());
}

#[test]
fn blocks_are_given_up_to_a_count_and_a_size_but_at_least_one() {
    let (_directory, store) = begun();
    for height in 1..=5 {
        store.commit_block(Height(height), &[0; 100], &[1; 10], &ChangeSet::new()).unwrap();
    }
    let given = |from, count, bytes| store.blocks(Height(from), count, bytes).unwrap().len();
    assert_eq!(given(1, 3, 10_000), 3);
    assert_eq!(given(4, 10, 10_000), 2);
    assert_eq!(given(1, 10, 220), 2);
    assert_eq!(given(1, 10, 1), 1);
    assert_eq!(given(1, 0, 1), 0);
    assert_eq!(given(6, 10, 10_000), 0);
}

#[test]
fn a_block_too_long_is_refused_and_nothing_changes() {
    let (_directory, store) = begun();
    let error = store.commit_block(Height(1), &vec![0; 3 << 20], b"", &changes(&[(b"z", Some(b"1"))])).unwrap_err();
    assert!(matches!(error, StorageError::TooLong { .. }));
    assert_eq!(store.get(b"z").unwrap(), None);
    store.commit_block(Height(1), b"", b"", &ChangeSet::new()).unwrap();
}

#[test]
fn a_snapshot_stays_at_its_height() {
    let (_directory, store) = begun();
    let snapshot = store.snapshot();
    store.commit_block(Height(1), b"", b"", &changes(&[(b"a", Some(b"2")), (b"b", Some(b"3"))])).unwrap();
    assert_eq!(snapshot.height().unwrap(), Some(Height(0)));
    assert_eq!(snapshot.get(b"a").unwrap(), Some(b"1".to_vec()));
    assert_eq!(snapshot.range(b"a", b"z", 9).unwrap().len(), 1);
    assert_eq!(store.get(b"a").unwrap(), Some(b"2".to_vec()));
    assert_eq!(store.snapshot().height().unwrap(), Some(Height(1)));
}

#[test]
fn the_journal_keeps_order_and_ends_with_its_block() {
    let (directory, store) = begun();
    store.journal_append(&[(Height(1), b"one"), (Height(2), b"early"), (Height(1), b"two")]).unwrap();
    store.journal_append(&[(Height(1), b"three")]).unwrap();
    drop(store);
    let store = open(directory.path());
    assert_eq!(store.journal_entries(Height(1)).unwrap(), [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
    assert_eq!(store.statistics().unwrap().journal_entries, 4);
    store.journal_append(&[(Height(1), b"four")]).unwrap();
    assert_eq!(store.journal_entries(Height(1)).unwrap().len(), 4);
    store.commit_block(Height(1), b"", b"", &ChangeSet::new()).unwrap();
    assert!(store.journal_entries(Height(1)).unwrap().is_empty());
    assert_eq!(store.journal_entries(Height(2)).unwrap(), [b"early".to_vec()]);
    assert_eq!(
        store.journal_append(&[(Height(2), b"fine"), (Height(1), b"late")]),
        Err(StorageError::Decided { height: Height(1), last: Height(1) })
    );
    assert_eq!(store.journal_entries(Height(2)).unwrap().len(), 1, "all or none");
}

#[test]
fn the_journal_is_bounded() {
    let (_directory, store) = begun();
    let long = vec![0u8; (2 << 20) + 1];
    assert!(matches!(store.journal_append(&[(Height(1), &long)]), Err(StorageError::TooLong { .. })));
    let entry = &long[..2 << 20];
    let many = vec![(Height(1), entry); 129];
    assert!(matches!(store.journal_append(&many), Err(StorageError::TooMany { .. })));
}

#[test]
fn the_peer_book_is_replaced_as_a_whole_and_bounded() {
    let (directory, store) = begun();
    let node = |number: u8| NodeId([number; 32]);
    store.save_peers(&[(node(1), b"one".to_vec()), (node(2), b"two".to_vec())]).unwrap();
    store.save_peers(&[(node(3), b"three".to_vec()), (node(2), b"zwei".to_vec())]).unwrap();
    drop(store);
    let store = open(directory.path());
    let book = [(node(2), b"zwei".to_vec()), (node(3), b"three".to_vec())];
    assert_eq!(store.load_peers().unwrap(), book);
    let many = vec![(node(1), Vec::new()); PEERS_MAX + 1];
    assert!(matches!(store.save_peers(&many), Err(StorageError::TooMany { .. })));
    assert!(matches!(store.save_peers(&[(node(1), vec![0; 5000])]), Err(StorageError::TooLong { .. })));
    assert_eq!(store.load_peers().unwrap(), book);
}

#[test]
fn uploads_are_listed_in_pages_and_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let config = StoreConfig { uploads_max: 3, ..common::config() };
    let open = || Store::open(directory.path(), common::IDENTITY, config.clone()).unwrap();
    let store = open();
    for upload in [b"a", b"b", b"c"] {
        store.put_upload(upload, b"value").unwrap();
    }
    store.put_upload(b"b", b"again").unwrap();
    assert!(matches!(store.put_upload(b"d", b""), Err(StorageError::TooMany { max: 3, .. })));
    drop(store);
    let store = open();
    assert!(matches!(store.put_upload(b"d", b""), Err(StorageError::TooMany { max: 3, .. })));
    assert_eq!(store.uploads_after(Some(b"a"), 1).unwrap(), [Upload { key: b"b".to_vec(), value: b"again".to_vec() }]);
    store.remove_upload(b"a").unwrap();
    store.remove_upload(b"a").unwrap();
    store.put_upload(b"d", b"").unwrap();
    assert_eq!(store.uploads_after(None, 9).unwrap().len(), 3);
    assert!(matches!(store.put_upload(b"d", &vec![0; UPLOAD_BYTES_MAX + 1]), Err(StorageError::TooLong { .. })));
    assert!(matches!(store.put_upload(&[0; 65], b""), Err(StorageError::TooLong { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn state_on_disk_reads_as_state_in_memory(
        blocks in proptest::collection::vec(
            proptest::collection::btree_map(
                proptest::collection::vec(0u8..4, 0..4),
                proptest::option::of(proptest::collection::vec(any::<u8>(), 0..8)),
                0..12,
            ),
            1..8,
        ),
        questions in proptest::collection::vec(
            (proptest::collection::vec(0u8..5, 0..4), proptest::collection::vec(0u8..5, 0..4), 0usize..10),
            20,
        ),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        store.commit_genesis(&ChangeSet::new()).unwrap();
        let mut memory = MemoryState::new();
        for (height, entries) in (1u64..).zip(blocks) {
            let changes = ChangeSet(entries);
            memory.apply(&changes);
            store.commit_block(Height(height), b"", b"", &changes).unwrap();
            if height == 3 {
                store.flush().unwrap();
            }
        }
        for (from, to, limit) in questions {
            prop_assert_eq!(store.get(&from), memory.get(&from));
            prop_assert_eq!(store.range(&from, &to, limit), memory.range(&from, &to, limit));
            prop_assert_eq!(store.snapshot().range(&from, &to, limit), memory.range(&from, &to, limit));
        }
    }
}
