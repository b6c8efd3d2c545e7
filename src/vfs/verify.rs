//! Whether a node is still where it was found: what was moved, here or behind the daemon's back, is judged by its
//! new place, and what was replaced is not touched.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::error::{Error, Result};
use super::filesystem::{FileSystem, Seen};
use super::locate::still_leads_to;
use super::node::{Node, Position};
use super::object::{Object, Opened};
use super::paths::relative_path;
use super::view::{FolderView, View};
use crate::backing::{self, Name, Stat};

impl FileSystem {
    /// Checks that a node is still where it was found, with all that lies above it where that matters; a
    /// directory that was moved is found again.
    ///
    /// # Errors
    /// [`Error::Stale`].
    pub(super) fn verify(&self, view: &View, seen: Seen) -> Result<Seen> {
        Ok(self.verify_and_stat(view, seen)?.0)
    }

    /// Likewise, with the attributes of the inode, if those came along.
    ///
    /// # Errors
    /// [`Error::Stale`].
    pub(super) fn verify_and_stat(&self, view: &View, seen: Seen) -> Result<(Seen, Option<Stat>)> {
        let mut stat = None;
        if self.is_in_place(&seen, &mut stat)? || self.is_nameless(&seen) {
            Ok((seen, stat))
        } else {
            Ok((self.find_again(view, seen)?, None))
        }
    }

    fn is_in_place(&self, seen: &Seen, stat: &mut Option<Stat>) -> Result<bool> {
        let folder = &*seen.folder;
        let mut at = Arc::clone(&seen.node);
        let mut assumed = None;
        loop {
            match at.position() {
                Position::Root => return Ok(true),
                Position::Granted(place) => {
                    let place = folder.policy.places.get(place);
                    drop(assumed);
                    let _as = folder.backing.credentials().assume()?;
                    return Ok(place.is_some_and(|place| still_leads_to(folder, place, &at.object)));
                }
                Position::Under { parent, name } => {
                    let directory = if let Some(directory) = parent.held() {
                        directory
                    } else {
                        // Opened in the daemon's own name.
                        drop(assumed.take());
                        self.shared.descriptors.of(folder, &parent)?
                    };
                    if assumed.is_none() {
                        assumed = Some(folder.backing.credentials().assume()?);
                    }
                    let found = find(folder, &directory, &Name::from(&name), &at.object);
                    let there = found.is_some();
                    if Arc::ptr_eq(&at, &seen.node) {
                        *stat = found.flatten();
                    }
                    // Where one verdict holds everywhere in the folder, it does not matter what lies above.
                    if !there || folder.tree.uniform() {
                        return Ok(there);
                    }
                    at = parent;
                }
            }
        }
    }

    /// Tells whether a file has lost its last name while it is open: then it has no place to be verified at.
    fn is_nameless(&self, seen: &Seen) -> bool {
        seen.node.is_open()
            && !seen.node.is_directory()
            && self
                .fd(seen)
                .and_then(|fd| Ok(backing::stat(&fd)?))
                .is_ok_and(|stat| stat.nlink == 0)
    }

    /// Finds a directory again that was moved, with a process in it, and judges by its new place.
    fn find_again(&self, view: &View, seen: Seen) -> Result<Seen> {
        if !seen.node.is_directory() {
            return Err(Error::Stale);
        }
        let folder = Arc::clone(&seen.folder);
        let root = folder.backing.root()?;
        let path = relative_path(root, &*self.fd(&seen)?).ok_or(Error::Stale)?;
        let opened = Opened::of(backing::open_beneath(root, std::iter::empty())?)?;
        let (generation, id) = (view.generation, seen.node.folder);
        let cursor = folder.tree.root();
        // The way-points are nodes that the kernel is never told of.
        let mut node = Arc::new(Node::new(
            super::ids::Ino(0),
            id,
            opened,
            Position::Root,
            generation,
            cursor,
        ));
        for component in path.components() {
            let name = Name::new(component).map_err(|_| Error::Stale)?;
            let above = self.seen_node(view, Arc::clone(&node))?;
            let probe = self.probe(&above, &name)?;
            let opened = probe.there.ok_or(Error::Stale)?;
            let position = Position::Under {
                parent: node,
                name: (&name).into(),
            };
            if opened.object.is(&seen.node.object) {
                seen.node.found(position, generation, probe.cursor);
                // What lies below it was judged by its old place: all is asked anew.
                self.shared.renew(folder.policy.id);
                return Err(Error::PlacesMoved);
            }
            node = Arc::new(Node::new(
                super::ids::Ino(0),
                id,
                opened,
                position,
                generation,
                probe.cursor,
            ));
        }
        Err(Error::Stale)
    }
}

/// Looks whether a name in a directory leads to an inode; and its attributes, if they were needed for it.
fn find(folder: &FolderView, directory: &OwnedFd, name: &Name, object: &Object) -> Option<Option<Stat>> {
    let mount = folder.backing.root_stat().ok()?.mount;
    if let (None, Some(handle)) = (object.birth, object.handle()) {
        let there = backing::handle_at(directory, name).ok()?;
        return (there == (handle.clone(), mount)).then_some(None);
    }
    let stat = backing::stat_at(directory, name).ok()?;
    (object.has(&stat) && stat.mount == mount).then_some(Some(stat))
}
