//! What is open: files by their descriptors, directories by what they listed.
//!
//! In a mount that outlives its daemon each is kept for the next one ([`super::journal`]).

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};

use super::budget::Budget;
use super::error::{Error, Result};
use super::ids::{Fh, Ino, LockOwner};
use super::journal::{DirectorySlot, FileSlot, Journal, LockerSlot, RouteRecord, requests};
use super::kernel::BackingFile;
use super::node::Node;
use super::ops::Route;
use crate::backing::{self, FileKind};

/// An open file.
#[derive(Debug)]
pub struct OpenFile {
    /// The node it was opened through; its rights hold at each read and write.
    pub node: Arc<Node>,
    /// Whether it was opened for writing.
    pub writable: bool,
    /// How often its node had been cut before.
    cuts: u32,
    /// The flags that it has on the backing.
    flags: i32,
    /// Whether the kernel keeps pages of it.
    cached: bool,
    /// The daemon's own open file, which one that bypasses the daemon mostly can do without.
    fd: OnceLock<Arc<OwnedFd>>,
    /// Whether reads and writes pass by the daemon.
    bypasses: bool,
    /// What the kernel reads and writes by itself, or would.
    backing: Option<Arc<BackingFile>>,
    /// Who took locks through it.
    lock_owners: Mutex<Vec<Locker>>,
    /// Where it is kept for the next daemon.
    slot: OnceLock<FileSlot>,
}

/// Who took locks through an open file, and where that is kept for the next daemon.
#[derive(Debug)]
struct Locker {
    owner: LockOwner,
    _slot: Option<LockerSlot>,
}

impl OpenFile {
    pub(super) fn new(node: &Arc<Node>, flags: i32, writable: bool, route: &Route) -> Self {
        node.opened();
        let backing = match route {
            Route::Kernel(backing) | Route::Beside(backing) => Some(Arc::clone(backing)),
            Route::Cached | Route::Daemon => None,
        };
        Self {
            node: Arc::clone(node),
            writable,
            cuts: node.cuts(),
            flags,
            cached: matches!(route, Route::Cached),
            fd: OnceLock::new(),
            bypasses: matches!(route, Route::Kernel(_)),
            backing,
            lock_owners: Mutex::default(),
            slot: OnceLock::new(),
        }
    }

    /// The file that was open when it had been cut so often.
    pub(super) fn again(mut self, cuts: u32, slot: FileSlot) -> Self {
        self.cuts = cuts;
        let _ = self.slot.set(slot);
        self
    }

    /// Keeps it for the next daemon, if its node is.
    fn keep(&self, fh: Fh) {
        let Some(node) = self.node.slot() else { return };
        let route = match (&self.backing, self.bypasses, self.cached) {
            (_, true, _) => RouteRecord::Kernel,
            (Some(_), ..) => RouteRecord::Beside,
            (None, _, true) => RouteRecord::Cached,
            (None, _, false) => RouteRecord::Daemon,
        };
        let backing = self.backing.as_ref().map_or(0, |backing| backing.id());
        let slot = FileSlot::new(node, fh, self.flags, self.writable, route, backing, self.cuts);
        let _ = self.slot.set(slot);
        requests::opened(fh.0);
    }

    /// The backing's open file; opened now if it was not needed so far. `path` points at the node. To be called with
    /// the daemon's own credentials: whether it may be opened was found out when the client opened it.
    ///
    /// # Errors
    /// Those of `open(2)`.
    pub fn fd(&self, path: impl FnOnce() -> Result<Arc<OwnedFd>>) -> Result<BorrowedFd<'_>> {
        if let Some(fd) = self.fd.get() {
            return Ok(fd.as_fd());
        }
        let fd = backing::reopen(path()?, self.flags)?;
        // Another may have been quicker; one is as good as the other.
        Ok(self.fd.get_or_init(|| Arc::new(fd)).as_fd())
    }

    /// Tells whether it was cut: for good, whatever rights come back.
    pub fn is_cut(&self) -> bool {
        self.cuts != self.node.cuts()
    }

    /// Tells whether reads and writes pass by the daemon.
    pub fn bypasses(&self) -> bool {
        self.bypasses
    }

    /// Remembers who took a lock through it.
    pub(super) fn locked_by(&self, owner: LockOwner) {
        let mut owners = self.lock_owners.lock();
        if !owners.iter().any(|locker| locker.owner == owner) {
            let slot = self.slot.get().map(|slot| LockerSlot::new(slot, owner));
            owners.push(Locker { owner, _slot: slot });
        }
    }

    /// Those who took locks through it.
    pub(super) fn take_lock_owners(&self) -> Vec<LockOwner> {
        let lockers = std::mem::take(&mut *self.lock_owners.lock());
        lockers.into_iter().map(|locker| locker.owner).collect()
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // Before its node, to which it leads.
        self.lock_owners.get_mut().clear();
        self.slot.take();
        if self.cached {
            self.node.data.lock().cached -= 1;
        }
        self.node.closed();
    }
}

/// An open directory. `None` is the top directory of the mount.
#[derive(Debug)]
pub struct OpenDirectory {
    /// Where it is kept for the next daemon; it goes before the node, to which it leads.
    slot: Option<DirectorySlot>,
    /// The node; `None` for the top directory.
    pub node: Option<Arc<Node>>,
    /// The names as they were at the last rewind. Offsets count in it, so that they tell nothing of what is left out.
    pub listing: Mutex<Listing>,
    /// Whether the kernel may keep what it is told, for whoever reads the directory next.
    pub caches: bool,
}

impl OpenDirectory {
    /// The directory that a former daemon had open.
    pub(super) fn again(
        node: Option<Arc<Node>>, caches: bool, listing: Listing, slot: DirectorySlot,
    ) -> Self {
        Self {
            node,
            listing: Mutex::new(listing),
            caches,
            slot: Some(slot),
        }
    }

    /// Keeps for the next daemon what was listed and not told to its end: the offsets shall stay what they are.
    pub(super) fn keep(&self, listing: &mut Listing) {
        if let Some(slot) = self.slot.as_ref().filter(|_| !listing.kept) {
            listing.kept = true;
            slot.listed(&listing.to_bytes());
        }
    }
}

/// The names of a directory that the subject saw when it was listed from its beginning.
#[derive(Debug, Default)]
pub struct Listing {
    /// The names and what they led to.
    pub entries: Vec<Listed>,
    /// The generation of the policy that it was made under.
    pub generation: u64,
    /// Whether it was read at all.
    pub filled: bool,
    /// Whether the next daemon will know it.
    pub kept: bool,
}

impl Listing {
    /// For [`Listing::from_bytes`].
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for Listed { name, ino, kind } in &self.entries {
            bytes.extend(ino.0.to_le_bytes());
            bytes.push((kind.mode() >> 12) as u8);
            bytes.push(name.len() as u8);
            bytes.extend(&**name);
        }
        bytes
    }

    /// What a former daemon had listed, by a policy that may hold no more. `None` if these are no such bytes.
    pub(super) fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let mut entries = Vec::new();
        while let Some((ino, rest)) = bytes.split_first_chunk() {
            let ([kind, length], rest) = rest.split_first_chunk()?;
            let (name, rest) = rest.split_at_checked(usize::from(*length))?;
            entries.push(Listed {
                name: name.into(),
                ino: Ino(u64::from_le_bytes(*ino)),
                kind: FileKind::from_mode(u32::from(*kind) << 12)?,
            });
            bytes = rest;
        }
        Some(Self {
            filled: !entries.is_empty(),
            kept: true,
            generation: 0,
            entries,
        })
    }
}

/// One name of a listing.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The name.
    pub name: Box<[u8]>,
    /// The node number, as a stat would tell it.
    pub ino: Ino,
    /// Its type as `d_type` (`DT_*`).
    pub kind: FileKind,
}

impl Drop for Handles {
    fn drop(&mut self) {
        self.budget.give_back(self.files.get_mut().len());
    }
}

/// The tables of one mount.
#[derive(Debug)]
pub struct Handles {
    next: AtomicU64,
    limit: usize,
    /// How many all mounts together may have open yet.
    budget: Arc<Budget>,
    files: RwLock<HashMap<Fh, Arc<OpenFile>>>,
    directories: RwLock<HashMap<Fh, Arc<OpenDirectory>>>,
    journal: Option<Arc<Journal>>,
}

impl Handles {
    /// Holds at most `limit` open files, of those that all mounts together may have.
    pub(super) fn new(limit: usize, budget: &Arc<Budget>, journal: Option<Arc<Journal>>) -> Self {
        Self {
            next: AtomicU64::new(1),
            limit,
            budget: Arc::clone(budget),
            files: RwLock::default(),
            directories: RwLock::default(),
            journal,
        }
    }

    /// Takes in what was open under a former daemon, and goes on counting after it.
    pub(super) fn take_over(
        &self, files: impl Iterator<Item = (Fh, OpenFile)>,
        directories: impl Iterator<Item = (Fh, OpenDirectory)>, last: u64,
    ) {
        self.next.fetch_max(last + 1, Ordering::Relaxed);
        let mut known = self.files.write();
        let before = known.len();
        known.extend(files.map(|(fh, file)| (fh, Arc::new(file))));
        self.budget.take_anyway(known.len() - before);
        drop(known);
        let directories = directories.map(|(fh, directory)| (fh, Arc::new(directory)));
        self.directories.write().extend(directories);
    }

    /// Keeps an open file.
    ///
    /// # Errors
    /// ENFILE if this mount, or all together, have as many open as they may: no user shall take all descriptors from the
    /// others, nor all of them together from the daemon.
    pub fn open_file(&self, file: OpenFile, fd: Option<Arc<OwnedFd>>) -> Result<Fh> {
        let mut files = self.files.write();
        if files.len() >= self.limit || !self.budget.take() {
            return Err(io::Error::from_raw_os_error(libc::ENFILE).into());
        }
        if let Some(fd) = fd {
            let _: std::result::Result<(), Arc<OwnedFd>> = file.fd.set(fd);
        }
        let fh = self.next();
        file.keep(fh);
        files.insert(fh, Arc::new(file));
        Ok(fh)
    }

    /// Keeps an open directory.
    pub fn open_directory(&self, node: Option<Arc<Node>>, caches: bool) -> Fh {
        let fh = self.next();
        let slot = self.journal.as_ref().map(|journal| {
            let node = node.as_ref().map(|node| node.keep_in(journal));
            DirectorySlot::new(journal, node, fh, caches)
        });
        if slot.is_some() {
            requests::opened(fh.0);
        }
        let directory = OpenDirectory {
            node,
            listing: Mutex::default(),
            caches,
            slot,
        };
        self.directories.write().insert(fh, Arc::new(directory));
        fh
    }

    /// The open file of a handle.
    ///
    /// # Errors
    /// [`Error::Revoked`] if it was cut, [`Error::Unknown`].
    pub fn file(&self, fh: Fh) -> Result<Arc<OpenFile>> {
        let file = self.files.read().get(&fh).cloned().ok_or(Error::Unknown)?;
        if file.is_cut() {
            return Err(Error::Revoked);
        }
        Ok(file)
    }

    /// The open directory of a handle.
    ///
    /// # Errors
    /// [`Error::Unknown`].
    pub fn directory(&self, fh: Fh) -> Result<Arc<OpenDirectory>> {
        self.directories.read().get(&fh).cloned().ok_or(Error::Unknown)
    }

    /// Closes a file.
    pub fn release_file(&self, fh: Fh) -> Option<Arc<OpenFile>> {
        let closed = self.files.write().remove(&fh);
        self.budget.give_back(usize::from(closed.is_some()));
        closed
    }

    /// Closes a directory.
    pub fn release_directory(&self, fh: Fh) {
        self.directories.write().remove(&fh);
    }

    /// How many files and how many directories are open.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.files.read().len(), self.directories.read().len())
    }

    /// The nodes on which a file is open.
    pub fn open_nodes(&self) -> Vec<Arc<Node>> {
        let mut nodes: Vec<_> = self
            .files
            .read()
            .values()
            .map(|file| Arc::clone(&file.node))
            .collect();
        nodes.sort_unstable_by_key(|node| node.ino);
        nodes.dedup_by_key(|node| node.ino);
        nodes
    }

    /// The nodes of files that are open past the daemon and not cut, with whether any of these was opened for writing.
    pub fn open_past_daemon(&self) -> Vec<(Arc<Node>, bool)> {
        let mut nodes: Vec<_> = self
            .files
            .read()
            .values()
            .filter(|file| file.bypasses() && !file.is_cut())
            .map(|file| (Arc::clone(&file.node), file.writable))
            .collect();
        // Those for writing first, so that they stay.
        nodes.sort_unstable_by_key(|(node, writable)| (node.ino, !writable));
        nodes.dedup_by_key(|(node, _)| node.ino);
        nodes
    }

    /// Tells whether a file that was open past the daemon and was cut is still open, of a node for which `holds`.
    pub fn any_cut(&self, holds: impl Fn(&Node) -> bool) -> bool {
        let files = self.files.read();
        let mut cut = files.values().filter(|file| file.bypasses() && file.is_cut());
        cut.any(|file| holds(&file.node))
    }

    fn next(&self) -> Fh {
        Fh(self.next.fetch_add(1, Ordering::Relaxed))
    }
}
