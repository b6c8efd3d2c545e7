//! Editors, typed into at a terminal.

use crate::row::Row;
use crate::sheet::check;

const DOCUMENT: &str = "seq 1 20 >doc.txt";

const VIM: Row = Row::new(
    "`vim`",
    &["vim", "python3"],
    "python3 -I $SCRIPTS/type_into.py vim doc.txt 'first line'; python3 -I $SCRIPTS/type_into.py vim doc.txt 'second line'",
)
.by_owner(DOCUMENT);

const VIM_RENAMES: Row = Row::new(
    "`vim`, `:set backupcopy=no`",
    &["vim", "python3"],
    "for line in first second; do python3 -I $SCRIPTS/type_into.py vim doc.txt $line -c 'set backupcopy=no'; done",
)
.by_owner(DOCUMENT);

const VIM_OWN: Row = Row::new("`vim`, a file of one's own", VIM.needs, VIM.run).by_himself(DOCUMENT);

const EMACS: Row = Row::new(
    "`emacs`",
    &["emacs", "python3"],
    "for line in first second; do python3 -I $SCRIPTS/type_into.py emacs doc.txt $line; done",
)
.by_owner(DOCUMENT);

const EMACS_OWN: Row = Row::new("`emacs`, a file of one's own", EMACS.needs, EMACS.run).by_himself(DOCUMENT);

const NANO: Row = Row::new(
    "`nano`",
    &["nano", "python3"],
    "for line in first second; do python3 -I $SCRIPTS/type_into.py nano doc.txt $line; done",
)
.by_owner(DOCUMENT);

pub fn rows() -> Vec<Row> {
    vec![VIM, VIM_RENAMES, VIM_OWN, EMACS, EMACS_OWN, NANO]
}

#[test]
fn vim_saves_as_the_table_says() {
    check(&[VIM, VIM_RENAMES, VIM_OWN]);
}

#[test]
fn emacs_saves_as_the_table_says() {
    check(&[EMACS, EMACS_OWN]);
}

#[test]
fn nano_saves_as_the_table_says() {
    check(&[NANO]);
}
