//! What one operator chooses: one TOML file, checked whole before anything starts.
//!
//! An unknown key is refused with its place, so that a typing error never means a default. Relative paths are taken from
//! the file's own directory. Times and sizes that all must agree on are not here: they are in the genesis.
//!
//! `deploy/floe.toml` is this file's example, written by a test below: [`EXAMPLE`] and the defaults cannot drift apart.

use crate::keys::{KeyError, KeyPaths, NodeKeys};
use floe_storage::StoreConfig;
use floe_types::genesis::{GENESIS_BYTES_MAX, GenesisError};
use floe_types::{EpochCount, Genesis, NetworkId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// The longest configuration file in bytes.
const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// The most addresses to listen on, and the most bootstrap peers.
const ADDRESSES_MAX: usize = 64;
/// The most epochs of blocks without an archive: the ledger remembers for 400 epochs where each began.
pub const BLOCK_EPOCHS_MAX: u64 = 398;

/// The configuration of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The genesis document of the network.
    pub genesis: PathBuf,
    /// Where everything is kept. One node per directory; a second process on it is refused.
    pub data: PathBuf,
    /// Where the secret keys are.
    pub keys: KeyPaths,
    /// Peers.
    #[serde(default)]
    pub network: NetworkSection,
    /// Clients.
    #[serde(default)]
    pub http: HttpSection,
    /// Disk.
    #[serde(default)]
    pub storage: StoreConfig,
    /// The past.
    #[serde(default)]
    pub history: HistorySection,
    /// What nobody pays for any more.
    #[serde(default)]
    pub forgetting: ForgettingSection,
}

/// Where peers find this node and where it finds them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkSection {
    /// Multiaddresses to listen on: `/ip4/0.0.0.0/tcp/7100`, `/ip4/0.0.0.0/udp/7100/quic-v1`.
    pub listen: Vec<String>,
    /// First peers besides the members of the genesis, as multiaddresses that end in `/p2p/<peer id>`.
    pub bootstrap: Vec<String>,
    /// Whether to look for peers on the local network by multicast.
    pub mdns: bool,
}

/// The HTTP surface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSection {
    /// Where to listen. Stores are taken only on a loopback address.
    pub listen: SocketAddr,
    /// Uploads at once, from 1 to 1000.
    pub uploads_max: usize,
    /// Streamed reads at once, from 1 to 10000.
    pub reads_max: usize,
    /// Connections at once, from 8 to 100000.
    pub connections_max: usize,
}

/// When forgotten fragments leave the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ForgettingSection {
    /// Epochs for which they stay while there is room, up to 1000000.
    pub keep_epochs: u64,
    /// Percent of what fragments may use, from 1 to 100: above it they go at once.
    pub full_percent: u8,
}

impl Default for ForgettingSection {
    fn default() -> Self {
        ForgettingSection { keep_epochs: 24, full_percent: 85 }
    }
}

/// What is kept of the past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HistorySection {
    /// Whether to keep every block for good.
    pub archive: bool,
    /// Epochs of which the blocks are kept otherwise, from 1 to [`BLOCK_EPOCHS_MAX`]. Headers and certificates of boundaries always stay.
    pub block_epochs: u64,
    /// Blocks that others must be ahead before a snapshot is fetched instead of blocks, from 1 to 1000000.
    pub snapshot_ahead: u64,
}

impl Default for HistorySection {
    fn default() -> Self {
        HistorySection { archive: false, block_epochs: 96, snapshot_ahead: 10_000 }
    }
}

impl Default for NetworkSection {
    fn default() -> Self {
        let listen = ["/ip4/0.0.0.0/tcp/7100", "/ip4/0.0.0.0/udp/7100/quic-v1"];
        NetworkSection { listen: listen.map(str::to_owned).to_vec(), bootstrap: Vec::new(), mdns: false }
    }
}

impl Default for HttpSection {
    fn default() -> Self {
        let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7101);
        let limits = floe_api::server::Config::new(listen, PathBuf::new(), 0);
        HttpSection {
            listen,
            uploads_max: limits.uploads_max,
            reads_max: limits.reads_max,
            connections_max: limits.connections_max,
        }
    }
}

/// A configuration that no node can start with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A file that is longer than any of its kind.
    #[error("{path} is longer than {max} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Bytes allowed.
        max: u64,
    },
    /// Not TOML, an unknown key, a missing key or a value of another type.
    #[error("{path}: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, column and what is wrong.
        reason: String,
    },
    /// A value out of its range.
    #[error("{path}: {key} {reason}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key, with its section.
        key: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// Two listeners on one port.
    #[error("{path}: {transport} port {port} is given to both {first} and {second}; choose another for one of them")]
    PortTwice {
        /// The file.
        path: PathBuf,
        /// `tcp` or `udp`.
        transport: &'static str,
        /// The port.
        port: u16,
        /// Who has it.
        first: String,
        /// Who wants it too.
        second: String,
    },
    /// A genesis that no network can begin with.
    #[error("{path}: {source}")]
    Genesis {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: GenesisError,
    },
    /// A key that cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl NodeConfig {
    /// Reads and checks the file at `path`. Paths in it become absolute or relative to the working directory.
    ///
    /// # Errors
    /// The first [`ConfigError`] found, with the file's name.
    pub fn load(path: &Path) -> Result<NodeConfig, ConfigError> {
        let text = read_bounded(path, CONFIG_BYTES_MAX)?;
        let malformed = |error: toml::de::Error| ConfigError::Malformed {
            path: path.to_owned(),
            reason: error.to_string().trim_end().to_owned(),
        };
        let mut config: NodeConfig = toml::from_str(&text).map_err(malformed)?;
        let home = path.parent().unwrap_or(Path::new(""));
        config.genesis = home.join(&config.genesis);
        config.data = home.join(&config.data);
        config.keys.relative_to(home);
        config.check(path)?;
        Ok(config)
    }

    /// The genesis it names, checked.
    ///
    /// # Errors
    /// [`ConfigError`] when the file cannot be read or is no genesis of this protocol.
    pub fn genesis(&self) -> Result<Genesis, ConfigError> {
        load_genesis(&self.genesis)
    }

    /// The keys it names, which must be of `network`.
    ///
    /// # Errors
    /// [`ConfigError::Key`] when one is missing, readable by others, of another purpose or of another network.
    pub fn keys(&self, network: NetworkId) -> Result<NodeKeys, ConfigError> {
        Ok(NodeKeys::load(&self.keys, network)?)
    }

    /// The HTTP server's configuration: what is chosen here and what follows from the rest.
    #[must_use]
    pub fn http_server(&self, blob_bytes_max: u64) -> floe_api::server::Config {
        let mut server = floe_api::server::Config::new(self.http.listen, self.data.join("spool"), blob_bytes_max);
        server.disk_reserve_bytes = self.storage.reserve_bytes;
        server.uploads_max = self.http.uploads_max;
        server.reads_max = self.http.reads_max;
        server.connections_max = self.http.connections_max;
        server
    }

    /// The choices of the fragments actor.
    #[must_use]
    pub fn fragments(&self) -> crate::actors::fragments::Config {
        let mut chosen = crate::actors::fragments::Config::default();
        chosen.custody.reclaim_after = EpochCount(self.forgetting.keep_epochs);
        chosen.full_percent = self.forgetting.full_percent;
        chosen
    }

    fn check(&self, path: &Path) -> Result<(), ConfigError> {
        let value = |key, reason: String| ConfigError::Value { path: path.to_owned(), key, reason };
        let range = |key, found: usize, allowed: std::ops::RangeInclusive<usize>| match allowed.contains(&found) {
            true => Ok(()),
            false => Err(value(key, format!("must be from {} to {}", allowed.start(), allowed.end()))),
        };
        range("http.uploads_max", self.http.uploads_max, 1..=1_000)?;
        range("http.reads_max", self.http.reads_max, 1..=10_000)?;
        range("http.connections_max", self.http.connections_max, 8..=100_000)?;
        range("network.listen", self.network.listen.len(), 1..=ADDRESSES_MAX)?;
        range("network.bootstrap", self.network.bootstrap.len(), 0..=ADDRESSES_MAX)?;
        if let Some(peer) = self.network.bootstrap.iter().find(|peer| !peer.contains("/p2p/")) {
            let reason = format!("has {peer:?}, which does not end in /p2p/<peer id>");
            return Err(value("network.bootstrap", reason));
        }
        if !(1..=BLOCK_EPOCHS_MAX).contains(&self.history.block_epochs) {
            let reason = format!("must be from 1 to {BLOCK_EPOCHS_MAX}; for more set history.archive");
            return Err(value("history.block_epochs", reason));
        }
        if !(1..=1_000_000).contains(&self.history.snapshot_ahead) {
            return Err(value("history.snapshot_ahead", "must be from 1 to 1000000".to_owned()));
        }
        if self.forgetting.keep_epochs > 1_000_000 {
            return Err(value("forgetting.keep_epochs", "must be at most 1000000".to_owned()));
        }
        if !(1..=100).contains(&self.forgetting.full_percent) {
            return Err(value("forgetting.full_percent", "must be from 1 to 100".to_owned()));
        }
        self.storage.check().map_err(|error| value("storage", error.to_string()))?;
        self.check_ports(path)
    }

    fn check_ports(&self, path: &Path) -> Result<(), ConfigError> {
        let mut taken: BTreeMap<(&'static str, u16), (IpAddr, String)> = BTreeMap::new();
        let http = Listener { transport: "tcp", address: self.http.listen };
        let mut wanted = vec![(http, "http.listen".to_owned())];
        for text in &self.network.listen {
            let listener = Listener::parse(text).ok_or_else(|| ConfigError::Value {
                path: path.to_owned(),
                key: "network.listen",
                reason: format!(
                    "has {text:?}; an address looks like /ip4/0.0.0.0/tcp/7100 or /ip4/0.0.0.0/udp/7100/quic-v1"
                ),
            })?;
            wanted.push((listener, text.clone()));
        }
        for (listener, second) in wanted {
            let (transport, port, ip) = (listener.transport, listener.address.port(), listener.address.ip());
            if port == 0 {
                continue;
            }
            if let Some((before, first)) = taken.get(&(transport, port)).cloned()
                && (before == ip || before.is_unspecified() || ip.is_unspecified())
            {
                return Err(ConfigError::PortTwice { path: path.to_owned(), transport, port, first, second });
            }
            taken.insert((transport, port), (ip, second));
        }
        Ok(())
    }
}

/// An address to listen on, as far as ports can collide.
struct Listener {
    transport: &'static str,
    address: SocketAddr,
}

impl Listener {
    /// Reads `/ip4/…/tcp/…`, `/ip6/…/tcp/…`, `/ip4/…/udp/…/quic-v1` and `/ip6/…/udp/…/quic-v1`.
    fn parse(text: &str) -> Option<Listener> {
        let mut parts = text.strip_prefix('/')?.split('/');
        let ip = match parts.next()? {
            "ip4" => IpAddr::V4(parts.next()?.parse().ok()?),
            "ip6" => IpAddr::V6(parts.next()?.parse().ok()?),
            _ => return None,
        };
        let (transport, port) = (parts.next()?, parts.next()?.parse().ok()?);
        let address = SocketAddr::new(ip, port);
        match (transport, parts.next(), parts.next()) {
            ("tcp", None, None) => Some(Listener { transport: "tcp", address }),
            ("udp", Some("quic-v1"), None) => Some(Listener { transport: "udp", address }),
            _ => None,
        }
    }
}

/// Reads a genesis document and checks it.
///
/// # Errors
/// [`ConfigError`] when the file cannot be read, is too long or is no genesis of this protocol.
pub fn load_genesis(path: &Path) -> Result<Genesis, ConfigError> {
    let text = read_bounded(path, GENESIS_BYTES_MAX as u64)?;
    let refused = |source| ConfigError::Genesis { path: path.to_owned(), source };
    let genesis: Genesis =
        serde_json::from_str(&text).map_err(|error| refused(GenesisError::Malformed { reason: error.to_string() }))?;
    genesis.check().map_err(refused)?;
    Ok(genesis)
}

fn read_bounded(path: &Path, max: u64) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    let read = file.take(max + 1).read_to_string(&mut text).map_err(unreadable)?;
    if read as u64 > max {
        return Err(ConfigError::TooLong { path: path.to_owned(), max });
    }
    Ok(text)
}

/// The example that `deploy/floe.toml` shows: every key with its default and what it is for.
pub const EXAMPLE: &str = r#"# Configuration of a Floe node: every key, with its default where it has one.
# Relative paths are taken from this file's directory. An unknown key is refused.

# The network's genesis document. Compare its id with a friend: floe genesis show <file>
genesis = "/etc/floe/genesis.json"
# Everything this node keeps. One node per directory.
data = "/var/lib/floe"

# Secret keys, each in a file that only its owner may read (chmod 600). Made by: floe node init
[keys]
identity = "/etc/floe/keys/identity.key"
vote = "/etc/floe/keys/vote.key"
confirmation = "/etc/floe/keys/confirmation.key"
account = "/etc/floe/keys/account.key"

# Peers. Open the port for tcp and udp.
[network]
listen = ["/ip4/0.0.0.0/tcp/7100", "/ip4/0.0.0.0/udp/7100/quic-v1"]
# First peers besides the members of the genesis, each ending in /p2p/<peer id>.
bootstrap = []
# Look for peers on the local network by multicast.
mdns = false

# Clients. Stores are taken only on a loopback address, reads on any.
[http]
listen = "127.0.0.1:7101"
# At once; more are answered 503.
uploads_max = 16
reads_max = 64
# At once; more wait.
connections_max = 512

# Disk and its memory.
[storage]
cache_bytes = 67108864
buffer_bytes = 167772160
open_files_max = 512
background_threads = 2
# Kept free for votes and metadata: stores are refused below it.
reserve_bytes = 1073741824
reserve_percent = 5
# The most bytes of fragments; without it, what the disk holds.
# fragment_bytes_max = 1000000000000
stages_max = 256
uploads_max = 10000
# "refuse" to open when the disk has lost acknowledged writes, or "accept" on a node that has given up its vote key.
lost_writes = "refuse"

# The past. Verdicts, headers and certificates of boundaries stay in any case.
[history]
# Keep every block for good.
archive = false
# Else blocks of so many epochs.
block_epochs = 96
# Blocks that others must be ahead before this node fetches a snapshot instead of blocks.
snapshot_ahead = 10000

# Fragments that nobody pays for any more: reclaimable, and served to readers who ask for undefended bytes.
[forgetting]
# Epochs for which they stay while there is room.
keep_epochs = 24
# Percent of what fragments may use, above which they go at once.
full_percent = 85
"#;

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "genesis = \"g.json\"\ndata = \"d\"\n[keys]\nidentity = \"i\"\nvote = \"v\"\nconfirmation = \"c\"\naccount = \"a\"\n";

    fn loaded(text: &str) -> Result<NodeConfig, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("floe.toml");
        std::fs::write(&path, text).unwrap();
        NodeConfig::load(&path)
    }

    #[test]
    fn the_example_names_every_key_with_its_default() {
        let example = loaded(EXAMPLE).unwrap();
        let least = loaded(LEAST).unwrap();
        assert_eq!((&example.network, &example.http), (&least.network, &least.http));
        assert_eq!((&example.storage, &example.history), (&least.storage, &least.history));
        assert_eq!(example.forgetting, least.forgetting);
        let shown = toml::to_string(&example).unwrap();
        let keys = |text: &str| -> Vec<String> {
            let named = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "));
            named.map(|(key, _)| key.to_owned()).collect()
        };
        assert_eq!(keys(EXAMPLE), keys(&shown), "every key stands in the example, in order");
    }

    #[test]
    fn the_example_file_is_this_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/floe.toml");
        if std::fs::read_to_string(&path).ok().as_deref() != Some(EXAMPLE) {
            std::fs::write(&path, EXAMPLE).unwrap();
            panic!("deploy/floe.toml was out of date and has been written; commit it");
        }
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("floe.toml");
        std::fs::write(&path, LEAST.replace("\"d\"", "\"/var/lib/floe\"")).unwrap();
        let config = NodeConfig::load(&path).unwrap();
        assert_eq!(config.genesis, directory.path().join("g.json"));
        assert_eq!(config.data, Path::new("/var/lib/floe"));
        assert_eq!(config.keys.vote, directory.path().join("v"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let cases = [
            (format!("{LEAST}[http]\nlistn = \"127.0.0.1:1\"\n"), "unknown field `listn`"),
            (format!("{LEAST}[htp]\n"), "unknown field `htp`"),
            (format!("{LEAST}[http]\nlisten = 7101\n"), "line 9"),
            (format!("{LEAST}[http]\nlisten = \"localhost:7101\"\n"), "invalid socket address"),
            (format!("{LEAST}[http]\nuploads_max = 0\n"), "http.uploads_max must be from 1 to 1000"),
            (format!("{LEAST}[http]\nuploads_max = -1\n"), "invalid value"),
            (format!("{LEAST}[storage]\ncache_bytes = 1\n"), "cache_bytes"),
            (format!("{LEAST}[forgetting]\nfull_percent = 0\n"), "forgetting.full_percent must be from 1 to 100"),
            (format!("{LEAST}[history]\nblock_epochs = 0\n"), "history.block_epochs must be from 1"),
            (format!("{LEAST}[network]\nlisten = []\n"), "network.listen must be from 1 to 64"),
            (format!("{LEAST}[network]\nlisten = [\"0.0.0.0:7100\"]\n"), "an address looks like"),
            (format!("{LEAST}[network]\nbootstrap = [\"/ip4/1.2.3.4/tcp/1\"]\n"), "does not end in /p2p/"),
            (LEAST.replace("vote", "# vote"), "missing field `vote`"),
            ("data = ".to_owned(), "line 1"),
        ];
        for (text, wanted) in cases {
            let error = loaded(&text).unwrap_err().to_string();
            assert!(error.contains(wanted) && error.contains("floe.toml"), "{wanted:?} is not in {error}");
        }
        let missing = NodeConfig::load(Path::new("nowhere/floe.toml")).unwrap_err().to_string();
        assert!(missing.contains("nowhere/floe.toml"), "{missing}");
    }

    #[test]
    fn one_port_for_two_listeners_is_refused() {
        let listen = |http: &str, peers: &str| {
            loaded(&format!("{LEAST}[http]\nlisten = \"{http}\"\n[network]\nlisten = [{peers}]\n"))
        };
        let twice = listen("127.0.0.1:7100", "\"/ip4/0.0.0.0/tcp/7100\"").unwrap_err();
        assert!(matches!(&twice, ConfigError::PortTwice { port: 7100, transport: "tcp", .. }), "{twice}");
        assert!(listen("127.0.0.1:1", "\"/ip4/1.2.3.4/tcp/7\", \"/ip4/1.2.3.4/tcp/7\"").is_err());
        assert!(listen("127.0.0.1:7100", "\"/ip4/0.0.0.0/udp/7100/quic-v1\"").is_ok(), "tcp and udp are apart");
        assert!(listen("127.0.0.1:7", "\"/ip4/127.0.0.2/tcp/7\"").is_ok(), "addresses are apart");
        assert!(listen("127.0.0.1:0", "\"/ip4/127.0.0.1/tcp/0\"").is_ok(), "0 lets the system choose");
    }

    #[test]
    fn a_genesis_that_is_none_is_refused_with_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("g.json");
        for text in ["", "{}", "[1,2", "{\"version\": 9}"] {
            std::fs::write(&path, text).unwrap();
            let error = load_genesis(&path).unwrap_err().to_string();
            assert!(error.contains("g.json") && error.contains("not a genesis document"), "{error}");
        }
    }
}
