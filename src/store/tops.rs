//! The names in the top directories of mounts: unique for an account, and stable. Who comes later gives way.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension};

use super::{Result, Store};
use crate::policy::{AccountId, FolderId, PlaceId, TopEntry};

/// A name that an account is to have in its top directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopRow {
    /// The folder.
    pub folder: FolderId,
    /// The place in it.
    pub place: PlaceId,
    /// The name it would have alone.
    pub name: Vec<u8>,
    /// The login name of the folder's owner, which tells it from another of that name.
    pub owner: String,
}

impl Store {
    /// Gives each of these a name, in this order, and takes the names of all others away.
    ///
    /// # Errors
    /// The database's.
    pub fn name_tops(&mut self, account: AccountId, wanted: &[TopRow]) -> Result<Vec<TopEntry>> {
        let known = names(&self.db, account)?;
        let has_name: HashSet<_> = known.iter().map(|entry| entry.place).collect();
        if known.len() == wanted.len() && wanted.iter().all(|row| has_name.contains(&row.place)) {
            return Ok(known);
        }
        let is_wanted: HashSet<_> = wanted.iter().map(|row| row.place).collect();
        let transaction = self.db.transaction()?;
        for entry in known.iter().filter(|entry| !is_wanted.contains(&entry.place)) {
            transaction.execute(
                "DELETE FROM tops WHERE account = ?1 AND place = ?2",
                (account.0, entry.place.0),
            )?;
        }
        for row in wanted.iter().filter(|row| !has_name.contains(&row.place)) {
            let name = free_name(&transaction, account, row)?;
            take_name(&transaction, account, row.folder, row.place, &name, false)?;
        }
        transaction.commit()?;
        names(&self.db, account)
    }

    /// The place that an account has under a name.
    ///
    /// # Errors
    /// The database's.
    pub fn top_named(&self, account: AccountId, name: &[u8]) -> Result<Option<TopEntry>> {
        Ok(names(&self.db, account)?
            .into_iter()
            .find(|entry| &*entry.name == name))
    }

    /// The place at the root of a folder.
    ///
    /// # Errors
    /// The database's.
    pub fn root_place(&self, folder: FolderId) -> Result<Option<PlaceId>> {
        super::lines::find_place(&self.db, folder, &crate::policy::PlacePath::root())
    }
}

pub(super) fn place_named(db: &Connection, account: AccountId, name: &[u8]) -> Result<Option<PlaceId>> {
    Ok(db
        .prepare_cached("SELECT place FROM tops WHERE account = ?1 AND name = ?2")?
        .query_row((account.0, name), |row| Ok(PlaceId(row.get(0)?)))
        .optional()?)
}

pub(super) fn take_name(
    db: &Connection, account: AccountId, folder: FolderId, place: PlaceId, name: &[u8], chosen: bool,
) -> Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO tops (account, place, folder, name, chosen) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute((account.0, place.0, folder.0, name, chosen))?;
    Ok(())
}

/// `NAME`, else `NAME (OWNER)`, else `NAME (OWNER) 2` and so on, cut to what a name may be.
fn free_name(db: &Connection, account: AccountId, row: &TopRow) -> Result<Vec<u8>> {
    let numbered = (2_u32..).map(|number| format!(" ({}) {number}", row.owner));
    for suffix in [String::new(), format!(" ({})", row.owner)]
        .into_iter()
        .chain(numbered)
    {
        let room = 255_usize.saturating_sub(suffix.len());
        let mut name = row.name[..row.name.len().min(room)].to_vec();
        name.extend_from_slice(suffix.as_bytes());
        if place_named(db, account, &name)?.is_none() {
            return Ok(name);
        }
    }
    Ok(row.name.clone())
}

fn names(db: &Connection, account: AccountId) -> Result<Vec<TopEntry>> {
    let mut statement =
        db.prepare_cached("SELECT name, folder, place FROM tops WHERE account = ?1 ORDER BY name")?;
    let rows = statement.query_map([account.0], |row| {
        Ok(TopEntry {
            name: row.get::<_, Vec<u8>>(0)?.into(),
            folder: FolderId(row.get(1)?),
            place: PlaceId(row.get(2)?),
        })
    })?;
    Ok(rows.collect::<std::result::Result<_, _>>()?)
}
