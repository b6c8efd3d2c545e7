//! The taking over of a mount from a daemon that has ended: by its journal all is known again that its kernel knows.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::error::Result;
use super::filesystem::FileSystem;
use super::handles::{Listing, OpenDirectory, OpenFile};
use super::ids::{Ino, LockOwner};
use super::journal::requests::Progress;
use super::journal::{
    DirectorySlot, FileSlot, Journal, LockRecord, LockSlots, NodeRecord, NodeSlot, PositionRecord,
    RouteRecord, Survived,
};
use super::kernel::BackingFile;
use super::node::{Node, Position};
use super::object::Object;
use super::ops::{Route, open_for};
use crate::backing::{self, Lock};

/// What is kept of a mount for the next daemon: three descriptors.
#[derive(Debug)]
pub struct Keepsake {
    /// The mount's `/dev/fuse`.
    pub device: OwnedFd,
    /// Its journal.
    pub journal: OwnedFd,
    /// The daemon's own way in, where data bypasses it.
    pub top: Option<OwnedFd>,
    /// Files that are open and have no name any more, by the numbers of their nodes.
    pub files: Vec<(u64, OwnedFd)>,
}

/// Nodes by their slots.
type Nodes = HashMap<u32, Arc<Node>>;

impl FileSystem {
    /// Knows again what a former daemon knew. To be called before anything is answered.
    ///
    /// # Errors
    /// InvalidData if what it left does not fit together.
    pub(super) fn take_over(
        &self, journal: &Arc<Journal>, survived: Survived, nameless: Vec<(u64, OwnedFd)>,
    ) -> io::Result<()> {
        let Survived {
            nodes,
            mut files,
            mut directories,
            locks,
            lockers,
            ledger,
            last_handle,
            last_backing,
            last_counted,
        } = survived;
        // Nobody was told of what a request had opened that was not through.
        let unfinished = self.former.values().filter(|found| !is_done(found.progress));
        let untold: HashSet<_> = unfinished.map(|found| found.handle).collect();
        let (nodes, told) = self.nodes_again(journal, nodes)?;
        for slot in files.extract_if(.., |file| untold.contains(&file.fh.0)) {
            drop(FileSlot::again(journal, slot.slot));
        }
        for slot in directories.extract_if(.., |directory| untold.contains(&directory.fh.0)) {
            drop(DirectorySlot::again(journal, slot.slot));
        }
        let mut backings: HashMap<u32, Arc<BackingFile>> = HashMap::new();
        let mut open = Vec::with_capacity(files.len());
        for record in files {
            let node = node_of(&nodes, record.node)?;
            let bypassing = matches!(record.route, RouteRecord::Kernel | RouteRecord::Beside);
            let backing = if bypassing {
                Some(match backings.get(&record.backing) {
                    Some(backing) => Arc::clone(backing),
                    None => {
                        let backing = self.backing_again(record.backing)?;
                        node.data.lock().backing = Arc::downgrade(&backing);
                        backings.insert(record.backing, Arc::clone(&backing));
                        backing
                    }
                })
            } else {
                None
            };
            let route = match (record.route, backing) {
                (RouteRecord::Kernel, Some(backing)) => Route::Kernel(backing),
                (RouteRecord::Beside, Some(backing)) => Route::Beside(backing),
                (RouteRecord::Cached, _) => {
                    node.data.lock().cached += 1;
                    Route::Cached
                }
                _ => Route::Daemon,
            };
            if record.writable {
                self.opened_for_writing(node);
            }
            let slot = FileSlot::again(journal, record.slot);
            let file = OpenFile::new(node, record.flags, record.writable, &route).again(record.cuts, slot);
            for (_, owner) in lockers.iter().filter(|(fh, _)| *fh == record.fh) {
                file.locked_by(*owner);
            }
            open.push((record.fh, file));
        }
        let mut listed = Vec::with_capacity(directories.len());
        for record in directories {
            let node = match record.node {
                0 => None,
                slot => Some(Arc::clone(node_of(&nodes, slot)?)),
            };
            let listing = Listing::from_bytes(&record.listing)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a listing"))?;
            let slot = DirectorySlot::again(journal, record.slot);
            listed.push((
                record.fh,
                OpenDirectory::again(node, record.caches, listing, slot),
            ));
        }
        self.close_untold_backings(last_backing, &backings);
        self.nodes.take_over(told.into_iter(), last_counted);
        self.handles
            .take_over(open.into_iter(), listed.into_iter(), last_handle);
        for (number, fd) in nameless {
            let number = Ino(number);
            self.nameless_again(self.nodes.find(number).as_ref(), number, fd);
        }
        self.know_again(journal, ledger);
        self.locks_again(&nodes, locks)
    }

    /// All nodes by their slots, and those that the kernel was told of.
    fn nodes_again(
        &self, journal: &Arc<Journal>, records: Vec<NodeRecord>,
    ) -> io::Result<(Nodes, Vec<Arc<Node>>)> {
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "nodes that lie in each other");
        let published = self.shared.published();
        let mut records: HashMap<_, _> = records.into_iter().map(|record| (record.slot, record)).collect();
        let slots: Vec<_> = records.keys().copied().collect();
        let mut nodes = Nodes::with_capacity(records.len());
        let mut told = Vec::with_capacity(records.len());
        for slot in slots {
            // Up to one that is known, and down again; paths can be deep, so no recursion.
            let mut way = vec![slot];
            while let Some(last) = way.last().copied() {
                if nodes.contains_key(&last) {
                    way.pop();
                    continue;
                }
                let position = match &records.get(&last).ok_or_else(broken)?.position {
                    PositionRecord::Root => Position::Root,
                    PositionRecord::Granted(place) => Position::Granted(*place),
                    PositionRecord::Under { parent, name } => match nodes.get(parent) {
                        Some(parent) => Position::Under {
                            parent: Arc::clone(parent),
                            name: name.clone(),
                        },
                        None if way.contains(parent) => return Err(broken()),
                        None => {
                            way.push(*parent);
                            continue;
                        }
                    },
                };
                let record = records.remove(&last).ok_or_else(broken)?;
                let device = published
                    .backings
                    .get(&record.folder)
                    .and_then(|backing| backing.root_stat().ok())
                    .map_or(0, |stat| stat.dev);
                let object = Object::again(
                    record.kind,
                    record.number,
                    device,
                    record.birth,
                    record.handle.clone(),
                );
                let slot = NodeSlot::again(journal, last);
                let node = Arc::new(Node::again(&record, object, position, slot));
                if record.lookups > 0 {
                    told.push(Arc::clone(&node));
                }
                nodes.insert(last, node);
                way.pop();
            }
        }
        Ok((nodes, told))
    }

    fn backing_again(&self, id: u32) -> io::Result<Arc<BackingFile>> {
        let missing = || io::Error::other("there is no way in by which open files could be cut");
        let kernel = self.kernel.get().ok_or_else(missing)?;
        let reach = self.reach.hold().ok_or_else(missing)?;
        Ok(Arc::new(BackingFile::new(id, kernel.device(), reach)))
    }

    /// Closes what the kernel was given last and no open file was told of.
    fn close_untold_backings(&self, last: u32, told: &HashMap<u32, Arc<BackingFile>>) {
        /// So many requests can have been under way at most, on either side of the last that was noted.
        const UNDER_WAY: u32 = 64;
        let Some(kernel) = self.kernel.get().filter(|_| last > 0 || self.has_passthrough()) else {
            return;
        };
        let device = kernel.device();
        for id in last.saturating_sub(UNDER_WAY).max(1)..=last.saturating_add(UNDER_WAY) {
            if !told.contains_key(&id) {
                // Of most there is nothing to close.
                let _ = backing::close_backing(&*device, id);
            }
        }
    }

    fn locks_again(&self, nodes: &Nodes, records: Vec<LockRecord>) -> io::Result<()> {
        let mut owners: HashMap<(u32, LockOwner), (Vec<Lock>, Vec<u32>)> = HashMap::new();
        for record in records {
            let (locks, slots) = owners.entry((record.node, record.owner)).or_default();
            locks.push(record.lock);
            slots.push(record.slot);
        }
        for ((node, owner), (locks, slots)) in owners {
            let node = node_of(nodes, node)?;
            let Some(slot) = node.slot() else { continue };
            let slots = LockSlots::again(slot, owner, slots);
            let taken = self
                .lock_file(node)
                .and_then(|fd| node.locks.take_over(owner, &locks, slots, fd));
            if let Err(error) = taken {
                tracing::warn!(?error, ino = ?node.ino, "a lock could not be taken again: another program has it");
            }
        }
        Ok(())
    }

    fn lock_file(&self, node: &Arc<Node>) -> Result<OwnedFd> {
        let view = self.view();
        let seen = self.seen_node(&view, Arc::clone(node))?;
        let fd = self.fd(&seen)?;
        let any = Lock {
            kind: backing::LockKind::Read,
            start: 0,
            end: 0,
        };
        open_for(&seen, &fd, any)
    }
}

fn is_done(progress: Progress) -> bool {
    matches!(progress, Progress::Done { .. })
}

fn node_of(nodes: &Nodes, slot: u32) -> io::Result<&Arc<Node>> {
    nodes
        .get(&slot)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "something of no node"))
}
