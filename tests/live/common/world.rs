//! A daemon of the test's own, its users' mounts, and the command line.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::users::{OLGA, User, Users};

/// A scratch directory with a running daemon. Ends the daemon and takes every mount down when dropped.
pub struct World {
    pub dir: PathBuf,
    daemon: Option<Child>,
    config: Option<PathBuf>,
    files: Option<u32>,
    kept: bool,
    variables: Vec<(String, OsString)>,
    _users: Users,
}

/// Names lines for the configuration of every daemon, before those of the test: `kernel.names = "off"` and
/// `kernel.passthrough = "off"` let all run as on an older kernel.
const EVERYWHERE: &str = "LENDFS_TEST_CONFIG";

/// Where the binary is for every user.
const BINARY: &str = "bin/lendfs";

impl World {
    /// Starts a daemon; `None` where nothing can be mounted and nobody demands it.
    pub fn new() -> Option<Self> {
        let mut world = Self::quiet()?;
        world.start();
        Some(world)
    }

    /// The scratch directory without a daemon yet.
    pub fn quiet() -> Option<Self> {
        if !can_mount() {
            assert!(
                std::env::var_os("LENDFS_TEST_MOUNTS").is_none_or(|value| value != "require"),
                "LENDFS_TEST_MOUNTS=require, but this is not root with /dev/fuse"
            );
            println!("SKIP: needs root and /dev/fuse");
            return None;
        }
        let users = Users::ensure();
        let dir = tempfile::Builder::new()
            .prefix("lendfs-test-")
            .tempdir()
            .unwrap()
            .keep();
        let world = Self {
            dir,
            daemon: None,
            config: None,
            files: None,
            kept: false,
            variables: Vec::new(),
            _users: users,
        };
        std::fs::set_permissions(&world.dir, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::create_dir(world.dir.join("bin")).unwrap();
        let binary = world.dir.join(BINARY);
        // Where the project lies, other users may have no way to.
        std::fs::copy(env!("CARGO_BIN_EXE_lendfs"), &binary).unwrap();
        std::fs::set_permissions(&binary, PermissionsExt::from_mode(0o755)).unwrap();
        let mut world = world;
        if std::env::var_os(EVERYWHERE).is_some() {
            world.configure("");
        }
        Some(world)
    }

    /// Sets the configuration file of the daemon that is started next.
    pub fn configure(&mut self, text: &str) {
        let path = self.dir.join("lendfs.toml");
        let everywhere = std::env::var(EVERYWHERE).unwrap_or_default();
        std::fs::write(&path, format!("{everywhere}\n{text}")).unwrap();
        self.config = Some(path);
    }

    /// Limits how many files the daemon that is started next may have open.
    pub fn limit_files(&mut self, files: u32) {
        self.files = Some(files);
    }

    /// Has the daemon that is started next kept by a keeper.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// The daemon itself, where a keeper keeps it; waits until there is one, and another than a former.
    pub fn kept_daemon(&self, former: Option<u32>) -> u32 {
        let keeper = self.pid();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let children = std::fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).unwrap();
            let child = children.split_whitespace().next().map(|pid| pid.parse().unwrap());
            if let Some(child) = child.filter(|child| Some(*child) != former) {
                return child;
            }
            assert!(
                Instant::now() < deadline,
                "no daemon is started again\n{}",
                self.logged()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Kills the daemon that a keeper keeps; tells which was started in its place.
    pub fn kill_kept(&self, signal: Signal) -> u32 {
        let former = self.kept_daemon(None);
        kill(Pid::from_raw(i32::try_from(former).unwrap()), signal).unwrap();
        self.kept_daemon(Some(former))
    }

    /// Sets a variable in the environment of the daemon that is started next.
    pub fn variable(&mut self, name: &str, value: impl Into<OsString>) {
        self.variables.push((name.into(), value.into()));
    }

    /// Starts the daemon.
    pub fn start(&mut self) {
        let mut child = self.daemon_command().stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        assert!(
            line.contains("ready"),
            "the daemon did not start: {line:?}\n{log}"
        );
        self.daemon = Some(child);
    }

    /// The command that runs a daemon; it ends with the test, however that ends.
    pub fn daemon_command(&self) -> Command {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .unwrap();
        let mut command = match self.files {
            None => Command::new("setpriv"),
            Some(files) => {
                let mut limited = Command::new("prlimit");
                limited.arg(format!("--nofile={files}:{files}")).arg("setpriv");
                limited
            }
        };
        command
            .args(["--pdeathsig", "TERM"])
            .arg(self.binary())
            .arg(if self.kept { "keeper" } else { "daemon" })
            .arg("--state-dir")
            .arg(self.state())
            .arg("--socket")
            .arg(self.socket())
            .stdin(Stdio::null())
            .stderr(log)
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        command
    }

    pub fn binary(&self) -> PathBuf {
        self.dir.join(BINARY)
    }

    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }

    fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().unwrap().id()
    }

    /// Sends the daemon a signal and waits for its end.
    pub fn end(&mut self, signal: Signal) {
        let Some(mut daemon) = self.daemon.take() else {
            return;
        };
        let pid = Pid::from_raw(i32::try_from(daemon.id()).unwrap());
        let _ = kill(pid, signal);
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if daemon.try_wait().unwrap().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = daemon.kill();
        let _ = daemon.wait();
        if !std::thread::panicking() {
            panic!("the daemon did not end");
        }
    }

    /// Runs the command line.
    pub fn lendfs(&self, user: User, line: &str) -> Output {
        self.lendfs_in(user, Path::new("/"), line)
    }

    /// Likewise, in a directory. Words may be quoted with `'`.
    pub fn lendfs_in(&self, user: User, directory: &Path, line: &str) -> Output {
        user.command(self.binary())
            .args(words(line))
            .env("LENDFS_SOCKET", self.socket())
            .env("NO_COLOR", "1")
            .current_dir(directory)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs a command that has to succeed; tells its output.
    #[track_caller]
    pub fn ok(&self, user: User, line: &str) -> String {
        let output = self.lendfs(user, line);
        assert!(
            output.status.success(),
            "{}: lendfs {line}: {}",
            user.name,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that has to be refused with one line; tells the line.
    #[track_caller]
    pub fn refused(&self, user: User, line: &str) -> String {
        let output = self.lendfs(user, line);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            output.status.code(),
            Some(1),
            "{}: lendfs {line}: {error}",
            user.name
        );
        assert_eq!(error.lines().count(), 1, "{error}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "");
        error
    }

    /// The answer as JSON.
    #[track_caller]
    pub fn json(&self, user: User, line: &str) -> serde_json::Value {
        serde_json::from_str(&self.ok(user, &format!("--json {line}"))).unwrap()
    }

    /// Mounts the folders of a user at a fresh directory of his.
    #[track_caller]
    pub fn mount(&self, user: User) -> PathBuf {
        self.mount_with(user, "")
    }

    /// Likewise, with options.
    #[track_caller]
    pub fn mount_with(&self, user: User, options: &str) -> PathBuf {
        let at = self.fresh(user);
        self.ok(user, &format!("mount {} {options}", at.display()));
        at
    }

    /// A fresh directory of a user's.
    pub fn fresh(&self, user: User) -> PathBuf {
        // Into a mount of his nobody else can look.
        let taken = super::names(&self.dir);
        let at = (1..)
            .map(|number| format!("{}-{number}", user.name))
            .find(|name| !taken.contains(name))
            .map(|name| self.dir.join(name))
            .unwrap();
        user.directory(&at);
        at
    }

    /// Creates a folder of Olga's and tells its backing directory.
    #[track_caller]
    pub fn folder(&self, name: &str) -> PathBuf {
        let before = self.folders();
        self.ok(OLGA, &format!("create {name}"));
        let mut new = self.folders();
        new.retain(|folder| !before.contains(folder));
        assert_eq!(new.len(), 1);
        new.remove(0)
    }

    fn folders(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.state().join("folders"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect()
    }

    /// Shares and, for an account, accepts.
    #[track_caller]
    pub fn share(&self, place: &str, with: User, level: &str) {
        self.ok(OLGA, &format!("share {place} --with {} --as {level}", with.name));
        self.ok(with, &format!("accept {}:{place}", OLGA.name));
    }

    /// Makes a rule of Olga's.
    #[track_caller]
    pub fn permit(&self, place: &str, principal: &str, level: &str) {
        self.ok(OLGA, &format!("permit {place} --for {principal} {level}"));
    }

    /// What the daemon logged.
    pub fn logged(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the daemon's log ---\n{}", self.logged());
        }
        self.end(Signal::SIGTERM);
        for mount in mounts_below(&self.dir) {
            let _ = nix::mount::umount2(&mount, nix::mount::MntFlags::MNT_DETACH);
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// What is mounted where; another test may have mounted something where the name is no text.
pub fn mount_table() -> String {
    String::from_utf8_lossy(&std::fs::read("/proc/self/mountinfo").unwrap()).into_owned()
}

/// What is mounted below a directory, the innermost first.
pub fn mounts_below(directory: &Path) -> Vec<PathBuf> {
    let mounts = std::fs::read("/proc/self/mountinfo").unwrap();
    let mut below: Vec<_> = mounts
        .split(|&byte| byte == b'\n')
        .filter_map(|line| line.split(|&byte| byte == b' ').nth(4))
        .map(lendfs::backing::unescape_mountinfo)
        .filter(|at| at.starts_with(directory))
        .collect();
    below.reverse();
    below
}

fn can_mount() -> bool {
    nix::unistd::geteuid().is_root()
        && std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .is_ok()
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}
