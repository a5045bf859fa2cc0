//! Executing one transaction: what each action asks for, checks and changes.
//!
//! The caller gives an overlay of its own to every transaction and drops it when this refuses, so that a refused
//! transaction leaves no trace, not even its fee: it is not in the block.
//!
//! | action | refused when, beyond nonce, fee and balance |
//! | --- | --- |
//! | `Transfer` | nothing is moved |
//! | `Register`, `Extend`, `Delete`, `Renew` | see [`crate::terms`] |
//! | `Certify` | no such pending registration of this blob, fewer than `n - f` shards, not their signature |
//! | `Attest`, `Withdraw` | no row of a shard named, ends at a blob that is not defended, nothing new |
//! | `Offer` | not a member, offered already |
//! | `Commit`, `Report` | see [`crate::reports`] |
//! | `Support` | not a member, not above what it said before |
//! | `Invalid` | see [`crate::invalid`] |
//! | `Join`, `Stake`, `Leave`, `Describe`, `VoteKey`, `Evidence` | see [`crate::candidacy`] |

use crate::blobs;
use crate::candidacy::Asking;
use crate::candidates;
use crate::coverage::{self, ATTEST_SEGMENTS_MAX, Change, Run};
use crate::event::Event;
use crate::execute::Context;
use crate::lifecycle;
use crate::money::{self, Pot};
use crate::prices;
use crate::records::{Defence, Registration, RegistrationStatus};
use crate::refusal::{Halt, Refusal};
use crate::rows::{RowId, RowSet, Rows};
use crate::sets::{MemberSet, ShardSet};
use crate::state::Overlay;
use crate::tables::Table;
use crate::terms::Ask;
use crate::transaction::{Action, CheckedTransaction, confirmation_message, fee_min};
use crate::version;
use floe_types::bls::BlsSignature;
use floe_types::{
    AccountId, BlobId, BlockTime, Committee, Epoch, Frost, MemberIndex, NodeId, RegistrationNumber, ShardIndex,
    TransactionId,
};

/// Where a transaction is executed.
pub(crate) struct Scene<'a> {
    pub context: &'a Context,
    pub committee: &'a Committee,
    /// The rows of the block's epoch.
    pub rows: &'a Rows,
    /// The block's epoch.
    pub epoch: Epoch,
    pub epoch_began: BlockTime,
    /// The block's time.
    pub time: BlockTime,
    /// The price in force.
    pub price: Frost,
    /// See [`crate::terms::seat_bytes`].
    pub seat_bytes: u64,
}

/// One transaction on its way.
pub(crate) struct Acting<'s, 'o, 'b> {
    pub scene: &'s Scene<'s>,
    pub overlay: &'o mut Overlay<'b>,
    pub transaction: TransactionId,
    pub sender: AccountId,
}

/// Executes `checked` and says what happened.
pub(crate) fn execute(
    overlay: &mut Overlay<'_>,
    scene: &Scene<'_>,
    checked: &CheckedTransaction,
) -> Result<Vec<Event>, Halt> {
    let transaction = checked.transaction();
    let sender = transaction.sender;
    if !transaction.action.is_report() {
        let least = fee_min(&scene.context.params, &transaction.action, checked.bytes()).ok_or(Refusal::Overflow)?;
        if transaction.fee < least {
            return Err(Refusal::FeeTooLow { found: transaction.fee, least }.into());
        }
        let mut account = money::account(overlay, &sender)?;
        if transaction.nonce != account.nonce {
            return Err(Refusal::Nonce { found: transaction.nonce, expected: account.nonce }.into());
        }
        account.nonce = account.nonce.checked_add(1).ok_or(Refusal::Overflow)?;
        money::debit_from(overlay, (&sender, account), transaction.fee, Pot::Fees)?;
    }
    let asking = Asking { scene, transaction: checked.id(), sender };
    let mut acting = Acting { scene, overlay: &mut *overlay, transaction: checked.id(), sender };
    let events = match &transaction.action {
        Action::Transfer { to, amount } => acting.transfer(to, *amount),
        Action::Register { blob, length, first, last, price_max, persistence, attributes } => acting.register(&Ask {
            blob: *blob,
            length: *length,
            first: *first,
            last: *last,
            price_max: *price_max,
            persistence: *persistence,
            attributes,
        }),
        Action::Certify { blob, registration, version, members, signature } => acting.certify(&Certificate {
            blob: *blob,
            registration: *registration,
            version: *version,
            members,
            signature,
        }),
        Action::Attest { member, shards, runs } => acting.attest(member, shards, runs),
        Action::Commit { member, epoch, root } => acting.commit(member, *epoch, *root),
        Action::Report(report) => acting.report(report),
        Action::Support { member, version } => acting.support(member, *version),
        Action::Join(join) => asking.join(overlay, join),
        Action::Stake { node, change } => asking.stake(overlay, node, *change),
        Action::Leave { node } => asking.leave(overlay, node),
        Action::Describe(said) => asking.describe(overlay, said),
        Action::VoteKey(said) => asking.announce(overlay, said),
        Action::Evidence(votes) => asking.accuse(overlay, votes),
        Action::Extend { registration, last, price_max } => acting.extend(*registration, *last, *price_max),
        Action::Delete { registration } => acting.delete(*registration),
        Action::Renew { registration, budget } => acting.renew(*registration, *budget),
        Action::Offer { member, price } => acting.offer(member, *price),
        Action::Withdraw { member, shards, runs } => acting.withdraw(member, shards, runs),
        Action::Invalid(shown) => acting.invalidate(shown),
    }?;
    money::assert_conserved(overlay)?;
    Ok(events)
}

/// What a `Certify` shows.
struct Certificate<'a> {
    blob: BlobId,
    registration: RegistrationNumber,
    version: u8,
    members: &'a MemberSet,
    signature: &'a BlsSignature,
}

impl Acting<'_, '_, '_> {
    fn transfer(&mut self, to: &AccountId, amount: Frost) -> Result<Vec<Event>, Halt> {
        money::transfer(self.overlay, &self.sender, to, amount)?;
        let transaction = self.transaction;
        Ok(vec![Event::Transferred { transaction, from: self.sender, to: *to, amount }])
    }

    /// The pending registration that a certificate is for.
    fn pending(&self, certificate: &Certificate<'_>) -> Result<Registration, Halt> {
        let number = certificate.registration;
        let found = blobs::registration(self.overlay, number)?.filter(|found| found.blob == certificate.blob);
        let found = found.ok_or(Refusal::NoRegistration { registration: number })?;
        match found.status {
            RegistrationStatus::Pending => {
                let record = blobs::record(self.overlay, &found.blob)?;
                match record.is_some_and(|record| record.defence == Defence::Invalid) {
                    true => Err(Refusal::BlobInvalid { blob: found.blob }.into()),
                    false => Ok(found),
                }
            }
            RegistrationStatus::Certified { .. } | RegistrationStatus::Deleted { .. } => {
                Err(Refusal::AlreadyCertified { registration: number }.into())
            }
            RegistrationStatus::Lapsed => Err(Refusal::Lapsed { registration: number }.into()),
        }
    }

    /// Checks the quorum and the signature; gives the rows of those who signed. The cheap checks come first.
    ///
    /// In the first epoch of a term what the committee before confirmed still counts, so that no store fails because a
    /// term begins: those who signed keep what they had, as former holders if their seats have moved.
    fn confirmed(&self, certificate: &Certificate<'_>) -> Result<RowSet, Halt> {
        let running = self.scene.committee;
        let refusal = match self.confirmed_by(running, certificate) {
            Ok(rows) => return Ok(rows),
            Err(refusal) => refusal,
        };
        let term = running.term();
        if self.term_begins()
            && let Some(before) = lifecycle::past_committee(self.overlay, term - 1)?
            && let Ok(rows) = self.confirmed_by(&before, certificate)
        {
            return Ok(rows);
        }
        Err(refusal.into())
    }

    /// Whether the running epoch is the first of a term that is not the network's first.
    pub(crate) fn term_begins(&self) -> bool {
        let term = self.scene.committee.term();
        term > 1 && self.scene.context.params.term_of(Epoch(self.scene.epoch.0.saturating_sub(1))) < term
    }

    fn confirmed_by(&self, committee: &Committee, certificate: &Certificate<'_>) -> Result<RowSet, Refusal> {
        let members = committee.members().len();
        if usize::from(certificate.members.end()) > members {
            return Err(Refusal::MembersBeyond { members });
        }
        let signers: Vec<_> = certificate.members.iter().filter_map(|index| committee.member(index)).collect();
        let found = signers.iter().map(|member| member.shards.len()).sum::<usize>() as u16;
        let needed = committee.quorum();
        if found < needed {
            return Err(Refusal::BelowQuorum { found, needed });
        }
        let Certificate { blob, registration, version, signature, .. } = certificate;
        let network = &self.scene.context.network;
        let message = confirmation_message(network, committee.term(), *registration, blob, *version);
        let keys = committee.members().iter().map(|member| member.bls_key).collect();
        let decoded = self.scene.context.memo.signers.of(keys).map_err(|_| Refusal::BadCertificate)?;
        let signs = |at: usize| certificate.members.contains(MemberIndex(at as u16));
        decoded.verify(&signs, &message, signature).map_err(|_| Refusal::BadCertificate)?;
        let held = signers.iter().flat_map(|member| member.shards.iter().map(|shard| (*shard, member.node)));
        let row = |(shard, node)| self.row(shard, &node);
        Ok(held.filter_map(row).collect())
    }

    /// The row of this holder of this shard: nearly always its seat's.
    fn row(&self, shard: ShardIndex, node: &NodeId) -> Option<RowId> {
        let rows = self.scene.rows;
        let seat = rows.seat(shard).filter(|seat| rows.get(*seat).is_some_and(|row| row.holder == *node));
        seat.or_else(|| rows.find(shard, node))
    }

    fn certify(&mut self, certificate: &Certificate<'_>) -> Result<Vec<Event>, Halt> {
        let mut registration = self.pending(certificate)?;
        let rows = self.confirmed(certificate)?;
        let (transaction, blob) = (self.transaction, registration.blob);
        // Another registration was certified first: this one makes the same defence last longer.
        if let Some(life) = blobs::defended(self.overlay, &blob)? {
            if life.1.length != registration.length {
                let (kept, found) = (life.1.length, registration.length);
                return Err(Refusal::LengthMismatch { blob, kept, found }.into());
            }
            let run = Run { first: life.0, last: life.0 };
            self.change(run, &rows, Change::Cover)?;
            return Ok(vec![self.join(&mut registration, life)?]);
        }
        let (params, now) = (&self.scene.context.params, self.scene.epoch);
        let sequence = blobs::defend(self.overlay, params, &mut registration, &rows, now)?;
        Ok(vec![Event::Certified {
            transaction,
            registration: registration.number,
            blob,
            sequence,
            length: registration.length,
            last: registration.last,
        }])
    }

    /// The sender's member.
    pub(crate) fn member(&self, node: &NodeId) -> Result<MemberIndex, Refusal> {
        let index = self.scene.committee.index_of(node).ok_or(Refusal::NotMember)?;
        let member = self.scene.committee.member(index).filter(|member| member.account == self.sender);
        member.map(|_| index).ok_or(Refusal::NotMember)
    }

    /// The sender's rows of these shards.
    fn rows(&self, node: &NodeId, shards: &ShardSet) -> Result<RowSet, Halt> {
        let speaks = candidates::candidate(self.overlay, node)?.is_some_and(|found| found.account == self.sender);
        if !speaks {
            return Err(Refusal::NotMember.into());
        }
        let row = |shard: ShardIndex| self.row(shard, node).ok_or(Refusal::NotHolder { shard: shard.0 });
        Ok(shards.iter().map(row).collect::<Result<RowSet, Refusal>>()?)
    }

    fn attest(&mut self, node: &NodeId, shards: &ShardSet, runs: &[Run]) -> Result<Vec<Event>, Halt> {
        let numbers = self.declare((node, shards), runs, Change::Cover)?;
        Ok(vec![Event::Attested { transaction: self.transaction, node: *node, numbers }])
    }

    fn withdraw(&mut self, node: &NodeId, shards: &ShardSet, runs: &[Run]) -> Result<Vec<Event>, Halt> {
        let numbers = self.declare((node, shards), runs, Change::Uncover)?;
        Ok(vec![Event::Withdrawn { transaction: self.transaction, node: *node, numbers }])
    }

    /// Changes which rows cover `runs` by what the sender's node says it holds of these shards, or holds no more. Gives how
    /// many numbers got or lost a row.
    fn declare(&mut self, (node, shards): (&NodeId, &ShardSet), runs: &[Run], change: Change) -> Result<u64, Halt> {
        let rows = self.rows(node, shards)?;
        let end = blobs::counters(self.overlay)?.next_sequence;
        let (mut touched, mut numbers) = (0usize, 0u64);
        for run in runs {
            for number in [run.first, run.last] {
                let life = if number.0 < end { blobs::life(self.overlay, number)? } else { None };
                if life.is_none_or(|life| life.defence != Defence::Defended) {
                    return Err(Refusal::NotDefended { number: number.0 }.into());
                }
            }
            // Looked at with a limit before anything is done with it.
            touched += coverage::touched(self.overlay, Table::Coverage, *run, end, ATTEST_SEGMENTS_MAX)?;
            if touched > ATTEST_SEGMENTS_MAX {
                return Err(Refusal::TooManySegments { max: ATTEST_SEGMENTS_MAX }.into());
            }
            numbers += self.change(*run, &rows, change)?;
        }
        if numbers == 0 {
            return Err(Refusal::NothingNew.into());
        }
        Ok(numbers)
    }

    /// Changes coverage, to be judged by from the next epoch on. Gives how many numbers got or lost a row.
    fn change(&mut self, run: Run, rows: &RowSet, change: Change) -> Result<u64, Halt> {
        let mut counters = blobs::counters(self.overlay)?;
        let altered = coverage::change(self.overlay, Table::Coverage, run, (rows, change), counters.next_sequence)?;
        if !altered.is_empty() {
            let key = Table::Attested.number(counters.attested);
            Table::Attested.store(self.overlay, key, &(run, rows, change));
            counters.attested += 1;
            blobs::put_counters(self.overlay, &counters);
        }
        Ok(altered.iter().map(|part| part.run.count()).sum())
    }

    fn support(&mut self, node: &NodeId, version: u32) -> Result<Vec<Event>, Halt> {
        self.member(node)?;
        let said = version::support(self.overlay, node)?;
        if version <= said {
            return Err(Refusal::SupportKnown { found: version, said }.into());
        }
        version::put_support(self.overlay, node, version);
        Ok(vec![Event::Supported { transaction: self.transaction, node: *node, version }])
    }

    fn offer(&mut self, node: &NodeId, price: Frost) -> Result<Vec<Event>, Halt> {
        let member = self.member(node)?;
        if prices::offer(self.overlay, node)? == Some(price) {
            return Err(Refusal::Unchanged.into());
        }
        prices::put_offer(self.overlay, node, price);
        Ok(vec![Event::Offered { transaction: self.transaction, member, price }])
    }
}
