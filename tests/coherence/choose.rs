//! Which change is made next: a random one, of what is there. Pure.

use std::collections::BTreeMap;

use super::change::{Change, Data, Spot};
use super::look::Shown;
use super::random::Random;

/// The names that everything has: few, so that they meet, and are known to be missing where they are.
pub const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// How many entries there are to be at most, or so.
const CROWD: usize = 18;
const DEEPEST: usize = 3;

/// What is there, as far as the choice needs it.
pub struct Known<'a> {
    pub entries: &'a BTreeMap<String, Shown>,
    /// Where the directories that the actor holds are.
    pub directories: &'a [Option<String>],
    pub files: usize,
}

impl Known<'_> {
    fn of(&self, kind: impl Fn(&Shown) -> bool) -> Vec<&str> {
        let all = self.entries.iter().filter(|(_, shown)| kind(shown));
        all.map(|(path, _)| &**path).collect()
    }

    /// Where something may be made: the top, too.
    fn directories(&self) -> Vec<&str> {
        let mut all = self.of(Shown::is_directory);
        all.push("");
        all
    }

    fn exists(&self, path: &str) -> bool {
        self.entries.contains_key(path)
    }
}

/// A change; `None` if there is nothing that the one that was drawn could be made of.
pub fn change(random: &mut Random, known: &Known<'_>) -> Option<Change> {
    if known.files > 0 && random.once_in(5) {
        return Some(on_a_handle(random, known.files));
    }
    if known.entries.len() > CROWD && random.once_in(2) {
        let at = spot(random, known, Shown::is_directory)?;
        return Some(Change::Clear(at));
    }
    let any = |_: &Shown| true;
    let no_directory = |shown: &Shown| !shown.is_directory();
    Some(match random.below(30) {
        0..=3 => Change::Create(new(random, known)?, data(random)),
        4 => Change::Write(
            spot(random, known, Shown::is_file)?,
            random.below(6000) as u64,
            data(random),
        ),
        5..=6 => Change::Append(spot(random, known, Shown::is_file)?, data(random)),
        7 => Change::OpenTruncate(spot(random, known, Shown::is_file)?, data(random)),
        8 => Change::Truncate(spot(random, known, Shown::is_file)?, size(random)),
        9..=11 => Change::Rename(spot(random, known, any)?, new(random, known)?),
        12 => Change::Rename(
            spot(random, known, no_directory)?,
            spot(random, known, no_directory)?,
        ),
        13 => Change::Exchange(spot(random, known, any)?, spot(random, known, any)?),
        14..=15 => {
            let at = spot(random, known, Shown::is_file)?;
            // What an attempt has left behind is no document.
            if at.path.ends_with(".new") {
                return None;
            }
            Change::Save(at, data(random))
        }
        16..=17 => Change::Unlink(spot(random, known, no_directory)?),
        18..=19 => Change::Mkdir(new(random, known)?),
        20 => Change::Rmdir(spot(random, known, Shown::is_directory)?),
        21 => Change::Remake(spot(random, known, Shown::is_directory)?),
        22 => Change::Symlink(
            new(random, known)?,
            random.one_of::<&str>(&["a", "../b", "c/d", "nowhere"]),
        ),
        23 => Change::Link(spot(random, known, Shown::is_file)?, new(random, known)?),
        24 => Change::Chmod(
            spot(random, known, |shown| !shown.is_symlink())?,
            *random.one_of(&[0o755, 0o700, 0o750, 0o711]),
        ),
        25 => Change::Utimes(spot(random, known, any)?, 1_000_000_000 + size(random)),
        26 if random.once_in(2) => Change::RemoveNote(spot(random, known, Shown::is_file)?),
        26 => {
            let letter = *random.one_of(b"nop");
            Change::SetNote(
                spot(random, known, Shown::is_file)?,
                Data(letter, 1 + random.below(40)),
            )
        }
        27 => Change::Map(
            spot(random, known, |shown| shown.is_file() && shown.size > 0)?,
            random.below(9000),
        ),
        _ => return hold(random, known, true),
    })
}

/// Something to be held from now on.
pub fn hold(random: &mut Random, known: &Known<'_>, to_write: bool) -> Option<Change> {
    Some(match random.below(6) {
        0..=2 => {
            let write = to_write && !random.once_in(4);
            Change::HoldFile(spot(random, known, Shown::is_file)?, write, random.once_in(4))
        }
        3 => Change::Enter(spot(random, known, Shown::is_directory)?),
        _ => Change::HoldDirectory(spot(random, known, Shown::is_directory)?),
    })
}

fn on_a_handle(random: &mut Random, files: usize) -> Change {
    let (file, other) = (random.below(files), random.below(files));
    match random.below(7) {
        0..=2 => Change::HeldWrite(file, random.below(6000) as u64, data(random)),
        3 => Change::HeldTruncate(file, size(random).unsigned_abs()),
        4 => Change::HeldAllocate(file, 1 + size(random)),
        _ => Change::HeldCopy(file, other),
    }
}

fn data(random: &mut Random) -> Data {
    let most = *random.one_of(&[3, 40, 5000]);
    Data(*random.one_of(b"klmnopqrstuvwxyz"), 1 + random.below(most))
}

fn size(random: &mut Random) -> i64 {
    let most = *random.one_of(&[2, 50, 9000]);
    random.below(most) as i64
}

/// Something that is there.
fn spot(random: &mut Random, known: &Known<'_>, kind: impl Fn(&Shown) -> bool) -> Option<Spot> {
    let all = known.of(kind);
    if all.is_empty() {
        return None;
    }
    let path = (*random.one_of(&all)).to_owned();
    Some(reached(random, known, path))
}

/// A name that is free.
fn new(random: &mut Random, known: &Known<'_>) -> Option<Spot> {
    let all = known.directories();
    let directory = random.one_of(&all);
    let name = random.one_of(&NAMES);
    let path = if directory.is_empty() {
        (*name).to_owned()
    } else {
        format!("{directory}/{name}")
    };
    let free = !known.exists(&path) && path.split('/').count() <= DEEPEST;
    free.then(|| reached(random, known, path))
}

/// The path from where the actor stands or what he holds, now and then.
fn reached(random: &mut Random, known: &Known<'_>, full: String) -> Spot {
    let from_held = |(number, at): (usize, &Option<String>)| {
        let at = at.as_deref()?;
        let rest = full.strip_prefix(at)?.strip_prefix('/')?;
        Some((number, rest.to_owned()))
    };
    let bases: Vec<_> = known
        .directories
        .iter()
        .enumerate()
        .filter_map(from_held)
        .collect();
    if bases.is_empty() || random.once_in(3) {
        return Spot {
            held: None,
            path: full.clone(),
            full,
        };
    }
    let (held, path) = random.one_of(&bases).clone();
    Spot {
        held: Some(held),
        path,
        full,
    }
}
