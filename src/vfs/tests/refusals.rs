//! What is kept of refusals, and what befell a name.

use super::bench::{Bench, CALLER, SUBJECT};
use crate::policy::Level;
use crate::vfs::error::Error;
use crate::vfs::ids::Ino;
use crate::vfs::refusals::{Call, Refused, Why};

fn noted(bench: &Bench) -> Vec<Refused> {
    let noted = bench.shared.refusals_after(SUBJECT, 0);
    noted.into_iter().map(|noted| noted.refused).collect()
}

#[test]
fn what_befell_a_name_is_told_as_the_subject_calls_it() {
    let bench = Bench::new();
    let sub = bench
        .filesystem
        .lookup(CALLER, bench.folder, b"sub")
        .unwrap()
        .attr
        .ino;
    let file = (sub, &b"file"[..]);
    bench
        .filesystem
        .note_said(None, "unlink", file, "it came back", Some("wait"));
    let noted = noted(&bench);
    let why = Why::Said {
        what: "it came back".into(),
        help: Some("wait".into()),
    };
    assert_eq!((&*noted[0].path, &noted[0].why), (&b"tests/sub/file"[..], &why));
}

#[test]
fn of_a_directory_that_is_hidden_meanwhile_nothing_is_kept() {
    let bench = Bench::new();
    let sub = bench
        .filesystem
        .lookup(CALLER, bench.folder, b"sub")
        .unwrap()
        .attr
        .ino;
    bench.rule("sub", Level::Invisible);
    let call = Call::at(CALLER, "unlink", sub, b"file");
    let to = Call::on(CALLER, "link", bench.file).to(sub, b"file");
    for call in [call, to] {
        bench.filesystem.note_refused(&call, &Error::Revoked);
    }
    bench
        .filesystem
        .note_said(None, "unlink", (sub, b"file"), "x", None);
    bench
        .filesystem
        .note_said(None, "unlink", (Ino(4711), b"file"), "x", None);
    assert_eq!(noted(&bench), []);
}
