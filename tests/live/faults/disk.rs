//! The disk behind a folder: it fails, lets nothing be written, is taken away.

use std::fs::File;
use std::io::{Read, Write};

use super::{Disk, adopted, rules_hold};
use crate::common::users::must;
use crate::common::{BOB, OLGA, ROOT, World, soon, word};

const MEGABYTE: usize = 1 << 20;

#[test]
fn a_disk_that_fails_answers_eio_and_what_was_synced_is_there_after() {
    let Some(world) = World::new() else { return };
    let disk = Disk::new(&world, 64);
    let at = adopted(&world, &disk.at.join("lent"));
    let other = world.folder("other");
    crate::common::plant(&other, &["x"]);
    world.share("other", BOB, "edit");
    let content: Vec<u8> = (0..8 * MEGABYTE).map(|byte| (byte % 251) as u8).collect();
    BOB.run(|| {
        let mut file = File::create(at.join("large")).unwrap();
        file.write_all(&content).unwrap();
        file.sync_all().unwrap();
    });
    must("sync", &["--file-system", disk.at.to_str().unwrap()]);
    // All of the image but its first blocks is gone for a while: reads fail. Nothing may be kept in memory.
    let image = File::options().read(true).write(true).open(&disk.image).unwrap();
    let mut whole = Vec::new();
    (&image).read_to_end(&mut whole).unwrap();
    drop_caches();
    image.set_len(4 * MEGABYTE as u64).unwrap();
    let read = BOB.run(|| word(std::fs::read(at.join("large"))));
    assert_eq!(read, "EIO");
    // Another folder does not suffer.
    BOB.run(|| {
        let beside = at.parent().unwrap().join("other");
        assert_eq!(word(std::fs::write(beside.join("new"), "new")), "ok");
        assert_eq!(word(std::fs::read(beside.join("x"))), "ok");
    });
    rules_hold(&at);
    let checked = world.lendfs(ROOT, "check");
    assert!(checked.status.code().is_some(), "{checked:?}");
    std::fs::write(&disk.image, &whole).unwrap();
    drop_caches();
    let read = BOB.run(|| std::fs::read(at.join("large")).unwrap());
    assert!(
        read[..content.len()] == content[..],
        "what was synced is not what is read"
    );
    rules_hold(&at);
    assert!(!world.logged().contains("panicked"), "{}", world.logged());
}

#[test]
fn what_a_disk_does_not_take_is_not_said_to_be_written() {
    let Some(world) = World::new() else { return };
    // The disk lies in a file that takes room when it is needed, and there is none left.
    let below = world.dir.join("below");
    std::fs::create_dir(&below).unwrap();
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("none"), &below, Some("tmpfs"), flags, Some("size=48m")).unwrap();
    let disk = Disk::new_in(&world, &below, 128);
    let at = adopted(&world, &disk.at.join("lent"));
    let write = |name: &str| {
        let content = vec![7; 4 * MEGABYTE];
        BOB.run(|| {
            let mut file = File::create(at.join(name))?;
            file.write_all(&content)?;
            file.sync_all()
        })
    };
    write("before").unwrap();
    let ballast = below.join("ballast");
    let mut fill = File::create(&ballast).unwrap();
    while fill.write_all(&[1; 4096]).is_ok() {}
    let lost = word(write("lost"));
    assert!(["EIO", "ENOSPC", "EROFS"].contains(&&*lost), "{lost}");
    rules_hold(&at);
    std::fs::remove_file(&ballast).unwrap();
    let read = BOB.run(|| std::fs::read(at.join("before")).unwrap());
    assert!(
        read == vec![7; 4 * MEGABYTE],
        "what was synced is not what is read"
    );
    assert!(!world.logged().contains("panicked"), "{}", world.logged());
}

/// The pages of the disk that nobody has changed, so that it is asked again.
fn drop_caches() {
    std::fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
}

#[test]
fn a_disk_that_is_read_only_for_a_while_answers_erofs_meanwhile() {
    let Some(world) = World::new() else { return };
    let disk = Disk::new(&world, 32);
    let at = adopted(&world, &disk.at.join("lent"));
    let path = disk.at.to_str().unwrap();
    must("mount", &["-o", "remount,ro", path]);
    BOB.run(|| {
        assert_eq!(word(std::fs::read(at.join("file"))), "ok");
        assert_eq!(word(std::fs::write(at.join("new"), "new")), "EROFS");
        assert_eq!(word(File::options().append(true).open(at.join("file"))), "EROFS");
        assert_eq!(word(std::fs::create_dir(at.join("sub"))), "EROFS");
        assert_eq!(word(std::fs::rename(at.join("file"), at.join("moved"))), "EROFS");
    });
    rules_hold(&at);
    // Lines stand in the store, on another disk.
    world.permit("tests/file", BOB.name, "view");
    world.ok(ROOT, "check");
    must("mount", &["-o", "remount,rw", path]);
    BOB.run(|| {
        assert_eq!(word(std::fs::write(at.join("new"), "new")), "ok");
        assert_eq!(word(std::fs::write(at.join("file"), "")), "EACCES");
    });
}

#[test]
fn a_disk_that_is_taken_away_loses_its_folders_until_it_is_back() {
    let Some(world) = World::new() else { return };
    let disk = Disk::new(&world, 32);
    let at = adopted(&world, &disk.at.join("lent"));
    let path = disk.at.to_str().unwrap();
    must("umount", &["--lazy", path]);
    let lost = || world.json(ROOT, "status")["lost"].as_array().unwrap().len();
    assert_eq!(lost(), 1);
    BOB.run(|| {
        soon(|| word(std::fs::metadata(at.join("file"))), "EIO");
        assert_eq!(word(std::fs::write(at.join("new"), "new")), "EIO");
    });
    let doctor = world.lendfs(OLGA, "doctor");
    assert_eq!(doctor.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("is not there"));
    // In its place nothing is served, whatever is there.
    OLGA.directory(&disk.at.join("lent"));
    crate::common::plant(&disk.at.join("lent"), &["closed/secret"]);
    BOB.run(|| assert_eq!(word(std::fs::metadata(at.join("closed"))), "EIO"));
    disk.mount();
    assert_eq!(lost(), 0);
    BOB.run(|| {
        soon(|| word(std::fs::read(at.join("file"))), "ok");
        assert_eq!(word(std::fs::write(at.join("new"), "new")), "ok");
    });
    rules_hold(&at);
}
