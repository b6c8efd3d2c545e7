//! The reading of what a former daemon has left. What does not fit together is an error, whatever it is: then nothing of
//! it is used.

use std::io;
use std::sync::atomic::Ordering;

use super::slots::{
    BIRTH, BYPASSED_SHIFT, GRANTED, INO, LINKS, LOOKUPS_SHIFT, NAME_HERE, ROOT, UNDER, type_of,
};
use super::{Index, Journal, RouteRecord, kind, read_bytes, word};
use crate::backing::{Birth, FileHandle, FileKind, KeptName, Lock, LockKind, Name};
use crate::policy::{FolderId, Known, PlaceId};
use crate::vfs::ids::{Fh, Ino, LockOwner};

/// All that was found.
#[derive(Debug, Default)]
pub(in crate::vfs) struct Survived {
    pub nodes: Vec<NodeRecord>,
    pub files: Vec<FileRecord>,
    pub directories: Vec<DirectoryRecord>,
    pub locks: Vec<LockRecord>,
    /// Who took locks through which file.
    pub lockers: Vec<(Fh, LockOwner)>,
    /// What ledgers knew of processes, with the slots.
    pub ledger: Vec<(Index, Known)>,
    /// The highest numbers that were given.
    pub last_handle: u64,
    pub last_backing: u32,
    pub last_counted: u64,
}

#[derive(Debug)]
pub(in crate::vfs) struct NodeRecord {
    pub slot: Index,
    pub ino: Ino,
    pub folder: FolderId,
    /// The inode's number on the backing.
    pub number: u64,
    pub kind: FileKind,
    pub birth: Option<Birth>,
    pub handle: Option<FileHandle>,
    pub lookups: u64,
    pub bypassed: u8,
    pub cuts: u32,
    pub position: PositionRecord,
}

#[derive(Debug)]
pub(in crate::vfs) enum PositionRecord {
    Root,
    Granted(PlaceId),
    Under { parent: Index, name: KeptName },
}

#[derive(Debug)]
pub(in crate::vfs) struct FileRecord {
    pub slot: Index,
    pub fh: Fh,
    pub node: Index,
    pub flags: i32,
    pub writable: bool,
    pub route: RouteRecord,
    pub backing: u32,
    pub cuts: u32,
}

#[derive(Debug)]
pub(in crate::vfs) struct DirectoryRecord {
    pub slot: Index,
    pub fh: Fh,
    /// 0 for the top directory.
    pub node: Index,
    pub caches: bool,
    pub listing: Vec<u8>,
}

#[derive(Debug)]
pub(in crate::vfs) struct LockRecord {
    pub slot: Index,
    pub node: Index,
    pub owner: LockOwner,
    pub lock: Lock,
}

/// What stands aside of a node: see [`super::slots`].
struct Extra {
    number: u64,
    folder: FolderId,
    cuts: u32,
    handle: Option<FileHandle>,
}

fn broken(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("it does not fit together: {what}"),
    )
}

/// Which slots something leads to.
struct Reached(Vec<bool>);

impl Reached {
    /// Nothing leads to one slot twice.
    fn reach(&mut self, index: Index) -> io::Result<()> {
        match self.0.get_mut(index as usize) {
            Some(reached) if !*reached && index != 0 => {
                *reached = true;
                Ok(())
            }
            _ => Err(broken("a slot that two lead to")),
        }
    }
}

impl Journal {
    /// Reads all of it. What nothing leads to, for it was being written or given back, is free then.
    ///
    /// # Errors
    /// InvalidData.
    pub(in crate::vfs) fn survived(&self) -> io::Result<Survived> {
        let used = self.header(word::USED).load(Ordering::Acquire) as Index;
        let mut reached = Reached(vec![false; used as usize]);
        let number = |at| self.header(at).load(Ordering::Acquire);
        let mut found = Survived {
            last_handle: number(word::HANDLE),
            last_backing: u32::try_from(number(word::BACKING)).map_err(|_| broken("a backing file"))?,
            last_counted: number(word::COUNTED),
            ..Survived::default()
        };
        for index in 1..used {
            match self.kind_of(index) {
                kind::NODE => found.nodes.push(self.read_node(index, &mut reached)?),
                kind::FILE => found.files.push(self.read_file(index)?),
                kind::DIRECTORY => found.directories.push(self.read_directory(index, &mut reached)?),
                kind::LOCK => found.locks.push(self.read_lock(index)),
                kind::LOCKER => {
                    let slot = self.slot(index);
                    let [fh, owner] = [1, 2].map(|at| slot[at].load(Ordering::Acquire));
                    found.lockers.push((Fh(fh), LockOwner(owner)));
                    // The file that is made of it keeps its own.
                    continue;
                }
                kind::LEDGER => {
                    let first = (self.slot(index)[0].load(Ordering::Acquire) >> 32) as Index;
                    let known = super::ledger::decode(&self.read_chain(first, &mut reached)?);
                    let known = known.ok_or_else(|| broken("an entry of a ledger"))?;
                    found.ledger.push((index, known));
                }
                _ => continue,
            }
            reached.reach(index)?;
        }
        let mut free = self.free.lock();
        free.clear();
        for index in (1..used).filter(|index| !reached.0[*index as usize]) {
            self.slot(index)[0].store(0, Ordering::Release);
            free.push(index);
        }
        Ok(found)
    }

    fn read_node(&self, index: Index, reached: &mut Reached) -> io::Result<NodeRecord> {
        let slot = self.slot(index);
        let [head, ino, birth, links] = [0, INO, BIRTH, LINKS].map(|at| slot[at].load(Ordering::Acquire));
        let extra = match (links >> 32) as Index {
            0 => None,
            first => Some(parse_extra(&self.read_chain(first, reached)?)?),
        };
        let told = Ino(ino).parts();
        let (folder, number) = match (&extra, told) {
            (Some(extra), _) => (extra.folder, extra.number),
            (None, Some(parts)) => parts,
            (None, None) => return Err(broken("a node of no folder")),
        };
        let (cuts, handle) = extra.map_or((0, None), |extra| (extra.cuts, extra.handle));
        Ok(NodeRecord {
            slot: index,
            ino: Ino(ino),
            folder,
            number,
            kind: type_of(head).ok_or_else(|| broken("a node of no type"))?,
            birth: Birth::from_bits(birth),
            handle,
            lookups: head >> LOOKUPS_SHIFT,
            bypassed: (head >> BYPASSED_SHIFT) as u8,
            cuts,
            position: self.read_position(links as Index, reached)?,
        })
    }

    fn read_position(&self, index: Index, reached: &mut Reached) -> io::Result<PositionRecord> {
        reached.reach(index)?;
        let slot = self.slot(index);
        let [head, word] = [0, 1].map(|at| slot[at].load(Ordering::Acquire));
        if head as u8 != kind::POSITION {
            return Err(broken("a node that is nowhere"));
        }
        Ok(match (head >> 8) as u8 {
            ROOT => PositionRecord::Root,
            GRANTED => PositionRecord::Granted(PlaceId(word.cast_signed())),
            UNDER => {
                let length = usize::from((head >> 16) as u8);
                let mut name = Vec::with_capacity(length);
                read_bytes(&slot[2..], length.min(NAME_HERE), &mut name);
                name.extend(self.read_chain((head >> 32) as Index, reached)?);
                let name = Name::new(&name)
                    .ok()
                    .filter(|name| name.as_bytes().len() == length)
                    .ok_or_else(|| broken("a name"))?;
                PositionRecord::Under {
                    parent: Index::try_from(word).map_err(|_| broken("a directory"))?,
                    name: (&name).into(),
                }
            }
            _ => return Err(broken("a position")),
        })
    }

    fn read_file(&self, index: Index) -> io::Result<FileRecord> {
        let slot = self.slot(index);
        let [head, fh, how, cuts] = [0, 1, 2, 3].map(|at| slot[at].load(Ordering::Acquire));
        let routes = [
            RouteRecord::Cached,
            RouteRecord::Daemon,
            RouteRecord::Kernel,
            RouteRecord::Beside,
        ];
        let route = routes.into_iter().find(|route| *route as u8 == (head >> 8) as u8);
        Ok(FileRecord {
            slot: index,
            fh: Fh(fh),
            node: (head >> 32) as Index,
            flags: (how as u32).cast_signed(),
            writable: (head >> 16) & 1 != 0,
            route: route.ok_or_else(|| broken("an open file"))?,
            backing: (how >> 32) as u32,
            cuts: cuts as u32,
        })
    }

    fn read_directory(&self, index: Index, reached: &mut Reached) -> io::Result<DirectoryRecord> {
        let slot = self.slot(index);
        let [head, fh, listing] = [0, 1, 2].map(|at| slot[at].load(Ordering::Acquire));
        Ok(DirectoryRecord {
            slot: index,
            fh: Fh(fh),
            node: (head >> 32) as Index,
            caches: (head >> 8) & 1 != 0,
            listing: self.read_chain(listing as Index, reached)?,
        })
    }

    fn read_lock(&self, index: Index) -> LockRecord {
        let slot = self.slot(index);
        let [head, owner, start, end] = [0, 1, 2, 3].map(|at| slot[at].load(Ordering::Acquire));
        let kind = if (head >> 8) & 1 != 0 {
            LockKind::Write
        } else {
            LockKind::Read
        };
        LockRecord {
            slot: index,
            node: (head >> 32) as Index,
            owner: LockOwner(owner),
            lock: Lock { kind, start, end },
        }
    }

    /// What [`Journal::put_bytes`] kept.
    fn read_chain(&self, first: Index, reached: &mut Reached) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut index = first;
        while index != 0 {
            reached.reach(index)?;
            let slot = self.slot(index);
            let head = slot[0].load(Ordering::Acquire);
            let length = usize::from((head >> 8) as u8);
            if head as u8 != kind::BYTES || length > 8 * (slot.len() - 1) {
                return Err(broken("bytes that are none"));
            }
            read_bytes(&slot[1..], length, &mut bytes);
            index = (head >> 32) as Index;
        }
        Ok(bytes)
    }
}

fn parse_extra(bytes: &[u8]) -> io::Result<Extra> {
    let parsed = || {
        let (number, rest) = bytes.split_first_chunk()?;
        let (folder, rest) = rest.split_first_chunk()?;
        let (cuts, handle) = rest.split_first_chunk()?;
        Some(Extra {
            number: u64::from_le_bytes(*number),
            folder: FolderId(i64::from_le_bytes(*folder)),
            cuts: u32::from_le_bytes(*cuts),
            handle: match handle {
                [] => None,
                handle => Some(FileHandle::from_bytes(handle)?),
            },
        })
    };
    parsed().ok_or_else(|| broken("what stands aside of a node"))
}
