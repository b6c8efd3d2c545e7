//! What happened: one line for each change.

use rusqlite::{Connection, named_params};
use serde::{Deserialize, Serialize};

use super::{By, Result, Store, now};
use crate::policy::FolderId;

/// A line of the audit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AuditLine {
    /// Its number.
    pub id: i64,
    /// Milliseconds since 1970, UTC.
    pub at: i64,
    /// Who did it.
    pub actor: String,
    /// In whose name.
    pub account: String,
    /// What was done: the command's word.
    pub action: String,
    /// The folder, by its number, if it was about one.
    pub folder: Option<i64>,
    /// The particulars.
    pub details: serde_json::Value,
}

/// Which lines are asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AuditFilter {
    /// Of one folder.
    pub folder: Option<FolderId>,
    /// Done by, or in the name of, one account.
    pub account: Option<String>,
    /// At most so many, the newest.
    pub limit: u32,
}

pub(super) fn write(
    db: &Connection, by: &By, action: &str, folder: Option<FolderId>, details: &serde_json::Value,
) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO audit (at, actor, account, action, folder, details) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((
        now(),
        &by.actor,
        &by.account,
        action,
        folder.map(|id| id.0),
        details.to_string(),
    ))?;
    Ok(())
}

impl Store {
    /// Keeps what was done outside of the store.
    ///
    /// # Errors
    /// The database's.
    pub fn note(
        &mut self, by: &By, action: &str, folder: FolderId, details: serde_json::Value,
    ) -> Result<()> {
        self.change(by, action, Some(folder), details, |_| Ok(()))
    }

    /// The lines asked for, the oldest first.
    ///
    /// # Errors
    /// The database's.
    pub fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditLine>> {
        let mut statement = self.db.prepare_cached(
            "SELECT id, at, actor, account, action, folder, details FROM audit
             WHERE (:folder IS NULL OR folder = :folder)
               AND (:account IS NULL OR actor = :account OR account = :account)
             ORDER BY id DESC LIMIT :limit",
        )?;
        let lines = statement.query_map(
            named_params! {
                ":folder": filter.folder.map(|id| id.0),
                ":account": filter.account,
                ":limit": filter.limit,
            },
            |row| {
                let details: String = row.get(6)?;
                Ok(AuditLine {
                    id: row.get(0)?,
                    at: row.get(1)?,
                    actor: row.get(2)?,
                    account: row.get(3)?,
                    action: row.get(4)?,
                    folder: row.get(5)?,
                    details: serde_json::from_str(&details).unwrap_or(serde_json::Value::String(details)),
                })
            },
        )?;
        let mut lines = lines.collect::<std::result::Result<Vec<_>, _>>()?;
        lines.reverse();
        Ok(lines)
    }
}
