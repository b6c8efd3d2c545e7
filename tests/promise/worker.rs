//! Processes of users, and the mounts that they work in.

use std::collections::VecDeque;
use std::path::PathBuf;

use super::call::{Call, PROGRAM};
use crate::common::User;
use crate::common::hand::Hand;

/// A mount, or the directory on the disk.
pub struct Place {
    pub user: User,
    /// Where it is attached; `None` on the disk.
    pub mount: Option<PathBuf>,
    /// Where the tree is.
    pub top: PathBuf,
    /// Another number each time that it is mounted.
    pub number: u32,
}

/// A process that makes calls.
pub struct Worker {
    pub user: User,
    pub owner: bool,
    /// The places that it can reach, by their index.
    pub places: Vec<usize>,
    /// Another number each time that it is started.
    pub process: u32,
    pub hand: Hand,
    /// What it is about to do.
    pub plan: VecDeque<Call>,
    /// Descriptors of open files, and the numbers of their inodes.
    pub held: Vec<(u32, u64)>,
}

/// So many files are held open at most.
const MOST_HELD: usize = 4;

impl Worker {
    pub fn new(user: User, owner: bool, places: Vec<usize>, process: u32) -> Self {
        Self {
            user,
            owner,
            places,
            process,
            hand: hand(user),
            plan: VecDeque::new(),
            held: Vec::new(),
        }
    }

    /// Ends the process, and starts another.
    pub fn renew(&mut self, process: u32) {
        self.hand = hand(self.user);
        self.process = process;
        self.plan.clear();
        self.held.clear();
    }

    pub fn hold(&mut self, descriptor: u32, number: u64) {
        self.held.push((descriptor, number));
        if self.held.len() > MOST_HELD {
            self.let_go();
        }
    }

    /// Closes what it holds.
    pub fn let_go(&mut self) {
        self.hand.must("let_go()");
        self.held.clear();
    }
}

fn hand(user: User) -> Hand {
    let mut hand = Hand::new(user);
    hand.must(&format!("exec({PROGRAM:?}, names)"));
    hand
}
