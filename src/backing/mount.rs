//! Mounting: `fsopen(2)`, `fsmount(2)`, `move_mount(2)`, onto a directory that is held open.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};

use super::sys;

/// What a FUSE mount is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FuseMountOptions {
    /// The user whom the kernel admits.
    pub uid: u32,
    /// The group that he must have.
    pub gid: u32,
    /// Whether it admits everyone.
    pub allow_other: bool,
    /// Whether it applies modes and owners by itself.
    pub default_permissions: bool,
    /// Whether it refuses every change.
    pub read_only: bool,
}

/// A mount that was made here, known by the kernel's number for it.
#[derive(Debug)]
pub struct Mounted {
    id: u64,
}

/// Mounts on a directory that is held open: whatever its path leads to by now. Gives the `/dev/fuse` descriptor
/// to serve it by.
///
/// # Errors
/// Those of `fsopen(2)`, `fsconfig(2)`, `fsmount(2)`, `move_mount(2)`.
pub fn mount_fuse(at: BorrowedFd<'_>, options: &FuseMountOptions) -> io::Result<(OwnedFd, Mounted)> {
    let device = OwnedFd::from(File::options().read(true).write(true).open("/dev/fuse")?);
    let context = sys::fsopen(c"fuse")?;
    let set = |key: &std::ffi::CStr, value: String| {
        sys::fsconfig(
            context.as_fd(),
            key,
            Some(&CString::new(value).unwrap_or_default()),
        )
    };
    set(c"source", "lendfs".into())?;
    set(c"subtype", "lendfs".into())?;
    set(c"fd", device.as_raw_fd().to_string())?;
    set(c"rootmode", "40000".into())?;
    set(c"user_id", options.uid.to_string())?;
    set(c"group_id", options.gid.to_string())?;
    if options.allow_other {
        sys::fsconfig(context.as_fd(), c"allow_other", None)?;
    }
    if options.default_permissions {
        sys::fsconfig(context.as_fd(), c"default_permissions", None)?;
    }
    if options.read_only {
        sys::fsconfig(context.as_fd(), c"ro", None)?;
    }
    let root = sys::fsmount(context.as_fd(), options.read_only)?;
    let id = sys::mount_id(root.as_fd())?;
    sys::move_mount(root.as_fd(), at)?;
    Ok((device, Mounted { id }))
}

impl Mounted {
    /// The kernel's number for it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Where it is mounted now; `None` if it is not.
    pub fn at(&self) -> Option<PathBuf> {
        let mounts = std::fs::read("/proc/self/mountinfo").ok()?;
        mounts.split(|&byte| byte == b'\n').find_map(|line| {
            let mut fields = line.split(|&byte| byte == b' ');
            let id = std::str::from_utf8(fields.next()?).ok()?.parse::<u64>().ok()?;
            (id == self.id).then(|| fields.nth(3).map(unescape))?
        })
    }

    /// Tells whether it is still mounted.
    pub fn is_mounted(&self) -> bool {
        self.at().is_some()
    }

    /// Unmounts it; what was mounted over it is left alone.
    ///
    /// # Errors
    /// EBUSY while something is open, unless `lazy`; ENOENT if it is not mounted any more.
    pub fn unmount(&self, lazy: bool) -> io::Result<()> {
        let at = self.at().ok_or(io::ErrorKind::NotFound)?;
        // umount takes what is topmost at a path: that has to be this mount.
        if topmost(&at) != Some(self.id) {
            return Err(io::Error::other(format!(
                "something else is mounted over {}",
                at.display()
            )));
        }
        let flags = MntFlags::UMOUNT_NOFOLLOW
            | if lazy {
                MntFlags::MNT_DETACH
            } else {
                MntFlags::empty()
            };
        Ok(umount2(&at, flags)?)
    }
}

/// Takes down the mount of that number at a path, if it is still there and one of lendfs; anything else at the path
/// is left alone. For what a daemon that was killed has left.
///
/// # Errors
/// Those of `umount2(2)`.
pub fn unmount_left(at: &Path, id: u64) -> io::Result<()> {
    if topmost(at) != Some(id)
        || !std::fs::read_to_string("/proc/self/mountinfo")?.contains(" - fuse.lendfs ")
    {
        return Ok(());
    }
    Ok(umount2(at, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH)?)
}

/// The number of the mount that a path leads to.
fn topmost(at: &Path) -> Option<u64> {
    let mounts = std::fs::read("/proc/self/mountinfo").ok()?;
    mounts
        .split(|&byte| byte == b'\n')
        .filter_map(|line| {
            let mut fields = line.split(|&byte| byte == b' ');
            let id = std::str::from_utf8(fields.next()?).ok()?.parse::<u64>().ok()?;
            (unescape(fields.nth(3)?) == at).then_some(id)
        })
        .next_back()
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
pub fn unescape(field: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match octal {
            Some(escaped) if byte == b'\\' => {
                path.push(escaped);
                rest = &after[3..];
            }
            _ => {
                path.push(byte);
                rest = after;
            }
        }
    }
    std::ffi::OsString::from_vec(path).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_mountinfo_are_read_back() {
        assert_eq!(unescape(br"/a\040b\134c\011"), Path::new("/a b\\c\t"));
        assert_eq!(unescape(b"/plain"), Path::new("/plain"));
    }
}
