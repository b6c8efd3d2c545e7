//! What a directory tells of what is in it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};

use super::bench::{Bench, CALLER};
use crate::backing::Lender;
use crate::policy::Level;
use crate::vfs::attr::Entry;
use crate::vfs::handles::Listed;
use crate::vfs::ids::Ino;
use crate::vfs::ops::Sink;
use crate::vfs::{Custody, FileSystem};

/// Collects what is told: the numbers of names, and those of the nodes where attributes are told too.
#[derive(Default)]
struct Told(BTreeMap<String, (Ino, Option<Ino>)>);

impl Sink for Told {
    fn name(&mut self, listed: &Listed, _: u64) -> bool {
        let name = String::from_utf8_lossy(&listed.name).into_owned();
        self.0.insert(name, (listed.ino, None));
        false
    }

    fn entry(&mut self, listed: &Listed, entry: &Entry, next: u64) -> bool {
        self.name(listed, next);
        let name = String::from_utf8_lossy(&listed.name).into_owned();
        self.0.insert(name, (listed.ino, Some(entry.attr.ino)));
        false
    }
}

fn read(filesystem: &FileSystem, directory: Ino, plus: bool) -> BTreeMap<String, (Ino, Option<Ino>)> {
    let fh = filesystem.opendir(directory).unwrap().fh;
    let mut told = Told::default();
    filesystem.readdir(CALLER, fh, 0, plus, &mut told).unwrap();
    filesystem.releasedir(fh);
    told.0.remove(".");
    told.0.remove("..");
    told.0
}

#[test]
fn each_name_is_told_with_the_number_that_a_look_up_tells() {
    let bench = Bench::new();
    bench.rule("sub", Level::View);
    for plus in [false, true] {
        let told = read(&bench.filesystem, bench.folder, plus);
        assert_eq!(told.keys().collect::<Vec<_>>(), ["file", "link", "other", "sub"]);
        for (name, (number, node)) in told {
            let found = bench
                .filesystem
                .lookup(CALLER, bench.folder, name.as_bytes())
                .unwrap();
            assert_eq!((number, node), (found.attr.ino, plus.then_some(found.attr.ino)));
        }
    }
}

#[test]
fn what_an_inode_took_along_when_it_left_a_name_hides_it_from_listings_too() {
    let bench = Bench::new();
    bench.rule("file", Level::Invisible);
    std::fs::rename(bench.on_disk("file"), bench.on_disk("away")).unwrap();
    for plus in [false, true] {
        let told = read(&bench.filesystem, bench.folder, plus);
        assert_eq!(told.keys().collect::<Vec<_>>(), ["link", "other", "sub"]);
    }
}

#[test]
fn what_something_is_mounted_on_is_a_name_and_no_more() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    let bench = Bench::new();
    bench.rule("file", Level::View);
    let before = read(&bench.filesystem, bench.folder, false);
    mount(
        Some("tmpfs"),
        &bench.on_disk("sub"),
        Some("tmpfs"),
        MsFlags::empty(),
        none,
    )
    .unwrap();
    let names = read(&bench.filesystem, bench.folder, false);
    let told = read(&bench.filesystem, bench.folder, true);
    umount(&bench.on_disk("sub")).unwrap();
    assert_eq!(names, before);
    assert_eq!(told["sub"], (before["sub"].0, Some(Ino(0))));
    assert_eq!(told["other"], (before["other"].0, Some(before["other"].0)));
}

#[test]
fn a_directory_that_the_lender_may_not_search_tells_names_alone() {
    let lender = Lender {
        uid: 12344,
        gid: 12344,
        groups: Vec::new(),
    };
    let bench = Bench::of(Custody::Adopted(Arc::new(lender)));
    std::fs::write(bench.on_disk("sub/inside"), "").unwrap();
    let sub = bench
        .filesystem
        .lookup(CALLER, bench.folder, b"sub")
        .unwrap()
        .attr
        .ino;
    let node = |mode| {
        std::fs::set_permissions(bench.on_disk("sub"), PermissionsExt::from_mode(mode)).unwrap();
        read(&bench.filesystem, sub, true)["inside"].1
    };
    assert_eq!(node(0o744), Some(Ino(0)));
    assert!(bench.filesystem.lookup(CALLER, sub, b"inside").is_err());
    let searchable = node(0o755);
    let found = bench.filesystem.lookup(CALLER, sub, b"inside").unwrap();
    assert_eq!(searchable, Some(found.attr.ino));
}
