//! Accounts and groups.

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::json;

use super::{By, Result, Store, StoreError, valid_name};
use crate::backing::users::OsUser;
use crate::policy::{AccountId, AccountKind, GroupId, Principal};

/// An account as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountRow {
    /// Its number.
    pub id: AccountId,
    /// The login name.
    pub login: String,
    /// The uid that belongs to it.
    pub uid: u32,
    /// The primary gid.
    pub gid: u32,
    /// The e-mail address.
    pub email: Option<String>,
    /// What it may be at most.
    pub kind: AccountKind,
    /// Whether root has to confirm it.
    pub frozen: bool,
}

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

const ACCOUNT: &str = "SELECT id, login, uid, gid, email, kind, frozen FROM accounts";

pub(super) fn account_row(row: &Row<'_>) -> rusqlite::Result<AccountRow> {
    Ok(AccountRow {
        id: AccountId(row.get(0)?),
        login: row.get(1)?,
        uid: row.get(2)?,
        gid: row.get(3)?,
        email: row.get(4)?,
        kind: if row.get::<_, String>(5)? == "viewer" {
            AccountKind::Viewer
        } else {
            AccountKind::Member
        },
        frozen: row.get(6)?,
    })
}

fn find_account(db: &Connection, by: &str, value: impl rusqlite::ToSql) -> Result<Option<AccountRow>> {
    let query = format!("{ACCOUNT} WHERE {by} = ?1");
    Ok(db
        .prepare_cached(&query)?
        .query_row([value], account_row)
        .optional()?)
}

impl Store {
    /// The account of an operating-system user, made when it is first seen. If name and number do not belong
    /// together any more, every account that either of them meant is frozen.
    ///
    /// # Errors
    /// The database's.
    pub fn ensure_account(&mut self, user: &OsUser) -> Result<AccountRow> {
        let named = find_account(&self.db, "login", &user.name)?;
        let stale: Vec<AccountRow> = {
            let query = format!("{ACCOUNT} WHERE uid = ?1 AND login <> ?2 AND NOT frozen");
            let mut statement = self.db.prepare_cached(&query)?;
            let rows = statement.query_map((user.uid, &user.name), account_row)?;
            rows.collect::<std::result::Result<_, _>>()?
        };
        for other in stale {
            self.freeze(&other, "its uid belongs to another login name now")?;
        }
        match named {
            Some(account) if account.uid != user.uid && !account.frozen => {
                self.freeze(&account, "its login name belongs to another uid now")?;
                Ok(AccountRow {
                    frozen: true,
                    ..account
                })
            }
            Some(account) if account.gid != user.gid && account.uid == user.uid => {
                self.db.execute(
                    "UPDATE accounts SET gid = ?1 WHERE id = ?2",
                    (user.gid, account.id.0),
                )?;
                Ok(AccountRow {
                    gid: user.gid,
                    ..account
                })
            }
            Some(account) => Ok(account),
            None => {
                let shared: bool = self.db.query_row(
                    "SELECT EXISTS (SELECT 1 FROM accounts WHERE uid = ?1)",
                    [user.uid],
                    |row| row.get(0),
                )?;
                let details = json!({ "login": user.name, "uid": user.uid });
                let id = self.change(&By::daemon(), "account", None, details, |db| {
                    db.execute(
                        "INSERT INTO accounts (login, uid, gid, frozen) VALUES (?1, ?2, ?3, ?4)",
                        // A number that once meant another is not trusted before root has confirmed it.
                        (&user.name, user.uid, user.gid, shared),
                    )?;
                    Ok(db.last_insert_rowid())
                })?;
                find_account(&self.db, "id", id)?.ok_or_else(|| StoreError::NotFound("the account".into()))
            }
        }
    }

    /// The account of a number.
    ///
    /// # Errors
    /// The database's.
    pub fn account(&self, id: AccountId) -> Result<Option<AccountRow>> {
        find_account(&self.db, "id", id.0)
    }

    /// The account of a login name.
    ///
    /// # Errors
    /// The database's.
    pub fn account_by_login(&self, login: &str) -> Result<Option<AccountRow>> {
        find_account(&self.db, "login", login)
    }

    /// The account of an e-mail address.
    ///
    /// # Errors
    /// The database's.
    pub fn account_by_email(&self, email: &str) -> Result<Option<AccountRow>> {
        find_account(&self.db, "email", email)
    }

    /// All accounts, by login name.
    ///
    /// # Errors
    /// The database's.
    pub fn accounts(&self) -> Result<Vec<AccountRow>> {
        let mut statement = self.db.prepare_cached(&format!("{ACCOUNT} ORDER BY login"))?;
        let rows = statement.query_map([], account_row)?;
        Ok(rows.collect::<std::result::Result<_, _>>()?)
    }

    /// Sets the e-mail address of an account; none if it is empty.
    ///
    /// # Errors
    /// If it is no address, or another's.
    pub fn set_email(&mut self, by: &By, account: &AccountRow, email: &str) -> Result<()> {
        let email = (!email.is_empty()).then_some(email);
        if let Some(email) = email {
            let parts = email.split_once('@');
            if parts.is_none_or(|(local, host)| local.is_empty() || host.is_empty())
                || email.len() > 255
                || email
                    .chars()
                    .any(|char| char.is_whitespace() || char.is_control())
            {
                return Err(StoreError::Invalid(format!(
                    "'{}' is no e-mail address",
                    email.escape_debug()
                )));
            }
            if self
                .account_by_email(email)?
                .is_some_and(|other| other.id != account.id)
            {
                return Err(StoreError::Conflict(format!(
                    "the e-mail address {email} belongs to another account"
                )));
            }
        }
        let details = json!({ "login": account.login, "email": email });
        self.change(by, "user set", None, details, |db| {
            db.execute(
                "UPDATE accounts SET email = ?1 WHERE id = ?2",
                (email, account.id.0),
            )?;
            Ok(())
        })
    }

    /// Sets what an account may be at most.
    ///
    /// # Errors
    /// The database's.
    pub fn set_kind(&mut self, by: &By, account: &AccountRow, kind: AccountKind) -> Result<()> {
        let word = kind_word(kind);
        self.change(
            by,
            "user set",
            None,
            json!({ "login": account.login, "type": word }),
            |db| {
                db.execute(
                    "UPDATE accounts SET kind = ?1 WHERE id = ?2",
                    (word, account.id.0),
                )?;
                Ok(())
            },
        )
    }

    /// Confirms an account as the operating system has it now, or freezes it.
    ///
    /// # Errors
    /// The database's.
    pub fn set_frozen(&mut self, by: &By, account: &AccountRow, frozen: bool, user: &OsUser) -> Result<()> {
        let details = json!({ "login": account.login, "frozen": frozen, "uid": user.uid });
        self.change(by, "user set", None, details, |db| {
            db.execute(
                "UPDATE accounts SET frozen = ?1, uid = ?2, gid = ?3 WHERE id = ?4",
                (frozen, user.uid, user.gid, account.id.0),
            )?;
            Ok(())
        })
    }

    /// Removes an account, its grants, rules and invitations.
    ///
    /// # Errors
    /// If it still owns folders.
    pub fn remove_account(&mut self, by: &By, account: &AccountRow) -> Result<()> {
        let owned: Vec<String> = {
            let mut statement = self
                .db
                .prepare_cached("SELECT name FROM folders WHERE owner = ?1 ORDER BY name")?;
            let rows = statement.query_map([account.id.0], |row| row.get(0))?;
            rows.collect::<std::result::Result<_, _>>()?
        };
        if !owned.is_empty() {
            return Err(StoreError::Conflict(format!(
                "{} still owns {}: transfer or delete them first",
                account.login,
                owned.join(", ")
            )));
        }
        self.change(by, "user remove", None, json!({ "login": account.login }), |db| {
            db.execute("DELETE FROM accounts WHERE id = ?1", [account.id.0])?;
            Ok(())
        })?;
        self.drop_unused_places()
    }

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
        &mut self,
        by: &By,
        group: GroupId,
        name: &str,
        account: &AccountRow,
        member: bool,
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

    fn freeze(&mut self, account: &AccountRow, why: &str) -> Result<()> {
        tracing::warn!(
            login = account.login,
            uid = account.uid,
            why,
            "account frozen until root confirms it"
        );
        let details = json!({ "login": account.login, "uid": account.uid, "why": why });
        self.change(&By::daemon(), "freeze", None, details, |db| {
            db.execute("UPDATE accounts SET frozen = 1 WHERE id = ?1", [account.id.0])?;
            Ok(())
        })
    }
}

/// The word for it.
pub(super) fn kind_word(kind: AccountKind) -> &'static str {
    match kind {
        AccountKind::Member => "member",
        AccountKind::Viewer => "viewer",
    }
}
