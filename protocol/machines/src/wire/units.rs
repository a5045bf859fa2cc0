//! Runs of units: the parts of a sliver that a range read asks for, each with its opening.
//!
//! ```text
//!   sliver   | symbol 0: unit 0, unit 1 | symbol 1: unit 0, unit 1 | ...     numbered through: 0, 1, 2, 3, ...
//!   answer   unit | opening | unit | opening | ...                           lengths follow from the layout
//! ```
//!
//! A unit is 64 KiB of a symbol, or the symbol when it is shorter: the grain in which strangers are served. A run is one
//! request for neighbours, so that a range over short symbols is not a stream for each.
//!
//! # Laws
//! - **WU-1** No run has more than [`RUN_UNITS_MAX`] units nor, unless it is one unit, an answer above [`RUN_BYTES_MAX`].

use floe_erasure::{Axis, Grain, Layout, Place};
use serde::{Deserialize, Serialize};

/// The most units of one run: bounds what a holder does for one request on tiny symbols.
pub const RUN_UNITS_MAX: u16 = 1_024;
/// The most bytes after the header of an answer to a run: four units and their openings. The asker holds them until they
/// are verified.
pub const RUN_BYTES_MAX: u64 = 320 << 10;

/// Neighbouring units of one sliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitRun {
    /// The number of the first one among all units of the sliver.
    pub first: u64,
    /// How many, from 1 to [`RUN_UNITS_MAX`].
    pub count: u16,
}

impl UnitRun {
    /// The places of its units in a sliver of `axis`. None when the sliver has not all of them or they are too many.
    #[must_use]
    pub fn places(&self, layout: &Layout, axis: Axis) -> Option<Vec<Place>> {
        let parts = Grain::Unit.parts(layout);
        let symbols = match axis {
            Axis::Primary => layout.columns(),
            Axis::Secondary => layout.rows(),
        };
        let end = self.first.checked_add(u64::from(self.count))?;
        if self.count == 0 || self.count > RUN_UNITS_MAX || end > parts.checked_mul(u64::from(symbols))? {
            return None;
        }
        let place = |number: u64| {
            let symbol = u16::try_from(number / parts).ok()?;
            Some(Place { axis, symbol, grain: Grain::Unit, part: number % parts })
        };
        let places: Option<Vec<Place>> = (self.first..end).map(place).collect();
        places.filter(|places| places.len() == 1 || bytes_of(places, layout) <= RUN_BYTES_MAX)
    }

    /// Bytes after the header of an answer. None when there is no such run.
    #[must_use]
    pub fn answer_bytes(&self, layout: &Layout, axis: Axis) -> Option<u64> {
        self.places(layout, axis).map(|places| bytes_of(&places, layout))
    }
}

fn bytes_of(places: &[Place], layout: &Layout) -> u64 {
    places.iter().map(|place| unit_bytes(place, layout)).sum()
}

/// Bytes of one unit and its opening.
#[must_use]
pub fn unit_bytes(place: &Place, layout: &Layout) -> u64 {
    let range = place.range(layout);
    (range.end - range.start) + place.opening_bytes(layout) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_a_sliver_has_not_or_that_are_too_long_are_none() {
        let layout = Layout::new(28, 16 << 20).unwrap();
        let run = |first, count| UnitRun { first, count }.answer_bytes(&layout, Axis::Primary);
        // Symbols of 88 KiB are two units each.
        let units = u64::from(layout.columns()) * 2;
        assert!(run(0, 1).unwrap() < (64 << 10) + 1_024);
        assert!(run(units - 1, 1).is_some() && run(units, 1).is_none() && run(units - 1, 2).is_none());
        assert!(run(0, 0).is_none() && run(u64::MAX, 1).is_none());
        assert!(run(0, 6).unwrap() <= RUN_BYTES_MAX && run(0, 30).is_none(), "WU-1");
        let tiny = Layout::new(28, 1_000).unwrap();
        assert!(UnitRun { first: 0, count: tiny.columns() }.answer_bytes(&tiny, Axis::Primary).is_some());
        assert!(UnitRun { first: 0, count: tiny.columns() }.answer_bytes(&tiny, Axis::Secondary).is_none());
    }
}
