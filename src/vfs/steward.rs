//! What the file system asks of the daemon around it.

use super::refusals::Refused;
use std::os::fd::BorrowedFd;

use crate::policy::{AccountId, FolderId, PlaceChange, PlaceId, Refusal};

/// The daemon, as the file system sees it.
///
/// All but [`Steward::rename_folder`] only queue and return at once.
pub trait Steward: Send + Sync + 'static {
    /// Renames a folder for its owner: `mv` in the top directory of a mount. May wait for the store.
    ///
    /// # Errors
    /// What the caller is refused with.
    fn rename_folder(
        &self, subject: AccountId, folder: FolderId, new: &str,
    ) -> std::result::Result<(), Refusal>;

    /// Keeps what became of the target of a line, in order that a restart knows it.
    fn place_changed(&self, folder: FolderId, place: PlaceId, change: PlaceChange);

    /// Notes that a folder's backing directory was removed.
    fn backing_lost(&self, folder: FolderId);

    /// Has an open file of a mount kept for the next daemon, by the numbers of the mount and the node.
    fn keep_file(&self, mount: u64, node: u64, fd: BorrowedFd<'_>) {
        let _ = (mount, node, fd);
    }

    /// Has it let go.
    fn forget_file(&self, mount: u64, node: u64) {
        let _ = (mount, node);
    }

    /// Notes that something was refused to an account, or befell it: whoever waits for that may look.
    fn refused(&self, account: AccountId, refused: &Refused) {
        let _ = (account, refused);
    }
}
