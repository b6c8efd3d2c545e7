//! How processes and the daemon end, and what goes on afterwards.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::call::Call;
use super::run::{Run, planted};
use super::steps::{doubt, succeeded};
use super::tree::{Tree, look, name};
use super::worlds::{self, World};

impl Run {
    /// Kills the daemon while it is asked.
    pub(super) fn kill_in_a_call(&mut self) {
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

    pub(super) fn restart(&mut self) {
        let signal = if self.random.once_in(4) {
            Signal::SIGTERM
        } else {
            Signal::SIGKILL
        };
        self.history.push(format!("{signal}"));
        self.end(signal);
        self.start_again();
        let trees = self.trees.iter().cloned();
        self.settle(trees.map(|tree| World { tree, wrong: None }).collect());
    }

    /// Makes all anew where too much may be true.
    pub(super) fn begin_anew(&mut self) {
        self.history.push("all is made anew".into());
        self.end(Signal::SIGKILL);
        for entry in std::fs::read_dir(&self.backing).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                std::fs::remove_dir_all(path).unwrap();
            } else {
                std::fs::remove_file(path).unwrap();
            }
        }
        self.trees = vec![planted(&self.backing, &mut self.random)];
        self.start_again();
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
        for entry in entries {
            // Whoever made or moved it did so through a mount that is no more.
            (entry.transient, entry.new_by, entry.aside) = (None, None, None);
            entry.gone.clear();
        }
    }

    pub(super) fn end_a_process(&mut self) {
        let worker = self.random.below(self.workers.len());
        let process = self.next_number();
        self.history
            .push(format!("{} ends a process", self.workers[worker].user.name));
        self.workers[worker].renew(process);
    }

    /// What was about to take the place of another when the daemon was killed.
    fn remove_litter(&mut self) {
        let paths: BTreeSet<String> = look(&self.backing).into_keys().collect();
        for path in paths.iter().filter(|path| name(path).starts_with(".lendfs-")) {
            std::fs::remove_file(self.backing.join(path)).unwrap();
            *self.answers.entry("litter".into()).or_default() += 1;
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
