//! Opening: the operator's mistakes and the disk's, each with its own words.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{IDENTITY, Tmpfs, config, files, open};
use floe_storage::{Column, Holder, Identity, LostWrites, OpenError, Store, StoreConfig};
use floe_types::{Height, NetworkId, NodeId};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

const HELD: &str = "FLOE_STORAGE_HELD";

fn refusal(directory: &Path) -> OpenError {
    match Store::open(directory, IDENTITY, config()) {
        Ok(_) => panic!("opened"),
        Err(error) => error,
    }
}

/// Opens the database without asking whose it is, as a later version or a vandal would.
fn raw(directory: &Path, extra: &[&str], change: impl FnOnce(&rocksdb::DB)) {
    let mut options = rocksdb::Options::default();
    options.create_missing_column_families(true);
    let mut names: Vec<&str> = Column::ALL.iter().map(|column| column.name()).collect();
    names.push("default");
    names.extend(extra);
    let db = rocksdb::DB::open_cf(&options, directory, names).unwrap();
    change(&db);
}

#[test]
fn a_store_opens_again_and_counts_its_openings() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made/on/the/way");
    assert_eq!(open(&path).opening().openings, 1);
    assert_eq!(open(&path).opening().openings, 2);
}

#[test]
fn a_second_opening_in_this_process_is_refused_and_harms_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let error = refusal(directory.path());
    assert!(matches!(error, OpenError::InUse { holder: Holder::ThisProcess, .. }), "{error}");
    assert!(error.to_string().contains("in use by this process"), "{error}");
    store.commit_genesis(&floe_ledger::ChangeSet::new()).unwrap();
    drop(store);
    assert_eq!(open(directory.path()).last_height(), Some(Height(0)));
}

/// The other process of the next test.
#[test]
fn child_holds_the_store() {
    let Ok(directory) = std::env::var(HELD) else { return };
    let _store = open(Path::new(&directory));
    println!("\nheld");
    std::thread::sleep(std::time::Duration::from_secs(60));
}

#[test]
fn a_second_process_is_told_who_holds_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_holds_the_store", "--nocapture"])
        .env(HELD, directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "held"));
    let error = refusal(directory.path());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(error, OpenError::InUse { directory: directory.path().to_owned(), holder: Holder::Process(child.id()) });
    assert!(error.to_string().contains(&format!("in use by process {}; stop that node", child.id())), "{error}");
    open(directory.path());
}

#[test]
fn the_store_of_another_network_or_node_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path());
    let as_other = |identity| Store::open(directory.path(), identity, config()).map(|_| ()).unwrap_err();
    let error = as_other(Identity { network: NetworkId([7; 32]), ..IDENTITY });
    assert!(matches!(&error, OpenError::OtherNetwork { found, .. } if *found == IDENTITY.network), "{error}");
    let error = as_other(Identity { node: NodeId([7; 32]), ..IDENTITY });
    assert!(matches!(&error, OpenError::OtherNode { found, .. } if *found == IDENTITY.node), "{error}");
    open(directory.path());
}

#[test]
fn a_newer_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path());
    raw(directory.path(), &[], |db| {
        let meta = db.cf_handle("meta").unwrap();
        db.put_cf(meta, "format", 2u32.to_be_bytes()).unwrap();
    });
    let error = refusal(directory.path());
    assert!(matches!(&error, OpenError::Newer { found, .. } if found == "format 2"), "{error}");
}

#[test]
fn a_column_of_a_later_version_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path());
    raw(directory.path(), &["coverage"], |_| ());
    let error = refusal(directory.path());
    assert!(matches!(&error, OpenError::Newer { found, .. } if found.contains("coverage")), "{error}");
}

#[test]
fn a_file_is_not_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "x").unwrap();
    assert!(matches!(refusal(&file), OpenError::NotADirectory { .. }));
    assert!(matches!(refusal(&file.join("below")), OpenError::NotADirectory { .. }));
}

#[test]
fn a_directory_with_other_files_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("holiday.jpg"), "x").unwrap();
    let error = refusal(directory.path());
    assert!(matches!(&error, OpenError::NotAStore { found, .. } if found == "holiday.jpg"), "{error}");
    assert_eq!(files(directory.path(), "").len(), 1, "nothing was written");
}

#[test]
fn a_read_only_disk_is_named_as_such() {
    let Some(disk) = Tmpfs::mount("size=64m") else {
        println!("skipped: this user may not mount");
        return;
    };
    open(&disk.0);
    disk.remount("remount,ro");
    let error = refusal(&disk.0);
    assert!(matches!(error, OpenError::ReadOnly { .. }), "{error:?}");
    let error = refusal(&disk.0.join("new"));
    assert!(matches!(error, OpenError::ReadOnly { .. }), "{error:?}");
}

#[test]
fn a_store_without_its_first_file_is_damaged_and_not_new() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.commit_genesis(&floe_ledger::ChangeSet::new()).unwrap();
    store.flush().unwrap();
    drop(store);
    std::fs::remove_file(directory.path().join("CURRENT")).unwrap();
    let error = refusal(directory.path());
    assert!(matches!(&error, OpenError::Corrupt { reason, .. } if reason.contains("CURRENT")), "{error}");
}

#[test]
fn damage_in_any_file_of_the_catalogue_is_found_at_opening() {
    let whole = tempfile::tempdir().unwrap();
    let store = open(whole.path());
    store.commit_genesis(&floe_ledger::ChangeSet::new()).unwrap();
    store.flush().unwrap();
    drop(store);
    for (file, spoil) in [("MANIFEST", 200), ("CURRENT", 0)] {
        let directory = tempfile::tempdir().unwrap();
        common::copy(whole.path(), directory.path());
        let path = files(directory.path(), "").into_iter().find(|path| path.to_string_lossy().contains(file)).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[spoil] ^= 0x40;
        std::fs::write(&path, bytes).unwrap();
        let error = refusal(directory.path());
        assert!(matches!(error, OpenError::Corrupt { .. } | OpenError::LostWrites { .. }), "{file}: {error:?}");
    }
}

#[test]
fn a_lost_table_is_found_at_opening() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.commit_genesis(&floe_ledger::ChangeSet::new()).unwrap();
    store.flush().unwrap();
    drop(store);
    let table = files(directory.path(), ".sst").pop().unwrap();
    std::fs::remove_file(table).unwrap();
    let error = refusal(directory.path());
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
}

#[test]
fn acknowledged_writes_that_are_gone_are_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for vote in 0..20u8 {
        store.journal_append(&[(Height(1), &[vote; 100])]).unwrap();
    }
    drop(store);
    // The disk forgets the last vote, which it had acknowledged.
    let log = files(directory.path(), ".log").pop().unwrap();
    let length = std::fs::metadata(&log).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(length - 10).unwrap();
    let error = refusal(directory.path());
    let OpenError::LostWrites { found, marked, .. } = error else { panic!("{error:?}") };
    assert_eq!(marked - found, 1);
    let accepting = StoreConfig { lost_writes: LostWrites::Accept, ..config() };
    let store = Store::open(directory.path(), IDENTITY, accepting).unwrap();
    assert_eq!(store.opening().lost_writes, 1);
    assert_eq!(store.journal_entries(Height(1)).unwrap().len(), 19);
    drop(store);
    open(directory.path());
}

#[test]
fn a_setting_out_of_range_is_refused_before_anything_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let config = StoreConfig { open_files_max: 1, ..config() };
    let error = Store::open(directory.path(), IDENTITY, config).map(|_| ()).unwrap_err();
    assert!(matches!(&error, OpenError::Config(error) if error.field == "open_files_max"), "{error}");
    assert!(files(directory.path(), "").is_empty());
}
