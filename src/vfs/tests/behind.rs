//! What a kernel is told of what was changed behind the daemon's back.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::bench::{Bench, CALLER};
use crate::backing::{self, Change, Changed, Entry, FileHandle, FileSystemId, NameChange};
use crate::policy::Level;
use crate::vfs::ids::Ino;
use crate::vfs::kernel::Kernel;
use crate::vfs::watch::Batch;

/// What a kernel was told.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Told {
    Pages(Ino),
    Attributes(Ino),
    Name(Ino, String),
    Names,
}

/// A kernel that keeps in mind what it is told.
#[derive(Clone, Default)]
struct Mindful {
    told: Arc<Mutex<Vec<Told>>>,
    /// An inode that it does not know yet.
    unknown: Option<Ino>,
}

impl Mindful {
    fn attach(bench: &Bench, unknown: Option<Ino>) -> Self {
        let kernel = Self {
            unknown,
            ..Self::default()
        };
        bench.filesystem.attach(Box::new(kernel.clone()));
        kernel
    }

    fn hears(&self, told: Told) {
        self.told.lock().push(told);
    }

    fn heard(&self) -> Vec<Told> {
        std::mem::take(&mut *self.told.lock())
    }
}

impl Kernel for Mindful {
    fn drop_pages(&self, ino: Ino) -> bool {
        self.hears(Told::Pages(ino));
        self.unknown != Some(ino)
    }

    fn drop_attributes(&self, ino: Ino) -> bool {
        self.hears(Told::Attributes(ino));
        self.unknown != Some(ino)
    }

    fn forget_name(&self, parent: Ino, name: &[u8]) {
        self.hears(Told::Name(parent, String::from_utf8(name.into()).unwrap()));
    }

    fn forget_names(&self) {
        self.hears(Told::Names);
    }

    fn device(&self) -> Arc<OwnedFd> {
        Arc::new(std::fs::File::open("/dev/null").unwrap().into())
    }
}

/// How the watcher would name what is on the disk.
struct Disk<'a>(&'a Bench);

impl Disk<'_> {
    fn handle(&self, path: &str) -> FileHandle {
        let at = self.0.on_disk(path);
        let at = nix::fcntl::open(&at, nix::fcntl::OFlag::O_PATH, nix::sys::stat::Mode::empty());
        backing::handle(at.unwrap()).unwrap().unwrap()
    }

    fn file_system(&self) -> FileSystemId {
        backing::file_system(backing::open_root(&self.0.on_disk("")).unwrap()).unwrap()
    }

    fn entry(&self, path: &str) -> Entry {
        let path = Path::new(path);
        Entry {
            directory: self.handle(path.parent().unwrap().to_str().unwrap()),
            name: path.file_name().unwrap().as_encoded_bytes().into(),
        }
    }

    fn changed(&self, path: &str) -> Changed {
        Changed {
            file_system: self.file_system(),
            file: self.handle(path),
            entry: Some(self.entry(path)),
        }
    }

    fn name(&self, path: &str, kind: NameChange) -> Change {
        Change::Name {
            file_system: self.file_system(),
            entry: self.entry(path),
            target: Some(self.handle(path)),
            is_directory: self.0.on_disk(path).is_dir(),
            kind,
        }
    }

    /// Lets this have happened.
    fn happens(&self, changes: impl IntoIterator<Item = Change>) {
        let mut batch = Batch::default();
        changes.into_iter().for_each(|change| batch.add(change));
        self.0.filesystem.shared.drop_now(&batch);
    }
}

fn has_epoch(bench: &Bench) {
    let features = crate::vfs::kernel::Features {
        epoch: true,
        ..Default::default()
    };
    bench.filesystem.features.set(features).unwrap();
}

#[test]
fn of_a_file_that_it_knows_the_kernel_is_told_by_its_number() {
    let bench = Bench::new();
    let kernel = Mindful::attach(&bench, None);
    let disk = Disk(&bench);
    disk.happens([Change::Content(disk.changed("file"))]);
    assert_eq!(kernel.heard(), [Told::Pages(bench.file)]);
    disk.happens([Change::Attributes(disk.changed("file"))]);
    assert_eq!(kernel.heard(), [Told::Attributes(bench.file)]);
}

#[test]
fn of_a_file_that_an_answer_may_be_under_way_to_the_name_is_forgotten_first() {
    let bench = Bench::new();
    let kernel = Mindful::attach(&bench, Some(bench.file));
    let disk = Disk(&bench);
    disk.happens([Change::Content(disk.changed("file"))]);
    assert_eq!(
        kernel.heard(),
        [
            Told::Pages(bench.file),
            Told::Name(bench.folder, "file".into()),
            Told::Pages(bench.file),
        ]
    );
    // It may be looked up just now.
    std::fs::write(bench.on_disk("unknown"), "").unwrap();
    disk.happens([Change::Attributes(disk.changed("unknown"))]);
    assert_eq!(kernel.heard(), [Told::Name(bench.folder, "unknown".into())]);
}

#[test]
fn of_what_nobody_has_looked_at_nothing_is_told() {
    let bench = Bench::new();
    std::fs::create_dir_all(bench.on_disk("sub/deep")).unwrap();
    std::fs::write(bench.on_disk("sub/deep/file"), "").unwrap();
    let kernel = Mindful::attach(&bench, None);
    let disk = Disk(&bench);
    disk.happens([
        Change::Content(disk.changed("sub/deep/file")),
        disk.name("sub/deep/file", NameChange::Created),
    ]);
    assert_eq!(kernel.heard(), []);
}

#[test]
fn a_name_goes_with_the_listing_of_its_directory() {
    let bench = Bench::new();
    let kernel = Mindful::attach(&bench, None);
    let disk = Disk(&bench);
    disk.happens(["file", "other"].map(|name| disk.name(name, NameChange::MovedTo)));
    let mut heard = kernel.heard();
    heard.sort();
    assert_eq!(
        heard,
        [
            Told::Pages(bench.folder),
            Told::Name(bench.folder, "file".into()),
            Told::Name(bench.folder, "other".into()),
        ]
    );
}

#[test]
fn of_a_file_that_is_gone_only_the_name_is_told() {
    let bench = Bench::new();
    std::fs::write(bench.on_disk("short-lived"), "").unwrap();
    let disk = Disk(&bench);
    let (content, name) = (
        Change::Content(disk.changed("short-lived")),
        disk.name("short-lived", NameChange::Deleted),
    );
    std::fs::remove_file(bench.on_disk("short-lived")).unwrap();
    let kernel = Mindful::attach(&bench, None);
    disk.happens([content, name]);
    let mut heard = kernel.heard();
    heard.sort();
    assert_eq!(
        heard,
        [
            Told::Pages(bench.folder),
            Told::Name(bench.folder, "short-lived".into())
        ]
    );
}

#[test]
fn too_much_to_tell_is_told_of_everything() {
    let bench = Bench::new();
    let kernel = Mindful::attach(&bench, None);
    has_epoch(&bench);
    Disk(&bench).happens([Change::Overflow]);
    let heard = kernel.heard();
    assert_eq!(heard[0], Told::Names);
    for ino in [bench.folder, bench.file, bench.link] {
        assert!(heard.contains(&Told::Pages(ino)), "{ino:?} in {heard:?}");
    }
}

#[test]
fn very_many_names_are_forgotten_at_once() {
    let bench = Bench::new();
    let kernel = Mindful::attach(&bench, None);
    has_epoch(&bench);
    let disk = Disk(&bench);
    let created = |number: usize| Change::Name {
        file_system: disk.file_system(),
        entry: Entry {
            directory: disk.handle(""),
            name: number.to_string().into_bytes().into(),
        },
        target: None,
        is_directory: false,
        kind: NameChange::Created,
    };
    disk.happens((0..100).map(created));
    assert_eq!(kernel.heard().len(), 100 + 1);
    disk.happens((0..5000).map(created));
    assert_eq!(kernel.heard(), [Told::Names, Told::Pages(bench.folder)]);
}

#[test]
fn where_lines_reach_all_is_judged_anew_and_elsewhere_not() {
    let bench = Bench::new();
    std::fs::create_dir_all(bench.on_disk("sub/way/room")).unwrap();
    std::fs::create_dir_all(bench.on_disk("elsewhere/way")).unwrap();
    std::fs::create_dir(bench.on_disk("directory")).unwrap();
    bench.rules(&[("sub/way/room", Level::View)]);
    bench
        .filesystem
        .lookup(CALLER, bench.folder, b"directory")
        .unwrap();
    let _kernel = Mindful::attach(&bench, None);
    let disk = Disk(&bench);
    let anew = |change| {
        let before = bench.filesystem.shared.generation();
        disk.happens([change]);
        bench.filesystem.shared.generation() != before
    };
    for path in ["sub", "sub/way", "sub/way/room"] {
        assert!(anew(disk.name(path, NameChange::Created)), "{path}");
    }
    for path in ["file", "elsewhere", "elsewhere/way"] {
        assert!(!anew(disk.name(path, NameChange::Created)), "{path}");
    }
    // What lies in a directory that is known is judged by where the directory is.
    assert!(anew(disk.name("directory", NameChange::MovedTo)));
    assert!(
        !anew(disk.name("elsewhere", NameChange::MovedTo)),
        "nobody knows it"
    );
    assert!(
        !anew(disk.name("file", NameChange::MovedTo)),
        "nothing lies in a file"
    );
}
