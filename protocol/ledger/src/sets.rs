//! Sets of members and of shards as bitmaps, in one canonical form: equal sets have equal bytes.
//!
//! Bit `i` is bit `i % 8` of byte `i / 8`, least significant first; the last byte is not zero. Decoding refuses any other
//! form and anything longer than the largest network needs. Whether a bit is beyond *this* committee is for the reader
//! of a set to say.

use floe_types::{MemberIndex, ShardIndex};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The most bytes a set is decoded from: one bit for each of the most members or shards there may be.
pub const SET_BYTES_MAX: usize = 128;

const _: () = assert!(SET_BYTES_MAX * 8 >= floe_types::params::MEMBERS_MAX);
const _: () = assert!(SET_BYTES_MAX * 8 >= floe_types::params::SHARDS_MAX as usize);

fn trim(bytes: &mut Vec<u8>) {
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
}

macro_rules! index_set {
    ($(#[$doc:meta])* $name:ident of $index:ident) => {
        $(#[$doc])*
        #[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Vec<u8>);

        impl $name {
            /// The empty set.
            #[must_use]
            pub fn new() -> $name {
                $name(Vec::new())
            }

            /// Everything below `end`.
            #[must_use]
            pub fn below(end: u16) -> $name {
                (0..end).map($index).collect()
            }

            /// Adds `index`.
            pub fn insert(&mut self, index: $index) {
                let byte = usize::from(index.0 / 8);
                if self.0.len() <= byte {
                    self.0.resize(byte + 1, 0);
                }
                if let Some(held) = self.0.get_mut(byte) {
                    *held |= 1 << (index.0 % 8);
                }
            }

            /// Takes `index` out.
            pub fn remove(&mut self, index: $index) {
                if let Some(held) = self.0.get_mut(usize::from(index.0 / 8)) {
                    *held &= !(1 << (index.0 % 8));
                }
                trim(&mut self.0);
            }

            /// Whether `index` is in the set.
            #[must_use]
            pub fn contains(&self, index: $index) -> bool {
                self.0.get(usize::from(index.0 / 8)).is_some_and(|held| held & (1 << (index.0 % 8)) != 0)
            }

            /// How many are in the set.
            #[must_use]
            pub fn len(&self) -> u16 {
                self.0.iter().map(|byte| byte.count_ones() as u16).sum()
            }

            /// Whether nothing is in the set.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }

            /// One more than the largest index, 0 when empty: the set fits a network of at least this size.
            #[must_use]
            pub fn end(&self) -> u16 {
                self.iter().last().map_or(0, |index| index.0.saturating_add(1))
            }

            /// What is in the set, ascending.
            pub fn iter(&self) -> impl Iterator<Item = $index> + '_ {
                let bits = self.0.iter().enumerate();
                bits.flat_map(|(at, byte)| {
                    (0..8u16).filter(move |bit| byte & (1 << bit) != 0).map(move |bit| $index(at as u16 * 8 + bit))
                })
            }

            /// What is below `end` and not in the set, ascending. Costs the gaps and an eighth of `end`.
            pub fn gaps(&self, end: u16) -> impl Iterator<Item = $index> + '_ {
                let bytes = (0..usize::from(end.div_ceil(8))).map(|at| (at, !self.0.get(at).copied().unwrap_or(0)));
                bytes.filter(|(_, gaps)| *gaps != 0).flat_map(move |(at, gaps)| {
                    let bits = (0..8u16).filter(move |bit| gaps & (1 << bit) != 0);
                    bits.map(move |bit| $index(at as u16 * 8 + bit)).filter(move |index| index.0 < end)
                })
            }

            /// What is in this set and not in the other.
            #[must_use]
            pub fn without(&self, other: &$name) -> $name {
                let mut bytes = self.0.clone();
                for (into, from) in bytes.iter_mut().zip(&other.0) {
                    *into &= !from;
                }
                trim(&mut bytes);
                $name(bytes)
            }

            /// What is in either set.
            #[must_use]
            pub fn union(&self, other: &$name) -> $name {
                let (long, short) = if self.0.len() < other.0.len() { (other, self) } else { (self, other) };
                let mut bytes = long.0.clone();
                for (into, from) in bytes.iter_mut().zip(&short.0) {
                    *into |= from;
                }
                $name(bytes)
            }

            /// What is in both sets.
            #[must_use]
            pub fn intersection(&self, other: &$name) -> $name {
                let mut bytes: Vec<u8> = self.0.iter().zip(&other.0).map(|(one, two)| one & two).collect();
                trim(&mut bytes);
                $name(bytes)
            }
        }

        impl FromIterator<$index> for $name {
            fn from_iter<I: IntoIterator<Item = $index>>(indices: I) -> $name {
                let mut set = $name::new();
                for index in indices {
                    set.insert(index);
                }
                set
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_set().entries(self.iter().map(|index| index.0)).finish()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_seq(self.iter())
                } else {
                    serde_bytes::serialize(&self.0, serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                if deserializer.is_human_readable() {
                    return Ok(Vec::<$index>::deserialize(deserializer)?.into_iter().collect());
                }
                let bytes: Vec<u8> = serde_bytes::deserialize(deserializer)?;
                if bytes.len() > SET_BYTES_MAX || bytes.last() == Some(&0) {
                    return Err(serde::de::Error::custom("a set is too long or ends in a zero byte"));
                }
                Ok($name(bytes))
            }
        }
    };
}

index_set!(
    /// A set of members of a committee.
    MemberSet of MemberIndex
);
index_set!(
    /// A set of shards.
    ShardSet of ShardIndex
);

#[cfg(test)]
mod tests {
    use super::*;
    use floe_types::codec::{decode, encode};
    use std::collections::BTreeSet;

    #[test]
    fn a_set_has_one_encoding_however_it_came_about() {
        let mut grown: ShardSet = [3, 200, 9].map(ShardIndex).into_iter().collect();
        grown.remove(ShardIndex(200));
        let direct: ShardSet = [9, 3].map(ShardIndex).into_iter().collect();
        assert_eq!(encode(&grown), encode(&direct));
        assert_eq!(decode::<ShardSet>(&encode(&grown), 200), Ok(direct));
    }

    #[test]
    fn a_trailing_zero_and_an_endless_set_are_refused() {
        assert!(decode::<MemberSet>(&encode(serde_bytes::Bytes::new(&[1, 0])), 200).is_err());
        let long = vec![1u8; SET_BYTES_MAX + 1];
        assert!(decode::<MemberSet>(&encode(serde_bytes::Bytes::new(&long)), 200).is_err());
    }

    proptest::proptest! {
        #[test]
        fn a_set_does_what_a_slow_set_does(one: BTreeSet<u8>, two: BTreeSet<u8>) {
            let set = |slow: &BTreeSet<u8>| slow.iter().map(|i| ShardIndex(u16::from(*i))).collect::<ShardSet>();
            let both: BTreeSet<u8> = one.intersection(&two).copied().collect();
            let either: BTreeSet<u8> = one.union(&two).copied().collect();
            proptest::prop_assert_eq!(set(&one).intersection(&set(&two)), set(&both));
            proptest::prop_assert_eq!(set(&one).union(&set(&two)), set(&either));
            let first: BTreeSet<u8> = one.difference(&two).copied().collect();
            proptest::prop_assert_eq!(set(&one).without(&set(&two)), set(&first));
            let gaps: BTreeSet<u8> = set(&one).gaps(77).map(|i| i.0 as u8).collect();
            proptest::prop_assert_eq!(gaps, (0..77).filter(|i| !one.contains(i)).collect());
            proptest::prop_assert_eq!(usize::from(set(&one).len()), one.len());
            proptest::prop_assert_eq!(set(&one).end(), one.last().map_or(0, |last| u16::from(*last) + 1));
        }
    }
}
