//! What the kernel asks again is done once, however far a former daemon had come with it.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use super::bench::{Bench, CALLER};
use crate::backing::FileKind;
use crate::vfs::authorize::take_asked;
use crate::vfs::error::Result;
use crate::vfs::filesystem::FileSystem;
use crate::vfs::ids::Ino;
use crate::vfs::journal::Journal;
use crate::vfs::journal::requests::{self, Progress};
use crate::vfs::kernel::NoPassthrough;
use crate::vfs::ops::RenameFlags;

struct Again {
    bench: Bench,
    journal: Arc<Journal>,
    filesystem: Arc<FileSystem>,
    folder: Ino,
}

/// How far the former daemon comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Until {
    /// It is killed before it does anything.
    Begun,
    /// Right after the call, before it has noted that.
    Carried,
    /// Before it has answered.
    Done,
}

impl Again {
    fn new() -> Self {
        let bench = Bench::new();
        let journal = Arc::new(Journal::new().unwrap());
        let (filesystem, folder) = bench.lasting_mount(&journal);
        Self {
            bench,
            journal,
            filesystem,
            folder,
        }
    }

    /// Lets a request come so far, and tells what the next daemon finds of it.
    fn killed<T>(&self, until: Until, request: impl FnOnce(&FileSystem, Ino) -> Result<T>) -> Progress {
        const UNIQUE: u64 = 10;
        let records = self.filesystem.records.as_ref().unwrap();
        let record = records.take();
        requests::begin(record.as_ref(), UNIQUE);
        if until != Until::Begun {
            let errno = request(&self.filesystem, self.folder)
                .err()
                .map_or(0, |error| error.errno());
            if until == Until::Done {
                requests::end(errno);
            }
        }
        let former = self.journal.former_requests();
        requests::end(0);
        take_asked();
        former[&UNIQUE].progress
    }

    fn on_disk(&self, name: &str) -> Option<std::fs::Metadata> {
        std::fs::symlink_metadata(self.bench.on_disk(name)).ok()
    }
}

const CARRIED: [Until; 2] = [Until::Carried, Until::Done];

#[test]
fn what_was_removed_is_not_removed_again_though_another_has_its_name() {
    for until in CARRIED {
        let again = Again::new();
        let progress = again.killed(until, |fs, folder| fs.unlink(CALLER, folder, b"file"));
        assert!(again.on_disk("file").is_none());
        std::fs::write(again.bench.on_disk("file"), "another").unwrap();
        let name = (again.folder, &b"file"[..]);
        again
            .filesystem
            .remove_again(CALLER, progress, name, false)
            .unwrap();
        assert_eq!(take_asked(), 1, "one question");
        assert!(again.on_disk("file").is_some(), "{until:?}");
    }
    let again = Again::new();
    let progress = again.killed(Until::Begun, |fs, folder| fs.unlink(CALLER, folder, b"file"));
    assert_eq!(progress, Progress::Begun);
    // It had come to the call, and that was not carried out.
    let progress = again.killed(Until::Carried, |fs, folder| fs.unlink(CALLER, folder, b"file"));
    std::fs::hard_link(again.bench.on_disk("other"), again.bench.on_disk("file")).unwrap();
    let Progress::Reached { value, time, .. } = progress else {
        panic!("{progress:?}");
    };
    let birth = crate::backing::stat_at(
        crate::backing::open_root(&again.bench.on_disk("")).unwrap(),
        &crate::backing::Name::new("other").unwrap(),
    );
    let stat = birth.unwrap();
    let inode = (stat.ino, stat.birth.map_or(0, crate::backing::Birth::to_bits));
    let progress = Progress::Reached { inode, value, time };
    let name = (again.folder, &b"file"[..]);
    again
        .filesystem
        .remove_again(CALLER, progress, name, false)
        .unwrap();
    assert!(again.on_disk("file").is_none(), "it is done then");
}

#[test]
fn what_was_renamed_is_not_renamed_again_and_its_node_has_followed() {
    for until in CARRIED {
        let again = Again::new();
        let (from, to) = ((again.folder, &b"file"[..]), (again.folder, &b"other"[..]));
        let inode = again.on_disk("file").unwrap().ino();
        let node = again
            .filesystem
            .lookup(CALLER, again.folder, b"file")
            .unwrap()
            .attr
            .ino;
        let flags = RenameFlags::default();
        let progress = again.killed(until, |fs, _| fs.rename(CALLER, from, to, flags));
        std::fs::write(again.bench.on_disk("file"), "another").unwrap();
        again
            .filesystem
            .rename_again(CALLER, progress, from, to, flags)
            .unwrap();
        assert_eq!(take_asked(), 1);
        assert_eq!(again.on_disk("other").unwrap().ino(), inode, "{until:?}");
        assert!(again.on_disk("file").is_some());
        again.filesystem.open(node, libc::O_RDWR, &NoPassthrough).unwrap();
    }
    // Exchanged twice they would be where they were.
    let again = Again::new();
    let (from, to) = ((again.folder, &b"file"[..]), (again.folder, &b"sub"[..]));
    let flags = RenameFlags {
        exchange: true,
        ..RenameFlags::default()
    };
    let progress = again.killed(Until::Carried, |fs, _| fs.rename(CALLER, from, to, flags));
    again
        .filesystem
        .rename_again(CALLER, progress, from, to, flags)
        .unwrap();
    assert!(again.on_disk("file").unwrap().is_dir() && again.on_disk("sub").unwrap().is_file());
}

#[test]
fn what_was_made_is_found_and_what_was_there_before_is_not_taken_for_it() {
    for until in CARRIED {
        let again = Again::new();
        let make = |fs: &FileSystem, folder| fs.mkdir(CALLER, folder, b"new", 0o755);
        let progress = again.killed(until, make);
        let inode = again.on_disk("new").unwrap().ino();
        let name = (again.folder, &b"new"[..]);
        let fs = &again.filesystem;
        let made = fs.make_again(CALLER, progress, name, FileKind::Directory, || {
            make(fs, again.folder)
        });
        assert_eq!(
            made.unwrap().attr.ino,
            Ino::of(crate::policy::FolderId(1), inode).unwrap()
        );
        assert_eq!(take_asked(), 1);
    }
    let again = Again::new();
    let fs = &again.filesystem;
    let make = |fs: &FileSystem, folder| fs.mkdir(CALLER, folder, b"sub", 0o755);
    std::thread::sleep(std::time::Duration::from_millis(50));
    let progress = again.killed(Until::Carried, make);
    let name = (again.folder, &b"sub"[..]);
    let made = fs.make_again(CALLER, progress, name, FileKind::Directory, || {
        make(fs, again.folder)
    });
    assert_eq!(made.unwrap_err().errno(), libc::EEXIST, "it was there before");
}

#[test]
fn of_two_mounts_that_were_about_to_make_a_name_one_has() {
    let again = Again::new();
    let journal = Arc::new(Journal::new().unwrap());
    let (filesystem, folder) = again.bench.lasting_mount(&journal);
    let other = Again {
        bench: Bench::new(),
        journal,
        filesystem,
        folder,
    };
    let make = |fs: &FileSystem, folder| fs.mkdir(CALLER, folder, b"new", 0o755);
    let made = again.killed(Until::Carried, make);
    let refused = other.killed(Until::Carried, make);
    let name = (again.folder, &b"new"[..]);
    let outcomes = [(&other, refused), (&again, made)].map(|(who, progress)| {
        let fs = &who.filesystem;
        let outcome = fs.make_again(CALLER, progress, name, FileKind::Directory, || {
            make(fs, who.folder)
        });
        outcome.map_err(|error| error.errno()).err()
    });
    assert_eq!(outcomes, [None, Some(libc::EEXIST)]);
}

#[test]
fn a_file_that_was_made_exclusively_is_opened_and_not_refused() {
    let flags = libc::O_RDWR | libc::O_EXCL;
    for until in CARRIED {
        let again = Again::new();
        let progress = again.killed(until, |fs, folder| {
            fs.create(CALLER, folder, b"new", 0o644, flags, &NoPassthrough)
        });
        let name = (again.folder, &b"new"[..]);
        let fs = &again.filesystem;
        let (_, opening) = fs
            .create_again(CALLER, progress, name, 0o644, flags, &NoPassthrough)
            .unwrap();
        assert_eq!(take_asked(), 1);
        fs.write(opening.fh, 0, b"text", libc::O_RDWR).unwrap();
    }
    let again = Again::new();
    let progress = again.killed(Until::Done, |fs, folder| {
        fs.create(CALLER, folder, b"file", 0o644, flags, &NoPassthrough)
    });
    let Progress::Done { errno, .. } = progress else {
        panic!("{progress:?}");
    };
    assert_eq!(errno, libc::EEXIST, "which is what it is answered");
}

#[test]
fn what_was_appended_is_not_appended_again() {
    for until in [Until::Begun, Until::Carried, Until::Done] {
        let again = Again::new();
        let fs = &again.filesystem;
        let file = fs.lookup(CALLER, again.folder, b"file").unwrap().attr.ino;
        let how = libc::O_RDWR | libc::O_APPEND;
        let opened = fs.open(file, how, &NoPassthrough).unwrap().fh;
        take_asked();
        let progress = again.killed(until, |fs, _| fs.write(opened, 0, b" more", how));
        let written = match progress {
            Progress::Begun => fs.write(opened, 0, b" more", how),
            progress => fs.write_again(progress, (opened, how), 0, b" more"),
        };
        assert_eq!(written.unwrap(), 5);
        let text = std::fs::read_to_string(again.bench.on_disk("file")).unwrap();
        assert_eq!(text, "content more", "{until:?}");
    }
}

#[test]
fn a_link_that_was_made_is_found_and_one_of_another_file_is_not() {
    let again = Again::new();
    let fs = &again.filesystem;
    let file = fs.lookup(CALLER, again.folder, b"file").unwrap().attr.ino;
    let to = (again.folder, &b"new"[..]);
    let progress = again.killed(Until::Carried, |fs, folder| fs.link(CALLER, file, folder, b"new"));
    fs.link_again(CALLER, progress, file, to).unwrap();
    let other = fs.lookup(CALLER, again.folder, b"other").unwrap().attr.ino;
    take_asked();
    let refused = fs.link_again(CALLER, progress, other, to).unwrap_err();
    assert_eq!(refused.errno(), libc::EEXIST);
}
