//! getattr, setattr, access.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::open::revoked;
use crate::backing::{self, Credentials, FileKind, KeptName, SetTime, Stat};
use crate::policy::{Operation, Refusal, Right};
use crate::vfs::attr::Attr;
use crate::vfs::error::{Error, Result};
use crate::vfs::filesystem::{Caller, FileSystem, Seen, Target};
use crate::vfs::handles::OpenFile;
use crate::vfs::ids::{Fh, Ino};
use crate::vfs::node::Position;

/// What a `setattr` changes.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetAttr {
    /// The new permission bits.
    pub mode: Option<u32>,
    /// The new owner.
    pub uid: Option<u32>,
    /// The new group.
    pub gid: Option<u32>,
    /// The new size in bytes.
    pub size: Option<u64>,
    /// The new time of the last read.
    pub atime: Option<SetTime>,
    /// The new time of the last write.
    pub mtime: Option<SetTime>,
}

/// What `access(2)` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessMask {
    /// `R_OK`
    pub read: bool,
    /// `W_OK`
    pub write: bool,
    /// `X_OK`
    pub execute: bool,
}

impl FileSystem {
    /// The attributes of a node.
    ///
    /// # Errors
    /// ENOENT without `see`.
    pub fn getattr(&self, ino: Ino, fh: Option<Fh>) -> Result<Attr> {
        self.with_view(|view| {
            let Target::Entry(seen) = self.target(view, ino)? else {
                self.authorize(&Operation::Top)?;
                return Ok(self.top_attr());
            };
            // A directory with a process in it may have been moved to where other rules hold.
            let inside = seen.node.is_directory() && !seen.folder.tree.uniform();
            let seen = if inside { self.verify(view, seen)? } else { seen };
            self.authorize(&Operation::Look(seen.verdict))?;
            let file = fh
                .and_then(|fh| self.handles.file(fh).ok())
                .filter(|file| file.node.ino == ino);
            let stat = match file {
                Some(file) if !file.bypasses() => backing::stat(self.file_fd(&file)?)?,
                _ => self.stat(&seen)?,
            };
            Ok(self.attr(&seen, &stat))
        })
        // The kernel asks with the handle before it reads from its cache.
        .map_err(|error| if fh.is_some() { revoked(error) } else { error })
    }

    /// Changes attributes; all or, if the backing fails in between, those before the failure.
    ///
    /// # Errors
    /// EACCES without `write`; EPERM for another owner or group.
    pub fn setattr(&self, caller: Caller, ino: Ino, set: SetAttr, fh: Option<Fh>) -> Result<Attr> {
        self.with_view(|view| {
            let Target::Entry(seen) = self.target(view, ino)? else {
                self.authorize(&Operation::ChangeTop)?;
                return Ok(self.top_attr());
            };
            let file = fh
                .and_then(|fh| self.handles.file(fh).ok())
                .filter(|file| file.node.ino == ino);
            let (seen, stat) = if file.is_some() {
                (seen, None)
            } else {
                self.verify_and_stat(view, seen)?
            };
            let at = self.whereabouts(&seen, set, stat.is_some())?;
            let stat = match stat {
                Some(stat) => stat,
                None => at.stat(&seen)?,
            };
            let bare = self.is_bare(&seen) && (self.options.default_permissions || caller.uid == 0);
            let foreign = !bare && self.options.own.is_none() && changes_owner(set, &stat);
            let judged = self.authorize(&Operation::SetAttr {
                entry: seen.verdict,
                foreign_owner: foreign,
            });
            let writable = file.as_ref().is_some_and(|file| file.writable);
            judged.map_err(|error| if writable { revoked_write(error) } else { error })?;
            let _touching = self.touching(seen.node.ino.family());
            self.set_judged(&seen, &at, set, &stat, file.as_ref(), bare)?;
            self.touched(&seen.node);
            Ok(self.attr(&seen, &at.stat(&seen)?))
        })
        .map_err(|error| match error {
            // A folder that is taken away is gone with all that was open in it.
            Error::Refused(Refusal::NotFound) if fh.is_some() => Error::Revoked,
            error => error,
        })
    }

    /// Answers `access(2)`: what a later call will answer.
    ///
    /// # Errors
    /// EACCES for what is not allowed, ENOENT for what is not seen.
    pub fn access(&self, ino: Ino, mask: AccessMask) -> Result<()> {
        self.with_view(|view| {
            let Target::Entry(seen) = self.target(view, ino)? else {
                return self.authorize(&if mask.write {
                    Operation::ChangeTop
                } else {
                    Operation::Top
                });
            };
            let directory = seen.node.is_directory();
            self.authorize(&Operation::Access {
                entry: seen.verdict,
                directory,
                read: mask.read,
                write: mask.write,
                execute: mask.execute,
            })?;
            if directory {
                // A process goes there: it is to be found even if it is moved behind the daemon's back.
                self.learn_handle(&seen.folder, &seen.node)?;
            }
            if mask.execute && !directory && self.stat(&seen)?.mode & 0o111 == 0 {
                return Err(Refusal::Access.into());
            }
            Ok(())
        })
    }

    /// By what to change the attributes of a node. What was seen under its name just now needs not be opened to set
    /// its times; whatever bears the name is judged alike.
    fn whereabouts(&self, seen: &Seen, set: SetAttr, in_place: bool) -> Result<Whereabouts> {
        let times_alone = (set.size, set.mode, set.uid, set.gid) == (None, None, None, None);
        if let Some(fd) = seen.node.held() {
            return Ok(Whereabouts::Open(fd));
        }
        match seen.node.position() {
            Position::Under { parent, name } if in_place && times_alone => Ok(Whereabouts::Named(
                self.shared.descriptors.of(&seen.folder, &parent)?,
                name,
            )),
            _ => Ok(Whereabouts::Open(self.fd(seen)?)),
        }
    }

    fn set_judged(
        &self, seen: &Seen, at: &Whereabouts, set: SetAttr, stat: &Stat, file: Option<&Arc<OpenFile>>,
        bare: bool,
    ) -> Result<()> {
        // To keep a setgid bit, one has to be in the file's group.
        let credentials = if bare {
            Credentials::Maker {
                uid: 0,
                gid: stat.gid,
            }
        } else {
            seen.folder.backing.credentials()
        };
        let file = match file.filter(|file| file.writable && set.size.is_some()) {
            Some(file) => Some(self.file_fd(file)?),
            None => None,
        };
        let _as = credentials.assume()?;
        let fd = match at {
            Whereabouts::Open(fd) => fd.as_fd(),
            Whereabouts::Named(directory, name) => {
                return Ok(backing::utimens_at(
                    directory.as_fd(),
                    &name.into(),
                    set.atime,
                    set.mtime,
                )?);
            }
        };
        if let Some(size) = set.size {
            match file {
                Some(file) => backing::truncate(file, size)?,
                // O_TRUNC comes with O_RDONLY too.
                None => backing::truncate(backing::reopen(fd, libc::O_WRONLY)?.as_fd(), size)?,
            }
        }
        if bare && (set.uid.is_some() || set.gid.is_some()) {
            backing::chown(fd, set.uid, set.gid)?;
        }
        if let Some(mode) = set.mode {
            let _held = self
                .shared
                .modes
                .hold_inode(seen.node.folder, seen.node.object.number);
            let now = backing::stat(fd)?;
            backing::chmod(fd, self.changed_mode(seen, mode, &now))?;
        }
        if set.atime.is_some() || set.mtime.is_some() {
            backing::utimens(fd, set.atime, set.mtime)?;
        }
        Ok(())
    }

    /// The mode that a chmod sets: who may not delete does not take away the owner's own access either.
    fn changed_mode(&self, seen: &Seen, mode: u32, stat: &Stat) -> u32 {
        let mode = self.shown_bits(seen, mode);
        if seen.verdict.rights.contains(Right::Delete) {
            return mode;
        }
        let kept = if stat.kind == FileKind::Directory {
            0o700
        } else {
            0o600
        };
        mode | stat.mode & kept
    }
}

/// By what a node is touched.
enum Whereabouts {
    /// A descriptor that points at it.
    Open(Arc<OwnedFd>),
    /// A directory and the name in it.
    Named(Arc<OwnedFd>, KeptName),
}

impl Whereabouts {
    fn stat(&self, seen: &Seen) -> Result<Stat> {
        match self {
            Self::Open(fd) => Ok(backing::stat(fd)?),
            Self::Named(directory, name) => {
                let stat = backing::stat_at(directory, &name.into())?;
                seen.node.object.has(&stat).then_some(stat).ok_or(Error::Stale)
            }
        }
    }
}

fn changes_owner(set: SetAttr, stat: &Stat) -> bool {
    set.uid.is_some_and(|uid| uid != stat.uid) || set.gid.is_some_and(|gid| gid != stat.gid)
}

/// A truncate on a handle whose right was taken back answers like a write.
fn revoked_write(error: Error) -> Error {
    match error {
        Error::Refused(Refusal::NotPermitted) => error,
        error => revoked(error),
    }
}
