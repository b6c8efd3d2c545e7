//! `lendfs why --follow`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use crate::common::{BOB, CARA, OLGA, User, World, plant, word};
use crate::why::refuse;

/// `lendfs why --follow` of a user, line by line.
struct Follower {
    child: Child,
    lines: Receiver<String>,
}

impl Follower {
    fn new(world: &World, user: User, options: &str) -> Self {
        let mut child = user
            .command(world.binary())
            .args(["why", "--follow"])
            .args(options.split_whitespace())
            .env("LENDFS_SOCKET", world.socket())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines() {
                let _ = tell.send(line.unwrap());
            }
        });
        Self { child, lines }
    }

    fn line(&self, patience: Duration) -> Option<String> {
        self.lines.recv_timeout(patience).ok()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn who_follows_is_told_what_comes_until_the_daemon_ends() {
    let Some(mut world) = World::new() else { return };
    plant(&world.folder("tests"), &["x"]);
    world.share("tests", BOB, "view");
    world.share("tests", CARA, "view");
    let at = world.mount(BOB).join("tests");
    let caras = world.mount(CARA).join("tests");
    refuse(&at, "before");
    let mut follower = Follower::new(&world, BOB, "--json");
    // From when on it follows is not to be seen from outside.
    let mut first = None;
    for number in 0..200 {
        refuse(&at, &format!("begin-{number}"));
        first = follower.line(Duration::from_millis(100));
        if first.is_some() {
            break;
        }
    }
    let first: Value = serde_json::from_str(&first.unwrap()).unwrap();
    assert!(
        first["path"].as_str().unwrap().starts_with("tests/begin-"),
        "{first}"
    );
    // What others are refused is not told; an idle wait goes on.
    CARA.run(|| assert_eq!(word(File::create(caras.join("hers"))), "EACCES"));
    std::thread::sleep(Duration::from_millis(300));
    refuse(&at, "last");
    let mut line = String::new();
    while !line.contains("tests/last") {
        line = follower.line(LONG).expect("the last is told");
        assert!(!line.contains("hers") && !line.contains("before"), "{line}");
    }
    // Others command meanwhile.
    world.ok(OLGA, "list");
    world.end(nix::sys::signal::Signal::SIGKILL);
    let status = follower.child.wait().unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(follower.child.stderr.as_mut().unwrap(), &mut said).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(
        said.contains("the daemon has ended") && said.lines().count() == 1,
        "{said}"
    );
}
