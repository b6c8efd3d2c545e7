//! What is open though its subject may no longer do with it what it was opened for.
//!
//! The daemon refuses whatever of it reaches the daemon; what programs have mapped does not.

use std::collections::HashMap;

use super::filesystem::FileSystem;
use super::ids::Ino;
use super::locate::path_in;
use crate::policy::{FolderPolicy, PlacePath, Right};

/// A file that is open in a mount with more rights than its subject has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revoked {
    /// Where it is in its folder; `None` if that is not known any more.
    pub path: Option<PlacePath>,
    /// Whether it may be read: then only who can still write holds something that was taken back.
    pub readable: bool,
}

impl FileSystem {
    /// Tells whether any file of a folder is open.
    pub fn has_open(&self, folder: &FolderPolicy) -> bool {
        self.handles
            .open_nodes()
            .iter()
            .any(|node| node.folder == folder.id)
    }

    /// The files of a folder that are open with more rights than the subject has now, by the inode numbers that
    /// programs see. `folder` says where its places are, or were before the subject lost them.
    pub fn revoked(&self, folder: &FolderPolicy) -> HashMap<u64, Revoked> {
        let mut revoked = HashMap::new();
        for (node, writable) in self.handles.open_for() {
            if node.folder != folder.id {
                continue;
            }
            let rights = self.rights_now(&node);
            let readable = rights.contains(Right::Read);
            if readable && (!writable || rights.contains(Right::Write)) {
                continue;
            }
            let path = path_in(folder, &node);
            let Ino(number) = node.ino;
            revoked.insert(number, Revoked { path, readable });
        }
        revoked
    }
}
