//! The `O_PATH` descriptors of nodes: opened when they are needed, held while they are in use.
//!
//! The kernel may know of more files than a process may have open, and a descriptor keeps the space of a file that
//! was removed behind the daemon's back. So at most so many are held, and those that nobody asked for in the last
//! second or two are let go. A node is opened by its file handle, if that was asked for, else by the name that it
//! was found under, and only if that leads to the same inode. A node on a backing without handles, and one with an
//! open file (it may have no name left), keeps its descriptor as long as it lives.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::error::{Error, Result};
use super::node::{Node, Object, Opened, Position};
use super::view::FolderView;
use crate::backing::{self, FileHandle, Name, Stat};
use crate::policy::PlacePath;

/// How many are considered at most to let one go: a request must not walk the whole queue.
const CONSIDERED: usize = 64;
/// How often those that are not in use are looked for.
const ROUND: Duration = Duration::from_secs(1);

/// Which nodes hold a descriptor, and the thread that lets go of those not in use.
#[derive(Debug)]
pub(super) struct Descriptors {
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    /// In the order in which they came to it.
    queue: Mutex<VecDeque<Weak<Node>>>,
    filled: Condvar,
    limit: usize,
}

impl Descriptors {
    /// At most `limit` are held for nodes that can do without.
    pub(super) fn new(limit: usize) -> Self {
        let held = Arc::new(Held {
            queue: Mutex::default(),
            filled: Condvar::new(),
            limit,
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
            let name = Name::new(name).map_err(|_| Error::Stale)?;
            let opened = check(folder, backing::open_path(&fd, &name), &at)?;
            // A directory that is moved behind the daemon's back is to be found again, by its handle.
            if at.is_directory()
                && let Some(handle) = backing::handle(&opened)?
            {
                at.object.learn(handle);
            }
            fd = self.give(&at, opened);
        }
        Ok(fd)
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
            && let Ok(name) = Name::new(name)
            && let Ok(stat) = backing::stat_at(self.of(folder, &parent)?, &name)
            && node.object.has(&stat)
        {
            return Ok(stat);
        }
        Ok(backing::stat(self.of(folder, node)?)?)
    }

    /// Gives a node the descriptor that was opened to find it.
    pub(super) fn keep(&self, node: &Arc<Node>, opened: &Arc<OwnedFd>) {
        {
            let mut descriptor = node.descriptor.lock();
            descriptor.used = true;
            descriptor.fd.get_or_insert_with(|| Arc::clone(opened));
        }
        // Where the backing has handles, what was opened to be found has its own.
        if node.object.handle().is_some() {
            self.enqueue(node);
        }
    }

    /// Gives a node what was opened for it, unless another was quicker.
    fn give(&self, node: &Arc<Node>, opened: OwnedFd) -> Arc<OwnedFd> {
        let fd = {
            let mut descriptor = node.descriptor.lock();
            Arc::clone(descriptor.fd.get_or_insert_with(|| Arc::new(opened)))
        };
        self.enqueue(node);
        fd
    }

    fn enqueue(&self, node: &Arc<Node>) {
        if std::mem::replace(&mut node.descriptor.lock().queued, true) {
            return;
        }
        let mut queue = self.held.queue.lock();
        if queue.is_empty() {
            self.held.filled.notify_one();
        }
        queue.push_back(Arc::downgrade(node));
        for _ in 0..CONSIDERED {
            if queue.len() <= self.held.limit {
                break;
            }
            let first = queue.pop_front();
            queue.extend(first.and_then(let_go_unless_used));
        }
    }
}

/// Lets go, round by round, of what was not used since the round before.
fn sweep(held: &Weak<Held>) {
    loop {
        {
            let Some(held) = held.upgrade() else { return };
            let mut queue = held.queue.lock();
            if queue.is_empty() {
                held.filled.wait_for(&mut queue, 60 * ROUND);
            }
        }
        std::thread::sleep(ROUND);
        let Some(held) = held.upgrade() else { return };
        let mut left = held.queue.lock().len();
        while left > 0 {
            // Requests come in between.
            let mut queue = held.queue.lock();
            for _ in 0..left.min(CONSIDERED) {
                let first = queue.pop_front();
                queue.extend(first.and_then(let_go_unless_used));
            }
            left = left.saturating_sub(CONSIDERED);
        }
    }
}

/// Gives the node back to the queue if it has to keep its descriptor for now.
fn let_go_unless_used(node: Weak<Node>) -> Option<Weak<Node>> {
    let alive = node.upgrade()?;
    let mut descriptor = alive.descriptor.lock();
    if alive.is_open() || std::mem::take(&mut descriptor.used) {
        return Some(node);
    }
    descriptor.fd = None;
    descriptor.queued = false;
    None
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
