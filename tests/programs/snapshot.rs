//! What a directory holds: every name below it, with mode and content.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// What stands at a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    Directory {
        mode: u32,
    },
    File {
        mode: u32,
        size: usize,
        hash: u64,
    },
    /// A file whose content is another in each run.
    Varying {
        mode: u32,
    },
    Link(String),
    Other,
}

pub type Snapshot = BTreeMap<String, Entry>;

/// Takes the snapshot of a directory. Where it lies makes no difference: the paths by which programs know it are taken
/// out of contents, and so is all that `varies`.
pub fn take(directory: &Path, paths: &[&Path], varies: &[&str]) -> Snapshot {
    let mut snapshot = Snapshot::new();
    walk(directory, "", paths, varies, &mut snapshot);
    snapshot
}

fn walk(directory: &Path, above: &str, paths: &[&Path], varies: &[&str], snapshot: &mut Snapshot) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let at = entry.unwrap().path();
        let name = format!("{above}{}", at.file_name().unwrap().to_string_lossy());
        let stat = at.symlink_metadata().unwrap();
        // Mounts show no other bits.
        let mode = stat.mode() & 0o777;
        let kind = stat.file_type();
        let found = if kind.is_dir() {
            walk(&at, &format!("{name}/"), paths, varies, snapshot);
            Entry::Directory { mode }
        } else if kind.is_symlink() {
            let target = std::fs::read_link(&at).unwrap();
            let target = without(target.as_os_str().as_encoded_bytes(), paths);
            Entry::Link(String::from_utf8_lossy(&target).into_owned())
        } else if kind.is_fifo() || kind.is_socket() {
            Entry::Other
        } else if varies.iter().any(|end| name.ends_with(end)) {
            Entry::Varying { mode }
        } else {
            let content = without(&std::fs::read(&at).unwrap(), paths);
            let mut hasher = DefaultHasher::new();
            content.hash(&mut hasher);
            Entry::File {
                mode,
                size: content.len(),
                hash: hasher.finish(),
            }
        };
        snapshot.insert(name, found);
    }
}

/// A content without the paths at which the run took place.
pub fn without(content: &[u8], paths: &[&Path]) -> Vec<u8> {
    let mut rest = content;
    let mut found = Vec::with_capacity(content.len());
    while let Some(&byte) = rest.first() {
        let path = || {
            paths
                .iter()
                .find_map(|path| rest.strip_prefix(path.as_os_str().as_encoded_bytes()))
        };
        if let Some(after) = (byte == b'/').then(path).flatten() {
            found.push(b'@');
            rest = after;
        } else {
            found.push(byte);
            rest = &rest[1..];
        }
    }
    found
}
