//! What is promised of challenges, gauges and standing, measured in years of the model.
//!
//! Each function gives lines of a table and whether what was promised was met. `floe-year` prints them all; the tests run
//! them in a smaller size.

mod conduct;
mod losses;
mod years;

pub use conduct::{cliques, fetched, ground, minimal, others, selective, withdrawn};
pub use losses::{Found, losses, partial, within};
pub use years::{absences, framed, year};

use std::fmt;

/// A promise and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// What.
    pub name: String,
    /// What was found, in words.
    pub found: String,
    /// Whether that is as promised; none when nothing was.
    pub met: Option<bool>,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.met {
            Some(true) => "met   ",
            Some(false) => "MISSED",
            None => "      ",
        };
        write!(f, "{mark} {}: {}", self.name, self.found)
    }
}

fn figure(name: impl Into<String>, found: impl Into<String>, met: Option<bool>) -> Figure {
    Figure { name: name.into(), found: found.into(), met }
}

/// Blobs of a land.
const BLOBS: u64 = 64;
