//! Tells the kernel that what it holds of open files may be read or written no more.
//!
//! Names and attributes are not kept by the kernel, but the pages of open files are, and mappings of them. When
//! the policy changes, the pages of files whose rights shrank are dropped, so that each later access asks.
//!
//! The kernel may make a notification wait for a request on the same inode: a thread of its own sends them, and
//! no request waits for it.

use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use super::filesystem::FileSystem;

/// How long a change of policy waits for the kernel: a backing that hangs must not hang the command line.
const PATIENCE: Duration = Duration::from_secs(2);

/// The thread and the way to it.
pub(super) struct Invalidator {
    jobs: Sender<Job>,
}

struct Job {
    mounts: Vec<Arc<FileSystem>>,
    done: Option<SyncSender<()>>,
}

impl Invalidator {
    pub(super) fn start() -> Self {
        let (jobs, work) = channel::<Job>();
        let spawned = std::thread::Builder::new()
            .name("invalidate".into())
            .spawn(move || {
                while let Ok(job) = work.recv() {
                    for mount in &job.mounts {
                        mount.drop_revoked_pages();
                    }
                    if let Some(done) = job.done {
                        // The waiter may have lost its patience.
                        let _ = done.send(());
                    }
                }
            });
        if let Err(error) = spawned {
            tracing::error!(%error, "cannot start the thread that invalidates the kernel's caches");
        }
        Self { jobs }
    }

    /// Queues the work for these mounts.
    pub(super) fn run(&self, mounts: Vec<Arc<FileSystem>>) {
        // Without its thread, nothing is cached that could be dropped.
        let _ = self.jobs.send(Job { mounts, done: None });
    }

    /// Does the work for these mounts, or warns that the kernel does not answer.
    pub(super) fn run_and_wait(&self, mounts: &[Arc<FileSystem>]) {
        if mounts.is_empty() {
            return;
        }
        let (done, wait) = sync_channel(1);
        let job = Job {
            mounts: mounts.to_vec(),
            done: Some(done),
        };
        if self.jobs.send(job).is_err() || wait.recv_timeout(PATIENCE).is_err() {
            tracing::warn!("the kernel has not dropped all pages of revoked files yet: a backing may hang");
        }
    }
}
