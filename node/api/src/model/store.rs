//! The answer to a store: the Walrus publisher's document, with what Floe adds under `floe`, and the lines of its progress.

use super::{Amount, PaidTerm, Standing, Time};
use floe_types::{BlobId, Epoch, RegistrationNumber, TransactionId, units};
use serde::{Deserialize, Serialize};

/// The name of our code in that document: Red Stuff, Reed-Solomon.
const ENCODING_TYPE: &str = "RS2";

/// What a node knows after a store: the facts of which [`StoreAnswer`] is the public form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Whether this store registered the blob or found it certified for long enough already.
    pub event: Event,
    /// The blob.
    pub blob_id: BlobId,
    /// Its length in bytes.
    pub length: u64,
    /// The registration that pays for it.
    pub registration: RegistrationNumber,
    /// The transaction that registered it.
    pub transaction: TransactionId,
    /// The epoch of registration.
    pub registered_epoch: Epoch,
    /// The epoch of certification.
    pub certified_epoch: Epoch,
    /// Whether its owner may end it early.
    pub deletable: bool,
    /// What Floe adds.
    pub floe: FloeStored,
}

/// How a store ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Registered, sent, certified.
    Created,
    /// Was there already; nothing was paid.
    AlreadyCertified,
}

/// What Floe adds to the document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FloeStored {
    /// Shards whose holders have confirmed their fragments so far.
    pub acknowledged_shards: u16,
    /// All shards.
    pub total_shards: u16,
    /// Bytes of all fragments.
    pub encoded_bytes: u64,
    /// What it is paid for.
    #[serde(flatten)]
    pub term: PaidTerm,
    /// When this was answered, by the node's clock.
    pub now: Time,
    /// The newest verdict: pending for a new blob.
    pub standing: Standing,
    /// Price of one encoded MiB for one epoch.
    pub price: Amount,
    /// What this store cost, fees included; zero when it was there already.
    pub paid: Amount,
    /// What the account holds now.
    pub balance: Amount,
    /// Milliseconds from the body's last byte to certification.
    pub millis: u64,
}

/// The answer to `PUT /v1/blobs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StoreAnswer {
    /// The blob was registered and certified now.
    NewlyCreated(NewlyCreated),
    /// The blob was certified already, for at least as long.
    AlreadyCertified(AlreadyCertified),
}

/// The answer for a new blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewlyCreated {
    /// The registration.
    pub blob_object: BlobObject,
    /// How it came about.
    pub resource_operation: ResourceOperation,
    /// What it cost in FROST.
    pub cost: Amount,
    /// What Floe adds.
    pub floe: FloeStored,
}

/// A registration, as the Walrus document shows one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobObject {
    /// Its id: `0x` and 64 hexadecimal digits, the registration's number.
    pub id: String,
    /// The epoch of registration.
    pub registered_epoch: Epoch,
    /// The blob.
    pub blob_id: BlobId,
    /// Its length in bytes.
    pub size: u64,
    /// `RS2`.
    pub encoding_type: String,
    /// The epoch of certification.
    pub certified_epoch: Epoch,
    /// The paid storage.
    pub storage: StorageResource,
    /// Whether its owner may end it early.
    pub deletable: bool,
}

/// Paid storage, as the Walrus document shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageResource {
    /// Its id: that of the registration.
    pub id: String,
    /// The first paid epoch.
    pub start_epoch: Epoch,
    /// The epoch after the last paid one: exclusive.
    pub end_epoch: Epoch,
    /// Bytes of all fragments.
    pub storage_size: u64,
}

/// How a registration came about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ResourceOperation {
    /// Paid for anew.
    RegisterFromScratch {
        /// Bytes of all fragments.
        encoded_length: u64,
        /// Epochs paid.
        epochs_ahead: u64,
    },
}

/// The answer for a blob that was there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlreadyCertified {
    /// The blob.
    pub blob_id: BlobId,
    /// The registration's transaction.
    pub event: EventRef,
    /// The epoch after the last paid one: exclusive.
    pub end_epoch: Epoch,
    /// What Floe adds.
    pub floe: FloeStored,
}

/// A transaction, as the Walrus document refers to one: both members are strings there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventRef {
    /// The transaction.
    pub tx_digest: String,
    /// Which of its events: a registration has one, `0`.
    pub event_seq: String,
}

fn object_id(registration: RegistrationNumber) -> String {
    format!("0x{:064x}", registration.0)
}

impl From<Receipt> for StoreAnswer {
    fn from(receipt: Receipt) -> StoreAnswer {
        let (first, last) = (receipt.floe.term.first_epoch, receipt.floe.term.last_epoch);
        if receipt.event == Event::AlreadyCertified {
            let event = EventRef { tx_digest: receipt.transaction.to_string(), event_seq: "0".to_owned() };
            let (blob_id, end_epoch) = (receipt.blob_id, last.next());
            return StoreAnswer::AlreadyCertified(AlreadyCertified { blob_id, event, end_epoch, floe: receipt.floe });
        }
        let id = object_id(receipt.registration);
        let storage_size = receipt.floe.encoded_bytes;
        let storage = StorageResource { id: id.clone(), start_epoch: first, end_epoch: last.next(), storage_size };
        let blob_object = BlobObject {
            id,
            registered_epoch: receipt.registered_epoch,
            blob_id: receipt.blob_id,
            size: receipt.length,
            encoding_type: ENCODING_TYPE.to_owned(),
            certified_epoch: receipt.certified_epoch,
            storage,
            deletable: receipt.deletable,
        };
        let epochs_ahead = last.0.saturating_sub(first.0).saturating_add(1);
        let operation = ResourceOperation::RegisterFromScratch { encoded_length: storage_size, epochs_ahead };
        let cost = receipt.floe.paid;
        StoreAnswer::NewlyCreated(NewlyCreated { blob_object, resource_operation: operation, cost, floe: receipt.floe })
    }
}

impl StoreAnswer {
    /// The blob.
    #[must_use]
    pub fn blob_id(&self) -> BlobId {
        match self {
            StoreAnswer::NewlyCreated(new) => new.blob_object.blob_id,
            StoreAnswer::AlreadyCertified(old) => old.blob_id,
        }
    }

    /// What Floe adds.
    #[must_use]
    pub fn floe(&self) -> &FloeStored {
        match self {
            StoreAnswer::NewlyCreated(new) => &new.floe,
            StoreAnswer::AlreadyCertified(old) => &old.floe,
        }
    }
}

impl FloeStored {
    /// MiB that are priced: the encoded size, rounded up.
    #[must_use]
    pub fn priced_mebibytes(&self) -> u64 {
        units::mebibytes_up(self.encoded_bytes)
    }
}

/// How far a store has come, in this order. Steps may be left out when nobody had time to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "step")]
pub enum StoreProgress {
    /// Computing fragments and id.
    Encoding {
        /// Bytes of the blob done.
        bytes: u64,
        /// Bytes of the blob in all.
        total: u64,
    },
    /// The registration is on the ledger.
    Registered,
    /// Fragments are on their way.
    Sending {
        /// Shards whose holders have confirmed.
        shards: u16,
        /// All shards.
        total: u16,
    },
    /// The certificate is on the ledger.
    Certified,
}

/// A line of the progress form of the answer (`Accept: application/x-ndjson`): progress, then one end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StoreLine {
    /// It goes on.
    Progress(StoreProgress),
    /// It is done.
    Result(Box<StoreAnswer>),
    /// It failed: a problem document.
    Problem(Box<crate::Problem>),
}

/// What a deal costs or brings back when it is executed in the running epoch, the fee aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuoteView {
    /// Taken from the sender.
    pub price: Amount,
    /// Of that, for one epoch.
    pub rate: Amount,
    /// Given back to the owner.
    pub refund: Amount,
    /// The first epoch that is paid with it; of a deletion, the first that is not paid any more.
    pub first_epoch: Epoch,
    /// The last paid epoch then.
    pub last_epoch: Epoch,
    /// About when that ends.
    pub ends_about: Time,
    /// Encoded bytes on all shards together.
    pub encoded_bytes: u64,
}
