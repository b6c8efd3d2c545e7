//! A step: one call, or two at once; which worlds there may be then, and which of them the disk shows.

use std::collections::BTreeMap;

use super::call::Call;
use super::judge::Judge;
use super::run::{Asked, Run};
use super::tree::{Tree, look, parent};
use super::worlds::{self, World};

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

impl Run {
    /// One call, which has to be answered as is expected.
    pub(super) fn one(&mut self) {
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
        let mut worlds = Vec::new();
        for tree in &self.trees {
            worlds.extend(self.worlds_after(tree, &asked, &answer));
            // A kernel may have gone through a directory that was moved just before.
            let moved = self.moved.iter().filter(|_| succeeded(&answer));
            for call in moved.filter_map(|(_, moved)| asked.call.followed(moved)) {
                worlds.extend(worlds::after(tree, &call, asked.who, self.rules));
            }
        }
        self.remember_moves([&asked.call]);
        self.settle(worlds);
    }

    /// Two calls of two processes, in whichever order.
    pub(super) fn two_at_once(&mut self) {
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
            let lost = answer == LOST && asked.call.makes();
            if !is_answer(answer) && !lost {
                self.fail("this is no answer");
            }
        }
        let [first, second] = [0, 1].map(|at| (&asked[at], answers[at].as_str()));
        let mut worlds = self.worlds_after_two(first, second);
        worlds.extend(self.worlds_after_two(second, first));
        self.remember_moves(asked.iter().map(|asked| &asked.call));
        // Who came first is not for sure.
        for asked in &asked {
            worlds
                .iter_mut()
                .for_each(|world| doubt(&mut world.tree, &asked.call));
        }
        self.settle(worlds);
    }

    pub(super) fn worlds_after(&self, tree: &Tree, asked: &Asked, answer: &str) -> Vec<World> {
        if succeeded(answer) {
            return worlds::after(tree, &asked.call, asked.who, self.rules);
        }
        vec![World {
            tree: tree.clone(),
            wrong: None,
        }]
    }

    /// The worlds after two calls at once, one of which came first.
    fn worlds_after_two(&self, first: (&Asked, &str), second: (&Asked, &str)) -> Vec<World> {
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
            worlds.extend(then.into_iter().map(|then| World {
                wrong: world.wrong.clone().or(then.wrong),
                tree: then.tree,
            }));
        }
        worlds
    }

    /// Likewise; what was made may not be found again by who made it.
    fn worlds_after_one_of_two(&self, tree: &Tree, asked: &Asked, answer: &str) -> Vec<World> {
        let mut worlds = self.worlds_after(tree, asked, answer);
        if asked.call.makes() && matches!(answer, "ENOENT" | "ESTALE" | LOST) {
            worlds.extend(self.worlds_after(tree, asked, "ok"));
        }
        worlds
    }

    /// Finds the worlds that the disk may be showing, and goes on in them.
    pub(super) fn settle(&mut self, worlds: Vec<World>) {
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
}

/// Who did what first, or whether it was noted, is not for sure.
pub fn doubt(tree: &mut Tree, call: &Call) {
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

pub fn is_answer(answer: &str) -> bool {
    succeeded(answer) || FAILURES.contains(&answer)
}

pub fn succeeded(answer: &str) -> bool {
    answer == "ok" || answer.starts_with('=') || answer.parse::<u32>().is_ok()
}
