//! What the daemon knows, on disk: accounts, groups, folders, lines, invitations, audit.
//!
//! SQLite in WAL mode, synchronous: each change is one transaction together with its audit line, and a crash at
//! any moment leaves the last whole state. Keeps things consistent, decides nothing about who may do what, and
//! never answers a file-system request: it builds the [`Snapshot`](crate::policy::Snapshot) that requests read.

mod audit;
mod folders;
mod groups;
mod inspect;
mod invitations;
mod lines;
mod load;
mod people;
#[cfg(test)]
mod tests;
mod tops;

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use rusqlite_migration::{M, Migrations, SchemaVersion};

pub use audit::{AuditBounds, AuditFilter, AuditKind, AuditLine, REFUSED, RefusalNote};
pub use folders::{FolderRow, NewFolder};
pub use groups::{GroupRow, GroupSource};
pub use inspect::Inspector;
pub use invitations::{Invitation, InvitationState};
pub use lines::{Anchor, LineRow};
pub use people::AccountRow;
pub use tops::TopRow;

/// The store failed, or what was asked of it cannot be.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It cannot be so, for what is there already.
    #[error("{0}")]
    Conflict(String),
    /// What was given is no such thing.
    #[error("{0}")]
    Invalid(String),
    /// The database was written by a later lendfs.
    #[error(
        "the database has schema version {found}, and this lendfs knows up to {known}: use the newer lendfs that wrote it"
    )]
    Newer {
        /// What it has.
        found: usize,
        /// What is known.
        known: usize,
    },
    /// Another daemon has it.
    #[error(
        "another lendfs daemon uses the state directory {0}: stop it first, or choose another --state-dir"
    )]
    InUse(String),
    /// What was written is not what is read.
    #[error("the database {file} is damaged: {what}: restore it from a backup; nothing in it was changed")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// The file system.
    #[error("the state directory: {0}")]
    Io(#[from] io::Error),
    /// SQLite.
    #[error("the database: {0}")]
    Database(#[from] rusqlite::Error),
    /// A migration.
    #[error("the database: {0}")]
    Migration(#[from] rusqlite_migration::Error),
}

/// What the store returns.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Who changes something, for the audit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct By {
    /// The account that did it.
    pub actor: String,
    /// The account in whose name.
    pub account: String,
}

impl By {
    /// The daemon itself.
    pub fn daemon() -> Self {
        Self {
            actor: "lendfs".into(),
            account: "lendfs".into(),
        }
    }
}

/// The open store. One at a time for a state directory.
pub struct Store {
    db: Connection,
    kept: audit::Kept,
    on_audit: Option<Box<dyn Fn() + Send>>,
    _lock: nix::fcntl::Flock<File>,
}

/// The schema's versions, the oldest first.
fn migrations() -> Migrations<'static> {
    Migrations::new(vec![
        M::up(include_str!("schema.sql")),
        M::up(include_str!("revoke.sql")),
        M::up(include_str!("protection.sql")),
    ])
}

/// How many versions are known.
const KNOWN_VERSION: usize = 3;

impl Store {
    /// Opens the store in a state directory, which is made if it is not there.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::Newer`], and whatever the disk says.
    pub fn open(state: &Path) -> Result<Self> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state)?;
        let lock = private_file(&state.join("lock"))?;
        let lock = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusiveNonblock)
            .map_err(|_| StoreError::InUse(state.display().to_string()))?;
        let file = state.join("lendfs.db");
        drop(private_file(&file)?);
        let mut db = Connection::open(&file)?;
        db.busy_timeout(Duration::from_secs(5))?;
        refuse_damaged(&db, &file)?;
        let migrations = migrations();
        // Before anything is written into it.
        if let SchemaVersion::Outside(found) = migrations.current_version(&db)? {
            return Err(StoreError::Newer {
                found: found.get(),
                known: KNOWN_VERSION,
            });
        }
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        db.pragma_update(None, "foreign_keys", true)?;
        db.set_prepared_statement_cache_capacity(64);
        migrations.to_latest(&mut db)?;
        Ok(Self {
            kept: audit::Kept::count(&db)?,
            db,
            on_audit: None,
            _lock: lock,
        })
    }

    /// Runs one change with its audit line: all of it holds, or nothing.
    fn change<T>(
        &mut self, by: &By, action: &str, folder: Option<crate::policy::FolderId>,
        details: serde_json::Value, change: impl FnOnce(&Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let transaction = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = change(&transaction)?;
        audit::write(&transaction, by, action, folder, &details)?;
        transaction.commit()?;
        audit::log(by, action, folder, &details);
        self.kept.changes += 1;
        self.audited();
        Ok(done)
    }

    /// Checks the database file.
    ///
    /// # Errors
    /// What SQLite finds wrong with it.
    pub fn integrity(&self) -> Result<()> {
        let found: String = self
            .db
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        if found == "ok" {
            Ok(())
        } else {
            Err(StoreError::Invalid(found))
        }
    }
}

/// Refuses a database in which anything that decides is damaged: of lines of which half were lost nobody could tell which
/// were. The audit, which may be large and decides nothing, is left to who checks it.
fn refuse_damaged(db: &Connection, file: &Path) -> Result<()> {
    let damaged = |what: String| StoreError::Damaged {
        file: file.display().to_string(),
        what,
    };
    match look_for_damage(db) {
        Ok(None) => Ok(()),
        Ok(Some(what)) => Err(damaged(what)),
        Err(error) => Err(match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
                damaged(error.to_string())
            }
            _ => error.into(),
        }),
    }
}

fn look_for_damage(db: &Connection) -> rusqlite::Result<Option<String>> {
    let mut statement =
        db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'audit'")?;
    let tables = statement.query_map([], |row| row.get::<_, String>(0))?;
    for table in tables.collect::<rusqlite::Result<Vec<_>>>()? {
        let found: String = db.query_row(
            "SELECT quick_check FROM pragma_quick_check(?1) LIMIT 1",
            [&table],
            |row| row.get(0),
        )?;
        if found != "ok" {
            return Ok(Some(found));
        }
    }
    let dangling = db
        .query_row(
            r#"SELECT "table", parent FROM pragma_foreign_key_check LIMIT 1"#,
            [],
            |row| {
                let (table, parent): (String, String) = (row.get(0)?, row.get(1)?);
                Ok(format!("a row of {table} refers to none of {parent}"))
            },
        )
        .optional()?;
    Ok(dangling)
}

fn private_file(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// Milliseconds since 1970.
fn now() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Checks the name of a folder, an account or a group.
///
/// # Errors
/// If it cannot be typed, mounted or told apart.
pub fn valid_name(what: &str, name: &str) -> Result<()> {
    let problem = match name {
        "" => "it is empty",
        "." | ".." => "it means a directory",
        name if name.len() > 255 => "it is longer than 255 bytes",
        name if name.contains('/') => "it has a slash",
        name if name.contains(':') => "it has a colon",
        name if name.chars().any(char::is_control) => "it has a control character",
        _ => return Ok(()),
    };
    Err(StoreError::Invalid(format!(
        "'{}' cannot be the name of a {what}: {problem}",
        name.escape_debug()
    )))
}
