//! What is done with open files, and locks.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use nix::fcntl::{FallocateFlags, FcntlArg, fallocate, fcntl};
use nix::unistd::Whence;

use crate::common::{BOB, CARA, OLGA, User, World, names, plant, word};

/// Two mounts of one folder, both for writing.
fn two_mounts() -> Option<(World, PathBuf, PathBuf, PathBuf)> {
    let world = World::new()?;
    let backing = world.folder("tests");
    plant(&backing, &["file"]);
    world.share("tests", BOB, "full");
    world.share("tests", CARA, "full");
    let (bob, cara) = (world.mount(BOB).join("tests"), world.mount(CARA).join("tests"));
    Some((world, backing, bob, cara))
}

fn open(path: &Path) -> File {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .unwrap()
}

fn posix(file: &File, kind: i32, start: i64, length: i64) -> String {
    let lock = flock(kind, start, length);
    word(fcntl(file, FcntlArg::F_SETLK(&lock)))
}

fn flock(kind: i32, start: i64, length: i64) -> nix::libc::flock {
    nix::libc::flock {
        l_type: kind as i16,
        l_whence: nix::libc::SEEK_SET as i16,
        l_start: start,
        l_len: length,
        l_pid: 0,
    }
}

/// `flock(1)` as a user, which says whether it got the lock.
fn flock_now(user: User, path: &Path) -> bool {
    user.command("flock")
        .args(["--nonblock"])
        .arg(path)
        .arg("true")
        .status()
        .unwrap()
        .success()
}

/// A process that holds a flock until it is dropped.
struct Holder(Child);

impl Holder {
    fn new(user: User, path: &Path) -> Self {
        let mut child = user
            .command("flock")
            .arg(path)
            .args(["sh", "-c", "echo held; read line"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut word = [0; 5];
        child.stdout.as_mut().unwrap().read_exact(&mut word).unwrap();
        assert_eq!(&word, b"held\n");
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn posix_locks_hold_between_two_mounts_and_the_native_path() {
    use nix::libc::{F_RDLCK, F_UNLCK, F_WRLCK};
    let Some((_world, backing, bob, cara)) = two_mounts() else {
        return;
    };
    // Each in a process of its own: threads of one process do not keep each other out.
    let holder = |user: User, path: &Path, range: &str| {
        let script = format!(
            "use Fcntl; open(my $f, '+<', $ARGV[0]) or die; my $l = pack('s s x4 q q i', F_WRLCK, 0, {range}, 0); \
             fcntl($f, F_SETLK, $l) or die; $| = 1; print \"held\\n\"; <STDIN>;"
        );
        let mut child = user
            .command("perl")
            .args(["-e", &script])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 5];
        child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
        Holder(child)
    };
    let bobs = holder(BOB, &bob.join("file"), "0, 10");
    let (there, native) = (CARA.run(|| open(&cara.join("file"))), open(&backing.join("file")));
    let try_there = |kind, start| CARA.run(|| posix(&there, kind, start, 5));
    assert_eq!(
        (
            try_there(F_WRLCK, 0),
            try_there(F_RDLCK, 5),
            try_there(F_WRLCK, 10)
        ),
        ("EAGAIN".into(), "EAGAIN".into(), "ok".into())
    );
    assert_eq!(posix(&native, F_WRLCK, 3, 1), "EAGAIN");
    assert_eq!(posix(&native, F_WRLCK, 12, 1), "EAGAIN", "which Cara holds");
    assert_eq!(posix(&native, F_WRLCK, 20, 1), "ok");
    let mut found = flock(F_WRLCK, 0, 0);
    CARA.run(|| fcntl(&there, FcntlArg::F_GETLK(&mut found)).unwrap());
    assert_eq!(
        (i32::from(found.l_type), found.l_start, found.l_len),
        (F_WRLCK, 0, 10)
    );
    drop(bobs);
    assert_eq!(
        (try_there(F_WRLCK, 0), posix(&native, F_WRLCK, 3, 1)),
        ("ok".into(), "EAGAIN".into())
    );
    assert_eq!(try_there(F_UNLCK, 0), "ok");
    assert_eq!(posix(&native, F_WRLCK, 3, 1), "ok");
}

/// Nobody is told of the closing, for there was no lock when the file was opened.
#[test]
fn a_lock_lasts_as_long_as_the_open_file_that_a_child_inherited() {
    use nix::libc::F_WRLCK;
    let Some((_world, _, bob, cara)) = two_mounts() else {
        return;
    };
    // An open file description lock (37 is F_OFD_SETLK): whoever has the description holds it.
    let script = "use Fcntl; open(my $f, '+<', $ARGV[0]) or die; \
         my $l = pack('s s x4 q q i', F_WRLCK, 0, 0, 10, 0); fcntl($f, 37, $l) or die; \
         if (fork() == 0) { <STDIN>; } else { $| = 1; print \"held\\n\"; <STDIN>; }";
    let mut parent = BOB
        .command("perl")
        .args(["-e", script])
        .arg(bob.join("file"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 5];
    parent.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    let there = CARA.run(|| open(&cara.join("file")));
    let try_there = || CARA.run(|| posix(&there, F_WRLCK, 5, 1));
    assert_eq!(try_there(), "EAGAIN", "the parent holds it");
    // The child waits on until the other end of its standard input is closed.
    let stdin = parent.stdin.take();
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert_eq!(try_there(), "EAGAIN", "the child has it still");
    drop(stdin);
    crate::common::soon(try_there, "ok");
}

#[test]
fn flocks_hold_between_mounts_and_end_with_their_holder() {
    let Some((_world, _, bob, cara)) = two_mounts() else {
        return;
    };
    let (one, other) = (bob.join("file"), cara.join("file"));
    let held = Holder::new(BOB, &one);
    assert!(!flock_now(CARA, &other) && !flock_now(BOB, &one));
    drop(held);
    assert!(flock_now(CARA, &other) && flock_now(BOB, &one));
}

#[test]
fn who_waits_for_a_lock_gets_it_and_a_killed_waiter_is_gone() {
    let Some((_world, _, bob, cara)) = two_mounts() else {
        return;
    };
    let held = Holder::new(BOB, &bob.join("file"));
    let wait = |user: User, path: PathBuf| {
        user.command("flock")
            .arg(path)
            .args(["echo", "got it"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut killed = wait(CARA, cara.join("file"));
    let waiting = wait(CARA, cara.join("file"));
    // They have asked when the kernel has them waiting for the file system's answer.
    for child in [&killed, &waiting] {
        await_sleep(child);
    }
    killed.kill().unwrap();
    assert!(!killed.wait().unwrap().success());
    drop(held);
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "got it\n");
    assert!(flock_now(BOB, &bob.join("file")));
}

fn await_sleep(child: &Child) {
    let syscall = format!("/proc/{}/syscall", child.id());
    let flock = nix::libc::SYS_flock.to_string();
    while !std::fs::read_to_string(&syscall).is_ok_and(|line| line.split(' ').next() == Some(&flock)) {
        std::thread::yield_now();
    }
}

#[test]
fn a_lock_needs_the_right_that_it_takes_from_others() {
    use nix::libc::{F_RDLCK, F_WRLCK};
    let Some((world, ..)) = two_mounts() else { return };
    // Where data bypasses the daemon, the open file would be cut whole.
    let bob = world.mount_with(BOB, "--strict").join("tests");
    let file = BOB.run(|| open(&bob.join("file")));
    world.ok(OLGA, &format!("share tests --with {} --as view", BOB.name));
    let answers = BOB.run(|| (posix(&file, F_WRLCK, 0, 1), posix(&file, F_RDLCK, 0, 1)));
    assert_eq!(answers, ("EACCES".into(), "ok".into()));
}

#[test]
fn two_mounts_append_to_one_file_without_loss() {
    let Some((_world, backing, bob, cara)) = two_mounts() else {
        return;
    };
    std::thread::scope(|scope| {
        for (user, at, letter) in [(BOB, &bob, "b"), (CARA, &cara, "c")] {
            scope.spawn(move || {
                user.run(|| {
                    let mut file = File::options()
                        .append(true)
                        .create(true)
                        .open(at.join("log"))
                        .unwrap();
                    let line = format!("{}\n", letter.repeat(60));
                    for _ in 0..200 {
                        file.write_all(line.as_bytes()).unwrap();
                    }
                });
            });
        }
    });
    let log = std::fs::read_to_string(backing.join("log")).unwrap();
    assert_eq!(log.lines().count(), 400);
    let broken: Vec<_> = log
        .lines()
        .enumerate()
        .filter(|(_, line)| line.len() != 60 || line.chars().any(|c| !line.starts_with(c)))
        .take(6)
        .collect();
    assert!(broken.is_empty(), "{broken:?}");
}

#[test]
fn holes_ranges_and_large_files_are_as_on_the_backing() {
    let Some((_world, backing, bob, _)) = two_mounts() else {
        return;
    };
    BOB.run(|| {
        let mut file = open(&bob.join("large"));
        file.write_all_at(b"end", 5 << 30).unwrap();
        file.write_all_at(&vec![7; 3 << 20], 1 << 20).unwrap();
        assert_eq!(file.metadata().unwrap().len(), (5 << 30) + 3);
        let seek = |from, whence| nix::unistd::lseek(&file, from, whence).unwrap();
        assert_eq!(seek(0, Whence::SeekData), 1 << 20);
        assert_eq!(seek(1 << 20, Whence::SeekHole), 4 << 20);
        assert_eq!(
            word(nix::unistd::lseek(&file, 6 << 30, Whence::SeekData)),
            "ENXIO"
        );
        let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        fallocate(&file, punch, 2 << 20, 1 << 20).unwrap();
        let mut block = [1; 4096];
        file.read_exact_at(&mut block, 2 << 20).unwrap();
        assert_eq!(block, [0; 4096]);
        let copy = open(&bob.join("copy"));
        file.seek(SeekFrom::Start(1 << 20)).unwrap();
        let (mut from, mut into) = ((1 << 20) as u64, 0);
        let copied =
            rustix::fs::copy_file_range(&file, Some(&mut from), &copy, Some(&mut into), 1 << 20).unwrap();
        assert_eq!(copied, 1 << 20);
        file.sync_all().unwrap();
        copy.sync_data().unwrap();
        File::open(&bob).unwrap().sync_all().unwrap();
    });
    assert_eq!(std::fs::read(backing.join("copy")).unwrap(), vec![7; 1 << 20]);
    use std::os::unix::fs::MetadataExt;
    assert!(
        backing.join("large").metadata().unwrap().blocks() < 3 * 2048 + 64,
        "its holes are holes"
    );
}

#[test]
fn a_file_without_a_name_lives_as_long_as_it_is_open() {
    let Some((_world, backing, bob, _)) = two_mounts() else {
        return;
    };
    BOB.run(|| {
        let mut file = open(&bob.join("file"));
        std::fs::remove_file(bob.join("file")).unwrap();
        file.write_all_at(b"still here", 0).unwrap();
        assert_eq!(
            word(file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))),
            "ok"
        );
        assert_eq!(word(file.set_len(5)), "ok");
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "still");
        // And is opened anew through its descriptor.
        let again = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()));
        assert_eq!(word(again), "ok");
        std::fs::write(bob.join("file"), "another").unwrap();
        file.rewind().unwrap();
        text.clear();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "still");
    });
    assert_eq!(std::fs::read_to_string(backing.join("file")).unwrap(), "another");
}

#[test]
fn names_are_whatever_the_backing_allows() {
    use std::os::unix::ffi::OsStrExt;
    let Some((_world, backing, bob, _)) = two_mounts() else {
        return;
    };
    let odd = [
        &b"\xff\xfe not utf-8"[..],
        b"new\nline",
        b" ",
        b"-rf",
        b"\\",
        &[b'x'; 255],
    ];
    BOB.run(|| {
        for name in odd {
            let path = bob.join(std::ffi::OsStr::from_bytes(name));
            std::fs::write(&path, name).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), name);
        }
        let long = bob.join("x".repeat(256));
        assert_eq!(word(std::fs::write(&long, "")), "ENAMETOOLONG");
        assert_eq!(word(long.symlink_metadata()), "ENAMETOOLONG");
        assert_eq!(
            word(
                bob.join("a\0b")
                    .symlink_metadata()
                    .map_err(|_| std::io::Error::from_raw_os_error(22))
            ),
            "EINVAL"
        );
        assert_eq!(std::fs::read_dir(&bob).unwrap().count(), odd.len() + 1);
    });
    assert_eq!(std::fs::read_dir(&backing).unwrap().count(), odd.len() + 1);
    // Out of a folder leads no name: `..` is the kernel's, and stays in the mount.
    let above = BOB.run(|| names(&bob.join("..")));
    assert_eq!(above, ["tests"]);
}

#[test]
fn a_directory_of_many_names_is_listed_whole_while_it_changes() {
    let Some((_world, backing, bob, _)) = two_mounts() else {
        return;
    };
    for number in 0..3000 {
        File::create(backing.join(format!("{number:05}"))).unwrap();
    }
    BOB.run(|| {
        let mut seen = std::collections::HashSet::new();
        for (index, entry) in std::fs::read_dir(&bob).unwrap().enumerate() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(seen.insert(name.clone()), "{name} twice");
            if index % 100 == 0 {
                std::fs::write(bob.join(format!("new-{index}")), "").unwrap();
                let _ = std::fs::remove_file(bob.join(&name));
            }
        }
        assert!(
            (0..3000)
                .filter(|number| seen.contains(&format!("{number:05}")))
                .count()
                >= 2970
        );
    });
}

#[test]
fn inode_numbers_are_the_same_after_all_was_forgotten_and_after_a_restart() {
    use std::os::unix::fs::MetadataExt;
    let Some((mut world, _, bob, _)) = two_mounts() else {
        return;
    };
    let at = bob.clone();
    let number = move || {
        BOB.run(|| {
            (
                at.join("file").metadata().unwrap().ino(),
                at.metadata().unwrap().ino(),
            )
        })
    };
    let before = number();
    std::fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
    assert_eq!(number(), before);
    world.end(nix::sys::signal::Signal::SIGTERM);
    world.start();
    let at = bob.parent().unwrap();
    world.ok(BOB, &format!("mount {}", at.display()));
    assert_eq!(number(), before);
}
