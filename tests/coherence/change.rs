//! One change of the tree, and how it is made.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{
    AtFlags, FallocateFlags, OFlag, RenameFlags, copy_file_range, fallocate, openat, renameat2,
};
use nix::libc;
use nix::sys::stat::{FchmodatFlags, Mode, UtimensatFlags, fchmodat, mkdirat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};

use super::held::Held;
use super::look::Base;

/// A path below the tree's top, or below a directory that is held.
#[derive(Clone)]
pub struct Spot {
    pub held: Option<usize>,
    /// From there.
    pub path: String,
    /// From the top.
    pub full: String,
}

impl std::fmt::Debug for Spot {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.held {
            Some(held) => write!(out, "{} (held directory {held})", self.full),
            None => write!(out, "{}", self.full),
        }
    }
}

/// Bytes to write: one letter, so many times.
#[derive(Clone, Copy)]
pub struct Data(pub u8, pub usize);

impl Data {
    fn bytes(self) -> Vec<u8> {
        vec![self.0; self.1]
    }
}

impl std::fmt::Debug for Data {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}*{}", char::from(self.0), self.1)
    }
}

#[derive(Clone, Debug)]
pub enum Change {
    Create(Spot, Data),
    Write(Spot, u64, Data),
    Append(Spot, Data),
    OpenTruncate(Spot, Data),
    Truncate(Spot, i64),
    Rename(Spot, Spot),
    Exchange(Spot, Spot),
    /// As editors save: a new file is renamed over the old one.
    Save(Spot, Data),
    Unlink(Spot),
    Mkdir(Spot),
    Rmdir(Spot),
    /// Removed, and made anew under its name.
    Remake(Spot),
    /// Removed with all that is in it.
    Clear(Spot),
    Symlink(Spot, &'static str),
    Link(Spot, Spot),
    Chmod(Spot, u32),
    Utimes(Spot, i64),
    SetNote(Spot, Data),
    RemoveNote(Spot),
    /// A store into a mapping, brought to the file.
    Map(Spot, usize),
    HeldWrite(usize, u64, Data),
    HeldTruncate(usize, u64),
    HeldAllocate(usize, i64),
    HeldCopy(usize, usize),
    HoldFile(Spot, bool, bool),
    HoldDirectory(Spot),
    Enter(Spot),
}

impl Change {
    /// The path whose content or times it changes in a way that the time of its last change follows.
    pub fn times(&self) -> Option<&Spot> {
        match self {
            Self::Write(at, ..) | Self::Append(at, _) | Self::OpenTruncate(at, _) | Self::Utimes(at, _) => {
                Some(at)
            }
            _ => None,
        }
    }
}

type Outcome = Result<(), Errno>;

/// Makes changes in a tree as whoever this thread is.
pub struct Maker<'a> {
    pub top: &'a Path,
    pub held: &'a Held,
}

impl Maker<'_> {
    pub fn make(&self, change: &Change) -> Outcome {
        match change {
            Change::Create(at, data) => {
                let mut file = self.open(at, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL)?;
                write(&mut file, *data)
            }
            Change::Write(at, offset, data) => {
                let file = self.open(at, OFlag::O_WRONLY)?;
                number(file.write_all_at(&data.bytes(), *offset))
            }
            Change::Append(at, data) => {
                let mut file = self.open(at, OFlag::O_WRONLY | OFlag::O_APPEND)?;
                write(&mut file, *data)
            }
            Change::OpenTruncate(at, data) => {
                let mut file = self.open(at, OFlag::O_RDWR | OFlag::O_TRUNC)?;
                write(&mut file, *data)
            }
            Change::Truncate(at, size) => nix::unistd::truncate(&self.top.join(&at.full), *size),
            Change::Rename(from, to) => self.rename(from, to, RenameFlags::empty()),
            Change::Exchange(one, other) => self.rename(one, other, RenameFlags::RENAME_EXCHANGE),
            Change::Save(at, data) => {
                let new = Spot {
                    path: format!("{}.new", at.path),
                    full: format!("{}.new", at.full),
                    ..at.clone()
                };
                self.make(&Change::Create(new.clone(), *data))?;
                self.rename(&new, at, RenameFlags::empty())
            }
            Change::Unlink(at) => self.unlink(at, UnlinkatFlags::NoRemoveDir),
            Change::Rmdir(at) => self.unlink(at, UnlinkatFlags::RemoveDir),
            Change::Mkdir(at) => {
                let at = self.at(at);
                mkdirat(at.directory, &at.path, Mode::from_bits_truncate(0o755))
            }
            Change::Remake(at) => {
                self.make(&Change::Clear(at.clone()))?;
                self.make(&Change::Mkdir(at.clone()))
            }
            Change::Clear(at) => number(std::fs::remove_dir_all(self.top.join(&at.full))),
            Change::Symlink(at, target) => {
                let at = self.at(at);
                symlinkat(*target, at.directory, &at.path)
            }
            Change::Link(from, to) => {
                let (from, to) = (self.at(from), self.at(to));
                let flags = AtFlags::empty();
                linkat(from.directory, &from.path, to.directory, &to.path, flags)
            }
            Change::Chmod(at, mode) => {
                let (at, mode) = (self.at(at), Mode::from_bits_truncate(*mode));
                fchmodat(at.directory, &at.path, mode, FchmodatFlags::FollowSymlink)
            }
            Change::Utimes(at, seconds) => {
                let time = TimeSpec::new(*seconds, 123_456_789);
                let flags = UtimensatFlags::NoFollowSymlink;
                let at = self.at(at);
                utimensat(at.directory, &at.path, &time, &time, flags)
            }
            Change::SetNote(at, data) => {
                number(xattr::set(self.top.join(&at.full), "user.note", &data.bytes()))
            }
            Change::RemoveNote(at) => number(xattr::remove(self.top.join(&at.full), "user.note")),
            Change::HeldWrite(file, offset, data) => {
                number(self.held.files[*file].here.write_all_at(&data.bytes(), *offset))
            }
            Change::HeldTruncate(file, size) => number(self.held.files[*file].here.set_len(*size)),
            Change::HeldAllocate(file, length) => {
                let file = &self.held.files[*file].here;
                fallocate(file, FallocateFlags::empty(), 0, *length)
            }
            Change::HeldCopy(from, to) => {
                let (from, to) = (&self.held.files[*from].here, &self.held.files[*to].here);
                let (mut start, mut end) = (0, 0);
                copy_file_range(from, Some(&mut start), to, Some(&mut end), 300).map(drop)
            }
            Change::Map(..) | Change::HoldFile(..) | Change::HoldDirectory(_) | Change::Enter(_) => {
                unreachable!("the actor's own affair")
            }
        }
    }

    fn at(&self, spot: &Spot) -> Base<'_> {
        match spot.held {
            Some(held) => Base {
                directory: self.held.directories[held].base(),
                path: spot.path.clone().into(),
            },
            None => Base::absolute(self.top.join(&spot.full)),
        }
    }

    fn unlink(&self, at: &Spot, flags: UnlinkatFlags) -> Outcome {
        let at = self.at(at);
        unlinkat(at.directory, &at.path, flags)
    }

    fn rename(&self, from: &Spot, to: &Spot, flags: RenameFlags) -> Outcome {
        let (from, to) = (self.at(from), self.at(to));
        renameat2(from.directory, &from.path, to.directory, &to.path, flags)
    }

    fn open(&self, at: &Spot, flags: OFlag) -> Result<File, Errno> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let at = self.at(at);
        let file = openat(at.directory, &at.path, flags, Mode::from_bits_truncate(0o644))?;
        Ok(file.into())
    }
}

fn write(file: &mut File, data: Data) -> Outcome {
    number(file.write_all(&data.bytes()))
}

fn number<T>(outcome: std::io::Result<T>) -> Outcome {
    outcome
        .map(drop)
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
}
