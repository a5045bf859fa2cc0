//! Bytes at an offset: the two small traits through which this crate meets memory, files and whatever
//! the caller has.
//!
//! A source must give the same bytes every time it is asked; a blob that changes while it is encoded has
//! no id. Parts are read and written in no promised order and from several threads.
//!
//! Files are sources and sinks on Unix only, which has reading and writing at an offset without moving a common cursor.
//! Elsewhere a caller implements the two traits for what it has.

#[cfg(unix)]
use std::fs::File;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A source of bytes that can be read at any offset, from several threads.
pub trait ReadAt: Sync {
    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when there are not that many; else what the medium says.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// The `length` bytes from `offset` on where they lie, if they lie in memory in one piece: saves copying them.
    /// Nothing otherwise, also when there are not that many.
    fn borrow_at(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let _ = (offset, length);
        None
    }
}

/// A place for bytes that can be written at any offset, from several threads.
pub trait WriteAt: Sync {
    /// Writes all of `bytes` from `offset` on.
    ///
    /// # Errors
    /// What the medium says. What was written then is not to be used.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Writes `parts`, all of one length, of which each begins `stride` bytes after the one before it and the first at
    /// `offset`. Worth its own form where a call costs more than its bytes; else neighbours are joined as far as
    /// a buffer of 256 KiB holds them, and the others written one by one.
    ///
    /// # Errors
    /// As [`WriteAt::write_all_at`].
    fn write_strided_at(&self, parts: &[&[u8]], offset: u64, stride: u64) -> io::Result<()> {
        let bytes = parts.first().map_or(0, |part| part.len());
        if bytes as u64 != stride || parts.len() == 1 {
            let mut offset = offset;
            for part in parts {
                self.write_all_at(part, offset)?;
                offset = offset.saturating_add(stride);
            }
            return Ok(());
        }
        let mut offset = offset;
        for parts in parts.chunks((PAGE_BYTES / bytes.max(1)).max(1)) {
            self.write_all_at(&parts.concat(), offset)?;
            offset = offset.saturating_add(parts.len() as u64 * stride);
        }
        Ok(())
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let part = self.borrow_at(offset, buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(part);
        Ok(())
    }

    fn borrow_at(&self, offset: u64, length: usize) -> Option<&[u8]> {
        self.get(usize::try_from(offset).ok()?..)?.get(..length)
    }
}

impl ReadAt for Vec<u8> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_exact_at(buffer, offset)
    }

    fn borrow_at(&self, offset: u64, length: usize) -> Option<&[u8]> {
        self.as_slice().borrow_at(offset, length)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buffer, offset)
    }

    fn borrow_at(&self, offset: u64, length: usize) -> Option<&[u8]> {
        (**self).borrow_at(offset, length)
    }
}

impl<T: WriteAt + ?Sized> WriteAt for &T {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        (**self).write_all_at(bytes, offset)
    }

    fn write_strided_at(&self, parts: &[&[u8]], offset: u64, stride: u64) -> io::Result<()> {
        (**self).write_strided_at(parts, offset, stride)
    }
}

#[cfg(unix)]
impl ReadAt for File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }
}

#[cfg(unix)]
impl WriteAt for File {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(self, bytes, offset)
    }
}

/// Bytes of one page of a [`MemorySink`]: large enough that a lock costs nothing, small enough that two
/// threads rarely meet in one.
const PAGE_BYTES: usize = 1 << 18;

/// A fixed number of bytes in memory that several threads may write and read; zeros at first.
#[derive(Debug)]
pub struct MemorySink {
    pages: Vec<Mutex<Vec<u8>>>,
    bytes: usize,
}

impl MemorySink {
    /// A sink of exactly `bytes` bytes.
    pub fn new(bytes: usize) -> Self {
        let page = |index| Mutex::new(vec![0; PAGE_BYTES.min(bytes - index * PAGE_BYTES)]);
        Self { pages: (0..bytes.div_ceil(PAGE_BYTES)).map(page).collect(), bytes }
    }

    /// How many bytes it holds.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// A copy of `length` bytes from `offset` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when there are not that many.
    pub fn copy(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        // Compared before memory is given.
        if offset.checked_add(length as u64).is_none_or(|end| end > self.bytes as u64) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; length];
        self.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// All of it in one piece.
    pub fn into_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes);
        for page in self.pages {
            bytes.extend_from_slice(&page.into_inner().unwrap_or_else(PoisonError::into_inner));
        }
        bytes
    }

    /// Calls `visit` with every page that `length` bytes from `offset` touch: the part of the page, and
    /// where that part begins in the request.
    fn visit(&self, offset: u64, length: usize, mut visit: impl FnMut(&mut [u8], usize)) -> Option<()> {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(length).filter(|end| *end <= self.bytes)?;
        let mut at = start;
        while at < end {
            let within = at % PAGE_BYTES;
            let count = (PAGE_BYTES - within).min(end - at);
            let mut page: MutexGuard<'_, Vec<u8>> =
                self.pages[at / PAGE_BYTES].lock().unwrap_or_else(PoisonError::into_inner);
            visit(&mut page[within..within + count], at - start);
            at += count;
        }
        Some(())
    }
}

impl WriteAt for MemorySink {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let visit = |page: &mut [u8], from: usize| page.copy_from_slice(&bytes[from..from + page.len()]);
        Ok(self.visit(offset, bytes.len(), visit).ok_or(io::ErrorKind::WriteZero)?)
    }

    /// A page is locked once for all neighbouring parts that begin and end in it: a lock waits for what was
    /// written before it.
    fn write_strided_at(&self, parts: &[&[u8]], offset: u64, stride: u64) -> io::Result<()> {
        let mut held: Option<(usize, MutexGuard<'_, Vec<u8>>)> = None;
        let mut offset = offset;
        for part in parts {
            let start = usize::try_from(offset).map_err(|_| io::ErrorKind::WriteZero)?;
            let (index, within) = (start / PAGE_BYTES, start % PAGE_BYTES);
            if within + part.len() <= PAGE_BYTES && start.checked_add(part.len()).is_some_and(|end| end <= self.bytes) {
                if held.as_ref().is_none_or(|(held, _)| *held != index) {
                    // Never two at a time: another thread may want them the other way round.
                    drop(held.take());
                }
                let page = || (index, self.pages[index].lock().unwrap_or_else(PoisonError::into_inner));
                let (_, page) = held.get_or_insert_with(page);
                page[within..within + part.len()].copy_from_slice(part);
            } else {
                drop(held.take());
                self.write_all_at(part, offset)?;
            }
            offset = offset.checked_add(stride).ok_or(io::ErrorKind::WriteZero)?;
        }
        Ok(())
    }
}

impl ReadAt for MemorySink {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let length = buffer.len();
        let visit = |page: &mut [u8], from: usize| buffer[from..from + page.len()].copy_from_slice(page);
        Ok(self.visit(offset, length, visit).ok_or(io::ErrorKind::UnexpectedEof)?)
    }
}

/// The part of a source from an offset on: a sliver within a file of fragments, say.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    whole: &'a dyn ReadAt,
    offset: u64,
}

impl<'a> Part<'a> {
    /// What `whole` holds from `offset` on.
    pub fn new(whole: &'a dyn ReadAt, offset: u64) -> Self {
        Self { whole, offset }
    }
}

impl ReadAt for Part<'_> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let offset = self.offset.checked_add(offset).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.whole.read_exact_at(buffer, offset)
    }

    fn borrow_at(&self, offset: u64, length: usize) -> Option<&[u8]> {
        self.whole.borrow_at(self.offset.checked_add(offset)?, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slice_refuses_to_read_beyond_its_end() {
        let mut buffer = [0; 3];
        assert!([1, 2, 3, 4].read_exact_at(&mut buffer, 1).is_ok());
        assert_eq!(buffer, [2, 3, 4]);
        assert!([1, 2, 3, 4].read_exact_at(&mut buffer, 2).is_err());
        assert!([1, 2, 3, 4].read_exact_at(&mut buffer, u64::MAX).is_err());
        assert!([1, 2, 3, 4].read_exact_at(&mut [], 4).is_ok());
    }

    #[test]
    fn sink_keeps_what_crosses_its_pages() {
        let sink = MemorySink::new(2 * PAGE_BYTES + 10);
        let bytes: Vec<u8> = (0..PAGE_BYTES + 9).map(|i| (i * 7) as u8).collect();
        sink.write_all_at(&bytes, PAGE_BYTES as u64 - 3).unwrap();
        assert_eq!(sink.copy(PAGE_BYTES as u64 - 3, bytes.len()).unwrap(), bytes);
        let strided = MemorySink::new(2 * PAGE_BYTES + 10);
        let parts: Vec<&[u8]> = bytes.chunks(bytes.len() / 7).take(7).collect();
        strided.write_strided_at(&parts, PAGE_BYTES as u64 - 3, bytes.len() as u64 / 7).unwrap();
        assert_eq!(strided.copy(PAGE_BYTES as u64 - 3, parts.concat().len()).unwrap(), parts.concat());
        assert!(strided.write_strided_at(&parts, 2 * PAGE_BYTES as u64, 1).is_err());
        assert!(sink.write_all_at(&[1; 11], 2 * PAGE_BYTES as u64).is_err());
        assert!(sink.copy(0, usize::MAX).is_err());
        assert_eq!(sink.into_bytes()[PAGE_BYTES - 3..][..bytes.len()], bytes);
    }
}
