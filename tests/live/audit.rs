//! What was changed and what was refused: who is told of it, and who is told nothing.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::common::hand::Hand;
use crate::common::{BOB, CARA, DAN, OLGA, ROOT, User, World, plant, within};

/// What is refused is told a second later, on a machine that has not much else to do.
const PATIENCE: Duration = Duration::from_secs(20);

fn lines(world: &World, user: User, arguments: &str) -> Vec<Value> {
    let told = world.json(user, &format!("audit {arguments}"));
    told.as_array().unwrap().clone()
}

/// Some of the particulars of each line.
fn told(world: &World, user: User, arguments: &str, keys: &[&str]) -> Vec<String> {
    let lines = lines(world, user, arguments);
    let field = |line: &Value, key: &str| {
        let value = line.get(key).unwrap_or(&line["details"][key]);
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    };
    lines
        .iter()
        .map(|line| {
            let fields: Vec<_> = keys.iter().map(|key| field(line, key)).collect();
            fields.join(" ")
        })
        .collect()
}

fn unlink(user: User, path: &std::path::Path) -> String {
    Hand::new(user).does(&format!("os.unlink('{}')", path.display()))
}

#[test]
fn what_is_refused_is_told_to_who_administers_the_place() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["file", "dir/x"]);
    world.share("tests", BOB, "edit");
    world.share("tests", CARA, "view");
    let at = world.mount(BOB).join("tests");
    let mut hand = Hand::new(BOB);
    for _ in 0..3 {
        assert_eq!(
            hand.does(&format!("os.unlink('{}')", at.join("file").display())),
            "EPERM"
        );
    }
    let keys = ["kind", "actor", "action", "call", "path", "errno", "why"];
    within(
        PATIENCE,
        || told(&world, OLGA, "--folder tests --kind refusal", &keys).pop(),
        Some("refusal lft-bob refused unlink file EPERM nothing disappears".to_owned()),
    );
    let times = || {
        let refused = lines(&world, OLGA, "--folder tests --kind refusal");
        let times = refused
            .iter()
            .map(|line| line["details"]["times"].as_u64().unwrap());
        times.sum::<u64>()
    };
    within(PATIENCE, times, 3);
    // What his programs are called is his own affair, and root's.
    let program = |user, arguments| told(&world, user, arguments, &["program", "pid"]).pop().unwrap();
    assert_eq!(program(OLGA, "--folder tests --kind refusal"), "null null");
    for (user, arguments) in [(BOB, "--kind refusal"), (ROOT, "--kind refusal")] {
        assert_eq!(program(user, arguments), format!("python3 {}", hand.pid()));
    }
    // Nobody else is told.
    assert_eq!(lines(&world, CARA, "--kind refusal"), [] as [Value; 0]);
    world.refused(CARA, "audit --folder tests");
    world.refused(CARA, "audit --account lft-bob");
    let words = world.ok(OLGA, "audit --folder tests --kind refusal");
    assert!(
        words.contains("refused unlink  lft-olga:tests/file  errno=EPERM"),
        "{words}"
    );
}

#[test]
fn a_command_that_is_refused_is_told_to_root() {
    let Some(world) = World::new() else { return };
    world.folder("tests");
    world.share("tests", BOB, "view");
    world.refused(BOB, "set lft-olga:tests revoke=strict");
    world.refused(BOB, "user set lft-cara type=viewer");
    within(
        PATIENCE,
        || told(&world, ROOT, "--kind refusal", &["actor", "command", "times"]),
        ["lft-bob set 1", "lft-bob user-set 1"]
            .map(str::to_owned)
            .to_vec(),
    );
    assert_eq!(lines(&world, OLGA, "--kind refusal"), [] as [Value; 0]);
}

/// Dan administers all but what is hidden from him, where Cara is refused something.
fn hidden() -> Option<World> {
    let world = World::new()?;
    plant(&world.folder("tests"), &["hush/inner", "open/x", "loose/gone"]);
    world.share("tests", CARA, "view");
    world.share("tests", DAN, "admin");
    Some(world)
}

#[test]
fn a_hidden_name_stands_in_no_line_that_is_told() {
    let Some(world) = hidden() else { return };
    world.permit("tests/hush", DAN.name, "invisible");
    world.permit("tests/hush/inner", CARA.name, "locked");
    world.permit("tests/open", CARA.name, "locked");
    let at = world.mount(CARA).join("tests");
    for path in ["hush/inner", "open/x", "loose/gone"] {
        assert_eq!(unlink(CARA, &at.join(path)), "EACCES", "{path}");
    }
    let paths = |user| {
        let mut paths = told(&world, user, "--folder tests --kind refusal", &["path"]);
        paths.sort();
        paths
    };
    within(
        PATIENCE,
        || paths(OLGA),
        ["hush/inner", "loose/gone", "open/x"].map(str::to_owned).to_vec(),
    );
    // Where no line stands he is not told either, who does not see everything: it may be hidden where it is now.
    for command in [
        "audit",
        "audit --folder tests",
        "--json audit --folder tests",
        "audit --folder tests --actor lft-cara",
        "audit --folder tests/open",
    ] {
        let output = world.lendfs(DAN, command);
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(
            !text.contains("hush") && !text.contains("inner") && !text.contains("gone"),
            "{command}: {text}"
        );
    }
    assert!(world.ok(DAN, "audit --folder tests").contains("open"));
    // A place that he does not see is like one that is not there.
    let answer = |name: &str| {
        world
            .refused(DAN, &format!("audit --folder tests/{name}"))
            .replace(name, "X")
    };
    assert_eq!(answer("hush"), answer("never"));
    let answer = |name: &str| {
        let said = world.refused(BOB, &format!("audit --folder lft-olga:{name}"));
        said.replace(name, "X")
    };
    assert_eq!(answer("tests"), answer("never"));
}

#[test]
fn what_was_moved_to_where_it_is_hidden_is_told_no_more() {
    let Some(world) = hidden() else { return };
    let at = world.mount(CARA).join("tests");
    assert_eq!(unlink(CARA, &at.join("loose/gone")), "EACCES");
    let paths = |user| told(&world, user, "--folder tests --kind refusal", &["path"]);
    for user in [OLGA, DAN] {
        within(PATIENCE, || paths(user), vec!["loose/gone".to_owned()]);
    }
    let olga = world.mount(OLGA).join("tests");
    OLGA.run(|| std::fs::rename(olga.join("loose"), olga.join("away")))
        .unwrap();
    world.permit("tests/away", DAN.name, "invisible");
    assert_eq!(paths(DAN), [] as [String; 0]);
    assert_eq!(paths(OLGA), ["loose/gone"]);
}

/// What he was refused he is told, but where it was only if that can still be judged.
#[test]
fn one_s_own_refusals_keep_a_name_to_themselves_that_was_moved_and_hidden() {
    let Some(world) = hidden() else { return };
    let at = world.mount(CARA).join("tests");
    assert_eq!(unlink(CARA, &at.join("loose/gone")), "EACCES");
    let paths = || told(&world, CARA, "--kind refusal", &["path", "why"]);
    within(PATIENCE, paths, vec!["loose/gone missing write".to_owned()]);
    let olga = world.mount(OLGA).join("tests");
    OLGA.run(|| std::fs::rename(olga.join("loose"), olga.join("away")))
        .unwrap();
    world.permit("tests/away", CARA.name, "invisible");
    assert_eq!(paths(), ["null missing write"]);
}

#[test]
fn one_s_own_lines_go_with_what_one_sees() {
    let Some(world) = hidden() else { return };
    world.ok(DAN, "permit tests/open --for lft-cara view");
    world.ok(DAN, "permit tests/hush --for lft-cara view");
    let paths = || told(&world, DAN, "--action permit", &["path"]);
    assert_eq!(paths(), ["open", "hush"]);
    world.permit("tests/hush", DAN.name, "invisible");
    assert_eq!(paths(), ["open", "null"]);
    world.ok(OLGA, "unpermit tests/hush --for lft-dan");
    assert_eq!(paths(), ["open", "hush"]);
    world.ok(OLGA, "unshare tests --with lft-dan");
    world.ok(OLGA, "rename tests hush-hush");
    let text = world.ok(DAN, "audit");
    assert!(text.contains("accept") && !text.contains("hush"), "{text}");
}

#[test]
fn who_administers_a_place_is_told_of_it_and_of_nothing_else() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["mine/x", "other/x"]);
    world.share("tests", BOB, "view");
    world.ok(OLGA, "share tests --with lft-cara --as view");
    world.ok(CARA, "accept lft-olga:tests --name my-alias");
    world.permit("tests/mine", BOB.name, "admin");
    world.permit("tests/other", CARA.name, "edit");
    world.permit("tests/mine/x", CARA.name, "edit");
    world.refused(BOB, "audit --folder tests");
    world.refused(BOB, "audit --folder tests/other");
    assert_eq!(
        told(&world, BOB, "--folder tests/mine", &["action", "path"]),
        ["permit mine", "permit mine/x"]
    );
    // What another calls a folder is his own affair.
    let text = world.ok(OLGA, "audit --folder tests");
    assert!(text.contains("accept") && !text.contains("my-alias"), "{text}");
    assert!(world.ok(CARA, "audit").contains("my-alias"));
    assert!(
        world
            .ok(ROOT, "audit --folder lft-olga:tests")
            .contains("my-alias")
    );
}

#[test]
fn the_audit_is_asked_by_time_by_person_and_by_what_was_done() {
    let Some(world) = World::new() else { return };
    world.folder("tests");
    world.share("tests", BOB, "view");
    world.ok(ROOT, "set tests revoke=strict --user lft-olga");
    let actions = |arguments: &str| told(&world, ROOT, arguments, &["action"]);
    assert_eq!(actions("--actor root"), ["set"]);
    assert_eq!(actions("--account lft-bob"), ["accept"]);
    assert_eq!(actions("--account lft-olga --limit 2"), ["invite", "set"]);
    assert_eq!(actions("--action create"), ["create"]);
    assert_eq!(actions("--folder lft-olga:tests"), ["invite", "accept", "set"]);
    assert_eq!(actions("--since 2000-01-01 --action set"), ["set"]);
    assert_eq!(actions("--until '2000-01-01 12:00:00'"), [""; 0]);
    assert_eq!(actions("--since 1h --until 1s --action nothing"), [""; 0]);
    assert_eq!(actions("--since '1h 5m' --kind change --action set"), ["set"]);
    for wrong in ["--since yesterday", "--kind other", "--follow --until 1h"] {
        let output = world.lendfs(ROOT, &format!("audit {wrong}"));
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
    assert_eq!(told(&world, OLGA, "--action set", &["name"]), ["lft-olga:tests"]);
}

/// Whoever comes by the login name of one who was removed is not he.
#[test]
fn an_account_that_was_removed_leaves_no_line_to_the_next_one() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["file"]);
    world.share("tests", BOB, "edit");
    let at = world.mount(BOB);
    assert_eq!(unlink(BOB, &at.join("tests/file")), "EPERM");
    let own = || told(&world, BOB, "", &["action"]);
    within(PATIENCE, own, ["accept", "refused"].map(str::to_owned).to_vec());
    world.ok(BOB, &format!("umount {}", at.display()));
    world.ok(ROOT, "user remove lft-bob");
    assert_eq!(own(), [""; 0]);
    world.share("tests", BOB, "admin");
    assert_eq!(own(), ["accept"]);
    let refused = lines(&world, BOB, "--folder tests --kind refusal").remove(0);
    assert_eq!(refused["details"]["program"], Value::Null, "{refused}");
}

/// An `audit --follow` of a user's, which has begun to wait.
struct Follower {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Follower {
    fn new(world: &World, user: User, arguments: &str) -> Self {
        let mut child = user
            .command(world.binary())
            .args(["--json", "audit", "--follow"])
            .args(arguments.split_whitespace())
            .env("LENDFS_SOCKET", world.socket())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_happens_is_told_as_it_happens_to_who_may_know() {
    let Some(world) = hidden() else { return };
    world.permit("tests/hush", DAN.name, "invisible");
    // With --since nothing is lost between here and the first look of the other process.
    let mut olga = Follower::new(&world, OLGA, "--folder tests --since 1h");
    let mut dan = Follower::new(&world, DAN, "--folder tests --since 1h");
    while olga.next()["action"] != "permit" {}
    world.permit("tests/hush/inner", CARA.name, "locked");
    let line = olga.next();
    assert_eq!(
        (&line["action"], &line["details"]["path"], &line["kind"]),
        (&json!("permit"), &json!("hush/inner"), &json!("change"))
    );
    world.permit("tests/open", CARA.name, "locked");
    assert_eq!(olga.next()["details"]["path"], "open");
    let at = world.mount(CARA).join("tests");
    assert_eq!(unlink(CARA, &at.join("open/x")), "EACCES");
    let line = olga.next();
    assert_eq!(
        (&line["kind"], &line["actor"], &line["details"]["call"]),
        (&json!("refusal"), &json!("lft-cara"), &json!("lookup"))
    );
    let mut told = Vec::new();
    while told.last() != Some(&json!("open")) {
        told.push(dan.next()["details"]["path"].clone());
    }
    assert!(
        !told
            .iter()
            .any(|path| path.as_str().unwrap_or("").contains("hush")),
        "{told:?}"
    );
    // The right to know ends with the right.
    world.ok(OLGA, "unshare tests --with lft-dan");
    assert!(!dan.child.wait().unwrap().success());
}

#[test]
fn the_log_tells_each_change_and_refusal_with_the_fields_of_the_readme() {
    let Some(world) = World::quiet() else { return };
    let mut child = world
        .daemon_command()
        .arg("--log-json")
        .env("LENDFS_LOG", "warn,lendfs::audit=info")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut ready)
        .unwrap();
    plant(&world.folder("tests"), &["file"]);
    world.share("tests", BOB, "edit");
    let at = world.mount(BOB).join("tests");
    assert_eq!(unlink(BOB, &at.join("file")), "EPERM");
    // At its end the daemon tells what it has gathered.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    child.wait().unwrap();
    let log = world.logged();
    let events: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .filter(|event: &Value| event["target"] == "lendfs::audit")
        .collect();
    let find = |action: &str| {
        let event = events.iter().find(|event| event["fields"]["action"] == action);
        event.unwrap_or_else(|| panic!("no {action}: {log}"))["fields"].clone()
    };
    let invited = find("invite");
    assert_eq!(
        (&invited["kind"], &invited["actor"], &invited["account"]),
        (&json!("change"), &json!("lft-olga"), &json!("lft-olga"))
    );
    assert!(
        invited["folder"].is_i64() || invited["folder"].is_u64(),
        "{invited}"
    );
    let details: Value = serde_json::from_str(invited["details"].as_str().unwrap()).unwrap();
    assert_eq!(details, json!({"path": "", "for": "lft-bob", "level": "edit"}));
    let refused = find("refused");
    assert_eq!(
        (&refused["kind"], &refused["account"]),
        (&json!("refusal"), &json!("lft-bob"))
    );
    let details: Value = serde_json::from_str(refused["details"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&details["call"], &details["errno"], &details["times"]),
        (&json!("unlink"), &json!("EPERM"), &json!(1))
    );
    assert!(!log.contains("content of"), "{log}");
}
