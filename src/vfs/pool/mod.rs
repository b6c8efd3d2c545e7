//! The threads that serve one mount: one at rest, more under load.
//!
//! The first is the one of the mount's own `fuser::Session`. Each further one is a session of its own ([`extra`]) that
//! reads from the same open `/dev/fuse`, under a number of its own; behind that number a farewell is put when it is to go. [`pace`] decides when.
//!
//! No request is lost: a worker is sent away only while it serves nothing and owes no answer, and one that got a
//! request at that very moment stays. A [`Seat`] is what a worker and the pace thread know of each other.

mod demand;
pub(super) mod extra;
mod pace;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use self::demand::Sample;
use self::pace::Pacer;
pub(super) use self::pace::Pacing;
use super::counters::Opcode;
use super::filesystem::FileSystem;
use super::journal::requests::{Record, Records};
use super::timing::EVERY;
use crate::backing::{self, Slot, ThreadId};

/// How long a worker waits awake where nothing else keeps the processors awake. Longer is rarely rewarded.
const LINGER: Duration = Duration::from_micros(50);

/// The workers of one mount.
pub(super) struct Pool {
    filesystem: Arc<FileSystem>,
    /// The mount's `/dev/fuse`, behind whatever numbers the sessions have for it.
    device: OwnedFd,
    pacer: Arc<Pacer>,
    seats: Mutex<Vec<Weak<Seat>>>,
    /// Whether the pace thread looks at it; else the next request calls it.
    followed: AtomicBool,
    /// Whether the worker waits awake for the next request, for a short while.
    lingers: AtomicBool,
}

impl Pool {
    /// The pool of a mount that is served from `device`, without any worker.
    pub(super) fn new(filesystem: &Arc<FileSystem>, device: OwnedFd, pacer: &Arc<Pacer>) -> Arc<Self> {
        let pool = Arc::new(Self {
            filesystem: Arc::clone(filesystem),
            device,
            pacer: Arc::clone(pacer),
            seats: Mutex::default(),
            followed: AtomicBool::new(false),
            lingers: AtomicBool::new(false),
        });
        pacer.enlist(&pool);
        pool
    }

    /// The seat of the first worker, which is never sent away.
    pub(super) fn first(self: &Arc<Self>) -> Arc<Seat> {
        self.seat(Seat::IDLE)
    }

    /// How many workers there are, those that leave not counted.
    pub(super) fn workers(&self) -> usize {
        let seats = self.seats.lock();
        let present = seats.iter().filter_map(Weak::upgrade);
        present.filter(|seat| seat.state() != Seat::LEAVING).count()
    }

    /// Adds a worker. That takes a while, and may fail where threads or descriptors are short.
    fn grow(self: &Arc<Self>) {
        let seat = self.seat(Seat::NEW);
        let started = std::thread::Builder::new()
            .name("fuse-session".into())
            .spawn(move || extra::serve(&seat));
        if let Err(error) = started {
            tracing::warn!(%error, "cannot start another worker");
        }
    }

    /// Sends so many workers away, of those that serve nothing just now.
    fn shrink(&self, by: usize) {
        let seats: Vec<_> = self.seats.lock().iter().filter_map(Weak::upgrade).collect();
        seats
            .iter()
            .rev()
            .filter(|seat| seat.send_away())
            .take(by)
            .for_each(drop);
    }

    /// What the workers do just now.
    fn sample(&self) -> Sample {
        let mut sample = Sample::default();
        let mut starting = false;
        let mut seats = self.seats.lock();
        seats.retain(|seat| {
            let Some(seat) = seat.upgrade() else { return false };
            let word = seat.word.load(Ordering::SeqCst);
            sample.begun += word / Seat::ONE;
            match word & Seat::STATE {
                Seat::LEAVING => {}
                Seat::IDLE => sample.workers += 1,
                state => {
                    sample.workers += 1;
                    sample.busy += 1;
                    starting |= state == Seat::NEW;
                }
            }
            true
        });
        drop(seats);
        // One that is about to come will see to what waits.
        let full = sample.busy == sample.workers && !starting;
        sample.waiting = full && backing::is_readable(&self.device);
        sample
    }

    /// Lets the worker wait awake for requests from now on, or not.
    fn linger(&self, lingers: bool) {
        self.lingers.store(lingers, Ordering::Relaxed);
    }

    fn seat(self: &Arc<Self>, state: u64) -> Arc<Seat> {
        let seat = Arc::new(Seat {
            word: AtomicU64::new(state),
            owed: AtomicUsize::new(0),
            farewell: Mutex::new(None),
            slot: OnceLock::new(),
            thread: OnceLock::new(),
            pool: Arc::clone(self),
            record: self.filesystem.records.as_ref().and_then(Records::take),
        });
        self.seats.lock().push(Arc::downgrade(&seat));
        seat
    }
}

/// One worker, as the pace thread sees it.
#[repr(align(64))]
pub(super) struct Seat {
    /// The state, and in multiples of [`Seat::ONE`] how many requests were begun.
    word: AtomicU64,
    /// Requests that are answered later, through this worker's session.
    owed: AtomicUsize,
    /// The other end of what a worker that leaves reads from. Locked by whoever makes it leave, or stay.
    farewell: Mutex<Option<OwnedFd>>,
    /// Where its session reads; none for the first worker.
    slot: OnceLock<Slot>,
    thread: OnceLock<ThreadId>,
    pool: Arc<Pool>,
    /// Where it is noted what it serves, for the next daemon.
    record: Option<Arc<Record>>,
}

impl Seat {
    /// Waits for a request: alone from here it can be made to leave.
    const IDLE: u64 = 0;
    /// Serves one. Only the worker itself ends this state.
    const BUSY: u64 = 1;
    /// Finds nothing to read when it comes back.
    const LEAVING: u64 = 2;
    /// Does not read from the device yet.
    const NEW: u64 = 3;
    const STATE: u64 = 3;
    const ONE: u64 = 4;

    /// Begins to serve a request.
    pub(super) fn begin(&self) -> Served<'_> {
        let word = self.word.load(Ordering::Relaxed);
        let begun = word & Self::STATE == Self::IDLE
            && self
                .word
                .compare_exchange(
                    word,
                    word + Self::ONE + Self::BUSY,
                    Ordering::SeqCst,
                    Ordering::Relaxed,
                )
                .is_ok();
        let greeting = !begun && self.take_seat();
        // Either this sees that nobody looks, or who stops looking sees the change above.
        if !self.pool.followed.load(Ordering::SeqCst) {
            self.pool.pacer.call(&self.pool);
        }
        Served {
            seat: self,
            greeting,
            turn: word / Self::ONE,
            timed: None,
        }
    }

    /// Where it is noted what it serves.
    pub(super) fn record(&self) -> Option<&Arc<Record>> {
        self.record.as_ref()
    }

    /// A promise to answer the present request later, from another thread. Until it is dropped the worker stays: the
    /// answer goes out through its session.
    pub(super) fn owe(self: &Arc<Self>) -> Owed {
        self.owed.fetch_add(1, Ordering::Relaxed);
        Owed(Arc::clone(self))
    }

    /// Begins with another state than idle; tells whether the request is the greeting of [`extra`].
    fn take_seat(&self) -> bool {
        let mut farewell = self.farewell.lock();
        let word = self.word.load(Ordering::SeqCst);
        let state = word & Self::STATE;
        if state == Self::NEW {
            let _ = self.thread.set(ThreadId::current());
        }
        if state == Self::NEW || state == Self::LEAVING {
            self.read_from(&self.pool.device);
            *farewell = None;
        }
        let greeting = state == Self::NEW;
        let count = word - state + if greeting { 0 } else { Self::ONE };
        self.word.store(count + Self::BUSY, Ordering::SeqCst);
        greeting
    }

    /// Sends the worker away, if it is idle and owes nothing.
    fn send_away(&self) -> bool {
        let (Some(_), Some(thread)) = (self.slot.get(), self.thread.get()) else {
            return false;
        };
        let (kernel, session) = match extra::farewell() {
            Ok(ends) => ends,
            Err(error) => {
                tracing::warn!(%error, "cannot send a worker away");
                return false;
            }
        };
        let mut farewell = self.farewell.lock();
        let word = self.word.load(Ordering::Relaxed);
        let leaving = word & Self::STATE == Self::IDLE
            && self
                .word
                .compare_exchange(word, word + Self::LEAVING, Ordering::SeqCst, Ordering::Relaxed)
                .is_ok();
        if !leaving {
            return false;
        }
        // Only the worker itself begins to owe, and not while it is idle.
        if self.owed.load(Ordering::SeqCst) > 0 || !self.read_from(&session) {
            self.word.store(word, Ordering::SeqCst);
            return false;
        }
        *farewell = Some(kernel);
        // If it is gone there is nobody to wake.
        let _ = thread.wake();
        true
    }

    fn read_from(&self, file: &OwnedFd) -> bool {
        let put = self.slot.get().map(|slot| slot.put(file.as_fd()));
        if let Some(Err(error)) = &put {
            tracing::error!(%error, "a worker cannot be made to read from elsewhere");
        }
        matches!(put, Some(Ok(())))
    }

    /// Tells whether it is the worker that does what a mount does once.
    pub(super) fn is_first(&self) -> bool {
        self.state() != Self::NEW && self.slot.get().is_none()
    }

    fn state(&self) -> u64 {
        self.word.load(Ordering::SeqCst) & Self::STATE
    }
}

/// A request that is being served. To be made first of all in a method of the adapter, so that it ends after the reply.
pub(super) struct Served<'a> {
    seat: &'a Seat,
    greeting: bool,
    /// How many requests the worker had begun before.
    turn: u64,
    timed: Option<(Opcode, Instant)>,
}

impl Served<'_> {
    /// Tells whether it is no request of the kernel's, but a new worker's first sign of life.
    pub(super) fn is_greeting(&self) -> bool {
        self.greeting
    }

    /// Times it, if it is its turn.
    pub(super) fn time(&mut self, opcode: Opcode) {
        if self.turn.is_multiple_of(EVERY) {
            self.timed = Some((opcode, Instant::now()));
        }
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        if let Some((opcode, begun)) = self.timed {
            let counters = &self.seat.pool.filesystem.shared.counters;
            counters.took(opcode, begun.elapsed());
        }
        let word = self.seat.word.load(Ordering::Relaxed);
        self.seat.word.store(word - Seat::BUSY, Ordering::Release);
        let pool = &self.seat.pool;
        if pool.lingers.load(Ordering::Relaxed) {
            let end = Instant::now() + LINGER;
            while !backing::is_readable(&pool.device) && Instant::now() < end {}
        }
    }
}

/// See [`Seat::owe`].
pub(super) struct Owed(Arc<Seat>);

impl Drop for Owed {
    fn drop(&mut self) {
        self.0.owed.fetch_sub(1, Ordering::Release);
    }
}
