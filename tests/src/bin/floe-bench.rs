//! What storing, reading and deciding cost on this machine, with all nodes as processes on it.
//!
//! Prints figures and ratios of one run: storing and reading a large blob, from `store` to certified for a small one, and
//! decisions a second while transfers keep every block busy. Every vote is journalled; nothing is switched off.

use clap::Parser;
use floe_ledger::{Action, Transaction};
use floe_network::{LanDiscovery, MemoryPeerBook, Network, Topic};
use floe_node::config::NodeConfig;
use floe_tests::Devnet;
use floe_types::{AccountId, Frost};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Measures a devnet of real processes.
#[derive(Parser)]
struct Arguments {
    /// Nodes.
    #[arg(long, default_value_t = 7)]
    nodes: u16,
    /// Size of the large blob in MiB.
    #[arg(long, default_value_t = 64)]
    mib: usize,
    /// Rounds of each measurement; the median is printed.
    #[arg(long, default_value_t = 5)]
    rounds: u64,
    /// Seconds for which decisions are counted.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// MB/s at which this disk takes bytes that are synced at the end.
fn disk_megabytes_a_second(folder: &Path) -> std::io::Result<f64> {
    let path = folder.join("disk-probe");
    let chunk = vec![0x5au8; 1 << 20];
    let began = Instant::now();
    let mut file = std::fs::File::create(&path)?;
    for _ in 0..256 {
        file.write_all(&chunk)?;
    }
    file.sync_data()?;
    let speed = 256.0 * 1.048_576 / began.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(speed)
}

/// Milliseconds of one small synced write, the floor under every vote.
fn sync_millis(folder: &Path) -> std::io::Result<f64> {
    let path = folder.join("sync-probe");
    let mut file = std::fs::File::create(&path)?;
    let mut times = Vec::new();
    for _ in 0..50 {
        let began = Instant::now();
        file.write_all(&[0; 300])?;
        file.sync_data()?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    std::fs::remove_file(path)?;
    Ok(median(times))
}

fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let devnet = Devnet::up(arguments.nodes, "60s");
    let (disk, sync) = (disk_megabytes_a_second(devnet.path())?, sync_millis(devnet.path())?);
    println!("disk, synced at the end        {disk:8.1} MB/s");
    println!("small synced write, median     {sync:8.2} ms");

    let megabytes = arguments.mib as f64 * 1.048_576;
    let (mut stores, mut reads) = (Vec::new(), Vec::new());
    for round in 0..arguments.rounds {
        let file = devnet.file("large", arguments.mib << 20, 7_000 + round);
        let began = Instant::now();
        let id = devnet.store(1, &file, 2);
        stores.push(megabytes / began.elapsed().as_secs_f64());
        let began = Instant::now();
        devnet.read_back(2, &id, &file);
        reads.push(megabytes / began.elapsed().as_secs_f64());
    }
    let aim = (0.4 * disk / 4.27).min(40.0);
    let (stored, read) = (median(stores), median(reads));
    println!(
        "store {} MiB, command line      {stored:8.1} MB/s   {:.2} of the aim {aim:.1}",
        arguments.mib,
        stored / aim
    );
    println!("read {} MiB, command line       {read:8.1} MB/s   {:.2} of the aim 100", arguments.mib, read / 100.0);

    let mut small = Vec::new();
    for round in 0..arguments.rounds * 4 {
        let file = devnet.file("small", 1_024, 9_000 + round);
        let began = Instant::now();
        devnet.store(1, &file, 2);
        small.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let certified = median(small);
    println!("store 1 KiB to certified       {certified:8.1} ms     {:.2} of the aim 150", certified / 150.0);

    let decisions = decisions_a_second(&devnet, arguments.seconds)?;
    println!("decisions                      {decisions:8.1} /s     {:.2} of the aim 58", decisions / 58.0);
    Ok(())
}

/// Transfers that wait at a time: enough that no block is empty, few enough that a decision costs and not its transfers.
const WAITING: u64 = 6;

/// Heights a second while a peer gossips transfers, so that there is always something to decide.
fn decisions_a_second(devnet: &Devnet, seconds: u64) -> std::io::Result<f64> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let client = devnet.client(1);
        let view = client.network().map_err(std::io::Error::other)?;
        let config = NodeConfig::load(&devnet.path().join("devnet/node-7/floe.toml")).map_err(std::io::Error::other)?;
        let keys = config.keys(view.network).map_err(std::io::Error::other)?;
        let peers = (1..=4).filter_map(|node| devnet.client(node).node().ok());
        let (network, mut events) = Network::start(floe_network::Config {
            identity_secret: [7; 32],
            network: view.network,
            listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
            bootstrap: peers.flat_map(|node| node.addresses.into_iter().take(1)).collect(),
            lan_discovery: LanDiscovery::Off,
            limits: floe_network::Limits::default(),
            peer_book: Box::new(MemoryPeerBook::default()),
        })
        .map_err(std::io::Error::other)?;
        tokio::spawn(async move { while events.recv().await.is_some() {} });
        tokio::time::sleep(Duration::from_secs(2)).await;
        let account = AccountId(keys.account.public());
        let mut sent = client.account(Some(account)).map_err(std::io::Error::other)?.nonce;
        let (mut began, mut from) = (Instant::now(), 0);
        let warm = Instant::now() + Duration::from_secs(2);
        let mut height = 0;
        while from == 0 || began.elapsed() < Duration::from_secs(seconds) {
            let seen = client.account(Some(account)).map_err(std::io::Error::other)?;
            while sent < seen.nonce + WAITING {
                let action = Action::Transfer { to: AccountId([9; 32]), amount: Frost(1) };
                let transfer =
                    Transaction { network: view.network, sender: account, nonce: sent, fee: Frost::ZERO, action };
                // A full queue is tried again in the next round.
                if network.publish(Topic::Transactions, transfer.sign(&keys.account).encode()).await.is_err() {
                    break;
                }
                sent += 1;
            }
            height = seen.height.0;
            if from == 0 && Instant::now() > warm {
                (began, from) = (Instant::now(), height);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let speed = (height - from) as f64 / began.elapsed().as_secs_f64();
        network.shutdown().await;
        Ok(speed)
    })
}
