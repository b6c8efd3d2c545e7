//! A file system over a scratch directory, with one folder that one subject has at a level of the test's choice.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backing::{self, FileKind};
use crate::policy::{
    Account, AccountId, AccountKind, FolderId, FolderPolicy, Inheritance, Level, Line, LineId, LineKind,
    Place, PlaceChange, PlaceId, PlaceKind, PlacePath, Places, Principal, Refusal, Snapshot, Target,
    TopEntry,
};
use crate::vfs::filesystem::{Caller, FileSystem, Options};
use crate::vfs::ids::{Fh, Ino};
use crate::vfs::journal::Journal;
use crate::vfs::kernel::NoPassthrough;
use crate::vfs::view::Viewer;
use crate::vfs::{Backing, Custody, Shared, Steward};

const OWNER: AccountId = AccountId(1);
pub(super) const SUBJECT: AccountId = AccountId(2);
const FOLDER: FolderId = FolderId(1);
const ROOT: PlaceId = PlaceId(1);
const RULED: PlaceId = PlaceId(2);
const IDS: (u32, u32) = (12345, 12345);

/// Who asks in the tests.
pub(super) const CALLER: Caller = Caller {
    uid: IDS.0,
    gid: IDS.1,
    pid: 0,
};

/// The folder is called `tests`. In it are `file`, `other`, `sub/` and `link`; `file` and `other` are open for
/// reading and writing, and the folder is open as a directory.
pub(in crate::vfs) struct Bench {
    pub(in crate::vfs) filesystem: Arc<FileSystem>,
    pub(super) folder: Ino,
    pub(super) file: Ino,
    pub(super) link: Ino,
    pub(super) opened: Fh,
    pub(super) other_opened: Fh,
    pub(super) listed: Fh,
    pub(in crate::vfs) shared: Arc<Shared>,
    backing: Arc<Backing>,
    scratch: tempfile::TempDir,
}

/// A daemon that agrees with everything.
struct Agreeable;

impl Steward for Agreeable {
    fn rename_folder(&self, _: AccountId, _: FolderId, _: &str) -> Result<(), Refusal> {
        Ok(())
    }

    fn place_changed(&self, _: FolderId, _: PlaceId, _: PlaceChange) {}

    fn backing_lost(&self, _: FolderId) {}
}

impl Bench {
    pub(in crate::vfs) fn new() -> Self {
        Self::of(Custody::Managed)
    }

    /// Likewise, of a directory that somebody else reaches too; nothing in it is his.
    pub(super) fn of(custody: Custody) -> Self {
        Self::in_directory(&std::env::temp_dir(), custody)
    }

    /// Likewise, on a file system of the test's choice.
    pub(super) fn in_directory(place: &Path, custody: Custody) -> Self {
        let scratch = tempfile::tempdir_in(place).unwrap();
        let inside = |name: &str| -> PathBuf { scratch.path().join(name) };
        std::fs::write(inside("file"), "content").unwrap();
        std::fs::write(inside("other"), "content").unwrap();
        std::fs::create_dir(inside("sub")).unwrap();
        std::os::unix::fs::symlink("file", inside("link")).unwrap();
        std::fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o755)).unwrap();
        for file in ["file", "other"] {
            std::fs::set_permissions(inside(file), PermissionsExt::from_mode(0o666)).unwrap();
        }
        let root = backing::open_root(scratch.path()).unwrap();
        let backing = Arc::new(Backing::new(root, custody).unwrap());
        let shared = Shared::new(Arc::new(Agreeable), 64, None);
        publish(&shared, &backing, Level::Full, Vec::new());
        let filesystem = mount(&shared, SUBJECT);
        let found = |parent, name: &[u8]| filesystem.lookup(CALLER, parent, name).unwrap().attr.ino;
        let folder = found(Ino::TOP, b"tests");
        let (file, other, link) = (
            found(folder, b"file"),
            found(folder, b"other"),
            found(folder, b"link"),
        );
        Self {
            folder,
            file,
            link,
            opened: filesystem.open(file, libc::O_RDWR, &NoPassthrough).unwrap().fh,
            other_opened: filesystem.open(other, libc::O_RDWR, &NoPassthrough).unwrap().fh,
            listed: filesystem.opendir(folder).unwrap().fh,
            filesystem,
            shared,
            backing,
            scratch,
        }
    }

    /// Lets the subject have the folder at another level from now on.
    pub(super) fn publish(&self, level: Level) {
        publish(&self.shared, &self.backing, level, Vec::new());
    }

    /// Makes a rule for the subject on something in the folder, which he has at the level `full`.
    pub(super) fn rule(&self, name: &str, level: Level) {
        self.rules(&[(name, level)]);
    }

    /// Likewise, on several paths.
    pub(super) fn rules(&self, rules: &[(&str, Level)]) {
        let root = self.backing.root().unwrap();
        let places = (RULED.0..).zip(rules).map(|(id, (path, level))| {
            let path = PlacePath::parse(path.as_bytes()).unwrap();
            let at = backing::open_beneath(root, path.components()).unwrap();
            let kind = match backing::stat(&at).unwrap().kind {
                FileKind::Directory => PlaceKind::Directory,
                _ => PlaceKind::File,
            };
            let handle = backing::handle(&at).unwrap();
            let handle = handle.expect("the scratch directory has file handles");
            let place = Place {
                id: PlaceId(id),
                path,
                kind,
                target: Target::There,
                inodes: vec![handle.as_bytes().into()],
            };
            (place, *level)
        });
        publish(&self.shared, &self.backing, Level::Full, places.collect());
    }

    /// A path on the disk.
    pub(super) fn on_disk(&self, path: &str) -> PathBuf {
        self.scratch.path().join(path)
    }

    /// The place of the rule as it is now.
    pub(super) fn ruled(&self) -> Place {
        let snapshot = self.shared.snapshot();
        snapshot.folders[&FOLDER].places.get(RULED).unwrap().clone()
    }

    /// Another mount of the same folder: of its owner, whom no line binds.
    pub(super) fn owners_mount(&self) -> (Arc<FileSystem>, Ino) {
        let filesystem = mount(&self.shared, OWNER);
        let folder = filesystem.lookup(CALLER, Ino::TOP, b"tests").unwrap().attr.ino;
        (filesystem, folder)
    }
}

impl Bench {
    /// Another mount of the subject's, that keeps what it does for the next daemon; and its folder.
    pub(super) fn lasting_mount(&self, journal: &Arc<Journal>) -> (Arc<FileSystem>, Ino) {
        let options = options(SUBJECT);
        let number = self.shared.next_mount();
        let filesystem = FileSystem::lasting(&self.shared, options, number, Some(Arc::clone(journal)));
        let folder = filesystem.lookup(CALLER, Ino::TOP, b"tests").unwrap().attr.ino;
        (filesystem, folder)
    }
}

fn mount(shared: &Arc<Shared>, account: AccountId) -> Arc<FileSystem> {
    FileSystem::new(shared, options(account))
}

fn options(account: AccountId) -> Options {
    let viewer = Viewer {
        account,
        ceiling: None,
        online: false,
    };
    Options {
        viewer,
        own: None,
        default_permissions: false,
        subject_ids: IDS,
        strict: false,
        read_only: false,
    }
}

fn publish(shared: &Shared, backing: &Arc<Backing>, level: Level, rules: Vec<(Place, Level)>) {
    let account = |id, login: &str, uid| {
        let account = Account {
            id,
            login: login.into(),
            uid,
            gid: uid,
            kind: AccountKind::Member,
            frozen: false,
        };
        (id, Arc::new(account))
    };
    let mut places = Places::default();
    places.insert(Place {
        id: ROOT,
        path: PlacePath::root(),
        kind: PlaceKind::Directory,
        target: Target::There,
        inodes: Vec::new(),
    });
    let principal = Principal::Account(SUBJECT);
    let grant = Line {
        id: LineId(1),
        kind: LineKind::Grant,
        principal,
        level: level.into(),
        place: ROOT,
    };
    let mut lines = vec![grant];
    for (id, (place, level)) in (2..).zip(rules) {
        lines.push(Line {
            id: LineId(id),
            kind: LineKind::Rule,
            level: level.into(),
            place: place.id,
            ..grant
        });
        places.insert(place);
    }
    let folder = FolderPolicy {
        id: FOLDER,
        owner: OWNER,
        name: "tests".into(),
        inheritance: Inheritance::Override,
        strict: false,
        protection: Default::default(),
        places,
        lines: HashMap::from([(principal, lines.into())]),
    };
    let top = TopEntry {
        name: (*b"tests").into(),
        folder: FOLDER,
        place: ROOT,
    };
    let snapshot = Snapshot {
        accounts: HashMap::from([account(OWNER, "owner", 12344), account(SUBJECT, "subject", IDS.0)]),
        groups: HashMap::new(),
        folders: HashMap::from([(FOLDER, Arc::new(folder))]),
        tops: HashMap::from([(SUBJECT, Arc::from([top.clone()])), (OWNER, Arc::from([top]))]),
    };
    shared.publish(snapshot, HashMap::from([(FOLDER, Arc::clone(backing))]));
}
