//! statfs.

use crate::backing::{self, StatFs};
use crate::policy::Operation;
use crate::vfs::error::Result;
use crate::vfs::filesystem::{FileSystem, Target};
use crate::vfs::ids::Ino;

impl FileSystem {
    /// The room on the file system of the folder asked about; the top directory has none of its own.
    ///
    /// # Errors
    /// Those of `statfs(2)`.
    pub fn statfs(&self, ino: Ino) -> Result<StatFs> {
        self.with_view(|view| {
            let Target::Entry(seen) = self.target(view, ino)? else {
                self.authorize(&Operation::Top)?;
                return Ok(StatFs {
                    block_size: 4096,
                    name_length: 255,
                    ..StatFs::default()
                });
            };
            self.authorize(&Operation::Look(seen.verdict))?;
            Ok(backing::statfs(&self.fd(&seen)?)?)
        })
    }
}
