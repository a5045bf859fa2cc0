//! The health checks that this version can make: what is wrong, for whom, since when, and what to do.

use super::explain::in_worst_case;
use super::look::Look;
use floe_api::model::{Axis, Check, CheckCode, Health, HealthState, Margin, Time};
use floe_storage::Statistics;
use floe_types::Frost;

/// Free and reclaimable room below this share of the disk is worth a word, in percent.
const DISK_LOW_PERCENT: u64 = 10;
/// Blocks behind the highest that any member claims before a node counts as behind.
const BEHIND_BLOCKS: u64 = 100;

struct Finding {
    code: CheckCode,
    state: HealthState,
    since: Option<Time>,
    summary: String,
    effect: &'static str,
    next: &'static str,
}

impl Finding {
    fn check(self) -> Check {
        let text = |text: &'static str| (!text.is_empty()).then(|| text.to_owned());
        Check {
            axis: self.code.axis(),
            code: self.code,
            state: self.state,
            since: self.since,
            summary: self.summary,
            effect: text(self.effect),
            known: None,
            next: text(self.next),
        }
    }
}

impl Look<'_> {
    /// All checks, the worst first.
    #[must_use]
    pub fn health(&self, disk: &Statistics, balance: Frost) -> Health {
        let mut checks = Vec::new();
        checks.extend(self.decisions());
        checks.extend(self.data());
        checks.extend(self.own(disk, balance).into_iter().map(Finding::check));
        Health::worst(checks, "the network decides, no blob is thin, this node is well")
    }

    fn decisions(&self) -> Vec<Check> {
        let (deciding, quorum, total) = (self.deciding(), self.committee.quorum(), self.committee.shards());
        let answering = deciding.answering.shards;
        let mut found = Vec::new();
        if let Some(lost) = deciding.no_quorum {
            let finding = Finding {
                code: CheckCode::CommitteeNoQuorum,
                state: HealthState::Error,
                since: Some(lost.since),
                summary: format!("{answering} of {total} seats answer, {quorum} needed"),
                effect: "stores, renewals and verdicts wait; reads work while enough fragments answer",
                next: "bring back members until the needed seats answer: floe committee show",
            };
            let known = self.latest_decided().ok().flatten().map(|record| {
                let age = self.now.millis_since(record.ended.into()) / 1_000;
                format!("last verdicts are those of epoch {}, {age} s old", record.epoch)
            });
            found.push(Check { known, ..finding.check() });
        } else if answering.saturating_sub(self.largest_answering()) < quorum {
            let finding = Finding {
                code: CheckCode::QuorumThin,
                state: HealthState::Warn,
                since: None,
                summary: format!(
                    "{answering} seats answer, {quorum} decide, the largest member holds {}",
                    self.largest_answering()
                ),
                effect: "one large member away and nothing is decided until one returns",
                next: "bring back silent members, postpone restarts: floe committee show",
            };
            found.push(finding.check());
        }
        let late = self.overdue_millis();
        let epoch = self.context.params.epoch_millis;
        if late > epoch / 10 && late > 1_500 {
            let finding = Finding {
                code: CheckCode::EpochOverdue,
                state: if late > epoch / 2 { HealthState::Error } else { HealthState::Warn },
                since: Some(self.boundary_about()),
                summary: format!("epoch {} should have ended {} s ago", self.head.epoch, late / 1_000),
                effect: "verdicts are older than they should be; nothing expires meanwhile",
                next: "",
            };
            found.push(finding.check());
        }
        let absent = total.saturating_sub(answering);
        let faulty = self.committee.faulty();
        if absent > faulty / 2 {
            let grave = u32::from(absent) * 10 > u32::from(faulty) * 9;
            let finding = Finding {
                code: CheckCode::MembersAbsent,
                state: if grave { HealthState::Error } else { HealthState::Warn },
                since: None,
                summary: format!("{absent} of {total} seats do not answer, {faulty} may be missing"),
                effect: "fewer further failures are survived",
                next: "floe committee show",
            };
            found.push(finding.check());
        }
        found
    }

    fn data(&self) -> Vec<Check> {
        let Ok(Some(record)) = self.latest_decided() else { return Vec::new() };
        let blobs = |verdict| record.boundary.tally.verdicts.get(&verdict).map_or(0, |weight| weight.blobs);
        let mut found = Vec::new();
        let wrong = [
            (CheckCode::BlobsLost, floe_ledger::Verdict::Lost, "are lost: too few of their fragments are held at all"),
            (CheckCode::BlobsUnavailable, floe_ledger::Verdict::Unavailable, "cannot be read until holders return"),
        ];
        for (code, verdict, words) in wrong {
            let count = blobs(verdict);
            if count > 0 {
                let finding = Finding {
                    code,
                    state: HealthState::Error,
                    since: Some(record.ended.into()),
                    summary: format!("{count} blobs {words}"),
                    effect: "their readers get an error",
                    next: "bring back silent members: floe committee show",
                };
                found.push(finding.check());
            }
        }
        let is_thin = |margin: &Margin| margin.nodes <= 2 || margin.domains.is_some_and(|domains| domains <= 1);
        if let Some(margin) = self.least_margin(&record).filter(is_thin) {
            let finding = Finding {
                code: CheckCode::MarginLow,
                state: if margin.nodes <= 1 { HealthState::Error } else { HealthState::Warn },
                since: Some(record.ended.into()),
                summary: format!("the thinnest blob survives the loss of {}", in_worst_case(&margin)),
                effect: "readable now; a few more silent members and it is not",
                next: "bring back silent members: floe committee show",
            };
            found.push(finding.check());
        }
        found
    }

    fn own(&self, disk: &Statistics, balance: Frost) -> Vec<Finding> {
        let mut found = Vec::new();
        let note =
            |code, state, summary: String, effect, next| Finding { code, state, since: None, summary, effect, next };
        let highest = self.live.members.iter().map(|(_, seen)| seen.height.0).max().unwrap_or(0);
        let behind = highest.saturating_sub(self.head.height.0);
        if behind > BEHIND_BLOCKS {
            let summary = format!("{behind} blocks behind the others");
            let effect = "what this node shows is old; it votes again when it has caught up";
            found.push(note(CheckCode::NodeBehind, HealthState::Warn, summary, effect, ""));
        }
        let answering = self.answering();
        let others = self.live.members.iter().filter(|(_, seen)| seen.answering).count();
        if others == 0 && !self.live.members.is_empty() {
            let summary = "no other member answers this node".to_owned();
            let next = "check this node's network and its listen addresses";
            found.push(note(CheckCode::PeersLow, HealthState::Error, summary, "this node is cut off", next));
        } else if answering.shards < self.committee.quorum() {
            let summary = format!("members with {} shards answer this node", answering.shards);
            found.push(note(CheckCode::PeersLow, HealthState::Warn, summary, "", ""));
        }
        let free = disk.disk.free.saturating_sub(disk.reserve_bytes);
        if disk.disk.free < disk.reserve_bytes {
            let summary = "the disk's reserve for votes and metadata is touched".to_owned();
            let effect = "no fragments are taken; the node serves and votes";
            let next = "free space or move the data directory to a larger disk";
            found.push(note(CheckCode::DiskReserve, HealthState::Error, summary, effect, next));
        } else if free.saturating_mul(100) < disk.disk.capacity.saturating_mul(DISK_LOW_PERCENT) {
            let summary = format!("{} MiB free above the reserve", free >> 20);
            let next = "free space or move the data directory to a larger disk";
            found.push(note(CheckCode::DiskNearlyFull, HealthState::Warn, summary, "stores will be refused", next));
        }
        if balance == Frost::ZERO {
            let summary = "this node's account is empty".to_owned();
            let effect = "its gateway cannot pay for stores";
            found.push(note(CheckCode::AccountLow, HealthState::Warn, summary, effect, "floe account show"));
        }
        let protocol = floe_ledger::views::protocol(self.state).unwrap_or_default();
        let known = self.context.versions_known;
        if let Some(next) = protocol.next.filter(|next| next.version > known) {
            let summary = format!(
                "from epoch {} on the network runs protocol version {}, this node knows {known}",
                next.from, next.version
            );
            let next = "install a later version of floe before then";
            found.push(note(CheckCode::UpdateDue, HealthState::Error, summary, "this node will stop then", next));
        }
        debug_assert!(found.iter().all(|finding| finding.code.axis() == Axis::Node));
        found
    }
}
