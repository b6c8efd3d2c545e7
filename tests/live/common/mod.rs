//! What the tests on live mounts share.

#![allow(dead_code, reason = "each test program uses what it needs")]

pub mod hand;
pub mod users;
pub mod world;

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

pub use users::{BOB, CARA, DAN, OLGA, ROOT, STAFF, User};
pub use world::World;

/// The outcome of a system call: `ok`, or the name of the errno.
pub fn word<T>(outcome: Result<T, impl Into<io::Error>>) -> String {
    match outcome {
        Ok(_) => "ok".into(),
        Err(error) => {
            let error: io::Error = error.into();
            format!(
                "{:?}",
                nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(0))
            )
        }
    }
}

/// How long what happens behind the daemon's back may take to be seen on a machine that has much else to do; 50 ms
/// is what is promised of one that has not.
pub const SOON: Duration = Duration::from_secs(2);

/// Waits until an answer is as expected, for a change that was made behind the daemon's back.
#[track_caller]
pub fn soon<T: PartialEq<E> + std::fmt::Debug, E: std::fmt::Debug>(answer: impl FnMut() -> T, expected: E) {
    within(SOON, answer, expected);
}

/// Waits until an answer is as expected, which it has to be after that long.
#[track_caller]
pub fn within<T: PartialEq<E> + std::fmt::Debug, E: std::fmt::Debug>(
    patience: Duration, mut answer: impl FnMut() -> T, expected: E,
) {
    let deadline = Instant::now() + patience;
    loop {
        let told = answer();
        if told == expected {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{told:?} is told, and {expected:?} is not seen"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The names in a directory, sorted.
pub fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Makes files and directories (with a `/` at the end) below a backing directory, as their owner would.
pub fn plant(backing: &Path, entries: &[&str]) {
    for entry in entries {
        let path = backing.join(entry);
        let directory = entry.ends_with('/');
        let parent = if directory { &path } else { path.parent().unwrap() };
        std::fs::create_dir_all(parent).unwrap();
        if !directory {
            std::fs::write(&path, format!("content of {entry}\n")).unwrap();
        }
    }
    own(backing, OLGA);
}

fn own(path: &Path, user: User) {
    std::os::unix::fs::lchown(path, Some(user.uid), Some(user.gid)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        for entry in std::fs::read_dir(path).unwrap() {
            own(&entry.unwrap().path(), user);
        }
    }
}

/// Stops a process, and waits until it is: one thread after the other stops, and until then may answer.
pub fn stop(process: nix::unistd::Pid) {
    nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGSTOP).unwrap();
    within(Duration::from_secs(10), || is_stopped(process), true);
}

fn is_stopped(process: nix::unistd::Pid) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let mut states =
        threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap());
    states.all(|stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('T'))
    })
}
