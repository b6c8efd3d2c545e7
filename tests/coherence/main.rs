//! A coherence test: two users through two mounts, and a native writer, change one tree at random, and after each
//! step every mount is compared with the disk, every cache of it being warm; of some seeds a read-only one, too.
//!
//! What was changed through a mount has to be seen in the other at once; what was changed behind the daemon's back,
//! soon. `LENDFS_COHERENCE_SEED` runs one seed, `LENDFS_COHERENCE_STEPS` says how many steps a run makes.

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

mod actor;
mod change;
mod choose;
mod held;
mod look;
mod run;

use run::Run;

/// Runs a seed, or in place of the first the one that the environment names.
fn run_seed(seed: u64) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = match number("LENDFS_COHERENCE_SEED") {
        Some(named) if seed == 1 => named,
        Some(_) => return,
        None => seed,
    };
    let steps = number("LENDFS_COHERENCE_STEPS").unwrap_or(120);
    let Some(mut run) = Run::new(seed) else { return };
    for _ in 0..steps {
        run.step();
    }
    println!("seed {seed}, {steps} steps: {}", run.staleness());
}

#[test]
fn two_mounts_show_the_disk_whoever_changes_it() {
    run_seed(1);
}

#[test]
fn two_mounts_of_an_adopted_directory_show_the_disk() {
    run_seed(2);
}

#[test]
fn two_mounts_show_the_disk_with_another_seed() {
    run_seed(3);
}

#[test]
fn two_mounts_of_an_adopted_directory_show_the_disk_with_another_seed() {
    run_seed(4);
}
