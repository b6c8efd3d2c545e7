//! What all mounts of one daemon share: the published policy, the backings, and the way to change both.
//!
//! Requests read what is published without a lock. Changes come one after the other, from the daemon (a new
//! snapshot of the store) or from the file system itself (what a line is tied to was moved or removed), and hold
//! in every mount before the call that published them returns.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::backing::Backing;
use super::counters::Counters;
use super::descriptors::Descriptors;
use super::filesystem::FileSystem;
use super::invalidate::Invalidator;
use super::pool::Pacing;
use super::steward::Steward;
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

/// See the module's doc.
pub struct Shared {
    /// The daemon around the file system.
    pub steward: Arc<dyn Steward>,
    published: ArcSwap<Published>,
    generation: AtomicU64,
    changing: Mutex<Pending>,
    mounts: Mutex<Vec<Weak<FileSystem>>>,
    invalidator: Invalidator,
    pub(super) descriptors: Descriptors,
    pub(super) counters: Arc<Counters>,
    pub(super) pacing: Pacing,
    /// How many files one mount may have open.
    pub(super) files_of_a_mount: usize,
}

/// Changes of places that the store may not have seen yet; a snapshot of the store is brought up to date with them.
#[derive(Default)]
struct Pending {
    changes: Vec<(FolderId, PlaceId, PlaceChange)>,
}

impl Shared {
    /// Starts with no folder at all. Of `files` that the daemon may have open, each mount may take a quarter, and
    /// the nodes of all of them together.
    pub fn new(steward: Arc<dyn Steward>, files: usize) -> Arc<Self> {
        const MOST_FOR_NODES: usize = 16_384;
        Arc::new(Self {
            steward,
            published: ArcSwap::from_pointee(Published {
                generation: 1,
                snapshot: Arc::default(),
                backings: Arc::default(),
            }),
            generation: AtomicU64::new(1),
            changing: Mutex::default(),
            mounts: Mutex::default(),
            invalidator: Invalidator::start(),
            descriptors: Descriptors::new((files / 4).min(MOST_FOR_NODES)),
            counters: Arc::default(),
            pacing: Pacing::start(),
            files_of_a_mount: files / 4,
        })
    }

    /// Publishes a snapshot of the store and the backings of its folders. It holds in every mount when this
    /// returns, also for what the kernel had cached.
    ///
    /// Not to be called from a file-system request: it waits for the kernel.
    pub fn publish(&self, snapshot: Snapshot, backings: HashMap<FolderId, Arc<Backing>>) {
        {
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
            self.replace(Arc::new(snapshot), Arc::new(backings));
        }
        self.invalidator.run_and_wait(&self.mounts());
    }

    /// Changes where lines stand, from within a request: holds at once, is told to the daemon, and needs no wait.
    pub(super) fn change_places(&self, folder: FolderId, changes: &[(PlaceId, PlaceChange)]) {
        {
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
        }
        self.invalidator.run(self.mounts());
    }

    /// Lets everything be judged anew that was judged by where it was found: a directory was moved.
    pub(super) fn renew(&self) {
        let _pending = self.changing.lock();
        let published = self.published.load_full();
        self.replace(Arc::clone(&published.snapshot), Arc::clone(&published.backings));
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

    /// How many threads serve requests.
    pub fn workers(&self) -> usize {
        self.pacing.pacer().workers()
    }

    /// Allows the processors to be kept awake while requests follow each other closely, or not. It is allowed until
    /// this is called.
    pub fn allow_hold(&self, allowed: bool) {
        self.pacing.pacer().allow_hold(allowed);
    }

    /// Tells whether the processors are kept awake just now.
    pub fn holds_latency(&self) -> bool {
        self.pacing.pacer().is_held()
    }

    /// The generation of what is published.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn enlist(&self, mount: &Arc<FileSystem>) {
        let mut mounts = self.mounts.lock();
        mounts.retain(|mount| mount.strong_count() > 0);
        mounts.push(Arc::downgrade(mount));
    }

    fn mounts(&self) -> Vec<Arc<FileSystem>> {
        self.mounts.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// Called under the lock of `changing`.
    fn replace(&self, snapshot: Arc<Snapshot>, backings: Arc<HashMap<FolderId, Arc<Backing>>>) {
        let generation = self.generation() + 1;
        self.published.store(Arc::new(Published {
            generation,
            snapshot,
            backings,
        }));
        self.generation.store(generation, Ordering::Release);
    }
}
