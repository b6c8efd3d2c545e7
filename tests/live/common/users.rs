//! Real users of the operating system, and threads that are one of them.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// A user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    pub name: &'static str,
    pub uid: u32,
    pub gid: u32,
    /// Whether he is in the operating system's group [`STAFF`].
    pub staff: bool,
}

/// The operating system's group of the tests.
pub const STAFF: &str = "lft-staff";
const STAFF_GID: u32 = 47_800;

const fn user(name: &'static str, id: u32, staff: bool) -> User {
    User {
        name,
        uid: id,
        gid: id,
        staff,
    }
}

/// Owns the folders.
pub const OLGA: User = user("lft-olga", 47_801, false);
/// Is lent folders.
pub const BOB: User = user("lft-bob", 47_802, true);
/// Likewise.
pub const CARA: User = user("lft-cara", 47_803, true);
/// Likewise, in no group.
pub const DAN: User = user("lft-dan", 47_804, false);
/// Administers.
pub const ROOT: User = user("root", 0, false);

const ALL: [User; 4] = [OLGA, BOB, CARA, DAN];

/// Keeps the users there while tests need them; the last one that lets go removes them.
pub struct Users {
    lock: Option<Flock<File>>,
}

impl Users {
    pub fn ensure() -> Self {
        loop {
            // Those who find the users there do not wait for each other.
            let lock = Flock::lock(lock_file(), FlockArg::LockShared).unwrap();
            if ALL.iter().all(|user| known(user.name, "passwd")) {
                return Self { lock: Some(lock) };
            }
            drop(lock);
            // Not to wait: who has made them meanwhile lets them be shared for as long as a test lasts.
            match Flock::lock(lock_file(), FlockArg::LockExclusiveNonblock) {
                Ok(_alone) => make_users(),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

fn make_users() {
    let _no_other = change_users();
    if !known(STAFF, "group") {
        must("groupadd", &["--gid", &STAFF_GID.to_string(), STAFF]);
    }
    for user in ALL {
        if known(user.name, "passwd") {
            continue;
        }
        let id = user.uid.to_string();
        if !known(user.name, "group") {
            must("groupadd", &["--gid", &id, user.name]);
        }
        let mut arguments = vec!["--no-create-home", "--no-log-init", "--shell", "/bin/sh"];
        arguments.extend(["--home-dir", "/nonexistent", "--uid", &id, "--gid", &id]);
        if user.staff {
            arguments.extend(["--groups", STAFF]);
        }
        arguments.push(user.name);
        must("useradd", &arguments);
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        let Some(lock) = self.lock.take() else { return };
        // Another test still needs them.
        if lock.relock(FlockArg::LockExclusiveNonblock).is_err() {
            return;
        }
        let _no_other = change_users();
        for user in ALL {
            remove_user(user);
        }
        // Whoever still has a process stays, and whoever stays is a member.
        if !ALL.iter().any(|user| known(user.name, "passwd")) {
            let _ = run("groupdel", &[STAFF]);
        }
    }
}

/// Removes a user as soon as no process of his is left: `userdel` refuses before, and one that was told to end may take
/// its time to be gone.
fn remove_user(user: User) {
    let patience = Instant::now() + Duration::from_secs(30);
    loop {
        let output = run("userdel", &[user.name]);
        if !known(user.name, "passwd") {
            break;
        }
        if Instant::now() > patience {
            eprintln!("{} stays: {}", user.name, String::from_utf8_lossy(&output.stderr));
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = run("groupdel", &[user.name]);
}

/// Lets no other test change the operating system's users meanwhile.
pub fn change_users() -> Flock<File> {
    Flock::lock(open_lock("/run/lendfs-tests.useradd"), FlockArg::LockExclusive).unwrap()
}

fn lock_file() -> File {
    open_lock("/run/lendfs-tests.users")
}

fn open_lock(path: &str) -> File {
    File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .unwrap()
}

fn known(name: &str, database: &str) -> bool {
    run("getent", &[database, name]).status.success()
}

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Runs an administrator's command that has to succeed.
pub fn must(program: &str, arguments: &[&str]) {
    let output = run(program, arguments);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

impl User {
    /// Runs system calls as this user, in a thread of its own.
    pub fn run<T: Send>(self, calls: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    self.become_him();
                    calls()
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A thread of this user that stays, with a working directory of its own.
    pub fn stay(self) -> Session {
        let (calls, work) = channel::<Box<dyn FnOnce() + Send>>();
        let thread = std::thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).unwrap();
            self.become_him();
            while let Ok(call) = work.recv() {
                call();
            }
        });
        Session {
            calls: Some(calls),
            thread: Some(thread),
        }
    }

    /// A command run as this user, with his groups.
    pub fn command(self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        if self.uid == 0 {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command
            .args([
                "--reuid",
                self.name,
                "--regid",
                &self.gid.to_string(),
                "--init-groups",
            ])
            .arg(program.as_ref());
        command
    }

    fn become_him(self) {
        use rustix::process::{Gid, Uid};
        if self.uid == 0 {
            return;
        }
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let groups = if self.staff {
            vec![Gid::from_raw(STAFF_GID)]
        } else {
            vec![]
        };
        set_thread_groups(&groups).unwrap();
        set_thread_res_gid(gid, gid, gid).unwrap();
        set_thread_res_uid(uid, uid, uid).unwrap();
    }

    /// Makes a directory that belongs to him.
    pub fn directory(self, path: &Path) {
        std::fs::create_dir_all(path).unwrap();
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid)).unwrap();
    }
}

/// See [`User::stay`].
pub struct Session {
    calls: Option<Sender<Box<dyn FnOnce() + Send>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Session {
    pub fn run<T: Send + 'static>(&self, calls: impl FnOnce() -> T + Send + 'static) -> T {
        let (answer, wait) = channel();
        let call = Box::new(move || {
            let _ = answer.send(calls());
        });
        self.calls.as_ref().unwrap().send(call).unwrap();
        wait.recv().expect("the calls of the session panicked")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.calls.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
