//! Looks at the database through a connection of its own, which neither waits for the daemon nor lets it wait; and what
//! is mended in the store where it and the disk differ.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use super::{By, Result, Store, now};
use crate::policy::FolderId;

/// Another connection to the database of a running daemon, for reading.
pub struct Inspector {
    db: Connection,
}

/// Of what is damaged so much is told.
const TOLD: u32 = 16;

impl Inspector {
    /// Opens the store in a state directory.
    ///
    /// # Errors
    /// The database's.
    pub fn open(state: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(state.join("lendfs.db"), flags)?;
        db.busy_timeout(Duration::from_secs(5))?;
        Ok(Self { db })
    }

    /// What is wrong with the database: damaged pages, indexes that do not fit, and rows that refer to none.
    ///
    /// # Errors
    /// The database's, where it cannot even be read.
    pub fn damage(&self) -> Result<Vec<String>> {
        let mut statement = self.db.prepare(&format!("PRAGMA integrity_check({TOLD})"))?;
        let found = statement.query_map([], |row| row.get::<_, String>(0))?;
        let mut damage = found.collect::<std::result::Result<Vec<_>, _>>()?;
        damage.retain(|line| line != "ok");
        let mut statement = self.db.prepare("PRAGMA foreign_key_check")?;
        let found = statement.query_map([], |row| {
            let (table, id, parent): (String, Option<i64>, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let id = id.map_or_else(String::new, |id| format!(" {id}"));
            Ok(format!("row{id} of {table} refers to none of {parent}"))
        })?;
        for line in found.take(TOLD as usize) {
            damage.push(line?);
        }
        Ok(damage)
    }
}

impl Store {
    /// Takes into the trash what lay on the disk without being known.
    ///
    /// # Errors
    /// The database's.
    pub fn adopt_into_trash(&mut self, folder: FolderId, owner: &str, name: &str) -> Result<()> {
        let details = json!({ "trash": name, "owner": owner });
        self.change(&By::daemon(), "repair", Some(folder), details, |db| {
            db.execute(
                "INSERT INTO trash (folder, owner, name, at) VALUES (?1, ?2, ?3, ?4)",
                (folder.0, owner, name, now()),
            )?;
            Ok(())
        })
    }

    /// Forgets what is not in the trash any more.
    ///
    /// # Errors
    /// The database's.
    pub fn forget_trash(&mut self, folder: FolderId) -> Result<()> {
        let details = json!({ "trash": "gone" });
        self.change(&By::daemon(), "repair", Some(folder), details, |db| {
            db.execute("DELETE FROM trash WHERE folder = ?1", [folder.0])?;
            Ok(())
        })
    }
}
