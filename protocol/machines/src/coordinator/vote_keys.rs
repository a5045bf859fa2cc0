//! A vote key for each term: made, announced, used, destroyed.
//!
//! Whoever has the vote keys of more than two thirds of a past committee could sign another past. So a key serves one
//! term, and is destroyed when that term's last epoch is decided: then nobody has it, its node included.
//!
//! ```text
//!  epoch begins --no key announced for the next term--> MakeVoteKey --(durable)--> VoteKeyMade --> announced on the ledger
//!  term begins  --keys that served and that nothing names any more--> KeepVoteKeys: the others are kept
//! ```
//!
//! A key that is lost before it was announced is no loss; one that is lost after is announced anew while there is time,
//! and else the node observes for a term. What the ledger names decides which key signs
//! ([`floe_consensus::Machine::new`]), never what this node remembers.

use super::duties::SAID_BY_ITSELF;
use super::machine::{Coordinator, Work};
use super::{Effect, Error};
use floe_consensus::{ValidatorKey, VoteSigningKey};
use floe_ledger::candidates::Standing;
use floe_ledger::{Action, Announcement, candidacy, views};
use floe_types::VoteKey;
use floe_types::keys::SecretKey;
use std::collections::BTreeSet;

/// The most keys that are kept though nothing names them and they never served.
const UNSERVED_MAX: usize = 16;

impl Coordinator {
    /// At the start, and when an epoch has begun: destroys what is past, asks for what is missing.
    ///
    /// What has served is destroyed whenever that is seen. New keys are made only at the head of the chain, as far as that is
    /// known: terms that are over need none.
    pub(super) fn look_after_vote_keys(&mut self, work: &mut Work<'_>) -> Result<(), Error> {
        let Some(candidate) = views::candidate(work.state, &self.node)? else { return self.forget_served_keys(work) };
        let next = views::next_committee(work.state)?;
        let mine = |committee: &floe_types::Committee| {
            let member = committee.index_of(&self.node).and_then(|index| committee.member(index));
            member.map(|member| member.vote_key)
        };
        // Who gave notice is chosen for no seat that it has not: without one its key has served.
        let leaves = matches!(candidate.standing, Standing::Leaving { .. });
        let named = [Some(candidate.vote_key).filter(|_| !leaves), mine(&self.committee), next.as_ref().and_then(mine)];
        let named: BTreeSet<VoteKey> =
            named.into_iter().flatten().chain(candidate.announced.iter().map(|(_, key)| *key)).collect();
        let have = self.vote_keys();
        // One that is on its way to the ledger is named nowhere yet.
        let keep: BTreeSet<VoteKey> =
            named.iter().copied().chain(self.announcing.iter().map(|(_, key)| *key)).collect();
        self.destroy_but(work, &have, keep)?;
        let running = self.committee.term();
        let term = running.saturating_add(if next.is_some() { 2 } else { 1 });
        let announced = candidate.announced.iter().find(|(of, _)| *of == term);
        let is_ready = announced.is_some_and(|(_, key)| have.contains(key));
        let is_on_its_way = self.announcing.is_some_and(|(of, _)| of == term);
        if self.config.fresh_vote_keys && !is_ready && !is_on_its_way && self.is_at_head() {
            work.out.push(Effect::MakeVoteKey { term });
        }
        Ok(())
    }

    /// The keys that this node has, held ones included.
    fn vote_keys(&self) -> BTreeSet<VoteKey> {
        self.consensus.public_keys().iter().chain(&self.guard.held()).map(|key| VoteKey(key.0)).collect()
    }

    /// The node is no candidate: keys of committees past are destroyed, one that it may join with is not.
    fn forget_served_keys(&mut self, work: &mut Work<'_>) -> Result<(), Error> {
        let have = self.vote_keys();
        let serves = |key: &&VoteKey| self.committee.members().iter().any(|member| member.vote_key == **key);
        let keep = have.iter().filter(serves).copied().collect();
        self.destroy_but(work, &have, keep)
    }

    /// Destroys what has served and is not in `keep`. A key that never served may have been announced by an earlier life,
    /// in a transaction that will be in a block yet: it stays, and has signed nothing that anybody could use.
    fn destroy_but(
        &mut self,
        work: &mut Work<'_>,
        have: &BTreeSet<VoteKey>,
        mut keep: BTreeSet<VoteKey>,
    ) -> Result<(), Error> {
        let mut unserved: BTreeSet<VoteKey> = have.difference(&keep).copied().collect();
        let mut term = self.committee.term();
        while let Some(earlier) = term.checked_sub(1).filter(|_| !unserved.is_empty()) {
            term = earlier;
            let Some(past) = views::committee_of(work.state, term)? else { break };
            unserved.retain(|key| past.members().iter().all(|member| member.vote_key != *key));
        }
        if unserved.len() <= UNSERVED_MAX {
            keep.extend(unserved);
        }
        if !have.is_subset(&keep) {
            self.consensus.retain_keys(|key| keep.contains(&VoteKey(key.0)));
            self.guard.retain(|key| keep.contains(&VoteKey(key.0)));
            work.out.push(Effect::KeepVoteKeys { keys: keep.into_iter().collect() });
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
