//! check: the store against the disk.
//!
//! A check runs in a thread of its own and takes the core's lock for moments only; who asked for it asks on for what it
//! found. What is found waits in a [`queue`] of bounded length, and nobody who asks on ends the check.

mod files;
mod queue;
mod trees;
mod walk;
mod work;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use self::queue::Queue;
use self::work::Work;
use super::core::{Caller, Core};
use super::error::{Refused, Result};
use super::server::{Remains, Run};
use crate::control::answers::Checking;
use crate::control::requests;

/// A check that runs, or has ended and was not asked for its last findings yet.
pub(super) struct Job {
    number: u64,
    queue: Arc<Queue>,
}

/// How long an answer waits for something to tell.
const PATIENCE: Duration = Duration::from_secs(1);

impl Run for requests::Check {
    fn run(self, _core: &mut Core, _caller: &Caller) -> Result<Checking> {
        Ok(Checking::default())
    }

    fn remains(&self, core: &mut Core, caller: &Caller) -> Result<Option<Remains<Checking>>> {
        if !caller.is_root() {
            return Err(Refused::denied("the whole store is root's affair"));
        }
        let (number, queue) = match self.job {
            None => core.begin_check(self.repair)?,
            Some(number) => core.asked_on(number)?,
        };
        Ok(Some(Box::new(move |core, checking| {
            *checking = Checking {
                job: number,
                ..queue.take(PATIENCE)
            };
            if checking.ended {
                core.lock().check.take_if(|job| job.number == number);
            }
        })))
    }
}

impl Core {
    fn begin_check(&mut self, repair: bool) -> Result<(u64, Arc<Queue>)> {
        if self.check.as_ref().is_some_and(|job| job.queue.is_wanted()) {
            return Err(Refused::conflict("a check runs already: wait for its end"));
        }
        if let Some(left) = self.check.take() {
            left.queue.abandon();
        }
        let failed = |error: io::Error| Refused::failed(format!("a check cannot be begun: {error}"));
        let queue = Arc::new(Queue::default());
        let work = Work::new(self, Arc::clone(&queue), repair);
        std::thread::Builder::new()
            .name("check".into())
            .spawn(move || work.run())
            .map_err(failed)?;
        // Another one than the last, also than that of a daemon before.
        let number = RandomState::new().hash_one(0) >> 12;
        self.check = Some(Job {
            number,
            queue: Arc::clone(&queue),
        });
        Ok((number, queue))
    }

    fn asked_on(&self, number: u64) -> Result<(u64, Arc<Queue>)> {
        let job = self.check.as_ref().filter(|job| job.number == number);
        job.map(|job| (number, Arc::clone(&job.queue))).ok_or_else(|| {
            Refused::not_found("that check has ended, for nobody asked on for a while: begin anew")
        })
    }
}
