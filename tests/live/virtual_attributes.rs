//! What lendfs tells of an entry in extended attributes of its own.

use std::path::Path;

use crate::common::{BOB, CARA, OLGA, World, names, plant, word};

/// The value of an attribute of lendfs's own, or the errno.
fn told(path: &Path, which: &str) -> String {
    match xattr::get(path, format!("user.lendfs.{which}")) {
        Ok(Some(value)) => String::from_utf8(value).unwrap(),
        Ok(None) => "ENODATA".into(),
        Err(error) => word::<()>(Err(error)),
    }
}

fn run(user: crate::common::User, line: &str) -> (bool, String) {
    let output = user
        .command("sh")
        .args(["-c", line])
        .current_dir("/")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn an_entry_tells_its_level_folder_owner_maker_and_rights() {
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    plant(&backing, &["docs/file", "locked/x", "hidden/x"]);
    world.share("tests", BOB, "edit");
    world.permit("tests/docs", BOB.name, "view");
    world.permit("tests/locked", BOB.name, "locked");
    world.permit("tests/hidden", BOB.name, "invisible");
    let bobs = world.mount(BOB).join("tests");
    let all = |path: &Path| ["level", "folder", "owner", "maker", "rights"].map(|which| told(path, which));
    BOB.run(|| {
        std::fs::write(bobs.join("mine"), "").unwrap();
        let (olga, bob) = (OLGA.name, BOB.name);
        let edit = "see,read,write,create,rename";
        // The owner of a folder made its root; who asks for it in the list of folders is told too.
        assert_eq!(all(&bobs), ["edit", "tests", olga, olga, edit]);
        assert_eq!(all(&bobs.join("mine")), ["edit", "tests", olga, bob, edit]);
        assert_eq!(
            all(&bobs.join("docs/file")),
            ["view", "tests", olga, olga, "see,read"]
        );
        assert_eq!(
            all(&bobs.join("locked")),
            ["locked", "tests", olga, "ENODATA", "see"]
        );
        assert_eq!(all(&bobs.join("hidden")), ["ENOENT"; 5]);
        assert_eq!(all(&bobs.join("locked/x")), ["EACCES"; 5]);
        assert_eq!(told(&bobs, "nothing"), "ENODATA");
        assert_eq!(
            told(bobs.parent().unwrap(), "level"),
            "ENODATA",
            "the list of folders has none"
        );
    });
    let olgas = world.mount(OLGA).join("tests");
    let everything = "see,read,write,create,rename,delete,administer";
    OLGA.run(|| {
        assert_eq!(told(&olgas.join("mine"), "level"), "owner");
        assert_eq!(told(&olgas.join("mine"), "maker"), BOB.name);
        assert_eq!(told(&olgas.join("mine"), "rights"), everything);
    });
    // Alias, ceiling and a change of the policy.
    let low = world.mount_with(OLGA, "--ceiling view").join("tests");
    assert_eq!(OLGA.run(|| told(&low, "level")), "view");
    world.ok(OLGA, "share tests --with lft-cara --as full");
    world.ok(CARA, "accept lft-olga:tests --name loan");
    let caras = world.mount(CARA).join("loan");
    assert_eq!(
        CARA.run(|| (told(&caras, "level"), told(&caras, "folder"))),
        ("full".into(), "tests".into())
    );
    world.permit("tests", CARA.name, "view");
    assert_eq!(CARA.run(|| told(&caras, "level")), "view");
}

#[test]
fn a_way_tells_what_explain_says_of_it() {
    let Some(world) = World::new() else { return };
    plant(&world.folder("tests"), &["a/b/c/x"]);
    world.share("tests", BOB, "invisible");
    world.permit("tests/a/b", BOB.name, "edit");
    let at = world.mount(BOB).join("tests");
    for place in ["tests", "tests/a", "tests/a/b"] {
        let said = world.json(BOB, &format!("explain {place}"));
        let path = at.parent().unwrap().join(place);
        let rights = said["rights"]
            .as_array()
            .unwrap()
            .iter()
            .map(|right| right.as_str().unwrap());
        let rights = rights.collect::<Vec<_>>().join(",");
        BOB.run(|| {
            assert_eq!(told(&path, "level"), said["level"], "{place}");
            assert_eq!(told(&path, "rights"), rights, "{place}");
        });
    }
}

#[test]
fn attributes_of_lendfs_are_neither_set_nor_listed_nor_taken_from_the_disk() {
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    plant(&backing, &["file"]);
    xattr::set(backing.join("file"), "user.lendfs.level", b"admin").unwrap();
    xattr::set(backing.join("file"), "user.lendfs.note", b"native").unwrap();
    xattr::set(backing.join("file"), "user.note", b"native").unwrap();
    world.share("tests", BOB, "edit");
    world.share("tests", CARA, "view");
    let at = world.mount(BOB).join("tests/file");
    BOB.run(|| {
        assert_eq!(
            (told(&at, "level"), told(&at, "note")),
            ("edit".into(), "ENODATA".into())
        );
        let listed: Vec<_> = xattr::list(&at).unwrap().collect();
        assert_eq!(listed, ["user.note"]);
        for name in ["user.lendfs.level", "user.lendfs.note", "user.lendfs.new"] {
            assert_eq!(word(xattr::set(&at, name, b"full")), "EPERM", "{name}");
            assert_eq!(word(xattr::remove(&at, name)), "EPERM", "{name}");
        }
        assert_eq!(word(xattr::set(&at, "user.lendfs", b"x")), "ok");
        assert_eq!(word(xattr::set(&at, "system.lendfs.level", b"x")), "EOPNOTSUPP");
    });
    assert_eq!(
        xattr::get(backing.join("file"), "user.lendfs.level")
            .unwrap()
            .unwrap(),
        b"admin"
    );
    let at = world.mount(CARA).join("tests/file");
    CARA.run(|| assert_eq!(word(xattr::set(&at, "user.lendfs.level", b"x")), "EACCES"));
}

#[test]
fn a_read_only_mount_tells_them_too() {
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    plant(&backing, &["file", "locked/x"]);
    std::os::unix::fs::symlink("file", backing.join("link")).unwrap();
    world.share("tests", BOB, "edit");
    world.permit("tests/locked", BOB.name, "locked");
    let at = world.mount_with(BOB, "--read-only").join("tests");
    BOB.run(|| {
        assert_eq!(
            (told(&at, "level"), told(&at.join("file"), "level")),
            ("edit".into(), "edit".into())
        );
        assert_eq!(
            word(xattr::set(at.join("file"), "user.lendfs.level", b"x")),
            "EROFS"
        );
        // The kernel judges by the mode that is shown, and knows no `user.` attributes of links.
        for name in ["locked", "link"] {
            let value = xattr::get(at.join(name), "system.lendfs.level").unwrap().unwrap();
            let expected = if name == "locked" { "locked" } else { "edit" };
            assert_eq!(String::from_utf8(value).unwrap(), expected);
        }
    });
}

#[test]
fn programs_that_copy_attributes_do_not_stumble() {
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    plant(&backing, &["from/file", "from/dir/x"]);
    xattr::set(backing.join("from/file"), "user.note", b"kept").unwrap();
    world.share("tests", BOB, "full");
    let home = world.fresh(BOB);
    for (options, name) in [("", "plain"), ("--read-only", "read-only")] {
        let at = world.mount_with(BOB, options).join("tests/from");
        let (at, to) = (at.display(), home.join(name));
        let to = to.display();
        // What `getfattr -d` does.
        let dump = |paths: &str| {
            let each =
                "[(path, os.listxattr(path), [os.getxattr(path, name) for name in os.listxattr(path)])";
            run(
                BOB,
                &format!("python3 -c \"import os; print({each} for path in '{paths}'.split()])\""),
            )
        };
        let (ok, said) = dump(&format!("{at}/file"));
        assert!(
            ok && said.contains("user.note") && !said.contains("user.lendfs."),
            "{said}"
        );
        for line in [
            format!("mkdir {to} && cp -a {at} {to}/cp"),
            format!("rsync -aX {at}/ {to}/rsync"),
            format!("tar --xattrs -C {at} -cf {to}/tar ."),
        ] {
            let (ok, said) = run(BOB, &line);
            assert!(ok && said.is_empty(), "{line}: {said}");
        }
        let (ok, said) = dump(&format!("{to}/cp/file {to}/rsync/file"));
        assert!(
            ok && said.matches("user.note").count() == 2 && !said.contains("lendfs.level"),
            "{said}"
        );
        if options.is_empty() {
            let (ok, said) = run(
                BOB,
                &format!("cp -a {to}/cp {at}/back && rsync -aX {to}/rsync/ {at}/again"),
            );
            assert!(ok && said.is_empty(), "{said}");
        }
    }
    assert!(names(&backing.join("from")).contains(&"again".into()));
}
