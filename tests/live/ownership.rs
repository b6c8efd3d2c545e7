//! Owners, modes and access(2) tell the truth: who made a file, and what a later call will answer.

use std::fs::File;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use nix::unistd::AccessFlags;

use crate::common::{BOB, CARA, OLGA, ROOT, User, World, plant, word};

const LEVELS: [&str; 5] = ["invisible", "locked", "view", "edit", "full"];
const MODES: [u32; 6] = [0o644, 0o600, 0o444, 0o755, 0o711, 0o066];
static MADE: AtomicU32 = AtomicU32::new(0);
const SESSION: (u32, u32) = (4711, 4712);

/// A folder with a directory for each level, in which there is a script and a directory of each mode.
fn world() -> Option<(World, PathBuf)> {
    let world = World::new()?;
    let backing = world.folder("tests");
    for level in LEVELS {
        plant(&backing, &[&format!("{level}/x")]);
        for mode in MODES {
            let (file, directory) = (name("file", level, mode), name("dir", level, mode));
            plant(&backing, &[&file, &format!("{directory}/x")]);
            std::fs::write(backing.join(&file), "#!/bin/true\n").unwrap();
            for path in [file, directory] {
                std::fs::set_permissions(backing.join(path), PermissionsExt::from_mode(mode)).unwrap();
            }
        }
    }
    world.share("tests", BOB, "view");
    for level in LEVELS {
        world.permit(&format!("tests/{level}"), BOB.name, level);
    }
    Some((world, backing))
}

fn name(kind: &str, level: &str, mode: u32) -> String {
    format!("{level}/{kind}-{mode:o}")
}

/// A mount of Bob's that root makes, with options.
fn mount_by_root(world: &World, options: &str) -> PathBuf {
    let at = world.fresh(BOB);
    world.ok(
        ROOT,
        &format!("mount {} {options} --user {}", at.display(), BOB.name),
    );
    at.join("tests")
}

/// Every kind of mount of Bob's.
fn mounts(world: &World) -> Vec<(&'static str, PathBuf)> {
    vec![
        ("plain", world.mount(BOB).join("tests")),
        ("--read-only", world.mount_with(BOB, "--read-only").join("tests")),
        ("--strict", world.mount_with(BOB, "--strict").join("tests")),
        ("--own", mount_by_root(world, "--own 4711:4712")),
        (
            "--own, his",
            mount_by_root(world, &format!("--own {}:{}", BOB.uid, BOB.gid)),
        ),
        (
            "--own --default-permissions",
            mount_by_root(
                world,
                &format!("--default-permissions --own {}:{}", BOB.uid, BOB.gid),
            ),
        ),
        (
            "--default-permissions",
            mount_by_root(world, "--default-permissions"),
        ),
    ]
}

/// What `access(2)` says of a path, and what the calls answer that it speaks of.
fn said_and_answered(path: &Path, directory: bool) -> Vec<(&'static str, String, String)> {
    // Who makes something in a directory enters it.
    let make = AccessFlags::W_OK
        | if directory {
            AccessFlags::X_OK
        } else {
            AccessFlags::empty()
        };
    let said = |mode| word(nix::unistd::access(path, mode));
    let read = || match directory {
        true => word(std::fs::read_dir(path).and_then(|mut entries| entries.next().transpose())),
        false => word(File::open(path)),
    };
    let write = || match directory {
        true => {
            // Each time another one, for under edit they stay.
            let number = MADE.fetch_add(1, Ordering::Relaxed);
            word(File::create_new(path.join(format!("new-{number}"))))
        }
        false => word(File::options().write(true).open(path)),
    };
    let execute = || match directory {
        true => word(path.join("x").symlink_metadata()),
        false => word(std::process::Command::new(path).output()),
    };
    vec![
        ("R_OK", said(AccessFlags::R_OK), read()),
        ("W_OK", said(make), write()),
        ("X_OK", said(AccessFlags::X_OK), execute()),
    ]
}

#[test]
fn access_says_what_the_call_will_answer() {
    let Some((world, _)) = world() else { return };
    let mut wrong = Vec::new();
    for (kind, at) in mounts(&world) {
        for level in LEVELS {
            let places = MODES.iter().flat_map(|mode| {
                [("file", false), ("dir", true)]
                    .map(|(kind, directory)| (name(kind, level, *mode), directory))
            });
            for (place, directory) in places.chain([(level.to_owned(), true)]) {
                let answers = BOB.run(|| said_and_answered(&at.join(&place), directory));
                for (mask, said, answered) in answers {
                    // In a read-only mount the kernel says so before it asks for anything else.
                    let alike = said == answered || (said == "EROFS" && answered == "EACCES");
                    if !alike {
                        wrong.push(format!("{kind}, {place}: {mask} is {said}, the call {answered}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_mode_shows_no_bit_that_the_level_forbids_and_every_other_one() {
    let Some((world, _)) = world() else { return };
    for (kind, at) in mounts(&world) {
        // There the mode is the verdict.
        if kind == "--read-only" {
            continue;
        }
        for (level, shown) in [("view", 0o555), ("edit", 0o777), ("full", 0o777)] {
            for mode in MODES {
                for entry in ["file", "dir"] {
                    let place = name(entry, level, mode);
                    let told = BOB.run(|| {
                        at.join(&place)
                            .symlink_metadata()
                            .map(|stat| stat.mode() & 0o7777)
                    });
                    assert_eq!(told.unwrap(), mode & shown, "{kind}: {place}");
                }
            }
        }
        let locked = BOB.run(|| at.join("locked").metadata().unwrap().mode() & 0o7777);
        assert_eq!(locked, 0, "{kind}");
    }
}

#[test]
fn who_made_a_file_is_its_owner_in_every_mount() {
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    plant(&backing, &["file"]);
    let users = [(OLGA, "owner"), (BOB, "edit"), (CARA, "full")];
    let mounts: Vec<_> = users
        .iter()
        .map(|(user, level)| {
            if *user != OLGA {
                world.share("tests", *user, level);
            }
            (*user, world.mount(*user).join("tests"))
        })
        .collect();
    for (user, at) in &mounts {
        user.run(|| {
            std::fs::write(at.join(user.name), "").unwrap();
            std::fs::create_dir(at.join(format!("{}-dir", user.name))).unwrap();
            std::os::unix::fs::symlink("x", at.join(format!("{}-link", user.name))).unwrap();
        });
    }
    let own = mount_by_root(&world, "--own 4711:4712");
    for (maker, _) in &mounts {
        for name in ["", "-dir", "-link"].map(|kind| format!("{}{kind}", maker.name)) {
            for (user, at) in &mounts {
                assert_eq!(shown(*user, &at.join(&name)), (maker.uid, maker.gid), "{name}");
            }
            assert_eq!(shown(BOB, &own.join(&name)), SESSION, "{name}");
        }
    }
    // What is made in a session is the subject's, and shown as the session's.
    BOB.run(|| std::fs::write(own.join("in-session"), "").unwrap());
    assert_eq!(shown(BOB, &own.join("in-session")), SESSION);
    assert_eq!(shown(ROOT, &backing.join("in-session")), (BOB.uid, BOB.gid));
    // Writing makes nobody the owner.
    BOB.run(|| std::fs::write(mounts[1].1.join("file"), "new").unwrap());
    assert_eq!(shown(CARA, &mounts[2].1.join("file")), (OLGA.uid, OLGA.gid));
}

fn shown(user: User, path: &Path) -> (u32, u32) {
    user.run(|| {
        let stat = path.symlink_metadata().unwrap();
        (stat.uid(), stat.gid())
    })
}

#[test]
fn who_may_write_a_file_sets_its_mode_and_times_whoever_owns_it() {
    let Some((world, backing)) = world() else { return };
    let day = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for (kind, at) in mounts(&world) {
        if kind == "--read-only" || kind == "--default-permissions" {
            continue;
        }
        for level in ["edit", "full"] {
            for entry in ["file", "dir"] {
                let place = name(entry, level, 0o644);
                let path = at.join(&place);
                let owner = shown(BOB, &path);
                let answers = BOB.run(|| {
                    [
                        word(std::fs::set_permissions(&path, PermissionsExt::from_mode(0o750))),
                        word(chown(&path, Some(owner.0), Some(owner.1))),
                        word(chown(&path, None, None)),
                        word(File::open(&path).unwrap().set_modified(day)),
                    ]
                });
                assert_eq!(answers, ["ok"; 4], "{kind}: {place}");
                let stat = backing.join(&place).metadata().unwrap();
                let found = (stat.mode() & 0o7777, stat.uid(), stat.modified().unwrap());
                assert_eq!(found, (0o750, OLGA.uid, day), "{kind}: {place}");
                std::fs::set_permissions(backing.join(&place), PermissionsExt::from_mode(0o644)).unwrap();
                let answer = BOB.run(|| word(chown(&path, Some(CARA.uid), Some(CARA.gid))));
                // With --default-permissions the kernel refuses by itself.
                let nothing = kind == "--own" || kind == "--own, his";
                let expected = if nothing { "ok" } else { "EPERM" };
                assert_eq!(answer, expected, "{kind}: {place}");
            }
        }
    }
}

/// Runs a line of shell as Bob in a directory.
fn shell(at: &Path, line: &str) -> String {
    let output = BOB
        .command("sh")
        .args([
            "-c",
            &format!("exec 2>&1; cd \"$0\" && {line}"),
            &at.to_string_lossy(),
        ])
        .current_dir("/")
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_umask_is_honoured_and_no_acl_comes_in_its_way() {
    let Some(world) = World::new() else { return };
    let state = world.state().join("folders");
    // default:u::rwx,g::rwx,o::---, which takes from the mode of all that is made below.
    let mut acl = vec![2, 0, 0, 0];
    for (tag, bits) in [(1_u16, 7_u16), (4, 7), (0x20, 0)] {
        acl.extend(tag.to_le_bytes());
        acl.extend(bits.to_le_bytes());
        acl.extend([0xff; 4]);
    }
    xattr::set(&state, "system.posix_acl_default", &acl).unwrap();
    let backing = world.folder("tests");
    world.share("tests", BOB, "edit");
    for (number, at) in [
        world.mount(BOB).join("tests"),
        mount_by_root(&world, "--own 4711:4712"),
    ]
    .iter()
    .enumerate()
    {
        let made = |name: &str| format!("{name}-{number}");
        let line = format!(
            "umask 027; : >{}; mkdir {} {}/sub; mkfifo {}; umask 0; : >{}",
            made("file"),
            made("dir"),
            made("dir"),
            made("fifo"),
            made("open"),
        );
        assert_eq!(shell(at, &line), "");
        for (name, expected) in [("file", 0o640), ("dir", 0o750), ("fifo", 0o640), ("open", 0o666)] {
            let mode = |path: PathBuf| path.symlink_metadata().unwrap().mode() & 0o7777;
            assert_eq!(BOB.run(|| mode(at.join(made(name)))), expected, "{name}");
            assert_eq!(mode(backing.join(made(name))), expected, "{name}");
        }
    }
}

#[test]
fn test_in_a_shell_says_what_the_shell_can_do() {
    let Some((world, _)) = world() else { return };
    let at = world.mount(BOB).join("tests");
    for (level, expected) in [
        ("invisible", ""),
        ("locked", "e"),
        ("view", "erx"),
        ("edit", "erwx"),
        ("full", "erwx"),
    ] {
        let place = |kind| name(kind, level, 0o755);
        let told = shell(
            &at,
            &format!("for what in e r w x; do if test -$what {level}; then printf $what; fi; done"),
        );
        assert_eq!(told, expected, "{level}");
        let inside = if expected.len() > 1 { expected } else { "" };
        for path in [place("file"), place("dir")] {
            let told = shell(
                &at,
                &format!("for what in e r w x; do if test -$what {path}; then printf $what; fi; done"),
            );
            assert_eq!(told, inside, "{path}");
        }
    }
}
