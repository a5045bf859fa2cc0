//! The ruler: how many shards hold a blob, and which lines that number must stay above.
//!
//! ```text
//! shards  ████████████████████▒▒▒▒░░░░  20 held · 4 absent · 4 uncovered   of 28
//!         |         |        |
//!         0       read 10  decide 19
//! ```
//!
//! *Absent*: the holder attested and did not answer in the epoch. *Uncovered*: nobody attests it. Margins are what may go
//! before the blob cannot be read: in shards, and in worst-case nodes, the largest holders first.

use serde::{Deserialize, Serialize};

/// The lines of a network, which depend on the number of shards alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lines {
    /// Shards that give a blob back: `p = n - 2f`.
    pub read: u16,
    /// Shards that decide: `n - f`.
    pub decide: u16,
    /// All shards: `n`.
    pub total: u16,
}

impl Lines {
    /// The lines of a network of `total` shards.
    #[must_use]
    pub fn of(total: u16) -> Lines {
        let faulty = total.saturating_sub(1) / 3;
        Lines { read: total - 2 * faulty, decide: total - faulty, total }
    }
}

/// Where one blob stands on the ruler. `held + absent + uncovered = total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ruler {
    /// Shards whose holder attests the fragment and answered.
    pub held: u16,
    /// Shards whose holder attests the fragment and did not answer.
    pub absent: u16,
    /// Shards that nobody attests.
    pub uncovered: u16,
    /// The lines.
    #[serde(flatten)]
    pub lines: Lines,
}

impl Ruler {
    /// The ruler for `held` and `absent` of the shards of `lines`; the rest is uncovered.
    #[must_use]
    pub fn new(held: u16, absent: u16, lines: Lines) -> Ruler {
        Ruler { held, absent, uncovered: lines.total.saturating_sub(held).saturating_sub(absent), lines }
    }
}

/// What may still go before the blob cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Margin {
    /// Shards above the read line.
    pub shards: u16,
    /// Nodes, in the worst case: any this many of [`Self::of_nodes`] may go.
    pub nodes: u16,
    /// Nodes that hold a fragment and answer.
    pub of_nodes: u16,
}

impl Margin {
    /// The margin of a blob whose answering holders hold `held_by` shards each.
    #[must_use]
    pub fn of(held_by: &[u16], read: u16) -> Margin {
        let mut holders: Vec<u16> = held_by.iter().copied().filter(|held| *held > 0).collect();
        holders.sort_unstable_by(|a, b| b.cmp(a));
        let held = holders.iter().fold(0u16, |sum, held| sum.saturating_add(*held));
        let shards = held.saturating_sub(read);
        let mut left = shards;
        let affordable = holders.iter().take_while(|held| {
            let fits = **held <= left;
            left = left.saturating_sub(**held);
            fits
        });
        let nodes = u16::try_from(affordable.count()).unwrap_or(u16::MAX);
        Margin { shards, nodes, of_nodes: u16::try_from(holders.len()).unwrap_or(u16::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_networks_in_the_journeys() {
        assert_eq!(Lines::of(28), Lines { read: 10, decide: 19, total: 28 });
        assert_eq!(Lines::of(100), Lines { read: 34, decide: 67, total: 100 });
    }

    #[test]
    fn margins_take_the_largest_holders_first() {
        let cases: [(&[u16], u16, [u16; 3]); 7] = [
            (&[4; 7], 10, [18, 4, 7]),
            (&[4; 6], 10, [14, 3, 6]),
            (&[4; 5], 10, [10, 2, 5]),
            (&[1, 9, 9, 9], 10, [18, 2, 4]),
            (&[4, 4, 0, 0], 10, [0, 0, 2]),
            (&[10], 10, [0, 0, 1]),
            (&[], 10, [0, 0, 0]),
        ];
        for (held_by, read, [shards, nodes, of_nodes]) in cases {
            assert_eq!(Margin::of(held_by, read), Margin { shards, nodes, of_nodes }, "{held_by:?}");
        }
    }

    #[test]
    fn a_ruler_is_one_flat_object() {
        let ruler = Ruler::new(20, 4, Lines::of(28));
        let json = r#"{"held":20,"absent":4,"uncovered":4,"read":10,"decide":19,"total":28}"#;
        assert_eq!(serde_json::to_string(&ruler).unwrap(), json);
        assert_eq!(serde_json::from_str::<Ruler>(json).unwrap(), ruler);
    }
}
