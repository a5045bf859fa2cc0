//! Keeps a node that may have forgotten votes from voting before that cannot matter any more.
//!
//! Votes are remembered in the journal, and a journal can be lost: an empty directory beside an old vote key, a directory
//! that was restored from a copy, writes that a disk lost. A key that signs twice at one height is an equivocator, whatever
//! its owner meant.
//!
//! ```text
//!   asking ──── others answered ────► voting            memory kept, nobody has heard more from this key
//!      │                         └──► observing ──► voting     memory lost, or others have heard more
//!      └ status requests name the keys; answers say how far the answerer is, and show the newest vote that it heard
//! ```
//!
//! # How long
//! Who voted at height `h` knew the block at `h - 1`, which members with `n - f` shards had precommitted, so each honest one of
//! those was at `h - 2` at least. This node, which forgot, is one of those that may fail: with `w` shards of its own the others
//! that lie hold at most `f - w`. Any others with `n - f - w` shards have more than that in common with those who precommitted, so one of
//! them is honest and was there. So no forgotten vote stands above the greatest height that they say plus
//! [`SAFE_DISTANCE`]; a vote that somebody shows counts as it is. A height that nobody can back with blocks is let go of
//! ([`Guard::unbacked`]), or one liar would silence a node for good. So many answer whenever anything can be decided.
//!
//! Each term has a key of its own, and a copy of a directory may hold those of several: all that there were at the start are
//! asked about and held together. A key that is made later has signed nothing and is free.
//!
//! # An older copy
//! A directory that was put back from a copy looks like one that was kept. So a node that kept its memory asks as many: no
//! fewer could decide anything either. It goes on from its journal when nobody is ahead and every vote that it is shown is in
//! there. When others are ahead it votes from the height after theirs, for what is below is decided; while it catches up it
//! looks for its own signature in certificates. One that its journal does not know, or a vote of later heights, says that
//! memory was lost after all. How far others are counts by what members with more than `f` shards say: liars alone hold nobody
//! up.
//!
//! # Across starts
//! How far others were is asked once for one loss. The first height to vote at is noted beside the loss, and a later start keeps
//! it: nothing was forgotten since. Otherwise a newcomer that is started anew now and then never gets to its distance in a quiet
//! network, and an election that gives several such more than `f` shards leaves nobody to decide the next height. A height that a
//! liar put there ends with the next start: what others say then counts when it is less.
//!
//! When everybody stands at genesis and nobody has heard the key, a lost memory holds nothing: that is how a network begins.
//!
//! # Laws
//! - **I15** No key signs two different messages for one height, round and step.
//!
//! # Source
//! `reliability.md` 3.1 number 12.

use crate::wire::status::VOTERS_MAX;
use floe_consensus::{Certificate, JournalEntry, Message, MessageKind, NetworkId, ValidatorKey, VoteSigningKey};
use floe_types::{Committee, Height, NodeId};
use std::collections::BTreeMap;

/// Heights above the greatest known one at which a forgotten vote may stand.
pub const SAFE_DISTANCE: u64 = 2;

/// What the shell knows of this node's memory of its votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// It is whole, as far as simulation or a test is concerned: nobody is asked.
    Certain,
    /// The directory is this node's and nothing seems to be missing. It may be an older copy.
    Kept,
    /// The directory is new, began with a snapshot, or lost writes.
    Lost,
    /// It was lost, and others have said how far since: no forgotten vote stands at this height or above, and what was
    /// signed after that is remembered as in a directory that was kept.
    LostBelow(Height),
}

/// The guard of one node.
pub(super) struct Guard {
    memory: Memory,
    /// The keys that there were at the start.
    own: Vec<ValidatorKey>,
    network: NetworkId,
    /// Keys, while they must not sign.
    held: Option<Vec<VoteSigningKey>>,
    /// How far those who answered are.
    heights: BTreeMap<NodeId, Height>,
    /// The greatest height of a vote with a key of ours that somebody showed.
    heard: Height,
    /// By who showed it, the height and the signature of the newest vote with a key of ours.
    shown: BTreeMap<NodeId, (Height, [u8; SIGNATURE_BYTES])>,
    /// The journal with which this life began, while keys are held.
    journal: Vec<JournalEntry>,
    /// The first height to vote at, once that is known.
    from: Option<Height>,
}

/// What the guard allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// Nothing yet: not enough others have answered.
    Ask,
    /// To go on from the journal.
    GoOn,
    /// To watch, and to vote from this height on.
    Observe {
        /// The first height to vote at.
        from: Height,
    },
    /// The same, and to note that the memory that was kept is an older one.
    Forgot {
        /// The first height to vote at.
        from: Height,
    },
}

impl Guard {
    pub fn new(network: NetworkId, own: Vec<ValidatorKey>, memory: Memory) -> Guard {
        // Without a key there is nothing to guard.
        let memory = if own.is_empty() { Memory::Certain } else { memory };
        let (heights, heard) = (BTreeMap::new(), Height(0));
        let (held, shown, from, journal) = (None, BTreeMap::new(), None, Vec::new());
        Guard { memory, own, network, held, heights, heard, shown, journal, from }
    }

    /// The keys that are asked about in status requests.
    pub fn own(&self) -> Vec<[u8; 32]> {
        self.own.iter().take(VOTERS_MAX).map(|key| key.0).collect()
    }

    /// A member answered: it has decided `height`, and shows the newest vote of our keys that it heard.
    pub fn answered(&mut self, from: NodeId, height: Height, shown: Option<&[u8]>) {
        self.heights.insert(from, height);
        let vote = shown.and_then(|bytes| Message::decode(bytes, VOTE_BYTES_MAX).ok());
        // What is not truly signed is somebody's lie and says nothing.
        let ours = vote
            .filter(|vote| vote.sender().is_some_and(|key| self.own.contains(&key)) && vote.is_signed(&self.network));
        // A vote ends with its signature.
        if let (Some(vote), Some(signature)) = (ours, shown.and_then(<[u8]>::last_chunk)) {
            let height = Height(vote.height().0);
            self.heard = self.heard.max(height);
            self.shown.insert(from, (height, *signature));
        }
    }

    /// Nobody could give the blocks above `tip`: claims of more are forgotten.
    pub fn unbacked(&mut self, tip: Height) {
        self.heights.values_mut().for_each(|height| *height = (*height).min(tip));
        let safe = self.safe_from(tip);
        self.from = self.from.map(|from| from.min(safe));
    }

    /// The first height at which no forgotten vote stands when nobody is above `known`: the one above what such a vote can
    /// have reached, and above every vote that was shown.
    fn safe_from(&self, known: Height) -> Height {
        let unknown = Height(known.0.saturating_add(SAFE_DISTANCE));
        Height(unknown.max(self.heard).0.saturating_add(1))
    }

    /// How far members with more than `f` shards say that they are: one of them is honest.
    fn vouched(&self, committee: &Committee) -> Height {
        let mut claims: Vec<(Height, NodeId)> = self.heights.iter().map(|(node, height)| (*height, *node)).collect();
        claims.sort_unstable();
        let mut sum = 0;
        let mut claims = claims.into_iter().rev();
        let enough = claims.find(|(_, node)| {
            sum += u64::from(committee.shards_of(committee.index_of(node)));
            sum > u64::from(committee.faulty())
        });
        enough.map_or(Height(0), |(height, _)| height)
    }

    /// A block of `height` came with this certificate. One that this node signed and does not remember says that it has
    /// forgotten more: the height below which, when that is news, to be noted.
    pub fn saw(&mut self, height: Height, certificate: &Certificate) -> Option<Height> {
        let (Some(held), Some(from), Some(whole)) = (&self.held, self.from, self.whole_from()) else { return None };
        if height < whole {
            return None;
        }
        let is_own = |key: &ValidatorKey| held.iter().any(|own| own.public() == *key);
        let own = certificate.signatures.iter().find(|(key, _)| is_own(key));
        let forgot = own.is_some_and(|(_, signature)| !holds(&self.journal, &signature.0));
        if !forgot {
            return None;
        }
        let known = self.heights.values().copied().max().unwrap_or_default().max(height);
        self.from = Some(from.max(self.safe_from(known)));
        // Once is enough: what others say grows while this node catches up.
        self.forgot();
        self.from
    }

    /// The first height of which nothing is forgotten, if the directory is what it seems.
    fn whole_from(&self) -> Option<Height> {
        match self.memory {
            Memory::Kept => Some(Height(0)),
            Memory::LostBelow(height) => Some(height),
            Memory::Certain | Memory::Lost => None,
        }
    }

    /// Memory that was taken for kept is an older one.
    pub fn forgot(&mut self) {
        self.journal.clear();
        self.memory = Memory::Lost;
    }

    /// What a node at `tip` may do, as things stand.
    pub fn leave(&self, committee: &Committee, node: &NodeId, (tip, journal): (Height, &[JournalEntry])) -> Leave {
        if self.memory == Memory::Certain {
            return Leave::GoOn;
        }
        let shards = |node: &NodeId| {
            let member = committee.index_of(node).and_then(|index| committee.member(index));
            member.map_or(0, |member| member.shards.len() as u64)
        };
        let own = shards(node);
        let others = u64::from(committee.shards()).saturating_sub(own);
        let needed = u64::from(committee.quorum()).saturating_sub(own);
        let answered: u64 = self.heights.keys().filter(|other| *other != node).map(shards).sum();
        if answered < needed.min(others) {
            return Leave::Ask;
        }
        let known = self.heights.values().copied().max().unwrap_or_default().max(tip);
        let from = self.safe_from(known);
        if known == Height(0) && self.heard == Height(0) {
            return Leave::GoOn;
        }
        let Some(whole) = self.whole_from() else { return Leave::Observe { from } };
        let is_forgotten = |(height, signature): &(Height, [u8; SIGNATURE_BYTES])| {
            *height >= whole && (*height > tip.next() || (*height == tip.next() && !holds(journal, signature)))
        };
        if self.shown.values().any(is_forgotten) {
            return Leave::Forgot { from };
        }
        let ahead = self.vouched(committee);
        let first = if ahead > tip { ahead.next() } else { tip.next() };
        match first.max(whole.min(from)) {
            first if first > tip.next() => Leave::Observe { from: first },
            _ => Leave::GoOn,
        }
    }

    /// Whether it is not noted yet from where on memory is whole.
    pub fn is_lost(&self) -> bool {
        self.memory == Memory::Lost
    }

    /// Whether the shell keeps a note that memory was lost.
    pub fn is_in_doubt(&self) -> bool {
        matches!(self.memory, Memory::Lost | Memory::LostBelow(_))
    }

    /// Holds the keys until `from`; `journal` is what there was at the start.
    pub fn hold(&mut self, keys: Vec<VoteSigningKey>, from: Height, journal: Vec<JournalEntry>) {
        (self.held, self.from, self.journal) = (Some(keys), Some(from), journal);
    }

    /// The public halves of the keys that are held.
    pub fn held(&self) -> Vec<ValidatorKey> {
        self.held.iter().flatten().map(VoteSigningKey::public).collect()
    }

    /// Destroys the keys for which `keep` says no.
    pub fn retain(&mut self, keep: impl Fn(&ValidatorKey) -> bool) {
        self.held.iter_mut().for_each(|held| held.retain(|key| keep(&key.public())));
        self.own.retain(keep);
    }

    /// Gives the keys back when `next` is a height to vote at.
    pub fn release(&mut self, next: Height) -> Option<Vec<VoteSigningKey>> {
        let keys = if self.from.is_some_and(|from| next >= from) { self.held.take() } else { None };
        keys.inspect(|_| self.journal.clear())
    }

    /// The first height to vote at, while keys are held.
    pub fn holds_until(&self) -> Option<Height> {
        self.held.as_ref().and(self.from)
    }
}

/// The longest encoded vote.
pub const VOTE_BYTES_MAX: usize = 256;
/// Bytes of a signature.
const SIGNATURE_BYTES: usize = 64;

/// Whether the journal has an entry with this signature.
fn holds(journal: &[JournalEntry], signature: &[u8; SIGNATURE_BYTES]) -> bool {
    journal.iter().any(|entry| entry.bytes.windows(SIGNATURE_BYTES).any(|bytes| bytes == signature))
}

/// The newest vote of each key that was heard: what others are told about themselves when they ask.
#[derive(Debug, Default)]
pub(super) struct Heard {
    newest: BTreeMap<[u8; 32], (Place, Vec<u8>)>,
}

/// Where a vote stands: height, round, and whether it is the second step's.
pub(super) type Place = (Height, u32, bool);

impl Heard {
    /// Whose vote `message` is and where it stands; none when it is no vote.
    pub fn place_of(message: &Message, bytes: &[u8]) -> Option<([u8; 32], Place)> {
        let vote = matches!(message.kind(), MessageKind::Prevote | MessageKind::Precommit);
        let key = message.sender().filter(|_| vote && bytes.len() <= VOTE_BYTES_MAX)?;
        let place = (Height(message.height().0), message.round().0, message.kind() == MessageKind::Precommit);
        Some((key.0, place))
    }

    /// Remembers a vote that consensus took, so its signature is true and its key is a member's: that bounds the map.
    pub fn note(&mut self, vote: Option<([u8; 32], Place)>, bytes: &[u8]) {
        let Some((key, place)) = vote else { return };
        if self.newest.get(&key).is_none_or(|(newest, _)| *newest < place) {
            self.newest.insert(key, (place, bytes.to_vec()));
        }
    }

    /// Forgets keys that are not of `committee` any more.
    pub fn keep(&mut self, committee: &Committee) {
        self.newest.retain(|key, _| committee.members().iter().any(|member| member.vote_key.0 == *key));
    }

    /// The newest vote of one of `keys`, of which the first [`VOTERS_MAX`] count.
    pub fn newest_of(&self, keys: &[[u8; 32]]) -> Option<Vec<u8>> {
        let votes = keys.iter().take(VOTERS_MAX).filter_map(|key| self.newest.get(key));
        votes.max_by_key(|(place, _)| *place).map(|(_, bytes)| bytes.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{committee, node};

    fn guard(memory: Memory) -> Guard {
        Guard::new([7; 32], vec![VoteSigningKey::from_secret([1; 32]).public()], memory)
    }

    fn told(guard: &mut Guard, others: impl IntoIterator<Item = u8>, height: u64) {
        others.into_iter().for_each(|seed| guard.answered(node(seed), Height(height), None));
    }

    /// A vote at `height` with the key of [`guard`].
    fn vote_at(height: u64) -> Vec<u8> {
        let key = VoteSigningKey::from_secret([1; 32]);
        let validators = vec![floe_consensus::Validator { key: key.public(), power: 1 }];
        let validators = floe_consensus::ValidatorSet::new(validators).unwrap();
        let mut machine = floe_consensus::Machine::new(floe_consensus::Config::new([7; 32]), Some(key));
        let height = floe_consensus::Height(height);
        let start = floe_consensus::Input::StartHeight { height, validators };
        let mut valid = |_: floe_consensus::Height, _: &[u8]| floe_consensus::Verdict::Valid;
        machine.step(start, &mut valid).unwrap();
        let (round, kind) = (floe_consensus::Round(0), floe_consensus::TimerKind::Propose);
        let timer = floe_consensus::Timer { height, round, kind };
        let said = machine.step(floe_consensus::Input::TimerFired(timer), &mut valid).unwrap();
        let vote = said.into_iter().find_map(|effect| match effect {
            floe_consensus::Effect::Publish(message) => Some(message.encode()),
            _ => None,
        });
        vote.unwrap().to_vec()
    }

    #[test]
    fn a_lost_memory_waits_for_a_quorum_of_others_and_then_for_a_safe_distance() {
        // Seven of four shards each, n - f = 19: four others of six.
        let committee = committee(7, 28, 1);
        let mut guard = guard(Memory::Lost);
        let leave = |guard: &Guard, tip| guard.leave(&committee, &node(1), (Height(tip), &[]));
        told(&mut guard, [1, 2, 3, 4], 40);
        assert_eq!(leave(&guard, 0), Leave::Ask, "its own word and three others are not enough");
        told(&mut guard, [6], 41);
        assert_eq!(leave(&guard, 0), Leave::Observe { from: Height(44) });
        guard.hold(vec![VoteSigningKey::from_secret([1; 32])], Height(44), Vec::new());
        assert!(guard.release(Height(43)).is_none());
        assert_eq!(guard.holds_until(), Some(Height(44)));
        assert!(guard.release(Height(44)).is_some());
        assert_eq!(guard.holds_until(), None);
    }

    #[test]
    fn a_vote_that_is_shown_counts_as_it_is_and_not_as_a_height_that_was_decided() {
        // Lost disks of several members with together f shards: each height more for which they wait is one at which the
        // next committee may give them more, and then nobody is left to decide it.
        let committee = committee(7, 28, 1);
        for (voted, first) in [(40, 43), (41, 43), (42, 43), (43, 44), (50, 51)] {
            let mut guard = guard(Memory::Lost);
            told(&mut guard, [2, 3, 4, 6], 40);
            guard.answered(node(5), Height(40), Some(&vote_at(voted)));
            let leave = guard.leave(&committee, &node(1), (Height(0), &[]));
            assert_eq!(leave, Leave::Observe { from: Height(first) }, "a vote at height {voted}");
        }
    }

    #[test]
    fn a_network_begins_with_empty_directories() {
        let committee = committee(4, 28, 1);
        let mut guard = guard(Memory::Lost);
        told(&mut guard, [2, 3, 4], 0);
        assert_eq!(guard.leave(&committee, &node(1), (Height(0), &[])), Leave::GoOn);
        told(&mut guard, [3], 1);
        assert_eq!(guard.leave(&committee, &node(1), (Height(0), &[])), Leave::Observe { from: Height(4) });
    }

    #[test]
    fn a_kept_memory_goes_on_where_it_was_and_a_lie_without_signature_says_nothing() {
        let committee = committee(7, 28, 1);
        let mut guard = guard(Memory::Kept);
        told(&mut guard, [2, 3, 4], 49);
        assert_eq!(guard.leave(&committee, &node(1), (Height(49), &[])), Leave::Ask, "twelve shards of fifteen");
        guard.answered(node(5), Height(50), Some(b"a vote that nobody signed"));
        assert_eq!(guard.leave(&committee, &node(1), (Height(49), &[])), Leave::GoOn, "four shards may lie");
    }

    #[test]
    fn a_kept_memory_behind_others_votes_from_the_height_after_theirs() {
        let committee = committee(7, 28, 1);
        let mut guard = guard(Memory::Kept);
        told(&mut guard, [2, 3, 4], 50);
        told(&mut guard, [5], u64::MAX);
        assert_eq!(guard.leave(&committee, &node(1), (Height(40), &[])), Leave::Observe { from: Height(51) });
    }

    #[test]
    fn an_own_signature_that_the_journal_does_not_know_says_that_the_directory_is_old() {
        let (mut guard, key) = (guard(Memory::Kept), VoteSigningKey::from_secret([1; 32]));
        let signed = |signature: [u8; 64]| Certificate {
            height: floe_consensus::Height(41),
            round: floe_consensus::Round(0),
            value_id: floe_consensus::ValueId([1; 32]),
            signatures: vec![(key.public(), floe_consensus::Signature(signature))],
        };
        told(&mut guard, [2, 3, 4, 5], 50);
        let entry = |signature: [u8; 64]| {
            let bytes = [&[3, 1, 4][..], &signature].concat().into();
            JournalEntry { height: floe_consensus::Height(41), bytes }
        };
        guard.hold(vec![VoteSigningKey::from_secret([1; 32])], Height(51), vec![entry([7; 64])]);
        assert_eq!(guard.saw(Height(41), &signed([7; 64])), None);
        assert_eq!(guard.holds_until(), Some(Height(51)));
        assert_eq!(guard.saw(Height(42), &signed([8; 64])), Some(Height(53)));
        assert_eq!(guard.holds_until(), Some(Height(53)));
        assert_eq!(guard.saw(Height(43), &signed([9; 64])), None, "noted already");
    }

    #[test]
    fn a_distance_that_was_found_once_holds_for_later_starts_and_no_longer() {
        let committee = committee(7, 28, 1);
        let begun = |noted: u64, others: u64, tip: u64| {
            let mut guard = guard(Memory::LostBelow(Height(noted)));
            told(&mut guard, [2, 3, 4, 6], others);
            guard.leave(&committee, &node(1), (Height(tip), &[]))
        };
        assert_eq!(begun(44, 42, 42), Leave::Observe { from: Height(44) }, "not 45, though others are further");
        assert_eq!(begun(44, 43, 43), Leave::GoOn);
        assert_eq!(begun(44, 50, 43), Leave::Observe { from: Height(51) }, "behind, as with any directory");
        assert_eq!(
            begun(u64::MAX, 43, 43),
            Leave::Observe { from: Height(46) },
            "a liar's height ends with this start"
        );
    }

    #[test]
    fn a_vote_above_the_noted_height_that_the_journal_does_not_know_says_that_the_directory_is_old() {
        let committee = committee(7, 28, 1);
        for (height, leave) in [(43, Leave::GoOn), (44, Leave::Forgot { from: Height(46) })] {
            let mut guard = guard(Memory::LostBelow(Height(44)));
            told(&mut guard, [2, 3, 4, 6], 43);
            guard.answered(node(5), Height(43), Some(&vote_at(height)));
            assert_eq!(guard.leave(&committee, &node(1), (Height(43), &[])), leave, "a vote at {height}");
        }
    }

    #[test]
    fn claims_that_nobody_backs_are_let_go_of() {
        let committee = committee(4, 28, 1);
        let mut guard = guard(Memory::Lost);
        told(&mut guard, [2, 3], 20);
        told(&mut guard, [4], u64::MAX);
        assert_eq!(guard.leave(&committee, &node(1), (Height(20), &[])), Leave::Observe { from: Height(u64::MAX) });
        guard.unbacked(Height(20));
        assert_eq!(guard.leave(&committee, &node(1), (Height(20), &[])), Leave::Observe { from: Height(23) });
    }

    #[test]
    fn who_has_no_key_or_is_alone_is_not_held_up() {
        let alone = committee(1, 4, 1);
        assert_eq!(guard(Memory::Lost).leave(&alone, &node(1), (Height(0), &[])), Leave::GoOn);
        let none = Guard::new([7; 32], Vec::new(), Memory::Lost);
        assert_eq!(none.leave(&committee(4, 28, 1), &node(9), (Height(0), &[])), Leave::GoOn);
    }
}
