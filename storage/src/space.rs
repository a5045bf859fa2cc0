//! Room for fragments: what is kept, what is arriving, and what must stay free for votes.
//!
//! A fragment is admitted whole or not at all: its announced length is set aside when it begins to arrive. Votes, blocks
//! and metadata never ask here; the reserve is theirs.

use crate::config::StoreConfig;
use crate::store::locked;
use floe_machines::fragments::StoreError;
use floe_types::Epoch;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

/// Fragments and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many.
    pub count: u64,
    /// Their bytes, without what the database adds.
    pub bytes: u64,
}

impl Totals {
    fn add(&mut self, bytes: u64) {
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn remove(&mut self, bytes: u64) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// The disk as the system sees it, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// Its size.
    pub capacity: u64,
    /// What this user may still write.
    pub free: u64,
}

impl Disk {
    /// Asks the system.
    pub(crate) fn of(directory: &Path) -> std::io::Result<Disk> {
        let found = rustix::fs::statvfs(directory)?;
        Ok(Disk {
            capacity: found.f_blocks.saturating_mul(found.f_frsize),
            free: found.f_bavail.saturating_mul(found.f_frsize),
        })
    }
}

pub(crate) struct Space {
    reserve_bytes: u64,
    reserve_percent: u32,
    bytes_max: u64,
    stages_max: u32,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    groups: BTreeMap<Epoch, Totals>,
    kept: Totals,
    /// Announced by fragments that are arriving.
    arriving: Totals,
    /// Announced and not yet written.
    unwritten: u64,
    next_stage: u64,
    /// Groups up to here were dropped since the store was opened.
    dropped: Option<Epoch>,
}

impl Space {
    pub fn new(config: &StoreConfig, openings: u64) -> Space {
        // No stage of another opening has the same upper half, so none is used twice.
        let books = Books { next_stage: openings << 32, ..Books::default() };
        Space {
            reserve_bytes: config.reserve_bytes,
            reserve_percent: config.reserve_percent,
            bytes_max: config.fragment_bytes_max.unwrap_or(u64::MAX),
            stages_max: config.stages_max,
            books: Mutex::new(books),
        }
    }

    /// Bytes of `disk` that fragments must leave free.
    pub fn reserve(&self, disk: Disk) -> u64 {
        let share = u128::from(disk.capacity) * u128::from(self.reserve_percent) / 100;
        self.reserve_bytes.saturating_add(u64::try_from(share).unwrap_or(u64::MAX))
    }

    /// Free bytes below which not even what was admitted is written: half of the reserve. Sorting takes as much as the
    /// buffers hold for a moment, which is at most the other half; somebody else's files may take it for good.
    pub fn floor(&self, disk: Disk) -> u64 {
        self.reserve(disk) / 2
    }

    /// Bytes that fragments may still use.
    pub fn room(&self, disk: Disk) -> u64 {
        let books = locked(&self.books);
        let on_disk = disk.free.saturating_sub(self.reserve(disk)).saturating_sub(books.unwritten);
        let in_quota = self.bytes_max.saturating_sub(books.kept.bytes).saturating_sub(books.arriving.bytes);
        on_disk.min(in_quota)
    }

    /// Sets `bytes` aside for a fragment; answers its stage.
    pub fn admit(&self, disk: Disk, bytes: u64) -> Result<u64, StoreError> {
        let room = self.room(disk);
        let mut books = locked(&self.books);
        if books.arriving.count >= u64::from(self.stages_max) {
            return Err(StoreError::Busy { max: self.stages_max });
        }
        if bytes > room {
            return Err(StoreError::Full { needed: bytes });
        }
        books.arriving.add(bytes);
        books.unwritten = books.unwritten.saturating_add(bytes);
        books.next_stage = books.next_stage.saturating_add(1);
        Ok(books.next_stage)
    }

    /// `bytes` of a fragment have been written.
    pub fn wrote(&self, bytes: u64) {
        let mut books = locked(&self.books);
        books.unwritten = books.unwritten.saturating_sub(bytes);
    }

    /// A fragment of `bytes` bytes is no longer arriving; `unwritten` of them were never written.
    pub fn arrived(&self, bytes: u64, unwritten: u64) {
        let mut books = locked(&self.books);
        books.arriving.remove(bytes);
        books.unwritten = books.unwritten.saturating_sub(unwritten);
    }

    /// A fragment is kept in `group`.
    pub fn keep(&self, group: Epoch, bytes: u64) {
        let mut books = locked(&self.books);
        books.kept.add(bytes);
        books.groups.entry(group).or_default().add(bytes);
    }

    /// A fragment of `group` is no longer kept.
    pub fn release(&self, group: Epoch, bytes: u64) {
        let mut books = locked(&self.books);
        books.kept.remove(bytes);
        if let Some(totals) = books.groups.get_mut(&group) {
            totals.remove(bytes);
            if totals.count == 0 {
                books.groups.remove(&group);
            }
        }
    }

    /// Groups up to `up_to` are being dropped: what is arriving for them can no longer be kept.
    pub fn drop_up_to(&self, up_to: Epoch) {
        let mut books = locked(&self.books);
        books.dropped = books.dropped.max(Some(up_to));
    }

    /// Whether `group` was dropped since the store was opened.
    pub fn is_dropped(&self, group: Epoch) -> bool {
        locked(&self.books).dropped.is_some_and(|dropped| group <= dropped)
    }

    /// What is kept.
    pub fn kept(&self) -> Totals {
        locked(&self.books).kept
    }

    /// What is arriving.
    pub fn arriving(&self) -> Totals {
        locked(&self.books).arriving
    }

    /// What is kept, by group.
    pub fn groups(&self) -> Vec<(Epoch, Totals)> {
        locked(&self.books).groups.iter().map(|(group, totals)| (*group, *totals)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: Disk = Disk { capacity: 10_000 << 20, free: 1_000 << 20 };

    fn space(fragment_bytes_max: Option<u64>) -> Space {
        let config = StoreConfig { fragment_bytes_max, reserve_percent: 1, ..StoreConfig::small() };
        Space::new(&config, 1)
    }

    #[test]
    fn the_reserve_is_a_fixed_part_and_a_share_of_the_disk() {
        assert_eq!(space(None).reserve(DISK), (32 + 100) << 20);
        assert_eq!(space(None).room(DISK), (1_000 - 132) << 20);
    }

    #[test]
    fn what_was_announced_is_not_given_away_twice() {
        let space = space(None);
        let room = space.room(DISK);
        space.admit(DISK, room).unwrap();
        assert!(matches!(space.admit(DISK, 1), Err(StoreError::Full { needed: 1 })));
        space.arrived(room, room);
        assert!(space.admit(DISK, 1).is_ok());
    }

    #[test]
    fn the_quota_counts_what_is_kept_and_what_is_arriving() {
        let space = space(Some(100));
        space.keep(Epoch(1), 60);
        space.admit(DISK, 40).unwrap();
        assert!(matches!(space.admit(DISK, 1), Err(StoreError::Full { .. })));
        space.release(Epoch(1), 60);
        assert!(space.admit(DISK, 60).is_ok());
    }

    #[test]
    fn stages_of_two_openings_never_meet() {
        let first = Space::new(&StoreConfig::small(), 1).admit(DISK, 1).unwrap();
        let second = Space::new(&StoreConfig::small(), 2).admit(DISK, 1).unwrap();
        assert!(second > first + (1 << 31));
    }
}
