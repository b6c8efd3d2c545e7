//! What is refused, gathered for the audit: the same thing again and again is one line, and one account has so many
//! lines in a while, the rest is a number.
//!
//! Bounded by accounts and lines. Costs nothing where nothing is refused, and little where much is.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use crate::control::wire::quoted;
use crate::daemon::core::Core;
use crate::daemon::rate::{Allowance, Rate};
use crate::policy::{AccountId, Cause, FolderId, PlacePath};
use crate::store::{By, RefusalNote};
use crate::vfs::refusals::{Refused, Why};

/// What comes together is told together.
pub(in crate::daemon) const GATHER: Duration = Duration::from_secs(1);
/// How many lines an account has.
const LINES: Rate = Rate {
    at_once: 20,
    per_second: 1,
};
/// How often it is told that there were more.
const MORE_EVERY: Duration = Duration::from_secs(10);
/// Of so many accounts lines are gathered at a time; what is refused to others meanwhile is counted.
const ACCOUNTS: usize = 128;

/// See the module's doc.
#[derive(Default)]
pub(in crate::daemon) struct Refusals {
    gathered: Mutex<Gathered>,
    filled: Notify,
}

#[derive(Default)]
struct Gathered {
    of: HashMap<Who, OfOne>,
    /// What was refused to whom no lines are gathered of.
    others: u64,
}

/// To whom something is refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(in crate::daemon) enum Who {
    /// An account.
    Account(AccountId),
    /// A uid that no account is known for, or none that may do anything.
    Uid(u32),
}

struct OfOne {
    lines: Vec<Line>,
    allowance: Allowance,
    /// How many there were that had no line any more.
    more: u64,
    more_told: Option<Instant>,
}

struct Line {
    at: SystemTime,
    times: u64,
    folder: Option<FolderId>,
    what: What,
    program: Option<Vec<u8>>,
    pid: u32,
}

/// What is the same in all that is one line.
#[derive(PartialEq, Eq)]
enum What {
    Call {
        call: &'static str,
        path: Path,
        to: Option<Path>,
        errno: i32,
        cause: Cause,
    },
    Command(&'static str),
}

/// A place in a folder, or what the subject calls something that is in none.
#[derive(PartialEq, Eq)]
enum Path {
    In(PlacePath),
    Named(Vec<u8>),
}

impl Path {
    fn text(&self) -> String {
        match self {
            // As in the lines of changes.
            Self::In(place) => place.to_string(),
            Self::Named(name) => quoted(name),
        }
    }
}

impl Refusals {
    /// Takes note of a system call that was refused.
    pub(in crate::daemon) fn call(&self, account: AccountId, refused: &Refused) {
        let Why::Rule { cause, .. } = refused.why else {
            // It befell a name, and was refused to nobody.
            return;
        };
        let path = |place: &Option<PlacePath>, named: &Vec<u8>| match (place, refused.folder) {
            (Some(place), _) => Path::In(place.clone()),
            // Too long to be kept. What he calls it is his affair.
            (None, Some(_)) => Path::Named(b"...".into()),
            (None, None) => Path::Named(named.clone()),
        };
        // Of another folder this one's readers need not hear.
        let to = refused
            .to
            .as_ref()
            .filter(|_| refused.folder.is_none() || refused.to_place.is_some());
        let line = Line {
            at: refused.at,
            times: 1,
            folder: refused.folder,
            what: What::Call {
                call: refused.call,
                path: path(&refused.place, &refused.path),
                to: to.map(|to| path(&refused.to_place, to)),
                errno: refused.errno,
                cause,
            },
            program: Some(refused.program.clone()),
            pid: refused.pid,
        };
        self.add(Who::Account(account), line, Instant::now());
    }

    /// Takes note of a command that was refused.
    pub(in crate::daemon) fn command(&self, who: Who, command: &'static str) {
        let line = Line {
            at: SystemTime::now(),
            times: 1,
            folder: None,
            what: What::Command(command),
            program: None,
            pid: 0,
        };
        self.add(who, line, Instant::now());
    }

    /// Waits until there is something to be kept.
    pub(in crate::daemon) async fn filled(&self) {
        self.filled.notified().await;
    }

    fn add(&self, who: Who, line: Line, now: Instant) {
        let mut gathered = self.gathered.lock();
        if !gathered.of.contains_key(&who) && gathered.of.len() >= ACCOUNTS {
            let rests = |one: &mut OfOne| one.is_empty() && one.allowance.is_full(LINES, now);
            gathered.of.retain(|_, one| !rests(one));
            if gathered.of.len() >= ACCOUNTS {
                gathered.others += 1;
                return self.filled.notify_one();
            }
        }
        let one = gathered.of.entry(who).or_insert_with(|| OfOne::new(now));
        let same = one
            .lines
            .iter_mut()
            .find(|known| (known.folder, &known.what) == (line.folder, &line.what));
        match same {
            Some(known) => {
                *known = Line {
                    times: known.times + 1,
                    ..line
                }
            }
            None if one.allowance.spend(LINES, now).is_ok() => one.lines.push(line),
            None => one.more += 1,
        }
        drop(gathered);
        self.filled.notify_one();
    }

    /// Takes what is due, or all; tells whether anything is left.
    fn take(&self, all: bool, now: Instant) -> (Vec<(Option<Who>, Line)>, bool) {
        let mut taken = Vec::new();
        let mut left = false;
        let mut gathered = self.gathered.lock();
        for (who, one) in &mut gathered.of {
            taken.extend(one.lines.drain(..).map(|line| (Some(*who), line)));
            let due = |told: Instant| now.saturating_duration_since(told) >= MORE_EVERY;
            if one.more > 0 && (all || one.more_told.is_none_or(due)) {
                one.more_told = Some(now);
                taken.push((Some(*who), Line::more(std::mem::take(&mut one.more))));
            }
            left |= one.more > 0;
        }
        let others = std::mem::take(&mut gathered.others);
        if others > 0 {
            taken.push((None, Line::more(others)));
        }
        (taken, left)
    }
}

impl OfOne {
    fn new(now: Instant) -> Self {
        Self {
            lines: Vec::new(),
            allowance: Allowance::new(LINES, now),
            more: 0,
            more_told: None,
        }
    }

    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.more == 0
    }
}

impl Line {
    fn more(times: u64) -> Self {
        Self {
            at: SystemTime::now(),
            times,
            folder: None,
            what: What::Command("..."),
            program: None,
            pid: 0,
        }
    }

    fn note(&self, by: By) -> RefusalNote {
        let mut details = Map::new();
        let mut tell = |key: &str, value: Value| drop(details.insert(key.into(), value));
        match &self.what {
            What::Command(word) => tell("command", json!(word)),
            What::Call {
                call,
                path,
                to,
                errno,
                cause,
            } => {
                tell("call", json!(call));
                tell("path", json!(path.text()));
                if let Some(to) = to {
                    tell("to", json!(to.text()));
                }
                tell("errno", json!(format!("{:?}", Errno::from_raw(*errno))));
                tell("why", json!(word(*cause)));
            }
        }
        if let Some(program) = &self.program {
            tell("program", json!(quoted(program)));
            tell("pid", json!(self.pid));
        }
        tell("times", json!(self.times));
        let since = self.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        RefusalNote {
            at: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            by,
            folder: self.folder,
            details: Value::Object(details),
        }
    }
}

/// Why something was refused, in a word or two: README.md has them.
fn word(cause: Cause) -> String {
    match cause {
        Cause::Missing { right, .. } => format!("missing {}", format!("{right:?}").to_lowercase()),
        Cause::Stays(_) | Cause::DirectoryStays => "nothing disappears".into(),
        Cause::HiddenName => "hidden name".into(),
        Cause::Below => "something below".into(),
        Cause::OtherFolder => "another folder".into(),
        Cause::Apart => "other rules there".into(),
        Cause::Device => "device".into(),
        Cause::TopDirectory => "list of folders".into(),
        Cause::Reserved => "reserved".into(),
        Cause::TakenBack => "taken back".into(),
    }
}

impl Core {
    /// Keeps what was refused of late, or all that there is at the end; tells whether anything is left.
    pub(in crate::daemon) fn keep_refusals(&mut self, all: bool) -> bool {
        let (taken, left) = self.registrar.refusals.take(all, Instant::now());
        let notes: Vec<_> = taken
            .iter()
            .map(|(who, line)| line.note(self.refused_to(*who)))
            .collect();
        if !notes.is_empty()
            && let Err(error) = self.store.note_refusals(&notes)
        {
            tracing::error!(%error, "cannot keep in the audit what was refused");
        }
        left
    }

    fn refused_to(&self, who: Option<Who>) -> By {
        let name = match who {
            Some(Who::Account(account)) => self
                .store
                .account(account)
                .ok()
                .flatten()
                .map_or_else(|| format!("account:{account}"), |account| account.login),
            Some(Who::Uid(uid)) => {
                let accounts = self.store.accounts().unwrap_or_default();
                let account = accounts.into_iter().find(|account| account.uid == uid);
                account.map_or_else(|| format!("uid:{uid}"), |account| account.login)
            }
            None => "others".into(),
        };
        By {
            actor: name.clone(),
            account: name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOB: Who = Who::Account(AccountId(1));

    fn line(path: &str) -> Line {
        Line {
            at: UNIX_EPOCH,
            times: 1,
            folder: Some(FolderId(1)),
            what: What::Call {
                call: "unlink",
                path: Path::In(PlacePath::parse(path.as_bytes()).unwrap()),
                to: None,
                errno: libc::EPERM,
                cause: Cause::Below,
            },
            program: Some(b"rm".into()),
            pid: 7,
        }
    }

    fn by() -> By {
        By {
            actor: "bob".into(),
            account: "bob".into(),
        }
    }

    fn details(taken: &[(Option<Who>, Line)]) -> Vec<Value> {
        taken.iter().map(|(_, line)| line.note(by()).details).collect()
    }

    #[test]
    fn the_same_again_is_one_line() {
        let refusals = Refusals::default();
        let now = Instant::now();
        for path in ["a", "b", "a", "a"] {
            refusals.add(BOB, line(path), now);
        }
        let (taken, left) = refusals.take(false, now);
        let told: Vec<_> = details(&taken)
            .iter()
            .map(|told| (told["path"].clone(), told["times"].clone()))
            .collect();
        assert_eq!(told, [(json!("a"), json!(3)), (json!("b"), json!(1))]);
        assert_eq!(
            details(&taken)[0],
            json!({"call": "unlink", "path": "a", "errno": "EPERM", "why": "something below", "program": "rm", "pid": 7,
                   "times": 3})
        );
        assert!(!left && refusals.take(false, now).0.is_empty());
    }

    #[test]
    fn a_million_names_are_a_few_lines_and_a_number_and_leave_others_theirs() {
        let refusals = Refusals::default();
        let start = Instant::now();
        let mut told = 0;
        let mut lines = 0;
        for second in 0..100 {
            let now = start + Duration::from_secs(second);
            for name in 0..1000 {
                refusals.add(BOB, line(&format!("{second}-{name}")), now);
            }
            let taken = refusals.take(false, now).0;
            lines += taken.len();
            told += taken.iter().map(|(_, line)| line.times).sum::<u64>();
        }
        refusals.add(Who::Account(AccountId(2)), line("his"), start);
        let (taken, left) = refusals.take(true, start + Duration::from_secs(100));
        assert!(!left);
        assert!(
            taken
                .iter()
                .any(|(who, _)| *who == Some(Who::Account(AccountId(2))))
        );
        told += taken.iter().map(|(_, line)| line.times).sum::<u64>();
        assert_eq!(told, 100_001, "each was counted");
        assert!(lines < 140, "{lines}");
    }

    #[test]
    fn many_accounts_take_no_more_memory() {
        let refusals = Refusals::default();
        let now = Instant::now();
        for account in 0..1000 {
            refusals.add(Who::Account(AccountId(account)), line("a"), now);
        }
        assert_eq!(refusals.gathered.lock().of.len(), ACCOUNTS);
        let (taken, _) = refusals.take(false, now);
        assert_eq!(taken.iter().map(|(_, line)| line.times).sum::<u64>(), 1000);
        let later = now + Duration::from_secs(60);
        refusals.add(Who::Account(AccountId(5000)), line("a"), later);
        let gathered = refusals.gathered.lock();
        assert_eq!((gathered.of.len(), gathered.others), (1, 0));
    }

    #[test]
    fn what_is_in_another_folder_is_not_told_to_this_one_s_readers() {
        let refusals = Refusals::default();
        refusals.call(
            AccountId(1),
            &Refused {
                at: UNIX_EPOCH,
                pid: 1,
                program: b"mv".into(),
                call: "rename",
                path: b"tests/a".into(),
                to: Some(b"other/hidden".into()),
                errno: libc::EXDEV,
                folder: Some(FolderId(1)),
                place: PlacePath::parse(b"a").ok(),
                to_place: None,
                why: Why::Rule {
                    cause: Cause::OtherFolder,
                    held: None,
                },
            },
        );
        let told = details(&refusals.take(true, Instant::now()).0);
        assert_eq!((&told[0]["path"], &told[0]["to"]), (&json!("a"), &Value::Null));
    }
}
