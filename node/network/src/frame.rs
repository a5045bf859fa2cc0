//! Lengths before bytes: `length: u32 little-endian | body`. The one place where a stranger's length is believed, and
//! only as far as a limit; memory is then given as bytes arrive, so that a lie costs the liar the bytes.

use bytes::{Bytes, BytesMut};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use std::io;

/// Bytes of the length.
pub(crate) const LENGTH_BYTES: usize = 4;

/// First memory for a body, and the least by which it grows.
const CHUNK: usize = 64 * 1024;

/// A length above the limit: not a frame of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("frame of {bytes} bytes is longer than the {limit} allowed")]
pub(crate) struct TooLong {
    /// The length that was announced.
    pub bytes: usize,
    /// The limit.
    pub limit: usize,
}

impl From<TooLong> for io::Error {
    fn from(error: TooLong) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

/// The [`TooLong`] inside an I/O error, if that is what it is.
pub(crate) fn too_long(error: &io::Error) -> Option<TooLong> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<TooLong>()).copied()
}

/// The length as it stands on the wire; `None` above 32 bits.
pub(crate) fn length_prefix(bytes: usize) -> Option<[u8; LENGTH_BYTES]> {
    u32::try_from(bytes).ok().map(u32::to_le_bytes)
}

/// Reads one frame of at most `limit` bytes.
pub(crate) async fn read<T>(io: &mut T, limit: usize) -> io::Result<Bytes>
where
    T: AsyncRead + Unpin + Send,
{
    let mut length = [0u8; LENGTH_BYTES];
    io.read_exact(&mut length).await?;
    let bytes = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if bytes > limit {
        return Err(TooLong { bytes, limit }.into());
    }
    let mut body = BytesMut::new();
    while body.len() < bytes {
        let start = body.len();
        // Doubling keeps copies few; the announced length caps it.
        let end = bytes.min(start.saturating_mul(2).max(start.saturating_add(CHUNK)));
        body.resize(end, 0);
        let rest = body.get_mut(start..).unwrap_or_default();
        io.read_exact(rest).await?;
    }
    Ok(body.freeze())
}

/// Writes one frame of at most `limit` bytes and flushes it.
pub(crate) async fn write<T>(io: &mut T, body: &[u8], limit: usize) -> io::Result<()>
where
    T: AsyncWrite + Unpin + Send,
{
    let too_long = TooLong { bytes: body.len(), limit };
    if body.len() > limit {
        return Err(too_long.into());
    }
    let length = length_prefix(body.len()).ok_or(too_long)?;
    io.write_all(&length).await?;
    io.write_all(body).await?;
    io.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use futures::io::Cursor;

    fn read_from(bytes: &[u8], limit: usize) -> io::Result<Bytes> {
        block_on(read(&mut Cursor::new(bytes), limit))
    }

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK] {
            let body = vec![7u8; length];
            let mut wire = Vec::new();
            block_on(write(&mut wire, &body, length)).unwrap();
            assert_eq!(read_from(&wire, length).unwrap(), body);
        }
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_memory_is_given() {
        for bytes in [5u32, 1 << 31, u32::MAX] {
            let error = read_from(&bytes.to_le_bytes(), 4).unwrap_err();
            assert_eq!(too_long(&error), Some(TooLong { bytes: bytes as usize, limit: 4 }));
        }
    }

    #[test]
    fn a_frame_cut_anywhere_is_an_error() {
        let mut wire = Vec::new();
        block_on(write(&mut wire, b"some bytes", 64)).unwrap();
        for cut in 0..wire.len() {
            let error = read_from(&wire[..cut], 64).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "cut at {cut}");
        }
    }

    #[test]
    fn a_body_above_the_limit_is_not_written() {
        let mut wire = Vec::new();
        let error = block_on(write(&mut wire, &[0; 5], 4)).unwrap_err();
        assert_eq!(too_long(&error), Some(TooLong { bytes: 5, limit: 4 }));
        assert!(wire.is_empty());
    }
}
