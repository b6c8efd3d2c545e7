//! `replace-by-unlink`: a program unlinks a file and makes it anew at once, as git, tar and install do.
//!
//! Nothing is moved: the file stays where it is, and all others see it. It is gone for the process that unlinked it
//! alone; when that makes it anew, the new one takes its place; and if it does not, within a few seconds or before it
//! ends, the file is simply there. So is it after a crash at any moment.

use std::hash::{BuildHasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use super::edits::{At, inode, spot};
use super::error::{Error, Result};
use super::filesystem::{Caller, FileSystem, Seen};
use super::ids::Ino;
use super::locate::Probe;
use super::object::Object;
use super::processes;
use crate::backing::{self, DirStream, FileKind, Name, RenameFlags};
use crate::policy::{Inode, Operation, Process, Spot};

/// How long a process may take to make anew what it unlinked.
const PATIENCE: Duration = Duration::from_secs(5);
/// A directory with more in it is not looked through.
const MOST_BELOW: usize = 1024;

/// How a name stands that somebody may have said to be gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Presence {
    /// It is there for all.
    There,
    /// It is gone for another process.
    GoneForOthers,
    /// It is gone for the one that asks.
    Gone,
}

impl FileSystem {
    /// Tells whether a process may say that an entry is gone, although it is not.
    pub(super) fn may_be_made_anew(&self, at: At<'_>, process: Process) -> Result<bool> {
        if !at.parent.folder.policy.protection.replace_by_unlink || at.spot_and_inode().is_none() {
            return Ok(false);
        }
        self.let_come_back();
        Ok(self.edits.absences().has_room()
            && match at.probe.kind() {
                Some(FileKind::Regular | FileKind::Symlink) => true,
                // With all that is in it.
                Some(FileKind::Directory) => {
                    let now = self.edits.now();
                    self.each_below(at, &mut |spot, inode| {
                        self.edits.absences().is_gone(spot, inode, Some(process), now)
                    })
                }
                _ => false,
            })
    }

    /// Lets an entry be gone for a process.
    pub(super) fn say_gone(&self, at: At<'_>, process: Process) {
        let Some((spot, inode)) = at.spot_and_inode() else {
            return;
        };
        let until = self.edits.now() + PATIENCE;
        let directory = at.probe.kind() == Some(FileKind::Directory);
        if let Some(program) = backing::process_of(process.id) {
            self.edits.programs.lock().insert(process, program);
        }
        let mut absences = self.edits.absences();
        absences.said_gone(&spot, inode, process, directory, until);
        self.edits.note_gone(&absences);
        drop(absences);
        // The kernel believes it: of a file it counts a link less, and of a directory it lets nobody make anything in it.
        if let Some(object) = at.probe.there.as_ref().map(|there| &there.object) {
            for node in self.nodes.of_inode(at.parent.node.folder, object) {
                if directory {
                    node.cut();
                } else if let Some(kernel) = self.kernel.get() {
                    kernel.drop_attributes(node.ino);
                }
            }
        }
    }

    /// How a name stands for who asks.
    pub(super) fn presence(&self, caller: Caller, at: At<'_>) -> Presence {
        let Some((spot, inode)) = self.edits.knows_of_gone().then(|| at.spot_and_inode()).flatten() else {
            return Presence::There;
        };
        let now = self.edits.now();
        if !self.edits.absences().is_gone(&spot, inode, None, now) {
            return Presence::There;
        }
        let process = self.process(caller);
        let gone =
            process.is_some_and(|process| self.edits.absences().is_gone(&spot, inode, Some(process), now));
        if gone {
            Presence::Gone
        } else {
            Presence::GoneForOthers
        }
    }

    /// What is gone for who asks, and there all the same: then it is to be replaced, and not made.
    pub(super) fn gone_for(&self, caller: Caller, parent: &Seen, name: &Name) -> Result<Option<Probe>> {
        if !self.edits.knows_of_gone() {
            return Ok(None);
        }
        let probe = self.probe(parent, name)?;
        let at = At {
            parent,
            name,
            probe: &probe,
        };
        let gone = self.presence(caller, at) == Presence::Gone;
        Ok(gone.then_some(probe))
    }

    /// Tells whether anything in a directory is gone for anybody: then its listing is not the same for all.
    pub(super) fn has_gone(&self, directory: &Seen) -> bool {
        self.edits.knows_of_gone()
            && inode(directory.node.folder, &directory.node.object)
                .is_some_and(|directory| self.edits.absences().any_in(directory))
    }

    /// Lets what `make` makes take the place of what is gone for who asks.
    ///
    /// # Errors
    /// EPERM if it is of another kind; EACCES without `write` on it.
    pub(super) fn make_anew<T>(
        &self, caller: Caller, old: At<'_>, kind: FileKind,
        make: impl FnOnce(BorrowedFd<'_>, &Name) -> Result<T>,
    ) -> Result<T> {
        let _held = self.shared.names.hold(&old.parent.node);
        let probe = self.probe(old.parent, old.name)?;
        let found = At { probe: &probe, ..old };
        if found.spot_and_inode() != old.spot_and_inode() {
            // Another has taken its place.
            return Err(Error::PlacesMoved);
        }
        self.authorize(&Operation::Replace {
            parent: old.parent.verdict,
            entry: old.probe.verdict,
        })?;
        if old.probe.kind() != Some(kind) {
            return Err(crate::policy::Refusal::NotPermitted.into());
        }
        self.keep_for_readers(old.parent, old.name, old.probe)?;
        let directory = self.fd(old.parent)?;
        let _changing = (
            self.changing(&old.parent.node),
            self.touching_found(old.parent, old.probe),
        );
        let temporary = temporary_name()?;
        let made = {
            let _as = self.maker(old.parent, caller).assume()?;
            make(directory.as_fd(), &temporary)?
        };
        self.take_place(old, &directory, &temporary).inspect_err(|_| {
            if let Err(error) = backing::unlink(&directory, &temporary) {
                tracing::error!(%error, name = ?temporary, "what could not take its place stays");
            }
        })?;
        self.touched_inode(old.parent, old.probe);
        self.lost_name(old);
        self.note_removed(old);
        self.no_longer_gone(old);
        Ok(made)
    }

    /// The kernel did not ask for the removal, so it does not know that an inode has a name less.
    fn lost_name(&self, old: At<'_>) {
        if let (Some(there), Some(kernel)) = (&old.probe.there, self.kernel.get()) {
            for node in self.nodes.of_inode(old.parent.node.folder, &there.object) {
                kernel.drop_attributes(node.ino);
            }
        }
    }

    /// Lets an entry be there again for the process for which it was gone.
    pub(super) fn no_longer_gone(&self, at: At<'_>) {
        if let Some(spot) = spot(at.parent, at.name) {
            let mut absences = self.edits.absences();
            absences.is_back(&spot);
            self.edits.note_gone(&absences);
        }
    }

    fn take_place(&self, old: At<'_>, directory: &std::os::fd::OwnedFd, temporary: &Name) -> Result<()> {
        let made = self.probe(old.parent, temporary)?;
        let made = At {
            name: temporary,
            probe: &made,
            ..old
        };
        self.keep_maker(old, made)?;
        self.keep_access(old, made)?;
        let _as = old.parent.folder.backing.credentials().assume()?;
        backing::rename(directory, temporary, directory, old.name, RenameFlags::default())?;
        Ok(())
    }

    /// Forgets what has come back by itself, and lets who unlinked it know.
    pub(super) fn let_come_back(&self) {
        if !self.edits.knows_of_gone() {
            return;
        }
        let waited_for = self.edits.absences().processes();
        let ended = processes::ended(waited_for);
        let (back, waited_for) = {
            let mut absences = self.edits.absences();
            let back = absences.come_back(self.edits.now(), &ended);
            self.edits.note_gone(&absences);
            (back, absences.processes())
        };
        for came in back {
            let Spot { directory, name } = came.spot;
            let program = self.edits.programs.lock().get(&came.by).cloned();
            let call = if came.directory { "rmdir" } else { "unlink" };
            // What was in a directory came back with that, which is no more known by then.
            if let Some(parent) = Ino::of(directory.folder, directory.number) {
                let why = "it came back: the program has not made it anew";
                self.note_said(program, call, (parent, &name), why, None);
            }
        }
        let mut programs = self.edits.programs.lock();
        programs.retain(|process, _| waited_for.contains(process));
    }

    /// Tells whether something holds for all that is in a directory and below; not where there is much.
    pub(super) fn each_below(&self, at: At<'_>, holds: &mut dyn FnMut(&Spot, Inode) -> bool) -> bool {
        let Some(there) = &at.probe.there else {
            return false;
        };
        let folder = at.parent.node.folder;
        let mut look = || -> Result<bool> {
            let mut left = MOST_BELOW;
            // Each is opened when its turn comes.
            let mut unread = vec![(self.fd(at.parent)?, at.name.clone(), there.object.clone())];
            while let Some((parent, name, object)) = unread.pop() {
                let directory = Arc::new(backing::open_path(&parent, &name)?);
                let Some(above) = inode(folder, &object) else {
                    return Ok(false);
                };
                let mut stream = DirStream::open(&directory)?;
                while let Some(entry) = stream.next()? {
                    let name = Name::new(entry.name).map_err(|_| Error::BadName)?;
                    let object = Object::of(&backing::stat_at(&directory, &name)?);
                    let spot = Spot {
                        directory: above,
                        name: name.as_bytes().into(),
                    };
                    let holds = inode(folder, &object).is_some_and(|inode| holds(&spot, inode));
                    if !holds || left == 0 {
                        return Ok(false);
                    }
                    left -= 1;
                    if object.kind == FileKind::Directory {
                        unread.push((Arc::clone(&directory), name, object));
                    }
                }
            }
            Ok(true)
        };
        look().unwrap_or(false)
    }
}

/// A name that nobody can be about to use.
fn temporary_name() -> Result<Name> {
    let random = RandomState::new().hash_one(0);
    Name::new(format!("{TEMPORARY}{random:016x}")).map_err(|_| Error::BadName)
}

const TEMPORARY: &str = ".lendfs-";

/// Tells whether a name is one of those under which the daemon makes what is about to take another's place.
pub fn is_temporary(name: &[u8]) -> bool {
    let number = name.strip_prefix(TEMPORARY.as_bytes());
    number.is_some_and(|number| {
        let digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        number.len() == 16 && number.iter().all(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_name_is_known_again() {
        assert!(is_temporary(temporary_name().unwrap().as_bytes()));
        for other in [
            ".lendfs-",
            ".lendfs-0123",
            "lendfs-0123456789abcdef",
            ".lendfs-0123456789abcdeg",
        ] {
            assert!(!is_temporary(other.as_bytes()), "{other}");
        }
    }
}
