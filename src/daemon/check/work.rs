//! The check itself: one stage after the other, each telling what it finds.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::files::Files;
use super::queue::{Abandoned, Queue};
use super::trees;
use super::walk::{Step, walk};
use crate::control::answers::{Finding, Grade};
use crate::control::wire::quoted;
use crate::daemon::core::Core;
use crate::daemon::doctor::of_stray;
use crate::daemon::steward::Registrar;
use crate::policy::FolderPolicy;
use crate::store::{FolderRow, Inspector};
use crate::vfs::{Backing, Custody, Fate, Shared};

/// Of what is found of one kind in one folder so much is told one by one.
const TOLD: u64 = 100;
/// So many entries are looked at between two words of how far it is.
const STRIDE: u64 = 1000;

/// See the module's doc.
pub(super) struct Work {
    registrar: Registrar,
    pub(super) state: PathBuf,
    queue: Arc<Queue>,
    pub(super) repair: bool,
    /// When the daemon was.
    started: SystemTime,
}

/// A folder to be looked through.
struct Folder {
    row: FolderRow,
    policy: Arc<FolderPolicy>,
    backing: Arc<Backing>,
    shared: Arc<Shared>,
    /// Why its directory is not served.
    lost: Option<String>,
}

impl Work {
    pub(super) fn new(core: &Core, queue: Arc<Queue>, repair: bool) -> Self {
        let started = SystemTime::now().checked_sub(core.started.elapsed());
        Self {
            registrar: core.registrar.clone(),
            state: core.state.clone(),
            started: started.unwrap_or(SystemTime::UNIX_EPOCH),
            queue,
            repair,
        }
    }

    /// Looks at everything.
    pub(super) fn run(&self) {
        if let Err(Abandoned) = self.stages() {
            tracing::info!("a check was given up, for nobody asked on");
        }
        self.queue.end();
    }

    fn stages(&self) -> Result<(), Abandoned> {
        self.database()?;
        trees::check(self)?;
        let folders = self.with_core(|core| core.store.folders().unwrap_or_default());
        for row in folders.into_iter().flatten() {
            if let Some(folder) = self.with_core(|core| Folder::of(core, row)).flatten() {
                self.folder(&folder)?;
            }
        }
        Ok(())
    }

    /// Does something with the core, unless the daemon ends.
    pub(super) fn with_core<T>(&self, work: impl FnOnce(&mut Core) -> T) -> Option<T> {
        let core: Arc<Mutex<Core>> = self.registrar.core()?;
        let mut core = core.lock();
        Some(work(&mut core))
    }

    pub(super) fn tell(&self, finding: Finding) -> Result<(), Abandoned> {
        self.queue.push(finding)
    }

    fn database(&self) -> Result<(), Abandoned> {
        const ABOUT: &str = "database";
        const ADVICE: &str = "stop the daemon and restore lendfs.db from a backup";
        let error = |what: String| Finding::new(Grade::Error, ABOUT, what, ADVICE);
        match Inspector::open(&self.state).and_then(|inspector| inspector.damage()) {
            Ok(damage) if damage.is_empty() => self.tell(Finding::ok(ABOUT, "the database is whole")),
            Ok(damage) => damage
                .into_iter()
                .try_for_each(|line| self.tell(error(format!("the database is damaged: {line}")))),
            Err(failed) => self.tell(error(format!("the database is damaged: {failed}"))),
        }
    }

    fn folder(&self, folder: &Folder) -> Result<(), Abandoned> {
        let name = folder.name();
        self.queue.looked(0, &name)?;
        if let Some(why) = &folder.lost {
            return self.tell(Finding::new(
                Grade::Error,
                "backing",
                format!("{name}: its directory is not there: {why}"),
                "bring the directory back, or delete the folder with --force",
            ));
        }
        self.lines(folder)?;
        let accounts = self.with_core(|core| {
            let accounts = core.snapshot.accounts.values();
            accounts.map(|account| account.uid).collect::<HashSet<_>>()
        });
        let managed = matches!(folder.backing.custody(), Some(Custody::Managed));
        let known = accounts.filter(|_| managed);
        let mut files = Files::new(&folder.policy, known, self.started, self.repair);
        let mut tell = Telling::new(self, &name);
        let mut looked = 0;
        let Ok(root) = folder.backing.root() else {
            return Ok(());
        };
        let walked = walk(root, &mut |step| {
            looked += 1;
            let told = match step {
                Step::Entry(entry) => files.look(&entry, &mut |finding| tell.tell(finding)),
                Step::Failed(path, error) => tell.tell(Finding::new(
                    Grade::Error,
                    "files",
                    format!("{} cannot be read: {error}", quoted(&path.to_bytes())),
                    "look at the disk: the kernel's log (dmesg) says more",
                )),
            };
            let going = told.and_then(|()| {
                if looked % STRIDE == 0 {
                    self.queue.looked(STRIDE, &name)
                } else {
                    Ok(())
                }
            });
            match going {
                Ok(()) => ControlFlow::Continue(()),
                Err(Abandoned) => ControlFlow::Break(()),
            }
        });
        if files.has_removed() {
            folder.shared.changed_natively_in(folder.row.id);
        }
        if walked.is_break() {
            return Err(Abandoned);
        }
        self.queue.looked(looked % STRIDE, &name)?;
        files.end(&mut |finding| tell.tell(finding))?;
        tell.end()
    }

    /// Lines whose target is not where it was.
    fn lines(&self, folder: &Folder) -> Result<(), Abandoned> {
        let strays = folder.shared.strays(folder.row.id, usize::MAX);
        if self.repair {
            folder.shared.follow(folder.row.id, &strays);
        }
        for stray in strays {
            let mut finding = of_stray(&folder.name(), &stray.path.to_bytes(), &stray.fate);
            if let Fate::Moved(_) = stray.fate {
                finding = finding.mended_by("the lines follow it");
                finding.repaired = self.repair;
            }
            self.tell(finding)?;
        }
        Ok(())
    }
}

impl Folder {
    fn of(core: &mut Core, row: FolderRow) -> Option<Self> {
        let path = core.backing_path(&row);
        let lost = core.find_backing(&row).err();
        let served = core.backings.get(&row.id)?;
        let lost = lost.or_else(|| served.is_lost().then(|| "it could not be opened".into()));
        Some(Self {
            policy: core.policy(&row).ok()?,
            backing: Arc::clone(served),
            shared: Arc::clone(&core.shared),
            lost: lost.map(|why| format!("{}: {why}", quoted(path.as_os_str().as_bytes()))),
            row,
        })
    }

    fn name(&self) -> String {
        format!("{}:{}", self.row.owner_login, self.row.name)
    }
}

/// Tells of one folder, of each kind of thing so much one by one.
struct Telling<'a> {
    work: &'a Work,
    folder: &'a str,
    told: HashMap<String, u64>,
}

impl<'a> Telling<'a> {
    fn new(work: &'a Work, folder: &'a str) -> Self {
        Self {
            work,
            folder,
            told: HashMap::new(),
        }
    }

    fn tell(&mut self, mut finding: Finding) -> Result<(), Abandoned> {
        let told = self.told.entry(finding.about.clone()).or_default();
        *told += 1;
        if *told > TOLD {
            return Ok(());
        }
        finding.what = format!("{}: {}", self.folder, finding.what);
        self.work.tell(finding)
    }

    fn end(self) -> Result<(), Abandoned> {
        for (about, told) in self.told {
            if told > TOLD {
                let what = format!("{}: {} more like these ({about})", self.folder, told - TOLD);
                let advice = "they are dealt with like those that are told";
                self.work
                    .tell(Finding::new(Grade::Warning, &about, what, advice))?;
            }
        }
        Ok(())
    }
}
