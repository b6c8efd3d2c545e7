//! Who reaches natively, past all rules, what is lent.

use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use super::{Look, Looked, mountinfo};
use crate::backing::{self, Lender, users};
use crate::control::answers::{Finding, Grade};
use crate::control::wire::quoted;
use crate::store::AccountRow;

const ABOUT: &str = "privacy";
/// Of more accounts than these it is not asked what they reach: NSS may ask a network for the groups of each.
const ASKED: usize = 200;
/// So many are told by name.
const NAMED: usize = 8;

/// Of the folders that are looked at, and of the state directory for root.
pub(super) fn findings(look: &Look) -> Vec<Finding> {
    let mut findings = if look.root {
        of_state(&look.state)
    } else {
        Vec::new()
    };
    let others = Others::of(&look.accounts);
    let table = mountinfo::read();
    let mut private = 0_usize;
    for folder in look.folders.iter().filter(|folder| !folder.lost) {
        let reached = reached(folder, &others, &table);
        private += usize::from(reached.is_empty());
        findings.extend(reached);
    }
    if private > 0 {
        let what = format!("{private} folders are entered natively by nobody but root and who lent them");
        findings.push(Finding::ok(ABOUT, what));
    }
    findings
}

/// Whether others than root may enter the state directory.
pub(super) fn of_state(state: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let shown = quoted(state.as_os_str().as_bytes());
    let closed = |meta: &Metadata| meta.uid() == 0 && meta.mode() & 0o077 == 0;
    match std::fs::metadata(state) {
        Ok(meta) => findings.push(Finding::that(
            closed(&meta),
            Grade::Error,
            ABOUT,
            if closed(&meta) {
                format!("nobody but root may enter the state directory {shown}")
            } else {
                format!(
                    "the state directory {shown} belongs to uid {} and has mode {:04o}: others than root may enter it",
                    meta.uid(),
                    meta.mode() & 0o7777
                )
            },
            "chown root and chmod 700 it: else all files of managed folders are reached past all rules",
        )),
        Err(error) => findings.push(Finding::new(
            Grade::Error,
            ABOUT,
            format!("the state directory {shown} cannot be looked at: {error}"),
            "bring it back",
        )),
    }
    findings
}

/// Users who are not root: each account's, and one who has no rights at all.
struct Others {
    stranger: Arc<Lender>,
    accounts: Vec<(String, Arc<Lender>)>,
}

impl Others {
    fn of(accounts: &[AccountRow]) -> Self {
        const NOBODY: u32 = 65_534;
        let accounts = accounts.iter().filter(|account| account.uid != 0).take(ASKED);
        let accounts = accounts.filter_map(|account| {
            let user = users::OsUser {
                name: account.login.clone(),
                uid: account.uid,
                gid: account.gid,
            };
            Some((account.login.clone(), Arc::new(users::lender(&user).ok()?)))
        });
        Self {
            stranger: Arc::new(Lender {
                uid: NOBODY,
                gid: NOBODY,
                groups: Vec::new(),
            }),
            accounts: accounts.collect(),
        }
    }

    /// Who of them can enter a directory by a path; `except` some.
    fn who_reach(&self, path: &Path, except: &[&str]) -> Option<String> {
        let reaches = |user| backing::reaches(user, path).unwrap_or(false);
        if reaches(&self.stranger) {
            return Some("everybody".into());
        }
        let reaching = self
            .accounts
            .iter()
            .filter(|(login, user)| !except.contains(&&**login) && reaches(user));
        let names: Vec<_> = reaching.map(|(login, _)| &**login).collect();
        let more = names.len().saturating_sub(NAMED);
        let named = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        match (names.len(), more) {
            (0, _) => None,
            (_, 0) => Some(named),
            _ => Some(format!("{named} and {more} more")),
        }
    }
}

fn reached(folder: &Looked, others: &Others, table: &[mountinfo::MountLine]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let adopted = folder.row.adopted.is_some();
    // Who lent a directory reaches it, and that is known.
    let except = [folder.row.lender.as_deref().unwrap_or_default()];
    let told = |path: &Path, who: &str| {
        let shown = quoted(path.as_os_str().as_bytes());
        let what = format!(
            "{}: {who} may enter {shown} natively, past all rules",
            folder.name()
        );
        if adopted {
            Finding::new(
                Grade::Warning,
                ABOUT,
                what,
                "'chmod 700' on the directory keeps all but its owner out",
            )
        } else {
            Finding::new(
                Grade::Error,
                ABOUT,
                what,
                "unmount it there, or close the directory above to all but root",
            )
        }
    };
    if let Some(who) = others.who_reach(&folder.path, &except) {
        findings.push(told(&folder.path, &who));
    }
    let mount = backing::open_root(&folder.path)
        .and_then(backing::stat)
        .map(|stat| stat.mount);
    for other in mount
        .map(|mount| mountinfo::elsewhere(table, mount, &folder.path))
        .unwrap_or_default()
    {
        if let Some(who) = others.who_reach(&other, &except) {
            findings.push(told(&other, &who));
        }
    }
    findings
}
