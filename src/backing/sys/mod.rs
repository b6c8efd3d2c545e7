//! The kernel, called directly. Each function is one system call, with the lengths and pointers right.

pub(super) mod thread;

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

pub(super) mod confine;
pub(super) mod fuse;
pub(super) mod identity;
pub(super) mod memory;
pub(super) mod process;

/// The most bytes of a file handle (`MAX_HANDLE_SZ`).
pub(super) const MAX_HANDLE: usize = 128;

/// `statx(2)` with the basic fields, the time of birth and the mount's number.
pub(super) fn statx(directory: BorrowedFd<'_>, path: &CStr, flags: i32) -> io::Result<libc::statx> {
    let mut stat = MaybeUninit::<libc::statx>::zeroed();
    let mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME | libc::STATX_MNT_ID;
    let flags = flags | libc::AT_SYMLINK_NOFOLLOW;
    // SAFETY: path ends in NUL, and the kernel writes one struct statx.
    check(unsafe {
        libc::statx(
            directory.as_raw_fd(),
            path.as_ptr(),
            flags,
            mask,
            stat.as_mut_ptr(),
        )
    })?;
    // SAFETY: all bit patterns are valid, and it was zeroed.
    Ok(unsafe { stat.assume_init() })
}

/// The number of the mount that an open file lies on.
pub(super) fn mount_id(fd: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(ask_nothing(fd)?.stx_mnt_id)
}

/// The number of the file system that an open file lies on, in two halves.
pub(super) fn device(fd: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
    let stat = ask_nothing(fd)?;
    Ok((stat.stx_dev_major, stat.stx_dev_minor))
}

/// `statx(2)` for no field: of a FUSE mount that does not admit the caller the numbers of mount and device are all
/// he is told.
fn ask_nothing(fd: BorrowedFd<'_>) -> io::Result<libc::statx> {
    let mut stat = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the path is empty and ends in NUL, and the kernel writes one struct statx.
    check(unsafe {
        libc::statx(
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            0,
            stat.as_mut_ptr(),
        )
    })?;
    // SAFETY: all bit patterns are valid, and it was zeroed.
    Ok(unsafe { stat.assume_init() })
}

/// The number of the file system that a path leads to, in two halves, through whatever link. Asks nobody: as
/// [`ask_nothing`].
pub(super) fn device_behind(path: &CStr) -> io::Result<(u32, u32)> {
    let mut stat = MaybeUninit::<libc::statx>::zeroed();
    let flags = libc::AT_STATX_DONT_SYNC;
    // SAFETY: path ends in NUL, and the kernel writes one struct statx.
    check(unsafe { libc::statx(libc::AT_FDCWD, path.as_ptr(), flags, 0, stat.as_mut_ptr()) })?;
    // SAFETY: all bit patterns are valid, and it was zeroed.
    let stat = unsafe { stat.assume_init() };
    Ok((stat.stx_dev_major, stat.stx_dev_minor))
}

#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    handle: [u8; MAX_HANDLE],
}

/// `name_to_handle_at(2)`: type and bytes, and the number of the mount. An empty name means the open file itself.
pub(super) fn name_to_handle(fd: BorrowedFd<'_>, name: &CStr) -> io::Result<(Box<[u8]>, u64)> {
    let mut handle = Handle {
        bytes: MAX_HANDLE as u32,
        kind: 0,
        handle: [0; MAX_HANDLE],
    };
    let mut mount = 0_i32;
    // SAFETY: handle has room for what its length says, mount for an int.
    check(unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            fd.as_raw_fd(),
            name.as_ptr(),
            &raw mut handle,
            &raw mut mount,
            if name.is_empty() { libc::AT_EMPTY_PATH } else { 0 },
        )
    })?;
    let length = (handle.bytes as usize).min(MAX_HANDLE);
    let handle = [&handle.kind.to_le_bytes()[..], &handle.handle[..length]].concat();
    Ok((handle.into(), u64::from(mount.unsigned_abs())))
}

/// `open_by_handle_at(2)` of what [`name_to_handle`] gave.
pub(super) fn open_by_handle(mount: BorrowedFd<'_>, bytes: &[u8], flags: i32) -> io::Result<OwnedFd> {
    let (kind, rest) = bytes
        .split_first_chunk::<4>()
        .ok_or(io::ErrorKind::InvalidInput)?;
    if rest.len() > MAX_HANDLE {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut handle = Handle {
        bytes: rest.len() as u32,
        kind: i32::from_le_bytes(*kind),
        handle: [0; MAX_HANDLE],
    };
    handle.handle[..rest.len()].copy_from_slice(rest);
    // SAFETY: handle is as long as its length says.
    let fd = check(unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            mount.as_raw_fd(),
            &raw mut handle,
            flags,
        )
    })?;
    Ok(owned(fd))
}

/// `utimensat(2)` of an open file itself.
pub(super) fn utimens(fd: BorrowedFd<'_>, times: [libc::timespec; 2]) -> io::Result<()> {
    // SAFETY: the path is empty and ends in NUL, times are two.
    check(unsafe { libc::utimensat(fd.as_raw_fd(), c"".as_ptr(), times.as_ptr(), libc::AT_EMPTY_PATH) })?;
    Ok(())
}

/// `utimensat(2)` of what a name in a directory leads to itself.
pub(super) fn utimens_at(
    directory: BorrowedFd<'_>, name: &CStr, times: [libc::timespec; 2],
) -> io::Result<()> {
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    // SAFETY: the name ends in NUL, times are two.
    check(unsafe { libc::utimensat(directory.as_raw_fd(), name.as_ptr(), times.as_ptr(), flags) })?;
    Ok(())
}

/// `pwritev2(2)` with RWF_APPEND.
pub(super) fn append(fd: BorrowedFd<'_>, data: &[u8]) -> io::Result<usize> {
    let part = libc::iovec {
        iov_base: data.as_ptr().cast_mut().cast(),
        iov_len: data.len(),
    };
    // SAFETY: the kernel reads one iovec of data, which outlives the call.
    let written =
        check(unsafe { libc::pwritev2(fd.as_raw_fd(), &raw const part, 1, 0, libc::RWF_APPEND) } as i64)?;
    Ok(written as usize)
}

/// `getdents64(2)`.
pub(super) fn getdents(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes at most the buffer's length.
    let filled = check(unsafe {
        libc::syscall(
            libc::SYS_getdents64,
            fd.as_raw_fd(),
            buffer.as_mut_ptr(),
            buffer.len(),
        )
    })?;
    Ok(filled as usize)
}

/// `setxattr(2)`.
pub(super) fn setxattr(path: &CStr, name: &CStr, value: &[u8], flags: i32) -> io::Result<()> {
    // SAFETY: both names end in NUL, value is as long as told.
    check(unsafe {
        libc::setxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            flags,
        )
    })?;
    Ok(())
}

/// `getxattr(2)`, whatever the size.
pub(super) fn getxattr(path: &CStr, name: &CStr) -> io::Result<Vec<u8>> {
    fill(|buffer, size| {
        // SAFETY: both names end in NUL, and the kernel writes at most `size` bytes.
        unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), buffer, size) }
    })
}

/// `listxattr(2)`, whatever the size.
pub(super) fn listxattr(path: &CStr) -> io::Result<Vec<u8>> {
    fill(|buffer, size| {
        // SAFETY: the path ends in NUL, and the kernel writes at most `size` bytes.
        unsafe { libc::listxattr(path.as_ptr(), buffer.cast(), size) }
    })
}

/// `removexattr(2)`.
pub(super) fn removexattr(path: &CStr, name: &CStr) -> io::Result<()> {
    // SAFETY: both names end in NUL.
    check(unsafe { libc::removexattr(path.as_ptr(), name.as_ptr()) })?;
    Ok(())
}

/// Calls with a buffer that is large enough for the most that an attribute can be (`XATTR_SIZE_MAX`).
fn fill(call: impl Fn(*mut libc::c_void, usize) -> libc::ssize_t) -> io::Result<Vec<u8>> {
    let size = check(call(ptr::null_mut(), 0) as i64)? as usize;
    // It may grow between the two calls.
    for size in [size, 65536] {
        let mut buffer = vec![0; size];
        match check(call(buffer.as_mut_ptr().cast(), buffer.len()) as i64) {
            Ok(filled) => {
                buffer.truncate(filled as usize);
                return Ok(buffer);
            }
            Err(error) if error.raw_os_error() == Some(libc::ERANGE) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ERANGE))
}

/// `fcntl(2)` F_OFD_SETLK.
pub(super) fn ofd_setlk(fd: BorrowedFd<'_>, lock: &libc::flock) -> io::Result<()> {
    // SAFETY: the kernel reads one struct flock.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_SETLK, ptr::from_ref(lock)) })?;
    Ok(())
}

/// `fcntl(2)` F_OFD_GETLK.
pub(super) fn ofd_getlk(fd: BorrowedFd<'_>, mut lock: libc::flock) -> io::Result<libc::flock> {
    // SAFETY: the kernel reads and writes one struct flock.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) })?;
    Ok(lock)
}

/// The `ioctl(2)` FUSE_DEV_IOC_BACKING_CLOSE (`linux/fuse.h`, Linux 6.9).
pub(super) fn fuse_backing_close(device: BorrowedFd<'_>, id: u32) -> io::Result<()> {
    // _IOW(229, 2, __u32)
    const FUSE_DEV_IOC_BACKING_CLOSE: libc::c_ulong = 0x4004_E502;
    // SAFETY: the kernel reads one u32.
    check(unsafe { libc::ioctl(device.as_raw_fd(), FUSE_DEV_IOC_BACKING_CLOSE, &raw const id) })?;
    Ok(())
}

/// `fsopen(2)`.
pub(super) fn fsopen(kind: &CStr) -> io::Result<OwnedFd> {
    const FSOPEN_CLOEXEC: u32 = 1;
    // SAFETY: the name ends in NUL.
    Ok(owned(check(unsafe {
        libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC)
    })?))
}

/// `fsconfig(2)`: a flag, or a key with a value.
pub(super) fn fsconfig(context: BorrowedFd<'_>, key: &CStr, value: Option<&CStr>) -> io::Result<()> {
    const FSCONFIG_SET_FLAG: u32 = 0;
    const FSCONFIG_SET_STRING: u32 = 1;
    let command = if value.is_some() {
        FSCONFIG_SET_STRING
    } else {
        FSCONFIG_SET_FLAG
    };
    let value = value.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: key and value end in NUL, a flag has no value.
    check(unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            command,
            key.as_ptr(),
            value,
            0,
        )
    })?;
    Ok(())
}

/// FSCONFIG_CMD_CREATE and `fsmount(2)`, always nosuid and nodev.
pub(super) fn fsmount(context: BorrowedFd<'_>, read_only: bool) -> io::Result<OwnedFd> {
    const FSCONFIG_CMD_CREATE: u32 = 6;
    const FSMOUNT_CLOEXEC: u32 = 1;
    const MOUNT_ATTR_RDONLY: u32 = 1;
    const MOUNT_ATTR_NOSUID: u32 = 2;
    const MOUNT_ATTR_NODEV: u32 = 4;
    let none = ptr::null::<u8>();
    // SAFETY: the command takes neither key nor value.
    check(unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            FSCONFIG_CMD_CREATE,
            none,
            none,
            0,
        )
    })?;
    let attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | if read_only { MOUNT_ATTR_RDONLY } else { 0 };
    // SAFETY: takes numbers.
    let mount = check(unsafe {
        libc::syscall(
            libc::SYS_fsmount,
            context.as_raw_fd(),
            FSMOUNT_CLOEXEC,
            attributes,
        )
    })?;
    Ok(owned(mount))
}

/// `move_mount(2)` onto an open directory.
pub(super) fn move_mount(mount: BorrowedFd<'_>, at: BorrowedFd<'_>) -> io::Result<()> {
    const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x04;
    const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    let empty = c"".as_ptr();
    // SAFETY: both paths are empty and end in NUL.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            empty,
            at.as_raw_fd(),
            empty,
            flags,
        )
    })?;
    Ok(())
}

/// `open_tree(2)` with OPEN_TREE_CLONE: a mount of its own of what an open directory lies on, attached nowhere.
pub(super) fn clone_mount(directory: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH as u32;
    // SAFETY: the path is empty and ends in NUL.
    Ok(owned(check(unsafe {
        libc::syscall(libc::SYS_open_tree, directory.as_raw_fd(), c"".as_ptr(), flags)
    })?))
}

/// A fanotify group that another process has made.
pub(super) fn fanotify_of(group: OwnedFd) -> nix::sys::fanotify::Fanotify {
    // SAFETY: no memory is concerned: what is no group answers each call with an error.
    unsafe { nix::sys::fanotify::Fanotify::from_owned_fd(group) }
}

/// `mallopt(3)` M_MMAP_THRESHOLD.
pub(super) fn set_mmap_threshold(bytes: i32) {
    const M_MMAP_THRESHOLD: i32 = -3;
    // SAFETY: takes numbers.
    unsafe { libc::mallopt(M_MMAP_THRESHOLD, bytes) };
}

/// `malloc_trim(3)`.
pub(super) fn trim_memory() {
    // SAFETY: takes a number.
    unsafe { libc::malloc_trim(0) };
}

fn check<T: Into<i64> + Copy>(result: T) -> io::Result<i64> {
    match result.into() {
        ..0 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}

fn owned(fd: i64) -> OwnedFd {
    // SAFETY: the kernel gave it just now, and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}
