# The calls that a process is told to make: see call.rs.
import ctypes, threading

FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
libc = ctypes.CDLL(None, use_errno=True)

def store(path, flags, content):
    fd = os.open(path, os.O_WRONLY | FLAGS | flags, 0o644)
    try:
        if content:
            os.write(fd, content.encode())
    finally:
        os.close(fd)

def read(path):
    fd = os.open(path, os.O_RDONLY | FLAGS)
    try:
        return "=" + os.read(fd, 4096).decode()
    finally:
        os.close(fd)

def rename(old, new, flags):
    if libc.renameat2(-100, old.encode(), -100, new.encode(), flags):
        raise OSError(ctypes.get_errno(), "")

def held_write(fd, content):
    os.pwrite(fd, content.encode(), 0)

def let_go():
    os.closerange(3, 256)

def in_thread(line):
    failed = []
    def run():
        try:
            eval(line, names)
        except OSError as error:
            failed.append(error)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]

def in_child(line):
    child = os.fork()
    if child == 0:
        number = 255
        try:
            eval(line, names)
            number = 0
        except OSError as error:
            number = error.errno
        finally:
            os._exit(number)
    number = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if number:
        raise OSError(number, "")
