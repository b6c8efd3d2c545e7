//! The store: damaged, locked, wanted by two; and the clock.

use std::io::{Seek, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rusqlite::Connection;

use super::{lent, rules_hold};
use crate::common::{BOB, DAN, OLGA, ROOT, World, within, word};

fn file(world: &World) -> PathBuf {
    world.state().join("lendfs.db")
}

/// Starts a daemon that has to refuse; tells the line.
fn refused_start(world: &World) -> String {
    let mut command = world.daemon_command();
    let (out, err) = (Stdio::piped(), Stdio::piped());
    let mut daemon = command.stdout(out).stderr(err).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while daemon.try_wait().unwrap().is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = daemon.kill();
    let output = daemon.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let said = String::from_utf8(output.stderr).unwrap();
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("lendfs: "), "{said}");
    last.into()
}

#[test]
fn a_damaged_store_is_refused_and_left_as_it_is() {
    let Some(mut world) = World::new() else { return };
    lent(&world);
    for number in 0..200 {
        world.ok(ROOT, &format!("group create group-{number}"));
    }
    world.end(Signal::SIGTERM);
    let file = file(&world);
    for left in ["lendfs.db-wal", "lendfs.db-shm"] {
        let _ = std::fs::remove_file(world.state().join(left));
    }
    let whole = std::fs::read(&file).unwrap();
    let page = 4096;
    assert!(whole.len() > 8 * page, "{}", whole.len());
    let mut zeroed = whole.clone();
    zeroed[page..].fill(0);
    let mut turned = whole.clone();
    turned[2 * page..].fill(0xa5);
    for (how, damaged) in [
        (
            "no database",
            b"this is no database at all, but a text".repeat(200),
        ),
        ("truncated", whole[..whole.len() / 2 / page * page].to_vec()),
        ("truncated within a page", whole[..3 * page + 100].to_vec()),
        ("zeroed", zeroed),
        ("overwritten", turned),
    ] {
        std::fs::write(&file, &damaged).unwrap();
        let said = refused_start(&world);
        assert!(
            said.contains("lendfs.db") && said.contains("backup"),
            "{how}: {said}"
        );
        assert!(std::fs::read(&file).unwrap() == damaged, "{how}: it was changed");
    }
    // With the backup all is as before.
    std::fs::write(&file, &whole).unwrap();
    world.start();
    let at = world.mount(BOB).join("tests");
    rules_hold(&at);
    world.ok(ROOT, "check");
}

/// Rows that lead nowhere would be lines that vanish without a word.
#[test]
fn a_store_of_which_rows_are_missing_is_refused() {
    let Some(mut world) = World::new() else { return };
    lent(&world);
    world.end(Signal::SIGTERM);
    let db = Connection::open(file(&world)).unwrap();
    db.pragma_update(None, "foreign_keys", false).unwrap();
    assert!(db.execute("DELETE FROM places WHERE path <> x''", []).unwrap() > 0);
    drop(db);
    let said = refused_start(&world);
    assert!(said.contains("lines refers to none of places"), "{said}");
}

#[test]
fn a_store_that_is_damaged_while_the_daemon_runs_is_told_and_no_rule_is_passed() {
    let Some(world) = World::new() else { return };
    let (_, at) = lent(&world);
    for number in 0..100 {
        world.ok(ROOT, &format!("group create group-{number}"));
    }
    let mut db = std::fs::File::options().write(true).open(file(&world)).unwrap();
    let length = db.metadata().unwrap().len();
    db.rewind().unwrap();
    db.write_all(&vec![0x5a; usize::try_from(length).unwrap()])
        .unwrap();
    let mut wal = std::fs::File::options()
        .write(true)
        .open(world.state().join("lendfs.db-wal"))
        .unwrap();
    wal.write_all(&[0x5a; 65_536]).unwrap();
    rules_hold(&at);
    BOB.run(|| std::fs::write(at.join("new"), "new").unwrap());
    let checked = world.lendfs(ROOT, "check");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(
        checked.status.code() == Some(1) && said.contains("damaged"),
        "{checked:?}"
    );
    // Whatever a command answers now, it answers, in one line if it fails.
    for line in [
        "list",
        "create more",
        "share tests --with lft-dan --as view",
        "permissions tests",
    ] {
        let output = world.lendfs(OLGA, line);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success() || said.lines().count() == 1,
            "{line}: {said}"
        );
    }
    rules_hold(&at);
    assert!(!world.logged().contains("panicked"), "{}", world.logged());
}

#[test]
fn a_store_that_another_program_locks_holds_up_changes_alone() {
    let Some(world) = World::new() else { return };
    let (_, at) = lent(&world);
    world.ok(OLGA, "list");
    let other = Connection::open(file(&world)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let before = Instant::now();
    let refused = world.refused(OLGA, "create more");
    assert!(refused.contains("locked"), "{refused}");
    let waited = before.elapsed();
    assert!((4..20).contains(&waited.as_secs()), "{waited:?}");
    world.ok(OLGA, "list");
    world.ok(OLGA, "permissions tests");
    BOB.run(|| std::fs::write(at.join("new"), "new").unwrap());
    rules_hold(&at);
    other.execute_batch("ROLLBACK").unwrap();
    world.ok(OLGA, "create more");
    // One that lets go in time is waited for.
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| world.ok(OLGA, "create another"));
        std::thread::sleep(Duration::from_millis(500));
        assert!(!waits.is_finished());
        other.execute_batch("ROLLBACK").unwrap();
        waits.join().unwrap();
    });
}

#[test]
fn a_second_daemon_leaves_the_first_one_and_its_mounts_alone() {
    let Some(world) = World::new() else { return };
    let (_, at) = lent(&world);
    let held = BOB.run(|| std::fs::File::open(at.join("file")).unwrap());
    for socket in [world.socket(), world.dir.join("other-socket")] {
        let mut second = std::process::Command::new(world.binary());
        second
            .arg("daemon")
            .arg("--state-dir")
            .arg(world.state())
            .arg("--socket")
            .arg(socket);
        let output = second.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.lines().last().unwrap().contains("another"), "{said}");
    }
    assert!(!world.dir.join("other-socket").exists());
    world.ok(OLGA, "create more");
    BOB.run(|| assert_eq!(std::io::read_to_string(&held).unwrap(), "content of file\n"));
    rules_hold(&at);
}

/// Sets the clock of one program (Debian's package `faketime`).
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

#[test]
fn a_clock_that_jumps_changes_nothing_but_times() {
    let Some(mut world) = World::quiet() else { return };
    if !std::path::Path::new(FAKETIME).exists() {
        println!("SKIP: needs faketime");
        return;
    }
    let clock = world.dir.join("clock");
    std::fs::write(&clock, "+0").unwrap();
    world.variable("LD_PRELOAD", FAKETIME);
    world.variable("FAKETIME_TIMESTAMP_FILE", &clock);
    world.variable("FAKETIME_NO_CACHE", "1");
    world.variable("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    world.variable("NO_FAKE_STAT", "1");
    world.start();
    let (_, at) = lent(&world);
    world.ok(OLGA, "set tests replace-by-unlink=on");
    let mut order = vec!["set".to_owned()];
    for jump in ["-3650d", "+3650d", "-1d", "+0"] {
        std::fs::write(&clock, jump).unwrap();
        world.ok(OLGA, "share tests --with lft-dan --as view");
        world.ok(DAN, "accept lft-olga:tests");
        let shown = world.mount(DAN);
        assert_eq!(DAN.run(|| word(std::fs::read(shown.join("tests/file")))), "ok");
        world.ok(OLGA, "unshare tests --with lft-dan");
        assert_eq!(
            DAN.run(|| word(std::fs::read(shown.join("tests/file")))),
            "ENOENT"
        );
        world.ok(DAN, &format!("umount {}", shown.display()));
        order.extend(["invite", "accept", "unshare"].map(str::to_owned));
        // What is unlinked comes back after its five seconds, which no clock of the day measures.
        BOB.run(|| assert_eq!(word(std::fs::remove_file(at.join("file"))), "ok"));
        BOB.run(|| within(Duration::from_secs(20), || at.join("file").exists(), true));
        assert!(BOB.run(|| std::fs::read(at.join("closed/secret"))).is_err());
        let told: Vec<_> = world
            .json(OLGA, "audit --folder tests")
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line["action"].as_str().unwrap().to_owned())
            .filter(|action| action != "refused")
            .collect();
        assert!(told.ends_with(&order), "{told:?}");
        let behind = world.lendfs(ROOT, "doctor").stdout;
        let behind = String::from_utf8_lossy(&behind).contains("behind what was last written");
        assert!(!behind, "it was written a moment ago");
    }
    std::fs::write(&clock, "-1d").unwrap();
    let doctor = world.ok(ROOT, "doctor");
    assert!(doctor.contains("behind what was last written"), "{doctor}");
}
