//! Threads that sleep in a `read(2)` that others have written for them: what they read from is changed under them, and
//! they are woken to notice.

use std::any::Any;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::gettid;

use super::sys;

/// The number of a descriptor that another owns and reads from, behind which another open file can be put.
pub struct Slot {
    number: RawFd,
    /// As long as this lives, the number is open and the owner's.
    _keeper: Box<dyn Any + Send + Sync>,
}

impl Slot {
    /// A descriptor that stays open as long as `keeper` lives.
    pub fn new(fd: BorrowedFd<'_>, keeper: impl Send + Sync + 'static) -> Self {
        Self {
            number: fd.as_raw_fd(),
            _keeper: Box::new(keeper),
        }
    }

    /// Puts another open file behind the number. A thread that is in a system call on it finishes that with the one
    /// before, unless it is woken.
    ///
    /// # Errors
    /// Those of `dup3(2)`.
    pub fn put(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        sys::thread::replace(self.number, file)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Slot").field(&self.number).finish()
    }
}

/// A thread of this process, by the kernel's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ThreadId(i32);

impl ThreadId {
    /// The calling thread.
    pub fn current() -> Self {
        Self(gettid().as_raw())
    }

    /// Lets the system call that the thread sleeps in begin anew. Needs [`prepare_waking`].
    ///
    /// # Errors
    /// ESRCH if the thread is gone.
    pub fn wake(self) -> io::Result<()> {
        sys::thread::wake(self.0)
    }
}

/// Makes the signal harmless that [`ThreadId::wake`] sends.
///
/// # Errors
/// Those of `sigaction(2)`.
pub fn prepare_waking() -> io::Result<()> {
    sys::thread::prepare_waking()
}

/// Tells whether a `read(2)` would not block now.
pub fn is_readable(fd: &impl AsFd) -> bool {
    let mut asked = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    poll(&mut asked, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::OwnedFd;
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_thread_that_sleeps_in_a_read_notices_that_there_is_nothing_to_read_from_any_more() {
        prepare_waking().unwrap();
        let (reader, mut writer) = io::pipe().unwrap();
        let reader = Arc::new(File::from(OwnedFd::from(reader)));
        let slot = Slot::new(reader.as_fd(), Arc::clone(&reader));
        assert!(!is_readable(&reader));
        let (told, tell) = channel();
        let sleeper = std::thread::spawn(move || {
            let mut byte = [0];
            (&*reader).read_exact(&mut byte).unwrap();
            told.send(ThreadId::current()).unwrap();
            (&*reader).read(&mut byte).map_err(|error| error.raw_os_error())
        });
        writer.write_all(b"x").unwrap();
        let thread = tell.recv().unwrap();
        let (ended, _) = io::pipe().unwrap();
        slot.put(ended.as_fd()).unwrap();
        thread.wake().unwrap();
        assert_eq!(sleeper.join().unwrap(), Ok(0));
    }
}
