//! check: what differs between store and disk is told, and repaired without a loss.

use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::common::{BOB, OLGA, ROOT, World, names, plant};

/// What is found and how: what it is about, how bad, and in which words.
fn found(world: &World, line: &str) -> Vec<(String, String, String)> {
    let output = world.lendfs(ROOT, &format!("--json {line}"));
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let findings = findings.as_array().unwrap().iter();
    let mut found: Vec<_> = findings
        .filter(|finding| finding["ok"] == false)
        .map(|finding| {
            (
                text(finding, "about"),
                text(finding, "grade"),
                text(finding, "what"),
            )
        })
        .collect();
    found.sort();
    found
}

/// What is found of one kind.
#[track_caller]
fn only(world: &World, about: &str) -> String {
    let found = found(world, "check");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, about, "{found:?}");
    found[0].2.clone()
}

/// Repairs; after that a check finds nothing.
#[track_caller]
fn repair(world: &World) -> String {
    let said = world.ok(ROOT, "check --repair --yes");
    assert_eq!(found(world, "check"), []);
    said
}

#[test]
fn a_tree_without_a_folder_is_kept_in_the_trash() {
    let Some(world) = World::new() else { return };
    let (orphan, kept) = (world.state().join("folders/77"), world.state().join("trash/77"));
    plant(&orphan, &["dear/letter"]);
    assert!(only(&world, "orphans").contains("folders/77"));
    // Without anybody to ask nothing is done; nor where it is only told.
    let refused = world.refused(ROOT, "check --repair");
    assert!(refused.contains("--yes"), "{refused}");
    let told = world.ok(ROOT, "check --repair --dry-run");
    assert!(told.contains("kept in the trash"), "{told}");
    assert!(orphan.exists() && !kept.exists());
    let said = repair(&world);
    assert!(said.contains("repaired"), "{said}");
    assert!(!orphan.exists() && kept.join("dear/letter").exists());
    // Who puts one there by hand has it known, too.
    plant(&world.state().join("trash/78"), &["x"]);
    repair(&world);
    assert!(world.state().join("trash/78/x").exists());
    let foreign = world.state().join("folders/notes");
    std::fs::create_dir(&foreign).unwrap();
    world.ok(ROOT, "check --repair --yes");
    assert!(foreign.exists());
}

#[test]
fn what_is_not_in_the_trash_any_more_is_forgotten() {
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    world.ok(OLGA, "delete tests");
    assert_eq!(found(&world, "check"), []);
    let id = backing.file_name().unwrap().to_owned();
    std::fs::remove_dir_all(world.state().join("trash").join(id)).unwrap();
    assert!(only(&world, "trash").contains("tree is missing"));
    repair(&world);
}

#[test]
fn what_a_killed_daemon_left_is_removed_if_nothing_is_in_it() {
    let Some(mut world) = World::new() else { return };
    let backing = world.folder("tests");
    plant(&backing, &["file", "sub/x"]);
    world.end(Signal::SIGKILL);
    let left = |number: u32| backing.join(format!("sub/.lendfs-{number:016x}"));
    let empty = [left(1), left(2), left(3), left(4)];
    std::fs::write(&empty[0], "").unwrap();
    std::fs::create_dir(&empty[1]).unwrap();
    std::os::unix::fs::symlink("x", &empty[2]).unwrap();
    std::fs::hard_link(backing.join("file"), &empty[3]).unwrap();
    let full = [left(5), left(6)];
    std::fs::write(&full[0], "a text").unwrap();
    plant(&full[1], &["inside"]);
    for path in empty.iter().chain(&full) {
        lchown(path, Some(OLGA.uid), Some(OLGA.gid)).unwrap();
    }
    let like = backing.join("sub/.lendfs-notes");
    std::fs::write(&like, "").unwrap();
    // A daemon that has just started may be told the time of a tick before.
    std::thread::sleep(Duration::from_millis(50));
    world.start();
    let mount = world.mount(OLGA).join("tests/sub");
    assert_eq!(OLGA.run(|| names(&mount)).len(), 8);
    assert_eq!(found(&world, "check").len(), 6);
    let output = world.lendfs(ROOT, "check --repair --yes");
    assert_eq!(output.status.code(), Some(1), "what has something in it is left");
    assert!(empty.iter().all(|path| path.symlink_metadata().is_err()));
    assert!(full.iter().all(|path| path.exists()) && like.exists());
    assert!(backing.join("file").exists());
    // And mounts know.
    assert_eq!(OLGA.run(|| names(&mount)).len(), 4);
}

#[test]
fn what_is_at_work_is_left_alone() {
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    std::thread::sleep(Duration::from_millis(50));
    let at_work = backing.join(".lendfs-0123456789abcdef");
    std::fs::write(&at_work, "").unwrap();
    assert_eq!(found(&world, "check"), []);
    world.ok(ROOT, "check --repair --yes");
    assert!(at_work.exists());
}

#[test]
fn lines_follow_what_was_moved_while_no_daemon_ran() {
    let Some(mut world) = World::new() else { return };
    let backing = world.folder("tests");
    plant(&backing, &["plans/", "other/", "gone/", "swapped/"]);
    world.share("tests", BOB, "full");
    for place in ["plans", "gone", "swapped"] {
        world.permit(&format!("tests/{place}"), BOB.name, "locked");
    }
    world.end(Signal::SIGTERM);
    std::fs::rename(backing.join("plans"), backing.join("other/plans")).unwrap();
    std::fs::remove_dir(backing.join("gone")).unwrap();
    std::fs::remove_dir(backing.join("swapped")).unwrap();
    plant(&backing, &["swapped/"]);
    world.start();
    let found = found(&world, "check");
    let grades: Vec<_> = found
        .iter()
        .map(|(about, grade, _)| (&**about, &**grade))
        .collect();
    assert_eq!(
        grades,
        [("rules", "note"), ("rules", "warning"), ("rules", "warning")]
    );
    assert!(found[0].2.contains("at other/plans now"), "{found:?}");
    let told = world.lendfs(ROOT, "check --repair --yes");
    assert_eq!(
        told.status.code(),
        Some(1),
        "what is gone stays for its owner to decide"
    );
    let rules = world.json(OLGA, "permissions tests")["rules"].clone();
    let of = |path: &str| {
        let rules = rules.as_array().unwrap();
        rules
            .iter()
            .find(|rule| rule["path"] == path)
            .map(|rule| rule["target"].clone())
    };
    assert_eq!(of("other/plans"), Some("there".into()));
    assert_eq!(of("gone"), Some("gone".into()));
    // The owner reads of it, too; nobody else does.
    let doctor = |user| world.json(user, "doctor").to_string();
    assert!(doctor(OLGA).contains("tests/gone"));
    assert!(!doctor(BOB).contains("tests/gone"));
}

#[test]
fn files_of_nobody_and_marks_of_others_are_told() {
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    plant(&backing, &["a", "b", "c", "d"]);
    world.ok(BOB, "list");
    for name in ["a", "b"] {
        lchown(backing.join(name), Some(47_899), None).unwrap();
    }
    lchown(backing.join("c"), Some(BOB.uid), None).unwrap();
    let found_owner = only(&world, "owners");
    assert!(
        found_owner.contains("2 files belong to the uid 47899"),
        "{found_owner}"
    );
    for name in ["a", "b"] {
        lchown(backing.join(name), Some(OLGA.uid), None).unwrap();
    }
    xattr::set(backing.join("c"), "trusted.lendfs.scratch", b"1000 c").unwrap();
    xattr::set(backing.join("d"), "trusted.lendfs.maker", b"47802").unwrap();
    assert_eq!(found(&world, "check"), []);
    xattr::set(backing.join("d"), "trusted.lendfs.maker", b"bob").unwrap();
    assert!(only(&world, "marks").contains("trusted.lendfs.maker"));
}

#[test]
fn of_very_much_that_is_wrong_enough_is_told() {
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    for number in 0..300 {
        let file = backing.join(number.to_string());
        std::fs::write(&file, "").unwrap();
        xattr::set(&file, "trusted.lendfs.maker", b"bob").unwrap();
    }
    let found = found(&world, "check");
    assert_eq!(found.len(), 101);
    assert!(
        found
            .iter()
            .any(|(.., what)| what.contains("200 more like these"))
    );
}

/// 100,000 files are looked at in some seconds, while the daemon answers others at once.
#[test]
fn a_large_tree_is_checked_while_others_command() {
    let Some(world) = World::new() else { return };
    let backing: PathBuf = world.folder("tests");
    for directory in 0..100 {
        let directory = backing.join(directory.to_string());
        std::fs::create_dir(&directory).unwrap();
        for file in 0..1000 {
            std::fs::File::create(directory.join(file.to_string())).unwrap();
        }
    }
    let checking = |world: &World| {
        let before = Instant::now();
        let output = world.lendfs(ROOT, "check");
        assert!(output.status.success(), "{output:?}");
        before.elapsed()
    };
    std::thread::scope(|scope| {
        let check = scope.spawn(|| checking(&world));
        let mut slowest = Duration::ZERO;
        while !check.is_finished() {
            let before = Instant::now();
            world.ok(OLGA, "list");
            slowest = slowest.max(before.elapsed());
        }
        let took = check.join().unwrap();
        println!("100,100 entries checked in {took:?}; the slowest command meanwhile took {slowest:?}");
        assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    });
}

#[test]
fn one_check_runs_at_a_time_and_one_that_nobody_waits_for_makes_room() {
    let Some(world) = World::new() else { return };
    // So much is found that the check waits for who asks on.
    for folder in 100..800 {
        std::fs::create_dir(world.state().join(format!("folders/{folder}"))).unwrap();
    }
    let ask = |body: &str| {
        let output = std::process::Command::new("curl")
            .args(["--silent", "--unix-socket"])
            .arg(world.socket())
            .args(["--data", body, "http://lendfs/v1/check"])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let begun: Value = serde_json::from_str(&ask("{}")).unwrap();
    assert_eq!(begun["ended"], false, "{begun}");
    let refused = world.refused(ROOT, "check");
    assert!(refused.contains("runs already"), "{refused}");
    let stranger = ask(r#"{"job": 1}"#);
    assert!(stranger.contains("begin anew"), "{stranger}");
    crate::common::within(
        Duration::from_secs(20),
        || world.lendfs(ROOT, "check").stdout.len() > 1000,
        true,
    );
}

#[test]
fn a_folder_whose_directory_is_another_is_not_looked_into() {
    let Some(mut world) = World::new() else { return };
    let lent = world.dir.join("lent");
    OLGA.directory(&lent);
    world.ok(OLGA, &format!("create lent --path {}", lent.display()));
    world.end(Signal::SIGTERM);
    std::fs::rename(&lent, world.dir.join("aside")).unwrap();
    OLGA.directory(&lent);
    plant(Path::new(&lent), &[".lendfs-0123456789abcdef"]);
    world.start();
    let found = found(&world, "check");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].2.contains("another directory stands in its place"),
        "{found:?}"
    );
    assert_eq!(found[0].1, "error");
}
