//! `audit` and `verify`: answers that hold without a network.

use super::args;
use super::draw::{self, Cell};
use super::output::{Output, Tone};
use super::text::{self, Clock};
use super::{DONE, Done, misconfigured, unusable};
use crate::config;
use crate::service::verdict_word;
use floe_api::client::Client;
use floe_api::model::{Lines, Time, VerdictsView};
use floe_api::{Code, Problem};
use floe_ledger::evidence::proof::AuditProof;
use floe_ledger::evidence::{self, AUDIT_BYTES_MAX, Answer, Audit, EvidenceError, Seam, Trust};
use floe_machines::certificates::CommitCertificates;
use floe_types::{BlockId, Epoch, Genesis};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// `floe audit`.
pub(super) fn audit(client: &Client, args: &args::Audit, output: &Output) -> Done {
    if let Some((first, last)) = args.epochs {
        let view = client.verdicts(&args.id)?;
        let shown = between(view, Epoch(first), Epoch(last));
        output.result(&shown, || history(&shown, output));
        return Ok(DONE);
    }
    let (Some(epoch), Some(file)) = (args.epoch, &args.output) else {
        return Err(Problem::bad_request("epoch", "say which epoch and where to write: --epoch 40 -o FILE"));
    };
    let bytes = client.audit(&args.id, Epoch(epoch), args.from.map(Epoch))?;
    let genesis = match &args.genesis {
        Some(path) => config::load_genesis(path).map_err(misconfigured)?,
        None => serde_json::from_str(&client.genesis()?).map_err(misconfigured)?,
    };
    // Whatever a node says, what is written was checked here first.
    let start = args.from.map(|_| start_of(&bytes)).transpose()?;
    let checked = check(&bytes, &genesis, start)?;
    std::fs::write(file, &bytes).map_err(|error| unusable(file, &error))?;
    let unknown = args.genesis.is_none();
    output.result(&document(&checked, bytes.len()), || told(&checked, (&genesis, start), (bytes.len(), file), output));
    if unknown {
        output.note(&format!(
            "checked against the genesis that the node gave: compare {} with somebody you trust",
            genesis.network().short()
        ));
    }
    Ok(DONE)
}

/// The id of the boundary that a proof begins with, as it says itself.
fn start_of(bytes: &[u8]) -> Result<BlockId, Problem> {
    let proof = AuditProof::decode(bytes).map_err(|error| Problem::new(Code::ProofInvalid, error.to_string()))?;
    let start = proof.start.ok_or_else(|| Problem::new(Code::ProofInvalid, "the proof begins with genesis"))?;
    Ok(start.header.id())
}

fn check(bytes: &[u8], genesis: &Genesis, boundary: Option<BlockId>) -> Result<Audit, Problem> {
    let network = genesis.network();
    let trust = match boundary {
        None => Trust::Genesis(genesis),
        Some(block) => Trust::Boundary { network, block },
    };
    evidence::verify(bytes, trust, &CommitCertificates::of(network)).map_err(|error| invalid(&error))
}

fn invalid(error: &EvidenceError) -> Problem {
    let problem = Problem::new(Code::ProofInvalid, format!("INVALID: {error}"));
    match error {
        EvidenceError::OtherNetwork { .. } => problem.hint("give the genesis of the network that the proof is about"),
        EvidenceError::Version { .. } => problem.hint("check it with a program of its version"),
        _ => problem.hint("ask whoever gave you the file for another copy, or another node for a proof"),
    }
}

/// `floe verify`.
pub(super) fn verify(args: &args::Verify, output: &Output) -> Done {
    let genesis = config::load_genesis(&args.genesis).map_err(misconfigured)?;
    let bytes = read_bounded(&args.file)?;
    let audit = check(&bytes, &genesis, args.boundary)?;
    output.result(&document(&audit, bytes.len()), || steps(&audit, &genesis, output));
    Ok(DONE)
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, Problem> {
    let file = File::open(path).map_err(|error| unusable(path, &error))?;
    let mut bytes = Vec::new();
    let read = file.take(AUDIT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| unusable(path, &error))?;
    Ok(bytes)
}

/// What was decided, in a word for programs.
fn word(audit: &Audit) -> &'static str {
    match &audit.answer {
        Answer::Judged { record, .. } if record.verdict == floe_ledger::Verdict::Undecided => "undecided",
        Answer::Judged { record, .. } if record.held >= lines(record).read => "available",
        Answer::Judged { .. } => "unavailable",
        Answer::Forgotten { .. } => "forgotten",
        Answer::Invalid { .. } => "invalid",
        Answer::NotCertified { .. } => "notCertified",
        Answer::NeverRegistered => "neverRegistered",
    }
}

/// The same in a sentence for people.
fn answer(audit: &Audit, output: &Output) -> String {
    let blob = text::short(&audit.blob);
    match &audit.answer {
        Answer::Judged { record, .. } => {
            let Lines { read, total, .. } = lines(record);
            let numbers = format!("{} of {total} shards were covered and answered, {read} needed to read", record.held);
            match word(audit) {
                "undecided" => format!("NOT DECIDED: too few members reported. As far as they did, {numbers}"),
                "available" => {
                    format!("YES. Verdict {}: {numbers}", draw::verdict(verdict_word(record.verdict), output))
                }
                _ => format!("NO. Verdict {}: {numbers}", draw::verdict(verdict_word(record.verdict), output)),
            }
        }
        Answer::Forgotten { life, .. } => {
            format!("NO. {blob} was paid through epoch {} and forgotten after it", life.last)
        }
        Answer::Invalid { .. } => {
            format!("NO. Verdict INVALID: members proved that {blob} was encoded inconsistently, and nobody keeps it")
        }
        Answer::NotCertified { certified: Some(epoch), .. } => {
            format!("NO. {blob} was registered and not certified before epoch {epoch}")
        }
        Answer::NotCertified { certified: None, .. } => format!("NO. {blob} was registered and not certified"),
        Answer::NeverRegistered => format!("NO. Nobody had registered {blob} by epoch {}", audit.anchor.1),
    }
}

/// The ruler of the committee that a record is about.
fn lines(record: &floe_ledger::VerdictRecord) -> Lines {
    Lines::of(record.held.saturating_add(record.absent).saturating_add(record.uncovered))
}

fn document(audit: &Audit, bytes: usize) -> Value {
    let decided = &audit.decided;
    let (height, epoch, time) = audit.anchor;
    let mut document = json!({
        "network": audit.network,
        "blobId": audit.blob,
        "epoch": audit.epoch,
        "answer": word(audit),
        "boundary": {
            "height": decided.header.height,
            "block": decided.id,
            "time": Time::from(decided.header.time),
            "signedShards": decided.signed.shards,
            "signedMembers": decided.signed.members.len(),
            "neededShards": decided.needed,
            "notSigned": decided.silent.members.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        },
        "shownUnder": { "height": height, "epoch": epoch, "time": Time::from(time) },
        "committeeChanges": audit.terms,
        "proofBytes": bytes,
    });
    if let Some(seam) = &audit.seam {
        document["goesOnFrom"] = json!({ "network": seam.network, "block": seam.block, "ended": seam.ended });
    }
    if let Some(start) = audit.start {
        document["trustedBoundaryEpoch"] = json!(start);
    }
    if let Answer::Judged { number, record, .. } = &audit.answer {
        document["sequence"] = json!(number);
        document["verdict"] = json!(verdict_word(record.verdict));
        document["held"] = json!(record.held);
        document["absent"] = json!(record.absent);
        document["uncovered"] = json!(record.uncovered);
    }
    document
}

fn told(
    audit: &Audit,
    (genesis, start): (&Genesis, Option<BlockId>),
    (bytes, file): (usize, &Path),
    output: &Output,
) -> String {
    let clock = Clock::now();
    let decided = &audit.decided;
    let members = decided.signed.members.len() + decided.silent.members.len();
    let all = decided.signed.shards.saturating_add(decided.silent.shards);
    let answer = answer(audit, output);
    let mut rows = vec![
        format!(
            "question   was {} available in epoch {} (ended {})?",
            text::short(&audit.blob),
            audit.epoch,
            clock.time(decided.header.time.into())
        ),
        format!("answer     {answer}"),
        format!(
            "who says   committee of epoch {}: {} of {members} members with {} of {all} shards signed the boundary ({} needed)",
            audit.epoch,
            decided.signed.members.len(),
            decided.signed.shards,
            decided.needed,
        ),
    ];
    if !decided.silent.members.is_empty() {
        let names: Vec<String> =
            decided.silent.members.iter().map(|(name, shards)| format!("{name} ({shards})")).collect();
        rows.push(format!(
            "           not in the proof, which has no more signatures than it needs: {}",
            names.join(", ")
        ));
    }
    rows.push(
        "basis      coverage attested by holders; who answered is what members with more than a third of the shards saw"
            .to_owned(),
    );
    rows.push("not said   what one reader saw; anything about other epochs; what the bytes mean".to_owned());
    rows.push(format!("strength   {}", strength(audit)));
    rows.extend(audit.seam.map(|seam| format!("seam       {}", goes_on(&seam))));
    let from = match audit.start {
        None => format!("genesis {}", genesis.network().short()),
        Some(epoch) => format!("the boundary of epoch {epoch}"),
    };
    rows.push(format!(
        "proof      {}, from {from}; check it anywhere, without a network: floe verify {} --genesis FILE{}",
        text::size(bytes as u64),
        file.display(),
        start.map_or_else(String::new, |block| format!(" --boundary {block}")),
    ));
    rows.join("\n")
}

/// Where a successor begins. Its genesis was made by hand, so that is what is trusted there.
fn goes_on(seam: &Seam) -> String {
    format!(
        "this network goes on from {} after its epoch {}, by the word of those who made its genesis; earlier epochs are answered by \
         files checked against the genesis of that one",
        seam.network.short(),
        seam.ended,
    )
}

fn strength(audit: &Audit) -> &'static str {
    match audit.start {
        None => {
            "as strong as the past: in no committee since genesis have members with a third of the shards kept their \
             vote keys and signed a second history"
        }
        Some(_) => "as strong as the boundary you name; one younger than the unbonding time needs no trust in the past",
    }
}

fn steps(audit: &Audit, genesis: &Genesis, output: &Output) -> String {
    let ok = output.paint(Tone::Good, " ok ");
    let decided = &audit.decided;
    let mut rows = vec![match audit.start {
        None => format!("{ok} genesis {} matches", genesis.network().short()),
        Some(epoch) => format!("{ok} boundary of epoch {epoch} is the one you trust"),
    }];
    rows.extend(audit.seam.map(|seam| format!("{ok} {}", goes_on(&seam))));
    rows.push(match audit.terms {
        0 => format!("{ok} the committee has not changed since"),
        terms => format!("{ok} changes of committee: {terms}, each signed by more than two thirds of the one before"),
    });
    rows.push(format!(
        "{ok} boundary of epoch {} in block {}, signed by {} shards ({} needed)",
        audit.epoch,
        text::count(decided.header.height.0),
        decided.signed.shards,
        decided.needed,
    ));
    let blob = text::short(&audit.blob);
    match &audit.answer {
        Answer::Judged { number, life, run, record } => {
            rows.push(format!(
                "{ok} certification of {blob} in epoch {}, sequence {}",
                life.certified,
                text::count(number.0)
            ));
            let verdict = draw::verdict(verdict_word(record.verdict), output);
            let first = text::count(run.first.0);
            let last = if run.last.0 == u64::MAX { "the newest".to_owned() } else { text::count(run.last.0) };
            rows.push(format!(
                "{ok} verdict record {first} to {last} {verdict} under the verdict root of epoch {}",
                audit.epoch
            ));
        }
        Answer::Forgotten { number, .. } | Answer::Invalid { number, .. } => {
            rows.push(format!(
                "{ok} entry of {blob}, sequence {}, under block {}",
                text::count(number.0),
                text::count(audit.anchor.0.0)
            ));
        }
        Answer::NotCertified { .. } | Answer::NeverRegistered => {
            rows.push(format!("{ok} entry of {blob} under block {}", text::count(audit.anchor.0.0)));
        }
    }
    let answer = answer(audit, output);
    rows.push(format!("{}  {answer}", output.paint(Tone::Good, "VALID")));
    rows.join("\n")
}

/// The changes that say what held in `first..=last`: those inside, and the one that was in force at the first.
fn between(mut view: VerdictsView, first: Epoch, last: Epoch) -> VerdictsView {
    let mut reached = false;
    view.changes.retain(|change| {
        let wanted = change.epoch <= last && !reached;
        reached |= change.epoch <= first;
        wanted
    });
    view
}

fn history(view: &VerdictsView, output: &Output) -> String {
    if view.changes.is_empty() {
        return format!("nothing was decided about {} in these epochs", text::short(&view.blob_id));
    }
    let clock = Clock::now();
    let row = |change: &floe_api::model::VerdictChange| {
        vec![
            Cell::from(format!("{} on", change.epoch)),
            Cell::verdict(change.verdict),
            Cell::from(format!("{} of {}", change.held, view.lines.total)),
            Cell::from(clock.time(change.decided_at)),
        ]
    };
    draw::table(output, &["epoch", "verdict", "held", "decided"], view.changes.iter().map(row).collect())
}
