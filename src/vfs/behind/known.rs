//! What is remembered of the files that others change, so that most changes cost no look at the disk.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::backing::{self, Entry, FileHandle, FileSystemId};
use crate::policy::{FolderId, FolderPolicy, PlacePath};
use crate::vfs::backing::Backing;
use crate::vfs::paths::relative_path;

/// The inode numbers of so many handles are remembered, twice over.
const REMEMBERED: usize = 8192;

/// What is remembered from one batch to the next.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) numbers: Numbers,
    pub(super) lines: HashMap<FolderId, Lines>,
}

/// Inode numbers by handle. A handle's number never changes, and none is given to another file; those of files that
/// are gone are remembered too.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    recent: HashMap<(FileSystemId, FileHandle), Option<u64>>,
    older: HashMap<(FileSystemId, FileHandle), Option<u64>>,
}

/// Every name that some line of a folder stands at or below.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) policy: Arc<FolderPolicy>,
    pub(super) names: HashSet<Box<[u8]>>,
}

impl Numbers {
    /// The inode number of a handle; `None` if the file is gone or is on none of the folders' file systems.
    pub(super) fn of(
        &mut self, file_system: FileSystemId, handle: &FileHandle, folders: &[(FolderId, &Backing)],
    ) -> Option<u64> {
        let anchor = folders.iter().find_map(|(_, backing)| backing.anchor().ok())?;
        let key = (file_system, handle.clone());
        if let Some(number) = self.recent.get(&key) {
            return *number;
        }
        let number = match self.older.get(&key) {
            Some(number) => *number,
            None => match backing::open_handle(anchor, handle, libc::O_PATH) {
                Ok(fd) => Some(backing::stat(fd).ok()?.ino),
                Err(error) if error.raw_os_error() == Some(libc::ESTALE) => None,
                Err(error) => {
                    tracing::debug!(%error, "a file that was changed cannot be looked at");
                    return None;
                }
            },
        };
        if self.recent.len() >= REMEMBERED {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(key, number);
        number
    }
}

impl Lines {
    pub(super) fn of(policy: &Arc<FolderPolicy>) -> Self {
        let places = policy.places.iter();
        Self {
            policy: Arc::clone(policy),
            names: places
                .flat_map(|place| place.path.components().map(Box::from).collect::<Vec<_>>())
                .collect(),
        }
    }

    /// Tells whether some line stands at or below a name: what is there now decides whether the way to it shows.
    pub(super) fn reach(&self, backing: &Backing, entry: &Entry) -> bool {
        self.names.contains(&entry.name)
            && path_of(backing, entry)
                .is_some_and(|path| self.policy.places.at_or_below(&path).next().is_some())
    }
}

/// The path in the folder; `None` if it is not in this one.
fn path_of(backing: &Backing, entry: &Entry) -> Option<PlacePath> {
    let anchor = backing.anchor().ok()?;
    let directory = backing::open_handle(anchor, &entry.directory, libc::O_PATH | libc::O_DIRECTORY).ok()?;
    relative_path(backing.root().ok()?, &directory)?
        .join(&entry.name)
        .ok()
}
