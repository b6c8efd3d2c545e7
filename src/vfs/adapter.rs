//! fuser's trait, forwarded: decode, call the operation, reply. Decides nothing.

mod convert;
mod notifier;

use std::ffi::OsStr;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, Generation, INodeNo,
    InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier,
    RenameFlags, ReplyAttr, ReplyBmap, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLock, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite,
    ReplyXattr, Request, TimeOrNow, Version, WriteFlags,
};

use convert::{
    Entries, Lookup, Names, caller, directory_flags, file_attr, lock_type, open_flags, reply_attr,
    reply_data, reply_empty, reply_entry, reply_lookup, reply_write, reply_xattr, to_errno, to_lock, to_time,
};

pub use notifier::Notifier;

use super::authorize::take_asked;
use super::counters::Opcode;
use super::error::Result;
use super::filesystem::FileSystem;
use super::ids::{Fh, Ino};
use super::kernel::{Features, Passthrough};
use super::locks::Claim;
use super::ops::{AccessMask, SetAttr, SetXattr, Whence};
use super::pool::{Seat, Served};

/// The largest write in one request, in bytes: what a worker's buffer is touched for at most.
const MAX_WRITE: u32 = 1 << 20;
/// The kernel's ABI that has `FUSE_NOTIFY_INC_EPOCH`.
const EPOCH: Version = Version(7, 44);

/// The file system as fuser drives it.
pub(super) struct Adapter(pub Arc<FileSystem>, pub Arc<Seat>);

impl Passthrough for ReplyOpen {
    fn open_backing(&self, fd: BorrowedFd<'_>) -> io::Result<fuser::BackingId> {
        self.open_backing(fd)
    }
}

impl Passthrough for ReplyCreate {
    fn open_backing(&self, fd: BorrowedFd<'_>) -> io::Result<fuser::BackingId> {
        self.open_backing(fd)
    }
}

impl Adapter {
    /// Begins to serve a request: the first that each method does.
    fn begin(&self, opcode: Opcode) -> Served<'_> {
        let served = self.1.begin();
        if !served.is_greeting() {
            self.0.requests.count(opcode);
        }
        served
    }

    /// Answers for a node by its number, which is no name that a program gave, and tells a program nothing.
    fn answer_cut(&self, req: &Request, number: INodeNo, reply: ReplyEntry) {
        let answer = self.0.answer_cut(Ino(number.0), req.pid());
        reply_entry(reply, answer.map_err(|error| to_errno(&error)));
    }

    /// Whether the kernel opens and closes files of this mount without a word.
    fn opens_itself(&self) -> bool {
        self.0.features().opens_itself
    }

    /// Runs one operation and holds it to one question to [`FileSystem::authorize`].
    fn run<T>(&self, operation: impl FnOnce(&FileSystem) -> Result<T>) -> std::result::Result<T, Errno> {
        take_asked();
        let outcome = operation(&self.0);
        let asked = take_asked();
        // What failed before it came to a question has done nothing.
        debug_assert!(
            asked == 1 || asked == 0 && outcome.is_err(),
            "{asked} questions in one request"
        );
        outcome.map_err(|error| to_errno(&error))
    }
}

impl Filesystem for Adapter {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        if !self.1.is_first() {
            // What is agreed with the kernel is agreed already.
            return Ok(());
        }
        // Without a word about opens and closes, nobody could take back the locks of who closed: those of a read-only
        // mount are its own.
        let opens_itself = self
            .0
            .opens_itself(config.capabilities().contains(InitFlags::FUSE_NO_OPEN_SUPPORT));
        let locks = InitFlags::FUSE_POSIX_LOCKS | InitFlags::FUSE_FLOCK_LOCKS;
        let wanted = if opens_itself { InitFlags::empty() } else { locks }
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_READDIRPLUS_AUTO
            | InitFlags::FUSE_AUTO_INVAL_DATA
            | InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP
            | InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_CACHE_SYMLINKS
            // The backing clears setuid bits and capabilities by itself, for the daemon has no CAP_FSETID; the kernel
            // does not ask for them before each write.
            | InitFlags::FUSE_HANDLE_KILLPRIV_V2
            // Lets the kernel ask for what is to be cut.
            | InitFlags::FUSE_EXPORT_SUPPORT;
        for flag in wanted.iter() {
            // What an older kernel does not have, it does without.
            let _ = config.add_capabilities(flag);
        }
        let _ = config.set_max_write(MAX_WRITE);
        let features = self.0.allowed(Features {
            passthrough: config.capabilities().contains(InitFlags::FUSE_PASSTHROUGH),
            epoch: config.kernel_abi() >= EPOCH,
            opens_itself,
        });
        if features.passthrough {
            let _ = config.add_capabilities(InitFlags::FUSE_PASSTHROUGH);
            let _ = config.set_max_stack_depth(1);
        }
        // A further worker of the same mount is told the same.
        let _ = self.0.features.set(features);
        Ok(())
    }

    fn lookup(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let _request = self.begin(Opcode::Lookup);
        if name == "." {
            return self.answer_cut(req, parent, reply);
        }
        let looked_up = self.run(|fs| Lookup::of(fs.lookup(caller(req), Ino(parent.0), name.as_bytes())));
        reply_lookup(reply, looked_up);
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        let _request = self.begin(Opcode::Forget);
        self.0.forget(Ino(ino.0), nlookup);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, fh: Option<FileHandle>, reply: ReplyAttr) {
        let _request = self.begin(Opcode::Getattr);
        reply_attr(
            reply,
            self.run(|fs| fs.getattr(Ino(ino.0), fh.map(|fh| Fh(fh.0)))),
        );
    }

    fn setattr(
        &self, req: &Request, ino: INodeNo, mode: Option<u32>, uid: Option<u32>, gid: Option<u32>,
        size: Option<u64>, atime: Option<TimeOrNow>, mtime: Option<TimeOrNow>, _ctime: Option<SystemTime>,
        fh: Option<FileHandle>, _crtime: Option<SystemTime>, _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>, _flags: Option<BsdFileFlags>, reply: ReplyAttr,
    ) {
        let _request = self.begin(Opcode::Setattr);
        let set = SetAttr {
            mode,
            uid,
            gid,
            size,
            atime: atime.map(to_time),
            mtime: mtime.map(to_time),
        };
        reply_attr(
            reply,
            self.run(|fs| fs.setattr(caller(req), Ino(ino.0), set, fh.map(|fh| Fh(fh.0)))),
        );
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        let _request = self.begin(Opcode::Readlink);
        reply_data(reply, self.run(|fs| fs.readlink(Ino(ino.0))));
    }

    fn mknod(
        &self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, rdev: u32,
        reply: ReplyEntry,
    ) {
        let _request = self.begin(Opcode::Mknod);
        let made = self.run(|fs| fs.mknod(caller(req), Ino(parent.0), name.as_bytes(), mode, rdev));
        reply_entry(reply, made);
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        let _request = self.begin(Opcode::Mkdir);
        reply_entry(
            reply,
            self.run(|fs| fs.mkdir(caller(req), Ino(parent.0), name.as_bytes(), mode)),
        );
    }

    fn unlink(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _request = self.begin(Opcode::Unlink);
        reply_empty(
            reply,
            self.run(|fs| fs.unlink(caller(req), Ino(parent.0), name.as_bytes())),
        );
    }

    fn rmdir(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _request = self.begin(Opcode::Rmdir);
        reply_empty(
            reply,
            self.run(|fs| fs.rmdir(caller(req), Ino(parent.0), name.as_bytes())),
        );
    }

    fn symlink(&self, req: &Request, parent: INodeNo, link_name: &OsStr, target: &Path, reply: ReplyEntry) {
        let _request = self.begin(Opcode::Symlink);
        let content = target.as_os_str().as_bytes();
        let made = self.run(|fs| fs.symlink(caller(req), Ino(parent.0), link_name.as_bytes(), content));
        reply_entry(reply, made);
    }

    fn rename(
        &self, req: &Request, parent: INodeNo, name: &OsStr, newparent: INodeNo, newname: &OsStr,
        flags: RenameFlags, reply: ReplyEmpty,
    ) {
        let _request = self.begin(Opcode::Rename);
        let renamed = self.run(|fs| {
            fs.rename(
                caller(req),
                (Ino(parent.0), name.as_bytes()),
                (Ino(newparent.0), newname.as_bytes()),
                super::ops::RenameFlags {
                    no_replace: flags.contains(RenameFlags::RENAME_NOREPLACE),
                    exchange: flags.contains(RenameFlags::RENAME_EXCHANGE),
                    whiteout: flags.contains(RenameFlags::RENAME_WHITEOUT),
                },
            )
        });
        reply_empty(reply, renamed);
    }

    fn link(&self, req: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        let _request = self.begin(Opcode::Link);
        reply_entry(
            reply,
            self.run(|fs| fs.link(caller(req), Ino(ino.0), Ino(newparent.0), newname.as_bytes())),
        );
    }

    fn open(&self, _req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let _request = self.begin(Opcode::Open);
        if self.opens_itself() {
            // The kernel does not ask again, and judges by the modes that it is shown.
            return reply.error(Errno::ENOSYS);
        }
        match self.run(|fs| fs.open(Ino(ino.0), flags.0, &reply)) {
            Ok(opening) => {
                let (fh, flags) = (FileHandle(opening.fh.0), open_flags(&opening));
                match opening.backing() {
                    Some(id) => reply.opened_passthrough(fh, flags, id),
                    None => reply.opened(fh, flags),
                }
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self, _req: &Request, ino: INodeNo, fh: FileHandle, offset: u64, size: u32, _flags: OpenFlags,
        _lock_owner: Option<LockOwner>, reply: ReplyData,
    ) {
        let _request = self.begin(Opcode::Read);
        reply_data(reply, self.run(|fs| fs.read(Ino(ino.0), Fh(fh.0), offset, size)));
    }

    fn write(
        &self, _req: &Request, _ino: INodeNo, fh: FileHandle, offset: u64, data: &[u8],
        _write_flags: WriteFlags, flags: OpenFlags, _lock_owner: Option<LockOwner>, reply: ReplyWrite,
    ) {
        let _request = self.begin(Opcode::Write);
        reply_write(reply, self.run(|fs| fs.write(Fh(fh.0), offset, data, flags.0)));
    }

    fn flush(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, lock_owner: LockOwner, reply: ReplyEmpty) {
        let _request = self.begin(Opcode::Flush);
        if self.opens_itself() {
            return reply.error(Errno::ENOSYS);
        }
        let flushed = self.0.flush(Fh(fh.0), super::ids::LockOwner(lock_owner.0));
        reply_empty(reply, flushed.map_err(|error| to_errno(&error)));
    }

    fn release(
        &self, _req: &Request, _ino: INodeNo, fh: FileHandle, _flags: OpenFlags,
        lock_owner: Option<LockOwner>, _flush: bool, reply: ReplyEmpty,
    ) {
        let _request = self.begin(Opcode::Release);
        self.0
            .release(Fh(fh.0), lock_owner.map(|owner| super::ids::LockOwner(owner.0)));
        reply.ok();
    }

    fn fsync(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, datasync: bool, reply: ReplyEmpty) {
        let _request = self.begin(Opcode::Fsync);
        reply_empty(reply, self.run(|fs| fs.fsync(Fh(fh.0), datasync)));
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let _request = self.begin(Opcode::Opendir);
        match self.run(|fs| fs.opendir(Ino(ino.0))) {
            Ok(opened) => reply.opened(FileHandle(opened.fh.0), directory_flags(&opened)),
            Err(errno) => reply.error(errno),
        }
    }

    fn readdir(&self, req: &Request, _ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let _request = self.begin(Opcode::Readdir);
        let told = self.run(|fs| fs.readdir(caller(req), Fh(fh.0), offset, false, &mut Names(&mut reply)));
        match told {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn readdirplus(
        &self, req: &Request, _ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus,
    ) {
        let _request = self.begin(Opcode::Readdirplus);
        let told = self.run(|fs| fs.readdir(caller(req), Fh(fh.0), offset, true, &mut Entries(&mut reply)));
        match told {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn releasedir(
        &self, _req: &Request, _ino: INodeNo, fh: FileHandle, _flags: OpenFlags, reply: ReplyEmpty,
    ) {
        let _request = self.begin(Opcode::Releasedir);
        self.0.releasedir(Fh(fh.0));
        reply.ok();
    }

    fn fsyncdir(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, datasync: bool, reply: ReplyEmpty) {
        let _request = self.begin(Opcode::Fsyncdir);
        reply_empty(reply, self.run(|fs| fs.fsyncdir(Fh(fh.0), datasync)));
    }

    fn statfs(&self, _req: &Request, ino: INodeNo, reply: ReplyStatfs) {
        let _request = self.begin(Opcode::Statfs);
        match self.run(|fs| fs.statfs(Ino(ino.0))) {
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

    fn setxattr(
        &self, _req: &Request, ino: INodeNo, name: &OsStr, value: &[u8], flags: i32, _position: u32,
        reply: ReplyEmpty,
    ) {
        let _request = self.begin(Opcode::Setxattr);
        let flags = SetXattr {
            create: flags & libc::XATTR_CREATE != 0,
            replace: flags & libc::XATTR_REPLACE != 0,
        };
        reply_empty(
            reply,
            self.run(|fs| fs.setxattr(Ino(ino.0), name.as_bytes(), value, flags)),
        );
    }

    fn getxattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let _request = self.begin(Opcode::Getxattr);
        reply_xattr(
            reply,
            size,
            self.run(|fs| fs.getxattr(Ino(ino.0), name.as_bytes())),
        );
    }

    fn listxattr(&self, _req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let _request = self.begin(Opcode::Listxattr);
        reply_xattr(reply, size, self.run(|fs| fs.listxattr(Ino(ino.0))));
    }

    fn removexattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _request = self.begin(Opcode::Removexattr);
        reply_empty(reply, self.run(|fs| fs.removexattr(Ino(ino.0), name.as_bytes())));
    }

    fn access(&self, _req: &Request, ino: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        let _request = self.begin(Opcode::Access);
        let mask = AccessMask {
            read: mask.contains(AccessFlags::R_OK),
            write: mask.contains(AccessFlags::W_OK),
            execute: mask.contains(AccessFlags::X_OK),
        };
        reply_empty(reply, self.run(|fs| fs.access(Ino(ino.0), mask)));
    }

    fn create(
        &self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, flags: i32,
        reply: ReplyCreate,
    ) {
        let _request = self.begin(Opcode::Create);
        let caller = caller(req);
        match self.run(|fs| fs.create(caller, Ino(parent.0), name.as_bytes(), mode, flags, &reply)) {
            Ok((entry, opening)) => {
                let lasts = entry.name_lasts.min(entry.attr.lasts);
                let (attr, generation) = (file_attr(&entry.attr), Generation(entry.generation));
                let (fh, flags) = (FileHandle(opening.fh.0), open_flags(&opening));
                match opening.backing() {
                    Some(id) => reply.created_passthrough(&lasts, &attr, generation, fh, flags, id),
                    None => reply.created(&lasts, &attr, generation, fh, flags),
                }
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn getlk(
        &self, _req: &Request, _ino: INodeNo, fh: FileHandle, lock_owner: LockOwner, start: u64, end: u64,
        typ: i32, _pid: u32, reply: ReplyLock,
    ) {
        let _request = self.begin(Opcode::Getlk);
        let found = to_lock(typ, start, end)
            .and_then(|lock| self.run(|fs| fs.getlk(Fh(fh.0), super::ids::LockOwner(lock_owner.0), lock)));
        match found {
            // Whose it is, the backing does not tell of open file description locks.
            Ok(Some(lock)) => reply.locked(lock.start, lock.end, lock_type(lock.kind), 0),
            Ok(None) => reply.locked(start, end, libc::F_UNLCK, 0),
            Err(errno) => reply.error(errno),
        }
    }

    fn setlk(
        &self, req: &Request, _ino: INodeNo, fh: FileHandle, lock_owner: LockOwner, start: u64, end: u64,
        typ: i32, pid: u32, sleep: bool, reply: ReplyEmpty,
    ) {
        let _request = self.begin(Opcode::Setlk);
        let lock = match to_lock(typ, start, end) {
            Ok(lock) => lock,
            Err(errno) => return reply.error(errno),
        };
        let claim = Claim {
            owner: super::ids::LockOwner(lock_owner.0),
            process: pid,
        };
        let owed = self.1.owe();
        let done = move |outcome: Result<()>| {
            reply_empty(reply, outcome.map_err(|error| to_errno(&error)));
            drop(owed);
        };
        self.0.setlk(caller(req), Fh(fh.0), claim, lock, sleep, done);
    }

    fn bmap(&self, _req: &Request, _ino: INodeNo, _blocksize: u32, _idx: u64, reply: ReplyBmap) {
        let _request = self.begin(Opcode::Bmap);
        reply.error(Errno::ENOSYS);
    }

    fn ioctl(
        &self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _flags: IoctlFlags, _cmd: u32,
        _in_data: &[u8], _out_size: u32, reply: ReplyIoctl,
    ) {
        let _request = self.begin(Opcode::Ioctl);
        reply.error(Errno::ENOTTY);
    }

    fn poll(
        &self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _ph: PollNotifier, _events: PollEvents,
        _flags: PollFlags, reply: ReplyPoll,
    ) {
        let _request = self.begin(Opcode::Poll);
        // The kernel answers for regular files by itself from then on.
        reply.error(Errno::ENOSYS);
    }

    fn fallocate(
        &self, _req: &Request, _ino: INodeNo, fh: FileHandle, offset: u64, length: u64, mode: i32,
        reply: ReplyEmpty,
    ) {
        let _request = self.begin(Opcode::Fallocate);
        reply_empty(reply, self.run(|fs| fs.fallocate(Fh(fh.0), mode, offset, length)));
    }

    fn lseek(
        &self, _req: &Request, _ino: INodeNo, fh: FileHandle, offset: i64, whence: i32, reply: ReplyLseek,
    ) {
        let _request = self.begin(Opcode::Lseek);
        if fh.0 == Fh::NONE.0 {
            // The kernel does it by itself from then on.
            return reply.error(Errno::ENOSYS);
        }
        let whence = match whence {
            libc::SEEK_DATA => Whence::Data,
            libc::SEEK_HOLE => Whence::Hole,
            _ => return reply.error(Errno::EINVAL),
        };
        match self.run(|fs| fs.lseek(Fh(fh.0), offset, whence)) {
            Ok(offset) => reply.offset(offset),
            Err(errno) => reply.error(errno),
        }
    }

    fn copy_file_range(
        &self, _req: &Request, _ino_in: INodeNo, fh_in: FileHandle, offset_in: u64, _ino_out: INodeNo,
        fh_out: FileHandle, offset_out: u64, len: u64, _flags: CopyFileRangeFlags, reply: ReplyWrite,
    ) {
        let _request = self.begin(Opcode::CopyFileRange);
        let copied =
            self.run(|fs| fs.copy_file_range((Fh(fh_in.0), offset_in), (Fh(fh_out.0), offset_out), len));
        reply_write(reply, copied);
    }
}
