//! The watchdog: the service manager is told that the daemon is alive as long as it is, and starts another one if not
//! (`sd_watchdog_enabled(3)`).
//!
//! Alive is who answers commands, and requests in every mount. Who does not, because a disk or a server under him does
//! not answer, is alive as well: another daemon would fare no better.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::core::Core;
use super::service;
use crate::backing;
use crate::vfs::Shared;
use crate::vfs::ids::MountId;

/// Longer than any call takes that gets somewhere.
const STUCK: Duration = Duration::from_millis(100);

/// Pings as often as is asked for; never if it is not.
pub(super) async fn serve(core: Arc<Mutex<Core>>, shared: Arc<Shared>) {
    let Some(period) = service::watchdog() else {
        return;
    };
    // Half the time, as systemd advises; the question may take half of that.
    let mut ticks = tokio::time::interval(period / 2);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut waiting = Vec::new();
    loop {
        ticks.tick().await;
        let (core, shared) = (Arc::clone(&core), Arc::clone(&shared));
        let before = std::mem::take(&mut waiting);
        let looked = tokio::task::spawn_blocking(move || {
            let waiting = shared.waiting();
            ping(&core, nothing_moves(&before, &waiting), period / 4);
            waiting
        });
        waiting = looked.await.unwrap_or_default();
    }
}

fn ping(core: &Mutex<Core>, nothing_moves: bool, patience: Duration) {
    let commands = core.try_lock_for(patience).is_some();
    if (nothing_moves || !commands) && !backing::waits_in_a_file_system(STUCK) {
        tracing::error!(
            commands,
            requests = !nothing_moves,
            "the daemon does not answer, by its own fault"
        );
        return;
    }
    if let Err(error) = service::alive() {
        tracing::warn!(%error, "cannot tell the service manager that the daemon is alive");
    }
}

/// Tells whether there is a mount in which requests wait, now as before, and none was begun in between.
fn nothing_moves(before: &[(MountId, u64)], now: &[(MountId, u64)]) -> bool {
    now.iter().any(|mount| before.contains(mount))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_in_which_requests_are_begun_moves_and_so_does_one_where_none_waits() {
        let (one, other) = (MountId(1), MountId(2));
        assert!(nothing_moves(&[(other, 7), (one, 5)], &[(one, 5)]));
        assert!(!nothing_moves(&[(one, 5)], &[(one, 6), (other, 5)]));
        assert!(!nothing_moves(&[(one, 5)], &[]));
        assert!(!nothing_moves(&[], &[(one, 5)]));
    }
}
