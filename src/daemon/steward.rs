//! The daemon as the file system sees it.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};

use super::core::Core;
use crate::policy::{AccountId, FolderId, PlaceChange, PlaceId, Refusal};
use crate::store::By;
use crate::vfs::Steward;

/// Keeps what the file system reports. It is made before the [`Core`] that it works for, and told of it by
/// [`Registrar::serve`].
#[derive(Clone)]
pub(super) struct Registrar {
    core: Arc<RwLock<Weak<Mutex<Core>>>>,
    reports: Sender<Report>,
    pending: Arc<Mutex<Option<Receiver<Report>>>>,
}

enum Report {
    /// What became of the target of a line.
    Place(FolderId, PlaceId, PlaceChange),
    /// A folder's backing directory was removed.
    Lost,
}

impl Default for Registrar {
    fn default() -> Self {
        let (reports, pending) = channel();
        Self {
            core: Arc::default(),
            reports,
            pending: Arc::new(Mutex::new(Some(pending))),
        }
    }
}

impl Registrar {
    /// Starts to keep reports.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub(super) fn serve(&self, core: &Arc<Mutex<Core>>) -> io::Result<()> {
        *self.core.write() = Arc::downgrade(core);
        let Some(pending) = self.pending.lock().take() else {
            return Ok(());
        };
        let core = Arc::downgrade(core);
        std::thread::Builder::new().name("places".into()).spawn(move || {
            while let Ok(report) = pending.recv() {
                let Some(core) = core.upgrade() else { return };
                let mut core = core.lock();
                // What came meanwhile goes into the same round.
                let reports: Vec<_> = std::iter::once(report).chain(pending.try_iter()).collect();
                core.keep(&reports);
            }
        })?;
        Ok(())
    }
}

impl Core {
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
        // Without its receiver the daemon is about to end.
        let _ = self.reports.send(Report::Place(folder, place, change));
    }

    fn backing_lost(&self, folder: FolderId) {
        tracing::debug!(%folder, "the backing directory was removed");
        let _ = self.reports.send(Report::Lost);
    }
}
