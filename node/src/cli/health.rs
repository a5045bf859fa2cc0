//! `health`: what is wrong, for whom, what to do. Exit codes follow monitoring plugins: 0 OK, 1 WARN, 2 ERROR, 3 UNKNOWN.
//! A node that cannot be asked is UNKNOWN.

use super::Done;
use super::output::{Output, Tone};
use super::text::{self, Clock};
use floe_api::client::Client;
use floe_api::model::{Health, HealthState};

/// `floe health`.
pub(super) fn health(client: &Client, output: &Output) -> Done {
    match client.health() {
        Ok(health) => {
            output.result(&health, || described(&health, output));
            Ok(health.state.exit_code())
        }
        Err(problem) => {
            output.problem(&problem);
            Ok(HealthState::Unknown.exit_code())
        }
    }
}

fn described(health: &Health, output: &Output) -> String {
    let clock = Clock::now();
    let tone = |state| match state {
        HealthState::Ok => Tone::Good,
        HealthState::Warn | HealthState::Unknown => Tone::Thin,
        HealthState::Error => Tone::Bad,
    };
    let mut rows = vec![format!("{}  {}", output.paint(tone(health.state), health.state.word()), health.summary)];
    for check in &health.checks {
        let code = serde_json::to_value(check.code).ok().and_then(|code| code.as_str().map(str::to_owned));
        let since = check.since.map_or_else(String::new, |since| {
            format!("        since {} ({})", clock.time(since), text::span(clock.instant().millis_since(since)))
        });
        let mark = match check.state {
            HealthState::Error => String::new(),
            state => format!("{} ", state.word()),
        };
        rows.push(format!("  {mark}{}   {}{since}", code.unwrap_or_default(), check.summary));
        let facts = [("effect", &check.effect), ("known", &check.known), ("next", &check.next)];
        for (label, fact) in facts {
            if let Some(fact) = fact {
                rows.push(format!("    {label:<9} {fact}"));
            }
        }
    }
    rows.join("\n")
}
