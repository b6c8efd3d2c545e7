//! What all mounts of one daemon share: the published policy, the backings, and the way to change both.
//!
//! Requests read what is published without a lock. Changes come one after the other, from the daemon (a new
//! snapshot of the store) or from the file system itself (what a line is tied to was moved or removed), and hold
//! in every mount before the call that published them returns.

mod taking_over;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::backing::Backing;
use super::behind::Behind;
use super::budget::Budget;
use super::census::Census;
use super::counters::Counters;
use super::descriptors::Descriptors;
use super::filesystem::FileSystem;
use super::ids::MountId;
use super::invalidate::Invalidator;
use super::kernel::Features;
use super::leases::Leases;
use super::names::NameLocks;
use super::pool::Pacing;
use super::processes::Processes;
use super::refusals::Refusals;
use super::steward::Steward;
use super::timing::Times;
use super::view::FolderViews;
use super::watch::{WatchReport, Watcher};
use super::writers::Writers;
use crate::backing::Watch;
use crate::policy::{FolderId, PlaceChange, PlaceId, Snapshot};

/// The policy and the backings at one generation.
pub struct Published {
    /// Counts up with each change.
    pub generation: u64,
    /// Who may do what.
    pub snapshot: Arc<Snapshot>,
    /// The files behind the folders.
    pub backings: Arc<HashMap<FolderId, Arc<Backing>>>,
}

impl Published {
    /// Tells whether a folder is the same in both.
    pub(super) fn is_same(&self, other: &Self, folder: FolderId) -> bool {
        fn same<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
            match (one, other) {
                (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                (None, None) => true,
                _ => false,
            }
        }
        same(
            self.snapshot.folders.get(&folder),
            other.snapshot.folders.get(&folder),
        ) && same(self.backings.get(&folder), other.backings.get(&folder))
    }
}

/// What is held in memory for mounts.
#[derive(Clone, Copy, Default, Debug)]
pub struct Held {
    /// Files that the kernel knows.
    pub nodes: usize,
    /// Descriptors that are kept open for these.
    pub descriptors: usize,
    /// Files that programs have open.
    pub files: usize,
    /// Directories, likewise.
    pub directories: usize,
}

/// See the module's doc.
pub struct Shared {
    /// The daemon around the file system.
    pub steward: Arc<dyn Steward>,
    published: ArcSwap<Published>,
    generation: AtomicU64,
    changing: Mutex<Pending>,
    mounts: ArcSwap<Vec<Weak<FileSystem>>>,
    mounted: AtomicU64,
    takeovers: AtomicU64,
    /// Which names requests of a former daemon have made.
    made: Mutex<HashSet<u64>>,
    /// How many mounts have a kernel that keeps what it is told.
    attached: AtomicUsize,
    without_passthrough: AtomicBool,
    without_names: AtomicBool,
    pub(super) leases: Leases,
    /// Whose attributes change at present: see [`FileSystem::touching`].
    pub(super) touches: Leases,
    pub(super) compiled: FolderViews,
    pub(super) writers: Writers,
    invalidator: Invalidator,
    pub(super) behind: Behind,
    pub(super) census: Arc<Census>,
    watcher: Watcher,
    /// Whether nothing was missed since a former daemon ended.
    watched_on: bool,
    /// Held while the watcher is told which backings there are.
    watching: Mutex<()>,
    pub(super) descriptors: Descriptors,
    pub(super) counters: Arc<Counters>,
    pub(super) pacing: Pacing,
    pub(super) processes: Processes,
    pub(super) names: NameLocks,
    /// Of inodes, while a mode is judged and set.
    pub(super) modes: NameLocks,
    pub(super) refusals: Refusals,
    /// How many files one mount may have open.
    pub(super) files_of_a_mount: usize,
    /// How many all of them together.
    pub(super) files_of_all: Arc<Budget>,
}

/// Changes of places that the store may not have seen yet; a snapshot of the store is brought up to date with them.
#[derive(Default)]
struct Pending {
    changes: Vec<(FolderId, PlaceId, PlaceChange)>,
}

impl Shared {
    /// Starts with no folder at all. Of `files` that the daemon may have open, each mount may take a quarter, all
    /// together a half, and the nodes of all of them a quarter. The rest is for mounts, folders and who asks.
    ///
    /// `watch` is the one of a former daemon, by which is known what was changed since that ended.
    pub fn new(steward: Arc<dyn Steward>, files: usize, watch: Option<Watch>) -> Arc<Self> {
        const MOST_FOR_NODES: usize = 16_384;
        let watched_on = watch.is_some();
        Arc::new_cyclic(|shared: &Weak<Self>| Self {
            steward,
            published: ArcSwap::from_pointee(Published {
                generation: 1,
                snapshot: Arc::default(),
                backings: Arc::default(),
            }),
            generation: AtomicU64::new(1),
            changing: Mutex::default(),
            mounts: ArcSwap::default(),
            mounted: AtomicU64::new(1),
            takeovers: AtomicU64::new(0),
            made: Mutex::default(),
            attached: AtomicUsize::new(0),
            without_passthrough: AtomicBool::new(false),
            without_names: AtomicBool::new(false),
            leases: Leases::default(),
            touches: Leases::default(),
            compiled: FolderViews::default(),
            writers: Writers::default(),
            invalidator: Invalidator::start(),
            behind: Behind::start(shared, watched_on),
            census: Arc::default(),
            watched_on,
            watcher: Watcher::start(watch, {
                let shared = Weak::clone(shared);
                Box::new(move |batch| {
                    if let Some(shared) = shared.upgrade() {
                        shared.changed_natively(batch);
                    }
                })
            }),
            watching: Mutex::default(),
            descriptors: Descriptors::new((files / 4).min(MOST_FOR_NODES)),
            counters: Arc::default(),
            pacing: Pacing::start(),
            processes: Processes::default(),
            names: NameLocks::default(),
            modes: NameLocks::default(),
            refusals: Refusals::default(),
            files_of_a_mount: files / 4,
            files_of_all: Arc::new(Budget::new(files / 2)),
        })
    }

    /// Publishes a snapshot of the store and the backings of its folders. It holds in every mount when this
    /// returns, also for what the kernel had cached.
    ///
    /// Not to be called from a file-system request: it waits for the kernel.
    pub fn publish(&self, snapshot: Snapshot, backings: HashMap<FolderId, Arc<Backing>>) {
        let concerned = {
            let mut pending = self.changing.lock();
            let mut snapshot = snapshot;
            pending.changes.retain(|(folder, place, change)| {
                let Some(policy) = snapshot.folders.get(folder) else {
                    return false;
                };
                if policy.has(*place, change) {
                    return false;
                }
                let changed = policy.with_changes(&[(*place, change.clone())]);
                snapshot.folders.insert(*folder, Arc::new(changed));
                true
            });
            let before = self.published.load_full();
            let after = {
                let _watching = self.watching.lock();
                // Nothing is kept of a backing before it is watched.
                self.watch(&backings);
                self.replace(Arc::new(snapshot), Arc::new(backings))
            };
            self.forget_names(|mount| mount.is_concerned(&before, &after))
        };
        self.invalidator.run_and_wait(&concerned);
    }

    /// Changes where lines stand, from within a request: holds at once, is told to the daemon, and needs no wait.
    pub(super) fn change_places(&self, folder: FolderId, changes: &[(PlaceId, PlaceChange)]) {
        let concerned = {
            let mut pending = self.changing.lock();
            let published = self.published.load_full();
            let Some(policy) = published.snapshot.folders.get(&folder) else {
                return;
            };
            let news: Vec<_> = changes
                .iter()
                .filter(|(place, change)| !policy.has(*place, change))
                .cloned()
                .collect();
            if news.is_empty() {
                return;
            }
            let mut snapshot = Snapshot::clone(&published.snapshot);
            snapshot
                .folders
                .insert(folder, Arc::new(policy.with_changes(&news)));
            self.replace(Arc::new(snapshot), Arc::clone(&published.backings));
            for (place, change) in news {
                self.steward.place_changed(folder, place, change.clone());
                pending.changes.push((folder, place, change));
            }
            self.forget_names(|mount| mount.has(&self.published.load(), folder))
        };
        self.invalidator.run(concerned);
    }

    /// Lets everything in a folder be judged anew that was judged by where it was found: a directory was moved.
    pub(super) fn renew(&self, folder: FolderId) {
        let concerned = {
            let _pending = self.changing.lock();
            let published = self.published.load_full();
            self.replace(Arc::clone(&published.snapshot), Arc::clone(&published.backings));
            self.forget_names(|mount| mount.has(&published, folder))
        };
        self.invalidator.run(concerned);
    }

    /// What is published now.
    pub fn published(&self) -> Arc<Published> {
        self.published.load_full()
    }

    /// The published policy.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.published.load().snapshot)
    }

    /// How many requests the kernel has made of all mounts, by opcode.
    pub fn requests(&self) -> BTreeMap<String, u64> {
        self.counters.sum()
    }

    /// How long requests took that were timed, by opcode.
    pub fn times(&self) -> BTreeMap<&'static str, Times> {
        self.counters.times()
    }

    /// How many requests were refused, by what they were answered.
    pub fn refused(&self) -> BTreeMap<&'static str, u64> {
        self.counters.refused()
    }

    /// What is held in memory for all mounts.
    pub fn held(&self) -> Held {
        let mut held = Held {
            descriptors: self.descriptors.len(),
            ..Held::default()
        };
        for mount in self.mounts() {
            let (files, directories) = mount.handles.count();
            held.nodes += mount.nodes.len();
            held.files += files;
            held.directories += directories;
        }
        held
    }

    /// How many threads serve requests.
    pub fn workers(&self) -> usize {
        self.pacing.pacer().workers()
    }

    /// How many files and directories the kernels of all mounts know of.
    pub fn nodes(&self) -> usize {
        self.mounts().map(|mount| mount.nodes.len()).sum()
    }

    /// The mounts in which a request waits that no worker is free for, each with how many were begun in it so far: if
    /// that is the same some time later, nothing moves there.
    pub fn waiting(&self) -> Vec<(MountId, u64)> {
        self.pacing.pacer().waiting()
    }

    /// Allows the processors to be kept awake while requests follow each other closely, or not. It is allowed until
    /// this is called.
    pub fn allow_hold(&self, allowed: bool) {
        self.pacing.pacer().allow_hold(allowed);
    }

    /// Allows data to bypass the daemon, and names to be kept by the kernel, in mounts that are made from now on. Both
    /// are allowed until this is called.
    pub fn allow_kernel(&self, passthrough: bool, names: bool) {
        self.without_passthrough.store(!passthrough, Ordering::Release);
        self.without_names.store(!names, Ordering::Release);
    }

    /// Of what a kernel can do, what is made use of.
    pub(super) fn allowed(&self, features: Features) -> Features {
        Features {
            passthrough: features.passthrough && !self.without_passthrough.load(Ordering::Acquire),
            epoch: features.epoch && !self.without_names.load(Ordering::Acquire),
            ..features
        }
    }

    /// Tells whether the processors are kept awake just now.
    pub fn holds_latency(&self) -> bool {
        self.pacing.pacer().is_held()
    }

    /// The generation of what is published.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Tells, for each file system that a folder lies on, whether changes behind the daemon's back are noticed.
    pub fn watch_reports(&self) -> Vec<WatchReport> {
        let published = self.published.load_full();
        let mut backings: Vec<_> = published.backings.iter().collect();
        backings.sort_by_key(|(folder, _)| **folder);
        self.watcher
            .report(backings.into_iter().map(|(folder, backing)| (*folder, backing)))
    }

    pub(super) fn enlist(&self, mount: &Arc<FileSystem>) {
        self.mounts.rcu(|mounts| {
            let alive = mounts.iter().filter(|mount| mount.strong_count() > 0);
            let mut mounts: Vec<_> = alive.cloned().collect();
            mounts.push(Arc::downgrade(mount));
            mounts
        });
    }

    /// A kernel keeps what it is told from now on: so others are watched.
    pub(super) fn attached(&self) {
        self.attached.fetch_add(1, Ordering::AcqRel);
        self.watch_anew();
    }

    /// Takes back what [`Shared::attached`] noted. With the last kernel goes the watch: others shall not pay for what
    /// helps nobody.
    pub(super) fn detached(&self) {
        self.attached.fetch_sub(1, Ordering::AcqRel);
        self.watch_anew();
    }

    /// Finds anew which file systems are to be and can be watched.
    pub(super) fn watch_anew(&self) {
        let _watching = self.watching.lock();
        self.watch(&self.published.load().backings);
    }

    /// Called under the lock of `watching`.
    fn watch(&self, backings: &HashMap<FolderId, Arc<Backing>>) {
        let listens = self.attached.load(Ordering::Acquire) > 0;
        self.watcher.follow(backings.values().filter(|_| listens));
    }

    /// The number of the next mount.
    pub(super) fn next_mount(&self) -> MountId {
        MountId(self.mounted.fetch_add(1, Ordering::Relaxed))
    }

    /// All mounts.
    pub(super) fn mounts(&self) -> impl Iterator<Item = Arc<FileSystem>> {
        let mounts = self.mounts.load();
        (0..mounts.len()).filter_map(move |index| mounts[index].upgrade())
    }

    /// Called under the lock of `changing`.
    fn replace(
        &self, snapshot: Arc<Snapshot>, backings: Arc<HashMap<FolderId, Arc<Backing>>>,
    ) -> Arc<Published> {
        let generation = self.generation() + 1;
        let published = Arc::new(Published {
            generation,
            snapshot,
            backings,
        });
        self.published.store(Arc::clone(&published));
        self.generation.store(generation, Ordering::Release);
        published
    }

    /// Lets the mounts concerned look up every name anew, and tells which they are. Never waits.
    fn forget_names(&self, concerned: impl Fn(&FileSystem) -> bool) -> Vec<Arc<FileSystem>> {
        self.mounts()
            .filter(|mount| concerned(mount))
            .inspect(|mount| mount.forget_names())
            .collect()
    }
}
