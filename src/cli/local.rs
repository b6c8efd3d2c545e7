//! Paths inside a mount: `./x`, `../x` and `/x` mean a file as the shell sees it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::CliError;
use crate::control::wire::{Bytes, PlaceRef, quoted};

/// A place as it was typed.
pub(super) fn place(typed: &OsStr) -> Result<PlaceRef, CliError> {
    let bytes = typed.as_bytes();
    let local = bytes.starts_with(b"/")
        || [&b"."[..], b".."].iter().any(|dots| {
            bytes
                .strip_prefix(*dots)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        });
    if !local {
        return Ok(PlaceRef::Named(Bytes(bytes.into())));
    }
    let path = absolute(Path::new(typed))?;
    let mounts = std::fs::read("/proc/self/mountinfo").map_err(|error| CliError::Other(error.to_string()))?;
    let mounts = mounts_of_lendfs(&mounts);
    inside(&mounts, &path)
        .or_else(|| inside(&mounts, &followed(&path)?))
        .ok_or_else(|| {
            CliError::Other(format!(
                "{} is not inside a mount of lendfs: 'lendfs mounts' lists them, and FOLDER/PATH names a place from \
                 anywhere",
                quoted(path.as_os_str().as_bytes())
            ))
        })
}

/// A path by the innermost mount that it lies in.
pub(crate) fn inside(mounts: &[PathBuf], path: &Path) -> Option<PlaceRef> {
    let mounts = mounts.iter().filter(|mount| path.starts_with(mount));
    let mount = mounts.max_by_key(|mount| mount.as_os_str().len())?;
    let bytes = |path: &Path| Bytes(path.as_os_str().as_bytes().into());
    Some(PlaceRef::Local {
        mount: bytes(mount),
        path: bytes(path.strip_prefix(mount).ok()?),
    })
}

/// A path whose directory was found through symbolic links; the last name is what it is.
fn followed(path: &Path) -> Option<PathBuf> {
    match (path.parent().map(Path::canonicalize), path.file_name()) {
        (Some(Ok(above)), Some(name)) => {
            // A link to the mount itself stands for it.
            let itself = above.join(name);
            Some(itself.canonicalize().unwrap_or(itself))
        }
        _ => None,
    }
}

/// An absolute path without `.` and `..`, symbolic links as they are.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    let here = std::env::current_dir()
        .map_err(|error| CliError::Other(format!("the working directory is not there: {error}")))?;
    let mut absolute = PathBuf::new();
    for component in here.join(path).components() {
        match component {
            Component::ParentDir => drop(absolute.pop()),
            Component::CurDir => {}
            component => absolute.push(component),
        }
    }
    Ok(absolute)
}

/// A directory, as an absolute path without symbolic links where they can be followed.
pub(super) fn directory(path: &OsStr) -> Result<Bytes, CliError> {
    let path = Path::new(path);
    // A mount point that is up may not be looked into by everyone: then its parent has to do.
    let resolved = path.canonicalize().or_else(|_| {
        let path = absolute(path).map_err(|error| std::io::Error::other(error.to_string()))?;
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => Ok(parent.canonicalize()?.join(name)),
            _ => Ok(path),
        }
    });
    let resolved = resolved.or_else(|_: std::io::Error| absolute(path))?;
    Ok(Bytes(OsString::from(resolved).as_bytes().into()))
}

/// The places where something of type `fuse.lendfs` is mounted.
pub(crate) fn mounts_of_lendfs(mountinfo: &[u8]) -> Vec<PathBuf> {
    mountinfo
        .split(|&byte| byte == b'\n')
        .filter(|line| line.windows(15).any(|part| part == b" - fuse.lendfs "))
        .filter_map(|line| line.split(|&byte| byte == b' ').nth(4))
        .map(crate::backing::unescape_mountinfo)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_starts_like_a_path_is_one_and_the_rest_are_names() {
        for name in ["tests", "tests/a", ".hidden", "..x/y", "alice:tests"] {
            let place = place(OsStr::new(name)).unwrap();
            assert_eq!(place, PlaceRef::Named(Bytes(name.into())), "{name}");
        }
        for path in ["/tmp", ".", "..", "./x", "../x"] {
            let error = place(OsStr::new(path)).unwrap_err().to_string();
            assert!(error.contains("not inside a mount"), "{path}: {error}");
        }
    }

    #[test]
    fn mounts_are_found_among_others() {
        let mountinfo = b"22 1 0:20 / /proc rw - proc proc rw\n\
            30 1 0:40 / /home/bob/my\\040folders rw,nosuid,nodev shared:1 - fuse.lendfs lendfs rw\n";
        assert_eq!(mounts_of_lendfs(mountinfo), [Path::new("/home/bob/my folders")]);
    }
}
