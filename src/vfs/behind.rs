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

use self::known::{Known, Lines};
use super::backing::Backing;
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
}

impl Behind {
    /// Starts the thread; it works for `shared` as long as that lives.
    pub(super) fn start(shared: &Weak<Shared>) -> Self {
        let behind = Self::default();
        let (queue, shared) = (Arc::clone(&behind.queue), Weak::clone(shared));
        let spawned = std::thread::Builder::new()
            .name("behind".into())
            .spawn(move || work(&queue, &shared));
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread drops what is changed behind the daemon's back");
        }
        behind
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
            while waiting.batch.is_empty() && !waiting.ended {
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

/// One batch, on its way to the kernels of all mounts.
struct Pass<'a> {
    known: &'a mut Known,
    mounts: &'a [Arc<FileSystem>],
    published: &'a Published,
    /// The folders of each file system.
    folders: HashMap<FileSystemId, Vec<(FolderId, &'a Backing)>>,
    /// Directories in which names changed: their listings go, once each.
    directories: HashSet<Ino>,
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
        let mut pass = Pass::new(known, &mounts, &published);
        for change in batch.changes() {
            pass.drop_changed(change);
        }
        for &directory in &pass.directories {
            mounts.iter().for_each(|mount| mount.drop_listing(directory));
        }
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
    fn new(known: &'a mut Known, mounts: &'a [Arc<FileSystem>], published: &'a Published) -> Self {
        let mut folders: HashMap<_, Vec<_>> = HashMap::new();
        for (&folder, backing) in published.backings.iter() {
            if let Some((_, id)) = backing.file_system() {
                folders.entry(id).or_default().push((folder, &**backing));
            }
        }
        known.lines.retain(|folder, lines| {
            let policy = published.snapshot.folders.get(folder);
            policy.is_some_and(|policy| Arc::ptr_eq(policy, &lines.policy))
        });
        Self {
            known,
            mounts,
            published,
            folders,
            directories: HashSet::new(),
            renewed: HashSet::new(),
        }
    }

    fn drop_changed(&mut self, change: &Change) {
        match change {
            Change::Name {
                file_system,
                entry,
                target,
                is_directory,
                kind,
            } => {
                self.drop_name(*file_system, entry);
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

    /// Lets all mounts forget a name.
    fn drop_name(&mut self, file_system: FileSystemId, entry: &Entry) {
        for (_, directory) in self.numbers(file_system, &entry.directory) {
            for mount in self.mounts {
                if mount.forget_name(directory, &entry.name) {
                    self.directories.insert(directory);
                }
            }
        }
    }

    /// Lets all mounts drop what they keep of a file.
    fn drop_file(&mut self, changed: &Changed, what: Dropped) {
        for (folder, file) in self.numbers(changed.file_system, &changed.file) {
            for mount in self.mounts {
                if mount.drop_nodes(file, what) {
                    continue;
                }
                let Some(entry) = &changed.entry else { continue };
                let above = self.numbers(changed.file_system, &entry.directory);
                let above = above.into_iter().find(|(its, _)| *its == folder);
                if above.is_some_and(|(_, directory)| mount.forget_name(directory, &entry.name)) {
                    mount.drop_nodes(file, what);
                }
            }
        }
    }

    /// Finds the folders in which lines stand at or below a name, or in which a directory that a mount knows was
    /// `moved`: what holds there hangs on where things are.
    fn look_for_lines(&mut self, file_system: FileSystemId, entry: &Entry, moved: Option<&FileHandle>) {
        let moved = moved
            .map(|moved| self.numbers(file_system, moved))
            .unwrap_or_default();
        for &(folder, backing) in self
            .folders
            .get(&file_system)
            .map(Vec::as_slice)
            .unwrap_or_default()
        {
            let Some(policy) = self.published.snapshot.folders.get(&folder) else {
                continue;
            };
            let lines = self
                .known
                .lines
                .entry(folder)
                .or_insert_with(|| Lines::of(policy));
            let is_known = |ino| self.mounts.iter().any(|mount| !mount.numbers_of(ino).is_empty());
            let moved = || moved.iter().any(|&(its, ino)| its == folder && is_known(ino));
            if !lines.names.is_empty() && (moved() || lines.reach(backing, entry)) {
                self.renewed.insert(folder);
            }
        }
    }

    /// The number that the nodes of a file share, if it lies in a folder, for each folder on its file system.
    fn numbers(&mut self, file_system: FileSystemId, handle: &FileHandle) -> Vec<(FolderId, Ino)> {
        let Some(folders) = self.folders.get(&file_system) else {
            return Vec::new();
        };
        let Some(number) = self.known.numbers.of(file_system, handle, folders) else {
            return Vec::new();
        };
        let inos = folders
            .iter()
            .filter_map(|(folder, _)| Some((*folder, Ino::of(*folder, number)?)));
        inos.collect()
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
