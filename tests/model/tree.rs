//! The files as they have to be: a tree in memory that is compared with the disk after each call.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

pub type Id = usize;

/// A path in the folder, by components.
pub type Names = Vec<String>;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    Directory(BTreeMap<String, Id>),
    File(Vec<u8>),
    Symlink(String),
    Fifo,
    Socket,
}

#[derive(Clone, Debug)]
pub struct Inode {
    pub kind: Kind,
    pub mode: u32,
    pub uid: u32,
    /// The value of `user.note`.
    pub note: Option<Vec<u8>>,
}

pub struct Tree {
    inodes: Vec<Inode>,
}

pub const ROOT: Id = 0;

/// What is compared of an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Picture {
    kind: &'static str,
    content: Vec<u8>,
    mode: u32,
    uid: u32,
    links: u64,
    note: Option<Vec<u8>>,
}

impl Tree {
    pub fn new(uid: u32) -> Self {
        let kind = Kind::Directory(BTreeMap::new());
        let root = Inode {
            kind,
            mode: 0o755,
            uid,
            note: None,
        };
        Self { inodes: vec![root] }
    }

    pub fn get(&self, id: Id) -> &Inode {
        &self.inodes[id]
    }

    pub fn get_mut(&mut self, id: Id) -> &mut Inode {
        &mut self.inodes[id]
    }

    pub fn is_directory(&self, id: Id) -> bool {
        matches!(self.get(id).kind, Kind::Directory(_))
    }

    pub fn children(&self, id: Id) -> impl Iterator<Item = (&String, Id)> {
        let children = match &self.get(id).kind {
            Kind::Directory(children) => Some(children),
            _ => None,
        };
        children.into_iter().flatten().map(|(name, &id)| (name, id))
    }

    pub fn child(&self, id: Id, name: &str) -> Option<Id> {
        match &self.get(id).kind {
            Kind::Directory(children) => children.get(name).copied(),
            _ => None,
        }
    }

    pub fn find(&self, path: &[String]) -> Option<Id> {
        path.iter().try_fold(ROOT, |id, name| self.child(id, name))
    }

    /// Every path, the root's first.
    pub fn paths(&self) -> Vec<(Names, Id)> {
        let mut paths = vec![(Vec::new(), ROOT)];
        let mut next = 0;
        while let Some((path, id)) = paths.get(next).cloned() {
            for (name, child) in self.children(id) {
                paths.push(([&path[..], std::slice::from_ref(name)].concat(), child));
            }
            next += 1;
        }
        paths
    }

    /// The path of a directory, if it is still there.
    pub fn path_of(&self, id: Id) -> Option<Names> {
        self.paths()
            .into_iter()
            .find(|(_, at)| *at == id)
            .map(|(path, _)| path)
    }

    pub fn links(&self, id: Id) -> u64 {
        let paths = self.paths();
        let named = paths.iter().filter(|(_, at)| *at == id).count() as u64;
        if self.is_directory(id) {
            let below = self.children(id).filter(|(_, child)| self.is_directory(*child));
            2 + below.count() as u64
        } else {
            named
        }
    }

    pub fn make(&mut self, path: &[String], kind: Kind, mode: u32, uid: u32) -> Id {
        let id = self.inodes.len();
        let note = None;
        self.inodes.push(Inode {
            kind,
            mode,
            uid,
            note,
        });
        self.put(path, id);
        id
    }

    /// Gives an inode a name, in the place of what had it.
    pub fn put(&mut self, path: &[String], id: Id) {
        let (name, parent) = path.split_last().unwrap();
        let parent = self.find(parent).unwrap();
        if let Kind::Directory(children) = &mut self.inodes[parent].kind {
            children.insert(name.clone(), id);
        }
    }

    pub fn remove(&mut self, path: &[String]) {
        let (name, parent) = path.split_last().unwrap();
        let parent = self.find(parent).unwrap();
        if let Kind::Directory(children) = &mut self.inodes[parent].kind {
            children.remove(name);
        }
    }

    /// What the disk has to show.
    pub fn picture(&self) -> BTreeMap<String, Picture> {
        let all = self.paths().into_iter().map(|(path, id)| {
            let inode = self.get(id);
            let (kind, content) = match &inode.kind {
                Kind::Directory(_) => ("directory", Vec::new()),
                Kind::File(content) => ("file", content.clone()),
                Kind::Symlink(content) => ("symlink", content.clone().into_bytes()),
                Kind::Fifo => ("fifo", Vec::new()),
                Kind::Socket => ("socket", Vec::new()),
            };
            let picture = Picture {
                kind,
                content,
                mode: if kind == "symlink" { 0o777 } else { inode.mode },
                uid: inode.uid,
                links: self.links(id),
                note: inode.note.clone(),
            };
            (path.join("/"), picture)
        });
        all.collect()
    }
}

/// What the disk shows.
pub fn picture(root: &Path) -> BTreeMap<String, Picture> {
    let mut pictures = BTreeMap::new();
    picture_below(root, String::new(), &mut pictures);
    pictures
}

fn picture_below(at: &Path, name: String, pictures: &mut BTreeMap<String, Picture>) {
    let stat = at.symlink_metadata().unwrap();
    let kind = stat.file_type();
    let (kind, content) = if kind.is_dir() {
        ("directory", Vec::new())
    } else if kind.is_symlink() {
        let content = std::fs::read_link(at).unwrap();
        ("symlink", content.into_os_string().into_encoded_bytes())
    } else if kind.is_fifo() {
        ("fifo", Vec::new())
    } else if kind.is_socket() {
        ("socket", Vec::new())
    } else {
        ("file", std::fs::read(at).unwrap())
    };
    let noted = matches!(kind, "directory" | "file");
    let picture = Picture {
        kind,
        content,
        mode: stat.mode() & 0o7777,
        uid: stat.uid(),
        links: stat.nlink(),
        note: if noted {
            xattr::get(at, "user.note").unwrap()
        } else {
            None
        },
    };
    if kind == "directory" {
        for entry in std::fs::read_dir(at).unwrap() {
            let entry = entry.unwrap();
            let child = entry.file_name().into_string().unwrap();
            let below = if name.is_empty() {
                child
            } else {
                format!("{name}/{child}")
            };
            picture_below(&entry.path(), below, pictures);
        }
    }
    pictures.insert(name, picture);
}
