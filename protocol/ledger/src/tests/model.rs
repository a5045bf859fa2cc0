//! The ledger's money once more, slowly: a bucket for every epoch, a list of all registrations, sets of shards for every
//! blob. It reads blocks and shares no code with what it is compared with.

use super::fixture::*;
use crate::*;
use floe_types::{AccountId, BlobId, Epoch, Frost, Genesis, Layout, MemberIndex};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Pending,
    Counts,
    Over,
}

struct Entry {
    blob: BlobId,
    owner: AccountId,
    length: u64,
    /// What each epoch was paid.
    paid: BTreeMap<u64, u128>,
    deadline: u64,
    phase: Phase,
    deleted: bool,
    budget: u128,
}

impl Entry {
    fn last(&self) -> u64 {
        self.paid.last_key_value().map_or(0, |(epoch, _)| *epoch)
    }
}

struct Life {
    blob: BlobId,
    length: u64,
    now: BTreeSet<u16>,
    judged: BTreeSet<u16>,
    /// The first epoch that a shard is paid for again.
    paused: BTreeMap<u16, u64>,
    /// Why it is over.
    over: Option<Defence>,
}

pub struct Model {
    params: floe_types::Params,
    committee: floe_types::Committee,
    epoch: u64,
    balances: BTreeMap<AccountId, u128>,
    fees: u128,
    reserve: u128,
    rolled: u128,
    /// Due for epochs before the one of the certificate.
    late: u128,
    prices: (u64, u64),
    offers: BTreeMap<MemberIndex, u64>,
    entries: Vec<Entry>,
    lives: Vec<Life>,
    said: Vec<(u64, u64, BTreeSet<u16>, bool)>,
    reports: BTreeMap<MemberIndex, Vec<Option<MemberSet>>>,
    /// Of whom each of them says that it was served in time.
    served: BTreeMap<MemberIndex, Vec<bool>>,
    /// By member, the slow average in 2^-32, whether it was low at the last check, whether it is excluded.
    standing: BTreeMap<MemberIndex, (i64, bool, bool)>,
}

impl Model {
    pub fn new(genesis: &Genesis) -> Model {
        let price = genesis.params.price.0;
        Model {
            params: genesis.params.clone(),
            committee: genesis.committee().unwrap(),
            epoch: 1,
            balances: genesis.accounts.iter().map(|entry| (entry.account, u128::from(entry.balance.0))).collect(),
            fees: 0,
            reserve: 0,
            rolled: 0,
            late: 0,
            prices: (price, price),
            offers: BTreeMap::new(),
            entries: Vec::new(),
            lives: Vec::new(),
            said: Vec::new(),
            reports: BTreeMap::new(),
            served: BTreeMap::new(),
            standing: BTreeMap::new(),
        }
    }

    fn fragment(&self, length: u64) -> u128 {
        u128::from(Layout::new(self.params.shards, length).unwrap().fragment_bytes())
    }

    fn rate(&self, length: u64) -> u128 {
        let encoded = Layout::new(self.params.shards, length).unwrap().encoded_bytes();
        u128::from(encoded.div_ceil(1 << 20)) * u128::from(self.prices.0)
    }

    fn shards(&self, members: impl IntoIterator<Item = MemberIndex>) -> BTreeSet<u16> {
        let members = members.into_iter().filter_map(|index| self.committee.member(index));
        members.flat_map(|member| member.shards.iter().map(|shard| shard.0)).collect()
    }

    fn defended(&self, blob: BlobId) -> Option<usize> {
        self.lives.iter().position(|life| life.blob == blob && life.over.is_none())
    }

    fn take(&mut self, account: AccountId, amount: u128) {
        let held = self.balances.entry(account).or_default();
        *held = held.checked_sub(amount).expect("a block never overdraws an account");
    }

    fn give(&mut self, account: AccountId, amount: u128) {
        *self.balances.entry(account).or_default() += amount;
    }

    /// Lets an entry count: what it paid for epochs before this one is due now.
    fn count(&mut self, at: usize) {
        let epoch = self.epoch;
        let entry = &mut self.entries[at];
        entry.phase = Phase::Counts;
        self.late += entry.paid.range(..epoch).map(|(_, rate)| rate).sum::<u128>();
    }

    pub fn block(&mut self, block: &Block) {
        if block.header.boundary.is_some() {
            self.end_epoch();
        }
        for signed in &block.transactions {
            let sender = signed.transaction.sender;
            self.take(sender, u128::from(signed.transaction.fee.0));
            self.fees += u128::from(signed.transaction.fee.0);
            self.act(sender, &signed.transaction.action);
        }
    }

    fn act(&mut self, sender: AccountId, action: &Action) {
        match action {
            Action::Transfer { to, amount } => {
                self.take(sender, u128::from(amount.0));
                self.give(*to, u128::from(amount.0));
            }
            Action::Register { blob, length, last, .. } => {
                let rate = self.rate(*length);
                let paid: BTreeMap<u64, u128> = (self.epoch..=last.0).map(|epoch| (epoch, rate)).collect();
                self.take(sender, paid.values().sum());
                let deadline = (self.epoch + self.params.certify_within.0).min(last.0);
                let (blob, length, phase) = (*blob, *length, Phase::Pending);
                let owner = sender;
                self.entries.push(Entry { blob, owner, length, paid, deadline, phase, deleted: false, budget: 0 });
                if self.defended(blob).is_some() {
                    self.count(self.entries.len() - 1);
                }
            }
            Action::Certify { blob, registration, members, .. } => {
                let shards = self.shards(members.iter());
                match self.defended(*blob) {
                    Some(at) => self.say(at as u64, at as u64, shards, true),
                    None => {
                        let (blob, length) = (*blob, self.entries[registration.0 as usize - 1].length);
                        let (now, judged, paused) = (shards.clone(), shards, BTreeMap::new());
                        self.lives.push(Life { blob, length, now, judged, paused, over: None });
                    }
                }
                self.count(registration.0 as usize - 1);
            }
            Action::Attest { shards, runs, .. } | Action::Withdraw { shards, runs, .. } => {
                let shards: BTreeSet<u16> = shards.iter().map(|shard| shard.0).collect();
                for run in runs {
                    self.say(run.first.0, run.last.0, shards.clone(), matches!(action, Action::Attest { .. }));
                }
            }
            Action::Report(report) => {
                let index = self.committee.index_of(&report.member).unwrap();
                self.reports.insert(index, report.held.to_vec());
                self.served.insert(index, report.passed.iter().map(|passed| *passed > 0).collect());
            }
            Action::Commit { .. } => {}
            Action::Extend { registration, last, .. } => {
                let at = registration.0 as usize - 1;
                let rate = self.rate(self.entries[at].length);
                let more: Vec<u64> = (self.entries[at].last() + 1..=last.0).collect();
                self.take(sender, rate * more.len() as u128);
                self.entries[at].paid.extend(more.into_iter().map(|epoch| (epoch, rate)));
            }
            Action::Delete { registration } => {
                let end = self.epoch + 1;
                let entry = &mut self.entries[registration.0 as usize - 1];
                let refund = entry.paid.split_off(&(end + 1)).values().sum::<u128>() + entry.budget;
                entry.budget = 0;
                entry.deleted = true;
                self.give(sender, refund);
            }
            Action::Renew { registration, budget } => {
                let held =
                    std::mem::replace(&mut self.entries[registration.0 as usize - 1].budget, u128::from(budget.0));
                self.give(sender, held);
                self.take(sender, u128::from(budget.0));
            }
            Action::Offer { member, price } => {
                self.offers.insert(self.committee.index_of(member).unwrap(), price.0);
            }
            Action::Invalid(shown) => self.invalidate(sender, shown),
            // With seats that stay, row `s` is the seat of shard `s` and these move nothing.
            Action::Support { .. }
            | Action::Join(_)
            | Action::Stake { .. }
            | Action::Leave { .. }
            | Action::Describe(_)
            | Action::VoteKey(_)
            | Action::Evidence(_) => panic!("the model follows a committee that stays"),
        }
    }

    /// Deeds sign what is of this kind and forge the rest.
    fn invalidate(&mut self, sender: AccountId, shown: &Inconsistency) {
        let genuine = shown.kind == floe_erasure::EvidenceKind::Extension;
        if !genuine || self.shards(shown.members.iter()).len() < 10 {
            let bond = u128::from(self.params.invalid_bond.0);
            self.take(sender, bond);
            self.reserve += bond;
            return;
        }
        let Some(at) = self.defended(shown.blob) else { return };
        self.lives[at].over = Some(Defence::Invalid);
        for at in 0..self.entries.len() {
            let entry = &mut self.entries[at];
            if entry.blob == shown.blob && entry.phase == Phase::Counts {
                self.reserve += entry.paid.split_off(&(self.epoch + 1)).values().sum::<u128>();
                let (owner, rest) = (entry.owner, std::mem::take(&mut entry.budget));
                self.give(owner, rest);
            }
        }
    }

    fn say(&mut self, first: u64, last: u64, shards: BTreeSet<u16>, held: bool) {
        for at in first..=last {
            change(&mut self.lives[at as usize].now, &shards, held);
        }
        self.said.push((first, last, shards, held));
    }

    fn end_epoch(&mut self) {
        let ended = self.epoch;
        let members: Vec<_> = (0..self.committee.members().len() as u16).map(MemberIndex).collect();
        let seats = |index: MemberIndex| self.committee.member(index).unwrap().shards.len();
        let spoke = |slot: usize| {
            let spoke = self.reports.iter().filter(|(_, said)| said[slot].is_some());
            spoke.map(|(by, _)| seats(*by)).sum::<usize>()
        };
        let slots: Vec<usize> = (0..6).filter(|slot| spoke(*slot) >= 19).collect();
        let decided = slots.len() > 3;
        let held = |target: &MemberIndex, slot: &usize| {
            let says = self
                .reports
                .iter()
                .filter(|(by, said)| *by != target && said[*slot].as_ref().is_some_and(|said| said.contains(*target)));
            says.map(|(by, _)| seats(*by)).sum::<usize>() + seats(*target) >= 10
        };
        let present = |target: &MemberIndex| slots.iter().filter(|slot| held(target, slot)).count() * 2 > slots.len();
        let answered: Vec<_> = members.iter().copied().filter(present).collect();
        let shares: BTreeMap<MemberIndex, (usize, bool)> = members
            .iter()
            .map(|target| (*target, (slots.iter().filter(|slot| held(target, slot)).count(), self.is_served(*target))))
            .collect();
        for target in &members {
            self.stand(*target, decided.then_some((shares[target].0, slots.len())));
        }
        let reported: Vec<MemberIndex> = self.reports.keys().copied().collect();
        self.reports.clear();
        self.served.clear();

        // What waited too long goes back.
        for at in 0..self.entries.len() {
            if self.entries[at].phase == Phase::Pending && self.entries[at].deadline == ended {
                self.entries[at].phase = Phase::Over;
                let (owner, price) = (self.entries[at].owner, self.entries[at].paid.values().sum());
                self.give(owner, price);
            }
        }
        // This epoch's bucket, before anything of the next is paid.
        let counting = self.entries.iter().filter(|entry| entry.phase == Phase::Counts);
        let bucket = self.rolled + self.late + counting.filter_map(|entry| entry.paid.get(&ended)).sum::<u128>();
        (self.rolled, self.late) = if decided { (0, 0) } else { (bucket, 0) };
        self.move_price(ended);
        for at in 0..self.entries.len() {
            self.renew(at, ended);
        }
        if decided {
            let live: Vec<&Life> = self.lives.iter().filter(|life| life.over.is_none()).collect();
            let whole = 28 * live.iter().map(|life| self.fragment(life.length)).sum::<u128>();
            let mut left = bucket + self.fees;
            let mut earned = Vec::new();
            for index in answered.into_iter().filter(|index| reported.contains(index)) {
                let (of_slots, served) = shares[&index];
                let (average, _, excluded) = self.standing[&index];
                if excluded || !served {
                    continue;
                }
                let mine = self.shards([index]);
                let covered = |life: &&Life| {
                    let paid = |shard: &&u16| life.paused.get(*shard).is_none_or(|until| *until <= ended);
                    self.fragment(life.length) * life.judged.intersection(&mine).filter(paid).count() as u128
                };
                let storage = (bucket * live.iter().map(covered).sum::<u128>()).checked_div(whole).unwrap_or(0);
                // Parts are in 2^-32, and each step is rounded down.
                let part = ((of_slots as u128) << 32) / slots.len() as u128;
                let part = if average < 4_080_218_931 { part / 2 } else { part };
                let storage = (storage * part) >> 32;
                let fees = self.fees * mine.len() as u128 / 28;
                earned.push((self.committee.member(index).unwrap().account, storage + fees));
                left -= storage + fees;
            }
            earned.into_iter().for_each(|(account, amount)| self.give(account, amount));
            self.reserve += left;
            self.fees = 0;
        }
        let entries = &self.entries;
        for life in self.lives.iter_mut().filter(|life| life.over.is_none()) {
            let counting = entries.iter().filter(|entry| entry.blob == life.blob && entry.phase == Phase::Counts);
            let last = counting.clone().map(Entry::last).max().unwrap_or(0);
            if last <= ended {
                // Of several that end together the one registered first keeps it.
                let keeper = counting.filter(|entry| entry.last() == last).map(|entry| entry.deleted).next();
                life.over = Some(if keeper == Some(true) { Defence::Deleted } else { Defence::Forgotten });
            }
        }
        for entry in self.entries.iter_mut().filter(|entry| entry.phase == Phase::Counts && entry.last() <= ended) {
            entry.phase = Phase::Over;
        }
        for (first, last, shards, held) in std::mem::take(&mut self.said) {
            for at in first..=last {
                let life = &mut self.lives[at as usize];
                if !held {
                    let until = ended + 1 + self.params.pay_pause.0;
                    life.paused.extend(life.judged.intersection(&shards).map(|shard| (*shard, until)));
                }
                change(&mut life.judged, &shards, held);
            }
        }
        self.epoch += 1;
    }

    /// Whether the lower half of its reporters, by seats, says that it was served in time: they say all or nothing here.
    fn is_served(&self, target: MemberIndex) -> bool {
        let seats = |index: MemberIndex| self.committee.member(index).unwrap().shards.len();
        let others = || self.served.iter().filter(|(by, _)| **by != target);
        let all = others().map(|(by, _)| seats(*by)).sum::<usize>();
        let not = others().filter(|(_, said)| !said[usize::from(target.0)]).map(|(by, _)| seats(*by)).sum::<usize>();
        not == 0 || not * 2 < all
    }

    /// Moves the average of a member that held so many of so many slots; none when nothing was decided.
    fn stand(&mut self, target: MemberIndex, slots: Option<(usize, usize)>) {
        let share = match slots {
            _ if !self.reports.contains_key(&target) => Some(0),
            Some((held, all)) => Some(((held as i64) << 32) / all as i64),
            None => None,
        };
        let (average, low_before, excluded) = self.standing.entry(target).or_insert((1 << 32, false, false));
        if let Some(share) = share {
            *average += (share - *average + 32) >> 6;
        }
        if self.epoch.is_multiple_of(4) {
            let low = *average < 3_435_973_836;
            *excluded |= low && *low_before;
            *low_before = low;
        }
    }

    fn renew(&mut self, at: usize, ended: u64) {
        let rate = self.rate(self.entries[at].length);
        let entry = &mut self.entries[at];
        if entry.budget == 0 || entry.last() != ended {
            return;
        }
        let epochs = (entry.budget / rate).min(u128::from(self.params.term_epochs.0));
        entry.budget -= epochs * rate;
        entry.paid.extend((1..=epochs as u64).map(|more| (ended + more, rate)));
        if epochs == 0 {
            let (owner, rest) = (entry.owner, std::mem::take(&mut entry.budget));
            self.give(owner, rest);
        }
    }

    fn move_price(&mut self, ended: u64) {
        if !ended.is_multiple_of(self.params.term_epochs.0) {
            return;
        }
        let last = self.prices.1;
        // One entry for each shard, the lower one in the middle.
        let mut asked: Vec<u64> = Vec::new();
        for (index, member) in (0..).map(MemberIndex).zip(self.committee.members()) {
            let price = self.offers.get(&index).copied().unwrap_or(last);
            asked.extend(member.shards.iter().map(|_| price));
        }
        asked.sort_unstable();
        let step = (last / 10).max(1);
        self.prices = (last, asked[(asked.len() - 1) / 2].clamp((last - step).max(1), last + step));
    }

    /// Fails where the ledger says something else.
    pub fn compare(&self, state: &MemoryState) {
        let amount = |amount: u128| Frost(amount as u64);
        for (account, balance) in &self.balances {
            assert_eq!(views::account(state, account).unwrap().balance, amount(*balance), "{account}");
        }
        let sum = |phase: Phase| self.entries.iter().filter(move |entry| entry.phase == phase);
        let totals = views::totals(state).unwrap();
        let pending: u128 = sum(Phase::Pending).flat_map(|entry| entry.paid.values()).sum();
        let budgets: u128 = self.entries.iter().map(|entry| entry.budget).sum();
        assert_eq!((totals.pending, totals.budgets), (amount(pending), amount(budgets)));
        assert_eq!((totals.fees, totals.reserve), (amount(self.fees), amount(self.reserve)));
        for epoch in self.epoch..self.epoch + 9 {
            let paid: u128 = sum(Phase::Counts).filter_map(|entry| entry.paid.get(&epoch)).sum();
            let before = if epoch == self.epoch { self.rolled + self.late } else { 0 };
            assert_eq!(views::bucket(state, Epoch(epoch)).unwrap(), amount(paid + before), "bucket of {epoch}");
        }
        let prices = views::prices(state).unwrap();
        assert_eq!((prices.current.0, prices.next.0), self.prices);
        let load = views::load(state).unwrap();
        let defended = self.lives.iter().filter(|life| life.over.is_none()).map(|life| self.fragment(life.length));
        let waiting = sum(Phase::Pending).map(|entry| self.fragment(entry.length));
        assert_eq!((u128::from(load.defended), u128::from(load.pending)), (defended.sum(), waiting.sum()));
        for (number, life) in (0u64..).zip(&self.lives) {
            let found = views::sequence(state, floe_types::SequenceNumber(number)).unwrap().unwrap();
            assert_eq!(found.defence, life.over.unwrap_or(Defence::Defended), "number {number}");
            let last = sum(Phase::Counts).filter(|entry| entry.blob == life.blob).map(Entry::last).max();
            // Dead numbers belong to what surrounds them.
            if life.over.is_some() {
                continue;
            }
            assert_eq!(Some(found.last.0), last, "number {number}");
            let covered = coverage::covered(state, tables::Table::Coverage, number, self.lives.len() as u64).unwrap();
            // Numbers above the seats are marks of pauses.
            let rows = covered.iter().filter(|row| row.0 < 28).map(|row| row.0 as u16);
            assert_eq!(rows.collect::<BTreeSet<_>>(), life.now, "number {number}");
        }
    }
}

fn change(set: &mut BTreeSet<u16>, shards: &BTreeSet<u16>, held: bool) {
    match held {
        true => set.extend(shards),
        false => set.retain(|shard| !shards.contains(shard)),
    }
}

#[test]
fn the_model_follows_a_plain_life() {
    let mut world = World::new();
    world.store(blob(1), 2, &ALL);
    for _ in 0..3 {
        world.end_epoch(&ALL);
    }
    let mut model = Model::new(&genesis());
    world.blocks.iter().for_each(|block| model.block(block));
    model.compare(&world.state);
}
