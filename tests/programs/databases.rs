//! SQLite.

use crate::row::Row;
use crate::sheet::check;

const LOOK: &str = "sqlite3 doc.db 'PRAGMA integrity_check; PRAGMA journal_mode; SELECT * FROM t ORDER BY a'";

const JOURNAL: Row = Row::new(
    "`sqlite3`, rollback journal",
    &["sqlite3"],
    "sqlite3 -bail doc.db \"INSERT INTO t VALUES(2, 'two'); BEGIN; UPDATE t SET b = 'uno' WHERE a = 1; \
     INSERT INTO t VALUES(3, 'three'); COMMIT; BEGIN; DELETE FROM t; ROLLBACK\"; \
     sqlite3 -bail doc.db \"VACUUM; INSERT INTO t VALUES(4, 'four')\"; \
     sqlite3 -bail new.db \"CREATE TABLE t(a); INSERT INTO t VALUES(1)\"",
)
.by_owner("sqlite3 doc.db \"CREATE TABLE t(a INTEGER PRIMARY KEY, b); INSERT INTO t VALUES(1, 'one')\"")
.look(LOOK);

const WAL: Row = Row::new(
    "`sqlite3`, write-ahead log",
    &["sqlite3"],
    "sqlite3 -bail doc.db \"INSERT INTO t VALUES(2, 'two'); BEGIN; UPDATE t SET b = 'uno' WHERE a = 1; COMMIT; \
     PRAGMA wal_checkpoint(PASSIVE); INSERT INTO t VALUES(3, 'three')\"; \
     sqlite3 -bail doc.db \"INSERT INTO t VALUES(4, 'four'); SELECT count(*) FROM t\"; \
     sqlite3 -bail new.db \"PRAGMA journal_mode=WAL; CREATE TABLE t(a); INSERT INTO t VALUES(1)\"",
)
.by_owner(
    "sqlite3 doc.db \"PRAGMA journal_mode=WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b); \
     INSERT INTO t VALUES(1, 'one')\"",
)
.look(LOOK);

pub fn rows() -> Vec<Row> {
    vec![JOURNAL, WAL]
}

#[test]
fn sqlite_does_as_the_table_says() {
    check(&rows());
}
