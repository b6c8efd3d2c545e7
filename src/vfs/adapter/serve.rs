//! What every method of the adapter does: it begins, runs one operation, and is held to one question.

use std::ffi::OsStr;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use fuser::{Errno, INodeNo, ReplyCreate, ReplyEmpty, ReplyEntry, ReplyOpen, Request};

use super::Adapter;
use super::convert::{caller, reply_empty, reply_entry, to_errno};
use crate::backing::FileKind;
use crate::vfs::attr::Entry;
use crate::vfs::authorize::{forget_refused, take_asked};
use crate::vfs::counters::Opcode;
use crate::vfs::error::Result;
use crate::vfs::filesystem::FileSystem;
use crate::vfs::ids::Ino;
use crate::vfs::journal::requests::{self, Progress};
use crate::vfs::kernel::Passthrough;
use crate::vfs::pool::Served;
use crate::vfs::refusals::Call;

// The number is kept, and not fuser's guard of it, which remembers the device of a worker that may end.
impl Passthrough for ReplyOpen {
    fn open_backing(&self, fd: BorrowedFd<'_>) -> io::Result<u32> {
        Ok(self.open_backing(fd)?.into_raw())
    }
}

impl Passthrough for ReplyCreate {
    fn open_backing(&self, fd: BorrowedFd<'_>) -> io::Result<u32> {
        Ok(self.open_backing(fd)?.into_raw())
    }
}

impl Adapter {
    /// Begins to serve a request: the first that each method does.
    pub(super) fn begin(&self, opcode: Opcode) -> Served<'_> {
        let mut served = self.1.begin();
        if !served.is_greeting() {
            self.0.requests.count(opcode);
            served.time(opcode);
        }
        served
    }

    /// Likewise, of one that is noted for the next daemon, for it must not be done twice or opens something.
    pub(super) fn begin_noted(&self, opcode: Opcode, req: &Request) -> Served<'_> {
        let served = self.begin(opcode);
        requests::begin(self.1.record(), req.unique().0);
        served
    }

    /// Runs an operation that was begun by [`Adapter::begin_noted`]; `again` if a former daemon had come to what it
    /// changes.
    pub(super) fn once<T>(
        &self, req: &Request, call: Option<Call<'_>>, operation: impl FnOnce(&FileSystem) -> Result<T>,
        again: impl FnOnce(&FileSystem, Progress) -> Result<T>,
    ) -> std::result::Result<T, Errno> {
        let before = self.0.begun_before(req.unique().0);
        self.noted(call, |fs| match before {
            None | Some(Progress::Begun) => operation(fs),
            Some(Progress::Done { errno, .. }) if errno != 0 => {
                Err(io::Error::from_raw_os_error(errno).into())
            }
            Some(progress) => again(fs, progress),
        })
    }

    /// unlink and rmdir.
    pub(super) fn remove(
        &self, req: &Request, call: Option<Call<'_>>, (parent, name): (INodeNo, &OsStr), directory: bool,
    ) -> std::result::Result<(), Errno> {
        let (caller, parent, name) = (caller(req), Ino(parent.0), name.as_bytes());
        let remove = |fs: &FileSystem| {
            if directory {
                fs.rmdir(caller, parent, name)
            } else {
                fs.unlink(caller, parent, name)
            }
        };
        self.once(req, call, remove, |fs, progress| {
            fs.remove_again(caller, progress, (parent, name), directory)
        })
    }

    /// mkdir, mknod and symlink.
    pub(super) fn make(
        &self, req: &Request, call: Option<Call<'_>>, (parent, name): (INodeNo, &OsStr), kind: FileKind,
        make: impl Fn(&FileSystem) -> Result<Entry>,
    ) -> std::result::Result<Entry, Errno> {
        let name = (Ino(parent.0), name.as_bytes());
        self.once(req, call, &make, |fs, progress| {
            fs.make_again(caller(req), progress, name, kind, || make(fs))
        })
    }

    /// Answers for a node by its number, which is no name that a program gave, and tells a program nothing.
    pub(super) fn answer_cut(&self, req: &Request, number: INodeNo, reply: ReplyEntry) {
        let answer = self.0.answer_cut(Ino(number.0), req.pid());
        reply_entry(reply, answer.map_err(|error| to_errno(&error)));
    }

    /// Whether the kernel opens and closes files of this mount without a word.
    pub(super) fn opens_itself(&self) -> bool {
        self.0.features().opens_itself
    }

    /// Runs one operation and holds it to one question to [`FileSystem::authorize`].
    pub(super) fn run<T>(
        &self, operation: impl FnOnce(&FileSystem) -> Result<T>,
    ) -> std::result::Result<T, Errno> {
        self.noted(None, operation)
    }

    /// Likewise, of a call that is noted if it is refused: one that does something. Questions are not.
    pub(super) fn noted<T>(
        &self, call: Option<Call<'_>>, operation: impl FnOnce(&FileSystem) -> Result<T>,
    ) -> std::result::Result<T, Errno> {
        take_asked();
        forget_refused();
        let outcome = operation(&self.0);
        requests::end(outcome.as_ref().err().map_or(0, crate::vfs::Error::errno));
        let asked = take_asked();
        // What failed before it came to a question has done nothing.
        debug_assert!(
            asked == 1 || asked == 0 && outcome.is_err(),
            "{asked} questions in one request"
        );
        outcome.map_err(|error| {
            self.0.shared.counters.failed(&error);
            if let Some(call) = &call {
                self.0.note_refused(call, &error);
            }
            to_errno(&error)
        })
    }

    /// What answers a request from another thread, which the pool waits for.
    pub(super) fn later(&self, reply: ReplyEmpty) -> impl FnOnce(Result<()>) + Send + 'static + use<> {
        let owed = self.1.owe();
        move |outcome| {
            reply_empty(reply, outcome.map_err(|error| to_errno(&error)));
            drop(owed);
        }
    }
}
