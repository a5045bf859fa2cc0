//! `account new`, `show`, `send` and `history`.

use super::args::{self, AccountCommand, Common};
use super::draw::{self, Cell};
use super::output::{Output, Tone};
use super::sign::{self, Signer};
use super::target;
use super::text::{self, Clock};
use super::{DONE, Done, misconfigured};
use crate::keys::{KeyFile, Purpose};
use floe_api::Problem;
use floe_api::client::Client;
use floe_api::model::{Amount, Deed, HistoryEntry, HistoryView, Purse};
use floe_api::service::HistoryPage;
use floe_ledger::Action;
use floe_types::keys::SecretKey;
use floe_types::{AccountId, Frost};
use std::path::Path;
use zeroize::Zeroizing;

/// `floe account`.
pub(super) fn run(common: &Common, args: &args::Account, output: &Output) -> Done {
    match &args.command {
        Some(AccountCommand::New { output: file, seal, passphrase_file }) => {
            let sealing = match (passphrase_file, seal) {
                (Some(file), _) => Sealing::With(file),
                (None, true) => Sealing::Ask,
                (None, false) => Sealing::Open,
            };
            new(file, sealing, output)
        }
        Some(AccountCommand::Send { to, amount, key }) => {
            let (to, amount) = (sign::account(to)?, sign::amount(amount)?);
            let signer = Signer::open(key)?;
            let answer = signer.send(&target::client(common)?, Action::Transfer { to, amount })?;
            output.result(&answer, || {
                let what = format!("sent     {} to {to}", text::amount(amount.into()));
                format!("{what}\n         {}", sign::outcome(&answer))
            });
            sign::note_waiting(&answer, output);
            Ok(DONE)
        }
        Some(AccountCommand::Show { account: Some(text) }) => {
            show(&target::client(common)?, Some(sign::account(text)?), output)
        }
        Some(AccountCommand::Show { account: None }) | None => show(&target::client(common)?, None, output),
        Some(AccountCommand::History { account, limit, after }) => {
            let account = account.as_deref().map(sign::account).transpose()?;
            let page = HistoryPage { after: *after, limit: *limit };
            let view = target::client(common)?.history(account, page)?;
            output.result(&view, || history_described(&view, output));
            Ok(DONE)
        }
    }
}

/// How a new key file is kept.
#[derive(Clone, Copy)]
enum Sealing<'a> {
    /// As it is: whoever reads the file has the key.
    Open,
    /// With a passphrase from the terminal.
    Ask,
    /// With the passphrase in this file.
    With(&'a Path),
}

fn new(file: &Path, sealing: Sealing<'_>, output: &Output) -> Done {
    sign::must_be_new(file)?;
    let mut secret = Zeroizing::new([0u8; 32]);
    getrandom::fill(&mut secret[..]).map_err(misconfigured)?;
    let account = AccountId(SecretKey::from_bytes(*secret).public());
    let key = KeyFile::new(Purpose::Account, *secret, None);
    let (key, kept) = match sealing {
        Sealing::Open => (key, "not sealed: whoever reads the file has the account"),
        Sealing::Ask | Sealing::With(_) => {
            let key = key.sealed(&chosen(file, sealing)?).map_err(misconfigured)?;
            (key, "sealed: without the passphrase it is lost")
        }
    };
    key.write(file).map_err(misconfigured)?;
    output.result(&serde_json::json!({ "account": account, "key": file }), || {
        format!("account  {account}\nkey      {}   {kept}", file.display())
    });
    Ok(DONE)
}

/// The passphrase to seal with; one that is typed is typed twice.
fn chosen(file: &Path, sealing: Sealing<'_>) -> Result<Zeroizing<String>, Problem> {
    let ask = |from, prompt: &str| sign::passphrase(from, file, prompt).map_err(misconfigured);
    if let Sealing::With(from) = sealing {
        return ask(Some(from), "");
    }
    let first = ask(None, "passphrase: ")?;
    let second = ask(None, "once more:  ")?;
    if first != second {
        return Err(Problem::bad_request("passphrase", "the two passphrases differ"));
    }
    Ok(first)
}

fn show(client: &Client, account: Option<AccountId>, output: &Output) -> Done {
    let view = client.account(account)?;
    output.result(&view, || {
        let member = view.member.as_ref().map_or_else(String::new, |name| format!("   account of {name}"));
        format!(
            "account  {}{member}\nbalance  {}\nnonce    {}   at height {}",
            view.account,
            text::amount(view.balance),
            view.nonce,
            text::count(view.height.0),
        )
    });
    Ok(DONE)
}

fn history_described(view: &HistoryView, output: &Output) -> String {
    let clock = Clock::now();
    let mut text = if view.entries.is_empty() {
        format!("nothing happened to {} that this node knows of", view.account)
    } else {
        let rows = view.entries.iter().map(|entry| history_row(entry, &clock)).collect();
        draw::table(output, &["when", "what", "WAL", "fee", "with", "place"], rows)
    };
    if let Some(next) = view.next {
        text.push_str(&format!("\nmore       --after {next}"));
    } else if view.since.0 > 1 {
        text.push_str(&format!("\nnothing is known here from before height {}", text::count(view.since.0)));
    }
    text
}

fn history_row(entry: &HistoryEntry, clock: &Clock) -> Vec<Cell> {
    let (what, change, with) = told(&entry.deed);
    let fee = if entry.fee.0.0 == 0 { String::new() } else { text::amount(entry.fee) };
    vec![
        Cell::from(clock.time(entry.time)),
        Cell::from(what),
        change,
        Cell::from(fee),
        Cell::from(with),
        Cell::from(entry.place.to_string()),
    ]
}

/// What it was, what it did to the balance, and with whom or what.
fn told(deed: &Deed) -> (String, Cell, String) {
    let gained = |amount: Amount| Cell::toned(Tone::Good, format!("+{}", text::amount(amount)));
    let spent = |amount: Amount| Cell::from(format!("-{}", text::amount(amount)));
    let word = |word: &str| word.to_owned();
    match deed {
        Deed::Sent { to, amount } => (word("sent"), spent(*amount), to.to_string()),
        Deed::Received { from, amount } => (word("received"), gained(*amount), from.to_string()),
        Deed::Registered { blob_id, price, .. } => (word("paid for a blob"), spent(*price), text::short(blob_id)),
        Deed::Extended { blob_id, last_epoch, price, .. } => {
            let change = if price.0.0 == 0 { Cell::from("") } else { spent(*price) };
            (format!("kept through epoch {last_epoch}"), change, text::short(blob_id))
        }
        Deed::Deleted { blob_id, refund, .. } => (word("ended a blob's term"), gained(*refund), text::short(blob_id)),
        Deed::Lapsed { blob_id, refund, .. } => (word("not certified in time"), gained(*refund), text::short(blob_id)),
        Deed::BudgetSet { registration, budget } => {
            let what = format!("set aside for renewals: {}", text::amount(*budget));
            (what, Cell::from(""), format!("registration {registration}"))
        }
        Deed::Renewed { blob_id, last_epoch, price, .. } => {
            let what = format!("renewed through epoch {last_epoch} for {}, set aside before", text::amount(*price));
            (what, Cell::from(""), text::short(blob_id))
        }
        Deed::BudgetReturned { blob_id, amount, .. } => (word("renewals ended"), gained(*amount), text::short(blob_id)),
        Deed::Earned { epoch, storage, fees } => {
            let total = Amount(Frost(storage.0.0.saturating_add(fees.0.0)));
            (format!("earned in epoch {epoch}"), gained(total), format!("{} of fees", text::amount(*fees)))
        }
        Deed::PaidForRepair { epoch, bytes, amount } => {
            let what = format!("rebuilt {} for others, shown in epoch {epoch}", text::size(*bytes));
            (what, gained(*amount), word("the repair reserve"))
        }
        Deed::DebtPaid { node, amount, purse, left } => {
            let rest = if left.0.0 == 0 { word("") } else { format!(", {} still owed", text::amount(*left)) };
            let (what, change) = match purse {
                Purse::Earnings => (format!("owed for repair, out of what it earned{rest}"), spent(*amount)),
                Purse::Stake => {
                    (format!("owed for repair: {} out of its stake{rest}", text::amount(*amount)), Cell::from(""))
                }
            };
            (what, change, format!("node {}", node.short()))
        }
        Deed::Staked { node, stake } => {
            (format!("at stake: {}", text::amount(*stake)), Cell::from(""), format!("node {}", node.short()))
        }
        Deed::StakeReleased { amount } => (word("stake came back"), gained(*amount), String::new()),
        Deed::Other => (word("a fee"), Cell::from(""), String::new()),
    }
}
