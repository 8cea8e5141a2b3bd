"""killer.c from Python, the log as it grows, and the suite's processes."""
import os
import select
import signal
import subprocess
import time

import rig
from mailwain import Instance

KILLER = os.path.join(rig.BUILD, "tests", "killer")
RECORDS = 4096  # in so many bytes at the end of a file its records are found
DEATHS_MAX = 25  # master waits before it starts again what died thirty times in half a minute


class Killer:
    """Kills at the n-th system call of what it traces; ended(): none is left to come."""

    def __init__(self, n, pids, children=False, only=None):
        command = [KILLER] + (["--children"] if children else []) + (["--only", only] if only else [])
        self.p = subprocess.Popen(command + [str(n)] + [str(pid) for pid in pids], stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        first = self.p.stdout.readline()
        if first != b"attached\n":
            raise RuntimeError("killer: %r %s" % (first, self.p.communicate()[1].decode()))

    def struck(self, seconds=0):
        return bool(select.select([self.p.stdout], [], [], seconds)[0])

    def end(self):
        """(pid, call) or None, and the calls that were counted."""
        if self.p.poll() is None:
            self.p.send_signal(signal.SIGUSR1)
        try:
            out, wrong = self.p.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.p.send_signal(signal.SIGTERM)
            out, wrong = self.p.communicate(timeout=10)
            raise RuntimeError("what is traced did not come to rest: ... %s" % out.decode()[-300:])
        lines = out.decode().splitlines()
        if self.p.returncode != 0 or len(lines) != 2:
            raise RuntimeError("killer: %r %s" % (lines, wrong.decode()))
        words = lines[1].split()
        hit = (int(words[1]), words[2]) if words[0] == "killed" else None
        return hit, lines[0].split()[1:]


class Log:
    """What the suite logs from now on."""

    def __init__(self, suite):
        self.path = os.path.join(suite.root, "log", "mailwain.log")
        self.at = os.path.getsize(self.path)

    def lines(self):
        with open(self.path, errors="replace") as f:
            f.seek(self.at)
            return f.read().split("\n")[:-1]

    def wait(self, words, seconds=30):
        """The first line with all the words."""
        deadline = time.monotonic() + seconds
        while True:
            for line in self.lines():
                if all(word in line for word in words):
                    return line
            if time.monotonic() > deadline:
                raise AssertionError("after %s s: no %s in the log" % (seconds, " ".join(words)))
            time.sleep(0.002)


def children_of(pid):
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            return [int(word) for word in f.read().split()]
    except OSError:
        return []


def is_message(path):
    """It rests, or has a commit record and is not done with."""
    try:
        with open(path, "rb") as f:
            st = os.fstat(f.fileno())
            if st.st_mode & 0o010:
                return False
            f.seek(max(0, st.st_size - RECORDS))
            return st.st_mode & 0o100 != 0 or b"JRWM\x01\0\0\0" in f.read()
    except FileNotFoundError:
        return False


def all_pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


class Victims(Instance):
    """An instance whose daemons are to be killed."""

    def __init__(self, conf_lines=(), listeners=()):
        super().__init__(conf_lines=["queue-retry-first 1s", *conf_lines], listeners=listeners)
        self.deaths = 0

    def start(self):
        super().start()
        self.started_again()
        return self

    def started_again(self):
        self.deaths = 0
        with open(os.path.join(self.root, "run", "master.pid")) as f:
            self.master = int(f.read())

    def rest(self):
        """True after a restart, which makes master forget the deaths so far."""
        if self.deaths < DEATHS_MAX:
            return False
        self.stop()
        self.start()
        return True

    def pid(self, daemon):
        for pid in children_of(self.master):
            try:
                with open("/proc/%d/cmdline" % pid) as f:
                    if f.read().startswith("mailwain-%s\0" % daemon):
                        return pid
            except OSError:
                continue
        return None

    def accounts_processes(self, daemon, directory=""):
        """Workers or sessions ("": both), also those whose spawner is dead: each is in its account's directory."""
        directory = directory or self.root + "/data/store/"
        found = []
        for pid in all_pids():
            try:
                if os.readlink("/proc/%d/cwd" % pid).startswith(directory):
                    if daemon in ("", os.path.basename(os.readlink("/proc/%d/exe" % pid))):
                        found.append(pid)
            except OSError:
                continue
        return found

    def spooled(self):
        """The files of the spool that are messages: S3 and S4 of doc/spool.md."""
        base = os.path.join(self.root, "spool", "queue")
        return [entry.path for directory in os.listdir(base) for entry in os.scandir(os.path.join(base, directory)) if is_message(entry.path)]

    def is_empty(self):
        """Two looks: while the directories are gone through one by one, a message may leave the last and its notification come into the first."""
        return not self.spooled() and not self.spooled()

    def set_aside(self):
        return os.listdir(os.path.join(self.root, "spool", "corrupt"))
