//! The watcher against the kernel. What others do is done by other processes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use super::*;
use crate::backing::{Entry, FileHandle, NameChange, open_root};
use crate::vfs::Custody;

/// What is told later than this is told too late: a machine that is full included.
const PATIENCE: Duration = Duration::from_secs(10);

struct World {
    scratch: tempfile::TempDir,
    /// The handle of `scratch`: elsewhere on its file system others are busy.
    at: FileHandle,
    backing: Arc<Backing>,
    watcher: Watcher,
    told: Receiver<(Instant, Batch)>,
}

impl World {
    /// `None` where there is no fanotify.
    fn new() -> Option<Self> {
        let scratch = tempfile::tempdir().unwrap();
        let backing = backing(scratch.path());
        let (sender, told) = channel();
        let watcher = Watcher::start(
            None,
            Box::new(move |batch| {
                let _ = sender.send((Instant::now(), batch));
            }),
        );
        if watcher.watch.is_none() {
            println!("SKIP: no fanotify");
            return None;
        }
        let at = crate::backing::handle(backing.root().unwrap()).unwrap().unwrap();
        let world = Self {
            scratch,
            at,
            backing,
            watcher,
            told,
        };
        world.follow(true);
        assert!(world.backing.is_watched());
        Some(world)
    }

    fn follow(&self, watched: bool) {
        self.watcher
            .follow([&self.backing].into_iter().filter(|_| watched));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn is_named(&self, change: &Change, wanted: &str) -> bool {
        matches!(change, Change::Name { entry, kind: NameChange::Created, .. } if self.is(entry, wanted))
    }

    fn is_content_of(&self, change: &Change, wanted: &str) -> bool {
        matches!(change, Change::Content(Changed { entry: Some(entry), .. }) if self.is(entry, wanted))
    }

    fn is(&self, entry: &Entry, wanted: &str) -> bool {
        entry.directory == self.at && &*entry.name == wanted.as_bytes()
    }

    fn begin(&self, script: &str) -> Child {
        Command::new("sh")
            .args(["-ec", script])
            .current_dir(self.scratch.path())
            .spawn()
            .unwrap()
    }

    fn shell(&self, script: &str) {
        assert!(self.begin(script).wait().unwrap().success(), "{script}");
    }

    /// All that is told until one is found.
    #[track_caller]
    fn told_until(&self, is_last: impl Fn(&Change) -> bool) -> Vec<Change> {
        let deadline = Instant::now() + PATIENCE;
        let mut told = Vec::new();
        while let Ok((_, batch)) = self
            .told
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            told.extend(batch.changes().cloned());
            if told.iter().any(&is_last) {
                return told;
            }
        }
        panic!("not told within {PATIENCE:?}: {told:#?}");
    }
}

fn backing(at: &Path) -> Arc<Backing> {
    Arc::new(Backing::new(open_root(at).unwrap(), Custody::Managed).unwrap())
}

#[test]
fn what_others_do_is_told_and_each_thing_once() {
    let Some(world) = World::new() else { return };
    world.shell("echo > one; for i in $(seq 100); do echo more >> one; done; echo > two");
    let told = world.told_until(|change| world.is_named(change, "two"));
    assert!(told.iter().any(|change| world.is_named(change, "one")));
    assert!(told.iter().any(|change| world.is_content_of(change, "one")));
    let often = told
        .iter()
        .filter(|change| world.is_content_of(change, "one"))
        .count();
    assert!(often < 100, "{often}");
}

#[test]
fn a_file_that_is_written_all_the_time_is_told_of_again_and_again_to_the_end() {
    let Some(world) = World::new() else { return };
    let file = world.path("file");
    // Each line is a write of its own.
    let mut writer = world.begin("i=0; while [ $i -lt 100000 ]; do echo $i; i=$((i+1)); done > file");
    let (mut seen, mut times) = (0, Vec::new());
    let deadline = Instant::now() + 3 * PATIENCE;
    let ended = loop {
        let ended = writer.try_wait().unwrap().map(|_| file.metadata().unwrap().len());
        if ended.is_some_and(|length| length == seen) {
            break ended;
        }
        assert!(Instant::now() < deadline, "the last writes are not told");
        let Ok((at, batch)) = world.told.recv_timeout(PATIENCE) else {
            continue;
        };
        if batch.changes().any(|change| world.is_content_of(change, "file")) {
            times.push(at);
            // At least so long it was when it was told.
            seen = file.metadata().unwrap().len();
        }
    };
    assert!(ended.is_some_and(|length| length > 100_000));
    let took = *times.last().unwrap() - times[0];
    let most = took.as_millis() / BATCH.as_millis() + 2;
    assert!(
        (times.len() as u128) <= most,
        "told {} times in {took:?}",
        times.len()
    );
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(
        longest < Duration::from_secs(1),
        "nothing was told for {longest:?}"
    );
}

#[test]
fn nothing_is_told_of_what_is_watched_no_more() {
    let Some(world) = World::new() else { return };
    world.follow(false);
    world.shell("echo > unseen");
    world.follow(true);
    world.shell("echo > last");
    let told = world.told_until(|change| world.is_named(change, "last"));
    assert!(!told.iter().any(|change| world.is_named(change, "unseen")));
}

#[test]
fn a_file_system_that_refuses_is_told_apart_from_those_that_do_not() {
    let Some(world) = World::new() else { return };
    world.shell("mkdir lower upper work at");
    let at = world.path("at");
    let options = "lowerdir=lower,upperdir=upper,workdir=work";
    let mounted = Command::new("mount")
        .args(["-t", "overlay", "overlay", "-o", options, "at"])
        .current_dir(world.scratch.path())
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return println!("SKIP: no overlayfs");
    }
    let overlay = backing(&at);
    nix::mount::umount2(&at, nix::mount::MntFlags::MNT_DETACH).unwrap();
    world.watcher.follow([&world.backing, &overlay].into_iter());
    assert!(world.backing.is_watched() && !overlay.is_watched());
    let both = [(FolderId(1), &world.backing), (FolderId(2), &overlay)];
    let reports = world.watcher.report(both.into_iter());
    assert_eq!(
        reports
            .iter()
            .map(|report| (report.folder, report.refused.is_none()))
            .collect::<Vec<_>>(),
        [(FolderId(1), true), (FolderId(2), false)]
    );
}

#[test]
fn what_is_not_watched_at_present_is_reported_as_it_would_be() {
    let Some(world) = World::new() else { return };
    world.follow(false);
    let reports = world.watcher.report([(FolderId(1), &world.backing)].into_iter());
    assert_eq!(
        reports,
        [WatchReport {
            folder: FolderId(1),
            refused: None
        }]
    );
    world.shell("echo > unseen");
    world.follow(true);
    world.shell("echo > last");
    let told = world.told_until(|change| world.is_named(change, "last"));
    assert!(
        !told.iter().any(|change| world.is_named(change, "unseen")),
        "it was only tried"
    );
}

#[test]
fn the_thread_ends_with_the_watcher() {
    let Some(world) = World::new() else { return };
    drop(world.watcher);
    // The sink, and with it the sender, goes with the thread.
    let deadline = Instant::now() + PATIENCE;
    while world
        .told
        .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        .is_ok()
    {}
    assert!(Instant::now() < deadline, "it runs on");
}

#[test]
fn a_batch_that_grows_without_end_becomes_everything() {
    let change = |number: usize| Change::Name {
        file_system: crate::backing::file_system(open_root(Path::new("/")).unwrap()).unwrap(),
        entry: Entry {
            directory: FileHandle::from_bytes(&[0; 12]).unwrap(),
            name: number.to_string().into_bytes().into(),
        },
        target: None,
        is_directory: false,
        kind: NameChange::Created,
    };
    let mut batch = Batch::default();
    assert!(batch.is_empty());
    for number in 0..100 {
        batch.add(change(number % 10));
    }
    assert_eq!(batch.changes().count(), 10);
    let mut other = Batch::default();
    other.add(change(11));
    other.merge(batch.clone());
    assert_eq!(other.changes().count(), 11);
    batch.add(Change::Overflow);
    batch.add(change(12));
    assert!(batch.is_everything() && batch.changes().count() == 0);
    other.merge(batch.clone());
    assert!(other.is_everything() && !other.is_empty());
    let mut endless = Batch::default();
    for number in 0..=MOST {
        endless.add(change(number));
    }
    assert!(endless.is_everything());
}
