//! What is decided: opaque bytes, named by their hash and judged by the caller.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Height;

/// The BLAKE3 hash of a value's bytes. Votes and certificates name a value by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ValueId(pub [u8; 32]);

impl ValueId {
    /// The name of these bytes.
    pub fn of(value: &[u8]) -> Self {
        Self(*blake3::hash(value).as_bytes())
    }
}

impl fmt::Display for ValueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for ValueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

pub(crate) fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// What the caller thinks of a value that somebody proposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It may be decided at this height.
    Valid,
    /// It must not be decided; this node prevotes nil at once.
    Invalid,
}

/// The caller's judgement of values, lent to the machine for one step.
///
/// It may look at the caller's state and clock. A value once found valid at a height is not asked about
/// again; one found invalid is asked about anew with each proposal of it, since a block whose time was too
/// far ahead becomes acceptable by waiting.
pub trait CheckValue {
    /// Judges the value for this height, given everything decided below it.
    fn check(&mut self, height: Height, value: &[u8]) -> Verdict;
}

impl<F: FnMut(Height, &[u8]) -> Verdict> CheckValue for F {
    fn check(&mut self, height: Height, value: &[u8]) -> Verdict {
        self(height, value)
    }
}
