//! In whose name a thread touches files.
//!
//! Linux keeps file-system ids for each thread (`credentials(7)`). A guard sets them and puts them back; the C
//! library's wrappers are not used, they would change all threads.

use std::cell::{Cell, RefCell};
use std::io;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use super::sys::identity::{self as sys, Capabilities};

/// The operating system's picture of a user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lender {
    /// His uid.
    pub uid: u32,
    /// His primary gid.
    pub gid: u32,
    /// His supplementary groups.
    pub groups: Vec<u32>,
}

/// In whose name.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// The daemon's own.
    Daemon,
    /// The daemon reaches everything, and what it makes belongs to this user.
    Maker {
        /// The owner of what is made.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// Likewise, for whoever asks.
    Caller {
        /// The owner of what is made.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// Everything as this user, without privilege.
    Lender(Arc<Lender>),
}

/// Puts the thread's own credentials back when dropped. Stays in its thread.
///
/// The uid, that is: with it come the capabilities. Groups give a thread of uid 0 nothing that it has not, and each
/// change costs more than a look-up (`commit_creds`), so those of the last guard stay until another needs others.
#[must_use]
#[derive(Debug)]
pub struct Assumed {
    /// Whose the thread is as long as this lives.
    uid: u32,
    _thread: PhantomData<*const ()>,
}

/// What the last guard left.
struct Left {
    gid: u32,
    /// Whose groups the thread has; its own if nobody's.
    lender: Option<Arc<Lender>>,
}

thread_local! {
    static LEFT: RefCell<Left> = RefCell::new(Left { gid: own().gid, lender: None });
    /// The uid that the kernel was last seen to let the thread assume.
    static PROVEN: Cell<Option<u32>> = const { Cell::new(None) };
    /// The capabilities with which a maker reaches everything. Nothing else changes a thread's while requests are
    /// served.
    static REACHING: Cell<Option<Capabilities>> = const { Cell::new(None) };
}

impl Credentials {
    /// Lets the calling thread act in this name until the guard is dropped. Guards do not nest.
    ///
    /// # Errors
    /// If the kernel does not allow it; the thread is itself then.
    pub fn assume(&self) -> io::Result<Assumed> {
        LEFT.with_borrow_mut(|left| match self {
            Self::Daemon => {
                left.set_groups(None)?;
                Ok(Assumed::default())
            }
            Self::Maker { uid, gid } | Self::Caller { uid, gid } => {
                left.set_groups(None)?;
                left.set_gid(*gid)?;
                let assumed = Assumed::of(*uid, PROVEN.get() == Some(*uid))?;
                // Leaving uid 0 takes the file-system capabilities out of force; a maker reaches everything all the
                // same.
                if *uid != own().uid {
                    raise_file_capabilities()?;
                }
                Ok(assumed)
            }
            Self::Lender(lender) => {
                left.set_groups(Some(lender))?;
                left.set_gid(lender.gid)?;
                Assumed::of(lender.uid, false)
            }
        })
    }
}

impl Left {
    fn set_groups(&mut self, lender: Option<&Arc<Lender>>) -> io::Result<()> {
        fn groups(lender: &Arc<Lender>) -> &[u32] {
            &lender.groups
        }
        let same = match (&self.lender, lender) {
            (Some(left), Some(lender)) => Arc::ptr_eq(left, lender) || left.groups == lender.groups,
            (None, None) => true,
            _ => false,
        };
        if !same {
            sys::set_groups(lender.map_or(&own().groups, groups))?;
            self.lender = lender.cloned();
        }
        Ok(())
    }

    fn set_gid(&mut self, gid: u32) -> io::Result<()> {
        if gid != self.gid {
            sys::set_fs_gid(gid);
            self.gid = sys::fs_gid();
        }
        if gid == self.gid {
            Ok(())
        } else {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
}

impl Default for Assumed {
    fn default() -> Self {
        Self {
            uid: own().uid,
            _thread: PhantomData,
        }
    }
}

impl Assumed {
    /// The kernel refuses without a word. Whether it lets a uid be assumed does not change while the daemon runs, so of
    /// a maker, who reaches everything anyway, it is enough to see it once; should it lack the memory one time, the
    /// guard finds out. A lender must not act as root even then.
    fn of(uid: u32, proven: bool) -> io::Result<Self> {
        let mut assumed = Self::default();
        if uid == assumed.uid {
            return Ok(assumed);
        }
        // What the kernel tells of the former uid also shows that the last guard put it back.
        expect(sys::set_fs_uid(uid), assumed.uid);
        assumed.uid = uid;
        if !proven {
            assumed.uid = sys::fs_uid();
            if assumed.uid != uid {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            PROVEN.set(Some(uid));
        }
        Ok(assumed)
    }
}

impl Drop for Assumed {
    fn drop(&mut self) {
        let own = own().uid;
        if self.uid == own {
            return;
        }
        // Coming back to uid 0 brings the file-system capabilities into force again (`capabilities(7)`).
        expect(sys::set_fs_uid(own), self.uid);
        expect(sys::fs_uid(), own);
    }
}

/// What every thread is before its first guard.
struct Own {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

fn own() -> &'static Own {
    static OWN: OnceLock<Own> = OnceLock::new();
    OWN.get_or_init(|| Own {
        // No guard changes those of the process.
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
        // This fails for a wrong argument alone.
        groups: sys::groups().unwrap_or_default(),
    })
}

/// Ends the daemon if the thread was not who it should have been.
fn expect(former: u32, expected: u32) {
    if former != expected {
        give_up(&format_args!("it was {former} instead of {expected}"));
    }
}

/// A thread that goes on in the wrong name would break every promise.
fn give_up(why: &dyn std::fmt::Display) -> ! {
    tracing::error!(%why, "a thread is not in the name that it should be in");
    std::process::abort();
}

/// Brings the capabilities into force again that reach every file (`capabilities(7)`), CAP_FSETID left out.
fn raise_file_capabilities() -> io::Result<()> {
    const CHOWN: u64 = 1;
    const DAC_OVERRIDE: u64 = 1 << 1;
    const DAC_READ_SEARCH: u64 = 1 << 2;
    const FOWNER: u64 = 1 << 3;
    const MKNOD: u64 = 1 << 27;
    let reaching = if let Some(reaching) = REACHING.get() {
        reaching
    } else {
        // All others are in force as ever.
        let mut reaching = sys::capabilities()?;
        let files = CHOWN | DAC_OVERRIDE | DAC_READ_SEARCH | FOWNER | MKNOD;
        reaching.effective |= files & reaching.permitted;
        REACHING.set(Some(reaching));
        reaching
    };
    sys::set_capabilities(&reaching)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    /// A directory that all may search, so that only what is inside decides.
    fn scratch() -> tempfile::TempDir {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o755)).unwrap();
        scratch
    }

    #[test]
    fn a_maker_reaches_everything_and_owns_what_he_makes() {
        let scratch = scratch();
        {
            let _as = Credentials::Maker {
                uid: 12345,
                gid: 54321,
            }
            .assume()
            .unwrap();
            std::fs::write(scratch.path().join("made"), "").unwrap();
        }
        let made = std::fs::metadata(scratch.path().join("made")).unwrap();
        assert_eq!((made.uid(), made.gid()), (12345, 54321));
        std::fs::write(scratch.path().join("after"), "").unwrap();
        assert_eq!(std::fs::metadata(scratch.path().join("after")).unwrap().uid(), 0);
    }

    fn present() -> (u32, Capabilities) {
        (sys::fs_uid(), sys::capabilities().unwrap())
    }

    fn lender(uid: u32, gid: u32, groups: Vec<u32>) -> Credentials {
        Credentials::Lender(Arc::new(Lender { uid, gid, groups }))
    }

    #[test]
    fn what_cannot_be_assumed_is_refused_and_leaves_the_thread_itself() {
        let before = present();
        // The one id that is none.
        for (uid, gid) in [(u32::MAX, 54321), (12345, u32::MAX)] {
            assert!(Credentials::Maker { uid, gid }.assume().is_err());
            assert!(lender(uid, gid, vec![54321]).assume().is_err());
        }
        assert_eq!(present(), before);
    }

    #[test]
    fn a_thread_that_acts_in_many_names_is_each_of_them_and_itself_in_the_end() {
        let (before, own_groups) = (present(), sys::groups().unwrap());
        let ids = || (sys::fs_uid(), sys::fs_gid(), sys::groups().unwrap());
        let reaches = || sys::capabilities().unwrap().effective & 2 != 0;
        for round in 0..10_u32 {
            for (uid, gid) in [(12345, 54321), (12346, 0), (0, 54321), (0, 0), (12345, 54321)] {
                {
                    let _as = Credentials::Maker { uid, gid }.assume().unwrap();
                    assert_eq!(ids(), (uid, gid, own_groups.clone()));
                    assert!(reaches());
                }
                {
                    let _as = lender(uid, gid, vec![7, round]).assume().unwrap();
                    assert!(sys::groups().unwrap().contains(&round));
                    assert_eq!((sys::fs_uid(), sys::fs_gid()), (uid, gid));
                    // Of root the kernel leaves the capabilities in force.
                    assert_eq!(reaches(), uid == 0);
                }
                assert_eq!(present(), before);
                let _as = Credentials::Daemon.assume().unwrap();
                assert_eq!(sys::groups().unwrap(), own_groups);
            }
        }
    }

    #[test]
    fn a_lender_reaches_no_further_than_himself() {
        let scratch = scratch();
        let file = scratch.path().join("private");
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
        let lender = |gid, groups| lender(12345, gid, groups);
        {
            let _as = lender(12345, vec![12345]).assume().unwrap();
            assert_eq!(
                std::fs::read(&file).unwrap_err().kind(),
                io::ErrorKind::PermissionDenied
            );
            assert!(std::fs::write(scratch.path().join("new"), "").is_err());
        }
        {
            let _as = lender(12345, vec![0]).assume().unwrap();
            assert!(std::fs::read(&file).is_ok(), "by a supplementary group");
        }
        assert!(std::fs::write(&file, "x").is_ok(), "the thread is itself again");
    }
}
