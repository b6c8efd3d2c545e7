//! Tells the kernel, when the policy has changed, that what it holds may be so no more.
//!
//! Names are forgotten by whoever changed the policy, for that never waits (see [`super::kernel`]). The rest is done
//! here, by threads of their own, for the kernel may make such a notification wait for a request on the same inode:
//!
//! - at once, while the change waits: the pages of open files whose rights shrank, and the listings of directories;
//! - likewise: files that are open past the daemon and whose rights shrank are cut (see [`super::cut`]);
//! - soon after, for much may be cached: the attributes of everything that the kernel knows.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use super::filesystem::FileSystem;
use super::ids::Ino;

/// How long a change of policy waits for the kernel: a backing that hangs must not hang the command line.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long attributes wait for further changes, and for what was answered by the former policy to arrive.
const PAUSE: Duration = Duration::from_millis(50);

/// The threads and the way to them.
pub(super) struct Invalidator {
    jobs: Sender<Job>,
    cuts: Sender<Job>,
    rest: Sender<Rest>,
}

/// What follows in its own time.
enum Rest {
    /// The attributes of everything that the kernels of these mounts know.
    Attributes(Vec<Arc<FileSystem>>),
    /// The pages of one inode.
    Pages(Arc<FileSystem>, Ino),
    /// A name of a directory that is gone.
    Name(Arc<FileSystem>, Ino, Box<[u8]>),
}

struct Job {
    mounts: Vec<Arc<FileSystem>>,
    done: Option<SyncSender<()>>,
}

impl Invalidator {
    pub(super) fn start() -> Self {
        let (jobs, work) = channel::<Job>();
        spawn("invalidate", move || {
            while let Ok(job) = work.recv() {
                for mount in &job.mounts {
                    mount.drop_revoked_pages();
                    mount.drop_listings();
                }
                if let Some(done) = job.done {
                    // The waiter may have lost its patience.
                    let _ = done.send(());
                }
            }
        });
        let (cuts, work) = channel::<Job>();
        spawn("cut", move || {
            while let Ok(job) = work.recv() {
                cut(&job.mounts);
                if let Some(done) = job.done {
                    let _ = done.send(());
                }
            }
        });
        let (rest, work) = channel();
        spawn("attributes", move || drop_rest(&work));
        Self { jobs, cuts, rest }
    }

    /// Queues the work for these mounts.
    pub(super) fn run(&self, mounts: Vec<Arc<FileSystem>>) {
        if mounts.is_empty() {
            return;
        }
        // Without its thread, the end of the daemon is near.
        let _ = self.rest.send(Rest::Attributes(mounts.clone()));
        let again = mounts.clone();
        let _ = self.cuts.send(Job {
            mounts: again,
            done: None,
        });
        let _ = self.jobs.send(Job { mounts, done: None });
    }

    /// Queues the pages of an inode of another mount, which has them from before it was changed.
    pub(super) fn drop_pages(&self, mount: Arc<FileSystem>, number: Ino) {
        let _ = self.rest.send(Rest::Pages(mount, number));
    }

    /// Queues a name of another mount's that leads nowhere from now on, so that its kernel lets go of the inode.
    pub(super) fn forget_name(&self, mount: Arc<FileSystem>, directory: Ino, name: &[u8]) {
        let _ = self.rest.send(Rest::Name(mount, directory, name.into()));
    }

    /// Does the urgent work for these mounts, or warns that the kernel does not answer; the rest follows.
    pub(super) fn run_and_wait(&self, mounts: &[Arc<FileSystem>]) {
        if mounts.is_empty() {
            return;
        }
        let deadline = Instant::now() + PATIENCE;
        let waits = [&self.cuts, &self.jobs].map(|work| {
            let (done, wait) = sync_channel(1);
            let _ = work.send(Job {
                mounts: mounts.to_vec(),
                done: Some(done),
            });
            wait
        });
        for wait in waits {
            let left = deadline.saturating_duration_since(Instant::now());
            if wait.recv_timeout(left).is_err() {
                tracing::warn!(
                    "the kernel has not let go of all that was taken back yet: a backing may hang"
                );
            }
        }
        let _ = self.rest.send(Rest::Attributes(mounts.to_vec()));
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

fn drop_rest(work: &Receiver<Rest>) {
    while let Ok(first) = work.recv() {
        if matches!(first, Rest::Attributes(_)) {
            std::thread::sleep(PAUSE);
        }
        let mut mounts = Vec::new();
        for rest in std::iter::once(first).chain(work.try_iter()) {
            match rest {
                Rest::Attributes(more) => mounts.extend(more),
                Rest::Pages(mount, number) => mount.drop_pages_of(number),
                Rest::Name(mount, directory, name) => mount.forget_name_in(directory, &name),
            }
        }
        mounts.sort_by_key(|mount| mount.id);
        mounts.dedup_by_key(|mount| mount.id);
        for mount in mounts {
            mount.drop_all_attributes();
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    if let Err(error) = std::thread::Builder::new().name(name.into()).spawn(work) {
        tracing::error!(%error, name, "cannot start a thread that invalidates the kernel's caches");
    }
}
