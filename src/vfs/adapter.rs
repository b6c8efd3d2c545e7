//! fuser's trait, forwarded: decode, call the operation, reply. Decides nothing.

mod agree;
mod calls;
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
use calls::{at, attribute_call, between, on, open_call};
use convert::{
    Entries, Lookup, Names, access_mask, caller, rename_flags, reply_attr, reply_create, reply_data,
    reply_empty, reply_entry, reply_lock, reply_lookup, reply_lseek, reply_open, reply_opendir, reply_statfs,
    reply_write, reply_xattr, set_attr, set_xattr, to_errno, to_lock, to_whence,
};

pub use notifier::Notifier;

use super::counters::Opcode;
use super::filesystem::FileSystem;
use super::ids::{Fh, Ino, LockOwner as Owner};
use super::locks::Claim;
use super::pool::Seat;
use crate::backing::FileKind;

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
        let call = at(req, "lookup", parent, name);
        if name == "." {
            return self.answer_cut(req, parent, reply);
        }
        let looked_up = self.noted(call, |fs| {
            Lookup::of(fs.lookup(caller(req), Ino(parent.0), name.as_bytes()))
        });
        reply_lookup(reply, looked_up);
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        let _request = self.begin(Opcode::Forget);
        self.0.forget(Ino(ino.0), nlookup);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, fh: Option<FileHandle>, reply: ReplyAttr) {
        let _request = self.begin(Opcode::Getattr);
        let done = self.run(|fs| fs.getattr(Ino(ino.0), fh.map(|fh| Fh(fh.0))));
        reply_attr(reply, done);
    }

    fn setattr(
        &self, req: &Request, ino: INodeNo, mode: Option<u32>, uid: Option<u32>, gid: Option<u32>,
        size: Option<u64>, atime: Option<TimeOrNow>, mtime: Option<TimeOrNow>, _ctime: Option<SystemTime>,
        fh: Option<FileHandle>, _crtime: Option<SystemTime>, _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>, _flags: Option<BsdFileFlags>, reply: ReplyAttr,
    ) {
        let _request = self.begin_noted(Opcode::Setattr, req);
        let call = on(req, attribute_call(mode, size, uid.or(gid)), ino);
        let set = set_attr((mode, uid, gid, size), (atime, mtime));
        let fh = fh.map(|fh| Fh(fh.0));
        let set = |fs: &FileSystem| fs.setattr(caller(req), Ino(ino.0), set, fh);
        let done = self.once(req, call, set, |fs, _| fs.getattr(Ino(ino.0), fh));
        reply_attr(reply, done);
    }

    fn readlink(&self, req: &Request, ino: INodeNo, reply: ReplyData) {
        let _request = self.begin(Opcode::Readlink);
        let call = on(req, "readlink", ino);
        reply_data(reply, self.noted(call, |fs| fs.readlink(Ino(ino.0))));
    }

    fn mknod(
        &self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, rdev: u32,
        reply: ReplyEntry,
    ) {
        let _request = self.begin_noted(Opcode::Mknod, req);
        let call = at(req, "mknod", parent, name);
        let made = self.make(
            req,
            call,
            (parent, name),
            FileKind::from_mode(mode).unwrap_or(FileKind::Regular),
            |fs| fs.mknod(caller(req), Ino(parent.0), name.as_bytes(), mode, rdev),
        );
        reply_entry(reply, made);
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        let _request = self.begin_noted(Opcode::Mkdir, req);
        let call = at(req, "mkdir", parent, name);
        let done = self.make(req, call, (parent, name), FileKind::Directory, |fs| {
            fs.mkdir(caller(req), Ino(parent.0), name.as_bytes(), mode)
        });
        reply_entry(reply, done);
    }

    fn unlink(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _request = self.begin_noted(Opcode::Unlink, req);
        let call = at(req, "unlink", parent, name);
        let done = self.remove(req, call, (parent, name), false);
        reply_empty(reply, done);
    }

    fn rmdir(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _request = self.begin_noted(Opcode::Rmdir, req);
        let call = at(req, "rmdir", parent, name);
        let done = self.remove(req, call, (parent, name), true);
        reply_empty(reply, done);
    }

    fn symlink(&self, req: &Request, parent: INodeNo, link_name: &OsStr, target: &Path, reply: ReplyEntry) {
        let _request = self.begin_noted(Opcode::Symlink, req);
        let call = at(req, "symlink", parent, link_name);
        let content = target.as_os_str().as_bytes();
        let made = self.make(req, call, (parent, link_name), FileKind::Symlink, |fs| {
            fs.symlink(caller(req), Ino(parent.0), link_name.as_bytes(), content)
        });
        reply_entry(reply, made);
    }

    fn rename(
        &self, req: &Request, parent: INodeNo, name: &OsStr, newparent: INodeNo, newname: &OsStr,
        flags: RenameFlags, reply: ReplyEmpty,
    ) {
        let _request = self.begin_noted(Opcode::Rename, req);
        let call = between(at(req, "rename", parent, name), newparent, newname);
        let (from, to) = (
            (Ino(parent.0), name.as_bytes()),
            (Ino(newparent.0), newname.as_bytes()),
        );
        let (caller, flags) = (caller(req), rename_flags(flags));
        let renamed = self.once(
            req,
            call,
            |fs| fs.rename(caller, from, to, flags),
            |fs, progress| fs.rename_again(caller, progress, from, to, flags),
        );
        reply_empty(reply, renamed);
    }

    fn link(&self, req: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        let _request = self.begin_noted(Opcode::Link, req);
        let call = between(on(req, "link", ino), newparent, newname);
        let (caller, ino, to) = (caller(req), Ino(ino.0), (Ino(newparent.0), newname.as_bytes()));
        let link = |fs: &FileSystem| fs.link(caller, ino, to.0, to.1);
        let done = self.once(req, call, link, |fs, progress| {
            fs.link_again(caller, progress, ino, to)
        });
        reply_entry(reply, done);
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let _request = self.begin_noted(Opcode::Open, req);
        let call = on(req, open_call(flags.0), ino);
        if self.opens_itself() {
            // The kernel does not ask again, and judges by the modes that it is shown.
            return reply.error(Errno::ENOSYS);
        }
        let open = |fs: &FileSystem| fs.open(Ino(ino.0), flags.0, &reply);
        let opened = self.once(req, call, open, |fs, _| open(fs));
        reply_open(reply, opened);
    }

    fn read(
        &self, req: &Request, ino: INodeNo, fh: FileHandle, offset: u64, size: u32, _flags: OpenFlags,
        _lock_owner: Option<LockOwner>, reply: ReplyData,
    ) {
        let _request = self.begin(Opcode::Read);
        let call = on(req, "read", ino);
        let done = self.noted(call, |fs| fs.read(Ino(ino.0), Fh(fh.0), offset, size));
        reply_data(reply, done);
    }

    fn write(
        &self, req: &Request, ino: INodeNo, fh: FileHandle, offset: u64, data: &[u8],
        _write_flags: WriteFlags, flags: OpenFlags, _lock_owner: Option<LockOwner>, reply: ReplyWrite,
    ) {
        let _request = self.begin_noted(Opcode::Write, req);
        let call = on(req, "write", ino);
        let (fh, flags) = (Fh(fh.0), flags.0);
        let write = |fs: &FileSystem| fs.write(fh, offset, data, flags);
        let done = self.once(req, call, write, |fs, progress| {
            fs.write_again(progress, (fh, flags), offset, data)
        });
        reply_write(reply, done);
    }

    fn flush(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, lock_owner: LockOwner, reply: ReplyEmpty) {
        let _request = self.begin(Opcode::Flush);
        if self.opens_itself() {
            return reply.error(Errno::ENOSYS);
        }
        let flushed = self.0.flush(Fh(fh.0), Owner(lock_owner.0));
        reply_empty(reply, flushed.map_err(|error| to_errno(&error)));
    }

    fn release(
        &self, _req: &Request, _ino: INodeNo, fh: FileHandle, _flags: OpenFlags,
        lock_owner: Option<LockOwner>, _flush: bool, reply: ReplyEmpty,
    ) {
        let _request = self.begin(Opcode::Release);
        self.0.release(Fh(fh.0), lock_owner.map(|owner| Owner(owner.0)));
        reply.ok();
    }

    fn fsync(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, datasync: bool, reply: ReplyEmpty) {
        let _request = self.begin(Opcode::Fsync);
        reply_empty(reply, self.run(|fs| fs.fsync(Fh(fh.0), datasync)));
    }

    fn opendir(&self, req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let _request = self.begin_noted(Opcode::Opendir, req);
        let call = on(req, "list", ino);
        let open = |fs: &FileSystem| fs.opendir(Ino(ino.0));
        reply_opendir(reply, self.once(req, call, open, |fs, _| open(fs)));
    }

    fn readdir(&self, req: &Request, _ino: INodeNo, fh: FileHandle, offset: u64, reply: ReplyDirectory) {
        let _request = self.begin(Opcode::Readdir);
        let mut names = Names(reply);
        let told = self.run(|fs| fs.readdir(caller(req), Fh(fh.0), offset, false, &mut names));
        names.end(told);
    }

    fn readdirplus(
        &self, req: &Request, _ino: INodeNo, fh: FileHandle, offset: u64, reply: ReplyDirectoryPlus,
    ) {
        let _request = self.begin(Opcode::Readdirplus);
        let mut entries = Entries(reply);
        let told = self.run(|fs| fs.readdir(caller(req), Fh(fh.0), offset, true, &mut entries));
        entries.end(told);
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
        &self, req: &Request, ino: INodeNo, name: &OsStr, value: &[u8], flags: i32, _position: u32,
        reply: ReplyEmpty,
    ) {
        let _request = self.begin_noted(Opcode::Setxattr, req);
        let call = on(req, "setxattr", ino);
        let flags = set_xattr(flags);
        let (ino, name) = (Ino(ino.0), name.as_bytes());
        let set = |fs: &FileSystem| fs.setxattr(ino, name, value, flags);
        let done = self.once(req, call, set, |fs, progress| {
            fs.done_before(progress, || fs.setxattr_again(ino, name, value))
        });
        reply_empty(reply, done);
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

    fn removexattr(&self, req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _request = self.begin_noted(Opcode::Removexattr, req);
        let call = on(req, "removexattr", ino);
        let (ino, name) = (Ino(ino.0), name.as_bytes());
        let remove = |fs: &FileSystem| fs.removexattr(ino, name);
        let done = self.once(req, call, remove, |fs, progress| {
            fs.done_before(progress, || fs.removexattr_again(ino, name))
        });
        reply_empty(reply, done);
    }

    fn access(&self, _req: &Request, ino: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        let _request = self.begin(Opcode::Access);
        let mask = access_mask(mask);
        reply_empty(reply, self.run(|fs| fs.access(Ino(ino.0), mask)));
    }

    fn create(
        &self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, flags: i32,
        reply: ReplyCreate,
    ) {
        let _request = self.begin_noted(Opcode::Create, req);
        let call = at(req, "create", parent, name);
        let caller = caller(req);
        let (parent, name) = (Ino(parent.0), name.as_bytes());
        let create = |fs: &FileSystem| fs.create(caller, parent, name, mode, flags, &reply);
        let made = self.once(req, call, create, |fs, progress| {
            fs.create_again(caller, progress, (parent, name), mode, flags, &reply)
        });
        reply_create(reply, made);
    }

    fn getlk(
        &self, _req: &Request, _ino: INodeNo, fh: FileHandle, lock_owner: LockOwner, start: u64, end: u64,
        typ: i32, _pid: u32, reply: ReplyLock,
    ) {
        let _request = self.begin(Opcode::Getlk);
        let found = to_lock(typ, start, end)
            .and_then(|lock| self.run(|fs| fs.getlk(Fh(fh.0), Owner(lock_owner.0), lock)));
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
            owner: Owner(lock_owner.0),
            process: pid,
        };
        let done = self.later(reply);
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
        &self, req: &Request, _ino: INodeNo, fh: FileHandle, offset: u64, length: u64, mode: i32,
        reply: ReplyEmpty,
    ) {
        let _request = self.begin_noted(Opcode::Fallocate, req);
        let allocate = |fs: &FileSystem| fs.fallocate(Fh(fh.0), mode, offset, length);
        let done = self.once(req, None, allocate, |fs, progress| {
            fs.done_before(progress, || allocate(fs))
        });
        reply_empty(reply, done);
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
        reply_lseek(reply, sought);
    }

    fn copy_file_range(
        &self, req: &Request, _ino_in: INodeNo, fh_in: FileHandle, offset_in: u64, _ino_out: INodeNo,
        fh_out: FileHandle, offset_out: u64, len: u64, _flags: CopyFileRangeFlags, reply: ReplyWrite,
    ) {
        let _request = self.begin_noted(Opcode::CopyFileRange, req);
        let (from, into) = ((Fh(fh_in.0), offset_in), (Fh(fh_out.0), offset_out));
        let copy = |fs: &FileSystem| fs.copy_file_range(from, into, len);
        let copied = self.once(req, None, copy, |fs, progress| {
            fs.counted_before(progress, || copy(fs))
        });
        reply_write(reply, copied);
    }
}
