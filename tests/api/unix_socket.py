"""Lets schemathesis ask the control socket, as the user of LENDFS_TEST_UID: the daemon takes whoever connects."""

import os
import random
import socket

import schemathesis
import urllib3.connection


def connect(_connection):
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(30)
    # unix(7), SO_PEERCRED: those in effect at connect.
    os.seteuid(int(os.environ["LENDFS_TEST_UID"]))
    try:
        stream.connect(os.environ["LENDFS_SOCKET"])
    finally:
        os.seteuid(0)
    return stream


urllib3.connection.HTTPConnection._new_conn = connect

CHOOSE = random.Random(1)

# What is there already, so that not every request ends at a name that nobody has.
NAMES = {
    "name": ["tests", "bin", "new"],
    "new": ["other", "tests"],
    "to": ["bin", "root"],
    "with": ["bin", "group:staff", "unix:sys", "bin@example.com"],
    "principal": ["bin", "group:staff", "daemon"],
    "group": ["staff", "group:staff"],
    "assignment": ["revoke=strict", "own-files=removable", "type=viewer", "email=bin@example.com"],
    "account": ["bin", "root"],
}
PATHS = ["/", "/etc/passwd", "/nowhere", "/root/x", os.environ["LENDFS_TEST_LENT"], "/" + "x/" * 3000, "/bin/\0"]
PLACES = ["tests", "tests/a", "daemon:mine", "daemon:mine/b", "root:tests/a/b", "mine"]


@schemathesis.hook
def before_call(context, case, kwargs):
    """What is asked as described is mostly asked about what is there, and in one's own name."""
    # What waits for news is as good without, and takes no half minute.
    if isinstance(case.body, dict) and case.body.get("wait") is True:
        case.body["wait"] = False
    if case.meta is None or case.meta.generation.mode.is_negative:
        return
    headers = case.headers or {}
    if "lendfs-user" in headers and CHOOSE.random() < 0.9:
        del headers["lendfs-user"]
        if os.environ["LENDFS_TEST_UID"] == "0" and CHOOSE.random() < 0.4:
            headers["lendfs-user"] = CHOOSE.choice(["bin", "daemon"])
    body = case.body
    if not isinstance(body, dict) or CHOOSE.random() < 0.2:
        return
    for key, value in body.items():
        if isinstance(value, str) and key in NAMES:
            body[key] = CHOOSE.choice(NAMES[key])
        elif isinstance(value, str) and key in ("path", "at"):
            body[key] = CHOOSE.choice(PATHS)
        elif isinstance(value, dict) and isinstance(value.get("named"), str) and len(value) == 1:
            body[key] = {"named": CHOOSE.choice(PLACES)}
