//! status, doctor, check.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;

use super::core::{Caller, Core};
use super::error::{Refused, Result};
use super::resolve::Found;
use super::server::Run;
use crate::backing;
use crate::control::wire::quoted;
use crate::control::{answers as answer, requests};
use crate::vfs::latency;

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

impl Run for requests::Doctor {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<Vec<answer::Finding>> {
        core.look_after();
        let mut findings = Vec::new();
        let kernel = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
        let kernel = kernel.unwrap_or_default();
        let version = kernel
            .split('.')
            .take(2)
            .filter_map(|part| part.parse::<u32>().ok())
            .collect::<Vec<_>>();
        findings.push(finding(
            version >= vec![5, 12],
            format!("kernel {kernel}"),
            "lendfs needs Linux 5.12 or later, for fsmount and openat2",
        ));
        findings.push(finding(
            std::fs::File::options()
                .read(true)
                .write(true)
                .open("/dev/fuse")
                .is_ok(),
            "/dev/fuse can be opened".into(),
            "load the module: modprobe fuse",
        ));
        let limit = backing::raise_descriptor_limit().unwrap_or(0);
        findings.push(finding(
            limit >= 65_536,
            format!("at most {limit} open files"),
            "raise the limit: LimitNOFILE= in the unit, or ulimit -n",
        ));
        findings.extend(wakefulness());
        let state = backing::open_root(&core.state);
        let handles = state
            .and_then(|state| backing::handle(&state))
            .is_ok_and(|handle| handle.is_some());
        findings.push(finding(
            handles,
            "the file system of the state directory has file handles".into(),
            "put the state directory on ext4, xfs, btrfs or tmpfs: on others lines cannot follow what was renamed",
        ));
        if caller.is_root() {
            core.find_lost(&mut findings)?;
            core.find_unwatched(&mut findings)?;
        }
        Ok(findings)
    }
}

impl Run for requests::Check {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<Vec<answer::Finding>> {
        if !caller.is_root() {
            return Err(Refused::denied("the whole store is root's affair"));
        }
        let mut findings = Vec::new();
        match core.store.integrity() {
            Ok(()) => findings.push(finding(true, "the database is whole".into(), "")),
            Err(error) => findings.push(finding(
                false,
                format!("the database is damaged: {error}"),
                "stop the daemon and restore lendfs.db from a backup",
            )),
        }
        core.find_lost(&mut findings)?;
        for folder in core.store.folders()? {
            let name = format!("{}:{}", folder.owner_login, folder.name);
            let policy = core.policy(&folder)?;
            for place in policy.places.iter().filter(|place| !place.path.is_root()) {
                let path = quoted(&place.path.to_bytes());
                let found = Found {
                    folder: folder.clone(),
                    path: place.path.clone(),
                    typed: format!("{name}/{path}"),
                };
                let there = core.target(&found).is_ok_and(|target| target.is_some())
                    && place.target == crate::policy::Target::There;
                if !there {
                    findings.push(finding(
                        false,
                        format!("{}: what its lines were made for is gone", found.typed),
                        "write the line again to make it hold for what is there now, or take it away",
                    ));
                }
                findings.extend(core.other_names(&found).into_iter().map(|line| {
                    finding(
                        false,
                        format!("{}: {line}", found.typed),
                        "remove the other names, or give them the same lines",
                    )
                }));
            }
        }
        for (id, owner, name) in core.store.trash()? {
            let there = core.state.join("trash").join(id.to_string()).exists();
            findings.push(finding(
                there,
                format!("in the trash: {owner}:{name}"),
                "its tree is missing",
            ));
        }
        Ok(findings)
    }
}

impl Core {
    /// Tells of each file system that folders lie on whether changes behind the daemon's back are noticed there.
    fn find_unwatched(&self, findings: &mut Vec<answer::Finding>) -> Result<()> {
        for report in self.shared.watch_reports() {
            let Some(folder) = self.store.folder(report.folder)? else {
                continue;
            };
            let at = quoted(self.backing_path(&folder).as_os_str().as_bytes());
            findings.push(match report.refused {
                None => finding(
                    true,
                    format!("what others change on the file system of {at} is noticed at once"),
                    "",
                ),
                Some(why) => finding(
                    false,
                    format!("what others change on the file system of {at} is noticed a second later: {why}"),
                    "for speed, keep folders on ext4, xfs, btrfs (not in a subvolume) or tmpfs, and the daemon with \
                     CAP_SYS_ADMIN in the first user namespace of the machine",
                ),
            });
        }
        Ok(())
    }

    fn find_lost(&self, findings: &mut Vec<answer::Finding>) -> Result<()> {
        for folder in self.store.folders()? {
            if self
                .backings
                .get(&folder.id)
                .is_none_or(|backing| backing.is_lost())
            {
                let path = self.backing_path(&folder);
                findings.push(finding(
                    false,
                    format!(
                        "{}:{}: its directory {} is not there",
                        folder.owner_login,
                        folder.name,
                        path.display()
                    ),
                    "bring the directory back, or delete the folder with --force",
                ));
            }
        }
        Ok(())
    }
}

fn refusals(core: &Core) -> BTreeMap<String, u64> {
    let refused = core.shared.refused().into_iter();
    refused.map(|(errno, count)| (errno.to_owned(), count)).collect()
}

/// What keeps processors awake between requests.
fn wakefulness() -> Vec<answer::Finding> {
    let mut findings = vec![finding(
        std::fs::File::options().write(true).open(latency::DEVICE).is_ok(),
        format!("{} can be held", latency::DEVICE),
        "let the daemon have the device (in a container: --device): small requests take twice as long without it",
    )];
    const POLLING: &str = "/sys/module/haltpoll/parameters/guest_halt_poll_ns";
    // Only guests that poll before they halt have it.
    if let Ok(polling) = std::fs::read_to_string(POLLING) {
        let polling = polling.trim();
        findings.push(finding(
            polling != "0",
            format!("this virtual machine polls {polling} ns before it halts"),
            "single requests too are answered faster after: echo 200000 > /sys/module/haltpoll/parameters/guest_halt_poll_ns",
        ));
    }
    findings
}

fn finding(ok: bool, what: String, advice: &str) -> answer::Finding {
    answer::Finding {
        ok,
        what,
        advice: (!ok).then(|| advice.into()),
    }
}
