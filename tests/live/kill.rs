//! Taking back what is open: how a folder is set to do it, and the processes that still hold a mapping.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::json;

use crate::common::{BOB, CARA, OLGA, ROOT, User, World, plant};

/// How a program has a file mapped, and whether it opened the file for writing.
#[derive(Clone, Copy)]
enum Mapped {
    /// MAP_PRIVATE
    Copy { writable: bool },
    /// MAP_SHARED with PROT_READ alone
    Look { writable: bool },
    /// MAP_SHARED with PROT_WRITE
    Write,
    /// Not at all: it is open.
    Not { writable: bool },
}

/// A program of a user's that has a file mapped and closed, or open. Ends when it is dropped.
struct Program(Child);

impl Program {
    fn start(user: User, file: &Path, mapped: Mapped) -> Self {
        let (open, protection, flags) = match mapped {
            Mapped::Copy { writable } => (writable, libc::PROT_READ, libc::MAP_PRIVATE),
            Mapped::Look { writable } => (writable, libc::PROT_READ, libc::MAP_SHARED),
            Mapped::Write => (true, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED),
            Mapped::Not { writable } => (writable, libc::PROT_READ, libc::MAP_PRIVATE),
        };
        let then = if matches!(mapped, Mapped::Not { .. }) {
            "".into()
        } else {
            format!(
                "syscall({}, 0, 4096, {protection}, {flags}, fileno($f), 0) > 0 or die $!; close $f;",
                libc::SYS_mmap
            )
        };
        let open = if open { "+<" } else { "<" };
        let script = format!(
            "$| = 1; open(my $f, '{open}', $ARGV[0]) or die $!; {then} print qq(ready\\n); sleep 600;"
        );
        let mut child = user
            .command("perl")
            .args(["-e", &script])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// Tells whether it was ended by SIGKILL; whoever was killed has ended when the command line returns.
    fn was_killed(&mut self) -> bool {
        let status = self.0.try_wait().unwrap();
        status.is_some_and(|status| status.signal() == Some(libc::SIGKILL))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The notes in an answer.
#[track_caller]
fn notes(world: &World, user: User, line: &str) -> Vec<String> {
    serde_json::from_value(world.json(user, line)["warnings"].clone()).unwrap()
}

/// A folder of Olga's with two files, which Bob edits, and the daemon's configuration.
fn lent(configuration: &str) -> Option<World> {
    let mut world = World::quiet()?;
    world.configure(configuration);
    world.start();
    plant(&world.folder("tests"), &["one", "two", "room/three"]);
    world.share("tests", BOB, "edit");
    Some(world)
}

#[test]
fn a_folder_is_set_to_take_back_strictly_and_says_so() {
    let Some(world) = World::new() else { return };
    world.folder("tests");
    world.share("tests", BOB, "edit");
    let told = |user| world.json(user, "list")[0]["revoke"].clone();
    assert_eq!(told(OLGA), "default");
    assert_eq!(
        world.ok(OLGA, "set tests revoke=strict"),
        "tests: revoke=strict\n"
    );
    assert_eq!((told(OLGA), told(BOB)), (json!("strict"), json!("strict")));
    let audit = world.json(ROOT, "audit");
    let mut lines = audit.as_array().unwrap().iter();
    let line = lines.find(|line| line["action"] == "set").unwrap();
    assert_eq!(
        (&line["action"], &line["account"], &line["details"]),
        (&json!("set"), &json!(OLGA.name), &json!({"revoke": "strict"}))
    );
    let said = world.refused(OLGA, "set tests revoke=never");
    assert!(said.contains("strict") && said.contains("default"), "{said}");
    world.ok(OLGA, "set tests revoke=default");
    assert_eq!(told(BOB), "default");
}

#[test]
fn who_may_not_kill_changes_nothing_with_it() {
    let Some(world) = lent("may-kill = ['lft-cara']") else {
        return;
    };
    for line in [
        "unshare tests --with lft-bob --kill",
        "permit tests/one --for lft-bob view --kill",
    ] {
        let said = world.refused(OLGA, line);
        assert!(said.contains("--kill") && said.contains("may-kill"), "{said}");
    }
    let held = world.json(OLGA, "permissions tests");
    assert_eq!(
        (&held["grants"][0]["level"], &held["rules"]),
        (&json!("edit"), &json!([]))
    );
    // May kill, but has nothing to take back here.
    world.refused(CARA, "unshare lft-olga:tests --with lft-bob --kill");
    world.ok(ROOT, "permit tests/one --for lft-bob view --kill --user lft-olga");
}

#[test]
fn who_holds_a_mapping_of_what_is_taken_back_is_told_of_and_then_ended() {
    let Some(world) = lent("may-kill = ['lft-olga']") else {
        return;
    };
    let at = world.mount(BOB).join("tests");
    let mut one = Program::start(BOB, &at.join("one"), Mapped::Copy { writable: false });
    let mut two = Program::start(BOB, &at.join("two"), Mapped::Copy { writable: false });
    let told = notes(&world, OLGA, "permit tests/one --for lft-bob invisible");
    let [told] = &told[..] else { panic!("{told:?}") };
    assert!(
        told.contains(&format!("process {} (perl) of lft-bob", one.pid())) && told.contains("tests/one"),
        "{told}"
    );
    assert!(told.contains("--kill"), "{told}");
    assert!(one.lives() && two.lives());
    // Where nothing is taken that they hold, nothing is told.
    assert_eq!(
        notes(&world, OLGA, "permit tests/room --for lft-bob invisible --kill"),
        [""; 0]
    );
    assert!(one.lives() && two.lives());
    let told = notes(&world, OLGA, "permit tests/one --for lft-bob invisible --kill");
    assert!(
        told.len() == 1 && told[0].contains("ended") && told[0].contains("tests/one"),
        "{told:?}"
    );
    assert!(one.was_killed());
    assert!(two.lives());
    world.ok(OLGA, "unshare tests --with lft-bob");
    assert!(two.lives());
    // What was taken back before can still be followed up.
    let told = notes(&world, OLGA, "unshare tests --with lft-bob --kill");
    assert!(told.len() == 1 && told[0].contains("tests/two"), "{told:?}");
    assert!(two.was_killed());
    assert_eq!(
        notes(&world, OLGA, "unshare tests --with lft-bob --kill"),
        [""; 0]
    );
    let audit = world.json(OLGA, "audit --folder tests");
    let kills: Vec<_> = audit
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["action"] == "kill")
        .collect();
    assert_eq!(kills.len(), 2);
    assert_eq!(
        kills[0]["details"],
        json!({"process": one.pid(), "name": "perl", "of": "lft-bob", "path": "one"})
    );
}

#[test]
fn who_may_still_read_is_ended_only_if_he_can_write() {
    let Some(world) = lent("may-kill = ['lft-olga']") else {
        return;
    };
    let at = world.mount(BOB).join("tests/one");
    let start = |mapped| Program::start(BOB, &at, mapped);
    let mut harmless = [
        start(Mapped::Copy { writable: true }),
        start(Mapped::Copy { writable: false }),
        start(Mapped::Look { writable: false }),
    ];
    let mut writing = start(Mapped::Write);
    // An mprotect away from writing.
    let mut near = start(Mapped::Look { writable: true });
    let told = notes(&world, OLGA, "share tests --with lft-bob --as view");
    assert_eq!(told, [""; 0], "share searches for nobody");
    let told = notes(&world, OLGA, "permit tests --for lft-bob view");
    assert_eq!(told.len(), 2, "{told:?}");
    for program in [&writing, &near] {
        let pid = format!("process {} ", program.pid());
        assert!(told.iter().any(|line| line.contains(&pid)), "{told:?}");
    }
    assert!(writing.lives() && near.lives());
    world.ok(OLGA, "permit tests --for lft-bob view --kill");
    assert!(writing.was_killed() && near.was_killed());
    assert!(harmless.iter_mut().all(Program::lives));
}

#[test]
fn a_process_of_another_is_told_of_and_left_alone() {
    let Some(world) = lent("") else { return };
    let at = world.fresh(BOB);
    world.ok(
        ROOT,
        &format!("mount {} --admit all --user lft-bob", at.display()),
    );
    let mut his = Program::start(BOB, &at.join("tests/one"), Mapped::Write);
    let mut hers = Program::start(CARA, &at.join("tests/one"), Mapped::Write);
    let told = notes(
        &world,
        ROOT,
        "unshare tests --with lft-bob --kill --user lft-olga",
    );
    assert_eq!(told.len(), 2, "{told:?}");
    let left = told.iter().find(|line| line.contains("left alone")).unwrap();
    assert!(
        left.contains(&format!("process {} (perl) of uid {}", hers.pid(), CARA.uid)),
        "{told:?}"
    );
    assert!(his.was_killed());
    assert!(hers.lives());
}

#[test]
fn a_line_of_a_group_concerns_the_mounts_of_its_members() {
    let Some(world) = lent("") else { return };
    world.ok(ROOT, "group create readers");
    for user in [BOB, CARA] {
        world.ok(ROOT, &format!("group add readers {}", user.name));
    }
    world.ok(OLGA, "unshare tests --with lft-bob");
    world.ok(OLGA, "share tests --with group:readers --as view");
    let mut programs = [BOB, CARA].map(|user| {
        let at = world.mount(user).join("tests/one");
        Program::start(user, &at, Mapped::Look { writable: false })
    });
    let mut own = Program::start(OLGA, &world.mount(OLGA).join("tests/one"), Mapped::Write);
    let told = notes(&world, OLGA, "unshare tests --with group:readers");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told.iter().all(|line| line.contains("--kill of root")),
        "{told:?}"
    );
    let told = notes(
        &world,
        ROOT,
        "unshare tests --with group:readers --kill --user lft-olga",
    );
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(programs.iter_mut().all(Program::was_killed));
    assert!(own.lives());
}

#[test]
fn who_does_not_see_a_file_is_not_told_who_holds_it() {
    let Some(world) = lent("") else { return };
    world.share("tests", CARA, "admin");
    world.permit("tests/one", CARA.name, "invisible");
    let at = world.mount(BOB).join("tests");
    let mut programs =
        ["one", "two"].map(|file| Program::start(BOB, &at.join(file), Mapped::Look { writable: false }));
    let told = notes(&world, CARA, "unshare tests --with lft-bob");
    assert!(told.len() == 1 && told[0].contains("tests/two"), "{told:?}");
    assert!(programs.iter_mut().all(Program::lives));
}

#[test]
fn where_no_data_bypasses_the_daemon_nobody_has_to_be_ended() {
    let Some(world) = lent("may-kill = ['lft-olga']") else {
        return;
    };
    world.ok(OLGA, "set tests revoke=strict");
    let at = world.mount(BOB).join("tests/one");
    let mut program = Program::start(BOB, &at, Mapped::Write);
    assert_eq!(
        notes(&world, OLGA, "unshare tests --with lft-bob --kill"),
        [""; 0]
    );
    // It ends by itself when it touches what it has mapped.
    assert!(program.lives());
}

#[test]
fn what_is_open_when_a_folder_becomes_strict_is_told_of() {
    let Some(world) = lent("") else { return };
    assert_eq!(notes(&world, OLGA, "set tests revoke=strict"), [""; 0]);
    world.ok(OLGA, "set tests revoke=default");
    let at = world.mount(BOB).join("tests");
    let open = BOB.run(|| std::fs::File::open(at.join("one")).unwrap());
    let told = notes(&world, OLGA, "set tests revoke=strict");
    assert!(
        told.len() == 1 && told[0].contains("until it is closed"),
        "{told:?}"
    );
    drop(open);
    // What is opened from now on ends with the right, and comes back with it.
    let open = BOB.run(|| std::fs::File::open(at.join("two")).unwrap());
    let read = || crate::common::word(std::os::unix::fs::FileExt::read_at(&open, &mut [0; 4], 0));
    assert_eq!(read(), "ok");
    world.permit("tests", BOB.name, "invisible");
    assert_eq!(read(), "EIO");
    world.permit("tests", BOB.name, "view");
    assert_eq!(read(), "ok");
}

#[test]
fn who_has_a_file_open_that_was_cut_could_map_it_and_is_ended() {
    let Some(world) = lent("may-kill = ['lft-olga']") else {
        return;
    };
    let at = world.mount(BOB).join("tests");
    let start = |file: &str, writable| Program::start(BOB, &at.join(file), Mapped::Not { writable });
    let (mut reads, mut writes) = (start("one", false), start("two", true));
    let told = notes(&world, OLGA, "permit tests --for lft-bob view");
    assert!(told.len() == 1 && told[0].contains("tests/two open"), "{told:?}");
    assert!(reads.lives() && writes.lives());
    let told = notes(&world, OLGA, "unshare tests --with lft-bob");
    assert_eq!(told.len(), 2, "{told:?}");
    let mut native = Program::start(
        OLGA,
        &world.mount(OLGA).join("tests/one"),
        Mapped::Not { writable: true },
    );
    world.ok(OLGA, "unshare tests --with lft-bob --kill");
    assert!(reads.was_killed() && writes.was_killed());
    assert!(native.lives());
}
