//! Who made a file.

use super::backing::Custody;
use super::error::Result;
use super::filesystem::{FileSystem, Seen};
use crate::backing;
use crate::policy::AccountId;

impl FileSystem {
    /// The account that made a file, as far as that is known: in a managed folder a file belongs to its maker.
    ///
    /// # Errors
    /// Those of `statx(2)`.
    pub(super) fn made_by(&self, seen: &Seen) -> Result<Option<AccountId>> {
        let Some(Custody::Managed) = seen.folder.backing.custody() else {
            return Ok(None);
        };
        let uid = backing::stat(&*self.fd(seen)?)?.uid;
        let snapshot = self.shared.snapshot();
        let mut accounts = snapshot.accounts.values();
        Ok(accounts
            .find(|account| account.uid == uid)
            .map(|account| account.id))
    }
}
