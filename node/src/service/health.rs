//! The health checks that this version can make: what is wrong, for whom, since when, and what to do.

use super::explain::in_worst_case;
use super::look::Look;
use floe_api::model::{Axis, Check, CheckCode, Health, HealthState, Margin, Time};
use floe_storage::Statistics;
use floe_types::Frost;

/// Free and reclaimable room below this share of the disk is worth a word, in percent.
const DISK_LOW_PERCENT: u64 = 10;
/// Members that one sentence names.
const NAMED_MAX: usize = 6;
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

/// What to do when of so many seats fewer answer than decide; `silent` by seats, the most first.
fn bring_back(silent: &[(u16, &str)], answering: u16, quorum: u16) -> String {
    let enough: Vec<&(u16, &str)> = silent.iter().filter(|(seats, _)| answering + seats >= quorum).collect();
    let explain = "     floe explain network";
    match enough.as_slice() {
        [] => {
            let each: Vec<String> =
                silent.iter().take(NAMED_MAX).map(|(seats, name)| format!("{name} ({seats})")).collect();
            let more = silent.len().checked_sub(NAMED_MAX).filter(|more| *more > 0);
            let more = more.map_or_else(String::new, |more| format!(" and {more} more"));
            let missing = quorum.saturating_sub(answering);
            format!("bring back members with {missing} more seats: {}{more}{explain}", each.join(", "))
        }
        [(seats, name)] => format!("bring back {name}: that is enough ({} seats){explain}", answering + seats),
        several => {
            let names: Vec<&str> = several.iter().take(NAMED_MAX).map(|(_, name)| *name).collect();
            let least = several.iter().map(|(seats, _)| answering + seats).min().unwrap_or(quorum);
            let either = if several.len() == 2 { "either" } else { "any one" };
            format!("bring back {}; {either} is enough ({least} seats){explain}", names.join(" or "))
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
        let mut health = Health::worst(checks, "the network decides, no blob is thin, this node is well");
        if health.checks.first().is_some_and(|worst| worst.code == CheckCode::CommitteeNoQuorum) {
            "the network cannot decide".clone_into(&mut health.summary);
        }
        health
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
                effect: "",
                next: "",
            };
            let read = self.committee.shards() - 2 * self.committee.faulty();
            let reads = if answering >= read { "Reads work" } else { "Reads fail too" };
            let effect =
                format!("stores, renewals and verdicts wait. {reads} ({answering} fragments answer, {read} needed).");
            let (effect, next) = (Some(effect), Some(self.who_would_do(answering, quorum)));
            let known = self.latest_decided().ok().flatten().map(|record| {
                let age = self.now.millis_since(record.ended.into()) / 1_000;
                format!("last verdicts are those of epoch {}, {age} s old", record.epoch)
            });
            found.push(Check { known, effect, next, ..finding.check() });
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

    /// Which silent members would make a quorum again: `bring back node-4 or node-5; either is enough (20 seats)`.
    fn who_would_do(&self, answering: u16, quorum: u16) -> String {
        let silent = self.live.members.iter().filter(|(_, seen)| !seen.answering).map(|(node, _)| node);
        let members = silent.filter_map(|node| self.committee.member(self.committee.index_of(node)?));
        let mut silent: Vec<(u16, &str)> =
            members.map(|member| (member.shards.len() as u16, member.name.as_str())).collect();
        silent.sort_unstable_by_key(|(seats, name)| (std::cmp::Reverse(*seats), *name));
        bring_back(&silent, answering, quorum)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_to_come_back_is_named_with_what_that_makes() {
        let two = [(4, "node-4"), (4, "node-5")];
        let wanted = "bring back node-4 or node-5; either is enough (20 seats)     floe explain network";
        assert_eq!(bring_back(&two, 16, 19), wanted);
        let wanted = "bring back node-4: that is enough (20 seats)     floe explain network";
        assert_eq!(bring_back(&two[..1], 16, 19), wanted);
        let three = [(4, "a"), (4, "b"), (4, "c")];
        let wanted = "bring back members with 7 more seats: a (4), b (4), c (4)     floe explain network";
        assert_eq!(bring_back(&three, 12, 19), wanted);
        let many: Vec<(u16, &str)> = (0..9).map(|_| (1, "x")).collect();
        assert!(bring_back(&many, 10, 19).contains("x (1) and 3 more"));
    }
}
