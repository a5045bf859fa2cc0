//! `node init` and `node run`.

use super::args;
use super::output::{self, Output};
use super::{DONE, Done, misconfigured, unusable};
use crate::config::{self, EXAMPLE, NodeConfig};
use crate::keys::{self, KeyFile, KeyPaths, Purpose};
use crate::member;
use crate::run::RunError;
use floe_api::{Code, Problem};
use floe_types::NetworkId;
use std::fs;
use std::path::Path;

/// What `node init` leaves for the one who makes the genesis.
const MEMBER_FILE: &str = "member.json";

/// `floe node init`.
pub(super) fn init(args: &args::NodeInit, output: &Output) -> Done {
    let directory = &args.dir;
    let (key_directory, data) = (directory.join("keys"), directory.join("data"));
    if args.genesis.is_none() && args.address.is_empty() {
        return Err(Problem::bad_request("address", "other nodes must know where to reach this one")
            .hint("give --address /ip4/<address>/tcp/7100"));
    }
    for made in [directory, &key_directory, &data] {
        fs::create_dir_all(made).map_err(|error| unusable(made, &error))?;
    }
    let paths = KeyPaths::in_directory(&key_directory);
    match &args.genesis {
        None => announce(args, &paths, output),
        Some(genesis) => join(args, &paths, genesis, output),
    }
}

/// Creates keys and writes what the genesis says about this member.
fn announce(args: &args::NodeInit, paths: &KeyPaths, output: &Output) -> Done {
    let created = ensure_keys(paths, None)?;
    let secrets = member::Secrets::read(paths).map_err(misconfigured)?;
    let described = member::Described {
        name: args.name.clone(),
        addresses: args.address.clone(),
        domain: args.domain.clone(),
        capacity_bytes: args.capacity,
        shards: Vec::new(),
    };
    let member = secrets.member(described);
    let file = args.dir.join(MEMBER_FILE);
    let text = serde_json::to_string_pretty(&member).map_err(misconfigured)?;
    fs::write(&file, text + "\n").map_err(|error| unusable(&file, &error))?;
    output.note(&format!("keys       {created} created in {}", args.dir.join("keys").display()));
    output.result(&member, || {
        format!(
            "member     {}\nnext       give it to whoever makes the genesis: floe genesis new --member {} ...\n           then: floe node init --dir {} --genesis <file>",
            file.display(),
            file.display(),
            args.dir.display(),
        )
    });
    Ok(DONE)
}

/// Gives the keys to a network and writes the configuration.
fn join(args: &args::NodeInit, paths: &KeyPaths, genesis: &Path, output: &Output) -> Done {
    let document = config::load_genesis(genesis).map_err(misconfigured)?;
    let network = document.network();
    let created = ensure_keys(paths, Some(network))?;
    let copy = args.dir.join("genesis.json");
    let text = fs::read(genesis).map_err(|error| unusable(genesis, &error))?;
    fs::write(&copy, text).map_err(|error| unusable(&copy, &error))?;
    let keys = keys::NodeKeys::load(paths, network).map_err(misconfigured)?;
    let member = document.members.iter().find(|member| member.node == keys.node());
    let file = args.dir.join("floe.toml");
    if !file.exists() {
        let listen = listen_for(member.map(|member| &member.addresses[..]).unwrap_or_default());
        let text = EXAMPLE.replace("/etc/floe/", "").replace("/var/lib/floe", "data").replace(EXAMPLE_LISTEN, &listen);
        fs::write(&file, text).map_err(|error| unusable(&file, &error))?;
    }
    let config = NodeConfig::load(&file).map_err(misconfigured)?;
    config.keys(network).map_err(misconfigured)?;
    let role = member.map_or_else(
        || "not a member: it will follow and serve reads".to_owned(),
        |member| format!("member {} with {} of {} shards", member.name, member.shards.len(), document.params.shards),
    );
    output.note(&format!("keys       {created} created, all belong to network {}", network.short()));
    output.result(&serde_json::json!({ "config": file, "network": network, "node": keys.node() }), || {
        format!(
            "network    \"{}\" {network}\nnode       {}   {role}\nnext       floe node run --config {}",
            document.name,
            keys.node().short(),
            file.display(),
        )
    });
    Ok(DONE)
}

/// The line of the example that says where to listen.
const EXAMPLE_LISTEN: &str = r#"listen = ["/ip4/0.0.0.0/tcp/7100", "/ip4/0.0.0.0/udp/7100/quic-v1"]"#;

/// The same line for a member that told others to reach it at `addresses`: the same ports, on every interface. A port that
/// is forwarded from another one is for the operator to change.
fn listen_for(addresses: &[String]) -> String {
    let port = |address: &String| address.split('/').nth(4).and_then(|port| port.parse::<u16>().ok());
    let ports: std::collections::BTreeSet<u16> = addresses.iter().filter_map(port).collect();
    if ports.is_empty() {
        return EXAMPLE_LISTEN.to_owned();
    }
    let both = |port| [format!("\"/ip4/0.0.0.0/tcp/{port}\""), format!("\"/ip4/0.0.0.0/udp/{port}/quic-v1\"")];
    let lines: Vec<String> = ports.into_iter().flat_map(both).collect();
    format!("listen = [{}]", lines.join(", "))
}

/// Creates the keys that are missing and gives those that are there to `network`. Returns how many were created.
fn ensure_keys(paths: &KeyPaths, network: Option<NetworkId>) -> Result<usize, Problem> {
    let mut created = 0;
    for purpose in Purpose::ALL {
        let path = paths.of(purpose);
        if !path.exists() {
            let mut secret = [0u8; 32];
            getrandom::fill(&mut secret)
                .map_err(|error| Problem::new(Code::Internal, format!("the system gives no random bytes: {error}")))?;
            KeyFile::new(purpose, secret, network).write(path).map_err(misconfigured)?;
            created += 1;
            continue;
        }
        let key = keys::read_for(path, purpose).map_err(misconfigured)?;
        match (key.network(), network) {
            (Some(found), Some(wanted)) if found != wanted => {
                let error = keys::KeyError::Network { path: path.to_owned(), found, expected: wanted };
                return Err(misconfigured(error));
            }
            (None, Some(wanted)) => key.bound_to(wanted).write(path).map_err(misconfigured)?,
            _ => {}
        }
    }
    Ok(created)
}

/// `floe node run`.
pub(super) fn run(args: &args::NodeRun) -> Done {
    output::becomes_node();
    if args.own_session {
        // Fails only for a process that leads its group already, which is as much apart as it needs to be.
        let _ = rustix::process::setsid();
    }
    let config = NodeConfig::load(&args.config).map_err(misconfigured)?;
    crate::telemetry::start_log();
    crate::run::run(&config).map(|()| DONE).map_err(|error| Problem::new(code_of(&error), error.to_string()))
}

/// What the operator can put right is configuration; the rest is this node's failure.
fn code_of(error: &RunError) -> Code {
    match error {
        RunError::Config(_)
        | RunError::Open(_)
        | RunError::Network(_)
        | RunError::Http(_)
        | RunError::Genesis(_)
        | RunError::NotSucceeded { .. } => Code::Configuration,
        RunError::Storage(_) | RunError::Ledger(_) | RunError::System(_) | RunError::Halted { .. } => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_listens_on_the_ports_that_others_were_told() {
        assert!(EXAMPLE.contains(EXAMPLE_LISTEN));
        assert_eq!(listen_for(&[]), EXAMPLE_LISTEN);
        let told = ["/ip4/203.0.113.7/tcp/7200".to_owned(), "/ip4/203.0.113.7/udp/7200/quic-v1".to_owned()];
        assert_eq!(listen_for(&told), EXAMPLE_LISTEN.replace("7100", "7200"));
    }
}
