//! Transactions: what an account asks the ledger to do, signed.
//!
//! A signature covers the network, the sender, its nonce and the fee, so that a transaction is valid once, in one network,
//! at one price. The id is the hash of the *signed* encoding. Decoding is bounded; checking ([`SignedTransaction::check`])
//! gives a [`CheckedTransaction`], so that a signature is verified once and never forgotten about.

use crate::candidacy::{Announcement, Description, Join, StakeChange};
use crate::coverage::Run;
use crate::invalid::Inconsistency;
use crate::merkle::Root;
use crate::reports::Report;
use crate::sets::{MemberSet, ShardSet};
use floe_types::bls::BlsSignature;
use floe_types::codec::{self, DecodeError, Domain};
use floe_types::keys::{self, Claim, SecretKey, Signature};
use floe_types::params::{ATTRIBUTES_BYTES_MAX, TRANSACTION_BYTES_MAX};
use floe_types::{
    AccountId, BlobId, DoubleVote, Epoch, Frost, NetworkId, NodeId, Params, RegistrationNumber, TransactionId,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of encodings that confirmations speak of.
pub const ENCODING_VERSION: u8 = 1;
/// The most runs in one [`Action::Attest`] or [`Action::Withdraw`]. Each may split segments of the coverage map.
pub const ATTEST_RUNS_MAX: usize = 256;

/// What a store says about its bytes: for people and browsers, never for decisions. 1 KiB at most when encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attributes {
    /// The media type, as `image/jpeg`.
    pub content_type: Option<String>,
    /// The file name. Never used as a path.
    pub name: Option<String>,
    /// Anything else, by name.
    pub tags: BTreeMap<String, String>,
}

impl Attributes {
    fn are_acceptable(&self) -> bool {
        let printable = |text: &String| !text.chars().any(char::is_control);
        let named = self.content_type.iter().chain(&self.name).all(printable);
        let tagged = self.tags.iter().all(|(name, value)| printable(name) && printable(value));
        named && tagged && codec::encode(self).len() <= ATTRIBUTES_BYTES_MAX
    }
}

/// Whether a registration may be ended before its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Persistence {
    /// It lasts until its last paid epoch, whatever its owner wants later.
    #[default]
    Permanent,
    /// Its owner may end it and get back what is not due yet.
    Deletable,
}

/// What a transaction does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Moves WAL from the sender to an account, which need not exist.
    Transfer {
        /// The receiver.
        to: AccountId,
        /// How much, above zero.
        amount: Frost,
    },
    /// Pays for keeping a blob. See [`crate::price`] for the price.
    Register {
        /// The blob.
        blob: BlobId,
        /// Its length in bytes.
        length: u64,
        /// The first paid epoch, at most the one in which this is executed. One that has passed is not paid: the term then
        /// begins with the epoch of execution, which is charged whole, and ends where it was to end.
        first: Epoch,
        /// The last paid epoch, inclusive.
        last: Epoch,
        /// The most the sender will pay.
        price_max: Frost,
        /// Whether the sender may end it early.
        persistence: Persistence,
        /// What the bytes are.
        attributes: Attributes,
    },
    /// Shows that members with at least `n - f` shards keep their fragments of a registered blob. Anyone may send it.
    Certify {
        /// The blob.
        blob: BlobId,
        /// The registration that the members confirmed.
        registration: RegistrationNumber,
        /// The version of the encoding: [`ENCODING_VERSION`].
        version: u8,
        /// Who confirmed.
        members: MemberSet,
        /// The aggregate of their signatures over [`confirmation_message`].
        signature: BlsSignature,
    },
    /// Says that the sender's node now holds, of all the shards named, fragments that its rows do not cover yet.
    Attest {
        /// The sender's node.
        member: NodeId,
        /// Of which shards: the node has a row of each, whether it has the seat, gets it or had it.
        shards: ShardSet,
        /// Of which blobs: ascending, disjoint, not adjacent. A run begins and ends at a defended blob; forgotten numbers
        /// inside it belong to it.
        runs: Vec<Run>,
    },
    /// Says what the sender's node saw of the others in an epoch, and shows what the draw names of it. Free, nonce 0, once per
    /// member and epoch, in the second half of the closing. See [`crate::reports`].
    Report(Box<Report>),
    /// Says that the sender's node can follow a version of the protocol and all before it. See [`crate::version`].
    Support {
        /// The sender's node.
        member: NodeId,
        /// The latest version that its program knows.
        version: u32,
    },
    /// Makes a node a candidate. The sender's account speaks for it from then on.
    Join(Box<Join>),
    /// Adds to a candidate's stake or takes from it.
    Stake {
        /// The sender's candidate.
        node: NodeId,
        /// What changes.
        change: StakeChange,
    },
    /// Gives notice: the node stays responsible until its shards are handed over, then its stake unbonds.
    Leave {
        /// The sender's candidate.
        node: NodeId,
    },
    /// Says anew where a candidate listens, what fails with it and what it has room for.
    Describe(Description),
    /// Announces the key that a candidate votes with from a later term on.
    VoteKey(Announcement),
    /// Shows that a vote key signed two things where it may sign one. Anyone may send it.
    Evidence(Box<DoubleVote>),
    /// Pays for more epochs of a registration that counts. Anyone may; what is added belongs to the registration, so that a
    /// refund of it would go to its owner.
    Extend {
        /// The registration.
        registration: RegistrationNumber,
        /// The last paid epoch from now on, inclusive.
        last: Epoch,
        /// The most the sender will pay.
        price_max: Frost,
    },
    /// Ends the sender's deletable registration with the epoch after the running one; what was paid for later ones comes
    /// back. The blob is defended as long as another registration of it lasts.
    Delete {
        /// The registration.
        registration: RegistrationNumber,
    },
    /// Sets the WAL aside from which the sender's registration is renewed when it would end. What stood there before and
    /// is more than this comes back; zero ends the renewing.
    Renew {
        /// The registration.
        registration: RegistrationNumber,
        /// What is set aside from now on.
        budget: Frost,
    },
    /// The price of one encoded mebibyte for one epoch for which the sender's node would serve. Stands until the next.
    Offer {
        /// The sender's node.
        member: NodeId,
        /// The price, above zero.
        price: Frost,
    },
    /// Says that the sender's node holds the fragments of these blobs on these of its shards no more. In force from the next
    /// boundary: the running epoch is judged as it began.
    Withdraw {
        /// The sender's node.
        member: NodeId,
        /// Which of the shards that it has a row of, as in an attestation.
        shards: ShardSet,
        /// Of which blobs, as in an attestation.
        runs: Vec<Run>,
    },
    /// Says that a blob's encoding is inconsistent, as members with at least `f + 1` shards checked. Anyone may send it and
    /// puts a bond down with it: see [`crate::invalid`].
    Invalid(Box<Inconsistency>),
    /// Commits to the root of the sender's outcomes of an epoch, before anybody knows which of them must be shown. Free, nonce
    /// 0, once per member and epoch, in the first half of the closing. See [`crate::reports`].
    Commit {
        /// The sender's node.
        member: NodeId,
        /// The epoch: the running one.
        epoch: Epoch,
        /// [`crate::challenges::Outcomes::root`].
        root: Root,
    },
}

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// The network it is for.
    pub network: NetworkId,
    /// Who sends and pays.
    pub sender: AccountId,
    /// How many transactions of this sender came before it. 0 for reports, which do not count.
    pub nonce: u64,
    /// Paid whatever the action moves; at least [`fee_min`]. 0 for reports.
    pub fee: Frost,
    /// What it does.
    pub action: Action,
}

/// A transaction with its signature, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedTransaction {
    /// What is signed.
    pub transaction: Transaction,
    /// By the sender's key.
    pub signature: Signature,
}

/// A transaction that is wrong whatever the state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// The bytes are not a transaction.
    #[error("not a transaction: {0}")]
    Malformed(#[from] DecodeError),
    /// It is for another network.
    #[error("it is for network {found}, this is {ours}")]
    Network {
        /// Its network.
        found: NetworkId,
        /// Ours.
        ours: NetworkId,
    },
    /// The signature is not of it by its sender.
    #[error("the signature is not the sender's")]
    BadSignature,
    /// A field is out of its range.
    #[error("{reason}")]
    Shape {
        /// Which and how.
        reason: &'static str,
    },
}

static SIGNING: Domain = Domain::new("floe 1 ledger: transaction to be signed");
static ID: Domain = Domain::new("floe 1 ledger: transaction id");

/// Bytes of a signature at the end of a signed transaction's encoding: its length and itself.
const SIGNATURE_BYTES: usize = 1 + 64;

impl Transaction {
    /// The bytes a signature is over: a hash in a domain of its own.
    #[must_use]
    pub fn signing_bytes(&self) -> [u8; 32] {
        SIGNING.hash(&codec::encode(self))
    }

    /// Signs it. `key` is the sender's.
    #[must_use]
    pub fn sign(self, key: &SecretKey) -> SignedTransaction {
        let signature = key.sign(&self.signing_bytes());
        SignedTransaction { transaction: self, signature }
    }
}

impl Action {
    /// Whether it is a commitment or a report, which have neither nonce nor fee.
    #[must_use]
    pub fn is_report(&self) -> bool {
        matches!(self, Action::Report(_) | Action::Commit { .. })
    }

    /// How many runs it has, each of which costs a fee of its own.
    #[must_use]
    pub fn runs(&self) -> usize {
        match self {
            Action::Attest { runs, .. } | Action::Withdraw { runs, .. } => runs.len(),
            _ => 0,
        }
    }

    /// What can be wrong with it whatever the state.
    fn shape(&self) -> Result<(), &'static str> {
        match self {
            Action::Transfer { amount, .. } if *amount == Frost::ZERO => Err("nothing is transferred"),
            Action::Register { attributes, .. } if !attributes.are_acceptable() => {
                Err("attributes are longer than 1 KiB or have control characters")
            }
            Action::Register { first, last, .. } if last < first => Err("the last epoch is before the first"),
            Action::Certify { version, .. } if *version != ENCODING_VERSION => Err("no such version of the encoding"),
            Action::Offer { price, .. } if *price == Frost::ZERO => Err("nothing is free: an offer is above zero"),
            Action::Attest { runs, .. } | Action::Withdraw { runs, .. }
                if runs.is_empty() || runs.len() > ATTEST_RUNS_MAX =>
            {
                Err("an attestation or a withdrawal has from 1 to 256 runs")
            }
            Action::Attest { runs, .. } | Action::Withdraw { runs, .. } if !Run::are_canonical(runs) => {
                Err("runs must be ascending, disjoint and not adjacent")
            }
            Action::Attest { shards, .. } | Action::Withdraw { shards, .. } if shards.is_empty() => {
                Err("an attestation or a withdrawal names no shard")
            }
            Action::Join(join) => join.shape(),
            Action::Invalid(shown) => shown.shape(),
            Action::Report(report) => report.shape(),
            Action::Describe(said) => said.shape(),
            Action::Stake { change: StakeChange::Add(Frost::ZERO) | StakeChange::Withdraw(Frost::ZERO), .. } => {
                Err("nothing is staked or withdrawn")
            }
            _ => Ok(()),
        }
    }
}

impl SignedTransaction {
    /// The id: the hash of the signed encoding.
    #[must_use]
    pub fn id(&self) -> TransactionId {
        TransactionId(ID.hash(&self.encode()))
    }

    /// The canonical encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The transaction of which `bytes` is the encoding.
    ///
    /// # Errors
    /// [`DecodeError`] when there are more than [`TRANSACTION_BYTES_MAX`] bytes or they are not one canonical encoding.
    pub fn decode(bytes: &[u8]) -> Result<SignedTransaction, DecodeError> {
        codec::decode(bytes, TRANSACTION_BYTES_MAX)
    }

    /// Verifies the signature alone.
    ///
    /// # Errors
    /// [`TransactionError::BadSignature`].
    pub fn verify(&self) -> Result<(), TransactionError> {
        keys::verify(&self.transaction.sender.0, &self.transaction.signing_bytes(), &self.signature)
            .map_err(|_| TransactionError::BadSignature)
    }

    /// Checks everything that does not depend on state: size, network, ranges, signature.
    ///
    /// # Errors
    /// The first [`TransactionError`] found, the cheap ones first.
    pub fn check(self, network: &NetworkId) -> Result<CheckedTransaction, TransactionError> {
        let prepared = self.prepare(network).map_err(|(_, error)| error)?;
        prepared.claim().verify().map_err(|_| TransactionError::BadSignature)?;
        Ok(prepared.trust())
    }

    /// Checks everything that does not depend on state, but for the signature.
    ///
    /// # Errors
    /// The transaction, with the first [`TransactionError`] found.
    pub(crate) fn prepare(self, network: &NetworkId) -> Result<Prepared, (Box<SignedTransaction>, TransactionError)> {
        let encoded = self.encode();
        if let Err(error) = self.check_shape(network, encoded.len()) {
            return Err((Box::new(self), error));
        }
        // A signed transaction is encoded as the transaction and then the signature.
        let message = SIGNING.hash(encoded.get(..encoded.len() - SIGNATURE_BYTES).unwrap_or_default());
        Ok(Prepared { message, id: TransactionId(ID.hash(&encoded)), bytes: encoded.len(), signed: self })
    }

    fn check_shape(&self, network: &NetworkId, found: usize) -> Result<(), TransactionError> {
        let max = TRANSACTION_BYTES_MAX;
        if found > max {
            return Err(DecodeError::TooLong { found, max }.into());
        }
        let found = self.transaction.network;
        if found != *network {
            return Err(TransactionError::Network { found, ours: *network });
        }
        if self.transaction.action.is_report() && (self.transaction.nonce, self.transaction.fee) != (0, Frost::ZERO) {
            return Err(TransactionError::Shape { reason: "a commitment or a report has nonce 0 and fee 0" });
        }
        self.transaction.action.shape().map_err(|reason| TransactionError::Shape { reason })
    }
}

/// A transaction of which everything but the signature was checked, and what the signature must be of.
pub(crate) struct Prepared {
    signed: SignedTransaction,
    message: [u8; 32],
    id: TransactionId,
    bytes: usize,
}

impl Prepared {
    pub(crate) fn id(&self) -> TransactionId {
        self.id
    }

    /// What is left to be verified.
    pub(crate) fn claim(&self) -> Claim<'_> {
        let SignedTransaction { transaction, signature } = &self.signed;
        Claim { public: &transaction.sender.0, message: &self.message, signature }
    }

    /// The claim was verified.
    pub(crate) fn trust(self) -> CheckedTransaction {
        CheckedTransaction { bytes: self.bytes, id: self.id, signed: self.signed }
    }
}

/// A transaction whose size, network, ranges and signature were checked. Made by [`SignedTransaction::check`], or one of a
/// block whose signatures were verified together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedTransaction {
    signed: SignedTransaction,
    id: TransactionId,
    bytes: usize,
}

impl CheckedTransaction {
    /// Decodes and checks.
    ///
    /// # Errors
    /// The first [`TransactionError`] found.
    pub fn decode(bytes: &[u8], network: &NetworkId) -> Result<CheckedTransaction, TransactionError> {
        SignedTransaction::decode(bytes)?.check(network)
    }

    /// The transaction.
    #[must_use]
    pub fn transaction(&self) -> &Transaction {
        &self.signed.transaction
    }

    /// The transaction with its signature.
    #[must_use]
    pub fn signed(&self) -> &SignedTransaction {
        &self.signed
    }

    /// The transaction with its signature, to keep.
    #[must_use]
    pub fn into_signed(self) -> SignedTransaction {
        self.signed
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> TransactionId {
        self.id
    }

    /// Length of its encoding in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What members sign to confirm that the fragments of all their shards of `blob` are verified and durable.
#[must_use]
pub fn confirmation_message(
    network: &NetworkId,
    term: u64,
    registration: RegistrationNumber,
    blob: &BlobId,
    version: u8,
) -> Vec<u8> {
    codec::encode(&("floe 1 storage confirmation", network, term, registration, blob, version))
}

/// The least fee of a transaction of `bytes` bytes that does `action`: for its bytes and for its runs. `None` beyond the
/// largest amount.
#[must_use]
pub fn fee_min(params: &Params, action: &Action, bytes: usize) -> Option<Frost> {
    let runs = params.fee_per_run.checked_mul(action.runs() as u64)?;
    params.fee_per_byte.checked_mul(bytes as u64)?.checked_add(runs)
}
