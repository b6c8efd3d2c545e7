//! What happened: one line for each change, and one for what was refused again and again.
//!
//! Bounded: when there are too many lines the oldest go of whoever has most, so that nobody pushes out what others did.

use rusqlite::{Connection, named_params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{By, Result, Store, now};
use crate::policy::FolderId;

/// The word of a line that tells of something refused; all others are changes.
pub const REFUSED: &str = "refused";

/// So many of the newest lines stay however old they are: a clock may jump.
const NEWEST: u32 = 1000;

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
    /// What was done: the command's word, or [`REFUSED`].
    pub action: String,
    /// The folder, by its number, if it was about one.
    pub folder: Option<i64>,
    /// The particulars.
    pub details: Value,
}

/// Changes, or what was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuditKind {
    /// A change of policy.
    Change,
    /// Something refused.
    Refusal,
}

impl AuditKind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Refusal => "refusal",
        }
    }

    /// The kind of a line with this word.
    pub fn of(action: &str) -> Self {
        if action == REFUSED {
            Self::Refusal
        } else {
            Self::Change
        }
    }
}

/// Which lines are asked for: those that all of it fits.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AuditFilter {
    /// Of one folder.
    pub folder: Option<FolderId>,
    /// Done by, or in the name of, one account.
    pub account: Option<String>,
    /// Done by one account.
    pub actor: Option<String>,
    /// Changes, or refusals.
    pub kind: Option<AuditKind>,
    /// With one word.
    pub action: Option<String>,
    /// Not before this, in milliseconds since 1970.
    pub since: Option<i64>,
    /// Before this.
    pub until: Option<i64>,
    /// With higher numbers than this: of these the lowest are told, else the highest.
    pub after: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

/// What was refused, for the audit.
#[derive(Clone, PartialEq, Debug)]
pub struct RefusalNote {
    /// When it was refused last, in milliseconds since 1970.
    pub at: i64,
    /// Who was refused.
    pub by: By,
    /// Where.
    pub folder: Option<FolderId>,
    /// The particulars.
    pub details: Value,
}

/// How much is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AuditBounds {
    /// How many changes.
    pub changes: u32,
    /// How many refusals.
    pub refusals: u32,
    /// For how many days; 0 is for ever.
    pub days: u32,
}

/// How many lines there are.
#[derive(Clone, Copy, Default)]
pub(super) struct Kept {
    pub(super) changes: u64,
    refusals: u64,
}

impl Kept {
    pub(super) fn count(db: &Connection) -> Result<Self> {
        let count = |is: &str| {
            let query = format!("SELECT count(*) FROM audit WHERE action {is} ?1");
            db.query_row(&query, [REFUSED], |row| row.get::<_, i64>(0))
        };
        Ok(Self {
            changes: count("<>")?.unsigned_abs(),
            refusals: count("=")?.unsigned_abs(),
        })
    }
}

pub(super) fn write(
    db: &Connection, by: &By, action: &str, folder: Option<FolderId>, details: &Value,
) -> Result<()> {
    write_at(db, now(), by, action, folder, details)
}

fn write_at(
    db: &Connection, at: i64, by: &By, action: &str, folder: Option<FolderId>, details: &Value,
) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO audit (at, actor, account, action, folder, details) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((
        at,
        &by.actor,
        &by.account,
        action,
        folder.map(|id| id.0),
        details.to_string(),
    ))?;
    Ok(())
}

/// Tells a line to the log, for whoever gathers it: README.md has the fields.
pub(super) fn log(by: &By, action: &str, folder: Option<FolderId>, details: &Value) {
    tracing::info!(
        target: "lendfs::audit",
        kind = AuditKind::of(action).name(),
        actor = by.actor,
        account = by.account,
        action,
        folder = folder.map(|id| id.0),
        details = %on_a_line(details),
    );
}

/// JSON without anything that a terminal obeys.
fn on_a_line(details: &Value) -> String {
    let mut safe = String::new();
    for char in details.to_string().chars() {
        // Outside of strings JSON has none, and within them it has a way to write them.
        if char.is_control() {
            safe += &format!("\\u{:04x}", u32::from(char));
        } else {
            safe.push(char);
        }
    }
    safe
}

impl Store {
    /// Keeps what was done outside of the store.
    ///
    /// # Errors
    /// The database's.
    pub fn note(&mut self, by: &By, action: &str, folder: FolderId, details: Value) -> Result<()> {
        self.change(by, action, Some(folder), details, |_| Ok(()))
    }

    /// Keeps what was refused. It is told to the log even if that fails.
    ///
    /// # Errors
    /// The database's.
    pub fn note_refusals(&mut self, notes: &[RefusalNote]) -> Result<()> {
        for note in notes {
            log(&note.by, REFUSED, note.folder, &note.details);
        }
        let transaction = self.db.transaction()?;
        for RefusalNote {
            at,
            by,
            folder,
            details,
        } in notes
        {
            write_at(&transaction, *at, by, REFUSED, *folder, details)?;
        }
        transaction.commit()?;
        self.kept.refusals += notes.len() as u64;
        self.audited();
        Ok(())
    }

    /// Calls whenever the audit has new lines.
    pub fn on_audit(&mut self, call: impl Fn() + Send + 'static) {
        self.on_audit = Some(Box::new(call));
    }

    pub(super) fn audited(&self) {
        if let Some(call) = &self.on_audit {
            call();
        }
    }

    /// How many changes and how many refusals are kept.
    pub fn audit_lines(&self) -> [(AuditKind, u64); 2] {
        [
            (AuditKind::Change, self.kept.changes),
            (AuditKind::Refusal, self.kept.refusals),
        ]
    }

    /// The number of the newest line that there ever was.
    ///
    /// # Errors
    /// The database's.
    pub fn last_audit(&self) -> Result<i64> {
        let last = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'audit'";
        Ok(self.db.prepare_cached(last)?.query_row([], |row| row.get(0))?)
    }

    /// The number of the line that tells of the removal of the last account that had this login name; what was done
    /// before is another's. 0 if there was none.
    ///
    /// # Errors
    /// The database's.
    pub fn removal_of(&self, login: &str) -> Result<i64> {
        let last = "SELECT coalesce(max(id), 0) FROM audit
                    WHERE action = 'user remove' AND json_extract(details, '$.login') = ?1";
        let mut statement = self.db.prepare_cached(last)?;
        Ok(statement.query_row([login], |row| row.get(0))?)
    }

    /// The lines asked for, the oldest first.
    ///
    /// # Errors
    /// The database's.
    pub fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditLine>> {
        let order = if filter.after.is_some() { "ASC" } else { "DESC" };
        let mut statement = self.db.prepare_cached(&format!(
            "SELECT id, at, actor, account, action, folder, details FROM audit
             WHERE id > :after
               AND (:folder IS NULL OR folder = :folder)
               AND (:account IS NULL OR actor = :account OR account = :account)
               AND (:actor IS NULL OR actor = :actor)
               AND (:refusal IS NULL OR (action = :refused) = :refusal)
               AND (:action IS NULL OR action = :action)
               AND (:since IS NULL OR at >= :since)
               AND (:until IS NULL OR at < :until)
             ORDER BY id {order} LIMIT :limit"
        ))?;
        let lines = statement.query_map(
            named_params! {
                ":after": filter.after.unwrap_or(-1),
                ":folder": filter.folder.map(|id| id.0),
                ":account": filter.account,
                ":actor": filter.actor,
                ":refusal": filter.kind.map(|kind| kind == AuditKind::Refusal),
                ":refused": REFUSED,
                ":action": filter.action,
                ":since": filter.since,
                ":until": filter.until,
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
                    details: serde_json::from_str(&details).unwrap_or(Value::String(details)),
                })
            },
        )?;
        let mut lines = lines.collect::<std::result::Result<Vec<_>, _>>()?;
        if filter.after.is_none() {
            lines.reverse();
        }
        Ok(lines)
    }

    /// Lets go of lines that are too old, and of as many as there are too many.
    ///
    /// # Errors
    /// The database's.
    pub fn trim_audit(&mut self, bounds: AuditBounds) -> Result<()> {
        self.trim_old(bounds.days)?;
        self.kept.changes = self.trim_many("<>", self.kept.changes, bounds.changes)?;
        self.kept.refusals = self.trim_many("=", self.kept.refusals, bounds.refusals)?;
        Ok(())
    }

    fn trim_old(&mut self, days: u32) -> Result<()> {
        let oldest: Option<i64> =
            self.db
                .query_row("SELECT (SELECT at FROM audit ORDER BY id LIMIT 1)", [], |row| {
                    row.get(0)
                })?;
        let cutoff = now() - i64::from(days) * 86_400_000;
        if days == 0 || oldest.is_none_or(|oldest| oldest >= cutoff) {
            return Ok(());
        }
        self.db.execute(
            "DELETE FROM audit WHERE at < ?1
             AND id <= (SELECT id FROM audit ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            (cutoff, NEWEST),
        )?;
        self.kept = Kept::count(&self.db)?;
        Ok(())
    }

    /// Tells how many are left. Comes to it a little late, and so not for every line.
    fn trim_many(&self, is: &str, kept: u64, most: u32) -> Result<u64> {
        let most = u64::from(most);
        if kept <= most + most / 64 {
            return Ok(kept);
        }
        let mut kept = kept;
        while kept > most {
            let busiest = format!(
                "SELECT actor, count(*) FROM audit WHERE action {is} ?1 GROUP BY actor ORDER BY 2 DESC LIMIT 1"
            );
            let (actor, has): (String, i64) = self
                .db
                .query_row(&busiest, [REFUSED], |row| Ok((row.get(0)?, row.get(1)?)))?;
            // Half of it at most, for then another may have more.
            let surplus = (kept - most).min(has.unsigned_abs().div_ceil(2));
            let deleted = self.db.execute(
                &format!(
                    "DELETE FROM audit WHERE id IN
                     (SELECT id FROM audit WHERE action {is} ?1 AND actor = ?2 ORDER BY id LIMIT ?3)"
                ),
                (REFUSED, actor, i64::try_from(surplus).unwrap_or(i64::MAX)),
            )?;
            kept = kept.saturating_sub(deleted.max(1) as u64);
        }
        Ok(kept)
    }
}
