//! Calls on the content of open files.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::unistd::{Whence, lseek};

use super::sys;

/// Reads at an offset.
///
/// # Errors
/// Those of `pread(2)`.
pub fn read_at(fd: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    Ok(nix::sys::uio::pread(fd, buffer, to_offset(offset)?)?)
}

/// Writes at an offset.
///
/// # Errors
/// Those of `pwrite(2)`.
pub fn write_at(fd: BorrowedFd<'_>, data: &[u8], offset: u64) -> io::Result<usize> {
    Ok(nix::sys::uio::pwrite(fd, data, to_offset(offset)?)?)
}

/// Writes at the end of the file as it is then, in one step (`RWF_APPEND`, Linux 4.16).
///
/// # Errors
/// Those of `pwritev2(2)`.
pub fn append(fd: BorrowedFd<'_>, data: &[u8]) -> io::Result<usize> {
    sys::append(fd, data)
}

/// Brings what was written to the disk.
///
/// # Errors
/// Those of `fsync(2)`, `fdatasync(2)`.
pub fn sync(fd: BorrowedFd<'_>, data_only: bool) -> io::Result<()> {
    if data_only {
        nix::unistd::fdatasync(fd)?;
    } else {
        nix::unistd::fsync(fd)?;
    }
    Ok(())
}

/// Finds data at or after an offset.
///
/// # Errors
/// ENXIO past the end; those of `lseek(2)`.
pub fn seek_data(fd: BorrowedFd<'_>, offset: i64) -> io::Result<i64> {
    Ok(lseek(fd, offset, Whence::SeekData)?)
}

/// Finds a hole at or after an offset.
///
/// # Errors
/// ENXIO past the end; those of `lseek(2)`.
pub fn seek_hole(fd: BorrowedFd<'_>, offset: i64) -> io::Result<i64> {
    Ok(lseek(fd, offset, Whence::SeekHole)?)
}

/// Allocates or frees space; `mode` as of the man page.
///
/// # Errors
/// Those of `fallocate(2)`.
pub fn fallocate(fd: BorrowedFd<'_>, mode: i32, offset: u64, length: u64) -> io::Result<()> {
    let mode = nix::fcntl::FallocateFlags::from_bits_retain(mode);
    Ok(nix::fcntl::fallocate(
        fd,
        mode,
        to_offset(offset)?,
        to_offset(length)?,
    )?)
}

/// Copies within the kernel.
///
/// # Errors
/// Those of `copy_file_range(2)`.
pub fn copy_file_range(
    from: BorrowedFd<'_>, from_offset: u64, into: BorrowedFd<'_>, into_offset: u64, length: usize,
) -> io::Result<usize> {
    let (mut from_offset, mut into_offset) = (to_offset(from_offset)?, to_offset(into_offset)?);
    let offsets = (Some(&mut from_offset), Some(&mut into_offset));
    Ok(nix::fcntl::copy_file_range(
        from.as_fd(),
        offsets.0,
        into.as_fd(),
        offsets.1,
        length,
    )?)
}

fn to_offset(offset: u64) -> io::Result<i64> {
    i64::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}
