//! What a change of the rules does to files that are open: data bypasses the daemon, so the kernel gives up the whole
//! inode, for all who have it open in that mount, as soon as one of them may not have it open any more.

use std::sync::Arc;

use lendfs::policy::Right;

use super::expect::HeldFile;
use super::rules::Sight;

/// Cuts what a user holds open and may not have open any more.
pub fn cut<F>(sight: &Sight<'_>, held: &mut Vec<(HeldFile, Arc<F>)>) {
    // A file with several names is judged by the one that was looked up last.
    held.retain(|(file, _)| sight.tree.links(file.inode) == 1);
    let written: Vec<_> = held
        .iter()
        .filter(|(file, _)| file.write && !file.cut)
        .map(|(file, _)| file.inode)
        .collect();
    for (file, _) in held {
        let verdict = sight.at(&file.path);
        let covered =
            verdict.has(Right::Read) && (verdict.has(Right::Write) || !written.contains(&file.inode));
        file.cut |= !covered;
    }
}
