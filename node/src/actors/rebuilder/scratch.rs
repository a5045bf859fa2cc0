//! Room for what a rebuild works on, in files without a name.

use crate::actors::unnamed::unnamed;
use floe_machines::repair::Scratch;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A scratch of `bytes` bytes in `folder`. It takes room on the disk as it is written.
///
/// # Errors
/// What the system says; a full disk is found out here as far as the file system tells.
pub(super) fn scratch(folder: &Path, bytes: u64) -> io::Result<Arc<dyn Scratch>> {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!("{}-{number}.rebuild", std::process::id()));
    let file = unnamed(&path)?;
    file.set_len(bytes)?;
    Ok(Arc::new(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_gives_back_what_was_written_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = scratch(folder.path(), 10).unwrap();
        scratch.write_all_at(b"abc", 4).unwrap();
        let mut read = [9u8; 5];
        scratch.read_exact_at(&mut read, 3).unwrap();
        assert_eq!(&read, b"\0abc\0");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
