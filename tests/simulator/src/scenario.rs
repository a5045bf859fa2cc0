//! Plans with a purpose, by name: what each turns on, and what it needs besides.
//!
//! | name | what happens |
//! | --- | --- |
//! | `mixed` | every class of faults with probability one half: the usual run |
//! | `static` | the same, and nobody comes or goes |
//! | `churn` | somebody joins, leaves or changes its stake at every boundary, in bad weather |
//! | `handover` | the same in fair weather, and nodes fall in the middle of handing over |
//! | `failing` | leavers vanish before they have handed over, disks are lost |
//! | `lazy` | a joiner takes shards, says that it holds everything and stores nothing |
//! | `censor` | a proposer leaves out every transaction of others |
//! | `evidence` | one member says two things in fair weather: it is punished within three heights |
//! | `halt` | more than `f` shards are silent for many epochs, and come back |
//! | `disks` | nodes come back with their keys and no disk, or an old copy of it |
//! | `snapshots` | old blocks are dropped, and who comes begins with a snapshot |
//! | `evaders` | one member is late on purpose, shows to some only, slanders everybody, or does not open |
//! | `repair` | two members of seven are away beyond patience, one for good, and one helper sends wrong symbols |
//! | `quorum` | three of seven fall in the middle of heights, one comes back: exactly a quorum decides |
//! | `terms` | twenty terms of random churn; every blob is read after each |

use crate::plan::{FaultClass, Plan, PowerLoss};
use std::fmt;
use std::str::FromStr;

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the table at the head of the file says what each is")]
pub enum Scenario {
    Mixed,
    Static,
    Churn,
    Handover,
    Failing,
    Lazy,
    Censor,
    Evidence,
    Halt,
    Disks,
    Snapshots,
    Evaders,
    Repair,
    Quorum,
    Terms,
}

/// Terms of [`Scenario::Terms`].
pub const TERMS: u64 = 20;

/// Length of the storm of [`Scenario::Quorum`], in epochs: about eight times three fall.
const QUORUM_EPOCHS: u64 = 40;

/// Classes that change who is a member or what it has.
const MOVING: [FaultClass; 6] = [
    FaultClass::Churn,
    FaultClass::Vanish,
    FaultClass::Lazy,
    FaultClass::LostDisk,
    FaultClass::OldDisk,
    FaultClass::Snapshots,
];

impl Scenario {
    /// Every one.
    pub const ALL: [Scenario; 15] = [
        Scenario::Mixed,
        Scenario::Static,
        Scenario::Churn,
        Scenario::Handover,
        Scenario::Failing,
        Scenario::Lazy,
        Scenario::Censor,
        Scenario::Evidence,
        Scenario::Halt,
        Scenario::Disks,
        Scenario::Snapshots,
        Scenario::Evaders,
        Scenario::Repair,
        Scenario::Quorum,
        Scenario::Terms,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Mixed => "mixed",
            Scenario::Static => "static",
            Scenario::Churn => "churn",
            Scenario::Handover => "handover",
            Scenario::Failing => "failing",
            Scenario::Lazy => "lazy",
            Scenario::Censor => "censor",
            Scenario::Evidence => "evidence",
            Scenario::Halt => "halt",
            Scenario::Disks => "disks",
            Scenario::Snapshots => "snapshots",
            Scenario::Evaders => "evaders",
            Scenario::Repair => "repair",
            Scenario::Quorum => "quorum",
            Scenario::Terms => "terms",
        }
    }

    /// The classes that are on, of those that were drawn.
    pub(crate) fn classes(self, drawn: Vec<FaultClass>) -> Vec<FaultClass> {
        use FaultClass as Class;
        let with = |mut drawn: Vec<Class>, more: &[Class], less: &[Class]| {
            drawn.retain(|class| !less.contains(class));
            drawn.extend(more);
            drawn.sort_unstable();
            drawn.dedup();
            drawn
        };
        let liars = [Class::Equivocator, Class::Corrupter, Class::Silent, Class::Censor, Class::Lazy, Class::Evader];
        match self {
            Scenario::Mixed => drawn,
            Scenario::Static => with(drawn, &[], &MOVING),
            Scenario::Churn => with(drawn, &[Class::Churn], &[]),
            Scenario::Handover => vec![Class::Streams, Class::Crash, Class::PowerLoss, Class::Churn],
            Scenario::Failing => with(drawn, &[Class::Churn, Class::Vanish, Class::LostDisk, Class::Crash], &liars),
            Scenario::Lazy => with(drawn, &[Class::Churn, Class::Lazy], &[Class::Equivocator, Class::Corrupter]),
            Scenario::Censor => with(drawn, &[Class::Churn, Class::Censor], &[Class::Equivocator, Class::Silent]),
            Scenario::Evidence => vec![Class::Equivocator, Class::Churn],
            Scenario::Halt => vec![Class::Churn, Class::Delay],
            Scenario::Disks => with(drawn, &[Class::Crash, Class::PowerLoss, Class::LostDisk, Class::OldDisk], &liars),
            Scenario::Snapshots => with(drawn, &[Class::Churn, Class::Snapshots], &[Class::Silent]),
            Scenario::Evaders => vec![Class::Evader],
            // Streams that break leave gaps that seats fill under a standing right.
            Scenario::Repair => vec![Class::Silent, Class::Streams],
            Scenario::Quorum => vec![Class::Crash],
            Scenario::Terms => vec![Class::Churn, Class::Crash, Class::Vanish],
        }
    }

    /// What the plan needs before faults are drawn.
    pub(crate) fn shape(self, plan: &mut Plan) {
        match self {
            Scenario::Terms => {
                (plan.members, plan.shards, plan.newcomers) = (7, 14, 6);
                (plan.term_epochs, plan.election_epochs, plan.epoch_millis) = (2, 1, 3_000);
                (plan.storm_epochs, plan.stores, plan.churn) = (TERMS * 2, 8, 120);
            }
            Scenario::Handover | Scenario::Churn => {
                (plan.term_epochs, plan.churn) = (2, 200);
                plan.newcomers = plan.newcomers.max(2);
            }
            Scenario::Repair => {
                (plan.members, plan.shards) = (7, 28);
                // No election while somebody is away: seats are to stay where they are.
                (plan.term_epochs, plan.election_epochs) = (40, 1);
                plan.stores = 6;
            }
            Scenario::Quorum => (plan.members, plan.shards, plan.storm_epochs) = (7, 28, QUORUM_EPOCHS),
            Scenario::Evidence => plan.storm_epochs = plan.storm_epochs.min(6),
            _ => {}
        }
    }

    /// What the plan needs after faults are drawn.
    pub(crate) fn finish(self, plan: &mut Plan) {
        match self {
            Scenario::Terms => {
                (plan.crash_every, plan.down_max) = (Some(20_000), 500);
                plan.power_loss = PowerLoss::Taken;
            }
            Scenario::Quorum => plan.crash_every = None,
            Scenario::Handover => (plan.crash_every, plan.down_max) = (Some(6_000), 500),
            Scenario::Disks => (plan.crash_every, plan.down_max) = (Some(5_000), 3_000),
            Scenario::Repair => plan.send_away(),
            _ => {}
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Scenario, String> {
        let named = Scenario::ALL.into_iter().find(|scenario| scenario.name() == text);
        named.ok_or_else(|| format!("no such plan; there are {}", Scenario::ALL.map(Scenario::name).join(", ")))
    }
}
