//! Invitations: shares that wait for the invitee's word.

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::json;

use super::lines::{parse_level, parse_path, write_line};
use super::{AccountRow, Anchor, By, FolderRow, Result, Store, StoreError, now, tops, valid_name};
use crate::policy::{AccountId, FolderId, LineKind, LineLevel, PlaceKind, PlacePath, Principal};

/// What became of an invitation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InvitationState {
    /// It waits.
    Pending,
    /// It became a grant.
    Accepted,
    /// The invitee does not want it.
    Declined,
    /// The owner took it back.
    Cancelled,
}

impl InvitationState {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
        }
    }
}

/// An invitation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invitation {
    /// Its number.
    pub id: i64,
    /// The folder.
    pub folder: FolderId,
    /// Its name.
    pub name: String,
    /// Its owner's login name.
    pub owner: String,
    /// The path in it.
    pub path: PlacePath,
    /// The invitee.
    pub account: AccountId,
    /// The level offered.
    pub level: LineLevel,
    /// What became of it.
    pub state: InvitationState,
    anchor: Anchor,
}

const INVITATION: &str =
    "SELECT invitations.id, folder, folders.name, login, path, invitations.account, level,
    state, invitations.kind, invitations.handle
    FROM invitations JOIN folders ON folders.id = folder JOIN accounts ON accounts.id = folders.owner";

fn invitation(row: &Row<'_>) -> rusqlite::Result<Result<Invitation>> {
    let (path, level): (Vec<u8>, String) = (row.get(4)?, row.get(6)?);
    let state = match row.get::<_, String>(7)?.as_str() {
        "accepted" => InvitationState::Accepted,
        "declined" => InvitationState::Declined,
        "cancelled" => InvitationState::Cancelled,
        _ => InvitationState::Pending,
    };
    let kind = if row.get::<_, String>(8)? == "file" {
        PlaceKind::File
    } else {
        PlaceKind::Directory
    };
    let (id, folder, name, owner) = (row.get(0)?, FolderId(row.get(1)?), row.get(2)?, row.get(3)?);
    let (account, handle) = (AccountId(row.get(5)?), row.get(9)?);
    Ok(parse_path(&path).and_then(|path| {
        let level = parse_level(&level)?;
        let anchor = Anchor { kind, handle };
        Ok(Invitation {
            id,
            folder,
            name,
            owner,
            path,
            account,
            level,
            state,
            anchor,
        })
    }))
}

impl Store {
    /// Invites an account, or changes the level of the invitation that waits for it already.
    ///
    /// # Errors
    /// The database's.
    pub fn invite(
        &mut self, by: &By, folder: FolderId, account: &AccountRow, level: LineLevel,
        (path, anchor): (&PlacePath, &Anchor),
    ) -> Result<()> {
        let details = json!({ "path": path.to_string(), "for": account.login, "level": level.to_string() });
        let kind = if anchor.kind == PlaceKind::Directory {
            "directory"
        } else {
            "file"
        };
        self.change(by, "invite", Some(folder), details, |db| {
            let waiting = db.execute(
                "UPDATE invitations SET level = ?1, kind = ?2, handle = ?3, at = ?4
                 WHERE folder = ?5 AND path = ?6 AND account = ?7 AND state = 'pending'",
                (
                    level.to_string(),
                    kind,
                    &anchor.handle,
                    now(),
                    folder.0,
                    path.to_bytes(),
                    account.id.0,
                ),
            )?;
            if waiting == 0 {
                db.execute(
                    "INSERT INTO invitations (folder, path, kind, handle, account, level, state, at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'pending', ?7)",
                    (
                        folder.0,
                        path.to_bytes(),
                        kind,
                        &anchor.handle,
                        account.id.0,
                        level.to_string(),
                        now(),
                    ),
                )?;
            }
            Ok(())
        })
    }

    /// The invitations of an account, the newest last.
    ///
    /// # Errors
    /// The database's.
    pub fn invitations_of(&self, account: AccountId) -> Result<Vec<Invitation>> {
        self.invitations("invitations.account = ?1", account.0)
    }

    /// The invitations to a folder, the newest last.
    ///
    /// # Errors
    /// The database's.
    pub fn invitations_to(&self, folder: FolderId) -> Result<Vec<Invitation>> {
        self.invitations("folder = ?1", folder.0)
    }

    /// The invitation that waits for an account at a place.
    ///
    /// # Errors
    /// The database's.
    pub fn pending(
        &self, folder: FolderId, path: &PlacePath, account: AccountId,
    ) -> Result<Option<Invitation>> {
        let query = format!(
            "{INVITATION} WHERE folder = ?1 AND path = ?2 AND invitations.account = ?3 AND state = 'pending'"
        );
        self.db
            .prepare_cached(&query)?
            .query_row((folder.0, path.to_bytes(), account.0), invitation)
            .optional()?
            .transpose()
    }

    /// Accepts an invitation, under a name of the invitee's choice or the folder's own.
    ///
    /// # Errors
    /// If the name is in use, or can be none; if the invitation waits no more.
    pub fn accept(&mut self, by: &By, invitation: &Invitation, name: Option<&str>) -> Result<()> {
        if let Some(name) = name {
            valid_name("folder", name)?;
        }
        let own = invitation.path.file_name().unwrap_or(invitation.name.as_bytes());
        let wanted = name.map_or(own, str::as_bytes).to_vec();
        let details = json!({
            "path": invitation.path.to_string(),
            "level": invitation.level.to_string(),
            "name": String::from_utf8_lossy(&wanted),
        });
        let (account, folder) = (invitation.account, invitation.folder);
        self.change(by, "accept", Some(folder), details, |db| {
            if let Some(taken) = tops::place_named(db, account, &wanted)?
                && Some(taken) != super::lines::find_place(db, folder, &invitation.path)?
            {
                return Err(StoreError::Conflict(format!(
                    "you have something named '{}' already: accept it under another name with --name",
                    String::from_utf8_lossy(&wanted).escape_debug()
                )));
            }
            write_line(
                db,
                folder,
                LineKind::Grant,
                Principal::Account(account),
                invitation.level,
                (&invitation.path, &invitation.anchor),
            )?;
            if let Some(place) = super::lines::find_place(db, folder, &invitation.path)? {
                tops::take_name(db, account, folder, place, &wanted, name.is_some())?;
            }
            db.execute(
                "DELETE FROM hidden WHERE account = ?1 AND folder = ?2",
                (account.0, folder.0),
            )?;
            end(db, invitation, InvitationState::Accepted)
        })
    }

    /// Ends an invitation that waits: declined by the invitee, or cancelled by the owner.
    ///
    /// # Errors
    /// If it waits no more.
    pub fn end_invitation(&mut self, by: &By, invitation: &Invitation, state: InvitationState) -> Result<()> {
        let details = json!({ "path": invitation.path.to_string(), "for": self.principal_name(Principal::Account(invitation.account))? });
        self.change(by, state.name(), Some(invitation.folder), details, |db| {
            end(db, invitation, state)
        })
    }

    /// Lets an account leave a folder: its own grants end; the folder of a group is hidden from it until it
    /// accepts it again. Tells whether there was anything to leave.
    ///
    /// # Errors
    /// The database's.
    pub fn leave(
        &mut self, by: &By, folder: &FolderRow, account: &AccountRow, grants_of_groups: bool,
    ) -> Result<bool> {
        let left = self.change(
            by,
            "leave",
            Some(folder.id),
            json!({ "login": account.login }),
            |db| {
                let ended = db.execute(
                    "DELETE FROM lines WHERE folder = ?1 AND account = ?2 AND kind = 'grant'",
                    (folder.id.0, account.id.0),
                )?;
                let hidden = if grants_of_groups {
                    db.execute(
                        "INSERT OR IGNORE INTO hidden VALUES (?1, ?2)",
                        (account.id.0, folder.id.0),
                    )?
                } else {
                    0
                };
                if ended + hidden == 0 {
                    return Err(StoreError::Conflict(format!(
                        "you have left '{}' already",
                        folder.name
                    )));
                }
                Ok(true)
            },
        )?;
        self.drop_unused_places()?;
        Ok(left)
    }

    /// Tells whether an account has hidden a folder of its groups.
    ///
    /// # Errors
    /// The database's.
    pub fn is_hidden(&self, account: AccountId, folder: FolderId) -> Result<bool> {
        Ok(self
            .db
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM hidden WHERE account = ?1 AND folder = ?2)")?
            .query_row((account.0, folder.0), |row| row.get(0))?)
    }

    /// Shows a hidden folder again.
    ///
    /// # Errors
    /// The database's.
    pub fn unhide(&mut self, by: &By, account: &AccountRow, folder: &FolderRow) -> Result<()> {
        self.change(
            by,
            "accept",
            Some(folder.id),
            json!({ "login": account.login, "hidden": false }),
            |db| {
                db.execute(
                    "DELETE FROM hidden WHERE account = ?1 AND folder = ?2",
                    (account.id.0, folder.id.0),
                )?;
                Ok(())
            },
        )
    }

    fn invitations(&self, condition: &str, value: i64) -> Result<Vec<Invitation>> {
        let query = format!("{INVITATION} WHERE {condition} ORDER BY invitations.id");
        let mut statement = self.db.prepare_cached(&query)?;
        let rows = statement.query_map([value], invitation)?;
        rows.map(|row| row.map_err(StoreError::from).flatten()).collect()
    }
}

/// An invitation ends once.
fn end(db: &Connection, invitation: &Invitation, state: InvitationState) -> Result<()> {
    let waited = db.execute(
        "UPDATE invitations SET state = ?1 WHERE id = ?2 AND state = 'pending'",
        (state.name(), invitation.id),
    )?;
    if waited == 1 {
        Ok(())
    } else {
        Err(StoreError::Conflict(
            "the invitation waits no more: ask for another".into(),
        ))
    }
}
