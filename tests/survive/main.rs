//! Mounts outlive the daemon: programs work in one, with their working directories, open files, locks and mappings in it,
//! while the daemon is killed again and again, and none of them notices anything but a pause.
//!
//! `LENDFS_SURVIVE_SECONDS` says for how long (15), `LENDFS_SURVIVE_BINARY` names a program that every other daemon is
//! started from (an upgrade, and back).

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

mod crew;
mod state;

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use common::{BOB, ROOT, World, soon, word};
use crew::Crew;
use random::Random;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// How long the next name that nobody knows is waited for.
fn pause(mount: &Path, number: usize) -> Duration {
    let path = mount.join(format!("tests/nothing-{number}"));
    let begun = Instant::now();
    assert_eq!(BOB.run(|| word(path.metadata())), "ENOENT");
    begun.elapsed()
}

#[test]
fn programs_notice_no_death_of_the_daemon() {
    let Some(mut world) = World::quiet() else { return };
    world.keep();
    world.start();
    let backing = world.folder("tests");
    world.share("tests", BOB, "full");
    let mount = world.mount(BOB);
    let other = std::env::var_os("LENDFS_SURVIVE_BINARY");
    let own = world.dir.join("own");
    std::fs::copy(world.binary(), &own).unwrap();
    let crew = Crew::start(&world.dir, &mount.join("tests"), &backing);
    let until = Instant::now() + Duration::from_secs(number("LENDFS_SURVIVE_SECONDS").unwrap_or(15));
    let mut random = Random::new(number("LENDFS_SURVIVE_SEED").unwrap_or(1));
    let mut pauses = Vec::new();
    while Instant::now() < until && crew.is_whole() {
        std::thread::sleep(Duration::from_millis(100 + random.below(1400) as u64));
        if let Some(other) = &other {
            let next = if pauses.len() % 2 == 0 {
                Path::new(other)
            } else {
                &own
            };
            let new = world.dir.join("bin/new");
            std::fs::copy(next, &new).unwrap();
            std::fs::rename(&new, world.binary()).unwrap();
        }
        // Some end in good order, as in a restart.
        let signal = if random.once_in(5) {
            Signal::SIGTERM
        } else {
            Signal::SIGKILL
        };
        world.kill_kept(signal);
        pauses.push(pause(&mount, pauses.len()));
    }
    let done = crew.end();
    pauses.sort_unstable();
    println!(
        "{} take-overs, pause: median {:?}, longest {:?}; done: {done:?}",
        pauses.len(),
        pauses[pauses.len() / 2],
        pauses[pauses.len() - 1]
    );
    state::is_flat(&world, &mount);
    drop(mount);
    world.ok(ROOT, "status");
    soon(
        || world.json(ROOT, "mounts").as_array().unwrap().len().to_string(),
        "1",
    );
    let logged = world.logged();
    for wrong in ["panicked", "cannot be taken over", "is lost", "ERROR"] {
        assert!(!logged.contains(wrong), "{logged}");
    }
}
