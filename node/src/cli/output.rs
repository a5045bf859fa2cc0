//! Where text goes. The result is written to stdout in one piece at the end, so that a reader sees it whole or not at all;
//! progress and notes go to stderr as they come.

use super::args::Common;
use super::text::{self, Clock};
use floe_api::{Code, Problem};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The form of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// For people.
    Text,
    /// One document a line.
    Json,
}

/// Where this run's text goes.
#[derive(Clone, Debug)]
pub(super) struct Output {
    form: Form,
    quiet: bool,
    verbose: bool,
    color: bool,
}

/// What a piece of text is, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it should be.
    Good,
    /// Less than it should be.
    Thin,
    /// Broken.
    Bad,
    /// Beside the point.
    Faint,
}

impl Output {
    pub(super) fn new(common: &Common) -> Output {
        let plain = common.no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Output {
            form: if common.json { Form::Json } else { Form::Text },
            quiet: common.quiet,
            verbose: common.verbose,
            color: !plain && !common.json && io::stdout().is_terminal(),
        }
    }

    /// The same, without colours.
    pub(super) fn plain(&self) -> Output {
        Output { color: false, ..self.clone() }
    }

    #[cfg(test)]
    pub(super) fn plain_text() -> Output {
        Output { form: Form::Text, quiet: false, verbose: false, color: false }
    }

    pub(super) fn is_colored(&self) -> bool {
        self.color
    }

    pub(super) fn is_json(&self) -> bool {
        self.form == Form::Json
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Prints the result: `document` under `--json`, `text` otherwise. The text ends without a line break.
    pub(super) fn result<T: Serialize>(&self, document: &T, text: impl FnOnce() -> String) {
        match self.form {
            Form::Json => self.line(&json(document)),
            Form::Text => self.line(&text()),
        }
    }

    /// Prints a line of text to stdout at once.
    pub(super) fn line(&self, line: &str) {
        // A closed pipe means that nobody wants the rest.
        let mut stdout = io::stdout().lock();
        drop(writeln!(stdout, "{line}").and_then(|()| stdout.flush()));
    }

    /// Tells something beside the result.
    pub(super) fn note(&self, note: &str) {
        if !self.quiet {
            to_stderr(note);
        }
    }

    /// Tells something only when more is wanted.
    pub(super) fn detail(&self, note: &str) {
        if self.verbose {
            to_stderr(note);
        }
    }

    /// `text` in the colour of `tone`, when colours are wanted.
    pub(super) fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.color {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Thin => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// A progress bar over `total` bytes on stderr; hidden when stderr is no terminal or nobody wants it.
    pub(super) fn bar(&self, total: Option<u64>, what: &str) -> ProgressBar {
        let visible = !self.quiet && !self.is_json() && io::stderr().is_terminal();
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(total, target);
        let form = match total {
            Some(_) => "{prefix}  {bytes} of {total_bytes}  {binary_bytes_per_sec}  {wide_bar} {msg}",
            None => "{prefix}  {bytes}  {binary_bytes_per_sec}  {spinner} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(form) {
            bar.set_style(style);
        }
        bar.set_prefix(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    /// Prints why the command failed.
    pub(super) fn problem(&self, problem: &Problem) {
        match self.form {
            Form::Json => self.line(&json(problem)),
            Form::Text => to_stderr(&describe(problem, &Clock::now())),
        }
    }
}

fn to_stderr(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

fn json<T: Serialize>(document: &T) -> String {
    serde_json::to_string(document).expect("documents have text keys and finite numbers only")
}

/// A problem for people: code and sentence, then what is known and what to do.
fn describe(problem: &Problem, clock: &Clock) -> String {
    let mut text = format!("error[{}]: {}", problem.code, problem.detail);
    let facts = &problem.facts;
    let mut row = |label: &str, value: String| text.push_str(&format!("\n  {label:<14} {value}"));
    if let Some(last) = facts.last_epoch {
        let ended = facts.ended_at.map_or_else(String::new, |at| format!(", ended {}", clock.past(at)));
        let verdict = facts
            .last_verdict
            .map_or_else(String::new, |verdict| format!("     last verdict  {}", verdict.word().to_uppercase()));
        row("paid through", format!("epoch {last}{ended}{verdict}"));
    }
    if let (Code::BlobForgotten, Some(id)) = (problem.code, &facts.blob_id) {
        let id = id.to_string();
        let start = id.get(..4).unwrap_or_default();
        row("may still work", format!("floe read --undefended {start}     pieces stay until a node needs the space"));
    }
    if let Some(ruler) = &facts.ruler {
        row("shards", format!("{} of {} answer, {} needed to read", ruler.held, ruler.lines.total, ruler.lines.read));
    }
    if let (Some(answering), Some(needed)) = (facts.answering_shards, facts.needed_shards) {
        row("seats", format!("{answering} answer, {needed} needed"));
    }
    if let Some(missing) = facts.missing {
        row("missing", text::amount(missing));
    }
    if let Some(limit) = facts.limit_bytes {
        row("limit", text::size(limit));
    }
    if !facts.candidates.is_empty() {
        let ids: Vec<String> = facts.candidates.iter().map(ToString::to_string).collect();
        row("one of", ids.join(" "));
    }
    if let Some(seconds) = facts.retry_after_seconds {
        row("retry", format!("in {}", text::span(seconds.saturating_mul(1_000))));
    }
    if let Some(hint) = &facts.hint {
        row("next", hint.clone());
    }
    if let Some(id) = &facts.request_id
        && problem.code == Code::Internal
    {
        row("request", id.clone());
    }
    text
}

/// Files that are being written; removed when the user interrupts.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
/// Whether this process has become a node, which handles its own signals.
static NODE_RUNS: AtomicBool = AtomicBool::new(false);

/// A file that is removed unless it is kept.
pub(super) struct Unfinished(PathBuf);

impl Unfinished {
    pub(super) fn at(path: PathBuf) -> Unfinished {
        if let Ok(mut files) = UNFINISHED.lock() {
            files.push(path.clone());
        }
        Unfinished(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Ok(mut files) = UNFINISHED.lock() {
            files.retain(|path| path != &self.0);
        }
        // Renamed away when it was finished.
        drop(std::fs::remove_file(&self.0));
    }
}

/// Removes every file that is not finished.
pub(super) fn remove_unfinished() {
    if let Ok(files) = UNFINISHED.lock() {
        for path in files.iter() {
            drop(std::fs::remove_file(path));
        }
    }
}

/// This process becomes a node.
pub(super) fn becomes_node() {
    NODE_RUNS.store(true, Ordering::SeqCst);
}

/// Whether this process has become a node.
pub(super) fn node_runs() -> bool {
    NODE_RUNS.load(Ordering::SeqCst)
}

#[cfg(test)]
mod tests {
    use super::*;
    use floe_api::model::{Time, Verdict};
    use floe_types::{BlobId, Epoch};

    #[test]
    fn a_problem_says_what_is_known_and_what_to_do() {
        let id: BlobId = BlobId([0xab; 32]);
        let problem = Problem::new(Code::BlobForgotten, "the network no longer keeps q6ur…urs").with(|facts| {
            facts.blob_id = Some(id);
            facts.last_epoch = Some(Epoch(18));
            facts.ended_at = Some(Time(1_795_183_365_000));
            facts.last_verdict = Some(Verdict::Intact);
        });
        let text = describe(&problem, &Clock::at(Time(1_795_183_405_000)));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "error[BLOB_FORGOTTEN]: the network no longer keeps q6ur…urs");
        assert_eq!(lines[1], "  paid through   epoch 18, ended 14:02:45 (40 s ago)     last verdict  INTACT");
        assert!(lines[2].starts_with("  may still work floe read --undefended q6ur "), "{}", lines[2]);
    }

    #[test]
    fn an_unfinished_file_is_removed_unless_renamed() {
        let directory = tempfile::tempdir().unwrap();
        let (part, whole) = (directory.path().join("part"), directory.path().join("whole"));
        std::fs::write(&part, b"x").unwrap();
        drop(Unfinished::at(part.clone()));
        assert!(!part.exists());
        std::fs::write(&part, b"x").unwrap();
        let unfinished = Unfinished::at(part.clone());
        std::fs::rename(unfinished.path(), &whole).unwrap();
        drop(unfinished);
        assert!(whole.exists());
    }
}
