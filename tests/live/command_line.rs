//! The command line: what answers may not tell, what reaches a terminal, and the life of a folder.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use serde_json::json;

use crate::common::{BOB, CARA, DAN, OLGA, ROOT, User, World, names, plant};

/// A daemon that is expected not to start: its exit status and what it says.
fn refused_start(world: &World, state: &str, socket: &str) -> (Option<i32>, String) {
    // Were it to start after all, it would not end by itself.
    let output = Command::new("timeout")
        .arg("10")
        .arg(world.binary())
        .args(["daemon", "--state-dir"])
        .arg(world.dir.join(state))
        .arg("--socket")
        .arg(world.dir.join(socket))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

/// What a command answers about a name, the name itself left out.
fn answer(world: &World, user: User, command: &str, name: &str) -> (Option<i32>, String, Vec<u8>) {
    let output = world.lendfs(user, &command.replace("NAME", name));
    let text = String::from_utf8_lossy(&output.stderr).replace(name, "NAME");
    (output.status.code(), text, output.stdout)
}

#[track_caller]
fn all_alike(world: &World, user: User, commands: &[&str], name: &str, never: &str) {
    for command in commands {
        assert_eq!(
            answer(world, user, command, name),
            answer(world, user, command, never),
            "{command}: {name} answers like {never}"
        );
    }
}

#[test]
fn what_lies_in_a_locked_directory_answers_like_what_never_was() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["locked/kept", "room/locked/kept"]);
    world.share("tests", BOB, "view");
    world.permit("tests/locked", BOB.name, "locked");
    world.permit("tests/room", BOB.name, "admin");
    world.permit("tests/room/locked", BOB.name, "locked");
    for command in [
        "explain NAME",
        "explain NAME --for lft-cara",
        "permissions NAME",
        "permit NAME --for lft-cara view",
        "unpermit NAME --for lft-cara",
        "share NAME --with lft-cara --as view",
        "unshare NAME --with lft-cara",
    ] {
        for directory in ["locked", "room/locked"] {
            let command = command.replace("NAME", &format!("tests/{directory}/NAME"));
            all_alike(&world, BOB, &[&command], "kept", "never");
        }
    }
    // The directory itself is seen.
    assert_eq!(world.json(BOB, "explain tests/locked")["level"], "locked");
}

#[test]
fn a_line_of_another_at_what_is_gone_is_no_news_for_who_does_not_administer() {
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    plant(&backing, &["room/gone", "room/there"]);
    world.share("tests", BOB, "view");
    world.permit("tests/room/gone", CARA.name, "view");
    std::fs::remove_file(backing.join("room/gone")).unwrap();
    all_alike(
        &world,
        BOB,
        &[
            "explain tests/room/NAME",
            "explain tests/room/NAME --for lft-cara",
            "permissions tests/room/NAME",
            "unpermit tests/room/NAME --for lft-cara",
        ],
        "gone",
        "never",
    );
    assert_eq!(world.json(BOB, "explain tests/room/there")["level"], "view");
    // Who administers still takes it away.
    world.ok(OLGA, "unpermit tests/room/gone --for lft-cara");
}

#[test]
fn what_is_not_printable_reaches_no_terminal() {
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    plant(&backing, &["dir\x1b[31m/x"]);
    world.share("tests", BOB, "view");
    let bad = "\x1b[31mred\u{9b}2J\x07";
    for line in [
        format!("share tests --with '{bad}' --as view"),
        format!("share tests --with 'group:{bad}' --as view"),
        format!("share tests --with 'unix:{bad}' --as view"),
        format!("share tests --with lft-cara --as '{bad}'"),
        format!("permit 'tests/{bad}' --for lft-bob view"),
        format!("rename tests '{bad}'"),
        format!("transfer tests --to '{bad}'"),
        format!("set tests '{bad}'"),
        format!("set tests 'inherit={bad}'"),
        format!("set tests 'revoke={bad}'"),
        format!("set tests 'own-files={bad}'"),
        format!("set tests 'scratch={bad}'"),
        format!("delete '{bad}'"),
        format!("accept '{bad}'"),
        format!("explain tests --for '{bad}'"),
        format!("umount '/{bad}'"),
        format!("explain './{bad}'"),
        format!("create '{bad}'"),
        format!("--socket '/{bad}' list"),
    ] {
        let said = world.refused(OLGA, &line);
        assert!(
            !said.trim_end().chars().any(char::is_control),
            "{line:?}: {said:?}"
        );
    }
    for line in [
        format!("user remove '{bad}'"),
        format!("user add '{bad}'"),
        format!("user set lft-bob '{bad}'"),
        format!("user set lft-bob 'type={bad}'"),
        format!("group delete '{bad}'"),
        format!("list --user '{bad}'"),
    ] {
        let said = world.refused(ROOT, &line);
        assert!(
            !said.trim_end().chars().any(char::is_control),
            "{line:?}: {said:?}"
        );
    }
    // Names that are there are quoted wherever they are shown.
    world.ok(OLGA, "permit 'tests/dir\x1b[31m' --for lft-bob edit");
    for line in [
        "permissions tests",
        "explain 'tests/dir\x1b[31m/x' --for lft-bob",
        "audit",
    ] {
        let said = world.ok(OLGA, line).replace('\n', " ");
        assert!(!said.chars().any(char::is_control), "{line}: {said:?}");
        assert!(said.contains("dir"), "{line}: {said}");
    }
    let shown = world.json(OLGA, "permissions tests");
    assert_eq!(shown["rules"][0]["path"], r"$'dir\x1b[31m'");
}

#[test]
fn a_file_that_is_no_socket_is_not_replaced_by_one() {
    let Some(world) = World::quiet() else { return };
    let file = world.dir.join("letters");
    std::fs::write(&file, "dear reader").unwrap();
    let (status, said) = refused_start(&world, "state", "letters");
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("letters") && said.contains("socket"), "{said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "dear reader");
}

#[test]
fn a_daemon_does_not_start_on_a_newer_database() {
    let Some(mut world) = World::new() else { return };
    world.folder("tests");
    world.end(nix::sys::signal::Signal::SIGTERM);
    let file = world.state().join("lendfs.db");
    let mut database = std::fs::read(&file).unwrap();
    // SQLite's user_version, big-endian, in the file's header: https://sqlite.org/fileformat2.html#the_database_header
    database[60..64].copy_from_slice(&900_u32.to_be_bytes());
    std::fs::write(&file, &database).unwrap();
    let (status, said) = refused_start(&world, "state", "socket");
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("version 900") && said.contains("knows up to"),
        "{said}"
    );
    assert!(std::fs::read(&file).unwrap() == database, "it was written to");
    assert!(!world.socket().exists());
}

#[test]
fn a_folder_that_is_shared_or_mounted_is_deleted_by_force_alone() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["x"]);
    world.ok(OLGA, "share tests --with lft-bob --as view");
    let said = world.refused(OLGA, "delete tests");
    assert!(said.contains("lft-bob") && said.contains("--force"), "{said}");
    world.ok(OLGA, "unshare tests --with lft-bob");
    let at = world.mount(OLGA);
    let said = world.refused(OLGA, "delete tests");
    assert!(
        said.contains(at.to_str().unwrap()) && said.contains("--force"),
        "{said}"
    );
    world.ok(OLGA, "delete tests --force");
    assert_eq!(OLGA.run(|| names(&at)), [""; 0]);
    let trash = world.state().join("trash");
    let kept = trash.join(&names(&trash)[0]).join("x");
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "content of x\n");
    assert_eq!(names(&world.state().join("folders")), [""; 0]);
}

#[test]
fn an_adopted_directory_outlives_its_folder() {
    let Some(world) = World::new() else { return };
    let data = world.fresh(OLGA);
    plant(&data, &["x"]);
    let inode = data.metadata().unwrap().ino();
    let others = world.lendfs(OLGA, &format!("create data --path {}", data.display()));
    let said = String::from_utf8(others.stderr).unwrap();
    assert!(others.status.success() && said.contains("natively"), "{said}");
    world.ok(OLGA, "delete data");
    assert_eq!(data.metadata().unwrap().ino(), inode);
    assert_eq!(std::fs::read_to_string(data.join("x")).unwrap(), "content of x\n");
    // Of another's directory nobody makes a folder.
    let said = world.refused(BOB, &format!("create data --path {}", data.display()));
    assert!(said.contains("owner"), "{said}");
}

#[test]
fn a_group_has_a_folder_at_once_and_a_member_may_leave_and_come_back() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["x"]);
    world.ok(ROOT, "group create staff");
    world.ok(ROOT, "group add staff lft-bob");
    let at = world.mount(BOB);
    world.ok(OLGA, "share tests --with group:staff --as view");
    let listed = world.json(BOB, "list");
    assert_eq!(
        (&listed[0]["name"], &listed[0]["level"], &listed[0]["via"]),
        (&json!("tests"), &json!("view"), &json!("group:staff"))
    );
    assert_eq!(BOB.run(|| names(&at)), ["tests"]);
    world.ok(BOB, "leave tests");
    assert_eq!(world.json(BOB, "list"), json!([]));
    assert_eq!(BOB.run(|| names(&at)), [""; 0]);
    world.ok(BOB, "accept lft-olga:tests");
    assert_eq!(BOB.run(|| names(&at)), ["tests"]);
    world.ok(ROOT, "group remove staff lft-bob");
    assert_eq!(BOB.run(|| names(&at)), [""; 0]);
    world.refused(OLGA, "leave tests");
}

#[test]
fn with_a_folder_goes_all_that_its_owner_had() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["x"]);
    world.ok(OLGA, "share tests --with lft-dan --as view");
    world.share("tests", BOB, "view");
    let said = world.refused(BOB, "transfer tests --to lft-bob");
    assert!(said.contains("owner"), "{said}");
    world.ok(ROOT, "user add lft-dan --type viewer");
    let said = world.refused(OLGA, "transfer tests --to lft-dan");
    assert!(said.contains("viewer"), "{said}");
    let at = world.mount(OLGA);
    world.ok(OLGA, "transfer tests --to lft-cara");
    assert_eq!(OLGA.run(|| names(&at)), [""; 0]);
    world.refused(OLGA, "permissions lft-cara:tests");
    assert_eq!(world.json(CARA, "explain tests")["level"], "owner");
    // What others had stays, an invitation too.
    assert_eq!(world.json(BOB, "list")[0]["owner"], CARA.name);
    world.ok(DAN, "accept lft-cara:tests");
    world.ok(CARA, "rename tests trials");
    world.ok(CARA, "set trials inherit=widen");
}

#[test]
fn root_is_told_how_many_requests_the_kernel_makes() {
    let Some(world) = World::new() else { return };
    world.folder("tests");
    let at = world.mount(OLGA).join("tests");
    let of = |opcode: &str| {
        let count = &world.json(ROOT, "status")["requests"][opcode];
        count.as_u64().unwrap_or_default()
    };
    let before = of("mkdir");
    OLGA.run(|| {
        for number in 0..10 {
            std::fs::create_dir(at.join(number.to_string())).unwrap();
        }
    });
    assert_eq!(of("mkdir") - before, 10);
    assert!(of("lookup") > 0);
    assert!(world.json(OLGA, "status").get("requests").is_none());
    // What was counted stays when the mount goes.
    world.ok(OLGA, &format!("umount {}", at.parent().unwrap().display()));
    assert_eq!(of("mkdir"), before + 10);
}

#[test]
fn how_it_runs_is_told_to_scripts_too() {
    let Some(world) = World::new() else { return };
    world.folder("tests");
    let status = world.json(BOB, "status");
    assert_eq!(
        (&status["pid"], &status["folders"]),
        (&json!(world.pid()), &json!(1))
    );
    assert_eq!(
        world.json(ROOT, "check"),
        json!([{"ok": true, "grade": "ok", "about": "database", "what": "the database is whole", "advice": null}])
    );
    // What a machine lacks comes with what to do about it.
    let findings = world.json(BOB, "doctor");
    let told = |finding: &serde_json::Value| finding["ok"] == true || finding["advice"].is_string();
    assert!(findings.as_array().unwrap().iter().all(told), "{findings}");
    for looked_at in ["/dev/fuse", "/dev/cpu_dma_latency"] {
        assert!(findings.to_string().contains(looked_at), "{findings}");
    }
    world.ok(ROOT, "group create staff");
    world.ok(ROOT, "group add staff lft-bob");
    assert_eq!(
        world.json(BOB, "group list"),
        json!([{"name": "staff", "members": ["lft-bob"]}])
    );
    world.ok(ROOT, "user set lft-bob email=bob@example.com");
    let email = |user| {
        let users = world.json(user, "user list");
        let users = users.as_array().unwrap();
        users.iter().find(|user| user["name"] == BOB.name).unwrap()["email"].clone()
    };
    assert_eq!(
        (email(ROOT), email(BOB)),
        (json!("bob@example.com"), json!("bob@example.com"))
    );
    assert_eq!(email(CARA), json!(null), "addresses are not for everyone");
}

#[test]
fn root_is_let_in_to_confirm_himself() {
    use crate::common::users::{change_users, must};
    const SECOND: &str = "lft-second";
    struct Gone;
    impl Drop for Gone {
        fn drop(&mut self) {
            let _ = Command::new("userdel").args(["--force", SECOND]).output();
        }
    }
    let Some(world) = World::new() else { return };
    world.ok(ROOT, "user add root");
    let _alone = change_users();
    let _gone = Gone;
    // A second login name under root's uid leaves it open whom the number means.
    must(
        "useradd",
        &[
            "--no-create-home",
            "--no-log-init",
            "--non-unique",
            "--uid",
            "0",
            "--gid",
            "0",
            SECOND,
        ],
    );
    world.ok(ROOT, &format!("user add {SECOND}"));
    let users = world.json(ROOT, "user list");
    let frozen = |name| {
        let mut users = users.as_array().unwrap().iter();
        users.find(|user| user["name"] == name).unwrap()["frozen"].clone()
    };
    assert_eq!((frozen("root"), frozen(SECOND)), (json!(true), json!(true)));
    let said = world.refused(ROOT, "create tests");
    assert!(said.contains("frozen"), "{said}");
    world.ok(ROOT, "user set root frozen=no");
    world.ok(ROOT, "create tests");
}
