//! What a call that succeeded has changed.

use nix::fcntl::RenameFlags;
use nix::sys::stat::SFlag;

use lendfs::policy::Right;

use super::call::What;
use super::expect::HeldFile;
use super::rules::Rules;
use super::tree::{Id, Kind, Names, Tree};
use crate::common::User;

/// Applies a call by path. The paths are those in the folder.
pub fn by_path(tree: &mut Tree, rules: &mut Rules, user: User, what: &What, paths: &[Names]) {
    let at = &paths[0];
    match what {
        What::Create { .. } if tree.find(at).is_some() => {}
        What::Create { .. } | What::Mknod(SFlag::S_IFREG) => {
            made(tree, rules, at, Kind::File(Vec::new()), user.uid);
        }
        What::Mkdir => {
            let kind = Kind::Directory(std::collections::BTreeMap::new());
            tree.make(at, kind, 0o755, user.uid);
        }
        What::Symlink(content) => made(tree, rules, at, Kind::Symlink(content.clone()), user.uid),
        What::Mknod(kind) => {
            let kind = if *kind == SFlag::S_IFIFO {
                Kind::Fifo
            } else {
                Kind::Socket
            };
            made(tree, rules, at, kind, user.uid);
        }
        What::Open { truncate: true, .. } => set_size(tree, at, 0),
        What::Truncate(size) => set_size(tree, at, *size),
        What::Write { append, data } => {
            let id = tree.find(at).unwrap();
            write(tree, id, *append, data);
        }
        What::Rmdir | What::Unlink => {
            tree.remove(at);
            rules.removed(at, *what == What::Rmdir);
        }
        What::Rename(flags) => rename(
            tree,
            rules,
            at,
            &paths[1],
            flags.contains(RenameFlags::RENAME_EXCHANGE),
        ),
        What::Link => {
            let id = tree.find(at).unwrap();
            tree.put(&paths[1], id);
            rules.named(&paths[1], id);
        }
        What::Chmod(mode) => {
            let id = tree.find(at).unwrap();
            let may_delete = rules.sight(tree, user).at(at).has(Right::Delete);
            let kept = if tree.is_directory(id) { 0o700 } else { 0o600 };
            let inode = tree.get_mut(id);
            // Who may not delete cannot take the owner's access away either.
            let kept = if may_delete { 0 } else { inode.mode & kept };
            inode.mode = mode & 0o777 | kept;
        }
        What::SetXattr(value) => note(tree, at, Some(value.clone())),
        What::RemoveXattr => note(tree, at, None),
        _ => {}
    }
}

/// Applies a call on open files.
pub fn by_file(tree: &mut Tree, what: &What, files: &[&HeldFile]) {
    let id = files[0].inode;
    match what {
        What::HeldWrite(data) => write(tree, id, false, data),
        What::HeldTruncate(size) => resize(tree, id, *size),
        What::HeldAllocate(size) => {
            let now = content(tree, id).len() as u64;
            resize(tree, id, now.max(*size));
        }
        What::HeldCopy => {
            let mut data = content(tree, id).clone();
            data.truncate(64);
            write(tree, files[1].inode, false, &data);
        }
        _ => {}
    }
}

fn made(tree: &mut Tree, rules: &mut Rules, at: &Names, kind: Kind, uid: u32) {
    let id = tree.make(at, kind, 0o644, uid);
    rules.named(at, id);
}

fn rename(tree: &mut Tree, rules: &mut Rules, from: &Names, to: &Names, exchange: bool) {
    if from == to {
        return;
    }
    let (entry, target) = (tree.find(from).unwrap(), tree.find(to));
    let mut moves = Vec::new();
    if tree.is_directory(entry) {
        moves.push((from.clone(), to.clone()));
    }
    tree.remove(from);
    if let Some(target) = target.filter(|_| exchange) {
        if tree.is_directory(target) {
            moves.push((to.clone(), from.clone()));
        }
        tree.put(from, target);
    }
    tree.put(to, entry);
    rules.moved(&moves);
    let named = [
        Some((to, entry)),
        target.filter(|_| exchange).map(|id| (from, id)),
    ];
    for (path, id) in named.into_iter().flatten() {
        if !tree.is_directory(id) {
            rules.named(path, id);
        }
    }
}

fn set_size(tree: &mut Tree, at: &Names, size: u64) {
    let id = tree.find(at).unwrap();
    resize(tree, id, size);
}

fn note(tree: &mut Tree, at: &Names, value: Option<Vec<u8>>) {
    let id = tree.find(at).unwrap();
    tree.get_mut(id).note = value;
}

fn content(tree: &mut Tree, id: Id) -> &mut Vec<u8> {
    match &mut tree.get_mut(id).kind {
        Kind::File(content) => content,
        other => panic!("a file was expected: {other:?}"),
    }
}

fn resize(tree: &mut Tree, id: Id, size: u64) {
    content(tree, id).resize(usize::try_from(size).unwrap(), 0);
}

fn write(tree: &mut Tree, id: Id, append: bool, data: &[u8]) {
    let content = content(tree, id);
    let start = if append { content.len() } else { 0 };
    let end = (start + data.len()).max(content.len());
    content.resize(end, 0);
    content[start..start + data.len()].copy_from_slice(data);
}
