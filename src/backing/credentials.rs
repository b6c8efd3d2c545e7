//! In whose name a thread touches files.
//!
//! Linux keeps file-system ids for each thread (`credentials(7)`). A guard sets them and puts them back; the C
//! library's wrappers are not used, they would change all threads.

use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

use super::sys;

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
#[must_use]
#[derive(Debug)]
pub struct Assumed {
    changed: bool,
    groups: Option<Vec<u32>>,
    _thread: PhantomData<*const ()>,
}

impl Credentials {
    /// Lets the calling thread act in this name until the guard is dropped.
    ///
    /// # Errors
    /// If the kernel does not allow it; nothing is changed then.
    pub fn assume(&self) -> io::Result<Assumed> {
        let (uid, gid, lender) = match self {
            Self::Daemon => {
                return Ok(Assumed {
                    changed: false,
                    groups: None,
                    _thread: PhantomData,
                });
            }
            Self::Maker { uid, gid } | Self::Caller { uid, gid } => (*uid, *gid, None),
            Self::Lender(lender) => (lender.uid, lender.gid, Some(lender)),
        };
        let mut assumed = Assumed {
            changed: true,
            groups: None,
            _thread: PhantomData,
        };
        if let Some(lender) = lender {
            assumed.groups = Some(sys::groups()?);
            sys::set_groups(&lender.groups)?;
        }
        sys::set_fs_gid(gid)?;
        sys::set_fs_uid(uid)?;
        // Leaving uid 0 takes the file-system capabilities out of force; a maker reaches everything all the same.
        if lender.is_none() && uid != 0 {
            sys::raise_file_capabilities()?;
        }
        Ok(assumed)
    }
}

impl Drop for Assumed {
    fn drop(&mut self) {
        if !self.changed {
            return;
        }
        let restored = sys::set_fs_uid(0)
            .and_then(|()| sys::set_fs_gid(0))
            .and_then(|()| self.groups.as_deref().map_or(Ok(()), sys::set_groups));
        if let Err(error) = restored {
            // A thread that goes on in the wrong name would break every promise.
            tracing::error!(%error, "cannot put the credentials of a thread back");
            std::process::abort();
        }
    }
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

    #[test]
    fn a_lender_reaches_no_further_than_himself() {
        let scratch = scratch();
        let file = scratch.path().join("private");
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
        let lender = |gid, groups| {
            Credentials::Lender(Arc::new(Lender {
                uid: 12345,
                gid,
                groups,
            }))
        };
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
