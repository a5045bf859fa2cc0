//! A whole network on this machine: real nodes, each a process of its own, in one directory.
//!
//! ```text
//! devnet/
//!   devnet.json      what this is: name, network, nodes with their ports. Written last: without it there is no devnet
//!   genesis.json     the network's genesis
//!   prometheus.yml   a configuration that scrapes the nodes
//!   node-1/          floe.toml  keys/  data/  node.log  node.pid
//! ```
//!
//! [`plan`] says what is written and is a pure function of a seed; [`process`] starts, finds and ends processes. A pid file
//! is only a hint: a process counts as a node when its command line is that of this node's configuration.

pub mod plan;
pub mod process;

use floe_api::client::Client;
use floe_api::{Code, Problem};
use floe_types::NetworkId;
use plan::Plan;
use process::Started;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The file that makes a directory a devnet.
const STATE_FILE: &str = "devnet.json";
/// The longest state file in bytes.
const STATE_BYTES_MAX: u64 = 1 << 20;
/// How long nodes may take until they are ready. Ten seconds is the promise; a loaded machine gets more before we give up.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a node that starts is asked.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// How long one question to a starting node may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an orderly stop may take before a node is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// A node of a devnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Node {
    /// `node-1` and so on.
    pub name: String,
    /// Where its HTTP surface listens.
    pub http: SocketAddr,
    /// Where it listens for peers, over TCP and over QUIC.
    pub peers: SocketAddr,
    /// How many shards it holds.
    pub shards: u16,
}

/// The content of the state file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct State {
    /// Version of the form.
    pub version: u32,
    /// The network's name.
    pub name: String,
    /// The network.
    pub network: NetworkId,
    /// Shards in all.
    pub shards: u16,
    /// The least length of an epoch.
    pub epoch_millis: u64,
    /// What each node's account held at the start, in FROST.
    pub balance: u64,
    /// Its nodes.
    pub nodes: Vec<Node>,
}

/// A devnet on disk.
#[derive(Clone, Debug)]
pub struct Devnet {
    directory: PathBuf,
    state: State,
}

impl Devnet {
    /// The devnet in `directory`.
    ///
    /// # Errors
    /// [`Code::DevnetUnknown`] when there is none, [`Code::Configuration`] when its state cannot be read.
    pub fn open(directory: &Path) -> Result<Devnet, Problem> {
        let path = directory.join(STATE_FILE);
        let mut text = String::new();
        let read = fs::File::open(&path).and_then(|file| file.take(STATE_BYTES_MAX).read_to_string(&mut text));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let detail = format!("there is no devnet in {}", directory.display());
                return Err(Problem::new(Code::DevnetUnknown, detail)
                    .hint("start one with floe devnet up, or name its directory with --dir"));
            }
            Err(error) => return Err(failed(&path, &error)),
            Ok(_) => {}
        }
        let state: State = serde_json::from_str(&text)
            .map_err(|error| Problem::new(Code::Configuration, format!("{}: {error}", path.display())))?;
        if state.version != plan::STATE_VERSION {
            let detail = format!("{} is of another version of floe", path.display());
            return Err(Problem::new(Code::Configuration, detail).hint("remove it with the version that made it"));
        }
        let directory = fs::canonicalize(directory).map_err(|error| failed(directory, &error))?;
        Ok(Devnet { directory, state })
    }

    /// Writes a new devnet of `plan` into `directory`, which must be empty or absent. Starts nothing.
    ///
    /// # Errors
    /// [`Code::Conflict`] when something is there or a port is taken; nothing has been written then.
    pub fn create(directory: &Path, plan: &Plan) -> Result<Devnet, Problem> {
        let occupied = fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some());
        if occupied {
            let detail = format!("{} is not empty and is no devnet", directory.display());
            return Err(Problem::new(Code::Conflict, detail).hint("name another directory with --dir"));
        }
        let laid = plan.lay().map_err(|error| Problem::new(Code::Configuration, error.to_string()))?;
        check_ports(&laid.state.nodes)?;
        fs::create_dir_all(directory).map_err(|error| failed(directory, &error))?;
        let directory = fs::canonicalize(directory).map_err(|error| failed(directory, &error))?;
        laid.write(&directory)?;
        write_state(&directory, &laid.state)?;
        Ok(Devnet { directory, state: laid.state })
    }

    /// What it is.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Its nodes, in order.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.state.nodes
    }

    /// Where it is, absolute.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The nodes called `names`, in order of the devnet.
    ///
    /// # Errors
    /// [`Code::BadRequest`] for a name that no node has.
    pub fn named(&self, names: &[String]) -> Result<Vec<Node>, Problem> {
        for name in names {
            if !self.nodes().iter().any(|node| node.name == *name) {
                let known: Vec<&str> = self.nodes().iter().map(|node| node.name.as_str()).collect();
                let detail = format!("{name} is not a node of devnet \"{}\": {}", self.state.name, known.join(" "));
                return Err(Problem::bad_request("node", detail));
            }
        }
        Ok(self.nodes().iter().filter(|node| names.contains(&node.name)).cloned().collect())
    }

    /// The process of `node`, when it runs.
    #[must_use]
    pub fn pid(&self, node: &Node) -> Option<process::NodePid> {
        process::find(&self.home(node))
    }

    /// The nodes that run.
    #[must_use]
    pub fn running(&self) -> Vec<Node> {
        self.nodes().iter().filter(|node| self.pid(node).is_some()).cloned().collect()
    }

    /// Starts `nodes` that do not run and waits until each is ready.
    ///
    /// # Errors
    /// [`Code::Conflict`] for a taken port; [`Code::NodeNotReady`] with the end of the log when a node ended or did not
    /// get ready. Nodes that are ready by then go on; the others have been stopped.
    pub fn start(&self, nodes: &[Node]) -> Result<Vec<Node>, Problem> {
        let down: Vec<Node> = nodes.iter().filter(|node| self.pid(node).is_none()).cloned().collect();
        check_ports(&down)?;
        let mut waiting = Vec::with_capacity(down.len());
        for node in &down {
            let started = process::start(&self.home(node)).map_err(|error| failed(&self.home(node), &error));
            match started {
                Ok(started) => waiting.push((node.clone(), started)),
                Err(problem) => {
                    stop_all(waiting);
                    return Err(problem);
                }
            }
        }
        self.wait_ready(waiting)?;
        Ok(down)
    }

    fn wait_ready(&self, mut waiting: Vec<(Node, Started)>) -> Result<(), Problem> {
        let began = Instant::now();
        while !waiting.is_empty() {
            let mut still = Vec::with_capacity(waiting.len());
            let mut broken = None;
            for (node, mut started) in waiting {
                if let Some(end) = started.ended() {
                    broken = Some(format!("{} ended at once ({end})", node.name));
                } else if client(&node)?.ready().is_ok() {
                    continue;
                } else if began.elapsed() > READY_TIMEOUT {
                    broken = Some(format!("{} was not ready after {} s", node.name, READY_TIMEOUT.as_secs()));
                }
                still.push((node, started));
                if broken.is_some() {
                    break;
                }
            }
            if let Some(broken) = broken {
                let log = still.last().map(|(node, _)| self.log(node)).unwrap_or_default();
                stop_all(still);
                let tail = process::tail(&log);
                let detail = format!("{broken}; the end of {}:\n{tail}", log.display());
                return Err(Problem::new(Code::NodeNotReady, detail));
            }
            waiting = still;
            if !waiting.is_empty() {
                std::thread::sleep(ASK_EVERY);
            }
        }
        Ok(())
    }

    /// Kills `nodes` with SIGKILL and waits until they are gone. Returns those that ran.
    ///
    /// # Errors
    /// [`Code::Internal`] when the system refuses.
    pub fn kill(&self, nodes: &[Node]) -> Result<Vec<Node>, Problem> {
        let mut killed = Vec::new();
        for node in nodes {
            if let Some(pid) = self.pid(node) {
                pid.kill().map_err(|error| failed(&self.home(node), &error))?;
                killed.push((node.clone(), pid));
            }
        }
        for (node, pid) in &killed {
            if !pid.gone_within(STOP_TIMEOUT) {
                return Err(Problem::new(Code::Internal, format!("{} does not die", node.name)));
            }
        }
        Ok(killed.into_iter().map(|(node, _)| node).collect())
    }

    /// Asks all nodes to stop, waits, and kills who does not. Returns those that ran, and those that had to be killed.
    ///
    /// # Errors
    /// [`Code::Internal`] when the system refuses.
    pub fn stop(&self) -> Result<(Vec<Node>, Vec<Node>), Problem> {
        let mut asked = Vec::new();
        for node in self.nodes() {
            if let Some(pid) = self.pid(node) {
                pid.ask_to_stop().map_err(|error| failed(&self.home(node), &error))?;
                asked.push((node.clone(), pid));
            }
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        let stubborn: Vec<Node> = asked
            .iter()
            .filter(|(_, pid)| !pid.gone_within(deadline.saturating_duration_since(Instant::now())))
            .map(|(node, _)| node.clone())
            .collect();
        self.kill(&stubborn)?;
        for node in self.nodes() {
            process::forget(&self.home(node));
        }
        Ok((asked.into_iter().map(|(node, _)| node).collect(), stubborn))
    }

    /// Removes the directory and everything stored in it. Nothing may run.
    ///
    /// # Errors
    /// [`Code::FileUnusable`] when the system refuses.
    pub fn purge(self) -> Result<(), Problem> {
        // The state goes first: what an interrupted removal leaves is no devnet any more.
        let state = self.directory.join(STATE_FILE);
        fs::remove_file(&state).map_err(|error| failed(&state, &error))?;
        fs::remove_dir_all(&self.directory).map_err(|error| failed(&self.directory, &error))
    }

    /// Where `node` logs.
    #[must_use]
    pub fn log(&self, node: &Node) -> PathBuf {
        process::log_of(&self.home(node))
    }

    fn home(&self, node: &Node) -> PathBuf {
        self.directory.join(&node.name)
    }
}

/// A client of `node` that does not wait long.
///
/// # Errors
/// Never for a socket address.
pub fn client(node: &Node) -> Result<Client, Problem> {
    Client::new(&format!("http://{}", node.http), Some(ASK_TIMEOUT))
}

fn stop_all(started: Vec<(Node, Started)>) {
    for (_, started) in started {
        started.end();
    }
}

/// Refuses when a port of `nodes` is taken, naming it, before anything is started.
fn check_ports(nodes: &[Node]) -> Result<(), Problem> {
    for node in nodes {
        let taken = |what: &str, address: SocketAddr, error: &io::Error| {
            let detail = format!("port {} ({what} of {}) cannot be used: {error}", address.port(), node.name);
            Problem::new(Code::Conflict, detail).hint("stop what listens there, or choose other ports with --base-port")
        };
        TcpListener::bind(node.http).map_err(|error| taken("http", node.http, &error))?;
        TcpListener::bind(node.peers).map_err(|error| taken("peers, tcp", node.peers, &error))?;
        UdpSocket::bind(node.peers).map_err(|error| taken("peers, udp", node.peers, &error))?;
    }
    Ok(())
}

fn write_state(directory: &Path, state: &State) -> Result<(), Problem> {
    let path = directory.join(STATE_FILE);
    let text = serde_json::to_string_pretty(state).expect("the state has text keys only");
    let written = fs::File::create(&path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| failed(&path, &error))
}

pub(crate) fn failed(path: &Path, error: &io::Error) -> Problem {
    Problem::new(Code::FileUnusable, format!("{}: {error}", path.display()))
        .with(|facts| facts.name = Some(path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::plan::tests::plan;
    use super::*;

    #[test]
    fn a_devnet_is_written_and_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path().join("devnet");
        let created = Devnet::create(&here, &plan()).unwrap();
        let opened = Devnet::open(&here).unwrap();
        assert_eq!(created.state(), opened.state());
        assert!(opened.running().is_empty());
        let node = &opened.nodes()[0];
        let config = crate::config::NodeConfig::load(&here.join(&node.name).join("floe.toml")).unwrap();
        let genesis = config.genesis().unwrap();
        assert_eq!(genesis.network(), opened.state().network);
        let keys = config.keys(genesis.network()).unwrap();
        assert_eq!(genesis.members.iter().find(|member| member.name == node.name).unwrap().node, keys.node());
        let again = Devnet::create(&here, &plan()).unwrap_err();
        assert_eq!(again.code, Code::Conflict);
        assert_eq!(opened.named(&["node-9".to_owned()]).unwrap_err().code, Code::BadRequest);
        assert_eq!(opened.named(&["node-2".to_owned()]).unwrap()[0].name, "node-2");
        opened.purge().unwrap();
        assert!(!here.exists());
        assert_eq!(Devnet::open(&here).unwrap_err().code, Code::DevnetUnknown);
    }

    #[test]
    fn a_taken_port_is_named_and_nothing_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path().join("devnet");
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let problem = Devnet::create(&here, &Plan { base_port: port, ..plan() }).unwrap_err();
        assert_eq!(problem.code, Code::Conflict);
        assert!(problem.detail.contains(&format!("port {port} (http of node-1)")), "{}", problem.detail);
        assert!(!here.exists());
    }

    #[test]
    fn a_state_of_another_form_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["", "{}", "{\"version\":2}"] {
            fs::write(directory.path().join(STATE_FILE), text).unwrap();
            assert_eq!(Devnet::open(directory.path()).unwrap_err().code, Code::Configuration);
        }
    }
}
