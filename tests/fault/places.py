"""Every place of the daemons' code that calls what inject.c stands before; those that no operation reaches are told, unless `excused` says why."""
import fnmatch
import os
import re
import subprocess
from collections import namedtuple

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "..", ".."))
DAEMONS = ("auth", "queue", "smtpd", "deliver", "lmtpd", "imapd", "imap-session", "relay", "pickup", "agent")
# Memory and connections, which are no files; and what inject.c only looks on at.
OTHERS = {"malloc", "calloc", "realloc", "reallocarray", "strdup", "socket", "connect", "getsockopt", "recv", "__recv_chk", "send", "epoll_ctl", "epoll_wait", "closedir", "close_range", "dup2", "clock_gettime"}
STEMS = {"__open_2": "open", "__pread_chk": "pread", "__fxstat": "fstat"}
# A function that only ends in a call jumps to it: the place where it returns to is its caller's, and cannot be told apart.
CALLS = re.compile(r"\tcall\S*\s.*<(\w+)@plt>|\tbl\s.*<(\w+)@plt>")

Place = namedtuple("Place", "file line function call")


def output(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def interposed(library):
    """The functions whose calls count."""
    return {line.split()[-1] for line in output("nm", "-D", "--defined-only", library).splitlines()} - OTHERS


def returns(binary, names):
    """(where it returns to, the function that is called), of each call of one of them."""
    found, name = [], None
    for line in output("objdump", "-d", "--no-show-raw-insn", binary).splitlines():
        address, colon, _ = line.partition(":\t")
        if not colon:
            continue
        if name in names:
            found.append((int(address, 16), name))
        m = CALLS.search(line)
        name = m and (m.group(1) or m.group(2))
    return found


def in_tree(path):
    """Of the path that the compiler was given: the part below the sources."""
    parts = path.split("/")
    return next(("/".join(parts[i:]) for i in range(1, len(parts)) if os.path.exists(os.path.join(ROOT, *parts[i:]))), path)


def sources(binary, addresses):
    """address -> (file, line, function); of a call that one of the system's headers puts in, where it does."""
    found = {}
    for text in output("addr2line", "-a", "-f", "-i", "-e", binary, *map(hex, addresses)).split("0x")[1:]:
        address, *frames = text.splitlines()
        for function, where in zip(frames[::2], frames[1::2]):
            path, _, line = where.split(" ")[0].rpartition(":")
            if not path.startswith("/usr/"):
                break
        found[int(address, 16)] = in_tree(path), int(line) if line.isdigit() else 0, function.split(".")[0]
    return found


def unheard(file, line):
    """Nobody looks at what the call says, in a line of its own: whether it fails makes no difference."""
    with open(os.path.join(ROOT, file)) as f:
        return f.read().split("\n")[line - 1].strip().startswith("close(")


def places(libexec, library):
    """(module, return address) -> Place. What is inlined, or part of several daemons, is one place."""
    found, names = {}, interposed(library)
    for daemon in DAEMONS:
        binary = os.path.join(libexec, daemon)
        calls = returns(binary, names)
        stand = sources(binary, [at - 1 for at, _ in calls])
        for at, name in calls:
            file, line, function = stand[at - 1]
            if name != "close" or not unheard(file, line):
                found[(daemon, at)] = Place(file, line, function, STEMS.get(name, name))
    return found


def excused():
    """(file, function, call), patterns all."""
    with open(os.path.join(HERE, "excused")) as f:
        return [tuple(line.split()) for line in f if line.startswith("\t")]


def matches(place, excuse):
    return all(fnmatch.fnmatchcase(part, pattern) for part, pattern in zip((place.file, place.function, place.call), excuse))


def compare(libexec, library, reached):
    """(a line that counts them, the places that are neither reached nor excused and the excuses that excuse nothing).
    reached: (module, return address)."""
    known, excuses = places(libexec, library), excused()
    every = set(known.values())
    left = every - {known[r] for r in reached if r in known}
    missing = sorted(p for p in left if not any(matches(p, e) for e in excuses))
    counts = "%d of %d places with file system calls reached, %d excused" % (len(every) - len(left), len(every), len(left) - len(missing))
    idle = ["excused is no place: %s" % " ".join(e) for e in excuses if not any(matches(p, e) for p in every)]
    return counts, ["not reached: %s:%s %s %s" % p for p in missing] + idle
