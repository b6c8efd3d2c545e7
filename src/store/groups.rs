//! Groups: those of lendfs, and those of the operating system as far as lines name them.

use rusqlite::OptionalExtension;
use serde_json::json;

use super::people::AccountRow;
use super::{By, Result, Store, StoreError, valid_name};
use crate::policy::{AccountId, GroupId, Principal};

/// Where a group comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupSource {
    /// Made with lendfs.
    Own,
    /// The operating system's.
    Unix,
}

/// A group as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupRow {
    /// Its number.
    pub id: GroupId,
    /// Where it comes from.
    pub source: GroupSource,
    /// Its name.
    pub name: String,
    /// The login names of its members.
    pub members: Vec<String>,
}

impl GroupSource {
    /// The word before the colon.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Own => "group",
            Self::Unix => "unix",
        }
    }
}

impl Store {
    /// A group by source and name.
    ///
    /// # Errors
    /// The database's.
    pub fn group(&self, source: GroupSource, name: &str) -> Result<Option<GroupId>> {
        Ok(self
            .db
            .prepare_cached("SELECT id FROM groups WHERE source = ?1 AND name = ?2")?
            .query_row((source.prefix(), name), |row| Ok(GroupId(row.get(0)?)))
            .optional()?)
    }

    /// The groups of one source, with their members.
    ///
    /// # Errors
    /// The database's.
    pub fn groups(&self, source: GroupSource) -> Result<Vec<GroupRow>> {
        let mut statement = self.db.prepare_cached(
            "SELECT groups.id, groups.name, accounts.login FROM groups
             LEFT JOIN members ON members.group_id = groups.id
             LEFT JOIN accounts ON accounts.id = members.account
             WHERE source = ?1 ORDER BY groups.name, accounts.login",
        )?;
        let mut rows = statement.query([source.prefix()])?;
        let mut groups: Vec<GroupRow> = Vec::new();
        while let Some(row) = rows.next()? {
            let id = GroupId(row.get(0)?);
            if groups.last().is_none_or(|group| group.id != id) {
                groups.push(GroupRow {
                    id,
                    source,
                    name: row.get(1)?,
                    members: Vec::new(),
                });
            }
            if let (Some(group), Some(login)) = (groups.last_mut(), row.get(2)?) {
                group.members.push(login);
            }
        }
        Ok(groups)
    }

    /// Makes a group.
    ///
    /// # Errors
    /// If it is there already, or its name cannot be one.
    pub fn create_group(&mut self, by: &By, source: GroupSource, name: &str) -> Result<GroupId> {
        valid_name("group", name)?;
        if self.group(source, name)?.is_some() {
            return Err(StoreError::Conflict(format!(
                "there is a group {}:{name} already",
                source.prefix()
            )));
        }
        let details = json!({ "group": format!("{}:{name}", source.prefix()) });
        self.change(by, "group create", None, details, |db| {
            db.execute(
                "INSERT INTO groups (source, name) VALUES (?1, ?2)",
                (source.prefix(), name),
            )?;
            Ok(GroupId(db.last_insert_rowid()))
        })
    }

    /// Removes a group with all lines that name it.
    ///
    /// # Errors
    /// The database's.
    pub fn delete_group(&mut self, by: &By, group: GroupId, name: &str) -> Result<()> {
        self.change(by, "group delete", None, json!({ "group": name }), |db| {
            db.execute("DELETE FROM groups WHERE id = ?1", [group.0])?;
            Ok(())
        })?;
        self.drop_unused_places()
    }

    /// Adds an account to a group, or removes it.
    ///
    /// # Errors
    /// If it is in it already, or is not.
    pub fn set_member(
        &mut self, by: &By, group: GroupId, name: &str, account: &AccountRow, member: bool,
    ) -> Result<()> {
        let action = if member { "group add" } else { "group remove" };
        self.change(
            by,
            action,
            None,
            json!({ "group": name, "login": account.login }),
            |db| {
                let changed = if member {
                    db.execute(
                        "INSERT OR IGNORE INTO members VALUES (?1, ?2)",
                        (group.0, account.id.0),
                    )?
                } else {
                    db.execute(
                        "DELETE FROM members WHERE group_id = ?1 AND account = ?2",
                        (group.0, account.id.0),
                    )?
                };
                if changed == 1 {
                    return Ok(());
                }
                let is = if member {
                    "is in it already"
                } else {
                    "is not in it"
                };
                Err(StoreError::Conflict(format!(
                    "{} {is}: group:{name}",
                    account.login
                )))
            },
        )
    }

    /// Sets the members of an operating-system group; tells whether anything changed. No audit line: the
    /// operating system has its own.
    ///
    /// # Errors
    /// The database's.
    pub fn sync_group(&mut self, group: GroupId, members: &[AccountId]) -> Result<bool> {
        let known: Vec<i64> = {
            let mut statement = self
                .db
                .prepare_cached("SELECT account FROM members WHERE group_id = ?1 ORDER BY account")?;
            let rows = statement.query_map([group.0], |row| row.get(0))?;
            rows.collect::<std::result::Result<_, _>>()?
        };
        let mut wanted: Vec<i64> = members.iter().map(|id| id.0).collect();
        wanted.sort_unstable();
        wanted.dedup();
        if known == wanted {
            return Ok(false);
        }
        let transaction = self.db.transaction()?;
        transaction.execute("DELETE FROM members WHERE group_id = ?1", [group.0])?;
        for account in wanted {
            transaction.execute("INSERT INTO members VALUES (?1, ?2)", (group.0, account))?;
        }
        transaction.commit()?;
        Ok(true)
    }

    /// The name of whom a line names, as it is typed.
    ///
    /// # Errors
    /// The database's.
    pub fn principal_name(&self, principal: Principal) -> Result<String> {
        let name = match principal {
            Principal::Account(id) => self
                .db
                .prepare_cached("SELECT login FROM accounts WHERE id = ?1")?
                .query_row([id.0], |row| row.get(0))
                .optional()?,
            Principal::Group(id) => self
                .db
                .prepare_cached("SELECT source || ':' || name FROM groups WHERE id = ?1")?
                .query_row([id.0], |row| row.get(0))
                .optional()?,
        };
        Ok(name.unwrap_or_else(|| "(removed)".into()))
    }
}
