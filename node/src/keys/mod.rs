//! A node's four secrets, each in a file of its own that only its owner may read.
//!
//! A key file says what the key is for and to which network it belongs, so that a file in the wrong place is refused
//! instead of used: a vote key as an identity, a key of one network in another. Keys come before the genesis that lists
//! them; until then they are bound to none, and a node does not start with them. Files are written whole and synced under
//! another name, then renamed: a crash leaves the old file or the new one.
//!
//! A key of an operator that never touches a node may be sealed with a passphrase ([`seal`]). A node's own four are open:
//! it starts with nobody there to type.

mod seal;
mod votes;

pub use votes::VoteKeyFiles;

use floe_types::bls::BlsSecretKey;
use floe_types::keys::SecretKey;
use floe_types::{AccountId, NetworkId, NodeId, VoteKey};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The longest key file in bytes.
const KEY_BYTES_MAX: u64 = 4 << 10;
/// The version of the file's form.
const VERSION: u32 = 1;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// ed25519: the node's identity among its peers.
    Identity,
    /// ed25519: consensus votes.
    Vote,
    /// BLS: storage confirmations.
    Confirmation,
    /// ed25519: the account that pays for this node's transactions and its gateway's stores.
    Account,
}

impl Purpose {
    /// All four.
    pub const ALL: [Purpose; 4] = [Purpose::Identity, Purpose::Vote, Purpose::Confirmation, Purpose::Account];

    /// The word in files and messages.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Purpose::Identity => "identity",
            Purpose::Vote => "vote",
            Purpose::Confirmation => "confirmation",
            Purpose::Account => "account",
        }
    }
}

/// Where the key files are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPaths {
    /// The identity's.
    pub identity: PathBuf,
    /// The vote key's.
    pub vote: PathBuf,
    /// The confirmation key's.
    pub confirmation: PathBuf,
    /// The account's.
    pub account: PathBuf,
}

impl KeyPaths {
    /// The usual names in `directory`.
    #[must_use]
    pub fn in_directory(directory: &Path) -> KeyPaths {
        let path = |purpose: Purpose| directory.join(format!("{}.key", purpose.word()));
        KeyPaths {
            identity: path(Purpose::Identity),
            vote: path(Purpose::Vote),
            confirmation: path(Purpose::Confirmation),
            account: path(Purpose::Account),
        }
    }

    /// The file of one key.
    #[must_use]
    pub fn of(&self, purpose: Purpose) -> &Path {
        match purpose {
            Purpose::Identity => &self.identity,
            Purpose::Vote => &self.vote,
            Purpose::Confirmation => &self.confirmation,
            Purpose::Account => &self.account,
        }
    }

    pub(crate) fn relative_to(&mut self, home: &Path) {
        for path in [&mut self.identity, &mut self.vote, &mut self.confirmation, &mut self.account] {
            *path = home.join(&*path);
        }
    }
}

/// The secrets of a node. Nothing in it prints itself.
#[derive(Clone, Debug)]
pub struct NodeKeys {
    /// The identity among peers.
    pub identity: SecretKey,
    /// Signs votes.
    pub vote: SecretKey,
    /// Signs storage confirmations.
    pub confirmation: BlsSecretKey,
    /// Signs transactions.
    pub account: SecretKey,
}

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read or written.
    #[error("key file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Others than its owner may read or write it.
    #[error("key file {path} is open to others (mode {mode:03o}); run: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is no key file.
    #[error("key file {path}: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong; never the secret.
        reason: String,
    },
    /// It holds a key for another use.
    #[error("key file {path} holds the {found} key, the {expected} key is needed here", found = found.word(), expected = expected.word())]
    Purpose {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: Purpose,
        /// What is needed.
        expected: Purpose,
    },
    /// It belongs to another network.
    #[error("key file {path} belongs to network {found}, this genesis is of {expected}; a key serves one network", found = found.short(), expected = expected.short())]
    Network {
        /// The file.
        path: PathBuf,
        /// Its network.
        found: NetworkId,
        /// The one at hand.
        expected: NetworkId,
    },
    /// It is sealed, and was needed open.
    #[error("key file {path} is sealed with a passphrase; a node needs its own keys open")]
    Sealed {
        /// The file.
        path: PathBuf,
    },
    /// Its passphrase was not given, or is another one.
    #[error("key file {path}: {reason}")]
    Passphrase {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It holds another key than the genesis names.
    #[error("key file {path} holds the vote key {found}, the genesis has {expected} for this node; put that key's file there", found = hex::encode(found.0), expected = hex::encode(expected.0))]
    NotTheOne {
        /// The file.
        path: PathBuf,
        /// Its public key.
        found: VoteKey,
        /// The one named.
        expected: VoteKey,
    },
    /// It has not been given to a network yet.
    #[error("key file {path} belongs to no network yet; run: floe node init --genesis <file>")]
    Unbound {
        /// The file.
        path: PathBuf,
    },
}

/// A key file's content.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    version: u32,
    purpose: Purpose,
    /// Hex of the public key: a check against damage, and what people compare.
    public: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    network: Option<NetworkId>,
    /// Hex of the secret, or, when it is sealed, of its ciphertext.
    secret: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    seal: Option<seal::Seal>,
}

impl KeyFile {
    /// The content for a secret of 32 bytes.
    #[must_use]
    pub fn new(purpose: Purpose, secret: [u8; 32], network: Option<NetworkId>) -> KeyFile {
        KeyFile {
            version: VERSION,
            purpose,
            public: public_of(purpose, secret),
            network,
            secret: hex::encode(secret),
            seal: None,
        }
    }

    /// Reads and checks a file that is not sealed: permissions, form, version, and that public and secret key are one pair.
    ///
    /// # Errors
    /// The first [`KeyError`] found.
    pub fn read(path: &Path) -> Result<KeyFile, KeyError> {
        KeyFile::read_with(path, || Err(KeyError::Sealed { path: path.to_owned() }))
    }

    /// The same for a file that may be sealed: then `passphrase` is asked for its passphrase.
    ///
    /// # Errors
    /// The first [`KeyError`] found, that of `passphrase` included.
    pub fn read_with(
        path: &Path,
        passphrase: impl FnOnce() -> Result<Zeroizing<String>, KeyError>,
    ) -> Result<KeyFile, KeyError> {
        let failed = |source| KeyError::Io { path: path.to_owned(), source };
        let malformed = |reason: &str| KeyError::Malformed { path: path.to_owned(), reason: reason.to_owned() };
        let file = File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed { path: path.to_owned(), mode });
        }
        let mut text = String::new();
        if file.take(KEY_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)? as u64 > KEY_BYTES_MAX {
            return Err(malformed("is too long for a key file"));
        }
        // The parser's words quote the text, and the text has the secret in it.
        let key: KeyFile = toml::from_str(&text).map_err(|_| malformed("is not a key file of floe"))?;
        if key.version != VERSION {
            return Err(malformed("is of another version of the form"));
        }
        let key = match key.seal {
            Some(_) => {
                key.opened(&passphrase()?).map_err(|reason| KeyError::Passphrase { path: path.to_owned(), reason })?
            }
            None => key,
        };
        let secret = key.secret().ok_or_else(|| malformed("has no secret of 64 hexadecimal digits"))?;
        if public_of(key.purpose, secret) != key.public {
            return Err(malformed("is damaged: its public key is not that of its secret"));
        }
        Ok(key)
    }

    /// Writes the file for its owner alone, synced, whole or not at all. Replaces a file that is there.
    ///
    /// # Errors
    /// [`KeyError::Io`] when the system refuses.
    pub fn write(&self, path: &Path) -> Result<(), KeyError> {
        let failed = |source| KeyError::Io { path: path.to_owned(), source };
        let text = toml::to_string(self).expect("a key file has plain fields only");
        let beside = path.with_extension("key.new");
        // What an interrupted write left must not keep this one from being private from its first byte.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&beside, path).map_err(failed)?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
    }

    /// The network it belongs to, when it has one.
    #[must_use]
    pub fn network(&self) -> Option<NetworkId> {
        self.network
    }

    /// The same key, given to `network`.
    #[must_use]
    pub fn bound_to(mut self, network: NetworkId) -> KeyFile {
        self.network = Some(network);
        self
    }

    /// What it is for.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The 32 secret bytes.
    #[must_use]
    pub fn secret_bytes(&self) -> [u8; 32] {
        self.secret().expect("checked by read and made by new")
    }

    /// The 32 secret bytes; `None` when the text is not of that form.
    fn secret(&self) -> Option<[u8; 32]> {
        let mut secret = [0u8; 32];
        hex::decode_to_slice(&self.secret, &mut secret).ok().map(|()| secret)
    }
}

fn public_of(purpose: Purpose, secret: [u8; 32]) -> String {
    match purpose {
        Purpose::Confirmation => hex::encode(BlsSecretKey::from_seed(secret).public().0),
        Purpose::Identity | Purpose::Vote | Purpose::Account => hex::encode(SecretKey::from_bytes(secret).public()),
    }
}

impl NodeKeys {
    /// Keys from four secrets.
    #[must_use]
    pub fn from_secrets(secret_of: impl Fn(Purpose) -> [u8; 32]) -> NodeKeys {
        NodeKeys {
            identity: SecretKey::from_bytes(secret_of(Purpose::Identity)),
            vote: SecretKey::from_bytes(secret_of(Purpose::Vote)),
            confirmation: BlsSecretKey::from_seed(secret_of(Purpose::Confirmation)),
            account: SecretKey::from_bytes(secret_of(Purpose::Account)),
        }
    }

    /// Reads all four files, which must be of `network`.
    ///
    /// # Errors
    /// The first [`KeyError`] found.
    pub fn load(paths: &KeyPaths, network: NetworkId) -> Result<NodeKeys, KeyError> {
        let mut secrets = [[0u8; 32]; 4];
        for (purpose, secret) in Purpose::ALL.into_iter().zip(&mut secrets) {
            let path = paths.of(purpose).to_owned();
            let key = read_for(&path, purpose)?;
            match key.network {
                Some(found) if found != network => return Err(KeyError::Network { path, found, expected: network }),
                None => return Err(KeyError::Unbound { path }),
                Some(_) => {}
            }
            *secret = key.secret_bytes();
        }
        Ok(NodeKeys::from_secrets(|purpose| secrets[purpose as usize]))
    }

    /// The node's id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        NodeId(self.identity.public())
    }

    /// The public vote key.
    #[must_use]
    pub fn vote_key(&self) -> VoteKey {
        VoteKey(self.vote.public())
    }

    /// The account.
    #[must_use]
    pub fn account_id(&self) -> AccountId {
        AccountId(self.account.public())
    }
}

/// Reads a key file that must be for `expected`.
///
/// # Errors
/// The first [`KeyError`] found.
pub fn read_for(path: &Path, expected: Purpose) -> Result<KeyFile, KeyError> {
    let key = KeyFile::read(path)?;
    match key.purpose {
        found if found == expected => Ok(key),
        found => Err(KeyError::Purpose { path: path.to_owned(), found, expected }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const HERE: NetworkId = NetworkId([7; 32]);

    fn written(directory: &Path, network: Option<NetworkId>) -> KeyPaths {
        let paths = KeyPaths::in_directory(directory);
        for purpose in Purpose::ALL {
            KeyFile::new(purpose, [purpose as u8 + 1; 32], network).write(paths.of(purpose)).unwrap();
        }
        paths
    }

    #[test]
    fn keys_come_back_from_files_that_only_their_owner_reads() {
        let directory = tempfile::tempdir().unwrap();
        let paths = written(directory.path(), Some(HERE));
        let keys = NodeKeys::load(&paths, HERE).unwrap();
        let same = NodeKeys::from_secrets(|purpose| [purpose as u8 + 1; 32]);
        assert_eq!(
            (keys.node(), keys.vote_key(), keys.account_id()),
            (same.node(), same.vote_key(), same.account_id())
        );
        assert_eq!(keys.confirmation.public(), same.confirmation.public());
        for purpose in Purpose::ALL {
            assert_eq!(fs::metadata(paths.of(purpose)).unwrap().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 4, "nothing is left beside them");
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let paths = written(directory.path(), Some(HERE));
        for mode in [0o640, 0o604, 0o620, 0o666] {
            fs::set_permissions(&paths.vote, fs::Permissions::from_mode(mode)).unwrap();
            let error = NodeKeys::load(&paths, HERE).unwrap_err();
            assert!(matches!(error, KeyError::Exposed { .. }), "{error}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn a_key_of_another_network_or_purpose_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let mut paths = written(directory.path(), Some(HERE));
        let error = NodeKeys::load(&paths, NetworkId([8; 32])).unwrap_err();
        assert!(matches!(error, KeyError::Network { .. }), "{error}");
        paths.identity = paths.vote.clone();
        let error = NodeKeys::load(&paths, HERE).unwrap_err();
        assert!(error.to_string().contains("holds the vote key, the identity key is needed"), "{error}");
        let unbound = written(directory.path(), None);
        let error = NodeKeys::load(&unbound, HERE).unwrap_err();
        assert!(matches!(error, KeyError::Unbound { .. }), "{error}");
    }

    #[test]
    fn a_damaged_key_is_refused_and_its_secret_is_not_shown() {
        let directory = tempfile::tempdir().unwrap();
        let paths = written(directory.path(), Some(HERE));
        let good = fs::read_to_string(&paths.vote).unwrap();
        let secret = "02".repeat(32);
        assert!(good.contains(&secret));
        let damaged = [
            good.replace(&secret, &"03".repeat(32)),
            good.replace(&secret, &"0".repeat(63)),
            good.replace("version = 1", "version = 2"),
            format!("{good}more = 1\n"),
            good.replace(&format!("\"{secret}\""), &secret),
            String::new(),
            "x".repeat(5_000),
        ];
        for text in damaged {
            fs::write(&paths.vote, &text).unwrap();
            let error = NodeKeys::load(&paths, HERE).unwrap_err();
            assert!(matches!(error, KeyError::Malformed { .. }), "{error}");
            assert!(!error.to_string().contains(&secret), "{error}");
        }
    }
}
