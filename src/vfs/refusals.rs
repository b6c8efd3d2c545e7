//! What was refused of late, for each account: the last few refusals, with their reasons.
//!
//! Only what the subject knows by himself is kept: the names that he gave, the right that was missing, and the line that
//! `lendfs explain` would show him. The memory is bounded by entries, by bytes and by accounts. Nothing here costs
//! anything where nothing is refused.

mod note;

use std::collections::{HashMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::shared::Shared;
use crate::policy::{AccountId, Cause, Decided, FolderId, PlacePath, Standing};

pub(super) use note::Call;

/// How many entries are kept of an account, and how many bytes of names in them.
const ENTRIES: usize = 64;
const BYTES: usize = 64 * 1024;
/// Of how many accounts entries are kept: of those to whom something was refused last.
const ACCOUNTS: usize = 256;
/// The longest name that is kept whole, in bytes: `PATH_MAX`.
const LONGEST: usize = 4096;

/// One refusal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// When.
    pub at: SystemTime,
    /// The process that asked; 0 if it is not visible here.
    pub pid: u32,
    /// The name of its program, as the kernel has it (`comm`).
    pub program: Vec<u8>,
    /// What it asked for.
    pub call: &'static str,
    /// Of what, as the subject names it: `FOLDER/PATH`.
    pub path: Vec<u8>,
    /// The new name, where there are two.
    pub to: Option<Vec<u8>>,
    /// What it was answered; 0 if nothing was refused.
    pub errno: i32,
    /// The folder.
    pub folder: Option<FolderId>,
    /// Where in it.
    pub place: Option<PlacePath>,
    /// The new name's, if that is in the same folder.
    pub to_place: Option<PlacePath>,
    /// Why.
    pub why: Why,
}

/// Why something was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Why {
    /// A rule of the file system.
    Rule {
        /// Which.
        cause: Cause,
        /// Where a right is missing, and by which line.
        held: Option<Held>,
    },
    /// Something that is told in words: what happened, and what would help.
    Said {
        /// One line, about the path.
        what: String,
        /// One line.
        help: Option<String>,
    },
}

/// What holds at a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// The place, as the subject names it.
    pub place: Vec<u8>,
    /// What he has there, and what decided it, as far as the path tells: a file may be held to less, to what it was under
    /// another name.
    pub by: Option<(Standing, Decided)>,
}

/// A refusal as it is kept.
#[derive(Clone, Debug)]
pub struct Noted {
    /// Counts up over all that is noted.
    pub number: u64,
    /// How often the same was refused, one right after the other.
    pub times: u32,
    /// The last of them.
    pub refused: Refused,
}

impl Refused {
    /// Tells whether both are the same but for the time and the process.
    fn is_like(&self, other: &Self) -> bool {
        (&self.program, self.call, &self.path, &self.to)
            == (&other.program, other.call, &other.path, &other.to)
            && (self.errno, self.folder, &self.why) == (other.errno, other.folder, &other.why)
    }

    fn bytes(&self) -> usize {
        let why = match &self.why {
            Why::Rule { held, .. } => held.as_ref().map_or(0, |held| {
                held.place.len()
                    + match &held.by {
                        Some((_, Decided::Line(_, path) | Decided::Gone(path))) => path.to_bytes().len(),
                        _ => 0,
                    }
            }),
            Why::Said { what, help } => what.len() + help.as_ref().map_or(0, String::len),
        };
        let places = [&self.place, &self.to_place].into_iter().flatten();
        let places: usize = places.map(|place| place.to_bytes().len()).sum();
        self.program.len() + self.path.len() + self.to.as_ref().map_or(0, Vec::len) + places + why
    }
}

/// The end of a name that is too long to be kept.
fn shortened(mut name: Vec<u8>) -> Vec<u8> {
    if name.len() > LONGEST {
        name.drain(..name.len() - LONGEST);
        name.splice(..0, *b".../");
    }
    name
}

/// See the module's doc.
#[derive(Debug)]
pub(super) struct Refusals {
    /// The number before the first one: those of an earlier daemon are all lower.
    start: u64,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    last: u64,
    of: HashMap<AccountId, Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Noted>,
    bytes: usize,
}

impl Ring {
    fn newest(&self) -> u64 {
        self.entries.back().map_or(0, |noted| noted.number)
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.entries.pop_front() {
            self.bytes -= oldest.refused.bytes();
        }
    }
}

impl Default for Refusals {
    fn default() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start = u64::try_from(now.as_micros()).unwrap_or(0);
        Self {
            start,
            kept: Mutex::new(Kept {
                last: start,
                of: HashMap::new(),
            }),
        }
    }
}

impl Refusals {
    fn note(&self, account: AccountId, mut refused: Refused) {
        let short = |place: &PlacePath| place.to_bytes().len() <= LONGEST;
        refused.place = refused.place.filter(short);
        refused.to_place = refused.to_place.filter(short);
        refused.path = shortened(refused.path);
        refused.to = refused.to.map(shortened);
        let mut kept = self.kept.lock();
        kept.last += 1;
        let number = kept.last;
        if !kept.of.contains_key(&account) && kept.of.len() >= ACCOUNTS {
            let longest_ago = kept.of.iter().min_by_key(|(_, ring)| ring.newest());
            if let Some(longest_ago) = longest_ago.map(|(account, _)| *account) {
                kept.of.remove(&longest_ago);
            }
        }
        let ring = kept.of.entry(account).or_default();
        if let Some(last) = ring
            .entries
            .back_mut()
            .filter(|last| last.refused.is_like(&refused))
        {
            let times = last.times.saturating_add(1);
            *last = Noted {
                number,
                times,
                refused,
            };
            return;
        }
        ring.bytes += refused.bytes();
        ring.entries.push_back(Noted {
            number,
            times: 1,
            refused,
        });
        while ring.entries.len() > ENTRIES || ring.bytes > BYTES && ring.entries.len() > 1 {
            ring.drop_oldest();
        }
    }

    fn after(&self, account: AccountId, number: u64) -> Vec<Noted> {
        let kept = self.kept.lock();
        let entries = kept.of.get(&account).into_iter().flat_map(|ring| &ring.entries);
        entries.filter(|noted| noted.number > number).cloned().collect()
    }
}

impl Shared {
    /// Keeps that something was refused to an account, or befell it, and lets the daemon know.
    pub fn note_refusal(&self, account: AccountId, refused: Refused) {
        self.refusals.note(account, refused.clone());
        self.steward.refused(account, &refused);
    }

    /// What was noted for an account with higher numbers than this, the newest last.
    pub fn refusals_after(&self, account: AccountId, number: u64) -> Vec<Noted> {
        for mount in self
            .mounts()
            .filter(|mount| mount.options.viewer.account == account)
        {
            mount.let_come_back();
        }
        self.refusals.after(account, number)
    }

    /// Forgets what was noted for an account.
    pub fn forget_refusals(&self, account: AccountId) {
        self.refusals.kept.lock().of.remove(&account);
    }

    /// The number of the last that was noted for anyone.
    pub fn last_refusal(&self) -> u64 {
        self.refusals.kept.lock().last
    }

    /// Tells whether a number is of this daemon's life, and not of an earlier one's.
    pub fn knows_refusal(&self, number: u64) -> bool {
        number >= self.refusals.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &str) -> Refused {
        Refused {
            at: UNIX_EPOCH,
            pid: 1,
            program: b"rm".into(),
            call: "unlink",
            path: path.into(),
            to: None,
            errno: libc::EPERM,
            folder: None,
            place: None,
            to_place: None,
            why: Why::Rule {
                cause: Cause::Below,
                held: None,
            },
        }
    }

    const BOB: AccountId = AccountId(1);

    fn paths(refusals: &Refusals, account: AccountId) -> Vec<String> {
        let noted = refusals.after(account, 0);
        let path = |noted: Noted| String::from_utf8(noted.refused.path).unwrap();
        noted.into_iter().map(path).collect()
    }

    #[test]
    fn the_newest_are_kept_in_their_order() {
        let refusals = Refusals::default();
        for number in 0..ENTRIES + 3 {
            refusals.note(BOB, refused(&number.to_string()));
        }
        let kept = paths(&refusals, BOB);
        assert_eq!((kept.len(), &*kept[0], &*kept[ENTRIES - 1]), (ENTRIES, "3", "66"));
        assert_eq!(paths(&refusals, AccountId(2)), [""; 0]);
    }

    #[test]
    fn the_same_in_a_row_is_counted_and_counts_as_new() {
        let refusals = Refusals::default();
        refusals.note(BOB, refused("a"));
        refusals.note(
            BOB,
            Refused {
                pid: 2,
                ..refused("a")
            },
        );
        let once = refusals.after(BOB, 0);
        assert_eq!((once.len(), once[0].times, once[0].refused.pid), (1, 2, 2));
        refusals.note(BOB, refused("a"));
        assert_eq!(refusals.after(BOB, once[0].number)[0].times, 3);
        refusals.note(
            BOB,
            Refused {
                call: "rmdir",
                ..refused("a")
            },
        );
        refusals.note(BOB, refused("a"));
        assert_eq!(paths(&refusals, BOB), ["a", "a", "a"]);
    }

    #[test]
    fn numbers_of_an_earlier_daemon_are_all_lower() {
        let earlier = Refusals::default();
        for _ in 0..10 {
            earlier.note(BOB, refused("a"));
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
        let later = Refusals::default();
        assert!(earlier.after(BOB, 0)[0].number < later.start);
    }

    #[test]
    fn long_names_and_many_accounts_take_no_more_memory() {
        let refusals = Refusals::default();
        for number in 0..100 {
            refusals.note(BOB, refused(&format!("{}{number}", "x/".repeat(LONGEST))));
        }
        let kept = refusals.after(BOB, 0);
        let bytes: usize = kept.iter().map(|noted| noted.refused.bytes()).sum();
        assert!(bytes <= BYTES && kept.len() > 10, "{bytes} in {}", kept.len());
        let last = kept.last().unwrap().refused.path.clone();
        assert!(last.starts_with(b".../") && last.ends_with(b"/99"));
        for account in 2..ACCOUNTS as i64 + 10 {
            refusals.note(AccountId(account), refused("a"));
        }
        assert_eq!(refusals.kept.lock().of.len(), ACCOUNTS);
        assert_eq!(paths(&refusals, BOB), [""; 0], "he was the first");
    }
}
