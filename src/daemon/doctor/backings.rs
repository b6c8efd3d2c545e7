//! The directories behind folders: whether they are there, what their file systems can do, and whether what lines were
//! made for is still there.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;

use super::{Looked, mountinfo};
use crate::backing;
use crate::control::answers::{Finding, Grade};
use crate::control::wire::quoted;
use crate::vfs::{Fate, Shared};

/// So many places of a folder are looked at; `check` looks at all.
const PLACES: usize = 2000;

/// Folders whose directory is not there.
pub(super) fn lost(folders: &[Looked]) -> Vec<Finding> {
    let lost = folders.iter().filter(|folder| folder.lost);
    lost.map(|folder| {
        Finding::new(
            Grade::Error,
            "backing",
            format!(
                "{}: its directory {} is not there",
                folder.name(),
                quoted(folder.path.as_os_str().as_bytes())
            ),
            "bring the directory back, or delete the folder with --force",
        )
    })
    .collect()
}

/// Each file system that folders lie on, once.
pub(super) fn file_systems(shared: &Shared, folders: &[Looked]) -> Vec<Finding> {
    let table = mountinfo::read();
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for folder in folders.iter().filter(|folder| !folder.lost) {
        let at = quoted(folder.path.as_os_str().as_bytes());
        let Ok(root) = backing::open_root(&folder.path) else {
            continue;
        };
        let Ok(stat) = backing::stat(&root) else { continue };
        if !seen.insert(stat.dev) {
            continue;
        }
        let line = table.iter().find(|line| line.id == stat.mount);
        let kind = line.map_or("unknown", |line| &line.kind);
        let handles = backing::handle(&root).is_ok_and(|handle| handle.is_some());
        findings.push(Finding::that(
            handles,
            Grade::Warning,
            "handles",
            format!(
                "the file system of {at} ({kind}) {} file handles",
                if handles { "has" } else { "has no" }
            ),
            "keep folders on ext4, xfs, btrfs or tmpfs: without handles lines do not follow what is renamed",
        ));
        let birth = stat.birth.is_some();
        findings.push(Finding::that(
            birth,
            Grade::Note,
            "birth",
            format!(
                "the file system of {at} {} when files were made",
                if birth { "tells" } else { "does not tell" }
            ),
            "each look at a file costs a system call more: ext4 with inodes of 256 bytes, xfs, btrfs and tmpfs tell it",
        ));
    }
    findings.extend(watched(shared, folders));
    findings
}

/// Whether changes behind the daemon's back are noticed.
fn watched(shared: &Shared, folders: &[Looked]) -> Vec<Finding> {
    let reports = shared.watch_reports();
    let findings = reports.iter().filter_map(|report| {
        let folder = folders.iter().find(|folder| folder.row.id == report.folder)?;
        let at = quoted(folder.path.as_os_str().as_bytes());
        Some(match &report.refused {
            None => Finding::ok(
                "watch",
                format!("what others change on the file system of {at} is noticed at once"),
            ),
            Some(why) => Finding::new(
                Grade::Warning,
                "watch",
                format!("what others change on the file system of {at} is noticed a second later: {why}"),
                "for speed, keep folders on ext4, xfs, btrfs (not in a subvolume) or tmpfs, and the daemon with \
                 CAP_SYS_ADMIN in the first user namespace of the machine",
            ),
        })
    });
    findings.collect()
}

/// Lines whose target is not where it was.
pub(super) fn lines(shared: &Shared, folders: &[Looked]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for folder in folders.iter().filter(|folder| !folder.lost) {
        for stray in shared.strays(folder.row.id, PLACES) {
            findings.push(of_stray(&folder.name(), &stray.path.to_bytes(), &stray.fate));
        }
    }
    findings
}

/// What to say of a place whose target is not where it was.
pub(in crate::daemon) fn of_stray(folder: &str, path: &[u8], fate: &Fate) -> Finding {
    let at = format!("{folder}/{}", quoted(path));
    let warning = |what: String, advice: &str| Finding::new(Grade::Warning, "rules", what, advice);
    match fate {
        Fate::Moved(now) => Finding::new(
            Grade::Note,
            "rules",
            format!(
                "{at}: what its lines were made for is at {} now",
                quoted(&now.to_bytes())
            ),
            "they follow it when it is next seen",
        ),
        Fate::Gone => warning(
            format!("{at}: what its lines were made for is gone"),
            "write the line again to make it hold for what is there now, or take it away",
        ),
        Fate::Replaced => warning(
            format!("{at}: something else bears the name of what its lines were made for"),
            "the lines lower what is there and raise nothing: write them again, or take them away",
        ),
        Fate::Unknown(why) => Finding::new(
            Grade::Error,
            "rules",
            format!("{at}: it cannot be found out what became of it: {why}"),
            "look at the disk: the kernel's log (dmesg) says more",
        ),
    }
}
