//! What a row is: a value.

use std::io;

use crate::inputs::Input;
use crate::worker::Steps;

/// A line of the table.
pub(crate) struct Row {
    /// What it is called for on the command line.
    pub(crate) name: &'static str,
    /// What it says in the table.
    pub(crate) title: &'static str,
    /// What one operation is.
    pub(crate) per: &'static str,
    /// How many times as long as in the bare directory it may take.
    pub(crate) aim: Option<f64>,
    /// Likewise in a read-only mount.
    pub(crate) aim_read_only: Option<f64>,
}

/// Work that is timed for one row, or for some that follow from each other.
pub(crate) struct Work {
    pub(crate) rows: &'static [Row],
    /// What lies in the directory beforehand.
    pub(crate) inputs: &'static [Input],
    /// Whether it changes nothing, so that a read-only mount can do it.
    pub(crate) reads_only: bool,
    /// Whether it removes nothing, so that who has the folder as `edit` can do it.
    pub(crate) edits: bool,
    /// Whether each round begins with a new mount.
    pub(crate) fresh: bool,
    /// Does it, as the user, in the directory.
    pub(crate) run: fn(&mut Steps) -> io::Result<()>,
}

/// How large the inputs are, and how often things are done.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    /// Whether it is the small one.
    pub(crate) quick: bool,
    /// Files in the tree that is found, packed, unpacked and removed.
    pub(crate) tree: usize,
    /// Files in the git repository.
    pub(crate) repository: usize,
    /// Files that are compiled.
    pub(crate) sources: usize,
    /// MiB of the file that is read and written in sequence.
    pub(crate) large: usize,
    /// How often each of 1,000 files is opened.
    pub(crate) opens: usize,
    /// How many files are made, saved or removed one by one.
    pub(crate) files: usize,
    /// How many blocks are read or written at random.
    pub(crate) blocks: usize,
    /// How many transactions the database commits.
    pub(crate) transactions: usize,
    /// How many names a mount has looked at when the policy changes.
    pub(crate) names: usize,
    /// How many mounts are up at once.
    pub(crate) mounts: usize,
}

impl Scale {
    pub(crate) fn new(quick: bool) -> Self {
        if quick {
            Self {
                quick,
                tree: 4_000,
                repository: 2_000,
                sources: 40,
                large: 128,
                opens: 2,
                files: 1_000,
                blocks: 10_000,
                transactions: 100,
                names: 10_000,
                mounts: 100,
            }
        } else {
            Self {
                quick,
                tree: 20_000,
                repository: 10_000,
                sources: 200,
                large: 256,
                opens: 10,
                files: 4_000,
                blocks: 40_000,
                transactions: 400,
                names: 100_000,
                mounts: 1_000,
            }
        }
    }
}
