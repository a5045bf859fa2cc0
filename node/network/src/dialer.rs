//! Whom to keep connected, and when to try again. Pure: time comes in, dials come out.
//!
//! Both ends of a pair want the connection. The one with the higher node id dials at once, the other after a short
//! delay, so that usually one connection arises and yet neither waits for a partner that cannot dial. A failure
//! doubles the pause from `backoff_min` to `backoff_max`.

use crate::config::ConnectionLimits;
use floe_types::NodeId;
use libp2p::Multiaddr;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long the lower id lets the higher one go first.
const COURTESY: Duration = Duration::from_millis(150);

/// Why we want a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// The operator named it.
    Bootstrap,
    /// It is in the committee.
    Member,
}

#[derive(Debug)]
struct Wanted {
    reason: Reason,
    addresses: Vec<Multiaddr>,
    failures: u32,
    /// `None` while connected or while a dial is under way.
    next: Option<Instant>,
}

/// The peers that are to be kept connected.
#[derive(Debug)]
pub(crate) struct Dialer {
    own: NodeId,
    backoff_min: Duration,
    backoff_max: Duration,
    wanted: BTreeMap<NodeId, Wanted>,
}

impl Dialer {
    pub(crate) fn new(own: NodeId, limits: &ConnectionLimits) -> Self {
        let backoff_min = limits.backoff_min.max(Duration::from_millis(1));
        Self { own, backoff_min, backoff_max: limits.backoff_max.max(backoff_min), wanted: BTreeMap::new() }
    }

    /// Wants a peer that is not connected now, or changes its addresses.
    pub(crate) fn want(&mut self, node: NodeId, reason: Reason, addresses: Vec<Multiaddr>, now: Instant) {
        if node == self.own {
            return;
        }
        let first = now + self.courtesy(&node);
        let wanted =
            self.wanted.entry(node).or_insert(Wanted { reason, addresses: Vec::new(), failures: 0, next: Some(first) });
        wanted.reason = wanted.reason.max(reason);
        if !addresses.is_empty() && wanted.addresses != addresses {
            // A new address is news: try it without the old one's pause.
            wanted.addresses = addresses;
            wanted.failures = 0;
            wanted.next = wanted.next.map(|next| next.min(first));
        }
    }

    /// Members that are no longer members are no longer wanted.
    pub(crate) fn keep_members(&mut self, is_member: impl Fn(&NodeId) -> bool) {
        self.wanted.retain(|node, wanted| wanted.reason == Reason::Bootstrap || is_member(node));
    }

    /// There is a connection.
    pub(crate) fn connected(&mut self, node: &NodeId) {
        if let Some(wanted) = self.wanted.get_mut(node) {
            wanted.failures = 0;
            wanted.next = None;
        }
    }

    /// The last connection is gone.
    pub(crate) fn disconnected(&mut self, node: &NodeId, now: Instant) {
        let courtesy = self.courtesy(node);
        if let Some(wanted) = self.wanted.get_mut(node) {
            wanted.next = Some(now + self.backoff_min + courtesy);
        }
    }

    /// A dial failed, or was not even possible.
    pub(crate) fn failed(&mut self, node: &NodeId, now: Instant) {
        if let Some(wanted) = self.wanted.get_mut(node) {
            let factor = 1u32.checked_shl(wanted.failures.min(16)).unwrap_or(1);
            wanted.failures = wanted.failures.saturating_add(1);
            wanted.next = Some(now + self.backoff_min.saturating_mul(factor).min(self.backoff_max));
        }
    }

    /// Whom to dial now. Each named peer must be answered by `connected` or `failed`.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<(NodeId, Vec<Multiaddr>)> {
        let mut due = Vec::new();
        for (node, wanted) in &mut self.wanted {
            if wanted.next.is_some_and(|next| next <= now) {
                wanted.next = None;
                due.push((*node, wanted.addresses.clone()));
            }
        }
        due
    }

    /// When somebody is due next.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.wanted.values().filter_map(|wanted| wanted.next).min()
    }

    fn courtesy(&self, node: &NodeId) -> Duration {
        if self.own > *node { Duration::ZERO } else { COURTESY }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(seed: u8) -> NodeId {
        NodeId([seed; 32])
    }

    fn dialer(now: Instant) -> Dialer {
        let mut dialer = Dialer::new(node(5), &ConnectionLimits::default());
        dialer.want(node(1), Reason::Member, vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()], now);
        dialer.want(node(9), Reason::Member, vec!["/ip4/127.0.0.1/tcp/9".parse().unwrap()], now);
        dialer
    }

    fn due(dialer: &mut Dialer, now: Instant) -> Vec<NodeId> {
        dialer.due(now).into_iter().map(|(node, _)| node).collect()
    }

    #[test]
    fn the_higher_id_dials_first_and_the_lower_soon_after() {
        let now = Instant::now();
        let mut dialer = dialer(now);
        assert_eq!(due(&mut dialer, now), vec![node(1)]);
        assert_eq!(due(&mut dialer, now + COURTESY), vec![node(9)]);
        assert_eq!(dialer.next(), None);
    }

    #[test]
    fn pauses_double_from_a_fifth_of_a_second_to_ten() {
        let now = Instant::now();
        let mut dialer = dialer(now);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            dialer.failed(&node(1), now);
            let next = dialer.wanted.get(&node(1)).and_then(|wanted| wanted.next).unwrap();
            pauses.push((next - now).as_millis());
        }
        assert_eq!(pauses, vec![200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    }

    #[test]
    fn a_new_address_is_tried_without_the_old_ones_pause() {
        let now = Instant::now();
        let mut dialer = dialer(now);
        for _ in 0..8 {
            dialer.failed(&node(1), now);
        }
        dialer.want(node(1), Reason::Member, vec!["/ip4/127.0.0.1/tcp/2".parse().unwrap()], now);
        assert_eq!(due(&mut dialer, now), vec![node(1)]);
    }

    #[test]
    fn who_leaves_the_committee_is_not_dialled_but_bootstrap_peers_are() {
        let now = Instant::now();
        let mut dialer = dialer(now);
        dialer.want(node(2), Reason::Bootstrap, Vec::new(), now);
        dialer.keep_members(|member| *member == node(9));
        assert_eq!(due(&mut dialer, now + COURTESY), vec![node(2), node(9)]);
    }

    #[test]
    fn a_connected_peer_is_not_dialled_until_it_is_gone() {
        let now = Instant::now();
        let mut dialer = dialer(now);
        dialer.connected(&node(1));
        assert_eq!(due(&mut dialer, now), vec![]);
        dialer.disconnected(&node(1), now);
        assert_eq!(due(&mut dialer, now), vec![]);
        assert_eq!(due(&mut dialer, now + Duration::from_millis(200)), vec![node(1), node(9)]);
    }
}
