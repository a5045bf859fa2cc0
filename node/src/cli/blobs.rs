//! `store`, `read`, `status <id>` and `list`.

use super::args;
use super::draw::{self, Cell};
use super::output::{Output, Unfinished};
use super::text::{self, Clock};
use super::{DONE, Done, unusable};
use floe_api::client::{Client, Download, Step, Upload};
use floe_api::model::{BlobPhase, BlobStatus, FloeStored, Sentence, StoreAnswer, StoreProgress, Verdict};
use floe_api::service::{Existing, PAGE_MAX, Page, Persistence, Provenance, Undefended};
use floe_api::{Code, Problem};
use floe_types::{EpochCount, SequenceNumber};
use indicatif::ProgressBar;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How much of a blob is copied at a time.
const COPY_BYTES: usize = 256 << 10;
/// How often a decision that is due is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How many times in a row a watched node may fail to answer.
const FAILURES_MAX: u32 = 20;

/// `floe store`.
pub(super) fn store(client: &Client, args: &args::Store, output: &Output) -> Done {
    let began = Instant::now();
    let from_stdin = args.file.as_os_str() == "-";
    let (mut body, length): (Box<dyn Read>, Option<u64>) = match from_stdin {
        true => (Box::new(io::stdin()), None),
        false => {
            let file = File::open(&args.file).map_err(|error| unusable(&args.file, &error))?;
            let about = file.metadata().map_err(|error| unusable(&args.file, &error))?;
            if about.is_dir() {
                return Err(unusable(&args.file, &io::Error::from(io::ErrorKind::IsADirectory)));
            }
            (Box::new(file), about.is_file().then_some(about.len()))
        }
    };
    check_size(client, length)?;
    let file_name = args.file.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let upload = Upload {
        length,
        epochs: EpochCount(args.epochs),
        file_name: file_name.clone().filter(|_| !from_stdin && !args.no_name),
        content_type: args.content_type.clone(),
        persistence: if args.permanent { Persistence::Permanent } else { Persistence::Deletable },
        existing: if args.force { Existing::RegisterAgain } else { Existing::Reuse },
    };
    let name = file_name.filter(|_| !from_stdin).unwrap_or_else(|| "standard input".to_owned());
    let bar = output.bar(length, &name);
    let mut sent = 0;
    let answer = client.store(&upload, &mut body, &mut |step| {
        if let Step::Uploaded { bytes } = step {
            sent = bytes;
        }
        show(&bar, step);
    });
    bar.finish_and_clear();
    let answer = answer?;
    let took = text::seconds(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
    output.note(&stored_note(&name, sent, &answer, &took));
    output.result(&answer, || match output.is_quiet() {
        true => answer.blob_id().to_string(),
        false => format!("{}\n{}", stored(sent, &answer), answer.blob_id()),
    });
    Ok(DONE)
}

/// Refuses what the network would refuse, before it is sent.
fn check_size(client: &Client, length: Option<u64>) -> Result<(), Problem> {
    let limit = client.network()?.blob_bytes_max;
    match length {
        Some(length) if length > limit => {
            let detail = format!(
                "the file has {}, the largest blob of this network has {}",
                text::size(length),
                text::size(limit)
            );
            Err(Problem::new(Code::BlobTooLarge, detail).with(|facts| facts.limit_bytes = Some(limit)))
        }
        _ => Ok(()),
    }
}

fn show(bar: &ProgressBar, step: Step) {
    match step {
        Step::Uploaded { bytes } => bar.set_position(bytes),
        Step::Node(StoreProgress::Encoding { bytes, total }) => {
            bar.set_message(format!("encoding {} of {}", text::size(bytes), text::size(total)));
        }
        Step::Node(StoreProgress::Registered) => bar.set_message("registered"),
        Step::Node(StoreProgress::Sending { shards, total }) => {
            bar.set_message(format!("sent {shards}/{total} shards"))
        }
        Step::Node(StoreProgress::Certified) => bar.set_message("certified"),
    }
}

fn stored_note(name: &str, sent: u64, answer: &StoreAnswer, took: &str) -> String {
    let floe = answer.floe();
    let what = match answer {
        StoreAnswer::NewlyCreated(_) => {
            let (shards, total) = (floe.acknowledged_shards, floe.total_shards);
            format!("encoded ✔   sent {shards}/{total} shards ✔   certified ✔")
        }
        StoreAnswer::AlreadyCertified(_) => "certified already, nothing paid".to_owned(),
    };
    format!("{name}  {}   {what}   {took}", text::size(sent))
}

fn stored(length: u64, answer: &StoreAnswer) -> String {
    let (clock, floe) = (Clock::now(), answer.floe());
    let term = &floe.term;
    let mut rows = vec![format!(
        "kept     epochs {} to {} inclusive, until {}, not auto-renewed",
        term.first_epoch,
        term.last_epoch,
        clock.future(term.ends_about),
    )];
    let tenths = floe.encoded_bytes.saturating_mul(10).checked_div(length);
    let times = tenths.map_or_else(String::new, |tenths| format!(" ({}.{} times the file)", tenths / 10, tenths % 10));
    rows.push(format!("stored   {} in {} shards{times}", text::size(floe.encoded_bytes), floe.total_shards));
    if let StoreAnswer::NewlyCreated(_) = answer {
        rows.push(paid(floe));
    }
    rows.push("public   anyone with the id can read it".to_owned());
    rows.join("\n")
}

/// The price, taken apart; what is more than price times size times epochs is fees.
fn paid(floe: &FloeStored) -> String {
    let epochs = floe.term.last_epoch.0.saturating_sub(floe.term.first_epoch.0).saturating_add(1);
    let price = floe.price.0;
    let storage = price.checked_mul(floe.priced_mebibytes()).and_then(|sum| sum.checked_mul(epochs));
    let fees = storage.and_then(|storage| floe.paid.0.checked_sub(storage)).filter(|fees| fees.0 > 0);
    let fees = fees.map_or_else(String::new, |fees| format!(" + {} fees", text::amount(fees.into())));
    format!(
        "paid     {} = {} MiB × {epochs} epochs × {}{fees}       balance {}",
        text::amount(floe.paid),
        text::count(floe.priced_mebibytes()),
        text::amount(floe.price),
        text::amount(floe.balance),
    )
}

/// `floe read`.
pub(super) fn read(client: &Client, args: &args::Read, output: &Output) -> Done {
    let to_stdout = args.output.as_os_str() == "-";
    if to_stdout && io::stdout().is_terminal() {
        return Err(Problem::bad_request("output", "a blob's bytes do not belong on a terminal")
            .hint("name a file with -o, or pipe the output"));
    }
    if to_stdout && output.is_json() {
        return Err(Problem::bad_request("json", "the bytes and the document cannot both go to standard output")
            .hint("name a file with -o"));
    }
    let began = Instant::now();
    let status = client.blob_status(&args.id)?;
    let undefended = if args.undefended { Undefended::Allow } else { Undefended::Refuse };
    let mut download = client.read(status.blob_id, undefended, args.range)?;
    let bar = output.bar(Some(download.length), &text::short(&status.blob_id));
    if to_stdout {
        copy(&mut download, &mut io::stdout().lock(), &bar, Path::new("standard output"))?;
    } else {
        into_file(&mut download, &args.output, &bar)?;
    }
    bar.finish_and_clear();
    let took = text::seconds(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
    let verdict = status
        .standing
        .as_ref()
        .map_or_else(String::new, |standing| format!("      verdict: {}", draw::standing(standing, output)));
    let name = args.output.display();
    let verified = match download.provenance {
        None => "verified against its id",
        Some(Provenance::Proven) => "of it, proven against its id",
        Some(Provenance::Derived) => "of it, derived: right if the blob is encoded consistently",
    };
    let line = format!("{name}  {}  {verified}  {took}{verdict}", text::size(download.length));
    match to_stdout {
        true => output.note(&line.replacen("-  ", &format!("{}  ", text::short(&status.blob_id)), 1)),
        false if output.is_quiet() => {}
        false => output.result(&status, || line),
    }
    Ok(DONE)
}

/// Writes beside the file and renames: the name never holds a part of a blob.
fn into_file(download: &mut Download, path: &Path, bar: &ProgressBar) -> Result<(), Problem> {
    if path.is_dir() {
        return Err(unusable(path, &io::Error::from(io::ErrorKind::IsADirectory)));
    }
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(part);
    // A special file, such as /dev/null, is written as it is.
    if path.exists() && !path.is_file() {
        let mut file = File::options().write(true).open(path).map_err(|error| unusable(path, &error))?;
        return copy(download, &mut file, bar, path);
    }
    let mut file = File::options().write(true).create_new(true).open(&part).map_err(|error| unusable(&part, &error))?;
    let unfinished = Unfinished::at(part);
    copy(download, &mut file, bar, path)?;
    fs::rename(unfinished.path(), path).map_err(|error| unusable(path, &error))
}

fn copy(download: &mut Download, to: &mut dyn Write, bar: &ProgressBar, path: &Path) -> Result<(), Problem> {
    let mut buffer = vec![0u8; COPY_BYTES];
    let (mut copied, length) = (0u64, download.length);
    loop {
        let broke = |why: String| {
            let detail = format!("the read broke off after {copied} of {length} bytes: {why}");
            Problem::new(Code::BlobUnavailable, detail).hint("try again, or from another node with --url")
        };
        let read = match download.read(&mut buffer) {
            Ok(0) if copied == length => break,
            Ok(0) => return Err(broke("the connection ended".to_owned())),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broke(error.to_string())),
        };
        let piece = buffer.get(..read).unwrap_or_default();
        to.write_all(piece).map_err(|error| unusable(path, &error))?;
        copied = copied.saturating_add(read as u64);
        bar.set_position(copied);
    }
    to.flush().map_err(|error| unusable(path, &error))
}

/// `floe status <id>`.
pub(super) fn status(client: &Client, id: &str, args: &args::Status, output: &Output) -> Done {
    let mut status = client.blob_status(id)?;
    if args.watch {
        return watch(client, status, output);
    }
    if args.wait_verdict {
        let id = status.blob_id.to_string();
        output.note(&format!("waiting for the first verdict about {}", text::short(&status.blob_id)));
        while status.standing.is_none_or(|standing| standing.verdict == Verdict::Pending) {
            std::thread::sleep(LOOK_EVERY);
            status = client.blob_status(&id)?;
        }
    }
    output.result(&status, || described(&status, output));
    Ok(DONE)
}

fn described(status: &BlobStatus, output: &Output) -> String {
    let clock = Clock::now();
    let short = text::short(&status.blob_id);
    let mut rows = Vec::new();
    match (&status.standing, status.phase, status.certified_epoch) {
        (Some(standing), _, Some(certified)) if standing.verdict == Verdict::Pending => {
            let first =
                standing.first_about.map_or_else(String::new, |at| format!(", first verdict {}", clock.future(at)));
            rows.push(format!("{short}   CERTIFIED in epoch {certified}{first}"));
        }
        (Some(standing), _, _) => {
            let decided = standing.decided_at.map_or_else(String::new, |at| format!("   decided {}", clock.past(at)));
            rows.push(format!("{short}   {}{decided}", draw::standing(standing, output)));
        }
        (None, phase, _) => rows.push(format!("{short}   {}", phase_words(phase))),
    }
    match &status.ruler {
        Some(ruler) => {
            let last = status.standing.as_ref().and_then(|standing| standing.last.as_ref());
            rows.extend(
                last.map(|last| format!("as of   epoch {}, decided {}", last.epoch, clock.past(last.decided_at))),
            );
            rows.push(draw::ruler(ruler, status.margin.as_ref()));
        }
        None => rows.push(format!(
            "fragments  {} of {} attested      read {} · decide {}{}",
            status.attested,
            status.lines.total,
            status.lines.read,
            status.lines.decide,
            status.lines.repair.map_or_else(String::new, |repair| format!(" · repair {repair}")),
        )),
    }
    let tolerated = status.standing.as_ref().is_some_and(|standing| standing.verdict == Verdict::Tolerated);
    if tolerated && (status.repair_begins.is_some() || status.ruler.is_some_and(|ruler| ruler.absent > 0)) {
        rows.push(format!("repair  {}", draw::outlook(status.repair_begins)));
    }
    let name =
        status.attributes.file_name.as_ref().map_or_else(String::new, |name| format!("   {}", name.escape_debug()));
    rows.push(format!(
        "size    {}, {} in all shards{name}",
        text::size(status.length),
        text::size(status.encoded_bytes)
    ));
    let term = &status.term;
    rows.push(match status.phase {
        BlobPhase::Forgotten => {
            format!("kept    through epoch {}, ended {}", term.last_epoch, clock.past(term.ends_about))
        }
        BlobPhase::Registered | BlobPhase::Defended => {
            format!("kept    through epoch {}, until {}", term.last_epoch, clock.future(term.ends_about))
        }
    });
    rows.push(format!("next    epoch {} ends {}", status.epoch, clock.future(status.next_boundary_about)));
    rows.join("\n")
}

fn phase_words(phase: BlobPhase) -> &'static str {
    match phase {
        BlobPhase::Registered => "REGISTERED, not certified yet",
        BlobPhase::Defended => "CERTIFIED",
        BlobPhase::Forgotten => "FORGOTTEN",
    }
}

/// Prints a line for every decision about the blob, until it is forgotten or the user has seen enough.
fn watch(client: &Client, first: BlobStatus, output: &Output) -> Done {
    let id = first.blob_id.to_string();
    let (mut status, mut before, mut failures) = (first, None, 0);
    let mut overdue_told = false;
    loop {
        let standing = status.standing.filter(|standing| standing.verdict != Verdict::Pending);
        let key = standing.map(|standing| (standing.epoch, standing.verdict));
        if key.is_some() && key != before {
            let last = before.map(|(_, verdict)| verdict);
            let is_other = standing.map(|standing| standing.verdict) != last;
            let reasons = if is_other { reasons(client, &status) } else { String::new() };
            output.result(&status, || format!("{}{reasons}", watched(&status, last, output)));
            before = key;
            overdue_told = false;
        }
        if status.phase == BlobPhase::Forgotten {
            return Ok(DONE);
        }
        let clock = Clock::now();
        let overdue = clock.instant().millis_since(status.next_boundary_about);
        if overdue > 2_000 && !overdue_told {
            output.note(&format!(
                "{}  epoch {}   no decision yet, was due {}",
                clock.time(clock.instant()),
                status.epoch,
                clock.future(status.next_boundary_about)
            ));
            overdue_told = true;
        }
        let until = Duration::from_millis(status.next_boundary_about.millis_since(clock.instant()));
        std::thread::sleep(until.clamp(LOOK_EVERY, Duration::from_secs(2)));
        match client.blob_status(&id) {
            Ok(newer) => (status, failures) = (newer, 0),
            Err(problem) if failures >= FAILURES_MAX => return Err(problem),
            Err(problem) => {
                failures += 1;
                output.detail(&problem.to_string());
            }
        }
    }
}

/// Why a blob is not whole and what is done about it, below the line that says so; nothing when it is whole, or over.
fn reasons(client: &Client, status: &BlobStatus) -> String {
    let verdict = status.standing.as_ref().map(|standing| standing.verdict);
    let asks = matches!(
        verdict,
        Some(Verdict::Tolerated | Verdict::Repairing | Verdict::Unavailable | Verdict::Lost | Verdict::Undecided)
    );
    // A line less when the node does not answer: the decision was shown.
    let explained = asks.then(|| client.explain_blob(&status.blob_id.to_string()).ok()).flatten();
    explained.map_or_else(String::new, |explained| told(&explained.lines))
}

/// `node-7 silent for 1 epoch` and `risk 0.08 of its bound; not repaired, ...`, indented.
fn told(lines: &[Sentence]) -> String {
    let of = |label: &str| lines.iter().find(|line| line.label == label).map(|line| line.text.as_str());
    let risk = of("risk").map(|risk| format!("risk {risk}; {}", of("repair").unwrap_or("nothing is planned")));
    let rows = of("because").map(str::to_owned).into_iter().chain(risk);
    rows.map(|row| format!("\n{:20}{row}", "")).collect()
}

/// A decision in one line: `14:03:00  epoch 4   INTACT → TOLERATED      24 held   margin 14 = any 3 of 6 nodes`.
fn watched(status: &BlobStatus, before: Option<Verdict>, output: &Output) -> String {
    let clock = Clock::now();
    let Some(standing) = &status.standing else { return String::new() };
    let at = standing.decided_at.map_or_else(|| clock.time(clock.instant()), |at| clock.time(at));
    let epoch = standing.epoch.map_or_else(String::new, |epoch| epoch.to_string());
    let plain = match before {
        Some(before) if before != standing.verdict => {
            format!("{} → {}", before.word().to_uppercase(), standing.verdict.word().to_uppercase())
        }
        _ => standing.verdict.word().to_uppercase(),
    };
    let word = standing.verdict.word().to_uppercase();
    let padded = format!("{plain:<22}").replacen(&word, &draw::verdict(standing.verdict, output), 1);
    let held = status.ruler.map_or_else(String::new, |ruler| format!("  {} held", ruler.held));
    let margin = status.margin.map_or_else(String::new, |margin| {
        format!("   margin {} = any {} of {} nodes", margin.shards, margin.nodes, margin.of_nodes)
    });
    format!("{at}  epoch {epoch:<3} {padded}{held}{margin}")
}

/// `floe list`.
pub(super) fn list(client: &Client, args: &args::List, output: &Output) -> Done {
    let clock = Clock::now();
    let mut after = args.after.map(SequenceNumber);
    let (mut left, mut rows, mut total) = (args.limit, Vec::new(), 0);
    loop {
        let limit = u16::try_from(left).unwrap_or(u16::MAX).min(PAGE_MAX);
        let page = client.list(Page { after, limit })?;
        total = page.total.max(total);
        left = left.saturating_sub(page.blobs.len() as u64);
        for blob in &page.blobs {
            let held = blob.held.map_or_else(|| "-".to_owned(), |held| held.to_string());
            let ends = match blob.standing.verdict {
                Verdict::Forgotten => format!("epoch {}, {}", blob.term.last_epoch, clock.time(blob.term.ends_about)),
                _ => format!("epoch {}, about {}", blob.term.last_epoch, clock.time(blob.term.ends_about)),
            };
            let name = blob.file_name.as_deref().unwrap_or("").escape_debug().to_string();
            rows.push(vec![
                Cell::from(blob.blob_id.to_string()),
                Cell::from(text::size(blob.length)),
                Cell::standing(&blob.standing, output),
                Cell::from(held),
                Cell::from(ends),
                Cell::from(name),
            ]);
        }
        if output.is_json() {
            output.result(&page, String::new);
        }
        after = page.next;
        if left == 0 || after.is_none() {
            break;
        }
    }
    if !output.is_json() {
        let shown = rows.len() as u64;
        output.line(&draw::table(output, &["id", "size", "verdict", "held", "kept through", "name"], rows));
        if shown < total {
            let more = after.map_or_else(String::new, |after| format!("; more with --after {after}"));
            output.note(&format!("{} of {} blobs{more}", text::count(shown), text::count(total)));
        }
    }
    Ok(DONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use floe_api::model::{Amount, Freshness, PaidTerm, Standing, Time};
    use floe_types::{Epoch, Frost};

    #[test]
    fn a_change_of_verdict_is_told_with_its_reason() {
        let line = |label: &str, text: &str| Sentence { label: label.to_owned(), text: text.to_owned() };
        let lines = [
            line("because", "node-7 (4 shards) silent for 1 epoch"),
            line("so", "14 more shards"),
            line("risk", "0.08 of its bound"),
            line("repair", "not repaired, on purpose: no repair before node-7 is excluded"),
        ];
        let wanted = "
                    node-7 (4 shards) silent for 1 epoch
                    risk 0.08 of its bound; not repaired, on purpose: no repair before node-7 is excluded";
        assert_eq!(told(&lines), wanted);
        assert_eq!(told(&[]), "");
    }

    #[test]
    fn the_price_is_taken_apart_as_in_the_journey() {
        let standing = Standing {
            verdict: Verdict::Pending,
            epoch: None,
            decided_at: None,
            freshness: Freshness::Current,
            first_about: None,
            last: None,
        };
        let floe = FloeStored {
            acknowledged_shards: 28,
            total_shards: 28,
            encoded_bytes: 44_739_243,
            term: PaidTerm { first_epoch: Epoch(3), last_epoch: Epoch(18), ends_about: Time(0) },
            now: Time(0),
            standing,
            price: Amount(Frost(1_000)),
            paid: Amount(Frost(688_000)),
            balance: Amount(Frost(999_312_000)),
            millis: 900,
        };
        let wanted = "paid     688 µWAL = 43 MiB × 16 epochs × 1 µWAL       balance 999,312 µWAL";
        assert_eq!(paid(&floe), wanted);
        let with_fees = FloeStored { paid: Amount(Frost(690_500)), ..floe };
        assert!(paid(&with_fees).contains(" × 1 µWAL + 2.5 µWAL fees "), "{}", paid(&with_fees));
    }
}
