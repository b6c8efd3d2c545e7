//! Much that is remembered, and what it is worth after a change: of the policy, or of others in the same directory.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open};
use nix::sys::stat::{Mode, fstat, fstatat};
use rustix::fs::Dir;

use crate::common::users::Session;
use crate::common::{BOB, CARA, OLGA, User, World, names, plant, within, word};

/// How long attributes of what is held open may lag behind the policy.
const HELD: Duration = Duration::from_secs(1);

const ROOMS: usize = 50;
const FILES: usize = 100;

/// A process that stands in one of many rooms and knows all that is in them, and what is not.
struct Visitor {
    session: Session,
    at: PathBuf,
    held: Arc<Mutex<Held>>,
}

struct Held {
    /// Of a room, and of a file in it.
    directory: OwnedFd,
    file: OwnedFd,
    stream: Dir,
}

/// What is answered about all of it: how often each.
type Answers = HashMap<(&'static str, String), usize>;

impl Visitor {
    fn enter(user: User, at: &Path) -> Self {
        let session = user.stay();
        let top = at.to_path_buf();
        let held = session.run(move || {
            let room = top.join("room-0");
            std::env::set_current_dir(&room).unwrap();
            let directory = |path: &Path| open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty());
            Arc::new(Mutex::new(Held {
                directory: directory(&room).unwrap(),
                file: open(&room.join("file-0"), OFlag::O_PATH, Mode::empty()).unwrap(),
                stream: Dir::new(directory(&room).unwrap()).unwrap(),
            }))
        });
        let at = at.to_path_buf();
        Self { session, at, held }
    }

    /// Asks for everything, by paths, from the working directory, and from an open directory.
    fn answers(&self) -> Answers {
        let (at, held) = (self.at.clone(), Arc::clone(&self.held));
        self.session.run(move || {
            let mut held = held.lock().unwrap();
            let mut answers = Answers::new();
            let mut note = |what, answer| *answers.entry((what, answer)).or_insert(0) += 1;
            for file in 0..FILES {
                let (name, missing) = (format!("file-{file}"), format!("missing-{file}"));
                note("name from cwd", stat(AT_FDCWD, &*name));
                note("missing name from cwd", stat(AT_FDCWD, &*missing));
                note("name from directory", stat(&held.directory, &*name));
                note("missing name from directory", stat(&held.directory, &*missing));
            }
            note("list again", list(&mut held.stream));
            for room in 0..ROOMS {
                let room = at.join(format!("room-{room}"));
                note("room", stat(AT_FDCWD, &room));
                for file in 0..FILES {
                    note("name", stat(AT_FDCWD, &room.join(format!("file-{file}"))));
                }
                note("missing name", stat(AT_FDCWD, &room.join("missing")));
                let listed = open(&room, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty());
                note(
                    "list",
                    listed.map_or_else(
                        |errno| format!("{errno:?}"),
                        |fd| list(&mut Dir::new(fd).unwrap()),
                    ),
                );
            }
            answers
        })
    }

    /// The mode of the file that is held, or why there is none.
    fn held_mode(&self) -> String {
        let held = Arc::clone(&self.held);
        self.session.run(move || mode(fstat(&held.lock().unwrap().file)))
    }
}

fn stat<P: ?Sized + nix::NixPath>(directory: impl std::os::fd::AsFd, path: &P) -> String {
    mode(fstatat(directory, path, AtFlags::AT_SYMLINK_NOFOLLOW))
}

fn mode(stat: nix::Result<nix::sys::stat::FileStat>) -> String {
    stat.map_or_else(|errno| format!("{errno:?}"), |stat| format!("{:o}", stat.st_mode))
}

/// How many names there are, or why that is not told. The library takes ENOENT for the end.
fn list(stream: &mut Dir) -> String {
    stream.rewind();
    let names: Result<Vec<_>, _> = stream.collect();
    let named = |name: &rustix::fs::DirEntry| !name.file_name().to_bytes().starts_with(b".");
    match names {
        Ok(names) => format!("{} names", names.into_iter().filter(named).count()),
        Err(errno) => word::<()>(Err(errno)),
    }
}

/// What has to be told of all rooms, of all names in them, and of all that are not there.
fn all(room: &str, name: &str, missing: &str, list: &str, list_again: &str) -> Answers {
    let answers = [
        ("room", room, ROOMS),
        ("name", name, ROOMS * FILES),
        ("name from cwd", name, FILES),
        ("name from directory", name, FILES),
        ("missing name", missing, ROOMS),
        ("missing name from cwd", missing, FILES),
        ("missing name from directory", missing, FILES),
        ("list", list, ROOMS),
        ("list again", list_again, 1),
    ];
    let answers = answers.into_iter();
    answers
        .map(|(what, answer, count)| ((what, answer.to_owned()), count))
        .collect()
}

#[test]
fn what_is_open_in_a_read_only_mount_outlives_its_name() {
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    plant(&backing, &["removed", "replaced", "unopened"]);
    world.share("tests", BOB, "full");
    world.share("tests", CARA, "view");
    let bob = world.mount(BOB).join("tests");
    let cara = world.mount_with(CARA, "--read-only").join("tests");
    let open: Vec<_> = ["removed", "replaced"]
        .iter()
        .map(|name| CARA.run(|| std::fs::File::open(cara.join(name)).unwrap()))
        .collect();
    CARA.run(|| cara.join("unopened").metadata().unwrap());
    BOB.run(|| {
        std::fs::remove_file(bob.join("removed")).unwrap();
        std::fs::remove_file(bob.join("unopened")).unwrap();
        std::fs::write(bob.join("new"), "new").unwrap();
        std::fs::rename(bob.join("new"), bob.join("replaced")).unwrap();
    });
    for (mut file, name) in open.into_iter().zip(["removed", "replaced"]) {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut file, &mut text).unwrap();
        assert_eq!(text, format!("content of {name}\n"));
    }
}

#[test]
fn of_thousands_of_known_names_each_follows_the_policy_at_the_next_call() {
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    let rooms =
        (0..ROOMS).flat_map(|room| (0..FILES).map(move |file| format!("all/room-{room}/file-{file}")));
    let rooms: Vec<_> = rooms.collect();
    plant(&backing, &rooms.iter().map(|file| &**file).collect::<Vec<_>>());
    world.share("tests", BOB, "edit");
    let visitor = Visitor::enter(BOB, &world.mount(BOB).join("tests/all"));
    let listed = "100 names";
    let edited = all("40755", "100644", "ENOENT", listed, listed);
    let viewed = all("40555", "100444", "ENOENT", listed, listed);
    let gone = all("ENOENT", "ENOENT", "ENOENT", "ENOENT", "0 names");
    let locked = all("EACCES", "EACCES", "EACCES", "EACCES", "EACCES");
    assert_eq!(visitor.answers(), edited);
    assert_eq!(visitor.answers(), edited, "now from memory");
    world.ok(OLGA, &format!("share tests --with {} --as view", BOB.name));
    assert_eq!(visitor.answers(), viewed);
    within(HELD, || visitor.held_mode(), "100444");
    world.permit("tests/all", BOB.name, "invisible");
    assert_eq!(visitor.answers(), gone);
    within(HELD, || visitor.held_mode(), "ENOENT");
    // What is remembered as missing now is there again then.
    world.ok(OLGA, &format!("unpermit tests/all --for {}", BOB.name));
    assert_eq!(visitor.answers(), viewed);
    within(HELD, || visitor.held_mode(), "100444");
    world.permit("tests/all", BOB.name, "locked");
    assert_eq!(visitor.answers(), locked);
    world.ok(OLGA, &format!("unpermit tests/all --for {}", BOB.name));
    assert_eq!(visitor.answers(), viewed);
    world.ok(OLGA, &format!("unshare tests --with {}", BOB.name));
    assert_eq!(visitor.answers(), gone);
}

#[test]
fn what_is_in_the_top_directory_is_remembered_no_longer_than_it_is_so() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["file"]);
    plant(&world.folder("more"), &["file"]);
    world.share("tests", BOB, "view");
    let (session, mount) = (BOB.stay(), world.mount(BOB));
    let stream = session.run(move || {
        std::env::set_current_dir(&mount).unwrap();
        let top = open(".", OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty());
        Arc::new(Mutex::new(Dir::new(top.unwrap()).unwrap()))
    });
    let look = || {
        let stream = Arc::clone(&stream);
        session.run(move || {
            let file = |folder: &str| stat(AT_FDCWD, &Path::new(folder).join("file"));
            let answers = (
                file("tests"),
                file("more"),
                file("other"),
                list(&mut stream.lock().unwrap()),
            );
            // Once more, so that all of it is remembered.
            let _ = (file("tests"), file("more"), file("other"));
            answers
        })
    };
    let told = |tests: &str, more: &str, other: &str, list: &str| {
        let answers = [tests, more, other, list].map(str::to_owned);
        let [tests, more, other, list] = answers;
        assert_eq!(look(), (tests, more, other, list));
    };
    told("100444", "ENOENT", "ENOENT", "1 names");
    world.share("more", BOB, "edit");
    told("100444", "100644", "ENOENT", "2 names");
    world.ok(OLGA, "rename more other");
    told("100444", "ENOENT", "100644", "2 names");
    world.ok(OLGA, &format!("unshare tests --with {}", BOB.name));
    told("ENOENT", "ENOENT", "100644", "1 names");
    world.ok(BOB, "leave other");
    told("ENOENT", "ENOENT", "ENOENT", "0 names");
    world.share("tests", BOB, "edit");
    told("100644", "ENOENT", "ENOENT", "1 names");
}

/// Names that unrest makes and removes in one directory, for a while; how it ended.
fn unrest(at: &Path, seed: usize, until: Instant) -> Result<usize, String> {
    let mut calls: usize = 0;
    while Instant::now() < until {
        let drawn = calls * 7 + seed * 13 + calls / 5;
        let draw = |of: usize| drawn % of;
        let (one, other) = (
            at.join(format!("n{}", draw(11))),
            at.join(format!("n{}", draw(7))),
        );
        let outcome = match draw(9) {
            0 | 1 => std::fs::write(&one, "content"),
            2 => std::fs::create_dir(&one),
            3 => std::fs::remove_file(&one),
            4 => std::fs::remove_dir(&one),
            5 | 6 => std::fs::rename(&one, &other),
            7 => std::fs::read_dir(at).and_then(|mut list| list.try_for_each(|entry| entry.map(drop))),
            _ => one.metadata().map(drop),
        };
        calls += 1;
        let answer = word(outcome);
        // The kernel walks a path anew once where what it led to was replaced in between, and not if it happens again.
        let harmless = [
            "ok",
            "ENOENT",
            "EEXIST",
            "ENOTEMPTY",
            "ENOTDIR",
            "EISDIR",
            "ESTALE",
        ];
        if !harmless.contains(&&*answer) {
            return Err(format!(
                "call {calls}, {} at {}: {answer}",
                draw(9),
                one.display()
            ));
        }
    }
    Ok(calls)
}

#[test]
fn two_mounts_busy_in_one_directory_never_wait_for_each_other_forever() {
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    plant(&backing, &["busy/"]);
    world.share("tests", BOB, "full");
    world.share("tests", CARA, "full");
    let mounts = [BOB, CARA].map(|user| (user, world.mount(user).join("tests/busy")));
    let until = Instant::now() + Duration::from_secs(3);
    let (done, wait) = channel();
    for (seed, (user, at)) in mounts.iter().cycle().take(4).cloned().enumerate() {
        let done = done.clone();
        std::thread::spawn(move || {
            let outcome = user.run(|| unrest(&at, seed, until));
            let _ = done.send((user.name, outcome));
        });
    }
    for _ in 0..4 {
        let (who, outcome) = wait
            .recv_timeout(Duration::from_secs(30))
            .expect("somebody waits forever");
        assert!(
            outcome.as_ref().is_ok_and(|calls| *calls > 20),
            "{who}: {outcome:?}"
        );
    }
    let truth = names(&backing.join("busy"));
    for (user, at) in mounts {
        assert_eq!(user.run(|| names(&at)), truth, "{}", user.name);
        for name in &truth {
            let told = user.run(|| at.join(name).metadata().unwrap());
            let there = backing.join("busy").join(name).metadata().unwrap();
            assert_eq!((told.len(), told.mode()), (there.len(), there.mode()), "{name}");
        }
    }
}

#[test]
fn a_listing_of_many_names_tells_what_stays_exactly_once_whatever_else_another_mount_does() {
    const MANY: usize = 20_000;
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    for number in 0..MANY {
        File::create(backing.join(format!("stays-{number}"))).unwrap();
    }
    world.share("tests", BOB, "full");
    world.share("tests", CARA, "view");
    let (bob, cara) = (world.mount(BOB).join("tests"), world.mount(CARA).join("tests"));
    let listed = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&listed);
    let changing = std::thread::spawn(move || {
        BOB.run(|| {
            let at = |number: usize| bob.join(format!("passes-{number}"));
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) {
                std::fs::write(at(rounds), "").unwrap();
                std::fs::rename(at(rounds), at(rounds + MANY)).unwrap();
                if rounds >= 50 {
                    std::fs::remove_file(at(rounds - 50 + MANY)).unwrap();
                }
                rounds += 1;
            }
            rounds
        })
    });
    CARA.run(|| {
        let directory = open(&cara, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        let mut stream = Dir::new(directory).unwrap();
        for round in 0..4 {
            let mut seen: HashMap<String, usize> = HashMap::new();
            for entry in stream.by_ref() {
                let name = entry.unwrap().file_name().to_string_lossy().into_owned();
                *seen.entry(name).or_default() += 1;
            }
            let wrong = (0..MANY)
                .map(|number| format!("stays-{number}"))
                .filter(|name| seen.get(name) != Some(&1));
            let wrong: Vec<_> = wrong.map(|name| (seen.get(&name).copied(), name)).collect();
            assert!(
                wrong.is_empty(),
                "round {round}: {} are wrong, {:?}",
                wrong.len(),
                wrong.first()
            );
            stream.rewind();
        }
    });
    listed.store(true, Ordering::Relaxed);
    assert!(changing.join().unwrap() > 50, "nothing changed meanwhile");
}
