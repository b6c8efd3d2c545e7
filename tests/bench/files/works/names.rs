//! System calls on names: stat, open, create, rename, unlink.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::inputs::{Input, file_of_tree};
use crate::row::{Row, Work};
use crate::worker::Steps;

pub(super) const WORKS: &[Work] = &[
    Work {
        rows: &[Row {
            name: "stat",
            title: "stat of a known path",
            per: "call",
            aim: Some(1.2),
            aim_read_only: None,
        }],
        inputs: &[Input::Tree],
        reads_only: true,
        edits: false,
        fresh: false,
        run: stat,
    },
    Work {
        rows: &[Row {
            name: "stat-missing",
            title: "stat of a missing path, repeated",
            per: "call",
            aim: Some(1.2),
            aim_read_only: None,
        }],
        inputs: &[Input::Tree],
        reads_only: true,
        edits: false,
        fresh: false,
        run: stat_missing,
    },
    Work {
        rows: &[Row {
            name: "open-read",
            title: "open, read 4 KiB, close",
            per: "file",
            aim: Some(9.0),
            aim_read_only: Some(1.5),
        }],
        inputs: &[Input::Tree],
        reads_only: true,
        edits: false,
        fresh: false,
        run: open_read,
    },
    Work {
        rows: &[Row {
            name: "open-close",
            title: "open, close",
            per: "file",
            aim: Some(14.0),
            aim_read_only: None,
        }],
        inputs: &[Input::Tree],
        reads_only: true,
        edits: false,
        fresh: false,
        run: open_close,
    },
    Work {
        rows: &[Row {
            name: "save",
            title: "atomic save (create, write, rename over)",
            per: "file",
            aim: Some(3.9),
            aim_read_only: None,
        }],
        inputs: &[],
        reads_only: false,
        edits: false,
        fresh: false,
        run: save,
    },
    Work {
        rows: &[Row {
            name: "create-unlink",
            title: "create, unlink",
            per: "file",
            aim: Some(7.0),
            aim_read_only: None,
        }],
        inputs: &[],
        reads_only: false,
        edits: false,
        fresh: false,
        run: create_unlink,
    },
];

/// How many files are taken in turn.
const FILES: usize = 1_000;

/// Every path in turn, so that no work is about one file alone.
fn paths() -> Vec<PathBuf> {
    (0..FILES).map(file_of_tree).collect()
}

fn stat(steps: &mut Steps) -> io::Result<()> {
    let paths = paths();
    let all = || paths.iter().try_for_each(|path| fs::metadata(path).map(drop));
    all()?;
    // It is quick: more of it is needed for a figure.
    let turns = steps.scale.opens * 2;
    steps.time("stat", turns * FILES, || (0..turns).try_for_each(|_| all()))
}

fn stat_missing(steps: &mut Steps) -> io::Result<()> {
    let paths: Vec<PathBuf> = paths()
        .iter()
        .map(|path| path.with_extension("missing"))
        .collect();
    let all = || {
        for path in &paths {
            match fs::metadata(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
            }
        }
        Ok(())
    };
    all()?;
    let turns = steps.scale.opens * 2;
    steps.time("stat-missing", turns * FILES, || {
        (0..turns).try_for_each(|_| all())
    })
}

fn open_read(steps: &mut Steps) -> io::Result<()> {
    let paths = paths();
    let mut block = [0; 4096];
    let mut all = || {
        paths
            .iter()
            .try_for_each(|path| File::open(path)?.read_exact_at(&mut block, 0))
    };
    all()?;
    let turns = steps.scale.opens;
    steps.time("open-read", turns * FILES, || (0..turns).try_for_each(|_| all()))
}

fn open_close(steps: &mut Steps) -> io::Result<()> {
    let paths = paths();
    let all = || paths.iter().try_for_each(|path| File::open(path).map(drop));
    all()?;
    let turns = steps.scale.opens;
    steps.time("open-close", turns * FILES, || (0..turns).try_for_each(|_| all()))
}

fn save(steps: &mut Steps) -> io::Result<()> {
    /// How many documents are saved in turn.
    const DOCUMENTS: usize = 100;
    fs::create_dir("documents")?;
    let content = [b'x'; 4096];
    let save = |number: usize| {
        let (path, scratch) = (
            format!("documents/{}", number % DOCUMENTS),
            format!("documents/.{number}.tmp"),
        );
        File::create_new(&scratch)?.write_all(&content)?;
        fs::rename(&scratch, &path)
    };
    (0..DOCUMENTS).try_for_each(save)?;
    let files = steps.scale.files;
    steps.time("save", files, || (0..files).try_for_each(save))?;
    fs::remove_dir_all("documents")
}

fn create_unlink(steps: &mut Steps) -> io::Result<()> {
    fs::create_dir("made")?;
    let make = |number: usize| {
        let path = format!("made/{number}");
        File::create_new(&path)?;
        fs::remove_file(path)
    };
    (0..100).try_for_each(make)?;
    let files = steps.scale.files;
    steps.time("create-unlink", files, || (0..files).try_for_each(make))?;
    fs::remove_dir("made")
}
