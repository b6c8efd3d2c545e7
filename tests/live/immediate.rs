//! A change of policy holds at the very next system call: each test warms every cache, changes the policy, and
//! asserts right after the command line returned.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{Mode, fstat, fstatat};

use crate::common::users::Session;
use crate::common::{BOB, CARA, OLGA, ROOT, User, World, names, plant, soon, word};

/// What a process holds that stands in a directory with a file `file` and forty more, with all caches warm.
struct Inside {
    session: Session,
    held: Arc<Mutex<Held>>,
    at: PathBuf,
}

struct Held {
    directory: OwnedFd,
    pointer: OwnedFd,
    file: File,
    listing: nix::dir::OwningIter,
}

/// What the process is answered, call by call.
#[derive(Debug, PartialEq, Eq, Clone)]
struct Answers {
    stat: String,
    stat_from_cwd: String,
    stat_from_directory: String,
    open_from_cwd: String,
    stat_of_pointer: String,
    stat_of_directory: String,
    read_by_handle: String,
    write_by_handle: String,
    truncate_by_handle: String,
    listing_anew: String,
    rest_of_listing: usize,
    create_from_cwd: String,
}

impl Inside {
    fn enter(user: User, at: &Path) -> Self {
        let session = user.stay();
        let path = at.to_path_buf();
        let held = session.run(move || {
            std::env::set_current_dir(&path).unwrap();
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
            let directory = open(&path, flags, Mode::empty()).unwrap();
            let pointer = open(&path.join("file"), OFlag::O_PATH, Mode::empty()).unwrap();
            let mut file = File::options().read(true).write(true).open("file").unwrap();
            let mut content = String::new();
            file.read_to_string(&mut content).unwrap();
            let mut listing = Dir::open(&path, flags, Mode::empty()).unwrap().into_iter();
            assert!(listing.next().is_some());
            for name in names(&path) {
                std::fs::symlink_metadata(path.join(name)).unwrap();
            }
            Arc::new(Mutex::new(Held {
                directory,
                pointer,
                file,
                listing,
            }))
        });
        Self {
            session,
            held,
            at: at.into(),
        }
    }

    fn answers(&self) -> Answers {
        let (held, at) = (Arc::clone(&self.held), self.at.clone());
        self.session.run(move || {
            let mut held = held.lock().unwrap();
            let created = format!("new-{}", rand());
            Answers {
                stat: word(at.join("file").symlink_metadata()),
                stat_from_cwd: word(std::fs::symlink_metadata("file")),
                stat_from_directory: word(fstatat(&held.directory, "file", AtFlags::empty())),
                open_from_cwd: word(File::open("file")),
                stat_of_pointer: word(fstat(&held.pointer)),
                stat_of_directory: word(fstat(&held.directory)),
                read_by_handle: word(held.file.read_at(&mut [0; 8], 0)),
                write_by_handle: word(held.file.write_at(b"x", 4)),
                truncate_by_handle: word(held.file.set_len(20)),
                listing_anew: word(std::fs::read_dir(&at)),
                rest_of_listing: held.listing.by_ref().take_while(Result::is_ok).flatten().count(),
                create_from_cwd: word(openat(
                    &held.directory,
                    created.as_str(),
                    OFlag::O_CREAT | OFlag::O_WRONLY,
                    Mode::S_IRWXU,
                )),
            }
        })
    }
}

fn rand() -> u32 {
    std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .subsec_nanos()
}

/// A folder `tests` of Olga's, edited by Bob, with a directory `room` full of files.
fn room() -> Option<(World, PathBuf)> {
    room_mounted("")
}

fn room_mounted(options: &str) -> Option<(World, PathBuf)> {
    let world = World::new()?;
    let backing = world.folder("tests");
    let files: Vec<_> = (0..400)
        .map(|number| format!("room/{number:03}{}", "x".repeat(200)))
        .collect();
    plant(
        &backing,
        &files
            .iter()
            .map(|file| &**file)
            .chain(["room/file"])
            .collect::<Vec<_>>(),
    );
    world.share("tests", BOB, "edit");
    let mount = world.mount_with(BOB, options);
    Some((world, mount))
}

#[test]
fn what_becomes_invisible_is_gone_for_a_process_inside_and_comes_back() {
    let Some((world, mount)) = room() else { return };
    let back = gone_and_back(&world, &mount, "EIO");
    // What bypassed the daemon was cut for good: it is opened anew.
    assert_eq!((back.stat.as_str(), back.open_from_cwd.as_str()), ("ok", "ok"));
    assert_eq!(back.create_from_cwd, "ok");
}

#[test]
fn in_a_strict_mount_what_is_open_works_again_when_the_right_comes_back() {
    let Some((world, mount)) = room_mounted("--strict") else {
        return;
    };
    let back = gone_and_back(&world, &mount, "ENOENT");
    assert_eq!((back.stat.as_str(), back.create_from_cwd.as_str()), ("ok", "ok"));
    assert_eq!(
        (back.read_by_handle.as_str(), back.write_by_handle.as_str()),
        ("ok", "ok")
    );
}

/// Takes the directory away from a process inside and gives it back; what it is answered then. `pointer` is what it is
/// told in between of what it points at with a descriptor.
fn gone_and_back(world: &World, mount: &Path, pointer: &str) -> Answers {
    let inside = Inside::enter(BOB, &mount.join("tests/room"));
    world.permit("tests/room", BOB.name, "invisible");
    let gone = inside.answers();
    let enoent = || "ENOENT".to_owned();
    let cut = || "EIO".to_owned();
    assert_eq!(
        gone,
        Answers {
            stat: enoent(),
            stat_from_cwd: enoent(),
            stat_from_directory: enoent(),
            open_from_cwd: enoent(),
            stat_of_pointer: pointer.to_owned(),
            stat_of_directory: enoent(),
            read_by_handle: cut(),
            write_by_handle: cut(),
            truncate_by_handle: cut(),
            listing_anew: enoent(),
            // What the C library had in its buffer is told; nothing is fetched.
            rest_of_listing: gone.rest_of_listing,
            create_from_cwd: enoent(),
        }
    );
    assert!(
        gone.rest_of_listing < 300,
        "{} names were told",
        gone.rest_of_listing
    );
    assert!(BOB.run(|| names(&mount.join("tests"))).is_empty());
    world.ok(OLGA, &format!("unpermit tests/room --for {}", BOB.name));
    inside.answers()
}

#[test]
fn a_share_taken_back_leaves_nothing_to_a_process_inside() {
    let Some((world, mount)) = room() else { return };
    let inside = Inside::enter(BOB, &mount.join("tests/room"));
    world.ok(OLGA, &format!("unshare tests --with {}", BOB.name));
    let gone = inside.answers();
    assert_eq!(
        (gone.stat.as_str(), gone.stat_from_cwd.as_str()),
        ("ENOENT", "ENOENT")
    );
    assert_eq!(
        (gone.read_by_handle.as_str(), gone.write_by_handle.as_str()),
        ("EIO", "EIO")
    );
    assert_eq!(gone.create_from_cwd, "ENOENT");
    assert!(BOB.run(|| names(&mount)).is_empty());
    assert_eq!(BOB.run(|| word(mount.join("tests").symlink_metadata())), "ENOENT");
}

#[test]
fn who_may_only_view_from_now_on_writes_no_more_and_reads_on() {
    // What was open for writing bypassed the daemon and was cut whole: it is opened anew.
    for (options, reads) in [("", "EIO"), ("--strict", "ok")] {
        let Some((world, mount)) = room_mounted(options) else {
            return;
        };
        only_views_from_now_on(&world, &mount, reads);
    }
}

fn only_views_from_now_on(world: &World, mount: &Path, reads: &str) {
    let inside = Inside::enter(BOB, &mount.join("tests/room"));
    world.ok(OLGA, &format!("share tests --with {} --as view", BOB.name));
    let viewing = inside.answers();
    assert_eq!(
        (viewing.stat.as_str(), viewing.open_from_cwd.as_str()),
        ("ok", "ok")
    );
    assert_eq!(viewing.read_by_handle, reads);
    assert_eq!(viewing.write_by_handle, "EIO");
    assert_eq!(viewing.truncate_by_handle, "EIO");
    assert_eq!(viewing.create_from_cwd, "EACCES");
    let mode = BOB.run(|| {
        std::os::unix::fs::MetadataExt::mode(&mount.join("tests/room/file").symlink_metadata().unwrap())
    });
    assert_eq!(mode & 0o222, 0, "the shown mode says so too");
}

#[test]
fn a_locked_directory_is_seen_and_not_entered() {
    let Some((world, mount)) = room() else { return };
    let inside = Inside::enter(BOB, &mount.join("tests/room"));
    world.permit("tests/room", BOB.name, "locked");
    let locked = inside.answers();
    assert_eq!(locked.stat, "EACCES");
    assert_eq!(locked.stat_from_cwd, "EACCES");
    assert_eq!(locked.open_from_cwd, "EACCES");
    assert_eq!(locked.stat_of_directory, "ok");
    assert_eq!(locked.listing_anew, "EACCES");
    assert_eq!(locked.read_by_handle, "EIO");
}

#[test]
fn leaving_a_group_and_becoming_a_viewer_hold_at_once() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["room/file"]);
    world.ok(ROOT, "group create staff");
    world.ok(ROOT, &format!("group add staff {}", BOB.name));
    world.ok(OLGA, "share tests --with group:staff --as edit");
    let mount = world.mount(BOB);
    let inside = Inside::enter(BOB, &mount.join("tests/room"));
    world.ok(ROOT, &format!("user set {} type=viewer", BOB.name));
    let viewing = inside.answers();
    assert_eq!(
        (viewing.open_from_cwd.as_str(), viewing.write_by_handle.as_str()),
        ("ok", "EIO")
    );
    world.ok(ROOT, &format!("group remove staff {}", BOB.name));
    let gone = inside.answers();
    assert_eq!(
        (gone.stat_from_cwd.as_str(), gone.read_by_handle.as_str()),
        ("ENOENT", "EIO")
    );
    world.ok(ROOT, &format!("group add staff {}", BOB.name));
    assert_eq!(inside.answers().stat_from_cwd, "ok");
}

#[test]
fn the_top_directory_follows_what_one_has() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["x"]);
    let mount = world.mount(BOB);
    let session = BOB.stay();
    let top = mount.clone();
    session.run(move || std::env::set_current_dir(&top).unwrap());
    let look = || {
        session.run(|| {
            let stat = |name: &str| word(std::fs::symlink_metadata(name));
            (
                names(Path::new(".")),
                stat("tests/x"),
                stat("mine/x"),
                stat("renamed/x"),
            )
        })
    };
    let seen = |names: &[&str], answers: [&str; 3]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let [one, two, three] = answers.map(str::to_owned);
        (names, one, two, three)
    };
    assert_eq!(look(), seen(&[], ["ENOENT", "ENOENT", "ENOENT"]));
    world.ok(OLGA, &format!("share tests --with {} --as view", BOB.name));
    assert_eq!(
        look(),
        seen(&[], ["ENOENT", "ENOENT", "ENOENT"]),
        "an invitation is no share"
    );
    world.ok(BOB, &format!("accept {}:tests --name mine", OLGA.name));
    assert_eq!(look(), seen(&["mine"], ["ENOENT", "ok", "ENOENT"]));
    world.ok(BOB, "leave mine");
    assert_eq!(look(), seen(&[], ["ENOENT", "ENOENT", "ENOENT"]));
    world.share("tests", BOB, "view");
    assert_eq!(look(), seen(&["tests"], ["ok", "ENOENT", "ENOENT"]));
    world.ok(OLGA, "rename tests renamed");
    assert_eq!(look(), seen(&["renamed"], ["ENOENT", "ENOENT", "ok"]));
    world.ok(OLGA, "delete renamed --force");
    assert_eq!(look(), seen(&[], ["ENOENT", "ENOENT", "ENOENT"]));
}

#[test]
fn one_mount_s_changes_are_seen_in_another_at_once() {
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    plant(&backing, &["file"]);
    world.share("tests", BOB, "full");
    world.share("tests", CARA, "view");
    let (bob, cara) = (world.mount(BOB).join("tests"), world.mount(CARA).join("tests"));
    let session = CARA.stay();
    let (file, new) = (cara.join("file"), cara.join("new"));
    let mut reader = CARA.run(|| File::open(&file).unwrap());
    let look = move || {
        session.run({
            let (file, new) = (file.clone(), new.clone());
            move || {
                (
                    std::fs::read_to_string(&file).unwrap_or_default(),
                    word(new.symlink_metadata()),
                )
            }
        })
    };
    assert_eq!(look(), ("content of file\n".into(), "ENOENT".into()));
    BOB.run(|| {
        let mut file = File::options().append(true).open(bob.join("file")).unwrap();
        file.write_all(b"more\n").unwrap();
        std::fs::write(bob.join("new"), "").unwrap();
    });
    assert_eq!(look(), ("content of file\nmore\n".into(), "ok".into()));
    BOB.run(|| std::fs::remove_file(bob.join("new")).unwrap());
    assert_eq!(look(), ("content of file\nmore\n".into(), "ENOENT".into()));
    std::fs::write(backing.join("file"), "native\n").unwrap();
    soon(look, ("native\n".into(), "ENOENT".into()));
    let again = CARA.run(|| {
        let mut text = String::new();
        reader.rewind().unwrap();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    assert_eq!(again, "native\n");
}
