//! What mounts that outlive the daemon have in common: see [`crate::vfs::resume`].

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shared;
use crate::backing::Watch;
use crate::vfs::filesystem::FileSystem;
use crate::vfs::ids::MountId;
use crate::vfs::journal::Journal;

/// See [`Shared::changing_policy`].
pub struct Changing(Vec<Arc<Journal>>);

impl Drop for Changing {
    fn drop(&mut self) {
        self.0.iter().for_each(|journal| journal.changing(false));
    }
}

impl Shared {
    /// Lets the kernel of a mount that was taken over drop what may be so no more: all names, where others may have
    /// changed some while nobody watched or the policy `was_changing`. Else they stay: what a program has for its working
    /// directory has no path while it is looked up anew.
    pub(in crate::vfs) fn settle(&self, mount: &Arc<FileSystem>, was_changing: bool) {
        if was_changing || !self.watched_on {
            mount.forget_names();
            self.invalidator.run(vec![Arc::clone(mount)]);
        }
    }

    /// The watch, for the next daemon.
    pub fn watch_to_keep(&self) -> Option<&Arc<Watch>> {
        self.watcher.watch()
    }

    /// Notes for the next daemon that the policy may be changed until what this gives is dropped: what is on disk by then
    /// may not be in force.
    pub fn changing_policy(&self) -> Changing {
        let journals = self.mounts().filter_map(|mount| mount.journal.clone());
        Changing(journals.inspect(|journal| journal.changing(true)).collect())
    }

    /// Notes that all mounts of a former daemon are taken over: what was changed since that ended can be told to their
    /// kernels.
    pub fn all_are_taken_over(&self) {
        self.behind.all_are_there();
    }

    /// Tells whether a request of a former daemon may be the one that made a name: nobody else's is.
    pub(in crate::vfs) fn claim_made(&self, key: u64) -> bool {
        self.made.lock().insert(key)
    }

    /// Counts mounts that were taken over.
    pub fn taken_over(&self, mounts: u64) {
        self.takeovers.fetch_add(mounts, Ordering::Relaxed);
    }

    /// How many mounts were taken over from a former daemon.
    pub fn takeovers(&self) -> u64 {
        self.takeovers.load(Ordering::Relaxed)
    }

    /// Gives no mount a number again that a former daemon gave one.
    pub(in crate::vfs) fn mount_taken_over(&self, number: MountId) {
        self.mounted.fetch_max(number.0 + 1, Ordering::Relaxed);
    }
}
