"""Types into an editor, as a user would: type_into.py EDITOR FILE LINE [ARGUMENT...] adds a line to a file and saves it.

Exits as the editor did; if it refuses to save, with status 1 and the last screen.
"""

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time

ESCAPES = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|[()][A-Z0-9]|\][^\x07\x1b]*(\x07|\x1b\\)|P[^\x1b]*\x1b\\|[=>78])|[\x00\x0e\x0f]")
PATIENCE = 20


class Terminal:
    def __init__(self, command):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(command[0], command)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.shown = b""
        self.ended = False

    def read(self, wait):
        """Reads what is shown within that time; tells whether anything was."""
        if self.ended or not select.select([self.fd], [], [], wait)[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            data = b""
        # What a terminal answers that is asked what it is.
        for asked, answer in (rb"\x1b\[0?c", b"\x1b[?1;2c"), (rb"\x1b\[>0?c", b"\x1b[>0;136;0c"):
            if re.search(asked, data):
                os.write(self.fd, answer)
        self.ended = not data
        self.shown += data
        return bool(data)

    def text(self):
        return ESCAPES.sub(b"", self.shown).decode(errors="replace")

    def sees(self, *patterns):
        """Waits for one of these, or the end; tells which."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for pattern in patterns:
                if re.search(pattern, self.text()):
                    self.settle()
                    return pattern
            if self.ended:
                return None
            self.read(0.05)
        self.fail(f"waited for {patterns}")

    def settle(self):
        while self.read(0.1):
            pass

    def types(self, keys):
        self.shown = b""
        os.write(self.fd, keys.encode())

    def fail(self, why):
        print(f"{why}: the screen shows:\n{self.text()}")
        os.close(self.fd)
        os.waitpid(self.pid, 0)
        sys.exit(1)

    def end(self):
        """Waits for the end of the editor and ends likewise."""
        deadline = time.monotonic() + PATIENCE
        while not self.ended and time.monotonic() < deadline:
            self.read(0.05)
        if not self.ended:
            self.fail("it does not end")
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if status:
            print(f"status {status}: the screen shows:\n{self.text()}")
        sys.exit(status)


def vim(file, line, arguments):
    terminal = Terminal(["vim", *arguments, file])
    terminal.sees(re.escape(file) + r'"')
    terminal.types(f"Go{line}\x1b:wq\r")
    if terminal.sees(r"E\d+:.*", r"Press ENTER"):
        said = terminal.text()
        # Whoever is told to add ! does so.
        terminal.types("\r:wq!\r")
        if terminal.sees(r"E\d+:.*", r"Press ENTER"):
            said += terminal.text()
            terminal.types("\r:q!\r")
            terminal.sees()
            terminal.shown = said.encode()
            terminal.fail("it does not save")
    terminal.end()


def nano(file, line, arguments):
    terminal = Terminal(["nano", *arguments, file])
    terminal.sees(r"\[ .* \]")
    terminal.types(f"\x1b/{line}\r\x0f")
    terminal.sees(r"File Name to Write")
    terminal.types("\r")
    if terminal.sees(r"\[ Wrote .* \]", r"\[ Error .* \]") == r"\[ Error .* \]":
        said = terminal.text()
        terminal.types("\x18n")
        terminal.sees()
        terminal.shown = said.encode()
        terminal.fail("it does not save")
    terminal.types("\x18")
    terminal.end()


def emacs(file, line, arguments):
    # The tests may run in /tmp, of which it keeps no backup by default.
    backups = ["--eval", "(setq backup-enable-predicate 'stringp)"]
    terminal = Terminal(["emacs", "-nw", *backups, *arguments, file])
    terminal.sees(r"For information about GNU Emacs|Note: file is write protected")
    terminal.types(f"\x1b>{line}\r")
    if terminal.sees(re.escape(line), r"Buffer is read-only") == r"Buffer is read-only":
        said = terminal.text()
        terminal.types("\x18\x03")
        terminal.sees()
        terminal.shown = said.encode()
        terminal.fail("it does not let the text be changed")
    terminal.types("\x18\x13")
    terminal.sees(r"Wrote ")
    said = terminal.text()
    terminal.types("\x18\x03")
    if "annot write backup" in said:
        print(said)
    terminal.end()


if __name__ == "__main__":
    editor, file, line, *arguments = sys.argv[1:]
    {"vim": vim, "nano": nano, "emacs": emacs}[editor](file, line, arguments)
