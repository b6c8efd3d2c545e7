//! The `O_PATH` descriptors of nodes: opened when they are needed, held while they are in use.
//!
//! The kernel may know of more files than a process may have open, and a descriptor keeps the space of a file that
//! was removed behind the daemon's back. So at most so many are held, and those that nobody asked for in the last
//! second or two are let go. A node is opened by its file handle, if that was asked for, else by the name that it
//! was found under, and only if that leads to the same inode. A node on a backing without handles, and one with an
//! open file (it may have no name left), keeps its descriptor as long as it lives.
//!
//! The thread that lets go of descriptors also gives back the memory of nodes that were forgotten.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::error::{Error, Result};
use super::node::{Node, Position};
use super::object::{Object, Opened};
use super::view::FolderView;
use crate::backing::{self, FileHandle, Name, Stat};
use crate::policy::PlacePath;

/// How many are considered at most to let one go: a request must not walk the whole queue.
const CONSIDERED: usize = 64;
/// How often those that are not in use are looked for.
const ROUND: Duration = Duration::from_secs(1);

/// Into how many queues the nodes are spread, so that requests do not meet at one.
const QUEUES: usize = 16;

/// Which nodes hold a descriptor, and the thread that lets go of those not in use.
#[derive(Debug)]
pub(super) struct Descriptors {
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    queues: [Mutex<Queue>; QUEUES],
    /// Whether anything stands in a queue.
    any: Mutex<bool>,
    filled: Condvar,
    /// How many may stand in one queue.
    limit: usize,
    /// How many nodes were forgotten since their memory was given back to the system.
    forgotten: AtomicUsize,
}

/// From so many forgotten nodes on, about a megabyte, their memory is worth the search for it.
const MANY: usize = 4096;

/// Nodes in the order in which they came to a descriptor.
type Queue = VecDeque<Weak<Node>>;

impl Descriptors {
    /// At most `limit` are held for nodes that can do without.
    pub(super) fn new(limit: usize) -> Self {
        let held = Arc::new(Held {
            queues: std::array::from_fn(|_| Mutex::default()),
            any: Mutex::new(false),
            filled: Condvar::new(),
            limit: limit / QUEUES,
            forgotten: AtomicUsize::new(0),
        });
        let watched = Arc::downgrade(&held);
        let spawned = std::thread::Builder::new()
            .name("descriptors".into())
            .spawn(move || sweep(&watched));
        if let Err(error) = spawned {
            tracing::warn!(%error, "no thread lets go of descriptors: removed files keep their space for longer");
        }
        Self { held }
    }

    /// About how many are held.
    pub(super) fn len(&self) -> usize {
        self.held.queues.iter().map(|queue| queue.lock().len()).sum()
    }

    /// The descriptor of a node, opened if it has none. To be called with the daemon's own credentials.
    ///
    /// # Errors
    /// [`Error::Stale`] if the inode is not where it was found and its handle is not known, or leads nowhere.
    pub(super) fn of(&self, folder: &FolderView, node: &Arc<Node>) -> Result<Arc<OwnedFd>> {
        // Up to what can be opened by itself, and down again by names; paths can be deep, so no recursion.
        let mut way = Vec::new();
        let mut at = Arc::clone(node);
        let mut fd = loop {
            if let Some(fd) = at.held() {
                break fd;
            }
            let opened = match (at.object.handle(), at.position()) {
                (Some(handle), Position::Under { parent, name }) if !at.is_directory() => {
                    // By its name it is quicker found, if it is still there.
                    let here = parent
                        .held()
                        .map(|fd| backing::open_path(&fd, &Name::from(&name)));
                    match here.map(|opened| check(folder, opened, &at)) {
                        Some(Ok(opened)) if backing::handle(&opened)?.as_ref() == Some(handle) => opened,
                        _ => open_by_handle(folder, handle)?,
                    }
                }
                (Some(handle), _) => open_by_handle(folder, handle)?,
                (None, Position::Root) => open_at(folder, &PlacePath::root(), &at)?,
                (None, Position::Granted(place)) => {
                    let place = folder.policy.places.get(place).ok_or(Error::Stale)?;
                    open_at(folder, &place.path, &at)?
                }
                (None, Position::Under { parent, name }) => {
                    way.push((at, name));
                    at = parent;
                    continue;
                }
            };
            break self.give(&at, opened);
        };
        while let Some((at, name)) = way.pop() {
            let name = Name::from(&name);
            let opened = check(folder, backing::open_path(&fd, &name), &at)?;
            // A directory that is moved behind the daemon's back is to be found again, by its handle.
            if at.is_directory()
                && let Some(handle) = backing::handle(&opened)?
            {
                at.learn(handle);
            }
            fd = self.give(&at, opened);
        }
        Ok(fd)
    }

    /// A descriptor of a node that can be read. To be called with the daemon's own credentials.
    ///
    /// # Errors
    /// Like [`Descriptors::of`]; those of `open(2)`, of an adopted folder for its owner.
    pub(super) fn readable(&self, folder: &FolderView, node: &Arc<Node>) -> Result<Arc<OwnedFd>> {
        if let Some(held) = node.held_readable() {
            return Ok(held);
        }
        let held = self.of(folder, node)?;
        let opened = {
            let _as = folder.backing.credentials().assume()?;
            Arc::new(backing::reopen(&held, libc::O_RDONLY | libc::O_NONBLOCK)?)
        };
        // Whoever reads goes on to when the file has another name, or none that is known here.
        if node.object.handle().is_none()
            && let Some(handle) = backing::handle(&*opened)?
        {
            node.learn(handle);
        }
        node.hold_readable(&opened);
        Ok(opened)
    }

    /// The attributes of a node, without opening it if it has no descriptor. To be called with the daemon's own
    /// credentials.
    ///
    /// # Errors
    /// Like [`Descriptors::of`].
    pub(super) fn stat(&self, folder: &FolderView, node: &Arc<Node>) -> Result<Stat> {
        if let Some(fd) = node.held() {
            return Ok(backing::stat(&fd)?);
        }
        if node.object.birth.is_some()
            && let Position::Under { parent, name } = node.position()
            && let Ok(stat) = backing::stat_at(self.of(folder, &parent)?, &Name::from(&name))
            && node.object.has(&stat)
        {
            return Ok(stat);
        }
        Ok(backing::stat(self.of(folder, node)?)?)
    }

    /// Notes that a node was forgotten.
    pub(super) fn forgotten(&self) {
        if self.held.forgotten.fetch_add(1, Ordering::Relaxed) == MANY {
            self.held.wake();
        }
    }

    /// Gives a node the descriptor that was opened to find it.
    pub(super) fn keep(&self, node: &Arc<Node>, opened: Arc<OwnedFd>) {
        node.hold(opened);
        // Where the backing has handles, what was opened to be found has its own.
        if node.object.handle().is_some() {
            self.held.enqueue(node);
        }
    }

    /// Gives a node what was opened for it, unless another was quicker.
    fn give(&self, node: &Arc<Node>, opened: OwnedFd) -> Arc<OwnedFd> {
        let fd = node.hold(Arc::new(opened));
        self.held.enqueue(node);
        fd
    }
}

impl Held {
    fn enqueue(&self, node: &Arc<Node>) {
        if node.queued() {
            return;
        }
        let mut queue = self.queues[node.ino.spread(QUEUES)].lock();
        let first = queue.is_empty();
        queue.push_back(Arc::downgrade(node));
        let excess = queue.len() > self.limit;
        let gone = excess.then(|| let_go(&mut queue, CONSIDERED, self.limit));
        drop(queue);
        drop(gone);
        if first {
            self.wake();
        }
    }

    fn wake(&self) {
        if !std::mem::replace(&mut *self.any.lock(), true) {
            self.filled.notify_one();
        }
    }

    /// Gives the memory of forgotten nodes back, when no more are forgotten. A few nodes in between keep it as it is.
    fn give_back(&self, forgotten_before: usize) -> usize {
        let forgotten = self.forgotten.load(Ordering::Relaxed);
        if forgotten < MANY || forgotten != forgotten_before {
            return forgotten;
        }
        backing::return_freed_memory();
        self.forgotten.fetch_sub(forgotten, Ordering::Relaxed);
        0
    }
}

/// Lets go, round by round, of what was not used since the round before.
fn sweep(held: &Weak<Held>) {
    let mut forgotten = 0;
    loop {
        {
            let Some(held) = held.upgrade() else { return };
            let mut any = held.any.lock();
            if !*any {
                held.filled.wait_for(&mut any, 60 * ROUND);
            }
            *any = false;
        }
        std::thread::sleep(ROUND);
        let Some(held) = held.upgrade() else { return };
        for queue in &held.queues {
            let mut left = queue.lock().len();
            while left > 0 {
                // Requests come in between.
                let gone = let_go(&mut queue.lock(), left.min(CONSIDERED), 0);
                left = left.saturating_sub(CONSIDERED);
                drop(gone);
            }
            *held.any.lock() |= !queue.lock().is_empty();
        }
        forgotten = held.give_back(forgotten);
        *held.any.lock() |= forgotten >= MANY;
    }
}

/// Considers so many nodes, until no more than `limit` are left. What it gives back is to be dropped when the queue is
/// not locked any more: it may be the last of a large file.
fn let_go(queue: &mut Queue, considered: usize, limit: usize) -> Vec<(Arc<Node>, Option<Arc<OwnedFd>>)> {
    let mut gone = Vec::new();
    for _ in 0..considered {
        if queue.len() <= limit {
            break;
        }
        let Some(node) = queue.pop_front() else { break };
        let Some(alive) = node.upgrade() else { continue };
        match alive.let_go_unless_used() {
            Some(fd) => gone.push((alive, fd)),
            None => {
                queue.push_back(node);
                gone.push((alive, None));
            }
        }
    }
    gone
}

impl Opened {
    /// What stands behind an `O_PATH` descriptor.
    pub(super) fn of(fd: OwnedFd) -> Result<Self> {
        let stat = backing::stat(&fd)?;
        let object = Object::of(&stat);
        if let Some(handle) = backing::handle(&fd)? {
            object.learn(handle);
        }
        Ok(Self {
            fd: Some(Arc::new(fd)),
            object,
            stat,
        })
    }

    /// An inode that its attributes tell from all others.
    pub(super) fn by_stat(stat: Stat) -> Self {
        Self {
            fd: None,
            object: Object::of(&stat),
            stat,
        }
    }
}

fn open_by_handle(folder: &FolderView, handle: &FileHandle) -> Result<OwnedFd> {
    let anchor = folder.backing.anchor()?;
    Ok(backing::open_handle(
        anchor,
        handle,
        libc::O_PATH | libc::O_NOFOLLOW,
    )?)
}

/// Opens a path in the folder, which has to lead to the node.
fn open_at(folder: &FolderView, path: &PlacePath, node: &Node) -> Result<OwnedFd> {
    let root = folder.backing.root()?;
    check(folder, backing::open_beneath(root, path.components()), node)
}

/// Gives back what was opened by name if it is the inode of the node.
fn check(folder: &FolderView, opened: io::Result<OwnedFd>, node: &Node) -> Result<OwnedFd> {
    let opened = opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => Error::Stale,
        _ => error.into(),
    })?;
    let stat = backing::stat(&opened)?;
    let same = node.object.has(&stat) && stat.mount == folder.backing.root_stat()?.mount;
    same.then_some(opened).ok_or(Error::Stale)
}
