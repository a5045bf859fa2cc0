//! What the tests of the store share.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

use floe_machines::fragments::{ConfirmationRecord, FragmentKey, FragmentRecord, FragmentStore};
use floe_storage::{Identity, Store, StoreConfig};
use floe_types::{BlobId, Epoch, NetworkId, NodeId, PairIndex, RegistrationNumber};
use std::path::{Path, PathBuf};

pub const IDENTITY: Identity = Identity { network: NetworkId([1; 32]), node: NodeId([2; 32]) };

/// Disks of test machines differ: only the tests that are about the disk ask for free space.
pub fn config() -> StoreConfig {
    StoreConfig::small()
}

pub fn open(directory: &Path) -> Store {
    Store::open(directory, IDENTITY, config()).unwrap_or_else(|error| panic!("{error}"))
}

pub fn key(group: u64, number: u32) -> FragmentKey {
    let mut blob = [0u8; 32];
    blob[..4].copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
    blob[4..8].copy_from_slice(&number.to_be_bytes());
    FragmentKey { group: Epoch(group), blob: BlobId(blob), pair: PairIndex(3) }
}

pub fn record(key: FragmentKey) -> FragmentRecord {
    FragmentRecord { key, registration: RegistrationNumber(1), blob_bytes: 1000, proof: vec![9; 300] }
}

/// Bytes that do not compress and that differ for each number.
pub fn bytes(number: u32, length: usize) -> Vec<u8> {
    let mut state = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub fn keep(store: &Store, key: FragmentKey, bytes: &[u8]) {
    let mut staged = store.stage(key, bytes.len() as u64).unwrap();
    for part in bytes.chunks(100_000) {
        staged.append(part).unwrap();
    }
    store.keep(vec![(record(key), staged)]).unwrap();
}

pub fn confirmation(number: u32, group: u64) -> ConfirmationRecord {
    let key = key(group, number);
    ConfirmationRecord {
        blob: key.blob,
        registration: RegistrationNumber(u64::from(number)),
        pairs: vec![key.pair],
        group: key.group,
    }
}

pub fn read(store: &Store, key: FragmentKey, length: usize) -> Vec<u8> {
    let record = store.record(&key.blob, key.pair).unwrap().expect("the fragment is kept");
    let mut buffer = vec![0u8; length];
    store.read_at(&record, &mut buffer, 0).unwrap();
    buffer
}

/// Files of the store whose names end so, in order.
pub fn files(directory: &Path, end: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect();
    found.sort();
    found
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// A file system in memory of its own, gone when dropped.
pub struct Tmpfs(pub PathBuf, tempfile::TempDir);

impl Tmpfs {
    /// `None` where this user may not mount.
    pub fn mount(options: &str) -> Option<Tmpfs> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&path).stderr(std::process::Stdio::null());
        match mount.status() {
            Ok(status) if status.success() => Some(Tmpfs(path, directory)),
            _ => None,
        }
    }

    pub fn remount(&self, options: &str) {
        let mut mount = std::process::Command::new("mount");
        assert!(mount.args(["-o", options]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
