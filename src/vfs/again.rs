//! Requests that a former daemon had begun and not answered, and that the kernel asks again.
//!
//! One that was through is answered as it would have been, and not done twice. One that had come to the call that
//! changes something is done if that call was not carried out, which the files tell: what was to be removed or renamed is
//! still there, what was to be made is not, is older, or another's. The kernel asks these before all others, so nobody has
//! changed the same through the mount in between; of several mounts that were about to make one name, one has.

use std::time::{Duration, SystemTime};

use super::attr::Entry;
use super::edits::{At, Making};
use super::error::{Error, Result};
use super::filesystem::{Caller, FileSystem, Seen, Target};
use super::ids::{Fh, Ino};
use super::journal::requests::{self, Progress};
use super::kernel::Passthrough;
use super::locate::Probe;
use super::ops::{Opening, RenameFlags, SetXattr, parse_name};
use super::view::View;
use crate::backing::{self, Birth, FileKind, Name};
use crate::policy::Operation;

/// The clock by which a file system tells births lags behind by a tick at most.
const TICK: Duration = Duration::from_millis(20);

/// An inode, by number and birth.
type Known = (u64, u64);

/// What stands for an inode in the records.
pub(super) fn known(probe: &Probe) -> Option<(u64, Option<Birth>)> {
    let object = &probe.there.as_ref()?.object;
    Some((object.number, object.birth))
}

impl FileSystem {
    /// What a former daemon had come to with the request of this number, if the kernel asks it again. What it had opened
    /// is closed: nobody was told of it.
    pub(super) fn begun_before(&self, unique: u64) -> Option<Progress> {
        let found = self.former.get(&requests::resent(unique)?)?;
        requests::redoes(found);
        if found.handle != 0 {
            self.release(Fh(found.handle), None);
            self.releasedir(Fh(found.handle));
        }
        Some(found.progress)
    }

    /// unlink and rmdir.
    pub(super) fn remove_again(
        &self, caller: Caller, progress: Progress, (parent, name): (Ino, &[u8]), directory: bool,
    ) -> Result<()> {
        if let Progress::Reached { inode, .. } = progress {
            if self.leads_to(parent, name, inode)? {
                return if directory {
                    self.rmdir(caller, parent, name)
                } else {
                    self.unlink(caller, parent, name)
                };
            }
            let name = parse_name(name)?;
            self.with_view(|view| {
                if let Target::Entry(parent) = self.target(view, parent)? {
                    self.line_lost(&parent, &name, directory);
                }
                Ok(())
            })?;
        }
        self.authorize(&Operation::Close)
    }

    /// rename.
    pub(super) fn rename_again(
        &self, caller: Caller, progress: Progress, from: (Ino, &[u8]), to: (Ino, &[u8]), flags: RenameFlags,
    ) -> Result<()> {
        let Progress::Reached { inode, value, .. } = progress else {
            return self.authorize(&Operation::Close);
        };
        if self.leads_to(from.0, from.1, inode)? {
            return self.rename(caller, from, to, flags);
        }
        let (name, new_name) = (parse_name(from.1)?, parse_name(to.1)?);
        self.with_view(|view| {
            let (Target::Entry(parent), Target::Entry(new_parent)) =
                (self.target(view, from.0)?, self.target(view, to.0)?)
            else {
                return Ok(());
            };
            let entry = self.probe(&new_parent, &new_name)?;
            if known(&entry).map(as_known) == Some(inode) {
                let target = if flags.exchange {
                    self.probe(&parent, &name)?
                } else {
                    Probe {
                        there: None,
                        cursor: entry.cursor,
                        verdict: entry.verdict,
                    }
                };
                let replaced = value != 0;
                self.renamed_before(
                    caller,
                    (&parent, &name, &entry),
                    (&new_parent, &new_name, &target),
                    replaced,
                    flags,
                );
            }
            Ok(())
        })?;
        self.authorize(&Operation::Close)
    }

    /// mkdir, mknod, symlink: `make` does it, if it was not done.
    pub(super) fn make_again(
        &self, caller: Caller, progress: Progress, (parent, name): (Ino, &[u8]), kind: FileKind,
        make: impl FnOnce() -> Result<Entry>,
    ) -> Result<Entry> {
        let making = Making::of(kind);
        let parsed = parse_name(name)?;
        let made = self.with_view(|view| {
            let Some((parent, probe)) = self.made_before(view, progress, (parent, &parsed), kind)? else {
                return Ok(None);
            };
            let at = At {
                parent: &parent,
                name: &parsed,
                probe: &probe,
            };
            self.note_made(caller, at, making);
            self.authorize(&Operation::Close)?;
            Ok(Some(self.keep_made(view, &parent, &parsed, probe)?.1))
        })?;
        made.map_or_else(make, Ok)
    }

    /// create.
    pub(super) fn create_again(
        &self, caller: Caller, progress: Progress, (parent, name): (Ino, &[u8]), mode: u32, flags: i32,
        passthrough: &dyn Passthrough,
    ) -> Result<(Entry, Opening)> {
        let parsed = parse_name(name)?;
        let made = self.with_view(|view| {
            let found = self.made_before(view, progress, (parent, &parsed), FileKind::Regular)?;
            let Some((parent, probe)) = found else {
                return Ok(false);
            };
            let making = Making::File {
                exclusively: flags & libc::O_EXCL != 0,
            };
            let at = At {
                parent: &parent,
                name: &parsed,
                probe: &probe,
            };
            self.note_made(caller, at, making);
            Ok(true)
        })?;
        let flags = if made {
            flags & !(libc::O_EXCL | libc::O_TRUNC)
        } else {
            flags
        };
        self.create(caller, parent, name, mode, flags, passthrough)
    }

    /// setxattr and removexattr: done at most once more, for that changes nothing.
    pub(super) fn setxattr_again(&self, ino: Ino, name: &[u8], value: &[u8]) -> Result<()> {
        self.setxattr(ino, name, value, SetXattr::default())
    }

    /// Likewise.
    pub(super) fn removexattr_again(&self, ino: Ino, name: &[u8]) -> Result<()> {
        match self.removexattr(ino, name) {
            Err(Error::Backing(error)) if error.raw_os_error() == Some(libc::ENODATA) => Ok(()),
            done => done,
        }
    }

    /// link.
    pub(super) fn link_again(
        &self, caller: Caller, progress: Progress, source: Ino, to: (Ino, &[u8]),
    ) -> Result<Entry> {
        let name = parse_name(to.1)?;
        let linked = self.with_view(|view| {
            let Target::Entry(parent) = self.target(view, to.0)? else {
                return Ok(None);
            };
            let source = self.seen(view, source)?;
            let probe = self.probe(&parent, &name)?;
            let there = probe.there.as_ref();
            let same = there.is_some_and(|there| there.object.is(&source.node.object));
            if progress == Progress::Begun || !same || !probe.verdict.sees() {
                return Ok(None);
            }
            let at = At {
                parent: &parent,
                name: &name,
                probe: &probe,
            };
            self.note_made(caller, at, Making::Link);
            self.authorize(&Operation::Close)?;
            Ok(Some(self.keep_made(view, &parent, &name, probe)?.1))
        })?;
        linked.map_or_else(|| self.link(caller, source, to.0, to.1), Ok)
    }

    /// What answers with nothing: not done again if it was done, else by `again`.
    pub(super) fn done_before(&self, progress: Progress, again: impl FnOnce() -> Result<()>) -> Result<()> {
        match progress {
            Progress::Done { .. } => self.authorize(&Operation::Close),
            _ => again(),
        }
    }

    /// Likewise, of what answers with a number.
    pub(super) fn counted_before(
        &self, progress: Progress, again: impl FnOnce() -> Result<u32>,
    ) -> Result<u32> {
        match progress {
            Progress::Done { value, .. } => {
                self.authorize(&Operation::Close)?;
                u32::try_from(value).map_err(|_| Error::Invalid)
            }
            _ => again(),
        }
    }

    /// write.
    pub(super) fn write_again(
        &self, progress: Progress, (fh, flags): (Fh, i32), offset: u64, data: &[u8],
    ) -> Result<u32> {
        let appends = flags & libc::O_APPEND != 0;
        self.counted_before(progress, || match progress {
            Progress::Reached { value, .. } if appends => self.append_again(fh, value, data, flags),
            _ => self.write(fh, offset, data, flags),
        })
    }

    /// To the end of a file, which had that size before.
    fn append_again(&self, fh: Fh, before: u64, data: &[u8], flags: i32) -> Result<u32> {
        let file = self.handles.file(fh)?;
        let fd = self.file_fd(&file)?;
        let mut there = vec![0; data.len()];
        let mut filled = 0;
        while filled < there.len() {
            match backing::read_at(fd, &mut there[filled..], before + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                // It may be open for writing alone: then it is looked at by the daemon itself.
                Err(_) => break,
            }
        }
        if filled == data.len() && there == data {
            self.authorize(&Operation::Close)?;
            return u32::try_from(data.len()).map_err(|_| Error::Invalid);
        }
        self.write(fh, 0, data, flags)
    }

    fn leads_to(&self, parent: Ino, name: &[u8], inode: Known) -> Result<bool> {
        let name = parse_name(name)?;
        self.with_view(|view| match self.target(view, parent)? {
            Target::Top => Ok(true),
            Target::Entry(parent) => Ok(known(&self.probe(&parent, &name)?).map(as_known) == Some(inode)),
        })
    }

    /// What was made by a request, if it was.
    fn made_before(
        &self, view: &View, progress: Progress, (parent, name): (Ino, &Name), kind: FileKind,
    ) -> Result<Option<(Seen, Probe)>> {
        let (since, claimed) = match progress {
            Progress::Begun => return Ok(None),
            Progress::Reached { time, inode, .. } => (time, Some(inode.0)),
            Progress::Done { .. } => (None, None),
        };
        let Target::Entry(parent) = self.target(view, parent)? else {
            return Ok(None);
        };
        let probe = self.probe(&parent, name)?;
        let born = probe.there.as_ref().and_then(|there| there.object.birth);
        let old = since.zip(born).is_some_and(|(since, born)| born < since);
        // Where only the daemon makes files their owner tells whose they are.
        let owned = !self.is_bare(&parent) && !parent.folder.backing.is_adopted();
        let owner = self.options.subject_ids.0;
        let another_s = owned && probe.there.as_ref().is_some_and(|there| there.stat.uid != owner);
        let there = probe.there.is_some() && probe.kind() == Some(kind) && probe.verdict.sees();
        // Two mounts may have come to the same call for the same name: one of them was the first.
        let made = there && !old && !another_s && claimed.is_none_or(|key| self.shared.claim_made(key));
        Ok(made.then_some((parent, probe)))
    }
}

/// What stands in the records for a name that is to be made.
pub(super) fn make_key(parent: &Seen, name: &Name) -> u64 {
    requests::key(parent.node.folder, parent.node.object.number, name.as_bytes())
}

/// When something is made that is made now, as its file system will tell.
pub(super) fn birth_of_now() -> Option<Birth> {
    Birth::at(SystemTime::now() - TICK)
}

fn as_known((number, birth): (u64, Option<Birth>)) -> Known {
    (number, birth.map_or(0, Birth::to_bits))
}
