//! Twenty terms of random comings and goings: seats move within the limits, never more than `f` shards start uncovered in
//! all, and every blob stays covered on at least `n - f` shards.
//!
//! I16 is checked from the committees alone: who held what in one term and in the next.

use super::fixture::*;
use super::net::*;
use crate::*;
use floe_types::{Committee, Frost, NodeId, SequenceNumber, ShardIndex};
use proptest::prelude::*;
use std::collections::BTreeSet;

#[derive(Clone, Debug)]
enum Deed {
    Join { stake: u64, domain: u8 },
    Leave { which: usize },
    Vanish { which: usize },
    Stake { which: usize, add: bool, amount: u64 },
    Accuse { which: usize },
    Store { epochs: u64 },
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (1u64..40, 0u8..4).prop_map(|(stake, domain)| Deed::Join { stake, domain }),
        3 => (0usize..20).prop_map(|which| Deed::Leave { which }),
        1 => (0usize..20).prop_map(|which| Deed::Vanish { which }),
        2 => (0usize..20, any::<bool>(), 1u64..9).prop_map(|(which, add, amount)| Deed::Stake { which, add, amount }),
        1 => (0usize..20).prop_map(|which| Deed::Accuse { which }),
        4 => (1u64..90).prop_map(|epochs| Deed::Store { epochs }),
    ]
}

/// A run of terms.
struct Churn {
    net: Net,
    next_seed: u8,
    next_blob: u8,
    /// Shards that may yet start uncovered.
    lazy_left: u16,
    /// Rows whose holder stores nothing.
    lazy: BTreeSet<RowId>,
    chance: u64,
}

impl Churn {
    fn chance(&mut self, below: u64) -> u64 {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.chance >> 33) % below
    }

    fn pick(&self, which: usize) -> Option<NodeId> {
        let views = views::candidates(&self.net.world.state, &self.net.params()).unwrap();
        views.get(which % views.len().max(1)).map(|view| view.candidate.node)
    }

    /// An action that may be refused, as an operator's may.
    fn attempt(&mut self, node: &NodeId, action: Action) {
        let account = self.net.keys[node].account.clone();
        let candidate = self.net.world.by(&account, action);
        let executed = self.net.world.block(vec![candidate]);
        self.net.events.extend(executed.events);
    }

    fn act(&mut self, deed: Deed) {
        match deed {
            Deed::Join { stake, domain } => {
                self.next_seed += 1;
                let keys = Keys::newcomer(self.next_seed);
                let mut join = self.net.join_of(&keys, self.next_seed, Frost(stake * WAL));
                join.domain = ["", "isp:a", "isp:b", "isp:a city:c"][usize::from(domain)].into();
                self.net.sign_join(&keys, &mut join);
                self.net.keys.insert(keys.node, keys.clone());
                self.attempt(&keys.node, Action::Join(Box::new(join)));
            }
            Deed::Leave { which } => {
                if let Some(node) = self.pick(which) {
                    self.attempt(&node, Action::Leave { node });
                }
            }
            // At most one is away at a time, and with at most f/2 seats: the network must go on deciding.
            Deed::Vanish { which } => {
                self.net.gone.clear();
                if let Some(node) = self.pick(which).filter(|node| self.net.seats(node).len() <= 4) {
                    self.net.gone.insert(node);
                }
            }
            Deed::Stake { which, add, amount } => {
                if let Some(node) = self.pick(which) {
                    let amount = Frost(amount * WAL);
                    let change = if add { StakeChange::Add(amount) } else { StakeChange::Withdraw(amount) };
                    self.attempt(&node, Action::Stake { node, change });
                }
            }
            Deed::Accuse { which } => {
                let Some(node) = self.pick(which) else { return };
                let (now, term) = (self.net.world.epoch(), self.net.committee().term());
                let mut overlay = Overlay::new(&self.net.world.state);
                candidates::exclude(&mut overlay, &node, now, term).unwrap();
                self.net.world.meddle(&overlay.into_changes());
            }
            Deed::Store { epochs } => {
                self.next_blob += 1;
                self.net.store(blob(self.next_blob), epochs);
            }
        }
    }

    /// Whoever is there and not lazy attests what its rows miss; each new row may turn out lazy while that is allowed.
    fn gather(&mut self) {
        let rows: Vec<(RowId, Row)> =
            rows::load(&self.net.world.state).unwrap().iter().map(|(id, row)| (id, *row)).collect();
        for (id, row) in rows {
            let is_new = row.kind == RowKind::Incoming && row.since == self.net.world.epoch();
            if is_new && self.lazy_left > 0 && self.chance(4) == 0 {
                self.lazy_left -= 1;
                self.lazy.insert(id);
            }
            let gathers =
                row.kind != RowKind::Former && !self.lazy.contains(&id) && !self.net.gone.contains(&row.holder);
            if gathers {
                self.net.fill_row(id, row);
            }
        }
    }

    fn defended(&self) -> Vec<(SequenceNumber, views::BlobView)> {
        let blobs = views::blobs(&self.net.world.state, None, SequenceNumber(0), 1000).unwrap();
        blobs.into_iter().filter(|(_, view)| matches!(view.status, views::BlobStatus::Certified { .. })).collect()
    }

    /// The seats whose own row misses something.
    fn uncovered_seats(&self) -> Vec<ShardIndex> {
        let rows = rows::load(&self.net.world.state).unwrap();
        let seats = rows.iter().filter(|(_, row)| row.kind == RowKind::Seat);
        let misses = |id| !views::gaps(&self.net.world.state, id, SequenceNumber(0), 1).unwrap().gaps.is_empty();
        seats.filter(|(id, _)| misses(*id)).map(|(_, row)| row.shard).collect()
    }
}

/// I16 without its clause on risk, and that every seat has one holder, which is its row's.
fn check_change(before: &Committee, after: &Committee, net: &Net) {
    let params = net.params();
    let holder = |committee: &Committee, shard| {
        let index = committee.holder(shard).expect("a seat is vacant");
        committee.member(index).unwrap().node
    };
    let moved = (0..28).map(ShardIndex).filter(|shard| holder(before, *shard) != holder(after, *shard)).count();
    assert!(moved <= usize::from(params.faulty()), "{moved} seats moved");
    let rows = rows::load(&net.world.state).unwrap();
    for shard in (0..28).map(ShardIndex) {
        let row = rows.get(rows.seat(shard).unwrap()).unwrap();
        assert_eq!((row.kind, row.shard, row.holder), (RowKind::Seat, shard, holder(after, shard)));
        assert_eq!(rows.iter().filter(|(_, row)| row.shard == shard && row.kind == RowKind::Seat).count(), 1);
    }
}

fn check_moves(net: &Net) {
    let params = net.params();
    for event in &net.events {
        if let Event::Elected { moves, .. } = event {
            let by_choice = moves.iter().filter(|one| one.why != election::Why::Excluded).count();
            assert!(by_choice <= usize::from(params.moves_by_choice()) && moves.len() <= usize::from(params.faulty()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn twenty_terms_of_churn_leave_every_blob_covered(
        deeds in proptest::collection::vec(proptest::collection::vec(deed(), 0..4), 80),
        chance: u64,
    ) {
        let net = Net::new();
        let lazy_left = net.params().faulty();
        let mut churn = Churn { net, next_seed: 0, next_blob: 0, lazy_left, lazy: BTreeSet::new(), chance };
        churn.net.store(blob(200), 100);
        let mut before = churn.net.committee();
        for (at, deeds) in deeds.into_iter().enumerate() {
            for deed in deeds {
                churn.act(deed);
            }
            churn.gather();
            let record = churn.net.end_epoch();
            prop_assert!(record.is_decided());
            if churn.net.committee().term() != before.term() {
                let after = churn.net.committee();
                check_change(&before, &after, &churn.net);
                before = after;
            }
            for (number, view) in churn.defended() {
                prop_assert!(view.covered.len() >= 19, "blob {number} is covered on {} after epoch {at}", view.covered.len());
                let verdict = views::verdict(&churn.net.world.state, &view.blob, record.epoch).unwrap();
                let known = verdict.as_ref().map(|found| found.verdict);
                let read = matches!(known, None | Some(Verdict::Intact | Verdict::Tolerated | Verdict::Repairing));
                prop_assert!(read, "{verdict:?}");
            }
            check_moves(&churn.net);
            churn.net.events.clear();
        }
        prop_assert_eq!(before.term(), 21);
        churn.net.gone.clear();
        churn.gather();
        let uncovered = churn.uncovered_seats();
        prop_assert!(uncovered.len() <= 9, "{uncovered:?}");
        // All epochs that are remembered are judged as they were, though rows have come and gone.
        let end = views::next_sequence(&churn.net.world.state).unwrap().0;
        for epoch in 1..=80 {
            let record = views::epoch_record(&churn.net.world.state, floe_types::Epoch(epoch)).unwrap().unwrap();
            let mut counted = std::collections::BTreeMap::<Verdict, u64>::new();
            for number in 0..end {
                let life = views::sequence(&churn.net.world.state, SequenceNumber(number)).unwrap().unwrap();
                if life.certified.0 <= epoch && epoch <= life.last.0 {
                    *counted.entry(churn.net.world.verdict(life.blob, epoch).unwrap()).or_default() += 1;
                }
            }
            let tallied = record.boundary.tally.verdicts.iter().map(|(verdict, weight)| (*verdict, weight.blobs));
            prop_assert_eq!(counted, tallied.collect(), "epoch {}", epoch);
        }
        // The blocks alone give the same state again, but for what was meddled with.
        conservation(&churn.net.world.state).unwrap();
    }
}
