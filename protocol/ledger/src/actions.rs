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
//! | `Attest`, `Withdraw` | not a member, ends at a blob that is not defended, nothing new |
//! | `Offer` | not a member, offered already |
//! | `Report` | not a member, another epoch, not its closing, a second one |

use crate::blobs;
use crate::coverage::{self, ATTEST_SEGMENTS_MAX, Change, Run};
use crate::event::Event;
use crate::execute::Context;
use crate::money::{self, Pot};
use crate::prices;
use crate::records::{Defence, Registration, RegistrationStatus};
use crate::refusal::{Halt, Refusal};
use crate::sets::{MemberSet, ShardSet};
use crate::state::{Overlay, StateRead};
use crate::tables::Table;
use crate::terms::Ask;
use crate::transaction::{Action, CheckedTransaction, confirmation_message, fee_min};
use floe_types::bls::BlsSignature;
use floe_types::{
    AccountId, BlobId, BlockTime, Committee, Epoch, Frost, MemberIndex, NodeId, RegistrationNumber, TransactionId,
};

/// Where a transaction is executed.
pub(crate) struct Scene<'a> {
    pub context: &'a Context,
    pub committee: &'a Committee,
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
        money::put_account(overlay, &sender, &account);
        money::debit(overlay, &sender, transaction.fee, Pot::Fees)?;
    }
    let mut acting = Acting { scene, overlay, transaction: checked.id(), sender };
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
        Action::Attest { member, runs } => acting.attest(member, runs),
        Action::Report { member, epoch, answered } => acting.report(member, *epoch, answered),
        Action::Extend { registration, last, price_max } => acting.extend(*registration, *last, *price_max),
        Action::Delete { registration } => acting.delete(*registration),
        Action::Renew { registration, budget } => acting.renew(*registration, *budget),
        Action::Offer { member, price } => acting.offer(member, *price),
        Action::Withdraw { member, runs } => acting.withdraw(member, runs),
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
            RegistrationStatus::Pending => Ok(found),
            RegistrationStatus::Certified { .. } | RegistrationStatus::Deleted { .. } => {
                Err(Refusal::AlreadyCertified { registration: number }.into())
            }
            RegistrationStatus::Lapsed => Err(Refusal::Lapsed { registration: number }.into()),
        }
    }

    /// Checks the quorum and the signature; gives the shards of those who signed. The cheap checks come first.
    fn confirmed(&self, certificate: &Certificate<'_>) -> Result<ShardSet, Refusal> {
        let committee = self.scene.committee;
        let members = committee.members().len();
        if usize::from(certificate.members.end()) > members {
            return Err(Refusal::MembersBeyond { members });
        }
        let named = certificate.members.iter().filter_map(|index| committee.member(index));
        let shards: ShardSet = named.flat_map(|member| member.shards.iter().copied()).collect();
        let (found, needed) = (shards.len(), committee.quorum());
        if found < needed {
            return Err(Refusal::BelowQuorum { found, needed });
        }
        let Certificate { blob, registration, version, signature, .. } = certificate;
        let network = &self.scene.context.network;
        let message = confirmation_message(network, committee.term(), *registration, blob, *version);
        let keys = committee.members().iter().map(|member| member.bls_key).collect();
        let signers = self.scene.context.memo.signers.of(keys).map_err(|_| Refusal::BadCertificate)?;
        let signs = |at: usize| certificate.members.contains(MemberIndex(at as u16));
        signers.verify(&signs, &message, signature).map_err(|_| Refusal::BadCertificate)?;
        Ok(shards)
    }

    fn certify(&mut self, certificate: &Certificate<'_>) -> Result<Vec<Event>, Halt> {
        let mut registration = self.pending(certificate)?;
        let shards = self.confirmed(certificate)?;
        let (transaction, blob) = (self.transaction, registration.blob);
        // Another registration was certified first: this one makes the same defence last longer.
        if let Some(life) = blobs::defended(self.overlay, &blob)? {
            if life.1.length != registration.length {
                let (kept, found) = (life.1.length, registration.length);
                return Err(Refusal::LengthMismatch { blob, kept, found }.into());
            }
            let run = Run { first: life.0, last: life.0 };
            self.change(run, &shards, Change::Cover)?;
            return Ok(vec![self.join(&mut registration, life)?]);
        }
        let (params, now) = (&self.scene.context.params, self.scene.epoch);
        let sequence = blobs::defend(self.overlay, params, &mut registration, &shards, now)?;
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
    fn member(&self, node: &NodeId) -> Result<MemberIndex, Refusal> {
        let index = self.scene.committee.index_of(node).ok_or(Refusal::NotMember)?;
        let member = self.scene.committee.member(index).filter(|member| member.account == self.sender);
        member.map(|_| index).ok_or(Refusal::NotMember)
    }

    fn attest(&mut self, node: &NodeId, runs: &[Run]) -> Result<Vec<Event>, Halt> {
        let (member, numbers) = self.declare(node, runs, Change::Cover)?;
        Ok(vec![Event::Attested { transaction: self.transaction, member, numbers }])
    }

    fn withdraw(&mut self, node: &NodeId, runs: &[Run]) -> Result<Vec<Event>, Halt> {
        let (member, numbers) = self.declare(node, runs, Change::Uncover)?;
        Ok(vec![Event::Withdrawn { transaction: self.transaction, member, numbers }])
    }

    /// Changes which shards cover `runs` by what the sender's node says it holds, or holds no more.
    fn declare(&mut self, node: &NodeId, runs: &[Run], change: Change) -> Result<(MemberIndex, u64), Halt> {
        let member = self.member(node)?;
        let shards: ShardSet =
            self.scene.committee.member(member).iter().flat_map(|member| member.shards.iter().copied()).collect();
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
            numbers += self.change(*run, &shards, change)?;
        }
        if numbers == 0 {
            return Err(Refusal::NothingNew.into());
        }
        Ok((member, numbers))
    }

    /// Changes coverage, to be judged by from the next epoch on. Gives how many numbers got or lost a shard.
    fn change(&mut self, run: Run, shards: &ShardSet, change: Change) -> Result<u64, Halt> {
        let mut counters = blobs::counters(self.overlay)?;
        let done = coverage::change(self.overlay, Table::Coverage, run, (shards, change), counters.next_sequence)?;
        if !done.before.is_empty() {
            let key = Table::Attested.number(counters.attested);
            Table::Attested.store(self.overlay, key, &(run, shards, change));
            counters.attested += 1;
            blobs::put_counters(self.overlay, &counters);
        }
        Ok(done.before.iter().map(|segment| segment.run.count()).sum())
    }

    fn offer(&mut self, node: &NodeId, price: Frost) -> Result<Vec<Event>, Halt> {
        let member = self.member(node)?;
        if prices::offer(self.overlay, node)? == Some(price) {
            return Err(Refusal::Unchanged.into());
        }
        prices::put_offer(self.overlay, node, price);
        Ok(vec![Event::Offered { transaction: self.transaction, member, price }])
    }

    fn report(&mut self, node: &NodeId, epoch: Epoch, answered: &MemberSet) -> Result<Vec<Event>, Halt> {
        let member = self.member(node)?;
        let members = self.scene.committee.members().len();
        if usize::from(answered.end()) > members {
            return Err(Refusal::MembersBeyond { members }.into());
        }
        let current = self.scene.epoch;
        if epoch != current {
            return Err(Refusal::OtherEpoch { found: epoch, current }.into());
        }
        let params = &self.scene.context.params;
        let open = params.epoch_millis.saturating_sub(params.closing_millis);
        let from = self.scene.epoch_began.plus_millis(open);
        if self.scene.time < from {
            return Err(Refusal::NotClosing { from }.into());
        }
        let key = Table::Reports.key(&[&member.0.to_be_bytes()]);
        if self.overlay.get(&key)?.is_some() {
            return Err(Refusal::AlreadyReported.into());
        }
        Table::Reports.store(self.overlay, key, answered);
        Ok(vec![Event::Reported { transaction: self.transaction, member, epoch }])
    }
}
