//! Networks and states of any size, made without signatures: for benchmarks and figures, behind a feature of the same name.
//!
//! What is made is what executing blocks would have made, through the same functions, but for the money: registrations are
//! priced at one FROST an epoch, so that one account can pay for ten million of them.

use crate::challenges::{Aim, QuestionTag};
use crate::digest::{self, Expander, Sum};
use crate::money::{self, Pot};
use crate::pages;
use crate::records::{Head, Registration, RegistrationStatus};
use crate::reports::{Held, Opened, ReAsk};
use crate::rows::RowSet;
use crate::sets::MemberSet;
use crate::state::{MemoryState, Overlay, StateError};
use crate::tables::Table;
use crate::transaction::{Attributes, Persistence};
use crate::{Context, begin, blobs};
use floe_types::bls::BlsSecretKey;
use floe_types::committee::{Member, deal};
use floe_types::genesis::{GenesisAccount, PROTOCOL_VERSION};
use floe_types::keys::SecretKey;
use floe_types::params::{SLOTS, challenges_per_slot};
use floe_types::{
    AccountId, BlobId, BlockTime, Epoch, Frost, Genesis, MemberIndex, NodeId, Params, RegistrationNumber, VoteKey,
    codec,
};

/// Bytes of every blob.
pub const BLOB_BYTES: u64 = 1 << 20;
/// What every account of the genesis holds.
pub const BALANCE: Frost = Frost(1_000_000_000_000_000);

fn seed(of: &str, at: usize) -> [u8; 32] {
    codec::hash("floe 1 ledger: synthetic seed", format!("{of} {at}").as_bytes())
}

/// The key of user `at`.
#[must_use]
pub fn user(at: usize) -> SecretKey {
    SecretKey::from_bytes(seed("user", at))
}

/// The confirmation key of the member whose place in the committee is `at`.
#[must_use]
pub fn confirmation_key(at: usize) -> BlsSecretKey {
    BlsSecretKey::from_seed(seed("bls", at))
}

/// The key of that member's account.
#[must_use]
pub fn member_key(at: usize) -> SecretKey {
    SecretKey::from_bytes(seed("member", at))
}

/// The key with which that member votes in the first term.
#[must_use]
pub fn vote_key(at: usize) -> SecretKey {
    SecretKey::from_bytes(seed("vote", at))
}

/// A network of `shards` shards dealt to `members`, with `users` accounts.
#[must_use]
pub fn genesis(shards: u16, members: usize, users: usize) -> Genesis {
    let member = |(at, shards): (usize, Vec<_>)| {
        // Ascending, so that the place in the list is the place in the committee.
        let mut node = [0; 32];
        node.iter_mut().zip((at as u64 + 1).to_be_bytes()).for_each(|(into, from)| *into = from);
        let key = confirmation_key(at);
        Member {
            node: NodeId(node),
            name: format!("node-{}", at + 1),
            account: AccountId(member_key(at).public()),
            vote_key: VoteKey(vote_key(at).public()),
            bls_key: key.public(),
            possession: key.prove_possession(),
            addresses: vec!["/ip4/127.0.0.1/tcp/1".to_owned()],
            domain: String::new(),
            capacity_bytes: u64::MAX,
            shards,
        }
    };
    let members: Vec<_> = deal(shards, members).into_iter().enumerate().map(member).collect();
    let accounts = (0..users).map(|at| AccountId(user(at).public())).chain(members.iter().map(|member| member.account));
    let mut accounts: Vec<_> = accounts.map(|account| GenesisAccount { account, balance: BALANCE }).collect();
    accounts.sort_by_key(|entry| entry.account);
    let params = Params { fee_per_byte: Frost(1), ..Params::standard(shards) };
    let (version, name, time) = (PROTOCOL_VERSION, "synthetic".to_owned(), BlockTime(1_700_000_000_000));
    Genesis { version, name, time, params, accounts, members, parent: None }
}

/// The id of blob `at`: as random as any.
#[must_use]
pub fn blob(at: u64) -> BlobId {
    BlobId(codec::hash("floe 1 ledger: synthetic blob", &at.to_be_bytes()))
}

/// Adds `count` defended blobs to `state`, the state at genesis. Number `at` is covered by `covering(at)` and paid until
/// `last(at)`.
///
/// # Errors
/// [`StateError`] when the state is not one at genesis.
pub fn store(
    state: &mut MemoryState,
    context: &Context,
    count: u64,
    covering: impl Fn(u64) -> RowSet,
    last: impl Fn(u64) -> Epoch,
) -> Result<(), StateError> {
    const AT_ONCE: u64 = 8_192;
    let payer = AccountId(user(0).public());
    let mut at = 0;
    while at < count {
        let end = count.min(at + AT_ONCE);
        let mut overlay = Overlay::new(state);
        for at in at..end {
            let mut registration = Registration {
                number: RegistrationNumber(at + 1),
                blob: blob(at),
                owner: payer,
                length: BLOB_BYTES,
                first: Epoch(1),
                last: last(at),
                rate: Frost(1),
                later: Vec::new(),
                deadline: Epoch(2),
                attributes: Attributes::default(),
                persistence: Persistence::Permanent,
                status: RegistrationStatus::Pending,
                previous: None,
            };
            let poor = |_| StateError::Read { reason: "the payer is out of money".to_owned() };
            money::debit(&mut overlay, &payer, registration.price(), Pot::Pending).map_err(poor)?;
            blobs::enlist(&mut overlay, &context.params, &mut registration)?;
            blobs::defend(&mut overlay, &context.params, &mut registration, &covering(at), Epoch(1))?;
        }
        let mut counters = blobs::counters(&overlay)?;
        counters.next_registration = end + 1;
        blobs::put_counters(&mut overlay, &counters);
        pages::flush(&mut overlay)?;
        let changes = overlay.into_changes();
        state.apply(&changes);
        at = end;
    }
    Ok(())
}

/// Brings the sum over all entries up to date, which [`store`] leaves as it was: needed where a snapshot is cut.
///
/// # Errors
/// [`StateError`] when the state is not one.
pub fn seal(state: &mut MemoryState, context: &Context) -> Result<(), StateError> {
    let (mut sum, mut expander) = (Sum::default(), Expander::default());
    let counted = state.entries().filter(|(key, _)| digest::is_counted(key));
    counted.for_each(|(key, value)| expander.put(&mut sum, key, value));
    let head = Head { state_root: sum.root(&context.network), ..crate::views::head(state)? };
    let mut overlay = Overlay::new(state);
    digest::put_sum(&mut overlay, &sum);
    Table::Head.store(&mut overlay, Table::Head.key(&[]), &head);
    let changes = overlay.into_changes();
    state.apply(&changes);
    Ok(())
}

/// Lets all members but the last `silent` ones have reported each other in the running epoch.
///
/// # Errors
/// [`StateError`] when the state is not one.
pub fn attend(state: &mut MemoryState, silent: usize) -> Result<(), StateError> {
    let members = crate::views::committee(state)?.members().len();
    let present = || (0..members.saturating_sub(silent)).map(|at| MemberIndex(at as u16));
    let said: MemberSet = present().collect();
    let passed = u16::from(SLOTS).saturating_mul(challenges_per_slot(members));
    let report = Opened {
        seed: [0; 32],
        held: std::array::from_fn(|_| Some(said.clone())),
        passed: (0..members).map(|at| if said.contains(MemberIndex(at as u16)) { passed } else { 0 }).collect(),
        accused: Vec::new(),
        reasks: Vec::new(),
    };
    let mut overlay = Overlay::new(state);
    for member in present() {
        Table::Reports.store(&mut overlay, Table::Reports.key(&[&member.0.to_be_bytes()]), &report);
    }
    let changes = overlay.into_changes();
    state.apply(&changes);
    Ok(())
}

/// What a report says once it was executed: what its boundary counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spoken {
    /// See [`crate::Report::held`].
    pub held: Held,
    /// See [`crate::Report::passed`].
    pub passed: Vec<u16>,
    /// Its accusations with the tags of what its seed drew for them.
    pub accused: Vec<(Aim, QuestionTag)>,
    /// See [`crate::Report::reasks`].
    pub reasks: Vec<ReAsk>,
}

/// Lets `member` have reported this in the running epoch, as if the report had been checked and executed.
pub fn report(state: &mut MemoryState, member: MemberIndex, spoken: Spoken) {
    let Spoken { held, passed, accused, reasks } = spoken;
    let seed = codec::hash("floe 1 ledger: synthetic opened seed", &member.0.to_be_bytes());
    let report = Opened { seed, held, passed, accused, reasks };
    let mut overlay = Overlay::new(state);
    Table::Reports.store(&mut overlay, Table::Reports.key(&[&member.0.to_be_bytes()]), &report);
    let changes = overlay.into_changes();
    state.apply(&changes);
}

/// The state at genesis.
///
/// # Errors
/// [`floe_types::genesis::GenesisError`] when no network can begin with it.
pub fn founded(genesis: &Genesis) -> Result<(Context, MemoryState), floe_types::genesis::GenesisError> {
    let mut state = MemoryState::new();
    state.apply(&begin(genesis)?);
    Ok((Context::of(genesis), state))
}
