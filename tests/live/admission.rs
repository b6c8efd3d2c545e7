//! Who gets into a mount, where one may be, and what may be adopted.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::common::{BOB, CARA, OLGA, ROOT, World, names, plant, word};

#[test]
fn nobody_but_the_subject_enters_root_neither() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["x"]);
    world.share("tests", BOB, "full");
    let at = world.mount(BOB);
    for user in [CARA, OLGA, ROOT] {
        let answers = user.run(|| {
            [
                word(std::fs::read_dir(&at)),
                word(at.join("tests/x").metadata()),
                word(std::fs::read(at.join("tests/x"))),
            ]
        });
        assert_eq!(answers, ["EACCES"; 3], "{}", user.name);
    }
    // A process of Bob's under another group, or with a saved uid of another, is not let in either.
    let other_group = std::process::Command::new("setpriv")
        .args(["--reuid", BOB.name, "--regid", "47800", "--clear-groups", "ls"])
        .arg(&at)
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&other_group.stderr).contains("Permission denied"));
    assert_eq!(BOB.run(|| names(&at)), ["tests"]);
}

#[test]
fn everyone_enters_what_is_open_to_all_and_acts_as_its_subject() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["x"]);
    world.share("tests", BOB, "view");
    let at = world.fresh(BOB);
    assert!(
        world
            .refused(BOB, &format!("mount {} --admit all", at.display()))
            .contains("--admit all")
    );
    world.ok(
        ROOT,
        &format!("mount {} --admit all --user {}", at.display(), BOB.name),
    );
    for user in [CARA, OLGA, ROOT] {
        let answers = user.run(|| {
            (
                word(std::fs::read(at.join("tests/x"))),
                word(std::fs::write(at.join("tests/x"), "")),
            )
        });
        assert_eq!(answers, ("ok".into(), "EACCES".into()), "{}", user.name);
    }
}

#[test]
fn a_mount_point_is_an_empty_directory_of_the_caller() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["dir/"]);
    world.share("tests", BOB, "full");
    let at = world.fresh(BOB);
    let refuse = |path: &Path, why: &str| {
        let line = world.refused(BOB, &format!("mount {}", path.display()));
        assert!(line.contains(why), "{}: {line}", path.display());
    };
    std::fs::write(at.join("file"), "").unwrap();
    refuse(&at, "not empty");
    refuse(&at.join("file"), "directory");
    refuse(&at.join("missing"), "No such file");
    let root_s = world.dir.join("root-s");
    std::fs::create_dir(&root_s).unwrap();
    refuse(&root_s, "belongs to another");
    // Through a link of his own it is no more his.
    let link = world.fresh(BOB).join("link");
    std::os::unix::fs::symlink(&root_s, &link).unwrap();
    refuse(&link, "belongs to another");
    let closed = world.dir.join("closed");
    OLGA.directory(&closed);
    BOB.directory(&closed.join("his"));
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o700)).unwrap();
    refuse(&closed.join("his"), "Permission denied");
    let mounted = world.mount(BOB);
    refuse(&mounted, "FUSE");
    refuse(&mounted.join("tests/dir"), "FUSE");
    assert_eq!(world.json(BOB, "mounts").as_array().unwrap().len(), 1);
}

#[test]
fn a_mount_point_swapped_in_time_is_not_the_one_mounted_on() {
    let Some(world) = World::new() else { return };
    let target = world.dir.join("etc-of-root");
    std::fs::create_dir(&target).unwrap();
    let place = world.fresh(BOB);
    let (point, swap) = (place.join("point"), place.join("swap"));
    BOB.directory(&point);
    std::os::unix::fs::symlink(&target, &swap).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = renameat2(AT_FDCWD, &point, AT_FDCWD, &swap, RenameFlags::RENAME_EXCHANGE);
            }
        });
        for _ in 0..40 {
            let _ = world.lendfs(BOB, &format!("mount {}", point.display()));
            let mounts = crate::common::world::mount_table();
            assert!(
                !mounts.contains(&*target.to_string_lossy()),
                "mounted on what is not his"
            );
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn the_way_to_a_mount_turned_elsewhere_does_not_take_another_mount_down() {
    let Some(world) = World::new() else { return };
    let (system, place) = (world.dir.join("system"), world.fresh(BOB));
    std::fs::create_dir_all(system.join("point")).unwrap();
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(
        Some("none"),
        &system.join("point"),
        Some("tmpfs"),
        flags,
        None::<&str>,
    )
    .unwrap();
    let (way, swap) = (place.join("way"), place.join("swap"));
    BOB.directory(&way);
    BOB.directory(&way.join("point"));
    std::os::unix::fs::symlink(&system, &swap).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = renameat2(AT_FDCWD, &way, AT_FDCWD, &swap, RenameFlags::RENAME_EXCHANGE);
            }
        });
        for _ in 0..40 {
            let at = way.join("point");
            let _ = world.lendfs(BOB, &format!("mount {}", at.display()));
            let _ = world.lendfs(BOB, &format!("umount {} --lazy", at.display()));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let mounts = crate::common::world::mount_table();
    let point = system.join("point");
    let still = mounts
        .lines()
        .filter(|line| line.contains(&*point.to_string_lossy()))
        .count();
    nix::mount::umount2(&point, nix::mount::MntFlags::MNT_DETACH).unwrap();
    assert_eq!(still, 1);
}

#[test]
fn only_the_owner_adopts_and_never_what_is_not_to_be_lent() {
    let Some(world) = World::new() else { return };
    let mine = world.dir.join("mine");
    OLGA.directory(&mine.join("sub"));
    OLGA.directory(&mine);
    let refuse = |user, path: &Path, why: &str| {
        let line = world.refused(user, &format!("create lent --path {}", path.display()));
        assert!(line.contains(why), "{}: {line}", path.display());
    };
    refuse(BOB, &mine, "belongs to another");
    refuse(ROOT, Path::new("/"), "state directory");
    refuse(ROOT, &world.state(), "state directory");
    refuse(ROOT, &world.state().join("folders"), "state directory");
    refuse(ROOT, &world.dir, "state directory");
    refuse(OLGA, &mine.join("missing"), "No such file");
    // By a link it is the directory that counts.
    let link = world.fresh(BOB).join("link");
    std::os::unix::fs::symlink(&mine, &link).unwrap();
    refuse(BOB, &link, "belongs to another");
    std::fs::set_permissions(&mine, PermissionsExt::from_mode(0o755)).unwrap();
    let output = world.lendfs(OLGA, &format!("create lent --path {}", mine.display()));
    assert!(output.status.success());
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(said.contains("natively"), "{said}");
    refuse(OLGA, &mine, "another folder");
    refuse(OLGA, &mine.join("sub"), "another folder");
    let mounted = world.mount(OLGA);
    refuse(OLGA, &mounted.join("lent/sub"), "FUSE");
}

#[test]
fn what_is_mounted_below_a_folder_is_not_entered() {
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    plant(&backing, &["other/", "same/", "dir/x"]);
    world.share("tests", BOB, "full");
    let flags = nix::mount::MsFlags::empty();
    let none = None::<&str>;
    nix::mount::mount(Some("none"), &backing.join("other"), Some("tmpfs"), flags, none).unwrap();
    let bind = nix::mount::MsFlags::MS_BIND;
    nix::mount::mount(Some(Path::new("/etc")), &backing.join("same"), none, bind, none).unwrap();
    let at = world.mount(BOB).join("tests");
    let answers =
        BOB.run(|| ["other", "same", "same/hostname"].map(|name| word(at.join(name).symlink_metadata())));
    for name in ["other", "same"] {
        nix::mount::umount2(&backing.join(name), nix::mount::MntFlags::MNT_DETACH).unwrap();
    }
    assert_eq!(answers, ["EACCES"; 3]);
    assert_eq!(BOB.run(|| word(at.join("other").symlink_metadata())), "ok");
}
