//! A vote key for each term: made, announced, used, destroyed.
//!
//! Whoever has the vote keys of more than two thirds of a past committee could sign another past. So a key serves one
//! term, and is destroyed when that term's last epoch is decided: then nobody has it, its node included.
//!
//! ```text
//!  epoch begins --no key announced for the next term--> MakeVoteKey --(durable)--> VoteKeyMade --> announced on the ledger
//!  term begins  --keys that no committee and no announcement names--> KeepVoteKeys: the others are destroyed
//! ```
//!
//! A key that is lost before it was announced is no loss; one that is lost after is announced anew while there is time,
//! and else the node observes for a term. What the ledger names decides which key signs
//! ([`floe_consensus::Machine::new`]), never what this node remembers.

use super::duties::SAID_BY_ITSELF;
use super::machine::{Coordinator, Work};
use super::{Effect, Error};
use floe_consensus::{ValidatorKey, VoteSigningKey};
use floe_ledger::{Action, Announcement, candidacy, views};
use floe_types::VoteKey;
use floe_types::keys::SecretKey;
use std::collections::BTreeSet;

impl Coordinator {
    /// At the start, and when an epoch has begun: destroys what is past, asks for what is missing.
    ///
    /// Only at the head of the chain, as far as is known: a ledger of long ago names other keys than those that are needed
    /// now, and what is destroyed on its word is gone.
    pub(super) fn look_after_vote_keys(&mut self, work: &mut Work<'_>) -> Result<(), Error> {
        if !self.is_at_head() {
            return Ok(());
        }
        let Some(candidate) = views::candidate(work.state, &self.node)? else { return Ok(()) };
        let next = views::next_committee(work.state)?;
        let mine = |committee: &floe_types::Committee| {
            let member = committee.index_of(&self.node).and_then(|index| committee.member(index));
            member.map(|member| member.vote_key)
        };
        let named = [Some(candidate.vote_key), mine(&self.committee), next.as_ref().and_then(mine)];
        let named: BTreeSet<VoteKey> =
            named.into_iter().flatten().chain(candidate.announced.iter().map(|(_, key)| *key)).collect();
        let signing = self.consensus.public_keys();
        let have: BTreeSet<VoteKey> = signing.iter().chain(&self.guard.held()).map(|key| VoteKey(key.0)).collect();
        // One that is on its way to the ledger is named nowhere yet.
        let keep: BTreeSet<VoteKey> =
            named.iter().copied().chain(self.announcing.iter().map(|(_, key)| *key)).collect();
        if !have.is_subset(&keep) {
            self.consensus.retain_keys(|key| keep.contains(&VoteKey(key.0)));
            self.guard.retain(|key| keep.contains(&VoteKey(key.0)));
            work.out.push(Effect::KeepVoteKeys { keys: keep.into_iter().collect() });
        }
        let running = self.committee.term();
        let term = running.saturating_add(if next.is_some() { 2 } else { 1 });
        let announced = candidate.announced.iter().find(|(of, _)| *of == term);
        let is_ready = announced.is_some_and(|(_, key)| have.contains(key));
        let is_on_its_way = self.announcing.is_some_and(|(of, _)| of == term);
        if self.config.fresh_vote_keys && !is_ready && !is_on_its_way {
            work.out.push(Effect::MakeVoteKey { term });
        }
        Ok(())
    }

    /// A key for `term` is made and durable: it is announced.
    pub(super) fn vote_key_made(&mut self, work: &mut Work<'_>, term: u64, secret: [u8; 32]) -> Result<(), Error> {
        let (key, signing) = (SecretKey::from_bytes(secret), VoteSigningKey::from_secret(secret));
        let public = VoteKey(key.public());
        debug_assert_eq!(signing.public(), ValidatorKey(public.0));
        self.consensus.add_key(signing);
        self.announcing = Some((term, public));
        let message = candidacy::vote_key_message(&self.context.network, &self.node, term, &public);
        let announcement = Announcement { node: self.node, term, key: public, proof: key.sign(&message) };
        // Not taken, or lost: the next epoch finds no announcement and asks for another key.
        self.submit(work, SAID_BY_ITSELF, Action::VoteKey(announcement))
    }
}
