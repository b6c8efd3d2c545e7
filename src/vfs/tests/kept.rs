//! How long the kernel may keep what it is told, while another mount changes it.

use std::time::Duration;

use super::bench::{Bench, CALLER};
use crate::vfs::Error;
use crate::vfs::filesystem::FileSystem;
use crate::vfs::ids::Ino;
use crate::vfs::kernel::{Features, NoPassthrough};
use crate::vfs::ops::SetAttr;

/// A folder in two mounts of which both kernels can forget names.
fn two() -> (Bench, std::sync::Arc<FileSystem>, Ino) {
    let bench = Bench::new();
    let (owner, folder) = bench.owners_mount();
    for mount in [&bench.filesystem, &owner] {
        let features = Features {
            epoch: true,
            ..Features::default()
        };
        mount.features.set(features).unwrap();
    }
    (bench, owner, folder)
}

fn kept(mount: &FileSystem, ino: Ino) -> bool {
    !mount.getattr(ino, None).unwrap().lasts.is_zero()
}

fn missing(mount: &FileSystem, folder: Ino) -> Duration {
    match mount.lookup(CALLER, folder, b"nothing") {
        Err(Error::Missing(lasts)) => lasts,
        other => panic!("{other:?}"),
    }
}

/// An answer of before the change could be on its way to a kernel that cannot be told to drop it.
#[test]
fn attributes_that_another_mount_changed_are_not_kept_for_a_while() {
    let (bench, owner, folder) = two();
    let file = owner.lookup(CALLER, folder, b"other").unwrap().attr.ino;
    let other = bench
        .filesystem
        .lookup(CALLER, bench.folder, b"other")
        .unwrap()
        .attr
        .ino;
    assert_eq!(file, other);
    // It is open for writing in the first one.
    bench.filesystem.release(bench.other_opened, None);
    assert!(kept(&bench.filesystem, other) && kept(&owner, file));
    let mode = SetAttr {
        mode: Some(0o600),
        ..SetAttr::default()
    };
    owner.setattr(CALLER, file, mode, None).unwrap();
    assert!(!kept(&bench.filesystem, other));
    assert!(kept(&owner, file), "its own kernel was answered after the change");
}

#[test]
fn names_of_a_directory_that_another_mount_changes_are_not_kept_for_a_while() {
    let (bench, owner, folder) = two();
    assert!(!missing(&bench.filesystem, bench.folder).is_zero());
    owner.mkdir(CALLER, folder, b"new", 0o755).unwrap();
    assert!(missing(&bench.filesystem, bench.folder).is_zero());
    assert!(!kept(&bench.filesystem, bench.folder), "nor when it was changed");
    assert!(!missing(&owner, folder).is_zero());
    bench
        .filesystem
        .mkdir(CALLER, bench.folder, b"more", 0o755)
        .unwrap();
    assert!(
        missing(&owner, folder).is_zero(),
        "what two change is kept by neither"
    );
}

#[test]
fn attributes_of_what_is_written_elsewhere_are_not_kept() {
    let (bench, owner, folder) = two();
    let file = owner.lookup(CALLER, folder, b"file").unwrap().attr.ino;
    assert!(!kept(&owner, file), "it is open in the other mount");
    bench.filesystem.release(bench.opened, None);
    assert!(kept(&owner, file));
    let opening = owner.open(file, libc::O_WRONLY, &NoPassthrough).unwrap();
    assert!(!kept(&bench.filesystem, bench.file) && kept(&owner, file));
    owner.release(opening.fh, None);
    assert!(kept(&bench.filesystem, bench.file));
}
