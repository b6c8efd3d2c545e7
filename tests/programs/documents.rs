//! Office documents and notebooks.

use crate::row::{JUPYTER, Row};
use crate::sheet::check;

const OFFICE: Row = Row::new(
    "LibreOffice",
    &["soffice", "python3"],
    "/usr/bin/python3 $SCRIPTS/office.py",
)
.once("/usr/bin/python3 $SCRIPTS/office.py new")
.by_owner("cp $ONCE/doc.odt .")
.look(
    "python3 -I -c 'import re, zipfile
text = zipfile.ZipFile(\"doc.odt\").read(\"content.xml\").decode()
print(re.sub(\"<[^>]*>\", \"\", text))'",
)
.varies(&["doc.odt"]);

/// The manager that stands between a notebook in a browser and its file.
const NOTEBOOK: Row = Row::new(
    "Jupyter's contents manager",
    &["python3", JUPYTER],
    "PYTHONPATH=$JUPYTER python3 -W ignore $SCRIPTS/notebook.py",
)
.by_owner(
    "echo '{\"cells\": [{\"cell_type\": \"markdown\", \"id\": \"a\", \"metadata\": {}, \"source\": \"old\"}], \
     \"metadata\": {}, \"nbformat\": 4, \"nbformat_minor\": 5}' >doc.ipynb",
);

pub fn rows() -> Vec<Row> {
    vec![OFFICE, NOTEBOOK]
}

#[test]
fn an_office_suite_saves_as_the_table_says() {
    check(&[OFFICE]);
}

#[test]
fn notebooks_are_saved_as_the_table_says() {
    check(&[NOTEBOOK]);
}
