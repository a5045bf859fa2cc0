//! Who decides what to rebuild: the shipped planner, and the simple rules it is compared with.

#[derive(Clone, Copy, PartialEq)]
pub enum Policy {
    Never,
    /// A fragment is rebuilt when its holder was silent for so many hours.
    Timeout(u64),
    /// Everything is rebuilt when fewer shards than this are held.
    Threshold(Line),
    /// The planner, with an accepted loss in parts of 10^12 a year.
    Risk(u64),
}

#[derive(Clone, Copy, PartialEq)]
pub enum Line {
    Quorum,
    Near,
}

impl Policy {
    pub fn name(self) -> String {
        match self {
            Policy::Never => "no repair".into(),
            Policy::Timeout(1) => "eager, 1 miss".into(),
            Policy::Timeout(hours) => format!("timeout {hours} h"),
            Policy::Threshold(Line::Quorum) => "threshold n-f".into(),
            Policy::Threshold(Line::Near) => "threshold k+f/2".into(),
            Policy::Risk(1_000) => "risk, as shipped".into(),
            Policy::Risk(e12) => format!("risk, {e12}e-12 a year"),
        }
    }
}
