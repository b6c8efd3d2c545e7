//! What Prometheus reads: who may, and that it is what README.md says.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::common::hand::Hand;
use crate::common::{BOB, CARA, ROOT, User, World, plant};

/// The status, the head and the body.
fn ask(world: &World, user: User) -> (u16, String, String) {
    let socket = world.socket();
    let mut stream = user.run(move || UnixStream::connect(socket)).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: lendfs\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), head.to_lowercase(), body.to_owned())
}

/// The values by name and labels.
fn values(world: &World) -> BTreeMap<String, f64> {
    let (status, _, body) = ask(world, ROOT);
    assert_eq!(status, 200, "{body}");
    let samples = body.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            (
                name.to_owned(),
                value.parse().unwrap_or_else(|_| panic!("{line}")),
            )
        })
        .collect()
}

#[test]
fn what_is_served_is_what_the_readme_names() {
    let Some(world) = World::new() else { return };
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let written: BTreeSet<_> = readme
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|');
            let name = cells.next()?.trim().strip_suffix('`')?;
            let kind = cells.next()?.trim();
            let served = name.starts_with("lendfs_") || name.starts_with("process_");
            served.then(|| format!("{name} {kind}"))
        })
        .collect();
    let (status, head, body) = ask(&world, ROOT);
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    let served: BTreeSet<_> = body
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(str::to_owned)
        .collect();
    assert_eq!(served, written);
    let helps = body.lines().filter(|line| line.starts_with("# HELP "));
    assert_eq!(helps.count(), served.len());
}

#[test]
fn they_are_fetched_as_the_readme_says() {
    let Some(world) = World::new() else { return };
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let command = readme
        .split('`')
        .find(|text| text.starts_with("curl ") && text.ends_with("/metrics"))
        .unwrap();
    let here = command.replace("/run/lendfs/lendfs.sock", world.socket().to_str().unwrap());
    let output = ROOT
        .command("sh")
        .args(["-c", &format!("{here} --silent --fail")])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && text.contains("\nlendfs_folders 0.0\n"),
        "{text}"
    );
}

#[test]
fn what_happens_is_counted() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["file", "dir/x"]);
    world.share("tests", BOB, "edit");
    world.ok(BOB, "set lft-olga:tests");
    world.refused(BOB, "set lft-olga:tests revoke=strict");
    let at = world.mount(BOB).join("tests");
    world.mount_with(CARA, "--read-only");
    world.mount_with(CARA, "--strict");
    let mut hand = Hand::new(BOB);
    let file = at.join("file");
    hand.must(&format!("kept = open('{}')", file.display()));
    assert_eq!(hand.does(&format!("os.unlink('{}')", file.display())), "EPERM");
    for name in 0..500 {
        hand.does(&format!("os.stat('{}/missing-{name}')", at.display()));
    }
    let seen = values(&world);
    let value = |name: &str| *seen.get(name).unwrap_or_else(|| panic!("{name}: {seen:?}"));
    assert!(value(r#"lendfs_requests_total{operation="lookup"}"#) >= 500.0);
    assert!(value(r#"lendfs_request_duration_seconds_count{operation="lookup"}"#) >= 10.0);
    assert!(value(r#"lendfs_request_duration_seconds_sum{operation="lookup"}"#) > 0.0);
    assert_eq!(
        value(r#"lendfs_request_duration_seconds_bucket{operation="lookup",le="+Inf"}"#),
        value(r#"lendfs_request_duration_seconds_count{operation="lookup"}"#)
    );
    assert_eq!(value(r#"lendfs_refusals_total{errno="EPERM"}"#), 1.0);
    let mounts: f64 = seen
        .iter()
        .filter(|(name, _)| name.starts_with("lendfs_mounts{"))
        .map(|(_, count)| count)
        .sum();
    assert_eq!(mounts, 3.0);
    for kind in ["read-only", "strict", "read-write"] {
        let one = format!(r#"lendfs_mounts{{kind="{kind}",session="personal""#);
        assert!(seen.keys().any(|name| name.starts_with(&one)), "{one}: {seen:?}");
    }
    assert_eq!(value(r#"lendfs_handles{kind="file"}"#), 1.0);
    assert!(value("lendfs_nodes") >= 1.0 && value("lendfs_workers") >= 3.0);
    assert_eq!(
        (value("lendfs_folders"), value("lendfs_takeovers_total")),
        (1.0, 0.0)
    );
    assert_eq!(
        value(r#"lendfs_control_commands_total{command="set",outcome="done"}"#),
        1.0
    );
    assert_eq!(
        value(r#"lendfs_control_commands_total{command="set",outcome="refused"}"#),
        1.0
    );
    assert!(value("process_open_fds") > 10.0 && value("process_threads") > 3.0);
    assert!(value("process_resident_memory_bytes") > 1e6 && value("process_cpu_seconds_total") > 0.0);
    assert!(value("process_start_time_seconds") > 1.6e9);
    let status = world.json(ROOT, "status");
    assert_eq!(
        (&status["refused"]["EPERM"], &status["takeovers"]),
        (&1.into(), &0.into())
    );
    assert!(world.ok(ROOT, "status").contains("1 refused"));
}

#[test]
fn the_metrics_are_for_root_and_who_is_named_and_name_nobody() {
    let Some(mut world) = World::quiet() else { return };
    world.configure("metrics-readers = ['lft-cara']");
    world.start();
    plant(&world.folder("secret-name"), &["hidden-file"]);
    world.share("secret-name", BOB, "view");
    let at = world.mount(BOB).join("secret-name");
    let mut hand = Hand::new(BOB);
    hand.does(&format!("os.unlink('{}/hidden-file')", at.display()));
    let (status, _, body) = ask(&world, BOB);
    assert!(status == 403 && body.contains("metrics-readers"), "{body}");
    for user in [CARA, ROOT] {
        let (status, _, body) = ask(&world, user);
        assert_eq!(status, 200, "{body}");
        for name in ["lft-", "secret-name", "hidden-file"] {
            assert!(!body.contains(name), "{name}: {body}");
        }
    }
    // What everyone is told of how it runs has none of it.
    let status = world.json(BOB, "status");
    for field in ["requests", "refused", "nodes", "takeovers"] {
        assert!(status.get(field).is_none(), "{field}: {status}");
    }
}
