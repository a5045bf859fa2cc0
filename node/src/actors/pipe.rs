//! One exchange of the fragment protocol as bytes: a stream to another node, or a pipe to this node's own holder.

use floe_machines::wire::fragment::{self, HeaderError, LENGTH_BYTES};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use std::io;
use tokio_util::compat::TokioAsyncReadCompatExt;

/// Bytes moved at a time, and kept for each exchange.
pub const CHUNK_BYTES: usize = 256 << 10;

/// Bytes both ways, with back pressure.
pub trait Pipe: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Pipe for T {}

/// A pipe of any kind.
pub type BoxedPipe = Box<dyn Pipe>;

/// Why an exchange did not get anywhere.
#[derive(Debug, thiserror::Error)]
pub enum PipeError {
    /// The bytes are not a header.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The stream broke, ended or was too slow.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Two ends of a pipe within this node.
#[must_use]
pub fn local() -> (BoxedPipe, BoxedPipe) {
    let (one, other) = tokio::io::duplex(CHUNK_BYTES);
    (Box::new(one.compat()), Box::new(other.compat()))
}

/// Reads a header: its length, checked, then its bytes. How long that may take is for the caller to bound.
///
/// # Errors
/// [`PipeError`].
pub async fn read_header(pipe: &mut (impl AsyncRead + Unpin + ?Sized)) -> Result<Vec<u8>, PipeError> {
    let mut length = [0u8; LENGTH_BYTES];
    pipe.read_exact(&mut length).await?;
    let bytes = fragment::header_bytes(length)?;
    let mut body = vec![0u8; bytes];
    pipe.read_exact(&mut body).await?;
    Ok(body)
}

/// Writes a frame and sends it off.
///
/// # Errors
/// What the stream says.
pub async fn write_frame(pipe: &mut (impl AsyncWrite + Unpin + ?Sized), frame: &[u8]) -> io::Result<()> {
    pipe.write_all(frame).await?;
    pipe.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lying_length_is_refused_before_memory_is_given() {
        let (mut one, mut other) = local();
        write_frame(&mut one, &u32::MAX.to_be_bytes()).await.unwrap();
        let refused = read_header(&mut other).await;
        assert!(matches!(refused, Err(PipeError::Header(HeaderError::Length { found: u32::MAX }))));
    }

    #[tokio::test]
    async fn a_header_cut_short_is_an_error() {
        let (mut one, mut other) = local();
        write_frame(&mut one, &[0, 0, 0, 9, 1, 2]).await.unwrap();
        drop(one);
        assert!(matches!(read_header(&mut other).await, Err(PipeError::Io(_))));
    }
}
