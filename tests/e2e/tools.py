"""What tests of hostile input and of faults have in common: measuring a daemon, failing its system calls, a small disk."""
import fcntl
import os
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import time

import pytest

from mailwain import ROOT, TIMEOUT, until

AS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not AS_ROOT, reason="needs root")
needs_strace = pytest.mark.skipif(shutil.which("strace") is None or not AS_ROOT, reason="needs strace and root")


# ---- programs of Debian ----

OTHERS = os.path.join(ROOT, "build", "others")


def lacks(program):
    """Where install-deps.sh has been every program of its list is to be had: that it is not would leave its test out unseen."""
    if os.path.isdir(OTHERS):
        pytest.fail("%s is not there, though tests/install-deps.sh has run: run it again" % program)
    pytest.skip("no %s here; tests/install-deps.sh gets it" % program)


def unpacked(program):
    """One that is not installed, but unpacked by install-deps.sh: its path, and what its environment has to say."""
    path, libraries = os.path.join(OTHERS, "usr", "bin", program), os.path.join(OTHERS, "usr", "lib", "programs")
    if not os.path.exists(path):
        lacks(program)
    return path, {"LD_LIBRARY_PATH": ":".join(filter(None, (libraries, os.environ.get("LD_LIBRARY_PATH")))), "PYTHONPATH": libraries, "PYTHONDONTWRITEBYTECODE": "1"}


# ---- what a process costs ----


def private_memory(pid):
    """In bytes; the sanitizers' own is no measure."""
    if "SANITIZED" in os.environ:
        return 0
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return sum(int(line.split()[1]) for line in f if line.startswith("Private")) * 1024


def memory(suite, name="smtpd"):
    return private_memory(suite.daemons()[name])


def cpu_of(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu(suite, name="smtpd"):
    return cpu_of(suite.daemons()[name])


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        return [int(p) for p in f.read().split()]


def worker_of(suite, spawner, account):
    """The process of a spawner that is confined to this account's directory; None when there is none."""
    directory = os.path.realpath(suite.account_dir(account))
    for pid in children(suite.daemons()[spawner]):
        try:
            if os.path.realpath("/proc/%d/cwd" % pid) == directory:
                return pid
        except OSError:
            continue
    return None


def is_alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


# ---- what a connection's server has done with what was sent ----


def server_side(c):
    """(state, octets not yet read) of the server's socket of a connection on loopback; None when it is gone."""
    try:
        local, remote = c.sock.getsockname()[1], c.sock.getpeername()[1]
    except OSError:
        return None
    with open("/proc/net/tcp") as f:
        for line in f:
            fields = line.split()
            if fields[1].endswith(":%04X" % remote) and fields[2].endswith(":%04X" % local):
                return int(fields[3], 16), int(fields[4].split(":")[1], 16)
    return None


def all_read(c):
    """Waits until the server has read everything; what is sent after it comes to it on its own. What is not acknowledged yet has not come to its socket."""

    def unsent():
        return struct.unpack("i", fcntl.ioctl(c.sock, termios.TIOCOUTQ, bytes(4)))[0]

    until(lambda: unsent() == 0 and (server_side(c) or (0, 0))[1] == 0, what="the server does not read")


TOO_LATE = ("421 4.4.2 ", "* BYE Login took too long", "* BYE Silent for too long")  # what a server ends the session of a slow client with


def in_time(do):
    """
    What do() makes. A server that ends sessions after a second or two does it to a slow machine as well: it is done again until the machine has
    not stood still for so long. Any other refusal is none to be passed over.
    """
    def once():
        try:
            return [do()]
        except (EOFError, ConnectionError):
            return None
        except AssertionError as e:
            if any(words in str(e) for words in TOO_LATE):
                return None
            raise

    return until(once, what="the server has ended the session each time")[0]


def last_words(c, seconds=TIMEOUT):
    """(all codes, whether the server closed)"""
    codes = []
    c.sock.settimeout(seconds)
    try:
        while True:
            codes.append(c.reply()[0])
    except (EOFError, ConnectionError):
        return codes, True
    except (OSError, ValueError):
        return codes, False


def count(suite, account):
    suite.wait_empty()
    c = suite.imap(account)
    status = c.ok("STATUS INBOX (MESSAGES)")[0]
    c.close()
    return int(re.search(rb"MESSAGES (\d+)", status).group(1))


# ---- a queue and a store at rest ----


def flushed(suite, seconds=TIMEOUT):
    """Tries what waits until nothing does."""
    until(lambda: suite.mw("queue", "flush", "--all", check=False) and not suite.rows("queue", "list"), seconds, "the queue is not empty")


def sound(suite, account):
    def checked():
        r = suite.mw("store", "check", account + "@example.com", check=False)
        return r if r.returncode != 75 else None

    r = until(checked)
    return "no faults" in r.stdout + r.stderr


# ---- faults ----


class Strace:
    """Injects a fault into a running process (and its children) until it is left. `calls` are then what it did."""

    def __init__(self, pid, inject=None, follow=True, trace=None):
        self.log = tempfile.mktemp(prefix="mailwain-strace-")
        trace = trace or inject.split(":")[0]
        inject = ["-e", "inject=" + inject] if inject else []
        self.p = subprocess.Popen(["strace", "-o", self.log, "-p", str(pid), "-e", "trace=" + trace] + ["-f"] * follow + inject, stderr=subprocess.PIPE)
        line = self.p.stderr.readline()
        assert b"attached" in line, line

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.send_signal(signal.SIGINT)
        try:
            self.p.wait(2)
        except subprocess.TimeoutExpired:
            self.p.kill()  # it waits for a thread that its own injection has ended
            self.p.wait()
        self.p.stderr.close()
        with open(self.log, errors="replace") as f:
            self.calls = f.read().splitlines()
        os.unlink(self.log)


class SmallDisk:
    """A file system of its own below a directory, which can be filled to the octet and emptied again."""

    def __init__(self, path, options="size=4m"):
        self.path = path
        self.filler = os.path.join(path, "filler")
        st = os.stat(path)
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", path], check=True)
        os.chown(path, st.st_uid, st.st_gid)
        os.chmod(path, st.st_mode)

    def free(self):
        st = os.statvfs(self.path)
        return st.f_bavail * st.f_frsize

    def fill(self, leave=0):
        """Everything but `leave` octets (in whole pages) is taken."""
        with open(self.filler, "ab") as f:
            while self.free() > leave:
                f.write(b"x" * min(self.free() - leave, 1 << 20))
                f.flush()

    def empty(self):
        if os.path.exists(self.filler):
            os.unlink(self.filler)

    def close(self):
        subprocess.run(["umount", "-l", self.path], check=False)


@pytest.fixture
def small_disk():
    """Makes small disks; they end with the test."""
    made = []

    def make(path, options="size=4m"):
        made.append(SmallDisk(path, options))
        return made[-1]

    yield make
    for disk in made:
        disk.close()


def with_conf(suite, change):
    """Replaces the configuration by change(text)."""
    with open(suite.conf) as f:
        text = f.read()
    with open(suite.conf, "w") as f:
        f.write(change(text))


class Clock:
    """How long it took, for asserts: `with Clock() as t: ...; assert t.seconds < 1`."""

    def __enter__(self):
        self.start = time.monotonic()
        return self

    def __exit__(self, *_):
        self.seconds = time.monotonic() - self.start
