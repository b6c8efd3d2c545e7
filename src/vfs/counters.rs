//! How many requests the kernel has made, by opcode, how long they took, and how many were refused.
//!
//! Each mount counts for itself, so that mounts never write to one cache line; what is asked for is the sum over all
//! mounts, also of those that are gone. What bypasses the daemon (passthrough, the kernel's caches) is no request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::error::Error;
use super::timing::{Histogram, Times};
use crate::policy::Refusal;

/// A kind of request (`enum fuse_opcode` in `linux/fuse.h`), as fuser tells them apart: a batch of forgets comes as
/// single ones, rename2 as rename, setlkw as setlk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "each is the kernel's word")]
pub(super) enum Opcode {
    Lookup,
    Forget,
    Getattr,
    Setattr,
    Readlink,
    Symlink,
    Mknod,
    Mkdir,
    Unlink,
    Rmdir,
    Rename,
    Link,
    Open,
    Read,
    Write,
    Statfs,
    Release,
    Fsync,
    Setxattr,
    Getxattr,
    Listxattr,
    Removexattr,
    Flush,
    Opendir,
    Readdir,
    Readdirplus,
    Releasedir,
    Fsyncdir,
    Getlk,
    Setlk,
    Access,
    Create,
    Bmap,
    Ioctl,
    Poll,
    Fallocate,
    Lseek,
    CopyFileRange,
}

impl Opcode {
    const ALL: [Self; 38] = [
        Self::Lookup,
        Self::Forget,
        Self::Getattr,
        Self::Setattr,
        Self::Readlink,
        Self::Symlink,
        Self::Mknod,
        Self::Mkdir,
        Self::Unlink,
        Self::Rmdir,
        Self::Rename,
        Self::Link,
        Self::Open,
        Self::Read,
        Self::Write,
        Self::Statfs,
        Self::Release,
        Self::Fsync,
        Self::Setxattr,
        Self::Getxattr,
        Self::Listxattr,
        Self::Removexattr,
        Self::Flush,
        Self::Opendir,
        Self::Readdir,
        Self::Readdirplus,
        Self::Releasedir,
        Self::Fsyncdir,
        Self::Getlk,
        Self::Setlk,
        Self::Access,
        Self::Create,
        Self::Bmap,
        Self::Ioctl,
        Self::Poll,
        Self::Fallocate,
        Self::Lseek,
        Self::CopyFileRange,
    ];

    /// Its name, in the kernel's words and small letters.
    fn name(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Forget => "forget",
            Self::Getattr => "getattr",
            Self::Setattr => "setattr",
            Self::Readlink => "readlink",
            Self::Symlink => "symlink",
            Self::Mknod => "mknod",
            Self::Mkdir => "mkdir",
            Self::Unlink => "unlink",
            Self::Rmdir => "rmdir",
            Self::Rename => "rename",
            Self::Link => "link",
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Statfs => "statfs",
            Self::Release => "release",
            Self::Fsync => "fsync",
            Self::Setxattr => "setxattr",
            Self::Getxattr => "getxattr",
            Self::Listxattr => "listxattr",
            Self::Removexattr => "removexattr",
            Self::Flush => "flush",
            Self::Opendir => "opendir",
            Self::Readdir => "readdir",
            Self::Readdirplus => "readdirplus",
            Self::Releasedir => "releasedir",
            Self::Fsyncdir => "fsyncdir",
            Self::Getlk => "getlk",
            Self::Setlk => "setlk",
            Self::Access => "access",
            Self::Create => "create",
            Self::Bmap => "bmap",
            Self::Ioctl => "ioctl",
            Self::Poll => "poll",
            Self::Fallocate => "fallocate",
            Self::Lseek => "lseek",
            Self::CopyFileRange => "copy_file_range",
        }
    }
}

/// How many opcodes there are.
const KINDS: usize = Opcode::ALL.len();

/// The requests of one mount.
#[derive(Debug)]
#[repr(align(64))]
struct Counts([AtomicU64; KINDS]);

impl Default for Counts {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; KINDS])
    }
}

impl Counts {
    fn add_to(&self, sum: &mut [u64]) {
        for (sum, count) in sum.iter_mut().zip(&self.0) {
            *sum += count.load(Ordering::Relaxed);
        }
    }
}

/// Counts the requests of one mount. When it is dropped they stay in the sum.
#[derive(Debug)]
pub(super) struct Counter {
    counts: Arc<Counts>,
    all: Arc<Counters>,
}

impl Counter {
    /// Counts one request.
    pub(super) fn count(&self, opcode: Opcode) {
        self.counts.0[opcode as usize].fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        let mut known = self.all.known.lock();
        self.counts.add_to(&mut known.past);
        known
            .present
            .retain(|counts| !std::ptr::eq(counts.as_ptr(), Arc::as_ptr(&self.counts)));
    }
}

/// The counters of all mounts.
#[derive(Debug)]
pub(super) struct Counters {
    known: Mutex<Known>,
    /// Of few requests, and so these may be counted in one place: see [`super::timing`].
    took: [Histogram; KINDS],
    refused: [AtomicU64; REFUSED.len()],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            took: [const { Histogram::new() }; KINDS],
            refused: [const { AtomicU64::new(0) }; REFUSED.len()],
        }
    }
}

/// What the rules refuse with. That there is no such name is said too often of what never was.
const REFUSED: [&str; 5] = ["EACCES", "EPERM", "EXDEV", "EOPNOTSUPP", "EIO"];

#[derive(Debug)]
struct Known {
    present: Vec<Weak<Counts>>,
    past: [u64; KINDS],
}

impl Default for Known {
    fn default() -> Self {
        Self {
            present: Vec::new(),
            past: [0; KINDS],
        }
    }
}

impl Counters {
    /// Begins to count for a mount.
    pub(super) fn join(self: &Arc<Self>) -> Counter {
        let counts = Arc::<Counts>::default();
        self.known.lock().present.push(Arc::downgrade(&counts));
        Counter {
            counts,
            all: Arc::clone(self),
        }
    }

    /// Counts a request that was timed.
    pub(super) fn took(&self, opcode: Opcode, time: Duration) {
        self.took[opcode as usize].add(time);
    }

    /// Counts a request that failed, if a rule of the file system refused it.
    pub(super) fn failed(&self, error: &Error) {
        let place = match error {
            Error::Refused(Refusal::Access) => 0,
            Error::Refused(Refusal::NotPermitted) => 1,
            Error::Refused(Refusal::CrossDevice) => 2,
            Error::Refused(Refusal::NotSupported) => 3,
            Error::Revoked => 4,
            _ => return,
        };
        self.refused[place].fetch_add(1, Ordering::Relaxed);
    }

    /// How long the requests took that were timed, by opcode; those without any are left out.
    pub(super) fn times(&self) -> BTreeMap<&'static str, Times> {
        Opcode::ALL
            .into_iter()
            .map(|opcode| (opcode.name(), self.took[opcode as usize].times()))
            .filter(|(_, times)| times.count() > 0)
            .collect()
    }

    /// How many requests were refused, by what they were answered.
    pub(super) fn refused(&self) -> BTreeMap<&'static str, u64> {
        let counts = self.refused.iter().map(|count| count.load(Ordering::Relaxed));
        REFUSED.into_iter().zip(counts).collect()
    }

    /// How many requests there were since the daemon began, by opcode; those without any are left out.
    pub(super) fn sum(&self) -> BTreeMap<String, u64> {
        let known = self.known.lock();
        let mut sum = known.past;
        for counts in known.present.iter().filter_map(Weak::upgrade) {
            counts.add_to(&mut sum);
        }
        Opcode::ALL
            .into_iter()
            .map(|opcode| (opcode.name().to_owned(), sum[opcode as usize]))
            .filter(|&(_, count)| count > 0)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_opcode_has_a_place_of_its_own() {
        for (place, opcode) in Opcode::ALL.into_iter().enumerate() {
            assert_eq!(opcode as usize, place, "{opcode:?}");
            assert_eq!(
                opcode.name().replace('_', ""),
                format!("{opcode:?}").to_lowercase()
            );
        }
    }

    #[test]
    fn the_sum_is_over_all_mounts_and_never_shrinks() {
        let all = Arc::new(Counters::default());
        let (one, other) = (all.join(), all.join());
        one.count(Opcode::Lookup);
        other.count(Opcode::Lookup);
        other.count(Opcode::CopyFileRange);
        let expected = BTreeMap::from([("copy_file_range".to_owned(), 1), ("lookup".to_owned(), 2)]);
        assert_eq!(all.sum(), expected);
        drop(other);
        assert_eq!(all.sum(), expected);
        assert_eq!(all.known.lock().present.len(), 1);
    }
}
