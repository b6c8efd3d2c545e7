//! Which processes hold a mapping of a file, and how one of them is ended for sure.
//!
//! `/proc/PID/maps` names a mapped file by the device and the inode number that programs see (`proc_pid_maps(5)`),
//! also where FUSE passes its data through. Who is to be ended, the caller decides.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use nix::unistd::Pid;

use super::sys;

/// The number of a mounted file system, as `st_dev` tells it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Device {
    /// The upper half.
    pub major: u32,
    /// The lower half.
    pub minor: u32,
}

/// A file that is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// The file system it lies on.
    pub device: Device,
    /// Its inode number there, as `st_ino` tells it.
    pub inode: u64,
    /// Whether the process can change it by this mapping, by itself or after an `mprotect(2)`.
    pub writes: bool,
}

/// A process with the mappings that were asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// Its number.
    pub pid: Pid,
    /// What is mapped.
    pub mappings: Vec<Mapping>,
}

/// What a look at all processes found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Holders {
    /// The processes that hold something, this one left out.
    pub found: Vec<Holder>,
    /// Those that could not be looked into.
    pub closed: Vec<Pid>,
}

/// Whose a process is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProcessOwner {
    /// The name of what it runs, as it calls itself.
    pub name: String,
    /// Its real, effective and saved uid.
    pub uids: [u32; 3],
}

/// A process that is held, so that its number cannot come to mean another one.
#[derive(Debug)]
pub struct Process {
    fd: OwnedFd,
}

/// Looks through all processes for mappings of files that are `wanted`, by file system and inode number.
///
/// # Errors
/// If `/proc` cannot be listed.
pub fn holders(wanted: impl Fn(Device, u64) -> bool) -> io::Result<Holders> {
    let mut holders = Holders::default();
    let mut buffer = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let pid = Pid::from_raw(pid);
        if pid == Pid::this() {
            continue;
        }
        match mappings_into(pid, &wanted, &mut buffer) {
            Ok(mappings) if mappings.is_empty() => {}
            Ok(mappings) => holders.found.push(Holder { pid, mappings }),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => holders.closed.push(pid),
            // It has ended.
            Err(_) => {}
        }
    }
    Ok(holders)
}

/// The mappings of one process of files that are `wanted`.
///
/// # Errors
/// Those of reading `/proc/PID/maps`: ENOENT and ESRCH if it has ended.
pub fn mappings(pid: Pid, wanted: impl Fn(Device, u64) -> bool) -> io::Result<Vec<Mapping>> {
    mappings_into(pid, &wanted, &mut Vec::new())
}

fn mappings_into(
    pid: Pid, wanted: &impl Fn(Device, u64) -> bool, buffer: &mut Vec<u8>,
) -> io::Result<Vec<Mapping>> {
    buffer.clear();
    File::open(format!("/proc/{pid}/maps"))?.read_to_end(buffer)?;
    let mut found: Vec<Mapping> = Vec::new();
    for line in buffer.split(|&byte| byte == b'\n') {
        let Some(line) = Line::parse(line).filter(|line| wanted(line.device, line.inode)) else {
            continue;
        };
        let writes = line.shared && (line.writable || was_opened_for_writing(pid, line.range));
        match found
            .iter_mut()
            .find(|mapping| mapping.device == line.device && mapping.inode == line.inode)
        {
            Some(known) => known.writes |= writes,
            None => found.push(Mapping {
                device: line.device,
                inode: line.inode,
                writes,
            }),
        }
    }
    Ok(found)
}

/// Tells whether what is mapped at a range was opened for writing: a shared mapping of it can be made writable. The
/// permissions of `/proc/PID/map_files/RANGE` are those of the open file (`proc_pid_map_files(5)`); where they cannot
/// be seen, the worse is assumed.
fn was_opened_for_writing(pid: Pid, range: &[u8]) -> bool {
    let directory = format!("/proc/{pid}/map_files");
    let link = Path::new(&directory).join(std::ffi::OsStr::from_bytes(range));
    link.symlink_metadata()
        .map_or(true, |link| link.permissions().mode() & 0o200 != 0)
}

/// A line of `/proc/PID/maps`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Line<'a> {
    range: &'a [u8],
    writable: bool,
    shared: bool,
    device: Device,
    inode: u64,
}

impl<'a> Line<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.splitn(6, |&byte| byte == b' ');
        let (range, permissions) = (fields.next()?, fields.next()?);
        let [_, write, _, share] = permissions else {
            return None;
        };
        let _offset = fields.next()?;
        let device = text(fields.next()?)?;
        let (major, minor) = device.split_once(':')?;
        Some(Self {
            range,
            writable: *write == b'w',
            shared: *share == b's',
            device: Device {
                major: u32::from_str_radix(major, 16).ok()?,
                minor: u32::from_str_radix(minor, 16).ok()?,
            },
            inode: text(fields.next()?)?.parse().ok()?,
        })
    }
}

fn text(field: &[u8]) -> Option<&str> {
    std::str::from_utf8(field).ok()
}

/// Whose a process is; `None` if it has ended.
pub fn owner_of(pid: Pid) -> Option<ProcessOwner> {
    let status = std::fs::read(format!("/proc/{pid}/status")).ok()?;
    parse_status(&String::from_utf8_lossy(&status))
}

fn parse_status(status: &str) -> Option<ProcessOwner> {
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"))
    };
    let mut uids = field("Uid")?.split('\t').map_while(|uid| uid.parse().ok());
    Some(ProcessOwner {
        name: field("Name")?.into(),
        uids: [uids.next()?, uids.next()?, uids.next()?],
    })
}

impl Process {
    /// Takes hold of the process that has this number now. What was known of that number before has to be looked at
    /// again: the process may be another.
    ///
    /// # Errors
    /// Those of `pidfd_open(2)`: ESRCH if there is none.
    pub fn open(pid: Pid) -> io::Result<Self> {
        Ok(Self {
            fd: sys::process::pidfd_open(pid)?,
        })
    }

    /// Sends it SIGKILL.
    ///
    /// # Errors
    /// Those of `pidfd_send_signal(2)`: ESRCH if it has ended.
    pub fn end(&self) -> io::Result<()> {
        sys::process::pidfd_send_signal(self.fd.as_fd(), libc::SIGKILL)
    }

    /// Waits for its end, so long at most; tells whether it has come. Its mappings are gone then.
    ///
    /// # Errors
    /// Those of `poll(2)`.
    pub fn ended(&self, patience: Duration) -> io::Result<bool> {
        sys::process::poll_readable(self.fd.as_fd(), patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps_are_read_with_whatever_name_follows() {
        let device = Device {
            major: 0,
            minor: 0x2f,
        };
        let line = Line {
            range: b"7f0000000000-7f0000001000",
            writable: true,
            shared: true,
            device,
            inode: 17_592_186_044_417,
        };
        let text = b"7f0000000000-7f0000001000 rw-s 00000000 00:2f 17592186044417                   /mnt/a b (deleted)";
        assert_eq!(Line::parse(text), Some(line));
        let text = b"7f0000000000-7f0000001000 r--p 00001000 00:2f 17592186044417 ";
        let other = Line {
            writable: false,
            shared: false,
            ..line
        };
        assert_eq!(Line::parse(text), Some(other));
        let wide = Line::parse(b"1-2 r-xp 0 103:10001 3 /x").unwrap();
        assert_eq!(
            wide.device,
            Device {
                major: 0x103,
                minor: 0x10001
            }
        );
        for text in [
            "",
            "1-2",
            "1-2 rw-s",
            "1-2 rw 0 00:2f 1 /x",
            "1-2 rw-s 0 002f 1",
            "1-2 rw-s 0 00:2f x",
        ] {
            assert_eq!(Line::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn whose_a_process_is_stands_in_its_status() {
        let status = "Name:\tmy prog\\n\nUmask:\t0022\nUid:\t1000\t1001\t1002\t1003\nGid:\t5\t5\t5\t5\n";
        let owner = ProcessOwner {
            name: "my prog\\n".into(),
            uids: [1000, 1001, 1002],
        };
        assert_eq!(parse_status(status), Some(owner));
        assert_eq!(parse_status("Name:\tx\nUid:\t1\t2\n"), None);
        assert_eq!(
            owner_of(Pid::this()).unwrap().uids,
            [nix::unistd::getuid().as_raw(); 3]
        );
    }

    #[test]
    fn a_process_that_is_held_is_ended_and_no_other() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let process = Process::open(pid).unwrap();
        assert!(!process.ended(Duration::ZERO).unwrap());
        process.end().unwrap();
        assert!(process.ended(Duration::from_secs(10)).unwrap());
        child.wait().unwrap();
        let error = process.end().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
        assert_eq!(owner_of(pid), None);
    }
}
