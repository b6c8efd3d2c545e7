//! Very much of something, in bounded time.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lendfs::control::client::{Client, PATIENCE};
use lendfs::control::requests;
use lendfs::control::wire::Bytes;
use nix::sys::signal::Signal;
use rusqlite::Connection;

use super::{lent, rules_hold};
use crate::common::world::mounts_below;
use crate::common::{BOB, DAN, OLGA, ROOT, World, names};

/// How long something takes; printed, for those who want to know.
fn measured<T>(what: &str, work: impl FnOnce() -> T) -> (T, Duration) {
    let before = Instant::now();
    let done = work();
    let took = before.elapsed();
    println!("{what}: {took:?}");
    (done, took)
}

/// The memory of the daemon, in kB.
fn memory(world: &World) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_directory_of_100_000_files_is_listed_and_searched() {
    const FILES: usize = 100_000;
    let Some(world) = World::new() else { return };
    let (backing, at) = lent(&world);
    let many = backing.join("many");
    crate::common::plant(&backing, &["many/"]);
    for number in 0..FILES {
        std::fs::File::create(many.join(format!("{number:06}"))).unwrap();
    }
    world.permit("tests/many/000077", BOB.name, "invisible");
    let shown = at.join("many");
    BOB.run(|| {
        let (listed, took) = measured("100,000 files listed", || names(&shown));
        assert_eq!(listed.len(), FILES - 1);
        assert!(took < Duration::from_secs(60));
        let (_, took) = measured("each of them asked for", || {
            for name in &listed {
                std::fs::symlink_metadata(shown.join(name)).unwrap();
            }
        });
        assert!(took < Duration::from_secs(120));
        assert!(std::fs::metadata(shown.join("000077")).is_err());
        std::fs::write(shown.join("one more"), "").unwrap();
        assert_eq!(names(&shown).len(), FILES);
    });
    println!("the daemon has {} kB", memory(&world));
    let (_, took) = measured("lendfs ls", || world.ok(BOB, &format!("ls {}", shown.display())));
    assert!(took < Duration::from_secs(120));
    rules_hold(&at);
}

#[test]
fn ten_thousand_invitations_are_listed_and_answered() {
    const MANY: usize = 10_000;
    let Some(mut world) = World::new() else { return };
    let (_, at) = lent(&world);
    world.ok(DAN, "list");
    let (bob, dan) = {
        world.end(Signal::SIGTERM);
        let mut db = Connection::open(world.state().join("lendfs.db")).unwrap();
        let id = |login: &str| -> i64 {
            db.query_row("SELECT id FROM accounts WHERE login = ?1", [login], |row| {
                row.get(0)
            })
            .unwrap()
        };
        let ids = (id(BOB.name), id(DAN.name));
        let (folder, owner): (i64, i64) = db
            .query_row("SELECT id, owner FROM folders", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        let all = db.transaction().unwrap();
        for number in 0..MANY {
            // To places of one folder for the one, to folders for the other.
            all.execute(
                "INSERT INTO invitations (folder, path, kind, account, level, state, at)
                 VALUES (?1, ?2, 'directory', ?3, 'view', 'pending', 0)",
                (folder, format!("place-{number}").into_bytes(), ids.0),
            )
            .unwrap();
            all.execute(
                "INSERT INTO folders (owner, name, inheritance) VALUES (?1, ?2, 'override')",
                (owner, format!("folder-{number}")),
            )
            .unwrap();
            let folder = all.last_insert_rowid();
            all.execute(
                "INSERT INTO places (folder, path, kind) VALUES (?1, x'', 'directory')",
                [folder],
            )
            .unwrap();
            all.execute(
                "INSERT INTO invitations (folder, path, kind, account, level, state, at)
                 VALUES (?1, x'', 'directory', ?2, 'view', 'pending', 0)",
                (folder, ids.1),
            )
            .unwrap();
            std::fs::create_dir(world.state().join(format!("folders/{folder}"))).unwrap();
        }
        all.commit().unwrap();
        ids
    };
    assert!(bob != dan);
    let (_, took) = measured("the daemon starts with 10,001 folders", || world.start());
    assert!(took < Duration::from_secs(60));
    let quick = |what: &str, took: Duration| assert!(took < Duration::from_secs(20), "{what}: {took:?}");
    for user in [BOB, DAN] {
        let (told, took) = measured("invitations", || world.json(user, "invitations"));
        assert!(told.as_array().unwrap().len() >= MANY);
        quick("invitations", took);
    }
    let (_, took) = measured("accept", || world.ok(DAN, "accept lft-olga:folder-77"));
    quick("accept", took);
    let (_, took) = measured("decline", || world.ok(DAN, "decline lft-olga:folder-78"));
    quick("decline", took);
    let (told, took) = measured("permissions", || world.json(OLGA, "permissions tests"));
    assert_eq!(told["invitations"].as_array().unwrap().len(), MANY);
    quick("permissions", took);
    let (shown, took) = measured("mount", || world.mount(OLGA));
    quick("mount", took);
    let (listed, took) = measured("the owner's top directory listed", || OLGA.run(|| names(&shown)));
    assert_eq!(listed.len(), MANY + 1);
    quick("listing", took);
    let (_, took) = measured("a rule", || world.permit("tests/file", BOB.name, "view"));
    quick("a rule", took);
    println!("the daemon has {} kB", memory(&world));
    drop(at);
}

#[test]
fn a_thousand_mounts_come_and_go() {
    const MANY: usize = 1000;
    let Some(mut world) = World::quiet() else { return };
    world.configure("[limits]\nmounts-of-one = 2000");
    world.start();
    let (_, at) = lent(&world);
    let before = memory(&world);
    let points: Vec<_> = (0..MANY)
        .map(|number| world.dir.join(format!("points/{number}")))
        .collect();
    for point in &points {
        BOB.directory(point);
    }
    let client = Client {
        socket: world.socket(),
        user: Some(BOB.name.into()),
        patience: PATIENCE,
    };
    let mount = |at: &Path| requests::Mount {
        at: Bytes(at.as_os_str().as_bytes().into()),
        read_only: false,
        ceiling: None,
        online: false,
        admit_all: false,
        default_permissions: false,
        own: None,
        strict: false,
    };
    let (_, took) = measured("1,000 mounts", || {
        for hundred in points.chunks(100) {
            measured("a hundred of them", || {
                for point in hundred {
                    client.call(&mount(point)).unwrap();
                }
            });
        }
    });
    assert!(took < Duration::from_secs(300), "{took:?}");
    println!("they take {} kB", memory(&world) - before);
    assert_eq!(world.json(BOB, "mounts").as_array().unwrap().len(), MANY + 1);
    BOB.run(|| {
        let (_, took) = measured("a file read through each", || {
            for point in &points {
                assert_eq!(
                    std::fs::read(point.join("tests/file")).unwrap(),
                    b"content of file\n"
                );
            }
        });
        assert!(took < Duration::from_secs(60), "{took:?}");
    });
    // A change holds in all of them when it was answered.
    let (_, took) = measured("a rule in all of them", || {
        world.permit("tests/file", BOB.name, "locked")
    });
    assert!(took < Duration::from_secs(20), "{took:?}");
    BOB.run(|| {
        for point in &points {
            assert!(
                std::fs::read(point.join("tests/file")).is_err(),
                "a rule was passed"
            );
        }
    });
    rules_hold(&at);
    let (_, took) = measured("lendfs mounts", || world.ok(ROOT, "mounts"));
    assert!(took < Duration::from_secs(5), "{took:?}");
    let (_, took) = measured("the daemon ends, and all of them with it", || {
        world.end(Signal::SIGTERM)
    });
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(mounts_below(&world.dir), Vec::<PathBuf>::new());
}
