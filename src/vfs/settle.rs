//! What a mount that was taken over does not know for certain: how often its kernel was told of a node.
//!
//! A former daemon may have noted an answer that it did not send, or not have noted what the kernel has forgotten: so
//! counts may be too high, and such a node would stay for good. The kernel says of an inode whether it knows it, and takes
//! all back at once that it was told: so a node that it does not know, twice and at a distance in which whatever was on its
//! way to it has come, is forgotten.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::filesystem::FileSystem;
use super::ids::Ino;
use super::node::Node;

/// How long the kernel has to take note of what it was answered.
const SETTLED: Duration = Duration::from_secs(1);

/// The nodes that are to be looked after, and whether a thread does.
#[derive(Debug, Default)]
pub(super) struct Suspects(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    running: bool,
    nodes: Vec<Ino>,
}

impl FileSystem {
    /// Lets the kernel ask anew for all that may have changed while nobody looked, and looks after all nodes.
    pub(super) fn settle(self: &Arc<Self>) {
        let was_changing = self
            .journal
            .as_ref()
            .is_some_and(|journal| journal.was_changing());
        self.shared.settle(self, was_changing);
        let nodes = self.nodes.all().iter().map(|node| node.ino).collect();
        self.suspect(nodes);
    }

    /// Looks after nodes that were there when the mount was taken over.
    pub(super) fn suspect(&self, mut nodes: Vec<Ino>) {
        let mut state = self.suspects.0.lock();
        state.nodes.append(&mut nodes);
        if state.running {
            return;
        }
        let mount = Weak::clone(&self.this);
        let spawned = std::thread::Builder::new().name("settle".into()).spawn(move || {
            loop {
                let Some(unknown) = mount.upgrade().and_then(|mount| mount.unknown_suspects()) else {
                    return;
                };
                std::thread::sleep(SETTLED);
                let Some(mount) = mount.upgrade() else { return };
                for (lookups, node) in unknown {
                    if node.lookups() == lookups && mount.is_unknown(&node) {
                        mount.nodes.forget(node.ino, lookups);
                    }
                }
                if let Some(records) = &mount.records {
                    records.forget_former(&mount.former);
                }
            }
        });
        match spawned {
            Ok(_) => state.running = true,
            Err(error) => tracing::warn!(%error, "what the kernel has forgotten meanwhile is kept"),
        }
    }

    /// Of the nodes that are to be looked after, those that the kernel does not know, with what it was told of them;
    /// `None` if there are none to look after any more: then the thread ends.
    fn unknown_suspects(&self) -> Option<Vec<(u64, Arc<Node>)>> {
        let suspects = {
            let mut state = self.suspects.0.lock();
            state.running = !state.nodes.is_empty();
            if !state.running {
                return None;
            }
            std::mem::take(&mut state.nodes)
        };
        let nodes = suspects.into_iter().filter_map(|ino| self.nodes.find(ino));
        let unknown = nodes.map(|node| (node.lookups(), node));
        Some(unknown.filter(|(_, node)| self.is_unknown(node)).collect())
    }

    fn is_unknown(&self, node: &Node) -> bool {
        let kernel = self.kernel.get();
        !node.is_open() && kernel.is_some_and(|kernel| !kernel.drop_attributes(node.ino))
    }
}
