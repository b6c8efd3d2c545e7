//! What has to be on the disk, and what is known of each name. A *place* is what the promise speaks of: it is at the
//! name that it was made at, or that a rename gave it, and holds what was there first or what replaced that.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// A process that asks through a mount, each told from all that ever were.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Asker {
    pub process: u32,
    pub mount: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    File,
    Directory,
    Symlink,
    Fifo,
}

/// A name, and its place.
#[derive(Clone, Debug)]
pub struct Entry {
    pub body: u32,
    /// Who made it to be removed again: so that nothing could have been there.
    pub transient: Option<Asker>,
    /// Who made a new regular file of it.
    pub new_by: Option<Asker>,
    /// Which user made what was there first.
    pub maker: u32,
    /// Who moved it away from which name.
    pub aside: Option<Aside>,
    /// Those who were told that it is removed, and under which name.
    pub gone: BTreeSet<(Asker, String)>,
    /// Whether nobody had a hand in it but who made it.
    pub certain: bool,
}

/// What stepped aside within its directory.
#[derive(Clone, Debug)]
pub struct Aside {
    pub by: Asker,
    /// The name that it left.
    pub left: String,
    /// Whether it has gone on from where it stepped.
    pub moved_on: bool,
    /// Whether nobody else had a hand in it since.
    pub certain: bool,
}

/// An inode.
#[derive(Clone, Debug)]
pub struct Body {
    pub kind: Kind,
    pub content: Vec<u8>,
    /// Its number, when the disk has told it.
    pub number: Option<u64>,
    /// By which user it was made, under which scratch name.
    pub scratch: Option<(u32, String)>,
}

#[derive(Clone, Debug, Default)]
pub struct Tree {
    pub entries: BTreeMap<String, Entry>,
    pub bodies: BTreeMap<u32, Body>,
    last: u32,
}

/// What is found on the disk at a path.
#[derive(Debug)]
pub struct Found {
    kind: Kind,
    number: u64,
    mode: u32,
    content: Vec<u8>,
}

pub type Disk = BTreeMap<String, Found>;

pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(above, _)| above)
}

pub fn name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

pub fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() {
        name.to_owned()
    } else {
        format!("{directory}/{name}")
    }
}

pub fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.starts_with('/'))
}

impl Tree {
    /// Takes what is on the disk for made by a user.
    pub fn plant(&mut self, disk: &Disk, maker: u32) {
        for (path, found) in disk {
            let body = self.body(found.kind, &found.content);
            self.place(path, body, maker);
        }
    }

    /// A new inode.
    pub fn body(&mut self, kind: Kind, content: &[u8]) -> u32 {
        self.last += 1;
        let body = Body {
            kind,
            content: content.into(),
            number: None,
            scratch: None,
        };
        self.bodies.insert(self.last, body);
        self.last
    }

    /// A new place that is protected.
    pub fn place(&mut self, path: &str, body: u32, maker: u32) -> &mut Entry {
        let entry = Entry {
            body,
            transient: None,
            new_by: None,
            maker,
            aside: None,
            gone: BTreeSet::new(),
            certain: true,
        };
        self.entries.insert(path.into(), entry);
        self.entries.get_mut(path).unwrap()
    }

    pub fn kind(&self, path: &str) -> Option<Kind> {
        let entry = self.entries.get(path)?;
        Some(self.bodies[&entry.body].kind)
    }

    /// Whether somebody was told that an entry or what it is in is removed.
    pub fn is_gone_for_some(&self, path: &str) -> bool {
        let gone = self.entries.get(path).is_some_and(|entry| !entry.gone.is_empty());
        gone || !parent(path).is_empty() && self.is_gone_for_some(parent(path))
    }

    /// Whether something can be made at a path.
    pub fn has_parent(&self, path: &str) -> bool {
        let above = parent(path);
        above.is_empty() || self.kind(above) == Some(Kind::Directory)
    }

    pub fn below(&self, directory: &str) -> impl Iterator<Item = (&String, &Entry)> {
        self.entries
            .iter()
            .filter(move |(path, _)| is_below(path, directory))
    }

    /// The names that an inode has.
    pub fn names_of(&self, body: u32) -> impl Iterator<Item = (&String, &Entry)> {
        self.entries.iter().filter(move |(_, entry)| entry.body == body)
    }

    /// The inode of a number.
    pub fn numbered(&self, number: u64) -> Option<u32> {
        let mut bodies = self.bodies.iter();
        let found = bodies.find(|(_, body)| body.number == Some(number))?;
        Some(*found.0)
    }

    /// All that is known, whichever way it came to be known.
    pub fn fingerprint(&self) -> String {
        let entries = self.entries.iter().map(|(path, entry)| {
            let body = 0;
            format!(
                "{path} {:?} {:?}",
                Entry {
                    body,
                    ..entry.clone()
                },
                self.bodies[&entry.body]
            )
        });
        entries.collect()
    }

    /// Forgets inodes without a name.
    pub fn prune(&mut self) {
        let named: BTreeSet<u32> = self.entries.values().map(|entry| entry.body).collect();
        self.bodies.retain(|body, _| named.contains(body));
    }

    /// Moves an entry and all below it; what has the new name is overwritten.
    pub fn shift(&mut self, from: &str, to: &str) {
        let below: Vec<String> = self.below(from).map(|(path, _)| path.clone()).collect();
        for path in below {
            let entry = self.entries.remove(&path).unwrap();
            self.entries.insert(format!("{to}{}", &path[from.len()..]), entry);
        }
        let entry = self.entries.remove(from).unwrap();
        self.entries.insert(to.into(), entry);
    }

    /// What the disk has otherwise; learns the numbers of new inodes.
    pub fn differs(&mut self, disk: &Disk) -> Option<String> {
        let paths: BTreeSet<&String> = self.entries.keys().chain(disk.keys()).collect();
        let mut numbers: BTreeMap<u64, u32> = BTreeMap::new();
        let mut learned = Vec::new();
        for path in paths {
            let (entry, found) = match (self.entries.get(path), disk.get(path)) {
                (Some(entry), Some(found)) => (entry, found),
                (Some(_), None) => return Some(format!("{path} is not there")),
                _ => return Some(format!("{path} is there")),
            };
            let body = &self.bodies[&entry.body];
            if body.kind != found.kind {
                return Some(format!("{path} is a {:?}, not a {:?}", found.kind, body.kind));
            }
            if body.number.is_some_and(|number| number != found.number)
                || *numbers.entry(found.number).or_insert(entry.body) != entry.body
            {
                return Some(format!("{path} is another inode"));
            }
            if body.content != found.content {
                let text = |content: &[u8]| String::from_utf8_lossy(content).into_owned();
                let (is, expected) = (text(&found.content), text(&body.content));
                return Some(format!("{path} holds {is:?} and not {expected:?}"));
            }
            let needed = if found.kind == Kind::Directory {
                0o700
            } else {
                0o600
            };
            if found.mode & needed != needed {
                return Some(format!("{path} has the mode {:o}", found.mode));
            }
            learned.push((entry.body, found.number));
        }
        for (body, number) in learned {
            let body = self.bodies.get_mut(&body).unwrap();
            body.number = Some(number);
        }
        None
    }
}

/// All that is below a directory.
pub fn look(top: &Path) -> Disk {
    let mut disk = Disk::new();
    let mut unread = vec![String::new()];
    while let Some(directory) = unread.pop() {
        for entry in std::fs::read_dir(top.join(&directory)).unwrap() {
            let path = join(&directory, entry.unwrap().file_name().to_str().unwrap());
            let absolute = top.join(&path);
            let stat = absolute.symlink_metadata().unwrap();
            let kind = match stat.file_type() {
                kind if kind.is_dir() => Kind::Directory,
                kind if kind.is_symlink() => Kind::Symlink,
                kind if kind.is_fifo() => Kind::Fifo,
                _ => Kind::File,
            };
            let content = match kind {
                Kind::File => std::fs::read(&absolute).unwrap(),
                Kind::Symlink => absolute
                    .read_link()
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes(),
                Kind::Directory | Kind::Fifo => Vec::new(),
            };
            if kind == Kind::Directory {
                unread.push(path.clone());
            }
            let found = Found {
                kind,
                number: stat.ino(),
                mode: stat.mode(),
                content,
            };
            disk.insert(path, found);
        }
    }
    disk
}
