"""The suite under test: an instance whose daemons have inject.c before them, and what has to be true of it whenever it is at rest."""
import glob
import os
import re
import signal
import stat
import time

import mailwain
from mailwain import Instance, full, until  # noqa: F401

ACCOUNT_FILES = {"mail", "index", "sieve", "lock", "mailboxes", "mailboxes.old"}
SETTLE = 10
# Names of this domain are those of the machine's aliases.
SYSTEM_DOMAIN = "sys.example"
SYSTEM = ["domain %s { accounts system }" % SYSTEM_DOMAIN, "aliases-allow files", "aliases-user nobody"]


class Broken(Exception):
    """A promise that was not kept."""


def levels():
    """Name of an event -> its level, from the table that the manual page is made of."""
    with open(os.path.join(mailwain.ROOT, "lib", "base", "events.def")) as f:
        return dict(re.findall(r"^EVENT\((\w+), (\w+),", f.read(), re.M))


# What tells of a failure though it is one line a step of mail.
TELLING = {"queue_deferred", "lmtp_failed", "smtp_reject", "smtp_refused", "imap_refused"}


class Log:
    """The suite's log, read on from where it was last read."""

    def __init__(self, path):
        self.path, self.at, self.rest, self.levels = path, 0, "", levels()
        self.lines = []

    def more(self):
        """Reads what is new; all lines since mark()."""
        if os.path.exists(self.path):
            with open(self.path, errors="replace") as f:
                f.seek(self.at)
                text = self.rest + f.read()
                self.at = f.tell()
            *whole, self.rest = text.split("\n")
            self.lines += whole
        return self.lines

    def mark(self):
        self.more()
        self.lines = []

    @staticmethod
    def event(line):
        words = line.split(" ", 4)
        at = 3 if len(words) > 3 and words[2].endswith(":") else 2  # its level, unless that is info
        return words[at] if len(words) > at else ""

    def find(self, event, text=""):
        return [l for l in self.more() if self.event(l) == event and text in l]

    def telling(self):
        """Lines that name a failure."""
        return [l for l in self.more() if self.levels.get(self.event(l)) in ("ERROR", "WARN") or self.event(l) in TELLING]


class Subject(Instance):
    def __init__(self, injector, conf_lines=()):
        super().__init__(conf_lines=["queue-retry-first 1s", "undo-days 0"] + list(conf_lines), listeners=["lmtp"])
        self.injector = injector
        self.events = Log(os.path.join(self.root, "log", "mailwain.log"))
        self.number = 0
        self.directories = {}

    def make_aliases(self):
        """One name, that leads to a file."""
        self.filed, aliases = os.path.join(self.root, "out", "filed"), os.path.join(self.root, "aliases")
        os.mkdir(os.path.dirname(self.filed))
        os.chmod(os.path.dirname(self.filed), 0o777)
        with open(aliases, "w") as f:
            f.write("filed: %s\n" % self.filed)
        with open(self.conf, "a") as f:
            f.write("aliases %s\n" % aliases)

    # ---- messages that can be told apart ----

    def next_number(self):
        self.number += 1
        return self.number

    def store_of(self, name):
        if name not in self.directories:
            self.directories[name] = self.account_dir(name)
        return self.directories[name]

    def mail_files(self, name):
        return len(glob.glob(self.store_of(name) + "/mail/*/*"))

    # ---- processes ----

    def pids(self):
        """name -> pid of the daemons, as /proc has them: status would ask master, which may be busy."""
        if not hasattr(self, "_pids") or any(not os.path.exists("/proc/%d" % p) for p in self._pids.values()):
            self._pids = {k: v for k, v in self.daemons().items() if v}
        return self._pids

    def children(self, daemon, name):
        """The processes of a spawner that work on an account."""
        pid, directory, found = self.pids()[daemon], os.path.realpath(self.store_of(name)), []
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            for child in f.read().split():
                try:
                    if os.path.realpath("/proc/%s/cwd" % child) == directory:
                        found.append(int(child))
                except OSError:
                    pass
        return found

    def end_workers(self, name):
        for pid in self.children("deliver", name):
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        until(lambda: not self.children("deliver", name), SETTLE, "a worker does not end")

    def wait_no_sessions(self, name):
        until(lambda: not self.children("imap-session", name), SETTLE, "a session does not end")

    def descriptors(self):
        """name of a daemon -> how many it has open, files of the spool left out: they are looked at by name."""
        found = {}
        for name, pid in self.pids().items():
            links = [l for l in fd_links(pid) if "/spool/queue/" not in l]
            found[name] = len(links)
        return found

    # ---- what has to be true at rest ----

    def spool_files(self):
        return set(glob.glob(self.root + "/spool/queue/*/*"))

    def spool_left_over(self):
        """Files of the spool that are neither open in queue nor a message that waits; and files that are gone but open."""
        held = fd_links(self.pids()["queue"])
        waiting = None
        out = []
        for path in self.spool_files():
            if path in held:
                continue
            if waiting is None:
                waiting = {r["id"] for r in self.rows("queue", "list")}
            if os.path.basename(path) not in waiting and os.path.exists(path):
                st = os.stat(path)
                out.append("%s (mode %o, %d octets)" % (os.path.relpath(path, self.root), stat.S_IMODE(st.st_mode), st.st_size))
        out += [l for l in held if "(deleted)" in l]
        out += [os.path.basename(p) for p in glob.glob(self.root + "/spool/*") if os.path.basename(p) not in ("queue", "corrupt", "key", "clock", "paused")]
        return out

    def set_aside(self):
        return os.listdir(self.root + "/spool/corrupt")

    def account_left_over(self, name, unfinished=()):
        """unfinished: what a making that was cut short may leave until the next opening (doc/store.md)."""
        directory = self.store_of(name)
        if not os.path.isdir(directory):
            return []
        return sorted(set(os.listdir(directory)) - ACCOUNT_FILES - set(unfinished))

    def settled(self, condition, what, seconds=SETTLE):
        deadline = time.monotonic() + seconds
        while True:
            left = condition()
            if not left:
                return
            if time.monotonic() > deadline:
                raise Broken("%s: %s" % (what, left))
            time.sleep(0.005)

    def flush(self, seconds=20):
        """Tries all that waits until nothing does. What waits for another host, and was not acknowledged before a fault, would wait for ever."""
        for row in self.rows("queue", "list"):
            if "to other hosts waits" in row["reason"]:
                self.mw("queue", "delete", row["id"], check=False)
        deadline = time.monotonic() + seconds
        while self.rows("queue", "list"):
            if time.monotonic() > deadline:
                raise Broken("what waits is not delivered: %s" % self.rows("queue", "list"))
            self.mw("queue", "flush", "--all", check=False)
            time.sleep(0.01)

    def compare(self, account, mailbox, messages, alone):
        """number -> (copies, text): all there, whole, as often; alone: nothing else."""
        c = self.imap(account)
        c.ok("SELECT " + mailbox)
        found = {}
        for line in c.ok("FETCH 1:* BODY.PEEK[]"):
            m = re.search(rb"BODY\[\] \{(\d+)\}\r\n", line)
            if m is not None:
                body = line[m.end() : m.end() + int(m.group(1))].decode()
                found.setdefault(int(re.search(r"^Subject: m(\d+)", body, re.M).group(1)), []).append(body)
        c.close()
        for number, (copies, text) in messages.items():
            bodies = found.pop(number, [])
            if len(bodies) != copies or not all(b.endswith(text) for b in bodies):
                raise Broken("%s, %s: message %d is there %d times in place of %d, or is another" % (account, mailbox, number, len(bodies), copies))
        if alone and found:
            raise Broken("%s, %s: messages that were refused are there: %s" % (account, mailbox, sorted(found)))

    def check_stores(self, names):
        for name in names:
            r = self.mw("store", "check", full(name), check=False)
            if "no faults" not in r.stdout + r.stderr:
                raise Broken("store check %s: exit %d: %s%s" % (name, r.returncode, r.stdout, r.stderr))


def fd_links(pid):
    links = []
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            links.append(os.readlink("/proc/%d/fd/%s" % (pid, fd)))
        except OSError:
            pass
    return links
