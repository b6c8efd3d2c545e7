//! Programs that work in a mount (`work.py`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::common::{BOB, ROOT};

/// Who works, and how many do the same.
const KINDS: [(&str, usize); 9] = [
    ("untar", 1),
    ("git", 1),
    ("database", 1),
    ("blocks", 1),
    ("shell", 2),
    ("lock", 2),
    ("listing", 1),
    ("open_files", 1),
    ("lookups", 2),
];

pub struct Crew {
    members: Vec<(String, Child)>,
    stop: PathBuf,
    at: PathBuf,
    ended: bool,
}

impl Crew {
    /// Starts them in a directory of a mount, and one in the one behind it; `scratch` is one outside.
    pub fn start(scratch: &Path, at: &Path, backing: &Path) -> Self {
        let script = scratch.join("work.py");
        std::fs::write(&script, include_str!("work.py")).unwrap();
        archive(scratch, at);
        let stop = scratch.join("stop");
        let members = KINDS
            .iter()
            .flat_map(|(kind, count)| (0..*count).map(move |number| (*kind, number)));
        let members = members.map(|(kind, number)| (BOB, kind, format!("{kind}{number}"), at));
        let members = members.chain([(ROOT, "native", "native".to_owned(), backing)]);
        let members = members.map(|(user, kind, name, at)| {
            let child = user
                .command("/usr/bin/python3")
                .arg(&script)
                .arg(kind)
                .arg(at.join(&name))
                .arg(&stop)
                .env("HOME", scratch)
                .current_dir("/")
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            (name, child)
        });
        Self {
            members: members.collect(),
            stop,
            at: at.into(),
            ended: false,
        }
    }

    /// Tells whether all are still at work.
    pub fn is_whole(&self) -> bool {
        self.members
            .iter()
            .all(|(_, child)| Path::new(&format!("/proc/{}/exe", child.id())).exists())
    }

    /// Lets them come to an end; tells how much each has done.
    pub fn end(mut self) -> BTreeMap<String, u64> {
        self.ended = true;
        std::fs::write(&self.stop, "").unwrap();
        let mut done = BTreeMap::new();
        let mut wrong = Vec::new();
        for (name, child) in self.members.drain(..) {
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            let error = String::from_utf8_lossy(&output.stderr);
            match said.trim().parse() {
                Ok(number) if output.status.success() && error.is_empty() => {
                    done.insert(name, number);
                }
                _ => wrong.push(format!("{name}: {} {said}{error}", output.status)),
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let counted = BOB.run(|| std::fs::read_to_string(self.at.join("counter")).unwrap());
        let counters = done.iter().filter(|(name, _)| name.starts_with("lock"));
        let sum: u64 = counters.map(|(_, number)| number).sum();
        assert_eq!(counted.parse(), Ok(sum), "who had the lock was not alone");
        done
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        if !self.ended {
            let _ = std::fs::write(&self.stop, "");
        }
        for (_, child) in &mut self.members {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A tree of some size, packed where `work.py` looks for it.
fn archive(scratch: &Path, at: &Path) {
    let tree = scratch.join("tree");
    for number in 0..300 {
        let directory = tree.join(format!("{}/{}", number % 7, number % 11));
        std::fs::create_dir_all(&directory).unwrap();
        let text = format!("{number}\n").repeat(number);
        std::fs::write(directory.join(number.to_string()), text).unwrap();
    }
    let packed = scratch.join("archive.tar");
    let mut tar = Command::new("tar");
    tar.arg("cf")
        .arg(&packed)
        .args(["--owner", BOB.name, "--group", BOB.name]);
    tar.arg("-C").arg(&tree).arg(".");
    assert!(tar.status().unwrap().success());
    BOB.run(|| std::fs::copy(&packed, at.join("archive.tar")).unwrap());
}
