//! Which processes have a file mapped or open, and how one of them is ended for sure.
//!
//! `/proc/PID/maps` names a mapped file by the device and the inode number that programs see (`proc_pid_maps(5)`),
//! also where FUSE passes its data through; `/proc/PID/fdinfo` tells the same of what is open. Who is to be ended, the
//! caller decides.

use std::collections::HashMap;
use std::ffi::CString;
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

/// A file that a process holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hold {
    /// The file system it lies on.
    pub device: Device,
    /// Its inode number there, as `st_ino` tells it.
    pub inode: u64,
    /// Whether the process can change it so: by a mapping also after an `mprotect(2)`.
    pub writes: bool,
    /// Whether it is mapped, and not only open.
    pub mapped: bool,
}

/// A process with those of its files that were asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// Its number.
    pub pid: Pid,
    /// What it holds.
    pub holds: Vec<Hold>,
}

/// What is looked for.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// On which file systems.
    pub devices: &'a [Device],
    /// Which files of theirs, by inode number.
    pub file: &'a dyn Fn(Device, u64) -> bool,
    /// Whether files that are open count, and not only those that are mapped.
    pub open: bool,
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

/// Looks through all processes for those that hold what is wanted.
///
/// # Errors
/// If `/proc` cannot be listed.
pub fn holders(wanted: Wanted<'_>) -> io::Result<Holders> {
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
        match holds_of(pid, wanted, &mut buffer) {
            Ok(holds) if holds.is_empty() => {}
            Ok(holds) => holders.found.push(Holder { pid, holds }),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => holders.closed.push(pid),
            // It has ended.
            Err(_) => {}
        }
    }
    Ok(holders)
}

/// What one process holds of what is wanted.
///
/// # Errors
/// Those of reading `/proc/PID`: ENOENT and ESRCH if it has ended.
pub fn holds(pid: Pid, wanted: Wanted<'_>) -> io::Result<Vec<Hold>> {
    holds_of(pid, wanted, &mut Vec::new())
}

fn holds_of(pid: Pid, wanted: Wanted<'_>, buffer: &mut Vec<u8>) -> io::Result<Vec<Hold>> {
    let mut holds = mapped(pid, wanted, buffer)?;
    if wanted.open {
        holds.extend(open(pid, wanted)?);
    }
    Ok(holds)
}

fn mapped(pid: Pid, wanted: Wanted<'_>, buffer: &mut Vec<u8>) -> io::Result<Vec<Hold>> {
    buffer.clear();
    File::open(format!("/proc/{pid}/maps"))?.read_to_end(buffer)?;
    let mut found: Vec<Hold> = Vec::new();
    for line in buffer.split(|&byte| byte == b'\n') {
        let Some(line) = Line::parse(line).filter(|line| wanted.is(line.device, line.inode)) else {
            continue;
        };
        let writes = line.shared && (line.writable || was_opened_for_writing(pid, line.range));
        match found
            .iter_mut()
            .find(|hold| hold.device == line.device && hold.inode == line.inode)
        {
            Some(known) => known.writes |= writes,
            None => found.push(Hold {
                device: line.device,
                inode: line.inode,
                writes,
                mapped: true,
            }),
        }
    }
    Ok(found)
}

fn open(pid: Pid, wanted: Wanted<'_>) -> io::Result<Vec<Hold>> {
    let mut found = Vec::new();
    let mut mounts: HashMap<String, Option<Device>> = HashMap::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        let fd = entry?.file_name();
        let behind = CString::new([format!("/proc/{pid}/fd/").as_bytes(), fd.as_bytes()].concat())?;
        let device = match sys::device_behind(&behind) {
            Ok((major, minor)) => Some(Device { major, minor }),
            // The kernel tells nothing more of an inode that it has given up.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => None,
            // It was closed meanwhile.
            Err(_) => continue,
        };
        if device.is_some_and(|device| !wanted.devices.contains(&device)) {
            continue;
        }
        let info = Path::new(&format!("/proc/{pid}/fdinfo")).join(&fd);
        let told = std::fs::read_to_string(info).ok();
        let Some(info) = told.as_deref().and_then(Info::parse) else {
            continue;
        };
        if info.flags & libc::O_PATH != 0 {
            continue;
        }
        let device = device.or_else(|| {
            let known = mounts.get(info.mount).copied();
            known.unwrap_or_else(|| {
                let device = device_of_mount(pid, info.mount);
                mounts.insert(info.mount.into(), device);
                device
            })
        });
        // Of a mount that was taken down lazily the kernel tells nothing either.
        let devices = device.as_ref().map_or(wanted.devices, std::slice::from_ref);
        let device = devices.iter().find(|device| wanted.is(**device, info.inode));
        found.extend(device.map(|&device| Hold {
            device,
            inode: info.inode,
            writes: info.flags & libc::O_ACCMODE != libc::O_RDONLY,
            mapped: false,
        }));
    }
    Ok(found)
}

/// The number of the file system of a mount that a process has.
fn device_of_mount(pid: Pid, mount: &str) -> Option<Device> {
    let mounts = std::fs::read(format!("/proc/{pid}/mountinfo")).ok()?;
    mounts.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.split(|&byte| byte == b' ').map(text);
        let (major, minor) = (fields.next()?? == mount)
            .then(|| fields.nth(1))???
            .split_once(':')?;
        Some(Device {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        })
    })
}

/// What `/proc/PID/fdinfo/FD` tells (`proc_pid_fdinfo(5)`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Info<'a> {
    flags: i32,
    mount: &'a str,
    inode: u64,
}

impl<'a> Info<'a> {
    fn parse(info: &'a str) -> Option<Self> {
        let field = |name: &str| {
            let value = info.lines().find_map(|line| line.strip_prefix(name))?;
            Some(value.trim())
        };
        Some(Self {
            flags: i32::from_str_radix(field("flags:")?, 8).ok()?,
            mount: field("mnt_id:")?,
            inode: field("ino:")?.parse().ok()?,
        })
    }
}

impl Wanted<'_> {
    fn is(&self, device: Device, inode: u64) -> bool {
        self.devices.contains(&device) && (self.file)(device, inode)
    }
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
    fn the_number_of_an_open_file_and_how_it_is_open_are_read() {
        let told = "pos:\t0\nflags:\t02100002\nmnt_id:\t54\nino:\t17592186044417\nlock:\t1: POSIX\n";
        let info = Info {
            flags: 0o2_100_002,
            mount: "54",
            inode: 17_592_186_044_417,
        };
        assert_eq!(Info::parse(told), Some(info));
        assert_eq!(Info::parse("pos:\t0\nflags:\t02\nmnt_id:\t54\n"), None);
    }

    #[test]
    fn the_file_system_of_a_mount_is_found_by_the_number_of_the_mount() {
        let root = crate::backing::open_root(Path::new("/proc")).unwrap();
        let (major, minor) = sys::device(root.as_fd()).unwrap();
        let mount = sys::mount_id(root.as_fd()).unwrap().to_string();
        assert_eq!(
            device_of_mount(Pid::this(), &mount),
            Some(Device { major, minor })
        );
        assert_eq!(device_of_mount(Pid::this(), "4711471"), None);
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
