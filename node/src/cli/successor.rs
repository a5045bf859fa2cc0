//! `genesis survivor`, `genesis successor` and `node succeed`: a network goes on after more than `f` shards are gone for good.
//!
//! ```text
//!  each survivor   floe node stop ── floe genesis survivor ──► survivor.json ──┐ to one of them
//!  one of them     floe genesis successor --survivor ... ──► successor.json    ◄┘ (and the state, for who lacks it)
//!  each survivor   floe genesis successor --compare successor.json, then the id by voice
//!                  floe node succeed --genesis successor.json, then floe node run
//! ```
//!
//! The nodes are stopped all the while: their stores are opened here.

use super::args;
use super::output::Output;
use super::terms;
use super::text::{self, Clock};
use super::{DONE, Done, misconfigured, unusable};
use crate::config::{self, NodeConfig};
use crate::keys::VoteKeyFiles;
use crate::member;
use crate::succession::{AtBoundary, Heir, Source, Succeeded, SuccessionError};
use floe_api::model::Time;
use floe_api::{Code, Problem};
use floe_ledger::evidence::Sealed;
use floe_ledger::successor::{self, Succession, SuccessorError, SuccessorPlan};
use floe_machines::certificates::CommitCertificates;
use floe_storage::{Identity, Store};
use floe_types::genesis::SEALED_BYTES_MAX;
use floe_types::{BlockId, BlockTime, Epoch, Genesis, Height, NetworkId, NodeId, VoteKey, codec};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The longest survivor file in bytes.
const SURVIVOR_BYTES_MAX: u64 = 16 << 10;
/// The most survivor files.
const SURVIVORS_MAX: usize = 2_048;

/// What a survivor tells the maker of the genesis.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Survivor {
    /// The network that cannot decide any more.
    network: NetworkId,
    node: NodeId,
    /// What it will vote with in the successor.
    vote_key: VoteKey,
    /// The newest signed boundary that it has.
    boundary: Height,
    /// The epoch that ended there.
    ended: Epoch,
}

/// A node that is stopped, with its store open.
struct Stopped {
    config: NodeConfig,
    parent: Genesis,
    node: NodeId,
    store: Store,
}

impl Stopped {
    fn open(config: &Path) -> Result<Stopped, Problem> {
        let config = NodeConfig::load(config).map_err(misconfigured)?;
        let parent = config.genesis().map_err(misconfigured)?;
        let node = member::Secrets::read(&config.keys).map_err(misconfigured)?.keys().node();
        let identity = Identity { network: parent.network(), node };
        let store = Store::open(&config.data, identity, config.storage.clone()).map_err(misconfigured)?;
        Ok(Stopped { config, parent, node, store })
    }

    fn at_boundary(&self) -> Result<AtBoundary, Problem> {
        AtBoundary::of(&self.store, &self.parent, &self.config.storage).map_err(failed)
    }
}

fn failed(error: impl Into<SuccessionError>) -> Problem {
    let error = error.into();
    let code = match &error {
        SuccessionError::Successor(SuccessorError::NobodyGone) => Code::Conflict,
        _ => Code::Configuration,
    };
    Problem::new(code, error.to_string())
}

/// `floe genesis survivor`.
pub(super) fn survivor(args: &args::GenesisSurvivor, output: &Output) -> Done {
    let stopped = Stopped::open(&args.config)?;
    let sealed = stopped.store.newest_boundary().map_err(misconfigured)?;
    let directory = stopped.config.data.clone();
    let sealed = sealed.ok_or_else(|| failed(SuccessionError::NoBoundary { directory }))?;
    let header = sealed.open().map_err(misconfigured)?.header;
    let survivor = Survivor {
        network: stopped.parent.network(),
        node: stopped.node,
        vote_key: VoteKeyFiles::for_successor(&stopped.config.keys).map_err(misconfigured)?,
        boundary: header.height,
        ended: header.boundary.map(|boundary| boundary.ended).unwrap_or_default(),
    };
    let text = serde_json::to_string_pretty(&survivor).map_err(misconfigured)?;
    fs::write(&args.output, text + "\n").map_err(|error| unusable(&args.output, &error))?;
    output.result(&survivor, || {
        format!(
            "survivor   {}\nboundary   height {}, end of epoch {}: whoever has the greatest makes the genesis\nwritten    {}\nnext       \
             give it to that one: floe genesis successor --survivor {} ...",
            survivor.node.short(),
            text::count(survivor.boundary.0),
            survivor.ended,
            args.output.display(),
            args.output.display(),
        )
    });
    Ok(DONE)
}

/// `floe genesis successor`.
pub(super) fn successor(args: &args::GenesisSuccessor, output: &Output) -> Done {
    let stopped = Stopped::open(&args.config)?;
    match &args.compare {
        Some(file) => compare(&stopped, file, output),
        None => make(&stopped, args, output),
    }
}

fn make(stopped: &Stopped, args: &args::GenesisSuccessor, output: &Output) -> Done {
    if args.output.exists() {
        let detail = format!("{} is there already; a network's genesis is never written over", args.output.display());
        return Err(Problem::new(Code::Conflict, detail).hint("choose another file with --output"));
    }
    let at = stopped.at_boundary()?;
    let boundary = at.sealed.open().map_err(misconfigured)?.header.height;
    let plan = plan(stopped, args, boundary)?;
    let made = succession(stopped, &at, &plan)?;
    let state =
        args.state.as_ref().map(|file| at.write(file).map_err(failed).map(|bytes| (file, bytes))).transpose()?;
    let text = serde_json::to_string_pretty(&made.genesis).map_err(misconfigured)?;
    fs::write(&args.output, text + "\n").map_err(|error| unusable(&args.output, &error))?;
    let genesis = &made.genesis;
    let document = serde_json::json!({
        "network": genesis.network(),
        "file": args.output,
        "goesOnFrom": stopped.parent.network(),
        "boundary": boundary,
        "firstEpoch": genesis.first_epoch(),
        "members": genesis.members.len(),
        "seatsMoved": made.moved.len(),
        "stateFile": state.map(|(file, _)| file),
    });
    output.result(&document, || told(stopped, &made, (&args.output, boundary), state));
    Ok(DONE)
}

fn told(
    stopped: &Stopped,
    made: &Succession,
    (file, boundary): (&Path, Height),
    state: Option<(&PathBuf, u64)>,
) -> String {
    let genesis = &made.genesis;
    let members: Vec<String> =
        genesis.members.iter().map(|member| format!("{} ({})", member.name, member.shards.len())).collect();
    let state = state.map_or_else(String::new, |(file, bytes)| {
        format!("\nstate      {}, {}: for nodes that do not have it", file.display(), text::size(bytes))
    });
    format!(
        "network    \"{}\" {}\ngoes on    from \"{}\" {} after epoch {}, height {}\nmembers    {}\nseats      {} of {} moved to \
         survivors and begin uncovered\nbegins     {}\nwritten    {}{state}\nnext       every survivor: floe genesis successor --compare {}, \
         then compare the network's id by voice\n           and: floe node succeed --genesis {}",
        genesis.name,
        genesis.network(),
        stopped.parent.name,
        stopped.parent.network().short(),
        genesis.first_epoch().0.saturating_sub(1),
        text::count(boundary.0),
        members.join(" "),
        made.moved.len(),
        genesis.params.shards,
        Clock::now().time(genesis.time.into()),
        file.display(),
        file.display(),
        file.display(),
    )
}

fn plan(stopped: &Stopped, args: &args::GenesisSuccessor, boundary: Height) -> Result<SuccessorPlan, Problem> {
    if args.survivors.len() > SURVIVORS_MAX {
        return Err(Problem::bad_request("survivor", format!("at most {SURVIVORS_MAX} are read")));
    }
    let mut plan = SuccessorPlan {
        name: args.name.clone().unwrap_or_default(),
        time: BlockTime(Time::now().0),
        survivors: std::collections::BTreeMap::new(),
    };
    for path in &args.survivors {
        let survivor = read_survivor(path)?;
        let conflict = |detail: String| Problem::new(Code::Conflict, format!("{}: {detail}", path.display()));
        if survivor.network != stopped.parent.network() {
            return Err(conflict(format!("a survivor of network {}", survivor.network.short())));
        }
        if survivor.boundary > boundary {
            let detail = format!("it has the boundary at height {}, here the newest is {boundary}", survivor.boundary);
            return Err(conflict(detail).hint("make the genesis on that node: nothing that was decided must be lost"));
        }
        if plan.survivors.insert(survivor.node, survivor.vote_key).is_some() {
            return Err(conflict("this node is named twice".to_owned()));
        }
    }
    Ok(plan)
}

fn read_survivor(path: &Path) -> Result<Survivor, Problem> {
    let file = fs::File::open(path).map_err(|error| unusable(path, &error))?;
    let mut text = String::new();
    file.take(SURVIVOR_BYTES_MAX).read_to_string(&mut text).map_err(|error| unusable(path, &error))?;
    serde_json::from_str(&text).map_err(|error| misconfigured(format!("{}: {error}", path.display())))
}

fn succession(stopped: &Stopped, at: &AtBoundary, plan: &SuccessorPlan) -> Result<Succession, Problem> {
    let certificates = CommitCertificates::of(stopped.parent.network());
    successor::successor(&stopped.parent, &at.store, &at.sealed, &certificates, plan).map_err(failed)
}

/// Makes the successor again of what is here and what the file says of the survivors.
fn compare(stopped: &Stopped, file: &Path, output: &Output) -> Done {
    let theirs = config::load_genesis(file).map_err(misconfigured)?;
    let mut at = stopped.at_boundary()?;
    // Nodes need not have the same signatures of one block: theirs is checked like ours.
    if let Some(sealed) = theirs.parent.as_ref().and_then(|parent| codec::decode(&parent.sealed, SEALED_BYTES_MAX).ok())
        && block_of(&sealed).is_some_and(|block| Some(block) == block_of(&at.sealed))
    {
        at.sealed = sealed;
    }
    let survivors = theirs.members.iter().map(|member| (member.node, member.vote_key)).collect();
    let plan = SuccessorPlan { name: theirs.name.clone(), time: theirs.time, survivors };
    let ours = succession(stopped, &at, &plan)?.genesis;
    if ours != theirs {
        let detail = format!("{} is not what this node's data gives: {}", file.display(), difference(&ours, &theirs));
        return Err(Problem::new(Code::Conflict, detail).hint("ask whoever made it; do not start with it"));
    }
    output.result(&serde_json::json!({ "network": ours.network(), "same": true }), || {
        format!("the same   \"{}\" {}: this node's data gives this genesis to the byte", ours.name, ours.network())
    });
    Ok(DONE)
}

fn block_of(sealed: &Sealed) -> Option<BlockId> {
    Some(sealed.open().ok()?.header.id())
}

fn difference(ours: &Genesis, theirs: &Genesis) -> String {
    let boundary = |genesis: &Genesis| genesis.parent.as_ref().map(|parent| (parent.height, parent.block));
    match (boundary(ours), boundary(theirs)) {
        (_, None) => "it goes on from no network".to_owned(),
        (Some((ours, _)), Some((theirs, _))) if ours != theirs => {
            format!("its boundary is at height {theirs}, the newest here at {ours}")
        }
        (ours, theirs) if ours != theirs => "another block at the boundary's height".to_owned(),
        _ if ours.members != theirs.members => "other members or seats".to_owned(),
        _ if ours.params != theirs.params => "other parameters".to_owned(),
        _ => "another state, or another certificate".to_owned(),
    }
}

/// `floe node succeed`.
pub(super) fn succeed(args: &args::NodeSucceed, output: &Output) -> Done {
    let successor = config::load_genesis(&args.genesis).map_err(misconfigured)?;
    let config = NodeConfig::load(&args.config).map_err(misconfigured)?;
    let now = config.genesis().map_err(misconfigured)?;
    let network = successor.network();
    let node = member::Secrets::read(&config.keys).map_err(misconfigured)?.keys().node();
    if !args.yes {
        let what = format!(
            "{} goes on in network \"{}\" {}: blocks and uploads of the network before are dropped, fragments stay",
            config.data.display(),
            successor.name,
            network.short()
        );
        terms::confirm(&what, "There is no way back.")?;
    }
    let source = match &args.state {
        Some(file) => Source::File(file),
        None => Source::Own(&now),
    };
    let heir = Heir { data: &config.data, storage: &config.storage, node, successor: &successor };
    let succeeded = heir.take_over(&source).map_err(failed)?;
    let member = successor.members.iter().find(|member| member.node == node);
    let seated = member.map(|member| member.vote_key);
    VoteKeyFiles::succeed(&config.keys, network, seated).map_err(misconfigured)?;
    let copy = point_at(&args.config, &args.genesis, network)?;
    let role = member.map_or_else(
        || "not a member: it will follow and serve reads".to_owned(),
        |member| format!("member {} with {} of {} shards", member.name, member.shards.len(), successor.params.shards),
    );
    let was = if succeeded == Succeeded::Before { "the store was the successor's already" } else { "fragments stay" };
    let document = serde_json::json!({ "network": network, "node": node, "config": args.config, "genesis": copy });
    output.result(&document, || {
        format!(
            "network    \"{}\" {network}\nnode       {}   {role}\nstore      {}: {was}\nnext       floe node run --config {}",
            successor.name,
            node.short(),
            config.data.display(),
            args.config.display(),
        )
    });
    Ok(DONE)
}

/// Puts a copy of the genesis beside the configuration and names it there; the rest of the file stays as it was typed.
fn point_at(config: &Path, genesis: &Path, network: NetworkId) -> Result<PathBuf, Problem> {
    let name = format!("genesis-{}.json", network.short());
    let copy = config.with_file_name(&name);
    let text = fs::read(genesis).map_err(|error| unusable(genesis, &error))?;
    fs::write(&copy, text).map_err(|error| unusable(&copy, &error))?;
    let text = fs::read_to_string(config).map_err(|error| unusable(config, &error))?;
    let unfinished = config.with_extension("toml.new");
    fs::write(&unfinished, renamed(&text, &name)).map_err(|error| unusable(&unfinished, &error))?;
    fs::rename(&unfinished, config).map_err(|error| unusable(config, &error))?;
    NodeConfig::load(config).and_then(|config| config.genesis()).map_err(misconfigured)?;
    Ok(copy)
}

/// The configuration in `text` with another genesis: the key stands alone on its line, before any section.
fn renamed(text: &str, genesis: &str) -> String {
    let mut named = false;
    let line = |line: &str| {
        let is_key = line.trim_start().strip_prefix("genesis").is_some_and(|rest| rest.trim_start().starts_with('='));
        if is_key && !std::mem::replace(&mut named, true) {
            format!("genesis = \"{genesis}\"\n")
        } else {
            format!("{line}\n")
        }
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_genesis_of_a_configuration_is_changed() {
        let text = "# genesis = \"x\"\n  genesis=\"../genesis.json\"\ndata = \"data\"\n\n[other]\ngenesis = 1\n";
        let wanted = "# genesis = \"x\"\ngenesis = \"new.json\"\ndata = \"data\"\n\n[other]\ngenesis = 1\n";
        assert_eq!(renamed(text, "new.json"), wanted);
        let example = renamed(config::EXAMPLE, "new.json");
        assert_eq!(example.lines().count(), config::EXAMPLE.lines().count());
        assert!(example.contains("\ngenesis = \"new.json\"\n"));
    }
}
