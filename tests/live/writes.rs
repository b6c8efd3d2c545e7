//! What a write takes from a file besides its content: setuid and setgid bits and capabilities go exactly as they
//! would in the bare directory, by each kind of write, and the user's own attributes stay.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::common::hand::Hand;
use crate::common::{BOB, CARA, OLGA, ROOT, SOON, User, World};

/// A way to write: what is done before the file is made what it is, and the write. `FILE` is it, `OTHER` another.
struct Way {
    name: &'static str,
    before: &'static str,
    write: &'static str,
}

const fn way(name: &'static str, before: &'static str, write: &'static str) -> Way {
    Way { name, before, write }
}

const WAYS: [Way; 22] = [
    way(
        "write",
        "",
        "fd = os.open(FILE, os.O_WRONLY); os.write(fd, b'new')",
    ),
    way(
        "pwrite",
        "",
        "fd = os.open(FILE, os.O_RDWR); os.pwrite(fd, b'new', 2)",
    ),
    way(
        "writev",
        "",
        "fd = os.open(FILE, os.O_WRONLY); os.writev(fd, [b'n', b'ew'])",
    ),
    way(
        "append",
        "",
        "fd = os.open(FILE, os.O_WRONLY | os.O_APPEND); os.write(fd, b'new')",
    ),
    way(
        "open with O_TRUNC",
        "",
        "fd = os.open(FILE, os.O_WRONLY | os.O_TRUNC)",
    ),
    way(
        "open to read with O_TRUNC",
        "",
        "fd = os.open(FILE, os.O_RDONLY | os.O_TRUNC)",
    ),
    way(
        "O_TRUNC and write",
        "",
        "fd = os.open(FILE, os.O_WRONLY | os.O_TRUNC); os.write(fd, b'new')",
    ),
    way("truncate", "", "os.truncate(FILE, 3)"),
    way("truncate to more", "", "os.truncate(FILE, 300)"),
    way(
        "ftruncate",
        "",
        "fd = os.open(FILE, os.O_RDWR); os.ftruncate(fd, 3)",
    ),
    way(
        "ftruncate to the same",
        "",
        "fd = os.open(FILE, os.O_RDWR); os.ftruncate(fd, os.fstat(fd).st_size)",
    ),
    way(
        "fallocate",
        "",
        "fd = os.open(FILE, os.O_RDWR); os.posix_fallocate(fd, 0, 300)",
    ),
    way(
        "copy_file_range",
        "",
        "fd = os.open(FILE, os.O_WRONLY); other = os.open(OTHER, os.O_RDONLY); os.copy_file_range(other, fd, 3)",
    ),
    way(
        "splice",
        "",
        "fd = os.open(FILE, os.O_WRONLY); out, into = os.pipe(); os.write(into, b'new'); os.splice(out, fd, 3)",
    ),
    way(
        "sendfile",
        "",
        "fd = os.open(FILE, os.O_WRONLY); other = os.open(OTHER, os.O_RDONLY); os.sendfile(fd, other, 0, 3)",
    ),
    way(
        "store",
        "",
        "fd = os.open(FILE, os.O_RDWR); map = mmap.mmap(fd, 0); map[0] = 65; map.flush(); map.close()",
    ),
    way(
        "O_DIRECT",
        "",
        "fd = os.open(FILE, os.O_RDWR | os.O_DIRECT); os.pwritev(fd, [mmap.mmap(-1, 4096)], 0)",
    ),
    way(
        "by a process that was given it",
        "",
        "fd = os.open(FILE, os.O_WRONLY); subprocess.run(['/bin/echo', 'new'], stdout=fd, check=True)",
    ),
    way(
        "by a handle of before",
        "fd = os.open(FILE, os.O_RDWR)",
        "os.pwrite(fd, b'new', 0)",
    ),
    way(
        "by a handle that has written before",
        "fd = os.open(FILE, os.O_RDWR); os.pwrite(fd, b'old', 0)",
        "os.pwrite(fd, b'new', 0)",
    ),
    way(
        "append by a handle that has written before",
        "fd = os.open(FILE, os.O_WRONLY | os.O_APPEND); os.write(fd, b'old')",
        "os.write(fd, b'new')",
    ),
    way(
        "by another handle than has written before",
        "held = os.open(FILE, os.O_RDWR); os.pwrite(held, b'old', 0)",
        "fd = os.open(FILE, os.O_WRONLY); os.write(fd, b'new')",
    ),
];

/// A kind of file: its mode, and whether it has a capability.
const KINDS: [(&str, u32, bool); 6] = [
    ("plain", 0o766, false),
    ("setuid", 0o4777, false),
    ("setgid", 0o2777, false),
    ("setgid that nobody of the group runs", 0o2767, false),
    ("both", 0o6777, false),
    ("capable", 0o777, true),
];

/// `cap_net_raw=p`, as `setcap(8)` writes it.
const CAPABILITY: [u8; 20] = [0, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// What a file is.
#[derive(PartialEq, Eq, Debug)]
struct Facts {
    answer: String,
    mode: u32,
    content: Vec<u8>,
    attributes: BTreeMap<String, Vec<u8>>,
}

/// A folder as somebody writes in it, next to a bare directory as the one writes in it on whose behalf that is done.
struct Side {
    name: &'static str,
    /// Where it is for the writer, and on the disk.
    at: PathBuf,
    disk: PathBuf,
    twin: PathBuf,
    owner: User,
    writer: Hand,
    twin_writer: Hand,
    /// The bits of the mode that are shown.
    shown: u32,
    writer_is_root: bool,
}

impl Side {
    /// Makes a file what it is to be.
    fn dress(&self, path: &Path, mode: u32, capable: bool) {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        if capable {
            xattr::set(path, "security.capability", &CAPABILITY).unwrap();
        }
    }

    fn make(&self, path: &Path) {
        std::fs::write(path, vec![b'o'; 5000]).unwrap();
        chown(path, Some(self.owner.uid), Some(self.owner.gid)).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
        xattr::set(path, "user.note", b"stays").unwrap();
    }

    /// Writes in both, and tells where they differ.
    fn compare(&mut self, way: &Way, (kind, mode, capable): (&str, u32, bool)) -> Option<String> {
        let name = format!("{} {kind}", way.name);
        let places = [
            (self.at.clone(), self.disk.clone()),
            (self.twin.clone(), self.twin.clone()),
        ];
        let mut facts = places.into_iter().enumerate().map(|(twin, (at, disk))| {
            let (file, other) = (disk.join(&name), disk.join(format!("{name} other")));
            self.make(&file);
            self.make(&other);
            let writer = if twin == 1 {
                &mut self.twin_writer
            } else {
                &mut self.writer
            };
            let line = |line: &str| {
                line.replace("FILE", &format!("{:?}", at.join(&name)))
                    .replace("OTHER", &format!("{:?}", at.join(format!("{name} other"))))
            };
            if !way.before.is_empty() {
                writer.must(&line(way.before));
            }
            // Known, and asked for its mode, before it becomes what it is.
            writer.must(&line("_ = os.stat(FILE)"));
            self.dress(&file, mode, capable);
            let writer = if twin == 1 {
                &mut self.twin_writer
            } else {
                &mut self.writer
            };
            let answer = writer.does(&line(way.write));
            let facts = Facts {
                answer,
                mode: file.metadata().unwrap().mode() & 0o7777,
                content: std::fs::read(&file).unwrap(),
                attributes: attributes(&file),
            };
            let expected = (facts.mode & if twin == 1 { 0o7777 } else { self.shown }).to_string();
            // What was made of it just before was made on the disk.
            let mut shown = String::new();
            let deadline = Instant::now() + SOON;
            while shown != expected && Instant::now() < deadline {
                shown = writer.does(&line("os.stat(FILE).st_mode & 0o7777"));
            }
            (facts, shown == expected, shown)
        });
        let (told, agrees, shown) = facts.next().unwrap();
        let (bare, ..) = facts.next().unwrap();
        drop(facts);
        if agrees && self.is_right(way, &told, &bare) {
            return None;
        }
        let shown = shown.parse::<u32>().map(|mode| format!("{mode:o}"));
        let of = |facts: &Facts| format!("{:o} {} {:?}", facts.mode, facts.answer, facts.attributes.keys());
        let side = self.name;
        Some(format!(
            "{side}: {name}: {}, shown {shown:?}; and bare {}",
            of(&told),
            of(&bare)
        ))
    }

    /// Whether a write did what a native one does.
    fn is_right(&self, way: &Way, told: &Facts, bare: &Facts) -> bool {
        let same = told.answer == bare.answer && told.content == bare.content;
        if same && granting(told.mode) == granting(bare.mode) && told.attributes == bare.attributes {
            return true;
        }
        // Natively a store takes nothing away; where it comes to the daemon as a write, that is one. And root
        // himself keeps natively what a write through a mount takes from everybody.
        let takes_more = way.name == "store" || self.writer_is_root;
        let nothing_left = told.mode == bare.mode & 0o777 && told.attributes.keys().eq(["user.note"]);
        takes_more && same && nothing_left
    }
}

/// The mode without a setgid bit that gives nobody anything: that of a file that its group does not run.
fn granting(mode: u32) -> u32 {
    if mode & 0o010 == 0 { mode & !0o2000 } else { mode }
}

fn attributes(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let names = xattr::list(path).unwrap().map(|name| name.into_string().unwrap());
    let names = names.filter(|name| name.starts_with("user.") || name == "security.capability");
    names
        .map(|name| (name.clone(), xattr::get(path, &name).unwrap().unwrap()))
        .collect()
}

/// A daemon whose state and whose adopted directories lie on a file system of this type, made for it.
fn on(kind: &str) -> Option<(World, PathBuf)> {
    let mut world = World::quiet()?;
    let (disk, image) = (world.dir.join("disk"), world.dir.join("image"));
    std::fs::create_dir(&disk).unwrap();
    std::fs::create_dir(world.state()).unwrap();
    let mounted = if kind == "tmpfs" {
        run("mount", &["-t", "tmpfs", "none", disk.to_str().unwrap()])
    } else {
        std::fs::File::create(&image).unwrap().set_len(400 << 20).unwrap();
        let (image, disk) = (image.to_str().unwrap(), disk.to_str().unwrap());
        run(&format!("mkfs.{kind}"), &["-q", image]) && run("mount", &["-o", "loop", image, disk])
    };
    if !mounted {
        assert!(
            std::env::var_os("LENDFS_TEST_MOUNTS").is_none_or(|value| value != "require"),
            "LENDFS_TEST_MOUNTS=require, but there is no file system of type {kind}"
        );
        println!("SKIP: cannot make and mount a file system of type {kind}");
        return None;
    }
    for name in ["state", "mine", "twins"] {
        std::fs::create_dir(disk.join(name)).unwrap();
    }
    let (state, at) = (disk.join("state"), world.state());
    assert!(run(
        "mount",
        &["--bind", state.to_str().unwrap(), at.to_str().unwrap()]
    ));
    world.start();
    Some((world, disk))
}

fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .status()
        .is_ok_and(|status| status.success())
}

fn sides(world: &World, disk: &Path) -> Vec<Side> {
    let managed = world.folder("managed");
    world.share("managed", BOB, "full");
    let adopted = disk.join("mine");
    chown(&adopted, Some(OLGA.uid), Some(OLGA.gid)).unwrap();
    world.ok(OLGA, &format!("create adopted --path {}", adopted.display()));
    world.share("adopted", BOB, "full");
    world.ok(ROOT, "create bare");
    let bare = world.state().join("folders/3");
    let open = world.fresh(ROOT);
    world.ok(
        ROOT,
        &format!("mount {} --admit all --default-permissions", open.display()),
    );
    let bob = world.mount(BOB);
    let of = [
        ("managed", bob.join("managed"), managed, (OLGA, BOB, BOB), 0o777),
        ("adopted", bob.join("adopted"), adopted, (OLGA, BOB, OLGA), 0o777),
        (
            "bare, by root",
            open.join("bare"),
            bare.clone(),
            (ROOT, ROOT, ROOT),
            0o7777,
        ),
        (
            "bare, by another",
            open.join("bare"),
            bare,
            (ROOT, CARA, CARA),
            0o7777,
        ),
    ];
    let sides = of
        .into_iter()
        .map(|(name, at, top, (owner, writer, twin_writer), shown)| {
            let twin = disk.join("twins").join(name);
            for directory in [&top.join(name), &twin] {
                std::fs::create_dir(directory).unwrap();
                chown(directory, Some(owner.uid), Some(owner.gid)).unwrap();
            }
            Side {
                name,
                at: at.join(name),
                disk: top.join(name),
                twin,
                owner,
                writer: Hand::new(writer),
                twin_writer: Hand::new(twin_writer),
                shown,
                writer_is_root: writer == ROOT,
            }
        });
    sides.collect()
}

fn each_write_on(kind: &str) {
    let Some((world, disk)) = on(kind) else { return };
    let mut wrong = Vec::new();
    for mut side in sides(&world, &disk) {
        for way in &WAYS {
            for kind in KINDS {
                wrong.extend(side.compare(way, kind));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} on {kind}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn each_write_takes_from_a_file_what_a_native_one_takes_on_ext4() {
    each_write_on("ext4");
}

#[test]
fn each_write_takes_from_a_file_what_a_native_one_takes_on_xfs() {
    each_write_on("xfs");
}

#[test]
fn each_write_takes_from_a_file_what_a_native_one_takes_on_tmpfs() {
    each_write_on("tmpfs");
}
