//! Fragment streams: bytes both ways with back pressure, outside the swarm task.
//!
//! A stream has three bounds. *Memory*: what the reader has not read is held back at the writer by the multiplexer's
//! window. *Crowd*: so many streams a peer and in all ([`StreamLimits`]). *Time*: waiting for the other side is paid
//! for by bytes; who has waited longer than a grace and what the bytes earned gets `TimedOut`. Only waiting counts: a
//! side that is busy with its disk is not charged for it, the other side waits.
//!
//! Must be polled inside a tokio runtime (any), which drives the clock.

use crate::config::StreamLimits;
use crate::counters::{NetworkCounters, add};
use floe_types::NodeId;
use futures::{AsyncRead, AsyncWrite};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep_until};

/// A stream of bytes to or from a node. Dropping it resets what was not yet delivered; `close` first to deliver all.
pub struct FragmentStream {
    /// Boxed, because it travels in events whose other variants are small.
    inner: Box<Inner>,
}

struct Inner {
    stream: libp2p::Stream,
    peer: NodeId,
    reading: Patience,
    writing: Patience,
    counters: Arc<NetworkCounters>,
    _place: Place,
}

impl FragmentStream {
    pub(crate) fn new(
        stream: libp2p::Stream,
        peer: NodeId,
        limits: &StreamLimits,
        counters: Arc<NetworkCounters>,
        place: Place,
    ) -> Self {
        let (reading, writing) = (Patience::new(limits), Patience::new(limits));
        Self { inner: Box::new(Inner { stream, peer, reading, writing, counters, _place: place }) }
    }

    /// The node at the other end.
    #[must_use]
    pub fn peer(&self) -> NodeId {
        self.inner.peer
    }
}

impl fmt::Debug for FragmentStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FragmentStream").field("peer", &self.inner.peer).finish_non_exhaustive()
    }
}

impl AsyncRead for FragmentStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self.get_mut().inner;
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        let bytes = ready!(this.reading.judge(polled, context))?;
        add(&this.counters.fragment_bytes_in, bytes);
        Poll::Ready(Ok(bytes))
    }
}

impl AsyncWrite for FragmentStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self.get_mut().inner;
        let polled = Pin::new(&mut this.stream).poll_write(context, buffer);
        let bytes = ready!(this.writing.judge(polled, context))?;
        add(&this.counters.fragment_bytes_out, bytes);
        Poll::Ready(Ok(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self.get_mut().inner;
        let polled = Pin::new(&mut this.stream).poll_flush(context).map_ok(|()| 0);
        this.writing.judge(polled, context).map_ok(|_| ())
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self.get_mut().inner;
        let polled = Pin::new(&mut this.stream).poll_close(context).map_ok(|()| 0);
        this.writing.judge(polled, context).map_ok(|_| ())
    }
}

/// How much waiting one direction has left: `grace + bytes / rate - waited`.
struct Patience {
    grace: Duration,
    bytes_per_second_min: u64,
    bytes: u64,
    waited: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Patience {
    fn new(limits: &StreamLimits) -> Self {
        Self {
            grace: limits.grace,
            bytes_per_second_min: limits.bytes_per_second_min.max(1),
            bytes: 0,
            waited: Duration::ZERO,
            waiting: None,
        }
    }

    /// Charges waiting, credits bytes, and turns a wait that has become too long into an error.
    fn judge(&mut self, polled: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Ready(result) => {
                if let Some((since, _)) = self.waiting.take() {
                    self.waited = self.waited.saturating_add(since.elapsed());
                }
                if let Ok(bytes) = &result {
                    self.bytes = self.bytes.saturating_add(u64::try_from(*bytes).unwrap_or(u64::MAX));
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                let left = self.left();
                let (_, timer) = self.waiting.get_or_insert_with(|| {
                    let now = Instant::now();
                    (now, Box::pin(sleep_until(now + left)))
                });
                ready!(timer.as_mut().poll(context));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the other side is too slow")))
            }
        }
    }

    fn left(&self) -> Duration {
        let earned = self.bytes.saturating_mul(1000).checked_div(self.bytes_per_second_min).unwrap_or(0);
        // A day is for ever here, and keeps the sum far from overflow.
        let earned = Duration::from_millis(earned.min(86_400_000));
        self.grace.saturating_add(earned).saturating_sub(self.waited)
    }
}

/// A place among the open streams; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _total: OwnedSemaphorePermit,
    _peer: OwnedSemaphorePermit,
}

/// The places for streams in one direction.
#[derive(Debug)]
pub(crate) struct Crowd {
    per_peer: usize,
    total: Arc<Semaphore>,
    peers: Mutex<BTreeMap<NodeId, Arc<Semaphore>>>,
}

impl Crowd {
    /// So many places for one peer, and so many in all.
    pub(crate) fn new(per_peer: usize, total: usize) -> Self {
        Self {
            per_peer: per_peer.max(1),
            total: Arc::new(Semaphore::new(total.max(1))),
            peers: Mutex::new(BTreeMap::new()),
        }
    }

    /// A free place, or `None`.
    pub(crate) fn try_enter(&self, node: NodeId) -> Option<Place> {
        let peer = self.of(node).try_acquire_owned().ok()?;
        let total = Arc::clone(&self.total).try_acquire_owned().ok()?;
        Some(Place { _total: total, _peer: peer })
    }

    /// Waits for a free place.
    pub(crate) async fn enter(&self, node: NodeId) -> Option<Place> {
        // The peer's place first: who waits for a slow peer must not hold a place that others could use.
        let peer = self.of(node).acquire_owned().await.ok()?;
        let total = Arc::clone(&self.total).acquire_owned().await.ok()?;
        Some(Place { _total: total, _peer: peer })
    }

    /// The places of one peer. Peers without open streams are forgotten when they are many.
    fn of(&self, node: NodeId) -> Arc<Semaphore> {
        /// Far more than connections, so that sweeping is rare.
        const SWEEP_AT: usize = 1024;
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= SWEEP_AT {
            let per_peer = self.per_peer;
            peers.retain(|_, places| Arc::strong_count(places) > 1 || places.available_permits() < per_peer);
        }
        Arc::clone(peers.entry(node).or_insert_with(|| Arc::new(Semaphore::new(self.per_peer))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_for_a_peer_and_in_all_and_given_back() {
        let crowd = Crowd::new(2, 3);
        let (a, b) = (NodeId([1; 32]), NodeId([2; 32]));
        let first = crowd.try_enter(a).unwrap();
        let _second = crowd.try_enter(a).unwrap();
        assert!(crowd.try_enter(a).is_none());
        let _third = crowd.try_enter(b).unwrap();
        assert!(crowd.try_enter(b).is_none());
        drop(first);
        assert!(crowd.try_enter(b).is_some());
    }

    #[tokio::test]
    async fn waiting_is_paid_for_by_bytes() {
        let grace = Duration::from_millis(20);
        let limits = StreamLimits { grace, bytes_per_second_min: 1000, ..StreamLimits::default() };
        let mut patience = Patience::new(&limits);
        assert_eq!(patience.left(), grace);
        let read = std::future::poll_fn(|context| patience.judge(Poll::Ready(Ok(60)), context)).await;
        assert_eq!(read.unwrap(), 60);
        assert_eq!(patience.left(), grace + Duration::from_millis(60));
        let start = Instant::now();
        let waited = std::future::poll_fn(|context| patience.judge(Poll::Pending, context)).await;
        assert_eq!(waited.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= Duration::from_millis(80));
    }
}
