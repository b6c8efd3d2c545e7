"""Works in a directory as programs do, until it is told to stop, and finds out whether all is as it must be.

usage: work.py KIND DIRECTORY STOP - KIND is one of the functions below. Ends with status 0 and says how much it did, or
with what was wrong.
"""

import errno
import fcntl
import hashlib
import mmap
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time

KIND, PLACE, STOP = sys.argv[1:4]
GIT = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "gc.auto=0", "-c", "safe.directory=*"]


def going_on():
    return not os.path.exists(STOP)


def run(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    assert done.returncode == 0, f"{command}: {done.returncode}: {done.stdout.decode(errors='replace')}"
    return done.stdout


def untar(rounds):
    """Unpacks, compares, removes."""
    source = os.path.join(PLACE, "..", "archive.tar")
    while going_on():
        directory = f"round{rounds}"
        os.mkdir(directory)
        run("tar", "xf", source, "-C", directory)
        run("tar", "df", source, "-C", directory)
        found = sum(len(files) for _, _, files in os.walk(directory))
        assert found == int(run("sh", "-c", f"tar tf {source} | grep -vc '/$'")), found
        run("rm", "-r", directory)
        assert not os.path.exists(directory)
        rounds += 1
    return rounds


def git(rounds):
    """Commits, branches, merges, checks."""
    run("git", "init", "-q", ".")
    while going_on():
        for number in range(20):
            with open(f"file{number}", "a") as file:
                file.write(f"{rounds}\n")
        run(*GIT, "add", "-A")
        run(*GIT, "commit", "-qm", f"round {rounds}")
        run(*GIT, "checkout", "-qb", f"branch{rounds}", "HEAD")
        run(*GIT, "mv", "file0", "moved")
        run(*GIT, "commit", "-qam", "moved")
        run(*GIT, "checkout", "-q", "-")
        run(*GIT, "merge", "-q", "--no-ff", "-m", "merged", f"branch{rounds}")
        run(*GIT, "mv", "moved", "file0")
        run(*GIT, "commit", "-qam", "back")
        if rounds % 5 == 4:
            run(*GIT, "gc", "-q")
        rounds += 1
        assert run(*GIT, "status", "--porcelain") == b""
        with open("file0") as file:
            assert file.read().split() == [str(number) for number in range(rounds)]
    run(*GIT, "fsck", "--full", "--strict")
    return rounds


def database(rounds):
    """Fills a database with a rollback journal and one with a log."""
    opened = []
    for mode in ["delete", "wal"]:
        connection = sqlite3.connect(mode + ".db", timeout=60, isolation_level=None)
        connection.execute(f"pragma journal_mode={mode}")
        connection.execute("create table t (n integer primary key, text text)")
        opened.append(connection)
    while going_on():
        for connection in opened:
            connection.execute("begin immediate")
            for _ in range(10):
                connection.execute("insert into t (text) values (?)", ("x" * random.randrange(2000),))
            connection.execute("commit")
        rounds += 1
    for connection in opened:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
        assert connection.execute("select count(*) from t").fetchone() == (10 * rounds,)
        connection.close()
    return rounds


def blocks(rounds):
    """Writes blocks that know what they are, in all ways, and reads them back in all ways."""
    size, count = 4096, 256
    content = [b"\0" * size] * count
    with open("blocks", "w+b") as made:
        made.truncate(size * count)
    writer = os.open("blocks", os.O_RDWR)
    mapped = mmap.mmap(writer, size * count)
    while going_on():
        number = random.randrange(count)
        block = hashlib.sha256(f"{number} {rounds}".encode()).digest() * (size // 32)
        if rounds % 3 == 0:
            mapped[number * size : (number + 1) * size] = block
            mapped.flush()
        else:
            assert os.pwrite(writer, block, number * size) == size
        content[number] = block
        if rounds % 50 == 0:
            os.fsync(writer)
        look = random.randrange(count)
        assert os.pread(writer, size, look * size) == content[look], look
        if rounds % 20 == 0:
            with open("blocks", "rb") as again:
                again.seek(look * size)
                assert again.read(size) == content[look], look
        rounds += 1
    with open("blocks", "rb") as again:
        assert again.read() == b"".join(content)
    return rounds


SHELL = r"""
set -eu
cd "$1/deep/er"
[ "$(pwd)" = "$1/deep/er" ]
n=0
while ! [ -e "$2" ]; do
    echo "$n" > made
    [ "$(cat made)" = "$n" ]
    mv made moved
    ! [ -e made ]
    ln moved linked
    [ "$(stat -c %h moved)" = 2 ]
    ln -s moved pointer
    [ "$(readlink pointer)" = moved ]
    [ "$(cat pointer)" = "$n" ]
    rm linked pointer
    mkdir sub sub/sub
    mv moved sub/sub/
    [ "$(ls sub/sub)" = moved ]
    echo "$n" >> ../log
    [ "$(ls | wc -l)" = 1 ]
    chmod 600 sub/sub/moved
    touch -d @1000000000 sub/sub/moved
    [ "$(stat -c '%a %Y' sub/sub/moved)" = "600 1000000000" ]
    truncate -s 100 sub/sub/moved
    [ "$(stat -c %s sub/sub/moved)" = 100 ]
    rm -r sub
    n=$((n + 1))
done
seq 0 $((n - 1)) | cmp - ../log
echo "$n"
"""


def shell(rounds):
    """Does what shells do, with its working directory in the mount."""
    os.makedirs("deep/er")
    return int(run("sh", "-c", SHELL, "sh", PLACE, STOP))


def lock(rounds):
    """Counts, with several others, under a lock that only one can make or take."""
    counter = os.path.join(PLACE, "..", "counter")
    while going_on():
        if rounds % 2:
            try:
                os.close(os.open(counter + ".lock", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            except FileExistsError:
                continue
        with open(counter + ".mutex", "w") as mutex:
            fcntl.lockf(mutex, fcntl.LOCK_EX)
            with open(counter, "a+") as file:
                file.seek(0)
                value = int(file.read() or 0)
            with open(counter + ".new", "x") as file:
                file.write(str(value + 1))
            os.rename(counter + ".new", counter)
        if rounds % 2:
            os.unlink(counter + ".lock")
        rounds += 1
    return rounds


def listing(rounds):
    """Lists a directory that is too large for one answer, while others change in it."""
    fixed = {f"a name that is long enough to fill an answer soon {number:04}" for number in range(600)}
    for name in fixed:
        open(name, "x").close()
    while going_on():
        extra = f"extra{rounds}"
        open(extra, "x").close()
        seen = []
        with os.scandir(".") as entries:
            for number, entry in enumerate(entries):
                seen.append(entry.name)
                if number == 100:
                    os.unlink(extra)
        counted = [name for name in seen if not name.startswith("extra")]
        assert len(counted) == len(set(counted)) and set(counted) == fixed, (
            len(counted),
            sorted(fixed - set(counted))[:3],
        )
        rounds += 1
    return rounds


def open_files(rounds):
    """Keeps files open that lose their names, and comes back to them."""
    held = []
    while going_on():
        name = f"held{rounds}"
        file = open(name, "x+b")
        text = hashlib.sha256(name.encode()).digest() * random.randrange(1, 300)
        file.write(text)
        file.flush()
        os.unlink(name)
        held.append((file, text))
        if len(held) > 20:
            file, text = held.pop(random.randrange(len(held)))
            file.seek(0)
            assert file.read() == text
            assert os.fstat(file.fileno()).st_size == len(text)
            file.truncate(3)
            assert os.pread(file.fileno(), 10, 0) == text[:3]
            file.close()
        rounds += 1
    return rounds


def native(rounds):
    """Changes names on the disk that others look up in the mount."""
    os.makedirs("names", exist_ok=True)
    while going_on():
        for number in range(20):
            with open(f"names/{number}", "w") as file:
                file.write(str(rounds))
        for number in range(20):
            os.unlink(f"names/{number}")
        # More than the kernel queues would let every name be looked up anew.
        time.sleep(0.02)
        rounds += 1
    return rounds


def lookups(rounds):
    """Looks up what comes and goes on the disk."""
    os.makedirs("../native/names", exist_ok=True)
    while going_on():
        for number in range(20):
            try:
                os.stat(f"../native/names/{number}")
            except FileNotFoundError:
                pass
            except OSError as error:
                # What is replaced on the disk twice while the kernel looks it up.
                assert error.errno == errno.ESTALE, error
        rounds += 1
    return rounds


os.makedirs(PLACE, exist_ok=True)
os.chdir(PLACE)
done = globals()[KIND](0)
os.chdir("/")
assert done > 0 or not going_on(), "nothing was done"
print(done)
