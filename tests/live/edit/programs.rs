//! What programs do, call by call.

use super::Who::{Cara, One, Two};
use super::{Edited, plays, plays_with};
use crate::common::BOB;

#[test]
fn a_file_goes_to_a_free_name_of_its_directory_and_is_protected_there() {
    plays(
        &["a", "sub/b"],
        &[
            (One, "os.rename('a', 'c')", "ok"),
            (One, "os.unlink('c')", "EPERM"),
            (One, "os.rename('c', 'sub/c')", "EPERM"),
            (One, "os.rename('sub', 'other')", "EPERM"),
            (Cara, "os.rename('c', 'd')", "ok"),
            (Cara, "read('d')", "content of a"),
        ],
        &["d: content of a", "sub/", "sub/b: content of sub/b"],
    );
}

#[test]
fn a_process_removes_what_it_made_itself() {
    plays(
        &["sub/"],
        &[
            (One, "make('t')", "ok"),
            (Two, "os.unlink('t')", "EPERM"),
            (Cara, "os.unlink('t')", "EPERM"),
            (One, "os.unlink('t')", "ok"),
            (One, "os.symlink('x', 'l'); os.unlink('l')", "ok"),
            (
                One,
                "os.mkdir('d'); make('d/t'); os.unlink('d/t'); os.rmdir('d')",
                "ok",
            ),
            (One, "os.mkfifo('f'); os.unlink('f')", "ok"),
            (
                One,
                "make('t'); os.rename('t', 'sub/t'); os.rename('sub/t', 'u'); os.unlink('u')",
                "ok",
            ),
            (One, "os.mkdir('d'); make('d/t'); os.rename('d', 'sub/e')", "ok"),
            (One, "os.unlink('sub/e/t'); os.rmdir('sub/e')", "ok"),
            (One, "run('touch x; rm -f x')", "1"),
            (One, "make('plain', 0); os.unlink('plain')", "EPERM"),
            // But for a directory that it made, which it is to empty.
            (
                One,
                "os.mkdir('d'); make('d/plain', 0); os.unlink('d/plain'); os.rmdir('d')",
                "ok",
            ),
        ],
        &["plain: ", "sub/", "x: "],
    );
}

#[test]
fn a_thread_removes_what_another_of_its_process_made() {
    plays(
        &["doc"],
        &[
            (One, "import threading", "ok"),
            (
                One,
                "maker = threading.Thread(target=make, args=('t',)); maker.start(); maker.join()",
                "ok",
            ),
            (One, "os.unlink('t')", "ok"),
        ],
        &["doc: content of doc"],
    );
}

#[test]
fn a_save_by_replacement_is_an_edit_and_protects_the_name() {
    plays(
        &["doc", "sub/doc"],
        &[
            (One, "make('t', 0, b'first'); os.rename('t', 'doc')", "ok"),
            (One, "os.unlink('doc')", "EPERM"),
            (One, "make('t', text=b'new'); os.rename('t', 'doc')", "ok"),
            (One, "os.unlink('doc')", "EPERM"),
            (
                Two,
                "make('t', text=b'newer'); os.rename('t', 'doc'); os.unlink('doc')",
                "EPERM",
            ),
            (Cara, "make('t', text=b'newest'); os.rename('t', 'sub/doc')", "ok"),
            (Cara, "os.unlink('sub/doc')", "EPERM"),
            (Two, "read('sub/doc')", "newest"),
            (One, "os.symlink('doc', 'l')", "ok"),
            (
                Two,
                "os.symlink('x', 't'); os.rename('t', 'l'); os.unlink('l')",
                "EPERM",
            ),
        ],
        &["doc: newer", "l -> x", "sub/", "sub/doc: newest"],
    );
}

#[test]
fn who_steps_aside_and_comes_back_clears_what_he_left() {
    plays(
        &["doc", "other"],
        &[
            (One, "os.rename('doc', 'doc~')", "ok"),
            (One, "os.unlink('doc~')", "EPERM"),
            (One, "make('doc', os.O_TRUNC, b'new')", "ok"),
            (One, "os.unlink('doc~')", "ok"),
            (One, "os.unlink('doc')", "EPERM"),
            // A program whose write failed takes all back.
            (
                Two,
                "os.rename('other', 'other~'); make('other'); os.unlink('other')",
                "ok",
            ),
            (Two, "os.rename('other~', 'other')", "ok"),
            (Two, "os.unlink('other')", "EPERM"),
        ],
        &["doc: new", "other: content of other"],
    );
}

#[test]
fn a_scratch_file_is_removed_by_any_process_of_its_maker() {
    plays(
        &["doc", ".old.swp"],
        &[
            (
                One,
                "make('.doc.swp', 0); make('db-journal', 0); os.symlink('x', '.#doc')",
                "ok",
            ),
            (Cara, "os.unlink('.doc.swp')", "EPERM"),
            (Two, "os.unlink('.doc.swp'); os.unlink('.#doc')", "ok"),
            (Two, "os.unlink('.old.swp')", "EPERM"),
            (Two, "os.rename('db-journal', 'kept')", "ok"),
            (Two, "os.unlink('kept')", "EPERM"),
            (Two, "os.rename('kept', 'db-journal')", "ok"),
            (Two, "os.unlink('db-journal')", "EPERM"),
        ],
        &[
            ".old.swp: content of .old.swp",
            "db-journal: ",
            "doc: content of doc",
        ],
    );
}

#[test]
fn the_scratch_names_are_the_folder_s() {
    plays_with(
        &["scratch=*.part,*.tmp"],
        &["doc"],
        &[
            (One, "make('film.part', 0); make('.doc.swp', 0)", "ok"),
            (Two, "os.unlink('film.part')", "ok"),
            (Two, "os.unlink('.doc.swp')", "EPERM"),
        ],
        &[".doc.swp: ", "doc: content of doc"],
    );
}

#[test]
fn after_a_restart_all_is_protected_but_what_is_scratch() {
    let Some(mut edited) = Edited::new(&["doc"], &[]) else {
        return;
    };
    let mut hand = edited.hand(One);
    for call in [
        "make('t')",
        "make('db-wal', 0)",
        "os.rename('doc', 'doc~')",
        "make('doc', text=b'new')",
        "os.chdir('/')",
    ] {
        hand.must(call);
    }
    edited.restart();
    hand.must(&format!("os.chdir({:?})", edited.mount));
    assert_eq!(hand.does("os.unlink('t')"), "EPERM");
    assert_eq!(hand.does("os.unlink('doc~')"), "EPERM");
    assert_eq!(hand.does("os.unlink('db-wal')"), "ok");
    drop(hand);
    assert_eq!(edited.tree(), ["doc: new", "doc~: content of doc", "t: "]);
}

#[test]
fn own_files_go_where_the_folder_says_so_whoever_replaced_them_since() {
    let calls = [
        (One, "make('mine', 0); make('yours', 0); os.mkdir('d')", "ok"),
        (Two, "os.unlink('mine'); os.rmdir('d')", "ok"),
        (Cara, "os.unlink('yours')", "EPERM"),
        (
            Cara,
            "make('t', text=b'new'); os.rename('t', 'yours'); os.unlink('yours')",
            "EPERM",
        ),
        (
            Cara,
            "os.rename('yours', 'yours~'); make('yours', 0, b'newer'); os.unlink('yours~')",
            "ok",
        ),
        (Cara, "os.unlink('yours')", "EPERM"),
        (Two, "os.unlink('yours')", "ok"),
        (Two, "os.unlink('doc')", "EPERM"),
        (Two, "make('t'); os.rename('t', 'doc')", "ok"),
        (One, "os.unlink('doc')", "EPERM"),
    ];
    let own = &["own-files=removable"];
    // In an adopted folder all files are the lender's.
    for edited in [Edited::new(&["doc"], own), Edited::adopted(&["doc"], own)] {
        let Some(edited) = edited else { return };
        edited.play(&calls);
        assert_eq!(edited.tree(), ["doc: "]);
    }
}

#[test]
fn where_a_line_starts_names_stay() {
    let Some(edited) = Edited::new(&["doc", "secret", "sub/a"], &[]) else {
        return;
    };
    edited.world.permit("tests/secret", "lft-cara", "invisible");
    edited.world.permit("tests/doc", BOB.name, "edit");
    edited.play(&[
        (One, "os.rename('secret', 'open')", "EPERM"),
        (One, "os.rename('doc', 'doc~')", "EPERM"),
        (One, "make('t', text=b'new'); os.rename('t', 'secret')", "ok"),
        (One, "os.unlink('secret')", "EPERM"),
        (Cara, "read('secret')", "ENOENT"),
    ]);
    assert_eq!(
        edited.tree(),
        [
            "doc: content of doc",
            "secret: new",
            "sub/",
            "sub/a: content of sub/a"
        ]
    );
}

#[test]
fn a_program_with_a_name_of_any_bytes_cleans_up_after_itself() {
    plays(
        &["doc"],
        &[
            (One, "libc.prctl(15, bytes([0x66, 0xc3, 0x28, 0xff]))", "0"),
            (One, "make('t'); os.unlink('t')", "ok"),
            (One, "make('t', text=b'new'); os.rename('t', 'doc')", "ok"),
        ],
        &["doc: new"],
    );
}
