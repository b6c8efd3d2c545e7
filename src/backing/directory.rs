//! Reading directories.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::open::reopen;
use super::stat::FileKind;
use super::sys;

/// A directory that is being read, `.` and `..` left out.
pub struct DirStream {
    fd: OwnedFd,
    buffer: Vec<u8>,
    at: usize,
}

/// An entry of a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirEntry<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The inode number.
    pub ino: u64,
    /// What it is, as far as the directory knows; a regular file where it does not.
    pub kind: FileKind,
    /// Where the next one is, for [`DirStream::open_from`].
    pub next: i64,
}

const BUFFER: usize = 32 * 1024;

impl DirStream {
    /// Opens a directory (O_PATH suffices) at its beginning.
    ///
    /// # Errors
    /// ENOTDIR; those of `open(2)`.
    pub fn open(directory: impl AsFd) -> io::Result<Self> {
        let fd = reopen(directory, libc::O_RDONLY | libc::O_DIRECTORY)?;
        Ok(Self {
            fd,
            buffer: Vec::new(),
            at: 0,
        })
    }

    /// Likewise, where an earlier stream of it told that the next entry is. What was made or removed meanwhile may be
    /// told or not; all else is told once.
    ///
    /// # Errors
    /// Those of `open(2)` and `lseek(2)`.
    pub fn open_from(directory: impl AsFd, next: i64) -> io::Result<Self> {
        let stream = Self::open(directory)?;
        nix::unistd::lseek(&stream.fd, next, nix::unistd::Whence::SeekSet)?;
        Ok(stream)
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// Those of `getdents64(2)`.
    #[expect(clippy::should_implement_trait, reason = "an entry borrows the buffer")]
    pub fn next(&mut self) -> io::Result<Option<DirEntry<'_>>> {
        loop {
            if self.at >= self.buffer.len() {
                self.buffer.resize(BUFFER, 0);
                let filled = sys::getdents(self.fd.as_fd(), &mut self.buffer)?;
                self.buffer.truncate(filled);
                self.at = 0;
                if filled == 0 {
                    return Ok(None);
                }
            }
            let start = self.at;
            let length = record_length(&self.buffer[start..]).ok_or(io::ErrorKind::InvalidData)?;
            self.at += length;
            if is_entry(&self.buffer[start..start + length]) {
                return Ok(parse(&self.buffer[start..start + length]));
            }
        }
    }
}

/// `struct linux_dirent64`: ino 8, off 8, reclen 2, type 1, name with NUL.
const NAME: usize = 19;

fn record_length(record: &[u8]) -> Option<usize> {
    let length = usize::from(u16::from_ne_bytes(record.get(16..18)?.try_into().ok()?));
    (length > NAME && length <= record.len()).then_some(length)
}

fn is_entry(record: &[u8]) -> bool {
    parse(record).is_some_and(|entry| !matches!(entry.name, b"." | b".."))
}

fn parse(record: &[u8]) -> Option<DirEntry<'_>> {
    let ino = u64::from_ne_bytes(record.get(..8)?.try_into().ok()?);
    let name = record.get(NAME..)?.split(|&byte| byte == 0).next()?;
    // The types of directory entries are those of modes, shifted.
    let kind = FileKind::from_mode(u32::from(*record.get(18)?) << 12).unwrap_or(FileKind::Regular);
    let next = i64::from_ne_bytes(record.get(8..16)?.try_into().ok()?);
    Some(DirEntry {
        name,
        ino,
        kind,
        next,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_large_directory_is_told_once() {
        let scratch = tempfile::tempdir().unwrap();
        for file in 0..3000 {
            std::fs::write(
                scratch.path().join(format!("{file}-{}", "x".repeat(file % 200))),
                "",
            )
            .unwrap();
        }
        let mut stream = DirStream::open(std::fs::File::open(scratch.path()).unwrap()).unwrap();
        let mut names = std::collections::BTreeSet::new();
        while let Some(entry) = stream.next().unwrap() {
            assert_eq!(entry.kind, FileKind::Regular);
            assert!(names.insert(entry.name.to_vec()), "told twice");
        }
        assert_eq!(names.len(), 3000);
    }
}
