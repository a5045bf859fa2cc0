//! Fragments: arriving, kept, read, damaged, dropped, and no room for them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{bytes, confirmation, files, keep, key, open, read, record};
use floe_machines::fragments::{FragmentRecord, FragmentStore, StoreError};
use floe_storage::{Gap, Store, StoreConfig, Thoroughness};
use floe_types::{Epoch, RegistrationNumber};
use std::collections::HashSet;
use std::os::unix::fs::FileExt;

const MIB: usize = 1 << 20;

#[test]
fn a_fragment_reads_back_whole_and_in_parts_before_and_after_it_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for (number, length) in (0u32..).zip([0, 1, 300, 256 << 10, (256 << 10) + 1, MIB + 12_345]) {
        let content = bytes(number, length);
        let mut staged = store.stage(key(5, number), length as u64).unwrap();
        for part in content.chunks(77_777) {
            staged.append(part).unwrap();
        }
        let mut buffer = vec![0; length];
        staged.read_at(&mut buffer, 0).unwrap();
        assert_eq!(buffer, content, "staged, {length}");
        store.keep(vec![(record(key(5, number)), staged)]).unwrap();
        assert_eq!(read(&store, key(5, number), length), content, "kept, {length}");
    }
    let content = bytes(5, MIB + 12_345);
    let last = store.record(&key(5, 5).blob, key(5, 5).pair).unwrap().unwrap();
    for (from, to) in [(0, 1), (262_143, 262_146), (500_000, 900_000), (MIB, MIB + 12_345), (7, 7)] {
        let mut buffer = vec![0; to - from];
        store.read_at(&last, &mut buffer, from as u64).unwrap();
        assert_eq!(buffer, &content[from..to]);
    }
    drop(store);
    assert_eq!(read(&open(directory.path()), key(5, 5), MIB + 12_345), content);
}

#[test]
fn staged_bytes_are_read_across_chunks_and_buffer() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let content = bytes(1, 600_000);
    let mut staged = store.stage(key(1, 1), 700_000).unwrap();
    staged.append(&content).unwrap();
    assert_eq!(staged.staged_bytes(), 600_000);
    for (from, to) in [(0, 600_000), (524_287, 524_289), (524_288, 600_000), (599_999, 600_000)] {
        let mut buffer = vec![0; to - from];
        staged.read_at(&mut buffer, from as u64).unwrap();
        assert_eq!(buffer, &content[from..to]);
    }
    assert!(matches!(staged.read_at(&mut [0; 2], 599_999), Err(StoreError::Beyond { .. })));
}

#[test]
fn more_than_was_announced_and_less_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut staged = store.stage(key(1, 1), 10).unwrap();
    staged.append(&[0; 6]).unwrap();
    assert!(matches!(staged.append(&[0; 5]), Err(StoreError::Beyond { offset: 6, end: 11, length: 10 })));
    assert!(matches!(store.keep(vec![(record(key(1, 1)), staged)]), Err(StoreError::Beyond { .. })));
    assert_eq!(store.record(&key(1, 1).blob, key(1, 1).pair).unwrap(), None);
    keep(&store, key(1, 1), &[1; 10]);
    let kept = store.record(&key(1, 1).blob, key(1, 1).pair).unwrap().unwrap();
    assert!(matches!(store.read_at(&kept, &mut [0; 2], 9), Err(StoreError::Beyond { .. })));
    assert!(matches!(store.read_at(&kept, &mut [0; 2], u64::MAX), Err(StoreError::Beyond { .. })));
    let absent = record(key(1, 2));
    assert!(matches!(store.read_at(&absent, &mut [0; 1], 0), Err(StoreError::Absent { .. })));
}

#[test]
fn what_is_abandoned_leaves_nothing_and_touches_nothing_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let content = bytes(1, MIB);
    keep(&store, key(1, 1), &content);
    // A stranger sends garbage for the very fragment that is kept.
    let mut staged = store.stage(key(1, 1), MIB as u64).unwrap();
    staged.append(&bytes(2, MIB)).unwrap();
    assert_eq!(store.statistics().unwrap().arriving.bytes, MIB as u64);
    drop(staged);
    assert_eq!(store.statistics().unwrap().arriving.count, 0);
    assert_eq!(read(&store, key(1, 1), MIB), content);
    assert_eq!(store.records_after(None, 9).unwrap().len(), 1);
    drop(store);
    let store = open(directory.path());
    assert_eq!((store.opening().abandoned, store.opening().fragments), (0, 1));
}

#[test]
fn keeping_is_all_or_none() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut whole = store.stage(key(1, 1), 4).unwrap();
    whole.append(&[1; 4]).unwrap();
    let part = store.stage(key(1, 2), 4).unwrap();
    let both = vec![(record(key(1, 1)), whole), (record(key(1, 2)), part)];
    assert!(store.keep(both).is_err());
    assert!(store.records_after(None, 9).unwrap().is_empty());
    assert_eq!(store.statistics().unwrap().kept.count, 0);
}

#[test]
fn kept_again_in_the_same_group_it_takes_its_place_in_another_it_stands_beside() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    keep(&store, key(4, 1), &bytes(1, 1000));
    keep(&store, key(4, 1), &bytes(2, 2000));
    assert_eq!(read(&store, key(4, 1), 2000), bytes(2, 2000));
    assert_eq!(store.statistics().unwrap().kept.bytes, 2000);
    keep(&store, key(9, 1), &bytes(3, 3000));
    let latest = store.record(&key(4, 1).blob, key(4, 1).pair).unwrap().unwrap();
    assert_eq!(latest.key.group, Epoch(9));
    assert_eq!(store.records_after(None, 9).unwrap().len(), 2);
    assert_eq!(store.drop_groups(Epoch(8)).unwrap(), 2000);
    assert_eq!(read(&store, key(9, 1), 3000), bytes(3, 3000));
    drop(store);
    assert_eq!(open(directory.path()).opening().fragment_bytes, 3000);
}

#[test]
fn records_are_listed_in_pages_in_order_of_group() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for number in 0..7u32 {
        keep(&store, key(u64::from(10 - number), number), &bytes(number, 100));
    }
    let mut listed: Vec<FragmentRecord> = Vec::new();
    loop {
        let page = store.records_after(listed.last().map(|record| record.key), 3).unwrap();
        if page.is_empty() {
            break;
        }
        listed.extend(page);
    }
    assert_eq!(listed.iter().map(|record| record.key.group.0).collect::<Vec<_>>(), [4, 5, 6, 7, 8, 9, 10]);
}

#[test]
fn dropping_groups_gives_their_space_back_and_leaves_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for number in 0..24u32 {
        keep(&store, key(if number < 16 { 1 } else { 2 }, number), &bytes(number, MIB));
        store.keep_confirmation(&confirmation(number, if number < 16 { 1 } else { 2 })).unwrap();
    }
    store.flush().unwrap();
    let on_disk = || files(directory.path(), ".blob").iter().map(|file| file.metadata().unwrap().len()).sum::<u64>();
    let before = on_disk();
    assert!(before >= 24 * MIB as u64, "{before}");
    assert_eq!(store.drop_groups(Epoch(1)).unwrap(), 16 * MIB as u64);
    assert_eq!(store.statistics().unwrap().kept.bytes, 8 * MIB as u64);
    assert_eq!(store.records_after(None, 99).unwrap().len(), 8);
    assert_eq!(store.confirmations_after(None, 99).unwrap().len(), 8);
    assert_eq!(store.record(&key(1, 3).blob, key(1, 3).pair).unwrap(), None);
    for number in 16..24u32 {
        assert_eq!(read(&store, key(2, number), MIB), bytes(number, MIB));
    }
    // Old files go a moment later, in the background.
    let begun = std::time::Instant::now();
    while on_disk() > before - 12 * MIB as u64 && begun.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let after = on_disk();
    assert!(after <= before - 12 * MIB as u64, "{before} bytes before, {after} after");
    assert_eq!(store.drop_groups(Epoch(1)).unwrap(), 0, "safe twice");
    assert_eq!(store.drop_groups(Epoch(u64::MAX)).unwrap(), 8 * MIB as u64);
    assert!(store.statistics().unwrap().groups.is_empty());
}

#[test]
fn what_arrives_for_a_dropped_group_is_not_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut staged = store.stage(key(3, 1), 4).unwrap();
    staged.append(&[1; 4]).unwrap();
    store.drop_groups(Epoch(3)).unwrap();
    let kept = store.keep(vec![(record(key(3, 1)), staged)]);
    assert!(matches!(kept, Err(StoreError::Dropped { group: Epoch(3) })));
    assert!(matches!(store.stage(key(3, 2), 4).map(|_| ()), Err(StoreError::Dropped { .. })));
}

#[test]
fn confirmations_come_back_in_order_and_move_with_their_group() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for number in [3, 1, 2] {
        store.keep_confirmation(&confirmation(number, 5)).unwrap();
    }
    store.keep_confirmation(&confirmation(2, 8)).unwrap();
    let numbers = |after| -> Vec<u64> {
        let found = store.confirmations_after(after, 9).unwrap();
        found.iter().map(|confirmation| confirmation.registration.0).collect()
    };
    assert_eq!(numbers(None), [1, 2, 3]);
    assert_eq!(numbers(Some(RegistrationNumber(1))), [2, 3]);
    assert_eq!(numbers(Some(RegistrationNumber(u64::MAX))), [0u64; 0]);
    store.drop_groups(Epoch(5)).unwrap();
    assert_eq!(numbers(None), [2]);
}

#[test]
fn a_confirmation_without_its_fragment_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for number in 1..=5u32 {
        if number != 3 {
            keep(&store, key(1, number), &bytes(number, 1000));
        }
        store.keep_confirmation(&confirmation(number, 1)).unwrap();
    }
    let first = store.check_confirmations(None, 2, Thoroughness::Records).unwrap();
    assert_eq!((first.checked, first.next), (2, Some(RegistrationNumber(2))));
    assert!(first.missing.is_empty());
    let rest = store.check_confirmations(first.next, 9, Thoroughness::Bytes).unwrap();
    assert_eq!((rest.checked, rest.next, rest.missing.len()), (3, None, 1));
    assert_eq!((rest.missing[0].registration.0, rest.missing[0].gap), (3, Gap::Absent));
}

#[test]
fn a_flipped_bit_on_the_disk_never_becomes_wrong_bytes() {
    let whole = tempfile::tempdir().unwrap();
    let store = open(whole.path());
    let content = bytes(1, MIB);
    keep(&store, key(1, 1), &content);
    store.keep_confirmation(&confirmation(1, 1)).unwrap();
    store.flush().unwrap();
    drop(store);
    let length = files(whole.path(), ".blob")[0].metadata().unwrap().len();
    for part in 0..16u64 {
        let directory = tempfile::tempdir().unwrap();
        common::copy(whole.path(), directory.path());
        let blob = files(directory.path(), ".blob").remove(0);
        let file = std::fs::OpenOptions::new().read(true).write(true).open(blob).unwrap();
        let at = length * part / 16 + 31;
        let mut byte = [0u8];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ (1 << (part % 8))], at).unwrap();
        let store = open(directory.path());
        let record = store.record(&key(1, 1).blob, key(1, 1).pair).unwrap().unwrap();
        let mut buffer = vec![0; MIB];
        match store.read_at(&record, &mut buffer, 0) {
            Ok(()) => assert_eq!(buffer, content, "a flip at {at} reached no byte of the fragment"),
            Err(StoreError::Damaged { offset, .. }) => {
                assert!(offset <= at, "{offset} for a flip at {at}");
                let check = store.check_confirmations(None, 9, Thoroughness::Bytes).unwrap();
                assert_eq!(check.missing[0].gap, Gap::Damaged { offset });
            }
            Err(StoreError::Io(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
        store.journal_append(&[(floe_types::Height(1), b"votes go on")]).unwrap();
    }
}

#[test]
fn a_file_cut_short_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    keep(&store, key(1, 1), &bytes(1, MIB));
    store.flush().unwrap();
    drop(store);
    let blob = files(directory.path(), ".blob").remove(0);
    let length = blob.metadata().unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&blob).unwrap().set_len(length / 2).unwrap();
    let store = open(directory.path());
    let record = store.record(&key(1, 1).blob, key(1, 1).pair).unwrap().unwrap();
    let found = store.read_at(&record, &mut vec![0; MIB], 0);
    assert!(matches!(found, Err(StoreError::Damaged { .. } | StoreError::Io(_))), "{found:?}");
    assert!(store.verify(&record).is_err() || store.verify(&record).unwrap().is_some());
}

#[test]
fn the_quota_refuses_before_anything_is_written_and_votes_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let config = StoreConfig { fragment_bytes_max: Some(2 * MIB as u64), ..common::config() };
    let store = Store::open(directory.path(), common::IDENTITY, config).unwrap();
    keep(&store, key(1, 1), &bytes(1, MIB));
    let second = store.stage(key(1, 2), MIB as u64).unwrap();
    let third = store.stage(key(1, 3), 1).map(|_| ());
    assert!(matches!(third, Err(StoreError::Full { needed: 1 })), "{third:?}");
    store.journal_append(&[(floe_types::Height(1), b"vote")]).unwrap();
    drop(second);
    keep(&store, key(1, 3), &bytes(3, MIB));
    store.drop_groups(Epoch(1)).unwrap();
    keep(&store, key(2, 4), &bytes(4, 2 * MIB));
}

#[test]
fn so_many_may_arrive_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let config = StoreConfig { stages_max: 2, ..common::config() };
    let store = Store::open(directory.path(), common::IDENTITY, config).unwrap();
    let one = store.stage(key(1, 1), 10).unwrap();
    let _two = store.stage(key(1, 2), 10).unwrap();
    assert!(matches!(store.stage(key(1, 3), 10).map(|_| ()), Err(StoreError::Busy { max: 2 })));
    drop(one);
    assert!(store.stage(key(1, 3), 10).is_ok());
}

#[test]
fn a_fragment_staged_by_another_store_is_refused() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, two) = (open(one.path()), open(two.path()));
    let staged = one.stage(key(1, 1), 0).unwrap();
    assert!(matches!(two.keep(vec![(record(key(1, 1)), staged)]), Err(StoreError::Io(_))));
}

#[test]
fn damage_met_while_moving_fragments_stops_writing_until_the_next_start_and_not_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for number in 0..32u32 {
        keep(&store, key(1 + u64::from(number % 2), number), &bytes(number, 300_000));
    }
    store.flush().unwrap();
    drop(store);
    // Half of each file will be garbage; in the other half of each one a bit has flipped.
    for blob in files(directory.path(), ".blob") {
        let mut content = std::fs::read(&blob).unwrap();
        let live: HashSet<Vec<u8>> = (1..32).step_by(2).map(|number| bytes(number, 16)).collect();
        let at = content.windows(16).position(|part| live.contains(part)).unwrap();
        content[at + 9] ^= 1;
        std::fs::write(blob, content).unwrap();
    }
    let store = open(directory.path());
    let _ = store.drop_groups(Epoch(1));
    let vote = |store: &Store, entry: &[u8]| store.journal_append(&[(floe_types::Height(1), entry)]);
    let begun = std::time::Instant::now();
    let stopped = loop {
        if let Err(error) = vote(&store, b"vote") {
            break error;
        }
        assert!(begun.elapsed().as_secs() < 10, "the damage was not met: {:?}", store.statistics());
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    assert!(matches!(stopped, floe_storage::StorageError::Stopped { .. }), "{stopped}");
    drop(store);

    let store = open(directory.path());
    assert!(store.opening().damage_noted);
    store.drop_groups(Epoch(1)).unwrap();
    for _ in 0..50 {
        vote(&store, b"vote").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let records = store.records_after(None, 99).unwrap();
    let damaged = records.iter().filter(|record| store.verify(record).unwrap().is_some()).count();
    assert!((1..=8).contains(&damaged), "{damaged} of {}", records.len());
    store.fragments_verified().unwrap();
    drop(store);
    assert!(!open(directory.path()).opening().damage_noted);
}
