//! What lets most files pass without a closer look: which inode numbers may be those of file handles that lines are
//! tied to, and which names may have a line. Never says no wrongly: what cannot be read may be anything.

use std::collections::HashMap;

/// See the module's doc.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Hints {
    /// The words of handles that may be inode numbers, cut to 32 bits.
    numbers: Counted,
    /// Handles of types that are not known here.
    unread: u32,
    /// Hashes of names.
    names: Counted,
}

/// Words, each with how often it came.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Counted(HashMap<u32, u32>);

impl Hints {
    pub(super) fn add_handle(&mut self, handle: &[u8]) {
        match words(handle) {
            Some(words) => words.for_each(|word| self.numbers.add(word)),
            None => self.unread += 1,
        }
    }

    pub(super) fn take_handle(&mut self, handle: &[u8]) {
        match words(handle) {
            Some(words) => words.for_each(|word| self.numbers.take(word)),
            None => self.unread = self.unread.saturating_sub(1),
        }
    }

    /// Tells whether one of the handles may be that of an inode with this number.
    pub(super) fn may_have_number(&self, number: u64) -> bool {
        self.unread > 0 || self.numbers.0.contains_key(&(number as u32))
    }

    pub(super) fn add_name(&mut self, name: &[u8]) {
        self.names.add(hash(name));
    }

    pub(super) fn take_name(&mut self, name: &[u8]) {
        self.names.take(hash(name));
    }

    /// Tells whether this may be one of the names.
    pub(super) fn may_have_name(&self, name: &[u8]) -> bool {
        self.names.0.contains_key(&hash(name))
    }
}

impl Counted {
    fn add(&mut self, word: u32) {
        *self.0.entry(word).or_default() += 1;
    }

    fn take(&mut self, word: u32) {
        if let Some(count) = self.0.get_mut(&word) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&word);
            }
        }
    }
}

/// FNV-1a.
fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// Tells whether a file handle may be that of an inode with this number. Where it may not be that of a file that it
/// is of, the file system makes its handles in a way that [`Places::may_know`](super::Places::may_know) cannot read.
pub fn handle_tells_number(handle: &[u8], number: u64) -> bool {
    words(handle).is_none_or(|mut words| words.any(|word| word == number as u32))
}

/// The words of a handle (type, then what the file system made) at which a known type may have the inode number.
fn words(handle: &[u8]) -> Option<impl Iterator<Item = u32>> {
    let (kind, bytes) = handle.split_first_chunk::<4>()?;
    let places: &[usize] = match (i32::from_le_bytes(*kind), bytes.len()) {
        // FILEID_INO32_GEN and its like with the parent: the number first (ext4), ...
        (1 | 2, ..12) => &[0],
        // ... after the generation or a high half (tmpfs, ocfs2), or after a length of two bytes (ZFS).
        (1 | 2, _) => &[0, 2, 4],
        // XFS with numbers of 64 bits; FILEID_INO64_GEN; FILEID_BTRFS_*: the number first, in either order of halves.
        (0x81 | 0x82 | 0x4d..=0x4f, _) => &[0, 4],
        _ => return None,
    };
    let word = |at: &usize| Some(u32::from_ne_bytes(bytes.get(*at..*at + 4)?.try_into().ok()?));
    Some(places.iter().filter_map(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Handles as file systems make them: of a number and a generation.
    fn handles(number: u64, generation: u32) -> Vec<Vec<u8>> {
        let low = number as u32;
        let words = |kind: i32, words: &[u32]| {
            std::iter::once(kind.cast_unsigned())
                .chain(words.iter().copied())
                .flat_map(u32::to_ne_bytes)
                .collect::<Vec<u8>>()
        };
        let object = number.to_le_bytes();
        let halves = [low, (number >> 32) as u32];
        vec![
            words(1, &[low, generation]),
            words(2, &[low, generation, 2, 0]),
            words(1, &[generation, halves[0], halves[1]]),
            words(0x81, &[halves[0], halves[1], generation]),
            words(0x82, &[halves[0], halves[1], generation, 2, 0, 0]),
            words(0x4d, &[halves[0], halves[1], 5, 0, generation]),
            [&[1, 0, 0, 0, 10, 0][..], &object[..6], &generation.to_le_bytes()].concat(),
            words(0xf8, &[generation]),
        ]
    }

    proptest! {
        #[test]
        fn a_known_handle_s_number_is_never_denied(
            known in prop::collection::vec((any::<u32>(), any::<u32>(), 0..8_usize), 1..20),
            taken in any::<prop::sample::Index>(),
        ) {
            let mut hints = Hints::default();
            let known: Vec<_> = known
                .iter()
                .map(|&(number, generation, kind)| {
                    (u64::from(number), handles(u64::from(number), generation).remove(kind))
                })
                .collect();
            for (_, handle) in &known {
                hints.add_handle(handle);
            }
            let gone = taken.index(known.len());
            hints.take_handle(&known[gone].1);
            for (at, (number, handle)) in known.iter().enumerate() {
                prop_assert!(handle_tells_number(handle, *number));
                prop_assert!(at == gone || hints.may_have_number(*number));
            }
            for (_, handle) in known.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, known)| known) {
                hints.take_handle(handle);
            }
            prop_assert_eq!(hints, Hints::default());
        }
    }

    #[test]
    fn other_numbers_are_denied_while_all_types_are_known() {
        let mut hints = Hints::default();
        hints.add_handle(&handles(1234, 99)[0]);
        assert!(hints.may_have_number(1234) && !hints.may_have_number(99) && !hints.may_have_number(1235));
        let strange = handles(7, 7).pop().unwrap();
        hints.add_handle(&strange);
        assert!(hints.may_have_number(1235));
        hints.take_handle(&strange);
        assert!(!hints.may_have_number(1235));
    }
}
