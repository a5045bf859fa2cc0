//! `committee candidates`, `preview`, `join`, `leave`, `offer` and `stake`; `node candidacy` and `node can-stop`.
//!
//! Joining takes two hands. On the node's machine `floe node candidacy` writes what the node says of itself, signed by its
//! three keys for one owner; elsewhere the owner bonds the stake with it. So the key that holds the stake need never be on
//! the node, and nobody can bring another's node into a committee.

use super::args::{self, CommitteeCommand, StakeCommand};
use super::draw::{self, Cell};
use super::output::{Output, Tone};
use super::sign::{self, Signer};
use super::text::{self, Clock};
use super::{DONE, Done, misconfigured, unusable};
use crate::config::NodeConfig;
use crate::member::{Described, Secrets};
use floe_api::client::Client;
use floe_api::model::{CanStopView, Candidacy, CandidateView, CandidatesView, ForGood, PreviewView, TransactionAnswer};
use floe_api::service::Proposal;
use floe_api::{Code, Problem};
use floe_ledger::{Action, Join, StakeChange};
use floe_types::codec;
use floe_types::params::TRANSACTION_BYTES_MAX;
use floe_types::{AccountId, Frost, NetworkId, NodeId};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// The version of a candidacy file's form.
const VERSION: u32 = 1;

/// `floe committee` but for `show`.
pub(super) fn run(client: &Client, command: &CommitteeCommand, output: &Output) -> Done {
    match command {
        CommitteeCommand::Show => super::network::committee(client, output),
        CommitteeCommand::Candidates => {
            let view = client.candidates()?;
            output.result(&view, || candidates_described(&view, output));
            Ok(DONE)
        }
        CommitteeCommand::Preview(args) => {
            let proposal = Proposal {
                node: node(&args.node)?,
                stake: sign::amount(&args.stake)?,
                capacity_bytes: args.capacity,
                domain: args.domain.clone(),
            };
            let view = client.preview(&proposal)?;
            output.result(&view, || preview_described(&view));
            Ok(DONE)
        }
        CommitteeCommand::Join { candidacy, key } => join(client, candidacy, key, output),
        CommitteeCommand::Leave { node: named, key } => {
            let node = node(named)?;
            let answer = Signer::open(key)?.send(client, Action::Leave { node })?;
            settled(client, &answer, output, || {
                let view = client.can_stop(Some(node))?;
                Ok(format!("notice given for {}\n{}", node.short(), for_good_described(&view.for_good)))
            })
        }
        CommitteeCommand::Offer { node: named, price, key } => {
            let (member, price) = (node(named)?, sign::amount(price)?);
            if price == Frost::ZERO {
                return Err(Problem::bad_request("price", "nothing is free: an offer is above zero"));
            }
            let answer = Signer::open(key)?.send(client, Action::Offer { member, price })?;
            settled(client, &answer, output, || {
                Ok(format!(
                    "{} would serve for {}\n{}",
                    member.short(),
                    text::amount(price.into()),
                    super::price::moves(client)?
                ))
            })
        }
        CommitteeCommand::Stake(StakeCommand::Add { node: named, amount, key }) => {
            stake(client, named, StakeChange::Add(sign::amount(amount)?), key, output)
        }
        CommitteeCommand::Stake(StakeCommand::Withdraw { node: named, amount, key }) => {
            stake(client, named, StakeChange::Withdraw(sign::amount(amount)?), key, output)
        }
    }
}

fn node(text: &str) -> Result<NodeId, Problem> {
    text.parse().map_err(|_| Problem::bad_request("node", format!("{text:?} is not a node: 64 hexadecimal digits")))
}

/// Shows what a transaction came to, and, once it is in a block, what `then` finds.
fn settled(
    _client: &Client,
    answer: &TransactionAnswer,
    output: &Output,
    then: impl FnOnce() -> Result<String, Problem>,
) -> Done {
    let found = then()?;
    output.result(answer, || format!("{found}\n{}", sign::outcome(answer)));
    sign::note_waiting(answer, output);
    Ok(DONE)
}

fn stake(client: &Client, named: &str, change: StakeChange, key: &args::SigningKey, output: &Output) -> Done {
    let node = node(named)?;
    let answer = Signer::open(key)?.send(client, Action::Stake { node, change })?;
    settled(client, &answer, output, || {
        let view = client.candidates()?;
        let found = view.candidates.iter().find(|candidate| candidate.node == node);
        Ok(found.map_or_else(String::new, |found| format!("{} has {} at stake", found.name, text::amount(found.stake))))
    })
}

/// What a node says of itself to the one who is to bond its stake.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CandidacyFile {
    version: u32,
    /// For people: what is signed stands in `signed`.
    name: String,
    node: NodeId,
    network: NetworkId,
    owner: AccountId,
    stake: String,
    /// Hex of the encoded [`Join`].
    signed: String,
}

/// `floe node candidacy`.
pub(super) fn candidacy(args: &args::NodeCandidacy, output: &Output) -> Done {
    sign::must_be_new(&args.output)?;
    let (owner, stake) = (sign::account(&args.owner)?, sign::amount(&args.stake)?);
    let config = NodeConfig::load(&args.config).map_err(misconfigured)?;
    let genesis = config.genesis().map_err(misconfigured)?;
    let network = genesis.network();
    let secrets = Secrets::of(config.keys(network).map_err(misconfigured)?);
    let described = Described {
        name: args.name.clone(),
        addresses: args.address.clone(),
        domain: args.domain.clone(),
        capacity_bytes: args.capacity,
        shards: Vec::new(),
    };
    let join = secrets.join(described, stake, (&network, &owner));
    let file = CandidacyFile {
        version: VERSION,
        name: join.name.clone(),
        node: join.node,
        network,
        owner,
        stake: text::amount(stake.into()),
        signed: hex::encode(codec::encode(&join)),
    };
    let document = serde_json::to_string_pretty(&file).map_err(misconfigured)?;
    fs::write(&args.output, document + "\n").map_err(|error| unusable(&args.output, &error))?;
    output.result(&file, || {
        let path = args.output.display();
        format!(
            "candidacy  {path}   of {} for {}\nnext       whoever has the key of account {}: floe committee join {path} --key <file>",
            join.name,
            text::amount(stake.into()),
            owner,
        )
    });
    Ok(DONE)
}

fn join(client: &Client, path: &Path, key: &args::SigningKey, output: &Output) -> Done {
    let malformed = |reason: String| Problem::new(Code::Configuration, format!("{}: {reason}", path.display()));
    let length = fs::metadata(path).map_err(|error| unusable(path, &error))?.len();
    if length > 4 * TRANSACTION_BYTES_MAX as u64 {
        return Err(malformed("is too long for a candidacy".to_owned()));
    }
    let text = fs::read_to_string(path).map_err(|error| unusable(path, &error))?;
    let file: CandidacyFile =
        serde_json::from_str(&text).map_err(|error| malformed(format!("is not a candidacy: {error}")))?;
    if file.version != VERSION {
        return Err(malformed(format!("is of version {}, this program reads {VERSION}", file.version)));
    }
    let signed = hex::decode(&file.signed).map_err(|_| malformed("its signed part is not hexadecimal".to_owned()))?;
    let join: Join = codec::decode(&signed, TRANSACTION_BYTES_MAX)
        .map_err(|error| malformed(format!("its signed part is damaged: {error}")))?;
    let signer = Signer::open(key)?;
    if signer.account() != file.owner {
        let detail = format!("it is for account {}, the key is of {}", file.owner, signer.account());
        return Err(malformed(detail));
    }
    let network = client.network()?.network;
    if network != file.network {
        return Err(malformed(format!("it is for network {}, the node is of {network}", file.network)));
    }
    let proposal = Proposal {
        node: join.node,
        stake: join.stake,
        capacity_bytes: join.capacity_bytes,
        domain: join.domain.clone(),
    };
    let (name, bonded) = (join.name.clone(), text::amount(join.stake.into()));
    let answer = signer.send(client, Action::Join(Box::new(join)))?;
    settled(client, &answer, output, || {
        let preview = client.preview(&proposal)?;
        Ok(format!("{name} is a candidate with {bonded} at stake\n{}", preview_described(&preview)))
    })
}

/// `floe node can-stop`.
pub(super) fn can_stop(client: &Client, args: &args::NodeCanStop, output: &Output) -> Done {
    let named = args.node.as_deref().map(node).transpose()?;
    let view = client.can_stop(named)?;
    output.result(&view, || can_stop_described(&view, output));
    Ok(u8::from(!view.for_a_while))
}

fn can_stop_described(view: &CanStopView, output: &Output) -> String {
    let CanStopView { seats, answering_without, needed, .. } = view;
    let while_away = if view.for_a_while {
        let word = output.paint(Tone::Good, "yes");
        format!("{word}  {answering_without} shards would still answer ({needed} needed) without its {seats}")
    } else {
        let word = output.paint(Tone::Bad, "no");
        format!("{word}   {answering_without} shards would answer without its {seats}, {needed} are needed to decide")
    };
    format!("for a while   {while_away}\nfor good      {}", for_good_described(&view.for_good))
}

fn for_good_described(for_good: &ForGood) -> String {
    let clock = Clock::now();
    match for_good {
        ForGood::Now => "SAFE TO SWITCH OFF: nothing rests on it".to_owned(),
        ForGood::From { epoch, about } => {
            format!("safe to switch off from epoch {epoch} on, {}", clock.future(*about))
        }
        ForGood::NotYet { why, earliest, about } => {
            let why: Vec<String> = why.iter().map(|line| format!("\n              {line}")).collect();
            format!("not yet, at the earliest in epoch {earliest}, {}{}", clock.future(*about), why.concat())
        }
    }
}

fn candidates_described(view: &CandidatesView, output: &Output) -> String {
    let clock = Clock::now();
    let rows = view.candidates.iter().map(|candidate| {
        let gathers = [(candidate.incoming, "incoming"), (candidate.former, "former")];
        let gathers = gathers.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
        let gathers: Vec<String> = gathers.collect();
        vec![
            Cell::from(&candidate.name),
            standing(candidate),
            Cell::from(text::amount(candidate.stake)),
            Cell::from(candidate.seats.to_string()),
            Cell::from(candidate.seats_next.map_or_else(|| "-".to_owned(), |seats| seats.to_string())),
            Cell::from(candidate.share.to_string()),
            Cell::from(gathers.join(" ")),
            Cell::from(candidate.domain.escape_debug().to_string()),
            Cell::from(&candidate.bound),
            Cell::from(candidate.node.short()),
        ]
    });
    let head = ["candidate", "is", "stake", "seats", "next", "share", "moving", "domain", "no more because", "node"];
    let table = draw::table(output, &head, rows.collect());
    let mut text = format!(
        "term {}, epoch {}: the next committee is chosen with the end of epoch {}, {}; the least stake is {}\n\n{table}",
        view.term,
        view.epoch,
        view.elects_with,
        clock.future(view.elects_about),
        text::amount(view.stake_min),
    );
    for crowded in &view.crowded {
        let line = format!("failure domain {} holds {} shards", crowded.domain.escape_debug(), crowded.shards);
        text.push_str(&format!("\n{}", output.paint(Tone::Thin, &line)));
    }
    text
}

fn standing(candidate: &CandidateView) -> Cell {
    match candidate.candidacy {
        Candidacy::Standing if candidate.seats > 0 => Cell::toned(Tone::Good, "member"),
        Candidacy::Standing => Cell::from("candidate"),
        Candidacy::Leaving { since } => Cell::toned(Tone::Thin, format!("leaving since {since}")),
        Candidacy::Excluded { until_term, .. } => Cell::toned(Tone::Bad, format!("excluded until term {until_term}")),
    }
}

fn preview_described(view: &PreviewView) -> String {
    let clock = Clock::now();
    format!(
        "considered with the end of epoch {}, {}\nabout {} of {} shards from epoch {} on, {}; {} would arrive; {} in time\nno more at first because {}",
        view.elected_with,
        clock.future(view.elected_about),
        view.seats,
        view.shards,
        view.serves_from,
        clock.future(view.serves_about),
        text::size(view.arriving_bytes),
        view.share,
        view.bound,
    )
}

impl Secrets {
    /// What the node with these keys says when it asks to stand, for `owner` in `network`.
    pub(super) fn join(&self, described: Described, stake: Frost, (network, owner): (&NetworkId, &AccountId)) -> Join {
        let member = self.member(described);
        let unsigned = floe_types::keys::Signature([0; 64]);
        let mut join = Join {
            node: member.node,
            name: member.name,
            account: member.account,
            vote_key: member.vote_key,
            bls_key: member.bls_key,
            possession: member.possession,
            addresses: member.addresses,
            domain: member.domain,
            capacity_bytes: member.capacity_bytes,
            stake,
            by_node: unsigned,
            by_vote_key: unsigned,
            by_bls_key: member.possession,
        };
        let message = join.message(network, owner);
        let keys = self.keys();
        join.by_node = keys.identity.sign(&message);
        join.by_vote_key = keys.vote.sign(&message);
        join.by_bls_key = keys.confirmation.sign(&message);
        join
    }
}
