//! Which mount changes which directory at present.
//!
//! A name that one mount changes must not be taken from the cache by another once the call has returned, and no
//! request may wait for the other's kernel. So who changes something in a directory takes a lease on it first, and
//! tells the others (who then forget what they know, which never waits); while a lease lasts, nobody but its holder is
//! told anything of the directory that he may keep. A directory that two mounts change is kept by neither.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::ids::{Ino, MountId};

/// How long a lease lasts after the last change. A while of looking up anew costs little; a new lease costs the others
/// all they have cached.
const LASTS: Duration = Duration::from_secs(2);
const SHARDS: usize = 16;
/// From so many leases on in a shard the ended ones are removed.
const CROWDED: usize = 64;

/// The leases of all mounts, by the number that all nodes of a directory share ([`Ino::family`]).
#[derive(Debug)]
pub(super) struct Leases {
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    leases: HashMap<Ino, Lease>,
    crowded: usize,
}

#[derive(Debug)]
struct Lease {
    /// `None` where several mounts change the directory.
    holder: Option<MountId>,
    /// How many changes are under way.
    working: u32,
    until: Instant,
    /// Counts up whenever the others have to be told anew.
    round: u64,
    /// Whether they have been told in this round.
    told: bool,
}

/// Who has to be told before a change may be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Begun {
    /// Nobody: the others keep nothing.
    Alone,
    /// Every other mount; then [`Leases::told`], in this round.
    TellOthers(u64),
}

impl Default for Leases {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

impl Leases {
    /// Begins a change of a directory; it lasts until [`Leases::end`]. From now on no other mount keeps anything of
    /// the directory that it asks for.
    pub(super) fn begin(&self, directory: Ino, mount: MountId) -> Begun {
        let now = Instant::now();
        let mut shard = self.shard(directory).lock();
        shard.clear_up(now);
        let lease = shard.leases.entry(directory).or_insert(Lease {
            holder: None,
            working: 0,
            until: now,
            round: 0,
            told: false,
        });
        if lease.is_over(now) {
            lease.holder = Some(mount);
            (lease.round, lease.told) = (lease.round + 1, false);
        } else if lease.holder.is_some_and(|holder| holder != mount) {
            // The former holder keeps nothing from now on.
            lease.holder = None;
            (lease.round, lease.told) = (lease.round + 1, false);
        }
        lease.working += 1;
        if lease.told {
            Begun::Alone
        } else {
            Begun::TellOthers(lease.round)
        }
    }

    /// Notes that all others were told: only then may another change go on without telling them.
    pub(super) fn told(&self, directory: Ino, round: u64) {
        if let Some(lease) = self.shard(directory).lock().leases.get_mut(&directory)
            && lease.round == round
        {
            lease.told = true;
        }
    }

    /// Ends what [`Leases::begin`] began.
    pub(super) fn end(&self, directory: Ino) {
        if let Some(lease) = self.shard(directory).lock().leases.get_mut(&directory) {
            lease.working -= 1;
            lease.until = Instant::now() + LASTS;
        }
    }

    /// Tells whether another mount changes the directory, or did just now.
    pub(super) fn is_elsewhere(&self, directory: Ino, mount: MountId) -> bool {
        let shard = self.shard(directory).lock();
        shard
            .leases
            .get(&directory)
            .is_some_and(|lease| lease.holder != Some(mount) && !lease.is_over(Instant::now()))
    }

    fn shard(&self, directory: Ino) -> &Mutex<Shard> {
        &self.shards[directory.spread(SHARDS)]
    }
}

impl Shard {
    fn clear_up(&mut self, now: Instant) {
        if self.leases.len() < self.crowded.max(CROWDED) {
            return;
        }
        self.leases.retain(|_, lease| !lease.is_over(now));
        // Where all are in use, looking through them again and again would help nobody.
        self.crowded = 2 * self.leases.len();
    }
}

impl Lease {
    fn is_over(&self, now: Instant) -> bool {
        self.working == 0 && self.until <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: MountId = MountId(1);
    const TWO: MountId = MountId(2);
    const DIRECTORY: Ino = Ino(77);

    fn tell(leases: &Leases, begun: Begun) {
        let Begun::TellOthers(round) = begun else {
            panic!("the others have to be told")
        };
        leases.told(DIRECTORY, round);
    }

    #[test]
    fn the_first_change_tells_the_others_and_the_next_does_not() {
        let leases = Leases::default();
        assert!(!leases.is_elsewhere(DIRECTORY, TWO));
        tell(&leases, leases.begin(DIRECTORY, ONE));
        assert!(leases.is_elsewhere(DIRECTORY, TWO) && !leases.is_elsewhere(DIRECTORY, ONE));
        leases.end(DIRECTORY);
        assert!(leases.is_elsewhere(DIRECTORY, TWO), "it lasts for a while");
        assert_eq!(leases.begin(DIRECTORY, ONE), Begun::Alone);
    }

    #[test]
    fn who_comes_before_the_others_were_told_tells_them_too() {
        let leases = Leases::default();
        let first = leases.begin(DIRECTORY, ONE);
        assert_eq!(leases.begin(DIRECTORY, ONE), first);
        let second = leases.begin(DIRECTORY, TWO);
        tell(&leases, first);
        assert_eq!(
            leases.begin(DIRECTORY, TWO),
            second,
            "the first was told to others, not to its own mount"
        );
        tell(&leases, second);
        assert_eq!(leases.begin(DIRECTORY, TWO), Begun::Alone);
    }

    #[test]
    fn a_directory_that_two_change_is_kept_by_neither() {
        let leases = Leases::default();
        tell(&leases, leases.begin(DIRECTORY, ONE));
        leases.end(DIRECTORY);
        tell(&leases, leases.begin(DIRECTORY, TWO));
        assert!(leases.is_elsewhere(DIRECTORY, ONE) && leases.is_elsewhere(DIRECTORY, TWO));
        assert_eq!(leases.begin(DIRECTORY, ONE), Begun::Alone);
    }

    #[test]
    fn a_lease_that_ended_is_taken_anew() {
        let leases = Leases::default();
        tell(&leases, leases.begin(DIRECTORY, ONE));
        leases.end(DIRECTORY);
        for shard in &leases.shards {
            for lease in shard.lock().leases.values_mut() {
                lease.until = Instant::now();
            }
        }
        assert!(!leases.is_elsewhere(DIRECTORY, TWO));
        tell(&leases, leases.begin(DIRECTORY, TWO));
        assert!(leases.is_elsewhere(DIRECTORY, ONE) && !leases.is_elsewhere(DIRECTORY, TWO));
    }

    #[test]
    fn leases_that_ended_are_removed() {
        let leases = Leases::default();
        for number in 0..100_000 {
            leases.begin(Ino(number), ONE);
            leases.end(Ino(number));
            for lease in leases.shard(Ino(number)).lock().leases.values_mut() {
                lease.until = Instant::now();
            }
        }
        let left: usize = leases.shards.iter().map(|shard| shard.lock().leases.len()).sum();
        assert!(left <= SHARDS * CROWDED, "{left}");
    }
}
