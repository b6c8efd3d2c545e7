//! The rows, and the work that is timed for them.

mod names;

use crate::row::Work;

/// All work, in the order of the table.
pub(crate) fn works() -> impl Iterator<Item = &'static Work> {
    names::WORKS.iter()
}
