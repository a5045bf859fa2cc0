//! Requests and answers on the wire: one frame each, with its own limit. Nothing is decoded here.

use crate::frame;
use bytes::Bytes;
use futures::{AsyncRead, AsyncWrite};
use libp2p::{StreamProtocol, request_response};
use std::io;

/// The codec of one protocol.
#[derive(Debug, Clone)]
pub(crate) struct BoundedCodec {
    /// Longest request, in bytes.
    pub request_bytes_max: usize,
    /// Longest answer, in bytes.
    pub answer_bytes_max: usize,
}

impl request_response::Codec for BoundedCodec {
    type Protocol = StreamProtocol;
    type Request = Bytes;
    type Response = Bytes;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Bytes>
    where
        T: AsyncRead + Unpin + Send,
    {
        frame::read(io, self.request_bytes_max).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Bytes>
    where
        T: AsyncRead + Unpin + Send,
    {
        frame::read(io, self.answer_bytes_max).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Bytes) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        frame::write(io, &request, self.request_bytes_max).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, answer: Bytes) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        frame::write(io, &answer, self.answer_bytes_max).await
    }
}
