//! Mounting: `fsopen(2)`, `fsmount(2)`, `move_mount(2)`, onto a directory that is held open.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::mount::{MntFlags, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use parking_lot::Mutex;

use super::holders::Device;
use super::mounter;
use super::name::Name;
use super::open::{open_path, open_root, proc_path};
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
    device: Device,
    detached: Option<OwnedFd>,
    /// Whether it was taken down here: both numbers may be another's since.
    down: AtomicBool,
    /// Where it was last found.
    last: Mutex<Option<PathBuf>>,
}

/// Mounts on a directory that is held open: whatever its path leads to by now. Gives the `/dev/fuse` descriptor
/// to serve it by.
///
/// # Errors
/// Those of `fsopen(2)`, `fsconfig(2)`, `fsmount(2)`, `move_mount(2)`.
pub fn mount_fuse(at: BorrowedFd<'_>, options: &FuseMountOptions) -> io::Result<(OwnedFd, Mounted)> {
    let made = match mounter::mounter() {
        None => make(at, options),
        Some(mounter) => mounter::mount(mounter, at, options),
    }?;
    let mounted = Mounted {
        id: made.id,
        device: made.device,
        detached: made.detached,
        down: AtomicBool::new(false),
        last: Mutex::new(super::open::path_of(at).ok()),
    };
    Ok((made.fuse, mounted))
}

/// What is there when a file system was mounted.
pub(super) struct Made {
    pub(super) fuse: OwnedFd,
    pub(super) id: u64,
    pub(super) device: Device,
    pub(super) detached: Option<OwnedFd>,
}

/// Mounts in the mount namespace of this process.
pub(super) fn make(at: BorrowedFd<'_>, options: &FuseMountOptions) -> io::Result<Made> {
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
    let (major, minor) = sys::device(root.as_fd())?;
    sys::move_mount(root.as_fd(), at)?;
    Ok(Made {
        fuse: device,
        id,
        device: Device { major, minor },
        detached: sys::clone_mount(root.as_fd()).ok(),
    })
}

impl Mounted {
    /// The mount of these numbers that another process has made.
    pub fn again(id: u64, (major, minor): (u32, u32)) -> Self {
        Self {
            id,
            device: Device { major, minor },
            detached: None,
            down: AtomicBool::new(false),
            last: Mutex::new(None),
        }
    }

    /// The kernel's number for it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The number of its file system.
    pub fn device(&self) -> Device {
        self.device
    }

    /// A mount of the same file system that is attached nowhere, to be taken once. It keeps the file system alive.
    pub fn take_detached(&mut self) -> Option<OwnedFd> {
        self.detached.take()
    }

    /// Takes it down, whoever has something open and whoever waits for an answer: nobody serves it any more.
    ///
    /// # Errors
    /// Those of `umount2(2)`.
    pub fn end(&self) -> io::Result<()> {
        let at = self.at().ok_or(io::ErrorKind::NotFound)?;
        let flags = MntFlags::MNT_DETACH | MntFlags::MNT_FORCE;
        take_down(&at, self.id, Some(self.device), flags)?;
        Ok(())
    }

    /// Where it is mounted now; `None` if it is not.
    pub fn at(&self) -> Option<PathBuf> {
        if self.down.load(Ordering::Acquire) {
            return None;
        }
        // Many may be asked one after the other, and the table is long then.
        static TABLE: Mutex<Option<MountTable>> = Mutex::new(None);
        let mut kept = TABLE.lock();
        if kept.is_none() {
            *kept = Some(MountTable::read().ok()?);
        }
        let table = kept.as_mut()?;
        table.refresh().ok()?;
        table.mounts.get(&self.identity()).cloned()
    }

    /// Tells whether it is still mounted.
    pub fn is_mounted(&self) -> bool {
        self.at().is_some()
    }

    /// Likewise, by a table that was read for many.
    pub fn is_in(&self, table: &MountTable) -> bool {
        !self.down.load(Ordering::Acquire) && table.mounts.contains_key(&self.identity())
    }

    /// The number of a mount is given to the next one as soon as it is free; that of the file system is not, as long as
    /// the daemon holds it.
    fn identity(&self) -> Identity {
        (self.id, self.device)
    }

    /// Unmounts it; what was mounted over it is left alone.
    ///
    /// # Errors
    /// EBUSY while something is open, unless `lazy`; ENOENT if it is not mounted any more.
    pub fn unmount(&self, lazy: bool) -> io::Result<()> {
        let mut flags = MntFlags::empty();
        flags.set(MntFlags::MNT_DETACH, lazy);
        // Mostly it is where it was, and the table needs not be read, which changes with each that is taken down.
        let last = self.last.lock().take();
        if let Some(last) = last.filter(|_| !self.down.load(Ordering::Acquire)) {
            let down = take_down(&last, self.id, Some(self.device), flags);
            *self.last.lock() = Some(last);
            match down {
                Ok(true) => {
                    self.down.store(true, Ordering::Release);
                    return Ok(());
                }
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => return Err(error),
                Ok(false) | Err(_) => {}
            }
        }
        let at = self.at().ok_or(io::ErrorKind::NotFound)?;
        if take_down(&at, self.id, Some(self.device), flags)? {
            self.down.store(true, Ordering::Release);
            Ok(())
        } else {
            Err(io::Error::other(format!(
                "something else is mounted over {}",
                at.display()
            )))
        }
    }
}

/// The numbers of all that is mounted, read again only where something has changed (`proc_pid_mountinfo(5)`).
#[derive(Debug)]
pub struct MountTable {
    file: File,
    /// Where each is.
    mounts: HashMap<Identity, PathBuf>,
}

type Identity = (u64, Device);

/// Of a line of the table: its number, and that of its file system.
fn identity(line: &[u8]) -> Option<Identity> {
    let mut fields = line.split(|&byte| byte == b' ');
    let text = |field| std::str::from_utf8(field).ok();
    let id = text(fields.next()?)?.parse().ok()?;
    let (major, minor) = text(fields.nth(1)?)?.split_once(':')?;
    let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
    Some((id, Device { major, minor }))
}

impl MountTable {
    /// Reads it.
    ///
    /// # Errors
    /// Those of `open(2)` and `read(2)` of `/proc/self/mountinfo`.
    pub fn read() -> io::Result<Self> {
        let mut table = Self {
            file: File::open(mounter::mountinfo())?,
            mounts: HashMap::new(),
        };
        table.fill()?;
        Ok(table)
    }

    /// Reads it again if something was mounted or unmounted since the last time.
    ///
    /// # Errors
    /// Those of `poll(2)` and `read(2)`.
    pub fn refresh(&mut self) -> io::Result<()> {
        let mut changed = [PollFd::new(self.file.as_fd(), PollFlags::POLLPRI)];
        if poll(&mut changed, PollTimeout::ZERO)? > 0 {
            self.fill()?;
        }
        Ok(())
    }

    fn fill(&mut self) -> io::Result<()> {
        self.file.rewind()?;
        let mut text = Vec::new();
        self.file.read_to_end(&mut text)?;
        let lines = text.split(|&byte| byte == b'\n');
        let mounts = lines.filter_map(|line| {
            let at = line.split(|&byte| byte == b' ').nth(4)?;
            Some((identity(line)?, unescape(at)))
        });
        self.mounts = mounts.collect();
        Ok(())
    }
}

/// Takes down the mount of that number at a path, if it is still there and one of lendfs; anything else at the path
/// is left alone. For what a daemon that was killed has left.
///
/// # Errors
/// Those of `umount2(2)`.
pub fn unmount_left(at: &Path, id: u64) -> io::Result<()> {
    // Where others have mounted something needs not be text.
    let mounts = std::fs::read(mounter::mountinfo())?;
    let ours = format!("{id} ").into_bytes();
    let is_ours =
        |line: &[u8]| line.starts_with(&ours) && line.windows(15).any(|part| part == b" - fuse.lendfs ");
    if mounts.split(|&byte| byte == b'\n').any(is_ours) {
        // Who waits for an answer that nobody gives any more must not keep it.
        take_down(at, id, None, MntFlags::MNT_DETACH | MntFlags::MNT_FORCE)?;
    }
    Ok(())
}

fn take_down(at: &Path, id: u64, device: Option<Device>, flags: MntFlags) -> io::Result<bool> {
    match mounter::mounter() {
        None => take_down_here(at, id, device, flags),
        Some(mounter) => mounter::take_down(mounter, at, id, device, flags),
    }
}

/// Unmounts what is topmost at a path if it is the mount of that number, of that file system if one is named; tells
/// whether it was.
///
/// The way there belongs to a user, who could turn it elsewhere between the look and the deed: so the directory above
/// is held open, and in it the name of a mount point can be neither renamed nor removed.
pub(super) fn take_down_here(
    at: &Path, id: u64, device: Option<Device>, flags: MntFlags,
) -> io::Result<bool> {
    let (Some(above), Some(name)) = (at.parent(), at.file_name()) else {
        return Ok(false);
    };
    let name = Name::new(name.as_bytes()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let above = open_root(above)?;
    let there = open_path(&above, &name)?;
    let (major, minor) = sys::device(there.as_fd())?;
    let other = device.is_some_and(|device| device != Device { major, minor });
    if sys::mount_id(there.as_fd())? != id || other {
        return Ok(false);
    }
    drop(there);
    let flags = flags | MntFlags::UMOUNT_NOFOLLOW;
    let path = PathBuf::from(std::ffi::OsString::from_vec(proc_path(&above).into_bytes()));
    umount2(&path.join(at.file_name().unwrap_or_default()), flags)?;
    Ok(true)
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
pub fn unescape(field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|digits| digits.iter().all(u8::is_ascii_digit))
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
    fn a_mount_is_known_by_its_number_and_that_of_its_file_system() {
        let line = b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        assert_eq!(identity(line), Some((36, Device { major: 98, minor: 0 })));
        for wrong in [&b""[..], b"36 35", b"x 35 98:0 /", b"36 35 98 /"] {
            assert_eq!(identity(wrong), None);
        }
    }

    #[test]
    fn what_was_taken_down_is_not_the_next_one_that_has_its_numbers() {
        let scratch = tempfile::tempdir().unwrap();
        let options = FuseMountOptions {
            uid: 0,
            gid: 0,
            allow_other: false,
            default_permissions: false,
            read_only: false,
        };
        let mount = |name: &str| {
            let at = scratch.path().join(name);
            std::fs::create_dir(&at).unwrap();
            mount_fuse(open_root(&at).unwrap().as_fd(), &options)
        };
        let Ok((device, mut first)) = mount("first") else {
            println!("SKIP: nothing can be mounted");
            return;
        };
        assert!(first.is_mounted());
        drop(first.take_detached());
        first.unmount(false).unwrap();
        drop(device);
        // The kernel gives the lowest numbers that are free.
        let others: Vec<_> = (0..4).map(|number| mount(&number.to_string()).unwrap()).collect();
        let taken_for_another = first.is_mounted() || first.is_in(&MountTable::read().unwrap());
        let again = first.unmount(true);
        let left = others.iter().filter(|(_, other)| other.unmount(true).is_ok());
        assert_eq!(
            (taken_for_another, again.is_err(), left.count()),
            (false, true, 4)
        );
    }

    #[test]
    fn paths_in_mountinfo_are_read_back() {
        assert_eq!(unescape(br"/a\040b\134c\011"), Path::new("/a b\\c\t"));
        assert_eq!(unescape(b"/plain"), Path::new("/plain"));
    }
}
