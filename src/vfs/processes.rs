//! Who asks: the process that a request's thread belongs to. Asked for where a verdict depends on it, never on the
//! common path.

use std::collections::HashSet;

use parking_lot::Mutex;

use super::ids::MountId;
use crate::backing::{self, ThreadHandle};
use crate::policy::Process;

/// A process, in whatever mount.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Running {
    id: u32,
    started: u64,
}

impl Running {
    /// As it is known in a mount.
    pub(super) fn within(self, mount: MountId) -> Process {
        Process {
            id: self.id,
            started: self.started,
            mount: mount.0,
        }
    }
}

/// Threads that asked lately, with their processes: to look whether one of them still runs takes a fraction of what
/// it takes to read of a process.
#[derive(Debug, Default)]
pub(super) struct Processes {
    known: Mutex<Vec<Known>>,
}

#[derive(Debug)]
struct Known {
    thread: u32,
    handle: ThreadHandle,
    process: Running,
}

/// Each takes a descriptor.
const MOST: usize = 32;

impl Processes {
    /// The process of a thread; `None` if that is not visible here, or has ended.
    pub(super) fn of(&self, thread: u32) -> Option<Running> {
        if thread == 0 {
            return None;
        }
        let mut known = self.known.lock();
        if let Some(at) = known.iter().position(|known| known.thread == thread) {
            if !known[at].handle.has_ended() {
                let process = known[at].process;
                // Who asked last is found first.
                known[..=at].rotate_right(1);
                return Some(process);
            }
            known.remove(at);
        }
        drop(known);
        let handle = ThreadHandle::open(thread).ok();
        let (id, started) = backing::identity_of(thread).ok()?;
        let process = Running { id, started };
        // If it runs still, it was this one that was read of.
        if let Some(handle) = handle.filter(|handle| !handle.has_ended()) {
            let mut known = self.known.lock();
            known.truncate(MOST - 1);
            let newest = Known {
                thread,
                handle,
                process,
            };
            known.insert(0, newest);
        }
        Some(process)
    }
}

/// Those of some processes that have ended.
pub(super) fn ended(mut processes: HashSet<Process>) -> HashSet<Process> {
    let runs =
        |process: &Process| backing::started(process.id).is_ok_and(|started| started == process.started);
    processes.retain(|process| !runs(process));
    processes
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use nix::unistd::gettid;

    use super::*;

    #[test]
    fn threads_of_one_process_are_one_and_another_process_is_another() {
        let processes = Processes::default();
        let here = |processes: &Processes| processes.of(gettid().as_raw().cast_unsigned()).unwrap();
        let process = here(&processes);
        assert_eq!(process.id, std::process::id());
        assert_eq!(here(&processes), process);
        let other = std::thread::scope(|scope| scope.spawn(|| here(&processes)).join().unwrap());
        assert_eq!(other, process);
        let known = |running: Running| running.within(MountId(1));
        assert_eq!(ended(HashSet::from([known(process)])), HashSet::new());
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let theirs = processes.of(child.id()).unwrap();
        assert_ne!(theirs, process);
        assert_eq!(processes.of(child.id()), Some(theirs));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(processes.of(child.id()), None);
        let both = HashSet::from([known(theirs), known(process)]);
        assert_eq!(ended(both), HashSet::from([known(theirs)]));
        assert_eq!(processes.of(0), None);
    }

    #[test]
    fn no_more_threads_are_kept_than_there_is_room_for() {
        let processes = Processes::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * MOST {
                let ask = || processes.of(gettid().as_raw().cast_unsigned());
                assert!(scope.spawn(ask).join().unwrap().is_some());
            }
        });
        assert!(processes.known.lock().len() <= MOST);
    }
}
