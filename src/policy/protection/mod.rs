//! What `edit` protects: section 4 of the design. Names, not inodes: each file that was there stays in its
//! directory, or its name holds what replaced it; and yet programs save as they are used to.
//!
//! Pure. The [`Ledger`] is a state machine: it is told what programs made and renamed, and tells what may go
//! therefore. [`Absences`] are what is gone for one process alone until that makes it anew. [`ScratchNames`] are those under which programs keep what they remove again; [`Protection`] is what a
//! folder says of all this.

mod absent;
mod ledger;
mod scratch;

pub use absent::{Absences, CameBack};
pub use ledger::{Did, Inode, Known, Ledger, Made, Process, Renamed, Spot};
pub use scratch::{MarkError, PatternError, ScratchMark, ScratchNames};

/// How a folder protects its names under `edit`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Protection {
    /// Whether users may delete what they made (`own-files=removable`).
    pub own_files_removable: bool,
    /// Whether who unlinks a file may make it anew at once (`replace-by-unlink=on`).
    pub replace_by_unlink: bool,
    /// Under which names programs keep what they remove again.
    pub scratch: ScratchNames,
}
