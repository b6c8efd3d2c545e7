//! The daemon of the bench's own, and its folders.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};

use lendfs::backing;
use lendfs::control::Command;
use lendfs::control::answers::Said;
use lendfs::control::client::Client;
use lendfs::control::requests;
use lendfs::control::wire::{Bytes, PlaceRef};
use lendfs::policy::{LineKind, PlaceKind, PlacePath, Principal};
use lendfs::store::{Anchor, By, Store};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::Outcome;
use crate::columns::{User, WORK, note_server};
use crate::options::Options;

/// A running daemon; ends with the value.
pub(crate) struct Daemon {
    scratch: PathBuf,
    state: PathBuf,
    socket: PathBuf,
    /// The login name of who owns all folders.
    owner: String,
    child: Option<Child>,
}

impl Daemon {
    /// Starts one with its state and folders on the file system that is measured.
    pub(crate) fn start(options: &Options, name: &str) -> Outcome<Self> {
        let scratch = options.scratch.as_path();
        let mut daemon = Self {
            scratch: scratch.into(),
            state: scratch.join("backing").join(format!("{name}-state")),
            socket: scratch.join(format!("{name}-socket")),
            owner: format!("{}-owner", options.users),
            child: None,
        };
        daemon.begin()?;
        Ok(daemon)
    }

    pub(crate) fn begin(&mut self) -> Outcome<()> {
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.scratch.join("log"))?;
        let mut child = Process::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .arg(self.binary())
            .args(["daemon".as_ref(), "--state-dir".as_ref(), self.state.as_os_str()])
            .args(["--socket".as_ref(), self.socket.as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        note_server(&self.scratch, child.id())?;
        let output = child.stdout.take();
        self.child = Some(child);
        let mut line = String::new();
        if let Some(output) = output {
            BufReader::new(output).read_line(&mut line)?;
        }
        if line.contains("ready") {
            return Ok(());
        }
        let log = std::fs::read_to_string(self.scratch.join("log")).unwrap_or_default();
        Err(format!("the daemon does not start: {log}").into())
    }

    pub(crate) fn end(&mut self) -> Outcome<()> {
        if let Some(mut child) = self.child.take() {
            let pid = Pid::from_child(&child);
            kill_process(pid, Signal::TERM)?;
            child.wait()?;
        }
        Ok(())
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    fn binary(&self) -> PathBuf {
        self.scratch.join("bin/lendfs")
    }

    /// Runs the command line on someone's behalf; it has to succeed. Tells what it printed.
    pub(crate) fn run(&self, user: &str, arguments: &[&str]) -> Outcome<String> {
        let mut command = Process::new(self.binary());
        command.arg("--socket").arg(&self.socket);
        if user != "root" {
            command.args(["--user", user]);
        }
        let output = command.args(arguments).stdin(Stdio::null()).output()?;
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout)?);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("lendfs {}: {}", arguments.join(" "), said.trim()).into())
    }

    pub(crate) fn mount(&self, user: &User, at: &Path, options: &[&str]) -> Outcome<()> {
        let at = at.to_string_lossy();
        let mut arguments = vec!["mount", &at];
        arguments.extend(options);
        self.run(&user.name, &arguments)?;
        Ok(())
    }

    /// Mounts without starting the command line's program.
    pub(crate) fn mount_by_socket(&self, user: &User, at: &Path, read_only: bool) -> Outcome<()> {
        self.ask(
            &user.name,
            &requests::Mount {
                at: Bytes::from(at.as_os_str().to_owned()),
                read_only,
                ceiling: None,
                online: false,
                admit_all: false,
                default_permissions: false,
                own: None,
                strict: false,
            },
        )
    }

    /// Makes a rule of the owner's.
    pub(crate) fn permit(&self, folder: &str, path: &str, user: &User, level: &str) -> Outcome<()> {
        self.ask(
            &self.owner,
            &requests::Permit {
                place: place(folder, path),
                principal: user.name.clone(),
                level: level.into(),
                kill: false,
            },
        )
    }

    /// Takes it back.
    pub(crate) fn unpermit(&self, folder: &str, path: &str, user: &User) -> Outcome<()> {
        self.ask(
            &self.owner,
            &requests::Unpermit {
                place: place(folder, path),
                principal: user.name.clone(),
            },
        )
    }

    fn ask(&self, user: &str, request: &impl Command<Answer = Said>) -> Outcome<()> {
        let client = Client {
            socket: self.socket.clone(),
            user: Some(user.into()),
            patience: lendfs::control::client::PATIENCE,
        };
        client.call(request)?;
        Ok(())
    }

    /// Makes a managed folder of the owner's that a user has. Tells where it lies.
    pub(crate) fn folder(&self, name: &str, user: &User, level: &str) -> Outcome<PathBuf> {
        let owner = &self.owner;
        let before = self.folders()?;
        self.run(owner, &["create", name])?;
        self.run(owner, &["share", name, "--with", &user.name, "--as", level])?;
        self.run(&user.name, &["accept", &format!("{}:{name}", owner)])?;
        let mut new = self.folders()?;
        new.retain(|folder| !before.contains(folder));
        new.pop().ok_or_else(|| "the folder is not there".into())
    }

    fn folders(&self) -> Outcome<Vec<PathBuf>> {
        let folders = self.state.join("folders");
        if !folders.exists() {
            return Ok(Vec::new());
        }
        let entries = std::fs::read_dir(folders)?;
        Ok(entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?)
    }

    /// How often the daemon was asked for what, where it counts.
    pub(crate) fn requests(&self) -> Outcome<Vec<(String, u64)>> {
        let status: Value = serde_json::from_str(&self.run("root", &["status", "--json"])?)?;
        let Some(requests) = status["requests"].as_object() else {
            return Ok(Vec::new());
        };
        Ok(requests
            .iter()
            .filter_map(|(opcode, count)| Some((opcode.clone(), count.as_u64()?)))
            .collect())
    }

    /// Gives a user ten thousand rules in a folder, beside, above and below the work but not for it.
    pub(crate) fn add_rules(&mut self, folder: &Path, name: &str, user: &User) -> Outcome<()> {
        self.end()?;
        // One by one and synchronously, as the daemon writes them, they would take minutes: in memory it is seconds.
        let copy = self.scratch.join("store");
        std::fs::create_dir_all(&copy)?;
        for entry in std::fs::read_dir(&self.state)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                std::fs::copy(entry.path(), copy.join(entry.file_name()))?;
            }
        }
        write_rules(&copy, folder, name, user)?;
        for name in ["lendfs.db", "lendfs.db-wal", "lendfs.db-shm"] {
            let (from, to) = (copy.join(name), self.state.join(name));
            if from.exists() {
                std::fs::copy(from, to)?;
            } else if to.exists() {
                std::fs::remove_file(to)?;
            }
        }
        self.begin()?;
        let place = format!("{name}/{WORK}");
        let explained = self.run(&self.owner, &["--json", "explain", &place, "--for", &user.name])?;
        let explained: Value = serde_json::from_str(&explained)?;
        if explained["level"] == "full" {
            Ok(())
        } else {
            Err(format!("the rules change what holds for the work: {explained}").into())
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn place(folder: &str, path: &str) -> PlaceRef {
    PlaceRef::Named(Bytes(format!("{folder}/{path}").into_bytes()))
}

/// How many rules there are in the column of that name.
const RULES: usize = 10_000;

fn write_rules(state: &Path, folder: &Path, name: &str, user: &User) -> Outcome<()> {
    let mut store = Store::open(state)?;
    let account = store
        .account_by_login(&user.name)?
        .ok_or("the user has no account")?;
    let row = store.folders()?.into_iter().find(|folder| folder.name == name);
    let id = row.ok_or("the folder has no row")?.id;
    for (path, level) in rules() {
        let directory = folder.join(&path);
        user.directory(&directory)?;
        let anchor = Anchor {
            kind: PlaceKind::Directory,
            handle: backing::handle(File::open(&directory)?)?.map(|handle| handle.as_bytes().into()),
        };
        store.set_line(
            &By::daemon(),
            id,
            LineKind::Rule,
            Principal::Account(account.id),
            level.parse()?,
            (&PlacePath::parse(path.as_bytes())?, &anchor),
        )?;
    }
    Ok(())
}

/// Where rules stand, and their levels; nothing of it changes what holds for the work.
fn rules() -> impl Iterator<Item = (String, &'static str)> {
    const LEVELS: [&str; 4] = ["view", "edit", "locked", "invisible"];
    let area = WORK.split('/').next().unwrap_or_default();
    // The work's parent says what the share says; beside the work, and below that, it varies.
    let above = [(area.to_owned(), "full")];
    let beside = (0..2_000).map(move |number| (format!("{area}/beside-{number}"), LEVELS[number % 4]));
    let below =
        (0..2_000).map(move |number| (format!("{area}/beside-{number}/below"), LEVELS[number / 4 % 4]));
    let tops = (0..100).map(|number| (format!("other-{number}"), LEVELS[number % 4]));
    let deep = (0..).map(|number: usize| {
        (
            format!("other-{}/project/data-{number}", number % 100),
            LEVELS[number / 100 % 4],
        )
    });
    above
        .into_iter()
        .chain(beside)
        .chain(below)
        .chain(tops)
        .chain(deep)
        .take(RULES)
}
