//! Why things are as they are: the numbers of the newest decision, and the sentences made of them.
//!
//! The sentences are made here, once, so that the command line, `--json` and HTTP say the same. Nothing is observed for
//! them but what is marked as *now*: everything else is read off the ledger.

use super::internal;
use super::look::{Look, verdict_word};
use floe_api::Problem;
use floe_api::model::{
    BlobFacts, Explanation, Facts, HolderView, Margin, NetworkFacts, NodeFacts, PlannedView, RankView, RepairView,
    RiskLine, RiskView, Ruler, Sentence, TicketView, Verdict,
};
use floe_api::service::BlobRef;
use floe_ledger::repairs::{Haste, Ticket, Why};
use floe_ledger::verdict::{Precision, Progress, Risk};
use floe_ledger::views::{self, BlobStatus};
use floe_ledger::{EpochRecord, VerdictRecord};
use floe_risk::reliability::Rank;
use floe_risk::{Params as Constants, Probability};
use floe_types::{BlobId, Epoch, Member, NodeId, SequenceNumber, ShardIndex};
use std::collections::{BTreeMap, BTreeSet};

/// Tickets that a page of them shows.
const TICKETS_MAX: usize = 1_000;

/// 1.0 in Q32: what averages and lines of reliability are counted in.
const ONE_Q32: f64 = 4_294_967_296.0;
/// 1.0 in Q63: what risks are counted in.
const ONE_Q63: f64 = 9_223_372_036_854_775_808.0;

/// How nodes stand, by node.
type Standings = BTreeMap<NodeId, views::NodeStanding>;

fn sentence(label: &str, text: impl Into<String>) -> Sentence {
    Sentence { label: label.to_owned(), text: text.into() }
}

fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// An upper bound as a number for people and programs.
fn number(of: Probability) -> f64 {
    of.bits() as f64 / ONE_Q63
}

fn risk_view(risk: &Risk) -> RiskView {
    let line = |now, trigger, stop| RiskLine { now: number(now), trigger: number(trigger), stop: number(stop) };
    RiskView {
        loss: line(risk.now.loss, risk.trigger.loss, risk.stop.loss),
        margin: line(risk.now.margin, risk.trigger.margin, risk.stop.margin),
        times_bound: risk.urgency as f64 / 1_000.0,
        exact: risk.precision == Precision::Exact,
        repairing: risk.progress == Progress::Repairing,
        counted: risk.counted,
        byzantine: risk.byzantine,
        starts: risk.starts,
    }
}

/// `0.08 of its bound` or `5.5 times its bound`.
fn times(risk: &Risk) -> String {
    let times = risk.urgency as f64 / 1_000.0;
    match times {
        times if times < 0.001 => "below a thousandth of its bound".to_owned(),
        times if times < 1.0 => format!("{times:.2} of its bound"),
        times => format!("{times:.1} times its bound"),
    }
}

fn why(why: Why, home: &str) -> String {
    match why {
        Why::Missing => format!("nobody has it (seat of {home})"),
        Why::Withdrawn { ago } => format!("{home} withdrew it {} ago", plural(ago.0, "epoch", "epochs")),
        Why::Silent { age } => format!("{home} is silent for {}", plural(age.0, "epoch", "epochs")),
    }
}

fn rank(of: Rank) -> RankView {
    match of {
        Rank::Good => RankView::Good,
        Rank::Probation => RankView::Probation,
        Rank::Excluded => RankView::Excluded,
    }
}

impl Look<'_> {
    fn constants(&self) -> Constants {
        views::risk_constants(&self.context.params)
    }

    pub(super) fn name_of(&self, node: &NodeId) -> String {
        let member = self.committee.members().iter().find(|member| member.node == *node);
        member.map_or_else(|| node.short(), |member| member.name.clone())
    }

    fn seat_of(&self, shard: ShardIndex) -> String {
        let holder = self.committee.members().iter().find(|member| member.shards.contains(&shard));
        holder.map_or_else(|| "nobody".to_owned(), |member| member.name.clone())
    }

    fn explanation(&self, title: String, lines: Vec<Sentence>, facts: Facts) -> Result<Explanation, Problem> {
        let decided = self.latest_decided()?;
        Ok(Explanation {
            title,
            lines,
            epoch: self.head.epoch,
            decided: decided.as_ref().map(|record| record.epoch),
            decided_at: decided.map(|record| record.ended.into()),
            next_boundary_about: self.boundary_about(),
            facts,
        })
    }

    fn ticket_view(&self, ticket: &Ticket) -> TicketView {
        TicketView {
            number: ticket.number.0,
            shard: ticket.shard,
            target: ticket.target,
            target_name: self.name_of(&ticket.target),
            kind: ticket.kind.name().to_owned(),
            why: why(ticket.why, &self.seat_of(ticket.shard)),
            since: ticket.since,
            until: ticket.until,
            urgent: ticket.haste == Haste::Urgent,
        }
    }

    fn tickets_for(&self, wanted: impl Fn(&Ticket) -> bool) -> Result<Vec<TicketView>, Problem> {
        let all = views::tickets(self.state).map_err(internal)?;
        let wanted = all.iter().filter(|ticket| wanted(ticket)).take(TICKETS_MAX);
        Ok(wanted.map(|ticket| self.ticket_view(ticket)).collect())
    }

    fn planned(record: Option<&EpochRecord>) -> PlannedView {
        let planned = record.map(|record| record.boundary.planned).unwrap_or_default();
        PlannedView {
            tickets: planned.tickets,
            fragments: planned.pairs,
            urgent_fragments: planned.uncapped,
            cap: planned.cap,
        }
    }

    /// What is being rebuilt. What this node did of it is filled in by who counts it.
    ///
    /// # Errors
    /// [`floe_api::Code::Internal`].
    pub(super) fn repair_view(&self) -> Result<RepairView, Problem> {
        let all = views::tickets(self.state).map_err(internal)?;
        let record = self.latest_ended()?;
        let payout = record.as_ref().map(|record| record.boundary.payout).unwrap_or_default();
        Ok(RepairView {
            epoch: self.head.epoch,
            planned: Self::planned(record.as_ref()),
            paid: payout.repair.into(),
            repaid: payout.repaid.into(),
            reserve: views::totals(self.state).map_err(internal)?.reserve.into(),
            total: all.len() as u64,
            tickets: all.iter().take(TICKETS_MAX).map(|ticket| self.ticket_view(ticket)).collect(),
            rebuilt_here: 0,
            bytes_here: 0,
        })
    }

    fn latest_ended(&self) -> Result<Option<EpochRecord>, Problem> {
        let Some(before) = self.head.epoch.0.checked_sub(1) else { return Ok(None) };
        views::epoch_record(self.state, Epoch(before)).map_err(internal)
    }

    /// How nodes stand, by node: looked up once for all that are shown.
    fn standings(&self) -> Result<Standings, Problem> {
        let all = views::standings(self.state, &self.context.params).map_err(internal)?;
        Ok(all.into_iter().map(|standing| (standing.node, standing)).collect())
    }

    fn answered(&self, node: &NodeId, record: Option<&EpochRecord>) -> bool {
        let index = self.committee.index_of(node);
        record.zip(index).is_some_and(|(record, index)| record.boundary.answered.contains(index))
    }

    fn holders_of(&self, blob: &BlobId) -> Result<Vec<HolderView>, Problem> {
        let (record, standings) = (self.latest_ended()?, self.standings()?);
        let mut by_node: BTreeMap<(NodeId, floe_ledger::RowKind), Vec<ShardIndex>> = BTreeMap::new();
        for holder in views::holders(self.state, blob).map_err(internal)? {
            by_node.entry((holder.node, holder.kind)).or_default().push(holder.shard);
        }
        let view = |((node, kind), shards): ((NodeId, floe_ledger::RowKind), Vec<ShardIndex>)| HolderView {
            node,
            name: self.name_of(&node),
            kind: kind.name().to_owned(),
            shards,
            answered: self.answered(&node, record.as_ref()),
            silent_epochs: standings.get(&node).map_or(0, |standing| standing.silent.0),
        };
        Ok(by_node.into_iter().map(view).collect())
    }

    /// Why a blob's verdict is what it is.
    ///
    /// # Errors
    /// Unknown, ambiguous, or [`floe_api::Code::Internal`].
    pub(super) fn explain_blob(&self, blob: &BlobRef) -> Result<Explanation, Problem> {
        let view = self.find(&self.resolve(blob)?)?;
        let (standing, record) = self.standing(&view)?;
        let sequence = match view.status {
            BlobStatus::Certified { sequence, .. } => Some(sequence),
            BlobStatus::Registered | BlobStatus::Lapsed | BlobStatus::Forgotten { .. } => None,
        };
        let verdict = standing.as_ref().map_or(Verdict::Pending, |standing| standing.verdict);
        let holders = if sequence.is_some() { self.holders_of(&view.blob)? } else { Vec::new() };
        let tickets = match sequence {
            Some(number) => self.tickets_of_blob(number)?,
            None => Vec::new(),
        };
        let epoch = standing.as_ref().and_then(|standing| standing.epoch);
        let short: String = view.blob.to_string().chars().take(4).collect();
        let undecided = verdict == Verdict::Undecided;
        let title = match (&record, epoch) {
            (_, Some(epoch)) if undecided => {
                let last = standing.as_ref().and_then(|standing| standing.last.as_ref());
                let last = last.map_or_else(String::new, |last| {
                    format!(", last {} in epoch {}", last.verdict.word().to_uppercase(), last.epoch)
                });
                format!("{short}…  UNDECIDED in epoch {epoch}{last}")
            }
            (Some(record), Some(epoch)) => format!(
                "{short}…  {} in epoch {epoch}: {} of {} fragments held",
                verdict.word().to_uppercase(),
                record.held,
                self.committee.shards()
            ),
            (_, Some(epoch)) => format!("{short}…  {} since epoch {epoch}", verdict.word().to_uppercase()),
            _ => format!("{short}…  {}: its first boundary has not come", verdict.word().to_uppercase()),
        };
        let outlook = self.outlook(&view, record.as_ref())?;
        // What an undecided epoch came to is not known: the numbers are those of the last decision.
        let record = self.shown(&view.blob, record)?;
        let mut lines = match undecided {
            true => vec![sentence(
                "because",
                "too few members reported to decide the epoch; what follows is of the last decision",
            )],
            false => blob_reasons(record.as_ref(), &holders),
        };
        lines.extend(repair_words(record.as_ref(), &tickets, outlook.begins, &holders));
        lines.push(sentence("next", format!("paid through epoch {}; now is epoch {}", view.last, self.head.epoch)));
        let facts = BlobFacts {
            blob_id: view.blob,
            verdict,
            ruler: record.as_ref().map(|record| Ruler::new(record.held, record.absent, outlook.lines)),
            margin: record.as_ref().map(|record| self.margin(record)).transpose()?,
            risk: record.as_ref().map(|record| risk_view(&record.risk)),
            repair_begins: outlook.begins,
            holders,
            tickets,
        };
        self.explanation(title, lines, Facts::Blob(Box::new(facts)))
    }

    fn tickets_of_blob(&self, number: SequenceNumber) -> Result<Vec<TicketView>, Problem> {
        let constants = self.constants();
        self.tickets_for(|ticket| ticket.scope.contains(&constants, number))
    }

    fn node_facts(
        &self,
        member: &Member,
        standings: &Standings,
        record: Option<&EpochRecord>,
    ) -> Result<NodeFacts, Problem> {
        let constants = self.constants();
        let standing = standings.get(&member.node);
        let average = standing.map_or(ONE_Q32, |standing| standing.reliability.bits() as f64);
        let level = standing.map_or(0.0, |standing| standing.integrity as f64);
        Ok(NodeFacts {
            node: member.node,
            name: member.name.clone(),
            shards: member.shards.len() as u16,
            domain: member.domain.clone(),
            answered: self.answered(&member.node, record),
            slots: self.slots_of(&member.node, record)?,
            silent_epochs: standing.map_or(0, |standing| standing.silent.0),
            reliability: average / ONE_Q32,
            probation_below: constants.standing.probation as f64 / ONE_Q32,
            excluded_below: constants.standing.exclusion as f64 / ONE_Q32,
            rank: standing.map_or(RankView::Good, |standing| rank(standing.rank)),
            integrity_gauge: level / constants.gauge.trip as f64,
            rebuilds_until: standing.and_then(|standing| standing.rebuilds_until),
            owed: standing.map(|standing| standing.owed).unwrap_or_default().into(),
            unpaid_bytes: standing.map_or(0, |standing| standing.unpaid_bytes),
            tickets: Vec::new(),
        })
    }

    /// Of the decided slots of the epoch in `record`, those in which the node held.
    fn slots_of(&self, node: &NodeId, record: Option<&EpochRecord>) -> Result<Option<(u16, u16)>, Problem> {
        let (Some(index), Some(record)) = (self.committee.index_of(node), record) else { return Ok(None) };
        if record.term != self.committee.term() {
            return Ok(None);
        }
        let attendance = floe_ledger::reports::attendance(self.state, record.epoch).map_err(internal)?;
        Ok(attendance.map(|attendance| (attendance.held(index), attendance.slots().decided)))
    }

    /// Why a node stands as it does.
    ///
    /// # Errors
    /// [`floe_api::Code::BadRequest`] when it is no member, or [`floe_api::Code::Internal`].
    pub(super) fn explain_node(&self, node: &NodeId) -> Result<Explanation, Problem> {
        let member = self.committee.members().iter().find(|member| member.node == *node);
        let Some(member) = member else {
            let detail = format!("{} is no member of the committee of term {}", node.short(), self.committee.term());
            return Err(Problem::bad_request("node", detail).hint("floe committee show"));
        };
        let record = self.latest_ended()?;
        let mut facts = self.node_facts(member, &self.standings()?, record.as_ref())?;
        facts.tickets = self.tickets_for(|ticket| ticket.target == *node)?;
        let lines = node_reasons(&facts, &self.constants());
        let state = match (facts.rank, facts.answered) {
            (RankView::Excluded, _) => "EXCLUDED".to_owned(),
            (_, false) if facts.silent_epochs > 0 => {
                format!("SILENT for {}", plural(facts.silent_epochs, "epoch", "epochs"))
            }
            (RankView::Probation, _) => "on PROBATION".to_owned(),
            (RankView::Good, true) => "WELL".to_owned(),
            (RankView::Good, false) => "NOT JUDGED YET".to_owned(),
        };
        let title = format!("{}  {state}: {} shards, reliability {:.3}", facts.name, facts.shards, facts.reliability);
        self.explanation(title, lines, Facts::Node(Box::new(facts)))
    }

    /// Why the network is as it is.
    ///
    /// # Errors
    /// [`floe_api::Code::Internal`].
    pub(super) fn explain_network(&self, name: &str) -> Result<Explanation, Problem> {
        let (record, standings) = (self.latest_ended()?, self.standings()?);
        let members = self.committee.members().iter();
        let members = members.map(|member| self.node_facts(member, &standings, record.as_ref()));
        let members = members.collect::<Result<Vec<_>, Problem>>()?;
        let thinnest = self.thinnest_now()?;
        let known = || record.as_ref().and_then(|record| self.thinnest(record));
        let facts = NetworkFacts {
            answering_now: self.answering().shards,
            needed: self.committee.quorum(),
            planned: Self::planned(record.as_ref()),
            ruler: thinnest.map(|(ruler, _)| ruler),
            thinnest: thinnest.map(|(_, margin)| margin).or_else(known),
            members,
        };
        let lines = self.network_reasons(&facts, record.as_ref());
        let decides = if facts.answering_now >= facts.needed { "decides" } else { "CANNOT DECIDE" };
        let title = format!("{name}, epoch {}: the network {decides}", self.head.epoch);
        self.explanation(title, lines, Facts::Network(Box::new(facts)))
    }

    fn network_reasons(&self, facts: &NetworkFacts, record: Option<&EpochRecord>) -> Vec<Sentence> {
        let mut lines = Vec::new();
        let silent: Vec<&NodeFacts> = facts.members.iter().filter(|member| member.silent_epochs > 0).collect();
        if silent.is_empty() {
            lines.push(sentence("because", format!("all {} members answered", facts.members.len())));
        } else {
            let each = |member: &&NodeFacts| {
                let epochs = plural(member.silent_epochs, "epoch", "epochs");
                format!("{} ({} shards, {epochs})", member.name, member.shards)
            };
            let names: Vec<String> = silent.iter().map(each).collect();
            let (silent, all) = (silent.len(), facts.members.len());
            lines.push(sentence("because", format!("{silent} of {all} members silent: {}", names.join(", "))));
        }
        // Seen since the last decision, and no part of it.
        let quiet = self.live.members.iter().filter(|(_, seen)| !seen.answering).map(|(node, _)| node);
        let quiet: Vec<String> = facts
            .members
            .iter()
            .filter(|member| member.silent_epochs == 0 && quiet.clone().any(|node| *node == member.node))
            .map(|member| format!("{} ({})", member.name, plural(u64::from(member.shards), "shard", "shards")))
            .collect();
        if !quiet.is_empty() {
            lines.push(sentence("now", format!("since the last decision silent, too: {}", quiet.join(", "))));
        }
        let (now, needed) = (facts.answering_now, facts.needed);
        let total = self.committee.shards();
        let spare = now.saturating_sub(needed);
        let largest = self.largest_answering();
        lines.push(sentence(
            "so",
            match now.checked_sub(needed) {
                None => format!("{now} of {total} seats answer now, deciding needs {needed}: stores, renewals and verdicts wait; reads go on"),
                Some(_) if largest > spare => format!("{now} of {total} seats answer now, deciding needs {needed}: not one of the largest, with {largest}, may go too"),
                Some(_) => format!("{now} of {total} seats answer now, deciding needs {needed}"),
            },
        ));
        if let Some(thinnest) = &facts.thinnest {
            lines.push(sentence("risk", format!("the thinnest blob survives the loss of {}", in_worst_case(thinnest))));
        }
        let verdicts = record.map(|record| &record.boundary.tally.verdicts);
        let words = verdicts
            .into_iter()
            .flatten()
            .map(|(verdict, weight)| format!("{} {}", weight.blobs, verdict_word(*verdict).word()));
        let words: Vec<String> = words.collect();
        if !words.is_empty() {
            lines.push(sentence("blobs", words.join(", ")));
        }
        let planned = &facts.planned;
        lines.push(sentence(
            "repair",
            match planned.tickets {
                0 => "nothing is to be rebuilt".to_owned(),
                tickets => format!(
                    "{} for {} fragments: floe repair status",
                    plural(tickets, "ticket", "tickets"),
                    planned.fragments.saturating_add(planned.urgent_fragments)
                ),
            },
        ));
        if now < needed {
            lines.push(sentence("you", "bring back silent members until the needed seats answer"));
        } else if !silent_members(facts) && planned.tickets == 0 {
            lines.push(sentence("you", "nothing to do"));
        } else {
            lines.push(sentence("you", "reach the operators of silent members; postpone restarts: floe node can-stop"));
        }
        lines
    }
}

/// `any 2 of 6 nodes, or of any 1 of 3 failure domains`.
pub(super) fn in_worst_case(margin: &Margin) -> String {
    let domains = match (margin.domains, margin.of_domains) {
        (Some(domains), Some(of)) => format!(", or of any {domains} of {of} failure domains"),
        _ => String::new(),
    };
    format!("any {} of {} nodes{domains}", margin.nodes, margin.of_nodes)
}

fn silent_members(facts: &NetworkFacts) -> bool {
    facts.members.iter().any(|member| member.silent_epochs > 0)
}

fn blob_reasons(record: Option<&VerdictRecord>, holders: &[HolderView]) -> Vec<Sentence> {
    let mut lines = Vec::new();
    let Some(record) = record else { return lines };
    // A node that is there for seats and as a stand-in is one.
    let mut of_node: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for holder in holders.iter().filter(|holder| !holder.answered && holder.silent_epochs > 0) {
        let (shards, epochs) = of_node.entry(&holder.name).or_default();
        (*shards, *epochs) = (*shards + holder.shards.len() as u64, holder.silent_epochs);
    }
    let silent: Vec<String> = of_node
        .into_iter()
        .map(|(name, (shards, epochs))| {
            format!("{name} ({}) silent for {}", plural(shards, "shard", "shards"), plural(epochs, "epoch", "epochs"))
        })
        .collect();
    let mut because = match (record.absent, record.uncovered) {
        (0, 0) => vec!["every shard is covered and its holder answered".to_owned()],
        _ => silent,
    };
    if record.uncovered > 0 {
        because.push(format!("nobody attests {} of the shards", record.uncovered));
    }
    if !because.is_empty() {
        lines.push(sentence("because", because.join("; ")));
    }
    let so = format!(
        "{} more shards than a read needs, in the worst case any {} of {} nodes may go",
        record.margin_shards, record.margin_nodes, record.nodes
    );
    lines.push(sentence("so", so));
    lines
}

fn repair_words(
    record: Option<&VerdictRecord>,
    tickets: &[TicketView],
    begins: Option<Epoch>,
    holders: &[HolderView],
) -> Vec<Sentence> {
    let mut lines = Vec::new();
    let Some(record) = record else { return lines };
    lines.push(sentence("risk", times(&record.risk)));
    let silent: BTreeSet<&str> = holders.iter().filter(|one| one.silent_epochs > 0).map(|one| &*one.name).collect();
    let silent: Vec<&str> = silent.into_iter().collect();
    let words = match (tickets.is_empty(), begins) {
        (false, _) => {
            let mut targets: BTreeMap<&str, usize> = BTreeMap::new();
            tickets.iter().for_each(|ticket| *targets.entry(&ticket.target_name).or_default() += 1);
            let each: Vec<String> = targets.iter().map(|(name, count)| format!("{name} {count}")).collect();
            format!("{} rebuilt: {}", plural(tickets.len() as u64, "fragment is", "fragments are"), each.join(", "))
        }
        (true, Some(epoch)) => format!("not repaired; if nothing changes, repair starts at epoch {epoch}"),
        (true, None) if record.absent == 0 && record.uncovered == 0 => "nothing is missing".to_owned(),
        (true, None) if record.verdict == floe_ledger::Verdict::Tolerated && !silent.is_empty() => {
            format!("not repaired, on purpose: no repair before {} is excluded", silent.join(" or "))
        }
        (true, None) => "not repaired, on purpose: the risk is below its bound".to_owned(),
    };
    lines.push(sentence("repair", words));
    lines
}

fn node_reasons(facts: &NodeFacts, constants: &Constants) -> Vec<Sentence> {
    let mut lines = Vec::new();
    let slots =
        facts.slots.map(|(held, decided)| format!("it held in {held} of {decided} decided slots of the last epoch"));
    let because = match (facts.silent_epochs, slots) {
        (0, Some(slots)) => slots,
        (0, None) => "it answered when it was last judged".to_owned(),
        (silent, slots) => {
            let more = slots.map_or_else(String::new, |slots| format!("; {slots}"));
            format!("it did not answer for {}{more}", plural(silent, "decided epoch", "decided epochs"))
        }
    };
    lines.push(sentence("because", because));
    lines.push(sentence(
        "so",
        match facts.rank {
            RankView::Good => "it may have seats and is paid by what it shows".to_owned(),
            RankView::Probation => format!("below {:.2} it gets no new seats", facts.probation_below),
            RankView::Excluded => {
                "it loses its seats at the next term, waits, and begins again with an empty store".to_owned()
            }
        },
    ));
    if facts.rank != RankView::Excluded {
        lines.push(sentence(
            "next",
            format!(
                "excluded below {:.2} at two checks in a row, one every {}",
                facts.excluded_below,
                plural(constants.standing.check_every.0, "epoch", "epochs")
            ),
        ));
    }
    if facts.integrity_gauge > 0.0 {
        let share = facts.integrity_gauge;
        lines.push(sentence("risk", format!("samples of it were missing: its gauge is at {share:.2}, at 1 it trips")));
    }
    if let Some(last) = facts.rebuilds_until {
        let loss = "it lost fragments, and may make them again at once";
        lines.push(sentence("repair", format!("{loss} through epoch {last}; after that, gap by gap in their turn")));
    }
    if !facts.tickets.is_empty() {
        let count = facts.tickets.len() as u64;
        lines.push(sentence("repair", format!("it rebuilds {}", plural(count, "fragment of each blob", "fragments"))));
    }
    lines
}
