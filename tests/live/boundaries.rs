//! Renames, links and removals that would reach past a rule.

use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::common::{BOB, OLGA, World, names, plant, word};

/// A folder `tests` that Bob has in full, but for rules of his: the world, the backing directory, his mount of it.
fn full_but(entries: &[&str], rules: &[(&str, &str)]) -> Option<(World, PathBuf, PathBuf)> {
    let world = World::new()?;
    let backing = world.folder("tests");
    plant(&backing, entries);
    world.share("tests", BOB, "full");
    for (path, level) in rules {
        world.permit(&format!("tests/{path}"), BOB.name, level);
    }
    let mount = world.mount(BOB).join("tests");
    Some((world, backing, mount))
}

fn rename(from: &Path, to: &Path) -> String {
    BOB.run(|| word(std::fs::rename(from, to)))
}

fn exchange(one: &Path, other: &Path) -> String {
    BOB.run(|| {
        word(renameat2(
            AT_FDCWD,
            one,
            AT_FDCWD,
            other,
            RenameFlags::RENAME_EXCHANGE,
        ))
    })
}

#[test]
fn a_protected_file_is_not_replaced_exchanged_or_stepped_over() {
    let Some((_world, backing, at)) = full_but(
        &["mine", "read", "edit", "locked", "hidden"],
        &[
            ("read", "view"),
            ("edit", "edit"),
            ("locked", "locked"),
            ("hidden", "invisible"),
        ],
    ) else {
        return;
    };
    for (name, over, exchanged) in [
        ("read", "EACCES", "EACCES"),
        ("edit", "EPERM", "EPERM"),
        ("locked", "EACCES", "EACCES"),
        // To exchange, the kernel asks first whether it is there.
        ("hidden", "EACCES", "ENOENT"),
    ] {
        assert_eq!(
            rename(&at.join("mine"), &at.join(name)),
            over,
            "rename over {name}"
        );
        assert_eq!(
            exchange(&at.join("mine"), &at.join(name)),
            exchanged,
            "exchange with {name}"
        );
        let content = std::fs::read_to_string(backing.join(name)).unwrap();
        assert_eq!(content, format!("content of {name}\n"));
    }
    // The other way round it is gone before it is anything else.
    for (name, refusal) in [
        ("read", "EACCES"),
        ("edit", "EPERM"),
        ("locked", "EACCES"),
        ("hidden", "ENOENT"),
    ] {
        assert_eq!(
            rename(&at.join(name), &at.join("new")),
            refusal,
            "rename of {name}"
        );
        assert_eq!(
            exchange(&at.join(name), &at.join("mine")),
            refusal,
            "exchange of {name}"
        );
        assert_eq!(
            BOB.run(|| word(std::fs::remove_file(at.join(name)))),
            refusal,
            "unlink of {name}"
        );
    }
    let whiteout = BOB.run(|| {
        word(renameat2(
            AT_FDCWD,
            &at.join("mine"),
            AT_FDCWD,
            &at.join("white"),
            RenameFlags::RENAME_WHITEOUT,
        ))
    });
    // The kernel itself wants CAP_MKNOD first.
    assert!(["EINVAL", "EPERM"].contains(&&*whiteout), "{whiteout}");
}

#[test]
fn a_directory_with_something_protected_in_it_stays_where_it_is() {
    let Some((_world, backing, at)) = full_but(
        &["d/sub/read", "e/sub/hidden/x", "free/sub/x", "other/"],
        &[("d/sub/read", "view"), ("e/sub/hidden", "invisible")],
    ) else {
        return;
    };
    for name in ["d", "e", "d/sub", "e/sub"] {
        assert_eq!(rename(&at.join(name), &at.join("new")), "EACCES", "{name}");
        assert_eq!(rename(&at.join(name), &at.join("other/new")), "EACCES", "{name}");
        assert_eq!(exchange(&at.join(name), &at.join("free")), "EACCES", "{name}");
        assert_eq!(exchange(&at.join("free"), &at.join(name)), "EACCES", "{name}");
    }
    assert!(backing.join("d/sub/read").exists() && backing.join("e/sub/hidden/x").exists());
    assert_eq!(rename(&at.join("free"), &at.join("other/free")), "ok");
}

#[test]
fn a_directory_that_only_looks_empty_is_not_removed() {
    let Some((_world, backing, at)) = full_but(&["d/hidden", "e/"], &[("d/hidden", "invisible")]) else {
        return;
    };
    assert!(BOB.run(|| names(&at.join("d"))).is_empty());
    let remove = |name: &str| BOB.run(|| word(std::fs::remove_dir(at.join(name))));
    assert_eq!((remove("d"), remove("e")), ("EACCES".into(), "ok".into()));
    assert_eq!(rename(&at.join("d"), &at.join("new")), "EACCES");
    // Nor is it taken for an empty one that something may be put over.
    BOB.run(|| std::fs::create_dir(at.join("mine")).unwrap());
    assert_eq!(rename(&at.join("mine"), &at.join("d")), "EACCES");
    assert!(backing.join("d/hidden").exists());
}

#[test]
fn no_hard_link_crosses_a_boundary_of_anyone() {
    let Some((world, backing, at)) = full_but(
        &["file", "read/x", "hidden/x", "cara/x", "plain/x"],
        &[("read", "view"), ("hidden", "invisible")],
    ) else {
        return;
    };
    // A line of someone else is a boundary too: through the link he would have what he was not given.
    world.ok(OLGA, "permit tests/cara --for lft-cara edit");
    let link = |from: &str, to: &str| BOB.run(|| word(std::fs::hard_link(at.join(from), at.join(to))));
    assert_eq!(link("file", "plain/link"), "ok");
    assert_eq!(link("file", "cara/link"), "EXDEV");
    assert_eq!(link("cara/x", "link"), "EXDEV");
    assert_eq!(link("cara/x", "cara/link"), "ok");
    assert_eq!(link("read/x", "link"), "EACCES");
    assert_eq!(link("file", "read/link"), "EACCES");
    assert_eq!(link("hidden/x", "link"), "ENOENT");
    assert_eq!(link("file", "hidden/link"), "ENOENT");
    assert_eq!(link("file", "hidden"), "EACCES");
    assert!(!backing.join("hidden/link").exists() && !backing.join("read/link").exists());
}

#[test]
fn a_line_that_lowers_names_the_files_it_does_not_reach() {
    let Some((world, backing, _)) = full_but(&["secret/x", "secret/plain"], &[]) else {
        return;
    };
    std::fs::hard_link(backing.join("secret/x"), backing.join("x")).unwrap();
    let output = world.lendfs(OLGA, "permit tests/secret --for lft-bob invisible");
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(said.contains("secret/x") && !said.contains("plain"), "{said}");
    let checked = world.lendfs(crate::common::ROOT, "check");
    let checked = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.contains("secret/x"), "{checked}");
}

#[test]
fn a_symbolic_link_leads_only_where_its_reader_may_go() {
    let Some((world, backing, at)) = full_but(&["hidden/x", "open/x"], &[("hidden", "invisible")]) else {
        return;
    };
    let link = |to: &str, name: &str| BOB.run(|| std::os::unix::fs::symlink(to, at.join(name)).unwrap());
    link("hidden/x", "to-hidden");
    link("/proc/self/root/etc/shadow", "to-shadow");
    link("open", "to-open");
    let read = |name: &str| BOB.run(|| word(std::fs::read(at.join(name))));
    assert_eq!(
        (read("to-hidden"), read("to-shadow"), read("to-open/x")),
        ("ENOENT".into(), "EACCES".into(), "ok".into())
    );
    // The daemon itself follows none: neither for a line, nor where a directory is swapped for a link.
    let refused = world.refused(OLGA, "permit tests/to-open/x --for lft-bob view");
    assert!(refused.contains("to-open/x"), "{refused}");
    let directory = BOB.run(|| std::fs::File::open(at.join("open")).unwrap());
    std::fs::rename(backing.join("open"), backing.join("aside")).unwrap();
    std::os::unix::fs::symlink("/etc", backing.join("open")).unwrap();
    assert_eq!(BOB.run(|| names(&at.join("aside"))), ["x"]);
    let swapped = BOB.run(|| {
        word(nix::sys::stat::fstatat(
            &directory,
            "hostname",
            nix::fcntl::AtFlags::empty(),
        ))
    });
    assert_eq!(swapped, "ENOENT");
}

#[test]
fn nothing_goes_from_one_folder_to_another() {
    let Some((world, _, at)) = full_but(&["x", "d/"], &[]) else {
        return;
    };
    plant(&world.folder("second"), &["y"]);
    world.share("second", BOB, "full");
    let second = at.with_file_name("second");
    assert_eq!(rename(&at.join("x"), &second.join("x")), "EXDEV");
    assert_eq!(
        BOB.run(|| word(std::fs::hard_link(at.join("x"), second.join("x")))),
        "EXDEV"
    );
    assert_eq!(exchange(&at.join("x"), &second.join("y")), "EXDEV");
    // mv copies, as between two disks.
    let moved = BOB
        .command("mv")
        .arg(at.join("x"))
        .arg(second.join("x"))
        .status()
        .unwrap();
    assert!(moved.success() && !at.join("x").exists());
}

#[test]
fn the_top_directory_is_nobody_s_to_change() {
    let Some((world, _, at)) = full_but(&["x"], &[]) else {
        return;
    };
    let top = at.parent().unwrap();
    let answers = BOB.run(|| {
        [
            word(std::fs::write(top.join("new"), "")),
            word(std::fs::create_dir(top.join("new"))),
            word(std::os::unix::fs::symlink("x", top.join("new"))),
            word(std::fs::remove_dir(&at)),
            word(std::fs::rename(&at, top.join("new"))),
            word(std::fs::rename(at.join("x"), top.join("x"))),
            word(std::fs::hard_link(at.join("x"), top.join("x"))),
            word(std::fs::set_permissions(
                top,
                std::os::unix::fs::PermissionsExt::from_mode(0o777),
            )),
            word(xattr::set(top, "user.x", b"x")),
        ]
    });
    assert_eq!(answers, ["EPERM"; 9]);
    // The owner's rename is the folder's.
    let olga = world.mount(OLGA);
    assert_eq!(
        OLGA.run(|| word(std::fs::rename(olga.join("tests"), olga.join("renamed")))),
        "ok"
    );
    assert_eq!(world.json(OLGA, "list")[0]["name"], "renamed");
    assert_eq!(BOB.run(|| names(top)), ["renamed"]);
}
