//! Faults, and what becomes of them. In none is data lost or a rule passed.
//!
//! | fault | outcome |
//! | --- | --- |
//! | store no database, truncated, or overwritten, at the start | the daemon does not start, names the file, and changes nothing |
//! | store damaged while the daemon runs | mounts go on by what is in force; commands fail with one line; `check` tells |
//! | store locked by another program | a change is refused after five seconds; what is only asked, and mounts, go on |
//! | store's disk full (`life`) | a change that cannot be written down is refused |
//! | a second daemon on one state directory or socket | it does not start; the first one and its mounts notice nothing |
//! | clock set back or forward | nothing that decides heeds it; the audit stays in order; `doctor` tells |
//! | files of the daemon used up | a mount that would take the last ones is refused; commands go on; opens get ENFILE, and work again later |
//! | paths of 4,095 bytes, names of any 255 bytes | they work in mounts and commands; what is longer is "not there" to a command |
//! | 100,000 files, 10,000 invitations, 1,000 mounts | seconds; measured |
//! | client opens without end (`life`) | he alone gets ENFILE |
//! | client killed in the middle | descriptors go back; each file has what was written |
//! | daemon stopped | requests wait and go on; a command gives up after `--timeout` with one line |
//! | backing answers EIO | so do reads and writes there; what was acknowledged by fsync is there after |
//! | backing read-only | changes get EROFS until it is writable again |
//! | backing unmounted | the folder answers EIO until the directory is back |
//! | backing hangs (`threads`) | what needs it waits, also to be killed; all else goes on |

mod disk;
mod names;
mod pressure;
mod scale;
mod store;

use std::path::{Path, PathBuf};

use crate::common::users::must;
use crate::common::{BOB, OLGA, World, plant};

/// A folder `tests` of Olga's with a `file` and a directory `closed`, which Bob has at `edit` but for that; and where it
/// lies and is mounted.
fn lent(world: &World) -> (PathBuf, PathBuf) {
    let backing = world.folder("tests");
    (backing.clone(), mounted(world, &backing))
}

/// Likewise, adopted from a directory.
fn adopted(world: &World, directory: &Path) -> PathBuf {
    OLGA.directory(directory);
    world.ok(OLGA, &format!("create tests --path {}", directory.display()));
    mounted(world, directory)
}

fn mounted(world: &World, backing: &Path) -> PathBuf {
    plant(backing, &["file", "closed/secret"]);
    world.share("tests", BOB, "edit");
    world.permit("tests/closed", BOB.name, "locked");
    world.mount(BOB).join("tests")
}

/// What the rules are for: whatever else happens, this is refused.
#[track_caller]
fn rules_hold(at: &Path) {
    let secret = BOB.run(|| std::fs::read(at.join("closed/secret")));
    assert!(secret.is_err(), "a rule was passed");
    let removed = BOB.run(|| std::fs::remove_file(at.join("file")));
    assert!(removed.is_err(), "what is protected was removed");
}

/// A disk of its own, in a file of the world's.
struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    fn new(world: &World, megabytes: u64) -> Self {
        Self::new_in(world, &world.dir, megabytes)
    }

    /// Likewise, in a file in some directory.
    fn new_in(world: &World, directory: &Path, megabytes: u64) -> Self {
        let (image, at) = (directory.join("image"), world.dir.join("disk"));
        std::fs::File::create(&image)
            .unwrap()
            .set_len(megabytes << 20)
            .unwrap();
        std::fs::create_dir(&at).unwrap();
        must(
            "mkfs.ext4",
            &["-q", "-E", "lazy_itable_init=0", image.to_str().unwrap()],
        );
        let disk = Self { image, at };
        disk.mount();
        disk
    }

    fn mount(&self) {
        let options = "loop,errors=continue";
        must(
            "mount",
            &[
                "-o",
                options,
                self.image.to_str().unwrap(),
                self.at.to_str().unwrap(),
            ],
        );
    }
}
