//! The nodes that the kernel knows of one mount.
//!
//! All nodes of one inode are a family: mostly one, more where names under different rules lead to it. The table
//! is cut into shards; no request holds a shard's lock over a system call.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use super::ids::Ino;
use super::node::{Node, Object, Opened, Position};
use crate::policy::{Cursor, FolderId};

const SHARDS: usize = 32;

/// The table.
#[derive(Debug)]
pub struct Nodes {
    shards: [RwLock<HashMap<Ino, Vec<Arc<Node>>>>; SHARDS],
    counted: AtomicU64,
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

impl Default for Nodes {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            counted: AtomicU64::new(1),
        }
    }
}

impl Nodes {
    /// The node of a number.
    pub fn find(&self, ino: Ino) -> Option<Arc<Node>> {
        let family = self.shard(ino).read();
        family
            .get(&ino.family())?
            .iter()
            .find(|node| node.ino == ino)
            .cloned()
    }

    /// The node for what was found, told to the kernel (one lookup more): the one that is there, at its new
    /// position, or a new one. `known` tells the cursor of a node at the generation of `found`.
    pub fn keep(&self, found: Found, known: impl Fn(&Arc<Node>) -> Option<Cursor>) -> Arc<Node> {
        let Found {
            folder,
            opened,
            position,
            generation,
            cursor,
        } = found;
        // Without a family number a node cannot be found again by its inode: such are rare, and each is new.
        let Some(base) = Ino::of(folder, opened.object.number) else {
            let node = Node::new(self.count_up(), folder, opened, position, generation, cursor);
            node.looked_up();
            return self.insert(node);
        };
        let relatives = self.shard(base).read().get(&base).cloned().unwrap_or_default();
        let same = |node: &Node| {
            let same = node.object.is(&opened.object);
            if let Some(handle) = opened.object.handle().filter(|_| same) {
                node.object.learn(handle.clone());
            }
            same
        };
        let known = relatives
            .iter()
            .find(|node| same(node) && known(node) == Some(cursor));
        if let Some(known) = known {
            let shard = self.shard(base).read();
            // A forget may have come in between: only what is still in the table may be told of again.
            if shard
                .get(&base)
                .is_some_and(|family| family.iter().any(|node| Arc::ptr_eq(node, known)))
            {
                known.looked_up();
                known.found(position, generation, cursor);
                return Arc::clone(known);
            }
        }
        let mut shard = self.shard(base).write();
        let family = shard.entry(base).or_default();
        // Another request may have been quicker.
        if let Some(node) = family
            .iter()
            .find(|node| same(node) && node.cursor(generation) == Some(cursor))
        {
            node.looked_up();
            node.found(position, generation, cursor);
            return Arc::clone(node);
        }
        let ino = (0..Ino::SALTS)
            .filter_map(|salt| base.salted(salt))
            .find(|&ino| family.iter().all(|node| node.ino != ino));
        let Some(ino) = ino else {
            drop(shard);
            let node = Node::new(self.count_up(), folder, opened, position, generation, cursor);
            node.looked_up();
            return self.insert(node);
        };
        let node = Arc::new(Node::new(ino, folder, opened, position, generation, cursor));
        node.looked_up();
        family.push(Arc::clone(&node));
        node
    }

    /// The nodes of one inode of a folder.
    pub fn of_inode(&self, folder: FolderId, object: &Object) -> Vec<Arc<Node>> {
        let Some(base) = Ino::of(folder, object.number) else {
            return self
                .all()
                .into_iter()
                .filter(|node| node.object.is(object))
                .collect();
        };
        self.shard(base).read().get(&base).cloned().unwrap_or_default()
    }

    /// Calls for each node of an inode, by the number that they share ([`Ino::family`]).
    pub fn each_of(&self, number: Ino, mut call: impl FnMut(&Arc<Node>)) {
        let shard = self.shard(number).read();
        if let Some(family) = shard.get(&number) {
            family.iter().for_each(&mut call);
        }
    }

    /// Takes back lookups of the kernel.
    pub fn forget(&self, ino: Ino, count: u64) {
        let Some(node) = self.find(ino) else { return };
        if node.forgotten(count) {
            self.drop_forgotten(ino);
        }
    }

    /// The nodes for which something holds, at some moment.
    pub fn filter(&self, holds: impl Fn(&Node) -> bool) -> Vec<Arc<Node>> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = shard.read();
            found.extend(shard.values().flatten().filter(|node| holds(node)).cloned());
        }
        found
    }

    /// All nodes, at some moment.
    pub fn all(&self) -> Vec<Arc<Node>> {
        self.shards
            .iter()
            .flat_map(|shard| shard.read().values().flatten().cloned().collect::<Vec<_>>())
            .collect()
    }

    fn drop_forgotten(&self, ino: Ino) {
        let mut shard = self.shard(ino).write();
        let Some(family) = shard.get_mut(&ino.family()) else {
            return;
        };
        // A lookup may have come in between.
        family.retain(|node| node.ino != ino || !node.is_forgotten());
        if family.is_empty() {
            shard.remove(&ino.family());
        }
    }

    fn count_up(&self) -> Ino {
        Ino::counted(self.counted.fetch_add(1, Ordering::Relaxed))
    }

    fn insert(&self, node: Node) -> Arc<Node> {
        let node = Arc::new(node);
        self.shard(node.ino)
            .write()
            .entry(node.ino.family())
            .or_default()
            .push(Arc::clone(&node));
        node
    }

    fn shard(&self, ino: Ino) -> &RwLock<HashMap<Ino, Vec<Arc<Node>>>> {
        let mixed = ino.family().0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 59;
        &self.shards[mixed as usize % SHARDS]
    }
}
