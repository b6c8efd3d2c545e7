//! The files behind a folder, and in whose name they are touched.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};

use super::book::Book;
use super::error::{Error, Result};
use crate::backing::{self, Credentials, FileSystemId, Lender, Stat};
use crate::policy::{self, Ledger};

/// The backing of one folder.
#[derive(Debug)]
pub struct Backing {
    state: State,
    watched: AtomicBool,
    /// What programs made and moved aside in it, through whatever mount.
    book: Mutex<Book>,
}

#[derive(Debug)]
enum State {
    There {
        /// Open for reading: file handles are opened on its mount.
        root: OwnedFd,
        stat: Stat,
        handles: Handles,
        file_system: FileSystemId,
        custody: Custody,
    },
    Lost,
}

/// What file handles the file system of a backing makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Handles {
    None,
    /// Such as the policy can find an inode number in.
    Numbered,
    /// Others.
    Opaque,
}

/// Who reaches the files besides the daemon.
#[derive(Clone, Debug)]
pub enum Custody {
    /// Nobody: they lie under the state directory. New files belong to the subject of the mount.
    Managed,
    /// The owner of the adopted directory. All is done with his credentials: lending never reaches further than
    /// the lender.
    Adopted(Arc<Lender>),
}

impl Backing {
    /// A backing whose root directory is open (`O_PATH`).
    ///
    /// # Errors
    /// Those of `statx(2)`, `open(2)`, `name_to_handle_at(2)` and `fstatvfs(3)`.
    pub fn new(root: OwnedFd, custody: Custody) -> io::Result<Self> {
        let stat = backing::stat(root.as_fd())?;
        // One descriptor for both uses: there may be many folders.
        let root = backing::reopen(&root, libc::O_RDONLY | libc::O_DIRECTORY)?;
        let handles = match backing::handle(&root)? {
            None => Handles::None,
            Some(handle) if policy::handle_tells_number(handle.as_bytes(), stat.ino) => Handles::Numbered,
            Some(_) => Handles::Opaque,
        };
        let file_system = backing::file_system(&root)?;
        Ok(Self {
            state: State::There {
                root,
                stat,
                handles,
                file_system,
                custody,
            },
            watched: AtomicBool::new(false),
            book: Mutex::default(),
        })
    }

    /// A backing that is not there: each request on the folder answers EIO.
    pub fn lost() -> Self {
        Self {
            state: State::Lost,
            watched: AtomicBool::new(false),
            book: Mutex::default(),
        }
    }

    pub(super) fn ledger(&self) -> MappedMutexGuard<'_, Ledger> {
        MutexGuard::map(self.book(), |book| &mut book.ledger)
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock()
    }

    /// Tells whether it is lost.
    pub fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost)
    }

    /// The root directory.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn root(&self) -> Result<BorrowedFd<'_>> {
        match &self.state {
            State::There { root, .. } => Ok(root.as_fd()),
            State::Lost => Err(Error::Lost),
        }
    }

    /// What file handles are opened on.
    pub(super) fn anchor(&self) -> Result<BorrowedFd<'_>> {
        self.root()
    }

    /// The root's attributes when it was opened.
    pub(super) fn root_stat(&self) -> Result<&Stat> {
        match &self.state {
            State::There { stat, .. } => Ok(stat),
            State::Lost => Err(Error::Lost),
        }
    }

    /// Tells whether its files have handles (overlayfs has none).
    pub(super) fn has_handles(&self) -> bool {
        matches!(
            self.state,
            State::There {
                handles: Handles::Numbered | Handles::Opaque,
                ..
            }
        )
    }

    /// Tells whether the inode number can be found in a file handle.
    pub(super) fn has_numbered_handles(&self) -> bool {
        matches!(
            self.state,
            State::There {
                handles: Handles::Numbered,
                ..
            }
        )
    }

    /// The file system it lies on: the device number and the id.
    pub(super) fn file_system(&self) -> Option<(u64, FileSystemId)> {
        match &self.state {
            State::There {
                stat, file_system, ..
            } => Some((stat.dev, *file_system)),
            State::Lost => None,
        }
    }

    /// Tells whether changes behind the daemon's back are noticed in it, so that the kernel may keep what it is told
    /// for longer.
    pub fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Acquire)
    }

    pub(super) fn watched(&self, watched: bool) {
        self.watched.store(watched, Ordering::Release);
    }

    /// Who reaches it.
    pub fn custody(&self) -> Option<&Custody> {
        match &self.state {
            State::There { custody, .. } => Some(custody),
            State::Lost => None,
        }
    }

    /// Tells whether it is a directory that its owner reaches natively.
    pub(super) fn is_adopted(&self) -> bool {
        matches!(self.custody(), Some(Custody::Adopted(_)))
    }

    /// The credentials for all that makes nothing new.
    pub(super) fn credentials(&self) -> Credentials {
        match self.custody() {
            Some(Custody::Adopted(lender)) => Credentials::Lender(Arc::clone(lender)),
            Some(Custody::Managed) | None => Credentials::Daemon,
        }
    }
}
