//! The invariants of Floe by name. Tests, simulation checkers and assertions cite them from here, so that a violation
//! always says which promise was broken.

/// A promise that must hold in every schedule within the fault bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Law {
    /// No two honest nodes decide different values at one height, and their state roots are equal.
    I1,
    /// What was acknowledged to a client by a certificate reads back identical until it expires.
    I2,
    /// Every blob that is paid for has as many shards truly held as give it back.
    I3,
    /// No reader receives bytes that are not of the blob id, and two honest readers never disagree.
    I4,
    /// No member that is up and serves honest ones with at least `f + 1` shards is decided absent, and none that serves nobody
    /// is decided to have answered.
    I5,
    /// A member that shows nobody honest anything is not decided to have held.
    I6,
    /// Accounts, stakes, buckets, reserve and fees sum to the supply after every transaction.
    I7,
    /// What is forgotten or invalid has no repair and no challenge.
    I8,
    /// Nothing is planned that is neither missing nor silent beyond patience, and no recovery symbol is given without a right.
    I9,
    /// One absence of up to twelve hours rebuilds nothing, one of up to 72 from a clean record excludes nobody.
    I10,
    /// Who comes back with its data keeps its place, and what a node has is not made for it again.
    I11,
    /// Who is there half of the time or less is excluded in 16 days, three quarters of the time in 45.
    I12,
    /// No fragment is planned twice, and urgent rebuilds stay within the cap.
    I13,
    /// All nodes compute the same verdicts from the same ledger prefix, also after restart and catching up.
    I14,
    /// No key signs two different messages for one height, round and step, across crash and restart.
    I15,
    /// A change of committee moves at most half of `f` seats by choice and `f` in all, and every seat is held.
    I16,
    /// After faults cease heights advance within three rounds and a new store completes within two epochs.
    I18,
    /// Two votes of one key that an honest member saw are punished within three heights, and no honest key is ever accused.
    I19,
    /// What the reserve pays for filling gaps is owed by whose gaps they were, and no fragment is paid for twice.
    I21,
}

impl Law {
    /// Every law that this version checks.
    pub const ALL: [Law; 19] = [
        Law::I1,
        Law::I2,
        Law::I3,
        Law::I4,
        Law::I5,
        Law::I6,
        Law::I7,
        Law::I8,
        Law::I9,
        Law::I10,
        Law::I11,
        Law::I12,
        Law::I13,
        Law::I14,
        Law::I15,
        Law::I16,
        Law::I18,
        Law::I19,
        Law::I21,
    ];

    /// What the law says, in one sentence.
    #[must_use]
    pub fn statement(self) -> &'static str {
        match self {
            Law::I1 => "no two honest nodes decide different values at one height, and their state roots are equal",
            Law::I2 => "what a certificate acknowledged reads back identical until it expires",
            Law::I3 => "every blob that is paid for has as many shards truly held as give it back",
            Law::I4 => "no reader receives bytes that are not of the blob id, and honest readers never disagree",
            Law::I5 => "no member that serves the others is decided absent, and none that serves nobody present",
            Law::I6 => "a member that shows nobody honest anything is not decided to have held",
            Law::I7 => "accounts, stakes, buckets, reserve and fees sum to the supply after every transaction",
            Law::I8 => "what is forgotten or invalid has no repair and no challenge",
            Law::I9 => {
                "nothing is planned that is neither missing nor long silent, and no symbol is given without a right"
            }
            Law::I10 => "an absence of up to twelve hours rebuilds nothing, one of up to 72 excludes nobody",
            Law::I11 => "who comes back with its data keeps its place, and what a node has is not made for it again",
            Law::I12 => "who is there half of the time is excluded in 16 days, three quarters of the time in 45",
            Law::I13 => "no fragment is planned twice, and urgent rebuilds stay within the cap",
            Law::I14 => "all nodes compute the same verdicts from the same ledger prefix",
            Law::I15 => "no key signs two different messages for one height, round and step",
            Law::I16 => "a change of committee moves at most f/2 seats by choice and f in all",
            Law::I18 => "after faults cease, heights advance and a new store completes",
            Law::I19 => "two votes of one key are punished within three heights, and no honest key is accused",
            Law::I21 => "what is paid for filling gaps is owed by whose gaps they were, and nothing is paid twice",
        }
    }
}
