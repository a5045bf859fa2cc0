//! `status` without an id, `epoch` and `committee`.

use super::args::{self, EpochCommand};
use super::draw::{self, Cell};
use super::output::{Output, Tone};
use super::text::{self, Clock};
use super::{DONE, Done};
use floe_api::client::Client;
use floe_api::model::{CommitteeView, Connection, Deciding, EpochView, Lines, NetworkView, Ruler};
use floe_types::Epoch;
use std::time::Duration;

/// How often a decision that is due is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How many shards of a member are listed by number.
const SHARDS_SHOWN: usize = 8;

/// `floe status` without an id.
pub(super) fn status(client: &Client, args: &args::Status, output: &Output) -> Done {
    let network = client.network()?;
    output.result(&network, || described(&network, output));
    if args.watch { watch(client, network, output) } else { Ok(DONE) }
}

/// Prints the network again at every boundary, and when decisions stop or resume, until the user has seen enough.
fn watch(client: &Client, mut network: NetworkView, output: &Output) -> Done {
    loop {
        let clock = Clock::now();
        let until = Duration::from_millis(network.next_boundary_about.millis_since(clock.instant()));
        std::thread::sleep(until.clamp(LOOK_EVERY, Duration::from_secs(2)));
        let newer = client.network()?;
        let changed = newer.epoch != network.epoch || newer.deciding.no_quorum != network.deciding.no_quorum;
        if changed {
            output.result(&newer, || format!("\n{}", described(&newer, output)));
        }
        network = newer;
    }
}

fn described(network: &NetworkView, output: &Output) -> String {
    let clock = Clock::now();
    let mut rows = vec![
        format!(
            "network    \"{}\" {}   {} members, {} shards, epoch {}",
            network.name,
            network.network.short(),
            network.members,
            network.lines.total,
            text::span(network.epoch_millis),
        ),
        format!(
            "epoch      {} since {}, ends {}",
            network.epoch,
            clock.time(network.epoch_began),
            clock.future(network.next_boundary_about),
        ),
        format!(
            "ledger     height {} at {}   state root {}",
            text::count(network.height.0),
            clock.time(network.block_time),
            head(&network.state_root),
        ),
    ];
    match &network.decided {
        Some(decision) => rows.push(format!(
            "decided    epoch {} at {}   verdict root {}",
            decision.epoch,
            clock.past(decision.at),
            head(&decision.verdict_root),
        )),
        None => rows.push("decided    nothing yet: the first epoch has not ended".to_owned()),
    }
    let counted: Vec<String> = network
        .blobs
        .iter()
        .filter(|count| count.blobs > 0)
        .map(|count| {
            let word = draw::verdict(count.verdict, output);
            format!("{} {word} ({})", text::count(count.blobs), text::size(count.bytes))
        })
        .collect();
    rows.push(format!(
        "blobs      {}",
        if counted.is_empty() { "none decided".to_owned() } else { counted.join(" · ") }
    ));
    match (&network.ruler, &network.margin_min) {
        (Some(ruler), margin) => {
            rows.push("thinnest".to_owned());
            rows.push(draw::ruler(ruler, margin.as_ref()));
        }
        (None, Some(margin)) => rows.push(format!("margin     at least {}", draw::margin_words(margin))),
        (None, None) => {}
    }
    rows.push(deciding(&network.deciding, &network.lines, output));
    rows.join("\n")
}

/// What is observed since the last decision, under its own heading.
fn deciding(deciding: &Deciding, lines: &Lines, output: &Output) -> String {
    let clock = Clock::now();
    let answering = deciding.answering;
    let seats = format!("{} of {} seats answer, {} needed to decide", answering.shards, lines.total, lines.decide);
    match &deciding.no_quorum {
        None => format!("now        {seats}"),
        Some(loss) => {
            let word = output.paint(Tone::Bad, "ERROR  the network cannot decide");
            let reads = match answering.shards >= lines.read {
                true => format!("Reads work ({} fragments answer, {} needed).", answering.shards, lines.read),
                false => format!("Reads fail too ({} fragments answer, {} needed).", answering.shards, lines.read),
            };
            let since =
                format!("since {} ({})", clock.time(loss.since), text::span(clock.instant().millis_since(loss.since)));
            format!("now        {word}: {seats}, {since}\n           stores and verdicts wait. {reads}")
        }
    }
}

/// The first sixteen digits of a root: enough to compare by eye. JSON has it whole.
fn head(root: &str) -> &str {
    root.get(..16).unwrap_or(root)
}

/// `floe epoch` and `floe epoch show`.
pub(super) fn epoch(client: &Client, args: &args::EpochArgs, output: &Output) -> Done {
    let epoch = args.command.as_ref().map(|EpochCommand::Show { epoch }| Epoch(*epoch));
    let view = client.epoch(epoch)?;
    output.result(&view, || epoch_described(&view, output));
    Ok(DONE)
}

fn epoch_described(view: &EpochView, output: &Output) -> String {
    let clock = Clock::now();
    let Some(decision) = &view.decision else {
        let (began, ends) = (clock.time(view.began), clock.future(view.ended_about));
        return format!("epoch {}   not decided yet: began {began}, ends {ends}", view.epoch);
    };
    let lasted = text::span(view.ended_about.millis_since(view.began));
    let mut rows = vec![
        format!("epoch {}   {} to {}   ({lasted})", view.epoch, clock.time(view.began), clock.time(view.ended_about)),
        format!("boundary   height {}   decided {}", text::count(decision.height.0), clock.past(decision.at)),
        format!("verdicts   root {}", decision.verdict_root),
    ];
    if let Some(root) = &view.state_root {
        rows.push(format!("state      root {root}"));
    }
    if let Some(signed) = view.signed_shards {
        rows.push(format!("signed by  {signed} of {} shards, {} needed", view.lines.total, view.lines.decide));
    }
    let verdicts = view.verdicts.iter().map(|record| {
        let shards =
            |of: fn(&Ruler) -> u16| record.ruler.as_ref().map_or_else(|| "-".to_owned(), |ruler| of(ruler).to_string());
        vec![
            Cell::verdict(record.verdict),
            Cell::from(text::count(record.blobs)),
            Cell::from(text::size(record.bytes)),
            Cell::from(shards(|ruler| ruler.held)),
            Cell::from(shards(|ruler| ruler.absent)),
            Cell::from(shards(|ruler| ruler.uncovered)),
            Cell::from(record.margin.as_ref().map_or_else(|| "-".to_owned(), draw::margin_words)),
        ]
    });
    let verdicts: Vec<_> = verdicts.collect();
    if verdicts.is_empty() {
        rows.push("\nno blobs were judged".to_owned());
    } else {
        let head = ["verdict", "blobs", "bytes", "held", "absent", "uncovered", "margin"];
        rows.push(format!("\n{}", draw::table(output, &head, verdicts)));
    }
    let members = view.members.iter().map(|member| {
        let answered = match member.answered {
            Some(true) => "answered",
            Some(false) => "absent",
            None => "undecided",
        };
        let said = |yes: bool, word: &str| if yes { word.to_owned() } else { "-".to_owned() };
        vec![
            Cell::from(&member.name),
            Cell::from(member.shards.to_string()),
            Cell::from(answered),
            Cell::from(said(member.reported, "reported")),
            Cell::from(said(member.signed, "signed")),
        ]
    });
    rows.push(format!(
        "\n{}",
        draw::table(output, &["member", "shards", "in the epoch", "report", "boundary"], members.collect())
    ));
    rows.join("\n")
}

/// `floe committee show`.
pub(super) fn committee(client: &Client, output: &Output) -> Done {
    let view = client.committee()?;
    output.result(&view, || committee_described(&view, output));
    Ok(DONE)
}

fn committee_described(view: &CommitteeView, output: &Output) -> String {
    let members = view.members.iter().map(|member| {
        let mut shards: Vec<String> =
            member.shards.iter().take(SHARDS_SHOWN).map(|shard| shard.0.to_string()).collect();
        if member.shards.len() > SHARDS_SHOWN {
            shards.push("…".to_owned());
        }
        let silent = match member.silent_epochs {
            0 => "answered".to_owned(),
            1 => "silent for 1 epoch".to_owned(),
            epochs => format!("silent for {epochs} epochs"),
        };
        let now = match member.connection {
            Connection::Itself => Cell::from("this node"),
            Connection::Answering => Cell::toned(Tone::Good, "answers"),
            Connection::Silent => Cell::toned(Tone::Thin, "connected, silent"),
            Connection::Disconnected => Cell::toned(Tone::Bad, "not connected"),
        };
        vec![
            Cell::from(&member.name),
            Cell::from(member.shards.len().to_string()),
            Cell::from(shards.join(" ")),
            Cell::from(silent),
            now,
            Cell::from(member.domain.escape_debug().to_string()),
            Cell::from(member.node.short()),
        ]
    });
    let head = ["member", "seats", "shards", "last decision", "now", "domain", "node"];
    let table = draw::table(output, &head, members.collect());
    format!(
        "term {}, epoch {}: {} members, {} shards, {} decide, {} may be faulty\n\n{table}\n\n{}",
        view.term,
        view.epoch,
        view.members.len(),
        view.lines.total,
        view.lines.decide,
        view.faulty,
        deciding(&view.deciding, &view.lines, output),
    )
}
