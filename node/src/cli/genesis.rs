//! `genesis new` and `genesis show`.

use super::args;
use super::draw::{self, Cell};
use super::output::Output;
use super::text::{self, Clock};
use super::{DONE, Done, misconfigured, unusable};
use crate::config;
use floe_api::model::Time;
use floe_api::{Code, Problem};
use floe_types::genesis::{GenesisAccount, PROTOCOL_VERSION};
use floe_types::units::FROST_PER_WAL;
use floe_types::{BlockTime, Frost, Genesis, Member, Params, committee};
use std::fs;
use std::io::Read;
use std::path::Path;

/// The longest member file in bytes.
const MEMBER_BYTES_MAX: u64 = 64 << 10;

/// `floe genesis new`.
pub(super) fn new(args: &args::GenesisNew, output: &Output) -> Done {
    if args.output.exists() {
        let detail = format!("{} is there already; a network's genesis is never written over", args.output.display());
        return Err(Problem::new(Code::Conflict, detail).hint("choose another file with --output"));
    }
    let mut members: Vec<Member> = args.members.iter().map(|file| read_member(file)).collect::<Result<_, _>>()?;
    members.sort_by_key(|member| member.node);
    for (member, shards) in members.iter_mut().zip(committee::deal(args.shards, args.members.len())) {
        member.shards = shards;
    }
    let mut params = Params::standard(args.shards);
    if let Some(epoch) = args.epoch {
        params = params.with_epoch(u64::try_from(epoch.as_millis()).unwrap_or(u64::MAX));
    }
    let balance = Frost(FROST_PER_WAL).checked_mul(args.wal);
    let balance = balance.ok_or_else(|| Problem::bad_request("wal", "that is more WAL than there can be"))?;
    let mut accounts: Vec<_> =
        members.iter().map(|member| GenesisAccount { account: member.account, balance }).collect();
    accounts.sort_by_key(|entry| entry.account);
    let time = BlockTime(Time::now().0);
    let genesis =
        Genesis { version: PROTOCOL_VERSION, name: args.name.clone(), time, params, accounts, members, parent: None };
    genesis.check().map_err(misconfigured)?;
    let text = serde_json::to_string_pretty(&genesis).map_err(misconfigured)?;
    fs::write(&args.output, text + "\n").map_err(|error| unusable(&args.output, &error))?;
    output.result(&serde_json::json!({ "network": genesis.network(), "file": args.output }), || {
        format!("network    \"{}\" {}\nwritten    {}", genesis.name, genesis.network(), args.output.display())
    });
    Ok(DONE)
}

fn read_member(path: &Path) -> Result<Member, Problem> {
    let file = fs::File::open(path).map_err(|error| unusable(path, &error))?;
    let mut text = String::new();
    file.take(MEMBER_BYTES_MAX).read_to_string(&mut text).map_err(|error| unusable(path, &error))?;
    serde_json::from_str(&text).map_err(|error| misconfigured(format!("{}: {error}", path.display())))
}

/// `floe genesis show`.
pub(super) fn show(args: &args::GenesisShow, output: &Output) -> Done {
    let genesis = config::load_genesis(&args.file).map_err(misconfigured)?;
    output.result(&genesis, || described(&genesis, output));
    Ok(DONE)
}

fn described(genesis: &Genesis, output: &Output) -> String {
    let clock = Clock::now();
    let supply = genesis.supply().map_or_else(|error| error.to_string(), |supply| text::amount(supply.into()));
    let members = genesis.members.iter().map(|member| {
        vec![
            Cell::from(&member.name),
            Cell::from(member.shards.len().to_string()),
            Cell::from(member.node.short()),
            Cell::from(member.addresses.join(" ")),
            Cell::from(member.domain.escape_debug().to_string()),
        ]
    });
    let members = draw::table(output, &["member", "shards", "node", "addresses", "domain"], members.collect());
    let params = genesis.params.describe().into_iter().map(|row| row.map(Cell::from).into()).collect();
    let params = draw::table(output, &["parameter", "value", "unit", "why"], params);
    let goes_on = genesis.parent.as_ref().map_or_else(String::new, |parent| {
        format!(
            "\ngoes on    from network {} after its epoch {}, block {} at height {}",
            parent.network,
            parent.ended,
            parent.block,
            text::count(parent.height.0),
        )
    });
    format!(
        "network    \"{}\" {}{goes_on}\nbegins     {}   protocol {}\nsupply     {supply} in {} accounts\n\n{members}\n\n{params}",
        genesis.name,
        genesis.network(),
        clock.time(genesis.time.into()),
        genesis.version,
        genesis.accounts.len(),
    )
}
