//! Files that are open past the daemon are cut when the right to them is taken back, for good.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::fcntl::FallocateFlags;
use nix::unistd::Whence;

use crate::common::users::Session;
use crate::common::{BOB, OLGA, ROOT, World, plant, word};

/// A folder of Olga's with some files, which Bob edits.
fn lent(files: &[&str]) -> Option<World> {
    let world = World::new()?;
    plant(&world.folder("tests"), files);
    world.share("tests", BOB, "edit");
    Some(world)
}

/// A file that a process of Bob's has open.
struct Open {
    session: Session,
    file: Arc<File>,
}

impl Open {
    fn file(at: &Path, writable: bool) -> Self {
        let (session, at) = (BOB.stay(), at.to_path_buf());
        let file = session.run(move || File::options().read(true).write(writable).open(at).unwrap());
        Self {
            session,
            file: Arc::new(file),
        }
    }

    fn run<T: Send + 'static>(&self, call: impl FnOnce(&File) -> T + Send + 'static) -> T {
        let file = Arc::clone(&self.file);
        self.session.run(move || call(&file))
    }

    fn read(&self) -> String {
        self.run(|file| word(file.read_at(&mut [0; 8], 0)))
    }

    fn write(&self) -> String {
        self.run(|file| word(file.write_at(b"x", 0)))
    }
}

/// A system call on an open file, and its outcome.
type Call = fn(&File) -> String;

#[test]
fn every_call_on_a_file_that_was_cut_is_answered_eio_for_good() {
    let Some(world) = lent(&["one"]) else { return };
    let at = world.mount(BOB).join("tests/one");
    let old = Open::file(&at, true);
    let calls: [(&str, Call); 9] = [
        ("pread", |file| word(file.read_at(&mut [0; 8], 0))),
        ("pwrite", |file| word(file.write_at(b"x", 0))),
        ("append", |mut file| word(file.write(b"x"))),
        ("fstat", |file| word(file.metadata())),
        ("fsync", |file| word(file.sync_all())),
        ("ftruncate", |file| word(file.set_len(3))),
        ("fallocate", |file| {
            word(nix::fcntl::fallocate(file, FallocateFlags::empty(), 0, 4096))
        }),
        ("lseek", |file| {
            word(nix::unistd::lseek(file, 0, Whence::SeekData))
        }),
        ("lock", |file| word(file.try_lock().map_err(std::io::Error::from))),
    ];
    for (name, call) in calls {
        assert_eq!(old.run(call), "ok", "{name}");
    }
    world.ok(OLGA, "unshare tests --with lft-bob");
    for (name, call) in calls {
        assert_eq!(old.run(call), "EIO", "{name}");
    }
    world.share("tests", BOB, "edit");
    let new = Open::file(&at, true);
    for (name, call) in calls {
        assert_eq!(old.run(call), "EIO", "{name} for good");
        assert_eq!(new.run(call), "ok", "{name} on what is opened anew");
    }
    // And it can be cut again.
    world.ok(OLGA, "unshare tests --with lft-bob");
    assert_eq!((new.read(), new.write()), ("EIO".into(), "EIO".into()));
}

#[test]
fn who_only_reads_goes_on_when_writing_is_taken_back() {
    let Some(world) = lent(&["read", "written", "both"]) else {
        return;
    };
    let at = world.mount(BOB).join("tests");
    let reads = Open::file(&at.join("read"), false);
    let writes = Open::file(&at.join("written"), true);
    world.permit("tests", BOB.name, "view");
    assert_eq!(reads.read(), "ok");
    assert_eq!((writes.read(), writes.write()), ("EIO".into(), "EIO".into()));
    // What he may still do, he does with a file that he opens anew, of the same number as before.
    let again = Open::file(&at.join("written"), false);
    assert_eq!(again.read(), "ok");
    let number =
        |open: &Open| open.run(|file| std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap()));
    let seen = BOB.run(|| std::os::unix::fs::MetadataExt::ino(&at.join("written").metadata().unwrap()));
    assert_eq!(number(&again), seen);
    world.permit("tests", BOB.name, "invisible");
    assert_eq!((reads.read(), again.read()), ("EIO".into(), "EIO".into()));
}

#[test]
fn what_lost_its_name_is_cut_as_well_and_so_is_what_many_have_open() {
    let Some(world) = lent(&["gone", "many"]) else {
        return;
    };
    world.permit("tests", BOB.name, "full");
    let at = world.mount(BOB).join("tests");
    let gone = Open::file(&at.join("gone"), true);
    BOB.run(|| std::fs::remove_file(at.join("gone")).unwrap());
    let many: Vec<_> = (0..20).map(|_| Open::file(&at.join("many"), true)).collect();
    assert_eq!(gone.read(), "ok");
    world.ok(OLGA, "unshare tests --with lft-bob");
    assert_eq!(gone.read(), "EIO");
    assert!(many.iter().all(|open| open.read() == "EIO"));
}

#[test]
fn many_files_are_cut_at_once() {
    let names: Vec<_> = (0..200).map(|number| format!("file-{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let Some(world) = lent(&names) else { return };
    let at = world.mount(BOB).join("tests");
    let files: Vec<_> = names
        .iter()
        .map(|name| BOB.run(|| File::open(at.join(name)).unwrap()))
        .collect();
    let start = Instant::now();
    world.ok(OLGA, "unshare tests --with lft-bob");
    println!("{} files cut in {:?}", files.len(), start.elapsed());
    for file in &files {
        assert_eq!(word(file.read_at(&mut [0; 8], 0)), "EIO");
    }
}

fn is_busy(world: &World, at: &Path) -> bool {
    let output = world.lendfs(BOB, &format!("umount {}", at.display()));
    !output.status.success()
}

#[test]
fn the_daemons_own_way_keeps_no_mount_busy_and_ends_with_it() {
    let Some(world) = lent(&["one"]) else { return };
    assert_eq!(ways(&world), 0);
    let at = world.mount(BOB);
    assert_eq!(ways(&world), 1);
    assert!(!is_busy(&world, &at));
    assert_eq!(ways(&world), 0);
    // Taken down from outside.
    let at = world.mount(BOB);
    nix::mount::umount(&at).unwrap();
    within_half_a_minute("the way to a mount that is gone", || ways(&world) == 0);
    // Where nothing bypasses the daemon, nothing has to be cut.
    world.mount_with(BOB, "--strict");
    assert_eq!(ways(&world), 0);
}

#[test]
fn what_is_open_in_a_mount_that_was_taken_down_lazily_is_cut_as_well() {
    let Some(world) = lent(&["one"]) else { return };
    let at = world.mount(BOB);
    let open = Open::file(&at.join("tests/one"), true);
    assert!(is_busy(&world, &at));
    world.ok(BOB, &format!("umount --lazy {}", at.display()));
    assert_eq!(open.read(), "ok");
    world.ok(OLGA, "unshare tests --with lft-bob");
    assert_eq!(open.read(), "EIO");
    assert_eq!(ways(&world), 1);
    drop(open);
    within_half_a_minute("the way to what nobody has open", || ways(&world) == 0);
}

#[test]
fn a_mount_that_admits_all_is_cut_for_all() {
    let Some(world) = lent(&["one"]) else { return };
    let at = world.fresh(BOB);
    world.ok(
        ROOT,
        &format!("mount {} --admit all --user lft-bob", at.display()),
    );
    let open = File::open(at.join("tests/one")).unwrap();
    assert_eq!(word(open.read_at(&mut [0; 8], 0)), "ok");
    world.ok(OLGA, "unshare tests --with lft-bob");
    assert_eq!(word(open.read_at(&mut [0; 8], 0)), "EIO");
}

/// How many top directories the daemon has open.
fn ways(world: &World) -> usize {
    let directory = PathBuf::from(format!("/proc/{}/fd", world.pid()));
    std::fs::read_dir(directory)
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter(|target| target == Path::new("/"))
        .count()
}

fn within_half_a_minute(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn those_who_open_while_rights_come_and_go_have_what_holds_in_the_end() {
    let Some(world) = lent(&["0", "1", "2", "3"]) else {
        return;
    };
    let at = world.mount(BOB).join("tests");
    let ends = std::sync::atomic::AtomicBool::new(false);
    let ended = || ends.load(std::sync::atomic::Ordering::Relaxed);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|number| {
                let (path, ended) = (at.join(number.to_string()), &ended);
                scope.spawn(move || {
                    BOB.run(|| {
                        let mut held = Vec::new();
                        while !ended() {
                            match File::options().read(true).write(true).open(&path) {
                                Ok(file) => {
                                    let wrote = word(file.write_at(b"x", 0));
                                    assert!(["ok", "EIO"].contains(&wrote.as_str()), "{wrote}");
                                    if held.len() < 200 {
                                        held.push(file);
                                    }
                                }
                                Err(error) => {
                                    let opened = word::<()>(Err(error));
                                    assert!(["EACCES", "EIO"].contains(&opened.as_str()), "{opened}");
                                }
                            }
                        }
                        held
                    })
                })
            })
            .collect();
        for _ in 0..8 {
            world.permit("tests", BOB.name, "view");
            world.permit("tests", BOB.name, "edit");
        }
        world.permit("tests", BOB.name, "view");
        ends.store(true, std::sync::atomic::Ordering::Relaxed);
        for client in clients {
            for file in client.join().unwrap() {
                assert_eq!(word(file.write_at(b"x", 0)), "EIO");
            }
        }
    });
    world.permit("tests", BOB.name, "edit");
    for number in 0..4 {
        assert_eq!(Open::file(&at.join(number.to_string()), true).write(), "ok");
    }
    assert!(!world.logged().contains("ERROR"), "{}", world.logged());
}
