#!/usr/bin/python3
"""Soak: mixed load for an hour; memory, descriptors and files stay as they are (doc/reliability.md).

usage: soak.py [--sample] [--plant NAME]
Settings: SOAK_SECONDS (3600), SOAK_PAUSE (0.5: seconds between two acts of one of the 16 clients), SEED. --sample: 60 s.
"""
import collections
import os
import random
import signal
import sys
import threading
import time

import measure
import procs
from rig import Options

ACCOUNTS = 8
ROUND = 10.0  # seconds between two looks
PERCENT_AN_HOUR = 1.0  # of its own memory a daemon may grow by, or
KIB_AN_HOUR = 256  # by this much: a page here and there
KIB_SHORT = 96  # in runs of less than 20 minutes, in all, after their first third
KIB_SESSION = 192  # a session in its life: its buffers become as large as its largest command
MINUTE = 6  # looks: a password that is hashed takes 64 MiB for a moment, so the least of a minute counts
DESCRIPTORS, FILES = 8, 40  # more than at the beginning; the stock of files and the moment make some difference
TEXT = "From: a@remote.test\r\nTo: u@example.com\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?= %d\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=xx\r\n\r\n" \
       "--xx\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nn=E4chste %d\r\n" \
       "--xx\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--xx--\r\n"
ENVELOPE = "EHLO x\r\nMAIL FROM:<a@remote.test>\r\nRCPT TO:<u0@example.com>\r\n"


class Worker(threading.Thread):
    """Does one thing after another, as chance says, in rounds of its own; what went wrong is counted."""

    def __init__(self, suite, number, seed, pause):
        super().__init__(daemon=True)
        self.suite, self.number, self.pause = suite, number, pause
        self.chance = random.Random(seed * 1000 + number)
        self.done, self.failed = collections.Counter(), []
        self.stopped = threading.Event()
        self.imap = None
        self.start()

    def run(self):
        acts = [name for name in dir(self) if name.startswith(("smtp_", "imap_"))]
        while not self.stopped.wait(self.chance.uniform(0, 2 * self.pause)):
            act = self.chance.choice(acts)
            try:
                getattr(self, act)()
                self.done[act] += 1
            except (AssertionError, OSError, EOFError, ValueError) as e:
                self.failed.append("%s: %s: %s" % (act, type(e).__name__, str(e)[:200]))
                self.imap = None
        if self.imap is not None:
            self.imap.close()

    def text(self):
        n = self.chance.randrange(10**9)
        return TEXT % (n, n) + "x" * self.chance.choice((0, 0, 100, 5000, 70000)) + "\r\n"

    # ---- SMTP ----

    def smtp_deliver(self):
        self.suite.deliver(self.text().replace("x" * 70000, "x" * 900), to=["u%d" % self.chance.randrange(ACCOUNTS)])

    def smtp_reset(self):
        c = self.suite.smtp()
        c.envelope("u0@example.com")
        c.expect("RSET", 250)
        c.expect("MAIL FROM:<a@remote.test>", 250)
        c.expect("RCPT TO:<nobody@example.com>", 550)
        c.expect("QUIT", 221)
        c.close()

    def broken_off(self, last):
        c = self.suite.smtp()
        c.send(ENVELOPE + last)
        for _ in range(4 if last.startswith("DATA") else 3):
            c.reply()
        c.close()

    def smtp_data_broken_off(self):
        self.broken_off("DATA\r\nSubject: half")

    def smtp_chunk_broken_off(self):
        self.broken_off("BDAT 1000\r\nabc")

    def smtp_chunks_reset(self):
        c = self.suite.smtp()
        c.envelope("u0@example.com")
        c.send("BDAT 3\r\nabc")
        c.reply()
        c.expect("RSET", 250)
        c.close()

    # ---- IMAP: one session for long, so that what a command leaves shows ----

    def session(self):
        if self.imap is None:
            self.imap = self.suite.imap("u%d" % (self.number % ACCOUNTS), tls=self.number % 2 == 1)
            self.imap.ok("SELECT INBOX")
        return self.imap

    def imap_search(self):
        c = self.session()
        for key in ("TEXT w\u00f6rld", "SUBJECT gr\u00fc", "BODY n\u00e4chste", "OR UNSEEN LARGER 2000"):
            c.ok(b"SEARCH " + ("CHARSET UTF-8 " + key if key.isascii() else "ALL").encode())
            c.ok("UID SEARCH RETURN (ALL COUNT) BODY nothing SINCE 1-Jan-2020")

    def imap_fetch(self):
        self.session().ok("UID FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[1] RFC822.SIZE)")

    def imap_store(self):
        self.session().ok("UID STORE 1:* %sFLAGS (\\Seen kw%d)" % (self.chance.choice("+-"), self.chance.randrange(5)))

    def imap_append_and_expunge(self):
        c = self.session()
        c.append("INBOX", self.text(), "\\Deleted")
        c.ok("EXPUNGE")
        if self.chance.randrange(20) == 0:
            c.ok("UID STORE 1:* +FLAGS.SILENT (\\Deleted)")
            c.ok("EXPUNGE")

    def imap_folder(self):
        c = self.session()
        name = "f%d-%d" % (self.number, self.chance.randrange(3))
        c.run("CREATE " + name)
        c.run("COPY 1 " + name)
        c.ok('LIST "" "*"')
        c.ok("STATUS INBOX (MESSAGES UNSEEN)")
        c.run("DELETE " + name)

    def imap_idle(self):
        c = self.session()
        tag = c.begin("IDLE")
        while not c.line().startswith(b"+ "):
            pass
        time.sleep(self.chance.choice((0, 0, 1.5)))  # longer than it takes to hibernate
        c.send("DONE\r\n")
        assert c.end(tag)[1].startswith(b"OK")

    def imap_bad(self):
        c = self.session()
        assert c.run("SEARCH (OR")[1].startswith(b"BAD")
        c.ok("NOOP")

    def imap_log_in_and_out(self):
        c = self.suite.imap("u%d" % self.chance.randrange(ACCOUNTS), tls=True)
        c.ok("LOGOUT")
        c.close()


# ---- looking ----


def look(suite):
    """daemon -> (private memory in KiB, descriptors); the sessions' together. Private: what is shared grows with no one's fault."""
    seen = {}
    for n, row in enumerate(suite.rows("status")):
        pid = row["pid"]
        name = "%s%s" % (row["name"], "" if row["name"] not in seen else " %d" % n)
        seen[name] = (private_kib(pid), len(os.listdir("/proc/%d/fd" % pid)))
    seen["spool files"] = (0, measure.spool_files(suite))
    return seen


def private_kib(pid):
    """Of what is not a file: pages of the index come and go with the mail in it."""
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return sum(int(line.split()[1]) for line in f if line.startswith(("Anonymous:", "Swap:")))


def sessions_kib(suite):
    """Process id -> memory of every session that is there."""
    out = {}
    for row in suite.rows("status"):
        if row["name"] == "imap-session":
            for pid in procs.tree(row["pid"])[1:]:
                try:
                    out[pid] = private_kib(pid)
                except OSError:
                    continue
    return out


def slope(points):
    """Least squares, of (seconds, value), for an hour."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    over = sum((x - mean_x) ** 2 for x, _ in points)
    return 3600 * sum((x - mean_x) * (y - mean_y) for x, y in points) / over if over else 0.0


def least(points):
    """(seconds, memory) of each minute's lowest."""
    return [min(((at, v[0]) for at, v in points[n : n + MINUTE]), key=lambda p: p[1]) for n in range(0, len(points), MINUTE)]


def judge(findings, seconds, looks):
    """looks: (seconds, what look gave), after the warm-up."""
    is_long = seconds >= 1200
    for name in sorted(looks[0][1]):
        points = [(at, seen[name]) for at, seen in looks if name in seen]
        third = max(len(points) // 3, 1)
        most_before, most_after = (max(v[1] for _, v in p) for p in (points[:third], points[-third:]))
        findings.expect(most_after <= most_before + (FILES if name == "spool files" else DESCRIPTORS), "%s: %s at the beginning %d, at the end %d" % (
            name, "number" if name == "spool files" else "descriptors", most_before, most_after))
        if name == "spool files":
            continue
        rise = slope(least(points))
        first, last = least(points)[0][1], least(points)[-1][1]
        low = min(v[0] for _, v in points[-third:]) - max(v[0] for _, v in points[:third])
        allowed = max(KIB_AN_HOUR, first * PERCENT_AN_HOUR / 100)
        findings.expect(rise <= allowed if is_long else low <= KIB_SHORT, "%s: memory %d KiB, at the end %d; %+.0f KiB an hour (%s)" % (
            name, first, last, rise, "at most %.0f" % allowed if is_long else "too short to be judged by it: at most %d in all" % KIB_SHORT))


def judge_sessions(findings, seen):
    """Sessions that lived through several looks: the least of the last third against the most of the first."""
    worst, pid = 0, 0
    for p, points in seen.items():
        third = len(points) // 3
        if third >= 2:
            grown = min(points[-third:]) - max(points[:third])
            worst, pid = max((worst, pid), (grown, p))
    findings.expect(worst <= KIB_SESSION, "%d IMAP sessions: the one that grew most grew by %d KiB (at most %d)" % (len(seen), worst, KIB_SESSION))


def soak(findings, seconds, seed, pause):
    suite = measure.instance(ACCOUNTS, ["imap-hibernate-after 1s", "log-level info", "undo-days 0"])
    workers, looks, sessions = [], [], collections.defaultdict(list)
    try:
        workers = [Worker(suite, n, seed, pause) for n in range(2 * ACCOUNTS)]
        begun, warm = time.monotonic(), min(seconds / 4, 300)
        step = min(ROUND, seconds / 40)
        while time.monotonic() - begun < seconds:
            time.sleep(step)
            at = time.monotonic() - begun
            for pid, kib in sessions_kib(suite).items():
                sessions[pid].append(kib)
            if at >= warm:
                looks.append((at, look(suite)))
            if int(at / 600) != int((at - step) / 600):
                findings.say("%d s: %s" % (at, {name: v for name, v in looks[-1][1].items()} if looks else ""))
        for w in workers:
            w.stopped.set()
        for w in workers:
            w.join(30)
        done = sum((w.done for w in workers), collections.Counter())
        failed = [f for w in workers for f in w.failed]
        findings.say("%d acts in %d s, seed %d: %s" % (sum(done.values()), seconds, seed, dict(done)))
        findings.expect(not failed, "every act was done as it should: %d not, %s" % (len(failed), failed[:3]))
        judge(findings, seconds, looks)
        judge_sessions(findings, sessions)
        suite.wait_empty(30)
        errors = measure.log_lines(suite, "error") + measure.log_lines(suite, "warn")
        findings.expect(not errors and measure.restarts(suite) == 0, "no error in the log, no daemon restarted: %s" % dict(errors))
    finally:
        for w in workers:
            w.stopped.set()
        suite.close()


def main():
    options = Options()
    findings = measure.Findings()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the instance is ended
    seconds = options.number("SOAK_SECONDS", 3600, 60)
    findings.part(soak, seconds, options.seed, float(os.environ.get("SOAK_PAUSE", "0.1" if options.sample or options.plant else "0.5")))
    findings.repeat("make check-soak", options)
    return options.verdict("soak of %d s: %d promises kept, %d broken" % (seconds, findings.kept, len(findings.faults)), findings.faults)


if __name__ == "__main__":
    sys.exit(main())
