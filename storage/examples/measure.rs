//! Measures the store in the directory named by the first argument, or in a temporary one.
//!
//! ```text
//! cargo run --release -p floe-storage --example measure [directory]
//! ```
#![allow(clippy::unwrap_used, clippy::panic)]

use floe_ledger::ChangeSet;
use floe_machines::fragments::{FragmentKey, FragmentRecord, FragmentStore};
use floe_storage::{Identity, Store, StoreConfig};
use floe_types::{BlobId, Epoch, Height, NetworkId, NodeId, PairIndex, RegistrationNumber};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const VOTE: [u8; 200] = [7; 200];

fn main() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = std::env::args().nth(1).map_or_else(|| temporary.path().to_owned(), std::path::PathBuf::from);
    let identity = Identity { network: NetworkId([1; 32]), node: NodeId([2; 32]) };
    let store = Store::open(&directory, identity, StoreConfig::default()).unwrap_or_else(|error| panic!("{error}"));
    if store.last_height().is_none() {
        store.commit_genesis(&ChangeSet::new()).unwrap();
    }
    let height = store.last_height().unwrap().next();

    let mut plain = std::fs::File::create(directory.join("plain.dbtmp")).unwrap();
    report(
        "for comparison: append 200 B to a file and sync it",
        times(2_000, || {
            plain.write_all(&VOTE).unwrap();
            plain.sync_data().unwrap();
        }),
    );
    report("journal: append and sync one vote of 200 B", times(2_000, || vote(&store, height)));
    let twenty = [(height, &VOTE[..]); 20];
    report("journal: append and sync twenty", times(500, || store.journal_append(&twenty).unwrap()));
    let mut next = height;
    let changes = ChangeSet((0..100u32).map(|key| (key.to_be_bytes().to_vec(), Some(vec![1; 100]))).collect());
    report(
        "block of 64 KiB with 100 changes of state",
        times(300, || {
            store.commit_block(next, &[3; 64 << 10], &[4; 4 << 10], &changes).unwrap();
            next = next.next();
        }),
    );
    for length in [1536 << 10, 10 << 20] {
        fragments(&store, length);
    }
    under_load(&store, next);
    let begun = Instant::now();
    drop(store);
    let store = Store::open(&directory, identity, StoreConfig::default()).unwrap();
    println!("close and open again: {:.0} ms, {:?}", begun.elapsed().as_secs_f64() * 1e3, store.opening());
    println!("{:#?}", store.statistics().unwrap());
}

fn vote(store: &Store, height: Height) {
    store.journal_append(&[(height, &VOTE)]).unwrap();
}

fn key(number: u32, group: u64) -> FragmentKey {
    let mut blob = [0; 32];
    blob[..4].copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
    FragmentKey { group: Epoch(group), blob: BlobId(blob), pair: PairIndex(1) }
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252u64;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(step).take(length).collect()
}

fn keep(store: &Store, key: FragmentKey, bytes: &[u8]) {
    let mut staged = store.stage(key, bytes.len() as u64).unwrap();
    for part in bytes.chunks(64 << 10) {
        staged.append(part).unwrap();
    }
    let record = FragmentRecord { key, registration: RegistrationNumber(1), blob_bytes: 1, proof: vec![0; 600] };
    store.keep(vec![(record, staged)]).unwrap();
}

fn fragments(store: &Store, length: usize) {
    let bytes = noise(length);
    let count = u32::try_from((768 << 20) / length).unwrap();
    let group = length as u64;
    let mut number = 0;
    let kept = times(count, || {
        keep(store, key(number, group), &bytes);
        number += 1;
    });
    rate(&format!("fragments of {} KiB: keep, one after another", length >> 10), length, &kept);
    report("    each", kept);
    let mut buffer = vec![0; length];
    let mut number = 0;
    let read = times(count, || {
        let key = key(number, group);
        let record = store.record(&key.blob, key.pair).unwrap().unwrap();
        store.read_at(&record, &mut buffer, 0).unwrap();
        number += 1;
    });
    rate("    read whole", length, &read);
    let mut number = 0;
    let challenge = times(count, || {
        let key = key(number, group);
        let record = store.record(&key.blob, key.pair).unwrap().unwrap();
        store.read_at(&record, &mut buffer[..1024], length as u64 / 3).unwrap();
        number += 1;
    });
    report("    read 1 KiB of each", challenge);
    let begun = Instant::now();
    let bytes = store.drop_groups(Epoch(group)).unwrap();
    println!("    drop {} MiB: {:.0} ms", bytes >> 20, begun.elapsed().as_secs_f64() * 1e3);
}

/// Votes while two threads keep fragments as fast as they can.
fn under_load(store: &Store, height: Height) {
    let stop = AtomicBool::new(false);
    let bytes = noise(1536 << 10);
    std::thread::scope(|scope| {
        for thread in 0..2u32 {
            let (stop, bytes) = (&stop, &bytes);
            scope.spawn(move || {
                let mut number = thread << 20;
                while !stop.load(Ordering::Relaxed) {
                    keep(store, key(number, 1 << 40), bytes);
                    number += 1;
                }
            });
        }
        std::thread::sleep(Duration::from_millis(300));
        let begun = Instant::now();
        let before = store.statistics().unwrap().kept.bytes;
        let votes = times(500, || {
            vote(store, height);
            std::thread::sleep(Duration::from_millis(5));
        });
        let kept = store.statistics().unwrap().kept.bytes - before;
        let votes = votes.into_iter().map(|time| time.saturating_sub(Duration::from_millis(5))).collect();
        report("journal: one vote every 5 ms while two threads keep fragments", votes);
        println!("    fragments meanwhile: {:.0} MB/s", kept as f64 / 1e6 / begun.elapsed().as_secs_f64());
        stop.store(true, Ordering::Relaxed);
    });
}

fn times(count: u32, mut work: impl FnMut()) -> Vec<Duration> {
    (0..count)
        .map(|_| {
            let begun = Instant::now();
            work();
            begun.elapsed()
        })
        .collect()
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    println!("{what}: p50 {:.2} ms, p95 {:.2} ms, p99 {:.2} ms, most {:.2} ms", at(50), at(95), at(99), at(100));
}

fn rate(what: &str, bytes: usize, times: &[Duration]) {
    let seconds: f64 = times.iter().map(Duration::as_secs_f64).sum();
    println!("{what}: {:.0} MB/s", bytes as f64 * times.len() as f64 / 1e6 / seconds);
}
