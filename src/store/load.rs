//! Builds the policy that requests read.

use std::collections::HashMap;
use std::sync::Arc;

use super::lines::{line_kind, parse_level, parse_path, parse_target, principal};
use super::{Result, Store, TopRow};
use crate::policy::{
    Account, AccountId, FolderId, FolderPolicy, GroupId, Line, LineId, Place, PlaceId, PlaceKind, Places,
    Principal, Snapshot, TopEntry, top_places,
};

impl Store {
    /// Everything but the names of top directories, which are given when they are asked for.
    ///
    /// # Errors
    /// The database's.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        self.load_people(&mut snapshot)?;
        for folder in self.folders()? {
            self.load_folder(&mut snapshot, folder.id)?;
        }
        Ok(snapshot)
    }

    /// Brings accounts and groups in a snapshot up to date.
    ///
    /// # Errors
    /// The database's.
    pub fn load_people(&self, snapshot: &mut Snapshot) -> Result<()> {
        snapshot.accounts.clear();
        for row in self.accounts()? {
            let (id, login) = (row.id, row.login);
            let account = Account {
                id,
                login,
                uid: row.uid,
                gid: row.gid,
                kind: row.kind,
                frozen: row.frozen,
            };
            snapshot.accounts.insert(id, Arc::new(account));
        }
        let mut groups: HashMap<AccountId, Vec<GroupId>> = HashMap::new();
        let mut statement = self
            .db
            .prepare_cached("SELECT account, group_id FROM members ORDER BY 1, 2")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            groups
                .entry(AccountId(row.get(0)?))
                .or_default()
                .push(GroupId(row.get(1)?));
        }
        snapshot.groups = groups
            .into_iter()
            .map(|(account, groups)| (account, groups.into()))
            .collect();
        Ok(())
    }

    /// Brings one folder in a snapshot up to date; takes it out if it is no more.
    ///
    /// # Errors
    /// The database's.
    pub fn load_folder(&self, snapshot: &mut Snapshot, id: FolderId) -> Result<()> {
        match self.folder(id)? {
            None => snapshot.folders.remove(&id),
            Some(folder) => {
                let policy = FolderPolicy {
                    id,
                    owner: folder.owner,
                    name: folder.name,
                    inheritance: folder.inheritance,
                    strict: folder.strict,
                    protection: folder.protection,
                    places: self.load_places(id)?,
                    lines: self.load_lines(id)?,
                };
                snapshot.folders.insert(id, Arc::new(policy))
            }
        };
        Ok(())
    }

    /// Gives the entries of an account's top directory their names.
    ///
    /// # Errors
    /// The database's.
    pub fn load_tops(&mut self, snapshot: &Snapshot, account: AccountId) -> Result<Arc<[TopEntry]>> {
        let mut wanted = Vec::new();
        let mut folders: Vec<_> = snapshot.folders.values().collect();
        folders.sort_unstable_by_key(|folder| folder.id);
        for folder in folders {
            if folder.owner != account && self.is_hidden(account, folder.id)? {
                continue;
            }
            for path in top_places(snapshot, account, folder) {
                let Some(place) = folder.places.find(&path) else {
                    continue;
                };
                let owner = snapshot
                    .accounts
                    .get(&folder.owner)
                    .map_or("", |owner| &owner.login);
                let name = path.file_name().unwrap_or(folder.name.as_bytes()).to_vec();
                wanted.push(TopRow {
                    folder: folder.id,
                    place: place.id,
                    name,
                    owner: owner.into(),
                });
            }
        }
        Ok(self.name_tops(account, &wanted)?.into())
    }

    fn load_places(&self, folder: FolderId) -> Result<Places> {
        // One row for each inode of a place, or one without.
        let mut statement = self.db.prepare_cached(
            "SELECT places.id, path, kind, target, inodes.handle FROM places
             LEFT JOIN inodes ON inodes.place = places.id
             WHERE folder = ?1 ORDER BY path, places.id, seen",
        )?;
        let mut rows = statement.query([folder.0])?;
        let mut places: Vec<Place> = Vec::new();
        while let Some(row) = rows.next()? {
            let id = PlaceId(row.get(0)?);
            if places.last().is_none_or(|place| place.id != id) {
                let kind = if row.get_ref(2)?.as_str() == Ok("file") {
                    PlaceKind::File
                } else {
                    PlaceKind::Directory
                };
                places.push(Place {
                    id,
                    path: parse_path(row.get_ref(1)?.as_blob().unwrap_or_default())?,
                    kind,
                    target: parse_target(row.get_ref(3)?.as_str().unwrap_or_default()),
                    inodes: Vec::new(),
                });
            }
            let inode = row.get_ref(4)?.as_blob_or_null().unwrap_or_default();
            if let (Some(place), Some(handle)) = (places.last_mut(), inode) {
                place.inodes.push(handle.into());
            }
        }
        Ok(places.into_iter().collect())
    }

    fn load_lines(&self, folder: FolderId) -> Result<HashMap<Principal, Arc<[Line]>>> {
        let mut lines: HashMap<Principal, Vec<Line>> = HashMap::new();
        let mut statement = self.db.prepare_cached(
            "SELECT id, kind, account, group_id, level, place FROM lines WHERE folder = ?1 ORDER BY id",
        )?;
        let mut rows = statement.query([folder.0])?;
        while let Some(row) = rows.next()? {
            let principal = principal(row.get(2)?, row.get(3)?)?;
            lines.entry(principal).or_default().push(Line {
                id: LineId(row.get(0)?),
                kind: line_kind(row.get_ref(1)?.as_str().unwrap_or_default()),
                principal,
                level: parse_level(row.get_ref(4)?.as_str().unwrap_or_default())?,
                place: PlaceId(row.get(5)?),
            });
        }
        Ok(lines
            .into_iter()
            .map(|(principal, lines)| (principal, lines.into()))
            .collect())
    }

    /// Remembers that a mount is up: the kernel's number for it, and where.
    ///
    /// # Errors
    /// The database's.
    pub fn record_mount(&mut self, id: u64, at: &[u8], account: AccountId) -> Result<()> {
        self.db
            .prepare_cached("INSERT OR REPLACE INTO mounts (id, at, account) VALUES (?1, ?2, ?3)")?
            .execute((id as i64, at, account.0))?;
        Ok(())
    }

    /// Forgets a mount.
    ///
    /// # Errors
    /// The database's.
    pub fn forget_mount(&mut self, id: u64) -> Result<()> {
        self.db.execute("DELETE FROM mounts WHERE id = ?1", [id as i64])?;
        Ok(())
    }

    /// The mounts that were up when the last daemon ended without taking them down.
    ///
    /// # Errors
    /// The database's.
    pub fn recorded_mounts(&self) -> Result<Vec<(u64, Vec<u8>)>> {
        let mut statement = self.db.prepare_cached("SELECT id, at FROM mounts")?;
        let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?)))?;
        Ok(rows.collect::<std::result::Result<_, _>>()?)
    }
}
