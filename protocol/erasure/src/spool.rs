//! A place for a blob that comes as a stream: memory within a bound, then a file of the caller's.
//!
//! An encoding needs the blob's length and its last row before it can begin, so a stream is kept first. Short ones stay
//! in memory. When the bound is passed the caller is asked for a place, once, and all of it goes there; a file named by
//! the caller, one without a name, or whatever else can be written and read at an offset. Nothing is removed here.
//!
//! Both bounds are the caller's, and passing the second is an error before anything beyond it is kept.

use std::io::{self, Read};

use crate::error::SpoolError;
use crate::io::{ReadAt, WriteAt};
use crate::options::Options;

/// Bytes that are taken of a stream at a time.
const READ_BYTES: usize = 1 << 18;

/// How much a [`Spool`] may keep, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolBounds {
    /// In memory. Beyond it a place is opened.
    pub memory_bytes_max: usize,
    /// In all.
    pub length_max: u64,
}

/// A blob on its way in. `F` is the place for what is too long for memory, `O` opens it when it comes to that.
pub struct Spool<F, O> {
    bounds: SpoolBounds,
    open: Option<O>,
    kept: Spooled<F>,
}

/// A blob that was spooled: what [`encode`](crate::encode) reads.
#[derive(Debug)]
pub struct Spooled<F> {
    memory: Vec<u8>,
    place: Option<F>,
    length: u64,
}

impl<F: ReadAt + WriteAt, O: FnOnce() -> io::Result<F>> Spool<F, O> {
    /// An empty spool. `open` is called once, when memory does not suffice; what is at the place before is overwritten
    /// from its start.
    pub fn new(bounds: SpoolBounds, open: O) -> Self {
        Self { bounds, open: Some(open), kept: Spooled { memory: Vec::new(), place: None, length: 0 } }
    }

    /// How many bytes have come.
    pub fn len(&self) -> u64 {
        self.kept.length
    }

    /// Whether none have come.
    pub fn is_empty(&self) -> bool {
        self.kept.length == 0
    }

    /// Adds the next bytes.
    ///
    /// # Errors
    /// [`SpoolError::TooLong`], and then nothing of `part` is kept; [`SpoolError::Write`], and then the spool is of no
    /// use.
    pub fn write(&mut self, part: &[u8]) -> Result<(), SpoolError> {
        let (offset, length_max) = (self.kept.length, self.bounds.length_max);
        let length = offset.checked_add(part.len() as u64).filter(|length| *length <= length_max);
        let length = length.ok_or(SpoolError::TooLong { length_max })?;
        let error = |source| SpoolError::Write { offset, source };
        if self.kept.place.is_none() && length > self.bounds.memory_bytes_max as u64 {
            // Taken once: from here on there is a place, or an error was returned.
            let open = self.open.take().ok_or_else(|| error(io::ErrorKind::Other.into()))?;
            let place = open().map_err(error)?;
            place.write_all_at(&self.kept.memory, 0).map_err(error)?;
            self.kept.memory = Vec::new();
            self.kept.place = Some(place);
        }
        match &self.kept.place {
            Some(place) => place.write_all_at(part, offset).map_err(error)?,
            None => self.kept.memory.extend_from_slice(part),
        }
        self.kept.length = length;
        Ok(())
    }

    /// Adds all that a stream has, and reports how much came.
    ///
    /// # Errors
    /// As [`Spool::write`], and [`SpoolError::Read`] or [`SpoolError::Cancelled`].
    pub fn fill(&mut self, stream: &mut dyn Read, options: &Options<'_>) -> Result<(), SpoolError> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            if options.is_cancelled() {
                return Err(SpoolError::Cancelled);
            }
            let count = match stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(SpoolError::Read { offset: self.kept.length, source }),
            };
            self.write(&buffer[..count])?;
            options.report(self.kept.length);
        }
    }

    /// The blob, when all of it has come.
    pub fn finish(self) -> Spooled<F> {
        self.kept
    }
}

impl<F> Spooled<F> {
    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether it is in memory.
    pub fn is_in_memory(&self) -> bool {
        self.place.is_none()
    }
}

impl<F: ReadAt> ReadAt for Spooled<F> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match &self.place {
            Some(place) => place.read_exact_at(buffer, offset),
            None => self.memory.read_exact_at(buffer, offset),
        }
    }

    fn borrow_at(&self, offset: u64, length: usize) -> Option<&[u8]> {
        if offset.checked_add(length as u64)? > self.length {
            return None;
        }
        match &self.place {
            Some(place) => place.borrow_at(offset, length),
            None => self.memory.borrow_at(offset, length),
        }
    }
}
