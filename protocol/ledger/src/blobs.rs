//! The life of a blob in the state: registered, certified, extended, forgotten, and back again.
//!
//! ```text
//!            register            certify                last paid epoch ends
//!  (nothing) ───────► pending ───────────► defended ─────────────────────────► forgotten
//!                        │ deadline ends      │ register: counts at once           │ register
//!                        └────► lapsed        │ extend, renew: defended longer     └──► pending, certify: a NEW number
//!                                             └ delete: defended as long as others last
//! ```
//!
//! A blob is defended until the last of its registrations ends, which is its *keeper*. A life with one registration needs
//! no more than that; with the second one, all that count are filed in [`Table::Terms`] by when they end, so that the next
//! keeper is found at once when one is ended early. Every registration begins no later than it counts, so there is never an
//! epoch in between for which nobody pays.
//!
//! Every write here keeps together the record by id, the record by sequence number, the leaves of their two Merkle maps,
//! the indexes by the epoch in which something ends, and the load of a shard. A boundary then visits what ends with it and
//! nothing else.

use crate::classes;
use crate::coverage;
use crate::event::Event;
use crate::fund;
use crate::merkle::{Map, Weight};
use crate::money::{self, Pot};
use crate::pages::{Novelty, Put};
use crate::records::{
    BlobRecord, Counters, Defence, Load, Registration, RegistrationStatus, SequenceRecord, StoredLife,
};
use crate::refusal::{Halt, Refusal};
use crate::rows::RowSet;
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::{Table, number_at};
use crate::terms;
use floe_types::{AccountId, BlobId, Epoch, Frost, Layout, Params, RegistrationNumber, SequenceNumber, codec};

/// The most registrations that end with an inconsistent blob, those first that would last longest. What more of them have paid
/// stays in the buckets, for holders of other blobs: each was paid for, so there is no telling how many somebody makes.
const VOIDED_MAX: usize = 256;

pub(crate) fn counters(state: &dyn StateRead) -> Result<Counters, StateError> {
    Table::Counters.must(state, &Table::Counters.key(&[]))
}

pub(crate) fn put_counters(overlay: &mut Overlay<'_>, counters: &Counters) {
    Table::Counters.store(overlay, Table::Counters.key(&[]), counters);
}

pub(crate) fn registration(
    state: &dyn StateRead,
    number: RegistrationNumber,
) -> Result<Option<Registration>, StateError> {
    Table::Registrations.load(state, &Table::Registrations.number(number.0))
}

pub(crate) fn put_registration(overlay: &mut Overlay<'_>, registration: &Registration) {
    let key = Table::Registrations.number(registration.number.0);
    Table::Registrations.store(overlay, key, registration);
}

pub(crate) fn record(state: &dyn StateRead, blob: &BlobId) -> Result<Option<BlobRecord>, StateError> {
    Table::Blobs.load(state, &Table::Blobs.key(&[&blob.0]))
}

/// The registration with this number, which something in the state names.
pub(crate) fn named(state: &dyn StateRead, number: RegistrationNumber) -> Result<Registration, StateError> {
    registration(state, number)?.ok_or_else(|| Table::Registrations.damaged("one is named and missing"))
}

pub(crate) fn life(state: &dyn StateRead, number: SequenceNumber) -> Result<Option<SequenceRecord>, StateError> {
    let stored: Option<StoredLife> = Table::Sequence.load(state, &Table::Sequence.number(number.0))?;
    let Some(stored) = stored else { return Ok(None) };
    let registration = named(state, stored.registration)?;
    Ok(Some(stored.whole(&registration)))
}

pub(crate) fn load(state: &dyn StateRead) -> Result<Load, StateError> {
    Table::Load.must(state, &Table::Load.key(&[]))
}

pub(crate) fn put_load(overlay: &mut Overlay<'_>, load: &Load) {
    Table::Load.store(overlay, Table::Load.key(&[]), load);
}

fn change_load(overlay: &mut Overlay<'_>, change: impl FnOnce(&mut Load)) -> Result<(), StateError> {
    let mut load = load(overlay)?;
    change(&mut load);
    put_load(overlay, &load);
    Ok(())
}

/// Bytes of one fragment of a registered blob. A length without a layout is never registered.
pub(crate) fn fragment_bytes(shards: u16, length: u64) -> u64 {
    Layout::new(shards, length).map_or(0, |layout| layout.fragment_bytes())
}

fn put_record(overlay: &mut Overlay<'_>, blob: &BlobId, record: &BlobRecord, novelty: Novelty) {
    let value = codec::encode(record);
    overlay.put_leaf(Map::ById, blob.0.to_vec(), Put { value: value.clone(), weight: Weight::default(), novelty });
    overlay.put(Table::Blobs.key(&[&blob.0]), value);
}

/// What a life weighs in its map.
pub(crate) fn weight(shards: u16, life: &SequenceRecord) -> Weight {
    match life.defence {
        Defence::Defended => {
            Weight { blobs: 1, bytes: u128::from(life.length), fragment_bytes: fragment_bytes(shards, life.length) }
        }
        Defence::Never | Defence::Forgotten | Defence::Deleted | Defence::Invalid => Weight::default(),
    }
}

/// A life on its way into the state.
struct Living<'a> {
    shards: u16,
    number: SequenceNumber,
    life: &'a SequenceRecord,
}

impl Living<'_> {
    fn put(&self, overlay: &mut Overlay<'_>, novelty: Novelty) {
        let life = self.life;
        let weight = weight(self.shards, life);
        let SequenceRecord { registration, certified, last, defence, keeper, previous, .. } = *life;
        let stored = StoredLife { registration, certified, last, defence, keeper, previous };
        Table::Sequence.store(overlay, Table::Sequence.number(self.number.0), &stored);
        let key = self.number.0.to_be_bytes().to_vec();
        overlay.put_leaf(Map::BySequence, key, Put { value: codec::encode(life), weight, novelty });
    }
}

/// The blob's current life, when it is defended.
pub(crate) fn defended(
    state: &dyn StateRead,
    blob: &BlobId,
) -> Result<Option<(SequenceNumber, SequenceRecord)>, StateError> {
    match record(state, blob)? {
        Some(BlobRecord { sequence: Some(number), defence: Defence::Defended, .. }) => {
            let life = life(state, number)?.ok_or_else(|| Table::Sequence.damaged("a defended blob has no record"))?;
            Ok(Some((number, life)))
        }
        _ => Ok(None),
    }
}

/// Writes down a new registration, which is paid and pending. `registration.previous` is set here.
pub(crate) fn enlist(
    overlay: &mut Overlay<'_>,
    params: &Params,
    registration: &mut Registration,
) -> Result<(), StateError> {
    let (blob, number) = (registration.blob, registration.number);
    let before = record(overlay, &blob)?;
    let novelty = if before.is_some() { Novelty::Known } else { Novelty::New };
    registration.previous = before.as_ref().map(|record| record.newest);
    let mut record = before.unwrap_or(BlobRecord {
        sequence: None,
        defence: Defence::Never,
        pending: 0,
        registrations: 0,
        newest: number,
    });
    record.pending += 1;
    record.registrations += 1;
    record.newest = number;
    put_record(overlay, &blob, &record, novelty);
    put_registration(overlay, registration);
    overlay.put(Table::Deadlines.numbers(registration.deadline.0, number.0), Vec::new());
    let bytes = fragment_bytes(params.shards, registration.length);
    change_load(overlay, |load| load.pending = load.pending.saturating_add(bytes))
}

/// Makes a pending registration count from epoch `now` on: its price is spread, its deadline is met.
fn count(
    overlay: &mut Overlay<'_>,
    params: &Params,
    registration: &mut Registration,
    now: Epoch,
) -> Result<BlobRecord, StateError> {
    money::shift(overlay, Pot::Pending, Pot::Buckets, registration.price())?;
    for piece in registration.pieces() {
        fund::spread(overlay, &piece, now)?;
    }
    registration.status = RegistrationStatus::Certified { epoch: now };
    put_registration(overlay, registration);
    overlay.delete(Table::Deadlines.numbers(registration.deadline.0, registration.number.0));
    let bytes = fragment_bytes(params.shards, registration.length);
    change_load(overlay, |load| load.pending = load.pending.saturating_sub(bytes))?;
    let mut record =
        record(overlay, &registration.blob)?.ok_or_else(|| Table::Blobs.damaged("a registered blob has no record"))?;
    record.pending = record.pending.saturating_sub(1);
    Ok(record)
}

/// The index entry by which an account finds a life.
fn owner_key(account: &AccountId, number: SequenceNumber) -> Vec<u8> {
    Table::Owners.key(&[owner_prefix(account), &number.0.to_be_bytes()])
}

/// Half of an account's id names it in the index: nobody finds another key with the same half.
pub(crate) fn owner_prefix(account: &AccountId) -> &[u8] {
    account.0.get(..16).unwrap_or_default()
}

/// Gives the registered blob the next sequence number: from now on it is defended.
pub(crate) fn defend(
    overlay: &mut Overlay<'_>,
    params: &Params,
    registration: &mut Registration,
    covering: &RowSet,
    now: Epoch,
) -> Result<SequenceNumber, StateError> {
    let mut counters = counters(overlay)?;
    let number = SequenceNumber(counters.next_sequence);
    for table in [Table::Coverage, Table::Judged] {
        coverage::append(overlay, table, number.0, covering)?;
    }
    counters.next_sequence += 1;
    put_counters(overlay, &counters);
    let mut record = count(overlay, params, registration, now)?;
    let previous = record.sequence.replace(number);
    record.defence = Defence::Defended;
    put_record(overlay, &registration.blob, &record, Novelty::Known);
    let life = SequenceRecord {
        blob: registration.blob,
        length: registration.length,
        registration: registration.number,
        first: registration.first,
        certified: now,
        last: registration.last,
        defence: Defence::Defended,
        keeper: registration.number,
        previous,
    };
    Living { shards: params.shards, number, life: &life }.put(overlay, Novelty::New);
    classes::add(overlay, covering, weight(params.shards, &life))?;
    overlay.put(Table::Expiries.numbers(life.last.0, number.0), Vec::new());
    overlay.put(owner_key(&registration.owner, number), Vec::new());
    let bytes = fragment_bytes(params.shards, life.length);
    change_load(overlay, |load| load.defended = load.defended.saturating_add(bytes))?;
    Ok(number)
}

/// Makes a registration of a defended blob count. Gives the last paid epoch before and after.
pub(crate) fn join(
    overlay: &mut Overlay<'_>,
    params: &Params,
    registration: &mut Registration,
    (number, mut life): (SequenceNumber, SequenceRecord),
    now: Epoch,
) -> Result<(Epoch, Epoch), StateError> {
    let record = count(overlay, params, registration, now)?;
    put_record(overlay, &registration.blob, &record, Novelty::Known);
    overlay.put(owner_key(&registration.owner, number), Vec::new());
    // From the second registration of a life on, all of them are filed.
    for (last, filed) in [(life.last, life.keeper), (registration.last, registration.number)] {
        overlay.put(term_key(number, last, filed), Vec::new());
    }
    let before = life.last;
    if registration.last > before {
        keep(overlay, params, (number, &mut life), (registration.last, registration.number));
    }
    Ok((before, life.last))
}

pub(crate) fn term_key(number: SequenceNumber, last: Epoch, registration: RegistrationNumber) -> Vec<u8> {
    let latest_first = u64::MAX - last.0;
    Table::Terms.key(&[&number.0.to_be_bytes(), &latest_first.to_be_bytes(), &registration.0.to_be_bytes()])
}

/// Makes a life last until the end of its keeper, which is these.
fn keep(
    overlay: &mut Overlay<'_>,
    params: &Params,
    (number, life): (SequenceNumber, &mut SequenceRecord),
    (last, keeper): (Epoch, RegistrationNumber),
) {
    overlay.delete(Table::Expiries.numbers(life.last.0, number.0));
    life.last = last;
    life.keeper = keeper;
    overlay.put(Table::Expiries.numbers(last.0, number.0), Vec::new());
    Living { shards: params.shards, number, life }.put(overlay, Novelty::Known);
}

/// What moving the end of a registration did to its blob.
pub(crate) struct Moved {
    pub sequence: SequenceNumber,
    /// The last epoch in which the blob was defended.
    pub from: Epoch,
    /// And is now.
    pub to: Epoch,
}

/// Writes down a counting registration whose last epoch was moved from `before`, and what follows for the blob.
pub(crate) fn moved(
    overlay: &mut Overlay<'_>,
    params: &Params,
    registration: &Registration,
    before: Epoch,
) -> Result<Moved, Halt> {
    put_registration(overlay, registration);
    let number = match record(overlay, &registration.blob)? {
        Some(BlobRecord { sequence: Some(number), defence: Defence::Defended, .. }) => number,
        // One of more registrations of an inconsistent blob than were ended with it.
        Some(BlobRecord { defence: Defence::Invalid, .. }) => {
            return Err(Refusal::NotCounting { registration: registration.number }.into());
        }
        _ => return Err(Table::Blobs.damaged("a registration counts for a blob that is not defended").into()),
    };
    let stored: StoredLife = Table::Sequence.must(overlay, &Table::Sequence.number(number.0))?;
    let mut life = match stored.registration == registration.number {
        true => stored.whole(registration),
        false => stored.whole(&named(overlay, stored.registration)?),
    };
    let defended_before = life.last;
    // The keeper is filed when the life has more than one registration.
    let several = overlay.get(&term_key(number, life.last, life.keeper))?.is_some();
    if several {
        overlay.delete(term_key(number, before, registration.number));
        overlay.put(term_key(number, registration.last, registration.number), Vec::new());
    }
    let keeper = match several {
        false => (registration.last, registration.number),
        true => {
            let page = Table::Terms.page(overlay, &number.0.to_be_bytes(), &[], 1)?;
            let (key, _) = page.first().ok_or_else(|| Table::Terms.damaged("a filed life has no term"))?;
            let (last, keeper) = (number_at(Table::Terms, key, 8)?, number_at(Table::Terms, key, 16)?);
            (Epoch(u64::MAX - last), RegistrationNumber(keeper))
        }
    };
    if keeper != (life.last, life.keeper) {
        keep(overlay, params, (number, &mut life), keeper);
    }
    Ok(Moved { sequence: number, from: defended_before, to: life.last })
}

/// Drops an inconsistent blob: it is defended no more, from epoch `now` on. Gives its number when it was defended, and what
/// the reserve got of what was paid for it.
pub(crate) fn invalidate(
    overlay: &mut Overlay<'_>,
    params: &Params,
    blob: &BlobId,
    now: Epoch,
) -> Result<(Option<SequenceNumber>, Frost), StateError> {
    let living = defended(overlay, blob)?;
    if let Some(mut record) = record(overlay, blob)? {
        record.defence = Defence::Invalid;
        put_record(overlay, blob, &record, Novelty::Known);
    }
    let Some((number, mut life)) = living else { return Ok((None, Frost::ZERO)) };
    let rows = coverage::covered(overlay, Table::Judged, number.0, counters(overlay)?.next_sequence)?;
    classes::take(overlay, &rows, weight(params.shards, &life))?;
    let bytes = fragment_bytes(params.shards, life.length);
    change_load(overlay, |load| load.defended = load.defended.saturating_sub(bytes))?;
    let mut filed = Vec::new();
    for (key, _) in Table::Terms.page(overlay, &number.0.to_be_bytes(), &[], VOIDED_MAX)? {
        filed.push(RegistrationNumber(number_at(Table::Terms, &key, 16)?));
    }
    if filed.is_empty() {
        filed.push(life.keeper);
    }
    let mut reserve = 0u64;
    for registration in filed {
        reserve = reserve.saturating_add(terms::void(overlay, registration, now)?.0);
    }
    overlay.delete(Table::Expiries.numbers(life.last.0, number.0));
    // The boundary of this epoch notes it.
    overlay.put(Table::Expiries.numbers(now.0, number.0), Vec::new());
    life.last = Epoch(now.0.saturating_sub(1));
    life.defence = Defence::Invalid;
    Living { shards: params.shards, number, life: &life }.put(overlay, Novelty::Known);
    Ok((Some(number), Frost(reserve)))
}

/// Pays back what was not certified by the end of `ended`.
pub(crate) fn lapse(overlay: &mut Overlay<'_>, params: &Params, ended: Epoch) -> Result<Vec<Event>, StateError> {
    let mut events = Vec::new();
    for (key, _) in Table::Deadlines.all(overlay, &ended.0.to_be_bytes())? {
        let number = RegistrationNumber(number_at(Table::Deadlines, &key, 8)?);
        let mut registration = named(overlay, number)?;
        let (blob, owner, refund) = (registration.blob, registration.owner, registration.price());
        money::credit(overlay, &owner, refund, Pot::Pending)?;
        registration.status = RegistrationStatus::Lapsed;
        put_registration(overlay, &registration);
        overlay.delete(Table::Deadlines.numbers(ended.0, number.0));
        let bytes = fragment_bytes(params.shards, registration.length);
        change_load(overlay, |load| load.pending = load.pending.saturating_sub(bytes))?;
        if let Some(mut record) = record(overlay, &blob)? {
            record.pending = record.pending.saturating_sub(1);
            put_record(overlay, &blob, &record, Novelty::Known);
        }
        events.push(Event::RegistrationLapsed { registration: number, blob, owner, refund });
    }
    Ok(events)
}

/// Forgets what was paid until `ended`. Gives the blobs as they were, but for the reason; with them, those that were found
/// invalid in that epoch.
pub(crate) fn forget(
    overlay: &mut Overlay<'_>,
    params: &Params,
    ended: Epoch,
) -> Result<Vec<(SequenceNumber, SequenceRecord)>, StateError> {
    let mut forgotten = Vec::new();
    let mut freed = 0u64;
    for (key, _) in Table::Expiries.all(overlay, &ended.0.to_be_bytes())? {
        let number = SequenceNumber(number_at(Table::Expiries, &key, 8)?);
        let mut life = life(overlay, number)?.ok_or_else(|| Table::Sequence.damaged("an expiry is of no blob"))?;
        if life.defence == Defence::Invalid {
            overlay.delete(Table::Expiries.numbers(ended.0, number.0));
            forgotten.push((number, life));
            continue;
        }
        life.defence = match named(overlay, life.keeper)?.status {
            RegistrationStatus::Deleted { .. } => Defence::Deleted,
            _ => Defence::Forgotten,
        };
        Living { shards: params.shards, number, life: &life }.put(overlay, Novelty::Known);
        if let Some(mut record) = record(overlay, &life.blob)? {
            record.defence = life.defence;
            put_record(overlay, &life.blob, &record, Novelty::Known);
        }
        overlay.delete(Table::Expiries.numbers(ended.0, number.0));
        freed = freed.saturating_add(fragment_bytes(params.shards, life.length));
        forgotten.push((number, life));
    }
    if !forgotten.is_empty() {
        change_load(overlay, |load| load.defended = load.defended.saturating_sub(freed))?;
    }
    Ok(forgotten)
}
