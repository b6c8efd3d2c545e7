//! The table of programs in README.md: real programs of the distribution, run by a real user on live mounts.
//!
//! A row is a program at its work; a column, a folder with a level. Each cell is decided by what the run leaves on
//! the disk, beside the same run in a bare directory. `LENDFS_WRITE_TABLE=1` writes the table anew. Programs that
//! are not installed are skipped, but with `LENDFS_TEST_PROGRAMS=require`, which scripts/test sets.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "tests have no callers, and end where something is not as they expect"
)]

#[allow(unused_imports, reason = "shared with the other tests on live mounts")]
#[path = "../live/common/mod.rs"]
mod common;

mod building;
mod databases;
mod documents;
mod editors;
mod files;
mod git;
mod judge;
mod python;
mod row;
mod sheet;
mod snapshot;
mod streams;
mod table;

/// Every row, in the order of the table.
fn rows() -> Vec<row::Row> {
    [
        editors::rows(),
        streams::rows(),
        git::rows(),
        databases::rows(),
        files::rows(),
        python::rows(),
        building::rows(),
        documents::rows(),
    ]
    .concat()
}

#[test]
fn the_readme_has_a_row_for_each_program_and_no_other() {
    table::has_exactly(&rows());
}
