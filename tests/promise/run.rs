//! One run: a folder, mounts of it, processes in them, and one step after the other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::call::{Call, Through};
use super::choose::Chooser;
use super::judge::{Rules, Who};
use super::random::Random;
use super::steps::succeeded;
use super::tree::{Asker, Tree, look};
use super::worker::{Place, Worker};
use crate::common::{BOB, CARA, DAN, OLGA, ROOT, User, World, plant};

/// After a change on the disk it may take so long until all mounts know of it.
const SOON: Duration = Duration::from_millis(200);
/// Of more worlds than these the true one is not to be looked for.
const MOST_TREES: usize = 16;
/// So many entries are enough.
const FULL: usize = 26;

pub struct Run {
    pub(super) seed: u64,
    pub(super) rules: Rules,
    pub(super) random: Random,
    pub(super) world: World,
    pub(super) backing: PathBuf,
    pub(super) places: Vec<Place>,
    pub(super) workers: Vec<Worker>,
    /// What may be true: seldom more than one.
    pub(super) trees: Vec<Tree>,
    pub(super) last_number: u32,
    pub(super) changed_on_disk: Option<Instant>,
    /// What was renamed lately.
    pub(super) moved: Vec<(Instant, Call)>,
    pub(super) steps: usize,
    pub(super) answers: BTreeMap<String, usize>,
    pub(super) history: Vec<String>,
}

/// A call that a worker is about to make.
pub struct Asked {
    pub worker: usize,
    pub call: Call,
    pub who: Who,
    pub line: String,
    pub on_disk: bool,
}

impl Rules {
    /// What a seed sets.
    fn of(seed: u64) -> Self {
        let bit = |bit: u32| seed.wrapping_sub(1) >> bit & 1 == 1;
        Self {
            adopted: bit(0),
            own_files: bit(1),
            replace_by_unlink: bit(2),
            strict: bit(3),
        }
    }
}

impl Run {
    pub fn new(seed: u64) -> Option<Self> {
        let world = World::new()?;
        let rules = Rules::of(seed);
        let backing = if rules.adopted {
            let mine = world.dir.join("mine");
            OLGA.directory(&mine);
            world.ok(OLGA, &format!("create tests --path {}", mine.display()));
            mine
        } else {
            world.folder("tests")
        };
        let mut random = Random::new(seed);
        let tree = planted(&backing, &mut random);
        let settings = [
            (rules.own_files, "own-files=removable"),
            (rules.replace_by_unlink, "replace-by-unlink=on"),
            (rules.strict, "revoke=strict"),
        ];
        for (_, setting) in settings.iter().filter(|(wanted, _)| *wanted) {
            world.ok(OLGA, &format!("set tests {setting}"));
        }
        let editors = [BOB, CARA, DAN];
        for user in editors {
            world.share("tests", user, "edit");
        }
        let mut run = Self {
            seed,
            rules,
            random,
            world,
            trees: vec![tree],
            backing,
            places: Vec::new(),
            workers: Vec::new(),
            last_number: 0,
            changed_on_disk: None,
            moved: Vec::new(),
            steps: 0,
            answers: BTreeMap::new(),
            history: Vec::new(),
        };
        let native = if rules.adopted { OLGA } else { ROOT };
        run.add_place(native, false);
        for user in [OLGA, BOB, BOB, CARA, DAN] {
            run.add_place(user, true);
        }
        run.add_worker(native, vec![0]);
        run.add_worker(OLGA, vec![1]);
        for (user, places, processes) in [(BOB, vec![2, 3], 3), (CARA, vec![4], 2), (DAN, vec![5], 1)] {
            for _ in 0..processes {
                run.add_worker(user, places.clone());
            }
        }
        Some(run)
    }

    pub fn step(&mut self) {
        self.steps += 1;
        match self.random.below(150) {
            _ if self.trees.len() > MOST_TREES => self.begin_anew(),
            0 => self.restart(),
            1 => self.kill_in_a_call(),
            2..5 => self.end_a_process(),
            5..40 => self.two_at_once(),
            _ => self.one(),
        }
        self.trees.iter_mut().for_each(Tree::prune);
    }

    /// How often which call had which answer.
    pub fn summary(&self) -> String {
        let answers = self.answers.iter();
        let answers: Vec<_> = answers.map(|(what, times)| format!("{what} {times}")).collect();
        format!("{:?}\n{}", self.rules, answers.join(", "))
    }

    fn add_place(&mut self, user: User, mounted: bool) {
        let mount = mounted.then(|| self.world.mount(user));
        let top = mount.as_ref().map_or(self.backing.clone(), |at| at.join("tests"));
        let number = self.next_number();
        self.places.push(Place {
            user,
            mount,
            top,
            number,
        });
    }

    fn add_worker(&mut self, user: User, places: Vec<usize>) {
        let process = self.next_number();
        let owner = user == OLGA || user == ROOT;
        self.workers.push(Worker::new(user, owner, places, process));
    }

    pub(super) fn next_number(&mut self) -> u32 {
        self.last_number += 1;
        self.last_number
    }

    pub(super) fn choose_worker(&mut self) -> usize {
        let full = self.tree().entries.len() > FULL;
        let owner = self.random.once_in(if full { 3 } else { 12 });
        let on_disk = self.random.once_in(6);
        let all = self.workers.iter().enumerate();
        let suits: Vec<usize> = all
            .filter(|(at, worker)| worker.owner == owner && (!owner || (*at == 0) == on_disk))
            .map(|(at, _)| at)
            .collect();
        *self.random.one_of(&suits)
    }

    pub(super) fn choose_call(&mut self, worker: usize) -> Option<Call> {
        if self.workers[worker].owner {
            let full = self.tree().entries.len() > FULL;
            return self.chooser(Vec::new()).upkeep(full);
        }
        if let Some(next) = self.workers[worker].plan.pop_front() {
            return Some(next);
        }
        let held = &self.workers[worker].held;
        if !held.is_empty() && self.random.once_in(8) {
            let (descriptor, number) = *self.random.one_of(held);
            let content = self.chooser(Vec::new()).content();
            return Some(Call::HeldWrite {
                descriptor,
                number,
                content,
            });
        }
        if self.random.once_in(4) {
            let plan = self.chooser(Vec::new()).plan()?;
            self.workers[worker].plan = plan.into();
            return self.workers[worker].plan.pop_front();
        }
        self.chooser(Vec::new()).call()
    }

    /// An owner can lock himself out.
    pub(super) fn may_ask(&self, worker: usize, call: &Call) -> bool {
        !self.workers[worker].owner || !matches!(call, Call::Lock(_))
    }

    pub(super) fn chooser(&mut self, hot: Vec<String>) -> Chooser<'_> {
        Chooser {
            random: &mut self.random,
            tree: &self.trees[0],
            hot,
        }
    }

    pub(super) fn ask(&mut self, worker: usize, call: Call, any_thread: bool) -> Asked {
        let places = &self.workers[worker].places;
        // Mostly the same, or hardly anything would be whose asks.
        let at = match self.random.below(5) {
            0 => *self.random.one_of(places),
            _ => places[worker % places.len()],
        };
        let alone = matches!(call, Call::Read(_) | Call::Hold(_) | Call::HeldWrite { .. });
        let through = match self.random.below(24) {
            0 if any_thread && !alone => Through::Child,
            1 if any_thread && !alone => Through::Thread,
            _ => Through::Itself,
        };
        let process = match through {
            Through::Child => self.next_number(),
            Through::Itself | Through::Thread => self.workers[worker].process,
        };
        let (worker_is, place) = (&self.workers[worker], &self.places[at]);
        Asked {
            worker,
            who: Who {
                // Whoever is at work on the disk, the owner answers for it.
                uid: if worker_is.owner {
                    OLGA.uid
                } else {
                    worker_is.user.uid
                },
                asker: Asker {
                    process,
                    mount: place.number,
                },
                owner: worker_is.owner,
            },
            line: call.line(&place.top, through),
            call,
            on_disk: place.mount.is_none(),
        }
    }

    pub(super) fn note(&mut self, asked: &Asked, answer: &str) {
        let Asked {
            call,
            who,
            worker,
            on_disk,
            ..
        } = asked;
        let (user, Asker { process, mount }) = (self.workers[*worker].user.name, who.asker);
        let place = if *on_disk {
            "disk".into()
        } else {
            format!("mount {mount}")
        };
        self.history
            .push(format!("{user} (process {process}, {place}): {call:?}: {answer}"));
        if *on_disk {
            self.changed_on_disk = Some(Instant::now());
        }
        let what = format!("{call:?}");
        let what = what.split(['(', ' ']).next().unwrap_or_default();
        let short = if succeeded(answer) { "ok" } else { answer };
        let role = if who.owner { "owner's " } else { "" };
        *self.answers.entry(format!("{role}{what} {short}")).or_default() += 1;
    }

    pub(super) fn remember_moves<'a>(&mut self, calls: impl IntoIterator<Item = &'a Call>) {
        self.moved.retain(|(then, _)| then.elapsed() < SOON);
        let moves = calls.into_iter().filter(|call| matches!(call, Call::Rename(..)));
        self.moved
            .extend(moves.map(|call| (Instant::now(), call.clone())));
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.changed_on_disk
            .is_none_or(|changed| changed.elapsed() > SOON)
    }

    /// The one that is taken for true.
    pub(super) fn tree(&self) -> &Tree {
        &self.trees[0]
    }

    /// Ends the test, with what one needs to make it happen again.
    pub(super) fn fail(&self, what: &str) -> ! {
        let last = self.history.len().saturating_sub(400);
        let history = self.history[last..].join("\n");
        let (seed, step, rules) = (self.seed, self.steps, self.rules);
        panic!("{history}\nLENDFS_PROMISE_SEED={seed} fails at step {step} ({rules:?}):\n{what}");
    }
}

/// The tree as Olga makes it.
pub fn planted(backing: &std::path::Path, random: &mut Random) -> Tree {
    let files = ["doc", "book", "hall/doc", "hall/book", "hall/room/doc"];
    plant(backing, &files);
    for file in files {
        std::fs::write(backing.join(file), random.secret()).unwrap();
    }
    let mut tree = Tree::default();
    tree.plant(&look(backing), OLGA.uid);
    tree
}
