//! Tricks to make a file vanish.

use super::Who::{Cara, One, Two};
use super::{Calls, Edited, plays, plays_with};
use crate::common::hand::Hand;
use crate::common::{BOB, OLGA};

const DOC: &[&str] = &["doc", "other", "sub/"];
const LEFT: [&str; 3] = ["doc: content of doc", "other: content of other", "sub/"];

#[test]
fn renaming_out_and_unlinking() {
    plays(
        DOC,
        &[
            (One, "os.rename('doc', 'sub/doc')", "EPERM"),
            (
                One,
                "os.rename('doc', 'free'); os.rename('free', 'sub/doc')",
                "EPERM",
            ),
            (One, "os.unlink('free')", "EPERM"),
            (One, "os.rename('free', 'doc')", "ok"),
        ],
        &LEFT,
    );
}

#[test]
fn renaming_over() {
    plays(
        DOC,
        &[
            (One, "os.rename('other', 'doc')", "EPERM"),
            (Two, "make('plain', 0, b'x')", "ok"),
            (One, "make('plain', 0); os.rename('plain', 'doc')", "EPERM"),
            (Two, "make('t', text=b'x')", "ok"),
            (One, "os.rename('t', 'doc')", "EPERM"),
            (Two, "os.rename('t', 'sub')", "EISDIR"),
            (Two, "os.mkdir('d'); os.rename('d', 'sub')", "EPERM"),
            (Two, "os.rmdir('d'); os.unlink('t')", "ok"),
        ],
        &[
            "doc: content of doc",
            "other: content of other",
            "plain: x",
            "sub/",
        ],
    );
}

#[test]
fn exchanging() {
    plays(
        DOC,
        &[
            (One, "renameat2('doc', 'other', 2)", "EPERM"),
            (One, "make('t'); renameat2('t', 'doc', 2)", "EPERM"),
            (One, "renameat2('doc', 't', 2)", "EPERM"),
            (One, "os.unlink('t')", "ok"),
            (One, "renameat2('doc', 't', 4)", "EINVAL"),
        ],
        &LEFT,
    );
}

#[test]
fn stepping_aside_without_coming_back() {
    plays(
        DOC,
        &[
            (One, "os.rename('doc', 'doc~')", "ok"),
            (One, "os.unlink('doc~')", "EPERM"),
            (One, "os.mkdir('doc')", "ok"),
            (One, "os.unlink('doc~')", "EPERM"),
            (One, "os.rmdir('doc'); os.mkfifo('doc')", "ok"),
            (One, "os.unlink('doc~')", "EPERM"),
            (One, "os.unlink('doc'); os.rename('doc~', 'doc')", "ok"),
        ],
        &LEFT,
    );
}

#[test]
fn coming_back_and_going_again() {
    plays(
        DOC,
        &[
            (
                One,
                "os.rename('doc', 'doc~'); make('doc'); os.unlink('doc')",
                "ok",
            ),
            (One, "os.unlink('doc~')", "EPERM"),
            (One, "make('doc'); os.rename('doc', 'elsewhere')", "ok"),
            (One, "os.unlink('doc~')", "EPERM"),
            (One, "os.unlink('elsewhere'); os.rename('doc~', 'doc')", "ok"),
        ],
        &LEFT,
    );
}

#[test]
fn coming_back_with_what_is_protected() {
    plays(
        DOC,
        &[
            (One, "os.rename('doc', 'doc~'); os.rename('other', 'doc')", "ok"),
            (One, "os.unlink('doc~')", "EPERM"),
            (One, "os.rename('doc', 'other'); os.rename('doc~', 'doc')", "ok"),
        ],
        &LEFT,
    );
}

#[test]
fn coming_back_with_what_replaced_someone_else_s() {
    plays(
        DOC,
        &[
            (One, "os.rename('doc', 'doc~'); os.rename('other', 'doc')", "ok"),
            (One, "make('t', text=b'new'); os.rename('t', 'doc')", "ok"),
            (One, "os.unlink('doc~')", "EPERM"),
        ],
        &["doc: new", "doc~: content of doc", "sub/"],
    );
}

#[test]
fn coming_back_under_a_scratch_name() {
    let plain: &Calls<'_> = &[
        (One, "os.rename('.doc.swp', 'aside')", "ok"),
        (One, "make('.doc.swp', 0, b'new'); os.unlink('aside')", "ok"),
        (One, "os.unlink('.doc.swp')", "EPERM"),
        (Two, "os.unlink('.doc.swp')", "EPERM"),
    ];
    plays(&[".doc.swp"], plain, &[".doc.swp: new"]);
    let settings = &["own-files=removable", "replace-by-unlink=off"];
    plays_with(settings, &[".doc.swp"], plain, &[".doc.swp: new"]);
}

#[test]
fn coming_back_with_one_s_own_file() {
    let calls: &Calls<'_> = &[
        (One, "make('t', 0, b'new'); make('u', text=b'newer')", "ok"),
        (One, "os.rename('doc', 'doc~'); os.rename('u', 'doc')", "ok"),
        (One, "os.unlink('doc~')", "ok"),
        (One, "os.unlink('doc')", "EPERM"),
        (Two, "os.unlink('doc')", "EPERM"),
        (Two, "os.rename('t', 'doc')", "EPERM"),
        (Two, "os.unlink('t')", "ok"),
    ];
    let left = ["doc: newer", "other: content of other", "sub/"];
    plays_with(&["own-files=removable"], DOC, calls, &left);
    let Some(adopted) = Edited::adopted(DOC, &["own-files=removable"]) else {
        return;
    };
    adopted.play(calls);
    assert_eq!(adopted.tree(), left);
}

#[test]
fn coming_back_with_a_hard_link_or_a_symbolic_link() {
    plays(
        DOC,
        &[
            (One, "os.rename('doc', 'doc~'); os.link('other', 'doc')", "ok"),
            (One, "os.unlink('doc~')", "EPERM"),
            (One, "os.unlink('doc'); os.symlink('other', 'doc')", "ok"),
            (One, "os.unlink('doc~')", "EPERM"),
            (
                One,
                "os.unlink('doc'); make('doc'); os.link('doc', 'sub/second')",
                "ok",
            ),
            (One, "os.unlink('doc~')", "EPERM"),
            (
                One,
                "os.unlink('sub/second'); os.unlink('doc'); os.rename('doc~', 'doc')",
                "ok",
            ),
        ],
        &LEFT,
    );
}

#[test]
fn a_chain_of_steps_aside() {
    plays(
        DOC,
        &[
            (One, "os.rename('doc', 'a'); os.rename('a', 'b')", "ok"),
            (One, "make('a'); make('doc')", "ok"),
            (One, "os.unlink('b')", "EPERM"),
            (One, "os.unlink('a'); os.unlink('doc')", "ok"),
            (One, "os.rename('b', 'doc'); make('b'); os.unlink('doc')", "EPERM"),
            (One, "os.unlink('b')", "ok"),
        ],
        &LEFT,
    );
}

#[test]
fn stepping_aside_from_two_processes() {
    plays(
        DOC,
        &[
            (One, "os.rename('doc', 'doc~')", "ok"),
            (Two, "make('doc')", "ok"),
            (One, "os.unlink('doc~')", "EPERM"),
            (Two, "os.unlink('doc~')", "EPERM"),
            (Cara, "os.unlink('doc~')", "EPERM"),
            (Two, "os.unlink('doc'); os.rename('doc~', 'doc')", "ok"),
        ],
        &LEFT,
    );
}

#[test]
fn a_child_is_not_its_parent() {
    plays(
        DOC,
        &[
            (One, "make('t')", "ok"),
            (One, "run('rm -f t')", "1"),
            (
                One,
                "pid = os.fork(); pid or os._exit(7 if os.path.exists('t') and not os.access('t', os.X_OK) else 0)",
                "ok",
            ),
            (One, "os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])", "7"),
            (One, "os.unlink('t')", "ok"),
        ],
        &LEFT,
    );
}

#[test]
fn the_number_of_a_process_used_again() {
    let Some(edited) = Edited::new(DOC, &[]) else {
        return;
    };
    let mut hand = edited.hand(One);
    hand.must("make('t')");
    let pid = hand.pid();
    drop(hand);
    // A process of the same number in a namespace of its own, which the daemon sees by another.
    let again = format!(
        "import os; open('/proc/sys/kernel/ns_last_pid', 'w').write('{}'); pid = os.fork(); \
         pid or os.execlp('rm', 'rm', '-f', {:?}); os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if pid == {pid} else 9)",
        pid - 1,
        edited.mount.join("t"),
    );
    // Others start processes in between, so it takes a few attempts to be given the number.
    let reached = (0..200).any(|_| {
        let done = std::process::Command::new("python3")
            .args(["-c", &again])
            .output()
            .unwrap();
        done.status.code() != Some(9)
    });
    assert!(reached, "no process was given the number {pid}");
    assert!(
        edited.backing.join("t").exists(),
        "a process with the number of the one that made it removed it"
    );
}

#[test]
fn making_an_entry_transient_by_a_hard_link() {
    plays(
        DOC,
        &[
            (One, "os.link('doc', 't')", "ok"),
            (One, "os.rename('t', 'other')", "EPERM"),
            (One, "os.rename('t', 'doc'); os.unlink('doc')", "EPERM"),
            (One, "os.unlink('t')", "ok"),
            (One, "os.unlink('doc')", "EPERM"),
        ],
        &LEFT,
    );
}

#[test]
fn making_an_entry_transient_by_a_rename() {
    plays(
        DOC,
        &[
            (One, "make('t'); os.unlink('t'); os.rename('doc', 't')", "ok"),
            (One, "os.unlink('t')", "EPERM"),
            (One, "os.rename('t', 'doc'); make('t')", "ok"),
            (One, "os.rename('doc', 't')", "ok"),
            (One, "os.unlink('t')", "EPERM"),
            (One, "os.rename('t', 'doc')", "ok"),
        ],
        &LEFT,
    );
}

#[test]
fn making_an_entry_transient_by_swapping_a_symbolic_link() {
    plays(
        DOC,
        &[
            (One, "os.symlink('doc', 't'); os.rename('t', 'doc')", "EPERM"),
            (One, "os.unlink('t'); os.symlink('.', 'way')", "ok"),
            (One, "os.unlink('way/doc')", "EPERM"),
            (One, "os.unlink('way')", "ok"),
        ],
        &LEFT,
    );
}

#[test]
fn making_an_entry_transient_by_mkdir_over_it() {
    plays(
        DOC,
        &[
            (One, "os.mkdir('doc')", "EEXIST"),
            (One, "os.unlink('doc')", "EPERM"),
            (One, "os.mkdir('d'); os.rename('doc', 'd/doc')", "EPERM"),
            (One, "os.rename('d', 'doc')", "ENOTDIR"),
            (One, "os.rmdir('d')", "ok"),
        ],
        &LEFT,
    );
}

#[test]
fn moving_a_directory_of_one_s_own_with_what_others_made_in_it() {
    plays(
        DOC,
        &[
            (One, "os.mkdir('d')", "ok"),
            (Cara, "make('d/hers')", "ok"),
            (One, "os.rename('d', 'sub/d')", "EPERM"),
            (One, "os.rename('d', 'e')", "EPERM"),
            (One, "os.rmdir('d')", "ENOTEMPTY"),
            (Cara, "os.unlink('d/hers')", "ok"),
            (One, "os.rename('d', 'sub/d'); os.rmdir('sub/d')", "ok"),
        ],
        &LEFT,
    );
}

#[test]
fn a_file_without_a_name_that_is_given_one() {
    plays(
        DOC,
        &[
            (One, "os.open('.', os.O_TMPFILE | os.O_RDWR)", "ENOTSUP"),
            (
                One,
                "fd = os.open('doc', os.O_RDONLY); libc.linkat(-100, b'/proc/self/fd/%d' % fd, -100, b't', 0x400) and fail()",
                "ok",
            ),
            (One, "os.rename('t', 'other')", "EPERM"),
            (One, "os.unlink('t')", "ok"),
        ],
        &LEFT,
    );
}

#[test]
fn a_scratch_name_as_target_and_as_source() {
    plays(
        DOC,
        &[
            (One, "os.rename('doc', '.doc.swp')", "ok"),
            (One, "os.unlink('.doc.swp')", "EPERM"),
            (One, "os.rename('.doc.swp', 'doc'); make('.doc.swp', 0)", "ok"),
            (One, "os.rename('doc', '.doc.swp')", "ok"),
            (Two, "os.unlink('.doc.swp')", "EPERM"),
            (Two, "os.rename('.doc.swp', 'doc')", "ok"),
            (Two, "os.link('doc', '.doc.swp')", "ok"),
            (One, "os.unlink('.doc.swp')", "EPERM"),
            (Two, "os.unlink('.doc.swp')", "ok"),
        ],
        &LEFT,
    );
}

#[test]
fn another_name_of_a_scratch_file_that_takes_its_name() {
    plays(
        DOC,
        &[
            (One, "make('.doc.swp', 0, b'x')", "ok"),
            (Two, "os.link('.doc.swp', 'l')", "ok"),
            (One, "os.unlink('.doc.swp'); os.rename('l', '.doc.swp')", "ok"),
            (One, "os.unlink('.doc.swp')", "EPERM"),
            (
                One,
                "make('.book.swp', 0, b'x'); os.rename('.book.swp', 'book')",
                "ok",
            ),
            (One, "os.link('book', '.book.swp')", "ok"),
            (Two, "os.unlink('.book.swp')", "EPERM"),
        ],
        &[
            ".book.swp: x",
            ".doc.swp: x",
            "book: x",
            "doc: content of doc",
            "other: content of other",
            "sub/",
        ],
    );
}

/// Plays calls of Bob's through a second mount after the first has made `x`, and then removes that through the first.
#[track_caller]
fn comes_back_to(name: &str, calls: &[&str], left: &[&str]) {
    let Some(edited) = Edited::new(DOC, &[]) else {
        return;
    };
    let mut one = edited.hand(One);
    let second = edited.world.mount(BOB).join("tests");
    let mut two = Hand::new(BOB);
    two.must(&format!("os.chdir({second:?})"));
    one.must(&format!("make({name:?}, text=b'new')"));
    for call in calls {
        two.must(call);
    }
    assert_eq!(one.does(&format!("os.unlink({name:?})")), "EPERM");
    assert_eq!(edited.tree(), left);
}

#[test]
fn a_file_that_takes_a_place_through_another_mount_and_comes_back_with_it() {
    comes_back_to(
        ".doc.swp",
        &["os.rename('.doc.swp', 'doc'); os.rename('doc', '.doc.swp')"],
        &[".doc.swp: new", "other: content of other", "sub/"],
    );
    comes_back_to(
        "x",
        &[
            "os.rename('x', 'y'); os.link('y', 'z')",
            "os.close(os.open('t', os.O_CREAT | os.O_EXCL | os.O_WRONLY)); os.rename('t', 'y')",
            "os.rename('z', 'doc'); os.rename('doc', 'x')",
        ],
        &["other: content of other", "sub/", "x: new", "y: "],
    );
}

#[test]
fn someone_else_s_scratch_file_after_a_restart() {
    let Some(mut edited) = Edited::new(DOC, &[]) else {
        return;
    };
    edited.play(&[(Cara, "make('.hers.swp', 0, b'x')", "ok")]);
    edited.restart();
    edited.play(&[
        (One, "os.unlink('.hers.swp')", "EPERM"),
        (
            One,
            "make('.hers.swp', os.O_TRUNC, b'y'); os.unlink('.hers.swp')",
            "EPERM",
        ),
        (
            One,
            "make('t', text=b'z'); os.rename('t', '.hers.swp'); os.unlink('.hers.swp')",
            "EPERM",
        ),
    ]);
    assert_eq!(edited.tree()[0], ".hers.swp: z");
}

#[test]
fn taking_the_modes_away() {
    plays(
        DOC,
        &[
            (One, "os.chmod('doc', 0); os.chmod('sub', 0)", "ok"),
            (Cara, "read('doc')", "content of doc"),
            (Cara, "os.listdir('sub')", "[]"),
            (One, "os.unlink('doc')", "EPERM"),
        ],
        &LEFT,
    );
}

#[test]
fn a_mark_of_a_scratch_file_that_a_hard_link_carries() {
    plays(
        &["doc", "db-journal", "other"],
        &[
            (
                One,
                "make('.a.swp', 0); os.link('.a.swp', 'tmp'); os.unlink('.a.swp')",
                "ok",
            ),
            (One, "os.rename('tmp', 'doc'); os.rename('doc', '.a.swp')", "ok"),
            (Two, "os.unlink('.a.swp')", "EPERM"),
            (Two, "os.rename('.a.swp', 'doc')", "ok"),
            (
                One,
                "os.mkdir('q'); make('q/db-journal', 0); os.link('q/db-journal', 't')",
                "ok",
            ),
            (
                One,
                "os.unlink('q/db-journal'); os.rmdir('q'); os.rename('t', 'db-journal')",
                "ok",
            ),
            (Two, "os.unlink('db-journal')", "EPERM"),
            (
                One,
                "make('.b.swp', 0); os.link('.b.swp', 'u'); os.unlink('.b.swp')",
                "ok",
            ),
            (One, "os.link('u', '.b.swp'); os.unlink('u')", "ok"),
            (Two, "os.unlink('.b.swp')", "EPERM"),
            (One, "os.unlink('.b.swp')", "ok"),
        ],
        &["db-journal: ", "doc: ", "other: content of other"],
    );
}

#[test]
fn a_scratch_file_that_the_owner_made_a_document_of() {
    let Some(edited) = Edited::new(DOC, &[]) else {
        return;
    };
    let owners = edited.world.mount(OLGA).join("tests");
    edited.play(&[(One, "make('.d.swp', 0, b'draft')", "ok")]);
    OLGA.run(|| std::fs::rename(owners.join(".d.swp"), owners.join("report")).unwrap());
    edited.play(&[
        (One, "os.rename('report', '.d.swp')", "ok"),
        (One, "os.unlink('.d.swp')", "EPERM"),
    ]);
    // By another way than through a mount.
    std::fs::rename(edited.backing.join(".d.swp"), edited.backing.join("report")).unwrap();
    edited.play(&[
        (One, "os.rename('report', '.d.swp')", "ok"),
        (One, "os.unlink('.d.swp')", "EPERM"),
    ]);
    assert_eq!(edited.tree()[0], ".d.swp: draft");
}

#[test]
fn what_one_mount_knows_and_another_has_changed_since() {
    let Some(edited) = Edited::new(DOC, &[]) else {
        return;
    };
    let other = edited.world.mount(BOB).join("tests");
    let mut hand = edited.hand(One);
    hand.must("make('xx')");
    hand.must(&format!("os.chdir({other:?})"));
    for call in [
        "os.link('xx', 'x2'); os.rename('xx', 'foo'); make('t'); os.rename('t', 'foo')",
        "os.rename('x2', 'doc'); os.rename('doc', 'xx')",
        "os.chdir(top)",
    ] {
        hand.must(call);
    }
    assert_eq!(hand.does("os.unlink('xx')"), "EPERM");
    // Nor if it is the owner who changes names.
    let owners = edited.world.mount(OLGA).join("tests");
    hand.must("make('yy')");
    OLGA.run(|| {
        std::fs::rename(owners.join("yy"), owners.join("report")).unwrap();
        std::fs::rename(owners.join("report"), owners.join("yy")).unwrap();
    });
    assert_eq!(hand.does("os.unlink('yy')"), "EPERM");
    hand.must("make('zz')");
    OLGA.run(|| {
        let (one, other) = (owners.join("zz"), owners.join("other"));
        for _ in 0..2 {
            let flags = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
            let at = nix::fcntl::AT_FDCWD;
            nix::fcntl::renameat2(at, &one, at, &other, flags).unwrap();
        }
    });
    assert_eq!(hand.does("os.unlink('zz')"), "EPERM");
}

#[test]
fn coming_back_to_be_the_maker() {
    plays_with(
        &["own-files=removable"],
        DOC,
        &[
            (
                One,
                "os.rename('doc', 'doc~'); make('t'); os.rename('t', 'doc')",
                "ok",
            ),
            (One, "os.unlink('doc~')", "ok"),
            (One, "os.unlink('doc')", "EPERM"),
            (
                One,
                "os.rename('other', 'o'); make('other', 0); os.unlink('o')",
                "ok",
            ),
            (One, "os.unlink('other')", "EPERM"),
        ],
        &["doc: ", "other: ", "sub/"],
    );
}

#[test]
fn saving_so_that_nobody_may_read_it() {
    let settings: &[&str] = &["replace-by-unlink=on"];
    for edited in [Edited::adopted(DOC, settings), Edited::new(DOC, settings)] {
        let Some(edited) = edited else { return };
        edited.play(&[
            (
                One,
                "fd = os.open('t', os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0); os.write(fd, b'new') and None",
                "ok",
            ),
            (One, "os.rename('t', 'doc')", "ok"),
            (Cara, "read('doc')", "new"),
            (
                One,
                "os.rename('other', 'other~'); os.close(os.open('other', os.O_CREAT | os.O_WRONLY, 0))",
                "ok",
            ),
            (One, "os.unlink('other~')", "ok"),
            (Cara, "read('other')", ""),
            (
                One,
                "os.unlink('doc'); os.close(os.open('doc', os.O_CREAT | os.O_WRONLY, 0))",
                "ok",
            ),
            (Cara, "read('doc')", ""),
            (Cara, "oct(os.stat('doc').st_mode & 0o600)", "0o600"),
        ]);
    }
}

#[test]
fn bringing_what_is_protected_to_a_line_in_place_of_one_s_own() {
    let Some(edited) = Edited::new(&["doc", "gone", "x"], &[]) else {
        return;
    };
    edited.world.permit("tests/gone", "lft-cara", "invisible");
    edited.world.permit("tests/x", BOB.name, "full");
    std::fs::remove_file(edited.backing.join("gone")).unwrap();
    edited.play(&[
        (One, "make('gone'); os.rename('doc', 'gone')", "EPERM"),
        (One, "os.unlink('gone'); os.rename('doc', 'gone')", "EPERM"),
        (One, "os.rename('doc', 'x')", "EPERM"),
        (One, "os.unlink('x'); os.rename('doc', 'x')", "EPERM"),
        (Cara, "read('doc')", "content of doc"),
    ]);
    assert_eq!(edited.tree(), ["doc: content of doc"]);
}
