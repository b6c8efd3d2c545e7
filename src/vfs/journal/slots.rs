//! The writing of slots. Each is given back when what it stands for is dropped.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Index, Journal, WIDTH, kind, write_bytes};
use crate::backing::{FileKind, Lock, LockKind};
use crate::policy::{FolderId, PlaceId};
use crate::vfs::ids::{Fh, Ino, LockOwner};
use crate::vfs::object::Object;

/// Where a node is, for its slot.
#[derive(Clone, Copy, Debug)]
pub(in crate::vfs) enum Place<'a> {
    Root,
    Granted(PlaceId),
    Under { parent: Index, name: &'a [u8] },
}

/// What a node is, for its slot.
#[derive(Clone, Copy, Debug)]
pub(in crate::vfs) struct Kept<'a> {
    pub ino: Ino,
    pub folder: FolderId,
    pub object: &'a Object,
    pub lookups: u64,
}

/// The slot of a node.
#[derive(Debug)]
pub(in crate::vfs) struct NodeSlot {
    journal: Arc<Journal>,
    index: Index,
}

/// Parts of the first word of a node, beside the kind: the file's type, how it was open past the daemon, and how many
/// lookups the kernel was told of.
pub(super) const TYPE_SHIFT: u32 = 8;
pub(super) const BYPASSED_SHIFT: u32 = 16;
pub(super) const LOOKUPS_SHIFT: u32 = 32;
/// The words of a node.
pub(super) const INO: usize = 1;
pub(super) const BIRTH: usize = 2;
/// The slots of its position, and above it of its further bytes ([`Extra`](super::read)).
pub(super) const LINKS: usize = 3;
/// How much of a name stands in the slot of a position.
pub(super) const NAME_HERE: usize = (WIDTH - 2) * 8;

/// Kinds of positions.
pub(super) const ROOT: u8 = 0;
pub(super) const GRANTED: u8 = 1;
pub(super) const UNDER: u8 = 2;

impl NodeSlot {
    pub(in crate::vfs) fn new(journal: &Arc<Journal>, node: Kept<'_>, place: Place<'_>) -> Self {
        let index = journal.take();
        let this = Self {
            journal: Arc::clone(journal),
            index,
        };
        if index == 0 {
            return this;
        }
        let slot = journal.slot(index);
        let own = Ino::of(node.folder, node.object.number);
        // What the number does not tell, and what the node is opened by, stands aside.
        let extra = if own == Some(node.ino.family()) && node.object.handle().is_none() {
            0
        } else {
            journal.put_bytes(&extra(node.folder, node.object, 0))
        };
        let position = journal.put_position(place);
        slot[INO].store(node.ino.0, Ordering::Relaxed);
        let birth = node.object.birth.map_or(0, crate::backing::Birth::to_bits);
        slot[BIRTH].store(birth, Ordering::Relaxed);
        slot[LINKS].store(u64::from(position) | u64::from(extra) << 32, Ordering::Relaxed);
        let head = u64::from(kind::NODE)
            | u64::from(node.object.kind.mode() >> 12) << TYPE_SHIFT
            | node.lookups << LOOKUPS_SHIFT;
        slot[0].store(head, Ordering::Release);
        this
    }

    /// The slot that a former daemon made.
    pub(in crate::vfs) fn again(journal: &Arc<Journal>, index: Index) -> Self {
        Self {
            journal: Arc::clone(journal),
            index,
        }
    }

    pub(in crate::vfs) fn index(&self) -> Index {
        self.index
    }

    pub(in crate::vfs) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    pub(in crate::vfs) fn looked_up(&self) {
        if self.index != 0 {
            self.journal.slot(self.index)[0].fetch_add(1 << LOOKUPS_SHIFT, Ordering::Release);
        }
    }

    /// `count` is what was really taken back.
    pub(in crate::vfs) fn forgotten(&self, count: u64) {
        if self.index != 0 {
            self.journal.slot(self.index)[0].fetch_sub(count << LOOKUPS_SHIFT, Ordering::Release);
        }
    }

    pub(in crate::vfs) fn bypassed(&self, how: u8) {
        if self.index != 0 {
            self.journal.slot(self.index)[0].fetch_or(u64::from(how) << BYPASSED_SHIFT, Ordering::Release);
        }
    }

    /// Notes where it is now. Nobody else does at the same time.
    pub(in crate::vfs) fn placed(&self, place: Place<'_>) {
        if self.index == 0 {
            return;
        }
        let position = self.journal.put_position(place);
        let links = &self.journal.slot(self.index)[LINKS];
        let before = links.fetch_update(Ordering::AcqRel, Ordering::Acquire, |links| {
            Some(links & !0xFFFF_FFFF | u64::from(position))
        });
        self.journal.give_position_back(before.unwrap_or(0) as Index);
    }

    /// Notes the handle of the node, and how often it was cut. Nobody else does at the same time.
    pub(in crate::vfs) fn learned(&self, folder: FolderId, object: &Object, cuts: u32) {
        if self.index == 0 {
            return;
        }
        let bytes = self.journal.put_bytes(&extra(folder, object, cuts));
        let links = &self.journal.slot(self.index)[LINKS];
        let before = links.fetch_update(Ordering::AcqRel, Ordering::Acquire, |links| {
            Some(links & 0xFFFF_FFFF | u64::from(bytes) << 32)
        });
        self.journal.give_bytes_back((before.unwrap_or(0) >> 32) as Index);
    }
}

impl Drop for NodeSlot {
    fn drop(&mut self) {
        if self.index == 0 {
            return;
        }
        let slot = self.journal.slot(self.index);
        let links = slot[LINKS].load(Ordering::Acquire);
        slot[0].store(0, Ordering::Release);
        self.journal.give_position_back(links as Index);
        self.journal.give_bytes_back((links >> 32) as Index);
        self.journal.give_back(self.index);
    }
}

/// What the slot of a node has no room for.
fn extra(folder: FolderId, object: &Object, cuts: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend(object.number.to_le_bytes());
    bytes.extend(folder.0.to_le_bytes());
    bytes.extend(cuts.to_le_bytes());
    bytes.extend(object.handle().map_or(&[][..], |handle| handle.as_bytes()));
    bytes
}

impl Journal {
    fn put_position(&self, place: Place<'_>) -> Index {
        let (how, word, name) = match place {
            Place::Root => (ROOT, 0, &[][..]),
            Place::Granted(place) => (GRANTED, place.0.cast_unsigned(), &[][..]),
            Place::Under { parent, name } => (UNDER, u64::from(parent), name),
        };
        let index = self.take();
        if index == 0 {
            return 0;
        }
        let here = &name[..name.len().min(NAME_HERE)];
        let rest = self.put_bytes(&name[here.len()..]);
        let slot = self.slot(index);
        slot[1].store(word, Ordering::Relaxed);
        write_bytes(&slot[2..], here);
        let head = u64::from(kind::POSITION)
            | u64::from(how) << 8
            | (name.len() as u64) << 16
            | u64::from(rest) << 32;
        slot[0].store(head, Ordering::Release);
        index
    }

    fn give_position_back(&self, index: Index) {
        if index != 0 && self.kind_of(index) == kind::POSITION {
            let rest = (self.slot(index)[0].load(Ordering::Acquire) >> 32) as Index;
            self.give_back(index);
            self.give_bytes_back(rest);
        }
    }
}

/// How an open file is read and written, for its slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::vfs) enum RouteRecord {
    Cached = 0,
    Daemon = 1,
    Kernel = 2,
    Beside = 3,
}

/// The slot of an open file.
#[derive(Debug)]
pub(in crate::vfs) struct FileSlot {
    journal: Arc<Journal>,
    index: Index,
}

impl FileSlot {
    pub(in crate::vfs) fn new(
        node: &NodeSlot, fh: Fh, flags: i32, writable: bool, route: RouteRecord, backing: u32, cuts: u32,
    ) -> Self {
        let journal = Arc::clone(node.journal());
        let index = journal.take();
        if index != 0 {
            journal.handle_given(fh.0);
            let slot = journal.slot(index);
            slot[1].store(fh.0, Ordering::Relaxed);
            slot[2].store(
                u64::from(flags.cast_unsigned()) | u64::from(backing) << 32,
                Ordering::Relaxed,
            );
            slot[3].store(u64::from(cuts), Ordering::Relaxed);
            let head = u64::from(kind::FILE)
                | (route as u64) << 8
                | u64::from(writable) << 16
                | u64::from(node.index()) << 32;
            slot[0].store(head, Ordering::Release);
        }
        Self { journal, index }
    }

    pub(in crate::vfs) fn again(journal: &Arc<Journal>, index: Index) -> Self {
        Self {
            journal: Arc::clone(journal),
            index,
        }
    }
}

impl Drop for FileSlot {
    fn drop(&mut self) {
        self.journal.give_back(self.index);
    }
}

/// The slot of one who took locks through an open file.
#[derive(Debug)]
pub(in crate::vfs) struct LockerSlot {
    journal: Arc<Journal>,
    index: Index,
}

impl LockerSlot {
    pub(in crate::vfs) fn new(file: &FileSlot, owner: LockOwner) -> Self {
        let journal = Arc::clone(&file.journal);
        let index = journal.take();
        if index != 0 {
            let slot = journal.slot(index);
            let fh = journal.slot(file.index)[1].load(Ordering::Relaxed);
            slot[1].store(fh, Ordering::Relaxed);
            slot[2].store(owner.0, Ordering::Relaxed);
            slot[0].store(u64::from(kind::LOCKER), Ordering::Release);
        }
        Self { journal, index }
    }
}

impl Drop for LockerSlot {
    fn drop(&mut self) {
        self.journal.give_back(self.index);
    }
}

/// The slot of an open directory.
#[derive(Debug)]
pub(in crate::vfs) struct DirectorySlot {
    journal: Arc<Journal>,
    index: Index,
}

impl DirectorySlot {
    /// `node` is none for the top directory.
    pub(in crate::vfs) fn new(journal: &Arc<Journal>, node: Option<&NodeSlot>, fh: Fh, caches: bool) -> Self {
        let index = journal.take();
        if index != 0 {
            journal.handle_given(fh.0);
            let slot = journal.slot(index);
            slot[1].store(fh.0, Ordering::Relaxed);
            slot[2].store(0, Ordering::Relaxed);
            slot[3].store(0, Ordering::Relaxed);
            let node = node.map_or(0, NodeSlot::index);
            let head = u64::from(kind::DIRECTORY) | u64::from(caches) << 8 | u64::from(node) << 32;
            slot[0].store(head, Ordering::Release);
        }
        Self {
            journal: Arc::clone(journal),
            index,
        }
    }

    pub(in crate::vfs) fn again(journal: &Arc<Journal>, index: Index) -> Self {
        Self {
            journal: Arc::clone(journal),
            index,
        }
    }

    /// Keeps what it listed, instead of what it did before. Nobody else does at the same time.
    pub(in crate::vfs) fn listed(&self, listing: &[u8]) {
        if self.index == 0 {
            return;
        }
        let first = self.journal.put_bytes(listing);
        let link = &self.journal.slot(self.index)[2];
        let before = link.swap(u64::from(first), Ordering::AcqRel);
        self.journal.give_bytes_back(before as Index);
    }
}

impl Drop for DirectorySlot {
    fn drop(&mut self) {
        if self.index != 0 {
            let listing = self.journal.slot(self.index)[2].load(Ordering::Acquire);
            self.journal.give_back(self.index);
            self.journal.give_bytes_back(listing as Index);
        }
    }
}

/// The slots of all locks that one owner holds on a node.
#[derive(Debug)]
pub(in crate::vfs) struct LockSlots {
    journal: Arc<Journal>,
    node: Index,
    owner: LockOwner,
    indices: Vec<Index>,
}

impl LockSlots {
    pub(in crate::vfs) fn new(node: &NodeSlot, owner: LockOwner) -> Self {
        Self {
            journal: Arc::clone(node.journal()),
            node: node.index(),
            owner,
            indices: Vec::new(),
        }
    }

    /// Keeps the locks of now, instead of those before.
    pub(in crate::vfs) fn hold(&mut self, locks: &[Lock]) {
        let new = locks.iter().map(|lock| {
            let index = self.journal.take();
            if index != 0 {
                let slot = self.journal.slot(index);
                slot[1].store(self.owner.0, Ordering::Relaxed);
                slot[2].store(lock.start, Ordering::Relaxed);
                slot[3].store(lock.end, Ordering::Relaxed);
                let write = lock.kind == LockKind::Write;
                let head = u64::from(kind::LOCK) | u64::from(write) << 8 | u64::from(self.node) << 32;
                slot[0].store(head, Ordering::Release);
            }
            index
        });
        // More is kept for a moment, never less.
        let before = std::mem::take(&mut self.indices);
        self.indices = new.collect();
        before.into_iter().for_each(|index| self.journal.give_back(index));
    }

    /// Takes those over that a former daemon kept.
    pub(in crate::vfs) fn again(node: &NodeSlot, owner: LockOwner, indices: Vec<Index>) -> Self {
        let mut this = Self::new(node, owner);
        this.indices = indices;
        this
    }
}

impl Drop for LockSlots {
    fn drop(&mut self) {
        self.indices
            .iter()
            .for_each(|index| self.journal.give_back(*index));
    }
}

/// The type of a file, out of the first word of a node.
pub(super) fn type_of(head: u64) -> Option<FileKind> {
    FileKind::from_mode((((head >> TYPE_SHIFT) & 0xFF) as u32) << 12)
}
