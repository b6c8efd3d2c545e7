//! File handles: what names an inode over renames and restarts.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::name::Name;
use super::sys;

/// A file handle of `name_to_handle_at(2)`: its type (4 bytes, little-endian) and its bytes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FileHandle(Box<[u8]>);

impl FileHandle {
    /// The handle of a type and its bytes.
    pub(super) fn new(kind: i32, bytes: &[u8]) -> Self {
        Self([&kind.to_le_bytes(), bytes].concat().into())
    }

    /// The bytes, type included.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads what [`FileHandle::as_bytes`] gave; `None` if it cannot be a handle.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (4..=4 + sys::MAX_HANDLE)
            .contains(&bytes.len())
            .then(|| Self(bytes.into()))
    }

    /// A number that differs, but for chance, between two files that had the same inode number.
    pub fn generation(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// The handle of an open file (O_PATH suffices); `None` where the file system has no handles (overlayfs).
///
/// # Errors
/// Those of `name_to_handle_at(2)` but EOPNOTSUPP.
pub fn handle(fd: impl AsFd) -> io::Result<Option<FileHandle>> {
    match sys::name_to_handle(fd.as_fd(), c"") {
        Ok((handle, _)) => Ok(Some(FileHandle(handle))),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EOVERFLOW)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The handle of what a name in a directory leads to, and the number of the mount it lies on (as in
/// [`Stat::mount`](super::Stat::mount)).
///
/// # Errors
/// Those of `name_to_handle_at(2)`.
pub fn handle_at(directory: impl AsFd, name: &Name) -> io::Result<(FileHandle, u64)> {
    let (handle, mount) = sys::name_to_handle(directory.as_fd(), name.as_c_str())?;
    Ok((FileHandle(handle), mount))
}

/// Opens the file of a handle on the mount of `anchor`, which must not be open with O_PATH: such a descriptor
/// names no mount to this call. Needs CAP_DAC_READ_SEARCH.
///
/// # Errors
/// ESTALE if the file is no more; those of `open_by_handle_at(2)`.
pub fn open_handle(anchor: impl AsFd, handle: &FileHandle, flags: i32) -> io::Result<OwnedFd> {
    sys::open_by_handle(anchor.as_fd(), &handle.0, flags | libc::O_CLOEXEC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backing::{Name, mkdir, open_path, open_root, path_of, rename, rmdir};

    #[test]
    fn a_handle_finds_its_directory_after_a_rename_and_says_when_it_is_gone() {
        let scratch = tempfile::tempdir().unwrap();
        let root = open_root(scratch.path()).unwrap();
        let anchor = std::fs::File::open(scratch.path()).unwrap();
        let (old, new) = (Name::new("old").unwrap(), Name::new("new").unwrap());
        mkdir(&root, &old, 0o755).unwrap();
        let directory = open_path(&root, &old).unwrap();
        let known = handle(&directory).unwrap().unwrap();
        let mount = crate::backing::stat(&directory).unwrap().mount;
        assert_eq!(handle_at(&root, &old).unwrap(), (known.clone(), mount));
        assert_eq!(FileHandle::from_bytes(known.as_bytes()), Some(known.clone()));
        rename(&root, &old, &root, &new, Default::default()).unwrap();
        let found = open_handle(&anchor, &known, libc::O_PATH).unwrap();
        assert_eq!(path_of(&found).unwrap(), scratch.path().join("new"));
        drop((found, directory));
        rmdir(&root, &new).unwrap();
        let error = open_handle(&anchor, &known, libc::O_PATH).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ESTALE));
    }
}
