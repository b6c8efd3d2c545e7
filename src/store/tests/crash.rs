//! A crash at any moment leaves the last whole state: a child that writes is killed, and what it reported is there.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

/// Where the child shall write.
const STATE: &str = "LENDFS_TEST_CRASH_STATE";
const ROUNDS: usize = 8;

/// What the child has reported, and what the audit tells.
#[derive(Default, Debug, PartialEq, Eq)]
struct Told {
    folders: BTreeSet<String>,
    shares: BTreeMap<i64, usize>,
}

#[test]
fn what_was_committed_survives_a_kill_and_nothing_is_there_by_half() {
    let dir = tempfile::tempdir().unwrap();
    let mut reported = 0;
    for round in 0..ROUNDS {
        let lines = RandomState::new().hash_one(round) % 60 + 1;
        let committed = write_and_be_killed(dir.path(), usize::try_from(lines).unwrap());
        let store = Store::open(dir.path()).unwrap();
        store.integrity().unwrap();
        let audit = store.audit(&all()).unwrap();
        for line in &committed {
            let (action, name) = line.split_once(' ').unwrap();
            assert!(
                audit
                    .iter()
                    .any(|line| line.action == action
                        && line.details.to_string().contains(&format!("\"{name}\""))),
                "round {round}: '{line}' was reported and is not there"
            );
        }
        assert_eq!(
            state(&store),
            replay(&audit),
            "round {round}, after {lines} lines"
        );
        reported += committed.len();
    }
    assert!(reported >= ROUNDS, "the child reported {reported} changes");
}

/// Tells what the child had reported when it was dead.
fn write_and_be_killed(dir: &Path, lines: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store::tests::crash::child",
            "--ignored",
            "--nocapture",
        ])
        .env(STATE, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut committed = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        if let Some(change) = line.unwrap().strip_prefix("committed ") {
            committed.push(change.to_owned());
        }
        if committed.len() == lines {
            // In the middle of the next ones; what it still had reported is read to the end.
            child.kill().unwrap();
        }
    }
    let status = child.wait().unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(9),
        "{status}"
    );
    committed
}

/// What is in the store.
fn state(store: &Store) -> Told {
    let mut told = Told::default();
    for folder in store.folders().unwrap() {
        let shares = store.lines(folder.id).unwrap().len();
        if shares > 0 {
            told.shares.insert(folder.id.0, shares);
        }
        told.folders.insert(folder.name);
    }
    told
}

/// What the audit says that is in the store.
fn replay(audit: &[AuditLine]) -> Told {
    let mut told = Told::default();
    let text = |line: &AuditLine, key: &str| line.details[key].as_str().unwrap().to_owned();
    for line in audit {
        match &*line.action {
            "create" => assert!(told.folders.insert(text(line, "name"))),
            "rename" => {
                assert!(told.folders.remove(&text(line, "from")));
                assert!(told.folders.insert(text(line, "to")));
            }
            "delete" => {
                assert!(told.folders.remove(&text(line, "name")));
                told.shares.remove(&line.folder.unwrap());
            }
            "share" => *told.shares.entry(line.folder.unwrap()).or_default() += 1,
            "account" => {}
            action => panic!("nobody did {action}"),
        }
    }
    told
}

#[test]
#[ignore = "is the child that what_was_committed_survives_a_kill_and_nothing_is_there_by_half kills"]
fn child() {
    let Some(dir) = std::env::var_os(STATE) else {
        return;
    };
    let mut store = Store::open(Path::new(&dir)).unwrap();
    let olga = account(&mut store, "olga", 4001);
    let bob = Principal::Account(account(&mut store, "bob", 4002).id);
    let by = By::daemon();
    let say = |change: &str| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "committed {change}")
            .and_then(|()| out.flush())
            .unwrap();
    };
    for number in store.audit(&all()).unwrap().len().. {
        let (name, later) = (format!("f{number}"), format!("g{number}"));
        let id = store.create_folder(&by, &new_folder(&olga, &name)).unwrap();
        say(&format!("create {name}"));
        for at in ["", "A/B"] {
            store
                .set_line(
                    &by,
                    id,
                    LineKind::Grant,
                    bob,
                    level("view"),
                    (&path(at), &directory()),
                )
                .unwrap();
        }
        let folder = store.folder(id).unwrap().unwrap();
        store.rename_folder(&by, &folder, &later).unwrap();
        say(&format!("rename {later}"));
        if number % 3 == 0 {
            let folder = store.folder(id).unwrap().unwrap();
            store.delete_folder(&by, &folder).unwrap();
            say(&format!("delete {later}"));
        }
    }
}
