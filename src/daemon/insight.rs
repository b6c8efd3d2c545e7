//! status.

use std::collections::BTreeMap;

use super::core::{Caller, Core};
use super::error::Result;
use super::server::Run;
use crate::control::{answers as answer, requests};

impl Run for requests::Status {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Status> {
        core.look_after();
        let mut lost = Vec::new();
        for folder in core.store.folders()? {
            let is_lost = core
                .backings
                .get(&folder.id)
                .is_none_or(|backing| backing.is_lost());
            if is_lost && (caller.is_root() || folder.owner == caller.account.id) {
                lost.push(format!("{}:{}", folder.owner_login, folder.name));
            }
        }
        Ok(answer::Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime: core.started.elapsed().as_secs(),
            folders: core.snapshot.folders.len(),
            accounts: core.snapshot.accounts.len(),
            mounts: core.mounts.len(),
            lost,
            // How busy the others are is none of a user's business.
            requests: caller.is_root().then(|| core.shared.requests()),
            refused: caller.is_root().then(|| refusals(core)),
            takeovers: caller.is_root().then(|| core.shared.takeovers()),
            workers: caller.is_root().then(|| core.shared.workers()),
            latency_held: caller.is_root().then(|| core.shared.holds_latency()),
            nodes: caller.is_root().then(|| core.shared.nodes()),
        })
    }
}

fn refusals(core: &Core) -> BTreeMap<String, u64> {
    let refused = core.shared.refused().into_iter();
    refused.map(|(errno, count)| (errno.to_owned(), count)).collect()
}
