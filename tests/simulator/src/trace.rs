//! What happened in a run: a hash over all of it, and the end of it in words.
//!
//! Two runs of one seed must have the same hash; that is how a hidden source of chance would show.

use std::collections::VecDeque;
use std::fmt;

/// How many events a failing seed prints.
pub const TAIL_MAX: usize = 200;

/// Which events are kept in words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// None: only the hash. For many seeds.
    #[default]
    Hash,
    /// The last [`TAIL_MAX`].
    Tail,
    /// All, on standard error as they happen.
    Live,
}

/// The record of a run.
#[derive(Debug)]
pub struct Trace {
    detail: Detail,
    hasher: blake3::Hasher,
    tail: VecDeque<String>,
    began: u64,
}

impl Trace {
    /// An empty record of a run that begins at `began` (milliseconds).
    #[must_use]
    pub fn new(detail: Detail, began: u64) -> Trace {
        Trace { detail, hasher: blake3::Hasher::new(), tail: VecDeque::new(), began }
    }

    /// Adds an event to the hash, by its kind and the numbers and bytes that make it.
    pub fn mix(&mut self, now: u64, kind: u8, node: usize, bytes: &[u8]) {
        let mut head = [0u8; 18];
        head[..8].copy_from_slice(&now.to_be_bytes());
        head[8] = kind;
        head[9] = node as u8;
        head[10..].copy_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.hasher.update(&head).update(bytes);
    }

    /// Adds an event in words; the words are made only when somebody will read them.
    pub fn say(&mut self, now: u64, words: impl FnOnce() -> String) {
        if self.detail == Detail::Hash {
            return;
        }
        let line = format!("{:>9.3} {}", now.saturating_sub(self.began) as f64 / 1_000.0, words());
        if self.detail == Detail::Live {
            eprintln!("{line}");
        }
        if self.tail.len() == TAIL_MAX {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    /// The hash so far.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest(*self.hasher.finalize().as_bytes())
    }

    /// The last events in words.
    #[must_use]
    pub fn into_tail(self) -> Vec<String> {
        self.tail.into()
    }
}

/// The hash of everything that happened in a run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
