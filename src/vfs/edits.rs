//! Edit without delete, for real programs: feeds the ledger of [`policy::protection`](crate::policy::protection)
//! with what is made and renamed, and finds what may go although the level protects names.
//!
//! Nobody is asked who he is where the level does not protect the entry, and nothing is kept of what such programs do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};

use super::error::Result;
use super::filesystem::{Caller, FileSystem, Seen};
use super::locate::Probe;
use super::node::Position;
use super::object::{Object, Opened};
use super::paths::path_below;
use super::processes;
use crate::backing::{FileKind, Name, Program};
use crate::policy::{
    Absences, Exemption, FolderId, Inode, Ledger, Made, Process, Renamed, Right, Spot, Verdict,
};

/// What is gone in one mount for some of its programs.
#[derive(Debug)]
pub(super) struct Edits {
    absences: Mutex<Absences>,
    /// Whether anything is: then lookups have to ask.
    knows_of_gone: AtomicBool,
    /// The programs for which something is gone.
    pub(super) programs: Mutex<HashMap<Process, Program>>,
    started: Instant,
}

impl Default for Edits {
    fn default() -> Self {
        Self {
            absences: Mutex::default(),
            knows_of_gone: AtomicBool::new(false),
            programs: Mutex::default(),
            started: Instant::now(),
        }
    }
}

impl Edits {
    pub(super) fn absences(&self) -> MutexGuard<'_, Absences> {
        self.absences.lock()
    }

    /// The time that they know.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn knows_of_gone(&self) -> bool {
        self.knows_of_gone.load(Ordering::Acquire)
    }

    /// To be called with them when they have changed.
    pub(super) fn note_gone(&self, absences: &Absences) {
        self.knows_of_gone.store(!absences.is_empty(), Ordering::Release);
    }
}

/// How something may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Going {
    /// As the level says.
    AsJudged,
    /// For good, although the level protects it.
    Exempt,
    /// Likewise: the process that asks stepped aside with it, and has made its name anew.
    CameBack(Process),
    /// For the process that asks, until that has made it anew.
    UntilMadeAnew(Process),
}

/// How an entry is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Making {
    /// A new regular file; not `exclusively` if it would have been opened had it been there.
    File {
        /// O_EXCL
        exclusively: bool,
    },
    Symlink,
    /// A further name of a file.
    Link,
    /// A directory, FIFO, socket or device.
    Other,
}

impl Making {
    /// How something of a kind is made that cannot have been there before.
    pub(super) fn of(kind: FileKind) -> Self {
        match kind {
            FileKind::Regular => Self::File { exclusively: true },
            FileKind::Symlink => Self::Symlink,
            _ => Self::Other,
        }
    }
}

/// What was found at a name.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) parent: &'a Seen,
    pub(super) name: &'a Name,
    pub(super) probe: &'a Probe,
}

impl<'a> At<'a> {
    /// The ledger of the folder.
    pub(super) fn ledger(&self) -> MappedMutexGuard<'a, Ledger> {
        self.parent.folder.backing.ledger()
    }

    pub(super) fn kind(&self) -> Option<FileKind> {
        self.probe.kind()
    }

    pub(super) fn there(&self) -> Option<&Opened> {
        self.probe.there.as_ref()
    }

    /// Name and inode, if both can be told from all others.
    pub(super) fn spot_and_inode(&self) -> Option<(Spot, Inode)> {
        let spot = spot(self.parent, self.name)?;
        let inode = inode(self.parent.node.folder, &self.there()?.object)?;
        Some((spot, inode))
    }
}

/// Tells whether the level protects a name that it lets be written.
pub(super) fn protects(verdict: Verdict) -> bool {
    verdict.rights.contains(Right::Write) && !verdict.rights.contains(Right::Delete)
}

/// Tells whether the level protects either name of a rename.
fn is_protected(from: At<'_>, to: At<'_>) -> bool {
    protects(from.probe.verdict) || to.there().is_some() && protects(to.probe.verdict)
}

pub(super) fn spot(parent: &Seen, name: &Name) -> Option<Spot> {
    Some(Spot {
        directory: inode(parent.node.folder, &parent.node.object)?,
        name: name.as_bytes().into(),
    })
}

/// `None` where the backing does not tell an inode from those that had its number before.
pub(super) fn inode(folder: FolderId, object: &Object) -> Option<Inode> {
    (object.birth.is_some() || object.handle().is_some()).then(|| Inode {
        folder,
        number: object.number,
        birth: object.generation(),
    })
}

impl FileSystem {
    /// The process that asks for a rename, where that matters.
    pub(super) fn process_to_rename(&self, caller: Caller, from: At<'_>, to: At<'_>) -> Option<Process> {
        is_protected(from, to).then(|| self.process(caller)).flatten()
    }

    /// The process that asks.
    pub(super) fn process(&self, caller: Caller) -> Option<Process> {
        let process = self.shared.processes.of(caller.pid)?;
        Some(process.within(self.id))
    }

    /// How an entry may go that is to be removed.
    pub(super) fn going(&self, caller: Caller, at: At<'_>) -> Result<Going> {
        if !protects(at.probe.verdict) || !at.parent.verdict.rights.contains(Right::Create) {
            return Ok(Going::AsJudged);
        }
        if self.is_own(at)? || self.is_scratch(at)? {
            return Ok(Going::Exempt);
        }
        let Some(process) = self.process(caller) else {
            return Ok(Going::AsJudged);
        };
        if self.is_transient(at, process) {
            Ok(Going::Exempt)
        } else if self.anew(at, process)?.is_some() {
            Ok(Going::CameBack(process))
        } else if self.may_be_made_anew(at, process)? {
            Ok(Going::UntilMadeAnew(process))
        } else {
            Ok(Going::AsJudged)
        }
    }

    /// What a rename may do although the level protects names.
    pub(super) fn exemption(&self, process: Option<Process>, from: At<'_>, to: At<'_>) -> Result<Exemption> {
        let occupied = to.there().is_some();
        if !is_protected(from, to) {
            return Ok(Exemption::default());
        }
        let line = |at: At<'_>| {
            let places = &at.parent.folder.policy.places;
            places.may_be_called(at.name.as_bytes())
                && path_below(at.parent, at.name).is_none_or(|path| places.find(&path).is_some())
        };
        let (line_at_old_name, line_at_new_name) = (line(from), line(to));
        let transient = |at: At<'_>| -> Result<bool> {
            let by_process = |process| self.is_transient(at, process) && self.is_whole(at, process);
            Ok(process.is_some_and(by_process) || self.is_scratch(at)?)
        };
        let made = transient(from)?;
        let own = |process| {
            let found = from.spot_and_inode();
            found.is_some_and(|(spot, inode)| from.ledger().is_own(&spot, inode, process))
        };
        let new = made || process.is_some_and(own);
        let file = from.kind() != Some(FileKind::Directory);
        let same_kind = from.kind() == to.kind();
        let replaceable = matches!(from.kind(), Some(FileKind::Regular | FileKind::Symlink));
        let one_name = from.there().is_some_and(|there| there.stat.nlink == 1);
        Ok(Exemption {
            entry: made || file && self.is_own(from)?,
            target: occupied
                && (transient(to)? || to.kind() != Some(FileKind::Directory) && self.is_own(to)?),
            saves: new && same_kind && replaceable && one_name,
            line_at_old_name,
            line_at_new_name,
        })
    }

    fn is_transient(&self, at: At<'_>, process: Process) -> bool {
        at.spot_and_inode()
            .is_some_and(|(spot, inode)| at.ledger().is_transient(&spot, inode, process))
    }

    /// Tells whether all that is in a directory is its maker's as well: with it, nothing of others goes elsewhere.
    fn is_whole(&self, at: At<'_>, process: Process) -> bool {
        at.kind() != Some(FileKind::Directory)
            || self.each_below(at, &mut |spot, inode| {
                at.ledger().is_transient(spot, inode, process)
            })
    }

    /// What a process has made anew at the name that it stepped aside from with an entry, if that is still there: then
    /// what stepped aside may go.
    fn anew(&self, at: At<'_>, process: Process) -> Result<Option<(Name, Probe)>> {
        let Some((spot, inode)) = at.spot_and_inode() else {
            return Ok(None);
        };
        let left = {
            let ledger = at.ledger();
            let left = ledger.stepped_aside(&spot, inode, process);
            left.and_then(|(name, anew)| Some((Name::new(name).ok()?, anew)))
        };
        let Some((name, anew)) = left else {
            return Ok(None);
        };
        let probe = self.probe(at.parent, &name)?;
        let folder = at.parent.node.folder;
        let there = probe.there.as_ref().is_some_and(|there| {
            let new_file = there.stat.kind == FileKind::Regular && there.stat.nlink == 1;
            new_file && super::edits::inode(folder, &there.object) == Some(anew)
        });
        Ok(there.then_some((name, probe)))
    }

    /// Lets what was made anew be in all what stepped aside was: made by who made that, and not to be removed. To be
    /// called before that goes.
    ///
    /// # Errors
    /// Those of the marks.
    pub(super) fn hand_over(&self, aside: At<'_>, process: Process) -> Result<()> {
        let Some((name, probe)) = self.anew(aside, process)? else {
            return Ok(());
        };
        let anew = At {
            name: &name,
            probe: &probe,
            ..aside
        };
        self.keep_maker(aside, anew)?;
        self.keep_access(aside, anew)?;
        self.remove_scratch_mark(anew)
    }

    /// Notes that a program made an entry. To be called after that, with what is there now.
    pub(super) fn note_made(&self, caller: Caller, at: At<'_>, making: Making) {
        if making != Making::Link {
            self.note_maker(at);
        }
        if !protects(at.probe.verdict) {
            return;
        }
        let Some((spot, inode)) = at.spot_and_inode() else {
            return;
        };
        let scratch = &at.parent.folder.policy.protection.scratch;
        if matches!(making, Making::File { .. } | Making::Symlink) && scratch.match_name(at.name.as_bytes()) {
            self.set_scratch_mark(at);
        }
        let Some(process) = self.process(caller) else {
            return;
        };
        let how = Made {
            exclusively: making != Making::File { exclusively: false } || self.is_in_own(at.parent, process),
            new_file: matches!(making, Making::File { .. }),
        };
        if at.ledger().is_due() {
            // Nobody waits for the ledger meanwhile.
            let known = at.ledger().processes();
            let ended = processes::ended(known);
            self.tell_ledger(at, |ledger| ledger.forget_ended(&ended));
        }
        self.tell_ledger(at, |ledger| ledger.made(&spot, inode, process, how));
    }

    /// Tells whether a process made a directory to put something into that it will remove again (mkdtemp).
    fn is_in_own(&self, directory: &Seen, process: Process) -> bool {
        let Position::Under { parent, name } = directory.node.position() else {
            return false;
        };
        let folder = directory.node.folder;
        let spot = inode(folder, &parent.object).map(|above| Spot {
            directory: above,
            name: Name::from(&name).as_bytes().into(),
        });
        let found = spot.zip(inode(folder, &directory.node.object));
        let ledger = directory.folder.backing.ledger();
        found.is_some_and(|(spot, inode)| ledger.is_transient(&spot, inode, process))
    }

    /// Notes that an entry was removed, whatever the level is.
    pub(super) fn note_removed(&self, at: At<'_>) {
        if at.ledger().is_empty() {
            return;
        }
        if let Some(spot) = spot(at.parent, at.name) {
            self.tell_ledger(at, |ledger| ledger.removed(&spot));
        }
    }

    /// Prepares a rename under whatever level: what is marked as made under a scratch name is not when it leaves that, or
    /// comes to it again by another.
    ///
    /// # Errors
    /// Those of the marks.
    pub(super) fn lose_marks(&self, from: At<'_>, to: At<'_>, saves: bool) -> Result<()> {
        let scratch = &from.parent.folder.policy.protection.scratch;
        let concerned = |at: At<'_>| scratch.match_name(at.name.as_bytes());
        if saves || concerned(from) || concerned(to) {
            self.remove_scratch_mark(from)?;
        }
        Ok(())
    }

    /// Notes that an entry was renamed, whatever the level is.
    pub(super) fn note_renamed(&self, process: Option<Process>, from: At<'_>, to: At<'_>, exchange: bool) {
        let protected = protects(from.probe.verdict);
        let absent = self.edits.knows_of_gone();
        if !protected && !absent && from.ledger().is_empty() {
            return;
        }
        let (Some(old), Some(new)) = (spot(from.parent, from.name), spot(to.parent, to.name)) else {
            return;
        };
        if absent {
            let mut absences = self.edits.absences();
            absences.is_back(&old);
            absences.is_back(&new);
            self.edits.note_gone(&absences);
        }
        let Some((_, inode)) = from.spot_and_inode().filter(|_| !exchange) else {
            self.tell_ledger(from, |ledger| ledger.exchanged(&old, &new));
            return;
        };
        let renamed = Renamed {
            from: old,
            to: new,
            inode,
            regular: from.kind() == Some(FileKind::Regular),
            replaced: to.there().is_some(),
        };
        let by = process.filter(|_| protected);
        self.tell_ledger(from, |ledger| ledger.renamed(&renamed, by));
    }
}
