//! Signing on this machine, with a key that need never be on a node: nonce and fee are asked of the node, the signed
//! transaction is handed to it.

use super::args::SigningKey;
use super::output::Output;
use super::text;
use super::{misconfigured, unusable};
use crate::keys::{KeyError, KeyFile, Purpose};
use floe_api::client::Client;
use floe_api::model::{TransactionAnswer, TransactionOutcome};
use floe_api::{Code, Problem};
use floe_ledger::{Action, Transaction};
use floe_types::keys::SecretKey;
use floe_types::{AccountId, Frost};
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

/// The longest passphrase in bytes.
const PASSPHRASE_BYTES_MAX: usize = 1 << 10;
/// How often a transaction is signed when others of its account are quicker.
const ATTEMPTS_MAX: usize = 20;
/// How long between two attempts: a decision of a fast network.
const AGAIN_AFTER: Duration = Duration::from_millis(150);
/// FROST in a WAL.
const FROST_A_WAL: u64 = 1_000_000_000;

/// An account that can sign.
pub(super) struct Signer {
    secret: SecretKey,
}

impl Signer {
    /// Opens the account key that the user named.
    pub(super) fn open(key: &SigningKey) -> Result<Signer, Problem> {
        let ask = || passphrase(key.passphrase_file.as_deref(), &key.key, "passphrase: ");
        let file = KeyFile::read_with(&key.key, ask).map_err(misconfigured)?;
        if file.purpose() != Purpose::Account {
            let path = key.key.clone();
            let (found, expected) = (file.purpose(), Purpose::Account);
            return Err(misconfigured(KeyError::Purpose { path, found, expected }));
        }
        Ok(Signer { secret: SecretKey::from_bytes(file.secret_bytes()) })
    }

    /// Its account.
    pub(super) fn account(&self) -> AccountId {
        AccountId(self.secret.public())
    }

    /// Signs `action` with the account's next nonce and the fee that the network asks, hands it in and waits for a block. When
    /// another transaction of the account takes the nonce meanwhile, it is signed again: what is refused has no effect.
    pub(super) fn send(&self, client: &Client, action: Action) -> Result<TransactionAnswer, Problem> {
        for _ in 1..ATTEMPTS_MAX {
            match self.send_once(client, action.clone()) {
                Err(problem) if problem.code == Code::Conflict => std::thread::sleep(AGAIN_AFTER),
                done => return done,
            }
        }
        self.send_once(client, action)
    }

    fn send_once(&self, client: &Client, action: Action) -> Result<TransactionAnswer, Problem> {
        let network = client.network()?;
        let nonce = match client.account(Some(self.account())) {
            Ok(view) => view.nonce,
            Err(problem) if problem.code == Code::AccountUnknown => 0,
            Err(problem) => return Err(problem),
        };
        let sign = |fee: Frost| {
            let (network, sender, action) = (network.network, self.account(), action.clone());
            Transaction { network, sender, nonce, fee, action }.sign(&self.secret)
        };
        // The fee's own digits count: the draft has the most a fee can have.
        let bytes = sign(Frost(u64::MAX)).encode().len() as u64;
        let fee = network.fee_per_byte.0.checked_mul(bytes);
        let fee = fee.ok_or_else(|| Problem::new(Code::Internal, "the node names a fee that no account can pay"))?;
        client.submit(&sign(fee).encode())
    }
}

/// What became of a transaction, as a line for people.
pub(super) fn outcome(answer: &TransactionAnswer) -> String {
    match answer.outcome {
        TransactionOutcome::Included { height } => {
            format!("in the block of height {}   {}", text::count(height.0), answer.transaction)
        }
        TransactionOutcome::Waiting => format!("waits for a block   {}", answer.transaction),
    }
}

/// Tells what a transaction that still waits needs.
pub(super) fn note_waiting(answer: &TransactionAnswer, output: &Output) {
    if answer.outcome == TransactionOutcome::Waiting {
        output.note("not decided yet: look at the account's nonce later before you send it again");
    }
}

/// The passphrase for the key file at `path`: from `file`, else from the terminal.
pub(super) fn passphrase(file: Option<&Path>, path: &Path, prompt: &str) -> Result<Zeroizing<String>, KeyError> {
    let refused = |reason: String| KeyError::Passphrase { path: path.to_owned(), reason };
    let text = match file {
        Some(file) => {
            let read = std::fs::read_to_string(file);
            Zeroizing::new(read.map_err(|error| refused(format!("passphrase file {}: {error}", file.display())))?)
        }
        None => {
            let typed = rpassword::prompt_password(prompt);
            Zeroizing::new(typed.map_err(|error| {
                refused(format!("needs its passphrase and there is no terminal ({error}); give --passphrase-file"))
            })?)
        }
    };
    let trimmed = Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned());
    if trimmed.is_empty() || trimmed.len() > PASSPHRASE_BYTES_MAX {
        return Err(refused(format!("a passphrase has from 1 to {PASSPHRASE_BYTES_MAX} bytes")));
    }
    Ok(trimmed)
}

/// Refuses to write where a file is: a key that is overwritten is gone for good.
pub(super) fn must_be_new(path: &Path) -> Result<(), Problem> {
    match path.symlink_metadata() {
        Ok(_) => Err(Problem::new(Code::Conflict, format!("{} is there already and is not replaced", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(unusable(path, &error)),
    }
}

/// An account in 64 hexadecimal digits.
pub(super) fn account(text: &str) -> Result<AccountId, Problem> {
    text.parse()
        .map_err(|_| Problem::bad_request("account", format!("{text:?} is not an account: 64 hexadecimal digits")))
}

/// An amount: digits, a decimal point at will, and the unit WAL or FROST. Without a unit it would be a factor of 10^9 wrong
/// one time in two, so it is refused.
pub(super) fn amount(text: &str) -> Result<Frost, Problem> {
    let refused =
        || Problem::bad_request("amount", format!("{text:?} is not an amount; write it like 1.5WAL or 1000FROST"));
    let upper = text.trim().to_ascii_uppercase();
    if let Some(digits) = upper.strip_suffix("FROST") {
        return digits.trim().parse().map(Frost).map_err(|_| refused());
    }
    let digits = upper.strip_suffix("WAL").ok_or_else(refused)?.trim();
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || fraction.len() > 9 || !plain(whole) || !plain(fraction) || digits.ends_with('.') {
        return Err(refused());
    }
    let whole: u64 = whole.parse().map_err(|_| refused())?;
    let fraction: u64 = format!("{fraction:0<9}").parse().map_err(|_| refused())?;
    let frost = whole.checked_mul(FROST_A_WAL).and_then(|whole| whole.checked_add(fraction));
    frost.map(Frost).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_and_have_a_unit() {
        let good = [
            ("1WAL", FROST_A_WAL),
            ("0.000000001 wal", 1),
            ("1.5WAL", 1_500_000_000),
            ("1000FROST", 1_000),
            ("18446744073709551615frost", u64::MAX),
            ("18446744073.709551615WAL", u64::MAX),
        ];
        for (text, frost) in good {
            assert_eq!(amount(text).unwrap(), Frost(frost), "{text}");
        }
        let bad = [
            "",
            "1",
            "WAL",
            ".5WAL",
            "1.WAL",
            "1.0000000001WAL",
            "-1WAL",
            "1e3WAL",
            "18446744073.709551616WAL",
            "1µWAL",
        ];
        for text in bad {
            assert!(amount(text).is_err(), "{text}");
        }
    }
}
