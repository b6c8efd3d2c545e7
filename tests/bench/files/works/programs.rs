//! Programs that people run all day: git, a compiler, a database.

use std::fs;
use std::io::{self, Write};
use std::process::{Command, Stdio};

use super::succeed;
use crate::inputs::Input;
use crate::row::{Row, Work};
use crate::worker::Steps;

pub(super) const GIT: &[Work] = &[
    Work {
        rows: &[Row {
            name: "git-status",
            title: "git status, warm",
            per: "run",
            aim: Some(1.2),
            aim_read_only: None,
        }],
        inputs: &[Input::Repository],
        reads_only: true,
        edits: false,
        fresh: false,
        run: git_status,
    },
    Work {
        rows: &[Row {
            name: "git-clone",
            title: "git clone --local",
            per: "run",
            aim: Some(7.0),
            aim_read_only: None,
        }],
        inputs: &[Input::Repository],
        reads_only: false,
        edits: false,
        fresh: false,
        run: git_clone,
    },
];

pub(super) const OTHERS: &[Work] = &[
    Work {
        rows: &[Row {
            name: "compile",
            title: "compile small C files, make -j2",
            per: "run",
            aim: Some(1.05),
            aim_read_only: None,
        }],
        inputs: &[Input::Sources],
        reads_only: false,
        edits: false,
        fresh: false,
        run: compile,
    },
    Work {
        rows: &[Row {
            name: "sqlite-journal",
            title: "sqlite, rollback journal",
            per: "commit",
            aim: Some(1.8),
            aim_read_only: None,
        }],
        inputs: &[],
        reads_only: false,
        edits: false,
        fresh: false,
        run: sqlite_journal,
    },
    Work {
        rows: &[Row {
            name: "sqlite-wal",
            title: "sqlite, WAL",
            per: "commit",
            aim: Some(1.15),
            aim_read_only: None,
        }],
        inputs: &[],
        reads_only: false,
        edits: false,
        fresh: false,
        run: sqlite_wal,
    },
];

/// git, without what the machine or a user sets. Times tell it whether a file is as it was, so that an index is good
/// in every column though inode numbers differ.
pub(crate) fn git() -> Command {
    let mut command = Command::new("git");
    command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    let settings = [
        ("safe.directory", "*"),
        ("core.checkStat", "minimal"),
        ("core.trustctime", "false"),
        ("core.fsync", "none"),
        ("gc.auto", "0"),
        ("user.name", "Bench"),
        ("user.email", "bench@example.com"),
        ("init.defaultBranch", "main"),
    ];
    command.env("GIT_CONFIG_COUNT", settings.len().to_string());
    for (number, (key, value)) in settings.into_iter().enumerate() {
        command
            .env(format!("GIT_CONFIG_KEY_{number}"), key)
            .env(format!("GIT_CONFIG_VALUE_{number}"), value);
    }
    command
}

fn git_status(steps: &mut Steps) -> io::Result<()> {
    const TURNS: usize = 3;
    let status = || succeed(git().args(["-C", "repository", "status", "--porcelain"]));
    status()?;
    steps.time("git-status", TURNS, || (0..TURNS).try_for_each(|_| status()))
}

fn git_clone(steps: &mut Steps) -> io::Result<()> {
    steps.time("git-clone", 1, || {
        succeed(git().args(["clone", "--quiet", "--local", "repository", "clone"]))
    })?;
    fs::remove_dir_all("clone")
}

fn compile(steps: &mut Steps) -> io::Result<()> {
    let make = |goal: &str| succeed(Command::new("make").args(["-s", "-j2", "-C", "sources", goal]));
    make("clean")?;
    steps.time("compile", 1, || make("all"))
}

fn sqlite_journal(steps: &mut Steps) -> io::Result<()> {
    let commits = steps.scale.transactions;
    sqlite(steps, "sqlite-journal", "delete", "full", commits)
}

fn sqlite_wal(steps: &mut Steps) -> io::Result<()> {
    // It is quick: more of it is needed for a figure.
    let commits = steps.scale.transactions * 10;
    sqlite(steps, "sqlite-wal", "wal", "normal", commits)
}

/// Commits one row after the other into a table with an index.
fn sqlite(steps: &mut Steps, row: &str, journal: &str, synchronous: &str, commits: usize) -> io::Result<()> {
    let settings = format!("PRAGMA journal_mode={journal};\nPRAGMA synchronous={synchronous};\n");
    let table =
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT);\nCREATE INDEX texts ON notes (text);\n";
    fs::create_dir("database")?;
    statements(&format!("{settings}{table}"))?;
    let inserts: String = (0..commits)
        .map(|number| {
            format!(
                "INSERT INTO notes (text) VALUES ('{:08x} of some length, as notes have');\n",
                number * 2_654_435_761
            )
        })
        .collect();
    let script = format!("{settings}{inserts}");
    steps.time(row, commits, || statements(&script))?;
    fs::remove_dir_all("database")
}

fn statements(script: &str) -> io::Result<()> {
    let mut child = Command::new("sqlite3")
        .args(["-batch", "-bail", "database/notes.db"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(script.as_bytes())?;
    }
    let status = child.wait()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("sqlite3: {status}")))
    }
}
