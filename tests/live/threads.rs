//! Threads: how many serve a mount, that a backing that hangs holds up only what needs it, and that processors are
//! kept awake only while it pays.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::users::must;
use crate::common::{BOB, OLGA, ROOT, World, names, plant, word};

/// A disk on which every change hangs until this is dropped.
pub struct Frozen<'a>(&'a Path);

impl<'a> Frozen<'a> {
    pub fn new(disk: &'a Path) -> Self {
        must("fsfreeze", &["--freeze", disk.to_str().unwrap()]);
        Self(disk)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        must("fsfreeze", &["--unfreeze", self.0.to_str().unwrap()]);
    }
}

/// A disk of its own in a file of the world's.
pub fn disk(world: &World) -> PathBuf {
    let (image, disk) = (world.dir.join("image"), world.dir.join("disk"));
    std::fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
    std::fs::create_dir(&disk).unwrap();
    must("mkfs.ext4", &["-q", image.to_str().unwrap()]);
    must(
        "mount",
        &["-o", "loop", image.to_str().unwrap(), disk.to_str().unwrap()],
    );
    disk
}

fn workers(world: &World) -> u64 {
    world.json(ROOT, "status")["workers"].as_u64().unwrap()
}

/// Waits until those that are not needed are gone.
fn wait_for_rest(world: &World, left: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while workers(world) > left {
        assert!(Instant::now() < deadline, "those that are not needed stay");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(workers(world), left);
}

#[test]
fn requests_that_hang_do_not_hold_up_the_others() {
    let Some(world) = World::new() else { return };
    let disk = disk(&world);
    let lent = disk.join("lent");
    OLGA.directory(&lent);
    plant(&lent, &["0/", "1/", "2/", "3/", "file"]);
    world.ok(OLGA, &format!("create tests --path {}", lent.display()));
    world.share("tests", BOB, "edit");
    let at = world.mount(BOB).join("tests");
    assert_eq!(workers(&world), 1);
    let hung = {
        let _frozen = Frozen::new(&disk);
        let hung: Vec<_> = (0..4)
            .map(|number| {
                let new = at.join(number.to_string()).join("new");
                std::thread::spawn(move || BOB.run(|| word(std::fs::create_dir(new))))
            })
            .collect();
        let deadline = Instant::now() + Duration::from_secs(20);
        for number in 0.. {
            // A request that waits is what the pool grows for; what was asked for before is no request any more.
            let (told, tell) = channel();
            let path = at.join(format!("nothing-{number}"));
            std::thread::spawn(move || told.send(BOB.run(|| word(std::fs::metadata(path)))));
            let answer = tell.recv_timeout(Duration::from_secs(20));
            assert_eq!(answer.as_deref(), Ok("ENOENT"));
            if workers(&world) >= 5 {
                break;
            }
            assert!(Instant::now() < deadline, "no worker is free for others");
        }
        assert!(hung.iter().all(|client| !client.is_finished()));
        hung
    };
    for client in hung {
        assert_eq!(client.join().unwrap(), "ok");
    }
    wait_for_rest(&world, 1);
    assert_eq!(BOB.run(|| names(&at.join("3"))), ["new"]);
    let log = world.logged();
    assert!(!log.contains("worker"), "{log}");
}

#[test]
fn an_idle_mount_costs_two_threads() {
    const MOUNTS: usize = 30;
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["file"]);
    let threads = || names(Path::new(&format!("/proc/{}/task", world.pid()))).len();
    let before = threads();
    let mounts: Vec<_> = (0..MOUNTS).map(|_| world.mount(OLGA)).collect();
    for at in &mounts {
        assert_eq!(OLGA.run(|| names(&at.join("tests"))), ["file"]);
    }
    wait_for_rest(&world, MOUNTS as u64);
    // One that serves and one that waits for it; the runtime may have started some of its own.
    let grown = threads() - before;
    assert!(grown <= MOUNTS * 2 + 4, "{grown} threads for {MOUNTS} mounts");
}

#[test]
fn processors_are_kept_awake_only_while_requests_follow_each_other_closely() {
    let Some(mut world) = World::quiet() else { return };
    if std::fs::File::options()
        .write(true)
        .open("/dev/cpu_dma_latency")
        .is_err()
    {
        // Nothing that lendfs could do here.
        println!("SKIP: needs /dev/cpu_dma_latency");
        return;
    }
    let held = |world: &World| {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", world.pid())).unwrap();
        descriptors
            .filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok())
            .any(|file| file == Path::new("/dev/cpu_dma_latency"))
    };
    // Until it is held, or a while has passed.
    let work = |world: &World, patience: u64| {
        plant(&world.folder("tests"), &["file"]);
        let at = world.mount(OLGA).join("tests");
        let busy = AtomicBool::new(true);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                OLGA.run(|| {
                    let mut number = 0_u64;
                    while busy.load(Ordering::Relaxed) {
                        number += 1;
                        let _ = std::fs::metadata(at.join(format!("nothing-{number}")));
                    }
                })
            });
            let deadline = Instant::now() + Duration::from_secs(patience);
            let mut seen = false;
            while !seen && Instant::now() < deadline {
                seen = held(world);
            }
            busy.store(false, Ordering::Relaxed);
            seen
        })
    };
    world.start();
    assert!(!held(&world));
    assert!(work(&world, 20));
    let deadline = Instant::now() + Duration::from_secs(20);
    while held(&world) {
        assert!(Instant::now() < deadline, "it is not let go");
    }
    assert_eq!(world.json(ROOT, "status")["latency_held"], false);
    world.end(Signal::SIGTERM);
    world.configure("[latency]\nhold = 'off'");
    std::fs::remove_dir_all(world.state()).unwrap();
    world.start();
    assert!(!work(&world, 1));
}
