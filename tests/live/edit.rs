//! Edit without delete: what programs do to save and to clean up is allowed, and no trick makes a file vanish.

mod anew;
mod programs;
mod tricks;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::common::hand::Hand;
use crate::common::{BOB, CARA, OLGA, World, names, plant};

/// Calls that Python has no short words for.
const WORDS: &[&str] = &[
    "def make(name, how=os.O_EXCL, text=b''): fd = os.open(name, os.O_CREAT | os.O_WRONLY | how, 0o644); os.write(fd, text); os.close(fd)",
    "def read(name): return open(name).read().strip()",
    "import ctypes; libc = ctypes.CDLL(None, use_errno=True)",
    "def fail(): raise OSError(ctypes.get_errno(), 'failed')",
    "def renameat2(old, new, flags): libc.renameat2(-100, old.encode(), -100, new.encode(), flags) and fail()",
    "def run(program): return subprocess.run(program, shell=True).returncode",
];

/// A folder `tests` that Bob and Cara may edit.
struct Edited {
    world: World,
    backing: PathBuf,
    mount: PathBuf,
}

/// Who makes a call: Bob's first process, his second, or Cara's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Who {
    One,
    Two,
    Cara,
}

type Calls<'a> = [(Who, &'a str, &'a str)];

impl Edited {
    fn new(entries: &[&str], settings: &[&str]) -> Option<Self> {
        let world = World::new()?;
        let backing = world.folder("tests");
        Some(Self::in_folder(world, backing, entries, settings))
    }

    /// Likewise, of a directory that Olga has adopted.
    fn adopted(entries: &[&str], settings: &[&str]) -> Option<Self> {
        let world = World::new()?;
        let backing = world.fresh(OLGA);
        world.ok(OLGA, &format!("create tests --path {}", backing.display()));
        Some(Self::in_folder(world, backing, entries, settings))
    }

    fn in_folder(world: World, backing: PathBuf, entries: &[&str], settings: &[&str]) -> Self {
        plant(&backing, entries);
        for setting in settings {
            world.ok(OLGA, &format!("set tests {setting}"));
        }
        world.share("tests", BOB, "edit");
        world.share("tests", CARA, "edit");
        let mount = world.mount(BOB).join("tests");
        Self {
            world,
            backing,
            mount,
        }
    }

    /// Kills the daemon and starts it anew.
    fn restart(&mut self) {
        self.world.end(Signal::SIGKILL);
        self.world.start();
        self.mount = self.world.mount(BOB).join("tests");
    }

    fn hand(&self, who: Who) -> Hand {
        let (user, at) = match who {
            Who::One | Who::Two => (BOB, self.mount.clone()),
            Who::Cara => (CARA, self.world.mount(CARA).join("tests")),
        };
        let mut hand = Hand::new(user);
        hand.must(&format!("top = {at:?}; os.chdir(top)"));
        for word in WORDS {
            hand.must(word);
        }
        hand
    }

    /// Plays calls, each with its answer.
    #[track_caller]
    fn play(&self, calls: &Calls<'_>) {
        let mut hands: BTreeMap<Who, Hand> = BTreeMap::new();
        for (number, (who, call, expected)) in calls.iter().enumerate() {
            let hand = hands.entry(*who).or_insert_with(|| self.hand(*who));
            assert_eq!(hand.does(call), *expected, "call {number}, by {who:?}: {call}");
        }
    }

    /// What there is, the content of files with it.
    fn tree(&self) -> Vec<String> {
        let mut tree = Vec::new();
        list(&self.backing, "", &mut tree);
        tree
    }
}

fn list(top: &Path, path: &str, tree: &mut Vec<String>) {
    for name in names(&top.join(path)) {
        let path = format!("{path}{name}");
        let at = top.join(&path);
        if at.is_symlink() {
            let to = std::fs::read_link(&at).unwrap();
            tree.push(format!("{path} -> {}", to.display()));
        } else if at.is_dir() {
            tree.push(format!("{path}/"));
            list(top, &format!("{path}/"), tree);
        } else {
            tree.push(format!(
                "{path}: {}",
                std::fs::read_to_string(&at).unwrap().trim_end()
            ));
        }
    }
}

/// Plays calls in a folder with some entries, and compares what is there afterwards.
#[track_caller]
fn plays(entries: &[&str], calls: &Calls<'_>, after: &[&str]) {
    plays_with(&[], entries, calls, after);
}

/// Likewise, where the folder has settings.
#[track_caller]
fn plays_with(settings: &[&str], entries: &[&str], calls: &Calls<'_>, after: &[&str]) {
    let Some(edited) = Edited::new(entries, settings) else {
        return;
    };
    edited.play(calls);
    assert_eq!(edited.tree(), after);
}
