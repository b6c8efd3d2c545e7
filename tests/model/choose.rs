//! Which call is made next: a random one, on paths that are there, hidden, or that never were.

use nix::fcntl::RenameFlags;
use nix::sys::stat::SFlag;
use nix::unistd::AccessFlags;

use super::call::{Call, Spot, What};
use super::random::Random;
use super::tree::{Names, Tree};
use crate::common::{BOB, CARA, DAN, OLGA};

/// Names that many calls use, so that they meet.
const COMMON: [&str; 5] = ["alpha", "beta", "gamma", "delta", "epsilon"];

/// What a user holds open, as far as the choice needs it.
pub struct Holds<'a> {
    /// The paths of the directories.
    pub directories: &'a [Names],
    pub files: usize,
}

pub fn call(random: &mut Random, tree: &Tree, holds: &Holds<'_>) -> Call {
    if holds.files > 0 && random.once_in(6) {
        return on_files(random, holds.files);
    }
    let mut spot = |new| spot(random, tree, holds, new);
    let (old, other, new) = (spot(false), spot(false), spot(true));
    let (what, spots) = match random.below(32) {
        0..=1 => (
            What::Create {
                exclusive: random.once_in(2),
            },
            vec![if random.once_in(2) { new } else { old }],
        ),
        2..=3 => (opening(random), vec![old]),
        4 => (What::Read, vec![old]),
        5..=6 => {
            let (append, data) = (random.once_in(2), random.bytes(40));
            (What::Write { append, data }, vec![old])
        }
        7 => (What::Truncate(random.below(60) as u64), vec![old]),
        8 => (What::Mkdir, vec![if random.once_in(3) { old } else { new }]),
        9..=10 => (What::Rmdir, vec![old]),
        11..=12 => (What::Unlink, vec![old]),
        13..=17 => {
            let flags = [
                RenameFlags::empty(),
                RenameFlags::RENAME_NOREPLACE,
                RenameFlags::RENAME_EXCHANGE,
            ];
            let flags = *random.one_of(&flags);
            let likely_new = if flags == RenameFlags::RENAME_EXCHANGE {
                8
            } else {
                2
            };
            let target = if random.below(8) < 8 / likely_new {
                new
            } else {
                other
            };
            (What::Rename(flags), vec![old, target])
        }
        18..=19 => (What::Link, vec![old, if random.once_in(4) { other } else { new }]),
        20 => (
            What::Symlink(format!("nowhere-{}", random.secret())),
            vec![if random.once_in(4) { old } else { new }],
        ),
        21 => {
            let kinds = [SFlag::S_IFREG, SFlag::S_IFIFO, SFlag::S_IFSOCK, SFlag::S_IFCHR];
            (What::Mknod(*random.one_of(&kinds)), vec![new])
        }
        22 => {
            let modes = [0o644, 0o600, 0o444, 0, 0o755, 0o4755, 0o1777];
            (What::Chmod(*random.one_of(&modes)), vec![old])
        }
        23 => {
            let uids = [OLGA, BOB, CARA, DAN].map(|user| user.uid);
            (What::Chown(*random.one_of(&uids)), vec![old])
        }
        24 => (What::Utimens, vec![old]),
        25 => {
            let whats = [What::SetXattr(b"note".to_vec()), What::RemoveXattr];
            (random.one_of(&whats).clone(), vec![old])
        }
        26 => {
            let whats = [What::GetXattr, What::GetForeignXattr, What::ListXattr];
            (random.one_of(&whats).clone(), vec![old])
        }
        27..=28 => (What::Stat, vec![old]),
        29 => (What::Access(mask(random)), vec![old]),
        30 => (random.one_of(&[What::Statfs, What::Readlink]).clone(), vec![old]),
        _ => (What::List, vec![old]),
    };
    let files = Vec::new();
    Call { what, spots, files }
}

fn on_files(random: &mut Random, held: usize) -> Call {
    let size = random.below(60) as u64;
    let whats = [
        What::HeldRead,
        What::HeldWrite(random.bytes(40)),
        What::HeldTruncate(size),
        What::HeldAllocate(size + 1),
        What::HeldStat,
        What::HeldCopy,
    ];
    Call {
        what: random.one_of(&whats).clone(),
        spots: Vec::new(),
        files: vec![random.below(held), random.below(held)],
    }
}

fn opening(random: &mut Random) -> What {
    let (read, write) = *random.one_of(&[(true, false), (true, true), (false, true)]);
    What::Open {
        read,
        write,
        truncate: random.once_in(3),
    }
}

fn mask(random: &mut Random) -> AccessFlags {
    AccessFlags::from_bits_truncate(i32::try_from(random.below(8)).unwrap())
}

/// A path: one that is there, or a new name in a directory (or, by mistake, in what is none); sometimes below a
/// directory that is held open.
fn spot(random: &mut Random, tree: &Tree, holds: &Holds<'_>, new: bool) -> Spot {
    let paths: Vec<_> = tree.paths().into_iter().map(|(path, _)| path).collect();
    let mut names = random.one_of(&paths).clone();
    if new || names.is_empty() {
        if !random.once_in(8) {
            while !tree.find(&names).is_some_and(|id| tree.is_directory(id)) {
                names.pop();
            }
        }
        // Deep trees would only make the paths less likely to meet.
        names.truncate(3);
        names.push(if random.once_in(4) {
            random.secret()
        } else {
            (*random.one_of(&COMMON)).to_owned()
        });
    }
    let above = holds
        .directories
        .iter()
        .position(|base| names.len() > base.len() && names.starts_with(base));
    match above.filter(|_| random.once_in(2)) {
        Some(held) => {
            names.drain(..holds.directories[held].len());
            let held = Some(held);
            Spot { held, names }
        }
        None => Spot { held: None, names },
    }
}
