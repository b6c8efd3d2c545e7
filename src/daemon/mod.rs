//! The life of the daemon: store, publishing of the policy, mounts, control socket, signals.
//!
//! The only user of tokio. [`core`] holds all state behind one lock, which the handlers of commands take one after
//! the other; requests of the file system never wait for it, but the owner's `mv` in a top directory.

mod around;
mod audit;
mod check;
pub mod config;
mod core;
mod doctor;
mod door;
mod error;
mod folders;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod holders;
mod insight;
mod metrics;
mod mounter;
mod mounts;
mod people;
mod rate;
mod resolve;
mod rules;
mod server;
mod service;
mod serving;
mod set;
mod shares;
mod steward;
mod survive;
mod watchdog;
mod why;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};

pub use self::doctor::alone as doctor_alone;

use self::config::Config;
use self::core::Core;
pub use self::mounter::run as run_mounter;
use self::steward::Registrar;
use crate::backing;
use crate::store::Store;

/// What the daemon is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where its state lies.
    pub state: PathBuf,
    /// Where it listens.
    pub socket: PathBuf,
    /// Where somebody listens who mounts for it, if it does not mount itself.
    pub mounter: Option<PathBuf>,
    /// Its configuration.
    pub config: Config,
}

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The socket.
    #[error("the socket {}: {cause}", .socket.display())]
    Socket {
        /// Where.
        socket: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// Anything else.
    #[error("{0}")]
    System(#[from] std::io::Error),
    /// It has to be root.
    #[error("the daemon mounts and acts for several users: run it as root")]
    NotRoot,
}

/// Groups and mounts are looked after this often.
const GROUPS_EVERY: Duration = Duration::from_secs(30);
const MOUNTS_EVERY: Duration = Duration::from_secs(2);

/// Runs the daemon until it is told to stop: by SIGINT, or by SIGTERM, at which it leaves its mounts to the next daemon
/// where somebody keeps them for that.
///
/// # Errors
/// If it cannot start.
pub fn run(options: Options) -> Result<(), StartError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(StartError::NotRoot);
    }
    let received = service::received()?;
    if let Err(error) = backing::start_teller() {
        tracing::warn!(%error, "a daemon that is killed may not end while the kernel waits for it");
    }
    backing::return_large_memory();
    backing::clear_umask();
    let limit = usize::try_from(backing::raise_descriptor_limit()?).unwrap_or(usize::MAX);
    backing::confine(options.mounter.is_none())?;
    if let Some(mounter) = &options.mounter {
        backing::mount_through(mounter.clone());
    }
    let store = Store::open(&options.state)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(serve(options, store, limit, received))
}

async fn serve(
    options: Options, store: Store, files: usize, received: Vec<(String, OwnedFd)>,
) -> Result<(), StartError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (control, others) = received
        .into_iter()
        .partition::<Vec<_>, _>(|(name, _)| name == service::CONTROL);
    let former = survive::Former::of(others);
    let control = control.into_iter().next().map(|(_, fd)| fd);
    let listener = server::listen(&options.socket, control)
        .await
        .map_err(|cause| StartError::Socket {
            socket: options.socket.clone(),
            cause,
        })?;
    let registrar = Registrar::default();
    let core = Core::start(
        store,
        options.state.clone(),
        options.config.clone(),
        registrar.clone(),
        files,
        former,
    )?;
    let shared = Arc::clone(&core.shared);
    let core = Arc::new(Mutex::new(core));
    registrar.serve(&core)?;
    let server = tokio::spawn(server::serve(listener.listener, Arc::clone(&core)));
    let groups = tokio::spawn(repeat(GROUPS_EVERY, Arc::clone(&core), |core| {
        core.refresh_groups()
    }));
    let mounts = tokio::spawn(repeat(MOUNTS_EVERY, Arc::clone(&core), |core| core.look_after()));
    let refusals = tokio::spawn(keep_refusals(registrar, Arc::clone(&core)));
    let trim = tokio::spawn(repeat(audit::TRIM_EVERY, Arc::clone(&core), |core| {
        core.trim_audit()
    }));
    let watchdog = tokio::spawn(watchdog::serve(Arc::clone(&core), shared));
    service::ready(&options.socket)?;
    // Who has what it takes to take the mounts over is about to start the next daemon.
    let leaves = tokio::select! {
        _ = terminate.recv() => service::has_store(),
        _ = interrupt.recv() => false,
    };
    tracing::info!(mounts_stay = leaves, "stopping");
    service::stopping();
    for task in [server, groups, mounts, refusals, trim, watchdog] {
        task.abort();
    }
    let stopping = Arc::clone(&core);
    let _ = tokio::task::spawn_blocking(move || {
        let mut core = stopping.lock();
        if leaves {
            core.leave()
        } else {
            core.stop()
        }
        core.keep_refusals(true);
    })
    .await;
    Ok(())
}

/// Keeps in the audit what is refused, a while after it was.
async fn keep_refusals(registrar: Registrar, core: Arc<Mutex<Core>>) {
    loop {
        registrar.refusals.filled().await;
        let mut left = true;
        while left {
            tokio::time::sleep(audit::GATHER).await;
            let core = Arc::clone(&core);
            let kept = tokio::task::spawn_blocking(move || core.lock().keep_refusals(false));
            left = kept.await.unwrap_or(false);
        }
    }
}

async fn repeat(every: Duration, core: Arc<Mutex<Core>>, work: fn(&mut Core)) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let core = Arc::clone(&core);
        let _ = tokio::task::spawn_blocking(move || {
            let mut core = core.lock();
            let _changing = core.shared.changing_policy();
            work(&mut core);
        })
        .await;
    }
}
