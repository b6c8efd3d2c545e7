//! Many at once: several threads of several users at the same files, while the owner writes rules and takes them
//! away. Nobody can say what a call will answer, but what was promised holds, and nothing hangs.

use std::collections::BTreeSet;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::random::Random;
use crate::common::{BOB, CARA, DAN, OLGA, User, World, names, plant, word};

/// How many calls a thread makes.
const CALLS: usize = 800;
/// Longer than all together may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a call can fail with in the crowd: it was refused, or another was quicker.
const FAILURES: [&str; 11] = [
    "EACCES",
    "EPERM",
    "ENOENT",
    "EEXIST",
    "ENOTEMPTY",
    "ENOTDIR",
    "EISDIR",
    "EINVAL",
    "EXDEV",
    "ESTALE",
    // A right that is taken back between an opening and a reading.
    "EIO",
];

/// Names in the folder.
struct Stage {
    /// In it all users are busy.
    work: &'static str,
    /// In it nobody may remove anything but the owner, who does not.
    kept: &'static str,
    /// In `kept`: hidden from Bob and Cara always, from Dan now and then.
    secret: String,
}

#[test]
fn many_at_once_break_no_promise() {
    let Some(world) = World::new() else { return };
    let mut random = Random::new(1);
    let stage = Arc::new(Stage {
        work: "work",
        kept: "kept",
        secret: random.secret(),
    });
    let hidden = format!("kept/{}", stage.secret);
    let planted: Vec<String> = (0..8).map(|number| format!("kept/original-{number}")).collect();
    let backing = world.folder("tests");
    plant(
        &backing,
        &["work/alpha/", "work/beta/", &format!("{hidden}/inside")],
    );
    plant(&backing, &planted.iter().map(String::as_str).collect::<Vec<_>>());
    // Whatever names they get.
    let originals = inodes(&backing.join(stage.kept));
    for (user, level) in [(BOB, "edit"), (CARA, "view"), (DAN, "full")] {
        world.share("tests", user, level);
    }
    world.permit("tests/kept", DAN.name, "edit");
    for user in [BOB, CARA] {
        world.permit(&format!("tests/{hidden}"), user.name, "invisible");
    }
    let mut threads = Vec::new();
    for user in [OLGA, BOB, CARA, DAN] {
        let at = world.mount(user).join("tests");
        for number in 0..2 {
            let seed = u64::from(user.uid) * 2 + number;
            threads.push(start(user, at.clone(), Arc::clone(&stage), seed));
        }
    }
    change_rules(&world, &mut random, &hidden);
    for (what, thread) in threads {
        match thread.recv_timeout(PATIENCE) {
            Ok(Ok(())) => {}
            Ok(Err(broken)) => panic!("{what}: {broken}"),
            Err(_) => panic!("{what}: the thread hangs or has panicked"),
        }
    }
    assert!(backing.join(&hidden).join("inside").is_file());
    let left = inodes(&backing.join(stage.kept));
    let vanished: Vec<_> = originals.difference(&left).collect();
    assert!(
        vanished.is_empty(),
        "{vanished:?} of {originals:?} vanished, and there is {left:?}"
    );
    // The daemon is there, and so are its mounts.
    world.ok(OLGA, "list");
    let again = world.mount(BOB).join("tests");
    assert!(BOB.run(|| names(&again)).contains(&"work".to_owned()));
    assert!(!world.logged().contains("panicked"), "{}", world.logged());
}

fn inodes(directory: &Path) -> BTreeSet<u64> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().ino()).collect()
}

/// The owner flips rules while the others are busy.
fn change_rules(world: &World, random: &mut Random, hidden: &str) {
    for _ in 0..25 {
        let level = *random.one_of(&["invisible", "locked", "view", "edit"]);
        world.permit(&format!("tests/{hidden}"), DAN.name, level);
        let level = *random.one_of(&["locked", "view", "edit"]);
        world.permit("tests/work", BOB.name, level);
        let level = *random.one_of(&["locked", "view"]);
        world.permit("tests/work", CARA.name, level);
        world.ok(OLGA, &format!("unpermit tests/work --for {}", BOB.name));
    }
}

type Done = Receiver<Result<(), String>>;

fn start(user: User, at: PathBuf, stage: Arc<Stage>, seed: u64) -> (String, Done) {
    let (done, wait) = channel();
    std::thread::spawn(move || {
        let outcome = user.run(|| busy(user, &at, &stage, Random::new(seed)));
        let _ = done.send(outcome);
    });
    (format!("{} with seed {seed}", user.name), wait)
}

fn busy(user: User, at: &Path, stage: &Stage, mut random: Random) -> Result<(), String> {
    for _ in 0..CALLS {
        let (call, path, answer) = one_call(user, at, stage, &mut random);
        let said = format!("{call} at {}: {answer}", path.display());
        if answer != "ok" && !FAILURES.contains(&&*answer) {
            return Err(said);
        }
        let broken = match user {
            CARA => answer == "ok" && !["list", "read"].contains(&call),
            // What he made himself he may remove again, and files he may rename.
            BOB => answer == "ok" && call == "exchange",
            _ => false,
        };
        if broken {
            return Err(format!("was allowed: {said}"));
        }
        if user == BOB || user == CARA {
            sees_nothing_hidden(at, stage)?;
        }
    }
    Ok(())
}

fn one_call(user: User, at: &Path, stage: &Stage, random: &mut Random) -> (&'static str, PathBuf, String) {
    // The owner leaves alone what shall be kept.
    let kept = user != OLGA && random.once_in(3);
    let (path, other) = if kept {
        let original = format!("original-{}", random.below(8));
        (
            at.join(stage.kept).join(original),
            at.join(stage.kept).join("new"),
        )
    } else {
        let directories = ["alpha", "beta", "alpha/beta", "beta/alpha"];
        let mut spot = || {
            let directory = at.join(stage.work).join(random.one_of(&directories));
            directory.join(random.one_of(&["one", "two", "alpha", "beta"]))
        };
        (spot(), spot())
    };
    let rename = |flags| word(renameat2(AT_FDCWD, &path, AT_FDCWD, &other, flags));
    let above = path.parent().unwrap();
    let (call, answer) = match random.below(10) {
        // A new file might be saved in place of an original.
        0..=1 if kept => (
            "write",
            word(std::fs::File::options().write(true).truncate(true).open(&path)),
        ),
        0..=1 => ("write", word(std::fs::write(&path, "content"))),
        2 => ("mkdir", word(std::fs::create_dir(&path))),
        3 => ("unlink", word(std::fs::remove_file(&path))),
        4 => ("rmdir", word(std::fs::remove_dir(&path))),
        // To the very name it has, a rename does nothing and is not asked about.
        5..=6 if path != other => ("rename", rename(RenameFlags::empty())),
        7 if path != other => ("exchange", rename(RenameFlags::RENAME_EXCHANGE)),
        8 => (
            "list",
            word(std::fs::read_dir(above).and_then(|mut list| list.try_for_each(|entry| entry.map(drop)))),
        ),
        _ => ("read", word(std::fs::read(&path))),
    };
    (call, path, answer)
}

fn sees_nothing_hidden(at: &Path, stage: &Stage) -> Result<(), String> {
    let kept = at.join(stage.kept);
    let listed = std::fs::read_dir(&kept).map_err(|error| format!("{error} at a listing"))?;
    for entry in listed {
        let name = entry.map_err(|error| error.to_string())?.file_name();
        if name.as_encoded_bytes() == stage.secret.as_bytes() {
            return Err("the hidden name was listed".into());
        }
    }
    let answer = word(kept.join(&stage.secret).symlink_metadata());
    if answer == "ENOENT" {
        Ok(())
    } else {
        Err(format!("the hidden directory answers {answer}"))
    }
}
