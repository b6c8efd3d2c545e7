//! Lines, and the places where they stand.

use rusqlite::{Connection, OptionalExtension};
use serde_json::json;

use super::{By, Result, Store, StoreError};
use crate::policy::{
    FolderId, LineKind, LineLevel, PlaceChange, PlaceId, PlaceKind, PlacePath, Principal, Target,
};

/// What stands at a path when a line is written there: what the line is made for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Anchor {
    /// Directory or not.
    pub kind: PlaceKind,
    /// Its file handle, where the backing has such.
    pub handle: Option<Vec<u8>>,
}

/// A line as it is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LineRow {
    /// Grant or rule.
    pub kind: LineKind,
    /// Where.
    pub path: PlacePath,
    /// Whom it names.
    pub principal: Principal,
    /// The level.
    pub level: LineLevel,
    /// Whether what it was made for is there.
    pub target: Target,
}

impl Store {
    /// Writes a line, or changes its level. What stands at the path is what the line is made for from now on.
    /// Tells the level it had before.
    ///
    /// # Errors
    /// The database's.
    pub fn set_line(
        &mut self, by: &By, folder: FolderId, kind: LineKind, principal: Principal, level: LineLevel,
        at: (&PlacePath, &Anchor),
    ) -> Result<Option<LineLevel>> {
        let (path, anchor) = at;
        let action = if kind == LineKind::Grant {
            "share"
        } else {
            "permit"
        };
        let details = json!({
            "path": path.to_string(),
            "for": self.principal_name(principal)?,
            "level": level.to_string(),
        });
        self.change(by, action, Some(folder), details, |db| {
            let before = write_line(db, folder, kind, principal, level, (path, anchor))?;
            if let Principal::Group(_) = principal {
                // Who hid the folder while it was another's wish sees it again when it is shared anew.
                db.execute(
                    "DELETE FROM hidden WHERE folder = ?1 AND ?2 IS NULL",
                    (folder.0, before.map(|_| 1)),
                )?;
            }
            Ok(before)
        })
    }

    /// The level of a line, if it is there.
    ///
    /// # Errors
    /// The database's.
    pub fn line(
        &self, folder: FolderId, kind: LineKind, principal: Principal, path: &PlacePath,
    ) -> Result<Option<LineLevel>> {
        for place in places_at(&self.db, folder, path)? {
            if let Some((_, level)) = find_line(&self.db, place, kind, principal)? {
                return Ok(Some(level));
            }
        }
        Ok(None)
    }

    /// Takes a line away.
    ///
    /// # Errors
    /// If it is not there.
    pub fn remove_line(
        &mut self, by: &By, folder: FolderId, kind: LineKind, principal: Principal, path: &PlacePath,
    ) -> Result<()> {
        let action = if kind == LineKind::Grant {
            "unshare"
        } else {
            "unpermit"
        };
        let name = self.principal_name(principal)?;
        let details = json!({ "path": path.to_string(), "for": name });
        self.change(by, action, Some(folder), details, |db| {
            let mut found = false;
            for place in places_at(db, folder, path)? {
                if let Some((line, _)) = find_line(db, place, kind, principal)? {
                    db.execute("DELETE FROM lines WHERE id = ?1", [line])?;
                    found = true;
                }
            }
            if !found {
                let what = if kind == LineKind::Grant { "share" } else { "rule" };
                return Err(StoreError::NotFound(format!(
                    "there is no {what} for {name} at that place"
                )));
            }
            drop_unused_places(db)
        })
    }

    /// All lines of a folder, by place.
    ///
    /// # Errors
    /// The database's.
    pub fn lines(&self, folder: FolderId) -> Result<Vec<LineRow>> {
        let mut statement = self.db.prepare_cached(
            "SELECT lines.kind, path, account, group_id, level, target FROM lines
             JOIN places ON places.id = lines.place WHERE lines.folder = ?1 ORDER BY path, lines.id",
        )?;
        let mut rows = statement.query([folder.0])?;
        let mut lines = Vec::new();
        while let Some(row) = rows.next()? {
            lines.push(LineRow {
                kind: line_kind(&row.get::<_, String>(0)?),
                path: parse_path(&row.get::<_, Vec<u8>>(1)?)?,
                principal: principal(row.get(2)?, row.get(3)?)?,
                level: parse_level(&row.get::<_, String>(4)?)?,
                target: parse_target(&row.get::<_, String>(5)?),
            });
        }
        Ok(lines)
    }

    /// Keeps what became of what lines were made for.
    ///
    /// # Errors
    /// The database's.
    pub fn change_place(&mut self, place: PlaceId, change: &PlaceChange) -> Result<()> {
        let transaction = self.db.transaction()?;
        match change {
            PlaceChange::Moved(path) => {
                transaction.execute(
                    "UPDATE places SET path = ?1 WHERE id = ?2",
                    (path.to_bytes(), place.0),
                )?;
            }
            PlaceChange::Gone => {
                transaction.execute("UPDATE places SET target = 'gone' WHERE id = ?1", [place.0])?;
            }
            PlaceChange::Observed(inode) => {
                let known: bool = transaction.query_row(
                    "SELECT EXISTS (SELECT 1 FROM places WHERE id = ?1)",
                    [place.0],
                    |row| row.get(0),
                )?;
                if known {
                    observe(&transaction, place, inode.as_bytes())?;
                    transaction.execute(
                        "UPDATE places SET target = 'there' WHERE id = ?1 AND kind = 'directory'",
                        [place.0],
                    )?;
                }
            }
        }
        Ok(transaction.commit()?)
    }

    pub(super) fn drop_unused_places(&mut self) -> Result<()> {
        drop_unused_places(&self.db)
    }
}

pub(super) fn write_line(
    db: &Connection, folder: FolderId, kind: LineKind, principal: Principal, level: LineLevel,
    (path, anchor): (&PlacePath, &Anchor),
) -> Result<Option<LineLevel>> {
    let place = anchor_place(db, folder, path, anchor)?;
    let before = find_line(db, place, kind, principal)?;
    if let Some((line, before)) = before {
        db.execute(
            "UPDATE lines SET level = ?1 WHERE id = ?2",
            (level.to_string(), line),
        )?;
        return Ok(Some(before));
    }
    let (account, group) = columns(principal);
    db.prepare_cached(
        "INSERT INTO lines (folder, place, kind, account, group_id, level) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((
        folder.0,
        place.0,
        kind_word(kind),
        account,
        group,
        level.to_string(),
    ))?;
    Ok(None)
}

/// The place of a path, made for what stands there now.
fn anchor_place(db: &Connection, folder: FolderId, path: &PlacePath, anchor: &Anchor) -> Result<PlaceId> {
    let kind = if anchor.kind == PlaceKind::Directory {
        "directory"
    } else {
        "file"
    };
    let place = match find_place(db, folder, path)? {
        Some(place) => {
            db.prepare_cached("UPDATE places SET kind = ?1, target = 'there' WHERE id = ?2")?
                .execute((kind, place.0))?;
            if anchor.kind == PlaceKind::Directory {
                db.prepare_cached("DELETE FROM inodes WHERE place = ?1")?
                    .execute([place.0])?;
            }
            place
        }
        None => {
            db.prepare_cached("INSERT INTO places (folder, path, kind) VALUES (?1, ?2, ?3)")?
                .execute((folder.0, path.to_bytes(), kind))?;
            PlaceId(db.last_insert_rowid())
        }
    };
    // The root is the folder itself, whatever its inode.
    if let Some(handle) = anchor.handle.as_ref().filter(|_| !path.is_root()) {
        observe(db, place, handle)?;
    }
    Ok(place)
}

fn observe(db: &Connection, place: PlaceId, handle: &[u8]) -> Result<()> {
    db.prepare_cached("DELETE FROM inodes WHERE place = ?1 AND handle = ?2")?
        .execute((place.0, handle))?;
    db.prepare_cached(
        "INSERT INTO inodes (place, seen, handle)
         VALUES (?1, (SELECT coalesce(max(seen), 0) + 1 FROM inodes WHERE place = ?1), ?2)",
    )?
    .execute((place.0, handle))?;
    let remembered = crate::policy::place::REMEMBERED_INODES as i64;
    db.prepare_cached(
        "DELETE FROM inodes WHERE place = ?1 AND seen <= (SELECT max(seen) FROM inodes WHERE place = ?1) - ?2",
    )?
    .execute((place.0, remembered))?;
    Ok(())
}

/// A place vanishes with its last line; the root stays with the folder.
fn drop_unused_places(db: &Connection) -> Result<()> {
    db.execute(
        "DELETE FROM places WHERE path <> x'' AND NOT EXISTS (SELECT 1 FROM lines WHERE lines.place = places.id)",
        [],
    )?;
    Ok(())
}

pub(super) fn find_place(db: &Connection, folder: FolderId, path: &PlacePath) -> Result<Option<PlaceId>> {
    Ok(db
        .prepare_cached("SELECT id FROM places WHERE folder = ?1 AND path = ?2 ORDER BY id DESC LIMIT 1")?
        .query_row((folder.0, path.to_bytes()), |row| Ok(PlaceId(row.get(0)?)))
        .optional()?)
}

/// All places of a path, the newest first: a directory with lines may have been moved to where another was lost.
fn places_at(db: &Connection, folder: FolderId, path: &PlacePath) -> Result<Vec<PlaceId>> {
    let mut statement =
        db.prepare_cached("SELECT id FROM places WHERE folder = ?1 AND path = ?2 ORDER BY id DESC")?;
    let rows = statement.query_map((folder.0, path.to_bytes()), |row| Ok(PlaceId(row.get(0)?)))?;
    Ok(rows.collect::<std::result::Result<_, _>>()?)
}

fn find_line(
    db: &Connection, place: PlaceId, kind: LineKind, principal: Principal,
) -> Result<Option<(i64, LineLevel)>> {
    let (account, group) = columns(principal);
    let found = db
        .prepare_cached(
            "SELECT id, level FROM lines WHERE place = ?1 AND kind = ?2 AND account IS ?3 AND group_id IS ?4",
        )?
        .query_row((place.0, kind_word(kind), account, group), |row| {
            Ok((row.get(0)?, row.get::<_, String>(1)?))
        })
        .optional()?;
    found
        .map(|(id, level)| Ok((id, parse_level(&level)?)))
        .transpose()
}

fn columns(principal: Principal) -> (Option<i64>, Option<i64>) {
    match principal {
        Principal::Account(id) => (Some(id.0), None),
        Principal::Group(id) => (None, Some(id.0)),
    }
}

pub(super) fn principal(account: Option<i64>, group: Option<i64>) -> Result<Principal> {
    match (account, group) {
        (Some(id), _) => Ok(Principal::Account(crate::policy::AccountId(id))),
        (None, Some(id)) => Ok(Principal::Group(crate::policy::GroupId(id))),
        (None, None) => Err(StoreError::Invalid("a line names nobody".into())),
    }
}

fn kind_word(kind: LineKind) -> &'static str {
    match kind {
        LineKind::Grant => "grant",
        LineKind::Rule => "rule",
    }
}

pub(super) fn line_kind(word: &str) -> LineKind {
    if word == "grant" {
        LineKind::Grant
    } else {
        LineKind::Rule
    }
}

pub(super) fn parse_level(word: &str) -> Result<LineLevel> {
    word.parse()
        .map_err(|error: crate::policy::level::UnknownLevel| StoreError::Invalid(error.to_string()))
}

pub(super) fn parse_path(path: &[u8]) -> Result<PlacePath> {
    PlacePath::parse(path).map_err(|error| StoreError::Invalid(error.to_string()))
}

pub(super) fn parse_target(word: &str) -> Target {
    if word == "gone" {
        Target::Gone
    } else {
        Target::There
    }
}
