//! `devnet up`, `down`, `kill`, `start` and `status`.

use super::args;
use super::draw::{self, Cell};
use super::output::{Output, Tone};
use super::text::{self, Clock};
use super::{DONE, Done};
use crate::devnet::plan::Plan;
use crate::devnet::{self, Devnet, Node};
use floe_api::model::{Amount, NetworkView, Time};
use floe_api::{Code, Problem};
use floe_types::units::FROST_PER_WAL;
use floe_types::{BlockTime, Frost};
use serde_json::json;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the nodes may take to agree that enough of them answer, once each is ready.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);
/// How often they are asked.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// `floe devnet up`.
pub(super) fn up(args: &args::DevnetUp, output: &Output) -> Done {
    let directory = &args.at.dir;
    let began = Instant::now();
    let devnet = match Devnet::open(directory) {
        Ok(devnet) => same_devnet(devnet, args)?,
        Err(problem) if problem.code == Code::DevnetUnknown => Devnet::create(directory, &plan(args)?)?,
        Err(problem) => return Err(problem),
    };
    devnet.start(devnet.nodes())?;
    let network = formed(&devnet)?;
    let took = text::seconds(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
    output.detail(&format!("ready after {took}"));
    let document = json!({ "directory": devnet.directory(), "devnet": devnet.state(), "network": network });
    output.result(&document, || came_up(&devnet, &network, directory));
    Ok(DONE)
}

/// A devnet that is there may go on when it is stopped and is what was asked for.
fn same_devnet(devnet: Devnet, args: &args::DevnetUp) -> Result<Devnet, Problem> {
    let state = devnet.state();
    let (name, here) = (&state.name, args.at.dir.display());
    let running = devnet.running().len();
    if running > 0 {
        let all = devnet.nodes().len();
        let detail = format!("devnet \"{name}\" in {here} is running: {running} of {all} nodes");
        return Err(Problem::new(Code::Conflict, detail)
            .hint("floe devnet start starts nodes that are down; floe devnet down stops it"));
    }
    let asked = (usize::from(args.nodes), args.shards, millis(args.epoch));
    let there = (devnet.nodes().len(), state.shards, state.epoch_millis);
    if asked != there {
        let (nodes, shards, epoch) = there;
        let detail = format!(
            "{here} holds the stopped devnet \"{name}\" of {nodes} nodes, {shards} shards and epochs of {}",
            text::span(epoch),
        );
        return Err(Problem::new(Code::Conflict, detail)
            .hint("floe devnet start lets it go on; floe devnet down --purge removes it"));
    }
    Ok(devnet)
}

fn plan(args: &args::DevnetUp) -> Result<Plan, Problem> {
    let mut seed = [0u8; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| Problem::new(Code::Internal, format!("the system gives no random bytes: {error}")))?;
    let balance = Frost(FROST_PER_WAL).checked_mul(args.wal);
    Ok(Plan {
        nodes: args.nodes,
        shards: args.shards,
        epoch_millis: millis(args.epoch),
        base_port: args.base_port,
        balance: balance.ok_or_else(|| Problem::bad_request("wal", "that is more WAL than there can be"))?,
        capacity_bytes: room(&args.at.dir)? / u64::from(args.nodes.max(1)),
        time: BlockTime(Time::now().0),
        seed,
    })
}

/// Bytes free where the devnet will be: its nodes share them.
fn room(directory: &Path) -> Result<u64, Problem> {
    let there = directory.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
    let stat = rustix::fs::statvfs(there).map_err(|error| devnet::failed(there, &error.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Waits until the first node sees enough seats answer to decide.
fn formed(devnet: &Devnet) -> Result<NetworkView, Problem> {
    let node = devnet.nodes().first().ok_or_else(|| Problem::new(Code::Configuration, "this devnet has no nodes"))?;
    let client = devnet::client(node)?;
    let began = Instant::now();
    loop {
        let network = client.network()?;
        if network.deciding.answering.shards == network.lines.total || began.elapsed() > FORM_TIMEOUT {
            return Ok(network);
        }
        std::thread::sleep(ASK_EVERY);
    }
}

fn came_up(devnet: &Devnet, network: &NetworkView, directory: &Path) -> String {
    let (clock, state) = (Clock::now(), devnet.state());
    let mut rows = vec![format!(
        "devnet \"{}\": {} nodes, {} shards, epoch {}, data in {}",
        state.name,
        state.nodes.len(),
        state.shards,
        text::span(state.epoch_millis),
        directory.display(),
    )];
    for node in &state.nodes {
        rows.push(format!("  {:<8} http://{}   {} shards   ready", node.name, node.http, node.shards));
    }
    let answering = network.deciding.answering.shards;
    let next = network.next_boundary_about.millis_since(clock.instant());
    rows.push(format!(
        "Committee formed at epoch {} ({answering} of {} shards). Next boundary in {}.",
        network.epoch,
        network.lines.total,
        text::span(next),
    ));
    let balance = text::amount(Amount(Frost(state.balance)));
    rows.push(format!(
        "  prometheus  {}        account \"dev\" (node-1) began with {balance}",
        directory.join("prometheus.yml").display(),
    ));
    rows.push("  next        floe store README.md --epochs 16".to_owned());
    rows.join("\n")
}

/// `floe devnet down`.
pub(super) fn down(args: &args::DevnetDown, output: &Output) -> Done {
    let devnet = Devnet::open(&args.at.dir)?;
    let name = devnet.state().name.clone();
    if args.purge && !args.yes {
        confirm(&devnet)?;
    }
    let (stopped, killed) = devnet.stop()?;
    for node in &killed {
        output.note(&format!("{} did not stop in time and was killed", node.name));
    }
    let document = json!({
        "devnet": name, "stopped": names(&stopped), "killed": names(&killed), "purged": args.purge,
    });
    if args.purge {
        devnet.purge()?;
    }
    output.result(&document, || {
        let removed = if args.purge { ", and removed with everything stored in it" } else { "" };
        format!("devnet \"{name}\": {} nodes stopped{removed}", stopped.len())
    });
    Ok(DONE)
}

/// Asks before everything stored is removed.
fn confirm(devnet: &Devnet) -> Result<(), Problem> {
    let what = format!(
        "removes devnet \"{}\" in {} with everything stored in it",
        devnet.state().name,
        devnet.directory().display()
    );
    if !io::stdin().is_terminal() {
        return Err(Problem::bad_request("yes", format!("--purge {what}; without a terminal it needs --yes")));
    }
    let mut stderr = io::stderr().lock();
    drop(write!(stderr, "This {what}. Go on? [y/N] ").and_then(|()| stderr.flush()));
    let mut answer = String::new();
    drop(io::stdin().lock().read_line(&mut answer));
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Problem::new(Code::Interrupted, "nothing was stopped or removed")),
    }
}

/// `floe devnet kill`.
pub(super) fn kill(args: &args::DevnetNodes, output: &Output) -> Done {
    let devnet = Devnet::open(&args.at.dir)?;
    if args.nodes.is_empty() {
        return Err(Problem::bad_request("node", "name the nodes to kill, such as node-7"));
    }
    let nodes = devnet.named(&args.nodes)?;
    let killed = devnet.kill(&nodes)?;
    output.result(&json!({ "killed": names(&killed) }), || {
        let lines = nodes.iter().map(|node| match killed.contains(node) {
            true => format!("{} killed: {} of {} shards", node.name, node.shards, devnet.state().shards),
            false => format!("{} was not running", node.name),
        });
        lines.collect::<Vec<_>>().join("\n")
    });
    Ok(DONE)
}

/// `floe devnet start`.
pub(super) fn start(args: &args::DevnetNodes, output: &Output) -> Done {
    let devnet = Devnet::open(&args.at.dir)?;
    let nodes = if args.nodes.is_empty() { devnet.nodes().to_vec() } else { devnet.named(&args.nodes)? };
    let started = devnet.start(&nodes)?;
    output.result(&json!({ "started": names(&started) }), || {
        let lines = nodes.iter().map(|node| match started.contains(node) {
            true => format!("{} is back on its seat: {} of {} shards", node.name, node.shards, devnet.state().shards),
            false => format!("{} was running", node.name),
        });
        lines.collect::<Vec<_>>().join("\n")
    });
    Ok(DONE)
}

fn names(nodes: &[Node]) -> Vec<&str> {
    nodes.iter().map(|node| node.name.as_str()).collect()
}

/// `floe devnet status`.
pub(super) fn status(args: &args::DevnetAt, output: &Output) -> Done {
    let devnet = Devnet::open(&args.dir)?;
    let (mut rows, mut documents) = (Vec::new(), Vec::new());
    for node in devnet.nodes() {
        let pid = devnet.pid(node).map(|pid| pid.number());
        let view = match pid {
            Some(_) => devnet::client(node).and_then(|client| client.node()).ok(),
            None => None,
        };
        let word = match (pid, &view) {
            (None, _) => Cell::toned(Tone::Bad, "down"),
            (Some(_), None) => Cell::toned(Tone::Thin, "silent"),
            (Some(_), Some(_)) => Cell::toned(Tone::Good, "runs"),
        };
        let or_dash = |text: Option<String>| Cell::from(text.unwrap_or_else(|| "-".to_owned()));
        rows.push(vec![
            Cell::from(&node.name),
            word,
            Cell::from(format!("http://{}", node.http)),
            Cell::from(node.shards.to_string()),
            or_dash(pid.map(|pid| pid.to_string())),
            or_dash(view.as_ref().map(|view| text::count(view.height.0))),
            or_dash(view.as_ref().map(|view| view.epoch.to_string())),
            or_dash(view.as_ref().map(|view| view.peers.to_string())),
            or_dash(view.as_ref().map(|view| text::count(view.fragments))),
        ]);
        documents.push(json!({ "name": node.name, "http": node.http, "pid": pid, "node": view }));
    }
    let state = devnet.state();
    output.result(&json!({ "devnet": state, "nodes": documents }), || {
        let head = ["node", "state", "url", "shards", "pid", "height", "epoch", "peers", "fragments"];
        format!(
            "devnet \"{}\" in {}: {} of {} nodes run, epoch {}\n\n{}",
            state.name,
            args.dir.display(),
            devnet.running().len(),
            state.nodes.len(),
            text::span(state.epoch_millis),
            draw::table(output, &head, rows),
        )
    });
    Ok(DONE)
}
