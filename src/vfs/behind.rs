//! What was changed behind the daemon's back is dropped from the kernel's caches, in every mount that has it.
//!
//! The watcher (see [`super::watch`]) tells of files by their handles, on whole file systems, of which the folders
//! are a small part: so each handle is first turned into the inode number, by which the nodes of all mounts are found;
//! what no mount knows costs no more than that. The kernel is told by a thread of its own, for it may make a
//! notification wait for requests.
//!
//! A request that looked before the change and is answered after the word of it would bring back what is old. So
//! names are forgotten by the notification that waits for the requests in that directory, and where the kernel does
//! not know an inode yet, the name by which it was changed is forgotten first, which waits for whoever looks it up.

mod known;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use parking_lot::{Condvar, Mutex};

use self::known::{Known, path_of};
use super::backing::Backing;
use super::census::Census;
use super::filesystem::FileSystem;
use super::ids::Ino;
use super::shared::{Published, Shared};
use super::watch::Batch;
use crate::backing::{Change, Changed, Entry, FileHandle, FileSystemId, NameChange};
use crate::policy::FolderId;

/// What was changed and is not dropped yet, and the thread that does it.
#[derive(Debug, Default)]
pub(super) struct Behind {
    queue: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    batch: Batch,
    ended: bool,
    /// Whether the mounts that may know what changed are not all there yet.
    early: bool,
}

impl Behind {
    /// Starts the thread; it works for `shared` as long as that lives. If it is `early`, mounts of a former daemon are to
    /// come, and it waits for [`Behind::all_are_there`].
    pub(super) fn start(shared: &Weak<Shared>, early: bool) -> Self {
        let behind = Self::default();
        behind.queue.waiting.lock().early = early;
        let (queue, shared) = (Arc::clone(&behind.queue), Weak::clone(shared));
        let spawned = std::thread::Builder::new()
            .name("behind".into())
            .spawn(move || work(&queue, &shared));
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread drops what is changed behind the daemon's back");
        }
        behind
    }

    /// Lets it begin.
    pub(super) fn all_are_there(&self) {
        self.queue.waiting.lock().early = false;
        self.queue.filled.notify_one();
    }

    /// Takes what happened. Does not wait.
    pub(super) fn take(&self, batch: Batch) {
        // What waits already grows no further than one batch may.
        self.queue.waiting.lock().batch.merge(batch);
        self.queue.filled.notify_one();
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.queue.waiting.lock().ended = true;
        self.queue.filled.notify_one();
    }
}

fn work(queue: &Queue, shared: &Weak<Shared>) {
    let mut known = Known::default();
    loop {
        let batch = {
            let mut waiting = queue.waiting.lock();
            while (waiting.early || waiting.batch.is_empty()) && !waiting.ended {
                queue.filled.wait(&mut waiting);
            }
            if waiting.ended {
                return;
            }
            std::mem::take(&mut waiting.batch)
        };
        let Some(shared) = shared.upgrade() else { return };
        shared.drop_changed(&batch, &mut known);
    }
}

/// More names of one batch than these, those of all mounts together, are not told one by one: each costs some
/// microseconds.
const MOST_NAMES: usize = 4096;
/// But to each mount so many, for to look up everything anew costs its clients more.
const LEAST_NAMES: usize = 16;

/// One batch, on its way to the kernels of all mounts.
struct Pass<'a> {
    known: &'a mut Known,
    mounts: &'a [Arc<FileSystem>],
    census: &'a Census,
    published: &'a Published,
    /// The folders of each file system.
    folders: HashMap<FileSystemId, Vec<(FolderId, &'a Backing)>>,
    /// Names that changed, in directories that some mount may know.
    names: Vec<(Ino, &'a [u8])>,
    /// Folders in which something was moved or made where lines reach: all is judged anew.
    renewed: HashSet<FolderId>,
}

/// What is left of an inode in the kernel's cache.
#[derive(Clone, Copy)]
enum Dropped {
    Attributes,
    AttributesAndPages,
}

impl Shared {
    /// Takes what others did behind the daemon's back. Called on the watcher's thread; returns at once.
    pub(super) fn changed_natively(&self, batch: Batch) {
        self.behind.take(batch);
    }

    /// Does what the thread does.
    #[cfg(test)]
    pub(super) fn drop_now(&self, batch: &Batch) {
        self.drop_changed(batch, &mut Known::default());
    }

    fn drop_changed(&self, batch: &Batch, known: &mut Known) {
        let mounts: Vec<_> = self.mounts().collect();
        if batch.is_everything() {
            return self.drop_everything(&mounts);
        }
        if mounts.is_empty() {
            return;
        }
        let published = self.published();
        let mut pass = Pass::new(known, &mounts, &self.census, &published);
        for change in batch.changes() {
            pass.drop_changed(change);
        }
        pass.forget_names();
        for folder in pass.renewed {
            self.renew(folder);
        }
    }

    fn drop_everything(&self, mounts: &[Arc<FileSystem>]) {
        tracing::debug!("more was changed behind the daemon's back than is told one by one");
        // It may be that nothing can be watched any more.
        self.watch_anew();
        for mount in mounts {
            mount.forget_names();
            mount.drop_all_pages();
        }
        for (folder, policy) in &self.published().snapshot.folders {
            if policy.places.iter().any(|place| !place.path.is_root()) {
                self.renew(*folder);
            }
        }
    }
}

impl<'a> Pass<'a> {
    fn new(
        known: &'a mut Known, mounts: &'a [Arc<FileSystem>], census: &'a Census, published: &'a Published,
    ) -> Self {
        let mut folders: HashMap<_, Vec<_>> = HashMap::new();
        for (&folder, backing) in published.backings.iter() {
            if let Some((_, id)) = backing.file_system() {
                folders.entry(id).or_default().push((folder, &**backing));
            }
        }
        known.lines.follow(&published.snapshot);
        Self {
            known,
            mounts,
            census,
            published,
            folders,
            names: Vec::new(),
            renewed: HashSet::new(),
        }
    }

    fn drop_changed(&mut self, change: &'a Change) {
        match change {
            Change::Name {
                file_system,
                entry,
                target,
                is_directory,
                kind,
            } => {
                let directories = self.known(*file_system, &entry.directory);
                self.names
                    .extend(directories.into_iter().map(|(_, ino)| (ino, &*entry.name)));
                let moved = *is_directory && matches!(kind, NameChange::MovedFrom | NameChange::MovedTo);
                let moved = moved.then(|| target.as_ref().unwrap_or(&entry.directory));
                self.look_for_lines(*file_system, entry, moved);
            }
            Change::Content(changed) => self.drop_file(changed, Dropped::AttributesAndPages),
            Change::Attributes(changed) => self.drop_file(changed, Dropped::Attributes),
            // A batch is everything then.
            Change::Overflow => {}
        }
    }

    /// Lets all mounts forget the names that changed, and the listings of their directories.
    fn forget_names(&self) {
        let directories: HashSet<Ino> = self.names.iter().map(|(directory, _)| *directory).collect();
        let knows = |mount: &&Arc<FileSystem>| directories.iter().any(|directory| mount.knows(*directory));
        let knowing: Vec<_> = self.mounts.iter().filter(knows).collect();
        let most = (MOST_NAMES / knowing.len().max(1)).max(LEAST_NAMES);
        for mount in knowing {
            if self.names.len() > most && mount.features().epoch {
                mount.forget_names();
            } else {
                for (directory, name) in &self.names {
                    mount.forget_name(*directory, name);
                }
            }
            directories
                .iter()
                .for_each(|directory| mount.drop_listing(*directory));
        }
    }

    /// Lets all mounts drop what they keep of a file.
    fn drop_file(&mut self, changed: &Changed, what: Dropped) {
        let above = changed.entry.as_ref();
        let above = above.map(|entry| self.known(changed.file_system, &entry.directory));
        let above: HashMap<_, _> = above.into_iter().flatten().collect();
        let files = self.numbers(changed.file_system, &changed.file);
        for (folder, file) in files.collect::<Vec<_>>() {
            let directory = above.get(&folder).zip(changed.entry.as_ref());
            if directory.is_none() && !self.census.may_know(file) {
                continue;
            }
            for mount in self.mounts {
                if !mount.drop_nodes(file, what)
                    && directory.is_some_and(|(directory, entry)| mount.forget_name(*directory, &entry.name))
                {
                    mount.drop_nodes(file, what);
                }
            }
        }
    }

    /// Finds the folders in which lines stand at or below a name, or in which a directory that a mount knows was
    /// `moved`: what holds there hangs on where things are.
    fn look_for_lines(&mut self, file_system: FileSystemId, entry: &Entry, moved: Option<&FileHandle>) {
        if let Some(moved) = moved {
            for (folder, directory) in self.known(file_system, moved) {
                if self.known.lines.are_in(folder) && self.mounts.iter().any(|mount| mount.knows(directory)) {
                    self.renewed.insert(folder);
                }
            }
        }
        let Some(named) = self.known.lines.with_name(&entry.name) else {
            return;
        };
        let here = self
            .folders
            .get(&file_system)
            .map(Vec::as_slice)
            .unwrap_or_default();
        for (folder, backing) in here.iter().filter(|(folder, _)| named.contains(folder)) {
            if let Some(policy) = self.published.snapshot.folders.get(folder)
                && path_of(backing, entry)
                    .is_some_and(|path| policy.places.at_or_below(&path).next().is_some())
            {
                self.renewed.insert(*folder);
            }
        }
    }

    /// The number that the nodes of a file share, in each folder where some mount may know it.
    fn known(&mut self, file_system: FileSystemId, handle: &FileHandle) -> Vec<(FolderId, Ino)> {
        let census = self.census;
        let numbers = self.numbers(file_system, handle);
        numbers.filter(|(_, ino)| census.may_know(*ino)).collect()
    }

    /// The number that the nodes of a file share, for each folder on its file system.
    fn numbers(
        &mut self, file_system: FileSystemId, handle: &FileHandle,
    ) -> impl Iterator<Item = (FolderId, Ino)> + use<'_, 'a> {
        let folders = self
            .folders
            .get(&file_system)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let number = self.known.numbers.of(file_system, handle, folders);
        let ino = move |(folder, _): &(FolderId, _)| Some((*folder, Ino::of(*folder, number?)?));
        folders.iter().filter_map(ino)
    }
}

impl FileSystem {
    /// Drops what the kernel keeps of each node of an inode; tells whether there is one and it knew them all.
    fn drop_nodes(&self, number: Ino, what: Dropped) -> bool {
        let Some(kernel) = self.kernel.get() else {
            return false;
        };
        let nodes = self.numbers_of(number);
        let known = nodes.iter().filter(|&&ino| match what {
            Dropped::Attributes => kernel.drop_attributes(ino),
            Dropped::AttributesAndPages => kernel.drop_pages(ino),
        });
        known.count() == nodes.len() && !nodes.is_empty()
    }

    /// Tells whether it has a node of an inode.
    fn knows(&self, number: Ino) -> bool {
        !self.numbers_of(number).is_empty()
    }

    /// Forgets a name in each node of a directory; tells whether there is one. Waits for who looks it up just now.
    fn forget_name(&self, directory: Ino, name: &[u8]) -> bool {
        let Some(kernel) = self.kernel.get() else {
            return false;
        };
        let nodes = self.numbers_of(directory);
        for &ino in &nodes {
            kernel.forget_name(ino, name);
        }
        !nodes.is_empty()
    }

    /// Drops the listing and the attributes of each node of a directory.
    fn drop_listing(&self, directory: Ino) {
        let Some(kernel) = self.kernel.get() else { return };
        let mut nodes = Vec::new();
        self.nodes.each_of(directory, |node| {
            node.take_listed();
            nodes.push(node.ino);
        });
        for ino in nodes {
            kernel.drop_pages(ino);
        }
    }

    /// Drops attributes and pages of everything.
    fn drop_all_pages(&self) {
        let Some(kernel) = self.kernel.get() else { return };
        for node in self.nodes.all() {
            node.take_listed();
            kernel.drop_pages(node.ino);
        }
    }

    /// The kernel may make a notification wait, and the table must not.
    fn numbers_of(&self, number: Ino) -> Vec<Ino> {
        let mut nodes = Vec::new();
        self.nodes.each_of(number, |node| nodes.push(node.ino));
        nodes
    }
}
