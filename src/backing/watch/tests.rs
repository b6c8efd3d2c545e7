//! Against the kernel, on the file systems of this machine: what others do is told, and by the handles that
//! [`handle`](crate::backing::handle()) gives.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;
use crate::backing::{handle, open_root};

/// How long the kernel may take to tell, in which there is nothing to wait for but it.
const PATIENCE: Duration = Duration::from_secs(10);

fn watch() -> Option<Watch> {
    match Watch::new() {
        Ok(watch) => Some(watch),
        Err(error) => {
            println!("SKIP: no fanotify: {error}");
            None
        }
    }
}

/// A directory on each kind of file system that there is here.
struct Places {
    directories: Vec<tempfile::TempDir>,
    _images: Vec<Image>,
}

/// A file system in a file, mounted.
struct Image {
    at: PathBuf,
    _directory: tempfile::TempDir,
}

impl Places {
    fn find() -> Self {
        let images: Vec<_> = ["xfs", "btrfs"].into_iter().filter_map(Image::mount).collect();
        let mut directories = vec![tempfile::tempdir().unwrap()];
        directories.extend(tempfile::tempdir_in("/dev/shm"));
        directories.extend(
            images
                .iter()
                .map(|image| tempfile::tempdir_in(&image.at).unwrap()),
        );
        Self {
            directories,
            _images: images,
        }
    }

    fn each(&self) -> impl Iterator<Item = &Path> {
        self.directories.iter().map(tempfile::TempDir::path)
    }
}

impl Image {
    fn mount(kind: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let (file, at) = (directory.path().join("image"), directory.path().join("at"));
        std::fs::File::create(&file).unwrap().set_len(320 << 20).unwrap();
        std::fs::create_dir(&at).unwrap();
        let ran = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
        let mounted = ran(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&file))
            && ran(Command::new("mount").args(["-o", "loop"]).args([&file, &at]));
        if !mounted {
            println!("SKIP: no {kind}");
        }
        mounted.then_some(Self {
            at,
            _directory: directory,
        })
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.at, nix::mount::MntFlags::MNT_DETACH);
    }
}

/// Lets another process do something in a directory.
fn shell(directory: &Path, script: &str) {
    let done = Command::new("sh")
        .args(["-ec", script])
        .current_dir(directory)
        .status()
        .unwrap();
    assert!(done.success(), "{script}");
}

/// All that is told until one is found; the file system may be busy with other things.
#[track_caller]
fn told_until(watch: &Watch, is_last: impl Fn(&Change) -> bool) -> Vec<Change> {
    let deadline = Instant::now() + PATIENCE;
    let (mut buffer, mut told) = (vec![0; 65_536], Vec::new());
    while Instant::now() < deadline {
        while let Some(changes) = watch.read(&mut buffer).unwrap() {
            told.extend(changes);
        }
        if told.iter().any(&is_last) {
            return told;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap();
        poll(&mut [PollFd::new(watch.as_fd(), PollFlags::POLLIN)], timeout).unwrap();
    }
    panic!("not told within {PATIENCE:?}: {told:#?}");
}

fn named(change: &Change, wanted: &str) -> bool {
    matches!(change, Change::Name { entry, .. } if &*entry.name == wanted.as_bytes())
}

fn handle_of(path: &Path) -> FileHandle {
    let file = nix::fcntl::open(
        path,
        nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_NOFOLLOW,
        nix::sys::stat::Mode::empty(),
    );
    handle(file.unwrap()).unwrap().unwrap()
}

/// The changes in one directory, without those of the names that end the wait.
fn in_directory(told: Vec<Change>, directory: &FileHandle) -> Vec<Change> {
    let mut here: Vec<_> = told
        .into_iter()
        .filter(|change| match change {
            Change::Name { entry, .. } => entry.directory == *directory && &*entry.name != b"last",
            Change::Content(changed) | Change::Attributes(changed) => {
                changed.file == *directory
                    || changed
                        .entry
                        .as_ref()
                        .is_some_and(|entry| entry.directory == *directory && &*entry.name != b"last")
            }
            Change::Overflow => true,
        })
        .collect();
    here.dedup();
    here
}

#[test]
fn what_another_process_does_is_told_by_the_handles_that_this_one_knows() {
    let Some(watch) = watch() else { return };
    let places = Places::find();
    for directory in places.each() {
        let root = open_root(directory).unwrap();
        watch.add(&root).unwrap();
        let (at, file_system) = (handle(&root).unwrap().unwrap(), file_system(&root).unwrap());
        let entry = |name: &str| Entry {
            directory: at.clone(),
            name: name.as_bytes().into(),
        };
        let changed = |name: &str| Changed {
            file_system,
            file: handle_of(&directory.join(name)),
            entry: Some(entry(name)),
        };
        let expect = |script: &str, expected: &dyn Fn() -> Vec<Change>| {
            shell(directory, &format!("{script}; rm -f last; : > last"));
            let told = in_directory(told_until(&watch, |change| named(change, "last")), &at);
            let expected = expected();
            assert!(
                expected.iter().all(|wanted| told.contains(wanted)),
                "{} {script}: {expected:#?} not all in {told:#?}",
                directory.display()
            );
            while watch.read(&mut [0; 65_536]).unwrap().is_some() {}
        };
        let name = |name: &str, leads_to: Option<&FileHandle>, is_directory, kind| Change::Name {
            file_system,
            entry: entry(name),
            target: leads_to.cloned(),
            is_directory,
            kind,
        };
        expect(": > file", &|| {
            let file = handle_of(&directory.join("file"));
            vec![name("file", Some(&file), false, NameChange::Created)]
        });
        expect("mkdir sub", &|| {
            let sub = handle_of(&directory.join("sub"));
            vec![name("sub", Some(&sub), true, NameChange::Created)]
        });
        expect("echo more >> file", &|| vec![Change::Content(changed("file"))]);
        expect("chmod 600 file", &|| vec![Change::Attributes(changed("file"))]);
        expect("chmod 700 .", &|| {
            vec![Change::Attributes(Changed {
                file_system,
                file: at.clone(),
                entry: None,
            })]
        });
        expect("mv file other", &|| {
            let file = handle_of(&directory.join("other"));
            vec![
                name("file", Some(&file), false, NameChange::MovedFrom),
                name("other", Some(&file), false, NameChange::MovedTo),
            ]
        });
        let other = handle_of(&directory.join("other"));
        expect("mv other sub/other", &|| {
            vec![name("other", Some(&other), false, NameChange::MovedFrom)]
        });
        let sub = handle_of(&directory.join("sub"));
        expect("rm -r sub", &|| {
            vec![name("sub", Some(&sub), true, NameChange::Deleted)]
        });
        watch.remove(&root).unwrap();
    }
}

#[test]
fn what_this_process_does_itself_is_not_told() {
    let Some(watch) = watch() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let root = open_root(scratch.path()).unwrap();
    watch.add(&root).unwrap();
    std::fs::write(scratch.path().join("own"), "content").unwrap();
    shell(scratch.path(), ": > last");
    let told = told_until(&watch, |change| named(change, "last"));
    let at = handle(&root).unwrap().unwrap();
    assert_eq!(in_directory(told, &at), []);
}

#[test]
fn what_is_written_to_a_file_is_not_told_while_it_is_ignored() {
    let Some(watch) = watch() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let root = open_root(scratch.path()).unwrap();
    watch.add(&root).unwrap();
    shell(scratch.path(), ": > file; : > last");
    told_until(&watch, |change| named(change, "last"));
    let file = crate::backing::open_path(&root, &crate::backing::Name::new("file").unwrap()).unwrap();
    let at = handle(&root).unwrap().unwrap();
    let tells = || {
        shell(scratch.path(), "echo more >> file; rm last; : > last");
        let told = told_until(&watch, |change| named(change, "last"));
        in_directory(told, &at)
            .iter()
            .any(|change| matches!(change, Change::Content(_)))
    };
    assert!(tells());
    watch.ignore_content(&file).unwrap();
    assert!(!tells());
    assert!(!tells(), "it holds for more than one write");
    watch.heed_content(&file).unwrap();
    assert!(tells());
}

#[test]
fn a_queue_that_ran_over_is_told() {
    let read = record::tests::record(libc::FAN_Q_OVERFLOW, 77, &[]);
    assert_eq!(changes(&read, [77, 0]).collect::<Vec<_>>(), [Change::Overflow]);
}

#[test]
fn one_s_own_records_are_left_out() {
    let about = [record::tests::info(libc::FAN_EVENT_INFO_TYPE_FID, b"file", None)];
    let read = [77, 78]
        .map(|pid| record::tests::record(libc::FAN_MODIFY, pid, &about))
        .concat();
    assert_eq!(changes(&read, [77, 0]).count(), 1);
}

#[test]
fn an_overlay_is_refused_and_says_so() {
    let Some(watch) = watch() else { return };
    let scratch = tempfile::tempdir().unwrap();
    shell(scratch.path(), "mkdir lower upper work at");
    let at = scratch.path().join("at");
    let options = "lowerdir=lower,upperdir=upper,workdir=work";
    let mounted = Command::new("mount")
        .args(["-t", "overlay", "overlay", "-o", options, "at"])
        .current_dir(scratch.path())
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return println!("SKIP: no overlayfs");
    }
    let refused = watch.add(open_root(&at).unwrap());
    nix::mount::umount2(&at, nix::mount::MntFlags::MNT_DETACH).unwrap();
    let error = refused.unwrap_err().raw_os_error();
    assert!(
        [Some(libc::EOPNOTSUPP), Some(libc::EXDEV), Some(libc::ENODEV)].contains(&error),
        "{error:?}"
    );
}
