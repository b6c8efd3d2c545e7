//! open, release, flush.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};

use crate::backing::{self, Name};
use crate::policy::{Operation, Refusal};
use crate::vfs::error::{Error, Result};
use crate::vfs::filesystem::{FileSystem, Seen};
use crate::vfs::handles::OpenFile;
use crate::vfs::ids::{Fh, Ino, LockOwner};
use crate::vfs::kernel::{BackingFile, Passthrough};
use crate::vfs::node::Position;
use crate::vfs::view::View;

/// What of the client's flags reaches the backing. O_APPEND is told with each write, O_TRUNC comes as a truncate,
/// O_DIRECT would put demands on the buffers that the client does not know of.
const PASSED_ON: i32 = libc::O_ACCMODE | libc::O_SYNC | libc::O_DSYNC;

/// How an open file is read and written.
#[derive(Clone, Debug)]
pub enum Route {
    /// By the kernel, past the daemon.
    Kernel(Arc<BackingFile>),
    /// By the daemon, and the kernel keeps pages.
    Cached,
    /// By the daemon, each time.
    Daemon,
    /// Likewise, while other files of the same inode are read and written by the kernel: it demands that all name the
    /// same backing file.
    Beside(Arc<BackingFile>),
}

/// An open file, as the kernel is told of it.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Its number.
    pub fh: Fh,
    /// How it is read and written.
    pub route: Route,
    /// Whether each `close` has to be told: it ends POSIX locks.
    pub flush: bool,
}

impl Opening {
    /// The kernel's number of the file that it reads and writes by itself.
    pub(crate) fn backing(&self) -> Option<u32> {
        match &self.route {
            Route::Kernel(backing) | Route::Beside(backing) => Some(backing.id()),
            Route::Cached | Route::Daemon => None,
        }
    }
}

impl FileSystem {
    /// Opens a file.
    ///
    /// # Errors
    /// EACCES without the rights that the flags need.
    pub fn open(&self, ino: Ino, flags: i32, passthrough: &dyn Passthrough) -> Result<Opening> {
        self.with_view(|view| {
            let seen = self.seen(view, ino)?;
            if let Some(name) = self.place_to_open(view, &seen, flags)? {
                self.authorize(&opening(&seen, flags))?;
                return self.open_in_place(&seen, &name, flags, passthrough);
            }
            let seen = self.verify(view, seen)?;
            self.authorize(&opening(&seen, flags))?;
            self.open_judged(&seen, flags, passthrough)
        })
    }

    /// The directory and the name that a node is to be opened by, which verifies it at the same time: what is opened
    /// is what bears the name. `None` if it has to be verified by itself.
    fn place_to_open(&self, view: &View, seen: &Seen, flags: i32) -> Result<Option<(Arc<OwnedFd>, Name)>> {
        let Position::Under { parent, name } = seen.node.position() else {
            return Ok(None);
        };
        // What is open may have lost its name; and what took its place must not be truncated.
        if seen.node.object.birth.is_none() || seen.node.is_open() || flags & libc::O_TRUNC != 0 {
            return Ok(None);
        }
        if !seen.folder.tree.uniform() {
            let parent = self.seen_node(view, Arc::clone(&parent))?;
            self.verify(view, parent)?;
        }
        Ok(Some((
            self.shared.descriptors.of(&seen.folder, &parent)?,
            (&name).into(),
        )))
    }

    /// Opens what was judged, by its name.
    fn open_in_place(
        &self, seen: &Seen, (directory, name): &(Arc<OwnedFd>, Name), flags: i32,
        passthrough: &dyn Passthrough,
    ) -> Result<Opening> {
        let really = is_really_opened(seen, flags);
        let fd = {
            let _as = seen.folder.backing.credentials().assume()?;
            // What was put in its place may be a FIFO, which must not stop the daemon.
            let how = if really {
                flags & PASSED_ON | libc::O_NONBLOCK
            } else {
                libc::O_PATH
            };
            backing::open_at(directory, name, how)
        };
        let fd = match fd {
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ENOENT | libc::ELOOP | libc::ENXIO)
                ) =>
            {
                return Err(Error::Stale);
            }
            fd => fd?,
        };
        let stat = backing::stat(&fd)?;
        if !seen.node.object.has(&stat) || stat.mount != seen.folder.backing.root_stat()?.mount {
            return Err(Error::Stale);
        }
        self.open_checked(seen, flags, fd, really, passthrough)
    }

    /// Opens what was judged.
    pub(super) fn open_judged(
        &self, seen: &Seen, flags: i32, passthrough: &dyn Passthrough,
    ) -> Result<Opening> {
        let path = self.fd(seen)?;
        if !is_really_opened(seen, flags) {
            return self.open_checked(seen, flags, path, false, passthrough);
        }
        let fd = {
            let _as = seen.folder.backing.credentials().assume()?;
            backing::reopen(&path, flags & (PASSED_ON | libc::O_TRUNC))?
        };
        self.open_checked(seen, flags, fd, true, passthrough)
    }

    /// Makes the handle of what was judged and may be opened. `fd` points at it, and is an open file with these flags
    /// if it was `really` opened.
    pub(super) fn open_checked(
        &self, seen: &Seen, flags: i32, fd: impl Into<Arc<OwnedFd>>, really: bool,
        passthrough: &dyn Passthrough,
    ) -> Result<Opening> {
        let fd = fd.into();
        self.remember(seen, &fd)?;
        let node = &seen.node;
        let writable = flags & libc::O_ACCMODE != libc::O_RDONLY;
        if writable {
            self.opened_for_writing(node);
        }
        let route = self.route(seen, flags, &fd, passthrough);
        let fd = if matches!(route, Route::Kernel(_)) {
            node.bypasses(writable);
            // The daemon needs an open file of its own only now and then: see `OpenFile::fd`.
            None
        } else {
            really.then_some(fd)
        };
        let file = OpenFile::new(node, flags & PASSED_ON, writable, &route);
        let opened = self.handles.open_file(file, fd).inspect_err(|_| {
            if writable {
                self.closed_for_writing(node);
            }
        });
        let fh = opened?;
        // The policy may have changed since it was asked, and what was open past the daemon been cut before this was
        // open: so it is asked again.
        if matches!(route, Route::Kernel(_)) && !self.covers(node, writable) {
            self.release(fh, None);
            return Err(Refusal::Access.into());
        }
        Ok(Opening {
            fh,
            flush: node.locks.are_used(),
            route,
        })
    }

    /// Sees to it that an open file is found again when its name is gone.
    fn remember(&self, seen: &Seen, fd: &Arc<OwnedFd>) -> Result<()> {
        let object = &seen.node.object;
        if object.handle().is_some() {
            return Ok(());
        }
        match backing::handle(&**fd)? {
            Some(handle) => seen.node.learn(handle),
            None => self.shared.descriptors.keep(&seen.node, Arc::clone(fd)),
        }
        Ok(())
    }

    /// How a file is to be read and written: past the daemon where that is possible and wanted. All files of one node
    /// go the same way, or each past the kernel's pages.
    fn route(&self, seen: &Seen, flags: i32, path: &OwnedFd, passthrough: &dyn Passthrough) -> Route {
        let mut data = seen.node.data.lock();
        let wanted = self.has_passthrough() && !seen.folder.policy.strict;
        if let Some(backing) = data.backing.upgrade() {
            return if wanted {
                Route::Kernel(backing)
            } else {
                Route::Beside(backing)
            };
        }
        if wanted
            && data.cached == 0
            && let Some(kernel) = self.kernel.get()
            && let Some(reach) = self.reach.hold()
        {
            let opened = seen
                .folder
                .backing
                .credentials()
                .assume()
                .and_then(|_as| passthrough.open_backing(path.as_fd()));
            match opened {
                Ok(id) => {
                    if let Some(journal) = &self.journal {
                        journal.backing_given(id);
                    }
                    let backing = Arc::new(BackingFile::new(id, kernel.device(), reach));
                    data.backing = Arc::downgrade(&backing);
                    return Route::Kernel(backing);
                }
                Err(error) => tracing::debug!(%error, ino = ?seen.node.ino, "read and written by the daemon"),
            }
        }
        data.backing = Weak::new();
        // What is appended goes past the kernel's pages: through them it would cut one write in two where it believes
        // a page to end, and those of another mount could come in between.
        if flags & libc::O_APPEND != 0 {
            return Route::Daemon;
        }
        data.cached += 1;
        Route::Cached
    }

    /// Ends what a client's `close` ends: his POSIX locks. Needs no right: it takes nothing and tells nothing.
    ///
    /// # Errors
    /// [`Error::Unknown`].
    pub fn flush(&self, fh: Fh, owner: LockOwner) -> Result<()> {
        let file = self.handles.file(fh)?;
        if file.node.locks.are_used() {
            file.node.locks.release(owner);
            self.waiters.wake();
        }
        Ok(())
    }

    /// Forgets a handle: the last descriptor and mapping of it are gone. Needs no right, like [`FileSystem::flush`].
    pub fn release(&self, fh: Fh, flock_owner: Option<LockOwner>) {
        let Some(file) = self.handles.release_file(fh) else {
            return;
        };
        let node = Arc::clone(&file.node);
        if file.writable {
            self.closed_for_writing(&node);
        }
        // A lock that was taken through a handle whose closings were not told ends with it.
        let owners = file.take_lock_owners();
        drop(file);
        if !node.is_open() {
            self.forget_nameless(node.ino);
        }
        if !node.locks.are_used() {
            return;
        }
        for owner in owners.into_iter().chain(flock_owner) {
            node.locks.release(owner);
        }
        if !node.is_open() {
            node.locks.release_all();
        }
        self.waiters.wake();
    }
}

/// Whether opening has to be tried. Where the daemon acts in its own name and nothing is changed, there is nothing that
/// the kernel could object to. A file that is written has to be opened indeed: it may run, or be immutable (chattr(1)).
fn is_really_opened(seen: &Seen, flags: i32) -> bool {
    flags & libc::O_ACCMODE != libc::O_RDONLY
        || flags & libc::O_TRUNC != 0
        || seen.folder.backing.is_adopted()
}

/// The question that opening with these flags asks.
pub(super) fn opening(seen: &Seen, flags: i32) -> Operation {
    let mode = flags & libc::O_ACCMODE;
    // O_TRUNC writes, whatever the access mode. The mode 3 is for ioctl alone, and asks for both.
    let write = mode != libc::O_RDONLY || flags & libc::O_TRUNC != 0;
    Operation::Open {
        entry: seen.verdict,
        read: mode != libc::O_WRONLY,
        write,
    }
}

/// Turns a refusal on something open into what the kernel answers on a handle that was cut.
pub(super) fn revoked(error: Error) -> Error {
    match error {
        Error::Refused(Refusal::NotFound | Refusal::Access | Refusal::NotPermitted) => Error::Revoked,
        other => other,
    }
}
