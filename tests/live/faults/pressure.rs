//! Too few files, clients that die, a daemon that is stopped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{lent, rules_hold};
use crate::common::world::mounts_below;
use crate::common::{BOB, CARA, OLGA, ROOT, World, names, plant, stop, within, word};

fn open_files(world: &World) -> usize {
    names(Path::new(&format!("/proc/{}/fd", world.pid()))).len()
}

#[test]
fn a_daemon_with_few_files_refuses_cleanly_and_recovers() {
    let Some(mut world) = World::quiet() else { return };
    world.limit_files(96);
    world.start();
    let (_, at) = lent(&world);
    let before = open_files(&world);
    // Mounts, until there is no room for more.
    let mut mounts: Vec<PathBuf> = Vec::new();
    let refused = loop {
        let fresh = world.fresh(CARA);
        let output = world.lendfs(CARA, &format!("mount {}", fresh.display()));
        if !output.status.success() {
            break String::from_utf8(output.stderr).unwrap();
        }
        mounts.push(fresh);
        assert!(mounts.len() < 96, "there is no end");
    };
    assert_eq!(refused.lines().count(), 1, "{refused}");
    assert!(refused.contains("files"), "{refused}");
    assert!(!mounts.is_empty());
    // Commands are answered all the same, each of them.
    for line in [
        "list",
        "status",
        "mounts",
        "permissions tests",
        "explain tests/file",
        "set tests",
        "why",
        "doctor",
    ] {
        let output = world.lendfs(OLGA, line);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code().is_some() && said.lines().count() <= 1,
            "{line}: {said}"
        );
        assert!(
            !said.contains("cannot be read") && !said.contains("not answered"),
            "{line}: {said}"
        );
    }
    world.ok(OLGA, "permit tests/file --for lft-bob view");
    BOB.run(|| {
        assert_eq!(word(File::options().append(true).open(at.join("file"))), "EACCES");
        let held: Vec<_> = (0..96).map_while(|_| File::open(at.join("file")).ok()).collect();
        assert!(held.len() < 96);
        let refused = word(File::open(at.join("file")));
        assert!(["ENFILE", "EMFILE"].contains(&&*refused), "{refused}");
    });
    rules_hold(&at);
    for at in mounts {
        world.ok(CARA, &format!("umount {}", at.display()));
    }
    let most = before + 32 + 8;
    within(Duration::from_secs(20), || open_files(&world).max(most), most);
    BOB.run(|| {
        within(
            Duration::from_secs(20),
            || word(File::open(at.join("file"))),
            "ok",
        )
    });
    world.mount(CARA);
    assert!(!world.logged().contains("panicked"), "{}", world.logged());
}

/// More who ask at once than the daemon may have files.
#[test]
fn more_commands_than_files_are_answered_one_after_the_other() {
    let Some(mut world) = World::quiet() else { return };
    world.limit_files(400);
    world.start();
    let (_, at) = lent(&world);
    let silent: Vec<_> = (0..200)
        .map_while(|_| std::os::unix::net::UnixStream::connect(world.socket()).ok())
        .collect();
    BOB.run(|| assert_eq!(word(std::fs::metadata(at.join("file"))), "ok"));
    drop(silent);
    within(
        Duration::from_secs(30),
        || world.lendfs(OLGA, "list").status.success(),
        true,
    );
    rules_hold(&at);
}

/// Writes and makes files until it is killed; what it has made is of one content each.
const WRITER: &str = "
import os, sys
at = sys.argv[1]
for number in range(10**9):
    path = f'{at}/{os.getpid()}-{number % 50}'
    temporary = path + '.new'
    fd = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    os.write(fd, b'x' * 100_000)
    os.write(fd, b'y' * 100_000)
    os.close(fd)
    os.rename(temporary, path)
    kept = [os.open(path, os.O_RDWR) for _ in range(5)]
    os.listdir(at)
    for fd in kept:
        os.close(fd)
";

fn writer(at: &Path) -> Child {
    let mut command = BOB.command("python3");
    command.args(["-I", "-S", "-c", WRITER]).arg(at);
    command
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .current_dir("/");
    command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn what_a_killed_client_had_open_goes_back() {
    let Some(world) = World::new() else { return };
    let (backing, at) = lent(&world);
    let work = backing.join("work");
    plant(&backing, &["work/"]);
    let at_work = at.join("work");
    BOB.run(|| names(&at_work));
    let before = open_files(&world);
    for round in 0..30_u64 {
        let mut clients: Vec<_> = (0..3).map(|_| writer(&at_work)).collect();
        let made = names(&work).len();
        within(Duration::from_secs(20), || names(&work).len() > made + 3, true);
        std::thread::sleep(Duration::from_millis(round % 7));
        for client in &mut clients {
            client.kill().unwrap();
        }
        for client in &mut clients {
            client.wait().unwrap();
        }
        if round % 10 == 0 {
            rules_hold(&at);
        }
    }
    // Nodes are known as long as the kernel likes. Of who asked lately a pidfd is kept, of 32 at most.
    drop_names();
    let most = before + 32 + 8;
    within(Duration::from_secs(30), || open_files(&world).max(most), most);
    let whole = [b"x".repeat(100_000), b"y".repeat(100_000)].concat();
    for name in names(&work) {
        let content = std::fs::read(work.join(&name)).unwrap();
        if name.ends_with(".new") {
            assert!(whole.starts_with(&content), "{name}");
        } else {
            assert!(content == whole, "{name}");
        }
    }
    let made = names(&work);
    BOB.run(|| assert_eq!(names(&at_work), made));
    world.ok(BOB, &format!("umount {}", at.parent().unwrap().display()));
    assert_eq!(mounts_below(&world.dir), Vec::<PathBuf>::new());
}

fn drop_names() {
    std::fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
}

#[test]
fn a_daemon_that_is_stopped_for_a_while_fails_no_request() {
    let Some(world) = World::new() else { return };
    let (_, at) = lent(&world);
    let daemon = Pid::from_raw(i32::try_from(world.pid()).unwrap());
    stop(daemon);
    let before = Instant::now();
    let works: Vec<_> = (0..8)
        .map(|number| {
            let at = at.clone();
            std::thread::spawn(move || {
                BOB.run(|| {
                    let path = at.join(format!("new-{number}"));
                    std::fs::write(&path, "written")?;
                    std::fs::read_to_string(&path)
                })
            })
        })
        .collect();
    let asked = std::thread::scope(|scope| {
        let patient = scope.spawn(|| world.lendfs(OLGA, "list"));
        let refused = world.refused(OLGA, "list --timeout 1");
        assert!(refused.contains("has not answered for 1 s"), "{refused}");
        std::thread::sleep(Duration::from_secs(3).saturating_sub(before.elapsed()));
        assert!(works.iter().all(|work| !work.is_finished()));
        assert!(!patient.is_finished());
        kill(daemon, Signal::SIGCONT).unwrap();
        patient.join().unwrap()
    });
    assert!(asked.status.success(), "{asked:?}");
    for work in works {
        assert_eq!(work.join().unwrap().unwrap(), "written");
    }
    rules_hold(&at);
    world.ok(ROOT, "status");
}
