//! `lendfs ls`, and `lendfs explain` of a path inside a mount.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::common::{BOB, CARA, OLGA, ROOT, User, World, plant};

/// The lines of a table, spaces collapsed.
fn lines(text: &str) -> Vec<String> {
    let collapsed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines().map(collapsed).collect()
}

/// Runs the command line with a working directory that its user alone may enter.
fn run(world: &World, user: User, directory: &Path, line: &str) -> Output {
    let line = format!(
        "cd '{}' && exec '{}' {line}",
        directory.display(),
        world.binary().display()
    );
    let mut command = user.command("sh");
    command
        .args(["-c", &line])
        .env("LENDFS_SOCKET", world.socket())
        .current_dir("/");
    command.stdin(Stdio::null()).output().unwrap()
}

fn said(world: &World, user: User, directory: &Path, line: &str) -> String {
    let output = run(world, user, directory, line);
    assert!(
        output.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn refused(world: &World, user: User, directory: &Path, line: &str) -> String {
    let output = run(world, user, directory, line);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), error.lines().count()),
        (Some(1), 1),
        "{line}: {error}"
    );
    error
}

#[test]
fn a_directory_is_listed_with_levels_makers_and_marks() {
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    plant(
        &backing,
        &[
            "docs/plan",
            "locked/x",
            "hidden/x",
            "open",
            "way/in/x",
            "bell\x07",
        ],
    );
    symlink("open", backing.join("link")).unwrap();
    std::fs::write(backing.join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap();
    plant(&backing, &[]);
    world.share("tests", BOB, "edit");
    world.permit("tests/docs", BOB.name, "view");
    world.permit("tests/docs", CARA.name, "view");
    world.permit("tests/locked", BOB.name, "locked");
    world.permit("tests/hidden", BOB.name, "invisible");
    world.permit("tests/way", BOB.name, "invisible");
    world.permit("tests/way/in", BOB.name, "view");
    world.permit("tests/link", BOB.name, "view");
    let at = world.mount(BOB);
    BOB.run(|| std::fs::write(at.join("tests/mine"), "").unwrap());
    let (olga, bob) = (OLGA.name, BOB.name);
    let expected = [
        "LEVEL MAKER NAME".to_owned(),
        format!("edit {olga} $'bell\\x07'"),
        format!("- view {olga} docs/"),
        format!("- view {olga} link@"),
        "x locked locked/".into(),
        format!("edit {bob} mine"),
        format!("edit {olga} open"),
        "> invisible way/".into(),
        format!("edit {olga} $'\\xff'"),
    ];
    // As a place in a folder from anywhere, and as a directory here.
    assert_eq!(lines(&world.ok(BOB, "ls tests")), expected);
    assert_eq!(lines(&said(&world, BOB, &at.join("tests"), "ls")), expected);
    assert_eq!(
        lines(&said(&world, BOB, &at.join("tests/docs"), "ls ..")),
        expected
    );
    assert_eq!(
        lines(&world.ok(BOB, &format!("ls {}/tests/", at.display()))),
        expected
    );
    assert_eq!(
        lines(&said(&world, BOB, &at, "ls .")),
        ["LEVEL OWNER NAME".to_owned(), format!("edit {olga} tests/")]
    );
    assert_eq!(
        lines(&world.ok(BOB, "ls tests/docs/plan")),
        ["LEVEL MAKER NAME".to_owned(), format!("- view {olga} plan")]
    );
    // The owner knows with whom he shares.
    let olgas = world.mount(OLGA);
    let listed = lines(&world.ok(OLGA, "ls tests"));
    let cara = CARA.name;
    assert!(
        listed.contains(&format!("+ owner {olga} docs/ ({bob} view, {cara} view)")),
        "{listed:?}"
    );
    let listed = lines(&said(&world, OLGA, &olgas, "ls"));
    assert_eq!(listed[1], format!("+ owner {olga} tests/ ({bob} edit)"));
    let listed = lines(&said(&world, OLGA, &olgas.join("tests"), "ls ./docs"));
    assert_eq!(listed[1], format!("owner {olga} plan"));
    let listed = lines(&said(&world, OLGA, &olgas, "ls ./tests/docs/plan"));
    assert_eq!(listed[1], format!("owner {olga} plan"));
    // Colours are for terminals, and for who wants them.
    let coloured = "\x1b[33mdocs\x1b[0m/";
    assert!(!said(&world, BOB, &at, "ls ./tests").contains('\x1b'));
    let on_terminal = |colour: &str| {
        let spawn = format!(
            "import pty; pty.spawn(['{}', 'ls', 'tests'])",
            world.binary().display()
        );
        let line = format!("TERM=xterm {colour} python3 -c \"{spawn}\"");
        let mut command = BOB.command("sh");
        command.args(["-c", &line]).env("LENDFS_SOCKET", world.socket());
        String::from_utf8(
            command
                .current_dir("/")
                .stdin(Stdio::null())
                .output()
                .unwrap()
                .stdout,
        )
        .unwrap()
    };
    assert!(on_terminal("").contains(coloured));
    assert!(!on_terminal("NO_COLOR=1").contains('\x1b'));
}

#[test]
fn scripts_are_told_the_same() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["docs/plan", "locked/x"]);
    world.share("tests", BOB, "edit");
    world.permit("tests/locked", BOB.name, "locked");
    let at = world.mount_with(BOB, "--read-only");
    let listed = world.json(BOB, "ls tests");
    let entry = |name: &str, level: &str, maker: Value, rights: &[&str], read_only: bool, locked: bool| {
        json!({
            "name": name, "kind": "directory", "level": level, "rights": rights, "owner": OLGA.name, "maker": maker,
            "read_only": read_only, "locked": locked, "corridor": false, "others": [],
        })
    };
    let edit = ["see", "read", "write", "create", "rename"];
    let docs = entry("docs", "edit", json!(OLGA.name), &edit, true, false);
    let locked = entry("locked", "locked", json!(null), &["see"], false, true);
    assert_eq!(listed, json!([docs, locked]));
    world.ok(BOB, &format!("umount {}", at.display()));
    world.mount(BOB);
    assert_eq!(world.json(BOB, "ls tests")[0]["read_only"], false);
}

#[test]
fn what_cannot_be_listed_is_refused_with_what_to_do() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["docs/plan", "locked/x", "hidden/x"]);
    world.share("tests", BOB, "view");
    world.permit("tests/locked", BOB.name, "locked");
    world.permit("tests/hidden", BOB.name, "invisible");
    assert!(world.refused(BOB, "ls").contains("not inside a mount"));
    assert!(world.refused(BOB, "ls /tmp").contains("not inside a mount"));
    let said = world.refused(BOB, "ls tests/docs");
    assert!(
        said.contains("not mounted") && said.contains("lendfs mount"),
        "{said}"
    );
    assert!(world.refused(BOB, "ls nothing").contains("there is no folder"));
    let at = world.mount(BOB);
    for name in ["hidden", "never"] {
        let said = world.refused(BOB, &format!("ls tests/{name}"));
        let alike = world.refused(BOB, "ls tests/other").replace("other", name);
        assert_eq!(said, alike, "{name}");
        let said = refused(&world, BOB, &at, &format!("ls ./tests/{name}"));
        assert!(said.contains("No such file"), "{said}");
    }
    assert!(
        world
            .refused(BOB, "ls tests/locked")
            .contains("may not look into it")
    );
    let said = refused(&world, BOB, &at.join("tests"), "ls docs");
    assert!(said.contains("./docs"), "{said}");
    // Into another's mount not even root looks.
    let said = world.refused(ROOT, "ls tests --user lft-bob");
    assert!(said.contains("its user alone"), "{said}");
    let said = world.refused(BOB, "ls './bell\x07'");
    assert!(!said.trim_end().contains('\x07'), "{said:?}");
}

#[test]
fn a_link_to_a_mount_stands_for_it() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["docs/plan"]);
    world.share("tests", BOB, "view");
    let at = world.mount(BOB);
    let home = world.fresh(BOB);
    symlink(&at, home.join("all")).unwrap();
    symlink(at.join("tests/docs"), home.join("docs")).unwrap();
    symlink("/tmp", home.join("out")).unwrap();
    assert_eq!(lines(&said(&world, BOB, &home, "ls ./all")).len(), 2);
    assert!(said(&world, BOB, &home, "ls ./docs").contains("plan"));
    assert!(said(&world, BOB, &home, "explain ./docs/plan").contains("tests/docs/plan as view"));
    assert!(refused(&world, BOB, &home, "ls ./out").contains("not inside a mount"));
}

#[test]
fn a_path_inside_a_mount_is_explained_as_that_mount_has_it() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["docs/plan", "hidden"]);
    world.share("tests", BOB, "edit");
    world.permit("tests/docs", BOB.name, "view");
    world.permit("tests/hidden", BOB.name, "invisible");
    let at = world.mount(BOB).join("tests");
    let level = |user, directory: &Path, line: &str| -> Value {
        let said = said(&world, user, directory, &format!("--json explain {line}"));
        serde_json::from_str::<Value>(&said).unwrap()["level"].clone()
    };
    assert_eq!(level(BOB, &at, "."), "edit");
    assert_eq!(level(BOB, &at, "./docs"), "view");
    assert_eq!(level(BOB, &at, "./docs/plan"), "view");
    assert_eq!(level(BOB, &at.join("docs"), "./plan"), "view");
    assert_eq!(level(BOB, &at.join("docs"), ".."), "edit");
    assert_eq!(level(BOB, &at.join("docs"), "../docs/./plan"), "view");
    assert_eq!(
        level(BOB, Path::new("/"), &at.join("docs/plan").display().to_string()),
        "view"
    );
    let nothing = refused(&world, BOB, &at.join("docs"), "explain ./never");
    assert!(nothing.contains("there is no"), "{nothing}");
    let hidden = refused(&world, BOB, &at, "explain ./hidden");
    assert_eq!(
        hidden,
        refused(&world, BOB, &at, "explain ./hiddem").replace("hiddem", "hidden")
    );
    // The owner may ask what would hold for what is not there yet.
    let olgas = world.mount(OLGA).join("tests");
    assert_eq!(level(OLGA, &olgas.join("docs"), "./never"), "owner");
    let low = world.mount_with(OLGA, "--ceiling view").join("tests");
    assert_eq!(level(OLGA, &low, "./docs"), "view");
    assert_eq!(level(OLGA, &low, "./docs --for lft-bob"), "view");
    assert_eq!(level(OLGA, &low, "tests/docs"), "owner");
    assert_eq!(
        level(OLGA, &low, ". --for lft-bob"),
        "edit",
        "the ceiling is hers alone"
    );
}
