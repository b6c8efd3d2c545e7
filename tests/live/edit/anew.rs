//! `replace-by-unlink`: who unlinks a file and makes it anew.

use super::Who::{Cara, One, Two};
use super::{Edited, plays_with};
use crate::common::BOB;

const ON: &[&str] = &["replace-by-unlink=on"];

#[test]
fn what_is_unlinked_is_gone_for_its_process_alone_until_it_is_made_anew() {
    plays_with(
        ON,
        &["doc"],
        &[
            (Two, "os.stat('doc').st_nlink", "1"),
            (One, "os.unlink('doc')", "ok"),
            (One, "os.path.exists('doc'), os.listdir('.')", "(False, [])"),
            (One, "os.unlink('doc')", "ENOENT"),
            (One, "open('doc')", "ENOENT"),
            (
                Two,
                "read('doc'), os.listdir('.'), os.stat('doc').st_nlink",
                "('content of doc', ['doc'], 1)",
            ),
            (
                Cara,
                "read('doc'), os.listdir('.')",
                "('content of doc', ['doc'])",
            ),
            (One, "make('doc', text=b'new')", "ok"),
            (One, "read('doc')", "new"),
            (Two, "read('doc')", "new"),
            (Cara, "read('doc'), os.listdir('.')", "('new', ['doc'])"),
            (One, "os.unlink('doc')", "ok"),
        ],
        &["doc: new"],
    );
}

#[test]
fn what_is_not_made_anew_is_there_again_when_the_process_ends_or_some_seconds_have_passed() {
    plays_with(
        ON,
        &["doc", "other", "sub/a"],
        &[
            (One, "run('rm -rf doc sub')", "0"),
            (
                One,
                "sorted(os.listdir('.')), os.listdir('sub'), read('doc')",
                "(['doc', 'other', 'sub'], ['a'], 'content of doc')",
            ),
            (One, "os.unlink('other')", "ok"),
            (One, "end = time.time() + 20", "ok"),
            (
                One,
                "while not os.path.exists('other') and time.time() < end: time.sleep(.05)",
                "ok",
            ),
            (One, "read('other')", "content of other"),
            (One, "make('other')", "EEXIST"),
            (One, "make('new'); os.rename('new', 'sub/b')", "ok"),
        ],
        &[
            "doc: content of doc",
            "other: content of other",
            "sub/",
            "sub/a: content of sub/a",
            "sub/b: ",
        ],
    );
}

#[test]
fn a_directory_is_made_anew_with_what_is_in_it() {
    plays_with(
        ON,
        &["d/a", "d/b", "d/e/c"],
        &[
            (Two, "os.chdir('d')", "ok"),
            (Two, "sorted(os.listdir('.'))", "['a', 'b', 'e']"),
            (One, "os.rmdir('d')", "EPERM"),
            (One, "import shutil; shutil.rmtree('d')", "ok"),
            (One, "os.path.exists('d')", "False"),
            (Cara, "sorted(os.listdir('d'))", "['a', 'b', 'e']"),
            (One, "os.mkdir('d')", "ok"),
            (One, "os.listdir('d')", "[]"),
            (One, "make('d/a', text=b'new')", "ok"),
            (One, "os.listdir('d')", "['a']"),
            (Cara, "read('d/a'), read('d/e/c')", "('new', 'content of d/e/c')"),
            (Two, "os.chdir(top + '/d'); make('two')", "ok"),
        ],
        &[
            "d/",
            "d/a: new",
            "d/b: content of d/b",
            "d/e/",
            "d/e/c: content of d/e/c",
            "d/two: ",
        ],
    );
}

#[test]
fn only_what_is_of_its_kind_takes_the_place() {
    plays_with(
        ON,
        &["doc", "other"],
        &[
            (One, "os.symlink('other', 'l'); os.unlink('doc')", "ok"),
            (One, "os.mkdir('doc')", "EPERM"),
            (One, "os.symlink('other', 'doc')", "EPERM"),
            (One, "os.mkfifo('doc')", "EPERM"),
            (One, "os.link('other', 'doc')", "EEXIST"),
            (One, "os.rename('other', 'doc')", "EPERM"),
            (One, "make('t', text=b'new'); renameat2('t', 'doc', 1)", "ok"),
            (One, "read('doc')", "new"),
            (Two, "os.unlink('l')", "ok"),
            (Two, "os.path.lexists('l')", "False"),
            (Two, "os.symlink('doc', 'l')", "ok"),
            (Two, "os.readlink('l')", "doc"),
        ],
        &["doc: new", "l -> doc", "other: content of other"],
    );
}

#[test]
fn hard_links_keep_what_is_replaced_under_another_name() {
    plays_with(
        ON,
        &["doc"],
        &[
            (One, "os.link('doc', 'second'); os.unlink('doc')", "ok"),
            (One, "os.stat('second').st_nlink", "2"),
            (One, "make('doc', text=b'new')", "ok"),
            (One, "os.stat('second').st_nlink", "1"),
            (Two, "os.unlink('second')", "ok"),
        ],
        &["doc: new", "second: content of doc"],
    );
}

#[test]
fn without_the_setting_nothing_is_unlinked() {
    plays_with(
        &["replace-by-unlink=on", "replace-by-unlink=off"],
        &["doc"],
        &[(One, "os.unlink('doc')", "EPERM")],
        &["doc: content of doc"],
    );
}

#[test]
fn who_unlinked_what_came_back_is_told() {
    let Some(edited) = Edited::new(&["doc", "sub/a"], ON) else {
        return;
    };
    let run = |program: &str| {
        let program = format!("cd {} && {program}", edited.mount.display());
        let done = BOB.command("sh").args(["-c", &program]).status();
        assert!(done.unwrap().success());
    };
    run("rm -r doc sub");
    let told = edited.world.ok(BOB, "why");
    for call in ["unlink tests/doc", "rmdir tests/sub"] {
        let line = told.lines().position(|line| line.ends_with(call));
        let line = line.unwrap_or_else(|| panic!("{told}"));
        assert!(told.lines().nth(line).unwrap().contains("  rm ("), "{told}");
        assert!(
            told.lines().nth(line + 1).unwrap().contains("it came back"),
            "{told}"
        );
    }
    // Of what was made anew there is nothing to tell.
    run("install -m 600 /etc/hostname doc");
    let again = edited.world.ok(BOB, "why");
    assert_eq!(again.matches("unlink tests/doc").count(), 1, "{again}");
}
