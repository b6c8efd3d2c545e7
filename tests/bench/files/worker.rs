//! The process that does the work, and how it is waited for. It is another process, for it is a normal user's.
//!
//! The two speak in lines: the worker says `ready ROW` before each stretch that is timed, is answered `go`, and says
//! `took ROW OPERATIONS NANOSECONDS` after it.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::columns::Place;
use crate::row::Scale;
use crate::works::works;

/// The argument that makes this program a worker.
pub(crate) const WORD: &str = "work";

/// What a stretch took.
pub(crate) struct Took {
    pub(crate) row: String,
    pub(crate) operations: u64,
    pub(crate) time: Duration,
}

/// What work is given.
pub(crate) struct Steps {
    pub(crate) scale: Scale,
    /// Where what is given to all lies: archives, tools.
    pub(crate) scratch: PathBuf,
}

impl Steps {
    /// Times a stretch of some operations for a row.
    pub(crate) fn time(
        &mut self, row: &str, operations: usize, work: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        println!("ready {row}");
        io::stdout().flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        if answer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let start = Instant::now();
        work()?;
        let took = start.elapsed();
        println!("took {row} {operations} {}", took.as_nanos());
        io::stdout().flush()
    }
}

/// Runs as a worker: `SCRATCH DIRECTORY WORK QUICK`.
pub(crate) fn main(arguments: &[String]) -> Outcome<()> {
    // A work that was given up must not go on in a directory that is taken away.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let [scratch, directory, work, quick] = arguments else {
        return Err("a worker is started by the bench alone".into());
    };
    let mut steps = Steps {
        scale: Scale::new(quick == "quick"),
        scratch: scratch.into(),
    };
    std::env::set_current_dir(directory).map_err(|error| format!("{directory}: {error}"))?;
    let number: usize = work.parse()?;
    let work = works().nth(number).ok_or("no such work")?;
    (work.run)(&mut steps).map_err(|error| format!("{}: {error}", work.rows[0].name).into())
}

/// Does a work in a place, as its user. `before` and `after` are called around each stretch.
pub(crate) fn run(
    number: usize, place: &Place, scratch: &std::path::Path, scale: Scale,
    mut before: impl FnMut() -> Outcome<()>, mut after: impl FnMut(Took) -> Outcome<()>,
) -> Outcome<()> {
    let mut child = Command::new(scratch.join("bin/files"))
        .arg(WORD)
        .arg(scratch)
        .arg(&place.work)
        .arg(number.to_string())
        .arg(if scale.quick { "quick" } else { "full" })
        .uid(place.user.uid)
        .gid(place.user.gid)
        .env("HOME", scratch)
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (Some(mut commands), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("the worker has no pipes".into());
    };
    for line in BufReader::new(answers).lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["ready", _] => {
                before()?;
                commands.write_all(b"go\n")?;
            }
            ["took", row, operations, time] => after(Took {
                row: row.into(),
                operations: operations.parse()?,
                time: Duration::from_nanos(time.parse()?),
            })?,
            _ => return Err(format!("the worker says {line}").into()),
        }
    }
    if child.wait()?.success() {
        Ok(())
    } else {
        Err(format!("work in the column {} failed", place.column.name()).into())
    }
}
