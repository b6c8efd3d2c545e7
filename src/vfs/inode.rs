//! Which inode is behind a name or a node: by its attributes where they suffice, and by its file handle where a line
//! may be concerned.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::error::{Error, Result};
use super::filesystem::{FileSystem, Seen};
use super::node::Node;
use super::object::{Object, Opened};
use super::view::FolderView;
use crate::backing::{self, FileHandle, Name, Stat};
use crate::policy::{Cursor, Refusal};

impl FileSystem {
    /// The attributes of a node's inode. To be asked for before credentials are assumed.
    ///
    /// # Errors
    /// [`Error::Stale`] if the inode is no more.
    pub(super) fn stat(&self, seen: &Seen) -> Result<Stat> {
        self.shared.descriptors.stat(&seen.folder, &seen.node)
    }

    /// The file handle of the inode that a name in a directory leads to, where there are such. To be asked for before
    /// credentials are assumed.
    ///
    /// # Errors
    /// [`Error::Stale`] if the name leads to another inode.
    pub(super) fn handle_at<'a>(
        &self, parent: &Seen, name: &Name, object: &'a Object,
    ) -> Result<Option<&'a FileHandle>> {
        if object.handle().is_none() && parent.folder.backing.has_handles() {
            let there = Opened::of(backing::open_path(self.fd(parent)?, name)?)?;
            if !there.object.is(object) {
                return Err(Error::Stale);
            }
            if let Some(handle) = there.object.handle() {
                object.learn(handle.clone());
            }
        }
        Ok(object.handle())
    }

    /// Asks for the file handle of a node's inode, where there are such.
    pub(super) fn learn_handle(&self, folder: &FolderView, node: &Arc<Node>) -> Result<()> {
        if node.object.handle().is_none()
            && folder.backing.has_handles()
            && let Some(handle) = backing::handle(self.shared.descriptors.of(folder, node)?)?
        {
            node.learn(handle);
        }
        Ok(())
    }
}

/// Tells whether lines may be concerned with an inode, by the name that leads to it or by its number.
pub(super) fn needs_handle(folder: &FolderView, by_name: Cursor, number: u64) -> bool {
    let places = &folder.policy.places;
    folder.tree.place(by_name).is_some()
        || if folder.backing.has_numbered_handles() {
            places.may_know(number)
        } else {
            !places.is_plain()
        }
}

/// What a name leads to. Its attributes suffice where they tell it from all other inodes and no line is concerned.
pub(super) fn find_object(
    folder: &FolderView, directory: &OwnedFd, name: &Name, by_name: Cursor,
) -> Result<Opened> {
    let backing = &folder.backing;
    if backing.has_handles() && !folder.tree.verdict(by_name).corridor && folder.tree.place(by_name).is_none()
    {
        let found = Opened::by_stat(backing::stat_at(directory, name)?);
        if found.object.birth.is_some() && !needs_handle(folder, by_name, found.object.number) {
            return inside(folder, found);
        }
    }
    open_object(folder, directory, name)
}

fn open_object(folder: &FolderView, directory: &OwnedFd, name: &Name) -> Result<Opened> {
    inside(folder, Opened::of(backing::open_path(directory, name)?)?)
}

/// What is mounted below is not entered, be it another file system or another part of the same.
fn inside(folder: &FolderView, opened: Opened) -> Result<Opened> {
    let root = folder.backing.root_stat()?;
    if (opened.stat.dev, opened.stat.mount) != (root.dev, root.mount) {
        return Err(Refusal::Access.into());
    }
    Ok(opened)
}
