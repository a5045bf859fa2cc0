//! The note that the database has met damage while it moved things, kept in a file beside it.
//!
//! RocksDB stops writing altogether, votes included, when sorting or moving files meets a record that fails its checksum,
//! and starts again only with the process. Sorting reads keys; only *moving* fragments together reads their bytes, which
//! are nearly all there is on the disk. So after such a stop the store leaves fragments where they are, until someone has
//! verified or replaced each of them: one rotten fragment costs its space and not the node.

use std::path::{Path, PathBuf};

/// Name of the note in the store's directory.
pub(crate) const NAME: &str = "damaged";

pub(crate) struct DamageNote {
    path: PathBuf,
}

impl DamageNote {
    /// The note of the store in `directory`.
    pub fn of(directory: &Path) -> DamageNote {
        DamageNote { path: directory.join(NAME) }
    }

    /// Whether damage was met and not cleared since.
    pub fn is_there(&self) -> bool {
        self.path.exists()
    }

    /// Writes the note. It says what was met, for whoever looks into the directory; a disk that does not take it has
    /// other worries.
    pub fn write(&self, reason: &str) {
        let _ = std::fs::write(&self.path, format!("{reason}\n"));
    }

    /// Takes the note away.
    pub fn clear(&self) -> std::io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
