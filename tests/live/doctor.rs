//! doctor: what is wrong is told to whom it concerns, with what to do.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::common::world::mounts_below;
use crate::common::{BOB, CARA, OLGA, ROOT, User, World, stop};

/// The findings about one thing, by how bad they are.
fn about(world: &World, user: User, about: &str) -> Vec<(String, String)> {
    let state = world.state();
    let output = world.lendfs(user, &format!("--json doctor --state-dir {}", state.display()));
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = findings.as_array().unwrap().iter();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    findings
        .filter(|finding| finding["about"] == about)
        .map(|finding| (text(finding, "grade"), text(finding, "what")))
        .collect()
}

/// Those that speak of something.
fn naming(found: &[(String, String)], what: &Path) -> Vec<String> {
    let what = what.to_str().unwrap();
    let naming = found.iter().filter(|(_, said)| said.contains(what));
    naming.map(|(grade, _)| grade.clone()).collect()
}

fn open(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

#[test]
fn a_good_machine_has_nothing_wrong() {
    let Some(world) = World::new() else { return };
    world.folder("tests");
    for user in [ROOT, BOB] {
        world.ok(user, "doctor");
    }
    assert_eq!(about(&world, ROOT, "mounting")[0].0, "ok");
    let passthrough = about(&world, ROOT, "passthrough");
    assert_eq!(passthrough.len(), 1, "{passthrough:?}");
    // No trial is left, and none is made for users.
    assert_eq!(mounts_below(&world.dir), Vec::<std::path::PathBuf>::new());
    assert!(
        !crate::common::names(&world.state())
            .iter()
            .any(|name| name.starts_with(".doctor"))
    );
    assert_eq!(about(&world, BOB, "mounting"), []);
}

#[test]
fn where_no_daemon_runs_it_says_so_and_looks_by_itself() {
    let Some(mut world) = World::new() else { return };
    world.end(Signal::SIGTERM);
    for user in [ROOT, BOB] {
        let output = world.lendfs(user, "doctor");
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(about(&world, user, "daemon")[0].0, "error");
    }
    assert_eq!(about(&world, ROOT, "mounting")[0].0, "ok");
    assert_eq!(about(&world, ROOT, "privacy")[0].0, "ok");
}

#[test]
fn a_state_directory_that_others_may_enter_is_an_error() {
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    assert_eq!(
        naming(&about(&world, ROOT, "privacy"), &backing),
        Vec::<String>::new()
    );
    open(&world.state(), 0o755);
    let found = about(&world, ROOT, "privacy");
    assert!(
        naming(&found, &world.state()).contains(&"error".into()),
        "{found:?}"
    );
    // The directory of the folders is closed, too.
    assert_eq!(naming(&found, &backing), Vec::<String>::new());
    open(&world.state().join("folders"), 0o755);
    let found = about(&world, ROOT, "privacy");
    assert_eq!(naming(&found, &backing), ["error"], "{found:?}");
    assert_eq!(naming(&about(&world, OLGA, "privacy"), &backing), ["error"]);
    assert_eq!(about(&world, BOB, "privacy"), []);
    let output = world.lendfs(ROOT, "doctor");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_managed_folder_that_is_bound_elsewhere_is_an_error() {
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    let inner = backing.join("inner");
    std::fs::create_dir(&inner).unwrap();
    for (from, to) in [(&backing, "bound"), (&inner, "bound-inner")] {
        let to = world.dir.join(to);
        std::fs::create_dir(&to).unwrap();
        mount(Some(from), &to, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    }
    let found = about(&world, ROOT, "privacy");
    assert_eq!(
        naming(&found, &world.dir.join("bound-inner")),
        ["error"],
        "{found:?}"
    );
    assert_eq!(naming(&found, &world.dir.join("bound")).len(), 2, "{found:?}");
}

#[test]
fn who_reaches_an_adopted_directory_natively_is_told_by_name() {
    let Some(world) = World::new() else { return };
    let lent = world.dir.join("lent");
    OLGA.directory(&lent);
    world.ok(OLGA, &format!("create lent --path {}", lent.display()));
    for user in [BOB, CARA] {
        world.ok(user, "list");
    }
    let told = || {
        let found = about(&world, OLGA, "privacy");
        let naming = found
            .into_iter()
            .find(|(_, what)| what.contains(lent.to_str().unwrap()));
        naming.map(|(grade, what)| {
            assert_eq!(grade, "warning");
            what.split(" may enter").next().unwrap().to_owned()
        })
    };
    assert_eq!(told().as_deref(), Some("lft-olga:lent: everybody"));
    std::os::unix::fs::chown(&lent, None, Some(BOB.gid)).unwrap();
    open(&lent, 0o750);
    assert_eq!(told().as_deref(), Some("lft-olga:lent: lft-bob"));
    open(&lent, 0o700);
    assert_eq!(told(), None);
}

#[test]
fn a_mount_whose_daemon_was_killed_or_stopped_is_told() {
    let Some(mut world) = World::new() else { return };
    let at = world.mount(BOB);
    assert_eq!(naming(&about(&world, ROOT, "mounts"), &at), Vec::<String>::new());
    // Another daemon asks of it, which does not serve it.
    let other = World::quiet().map(|mut other| {
        other.start();
        other
    });
    let other = other.unwrap();
    assert_eq!(naming(&about(&other, ROOT, "mounts"), &at), Vec::<String>::new());
    let daemon = Pid::from_raw(i32::try_from(world.pid()).unwrap());
    stop(daemon);
    let stopped = about(&other, ROOT, "mounts");
    kill(daemon, Signal::SIGCONT).unwrap();
    assert_eq!(naming(&stopped, &at), ["warning"], "{stopped:?}");
    assert!(stopped.iter().any(|(_, what)| what.contains("does not answer")));
    world.end(Signal::SIGKILL);
    for user in [ROOT, BOB] {
        let found = about(&other, user, "mounts");
        assert_eq!(naming(&found, &at), ["warning"], "{found:?}");
        assert!(found.iter().any(|(_, what)| what.contains("daemon is gone")));
    }
    assert_eq!(naming(&about(&other, CARA, "mounts"), &at), Vec::<String>::new());
}

#[test]
fn a_frozen_account_is_told_to_root() {
    let Some(mut world) = World::new() else { return };
    world.ok(CARA, "list");
    world.end(Signal::SIGTERM);
    let store = rusqlite::Connection::open(world.state().join("lendfs.db")).unwrap();
    let frozen = store.execute("UPDATE accounts SET frozen = 1 WHERE login = ?1", [CARA.name]);
    assert_eq!(frozen.unwrap(), 1);
    drop(store);
    world.start();
    let found = about(&world, ROOT, "accounts");
    assert_eq!(found[0].0, "warning", "{found:?}");
    assert!(found[0].1.contains(CARA.name));
    assert_eq!(about(&world, BOB, "accounts"), []);
}
