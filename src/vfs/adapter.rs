//! fuser's trait, forwarded: decode, call the operation, reply. Decides nothing.

mod agree;
mod convert;
mod notifier;
mod serve;

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, INodeNo, IoctlFlags,
    KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags, ReplyAttr,
    ReplyBmap, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry,
    ReplyIoctl, ReplyLock, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
    TimeOrNow, WriteFlags,
};

use agree::agree;
use convert::{
    Entries, Lookup, Names, caller, reply_attr, reply_create, reply_data, reply_empty, reply_entry,
    reply_lock, reply_lookup, reply_open, reply_opendir, reply_statfs, reply_write, reply_xattr, to_errno,
    to_lock, to_time, to_whence,
};

pub use notifier::Notifier;

use super::counters::Opcode;
use super::error::Result;
use super::filesystem::FileSystem;
use super::ids::{Fh, Ino};
use super::locks::Claim;
use super::ops::{AccessMask, SetAttr, SetXattr};
use super::pool::Seat;

/// The file system as fuser drives it.
pub(super) struct Adapter(pub Arc<FileSystem>, pub Arc<Seat>);

impl Filesystem for Adapter {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        if self.1.is_first() {
            agree(&self.0, config);
        }
        // For a further worker, what is agreed with the kernel is agreed already.
        Ok(())
    }

    fn lookup(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let _request = self.begin(Opcode::Lookup);
        if name == "." {
            return self.answer_cut(req, parent, reply);
        }
        let looked_up = self.run(|fs| Lookup::of(fs.lookup(Ino(parent.0), name.as_bytes())));
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

    fn unlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _request = self.begin(Opcode::Unlink);
        reply_empty(reply, self.run(|fs| fs.unlink(Ino(parent.0), name.as_bytes())));
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _request = self.begin(Opcode::Rmdir);
        reply_empty(reply, self.run(|fs| fs.rmdir(Ino(parent.0), name.as_bytes())));
    }

    fn symlink(&self, req: &Request, parent: INodeNo, link_name: &OsStr, target: &Path, reply: ReplyEntry) {
        let _request = self.begin(Opcode::Symlink);
        let content = target.as_os_str().as_bytes();
        let made = self.run(|fs| fs.symlink(caller(req), Ino(parent.0), link_name.as_bytes(), content));
        reply_entry(reply, made);
    }

    fn rename(
        &self, _req: &Request, parent: INodeNo, name: &OsStr, newparent: INodeNo, newname: &OsStr,
        flags: RenameFlags, reply: ReplyEmpty,
    ) {
        let _request = self.begin(Opcode::Rename);
        let renamed = self.run(|fs| {
            fs.rename(
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

    fn link(&self, _req: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        let _request = self.begin(Opcode::Link);
        reply_entry(
            reply,
            self.run(|fs| fs.link(Ino(ino.0), Ino(newparent.0), newname.as_bytes())),
        );
    }

    fn open(&self, _req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let _request = self.begin(Opcode::Open);
        if self.opens_itself() {
            // The kernel does not ask again, and judges by the modes that it is shown.
            return reply.error(Errno::ENOSYS);
        }
        let opened = self.run(|fs| fs.open(Ino(ino.0), flags.0, &reply));
        reply_open(reply, opened);
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
        reply_opendir(reply, self.run(|fs| fs.opendir(Ino(ino.0))));
    }

    fn readdir(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let _request = self.begin(Opcode::Readdir);
        let told = self.run(|fs| fs.readdir(Fh(fh.0), offset, false, &mut Names(&mut reply)));
        match told {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn readdirplus(
        &self, _req: &Request, _ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus,
    ) {
        let _request = self.begin(Opcode::Readdirplus);
        let told = self.run(|fs| fs.readdir(Fh(fh.0), offset, true, &mut Entries(&mut reply)));
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
        reply_statfs(reply, self.run(|fs| fs.statfs(Ino(ino.0))));
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
        let made = self.run(|fs| fs.create(caller, Ino(parent.0), name.as_bytes(), mode, flags, &reply));
        reply_create(reply, made);
    }

    fn getlk(
        &self, _req: &Request, _ino: INodeNo, fh: FileHandle, lock_owner: LockOwner, start: u64, end: u64,
        typ: i32, _pid: u32, reply: ReplyLock,
    ) {
        let _request = self.begin(Opcode::Getlk);
        let found = to_lock(typ, start, end)
            .and_then(|lock| self.run(|fs| fs.getlk(Fh(fh.0), super::ids::LockOwner(lock_owner.0), lock)));
        reply_lock(reply, (start, end), found);
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
        let sought = to_whence(whence).and_then(|whence| self.run(|fs| fs.lseek(Fh(fh.0), offset, whence)));
        match sought {
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
