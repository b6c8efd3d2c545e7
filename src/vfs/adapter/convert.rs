//! Between fuser's types and those of the file system.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use fuser::{
    AccessFlags, Errno, FileAttr, FileHandle, FileType, FopenFlags, Generation, INodeNo, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLock,
    ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow,
};

use crate::backing::{self, FileKind, Lock, LockKind, SetTime, StatFs};
use crate::vfs::attr::{Attr, Entry, constant};
use crate::vfs::error::{Error, Result};
use crate::vfs::filesystem::Caller;
use crate::vfs::handles::Listed;
use crate::vfs::ids::Ino;
use crate::vfs::ops::{
    AccessMask, OpenedDirectory, Opening, RenameFlags, Route, SetAttr, SetXattr, Sink, Whence,
};

/// A directory reply that takes names.
pub(super) struct Names(pub(super) ReplyDirectory);

impl Names {
    pub(super) fn end(self, told: std::result::Result<(), Errno>) {
        match told {
            Ok(()) => self.0.ok(),
            Err(errno) => self.0.error(errno),
        }
    }
}

impl Sink for Names {
    fn name(&mut self, listed: &Listed, next: u64) -> bool {
        self.0.add(
            INodeNo(listed.ino.0),
            next,
            file_type(listed.kind),
            OsStr::from_bytes(&listed.name),
        )
    }

    fn entry(&mut self, listed: &Listed, _entry: &Entry, next: u64) -> bool {
        self.name(listed, next)
    }
}

/// A directory reply that takes names with attributes.
pub(super) struct Entries(pub(super) ReplyDirectoryPlus);

impl Entries {
    pub(super) fn end(self, told: std::result::Result<(), Errno>) {
        match told {
            Ok(()) => self.0.ok(),
            Err(errno) => self.0.error(errno),
        }
    }
}

impl Sink for Entries {
    fn name(&mut self, _listed: &Listed, _next: u64) -> bool {
        // A name alone has no place in this reply; who asked for attributes is given entries.
        false
    }

    fn entry(&mut self, listed: &Listed, entry: &Entry, next: u64) -> bool {
        self.0.add(
            // What has no node has a number all the same.
            INodeNo(
                if entry.attr.ino.0 == 0 {
                    listed.ino
                } else {
                    entry.attr.ino
                }
                .0,
            ),
            next,
            OsStr::from_bytes(&listed.name),
            &entry.name_lasts.min(entry.attr.lasts),
            &file_attr(&entry.attr),
            Generation(entry.generation),
        )
    }
}

pub(super) fn caller(req: &Request) -> Caller {
    Caller {
        uid: req.uid(),
        gid: req.gid(),
        pid: req.pid(),
    }
}

/// How the kernel is to treat an open directory.
fn directory_flags(opened: &OpenedDirectory) -> FopenFlags {
    let mut flags = FopenFlags::empty();
    flags.set(FopenFlags::FOPEN_CACHE_DIR, opened.caches);
    flags.set(FopenFlags::FOPEN_KEEP_CACHE, opened.keeps);
    flags
}

/// How the kernel is to treat an open file.
fn open_flags(opening: &Opening) -> FopenFlags {
    let mut flags = match &opening.route {
        Route::Kernel(_) | Route::Cached => FopenFlags::empty(),
        Route::Daemon | Route::Beside(_) => FopenFlags::FOPEN_DIRECT_IO,
    };
    flags.set(FopenFlags::FOPEN_NOFLUSH, !opening.flush);
    flags
}

pub(super) fn to_errno(error: &Error) -> Errno {
    if let Error::Backing(cause) = error
        && cause.raw_os_error().is_none()
    {
        tracing::error!(%cause, "a request failed for a reason that has no errno");
    }
    Errno::from_i32(error.errno())
}

pub(super) fn set_attr(
    (mode, uid, gid, size): (Option<u32>, Option<u32>, Option<u32>, Option<u64>),
    (atime, mtime): (Option<TimeOrNow>, Option<TimeOrNow>),
) -> SetAttr {
    SetAttr {
        mode,
        uid,
        gid,
        size,
        atime: atime.map(to_time),
        mtime: mtime.map(to_time),
    }
}

pub(super) fn access_mask(mask: AccessFlags) -> AccessMask {
    AccessMask {
        read: mask.contains(AccessFlags::R_OK),
        write: mask.contains(AccessFlags::W_OK),
        execute: mask.contains(AccessFlags::X_OK),
    }
}

pub(super) fn set_xattr(flags: i32) -> SetXattr {
    SetXattr {
        create: flags & libc::XATTR_CREATE != 0,
        replace: flags & libc::XATTR_REPLACE != 0,
    }
}

pub(super) fn rename_flags(flags: fuser::RenameFlags) -> RenameFlags {
    RenameFlags {
        no_replace: flags.contains(fuser::RenameFlags::RENAME_NOREPLACE),
        exchange: flags.contains(fuser::RenameFlags::RENAME_EXCHANGE),
        whiteout: flags.contains(fuser::RenameFlags::RENAME_WHITEOUT),
    }
}

fn to_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::SpecificTime(time) => SetTime::At(time),
        TimeOrNow::Now => SetTime::Now,
    }
}

pub(super) fn to_lock(kind: i32, start: u64, end: u64) -> std::result::Result<Lock, Errno> {
    let kind = match kind {
        libc::F_RDLCK => LockKind::Read,
        libc::F_WRLCK => LockKind::Write,
        libc::F_UNLCK => LockKind::Unlock,
        _ => return Err(Errno::EINVAL),
    };
    Ok(Lock { kind, start, end })
}

pub(super) fn to_whence(whence: i32) -> std::result::Result<Whence, Errno> {
    match whence {
        libc::SEEK_DATA => Ok(Whence::Data),
        libc::SEEK_HOLE => Ok(Whence::Hole),
        _ => Err(Errno::EINVAL),
    }
}

fn lock_type(kind: LockKind) -> i32 {
    match kind {
        LockKind::Read => libc::F_RDLCK,
        LockKind::Write => libc::F_WRLCK,
        LockKind::Unlock => libc::F_UNLCK,
    }
}

fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::Regular => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
        FileKind::CharDevice => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
    }
}

fn file_attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.ino.0),
        size: attr.size,
        blocks: attr.blocks,
        atime: attr.atime,
        mtime: attr.mtime,
        ctime: attr.ctime,
        crtime: attr.ctime,
        kind: file_type(attr.kind),
        perm: (attr.mode & 0o7777) as u16,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: attr.blksize,
        flags: 0,
    }
}

pub(super) fn reply_entry(reply: ReplyEntry, entry: std::result::Result<Entry, Errno>) {
    match entry {
        Ok(entry) => reply.entry_with_ttls(
            &entry.attr.lasts,
            &entry.name_lasts,
            &file_attr(&entry.attr),
            Generation(entry.generation),
        ),
        Err(errno) => reply.error(errno),
    }
}

/// What a lookup found.
pub(super) enum Lookup {
    /// An entry.
    There(Entry),
    /// Nothing, which may be kept for so long.
    Missing(Duration),
}

impl Lookup {
    pub(super) fn of(found: Result<Entry>) -> Result<Self> {
        match found {
            Err(Error::Missing(lasts)) if !lasts.is_zero() => Ok(Self::Missing(lasts)),
            found => found.map(Self::There),
        }
    }
}

/// Answers a lookup: that a name is not there may be kept too, as an entry without an inode.
pub(super) fn reply_lookup(reply: ReplyEntry, looked_up: std::result::Result<Lookup, Errno>) {
    match looked_up {
        Ok(Lookup::There(entry)) => reply_entry(reply, Ok(entry)),
        Ok(Lookup::Missing(lasts)) => reply.entry(&lasts, &file_attr(&constant(Ino(0))), Generation(0)),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn reply_open(reply: ReplyOpen, opened: std::result::Result<Opening, Errno>) {
    match opened {
        Ok(opening) => {
            let (fh, flags) = (FileHandle(opening.fh.0), open_flags(&opening));
            match opening.backing() {
                Some(id) => {
                    let id = backing::backing_of_open(&reply, id);
                    reply.opened_passthrough(fh, flags, &id);
                    let _stays_open = id.into_raw();
                }
                None => reply.opened(fh, flags),
            }
        }
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn reply_create(reply: ReplyCreate, made: std::result::Result<(Entry, Opening), Errno>) {
    match made {
        Ok((entry, opening)) => {
            let lasts = entry.name_lasts.min(entry.attr.lasts);
            let (attr, generation) = (file_attr(&entry.attr), Generation(entry.generation));
            let (fh, flags) = (FileHandle(opening.fh.0), open_flags(&opening));
            match opening.backing() {
                Some(id) => {
                    let id = backing::backing_of_create(&reply, id);
                    reply.created_passthrough(&lasts, &attr, generation, fh, flags, &id);
                    let _stays_open = id.into_raw();
                }
                None => reply.created(&lasts, &attr, generation, fh, flags),
            }
        }
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn reply_opendir(reply: ReplyOpen, opened: std::result::Result<OpenedDirectory, Errno>) {
    match opened {
        Ok(opened) => reply.opened(FileHandle(opened.fh.0), directory_flags(&opened)),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn reply_statfs(reply: ReplyStatfs, stat: std::result::Result<StatFs, Errno>) {
    match stat {
        Ok(stat) => reply.statfs(
            stat.blocks,
            stat.blocks_free,
            stat.blocks_available,
            stat.files,
            stat.files_free,
            stat.block_size,
            stat.name_length,
            stat.fragment_size,
        ),
        Err(errno) => reply.error(errno),
    }
}

/// Answers who holds a lock in the range that was `asked` for.
pub(super) fn reply_lock(
    reply: ReplyLock, asked: (u64, u64), found: std::result::Result<Option<Lock>, Errno>,
) {
    match found {
        // Whose it is, the backing does not tell of open file description locks.
        Ok(Some(lock)) => reply.locked(lock.start, lock.end, lock_type(lock.kind), 0),
        Ok(None) => reply.locked(asked.0, asked.1, libc::F_UNLCK, 0),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn reply_lseek(reply: ReplyLseek, sought: std::result::Result<i64, Errno>) {
    match sought {
        Ok(offset) => reply.offset(offset),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn reply_attr(reply: ReplyAttr, attr: std::result::Result<Attr, Errno>) {
    match attr {
        Ok(attr) => reply.attr(&attr.lasts, &file_attr(&attr)),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn reply_data(reply: ReplyData, data: std::result::Result<Vec<u8>, Errno>) {
    match data {
        Ok(data) => reply.data(&data),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn reply_write(reply: ReplyWrite, written: std::result::Result<u32, Errno>) {
    match written {
        Ok(written) => reply.written(written),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn reply_empty(reply: ReplyEmpty, done: std::result::Result<(), Errno>) {
    match done {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

/// Answers a question for a value of unknown size: the size alone if the caller has no buffer yet.
pub(super) fn reply_xattr(reply: ReplyXattr, size: u32, value: std::result::Result<Vec<u8>, Errno>) {
    match value {
        Err(errno) => reply.error(errno),
        Ok(value) if size == 0 => reply.size(value.len() as u32),
        Ok(value) if value.len() > size as usize => reply.error(to_errno(&Error::Range)),
        Ok(value) => reply.data(&value),
    }
}
