//! A year of epochs on the symbol level: who holds what, who asks whom, what is decided from it, for 8,766 epochs.
//!
//! Where the simulator's worlds have messages, disks and consensus, this one has none of them, so that an epoch costs
//! milliseconds. What decides is what ships: questions are drawn by [`floe_ledger::challenges::Questions`], entered and accused
//! with by the challenger's own [`Round`](floe_machines::challenges::Round), weighed by its scoreboard; reports go into the
//! state, and every boundary is a block built by the ledger: attendance, gauges, standing, risk, verdicts, tickets, pay,
//! committees. What a node says of its coverage is a signed transaction. Answers have no bytes and no signatures, and a report is
//! void when the draw names a pass that was none.
//!
//! ```text
//!  block 1: attestations ─► six slots: questions, answers, accusations, asked again ─► block 2: what villains declare
//!        ─► reports ─► boundary ─► who has a right rebuilds, if enough is truly there ─► next epoch
//! ```
//!
//! - [`world`] is the network and its time, [`asking`] a day of questions, [`work`] what nodes do with what was decided.
//! - [`villains`] behave badly, one a file.
//! - [`truth`] knows what is really held and who was really there, and recomputes what was decided from that.
//! - [`figures`] are what is promised, measured.
//!
//! # Not here
//! Whatever travels: latency, loss, encodings. The simulator's worlds have them, for epochs instead of years.

pub mod asking;
pub mod figures;
pub mod truth;
pub mod villains;
mod work;
pub mod world;

pub use villains::Villain;
pub use world::{Land, Past, Weather, World};
