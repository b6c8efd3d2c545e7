//! What is remembered of the files that others change, so that most changes cost no look at the disk.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::backing::{self, Entry, FileHandle, FileSystemId};
use crate::policy::{FolderId, PlacePath, Snapshot};
use crate::vfs::backing::Backing;
use crate::vfs::paths::relative_path;

/// The inode numbers of so many handles are remembered, twice over.
const REMEMBERED: usize = 8192;

/// What is remembered from one batch to the next.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) numbers: Numbers,
    pub(super) lines: Lines,
}

/// Inode numbers by handle. A handle's number never changes, and none is given to another file; those of files that
/// are gone are remembered too.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    recent: HashMap<(FileSystemId, FileHandle), Option<u64>>,
    older: HashMap<(FileSystemId, FileHandle), Option<u64>>,
}

/// The names that lines of the folders stand at or below.
#[derive(Debug, Default)]
pub(super) struct Lines {
    snapshot: Arc<Snapshot>,
    names: HashMap<Box<[u8]>, HashSet<FolderId>>,
    folders: HashSet<FolderId>,
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
    /// Takes the lines of this snapshot.
    pub(super) fn follow(&mut self, snapshot: &Arc<Snapshot>) {
        if Arc::ptr_eq(&self.snapshot, snapshot) {
            return;
        }
        *self = Self {
            snapshot: Arc::clone(snapshot),
            ..Self::default()
        };
        for (folder, policy) in &snapshot.folders {
            for name in policy.places.iter().flat_map(|place| place.path.components()) {
                self.folders.insert(*folder);
                match self.names.get_mut(name) {
                    Some(folders) => folders.insert(*folder),
                    None => self.names.entry(name.into()).or_default().insert(*folder),
                };
            }
        }
    }

    /// Tells whether any stands in a folder below its root.
    pub(super) fn are_in(&self, folder: FolderId) -> bool {
        self.folders.contains(&folder)
    }

    /// The folders in which one stands at or below something of this name.
    pub(super) fn with_name(&self, name: &[u8]) -> Option<&HashSet<FolderId>> {
        self.names.get(name)
    }
}

/// The path of a name in a folder; `None` if it is not in this one.
pub(super) fn path_of(backing: &Backing, entry: &Entry) -> Option<PlacePath> {
    let anchor = backing.anchor().ok()?;
    let directory = backing::open_handle(anchor, &entry.directory, libc::O_PATH | libc::O_DIRECTORY).ok()?;
    relative_path(backing.root().ok()?, &directory)?
        .join(&entry.name)
        .ok()
}
