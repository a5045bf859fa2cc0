//! Who answered this node's status requests in the epoch: what its report says, and its live view of the others.
//!
//! 1. A probe goes to every other member at even intervals, more often than the params ask when an epoch is long, so
//!    that the live view is never older than [`PROBE_MILLIS_MAX`].
//! 2. An answer counts when it carries the nonce of the newest request to that member: late is not answered.
//! 3. In the closing, the members that answered more than half of what they were asked are reported, by whoever has
//!    watched at least half of the epoch.
//!
//! The live view moves screens and catching up, never a decision.

use crate::wire::status::StatusAnswer;
use floe_types::{Height, NodeId, Params};
use std::collections::BTreeMap;

/// The longest pause between two probes of one member: the live view's age.
pub const PROBE_MILLIS_MAX: u64 = 10_000;
/// Probes of one member that an epoch has, at least.
const PROBES_AN_EPOCH: u64 = 6;
/// The shortest pause, which bounds the traffic of very short epochs.
pub const PROBE_MILLIS_MIN: u64 = 100;

/// What is known of another member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Requests sent to it in this epoch.
    pub asked: u32,
    /// Requests it answered in this epoch.
    pub answered: u32,
    /// The open request's nonce.
    pub open: Option<u64>,
    /// Whether the newest request that is settled was answered.
    pub answering: bool,
    /// When it last answered, by this node's clock.
    pub answered_at: Option<u64>,
    /// The newest height it claimed.
    pub height: Height,
}

/// The machine's state.
#[derive(Clone, Debug, Default)]
pub struct Attendance {
    members: BTreeMap<NodeId, Seen>,
    next_probe_at: u64,
    next_nonce: u64,
}

/// Milliseconds between two probes under `params`.
#[must_use]
pub fn probe_millis(params: &Params) -> u64 {
    let before_closing = params.epoch_millis - params.closing_millis;
    (before_closing / PROBES_AN_EPOCH).clamp(PROBE_MILLIS_MIN, PROBE_MILLIS_MAX)
}

/// Probes that fit into the part of an epoch before its closing.
#[must_use]
pub fn probes_an_epoch(params: &Params) -> u64 {
    (params.epoch_millis - params.closing_millis) / probe_millis(params)
}

impl Attendance {
    /// Nobody asked yet; nonces count from `nonce`.
    #[must_use]
    pub fn new(nonce: u64) -> Attendance {
        Attendance { next_nonce: nonce, ..Attendance::default() }
    }

    /// Takes over the members to watch; who left is forgotten, who stays keeps its counts.
    pub fn watch(&mut self, members: impl IntoIterator<Item = NodeId>) {
        let mut kept = BTreeMap::new();
        for node in members {
            kept.insert(node, self.members.remove(&node).unwrap_or_default());
        }
        self.members = kept;
    }

    /// A new epoch: counts begin anew, the live view stays.
    pub fn begin_epoch(&mut self) {
        for seen in self.members.values_mut() {
            (seen.asked, seen.answered) = (0, 0);
        }
    }

    /// When the next probe is due.
    #[must_use]
    pub fn next_probe_at(&self) -> u64 {
        self.next_probe_at
    }

    /// Whom to ask now, each with the nonce of its request; nobody before the next probe is due. A request still open
    /// then has failed.
    pub fn probe(&mut self, now: u64, params: &Params) -> Vec<(NodeId, u64)> {
        if now < self.next_probe_at {
            return Vec::new();
        }
        self.next_probe_at = now + probe_millis(params);
        let mut requests = Vec::with_capacity(self.members.len());
        for (node, seen) in &mut self.members {
            if seen.open.take().is_some() {
                seen.answering = false;
            }
            seen.asked += 1;
            seen.open = Some(self.next_nonce);
            requests.push((*node, self.next_nonce));
            self.next_nonce = self.next_nonce.wrapping_add(1);
        }
        requests
    }

    /// An answer came. False when nothing like it was open.
    pub fn answered(&mut self, now: u64, from: NodeId, answer: &StatusAnswer) -> bool {
        let Some(seen) = self.members.get_mut(&from) else { return false };
        if seen.open != Some(answer.nonce) {
            return false;
        }
        seen.open = None;
        seen.answered += 1;
        seen.answering = true;
        seen.answered_at = Some(now);
        seen.height = seen.height.max(answer.height);
        true
    }

    /// A request failed: nobody there, or no answer in time.
    pub fn failed(&mut self, from: NodeId, nonce: u64) {
        if let Some(seen) = self.members.get_mut(&from)
            && seen.open == Some(nonce)
        {
            seen.open = None;
            seen.answering = false;
        }
    }

    /// The members that answered more than half of what they were asked in this epoch; `None` when this node has watched
    /// less than half of it. A node that has just started would report what it did not see: after a restart of all,
    /// everybody would call everybody absent.
    #[must_use]
    pub fn report(&self, params: &Params) -> Option<Vec<NodeId>> {
        let watched = self.members.values().map(|seen| seen.asked).max()?;
        if u64::from(watched) * 2 < probes_an_epoch(params) {
            return None;
        }
        let answered = |(node, seen): (&NodeId, &Seen)| (seen.answered * 2 > seen.asked).then_some(*node);
        Some(self.members.iter().filter_map(answered).collect())
    }

    /// The live view, by node.
    #[must_use]
    pub fn live(&self) -> &BTreeMap<NodeId, Seen> {
        &self.members
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use floe_types::{BlockId, Epoch, NetworkId};

    fn answer(nonce: u64) -> StatusAnswer {
        StatusAnswer {
            network: NetworkId([0; 32]),
            nonce,
            height: Height(9),
            block: BlockId([0; 32]),
            epoch: Epoch(1),
            heard: None,
        }
    }

    fn watching(members: u8) -> (Attendance, Params) {
        let mut attendance = Attendance::new(100);
        attendance.watch((1..=members).map(|seed| NodeId([seed; 32])));
        (attendance, Params::devnet(28, 15_000))
    }

    #[test]
    fn half_of_the_answers_is_not_enough() {
        let (mut attendance, params) = watching(2);
        for round in 0..4 {
            let now = round * 2_000;
            let requests = attendance.probe(now, &params);
            assert_eq!(requests.len(), 2);
            assert!(attendance.answered(now, requests[0].0, &answer(requests[0].1)));
            if round % 2 == 0 {
                assert!(attendance.answered(now, requests[1].0, &answer(requests[1].1)));
            }
        }
        assert_eq!(attendance.report(&params), Some(vec![NodeId([1; 32])]));
    }

    #[test]
    fn an_old_nonce_a_stranger_and_a_second_answer_count_nothing() {
        let (mut attendance, params) = watching(1);
        let first = attendance.probe(0, &params)[0];
        let second = attendance.probe(2_000, &params)[0];
        assert!(!attendance.answered(2_001, first.0, &answer(first.1)));
        assert!(!attendance.answered(2_001, NodeId([9; 32]), &answer(second.1)));
        assert!(attendance.answered(2_001, second.0, &answer(second.1)));
        assert!(!attendance.answered(2_001, second.0, &answer(second.1)));
        attendance.probe(4_000, &params);
        assert_eq!(attendance.report(&params), Some(vec![]));
    }

    #[test]
    fn who_watched_less_than_half_of_the_epoch_reports_nothing() {
        let (mut attendance, params) = watching(3);
        assert_eq!(attendance.report(&params), None);
        for round in 0..2 {
            attendance.probe(round * 2_000, &params);
        }
        assert_eq!((probes_an_epoch(&params), attendance.report(&params)), (6, None));
        attendance.probe(4_000, &params);
        assert_eq!(attendance.report(&params), Some(vec![]));
        attendance.begin_epoch();
        assert_eq!(attendance.report(&params), None);
    }

    #[test]
    fn a_probe_left_open_shows_as_not_answering() {
        let (mut attendance, params) = watching(1);
        let request = attendance.probe(0, &params)[0];
        attendance.answered(5, request.0, &answer(request.1));
        assert!(attendance.live()[&request.0].answering);
        attendance.probe(2_000, &params);
        assert!(attendance.live()[&request.0].answering, "the newest settled request was answered");
        attendance.probe(4_000, &params);
        assert!(!attendance.live()[&request.0].answering);
    }
}
