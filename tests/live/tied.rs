//! What a line is tied to: directories that move, files that are replaced, targets that are gone.

use std::path::{Path, PathBuf};

use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::{Mode, fstatat};

use crate::common::{BOB, OLGA, World, names, plant, soon, word};

/// A folder `tests` that Bob has at a level: the world, its backing directory, Bob's and Olga's mounts of it.
fn shared(level: &str, entries: &[&str]) -> Option<(World, PathBuf, PathBuf, PathBuf)> {
    let world = World::new()?;
    let backing = world.folder("tests");
    plant(&backing, entries);
    world.share("tests", BOB, level);
    let (bob, olga) = (world.mount(BOB).join("tests"), world.mount(OLGA).join("tests"));
    Some((world, backing, bob, olga))
}

fn write(path: &Path) -> String {
    BOB.run(|| word(std::fs::write(path, "new")))
}

fn stat(path: &Path) -> String {
    BOB.run(|| word(path.symlink_metadata()))
}

#[test]
fn a_file_that_is_replaced_by_rename_keeps_its_rule() {
    let Some((world, backing, bob, olga)) = shared("full", &["doc", "mine"]) else {
        return;
    };
    world.permit("tests/doc", BOB.name, "view");
    assert_eq!(
        BOB.run(|| word(std::fs::rename(bob.join("mine"), bob.join("doc")))),
        "EACCES"
    );
    // The owner saves by replacement, in her mount and natively.
    OLGA.run(|| {
        std::fs::write(olga.join(".doc.new"), "second").unwrap();
        std::fs::rename(olga.join(".doc.new"), olga.join("doc")).unwrap();
    });
    assert_eq!(
        (write(&bob.join("doc")), stat(&bob.join("doc"))),
        ("EACCES".into(), "ok".into())
    );
    std::fs::write(backing.join("native"), "third").unwrap();
    std::fs::rename(backing.join("native"), backing.join("doc")).unwrap();
    assert_eq!(write(&bob.join("doc")), "EACCES");
    assert_eq!(std::fs::read_to_string(backing.join("doc")).unwrap(), "third");
}

#[test]
fn a_file_that_steps_aside_keeps_what_its_name_forbade() {
    let Some((world, _, bob, olga)) = shared("full", &["doc", "secret"]) else {
        return;
    };
    world.permit("tests/doc", BOB.name, "view");
    world.permit("tests/secret", BOB.name, "invisible");
    OLGA.run(|| {
        for name in ["doc", "secret"] {
            std::fs::rename(olga.join(name), olga.join(format!("{name}~"))).unwrap();
            std::fs::write(olga.join(name), "anew").unwrap();
        }
    });
    assert_eq!(
        (write(&bob.join("doc~")), write(&bob.join("doc"))),
        ("EACCES".into(), "EACCES".into())
    );
    assert_eq!(
        (stat(&bob.join("secret~")), stat(&bob.join("secret"))),
        ("ENOENT".into(), "ENOENT".into())
    );
    assert_eq!(BOB.run(|| names(&bob)), ["doc", "doc~"]);
}

#[test]
fn what_is_made_anew_in_place_of_a_protected_directory_is_protected() {
    let Some((world, backing, bob, olga)) = shared("full", &["secret/x", "read/x"]) else {
        return;
    };
    world.permit("tests/secret", BOB.name, "invisible");
    world.permit("tests/read", BOB.name, "view");
    OLGA.run(|| {
        for name in ["secret", "read"] {
            std::fs::remove_dir_all(olga.join(name)).unwrap();
            std::fs::create_dir(olga.join(name)).unwrap();
            std::fs::write(olga.join(name).join("x"), "").unwrap();
        }
    });
    assert_eq!(
        (stat(&bob.join("secret/x")), write(&bob.join("read/x"))),
        ("ENOENT".into(), "EACCES".into())
    );
    // Likewise behind the daemon's back.
    for name in ["secret", "read"] {
        std::fs::remove_dir_all(backing.join(name)).unwrap();
    }
    assert_eq!(stat(&bob.join("secret")), "ENOENT");
    plant(&backing, &["secret/x", "read/x"]);
    assert_eq!(
        (stat(&bob.join("secret/x")), write(&bob.join("read/x"))),
        ("ENOENT".into(), "EACCES".into())
    );
    assert_eq!(
        BOB.run(|| word(std::fs::create_dir(bob.join("secret")))),
        "EACCES"
    );
}

#[test]
fn a_line_whose_target_is_gone_raises_nothing_until_it_is_written_again() {
    let Some((world, backing, bob, olga)) = shared("view", &["up/x", "file"]) else {
        return;
    };
    world.permit("tests/up", BOB.name, "full");
    world.permit("tests/file", BOB.name, "edit");
    assert_eq!(
        (write(&bob.join("up/x")), write(&bob.join("file"))),
        ("ok".into(), "ok".into())
    );
    OLGA.run(|| {
        std::fs::remove_dir_all(olga.join("up")).unwrap();
        std::fs::create_dir(olga.join("up")).unwrap();
        std::fs::write(olga.join("up/x"), "").unwrap();
        std::fs::remove_file(olga.join("file")).unwrap();
        std::fs::write(olga.join("file"), "").unwrap();
    });
    assert_eq!(
        (write(&bob.join("up/x")), write(&bob.join("file"))),
        ("EACCES".into(), "EACCES".into())
    );
    let rules = world.json(OLGA, "permissions tests")["rules"].clone();
    assert!(
        rules
            .as_array()
            .unwrap()
            .iter()
            .all(|rule| rule["target"] == "gone"),
        "{rules}"
    );
    world.permit("tests/up", BOB.name, "full");
    assert_eq!(write(&bob.join("up/x")), "ok");
    // Behind the daemon's back it is the same.
    std::fs::remove_dir_all(backing.join("up")).unwrap();
    plant(&backing, &["up/x"]);
    assert_eq!(write(&bob.join("up/x")), "EACCES");
}

#[test]
fn a_directory_that_comes_back_has_its_line_again() {
    let Some((world, backing, bob, _)) = shared("view", &["up/x"]) else {
        return;
    };
    world.permit("tests/up", BOB.name, "edit");
    let outside = world.dir.join("outside");
    std::fs::rename(backing.join("up"), &outside).unwrap();
    soon(|| stat(&bob.join("up")), "ENOENT");
    std::fs::create_dir(backing.join("up")).unwrap();
    soon(|| write(&bob.join("up/new")), "EACCES");
    std::fs::remove_dir(backing.join("up")).unwrap();
    std::fs::rename(&outside, backing.join("up")).unwrap();
    soon(|| write(&bob.join("up/x")), "ok");
}

#[test]
fn a_rule_follows_its_directory_through_mounts_and_behind_the_daemon_s_back() {
    let Some((world, backing, bob, olga)) = shared("full", &["a/secret/x", "b/"]) else {
        return;
    };
    world.permit("tests/a/secret", BOB.name, "invisible");
    assert_eq!(stat(&bob.join("a/secret")), "ENOENT");
    OLGA.run(|| std::fs::rename(olga.join("a/secret"), olga.join("b/open")).unwrap());
    assert_eq!(stat(&bob.join("b/open/x")), "ENOENT");
    std::fs::rename(backing.join("b/open"), backing.join("a/other")).unwrap();
    assert_eq!(
        (stat(&bob.join("a/other/x")), stat(&bob.join("a/other"))),
        ("ENOENT".into(), "ENOENT".into())
    );
    // And above it.
    std::fs::rename(backing.join("a"), backing.join("z")).unwrap();
    assert_eq!(stat(&bob.join("z/other/x")), "ENOENT");
    assert!(BOB.run(|| names(&bob.join("z"))).is_empty());
    // What took its place is nobody's business.
    plant(&backing, &["a/secret/y"]);
    soon(|| stat(&bob.join("a/secret/y")), "ok");
    let rules = world.json(OLGA, "permissions tests")["rules"].clone();
    assert_eq!(rules[0]["path"], "z/other", "{rules}");
}

#[test]
fn a_cached_node_that_is_moved_natively_is_judged_by_its_new_place() {
    let Some((world, backing, bob, _)) = shared("full", &["a/file", "secret/", "a/deep/er/file"]) else {
        return;
    };
    world.permit("tests/secret", BOB.name, "invisible");
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let (near, far) = BOB.run(|| {
        let open = |path: &str| open(&bob.join(path), flags, Mode::empty()).unwrap();
        (open("a"), open("a/deep/er"))
    });
    let look = |directory| BOB.run(|| word(fstatat(directory, "file", AtFlags::empty())));
    assert_eq!((look(&near), look(&far)), ("ok".into(), "ok".into()));
    std::fs::rename(backing.join("a"), backing.join("secret/a")).unwrap();
    soon(|| (look(&near), look(&far)), ("ENOENT".into(), "ENOENT".into()));
    let written = BOB.run(|| {
        word(nix::fcntl::openat(
            &near,
            "new",
            OFlag::O_CREAT | OFlag::O_WRONLY,
            Mode::S_IRWXU,
        ))
    });
    assert_eq!(written, "ENOENT");
    std::fs::rename(backing.join("secret/a"), backing.join("b")).unwrap();
    soon(|| (look(&near), look(&far)), ("ok".into(), "ok".into()));
}

#[test]
fn lines_stay_with_their_targets_over_a_restart() {
    let Some((mut world, backing, bob, olga)) = shared("full", &["secret/x", "up/x", "doc"]) else {
        return;
    };
    world.permit("tests/secret", BOB.name, "invisible");
    world.permit("tests/doc", BOB.name, "view");
    OLGA.run(|| {
        std::fs::rename(olga.join("secret"), olga.join("moved")).unwrap();
        std::fs::rename(olga.join("doc"), olga.join("doc~")).unwrap();
    });
    assert_eq!(write(&bob.join("doc~")), "EACCES");
    world.end(nix::sys::signal::Signal::SIGTERM);
    std::fs::rename(backing.join("moved"), backing.join("once-more")).unwrap();
    world.start();
    let bob = world.mount(BOB).join("tests");
    assert_eq!(stat(&bob.join("once-more")), "ENOENT");
    assert_eq!(write(&bob.join("doc~")), "EACCES");
    assert_eq!(write(&bob.join("up/x")), "ok");
}

#[test]
fn a_line_is_found_where_its_directory_was_moved_to_a_moment_ago() {
    let Some((world, _, bob, olga)) = shared("full", &["a/x", "b/x"]) else {
        return;
    };
    world.permit("tests/a", BOB.name, "view");
    world.permit("tests/b", BOB.name, "invisible");
    // The way goes by the place of one that is gone.
    for round in 0..10 {
        let (from, to) = (
            format!("a{}", "x".repeat(round)),
            format!("a{}", "x".repeat(round + 1)),
        );
        OLGA.run(|| std::fs::rename(olga.join(&from), olga.join(&to)).unwrap());
        world.ok(OLGA, &format!("unpermit tests/{to} --for {}", BOB.name));
        world.permit(&format!("tests/{to}"), BOB.name, "view");
    }
    OLGA.run(|| {
        std::fs::remove_dir_all(olga.join("b")).unwrap();
        std::fs::rename(olga.join("axxxxxxxxxx"), olga.join("b")).unwrap();
    });
    assert_eq!(stat(&bob.join("b")), "ENOENT", "what was hidden there still is");
    world.ok(OLGA, &format!("unpermit tests/b --for {}", BOB.name));
    assert_eq!(write(&bob.join("b/x")), "ok");
}
