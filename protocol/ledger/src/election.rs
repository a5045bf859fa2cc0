//! Elections: from today's seats and the candidates' stakes to the seats of the next term, moving as few as possible.
//!
//! Seats follow stakes by highest averages (D'Hondt): a seat is better placed at `i` than at `j` when
//!
//! ```text
//!  stake(i) / (seats(i) + 1)  >  stake(j) / seats(j)
//! ```
//!
//! Nothing is dealt anew. From the seats as they are, one seat at a time goes from the holder that should give to the
//! candidate with the best claim, in this order, until nothing is left to do or the limits are reached:
//!
//! 1. seats of excluded holders (must go);
//! 2. seats of holders that gave notice, the longest ago first, or whose stake fell below the least (by choice);
//! 3. seats above a holder's caps: `f` a node, `f` a failure domain, its capacity (by choice);
//! 4. seats that are better placed elsewhere, worst placed first (by choice).
//!
//! Who is on probation keeps what it has: it neither gets seats nor gives any for others' stakes. What cannot be placed within the caps stays where it is: a seat is never vacant. At most [`Params::moves_by_choice`]
//! seats move by choice and at most `f` in all, hand-overs of earlier terms that are not finished counted in, so that never
//! more than `f` shards wait for their fragments. A seat whose hand-over is not finished may move again: it waits anyway.
//!
//! # Laws
//! - **EL-1** Every seat has one holder, and none got one above its caps.
//! - **EL-2** At most `f` shards are moved or under way, and at most the named number moves by choice.
//! - **EL-3** The same input without what it asked for moves nothing: what was reached is kept.
//! - **I16** follows from EL-2.
//!
//! [`Params::moves_by_choice`]: floe_types::Params::moves_by_choice

use floe_types::{Epoch, Frost, NodeId, ShardIndex};
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How a contender stands to getting seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It may have more.
    Stands,
    /// It keeps what it has and gets no more: it is on probation.
    Keeps,
    /// It gives what it has: it gave notice, or its stake is too small.
    Gives {
        /// Since this epoch.
        since: Epoch,
    },
    /// What it has must go.
    MustGive,
}

/// A candidate, or a holder of seats today, as an election sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    /// The node.
    pub node: NodeId,
    /// What it has bonded.
    pub stake: Frost,
    /// How many seats' fragments it has room for.
    pub room: u16,
    /// What fails together with it, in words.
    pub domain: String,
    /// How it stands.
    pub claim: Claim,
}

/// What an election is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// `f`.
    pub faulty: u16,
    /// The most seats that move or are under way.
    pub moves_max: u16,
    /// The most seats that move by choice.
    pub by_choice_max: u16,
    /// Today's holders by shard.
    pub seats: Vec<NodeId>,
    /// Who stands, every holder included, by node.
    pub contenders: Vec<Contender>,
    /// Shards of which an earlier hand-over is not finished.
    pub under_way: BTreeSet<ShardIndex>,
    /// Who still has fragments of a shard that it held: such a shard goes back to it rather than another one.
    pub former: BTreeSet<(NodeId, ShardIndex)>,
}

/// Why a seat moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Its holder was excluded.
    Excluded,
    /// Its holder gave notice, or its stake is too small.
    Notice,
    /// Its holder, or its holder's domain, had more than its caps allow.
    Caps,
    /// Stakes say so.
    Stake,
}

/// A seat that changes hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The shard.
    pub shard: ShardIndex,
    /// Who has it.
    pub from: NodeId,
    /// Who gets it.
    pub to: NodeId,
    /// Why.
    pub why: Why,
}

/// Why a candidate has no more seats than it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Its stake's share of the seats is reached.
    Stake,
    /// Nobody holds more than `f`.
    NodeCap,
    /// It has room for no more.
    Capacity,
    /// Its failure domain holds `f`.
    DomainCap {
        /// The domain's name.
        domain: String,
    },
    /// It would get more, but no more seats may move at once.
    Moves,
    /// It is on probation and gets no more.
    Probation,
    /// It gets none: notice, exclusion, or too little stake.
    NotStanding,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Stake => f.write_str("its stake's share is reached"),
            Bound::NodeCap => f.write_str("nobody may hold more"),
            Bound::Capacity => f.write_str("its capacity holds no more"),
            Bound::DomainCap { domain } => write!(f, "its failure domain {domain} may hold no more"),
            Bound::Moves => f.write_str("no more seats may move at once; more in later terms"),
            Bound::Probation => f.write_str("it is on probation"),
            Bound::NotStanding => f.write_str("it does not stand"),
        }
    }
}

/// What an election comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The holders of the next term by shard.
    pub seats: Vec<NodeId>,
    /// What changes hands, in the order in which it was decided. A shard moves at most once.
    pub moves: Vec<Move>,
    /// By contender, why it has no more.
    pub bounds: BTreeMap<NodeId, Bound>,
}

impl Election {
    /// Chooses the holders of the next term.
    #[must_use]
    pub fn hold(&self) -> Outcome {
        let mut room = Room::of(self);
        room.must_give();
        room.notice();
        room.above_caps();
        room.by_stake();
        room.outcome()
    }
}

/// An election on its way. Contenders are named by their place.
struct Room<'a> {
    election: &'a Election,
    places: Vec<&'a Contender>,
    /// By contender, the shards it holds and may still give.
    held: Vec<BTreeSet<ShardIndex>>,
    /// By contender, the shards it got: they stay.
    got: Vec<u16>,
    /// By contender, its domains.
    domains: Vec<Vec<usize>>,
    domain_names: Vec<&'a str>,
    domain_seats: Vec<u16>,
    moves: Vec<Move>,
    /// Shards that may yet be put under way.
    left: u16,
    left_by_choice: u16,
}

/// Compares stake(a)/seats(a) with stake(b)/seats(b).
fn quotients(a: (Frost, u16), b: (Frost, u16)) -> Ordering {
    (u128::from(a.0.0) * u128::from(b.1)).cmp(&(u128::from(b.0.0) * u128::from(a.1)))
}

impl<'a> Room<'a> {
    fn of(election: &'a Election) -> Room<'a> {
        let mut places: Vec<&Contender> = election.contenders.iter().collect();
        places.sort_by_key(|contender| contender.node);
        let mut held = vec![BTreeSet::new(); places.len()];
        for (shard, node) in (0u16..).zip(&election.seats) {
            if let Ok(place) = places.binary_search_by_key(node, |contender| contender.node) {
                held[place].insert(ShardIndex(shard));
            }
        }
        let mut domain_names: Vec<&str> = places.iter().flat_map(|one| one.domain.split_whitespace()).collect();
        domain_names.sort_unstable();
        domain_names.dedup();
        let number = |name: &str| domain_names.binary_search(&name).ok();
        let domains_of = |one: &&Contender| -> Vec<usize> {
            let numbers: BTreeSet<usize> = one.domain.split_whitespace().filter_map(number).collect();
            numbers.into_iter().collect()
        };
        let domains: Vec<Vec<usize>> = places.iter().map(domains_of).collect();
        let mut domain_seats = vec![0; domain_names.len()];
        for (place, of) in domains.iter().enumerate() {
            of.iter().for_each(|domain| domain_seats[*domain] += held[place].len() as u16);
        }
        let under_way = election.under_way.len().min(usize::from(u16::MAX)) as u16;
        Room {
            election,
            got: vec![0; places.len()],
            places,
            held,
            domains,
            domain_names,
            domain_seats,
            moves: Vec::new(),
            left: election.moves_max.saturating_sub(under_way),
            left_by_choice: election.by_choice_max,
        }
    }

    fn seats(&self, place: usize) -> u16 {
        self.held[place].len() as u16 + self.got[place]
    }

    fn cap(&self, place: usize) -> u16 {
        self.places[place].room.min(self.election.faulty)
    }

    /// How well placed its last seat is, as a pair to compare.
    fn last(&self, place: usize) -> (Frost, u16) {
        (self.places[place].stake, self.seats(place))
    }

    /// How well placed one more would be.
    fn next(&self, place: usize) -> (Frost, u16) {
        (self.places[place].stake, self.seats(place) + 1)
    }

    fn stands(&self, place: usize) -> bool {
        self.places[place].claim == Claim::Stands && self.places[place].stake > Frost::ZERO
    }

    /// The domain in which `to` may get nothing when `from` gives.
    fn full_domain(&self, from: Option<usize>, to: usize) -> Option<usize> {
        let shared = |domain: &usize| from.is_some_and(|from| self.domains[from].contains(domain));
        let full = |domain: &&usize| self.domain_seats[**domain] >= self.election.faulty && !shared(domain);
        self.domains[to].iter().find(full).copied()
    }

    fn may_get(&self, from: usize, to: usize) -> bool {
        from != to && self.stands(to) && self.seats(to) < self.cap(to) && self.full_domain(Some(from), to).is_none()
    }

    /// Who should get a seat of `from`: the best claim, the lowest node of equal ones.
    fn best(&self, from: usize, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let able = (0..self.places.len()).filter(|to| self.may_get(from, *to) && fits(*to));
        able.max_by(|a, b| quotients(self.next(*a), self.next(*b)).then(b.cmp(a)))
    }

    /// The shard of `from` that should go to `to`: one it still has fragments of, then one that waits anyway, then the
    /// last. None when the limits allow none.
    fn shard(&self, from: usize, to: usize) -> Option<ShardIndex> {
        let node = self.places[to].node;
        let waits = |shard: &ShardIndex| self.election.under_way.contains(shard);
        let able = self.held[from].iter().filter(|shard| self.left > 0 || waits(shard));
        able.max_by_key(|shard| (self.election.former.contains(&(node, **shard)), waits(shard), **shard)).copied()
    }

    /// Moves a seat when the limits allow it. Says whether it did.
    fn give(&mut self, from: usize, to: usize, why: Why) -> bool {
        let by_choice = why != Why::Excluded;
        if by_choice && self.left_by_choice == 0 {
            return false;
        }
        let Some(shard) = self.shard(from, to) else { return false };
        if !self.election.under_way.contains(&shard) {
            self.left -= 1;
        }
        if by_choice {
            self.left_by_choice -= 1;
        }
        self.held[from].remove(&shard);
        self.got[to] += 1;
        for domain in &self.domains[from] {
            self.domain_seats[*domain] -= 1;
        }
        for domain in &self.domains[to] {
            self.domain_seats[*domain] += 1;
        }
        self.moves.push(Move { shard, from: self.places[from].node, to: self.places[to].node, why });
        true
    }

    /// Gives away all that `from` has, as far as it goes.
    fn give_all(&mut self, from: usize, why: Why) {
        while !self.held[from].is_empty() {
            let Some(to) = self.best(from, |_| true) else { return };
            if !self.give(from, to, why) {
                return;
            }
        }
    }

    fn must_give(&mut self) {
        for from in 0..self.places.len() {
            if self.places[from].claim == Claim::MustGive {
                self.give_all(from, Why::Excluded);
            }
        }
    }

    fn notice(&mut self) {
        let mut leavers: Vec<(Epoch, usize)> = Vec::new();
        for (place, contender) in self.places.iter().enumerate() {
            if let Claim::Gives { since } = contender.claim {
                leavers.push((since, place));
            }
        }
        leavers.sort_unstable();
        for (_, from) in leavers {
            self.give_all(from, Why::Notice);
        }
    }

    /// The worst placed holder that fits, among those that have something to give.
    fn worst(&self, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let able = (0..self.places.len()).filter(|from| !self.held[*from].is_empty() && fits(*from));
        able.min_by(|a, b| quotients(self.last(*a), self.last(*b)).then(b.cmp(a)))
    }

    fn above_caps(&mut self) {
        for from in 0..self.places.len() {
            while self.stands(from) && self.seats(from) > self.cap(from) {
                let Some(to) = self.best(from, |_| true) else { break };
                if !self.give(from, to, Why::Caps) {
                    break;
                }
            }
        }
        for domain in 0..self.domain_names.len() {
            while self.domain_seats[domain] > self.election.faulty {
                let inside = |place: usize| self.domains[place].contains(&domain);
                let able =
                    |from: usize| inside(from) && self.stands(from) && self.best(from, |to| !inside(to)).is_some();
                let Some(from) = self.worst(able) else { break };
                let Some(to) = self.best(from, |to| !inside(to)) else { break };
                if !self.give(from, to, Why::Caps) {
                    break;
                }
            }
        }
    }

    fn by_stake(&mut self) {
        while self.left_by_choice > 0 {
            let Some((from, to)) = self.better() else { return };
            if !self.give(from, to, Why::Stake) {
                return;
            }
        }
    }

    /// A seat that is better placed elsewhere: the best claim that can be met, and who should give.
    fn better(&self) -> Option<(usize, usize)> {
        let mut claims: Vec<usize> =
            (0..self.places.len()).filter(|to| self.stands(*to) && self.seats(*to) < self.cap(*to)).collect();
        claims.sort_by(|a, b| quotients(self.next(*b), self.next(*a)).then(a.cmp(b)));
        let least = self.worst(|from| self.stands(from))?;
        for to in claims {
            let improves = |from: usize| quotients(self.next(to), self.last(from)) == Ordering::Greater;
            // The claims come best first: when one would not gain from the worst placed seat, no later one would.
            if !improves(least) {
                return None;
            }
            let able = |from: usize| {
                self.stands(from) && self.may_get(from, to) && improves(from) && self.shard(from, to).is_some()
            };
            if let Some(from) = self.worst(able) {
                return Some((from, to));
            }
        }
        None
    }

    /// Why a contender has no more seats than it has.
    fn bound(&self, place: usize) -> Bound {
        if self.places[place].claim == Claim::Keeps {
            return Bound::Probation;
        }
        if !self.stands(place) {
            return Bound::NotStanding;
        }
        if self.seats(place) >= self.cap(place) {
            let by_room = self.places[place].room < self.election.faulty;
            return if by_room { Bound::Capacity } else { Bound::NodeCap };
        }
        if let Some(domain) = self.full_domain(None, place) {
            return Bound::DomainCap { domain: self.domain_names[domain].to_owned() };
        }
        let gains = |from: &usize| {
            let must = matches!(self.places[*from].claim, Claim::Gives { .. } | Claim::MustGive);
            let gives = must || quotients(self.next(place), self.last(*from)) == Ordering::Greater;
            let keeps = self.places[*from].claim == Claim::Keeps;
            *from != place && !self.held[*from].is_empty() && gives && !keeps
        };
        if (0..self.places.len()).any(|from| gains(&from)) { Bound::Moves } else { Bound::Stake }
    }

    fn outcome(self) -> Outcome {
        let mut seats = self.election.seats.clone();
        for one in &self.moves {
            if let Some(seat) = seats.get_mut(usize::from(one.shard.0)) {
                *seat = one.to;
            }
        }
        let bounds = (0..self.places.len()).map(|place| (self.places[place].node, self.bound(place))).collect();
        Outcome { seats, moves: self.moves, bounds }
    }
}

/// Failure domains that hold more than half of `f` of the seats: worth a word to their operators.
#[must_use]
pub fn crowded(faulty: u16, contenders: &[Contender], seats: &[NodeId]) -> Vec<(String, u16)> {
    let domains: BTreeMap<NodeId, BTreeSet<&str>> =
        contenders.iter().map(|one| (one.node, one.domain.split_whitespace().collect())).collect();
    let mut counts: BTreeMap<&str, u16> = BTreeMap::new();
    for node in seats {
        for domain in domains.get(node).into_iter().flatten() {
            *counts.entry(domain).or_default() += 1;
        }
    }
    let mut crowded: Vec<(String, u16)> =
        counts.into_iter().filter(|(_, held)| *held > faulty / 2).map(|(name, held)| (name.to_owned(), held)).collect();
    crowded.sort_by_key(|(_, held)| Reverse(*held));
    crowded
}
