//! What each call has to answer: the table of section 2 of the design, read literally, and what the kernel checks
//! before it asks.

use nix::errno::Errno;
use nix::fcntl::RenameFlags;
use nix::sys::stat::SFlag;
use nix::unistd::AccessFlags;

use lendfs::policy::Right;

use super::call::{Call, Reply, Told, What};
use super::rules::{Sight, Verdict};
use super::tree::{Id, Kind, Names};

/// The answer, with what it tells if that is known; `None` where the reference cannot say.
pub type Expected = Option<Result<Reply, Errno>>;

type Answer<T = ()> = Result<T, Errno>;

/// A path that was walked to its last name.
struct Reached {
    parent: Names,
    path: Names,
    /// What the kernel found there: nothing, for all that it knows, if the name is not there or not seen.
    found: Option<Id>,
}

/// A file that a user holds open.
#[derive(Clone, Debug)]
pub struct HeldFile {
    pub inode: Id,
    pub path: Names,
    pub read: bool,
    pub write: bool,
    /// The right to it was taken back while it was open.
    pub cut: bool,
}

/// The answer to a call by path. `bases` are the paths of the directories that its spots start from.
pub fn by_path(sight: &Sight<'_>, call: &Call, bases: &[Names]) -> Expected {
    let mut reached: Vec<Reached> = Vec::new();
    let directories = call.spots.iter().zip(bases);
    let directories = directories.map(|(spot, base)| walk(sight, base, &spot.names));
    // A rename walks to both directories before it looks for a name in either.
    let directories: Vec<_> = match call.what {
        What::Rename(_) => match directories.collect::<Answer<Vec<_>>>() {
            Ok(directories) => directories.into_iter().map(Ok).collect(),
            Err(errno) => return Some(Err(errno)),
        },
        _ => directories.collect(),
    };
    for (parent, spot) in directories.into_iter().zip(&call.spots) {
        let name = spot.names.last()?;
        let found = parent.and_then(|parent| {
            let path = join(&parent, name);
            match look_up(sight, &parent, name) {
                Ok(id) => Ok((parent, path, Some(id))),
                Err(Errno::ENOENT) => Ok((parent, path, None)),
                Err(errno) => Err(errno),
            }
        });
        match found {
            Ok((parent, path, found)) => reached.push(Reached { parent, path, found }),
            Err(errno) => return Some(Err(errno)),
        }
        // The source of a rename or link has to be there before the target is looked at.
        if matches!(call.what, What::Rename(_) | What::Link) && reached[0].found.is_none() {
            return Some(Err(Errno::ENOENT));
        }
    }
    let at = &reached[0];
    match &call.what {
        What::Create { exclusive } => create(sight, at, *exclusive),
        What::Mkdir | What::Symlink(_) => Some(make(sight, at)),
        // A device of number 0 (a whiteout) the kernel lets everybody ask for.
        What::Mknod(SFlag::S_IFCHR) => Some(make(sight, at).and(Err(Errno::EPERM))),
        What::Mknod(_) => Some(make(sight, at)),
        What::Rename(flags) => rename(sight, at, &reached[1], *flags),
        What::Link => link(sight, at, &reached[1]),
        what => existing(sight, at, what),
    }
}

/// Walks to the directory of the last name.
fn walk(sight: &Sight<'_>, base: &Names, names: &Names) -> Answer<Names> {
    let mut at = base.clone();
    for name in &names[..names.len() - 1] {
        let id = look_up(sight, &at, name)?;
        let path = join(&at, name);
        match &sight.tree.get(id).kind {
            Kind::Directory(_) => at = path,
            Kind::Symlink(content) => {
                needs(sight.at(&path), Right::Read)?;
                // None of the tests' links leads anywhere.
                return Err(look_up(sight, &at, content).map_or_else(|errno| errno, |_| Errno::EIO));
            }
            _ => return Err(Errno::ENOTDIR),
        }
    }
    Ok(at)
}

/// Finds a name in a directory.
pub fn look_up(sight: &Sight<'_>, parent: &Names, name: &str) -> Answer<Id> {
    let (path, above) = (join(parent, name), sight.at(parent));
    let leads = sight.leads(&path);
    seen(above)?;
    if above.has(Right::See) && !above.has(Right::Read) && !leads {
        return Err(Errno::EACCES);
    }
    seen(sight.at(&path))?;
    if !above.has(Right::Read) && !leads {
        return Err(Errno::EACCES);
    }
    sight.tree.find(&path).ok_or(Errno::ENOENT)
}

/// Tells whether a user reaches a path.
pub fn reaches(sight: &Sight<'_>, path: &[String]) -> bool {
    if path.is_empty() {
        return sight.at(path).sees();
    }
    let path = path.to_vec();
    sight.at(&Vec::new()).sees()
        && walk(sight, &Vec::new(), &path)
            .is_ok_and(|parent| look_up(sight, &parent, path.last().unwrap()).is_ok())
}

fn make(sight: &Sight<'_>, at: &Reached) -> Answer<Reply> {
    if at.found.is_some() {
        return Err(Errno::EEXIST);
    }
    may_make(sight, at)?;
    Ok(Reply::Nothing)
}

fn may_make(sight: &Sight<'_>, at: &Reached) -> Answer {
    needs(sight.at(&at.parent), Right::Create)?;
    not_hidden(sight.at(&at.path))
}

fn create(sight: &Sight<'_>, at: &Reached, exclusive: bool) -> Expected {
    let Some(id) = at.found else {
        return Some(may_make(sight, at).map(|()| Reply::Nothing));
    };
    if exclusive {
        return Some(Err(Errno::EEXIST));
    }
    let verdict = sight.at(&at.path);
    Some(match &sight.tree.get(id).kind {
        Kind::Symlink(_) => Err(Errno::ELOOP),
        Kind::Directory(_) => Err(Errno::EISDIR),
        Kind::File(_) => needs(verdict, Right::Write).map(|()| Reply::Nothing),
        // The kernel opens these by itself.
        Kind::Fifo | Kind::Socket => return None,
    })
}

fn rename(sight: &Sight<'_>, from: &Reached, to: &Reached, flags: RenameFlags) -> Expected {
    let (exchange, id) = (flags.contains(RenameFlags::RENAME_EXCHANGE), from.found?);
    if flags.contains(RenameFlags::RENAME_NOREPLACE) && to.found.is_some() {
        return Some(Err(Errno::EEXIST));
    }
    if exchange && to.found.is_none() {
        return Some(Err(Errno::ENOENT));
    }
    if to.parent.starts_with(&from.path) {
        // The kernel may know a directory that was held open while it moved as another one.
        return to.found.is_none().then_some(Err(Errno::EINVAL));
    }
    if from.parent.starts_with(&to.path) {
        return Some(Err(if exchange { Errno::EINVAL } else { Errno::ENOTEMPTY }));
    }
    if to.path == from.path {
        return Some(Ok(Reply::Nothing));
    }
    let directory = |id| sight.tree.is_directory(id);
    // Lines of two directories at one path, of which one is gone: what holds there is not settled.
    let lines = |path: &Names| sight.rules.stand_below(path);
    let to_directory = exchange && to.found.is_some_and(directory);
    let both = directory(id) && to_directory;
    if !both && (directory(id) && lines(&to.path) || to_directory && lines(&from.path)) {
        return None;
    }
    if let Some(target) = to.found {
        if target == id {
            return None;
        }
        if !exchange && directory(id) != directory(target) {
            return Some(Err(if directory(id) {
                Errno::ENOTDIR
            } else {
                Errno::EISDIR
            }));
        }
    }
    Some(may_rename(sight, from, to, id).and_then(|()| match to.found {
        Some(target) if !exchange && sight.tree.children(target).next().is_some() => Err(Errno::ENOTEMPTY),
        _ => Ok(Reply::Nothing),
    }))
}

fn may_rename(sight: &Sight<'_>, from: &Reached, to: &Reached, id: Id) -> Answer {
    let (entry, target) = (sight.at(&from.path), sight.at(&to.path));
    needs(entry, Right::Write)?;
    needs(sight.at(&from.parent), Right::Create)?;
    needs(sight.at(&to.parent), Right::Create)?;
    not_hidden(target)?;
    if to.found.is_some() {
        needs(target, Right::Write)?;
    }
    // Under edit a file goes to a free name of its directory, where no line has to do with either.
    let lines = sight.rules.stand_at(&from.path) || sight.rules.stand_at(&to.path);
    let free = to.found.is_none() && to.parent == from.parent && !sight.tree.is_directory(id) && !lines;
    if !entry.has(Right::Delete) && !free || to.found.is_some() && !target.has(Right::Delete) {
        return Err(Errno::EPERM);
    }
    may_empty(sight, &from.path, id)?;
    to.found.map_or(Ok(()), |id| may_empty(sight, &to.path, id))
}

/// Delete on everything below a directory that any line of the subject reaches.
fn may_empty(sight: &Sight<'_>, path: &Names, id: Id) -> Answer {
    if sight.tree.is_directory(id) && !sight.all_below(path, Right::Delete) {
        Err(Errno::EACCES)
    } else {
        Ok(())
    }
}

fn link(sight: &Sight<'_>, from: &Reached, to: &Reached) -> Expected {
    if to.found.is_some() {
        return Some(Err(Errno::EEXIST));
    }
    match &sight.tree.get(from.found?).kind {
        Kind::Directory(_) => return Some(Err(Errno::EPERM)),
        Kind::File(_) => {}
        // The kernel lets only their owner link these (protected_hardlinks).
        Kind::Symlink(_) | Kind::Fifo | Kind::Socket => return None,
    }
    Some(may_link(sight, from, to).map(|()| Reply::Nothing))
}

fn may_link(sight: &Sight<'_>, from: &Reached, to: &Reached) -> Answer {
    needs(sight.at(&from.path), Right::Write)?;
    may_make(sight, to)?;
    if sight.rules.zone(&from.path) == sight.rules.zone(&to.path) {
        Ok(())
    } else {
        Err(Errno::EXDEV)
    }
}

fn existing(sight: &Sight<'_>, at: &Reached, what: &What) -> Expected {
    let Some(id) = at.found else {
        return Some(Err(Errno::ENOENT));
    };
    let inode = sight.tree.get(id);
    let verdict = sight.at(&at.path);
    let nothing = |answer: Answer| Some(answer.map(|()| Reply::Nothing));
    let write = || nothing(needs(verdict, Right::Write));
    match (what, &inode.kind) {
        (What::Open { .. } | What::Read | What::Write { .. }, Kind::Fifo | Kind::Socket) => None,
        (What::Open { .. } | What::Read | What::Write { .. }, Kind::Symlink(_)) => Some(Err(Errno::ELOOP)),
        (What::Open { write, truncate, .. }, Kind::Directory(_)) => {
            if *write || *truncate {
                return Some(Err(Errno::EISDIR));
            }
            nothing(list(verdict))
        }
        (
            What::Open {
                read,
                write,
                truncate,
            },
            Kind::File(_),
        ) => {
            let needed = |asked, right| if asked { needs(verdict, right) } else { Ok(()) };
            nothing(needed(*read, Right::Read).and_then(|()| needed(*write || *truncate, Right::Write)))
        }
        (What::Read, Kind::Directory(_)) => Some(Err(list(verdict).err().unwrap_or(Errno::EISDIR))),
        (What::Read, Kind::File(content)) => {
            Some(needs(verdict, Right::Read).map(|()| Reply::Bytes(content.clone())))
        }
        (What::Write { .. } | What::Truncate(_), Kind::Directory(_)) => Some(Err(Errno::EISDIR)),
        (What::Truncate(_), Kind::Fifo | Kind::Socket) => Some(Err(Errno::EINVAL)),
        // These follow links.
        (What::Truncate(_) | What::Chmod(_) | What::Access(_) | What::Statfs, Kind::Symlink(_)) => None,
        (What::Write { .. } | What::Truncate(_) | What::Chmod(_) | What::Utimens, _) => write(),
        (What::Rmdir, Kind::Directory(_)) => nothing(remove(sight, at, id).and_then(|()| {
            let empty = sight.tree.children(id).next().is_none();
            if empty { Ok(()) } else { Err(Errno::ENOTEMPTY) }
        })),
        (What::Rmdir, _) => Some(Err(Errno::ENOTDIR)),
        (What::Unlink, Kind::Directory(_)) => Some(Err(Errno::EISDIR)),
        (What::Unlink, _) => nothing(remove(sight, at, id)),
        (What::Chown(uid), _) if *uid == inode.uid => write(),
        (What::Chown(_), _) => Some(Err(needs(verdict, Right::Write).err().unwrap_or(Errno::EPERM))),
        (What::SetXattr(_), Kind::Directory(_) | Kind::File(_)) => write(),
        (What::RemoveXattr, Kind::Directory(_) | Kind::File(_)) => nothing(
            needs(verdict, Right::Write).and_then(|()| inode.note.as_ref().map(drop).ok_or(Errno::ENODATA)),
        ),
        (What::GetXattr, Kind::Directory(_) | Kind::File(_)) => {
            let note = inode.note.clone().map(Reply::Bytes).ok_or(Errno::ENODATA);
            Some(needs(verdict, Right::Read).and(note))
        }
        (What::GetForeignXattr, _) => Some(Err(Errno::EOPNOTSUPP)),
        (What::ListXattr, Kind::Directory(_) | Kind::File(_)) => {
            let names = inode.note.iter().map(|_| b"user.note".to_vec()).collect();
            Some(needs(verdict, Right::Read).map(|()| Reply::Names(names)))
        }
        (What::SetXattr(_) | What::RemoveXattr | What::GetXattr | What::ListXattr, _) => None,
        (What::Stat, _) => Some(Ok(Reply::Told(told(sight, &at.path, id)))),
        (What::Access(mask), _) => nothing(access(verdict, &inode.kind, inode.mode, *mask)),
        (What::Statfs, _) => Some(Ok(Reply::Nothing)),
        (What::Readlink, Kind::Symlink(content)) => {
            Some(needs(verdict, Right::Read).map(|()| Reply::Bytes(content.clone().into_bytes())))
        }
        (What::Readlink, _) => Some(Err(Errno::EINVAL)),
        (What::List, Kind::Directory(_)) => {
            Some(list(verdict).map(|()| Reply::Names(shown(sight, &at.path, id))))
        }
        (What::List, Kind::Symlink(_)) => None,
        (What::List, _) => Some(Err(Errno::ENOTDIR)),
        _ => None,
    }
}

fn remove(sight: &Sight<'_>, at: &Reached, id: Id) -> Answer {
    let entry = sight.at(&at.path);
    needs(entry, Right::Write)?;
    needs(sight.at(&at.parent), Right::Create)?;
    if !entry.has(Right::Delete) {
        return Err(Errno::EPERM);
    }
    may_empty(sight, &at.path, id)
}

fn access(verdict: Verdict, kind: &Kind, mode: u32, mask: AccessFlags) -> Answer {
    let directory = matches!(kind, Kind::Directory(_));
    let entered = directory && verdict.corridor;
    if mask.intersects(AccessFlags::R_OK | AccessFlags::X_OK) && !entered {
        needs(verdict, Right::Read)?;
    }
    if mask.contains(AccessFlags::W_OK) {
        needs(verdict, if directory { Right::Create } else { Right::Write })?;
    }
    if mask.contains(AccessFlags::X_OK) && !directory && mode & 0o111 == 0 {
        return Err(Errno::EACCES);
    }
    Ok(())
}

/// What a stat shows.
fn told(sight: &Sight<'_>, path: &Names, id: Id) -> Told {
    let (verdict, inode) = (sight.at(path), sight.tree.get(id));
    let directory = matches!(inode.kind, Kind::Directory(_));
    if directory && !verdict.has(Right::Read) {
        let mode = if verdict.corridor { 0o040_555 } else { 0o040_000 };
        return Told {
            mode,
            links: 1,
            size: 0,
        };
    }
    let (bits, size) = match &inode.kind {
        Kind::Directory(_) => (0o040_000, 4096),
        Kind::File(content) => (0o100_000, content.len() as u64),
        Kind::Symlink(content) => (0o120_000, content.len() as u64),
        Kind::Fifo => (0o010_000, 0),
        Kind::Socket => (0o140_000, 0),
    };
    let mut mode = inode.mode;
    if !verdict.has(Right::Read) {
        mode &= !0o555;
    }
    if !verdict.has(if directory { Right::Create } else { Right::Write }) {
        mode &= !0o222;
    }
    if let Kind::Symlink(_) = inode.kind {
        mode = 0o777;
    }
    let counted = if directory { path.clone() } else { Vec::new() };
    let links = sight.tree.links(id);
    Told {
        mode: bits | mode,
        links: if sight.all_below(&counted, Right::See) {
            links
        } else {
            1
        },
        size,
    }
}

/// The names that a listing shows.
pub fn shown(sight: &Sight<'_>, path: &Names, id: Id) -> Vec<Vec<u8>> {
    let all = sight.at(path).has(Right::Read);
    let shown = |name: &&String| {
        let path = join(path, name);
        sight.at(&path).sees() && (all || sight.leads(&path))
    };
    let names = sight.tree.children(id).map(|(name, _)| name).filter(shown);
    names.map(|name| name.clone().into_bytes()).collect()
}

/// The answer to a call on files that are held open, each still under its name.
pub fn by_file(sight: &Sight<'_>, what: &What, files: &[&HeldFile]) -> Expected {
    let verdict = |file: &HeldFile| sight.at(&file.path);
    let empty = |file: &HeldFile| sight.tree.get(file.inode).kind == Kind::File(Vec::new());
    // What was opened before the right was taken away answers EIO, and does not come back.
    let has = |file: &HeldFile, right| match !file.cut && verdict(file).has(right) {
        true => Ok(Reply::Nothing),
        false => Err(Errno::EIO),
    };
    let file = files[0];
    // A file with several names is judged by the one that was looked up last.
    if files.iter().any(|file| sight.tree.links(file.inode) > 1) {
        return None;
    }
    match what {
        What::HeldRead if !file.read => Some(Err(Errno::EBADF)),
        // At the end of a file the kernel need not ask.
        What::HeldRead if empty(file) => None,
        What::HeldRead => Some(has(file, Right::Read)),
        What::HeldWrite(data) if data.is_empty() => None,
        What::HeldWrite(_) | What::HeldAllocate(_) if !file.write => Some(Err(Errno::EBADF)),
        What::HeldTruncate(_) if !file.write => Some(Err(Errno::EINVAL)),
        What::HeldWrite(_) | What::HeldAllocate(_) | What::HeldTruncate(_) => Some(has(file, Right::Write)),
        What::HeldStat if file.cut => Some(Err(Errno::EIO)),
        What::HeldStat => Some(seen(verdict(file)).map(|()| Reply::Nothing)),
        What::HeldCopy => {
            let into = files[1];
            if !file.read || !into.write {
                return Some(Err(Errno::EBADF));
            }
            if file.inode == into.inode || empty(file) {
                return None;
            }
            Some(has(file, Right::Read).and_then(|_| has(into, Right::Write)))
        }
        _ => None,
    }
}

fn list(verdict: Verdict) -> Answer {
    if verdict.corridor {
        Ok(())
    } else {
        needs(verdict, Right::Read)
    }
}

fn not_hidden(name: Verdict) -> Answer {
    if name.sees() { Ok(()) } else { Err(Errno::EACCES) }
}

fn seen(verdict: Verdict) -> Answer {
    if verdict.sees() {
        Ok(())
    } else {
        Err(Errno::ENOENT)
    }
}

fn needs(verdict: Verdict, right: Right) -> Answer {
    seen(verdict)?;
    if verdict.has(right) {
        Ok(())
    } else {
        Err(Errno::EACCES)
    }
}

fn join(path: &Names, name: &str) -> Names {
    [&path[..], &[name.to_owned()]].concat()
}
