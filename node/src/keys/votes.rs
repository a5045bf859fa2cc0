//! The files of a node's vote keys: the one in use under its usual name, those for terms to come beside it.
//!
//! ```text
//!   vote.key        the key in use, or the oldest of those that are
//!   vote-12.key     made for term 12
//!   vote-successor.key   made for a successor of this network, which does not exist yet
//! ```
//!
//! A key is written and synced before it is announced. One that is past is removed; when it was the one under the usual
//! name, the next takes its place by a rename, so that there is a whole key under that name at every moment. What the
//! disk keeps of a removed file is beyond us: encrypt the disk.

use super::{KeyError, KeyFile, KeyPaths, Purpose, read_for};
use floe_types::keys::SecretKey;
use floe_types::{NetworkId, VoteKey};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The vote keys of one node.
#[derive(Clone, Debug)]
pub struct VoteKeyFiles {
    usual: PathBuf,
    network: NetworkId,
}

impl VoteKeyFiles {
    /// Those beside the vote key of `paths`.
    #[must_use]
    pub fn new(paths: &KeyPaths, network: NetworkId) -> VoteKeyFiles {
        VoteKeyFiles { usual: paths.of(Purpose::Vote).to_owned(), network }
    }

    /// All secrets: the usual one first, then those for terms, ascending.
    ///
    /// # Errors
    /// The first [`KeyError`] found.
    pub fn load(&self) -> Result<Vec<[u8; 32]>, KeyError> {
        let files = std::iter::once(self.usual.clone()).chain(self.later()?.into_iter().map(|(_, path)| path));
        files.map(|path| self.read(&path)).collect()
    }

    /// Makes a fresh key for `term` and keeps it durably.
    ///
    /// # Errors
    /// [`KeyError::Io`] when the system gives no randomness or refuses to write.
    pub fn make(&self, term: u64) -> Result<[u8; 32], KeyError> {
        let path = self.usual.with_file_name(format!("vote-{term}.key"));
        let secret = random(&path)?;
        KeyFile::new(Purpose::Vote, secret, Some(self.network)).write(&path)?;
        Ok(secret)
    }

    /// Removes every key but `keys`. With none of them here nothing is removed: a key that votes nowhere harms nobody, and
    /// a node without one does not start.
    ///
    /// # Errors
    /// The first [`KeyError`] found; what was not removed is removed the next time.
    pub fn keep(&self, keys: &[VoteKey]) -> Result<(), KeyError> {
        let is_kept = |path: &Path| -> Result<bool, KeyError> {
            Ok(keys.contains(&VoteKey(SecretKey::from_bytes(self.read(path)?).public())))
        };
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| KeyError::Io { path, source }
        };
        let mut first_kept = None;
        for (_, path) in self.later()? {
            if !is_kept(&path)? {
                fs::remove_file(&path).map_err(failed(&path))?;
            } else if first_kept.is_none() {
                first_kept = Some(path);
            }
        }
        if !is_kept(&self.usual)?
            && let Some(next) = first_kept
        {
            fs::rename(&next, &self.usual).map_err(failed(&next))?;
        }
        let directory = self.usual.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed(directory))
    }

    /// The key that this node will vote with in a successor of its network: made when there is none yet, and bound to no
    /// network before [`VoteKeyFiles::succeed`].
    ///
    /// # Errors
    /// The first [`KeyError`] found.
    pub fn for_successor(paths: &KeyPaths) -> Result<VoteKey, KeyError> {
        let path = paths.of(Purpose::Vote).with_file_name(SUCCESSOR);
        if !path.exists() {
            KeyFile::new(Purpose::Vote, random(&path)?, None).write(&path)?;
        }
        Ok(VoteKey(SecretKey::from_bytes(read_for(&path, Purpose::Vote)?.secret_bytes()).public()))
    }

    /// Gives the node's keys to `network`, the successor of theirs. `seated` is the key that its genesis has for this node, when
    /// it is a member. Keys of terms of the network before are removed. Safe to do again.
    ///
    /// # Errors
    /// [`KeyError::NotTheOne`] when the key that is named is not here, before anything is changed; else the first found.
    pub fn succeed(paths: &KeyPaths, network: NetworkId, seated: Option<VoteKey>) -> Result<(), KeyError> {
        let usual = paths.of(Purpose::Vote).to_owned();
        let files = VoteKeyFiles { usual: usual.clone(), network };
        let made = usual.with_file_name(SUCCESSOR);
        let vote = if made.exists() { &made } else { &usual };
        let key = read_for(vote, Purpose::Vote)?;
        let public = VoteKey(SecretKey::from_bytes(key.secret_bytes()).public());
        if let Some(expected) = seated.filter(|expected| *expected != public) {
            return Err(KeyError::NotTheOne { path: vote.clone(), found: public, expected });
        }
        for purpose in [Purpose::Identity, Purpose::Confirmation, Purpose::Account] {
            read_for(paths.of(purpose), purpose)?.bound_to(network).write(paths.of(purpose))?;
        }
        for (_, path) in files.later()? {
            fs::remove_file(&path).map_err(|source| KeyError::Io { path, source })?;
        }
        key.bound_to(network).write(&usual)?;
        match fs::remove_file(&made) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(KeyError::Io { path: made, source }),
            _ => Ok(()),
        }
    }

    fn read(&self, path: &Path) -> Result<[u8; 32], KeyError> {
        let key = read_for(path, Purpose::Vote)?;
        match key.network() {
            Some(found) if found != self.network => {
                Err(KeyError::Network { path: path.to_owned(), found, expected: self.network })
            }
            None => Err(KeyError::Unbound { path: path.to_owned() }),
            Some(_) => Ok(key.secret_bytes()),
        }
    }

    /// Files for terms, ascending.
    fn later(&self) -> Result<Vec<(u64, PathBuf)>, KeyError> {
        let directory = self.usual.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let failed = |source| KeyError::Io { path: directory.to_owned(), source };
        let mut found = Vec::new();
        for entry in fs::read_dir(directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let term = name.and_then(|name| name.strip_prefix("vote-")?.strip_suffix(".key")?.parse().ok());
            found.extend(term.map(|term| (term, path)));
        }
        found.sort();
        Ok(found)
    }
}

/// The name of the key for a successor, beside the usual one.
const SUCCESSOR: &str = "vote-successor.key";

/// 32 bytes for the key in the file at `path`.
fn random(path: &Path) -> Result<[u8; 32], KeyError> {
    let mut secret = [0u8; 32];
    getrandom::fill(&mut secret)
        .map_err(|error| KeyError::Io { path: path.to_owned(), source: io::Error::other(error.to_string()) })?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: NetworkId = NetworkId([7; 32]);

    #[test]
    fn keys_for_terms_take_the_usual_place_and_the_past_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let paths = KeyPaths::in_directory(directory.path());
        KeyFile::new(Purpose::Vote, [1; 32], Some(HERE)).write(&paths.vote).unwrap();
        let files = VoteKeyFiles::new(&paths, HERE);
        assert_eq!(files.load().unwrap(), [[1; 32]]);
        let (ten, nine) = (files.make(10).unwrap(), files.make(9).unwrap());
        assert_eq!(files.load().unwrap(), [[1; 32], nine, ten], "by term, not by name");

        let public = |secrets: &[[u8; 32]]| -> Vec<VoteKey> {
            secrets.iter().map(|secret| VoteKey(SecretKey::from_bytes(*secret).public())).collect()
        };
        files.keep(&public(&[[1; 32], nine, ten])).unwrap();
        assert_eq!(files.load().unwrap().len(), 3);
        files.keep(&public(&[nine, ten])).unwrap();
        assert_eq!(files.load().unwrap(), [nine, ten], "the ninth is under the usual name");
        assert!(!directory.path().join("vote-9.key").exists());
        files.keep(&public(&[ten])).unwrap();
        assert_eq!(files.load().unwrap(), [ten]);
        // Nothing that is named is here: what there is stays.
        files.keep(&public(&[[5; 32]])).unwrap();
        assert_eq!(files.load().unwrap(), [ten]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn keys_go_on_in_a_successor_and_leave_the_network_before() {
        let directory = tempfile::tempdir().unwrap();
        let paths = KeyPaths::in_directory(directory.path());
        for purpose in Purpose::ALL {
            KeyFile::new(purpose, [purpose as u8 + 1; 32], Some(HERE)).write(paths.of(purpose)).unwrap();
        }
        VoteKeyFiles::new(&paths, HERE).make(4).unwrap();
        let there = NetworkId([8; 32]);
        let key = VoteKeyFiles::for_successor(&paths).unwrap();
        assert_eq!(VoteKeyFiles::for_successor(&paths).unwrap(), key, "asked twice it is the same");
        assert_eq!(VoteKeyFiles::new(&paths, HERE).load().unwrap().len(), 2, "the network before does not see it");
        let other = VoteKeyFiles::succeed(&paths, there, Some(VoteKey([3; 32])));
        assert!(matches!(other, Err(KeyError::NotTheOne { .. })));
        assert!(crate::keys::NodeKeys::load(&paths, HERE).is_ok(), "nothing was changed");
        for _ in 0..2 {
            VoteKeyFiles::succeed(&paths, there, Some(key)).unwrap();
            let keys = crate::keys::NodeKeys::load(&paths, there).unwrap();
            assert_eq!((keys.vote_key(), keys.account.to_bytes()), (key, [Purpose::Account as u8 + 1; 32]));
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 4);
        }
    }

    #[test]
    fn a_later_key_that_others_may_read_is_refused_like_any() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let paths = KeyPaths::in_directory(directory.path());
        KeyFile::new(Purpose::Vote, [1; 32], Some(HERE)).write(&paths.vote).unwrap();
        let files = VoteKeyFiles::new(&paths, HERE);
        files.make(4).unwrap();
        fs::set_permissions(directory.path().join("vote-4.key"), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(files.load(), Err(KeyError::Exposed { .. })));
    }
}
