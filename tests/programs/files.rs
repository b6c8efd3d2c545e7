//! Programs that copy, move, pack and unpack files.

use crate::row::Row;
use crate::sheet::check;

/// What is copied, and what stands where it is copied to: another `a`, a `b` that nobody touches.
const TREE: &str = "mkdir -p $ASIDE/from/sub; echo new >$ASIDE/from/a; echo deep >$ASIDE/from/sub/c; \
     ln -s a $ASIDE/from/link; chmod 604 $ASIDE/from/a; touch -d 2020-02-02 $ASIDE/from/* $ASIDE/from/sub/c; \
     mkdir sub; echo old >a; echo stays >b; chmod 600 a b";

const TIMES: &str = "find . -type f -printf '%m %TY-%Tm-%Td %p\\n' | grep -v /made | sort";

const fn copy(name: &'static str, needs: &'static [&'static str], script: &'static str) -> Row {
    Row::new(name, needs, script).by_owner(TREE)
}

const RSYNC: Row = copy("`rsync -r`", &["rsync"], "rsync -r $ASIDE/from/ .");
const RSYNC_ARCHIVE: Row = copy("`rsync -a`", &["rsync"], "rsync -a $ASIDE/from/ .").look(TIMES);
const RSYNC_IN_PLACE: Row = copy(
    "`rsync --inplace`",
    &["rsync"],
    "rsync -r --inplace $ASIDE/from/ .",
);

const TAR_CREATE: Row = copy(
    "`tar`, create",
    &["tar", "gzip"],
    "tar czf made.tar.gz a b sub; tar tf made.tar.gz",
)
.varies(&["made.tar.gz"]);
const TAR_EXTRACT: Row = Row::new("`tar`, extract what is new", &["tar"], "tar xf $ASIDE/from.tar; tar xpf $ASIDE/more.tar")
    .by_owner(
        "mkdir -p $ASIDE/from/sub $ASIDE/more; echo a >$ASIDE/from/sub/a; ln -s a $ASIDE/from/sub/link; \
         ln $ASIDE/from/sub/a $ASIDE/from/sub/second; chmod 700 $ASIDE/from/sub; \
         echo b >$ASIDE/more/b; chmod 606 $ASIDE/more/b; touch -d 2020-02-02 $ASIDE/from/sub/a $ASIDE/more/b; \
         tar cf $ASIDE/from.tar -C $ASIDE/from sub; tar cf $ASIDE/more.tar -C $ASIDE/more b",
    )
    .look(TIMES);
const TAR_OVER: Row = Row::new("`tar`, extract over", &["tar"], "tar xf $ASIDE/from.tar")
    .by_owner(
        "mkdir sub; echo new >a; echo c >sub/c; tar cf $ASIDE/from.tar a sub; echo old >a; echo old >sub/c",
    )
    .look("cat a sub/c");

const CP: Row = copy(
    "`cp`",
    &["cp"],
    "cp $ASIDE/from/a .; cp a made; cp -r $ASIDE/from copy",
);
const CP_PRESERVE: Row = copy(
    "`cp -p`",
    &["cp"],
    "cp -p $ASIDE/from/a c; cp -p b d; cp -a $ASIDE/from copy",
)
.look(TIMES);
const CP_PRESERVE_OVER: Row =
    copy("`cp -p`, over another file", &["cp"], "cp -p $ASIDE/from/a .").look(TIMES);
const MV: Row = copy(
    "`mv`, to a free name",
    &["mv"],
    "mv a c; echo mine >m; mv m n; echo in >$ASIDE/in; mv $ASIDE/in in",
);
const MV_OVER: Row = copy("`mv`, over another file", &["mv"], "mv -f a b");
const INSTALL: Row = copy(
    "`install`",
    &["install"],
    "install -m 755 $ASIDE/from/a a; install $ASIDE/from/a made",
);
const LN: Row = Row::new("`ln -sf`", &["ln"], "ln -sf b new; ln -sf b link; ln -sfn b link")
    .by_owner("echo a >a; echo b >b; ln -s a link");
const RM: Row = Row::new("`rm`", &["rm"], "rm doc.txt").by_owner("echo a >doc.txt");
const RM_OWN: Row =
    Row::new("`rm`, a file of one's own", &["rm"], "rm doc.txt").by_himself("echo a >doc.txt");

pub fn rows() -> Vec<Row> {
    vec![
        RSYNC,
        RSYNC_ARCHIVE,
        RSYNC_IN_PLACE,
        TAR_CREATE,
        TAR_EXTRACT,
        TAR_OVER,
        CP,
        CP_PRESERVE,
        CP_PRESERVE_OVER,
        MV,
        MV_OVER,
        INSTALL,
        LN,
        RM,
        RM_OWN,
    ]
}

#[test]
fn rsync_and_tar_do_as_the_table_says() {
    check(&[
        RSYNC,
        RSYNC_ARCHIVE,
        RSYNC_IN_PLACE,
        TAR_CREATE,
        TAR_EXTRACT,
        TAR_OVER,
    ]);
}

#[test]
fn the_small_tools_do_as_the_table_says() {
    check(&[
        CP,
        CP_PRESERVE,
        CP_PRESERVE_OVER,
        MV,
        MV_OVER,
        INSTALL,
        LN,
        RM,
        RM_OWN,
    ]);
}
