//! What programs hold past the daemon though the subject may no longer have it.
//!
//! What a program has mapped of a file whose data bypasses the daemon is its own, also after it closed the file: the
//! kernel tells nobody when such a mapping ends. But it keeps the inode, and so the node, as long.

use std::sync::Arc;

use super::filesystem::FileSystem;
use super::ids::Ino;
use super::node::{Node, Position};
use super::paths::path_in;
use crate::policy::{FolderId, FolderPolicy, PlacePath, Right, Rights};

/// A file that was open past the daemon with more rights than the subject has now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revoked {
    /// Where it is in its folder; `None` if that is not known any more.
    pub path: Option<PlacePath>,
    /// Whether it may be read: then only who can still write holds something that was taken back.
    pub readable: bool,
}

impl FileSystem {
    /// Tells whether a file of a folder is open past the daemon.
    pub fn is_open_past_daemon(&self, folder: FolderId) -> bool {
        let open = self.handles.open_past_daemon();
        open.iter().any(|(node, _)| node.folder == folder)
    }

    /// Tells whether a file of a folder that was cut is still open: who has it open can map it.
    pub fn is_cut_and_open(&self, folder: FolderId) -> bool {
        self.handles.any_cut(|node| node.folder == folder)
    }

    /// Tells whether programs may hold something of a folder that was taken back from the subject.
    pub fn may_be_held(&self, folder: &FolderPolicy) -> bool {
        let bypassed = |node: &Node| node.folder == folder.id && node.has_bypassed(false);
        let mut nodes = self.nodes.filter(bypassed).into_iter();
        nodes.any(|node| self.is_readable_if_revoked(&node).is_some())
    }

    /// What was taken back of the file with this inode number, as programs see it; `None` if nothing was. `folder`
    /// says where its places are, or were before the subject lost them.
    pub fn revoked(&self, folder: &FolderPolicy, inode: u64) -> Option<Revoked> {
        let node = self.nodes.find(Ino(inode))?;
        if node.folder != folder.id || !node.has_bypassed(false) {
            return None;
        }
        let readable = self.is_readable_if_revoked(&node)?;
        let path = path_in(folder, &node);
        Some(Revoked { path, readable })
    }

    fn is_readable_if_revoked(&self, node: &Arc<Node>) -> Option<bool> {
        let writable = node.has_bypassed(true);
        let rights = self.rights_to_have_open(node, writable);
        (!are_enough(rights, writable)).then_some(rights.contains(Right::Read))
    }

    /// Tells whether the subject may have a file open past the daemon: to read, for who has it reads it, and
    /// perhaps to write.
    pub(super) fn covers(&self, node: &Arc<Node>, writable: bool) -> bool {
        are_enough(self.rights_to_have_open(node, writable), writable)
    }

    /// What the subject may do with a node. Where that seems too little, it is made sure that the node is judged by
    /// where it is now: what is taken here does not come back.
    fn rights_to_have_open(&self, node: &Arc<Node>, writable: bool) -> Rights {
        let rights = self.rights_now(node);
        if are_enough(rights, writable) {
            return rights;
        }
        self.with_view(|view| {
            if let Position::Under { parent, .. } = node.position() {
                self.verify(view, self.seen_node(view, parent)?)?;
            }
            self.seen_node(view, Arc::clone(node))
        })
        .map(|seen| seen.verdict.rights)
        .unwrap_or_default()
    }
}

fn are_enough(rights: Rights, writable: bool) -> bool {
    rights.contains(Right::Read) && (!writable || rights.contains(Right::Write))
}
