//! The worked cases of the resolver, tried by real users on live mounts.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::unistd::AccessFlags;

use crate::common::{BOB, CARA, DAN, OLGA, ROOT, STAFF, User, World, names, plant, word};

/// The level in force at a path, as a user finds it out with system calls.
fn level(user: User, path: &Path) -> String {
    user.run(|| {
        let stat = match path.symlink_metadata() {
            Err(error) => return word::<()>(Err(error)).replace("ENOENT", "invisible"),
            Ok(stat) => stat,
        };
        let may = |mode| nix::unistd::access(path, mode).is_ok();
        if stat.is_dir() && stat.mtime() == 0 && stat.size() == 0 && std::fs::read_dir(path).is_ok() {
            return "corridor".into();
        }
        if !may(AccessFlags::R_OK) {
            return "locked".into();
        }
        if !may(AccessFlags::W_OK) {
            return "view".into();
        }
        // Who may not delete cannot take the owner's access away either.
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o000)).unwrap();
        let kept = path.symlink_metadata().unwrap().mode() & 0o777 != 0;
        std::fs::set_permissions(path, stat.permissions()).unwrap();
        if kept { "edit" } else { "full" }.into()
    })
}

/// A world with a folder `tests` in which these entries are, and the groups `staff` (Bob, Cara) and `g1`, `g2`.
fn world(entries: &[&str]) -> Option<World> {
    let world = World::new()?;
    plant(&world.folder("tests"), entries);
    for (group, members) in [("staff", &[BOB, CARA][..]), ("g1", &[BOB]), ("g2", &[BOB, DAN])] {
        world.ok(ROOT, &format!("group create {group}"));
        for member in members {
            world.ok(ROOT, &format!("group add {group} {}", member.name));
        }
    }
    Some(world)
}

fn grant_group(world: &World, place: &str, group: &str, level: &str) {
    world.ok(OLGA, &format!("share {place} --with {group} --as {level}"));
}

#[track_caller]
fn check(user: User, mount: &Path, expected: &[(&str, &str)]) {
    for (path, word) in expected {
        assert_eq!(level(user, &mount.join(path)), *word, "{} at {path}", user.name);
    }
}

#[test]
fn a_rule_on_a_file_holds_there_and_nowhere_else() {
    let Some(world) = world(&["meeting/today", "meeting/other"]) else {
        return;
    };
    world.share("tests", BOB, "edit");
    world.permit("tests/meeting/today", BOB.name, "view");
    check(
        BOB,
        &world.mount(BOB),
        &[
            ("tests/meeting/today", "view"),
            ("tests/meeting", "edit"),
            ("tests/meeting/other", "edit"),
        ],
    );
}

#[test]
fn an_inherited_rule_of_his_own_comes_before_a_deeper_one_of_his_group() {
    let Some(world) = world(&["A/B/x"]) else { return };
    world.share("tests", BOB, "edit");
    grant_group(&world, "tests", "group:staff", "edit");
    world.permit("tests/A", BOB.name, "view");
    world.permit("tests/A/B", "group:staff", "full");
    check(
        BOB,
        &world.mount(BOB),
        &[("tests/A/B", "view"), ("tests/A/B/x", "view")],
    );
    check(
        CARA,
        &world.mount(CARA),
        &[("tests/A", "edit"), ("tests/A/B/x", "full")],
    );
}

#[test]
fn one_member_sees_what_is_invisible_for_his_group() {
    let Some(world) = world(&["B/x", "A/x"]) else {
        return;
    };
    grant_group(&world, "tests", "group:staff", "edit");
    world.permit("tests/B", "group:staff", "invisible");
    world.permit("tests/B", BOB.name, "edit");
    check(
        BOB,
        &world.mount(BOB),
        &[("tests/B", "edit"), ("tests/B/x", "edit")],
    );
    let cara = world.mount(CARA);
    check(
        CARA,
        &cara,
        &[("tests/B", "invisible"), ("tests/B/x", "invisible")],
    );
    assert_eq!(CARA.run(|| names(&cara.join("tests"))), ["A"]);
}

#[test]
fn one_member_does_not_see_what_his_group_edits() {
    let Some(world) = world(&["B/x"]) else { return };
    grant_group(&world, "tests", "group:staff", "edit");
    world.permit("tests/B", BOB.name, "invisible");
    check(BOB, &world.mount(BOB), &[("tests/B", "invisible")]);
    check(CARA, &world.mount(CARA), &[("tests/B", "edit")]);
}

#[test]
fn each_group_edits_its_own_sub_folder() {
    let Some(world) = world(&["g1/x", "g2/x"]) else {
        return;
    };
    for group in ["group:g1", "group:g2", "group:staff"] {
        grant_group(&world, "tests", group, "view");
    }
    world.permit("tests/g1", "group:staff", "edit");
    world.permit("tests/g2", "group:g2", "edit");
    check(
        CARA,
        &world.mount(CARA),
        &[("tests/g1", "edit"), ("tests/g2", "view")],
    );
    check(
        DAN,
        &world.mount(DAN),
        &[("tests/g1", "view"), ("tests/g2", "edit")],
    );
}

#[test]
fn a_rule_without_a_grant_gives_nothing() {
    let Some(world) = world(&["A/x"]) else { return };
    let said = world.ok(OLGA, &format!("permit tests/A --for {} full", BOB.name));
    let mount = world.mount(BOB);
    check(BOB, &mount, &[("tests", "invisible"), ("tests/A", "invisible")]);
    assert!(BOB.run(|| names(&mount)).is_empty());
    assert!(said.contains("rule"), "{said}");
}

#[test]
fn in_a_folder_that_widens_a_rule_only_raises() {
    let Some(world) = world(&["Revenue.xlsx", "Plan/x"]) else {
        return;
    };
    world.ok(OLGA, "set tests inherit=widen");
    grant_group(&world, "tests", "group:staff", "view");
    world.permit("tests/Revenue.xlsx", CARA.name, "edit");
    world.permit("tests/Plan", BOB.name, "invisible");
    check(CARA, &world.mount(CARA), &[("tests/Revenue.xlsx", "edit")]);
    check(
        BOB,
        &world.mount(BOB),
        &[("tests/Plan", "view"), ("tests/Revenue.xlsx", "view")],
    );
}

#[test]
fn a_grant_on_a_single_file_shows_that_file_alone() {
    let Some(world) = world(&["Finance/Revenue.xlsx", "Finance/other"]) else {
        return;
    };
    world.share("tests/Finance/Revenue.xlsx", BOB, "edit");
    let mount = world.mount(BOB);
    assert_eq!(BOB.run(|| names(&mount)), ["Revenue.xlsx"]);
    let said = BOB.run(|| std::fs::read_to_string(mount.join("Revenue.xlsx")).unwrap());
    assert_eq!(said, "content of Finance/Revenue.xlsx\n");
    BOB.run(|| std::fs::write(mount.join("Revenue.xlsx"), "new").unwrap());
    // Where it lies is told to nobody.
    check(BOB, &mount, &[("tests", "invisible"), ("Finance", "invisible")]);
}

#[test]
fn a_group_s_rule_above_a_grant_of_one_s_own_does_not_reach_into_it() {
    let Some(world) = world(&["Plan/x", "Plan/y"]) else {
        return;
    };
    grant_group(&world, "tests", "group:staff", "view");
    world.permit("tests/Plan", "group:staff", "invisible");
    world.share("tests/Plan/x", BOB, "view");
    check(
        BOB,
        &world.mount(BOB),
        &[
            ("tests/Plan/x", "view"),
            ("tests/Plan/y", "invisible"),
            ("tests/Plan", "corridor"),
        ],
    );
}

#[test]
fn a_grant_that_names_him_comes_before_those_of_his_groups() {
    let Some(world) = world(&["A/x"]) else { return };
    world.share("tests", BOB, "view");
    grant_group(&world, "tests/A", "group:staff", "edit");
    check(
        BOB,
        &world.mount(BOB),
        &[("tests/A", "view"), ("tests/A/x", "view")],
    );
    let cara = world.mount(CARA);
    check(CARA, &cara, &[("A", "edit"), ("A/x", "edit")]);
}

#[test]
fn a_viewer_never_has_more_than_view() {
    let Some(world) = world(&["A/x"]) else { return };
    world.share("tests", BOB, "full");
    world.ok(ROOT, &format!("user set {} type=viewer", BOB.name));
    check(
        BOB,
        &world.mount(BOB),
        &[("tests", "view"), ("tests/A/x", "view")],
    );
    let refused = world.refused(BOB, "create mine");
    assert!(refused.contains("viewer"), "{refused}");
}

#[test]
fn a_way_leads_through_what_is_invisible_to_what_is_not() {
    let Some(world) = world(&["A/B/C/x", "A/B/y", "A/x"]) else {
        return;
    };
    grant_group(&world, "tests", "group:staff", "view");
    world.permit("tests/A", "group:staff", "invisible");
    world.permit("tests/A/B/C", BOB.name, "edit");
    let mount = world.mount(BOB);
    check(
        BOB,
        &mount,
        &[
            ("tests/A", "corridor"),
            ("tests/A/B", "corridor"),
            ("tests/A/B/C", "edit"),
            ("tests/A/B/C/x", "edit"),
            ("tests/A/x", "invisible"),
            ("tests/A/B/y", "invisible"),
        ],
    );
    let (inside, deeper) = BOB.run(|| (names(&mount.join("tests/A")), names(&mount.join("tests/A/B"))));
    assert_eq!((inside, deeper), (vec!["B".into()], vec!["C".into()]));
    let refused = BOB.run(|| word(std::fs::write(mount.join("tests/A/new"), "")));
    assert_eq!(refused, "EACCES");
}

#[test]
fn of_two_groups_at_one_place_the_higher_level_holds() {
    let Some(world) = world(&["A/x"]) else { return };
    grant_group(&world, "tests/A", "group:g1", "view");
    grant_group(&world, "tests/A", "group:g2", "edit");
    check(BOB, &world.mount(BOB), &[("A", "edit")]);
}

#[test]
fn an_online_level_holds_in_online_mounts_alone() {
    let Some(world) = world(&["x"]) else { return };
    world.share("tests", BOB, "online-view");
    check(BOB, &world.mount(BOB), &[("tests", "invisible")]);
    let at = world.fresh(BOB);
    world.ok(
        ROOT,
        &format!("mount {} --online --user {}", at.display(), BOB.name),
    );
    check(BOB, &at, &[("tests", "view"), ("tests/x", "view")]);
    assert!(
        world
            .refused(BOB, &format!("mount {} --online", at.display()))
            .contains("--online")
    );
}

#[test]
fn what_he_may_delete_he_may_move_from_where_he_edits() {
    let Some(world) = world(&["x.txt", "y.txt", "sub/"]) else {
        return;
    };
    world.share("tests", BOB, "edit");
    world.permit("tests/x.txt", BOB.name, "full");
    let at = world.mount(BOB).join("tests");
    BOB.run(|| {
        assert_eq!(
            word(std::fs::rename(at.join("x.txt"), at.join("sub/x.txt"))),
            "ok"
        );
        assert_eq!(
            word(std::fs::rename(at.join("y.txt"), at.join("sub/y.txt"))),
            "EPERM"
        );
    });
}

#[test]
fn an_operating_system_group_is_a_group() {
    let Some(world) = world(&["A/x"]) else { return };
    grant_group(&world, "tests", &format!("unix:{STAFF}"), "view");
    check(BOB, &world.mount(BOB), &[("tests/A", "view")]);
    check(DAN, &world.mount(DAN), &[("tests", "invisible")]);
}

#[test]
fn a_mount_with_a_ceiling_has_no_more_the_owner_s_neither() {
    let Some(world) = world(&["x"]) else { return };
    world.share("tests", BOB, "full");
    check(
        BOB,
        &world.mount_with(BOB, "--ceiling view"),
        &[("tests/x", "view")],
    );
    check(
        OLGA,
        &world.mount_with(OLGA, "--ceiling edit"),
        &[("tests/x", "edit")],
    );
    let read_only = world.mount_with(OLGA, "--read-only").join("tests/x");
    assert_eq!(OLGA.run(|| word(std::fs::write(&read_only, ""))), "EROFS");
}

#[test]
fn the_owner_cannot_be_locked_out() {
    let Some(world) = world(&["A/x"]) else { return };
    let said = world.lendfs(OLGA, &format!("permit tests/A --for {} locked", OLGA.name));
    assert!(!said.status.success());
    check(
        OLGA,
        &world.mount(OLGA),
        &[("tests/A", "full"), ("tests/A/x", "full")],
    );
}
