//! The locks that one owner holds on a file, as ranges: what a new one does to those that are there (`fcntl_locking(2)`).

use crate::backing::{Lock, LockKind};

/// Ranges that do not overlap, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Ranges(Vec<Lock>);

impl Ranges {
    /// Takes, changes or gives back what the owner was granted.
    pub(super) fn set(&mut self, lock: Lock) {
        let mut left = Vec::with_capacity(self.0.len() + 2);
        for held in self.0.drain(..) {
            if held.start < lock.start {
                left.push(Lock {
                    end: held.end.min(lock.start - 1),
                    ..held
                });
            }
            if held.end > lock.end {
                left.push(Lock {
                    start: held.start.max(lock.end + 1),
                    ..held
                });
            }
        }
        if lock.kind != LockKind::Unlock {
            left.push(lock);
        }
        left.sort_unstable_by_key(|held| held.start);
        for held in left {
            match self.0.last_mut() {
                Some(last) if last.kind == held.kind && last.end.checked_add(1) == Some(held.start) => {
                    last.end = held.end;
                }
                _ => self.0.push(held),
            }
        }
    }

    pub(super) fn as_slice(&self) -> &[Lock] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BYTES: u64 = 12;

    fn any_lock() -> impl Strategy<Value = Lock> {
        let kind = prop_oneof![
            Just(LockKind::Read),
            Just(LockKind::Write),
            Just(LockKind::Unlock)
        ];
        let end = prop_oneof![0..BYTES, Just(u64::MAX)];
        (kind, 0..BYTES, end).prop_map(|(kind, start, end)| Lock {
            kind,
            start,
            end: end.max(start),
        })
    }

    proptest! {
        #[test]
        fn each_byte_is_locked_as_it_was_last_asked_for(locks in proptest::collection::vec(any_lock(), 0..20)) {
            let mut ranges = Ranges::default();
            let mut bytes = vec![LockKind::Unlock; BYTES as usize + 1];
            for lock in locks {
                ranges.set(lock);
                for byte in lock.start..=lock.end.min(BYTES) {
                    bytes[byte as usize] = lock.kind;
                }
                for (byte, kind) in (0..).zip(&bytes) {
                    let held = ranges.as_slice().iter().find(|held| (held.start..=held.end).contains(&byte));
                    prop_assert_eq!(held.map_or(LockKind::Unlock, |held| held.kind), *kind);
                }
                let pairs = ranges.as_slice().windows(2);
                for pair in pairs {
                    prop_assert!(pair[0].end < pair[1].start);
                    prop_assert!(pair[0].kind != pair[1].kind || pair[0].end + 1 < pair[1].start);
                }
            }
        }
    }
}
