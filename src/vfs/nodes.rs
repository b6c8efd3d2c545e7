//! The nodes that the kernel knows of one mount.
//!
//! All nodes of one inode are a family: mostly one, more where names under different rules lead to it, which then
//! differ in the salt of their numbers. The table is cut into shards; no request holds a shard's lock over a system
//! call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashTable;
use parking_lot::RwLock;

use super::census::Census;
use super::ids::Ino;
use super::journal::Journal;
use super::node::{Node, Position};
use super::object::{Object, Opened};
use crate::policy::{Cursor, FolderId};

const SHARDS: usize = 32;
/// A table of no more room than this is never made smaller.
const SMALL: usize = 64;

/// The table.
#[derive(Debug)]
pub struct Nodes {
    shards: [RwLock<Shard>; SHARDS],
    counted: AtomicU64,
    /// Of all mounts.
    census: Arc<Census>,
    /// Where they are kept for the next daemon, in a mount that outlives this one.
    journal: Option<Arc<Journal>>,
}

/// The nodes of some families.
#[derive(Debug, Default)]
struct Shard {
    /// By their numbers.
    nodes: HashTable<Arc<Node>>,
    /// How many have a salt.
    salted: usize,
}

/// What a lookup found, to be kept as a node.
pub struct Found {
    /// The folder.
    pub folder: FolderId,
    /// The inode.
    pub opened: Opened,
    /// Where.
    pub position: Position,
    /// The policy's generation that `cursor` belongs to.
    pub generation: u64,
    /// What holds there.
    pub cursor: Cursor,
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for shard in &mut self.shards {
            for node in &shard.get_mut().nodes {
                self.census.goes(node.ino);
            }
        }
    }
}

impl Nodes {
    /// An empty table.
    pub(super) fn new(census: Arc<Census>, journal: Option<Arc<Journal>>) -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            counted: AtomicU64::new(1),
            census,
            journal,
        }
    }

    /// The node of a number.
    pub fn find(&self, ino: Ino) -> Option<Arc<Node>> {
        self.shard(ino).read().find(ino).cloned()
    }

    /// The node for what was found, told to the kernel (one lookup more): the one that is there, at its new
    /// position, or a new one. `known` tells the cursor of a node at the generation of `found`.
    pub fn keep(&self, found: Found, known: impl Fn(&Arc<Node>) -> Option<Cursor>) -> Arc<Node> {
        // Without a family number a node cannot be found again by its inode: such are rare, and each is new.
        let Some(base) = Ino::of(found.folder, found.opened.object.number) else {
            return self.keep_counted(found);
        };
        if let Some(node) = self.shard(base).read().find_found(base, &found) {
            return found.again(node);
        }
        let mut lagging = self.relatives(base);
        lagging.retain(|node| found.is(node) && known(node) == Some(found.cursor));
        let mut shard = self.shard(base).write();
        // Another request may have been quicker, and a forget may have come in between: only what is in the table now
        // may be told of again.
        let there = shard.find_found(base, &found).or_else(|| {
            let still =
                |node: &&Arc<Node>| shard.find(node.ino).is_some_and(|there| Arc::ptr_eq(node, there));
            let node = lagging.iter().find(still)?;
            node.looked_up();
            Some(Arc::clone(node))
        });
        if let Some(node) = there {
            drop(shard);
            return found.again(node);
        }
        let ino = (0..Ino::SALTS)
            .filter_map(|salt| base.salted(salt))
            .find(|ino| shard.find(*ino).is_none());
        let Some(ino) = ino else {
            drop(shard);
            return self.keep_counted(found);
        };
        let node = self.anew(found, ino);
        shard.insert(Arc::clone(&node));
        node
    }

    /// Takes the nodes in that a former daemon had, and goes on counting after it.
    pub(super) fn take_over(&self, nodes: impl Iterator<Item = Arc<Node>>, counted: u64) {
        self.counted.fetch_max(counted + 1, Ordering::Relaxed);
        for node in nodes {
            self.census.comes(node.ino);
            self.shard(node.ino).write().insert(node);
        }
    }

    /// The node of what was not known.
    fn anew(&self, found: Found, ino: Ino) -> Arc<Node> {
        let node = found.anew(ino);
        self.census.comes(ino);
        if let Some(journal) = &self.journal {
            node.keep_in(journal);
        }
        node
    }

    /// The nodes of one inode of a folder.
    pub fn of_inode(&self, folder: FolderId, object: &Object) -> Vec<Arc<Node>> {
        match Ino::of(folder, object.number) {
            Some(base) => self.relatives(base),
            None => self
                .all()
                .into_iter()
                .filter(|node| node.object.is(object))
                .collect(),
        }
    }

    /// Tells whether the kernel knows nothing but the top directory.
    pub(super) fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| shard.read().nodes.is_empty())
    }

    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().nodes.len()).sum()
    }

    /// How many nodes an inode has.
    pub(super) fn relatives_of(&self, number: Ino) -> usize {
        self.shard(number).read().family(number).count()
    }

    /// Calls for each node of an inode, by the number that they share ([`Ino::family`]).
    pub fn each_of(&self, number: Ino, call: impl FnMut(&Arc<Node>)) {
        self.relatives(number).iter().for_each(call);
    }

    /// Takes back lookups of the kernel.
    pub fn forget(&self, ino: Ino, count: u64) {
        self.takes_back(ino, count);
    }

    /// Takes back lookups of the kernel; tells whether a node went out of the table.
    pub(super) fn takes_back(&self, ino: Ino, count: u64) -> bool {
        let known = self
            .shard(ino)
            .read()
            .find(ino)
            .is_none_or(|node| !node.forgotten(count));
        if known {
            return false;
        }
        let forgotten = self.shard(ino).write().take_forgotten(ino);
        if forgotten.is_some() {
            self.census.goes(ino);
        }
        // Not under the lock: it may be the last that holds its directory, and that the next one up.
        forgotten.is_some()
    }

    /// The nodes for which something holds, at some moment.
    pub fn filter(&self, holds: impl Fn(&Node) -> bool) -> Vec<Arc<Node>> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = shard.read();
            found.extend(shard.nodes.iter().filter(|node| holds(node)).cloned());
        }
        found
    }

    /// All nodes, at some moment.
    pub fn all(&self) -> Vec<Arc<Node>> {
        self.shards
            .iter()
            .flat_map(|shard| shard.read().nodes.iter().cloned().collect::<Vec<_>>())
            .collect()
    }

    fn keep_counted(&self, found: Found) -> Arc<Node> {
        let count = self.counted.fetch_add(1, Ordering::Relaxed);
        if let Some(journal) = &self.journal {
            journal.node_counted(count);
        }
        let node = self.anew(found, Ino::counted(count));
        self.shard(node.ino).write().insert(Arc::clone(&node));
        node
    }

    fn relatives(&self, number: Ino) -> Vec<Arc<Node>> {
        self.shard(number).read().family(number).cloned().collect()
    }

    fn shard(&self, ino: Ino) -> &RwLock<Shard> {
        &self.shards[ino.family().spread(SHARDS)]
    }
}

impl Shard {
    fn find(&self, ino: Ino) -> Option<&Arc<Node>> {
        self.nodes.find(hash(ino), |node| node.ino == ino)
    }

    /// The nodes that share this number.
    fn family(&self, number: Ino) -> impl Iterator<Item = &Arc<Node>> {
        let salts = if self.salted > 0 { Ino::SALTS } else { 1 };
        let others = (1..salts).filter_map(move |salt| number.salted(salt));
        std::iter::once(number)
            .chain(others)
            .filter_map(|ino| self.find(ino))
    }

    /// The node of what was found, if its own place in the policy is known to be the same; one lookup more.
    fn find_found(&self, base: Ino, found: &Found) -> Option<Arc<Node>> {
        let node = self
            .family(base)
            .find(|node| found.is(node) && node.cursor(found.generation) == Some(found.cursor))?;
        // Under the lock, so that no forget comes in between.
        node.looked_up();
        Some(Arc::clone(node))
    }

    fn insert(&mut self, node: Arc<Node>) {
        self.salted += usize::from(node.ino != node.ino.family());
        self.nodes
            .insert_unique(hash(node.ino), node, |node| hash(node.ino));
    }

    /// Takes out a node that the kernel knows no more.
    fn take_forgotten(&mut self, ino: Ino) -> Option<Arc<Node>> {
        // A lookup may have come in between.
        let forgotten = |node: &Arc<Node>| node.ino == ino && node.is_forgotten();
        let entry = self.nodes.find_entry(hash(ino), forgotten).ok()?;
        let (node, _) = entry.remove();
        self.salted -= usize::from(ino != ino.family());
        if self.nodes.capacity() > SMALL && self.nodes.len() < self.nodes.capacity() / 4 {
            self.nodes.shrink_to(2 * self.nodes.len(), |node| hash(node.ino));
        }
        Some(node)
    }
}

impl Found {
    /// Tells whether a node is of the same inode.
    fn is(&self, node: &Node) -> bool {
        let object = &self.opened.object;
        let same = node.object.is(object);
        if let Some(handle) = object.handle().filter(|_| same) {
            node.learn(handle.clone());
        }
        same
    }

    /// A node that was found again.
    fn again(self, node: Arc<Node>) -> Arc<Node> {
        node.found(self.position, self.generation, self.cursor);
        node
    }

    /// The node of what was not known.
    fn anew(self, ino: Ino) -> Arc<Node> {
        let node = Node::new(
            ino,
            self.folder,
            self.opened,
            self.position,
            self.generation,
            self.cursor,
        );
        node.looked_up();
        Arc::new(node)
    }
}

/// The numbers of a folder follow each other, and those of two folders differ in the high bits alone.
fn hash(ino: Ino) -> u64 {
    let mixed = ino.0.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ mixed >> 32
}
