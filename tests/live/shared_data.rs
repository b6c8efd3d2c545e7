//! What programs keep in files that others change at the same time: databases, mappings, counters, logs.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::common::hand::Hand;
use crate::common::{BOB, CARA, ROOT, User, World, plant, soon};

/// A folder with two mounts, and the processes of two users in them and of one on the disk.
struct Stage {
    world: World,
    hands: [(User, PathBuf, Hand); 3],
}

impl Stage {
    fn new(entries: &[&str]) -> Option<Self> {
        Self::under("full", entries)
    }

    /// Where both have a level.
    fn under(level: &str, entries: &[&str]) -> Option<Self> {
        let world = World::new()?;
        let backing = world.folder("tests");
        plant(&backing, entries);
        world.share("tests", BOB, level);
        world.share("tests", CARA, level);
        let hand = |user, at| (user, at, Hand::new(user));
        let hands = [
            hand(BOB, world.mount(BOB).join("tests")),
            hand(CARA, world.mount(CARA).join("tests")),
            hand(ROOT, backing),
        ];
        Some(Self { world, hands })
    }

    /// Whether data bypasses the daemon, without which the kernel keeps pages for each mount.
    fn passes_through(&self) -> bool {
        let mounts = self.world.json(ROOT, "mounts");
        let all = mounts.as_array().unwrap().iter();
        let passes = all.clone().count() > 0 && all.clone().all(|mount| mount["passthrough"] == true);
        if !passes {
            println!("SKIP: some of it needs passthrough");
        }
        passes
    }

    fn each(&mut self, line: impl Fn(&Path) -> String) {
        for (_, at, hand) in &mut self.hands {
            hand.must(&line(at));
        }
    }

    /// Runs a line of the first few at the same time.
    fn at_once(&mut self, few: usize, line: impl Fn(User, &Path) -> String) {
        let hands = &mut self.hands[..few];
        for (user, at, hand) in hands.iter_mut() {
            hand.begin(&line(*user, at));
        }
        for (user, _, hand) in hands {
            assert_eq!(hand.end(), "ok", "{}", user.name);
        }
    }
}

const DATABASE: &str = r#"
def begin(path, mode):
    db = sqlite3.connect(path, isolation_level=None)
    assert db.execute(f"pragma journal_mode={mode}").fetchone()[0] == mode
    db.execute("create table counter (value)")
    db.execute("insert into counter values (0)")
    db.execute("create table rows (who, number, padding)")

def work(path, who, rounds):
    db = sqlite3.connect(path, timeout=60, isolation_level=None)
    db.execute("pragma synchronous=off")
    for number in range(rounds):
        db.execute("begin immediate")
        value, = db.execute("select value from counter").fetchone()
        db.execute("update counter set value = ?", (value + 1,))
        db.execute("insert into rows values (?, ?, ?)", (who, number, "x" * 500))
        db.execute("commit")

def found(path):
    db = sqlite3.connect(path, timeout=60)
    ask = lambda text: db.execute(text).fetchone()[0]
    return (ask("pragma integrity_check"), ask("select value from counter"),
        ask("select count(distinct who || number) from rows"))
"#;

/// Two users write a database through two mounts at once.
fn database(mode: &str, level: &str) {
    const ROUNDS: usize = 80;
    let Some(mut stage) = Stage::under(level, &["room/"]) else {
        return;
    };
    if mode == "wal" && !stage.passes_through() {
        return;
    }
    stage.each(|_| format!("exec({DATABASE:?}, names)"));
    let file = |at: &Path| at.join("room/database");
    let (_, at, hand) = &mut stage.hands[0];
    hand.must(&format!("begin({:?}, {mode:?})", file(at)));
    stage.at_once(2, |user, at| {
        format!("work({:?}, {:?}, {ROUNDS})", file(at), user.name)
    });
    for (user, at, hand) in &mut stage.hands {
        let found = hand.does(&format!("found({:?})", file(at)));
        let all = 2 * ROUNDS;
        assert_eq!(found, format!("('ok', {all}, {all})"), "{}", user.name);
    }
}

#[test]
fn a_database_with_a_rollback_journal_is_whole_after_two_mounts_wrote_it_at_once() {
    database("delete", "full");
}

#[test]
fn a_database_with_a_rollback_journal_is_whole_after_two_editors_wrote_it_at_once() {
    database("delete", "edit");
}

#[test]
fn a_database_with_a_log_is_whole_after_two_editors_wrote_it_at_once() {
    database("wal", "edit");
}

#[test]
fn a_database_with_a_log_is_whole_after_two_mounts_wrote_it_at_once() {
    database("wal", "full");
}

const COUNTER: &str = r#"
def count(path, rounds):
    fd = os.open(path, os.O_RDWR)
    for _ in range(rounds):
        fcntl.lockf(fd, fcntl.LOCK_EX)
        value = int(os.pread(fd, 64, 0)) + 1
        os.pwrite(fd, b"%06d" % value, 0)
        fcntl.lockf(fd, fcntl.LOCK_UN)
"#;

const WAITERS: &str = r#"
import signal, threading
def wait_for_locks(path):
    global answers, waiters
    def wait():
        fd = os.open(path, os.O_RDWR)
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX)
            answers.append("ok")
        except OSError as error:
            answers.append(error.errno)
        os.close(fd)
    signal.signal(signal.SIGALRM, lambda *_: None)
    answers, waiters = [], [threading.Thread(target=wait) for _ in range(3)]
    for waiter in waiters: waiter.start()
    # The main thread takes the signals; they are pending for the process until then.
    signal.setitimer(signal.ITIMER_REAL, .001, .001)
    end = time.time() + .5
    while time.time() < end: sum(range(1000))
    signal.setitimer(signal.ITIMER_REAL, 0)
def got():
    for waiter in waiters: waiter.join()
    return answers
"#;

#[test]
fn who_waits_for_a_lock_is_not_disturbed_by_signals_that_another_thread_takes() {
    let Some(mut stage) = Stage::new(&["file"]) else {
        return;
    };
    let [(_, holds, holder), (_, waits, waiter), _] = &mut stage.hands;
    holder.must(&format!(
        "fd = os.open({:?}, os.O_RDWR); fcntl.lockf(fd, fcntl.LOCK_EX)",
        holds.join("file")
    ));
    waiter.must(&format!("exec({WAITERS:?}, names)"));
    waiter.must(&format!("wait_for_locks({:?})", waits.join("file")));
    holder.must("os.close(fd)");
    assert_eq!(waiter.does("got()"), "['ok', 'ok', 'ok']");
}

#[test]
fn what_is_read_under_a_lock_is_what_was_written_under_it_before() {
    const ROUNDS: usize = 150;
    let Some(mut stage) = Stage::new(&["counter"]) else {
        return;
    };
    stage.each(|_| format!("exec({COUNTER:?}, names)"));
    let (_, backing, hand) = &mut stage.hands[2];
    hand.must(&format!(
        "open({:?}, 'w').write('000000') and None",
        backing.join("counter")
    ));
    // On the disk it is the same, where data bypasses the daemon; else what it may be told late.
    let writers = if stage.passes_through() { 3 } else { 2 };
    stage.at_once(writers, |_, at| {
        format!("count({:?}, {ROUNDS})", at.join("counter"))
    });
    for (user, at, hand) in &mut stage.hands {
        let told = hand.does(&format!("open({:?}).read()", at.join("counter")));
        assert_eq!(told, format!("{:06}", writers * ROUNDS), "{}", user.name);
    }
}

#[test]
fn mappings_of_two_mounts_and_of_the_disk_are_one_memory() {
    let Some(mut stage) = Stage::new(&["file"]) else {
        return;
    };
    if !stage.passes_through() {
        return;
    }
    stage.each(|at| format!("fd = os.open({:?}, os.O_RDWR)", at.join("file")));
    stage.hands[0].2.must("os.ftruncate(fd, 10000)");
    stage.each(|_| "map = mmap.mmap(fd, 10000)".into());
    stage.each(|_| "_ = map[:10000]".into());
    for round in 0..30 {
        let (writer, offset) = (round % 3, 97 * round);
        stage.hands[writer]
            .2
            .must(&format!("map[{offset}] = {}", round + 100));
        for (user, _, hand) in &mut stage.hands {
            for told in [format!("map[{offset}]"), format!("os.pread(fd, 1, {offset})[0]")] {
                let what = format!("{told} of {} after a store of {writer}", user.name);
                assert_eq!(hand.does(&told), (round + 100).to_string(), "{what}");
            }
        }
        let offset = offset + 1;
        stage.hands[writer]
            .2
            .must(&format!("os.pwrite(fd, b'w', {offset}) and None"));
        for (user, _, hand) in &mut stage.hands {
            let what = format!("{} after a write of {writer}", user.name);
            assert_eq!(hand.does(&format!("map[{offset}]")), "119", "{what}");
        }
    }
}

#[test]
fn what_was_stored_and_brought_to_the_file_is_read_in_another_mount() {
    let Some(mut stage) = Stage::new(&["file"]) else {
        return;
    };
    stage.each(|at| format!("fd = os.open({:?}, os.O_RDWR)", at.join("file")));
    stage.hands[0].2.must("os.ftruncate(fd, 10000)");
    for round in 0..20 {
        let (writer, offset) = (round % 2, 97 * round);
        let store = format!(
            "map = mmap.mmap(fd, 10000); map[{offset}] = {}; map.flush()",
            round + 100
        );
        stage.hands[writer].2.must(&store);
        for (user, _, hand) in &mut stage.hands {
            let told = hand.does(&format!("os.pread(fd, 1, {offset})[0]"));
            assert_eq!(
                told,
                (round + 100).to_string(),
                "{} after a store of {writer}",
                user.name
            );
        }
    }
}

const APPEND: &str = r#"
def append(path, who, rounds, sometimes_late):
    log = os.open(path, os.O_WRONLY | os.O_APPEND)
    late = os.open(path, os.O_WRONLY)
    fcntl.fcntl(late, fcntl.F_SETFL, os.O_APPEND)
    for number in range(rounds):
        line = b"%s %d %s\n" % (who.encode(), number, b"x" * (number * 37 % 900))
        assert os.write(late if sometimes_late and number % 3 == 0 else log, line) == len(line)
"#;

#[test]
fn lines_appended_by_two_mounts_and_on_the_disk_are_all_there_and_whole() {
    const ROUNDS: usize = 200;
    let Some(mut stage) = Stage::new(&["log"]) else {
        return;
    };
    std::fs::write(stage.hands[2].1.join("log"), "").unwrap();
    stage.each(|_| format!("exec({APPEND:?}, names)"));
    // Through the daemon, what crosses a page is written in two if the file was not opened to append.
    let late = if stage.passes_through() { "True" } else { "False" };
    stage.at_once(3, |user, at| {
        format!("append({:?}, {:?}, {ROUNDS}, {late})", at.join("log"), user.name)
    });
    let log = std::fs::read_to_string(stage.hands[2].1.join("log")).unwrap();
    for (user, at, hand) in &mut stage.hands {
        let of = |line: &&str| line.starts_with(&format!("{} ", user.name));
        let expected = |number: usize| {
            let padding = "x".repeat(number * 37 % 900);
            format!("{} {number} {padding}", user.name)
        };
        let told: Vec<_> = log.lines().filter(of).collect();
        let wrong = (0..ROUNDS).find(|number| told.get(*number) != Some(&&*expected(*number)));
        assert_eq!(
            wrong,
            None,
            "{} of {}, of {} lines",
            user.name,
            ROUNDS,
            told.len()
        );
        let size = format!("os.stat({:?}).st_size", at.join("log"));
        soon(|| hand.does(&size), log.len().to_string());
    }
    assert_eq!(log.lines().count(), 3 * ROUNDS);
}

#[test]
fn who_follows_a_file_is_told_what_another_mount_appends_and_puts_in_its_place() {
    let Some(stage) = Stage::new(&["log"]) else { return };
    let [(_, bob, _), (_, cara, _), _] = &stage.hands;
    std::fs::write(stage.hands[2].1.join("log"), "").unwrap();
    let mut tail = CARA
        .command("tail")
        .args(["---disable-inotify", "-s", "0.01", "-F", "-n", "+1"])
        .arg(cara.join("log"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (lines, told) = channel();
    let output = BufReader::new(tail.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
    });
    let mut slowest = Duration::ZERO;
    for number in 0..60 {
        let (line, log) = (format!("line {number}"), bob.join("log"));
        let put = BOB.run(|| {
            if number % 20 == 10 {
                std::fs::rename(&log, bob.join(format!("log.{number}"))).unwrap();
            }
            let mut file = std::fs::File::options()
                .append(true)
                .create(true)
                .open(&log)
                .unwrap();
            std::io::Write::write_all(&mut file, format!("{line}\n").as_bytes()).unwrap();
            Instant::now()
        });
        // It looks every 10 ms, and less often after a change of files.
        assert_eq!(told.recv_timeout(Duration::from_secs(10)).as_deref(), Ok(&*line));
        slowest = slowest.max(put.elapsed());
    }
    let _ = tail.kill();
    let _ = tail.wait();
    let _ = reader.join();
    println!("a line was told after {slowest:?} at most");
    assert!(
        slowest < Duration::from_secs(1),
        "a line was told after {slowest:?}"
    );
}
