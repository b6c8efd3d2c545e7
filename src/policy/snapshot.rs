//! Everything that decides, at one moment: what the store builds and requests read.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::folder::FolderPolicy;
use super::ids::{AccountId, FolderId, GroupId, PlaceId};
use super::line::{LineKind, Principal};
use super::place::PlacePath;

/// What an account may be at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccountKind {
    /// Whatever it is granted.
    #[default]
    Member,
    /// One who looks: never more than view.
    Viewer,
}

/// A person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Its number.
    pub id: AccountId,
    /// The operating system's name for it.
    pub login: String,
    /// The operating system's number for it.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// What it may be at most.
    pub kind: AccountKind,
    /// The login name and the uid no longer belong together: nothing is allowed until root confirms.
    pub frozen: bool,
}

/// One name in the top directory of an account's mounts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopEntry {
    /// The name.
    pub name: Box<[u8]>,
    /// The folder that it leads to,
    pub folder: FolderId,
    /// or into: the place that was granted; the root's place may have no lines and so be unknown to the folder.
    pub place: PlaceId,
}

/// See the module's doc. Cloning is cheap: all large values are shared.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// The accounts.
    pub accounts: HashMap<AccountId, Arc<Account>>,
    /// The groups that an account is in.
    pub groups: HashMap<AccountId, Arc<[GroupId]>>,
    /// The folders.
    pub folders: HashMap<FolderId, Arc<FolderPolicy>>,
    /// The names in the top directory of an account's mounts.
    pub tops: HashMap<AccountId, Arc<[TopEntry]>>,
}

/// The paths of a folder that an account has, as one who was granted them: the root, or the outermost granted paths.
/// Its owner has the root.
pub fn top_places(snapshot: &Snapshot, account: AccountId, folder: &FolderPolicy) -> Vec<PlacePath> {
    if folder.owner == account {
        return vec![PlacePath::root()];
    }
    let groups = snapshot.groups.get(&account).cloned().unwrap_or_default();
    let principals =
        std::iter::once(Principal::Account(account)).chain(groups.iter().copied().map(Principal::Group));
    let mut granted: Vec<_> = folder
        .lines_of(principals)
        .filter(|line| line.kind == LineKind::Grant)
        .filter_map(|line| Some(folder.places.get(line.place)?.path.clone()))
        .collect();
    granted.sort_unstable();
    // Sorted so that what lies below a path follows it.
    let mut outermost: Vec<PlacePath> = Vec::new();
    for path in granted {
        if outermost.last().is_none_or(|above| !path.starts_with(above)) {
            outermost.push(path);
        }
    }
    outermost
}
