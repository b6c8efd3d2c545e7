//! The paths that nodes have in their folders: built where a line may be concerned, for lines stand at paths.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::filesystem::Seen;
use super::node::{Node, Position};
use super::view::FolderView;
use crate::backing::{self, Name};
use crate::policy::{FolderPolicy, PlacePath};

/// The path of a node in its folder, by where it was last found.
pub(super) fn path_of(folder: &FolderView, node: &Arc<Node>) -> Option<PlacePath> {
    path_in(&folder.policy, node)
}

/// Likewise, for who may not see the folder any more.
pub(super) fn path_in(folder: &FolderPolicy, node: &Arc<Node>) -> Option<PlacePath> {
    let mut names = Vec::new();
    let mut at = Arc::clone(node);
    let start = loop {
        match at.position() {
            Position::Root => break PlacePath::root(),
            Position::Granted(place) => break folder.places.get(place)?.path.clone(),
            Position::Under { parent, name } => {
                names.push(name);
                at = parent;
            }
        }
    };
    names
        .iter()
        .rev()
        .try_fold(start, |path, name| path.join(name.as_bytes()).ok())
}

impl Seen {
    /// The path in the folder, by where it was last found.
    pub(super) fn path(&self) -> Option<PlacePath> {
        path_of(&self.folder, &self.node)
    }
}

/// The path of a name in a directory.
pub(super) fn path_below(parent: &Seen, name: &Name) -> Option<PlacePath> {
    parent.path()?.join(name.as_bytes()).ok()
}

/// Where something open is below a root; `None` if it is elsewhere or nowhere.
pub(super) fn relative_path(root: BorrowedFd<'_>, fd: &OwnedFd) -> Option<PlacePath> {
    use std::os::unix::ffi::OsStrExt;
    let root = backing::path_of(root).ok()?;
    let path = backing::path_of(fd).ok()?;
    PlacePath::parse(path.strip_prefix(&root).ok()?.as_os_str().as_bytes()).ok()
}
