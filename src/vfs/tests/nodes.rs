//! The table of nodes: known files take little memory, and give it back; none is lost or left over.

use std::sync::Arc;

use crate::backing::{self, Name};
use crate::policy::{
    AccountId, AccountKind, Cursor, FolderId, FolderPolicy, Inheritance, Level, Places, Standing, Subject,
    SubjectTree,
};
use crate::vfs::node::{Node, Position};
use crate::vfs::nodes::{Found, Nodes};
use crate::vfs::object::Opened;

/// A quarter of a million fills the table as a million does, in a build that takes its time.
const FILES: usize = if cfg!(debug_assertions) {
    250_000
} else {
    1_000_000
};
const IN_A_DIRECTORY: usize = 1000;
const FOLDER: FolderId = FolderId(1);
const OWNER: AccountId = AccountId(1);

/// The bytes of this process that are in memory (`proc_pid_statm(5)`).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn policy() -> FolderPolicy {
    FolderPolicy {
        id: FOLDER,
        owner: OWNER,
        name: "tests".into(),
        inheritance: Inheritance::Override,
        strict: false,
        protection: Default::default(),
        places: Places::default(),
        lines: Default::default(),
    }
}

fn owner() -> Subject {
    Subject {
        account: OWNER,
        groups: [].into(),
        kind: AccountKind::Member,
        frozen: false,
        ceiling: None,
        online: false,
    }
}

fn root_cursor() -> Cursor {
    SubjectTree::compile(&policy(), &owner()).root()
}

#[test]
fn known_files_take_less_than_three_hundred_bytes_each_and_give_them_back() {
    let stat = backing::stat(std::fs::File::open("/").unwrap()).unwrap();
    let cursor = root_cursor();
    let nodes = Nodes::new(Arc::default(), None);
    let keep = |number: u64, position| {
        let mut stat = stat;
        stat.ino = number;
        let found = Found {
            folder: FOLDER,
            opened: Opened::by_stat(stat),
            position,
            generation: 1,
            cursor,
        };
        nodes.keep(found, |_| None)
    };
    let under = |parent: &Arc<Node>, name: String| Position::Under {
        parent: Arc::clone(parent),
        name: (&Name::new(name).unwrap()).into(),
    };
    let before = resident();
    let root = keep(1, Position::Root);
    let mut number = 1;
    for directory in 0..FILES / IN_A_DIRECTORY {
        number += 1;
        let directory = keep(number, under(&root, format!("directory-{directory}")));
        for file in 0..IN_A_DIRECTORY {
            number += 1;
            // One in ten has a name that is too long to be kept in place.
            let long = if file % 10 == 0 { "-with-a-long-name" } else { "" };
            keep(number, under(&directory, format!("file-{file:06}{long}.txt")));
        }
    }
    let each = (resident() - before) / FILES;
    println!(
        "{each} bytes a node, {} of them in the node itself",
        size_of::<Node>()
    );
    assert!(each < 300, "{each}");
    assert_eq!(nodes.all().len(), number as usize);
    drop(root);
    for node in nodes.all() {
        nodes.forget(node.ino, 1);
    }
    assert!(nodes.all().is_empty());
    // As the daemon does when no more are forgotten.
    backing::return_freed_memory();
    let left = resident().saturating_sub(before) / FILES;
    println!("{left} bytes are left of each after all were forgotten");
    assert!(left < 30, "{left}");
}

#[test]
fn what_was_told_to_the_kernel_is_there_until_it_is_forgotten_whoever_comes_in_between() {
    let stat = backing::stat(std::fs::File::open("/").unwrap()).unwrap();
    let cursor = root_cursor();
    let other = SubjectTree::compile(&policy(), &owner()).capped(cursor, Standing::Level(Level::View));
    let nodes = Nodes::new(Arc::default(), None);
    std::thread::scope(|threads| {
        for thread in 0..4_u64 {
            let nodes = &nodes;
            threads.spawn(move || {
                for round in 0..20_000 {
                    let mut stat = stat;
                    stat.ino = (round * 7 + thread) % 5;
                    let found = Found {
                        folder: FOLDER,
                        opened: Opened::by_stat(stat),
                        position: Position::Root,
                        generation: 1,
                        // Two names under different rules lead to each.
                        cursor: if round % 3 == 0 { other } else { cursor },
                    };
                    let node = nodes.keep(found, |node| node.cursor(1));
                    let there = nodes.find(node.ino).expect("it was told of");
                    assert!(Arc::ptr_eq(&there, &node));
                    nodes.forget(node.ino, 1);
                }
            });
        }
    });
    assert!(nodes.all().is_empty());
}

#[test]
fn a_very_deep_directory_is_forgotten_without_recursion() {
    let stat = backing::stat(std::fs::File::open("/").unwrap()).unwrap();
    let cursor = root_cursor();
    let below = |position| {
        Arc::new(Node::new(
            crate::vfs::ids::Ino(2),
            FOLDER,
            Opened::by_stat(stat),
            position,
            1,
            cursor,
        ))
    };
    let mut node = below(Position::Root);
    for _ in 0..1_000_000 {
        let name = (&Name::new("d").unwrap()).into();
        node = below(Position::Under { parent: node, name });
    }
    drop(node);
}
