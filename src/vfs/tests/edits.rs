//! What is removed under `edit` is what was judged, whatever others do to its name at the same time.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::unistd::gettid;

use super::bench::{Bench, CALLER};
use crate::policy::Level;
use crate::vfs::Custody;
use crate::vfs::filesystem::Caller;
use crate::vfs::kernel::NoPassthrough;
use crate::vfs::ops::RenameFlags;

#[test]
fn no_other_mount_gives_a_name_to_another_file_between_question_and_removal() {
    // In memory, where most of the time is the daemon's.
    let bench = Bench::in_directory(Path::new("/dev/shm"), Custody::Managed);
    bench.publish(Level::Edit);
    let (owner, folder) = bench.owners_mount();
    let inode = std::fs::metadata(bench.on_disk("file")).unwrap().ino();
    let done = AtomicBool::new(false);
    let maker = || {
        let caller = Caller {
            pid: gettid().as_raw().cast_unsigned(),
            ..CALLER
        };
        let mut removed = 0;
        for _ in 0..5_000 {
            let flags = libc::O_RDWR | libc::O_EXCL;
            let made = bench
                .filesystem
                .create(caller, bench.folder, b"t", 0o644, flags, &NoPassthrough);
            if let Ok((entry, opening)) = made {
                bench.filesystem.release(opening.fh, None);
                bench.filesystem.forget(entry.attr.ino, 1);
            }
            removed += u32::from(bench.filesystem.unlink(caller, bench.folder, b"t").is_ok());
        }
        done.store(true, Ordering::Release);
        removed
    };
    let swapper = || {
        let rename = |from: &[u8], to: &[u8]| {
            let flags = RenameFlags {
                no_replace: true,
                ..RenameFlags::default()
            };
            owner.rename(CALLER, (folder, from), (folder, to), flags).is_ok()
        };
        let mut swapped = 0;
        while !done.load(Ordering::Acquire) {
            swapped += u32::from(rename(b"t", b"u"));
            // The protected file has the name of what the other made, for a moment.
            rename(b"file", b"t");
            rename(b"t", b"file");
            let _ = owner.unlink(CALLER, folder, b"u");
        }
        swapped
    };
    let (removed, swapped) = std::thread::scope(|scope| {
        let swapper = scope.spawn(swapper);
        (maker(), swapper.join().unwrap())
    });
    assert!(removed > 0 && swapped > 0, "{removed} removed, {swapped} swapped");
    let names = std::fs::read_dir(bench.on_disk("")).unwrap();
    let kept = names
        .flatten()
        .any(|entry| entry.metadata().unwrap().ino() == inode);
    assert!(kept, "the protected file was removed in the other's place");
}

#[test]
fn no_other_mount_gives_a_name_to_another_file_between_making_and_noting_it() {
    let bench = Bench::in_directory(Path::new("/dev/shm"), Custody::Managed);
    bench.publish(Level::Edit);
    let (owner, folder) = bench.owners_mount();
    let inode = std::fs::metadata(bench.on_disk("file")).unwrap().ino();
    let done = AtomicBool::new(false);
    let maker = || {
        let caller = Caller {
            pid: gettid().as_raw().cast_unsigned(),
            ..CALLER
        };
        let mut removed = 0;
        for _ in 0..30_000 {
            let mode = libc::S_IFREG | 0o644;
            let made = bench.filesystem.mknod(caller, bench.folder, b"t", mode, 0);
            if let Ok(entry) = made {
                bench.filesystem.forget(entry.attr.ino, 1);
            }
            removed += u32::from(bench.filesystem.unlink(caller, bench.folder, b"t").is_ok());
        }
        done.store(true, Ordering::Release);
        removed
    };
    let swapper = || {
        let rename = |from: &[u8], to: &[u8], no_replace| {
            let flags = RenameFlags {
                no_replace,
                ..RenameFlags::default()
            };
            owner.rename(CALLER, (folder, from), (folder, to), flags).is_ok()
        };
        let mut swapped = 0;
        while !done.load(Ordering::Acquire) {
            // In place of what was made.
            swapped += u32::from(rename(b"file", b"t", false));
            rename(b"t", b"file", true);
        }
        swapped
    };
    let (removed, swapped) = std::thread::scope(|scope| {
        let swapper = scope.spawn(swapper);
        (maker(), swapper.join().unwrap())
    });
    assert!(removed > 0 && swapped > 0, "{removed} removed, {swapped} swapped");
    let names = std::fs::read_dir(bench.on_disk("")).unwrap();
    let kept = names
        .flatten()
        .any(|entry| entry.metadata().unwrap().ino() == inode);
    assert!(kept, "the protected file was taken for what was made");
}
