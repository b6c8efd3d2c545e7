//! What was refused, and why: `lendfs why`.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::common::hand::Hand;
use crate::common::{BOB, CARA, DAN, OLGA, ROOT, User, World, plant, word};

/// What was refused, the particulars that are asked for alone.
fn told(world: &World, user: User, fields: &[&str]) -> Vec<Vec<String>> {
    let refusals = world.json(user, "why");
    let field = |refusal: &Value, field: &&str| match &refusal[*field] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let refusals = refusals.as_array().unwrap().iter();
    refusals
        .map(|refusal| fields.iter().map(|name| field(refusal, name)).collect())
        .collect()
}

fn calls(world: &World, user: User) -> Vec<String> {
    let refusals = told(world, user, &["call", "path", "errno"]);
    refusals.into_iter().map(|words| words.join(" ")).collect()
}

/// A line of Python run by a user: the words of [`Hand`].
fn does(user: User, lines: &[String]) -> Vec<String> {
    let mut hand = Hand::new(user);
    lines.iter().map(|line| hand.does(line)).collect()
}

#[test]
fn a_refusal_is_told_with_its_line_and_what_would_help() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["docs/plan", "edit/file"]);
    world.ok(ROOT, "group create staff");
    world.ok(ROOT, "group add staff lft-bob");
    world.ok(OLGA, "share tests --with group:staff --as edit");
    world.permit("tests/docs", BOB.name, "view");
    assert_eq!(
        world.ok(BOB, "why"),
        "nothing was refused since the daemon started\n"
    );
    let at = world.mount(BOB).join("tests");
    let mut hand = Hand::new(BOB);
    assert_eq!(
        hand.does(&format!("os.unlink('{}')", at.join("edit/file").display())),
        "EPERM"
    );
    assert_eq!(
        hand.does(&format!("open('{}', 'a')", at.join("docs/plan").display())),
        "EACCES"
    );
    assert_eq!(
        told(
            &world,
            BOB,
            &["program", "pid", "call", "path", "errno", "level", "times"]
        ),
        [
            [
                "python3",
                &hand.pid().to_string(),
                "unlink",
                "tests/edit/file",
                "EPERM",
                "edit",
                "1"
            ],
            [
                "python3",
                &hand.pid().to_string(),
                "open for writing",
                "tests/docs/plan",
                "EACCES",
                "view",
                "1"
            ],
        ]
    );
    let refusals = world.json(BOB, "why");
    for (index, place) in [(0, "tests/edit/file"), (1, "tests/docs/plan")] {
        let explained = world.json(BOB, &format!("explain {place}"));
        assert_eq!(refusals[index]["decided_by"], explained["decided_by"], "{place}");
    }
    let said = world.ok(BOB, "why");
    for words in [
        "unlink tests/edit/file: EPERM",
        "decided by: grant for group:staff at /: edit",
        "decided by: rule for lft-bob at docs: view",
        "ask lft-olga for edit on tests/docs/plan",
        "own-files=removable",
        "replace-by-unlink=on",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    // To nobody else.
    assert_eq!(world.json(OLGA, "why"), json!([]));
    assert_eq!(
        world.json(ROOT, "why --user lft-bob").as_array().unwrap().len(),
        2
    );
    world.refused(CARA, "why --user lft-bob");
}

#[test]
fn each_kind_of_refusal_has_its_words() {
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    plant(
        &backing,
        &[
            "file", "other", "dir/x", "dir/kept", "locked/x", "view/x", "zone/x",
        ],
    );
    plant(&world.folder("second"), &["x"]);
    world.share("tests", BOB, "full");
    world.share("second", BOB, "full");
    world.permit("tests/locked", BOB.name, "locked");
    world.permit("tests/view", BOB.name, "view");
    world.permit("tests/dir/kept", BOB.name, "edit");
    world.permit("tests/zone", CARA.name, "view");
    let at = world.mount(BOB);
    let t = at.join("tests");
    let t = t.display();
    let steps = [
        (
            format!("os.stat('{t}/locked/x')"),
            "EACCES",
            "lookup tests/locked/x EACCES",
            "tests/locked as locked",
        ),
        (
            format!("os.listdir('{t}/locked')"),
            "EACCES",
            "list tests/locked EACCES",
            "read or enter",
        ),
        (
            format!("os.mkdir('{t}/view/new')"),
            "EACCES",
            "mkdir tests/view/new EACCES",
            "make or remove anything",
        ),
        (
            format!("os.unlink('{t}/dir/kept')"),
            "EPERM",
            "unlink tests/dir/kept EPERM",
            "under edit",
        ),
        (
            format!("os.rename('{t}/dir', '{t}/d2')"),
            "EACCES",
            "rename tests/dir EACCES",
            "not everything in it",
        ),
        (
            format!("os.rename('{t}/file', '{}/second/file')", at.display()),
            "EXDEV",
            "rename tests/file EXDEV",
            "two folders",
        ),
        (
            format!("os.link('{t}/file', '{t}/zone/file')"),
            "EXDEV",
            "link tests/file EXDEV",
            "same rules",
        ),
        (
            format!("os.mknod('{t}/null', 0o20600, 259)"),
            "EPERM",
            "mknod tests/null EPERM",
            "devices",
        ),
        (
            format!("os.mkdir('{}/new')", at.display()),
            "EPERM",
            "mkdir new EPERM",
            "list of your folders",
        ),
        (
            format!("os.setxattr('{t}/file', 'user.lendfs.level', b'x')"),
            "EPERM",
            "setxattr tests/file EPERM",
            "lendfs's own",
        ),
        (
            format!("os.truncate('{t}/view/x', 0)"),
            "EACCES",
            "truncate tests/view/x EACCES",
            "change it",
        ),
    ];
    // The kernel stops a mknod of devices by who may not, before it asks.
    let mut hand = Hand::new(BOB);
    let mut expected = Vec::new();
    for (line, answer, call, _) in &steps {
        assert_eq!(hand.does(line), *answer, "{line}");
        if !call.starts_with("mknod") {
            expected.push((*call).to_owned());
        }
    }
    assert_eq!(calls(&world, BOB), expected);
    let reasons = told(&world, BOB, &["call", "reason"]);
    for (_, _, call, words) in steps.iter().filter(|step| !step.2.starts_with("mknod")) {
        let of = |reason: &&Vec<String>| call.starts_with(&*reason[0]) && reason[1].contains(words);
        assert!(reasons.iter().any(|reason| of(&reason)), "{call}: {reasons:?}");
    }
}

#[test]
fn questions_and_what_is_not_seen_leave_no_trace() {
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    plant(&backing, &["hidden/x", "file", "view/file", "locked/x"]);
    world.share("tests", BOB, "edit");
    world.permit("tests/hidden", BOB.name, "invisible");
    world.permit("tests/view", BOB.name, "view");
    world.permit("tests/locked", BOB.name, "locked");
    let at = world.mount(BOB).join("tests");
    let t = at.display();
    let answers = does(
        BOB,
        &[
            format!("os.stat('{t}/hidden')"),
            format!("os.unlink('{t}/hidden')"),
            format!("os.listdir('{t}/hidden')"),
            format!("open('{t}/hidden/x')"),
            format!("open('{t}/nothing')"),
            format!("os.getxattr('{t}/locked', 'user.note')"),
            format!("os.listxattr('{t}/locked')"),
            format!("os.access('{t}/view/file', os.W_OK)"),
        ],
    );
    assert_eq!(
        answers,
        [
            "ENOENT", "ENOENT", "ENOENT", "ENOENT", "ENOENT", "EACCES", "EACCES", "False"
        ]
    );
    assert_eq!(calls(&world, BOB), [""; 0]);
    // Of a name that a line hides nothing is told, but that it is not to be had: there or not, it is the same.
    std::fs::remove_dir_all(backing.join("hidden")).unwrap();
    world.permit("tests/view", BOB.name, "invisible");
    let answers = does(
        BOB,
        &[
            format!("os.mkdir('{t}/hidden')"),
            format!("os.mkdir('{t}/view')"),
            format!("os.rename('{t}/file', '{t}/hidden')"),
            format!("os.rename('{t}/file', '{t}/view')"),
        ],
    );
    assert_eq!(answers, ["EACCES"; 4]);
    let nothing = ["null", "null", "the name is not to be had", "null"];
    assert_eq!(
        told(&world, BOB, &["level", "decided_by", "reason", "help"]),
        [nothing; 4]
    );
}

#[test]
fn what_is_hidden_later_is_not_told_of_when_it_is_cut() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["file", "gone"]);
    world.share("tests", BOB, "edit");
    world.ok(OLGA, "set tests revoke=strict");
    let at = world.mount(BOB).join("tests");
    let mut hand = Hand::new(BOB);
    for name in ["file", "gone"] {
        hand.must(&format!(
            "{name} = open('{}', 'r+b', buffering=0)",
            at.join(name).display()
        ));
    }
    world.permit("tests/file", BOB.name, "view");
    world.permit("tests/gone", BOB.name, "invisible");
    for name in ["file", "gone"] {
        assert_eq!(hand.does(&format!("{name}.write(b'x')")), "EIO", "{name}");
    }
    assert_eq!(calls(&world, BOB), ["write tests/file EIO"]);
    let said = world.ok(BOB, "why");
    assert!(
        said.contains("taken back") && said.contains("rule for lft-bob at file: view"),
        "{said}"
    );
}

#[test]
fn the_same_again_is_counted_and_names_are_quoted() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["bell\x07", "x"]);
    world.ok(OLGA, "share tests --with lft-bob --as view");
    world.ok(BOB, "accept lft-olga:tests --name loan");
    let at = world.mount(BOB).join("loan");
    let (bell, x) = (at.join("bell\x07"), at.join("x"));
    BOB.run(|| {
        for _ in 0..5 {
            assert_eq!(word(File::options().append(true).open(&bell)), "EACCES");
        }
        assert_eq!(
            word(std::fs::set_permissions(&x, PermissionsExt::from_mode(0o600))),
            "EACCES"
        );
    });
    let refusals = told(&world, BOB, &["path", "times"]);
    assert_eq!(refusals, [[r"$'loan/bell\x07'", "5"], ["loan/x", "1"]]);
    let said = world.ok(BOB, "why");
    assert!(said.contains("(5 times)") && !said.contains('\x07'), "{said}");
    for number in 0..100 {
        BOB.run(|| assert_eq!(word(File::create(at.join(number.to_string()))), "EACCES"));
    }
    let refusals = told(&world, BOB, &["path"]);
    assert_eq!((refusals.len(), &*refusals[63][0]), (64, "loan/99"));
}

#[test]
fn a_ceiling_and_a_viewer_are_told_what_holds_them() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["x"]);
    world.ok(ROOT, "user add lft-dan --type viewer");
    world.share("tests", DAN, "full");
    let low = world.mount_with(OLGA, "--ceiling view").join("tests/x");
    assert_eq!(OLGA.run(|| word(std::fs::remove_file(&low))), "EACCES");
    let said = world.ok(OLGA, "why");
    assert!(
        said.contains("nothing exceeds view here") && said.contains("--ceiling"),
        "{said}"
    );
    let helps = told(&world, OLGA, &["help"]);
    assert!(!helps[0][0].contains(OLGA.name), "{helps:?}");
    let dans = world.mount(DAN).join("tests/x");
    assert_eq!(DAN.run(|| word(std::fs::remove_file(&dans))), "EACCES");
    let said = world.ok(DAN, "why");
    assert!(
        said.contains("a viewer") && !said.contains("ask lft-olga"),
        "{said}"
    );
}

#[test]
fn an_account_that_was_removed_leaves_nothing_to_the_next_one() {
    let Some(world) = World::new() else { return };
    // Root is known first, so that the last number is Bob's.
    world.ok(ROOT, "list");
    plant(&world.folder("tests"), &["x"]);
    world.share("tests", BOB, "view");
    let at = world.mount(BOB);
    refuse(&at.join("tests"), "new");
    assert_eq!(calls(&world, BOB).len(), 1);
    world.ok(BOB, &format!("umount {}", at.display()));
    world.ok(ROOT, "user remove lft-bob");
    // Whoever comes next gets the number of the last.
    assert_eq!(calls(&world, BOB), [""; 0]);
}

/// Lets Bob be refused to make a file.
pub fn refuse(at: &Path, name: &str) {
    BOB.run(|| assert_eq!(word(File::create(at.join(name))), "EACCES"));
}
