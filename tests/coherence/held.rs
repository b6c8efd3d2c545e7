//! What a process holds open for long, next to the same thing opened on the disk.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::libc;
use nix::sys::stat::fstat;
use rustix::fs::Dir;

use super::choose::NAMES;
use super::look::{self, Answer, Picture, Question, Shown};

/// How many of each kind are held at most.
pub const MOST: usize = 3;

pub struct HeldFile {
    pub here: File,
    disk: File,
}

/// A directory: the working directory, if there is no descriptor of it.
pub struct HeldDirectory {
    here: Option<(OwnedFd, Dir)>,
    disk: OwnedFd,
}

#[derive(Default)]
pub struct Held {
    pub files: Vec<HeldFile>,
    pub directories: Vec<HeldDirectory>,
}

impl Held {
    /// Lets go of the oldest, if need be.
    pub fn file(&mut self, here: File, disk: File) {
        if self.files.len() == MOST {
            self.files.remove(0);
        }
        self.files.push(HeldFile { here, disk });
    }

    /// Likewise. `None` stands for the working directory, of which there is one.
    pub fn directory(&mut self, here: Option<OwnedFd>, disk: OwnedFd) {
        if here.is_none() {
            self.directories.retain(|held| held.here.is_some());
        }
        if self.directories.len() == MOST {
            self.directories.remove(0);
        }
        let here = here.map(|fd| {
            let stream = Dir::new(fd.try_clone().unwrap()).unwrap();
            (fd, stream)
        });
        self.directories.push(HeldDirectory { here, disk });
    }

    /// Lets go of directories that are gone.
    pub fn forget_what_is_gone(&mut self) {
        self.directories.retain(|held| !held.is_gone());
    }

    /// What the holder is shown.
    pub fn shown(&mut self) -> Picture {
        let mut picture = Picture::new();
        for (number, file) in self.files.iter().enumerate() {
            about_file(&mut picture, number, &file.here);
        }
        for (number, held) in self.directories.iter_mut().enumerate() {
            let gone = held.is_gone();
            let list = match &mut held.here {
                Some((_, stream)) => look::list(stream).into(),
                None => list_of(AT_FDCWD, gone),
            };
            about_directory(&mut picture, number, held.base(), gone, list);
        }
        picture
    }

    /// What there is.
    pub fn on_disk(&self) -> Picture {
        let mut picture = Picture::new();
        for (number, file) in self.files.iter().enumerate() {
            about_file(&mut picture, number, &file.disk);
        }
        for (number, held) in self.directories.iter().enumerate() {
            let gone = held.is_gone();
            let list = list_of(held.disk.as_fd(), gone);
            about_directory(&mut picture, number, held.disk.as_fd(), gone, list);
        }
        picture
    }
}

impl HeldDirectory {
    /// What paths below it start with.
    pub fn base(&self) -> BorrowedFd<'_> {
        self.here.as_ref().map_or(AT_FDCWD, |(fd, _)| fd.as_fd())
    }

    /// Where it is below another on the disk now.
    pub fn path_below(&self, above: &Path) -> Option<String> {
        if self.is_gone() {
            return None;
        }
        let fd = std::os::fd::AsRawFd::as_raw_fd(&self.disk);
        let at = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
        let path: PathBuf = at.strip_prefix(above).ok()?.into();
        Some(path.to_str().unwrap().to_owned())
    }

    fn is_gone(&self) -> bool {
        fstat(&self.disk).unwrap().st_nlink == 0
    }
}

fn about_file(picture: &mut Picture, number: usize, file: &File) {
    let name = format!("held file {number}");
    let stat = fstat(file).map(|stat| Answer::Stat(Shown::of(&stat)));
    picture.insert((name.clone(), Question::Stat), stat.into());
    picture.insert((name, Question::Content), look::read(file).into());
}

fn about_directory(picture: &mut Picture, number: usize, base: BorrowedFd<'_>, gone: bool, list: Answer) {
    let name = format!("held directory {number}");
    for below in NAMES {
        let path = format!("{name}/{below}");
        picture.insert((path, Question::Stat), look::stat(base, Path::new(below)));
    }
    // What is left to tell of a removed one is up to the file system.
    if !gone {
        let own = look::stat(base, Path::new("."));
        picture.insert((name.clone(), Question::Stat), own);
    }
    picture.insert((name, Question::List), list);
}

fn list_of(base: BorrowedFd<'_>, gone: bool) -> Answer {
    let (path, directory) = (PathBuf::from("."), base);
    let base = look::Base {
        directory,
        path: path.clone(),
    };
    match look::ask(&base, &path, Question::List) {
        // One that is removed is not opened anew in a mount, or as the C library has it, lists nothing.
        Answer::Failed(Errno::ENOENT | Errno::ESTALE) if gone => Answer::Names(BTreeSet::new()),
        answer => answer,
    }
}

/// Opens a file to be held.
pub fn open_file(path: &Path, write: bool, append: bool) -> std::io::Result<File> {
    File::options()
        .read(true)
        .write(write)
        .append(write && append)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}
