//! The daemon's own way into its mount, by which files that are open past the daemon are cut.
//!
//! It keeps the mount alive for the kernel. So it ends with the mount that users see, or, where that was taken down
//! lazily, with the last file that is open past the daemon. A file is open so only as long as it could be cut.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use parking_lot::Mutex;

/// See the module's doc.
#[derive(Debug, Default)]
pub(super) struct Reach {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    top: Option<Arc<OwnedFd>>,
    holders: usize,
    ended: bool,
}

/// Keeps the way open, for a file that is open past the daemon.
#[derive(Debug)]
pub(super) struct Held(Arc<Reach>);

impl Reach {
    /// Opens the way: `top` is the top directory of the mount, opened through it.
    pub(super) fn open(&self, top: OwnedFd) {
        self.state.lock().top = Some(Arc::new(top));
    }

    /// Keeps the way open; `None` if there is none, or none for long.
    pub(super) fn hold(self: &Arc<Self>) -> Option<Held> {
        let mut state = self.state.lock();
        if state.ended || state.top.is_none() {
            return None;
        }
        state.holders += 1;
        Some(Held(Arc::clone(self)))
    }

    /// The top directory.
    pub(super) fn top(&self) -> Option<Arc<OwnedFd>> {
        self.state.lock().top.clone()
    }

    /// Ends the way as soon as nobody holds it: the mount was taken down.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        let top = state.take_unless_held();
        drop(state);
        // The last close of a mount's file ends the mount.
        drop(top);
    }
}

impl State {
    fn take_unless_held(&mut self) -> Option<Arc<OwnedFd>> {
        self.top.take_if(|_| self.ended && self.holders == 0)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.holders -= 1;
        if let Some(top) = state.take_unless_held() {
            drop(state);
            // To end the mount waits for the requests under way, of which this may be one.
            let _: std::io::Result<_> = std::thread::Builder::new().spawn(move || drop(top));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Arc<Reach> {
        let reach = Arc::new(Reach::default());
        assert!(reach.hold().is_none(), "there is no way yet");
        reach.open(std::fs::File::open("/dev/null").unwrap().into());
        reach
    }

    #[test]
    fn the_way_ends_with_the_mount() {
        let reach = open();
        drop(reach.hold().unwrap());
        assert!(reach.top().is_some());
        reach.end();
        assert!(reach.top().is_none() && reach.hold().is_none());
    }

    #[test]
    fn what_is_open_past_the_daemon_keeps_the_way_and_lets_nothing_else_in() {
        let reach = open();
        let (one, other) = (reach.hold().unwrap(), reach.hold().unwrap());
        reach.end();
        assert!(reach.hold().is_none());
        drop(one);
        assert!(reach.top().is_some());
        drop(other);
        assert!(reach.top().is_none());
    }
}
