//! What is open in one mount and moved by another: that one need not know the way to where it is now, so what holds
//! there caps what is open, until it is found again.

use super::filesystem::{FileSystem, Seen};
use super::paths::{path_below, path_in};
use crate::backing::{FileKind, Name};
use crate::policy::{FolderPolicy, PlacePath};

impl FileSystem {
    /// Lets what was open of something that was renamed be judged by its new place, in all mounts. Costs nothing where
    /// the lines that hold are the same in both places.
    pub(super) fn displace(&self, from: (&Seen, &Name), to: (&Seen, &Name), kind: Option<FileKind>) {
        let policy = &from.0.folder.policy;
        if policy.places.is_plain() {
            return;
        }
        let (Some(old), Some(new)) = (path_below(from.0, from.1), path_below(to.0, to.1)) else {
            return;
        };
        // Below a directory others may hold, which it took along.
        if kind != Some(FileKind::Directory) && policy.places.zone(&old) == policy.places.zone(&new) {
            return;
        }
        // This one has followed.
        let mut open = self.has_open_below(policy, &new);
        for mount in self.shared.mounts().filter(|mount| mount.id != self.id) {
            open |= mount.displace_open(policy, &old, &new);
        }
        if open {
            // What is open past the daemon is cut by that.
            self.shared.renew(policy.id);
        }
    }

    fn has_open_below(&self, policy: &FolderPolicy, path: &PlacePath) -> bool {
        let open = self.handles.open_nodes();
        let mut here = open.iter().filter(|node| node.folder == policy.id);
        here.any(|node| path_in(policy, node).is_none_or(|at| at.starts_with(path)))
    }

    /// Tells whether anything was open.
    fn displace_open(&self, policy: &FolderPolicy, old: &PlacePath, new: &PlacePath) -> bool {
        let view = self.view();
        let Some(folder) = view.folder(policy.id) else {
            return false;
        };
        let mut any = false;
        for node in self.handles.open_nodes() {
            let path = (node.folder == policy.id)
                .then(|| path_in(policy, &node))
                .flatten();
            let Some(rest) = path.and_then(|path| path.strip_prefix(old)) else {
                continue;
            };
            let now = new.join_path(&rest);
            let step = |cursor, name: &[u8]| folder.tree.step(cursor, name);
            let cursor = now.components().fold(folder.tree.root(), step);
            node.displace(folder.tree.verdict(cursor).standing);
            any = true;
        }
        any
    }
}
