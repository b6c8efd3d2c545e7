//! What a folder's ledger knows of the processes of a mount, in the journal of that.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Index, Journal, kind};
use crate::policy::{Did, FolderId, Inode, Known, Made, Process, Spot};

/// The slot of an entry.
#[derive(Debug)]
pub(in crate::vfs) struct LedgerSlot {
    journal: Arc<Journal>,
    index: Index,
}

impl LedgerSlot {
    pub(in crate::vfs) fn new(journal: &Arc<Journal>, known: &Known) -> Self {
        let index = journal.take();
        if index != 0 {
            let bytes = journal.put_bytes(&encode(known));
            let head = u64::from(kind::LEDGER) | u64::from(bytes) << 32;
            journal.slot(index)[0].store(head, Ordering::Release);
        }
        Self::again(journal, index)
    }

    pub(in crate::vfs) fn again(journal: &Arc<Journal>, index: Index) -> Self {
        Self {
            journal: Arc::clone(journal),
            index,
        }
    }
}

impl Drop for LedgerSlot {
    fn drop(&mut self) {
        if self.index != 0 {
            let bytes = (self.journal.slot(self.index)[0].load(Ordering::Acquire) >> 32) as Index;
            self.journal.give_back(self.index);
            self.journal.give_bytes_back(bytes);
        }
    }
}

const MADE: u8 = 0;
const STEPPED_ASIDE: u8 = 1;

fn encode(known: &Known) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    put_spot(&mut bytes, &known.spot);
    put_inode(&mut bytes, &known.inode);
    bytes.extend(known.by.id.to_le_bytes());
    bytes.extend(known.by.started.to_le_bytes());
    bytes.extend(known.by.mount.to_le_bytes());
    bytes.extend(known.turn.to_le_bytes());
    match &known.what {
        Did::Make(Made {
            exclusively,
            new_file,
        }) => bytes.extend([MADE, u8::from(*exclusively), u8::from(*new_file)]),
        Did::StepAside {
            left,
            moved_on,
            last,
            anew,
        } => {
            let how = u8::from(*moved_on) | u8::from(*last) << 1;
            bytes.extend([STEPPED_ASIDE, how, u8::from(anew.is_some())]);
            put_spot(&mut bytes, left);
            if let Some(anew) = anew {
                put_inode(&mut bytes, anew);
            }
        }
    }
    bytes
}

fn put_inode(bytes: &mut Vec<u8>, inode: &Inode) {
    bytes.extend(inode.folder.0.to_le_bytes());
    bytes.extend(inode.number.to_le_bytes());
    bytes.extend(inode.birth.to_le_bytes());
}

fn put_spot(bytes: &mut Vec<u8>, spot: &Spot) {
    put_inode(bytes, &spot.directory);
    bytes.push(spot.name.len() as u8);
    bytes.extend(&*spot.name);
}

/// Reads what [`encode`] wrote; `None` if it did not.
pub(super) fn decode(bytes: &[u8]) -> Option<Known> {
    let mut rest = bytes;
    let bytes = &mut rest;
    let known = Known {
        spot: take_spot(bytes)?,
        inode: take_inode(bytes)?,
        by: Process {
            id: u32::from_le_bytes(take(bytes)?),
            started: u64::from_le_bytes(take(bytes)?),
            mount: u64::from_le_bytes(take(bytes)?),
        },
        turn: u64::from_le_bytes(take(bytes)?),
        what: match take(bytes)? {
            [MADE, exclusively, new_file] => Did::Make(Made {
                exclusively: exclusively != 0,
                new_file: new_file != 0,
            }),
            [STEPPED_ASIDE, how, anew] => Did::StepAside {
                left: take_spot(bytes)?,
                moved_on: how & 1 != 0,
                last: how & 2 != 0,
                anew: if anew == 0 { None } else { Some(take_inode(bytes)?) },
            },
            _ => return None,
        },
    };
    rest.is_empty().then_some(known)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

fn take_inode(bytes: &mut &[u8]) -> Option<Inode> {
    Some(Inode {
        folder: FolderId(i64::from_le_bytes(take(bytes)?)),
        number: u64::from_le_bytes(take(bytes)?),
        birth: u64::from_le_bytes(take(bytes)?),
    })
}

fn take_spot(bytes: &mut &[u8]) -> Option<Spot> {
    let directory = take_inode(bytes)?;
    let [length] = take(bytes)?;
    let (name, rest) = bytes.split_at_checked(usize::from(length))?;
    *bytes = rest;
    Some(Spot {
        directory,
        name: name.into(),
    })
}
