//! What is changed behind the daemon's back, by others or through the backing's own path, shows in a mount soon after,
//! whatever the kernel had cached of it.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{BOB, OLGA, ROOT, User, World, names, plant, word};

/// What is seen later than this is seen too late. It takes some 20 ms; the rest is for a machine that is full.
const SEEN_WITHIN: Duration = Duration::from_secs(1);
/// Likewise where the file system cannot be watched, and what is old is kept for a second.
const SEEN_UNWATCHED_WITHIN: Duration = Duration::from_secs(3);

/// A folder `tests` of Olga's that Bob has as a whole, and his mount of it.
struct Lent {
    world: World,
    backing: PathBuf,
    mount: PathBuf,
}

impl Lent {
    fn new(level: &str, entries: &[&str]) -> Option<Self> {
        let world = World::new()?;
        let backing = world.folder("tests");
        plant(&backing, entries);
        world.share("tests", BOB, level);
        let mount = world.mount(BOB).join("tests");
        Some(Self {
            world,
            backing,
            mount,
        })
    }

    /// Bob looks until he is answered what is expected, and is answered it a second time too.
    #[track_caller]
    fn soon<T: PartialEq + std::fmt::Debug + Send + Sync>(
        &self, expected: T, look: impl Fn(&Path) -> T + Sync,
    ) {
        soon_for(BOB, SEEN_WITHIN, expected, || look(&self.mount));
    }

    /// What Bob is answered now; his caches are warm then.
    #[track_caller]
    fn now<T: PartialEq + std::fmt::Debug + Send + Sync>(
        &self, expected: T, look: impl Fn(&Path) -> T + Sync,
    ) {
        for _ in 0..2 {
            assert_eq!(BOB.run(|| look(&self.mount)), expected);
        }
    }
}

#[track_caller]
fn soon_for<T: PartialEq + std::fmt::Debug + Send + Sync>(
    user: User, within: Duration, expected: T, look: impl Fn() -> T + Sync,
) {
    let (took, last) = user.run(|| {
        let start = Instant::now();
        loop {
            let seen = look();
            let took = start.elapsed();
            if seen == expected || took > within {
                return (took, seen);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    assert!(
        took <= within,
        "after {took:?} there is still {last:?} instead of {expected:?}"
    );
    println!("seen after {took:?}");
    assert_eq!(user.run(&look), expected, "and it remains so");
}

fn stat(path: &Path) -> String {
    word(path.symlink_metadata())
}

fn size(path: &Path) -> u64 {
    path.symlink_metadata().map_or(u64::MAX, |stat| stat.len())
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().map_or(0, |stat| stat.mode() & 0o777)
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| error.to_string())
}

fn append(path: &Path, more: &str) {
    File::options()
        .append(true)
        .open(path)
        .unwrap()
        .write_all(more.as_bytes())
        .unwrap();
}

#[test]
fn what_is_made_and_removed_is_seen() {
    let Some(lent) = Lent::new("view", &["sub/old", "sub/kept"]) else {
        return;
    };
    lent.now("ENOENT".into(), |mount| stat(&mount.join("sub/new")));
    lent.now("ok".into(), |mount| stat(&mount.join("sub/old")));
    lent.now(vec!["kept".into(), "old".into()], |mount: &Path| {
        names(&mount.join("sub"))
    });
    std::fs::write(lent.backing.join("sub/new"), "").unwrap();
    lent.soon("ok".into(), |mount| stat(&mount.join("sub/new")));
    lent.soon(vec!["kept".into(), "new".into(), "old".into()], |mount| {
        names(&mount.join("sub"))
    });
    std::fs::remove_file(lent.backing.join("sub/old")).unwrap();
    lent.soon("ENOENT".into(), |mount| stat(&mount.join("sub/old")));
    lent.soon(vec!["kept".into(), "new".into()], |mount| {
        names(&mount.join("sub"))
    });
    std::fs::create_dir(lent.backing.join("sub/deep")).unwrap();
    lent.soon("ok".into(), |mount| stat(&mount.join("sub/deep")));
    std::fs::remove_dir_all(lent.backing.join("sub")).unwrap();
    lent.soon("ENOENT".into(), |mount| stat(&mount.join("sub")));
}

#[test]
fn what_is_renamed_is_seen_under_its_new_name_alone() {
    let Some(lent) = Lent::new("view", &["one", "sub/x", "other/y"]) else {
        return;
    };
    let look =
        |mount: &Path| ["one", "two", "sub/one", "sub/x", "moved/x"].map(|name| stat(&mount.join(name)));
    let words = |words: [&str; 5]| words.map(str::to_owned);
    lent.now(words(["ok", "ENOENT", "ENOENT", "ok", "ENOENT"]), look);
    std::fs::rename(lent.backing.join("one"), lent.backing.join("two")).unwrap();
    lent.soon(words(["ENOENT", "ok", "ENOENT", "ok", "ENOENT"]), look);
    std::fs::rename(lent.backing.join("two"), lent.backing.join("sub/one")).unwrap();
    lent.soon(words(["ENOENT", "ENOENT", "ok", "ok", "ENOENT"]), look);
    std::fs::rename(lent.backing.join("sub"), lent.backing.join("moved")).unwrap();
    lent.soon(words(["ENOENT", "ENOENT", "ENOENT", "ENOENT", "ok"]), look);
    lent.soon(vec!["moved".into(), "other".into()], names);
}

#[test]
fn what_becomes_of_a_file_s_attributes_is_seen_by_name_and_by_handle() {
    let Some(lent) = Lent::new("view", &["file"]) else {
        return;
    };
    let held = BOB.run(|| File::open(lent.mount.join("file")).unwrap());
    let look = |mount: &Path| {
        let (file, held) = (mount.join("file"), held.metadata().unwrap());
        (mode(&file), size(&file), held.mode() & 0o777, held.len())
    };
    lent.now((0o444, 16, 0o444, 16), look);
    std::fs::set_permissions(lent.backing.join("file"), PermissionsExt::from_mode(0o440)).unwrap();
    lent.soon((0o440, 16, 0o440, 16), look);
    append(&lent.backing.join("file"), "more");
    lent.soon((0o440, 20, 0o440, 20), look);
    File::options()
        .write(true)
        .open(lent.backing.join("file"))
        .unwrap()
        .set_len(3)
        .unwrap();
    lent.soon((0o440, 3, 0o440, 3), look);
    let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000);
    File::open(lent.backing.join("file"))
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    lent.soon(long_ago, |mount| {
        mount.join("file").metadata().unwrap().modified().unwrap()
    });
    std::fs::hard_link(lent.backing.join("file"), lent.backing.join("link")).unwrap();
    lent.soon(2, |mount| mount.join("file").metadata().unwrap().nlink());
    std::fs::remove_file(lent.backing.join("link")).unwrap();
    lent.soon(1, |mount| mount.join("file").metadata().unwrap().nlink());
}

#[test]
fn what_is_written_is_read_by_name_and_by_handle() {
    let Some(lent) = Lent::new("view", &["file"]) else {
        return;
    };
    // In a strict mount the kernel keeps pages of its own.
    let strict = lent.world.mount_with(BOB, "--strict").join("tests");
    for mount in [&lent.mount, &strict] {
        let backing = lent.backing.join("file");
        std::fs::write(&backing, "content of file\n").unwrap();
        let held = BOB.run(|| File::open(mount.join("file")).unwrap());
        let look = || {
            let mut held = &held;
            let mut by_handle = String::new();
            held.rewind().unwrap();
            held.read_to_string(&mut by_handle).unwrap();
            (text(&mount.join("file")), by_handle)
        };
        let soon = |text: &str| soon_for(BOB, SEEN_WITHIN, (text.to_owned(), text.to_owned()), look);
        soon("content of file\n");
        append(&backing, "more\n");
        soon("content of file\nmore\n");
        // Of the same length, so that it does not show in the size.
        let file = File::options().write(true).open(&backing).unwrap();
        file.write_all_at(b"CONTENT", 0).unwrap();
        soon("CONTENT of file\nmore\n");
    }
}

#[test]
fn what_was_written_to_a_mapping_is_read_when_the_mapping_is_gone() {
    let Some(lent) = Lent::new("view", &["file"]) else {
        return;
    };
    // Where the kernel keeps pages of its own.
    let strict = lent.world.mount_with(BOB, "--strict").join("tests");
    let held = BOB.run(|| File::open(strict.join("file")).unwrap());
    let look = || {
        let mut bytes = [0; 7];
        held.read_exact_at(&mut bytes, 0).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    soon_for(BOB, SEEN_WITHIN, "content".into(), look);
    let script =
        "import mmap\nwith open('file', 'r+b') as file, mmap.mmap(file.fileno(), 0) as map: map[0] = 67";
    let done = Command::new("python3")
        .args(["-c", script])
        .current_dir(&lent.backing)
        .status();
    assert!(done.unwrap().success());
    soon_for(BOB, SEEN_WITHIN, "Content".into(), look);
}

#[test]
fn what_takes_the_place_of_a_file_is_seen() {
    let Some(lent) = Lent::new("view", &["file", "sub/x"]) else {
        return;
    };
    symlink("file", lent.backing.join("link")).unwrap();
    let look = |mount: &Path| {
        (
            text(&mount.join("file")),
            std::fs::read_link(mount.join("link")).unwrap(),
        )
    };
    lent.now(("content of file\n".into(), "file".into()), look);
    let before = BOB.run(|| lent.mount.join("file").metadata().unwrap().ino());
    std::fs::write(lent.backing.join(".new"), "new").unwrap();
    std::fs::set_permissions(lent.backing.join(".new"), PermissionsExt::from_mode(0o644)).unwrap();
    std::os::unix::fs::chown(lent.backing.join(".new"), Some(OLGA.uid), Some(OLGA.gid)).unwrap();
    std::fs::rename(lent.backing.join(".new"), lent.backing.join("file")).unwrap();
    lent.soon(("new".into(), "file".into()), look);
    let after = BOB.run(|| lent.mount.join("file").metadata().unwrap().ino());
    assert_ne!(before, after);
    std::fs::remove_file(lent.backing.join("link")).unwrap();
    symlink("sub/x", lent.backing.join("link")).unwrap();
    lent.soon(("new".into(), "sub/x".into()), look);
    // A directory where a file was.
    std::fs::remove_file(lent.backing.join("file")).unwrap();
    std::fs::create_dir(lent.backing.join("file")).unwrap();
    lent.soon(true, |mount| mount.join("file").is_dir());
}

#[test]
fn a_file_that_another_writes_all_the_time_is_seen_to_grow_to_its_end() {
    let Some(lent) = Lent::new("view", &["log"]) else {
        return;
    };
    lent.now(15, |mount| size(&mount.join("log")));
    let script = "i=0; while [ $i -lt 60000 ]; do echo $i; i=$((i+1)); done >> log";
    let mut writer = Command::new("sh")
        .args(["-ec", script])
        .current_dir(&lent.backing)
        .spawn()
        .unwrap();
    let mut seen = vec![15];
    while writer.try_wait().unwrap().is_none() {
        let natively = size(&lent.backing.join("log"));
        // Not less than it was natively at some time before, and never less than it was seen to be.
        lent_soon_at_least(&lent, natively);
        seen.push(BOB.run(|| size(&lent.mount.join("log"))));
    }
    assert!(seen.is_sorted(), "{seen:?}");
    let end = size(&lent.backing.join("log"));
    lent.soon(end, |mount| size(&mount.join("log")));
}

#[track_caller]
fn lent_soon_at_least(lent: &Lent, length: u64) {
    lent.soon(true, |mount| size(&mount.join("log")) >= length);
}

#[test]
fn a_tree_that_is_unpacked_is_seen_whole() {
    let Some(lent) = Lent::new("view", &["tree/"]) else {
        return;
    };
    lent.now(Vec::<String>::new(), |mount| names(&mount.join("tree")));
    lent.now("ENOENT".into(), |mount| stat(&mount.join("tree/d19/f99")));
    let script = "for d in $(seq 0 19); do mkdir d$d; for f in $(seq 0 99); do echo $f > d$d/f$f; done; done";
    let done = Command::new("sh")
        .args(["-ec", script])
        .current_dir(lent.backing.join("tree"))
        .status();
    assert!(done.unwrap().success());
    lent.soon((20, 2000), |mount| {
        let directories = names(&mount.join("tree"));
        let files = directories
            .iter()
            .map(|name| names(&mount.join("tree").join(name)).len());
        (directories.len(), files.sum())
    });
    lent.soon("ok".into(), |mount| stat(&mount.join("tree/d19/f99")));
}

#[test]
fn more_than_the_kernel_queues_is_seen_too() {
    let Some(lent) = Lent::new("view", &["tree/", "file"]) else {
        return;
    };
    lent.now("ENOENT".into(), |mount| stat(&mount.join("tree/last")));
    lent.now(13 + 3, |mount| size(&mount.join("file")));
    // While the daemon is stopped the queue runs over.
    let pid = nix::unistd::Pid::from_raw(i32::try_from(lent.world.pid()).unwrap());
    let most: usize = std::fs::read_to_string("/proc/sys/fs/fanotify/max_queued_events")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    if most > 100_000 {
        return println!("SKIP: the queue of fanotify is too long to run over");
    }
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    for number in 0..=most {
        File::create(lent.backing.join("tree").join(number.to_string())).unwrap();
    }
    append(&lent.backing.join("file"), "more");
    std::fs::write(lent.backing.join("tree/last"), "").unwrap();
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).unwrap();
    // It takes in all that the kernel has kept for it before.
    let soon = Duration::from_secs(10);
    soon_for(BOB, soon, "ok".into(), || stat(&lent.mount.join("tree/last")));
    soon_for(BOB, soon, 20, || size(&lent.mount.join("file")));
}

#[test]
fn a_rule_follows_a_directory_that_is_moved_behind_the_back() {
    let Some(lent) = Lent::new("view", &["secret/x", "open/y"]) else {
        return;
    };
    lent.world.permit("tests/secret", BOB.name, "invisible");
    let look =
        |mount: &Path| ["secret", "renamed", "open/secret", "open/y"].map(|name| stat(&mount.join(name)));
    let words = |words: [&str; 4]| words.map(str::to_owned);
    lent.now(words(["ENOENT", "ENOENT", "ENOENT", "ok"]), look);
    std::fs::rename(lent.backing.join("secret"), lent.backing.join("renamed")).unwrap();
    // Nothing of it may be seen at any time.
    for _ in 0..50 {
        lent.now(words(["ENOENT", "ENOENT", "ENOENT", "ok"]), look);
    }
    std::fs::rename(lent.backing.join("renamed"), lent.backing.join("open/secret")).unwrap();
    for _ in 0..50 {
        lent.now(words(["ENOENT", "ENOENT", "ENOENT", "ok"]), look);
    }
    // What is moved out from under the rule shows, and what is moved under it does not.
    std::fs::rename(lent.backing.join("open/secret/x"), lent.backing.join("x")).unwrap();
    lent.soon("ok".into(), |mount| stat(&mount.join("x")));
    std::fs::rename(lent.backing.join("open/y"), lent.backing.join("open/secret/y")).unwrap();
    lent.soon("ENOENT".into(), |mount| stat(&mount.join("open/y")));
}

#[test]
fn the_way_to_what_is_granted_below_goes_and_comes_with_it() {
    let Some(lent) = Lent::new("view", &["closed/in/room/x", "file"]) else {
        return;
    };
    lent.world.permit("tests/closed", BOB.name, "invisible");
    lent.world.permit("tests/closed/in/room", BOB.name, "view");
    let look = |mount: &Path| {
        (
            stat(&mount.join("closed")),
            stat(&mount.join("closed/in/room/x")),
            names(mount),
        )
    };
    let there = || {
        (
            "ok".to_owned(),
            "ok".to_owned(),
            vec!["closed".to_owned(), "file".to_owned()],
        )
    };
    let gone = || ("ENOENT".to_owned(), "ENOENT".to_owned(), vec!["file".to_owned()]);
    lent.now(there(), look);
    let outside = lent.world.dir.join("state/outside");
    std::fs::rename(lent.backing.join("closed/in/room"), &outside).unwrap();
    lent.soon(gone(), look);
    std::fs::rename(&outside, lent.backing.join("closed/in/room")).unwrap();
    lent.soon(there(), look);
}

#[test]
fn where_the_file_system_cannot_be_watched_it_takes_a_second() {
    let Some(world) = World::new() else { return };
    let base = world.fresh(OLGA);
    for name in ["lower", "upper", "work", "lent"] {
        OLGA.directory(&base.join(name));
    }
    let options = "lowerdir=lower,upperdir=upper,workdir=work";
    let mounted = Command::new("mount")
        .args(["-t", "overlay", "overlay", "-o", options, "lent"])
        .current_dir(&base)
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return println!("SKIP: no overlayfs");
    }
    let lent = base.join("lent");
    OLGA.run(|| std::fs::write(lent.join("file"), "text").unwrap());
    world.ok(OLGA, &format!("create lent --path {}", lent.display()));
    let mount = world.mount(OLGA).join("lent");
    let look = || (size(&mount.join("file")), stat(&mount.join("new")));
    assert_eq!(OLGA.run(look), (4, "ENOENT".to_owned()));
    append(&lent.join("file"), "more");
    OLGA.run(|| std::fs::write(lent.join("new"), "").unwrap());
    soon_for(OLGA, SEEN_UNWATCHED_WITHIN, (8, "ok".to_owned()), look);
    assert_eq!(world.logged().matches("cannot be watched").count(), 1);
    // Whoever runs it is told, of each file system once.
    world.ok(OLGA, "create tests");
    world.ok(OLGA, "create more");
    let findings = world.json(ROOT, "doctor");
    let noticed: Vec<_> = findings
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| {
            finding["what"]
                .as_str()
                .unwrap()
                .starts_with("what others change")
        })
        .map(|finding| (finding["ok"].as_bool().unwrap(), finding["advice"].is_string()))
        .collect();
    assert_eq!(noticed.len(), 2, "{findings}");
    assert!(
        noticed.contains(&(true, false)) && noticed.contains(&(false, true)),
        "{findings}"
    );
}
