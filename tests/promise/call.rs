//! One call of a process, and how it is told to make it.

use std::path::Path;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flag {
    None,
    NoReplace,
    Exchange,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Call {
    /// open with O_CREAT and O_EXCL or O_TRUNC, write, close
    Create {
        at: String,
        exclusively: bool,
        content: String,
    },
    /// open with O_TRUNC, write, close
    Write {
        at: String,
        content: String,
    },
    Truncate(String, usize),
    Mkdir(String),
    Fifo(String),
    MakeFile(String),
    Symlink(String, &'static str),
    Link(String, String),
    Unlink(String),
    Rmdir(String),
    Rename(String, String, Flag),
    /// chmod 000
    Lock(String),
    Read(String),
    /// open, to be written later
    Hold(String),
    HeldWrite {
        descriptor: u32,
        /// The number of the inode.
        number: u64,
        content: String,
    },
}

/// By which thread of which process a call is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Through {
    Itself,
    Thread,
    Child,
}

/// What the process has to know to make calls.
pub const PROGRAM: &str = include_str!("calls.py");

impl Call {
    /// The paths that it names.
    pub fn paths(&self) -> Vec<&str> {
        match self {
            Self::Create { at, .. }
            | Self::Write { at, .. }
            | Self::Truncate(at, _)
            | Self::Mkdir(at)
            | Self::Fifo(at)
            | Self::MakeFile(at)
            | Self::Symlink(at, _)
            | Self::Unlink(at)
            | Self::Rmdir(at)
            | Self::Lock(at)
            | Self::Read(at)
            | Self::Hold(at) => vec![at],
            Self::Link(from, to) | Self::Rename(from, to, _) => vec![from, to],
            Self::HeldWrite { .. } => vec![],
        }
    }

    /// Whether it makes something.
    pub fn makes(&self) -> bool {
        matches!(
            self,
            Self::Create { .. }
                | Self::Mkdir(_)
                | Self::Fifo(_)
                | Self::MakeFile(_)
                | Self::Symlink(..)
                | Self::Link(..)
        )
    }

    /// The same, if the kernel had found what it is made on or in before another call moved that.
    pub fn followed(&self, other: &Self) -> Option<Self> {
        let Self::Rename(from, to, flag) = other else {
            return None;
        };
        let moved = |path: &str, whole: bool| {
            let leads = |at: &str| {
                let rest = path.strip_prefix(at)?;
                (rest.starts_with('/') || rest.is_empty() && whole).then(|| rest.to_owned())
            };
            let back = || Some(format!("{from}{}", leads(to)?));
            let there = leads(from).map(|rest| format!("{to}{rest}"));
            let there = there.or_else(|| (*flag == Flag::Exchange).then(back).flatten());
            there.unwrap_or_else(|| path.to_owned())
        };
        let mut call = self.clone();
        match &mut call {
            Self::Create { at, exclusively, .. } => *at = moved(at, !*exclusively),
            Self::Write { at, .. } | Self::Truncate(at, _) | Self::Lock(at) => *at = moved(at, true),
            Self::Link(from, to) => (*from, *to) = (moved(from, true), moved(to, false)),
            Self::Rename(from, to, _) => (*from, *to) = (moved(from, false), moved(to, false)),
            Self::Mkdir(at)
            | Self::Fifo(at)
            | Self::MakeFile(at)
            | Self::Symlink(at, _)
            | Self::Unlink(at)
            | Self::Rmdir(at) => *at = moved(at, false),
            Self::Read(_) | Self::Hold(_) | Self::HeldWrite { .. } => {}
        }
        (call != *self).then_some(call)
    }

    /// Whether it may come to nothing that is to be seen if another takes away what it is made on.
    pub fn may_be_lost(&self, other: &Self) -> bool {
        match (self, other) {
            // The kernel finds the new name of what the other renamed before it asks, and does nothing.
            (Self::Rename(from, to, _), Self::Rename(other_from, other_to, _)) => {
                (from, to) == (other_from, other_to)
            }
            (Self::Create { exclusively, .. }, _) => !*exclusively,
            (Self::Write { .. } | Self::Truncate(..) | Self::Lock(_), _) => true,
            _ => false,
        }
    }

    /// The same, but nothing is written: what is left where it is interrupted.
    pub fn interrupted(&self) -> Option<Self> {
        let mut call = self.clone();
        match &mut call {
            Self::Create { content, .. } | Self::Write { content, .. } => content.clear(),
            _ => return None,
        }
        Some(call)
    }

    /// A line for a process that sees the tree at `top`.
    pub fn line(&self, top: &Path, through: Through) -> String {
        let path = |at: &str| format!("{:?}", top.join(at));
        let line = match self {
            Self::Create {
                at,
                exclusively,
                content,
            } => {
                let flag = if *exclusively { "os.O_EXCL" } else { "os.O_TRUNC" };
                format!("store({}, os.O_CREAT | {flag}, {content:?})", path(at))
            }
            Self::Write { at, content } => format!("store({}, os.O_TRUNC, {content:?})", path(at)),
            Self::Truncate(at, length) => format!("os.truncate({}, {length})", path(at)),
            Self::Mkdir(at) => format!("os.mkdir({})", path(at)),
            Self::Fifo(at) => format!("os.mkfifo({}, 0o644)", path(at)),
            Self::MakeFile(at) => format!("os.mknod({}, 0o100644)", path(at)),
            Self::Symlink(at, target) => format!("os.symlink({target:?}, {})", path(at)),
            Self::Link(from, to) => format!("os.link({}, {}, follow_symlinks=False)", path(from), path(to)),
            Self::Unlink(at) => format!("os.unlink({})", path(at)),
            Self::Rmdir(at) => format!("os.rmdir({})", path(at)),
            Self::Rename(from, to, flag) => format!("rename({}, {}, {})", path(from), path(to), *flag as u8),
            Self::Lock(at) => format!("os.chmod({}, 0)", path(at)),
            Self::Read(at) => format!("read({})", path(at)),
            Self::Hold(at) => format!("os.open({}, os.O_RDWR | FLAGS)", path(at)),
            Self::HeldWrite {
                descriptor, content, ..
            } => format!("held_write({descriptor}, {content:?})"),
        };
        match through {
            Through::Itself => line,
            Through::Thread => format!("in_thread({line:?})"),
            Through::Child => format!("in_child({line:?})"),
        }
    }
}
