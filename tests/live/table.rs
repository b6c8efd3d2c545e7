//! The table of levels and system calls in README.md, row by row, on a live mount.

use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, open, renameat2};
use nix::sys::stat::{Mode, SFlag};
use nix::unistd::AccessFlags;

use crate::common::{BOB, CARA, World, plant, word};

const LEVELS: [&str; 5] = ["invisible", "locked", "view", "edit", "full"];

/// Makes the call of a row on what it needs in a directory, fresh for each row.
fn call(row: &str, at: &Path) -> String {
    let (file, sub, link) = (at.join("file"), at.join("sub"), at.join("link"));
    let (other, new) = (at.join("other"), at.join("new"));
    let opened = |path: &Path, flags| word(open(path, flags, Mode::empty()));
    let access = |mode| word(nix::unistd::access(&file, mode));
    let rename = |from: &Path, to: &Path, flags| word(renameat2(AT_FDCWD, from, AT_FDCWD, to, flags));
    match row {
        "stat of the directory" => word(at.symlink_metadata()),
        "readdir" => word(std::fs::read_dir(at)),
        "stat" => word(file.symlink_metadata()),
        "statfs" => word(nix::sys::statvfs::statvfs(&file)),
        "access(R_OK)" => access(AccessFlags::R_OK),
        "access(W_OK)" => access(AccessFlags::W_OK),
        "open(O_RDONLY)" => opened(&file, OFlag::O_RDONLY),
        "readlink" => word(std::fs::read_link(&link)),
        "getxattr, listxattr" => same(
            word(xattr::get(&file, "user.note")),
            word(xattr::list(&file).map(drop)),
        ),
        "execve" => word(std::process::Command::new(&file).output()).replace("ENOEXEC", "ok"),
        "open(O_WRONLY), open(O_RDWR)" => same(opened(&file, OFlag::O_WRONLY), opened(&file, OFlag::O_RDWR)),
        "open(O_RDONLY\\|O_TRUNC)" => opened(&file, OFlag::O_RDONLY | OFlag::O_TRUNC),
        "truncate" => word(nix::unistd::truncate(&file, 3)),
        "chmod" => word(std::fs::set_permissions(
            &file,
            std::os::unix::fs::PermissionsExt::from_mode(0o640),
        )),
        "utimensat" => {
            let time = std::time::SystemTime::UNIX_EPOCH;
            let times = nix::sys::time::TimeSpec::from_duration(time.elapsed().unwrap());
            word(nix::sys::stat::utimensat(
                AT_FDCWD,
                &file,
                &times,
                &times,
                nix::sys::stat::UtimensatFlags::NoFollowSymlink,
            ))
        }
        "setxattr, removexattr" => same(
            word(xattr::set(&file, "user.note", b"x")),
            word(xattr::remove(&file, "user.note")),
        ),
        "creat" => opened(&new, OFlag::O_WRONLY | OFlag::O_CREAT),
        "mkdir" => word(std::fs::create_dir(&new)),
        "symlink" => word(std::os::unix::fs::symlink("x", &new)),
        "mknod (file, FIFO, socket)" => {
            let made = |name: &str, kind| word(nix::sys::stat::mknod(&at.join(name), kind, Mode::S_IRWXU, 0));
            let one = same(made("n1", SFlag::S_IFREG), made("n2", SFlag::S_IFIFO));
            same(one, made("n3", SFlag::S_IFSOCK))
        }
        "link" => word(std::fs::hard_link(&file, &new)),
        "unlink" => word(std::fs::remove_file(&file)),
        "rmdir" => word(std::fs::remove_dir(&sub)),
        "rename of a file to a free name" => rename(&file, &new, RenameFlags::empty()),
        "rename of a directory" => rename(&sub, &new, RenameFlags::empty()),
        "rename to another directory" => rename(&file, &sub.join("file"), RenameFlags::empty()),
        "rename over another file" => rename(&file, &other, RenameFlags::empty()),
        "RENAME_NOREPLACE likewise" => rename(&file, &new, RenameFlags::RENAME_NOREPLACE),
        "RENAME_EXCHANGE" => rename(&file, &other, RenameFlags::RENAME_EXCHANGE),
        "rename to another folder" => {
            let elsewhere = at.ancestors().nth(3).unwrap().join("elsewhere/new");
            rename(&file, &elsewhere, RenameFlags::empty())
        }
        "chown to another" => word(std::os::unix::fs::chown(&file, Some(CARA.uid), None)),
        unknown => panic!("README.md has a row that no test knows: {unknown}"),
    }
}

/// Two calls of one row have to answer the same.
fn same(one: String, other: String) -> String {
    if one == other {
        one
    } else {
        format!("{one} and {other}")
    }
}

/// The rows of the table in README.md: the call and its five answers.
fn rows() -> Vec<(String, Vec<String>)> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    readme
        .lines()
        .skip_while(|line| !line.starts_with("| system call |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let line = line.replace("\\|", "\u{1}");
            let cells: Vec<_> = line
                .trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().replace('`', "").replace('\u{1}', "\\|"))
                .collect();
            (cells[0].clone(), cells[1..].to_vec())
        })
        .collect()
}

#[test]
fn every_row_of_the_readme_holds() {
    let Some(world) = World::new() else { return };
    let rows = rows();
    assert!(
        rows.len() > 25,
        "the table of README.md was not found: {} rows",
        rows.len()
    );
    let backing = world.folder("tests");
    plant(&world.folder("elsewhere"), &["x"]);
    world.share("elsewhere", BOB, "full");
    let directory = |row: usize, level: &str| PathBuf::from(format!("{level}/{row}"));
    for level in LEVELS {
        for row in 0..rows.len() {
            let at = backing.join(directory(row, level));
            plant(&at, &["file", "other", "sub/"]);
            std::os::unix::fs::symlink("file", at.join("link")).unwrap();
            std::fs::write(at.join("file"), "#!/bin/true\n").unwrap();
            std::fs::set_permissions(
                at.join("file"),
                std::os::unix::fs::PermissionsExt::from_mode(0o755),
            )
            .unwrap();
            xattr::set(at.join("file"), "user.note", b"n").unwrap();
        }
    }
    plant(&backing, &[]);
    world.share("tests", BOB, "view");
    let mount = world.mount(BOB).join("tests");
    for level in LEVELS {
        // The directories of the rows have the level themselves: what is above them stays in sight.
        for row in 0..rows.len() {
            let at = directory(row, level);
            world.permit(&format!("tests/{}", at.display()), BOB.name, level);
        }
    }
    let mut wrong = Vec::new();
    for (row, (name, expected)) in rows.iter().enumerate() {
        for (level, expected) in LEVELS.iter().zip(expected) {
            let at = mount.join(directory(row, level));
            let answer = BOB.run(|| call(name, &at));
            if answer != *expected {
                wrong.push(format!(
                    "{name} at {level}: README says {expected}, and it was {answer}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
