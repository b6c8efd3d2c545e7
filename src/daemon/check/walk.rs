//! Walks through a tree of any size in bounded memory: of a directory so many sub-directories are remembered at a time,
//! and it is read on from there when these have been walked through.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::backing::{self, DirStream, FileKind, Name, Stat};
use crate::policy::PlacePath;

/// So many sub-directories of one directory are remembered.
const REMEMBERED: usize = 1024;
/// So many directories on the way are held open; those above are found again by their paths.
const HELD: usize = 64;

/// An entry of the tree.
pub(super) struct Entry<'a> {
    /// The directory it is in.
    pub directory: &'a OwnedFd,
    /// Where that is.
    pub above: &'a PlacePath,
    /// Its name.
    pub name: &'a Name,
    /// Its attributes.
    pub stat: &'a Stat,
}

impl Entry<'_> {
    /// Its path.
    pub(super) fn path(&self) -> PlacePath {
        self.above.join(self.name.as_bytes()).unwrap_or_default()
    }
}

/// What a walk comes across.
pub(super) enum Step<'a> {
    /// An entry.
    Entry(Entry<'a>),
    /// Something cannot be looked at.
    Failed(&'a PlacePath, io::Error),
}

struct Level {
    path: PlacePath,
    directory: Option<OwnedFd>,
    below: Vec<Name>,
    /// Where to read on; `None` if it was read to its end.
    next: Option<i64>,
}

/// Takes each entry below a root, a directory before what is in it; other file systems that are mounted there are left
/// out.
pub(super) fn walk(
    root: BorrowedFd<'_>, step: &mut dyn FnMut(Step<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mount = match backing::stat(root) {
        Ok(stat) => stat.mount,
        Err(error) => return step(Step::Failed(&PlacePath::root(), error)),
    };
    let mut levels = vec![Level::new(PlacePath::root())];
    while let Some(depth) = levels.len().checked_sub(1) {
        let level = &mut levels[depth];
        if level.directory.is_none() {
            match backing::open_beneath(root, level.path.components()) {
                Ok(directory) => level.directory = Some(directory),
                Err(error) => {
                    let path = level.path.clone();
                    levels.pop();
                    // What vanished meanwhile is no fault.
                    if error.kind() != io::ErrorKind::NotFound {
                        step(Step::Failed(&path, error))?;
                    }
                    continue;
                }
            }
        }
        if let Some(name) = level.below.pop() {
            let Ok(path) = level.path.join(name.as_bytes()) else {
                continue;
            };
            let opened = level.directory.as_ref().and_then(|directory| {
                let opened = backing::open_path(directory, &name).ok()?;
                let stat = backing::stat(&opened).ok()?;
                (stat.kind == FileKind::Directory && stat.mount == mount).then_some(opened)
            });
            if opened.is_some() {
                if depth >= HELD {
                    level.directory = None;
                }
                levels.push(Level {
                    directory: opened,
                    ..Level::new(path)
                });
            }
        } else if level.next.is_some() {
            level.read(step)?;
        } else {
            levels.pop();
        }
    }
    ControlFlow::Continue(())
}

impl Level {
    fn new(path: PlacePath) -> Self {
        Self {
            path,
            directory: None,
            below: Vec::new(),
            next: Some(0),
        }
    }

    /// Reads on until enough sub-directories are remembered.
    fn read(&mut self, step: &mut dyn FnMut(Step<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        let (Some(directory), Some(from)) = (&self.directory, self.next.take()) else {
            return ControlFlow::Continue(());
        };
        let mut stream = match DirStream::open_from(directory.as_fd(), from) {
            Ok(stream) => stream,
            Err(error) => return step(Step::Failed(&self.path, error)),
        };
        loop {
            let (name, next) = match stream.next() {
                Ok(Some(entry)) => (Name::new(entry.name), entry.next),
                Ok(None) => return ControlFlow::Continue(()),
                Err(error) => return step(Step::Failed(&self.path, error)),
            };
            let Ok(name) = name else { continue };
            match backing::stat_at(directory, &name) {
                Ok(stat) => {
                    step(Step::Entry(Entry {
                        directory,
                        above: &self.path,
                        name: &name,
                        stat: &stat,
                    }))?;
                    if stat.kind == FileKind::Directory {
                        self.below.push(name);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let path = self.path.join(name.as_bytes()).unwrap_or_default();
                    step(Step::Failed(&path, error))?;
                }
            }
            if self.below.len() >= REMEMBERED {
                self.next = Some(next);
                return ControlFlow::Continue(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all_below(path: &std::path::Path) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let root = backing::open_root(path).unwrap();
        let _ = walk(root.as_fd(), &mut |step| {
            match step {
                Step::Entry(entry) => found.push(entry.path().to_bytes()),
                Step::Failed(path, error) => panic!("{path:?}: {error}"),
            }
            ControlFlow::Continue(())
        });
        found
    }

    #[test]
    fn every_entry_is_told_once_in_wide_and_in_deep_trees() {
        let scratch = tempfile::tempdir().unwrap();
        let mut expected = BTreeSet::new();
        for number in 0..REMEMBERED * 2 + 10 {
            let name = format!("wide/{number}");
            std::fs::create_dir_all(scratch.path().join(&name)).unwrap();
            expected.insert(name.into_bytes());
        }
        expected.insert(b"wide".to_vec());
        let mut deep = String::from("deep");
        for _ in 0..HELD * 2 {
            expected.insert(deep.clone().into_bytes());
            for file in ["a", "b"] {
                expected.insert(format!("{deep}/{file}").into_bytes());
            }
            std::fs::create_dir_all(scratch.path().join(&deep)).unwrap();
            std::fs::write(scratch.path().join(&deep).join("a"), "").unwrap();
            std::fs::create_dir(scratch.path().join(&deep).join("b")).unwrap();
            deep += "/x";
        }
        let found = all_below(scratch.path());
        assert_eq!(found.len(), expected.len());
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    }

    #[test]
    fn a_walk_ends_when_it_is_told_to() {
        let scratch = tempfile::tempdir().unwrap();
        for number in 0..10 {
            std::fs::write(scratch.path().join(number.to_string()), "").unwrap();
        }
        let root = backing::open_root(scratch.path()).unwrap();
        let mut seen = 0;
        let ended = walk(root.as_fd(), &mut |_| {
            seen += 1;
            if seen == 3 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        assert_eq!((ended, seen), (ControlFlow::Break(()), 3));
    }
}
