//! What a tree shows to whoever looks at it: by paths, in some order, through whatever is at hand.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat};
use nix::libc;
use nix::sys::stat::{FileStat, Mode, fstatat};

/// What is compared of an inode. Times of reading are nobody's promise.
#[derive(Clone)]
pub struct Shown {
    /// Its number, which is not compared.
    pub inode: u64,
    pub kind: u32,
    pub mode: u32,
    pub links: u64,
    pub size: i64,
    /// Of the last change of content, in nanoseconds.
    pub mtime: i128,
}

impl Shown {
    pub fn of(stat: &FileStat) -> Self {
        Self {
            inode: stat.st_ino,
            kind: stat.st_mode & libc::S_IFMT,
            // What is above is never shown.
            mode: stat.st_mode & 0o777,
            links: stat.st_nlink,
            size: stat.st_size,
            mtime: i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec),
        }
    }

    /// Whether it is the same, but for what is not certain.
    fn is(&self, other: &Self, but: &But<'_>) -> bool {
        let facts = |shown: &Self| (shown.kind, shown.links, shown.size);
        facts(self) == facts(other)
            && (but.read_only || self.mode == other.mode)
            && (but.times_of.contains(&self.inode) || self.mtime == other.mtime)
    }

    pub fn is_directory(&self) -> bool {
        self.kind == libc::S_IFDIR
    }

    pub fn is_file(&self) -> bool {
        self.kind == libc::S_IFREG
    }

    pub fn is_symlink(&self) -> bool {
        self.kind == libc::S_IFLNK
    }
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            kind,
            mode,
            links,
            size,
            mtime,
            inode: _,
        } = self;
        write!(
            out,
            "{:o}, {links} links, {size} bytes, changed at {mtime}",
            kind | mode
        )
    }
}

/// What was answered about one thing.
#[derive(Clone)]
pub enum Answer {
    Stat(Shown),
    /// Content of a file or of a symbolic link.
    Content(Vec<u8>),
    Names(BTreeSet<String>),
    Failed(Errno),
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stat(shown) => shown.fmt(out),
            Self::Content(bytes) => {
                let start = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
                write!(out, "{} bytes {start:?}", bytes.len())
            }
            Self::Names(names) => names.fmt(out),
            Self::Failed(errno) => errno.fmt(out),
        }
    }
}

impl<E: Into<Errno>> From<Result<Answer, E>> for Answer {
    fn from(outcome: Result<Answer, E>) -> Self {
        outcome.unwrap_or_else(|errno| Self::Failed(errno.into()))
    }
}

/// What is asked about a path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Question {
    Stat,
    /// Open and read, or readlink.
    Content,
    /// Names with their types, and the same names by their number alone.
    List,
    Note,
}

/// In what order one asks: an answer to one question may refresh what the next would have told.
pub const ORDERS: [[Question; 4]; 3] = [
    [Question::Stat, Question::Content, Question::List, Question::Note],
    [Question::List, Question::Content, Question::Stat, Question::Note],
    [Question::Content, Question::Note, Question::Stat, Question::List],
];

/// What there is to be asked about something; about what is not there, one of these.
pub fn questions(there: Option<&Shown>) -> &'static [Question] {
    match there {
        Some(shown) if shown.is_directory() => &[Question::Stat, Question::List],
        Some(shown) if shown.is_file() => &[Question::Stat, Question::Content, Question::Note],
        _ => &[Question::Stat, Question::Content],
    }
}

/// All answers.
pub type Picture = BTreeMap<(String, Question), Answer>;

/// Where a path starts: nowhere, for an absolute one; in an open directory; in the working directory.
pub struct Base<'a> {
    pub directory: BorrowedFd<'a>,
    pub path: PathBuf,
}

impl<'a> Base<'a> {
    pub fn absolute(path: PathBuf) -> Self {
        Self {
            directory: AT_FDCWD,
            path,
        }
    }
}

/// Asks one question.
pub fn ask(base: &Base<'_>, absolute: &Path, question: Question) -> Answer {
    match question {
        Question::Stat => stat(base.directory, &base.path),
        Question::Content => content(base).into(),
        Question::List => open(base, OFlag::O_DIRECTORY)
            .and_then(|directory| list(&mut rustix::fs::Dir::new(directory).map_err(raw)?))
            .into(),
        Question::Note => match xattr::get(absolute, "user.note") {
            Ok(value) => Answer::Content(value.unwrap_or_default()),
            Err(error) => Answer::Failed(Errno::from_raw(error.raw_os_error().unwrap_or(0))),
        },
    }
}

pub fn stat(directory: BorrowedFd<'_>, path: &Path) -> Answer {
    fstatat(directory, path, AtFlags::AT_SYMLINK_NOFOLLOW)
        .map(|stat| Answer::Stat(Shown::of(&stat)))
        .into()
}

fn open(base: &Base<'_>, flags: OFlag) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(base.directory, &base.path, flags, Mode::empty())
}

fn content(base: &Base<'_>) -> Result<Answer, Errno> {
    match open(base, OFlag::O_RDONLY) {
        Ok(file) => read(&file),
        Err(Errno::ELOOP) => {
            let target = readlinkat(base.directory, &base.path)?;
            Ok(Answer::Content(target.into_encoded_bytes()))
        }
        Err(errno) => Err(errno),
    }
}

/// All that is in a file.
pub fn read(file: impl AsFd) -> Result<Answer, Errno> {
    let (mut content, mut block) = (Vec::new(), [0; 1 << 14]);
    loop {
        let offset = i64::try_from(content.len()).unwrap();
        match nix::sys::uio::pread(&file, &mut block, offset)? {
            0 => return Ok(Answer::Content(content)),
            some => content.extend_from_slice(&block[..some]),
        }
    }
}

/// The names in an open directory, from its beginning on.
pub fn list(directory: &mut rustix::fs::Dir) -> Result<Answer, Errno> {
    directory.rewind();
    let mut names = BTreeSet::new();
    while let Some(entry) = directory.read() {
        let entry = entry.map_err(raw)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "." || name == ".." {
            continue;
        }
        let said = format!("{name} {:?}", entry.file_type());
        assert!(names.insert(said), "{name} is listed twice");
    }
    Ok(Answer::Names(names))
}

fn raw(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

/// What is not compared.
pub struct But<'a> {
    /// The times of inodes that were changed through a mapping: the kernel tells of that when it likes.
    pub times_of: &'a BTreeSet<u64>,
    /// What modes a read-only mount shows is its own affair. Nor does it hold what is open: what is removed behind
    /// the daemon's back is gone there, as on NFS.
    pub read_only: bool,
}

/// What differs between the disk and what is shown of it.
pub fn differences(disk: &Picture, shown: &Picture, but: &But<'_>) -> Vec<String> {
    let same = |expected: &Answer, told: &Answer| match (expected, told) {
        (Answer::Stat(expected), Answer::Stat(told)) => expected.is(told, but),
        (Answer::Content(expected), Answer::Content(told)) => expected == told,
        (Answer::Names(expected), Answer::Names(told)) => expected == told,
        (Answer::Failed(expected), Answer::Failed(told)) => expected == told,
        _ => false,
    };
    // Of a held directory that is gone nothing is asked but what is in it.
    let nameless = |path: &str| {
        let held = path.split('/').next().unwrap_or(path);
        match disk.get(&(held.to_owned(), Question::Stat)) {
            Some(Answer::Stat(shown)) => shown.links == 0,
            _ => held.starts_with("held directory"),
        }
    };
    let mut differences = Vec::new();
    for (asked, expected) in disk {
        let told = &shown[asked];
        let gone = but.read_only && matches!(told, Answer::Failed(Errno::ESTALE)) && nameless(&asked.0);
        if !gone && !same(expected, told) {
            let (path, question) = asked;
            differences.push(format!(
                "{question:?} of {path:?}: on the disk {expected:?}, shown {told:?}"
            ));
        }
    }
    differences
}
