//! The ruler: how many shards hold a blob, and which lines that number must stay above.
//!
//! ```text
//! shards  ████████████████████▒▒▒▒░░░░  20 held · 4 absent · 4 uncovered   of 28
//!         |         |        ||
//!         0       read 10  decide 19  repair 20
//! margin  10 shards = any 2 of 5 nodes (or any 2 of 5 failure domains)
//! ```
//!
//! *Absent*: the holder attested and did not answer in the epoch. *Uncovered*: nobody attests it. Margins are what may go
//! before the blob cannot be read: in shards, in worst-case nodes and in worst-case failure domains, the largest first.
//!
//! *Repair* is computed, not set: the largest answering holders are taken to fall silent one after the other, each as long as
//! patience, until a bound of the risk is passed; what is held then is the line. It moves with the committee and with who is
//! silent already.

use serde::{Deserialize, Serialize};

/// The lines of a ruler. All but the repair line depend on the number of shards alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lines {
    /// Shards that give a blob back: `p = n - 2f`.
    pub read: u16,
    /// Shards that decide: `n - f`.
    pub decide: u16,
    /// Held shards at which repair would begin. None where no class of blobs is meant, and where none lies above `read`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub repair: Option<u16>,
    /// All shards: `n`.
    pub total: u16,
}

impl Lines {
    /// The lines of a network of `total` shards.
    #[must_use]
    pub fn of(total: u16) -> Lines {
        let faulty = total.saturating_sub(1) / 3;
        Lines { read: total - 2 * faulty, decide: total - faulty, repair: None, total }
    }

    /// The same with the line at which repair would begin, when it lies above `read`.
    #[must_use]
    pub fn with_repair(self, repair: Option<u16>) -> Lines {
        Lines { repair: repair.filter(|line| *line > self.read), ..self }
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
    /// Failure domains, in the worst case: any this many of [`Self::of_domains`] may go. None when nobody counted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub domains: Option<u16>,
    /// Failure domains of those nodes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub of_domains: Option<u16>,
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
        let of_nodes = u16::try_from(holders.len()).unwrap_or(u16::MAX);
        Margin { shards, nodes, of_nodes, domains: None, of_domains: None }
    }

    /// The same, counted in failure domains too.
    #[must_use]
    pub fn with_domains(self, domains: u16, of_domains: u16) -> Margin {
        Margin { domains: Some(domains), of_domains: Some(of_domains), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_networks_in_the_journeys() {
        assert_eq!(Lines::of(28), Lines { read: 10, decide: 19, repair: None, total: 28 });
        assert_eq!(Lines::of(100).with_repair(Some(73)), Lines { read: 34, decide: 67, repair: Some(73), total: 100 });
        assert_eq!(Lines::of(28).with_repair(Some(10)).repair, None, "nothing is read below it");
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
            let wanted = Margin { shards, nodes, of_nodes, domains: None, of_domains: None };
            assert_eq!(Margin::of(held_by, read), wanted, "{held_by:?}");
        }
    }

    #[test]
    fn a_ruler_is_one_flat_object() {
        let ruler = Ruler::new(20, 4, Lines::of(28));
        let json = r#"{"held":20,"absent":4,"uncovered":4,"read":10,"decide":19,"total":28}"#;
        assert_eq!(serde_json::to_string(&ruler).unwrap(), json);
        assert_eq!(serde_json::from_str::<Ruler>(json).unwrap(), ruler);
        let with_line = Ruler::new(20, 4, Lines::of(28).with_repair(Some(20)));
        let json = r#"{"held":20,"absent":4,"uncovered":4,"read":10,"decide":19,"repair":20,"total":28}"#;
        assert_eq!(serde_json::to_string(&with_line).unwrap(), json);
        assert_eq!(serde_json::from_str::<Ruler>(json).unwrap(), with_line);
    }
}
