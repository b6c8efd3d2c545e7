//! What is mounted where (`proc_pid_mountinfo(5)`).

use std::path::{Path, PathBuf};

use crate::backing::unescape_mountinfo as unescape;

/// A line of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct MountLine {
    /// The number of the mount.
    pub id: u64,
    /// The number of its file system, as it stands there.
    pub device: String,
    /// What of the file system is mounted.
    pub root: PathBuf,
    /// Where.
    pub at: PathBuf,
    /// The type of the file system.
    pub kind: String,
}

/// Reads the table of where users are.
pub(super) fn read() -> Vec<MountLine> {
    let table = std::fs::read(crate::backing::mountinfo()).unwrap_or_default();
    table.split(|&byte| byte == b'\n').filter_map(parse).collect()
}

fn parse(line: &[u8]) -> Option<MountLine> {
    let fields: Vec<_> = line.split(|&byte| byte == b' ').collect();
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let dash = fields.iter().position(|field| *field == b"-")?;
    Some(MountLine {
        id: text(fields.first()?).parse().ok()?,
        device: text(fields.get(2)?),
        root: unescape(fields.get(3)?),
        at: unescape(fields.get(4)?),
        kind: text(fields.get(dash + 1)?),
    })
}

/// Where else a directory can be found, that lies at `path` on the mount of this number: in other mounts of its file
/// system, or of a part of that; and where what is in it can be.
pub(super) fn elsewhere(table: &[MountLine], mount: u64, path: &Path) -> Vec<PathBuf> {
    let Some(own) = table.iter().find(|line| line.id == mount) else {
        return Vec::new();
    };
    let Ok(below) = path.strip_prefix(&own.at) else {
        return Vec::new();
    };
    // Its path in the file system.
    let inner = join(&own.root, below);
    table
        .iter()
        .filter(|line| line.device == own.device && line.id != own.id)
        .filter_map(|line| match inner.strip_prefix(&line.root) {
            Ok(rest) => Some(join(&line.at, rest)),
            Err(_) => line.root.starts_with(&inner).then(|| line.at.clone()),
        })
        .filter(|other| other != path)
        .collect()
}

/// Without the slash at the end that joining nothing would leave.
fn join(above: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() {
        above.into()
    } else {
        above.join(below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
30 22 8:1 /var/state/folders/3 /mnt/bind\\040here rw - ext4 /dev/sda1 rw
31 22 8:1 /var/state/folders/3/sub /mnt/sub rw - ext4 /dev/sda1 rw
32 22 8:1 /home /mnt/home rw - ext4 /dev/sda1 rw
33 22 8:1 / /mnt/all rw - ext4 /dev/sda1 rw
34 22 8:2 / /var/other rw - xfs /dev/sda2 rw
garbage";

    fn table() -> Vec<MountLine> {
        TABLE.lines().filter_map(|line| parse(line.as_bytes())).collect()
    }

    #[test]
    fn a_directory_is_found_in_every_mount_that_shows_it() {
        let table = table();
        assert_eq!(table.len(), 6);
        let found = elsewhere(&table, 22, Path::new("/var/state/folders/3"));
        let expected = ["/mnt/bind here", "/mnt/sub", "/mnt/all/var/state/folders/3"];
        assert_eq!(found, expected.map(PathBuf::from));
        assert_eq!(
            elsewhere(&table, 34, Path::new("/var/other/x")),
            Vec::<PathBuf>::new()
        );
        assert_eq!(elsewhere(&table, 99, Path::new("/x")), Vec::<PathBuf>::new());
    }
}
