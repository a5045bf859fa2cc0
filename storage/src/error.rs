//! Why the store could not do as asked.

use floe_machines::fragments::StoreError;
use floe_types::Height;

/// Why a call on an open store failed. After any of these nothing of that call is visible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The disk is full, reserve and all.
    #[error("no space left on the disk while {during}; free some, writing resumes by itself")]
    NoSpace {
        /// What was being done.
        during: &'static str,
    },
    /// What is stored fails a checksum or does not decode.
    #[error("damage found while {during}: {reason}")]
    Damaged {
        /// What was being done.
        during: &'static str,
        /// The finder's words.
        reason: String,
    },
    /// The database has met damage in the background and writes nothing more, votes included. Reading goes on.
    #[error(
        "the database met damage and has stopped writing ({reason}), noticed while {during}; restart the node and have it \
         verify its fragments"
    )]
    Stopped {
        /// What was being done.
        during: &'static str,
        /// The database's words.
        reason: String,
    },
    /// The disk or the database said no.
    #[error("{reason}, while {during}")]
    Io {
        /// What was being done.
        during: &'static str,
        /// The database's words.
        reason: String,
    },
    /// A column of bounded size is full.
    #[error("{what}: at most {max} are kept")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        max: u64,
    },
    /// One value is longer than its column takes.
    #[error("{what} of {found} bytes, at most {max} are kept")]
    TooLong {
        /// Of what.
        what: &'static str,
        /// Its length in bytes.
        found: u64,
        /// The bound in bytes.
        max: u64,
    },
    /// A journal entry for a height that is already decided.
    #[error("journal entry for height {height}, but {last} is committed")]
    Decided {
        /// The entry's height.
        height: Height,
        /// The last committed height.
        last: Height,
    },
}

impl StorageError {
    /// Sorts what the database says.
    pub(crate) fn of(during: &'static str, error: &rocksdb::Error) -> StorageError {
        let reason = error.as_ref();
        if is_no_space(error) {
            StorageError::NoSpace { during }
        } else if error.kind() == rocksdb::ErrorKind::Corruption {
            StorageError::Damaged { during, reason: reason.to_owned() }
        } else {
            StorageError::Io { during, reason: reason.to_owned() }
        }
    }

    /// For the trait of fragments, which speaks of what was asked for.
    pub(crate) fn for_fragments(self, needed: u64) -> StoreError {
        match self {
            StorageError::NoSpace { .. } => StoreError::Full { needed },
            other => StoreError::Io(other.to_string()),
        }
    }
}

/// Whether the database says that the disk is full. It has no code for that, only a sentence, which begins the same way
/// for the failed write itself and for writes refused until space returns.
pub(crate) fn is_no_space(error: &rocksdb::Error) -> bool {
    let text = error.as_ref();
    text.starts_with("IO error: No space left on device") || text.starts_with("IO error: Space limit reached")
}
