//! Who is let in at the control socket, how many at a time, and how often: so that nobody can keep others out.
//!
//! Counts by the uid that the kernel tells. A uid that no account is known for shares what it may have with all others
//! of that sort, for in a user namespace one can have thousands of them. All memory here is bounded by the number of
//! connections and of accounts.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::config::Limits;
use super::error::{Refused, Result};
use super::rate::{Allowance, Rate};

/// So many more connections root may have: he is let in when others have taken all.
const FOR_ROOT: usize = 16;
/// So many that are too many are told so; any more are hung up on.
const TOLD_OF_ONE: usize = 4;
const TOLD: usize = 64;
/// So many commands of one user are carried out at a time, the others wait.
const TURNS: usize = 4;
/// For so long.
const WAIT: Duration = Duration::from_secs(30);

/// See the module's doc.
pub(super) struct Door {
    limits: Limits,
    inside: Mutex<Inside>,
    counted: Mutex<Counted>,
}

#[derive(Default)]
struct Inside {
    let_in: usize,
    /// Of those, the ones of no known account.
    strangers: usize,
    told: usize,
    /// Whoever has a connection.
    of: HashMap<u32, OfOne>,
    /// Whoever gave commands of late; one entry for all who are not known.
    givers: HashMap<Option<u32>, Giver>,
    known: HashSet<u32>,
}

#[derive(Clone, Copy, Default)]
struct OfOne {
    let_in: usize,
    told: usize,
}

struct Giver {
    allowance: Allowance,
    turns: Arc<Semaphore>,
}

/// What came of the commands, and who was turned away.
#[derive(Clone, Default, Debug)]
pub(super) struct Counted {
    /// Commands by word and outcome.
    pub commands: BTreeMap<(&'static str, &'static str), u64>,
    /// Those that were turned away before they came to be commands, by reason.
    pub turned_away: BTreeMap<&'static str, u64>,
}

/// A connection that was let in, or that is told why not.
pub(super) struct Guest {
    door: Arc<Door>,
    uid: Option<u32>,
    stranger: bool,
    refused: Option<Refused>,
}

impl Door {
    /// Lets nobody in yet. `known` are the uids that accounts are known for.
    pub(super) fn new(limits: Limits, known: impl IntoIterator<Item = u32>) -> Arc<Self> {
        Arc::new(Self {
            limits,
            inside: Mutex::new(Inside {
                known: known.into_iter().chain([0]).collect(),
                ..Inside::default()
            }),
            counted: Mutex::default(),
        })
    }

    /// What a client may take to send something.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs(self.limits.seconds.into())
    }

    /// Whoever is at the door: let in, or to be told why not ([`Guest::refused`]); `None` is to be hung up on.
    pub(super) fn knock(self: &Arc<Self>, uid: Option<u32>) -> Option<Guest> {
        let mut inside = self.inside.lock();
        let who = uid.unwrap_or(u32::MAX);
        let root = uid == Some(0);
        let stranger = !uid.is_some_and(|uid| inside.known.contains(&uid));
        let of_one = inside.of.get(&who).copied().unwrap_or_default();
        let most = self.limits.connections + if root { FOR_ROOT } else { 0 };
        let limit = self.limits.connections_of_one;
        let refused = if !root && of_one.let_in >= limit {
            Some(format!(
                "you have {limit} connections to the daemon, the most that one user may have: end some of your commands, or \
                 let the administrator raise limits.connections-of-one"
            ))
        } else if stranger && inside.strangers >= limit.max(self.limits.connections / 4)
            || inside.let_in >= most
        {
            Some("the daemon has as many connections as it takes: try again in a moment".into())
        } else {
            None
        };
        let refused = refused.map(|line| Refused {
            status: StatusCode::SERVICE_UNAVAILABLE,
            line,
        });
        if refused.is_some() {
            self.turned_away("connections");
            if inside.told >= TOLD || of_one.told >= TOLD_OF_ONE {
                return None;
            }
        }
        let of_one = inside.of.entry(who).or_default();
        if refused.is_some() {
            of_one.told += 1;
            inside.told += 1;
        } else {
            of_one.let_in += 1;
            inside.let_in += 1;
            inside.strangers += usize::from(stranger);
        }
        Some(Guest {
            door: Arc::clone(self),
            uid,
            stranger,
            refused,
        })
    }

    /// How many connections there are.
    pub(super) fn connections(&self) -> usize {
        self.inside.lock().let_in
    }

    /// What was counted since the start.
    pub(super) fn counted(&self) -> Counted {
        self.counted.lock().clone()
    }

    /// Counts a request that did not come to be a command.
    pub(super) fn turned_away(&self, reason: &'static str) {
        *self.counted.lock().turned_away.entry(reason).or_default() += 1;
    }

    fn rate(&self) -> Rate {
        Rate {
            at_once: self.limits.commands_at_once,
            per_second: self.limits.commands_per_second,
        }
    }
}

impl Guest {
    /// The uid at the other end.
    pub(super) fn uid(&self) -> Option<u32> {
        self.uid
    }

    /// The door that he came in by.
    pub(super) fn door(&self) -> &Arc<Door> {
        &self.door
    }

    /// Why he is not let in.
    pub(super) fn refused(&self) -> Option<&Refused> {
        self.refused.as_ref()
    }

    /// Lets one more request come in.
    ///
    /// # Errors
    /// 429 if there were too many of late, with how long to wait.
    pub(super) fn ask(&self, now: Instant) -> std::result::Result<(), (Refused, Duration)> {
        if self.uid == Some(0) {
            return Ok(());
        }
        let rate = self.door.rate();
        let spent = self.giver(now, |giver| giver.allowance.spend(rate, now));
        spent.map_err(|wait| {
            self.door.turned_away("rate");
            let line = format!(
                "these are more than {} commands a second: wait a moment, or let the administrator raise \
                 limits.commands-per-second",
                rate.per_second
            );
            let status = StatusCode::TOO_MANY_REQUESTS;
            (Refused { status, line }, wait)
        })
    }

    /// Waits until a command of his may be carried out, and lets the next one wait until what this returns is dropped.
    ///
    /// # Errors
    /// If that takes too long.
    pub(super) async fn turn(&self) -> Result<Option<OwnedSemaphorePermit>> {
        if self.uid == Some(0) {
            return Ok(None);
        }
        let turns = self.giver(Instant::now(), |giver| Arc::clone(&giver.turns));
        let turn = tokio::time::timeout(WAIT, turns.acquire_owned()).await;
        if let Ok(Ok(turn)) = turn {
            return Ok(Some(turn));
        }
        self.door.turned_away("busy");
        Err(Refused {
            status: StatusCode::SERVICE_UNAVAILABLE,
            line: "other commands of yours take so long that this one was not begun: wait for them, and try again"
                .into(),
        })
    }

    /// Notes that an account is known for the uid.
    pub(super) fn is_known(&self) {
        if let Some(uid) = self.uid.filter(|_| self.stranger) {
            self.door.inside.lock().known.insert(uid);
        }
    }

    /// Counts a command by its outcome.
    pub(super) fn count<T>(&self, command: &'static str, done: &Result<T>) {
        let outcome = match done {
            Ok(_) => "done",
            Err(refused) if refused.status.is_server_error() => "failed",
            Err(_) => "refused",
        };
        let mut counted = self.door.counted.lock();
        *counted.commands.entry((command, outcome)).or_default() += 1;
    }

    fn giver<T>(&self, now: Instant, with: impl FnOnce(&mut Giver) -> T) -> T {
        /// So many are kept without a look at which of them have nothing to be remembered.
        const FEW: usize = 64;
        let rate = self.door.rate();
        let mut inside = self.door.inside.lock();
        let Inside { givers, known, .. } = &mut *inside;
        if givers.len() > FEW {
            givers.retain(|_, giver| {
                !giver.allowance.is_full(rate, now) || giver.turns.available_permits() < TURNS
            });
        }
        let key = self.uid.filter(|uid| known.contains(uid));
        with(givers.entry(key).or_insert_with(|| Giver {
            allowance: Allowance::new(rate, now),
            turns: Arc::new(Semaphore::new(TURNS)),
        }))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut inside = self.door.inside.lock();
        let who = self.uid.unwrap_or(u32::MAX);
        let Some(of_one) = inside.of.get_mut(&who) else {
            return;
        };
        if self.refused.is_some() {
            of_one.told -= 1;
        } else {
            of_one.let_in -= 1;
        }
        if of_one.told + of_one.let_in == 0 {
            inside.of.remove(&who);
        }
        if self.refused.is_some() {
            inside.told -= 1;
        } else {
            inside.let_in -= 1;
            inside.strangers -= usize::from(self.stranger);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        connections: 16,
        connections_of_one: 3,
        commands_per_second: 2,
        commands_at_once: 5,
        seconds: 10,
        mounts_of_one: 1,
    };

    fn door() -> Arc<Door> {
        Door::new(LIMITS, 1..100)
    }

    /// How many of so many connections are let in, told, and hung up on.
    fn knock(door: &Arc<Door>, uid: u32, times: usize) -> (Vec<Guest>, [usize; 3]) {
        let guests: Vec<_> = (0..times).filter_map(|_| door.knock(Some(uid))).collect();
        let told = guests.iter().filter(|guest| guest.refused().is_some()).count();
        let counts = [guests.len() - told, told, times - guests.len()];
        (guests, counts)
    }

    #[test]
    fn one_user_has_so_many_connections_and_the_next_one_his_own() {
        let door = door();
        let (bob, counts) = knock(&door, 1, 1000);
        assert_eq!(counts, [3, 4, 993]);
        let (_cara, counts) = knock(&door, 2, 2);
        assert_eq!(counts, [2, 0, 0]);
        assert_eq!(door.counted().turned_away["connections"], 997);
        drop(bob);
        assert_eq!(knock(&door, 1, 1).1, [1, 0, 0]);
    }

    #[test]
    fn root_comes_in_when_all_is_taken() {
        let door = door();
        let taken: Vec<_> = (1..=10).map(|uid| knock(&door, uid, 3)).collect();
        let let_in: usize = taken.iter().map(|(_, [let_in, ..])| let_in).sum();
        assert_eq!((let_in, door.connections()), (16, 16));
        assert_eq!(knock(&door, 0, 20).1, [16, 4, 0]);
        drop(taken);
        assert_eq!(door.inside.lock().of.len(), 0);
        assert_eq!(door.connections(), 0);
    }

    #[test]
    fn a_user_with_thousands_of_uids_is_one_user() {
        let door = door();
        let many: Vec<_> = (1000..9000).map(|uid| knock(&door, uid, 1)).collect();
        let let_in: usize = many.iter().map(|(_, [let_in, ..])| let_in).sum();
        assert_eq!(let_in, 4);
        let now = Instant::now();
        let asked = many.iter().flat_map(|(guests, _)| guests);
        assert_eq!(asked.filter(|guest| guest.ask(now).is_ok()).count(), 5);
        assert_eq!(door.inside.lock().givers.len(), 1);
        assert_eq!(knock(&door, 7, 1).1, [1, 0, 0]);
    }

    #[test]
    fn who_asks_too_often_waits_and_nobody_else() {
        let door = door();
        let (bob, cara) = (door.knock(Some(1)).unwrap(), door.knock(Some(2)).unwrap());
        let now = Instant::now();
        let asked = (0..100).filter(|_| bob.ask(now).is_ok()).count();
        assert_eq!(asked, 5);
        let (refused, wait) = bob.ask(now).unwrap_err();
        assert_eq!((refused.status.as_u16(), wait), (429, Duration::from_millis(500)));
        cara.ask(now).unwrap();
        bob.ask(now + wait).unwrap();
        let root = door.knock(Some(0)).unwrap();
        assert!((0..1000).all(|_| root.ask(now).is_ok()));
    }

    #[test]
    fn what_was_asked_long_ago_takes_no_memory() {
        let door = Door::new(LIMITS, 0..10_000);
        let start = Instant::now();
        for uid in 1..5000 {
            let guest = door.knock(Some(uid)).unwrap();
            guest.ask(start + Duration::from_secs(uid.into())).unwrap();
        }
        assert!(door.inside.lock().givers.len() <= 65);
    }

    #[tokio::test(start_paused = true)]
    async fn of_one_user_so_many_commands_are_carried_out_at_a_time() {
        let door = door();
        let (bob, cara) = (door.knock(Some(1)).unwrap(), door.knock(Some(2)).unwrap());
        let mut turns = Vec::new();
        for _ in 0..TURNS {
            turns.push(bob.turn().await.unwrap());
        }
        let refused = bob.turn().await.unwrap_err();
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        cara.turn().await.unwrap();
        drop(turns.pop());
        bob.turn().await.unwrap();
    }
}
