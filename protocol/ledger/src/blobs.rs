//! The life of a blob in the state: registered, certified, extended, forgotten, and back again.
//!
//! ```text
//!            register            certify                last paid epoch ends
//!  (nothing) ───────► pending ───────────► defended ─────────────────────────► forgotten
//!                        │ deadline ends      │ register: counts at once           │ register
//!                        └────► lapsed        └──► defended longer                 └──► pending, certify: a NEW number
//! ```
//!
//! Every write here keeps four things together: the record by id, the record by sequence number, their two Merkle maps,
//! and the indexes by the epoch in which something ends. A boundary then visits what ends with it and nothing else.

use crate::coverage;
use crate::event::Event;
use crate::merkle::{self, Leaf, Map, Weight, value_hash};
use crate::money::{self, Pot};
use crate::records::{BlobRecord, Counters, Defence, Registration, RegistrationStatus, SequenceRecord};
use crate::sets::ShardSet;
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::{Table, number_at};
use floe_types::{BlobId, Epoch, RegistrationNumber, SequenceNumber, codec};

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

pub(crate) fn life(state: &dyn StateRead, number: SequenceNumber) -> Result<Option<SequenceRecord>, StateError> {
    Table::Sequence.load(state, &Table::Sequence.number(number.0))
}

fn put_record(overlay: &mut Overlay<'_>, blob: &BlobId, record: &BlobRecord) -> Result<(), StateError> {
    let value = codec::encode(record);
    let leaf = Leaf { key: blob.0.to_vec(), value: value_hash(&value), weight: Weight::default() };
    overlay.put(Table::Blobs.key(&[&blob.0]), value);
    merkle::put(overlay, Map::ById, leaf)
}

pub(crate) fn weight(life: &SequenceRecord) -> Weight {
    match life.defence {
        Defence::Defended => Weight { blobs: 1, bytes: u128::from(life.length) },
        Defence::Never | Defence::Forgotten => Weight::default(),
    }
}

fn put_life(overlay: &mut Overlay<'_>, number: SequenceNumber, life: &SequenceRecord) -> Result<(), StateError> {
    let value = codec::encode(life);
    let leaf = Leaf { key: number.0.to_be_bytes().to_vec(), value: value_hash(&value), weight: weight(life) };
    overlay.put(Table::Sequence.number(number.0), value);
    merkle::put(overlay, Map::BySequence, leaf)
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

/// Writes down a new registration, which is paid and pending.
pub(crate) fn enlist(overlay: &mut Overlay<'_>, registration: &Registration) -> Result<(), StateError> {
    let (blob, number) = (registration.blob, registration.number);
    let mut record = record(overlay, &blob)?.unwrap_or(BlobRecord {
        sequence: None,
        defence: Defence::Never,
        pending: 0,
        registrations: 0,
        newest: number,
    });
    record.pending += 1;
    record.registrations += 1;
    record.newest = number;
    put_record(overlay, &blob, &record)?;
    put_registration(overlay, registration);
    overlay.put(Table::BlobRegistrations.key(&[&blob.0, &number.0.to_be_bytes()]), Vec::new());
    overlay.put(Table::Deadlines.numbers(registration.deadline.0, number.0), Vec::new());
    Ok(())
}

/// Makes a pending registration count from epoch `now` on: its price is spread, its deadline is met.
fn count(overlay: &mut Overlay<'_>, registration: &mut Registration, now: Epoch) -> Result<BlobRecord, StateError> {
    money::spread(overlay, registration, now)?;
    registration.status = RegistrationStatus::Certified { epoch: now };
    put_registration(overlay, registration);
    overlay.delete(Table::Deadlines.numbers(registration.deadline.0, registration.number.0));
    let mut record =
        record(overlay, &registration.blob)?.ok_or_else(|| Table::Blobs.damaged("a registered blob has no record"))?;
    record.pending = record.pending.saturating_sub(1);
    Ok(record)
}

/// Gives the registered blob the next sequence number: from now on it is defended.
pub(crate) fn defend(
    overlay: &mut Overlay<'_>,
    registration: &mut Registration,
    covering: &ShardSet,
    now: Epoch,
) -> Result<SequenceNumber, StateError> {
    let mut counters = counters(overlay)?;
    let number = SequenceNumber(counters.next_sequence);
    for table in [Table::Coverage, Table::Judged] {
        coverage::append(overlay, table, number.0, covering)?;
    }
    counters.next_sequence += 1;
    put_counters(overlay, &counters);
    let mut record = count(overlay, registration, now)?;
    let previous = record.sequence.replace(number);
    record.defence = Defence::Defended;
    put_record(overlay, &registration.blob, &record)?;
    let life = SequenceRecord {
        blob: registration.blob,
        length: registration.length,
        registration: registration.number,
        first: registration.first,
        certified: now,
        last: registration.last,
        defence: Defence::Defended,
        previous,
    };
    put_life(overlay, number, &life)?;
    let newest_first = (u64::MAX - number.0).to_be_bytes();
    overlay.put(Table::BlobLives.key(&[&registration.blob.0, &newest_first]), Vec::new());
    overlay.put(Table::Expiries.numbers(life.last.0, number.0), Vec::new());
    overlay.put(Table::Owners.key(&[&registration.owner.0, &number.0.to_be_bytes()]), Vec::new());
    Ok(number)
}

/// Makes a registration of a defended blob count. Gives the last paid epoch before and after.
pub(crate) fn extend(
    overlay: &mut Overlay<'_>,
    registration: &mut Registration,
    (number, mut life): (SequenceNumber, SequenceRecord),
    now: Epoch,
) -> Result<(Epoch, Epoch), StateError> {
    let record = count(overlay, registration, now)?;
    put_record(overlay, &registration.blob, &record)?;
    overlay.put(Table::Owners.key(&[&registration.owner.0, &number.0.to_be_bytes()]), Vec::new());
    let before = life.last;
    if registration.last > before {
        overlay.delete(Table::Expiries.numbers(before.0, number.0));
        life.last = registration.last;
        overlay.put(Table::Expiries.numbers(life.last.0, number.0), Vec::new());
        put_life(overlay, number, &life)?;
    }
    Ok((before, life.last))
}

/// Pays back what was not certified by the end of `ended`.
pub(crate) fn lapse(overlay: &mut Overlay<'_>, ended: Epoch) -> Result<Vec<Event>, StateError> {
    let mut events = Vec::new();
    for (key, _) in Table::Deadlines.all(overlay, &ended.0.to_be_bytes())? {
        let number = RegistrationNumber(number_at(Table::Deadlines, &key, 8)?);
        let missing = || Table::Registrations.damaged("a deadline is of no registration");
        let mut registration = registration(overlay, number)?.ok_or_else(missing)?;
        let (blob, owner, refund) = (registration.blob, registration.owner, registration.price());
        money::credit(overlay, &owner, refund, Pot::Pending)?;
        registration.status = RegistrationStatus::Lapsed;
        put_registration(overlay, &registration);
        overlay.delete(Table::Deadlines.numbers(ended.0, number.0));
        if let Some(mut record) = record(overlay, &blob)? {
            record.pending = record.pending.saturating_sub(1);
            put_record(overlay, &blob, &record)?;
        }
        events.push(Event::RegistrationLapsed { registration: number, blob, owner, refund });
    }
    Ok(events)
}

/// Forgets what was paid until `ended`. Gives the blobs as they were.
pub(crate) fn forget(
    overlay: &mut Overlay<'_>,
    ended: Epoch,
) -> Result<Vec<(SequenceNumber, SequenceRecord)>, StateError> {
    let mut forgotten = Vec::new();
    for (key, _) in Table::Expiries.all(overlay, &ended.0.to_be_bytes())? {
        let number = SequenceNumber(number_at(Table::Expiries, &key, 8)?);
        let before = life(overlay, number)?.ok_or_else(|| Table::Sequence.damaged("an expiry is of no blob"))?;
        put_life(overlay, number, &SequenceRecord { defence: Defence::Forgotten, ..before.clone() })?;
        if let Some(mut record) = record(overlay, &before.blob)? {
            record.defence = Defence::Forgotten;
            put_record(overlay, &before.blob, &record)?;
        }
        overlay.delete(Table::Expiries.numbers(ended.0, number.0));
        forgotten.push((number, before));
    }
    Ok(forgotten)
}
