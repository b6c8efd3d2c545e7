//! One file, directory or other entry as a mount knows it: a backing inode seen under one set of rules.
//!
//! A node knows its inode by number and time of birth, and the position it was last found at. The position decides
//! which rules hold; the inode decides what is touched. The descriptor to touch it by is opened when it is needed,
//! and may be let go (see [`super::descriptors`]).
//!
//! Number and birth tell inodes apart but for one case: a file is removed and another gets its number within one
//! tick of the file system's clock. Such a pair may pass for one node, and that gives nobody a right: what holds is
//! judged by the position, and the node's inode is looked for at that same position, so what is touched is what
//! bears the name that was judged. Wherever a *handle* decides (lines that follow a directory, bearers of a name),
//! it is that of the inode at hand, and two handles that differ are never one node.

mod kept;

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

use super::ids::Ino;
use super::journal::NodeSlot;
use super::kernel::BackingFile;
use super::locks::NodeLocks;
use super::object::{Object, Opened};
use crate::backing::{FileKind, KeptName, Name};
use crate::policy::{self, Cursor, FolderId, PlaceId};

/// Where a node was last found.
#[derive(Clone, Debug)]
pub enum Position {
    /// The folder's root, which the top directory of the mount shows.
    Root,
    /// A path inside the folder that was granted and that the top directory shows.
    Granted(PlaceId),
    /// In a directory of a folder.
    Under {
        /// The directory.
        parent: Arc<Node>,
        /// The name there.
        name: KeptName,
    },
}

/// A cursor, with the generation of the policy that it belongs to.
#[derive(Clone, Copy, Debug)]
struct Standing {
    generation: u64,
    cursor: Cursor,
}

/// A node of a mount.
#[derive(Debug)]
pub struct Node {
    /// Its number.
    pub ino: Ino,
    /// The folder it lies in.
    pub folder: FolderId,
    /// The inode behind it.
    pub object: Object,
    /// Locks that clients of this mount hold on it.
    pub locks: NodeLocks,
    state: Mutex<State>,
    lookups: AtomicU64,
    opens: AtomicU32,
    /// The generation of the policy under which the kernel may have kept its listing; 0 if it has not.
    listed: AtomicU64,
    pub(super) data: Mutex<Data>,
    /// How the kernel let programs have it past the daemon: what they mapped may outlive their open files.
    bypassed: AtomicU8,
    /// How often what was open of it was cut.
    cuts: AtomicU32,
    /// Where it is kept for the next daemon, in a mount that outlives this one.
    slot: OnceLock<Box<NodeSlot>>,
}

const BYPASSED: u8 = 1;
const BYPASSED_FOR_WRITING: u8 = 2;
/// Not of how it was open, but of the node: a former daemon counted its lookups.
const UNCERTAIN: u8 = 4;

/// What changes as a node is used.
#[derive(Debug)]
struct State {
    position: Position,
    standing: Standing,
    /// The most that holds since another mount moved it, until it is found again.
    displaced: Option<policy::Standing>,
    /// Its descriptor, while it has one.
    fd: Option<Arc<OwnedFd>>,
    /// Whether the descriptor is kept as long as the node lives: the file has lost its name.
    pinned: bool,
    /// Whether the descriptor can be read, and does not only point at the file.
    readable: bool,
    /// Whether it stands in the queue of those whose descriptor may be let go.
    queued: bool,
    /// Whether the descriptor was used since it was last considered.
    used: bool,
}

/// How the open files of a node are read and written: the kernel refuses to mix the two.
#[derive(Debug, Default)]
pub(super) struct Data {
    /// What the kernel reads and writes by itself, while it does.
    pub(super) backing: Weak<BackingFile>,
    /// How many files are open whose pages the kernel keeps.
    pub(super) cached: u32,
}

impl Node {
    pub(super) fn new(
        ino: Ino, folder: FolderId, opened: Opened, position: Position, generation: u64, cursor: Cursor,
    ) -> Self {
        let standing = Standing { generation, cursor };
        Self::standing((ino, folder), opened.object, opened.fd, position, standing)
    }

    fn standing(
        (ino, folder): (Ino, FolderId), object: Object, fd: Option<Arc<OwnedFd>>, position: Position,
        standing: Standing,
    ) -> Self {
        Self {
            ino,
            folder,
            object,
            locks: NodeLocks::default(),
            state: Mutex::new(State {
                position,
                standing,
                displaced: None,
                fd,
                pinned: false,
                readable: false,
                queued: false,
                used: true,
            }),
            lookups: AtomicU64::new(0),
            opens: AtomicU32::new(0),
            listed: AtomicU64::new(0),
            data: Mutex::default(),
            bypassed: AtomicU8::new(0),
            cuts: AtomicU32::new(0),
            slot: OnceLock::new(),
        }
    }

    /// Notes that the kernel may keep the listing from now on; tells whether it may use one that it has kept.
    pub(super) fn listed(&self, generation: u64) -> bool {
        self.listed.swap(generation, Ordering::AcqRel) == generation
    }

    /// Tells whether the kernel may have kept the listing, and assumes that it is told to drop it.
    pub(super) fn take_listed(&self) -> bool {
        self.listed.load(Ordering::Acquire) != 0 && self.listed.swap(0, Ordering::AcqRel) != 0
    }

    /// Its descriptor, if it has one now.
    pub(super) fn held(&self) -> Option<Arc<OwnedFd>> {
        let mut state = self.state.lock();
        state.used = true;
        state.fd.clone()
    }

    /// Gives it a descriptor unless it has one; tells which it has.
    pub(super) fn hold(&self, fd: Arc<OwnedFd>) -> Arc<OwnedFd> {
        let mut state = self.state.lock();
        state.used = true;
        Arc::clone(state.fd.get_or_insert(fd))
    }

    /// Its descriptor, if it has one that can be read.
    pub(super) fn held_readable(&self) -> Option<Arc<OwnedFd>> {
        let mut state = self.state.lock();
        state.used = true;
        state.fd.clone().filter(|_| state.readable)
    }

    /// Gives it a descriptor unless it has one, which it keeps from now on.
    pub(super) fn pin(&self, fd: Arc<OwnedFd>) {
        let mut state = self.state.lock();
        state.pinned = true;
        state.fd.get_or_insert(fd);
    }

    /// Gives it a descriptor that can be read, instead of the one that it has.
    pub(super) fn hold_readable(&self, fd: &Arc<OwnedFd>) {
        let mut state = self.state.lock();
        state.readable = true;
        state.fd = Some(Arc::clone(fd));
    }

    /// Notes that it stands in the queue of those whose descriptor may be let go; tells whether it did already.
    pub(super) fn queued(&self) -> bool {
        std::mem::replace(&mut self.state.lock().queued, true)
    }

    /// Takes its descriptor; `None` if that was used since the last time or a file is open. Then it stands in no queue
    /// any more.
    pub(super) fn let_go_unless_used(&self) -> Option<Option<Arc<OwnedFd>>> {
        let mut state = self.state.lock();
        if state.pinned || self.is_open() || std::mem::take(&mut state.used) {
            return None;
        }
        state.queued = false;
        state.readable = false;
        Some(state.fd.take())
    }

    /// Notes that a file of it is open past the daemon.
    pub(super) fn bypasses(&self, writable: bool) {
        let how = if writable {
            BYPASSED | BYPASSED_FOR_WRITING
        } else {
            BYPASSED
        };
        let before = self.bypassed.fetch_or(how, Ordering::AcqRel);
        if let Some(slot) = self.slot.get().filter(|_| before & how != how) {
            slot.bypassed(how);
        }
    }

    /// Tells whether more lookups may be counted than the kernel was told of.
    pub(super) fn is_uncertain(&self) -> bool {
        self.bypassed.load(Ordering::Acquire) & UNCERTAIN != 0
    }

    /// Tells whether a file of it was ever open past the daemon: in any way, or for writing.
    pub(super) fn has_bypassed(&self, writable: bool) -> bool {
        let how = if writable { BYPASSED_FOR_WRITING } else { BYPASSED };
        self.bypassed.load(Ordering::Acquire) & how != 0
    }

    /// Cuts what is open of it.
    pub(super) fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::AcqRel);
        self.keep_extra();
    }

    /// How often what was open of it was cut.
    pub(super) fn cuts(&self) -> u32 {
        self.cuts.load(Ordering::Acquire)
    }

    /// The generation that the kernel is told: another after each cut.
    pub(super) fn generation(&self) -> u64 {
        self.object.generation().wrapping_add(u64::from(self.cuts()))
    }

    /// Where it was last found.
    pub fn position(&self) -> Position {
        self.state.lock().position.clone()
    }

    /// Tells whether it is the root of its folder.
    pub(super) fn is_root(&self) -> bool {
        matches!(self.state.lock().position, Position::Root)
    }

    /// Tells whether it was last found under this name.
    pub(super) fn is_called(&self, directory: &Self, called: &Name) -> bool {
        matches!(
            &self.state.lock().position,
            Position::Under { parent, name } if parent.ino == directory.ino && name.as_bytes() == called.as_bytes()
        )
    }

    /// Notes where it was found just now, and what holds there.
    pub(super) fn found(&self, position: Position, generation: u64, cursor: Cursor) {
        let mut state = self.state.lock();
        state.standing = Standing { generation, cursor };
        state.displaced = None;
        let before = std::mem::replace(&mut state.position, position);
        self.placed(&before, &state.position);
        // It may be the last to hold its directory, and that the next one up.
        drop(state);
        drop(before);
    }

    /// Notes that a rename took it elsewhere; what holds there is found when it is asked for.
    pub(super) fn moved(&self, position: Position) {
        let mut state = self.state.lock();
        state.standing.generation = 0;
        state.displaced = None;
        let before = std::mem::replace(&mut state.position, position);
        self.placed(&before, &state.position);
        drop(state);
        drop(before);
    }

    /// Notes that another mount moved it to where no more than this holds: this mount need not know the way there.
    pub(super) fn displace(&self, most: policy::Standing) {
        let displaced = &mut self.state.lock().displaced;
        *displaced = Some(displaced.map_or(most, |before| before.min(most)));
    }

    /// The most that holds since then, if it was not found again.
    pub(super) fn displaced(&self) -> Option<policy::Standing> {
        self.state.lock().displaced
    }

    /// The cursor, if it is of this generation.
    pub(super) fn cursor(&self, generation: u64) -> Option<Cursor> {
        let standing = self.state.lock().standing;
        (standing.generation == generation).then_some(standing.cursor)
    }

    pub(super) fn stands(&self, generation: u64, cursor: Cursor) {
        self.state.lock().standing = Standing { generation, cursor };
    }

    pub(super) fn looked_up(&self) {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        if let Some(slot) = self.slot.get() {
            slot.looked_up();
        }
    }

    /// Takes lookups back; tells whether none is left.
    pub(super) fn forgotten(&self, count: u64) -> bool {
        let before = self
            .lookups
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |lookups| {
                Some(lookups.saturating_sub(count))
            })
            .unwrap_or(0);
        if let Some(slot) = self.slot.get() {
            slot.forgotten(before.min(count));
        }
        before <= count
    }

    pub(super) fn is_forgotten(&self) -> bool {
        self.lookups() == 0
    }

    /// How many lookups the kernel was told of.
    pub(super) fn lookups(&self) -> u64 {
        self.lookups.load(Ordering::Acquire)
    }

    pub(super) fn opened(&self) {
        self.opens.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn closed(&self) {
        self.opens.fetch_sub(1, Ordering::AcqRel);
    }

    /// Tells whether a handle is open on it.
    pub fn is_open(&self) -> bool {
        self.opens.load(Ordering::Acquire) > 0
    }

    /// Tells whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.object.kind == FileKind::Directory
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // What is kept of it goes before what that leads to: whoever reads it meanwhile finds nothing that leads nowhere.
        self.let_go_of_slot();
        // A directory may be held by what is below it alone; paths can be deep, so no recursion.
        let mut above = std::mem::replace(&mut self.state.get_mut().position, Position::Root);
        while let Position::Under { parent, .. } = above {
            let Some(mut last) = Arc::into_inner(parent) else {
                return;
            };
            last.let_go_of_slot();
            above = std::mem::replace(&mut last.state.get_mut().position, Position::Root);
        }
    }
}
