//! The lists that a boundary header commits to, kept so that an item can be shown later.
//!
//! Roots alone prove nothing to somebody who was not there. The leaves cannot be computed again once weights and coverage
//! have moved on, so they are part of the state for as long as the epoch is remembered: a healthy network's is one leaf.
//! They are cut into pages, so that no entry is long. Which segments there were follows from coverage and is not kept.

use crate::merkle::{self, Root};
use crate::rows::RowSet;
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::Table;
use crate::verdict::VerdictRecord;
use floe_types::Epoch;
use serde_bytes::ByteBuf;

/// Bytes of leaves after which a page takes no further one.
const PAGE_BYTES: usize = 16 << 10;

/// A list of a boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum List {
    /// Of [`crate::VerdictRecord`] with the past rows and marks that coverage names beside its class: one for each set of rows.
    Verdicts = 1,
    /// Of [`crate::verdict::Transition`].
    Transitions = 3,
    /// Of [`crate::repairs::Batch`]: the tickets that the boundary gave.
    Tickets = 4,
}

fn place(epoch: Epoch, list: List) -> [u8; 9] {
    let mut prefix = [list as u8; 9];
    prefix[..8].copy_from_slice(&epoch.0.to_be_bytes());
    prefix
}

/// Keeps the list and gives its root.
pub(crate) fn keep(overlay: &mut Overlay<'_>, epoch: Epoch, list: List, leaves: Vec<Vec<u8>>) -> Root {
    let root = merkle::list_root(&leaves);
    let mut page: Vec<ByteBuf> = Vec::new();
    let (mut number, mut bytes) = (0u32, 0);
    let mut leaves = leaves.into_iter().peekable();
    while let Some(leaf) = leaves.next() {
        bytes += leaf.len();
        page.push(ByteBuf::from(leaf));
        if bytes >= PAGE_BYTES || leaves.peek().is_none() {
            let key = Table::Lists.key(&[&place(epoch, list), &number.to_be_bytes()]);
            Table::Lists.store(overlay, key, &page);
            page.clear();
            (number, bytes) = (number + 1, 0);
        }
    }
    root
}

/// The leaves of a list, which are none when the epoch is not remembered.
///
/// # Errors
/// [`StateError`].
pub fn leaves(state: &dyn StateRead, epoch: Epoch, list: List) -> Result<Vec<Vec<u8>>, StateError> {
    let mut leaves = Vec::new();
    for (_, value) in Table::Lists.all(state, &place(epoch, list))? {
        let page: Vec<ByteBuf> = Table::Lists.parse(&value)?;
        leaves.extend(page.into_iter().map(ByteBuf::into_vec));
    }
    Ok(leaves)
}

/// What was decided about the blobs that exactly `rows` covered when `epoch` was judged, marks and past rows included; none when
/// there were none.
pub(crate) fn verdict(state: &dyn StateRead, epoch: Epoch, rows: &RowSet) -> Result<Option<VerdictRecord>, StateError> {
    for (_, value) in Table::Lists.all(state, &place(epoch, List::Verdicts))? {
        let page: Vec<ByteBuf> = Table::Lists.parse(&value)?;
        for leaf in page {
            let (record, rest): (VerdictRecord, RowSet) = Table::Lists.parse(&leaf)?;
            if record.class.union(&rest) == *rows {
                return Ok(Some(record));
            }
        }
    }
    Ok(None)
}

/// Drops the lists of `epoch`.
pub(crate) fn drop_lists(overlay: &mut Overlay<'_>, epoch: Epoch) -> Result<(), StateError> {
    for (key, _) in Table::Lists.all(overlay, &epoch.0.to_be_bytes())? {
        overlay.delete(Table::Lists.key(&[&key]));
    }
    Ok(())
}
