//! Where a name leads and which rules hold there: the step from (directory, name) to an inode and its cursor.
//!
//! Lines follow what they were made for. A line on a directory is tied to the directory's file handle: found under
//! another name, the directory takes its lines along ([`Error::PlacesMoved`], the request starts anew on the
//! changed policy), and another directory under its name inherits only what lowers. A line on a file is tied to
//! the name: what takes the name inherits the line, and an inode that left the name stays lowered by it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::error::{Error, Result};
use super::filesystem::{FileSystem, Seen};
use super::inode::{find_object, needs_handle};
use super::node::{Node, Position};
use super::nodes::Found;
use super::object::{Object, Opened};
use super::paths::{path_below, path_of, relative_path};
use super::view::{FolderView, View};
use crate::backing::{self, Credentials, FileHandle, FileKind, Name};
use crate::policy::{
    Cursor, Level, Place, PlaceChange, PlaceId, PlaceKind, PlacePath, Refusal, Standing, Target, Verdict,
};

/// What a name in a directory leads to.
pub(super) struct Probe {
    /// The inode, if there is one.
    pub there: Option<Opened>,
    /// What holds for it, or would hold for what is made there.
    pub cursor: Cursor,
    /// The same as a verdict.
    pub verdict: Verdict,
}

impl Probe {
    /// What holds for a name that no line has to do with, if that is so, and if nothing is there.
    pub(super) fn without_lines(parent: &Seen, name: &Name) -> Option<Self> {
        let tree = &parent.folder.tree;
        let cursor = tree.step(parent.cursor, name.as_bytes());
        (!tree.has_lines(cursor)).then(|| Self {
            there: None,
            cursor,
            verdict: tree.verdict(cursor),
        })
    }

    /// The kind of what is there.
    pub(super) fn kind(&self) -> Option<FileKind> {
        self.there.as_ref().map(|opened| opened.object.kind)
    }
}

impl FileSystem {
    /// Finds what a name in a directory leads to, and what holds there.
    ///
    /// # Errors
    /// [`Error::PlacesMoved`]; the backing's own failures but ENOENT, which is an empty probe.
    pub(super) fn probe(&self, parent: &Seen, name: &Name) -> Result<Probe> {
        self.probe_as(parent, name, &parent.folder.backing.credentials())
    }

    /// Like [`FileSystem::probe`], in a directory that may be searched with the credentials of the backing.
    pub(super) fn probe_searchable(&self, parent: &Seen, name: &Name) -> Result<Probe> {
        self.probe_as(parent, name, &Credentials::Daemon)
    }

    fn probe_as(&self, parent: &Seen, name: &Name, credentials: &Credentials) -> Result<Probe> {
        let folder = &*parent.folder;
        let by_name = folder.tree.step(parent.cursor, name.as_bytes());
        let directory = self.fd(parent)?;
        let opened = {
            let _as = credentials.assume()?;
            find_object(folder, &directory, name, by_name)
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(Error::Backing(error)) if error.raw_os_error() == Some(libc::ENOENT) => {
                if parent.node.is_root() && backing::stat(&directory)?.nlink == 0 {
                    return Err(self.lost(folder));
                }
                self.look_for_moved(parent, by_name, name)?;
                return Ok(Probe {
                    there: None,
                    cursor: by_name,
                    verdict: verdict_of(folder, by_name, None),
                });
            }
            Err(error) => return Err(error),
        };
        let cursor = self.identify(folder, parent.cursor, by_name, &opened.object, || {
            path_below(parent, name)
        })?;
        Ok(Probe {
            verdict: verdict_of(folder, cursor, opened.fd.as_deref()),
            there: Some(opened),
            cursor,
        })
    }

    /// Like [`FileSystem::probe`], of what was made just now and is open.
    pub(super) fn probe_made(&self, parent: &Seen, name: &Name, made: &OwnedFd) -> Result<Probe> {
        let folder = &*parent.folder;
        let by_name = folder.tree.step(parent.cursor, name.as_bytes());
        let stat = backing::stat(made)?;
        let object = Object::of(&stat);
        if (stat.birth.is_none() || needs_handle(folder, by_name, stat.ino))
            && let Some(handle) = backing::handle(made)?
        {
            object.learn(handle);
        }
        let cursor = self.identify(folder, parent.cursor, by_name, &object, || {
            path_below(parent, name)
        })?;
        Ok(Probe {
            verdict: verdict_of(folder, cursor, None),
            there: Some(Opened {
                fd: None,
                object,
                stat,
            }),
            cursor,
        })
    }

    /// Makes a node of what was probed and found, and tells the kernel of it.
    pub(super) fn keep(
        &self, view: &View, parent: &Seen, name: &Name, opened: Opened, cursor: Cursor,
    ) -> Arc<Node> {
        let position = Position::Under {
            parent: Arc::clone(&parent.node),
            name: name.into(),
        };
        self.keep_at(view, &parent.folder, opened, position, cursor)
    }

    /// Like [`FileSystem::keep`], at any position.
    pub(super) fn keep_at(
        &self, view: &View, folder: &FolderView, opened: Opened, position: Position, cursor: Cursor,
    ) -> Arc<Node> {
        let fd = opened.fd.clone();
        let found = Found {
            folder: folder.policy.id,
            opened,
            position,
            generation: view.generation,
            cursor,
        };
        let node = self
            .nodes
            .keep(found, |node| self.cursor(view, folder, node).ok());
        if let Some(fd) = fd {
            self.shared.descriptors.keep(&node, fd);
        }
        node
    }

    /// The cursor of a node in this view, from where it was last found.
    pub(super) fn cursor(&self, view: &View, folder: &FolderView, node: &Arc<Node>) -> Result<Cursor> {
        // The way up to the first node whose cursor is known, and down again; paths can be deep, so no recursion.
        let mut way = Vec::new();
        let mut at = Arc::clone(node);
        let mut cursor = loop {
            if let Some(cursor) = at.cursor(view.generation) {
                break cursor;
            }
            match at.position() {
                Position::Under { parent, name } => {
                    way.push((at, name));
                    at = parent;
                }
                Position::Root => {
                    let cursor = folder.tree.root();
                    at.stands(view.generation, cursor);
                    break cursor;
                }
                Position::Granted(place) => {
                    let cursor = self.granted(folder, place, &at.object)?;
                    at.stands(view.generation, cursor);
                    break cursor;
                }
            }
        };
        while let Some((at, name)) = way.pop() {
            let by_name = folder.tree.step(cursor, name.as_bytes());
            if needs_handle(folder, by_name, at.object.number) {
                self.learn_handle(folder, &at)?;
            }
            cursor = self.identify(folder, cursor, by_name, &at.object, || path_of(folder, &at))?;
            at.stands(view.generation, cursor);
        }
        Ok(cursor)
    }

    /// The cursor of an inode that the top directory shows for a granted path.
    pub(super) fn granted(&self, folder: &FolderView, place: PlaceId, object: &Object) -> Result<Cursor> {
        let cursor = folder.cursor_at_top(place).ok_or(Refusal::NotFound)?;
        let Some(target) = folder.policy.places.get(place) else {
            return Ok(cursor);
        };
        if stands_for(target, object) {
            return Ok(cursor);
        }
        // What lies above a granted path gives nothing here: with its grant taken away nothing is left.
        Ok(folder.tree.capped(cursor, Standing::Level(Level::Invisible)))
    }

    /// Corrects the cursor that a name leads to by what the inode there is. Its handle is known if
    /// [`needs_handle`] says so.
    fn identify(
        &self, folder: &FolderView, parent: Cursor, by_name: Cursor, object: &Object,
        path: impl Fn() -> Option<PlacePath>,
    ) -> Result<Cursor> {
        let places = &folder.policy.places;
        let mut cursor = by_name;
        let here = folder.tree.place(by_name);
        if let Some((id, place)) = here.and_then(|id| Some((id, places.get(id)?))) {
            if !stands_for(place, object) {
                cursor = folder.tree.mismatched(by_name, parent);
            } else if let Some(handle) = object.handle() {
                self.observe(object, id, place, handle.as_bytes(), folder);
            }
        }
        let Some(handle) = object.handle() else {
            return Ok(cursor);
        };
        for id in places.by_inode(handle.as_bytes()) {
            let Some(place) = places.get(id).filter(|_| here != Some(id)) else {
                continue;
            };
            let Some(path) = path().filter(|path| *path != place.path) else {
                continue;
            };
            match place.kind {
                PlaceKind::Directory if object.kind == FileKind::Directory => {
                    if leads_to(folder, &path, object) {
                        return Err(self.moved(folder, &place.path, &path));
                    }
                    // The node is not where it was found any more; the lines went with it.
                    if let Some(at) = folder.tree.at(id) {
                        cursor = folder.tree.capped(cursor, folder.tree.verdict(at).standing);
                    }
                }
                PlaceKind::Directory => {}
                PlaceKind::File => {
                    if let Some(at) = folder
                        .tree
                        .at(id)
                        .filter(|_| !still_leads_to(folder, place, object))
                    {
                        cursor = folder.tree.capped(cursor, folder.tree.verdict(at).standing);
                    }
                }
            }
        }
        Ok(cursor)
    }

    /// Remembers which inode bears the name of a line, and that a lost directory is back.
    fn observe(&self, object: &Object, id: PlaceId, place: &Place, handle: &[u8], folder: &FolderView) {
        let newest = place
            .inodes
            .last()
            .is_some_and(|inode| inode.as_bytes() == handle);
        let back = place.target == Target::Gone && object.kind == FileKind::Directory;
        // A node may have been found there at another time, or be removed.
        if (!newest || back) && still_leads_to(folder, place, object) {
            self.shared
                .change_places(folder.policy.id, &[(id, PlaceChange::Observed(handle.into()))]);
        }
    }

    /// Lets the lines at and below a directory follow it, for every subject.
    pub(super) fn moved(&self, folder: &FolderView, from: &PlacePath, to: &PlacePath) -> Error {
        let changes: Vec<_> = folder
            .policy
            .places
            .at_or_below(from)
            .filter_map(|place| {
                Some((
                    place.id,
                    PlaceChange::Moved(to.join_path(&place.path.strip_prefix(from)?)),
                ))
            })
            .collect();
        self.shared.change_places(folder.policy.id, &changes);
        Error::PlacesMoved
    }

    /// Where a name of the way to some line is missing: the directory may have been moved behind the daemon's
    /// back. Finds it by its handle; what is nowhere is gone.
    fn look_for_moved(&self, parent: &Seen, cursor: Cursor, name: &Name) -> Result<()> {
        let folder = &*parent.folder;
        if folder.tree.uniform() || !folder.tree.leads(cursor) {
            return Ok(());
        }
        let Some(path) = path_below(parent, name) else {
            return Ok(());
        };
        let mut changes = Vec::new();
        for place in folder.policy.places.at_or_below(&path) {
            if place.kind != PlaceKind::Directory || place.target == Target::Gone {
                continue;
            }
            match find_by_handle(folder, place) {
                Ok(Some(now)) if now != place.path => changes.push((place.id, PlaceChange::Moved(now))),
                Ok(None) => changes.push((place.id, PlaceChange::Gone)),
                // It is there again, or the backing does not say.
                Ok(Some(_)) | Err(_) => {}
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        self.shared.change_places(folder.policy.id, &changes);
        Err(Error::PlacesMoved)
    }
}

/// What holds at a cursor for what is there: it is a way only if below it there is, in fact, something that a line
/// leads to.
pub(super) fn verdict_of(folder: &FolderView, cursor: Cursor, there: Option<&OwnedFd>) -> Verdict {
    let verdict = folder.tree.verdict(cursor);
    let leads = |directory: &OwnedFd| {
        let mut below = folder.tree.seen_below(cursor);
        below.any(|path| backing::open_beneath(directory, path.iter().map(|name| &**name)).is_ok())
    };
    Verdict {
        corridor: verdict.corridor && there.is_some_and(leads),
        ..verdict
    }
}

/// Tells whether an inode is what a line at this place was made for.
fn stands_for(place: &Place, object: &Object) -> bool {
    match place.kind {
        PlaceKind::File => object.kind != FileKind::Directory,
        PlaceKind::Directory if object.kind != FileKind::Directory => false,
        // Without handles (overlayfs) the name has to do.
        PlaceKind::Directory => match (object.handle(), place.inodes.last()) {
            (Some(handle), Some(inode)) => inode.as_bytes() == handle.as_bytes(),
            _ => true,
        },
    }
}

/// Tells whether the path of a place still leads to this inode: then the inode has not left the name, and what
/// was found is another name of it.
pub(super) fn still_leads_to(folder: &FolderView, place: &Place, object: &Object) -> bool {
    leads_to(folder, &place.path, object)
}

/// Tells whether a path in the folder leads to this inode.
fn leads_to(folder: &FolderView, path: &PlacePath, object: &Object) -> bool {
    let Ok(root) = folder.backing.root() else {
        return false;
    };
    backing::open_beneath(root, path.components())
        .map_err(Error::from)
        .and_then(Opened::of)
        .is_ok_and(|opened| opened.object.is(object))
}

/// Where the directory of a place is now; `None` if it is nowhere in the folder.
fn find_by_handle(folder: &FolderView, place: &Place) -> Result<Option<PlacePath>> {
    let root = folder.backing.root()?;
    let Some(handle) = place
        .inodes
        .last()
        .and_then(|inode| FileHandle::from_bytes(inode.as_bytes()))
    else {
        return Ok(None);
    };
    match backing::open_handle(
        folder.backing.anchor()?,
        &handle,
        libc::O_PATH | libc::O_DIRECTORY,
    ) {
        Ok(directory) => Ok(relative_path(root, &directory)),
        Err(error) if error.raw_os_error() == Some(libc::ESTALE) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
