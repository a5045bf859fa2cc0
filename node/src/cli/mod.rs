//! The command line: `floe`. A client of a node's HTTP surface, and the door to running a node and a network on one machine.
//!
//! | file | commands |
//! | --- | --- |
//! | [`args`] | what can be typed |
//! | [`blobs`] | `store`, `read`, `status`, `list` |
//! | [`network`] | `status` without an id, `epoch`, `committee`, `account` |
//! | [`explain`] | `explain`, `repair status`, `check` |
//! | [`evidence`] | `audit`, `verify` |
//! | [`price`] | `quote`, `price`, `renew` |
//! | [`health`] | `health` |
//! | [`node`] | `node init`, `node run` |
//! | [`standing`] | `node status` |
//! | [`genesis`] | `genesis new`, `genesis show` |
//! | [`successor`] | `genesis survivor`, `genesis successor`, `node succeed` |
//! | [`devnet`] | `devnet up`, `down`, `kill`, `start`, `status` |
//! | [`output`] | where text goes: result on stdout, progress and notes on stderr |
//! | [`text`] | sizes, times, amounts, ids for people |
//!
//! # Laws
//! - stdout carries the result and nothing else; under `--json` it is one document a line, a problem document included.
//! - The exit code is that of the problem's class ([`floe_api::ExitCode`]); `health` has its own, see there.
//! - Every epoch is printed with its clock time, every figure with its unit, no old verdict without its date.

mod account;
mod args;
mod blobs;
mod committee;
mod devnet;
mod draw;
mod evidence;
mod explain;
mod genesis;
mod health;
mod network;
mod node;
mod output;
mod price;
mod sign;
mod standing;
mod successor;
mod target;
mod terms;
mod text;

use args::{Command, CommitteeCommand, DevnetCommand, GenesisCommand, NodeCommand, RepairCommand};
use clap::Parser;
use floe_api::{Code, ExitCode, Problem};
use output::Output;

/// How a command ends: the code to exit with, or what went wrong.
type Done = Result<u8, Problem>;

/// Exit code of a command that did what it was asked for.
const DONE: u8 = 0;

/// Runs what the process was called with and returns its exit code.
#[must_use]
pub fn main() -> u8 {
    let args = match args::Args::try_parse_from(std::env::args_os().map(args::shield_id)) {
        Ok(args) => args,
        Err(error) => {
            let asked = !error.use_stderr();
            // Help that nobody reads any more, as in a closed pipe, is no failure.
            drop(error.print());
            return if asked { DONE } else { ExitCode::Usage.number() };
        }
    };
    let output = Output::new(&args.common);
    exit_on_interrupt();
    match run(&args, &output) {
        Ok(code) => code,
        Err(problem) => {
            output.problem(&problem);
            problem.code.class().number()
        }
    }
}

fn run(args: &args::Args, output: &Output) -> Done {
    let common = &args.common;
    match &args.command {
        Command::Store(store) => blobs::store(&target::client(common)?, store, output),
        Command::Read(read) => blobs::read(&target::client(common)?, read, output),
        Command::Extend(extend) => terms::extend(&target::client(common)?, extend, output),
        Command::Quote(quote) => price::quote(&target::client(common)?, quote, output),
        Command::Price => price::price(&target::client(common)?, output),
        Command::Renew(renew) => price::renew(&target::client(common)?, renew, output),
        Command::Delete(delete) => terms::delete(&target::client(common)?, delete, output),
        Command::List(list) => blobs::list(&target::client(common)?, list, output),
        Command::Status(status) => match &status.id {
            Some(id) => blobs::status(&target::client(common)?, id, status, output),
            None => network::status(&target::client(common)?, status, output),
        },
        Command::Explain(what) => explain::explain(&target::client(common)?, what, output),
        Command::Check(blob) => explain::check(&target::client(common)?, blob, output),
        Command::Repair(RepairCommand::Status) => explain::repair(&target::client(common)?, output),
        Command::Audit(audit) => evidence::audit(&target::client(common)?, audit, output),
        Command::Verify(verify) => evidence::verify(verify, output),
        Command::Epoch(epoch) => network::epoch(&target::client(common)?, epoch, output),
        Command::Committee(committee) => {
            let command = committee.command.as_ref().unwrap_or(&CommitteeCommand::Show);
            committee::run(&target::client(common)?, command, output)
        }
        Command::Account(account) => account::run(common, account, output),
        Command::Health => health::health(&target::client(common)?, output),
        Command::Node(NodeCommand::Init(init)) => node::init(init, output),
        Command::Node(NodeCommand::Run(run)) => node::run(run),
        Command::Node(NodeCommand::Succeed(succeed)) => successor::succeed(succeed, output),
        Command::Node(NodeCommand::Candidacy(candidacy)) => committee::candidacy(candidacy, output),
        Command::Node(NodeCommand::CanStop(args)) => committee::can_stop(&target::client(common)?, args, output),
        Command::Node(NodeCommand::Status(status)) => standing::status(&target::client(common)?, status, output),
        Command::Genesis(GenesisCommand::New(new)) => genesis::new(new, output),
        Command::Genesis(GenesisCommand::Show(show)) => genesis::show(show, output),
        Command::Genesis(GenesisCommand::Survivor(survivor)) => successor::survivor(survivor, output),
        Command::Genesis(GenesisCommand::Successor(new)) => successor::successor(new, output),
        Command::Devnet(DevnetCommand::Up(up)) => devnet::up(up, output),
        Command::Devnet(DevnetCommand::Down(down)) => devnet::down(down, output),
        Command::Devnet(DevnetCommand::Kill(nodes)) => devnet::kill(nodes, output),
        Command::Devnet(DevnetCommand::Start(nodes)) => devnet::start(nodes, output),
        Command::Devnet(DevnetCommand::Status(at)) => devnet::status(at, output),
    }
}

/// Removes what is half done and exits with 130 when the user interrupts a client command. A running node handles its
/// own signals: it never gets here, because the handler is set up again by the node.
fn exit_on_interrupt() {
    std::thread::spawn(|| {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() && !output::node_runs() {
            output::remove_unfinished();
            std::process::exit(i32::from(ExitCode::Interrupted.number()));
        }
    });
}

/// A file of the user that cannot be used.
fn unusable(path: &std::path::Path, error: &std::io::Error) -> Problem {
    Problem::new(Code::FileUnusable, format!("{}: {error}", path.display()))
        .with(|facts| facts.name = Some(path.display().to_string()))
}

/// A configuration, key file or genesis that cannot be used.
fn misconfigured(error: impl std::fmt::Display) -> Problem {
    Problem::new(Code::Configuration, error.to_string())
}
