//! Where the work is done: the columns of the table.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use nix::mount::{MntFlags, umount2};

use crate::Outcome;
use crate::daemon::Daemon;

/// Where in a folder the work is done: not at its top, so that there is room for rules above and beside.
pub(crate) const WORK: &str = "area/work";

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
pub(crate) enum Column {
    Bare,
    Bindfs,
    Lendfs,
    Rules,
    Readonly,
    Edit,
}

impl Column {
    pub(crate) const ALL: [Self; 6] = [
        Self::Bare,
        Self::Bindfs,
        Self::Lendfs,
        Self::Rules,
        Self::Readonly,
        Self::Edit,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Bindfs => "bindfs",
            Self::Lendfs => "lendfs",
            Self::Rules => "rules",
            Self::Readonly => "readonly",
            Self::Edit => "edit",
        }
    }

    /// Whose work it is. Each mount of lendfs has another user's folders, so that none has to hear of the others.
    fn user(self) -> &'static str {
        match self {
            Self::Bare | Self::Bindfs | Self::Lendfs => "plain",
            Self::Rules => "rules",
            Self::Readonly => "reader",
            Self::Edit => "editor",
        }
    }

    pub(crate) fn is_lendfs(self) -> bool {
        !matches!(self, Self::Bare | Self::Bindfs)
    }
}

/// A user of the bench's own.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    pub(crate) fn find(prefix: &str, who: &str) -> Outcome<Self> {
        let name = format!("{prefix}-{who}");
        let user = nix::unistd::User::from_name(&name)?.ok_or_else(|| format!("there is no user {name}"))?;
        Ok(Self {
            name,
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        })
    }

    /// Makes a directory of his.
    pub(crate) fn directory(&self, path: &Path) -> Outcome<()> {
        std::fs::create_dir_all(path)?;
        Ok(chown(path, Some(self.uid), Some(self.gid))?)
    }
}

/// A column's directory, and what is mounted to reach it.
pub(crate) struct Place {
    pub(crate) column: Column,
    pub(crate) user: User,
    /// The directory of the work as the disk has it.
    pub(crate) backing: PathBuf,
    /// The same as the work sees it.
    pub(crate) work: PathBuf,
    at: PathBuf,
    source: PathBuf,
    bindfs: Option<Child>,
    mounted: bool,
}

impl Place {
    /// Makes the directory, and for lendfs the folder.
    pub(crate) fn make(column: Column, scratch: &Path, users: &str, daemon: &Daemon) -> Outcome<Self> {
        let user = User::find(users, column.user())?;
        let at = scratch.join("at").join(column.name());
        user.directory(&at)?;
        let (source, work) = if column.is_lendfs() {
            let level = if column == Column::Edit { "edit" } else { "full" };
            let folder = daemon.folder(column.name(), &user, level)?;
            (folder, at.join(column.name()).join(WORK))
        } else {
            let source = scratch.join("backing").join(column.name());
            user.directory(&source)?;
            let root = if column == Column::Bare { &source } else { &at };
            let work = root.join(WORK);
            (source, work)
        };
        let backing = source.join(WORK);
        user.directory(&source.join("area"))?;
        user.directory(&backing)?;
        Ok(Self {
            column,
            user,
            backing,
            work,
            at,
            source,
            bindfs: None,
            mounted: false,
        })
    }

    /// What the folder's owner calls it.
    pub(crate) fn folder(&self) -> String {
        self.column.name().into()
    }

    pub(crate) fn is_mounted(&self) -> bool {
        self.mounted
    }

    /// The root of the folder as the disk has it.
    pub(crate) fn source(&self) -> &Path {
        &self.source
    }

    pub(crate) fn mount(&mut self, scratch: &Path, daemon: &Daemon) -> Outcome<()> {
        match self.column {
            Column::Bare => return Ok(()),
            Column::Bindfs => self.bindfs = Some(bindfs(scratch, &self.source, &self.at)?),
            Column::Lendfs | Column::Rules | Column::Edit => daemon.mount(&self.user, &self.at, &[])?,
            Column::Readonly => daemon.mount(&self.user, &self.at, &["--read-only"])?,
        }
        self.mounted = true;
        Ok(())
    }

    /// Like [`Place::mount`], for lendfs, without another program.
    pub(crate) fn mount_by_socket(&mut self, daemon: &Daemon) -> Outcome<()> {
        daemon.mount_by_socket(&self.user, &self.at, self.column == Column::Readonly)?;
        self.mounted = true;
        Ok(())
    }

    pub(crate) fn unmount(&mut self, daemon: &Daemon) -> Outcome<()> {
        if !std::mem::take(&mut self.mounted) {
            return Ok(());
        }
        if self.column == Column::Bindfs {
            umount2(&self.at, MntFlags::empty())?;
            if let Some(mut bindfs) = self.bindfs.take() {
                bindfs.wait()?;
            }
            return Ok(());
        }
        daemon.run(&self.user.name, &["umount", &self.at.to_string_lossy()])?;
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.mounted && self.column == Column::Bindfs {
            let _ = umount2(&self.at, MntFlags::MNT_DETACH);
            if let Some(mut bindfs) = self.bindfs.take() {
                let _ = bindfs.wait();
            }
        }
    }
}

/// Mounts bindfs as root, as it is but for long time-outs of what it knows, and waits until it is there.
pub(crate) fn bindfs(scratch: &Path, source: &Path, at: &Path) -> Outcome<Child> {
    let device = std::fs::metadata(at)?.dev();
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "TERM", "bindfs", "-f"])
        .args(["-o", "attr_timeout=3600,entry_timeout=3600"])
        .args([source, at])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    note_server(scratch, child.id())?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::fs::metadata(at)?.dev() == device {
        if let Some(status) = child.try_wait()? {
            return Err(format!("bindfs ended: {status}").into());
        }
        if Instant::now() > deadline {
            child.kill()?;
            return Err("bindfs does not mount".into());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(child)
}

/// Tells `scripts/bench` whom to end should this program be killed.
pub(crate) fn note_server(scratch: &Path, pid: u32) -> Outcome<()> {
    use std::io::Write;
    let mut list = std::fs::File::options()
        .append(true)
        .create(true)
        .open(scratch.join("servers"))?;
    Ok(writeln!(list, "{pid}")?)
}
