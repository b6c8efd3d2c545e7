//! The daemon as the file system sees it.

use std::io;
use std::sync::{Arc, Weak};

use std::os::fd::BorrowedFd;

use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::{Notify, watch};

use super::audit::Refusals;
use super::core::Core;
use super::survive;
use crate::policy::{AccountId, FolderId, PlaceChange, PlaceId, Refusal};
use crate::store::By;
use crate::vfs::Steward;
use crate::vfs::refusals::Refused;

/// Keeps what the file system reports. It is made before the [`Core`] that it works for, and told of it by
/// [`Registrar::serve`].
#[derive(Clone, Default)]
pub(super) struct Registrar {
    core: Arc<RwLock<Weak<Mutex<Core>>>>,
    reports: Arc<Reports>,
    /// Wakes those who wait for refusals.
    pub(super) refused: Arc<Notify>,
    /// What was refused and is not in the audit yet.
    pub(super) refusals: Arc<Refusals>,
    /// Wakes those who wait for lines of the audit.
    pub(super) audited: watch::Sender<()>,
}

/// What was reported and is not in the store yet.
#[derive(Default)]
struct Reports {
    queue: Mutex<Vec<Report>>,
    filled: Condvar,
}

enum Report {
    /// What became of the target of a line.
    Place(FolderId, PlaceId, PlaceChange),
    /// A folder's backing directory was removed.
    Lost,
}

impl Registrar {
    /// Starts to keep reports.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub(super) fn serve(&self, core: &Arc<Mutex<Core>>) -> io::Result<()> {
        *self.core.write() = Arc::downgrade(core);
        let (core, reports) = (Arc::downgrade(core), Arc::clone(&self.reports));
        std::thread::Builder::new().name("places".into()).spawn(move || {
            loop {
                {
                    let mut queue = reports.queue.lock();
                    if queue.is_empty() {
                        reports.filled.wait(&mut queue);
                    }
                }
                let Some(core) = core.upgrade() else { return };
                core.lock().catch_up();
            }
        })?;
        Ok(())
    }

    /// The core that it works for, as long as that lives.
    pub(super) fn core(&self) -> Option<Arc<Mutex<Core>>> {
        self.core.read().upgrade()
    }

    fn report(&self, report: Report) {
        self.reports.queue.lock().push(report);
        self.reports.filled.notify_one();
    }
}

impl Core {
    /// Brings the store up to date with what the file system reported: before each command, which may name what was
    /// renamed a moment ago.
    pub(super) fn catch_up(&mut self) {
        let reports = std::mem::take(&mut *self.registrar.reports.queue.lock());
        if !reports.is_empty() {
            self.keep(&reports);
        }
    }

    fn keep(&mut self, reports: &[Report]) {
        if reports.iter().any(|report| matches!(report, Report::Lost)) {
            self.look_after();
        }
        for report in reports {
            let Report::Place(folder, place, change) = report else {
                continue;
            };
            tracing::info!(
                folder = folder.0,
                place = place.0,
                ?change,
                "what a line is tied to changed"
            );
            if let Err(error) = self.store.change_place(*place, change) {
                tracing::error!(%error, "cannot keep what became of a line's target");
            }
            if let Some(policy) = self.snapshot.folders.get(folder) {
                let changed = policy.with_changes(&[(*place, change.clone())]);
                self.snapshot.folders.insert(*folder, Arc::new(changed));
            }
        }
    }

    /// Renames a folder for its owner.
    fn rename_from_mount(&mut self, subject: AccountId, folder: FolderId, new: &str) -> Result<(), Refusal> {
        let folder = self
            .store
            .folder(folder)
            .ok()
            .flatten()
            .ok_or(Refusal::NotFound)?;
        let account = self
            .store
            .account(subject)
            .ok()
            .flatten()
            .ok_or(Refusal::NotFound)?;
        if folder.owner != subject || account.frozen {
            return Err(Refusal::NotPermitted);
        }
        let by = By {
            actor: account.login.clone(),
            account: account.login,
        };
        self.store
            .rename_folder(&by, &folder, new)
            .map_err(|_| Refusal::NotPermitted)?;
        self.store
            .load_folder(&mut self.snapshot, folder.id)
            .map_err(|_| Refusal::NotPermitted)?;
        self.publish().map_err(|_| Refusal::NotPermitted)
    }
}

impl Steward for Registrar {
    fn rename_folder(&self, subject: AccountId, folder: FolderId, new: &str) -> Result<(), Refusal> {
        let core = self.core.read().upgrade().ok_or(Refusal::NotPermitted)?;
        core.lock().rename_from_mount(subject, folder, new)
    }

    fn place_changed(&self, folder: FolderId, place: PlaceId, change: PlaceChange) {
        self.report(Report::Place(folder, place, change));
    }

    fn backing_lost(&self, folder: FolderId) {
        tracing::debug!(%folder, "the backing directory was removed");
        self.report(Report::Lost);
    }

    fn keep_file(&self, mount: u64, node: u64, fd: BorrowedFd<'_>) {
        survive::keep_file(mount, node, fd);
    }

    fn forget_file(&self, mount: u64, node: u64) {
        survive::forget_file(mount, node);
    }

    fn refused(&self, account: AccountId, refused: &Refused) {
        self.refusals.call(account, refused);
        self.refused.notify_waiters();
    }
}
