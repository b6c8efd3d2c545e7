//! What is done next: a call at random, or one after the other what a program does.

use super::call::{Call, Flag};
use super::random::Random;
use super::tree::{Kind, Tree, join, name, parent};

/// Few, so that programs meet.
const NAMES: [&str; 12] = [
    "doc",
    "doc~",
    "book",
    "book~",
    "new",
    "room",
    "hall",
    ".doc.swp",
    ".#book",
    "4913",
    "db-journal",
    "link",
];
const TARGETS: [&str; 3] = ["doc", "book", "nowhere"];
/// Directories are not made in directories that are so deep.
const DEEPEST: usize = 3;

pub struct Chooser<'a> {
    pub random: &'a mut Random,
    pub tree: &'a Tree,
    /// What somebody else is about to do something with.
    pub hot: Vec<String>,
}

impl Chooser<'_> {
    /// A call at random.
    pub fn call(&mut self) -> Option<Call> {
        use Kind::{Directory, File};
        let content = self.content();
        Some(match self.random.below(26) {
            0..3 => Call::Create {
                at: self.any()?,
                exclusively: self.random.once_in(2),
                content,
            },
            3 => Call::Write {
                at: self.there(&[File])?,
                content,
            },
            4 => Call::Truncate(self.there(&[File])?, self.random.below(60)),
            5 => Call::Mkdir(self.any()?),
            6 if self.random.once_in(3) => Call::Fifo(self.any()?),
            6 => Call::MakeFile(self.any()?),
            7 => Call::Symlink(self.any()?, TARGETS[self.random.below(TARGETS.len())]),
            8 | 9 => Call::Link(self.there(&[File])?, self.any()?),
            10..15 => Call::Unlink(self.there(&[])?),
            15 => Call::Rmdir(self.there(&[Directory])?),
            16..22 => {
                let flags = [
                    Flag::None,
                    Flag::None,
                    Flag::None,
                    Flag::NoReplace,
                    Flag::Exchange,
                ];
                Call::Rename(self.there(&[])?, self.any()?, *self.random.one_of(&flags))
            }
            22 => Call::Lock(self.there(&[File, Directory])?),
            23 => Call::Hold(self.there(&[File])?),
            _ => Call::Read(self.there(&[File])?),
        })
    }

    /// What a program does, or one that means harm.
    pub fn plan(&mut self) -> Option<Vec<Call>> {
        use Kind::File;
        let doc = self.there(&[File])?;
        let other = self.there(&[File])?;
        let directory = parent(&doc).to_owned();
        let beside = |name: &str| join(&directory, name);
        let elsewhere = join(&self.directory(), self.random.one_of::<&str>(&NAMES));
        let (aside, new, room) = (beside(&format!("{}~", name(&doc))), beside("new"), beside("room"));
        let mut make = |at: &str, exclusively: bool| Call::Create {
            at: at.into(),
            exclusively,
            content: self.random.secret(),
        };
        let rename = |from: &str, to: &str| Call::Rename(from.into(), to.into(), Flag::None);
        let unlink = |at: &str| Call::Unlink(at.into());
        let swap = beside(".doc.swp");
        let calls = vec![
            // vim
            vec![
                make(&swap, true),
                make(&beside("4913"), true),
                unlink(&beside("4913")),
                rename(&doc, &aside),
                make(&doc, false),
                unlink(&aside),
                unlink(&swap),
            ],
            vec![
                rename(&doc, &aside),
                make(&doc, true),
                unlink(&aside),
                unlink(&doc),
            ],
            // sed, rsync
            vec![make(&new, true), rename(&new, &doc), unlink(&doc)],
            vec![make(&elsewhere, true), rename(&elsewhere, &doc)],
            // vim, where the file is written whole first
            vec![
                make(&new, true),
                rename(&doc, &aside),
                rename(&new, &doc),
                unlink(&aside),
            ],
            // sqlite
            vec![
                make(&beside("db-journal"), false),
                Call::Write {
                    at: doc.clone(),
                    content: "transaction".into(),
                },
                unlink(&beside("db-journal")),
            ],
            // mkdtemp, git's directories
            vec![
                Call::Mkdir(room.clone()),
                make(&join(&room, "doc"), true),
                unlink(&join(&room, "doc")),
                Call::Rmdir(room.clone()),
            ],
            vec![
                Call::Mkdir(room.clone()),
                make(&join(&room, "doc"), true),
                rename(&room, &elsewhere),
                Call::Rmdir(elsewhere.clone()),
            ],
            // tar, git checkout
            vec![unlink(&doc), make(&doc, true)],
            vec![unlink(&doc), make(&new, true), rename(&new, &doc)],
            // git's objects, ln -sf
            vec![
                make(&new, true),
                Call::Link(new.clone(), elsewhere.clone()),
                unlink(&new),
            ],
            vec![
                Call::Symlink(new.clone(), "book"),
                rename(&new, &beside("link")),
                rename(&beside("link"), &doc),
            ],
            // Steps aside that do not come back, or with what belongs to others
            vec![rename(&doc, &aside), unlink(&aside), rename(&aside, &doc)],
            vec![rename(&doc, &aside), rename(&other, &doc), unlink(&aside)],
            vec![
                rename(&doc, &aside),
                Call::Link(other.clone(), doc.clone()),
                unlink(&aside),
            ],
            vec![
                rename(&doc, &aside),
                Call::Symlink(doc.clone(), "book"),
                unlink(&aside),
            ],
            vec![
                rename(&doc, &aside),
                rename(&aside, &new),
                make(&aside, true),
                unlink(&new),
                unlink(&aside),
            ],
            vec![
                rename(&doc, &aside),
                make(&doc, true),
                Call::Link(doc.clone(), new.clone()),
                unlink(&aside),
                unlink(&new),
                unlink(&aside),
            ],
            vec![
                Call::Link(doc.clone(), new.clone()),
                rename(&new, &other),
                unlink(&new),
            ],
            vec![rename(&doc, &swap), unlink(&swap)],
            vec![make(&swap, true), rename(&swap, &doc), unlink(&doc)],
            vec![
                make(&swap, false),
                rename(&swap, &new),
                rename(&new, &swap),
                unlink(&swap),
            ],
            vec![
                make(&swap, true),
                Call::Link(swap.clone(), new.clone()),
                unlink(&swap),
                rename(&new, &swap),
                unlink(&swap),
            ],
        ];
        let mut plan = self.random.one_of(&calls).clone();
        if self.random.once_in(3) {
            let dropped = self.random.below(plan.len());
            plan.remove(dropped);
        }
        Some(plan)
    }

    /// What an owner does so that neither all names are taken nor none.
    pub fn upkeep(&mut self, full: bool) -> Option<Call> {
        if full && self.random.below(4) > 0 {
            let at = self.there(&[])?;
            return Some(match self.tree.kind(&at) {
                Some(Kind::Directory) => Call::Rmdir(at),
                _ => Call::Unlink(at),
            });
        }
        let (content, exclusively) = (self.content(), true);
        Some(match self.random.below(6) {
            0..3 => Call::Create {
                at: self.free()?,
                exclusively,
                content,
            },
            3 => Call::Mkdir(self.free()?),
            _ => self.call().filter(|call| !matches!(call, Call::Lock(_)))?,
        })
    }

    pub fn content(&mut self) -> String {
        self.random.secret()
    }

    /// Something that is there, of one of these kinds if there are any.
    fn there(&mut self, kinds: &[Kind]) -> Option<String> {
        let suits = |path: &&String| {
            let kind = self.tree.kind(path);
            kind.is_some_and(|kind| kinds.is_empty() || kinds.contains(&kind))
        };
        let hot: Vec<_> = self.hot.iter().filter(suits).cloned().collect();
        if !hot.is_empty() && self.random.below(4) > 0 {
            return Some(self.random.one_of(&hot).clone());
        }
        let all: Vec<_> = self.tree.entries.keys().filter(suits).cloned().collect();
        (!all.is_empty()).then(|| self.random.one_of(&all).clone())
    }

    /// A name that nothing has, or any.
    fn any(&mut self) -> Option<String> {
        if !self.hot.is_empty() && self.random.below(4) > 0 {
            return Some(self.random.one_of(&self.hot).clone());
        }
        if self.random.once_in(3) {
            self.there(&[])
        } else {
            self.free()
        }
    }

    fn free(&mut self) -> Option<String> {
        let directory = self.directory();
        let names = NAMES.map(|name| join(&directory, name));
        let free: Vec<_> = names
            .iter()
            .filter(|path| !self.tree.entries.contains_key(*path))
            .collect();
        (!free.is_empty()).then(|| (*self.random.one_of(&free)).clone())
    }

    fn directory(&mut self) -> String {
        let directories = self.tree.entries.keys().filter(|path| {
            self.tree.kind(path) == Some(Kind::Directory) && path.split('/').count() < DEEPEST
        });
        let directories: Vec<&str> = directories.map(String::as_str).chain([""]).collect();
        (*self.random.one_of(&directories)).to_owned()
    }
}
