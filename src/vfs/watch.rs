//! One thread for the daemon that learns what others do on the file systems of the backings, behind its back.
//!
//! It sleeps as long as nothing happens, without a timer. What happens in quick succession it reads together, so
//! that who does it is not slowed by wake-ups, and passes it on, each thing once. Where a file system cannot be
//! watched, its backings say so ([`Backing::is_watched`]). Stores to a mapping (`mmap(2)`) are seen when it is gone.

mod busy;

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use parking_lot::Mutex;

use self::busy::Busy;
use super::backing::Backing;
use crate::backing::{self, Change, Changed, FileSystemId, Watch};
use crate::policy::FolderId;

/// How long events are left to gather after the first one. Readers of the cache see what is old for so long at most,
/// or for [`busy::HUSH`].
const BATCH: Duration = Duration::from_millis(10);
/// The room for what is read at a time, in bytes.
const BUFFER: usize = 256 * 1024;
/// More changes than this are not told one by one.
const MOST: usize = 65_536;

/// What others did, each thing once.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    everything: bool,
    changes: HashSet<Change>,
}

impl Batch {
    /// Tells whether too much happened to say what: anything may have changed.
    pub(super) fn is_everything(&self) -> bool {
        self.everything
    }

    /// Tells whether nothing happened.
    pub(super) fn is_empty(&self) -> bool {
        !self.everything && self.changes.is_empty()
    }

    /// What happened, in no order; nothing if it [is everything](Self::is_everything).
    pub(super) fn changes(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter()
    }

    pub(super) fn add(&mut self, change: Change) {
        if change == Change::Overflow || self.changes.len() >= MOST {
            self.everything = true;
            self.changes = HashSet::new();
        }
        if !self.everything {
            self.changes.insert(change);
        }
    }

    /// Adds all of another.
    pub(super) fn merge(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        if other.everything {
            self.add(Change::Overflow);
        }
        for change in other.changes {
            self.add(change);
        }
    }
}

/// Takes what happened. It is called on the watcher's own thread, so it must neither wait nor write to a file.
pub(super) type Sink = Box<dyn Fn(Batch) + Send>;

/// See the module's doc. Its thread ends with it.
#[derive(Debug)]
pub(super) struct Watcher {
    watch: Option<Arc<Watch>>,
    watched: Arc<Watched>,
    /// The thread ends when this is closed.
    _alive: Option<io::PipeWriter>,
}

/// The file systems that are watched, or that refuse it.
#[derive(Debug, Default)]
struct Watched {
    file_systems: Mutex<HashMap<Key, Superblock>>,
    /// Whether the thread could not go on.
    failed: AtomicBool,
}

/// The device number tells apart copies of a file system, which bear the same id.
type Key = (u64, FileSystemId);

#[derive(Debug)]
struct Superblock {
    /// One of those on it.
    backing: Arc<Backing>,
    refused: Option<String>,
}

/// How it stands with the file system of some folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchReport {
    /// One of the folders on it.
    pub folder: FolderId,
    /// Why changes behind the daemon's back are not noticed on it; `None` if they are.
    pub refused: Option<String>,
}

impl Watcher {
    /// Starts to watch nothing yet, or what a former daemon's watch does.
    pub(super) fn start(former: Option<Watch>, sink: Sink) -> Self {
        let watched = Arc::<Watched>::default();
        let (watch, alive) = match start(&watched, former, sink) {
            Ok((watch, alive)) => (Some(watch), Some(alive)),
            Err(error) => {
                tracing::warn!(%error, "changes behind the daemon's back are not noticed at once");
                (None, None)
            }
        };
        Self {
            watch,
            watched,
            _alive: alive,
        }
    }

    /// The watch itself.
    pub(super) fn watch(&self) -> Option<&Arc<Watch>> {
        self.watch.as_ref()
    }

    /// Watches the file systems of these backings from now on, and no others, and lets each backing know.
    pub(super) fn follow<'a>(&self, backings: impl Iterator<Item = &'a Arc<Backing>> + Clone) {
        let mut file_systems = self.watched.file_systems.lock();
        let wanted: HashMap<Key, &Arc<Backing>> = backings
            .clone()
            .filter_map(|backing| Some((backing.file_system()?, backing)))
            .collect();
        file_systems.retain(|key, file_system| {
            let keep = wanted.contains_key(key);
            if !keep {
                self.leave(file_system);
            }
            keep
        });
        for (key, backing) in wanted {
            // Not one that may be gone from the folders by now: it would be held open.
            let backing = Arc::clone(backing);
            match file_systems.get_mut(&key) {
                Some(file_system) => file_system.backing = backing,
                None => {
                    // Of a copy (a snapshot of a disk, say) it could not be told which of the two changed.
                    let copy = file_systems.keys().any(|(_, id)| *id == key.1);
                    let refused = self.enter(&backing, copy);
                    file_systems.insert(key, Superblock { backing, refused });
                }
            }
        }
        let failed = self.watched.failed.load(Ordering::Acquire);
        for backing in backings {
            let file_system = backing.file_system().and_then(|key| file_systems.get(&key));
            backing.watched(!failed && file_system.is_some_and(|it| it.refused.is_none()));
        }
    }

    /// Tells how it would stand with the file system of each of these backings, watched now or not.
    pub(super) fn report<'a>(
        &self, backings: impl Iterator<Item = (FolderId, &'a Arc<Backing>)>,
    ) -> Vec<WatchReport> {
        let file_systems = self.watched.file_systems.lock();
        let mut seen = HashSet::new();
        backings
            .filter_map(|(folder, backing)| Some((folder, backing, backing.file_system()?)))
            .filter(|(.., key)| seen.insert(*key))
            .map(|(folder, backing, key)| WatchReport {
                folder,
                refused: match file_systems.get(&key) {
                    Some(file_system) => file_system.refused.clone(),
                    None => self.try_out(backing),
                },
            })
            .collect()
    }

    /// Watches the file system of a backing; tells why not.
    fn enter(&self, backing: &Backing, copy: bool) -> Option<String> {
        let refused = if copy {
            Some("another file system bears the same id".into())
        } else {
            self.mark(backing)
        };
        if let Some(why) = &refused {
            let at = backing.root().ok().and_then(|root| backing::path_of(root).ok());
            tracing::warn!(
                at = at.map(|at| at.display().to_string()),
                why,
                "the file system cannot be watched: what is changed behind the daemon's back is seen a second later"
            );
        }
        refused
    }

    fn leave(&self, file_system: &Superblock) {
        if let (Some(watch), None, Ok(root)) = (&self.watch, &file_system.refused, file_system.backing.root())
            && let Err(error) = watch.remove(root)
        {
            tracing::debug!(%error, "a file system is still watched");
        }
    }

    fn try_out(&self, backing: &Backing) -> Option<String> {
        let refused = self.mark(backing);
        if let (Some(watch), None, Ok(root)) = (&self.watch, &refused, backing.root()) {
            // If it fails, more is told than is listened to.
            let _ = watch.remove(root);
        }
        refused
    }

    fn mark(&self, backing: &Backing) -> Option<String> {
        let Some(watch) = &self.watch else {
            return Some("fanotify is not available".into());
        };
        match backing.root().map(|root| watch.add(root)) {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }
}

fn start(
    watched: &Arc<Watched>, former: Option<Watch>, sink: Sink,
) -> io::Result<(Arc<Watch>, io::PipeWriter)> {
    let watch = Arc::new(former.map_or_else(Watch::new, Ok)?);
    let (end, alive) = io::pipe()?;
    let mut reader = Reader {
        watch: Arc::clone(&watch),
        watched: Arc::clone(watched),
        busy: Busy::default(),
        buffer: vec![0; BUFFER],
        sink,
    };
    std::thread::Builder::new().name("watch".into()).spawn(move || {
        if let Err(error) = reader.run(&end) {
            reader.fail(&error);
        }
    })?;
    Ok((watch, alive))
}

impl Watched {
    /// A descriptor that points at a file of a change; `None` if it is gone, or not of these file systems any more.
    fn open(&self, file: &Changed) -> Option<std::os::fd::OwnedFd> {
        let backing = {
            let file_systems = self.file_systems.lock();
            let mut here = file_systems.iter().filter(|((_, id), _)| *id == file.file_system);
            Arc::clone(&here.next()?.1.backing)
        };
        backing::open_handle(backing.anchor().ok()?, &file.file, libc::O_PATH).ok()
    }
}

/// The thread.
struct Reader {
    watch: Arc<Watch>,
    watched: Arc<Watched>,
    busy: Busy,
    buffer: Vec<u8>,
    sink: Sink,
}

impl Reader {
    /// Runs until the other end of `end` is closed.
    fn run(&mut self, end: &io::PipeReader) -> io::Result<()> {
        loop {
            let timeout = match self.busy.due() {
                // Up to the next millisecond: before it is due there is nothing to do.
                Some(left) => {
                    PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
                }
                None => PollTimeout::NONE,
            };
            let mut polled = [
                PollFd::new(self.watch.as_fd(), PollFlags::POLLIN),
                PollFd::new(end.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut polled, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let [happened, ended] = polled.map(|fd| fd.any().unwrap_or(false));
            if ended {
                return Ok(());
            }
            let mut batch = Batch::default();
            if happened {
                // What was busy a moment ago is not to be slowed by what it did since.
                if self.busy.is_any() {
                    self.drain(&mut batch)?;
                }
                std::thread::sleep(BATCH);
                self.drain(&mut batch)?;
            }
            self.busy.end_round(&self.watch, &mut batch);
            if !batch.is_empty() {
                (self.sink)(batch);
            }
        }
    }

    /// [`Watcher::follow`] lets the backings know.
    fn fail(&self, error: &io::Error) {
        tracing::error!(%error, "changes behind the daemon's back are not noticed at once any more");
        self.watched.failed.store(true, Ordering::Release);
        let mut everything = Batch::default();
        everything.add(Change::Overflow);
        (self.sink)(everything);
    }

    fn drain(&mut self, batch: &mut Batch) -> io::Result<()> {
        while let Some(changes) = self.watch.read(&mut self.buffer)? {
            for change in changes {
                match change {
                    Change::Content(changed) => {
                        if !self.busy.hush(&changed, &self.watch, &self.watched) {
                            batch.add(Change::Content(changed));
                        }
                    }
                    change => batch.add(change),
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
