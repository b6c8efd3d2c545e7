//! Modes, owners, sizes and extended attributes.

use std::fs::File;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use nix::sys::stat::{Mode, SFlag, mknod};

use crate::common::{BOB, CARA, OLGA, ROOT, STAFF, World, names, plant, word};

fn shared(level: &str, entries: &[&str]) -> Option<(World, PathBuf, PathBuf)> {
    let world = World::new()?;
    let backing = world.folder("tests");
    plant(&backing, entries);
    world.share("tests", BOB, level);
    let mount = world.mount(BOB).join("tests");
    Some((world, backing, mount))
}

fn chmod(path: &Path, mode: u32) -> String {
    word(std::fs::set_permissions(path, PermissionsExt::from_mode(mode)))
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o7777
}

#[test]
fn chmod_is_no_way_to_delete() {
    let Some((_world, backing, at)) = shared("edit", &["file", "dir/x"]) else {
        return;
    };
    let answers = BOB.run(|| (chmod(&at.join("file"), 0), chmod(&at.join("dir"), 0o100)));
    assert_eq!(answers, ("ok".into(), "ok".into()));
    assert_eq!(
        (mode(&backing.join("file")), mode(&backing.join("dir"))),
        (0o600, 0o700)
    );
    BOB.run(|| assert_eq!(word(std::fs::write(at.join("dir/x"), "new")), "ok"));
}

#[test]
fn who_may_delete_may_close_a_file() {
    let Some((_world, backing, at)) = shared("full", &["file"]) else {
        return;
    };
    assert_eq!(BOB.run(|| chmod(&at.join("file"), 0)), "ok");
    assert_eq!(mode(&backing.join("file")), 0);
    // The daemon is the judge: the level still lets him read it.
    assert_eq!(BOB.run(|| word(std::fs::read(at.join("file")))), "ok");
}

#[test]
fn setuid_setgid_and_sticky_bits_are_dropped_and_never_shown() {
    let Some((world, backing, at)) = shared("full", &["file", "dir/", "native"]) else {
        return;
    };
    BOB.run(|| {
        assert_eq!(
            (chmod(&at.join("file"), 0o6755), chmod(&at.join("dir"), 0o3777)),
            ("ok".into(), "ok".into())
        );
        let made = File::options()
            .write(true)
            .create_new(true)
            .mode(0o6777)
            .open(at.join("made"));
        assert_eq!(word(made), "ok");
        nix::unistd::mkdir(&at.join("made-dir"), Mode::from_bits_truncate(0o7777)).unwrap();
    });
    for name in ["file", "dir", "made", "made-dir"] {
        assert_eq!(mode(&backing.join(name)) & 0o7000, 0, "{name}");
    }
    std::fs::set_permissions(backing.join("native"), PermissionsExt::from_mode(0o6755)).unwrap();
    assert_eq!(BOB.run(|| mode(&at.join("native"))), 0o755);
    let olga = world.mount(OLGA).join("tests");
    assert_eq!(
        OLGA.run(|| (chmod(&olga.join("file"), 0o4755), mode(&olga.join("native")))),
        ("ok".into(), 0o755)
    );
    assert_eq!(mode(&backing.join("file")), 0o755);
}

#[test]
fn a_write_takes_a_native_setuid_bit_away() {
    let Some((_world, backing, at)) = shared("edit", &["native"]) else {
        return;
    };
    std::fs::set_permissions(backing.join("native"), PermissionsExt::from_mode(0o6777)).unwrap();
    BOB.run(|| std::fs::write(at.join("native"), "not what was trusted").unwrap());
    assert_eq!(mode(&backing.join("native")) & 0o6000, 0);
}

#[test]
fn nobody_gives_a_file_away() {
    let Some((world, backing, at)) = shared("admin", &["file"]) else {
        return;
    };
    let own = BOB.run(|| {
        std::fs::write(at.join("mine"), "").unwrap();
        [
            word(chown(at.join("mine"), Some(OLGA.uid), None)),
            word(chown(at.join("mine"), None, Some(0))),
            word(chown(at.join("file"), Some(BOB.uid), Some(BOB.gid))),
            word(chown(at.join("mine"), Some(BOB.uid), Some(BOB.gid))),
            word(chown(at.join("file"), Some(OLGA.uid), Some(OLGA.gid))),
        ]
    });
    assert_eq!(own, ["EPERM", "EPERM", "EPERM", "ok", "ok"]);
    assert_eq!(backing.join("mine").metadata().unwrap().uid(), BOB.uid);
    // As root it is the same, but in a folder of root's own.
    let open = world.fresh(BOB);
    world.ok(
        ROOT,
        &format!("mount {} --admit all --user {}", open.display(), BOB.name),
    );
    assert_eq!(
        word(chown(open.join("tests/mine"), Some(CARA.uid), None)),
        "EPERM"
    );
    let shown = world.fresh(BOB);
    world.ok(
        ROOT,
        &format!("mount {} --own 4711:4712 --user {}", shown.display(), BOB.name),
    );
    let (answer, uid, gid) = BOB.run(|| {
        let stat = shown.join("tests/file").metadata().unwrap();
        (
            word(chown(shown.join("tests/file"), Some(CARA.uid), None)),
            stat.uid(),
            stat.gid(),
        )
    });
    assert_eq!((answer.as_str(), uid, gid), ("ok", 4711, 4712));
    assert_eq!(backing.join("file").metadata().unwrap().uid(), OLGA.uid);
}

#[test]
fn devices_are_made_by_nobody_and_opened_by_nobody() {
    let Some((world, backing, at)) = shared("full", &["file"]) else {
        return;
    };
    let open = world.fresh(BOB);
    world.ok(
        ROOT,
        &format!("mount {} --admit all --user {}", open.display(), BOB.name),
    );
    let null = nix::sys::stat::makedev(1, 3);
    let made = mknod(&open.join("tests/null"), SFlag::S_IFCHR, Mode::S_IRWXU, null);
    assert_eq!(word(made), "EPERM");
    mknod(&backing.join("native"), SFlag::S_IFCHR, Mode::S_IRWXU, null).unwrap();
    assert_eq!(BOB.run(|| word(File::open(at.join("native")))), "EACCES");
    assert_eq!(word(File::open(open.join("tests/native"))), "EACCES");
    let options = crate::common::world::mount_table();
    let line = options
        .lines()
        .find(|line| line.contains(&*open.to_string_lossy()))
        .unwrap();
    assert!(line.contains("nosuid") && line.contains("nodev"), "{line}");
}

#[test]
fn a_folder_of_root_is_served_to_root_as_the_bare_directory_would_be() {
    let Some(world) = World::new() else { return };
    world.ok(ROOT, "create system");
    let at = world.fresh(ROOT);
    world.ok(
        ROOT,
        &format!("mount {} --admit all --default-permissions", at.display()),
    );
    let (file, null) = (at.join("system/file"), at.join("system/null"));
    std::fs::write(&file, "").unwrap();
    assert_eq!(chmod(&file, 0o4755), "ok");
    assert_eq!(mode(&file), 0o4755);
    assert_eq!(word(chown(&file, Some(CARA.uid), Some(CARA.gid))), "ok");
    assert_eq!(file.metadata().unwrap().uid(), CARA.uid);
    assert_eq!(
        word(mknod(
            &null,
            SFlag::S_IFCHR,
            Mode::S_IRWXU,
            nix::sys::stat::makedev(1, 3)
        )),
        "ok"
    );
    // The kernel keeps others to modes and owners.
    assert_eq!(CARA.run(|| word(std::fs::write(&file, "x"))), "ok");
    assert_eq!(BOB.run(|| word(std::fs::write(&file, "x"))), "EACCES");
    assert_eq!(
        BOB.run(|| word(std::fs::write(at.join("system/new"), ""))),
        "EACCES"
    );
}

#[test]
fn sizes_change_only_for_who_may_write() {
    let Some((world, backing, at)) = shared("view", &["file", "source"]) else {
        return;
    };
    let content = std::fs::read(backing.join("file")).unwrap();
    BOB.run(|| {
        let path = at.join("file");
        let read_and_truncate = File::options()
            .read(true)
            .custom_flags(OFlag::O_TRUNC.bits())
            .open(&path);
        assert_eq!(word(read_and_truncate), "EACCES");
        assert_eq!(word(nix::unistd::truncate(&path, 0)), "EACCES");
        let reading = File::open(&path).unwrap();
        assert_eq!(word(reading.set_len(0)), "EINVAL");
        assert_eq!(
            word(fallocate(&reading, FallocateFlags::empty(), 0, 100)),
            "EBADF"
        );
    });
    assert_eq!(std::fs::read(backing.join("file")).unwrap(), content);
    // A handle that was opened for writing loses it with the right.
    world.ok(OLGA, &format!("share tests --with {} --as edit", BOB.name));
    let writing = BOB.run(|| File::options().write(true).open(at.join("file")).unwrap());
    assert_eq!(
        BOB.run(|| word(fallocate(&writing, FallocateFlags::empty(), 0, 100))),
        "ok"
    );
    world.ok(OLGA, &format!("share tests --with {} --as view", BOB.name));
    let answers = BOB.run(|| {
        [
            word(fallocate(
                &writing,
                FallocateFlags::FALLOC_FL_KEEP_SIZE | FallocateFlags::FALLOC_FL_PUNCH_HOLE,
                0,
                10,
            )),
            word(writing.set_len(0)),
            word(rustix::fs::copy_file_range(
                File::open(at.join("source")).unwrap(),
                None,
                &writing,
                None,
                5,
            )),
        ]
    });
    assert_eq!(answers, ["EIO", "EIO", "EIO"]);
    assert_eq!(backing.join("file").metadata().unwrap().len(), 100);
}

#[test]
fn extended_attributes_are_the_user_s_own_and_no_others() {
    let Some((world, backing, at)) = shared("full", &["file"]) else {
        return;
    };
    xattr::set(backing.join("file"), "trusted.secret", b"x").unwrap();
    xattr::set(backing.join("file"), "user.note", b"n").unwrap();
    let open = world.fresh(BOB);
    world.ok(
        ROOT,
        &format!("mount {} --admit all --user {}", open.display(), BOB.name),
    );
    // Root is asked, for the kernel keeps others from some of them by itself.
    for path in [open.join("tests/file"), open.join("tests")] {
        for name in ["trusted.x", "security.x", "system.x", "trusted.secret"] {
            assert_eq!(word(xattr::set(&path, name, b"x")), "EOPNOTSUPP", "{name}");
            assert_eq!(word(xattr::remove(&path, name)), "EOPNOTSUPP", "{name}");
            assert_eq!(word(xattr::get(&path, name)), "EOPNOTSUPP", "{name}");
        }
        let name = if path.is_dir() {
            "system.posix_acl_default"
        } else {
            "system.posix_acl_access"
        };
        {
            let acl = [
                2_u8, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 4, 0, 4, 0, 255, 255, 255, 255, 32, 0, 4, 0,
                255, 255, 255, 255,
            ];
            assert_eq!(word(xattr::set(&path, name, &acl)), "EOPNOTSUPP", "{name}");
        }
    }
    let listed: Vec<_> = xattr::list(open.join("tests/file")).unwrap().collect();
    assert_eq!(listed, ["user.note"]);
    BOB.run(|| {
        xattr::set(at.join("file"), "user.mine", &[7; 3000]).unwrap();
        assert_eq!(
            xattr::get(at.join("file"), "user.mine").unwrap().unwrap(),
            [7; 3000]
        );
        xattr::remove(at.join("file"), "user.mine").unwrap();
        assert_eq!(word(xattr::remove(at.join("file"), "user.mine")), "ENODATA");
    });
}

#[test]
fn what_is_made_belongs_to_the_one_on_whose_behalf_it_is_made() {
    let Some((world, backing, at)) = shared("full", &["dir/"]) else {
        return;
    };
    BOB.run(|| {
        std::fs::write(at.join("dir/file"), "").unwrap();
        std::fs::create_dir(at.join("dir/sub")).unwrap();
        std::os::unix::fs::symlink("x", at.join("dir/link")).unwrap();
        nix::unistd::mkfifo(&at.join("dir/fifo"), Mode::S_IRWXU).unwrap();
    });
    let open = world.fresh(BOB);
    world.ok(
        ROOT,
        &format!("mount {} --admit all --user {}", open.display(), BOB.name),
    );
    CARA.run(|| std::fs::write(open.join("tests/dir/by-cara"), "").unwrap());
    for name in ["file", "sub", "link", "fifo", "by-cara"] {
        let stat = backing.join("dir").join(name).symlink_metadata().unwrap();
        assert_eq!((stat.uid(), stat.gid()), (BOB.uid, BOB.gid), "{name}");
    }
}

#[test]
fn an_adopted_folder_reaches_no_further_than_its_lender() {
    let Some(world) = World::new() else { return };
    let mine = world.dir.join("mine");
    OLGA.directory(&mine);
    plant(&mine, &["file", "sub/file"]);
    for (name, owner, group, mode) in [
        ("foreign", BOB.uid, BOB.gid, 0o600),
        ("by-group", 0, OLGA.gid, 0o640),
        ("staff", 0, 47_800, 0o660),
    ] {
        std::fs::write(mine.join(name), "native").unwrap();
        chown(mine.join(name), Some(owner), Some(group)).unwrap();
        std::fs::set_permissions(mine.join(name), PermissionsExt::from_mode(mode)).unwrap();
    }
    std::fs::create_dir(mine.join("closed")).unwrap();
    std::fs::write(mine.join("closed/x"), "").unwrap();
    std::fs::set_permissions(mine.join("closed"), PermissionsExt::from_mode(0o700)).unwrap();
    world.ok(OLGA, &format!("create lent --path {}", mine.display()));
    world.share("lent", BOB, "full");
    world.share("lent", CARA, "full");
    let (bob, cara, olga) = (
        world.mount(BOB).join("lent"),
        world.mount(CARA).join("lent"),
        world.mount(OLGA).join("lent"),
    );
    // The file is Bob's own, and yet not Olga's to lend, to him neither.
    for (user, at) in [(BOB, &bob), (CARA, &cara), (OLGA, &olga)] {
        let answers = user.run(|| {
            let read = |name: &str| word(std::fs::read(at.join(name)));
            [
                read("file"),
                read("foreign"),
                read("by-group"),
                read("staff"),
                read("closed/x"),
            ]
        });
        assert_eq!(
            answers,
            ["ok", "EACCES", "ok", "EACCES", "EACCES"],
            "{} of {STAFF}",
            user.name
        );
        assert_eq!(
            user.run(|| word(std::fs::write(at.join("by-group"), "x"))),
            "EACCES"
        );
        assert_eq!(user.run(|| chmod(&at.join("foreign"), 0o666)), "EPERM");
    }
    BOB.run(|| std::fs::write(bob.join("sub/new"), "").unwrap());
    assert_eq!(mine.join("sub/new").metadata().unwrap().uid(), OLGA.uid);
    assert_eq!(BOB.run(|| names(&bob.join("sub"))), ["file", "new"]);
    // Deleting the folder leaves the directory alone.
    world.ok(OLGA, "delete lent --force");
    assert!(mine.join("sub/new").exists());
}
