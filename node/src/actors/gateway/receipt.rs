//! What a client is told after a store.

use super::register::Registered;
use super::{Parts, problems};
use crate::service::Look;
use floe_api::Problem;
use floe_api::model::{Amount, Event, FloeStored, Receipt, Time};
use floe_ledger::{Block, Registration, views};
use floe_machines::ledger_view::LedgerView;
use floe_storage::Store;
use floe_types::{BlobId, Epoch, Frost, Height, Layout, TransactionId};
use std::time::Duration;

/// Blocks looked through for the transaction of an older registration.
const BLOCKS_MAX: u64 = 4_096;

/// What a store came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Came {
    pub blob: BlobId,
    pub length: u64,
    pub registered: Registered,
    pub certify: Option<(TransactionId, Height)>,
    pub acknowledged: u16,
    pub deletable: Deletable,
    pub took: Duration,
}

/// Whether the owner may end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deletable {
    Yes,
    No,
}

/// The receipt of a new blob. Blocks: reads the ledger.
pub(super) fn created(parts: &Parts, came: &Came) -> Result<Receipt, Problem> {
    let snapshot = parts.shared.store.snapshot();
    let shared = &parts.shared;
    let look = Look::new(&snapshot, &shared.context, shared.node, shared.coordinator.live())?;
    let Registered { number, transaction, height, first, last } = came.registered;
    let price = views::registration(&snapshot, number).map_err(|_| problems::stopping())?;
    let price = price.map_or(Frost::ZERO, |registration| registration.price());
    let fees = fee(&shared.store, transaction, height).0
        + came.certify.map_or(0, |(transaction, height)| fee(&shared.store, transaction, height).0);
    let certified = views::blob(&snapshot, &came.blob).ok().flatten().map(|view| view.status);
    let certified_epoch = match certified {
        Some(views::BlobStatus::Certified { epoch, .. }) => epoch,
        _ => look.head.epoch,
    };
    let paid = Frost(price.0.saturating_add(fees));
    Ok(Receipt {
        event: Event::Created,
        blob_id: came.blob,
        length: came.length,
        registration: number,
        transaction,
        registered_epoch: first,
        certified_epoch,
        deletable: came.deletable == Deletable::Yes,
        floe: stored(
            parts,
            &look,
            came.blob,
            came.length,
            Told { first, last, paid, acknowledged: came.acknowledged, took: came.took },
        )?,
    })
}

struct Told {
    first: Epoch,
    last: Epoch,
    paid: Frost,
    acknowledged: u16,
    took: Duration,
}

fn stored(parts: &Parts, look: &Look<'_>, blob: BlobId, length: u64, told: Told) -> Result<FloeStored, Problem> {
    let layout =
        Layout::new(look.committee.shards(), length).map_err(|error| problems::internal("a receipt", &error))?;
    let own = look.committee.index_of(&parts.shared.node).and_then(|index| look.committee.member(index));
    let balance = match own {
        Some(member) => views::account(look.state, &member.account).map(|account| account.balance),
        None => Ok(Frost::ZERO),
    };
    let head = look.blob_head(&blob, floe_api::service::Undefended::Allow)?;
    Ok(FloeStored {
        acknowledged_shards: told.acknowledged,
        total_shards: look.committee.shards(),
        encoded_bytes: layout.encoded_bytes(),
        term: look.term(told.first, told.last)?,
        now: Time::now(),
        standing: head.standing,
        price: Amount(look.price()?),
        paid: Amount(told.paid),
        balance: Amount(balance.map_err(|error| problems::internal("a receipt", &error))?),
        millis: u64::try_from(told.took.as_millis()).unwrap_or(u64::MAX),
    })
}

/// The receipt of a blob that is certified already, at least up to `last`; none when it is not. Blocks.
pub(super) fn existing(parts: &Parts, blob: &BlobId, last: Epoch, took: Duration) -> Result<Option<Receipt>, Problem> {
    let failed = |error: floe_ledger::StateError| problems::internal("looking for the blob", &error);
    let snapshot = parts.shared.store.snapshot();
    let Some(view) = views::blob(&snapshot, blob).map_err(failed)? else { return Ok(None) };
    let views::BlobStatus::Certified { epoch, .. } = view.status else { return Ok(None) };
    if view.last < last {
        return Ok(None);
    }
    let shared = &parts.shared;
    let look = Look::new(&snapshot, &shared.context, shared.node, shared.coordinator.live())?;
    let lasting = view.registrations.iter().rfind(|one| one.last == view.last);
    let Some(registration) = lasting.or(view.registrations.last()) else { return Ok(None) };
    let acknowledged = parts.ledger.look(|ledger| ledger.blob(blob).map_or(0, |facts| facts.covered() as u16));
    let told = Told { first: view.first, last: view.last, paid: Frost::ZERO, acknowledged, took };
    // Without the transaction, which may be older than what is looked through, there would be nothing to refer to.
    let Some(transaction) = transaction_of(&shared.store, registration, look.head.height) else { return Ok(None) };
    Ok(Some(Receipt {
        event: Event::AlreadyCertified,
        blob_id: *blob,
        length: view.length,
        registration: registration.number,
        transaction,
        registered_epoch: registration.first,
        certified_epoch: epoch,
        deletable: registration.persistence == floe_ledger::Persistence::Deletable,
        floe: stored(parts, &look, *blob, view.length, told)?,
    }))
}

fn block(store: &Store, height: Height) -> Option<Block> {
    let stored =
        store.block(height).inspect_err(|error| tracing::warn!(height = height.0, %error, "no block")).ok()??;
    Block::decode(&stored.block).ok()
}

/// The fee of a transaction in a block; nothing when the block is not here any more.
fn fee(store: &Store, transaction: TransactionId, height: Height) -> Frost {
    let block = block(store, height);
    let found = block.iter().flat_map(|block| &block.transactions).find(|signed| signed.id() == transaction);
    found.map_or(Frost::ZERO, |signed| signed.transaction.fee)
}

/// The transaction that made a registration, looked for in the blocks of the epoch in which it was executed.
fn transaction_of(store: &Store, registration: &Registration, head: Height) -> Option<TransactionId> {
    let snapshot = store.snapshot();
    let before = Epoch(registration.first.0.saturating_sub(1));
    let begin = views::epoch_record(&snapshot, before).ok()?.map_or(1, |record| record.height.0);
    let end = views::epoch_record(&snapshot, registration.first).ok()?.map_or(head.0, |record| record.height.0);
    let ours = |signed: &floe_ledger::SignedTransaction| match &signed.transaction.action {
        floe_ledger::Action::Register { blob, last, .. } => *blob == registration.blob && *last == registration.last,
        _ => false,
    };
    (begin..=end.min(begin.saturating_add(BLOCKS_MAX))).find_map(|height| {
        let block = block(store, Height(height))?;
        block.transactions.iter().find(|signed| ours(signed)).map(floe_ledger::SignedTransaction::id)
    })
}
