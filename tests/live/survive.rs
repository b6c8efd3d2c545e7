//! Mounts outlive the daemon: what a program had before the daemon ended it has after another has taken the mount over.
//! The crowd that works meanwhile has a test of its own (`tests/survive`).

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::hand::Hand;
use crate::common::world::mounts_below;
use crate::common::{BOB, CARA, OLGA, ROOT, World, names, plant, soon, within, word};

/// A kept daemon with a folder `tests` that Bob has at a level: the world, the backing and his mount.
fn kept(level: &str, entries: &[&str]) -> Option<(World, PathBuf, PathBuf)> {
    let mut world = World::quiet()?;
    world.keep();
    world.start();
    let backing = world.folder("tests");
    plant(&backing, entries);
    world.share("tests", BOB, level);
    let mount = world.mount(BOB);
    Some((world, backing, mount))
}

/// Waits until the daemon that was started last has taken over so many times.
fn has_taken_over(world: &World, times: usize) {
    within(
        std::time::Duration::from_secs(20),
        || world.logged().matches("took over the mounts").count(),
        times,
    );
}

/// Waits until commands are answered.
fn is_served(world: &World) {
    let served = || world.lendfs(ROOT, "status").status.success();
    within(std::time::Duration::from_secs(20), served, true);
}

#[test]
fn what_is_open_goes_on_and_what_was_seen_is_the_same() {
    let Some((world, _, mount)) = kept("full", &["file", "d/e/f"]) else {
        return;
    };
    let session = BOB.stay();
    let inside = mount.join("tests/d");
    let (mut open, before) = session.run(move || {
        std::env::set_current_dir(&inside).unwrap();
        let mut open = File::options().read(true).append(true).open("e/f").unwrap();
        open.write_all(b"before ").unwrap();
        (open, std::fs::metadata("e").unwrap())
    });
    world.kill_kept(Signal::SIGKILL);
    open.write_all(b"after").unwrap();
    open.seek(SeekFrom::Start(0)).unwrap();
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("before after"), "{text}");
    session.run(move || {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(names(Path::new(".")), ["e"]);
        assert_eq!(std::fs::metadata("e").unwrap().ino(), before.ino());
        std::fs::write("new", "x").unwrap();
        std::fs::rename("new", "e/newer").unwrap();
    });
    is_served(&world);
    assert_eq!(world.json(BOB, "mounts").as_array().unwrap().len(), 1);
}

#[test]
fn rules_hold_in_a_mount_that_was_taken_over_and_are_taken_back_from_it() {
    let Some((world, _, mount)) = kept("edit", &["file", "secret/x"]) else {
        return;
    };
    world.permit("tests/secret", BOB.name, "invisible");
    let tests = mount.join("tests");
    let mut hand = Hand::new(BOB);
    hand.must(&format!("f = os.open('{}/file', os.O_RDWR)", tests.display()));
    world.kill_kept(Signal::SIGKILL);
    BOB.run(|| {
        assert_eq!(word(std::fs::remove_file(tests.join("file"))), "EPERM");
        assert_eq!(word(tests.join("secret").metadata()), "ENOENT");
        assert_eq!(names(&tests), ["file"]);
    });
    assert_eq!(hand.does("os.pwrite(f, b'x', 0)"), "1");
    is_served(&world);
    world.permit("tests/file", BOB.name, "view");
    assert_eq!(
        hand.does("os.pwrite(f, b'x', 0)"),
        "EIO",
        "it was open past the daemon"
    );
    world.ok(OLGA, &format!("unshare tests --with {}", BOB.name));
    BOB.run(|| assert_eq!(word(tests.metadata()), "ENOENT"));
}

#[test]
fn locks_hold_over_the_end_of_the_daemon() {
    let Some((world, backing, mount)) = kept("full", &["file"]) else {
        return;
    };
    world.share("tests", CARA, "full");
    let other = world.mount(CARA);
    let open = |user, mount: &Path| {
        let mut hand = Hand::new(user);
        let path = mount.join("tests/file");
        hand.must(&format!("f = open('{}', 'r+b', buffering=0)", path.display()));
        hand
    };
    let (mut bob, mut cara) = (open(BOB, &mount), open(CARA, &other));
    bob.must("fcntl.lockf(f, fcntl.LOCK_EX, 10, 5)");
    bob.must("fcntl.lockf(f, fcntl.LOCK_UN, 2, 7)");
    world.kill_kept(Signal::SIGKILL);
    assert_eq!(
        cara.does("fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 6)"),
        "EAGAIN"
    );
    cara.must("fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 2, 7)");
    let mut native = Hand::new(ROOT);
    native.must(&format!("f = open('{}/file', 'r+b')", backing.display()));
    assert_eq!(
        native.does("fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 6)"),
        "EAGAIN"
    );
    // Who waits is asked again, and has it when it is free.
    cara.begin("fcntl.lockf(f, fcntl.LOCK_EX, 1, 6)");
    world.kill_kept(Signal::SIGKILL);
    bob.must("f.close()");
    assert_eq!(cara.end(), "ok");
}

#[test]
fn what_a_process_made_under_edit_is_its_own_over_the_end_of_the_daemon() {
    let Some((world, _, mount)) = kept("edit", &["doc", "other"]) else {
        return;
    };
    let mut hand = Hand::new(BOB);
    hand.must(&format!("os.chdir('{}/tests')", mount.display()));
    hand.must("os.close(os.open('lock', os.O_CREAT | os.O_EXCL | os.O_WRONLY))");
    hand.must("os.mkdir('temporary')");
    hand.must("os.rename('doc', 'doc~')");
    world.kill_kept(Signal::SIGKILL);
    hand.must("os.unlink('lock')");
    hand.must("os.rmdir('temporary')");
    hand.must("os.close(os.open('doc', os.O_CREAT | os.O_EXCL | os.O_WRONLY))");
    world.kill_kept(Signal::SIGKILL);
    hand.must("os.unlink('doc~')");
    assert_eq!(hand.does("os.unlink('doc')"), "EPERM", "it holds what was there");
    assert_eq!(hand.does("os.unlink('other')"), "EPERM");
    let mut second = Hand::new(BOB);
    hand.must("os.close(os.open('lock', os.O_CREAT | os.O_EXCL | os.O_WRONLY))");
    world.kill_kept(Signal::SIGKILL);
    let unlink = format!("os.unlink('{}/tests/lock')", mount.display());
    assert_eq!(second.does(&unlink), "EPERM", "another process made it");
}

#[test]
fn two_mounts_of_a_folder_see_each_other_s_changes_after_it() {
    let Some((world, backing, mount)) = kept("full", &["file"]) else {
        return;
    };
    world.share("tests", CARA, "full");
    let other = world.mount(CARA);
    let (bob, cara) = (mount.join("tests"), other.join("tests"));
    CARA.run(|| assert_eq!(word(cara.join("new").metadata()), "ENOENT"));
    BOB.run(|| assert_eq!(word(bob.join("native").metadata()), "ENOENT"));
    let daemon = world.kept_daemon(None);
    kill(Pid::from_raw(daemon.cast_signed()), Signal::SIGSTOP).unwrap();
    // What others do while nobody can say so.
    std::fs::write(backing.join("native"), "x").unwrap();
    world.kill_kept(Signal::SIGKILL);
    has_taken_over(&world, 1);
    BOB.run(|| {
        soon(|| word(bob.join("native").metadata()), "ok");
        std::fs::write(bob.join("new"), "12345").unwrap();
    });
    CARA.run(|| {
        assert_eq!(cara.join("new").metadata().unwrap().len(), 5);
        assert_eq!(names(&cara), ["file", "native", "new"]);
    });
}

#[test]
fn a_restart_for_another_program_leaves_mounts_and_the_end_of_the_keeper_takes_them_down() {
    let Some((mut world, _, mount)) = kept("full", &["file"]) else {
        return;
    };
    let former = world.kept_daemon(None);
    kill(Pid::from_raw(world.pid().cast_signed()), Signal::SIGHUP).unwrap();
    assert_ne!(world.kept_daemon(Some(former)), former);
    BOB.run(|| assert_eq!(names(&mount.join("tests")), ["file"]));
    has_taken_over(&world, 1);
    world.end(Signal::SIGTERM);
    assert_eq!(mounts_below(&world.dir), Vec::<PathBuf>::new());
    assert!(!world.socket().exists());
}

#[test]
fn a_mount_that_was_taken_down_meanwhile_is_not_taken_over() {
    let Some((world, _, mount)) = kept("full", &["file"]) else {
        return;
    };
    let daemon = world.kept_daemon(None);
    kill(Pid::from_raw(daemon.cast_signed()), Signal::SIGSTOP).unwrap();
    nix::mount::umount2(&mount, nix::mount::MntFlags::MNT_DETACH).unwrap();
    world.kill_kept(Signal::SIGKILL);
    is_served(&world);
    assert_eq!(world.json(BOB, "mounts"), serde_json::json!([]));
    world.ok(BOB, &format!("mount {}", mount.display()));
    world.kill_kept(Signal::SIGKILL);
    BOB.run(|| assert_eq!(names(&mount.join("tests")), ["file"]));
}

#[test]
fn many_mounts_are_taken_over_at_once_read_only_and_strict_ones_too() {
    let Some((world, _, first)) = kept("full", &["file"]) else {
        return;
    };
    let mut mounts = vec![first];
    for options in ["--read-only", "--strict", "--ceiling view", "", ""] {
        mounts.push(world.mount_with(BOB, options));
    }
    let open: Vec<_> = BOB.run(|| {
        let each = mounts
            .iter()
            .map(|mount| File::open(mount.join("tests/file")).unwrap());
        each.collect()
    });
    for _ in 0..3 {
        world.kill_kept(Signal::SIGKILL);
    }
    for (mount, mut file) in mounts.iter().zip(open) {
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert!(!text.is_empty());
        BOB.run(|| assert_eq!(names(&mount.join("tests")), ["file"]));
    }
    let write = |mount: &Path| BOB.run(|| word(std::fs::write(mount.join("tests/new"), "")));
    let written: Vec<_> = mounts.iter().map(|mount| write(mount)).collect();
    assert_eq!(written, ["ok", "EROFS", "ok", "EACCES", "ok", "ok"]);
    is_served(&world);
    assert_eq!(world.json(BOB, "mounts").as_array().unwrap().len(), 6);
}

#[test]
fn what_is_open_and_has_no_name_any_more_is_kept_where_nothing_bypasses_the_daemon() {
    let Some((world, _, _)) = kept("full", &["file"]) else {
        return;
    };
    let mount = world.mount_with(BOB, "--strict");
    let mut hand = Hand::new(BOB);
    hand.must(&format!(
        "f = open('{}/tests/temporary', 'x+b', buffering=0)",
        mount.display()
    ));
    hand.must("os.unlink(f.name)");
    assert_eq!(hand.does("f.write(b'text')"), "4");
    world.kill_kept(Signal::SIGKILL);
    assert_eq!(hand.does("os.pread(f.fileno(), 9, 0).decode()"), "text");
    assert_eq!(hand.does("os.fstat(f.fileno()).st_size"), "4");
    hand.must("os.ftruncate(f.fileno(), 2)");
    world.kill_kept(Signal::SIGKILL);
    assert_eq!(hand.does("os.pread(f.fileno(), 9, 0).decode()"), "te");
}

#[test]
fn a_mount_whose_journal_cannot_be_read_is_made_anew() {
    use std::os::unix::fs::FileExt;
    let Some((world, _, mount)) = kept("view", &["file"]) else {
        return;
    };
    let open = BOB.run(|| File::open(mount.join("tests/file")).unwrap());
    let journal = || {
        let kept = std::fs::read_dir(format!("/proc/{}/fd", world.pid())).unwrap();
        let mut kept = kept.map(|entry| entry.unwrap().path());
        kept.find(|path| {
            std::fs::read_link(path).is_ok_and(|to| to.to_string_lossy().contains("memfd:lendfs"))
        })
    };
    soon(|| journal().is_some(), true);
    let daemon = world.kept_daemon(None);
    kill(Pid::from_raw(daemon.cast_signed()), Signal::SIGSTOP).unwrap();
    // The second word is the form.
    let journal = File::options().write(true).open(journal().unwrap()).unwrap();
    journal.write_all_at(&99_u64.to_ne_bytes(), 8).unwrap();
    world.kill_kept(Signal::SIGKILL);
    soon(|| world.logged().contains("cannot be taken over"), true);
    is_served(&world);
    assert_eq!(world.json(BOB, "mounts").as_array().unwrap().len(), 1);
    BOB.run(|| {
        assert_eq!(names(&mount.join("tests")), ["file"]);
        assert_eq!(word(std::fs::write(mount.join("tests/file"), "")), "EACCES");
    });
    assert_eq!(mounts_below(&world.dir).len(), 1);
    assert_eq!(BOB.run(|| word(open.metadata())), "ENOTCONN");
}

#[test]
fn nobody_but_the_daemon_tells_the_keeper_anything() {
    let Some((world, _, mount)) = kept("full", &["file"]) else {
        return;
    };
    let keeper = world.pid();
    let sockets: Vec<_> = std::fs::read_dir(format!("/proc/{keeper}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|to| {
            Some(
                to.to_str()?
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .to_owned(),
            )
        })
        .collect();
    let all = std::fs::read_to_string("/proc/net/unix").unwrap();
    let names = all.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let name = words.get(7)?.strip_prefix('@')?;
        sockets
            .iter()
            .any(|inode| inode == words[6])
            .then(|| name.to_owned())
    });
    let names: Vec<_> = names.collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let mut hand = Hand::new(CARA);
    hand.must("s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)");
    hand.must(&format!("s.connect('\\x00{}')", names[0]));
    hand.must("import array; fds = array.array('i', [os.open('/dev/null', 0) for _ in range(200)])");
    for _ in 0..3 {
        hand.does("s.sendmsg([b'FDSTOREREMOVE=1'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])");
    }
    for text in ["READY=1", "FDSTOREREMOVE=1\\nFDNAME=device-1", "x"] {
        hand.does(&format!("s.send(b'{text}')"));
    }
    world.kill_kept(Signal::SIGKILL);
    BOB.run(|| assert_eq!(crate::common::names(&mount.join("tests")), ["file"]));
    let open = std::fs::read_dir(format!("/proc/{keeper}/fd")).unwrap().count();
    assert!(open < 20, "{open} descriptors are open in the keeper");
}

#[test]
fn a_keeper_without_a_daemon_takes_the_mounts_down_at_its_end() {
    let Some((mut world, _, mount)) = kept("full", &["file"]) else {
        return;
    };
    is_served(&world);
    std::fs::remove_file(world.binary()).unwrap();
    let daemon = world.kept_daemon(None);
    kill(Pid::from_raw(daemon.cast_signed()), Signal::SIGKILL).unwrap();
    within(
        std::time::Duration::from_secs(10),
        || world.logged().contains("cannot be started"),
        true,
    );
    assert_eq!(mounts_below(&world.dir), [mount]);
    world.end(Signal::SIGTERM);
    assert_eq!(mounts_below(&world.dir), Vec::<PathBuf>::new());
}
