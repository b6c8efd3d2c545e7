//! Why a command is refused: one line that says what, why, and what to do.

use axum::http::StatusCode;

use crate::control::wire::quoted;
use crate::policy::authority::Denied;
use crate::store::StoreError;

/// A refusal, with the status it travels under.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refused {
    /// The class of it.
    pub status: StatusCode,
    /// The line.
    pub line: String,
}

/// What a command returns.
pub(super) type Result<T> = std::result::Result<T, Refused>;

impl Refused {
    /// What was given makes no sense.
    pub(super) fn invalid(line: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            line: line.into(),
        }
    }

    /// The caller may not.
    pub(super) fn denied(line: impl Into<String>) -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            line: line.into(),
        }
    }

    /// There is no such thing, for all that the caller may know.
    pub(super) fn not_found(line: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            line: line.into(),
        }
    }

    /// It cannot be, for what is there.
    pub(super) fn conflict(line: impl Into<String>) -> Self {
        Self {
            status: StatusCode::CONFLICT,
            line: line.into(),
        }
    }

    /// It failed.
    pub(super) fn failed(line: impl Into<String>) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            line: line.into(),
        }
    }

    /// Turns a denial into its line, about a thing; what may not be seen is answered like what is not there.
    pub(super) fn because(denied: Denied, missing: impl FnOnce() -> Self) -> Self {
        match denied {
            Denied::NotFound => missing(),
            denied => Self::denied(denied.to_string()),
        }
    }

    /// A system call on a path failed.
    pub(super) fn system(what: &str, path: &[u8], error: &std::io::Error) -> Self {
        let hint = if error.raw_os_error() == Some(libc::EACCES) {
            ": it is closed to you, or lies in a FUSE mount, which takes no other on it"
        } else {
            ""
        };
        Self::failed(format!("{what} {}: {error}{hint}", quoted(path)))
    }

    /// Likewise, the one that opens what the caller named: where that does not lead anywhere is his affair.
    pub(super) fn opening(what: &str, path: &[u8], error: &std::io::Error) -> Self {
        let status = match error.raw_os_error() {
            Some(libc::ENOENT) => StatusCode::NOT_FOUND,
            Some(libc::EACCES | libc::EPERM) => StatusCode::FORBIDDEN,
            Some(libc::ENOTDIR | libc::ELOOP | libc::ENAMETOOLONG | libc::EINVAL) => StatusCode::BAD_REQUEST,
            None if error.kind() == std::io::ErrorKind::InvalidInput => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            status,
            ..Self::system(what, path, error)
        }
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        let line = error.to_string();
        match error {
            StoreError::NotFound(_) => Self::not_found(line),
            StoreError::Conflict(_) => Self::conflict(line),
            StoreError::Invalid(_) => Self::invalid(line),
            StoreError::Newer { .. }
            | StoreError::InUse(_)
            | StoreError::Damaged { .. }
            | StoreError::Io(_)
            | StoreError::Database(_)
            | StoreError::Migration(_) => {
                tracing::error!(error = line, "the store failed");
                Self::failed(line)
            }
        }
    }
}
