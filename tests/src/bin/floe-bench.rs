//! What storing, reading and deciding cost on this machine, with all nodes as processes on it.
//!
//! Prints figures and ratios of one run: storing and reading a large blob, from `store` to certified for a small one, and
//! decisions a second while small stores keep every block busy. Every vote is journalled; nothing is switched off.

use clap::Parser;
use floe_api::client::Upload;
use floe_api::service::{Existing, Persistence};
use floe_tests::Devnet;
use floe_types::EpochCount;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
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

    let decisions = decisions_a_second(&devnet, arguments.seconds);
    println!("decisions                      {decisions:8.1} /s     {:.2} of the aim 58", decisions / 58.0);
    Ok(())
}

/// Heights a second while eight clients store small blobs without pause.
fn decisions_a_second(devnet: &Devnet, seconds: u64) -> f64 {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for worker in 0..8u64 {
            let (stop, devnet) = (&stop, devnet);
            scope.spawn(move || {
                let client = devnet.client(1 + (worker % 7) as u16);
                let mut round = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    let content = format!("worker {worker}, round {round}");
                    let upload = Upload {
                        length: Some(content.len() as u64),
                        epochs: EpochCount(1),
                        file_name: None,
                        content_type: None,
                        persistence: Persistence::Deletable,
                        existing: Existing::Reuse,
                    };
                    // A refusal under load is part of the load.
                    let _ = client.store(&upload, &mut content.as_bytes(), &mut |_| {});
                    round += 1;
                }
            });
        }
        let height = || devnet.client(1).network().map_or(0, |network| network.height.0);
        std::thread::sleep(Duration::from_secs(1));
        let (began, from) = (Instant::now(), height());
        std::thread::sleep(Duration::from_secs(seconds));
        let speed = (height() - from) as f64 / began.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        speed
    })
}
