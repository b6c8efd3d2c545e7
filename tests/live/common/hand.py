# Runs what it is told, line by line, and answers each line with one: `ok`, a value, or the name of an errno.
import errno, fcntl, mmap, os, socket, sqlite3, subprocess, sys, time

names = globals()
for line in sys.stdin:
    try:
        try:
            value = eval(compile(line.strip(), "line", "eval"), names)
        except SyntaxError:
            value = exec(line, names)
        answer = "ok" if value is None else str(value)
    except sqlite3.Error as error:
        answer = f"sqlite: {error}"
    except OSError as error:
        answer = errno.errorcode.get(error.errno, str(error))
    except Exception as error:
        answer = f"{type(error).__name__}: {error}"
    print(answer.replace("\n", " "), flush=True)
