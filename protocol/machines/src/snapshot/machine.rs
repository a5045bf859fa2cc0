//! The machine: what is asked of whom, and what an answer means.

use super::{Config, Effect, Input, Progress, Resumed};
use crate::certificates::CommitCertificates;
use crate::wire::sync::{self, Ask, OutlineAnswer, PieceAnswer, Request, TermsAnswer};
use bytes::Bytes;
use floe_ledger::digest::Sum;
use floe_ledger::evidence::{Checked, TermChain, TermLink};
use floe_ledger::snapshot::{self, CHUNKS_MAX, Outline, Part};
use floe_types::{BlockId, Genesis, Height, NetworkId, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// Failures that one lie counts for: whoever lied is far behind everybody who merely failed, and offers nothing any more.
const BLAMED: u32 = 1 << 16;
/// Failures in a row after which what a peer offered counts no more: it may be gone.
const FAILURES_MAX: u32 = 3;

/// Failures that an explanation which did not come counts for.
const SULKED: u32 = BLAMED / 2;

/// What a peer offers: enough to see whether two offer the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Offer {
    height: Height,
    block: BlockId,
    chunks: u32,
    bytes: u64,
}

#[derive(Clone, Debug, Default)]
struct Peer {
    failures: u32,
    /// Since it last answered.
    failures_in_row: u32,
    /// Not asked before: who fails at once would be asked again at once, without end.
    rests_until: u64,
    open: Option<(Ask, u64)>,
    offer: Option<Offer>,
    /// Whether its outline has come, or failed to, in this round.
    heard: bool,
    /// Its outline did not check; it is asked for the terms that would explain it.
    doubted: bool,
}

impl Peer {
    /// Whether it may be asked something.
    fn is_idle(&self, now: u64) -> bool {
        self.open.is_none() && now >= self.rests_until
    }
}

/// A snapshot whose header is checked.
struct Target {
    offer: Offer,
    outline: Outline,
    checked: Checked,
}

enum Phase {
    Terms,
    Outlines { round_began: u64 },
    Parts { from: NodeId, parts: Vec<Part> },
    Chunks { giver: Option<NodeId>, suspects: BTreeMap<u32, NodeId> },
    Complete,
}

/// Fetches a snapshot.
pub struct SnapshotSync {
    now: u64,
    config: Config,
    network: NetworkId,
    certificates: CommitCertificates,
    /// Only what is above it is worth fetching.
    height: Height,
    chain: TermChain,
    terms: Vec<TermLink>,
    peers: BTreeMap<NodeId, Peer>,
    phase: Phase,
    offered: BTreeMap<Offer, (Outline, Checked)>,
    target: Option<Target>,
    sums: Vec<Sum>,
    kept: BTreeSet<u32>,
    resumed: Option<Resumed>,
    paused_until: u64,
    out: Vec<Effect>,
}

impl SnapshotSync {
    /// Begins for a node that has the state after `height` (0: genesis only) and kept `resumed` in an earlier life.
    #[must_use]
    pub fn new(config: Config, genesis: &Genesis, height: Height, resumed: Option<Resumed>) -> SnapshotSync {
        let network = genesis.network();
        SnapshotSync {
            now: 0,
            config,
            network,
            certificates: CommitCertificates::of(network),
            height,
            chain: TermChain::from_genesis(genesis),
            terms: Vec::new(),
            peers: BTreeMap::new(),
            phase: Phase::Terms,
            offered: BTreeMap::new(),
            target: None,
            sums: Vec::new(),
            kept: BTreeSet::new(),
            resumed,
            paused_until: 0,
            out: Vec::new(),
        }
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let target = self.target.as_ref();
        let signed = target.map(|target| &target.checked.signed);
        Progress {
            height: target.map(|target| target.offer.height),
            terms: self.terms.len() as u64,
            chunks: target.map_or(0, |target| target.offer.chunks),
            kept: self.kept.len() as u32,
            bytes: target.map_or(0, |target| target.offer.bytes),
            signed: signed.map_or((0, 0), |signed| (signed.members.len() as u16, signed.shards)),
        }
    }

    /// Takes one input at `now`, in milliseconds of any clock that does not go back, and answers what must be done.
    pub fn step(&mut self, now: u64, input: Input) -> Vec<Effect> {
        self.now = now;
        match input {
            Input::Peers(peers) => {
                let mut known = std::mem::take(&mut self.peers);
                self.peers = peers.into_iter().map(|node| (node, known.remove(&node).unwrap_or_default())).collect();
            }
            Input::Answered { from, bytes } => self.answered(now, from, &bytes),
            Input::Failed { from } => self.failed(now, from),
            Input::TimerFired => {}
        }
        self.expire(now);
        self.go_on(now);
        std::mem::take(&mut self.out)
    }

    fn expire(&mut self, now: u64) {
        let patience = self.config.patience_millis;
        let late = |peer: &Peer| peer.open.is_some_and(|(_, since)| now.saturating_sub(since) >= patience);
        let late: Vec<_> = self.peers.iter().filter(|(_, peer)| late(peer)).map(|(node, _)| *node).collect();
        late.into_iter().for_each(|node| self.failed(now, node));
    }

    fn failed(&mut self, now: u64, from: NodeId) {
        let pause = self.config.pause_millis;
        if let Some(peer) = self.peers.get_mut(&from)
            && let Some((ask, _)) = peer.open.take()
        {
            // Whoever offers what does not check and will not say why is not waited for again and again.
            let sulks = matches!(ask, Ask::Terms { .. }) && std::mem::take(&mut peer.doubted);
            peer.failures = peer.failures.saturating_add(if sulks { SULKED } else { 1 });
            peer.failures_in_row = peer.failures_in_row.saturating_add(1);
            peer.rests_until = now.saturating_add(pause);
            peer.heard |= ask == Ask::Outline;
            if peer.failures_in_row >= FAILURES_MAX {
                peer.offer = None;
            }
        }
    }

    fn blame(&mut self, node: NodeId, cause: &'static str) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.failures = peer.failures.saturating_add(BLAMED);
            peer.offer = None;
        }
        self.out.push(Effect::Blame { node, cause });
    }

    fn ask(&mut self, now: u64, to: NodeId, ask: Ask) {
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.open = Some((ask, now));
            let request = Request { network: self.network, ask };
            self.out.push(Effect::Ask { to, bytes: Bytes::from(sync::encode_request(&request)) });
        }
    }

    /// The peer with the fewest failures of those that are idle and `fit`.
    fn best(&self, fit: impl Fn(&Peer) -> bool) -> Option<NodeId> {
        let idle = self.peers.iter().filter(|(_, peer)| peer.is_idle(self.now) && peer.failures < BLAMED && fit(peer));
        idle.min_by_key(|(node, peer)| (peer.failures, **node)).map(|(node, _)| *node)
    }

    fn is_open(&self, kind: impl Fn(&Ask) -> bool) -> bool {
        self.peers.values().any(|peer| peer.open.is_some_and(|(ask, _)| kind(&ask)))
    }

    // What is next to be asked.

    fn go_on(&mut self, now: u64) {
        match &self.phase {
            Phase::Complete => return,
            Phase::Terms => {
                if !self.is_open(|ask| matches!(ask, Ask::Terms { .. })) {
                    // Whoever is doubted has to explain itself first.
                    let unexplained = self.peers.values().any(|peer| peer.doubted && peer.failures < BLAMED);
                    let whom = self.best(|peer| peer.doubted || !unexplained);
                    let nobody = !self.peers.is_empty() && self.peers.values().all(|peer| peer.failures >= BLAMED);
                    if nobody {
                        self.ask_anew(now);
                    }
                    let after = self.chain.newest();
                    whom.into_iter().for_each(|to| self.ask(now, to, Ask::Terms { after }));
                }
            }
            Phase::Outlines { round_began } => {
                let began = *round_began;
                self.ask_for_outlines(now, began);
            }
            Phase::Parts { from, parts } => {
                let (from, index) = (*from, parts.len() as u32);
                self.ask_for_part(now, from, index);
            }
            Phase::Chunks { .. } => self.ask_for_chunks(now),
        }
        if !matches!(self.phase, Phase::Complete) {
            self.out.push(Effect::SetTimer { after_millis: 1_000 });
        }
    }

    fn ask_for_outlines(&mut self, now: u64, began: u64) {
        if now < self.paused_until {
            return;
        }
        let unasked = |(_, peer): &(&NodeId, &Peer)| peer.is_idle(now) && !peer.heard && peer.failures < BLAMED;
        let unasked: Vec<_> = self.peers.iter().filter(unasked).map(|(node, _)| *node).collect();
        unasked.into_iter().for_each(|to| self.ask(now, to, Ask::Outline));
        let late = now.saturating_sub(began) >= self.config.patience_millis;
        let all = !self.peers.is_empty() && self.peers.values().all(|peer| peer.heard || peer.failures >= BLAMED);
        // A slow peer is not waited for when others have answered: half of them within a second or so are enough.
        let most = self.peers.values().filter(|peer| peer.heard).count() * 2 > self.peers.len();
        let some = most && now.saturating_sub(began) >= 2_000 && !self.offered.is_empty();
        if all || late || some {
            self.choose(now);
        }
    }

    fn choose(&mut self, now: u64) {
        let offers = |offer: &Offer| self.peers.values().any(|peer| peer.offer == Some(*offer));
        let newest = self.offered.iter().filter(|(offer, _)| offers(offer)).max_by_key(|(offer, _)| **offer);
        let Some((offer, (outline, checked))) = newest.map(|(offer, found)| (*offer, found.clone())) else {
            self.out.push(Effect::NothingOffered);
            self.paused_until = now + self.config.pause_millis;
            self.ask_anew(now);
            return;
        };
        let target = Target { offer, outline, checked };
        let same = |resumed: &Resumed| resumed.outline.sealed.open().is_ok_and(|of| of.header.id() == offer.block);
        self.target = Some(target);
        if let Some(resumed) = self.resumed.take().filter(same)
            && self.take_parts(&resumed.parts)
        {
            self.kept = resumed.kept;
            self.phase = Phase::Chunks { giver: None, suspects: BTreeMap::new() };
            return self.ask_for_chunks(now);
        }
        self.begin_parts(now);
    }

    fn ask_anew(&mut self, now: u64) {
        self.peers.values_mut().for_each(|peer| peer.heard = false);
        self.phase = Phase::Outlines { round_began: now.max(self.paused_until) };
    }

    fn begin_parts(&mut self, now: u64) {
        let wanted = self.target.as_ref().map(|target| target.offer);
        match self.best(|peer| peer.offer.is_some() && peer.offer == wanted) {
            Some(from) => {
                self.phase = Phase::Parts { from, parts: Vec::new() };
                self.ask_for_part(now, from, 0);
            }
            // Whoever offered it is busy, gone, or was found out.
            None if self.peers.values().any(|peer| peer.offer.is_some() && peer.offer == wanted) => {}
            None => self.start_over(now),
        }
    }

    /// Nobody offers the chosen snapshot any more.
    fn start_over(&mut self, now: u64) {
        self.target = None;
        self.kept.clear();
        self.sums.clear();
        self.phase = Phase::Terms;
        self.peers.values_mut().for_each(|peer| (peer.heard, peer.offer) = (false, None));
        self.offered.clear();
        // Else somebody who offers what he does not give would be asked again and again.
        self.paused_until = now + self.config.pause_millis;
    }

    fn ask_for_part(&mut self, now: u64, from: NodeId, index: u32) {
        let Some(target) = &self.target else { return self.start_over(now) };
        let (height, wanted) = (target.offer.height, Some(target.offer));
        match self.peers.get(&from) {
            Some(peer) if peer.offer == wanted && peer.failures < BLAMED => {
                if peer.is_idle(now) {
                    self.ask(now, from, Ask::Part { height, index });
                }
            }
            _ => self.begin_parts(now),
        }
    }

    fn ask_for_chunks(&mut self, now: u64) {
        let Some(target) = &self.target else { return self.start_over(now) };
        let (offer, chunks) = (target.offer, target.offer.chunks);
        if self.kept.len() as u32 == chunks {
            let (outline, terms) = (Box::new(target.outline.clone()), std::mem::take(&mut self.terms));
            self.phase = Phase::Complete;
            return self.out.push(Effect::Complete { outline, terms });
        }
        if !self.peers.values().any(|peer| peer.offer == Some(offer)) {
            return self.start_over(now);
        }
        let Phase::Chunks { giver, suspects } = &mut self.phase else { return };
        if giver.is_some_and(|giver| self.peers.get(&giver).is_none_or(|peer| peer.offer != Some(offer))) {
            // Whoever gave the parts is gone and vouches for nothing.
            (*giver, *suspects) = (None, BTreeMap::new());
        }
        let giver = *giver;
        let suspected: Vec<u32> = suspects.keys().copied().collect();
        // A chunk under suspicion goes to whoever gave the parts, and to nobody else.
        if let Some(giver) = giver
            && let Some(index) = suspected.first()
            && self.peers.get(&giver).is_some_and(|peer| peer.is_idle(now))
        {
            self.ask(now, giver, Ask::Chunk { height: offer.height, index: *index });
        }
        let unheard = self.best(|peer| !peer.heard);
        unheard.into_iter().for_each(|to| self.ask(now, to, Ask::Outline));
        let open: BTreeSet<u32> = self.open_chunks();
        let taken = |index: &u32| self.kept.contains(index) || open.contains(index) || suspected.contains(index);
        let room = self.config.open_max.saturating_sub(open.len());
        let missing: Vec<u32> = (0..chunks).filter(|index| !taken(index)).take(room).collect();
        for index in missing {
            let Some(to) = self.best(|peer| peer.offer == Some(offer)) else { break };
            self.ask(now, to, Ask::Chunk { height: offer.height, index });
        }
    }

    fn open_chunks(&self) -> BTreeSet<u32> {
        let index = |peer: &Peer| match peer.open {
            Some((Ask::Chunk { index, .. }, _)) => Some(index),
            _ => None,
        };
        self.peers.values().filter_map(index).collect()
    }

    // What came.

    fn answered(&mut self, now: u64, from: NodeId, bytes: &[u8]) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let Some((ask, _)) = peer.open.take() else { return };
        (peer.failures_in_row, peer.rests_until) = (0, 0);
        match ask {
            Ask::Blocks { .. } => {}
            Ask::Terms { .. } => self.terms_came(now, from, bytes),
            Ask::Outline => self.outline_came(from, bytes),
            Ask::Part { index, .. } => self.part_came(now, from, index, bytes),
            Ask::Chunk { index, .. } => self.chunk_came(now, from, index, bytes),
        }
    }

    fn terms_came(&mut self, now: u64, from: NodeId, bytes: &[u8]) {
        let Ok(answer) = sync::decode_answer::<TermsAnswer>(bytes) else {
            return self.blame(from, "answered a request for terms with something else");
        };
        let doubted = self.peers.get_mut(&from).is_some_and(|peer| std::mem::take(&mut peer.doubted));
        if answer.links.is_empty() {
            if doubted {
                self.blame(from, "offered a snapshot that no committee signed");
            }
            // Others that are doubted have not explained themselves yet.
            let unexplained = self.peers.values().any(|peer| peer.doubted && peer.failures < BLAMED);
            if !unexplained {
                self.ask_anew(now);
            }
            return;
        }
        for link in answer.links {
            if self.chain.extend(&self.certificates, &link).is_err() {
                return self.blame(from, "gave a change of committee that the one before did not sign");
            }
            self.terms.push(link);
        }
        if let Some(peer) = self.peers.get_mut(&from) {
            // Its outline may check now; if not, it is doubted again.
            peer.heard = false;
        }
    }

    fn outline_came(&mut self, from: NodeId, bytes: &[u8]) {
        let answer = sync::decode_answer::<OutlineAnswer>(bytes);
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.heard = true;
        let Ok(OutlineAnswer { outline }) = answer else {
            return self.blame(from, "answered a request for a snapshot with something else");
        };
        let Some(outline) = outline else { return };
        let part = floe_ledger::evidence::Part::Anchor;
        match self.chain.check(&self.certificates, &outline.sealed, part) {
            Ok(checked) => self.offer_came(from, outline, checked),
            // With a snapshot under way another one does not matter.
            Err(_) if self.target.is_some() => {}
            Err(_) => {
                // Perhaps the committee has changed since the terms were fetched: this peer must know.
                peer.doubted = true;
                peer.heard = false;
                self.phase = Phase::Terms;
            }
        }
    }

    fn offer_came(&mut self, from: NodeId, outline: Outline, checked: Checked) {
        let chunks = outline.chunks;
        if checked.header.boundary.is_none() || chunks == 0 || chunks > CHUNKS_MAX {
            return self.blame(from, "offered a snapshot of an impossible shape");
        }
        if checked.header.height <= self.height {
            return;
        }
        let (height, block, bytes) = (checked.header.height, checked.id, outline.bytes);
        let offer = Offer { height, block, chunks, bytes };
        match self.peers.get_mut(&from) {
            Some(peer) if peer.failures < BLAMED => (peer.offer, peer.doubted) = (Some(offer), false),
            _ => return,
        }
        self.offered.insert(offer, (outline, checked));
        // Each peer has one offer, so what nobody offers any more can go.
        let peers = &self.peers;
        self.offered.retain(|offer, _| peers.values().any(|peer| peer.offer == Some(*offer)));
    }

    /// Takes sums that add up to the target's root.
    fn take_parts(&mut self, parts: &[Part]) -> bool {
        let Some(target) = &self.target else { return false };
        let sums: Vec<Sum> = parts.iter().flat_map(|part| part.sums.iter().cloned()).collect();
        let mut total = Sum::default();
        sums.iter().for_each(|sum| total.plus(sum));
        let fits =
            sums.len() == target.offer.chunks as usize && total.root(&self.network) == target.checked.header.state_root;
        if fits {
            // What was kept under other sums stays where they are the same.
            let before = std::mem::replace(&mut self.sums, sums);
            let same = |index: &u32| before.get(*index as usize) == self.sums.get(*index as usize);
            self.kept.retain(same);
        }
        fits
    }

    fn part_came(&mut self, now: u64, from: NodeId, index: u32, bytes: &[u8]) {
        let Some(target) = &self.target else { return };
        let outline = target.outline.clone();
        let Phase::Parts { from: giver, parts } = &mut self.phase else { return };
        if *giver != from || parts.len() as u32 != index {
            return;
        }
        let part = match sync::decode_answer::<PieceAnswer>(bytes) {
            Ok(PieceAnswer { bytes: None }) => return self.offer_gone(now, from),
            Ok(PieceAnswer { bytes: Some(bytes) }) => Part::decode(&bytes).ok(),
            Err(_) => None,
        };
        match part.filter(|part| part.sums.len() == outline.sums_in(index)) {
            Some(part) => parts.push(part),
            None => return self.blame(from, "gave a part of a snapshot that is none"),
        }
        if (parts.len() as u32) < outline.parts() {
            return;
        }
        let parts = std::mem::take(parts);
        if !self.take_parts(&parts) {
            self.blame(from, "gave sums that do not add up to the signed root");
            return self.begin_parts(now);
        }
        self.out.push(Effect::Begin { outline: Box::new(outline), parts, kept: self.kept.clone() });
        self.phase = Phase::Chunks { giver: Some(from), suspects: BTreeMap::new() };
    }

    /// A peer has dropped the snapshot that it offered: a newer one has taken its place.
    fn offer_gone(&mut self, now: u64, from: NodeId) {
        if let Some(peer) = self.peers.get_mut(&from) {
            (peer.offer, peer.failures) = (None, peer.failures.saturating_add(1));
        }
        if matches!(self.phase, Phase::Parts { .. }) {
            self.begin_parts(now);
        }
    }

    fn chunk_came(&mut self, now: u64, from: NodeId, index: u32, bytes: &[u8]) {
        let Phase::Chunks { giver, suspects } = &mut self.phase else { return };
        let piece = match sync::decode_answer::<PieceAnswer>(bytes) {
            Ok(PieceAnswer { bytes: None }) => return self.offer_gone(now, from),
            Ok(PieceAnswer { bytes: Some(bytes) }) => Some(bytes.into_vec()),
            Err(_) => None,
        };
        let sum = self.sums.get(index as usize).cloned().unwrap_or_default();
        let good = piece.filter(|piece| snapshot::open(piece, &sum).is_ok());
        let (giver, suspect) = (*giver, suspects.get(&index).copied());
        match (good, suspect) {
            (Some(piece), suspect) => {
                suspects.remove(&index);
                if self.kept.insert(index) {
                    self.out.push(Effect::Keep { index, bytes: Bytes::from(piece) });
                }
                // Asked of whoever gave the parts: what it gave fits, so what the other gave was false.
                suspect.into_iter().for_each(|node| self.blame(node, "gave a chunk that is not of its snapshot"));
            }
            (None, None) if giver.is_some_and(|giver| giver != from) => drop(suspects.insert(index, from)),
            (None, _) => {
                // Its own chunk does not fit the sums it gave; without a giver the sums are fetched anew.
                match giver == Some(from) {
                    true => self.blame(from, "gave sums that its own chunks do not fit"),
                    false => self.failed_giver(from),
                }
                self.begin_parts(now);
            }
        }
    }

    fn failed_giver(&mut self, from: NodeId) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.failures = peer.failures.saturating_add(1);
        }
    }
}
