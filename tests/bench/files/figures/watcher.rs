//! A process of the subject's that looks at what he sees: nobody else is let into his mounts.
//!
//! It is told a command a line on its input and answers each with a line.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Lines, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::Outcome;
use crate::columns::User;

/// The argument that makes this program a watcher.
pub(crate) const WORD: &str = "watch";

/// Runs as a watcher.
pub(crate) fn main() -> Outcome<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let mut held = None;
    for line in io::stdin().lines() {
        let line = line?;
        let (command, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let answer = match command {
            "stat" => fs::metadata(rest)?.len(),
            "walk" => walk(Path::new(rest))?,
            "hold" => held.insert(File::open(rest)?).metadata()?.len(),
            "held" => {
                let file = held.as_ref().ok_or("nothing is held")?;
                u64::from(is_writable(&file.metadata()?))
            }
            "writable" => {
                let (count, pattern) = rest.split_once(' ').ok_or("writable COUNT PATTERN")?;
                writable(count.parse()?, pattern)?
            }
            _ => return Err(format!("what is {command}?").into()),
        };
        println!("{answer}");
        io::stdout().flush()?;
    }
    Ok(())
}

/// Looks at everything below a directory; tells how much that is.
fn walk(directory: &Path) -> io::Result<u64> {
    let mut count = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        count += 1;
        if entry.metadata()?.is_dir() {
            count += walk(&entry.path())?;
        }
    }
    Ok(count)
}

fn is_writable(metadata: &fs::Metadata) -> bool {
    metadata.permissions().mode() & 0o200 != 0
}

/// How many of the files that a pattern names are shown as writable; `{}` stands for the number of each.
fn writable(count: usize, pattern: &str) -> io::Result<u64> {
    let mut writable = 0;
    for number in 0..count {
        let path = pattern.replace("{}", &format!("{number:03}"));
        writable += u64::from(is_writable(&fs::metadata(path)?));
    }
    Ok(writable)
}

/// A watcher that runs; ends with the value.
pub(super) struct Watcher {
    child: Child,
    commands: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Watcher {
    pub(super) fn start(scratch: &Path, user: &User) -> Outcome<Self> {
        let mut child = Command::new(scratch.join("bin/files"))
            .arg(WORD)
            .uid(user.uid)
            .gid(user.gid)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let answers = child.stdout.take().ok_or("the watcher has no pipes")?;
        Ok(Self {
            commands: child.stdin.take(),
            child,
            answers: BufReader::new(answers).lines(),
        })
    }

    /// Lets it do something, and waits for what it tells.
    pub(super) fn ask(&mut self, command: &str) -> Outcome<u64> {
        let commands = self.commands.as_mut().ok_or("the watcher has ended")?;
        commands.write_all(format!("{command}\n").as_bytes())?;
        let answer = self.answers.next().ok_or("the watcher ended")??;
        Ok(answer.parse()?)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.child.wait();
    }
}
