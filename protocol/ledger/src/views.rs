//! Answers out of a state: plain functions that read and change nothing. The same on every node of one height.

pub use crate::committees::*;
pub use crate::explain::*;
pub use crate::quotes::*;
pub use crate::rights::*;

use crate::blobs;
use crate::boundary;
use crate::coverage;
use crate::evidence::kept;
use crate::invalid::{self, InvalidRecord};
use crate::lifecycle;
use crate::merkle::{Map, MapProof};
use crate::money;
use crate::pages;
use crate::records::{
    Account, BlobRecord, Defence, EpochRecord, Head, Registration, RegistrationStatus, SequenceRecord, Totals,
};
use crate::rows;
use crate::sets::{MemberSet, ShardSet};
use crate::state::{StateError, StateRead};
use crate::tables::{Table, after, number_at};
use crate::transaction::Attributes;
use crate::verdict::{Judge, VerdictRecord};
use crate::version::{self, Protocol};
use crate::{Decision, Run};
use floe_types::{
    AccountId, BlobId, Committee, Epoch, Height, MemberIndex, NodeId, RegistrationNumber, SequenceNumber, ShardIndex,
};

/// The most registrations that a [`BlobView`] lists: the newest.
pub const REGISTRATIONS_SHOWN_MAX: usize = 64;
/// The most blobs in one page of [`blobs`].
pub const BLOBS_PAGE_MAX: usize = 1000;

/// Where the ledger stands.
///
/// # Errors
/// [`StateError`]; before genesis the head is missing.
pub fn head(state: &dyn StateRead) -> Result<Head, StateError> {
    Table::Head.must(state, &Table::Head.key(&[]))
}

/// The committee in force.
///
/// # Errors
/// [`StateError`].
pub fn committee(state: &dyn StateRead) -> Result<Committee, StateError> {
    Table::Committee.must(state, &Table::Committee.key(&[]))
}

/// An account; empty when it was never touched.
///
/// # Errors
/// [`StateError`].
pub fn account(state: &dyn StateRead, id: &AccountId) -> Result<Account, StateError> {
    money::account(state, id)
}

/// Where all WAL is.
///
/// # Errors
/// [`StateError`].
pub fn totals(state: &dyn StateRead) -> Result<Totals, StateError> {
    money::totals(state)
}

/// A registration by its number.
///
/// # Errors
/// [`StateError`].
pub fn registration(state: &dyn StateRead, number: RegistrationNumber) -> Result<Option<Registration>, StateError> {
    blobs::registration(state, number)
}

/// How far a blob has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobStatus {
    /// Paid, waiting for its certificate.
    Registered,
    /// Certified and paid for: defended.
    Certified {
        /// Its place in the order of certification.
        sequence: SequenceNumber,
        /// The epoch in which it was certified.
        epoch: Epoch,
    },
    /// Its paid term has ended and nobody registered it again.
    Forgotten {
        /// The place it had.
        sequence: SequenceNumber,
        /// The last epoch that was paid.
        last: Epoch,
        /// [`Defence::Forgotten`] when its term ended, [`Defence::Deleted`] when its owner ended it, [`Defence::Invalid`]
        /// when its encoding was shown to be inconsistent.
        cause: Defence,
    },
    /// Registered once, never certified in time; or shown to be inconsistent before ([`invalid`]).
    Lapsed,
}

/// All the ledger knows of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobView {
    /// The blob.
    pub blob: BlobId,
    /// Its length in bytes; before a certificate, what the newest registration says.
    pub length: u64,
    /// How far it has come.
    pub status: BlobStatus,
    /// First paid epoch of the certified registration that began its current (or last) life, else of the newest one.
    pub first: Epoch,
    /// Last paid epoch, likewise.
    pub last: Epoch,
    /// What its owner says it is, from the same registration.
    pub attributes: Attributes,
    /// Who paid that registration.
    pub owner: AccountId,
    /// The newest registrations, oldest of them first, at most [`REGISTRATIONS_SHOWN_MAX`].
    pub registrations: Vec<Registration>,
    /// How many there are.
    pub registrations_count: u64,
    /// The shards of which some holder attests its fragment now; empty before its first certificate. Whose they are says
    /// [`holders`].
    pub covered: ShardSet,
}

/// All the ledger knows of `blob`; none when it was never registered.
///
/// # Errors
/// [`StateError`].
pub fn blob(state: &dyn StateRead, blob: &BlobId) -> Result<Option<BlobView>, StateError> {
    let Some(record) = blobs::record(state, blob)? else { return Ok(None) };
    let life = match record.sequence {
        Some(number) => blobs::life(state, number)?.map(|life| (number, life)),
        None => None,
    };
    view(state, &rows::load(state)?, (blob, &record), life).map(Some)
}

fn view(
    state: &dyn StateRead,
    rows: &rows::Rows,
    (blob, record): (&BlobId, &BlobRecord),
    life: Option<(SequenceNumber, SequenceRecord)>,
) -> Result<BlobView, StateError> {
    let mut registrations = Vec::new();
    let mut next = Some(record.newest);
    while let Some(number) = next.filter(|_| registrations.len() < REGISTRATIONS_SHOWN_MAX) {
        let registration = blobs::named(state, number)?;
        next = registration.previous;
        registrations.push(registration);
    }
    registrations.reverse();
    let status = match &life {
        Some((sequence, life)) if life.defence == Defence::Defended => {
            BlobStatus::Certified { sequence: *sequence, epoch: life.certified }
        }
        _ if record.pending > 0 && record.defence != Defence::Invalid => BlobStatus::Registered,
        Some((sequence, life)) => BlobStatus::Forgotten { sequence: *sequence, last: life.last, cause: life.defence },
        None => BlobStatus::Lapsed,
    };
    let covered = match &life {
        Some((sequence, _)) => {
            let covering = coverage::covered(state, Table::Coverage, sequence.0, next_sequence(state)?.0)?;
            rows.shards(&covering)
        }
        None => ShardSet::new(),
    };
    // A life speaks for the blob, unless it is over and the blob is registered anew.
    let life = life.filter(|_| status != BlobStatus::Registered).map(|(_, life)| life);
    let number = life.as_ref().map_or(record.newest, |life| life.registration);
    let missing = || Table::Registrations.damaged("a blob names a registration that is missing");
    let speaks = blobs::registration(state, number)?.ok_or_else(missing)?;
    Ok(BlobView {
        blob: *blob,
        length: speaks.length,
        status,
        first: speaks.first,
        last: life.map_or(speaks.last, |life| life.last),
        attributes: speaks.attributes,
        owner: speaks.owner,
        registrations,
        registrations_count: record.registrations,
        covered,
    })
}

/// Certified blobs, those of `owner` only when one is named, in the order of certification from `from` on. At most `limit` and at most
/// [`BLOBS_PAGE_MAX`]; the next page begins after the last sequence number given. A blob that was certified again is at
/// its newest number only.
///
/// # Errors
/// [`StateError`].
pub fn blobs(
    state: &dyn StateRead,
    owner: Option<&AccountId>,
    from: SequenceNumber,
    limit: usize,
) -> Result<Vec<(SequenceNumber, BlobView)>, StateError> {
    let (table, prefix) = match owner {
        Some(owner) => (Table::Owners, blobs::owner_prefix(owner).to_vec()),
        None => (Table::Sequence, Vec::new()),
    };
    let limit = limit.min(BLOBS_PAGE_MAX);
    let rows = rows::load(state)?;
    let mut found = Vec::new();
    let mut from = from.0;
    while found.len() < limit {
        let page = table.page(state, &prefix, &from.to_be_bytes(), limit)?;
        if page.is_empty() {
            break;
        }
        for (key, _) in page {
            let number = SequenceNumber(number_at(table, &key, prefix.len())?);
            from = number.0.saturating_add(1);
            let Some(life) = blobs::life(state, number)? else { continue };
            let blob = life.blob;
            let Some(record) = blobs::record(state, &blob)? else { continue };
            if record.sequence == Some(number) && found.len() < limit {
                found.push((number, view(state, &rows, (&blob, &record), Some((number, life)))?));
            }
        }
    }
    Ok(found)
}

/// The number the next certified blob will get: how many there have been.
///
/// # Errors
/// [`StateError`].
pub fn next_sequence(state: &dyn StateRead) -> Result<SequenceNumber, StateError> {
    Ok(SequenceNumber(blobs::counters(state)?.next_sequence))
}

/// The life that has this sequence number: which blob, how long, until when.
///
/// # Errors
/// [`StateError`].
pub fn sequence(state: &dyn StateRead, number: SequenceNumber) -> Result<Option<SequenceRecord>, StateError> {
    blobs::life(state, number)
}

/// What a shortened id stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrefixMatch {
    /// No blob's id begins so, or the text cannot begin an id.
    None,
    /// Exactly this one's.
    One(BlobId),
    /// Several; the first few of them.
    Several(Vec<BlobId>),
}

/// The registered blobs whose id, as text, begins with `prefix`.
///
/// # Errors
/// [`StateError`].
pub fn blob_by_prefix(state: &dyn StateRead, prefix: &str) -> Result<PrefixMatch, StateError> {
    const SHOWN: usize = 8;
    let Some((least, most)) = prefix_bounds(prefix) else { return Ok(PrefixMatch::None) };
    let entries = state.range(&Table::Blobs.key(&[&least]), &after(Table::Blobs.key(&[&most])), SHOWN)?;
    let ids = entries.iter().filter_map(|(key, _)| Some(BlobId(key.get(1..)?.try_into().ok()?)));
    let ids: Vec<BlobId> = ids.filter(|id| id.to_string().starts_with(prefix)).collect();
    Ok(match ids.as_slice() {
        [] => PrefixMatch::None,
        [only] => PrefixMatch::One(*only),
        _ => PrefixMatch::Several(ids),
    })
}

/// The least and the largest id whose text begins with `prefix`: six bits a character, the rest zeros or ones.
fn prefix_bounds(prefix: &str) -> Option<([u8; 32], [u8; 32])> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if prefix.is_empty() || prefix.len() > 43 {
        return None;
    }
    let (mut least, mut most) = ([0u8; 32], [255u8; 32]);
    for (at, character) in prefix.bytes().enumerate() {
        let value = ALPHABET.iter().position(|known| *known == character)?;
        for bit in 0..6 {
            let place = at * 6 + bit;
            let (Some(low), Some(high)) = (least.get_mut(place / 8), most.get_mut(place / 8)) else { continue };
            let mask = 0x80u8 >> (place % 8);
            if value & (0x20 >> bit) != 0 {
                *low |= mask;
            } else {
                *high &= !mask;
            }
        }
    }
    Some((least, most))
}

/// What is remembered of an epoch that ended; none for the running one, later ones, and those 400 epochs back.
///
/// # Errors
/// [`StateError`].
pub fn epoch_record(state: &dyn StateRead, epoch: Epoch) -> Result<Option<EpochRecord>, StateError> {
    boundary::epoch_record(state, epoch)
}

/// The height of the boundary block that began the `epochs` newest ended epochs: blocks below it are older than that. `None` while
/// there are fewer, or when it is no longer remembered: nothing is to be dropped.
///
/// # Errors
/// [`StateError`].
pub fn history_begins(state: &dyn StateRead, epochs: u64) -> Result<Option<Height>, StateError> {
    let Some(before) = head(state)?.epoch.0.checked_sub(epochs.saturating_add(1)) else { return Ok(None) };
    Ok(boundary::epoch_record(state, Epoch(before))?.map(|record| record.height))
}

/// The newest epoch that was decided, when one is remembered.
///
/// # Errors
/// [`StateError`].
pub fn latest_decided(state: &dyn StateRead) -> Result<Option<EpochRecord>, StateError> {
    let mut epoch = head(state)?.epoch.0;
    while let Some(earlier) = epoch.checked_sub(1) {
        epoch = earlier;
        match boundary::epoch_record(state, Epoch(epoch))? {
            Some(record) if record.boundary.decision == Decision::Decided => return Ok(Some(record)),
            Some(_) => {}
            None => break,
        }
    }
    Ok(None)
}

/// The verdict on `blob` for `epoch`; none when the epoch has not ended, is no longer remembered, or the blob was not
/// certified by its end.
///
/// # Errors
/// [`StateError`].
pub fn verdict(state: &dyn StateRead, blob: &BlobId, epoch: Epoch) -> Result<Option<VerdictRecord>, StateError> {
    let Some(record) = boundary::epoch_record(state, epoch)? else { return Ok(None) };
    let Some((number, life)) = life_in(state, blob, epoch)? else { return Ok(None) };
    if life.defence.is_over() && life.last < epoch {
        return Ok(Some(match life.defence {
            Defence::Invalid => VerdictRecord::invalid(epoch),
            _ => VerdictRecord::forgotten(epoch),
        }));
    }
    let class = coverage::covered_in(state, epoch, number, next_sequence(state)?.0)?;
    if let Some(decided) = kept::verdict(state, epoch, &class)? {
        return Ok(Some(decided));
    }
    // Nothing that was defended had these rows: of a life whose end was moved back.
    let missing = || Table::PastCommittees.damaged("the committee of an epoch that is remembered is missing");
    let committee = lifecycle::committee_of(state, record.term)?.ok_or_else(missing)?;
    let judge = Judge::new(&committee, &record.participation(), epoch, rows::as_of(state, epoch)?);
    Ok(Some(judge.verdict(&class)))
}

/// What was shown of a blob whose encoding is inconsistent, and who checked it; none when nothing was.
///
/// # Errors
/// [`StateError`].
pub fn invalid(state: &dyn StateRead, blob: &BlobId) -> Result<Option<InvalidRecord>, StateError> {
    invalid::record(state, blob)
}

/// The newest life of `blob` that had begun by the end of `epoch`.
fn life_in(
    state: &dyn StateRead,
    blob: &BlobId,
    epoch: Epoch,
) -> Result<Option<(SequenceNumber, SequenceRecord)>, StateError> {
    let mut next = blobs::record(state, blob)?.and_then(|record| record.sequence);
    while let Some(number) = next {
        let Some(life) = blobs::life(state, number)? else { break };
        if life.certified <= epoch {
            return Ok(Some((number, life)));
        }
        next = life.previous;
    }
    Ok(None)
}

/// The verdicts of `epoch` in which the verdict on `blob` changed, newest first, at most `limit`, from at most 400 epochs.
///
/// Each epoch is looked up by itself, at the cost of the coverage that changed since: for people, not for loops.
///
/// # Errors
/// [`StateError`].
pub fn verdict_history(state: &dyn StateRead, blob: &BlobId, limit: usize) -> Result<Vec<VerdictRecord>, StateError> {
    let mut changes: Vec<VerdictRecord> = Vec::new();
    let mut epoch = head(state)?.epoch.0;
    while let Some(earlier) = epoch.checked_sub(1) {
        epoch = earlier;
        let Some(record) = verdict(state, blob, Epoch(epoch))? else { break };
        let full = changes.len() >= limit;
        match changes.last_mut() {
            // The same verdict as the epoch after: the change was no later than here.
            Some(last) if last.verdict == record.verdict => *last = record,
            _ if full => break,
            _ => changes.push(record),
        }
    }
    Ok(changes)
}

/// Whether `member` has reported on the running epoch, and what.
///
/// # Errors
/// [`StateError`].
pub fn report(state: &dyn StateRead, member: MemberIndex) -> Result<Option<MemberSet>, StateError> {
    Table::Reports.load(state, &Table::Reports.key(&[&member.0.to_be_bytes()]))
}

/// The sequence numbers that some row of `shard` covers, as runs. Forgotten numbers inside a run belong to it.
///
/// # Errors
/// [`StateError`].
pub fn coverage(state: &dyn StateRead, shard: ShardIndex) -> Result<Vec<Run>, StateError> {
    let rows = rows::load(state)?;
    let of_shard = rows.iter().filter(|(_, row)| row.shard == shard).map(|(id, _)| id).collect();
    coverage::runs_of(state, &of_shard, next_sequence(state)?.0)
}

/// The version of the protocol in force, and the next one once its activation is set.
///
/// # Errors
/// [`StateError`].
pub fn protocol(state: &dyn StateRead) -> Result<Protocol, StateError> {
    version::protocol(state)
}

/// The latest version of the protocol that `node` said it can follow.
///
/// # Errors
/// [`StateError`].
pub fn support(state: &dyn StateRead, node: &NodeId) -> Result<u32, StateError> {
    version::support(state, node)
}

/// Registrations that wait for a certificate, by the epoch whose end they lapse with, at most `limit`.
///
/// # Errors
/// [`StateError`].
pub fn pending(state: &dyn StateRead, limit: usize) -> Result<Vec<Registration>, StateError> {
    let mut found = Vec::new();
    for (key, _) in Table::Deadlines.page(state, &[], &[], limit)? {
        let number = RegistrationNumber(number_at(Table::Deadlines, &key, 8)?);
        let registration = blobs::registration(state, number)?;
        found.extend(registration.filter(|registration| registration.status == RegistrationStatus::Pending));
    }
    Ok(found)
}

/// Shows what the map by blob id holds now: the encoding of a [`BlobRecord`], or nothing: *never registered*. Checked
/// against the header of the block after which `state` stands.
///
/// # Errors
/// [`StateError`].
pub fn prove_blob(state: &dyn StateRead, blob: &BlobId) -> Result<MapProof, StateError> {
    pages::prove(state, Map::ById, &blob.0)
}

/// Shows what the map by sequence number holds now: the encoding of a [`SequenceRecord`], or nothing.
///
/// # Errors
/// [`StateError`].
pub fn prove_sequence(state: &dyn StateRead, number: SequenceNumber) -> Result<MapProof, StateError> {
    pages::prove(state, Map::BySequence, &number.0.to_be_bytes())
}
