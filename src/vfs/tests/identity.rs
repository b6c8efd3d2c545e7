//! A node is one inode, known by its attributes alone, and no other that has its name or its number.

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::bench::{Bench, CALLER};
use crate::backing::SetTime;
use crate::policy::{Level, handle_tells_number};
use crate::vfs::Custody;
use crate::vfs::kernel::NoPassthrough;
use crate::vfs::ops::{AccessMask, RenameFlags, SetAttr};

fn errno<T>(outcome: Result<T, crate::vfs::Error>) -> i32 {
    outcome.err().map_or(0, |error| error.errno())
}

/// How many descriptors point into the directory of the test.
fn descriptors(bench: &Bench) -> usize {
    let inside = |fd: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_link(fd.unwrap().path()).is_ok_and(|path| path.starts_with(bench.on_disk("")))
    };
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|fd| inside(fd).then_some(()))
        .count()
}

#[test]
fn the_handles_of_real_files_tell_their_numbers() {
    for directory in [std::env::temp_dir(), "/dev/shm".into()] {
        let Ok(scratch) = tempfile::tempdir_in(&directory) else {
            println!("SKIP: {} cannot be written to", directory.display());
            continue;
        };
        for file in 0..1000 {
            std::fs::write(scratch.path().join(file.to_string()), "").unwrap();
        }
        for entry in std::fs::read_dir(scratch.path()).unwrap().map(Result::unwrap) {
            let file = std::fs::File::open(entry.path()).unwrap();
            let Some(handle) = crate::backing::handle(&file).unwrap() else {
                println!("SKIP: {} has no file handles", directory.display());
                break;
            };
            assert!(
                handle_tells_number(handle.as_bytes(), file.metadata().unwrap().ino()),
                "{handle:?}"
            );
        }
    }
}

#[test]
fn looking_a_file_up_and_asking_for_its_attributes_opens_nothing() {
    let bench = Bench::new();
    bench.rules(&[("file", Level::View), ("sub", Level::Edit)]);
    // The parent's own descriptor is there from then on.
    bench.filesystem.lookup(CALLER, bench.folder, b"other").unwrap();
    for file in 0..100 {
        std::fs::write(bench.on_disk(&format!("{file}")), "").unwrap();
    }
    let before = descriptors(&bench);
    for file in 0..100 {
        let name = file.to_string();
        let entry = bench
            .filesystem
            .lookup(CALLER, bench.folder, name.as_bytes())
            .unwrap();
        assert_eq!(
            bench.filesystem.getattr(entry.attr.ino, None).unwrap(),
            entry.attr
        );
    }
    assert_eq!(descriptors(&bench), before);
}

#[test]
fn what_took_the_name_of_a_node_is_not_touched_through_it() {
    let bench = Bench::new();
    let known = bench
        .filesystem
        .lookup(CALLER, bench.folder, b"sub")
        .unwrap()
        .attr
        .ino;
    std::fs::rename(bench.on_disk("sub"), bench.on_disk("away")).unwrap();
    std::fs::create_dir(bench.on_disk("sub")).unwrap();
    let mode = std::fs::metadata(bench.on_disk("sub")).unwrap().mode();
    let set = SetAttr {
        mode: Some(0o700),
        ..SetAttr::default()
    };
    assert_eq!(errno(bench.filesystem.getattr(known, None)), libc::ESTALE);
    assert_eq!(
        errno(bench.filesystem.setattr(CALLER, known, set, None)),
        libc::ESTALE
    );
    assert_eq!(
        errno(bench.filesystem.mkdir(CALLER, known, b"x", 0o755)),
        libc::ESTALE
    );
    assert_eq!(std::fs::metadata(bench.on_disk("sub")).unwrap().mode(), mode);
    assert!(!bench.on_disk("sub/x").exists());
}

#[test]
fn times_are_set_on_what_was_found_without_opening_it_and_on_nothing_else() {
    let bench = Bench::new();
    let path = bench.on_disk("plain");
    std::fs::write(&path, "").unwrap();
    let known = bench
        .filesystem
        .lookup(CALLER, bench.folder, b"plain")
        .unwrap()
        .attr
        .ino;
    let before = descriptors(&bench);
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let set = SetAttr {
        mtime: Some(SetTime::At(time)),
        ..SetAttr::default()
    };
    let told = bench.filesystem.setattr(CALLER, known, set, None).unwrap();
    assert_eq!(told.mtime, time);
    assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), time);
    assert_eq!(descriptors(&bench), before);
    std::fs::write(bench.on_disk("new"), "").unwrap();
    std::fs::rename(bench.on_disk("new"), &path).unwrap();
    assert_eq!(
        errno(bench.filesystem.setattr(CALLER, known, set, None)),
        libc::ESTALE
    );
    assert_ne!(std::fs::metadata(&path).unwrap().modified().unwrap(), time);
}

#[test]
fn a_directory_that_was_used_is_found_again_after_a_native_move() {
    let bench = Bench::new();
    std::fs::write(bench.on_disk("sub/inside"), "").unwrap();
    let sub = bench
        .filesystem
        .lookup(CALLER, bench.folder, b"sub")
        .unwrap()
        .attr
        .ino;
    bench.filesystem.lookup(CALLER, sub, b"inside").unwrap();
    std::fs::rename(bench.on_disk("sub"), bench.on_disk("away")).unwrap();
    assert!(bench.filesystem.mkdir(CALLER, sub, b"new", 0o755).is_ok());
    assert!(bench.on_disk("away/new").exists());
}

#[test]
fn a_directory_that_a_process_went_to_is_found_again_after_a_native_move() {
    let bench = Bench::new();
    let sub = bench
        .filesystem
        .lookup(CALLER, bench.folder, b"sub")
        .unwrap()
        .attr
        .ino;
    let enter = AccessMask {
        execute: true,
        ..AccessMask::default()
    };
    bench.filesystem.access(sub, enter).unwrap();
    std::fs::rename(bench.on_disk("sub"), bench.on_disk("away")).unwrap();
    assert!(bench.filesystem.opendir(sub).is_ok());
}

#[test]
fn on_a_backing_without_file_handles_a_node_is_held_by_its_descriptor() {
    // What is mounted here goes with the test.
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    let layers = tempfile::tempdir_in("/dev/shm").unwrap();
    let layer = |name: &str| layers.path().join(name);
    for name in ["lower", "upper", "work", "merged"] {
        std::fs::create_dir(layer(name)).unwrap();
    }
    let options = ["lower", "upper", "work"].map(|name| format!("{name}dir={}", layer(name).display()));
    let options = options.join(",");
    let merged = layer("merged");
    mount(
        Some("overlay"),
        &merged,
        Some("overlay"),
        MsFlags::empty(),
        Some(&*options),
    )
    .unwrap();
    {
        let bench = Bench::in_directory(&merged, Custody::Managed);
        let filesystem = &bench.filesystem;
        std::fs::write(bench.on_disk("plain"), "").unwrap();
        let before = descriptors(&bench);
        let plain = filesystem.lookup(CALLER, bench.folder, b"plain").unwrap();
        assert_eq!(
            plain.generation,
            filesystem
                .lookup(CALLER, bench.folder, b"plain")
                .unwrap()
                .generation
        );
        assert_eq!(descriptors(&bench), before + 1);
        std::fs::rename(bench.on_disk("plain"), bench.on_disk("away")).unwrap();
        std::fs::write(bench.on_disk("plain"), "").unwrap();
        assert_eq!(
            errno(filesystem.open(plain.attr.ino, libc::O_RDWR, &NoPassthrough)),
            libc::ESTALE
        );
        let new = filesystem.lookup(CALLER, bench.folder, b"plain").unwrap();
        assert_ne!(new.attr.ino, plain.attr.ino);
        let made = filesystem
            .mkdir(CALLER, bench.folder, b"made", 0o755)
            .unwrap()
            .attr
            .ino;
        filesystem.mkdir(CALLER, made, b"inside", 0o755).unwrap();
        filesystem
            .rename(
                CALLER,
                (bench.folder, b"made"),
                (bench.folder, b"moved"),
                RenameFlags::default(),
            )
            .unwrap();
        assert!(filesystem.rmdir(CALLER, made, b"inside").is_ok());
        filesystem.forget(plain.attr.ino, 2);
        assert_eq!(
            filesystem.getattr(plain.attr.ino, None).err().map(|e| e.errno()),
            Some(libc::ESTALE)
        );
    }
    nix::mount::umount2(&merged, nix::mount::MntFlags::MNT_DETACH).unwrap();
}

#[test]
fn a_file_keeps_its_generation_and_the_next_with_its_number_has_another() {
    let bench = Bench::new();
    let path = bench.on_disk("reused");
    let found = || {
        let entry = bench.filesystem.lookup(CALLER, bench.folder, b"reused").unwrap();
        bench.filesystem.forget(entry.attr.ino, 1);
        entry
    };
    std::fs::write(&path, "").unwrap();
    let first = found();
    assert_eq!(found().generation, first.generation);
    let born = std::fs::metadata(&path).unwrap().created().unwrap();
    // Most file systems give the number again at once; the clock of births moves every few milliseconds.
    for _ in 0..100_000 {
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        let now = std::fs::metadata(&path).unwrap();
        if now.created().unwrap() != born && now.ino() == first.attr.ino.0 & 0xFF_FFFF_FFFF {
            assert_ne!(found().generation, first.generation);
            return;
        }
    }
    println!("SKIP: the file system never gave a number again");
}

#[test]
fn a_fifo_that_took_a_missing_name_stops_nobody_who_would_make_a_file() {
    let bench = Bench::new();
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o644);
    nix::unistd::mkfifo(&bench.on_disk("fifo"), mode).unwrap();
    std::os::unix::fs::symlink("file", bench.on_disk("way")).unwrap();
    for (name, flags) in [
        ("fifo", libc::O_WRONLY),
        ("fifo", libc::O_RDWR),
        ("way", libc::O_RDONLY),
    ] {
        let made = bench.filesystem.create(
            CALLER,
            bench.folder,
            name.as_bytes(),
            0o644,
            flags,
            &NoPassthrough,
        );
        assert_eq!(
            errno(made),
            libc::ESTALE,
            "the kernel looks again, and opens it by itself"
        );
    }
}
