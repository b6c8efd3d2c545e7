//! The control socket and the command line: who is answered, and what bad input gets.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::common::{BOB, CARA, DAN, OLGA, ROOT, World, plant};

#[test]
fn only_root_acts_for_others() {
    let Some(world) = World::new() else { return };
    world.ok(ROOT, &format!("create tests --user {}", OLGA.name));
    assert_eq!(world.json(OLGA, "list")[0]["mine"], true);
    let refused = world.refused(BOB, &format!("list --user {}", OLGA.name));
    assert!(refused.contains("root"), "{refused}");
    assert_eq!(
        world.json(ROOT, &format!("list --user {}", OLGA.name))[0]["name"],
        "tests"
    );
    let audit = world.json(ROOT, "audit");
    let created = audit
        .as_array()
        .unwrap()
        .iter()
        .find(|line| line["action"] == "create")
        .unwrap();
    assert_eq!(
        (created["actor"].as_str(), created["account"].as_str()),
        (Some("root"), Some(OLGA.name))
    );
}

#[test]
fn a_uid_without_a_name_and_another_namespace_are_not_answered() {
    let Some(mut world) = World::new() else { return };
    let socket = world.socket();
    let ask = |command: &mut Command| {
        let output = command
            .env("LENDFS_SOCKET", &socket)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let binary = world.binary();
    let nameless = ask(Command::new("setpriv")
        .args(["--reuid", "47999", "--regid", "47999", "--clear-groups"])
        .arg(&binary)
        .arg("list"));
    assert!(!nameless.0 && nameless.1.contains("47999"), "{nameless:?}");
    // Root in a user namespace of his own is not root.
    let mapped = || {
        let mut command = BOB.command("unshare");
        command
            .args(["--user", "--map-root-user"])
            .arg(&binary)
            .args(["list", "--user", OLGA.name]);
        command
    };
    let foreign = ask(&mut mapped());
    assert!(!foreign.0 && foreign.1.contains("namespace"), "{foreign:?}");
    let processes = ask(Command::new("unshare")
        .args(["--pid", "--fork"])
        .arg(&binary)
        .arg("list"));
    assert!(!processes.0 && processes.1.contains("namespace"), "{processes:?}");
    world.end(nix::sys::signal::Signal::SIGTERM);
    world.configure("allow-foreign-namespaces = true");
    world.start();
    let allowed = ask(Command::new("unshare")
        .args(["--pid", "--fork"])
        .arg(&binary)
        .arg("list"));
    assert!(allowed.0, "{allowed:?}");
    let still_bob = ask(&mut mapped());
    assert!(!still_bob.0, "{still_bob:?}");
}

#[test]
fn the_exit_status_tells_wrong_usage_from_refusal() {
    let Some(world) = World::new() else { return };
    for line in [
        "",
        "frobnicate",
        "create",
        "share x --with y",
        "list --frobnicate",
        "create x --inherit sideways",
        "mount",
    ] {
        let output = world.lendfs(BOB, line);
        assert_eq!(output.status.code(), Some(2), "{line}");
    }
    assert_eq!(world.lendfs(BOB, "--help").status.code(), Some(0));
    assert_eq!(world.lendfs(BOB, "delete nothing").status.code(), Some(1));
    let silent = BOB
        .command(world.binary())
        .args(["--socket", "/nonexistent/socket", "list"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&silent.stderr);
    assert!(
        silent.status.code() == Some(1) && said.contains("/nonexistent/socket") && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["dir/x"]);
    world.ok(ROOT, "group create staff");
    let refuse = |line: &str, words: &[&str]| {
        let said = world.refused(OLGA, line);
        for word in words {
            assert!(said.contains(word), "{line}: {said}");
        }
    };
    refuse("share missing --with lft-bob --as view", &["missing", "tests"]);
    refuse("share tests/missing --with lft-bob --as view", &["tests/missing"]);
    refuse(
        "share tests --with nobody-such --as view",
        &["nobody-such", "lft-olga"],
    );
    refuse(
        "share tests --with group:missing --as view",
        &["missing", "staff"],
    );
    refuse(
        "share tests --with unix:no-such-group --as view",
        &["no-such-group", "getent"],
    );
    refuse(
        "share tests --with lft-bob --as chief",
        &["chief", "view", "edit"],
    );
    refuse("create tests", &["tests", "already"]);
    refuse("set tests colour=red", &["colour", "inherit"]);
    refuse("unshare tests --with lft-bob", &["lft-bob"]);
    refuse("accept tests", &["invitation"]);
    refuse("umount /nowhere", &["/nowhere", "mounts"]);
}

#[test]
fn what_is_set_is_told_and_stays_over_a_restart() {
    let Some(mut world) = World::new() else { return };
    world.folder("tests");
    let told = |world: &World| world.ok(OLGA, "set tests");
    let before = told(&world);
    for setting in [
        "inherit=override",
        "revoke=default",
        "own-files=protected",
        "replace-by-unlink=off",
    ] {
        assert!(before.lines().any(|line| line == setting), "{before}");
    }
    for setting in [
        "own-files=removable",
        "replace-by-unlink=on",
        "scratch=*.part,~?",
        "inherit=widen",
    ] {
        assert!(world.ok(OLGA, &format!("set tests {setting}")).contains(setting));
    }
    let set = told(&world);
    assert_eq!(
        set.trim(),
        "inherit=widen\nrevoke=default\nown-files=removable\nreplace-by-unlink=on\nscratch=*.part,~?"
    );
    world.end(nix::sys::signal::Signal::SIGKILL);
    world.start();
    assert_eq!(told(&world), set);
    for setting in [
        "own-files=protected",
        "replace-by-unlink=off",
        "scratch=default",
        "inherit=override",
    ] {
        world.ok(OLGA, &format!("set tests {setting}"));
    }
    assert_eq!(told(&world), before);
    world.refused(OLGA, "set tests scratch=*");
    assert_eq!(told(&world), before);
    world.refused(BOB, "set lft-olga:tests");
    world.share("tests", BOB, "admin");
    world.refused(BOB, "set tests own-files=removable");
    assert_eq!(world.ok(BOB, "set tests"), before);
}

#[test]
fn paths_and_names_that_lead_elsewhere_are_refused() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["dir/x"]);
    for path in [
        "tests/../etc",
        "tests/dir/..",
        "tests//dir",
        "tests/./dir",
        "tests/dir/x/y",
    ] {
        world.refused(OLGA, &format!("permit {path} --for lft-bob view"));
    }
    let long = "x".repeat(256);
    for name in ["a/b", "a:b", ".", "..", "''", "'a\nb'", "'a\tb'", &long] {
        let output = world.lendfs(OLGA, &format!("create {name}"));
        assert_eq!(output.status.code(), Some(1), "{name:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(said.lines().count(), 1, "{said:?}");
        assert_eq!(
            world.lendfs(ROOT, &format!("group create {name}")).status.code(),
            Some(1),
            "{name:?}"
        );
    }
    assert_eq!(world.json(OLGA, "list").as_array().unwrap().len(), 1);
}

#[test]
fn the_answers_that_scripts_rely_on_have_their_fields() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["dir/x"]);
    world.share("tests", BOB, "edit");
    world.ok(OLGA, "share tests --with lft-cara --as view");
    world.permit("tests/dir", BOB.name, "view");
    let at = world.mount(BOB);
    assert_eq!(
        world.json(OLGA, "permissions tests"),
        json!({
            "grants": [{"path": "", "principal": "lft-bob", "level": "edit"}],
            "invitations": [{"path": "", "principal": "lft-cara", "level": "view", "state": "pending"}],
            "rules": [{"path": "dir", "principal": "lft-bob", "level": "view", "target": "there"}],
        })
    );
    assert_eq!(
        world.json(CARA, "invitations"),
        json!([{"folder": "tests", "owner": "lft-olga", "path": "", "level": "view", "state": "pending"}])
    );
    assert_eq!(
        world.json(BOB, "mounts"),
        json!([{"subject": "lft-bob", "at": at.to_str().unwrap(), "passthrough": true}])
    );
    let listed = world.json(BOB, "list")[0].clone();
    assert_eq!(listed["name"], "tests");
    assert_eq!(listed["owner"], "lft-olga");
    assert_eq!(
        (&listed["level"], &listed["mine"]),
        (&json!("edit"), &json!(false))
    );
    assert_eq!(listed["mounted_at"], json!([at.join("tests").to_str().unwrap()]));
    let told = world.json(OLGA, "explain tests/dir/x --for lft-bob");
    assert_eq!(
        (&told["folder"], &told["path"], &told["subject"]),
        (&json!("tests"), &json!("dir/x"), &json!("lft-bob"))
    );
    assert_eq!(
        (&told["level"], &told["corridor"]),
        (&json!("view"), &json!(false))
    );
    assert_eq!(told["rights"], json!(["see", "read"]));
    assert_eq!(
        told["decided_by"],
        json!({"kind": "rule", "principal": "lft-bob", "path": "dir", "level": "view"})
    );
    assert_eq!(told["chain"].as_array().unwrap().len(), 2);
    assert_eq!(world.json(OLGA, "explain tests")["level"], "owner");
}

#[test]
fn a_place_in_a_mount_is_named_by_its_local_path() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["dir/sub/x"]);
    let at = world.mount(OLGA);
    let inside = at.join("tests/dir");
    let said = |directory: &std::path::Path, line: &str| {
        let output = OLGA
            .command("sh")
            .args([
                "-c",
                &format!(
                    "cd {} && {} --json {line}",
                    directory.display(),
                    world.binary().display()
                ),
            ])
            .env("LENDFS_SOCKET", world.socket())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["path"].clone()
    };
    assert_eq!(said(&inside, "explain ./sub"), "dir/sub");
    assert_eq!(said(&inside.join("sub"), "explain ../sub/x"), "dir/sub/x");
    assert_eq!(
        said(
            std::path::Path::new("/"),
            &format!("explain {}", inside.display())
        ),
        "dir"
    );
    world.refused(OLGA, "explain /etc/passwd");
}

#[test]
fn rubbish_on_the_socket_is_answered_and_harms_nobody() {
    let Some(world) = World::new() else { return };
    let say = |bytes: &[u8], hang_up: bool| {
        let mut stream = UnixStream::connect(world.socket()).unwrap();
        let _ = stream.write_all(bytes);
        if hang_up {
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    let send = |bytes: &[u8]| say(bytes, true);
    let post = |path: &str, body: &str| {
        say(format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).as_bytes(), false)
    };
    for (path, body) in [
        ("/v1/create", "{"),
        ("/v1/create", "[]"),
        ("/v1/create", "{\"name\":5}"),
        ("/v1/nothing", "{}"),
        ("/../../etc/passwd", "{}"),
    ] {
        let answer = post(path, body);
        assert!(answer.starts_with("HTTP/1.1 4"), "{path} {body}: {answer}");
    }
    let large = "x".repeat(4 << 20);
    let answer = post("/v1/create", &large);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    send(b"\x16\x03\x01\x02\x00");
    send(&[0; 100_000]);
    send(b"GET / HTTP/1.1\r\n\r\n");
    // One that says nothing keeps nobody waiting.
    let _silent = UnixStream::connect(world.socket()).unwrap();
    world.ok(ROOT, "status");
}

#[test]
fn a_second_daemon_does_not_start_and_an_orphaned_socket_is_replaced() {
    let Some(mut world) = World::new() else { return };
    let second = |state: &str| {
        let output = Command::new(world.binary())
            .args(["daemon", "--state-dir"])
            .arg(world.dir.join(state))
            .arg("--socket")
            .arg(world.socket())
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (status, said) = second("other-state");
    assert!(status == Some(1) && said.contains("another daemon"), "{said}");
    let (status, said) = second("state");
    assert!(status == Some(1) && said.contains("another"), "{said}");
    world.ok(ROOT, "status");
    world.end(nix::sys::signal::Signal::SIGKILL);
    assert!(world.socket().exists());
    world.start();
    world.ok(ROOT, "status");
}

#[test]
fn invitations_go_as_people_know_them() {
    let Some(world) = World::new() else { return };
    world.folder("tests");
    world.folder("other");
    world.ok(ROOT, &format!("user set {} email=bob@example.com", BOB.name));
    world.ok(OLGA, "share tests --with bob@example.com --as view");
    world.ok(OLGA, "share tests --with lft-bob --as edit");
    let waiting = world.json(BOB, "invitations");
    assert_eq!(
        (waiting.as_array().unwrap().len(), &waiting[0]["level"]),
        (1, &json!("edit"))
    );
    world.ok(BOB, "create tests");
    let refused = world.refused(BOB, "accept lft-olga:tests");
    assert!(refused.contains("--name"), "{refused}");
    world.ok(BOB, "accept lft-olga:tests --name from-olga");
    let names: Vec<_> = world
        .json(BOB, "list")
        .as_array()
        .unwrap()
        .iter()
        .map(|folder| folder["name"].clone())
        .collect();
    assert_eq!(names, ["from-olga", "tests"]);
    // For who has it the level changes at once.
    world.ok(OLGA, "share tests --with lft-bob --as view");
    assert_eq!(world.json(BOB, "list")[0]["level"], "view");
    world.ok(OLGA, "share other --with lft-bob --as view");
    world.ok(BOB, "decline other");
    world.refused(BOB, "accept lft-olga:other");
    world.ok(OLGA, "share other --with lft-bob --as view");
    world.ok(OLGA, "unshare other --with lft-bob");
    world.refused(BOB, "accept lft-olga:other");
    let states: Vec<_> = world
        .json(BOB, "invitations")
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["state"].clone())
        .collect();
    assert!(
        states.contains(&json!("declined")) && states.contains(&json!("cancelled")),
        "{states:?}"
    );
    world.refused(OLGA, "delete tests");
    world.ok(BOB, "leave from-olga");
    world.ok(OLGA, "delete tests");
    let trash = world.state().join("trash");
    assert_eq!(std::fs::read_dir(trash).unwrap().count(), 1);
}

#[test]
fn an_admin_manages_lines_and_reaches_for_no_more() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["mine/x", "other/x"]);
    world.ok(ROOT, "group create staff");
    for member in [BOB, CARA] {
        world.ok(ROOT, &format!("group add staff {}", member.name));
    }
    world.share("tests", BOB, "view");
    world.permit("tests/mine", BOB.name, "admin");
    world.permit("tests/other", CARA.name, "view");
    // In his own place he gives and takes.
    world.ok(BOB, "share tests/mine --with lft-cara --as edit");
    world.ok(BOB, "permit tests/mine/x --for lft-cara admin");
    world.ok(BOB, "unpermit tests/mine/x --for lft-cara");
    let refuse = |line: &str| world.refused(BOB, line);
    for line in [
        "permit tests/other --for lft-cara full",
        "unpermit tests/other --for lft-cara",
        "share tests --with lft-dan --as view",
        "permit tests --for lft-bob full",
        "permit tests/mine --for lft-bob full",
        "unpermit tests/mine --for lft-bob",
        "permit tests/mine/x --for lft-bob view",
        "permit tests/mine --for group:staff view",
        "permit tests/mine --for lft-olga locked",
        "rename tests new",
        "delete tests --force",
        "transfer tests --to lft-bob",
        "set tests inherit=widen",
        "set tests revoke=strict",
        "unshare tests --with lft-bob",
        "audit --folder tests",
        "explain tests/other --for lft-cara",
        "explain tests --for lft-cara",
    ] {
        refuse(line);
    }
    let shown = world.json(BOB, "permissions tests");
    let paths: Vec<_> = ["grants", "rules", "invitations"]
        .iter()
        .flat_map(|kind| shown[kind].as_array().unwrap().clone())
        .map(|line| line["path"].clone())
        .collect();
    assert!(
        paths
            .iter()
            .all(|path| path.as_str().unwrap().starts_with("mine")),
        "{paths:?}"
    );
    // A stranger is not even told that there is such a folder.
    let stranger = world
        .refused(DAN, "permissions lft-olga:tests")
        .replace("tests", "X");
    assert_eq!(
        stranger,
        world
            .refused(DAN, "permissions lft-olga:never")
            .replace("never", "X")
    );
}

#[test]
fn accounts_and_groups_are_root_s_affair_and_that_of_named_ones() {
    let Some(mut world) = World::quiet() else { return };
    world.configure("group-admins = ['lft-cara']");
    world.start();
    for line in [
        "user add lft-bob",
        "user set lft-bob type=viewer",
        "user remove lft-bob",
        "group create staff",
        "check",
    ] {
        world.refused(BOB, line);
    }
    world.ok(CARA, "group create staff");
    world.ok(CARA, "group add staff lft-bob");
    world.refused(CARA, "user set lft-bob type=viewer");
    world.ok(ROOT, "user add lft-bob --email b@example.com --type viewer");
    let refused = world.refused(ROOT, "user set lft-cara email=B@example.com");
    assert!(refused.contains("lft-bob"), "{refused}");
    world.refused(ROOT, "user add no-such-login");
    world.refused(BOB, "create tests");
    world.ok(ROOT, "user set lft-bob type=member");
    world.ok(BOB, "create tests");
    let refused = world.refused(ROOT, "user remove lft-bob");
    assert!(refused.contains("tests"), "{refused}");
    world.ok(BOB, "transfer tests --to lft-cara");
    assert_eq!(world.json(CARA, "list")[0]["mine"], true);
}

#[test]
fn an_account_whose_uid_was_given_to_another_is_frozen_until_root_confirms() {
    use crate::common::users::{change_users, must};
    let Some(world) = World::new() else { return };
    let _alone = change_users();
    const NAME: &str = "lft-reused";
    struct Gone;
    impl Drop for Gone {
        fn drop(&mut self) {
            let _ = Command::new("userdel").arg(NAME).output();
        }
    }
    let _gone = Gone;
    let add = |uid: &str| {
        must(
            "useradd",
            &["--no-create-home", "--no-log-init", "--uid", uid, NAME],
        )
    };
    add("47811");
    plant(&world.folder("tests"), &["x"]);
    world.ok(OLGA, &format!("share tests --with {NAME} --as view"));
    world.ok(ROOT, &format!("accept lft-olga:tests --user {NAME}"));
    must("userdel", &[NAME]);
    add("47812");
    let ask = |line: &str| {
        let output = Command::new("setpriv")
            .args(["--reuid", NAME, "--regid", "47812", "--clear-groups"])
            .arg(world.binary())
            .args(line.split(' '))
            .env("LENDFS_SOCKET", world.socket())
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (answered, said) = ask("list");
    assert!(!answered && said.contains("frozen"), "{said}");
    world.refused(ROOT, &format!("mount /tmp --user {NAME}"));
    world.ok(ROOT, &format!("user set {NAME} frozen=no"));
    assert!(ask("list").0);
    // Another login under a known uid is another person.
    must("usermod", &["--login", "lft-renamed", NAME]);
    let (answered, said) = ask("list");
    must("usermod", &["--login", NAME, "lft-renamed"]);
    assert!(!answered, "{said}");
}
