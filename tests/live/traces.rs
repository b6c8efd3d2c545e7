//! What an invisible entry must not leave: names, counts, sizes, times, offsets, error codes.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, open, renameat2};
use nix::sys::stat::Mode;
use nix::unistd::AccessFlags;

use crate::common::{BOB, CARA, OLGA, World, names, plant, soon, word};

/// Everything a program can ask of a name without making it.
fn probe(at: &Path, name: &str) -> Vec<String> {
    let path = at.join(name);
    let opened = |flags| word(open(&path, flags, Mode::empty()));
    let exists = at.join("file");
    vec![
        word(path.symlink_metadata()),
        word(path.metadata()),
        opened(OFlag::O_RDONLY),
        opened(OFlag::O_WRONLY),
        opened(OFlag::O_RDONLY | OFlag::O_DIRECTORY),
        opened(OFlag::O_PATH),
        opened(OFlag::O_RDWR | OFlag::O_TRUNC),
        word(std::fs::read_dir(&path)),
        word(std::fs::read_link(&path)),
        word(nix::unistd::access(&path, AccessFlags::F_OK)),
        word(nix::unistd::access(&path, AccessFlags::W_OK)),
        word(xattr::get(&path, "user.x")),
        word(xattr::list(&path).map(drop)),
        word(xattr::set(&path, "user.x", b"x")),
        word(std::fs::set_permissions(
            &path,
            std::os::unix::fs::PermissionsExt::from_mode(0o700),
        )),
        word(std::os::unix::fs::chown(&path, Some(1), None)),
        word(nix::unistd::truncate(&path, 0)),
        word(std::fs::remove_file(&path)),
        word(std::fs::remove_dir(&path)),
        word(std::fs::rename(&path, at.join("elsewhere"))),
        word(renameat2(
            AT_FDCWD,
            &path,
            AT_FDCWD,
            &exists,
            RenameFlags::RENAME_EXCHANGE,
        )),
        word(std::fs::hard_link(&path, at.join("elsewhere"))),
        word(nix::sys::statvfs::statvfs(&path)),
        word(path.join("deeper").symlink_metadata()),
        word(std::fs::write(path.join("deeper"), "")),
        word(std::process::Command::new(&path).output()),
    ]
}

/// What a directory shows of itself.
fn shown(at: &Path) -> (u64, u64, u64, i64, i64, u32) {
    let stat = at.metadata().unwrap();
    (
        stat.nlink(),
        stat.size(),
        stat.blocks(),
        stat.mtime(),
        stat.mtime_nsec(),
        stat.mode(),
    )
}

fn hidden(level: &str) -> Option<(World, PathBuf, PathBuf)> {
    let world = World::new()?;
    let backing = world.folder("tests");
    plant(
        &backing,
        &[
            "room/file",
            "room/hidden-file",
            "room/hidden-directory/x",
            "room/seen/",
        ],
    );
    std::os::unix::fs::symlink("file", backing.join("room/hidden-link")).unwrap();
    world.share("tests", BOB, level);
    for name in ["hidden-file", "hidden-directory", "hidden-link"] {
        world.permit(&format!("tests/room/{name}"), BOB.name, "invisible");
    }
    let mount = world.mount(BOB).join("tests/room");
    Some((world, backing.join("room"), mount))
}

#[test]
fn a_hidden_name_answers_like_one_that_never_was() {
    for level in ["view", "edit", "full"] {
        let Some((_world, backing, at)) = hidden(level) else {
            return;
        };
        BOB.run(|| {
            let never = probe(&at, "never-was");
            for name in ["hidden-file", "hidden-directory", "hidden-link"] {
                let before = shown(&at);
                assert_eq!(probe(&at, name), never, "{name} under {level}");
                assert_eq!(shown(&at), before, "the directory shows nothing of it");
            }
            // The one admitted oracle, the same for a name that is taken and one that only has a rule.
            let make = |name: &str| {
                let path = at.join(name);
                [
                    word(std::fs::File::options().write(true).create_new(true).open(&path)),
                    word(std::fs::File::create(&path)),
                    word(std::fs::create_dir(&path)),
                    word(std::os::unix::fs::symlink("x", &path)),
                    word(nix::unistd::mkfifo(&path, Mode::S_IRWXU)),
                    word(std::fs::hard_link(at.join("file"), &path)),
                ]
            };
            for name in ["hidden-file", "hidden-directory", "hidden-link"] {
                assert_eq!(make(name), ["EACCES"; 6], "{name} under {level}");
            }
        });
        assert!(backing.join("hidden-directory/x").exists() && backing.join("hidden-file").exists());
    }
}

#[test]
fn a_directory_with_something_hidden_counts_only_what_is_seen() {
    let Some((_world, backing, at)) = hidden("full") else {
        return;
    };
    assert_eq!(backing.metadata().unwrap().nlink(), 4);
    BOB.run(|| {
        let shown = at.metadata().unwrap();
        assert_eq!((shown.nlink(), shown.size()), (1, 4096));
        assert_eq!(names(&at), ["file", "seen"]);
        // Offsets of a listing count what it tells, without gaps.
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let directory = Dir::open(&at, flags, Mode::empty()).unwrap();
        assert_eq!(directory.into_iter().count(), 4, "with . and ..");
    });
    let listed = BOB.command("ls").arg("-laiR").arg(&at).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(!listed.contains("hidden") && listed.contains("seen"), "{listed}");
    let found = BOB
        .command("find")
        .arg(&at)
        .args(["-name", "*"])
        .output()
        .unwrap();
    assert!(!String::from_utf8(found.stdout).unwrap().contains("hidden"));
}

#[test]
fn offsets_of_a_listing_have_no_gaps() {
    let Some((_world, _, at)) = hidden("view") else {
        return;
    };
    let seen = BOB.run(|| {
        let directory = std::fs::File::open(&at).unwrap();
        let mut buffer = vec![std::mem::MaybeUninit::<u8>::uninit(); 4096];
        let mut entries = rustix::fs::RawDir::new(&directory, &mut buffer);
        let mut offsets = Vec::new();
        while let Some(entry) = entries.next() {
            offsets.push(entry.unwrap().next_entry_cookie());
        }
        offsets
    });
    assert_eq!(seen, [1, 2, 3, 4]);
}

#[test]
fn a_link_count_does_not_tell_of_a_name_out_of_sight() {
    let Some((_world, backing, at)) = hidden("full") else {
        return;
    };
    std::fs::hard_link(backing.join("file"), backing.join("hidden-directory/link")).unwrap();
    assert_eq!(BOB.run(|| at.join("file").metadata().unwrap().nlink()), 1);
}

#[test]
fn times_of_a_corridor_tell_of_no_change() {
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    plant(&backing, &["A/B/x", "A/y"]);
    world.share("tests/A/B", BOB, "view");
    world.share("tests", CARA, "invisible");
    world.permit("tests/A/B", CARA.name, "view");
    let at = world.mount(CARA).join("tests/A");
    let look = || CARA.run(|| (shown(&at), names(&at)));
    let before = look();
    assert_eq!(before.0, (1, 0, 0, 0, 0, 0o40_555));
    plant(&backing, &["A/new", "A/another/x"]);
    assert_eq!(look(), before);
    // With what it leads to gone, the way is gone.
    std::fs::remove_dir_all(backing.join("A/B")).unwrap();
    soon(|| CARA.run(|| word(at.symlink_metadata())), "ENOENT");
}

#[test]
fn a_hidden_name_stands_in_no_answer_of_the_command_line() {
    let Some((world, _, at)) = hidden("admin") else {
        return;
    };
    let at = at.display();
    for command in [
        "list".into(),
        "permissions tests".into(),
        "explain tests/room".into(),
        "explain tests/room --for lft-cara".into(),
        "audit".into(),
        "audit --folder tests".into(),
        format!("explain {at}/seen"),
    ] {
        let output = world.lendfs(BOB, &command);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(!text.contains("hidden"), "{command}: {text}");
    }
    let answer = |name: &str, command: &str| {
        let output = world.lendfs(BOB, &command.replace("NAME", name));
        let text = String::from_utf8_lossy(&output.stderr).replace(name, "NAME");
        (output.status.code(), text, output.stdout)
    };
    for command in [
        "explain tests/room/NAME",
        "explain tests/room/NAME/deeper",
        "explain tests/room/NAME --for lft-cara",
        "permissions tests/room/NAME",
        "permit tests/room/NAME --for lft-cara view",
        "unpermit tests/room/NAME --for lft-cara",
        "share tests/room/NAME --with lft-cara --as view",
        "unshare tests/room/NAME --with lft-cara",
    ] {
        let never = answer("never-was", command);
        for name in ["hidden-file", "hidden-directory", "hidden-link"] {
            assert_eq!(answer(name, command), never, "{command}");
        }
    }
}

#[test]
fn the_owner_sees_all_of_it() {
    let Some((world, ..)) = hidden("view") else { return };
    let at = world.mount(OLGA).join("tests/room");
    let seen = OLGA.run(|| names(&at));
    assert_eq!(
        seen,
        ["file", "hidden-directory", "hidden-file", "hidden-link", "seen"]
    );
}
