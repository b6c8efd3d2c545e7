//! What a check costs, and what many rules cost. Run by `scripts/bench policy`; figures only, no judgement.

#![allow(missing_docs, clippy::unwrap_used, reason = "a bench has no callers")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use divan::{Bencher, black_box};
use lendfs::policy::{
    AccountId, AccountKind, Cursor, FolderId, FolderPolicy, GroupId, Inheritance, Level, Line, LineId,
    LineKind, LineLevel, Operation, Place, PlaceId, PlaceKind, PlacePath, Places, Principal, Subject,
    SubjectTree, Target, judge,
};
use lendfs::store::Store;

const ME: Principal = Principal::Account(AccountId(2));

fn main() {
    load();
    divan::main();
}

/// Where the rule of a number stands: ten directories side by side, in each a thousand, and so on.
fn path(rule: usize) -> PlacePath {
    let text = format!(
        "team-{}/project-{}/data-{}",
        rule % 10,
        rule / 10 % 1000,
        rule / 10_000
    );
    PlacePath::parse(text.as_bytes()).unwrap()
}

/// A folder with so many rules for one account, who has all of it.
fn folder(rules: usize) -> FolderPolicy {
    let mut places = Places::default();
    let mut lines = Vec::with_capacity(rules + 1);
    let mut line = |id: usize, kind, level: Level, path| {
        let place = PlaceId(id as i64);
        places.insert(Place {
            id: place,
            path,
            kind: PlaceKind::Directory,
            target: Target::There,
            inodes: vec![(&id.to_le_bytes()[..]).into()],
        });
        lines.push(Line {
            id: LineId(id as i64),
            kind,
            principal: ME,
            level: LineLevel::Fixed(level),
            place,
        });
    };
    line(0, LineKind::Grant, Level::View, PlacePath::root());
    for rule in 1..=rules {
        let level = if rule % 2 == 0 { Level::Edit } else { Level::Locked };
        line(rule, LineKind::Rule, level, path(rule));
    }
    FolderPolicy {
        id: FolderId(1),
        owner: AccountId(1),
        name: "tests".into(),
        inheritance: Inheritance::Override,
        strict: false,
        protection: Default::default(),
        places,
        lines: HashMap::from([(ME, lines.into())]),
    }
}

fn subject() -> Subject {
    Subject {
        account: AccountId(2),
        groups: Arc::default(),
        kind: AccountKind::Member,
        frozen: false,
        ceiling: None,
        online: false,
    }
}

/// Steps timed together. Left to itself, divan takes the first and cold one for the measure and times each alone,
/// where the clock's own precision is half of the figure.
const SAMPLE: u32 = 128;

/// A step by a name: on the way to rules, and off it.
#[divan::bench(args = [10, 1_000, 1_000_000], sample_size = SAMPLE)]
fn step(bencher: Bencher<'_, '_>, rules: usize) {
    let tree = SubjectTree::compile(&folder(rules), &subject());
    let at = tree.root();
    bencher.bench_local(|| tree.step(black_box(at), black_box(b"team-7")));
}

#[divan::bench(args = [10, 1_000, 1_000_000], sample_size = SAMPLE)]
fn step_off_the_way(bencher: Bencher<'_, '_>, rules: usize) {
    let tree = SubjectTree::compile(&folder(rules), &subject());
    let at = tree.root();
    bencher.bench_local(|| tree.step(black_box(at), black_box(b"somewhere else")));
}

/// A whole check: a step, what holds there, and the table.
#[divan::bench(args = [10, 1_000, 1_000_000], sample_size = SAMPLE)]
fn check(bencher: Bencher<'_, '_>, rules: usize) {
    let tree = SubjectTree::compile(&folder(rules), &subject());
    let at: Cursor = tree.step(tree.root(), b"team-7");
    bencher.bench_local(|| {
        let verdict = tree.verdict(tree.step(black_box(at), black_box(b"project-0")));
        judge(&Operation::Read(verdict))
    });
}

#[divan::bench(args = [100, 10_000])]
fn compile(bencher: Bencher<'_, '_>, rules: usize) {
    let (folder, subject) = (folder(rules), subject());
    bencher.bench_local(|| SubjectTree::compile(black_box(&folder), &subject));
}

/// A store with a million rules and ten thousand groups: how long it takes to load, and how much memory.
fn load() {
    const RULES: usize = 1_000_000;
    const GROUPS: usize = 10_000;
    let state = tempfile::tempdir().unwrap();
    drop(Store::open(state.path()).unwrap());
    fill(&state.path().join("lendfs.db"), RULES, GROUPS);
    let store = Store::open(state.path()).unwrap();
    let before = resident();
    let start = Instant::now();
    let snapshot = store.snapshot().unwrap();
    let took = start.elapsed();
    let grown = resident().saturating_sub(before);
    println!(
        "load of {RULES} rules and {GROUPS} groups: {:.2} s",
        took.as_secs_f64()
    );
    println!("memory: {} bytes a rule", grown / RULES);
    let folder = &snapshot.folders[&FolderId(1)];
    let groups: Arc<[GroupId]> = (1..=100).map(GroupId).collect();
    let member = Subject { groups, ..subject() };
    let start = Instant::now();
    black_box(SubjectTree::compile(folder, &member));
    println!(
        "compile for a member of 100 groups (10,000 rules of 1,000,000): {:.2} ms",
        start.elapsed().as_secs_f64() * 1e3
    );
}

/// Writes the rows past the store, which would bring each to the disk by itself.
fn fill(database: &std::path::Path, rules: usize, groups: usize) {
    let mut db = rusqlite::Connection::open(database).unwrap();
    let rows = db.transaction().unwrap();
    rows.execute(
        "INSERT INTO accounts (id, login, uid, gid) VALUES (1, 'owner', 1, 1), (2, 'me', 2, 2)",
        [],
    )
    .unwrap();
    rows.execute(
        "INSERT INTO folders (id, owner, name, inheritance) VALUES (1, 1, 'tests', 'override')",
        [],
    )
    .unwrap();
    {
        let mut group = rows
            .prepare("INSERT INTO groups (id, source, name) VALUES (?1, 'group', ?2)")
            .unwrap();
        let count = |number: usize| number as i64;
        for id in 1..=groups {
            group.execute((count(id), format!("group-{id}"))).unwrap();
        }
        let mut place = rows
            .prepare("INSERT INTO places (id, folder, path, kind) VALUES (?1, 1, ?2, 'directory')")
            .unwrap();
        let mut inode = rows
            .prepare("INSERT INTO inodes (place, seen, handle) VALUES (?1, 1, ?2)")
            .unwrap();
        let mut line = rows
            .prepare(
                "INSERT INTO lines (folder, place, kind, group_id, level) VALUES (1, ?1, 'rule', ?2, 'view')",
            )
            .unwrap();
        for id in 1..=rules {
            place.execute((count(id), path(id).to_bytes())).unwrap();
            // As long as a handle of ext4 is.
            inode
                .execute((count(id), [&id.to_le_bytes()[..], &[0; 4]].concat()))
                .unwrap();
            line.execute((count(id), count(id % groups + 1))).unwrap();
        }
    }
    rows.commit().unwrap();
}

/// The memory that the process holds, in bytes (`proc_pid_statm(5)`).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
