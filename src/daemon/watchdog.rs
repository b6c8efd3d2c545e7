//! The watchdog: the service manager is told that the daemon is alive as long as it is, and starts another one if not
//! (`sd_watchdog_enabled(3)`).

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::core::Core;
use super::service;

/// Pings as often as is asked for; never if it is not.
pub(super) async fn serve(core: Arc<Mutex<Core>>) {
    let Some(period) = service::watchdog() else {
        return;
    };
    // Half the time, as systemd advises; the question may take half of that.
    let mut ticks = tokio::time::interval(period / 2);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let core = Arc::clone(&core);
        let _ = tokio::task::spawn_blocking(move || ping(&core, period / 4)).await;
    }
}

fn ping(core: &Mutex<Core>, patience: Duration) {
    if core.try_lock_for(patience).is_none() {
        tracing::warn!("a command has kept all others waiting for {patience:?}");
        return;
    }
    if let Err(error) = service::alive() {
        tracing::warn!(%error, "cannot tell the service manager that the daemon is alive");
    }
}
