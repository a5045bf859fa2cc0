//! Opening: whose directory this is, whether it is whole, and words for the operator when it is not.

use crate::columns::{Column, FORMAT, meta, number, number_of};
use crate::config::{ConfigError, LostWrites, StoreConfig};
use crate::mark::{Mark, Marked};
use crate::{error, options};
use floe_types::{NetworkId, NodeId};
use rocksdb::{Cache, DB, WriteBatch};
use rustix::process::{Flock, FlockType};
use std::fmt;
use std::path::{Path, PathBuf};

/// Whose store it is. A directory belongs to one storage node of one network for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The network.
    pub network: NetworkId,
    /// The storage node.
    pub node: NodeId,
}

/// Who has the directory open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// This very process.
    ThisProcess,
    /// Another process of this machine.
    Process(u32),
    /// Somebody who could not be named: another machine or another container.
    Unknown,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::ThisProcess => f.write_str("this process"),
            Holder::Process(id) => write!(f, "process {id}"),
            Holder::Unknown => f.write_str("another process"),
        }
    }
}

/// Why a store was not opened. Each says what to do. The directory is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A setting is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The path is a file or something else.
    #[error("{} is not a directory; name a directory for the store", .directory.display())]
    NotADirectory {
        /// The path.
        directory: PathBuf,
    },
    /// The directory holds files, but no store.
    #[error(
        "{} holds other files ({found}) and no store; name an empty directory, or the one in which this node's store is",
        .directory.display()
    )]
    NotAStore {
        /// The directory.
        directory: PathBuf,
        /// One of the files.
        found: String,
    },
    /// Somebody else has it open.
    #[error("{} is in use by {holder}; stop that node, or give this one a directory of its own", .directory.display())]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// Who.
        holder: Holder,
    },
    /// Nothing can be written there.
    #[error(
        "{} cannot be written: {reason}; mount it writable and give it to the user that runs the node",
        .directory.display()
    )]
    ReadOnly {
        /// The directory.
        directory: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// The disk is full.
    #[error("no space left for {}; free some and start again", .directory.display())]
    NoSpace {
        /// The directory.
        directory: PathBuf,
    },
    /// The store of another network.
    #[error(
        "{} belongs to network {found}, not to {expected}; start with the genesis of that network, or name another directory",
        .directory.display()
    )]
    OtherNetwork {
        /// The directory.
        directory: PathBuf,
        /// Whose it is.
        found: NetworkId,
        /// Whose it should be.
        expected: NetworkId,
    },
    /// The store of another node.
    #[error(
        "{} belongs to storage node {found}, not to {expected}; start with the key of that node, or name another directory",
        .directory.display()
    )]
    OtherNode {
        /// The directory.
        directory: PathBuf,
        /// Whose it is.
        found: NodeId,
        /// Whose it should be.
        expected: NodeId,
    },
    /// Written by a later version of this program.
    #[error(
        "{} was written by a newer version ({found}; this one knows format {known}); start that version again",
        .directory.display()
    )]
    Newer {
        /// The directory.
        directory: PathBuf,
        /// What is found that this version does not know.
        found: String,
        /// The newest format known.
        known: u32,
    },
    /// Writes that the disk had acknowledged are gone.
    #[error(
        "{} has lost acknowledged writes ({found} of {marked} changes are left); the disk is not to be trusted: this node \
         must not vote with its old key again. Join with new keys and an empty directory, or set lost_writes = \"accept\" \
         once the vote key is given up",
        .directory.display()
    )]
    LostWrites {
        /// The directory.
        directory: PathBuf,
        /// Changes that are there.
        found: u64,
        /// Changes that were acknowledged.
        marked: u64,
    },
    /// The database is damaged beyond opening.
    #[error(
        "the store in {} is damaged: {reason}; keep a copy, then start with an empty directory and join anew",
        .directory.display()
    )]
    Corrupt {
        /// The directory.
        directory: PathBuf,
        /// The finder's words.
        reason: String,
    },
    /// Anything else that the disk or the database says.
    #[error("the store in {} does not open: {reason}", .directory.display())]
    Io {
        /// The directory.
        directory: PathBuf,
        /// The system's words.
        reason: String,
    },
}

/// What opening gave.
pub(crate) struct Opened {
    pub db: DB,
    pub mark: Mark,
    pub cache: Cache,
    /// Times the store was opened, this one included.
    pub openings: u64,
    /// Acknowledged changes that are gone, when the operator accepts that.
    pub lost_writes: u64,
}

/// Opens or makes the store in `directory`.
pub(crate) fn open(directory: &Path, identity: Identity, config: &StoreConfig) -> Result<Opened, OpenError> {
    config.check()?;
    let made = prepare(directory)?;
    let cache = Cache::new_lru_cache(usize::try_from(config.cache_bytes).unwrap_or(usize::MAX));
    let database = options::database(config);
    if made == Found::Store {
        refuse_unknown_columns(directory, &database)?;
    }
    let db = DB::open_cf_descriptors(&database, directory, options::columns(config, &cache))
        .map_err(|error| refused(directory, &error))?;
    let (mark, marked) = Mark::open(directory).map_err(|error| io_refused(directory, &error))?;
    let lost_writes = check_mark(directory, config, &db, &mark, marked)?;
    let openings = check_identity(directory, identity, &db)?;
    Ok(Opened { db, mark, cache, openings, lost_writes })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Store,
}

/// Makes the directory when it is not there, and looks whether a store is in it.
fn prepare(directory: &Path) -> Result<Found, OpenError> {
    let io = |error: std::io::Error| io_refused(directory, &error);
    if directory.exists() && !directory.is_dir() {
        return Err(OpenError::NotADirectory { directory: directory.to_owned() });
    }
    std::fs::create_dir_all(directory).map_err(io)?;
    let mut store_file = None;
    let mut other_file = None;
    for entry in std::fs::read_dir(directory).map_err(io)? {
        let name = entry.map_err(io)?.file_name().to_string_lossy().into_owned();
        match name.as_str() {
            "CURRENT" => return Ok(Found::Store),
            // Left by an opening that was cut short, or by the file system. Nothing was kept in them.
            "LOCK" | "IDENTITY" | "acknowledged" | crate::damage::NAME | "lost+found" => {}
            _ if name.starts_with("LOG") || name.ends_with(".dbtmp") => {}
            _ if is_database_file(&name) => store_file = Some(name),
            _ => other_file = Some(name),
        }
    }
    match (store_file, other_file) {
        // The first manifest is written just before CURRENT: alone it is an opening cut short.
        (Some(name), None) if name == "MANIFEST-000001" => Ok(Found::Nothing),
        (Some(name), _) => Err(OpenError::Corrupt {
            directory: directory.to_owned(),
            reason: format!("{name} is there, CURRENT is not"),
        }),
        (None, Some(found)) => Err(OpenError::NotAStore { directory: directory.to_owned(), found }),
        (None, None) => Ok(Found::Nothing),
    }
}

fn is_database_file(name: &str) -> bool {
    name.starts_with("MANIFEST-")
        || name.starts_with("OPTIONS-")
        || [".sst", ".blob", ".log"].iter().any(|end| name.ends_with(end))
}

/// A later version may have columns of which this one would know nothing.
fn refuse_unknown_columns(directory: &Path, database: &rocksdb::Options) -> Result<(), OpenError> {
    let names = DB::list_cf(database, directory).map_err(|error| refused(directory, &error))?;
    let known = |name: &String| name == "default" || Column::ALL.iter().any(|column| column.name() == name);
    match names.into_iter().find(|name| !known(name)) {
        None => Ok(()),
        Some(name) => {
            Err(OpenError::Newer { directory: directory.to_owned(), found: format!("column {name:?}"), known: FORMAT })
        }
    }
}

/// Compares the database with what it had acknowledged; answers how many changes are missing.
fn check_mark(directory: &Path, config: &StoreConfig, db: &DB, mark: &Mark, marked: Marked) -> Result<u64, OpenError> {
    let found = db.latest_sequence_number();
    match marked {
        Marked::At(marked) if marked > found => match config.lost_writes {
            LostWrites::Refuse => Err(OpenError::LostWrites { directory: directory.to_owned(), found, marked }),
            LostWrites::Accept => {
                mark.reset(found);
                Ok(marked - found)
            }
        },
        Marked::At(_) | Marked::Nothing => Ok(0),
    }
}

/// Checks whose store it is, or writes it down in a new one; answers how often it was opened.
fn check_identity(directory: &Path, identity: Identity, db: &DB) -> Result<u64, OpenError> {
    let column = db.cf_handle(Column::Meta.name()).expect("every column is opened");
    let read = |name: &[u8]| db.get_cf(column, name).map_err(|error| refused(directory, &error));
    let corrupt = |reason: &str| OpenError::Corrupt { directory: directory.to_owned(), reason: reason.to_owned() };
    let openings = match read(meta::FORMAT)? {
        None if db.latest_sequence_number() == 0 => 1,
        None => return Err(corrupt("it does not say its format")),
        Some(format) => {
            let format: [u8; 4] = format.try_into().map_err(|_| corrupt("its format is not a number"))?;
            let found = u32::from_be_bytes(format);
            if found > FORMAT {
                let directory = directory.to_owned();
                return Err(OpenError::Newer { directory, found: format!("format {found}"), known: FORMAT });
            }
            let name_of = |name: &[u8]| -> Result<[u8; 32], OpenError> {
                let bytes = read(name)?.ok_or_else(|| corrupt("it does not say whose it is"))?;
                bytes.try_into().map_err(|_| corrupt("it does not say whose it is"))
            };
            refuse_other(directory, identity, NetworkId(name_of(meta::NETWORK)?), NodeId(name_of(meta::NODE)?))?;
            let openings = read(meta::OPENINGS)?.and_then(|bytes| number_of(&bytes));
            openings.ok_or_else(|| corrupt("it does not say how often it was opened"))?.saturating_add(1)
        }
    };
    let mut batch = WriteBatch::default();
    batch.put_cf(column, meta::FORMAT, FORMAT.to_be_bytes());
    batch.put_cf(column, meta::NETWORK, identity.network.0);
    batch.put_cf(column, meta::NODE, identity.node.0);
    batch.put_cf(column, meta::OPENINGS, number(openings));
    db.write_opt(batch, &options::synced()).map_err(|error| refused(directory, &error))?;
    Ok(openings)
}

fn refuse_other(directory: &Path, expected: Identity, network: NetworkId, node: NodeId) -> Result<(), OpenError> {
    let directory = directory.to_owned();
    if network != expected.network {
        Err(OpenError::OtherNetwork { directory, found: network, expected: expected.network })
    } else if node != expected.node {
        Err(OpenError::OtherNode { directory, found: node, expected: expected.node })
    } else {
        Ok(())
    }
}

/// Sorts what the database says at opening. It has sentences where one would wish for codes.
fn refused(directory: &Path, error: &rocksdb::Error) -> OpenError {
    let reason = error.as_ref().to_owned();
    let says = |words: &str| reason.contains(words);
    let directory = directory.to_owned();
    if says("lock hold by current process") {
        return OpenError::InUse { directory, holder: Holder::ThisProcess };
    }
    if says("While lock file") {
        let holder = holder(&directory);
        return OpenError::InUse { directory, holder };
    }
    if error::is_no_space(error) {
        return OpenError::NoSpace { directory };
    }
    if says("Permission denied") || says("Read-only file system") {
        return OpenError::ReadOnly { directory, reason };
    }
    if error.kind() == rocksdb::ErrorKind::Corruption || says("No such file or directory") {
        return OpenError::Corrupt { directory, reason };
    }
    OpenError::Io { directory, reason }
}

/// Sorts what the system says about the directory itself.
fn io_refused(directory: &Path, error: &std::io::Error) -> OpenError {
    use std::io::ErrorKind;
    let directory = directory.to_owned();
    let reason = error.to_string();
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => OpenError::ReadOnly { directory, reason },
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => OpenError::NotADirectory { directory },
        ErrorKind::StorageFull => OpenError::NoSpace { directory },
        _ => OpenError::Io { directory, reason },
    }
}

/// Asks the system who holds the lock. Only after the database failed to get it and not for want of being another
/// process: closing a file on which this process holds a lock would give the lock up.
fn holder(directory: &Path) -> Holder {
    let Ok(file) = std::fs::OpenOptions::new().read(true).write(true).open(directory.join("LOCK")) else {
        return Holder::Unknown;
    };
    match rustix::process::fcntl_getlk(&file, &Flock::from(FlockType::WriteLock)) {
        Ok(Some(lock)) => match lock.pid.map(|pid| pid.as_raw_nonzero().get()) {
            Some(pid) => u32::try_from(pid).map_or(Holder::Unknown, Holder::Process),
            None => Holder::Unknown,
        },
        Ok(None) | Err(_) => Holder::Unknown,
    }
}
