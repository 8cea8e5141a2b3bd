"""Any process of the suite dies at any moment, under mixed load; the clients' notes say what must be there all the same."""
import collections
import contextlib
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time

import load
import notes
import agent_paths
import wake
from account import counters
from elsewhere import MISCHIEF, Elsewhere
from killing import Log, Victims
from mailwain import DOMAIN, Imap, Smtp, until

KINDS = ["keys", "auth", "queue", "deliver", "imap-session", "smtpd", "imapd", "submission", "pickup", "relay", "resolve", "lmtpd", "agent", "fetch", "worker", "session"]
# Who has a hand in mail to other hosts between the 250 there and its record; and in a letter between its commit and its answer.
RELAYING = ("queue", "relay", "pickup", "master")
RECORDED = 1  # seconds after which a result must have been written down
NOTICED = 1  # after which the host elsewhere has read what relay sent it
MASTER = 40  # one kill in so many is master's
AGAIN = 0.2  # how often the next kill does not wait for service
STOP = 100  # after so many kills the suite is stopped and started
SERVED = 1  # seconds, in 99 of 100
STOP_LIMIT = 5
USUAL = 0.1  # seconds for a mail while nobody dies: on a machine that takes more, all that is limited may,
SLOWEST = 5  # up to so many times as long
DESCRIPTORS = 64
LIMIT = 30  # seconds: not serving for longer ends the run
PROBE = "probe"
FILED = "filed@" + agent_paths.DOMAIN
HISTORY = 8  # acts of a reader that a problem is shown with


class KillLedger(notes.Ledger):
    """What a reader finds when it comes back is held against what it had noted, not only taken over. Positions are seconds."""

    def __init__(self, all_of, names, slowness):
        super().__init__(all_of, names)
        self.all, self.now, self.slowness = sorted(all_of, key=lambda n: n["begin"]), 0, slowness

    def advance(self, cut):
        self.now = cut
        super().advance(cut)

    def handed_over(self, take):
        return take["began"] - NOTICED * self.slowness

    def recorded_by(self, take):
        return min(super().recorded_by(take), take["end"] + RECORDED * self.slowness)

    def change(self, note):
        name = note["account"]
        if note["op"] == "state" and self.boxes[name] is not None:
            self.faults += self.returned(name, note["boxes"])
        super().change(note)

    def returned(self, name, boxes):
        there = {box: dict(validity=b["validity"], uidnext=b["top"], uids={int(u): (key, flags, load.hash_of(key)) for u, (key, flags) in b["uids"].items()})
                 for box, b in boxes.items()}
        found = [list(self.compare(name, must, there, set())) for must in self.candidates(name)]
        return ["account %s, when its reader came back: %s; before: %s" % (name, p, self.history(name)) for p in min(found, key=len)]

    def history(self, name):
        """What its reader asked for last; an end of None was not answered."""
        mine = [n for n in self.all if n.get("account") == name and n["begin"] <= self.now][-HISTORY:]
        return ", ".join("%s %s at %.3f to %s" % (n["op"], n.get("box", ""), n["begin"], n["end"] and "%.3f" % n["end"]) for n in mine)


class Filer(load.Sender):
    """Mail for the file of an alias."""

    def step(self):
        self.send(self.notes.key("g"), [FILED])


class Probe:
    """A client that only wants to know whether it is served."""

    def __init__(self, suite):
        self.suite, self.slowest_sync = suite, 0

    def sync(self):
        """Seconds: on a disk that stands still nobody is served."""
        began = time.monotonic()
        with open(os.path.join(self.suite.root, "sync"), "w") as f:
            f.write("x")
            f.flush()
            os.fsync(f.fileno())
        return time.monotonic() - began

    def mail(self):
        c = Smtp(self.suite.port("smtp"), timeout=2)
        try:
            c.envelope(to="%s@%s" % (PROBE, DOMAIN))
            c.data("Subject: probe\n\nx\n")
        finally:
            c.close()

    def read(self):
        c = Imap(self.suite.port("imap"), timeout=5)
        try:
            c.ok('LOGIN %s@%s "correct horse"' % (PROBE, DOMAIN))
            c.ok("SELECT INBOX")
        finally:
            c.close()

    def until_served(self, what, since):
        """Seconds since the kill."""
        while True:
            try:
                what()
                return time.monotonic() - since
            except (OSError, EOFError, AssertionError, ValueError) as e:
                late = time.monotonic() - since
                if late > SERVED:
                    self.slowest_sync = max(self.slowest_sync, self.sync())
                if late > LIMIT:
                    raise AssertionError("not served %d s after a kill: %r; meanwhile a sync of this disk took up to %.1f s" % (LIMIT, e, self.slowest_sync)) from e
                time.sleep(0.005)


class RandomKills:
    def __init__(self, kills, seed, say):
        self.kills, self.seed, self.say = kills, seed, say
        self.rng = random.Random(seed)
        self.killed, self.seconds, self.stops, self.usual = collections.Counter(), [], [], []
        self.counters, self.descriptors_max = {}, 0
        self.problems = []

    # ---- the suite and its clients ----

    def run(self):
        self.far = Elsewhere(seed=self.seed, mischief=MISCHIEF)
        self.place = tempfile.mkdtemp(prefix="mailwain-kill-")
        self.suite = Victims(load.Load.conf_lines(self.far) + agent_paths.agent_conf(self.place), load.Load.LISTENERS)
        try:
            self.suite.start()
            load.Load.prepare(self.suite)
            self.suite.add(PROBE)
            self.probe = Probe(self.suite)
            self.probe.mail()
            self.probe.read()
            self.before = self.descriptors()
            self.load = load.Load(self.suite, time.monotonic, self.seed, self.far)
            self.load.workers.append(Filer(self.load, self.seed))
            self.load.start()
            try:
                for n in range(1, self.kills + 1):
                    self.one(n)
            except (AssertionError, subprocess.TimeoutExpired) as e:
                self.problems += [str(e), self.state()]
                return self.problems
            finally:
                self.load.stop()
            self.judge()
        finally:
            self.suite.close()
            self.far.close()
            shutil.rmtree(self.place, ignore_errors=True)
        return self.problems

    def state(self):
        lines = [line for line in self.suite.log().split("\n") if "auth_directory_changed" not in line]
        daemons = self.suite.mw("status", check=False)
        return "%s%s\nthe log ends: %s" % (daemons.stdout, daemons.stderr, "\n".join(lines[-40:]))

    def one(self, n):
        time.sleep(self.rng.random() * 0.1)  # chance, not waiting: the moment of the kill
        kind = "master" if n % MASTER == 0 else self.rng.choice(KINDS)
        pid = self.victim(kind)
        if pid is None:
            kind = self.rng.choice(KINDS[:-2])
            pid = self.victim(kind)
        log = Log(self.suite)
        since = time.monotonic()
        note = self.load.notes.begin("broken") if kind in RELAYING else None
        if pid is None or not kill(pid):
            return
        self.killed[kind] += 1
        if kind == "master":
            self.start_again()
        elif kind not in ("worker", "session"):
            log.wait(["master_child_died daemon=%s " % kind])
        if note:  # only now: what master leaves behind goes on for a moment
            self.load.notes.done(note)
        if self.rng.random() >= AGAIN:
            self.serve(since)
        if n % STOP == 0:
            self.stop_and_start()

    def victim(self, kind):
        if kind == "master":
            return self.suite.master
        if kind in ("worker", "session"):
            there = self.suite.accounts_processes("deliver" if kind == "worker" else "imap-session")
            return self.rng.choice(sorted(there)) if there else None
        return self.suite.pid(kind)

    def serve(self, since):
        self.seconds.append(self.probe.until_served(self.probe.mail, since))
        self.probe.until_served(self.probe.read, since)
        self.usual.append(self.probe.until_served(self.probe.mail, time.monotonic()))
        for name in load.ACCOUNTS:
            self.look_at_counters(name)

    def look_at_counters(self, name):
        """modseq, UIDVALIDITY and mailbox ids go forward only."""
        if name not in self.counters:
            self.counters[name] = (self.suite.account_dir(name), {})
        directory, before = self.counters[name]
        now = counters(directory)
        if now is None:
            return  # not there before its first mail or login
        for what in ("modseq", "uidvalidity", "next_mailbox"):
            if now[what] < before.get(what, 0):
                self.problems.append("account %s: %s went back from %d to %d" % (name, what, before[what], now[what]))
        before.update(now)

    def start_again(self):
        """Its children end by themselves; until then a start is refused."""
        until(lambda: self.suite.mw("start", check=False).returncode == 0, LIMIT, "it does not start again")
        self.suite.started_again()

    def median_usual(self):
        return sorted(self.usual)[len(self.usual) // 2] if self.usual else 0

    def slowness(self):
        """1 on a machine that is fast enough for the limits as they are."""
        return min(max(1, self.median_usual() / USUAL), SLOWEST)

    def stop_and_start(self):
        self.look_at_descriptors()
        began = time.monotonic()
        self.suite.stop()
        self.stops.append(time.monotonic() - began)
        limit = STOP_LIMIT * self.slowness()
        if self.stops[-1] > limit:
            self.problems.append("a stop took %.1f s: %s" % (self.stops[-1], self.state()))
        until(lambda: not self.suite.accounts_processes(""), limit, "a worker or a session outlives the suite")
        self.suite.start()

    # ---- what is there afterwards ----

    def judge(self):
        since = time.monotonic()
        self.probe.until_served(self.probe.mail, since)
        self.stop_and_start()
        self.empty()
        found = notes.Found("\n".join(wake.lines(self.suite)))
        ledger = self.ledger = KillLedger(self.load.all_notes(), load.ACCOUNTS, self.slowness())
        for note in sorted((n for n in self.load.notes.all if n["end"] is not None), key=lambda n: n["end"]):
            ledger.advance(note["end"])
        ledger.advance(float("inf"))
        self.problems += ledger.problems(found) + self.load.changed_on_the_way() + self.missing_in_file()
        self.left_over()
        self.figures()

    def empty(self):
        """The host elsewhere takes everything from now on; what is for it leaves the queue."""
        self.far.mischief.clear()

        def is_empty():
            self.suite.mw("queue", "flush", "--all", check=False)
            return not any(row["recipient"].endswith("@" + load.elsewhere.DOMAIN) for row in self.suite.rows("queue", "list"))
        until(is_empty, LIMIT, "mail for the host elsewhere does not leave")

    def missing_in_file(self):
        """What was acknowledged is in the alias's file, whole; after a death perhaps twice."""
        with open(os.path.join(self.place, "filed")) as f:
            text = f.read()
        copies = {key: text.count(load.body_of(key).replace("\r\n", "\n")) for key in self.ledger.acked if key.startswith("g")}
        self.ledger.twice["in the file"] = sum(count > 1 for count in copies.values())
        return ["%s was acknowledged and is not in the file" % key for key, count in copies.items() if count == 0]

    def descriptors(self):
        found = {}
        for name, pid in self.suite.daemons().items():
            with contextlib.suppress(FileNotFoundError):  # it has just died
                found[name] = len(os.listdir("/proc/%d/fd" % pid))
        return found

    def look_at_descriptors(self):
        """Clients, files handed out ahead and accounts have some; what grows with each kill would soon be more."""
        for name, count in self.descriptors().items():
            self.descriptors_max = max(self.descriptors_max, count - self.before[name])
            if count > self.before[name] + DESCRIPTORS:
                self.problems.append("%s has %d descriptors, had %d" % (name, count, self.before[name]))

    def left_over(self):
        base = os.path.join(self.suite.root, "spool", "queue")
        files = sum(len(names) for _, _, names in os.walk(base))
        messages = len(self.suite.spooled())
        self.spool = (files, messages)
        self.unknown = sum((counters(self.suite.account_dir(name)) or {"unknown": 0})["unknown"] for name in load.ACCOUNTS)

    def figures(self):
        acknowledged = collections.Counter(n["op"] for n in self.load.notes.all if n["end"] is not None and n["op"] not in ("gone", "broken", "modseq"))
        cut = sum(n["end"] is None for n in self.load.notes.all)
        times = sorted(self.seconds) or [0]
        p99, median = times[len(times) * 99 // 100], times[len(times) // 2]
        served = SERVED * self.slowness()
        if len(times) >= 100 and p99 > served:
            self.problems.append("of a hundred kills one was not served after for %.2f s" % p99)
        elif median > served:  # of fewer the slowest one says nothing
            self.problems.append("of two kills one was not served after for %.2f s" % median)
        self.say("random kills: %d (%s)" % (sum(self.killed.values()), ", ".join("%s %d" % pair for pair in self.killed.most_common())))
        self.say("  acknowledged %d (%s), cut off %d" % (sum(acknowledged.values()), ", ".join("%s %d" % pair for pair in acknowledged.most_common()), cut))
        unsaid = sum(note["end"] is None for note in self.far.takes)
        self.say("  taken by the host elsewhere %d, without its answer %d; twice: %s" % (
            len(self.far.takes), unsaid, ", ".join("%s %d" % pair for pair in self.ledger.twice.items() if pair[1]) or "nothing"))
        self.say("  served again after %.3f s (median), %.3f s (p99), %.3f s (max); stops took at most %.1f s; a mail behind it %.3f s (median)" % (
            median, p99, times[-1], max(self.stops), self.median_usual()))
        self.say("  left: %d files in the spool for %d messages, %d message files that no index knows; at most %d descriptors more than at first" % (
            *self.spool, self.unknown, self.descriptors_max))


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
        return True
    except ProcessLookupError:
        return False
