//! What the daemon can still do once it runs: little more than it does.

use std::collections::BTreeMap;

use crate::common::{BOB, OLGA, ROOT, World};

/// What the kernel tells of a thread that it may do (`proc_pid_status(5)`).
fn powers(status: &str) -> BTreeMap<&str, &str> {
    let told = [
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
    ];
    let fields = status.lines().filter_map(|line| line.split_once(":\t"));
    fields.filter(|(field, _)| told.contains(field)).collect()
}

#[test]
fn every_thread_of_the_daemon_has_few_capabilities_gains_none_and_is_filtered() {
    let Some(world) = World::new() else { return };
    world.folder("tests");
    world.share("tests", BOB, "edit");
    let (at, own) = (world.mount(BOB), world.mount(OLGA));
    BOB.run(|| std::fs::write(at.join("tests/new"), "").unwrap());
    OLGA.run(|| std::fs::remove_file(own.join("tests/new")).unwrap());
    world.ok(ROOT, "status");
    let kept = lendfs::backing::KEPT_CAPABILITIES;
    let kept = kept.iter().fold(0_u64, |kept, capability| kept | 1 << capability);
    let (kept, none) = (format!("{kept:016x}"), format!("{:016x}", 0));
    let expected = BTreeMap::from([
        ("CapInh", &*none),
        ("CapPrm", &*kept),
        ("CapEff", &*kept),
        ("CapBnd", &*kept),
        ("CapAmb", &*none),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ]);
    let threads = std::fs::read_dir(format!("/proc/{}/task", world.pid())).unwrap();
    let mut seen = 0;
    for thread in threads {
        // It may end meanwhile.
        let Ok(status) = std::fs::read_to_string(thread.unwrap().path().join("status")) else {
            continue;
        };
        assert_eq!(powers(&status), expected, "{status}");
        seen += 1;
    }
    assert!(seen > 5, "{seen} threads alone");
}
