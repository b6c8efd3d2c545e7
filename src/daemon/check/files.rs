//! What is looked at of each file of a folder: its owner, the daemon's marks, its other names, and whether it is
//! something that the daemon left in the middle of its work.

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::queue::Abandoned;
use super::walk::Entry;
use crate::backing::{self, FileKind, Stat};
use crate::control::answers::{Finding, Grade};
use crate::control::wire::quoted;
use crate::policy::{FolderPolicy, PlaceId, PlacePath};
use crate::vfs::{is_mark_sound, is_temporary};

/// So many owners whom nobody knows are told apart.
const OWNERS: usize = 64;
/// Of so many files with several names it is kept where they were first seen.
const LINKED: usize = 65_536;
/// What is younger, and was made since the daemon started, may be at work yet.
const AT_WORK: Duration = Duration::from_secs(60);
/// File systems tell the time by their last tick.
const TICK: Duration = Duration::from_millis(20);

/// See the module's doc.
pub(super) struct Files {
    policy: Arc<FolderPolicy>,
    /// Whether lines tell places in the folder apart.
    has_lines: bool,
    /// The uids that may own a file; none where anyone may.
    known: Option<HashSet<u32>>,
    strangers: HashMap<u32, (u64, PlacePath)>,
    linked: HashMap<u64, Linked>,
    unlooked: u64,
    started: SystemTime,
    repair: bool,
    removed: bool,
}

/// A file with several names.
struct Linked {
    zone: Option<PlaceId>,
    path: PlacePath,
    seen: u32,
    names: u32,
}

type Tell<'a> = &'a mut dyn FnMut(Finding) -> Result<(), Abandoned>;

impl Files {
    pub(super) fn new(
        policy: &Arc<FolderPolicy>, known: Option<HashSet<u32>>, started: SystemTime, repair: bool,
    ) -> Self {
        Self {
            policy: Arc::clone(policy),
            has_lines: !policy.places.is_plain(),
            known,
            strangers: HashMap::new(),
            linked: HashMap::new(),
            unlooked: 0,
            started,
            repair,
            removed: false,
        }
    }

    /// Tells whether anything was removed.
    pub(super) fn has_removed(&self) -> bool {
        self.removed
    }

    pub(super) fn look(&mut self, entry: &Entry<'_>, tell: Tell<'_>) -> Result<(), Abandoned> {
        if is_temporary(entry.name.as_bytes()) {
            return self.temporary(entry, tell);
        }
        self.owner(entry);
        self.marks(entry, tell)?;
        if self.has_lines && entry.stat.kind != FileKind::Directory && entry.stat.nlink > 1 {
            self.names(entry, tell)?;
        }
        Ok(())
    }

    fn owner(&mut self, entry: &Entry<'_>) {
        let uid = entry.stat.uid;
        // What root put there is nobody's fault.
        if uid == 0 || self.known.as_ref().is_none_or(|known| known.contains(&uid)) {
            return;
        }
        if let Some((times, _)) = self.strangers.get_mut(&uid) {
            *times += 1;
        } else if self.strangers.len() < OWNERS {
            self.strangers.insert(uid, (1, entry.path()));
        }
    }

    fn marks(&self, entry: &Entry<'_>, tell: Tell<'_>) -> Result<(), Abandoned> {
        if entry.stat.kind == FileKind::Directory {
            return Ok(());
        }
        let Ok(file) = backing::open_path(entry.directory, entry.name) else {
            return Ok(());
        };
        // A file system without attributes has no marks.
        let names = backing::list_xattr(file.as_fd()).unwrap_or_default();
        for name in names.split(|&byte| byte == 0) {
            if !name.starts_with(b"trusted.lendfs.") {
                continue;
            }
            let value = backing::get_xattr(file.as_fd(), name).unwrap_or_default();
            if !is_mark_sound(name, &value) {
                let (name, path) = (quoted(name), quoted(&entry.path().to_bytes()));
                tell(Finding::new(
                    Grade::Warning,
                    "marks",
                    format!("{path}: {name} is not what lendfs writes there, and counts as nothing"),
                    format!("take it away as root, on the disk itself: setfattr -x {name} FILE"),
                ))?;
            }
        }
        Ok(())
    }

    fn names(&mut self, entry: &Entry<'_>, tell: Tell<'_>) -> Result<(), Abandoned> {
        let path = entry.path();
        let zone = self.policy.places.zone(&path);
        if let Some(linked) = self.linked.get_mut(&entry.stat.ino) {
            linked.seen += 1;
            if linked.zone == zone {
                return Ok(());
            }
            let names = (quoted(&linked.path.to_bytes()), quoted(&path.to_bytes()));
            return tell(Finding::new(
                Grade::Warning,
                "links",
                format!("{} and {} are one file under different lines", names.0, names.1),
                "remove one of the names, or give them the same lines",
            ));
        }
        if self.linked.len() >= LINKED {
            self.unlooked += 1;
            return Ok(());
        }
        let linked = Linked {
            zone,
            path,
            seen: 1,
            names: entry.stat.nlink,
        };
        self.linked.insert(entry.stat.ino, linked);
        Ok(())
    }

    fn temporary(&mut self, entry: &Entry<'_>, tell: Tell<'_>) -> Result<(), Abandoned> {
        if self.is_at_work(entry.stat) {
            return Ok(());
        }
        let path = quoted(&entry.path().to_bytes());
        let what = format!("{path} was left by a daemon that was killed in the middle of its work");
        if !has_nothing(entry) {
            return tell(Finding::new(
                Grade::Warning,
                "temporaries",
                format!("{what}, and has something in it"),
                "look at it, and remove it if nobody needs it",
            ));
        }
        let finding = Finding::new(
            Grade::Warning,
            "temporaries",
            what,
            "lendfs check --repair removes it",
        );
        let mut finding = finding.mended_by("it is removed, for there is nothing in it");
        if self.repair {
            finding.repaired = remove(entry);
            self.removed |= finding.repaired;
        }
        tell(finding)
    }

    /// One that a clock shows to be of the future is not: a clock that went back must not keep it for ever.
    fn is_at_work(&self, stat: &Stat) -> bool {
        let age = SystemTime::now().duration_since(stat.ctime);
        stat.ctime + TICK >= self.started && age.is_ok_and(|age| age < AT_WORK)
    }

    /// Tells of what is known at the end only.
    pub(super) fn end(&mut self, tell: Tell<'_>) -> Result<(), Abandoned> {
        for (uid, (times, path)) in self.strangers.drain() {
            tell(Finding::new(
                Grade::Warning,
                "owners",
                format!(
                    "{times} files belong to the uid {uid}, which no account has: {} is one of them",
                    quoted(&path.to_bytes())
                ),
                "give them to somebody: chown on the disk itself, as root",
            ))?;
        }
        for linked in self.linked.values().filter(|linked| linked.seen < linked.names) {
            tell(Finding::new(
                Grade::Note,
                "links",
                format!(
                    "{} has other names outside of the folder",
                    quoted(&linked.path.to_bytes())
                ),
                "whoever reaches those reaches the file past all rules: 'find / -samefile' looks for them",
            ))?;
        }
        if self.unlooked > 0 {
            tell(Finding::new(
                Grade::Note,
                "links",
                format!(
                    "{} names of files with several names were not compared",
                    self.unlooked
                ),
                "there are too many of them",
            ))?;
        }
        Ok(())
    }
}

/// Whether no data is lost with it: it is empty, or another name of something.
fn has_nothing(entry: &Entry<'_>) -> bool {
    match entry.stat.kind {
        FileKind::Regular => entry.stat.size == 0 || entry.stat.nlink > 1,
        FileKind::Directory => backing::open_path(entry.directory, entry.name)
            .and_then(backing::is_empty)
            .unwrap_or(false),
        FileKind::Symlink | FileKind::Fifo | FileKind::Socket => true,
        FileKind::CharDevice | FileKind::BlockDevice => false,
    }
}

/// Removes it, if it is still as it was.
fn remove(entry: &Entry<'_>) -> bool {
    let same = backing::stat_at(entry.directory, entry.name).is_ok_and(|now| now == *entry.stat);
    let removed = match entry.stat.kind {
        _ if !same => return false,
        FileKind::Directory => backing::rmdir(entry.directory, entry.name),
        _ => backing::unlink(entry.directory, entry.name),
    };
    if let Err(error) = &removed {
        tracing::warn!(%error, name = ?entry.name, "what an earlier daemon left cannot be removed");
    }
    removed.is_ok()
}
