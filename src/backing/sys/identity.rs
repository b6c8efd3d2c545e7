//! Who a thread is for the kernel: file-system ids, groups, capabilities (`credentials(7)`). Each thread has its own.

use std::io;
use std::ptr;

use super::check;

/// The supplementary groups of the thread.
pub(in crate::backing) fn groups() -> io::Result<Vec<u32>> {
    // SAFETY: with length 0 nothing is written.
    let count = check(unsafe { libc::getgroups(0, ptr::null_mut()) })?;
    let mut groups = vec![0; count as usize];
    // SAFETY: the kernel writes at most as many as told.
    let count = check(unsafe { libc::getgroups(count as i32, groups.as_mut_ptr()) })?;
    groups.truncate(count as usize);
    Ok(groups)
}

/// `setgroups(2)` of the calling thread alone.
pub(in crate::backing) fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: the kernel reads as many as told.
    check(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    Ok(())
}

/// `setfsuid(2)` of the calling thread. Tells the former id, never an error.
pub(in crate::backing) fn set_fs_uid(uid: u32) -> u32 {
    // SAFETY: takes a number.
    unsafe { libc::syscall(libc::SYS_setfsuid, uid) as u32 }
}

/// The file-system uid of the calling thread.
pub(in crate::backing) fn fs_uid() -> u32 {
    // An impossible id changes nothing.
    set_fs_uid(u32::MAX)
}

/// `setfsgid(2)` of the calling thread. Tells the former id, never an error.
pub(in crate::backing) fn set_fs_gid(gid: u32) -> u32 {
    // SAFETY: takes a number.
    unsafe { libc::syscall(libc::SYS_setfsgid, gid) as u32 }
}

/// The file-system gid of the calling thread.
pub(in crate::backing) fn fs_gid() -> u32 {
    set_fs_gid(u32::MAX)
}

/// The capabilities of a thread, one bit each (`capabilities(7)`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::backing) struct Capabilities {
    pub(in crate::backing) effective: u64,
    pub(in crate::backing) permitted: u64,
    pub(in crate::backing) inheritable: u64,
}

/// `struct __user_cap_header_struct` of the calling thread.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`: two structures, the low 32 bits first.
const HEADER: Header = Header {
    version: 0x2008_0522,
    pid: 0,
};

/// `capget(2)` of the calling thread.
pub(in crate::backing) fn capabilities() -> io::Result<Capabilities> {
    let mut header = HEADER;
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 reads one header and writes two structures.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) })?;
    let join = |part: fn(&Data) -> u32| u64::from(part(&data[0])) | u64::from(part(&data[1])) << 32;
    Ok(Capabilities {
        effective: join(|data| data.effective),
        permitted: join(|data| data.permitted),
        inheritable: join(|data| data.inheritable),
    })
}

/// `capset(2)` of the calling thread.
pub(in crate::backing) fn set_capabilities(capabilities: &Capabilities) -> io::Result<()> {
    let mut header = HEADER;
    let part = |shift: u32| Data {
        effective: (capabilities.effective >> shift) as u32,
        permitted: (capabilities.permitted >> shift) as u32,
        inheritable: (capabilities.inheritable >> shift) as u32,
    };
    let data = [part(0), part(32)];
    // SAFETY: version 3 reads one header and two structures.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) })?;
    Ok(())
}
