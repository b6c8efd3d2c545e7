//! What nobody may learn who does not see it: names that are hidden occur nowhere, and asking for one answers as
//! asking for a name that never was.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, RenameFlags};
use nix::sys::stat::Mode;
use nix::unistd::AccessFlags;

use lendfs::policy::Right;

use super::expect::{reaches, shown};
use super::run::{Player, Run};
use super::tree::{self, Names};
use crate::common::{OLGA, User, word};

/// Tells whether a name is one of those that nobody guesses.
pub fn is_secret(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Ends the test if what a user was told holds a name that is hidden from him.
pub fn search(run: &Run, user: User, told: &[u8]) {
    if user == OLGA || told.is_empty() {
        return;
    }
    for name in hidden_names(run, user) {
        if told.windows(name.len()).any(|window| window == name.as_bytes()) {
            run.fail(&format!("{} was told of {name}", user.name));
        }
    }
}

/// The names that occur only where a user does not see them.
fn hidden_names(run: &Run, user: User) -> Vec<String> {
    let sight = run.rules.sight(&run.tree, user);
    let (mut seen, mut hidden) = (Vec::new(), Vec::new());
    for (path, _) in run.tree.paths().into_iter().skip(1) {
        // A name is known to whom any way leads to it.
        let name = path.last().unwrap().clone();
        if !is_secret(&name) {
            continue;
        }
        if reaches(&sight, &path) {
            seen.push(name);
        } else {
            hidden.push(name);
        }
    }
    hidden.retain(|name| !seen.contains(name));
    hidden
}

/// Each user asks for what is hidden from him, and asks the command line what it tells.
pub fn look_around(run: &mut Run) {
    for player in 1..run.players.len() {
        let user = run.players[player].user;
        let sight = run.rules.sight(&run.tree, user);
        let paths = run.tree.paths();
        // Hidden entries in directories that are seen: only there can one ask for them.
        let hidden: Vec<Names> = paths
            .into_iter()
            .skip(1)
            .map(|(path, _)| path)
            .filter(|path| {
                let (_, parent) = path.split_last().unwrap();
                reaches(&sight, parent) && !sight.at(path).sees()
            })
            .collect();
        drop(sight);
        for path in hidden {
            compare_probes(run, player, &path);
        }
        compare_listings(run, player);
        let told = command_line(run, user);
        search(run, user, &told);
    }
}

/// Lists and stats all that a user reaches.
fn compare_listings(run: &Run, player: usize) {
    let player = &run.players[player];
    let sight = run.rules.sight(&run.tree, player.user);
    for (path, id) in run.tree.paths() {
        if !run.tree.is_directory(id) || !reaches(&sight, &path) {
            continue;
        }
        let verdict = sight.at(&path);
        let at = player.path(None, &path);
        let told = player.session.run(move || {
            let names = std::fs::read_dir(at)?.map(|entry| Ok(entry?.file_name().into_encoded_bytes()));
            let mut names = names.collect::<std::io::Result<Vec<_>>>()?;
            names.sort();
            Ok::<_, std::io::Error>(names)
        });
        let expected = (verdict.corridor || verdict.has(Right::Read)).then(|| shown(&sight, &path, id));
        if told.as_ref().ok() != expected.as_ref() {
            run.fail(&format!(
                "{}: {path:?} lists {told:?} and not {expected:?}",
                player.user.name
            ));
        }
        search(run, player.user, &told.unwrap_or_default().join(&0));
    }
}

fn compare_probes(run: &mut Run, player: usize, path: &Names) {
    let (name, parent) = path.split_last().unwrap();
    let never_was = run.random.secret();
    let player = &run.players[player];
    let parent = player.path(None, parent);
    let there = probe(player, &parent, name);
    let nowhere = probe(player, &parent, &never_was);
    if there != nowhere {
        run.fail(&format!(
            "{}: {path:?} answers {there:?}, and a name that never was {nowhere:?}",
            player.user.name
        ));
    }
    if tree::picture(&run.backing) != run.disk {
        run.fail(&format!(
            "{}: asking for {path:?} changed something",
            player.user.name
        ));
    }
}

/// Asks for a name in every way but making it; after each, how the directory looks.
fn probe(player: &Player, parent: &Path, name: &str) -> Vec<(String, (i64, i64, u64, u64))> {
    let (at, new) = (parent.join(name), parent.join("never-made"));
    let parent = parent.to_owned();
    player.session.run(move || {
        PROBES
            .iter()
            .map(|probe| {
                let answer = probe(&at, &new);
                let stat = parent.symlink_metadata().unwrap();
                (
                    answer,
                    (stat.mtime(), stat.mtime_nsec(), stat.nlink(), stat.size()),
                )
            })
            .collect()
    })
}

type Probe = fn(&PathBuf, &PathBuf) -> String;

const PROBES: &[Probe] = &[
    |at, _| word(at.symlink_metadata()),
    |at, _| word(std::fs::File::open(at)),
    |at, _| word(std::fs::File::options().append(true).open(at)),
    |at, _| word(std::fs::read_dir(at)),
    |at, new| word(std::fs::rename(at, new)),
    |at, new| rename(at, new, RenameFlags::RENAME_NOREPLACE),
    |at, new| rename(at, new, RenameFlags::RENAME_EXCHANGE),
    |at, _| word(std::fs::remove_file(at)),
    |at, _| word(std::fs::remove_dir(at)),
    |at, new| word(std::fs::hard_link(at, new)),
    |at, _| word(nix::unistd::access(at, AccessFlags::F_OK)),
    |at, _| word(nix::unistd::access(at, AccessFlags::W_OK)),
    |at, _| word(xattr::get(at, "user.note")),
    |at, _| word(xattr::list(at).map(drop)),
    |at, _| word(std::fs::read_link(at)),
    |at, _| word(std::env::set_current_dir(at)),
    |at, _| word(nix::unistd::truncate(at, 0)),
    |at, _| word(nix::sys::statvfs::statvfs(at)),
    |at, _| {
        word(nix::sys::stat::fchmodat(
            AT_FDCWD,
            at,
            Mode::S_IRWXU,
            nix::sys::stat::FchmodatFlags::FollowSymlink,
        ))
    },
    |at, _| word(std::fs::metadata(at.join("below"))),
    |at, _| word(std::fs::write(at.join("below"), "x")),
];

fn rename(at: &Path, new: &Path, flags: RenameFlags) -> String {
    word(nix::fcntl::renameat2(AT_FDCWD, at, AT_FDCWD, new, flags))
}

/// All that the command line says to a user, errors included.
fn command_line(run: &Run, user: User) -> Vec<u8> {
    let folder = format!("{}:tests", OLGA.name);
    let mut told = Vec::new();
    for line in [
        "list".to_owned(),
        "mounts".to_owned(),
        format!("explain {folder}"),
        format!("--json explain {folder}"),
        format!("permissions {folder}"),
        "audit".to_owned(),
        format!("audit --folder {folder}"),
    ] {
        let output = run.world.lendfs(user, &line);
        told.extend(output.stdout);
        told.extend(output.stderr);
    }
    told
}
