//! Where the targets of a folder's lines are by now: for who compares the store with the disk. Requests find out by
//! themselves what they come across (see [`super::locate`]); this looks at all of them.

use std::os::fd::AsFd;

use super::backing::Backing;
use super::error::{Error, Result};
use super::paths::relative_path;
use super::shared::Shared;
use crate::backing::{self, FileHandle, FileKind};
use crate::policy::{FolderId, Place, PlaceChange, PlaceId, PlaceKind, PlacePath, Target};

/// A place whose target is not where it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stray {
    /// The place.
    pub place: PlaceId,
    /// Its path.
    pub path: PlacePath,
    /// What became of it.
    pub fate: Fate,
}

/// What became of what lines were made for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// The directory has another name.
    Moved(PlacePath),
    /// It is nowhere in the folder.
    Gone,
    /// Something else bears the name now.
    Replaced,
    /// The disk does not say.
    Unknown(String),
}

impl Shared {
    /// The strays among the places of a folder, at most so many looked at.
    pub fn strays(&self, folder: FolderId, most: usize) -> Vec<Stray> {
        let published = self.published();
        let (Some(policy), Some(backing)) = (
            published.snapshot.folders.get(&folder),
            published.backings.get(&folder),
        ) else {
            return Vec::new();
        };
        let places = policy.places.iter().filter(|place| !place.path.is_root());
        let strays = places.take(most).filter_map(|place| {
            let fate = match fate_of(backing, place) {
                Ok(fate) => fate?,
                Err(error) => Fate::Unknown(error.to_string()),
            };
            Some(Stray {
                place: place.id,
                path: place.path.clone(),
                fate,
            })
        });
        strays.collect()
    }

    /// Lets lines follow their directories as far as they were found, as the next request would that comes across
    /// them. Raises nothing: what is back stays as it is until it is seen under its name.
    pub fn follow(&self, folder: FolderId, strays: &[Stray]) {
        let changes = strays.iter().filter_map(|stray| {
            let change = match &stray.fate {
                Fate::Moved(path) => PlaceChange::Moved(path.clone()),
                Fate::Gone => PlaceChange::Gone,
                Fate::Replaced | Fate::Unknown(_) => return None,
            };
            Some((stray.place, change))
        });
        self.change_places(folder, &changes.collect::<Vec<_>>());
    }

    /// Lets everything in a folder be looked up anew, in all mounts: the daemon itself changed files in it past them.
    pub fn changed_natively_in(&self, folder: FolderId) {
        self.renew(folder);
    }
}

/// `None` if it is where it was.
fn fate_of(backing: &Backing, place: &Place) -> Result<Option<Fate>> {
    let root = backing.root()?;
    let there = match backing::open_beneath(root, place.path.components()) {
        Ok(there) => Some(there),
        Err(error) if is_missing(&error) => None,
        Err(error) => return Err(error.into()),
    };
    let is_directory = match &there {
        Some(there) => Some(backing::stat(there)?.kind == FileKind::Directory),
        None => None,
    };
    if place.kind == PlaceKind::File {
        return Ok(match is_directory {
            Some(false) => None,
            Some(true) => Some(Fate::Replaced),
            None => Some(Fate::Gone),
        });
    }
    let known = place.inodes.last();
    let Some(handle) = known.and_then(|inode| FileHandle::from_bytes(inode.as_bytes())) else {
        // Without handles the name has to do.
        return Ok(match is_directory {
            Some(true) => (place.target == Target::Gone).then_some(Fate::Gone),
            Some(false) => Some(Fate::Replaced),
            None => Some(Fate::Gone),
        });
    };
    if let Some(there) = &there
        && backing::handle(there.as_fd())?.is_some_and(|found| found == handle)
    {
        return Ok(None);
    }
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    match backing::open_handle(backing.anchor()?, &handle, flags) {
        Ok(directory) => {
            if let Some(now) = relative_path(root, &directory) {
                return Ok(Some(Fate::Moved(now)));
            }
        }
        Err(error) if error.raw_os_error() == Some(libc::ESTALE) => {}
        Err(error) => return Err(Error::from(error)),
    }
    Ok(Some(if there.is_some() {
        Fate::Replaced
    } else {
        Fate::Gone
    }))
}

fn is_missing(error: &std::io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::EXDEV)
    )
}
