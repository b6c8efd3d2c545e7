//! What of a node is kept for the next daemon, in a mount that outlives this one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Node, Position, Standing, UNCERTAIN};
use crate::backing::FileHandle;
use crate::policy::Cursor;
use crate::vfs::journal::{Journal, Kept, NodeRecord, NodeSlot, Place};
use crate::vfs::object::Object;

impl Node {
    /// The node that a former daemon had. What holds for it is found when it is asked for.
    pub(in crate::vfs) fn again(
        record: &NodeRecord, object: Object, position: Position, slot: NodeSlot,
    ) -> Self {
        let standing = Standing {
            generation: 0,
            cursor: Cursor::nowhere(),
        };
        let this = Self::standing((record.ino, record.folder), object, None, position, standing);
        this.lookups.store(record.lookups, Ordering::Relaxed);
        this.bypassed
            .store(record.bypassed | UNCERTAIN, Ordering::Relaxed);
        this.cuts.store(record.cuts, Ordering::Relaxed);
        // Nobody knows what the kernel keeps of it.
        this.listed.store(u64::MAX, Ordering::Relaxed);
        let _ = this.slot.set(Box::new(slot));
        this
    }

    /// Where it is kept for the next daemon, from now on if it was not.
    pub(in crate::vfs) fn keep_in(&self, journal: &Arc<Journal>) -> &NodeSlot {
        if let Some(slot) = self.slot.get() {
            return slot;
        }
        // It does not move meanwhile.
        let state = self.state.lock();
        self.slot.get_or_init(|| {
            let kept = Kept {
                ino: self.ino,
                folder: self.folder,
                object: &self.object,
                lookups: self.lookups.load(Ordering::Acquire),
            };
            Box::new(NodeSlot::new(journal, kept, place(&state.position, journal)))
        })
    }

    /// Where it is kept for the next daemon, if it is.
    pub(in crate::vfs) fn slot(&self) -> Option<&NodeSlot> {
        self.slot.get().map(|slot| &**slot)
    }

    /// Keeps nothing of it any more.
    pub(super) fn let_go_of_slot(&mut self) {
        self.locks.release_all();
        self.slot.take();
    }

    /// Notes the handle of its inode.
    pub(in crate::vfs) fn learn(&self, handle: FileHandle) {
        if self.object.learn(handle) {
            self.keep_extra();
        }
    }

    pub(super) fn keep_extra(&self) {
        if let Some(slot) = self.slot.get() {
            let _one_at_a_time = self.state.lock();
            slot.learned(self.folder, &self.object, self.cuts());
        }
    }

    pub(super) fn placed(&self, before: &Position, now: &Position) {
        if let Some(slot) = self.slot.get()
            && !before.is(now)
        {
            slot.placed(place(now, slot.journal()));
        }
    }
}

impl Position {
    /// Tells whether both are one.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Root, Self::Root) => true,
            (Self::Granted(one), Self::Granted(other)) => one == other,
            (
                Self::Under { parent, name },
                Self::Under {
                    parent: other_parent,
                    name: other,
                },
            ) => Arc::ptr_eq(parent, other_parent) && name == other,
            _ => false,
        }
    }
}

/// A position as it is kept for the next daemon, with all that lies above.
fn place<'a>(position: &'a Position, journal: &Arc<Journal>) -> Place<'a> {
    match position {
        Position::Root => Place::Root,
        Position::Granted(place) => Place::Granted(*place),
        Position::Under { parent, name } => Place::Under {
            parent: parent.keep_in(journal).index(),
            name: name.as_bytes(),
        },
    }
}
