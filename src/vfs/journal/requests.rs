//! What becomes of requests that must not be carried out twice, and what each has opened.
//!
//! The kernel asks again what a daemon that ended has read and not answered, and it may have been carried out. So each
//! worker notes which request it has begun, when it has come to the call that changes something, and how it ended. The
//! next daemon knows by that what to do: see [`crate::vfs::again`].

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::{Journal, REQUESTS, SLOTS};
use crate::backing::Birth;
use crate::policy::FolderId;

/// The words of one record.
const WIDTH: usize = 8;
/// So many workers have a record; further ones do without.
const MOST: usize = (SLOTS - REQUESTS) / WIDTH;

const UNIQUE: usize = 0;
const STATE: usize = 1;
const HANDLE: usize = 2;
const VALUE: usize = 3;
const NUMBER: usize = 4;
const BIRTH: usize = 5;
const TIME: usize = 6;
const ANSWER: usize = 7;

/// States, in the lower half of their word; an error number in the upper.
const BEGUN: u64 = 1;
const REACHED: u64 = 2;
const DONE: u64 = 3;

/// A request that is asked again has this bit in its number (`FUSE_UNIQUE_RESEND`).
const RESENT: u64 = 1 << 63;

/// How far a request had come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::vfs) enum Progress {
    /// It had not come to the call that changes something.
    Begun,
    /// It had come to it, and may have been through it.
    Reached {
        /// The inode that it was to remove or rename: number and birth.
        inode: (u64, u64),
        /// A number that depends on the call.
        value: u64,
        /// When.
        time: Option<Birth>,
    },
    /// It was through, with an error number, or 0 and the number that was its answer.
    Done {
        /// 0 for success.
        errno: i32,
        /// What it answered, if that was a number.
        value: u64,
    },
}

/// A record that was found.
#[derive(Clone, Copy, Debug)]
pub(in crate::vfs) struct Found {
    pub progress: Progress,
    /// The file or directory that it had opened; 0 for none.
    pub handle: u64,
    number: usize,
}

/// What is known of requests that a former daemon had begun.
pub(in crate::vfs) type Former = HashMap<u64, Found>;

/// Gives out records, one to each worker.
#[derive(Debug)]
pub(in crate::vfs) struct Records {
    journal: Arc<Journal>,
    free: Mutex<Vec<usize>>,
    forgotten: AtomicBool,
}

/// A worker's record.
#[derive(Debug)]
pub(in crate::vfs) struct Record {
    records: Arc<Records>,
    number: usize,
}

impl Records {
    pub(in crate::vfs) fn new(journal: &Arc<Journal>) -> Self {
        let words = journal.memory.words();
        let unused = |number: &usize| words[REQUESTS + WIDTH * number + STATE].load(Ordering::Acquire) == 0;
        Self {
            free: Mutex::new((0..MOST).rev().filter(unused).collect()),
            forgotten: AtomicBool::new(false),
            journal: Arc::clone(journal),
        }
    }

    /// Forgets what former daemons had begun: the kernel has asked all that again by now.
    pub(in crate::vfs) fn forget_former(&self, former: &Former) {
        if self.forgotten.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut free = self.free.lock();
        for number in former.values().map(|found| found.number) {
            self.journal.memory.words()[REQUESTS + WIDTH * number + STATE].store(0, Ordering::Release);
            free.push(number);
        }
    }

    /// A record; `None` where there is none left.
    pub(in crate::vfs) fn take(self: &Arc<Self>) -> Option<Arc<Record>> {
        let number = self.free.lock().pop()?;
        Some(Arc::new(Record {
            records: Arc::clone(self),
            number,
        }))
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.records.free.lock().push(self.number);
    }
}

fn rank(progress: Progress) -> u8 {
    match progress {
        Progress::Begun => 0,
        Progress::Reached { .. } => 1,
        Progress::Done { .. } => 2,
    }
}

/// The record of the request that a thread serves, and the one of a former daemon of the same request.
struct Current {
    record: Arc<Record>,
    former: Option<usize>,
}

thread_local! {
    /// Of the request that this thread serves, if it is one to be noted.
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

impl Journal {
    /// What former daemons had begun. It stays written down until it is done, or [`Records::forget_former`].
    pub(in crate::vfs) fn former_requests(&self) -> Former {
        let words = self.memory.words();
        let mut found = Former::new();
        for number in 0..MOST {
            let at = REQUESTS + WIDTH * number;
            let [unique, state, handle, value, inode, birth, time, answer] =
                [UNIQUE, STATE, HANDLE, VALUE, NUMBER, BIRTH, TIME, ANSWER]
                    .map(|word| words[at + word].load(Ordering::Acquire));
            let progress = match state & 0xFFFF_FFFF {
                BEGUN => Progress::Begun,
                REACHED => Progress::Reached {
                    inode: (inode, birth),
                    value,
                    time: Birth::from_bits(time),
                },
                DONE => Progress::Done {
                    errno: (state >> 32) as i32,
                    value: answer,
                },
                _ => continue,
            };
            let this = Found {
                progress,
                handle,
                number,
            };
            // It may have been begun by one daemon after the other: what came farthest tells.
            let lesser = match found.get(&(unique & !RESENT)) {
                Some(before) if rank(before.progress) >= rank(progress) => Some(this),
                _ => found.insert(unique & !RESENT, this),
            };
            if let Some(lesser) = lesser {
                words[REQUESTS + WIDTH * lesser.number + STATE].store(0, Ordering::Release);
            }
        }
        found
    }
}

/// A number that stands for a name in a directory, by the number of that.
pub(in crate::vfs) fn key(folder: FolderId, directory: u64, name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (folder, directory, name).hash(&mut hasher);
    hasher.finish()
}

/// Tells whether the kernel asks again, and under which number it had asked before.
pub(in crate::vfs) fn resent(unique: u64) -> Option<u64> {
    (unique & RESENT != 0).then_some(unique & !RESENT)
}

impl Record {
    fn word(&self, word: usize) -> &std::sync::atomic::AtomicU64 {
        &self.records.journal.memory.words()[REQUESTS + WIDTH * self.number + word]
    }

    fn begin(&self, unique: u64) {
        // In this order: what was noted of the one before is not taken for this one's.
        self.word(STATE).store(0, Ordering::Release);
        self.word(HANDLE).store(0, Ordering::Release);
        self.word(ANSWER).store(0, Ordering::Release);
        self.word(UNIQUE).store(unique, Ordering::Release);
        self.word(STATE).store(BEGUN, Ordering::Release);
    }
}

/// Notes that this thread begins to serve a request.
pub(in crate::vfs) fn begin(record: Option<&Arc<Record>>, unique: u64) {
    if let Some(record) = record {
        record.begin(unique);
        CURRENT.set(Some(Current {
            record: Arc::clone(record),
            former: None,
        }));
    }
}

/// Notes that the request of this thread has come to the call that changes something: to the inode of that number and
/// birth, if it is to remove or rename one.
pub(in crate::vfs) fn reach(inode: Option<(u64, Option<Birth>)>, value: u64) {
    CURRENT.with_borrow(|current| {
        let Some(Current { record, .. }) = current else {
            return;
        };
        let (number, birth) = inode.unwrap_or_default();
        record.word(NUMBER).store(number, Ordering::Release);
        record
            .word(BIRTH)
            .store(birth.map_or(0, Birth::to_bits), Ordering::Release);
        record.word(VALUE).store(value, Ordering::Release);
        let now = crate::vfs::again::birth_of_now();
        record
            .word(TIME)
            .store(now.map_or(0, Birth::to_bits), Ordering::Release);
        record.word(STATE).store(REACHED, Ordering::Release);
    });
}

/// Notes what the request of this thread has opened.
pub(in crate::vfs) fn opened(handle: u64) {
    CURRENT.with_borrow(|current| {
        if let Some(Current { record, .. }) = current {
            record.word(HANDLE).store(handle, Ordering::Release);
        }
    });
}

/// Notes the number that the request of this thread is answered with.
pub(in crate::vfs) fn answer(value: u64) {
    CURRENT.with_borrow(|current| {
        if let Some(Current { record, .. }) = current {
            record.word(ANSWER).store(value, Ordering::Release);
        }
    });
}

/// Notes that the request of this thread is one that a former daemon had begun.
pub(in crate::vfs) fn redoes(found: &Found) {
    CURRENT.with_borrow_mut(|current| {
        if let Some(current) = current {
            current.former = Some(found.number);
        }
    });
}

/// Notes how the request of this thread ended, before it is answered: with an error number, or 0.
pub(in crate::vfs) fn end(errno: i32) {
    if let Some(Current { record, former }) = CURRENT.take() {
        let state = DONE | u64::from(errno.unsigned_abs()) << 32;
        record.word(STATE).store(state, Ordering::Release);
        if let Some(number) = former {
            let words = record.records.journal.memory.words();
            words[REQUESTS + WIDTH * number + STATE].store(0, Ordering::Release);
        }
    }
}
