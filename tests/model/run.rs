//! One run: a folder, its users with a mount each, and one call after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lendfs::policy::{Level, LineKind};

use super::call::{Call, Reply, What, perform};
use super::choose::{self, Holds};
use super::cut::cut;
use super::expect::{self, HeldFile};
use super::random::Random;
use super::rules::{Rules, TEAM};
use super::tree::{self, Id, Kind, Names, Picture, Tree};
use super::{apply, secrets};
use crate::common::users::Session;
use crate::common::{BOB, CARA, DAN, OLGA, ROOT, User, World, plant};

/// How many files and how many directories a user holds open at most.
const HELD: usize = 4;

/// A user with his mount.
pub struct Player {
    pub user: User,
    /// Where he finds the folder.
    pub at: PathBuf,
    pub session: Session,
    files: Vec<(HeldFile, Arc<File>)>,
    directories: Vec<(Id, Arc<File>)>,
    /// What he made or gave another name.
    own: BTreeSet<Id>,
}

pub struct Run {
    pub seed: u64,
    pub random: Random,
    pub tree: Tree,
    pub rules: Rules,
    pub players: Vec<Player>,
    pub backing: PathBuf,
    pub world: World,
    /// What the disk showed after the last call.
    pub disk: BTreeMap<String, Picture>,
    steps: usize,
    history: Vec<String>,
}

impl Run {
    pub fn new(seed: u64) -> Option<Self> {
        let world = World::new()?;
        let backing = world.folder("tests");
        let mut random = Random::new(seed);
        let mut tree = Tree::new(OLGA.uid);
        plant_tree(&mut random, &mut tree, &backing);
        world.ok(ROOT, "group create team");
        for user in [BOB, DAN] {
            world.ok(ROOT, &format!("group add team {}", user.name));
        }
        let mut rules = Rules::new();
        for (user, level) in [(BOB, Level::Edit), (CARA, Level::View), (DAN, Level::Full)] {
            world.share("tests", user, level.name());
            rules.write(&tree, &[], LineKind::Grant, user.name, level);
        }
        let mut players = Vec::new();
        for user in [OLGA, BOB, CARA, DAN] {
            players.push(Player {
                user,
                at: world.mount(user).join("tests"),
                session: user.stay(),
                files: Vec::new(),
                directories: Vec::new(),
                own: BTreeSet::new(),
            });
        }
        let mut run = Self {
            seed,
            random,
            tree,
            rules,
            players,
            disk: tree::picture(&backing),
            backing,
            world,
            steps: 0,
            history: Vec::new(),
        };
        for _ in 0..6 {
            run.change_rules();
        }
        Some(run)
    }

    /// One call, or sometimes a change of the rules.
    pub fn step(&mut self) {
        self.steps += 1;
        if self.random.once_in(15) {
            self.change_rules();
        }
        if self.random.once_in(80) {
            self.look_around();
        }
        let player = self.random.below(self.players.len());
        self.forget_what_is_gone();
        if self.random.once_in(20) {
            self.hold_directory(player);
        }
        let bases = self.directories(player);
        let holds = Holds {
            directories: &bases,
            files: self.players[player].files.len(),
        };
        let call = choose::call(&mut self.random, &self.tree, &holds);
        if call.spots.is_empty() {
            self.call_on_files(player, &call);
        } else {
            self.call_on_paths(player, &call);
        }
    }

    /// What those who do not see something are told about it.
    pub fn look_around(&mut self) {
        secrets::look_around(self);
    }

    /// Ends the test, with what one needs to make it happen again.
    pub fn fail(&self, what: &str) -> ! {
        // Who names a seed wants to see all of it.
        let last = if std::env::var_os("LENDFS_MODEL_SEED").is_some() {
            self.history.len()
        } else {
            30
        };
        let history = self.history[self.history.len().saturating_sub(last)..].join("\n");
        panic!(
            "{history}\nLENDFS_MODEL_SEED={} fails at step {}: {what}",
            self.seed, self.steps
        );
    }

    pub fn note(&mut self, what: String) {
        self.history.push(what);
    }

    fn call_on_paths(&mut self, player: usize, call: &Call) {
        let held = self.directories(player);
        let bases: Vec<Names> = call
            .spots
            .iter()
            .map(|spot| spot.held.map_or_else(Vec::new, |held_at| held[held_at].clone()))
            .collect();
        let user = self.players[player].user;
        let sight = self.rules.sight(&self.tree, user);
        // A folder that is not seen has no name in the top directory.
        let below_top = call.spots.iter().any(|spot| spot.held.is_none());
        let expected = if below_top && !sight.at(&Vec::new()).sees() {
            Some(Err(nix::errno::Errno::ENOENT))
        } else {
            expect::by_path(&sight, call, &bases)
        };
        drop(sight);
        let Some(expected) = expected else { return };
        let paths: Vec<Names> = call
            .spots
            .iter()
            .zip(&bases)
            .map(|(spot, base)| [&base[..], &spot.names[..]].concat())
            .collect();
        // What a program made or moved itself it may remove under edit; that has tests of its own.
        let own = |path: &Names| {
            let id = self.tree.find(path);
            id.is_some_and(|id| self.players[player].own.contains(&id))
        };
        if matches!(expected, Err(nix::errno::Errno::EPERM)) && paths.iter().any(own) {
            return;
        }
        let players = &self.players[player];
        let targets = call
            .spots
            .iter()
            .map(|spot| players.path(spot.held, &spot.names))
            .collect();
        let (answer, reply) = self.perform(player, call, &paths, targets, Vec::new());
        self.compare(user, call, &paths, &expected, &answer, &reply);
        if expected.is_ok() {
            apply::by_path(&mut self.tree, &mut self.rules, user, &call.what, &paths);
            let named = if call.what.names() { paths.last() } else { None };
            self.players[player]
                .own
                .extend(named.and_then(|path| self.tree.find(path)));
        }
        self.check_disk();
        if let Reply::Opened(file) = reply {
            self.hold(player, &call.what, &paths[0], file);
        }
    }

    fn call_on_files(&mut self, player: usize, call: &Call) {
        let holder = &self.players[player];
        let held: Vec<HeldFile> = call.files.iter().map(|&at| holder.files[at].0.clone()).collect();
        let held: Vec<&HeldFile> = held.iter().collect();
        let files = call
            .files
            .iter()
            .map(|&at| Arc::clone(&holder.files[at].1))
            .collect();
        let user = holder.user;
        let sight = self.rules.sight(&self.tree, user);
        let expected = expect::by_file(&sight, &call.what, &held);
        let Some(expected) = expected else { return };
        let paths: Vec<_> = held.iter().map(|file| file.path.clone()).collect();
        let (answer, reply) = self.perform(player, call, &paths, Vec::new(), files);
        // Without a mount's own change the kernel may show content of some milliseconds ago.
        let reply = if call.what == What::HeldRead {
            Reply::Nothing
        } else {
            reply
        };
        self.compare(user, call, &paths, &expected, &answer, &reply);
        if expected.is_ok() {
            apply::by_file(&mut self.tree, &call.what, &held);
        }
        self.check_disk();
    }

    /// Makes a call, and holds the viewer and the editor to what was promised of them, whatever the call was.
    fn perform(
        &mut self, player: usize, call: &Call, paths: &[Names], targets: Vec<PathBuf>, files: Vec<Arc<File>>,
    ) -> (String, Reply) {
        let what = call.what.clone();
        let (answer, reply) = self.players[player]
            .session
            .run(move || perform(&what, &targets, &files));
        let user = self.players[player].user;
        let before = std::mem::replace(&mut self.disk, tree::picture(&self.backing));
        let after = &self.disk;
        let paths: Vec<_> = paths.iter().map(|path| path.join("/")).collect();
        self.history
            .push(format!("{}: {:?} {paths:?}: {answer}", user.name, call.what));
        let most = if user == OLGA {
            Level::Admin
        } else {
            self.rules.most(user)
        };
        // A file may get another name.
        let left = match call.what {
            What::Rename(_) if answer == "ok" => &paths[..1],
            _ => &[],
        };
        if most <= Level::View && before != *after {
            self.fail("a viewer changed something");
        }
        if most <= Level::Edit
            && let Some(name) = before
                .keys()
                .find(|name| !after.contains_key(*name) && !left.contains(name))
        {
            self.fail(&format!("an editor made {name} vanish"));
        }
        secrets::search(self, user, &reply.bytes());
        (answer, reply)
    }

    fn compare(
        &self, user: User, call: &Call, paths: &[Names], expected: &Result<Reply, nix::errno::Errno>,
        answer: &str, reply: &Reply,
    ) {
        let word = match expected {
            Ok(_) => "ok".to_owned(),
            Err(errno) => format!("{errno:?}"),
        };
        let asked = format!("{}: {:?} at {paths:?}", user.name, call.what);
        if word != answer {
            self.fail(&format!("{asked}: expected {word}, and it was {answer}"));
        }
        let same = match (expected, reply) {
            (Ok(Reply::Bytes(expected)), Reply::Bytes(told)) => expected == told,
            (Ok(Reply::Names(expected)), Reply::Names(told)) => expected == told,
            (Ok(Reply::Told(expected)), Reply::Told(told)) => {
                let directory = expected.mode & libc::S_IFMT == libc::S_IFDIR;
                // What a directory takes on the disk is the disk's affair, where it is shown.
                expected.mode == told.mode
                    && expected.links == told.links
                    && (expected.size == told.size || directory && expected.size != 0)
            }
            _ => true,
        };
        if !same {
            self.fail(&format!("{asked}: expected {expected:?}, and it told {reply:?}"));
        }
    }

    fn check_disk(&self) {
        let disk = &self.disk;
        let model = self.tree.picture();
        if model != *disk {
            let differs = |name: &&String| model.get(*name) != disk.get(*name);
            let names: Vec<_> = model.keys().chain(disk.keys()).filter(differs).collect();
            let shown = names.iter().map(|name| {
                format!(
                    "{name}: expected {:?}, and there is {:?}",
                    model.get(*name),
                    disk.get(*name)
                )
            });
            let shown: Vec<_> = shown.collect();
            self.fail(&format!("the disk is not as expected: {}", shown.join("\n")));
        }
    }

    fn hold(&mut self, player: usize, what: &What, path: &Names, file: Arc<File>) {
        let (read, write) = match what {
            What::Open { read, write, .. } => (*read, *write),
            _ => (false, true),
        };
        let inode = self.tree.find(path).unwrap();
        let holder = &mut self.players[player];
        if self.tree.is_directory(inode) || holder.files.len() == HELD {
            return;
        }
        let path = path.clone();
        let held = HeldFile {
            inode,
            path,
            read,
            write,
            cut: false,
        };
        holder.files.push((held, file));
    }

    /// What has lost its name, or has it no more without interruption, has no certain answer any more.
    fn forget_what_is_gone(&mut self) {
        for player in &mut self.players {
            let tree = &self.tree;
            player
                .files
                .retain(|(held, _)| tree.find(&held.path) == Some(held.inode));
            player.directories.retain(|(id, _)| tree.path_of(*id).is_some());
        }
    }

    /// The paths of the directories that a player holds open.
    fn directories(&self, player: usize) -> Vec<Names> {
        let held = self.players[player].directories.iter();
        held.map(|(id, _)| self.tree.path_of(*id).unwrap()).collect()
    }

    fn hold_directory(&mut self, player: usize) {
        let paths: Vec<_> = self.tree.paths();
        let (path, id) = self.random.one_of(&paths).clone();
        let holder = &self.players[player];
        let sight = self.rules.sight(&self.tree, holder.user);
        if !self.tree.is_directory(id) || holder.directories.len() == HELD || !expect::reaches(&sight, &path)
        {
            return;
        }
        let at = holder.path(None, &path);
        let opened = holder.session.run(move || {
            let mut options = File::options();
            let flags = libc::O_PATH | libc::O_DIRECTORY;
            std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags);
            options.read(true).open(at)
        });
        match opened {
            Ok(file) => self.players[player].directories.push((id, Arc::new(file))),
            Err(error) => self.fail(&format!("{path:?} cannot be held: {error}")),
        }
    }

    /// Runs a command of the owner's.
    fn must(&mut self, line: &str) {
        self.note(line.to_owned());
        let output = self.world.lendfs(OLGA, line);
        if !output.status.success() {
            self.fail(&String::from_utf8_lossy(&output.stderr));
        }
    }

    /// The owner writes or takes away a rule.
    fn change_rules(&mut self) {
        self.forget_what_is_gone();
        self.change_a_rule();
        for player in &mut self.players {
            let sight = self.rules.sight(&self.tree, player.user);
            cut(&sight, &mut player.files);
        }
    }

    fn change_a_rule(&mut self) {
        let rules = self.rules.rules();
        let names = [BOB.name, CARA.name, DAN.name, TEAM];
        if rules.len() > 4 && self.random.once_in(2) {
            let (path, principal) = self.random.one_of(&rules).clone();
            let of = names
                .into_iter()
                .find(|of| super::rules::principal(of) == principal)
                .unwrap();
            let place = format!("tests/{}", path.join("/"));
            self.must(&format!("unpermit {place} --for {of}"));
            self.rules.remove(&path, LineKind::Rule, of);
            return;
        }
        let of = *self.random.one_of(&names);
        // Cara never has more than view, and Bob never more than edit: more was promised of them.
        let levels = match of {
            name if name == CARA.name => &Level::ALL[..3],
            name if name == DAN.name => &Level::ALL[..5],
            _ => &Level::ALL[..4],
        };
        let level = *self.random.one_of(levels);
        // Only what has a name that nobody guesses is hidden.
        let hideable = |path: &Names| path.last().is_some_and(|name| secrets::is_secret(name));
        // Above or below where a rule stands already, there is more to be decided.
        let ruled = rules
            .get(self.random.below(rules.len().max(1) * 2))
            .map(|(path, _)| path.clone());
        let near = |path: &Names| {
            let ruled = ruled.as_deref();
            ruled.is_none_or(|ruled| path.starts_with(ruled) || ruled.starts_with(path))
        };
        let mut paths: Vec<Names> = self
            .tree
            .paths()
            .into_iter()
            .skip(1)
            .map(|(path, _)| path)
            .collect();
        paths.retain(|path| near(path) && (level != Level::Invisible || hideable(path)));
        if paths.is_empty() {
            return;
        }
        let path = self.random.one_of(&paths).clone();
        let place = format!("tests/{}", path.join("/"));
        self.must(&format!("permit {place} --for {of} {level}"));
        self.rules.write(&self.tree, &path, LineKind::Rule, of, level);
    }
}

impl Player {
    /// Where a path is for him.
    pub fn path(&self, held: Option<usize>, names: &[String]) -> PathBuf {
        let names: PathBuf = names.iter().collect();
        match held {
            None if names.as_os_str().is_empty() => self.at.clone(),
            None => self.at.join(names),
            Some(held) => {
                let fd = std::os::fd::AsRawFd::as_raw_fd(&*self.directories[held].1);
                Path::new("/proc/self/fd").join(fd.to_string()).join(names)
            }
        }
    }
}

/// Files with random content and directories, some with names that nobody guesses.
fn plant_tree(random: &mut Random, tree: &mut Tree, backing: &Path) {
    let mut directories: Vec<Names> = vec![Vec::new()];
    for number in 0..26 {
        let parent = random.one_of(&directories).clone();
        let name = if random.once_in(2) {
            random.secret()
        } else {
            format!("entry-{number}")
        };
        let path = [&parent[..], &[name]].concat();
        let at = backing.join(path.join("/"));
        if parent.len() < 3 && random.once_in(3) {
            std::fs::create_dir(at).unwrap();
            tree.make(&path, Kind::Directory(BTreeMap::new()), 0o755, OLGA.uid);
            directories.push(path);
        } else {
            let content = random.secret().into_bytes();
            std::fs::write(at, &content).unwrap();
            tree.make(&path, Kind::File(content), 0o644, OLGA.uid);
        }
    }
    plant(backing, &[]);
    let mode = std::os::unix::fs::MetadataExt::mode(&backing.metadata().unwrap());
    tree.get_mut(tree::ROOT).mode = mode & 0o7777;
}
