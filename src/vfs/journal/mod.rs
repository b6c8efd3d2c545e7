//! What a mount must not lose when its daemon ends, in memory that the next one takes over ([`SharedMemory`]).
//!
//! A header, the records of requests ([`requests`]), and slots of four words each, of which nodes, open files, open
//! directories and locks take one or more ([`slots`]). A slot is written before the word that tells its kind, or before
//! the word of another slot that leads to it, and each such word is one store: so whoever reads it later ([`read`])
//! finds all as it was before or after a change, at whatever moment the process was killed.
//!
//! Its form is this module's own: another one is not read ([`FORMAT`]).

mod charter;
mod ledger;
mod read;
pub(super) mod requests;
mod slots;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::backing::SharedMemory;

pub use charter::Charter;
pub(super) use ledger::LedgerSlot;
pub(super) use read::{LockRecord, NodeRecord, PositionRecord, Survived};
pub(super) use slots::{DirectorySlot, FileSlot, Kept, LockSlots, LockerSlot, NodeSlot, Place, RouteRecord};

/// Which form it has. To be counted up when anything in it changes.
const FORMAT: u64 = 1;

const MAGIC: u64 = u64::from_le_bytes(*b"lendfs\0J");

/// All words: so many that they never run out; memory is taken for those alone that are used.
const WORDS: usize = 1 << 30;
/// Where the parts begin, in words.
const CHARTER: usize = 64;
const REQUESTS: usize = 1024;
const SLOTS: usize = 4096;
/// The words of one slot.
const WIDTH: usize = 4;
const MOST_SLOTS: usize = (WORDS - SLOTS) / WIDTH;
/// From so many slots on it is worth while to give their memory back when none is used any more.
const MANY: usize = 4096;

/// Words of the header.
mod word {
    pub(super) const MAGIC: usize = 0;
    pub(super) const FORMAT: usize = 1;
    /// How many slots were ever used.
    pub(super) const USED: usize = 2;
    /// The highest number of an open file or directory.
    pub(super) const HANDLE: usize = 3;
    /// The highest number of a backing file of the kernel's.
    pub(super) const BACKING: usize = 4;
    /// The highest number of a node that was counted.
    pub(super) const COUNTED: usize = 5;
    /// The bytes of the charter; 0 as long as it is not written.
    pub(super) const CHARTER: usize = 6;
    /// Whether the policy is being changed: it may be on disk already, and not told to the kernel.
    pub(super) const CHANGING: usize = 7;
}

/// The kinds of slots; 0 is a free one.
mod kind {
    pub(super) const NODE: u8 = 1;
    pub(super) const POSITION: u8 = 2;
    pub(super) const BYTES: u8 = 3;
    pub(super) const FILE: u8 = 4;
    pub(super) const DIRECTORY: u8 = 5;
    pub(super) const LOCK: u8 = 6;
    pub(super) const LOCKER: u8 = 7;
    pub(super) const LEDGER: u8 = 8;
}

/// See the module's doc.
#[derive(Debug)]
pub(super) struct Journal {
    memory: SharedMemory,
    free: Mutex<Vec<u32>>,
}

/// The number of a slot; 0 is none.
type Index = u32;

impl Journal {
    /// An empty one.
    ///
    /// # Errors
    /// Those of [`SharedMemory::new`].
    pub(super) fn new() -> io::Result<Self> {
        let journal = Self {
            memory: SharedMemory::new(WORDS)?,
            free: Mutex::default(),
        };
        journal.header(word::USED).store(1, Ordering::Relaxed);
        journal.header(word::FORMAT).store(FORMAT, Ordering::Relaxed);
        journal.header(word::MAGIC).store(MAGIC, Ordering::Release);
        Ok(journal)
    }

    /// Takes the one over that another process has left.
    ///
    /// # Errors
    /// InvalidData if it is none, or of another form.
    pub(super) fn open(file: OwnedFd) -> io::Result<Self> {
        let journal = Self {
            memory: SharedMemory::open(file, WORDS)?,
            free: Mutex::default(),
        };
        let found = [word::MAGIC, word::FORMAT].map(|at| journal.header(at).load(Ordering::Acquire));
        let used = journal.header(word::USED).load(Ordering::Acquire);
        if found != [MAGIC, FORMAT] || !(1..MOST_SLOTS as u64).contains(&used) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it is of the form {}, and this daemon reads {FORMAT}", found[1]),
            ));
        }
        Ok(journal)
    }

    /// Notes the number of a file that was opened.
    pub(super) fn handle_given(&self, number: u64) {
        self.header(word::HANDLE).fetch_max(number, Ordering::Release);
    }

    /// Notes the number of a backing file that the kernel was given.
    pub(super) fn backing_given(&self, number: u32) {
        self.header(word::BACKING)
            .fetch_max(u64::from(number), Ordering::Release);
    }

    /// Notes that the policy is being changed, or that all of it is in force.
    pub(super) fn changing(&self, changing: bool) {
        self.header(word::CHANGING)
            .store(u64::from(changing), Ordering::Release);
    }

    /// Tells whether the policy was being changed when the former daemon ended.
    pub(super) fn was_changing(&self) -> bool {
        self.header(word::CHANGING).load(Ordering::Acquire) != 0
    }

    /// Notes the number of a node that was counted.
    pub(super) fn node_counted(&self, number: u64) {
        self.header(word::COUNTED).fetch_max(number, Ordering::Release);
    }

    /// How many slots are in use.
    #[cfg(test)]
    fn used(&self) -> usize {
        let free = self.free.lock();
        self.high() - 1 - free.len()
    }

    fn high(&self) -> usize {
        self.header(word::USED).load(Ordering::Acquire) as usize
    }

    fn header(&self, at: usize) -> &AtomicU64 {
        &self.memory.words()[at]
    }

    /// The words of a slot.
    fn slot(&self, index: Index) -> &[AtomicU64] {
        let at = SLOTS + WIDTH * index as usize;
        &self.memory.words()[at..at + WIDTH]
    }

    fn kind_of(&self, index: Index) -> u8 {
        self.slot(index)[0].load(Ordering::Acquire) as u8
    }

    /// A slot that nothing leads to; 0 if there is none left.
    fn take(&self) -> Index {
        let mut free = self.free.lock();
        if let Some(index) = free.pop() {
            return index;
        }
        let next = self.high();
        if next >= MOST_SLOTS {
            return 0;
        }
        self.header(word::USED).store(next as u64 + 1, Ordering::Release);
        next as Index
    }

    /// Gives a slot back that nothing leads to any more.
    fn give_back(&self, index: Index) {
        if index == 0 {
            return;
        }
        self.slot(index)[0].store(0, Ordering::Release);
        let mut free = self.free.lock();
        free.push(index);
        let used = self.high();
        if free.len() + 1 == used && used > MANY {
            // None is used: all begins anew.
            free.clear();
            free.shrink_to_fit();
            self.header(word::USED).store(1, Ordering::Release);
            if let Err(error) = self.memory.give_back(SLOTS, used * WIDTH) {
                tracing::debug!(%error, "the memory of a journal is not given back");
            }
        }
    }

    /// Keeps bytes in slots of their own; gives the first, 0 if there are none.
    fn put_bytes(&self, bytes: &[u8]) -> Index {
        const ROOM: usize = (WIDTH - 1) * 8;
        bytes.chunks(ROOM).rev().fold(0, |next, chunk| {
            let index = self.take();
            let slot = self.slot(index);
            write_bytes(&slot[1..], chunk);
            let head = u64::from(kind::BYTES) | (chunk.len() as u64) << 8 | u64::from(next) << 32;
            slot[0].store(head, Ordering::Release);
            index
        })
    }

    fn give_bytes_back(&self, first: Index) {
        let mut index = first;
        while index != 0 && self.kind_of(index) == kind::BYTES {
            let next = (self.slot(index)[0].load(Ordering::Acquire) >> 32) as Index;
            self.give_back(index);
            index = next;
        }
    }
}

/// Reads a journal whose slots are these bytes, two of which tell first how many were used.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn read_any(bytes: &[u8]) {
    let Some((used, slots)) = bytes.split_first_chunk() else {
        return;
    };
    let Ok(journal) = Journal::new() else { return };
    let used = u64::from(u16::from_le_bytes(*used)) + 1;
    journal.header(word::USED).store(used, Ordering::Release);
    let most = slots.len().min(8 * WIDTH * usize::from(u16::MAX));
    write_bytes(&journal.memory.words()[SLOTS + WIDTH..], &slots[..most]);
    let Ok(file) = journal.as_fd().try_clone_to_owned() else {
        return;
    };
    if let Ok(journal) = Journal::open(file) {
        // It is an error or it is not.
        let _ = journal.survived().map(|found| found.nodes.len());
    }
}

impl AsFd for Journal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

fn write_bytes(words: &[AtomicU64], bytes: &[u8]) {
    for (word, chunk) in words.iter().zip(bytes.chunks(8)) {
        let mut value = [0; 8];
        value[..chunk.len()].copy_from_slice(chunk);
        word.store(u64::from_le_bytes(value), Ordering::Relaxed);
    }
}

fn read_bytes(words: &[AtomicU64], length: usize, into: &mut Vec<u8>) {
    let bytes = words
        .iter()
        .flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes());
    into.extend(bytes.take(length));
}
