//! A full disk: fragments are refused early, votes go on in the reserve; when somebody else takes even that, every
//! write is refused with its reason, reading goes on, and writing resumes by itself when space returns.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{IDENTITY, Tmpfs, bytes, config, key, read, record};
use floe_machines::fragments::{FragmentStore, StoreError};
use floe_storage::{StorageError, Store, StoreConfig};
use floe_types::Height;
use std::io::Write;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

fn small() -> StoreConfig {
    StoreConfig { buffer_bytes: 4 << 20, reserve_bytes: 24 << 20, ..config() }
}

#[test]
fn a_full_disk_refuses_fragments_keeps_voting_and_recovers() {
    let Some(disk) = Tmpfs::mount("size=96m") else {
        println!("skipped: this user may not mount");
        return;
    };
    let store = Store::open(&disk.0, IDENTITY, small()).unwrap();
    let mut kept = 0u32;
    let refused = loop {
        let content = bytes(kept, MIB);
        let arriving = store.stage(key(1, kept), MIB as u64).and_then(|mut staged| {
            staged.append(&content)?;
            store.keep(vec![(record(key(1, kept)), staged)])
        });
        if let Err(error) = arriving {
            break error;
        }
        kept += 1;
        assert!(kept < 96, "the disk is smaller than that");
    };
    assert!(matches!(refused, StoreError::Full { .. }), "{refused}");
    assert!(kept >= 16, "{kept}");
    assert!(store.statistics().unwrap().disk.free >= 12 << 20, "{:?}", store.statistics());
    for vote in 0..200u32 {
        store.journal_append(&[(Height(1), &vote.to_be_bytes())]).unwrap();
    }

    // Somebody else fills what is left.
    let foreign = disk.0.join("LOG.foreign");
    let mut file = std::fs::File::create(&foreign).unwrap();
    while file.write_all(&[0; 16 << 10]).is_ok() {}
    drop(file);
    let mut entry = vec![0u8; MIB];
    let mut votes = 200;
    let error = loop {
        entry[0] = entry[0].wrapping_add(1);
        match store.journal_append(&[(Height(1), &entry)]) {
            Ok(()) => votes += 1,
            Err(error) => break error,
        }
        assert!(votes < 264, "the disk is full");
    };
    assert!(matches!(error, StorageError::NoSpace { .. }), "{error:?}");
    assert!(error.to_string().contains("resumes by itself"));
    assert_eq!(store.journal_entries(Height(1)).unwrap().len(), votes, "what was refused is not there");
    assert_eq!(read(&store, key(1, 3), MIB), bytes(3, MIB), "reading goes on");

    std::fs::remove_file(&foreign).unwrap();
    let begun = Instant::now();
    while store.journal_append(&[(Height(1), b"again")]).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(15), "writing has not resumed");
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(store);
    let store = Store::open(&disk.0, IDENTITY, small()).unwrap();
    assert_eq!(store.journal_entries(Height(1)).unwrap().len(), votes + 1);
    for number in 0..kept {
        assert_eq!(read(&store, key(1, number), MIB), bytes(number, MIB));
    }
}
