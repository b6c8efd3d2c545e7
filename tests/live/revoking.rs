//! Taking back what is open: what each call answers before, while the right is gone, and after it was given back.
//!
//! A strict mount cuts everything at once and gives it back on the same handles. In any other mount reads and writes
//! are cut at once too, and for the rest a new opening decides: of mappings and of what is spliced it is not said
//! how long they live, and a handle that was cut may stay so.

mod rows;

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::common::hand::Hand;
use crate::common::{BOB, OLGA, World, plant, within, word};
use rows::{MAPPED, May, OK, ROWS, Row};

/// What is prepared in each process.
const HELPERS: [&str; 3] = [
    "ok = lambda *values: None",
    "stored = 64",
    "store = lambda map: (globals().update(stored=stored + 1), map.__setitem__(0, stored), map.flush(), None)[-1]",
];

/// All calls in one mount.
struct Caller {
    strict: bool,
    at: PathBuf,
    disk: PathBuf,
    hand: Hand,
    /// With the rows that they are for.
    mappers: Vec<(&'static Row, Hand)>,
}

impl Caller {
    fn new(strict: bool, at: PathBuf, disk: PathBuf) -> Self {
        let hand = || {
            let mut hand = Hand::new(BOB);
            for helper in HELPERS {
                hand.must(helper);
            }
            hand
        };
        let mappers = MAPPED.iter().map(|row| (row, hand())).collect();
        let mut caller = Self {
            strict,
            at,
            disk,
            hand: hand(),
            mappers,
        };
        for row in &ROWS {
            for line in row.prepare {
                let line = caller.line(row, line);
                caller.hand.must(&line);
            }
        }
        for (row, mut hand) in std::mem::take(&mut caller.mappers) {
            for line in row.prepare {
                hand.must(&caller.line(row, line));
            }
            caller.mappers.push((row, hand));
        }
        caller
    }

    fn file(&self, row: &Row) -> String {
        let kind = if self.strict { "strict" } else { "default" };
        format!("{kind} {}", row.what)
    }

    fn line(&self, row: &Row, line: &str) -> String {
        let (file, room) = (self.at.join("room").join(self.file(row)), self.at.join("room"));
        let held = row.what.replace([' ', '/'], "_");
        line.replace("FILE", &format!("{file:?}"))
            .replace("ROOM", &format!("{room:?}"))
            .replace("NAME", &format!("{:?}", self.file(row)))
            .replace("LIVE", &format!("live_{held}"))
    }

    fn on_disk(&self, row: &Row) -> Option<Vec<u8>> {
        std::fs::read(self.disk.join("room").join(self.file(row))).ok()
    }

    /// Makes all calls. Where something was taken back, none of them reaches the disk.
    fn expect(&mut self, when: &str, taken: bool, may: impl Fn(&Row) -> &May) {
        let strict = self.strict;
        let pick = |row| {
            let May(strictly, otherwise) = may(row);
            if strict { *strictly } else { *otherwise }
        };
        for row in &ROWS {
            let (line, before) = (self.line(row, row.call), self.on_disk(row));
            let what = format!("{} {when}", self.file(row));
            await_answer(&mut self.hand, &line, pick(row), &what, strict);
            // What is spliced may outlive a right, but not in a strict mount.
            if taken && (strict || !row.what.starts_with("splice")) {
                assert_eq!(self.on_disk(row), before, "{} {when}", self.file(row));
            }
        }
        for (row, mut hand) in std::mem::take(&mut self.mappers) {
            let (line, before) = (self.line(row, row.call), self.on_disk(row));
            await_answer(
                &mut hand,
                &line,
                pick(row),
                &format!("{} {when}", self.file(row)),
                true,
            );
            if taken && strict {
                assert_eq!(self.on_disk(row), before, "{} {when}", self.file(row));
            }
            if hand.lives() {
                self.mappers.push((row, hand));
            }
        }
    }
}

/// At once in a strict mount; in others a cut may take a moment.
fn await_answer(hand: &mut Hand, line: &str, may: &str, what: &str, strict: bool) {
    let mut answer = || {
        let answer = hand.does(line);
        if may.split('|').any(|allowed| allowed == answer) {
            Ok(())
        } else {
            Err(format!("{what}: {answer}, and not {may}"))
        }
    };
    if strict {
        answer().unwrap();
    } else {
        within(std::time::Duration::from_secs(1), answer, Ok(()));
    }
}

/// A folder with a room for each mount, strict and not.
fn stage() -> Option<(World, Vec<Caller>)> {
    let world = World::new()?;
    let backing = world.folder("tests");
    let kinds = ["strict", "default"].into_iter();
    let files = kinds.flat_map(|kind| {
        let rows = ROWS.iter().chain(&MAPPED);
        rows.map(move |row| format!("room/{kind} {}", row.what))
    });
    let files: Vec<_> = files.collect();
    plant(&backing, &files.iter().map(|file| &**file).collect::<Vec<_>>());
    world.share("tests", BOB, "full");
    let callers = [(true, "--strict"), (false, "")].map(|(strict, option)| {
        let at = world.mount_with(BOB, option).join("tests");
        Caller::new(strict, at, backing.clone())
    });
    Some((world, callers.into()))
}

#[test]
fn what_is_open_writes_no_more_when_only_viewing_is_left() {
    let Some((world, mut callers)) = stage() else {
        return;
    };
    for caller in &mut callers {
        caller.expect("at first", false, |_| &OK);
    }
    world.ok(OLGA, &format!("share tests --with {} --as view", BOB.name));
    for caller in &mut callers {
        caller.expect("while viewing", true, |row| &row.viewing);
    }
    world.ok(OLGA, &format!("share tests --with {} --as full", BOB.name));
    for caller in &mut callers {
        caller.expect("afterwards", false, |row| &row.back);
    }
}

#[test]
fn what_is_open_ends_when_it_becomes_invisible() {
    let Some((world, mut callers)) = stage() else {
        return;
    };
    for caller in &mut callers {
        caller.expect("at first", false, |_| &OK);
    }
    world.permit("tests/room", BOB.name, "invisible");
    for caller in &mut callers {
        caller.expect("while invisible", true, |row| &row.gone);
    }
    world.ok(OLGA, &format!("unpermit tests/room --for {}", BOB.name));
    for caller in &mut callers {
        caller.expect("afterwards", false, |row| &row.back);
    }
}

#[test]
fn what_is_open_ends_when_the_share_does() {
    let Some((world, mut callers)) = stage() else {
        return;
    };
    for caller in &mut callers {
        caller.expect("at first", false, |_| &OK);
    }
    world.ok(OLGA, &format!("unshare tests --with {}", BOB.name));
    for caller in &mut callers {
        caller.expect("without a share", true, |row| &row.gone);
    }
    world.share("tests", BOB, "full");
    for caller in &mut callers {
        caller.expect("afterwards", false, |row| &row.back);
    }
}

/// A program in the folder that says what it is told.
struct Program(Child);

impl Program {
    fn start(path: &Path) -> std::io::Result<Self> {
        let mut command = BOB.command(path);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(Self(command.spawn()?))
    }

    /// `ok`, or what it died of.
    fn says(&mut self) -> String {
        let mut said = [0; 6];
        let _ = self.0.stdin.as_mut().unwrap().write_all(b"hello\n");
        match self.0.stdout.as_mut().unwrap().read_exact(&mut said) {
            Ok(()) => "ok".into(),
            Err(_) => format!("died of {:?}", self.0.wait().unwrap().signal()),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_program_that_runs_from_a_strict_mount_ends_with_the_right_and_starts_again_with_it() {
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    plant(&backing, &["room/"]);
    for name in ["cat-strict", "cat-default"] {
        let path = backing.join("room").join(name);
        std::fs::copy("/bin/cat", &path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    world.share("tests", BOB, "full");
    let strict = world.mount_with(BOB, "--strict").join("tests/room/cat-strict");
    let default = world.mount(BOB).join("tests/room/cat-default");
    let start = |path: &Path| Program::start(path).unwrap();
    let starts =
        |path: &Path| BOB.run(|| word(std::process::Command::new(path).stdin(Stdio::null()).status()));
    let (mut cut, mut other) = (start(&strict), start(&default));
    assert_eq!((cut.says(), other.says()), ("ok".into(), "ok".into()));
    world.ok(OLGA, &format!("share tests --with {} --as view", BOB.name));
    assert_eq!(cut.says(), "ok", "to view is to run");
    assert_eq!((starts(&strict), starts(&default)), ("ok".into(), "ok".into()));
    world.permit("tests/room", BOB.name, "invisible");
    assert_eq!(cut.says(), "died of Some(7)", "SIGBUS");
    assert_eq!(
        (starts(&strict), starts(&default)),
        ("ENOENT".into(), "ENOENT".into())
    );
    world.ok(OLGA, &format!("unpermit tests/room --for {}", BOB.name));
    assert_eq!(
        (start(&strict).says(), start(&default).says()),
        ("ok".into(), "ok".into())
    );
    assert_eq!((starts(&strict), starts(&default)), ("ok".into(), "ok".into()));
    // What was cut is written by nobody meanwhile; now it may be.
    drop((cut, other));
    let replaced = BOB.run(|| word(File::options().write(true).open(&strict)));
    assert_eq!(replaced, "EACCES", "he only views");
}
