//! The promise of `edit`: no file disappears. Several processes of several editors, and now and then the owner, do at
//! random what programs do and what means harm, one after the other and two at once, while the daemon is killed and
//! started again; and after each step each file is looked for on the disk.
//!
//! `LENDFS_PROMISE_SEED` runs one seed, `LENDFS_PROMISE_STEPS` says how many steps a run makes.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "tests have no callers, and end where something is not as they expect"
)]

#[allow(unused_imports, reason = "shared with the other tests on live mounts")]
#[path = "../live/common/mod.rs"]
mod common;
#[allow(dead_code, reason = "shared with the model test")]
#[path = "../model/random.rs"]
mod random;

mod call;
mod choose;
mod ending;
mod judge;
mod must;
mod run;
mod steps;
mod tree;
mod worker;
mod worlds;

use run::Run;

/// Runs a seed, or in place of the first the one that the environment names.
fn run_seed(seed: u64) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = match number("LENDFS_PROMISE_SEED") {
        Some(named) if seed == 1 => named,
        Some(_) => return,
        None => seed,
    };
    let steps = number("LENDFS_PROMISE_STEPS").unwrap_or(500);
    let Some(mut run) = Run::new(seed) else { return };
    for _ in 0..steps {
        run.step();
    }
    println!("seed {seed}, {steps} steps: {}", run.summary());
}

// What a seed sets is told by `Rules::of`.

#[test]
fn no_file_disappears_whoever_edits_and_whatever_ends() {
    run_seed(1);
}

#[test]
fn no_file_disappears_where_users_remove_their_own() {
    run_seed(4);
}

#[test]
fn no_file_disappears_where_programs_unlink_to_replace() {
    run_seed(5);
}

#[test]
fn no_file_disappears_where_all_that_is_allowed() {
    run_seed(16);
}
