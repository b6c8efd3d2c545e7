//! What lies in a directory before work is done there: made once, natively, and copied to every column.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;
use crate::columns::Place;
use crate::row::Scale;

/// How many files of the tree lie in a directory.
const FILES_IN_A_DIRECTORY: usize = 100;

/// How long a file of the tree is, in bytes.
const FILE: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// `tree`: directories of small files.
    Tree,
}

impl Input {
    const ALL: [Self; 1] = [Self::Tree];

    fn name(self) -> &'static str {
        match self {
            Self::Tree => "tree",
        }
    }

    fn make(self, at: &Path, scale: Scale) -> Outcome<()> {
        match self {
            Self::Tree => tree(at, scale.tree),
        }
    }
}

/// Makes inputs in every place.
pub(crate) fn make(wanted: &[Input], places: &[Place], scratch: &Path, scale: Scale) -> Outcome<()> {
    let originals = scratch.join("inputs");
    fs::create_dir_all(&originals)?;
    for input in Input::ALL.into_iter().filter(|input| wanted.contains(input)) {
        let original = originals.join(input.name());
        input.make(&original, scale)?;
        for place in places {
            let copy = place.backing.join(input.name());
            run(Command::new("cp").arg("-a").args([&original, &copy]))?;
            let owner = format!("{}:{}", place.user.uid, place.user.gid);
            run(Command::new("chown").arg("-R").arg(owner).arg(copy))?;
        }
    }
    Ok(())
}

/// The path of a file of the tree.
pub(crate) fn file_of_tree(number: usize) -> PathBuf {
    format!(
        "tree/d{:03}/f{:02}",
        number / FILES_IN_A_DIRECTORY,
        number % FILES_IN_A_DIRECTORY
    )
    .into()
}

fn tree(at: &Path, files: usize) -> Outcome<()> {
    let content = vec![b'x'; FILE];
    let above = at.parent().ok_or("the tree has no parent")?;
    for number in 0..files {
        let path = above.join(file_of_tree(number));
        if number % FILES_IN_A_DIRECTORY == 0
            && let Some(directory) = path.parent()
        {
            fs::create_dir_all(directory)?;
        }
        fs::write(path, &content)?;
    }
    Ok(())
}

/// Runs a program that has to succeed.
pub(crate) fn run(command: &mut Command) -> Outcome<()> {
    let output = command.stdin(std::process::Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{:?}: {}", command.get_program(), said.trim()).into())
}
