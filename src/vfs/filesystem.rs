//! One mounted file system: a subject, his view of the policy, his nodes and handles.
//!
//! The operations on it stand in [`super::ops`], one file per family. Each finds its nodes with
//! [`FileSystem::seen`] and [`FileSystem::probe`](super::locate), asks [`FileSystem::authorize`] once, and only
//! then touches the backing.

use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock, Weak};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::authorize::take_asked;
use super::chores::Chores;
use super::counters::Counter;
use super::cut::Cuts;
use super::edits::Edits;
use super::error::{Error, Result};
use super::handles::Handles;
use super::ids::{Ino, MountId};
use super::journal::Journal;
use super::journal::requests::{Former, Records};
use super::kernel::{Features, Kernel, Offer};
use super::locate::verdict_of;
use super::locks::Waiters;
use super::nameless::Nameless;
use super::node::Node;
use super::nodes::Nodes;
use super::reach::Reach;
use super::settle::Suspects;
use super::shared::{Published, Shared};
use super::view::{FolderView, View, Viewer};
use crate::backing::FileKind;
use crate::policy::{Cursor, FolderId, Refusal, Right, Rights, Subject, Verdict};

/// What a mount was asked to be.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whose mount it is and how far it reaches.
    pub viewer: Viewer,
    /// The ids that everything is shown to belong to, instead of those who made it.
    pub own: Option<(u32, u32)>,
    /// Whether the kernel applies the shown modes and owners on top of the verdicts.
    pub default_permissions: bool,
    /// The subject's own ids.
    pub subject_ids: (u32, u32),
    /// Whether the kernel refuses every change and judges opens by the shown modes, without a word to the daemon.
    pub read_only: bool,
    /// Whether nothing bypasses the daemon, so that what is open is cut whole when the policy changes.
    pub strict: bool,
}

/// Who asks: what the kernel tells with a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller {
    /// The file-system uid.
    pub uid: u32,
    /// The file-system gid.
    pub gid: u32,
    /// The thread id, 0 if it is not visible here.
    pub pid: u32,
}

/// See the module's doc.
pub struct FileSystem {
    /// For what goes on in threads of its own.
    pub(super) this: Weak<Self>,
    pub(super) shared: Arc<Shared>,
    pub(super) options: Options,
    pub(super) nodes: Nodes,
    pub(super) handles: Handles,
    pub(super) waiters: Waiters,
    pub(super) requests: Counter,
    pub(super) mounted: SystemTime,
    pub(super) kernel: OnceLock<Box<dyn Kernel>>,
    pub(super) features: OnceLock<Features>,
    pub(super) offer: OnceLock<Offer>,
    pub(super) id: MountId,
    pub(super) reach: Arc<Reach>,
    pub(super) cuts: Cuts,
    pub(super) chores: Chores,
    pub(super) edits: Edits,
    /// What the next daemon takes over, if any does.
    pub(super) journal: Option<Arc<Journal>>,
    /// The records of its requests.
    pub(super) records: Option<Arc<Records>>,
    /// What a former daemon had begun.
    pub(super) former: Former,
    pub(super) suspects: Suspects,
    pub(super) nameless: Nameless,
    view: ArcSwap<View>,
    renewing: Mutex<()>,
}

/// A node, and what holds for it in one view.
#[derive(Clone)]
pub struct Seen {
    /// The node.
    pub node: Arc<Node>,
    /// Its folder.
    pub folder: Arc<FolderView>,
    /// Its place in the folder's tree.
    pub cursor: Cursor,
    /// What the subject may do with it.
    pub verdict: Verdict,
}

/// What a node number leads to.
pub enum Target {
    /// The top directory.
    Top,
    /// Something in a folder.
    Entry(Seen),
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        self.shared.writers.ended(self.id);
        if self.kernel.get().is_some() {
            self.shared.detached();
        }
    }
}

/// How often a request starts anew because lines were found to have moved.
const ATTEMPTS: usize = 4;

impl FileSystem {
    /// Makes the file system of a mount, and enlists it for changes of policy.
    pub fn new(shared: &Arc<Shared>, options: Options) -> Arc<Self> {
        Self::lasting(shared, options, shared.next_mount(), None)
    }

    /// Likewise, of that number, and keeps for the next daemon what that has to know.
    pub(super) fn lasting(
        shared: &Arc<Shared>, options: Options, id: MountId, journal: Option<Arc<Journal>>,
    ) -> Arc<Self> {
        let published = shared.published();
        let filesystem = Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            shared: Arc::clone(shared),
            options,
            nodes: Nodes::new(Arc::clone(&shared.census), journal.clone()),
            handles: Handles::new(shared.files_of_a_mount, &shared.files_of_all, journal.clone()),
            waiters: Waiters::default(),
            requests: shared.counters.join(),
            mounted: SystemTime::now(),
            kernel: OnceLock::new(),
            features: OnceLock::new(),
            offer: OnceLock::new(),
            id,
            reach: Arc::default(),
            cuts: Cuts::default(),
            chores: Chores::default(),
            edits: Edits::default(),
            former: journal
                .as_ref()
                .map(|journal| journal.former_requests())
                .unwrap_or_default(),
            records: journal.as_ref().map(|journal| Arc::new(Records::new(journal))),
            journal,
            suspects: Suspects::default(),
            nameless: Nameless::default(),
            view: ArcSwap::from_pointee(View::of(&published, options.viewer, &shared.compiled)),
            renewing: Mutex::new(()),
        });
        shared.enlist(&filesystem);
        filesystem
    }

    /// Gives it the kernel that it is mounted in, once and before that asks anything.
    pub(super) fn attach(&self, kernel: Box<dyn Kernel>) {
        if self.kernel.set(kernel).is_ok() {
            self.shared.attached();
        }
    }

    /// What it was asked to be.
    pub fn options(&self) -> Options {
        self.options
    }

    /// On whose behalf it acts, and how far it reaches.
    pub fn viewer(&self) -> Viewer {
        self.options.viewer
    }

    /// The view at the present generation.
    pub(super) fn view(&self) -> Arc<View> {
        let view = self.view.load_full();
        if view.generation == self.shared.generation() {
            view
        } else {
            self.renew()
        }
    }

    /// Runs an operation on the present view, and anew if it found that lines have moved with their directories.
    pub(super) fn with_view<T>(&self, mut operation: impl FnMut(&View) -> Result<T>) -> Result<T> {
        for _ in 1..ATTEMPTS {
            match operation(&self.view()) {
                // What was asked on the way is asked again.
                Err(Error::PlacesMoved) => drop(take_asked()),
                done => return done,
            }
        }
        operation(&self.view())
    }

    /// What a number leads to, whether or not the subject sees it: the caller asks [`FileSystem::authorize`].
    ///
    /// # Errors
    /// [`Error::Unknown`] if the kernel was never told of the number; ENOENT if the folder is the subject's no more.
    pub(super) fn target(&self, view: &View, ino: Ino) -> Result<Target> {
        if ino == Ino::TOP {
            Ok(Target::Top)
        } else {
            Ok(Target::Entry(self.seen(view, ino)?))
        }
    }

    /// Like [`FileSystem::target`], where the top directory cannot be meant.
    pub(super) fn seen(&self, view: &View, ino: Ino) -> Result<Seen> {
        let node = self.nodes.find(ino).ok_or(Error::Unknown)?;
        self.seen_node(view, node)
    }

    /// What holds for a node.
    pub(super) fn seen_node(&self, view: &View, node: Arc<Node>) -> Result<Seen> {
        let folder = view.folder(node.folder).ok_or(Refusal::NotFound)?;
        let mut cursor = self.cursor(view, folder, &node)?;
        if let Some(most) = node.displaced() {
            cursor = folder.tree.capped(cursor, most);
        }
        let way = folder.tree.verdict(cursor).corridor;
        let there = way
            .then(|| self.shared.descriptors.of(folder, &node).ok())
            .flatten();
        Ok(Seen {
            verdict: verdict_of(folder, cursor, there.as_deref()),
            folder: Arc::clone(folder),
            cursor,
            node,
        })
    }

    /// A descriptor that points at a node. To be asked for before credentials are assumed.
    ///
    /// # Errors
    /// [`Error::Stale`] if the inode is no more.
    pub(super) fn fd(&self, seen: &Seen) -> Result<Arc<OwnedFd>> {
        self.shared.descriptors.of(&seen.folder, &seen.node)
    }

    /// Reports that the backing directory of a folder is not there any more.
    pub(super) fn lost(&self, folder: &FolderView) -> Error {
        self.shared.steward.backing_lost(folder.policy.id);
        Error::Lost
    }

    /// Tells whether a change of policy makes a difference to this mount.
    pub(super) fn is_concerned(&self, before: &Published, after: &Published) -> bool {
        let viewer = self.options.viewer;
        let subject = |published: &Published| {
            Subject::of(&published.snapshot, viewer.account, viewer.ceiling, viewer.online)
        };
        let tops = |published: &Published| published.snapshot.tops.get(&viewer.account).cloned();
        let (had, has) = (tops(before).unwrap_or_default(), tops(after).unwrap_or_default());
        had != has
            || subject(before) != subject(after)
            || has.iter().any(|entry| !before.is_same(after, entry.folder))
    }

    /// Tells whether the subject has a folder, or something in it.
    pub(super) fn has(&self, published: &Published, folder: FolderId) -> bool {
        let tops = published.snapshot.tops.get(&self.options.viewer.account);
        tops.is_some_and(|tops| tops.iter().any(|entry| entry.folder == folder))
    }

    /// Drops the listings that the kernel may have kept, and the symbolic links that may not be read any more.
    pub(super) fn drop_listings(&self) {
        let Some(kernel) = self.kernel.get() else { return };
        kernel.drop_pages(Ino::TOP);
        for node in self.nodes.all() {
            let link = node.object.kind == FileKind::Symlink;
            if node.take_listed() || link && !self.rights_now(&node).contains(Right::Read) {
                kernel.drop_pages(node.ino);
            }
        }
    }

    /// Drops all attributes that the kernel keeps, and what it keeps of the content of what may not be read any more.
    pub(super) fn drop_all_attributes(&self) {
        let Some(kernel) = self.kernel.get() else { return };
        for node in self.nodes.all() {
            let reads = || self.rights_now(&node).contains(Right::Read);
            if node.is_directory() || !reads() {
                kernel.drop_pages(node.ino);
            } else {
                kernel.drop_attributes(node.ino);
            }
        }
    }

    /// Drops the cached pages of open files whose rights do not cover them any more.
    pub(super) fn drop_revoked_pages(&self) {
        let Some(kernel) = self.kernel.get() else { return };
        let opens_itself = self.features().opens_itself;
        // Where the kernel opens by itself, nobody tells what is open; nor is anything open for writing.
        let open = if opens_itself {
            self.nodes.all()
        } else {
            self.handles.open_nodes()
        };
        for node in open {
            let rights = self.rights_now(&node);
            if !rights.contains(Right::Read) || !opens_itself && !rights.contains(Right::Write) {
                kernel.drop_pages(node.ino);
            }
        }
    }

    /// What the subject may do with a node now.
    pub(super) fn rights_now(&self, node: &Arc<Node>) -> Rights {
        self.with_view(|view| self.seen_node(view, Arc::clone(node)))
            .map(|seen| seen.verdict.rights)
            .unwrap_or_default()
    }

    fn renew(&self) -> Arc<View> {
        let _one_at_a_time = self.renewing.lock();
        let before = self.view.load_full();
        let published = self.shared.published();
        if before.generation == published.generation {
            return before;
        }
        let view = Arc::new(View::of(&published, self.options.viewer, &self.shared.compiled));
        self.view.store(Arc::clone(&view));
        view
    }
}
