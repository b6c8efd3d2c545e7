//! Each operation asks `authorize()` once, whatever the answer is.

use super::bench::{Bench, CALLER};
use crate::backing::{Lock, LockKind, SetTime};
use crate::policy::Level;
use crate::vfs::attr::Entry;
use crate::vfs::authorize::take_asked;
use crate::vfs::error::Result;
use crate::vfs::handles::Listed;
use crate::vfs::ids::{Ino, LockOwner};
use crate::vfs::kernel::NoPassthrough;
use crate::vfs::locks::Claim;
use crate::vfs::ops::{AccessMask, RenameFlags, SetAttr, SetXattr, Sink, Whence};

/// What needs no right, for it takes nothing and tells nothing.
const UNASKED: [&str; 4] = ["forget", "flush", "release", "releasedir"];

const CLAIM: Claim = Claim {
    owner: LockOwner(1),
    process: 0,
};

type Call = fn(&Bench) -> Result<()>;

/// Every operation inside a folder.
const CALLS: &[(&str, Call)] = &[
    ("lookup", |b| {
        b.filesystem.lookup(CALLER, b.folder, b"file").map(drop)
    }),
    ("getattr", |b| b.filesystem.getattr(b.file, None).map(drop)),
    ("setattr", |b| set(b, b.file)),
    ("access", |b| b.filesystem.access(b.file, AccessMask::default())),
    ("create", |b| {
        let flags = libc::O_RDWR | libc::O_EXCL;
        b.filesystem
            .create(CALLER, b.folder, b"new", 0o644, flags, &NoPassthrough)
            .map(drop)
    }),
    ("create", |b| {
        b.filesystem
            .create(CALLER, b.folder, b"file", 0o644, libc::O_RDWR, &NoPassthrough)
            .map(drop)
    }),
    ("mknod", |b| {
        b.filesystem
            .mknod(CALLER, b.folder, b"new", libc::S_IFIFO | 0o644, 0)
            .map(drop)
    }),
    ("mkdir", |b| {
        b.filesystem.mkdir(CALLER, b.folder, b"new", 0o755).map(drop)
    }),
    ("symlink", |b| {
        b.filesystem.symlink(CALLER, b.folder, b"new", b"x").map(drop)
    }),
    ("link", |b| {
        b.filesystem.link(CALLER, b.file, b.folder, b"new").map(drop)
    }),
    ("readlink", |b| b.filesystem.readlink(b.link).map(drop)),
    ("unlink", |b| b.filesystem.unlink(CALLER, b.folder, b"file")),
    ("unlink", |b| b.filesystem.unlink(CALLER, b.folder, b"nothing")),
    ("rmdir", |b| b.filesystem.rmdir(CALLER, b.folder, b"sub")),
    ("rename", |b| rename(b, b"file", b"new", RenameFlags::default())),
    ("rename", |b| rename(b, b"file", b"other", EXCHANGE)),
    ("rename", |b| {
        rename(b, b"nothing", b"other", RenameFlags::default())
    }),
    ("open", |b| {
        b.filesystem
            .open(b.file, libc::O_RDONLY, &NoPassthrough)
            .map(drop)
    }),
    ("read", |b| b.filesystem.read(b.file, b.opened, 0, 10).map(drop)),
    ("write", |b| b.filesystem.write(b.opened, 0, b"x", 0).map(drop)),
    ("fsync", |b| b.filesystem.fsync(b.opened, false)),
    ("lseek", |b| {
        b.filesystem.lseek(b.opened, 0, Whence::Data).map(drop)
    }),
    ("fallocate", |b| b.filesystem.fallocate(b.opened, 0, 0, 100)),
    ("copy_file_range", |b| {
        b.filesystem
            .copy_file_range((b.opened, 0), (b.other_opened, 0), 4)
            .map(drop)
    }),
    ("opendir", |b| b.filesystem.opendir(b.folder).map(drop)),
    ("readdir", |b| {
        b.filesystem.readdir(CALLER, b.listed, 0, false, &mut Endless)
    }),
    ("readdir", |b| {
        b.filesystem.readdir(CALLER, b.listed, 0, true, &mut Endless)
    }),
    ("fsyncdir", |b| b.filesystem.fsyncdir(b.listed, false)),
    ("statfs", |b| b.filesystem.statfs(b.folder).map(drop)),
    ("setxattr", |b| {
        b.filesystem
            .setxattr(b.file, b"user.note", b"x", SetXattr::default())
    }),
    ("removexattr", |b| b.filesystem.removexattr(b.file, b"user.none")),
    ("getxattr", |b| {
        b.filesystem.getxattr(b.file, b"security.none").map(drop)
    }),
    ("listxattr", |b| b.filesystem.listxattr(b.file).map(drop)),
    ("getlk", |b| {
        b.filesystem
            .getlk(b.opened, LockOwner(1), lock(LockKind::Write))
            .map(drop)
    }),
    ("setlk", |b| set_lock(b, LockKind::Write)),
];

/// The same on the top directory, where it is an operation of its own.
const CALLS_AT_TOP: &[(&str, Call)] = &[
    ("lookup", |b| {
        b.filesystem.lookup(CALLER, Ino::TOP, b"tests").map(drop)
    }),
    ("lookup", |b| {
        b.filesystem.lookup(CALLER, Ino::TOP, b"nothing").map(drop)
    }),
    ("getattr", |b| b.filesystem.getattr(Ino::TOP, None).map(drop)),
    ("setattr", |b| set(b, Ino::TOP)),
    ("access", |b| b.filesystem.access(Ino::TOP, AccessMask::default())),
    ("create", |b| {
        let flags = libc::O_RDWR | libc::O_EXCL;
        b.filesystem
            .create(CALLER, Ino::TOP, b"new", 0o644, flags, &NoPassthrough)
            .map(drop)
    }),
    ("mkdir", |b| {
        b.filesystem.mkdir(CALLER, Ino::TOP, b"new", 0o755).map(drop)
    }),
    ("link", |b| {
        b.filesystem.link(CALLER, b.file, Ino::TOP, b"new").map(drop)
    }),
    ("rmdir", |b| b.filesystem.rmdir(CALLER, Ino::TOP, b"tests")),
    ("rmdir", |b| b.filesystem.rmdir(CALLER, Ino::TOP, b"nothing")),
    ("rename", |b| rename_between(b, Ino::TOP, b"tests", Ino::TOP)),
    ("rename", |b| rename_between(b, Ino::TOP, b"nothing", Ino::TOP)),
    ("rename", |b| rename_between(b, Ino::TOP, b"tests", b.folder)),
    ("rename", |b| rename_between(b, b.folder, b"file", Ino::TOP)),
    ("opendir", |b| b.filesystem.opendir(Ino::TOP).map(drop)),
    ("statfs", |b| b.filesystem.statfs(Ino::TOP).map(drop)),
    ("setxattr", |b| {
        b.filesystem
            .setxattr(Ino::TOP, b"user.note", b"x", SetXattr::default())
    }),
    ("removexattr", |b| {
        b.filesystem.removexattr(Ino::TOP, b"user.note")
    }),
    ("getxattr", |b| {
        b.filesystem.getxattr(Ino::TOP, b"user.note").map(drop)
    }),
    ("listxattr", |b| b.filesystem.listxattr(Ino::TOP).map(drop)),
];

const EXCHANGE: RenameFlags = RenameFlags {
    no_replace: false,
    exchange: true,
    whiteout: false,
};

#[test]
fn each_operation_asks_once_whatever_the_answer_is() {
    for (calls, top) in [(CALLS, false), (CALLS_AT_TOP, true)] {
        for (index, (name, call)) in calls.iter().enumerate() {
            for level in Level::ALL {
                let bench = Bench::new();
                bench.publish(level);
                take_asked();
                let outcome = call(&bench);
                let what = format!("{name} (number {index}) at {level}: {outcome:?}");
                assert_eq!(take_asked(), 1, "{what}");
                if !top && level == Level::Invisible && *name != "setlk" {
                    assert!(outcome.is_err(), "{what}");
                }
            }
        }
    }
}

#[test]
fn giving_back_a_lock_is_a_question_as_well() {
    let bench = Bench::new();
    take_asked();
    set_lock(&bench, LockKind::Unlock).unwrap();
    assert_eq!(take_asked(), 1);
}

#[test]
fn no_operation_is_left_out_of_these_tests() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/vfs/ops");
    let mut operations = Vec::new();
    for file in std::fs::read_dir(directory).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        // The operations are public methods of the file system.
        operations.extend(text.lines().filter_map(|line| {
            let name = line.strip_prefix("    pub fn ")?;
            Some(name[..name.find(['(', '<'])?].to_owned())
        }));
    }
    assert!(
        operations.len() > 30,
        "the operations were not found: {operations:?}"
    );
    for operation in operations {
        assert!(
            CALLS.iter().any(|(name, _)| *name == operation) || UNASKED.contains(&&*operation),
            "{operation} is an operation that no test holds to its question"
        );
    }
}

/// Takes every entry.
struct Endless;

impl Sink for Endless {
    fn name(&mut self, _: &Listed, _: u64) -> bool {
        false
    }

    fn entry(&mut self, _: &Listed, _: &Entry, _: u64) -> bool {
        false
    }
}

fn set(bench: &Bench, ino: Ino) -> Result<()> {
    let set = SetAttr {
        mode: Some(0o600),
        size: (ino == bench.file).then_some(3),
        mtime: Some(SetTime::Now),
        ..SetAttr::default()
    };
    bench.filesystem.setattr(CALLER, ino, set, None).map(drop)
}

fn rename(bench: &Bench, name: &[u8], new_name: &[u8], flags: RenameFlags) -> Result<()> {
    bench
        .filesystem
        .rename(CALLER, (bench.folder, name), (bench.folder, new_name), flags)
}

fn rename_between(bench: &Bench, from: Ino, name: &[u8], to: Ino) -> Result<()> {
    bench
        .filesystem
        .rename(CALLER, (from, name), (to, b"new"), RenameFlags::default())
}

fn lock(kind: LockKind) -> Lock {
    Lock {
        kind,
        start: 0,
        end: 10,
    }
}

fn set_lock(bench: &Bench, kind: LockKind) -> Result<()> {
    let (answer, wait) = std::sync::mpsc::channel();
    let done = move |outcome| answer.send(outcome).unwrap();
    bench
        .filesystem
        .setlk(CALLER, bench.opened, CLAIM, lock(kind), false, done);
    wait.recv().unwrap()
}
