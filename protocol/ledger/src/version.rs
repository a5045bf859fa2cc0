//! Which rules are in force, and how later ones come into force.
//!
//! Every block carries the version of the protocol by which it is executed. A later version comes in three steps, none of
//! which is anybody's decision alone:
//!
//! 1. A member whose program can follow it says so ([`crate::Action::Support`]). Saying so costs nothing but the fee and
//!    can be repeated with a higher version, never taken back: a program that was put back says nothing, and stops at 3.
//! 2. At the first boundary at which members with `n - f` shards can follow the next version, its activation is set: one
//!    term later, so that the others have that time, and the operators of all see it coming.
//! 3. The boundary that begins that epoch, and every block after it, is executed by the new version. A program that does
//!    not know it stops with words that say what to do, before it executes anything wrongly.
//!
//! One version is activated at a time, in order, so that no block can ever skip one.
//!
//! # Laws
//! - **VE-1** The version of a block is a function of the state before it.
//! - **VE-2** No version comes into force that members with fewer than `n - f` shards could follow when it was set.

use crate::state::{Overlay, StateError, StateRead};
use crate::tables::Table;
use floe_types::{Committee, Epoch, NodeId, Params};
use serde::{Deserialize, Serialize};

/// The first version.
pub const FIRST: u32 = 1;
/// The latest version that this program knows.
pub const KNOWN_MAX: u32 = 1;

/// A version that is about to come into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// Which.
    pub version: u32,
    /// The epoch whose first block it executes.
    pub from: Epoch,
}

/// Which rules are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protocol {
    /// The version by which blocks are executed.
    pub active: u32,
    /// The next one, once enough members can follow it.
    pub next: Option<Activation>,
}

impl Default for Protocol {
    fn default() -> Protocol {
        Protocol { active: FIRST, next: None }
    }
}

/// The rules in force in `state`.
pub(crate) fn protocol(state: &dyn StateRead) -> Result<Protocol, StateError> {
    Ok(Table::Protocol.load(state, &Table::Protocol.key(&[]))?.unwrap_or_default())
}

/// The latest version that `node` said it can follow; [`FIRST`] when it never said anything.
pub(crate) fn support(state: &dyn StateRead, node: &NodeId) -> Result<u32, StateError> {
    Ok(Table::Supports.load(state, &Table::Supports.key(&[&node.0]))?.unwrap_or(FIRST))
}

pub(crate) fn put_support(overlay: &mut Overlay<'_>, node: &NodeId, version: u32) {
    Table::Supports.store(overlay, Table::Supports.key(&[&node.0]), &version);
}

/// At the boundary that begins `epoch`, in which `committee` is in office: brings into force what is due, else sets what
/// enough can follow.
pub(crate) fn turn(
    overlay: &mut Overlay<'_>,
    committee: &Committee,
    epoch: Epoch,
    params: &Params,
) -> Result<(), StateError> {
    let before = protocol(overlay)?;
    let after = match before.next {
        Some(next) if next.from <= epoch => Protocol { active: next.version, next: None },
        Some(_) => before,
        None => {
            let version = before.active.saturating_add(1);
            let mut shards = 0;
            for member in committee.members() {
                if support(overlay, &member.node)? >= version {
                    shards += member.shards.len();
                }
            }
            let enough = shards >= usize::from(committee.quorum());
            let from = epoch.checked_add(params.term_epochs).filter(|_| enough);
            Protocol { next: from.map(|from| Activation { version, from }), ..before }
        }
    };
    if after != before {
        Table::Protocol.store(overlay, Table::Protocol.key(&[]), &after);
    }
    Ok(())
}

/// The version in force, which this program must know.
///
/// # Errors
/// [`StateError::Unsupported`] when it does not.
pub(crate) fn in_force(state: &dyn StateRead, known: u32) -> Result<u32, StateError> {
    let active = protocol(state)?.active;
    if active > known { Err(StateError::Unsupported { version: active, known }) } else { Ok(active) }
}
