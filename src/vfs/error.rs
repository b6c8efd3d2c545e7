//! Why a request failed, and the one table from reasons to errnos.

use std::io;
use std::time::Duration;

use crate::policy::Refusal;

/// The failure of a request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rule forbids it.
    #[error("refused: {0:?}")]
    Refused(Refusal),
    /// The name is not there, or not for this subject, and the kernel may keep that for so long.
    #[error("no such name")]
    Missing(Duration),
    /// Lines were found to have moved with their directories; the request starts anew.
    #[error("lines moved; ask again")]
    PlacesMoved,
    /// The directory above the node no longer leads to it under its name.
    #[error("the node moved or was replaced")]
    Stale,
    /// The handle was open when the right was taken away.
    #[error("the right was taken back while this was open")]
    Revoked,
    /// The node or handle is not known: the kernel and the daemon disagree.
    #[error("unknown node or handle")]
    Unknown,
    /// A name that no directory can hold (NUL, `/`, `.`, `..`, empty).
    #[error("not a name")]
    BadName,
    /// A name over 255 bytes.
    #[error("name too long")]
    LongName,
    /// An argument that the call does not have.
    #[error("invalid argument")]
    Invalid,
    /// The call does not exist on this kind of file or file system.
    #[error("not supported")]
    NotSupported,
    /// The buffer of the caller is too small (`getxattr`, `listxattr`).
    #[error("buffer too small")]
    Range,
    /// Another holds the lock.
    #[error("locked by another")]
    Locked,
    /// The caller got a signal while it waited.
    #[error("interrupted")]
    Interrupted,
    /// The folder's backing directory is not there.
    #[error("the folder's backing directory is lost")]
    Lost,
    /// The kernel's own answer from the backing, passed through unchanged.
    #[error(transparent)]
    Backing(#[from] io::Error),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Error {
    /// The same, if it says that a name is not there, for as long as that may be kept.
    pub(super) fn lasting(self, lasts: Duration) -> Self {
        match self {
            Self::Refused(Refusal::NotFound) => Self::Missing(lasts),
            error => error,
        }
    }

    /// The errno that the caller sees.
    pub fn errno(&self) -> i32 {
        match self {
            Self::Refused(Refusal::NotFound) | Self::Missing(_) => libc::ENOENT,
            Self::Refused(Refusal::Access) => libc::EACCES,
            Self::Refused(Refusal::NotPermitted) => libc::EPERM,
            Self::Refused(Refusal::CrossDevice) => libc::EXDEV,
            Self::Refused(Refusal::NotSupported) => libc::EOPNOTSUPP,
            Self::Refused(Refusal::Invalid) => libc::EINVAL,
            // The kernel walks the path anew and asks again.
            Self::Stale | Self::PlacesMoved => libc::ESTALE,
            // EACCES would be thinkable; EIO is what the kernel itself answers on a handle that was cut.
            Self::Revoked => libc::EIO,
            Self::Unknown => libc::ESTALE,
            Self::BadName => libc::EINVAL,
            Self::LongName => libc::ENAMETOOLONG,
            Self::Invalid => libc::EINVAL,
            Self::NotSupported => libc::EOPNOTSUPP,
            Self::Range => libc::ERANGE,
            Self::Locked => libc::EAGAIN,
            Self::Interrupted => libc::EINTR,
            Self::Lost => libc::EIO,
            Self::Backing(error) => error.raw_os_error().unwrap_or(libc::EIO),
        }
    }
}

/// What an operation returns.
pub type Result<T> = std::result::Result<T, Error>;
