//! What can be typed. Words here are the help that people read.

use clap::{Args as ClapArgs, Parser, Subcommand};
use floe_api::model::HistoryPlace;
use floe_types::BlobId;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// A storage network run by many, that decides once an epoch what is true about every blob.
#[derive(Debug, Parser)]
#[command(name = "floe", version, propagate_version = true, max_term_width = 100)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, ClapArgs)]
pub(super) struct Common {
    /// Print one JSON document instead of text.
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(super) json: bool,
    /// Print no progress and no notes.
    #[arg(long, short, global = true, help_heading = "Everywhere")]
    pub(super) quiet: bool,
    /// Say more.
    #[arg(long, short, global = true, help_heading = "Everywhere", conflicts_with = "quiet")]
    pub(super) verbose: bool,
    /// Print no colours. NO_COLOR does the same.
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(super) no_color: bool,
    /// The node to talk to. Without it: a live node of ./devnet, else http://127.0.0.1:7101.
    #[arg(long, global = true, env = "FLOE_URL", help_heading = "Everywhere", value_name = "URL")]
    pub(super) url: Option<String>,
    /// Give up after this time, such as 30s or 5m.
    #[arg(long, global = true, help_heading = "Everywhere", value_name = "TIME", value_parser = duration)]
    pub(super) timeout: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Store a file and print its id.
    Store(Store),
    /// Read a blob back, verified against its id.
    Read(Read),
    /// Show what the network decided about a blob, or, without an id, about itself.
    Status(Status),
    /// Say why a blob, a node or the network is as it is, and what comes next.
    Explain(Explain),
    /// Ask a blob's holders now for a random chunk each.
    Check(Check),
    /// Show what is being rebuilt.
    #[command(subcommand)]
    Repair(RepairCommand),
    /// Pay for a blob for more epochs. Anybody may.
    Extend(Extend),
    /// Say what storing a file would cost. Sends nothing.
    Quote(Quote),
    /// Show the price of storage, and who would serve for what.
    Price,
    /// Set WAL aside so that a blob is paid for again and again, or show what is.
    Renew(Renew),
    /// End one's own registration of a blob early: what was paid for later epochs comes back.
    Delete(Delete),
    /// List certified blobs.
    List(List),
    /// Prove what was decided about a blob, for anyone to check offline.
    Audit(Audit),
    /// Check an audit file. Needs no network.
    Verify(Verify),
    /// Show what was decided in an epoch.
    Epoch(EpochArgs),
    /// Show who holds the shards.
    Committee(CommitteeArgs),
    /// Show an account.
    Account(Account),
    /// Say what is wrong. Exits 0 when all is well, 1 on a warning, 2 on an error, 3 when unknown.
    Health,
    /// Set up and run a node.
    #[command(subcommand)]
    Node(NodeCommand),
    /// Make and show the document a network begins with.
    #[command(subcommand)]
    Genesis(GenesisCommand),
    /// Run a whole network on this machine.
    #[command(subcommand)]
    Devnet(DevnetCommand),
}

#[derive(Debug, ClapArgs)]
pub(super) struct Store {
    /// The file, or - for standard input.
    pub(super) file: PathBuf,
    /// Epochs to pay for, the current one included.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) epochs: u64,
    /// Media type to keep with the blob, such as image/jpeg.
    #[arg(long, value_name = "TYPE")]
    pub(super) content_type: Option<String>,
    /// Do not keep the file's name with the blob.
    #[arg(long)]
    pub(super) no_name: bool,
    /// Keep it until its term ends: nobody can end it early.
    #[arg(long)]
    pub(super) permanent: bool,
    /// Register and pay again when the blob is there already.
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Read {
    /// The blob's id or its first characters, at least 4.
    #[arg(value_parser = unshield_id)]
    pub(super) id: String,
    /// Where to write, or - for standard output.
    #[arg(long, short, default_value = "-", value_name = "FILE")]
    pub(super) output: PathBuf,
    /// Read only these bytes, counted from 0: 0-1023, 1024- for the rest, or -512 for the last ones.
    #[arg(long, value_name = "FIRST-LAST", allow_hyphen_values = true)]
    pub(super) range: Option<floe_api::client::Part>,
    /// Read also what the network no longer defends.
    #[arg(long)]
    pub(super) undefended: bool,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Explain {
    /// A blob's id or its first characters, a member's name or id, node for the one at this address, or network.
    #[arg(value_parser = unshield_id, default_value = "network")]
    pub(super) what: String,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Check {
    /// The blob's id or its first characters, at least 4.
    #[arg(value_parser = unshield_id)]
    pub(super) id: String,
}

#[derive(Debug, Subcommand)]
pub(super) enum RepairCommand {
    /// The tickets of the newest boundary, and what this node has rebuilt.
    Status,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Audit {
    /// The blob's id or its first characters, at least 4.
    #[arg(value_parser = unshield_id)]
    pub(super) id: String,
    /// The epoch that is asked about.
    #[arg(long, required_unless_present = "epochs", conflicts_with = "epochs")]
    pub(super) epoch: Option<u64>,
    /// Where to write the proof.
    #[arg(long, short, value_name = "FILE", required_unless_present = "epochs")]
    pub(super) output: Option<PathBuf>,
    /// Trust the boundary of this epoch instead of genesis: a shorter proof, for those who know that boundary.
    #[arg(long, value_name = "EPOCH")]
    pub(super) from: Option<u64>,
    /// The genesis to check the proof against. Without it, the one that the node gives.
    #[arg(long, value_name = "FILE")]
    pub(super) genesis: Option<PathBuf>,
    /// Show the verdicts of these epochs instead, one line for each change, such as 33..57.
    #[arg(long, value_name = "FIRST..LAST", value_parser = epoch_range, conflicts_with_all = ["output", "from", "genesis"])]
    pub(super) epochs: Option<(u64, u64)>,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Verify {
    /// The audit file.
    pub(super) file: PathBuf,
    /// The network's genesis document, from somebody you trust.
    #[arg(long, value_name = "FILE")]
    pub(super) genesis: PathBuf,
    /// The id of the boundary block that the proof begins with, when it does not begin with genesis.
    #[arg(long, value_name = "BLOCK")]
    pub(super) boundary: Option<floe_types::BlockId>,
}

/// `33..57`, both ends included.
fn epoch_range(text: &str) -> Result<(u64, u64), String> {
    let ends = text.split_once("..").and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    ends.filter(|(first, last)| first <= last).ok_or_else(|| "two epochs, such as 33..57".to_owned())
}

#[derive(Debug, ClapArgs)]
pub(super) struct Status {
    /// The blob's id or its first characters, at least 4. Without it, the network.
    #[arg(value_parser = unshield_id)]
    pub(super) id: Option<String>,
    /// Go on and print a line for every decision.
    #[arg(long)]
    pub(super) watch: bool,
    /// Wait until the blob has its first verdict.
    #[arg(long, requires = "id", conflicts_with = "watch")]
    pub(super) wait_verdict: bool,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Extend {
    /// The blob's id or its first characters, at least 4.
    #[arg(value_parser = unshield_id)]
    pub(super) id: String,
    /// How many epochs more.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) epochs: u64,
    #[command(flatten)]
    pub(super) key: SigningKey,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Quote {
    /// The file, which is looked at and not sent.
    #[arg(required_unless_present = "size")]
    pub(super) file: Option<PathBuf>,
    /// So many bytes instead of a file, such as 50MiB.
    #[arg(long, value_name = "BYTES", value_parser = bytes, conflicts_with = "file")]
    pub(super) size: Option<u64>,
    /// Epochs to pay for, the current one included.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) epochs: u64,
}

#[derive(Debug, ClapArgs)]
#[command(group = clap::ArgGroup::new("change").args(["budget", "off"]))]
pub(super) struct Renew {
    /// The blob's id or its first characters, at least 4: its newest registration is meant.
    #[arg(value_parser = unshield_id, required_unless_present = "registration")]
    pub(super) id: Option<String>,
    /// The number of the registration instead of a blob.
    #[arg(long, value_name = "NUMBER", conflicts_with = "id")]
    pub(super) registration: Option<u64>,
    /// What is to be set aside in all, such as 5WAL. Without this and --off: show what is.
    #[arg(long, value_name = "AMOUNT", requires = "key")]
    pub(super) budget: Option<String>,
    /// Take back what is set aside: the blob ends with its paid term.
    #[arg(long, requires = "key")]
    pub(super) off: bool,
    /// The key file of the registration's owner.
    #[arg(long, value_name = "FILE", requires = "change")]
    pub(super) key: Option<PathBuf>,
    /// A file with the passphrase of a sealed key. Without it the terminal is asked.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(super) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Delete {
    /// The blob's id or its first characters, at least 4.
    #[arg(value_parser = unshield_id)]
    pub(super) id: String,
    /// Do not ask.
    #[arg(long)]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) key: SigningKey,
}

#[derive(Debug, ClapArgs)]
pub(super) struct List {
    /// At most this many.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) limit: u64,
    /// Only blobs certified after the one with this number.
    #[arg(long, value_name = "NUMBER")]
    pub(super) after: Option<u64>,
}

#[derive(Debug, ClapArgs)]
pub(super) struct EpochArgs {
    #[command(subcommand)]
    pub(super) command: Option<EpochCommand>,
}

#[derive(Debug, Subcommand)]
pub(super) enum EpochCommand {
    /// Show one epoch.
    Show {
        /// The epoch.
        epoch: u64,
    },
}

#[derive(Debug, ClapArgs)]
pub(super) struct CommitteeArgs {
    #[command(subcommand)]
    pub(super) command: Option<CommitteeCommand>,
}

#[derive(Debug, Subcommand)]
pub(super) enum CommitteeCommand {
    /// Show the members and their shards.
    Show,
    /// Show who stands for seats, with what at stake, and why not for more.
    Candidates,
    /// Say what a candidacy would come to.
    Preview(Preview),
    /// Bond a node's stake: it is considered at the next election.
    Join {
        /// What floe node candidacy wrote on the node's machine.
        #[arg(value_name = "FILE")]
        candidacy: PathBuf,
        #[command(flatten)]
        key: SigningKey,
    },
    /// Give notice: the node stays responsible until its shards are handed over, then its stake comes back.
    Leave {
        /// The node, 64 hexadecimal digits.
        #[arg(long)]
        node: String,
        #[command(flatten)]
        key: SigningKey,
    },
    /// Say for which price a member would serve: the lower median of all moves the price, a tenth a term at most.
    Offer {
        /// The member, 64 hexadecimal digits.
        #[arg(long)]
        node: String,
        /// For one encoded MiB and epoch, such as 1000FROST.
        #[arg(long, value_name = "AMOUNT")]
        price: String,
        #[command(flatten)]
        key: SigningKey,
    },
    /// Change what is at stake.
    #[command(subcommand)]
    Stake(StakeCommand),
}

#[derive(Debug, ClapArgs)]
pub(super) struct Preview {
    /// The node, 64 hexadecimal digits.
    #[arg(long)]
    pub(super) node: String,
    /// What would be bonded in all, such as 50000WAL.
    #[arg(long)]
    pub(super) stake: String,
    /// Bytes it would have room for, such as 6TB.
    #[arg(long, default_value = "100GiB", value_name = "BYTES", value_parser = bytes)]
    pub(super) capacity: u64,
    /// What fails together with it.
    #[arg(long, default_value = "")]
    pub(super) domain: String,
}

#[derive(Debug, Subcommand)]
pub(super) enum StakeCommand {
    /// Bond more.
    Add {
        /// The node, 64 hexadecimal digits.
        #[arg(long)]
        node: String,
        /// How much, such as 1.5WAL.
        amount: String,
        #[command(flatten)]
        key: SigningKey,
    },
    /// Take some back: it comes two terms and an epoch later.
    Withdraw {
        /// The node, 64 hexadecimal digits.
        #[arg(long)]
        node: String,
        /// How much, such as 1.5WAL.
        amount: String,
        #[command(flatten)]
        key: SigningKey,
    },
}

#[derive(Debug, ClapArgs)]
pub(super) struct Account {
    #[command(subcommand)]
    pub(super) command: Option<AccountCommand>,
}

/// The key that signs, and how it is opened.
#[derive(Clone, Debug, ClapArgs)]
pub(super) struct SigningKey {
    /// The key file of the account that signs and pays.
    #[arg(long, value_name = "FILE")]
    pub(super) key: PathBuf,
    /// A file with the passphrase of a sealed key. Without it the terminal is asked.
    #[arg(long, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum AccountCommand {
    /// Create an account: a key file that only you can read.
    New {
        /// Where to write it. A file that is there is never replaced.
        #[arg(long, short, default_value = "account.key", value_name = "FILE")]
        output: PathBuf,
        /// Seal it with a passphrase, asked for on the terminal.
        #[arg(long)]
        seal: bool,
        /// A file with the passphrase to seal it with.
        #[arg(long, value_name = "FILE", conflicts_with = "seal")]
        passphrase_file: Option<PathBuf>,
    },
    /// Send WAL to another account.
    Send {
        /// The receiver, 64 hexadecimal digits.
        to: String,
        /// How much, such as 1.5WAL or 1000FROST.
        amount: String,
        #[command(flatten)]
        key: SigningKey,
    },
    /// Show an account.
    Show {
        /// The account, 64 hexadecimal digits. Without it, the node's own.
        account: Option<String>,
    },
    /// Show what happened to an account, newest first, as far back as the node remembers.
    History {
        /// The account, 64 hexadecimal digits. Without it, the node's own.
        account: Option<String>,
        /// At most this many.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// Only what was before the entry at this place, as --json and the last line give it.
        #[arg(long, value_name = "PLACE")]
        after: Option<HistoryPlace>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum NodeCommand {
    /// Create keys and configuration; with a genesis, give the keys to its network.
    Init(NodeInit),
    /// Run a node until it is told to stop.
    Run(NodeRun),
    /// Go on in the successor of the network that this node was in.
    Succeed(NodeSucceed),
    /// Show the node at --url.
    Status(NodeStatus),
    /// Write what this node says of itself to whoever is to bond its stake.
    Candidacy(NodeCandidacy),
    /// Say whether a node may be stopped, for a while (exit code 0 or 1) or for good.
    CanStop(NodeCanStop),
}

#[derive(Debug, ClapArgs)]
pub(super) struct NodeStatus {
    /// Go on and print a line whenever something has changed.
    #[arg(long)]
    pub(super) watch: bool,
}

#[derive(Debug, ClapArgs)]
pub(super) struct NodeCandidacy {
    /// The node's configuration.
    #[arg(long, default_value = "/etc/floe/floe.toml", value_name = "FILE")]
    pub(super) config: PathBuf,
    /// The account that will bond the stake, 64 hexadecimal digits.
    #[arg(long, value_name = "ACCOUNT")]
    pub(super) owner: String,
    /// What it will bond, such as 50000WAL.
    #[arg(long)]
    pub(super) stake: String,
    /// The node's name, of a-z, 0-9 and -.
    #[arg(long)]
    pub(super) name: String,
    /// Where other nodes reach it, such as /ip4/203.0.113.7/tcp/7100. May be given several times.
    #[arg(long, required = true, value_name = "MULTIADDRESS")]
    pub(super) address: Vec<String>,
    /// What fails together with it, such as "isp:example city:Lyon".
    #[arg(long, default_value = "")]
    pub(super) domain: String,
    /// Bytes of fragments it has room for, such as 6TB.
    #[arg(long, default_value = "100GiB", value_name = "BYTES", value_parser = bytes)]
    pub(super) capacity: u64,
    /// Where to write it.
    #[arg(long, short, default_value = "candidacy.json", value_name = "FILE")]
    pub(super) output: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(super) struct NodeCanStop {
    /// The node, 64 hexadecimal digits. Without it, the one at --url.
    pub(super) node: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(super) struct NodeInit {
    /// Where to put floe.toml, keys and data.
    #[arg(long, default_value = "./floe", value_name = "DIRECTORY")]
    pub(super) dir: PathBuf,
    /// The node's name, of a-z, 0-9 and -.
    #[arg(long, default_value = "node")]
    pub(super) name: String,
    /// Where other nodes reach it, such as /ip4/203.0.113.7/tcp/7100. May be given several times.
    #[arg(long, value_name = "MULTIADDRESS")]
    pub(super) address: Vec<String>,
    /// What fails together with it.
    #[arg(long, default_value = "")]
    pub(super) domain: String,
    /// Bytes of fragments it promises to have room for.
    #[arg(long, default_value = "100GiB", value_name = "BYTES", value_parser = bytes)]
    pub(super) capacity: u64,
    /// The network's genesis document: writes floe.toml and gives the keys to the network.
    #[arg(long, value_name = "FILE")]
    pub(super) genesis: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(super) struct NodeSucceed {
    /// The configuration of the node, which must be stopped.
    #[arg(long, default_value = "/etc/floe/floe.toml", value_name = "FILE")]
    pub(super) config: PathBuf,
    /// The successor's genesis, as made by floe genesis successor.
    #[arg(long, value_name = "FILE")]
    pub(super) genesis: PathBuf,
    /// The state at the boundary, as written with --state: for a node that does not have it.
    #[arg(long, value_name = "FILE")]
    pub(super) state: Option<PathBuf>,
    /// Without asking.
    #[arg(long)]
    pub(super) yes: bool,
}

#[derive(Debug, ClapArgs)]
pub(super) struct NodeRun {
    /// The configuration.
    #[arg(long, default_value = "/etc/floe/floe.toml", value_name = "FILE")]
    pub(super) config: PathBuf,
    /// Leave the terminal's session, as a process in the background.
    #[arg(long, hide = true)]
    pub(super) own_session: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum GenesisCommand {
    /// Make a genesis from the member files of its first members.
    New(GenesisNew),
    /// Show a genesis and its id.
    Show(GenesisShow),
    /// On a node that is left when a network cannot decide any more: make the key it will vote with in a successor.
    Survivor(GenesisSurvivor),
    /// Make the genesis of a network that goes on from this one, with those who are left.
    Successor(GenesisSuccessor),
}

#[derive(Debug, ClapArgs)]
pub(super) struct GenesisSurvivor {
    /// The configuration of the node, which must be stopped.
    #[arg(long, default_value = "/etc/floe/floe.toml", value_name = "FILE")]
    pub(super) config: PathBuf,
    /// Where to write what the maker of the genesis needs.
    #[arg(long, short, default_value = "survivor.json", value_name = "FILE")]
    pub(super) output: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(super) struct GenesisSuccessor {
    /// The configuration of a survivor with the newest boundary, which must be stopped.
    #[arg(long, default_value = "/etc/floe/floe.toml", value_name = "FILE")]
    pub(super) config: PathBuf,
    /// survivor.json of a node that is left, as written by floe genesis survivor.
    #[arg(long = "survivor", required_unless_present = "compare", value_name = "FILE")]
    pub(super) survivors: Vec<PathBuf>,
    /// The successor's name, of a-z, 0-9 and -.
    #[arg(long, required_unless_present = "compare")]
    pub(super) name: Option<String>,
    /// Make nothing, but say whether this file is what this node's own data gives.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["survivors", "name", "state"])]
    pub(super) compare: Option<PathBuf>,
    /// Write the state at the boundary too, for nodes that do not have it.
    #[arg(long, value_name = "FILE")]
    pub(super) state: Option<PathBuf>,
    /// Where to write the genesis.
    #[arg(long, short, default_value = "successor.json", value_name = "FILE")]
    pub(super) output: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(super) struct GenesisNew {
    /// The network's name, of a-z, 0-9 and -.
    #[arg(long)]
    pub(super) name: String,
    /// member.json of a first member, as written by floe node init. Shards are dealt evenly.
    #[arg(long = "member", required = true, value_name = "FILE")]
    pub(super) members: Vec<PathBuf>,
    /// Shards in all.
    #[arg(long, default_value_t = 100)]
    pub(super) shards: u16,
    /// How long an epoch lasts. Without it, an hour.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) epoch: Option<Duration>,
    /// WAL that each member's account holds from the start.
    #[arg(long, default_value_t = 1_000_000, value_name = "WAL")]
    pub(super) wal: u64,
    /// Where to write it.
    #[arg(long, short, default_value = "genesis.json", value_name = "FILE")]
    pub(super) output: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(super) struct GenesisShow {
    /// The genesis document.
    #[arg(default_value = "genesis.json")]
    pub(super) file: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(super) enum DevnetCommand {
    /// Start a network on this machine; one that was stopped goes on where it was.
    Up(DevnetUp),
    /// Stop it.
    Down(DevnetDown),
    /// Kill nodes with SIGKILL, as a power cut would.
    Kill(DevnetNodes),
    /// Start nodes that are down; all of them when none is named.
    Start(DevnetNodes),
    /// Show what runs.
    Status(DevnetAt),
}

#[derive(Clone, Debug, ClapArgs)]
pub(super) struct DevnetAt {
    /// The network's directory.
    #[arg(long, default_value = "./devnet", value_name = "DIRECTORY")]
    pub(super) dir: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(super) struct DevnetUp {
    #[command(flatten)]
    pub(super) at: DevnetAt,
    /// How many nodes.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(super) nodes: u16,
    /// Shards in all, dealt evenly.
    #[arg(long, default_value_t = 28, value_parser = clap::value_parser!(u16).range(4..=1024))]
    pub(super) shards: u16,
    /// How long an epoch lasts.
    #[arg(long, default_value = "15s", value_name = "TIME", value_parser = duration)]
    pub(super) epoch: Duration,
    /// HTTP port of node-1; the others follow. Peers use the ports 100 above.
    #[arg(long, default_value_t = 7101, value_name = "PORT")]
    pub(super) base_port: u16,
    /// WAL that each node's account holds from the start.
    #[arg(long, default_value_t = 1, value_name = "WAL", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(super) wal: u64,
}

#[derive(Debug, ClapArgs)]
pub(super) struct DevnetDown {
    #[command(flatten)]
    pub(super) at: DevnetAt,
    /// Remove its directory with everything stored in it.
    #[arg(long)]
    pub(super) purge: bool,
    /// Do not ask.
    #[arg(long)]
    pub(super) yes: bool,
}

#[derive(Debug, ClapArgs)]
pub(super) struct DevnetNodes {
    #[command(flatten)]
    pub(super) at: DevnetAt,
    /// Names of nodes, such as node-7.
    pub(super) nodes: Vec<String>,
}

/// Reads a length of time: digits and one of ms, s, m, h.
fn duration(text: &str) -> Result<Duration, String> {
    let refused = || format!("{text:?} is not a time; write it like 500ms, 15s, 5m or 1h");
    let end = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(refused)?;
    let (digits, unit) = text.split_at(end);
    let count: u64 = digits.parse().map_err(|_| refused())?;
    let millis = match unit {
        "ms" => Some(count),
        "s" => count.checked_mul(1_000),
        "m" | "min" => count.checked_mul(60_000),
        "h" => count.checked_mul(3_600_000),
        _ => None,
    };
    millis.filter(|millis| *millis > 0).map(Duration::from_millis).ok_or_else(refused)
}

/// Reads a number of bytes: digits and nothing, or one of B, kB, MB, GB, TB, PB (thousands) and KiB to PiB.
fn bytes(text: &str) -> Result<u64, String> {
    let refused = || format!("{text:?} is not a number of bytes; write it like 500GB or 6TiB");
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let per: u64 = match unit {
        "" | "B" => 1,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "PB" => 1_000_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "PiB" => 1 << 50,
        _ => return Err(refused()),
    };
    let count: u64 = digits.parse().map_err(|_| refused())?;
    count.checked_mul(per).ok_or_else(refused)
}

/// Stands before a blob id that begins with a hyphen, as one in 64 does, so that it is not taken for an option.
const SHIELD: &str = "id:";

/// Puts the shield before an argument that is a whole blob id and looks like an option.
pub(super) fn shield_id(argument: OsString) -> OsString {
    match argument.to_str() {
        Some(text) if text.starts_with('-') && text.parse::<BlobId>().is_ok() => format!("{SHIELD}{text}").into(),
        _ => argument,
    }
}

fn unshield_id(text: &str) -> Result<String, std::convert::Infallible> {
    Ok(text.strip_prefix(SHIELD).unwrap_or(text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn what_the_journeys_type_is_understood() {
        let lines = [
            "floe devnet up --nodes 7",
            "floe devnet up --nodes 4 --shards 8 --epoch 3s --dir d --base-port 9000",
            "floe store photo.jpg --epochs 16",
            "floe store -",
            "floe status q3Zb",
            "floe status q3Zb --watch",
            "floe status q3Zb --wait-verdict",
            "floe status --watch",
            "floe devnet kill node-7 node-6",
            "floe devnet start node-6",
            "floe health",
            "floe read q3Zb -o back.jpg",
            "floe read --undefended q3Zb",
            "floe devnet down --purge --yes --dir x",
            "floe extend q3Zb --epochs 30 --key a.key",
            "floe delete q3Zb --yes --key a.key",
            "floe quote photo.jpg --epochs 30",
            "floe quote --size 50MiB",
            "floe price",
            "floe renew q3Zb",
            "floe renew q3Zb --budget 5WAL --key a.key",
            "floe renew --registration 7 --off --key a.key --passphrase-file p",
            "floe committee offer --node 00aa --price 1000FROST --key node.key",
            "floe list --json",
            "floe epoch",
            "floe epoch show 8 --url http://127.0.0.1:7102",
            "floe committee show",
            "floe committee",
            "floe committee candidates",
            "floe committee preview --node 00aa --stake 50000WAL --capacity 6TB",
            "floe committee join candidacy.json --key operator.key",
            "floe committee leave --node 00aa --key operator.key",
            "floe committee stake add --node 00aa 5WAL --key operator.key",
            "floe node candidacy --owner 00aa --stake 5WAL --name n --address /ip4/1.2.3.4/tcp/7100",
            "floe node status",
            "floe node status --watch --json",
            "floe node can-stop",
            "floe node can-stop 00aa",
            "floe account show",
            "floe account history",
            "floe account history 00aa --limit 5 --after 8112-3 --json",
            "floe account new -o operator.key --seal",
            "floe account send 00aa 1.5WAL --key operator.key --passphrase-file p",
            "floe --quiet --timeout 30s list",
            "floe node init --dir n --name lyon-2 --address /ip4/1.2.3.4/tcp/7100",
            "floe node run --config floe.toml",
            "floe genesis new --name aurora --member a.json --member b.json --epoch 24h",
            "floe genesis show genesis.json",
            "floe genesis survivor --config floe.toml -o s.json",
            "floe genesis successor --name aurora-2 --survivor a.json --survivor b.json --state aurora-2.state",
            "floe genesis successor --compare successor.json",
            "floe node succeed --genesis successor.json --state aurora-2.state --yes",
        ];
        for line in lines {
            Args::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let lines = [
            "floe",
            "floe store",
            "floe store a --epochs 0",
            "floe store a --epochs -1",
            "floe store a --epochs many",
            "floe list --limit 0",
            "floe devnet up --nodes 0",
            "floe devnet up --epoch 15",
            "floe devnet up --epoch 0s",
            "floe devnet up --base-port 70000",
            "floe status --wait-verdict",
            "floe status a --watch --wait-verdict",
            "floe --quiet --verbose list",
            "floe repair now",
            "floe genesis successor --name aurora-2",
            "floe genesis successor --compare a.json --survivor b.json",
            "floe account send 00aa 1WAL",
            "floe quote",
            "floe quote a --size 5",
            "floe quote a --epochs 0",
            "floe renew",
            "floe renew q3Zb --registration 7",
            "floe renew q3Zb --budget 5WAL",
            "floe renew q3Zb --off --budget 5WAL --key a.key",
            "floe renew q3Zb --key a.key",
            "floe committee offer --node 00aa --price 1FROST",
            "floe account history --limit 0",
            "floe account history --limit 1001",
            "floe account history --after 8112",
            "floe account new --seal --passphrase-file p",
        ];
        for line in lines {
            assert!(Args::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }

    #[test]
    fn times_have_units() {
        let good = [("500ms", 500), ("15s", 15_000), ("5m", 300_000), ("24h", 86_400_000)];
        for (text, millis) in good {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)));
        }
        for bad in ["", "15", "s", "1d", "-1s", "1.5s", "0s", "99999999999999999999s", "18446744073709551615h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bytes_have_units_or_none() {
        let good = [("0", 0), ("7B", 7), ("6TB", 6_000_000_000_000), ("100GiB", 100 << 30), ("2PiB", 2 << 50)];
        for (text, count) in good {
            assert_eq!(bytes(text), Ok(count), "{text}");
        }
        for bad in ["", "B", "6tb", "1.5TB", "-1", "99999999999PB", "6 TB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_id_that_begins_with_a_hyphen_is_no_option() {
        for first in ["-gwT6o", "-o3abc", "--json", "-vvvvv"] {
            let id = format!("{first}{}", "A".repeat(43 - first.len()));
            let given = ["floe", "read", id.as_str(), "-o", "back"].map(OsString::from);
            let args = Args::try_parse_from(given.into_iter().map(shield_id)).unwrap();
            let Command::Read(read) = args.command else { panic!("read was given") };
            assert_eq!((read.id, read.output), (id, PathBuf::from("back")));
        }
    }
}
