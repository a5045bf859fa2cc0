//! The documents of the HTTP surface and of `--json`: one set of types for server, client and tests.
//!
//! Names are camelCase. Amounts are integers of FROST, as strings above 2^53. Times are RFC 3339 in UTC. Sizes are bytes.
//! A field that does not apply is left out, never null: absent means "there is none", not "unknown to the reader".

mod account;
mod blob;
mod committee;
mod explain;
mod health;
mod network;
mod node;
mod price;
mod ruler;
mod scalar;
mod store;

pub use account::{Deed, HistoryEntry, HistoryPlace, HistoryPlaceError, HistoryView, Purse};
pub use blob::{
    Attributes, AttributesError, BlobHead, BlobList, BlobPhase, BlobStatus, BlobSummary, Freshness, LastVerdict,
    VerdictChange, VerdictsView,
};
pub use blob::{PaidTerm, Standing, Verdict};
pub use committee::{CanStopView, Candidacy, CandidateView, CandidatesView, CrowdedDomain, ForGood, PreviewView};
pub use explain::{
    BlobFacts, CheckView, CheckedHolder, Explanation, Facts, HolderView, NetworkFacts, NodeFacts, PlannedView,
    RankView, RepairView, RiskLine, RiskView, Sentence, TicketView,
};
pub use health::{Axis, Check, CheckCode, Health, HealthState};
pub use network::{
    AccountView, BlobCount, CommitteeView, Deciding, Decision, EpochView, MemberEpoch, MemberView, NetworkView,
};
pub use network::{Answering, Connection, QuorumLoss, TransactionAnswer, TransactionOutcome, VerdictRecord};
pub use node::{DutiesView, NodePhase, NodeView, SnapshotView, StakeView, StoreBytes};
pub use price::{OfferView, PricesView, RegistrationPhase, RegistrationView, StoreQuote, Unit};
pub use ruler::{Lines, Margin, Ruler};
pub use scalar::{Amount, Time};
pub use store::{AlreadyCertified, BlobObject, Event, EventRef, FloeStored, NewlyCreated, ResourceOperation};
pub use store::{QuoteView, Receipt, StorageResource, StoreAnswer, StoreLine, StoreProgress};
