//! `account new`, `show` and `send`.

use super::args::{self, AccountCommand, Common};
use super::output::Output;
use super::sign::{self, Signer};
use super::target;
use super::text;
use super::{DONE, Done, misconfigured};
use crate::keys::{KeyFile, Purpose};
use floe_api::Problem;
use floe_api::client::Client;
use floe_ledger::Action;
use floe_types::AccountId;
use floe_types::keys::SecretKey;
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
