//! Folders.

use rusqlite::{OptionalExtension, Row};
use serde_json::json;

use super::{AccountRow, By, Result, Store, StoreError, now, valid_name};
use crate::policy::{AccountId, FolderId, Inheritance, Protection, ScratchNames};

/// A folder as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FolderRow {
    /// Its number.
    pub id: FolderId,
    /// Whose it is.
    pub owner: AccountId,
    /// His login name.
    pub owner_login: String,
    /// The name he gave it.
    pub name: String,
    /// The path of an adopted directory; a managed one lies under the state directory.
    pub adopted: Option<Vec<u8>>,
    /// The handle that the adopted directory had.
    pub handle: Option<Vec<u8>>,
    /// The login name of the one who lent an adopted directory.
    pub lender: Option<String>,
    /// How deeper rules meet what they inherit.
    pub inheritance: Inheritance,
    /// Whether no data of it bypasses the daemon.
    pub strict: bool,
    /// How it protects names under `edit`.
    pub protection: Protection,
}

/// A folder to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewFolder<'a> {
    /// Whose it shall be.
    pub owner: &'a AccountRow,
    /// Its name.
    pub name: &'a str,
    /// The path and handle of a directory that is adopted.
    pub adopted: Option<(&'a [u8], Option<&'a [u8]>)>,
    /// The login name of its lender.
    pub lender: Option<&'a str>,
    /// How deeper rules shall meet what they inherit.
    pub inheritance: Inheritance,
}

const FOLDER: &str = "SELECT folders.id, owner, login, name, adopted, handle, lender, inheritance,
    revoke = 'strict', own_files = 'removable', replace_by_unlink = 'on', scratch FROM folders JOIN accounts ON accounts.id = owner";

fn folder_row(row: &Row<'_>) -> rusqlite::Result<FolderRow> {
    Ok(FolderRow {
        id: FolderId(row.get(0)?),
        owner: AccountId(row.get(1)?),
        owner_login: row.get(2)?,
        name: row.get(3)?,
        adopted: row.get(4)?,
        handle: row.get(5)?,
        lender: row.get(6)?,
        inheritance: inheritance(&row.get::<_, String>(7)?),
        strict: row.get(8)?,
        protection: Protection {
            own_files_removable: row.get(9)?,
            replace_by_unlink: row.get(10)?,
            scratch: scratch(row.get(11)?),
        },
    })
}

/// What was written by another lendfs and cannot be read is no scratch name: that protects more.
fn scratch(list: Option<String>) -> ScratchNames {
    match list {
        None => ScratchNames::default(),
        Some(list) => ScratchNames::parse(&list).unwrap_or_else(|_| ScratchNames::none()),
    }
}

pub(super) fn inheritance(word: &str) -> Inheritance {
    if word == "widen" {
        Inheritance::Widen
    } else {
        Inheritance::Override
    }
}

fn word(inheritance: Inheritance) -> &'static str {
    match inheritance {
        Inheritance::Override => "override",
        Inheritance::Widen => "widen",
    }
}

impl Store {
    /// The folder of a number.
    ///
    /// # Errors
    /// The database's.
    pub fn folder(&self, id: FolderId) -> Result<Option<FolderRow>> {
        let query = format!("{FOLDER} WHERE folders.id = ?1");
        Ok(self
            .db
            .prepare_cached(&query)?
            .query_row([id.0], folder_row)
            .optional()?)
    }

    /// The folder that an owner calls so.
    ///
    /// # Errors
    /// The database's.
    pub fn folder_of(&self, owner: AccountId, name: &str) -> Result<Option<FolderRow>> {
        let query = format!("{FOLDER} WHERE owner = ?1 AND name = ?2");
        Ok(self
            .db
            .prepare_cached(&query)?
            .query_row((owner.0, name), folder_row)
            .optional()?)
    }

    /// All folders.
    ///
    /// # Errors
    /// The database's.
    pub fn folders(&self) -> Result<Vec<FolderRow>> {
        let mut statement = self.db.prepare_cached(&format!("{FOLDER} ORDER BY folders.id"))?;
        let rows = statement.query_map([], folder_row)?;
        Ok(rows.collect::<std::result::Result<_, _>>()?)
    }

    /// Makes a folder.
    ///
    /// # Errors
    /// If the owner has one of that name, or it can be none.
    pub fn create_folder(&mut self, by: &By, new: &NewFolder<'_>) -> Result<FolderId> {
        valid_name("folder", new.name)?;
        self.refuse_taken(new.owner.id, new.name)?;
        let details = json!({
            "name": new.name,
            "owner": new.owner.login,
            "path": new.adopted.map(|(path, _)| String::from_utf8_lossy(path).into_owned()),
            "inherit": word(new.inheritance),
        });
        self.change(by, "create", None, details, |db| {
            db.execute(
                "INSERT INTO folders (owner, name, adopted, handle, lender, inheritance)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                (
                    new.owner.id.0,
                    new.name,
                    new.adopted.map(|(path, _)| path),
                    new.adopted.and_then(|(_, handle)| handle),
                    new.lender,
                    word(new.inheritance),
                ),
            )?;
            let id = FolderId(db.last_insert_rowid());
            db.execute(
                "INSERT INTO places (folder, path, kind) VALUES (?1, x'', 'directory')",
                [id.0],
            )?;
            Ok(id)
        })
    }

    /// Gives a folder another name. Who chose a name of his own for it keeps that.
    ///
    /// # Errors
    /// If the owner has one of that name, or it can be none.
    pub fn rename_folder(&mut self, by: &By, folder: &FolderRow, new: &str) -> Result<()> {
        valid_name("folder", new)?;
        self.refuse_taken(folder.owner, new)?;
        self.change(
            by,
            "rename",
            Some(folder.id),
            json!({ "from": folder.name, "to": new }),
            |db| {
                db.execute("UPDATE folders SET name = ?1 WHERE id = ?2", (new, folder.id.0))?;
                forget_names(db, folder.id)
            },
        )
    }

    /// Gives a folder another owner. The old one keeps nothing in it.
    ///
    /// # Errors
    /// If the new owner has one of that name.
    pub fn transfer_folder(&mut self, by: &By, folder: &FolderRow, to: &AccountRow) -> Result<()> {
        self.refuse_taken(to.id, &folder.name)?;
        let details = json!({ "from": folder.owner_login, "to": to.login });
        self.change(by, "transfer", Some(folder.id), details, |db| {
            db.execute("UPDATE folders SET owner = ?1 WHERE id = ?2", (to.id.0, folder.id.0))?;
            // Lines do not bind an owner: what the new one had is his otherwise now.
            db.execute("DELETE FROM lines WHERE folder = ?1 AND account = ?2", (folder.id.0, to.id.0))?;
            db.execute(
                "UPDATE invitations SET state = 'cancelled' WHERE folder = ?1 AND account = ?2 AND state = 'pending'",
                (folder.id.0, to.id.0),
            )?;
            forget_names(db, folder.id)
        })
    }

    /// Sets how deeper rules meet what they inherit.
    ///
    /// # Errors
    /// The database's.
    pub fn set_inheritance(&mut self, by: &By, folder: &FolderRow, inheritance: Inheritance) -> Result<()> {
        let word = word(inheritance);
        self.change(by, "set", Some(folder.id), json!({ "inherit": word }), |db| {
            db.execute(
                "UPDATE folders SET inheritance = ?1 WHERE id = ?2",
                (word, folder.id.0),
            )?;
            Ok(())
        })
    }

    /// Sets whether no data of a folder may bypass the daemon.
    ///
    /// # Errors
    /// The database's.
    pub fn set_strict(&mut self, by: &By, folder: &FolderRow, strict: bool) -> Result<()> {
        let word = if strict { "strict" } else { "default" };
        self.change(by, "set", Some(folder.id), json!({ "revoke": word }), |db| {
            db.execute(
                "UPDATE folders SET revoke = ?1 WHERE id = ?2",
                (word, folder.id.0),
            )?;
            Ok(())
        })
    }

    /// Sets how a folder protects names under `edit`. `what` of it was changed, for the audit.
    ///
    /// # Errors
    /// The database's.
    pub fn set_protection(
        &mut self, by: &By, folder: &FolderRow, protection: &Protection, what: serde_json::Value,
    ) -> Result<()> {
        let own_files = if protection.own_files_removable {
            "removable"
        } else {
            "protected"
        };
        let replace = if protection.replace_by_unlink { "on" } else { "off" };
        let default = protection.scratch == ScratchNames::default();
        let scratch = (!default).then(|| protection.scratch.list());
        self.change(by, "set", Some(folder.id), what, |db| {
            db.execute(
                "UPDATE folders SET own_files = ?1, replace_by_unlink = ?2, scratch = ?3 WHERE id = ?4",
                (own_files, replace, scratch, folder.id.0),
            )?;
            Ok(())
        })
    }

    /// With whom a folder is shared or about to be, for the one who wants to delete it.
    ///
    /// # Errors
    /// The database's.
    pub fn shared_with(&self, folder: FolderId) -> Result<Vec<String>> {
        let mut statement = self.db.prepare_cached(
            "SELECT login FROM lines JOIN accounts ON accounts.id = account WHERE folder = ?1 AND lines.kind = 'grant'
             UNION SELECT source || ':' || name FROM lines JOIN groups ON groups.id = group_id
                WHERE folder = ?1 AND lines.kind = 'grant'
             UNION SELECT login || ' (invited)' FROM invitations JOIN accounts ON accounts.id = account
                WHERE folder = ?1 AND state = 'pending'",
        )?;
        let rows = statement.query_map([folder.0], |row| row.get(0))?;
        Ok(rows.collect::<std::result::Result<_, _>>()?)
    }

    /// Removes a folder with all its lines. Of a managed one the tree is in the trash then.
    ///
    /// # Errors
    /// The database's.
    pub fn delete_folder(&mut self, by: &By, folder: &FolderRow) -> Result<()> {
        let details =
            json!({ "name": folder.name, "owner": folder.owner_login, "adopted": folder.adopted.is_some() });
        self.change(by, "delete", Some(folder.id), details, |db| {
            if folder.adopted.is_none() {
                db.execute(
                    "INSERT INTO trash (folder, owner, name, at) VALUES (?1, ?2, ?3, ?4)",
                    (folder.id.0, &folder.owner_login, &folder.name, now()),
                )?;
            }
            db.execute("DELETE FROM folders WHERE id = ?1", [folder.id.0])?;
            Ok(())
        })
    }

    /// The folders whose trees are in the trash: number, owner, name.
    ///
    /// # Errors
    /// The database's.
    pub fn trash(&self) -> Result<Vec<(FolderId, String, String)>> {
        let mut statement = self
            .db
            .prepare_cached("SELECT folder, owner, name FROM trash ORDER BY folder")?;
        let rows = statement.query_map([], |row| Ok((FolderId(row.get(0)?), row.get(1)?, row.get(2)?)))?;
        Ok(rows.collect::<std::result::Result<_, _>>()?)
    }

    fn refuse_taken(&self, owner: AccountId, name: &str) -> Result<()> {
        if self.folder_of(owner, name)?.is_some() {
            return Err(StoreError::Conflict(format!(
                "there is a folder '{name}' of that owner already: choose another name"
            )));
        }
        Ok(())
    }
}

/// Lets the names that nobody chose himself be given anew.
fn forget_names(db: &rusqlite::Connection, folder: FolderId) -> Result<()> {
    db.execute(
        "DELETE FROM tops WHERE folder = ?1 AND NOT chosen
         AND place IN (SELECT id FROM places WHERE folder = ?1 AND path = x'')",
        [folder.0],
    )?;
    Ok(())
}
