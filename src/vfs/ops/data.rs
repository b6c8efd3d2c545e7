//! read, write, fsync, lseek, copy_file_range, fallocate: what is done on open files. The rights that the node
//! has now hold, not those it was opened with.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use super::open::revoked;
use crate::backing;
use crate::policy::{Operation, Refusal};
use crate::vfs::error::{Error, Result};
use crate::vfs::filesystem::{FileSystem, Seen};
use crate::vfs::handles::OpenFile;
use crate::vfs::ids::{Fh, Ino};
use crate::vfs::journal::requests;

/// Where a seek looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    /// `SEEK_DATA`
    Data,
    /// `SEEK_HOLE`
    Hole,
}

impl FileSystem {
    /// Reads up to `size` bytes at `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// EIO if the right was taken back; those of `pread(2)`.
    pub fn read(&self, ino: Ino, fh: Fh, offset: u64, size: u32) -> Result<Vec<u8>> {
        if fh == Fh::NONE {
            return self.read_unopened(ino, offset, size);
        }
        let file = self.judge_open(fh, |seen| Operation::Read(seen.verdict))?;
        read_all(self.file_fd(&file)?, offset, size)
    }

    /// Likewise, where the kernel opens files without a word to the daemon.
    fn read_unopened(&self, ino: Ino, offset: u64, size: u32) -> Result<Vec<u8>> {
        self.with_view(|view| {
            let seen = self.seen(view, ino)?;
            self.authorize(&Operation::Read(seen.verdict))?;
            let fd = self.shared.descriptors.readable(&seen.folder, &seen.node)?;
            read_all(fd.as_fd(), offset, size)
        })
        .map_err(revoked)
    }

    /// Writes at `offset`, or at the end of the file if the client's file has O_APPEND now.
    ///
    /// # Errors
    /// EIO if the right was taken back; those of `pwrite(2)`.
    pub fn write(&self, fh: Fh, offset: u64, data: &[u8], flags: i32) -> Result<u32> {
        let file = self.judge_open(fh, |seen| Operation::Write(seen.verdict))?;
        let written = if flags & libc::O_APPEND != 0 {
            if file.node.slot().is_some() {
                requests::reach(None, backing::stat(self.file_fd(&file)?)?.size);
            }
            backing::append(self.file_fd(&file)?, data)?
        } else {
            backing::write_at(self.file_fd(&file)?, data, offset)?
        };
        requests::answer(written as u64);
        u32::try_from(written).map_err(|_| Error::Invalid)
    }

    /// Brings written data to the disk. Whoever has the file open may: it changes nothing.
    ///
    /// # Errors
    /// Those of `fsync(2)`.
    pub fn fsync(&self, fh: Fh, data_only: bool) -> Result<()> {
        if fh == Fh::NONE {
            // Nothing was written through this mount.
            return self.authorize(&Operation::Close);
        }
        let file = self.judge_open(fh, |seen| Operation::Look(seen.verdict))?;
        Ok(backing::sync(self.file_fd(&file)?, data_only)?)
    }

    /// Finds the next data or hole.
    ///
    /// # Errors
    /// Those of `lseek(2)`.
    pub fn lseek(&self, fh: Fh, offset: i64, whence: Whence) -> Result<i64> {
        let file = self.judge_open(fh, |seen| Operation::Read(seen.verdict))?;
        Ok(match whence {
            Whence::Data => backing::seek_data(self.file_fd(&file)?, offset)?,
            Whence::Hole => backing::seek_hole(self.file_fd(&file)?, offset)?,
        })
    }

    /// Allocates or frees space of a file (`mode` as in `fallocate(2)`).
    ///
    /// # Errors
    /// Those of `fallocate(2)`.
    pub fn fallocate(&self, fh: Fh, mode: i32, offset: u64, length: u64) -> Result<()> {
        let file = self.judge_open(fh, |seen| Operation::Write(seen.verdict))?;
        Ok(backing::fallocate(self.file_fd(&file)?, mode, offset, length)?)
    }

    /// Copies a range between two open files, of whichever folders.
    ///
    /// # Errors
    /// Those of `copy_file_range(2)`.
    pub fn copy_file_range(&self, from: (Fh, u64), into: (Fh, u64), length: u64) -> Result<u32> {
        let (source, target) = (self.handles.file(from.0)?, self.handles.file(into.0)?);
        self.with_view(|view| {
            let source = self.seen_node(view, Arc::clone(&source.node))?;
            let target = self.seen_node(view, Arc::clone(&target.node))?;
            self.authorize(&Operation::Copy {
                from: source.verdict,
                into: target.verdict,
            })
        })
        .map_err(revoked)?;
        // The kernel asks again for what is left.
        let length = length.min(1 << 30) as usize;
        let copied = backing::copy_file_range(
            self.file_fd(&source)?,
            from.1,
            self.file_fd(&target)?,
            into.1,
            length,
        )?;
        requests::answer(copied as u64);
        u32::try_from(copied).map_err(|_| Error::Invalid)
    }

    /// The backing's open file of a handle.
    pub(in crate::vfs) fn file_fd<'a>(&self, file: &'a OpenFile) -> Result<BorrowedFd<'a>> {
        file.fd(|| {
            let view = self.view();
            let folder = view.folder(file.node.folder).ok_or(Refusal::NotFound)?;
            self.shared.descriptors.of(folder, &file.node)
        })
    }

    /// Judges a question about an open file by the rights its node has now.
    pub(super) fn judge_open(&self, fh: Fh, question: impl Fn(&Seen) -> Operation) -> Result<Arc<OpenFile>> {
        let file = self.handles.file(fh)?;
        self.with_view(|view| {
            let seen = self.seen_node(view, Arc::clone(&file.node))?;
            self.authorize(&question(&seen))
        })
        .map_err(revoked)?;
        Ok(file)
    }
}

/// Reads up to `size` bytes; fewer only at the end of the file.
fn read_all(fd: BorrowedFd<'_>, offset: u64, size: u32) -> Result<Vec<u8>> {
    let mut data = vec![0; size as usize];
    let mut filled = 0;
    while filled < data.len() {
        match backing::read_at(fd, &mut data[filled..], offset + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    data.truncate(filled);
    Ok(data)
}
