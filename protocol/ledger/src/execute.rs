//! Genesis, building blocks, checking blocks: the three ways to a change set.
//!
//! All go through one [`Execution`], so that a block built here passes the check everywhere: the boundary first when it is
//! due, then the transactions in order, each on an overlay of its own, then the roots.
//!
//! # The state root
//!
//! A sum over all entries of the state, hashed: see [`crate::digest`]. It sees every entry, also one that a disk changed
//! after it was written, at the next block that changes it. The head entry is left out, because it holds the root.
//!
//! # Time
//!
//! A block's time is above its parent's and, when it is voted on, at most the drift ahead of the voter's clock. The first
//! block whose time is at least an epoch's length after the epoch began is the boundary: it must carry one, and no other
//! block may.

use crate::actions::{self, Scene};
use crate::blobs;
use crate::block::{self, BLOCK_CERTIFICATES_MAX, Block, BlockHeader, BoundaryHeader, HEADER_BYTES_MAX, genesis_block};
use crate::boundary;
use crate::candidates;
use crate::challenges;
use crate::digest;
use crate::event::Event;
use crate::evidence;
use crate::foresight;
use crate::fund;
use crate::memo::Memo;
use crate::merkle::Map;
use crate::money;
use crate::pages;
use crate::prices;
use crate::recall::Recalling;
use crate::records::{Account, Counters, FundRates, Head, Load, Prices, Totals};
use crate::refusal::{BlockError, Halt, Refusal};
use crate::reports;
use crate::rows::{self, Rows};
use crate::state::{ChangeSet, MemoryState, Overlay, StateError, StateRead};
use crate::tables::Table;
use crate::terms;
use crate::transaction::{Action, CheckedTransaction, Prepared, SignedTransaction, TransactionError};
use crate::version;
use floe_types::genesis::GenesisError;
use floe_types::keys;
use floe_types::params::BLOCK_BYTES_MAX;
use floe_types::{
    BlockId, BlockTime, Committee, Epoch, Frost, Genesis, Height, NetworkId, NodeId, Params, TransactionId,
};

/// What does not change in the life of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The network.
    pub network: NetworkId,
    /// Its parameters.
    pub params: Params,
    /// The latest version of the protocol that this program knows: [`version::KNOWN_MAX`] but in tests.
    pub versions_known: u32,
    /// What need not be computed twice.
    pub memo: Memo,
    /// Whether reports show the answers that the draw names: always but in tests whose blobs nobody encoded.
    #[cfg(test)]
    pub(crate) answers: Answers,
}

/// Whether reports must show answers.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    Shown,
    Waived,
}

impl Context {
    /// The context that `genesis` founds.
    #[must_use]
    pub fn of(genesis: &Genesis) -> Context {
        let (params, versions_known) = (genesis.params.clone(), version::KNOWN_MAX);
        Context {
            network: genesis.network(),
            params,
            versions_known,
            memo: Memo::default(),
            #[cfg(test)]
            answers: Answers::Shown,
        }
    }
}

/// A block with all it comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    /// The block.
    pub block: Block,
    /// Its id.
    pub id: BlockId,
    /// Its transactions' ids, in order.
    pub ids: Vec<TransactionId>,
    /// What it changes, to be applied whole and together with the block.
    pub changes: ChangeSet,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// Candidates that were left out because they do not apply. Empty for blocks of others.
    pub refused: Vec<(TransactionId, Refusal)>,
}

/// The state at height 0, as changes to an empty one.
///
/// # Errors
/// [`GenesisError`] when no network can begin with it. A successor begins with [`crate::successor::begin`].
pub fn begin(genesis: &Genesis) -> Result<ChangeSet, GenesisError> {
    genesis.check()?;
    if let Some(parent) = &genesis.parent {
        return Err(GenesisError::NeedsState { network: parent.network });
    }
    let network = genesis.network();
    let empty = MemoryState::new();
    let mut overlay = Overlay::new(&empty);
    for entry in &genesis.accounts {
        money::put_account(&mut overlay, &entry.account, &Account { balance: entry.balance, nonce: 0 });
    }
    let supply = genesis.supply()?;
    fund::put_rates(&mut overlay, &FundRates { current: Frost::ZERO, recurring: Frost::ZERO });
    let price = genesis.params.price;
    prices::put_prices(&mut overlay, &Prices { current: price, next: price });
    blobs::put_load(&mut overlay, &Load::default());
    let committee = genesis.committee()?;
    candidates::found(&mut overlay, &committee, |member| genesis.stake_of(member));
    let stakes = Frost(genesis.members.iter().map(|member| genesis.stake_of(member).0).sum());
    let accounts = Frost(supply.0.saturating_sub(stakes.0));
    money::put_totals(&mut overlay, &Totals { supply, accounts, stakes, ..Totals::default() });
    Table::Committee.store(&mut overlay, Table::Committee.key(&[]), &committee);
    rows::store(&mut overlay, &Rows::first(&committee));
    evidence::note_term(&mut overlay, Epoch(1), Height(0), &committee).expect("state in memory can be read");
    blobs::put_counters(&mut overlay, &Counters { next_registration: 1, next_sequence: 0, attested: 0 });
    challenges::turn(&mut overlay, (Epoch(1), 0), &genesis_block(&network), &[]);
    let head_key = Table::Head.key(&[]);
    let head = Head {
        height: Height(0),
        block: genesis_block(&network),
        time: genesis.time,
        epoch: Epoch(1),
        epoch_began: genesis.time,
        state_root: digest::renew(&mut overlay, &network).expect("state in memory can be read"),
    };
    Table::Head.store(&mut overlay, head_key, &head);
    Ok(overlay.into_changes())
}

/// Makes a block of those `candidates` that apply, in order, until it is full.
///
/// Its time is `now`, or the parent's plus a millisecond when our clock is behind. What does not apply is left out and
/// named in [`Executed::refused`]; what does not fit is left out and not named. With no candidate at all this makes an
/// empty block, which is what an epoch's end needs when nothing else is to be decided.
///
/// # Errors
/// [`StateError`] when the state cannot be read.
pub fn build_block(
    state: &dyn StateRead,
    context: &Context,
    proposer: NodeId,
    now: BlockTime,
    candidates: Vec<CheckedTransaction>,
) -> Result<Executed, StateError> {
    let state = &Recalling::new(state);
    let head = crate::views::head(state)?;
    let time = now.max(head.time.plus_millis(1));
    let mut execution = Execution::start(state, context, head, time)?;
    let mut room = BLOCK_BYTES_MAX - HEADER_BYTES_MAX;
    foresight::read_ahead(state, candidates.iter().map(CheckedTransaction::transaction))?;
    for candidate in candidates {
        let Some(left) = room.checked_sub(candidate.bytes()) else { break };
        match execution.apply(&candidate) {
            Ok(()) => {
                room = left;
                execution.included.push((candidate.id(), candidate.into_signed()));
            }
            Err(Halt::Refused(refusal)) => execution.refused.push((candidate.id(), refusal)),
            Err(Halt::State(error)) => return Err(error),
        }
    }
    execution.finish(proposer)
}

/// Checks a block that somebody proposes: everything, its time against our clock included.
///
/// # Errors
/// [`BlockError`] with the first thing that is wrong. State is as before in any case.
pub fn check_block(
    state: &dyn StateRead,
    context: &Context,
    block: Block,
    now: BlockTime,
) -> Result<Executed, BlockError> {
    let (found, drift_millis) = (block.header.time, context.params.drift_millis_max);
    if found > now.plus_millis(drift_millis) {
        return Err(BlockError::AheadOfClock { found, now, drift_millis });
    }
    execute_decided(state, context, block)
}

/// Checks a block that was decided, without a clock: for catching up. All signatures are verified again.
///
/// # Errors
/// [`BlockError`] with the first thing that is wrong. State is as before in any case.
pub fn execute_decided(state: &dyn StateRead, context: &Context, block: Block) -> Result<Executed, BlockError> {
    let state = &Recalling::new(state);
    let head = crate::views::head(state)?;
    check_place(&head, context, &block)?;
    let Block { header, transactions } = block;
    let mut execution = Execution::start(state, context, head, header.time)?;
    if execution.boundary.is_some() != header.boundary.is_some() {
        return Err(BlockError::Boundary);
    }
    if header.version != execution.version {
        return Err(BlockError::Version { found: header.version, ours: execution.version });
    }
    if execution.voters.index_of(&header.proposer).is_none() {
        return Err(BlockError::Proposer);
    }
    let checked = check_all(context, transactions)?;
    foresight::read_ahead(state, checked.iter().map(CheckedTransaction::transaction))?;
    for (index, checked) in checked.into_iter().enumerate() {
        let transaction = checked.id();
        match execution.apply(&checked) {
            Ok(()) => execution.included.push((transaction, checked.into_signed())),
            Err(Halt::Refused(refusal)) => return Err(BlockError::Transaction { index, transaction, refusal }),
            Err(Halt::State(error)) => return Err(error.into()),
        }
    }
    let executed = execution.finish(header.proposer)?;
    match difference(&header, &executed.block.header) {
        Some(field) => Err(BlockError::Header { field }),
        None => Ok(executed),
    }
}

/// Checks everything about a block's transactions that does not depend on state. Signatures are verified together, those that
/// this node has verified before not at all.
fn check_all(context: &Context, transactions: Vec<SignedTransaction>) -> Result<Vec<CheckedTransaction>, BlockError> {
    let mut prepared = Vec::with_capacity(transactions.len());
    for (index, signed) in transactions.into_iter().enumerate() {
        prepared.push(signed.prepare(&context.network).map_err(|(signed, error)| {
            let (transaction, refusal) = (signed.id(), error.into());
            BlockError::Transaction { index, transaction, refusal }
        })?);
    }
    let unknown: Vec<_> = prepared.iter().enumerate().filter(|(_, one)| !context.memo.knows(&one.id())).collect();
    let claims: Vec<_> = unknown.iter().map(|(_, one)| one.claim()).collect();
    if keys::verify_batch(&claims).is_err() {
        // Somebody's fault, and it must be named.
        let wrong = unknown.iter().find(|(_, one)| one.claim().verify().is_err());
        let (index, one) = wrong.expect("a batch fails only when one of its signatures is wrong");
        let refusal = TransactionError::BadSignature.into();
        return Err(BlockError::Transaction { index: *index, transaction: one.id(), refusal });
    }
    unknown.iter().for_each(|(_, one)| context.memo.remember(one.id()));
    Ok(prepared.into_iter().map(Prepared::trust).collect())
}

/// What can be said of a block before it is executed.
fn check_place(head: &Head, context: &Context, block: &Block) -> Result<(), BlockError> {
    let header = &block.header;
    if header.network != context.network {
        return Err(BlockError::Network);
    }
    let expected = head.height.next();
    if header.height != expected {
        return Err(BlockError::Height { found: header.height, expected });
    }
    if header.parent != head.block {
        return Err(BlockError::Parent);
    }
    if header.time <= head.time {
        return Err(BlockError::TimeNotAbove { found: header.time, parent: head.time });
    }
    let (found, max) = (block.encode().len(), BLOCK_BYTES_MAX);
    if found > max {
        return Err(BlockError::TooLong { found, max });
    }
    Ok(())
}

/// The first field in which a header differs from what execution comes to.
fn difference(header: &BlockHeader, executed: &BlockHeader) -> Option<&'static str> {
    let fields = [
        ("epoch", header.epoch == executed.epoch),
        ("transactions root", header.transactions_root == executed.transactions_root),
        ("boundary", header.boundary == executed.boundary),
        ("state root", header.state_root == executed.state_root),
        ("blobs by sequence", header.blobs_by_sequence_root == executed.blobs_by_sequence_root),
        ("blobs by id", header.blobs_by_id_root == executed.blobs_by_id_root),
    ];
    let named = fields.into_iter().find(|(_, equal)| !equal).map(|(name, _)| name);
    // Whatever else there is to a header, now or later, must be equal too.
    named.or((header != executed).then_some("rest"))
}

/// A block on its way.
struct Execution<'a> {
    overlay: Overlay<'a>,
    context: &'a Context,
    /// The committee that decides this block.
    voters: Committee,
    /// The committee of the block's epoch: another one when a term begins with it.
    committee: Committee,
    version: u32,
    rows: Rows,
    price: Frost,
    seat_bytes: u64,
    head: Head,
    time: BlockTime,
    epoch: Epoch,
    epoch_began: BlockTime,
    boundary: Option<BoundaryHeader>,
    certificates: usize,
    events: Vec<Event>,
    included: Vec<(TransactionId, SignedTransaction)>,
    refused: Vec<(TransactionId, Refusal)>,
}

impl<'a> Execution<'a> {
    /// Begins a block of `time`, with the boundary when it is due.
    fn start(
        state: &'a dyn StateRead,
        context: &'a Context,
        head: Head,
        time: BlockTime,
    ) -> Result<Execution<'a>, StateError> {
        let voters = crate::views::committee(state)?;
        let mut committee = voters.clone();
        let mut overlay = Overlay::new(state);
        let (mut epoch, mut epoch_began) = (head.epoch, head.epoch_began);
        let (mut boundary, mut events) = (None, Vec::new());
        if time >= head.epoch_ends(&context.params) {
            let ended = boundary::end_epoch(&mut overlay, (&context.params, &voters), &head, time)?;
            committee = ended.committee;
            version::turn(&mut overlay, &committee, head.epoch.next(), &context.params)?;
            (epoch, epoch_began) = (head.epoch.next(), time);
            (boundary, events) = (Some(ended.header), ended.events);
        } else {
            reports::settle_draw(&mut overlay, &context.params, &head)?;
        }
        let version = version::in_force(&overlay, context.versions_known)?;
        let (included, refused) = (Vec::new(), Vec::new());
        let certificates = 0;
        let rows = rows::load(&overlay)?;
        let (price, seat_bytes) = (prices::prices(&overlay)?.current, terms::seat_bytes(&committee));
        Ok(Execution {
            overlay,
            context,
            voters,
            committee,
            version,
            rows,
            price,
            seat_bytes,
            head,
            time,
            epoch,
            epoch_began,
            boundary,
            certificates,
            events,
            included,
            refused,
        })
    }

    /// Executes one transaction wholly or not at all.
    fn apply(&mut self, checked: &CheckedTransaction) -> Result<(), Halt> {
        // Each costs a pairing.
        let costly =
            |action: &Action| matches!(action, Action::Certify { .. } | Action::Invalid(_) | Action::Report(_));
        let certifies = costly(&checked.transaction().action);
        if certifies && self.certificates >= BLOCK_CERTIFICATES_MAX {
            return Err(Refusal::CertificatesFull { max: BLOCK_CERTIFICATES_MAX }.into());
        }
        let scene = Scene {
            context: self.context,
            committee: &self.committee,
            rows: &self.rows,
            epoch: self.epoch,
            epoch_began: self.epoch_began,
            time: self.time,
            price: self.price,
            seat_bytes: self.seat_bytes,
        };
        let mut own = Overlay::new(&self.overlay);
        let events = actions::execute(&mut own, &scene, checked)?;
        let parts = own.into_parts();
        self.overlay.absorb(parts);
        self.events.extend(events);
        self.certificates += usize::from(certifies);
        Ok(())
    }

    /// Computes the roots and seals the block.
    fn finish(mut self, proposer: NodeId) -> Result<Executed, StateError> {
        let (ids, transactions): (Vec<_>, Vec<_>) = self.included.into_iter().unzip();
        pages::flush(&mut self.overlay)?;
        let head_key = Table::Head.key(&[]);
        let state_root = digest::renew(&mut self.overlay, &self.context.network)?;
        let header = BlockHeader {
            version: self.version,
            network: self.context.network,
            height: self.head.height.next(),
            parent: self.head.block,
            time: self.time,
            proposer,
            epoch: self.epoch,
            transactions_root: block::transactions_root(&ids),
            state_root,
            blobs_by_sequence_root: pages::root(&self.overlay, Map::BySequence)?.0,
            blobs_by_id_root: pages::root(&self.overlay, Map::ById)?.0,
            boundary: self.boundary,
        };
        let id = header.id();
        let head = Head {
            height: header.height,
            block: id,
            time: self.time,
            epoch: self.epoch,
            epoch_began: self.epoch_began,
            state_root,
        };
        Table::Head.store(&mut self.overlay, head_key, &head);
        let block = Block { header, transactions };
        Ok(Executed {
            block,
            id,
            ids,
            changes: self.overlay.into_changes(),
            events: self.events,
            refused: self.refused,
        })
    }
}
