//! `explain`, `repair status`, `check`: why things are as they are, what comes next, and what holders say now.

use super::args::{Check, Explain};
use super::output::{Output, Tone};
use super::text::{self, Clock};
use super::{DONE, Done};
use floe_api::client::Client;
use floe_api::model::{BlobFacts, CheckView, Explanation, Facts, NodeFacts, RankView, RepairView, TicketView};
use floe_api::{Code, Problem};
use floe_types::NodeId;

/// Tickets that are shown one by one.
const TICKETS_SHOWN: usize = 20;

/// `floe explain`.
pub(super) fn explain(client: &Client, args: &Explain, output: &Output) -> Done {
    let explanation = match args.what.as_str() {
        "network" => client.explain_network()?,
        "node" => client.explain_node(None)?,
        what => match member(client, what)? {
            Some(node) => client.explain_node(Some(node))?,
            None => client.explain_blob(what).map_err(|problem| match problem.code {
                Code::BlobUnknown | Code::BlobIdMalformed => problem.hint(
                    "explain takes a blob's id or its beginning, a member's name or id, node for this one, or network",
                ),
                _ => problem,
            })?,
        },
    };
    output.result(&explanation, || described(&explanation, output));
    Ok(DONE)
}

/// The member that is called so, or whose id this is.
fn member(client: &Client, what: &str) -> Result<Option<NodeId>, Problem> {
    if let Ok(node) = what.parse() {
        return Ok(Some(node));
    }
    let members = client.committee()?.members;
    Ok(members.into_iter().find(|member| member.name == what).map(|member| member.node))
}

fn described(explanation: &Explanation, output: &Output) -> String {
    let clock = Clock::now();
    let mut rows = vec![explanation.title.clone()];
    let width = explanation.lines.iter().map(|line| line.label.len()).max().unwrap_or(0);
    rows.extend(explanation.lines.iter().map(|line| format!(" {:<width$}  {}", line.label, line.text)));
    match &explanation.facts {
        Facts::Blob(facts) => rows.extend(blob_rows(facts, output)),
        Facts::Node(facts) => {
            rows.extend(dues(facts, width));
            rows.extend(tickets(&facts.tickets));
        }
        Facts::Network(facts) => {
            rows.extend(facts.ruler.as_ref().map(|ruler| super::draw::ruler(ruler, facts.thinnest.as_ref())));
            rows.extend(facts.members.iter().map(|member| member_row(member, output)));
        }
    }
    let decided = match (explanation.decided, explanation.decided_at) {
        (Some(epoch), Some(at)) => format!("epoch {epoch}, decided {}", clock.past(at)),
        _ => "nothing was decided yet".to_owned(),
    };
    rows.push(format!(
        " {:<width$}  {decided}; next boundary {}",
        "as of",
        clock.future(explanation.next_boundary_about)
    ));
    rows.join("\n")
}

fn blob_rows(facts: &BlobFacts, output: &Output) -> Vec<String> {
    let mut rows = Vec::new();
    if let Some(ruler) = &facts.ruler {
        rows.push(super::draw::ruler(ruler, facts.margin.as_ref()));
    }
    for holder in &facts.holders {
        let shards: Vec<String> = holder.shards.iter().map(|shard| shard.0.to_string()).collect();
        let answer = match (holder.answered, holder.silent_epochs) {
            (true, _) => output.paint(Tone::Good, "answered"),
            (false, 0) => output.paint(Tone::Faint, "not asked"),
            (false, silent) => output.paint(Tone::Thin, &format!("silent for {}", epochs(silent))),
        };
        rows.push(format!("  {:<12} {:<9} shards {:<20} {answer}", holder.name, holder.kind, shards.join(" ")));
    }
    rows.extend(tickets(&facts.tickets));
    rows
}

fn epochs(count: u64) -> String {
    format!("{count} {}", if count == 1 { "epoch" } else { "epochs" })
}

fn member_row(member: &NodeFacts, output: &Output) -> String {
    let state = match (member.rank, member.answered, member.silent_epochs) {
        (RankView::Excluded, _, _) => output.paint(Tone::Bad, "excluded"),
        (RankView::Probation, true, _) => output.paint(Tone::Thin, "answered, on probation"),
        (RankView::Probation, false, silent) => output.paint(Tone::Thin, &format!("silent for {silent}, on probation")),
        (RankView::Good, true, _) => output.paint(Tone::Good, "answered"),
        (RankView::Good, false, silent) => output.paint(Tone::Thin, &format!("silent for {}", epochs(silent))),
    };
    format!("  {:<12} {:>4} shards   reliability {:.3}   {state}", member.name, member.shards, member.reliability)
}

/// What it owes for repair, and what it is to be paid for.
fn dues(facts: &NodeFacts, width: usize) -> Vec<String> {
    let mut rows = Vec::new();
    if facts.owed.0.0 > 0 {
        let owed = text::amount(facts.owed);
        rows.push(format!(
            " {:<width$}  it owes {owed} for gaps of its that others filled, taken from what it earns",
            "owes"
        ));
    }
    if facts.unpaid_bytes > 0 {
        let bytes = text::size(facts.unpaid_bytes);
        rows.push(format!(" {:<width$}  it rebuilt {bytes} for others and is paid once it has shown that", "is owed"));
    }
    rows
}

fn tickets(tickets: &[TicketView]) -> Vec<String> {
    let row = |ticket: &TicketView| {
        let haste = if ticket.urgent { ", urgent" } else { "" };
        format!(
            "  ticket {:<6} shard {:<4} to {:<12} as {:<9} {} (since epoch {}, valid through {}{haste})",
            ticket.number, ticket.shard.0, ticket.target_name, ticket.kind, ticket.why, ticket.since, ticket.until,
        )
    };
    let mut rows: Vec<String> = tickets.iter().take(TICKETS_SHOWN).map(row).collect();
    if let Some(more) = tickets.len().checked_sub(TICKETS_SHOWN).filter(|more| *more > 0) {
        rows.push(format!("  and {more} more tickets (all of them: --json)"));
    }
    rows
}

/// `floe repair status`.
pub(super) fn repair(client: &Client, output: &Output) -> Done {
    let repair = client.repair()?;
    output.result(&repair, || repair_rows(&repair).join("\n"));
    Ok(DONE)
}

fn repair_rows(repair: &RepairView) -> Vec<String> {
    let planned = &repair.planned;
    let mut rows = match planned.tickets {
        0 => vec![format!("epoch {}: nothing is to be rebuilt", repair.epoch)],
        tickets if planned.fragments == 0 && planned.urgent_fragments == 0 => {
            vec![format!("epoch {}: {tickets} tickets go on from before, nothing new is planned", repair.epoch)]
        }
        tickets => vec![format!(
            "epoch {}: {tickets} tickets for {} fragments within the cap of {}, {} urgent ones beside it",
            repair.epoch,
            text::count(planned.fragments),
            text::count(planned.cap),
            text::count(planned.urgent_fragments),
        )],
    };
    rows.extend(tickets(&repair.tickets));
    rows.push(format!(
        "reserve     {}   paid {} for rebuilt fragments with the newest boundary, got {} from those whose gaps they were",
        text::amount(repair.reserve),
        text::amount(repair.paid),
        text::amount(repair.repaid),
    ));
    rows.push(format!(
        "this node   rebuilt {} fragments since it started, from {}",
        text::count(repair.rebuilt_here),
        text::size(repair.bytes_here),
    ));
    rows
}

/// `floe check`.
pub(super) fn check(client: &Client, args: &Check, output: &Output) -> Done {
    let check = client.check(&args.id)?;
    output.result(&check, || check_rows(&check, output));
    Ok(DONE)
}

fn check_rows(check: &CheckView, output: &Output) -> String {
    let CheckView { correct, wrong, silent, uncovered, .. } = check;
    let asked = correct + wrong + silent;
    let mut rows = vec![format!(
        "now, from this node: {correct} of {asked} holders opened a random chunk correctly, {wrong} wrong, {silent} silent, \
         {uncovered} shards uncovered   (an observation, not a verdict)"
    )];
    for holder in check.holders.iter().filter(|holder| holder.outcome != "correct") {
        let tone = if holder.outcome == "wrong" { Tone::Bad } else { Tone::Thin };
        rows.push(format!("  {:<12} shard {:<4} {}", holder.name, holder.shard.0, output.paint(tone, &holder.outcome)));
    }
    rows.join("\n")
}
