//! The agreement of a committee on one value after another, as a pure machine.

mod admission;
mod backlog;
mod ballot;
mod certificate;
mod codec;
mod config;
mod context;
mod equivocation;
mod error;
mod guard;
mod height;
mod host;
mod interface;
mod journal;
mod machine;
mod message;
mod replay;
mod signing;
mod validators;
mod value;
mod values;

pub use certificate::{Certificate, CertificateError};
pub use codec::DecodeError;
pub use config::{Config, ROUNDS_AHEAD_MAX, Timeouts};
pub use equivocation::{EQUIVOCATION_BYTES_MAX, Equivocation};
pub use error::Error;
pub use height::{Height, Round};
pub use interface::{DropReason, Effect, Input, Misbehaviour, SyncFault, Timer, TimerKind};
pub use journal::JournalEntry;
pub use machine::Machine;
pub use message::{MESSAGE_OVERHEAD_MAX, Message, MessageKind};
pub use signing::{NetworkId, Signature, Step, ValidatorKey, VoteSigningKey};
pub use validators::{TOTAL_POWER_LIMIT, VALIDATORS_MAX, Validator, ValidatorSet, ValidatorSetError};
pub use value::{CheckValue, ValueId, Verdict};
