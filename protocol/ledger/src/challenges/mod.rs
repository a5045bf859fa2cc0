//! Challenges: which bytes each member must show to each other member, and what counts as having shown them.
//!
//! ```text
//!  beacon ──► seed ──► question(slot, target, at) ──► answer ──► outcomes ──root──► commitment
//!  (boundary) (BLS)    (a draw over coverage)         (signed)   (Merkle list)        │ draw
//!                                                                                   report
//! ```
//!
//! 1. Each boundary writes a [`Beacon`]: nobody can know it before.
//! 2. A member's [`Seed`] is its unique signature over it: nobody else can know it before the member says so, and then
//!    everybody can check it.
//! 3. Questions follow from the seed and the state ([`Questions`]): equal for whoever has both, so that a report can be held
//!    against them.
//! 4. The target signs its [`Answer`] to one challenger, for one slot of one epoch.
//! 5. What a challenger got it puts into [`Outcomes`], commits to their root before the draw and shows what the draw names
//!    ([`crate::reports`]).
//!
//! Time: [`Timetable`]. This module asks nobody and remembers nothing but the beacon.
//!
//! # Laws
//! - **CH-1** Equal seed, state, slot, target and number give equal questions on every node, at any block of the epoch.
//! - **CH-2** No question can be known before the boundary block of the epoch is.
//!
//! # Not here
//! Asking, waiting and gossip are a machine's. What answers come to is [`crate::reports`] and [`crate::verdict`].
//!
//! # Source
//! Walrus (arXiv 2505.05370), storage challenges; ours are single reads scoped by coverage: decisions 030 and 031.

mod answer;
mod beacon;
mod draw;
mod outcomes;
mod seed;
mod timetable;

pub use answer::{ANSWER_BYTES_MAX, Answer, AnswerError, Occasion, Slip, answer_message};
pub use beacon::{Beacon, Drawing, beacon};
pub use draw::{Aim, PLACES_TRIED_MAX, Question, QuestionTag, Questions, Sample, Unread, asked_at};
pub use outcomes::{OutcomePath, Outcomes, leaves};
pub use seed::{Seed, seed_message};
pub use timetable::{Slot, Timetable};

pub(crate) use beacon::{spoil, turn};
pub(crate) use draw::Dice;
