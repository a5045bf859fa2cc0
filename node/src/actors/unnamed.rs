//! Files without a name: gone with their last handle, and with the process whatever happens to it.

use std::fs::File;
use std::io;
use std::path::Path;

/// A new file for reading and writing that has had the name `path` for a moment.
///
/// # Errors
/// What the system says, also when there is a file of that name.
pub(super) fn unnamed(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).write(true).create_new(true).open(path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}
