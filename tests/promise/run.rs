//! One run: a folder, mounts of it, processes in them, and one step after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::call::{Call, Through};
use super::choose::Chooser;
use super::random::Random;
use super::tree::{Asker, Tree, look, name, parent};
use super::worker::{Place, Worker};
use super::worlds::{self, Judge, Rules, Who};
use crate::common::{BOB, CARA, DAN, OLGA, ROOT, User, World, plant};

/// What a call may answer without anything being wrong.
const FAILURES: [&str; 12] = [
    "EACCES",
    "EBADF",
    "EEXIST",
    "EINVAL",
    "EISDIR",
    "ELOOP",
    "ENOENT",
    "ENOTDIR",
    "ENOTEMPTY",
    "ENXIO",
    "EPERM",
    "ESTALE",
];
/// What the kernel says where something else than what was made has its name by then.
const LOST: &str = "EIO";
/// After a change on the disk it may take so long until all mounts know of it.
const SOON: Duration = Duration::from_millis(200);
/// So many entries are enough.
const FULL: usize = 26;

pub struct Run {
    seed: u64,
    rules: Rules,
    random: Random,
    world: World,
    backing: PathBuf,
    places: Vec<Place>,
    workers: Vec<Worker>,
    /// What may be true: seldom more than one.
    trees: Vec<Tree>,
    last_number: u32,
    changed_on_disk: Option<Instant>,
    steps: usize,
    answers: BTreeMap<String, usize>,
    history: Vec<String>,
}

/// A call that a worker is about to make.
struct Asked {
    worker: usize,
    call: Call,
    who: Who,
    line: String,
    on_disk: bool,
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
        let files = ["doc", "book", "hall/doc", "hall/book", "hall/room/doc"];
        plant(&backing, &files);
        for file in files {
            std::fs::write(backing.join(file), random.secret()).unwrap();
        }
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
            trees: vec![planted(&backing)],
            backing,
            places: Vec::new(),
            workers: Vec::new(),
            last_number: 0,
            changed_on_disk: None,
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

    fn next_number(&mut self) -> u32 {
        self.last_number += 1;
        self.last_number
    }

    /// One call, which has to be answered as is expected.
    fn one(&mut self) {
        let worker = self.choose_worker();
        let Some(call) = self.choose_call(worker) else {
            return;
        };
        let asked = self.ask(worker, call, true);
        let answer = self.workers[worker].hand.does(&asked.line);
        self.note(&asked, &answer);
        if !is_answer(&answer) {
            self.fail("this is no answer");
        }
        let (who, rules) = (asked.who, self.rules);
        let judges = self.trees.iter().map(|tree| Judge { tree, who, rules });
        let must = self.is_quiet() && judges.into_iter().all(|judge| judge.must_succeed(&asked.call));
        // While it holds the lock for a rename, the kernel cannot take in that a directory was moved.
        if must && !succeeded(&answer) && answer != "ESTALE" {
            self.fail("this should have been allowed");
        }
        if let (Call::Read(at), Some(content)) = (&asked.call, answer.strip_prefix('='))
            && self.is_quiet()
            && self.trees.iter().all(|tree| !tree.is_gone_for_some(at))
            && (self.tree().entries.get(at))
                .is_none_or(|entry| self.tree().bodies[&entry.body].content != content.as_bytes())
        {
            self.fail("this is not its content");
        }
        if let (Call::Hold(at), Ok(descriptor)) = (&asked.call, answer.parse())
            && let Some(entry) = self.tree().entries.get(at)
            && let Some(number) = self.tree().bodies[&entry.body].number
        {
            self.workers[worker].hold(descriptor, number);
        }
        let trees = self.trees.iter();
        let worlds = trees.flat_map(|tree| self.worlds_after(tree, &asked, &answer));
        self.settle(worlds.collect());
    }

    /// Two calls of two processes, in whichever order.
    fn two_at_once(&mut self) {
        let (one, other) = (self.choose_worker(), self.choose_worker());
        if one == other {
            return;
        }
        let Some(first) = self.choose_call(one) else {
            return;
        };
        let hot = first.paths().into_iter().map(str::to_owned).collect();
        let second = self.chooser(hot).call();
        let Some(second) = second.filter(|call| self.may_ask(other, call)) else {
            return;
        };
        let in_one_go = |call: &Call| !matches!(call, Call::Read(_) | Call::Hold(_) | Call::HeldWrite { .. });
        if !in_one_go(&first) || !in_one_go(&second) {
            return;
        }
        let bare = |call: Call| call.interrupted().unwrap_or(call);
        let asked = [
            self.ask(one, bare(first), false),
            self.ask(other, bare(second), false),
        ];
        for asked in &asked {
            self.workers[asked.worker].hand.begin(&asked.line);
        }
        let answers = [&asked[0], &asked[1]].map(|asked| self.workers[asked.worker].hand.end());
        self.history.push("at once:".into());
        for (asked, answer) in asked.iter().zip(&answers) {
            self.note(asked, answer);
        }
        for (asked, answer) in asked.iter().zip(&answers) {
            if !is_answer(answer) && !(answer == LOST && asked.call.makes()) {
                self.fail("this is no answer");
            }
        }
        let [first, second] = [0, 1].map(|at| (&asked[at], answers[at].as_str()));
        let mut worlds = self.worlds_after_two(first, second);
        worlds.extend(self.worlds_after_two(second, first));
        // Who came first is not for sure.
        for asked in &asked {
            worlds
                .iter_mut()
                .for_each(|world| doubt(&mut world.tree, &asked.call));
        }
        self.settle(worlds);
    }

    /// Kills the daemon while it is asked.
    fn kill_in_a_call(&mut self) {
        let worker = self.choose_worker();
        let call = self.choose_call(worker);
        let Some(call) = call.filter(|call| !matches!(call, Call::Hold(_) | Call::HeldWrite { .. })) else {
            return;
        };
        let asked = self.ask(worker, call, false);
        self.workers[worker].hand.begin(&asked.line);
        let wait = Duration::from_micros(self.random.below(900) as u64);
        let begun = Instant::now();
        while begun.elapsed() < wait {
            std::hint::spin_loop();
        }
        self.end(Signal::SIGKILL);
        let answer = self.workers[worker].hand.end();
        self.history.push(format!(
            "killed: {}: {:?}: {answer}",
            self.workers[worker].user.name, asked.call
        ));
        let mut worlds = Vec::new();
        for tree in &self.trees {
            let mut after = self.worlds_after(tree, &asked, &answer);
            if !succeeded(&answer) {
                let interrupted = asked.call.interrupted();
                for call in interrupted.iter().chain([&asked.call]) {
                    after.extend(worlds::after(tree, call, asked.who, self.rules));
                }
            }
            for world in &mut after {
                doubt(&mut world.tree, &asked.call);
                keep_marks(tree, &mut world.tree);
            }
            worlds.extend(after);
        }
        self.remove_litter();
        self.settle(worlds);
        self.start_again();
    }

    fn restart(&mut self) {
        let signal = if self.random.once_in(4) {
            Signal::SIGTERM
        } else {
            Signal::SIGKILL
        };
        self.history.push(format!("{signal}"));
        self.end(signal);
        self.start_again();
        let trees = self.trees.iter().cloned();
        self.settle(trees.map(|tree| worlds::World { tree, wrong: None }).collect());
    }

    /// Ends the daemon, and takes down what it leaves.
    fn end(&mut self, signal: Signal) {
        if signal == Signal::SIGKILL {
            let daemon = i32::try_from(self.world.pid()).unwrap();
            kill(Pid::from_raw(daemon), signal).unwrap();
            for mount in self.places.iter().filter_map(|place| place.mount.as_ref()) {
                // What one of its threads tells the kernel may wait for a lookup that nobody answers any more, and the
                // thread does not end before.
                umount2(mount, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH).unwrap();
            }
        }
        self.world.end(signal);
    }

    fn start_again(&mut self) {
        for worker in &mut self.workers {
            worker.let_go();
        }
        self.world.start();
        for at in 0..self.places.len() {
            if let Some(mount) = &self.places[at].mount {
                let user = self.places[at].user;
                self.world.ok(user, &format!("mount {}", mount.display()));
                self.places[at].number = self.next_number();
            }
        }
        let entries = self.trees.iter_mut().flat_map(|tree| tree.entries.values_mut());
        entries.for_each(|entry| entry.gone.clear());
    }

    fn end_a_process(&mut self) {
        let worker = self.random.below(self.workers.len());
        let process = self.next_number();
        self.history
            .push(format!("{} ends a process", self.workers[worker].user.name));
        self.workers[worker].renew(process);
    }

    fn choose_worker(&mut self) -> usize {
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

    fn choose_call(&mut self, worker: usize) -> Option<Call> {
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
    fn may_ask(&self, worker: usize, call: &Call) -> bool {
        !self.workers[worker].owner || !matches!(call, Call::Lock(_))
    }

    fn chooser(&mut self, hot: Vec<String>) -> Chooser<'_> {
        Chooser {
            random: &mut self.random,
            tree: &self.trees[0],
            hot,
        }
    }

    fn ask(&mut self, worker: usize, call: Call, any_thread: bool) -> Asked {
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

    fn note(&mut self, asked: &Asked, answer: &str) {
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

    fn is_quiet(&self) -> bool {
        self.changed_on_disk
            .is_none_or(|changed| changed.elapsed() > SOON)
    }

    fn worlds_after(&self, tree: &Tree, asked: &Asked, answer: &str) -> Vec<worlds::World> {
        if succeeded(answer) {
            return worlds::after(tree, &asked.call, asked.who, self.rules);
        }
        vec![worlds::World {
            tree: tree.clone(),
            wrong: None,
        }]
    }

    /// The worlds after two calls at once, one of which came first.
    fn worlds_after_two(&self, first: (&Asked, &str), second: (&Asked, &str)) -> Vec<worlds::World> {
        let mut worlds = Vec::new();
        let lost = second.0.call.may_be_lost(&first.0.call);
        let trees = self.trees.iter();
        for world in trees.flat_map(|tree| self.worlds_after_one_of_two(tree, first.0, first.1)) {
            let mut then = self.worlds_after_one_of_two(&world.tree, second.0, second.1);
            if let Some(call) = second.0.call.followed(&first.0.call)
                && succeeded(second.1)
            {
                then.extend(worlds::after(&world.tree, &call, second.0.who, self.rules));
            }
            if lost {
                then.extend(self.worlds_after(&world.tree, second.0, "ENOENT"));
            }
            worlds.extend(then.into_iter().map(|then| worlds::World {
                wrong: world.wrong.clone().or(then.wrong),
                tree: then.tree,
            }));
        }
        worlds
    }

    /// Likewise; what was made may not be found again by who made it.
    fn worlds_after_one_of_two(&self, tree: &Tree, asked: &Asked, answer: &str) -> Vec<worlds::World> {
        let mut worlds = self.worlds_after(tree, asked, answer);
        if asked.call.makes() && matches!(answer, "ENOENT" | "ESTALE" | LOST) {
            worlds.extend(self.worlds_after(tree, asked, "ok"));
        }
        worlds
    }

    /// Finds the worlds that the disk may be showing, and goes on in them.
    fn settle(&mut self, worlds: Vec<worlds::World>) {
        let disk = look(&self.backing);
        let (mut wrong, mut difference) = (None, None);
        let mut right: BTreeMap<String, Tree> = BTreeMap::new();
        for world in worlds {
            let mut tree = world.tree;
            match (tree.differs(&disk), world.wrong) {
                (None, None) => drop(right.entry(tree.fingerprint()).or_insert(tree)),
                (None, Some(what)) => wrong = wrong.or(Some(what)),
                (Some(what), _) => difference = difference.or(Some(what)),
            }
        }
        if right.is_empty() {
            let what = wrong.or(difference).unwrap_or_default();
            self.fail(&what);
        }
        self.trees = right.into_values().collect();
    }

    /// The one that is taken for true.
    fn tree(&self) -> &Tree {
        &self.trees[0]
    }

    /// What was about to take the place of another when the daemon was killed.
    fn remove_litter(&mut self) {
        let paths: BTreeSet<String> = look(&self.backing).into_keys().collect();
        for path in paths.iter().filter(|path| name(path).starts_with(".lendfs-")) {
            std::fs::remove_file(self.backing.join(path)).unwrap();
            *self.answers.entry("litter".into()).or_default() += 1;
        }
    }

    /// Ends the test, with what one needs to make it happen again.
    fn fail(&self, what: &str) -> ! {
        let last = self.history.len().saturating_sub(400);
        let history = self.history[last..].join("\n");
        let (seed, step, rules) = (self.seed, self.steps, self.rules);
        panic!("{history}\nLENDFS_PROMISE_SEED={seed} fails at step {step} ({rules:?}):\n{what}");
    }
}

/// Who did what first, or whether it was noted, is not for sure.
fn doubt(tree: &mut Tree, call: &Call) {
    for path in call.paths() {
        let beside = tree
            .entries
            .iter_mut()
            .filter(|(other, _)| parent(other) == parent(path));
        for (other, entry) in beside {
            entry.certain &= other != path;
            entry.aside.iter_mut().for_each(|aside| aside.certain = false);
        }
    }
}

/// A mark may not have been removed yet when the daemon was killed.
fn keep_marks(before: &Tree, tree: &mut Tree) {
    for (number, body) in &mut tree.bodies {
        if let (None, Some(before)) = (&body.scratch, before.bodies.get(number)) {
            body.scratch.clone_from(&before.scratch);
        }
    }
}

fn is_answer(answer: &str) -> bool {
    succeeded(answer) || FAILURES.contains(&answer)
}

fn succeeded(answer: &str) -> bool {
    answer == "ok" || answer.starts_with('=') || answer.parse::<u32>().is_ok()
}

/// The tree as Olga has made it.
fn planted(backing: &std::path::Path) -> Tree {
    let mut tree = Tree::default();
    tree.plant(&look(backing), OLGA.uid);
    tree
}
