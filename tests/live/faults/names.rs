//! Names of any bytes and paths of any length, in mounts and in every command.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Output;

use super::{lent, rules_hold};
use crate::common::{BOB, DAN, OLGA, ROOT, User, World, word};

/// Runs a command with an argument of any bytes.
fn run(world: &World, user: User, words: &[&OsStr]) -> Output {
    user.command(world.binary())
        .args(words)
        .env("LENDFS_SOCKET", world.socket())
        .current_dir("/")
        .output()
        .unwrap()
}

#[track_caller]
fn ok(world: &World, user: User, words: &[&OsStr]) -> String {
    let output = run(world, user, words);
    assert!(output.status.success(), "{words:?}: {output:?}");
    // Nothing that a terminal obeys.
    let said = String::from_utf8(output.stdout).expect("what is printed is text");
    assert!(
        said.chars().all(|char| char == '\n' || !char.is_control()),
        "{said:?}"
    );
    said
}

fn word_of(text: &str) -> &OsStr {
    OsStr::new(text)
}

/// Names of 255 bytes that are no text.
fn wild_names() -> Vec<OsString> {
    let of = |bytes: &[u8]| OsString::from_vec(bytes.iter().copied().cycle().take(255).collect());
    vec![
        of(b"\xff"),
        of(b"\xfe\n"),
        of(b"\x1b[31m"),
        of(b"\xc3\x28 '\"\\$`"),
        of(b"\x80-\t"),
    ]
}

#[test]
fn names_of_any_bytes_work_in_every_command_and_in_mounts() {
    let Some(world) = World::new() else { return };
    let (backing, at) = lent(&world);
    world.ok(DAN, "list");
    world.mount(OLGA);
    for name in wild_names() {
        std::fs::create_dir(backing.join(&name)).unwrap();
        std::os::unix::fs::lchown(backing.join(&name), Some(OLGA.uid), Some(OLGA.gid)).unwrap();
        let place: OsString = [OsStr::new("tests/"), &name].into_iter().collect();
        let foreign: OsString = [OsStr::new("lft-olga:tests/"), &name].into_iter().collect();
        let words = |before: &'static str, after: &'static str| -> Vec<OsString> {
            let mut words = vec![before.into(), place.clone()];
            words.extend(after.split_whitespace().map(OsString::from));
            words
        };
        let commands = |user, words: Vec<OsString>| {
            ok(
                &world,
                user,
                &words.iter().map(|word| &**word).collect::<Vec<_>>(),
            )
        };
        commands(OLGA, words("permit", "--for lft-bob view"));
        commands(OLGA, words("explain", "--for lft-bob"));
        assert_eq!(
            BOB.run(|| word(std::fs::write(at.join(&name).join("new"), ""))),
            "EACCES"
        );
        commands(BOB, words("explain", ""));
        commands(OLGA, words("ls", ""));
        commands(OLGA, words("unpermit", "--for lft-bob"));
        BOB.run(|| {
            let inside = at.join(&name).join(&name);
            std::fs::write(&inside, "content").unwrap();
            assert_eq!(std::fs::read(&inside).unwrap(), b"content");
            let mut moved = name.clone().into_vec();
            moved[254] = b'!';
            let moved = at.join(&name).join(OsString::from_vec(moved));
            std::fs::rename(&inside, &moved).unwrap();
            std::os::unix::fs::symlink(&name, &inside).unwrap();
            assert_eq!(std::fs::read_link(&inside).unwrap().as_os_str(), name);
            std::fs::hard_link(&moved, inside.with_file_name("link")).unwrap();
            xattr::set(&moved, "user.note", name.as_bytes()).unwrap();
            assert_eq!(xattr::get(&moved, "user.note").unwrap().unwrap(), name.as_bytes());
            let listed = std::fs::read_dir(at.join(&name)).unwrap();
            assert_eq!(listed.count(), 3);
            assert_eq!(word(std::fs::remove_file(&moved)), "EPERM");
            assert_eq!(word(std::fs::remove_dir(at.join(&name))), "EPERM");
        });
        ok(&world, BOB, &[word_of("why")]);
        let one_more = at.join(&name).join([name.as_bytes(), b"x"].concat().to_os());
        assert_eq!(BOB.run(|| word(std::fs::write(one_more, ""))), "ENAMETOOLONG");
        commands(OLGA, words("share", "--with lft-dan --as view"));
        ok(&world, DAN, &[word_of("invitations")]);
        ok(&world, DAN, &[word_of("accept"), &foreign]);
        ok(&world, DAN, &[word_of("list")]);
        let shown = world.mount(DAN);
        assert_eq!(
            DAN.run(|| std::fs::read_dir(shown.join(&name)).unwrap().count()),
            3
        );
        world.ok(DAN, &format!("umount {}", shown.display()));
        commands(OLGA, words("unshare", "--with lft-dan"));
        // A mount point may be called so, too.
        let on: PathBuf = world.dir.join("points").join(&name);
        OLGA.directory(&on);
        ok(&world, OLGA, &[word_of("mount"), on.as_os_str()]);
        ok(&world, OLGA, &[word_of("mounts")]);
        ok(&world, OLGA, &[word_of("ls"), on.join("tests").as_os_str()]);
        ok(
            &world,
            OLGA,
            &[word_of("explain"), on.join("tests").join(&name).as_os_str()],
        );
        ok(&world, ROOT, &[word_of("doctor")]);
        ok(&world, OLGA, &[word_of("umount"), on.as_os_str()]);
    }
    ok(&world, OLGA, &[word_of("permissions"), word_of("tests")]);
    ok(
        &world,
        OLGA,
        &[word_of("audit"), word_of("--folder"), word_of("tests")],
    );
    ok(&world, ROOT, &[word_of("check")]);
    rules_hold(&at);
}

trait ToOs {
    fn to_os(self) -> OsString;
}

impl ToOs for Vec<u8> {
    fn to_os(self) -> OsString {
        OsString::from_vec(self)
    }
}

/// A path of names of 200 bytes that has so many bytes, below one.
fn long_path(above: &Path, bytes: usize) -> PathBuf {
    let mut path = above.to_owned();
    loop {
        let left = bytes - path.as_os_str().len() - 1;
        if left <= 255 {
            return path.join("z".repeat(left));
        }
        path.push("d".repeat(if left - 201 == 0 { 199 } else { 200 }));
    }
}

#[test]
fn paths_of_4095_bytes_work_and_lines_hold_at_their_ends() {
    let Some(world) = World::new() else { return };
    let (_, at) = lent(&world);
    let deep = long_path(&at, 4095);
    let inside = deep.strip_prefix(&at).unwrap().to_owned();
    BOB.run(|| {
        std::fs::create_dir_all(deep.parent().unwrap()).unwrap();
        std::fs::write(&deep, "content").unwrap();
        assert_eq!(std::fs::read(&deep).unwrap(), b"content");
        let longer = deep.with_file_name(format!("{}x", deep.file_name().unwrap().to_str().unwrap()));
        assert_eq!(word(std::fs::read(longer)), "ENAMETOOLONG");
    });
    let place: OsString = [OsStr::new("tests/"), inside.as_os_str()].into_iter().collect();
    let bob = [word_of("--for"), word_of(BOB.name)];
    ok(
        &world,
        OLGA,
        &[word_of("permit"), &place, bob[0], bob[1], word_of("view")],
    );
    assert_eq!(BOB.run(|| word(std::fs::write(&deep, ""))), "EACCES");
    let explained = ok(&world, BOB, &[word_of("explain"), deep.as_os_str()]);
    assert!(explained.contains("as view"), "{explained}");
    // The directory above it is moved, and the line goes along.
    let owners = world.mount(OLGA).join("tests");
    OLGA.run(|| std::fs::rename(owners.join(inside.iter().next().unwrap()), owners.join("m")).unwrap());
    let moved = at.join("m").join(inside.iter().skip(1).collect::<PathBuf>());
    BOB.run(|| {
        assert_eq!(word(std::fs::read(&moved)), "ok");
        assert_eq!(word(std::fs::write(&moved, "")), "EACCES");
    });
    world.ok(ROOT, "check");
}

/// Deeper than any path can say, step by step.
#[test]
fn lines_hold_deeper_than_a_path_can_say() {
    let Some(world) = World::new() else { return };
    let (_, at) = lent(&world);
    let session = BOB.stay();
    let refused = session.run(move || {
        std::env::set_current_dir(&at).unwrap();
        let step = "s".repeat(250);
        for _ in 0..24 {
            std::fs::create_dir(&step).unwrap();
            std::env::set_current_dir(&step).unwrap();
        }
        std::fs::write("deepest", "content").unwrap();
        // Who made something in a directory of his own may remove it; another process may not.
        let removed = std::process::Command::new("/bin/rm")
            .arg("deepest")
            .output()
            .unwrap();
        let said = String::from_utf8(removed.stderr).unwrap();
        (
            said,
            word(std::fs::read("deepest")),
            word(std::fs::rename("deepest", "other")),
        )
    });
    assert!(refused.0.contains("Operation not permitted"), "{refused:?}");
    assert_eq!((&*refused.1, &*refused.2), ("ok", "ok"));
    // To a command such a place is not there.
    let place = format!("tests/{}", vec!["s".repeat(250); 24].join("/"));
    let output = run(
        &world,
        OLGA,
        &[
            word_of("permit"),
            word_of(&place),
            word_of("--for"),
            word_of(BOB.name),
            word_of("full"),
        ],
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let output = world.lendfs(ROOT, "check");
    assert!(output.status.code().is_some());
    let removed = session.run(|| {
        std::process::Command::new("/bin/rm")
            .arg("other")
            .status()
            .unwrap()
    });
    assert!(!removed.success());
}
