//! What is open in one mount when another moves it to where other lines hold.

use crate::common::hand::Hand;
use crate::common::{BOB, CARA, OLGA, World, plant, soon};

/// Cara has files open, for reading and writing, that Olga moves.
fn moved(options: &str) {
    let Some(world) = World::new() else { return };
    let backing = world.folder("tests");
    plant(
        &backing,
        &[
            "doc",
            "kept",
            "shown",
            "up/down/deep",
            "secret/",
            "view/",
            "free/",
        ],
    );
    world.share("tests", CARA, "edit");
    world.share("tests", BOB, "full");
    world.permit("tests/secret", CARA.name, "invisible");
    world.permit("tests/view", CARA.name, "view");
    let cara = world.mount_with(CARA, options).join("tests");
    let owners = world.mount(OLGA).join("tests");
    let mut hand = Hand::new(CARA);
    hand.must(&format!("os.chdir({cara:?}); fds = {{}}"));
    for (name, path) in [
        ("doc", "doc"),
        ("kept", "kept"),
        ("shown", "shown"),
        ("deep", "up/down/deep"),
    ] {
        hand.must(&format!("fds[{name:?}] = os.open({path:?}, os.O_RDWR)"));
        assert_eq!(hand.does(&format!("len(os.pread(fds[{name:?}], 7, 0))")), "7");
    }
    hand.must("fds['read'] = os.open('shown', os.O_RDONLY)");
    OLGA.run(|| {
        for (from, to) in [("doc", "secret/doc"), ("kept", "free/kept"), ("up", "secret/up")] {
            std::fs::rename(owners.join(from), owners.join(to)).unwrap();
        }
    });
    for name in ["doc", "deep"] {
        soon(|| hand.does(&format!("os.pread(fds[{name:?}], 7, 0)")), "EIO");
        assert_eq!(hand.does(&format!("os.pwrite(fds[{name:?}], b'x', 0)")), "EIO");
    }
    assert_eq!(hand.does("os.pwrite(fds['kept'], b'Content', 0)"), "7");
    // Where it may be read and not be written.
    OLGA.run(|| std::fs::rename(owners.join("shown"), owners.join("view/shown")).unwrap());
    soon(|| hand.does("os.pwrite(fds['shown'], b'x', 0)"), "EIO");
    assert_eq!(
        hand.does("len(os.pread(os.open('view/shown', os.O_RDONLY), 7, 0))"),
        "7"
    );
    // Back where it was, what is opened anew has all again.
    OLGA.run(|| std::fs::rename(owners.join("secret/doc"), owners.join("doc")).unwrap());
    assert_eq!(
        hand.does("os.pwrite(os.open('doc', os.O_RDWR), b'Content', 0)"),
        "7"
    );
}

#[test]
fn what_is_moved_out_of_reach_is_cut() {
    moved("");
}

#[test]
fn what_is_moved_out_of_reach_is_refused_where_nothing_bypasses_the_daemon() {
    moved("--strict");
}
