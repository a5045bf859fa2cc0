//! What a devnet is, before any file: genesis, keys and configurations as a function of a seed and a few numbers.

use super::{Node, State, failed};
use crate::config::{ForgettingSection, HistorySection, HttpSection, NetworkSection, NodeConfig};
use crate::keys::{KeyFile, KeyPaths, NodeKeys, Purpose};
use crate::member::{Described, Secrets};
use floe_api::{Code, Problem};
use floe_storage::StoreConfig;
use floe_types::genesis::{GenesisAccount, GenesisError, PROTOCOL_VERSION};
use floe_types::{BlockTime, Frost, Genesis, Params, codec, committee};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

/// The version of the state file's form.
pub const STATE_VERSION: u32 = 1;
/// How far a node's port for peers is above its HTTP port.
const PEER_PORTS_ABOVE: u16 = 100;
/// The letters of a devnet's name, without those that look alike.
const NAME_LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// What a devnet is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How many nodes, at least one.
    pub nodes: u16,
    /// Shards in all; at least one for each node.
    pub shards: u16,
    /// The least length of an epoch.
    pub epoch_millis: u64,
    /// HTTP port of the first node; others follow, peers' ports are 100 above.
    pub base_port: u16,
    /// What each node's account holds from the start.
    pub balance: Frost,
    /// Bytes of fragments each node promises to have room for.
    pub capacity_bytes: u64,
    /// When epoch 1 begins.
    pub time: BlockTime,
    /// From which all secrets are derived. Of a real devnet, random.
    pub seed: [u8; 32],
}

/// A plan that makes no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// More nodes than shards.
    #[error("{nodes} nodes share {shards} shards; each needs one at least")]
    TooFewShards {
        /// The nodes.
        nodes: u16,
        /// The shards.
        shards: u16,
    },
    /// The ports reach into each other or beyond the last.
    #[error(
        "{nodes} nodes from port {base} do not fit: peers' ports are {PEER_PORTS_ABOVE} above, the last port is 65535"
    )]
    Ports {
        /// The first port.
        base: u16,
        /// The nodes.
        nodes: u16,
    },
    /// A parameter out of its range.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
}

/// A devnet in memory.
#[derive(Clone, Debug)]
pub struct Laid {
    /// The content of the state file.
    pub state: State,
    /// The genesis.
    pub genesis: Genesis,
    secrets: Vec<[[u8; 32]; 4]>,
}

impl Plan {
    /// Lays the devnet out. Equal plans give equal networks, to the byte.
    ///
    /// # Errors
    /// [`PlanError`] when the numbers make no network.
    pub fn lay(&self) -> Result<Laid, PlanError> {
        if self.nodes == 0 || self.nodes > self.shards {
            return Err(PlanError::TooFewShards { nodes: self.nodes, shards: self.shards });
        }
        let last = self.base_port.checked_add(PEER_PORTS_ABOVE).and_then(|port| port.checked_add(self.nodes));
        if self.nodes > PEER_PORTS_ABOVE || self.base_port == 0 || last.is_none() {
            return Err(PlanError::Ports { base: self.base_port, nodes: self.nodes });
        }
        let secrets: Vec<[[u8; 32]; 4]> =
            (0..self.nodes).map(|node| Purpose::ALL.map(|purpose| self.secret(node, purpose))).collect();
        let dealt = committee::deal(self.shards, usize::from(self.nodes));
        let (mut members, mut nodes, mut accounts) = (Vec::new(), Vec::new(), Vec::new());
        for ((index, shards), secret) in (0..self.nodes).zip(dealt).zip(&secrets) {
            let node = self.node(index, shards.len());
            let keys = NodeKeys::from_secrets(|purpose| secret[purpose as usize]);
            accounts.push(GenesisAccount { account: keys.account_id(), balance: self.balance });
            let described = Described {
                name: node.name.clone(),
                addresses: vec![tcp(node.peers), quic(node.peers)],
                domain: String::new(),
                capacity_bytes: self.capacity_bytes,
                shards,
            };
            members.push(Secrets::of(keys).member(described));
            nodes.push(node);
        }
        accounts.sort_by_key(|entry| entry.account);
        let params = Params::devnet(self.shards, self.epoch_millis);
        let name = self.name();
        let genesis = Genesis {
            version: PROTOCOL_VERSION,
            name: name.clone(),
            time: self.time,
            params,
            accounts,
            members,
            parent: None,
        };
        genesis.check()?;
        let state = State {
            version: STATE_VERSION,
            name,
            network: genesis.network(),
            shards: self.shards,
            epoch_millis: self.epoch_millis,
            balance: self.balance.0,
            nodes,
        };
        Ok(Laid { state, genesis, secrets })
    }

    fn node(&self, index: u16, shards: usize) -> Node {
        let http = self.base_port + index;
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Node {
            name: format!("node-{}", index + 1),
            http: at(http),
            peers: at(http + PEER_PORTS_ABOVE),
            shards: u16::try_from(shards).unwrap_or(u16::MAX),
        }
    }

    fn secret(&self, node: u16, purpose: Purpose) -> [u8; 32] {
        codec::hash("floe devnet: secret of a node", &codec::encode(&(self.seed, node, purpose.word())))
    }

    fn name(&self) -> String {
        let hash = codec::hash("floe devnet: name", &self.seed);
        hash.iter().take(4).map(|byte| char::from(NAME_LETTERS[usize::from(byte % 32)])).collect()
    }
}

fn tcp(address: SocketAddr) -> String {
    format!("/ip4/{}/tcp/{}", address.ip(), address.port())
}

fn quic(address: SocketAddr) -> String {
    format!("/ip4/{}/udp/{}/quic-v1", address.ip(), address.port())
}

impl Laid {
    /// The configuration of `node`, with paths relative to its directory.
    #[must_use]
    pub fn config(&self, node: &Node) -> NodeConfig {
        NodeConfig {
            genesis: "../genesis.json".into(),
            data: "data".into(),
            keys: KeyPaths::in_directory(Path::new("keys")),
            network: NetworkSection {
                listen: vec![tcp(node.peers), quic(node.peers)],
                bootstrap: Vec::new(),
                mdns: false,
            },
            http: HttpSection { listen: node.http, ..HttpSection::default() },
            storage: StoreConfig::small(),
            history: HistorySection::default(),
            forgetting: ForgettingSection::default(),
        }
    }

    /// A Prometheus configuration that scrapes every node, every second or five times an epoch, whichever is less often.
    #[must_use]
    pub fn prometheus(&self) -> String {
        let seconds = (self.state.epoch_millis / 5_000).clamp(1, 15);
        let targets: Vec<String> = self.state.nodes.iter().map(|node| format!("\"{}\"", node.http)).collect();
        format!(
            "# Scrapes the devnet \"{name}\": prometheus --config.file=prometheus.yml\n\
             global:\n  scrape_interval: {seconds}s\n  evaluation_interval: {seconds}s\n\
             scrape_configs:\n  - job_name: floe\n    static_configs:\n      - targets: [{targets}]\n        \
             labels:\n          network: {name}\n",
            name = self.state.name,
            targets = targets.join(", "),
        )
    }

    /// Writes everything but the state file into `directory`.
    ///
    /// # Errors
    /// [`Code::FileUnusable`] with the file that the system refused.
    pub fn write(&self, directory: &Path) -> Result<(), Problem> {
        let put = |path: &Path, text: &str| fs::write(path, text).map_err(|error| failed(path, &error));
        let genesis = serde_json::to_string_pretty(&self.genesis).expect("a genesis has text keys only");
        put(&directory.join("genesis.json"), &genesis)?;
        put(&directory.join("prometheus.yml"), &self.prometheus())?;
        for (node, secrets) in self.state.nodes.iter().zip(&self.secrets) {
            let home = directory.join(&node.name);
            let keys = home.join("keys");
            fs::create_dir_all(&keys).map_err(|error| failed(&keys, &error))?;
            let paths = KeyPaths::in_directory(&keys);
            for purpose in Purpose::ALL {
                let file = KeyFile::new(purpose, secrets[purpose as usize], Some(self.state.network));
                let written = file.write(paths.of(purpose));
                written.map_err(|error| Problem::new(Code::FileUnusable, error.to_string()))?;
            }
            let config = toml::to_string(&self.config(node)).expect("a configuration is tables of plain values");
            put(&home.join("floe.toml"), &config)?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Four nodes on ports that the tests of this crate have to themselves.
    pub(in crate::devnet) fn plan() -> Plan {
        Plan {
            nodes: 4,
            shards: 10,
            epoch_millis: 3_000,
            base_port: 27_101,
            balance: Frost(1_000_000_000),
            capacity_bytes: 1 << 40,
            time: BlockTime(1_795_183_365_000),
            seed: [7; 32],
        }
    }

    #[test]
    fn equal_seeds_give_equal_networks_and_others_others() {
        let (one, two) = (plan().lay().unwrap(), plan().lay().unwrap());
        assert_eq!(one.genesis, two.genesis);
        assert_eq!(one.state, two.state);
        assert_eq!(one.secrets, two.secrets);
        let other = Plan { seed: [8; 32], ..plan() }.lay().unwrap();
        assert_ne!(one.state.network, other.state.network);
        let all: std::collections::BTreeSet<_> = one.secrets.iter().chain(&other.secrets).flatten().collect();
        assert_eq!(all.len(), 32, "no secret is used twice");
        assert_eq!(one.state.name.len(), 4);
    }

    #[test]
    fn the_genesis_funds_every_node_and_deals_every_shard() {
        let laid = plan().lay().unwrap();
        let bonded: u64 = laid.genesis.members.iter().map(|member| laid.genesis.stake_of(member).0).sum();
        assert_eq!(laid.genesis.supply().unwrap(), Frost(4_000_000_000 + bonded));
        assert_eq!(laid.state.nodes.iter().map(|node| node.shards).collect::<Vec<_>>(), [2, 3, 2, 3]);
        let member = &laid.genesis.members[2];
        assert_eq!(member.addresses, ["/ip4/127.0.0.1/tcp/27203", "/ip4/127.0.0.1/udp/27203/quic-v1"]);
        assert_eq!(laid.genesis.committee().unwrap().members().len(), 4);
    }

    #[test]
    fn numbers_that_make_no_network_are_refused() {
        let good = plan();
        let cases = [
            Plan { nodes: 0, ..good.clone() },
            Plan { nodes: 11, ..good.clone() },
            Plan { base_port: 65_500, ..good.clone() },
            Plan { base_port: 0, ..good.clone() },
            Plan { nodes: 101, shards: 200, ..good.clone() },
            Plan { epoch_millis: 10, ..good.clone() },
            Plan { shards: 3, nodes: 3, ..good.clone() },
        ];
        for case in cases {
            assert!(case.lay().is_err(), "{case:?}");
        }
    }

    #[test]
    fn prometheus_is_told_of_every_node() {
        let text = plan().lay().unwrap().prometheus();
        assert!(
            text.contains(
                "targets: [\"127.0.0.1:27101\", \"127.0.0.1:27102\", \"127.0.0.1:27103\", \"127.0.0.1:27104\"]"
            )
        );
        assert!(text.contains("scrape_interval: 1s"));
    }
}
