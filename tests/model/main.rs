//! A model test: random calls by several users on live mounts, while the owner changes the rules, against a
//! reference that reads the design literally; and many at once, where only the promises are known.
//!
//! `LENDFS_MODEL_SEED` runs one seed, `LENDFS_MODEL_OPERATIONS` says how many calls a run makes.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "tests have no callers, and end where something is not as they expect"
)]

#[allow(unused_imports, reason = "shared with the other tests on live mounts")]
#[path = "../live/common/mod.rs"]
mod common;

mod apply;
mod call;
mod choose;
mod crowd;
mod cut;
mod expect;
mod random;
mod rules;
mod run;
mod secrets;
mod tree;

use run::Run;

/// Runs some seeds, or the one that the environment names.
fn run_seeds(seeds: std::ops::Range<u64>) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let operations = number("LENDFS_MODEL_OPERATIONS").unwrap_or(300);
    let seeds = match number("LENDFS_MODEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => seeds,
    };
    for seed in seeds {
        let Some(mut run) = Run::new(seed) else { return };
        for _ in 0..operations {
            run.step();
        }
        run.look_around();
    }
}

#[test]
fn random_calls_answer_as_the_design_says() {
    run_seeds(1..4);
}

#[test]
fn random_calls_answer_as_the_design_says_with_other_seeds() {
    run_seeds(4..7);
}
