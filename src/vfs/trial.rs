//! A trial: a mount of its own over a scratch directory, in which a file is written and read. So it is known what this
//! kernel offers, and whether data really bypasses the daemon.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use fuser::InitFlags;

use super::backing::{Backing, Custody};
use super::kernel::Offer;
use super::mount::{Mount, MountRequest};
use super::shared::Shared;
use super::steward::Steward;
use crate::backing;
use crate::policy::{
    Account, AccountId, AccountKind, FolderId, FolderPolicy, Inheritance, Place, PlaceChange, PlaceId,
    PlaceKind, PlacePath, Refusal, Snapshot, Target, TopEntry,
};

/// What came out.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What the kernel offers.
    pub offer: Option<Offer>,
    /// Whether what was written and read went past the daemon.
    pub bypassed: bool,
    /// Why changes behind the daemon's back are not noticed here; `None` if they are.
    pub unwatched: Option<String>,
}

/// A feature of FUSE that lendfs makes use of.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// Whether a kernel offers it.
    pub offered: bool,
    /// What is lost without it, and since when Linux has it.
    pub without: &'static str,
}

/// What is used of an offer.
pub fn features(offer: Offer) -> Vec<Feature> {
    let flags = InitFlags::from_bits_retain(offer.flags);
    let feature = |name, offered, without| Feature {
        name,
        offered,
        without,
    };
    vec![
        feature(
            "passthrough",
            flags.contains(InitFlags::FUSE_PASSTHROUGH),
            "reads and writes go through the daemon, about twenty times slower (Linux 6.9 has it)",
        ),
        feature(
            "epoch",
            offer.abi >= (7, 44),
            "names are not kept by the kernel, so that each look-up asks the daemon (Linux 6.16 has it)",
        ),
        feature(
            "no-open",
            flags.contains(InitFlags::FUSE_NO_OPEN_SUPPORT),
            "each open in a --read-only mount asks the daemon",
        ),
        feature(
            "killpriv",
            flags.contains(InitFlags::FUSE_HANDLE_KILLPRIV_V2),
            "the kernel asks for security attributes before each write (Linux 5.12 has it)",
        ),
        feature(
            "export",
            flags.contains(InitFlags::FUSE_EXPORT_SUPPORT),
            "what is open past the daemon cannot be cut",
        ),
        feature(
            "readdirplus",
            flags.contains(InitFlags::FUSE_DO_READDIRPLUS),
            "listings with attributes ask for each entry",
        ),
        feature(
            "direct-mmap",
            flags.contains(InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP),
            "some files cannot be mapped (Linux 6.6 has it)",
        ),
        feature(
            "resend",
            flags.contains(InitFlags::FUSE_HAS_RESEND),
            "requests that a daemon had read when it was killed fail (Linux 6.9 has it)",
        ),
    ]
}

/// Nobody is told of a trial.
struct Nobody;

impl Steward for Nobody {
    fn rename_folder(&self, _: AccountId, _: FolderId, _: &str) -> Result<(), Refusal> {
        Err(Refusal::NotPermitted)
    }

    fn place_changed(&self, _: FolderId, _: PlaceId, _: PlaceChange) {}

    fn backing_lost(&self, _: FolderId) {}
}

const SUBJECT: AccountId = AccountId(1);
const FOLDER: FolderId = FolderId(1);
const PLACE: PlaceId = PlaceId(1);

/// Tries it in an empty directory, which is left empty. The caller has to be root, and of the first user namespace for
/// all of it.
///
/// # Errors
/// Where nothing can be mounted, or the mount does not do what it should.
pub fn run(scratch: &Path) -> io::Result<Trial> {
    let (files, at) = (scratch.join("files"), scratch.join("mount"));
    for directory in [&files, &at] {
        std::fs::DirBuilder::new().mode(0o700).create(directory)?;
    }
    let tried = mount(&files, &at).and_then(|(shared, mount)| {
        let tried = write_and_read(&shared, &mount, &at.join("trial/file"));
        let down = mount.unmount(true);
        let tried = tried?;
        down?;
        Ok(tried)
    });
    let _ = std::fs::remove_file(files.join("file"));
    for directory in [&files, &at] {
        let _ = std::fs::remove_dir(directory);
    }
    tried
}

fn mount(files: &Path, at: &Path) -> io::Result<(Arc<Shared>, Mount)> {
    let shared = Shared::new(Arc::new(Nobody), 64, None);
    let backing = Backing::new(backing::open_root(files)?, Custody::Managed)?;
    shared.publish(policy(), HashMap::from([(FOLDER, Arc::new(backing))]));
    let request = MountRequest {
        subject: SUBJECT,
        at: backing::open_root(at)?,
        ceiling: None,
        online: false,
        read_only: false,
        admit_all: false,
        default_permissions: false,
        own: None,
        strict: false,
    };
    let mount = Mount::start(&shared, request, false)?;
    Ok((shared, mount))
}

fn write_and_read(shared: &Shared, mount: &Mount, path: &Path) -> io::Result<Trial> {
    const CONTENT: [u8; 4096] = [1; 4096];
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)?;
    file.write_all(&CONTENT)?;
    file.rewind()?;
    let mut read = Vec::new();
    file.read_to_end(&mut read)?;
    drop(file);
    if read != CONTENT {
        return Err(io::Error::other("what was read is not what was written"));
    }
    let requests = shared.requests();
    let through = ["read", "write"]
        .iter()
        .any(|opcode| requests.get(*opcode).is_some_and(|times| *times > 0));
    let unwatched = shared
        .watch_reports()
        .into_iter()
        .find_map(|report| report.refused);
    Ok(Trial {
        offer: mount.offer(),
        bypassed: !through,
        unwatched,
    })
}

/// One account, root's, that owns one folder.
fn policy() -> Snapshot {
    let account = Account {
        id: SUBJECT,
        login: "root".into(),
        uid: 0,
        gid: 0,
        kind: AccountKind::Member,
        frozen: false,
    };
    let root = Place {
        id: PLACE,
        path: PlacePath::root(),
        kind: PlaceKind::Directory,
        target: Target::There,
        inodes: Vec::new(),
    };
    let folder = FolderPolicy {
        id: FOLDER,
        owner: SUBJECT,
        name: "trial".into(),
        inheritance: Inheritance::Override,
        strict: false,
        protection: Default::default(),
        places: [root].into_iter().collect(),
        lines: HashMap::new(),
    };
    let top = TopEntry {
        name: (*b"trial").into(),
        folder: FOLDER,
        place: PLACE,
    };
    Snapshot {
        accounts: HashMap::from([(SUBJECT, Arc::new(account))]),
        groups: HashMap::new(),
        folders: HashMap::from([(FOLDER, Arc::new(folder))]),
        tops: HashMap::from([(SUBJECT, Arc::from([top]))]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_old_kernel_does_not_offer_is_told() {
        let none = features(Offer {
            abi: (7, 31),
            flags: 0,
        });
        assert!(none.iter().all(|feature| !feature.offered));
        let all = features(Offer {
            abi: (7, 45),
            flags: u64::MAX,
        });
        assert!(all.iter().all(|feature| feature.offered));
    }

    #[test]
    fn a_trial_leaves_its_directory_empty() {
        let scratch = tempfile::tempdir().unwrap();
        match run(scratch.path()) {
            Ok(trial) => assert!(trial.offer.is_some_and(|offer| offer.abi >= (7, 31))),
            Err(error) => println!("SKIP: nothing can be mounted: {error}"),
        }
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}
