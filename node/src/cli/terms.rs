//! `extend` and `delete`: the ledger says what it costs or brings back, the user agrees, the key's account pays or is paid.

use super::args::{Delete, Extend};
use super::output::Output;
use super::sign::{self, Signer};
use super::text::{self, Clock};
use super::{DONE, Done};
use floe_api::client::Client;
use floe_api::model::QuoteView;
use floe_api::service::QuoteAsk;
use floe_api::{Code, Problem};
use floe_ledger::Action;
use floe_types::Epoch;
use std::io::{self, IsTerminal, Write};

/// `floe extend`.
pub(super) fn extend(client: &Client, args: &Extend, output: &Output) -> Done {
    let status = client.blob_status(&args.id)?;
    let registration = status.registration;
    let last = status.term.last_epoch.0.checked_add(args.epochs).map(Epoch);
    let last = last.ok_or_else(|| Problem::bad_request("epochs", "there are not so many epochs"))?;
    let quote = client.quote(registration, QuoteAsk::Extend { last })?;
    let signer = Signer::open(&args.key)?;
    let cost = text::amount(quote.price);
    output.note(&format!("{}   {cost} for {} more epochs", text::short(&status.blob_id), args.epochs));
    // The most that is paid is what was quoted: the ledger refuses rather than to take more.
    let price_max = quote.price.0;
    let answer = signer.send(client, Action::Extend { registration, last, price_max })?;
    output.result(&answer, || {
        let until = Clock::now().future(quote.ends_about);
        format!("kept through epoch {last}, until {until}\npaid {cost}\n{}", sign::outcome(&answer))
    });
    sign::note_waiting(&answer, output);
    Ok(DONE)
}

/// `floe delete`.
pub(super) fn delete(client: &Client, args: &Delete, output: &Output) -> Done {
    let status = client.blob_status(&args.id)?;
    let registration = status.registration;
    let quote = client.quote(registration, QuoteAsk::Delete)?;
    let signer = Signer::open(&args.key)?;
    if !args.yes {
        agreed(&text::short(&status.blob_id), &quote)?;
    }
    let answer = signer.send(client, Action::Delete { registration })?;
    output.result(&answer, || {
        let back = text::amount(quote.refund);
        format!("no longer paid for from epoch {} on; {back} comes back\n{}", quote.first_epoch, sign::outcome(&answer))
    });
    sign::note_waiting(&answer, output);
    Ok(DONE)
}

/// Shows what ending a registration comes to, and asks.
fn agreed(blob: &str, quote: &QuoteView) -> Result<(), Problem> {
    let (back, first) = (text::amount(quote.refund), quote.first_epoch);
    let what = format!("{blob} is paid for until the end of epoch {}; {back} comes back", quote.last_epoch);
    confirm(&what, &format!("From epoch {first} on nobody defends it for this registration."))
}

/// Says what a command does and asks whether to go on; `more` is said to people only.
pub(super) fn confirm(what: &str, more: &str) -> Result<(), Problem> {
    if !io::stdin().is_terminal() {
        return Err(Problem::bad_request("yes", format!("{what}; without a terminal this needs --yes")));
    }
    eprint!("{what}. {more} Go on? [y/N] ");
    let mut line = String::new();
    let asked = io::stderr().flush().and_then(|()| io::stdin().read_line(&mut line));
    match (asked, line.trim()) {
        (Ok(_), "y" | "Y" | "yes") => Ok(()),
        _ => Err(Problem::new(Code::Interrupted, "nothing was changed")),
    }
}
