//! One system call, and how a user makes it.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use nix::fcntl::{AT_FDCWD, AtFlags, RenameFlags, renameat2};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags};
use nix::unistd::AccessFlags;

use super::tree::Names;
use crate::common::word;

/// What is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Create {
        exclusive: bool,
    },
    /// Opens; whether it stays open is for the run to decide.
    Open {
        read: bool,
        write: bool,
        truncate: bool,
    },
    Read,
    Write {
        append: bool,
        data: Vec<u8>,
    },
    Truncate(u64),
    Mkdir,
    Rmdir,
    Unlink,
    Rename(RenameFlags),
    Link,
    Symlink(String),
    Mknod(SFlag),
    Chmod(u32),
    Chown(u32),
    Utimens,
    SetXattr(Vec<u8>),
    RemoveXattr,
    GetXattr,
    GetForeignXattr,
    ListXattr,
    Stat,
    Access(AccessFlags),
    Statfs,
    Readlink,
    List,
    HeldRead,
    HeldWrite(Vec<u8>),
    HeldTruncate(u64),
    HeldAllocate(u64),
    HeldStat,
    HeldCopy,
}

impl What {
    /// Whether it gives something a name, the last one of the call.
    pub fn names(&self) -> bool {
        matches!(
            self,
            Self::Create { .. }
                | Self::Mkdir
                | Self::Rename(_)
                | Self::Link
                | Self::Symlink(_)
                | Self::Mknod(_)
        )
    }
}

/// Where: below a directory that the user holds open, or below the folder.
#[derive(Clone, Debug)]
pub struct Spot {
    pub held: Option<usize>,
    pub names: Names,
}

/// A call: what, on which paths or on which files that he holds open.
#[derive(Clone, Debug)]
pub struct Call {
    pub what: What,
    pub spots: Vec<Spot>,
    pub files: Vec<usize>,
}

/// What a stat told, as far as the reference knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    pub mode: u32,
    pub links: u64,
    pub size: u64,
}

/// What came with success.
#[derive(Clone, Debug, Default)]
pub enum Reply {
    #[default]
    Nothing,
    Bytes(Vec<u8>),
    Names(Vec<Vec<u8>>),
    Told(Told),
    Opened(Arc<File>),
}

impl Reply {
    /// All bytes in it, to be searched for what should not be there.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Names(names) => names.join(&0),
            Self::Nothing | Self::Told(_) | Self::Opened(_) => Vec::new(),
        }
    }
}

type Outcome = std::io::Result<Reply>;

/// Makes a call as whoever this thread is; tells `ok` or the errno, and what was answered.
pub fn perform(what: &What, paths: &[PathBuf], files: &[Arc<File>]) -> (String, Reply) {
    let outcome = if files.is_empty() {
        by_path(what, paths)
    } else {
        by_file(what, files)
    };
    match outcome {
        Ok(reply) => ("ok".into(), reply),
        Err(error) => (word::<()>(Err(error)), Reply::Nothing),
    }
}

fn options() -> OpenOptions {
    let mut options = File::options();
    options
        .mode(0o644)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options
}

fn by_path(what: &What, paths: &[PathBuf]) -> Outcome {
    let at = &*paths[0];
    let nothing = |()| Reply::Nothing;
    match what {
        What::Create { exclusive: true } => options().write(true).create_new(true).open(at).map(opened),
        What::Create { exclusive: false } => {
            let mut options = options();
            options.write(true).create(true).truncate(false);
            options.open(at).map(opened)
        }
        What::Open {
            read,
            write,
            truncate,
        } => {
            let mut options = options();
            options.read(*read).write(*write);
            if *truncate {
                // The library refuses O_TRUNC without writing; the kernel does not.
                options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_TRUNC);
            }
            options.open(at).map(opened)
        }
        What::Read => {
            let file = options().read(true).open(at)?;
            read_all(&file)
        }
        What::Write { append, data } => {
            let file = options().write(true).append(*append).open(at)?;
            file.write_all_at(data, 0).map(nothing)
        }
        What::Truncate(size) => Ok(nothing(nix::unistd::truncate(at, i64::try_from(*size).unwrap())?)),
        What::Mkdir => std::fs::create_dir(at).map(nothing),
        What::Rmdir => std::fs::remove_dir(at).map(nothing),
        What::Unlink => std::fs::remove_file(at).map(nothing),
        What::Rename(flags) => {
            // While it holds the lock for a rename, the kernel cannot take in that another mount has moved a
            // directory (ESTALE); at a stat it does.
            for path in paths {
                let _ = path.symlink_metadata();
            }
            Ok(nothing(renameat2(AT_FDCWD, at, AT_FDCWD, &paths[1], *flags)?))
        }
        What::Link => std::fs::hard_link(at, &paths[1]).map(nothing),
        What::Symlink(content) => std::os::unix::fs::symlink(content, at).map(nothing),
        What::Mknod(kind) => {
            let mode = Mode::from_bits_truncate(0o644);
            Ok(nothing(nix::sys::stat::mknod(at, *kind, mode, 0)?))
        }
        What::Chmod(mode) => std::fs::set_permissions(at, PermissionsExt::from_mode(*mode)).map(nothing),
        What::Chown(uid) => std::os::unix::fs::lchown(at, Some(*uid), None).map(nothing),
        What::Utimens => {
            let time = nix::sys::time::TimeSpec::new(1_000_000_000, 0);
            let flags = UtimensatFlags::NoFollowSymlink;
            Ok(nothing(nix::sys::stat::utimensat(
                AT_FDCWD, at, &time, &time, flags,
            )?))
        }
        What::SetXattr(value) => xattr::set(at, "user.note", value).map(nothing),
        What::RemoveXattr => xattr::remove(at, "user.note").map(nothing),
        What::GetXattr => found(xattr::get(at, "user.note")?),
        What::GetForeignXattr => found(xattr::get(at, "security.note")?),
        What::ListXattr => {
            let names = xattr::list(at)?.map(std::ffi::OsString::into_encoded_bytes);
            Ok(Reply::Names(names.collect()))
        }
        What::Stat => {
            let stat = at.symlink_metadata()?;
            Ok(Reply::Told(Told {
                mode: stat.mode(),
                links: stat.nlink(),
                size: stat.size(),
            }))
        }
        What::Access(mask) => {
            let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
            Ok(nothing(nix::unistd::faccessat(AT_FDCWD, at, *mask, flags)?))
        }
        What::Statfs => Ok(nothing(nix::sys::statvfs::statvfs(at).map(drop)?)),
        What::Readlink => {
            let content = std::fs::read_link(at)?;
            Ok(Reply::Bytes(content.into_os_string().into_encoded_bytes()))
        }
        What::List => {
            let mut names = Vec::new();
            for entry in std::fs::read_dir(at)? {
                names.push(entry?.file_name().into_encoded_bytes());
            }
            names.sort();
            Ok(Reply::Names(names))
        }
        held => unreachable!("{held:?} needs an open file"),
    }
}

fn by_file(what: &What, files: &[Arc<File>]) -> Outcome {
    let file = &*files[0];
    match what {
        What::HeldRead => {
            let mut buffer = [0; 256];
            let read = file.read_at(&mut buffer, 0)?;
            Ok(Reply::Bytes(buffer[..read].to_vec()))
        }
        What::HeldWrite(data) => file.write_all_at(data, 0).map(|()| Reply::Nothing),
        What::HeldTruncate(size) => file.set_len(*size).map(|()| Reply::Nothing),
        What::HeldAllocate(size) => {
            let (mode, size) = (nix::fcntl::FallocateFlags::empty(), i64::try_from(*size).unwrap());
            nix::fcntl::fallocate(file, mode, 0, size)?;
            Ok(Reply::Nothing)
        }
        What::HeldStat => file.metadata().map(|_| Reply::Nothing),
        What::HeldCopy => {
            // The kernel looks at the sizes that it knows; a stat makes it ask.
            let _ = (files[0].metadata(), files[1].metadata());
            let (mut from, mut into) = (0, 0);
            let (source, target) = (files[0].as_fd(), files[1].as_fd());
            nix::fcntl::copy_file_range(source, Some(&mut from), target, Some(&mut into), 64)?;
            Ok(Reply::Nothing)
        }
        by_path => unreachable!("{by_path:?} needs a path"),
    }
}

fn opened(file: File) -> Reply {
    Reply::Opened(Arc::new(file))
}

fn read_all(file: &File) -> Outcome {
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut &*file, &mut content)?;
    Ok(Reply::Bytes(content))
}

fn found(value: Option<Vec<u8>>) -> Outcome {
    value
        .map(Reply::Bytes)
        .ok_or_else(|| std::io::Error::from_raw_os_error(libc::ENODATA))
}
