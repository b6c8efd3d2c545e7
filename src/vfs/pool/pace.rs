//! The one thread of the daemon that looks how the mounts are served. It sleeps while there is nothing to look at.
//!
//! The first request after a pause calls it. From then on it looks every few milliseconds, until a mount has had no
//! request for a while; after that it comes back once to send away workers that are left over.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Pool;
use super::demand::{Advice, Demand, PATIENCE};
use crate::backing::{self, Processors};
use crate::vfs::ids::MountId;
use crate::vfs::latency::{DEVICE, Latency};

/// How often it looks while requests come.
const TICK: Duration = Duration::from_millis(2);
/// How often it looks at those who are at one request for long.
const SLOW_TICK: Duration = Duration::from_millis(20);
/// So long after the last request it looks on.
const AFTER: Duration = Duration::from_millis(20);

/// The way to the thread.
pub(in crate::vfs) struct Pacer {
    pub(super) known: Mutex<Vec<Weak<Pool>>>,
    called: Mutex<Vec<Weak<Pool>>>,
    thread: OnceLock<Thread>,
    may_hold: AtomicBool,
    held: AtomicBool,
    ending: AtomicBool,
}

/// Ends the thread when dropped.
pub(in crate::vfs) struct Pacing(Arc<Pacer>);

impl Pacing {
    /// Starts the thread. Without it each mount is served by its first worker alone.
    pub(in crate::vfs) fn start() -> Self {
        let pacer = Arc::new(Pacer {
            known: Mutex::default(),
            called: Mutex::default(),
            thread: OnceLock::new(),
            may_hold: AtomicBool::new(true),
            held: AtomicBool::new(false),
            ending: AtomicBool::new(false),
        });
        match Self::run(&pacer) {
            Ok(thread) => drop(pacer.thread.set(thread.thread().clone())),
            Err(error) => tracing::error!(%error, "cannot start the thread that looks after the workers"),
        }
        Self(pacer)
    }

    fn run(pacer: &Arc<Pacer>) -> io::Result<JoinHandle<()>> {
        backing::prepare_waking()?;
        let processors = Processors::open()?;
        let pacer = Arc::clone(pacer);
        std::thread::Builder::new()
            .name("pace".into())
            .spawn(move || Pace::new(&pacer, processors).run())
    }

    /// The way to the thread.
    pub(in crate::vfs) fn pacer(&self) -> &Arc<Pacer> {
        &self.0
    }
}

impl Drop for Pacing {
    fn drop(&mut self) {
        self.0.ending.store(true, Ordering::SeqCst);
        self.0.wake();
    }
}

impl Pacer {
    /// How many workers all mounts have together.
    pub(in crate::vfs) fn workers(&self) -> usize {
        let known = self.known.lock();
        let pools = known.iter().filter_map(Weak::upgrade);
        pools.map(|pool| pool.workers()).sum()
    }

    /// The mounts in which a request waits that no worker is free for, each with how many were begun in it so far.
    pub(in crate::vfs) fn waiting(&self) -> Vec<(MountId, u64)> {
        let known: Vec<_> = self.known.lock().iter().filter_map(Weak::upgrade).collect();
        let sampled = known.iter().map(|pool| (pool.filesystem.id, pool.sample()));
        let waiting = sampled.filter(|(_, sample)| sample.waiting);
        waiting.map(|(mount, sample)| (mount, sample.begun)).collect()
    }

    /// Allows the processors to be kept awake, or not.
    pub(in crate::vfs) fn allow_hold(&self, allowed: bool) {
        self.may_hold.store(allowed, Ordering::Relaxed);
    }

    /// Tells whether the processors are kept awake just now.
    pub(in crate::vfs) fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    pub(super) fn enlist(&self, pool: &Arc<Pool>) {
        let mut known = self.known.lock();
        known.retain(|pool| pool.strong_count() > 0);
        known.push(Arc::downgrade(pool));
    }

    /// Lets the thread look at a mount.
    #[cold]
    pub(super) fn call(&self, pool: &Arc<Pool>) {
        if !pool.followed.swap(true, Ordering::SeqCst) {
            self.called.lock().push(Arc::downgrade(pool));
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// What the thread knows.
struct Pace<'a> {
    pacer: &'a Pacer,
    processors: Processors,
    latency: Latency,
    mounts: Vec<Followed>,
}

/// What is the same for all mounts at one moment.
struct Around {
    /// Whether a processor has nothing to do.
    room: bool,
    /// Whether to wait awake for the next request is all that keeps processors from halting.
    linger: bool,
}

struct Followed {
    pool: Weak<Pool>,
    demand: Demand,
    /// When a request was last seen.
    active: Instant,
    /// Whether nothing was seen for a while, and requests call.
    resting: bool,
}

impl<'a> Pace<'a> {
    fn new(pacer: &'a Pacer, processors: Processors) -> Self {
        Self {
            pacer,
            processors,
            latency: Latency::new(Path::new(DEVICE), Instant::now()),
            mounts: Vec::new(),
        }
    }

    fn run(&mut self) {
        while !self.pacer.ending.load(Ordering::SeqCst) {
            match self.look(Instant::now()) {
                Some(pause) => std::thread::park_timeout(pause),
                None => std::thread::park(),
            }
        }
    }

    /// Looks at every mount that has something to do; tells when to look again.
    fn look(&mut self, now: Instant) -> Option<Duration> {
        for pool in std::mem::take(&mut *self.pacer.called.lock()) {
            self.follow(pool, now);
        }
        let around = Around {
            room: self.processors.have_room(),
            linger: self.latency.is_missed(),
        };
        let (mut next, mut requests) = (None, 0);
        self.mounts.retain_mut(|mount| {
            let pause = mount.look(now, &around, &mut requests);
            next = next.min(pause).or(next).or(pause);
            pause.is_some()
        });
        self.latency
            .see(now, requests, self.pacer.may_hold.load(Ordering::Relaxed));
        self.pacer.held.store(self.latency.is_held(), Ordering::Relaxed);
        if self.latency.is_held() { Some(TICK) } else { next }
    }

    fn follow(&mut self, pool: Weak<Pool>, now: Instant) {
        let known = self.mounts.iter_mut().find(|mount| mount.pool.ptr_eq(&pool));
        match known {
            Some(mount) => {
                mount.resting = false;
                mount.active = now;
            }
            None => self.mounts.push(Followed {
                pool,
                demand: Demand::new(now),
                active: now,
                resting: false,
            }),
        }
    }
}

impl Followed {
    /// Tells when to look again; `None` if there is nothing to see before the next call.
    fn look(&mut self, now: Instant, around: &Around, requests: &mut u64) -> Option<Duration> {
        let pool = self.pool.upgrade()?;
        if self.resting {
            return self.rest(&pool, now);
        }
        let sample = pool.sample();
        let progress = self.demand.progress(sample);
        *requests += progress;
        match self.demand.see(now, sample, around.room) {
            Advice::Grow => pool.grow(),
            Advice::Keep => {}
            Advice::Shrink(by) => pool.shrink(by),
        }
        if progress > 0 {
            self.active = now;
        }
        // Of several, one sleeps and is woken in any case.
        pool.linger(around.linger && around.room && sample.workers == 1);
        let quiet = now.duration_since(self.active) >= AFTER;
        if quiet && sample.busy == 0 {
            pool.followed.store(false, Ordering::SeqCst);
            // A request that has begun before it could see that is seen here.
            let again = pool.sample();
            if again.busy == 0 && again.begun == sample.begun {
                self.resting = true;
                pool.linger(false);
                return self.rest(&pool, now);
            }
            pool.followed.store(true, Ordering::SeqCst);
        }
        Some(if quiet && !sample.waiting { SLOW_TICK } else { TICK })
    }

    fn rest(&self, pool: &Pool, now: Instant) -> Option<Duration> {
        let surplus = pool.workers().saturating_sub(1);
        if surplus == 0 {
            return None;
        }
        let rested = now.duration_since(self.active);
        if rested < PATIENCE {
            return Some(PATIENCE - rested);
        }
        pool.shrink(surplus);
        // Who owes an answer stays until it is given.
        (pool.workers() > 1).then_some(PATIENCE)
    }
}
