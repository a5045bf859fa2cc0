//! Keeping exchanges with holders going, within the limits.

use super::{Effect, Exchange, Outcome, Phase, Stage, Upload};
use crate::ledger_view::LedgerView;
use floe_types::{Committee, NodeId, ShardIndex};
use std::collections::BTreeMap;

/// The shards, one of each member after the other, each with its holder.
fn in_turns(committee: &Committee) -> Vec<(ShardIndex, NodeId)> {
    let most = committee.members().iter().map(|member| member.shards.len()).max().unwrap_or(0);
    let turn = |place: usize| {
        committee.members().iter().filter_map(move |member| Some((*member.shards.get(place)?, member.node)))
    };
    (0..most).flat_map(turn).collect()
}

impl Upload {
    /// Takes over the committee of a new term: shards that moved are offered to their new holder, confirmations of the
    /// old term are void.
    pub(super) fn follow_term(&mut self, view: &dyn LedgerView, effects: &mut Vec<Effect>) {
        let committee = view.committee();
        if committee.term() == self.term {
            return;
        }
        self.term = committee.term();
        self.quorum_at = None;
        self.confirmations.clear();
        let open = self.confirms.iter().filter(|(_, exchange)| exchange.is_open());
        effects.extend(open.map(|(member, _)| Effect::CancelConfirm { member: *member }));
        self.confirms.clear();
        for (shard, holder) in in_turns(committee) {
            let same = self.stores.get(&shard).is_some_and(|(member, _)| *member == holder);
            if !same {
                let fresh = (holder, Exchange::new(u64::from(shard.0)));
                let old = self.stores.insert(shard, fresh);
                if old.is_some_and(|(_, exchange)| exchange.is_open()) {
                    effects.push(Effect::CancelStore { shard });
                }
            }
        }
        if self.phase == Phase::Certifying {
            self.phase = Phase::Sending;
        }
    }

    /// Gives up exchanges that are past their deadline.
    pub(super) fn expire(&mut self, now: u64, effects: &mut Vec<Effect>) {
        let late = |exchange: &Exchange| matches!(exchange.stage, Stage::Open { deadline } if now >= deadline);
        for (shard, (_, exchange)) in self.stores.iter_mut().filter(|(_, (_, exchange))| late(exchange)) {
            exchange.end::<()>(now, Outcome::Broken, self.seed, &self.config);
            effects.push(Effect::CancelStore { shard: *shard });
        }
        for (member, exchange) in self.confirms.iter_mut().filter(|(_, exchange)| late(exchange)) {
            exchange.end::<()>(now, Outcome::Broken, self.seed, &self.config);
            effects.push(Effect::CancelConfirm { member: *member });
        }
    }

    /// Opens what is due and fits.
    pub(super) fn open_exchanges(&mut self, now: u64, view: &dyn LedgerView, effects: &mut Vec<Effect>) {
        let Some(record) = self.record else { return };
        let registration = record.registration;
        let mut open: BTreeMap<NodeId, usize> = BTreeMap::new();
        let stores = self.stores.values().map(|(member, exchange)| (*member, exchange));
        let confirms = self.confirms.iter().map(|(member, exchange)| (*member, exchange));
        for (member, _) in stores.chain(confirms).filter(|(_, exchange)| exchange.is_open()) {
            *open.entry(member).or_default() += 1;
        }
        let mut total: usize = open.values().sum();
        let (streams_max, per_holder_max) = (self.config.streams_max, self.config.streams_per_holder_max);
        let mut take = |member: NodeId| {
            let with = open.entry(member).or_default();
            let fits = total < streams_max && *with < per_holder_max;
            if fits {
                total += 1;
                *with += 1;
            }
            fits
        };
        // Confirmations first: they are small, and what everything waits for.
        for member in self.ready_to_confirm(view) {
            let what = u64::MAX - u64::from(member.0[0]);
            let exchange = self.confirms.entry(member).or_insert_with(|| Exchange::new(what));
            if exchange.is_due(now) && take(member) {
                exchange.open(now, 0, &self.config);
                effects.push(Effect::RequestConfirm { member, registration });
            }
        }
        for (shard, _) in in_turns(view.committee()) {
            let Some((member, exchange)) = self.stores.get_mut(&shard) else { continue };
            if exchange.is_due(now) && take(*member) {
                exchange.open(now, self.fragment_bytes, &self.config);
                effects.push(Effect::OpenStore { member: *member, shard, registration });
            }
        }
    }

    /// The members that have all their fragments and have not confirmed, as long as a certificate is wanted.
    fn ready_to_confirm(&self, view: &dyn LedgerView) -> Vec<NodeId> {
        if self.phase >= Phase::Finishing {
            return Vec::new();
        }
        let has_all = |shards: &[ShardIndex]| {
            shards.iter().all(|shard| self.stores.get(shard).is_some_and(|(_, exchange)| exchange.is_done()))
        };
        let ready = view.committee().members().iter().filter(|member| has_all(&member.shards));
        ready.map(|member| member.node).filter(|node| !self.confirmations.contains_key(node)).collect()
    }
}
