//! why: what was refused to the caller's processes, in words.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use nix::errno::Errno;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use super::core::{Caller, Core};
use super::error::{Refused, Result};
use super::server::Run;
use crate::control::wire::quoted;
use crate::control::{answers as answer, requests};
use crate::policy::{AccountId, AccountKind, Cause, Decided, Level, Right};
use crate::store::FolderRow;
use crate::vfs::Shared;
use crate::vfs::refusals::{Held, Noted, Why};

impl Run for requests::Why {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Why> {
        let after = self.after.unwrap_or(0);
        if self.after.is_some_and(|after| !core.shared.knows_refusal(after)) {
            return Err(Refused::conflict(
                "the daemon was started anew, and what it had refused before is forgotten: ask again",
            ));
        }
        // Read first: what comes meanwhile is told twice rather than never.
        let last = core.shared.last_refusal();
        let noted = core.shared.refusals_after(caller.account.id, after);
        Ok(answer::Why {
            last: noted.last().map_or(last, |noted| noted.number.max(last)),
            refusals: noted
                .iter()
                .map(|noted| core.in_words(caller, noted))
                .collect::<Result<_>>()?,
        })
    }
}

/// The longest wait for news, well below the client's patience.
pub(super) const LONGEST: Duration = Duration::from_secs(30);
/// What comes together is told together.
pub(super) const GATHER: Duration = Duration::from_millis(50);

/// One who waits for something to be refused.
pub(super) struct Waiting {
    shared: Arc<Shared>,
    refused: Arc<Notify>,
    account: AccountId,
    after: u64,
}

impl Waiting {
    /// Who asks, if he is willing to wait.
    pub(super) fn of(command: &requests::Why, core: &Core, caller: &Caller) -> Option<Self> {
        let after = command.after.filter(|_| command.wait)?;
        Some(Self {
            shared: Arc::clone(&core.shared),
            refused: Arc::clone(&core.registrar.refused),
            account: caller.account.id,
            after,
        })
    }

    /// Waits until something is refused, but not for ever: a client that is gone would not be noticed.
    pub(super) async fn end(self) {
        let deadline = Instant::now() + LONGEST;
        loop {
            let woken = self.refused.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            let news = !self.shared.refusals_after(self.account, self.after).is_empty();
            if news || !self.shared.knows_refusal(self.after) {
                return;
            }
            if timeout_at(deadline, woken).await.is_err() {
                return;
            }
            sleep(GATHER).await;
        }
    }
}

impl Core {
    fn in_words(&self, caller: &Caller, noted: &Noted) -> Result<answer::Refusal> {
        let refused = &noted.refused;
        let folder = refused
            .folder
            .map(|folder| self.store.folder(folder))
            .transpose()?;
        let folder = folder.flatten();
        let since = refused.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let held = match &refused.why {
            Why::Rule { held, .. } => held.as_ref(),
            Why::Said { .. } => None,
        };
        let by = held.and_then(|held| held.by.as_ref());
        let (reason, help) = match &refused.why {
            Why::Said { what, help } => (what.clone(), help.clone()),
            Why::Rule { cause, .. } => (
                reason(*cause, held),
                self.help(caller, *cause, held, folder.as_ref()),
            ),
        };
        Ok(answer::Refusal {
            at: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            times: noted.times,
            program: quoted(&refused.program),
            pid: (refused.pid != 0).then_some(refused.pid),
            call: refused.call.into(),
            path: quoted(&refused.path),
            to: refused.to.as_deref().map(quoted),
            errno: (refused.errno != 0).then(|| format!("{:?}", Errno::from_raw(refused.errno))),
            level: by.map(|(standing, _)| standing.to_string()),
            decided_by: by.map(|(_, decided)| self.decided_by(decided)).transpose()?,
            reason,
            help,
        })
    }

    /// What would help.
    fn help(
        &self, caller: &Caller, cause: Cause, held: Option<&Held>, folder: Option<&FolderRow>,
    ) -> Option<String> {
        if let Some((_, Decided::Ceiling(level))) = held.and_then(|held| held.by.as_ref()) {
            let account = self.snapshot.accounts.get(&caller.account.id);
            let viewer = account.is_some_and(|account| account.kind == AccountKind::Viewer);
            return Some(if viewer && *level == Level::View {
                "the account is a viewer, which never has more than view: ask the administrator".into()
            } else {
                format!("this mount gives at most {level}: use another, without --ceiling")
            });
        }
        let owner = folder.map_or("the owner", |folder| &folder.owner_login);
        match cause {
            Cause::Missing { wants, .. } => {
                let place = held.map_or_else(|| "it".into(), |held| quoted(&held.place));
                Some(format!("ask {owner} for {wants} on {place}"))
            }
            Cause::Stays(_) => {
                let name = folder.map_or("FOLDER", |folder| &folder.name);
                Some(format!(
                    "ask {owner} for full, or for 'lendfs set {name}' own-files=removable (for what one made oneself) or \
                     replace-by-unlink=on (for programs that write a file anew)"
                ))
            }
            Cause::DirectoryStays => Some(format!("ask {owner} for full")),
            Cause::Below => Some(format!("ask {owner}, who sees all that is in it")),
            Cause::OtherFolder => Some("copy it, and remove it here ('mv' does so by itself)".into()),
            Cause::Apart => Some("copy it".into()),
            Cause::TopDirectory => Some(
                "'lendfs create NAME' makes a folder, 'lendfs rename' and 'lendfs delete' are its owner's"
                    .into(),
            ),
            Cause::TakenBack => {
                let level = held.and_then(|held| held.by.as_ref());
                let level = level.map_or_else(String::new, |(level, _)| format!(", as {level} allows"));
                Some(format!("open it anew{level}, or ask {owner}"))
            }
            Cause::HiddenName | Cause::Device | Cause::Reserved => None,
        }
    }
}

/// Why something was refused.
fn reason(cause: Cause, held: Option<&Held>) -> String {
    let has = |held: &Held| {
        let place = quoted(&held.place);
        match &held.by {
            Some((standing, _)) => format!("you have {place} as {standing}"),
            None => {
                format!("{place} is held to what it was under another name, or to less than its lines give")
            }
        }
    };
    let has = held.map_or_else(|| "the level there is too low".into(), has);
    match cause {
        Cause::Missing { right, .. } => {
            let what = match right {
                Right::See => "see it",
                Right::Read => "read or enter it",
                Right::Write => "change it",
                Right::Create => "make or remove anything in it",
                Right::Rename => "rename it",
                Right::Delete => "remove it",
                Right::Administer => "administer it",
            };
            format!("{has}, which is not to {what}")
        }
        Cause::Stays(_) | Cause::DirectoryStays => format!("{has}, and under edit nothing may disappear"),
        Cause::HiddenName => "the name is not to be had".into(),
        Cause::Below => "not everything in it is in your hands".into(),
        Cause::OtherFolder => "the two names are in two folders, which are like two disks".into(),
        Cause::Apart => "a second name may only lie where the same rules hold for everyone".into(),
        Cause::Device => "devices are not made in a folder".into(),
        Cause::TopDirectory => "this is the list of your folders, and no directory".into(),
        Cause::Reserved => "attributes called user.lendfs. are lendfs's own".into(),
        Cause::TakenBack => "the right was taken back while it was open".into(),
    }
}
