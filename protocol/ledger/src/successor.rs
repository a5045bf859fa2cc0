//! Successors: survivors go on by hand when more than `f` shards of a network are gone for good.
//!
//! ```text
//!  network      ... boundary of epoch e, signed ╳ more than f shards gone: nothing is decided any more
//!                          │ state after it, certificate
//!  successor               └──► genesis { parent } ── height 0 ── epoch e+1 ── boundary of e+1 ...
//! ```
//!
//! The newest boundary that a quorum signed is the parent: it is certain, whatever else was voted on. What the network knew
//! at that boundary is what the successor begins with. Everybody who has the parent's snapshot and the successor's genesis
//! makes the same state of them ([`begin`]), which the genesis names by its root.
//!
//! | kept | as it was: accounts, stakes, budgets, buckets, registrations, blob ids, coverage, what is invalid, epochs |
//! | --- | --- |
//! | seats | survivors keep theirs; those of who is gone go to survivors by stake, within the caps, and begin uncovered |
//! | rows of who is gone | *former* rows: readers go on asking them, should they come back; their candidacies are under notice, so that nobody elects them and their stakes go back in time |
//! | dropped | what is remembered of past epochs, committees and reports, an election that was held: heights begin anew, and old evidence is checked against the old genesis |
//!
//! Old audit files stay valid, because nothing that they rest on changes. Audits of later epochs begin with the successor's
//! genesis and say where it goes on from; [`TermChain::seam`](crate::evidence::TermChain::seam) checks who signed there.
//!
//! # What it rests on
//! On the survivors' word: two groups of survivors can make two successors, each with its own id. Which one counts is for
//! people to say, as at the first genesis. Nothing of one network is valid in another: every signature names its network.
//!
//! # Laws
//! - **I7** The totals of the successor are those of the parent, to the unit.
//! - **SU-1** Equal parents and plans give equal genesis documents; equal genesis documents equal states.

use crate::block::{BlockHeader, genesis_block};
use crate::candidates::{self, Candidate, Standing, Taken};
use crate::challenges;
use crate::digest;
use crate::election::Claim;
use crate::evidence::{self, Certificates, EvidenceError, Part, Sealed};
use crate::lifecycle;
use crate::merkle::Root;
use crate::money;
use crate::records::Head;
use crate::rows;
use crate::state::{ChangeSet, Overlay, StateError, StateRead};
use crate::tables::Table;
use floe_types::genesis::{GenesisError, Parent};
use floe_types::{BlockTime, Committee, Epoch, Genesis, Height, Member, NetworkId, NodeId, ShardIndex, VoteKey, codec};
use std::collections::BTreeMap;

/// What survivors decide among themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuccessorPlan {
    /// The successor's name, as in any genesis.
    pub name: String,
    /// When its first epoch begins: above the time of the parent's boundary.
    pub time: BlockTime,
    /// The candidates that are left, each with the key that it will vote with. They need not have had seats.
    pub survivors: BTreeMap<NodeId, VoteKey>,
}

/// A successor, ready to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Succession {
    /// Its genesis document.
    pub genesis: Genesis,
    /// What its state at height 0 changes in the parent's.
    pub changes: ChangeSet,
    /// Seats that went to survivors and begin uncovered.
    pub moved: Vec<ShardIndex>,
}

/// Why there is no successor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SuccessorError {
    /// The state is not the one after the block.
    #[error("the state stands after block {found}, not after the boundary shown, {expected}")]
    OtherState {
        /// Height after which the state stands.
        found: Height,
        /// Height of the block.
        expected: Height,
    },
    /// The block ends no epoch.
    #[error("the block at height {height} is no boundary: take the newest one that is signed")]
    NoBoundary {
        /// Its height.
        height: Height,
    },
    /// It is not after the parent.
    #[error("the successor's first epoch must begin after {least}")]
    Time {
        /// When the parent's last block was.
        least: BlockTime,
    },
    /// Somebody who is no candidate.
    #[error("node {node} is no candidate of the network before")]
    Stranger {
        /// The node.
        node: NodeId,
    },
    /// Nobody is gone.
    #[error("every member survives: the network goes on by itself")]
    NobodyGone,
    /// The survivors have not room for all shards within the caps.
    #[error(
        "{left} shards find no place: a node or a failure domain holds at most {cap}, and only what it has room for"
    )]
    TooFew {
        /// Shards without a place.
        left: usize,
        /// The cap.
        cap: u16,
    },
    /// The survivors' state is not the one that the genesis names.
    #[error("the state that follows has root {found}, the genesis names {named}")]
    OtherRoot {
        /// What follows.
        found: Root,
        /// What the genesis names.
        named: Root,
    },
    /// The boundary is not decided.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The genesis is none.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The state could not be read, or does not add up.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Makes the successor of the network of genesis `parent`, whose state after the boundary block in `sealed` is `state`.
///
/// Costs what is remembered of past epochs and a look at every account and registration.
///
/// # Errors
/// [`SuccessorError`].
pub fn successor(
    parent: &Genesis,
    state: &dyn StateRead,
    sealed: &Sealed,
    certificates: &dyn Certificates,
    plan: &SuccessorPlan,
) -> Result<Succession, SuccessorError> {
    let network = parent.network();
    let (header, ended) = decided(state, &network, sealed, certificates)?;
    if plan.time <= header.time {
        return Err(SuccessorError::Time { least: header.time });
    }
    let (members, moved) = seats(parent, state, plan)?;
    let named = Parent {
        network,
        block: header.id(),
        height: header.height,
        ended,
        state_root: header.state_root.0,
        begins_with: [0; 32],
        supply: money::totals(state)?.supply,
        sealed: codec::encode(sealed),
    };
    let mut genesis = Genesis {
        version: parent.version,
        name: plan.name.clone(),
        time: plan.time,
        params: parent.params.clone(),
        accounts: Vec::new(),
        members,
        parent: Some(Box::new(named.clone())),
    };
    genesis.check()?;
    let root = digest::root_after(&carried(state, &genesis, &named)?, &network)?;
    genesis.parent = Some(Box::new(Parent { begins_with: root.0, ..named }));
    let changes = begin(state, &genesis)?;
    Ok(Succession { genesis, changes, moved })
}

/// The state at height 0 of the successor that `genesis` founds, as changes to `state`, the parent's at the boundary which it
/// names: what a snapshot of the parent was put together to.
///
/// # Errors
/// [`SuccessorError`] when it is none, the state is another, or another state follows than it names.
pub fn begin(state: &dyn StateRead, genesis: &Genesis) -> Result<ChangeSet, SuccessorError> {
    genesis.check()?;
    let parent = genesis.parent.as_ref().ok_or(GenesisError::Parent)?;
    let head = crate::views::head(state)?;
    if (head.block, head.state_root) != (parent.block, Root(parent.state_root)) {
        return Err(SuccessorError::OtherState { found: head.height, expected: parent.height });
    }
    let mut overlay = carried(state, genesis, parent)?;
    let (found, named) = (digest::root_after(&overlay, &parent.network)?, Root(parent.begins_with));
    if found != named {
        return Err(SuccessorError::OtherRoot { found, named });
    }
    let network = genesis.network();
    let state_root = digest::renew(&mut overlay, &network)?;
    let (height, block, time) = (Height(0), genesis_block(&network), genesis.time);
    let head = Head { height, block, time, epoch: genesis.first_epoch(), epoch_began: time, state_root };
    Table::Head.store(&mut overlay, Table::Head.key(&[]), &head);
    // Also what the totals do not say: sums over all there is.
    money::conservation(&overlay)?;
    Ok(overlay.into_changes())
}

/// Checks that the committee of its epoch decided the boundary after which `state` stands.
fn decided(
    state: &dyn StateRead,
    network: &NetworkId,
    sealed: &Sealed,
    certificates: &dyn Certificates,
) -> Result<(BlockHeader, Epoch), SuccessorError> {
    let part = Part::Seam;
    let opened = sealed.open().map_err(|error| part.wrong(error))?;
    let header = opened.header;
    let height = header.height;
    let head = crate::views::head(state)?;
    if header.network != *network || (head.block, head.state_root) != (header.id(), header.state_root) {
        return Err(SuccessorError::OtherState { found: head.height, expected: height });
    }
    let ended = header.boundary.as_ref().map(|boundary| boundary.ended);
    let ended = ended.ok_or(SuccessorError::NoBoundary { height })?;
    let term = evidence::roll::term_in(state, ended)?;
    let (_, term) = term.ok_or_else(|| Table::Rolls.damaged("no committee is written down for an epoch"))?;
    let proven = certificates.check(&term.roll, height, &opened.value, &sealed.certificate);
    proven.map_err(|fault| part.wrong(fault))?;
    Ok((header, ended))
}

/// Who has which seats: an election in which those who are gone must give and nobody else does.
fn seats(
    parent: &Genesis,
    state: &dyn StateRead,
    plan: &SuccessorPlan,
) -> Result<(Vec<Member>, Vec<ShardIndex>), SuccessorError> {
    let all = candidates::all(state)?;
    if let Some(node) = plan.survivors.keys().find(|node| !all.iter().any(|known| known.node == **node)) {
        return Err(SuccessorError::Stranger { node: *node });
    }
    let (running, rows) = (crate::views::committee(state)?, rows::load(state)?);
    if running.members().iter().all(|member| plan.survivors.contains_key(&member.node)) {
        return Err(SuccessorError::NobodyGone);
    }
    let mut election = lifecycle::election(state, &parent.params, &all, (&running, &rows))?;
    (election.moves_max, election.by_choice_max) = (running.shards(), 0);
    // Everything is under way now; a shard goes back to who has its fragments.
    election.under_way.clear();
    for contender in &mut election.contenders {
        let survives = plan.survivors.contains_key(&contender.node);
        contender.claim = if survives { Claim::Stands } else { Claim::MustGive };
    }
    let outcome = election.hold();
    let left = outcome.seats.iter().filter(|node| !plan.survivors.contains_key(*node)).count();
    if left > 0 {
        return Err(SuccessorError::TooFew { left, cap: parent.params.faulty() });
    }
    let mut shards: BTreeMap<NodeId, Vec<ShardIndex>> = BTreeMap::new();
    for (shard, node) in (0u16..).map(ShardIndex).zip(&outcome.seats) {
        shards.entry(*node).or_default().push(shard);
    }
    let member = |candidate: &Candidate| {
        let vote_key = *plan.survivors.get(&candidate.node)?;
        Some(Member { vote_key, ..candidate.member(shards.remove(&candidate.node)?) })
    };
    let members = all.iter().filter_map(member).collect();
    Ok((members, outcome.moves.iter().map(|one| one.shard).collect()))
}

/// The parent's state with everything changed that a successor changes, but head and sum.
fn carried<'a>(state: &'a dyn StateRead, genesis: &Genesis, parent: &Parent) -> Result<Overlay<'a>, SuccessorError> {
    let mut overlay = Overlay::new(state);
    let first = parent.ended.next();
    let running = crate::views::committee(state)?;
    let office = genesis.committee().map_err(GenesisError::from)?;
    seat(&mut overlay, &office, first)?;
    candidates_of(&mut overlay, (&running, &office), parent.ended)?;
    for table in [
        Table::Epochs,
        Table::Lists,
        Table::Changes,
        Table::PastRows,
        Table::PastCommittees,
        Table::NextCommittee,
        Table::Reports,
        Table::Commits,
        Table::Draw,
        Table::Attendance,
        Table::Rolls,
    ] {
        for (key, _) in table.all(&overlay, &[])? {
            overlay.delete(table.key(&[&key]));
        }
    }
    Table::Committee.store(&mut overlay, Table::Committee.key(&[]), &office);
    evidence::note_term(&mut overlay, first, Height(0), &office)?;
    // Of the parent's block: the id of the first block here follows from this state.
    let end = crate::views::next_sequence(&overlay)?.0;
    challenges::turn(&mut overlay, (first, end), &parent.block, &[]);
    money::assert_conserved(&overlay)?;
    Ok(overlay)
}

/// Gives the seats to the members in office. Who had one and has it no more keeps a former row.
fn seat(overlay: &mut Overlay<'_>, office: &Committee, first: Epoch) -> Result<(), StateError> {
    let mut rows = rows::load(overlay)?;
    for member in office.members() {
        for shard in &member.shards {
            let held = rows.seat(*shard).and_then(|row| rows.get(row)).map(|row| row.holder);
            if held != Some(member.node) {
                rows.seat_next(*shard, member.node, first);
            }
        }
    }
    rows.call_off(first);
    rows::store(overlay, &rows);
    Ok(())
}

/// Members vote with the keys that genesis names; candidates that had seats and have none are under notice.
fn candidates_of(
    overlay: &mut Overlay<'_>,
    (running, office): (&Committee, &Committee),
    ended: Epoch,
) -> Result<(), SuccessorError> {
    for mut candidate in candidates::all(overlay)? {
        let before = candidate.clone();
        let seated = office.index_of(&candidate.node).and_then(|index| office.member(index));
        match seated {
            Some(member) => {
                for (_, key) in candidate.announced.drain(..) {
                    overlay.delete(Taken::VoteKey(&key).key());
                }
                overlay.delete(Taken::VoteKey(&candidate.vote_key).key());
                candidate.vote_key = member.vote_key;
                if matches!(candidate.standing, Standing::Excluded { .. }) {
                    candidate.standing = Standing::Standing;
                }
            }
            None if running.index_of(&candidate.node).is_some() => {
                candidate.served = Some(ended);
                if !matches!(candidate.standing, Standing::Leaving { .. }) {
                    candidate.standing = Standing::Leaving { since: ended };
                }
            }
            None => {}
        }
        if before != candidate {
            candidates::put(overlay, &candidate);
        }
    }
    // After all old ones were let go: keys may have changed hands.
    for member in office.members() {
        let key = Taken::VoteKey(&member.vote_key).key();
        let taken: Option<NodeId> = Table::Taken.load(overlay, &key)?;
        if taken.is_some_and(|node| node != member.node) {
            return Err(GenesisError::Committee(floe_types::committee::CommitteeError::Member {
                name: member.name.clone(),
                reason: "its vote key is another candidate's",
            })
            .into());
        }
        Table::Taken.store(overlay, key, &member.node);
    }
    Ok(())
}
