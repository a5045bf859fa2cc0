//! A devnet of real processes, for tests and benchmarks: the `floe` binary, real sockets, real disks, real signals.
//!
//! Everything goes through the command line and the HTTP surface, as a person or a program would.

use floe_api::client::Client;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a state may take to come about before a test gives up. Longer than anything should take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The `floe` binary beside this one.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn floe_binary() -> PathBuf {
    let own = std::env::current_exe().expect("a running program has a path");
    let beside = own.ancestors().skip(1).map(|folder| folder.join("floe")).find(|path| path.is_file());
    beside.expect("the floe binary is missing: run `cargo build --release --bins` first")
}

/// A network of `nodes` processes in a temporary directory, taken down and removed when dropped.
pub struct Devnet {
    directory: tempfile::TempDir,
    base_port: u16,
}

/// Nodes have HTTP from the base port on and peers a hundred above.
const PORTS_EACH: u16 = 200;
/// Blocks of ports below 32768, from where on the system gives ports to outgoing connections.
const BLOCKS: u16 = 110;

fn free_base_port() -> u16 {
    let seed = std::process::id() as u16;
    let candidates = (0..BLOCKS).map(|step| 10_000 + (seed.wrapping_mul(31).wrapping_add(step) % BLOCKS) * PORTS_EACH);
    let is_free = |base: &u16| {
        [0, 3, 6, 100, 103, 106].iter().all(|offset| {
            let port = base + offset;
            TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok()
        })
    };
    candidates.into_iter().find(is_free).expect("some block of ports is free")
}

impl Devnet {
    /// Brings up `nodes` nodes with epochs of `epoch` (as `3s`) and waits until they are ready.
    ///
    /// # Panics
    /// When they do not come up.
    #[must_use]
    pub fn up(nodes: u16, epoch: &str) -> Devnet {
        Devnet::up_with(nodes, epoch, &[])
    }

    /// The same, with more words for `floe devnet up`.
    ///
    /// # Panics
    /// When they do not come up.
    #[must_use]
    pub fn up_with(nodes: u16, epoch: &str, more: &[&str]) -> Devnet {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let devnet = Devnet { directory, base_port: free_base_port() };
        let (nodes, port) = (nodes.to_string(), devnet.base_port.to_string());
        let words = ["devnet", "up", "--nodes", &nodes, "--epoch", epoch, "--base-port", &port];
        devnet.floe_ok(&[&words[..], more].concat());
        devnet
    }

    /// Initialises one more node of this network as its operator would, numbered on from the devnet's, and starts it.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn newcomer(&self, number: u16) -> Newcomer {
        self.newcomer_with(number, |text| text)
    }

    /// The same, with a change to its configuration before it starts.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn newcomer_with(&self, number: u16, change: impl FnOnce(String) -> String) -> Newcomer {
        let mut newcomer = self.prepare(number, "devnet/genesis.json", change);
        newcomer.start();
        wait_until("the newcomer is ready", || self.client(number).ready().is_ok());
        newcomer
    }

    /// The same for the network of `genesis`, a file in the devnet's directory, and without starting it.
    ///
    /// # Panics
    /// When a command fails.
    #[must_use]
    pub fn prepare(&self, number: u16, genesis: &str, change: impl FnOnce(String) -> String) -> Newcomer {
        let name = format!("node-{number}");
        let address = format!("/ip4/127.0.0.1/tcp/{}", self.base_port + 100 + number - 1);
        let home = self.path().join(&name);
        let dir = home.display().to_string();
        self.floe_ok(&["node", "init", "--dir", &dir, "--name", &name, "--address", &address]);
        let init = ["node", "init", "--dir", &dir, "--genesis", genesis];
        self.floe_ok(&init);
        let config = home.join("floe.toml");
        let text = std::fs::read_to_string(&config).expect("node init wrote a configuration");
        let listen = format!("127.0.0.1:{}", self.base_port + number - 1);
        let text =
            text.replace("127.0.0.1:7101", &listen).replace("7100", &format!("{}", self.base_port + 100 + number - 1));
        std::fs::write(&config, change(text)).expect("there is room for a configuration");
        Newcomer { home, number, address, process: None }
    }

    /// Makes an owner for `newcomer`, gives it 10 WAL, writes the candidacy on the node's side and bonds `stake` with it on
    /// the owner's. Gives the owner's key file.
    ///
    /// # Panics
    /// When a command fails.
    pub fn bring_in(&self, newcomer: &Newcomer, stake: &str) -> String {
        let (key, candidacy) = self.candidacy(newcomer, stake);
        let said = self.floe_ok(&["committee", "join", &candidacy, "--key", &key]);
        assert!(said.contains("is a candidate with"), "{said}");
        key
    }

    /// The same but for the joining: the owner's key file and the candidacy.
    ///
    /// # Panics
    /// When a command fails.
    pub fn candidacy(&self, newcomer: &Newcomer, stake: &str) -> (String, String) {
        let number = newcomer.number;
        let (key, file) = (format!("owner-{number}.key"), format!("candidacy-{number}.json"));
        let made = self.floe_ok(&["account", "new", "-o", &key, "--json"]);
        let made: serde_json::Value = serde_json::from_str(&made).expect("--json prints a document");
        let owner = made["account"].as_str().expect("the document names the account").to_owned();
        self.floe_ok(&["account", "send", &owner, "10WAL", "--key", "devnet/node-1/keys/account.key"]);
        let name = format!("node-{number}");
        let said = ["--owner", &owner, "--stake", stake, "--name", &name, "--address", &newcomer.address, "-o", &file];
        self.floe_ok(&[&["node", "candidacy", "--config", &newcomer.config()][..], &said[..]].concat());
        (key, file)
    }

    /// Starts `floe` with words that make it go on and on, its output in a file.
    ///
    /// # Panics
    /// When the process cannot be started.
    #[must_use]
    pub fn watch(&self, words: &[&str]) -> Watched {
        let path = self.path().join(format!("watched-{}", words.join("-").replace(['/', ':'], "")));
        let file = std::fs::File::create(&path).expect("there is room for a file");
        let mut process = Command::new(floe_binary());
        let process = process.args(words).current_dir(self.path()).env_remove("FLOE_URL").stdout(file);
        let process = process.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        Watched { process: process.expect("the floe binary starts"), path }
    }

    /// The directory commands run in.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where node `number` (from 1) listens for HTTP.
    #[must_use]
    pub fn url(&self, number: u16) -> String {
        format!("http://127.0.0.1:{}", self.base_port + number - 1)
    }

    /// A client of node `number`.
    ///
    /// # Panics
    /// Never: the address is well-formed.
    #[must_use]
    pub fn client(&self, number: u16) -> Client {
        Client::new(&self.url(number), Some(Duration::from_secs(120))).expect("the address is well-formed")
    }

    /// Runs `floe` in the devnet's directory.
    ///
    /// # Panics
    /// When the process cannot be started.
    pub fn floe(&self, arguments: &[&str]) -> Output {
        Command::new(floe_binary())
            .args(arguments)
            .current_dir(self.path())
            .env_remove("FLOE_URL")
            .output()
            .expect("the floe binary starts")
    }

    /// Runs `floe`, which must succeed, and gives its standard output.
    ///
    /// # Panics
    /// When it fails, with what it said.
    pub fn floe_ok(&self, arguments: &[&str]) -> String {
        let output = self.floe(arguments);
        assert!(
            output.status.success(),
            "floe {arguments:?} failed with {:?}\n{}{}\n{}",
            output.status.code(),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            self.logs(),
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The last lines of every node's log, for a failure's message.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for number in 1..=31 {
            let path = self.path().join(format!("devnet/node-{number}/node.log"));
            let Ok(log) = std::fs::read_to_string(&path) else { continue };
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(15)..].join("\n");
            text.push_str(&format!("--- node-{number}\n{tail}\n"));
        }
        text
    }

    /// Writes a file of `bytes` bytes that differ by `seed`.
    ///
    /// # Panics
    /// When the disk is full.
    #[must_use]
    pub fn file(&self, name: &str, bytes: usize, seed: u64) -> PathBuf {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut content = Vec::with_capacity(bytes + 8);
        while content.len() < bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            content.extend_from_slice(&state.to_le_bytes());
        }
        content.truncate(bytes);
        let path = self.path().join(name);
        std::fs::write(&path, content).expect("there is room for the file");
        path
    }

    /// Stores a file through node `number` and gives the blob's id.
    ///
    /// # Panics
    /// When the store fails.
    pub fn store(&self, number: u16, file: &Path, epochs: u64) -> String {
        let (epochs, file) = (epochs.to_string(), file.display().to_string());
        let said = self.floe_ok(&["store", &file, "--epochs", &epochs, "--url", &self.url(number)]);
        said.lines().last().expect("store prints the id last").trim().to_owned()
    }

    /// Reads a blob through node `number` and compares it with `file`.
    ///
    /// # Panics
    /// When it cannot be read or differs.
    pub fn read_back(&self, number: u16, id: &str, file: &Path) {
        let to = self.path().join(format!("back-{number}-{id}"));
        self.floe_ok(&["read", id, "-o", &to.display().to_string(), "--url", &self.url(number)]);
        let (was, is) = (std::fs::read(file).expect("the file is there"), std::fs::read(&to).expect("it was read"));
        assert!(was == is, "blob {id} came back different");
        // Large files add up over a test.
        let _ = std::fs::remove_file(to);
    }
}

/// A command that goes on, with what it has printed so far.
pub struct Watched {
    process: Child,
    path: PathBuf,
}

impl Watched {
    /// What it has printed.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap_or_default()
    }

    /// Waits until a line has all of `words`.
    ///
    /// # Panics
    /// With what it said instead, when it does not within [`PATIENCE`].
    pub fn wait_for(&self, words: &[&str]) {
        let began = Instant::now();
        let found = |said: &str| said.lines().any(|line| words.iter().all(|word| line.contains(word)));
        while !found(&self.said()) {
            assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {words:?}:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A node that is no part of the devnet's own, in a directory of its own beside it.
pub struct Newcomer {
    home: PathBuf,
    /// Its number, which gives its ports.
    pub number: u16,
    /// Where other nodes reach it.
    pub address: String,
    process: Option<Child>,
}

impl Newcomer {
    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> String {
        self.home.join("floe.toml").display().to_string()
    }

    /// Where it is.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Starts it; does not wait.
    ///
    /// # Panics
    /// When the process cannot be started.
    pub fn start(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.home.join("node.log"));
        let log = log.expect("its log can be written");
        let errors = log.try_clone().expect("a file can be opened twice");
        let mut process = Command::new(floe_binary());
        process.args(["node", "run", "--config", &self.config()]);
        let process = process.current_dir(&self.home).stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
        self.process = Some(process.expect("the floe binary starts"));
    }

    /// Kills it as a power cut would, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        let _ = self.floe(&["devnet", "down", "--purge", "--yes"]);
    }
}

/// Keeps the machine's cores to one test of a program: the others wait until this is dropped.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The epoch that node `number` is in; 0 when it does not answer.
#[must_use]
pub fn epoch_of(devnet: &Devnet, number: u16) -> u64 {
    devnet.client(number).network().map_or(0, |network| network.epoch.0)
}

/// The value of the first line of a node's metrics that begins with `name`; not a number when there is none.
#[must_use]
pub fn metric(text: &str, name: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
    line.and_then(|line| line.rsplit(' ').next()).and_then(|value| value.parse().ok()).unwrap_or(f64::NAN)
}

/// The same, asked of node `number`.
///
/// # Panics
/// When it does not answer.
#[must_use]
pub fn counted(devnet: &Devnet, number: u16, name: &str) -> f64 {
    metric(&devnet.client(number).metrics().expect("the node shows its metrics"), name)
}

/// Exit code of `floe` and everything it said.
#[must_use]
pub fn code(devnet: &Devnet, words: &[&str]) -> (Option<i32>, String) {
    let output = devnet.floe(words);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// Waits until `state` holds.
///
/// # Panics
/// With `what` when it does not within [`PATIENCE`].
pub fn wait_until(what: &str, mut state: impl FnMut() -> bool) {
    let began = Instant::now();
    while !state() {
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
