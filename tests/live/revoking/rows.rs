//! Each call on what is held open, and what it answers in a strict mount and in any other.

/// What may be answered, by a strict mount and by any other; several answers stand with `|` between them.
pub struct May(pub &'static str, pub &'static str);

pub const OK: May = May("ok", "ok");
/// A handle that reads; in passthrough it is cut along with those that write.
const READS: May = May("ok", "ok|EIO");
const CUT: May = May("EIO", "EIO");
/// Cut, or asked by what is not there any more.
const GONE: May = May("EIO|ENOENT", "EIO|ENOENT");
const UNSEEN: May = May("ENOENT", "ENOENT");
const REFUSED: May = May("EACCES", "EACCES");
const BACK: May = May("ok", "ok|EIO");
/// Whatever a mapping or a splice answers that outlives what was taken back.
const ANY: &str = "ok|EIO|SIGBUS|ENOENT|EACCES";

/// A call, made on a file of its own in a directory that is taken back.
pub struct Row {
    /// Its name, and that of its file.
    pub what: &'static str,
    /// Lines of Python that prepare it, and the call. `FILE` and `ROOM` are paths, `LIVE` is what is held.
    pub prepare: &'static [&'static str],
    pub call: &'static str,
    /// While only viewing is left; while nothing is; after everything was given back.
    pub viewing: May,
    pub gone: May,
    pub back: May,
}

const fn row(what: &'static str, prepare: &'static [&'static str], call: &'static str, may: [May; 3]) -> Row {
    let [viewing, gone, back] = may;
    Row {
        what,
        prepare,
        call,
        viewing,
        gone,
        back,
    }
}

const OPEN: &[&str] = &["LIVE = os.open(FILE, os.O_RDWR)"];
const OPEN_READING: &[&str] = &["LIVE = os.open(FILE, os.O_RDONLY)"];
const POINTER: &[&str] = &["LIVE = os.open(FILE, os.O_PATH)"];
const ROOM: &[&str] = &["LIVE = os.open(ROOM, os.O_PATH)"];
const INSIDE: &[&str] = &["os.chdir(ROOM)"];
const PIPE: &[&str] = &["LIVE = os.open(FILE, os.O_RDWR)", "out, into = os.pipe()"];

pub const ROWS: [Row; 26] = [
    row("read", OPEN, "ok(os.pread(LIVE, 4, 0))", [READS, CUT, BACK]),
    row(
        "read of a reader",
        OPEN_READING,
        "ok(os.pread(LIVE, 4, 0))",
        [READS, CUT, BACK],
    ),
    row("write", OPEN, "ok(os.pwrite(LIVE, b'x', 0))", [CUT, CUT, BACK]),
    row(
        "append",
        &["LIVE = os.open(FILE, os.O_WRONLY | os.O_APPEND)"],
        "ok(os.write(LIVE, b'x'))",
        [CUT, CUT, BACK],
    ),
    row(
        "read without a name",
        &["LIVE = os.open(FILE, os.O_RDWR)", "os.unlink(FILE)"],
        "ok(os.pread(LIVE, 4, 0))",
        [READS, CUT, BACK],
    ),
    row(
        "splice out",
        PIPE,
        "ok(os.splice(LIVE, into, 4, offset_src=0), os.read(out, 4))",
        [May("ok", ANY), May("EIO", ANY), May("ok", ANY)],
    ),
    row(
        "splice in",
        PIPE,
        "ok(os.write(into, b'abcd'), os.splice(out, LIVE, 4, offset_dst=0))",
        [May("EIO", ANY), May("EIO", ANY), May("ok", ANY)],
    ),
    row(
        "sendfile",
        PIPE,
        "ok(os.sendfile(into, LIVE, 0, 4), os.read(out, 4))",
        [May("ok", ANY), May("EIO", ANY), May("ok", ANY)],
    ),
    row(
        "copy_file_range",
        OPEN,
        "ok(os.copy_file_range(LIVE, LIVE, 4, 0, 8))",
        [CUT, CUT, BACK],
    ),
    row("fsync", OPEN, "os.fsync(LIVE)", [READS, CUT, BACK]),
    row("ftruncate", OPEN, "os.ftruncate(LIVE, 20)", [CUT, CUT, BACK]),
    row(
        "fallocate",
        OPEN,
        "os.posix_fallocate(LIVE, 0, 100)",
        [CUT, CUT, BACK],
    ),
    row(
        "lseek",
        OPEN,
        "ok(os.lseek(LIVE, 0, os.SEEK_DATA))",
        [READS, CUT, BACK],
    ),
    row("fstat", OPEN, "ok(os.fstat(LIVE))", [READS, GONE, BACK]),
    row(
        "fchmod",
        OPEN,
        "os.fchmod(LIVE, 0o640)",
        [May("EIO|EACCES", "EIO|EACCES"), GONE, BACK],
    ),
    row(
        "open anew by /proc to read",
        OPEN,
        "os.close(os.open(f'/proc/self/fd/{LIVE}', os.O_RDONLY))",
        [READS, GONE, BACK],
    ),
    row(
        "open anew by /proc to write",
        OPEN,
        "os.close(os.open(f'/proc/self/fd/{LIVE}', os.O_WRONLY))",
        [May("EACCES", "EIO|EACCES"), GONE, BACK],
    ),
    row(
        "pointer opened",
        POINTER,
        "os.close(os.open(f'/proc/self/fd/{LIVE}', os.O_RDONLY))",
        [READS, GONE, BACK],
    ),
    row(
        "open below a pointer to read",
        ROOM,
        "os.close(os.open(NAME, os.O_RDONLY, dir_fd=LIVE))",
        [OK, UNSEEN, OK],
    ),
    row(
        "open below a pointer to write",
        ROOM,
        "os.close(os.open(NAME, os.O_RDWR, dir_fd=LIVE))",
        [REFUSED, UNSEEN, OK],
    ),
    row(
        "stat below a pointer",
        ROOM,
        "ok(os.stat(NAME, dir_fd=LIVE))",
        [OK, UNSEEN, OK],
    ),
    row(
        "list the working directory",
        INSIDE,
        "ok(os.listdir('.'))",
        [OK, UNSEEN, OK],
    ),
    row(
        "open from the working directory",
        INSIDE,
        "os.close(os.open(NAME, os.O_RDONLY))",
        [OK, UNSEEN, OK],
    ),
    row(
        "write anew",
        INSIDE,
        "ok(os.close(os.open(FILE, os.O_RDWR)))",
        [REFUSED, UNSEEN, OK],
    ),
    row(
        "open of a held file to read",
        OPEN,
        "os.close(os.open(FILE, os.O_RDONLY))",
        [OK, UNSEEN, OK],
    ),
    row(
        "open of a held file to write",
        OPEN,
        "os.close(os.open(FILE, os.O_RDWR))",
        [REFUSED, UNSEEN, OK],
    ),
];

/// Those that one may die of: each in a process of its own.
pub const MAPPED: [Row; 2] = [
    row(
        "load",
        &["LIVE = mmap.mmap(os.open(FILE, os.O_RDWR), 0)"],
        "ok(LIVE[0])",
        [May("ok", ANY), May("SIGBUS", ANY), May("ok", ANY)],
    ),
    row(
        "store",
        &["LIVE = mmap.mmap(os.open(FILE, os.O_RDWR), 0)"],
        "store(LIVE)",
        [May("EIO|SIGBUS|ok", ANY), May("SIGBUS", ANY), May("ok", ANY)],
    ),
];
