//! The high-water mark: how far the database had acknowledged, written where the database does not look.
//!
//! RocksDB numbers every change. After a restart it reads its log up to the first damaged record and drops the rest
//! without a word. That is right for a tail that was never acknowledged and a silent loss otherwise: of a vote, which
//! could then be cast twice. So after each acknowledged write its number is put into a small file of its own, and a
//! start that finds the database behind the mark knows that something acknowledged is gone.
//!
//! The file is not synced, which would double the price of a vote. After the death of the process it is exact, because
//! the kernel keeps it; after the loss of power it may be up to half a minute behind. It is never ahead.
//!
//! ```text
//! 0        8                  16
//! | number | checksum of it   |
//! ```

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Name of the file in the store's directory.
const NAME: &str = "acknowledged";
const BYTES: usize = 16;

/// The open mark.
pub(crate) struct Mark {
    file: File,
    number: Mutex<u64>,
    failures: AtomicU64,
}

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marked {
    /// The database had acknowledged up to here.
    At(u64),
    /// There is no mark, or it is unreadable.
    Nothing,
}

impl Mark {
    /// Opens the mark of the store in `directory`, making it when there is none.
    pub(crate) fn open(directory: &Path) -> std::io::Result<(Mark, Marked)> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(directory.join(NAME))?;
        let mut bytes = [0u8; BYTES];
        let marked = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => read(&bytes),
            Err(_) => Marked::Nothing,
        };
        let number = match marked {
            Marked::At(number) => number,
            Marked::Nothing => 0,
        };
        Ok((Mark { file, number: Mutex::new(number), failures: AtomicU64::new(0) }, marked))
    }

    /// Moves the mark up to `number`. A failure is counted and not told: what it marks is durable all the same.
    pub(crate) fn raise(&self, number: u64) {
        let mut current = match self.number.lock() {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        };
        if number > *current {
            *current = number;
            self.put(number);
        }
    }

    /// Sets the mark anew, also downwards, when the operator has accepted a loss.
    pub(crate) fn reset(&self, number: u64) {
        let mut current = match self.number.lock() {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        };
        *current = number;
        self.put(number);
    }

    /// Times the mark could not be written.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn put(&self, number: u64) {
        if self.file.write_all_at(&written(number), 0).is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn written(number: u64) -> [u8; BYTES] {
    let mut bytes = [0u8; BYTES];
    let (value, checksum) = bytes.split_at_mut(8);
    value.copy_from_slice(&number.to_be_bytes());
    checksum.copy_from_slice(&blake3::hash(value).as_bytes()[..8]);
    bytes
}

fn read(bytes: &[u8; BYTES]) -> Marked {
    let mut value = [0u8; 8];
    value.copy_from_slice(&bytes[..8]);
    let number = u64::from_be_bytes(value);
    if written(number) == *bytes { Marked::At(number) } else { Marked::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_remembered_and_never_falls() {
        let directory = tempfile::tempdir().unwrap();
        let (mark, marked) = Mark::open(directory.path()).unwrap();
        assert_eq!(marked, Marked::Nothing);
        mark.raise(7);
        mark.raise(3);
        drop(mark);
        assert_eq!(Mark::open(directory.path()).unwrap().1, Marked::At(7));
    }

    #[test]
    fn a_damaged_mark_says_nothing() {
        let mut bytes = written(1 << 40);
        bytes[2] ^= 1;
        assert_eq!(read(&bytes), Marked::Nothing);
    }
}
