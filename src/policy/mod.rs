//! Who may do what: levels, lines, the resolver of section 3 of the design, and the table of section 2.
//!
//! Pure: no input or output, no clock, no `libc`. Where a rule is decided: lines ([`mod@line`]) stand at places
//! ([`place`]) of a folder ([`folder`]); [`tree`] compiles what one [`subject`] may do in it, and a request walks
//! the tree by names; [`operation`] says what each system call needs; [`mod@explain`] resolves one path literally, and
//! tells why; [`denial`] says which right a refused request lacked. [`authority`] says who may change lines.

pub mod authority;
pub mod denial;
pub mod explain;
pub mod folder;
mod hints;
pub mod ids;
pub mod level;
pub mod line;
pub mod operation;
pub mod place;
pub mod protection;
pub mod snapshot;
pub mod subject;
pub mod tree;

pub use denial::{Cause, Which, cause};
pub use explain::{Decided, Explanation, Looked, Outcome, explain};
pub use folder::{FolderPolicy, Inheritance};
pub use hints::handle_tells_number;
pub use ids::{AccountId, FolderId, GroupId, LineId, PlaceId};
pub use level::{Level, LineLevel, Right, Rights, Standing};
pub use line::{Line, LineKind, Principal};
pub use operation::{Exemption, Operation, Refusal, judge};
pub use place::{PathError, Place, PlaceChange, PlaceKind, PlacePath, Places, Target, TargetId};
pub use protection::{
    Absences, CameBack, Did, Inode, Known, Ledger, Made, PatternError, Process, Protection, Renamed,
    ScratchMark, ScratchNames, Spot,
};
pub use snapshot::{Account, AccountKind, Snapshot, TopEntry, top_places};
pub use subject::Subject;
pub use tree::{Cursor, SubjectTree, Verdict};
