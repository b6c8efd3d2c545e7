//! What is changed through one mount is seen in another at once, however well that one remembers what was there.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, RenameFlags, open, renameat2};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use rustix::fs::Dir;

use crate::common::users::Session;
use crate::common::{BOB, CARA, ROOT, World, plant, word};

/// Somebody in a directory, with it and a file in it held open.
struct Watcher {
    at: PathBuf,
    directory: OwnedFd,
    stream: Dir,
    file: File,
}

type Fact = (&'static str, fn(&mut Watcher) -> String);

/// What he looks at.
const FACTS: [Fact; 17] = [
    ("stat file", |here| stat(AT_FDCWD, here.at.join("file"))),
    ("stat other", |here| stat(AT_FDCWD, here.at.join("other"))),
    ("stat new", |here| stat(AT_FDCWD, here.at.join("new"))),
    ("stat sub", |here| stat(AT_FDCWD, here.at.join("sub"))),
    ("stat sub/inner", |here| stat(AT_FDCWD, here.at.join("sub/inner"))),
    ("stat directory", |here| stat(AT_FDCWD, here.at.clone())),
    ("stat from cwd", |_| {
        ["file", "new", "sub"]
            .map(|name| stat(AT_FDCWD, name.into()))
            .join("; ")
    }),
    ("stat from directory", |here| {
        ["new", "file", "link"]
            .map(|name| stat(&here.directory, name.into()))
            .join("; ")
    }),
    ("open new", |here| text(here.at.join("new"))),
    ("read file", |here| text(here.at.join("file"))),
    ("read link", |here| match here.at.join("link").read_link() {
        Ok(target) => target.display().to_string(),
        Err(error) => word::<()>(Err(error)),
    }),
    ("list", |here| {
        list(open_directory(&here.at).map(|fd| Dir::new(fd).unwrap()))
    }),
    ("list sub", |here| {
        list(open_directory(&here.at.join("sub")).map(|fd| Dir::new(fd).unwrap()))
    }),
    ("list again", |here| list(Ok(&mut here.stream))),
    ("stat open file", |here| told(fstat(&here.file))),
    ("read open file", |here| {
        let mut content = String::new();
        here.file.rewind().unwrap();
        let read = here.file.read_to_string(&mut content);
        format!("{} {content}", word(read))
    }),
    ("note", |here| {
        format!(
            "{:?}",
            xattr::get(here.at.join("file"), "user.note").ok().flatten()
        )
    }),
];

/// A directory to be changed, and a handle of `file` in it that was opened for writing before.
type Change = (&'static str, fn(&Path, &mut File));

const CHANGES: [Change; 24] = [
    ("create", |at, _| std::fs::write(at.join("new"), "new").unwrap()),
    ("mkdir", |at, _| std::fs::create_dir(at.join("new")).unwrap()),
    ("mkdir below", |at, _| {
        std::fs::create_dir(at.join("sub/new")).unwrap()
    }),
    ("symlink", |at, _| symlink("file", at.join("new")).unwrap()),
    ("link", |at, _| {
        std::fs::hard_link(at.join("file"), at.join("new")).unwrap()
    }),
    ("fifo", |at, _| {
        nix::unistd::mkfifo(&at.join("new"), Mode::S_IRWXU).unwrap()
    }),
    ("unlink", |at, _| std::fs::remove_file(at.join("file")).unwrap()),
    ("unlink and create", |at, _| {
        std::fs::remove_file(at.join("file")).unwrap();
        std::fs::write(at.join("file"), "another").unwrap();
    }),
    ("rename", |at, _| {
        std::fs::rename(at.join("file"), at.join("new")).unwrap()
    }),
    ("rename over", |at, _| {
        std::fs::rename(at.join("other"), at.join("file")).unwrap()
    }),
    ("rename to below", |at, _| {
        std::fs::rename(at.join("file"), at.join("sub/file")).unwrap()
    }),
    ("rename directory", |at, _| {
        std::fs::rename(at.join("sub"), at.join("new")).unwrap()
    }),
    ("exchange", |at, _| {
        let (one, other) = (at.join("file"), at.join("sub"));
        renameat2(AT_FDCWD, &one, AT_FDCWD, &other, RenameFlags::RENAME_EXCHANGE).unwrap();
    }),
    ("remove directory", |at, _| {
        std::fs::remove_dir_all(at.join("sub")).unwrap()
    }),
    ("directory made anew", |at, _| {
        std::fs::remove_dir_all(at.join("sub")).unwrap();
        std::fs::create_dir(at.join("sub")).unwrap();
    }),
    ("file in place of a directory", |at, _| {
        std::fs::remove_dir_all(at.join("sub")).unwrap();
        std::fs::write(at.join("sub"), "").unwrap();
    }),
    ("symlink replaced", |at, _| {
        symlink("elsewhere", at.join("link.new")).unwrap();
        std::fs::rename(at.join("link.new"), at.join("link")).unwrap();
    }),
    ("chmod", |at, _| {
        std::fs::set_permissions(at.join("file"), PermissionsExt::from_mode(0o600)).unwrap();
    }),
    ("chmod of directory", |at, _| {
        std::fs::set_permissions(at, PermissionsExt::from_mode(0o700)).unwrap();
    }),
    ("utimes", |at, _| {
        let file = File::options().write(true).open(at.join("file")).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000))
            .unwrap();
    }),
    ("truncate", |at, _| {
        nix::unistd::truncate(&at.join("file"), 3).unwrap()
    }),
    ("write by an open handle", |_, open| {
        open.write_all_at(b"longer than it was before", 4).unwrap()
    }),
    ("append", |at, _| {
        let mut file = File::options().append(true).open(at.join("file")).unwrap();
        file.write_all(b"more").unwrap();
    }),
    ("setxattr", |at, _| {
        xattr::set(at.join("file"), "user.note", b"new").unwrap()
    }),
];

#[test]
fn each_change_through_one_mount_is_the_first_thing_seen_in_another() {
    each_change_is_seen("");
}

#[test]
fn each_change_through_one_mount_is_the_first_thing_seen_in_a_read_only_one() {
    each_change_is_seen("--read-only");
}

/// How many of the facts are asked first after each change, others after others.
const FIRST: usize = 6;

/// In a mount with this option; what modes a read-only one shows is its own affair.
fn each_change_is_seen(option: &str) {
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    let rounds = CHANGES.len() * FIRST;
    for round in 0..rounds {
        let entry = |name: &str| format!("{round}/{name}");
        plant(
            &backing,
            &[&entry("file"), &entry("other"), &entry("sub/inner")].map(|name| &**name),
        );
        symlink("file", backing.join(entry("link"))).unwrap();
    }
    world.share("tests", BOB, "full");
    world.share("tests", CARA, "full");
    let bob = world.mount(BOB).join("tests");
    let cara = world.mount_with(CARA, option).join("tests");
    let compared = |text: &str| {
        let words = text.split(' ');
        let words: Vec<_> = words
            .filter(|word| option.is_empty() || !word.starts_with("mode="))
            .collect();
        words.join(" ")
    };
    let (there, disk) = (CARA.stay(), ROOT.stay());
    for round in 0..rounds {
        let (change, first) = (round / FIRST, (round / FIRST + 3 * round) % FACTS.len());
        let (change, make) = CHANGES[change];
        let at = |top: &Path| top.join(round.to_string());
        let mut open = BOB.run(|| File::options().write(true).open(at(&bob).join("file")).unwrap());
        let (watcher, truth) = (watch(&there, at(&cara)), watch(&disk, at(&backing)));
        let before = look(&disk, &truth, first);
        for _ in 0..2 {
            look(&there, &watcher, first);
        }
        BOB.run(|| make(&at(&bob), &mut open));
        let (told, expected) = (look(&there, &watcher, first), look(&disk, &truth, first));
        assert_ne!(before, expected, "{change} changes nothing");
        for ((fact, told), (_, expected)) in told.iter().zip(&expected) {
            let first = FACTS[first].0;
            assert_eq!(
                compared(told),
                compared(expected),
                "{fact} after {change}, when {first} was asked first"
            );
        }
    }
}

/// Something done in a directory in which another mount has just moved `room` to `to/room`.
type Deed = (&'static str, fn(&Path) -> std::io::Result<()>);

#[test]
fn what_another_mount_has_moved_is_found_where_it_is_by_the_very_call_that_changes_it() {
    let deeds: [Deed; 8] = [
        ("create", |at| std::fs::write(at.join("to/room/new"), "")),
        ("unlink", |at| std::fs::remove_file(at.join("to/room/file"))),
        ("append", |at| {
            let mut file = File::options().append(true).open(at.join("to/room/file"))?;
            file.write_all(b"more")
        }),
        ("link", |at| {
            std::fs::hard_link(at.join("to/room/file"), at.join("on/file"))
        }),
        ("remove", |at| std::fs::remove_dir_all(at.join("to/room"))),
        ("rename", |at| {
            std::fs::rename(at.join("to/room"), at.join("to/other"))
        }),
        ("rename back", |at| {
            std::fs::rename(at.join("to/room"), at.join("room"))
        }),
        ("rename on", |at| {
            std::fs::rename(at.join("to/room"), at.join("on/room"))
        }),
    ];
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    for (deed, _) in deeds {
        let entry = |name: &str| format!("{deed}/{name}");
        plant(
            &backing,
            &[&entry("room/file"), &entry("to/"), &entry("on/")].map(|name| &**name),
        );
    }
    world.share("tests", BOB, "full");
    world.share("tests", CARA, "full");
    let (bob, cara) = (world.mount(BOB).join("tests"), world.mount(CARA).join("tests"));
    for (deed, make) in deeds {
        let _held = CARA.run(|| {
            let at = cara.join(deed);
            let _ = (stat(AT_FDCWD, at.join("to/room")), text(at.join("room/file")));
            File::open(at.join("room/file")).unwrap()
        });
        let room = bob.join(deed).join("room");
        BOB.run(|| std::fs::rename(&room, bob.join(deed).join("to/room")).unwrap());
        let answer = CARA.run(|| word(make(&cara.join(deed))));
        // Between two directories: while it holds the lock for renames, the kernel cannot take in that a directory
        // that it has in use was moved. It can when it is asked about it.
        if ["rename back", "rename on"].contains(&deed) && answer == "ESTALE" {
            let again = CARA.run(|| {
                stat(AT_FDCWD, cara.join(deed).join("to/room"));
                word(make(&cara.join(deed)))
            });
            assert_eq!(again, "ok", "{deed}");
            continue;
        }
        assert_eq!(answer, "ok", "{deed}");
    }
}

fn watch(session: &Session, at: PathBuf) -> Arc<Mutex<Watcher>> {
    session.run(move || {
        std::env::set_current_dir(&at).unwrap();
        let directory = open_directory(&at).unwrap();
        Arc::new(Mutex::new(Watcher {
            stream: Dir::new(open_directory(&at).unwrap()).unwrap(),
            file: File::open(at.join("file")).unwrap(),
            directory,
            at,
        }))
    })
}

/// All facts, beginning with one of them.
fn look(session: &Session, watcher: &Arc<Mutex<Watcher>>, first: usize) -> Vec<(&'static str, String)> {
    let watcher = Arc::clone(watcher);
    session.run(move || {
        let mut watcher = watcher.lock().unwrap();
        let order = FACTS.iter().cycle().skip(first).take(FACTS.len());
        order.map(|(name, fact)| (*name, fact(&mut watcher))).collect()
    })
}

fn open_directory(path: &Path) -> nix::Result<OwnedFd> {
    open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())
}

fn stat(directory: impl AsFd, path: PathBuf) -> String {
    told(fstatat(directory, &path, AtFlags::AT_SYMLINK_NOFOLLOW))
}

fn told(stat: nix::Result<FileStat>) -> String {
    match stat {
        Ok(stat) => {
            // Bits above are never shown.
            let mode = stat.st_mode & !0o7000;
            let (links, size, seconds) = (stat.st_nlink, stat.st_size, stat.st_mtime);
            format!("mode={mode:o} {links} {size} {seconds}.{:09}", stat.st_mtime_nsec)
        }
        Err(errno) => format!("{errno:?}"),
    }
}

fn text(path: PathBuf) -> String {
    // Nobody waits for the other end of a FIFO.
    let opened = open(
        &path,
        OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW,
        Mode::empty(),
    );
    let mut content = String::new();
    match opened.map(|fd| File::from(fd).read_to_string(&mut content)) {
        Ok(Ok(_)) => content,
        Ok(Err(error)) => word::<()>(Err(error)),
        Err(errno) => format!("{errno:?}"),
    }
}

fn list(stream: nix::Result<impl std::borrow::BorrowMut<Dir>>) -> String {
    let mut stream = match stream {
        Ok(stream) => stream,
        Err(errno) => return format!("{errno:?}"),
    };
    let stream = stream.borrow_mut();
    stream.rewind();
    let mut names: Vec<_> = stream
        .map(|entry| entry.map(|entry| format!("{:?} {:?}", entry.file_name(), entry.file_type())))
        .map(|entry| entry.unwrap_or_else(|errno| errno.to_string()))
        .collect();
    names.sort();
    names.join(", ")
}
