//! The daemon's life: its end, its death, lost backings, full disks, many files.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::world::mounts_below;
use crate::common::{BOB, CARA, OLGA, ROOT, World, names, plant, soon, word};

fn shared() -> Option<(World, PathBuf, PathBuf)> {
    let world = World::new()?;
    let backing = world.folder("tests");
    plant(&backing, &["file"]);
    world.share("tests", BOB, "full");
    let mount = world.mount(BOB);
    Some((world, backing, mount))
}

#[test]
fn sigterm_takes_every_mount_down() {
    let Some((mut world, _, mount)) = shared() else {
        return;
    };
    world.mount(OLGA);
    world.end(Signal::SIGTERM);
    assert_eq!(mounts_below(&world.dir), Vec::<PathBuf>::new());
    assert!(BOB.run(|| names(&mount)).is_empty());
    assert!(!world.socket().exists());
}

#[test]
fn with_files_open_the_end_is_lazy_and_comes_all_the_same() {
    let Some((mut world, _, mount)) = shared() else {
        return;
    };
    let session = BOB.stay();
    let inside = mount.join("tests");
    let file = session.run(move || {
        std::env::set_current_dir(&inside).unwrap();
        File::options().read(true).write(true).open("file").unwrap()
    });
    let before = Instant::now();
    world.end(Signal::SIGTERM);
    assert!(before.elapsed() < Duration::from_secs(15));
    assert_eq!(mounts_below(&world.dir), Vec::<PathBuf>::new());
    // What is open may be read on past the daemon; nothing else is answered.
    let answers = session.run(|| (word(File::open("file")), word(std::fs::metadata("file"))));
    assert_eq!(
        answers,
        ("ENOTCONN".into(), "ENOTCONN".into()),
        "nobody is there to answer"
    );
    drop(file);
}

#[test]
fn after_a_kill_the_next_daemon_clears_up_and_knows_everything() {
    let Some((mut world, backing, mount)) = shared() else {
        return;
    };
    world.permit("tests/file", BOB.name, "view");
    let mut file = BOB.run(|| File::create(mount.join("tests/new")).unwrap());
    file.write_all(b"written").unwrap();
    world.end(Signal::SIGKILL);
    assert_eq!(mounts_below(&world.dir).len(), 1, "a dead mount is left");
    world.start();
    assert_eq!(mounts_below(&world.dir), Vec::<PathBuf>::new());
    world.ok(BOB, &format!("mount {}", mount.display()));
    BOB.run(|| {
        assert_eq!(word(std::fs::write(mount.join("tests/file"), "")), "EACCES");
        assert_eq!(
            std::fs::read_to_string(mount.join("tests/new")).unwrap(),
            "written"
        );
    });
    assert!(backing.join("new").exists());
    assert_eq!(world.json(ROOT, "status")["lost"].as_array().unwrap().len(), 0);
}

#[test]
fn a_backing_that_vanished_answers_eio_and_the_rest_works() {
    let Some((world, backing, mount)) = shared() else {
        return;
    };
    for name in ["second", "a-first", "z-last"] {
        plant(&world.folder(name), &["x"]);
        world.share(name, BOB, "view");
    }
    assert_eq!(BOB.run(|| word(std::fs::read(mount.join("tests/file")))), "ok");
    std::fs::remove_dir_all(&backing).unwrap();
    BOB.run(|| {
        soon(|| word(mount.join("tests").metadata()), "EIO");
        assert_eq!(word(std::fs::write(mount.join("tests/new"), "")), "EIO");
        assert_eq!(word(std::fs::read(mount.join("second/x"))), "ok");
        assert_eq!(names(&mount), ["a-first", "second", "tests", "z-last"]);
    });
    let lost = world.json(OLGA, "status")["lost"].clone();
    assert_eq!(lost, serde_json::json!(["lft-olga:tests"]));
    // It comes back, and with it the folder.
    let checked = world.lendfs(ROOT, "check");
    assert!(
        String::from_utf8_lossy(&checked.stdout).contains("tests"),
        "{checked:?}"
    );
}

#[test]
fn an_adopted_directory_that_is_swapped_for_another_is_not_served() {
    let Some(mut world) = World::new() else { return };
    let (mine, other) = (world.dir.join("mine"), world.dir.join("other"));
    for (path, text) in [(&mine, "mine"), (&other, "other")] {
        OLGA.directory(path);
        std::fs::write(path.join("file"), text).unwrap();
    }
    world.ok(OLGA, &format!("create lent --path {}", mine.display()));
    world.end(Signal::SIGTERM);
    std::fs::rename(&mine, world.dir.join("aside")).unwrap();
    std::fs::rename(&other, &mine).unwrap();
    world.start();
    let at = world.mount(OLGA).join("lent");
    assert_eq!(OLGA.run(|| word(std::fs::read(at.join("file")))), "EIO");
    std::fs::rename(&mine, &other).unwrap();
    std::fs::rename(world.dir.join("aside"), &mine).unwrap();
    world.ok(ROOT, "status");
    assert_eq!(
        OLGA.run(|| std::fs::read_to_string(at.join("file")).unwrap()),
        "mine"
    );
}

#[test]
fn a_full_disk_is_told_to_the_program_and_costs_the_store_nothing() {
    let Some(mut world) = World::quiet() else { return };
    std::fs::create_dir(world.state()).unwrap();
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(
        Some("none"),
        &world.state(),
        Some("tmpfs"),
        flags,
        Some("size=24m"),
    )
    .unwrap();
    world.start();
    world.ok(OLGA, "create tests");
    world.share("tests", BOB, "edit");
    let at = world.mount(BOB).join("tests");
    let answer = BOB.run(|| {
        let mut file = File::create(at.join("large")).unwrap();
        let block = vec![1; 1 << 20];
        (0..64).find_map(|_| file.write_all(&block).err())
    });
    assert_eq!(
        answer.and_then(|error| error.raw_os_error()),
        Some(nix::libc::ENOSPC)
    );
    // The store has no room either: what cannot be written down is not done.
    let refused = (0..200).find_map(|number| {
        let output = world.lendfs(OLGA, &format!("create more-{number}"));
        (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
    });
    let refused = refused.expect("a store without room");
    assert_eq!(refused.lines().count(), 1, "{refused}");
    std::fs::remove_file(world.state().join("folders/1/large")).unwrap();
    // Removed behind the daemon's back, it gives up its space in a while.
    let deadline = Instant::now() + Duration::from_secs(20);
    while !world.lendfs(OLGA, "create after").status.success() {
        assert!(
            Instant::now() < deadline,
            "the space of a removed file is never free again"
        );
    }
    let named = |value: &serde_json::Value| {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|folder| folder["name"].to_string())
            .collect::<Vec<_>>()
    };
    let before = named(&world.json(OLGA, "list"));
    world.end(Signal::SIGKILL);
    world.start();
    assert_eq!(named(&world.json(OLGA, "list")), before);
    world.ok(ROOT, "check");
    world.end(Signal::SIGTERM);
    nix::mount::umount2(&world.state(), nix::mount::MntFlags::MNT_DETACH).unwrap();
}

#[test]
fn more_files_are_known_than_may_be_open() {
    let Some(mut world) = World::quiet() else { return };
    world.limit_files(400);
    world.start();
    let backing = world.folder("tests");
    for number in 0..1500 {
        let directory = backing.join(format!("{}", number % 40));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(number.to_string()), number.to_string()).unwrap();
    }
    world.share("tests", BOB, "edit");
    world.permit("tests/7", BOB.name, "view");
    let at = world.mount(BOB).join("tests");
    BOB.run(|| {
        // O_PATH descriptors keep the kernel from forgetting.
        let known: Vec<_> = (0..1500)
            .map(|number| {
                let path = at.join(format!("{}/{number}", number % 40));
                nix::fcntl::open(&path, nix::fcntl::OFlag::O_PATH, nix::sys::stat::Mode::empty()).unwrap()
            })
            .collect();
        for (number, fd) in known.iter().enumerate() {
            assert_eq!(
                nix::sys::stat::fstat(fd).unwrap().st_size,
                number.to_string().len() as i64
            );
            let path = at.join(format!("{}/{number}", number % 40));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), number.to_string());
            let expected = if number % 40 == 7 { "EACCES" } else { "ok" };
            assert_eq!(word(File::options().append(true).open(&path)), expected);
        }
    });
}

#[test]
fn one_user_does_not_take_all_open_files_from_the_others() {
    let Some(mut world) = World::quiet() else { return };
    world.limit_files(400);
    world.start();
    plant(&world.folder("tests"), &["file"]);
    world.share("tests", BOB, "view");
    world.share("tests", CARA, "view");
    let (bob, cara) = (
        world.mount(BOB).join("tests/file"),
        world.mount(CARA).join("tests/file"),
    );
    let taken: Vec<_> = BOB.run(|| (0..300).map_while(|_| File::open(&bob).ok()).collect());
    assert_eq!(taken.len(), 100);
    assert_eq!(BOB.run(|| word(File::open(&bob))), "ENFILE");
    assert_eq!(CARA.run(|| word(File::open(&cara))), "ok");
    drop(taken);
    // The kernel tells of a last close in its own time.
    let deadline = Instant::now() + Duration::from_secs(20);
    while BOB.run(|| File::open(&bob).is_err()) {
        assert!(Instant::now() < deadline, "what was closed is never free again");
    }
}

#[test]
fn a_busy_mount_is_not_taken_from_its_user() {
    let Some((world, _, mount)) = shared() else { return };
    let session = BOB.stay();
    let inside = mount.clone();
    session.run(move || std::env::set_current_dir(inside).unwrap());
    let refused = world.refused(BOB, &format!("umount {}", mount.display()));
    assert!(
        refused.contains("busy") && refused.contains("--lazy"),
        "{refused}"
    );
    let foreign = world.refused(CARA, &format!("umount {}", mount.display()));
    assert!(!foreign.contains("busy"), "{foreign}");
    world.ok(BOB, &format!("umount {} --lazy", mount.display()));
    assert_eq!(mounts_below(&world.dir), Vec::<PathBuf>::new());
}

#[test]
fn a_mount_that_root_took_down_is_forgotten() {
    let Some((world, _, mount)) = shared() else { return };
    nix::mount::umount2(&mount, nix::mount::MntFlags::empty()).unwrap();
    assert_eq!(world.json(BOB, "mounts"), serde_json::json!([]));
    assert_eq!(world.json(BOB, "status")["mounts"], 0);
    world.ok(BOB, &format!("mount {}", mount.display()));
    assert_eq!(BOB.run(|| names(&mount)), ["tests"]);
}

#[test]
fn a_mount_of_another_that_was_given_the_number_of_one_that_is_gone_stays() {
    let Some((mut world, _, mount)) = shared() else {
        return;
    };
    nix::mount::umount2(&mount, nix::mount::MntFlags::empty()).unwrap();
    // The kernel gives the lowest number that is free.
    let others: Vec<_> = (0..8)
        .map(|number| world.dir.join(format!("other-{number}")))
        .collect();
    for other in &others {
        std::fs::create_dir(other).unwrap();
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("none"), other, Some("tmpfs"), flags, Some("size=64k")).unwrap();
    }
    world.end(Signal::SIGTERM);
    let left = mounts_below(&world.dir);
    for other in &others {
        assert!(left.contains(other), "{} was taken down", other.display());
    }
}

#[test]
fn many_users_work_at_once_and_no_request_is_left_hanging() {
    let Some((world, _, bob)) = shared() else { return };
    world.share("tests", CARA, "edit");
    let (cara, olga) = (world.mount(CARA), world.mount(OLGA));
    let work = |at: &Path, who: &str| {
        for round in 0..60 {
            let path = at.join("tests").join(format!("{who}-{round}"));
            std::fs::write(&path, who).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), who);
            names(&at.join("tests"));
            let _ = std::fs::rename(&path, at.join("tests").join(who));
            let _ = std::fs::read(at.join("tests/shared"));
        }
    };
    std::thread::scope(|scope| {
        for (user, at) in [(BOB, &bob), (CARA, &cara), (OLGA, &olga)] {
            scope.spawn(move || user.run(|| work(at, user.name)));
        }
        scope.spawn(|| {
            for _ in 0..10 {
                world.ok(OLGA, &format!("share tests --with {} --as full", CARA.name));
                world.ok(OLGA, &format!("share tests --with {} --as edit", CARA.name));
            }
        });
    });
    assert!(world.ok(ROOT, "status").contains("mounts"));
}
