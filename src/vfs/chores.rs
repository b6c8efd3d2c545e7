//! What one mount's kernel is still to be told of, and the thread that does it.
//!
//! The kernel may make such a notification wait for a request, and that for a client who can take as long as he likes:
//! so each mount has a thread of its own while there is anything to do, and no mount waits for another.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::filesystem::FileSystem;
use super::ids::Ino;

/// How long attributes wait for further changes, and for what was answered by the former policy to arrive.
const PAUSE: Duration = Duration::from_millis(50);
/// So much is kept of single files for a kernel that does not answer.
const MOST: usize = 65_536;

/// See the module's doc.
#[derive(Debug, Default)]
pub(super) struct Chores {
    left: Mutex<Left>,
    more: Condvar,
}

/// What is left to do.
#[derive(Debug, Default)]
struct Left {
    /// Whether a thread is at work.
    running: bool,
    /// Who waits for what is urgent: the pages of files whose rights shrank, and the listings.
    urgent: Vec<Option<SyncSender<()>>>,
    /// When all attributes are to go, whatever else comes in between.
    attributes: Option<Instant>,
    /// Inodes whose pages are old.
    pages: HashSet<Ino>,
    /// Names, with their directories, that lead nowhere any more.
    names: HashSet<(Ino, Box<[u8]>)>,
}

impl FileSystem {
    /// Drops what the policy does not allow any more, and all attributes after a while. `done` is dropped when what is
    /// urgent is done.
    pub(super) fn policy_changed(self: &Arc<Self>, done: Option<SyncSender<()>>) {
        // Of what the kernel does not know it keeps nothing.
        if self.nodes.is_empty() {
            return;
        }
        self.leave(|left| {
            left.urgent.push(done);
            left.attributes.get_or_insert_with(|| Instant::now() + PAUSE);
        });
    }

    /// Drops the pages of an inode, which the kernel has from before another mount changed it.
    pub(super) fn pages_changed(self: &Arc<Self>, number: Ino) {
        if self.nodes.relatives_of(number) > 0 {
            self.leave(|left| {
                if left.pages.len() < MOST {
                    left.pages.insert(number);
                }
            });
        }
    }

    /// Forgets a name that leads nowhere any more, so that the kernel lets go of the inode.
    pub(super) fn name_gone(self: &Arc<Self>, directory: Ino, name: &[u8]) {
        self.leave(|left| {
            if left.names.len() < MOST {
                left.names.insert((directory, name.into()));
            }
        });
    }

    fn leave(self: &Arc<Self>, add: impl FnOnce(&mut Left)) {
        let mut left = self.chores.left.lock();
        add(&mut left);
        if left.running {
            self.chores.more.notify_one();
            return;
        }
        let mount = Arc::clone(self);
        match std::thread::Builder::new()
            .name("chores".into())
            .spawn(move || mount.do_chores())
        {
            Ok(_) => left.running = true,
            Err(error) => {
                tracing::error!(%error, "cannot start the thread that tells the kernel what is old")
            }
        }
    }

    fn do_chores(&self) {
        loop {
            let mut left = self.chores.left.lock();
            if left.attributes.is_some_and(|due| due <= Instant::now()) && left.urgent.is_empty() {
                left.attributes = None;
                drop(left);
                self.drop_all_attributes();
                continue;
            }
            if left.urgent.is_empty() && left.pages.is_empty() && left.names.is_empty() {
                let Some(due) = left.attributes else {
                    left.running = false;
                    return;
                };
                self.chores.more.wait_until(&mut left, due);
                continue;
            }
            let urgent = std::mem::take(&mut left.urgent);
            let (pages, names) = (std::mem::take(&mut left.pages), std::mem::take(&mut left.names));
            drop(left);
            if !urgent.is_empty() {
                self.drop_revoked_pages();
                self.drop_listings();
            }
            drop(urgent);
            pages.into_iter().for_each(|number| self.drop_pages_of(number));
            for (directory, name) in names {
                self.forget_name_in(directory, &name);
            }
        }
    }
}
