//! `quote`, `price` and `renew`: what storage costs, and going on paying for it.

use super::args::{Quote, Renew, SigningKey};
use super::draw::{self, Cell};
use super::output::Output;
use super::sign::{self, Signer};
use super::text::{self, Clock};
use super::{DONE, Done, unusable};
use floe_api::Problem;
use floe_api::client::Client;
use floe_api::model::{Amount, PricesView, RegistrationPhase, RegistrationView, StoreQuote};
use floe_api::service::StoreAsk;
use floe_ledger::Action;
use floe_types::{EpochCount, Frost, RegistrationNumber};
use std::fs;
use std::io;
use std::path::Path;

/// `floe quote`.
pub(super) fn quote(client: &Client, args: &Quote, output: &Output) -> Done {
    let length = match (&args.file, args.size) {
        (_, Some(size)) => size,
        (Some(file), None) => length_of(file)?,
        (None, None) => return Err(Problem::bad_request("file", "name a file, or give --size")),
    };
    let view = client.store_quote(StoreAsk { length, epochs: EpochCount(args.epochs) })?;
    output.result(&view, || quote_described(length, args.epochs, &view));
    for hint in &view.hints {
        output.note(hint);
    }
    Ok(DONE)
}

/// The length of a file that could be stored.
fn length_of(path: &Path) -> Result<u64, Problem> {
    let about = fs::metadata(path).map_err(|error| unusable(path, &error))?;
    if about.is_dir() {
        return Err(unusable(path, &io::Error::from(io::ErrorKind::IsADirectory)));
    }
    if !about.is_file() {
        return Err(Problem::bad_request("file", "only a file says how long it is").hint("give --size"));
    }
    Ok(about.len())
}

fn quote_described(length: u64, epochs: u64, view: &StoreQuote) -> String {
    let times = view.encoded_bytes.saturating_mul(10).checked_div(length);
    let times = times.map_or_else(String::new, |tenths| format!(" ({}.{} times the file)", tenths / 10, tenths % 10));
    format!(
        "cost     {} = {epochs} epochs × {}, and a fee for the transactions\nkept     epochs {} to {} inclusive, until {}\nstored   {}{times}",
        text::amount(view.cost),
        text::amount(view.rate),
        view.first_epoch,
        view.last_epoch,
        Clock::now().future(view.expires_at),
        text::size(view.encoded_bytes),
    )
}

/// `floe price`.
pub(super) fn price(client: &Client, output: &Output) -> Done {
    let view = client.prices()?;
    output.result(&view, || {
        let rows = view.offers.iter().map(|offer| {
            let asked = offer.offer.map_or_else(|| "the price as it stands".to_owned(), text::amount);
            let (name, node) = (Cell::from(&offer.name), Cell::from(offer.node.short()));
            vec![name, Cell::from(asked), Cell::from(offer.shards.to_string()), node]
        });
        let table = draw::table(output, &["member", "would serve for", "shards", "node"], rows.collect());
        format!("{}\n\n{table}", described(&view))
    });
    Ok(DONE)
}

fn described(view: &PricesView) -> String {
    let (from, about) = (view.next_from, Clock::now().future(view.next_about));
    let next = match view.next == view.current {
        true => "the same".to_owned(),
        false => text::amount(view.next),
    };
    format!(
        "price    {} for one encoded MiB and epoch\nnext     {next} from epoch {from} on, {about}",
        text::amount(view.current)
    )
}

/// The prices as they stand, for whoever has just said what it would serve for.
pub(super) fn moves(client: &Client) -> Result<String, Problem> {
    Ok(described(&client.prices()?))
}

/// `floe renew`.
pub(super) fn renew(client: &Client, args: &Renew, output: &Output) -> Done {
    let registration = match (&args.id, args.registration) {
        (_, Some(number)) => RegistrationNumber(number),
        (Some(id), None) => client.blob_status(id)?.registration,
        (None, None) => return Err(Problem::bad_request("id", "name a blob, or give --registration")),
    };
    let wanted = match (&args.budget, args.off) {
        (Some(amount), _) => Some(sign::amount(amount)?),
        (None, true) => Some(Frost::ZERO),
        (None, false) => None,
    };
    let Some((budget, path)) = wanted.zip(args.key.as_ref()) else {
        let view = client.registration(registration)?;
        output.result(&view, || set_aside(&view));
        return Ok(DONE);
    };
    let key = SigningKey { key: path.clone(), passphrase_file: args.passphrase_file.clone() };
    let answer = Signer::open(&key)?.send(client, Action::Renew { registration, budget })?;
    // What it came to is shown; that it was done is said even when the node cannot show it any more.
    let view = client.registration(registration);
    output.result(&answer, || {
        let found = view.map_or_else(|problem| problem.to_string(), |view| set_aside(&view));
        format!("{found}\n{}", sign::outcome(&answer))
    });
    sign::note_waiting(&answer, output);
    Ok(DONE)
}

fn set_aside(view: &RegistrationView) -> String {
    let (last, clock) = (view.last_epoch, Clock::now());
    let blob = format!("blob     {}   registration {}", text::short(&view.blob_id), view.registration);
    let until = match view.phase {
        RegistrationPhase::Counts => format!("epoch {last}, until {}", clock.future(view.ends_about)),
        RegistrationPhase::Pending => format!("epoch {last} once it is certified"),
        RegistrationPhase::Over => format!("epoch {last}, which is over"),
        RegistrationPhase::Lapsed => "nothing: it was not certified in time".to_owned(),
        RegistrationPhase::Deleted => format!("epoch {last}: its owner ended it"),
    };
    let Amount(budget) = view.budget;
    let renewed = match (budget.0, budget.0.checked_div(view.epoch_cost.0.0)) {
        (0, _) => "renewed  not: nothing is set aside".to_owned(),
        (_, Some(epochs)) => format!(
            "renewed  a term at a time: {} set aside, enough for {} epochs at {} each",
            text::amount(view.budget),
            text::count(epochs),
            text::amount(view.epoch_cost),
        ),
        (_, None) => format!("renewed  a term at a time: {} set aside", text::amount(view.budget)),
    };
    format!("{blob}\nkept     through {until}\n{renewed}")
}
