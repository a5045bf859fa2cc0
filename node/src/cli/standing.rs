//! `node status`: what a node does, what it has to keep, what is missing, and what its operator does next.

use super::args::NodeStatus;
use super::output::{Output, Tone};
use super::text::{self, Clock};
use super::{DONE, Done};
use floe_api::Problem;
use floe_api::client::Client;
use floe_api::model::{Candidacy, DutiesView, ForGood, NodePhase, NodeView, SnapshotView, StakeView};
use std::time::Duration;

/// How often a watched node is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How many times in a row a watched node may fail to answer: a node that has a snapshot starts again.
const FAILURES_MAX: u32 = 60;

/// `floe node status`.
pub(super) fn status(client: &Client, args: &NodeStatus, output: &Output) -> Done {
    if args.watch {
        return watch(client, output);
    }
    let node = client.node()?;
    output.result(&node, || described(&node, output));
    Ok(DONE)
}

/// Prints a line at first and whenever it would be another, until the user has seen enough.
fn watch(client: &Client, output: &Output) -> Done {
    let mut shown: Option<String> = None;
    let mut failures = 0;
    loop {
        match client.node() {
            Ok(node) => {
                failures = 0;
                // The clock is no part of what is compared.
                let line = standing(&node, &output.plain());
                if shown.as_ref() != Some(&line) {
                    let now = Clock::now();
                    output.result(&node, || format!("{}  {}", now.time(now.instant()), standing(&node, output)));
                    shown = Some(line);
                }
            }
            Err(problem) => {
                failures += 1;
                give_up(failures, problem, output)?;
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn give_up(failures: u32, problem: Problem, output: &Output) -> Result<(), Problem> {
    if failures >= FAILURES_MAX {
        return Err(problem);
    }
    if failures == 1 {
        output.note(&format!("the node does not answer ({}), trying again", problem.detail));
    }
    Ok(())
}

/// `MEMBER      7 shards, 4 covered   ...`: what it is and how far it is with it, in a line.
fn standing(node: &NodeView, output: &Output) -> String {
    let (tone, word, what) = match node.phase {
        NodePhase::Starting => (Tone::Thin, "STARTING", String::new()),
        NodePhase::Syncing => (Tone::Thin, "SYNCING", syncing(node)),
        NodePhase::Candidate => (Tone::Thin, "CANDIDATE", candidate(node)),
        NodePhase::Member => (Tone::Good, "MEMBER", member(node)),
        NodePhase::Leaving => (Tone::Thin, "LEAVING", leaving(node)),
        NodePhase::Observer => (Tone::Faint, "OBSERVER", observer(node)),
        NodePhase::Stopping => (Tone::Thin, "STOPPING", String::new()),
    };
    format!("{} {what}", output.paint(tone, &format!("{word:<11}"))).trim_end().to_owned()
}

fn syncing(node: &NodeView) -> String {
    match &node.snapshot {
        Some(snapshot) => arriving(snapshot),
        None => format!("block {} of {}", text::count(node.height.0), text::count(node.height_seen.0)),
    }
}

fn arriving(snapshot: &SnapshotView) -> String {
    let SnapshotView { height, chunks_kept, chunks, bytes, signed_members, signed_shards } = snapshot;
    // Chunks are of about one size.
    let here = u128::from(*bytes) * u128::from(*chunks_kept) / u128::from((*chunks).max(1));
    format!(
        "snapshot of height {}, {} of {}, checked against signatures of {signed_members} members ({signed_shards} shards)",
        text::count(height.0),
        text::size(u64::try_from(here).unwrap_or(*bytes)),
        text::size(*bytes),
    )
}

fn observer(node: &NodeView) -> String {
    match node.duties.map_or(0, |duties| duties.former) {
        0 => "not in the committee, safe to switch off. Missing: stake.   here: floe node candidacy, then on your operator \
              machine: floe committee join"
            .to_owned(),
        former => format!("not in the committee, keeps {former} shards until others have their fragments"),
    }
}

fn candidate(node: &NodeView) -> String {
    let Some(stake) = &node.stake else { return "not in the committee".to_owned() };
    let bonded = text::amount(stake.stake);
    if let Candidacy::Excluded { until_term, .. } = stake.candidacy {
        return format!("{bonded} at stake, excluded until term {until_term}");
    }
    let gathers = node.duties.as_ref().filter(|duties| duties.incoming > 0);
    match (stake.seats_next, gathers) {
        (Some(seats @ 1..), Some(duties)) => {
            format!(
                "chosen: {seats} shards with the next term, {} covered   {}",
                duties.incoming_covered,
                gathered(duties)
            )
        }
        (Some(seats @ 1..), None) => format!("chosen: {seats} shards with the next term"),
        (Some(0), _) => format!("{bonded} at stake, not chosen for the next term{}", considered(stake)),
        (None, _) => format!("{bonded} at stake{}", considered(stake)),
    }
}

fn considered(stake: &StakeView) -> String {
    let at = Clock::now().time(stake.elects_about);
    format!(", considered at the boundary to epoch {}, about {at}", stake.elects_with.next())
}

fn member(node: &NodeView) -> String {
    let Some(duties) = &node.duties else { return format!("{} shards", node.shards) };
    let seats = match duties.seats_covered == duties.seats {
        true => format!("{} of {} covered", duties.seats_covered, duties.seats),
        false => format!("{} shards, {} covered", duties.seats, duties.seats_covered),
    };
    let more = match duties.incoming {
        0 => String::new(),
        more => format!(", {more} more with the next term, {} covered", duties.incoming_covered),
    };
    let former = match duties.former {
        0 => String::new(),
        former => format!("   {former} kept until others have them"),
    };
    format!("{seats}{more}   {}{former}", gathered(duties))
}

/// How much of what it has to keep is here.
fn gathered(duties: &DutiesView) -> String {
    if duties.missing_fragments == 0 && duties.counted {
        return "all duties met".to_owned();
    }
    let (total, fragments) = (text::size(duties.bytes), text::count(duties.missing_fragments));
    match duties.counted {
        true => {
            let here = text::size(duties.bytes.saturating_sub(duties.missing_bytes));
            format!("{here} of {total}, {fragments} fragments being handed over")
        }
        false => format!("more than {fragments} fragments of {total} being handed over"),
    }
}

fn leaving(node: &NodeView) -> String {
    match node.stake.as_ref().and_then(|stake| stake.for_good.as_ref()) {
        Some(ForGood::Now) => "SAFE TO SWITCH OFF: nothing rests on it".to_owned(),
        Some(ForGood::From { epoch, about }) => {
            format!("safe to switch off from epoch {epoch} on, about {}", Clock::now().time(*about))
        }
        Some(ForGood::NotYet { why, earliest, about }) => {
            let at = Clock::now().time(*about);
            format!("still responsible until epoch {earliest} at the earliest, about {at}: {}", why.join("; "))
        }
        None => "gave notice".to_owned(),
    }
}

/// What it has at stake and what it owes; nothing without a stake.
fn stake(node: &NodeView) -> Option<String> {
    let stake = node.stake.as_ref()?;
    let owed = match stake.owed.0.0 {
        0 => "owes nothing".to_owned(),
        _ => format!("owes {} for repair, taken from what it earns", text::amount(stake.owed)),
    };
    Some(format!("stake      {}   {owed}", text::amount(stake.stake)))
}

fn described(node: &NodeView, output: &Output) -> String {
    let clock = Clock::now();
    let store = &node.store;
    let mut rows = vec![
        standing(node, output),
        format!("name       {}   floe {}", node.name, node.version),
        format!("network    \"{}\" {}", node.network_name, node.network.short()),
        format!("node       {}   peer {}", node.node, node.peer),
        format!("account    {}", node.account),
        format!("started    {}", clock.past(node.started)),
        format!(
            "ledger     height {} of {}, epoch {}",
            text::count(node.height.0),
            text::count(node.height_seen.0),
            node.epoch
        ),
        format!("peers      {} connected   listens on {}", node.peers, node.addresses.join(" ")),
        format!(
            "disk       {} fragments, {} live, {} reclaimable, {} free, {} reserved",
            text::count(node.fragments),
            text::size(store.live),
            text::size(store.reclaimable),
            text::size(store.free),
            text::size(store.reserve),
        ),
    ];
    rows.extend(stake(node));
    rows.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use floe_api::model::{StoreBytes, Time};
    use floe_types::{AccountId, Epoch, Height, NetworkId, NodeId};

    fn node(phase: NodePhase) -> NodeView {
        NodeView {
            version: "1".to_owned(),
            network_name: "aurora".to_owned(),
            network: NetworkId([1; 32]),
            node: NodeId([2; 32]),
            peer: "p".to_owned(),
            name: "lyon-2".to_owned(),
            account: AccountId([3; 32]),
            phase,
            started: Time(0),
            height: Height(8),
            epoch: Epoch(41),
            height_seen: Height(9_000),
            shards: 7,
            peers: 4,
            fragments: 0,
            snapshot: None,
            stake: None,
            duties: None,
            store: StoreBytes { live: 0, reclaimable: 0, free: 0, reserve: 0 },
            addresses: Vec::new(),
        }
    }

    #[test]
    fn the_lines_are_those_of_the_contract() {
        let said = |node: &NodeView| standing(node, &Output::plain_text());
        let mut joining = node(NodePhase::Syncing);
        assert_eq!(said(&joining), "SYNCING     block 8 of 9,000");
        joining.snapshot = Some(SnapshotView {
            height: Height(8_112),
            chunks_kept: 2,
            chunks: 4,
            bytes: 2 << 30,
            signed_members: 9,
            signed_shards: 79,
        });
        let arriving = "SYNCING     snapshot of height 8,112, 1.0 GiB of 2.0 GiB, checked against signatures of 9 members (79 shards)";
        assert_eq!(said(&joining), arriving);
        assert!(said(&node(NodePhase::Observer)).contains("Missing: stake."));
        let mut member = node(NodePhase::Member);
        let (bytes, missing_bytes) = (19 << 37, 8 << 37);
        let duties = DutiesView { seats: 7, seats_covered: 4, bytes, missing_bytes, ..DutiesView::default() };
        member.duties = Some(DutiesView { missing_fragments: 812, counted: true, ..duties });
        let wanted = "MEMBER      7 shards, 4 covered   1.4 TiB of 2.4 TiB, 812 fragments being handed over";
        assert_eq!(said(&member), wanted);
        member.duties = Some(DutiesView { seats_covered: 7, missing_bytes: 0, counted: true, ..duties });
        assert_eq!(said(&member), "MEMBER      7 of 7 covered   all duties met");
    }
}
