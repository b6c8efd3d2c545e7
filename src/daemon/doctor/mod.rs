//! doctor: what this machine offers and lacks, and how the daemon fares on it.
//!
//! What is asked of the core is taken under its lock; all that may take a while (a trial mount, the disk, the
//! operating system's users) is looked at after that. Users are told what concerns them.

mod backings;
mod machine;
mod mountinfo;
mod people;
mod privacy;
mod trial;

pub(super) use self::backings::of_stray;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::config::{Kernel, Use};
use super::core::{Caller, Core};
use super::error::Result;
use super::server::{Remains, Run};
use crate::backing;
use crate::control::answers::{Finding, Grade};
use crate::control::requests;
use crate::store::{AccountRow, AuditFilter, AuditKind, FolderRow};
use crate::vfs::Shared;

impl Run for requests::Doctor {
    fn run(self, _core: &mut Core, _caller: &Caller) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }

    fn remains(&self, core: &mut Core, caller: &Caller) -> Result<Option<Remains<Vec<Finding>>>> {
        core.look_after();
        let look = Look::new(core, caller)?;
        Ok(Some(Box::new(move |_, findings| *findings = look.findings())))
    }
}

/// What is looked at.
struct Look {
    /// Whether root asks: he is told everything.
    root: bool,
    state: PathBuf,
    shared: Arc<Shared>,
    kernel: Kernel,
    accounts: Vec<AccountRow>,
    /// Those that concern the caller.
    folders: Vec<Looked>,
    /// When the newest line of the audit was written, in milliseconds since 1970.
    newest: Option<i64>,
}

/// A folder that is looked at.
struct Looked {
    row: FolderRow,
    path: PathBuf,
    lost: bool,
}

impl Looked {
    fn name(&self) -> String {
        format!("{}:{}", self.row.owner_login, self.row.name)
    }
}

impl Look {
    fn new(core: &Core, caller: &Caller) -> Result<Self> {
        let root = caller.is_root() && caller.account.uid == 0;
        let folders = core.store.folders()?.into_iter();
        let folders = folders
            .filter(|folder| root || folder.owner == caller.account.id)
            .map(|row| Looked {
                path: core.backing_path(&row),
                lost: core.backings.get(&row.id).is_none_or(|backing| backing.is_lost()),
                row,
            });
        // Refusals are written down some time after.
        let newest = core.store.audit(&AuditFilter {
            kind: Some(AuditKind::Change),
            limit: 1,
            ..AuditFilter::default()
        })?;
        Ok(Self {
            root,
            state: core.state.clone(),
            shared: Arc::clone(&core.shared),
            kernel: core.config.kernel,
            accounts: core.store.accounts()?,
            folders: folders.collect(),
            newest: newest.last().map(|line| line.at),
        })
    }

    fn findings(&self) -> Vec<Finding> {
        let mut findings = machine::findings();
        findings.extend(machine::of_the_daemon());
        findings.extend(self.newest.map(machine::clock));
        findings.push(handles_of(&self.state));
        findings.extend(self.switched_off());
        if self.root {
            findings.extend(trial::findings(&self.state));
            findings.extend(backings::file_systems(&self.shared, &self.folders));
            findings.extend(people::frozen(&self.accounts));
        }
        findings.extend(backings::lost(&self.folders));
        findings.extend(backings::lines(&self.shared, &self.folders));
        findings.extend(privacy::findings(self));
        findings
    }

    fn switched_off(&self) -> impl Iterator<Item = Finding> {
        let switches = [
            ("kernel.passthrough", self.kernel.passthrough),
            ("kernel.names", self.kernel.names),
        ];
        switches
            .into_iter()
            .filter(|(_, used)| *used == Use::Off)
            .map(|(key, _)| {
                Finding::new(
                    Grade::Note,
                    "configuration",
                    format!("{key} is switched off"),
                    "take it out of the configuration unless this kernel does it wrong",
                )
            })
    }
}

/// What can be looked at where no daemon runs: by its own rights.
pub fn alone(state: &Path) -> Vec<Finding> {
    let mut findings = machine::findings();
    if !nix::unistd::geteuid().is_root() {
        findings.push(Finding::new(
            Grade::Note,
            "machine",
            "not all can be looked at",
            "ask as root, or when the daemon runs",
        ));
        return findings;
    }
    let scratch = if state.is_dir() {
        findings.push(handles_of(state));
        findings.extend(privacy::of_state(state));
        state.into()
    } else {
        findings.push(Finding::new(
            Grade::Note,
            "state",
            format!("there is no state directory {} yet", state.display()),
            "the daemon makes it when it starts; --state-dir names another one",
        ));
        std::env::temp_dir()
    };
    findings.extend(trial::findings(&scratch));
    findings
}

fn handles_of(state: &Path) -> Finding {
    let handle = backing::open_root(state).and_then(|state| backing::handle(&state));
    Finding::that(
        handle.is_ok_and(|handle| handle.is_some()),
        Grade::Warning,
        "handles",
        "the file system of the state directory has file handles",
        "put the state directory on ext4, xfs, btrfs or tmpfs: on others lines cannot follow what was renamed",
    )
}
