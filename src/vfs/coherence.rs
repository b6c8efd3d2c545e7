//! What the kernel may keep of what it is told, and how it is told what is no longer so.
//!
//! Names are kept as long as no other mount changes their directory ([`super::leases`]), attributes as long as nobody
//! writes the file through another node ([`super::writers`]). A change through a mount is told to all others before
//! the call returns, by notifications that never wait: with one that does, two mounts could wait for each other.

use std::sync::Arc;
use std::time::Duration;

use super::error::Result;
use super::filesystem::{FileSystem, Seen};
use super::ids::Ino;
use super::kernel::Features;
use super::leases::{Begun, Leases};
use super::locate::Probe;
use super::node::{Node, Position};
use super::object::Object;
use super::view::FolderView;
use crate::backing::{self, FileKind, Name};
use crate::policy::{Right, Verdict};

/// For as long as nothing else is said.
pub(super) const LONG: Duration = Duration::from_secs(24 * 60 * 60);

/// Where changes behind the daemon's back are not noticed.
const UNWATCHED: Duration = Duration::from_secs(1);

/// A change that is under way, of the names of a directory or of the attributes of an inode. While it lives, and a while
/// after, no other mount keeps what it is told of them.
#[must_use]
pub(super) struct Changing<'a> {
    leases: &'a Leases,
    number: Ino,
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.leases.end(self.number);
    }
}

impl FileSystem {
    /// What the kernel of this mount can do.
    pub(super) fn features(&self) -> Features {
        self.features.get().copied().unwrap_or_default()
    }

    /// Of what the kernel can do, what this mount makes use of.
    pub(super) fn allowed(&self, features: Features) -> Features {
        self.shared.allowed(features)
    }

    /// Tells whether data may bypass the daemon.
    pub(super) fn has_passthrough(&self) -> bool {
        self.features().passthrough && !self.options.strict && !self.options.read_only
    }

    /// Tells whether the kernel may open the files of this mount by itself, if it can.
    pub(super) fn opens_itself(&self, possible: bool) -> bool {
        possible && self.options.read_only && !self.options.strict
    }

    /// Begins to change names in a directory: to be called before the backing is touched, and kept until it was.
    pub(super) fn changing(&self, directory: &Node) -> Changing<'_> {
        let number = directory.ino.family();
        let leases = &self.shared.leases;
        if let Begun::TellOthers(round) = leases.begin(number, self.id) {
            self.others(|mount| mount.forget_directory(number));
            leases.told(number, round);
        }
        Changing { leases, number }
    }

    /// Begins to change the attributes of an inode: to be called before the backing is touched, and kept until
    /// [`FileSystem::touched`] was called. A mount that looks in between may have the former ones on their way to a
    /// kernel that does not know the inode yet, and cannot be told to drop them.
    pub(super) fn touching(&self, number: Ino) -> Changing<'_> {
        let leases = &self.shared.touches;
        // Who is to be told is known afterwards.
        let _: Begun = leases.begin(number, self.id);
        Changing { leases, number }
    }

    /// Likewise, of what was found at a name.
    pub(super) fn touching_found(&self, directory: &Seen, probe: &Probe) -> Option<Changing<'_>> {
        let there = probe.there.as_ref()?;
        let number = Ino::of(directory.folder.policy.id, there.object.number)?;
        Some(self.touching(number))
    }

    /// Lets all others know of what became of the inode that had a name here.
    pub(super) fn touched_inode(&self, directory: &Seen, probe: &Probe) {
        let Some(object) = probe.there.as_ref().map(|there| &there.object) else {
            return;
        };
        let number = Ino::of(directory.folder.policy.id, object.number);
        // The kernel of this mount knows what it asked for, but not that other nodes are the same inode; and which of
        // them it asked for is not known here.
        if let Some(number) = number {
            if self.nodes.relatives_of(number) > 1 {
                self.drop_attributes_but(number, object, None);
            }
            self.others(|mount| mount.drop_attributes_but(number, object, None));
        }
    }

    /// Keeps a file that is about to lose its last name for the mounts whose kernels open files without a word: there it may
    /// be open, and nobody else would keep it from going.
    pub(super) fn keep_for_readers(&self, directory: &Seen, name: &Name, probe: &Probe) -> Result<()> {
        let last = |stat: &backing::Stat| stat.kind == FileKind::Regular && stat.nlink <= 1;
        let Some(there) = probe.there.as_ref().filter(|there| last(&there.stat)) else {
            return Ok(());
        };
        let Some(number) = Ino::of(directory.folder.policy.id, there.object.number) else {
            return Ok(());
        };
        self.keep_nameless(directory, name, number)?;
        let mut kept = None;
        for mount in self.shared.mounts().filter(|mount| mount.features().opens_itself) {
            let mut failed = None;
            let mut known = false;
            mount.nodes.each_of(number, |node| {
                known = true;
                if kept.is_none() {
                    match self
                        .fd(directory)
                        .and_then(|at| Ok(backing::open_path(&at, name)?))
                    {
                        Ok(fd) => kept = Some(Arc::new(fd)),
                        Err(error) => failed = Some(error),
                    }
                }
                if let Some(fd) = &kept {
                    node.pin(Arc::clone(fd));
                }
            });
            if let Some(error) = failed {
                return Err(error);
            }
            if known {
                // What is not open is let go of then, and with it what is kept here.
                let directory = directory.node.ino.family();
                mount.name_gone(directory, name.as_bytes());
            }
        }
        Ok(())
    }

    /// Lets the kernel forget a name of a directory. May wait for requests in it.
    pub(super) fn forget_name_in(&self, directory: Ino, name: &[u8]) {
        let Some(kernel) = self.kernel.get() else { return };
        self.nodes.each_of(directory, |node| {
            kernel.forget_name(node.ino, name);
        });
    }

    /// Lets all others know that the attributes of an inode changed. To be called after the change.
    pub(super) fn touched(&self, node: &Node) {
        let number = node.ino.family();
        self.drop_attributes_but(number, &node.object, Some(node.ino));
        self.others(|mount| mount.drop_attributes_but(number, &node.object, None));
    }

    /// How long the kernel may keep a name of a directory, and what it leads to, or that it leads nowhere.
    pub(super) fn name_lasts(&self, directory: &Seen, found: &Verdict) -> Duration {
        // What is seen only as a way to something may go with that.
        if found.corridor || !directory.verdict.rights.contains(Right::Read) {
            return Duration::ZERO;
        }
        self.names_last(directory)
    }

    /// How long the kernel may keep a name of the top directory, or that it is not there: only the policy changes them.
    pub(super) fn top_lasts(&self) -> Duration {
        if self.features().epoch {
            LONG
        } else {
            Duration::ZERO
        }
    }

    /// Likewise with what it leads to: of a granted path the mount does not know the directories above, and is not told.
    pub(super) fn top_entry_lasts(&self, entry: &Seen) -> Duration {
        match entry.node.position() {
            Position::Root if entry.verdict.rights.contains(Right::Read) => {
                self.top_lasts().min(lasts(&entry.folder))
            }
            _ => Duration::ZERO,
        }
    }

    /// How long the kernel may keep the names of a directory that is read as a whole.
    pub(super) fn names_last(&self, directory: &Seen) -> Duration {
        let ino = directory.node.ino;
        let kept = self.features().epoch
            && ino.is_shared()
            && !self.shared.leases.is_elsewhere(ino.family(), self.id);
        if kept {
            lasts(&directory.folder)
        } else {
            Duration::ZERO
        }
    }

    /// How long the kernel may keep the attributes of a node.
    pub(super) fn attributes_last(&self, seen: &Seen) -> Duration {
        let ino = seen.node.ino;
        let touched = self.shared.touches.is_elsewhere(ino.family(), self.id);
        let elsewhere = if seen.node.is_directory() {
            !seen.verdict.rights.contains(Right::Read)
                || self.shared.leases.is_elsewhere(ino.family(), self.id)
        } else {
            self.shared.writers.is_elsewhere(self.id, ino)
        };
        // Where names are not kept each walk asks anyway, and nothing has to be told when the policy changes.
        if touched || elsewhere || !ino.is_shared() || !self.features().epoch {
            Duration::ZERO
        } else {
            lasts(&seen.folder)
        }
    }

    /// Notes that a node is open for writing from now on: what is written shows in its own attributes alone.
    pub(super) fn opened_for_writing(&self, node: &Node) {
        if self.shared.writers.opened(self.id, node.ino) {
            self.touched(node);
        }
    }

    /// Takes back what [`FileSystem::opened_for_writing`] noted.
    pub(super) fn closed_for_writing(&self, node: &Node) {
        self.shared.writers.closed(self.id, node.ino);
        // What was written through a mapping the kernel has not noted; nor do those that keep pages of their own.
        if let Some(kernel) = self.kernel.get() {
            kernel.drop_attributes(node.ino);
        }
        let number = node.ino.family();
        for mount in self.shared.mounts() {
            if mount.id != self.id && !mount.has_passthrough() {
                mount.pages_changed(number);
            }
        }
    }

    /// Lets every name of this mount be looked up anew. Never waits.
    pub(super) fn forget_names(&self) {
        if let Some(kernel) = self.kernel.get().filter(|_| self.features().epoch) {
            tracing::debug!("all names are looked up anew");
            kernel.forget_names();
        }
    }

    fn forget_directory(&self, number: Ino) {
        let mut known = false;
        let kernel = self.kernel.get();
        self.nodes.each_of(number, |node| {
            known = true;
            if let Some(kernel) = kernel {
                kernel.drop_attributes(node.ino);
            }
        });
        if known {
            self.forget_names();
        }
    }

    /// Drops what the kernel keeps of an inode's content.
    pub(super) fn drop_pages_of(&self, number: Ino) {
        let Some(kernel) = self.kernel.get() else { return };
        self.nodes.each_of(number, |node| {
            kernel.drop_pages(node.ino);
        });
    }

    /// Drops the attributes that the kernel keeps of an inode's nodes, but for one. Where it does not know a node yet, an
    /// answer may be on its way: then its names are looked up anew, and the attributes with them; of one that an earlier
    /// daemon knew, they are dropped once more when that has come.
    fn drop_attributes_but(&self, number: Ino, object: &Object, but: Option<Ino>) {
        let Some(kernel) = self.kernel.get() else { return };
        let mut unknown = false;
        let mut uncertain = Vec::new();
        self.nodes.each_of(number, |node| {
            // Those of an inode that had the number before are no matter.
            let concerned = Some(node.ino) != but && node.object.is(object);
            if !concerned || kernel.drop_attributes(node.ino) {
                return;
            }
            // Mostly the kernel has forgotten it, and an earlier daemon did not take note of that.
            if node.is_uncertain() {
                uncertain.push(node.ino);
            } else {
                unknown = true;
            }
        });
        if !uncertain.is_empty() {
            self.suspect(uncertain);
        }
        if unknown {
            self.forget_names();
        }
    }

    fn others(&self, tell: impl Fn(&Self)) {
        for mount in self.shared.mounts() {
            if mount.id != self.id {
                tell(&mount);
            }
        }
    }
}

/// How long anything of a folder may be kept: until the daemon says otherwise, where it learns of what others do.
fn lasts(folder: &FolderView) -> Duration {
    if folder.backing.is_watched() {
        LONG
    } else {
        UNWATCHED
    }
}
