//! A directory is a way only as long as there is something that it leads to.

use super::bench::{Bench, CALLER};
use crate::policy::Level;

/// `sub` has a level, and the file in it can be read.
fn bench(level: Level) -> Bench {
    let bench = Bench::new();
    std::fs::write(bench.on_disk("sub/inside"), "").unwrap();
    bench.rules(&[("sub", level), ("sub/inside", Level::View)]);
    bench
}

fn errno<T>(outcome: Result<T, crate::vfs::Error>) -> i32 {
    outcome.err().map_or(0, |error| error.errno())
}

#[test]
fn a_locked_directory_stays_in_sight_when_what_it_led_to_is_gone() {
    let bench = bench(Level::Locked);
    let sub = bench.filesystem.lookup(CALLER, bench.folder, b"sub").unwrap();
    assert_eq!(sub.attr.mode, 0o555);
    std::fs::remove_file(bench.on_disk("sub/inside")).unwrap();
    let sub = bench.filesystem.lookup(CALLER, bench.folder, b"sub").unwrap();
    assert_eq!(sub.attr.mode, 0, "it is locked, and no way any more");
    assert_eq!(errno(bench.filesystem.opendir(sub.attr.ino)), libc::EACCES);
}

#[test]
fn a_hidden_directory_is_gone_with_what_it_led_to() {
    let bench = bench(Level::Invisible);
    let sub = bench
        .filesystem
        .lookup(CALLER, bench.folder, b"sub")
        .unwrap()
        .attr
        .ino;
    std::fs::remove_file(bench.on_disk("sub/inside")).unwrap();
    assert_eq!(
        errno(bench.filesystem.lookup(CALLER, bench.folder, b"sub")),
        libc::ENOENT
    );
    assert_eq!(errno(bench.filesystem.getattr(sub, None)), libc::ENOENT);
    assert_eq!(errno(bench.filesystem.opendir(sub)), libc::ENOENT);
}
