//! Programs that edit files without being typed into.

use crate::row::Row;
use crate::sheet::check;

const DOCUMENT: &str = "seq 1 20 >doc.txt; chmod 640 doc.txt";

const SED: Row = Row::new(
    "`sed -i`",
    &["sed"],
    "sed -i s/5/five/ doc.txt; sed -i s/6/six/ doc.txt",
)
.by_owner(DOCUMENT);

const SED_BACKUP: Row = Row::new("`sed -i.bak`", &["sed"], "sed -i.bak s/5/five/ doc.txt").by_owner(DOCUMENT);

const PERL: Row = Row::new(
    "`perl -i`",
    &["perl"],
    "perl -i -pe s/5/five/ doc.txt; perl -i.bak -pe s/6/six/ doc.txt",
)
.by_owner(DOCUMENT);

const PATCH: Row = Row::new(
    "`patch`",
    &["patch", "diff"],
    "patch <$ASIDE/doc.patch; patch -R <$ASIDE/doc.patch; patch --backup <$ASIDE/doc.patch",
)
.by_owner(
    "seq 1 20 >doc.txt; sed s/5/five/ doc.txt >$ASIDE/new; \
     diff -u --label doc.txt --label doc.txt doc.txt $ASIDE/new >$ASIDE/doc.patch || true",
);

pub fn rows() -> Vec<Row> {
    vec![SED, SED_BACKUP, PERL, PATCH]
}

#[test]
fn stream_editors_and_patch_do_as_the_table_says() {
    check(&rows());
}
