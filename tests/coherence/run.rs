//! One run: a folder, two mounts of it, somebody on the disk, and one step after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::actor::{Actor, Place};
use super::change::{Change, Spot};
use super::choose::{self, Known, NAMES};
use super::look::{self, Answer, Base, But, Picture, Question, Shown};
use super::random::Random;
use crate::common::{BOB, CARA, OLGA, ROOT, SOON, World, plant};

/// What a change may answer without anything being wrong.
const FAILURES: [&str; 11] = [
    "EACCES",
    "EBADF",
    "EEXIST",
    "EINVAL",
    "EISDIR",
    "ELOOP",
    "ENODATA",
    "ENOENT",
    "ENOTDIR",
    "ENOTEMPTY",
    "EPERM",
];

/// What is promised of a change behind the daemon's back.
const PROMISED: Duration = Duration::from_millis(50);

pub struct Run {
    seed: u64,
    random: Random,
    actors: Vec<Actor>,
    backing: PathBuf,
    /// What was there after the last step.
    entries: BTreeMap<String, Shown>,
    /// Inodes that were changed through a mapping last: the kernel tells the time of that when it likes.
    mapped: BTreeSet<u64>,
    /// How long changes on the disk went unseen.
    unseen: Vec<Duration>,
    steps: usize,
    history: Vec<String>,
    _world: World,
}

impl Run {
    pub fn new(seed: u64) -> Option<Self> {
        let world = World::new()?;
        let adopted = seed.is_multiple_of(2);
        let backing = if adopted {
            let mine = world.dir.join("mine");
            OLGA.directory(&mine);
            world.ok(OLGA, &format!("create tests --path {}", mine.display()));
            mine
        } else {
            world.folder("tests")
        };
        plant(&backing, &["a/a", "a/b/c", "b", "c/", "d/d/"]);
        // An editor's attempts to remove are refused, and yet looked at.
        let level = if seed % 4 == 3 { "edit" } else { "full" };
        world.share("tests", BOB, level);
        let native = if adopted { OLGA } else { ROOT };
        let mut places = vec![
            (OLGA, Place::Mount, world.mount(OLGA).join("tests")),
            (BOB, Place::Mount, world.mount(BOB).join("tests")),
            (native, Place::Disk, backing.clone()),
        ];
        let looks_only = seed > 2;
        if looks_only {
            world.share("tests", CARA, "view");
            let at = world.mount_with(CARA, "--read-only").join("tests");
            places.push((CARA, Place::ReadOnlyMount, at));
        }
        let actors = places.into_iter();
        let mut actors: Vec<_> = actors
            .map(|(user, place, top)| Actor::new(user, place, top, &backing))
            .collect();
        // Who keeps pages is told of what was stored to a mapping on the disk when that is gone.
        let native = actors.iter_mut().filter(|actor| actor.place == Place::Disk);
        native.filter(|_| looks_only).for_each(Actor::keep_no_mapping);
        let mut run = Self {
            seed,
            random: Random::new(seed),
            actors,
            backing,
            entries: BTreeMap::new(),
            mapped: BTreeSet::new(),
            unseen: Vec::new(),
            steps: 0,
            history: Vec::new(),
            _world: world,
        };
        run.entries = run.on_disk();
        run.compare(None);
        Some(run)
    }

    /// A change, or a few of them at once, after which everybody looks.
    pub fn step(&mut self) {
        self.steps += 1;
        let changes = if self.random.once_in(4) { 3 } else { 1 };
        let (mut made, mut native) = (0, false);
        while made < changes {
            let actor = self.random.below(self.actors.len());
            if self.make_one(actor, made > 0) {
                let place = self.actors[actor].place;
                made += usize::from(place != Place::ReadOnlyMount);
                native |= place == Place::Disk;
            }
            self.entries.extend(self.on_disk());
        }
        self.compare(native.then(Instant::now));
        for actor in &self.actors {
            actor.forget_what_is_gone();
        }
    }

    /// How long changes on the disk went unseen, as text. Ends the test if that was too long on the whole: of
    /// a single one the machine may be to blame.
    pub fn staleness(&mut self) -> String {
        self.unseen.sort();
        let Some(worst) = self.unseen.last() else {
            return "nothing was changed on the disk".into();
        };
        let median = self.unseen[self.unseen.len() / 2];
        if median > PROMISED {
            self.fail(&format!("half of the changes on the disk went unseen {median:?}"));
        }
        let late = self.unseen.iter().filter(|unseen| **unseen > PROMISED).count();
        let all = self.unseen.len();
        format!(
            "{all} changes on the disk went unseen {median:?}, at worst {worst:?}, {late} of them too long"
        )
    }

    /// After another change that he has not looked at, if so said.
    fn make_one(&mut self, actor: usize, unseen: bool) -> bool {
        let (directories, files) = self.actors[actor].holds();
        let reads_only = self.actors[actor].place == Place::ReadOnlyMount;
        let known = Known {
            entries: &self.entries,
            directories: &directories,
            files,
        };
        let chosen = if reads_only {
            choose::hold(&mut self.random, &known, false)
        } else {
            choose::change(&mut self.random, &known)
        };
        let Some(change) = chosen else { return false };
        let inode = |at: &Spot| self.inode(&at.full);
        let (times, map) = (change.times().and_then(inode), mapping(&change).and_then(inode));
        let answer = self.actors[actor].make(&change);
        let name = self.actors[actor].name();
        self.history.push(format!("{name}: {change:?}: {answer}"));
        // While it holds the lock for a rename, the kernel cannot take in that a directory was moved.
        let renames = matches!(change, Change::Rename(..) | Change::Exchange(..));
        let excused = unseen && renames && answer == "ESTALE";
        if answer != "ok" && !FAILURES.contains(&&*answer) && !excused {
            self.fail("this is no answer");
        }
        self.mapped.extend(map);
        if let Some(times) = times.filter(|_| answer == "ok") {
            self.mapped.remove(&times);
        }
        true
    }

    /// Has everybody look, until he sees what there is; at once, if nothing was changed behind the daemon's back.
    fn compare(&mut self, native: Option<Instant>) {
        let before: BTreeSet<String> = self.entries.keys().cloned().collect();
        self.entries = self.on_disk();
        let disk = self.picture(self.paths(before));
        let mut lookers: Vec<_> = (0..self.actors.len()).collect();
        lookers.retain(|actor| self.actors[*actor].place != Place::Disk);
        loop {
            let looks = Instant::now();
            let mut unseen = Vec::new();
            let first = self.random.below(lookers.len());
            lookers.rotate_left(first);
            for &actor in &lookers {
                let shown = self.actors[actor].look(&disk, &mut self.random);
                let actor = &self.actors[actor];
                let mut expected = actor.held_on_disk();
                expected.extend(disk.clone());
                let but = But {
                    times_of: &self.mapped,
                    read_only: actor.place == Place::ReadOnlyMount,
                };
                let differences = look::differences(&expected, &shown, &but).into_iter();
                unseen.extend(differences.map(|what| format!("{}: {what}", actor.name())));
            }
            if unseen.is_empty() {
                self.unseen.extend(native.map(|changed| looks - changed));
                return;
            }
            if native.is_none_or(|changed| changed.elapsed() > SOON) {
                self.fail(&unseen.join("\n"));
            }
        }
    }

    /// All that is asked about: what is there, what was there, and names that nothing has.
    fn paths(&self, before: BTreeSet<String>) -> BTreeSet<String> {
        let directories = self.entries.iter().filter(|(_, shown)| shown.is_directory());
        let missing = directories.flat_map(|(path, _)| NAMES.map(|name| format!("{path}/{name}")));
        let mut paths: BTreeSet<String> = before.into_iter().chain(missing).collect();
        paths.extend(NAMES.map(str::to_owned));
        paths.extend(self.entries.keys().cloned());
        paths
    }

    /// What there is to be known about these paths.
    fn picture(&mut self, paths: BTreeSet<String>) -> Picture {
        let mut picture = Picture::new();
        for path in paths {
            let absolute = self.backing.join(&path);
            let there = self.entries.get(&path);
            let mut questions = look::questions(there);
            if there.is_none() {
                questions = std::slice::from_ref(self.random.one_of(questions));
            }
            for question in questions {
                let answer = look::ask(&Base::absolute(absolute.clone()), &absolute, *question);
                picture.insert((path.clone(), *question), answer);
            }
        }
        picture
    }

    /// The tree as it is.
    fn on_disk(&self) -> BTreeMap<String, Shown> {
        let mut entries = BTreeMap::new();
        walk(&self.backing, "", &mut entries);
        entries
    }

    fn inode(&self, path: &str) -> Option<u64> {
        let stat = self.backing.join(path).symlink_metadata();
        stat.ok().map(|stat| stat.ino())
    }

    /// Ends the test, with what one needs to make it happen again.
    fn fail(&self, what: &str) -> ! {
        let last = self.history.len().saturating_sub(30);
        let history = self.history[last..].join("\n");
        let (seed, step) = (self.seed, self.steps);
        panic!("{history}\nLENDFS_COHERENCE_SEED={seed} fails at step {step}:\n{what}");
    }
}

fn mapping(change: &Change) -> Option<&Spot> {
    match change {
        Change::Map(at, _) => Some(at),
        _ => None,
    }
}

fn walk(top: &Path, path: &str, entries: &mut BTreeMap<String, Shown>) {
    for entry in std::fs::read_dir(top.join(path)).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let path = if path.is_empty() {
            name
        } else {
            format!("{path}/{name}")
        };
        let at = Base::absolute(top.join(&path));
        let Answer::Stat(shown) = look::ask(&at, &at.path, Question::Stat) else {
            panic!("{path} was there");
        };
        let directory = shown.is_directory();
        entries.insert(path.clone(), shown);
        if directory {
            walk(top, &path, entries);
        }
    }
}
