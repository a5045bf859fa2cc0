//! What happened in a block, for whoever acts on it: gateways that wait, custody that files fragments, recorders that count.
//!
//! Events follow from the block and the state before it; they are not part of the state and not hashed. They come in the
//! order in which things happened, those of a boundary first.

use crate::election::Move;
use crate::merkle::Root;
use crate::plan::Planned;
use crate::records::Defence;
use crate::rows::RowId;
use crate::verdict::Decision;
use floe_erasure::{EvidenceKind, SliverId};
use floe_risk::reliability::Cause;
use floe_types::{
    AccountId, BlobId, Epoch, Frost, MemberIndex, NodeId, RegistrationNumber, SequenceNumber, ShardIndex,
    TransactionId, VoteKey,
};
use serde::{Deserialize, Serialize};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// WAL moved between accounts.
    Transferred {
        /// By which transaction.
        transaction: TransactionId,
        /// From whom.
        from: AccountId,
        /// To whom.
        to: AccountId,
        /// How much.
        amount: Frost,
    },
    /// A registration was paid.
    Registered {
        /// By which transaction.
        transaction: TransactionId,
        /// Its number, which confirmations name.
        registration: RegistrationNumber,
        /// The blob.
        blob: BlobId,
        /// Who paid.
        owner: AccountId,
        /// Bytes of the blob.
        length: u64,
        /// First paid epoch.
        first: Epoch,
        /// Last paid epoch.
        last: Epoch,
        /// What was paid.
        price: Frost,
        /// Whether a certificate is needed.
        standing: Standing,
    },
    /// A blob got its certificate and is defended from now on.
    Certified {
        /// By which transaction.
        transaction: TransactionId,
        /// For which registration.
        registration: RegistrationNumber,
        /// The blob.
        blob: BlobId,
        /// Its place in the order of certification.
        sequence: SequenceNumber,
        /// Bytes of the blob.
        length: u64,
        /// Last paid epoch.
        last: Epoch,
    },
    /// A defended blob's last paid epoch moved.
    Extended {
        /// By which transaction.
        transaction: TransactionId,
        /// By which registration.
        registration: RegistrationNumber,
        /// The blob.
        blob: BlobId,
        /// Its place in the order of certification.
        sequence: SequenceNumber,
        /// Last paid epoch before.
        from: Epoch,
        /// Last paid epoch now.
        to: Epoch,
        /// What the sender paid for it; nothing for a registration that was paid when it was made.
        price: Frost,
    },
    /// A holder attested fragments.
    Attested {
        /// By which transaction.
        transaction: TransactionId,
        /// The holder.
        node: NodeId,
        /// Blobs, live or dead, that got a covering row.
        numbers: u64,
    },
    /// A member committed to what it saw of an epoch.
    Committed {
        /// The transaction.
        transaction: TransactionId,
        /// The member.
        member: MemberIndex,
        /// The epoch.
        epoch: Epoch,
        /// The root of its outcomes.
        root: Root,
    },
    /// A member's report was taken.
    Reported {
        /// By which transaction.
        transaction: TransactionId,
        /// The member.
        member: MemberIndex,
        /// The epoch.
        epoch: Epoch,
    },
    /// A member said which version of the protocol it can follow.
    Supported {
        /// By which transaction.
        transaction: TransactionId,
        /// The member.
        node: NodeId,
        /// The latest version.
        version: u32,
    },
    /// A registration was not certified in time; its price went back.
    RegistrationLapsed {
        /// Its number.
        registration: RegistrationNumber,
        /// The blob.
        blob: BlobId,
        /// Who got the price back.
        owner: AccountId,
        /// How much.
        refund: Frost,
    },
    /// A registration was ended by its owner.
    Deleted {
        /// By which transaction.
        transaction: TransactionId,
        /// Its number.
        registration: RegistrationNumber,
        /// The blob.
        blob: BlobId,
        /// The last epoch of the registration now.
        last: Epoch,
        /// The last epoch in which the blob is defended now, by whichever registration.
        defended_until: Epoch,
        /// What came back to the owner, the rest of a renewal budget included.
        refund: Frost,
    },
    /// WAL was set aside for renewals, or taken back.
    BudgetSet {
        /// By which transaction.
        transaction: TransactionId,
        /// The registration it is for.
        registration: RegistrationNumber,
        /// What is set aside now.
        budget: Frost,
    },
    /// A registration that would have ended was renewed from its budget.
    Renewed {
        /// Its number.
        registration: RegistrationNumber,
        /// The blob.
        blob: BlobId,
        /// Whose registration and budget it is.
        owner: AccountId,
        /// Last paid epoch before.
        from: Epoch,
        /// Last paid epoch now.
        to: Epoch,
        /// What the epochs cost.
        price: Frost,
        /// What is left of the budget.
        left: Frost,
    },
    /// A renewal budget does not last for another epoch; what was left of it came back.
    BudgetReturned {
        /// The registration it was for.
        registration: RegistrationNumber,
        /// The blob.
        blob: BlobId,
        /// Who got it.
        owner: AccountId,
        /// How much.
        amount: Frost,
    },
    /// A member's standing offer changed.
    Offered {
        /// By which transaction.
        transaction: TransactionId,
        /// The member.
        member: MemberIndex,
        /// What it asks now.
        price: Frost,
    },
    /// A holder withdrew fragments that it had attested.
    Withdrawn {
        /// By which transaction.
        transaction: TransactionId,
        /// The holder.
        node: NodeId,
        /// Blobs, live or dead, that lost a covering row.
        numbers: u64,
    },
    /// A member was paid for an epoch.
    Earned {
        /// The epoch.
        epoch: Epoch,
        /// The member.
        member: MemberIndex,
        /// Its account.
        account: AccountId,
        /// From the epoch's bucket.
        storage: Frost,
        /// From the fees.
        fees: Frost,
    },
    /// A member was paid by the reserve for what it rebuilt for others.
    RepairPaid {
        /// The epoch that showed it.
        epoch: Epoch,
        /// The member.
        member: MemberIndex,
        /// Its account.
        account: AccountId,
        /// Bytes of the fragments.
        bytes: u64,
        /// How much.
        amount: Frost,
    },
    /// A node was charged: others were paid for filling its gaps, or it withdrew what it was paid for.
    RepairOwed {
        /// The epoch.
        epoch: Epoch,
        /// The node.
        node: NodeId,
        /// How much more it owes.
        amount: Frost,
        /// What it owes then.
        owed: Frost,
    },
    /// A debt came in, or a part of it.
    DebtPaid {
        /// The epoch.
        epoch: Epoch,
        /// The node that owed it.
        node: NodeId,
        /// Whose WAL it was: the account that earns, or the one that bonded the stake.
        account: AccountId,
        /// How much.
        amount: Frost,
        /// Out of what.
        purse: Purse,
        /// What the node still owes.
        left: Frost,
    },
    /// A blob's paid term ended. Fragments of it may be dropped.
    BlobForgotten {
        /// The blob.
        blob: BlobId,
        /// Its place in the order of certification.
        sequence: SequenceNumber,
        /// Last paid epoch.
        last: Epoch,
        /// Whether its term ended or its owner ended it.
        defence: Defence,
    },
    /// A blob's encoding was shown to be inconsistent. Fragments of it are to be dropped.
    BlobInvalid {
        /// By which transaction.
        transaction: TransactionId,
        /// The blob.
        blob: BlobId,
        /// Its place in the order of certification, when it was defended.
        sequence: Option<SequenceNumber>,
        /// What was shown.
        kind: EvidenceKind,
        /// Of which sliver.
        sliver: Option<SliverId>,
        /// What was paid for later epochs, which the reserve got.
        reserve: Frost,
    },
    /// Somebody said that a blob is invalid and too few members had signed it: the reserve got the bond.
    BondLost {
        /// By which transaction.
        transaction: TransactionId,
        /// Who sent it.
        account: AccountId,
        /// The blob.
        blob: BlobId,
        /// The bond.
        lost: Frost,
    },
    /// An epoch ended and the next began.
    EpochEnded {
        /// The one that ended.
        epoch: Epoch,
        /// Whether enough members reported.
        decision: Decision,
        /// What was decided.
        verdict_root: Root,
    },
    /// A node became a candidate.
    Joined {
        /// By which transaction.
        transaction: TransactionId,
        /// The node.
        node: NodeId,
        /// What it bonded.
        stake: Frost,
    },
    /// A candidate's stake changed at its own wish.
    Staked {
        /// By which transaction.
        transaction: TransactionId,
        /// The node.
        node: NodeId,
        /// What is bonded now.
        stake: Frost,
    },
    /// A candidate gave notice.
    Leaving {
        /// By which transaction.
        transaction: TransactionId,
        /// The node.
        node: NodeId,
    },
    /// A candidate changed its addresses, domain or capacity.
    Described {
        /// By which transaction.
        transaction: TransactionId,
        /// The node.
        node: NodeId,
    },
    /// A candidate announced a vote key.
    VoteKeyAnnounced {
        /// By which transaction.
        transaction: TransactionId,
        /// The node.
        node: NodeId,
        /// The first term it votes with it in.
        term: u64,
        /// The key.
        key: VoteKey,
    },
    /// A node signed two things where it may sign one, and was punished for it.
    Punished {
        /// By which transaction.
        transaction: TransactionId,
        /// The node.
        node: NodeId,
        /// The key it signed with.
        key: VoteKey,
        /// What it lost, to the reserve.
        slashed: Frost,
    },
    /// A node was absent for too long, or lacked what it attested: its seats go to others.
    Excluded {
        /// The node.
        node: NodeId,
        /// The epoch that decided it.
        epoch: Epoch,
        /// Why.
        cause: Cause,
        /// The first term it may be chosen for again.
        until: u64,
    },
    /// A boundary gave tickets for repair.
    RepairPlanned {
        /// The epoch that ended.
        epoch: Epoch,
        /// What was planned, counted.
        planned: Planned,
    },
    /// The committee of the next term was chosen. Who gets a shard has an incoming row for it now.
    Elected {
        /// The term.
        term: u64,
        /// The seats that change hands when it begins.
        moves: Vec<Move>,
    },
    /// A term began: its committee is in office, seats have changed hands.
    TermBegan {
        /// The term.
        term: u64,
    },
    /// A former holder's row ended: it need not keep the shard any more.
    RowEnded {
        /// The row.
        row: RowId,
        /// The shard.
        shard: ShardIndex,
        /// Whether all it covered is covered otherwise; if not, its deadline has come.
        is_covered: bool,
    },
    /// A candidate that gave notice has no row any more and is none from now on.
    Left {
        /// The node.
        node: NodeId,
        /// What it had bonded.
        stake: Frost,
        /// The epoch with which it goes back.
        due: Epoch,
    },
    /// A stake went back to its account.
    StakeReleased {
        /// To whom.
        account: AccountId,
        /// How much.
        amount: Frost,
    },
}

/// What a debt is paid out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purse {
    /// What its node earned with the epoch.
    Earnings,
    /// What its node has at stake.
    Stake,
}

/// Whether a registration needs a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does, until the end of this epoch.
    Pending {
        /// The last epoch in which it may be certified.
        deadline: Epoch,
    },
    /// The blob is defended already: the registration counts at once.
    Counts {
        /// The blob's place in the order of certification.
        sequence: SequenceNumber,
    },
}
