//! Asks the others to show what they hold, shows what this node holds, and reports what came of it.
//!
//! ```text
//!   epoch begins   seed, questions, moments
//!   slot by slot   Ask ──► Answered | Failed | deadline ──► got        Asked ──► Open | Reply
//!   slot ends      Publish what was seen, one accusation at most ──► others ask again in the next slot
//!   closing        Keep what was got, Duty(Commit) ─── the draw ───► Keep the report, Duty(Report)
//! ```
//!
//! One machine has both sides, because both are scoped by the same epoch and committee:
//! - *Asking* ([`Round`](round)): every member asks every other in every slot, at moments and for samples that follow from its
//!   seed ([`floe_ledger::challenges`]). An answer counts when it is signed by the target over this very question and its bytes
//!   lead to the blob: before the soft deadline it *passed*, before the hard one it is *late*, and a target that says no, or
//!   shows something else, has *missed*. Who says nothing is *silent*.
//! - *Asking again*: one sample a slot that this node could not get from a target that answers otherwise is named to all; and
//!   what others name is asked for once in the next slot.
//! - *Asking for readers* ([`readers`]): what a reader of this node could not get from a holder is asked of that holder in the
//!   next slot, one sample a holder and slot. It may be named to all, and no report speaks of it.
//! - *Showing* ([`answering`]): questions of members are let in within limits; reading, opening and signing are the
//!   shell's, with [`show`], on a thread that may block.
//! - *Reporting* ([`closing`]): the root of all answers is committed to before the draw, and what the draw names is shown.
//!
//! The live view of all that members say is the [`Scoreboard`]; nothing is decided by it.
//!
//! # Laws
//! - **CM-1** At most one commitment and one report are signed in an epoch, whatever falls in between: what is to be said is
//!   kept durably before it is said, and a life that has kept nothing says nothing in the closing that it began in.
//! - **CM-2** A slot is reported on only when nearly all of its questions were asked: a node that was away, or whose clock
//!   stood still, accuses nobody of its own absence.
//! - **CM-3** Everything is bounded by members, slots and [`Config`]: questions under way, answers kept, accusations followed.
//! - **CM-4** An answer that was not checked counts for nothing.
//! - **CM-5** What is asked for a reader is in no commitment and no report: only what a seed gives is.
//!
//! # Not here
//! A target that is busy or in another epoch is not asked twice. What reports come to is [`floe_ledger::reports`].
//!
//! # Source
//! `design.md` section 5, `risk.md` sections 2 and 3; decisions 035, 036 and 047.

mod again;
mod answering;
mod closing;
mod interface;
mod machine;
mod readers;
mod round;
mod scoreboard;
#[cfg(test)]
mod tests;

pub use again::Outcome;
pub use answering::{KeptHashes, NoHashes, SliverKey, show};
pub use closing::SEALED_BYTES_MAX;
pub use interface::{AskId, Config, Effect, Error, ExchangeId, Identity, Input, ObservationToken};
pub use machine::Challenger;
pub use round::{Counts, Got, Round};
pub use scoreboard::{News, Scoreboard, Standing};
