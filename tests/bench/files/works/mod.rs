//! The rows, and the work that is timed for them.

mod data;
mod edits;
mod names;
mod programs;
mod trees;

use std::io;
use std::process::{Command, Stdio};

use crate::row::Work;

pub(crate) use programs::git;

/// All work, in the order of the table.
pub(crate) fn works() -> impl Iterator<Item = &'static Work> {
    let all = [
        trees::FINDING,
        names::WORKS,
        edits::WORKS,
        trees::UNPACKING,
        programs::GIT,
        data::WORKS,
        programs::OTHERS,
    ];
    all.into_iter().flatten()
}

/// Runs a program that has to succeed.
fn succeed(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!(
        "{:?}: {}",
        command.get_program(),
        said.trim()
    )))
}
