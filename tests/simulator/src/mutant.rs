//! Seeded defects of the shell, one for each law: they prove that the law's checker can fire.
//!
//! A mutant lives in the simulator's shell only. No production code knows of it.

use crate::plan::{FaultClass, Plan, PowerLoss};
use crate::scenario::Scenario;
use floe_ledger::records::{Account, EpochRecord};
use floe_ledger::repairs::Batch;
use floe_ledger::{ChangeSet, Decision, MemoryState};
use floe_machines::custody;
use floe_types::Committee;
use floe_types::codec;
use floe_types::laws::Law;
use std::fmt;
use std::str::FromStr;

/// A defect, switched on for a whole run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// One node's disk changes a balance when it writes a block.
    TamperWithState,
    /// Holders say *stored* and confirm without the disk having synced.
    ConfirmBeforeDurable,
    /// A reader's verified slivers change before they are used, and nobody compares the id of what is handed out.
    HandOutUnchecked,
    /// One amount is credited twice on every disk: all nodes agree on the wrong sum.
    CreditTwice,
    /// One node's disk remembers other verdicts than the block decided.
    KeepOtherVerdicts,
    /// Votes leave before the journal is synced.
    PublishBeforeSync,
    /// Nodes that fell come back without hearing anybody.
    DeafAfterRestart,
    /// Secrets of past terms are kept.
    KeepPastKeys,
    /// A node with an empty disk takes it for its own, and itself for one that has said nothing yet.
    TrustEmptyDisk,
    /// Who gathers a shard keeps nothing of it and attests it.
    AttestUngathered,
    /// A new term's committee has every seat one member further on.
    TurnAllSeats,
    /// The ledger takes an equivocator for punished before it is.
    ForgiveInAdvance,
    /// Nobody takes notice of what one node shows.
    OverlookOne,
    /// Everybody asks for symbols of all it lacks, and holders give them to whoever asks.
    HelpAnybody,
    /// Nodes rebuild what they have.
    RebuildWhatIsHere,
    /// Every disk has each batch of tickets twice.
    PlanTwice,
    /// No disk remembers what holders of gaps owe.
    ForgiveDebts,
}

impl Mutant {
    /// Every mutant.
    pub const ALL: [Mutant; 17] = [
        Mutant::TamperWithState,
        Mutant::ConfirmBeforeDurable,
        Mutant::HandOutUnchecked,
        Mutant::CreditTwice,
        Mutant::KeepOtherVerdicts,
        Mutant::PublishBeforeSync,
        Mutant::DeafAfterRestart,
        Mutant::KeepPastKeys,
        Mutant::TrustEmptyDisk,
        Mutant::AttestUngathered,
        Mutant::TurnAllSeats,
        Mutant::ForgiveInAdvance,
        Mutant::OverlookOne,
        Mutant::HelpAnybody,
        Mutant::RebuildWhatIsHere,
        Mutant::PlanTwice,
        Mutant::ForgiveDebts,
    ];

    /// The law whose checker must catch it.
    #[must_use]
    pub fn law(self) -> Law {
        match self {
            Mutant::TamperWithState => Law::I1,
            Mutant::ConfirmBeforeDurable | Mutant::AttestUngathered => Law::I2,
            Mutant::TurnAllSeats => Law::I16,
            Mutant::ForgiveInAdvance => Law::I19,
            Mutant::HelpAnybody => Law::I9,
            Mutant::RebuildWhatIsHere => Law::I11,
            Mutant::PlanTwice => Law::I13,
            Mutant::ForgiveDebts => Law::I21,
            Mutant::HandOutUnchecked => Law::I4,
            Mutant::OverlookOne => Law::I5,
            Mutant::CreditTwice => Law::I7,
            Mutant::KeepOtherVerdicts => Law::I14,
            Mutant::PublishBeforeSync | Mutant::KeepPastKeys | Mutant::TrustEmptyDisk => Law::I15,
            Mutant::DeafAfterRestart => Law::I18,
        }
    }

    /// The plan in which it shows.
    pub(crate) fn scenario(self) -> Scenario {
        match self {
            Mutant::KeepPastKeys => Scenario::Churn,
            Mutant::TrustEmptyDisk => Scenario::Disks,
            Mutant::AttestUngathered => Scenario::Terms,
            Mutant::TurnAllSeats => Scenario::Churn,
            Mutant::ForgiveInAdvance => Scenario::Evidence,
            Mutant::OverlookOne => Scenario::Static,
            Mutant::HelpAnybody | Mutant::RebuildWhatIsHere | Mutant::PlanTwice | Mutant::ForgiveDebts => {
                Scenario::Repair
            }
            _ => Scenario::Mixed,
        }
    }

    /// Makes a plan one in which the defect can show: a missing sync hurts only who loses power.
    pub(crate) fn adjust(self, plan: &mut Plan) {
        let falls = matches!(self, Mutant::ConfirmBeforeDurable | Mutant::PublishBeforeSync | Mutant::DeafAfterRestart);
        if falls {
            plan.crash_every = Some(4_000);
            plan.down_max = 500;
            plan.power_loss = PowerLoss::Taken;
            plan.classes.extend([FaultClass::Crash, FaultClass::PowerLoss]);
        }
        let first = [Mutant::TamperWithState, Mutant::KeepOtherVerdicts, Mutant::CreditTwice, Mutant::OverlookOne];
        if first.contains(&self) {
            // The meddler is node 0, which then must be an honest one.
            plan.villains.retain(|villain| villain.node() != 0);
        }
        plan.classes.sort_unstable();
        plan.classes.dedup();
    }

    /// Notes a key as punished in what one block writes.
    pub(crate) fn forgive(key: &[u8; 32], changes: &mut ChangeSet) {
        /// The tag of the table of offences, as the ledger's own list gives it.
        const OFFENCES: u8 = 47;
        let entry = [&[OFFENCES][..], key].concat();
        changes.0.insert(entry, Some(codec::encode(&floe_types::Epoch(1))));
    }

    /// Writes every batch of tickets once more, under numbers of its own.
    pub(crate) fn plan_again(changes: &mut ChangeSet) {
        /// The tag of the table of tickets, as the ledger's own list gives it.
        const TICKETS: u8 = 70;
        let batches: Vec<Batch> = changes
            .0
            .iter()
            .filter(|(key, _)| key.first() == Some(&TICKETS))
            .filter_map(|(_, value)| postcard::from_bytes(value.as_ref()?).ok())
            .collect();
        for mut batch in batches {
            batch.first.0 += 1 << 40;
            let last = batch.first.0 + batch.entries.len() as u64 - 1;
            let key = [&[TICKETS][..], &last.to_be_bytes()].concat();
            changes.0.insert(key, Some(codec::encode(&batch)));
        }
    }

    /// Turns the committee that one block puts into office, if it does.
    fn turn(changes: &mut ChangeSet) {
        /// The tag of the table of committees, as the ledger's own list gives it.
        const COMMITTEE: u8 = 6;
        let entry = changes.0.iter_mut().find(|(key, _)| key.first() == Some(&COMMITTEE));
        let Some((_, Some(value))) = entry else { return };
        let Ok(office) = postcard::from_bytes::<Committee>(value) else { return };
        let mut members = office.members().to_vec();
        let mut shards: Vec<_> = members.iter().map(|member| member.shards.clone()).collect();
        shards.rotate_left(1);
        members.iter_mut().zip(shards).for_each(|(member, shards)| member.shards = shards);
        if let Ok(turned) = Committee::of_proven(office.term(), office.shards(), members) {
            *value = codec::encode(&turned);
        }
    }

    /// What a holder does that gives symbols to whoever asks, without its machine.
    pub(crate) fn helps(self, input: &custody::Input, shards: u16) -> Option<custody::Effect> {
        match input {
            custody::Input::SymbolAsked { stream, request, held: Some(_), .. } if self == Mutant::HelpAnybody => {
                let pair = floe_erasure::pair_of(&request.blob, request.shard, shards);
                Some(custody::Effect::Help { stream: *stream, pair, request: *request })
            }
            _ => None,
        }
    }

    /// Changes what one block writes.
    pub(crate) fn meddle(self, state: &MemoryState, changes: &mut ChangeSet) {
        /// Tags of tables, as the ledger's own list gives them.
        const ACCOUNTS: u8 = 2;
        const EPOCHS: u8 = 21;
        const DEBTS: u8 = 74;
        match self {
            Mutant::TamperWithState | Mutant::CreditTwice => {
                let found = state.entries().find(|(key, _)| key.first() == Some(&ACCOUNTS));
                let Some((key, value)) = found else { return };
                let value = changes.0.get(key).cloned().flatten().unwrap_or_else(|| value.to_vec());
                if let Ok(mut account) = postcard::from_bytes::<Account>(&value) {
                    account.balance.0 += 1;
                    changes.0.insert(key.to_vec(), Some(codec::encode(&account)));
                }
            }
            Mutant::KeepOtherVerdicts => {
                let records = changes.0.iter_mut().filter(|(key, _)| key.first() == Some(&EPOCHS));
                for value in records.filter_map(|(_, value)| value.as_mut()) {
                    if let Ok(mut record) = postcard::from_bytes::<EpochRecord>(value) {
                        record.boundary.decision = match record.boundary.decision {
                            Decision::Decided => Decision::Undecided,
                            Decision::Undecided => Decision::Decided,
                        };
                        *value = codec::encode(&record);
                    }
                }
            }
            Mutant::TurnAllSeats => Mutant::turn(changes),
            Mutant::PlanTwice => Mutant::plan_again(changes),
            Mutant::ForgiveDebts => changes.0.retain(|key, _| key.first() != Some(&DEBTS)),
            _ => {}
        }
    }

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mutant::TamperWithState => "tamper-with-state",
            Mutant::ConfirmBeforeDurable => "confirm-before-durable",
            Mutant::HandOutUnchecked => "hand-out-unchecked",
            Mutant::CreditTwice => "credit-twice",
            Mutant::KeepOtherVerdicts => "keep-other-verdicts",
            Mutant::PublishBeforeSync => "publish-before-sync",
            Mutant::DeafAfterRestart => "deaf-after-restart",
            Mutant::KeepPastKeys => "keep-past-keys",
            Mutant::TrustEmptyDisk => "trust-empty-disk",
            Mutant::AttestUngathered => "attest-ungathered",
            Mutant::TurnAllSeats => "turn-all-seats",
            Mutant::ForgiveInAdvance => "forgive-in-advance",
            Mutant::OverlookOne => "overlook-one",
            Mutant::HelpAnybody => "help-anybody",
            Mutant::RebuildWhatIsHere => "rebuild-what-is-here",
            Mutant::PlanTwice => "plan-twice",
            Mutant::ForgiveDebts => "forgive-debts",
        }
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mutant {
    type Err = String;

    fn from_str(text: &str) -> Result<Mutant, String> {
        let named = Mutant::ALL.into_iter().find(|mutant| mutant.name() == text);
        named.ok_or_else(|| format!("no such mutant; there are {}", Mutant::ALL.map(Mutant::name).join(", ")))
    }
}
