//! What one mount knows of a directory or file does not move the lines that follow it in another.

use super::bench::{Bench, CALLER};
use crate::policy::{Level, PlacePath, Target};
use crate::vfs::ids::Ino;
use crate::vfs::ops::{AccessMask, RenameFlags};

const READ: AccessMask = AccessMask {
    read: true,
    write: false,
    execute: false,
};

fn move_by_owner(bench: &Bench, name: &[u8], new_name: &[u8]) {
    let (owner, folder) = bench.owners_mount();
    owner
        .rename(CALLER, (folder, name), (folder, new_name), RenameFlags::default())
        .unwrap();
}

fn find(bench: &Bench, name: &[u8]) -> Ino {
    bench
        .filesystem
        .lookup(CALLER, bench.folder, name)
        .unwrap()
        .attr
        .ino
}

#[test]
fn a_mount_that_knows_the_old_name_does_not_bring_the_lines_of_a_directory_back_to_it() {
    let bench = Bench::new();
    bench.rule("sub", Level::Locked);
    let sub = find(&bench, b"sub");
    move_by_owner(&bench, b"sub", b"moved");
    // This asks by the node that the mount found under the old name.
    let answer = bench.filesystem.access(sub, READ);
    assert_eq!(bench.ruled().path, PlacePath::parse(b"moved").unwrap());
    assert!(answer.is_err(), "the lines of the directory hold wherever it is");
    find(&bench, b"moved");
    assert_eq!(bench.ruled().path, PlacePath::parse(b"moved").unwrap());
}

#[test]
fn a_removed_directory_with_a_process_in_it_does_not_revive_the_line_at_its_name() {
    let bench = Bench::new();
    bench.rule("sub", Level::Full);
    let sub = find(&bench, b"sub");
    let (owner, folder) = bench.owners_mount();
    owner.rmdir(CALLER, folder, b"sub").unwrap();
    assert_eq!(bench.ruled().target, Target::Gone);
    let _ = bench.filesystem.access(sub, READ);
    assert_eq!(bench.ruled().target, Target::Gone);
}

#[test]
fn what_left_a_name_before_a_line_was_made_there_never_bore_it() {
    let bench = Bench::new();
    move_by_owner(&bench, b"file", b"away");
    move_by_owner(&bench, b"other", b"file");
    bench.rule("file", Level::Locked);
    // The mount found it under the name that has a line now.
    let _ = bench.filesystem.access(bench.file, READ);
    assert_eq!(bench.ruled().inodes.len(), 1);
    let away = find(&bench, b"away");
    assert!(bench.filesystem.access(away, READ).is_ok());
}
