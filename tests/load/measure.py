"""What the rigs of this folder have in common: instances with many accounts, their figures, what was delivered."""
import collections
import json
import os
import re
import struct
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "e2e"), os.path.join(HERE, "..", "bench")]

import procs  # noqa: E402
from mailwain import BUILD, DOMAIN, PASSWORD, ROOT, Imap, Instance, Line, until  # noqa: E402

CLIENTS = os.path.join(ROOT, os.environ.get("B", "build"), "tests")
# What a log of a healthy run may hold above "info"; nothing of load is an error.
HARMLESS = re.compile(r"tls_failed|tls_certificate_old")


class Broken(Exception):
    """A promise was not kept; its text says what, where and how much."""


class Findings:
    """What a rig finds: a line for each figure and each promise, as they come."""

    def __init__(self):
        self.begun = time.monotonic()
        self.faults, self.kept = [], 0

    def say(self, text):
        print("%6.0f s  %s" % (time.monotonic() - self.begun, text), flush=True)

    def expect(self, good, text):
        """One promise: true, or the text is a fault."""
        self.say(("ok: " if good else "BROKEN: ") + text)
        if good:
            self.kept += 1
        else:
            self.faults.append(text)

    def part(self, function, *args):
        """A part of its own: its failure does not hide what the next ones find."""
        try:
            function(self, *args)
        except Exception as e:  # an assertion or time-out of a client is a broken promise too
            self.expect(False, "%s: %s: %s" % (function.__name__, type(e).__name__, e))

    def repeat(self, command, options):
        """What was broken, once more, and how to see it again."""
        for fault in self.faults:
            print("  " + fault)
        if self.faults and not options.plant:
            print("  again: SEED=%d %s RIG='%s'" % (options.seed, command, " ".join(sys.argv[1:])))


def instance(accounts, conf_lines=(), limited=False, cores=None):
    """A suite with accounts u0, u1, ... of one password. limited: the limits for each address hold for the drivers' addresses. cores: that it may use."""
    i = Instance(conf_lines=conf_lines)
    try:
        if limited:
            with open(i.conf) as f:
                text = f.read()
            with open(i.conf, "w") as f:
                f.write(text.replace("unlimited-from 127.0.0.0/8", "unlimited-from 127.0.0.1"))
        all_cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores or all_cores)
        try:
            i.start()
        finally:
            os.sched_setaffinity(0, all_cores)
        i.add("u0")
        first = [line for line in i.mw("directory", "export").stdout.splitlines() if line.startswith("account u0@")][0]
        row = re.sub(r" id=\d+", "", first)
        i.mw("directory", "import", "-", input="".join(row.replace("u0@", "u%d@" % n) + "\n" for n in range(1, accounts)), timeout=120)
    except BaseException:
        i.close()
        raise
    return i


# ---- figures of a running suite ----


def rollup_kib(pids, word):
    """The sum of this line of smaps_rollup: "Pss:", or "Pss_Anon:" for what is not a file's."""
    total = 0
    for pid in pids:
        try:
            with open("/proc/%d/smaps_rollup" % pid) as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith(word))
        except OSError:
            continue
    return total


def memory_kib(suite, word="Pss:"):
    """daemon -> memory of it and what it forked, in KiB; several workers of a name together."""
    total = collections.Counter()
    for row in suite.rows("status"):
        pid = row["pid"]
        total[row["name"]] += rollup_kib([pid] if row["name"] == "master" else procs.tree(pid), word)
    return total


def descriptors(suite):
    """daemon -> the most that one process of this name has open."""
    most = collections.Counter()
    for row in suite.rows("status"):
        most[row["name"]] = max(most[row["name"]], len(os.listdir("/proc/%d/fd" % row["pid"])))
    return most


def forked(suite, name):
    """Processes that this daemon has forked; of imap-session without the keeper."""
    return sum(len(procs.tree(row["pid"])) - 1 - (name == "imap-session") for row in suite.rows("status") if row["name"] == name)


def connections(suite, name):
    return sum(row["connections"] for row in suite.rows("status") if row["name"] == name)


def restarts(suite):
    return sum(row["restarts"] for row in suite.rows("status"))


def spool_files(suite):
    """Messages and files kept for later ones."""
    return sum(len(files) for _, _, files in os.walk(os.path.join(suite.root, "spool")))


def in_mib(kib):
    return ", ".join("%s %.1f" % (name, kib[name] / 1024) for name in sorted(kib, key=lambda n: -kib[n]))


class Peak(threading.Thread):
    """The most memory (its own, without pages of files) each daemon has had and the most connections of smtpd, looked at every second."""

    def __init__(self, suite):
        super().__init__(daemon=True)
        self.suite, self.kib, self.stopped = suite, collections.Counter(), threading.Event()
        self.connections = 0
        self.start()

    def run(self):
        while not self.stopped.wait(1):
            try:
                now = memory_kib(self.suite, "Pss_Anon:")
                self.connections = max(self.connections, connections(self.suite, "smtpd"))
            except (AssertionError, OSError, subprocess.SubprocessError, json.JSONDecodeError):
                continue
            for name in now:
                self.kib[name] = max(self.kib[name], now[name])

    def end(self):
        self.stopped.set()
        self.join()
        return self.kib


def log_lines(suite, level):
    """event -> count of the lines of this level that no healthy run explains."""
    found = collections.Counter()
    for line in suite.log().splitlines():
        m = re.search(r"\b(error|warn)\b.*? (?:event=)?([a-z]+_[a-z_]+)\b", line)
        if m and m.group(1) == level and not HARMLESS.search(line):
            found[m.group(2)] += 1
    return found


# ---- what arrived ----


def acknowledged(path):
    """Numbers of the messages that a driver got a 250 for."""
    with open(path, "rb") as f:
        data = f.read()
    return [n for n, in struct.iter_unpack("=I", data[: len(data) // 4 * 4])]


def numbers_in(suite, account):
    """Numbers (subjects) of the messages in an account's INBOX."""
    c = suite.imap("u%d" % account)
    try:
        c.ok("EXAMINE INBOX")
        lines = c.ok("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])") if c.ok("STATUS INBOX (MESSAGES)")[0].split()[-1] != b"0)" else []
        return [int(m.group(1)) for line in lines for m in [re.search(rb"Subject: (\d+)\r\n", line)] if m]
    finally:
        c.close()


def delivered(suite, accounts):
    """number -> how often it is in the mailbox it belongs to."""
    found = collections.Counter()
    for account in range(accounts):
        for n in numbers_in(suite, account):
            if n % accounts != account:
                raise Broken("message %d is in the mailbox of u%d" % (n, account))
            found[n] += 1
    return found


def percentile(values, percent):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * percent / 100))] if values else 0.0
