//! Who changes the tree and looks at it: a user in his mount, or somebody on the disk.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::change::{Change, Maker, Spot};
use super::held::{Held, open_file};
use super::look::{self, Answer, Base, Picture};
use super::random::Random;
use crate::common::User;
use crate::common::hand::Hand;
use crate::common::users::Session;

/// Where an actor is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Mount,
    /// In a read-only one: he looks.
    ReadOnlyMount,
    /// Behind the daemon's back: he changes, and sees what he sees.
    Disk,
}

pub struct Actor {
    pub user: User,
    pub place: Place,
    top: PathBuf,
    disk: PathBuf,
    session: Session,
    hand: Hand,
    held: Arc<Mutex<Held>>,
    /// Whether his mappings stay for a while when he is done with them.
    keeps_mappings: bool,
}

impl Actor {
    /// Somebody to whom the tree on the `disk` is at `top`.
    pub fn new(user: User, place: Place, top: PathBuf, disk: &Path) -> Self {
        let mut hand = Hand::new(user);
        hand.must("maps = []");
        Self {
            user,
            place,
            top,
            disk: disk.into(),
            session: user.stay(),
            hand,
            held: Arc::default(),
            keeps_mappings: true,
        }
    }

    /// Lets go of each mapping when he is done with it.
    pub fn keep_no_mapping(&mut self) {
        self.keeps_mappings = false;
    }

    pub fn name(&self) -> String {
        format!("{} ({:?})", self.user.name, self.place)
    }

    /// Where the directories that he holds are, and how many files he holds.
    pub fn holds(&self) -> (Vec<Option<String>>, usize) {
        let held = self.held.lock().unwrap();
        let directories = held.directories.iter();
        let paths = directories.map(|held| held.path_below(&self.disk)).collect();
        (paths, held.files.len())
    }

    pub fn forget_what_is_gone(&self) {
        self.held.lock().unwrap().forget_what_is_gone();
    }

    /// Makes a change; tells `ok` or the errno.
    pub fn make(&mut self, change: &Change) -> String {
        let outcome = match change {
            Change::Map(at, offset) => return self.map(at, *offset),
            Change::HoldFile(at, write, append) => self.hold_file(at, *write, *append),
            Change::HoldDirectory(at) => self.hold_directory(at),
            Change::Enter(at) => self.enter(at),
            _ => {
                let (change, top, held) = (change.clone(), self.top.clone(), Arc::clone(&self.held));
                self.session.run(move || {
                    let held = held.lock().unwrap();
                    Maker {
                        top: &top,
                        held: &held,
                    }
                    .make(&change)
                })
            }
        };
        crate::common::word(outcome)
    }

    /// All that is known of the disk, as it is shown to him: each path by a way of its own.
    pub fn look(&self, disk: &Picture, random: &mut Random) -> Picture {
        let order = *random.one_of(&look::ORDERS);
        let (bases, _) = self.holds();
        let mut asked: Vec<_> = disk
            .keys()
            .map(|(path, question)| {
                let below = |at: &Option<String>| {
                    let rest = path.strip_prefix(at.as_deref()?)?.strip_prefix('/')?;
                    Some(rest.to_owned())
                };
                let by_held = random.once_in(2).then(|| bases.iter().map(below));
                let by_held = by_held.and_then(|rests| {
                    let found = rests.enumerate().find(|(_, rest)| rest.is_some());
                    found.map(|(number, rest)| (number, rest.unwrap()))
                });
                (*question, path.clone(), by_held)
            })
            .collect();
        let turn = |question| order.iter().position(|other| *other == question);
        asked.sort_by_key(|(question, ..)| turn(*question));
        let held_first = random.once_in(2);
        let (top, held) = (self.top.clone(), Arc::clone(&self.held));
        self.session.run(move || {
            let mut held = held.lock().unwrap();
            let mut picture = Picture::new();
            if held_first {
                picture.extend(held.shown());
            }
            for (question, path, by_held) in asked {
                let absolute = top.join(&path);
                let base = match by_held {
                    Some((number, rest)) => Base {
                        directory: held.directories[number].base(),
                        path: rest.into(),
                    },
                    None => Base::absolute(absolute.clone()),
                };
                let answer = look::ask(&base, &absolute, question);
                if matches!(answer, Answer::Failed(_)) {
                    // So that the kernel remembers what is not there.
                    look::ask(&base, &absolute, question);
                }
                picture.insert((path, question), answer);
            }
            if !held_first {
                picture.extend(held.shown());
            }
            picture
        })
    }

    /// What there is of what he holds.
    pub fn held_on_disk(&self) -> Picture {
        self.held.lock().unwrap().on_disk()
    }

    fn hold_file(&self, at: &Spot, write: bool, append: bool) -> Result<(), Errno> {
        let disk = open_file(&self.disk.join(&at.full), false, false);
        let (path, held) = (self.top.join(&at.full), Arc::clone(&self.held));
        self.session.run(move || {
            let here = open_file(&path, write, append).map_err(number)?;
            held.lock().unwrap().file(here, disk.map_err(number)?);
            Ok(())
        })
    }

    fn hold_directory(&self, at: &Spot) -> Result<(), Errno> {
        let disk = open_directory(&self.disk.join(&at.full))?;
        let (path, held) = (self.top.join(&at.full), Arc::clone(&self.held));
        self.session.run(move || {
            let here = open_directory(&path)?;
            held.lock().unwrap().directory(Some(here), disk);
            Ok(())
        })
    }

    fn enter(&self, at: &Spot) -> Result<(), Errno> {
        let disk = open_directory(&self.disk.join(&at.full))?;
        let (path, held) = (self.top.join(&at.full), Arc::clone(&self.held));
        self.session.run(move || {
            std::env::set_current_dir(&path).map_err(number)?;
            held.lock().unwrap().directory(None, disk);
            Ok(())
        })
    }

    /// Stores a byte through a mapping, which may stay for a while, and brings it to the file.
    fn map(&mut self, at: &Spot, offset: usize) -> String {
        let path = self.top.join(&at.full);
        let last = match self.keeps_mappings {
            true => "maps = (maps + [map])[-2:]".to_owned(),
            false => "map.close()".to_owned(),
        };
        let lines = [
            format!("fd = os.open({path:?}, os.O_RDWR)"),
            "map = mmap.mmap(fd, 0); os.close(fd)".into(),
            format!("map[{offset} % len(map)] = 77; map.flush()"),
            last,
        ];
        let mut answers = lines.iter().map(|line| self.hand.does(line));
        answers.find(|answer| answer != "ok").unwrap_or("ok".into())
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(path, flags, Mode::empty())
}

fn number(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}
