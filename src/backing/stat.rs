//! What a file is: `statx(2)`, `statfs(2)`.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::directory::DirStream;
use super::name::Name;
use super::sys;

/// The type of a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FileKind {
    /// `S_IFREG`
    Regular,
    /// `S_IFDIR`
    Directory,
    /// `S_IFLNK`
    Symlink,
    /// `S_IFIFO`
    Fifo,
    /// `S_IFSOCK`
    Socket,
    /// `S_IFCHR`
    CharDevice,
    /// `S_IFBLK`
    BlockDevice,
}

impl FileKind {
    /// The type in a mode as the kernel has it; `None` where it names no type.
    pub fn from_mode(mode: u32) -> Option<Self> {
        Some(match mode & libc::S_IFMT {
            libc::S_IFREG => Self::Regular,
            libc::S_IFDIR => Self::Directory,
            libc::S_IFLNK => Self::Symlink,
            libc::S_IFIFO => Self::Fifo,
            libc::S_IFSOCK => Self::Socket,
            libc::S_IFCHR => Self::CharDevice,
            libc::S_IFBLK => Self::BlockDevice,
            _ => return None,
        })
    }

    /// The type bits of a mode.
    pub fn mode(self) -> u32 {
        match self {
            Self::Regular => libc::S_IFREG,
            Self::Directory => libc::S_IFDIR,
            Self::Symlink => libc::S_IFLNK,
            Self::Fifo => libc::S_IFIFO,
            Self::Socket => libc::S_IFSOCK,
            Self::CharDevice => libc::S_IFCHR,
            Self::BlockDevice => libc::S_IFBLK,
        }
    }
}

/// When an inode was made: tells it from those that bore its number before, down to one tick of the file system's
/// clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Birth(NonZeroU64);

impl Birth {
    /// The one of an inode that is made at a time.
    pub fn at(time: SystemTime) -> Option<Self> {
        let time = time.duration_since(UNIX_EPOCH).ok()?;
        Self::from_bits(time.as_secs() << 30 | u64::from(time.subsec_nanos()))
    }

    /// As a number that [`Birth::from_bits`] reads.
    pub fn to_bits(self) -> u64 {
        self.0.get()
    }

    /// See [`Birth::to_bits`]; `None` for 0.
    pub fn from_bits(bits: u64) -> Option<Self> {
        NonZeroU64::new(bits).map(Self)
    }

    /// A number that differs, but for chance, between two files that had the same inode number.
    pub fn generation(self) -> u64 {
        // Neighbouring times differ in the low bits alone; some programs look at no more than half of a generation.
        let mixed = self.0.get().wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed ^ mixed >> 32
    }
}

/// The attributes of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// The inode number.
    pub ino: u64,
    /// The device number of its file system.
    pub dev: u64,
    /// The number of the mount it was reached through (`STATX_MNT_ID`, Linux 5.8).
    pub mount: u64,
    /// What it is.
    pub kind: FileKind,
    /// The permission bits, `0o7777`.
    pub mode: u32,
    /// Hard links.
    pub nlink: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Allocated 512-byte blocks.
    pub blocks: u64,
    /// The preferred block size.
    pub blksize: u32,
    /// The number of the device it is.
    pub rdev: u32,
    /// Last read.
    pub atime: SystemTime,
    /// Last written.
    pub mtime: SystemTime,
    /// Last changed.
    pub ctime: SystemTime,
    /// When it was made, where the file system tells (`STATX_BTIME`).
    pub birth: Option<Birth>,
}

/// The room on a file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StatFs {
    /// Blocks in all.
    pub blocks: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// Free blocks for others than root.
    pub blocks_available: u64,
    /// Inodes in all.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
    /// The preferred block size.
    pub block_size: u32,
    /// The unit of the block counts.
    pub fragment_size: u32,
    /// The longest name.
    pub name_length: u32,
}

/// The attributes of an open file; an O_PATH descriptor suffices.
///
/// # Errors
/// Those of `statx(2)`.
pub fn stat(fd: impl AsFd) -> io::Result<Stat> {
    from_statx(&sys::statx(fd.as_fd(), c"", libc::AT_EMPTY_PATH)?)
}

/// The attributes of what a name leads to.
///
/// # Errors
/// Those of `statx(2)`.
pub fn stat_at(directory: impl AsFd, name: &Name) -> io::Result<Stat> {
    from_statx(&sys::statx(
        directory.as_fd(),
        name.as_c_str(),
        libc::AT_NO_AUTOMOUNT,
    )?)
}

/// The room on the file system of an open file.
///
/// # Errors
/// Those of `fstatvfs(3)`.
pub fn statfs(fd: impl AsFd) -> io::Result<StatFs> {
    let stat = nix::sys::statvfs::fstatvfs(fd.as_fd())?;
    let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    Ok(StatFs {
        blocks: stat.blocks(),
        blocks_free: stat.blocks_free(),
        blocks_available: stat.blocks_available(),
        files: stat.files(),
        files_free: stat.files_free(),
        block_size: narrow(stat.block_size()),
        fragment_size: narrow(stat.fragment_size()),
        name_length: narrow(stat.name_max()),
    })
}

/// Tells whether the calling thread may search a directory: then it needs no more to ask for what is in it.
///
/// # Errors
/// Those of `faccessat(2)` but EACCES.
pub fn may_search(directory: impl AsFd) -> io::Result<bool> {
    use nix::unistd::{AccessFlags, faccessat};
    match faccessat(
        directory.as_fd(),
        c".",
        AccessFlags::X_OK,
        nix::fcntl::AtFlags::AT_EACCESS,
    ) {
        Ok(()) => Ok(true),
        Err(nix::errno::Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Tells whether a file lies on a FUSE file system.
///
/// # Errors
/// Those of `fstatfs(2)`.
pub fn is_fuse(fd: impl AsFd) -> io::Result<bool> {
    Ok(nix::sys::statfs::fstatfs(fd.as_fd())?.filesystem_type() == nix::sys::statfs::FUSE_SUPER_MAGIC)
}

/// Tells whether a directory has no entry.
///
/// # Errors
/// Those of `getdents(2)`.
pub fn is_empty(directory: impl AsFd) -> io::Result<bool> {
    Ok(DirStream::open(directory)?.next()?.is_none())
}

fn from_statx(stat: &libc::statx) -> io::Result<Stat> {
    let kind = FileKind::from_mode(u32::from(stat.stx_mode)).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Stat {
        ino: stat.stx_ino,
        dev: libc::makedev(stat.stx_dev_major, stat.stx_dev_minor),
        mount: stat.stx_mnt_id,
        kind,
        mode: u32::from(stat.stx_mode) & 0o7777,
        nlink: stat.stx_nlink,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        size: stat.stx_size,
        blocks: stat.stx_blocks,
        blksize: stat.stx_blksize,
        rdev: u32::try_from(libc::makedev(stat.stx_rdev_major, stat.stx_rdev_minor)).unwrap_or(0),
        atime: to_time(stat.stx_atime),
        mtime: to_time(stat.stx_mtime),
        ctime: to_time(stat.stx_ctime),
        birth: to_birth(stat),
    })
}

fn to_birth(stat: &libc::statx) -> Option<Birth> {
    let told = stat.stx_mask & libc::STATX_BTIME != 0;
    let time = stat.stx_btime;
    // Nanoseconds take 30 bits; the seconds that are cut off come back after centuries. Inodes from before the file
    // system kept the time have zero.
    let number = time.tv_sec.cast_unsigned() << 30 | u64::from(time.tv_nsec);
    NonZeroU64::new(number).filter(|_| told).map(Birth)
}

fn to_time(time: libc::statx_timestamp) -> SystemTime {
    let seconds = Duration::from_secs(time.tv_sec.unsigned_abs());
    let whole = if time.tv_sec < 0 {
        UNIX_EPOCH.checked_sub(seconds)
    } else {
        UNIX_EPOCH.checked_add(seconds)
    };
    whole.unwrap_or(UNIX_EPOCH) + Duration::from_nanos(u64::from(time.tv_nsec))
}
