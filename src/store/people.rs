//! Accounts.

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::json;

use super::{By, Result, Store, StoreError};
use crate::backing::users::OsUser;
use crate::policy::{AccountId, AccountKind};

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
            if let Some(other) = self
                .account_by_email(email)?
                .filter(|other| other.id != account.id)
            {
                return Err(StoreError::Conflict(format!(
                    "the e-mail address {email} belongs to {}: take it from there first",
                    other.login
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
