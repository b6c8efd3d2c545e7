//! Tells the kernel, when the policy has changed, that what it holds may be so no more.
//!
//! Names are forgotten by whoever changed the policy, for that never waits (see [`super::kernel`]). The rest is done by
//! threads of their own, for the kernel may make such a notification wait for a request on the same inode:
//!
//! - at once, while the change waits: the pages of open files whose rights shrank, and the listings of directories
//!   ([`super::chores`]);
//! - likewise: files that are open past the daemon and whose rights shrank are cut (see [`super::cut`]);
//! - soon after, for much may be cached: the attributes of everything that the kernel knows.

use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use super::filesystem::FileSystem;

/// How long a change of policy waits for the kernel: a backing that hangs must not hang the command line.
const PATIENCE: Duration = Duration::from_secs(2);

/// The thread that cuts, and the way to it.
pub(super) struct Invalidator {
    cuts: Sender<Job>,
}

struct Job {
    mounts: Vec<Arc<FileSystem>>,
    done: Option<SyncSender<()>>,
}

impl Invalidator {
    pub(super) fn start() -> Self {
        let (cuts, work) = channel::<Job>();
        spawn("cut", move || {
            while let Ok(job) = work.recv() {
                cut(&job.mounts);
                drop(job.done);
            }
        });
        Self { cuts }
    }

    /// Queues the work for these mounts.
    pub(super) fn run(&self, mounts: Vec<Arc<FileSystem>>) {
        self.begin(&mounts, None);
    }

    /// Does the urgent work for these mounts, or warns that the kernel does not answer; the rest follows.
    pub(super) fn run_and_wait(&self, mounts: &[Arc<FileSystem>]) {
        let deadline = Instant::now() + PATIENCE;
        let (done, wait) = sync_channel(1);
        self.begin(mounts, Some(done));
        // Ends when all have let go of the other end.
        let left = deadline.saturating_duration_since(Instant::now());
        if wait.recv_timeout(left) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!(
                "the kernel has not let go of all that was taken back yet: a client or a backing hangs"
            );
        }
    }

    fn begin(&self, mounts: &[Arc<FileSystem>], done: Option<SyncSender<()>>) {
        if mounts.is_empty() {
            return;
        }
        // Without its thread, the end of the daemon is near.
        let _ = self.cuts.send(Job {
            mounts: mounts.to_vec(),
            done: done.clone(),
        });
        for mount in mounts {
            mount.policy_changed(done.clone());
        }
    }
}

/// Cuts what is open past the daemon. A mount whose requests hang holds up no other.
fn cut(mounts: &[Arc<FileSystem>]) {
    let begun = mounts.iter().filter_map(|mount| {
        let nodes = mount.begin_cut();
        (!nodes.is_empty()).then(|| (Arc::clone(mount), nodes))
    });
    let (done, wait) = channel::<()>();
    for (mount, nodes) in begun.collect::<Vec<_>>() {
        let done = done.clone();
        spawn("cut", move || {
            mount.cut(&nodes);
            drop(done);
        });
    }
    drop(done);
    // Ends when all have ended.
    let _ = wait.recv_timeout(PATIENCE);
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    if let Err(error) = std::thread::Builder::new().name(name.into()).spawn(work) {
        tracing::error!(%error, name, "cannot start a thread that invalidates the kernel's caches");
    }
}
