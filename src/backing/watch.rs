//! What happens on a file system, whoever does it: `fanotify(7)`.
//!
//! A [`Watch`] is one group. It tells of file systems as a whole, by file handles as
//! [`handle`](super::handle()) gives them, and leaves out what this process did itself. Stores to a mapping
//! (`mmap(2)`) are told when the last descriptor and mapping of that opening are gone, reads never. Needs
//! CAP_SYS_ADMIN and Linux 5.9.

mod record;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};

use self::record::{Info, Record, Records};
use super::handle::FileHandle;
use super::open::proc_path;
use super::sys;

/// A file system, as `statfs(2)` names it (`f_fsid`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FileSystemId([u32; 2]);

/// A name in a directory.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    /// The directory.
    pub directory: FileHandle,
    /// The name.
    pub name: Box<[u8]>,
}

/// What another process did.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Change {
    /// A name came, went or leads elsewhere.
    Name {
        /// Where.
        file_system: FileSystemId,
        /// The name.
        entry: Entry,
        /// What it led or leads to, where the kernel says (Linux 5.17).
        target: Option<FileHandle>,
        /// Whether that is a directory.
        is_directory: bool,
        /// What happened to the name.
        kind: NameChange,
    },
    /// The content of a file, its size or its times, or it was open for writing until now; other attributes perhaps
    /// too.
    Content(Changed),
    /// Mode, owner, links, extended attributes or times.
    Attributes(Changed),
    /// So much happened that the kernel did not keep it all: anything may have changed on any file system.
    Overflow,
}

/// The file of a change.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Changed {
    /// Where.
    pub file_system: FileSystemId,
    /// The file.
    pub file: FileHandle,
    /// The name it was reached by; none for a directory.
    pub entry: Option<Entry>,
}

/// What happened to a name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NameChange {
    /// It was made: by creat, mkdir, symlink, link.
    Created,
    /// It was removed.
    Deleted,
    /// What it led to has another name now.
    MovedFrom,
    /// What had another name before has this one now.
    MovedTo,
}

/// See the module's doc.
#[derive(Debug)]
pub struct Watch {
    group: Fanotify,
    /// `FAN_REPORT_TARGET_FID` and `FAN_RENAME` (Linux 5.17).
    has_rename: bool,
    own: i32,
    /// A process that is no more and did what stands in the queue, until that was read once; 0 for none.
    former: AtomicI32,
}

impl Watch {
    /// The group that a former process of that number has made and left, with all that it watches. What that process did
    /// itself is left out.
    ///
    /// # Errors
    /// Those of `fanotify_mark(2)`.
    pub fn again(group: OwnedFd, former: i32, has_rename: bool) -> io::Result<Self> {
        let group = sys::fanotify_of(group);
        // Which files that process ignored is not known.
        group.mark(
            MarkFlags::FAN_MARK_FLUSH,
            MaskFlags::empty(),
            nix::fcntl::AT_FDCWD,
            None::<&str>,
        )?;
        Ok(Self {
            group,
            has_rename,
            own: i32::try_from(std::process::id()).map_err(io::Error::other)?,
            former: AtomicI32::new(former),
        })
    }

    /// What [`Watch::again`] has to know.
    pub fn has_rename(&self) -> bool {
        self.has_rename
    }

    /// Makes a group that watches nothing yet. The queue is the kernel's default
    /// (/proc/sys/fs/fanotify/max_queued_events): what does not fit is told as [`Change::Overflow`], where an
    /// unlimited one would take memory without end.
    ///
    /// # Errors
    /// EPERM without CAP_SYS_ADMIN; EINVAL before Linux 5.9; ENOSYS without fanotify; those of
    /// `fanotify_init(2)`.
    pub fn new() -> io::Result<Self> {
        let own = i32::try_from(std::process::id()).map_err(io::Error::other)?;
        let plain = libc::FAN_CLASS_NOTIF
            | libc::FAN_CLOEXEC
            | libc::FAN_NONBLOCK
            | libc::FAN_REPORT_FID
            | libc::FAN_REPORT_DFID_NAME;
        let init = |flags| Fanotify::init(InitFlags::from_bits_retain(flags), EventFFlags::O_RDONLY);
        let (group, has_rename) = match init(plain | libc::FAN_REPORT_TARGET_FID) {
            Ok(group) => (group, true),
            Err(nix::errno::Errno::EINVAL) => (init(plain)?, false),
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            group,
            has_rename,
            own,
            former: AtomicI32::new(0),
        })
    }

    /// Watches the file system of a directory (`O_PATH` suffices). To do so twice changes nothing.
    ///
    /// # Errors
    /// EOPNOTSUPP, EXDEV or ENODEV where the file system has no handles or no number of its own (overlayfs, a
    /// subvolume of btrfs); ENOSPC over the limit of marks; those of `fanotify_mark(2)`.
    pub fn add(&self, directory: impl AsFd) -> io::Result<()> {
        self.mark(MarkFlags::FAN_MARK_ADD, directory)
    }

    /// Watches it no more.
    ///
    /// # Errors
    /// ENOENT if it is not watched; those of `fanotify_mark(2)`.
    pub fn remove(&self, directory: impl AsFd) -> io::Result<()> {
        self.mark(MarkFlags::FAN_MARK_REMOVE, directory)
    }

    fn mark(&self, flags: MarkFlags, directory: impl AsFd) -> io::Result<()> {
        let moves = if self.has_rename {
            MaskFlags::FAN_RENAME
        } else {
            MaskFlags::FAN_MOVE
        };
        let mask = moves
            | MaskFlags::FAN_CREATE
            | MaskFlags::FAN_DELETE
            | MaskFlags::FAN_ATTRIB
            | MaskFlags::FAN_MODIFY
            | MaskFlags::FAN_CLOSE_WRITE
            | MaskFlags::FAN_ONDIR;
        let flags = flags | MarkFlags::FAN_MARK_FILESYSTEM;
        // By a name and not by the descriptor itself: that must not be O_PATH.
        Ok(self.group.mark(flags, mask, directory, Some(c"."))?)
    }

    /// Tells no more of what is written to a file (`O_PATH` suffices): then writing costs what it costs unwatched.
    /// What is held open keeps its place in the kernel until [`Watch::heed_content`].
    ///
    /// # Errors
    /// ENOSPC over the limit of marks; those of `fanotify_mark(2)`.
    pub fn ignore_content(&self, file: impl AsFd) -> io::Result<()> {
        self.mark_content(MarkFlags::FAN_MARK_ADD, file)
    }

    /// Tells of it again.
    ///
    /// # Errors
    /// ENOENT if it was not ignored; those of `fanotify_mark(2)`.
    pub fn heed_content(&self, file: impl AsFd) -> io::Result<()> {
        self.mark_content(MarkFlags::FAN_MARK_REMOVE, file)
    }

    fn mark_content(&self, flags: MarkFlags, file: impl AsFd) -> io::Result<()> {
        let flags = flags | MarkFlags::FAN_MARK_IGNORED_MASK | MarkFlags::FAN_MARK_IGNORED_SURV_MODIFY;
        let mask = MaskFlags::FAN_MODIFY | MaskFlags::FAN_CLOSE_WRITE;
        let path = proc_path(&file);
        Ok(self.group.mark(flags, mask, &file, Some(path.as_c_str()))?)
    }

    /// Reads what happened since the last time, as much as fits into the buffer: `None` if nothing did. Does not
    /// wait; `poll(2)` on [`Watch::as_fd`] does.
    ///
    /// # Errors
    /// EINVAL if the buffer is too small for one event, of which 4,096 bytes are enough; those of `read(2)`.
    pub fn read<'a>(
        &self, buffer: &'a mut [u8],
    ) -> io::Result<Option<impl Iterator<Item = Change> + use<'a>>> {
        let filled = match nix::unistd::read(&self.group, buffer) {
            Ok(0) | Err(nix::errno::Errno::EAGAIN) => {
                // From now on the number may be another's.
                self.former.store(0, Ordering::Relaxed);
                return Ok(None);
            }
            Ok(filled) => filled,
            Err(error) => return Err(error.into()),
        };
        let own = [self.own, self.former.load(Ordering::Relaxed)];
        Ok(Some(changes(&buffer[..filled], own)))
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.group.as_fd()
    }
}

/// The file system of an open file.
///
/// # Errors
/// Those of `fstatvfs(3)`.
pub fn file_system(fd: impl AsFd) -> io::Result<FileSystemId> {
    let id = nix::sys::statvfs::fstatvfs(fd)?.filesystem_id();
    // glibc and musl put the two halves of `f_fsid` into one number.
    Ok(FileSystemId([id as u32, (id >> 32) as u32]))
}

/// What others than our `own` processes did. Of one's own events nothing but the header is looked at: most are.
fn changes(read: &[u8], own: [i32; 2]) -> impl Iterator<Item = Change> + use<'_> {
    Records::of(read)
        .filter(move |record| !own.contains(&record.pid) || record.mask & libc::FAN_Q_OVERFLOW != 0)
        .flat_map(changes_of)
}

/// The kernel merges what one process does to one file into one event: each of them is up to three changes.
fn changes_of(record: Record<'_>) -> impl Iterator<Item = Change> + use<> {
    let mut found = Vec::with_capacity(2);
    if record.mask & libc::FAN_Q_OVERFLOW != 0 {
        found.push(Change::Overflow);
        return found.into_iter();
    }
    let is_directory = record.mask & libc::FAN_ONDIR != 0;
    let mut file = None;
    let mut named: [Option<Info<'_>>; 3] = [None; 3];
    for info in record.infos() {
        match info.kind {
            libc::FAN_EVENT_INFO_TYPE_FID => file = Some(info),
            // An event of the directory itself.
            libc::FAN_EVENT_INFO_TYPE_DFID => file = Some(info),
            _ if info.name == b"." => file = Some(info),
            libc::FAN_EVENT_INFO_TYPE_OLD_DFID_NAME => named[1] = Some(info),
            libc::FAN_EVENT_INFO_TYPE_NEW_DFID_NAME => named[2] = Some(info),
            _ => named[0] = Some(info),
        }
    }
    let [at, old, new] = named;
    for (bit, at, kind) in [
        (libc::FAN_CREATE, at, NameChange::Created),
        (libc::FAN_DELETE, at, NameChange::Deleted),
        (libc::FAN_MOVED_FROM, at, NameChange::MovedFrom),
        (libc::FAN_MOVED_TO, at, NameChange::MovedTo),
        (libc::FAN_RENAME, old, NameChange::MovedFrom),
        (libc::FAN_RENAME, new, NameChange::MovedTo),
    ] {
        if let Some(at) = at.filter(|_| record.mask & bit != 0) {
            found.push(Change::Name {
                file_system: FileSystemId(at.fsid),
                entry: entry(&at),
                target: file.as_ref().map(handle),
                is_directory,
                kind,
            });
        }
    }
    let of_file = libc::FAN_MODIFY | libc::FAN_CLOSE_WRITE | libc::FAN_ATTRIB;
    let change = match record.mask & of_file {
        0 => None,
        libc::FAN_ATTRIB => Some(Change::Attributes as fn(Changed) -> Change),
        _ => Some(Change::Content as _),
    };
    if let (Some(change), Some(file)) = (change, file) {
        found.push(change(Changed {
            file_system: FileSystemId(file.fsid),
            file: handle(&file),
            entry: at.as_ref().map(entry),
        }));
    }
    found.into_iter()
}

fn entry(info: &Info<'_>) -> Entry {
    Entry {
        directory: handle(info),
        name: info.name.into(),
    }
}

fn handle(info: &Info<'_>) -> FileHandle {
    FileHandle::new(info.handle.0, info.handle.1)
}

#[cfg(test)]
mod tests;
