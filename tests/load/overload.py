"""Ten times the load that the suite can do: what it still does, how it refuses the rest, how soon it is well again.

The clients are on the same machine, and ten times as many attempts cost ten times as much. So the suite has one core and they have
another, for the peak as for the overload.
"""
import collections
import os
import subprocess
import tempfile
import threading
import time

import measure
from measure import CLIENTS

ACCOUNTS = 40
CONNECTIONS = 1000  # of smtpd; what offers the load has many times as many
CLIENTS_MAX = 19000  # room for all that have a session or wait: for one, for the kernel to let them in, or a fifth of a second to be connected
ADDRESSES = 1000  # so many that none of them has more than it may
PEAK_CLIENTS = (64, 256, 900)
TIMES = 10
OFFERED_MIN = 0.9  # of that; or of the seconds that the clients' core has, what the kernel needs there for their packets among them
GOODPUT_MIN = 0.8
MEMORY_MIB_MAX = 128
UNANSWERED_MAX = 0.001
RECOVERY_SECONDS, LATENCY_MS = 10, 1000
SUITE_CORES, CLIENT_CORES = {0}, {1}  # of those that there are
WORDS = ("accepted", "refused", "deferred", "rejected", "reset", "closed", "silent", "outside")


def cores(wanted):
    return wanted & os.sched_getaffinity(0) or os.sched_getaffinity(0)


def busy(wanted):
    """Seconds since the machine's start that these cores were not idle."""
    seconds = 0
    with open("/proc/stat") as f:
        for name, *ticks in map(str.split, f):
            if name[:3] == "cpu" and name[3:].isdigit() and int(name[3:]) in wanted:
                idle = sum(map(int, ticks[3:5]))
                seconds += (sum(map(int, ticks[:8])) - idle) / os.sysconf("SC_CLK_TCK")  # the guest's are within the first ones
    return seconds


class Senders(threading.Thread):
    """tests/load/senders.c and what it says; rows: a Counter for each second."""

    def __init__(self, suite, connections, rate, seconds, path, first):
        super().__init__(daemon=True)
        self.rows, self.wrong, self.total = [], [], collections.Counter()
        self.process = subprocess.Popen([os.path.join(CLIENTS, "senders"), str(suite.port("smtp")), str(ACCOUNTS), str(ADDRESSES), str(connections),
            str(rate), str(seconds), path, str(first)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        os.sched_setaffinity(self.process.pid, cores(CLIENT_CORES))
        self.busy = -busy(cores(CLIENT_CORES))
        self.start()

    def run(self):
        for line in self.process.stdout:
            words = line.split()
            if words[0] == "wrong":
                self.wrong.append(line.strip())
                continue
            counts = collections.Counter(dict(zip(WORDS, map(int, words[1:9]))))
            if words[0] == "end":
                self.total = counts
            else:
                self.rows.append((counts, int(words[9]), float(words[10]), float(words[11])))

    def end(self):
        _, _, used = os.wait4(self.process.pid, 0)
        self.processor = used.ru_utime + used.ru_stime
        self.busy += busy(cores(CLIENT_CORES))
        self.process.returncode = 0
        self.join()
        self.process.stdout.close()
        return self

    def goodput(self, skip=0, seconds=None):
        """Messages a second that were answered with 250."""
        rows = self.rows[skip : None if seconds is None else skip + seconds]
        return sum(counts["accepted"] for counts, _, _, _ in rows) / max(len(rows), 1)


class Probe:
    """One message at a time, from the connection of its sender to the EXISTS of a client in IDLE."""

    def __init__(self, suite):
        self.suite = suite
        suite.add("probe")
        self.imap = suite.imap("probe")
        self.imap.ok("SELECT INBOX")
        self.imap.begin("IDLE")
        self.imap.line()

    def ms(self, patience=60):
        """None when it took longer than `patience` seconds, or was put off."""
        begun = time.monotonic()
        try:
            self.suite.deliver("Subject: probe\n\nx\n", to=["probe"])
        except (AssertionError, OSError, EOFError):
            return None
        self.imap.sock.settimeout(patience)
        while not self.imap.line().endswith(b" EXISTS"):
            pass
        return (time.monotonic() - begun) * 1000


def find_peak(findings, suite, directory, seconds):
    best, first, files = 0.0, 0, []
    for clients in PEAK_CLIENTS:
        files.append(os.path.join(directory, "peak%d" % clients))
        s = Senders(suite, clients, 0, seconds + 1, files[-1], first).end()
        suite.wait_empty(60)
        first += s.total["accepted"] + 1000
        good = s.goodput(1, seconds)
        findings.say("%d clients: %.0f messages a second, median %.1f ms" % (clients, good, s.rows[-2][2]))
        findings.expect(s.total["accepted"] > 0 and sum(s.total.values()) == s.total["accepted"], "below its peak nobody is refused: %s" % dict(s.total))
        best = max(best, good)
    return best, first + 100000, files


def recovers(findings, suite, probe, slack):
    begun = time.monotonic()
    while True:
        ms = probe.ms()
        waiting = len(suite.rows("queue", "list"))
        took = time.monotonic() - begun
        if (ms is not None and ms < LATENCY_MS and waiting == 0) or took > 60:
            break
        time.sleep(0.1)
    findings.expect(took <= slack * RECOVERY_SECONDS, "normal again %.1f s after it: a message is in its mailbox in %s ms, %d wait in the queue" % (
        took, "%.0f" % ms if ms is not None else "-", waiting))


def nothing_lost(findings, suite, files):
    acked = [n for path in files for n in measure.acknowledged(path)]
    there = measure.delivered(suite, ACCOUNTS)
    lost = [n for n in acked if n not in there]
    twice = [n for n in acked if there[n] > 1]
    findings.expect(not lost and not twice, "%d acknowledged messages are in their mailboxes, once each (lost %d: %s, twice %d: %s); %d more were not acknowledged in time" % (
        len(acked), len(lost), lost[:3], len(twice), twice[:3], len(there) - len(set(acked))))


def after_end(sender, seconds):
    """The driver begins nothing new after that; what is under way may end."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and sender.process.poll() is None:
        time.sleep(0.05)


def overload(findings, seconds, peak_seconds, slack):
    suite = measure.instance(ACCOUNTS, ["connections %d" % CONNECTIONS], limited=True, cores=cores(SUITE_CORES))
    senders = None
    try:
        with tempfile.TemporaryDirectory() as directory:
            probe = Probe(suite)
            peak, first, files = find_peak(findings, suite, directory, peak_seconds)
            files.append(os.path.join(directory, "overload"))
            before, memory = measure.memory_kib(suite, "Pss_Anon:"), measure.Peak(suite)
            senders = Senders(suite, CLIENTS_MAX, int(TIMES * peak), seconds, files[-1], first)
            after_end(senders, seconds)
            recovers(findings, suite, probe, slack)
            senders.end()
            peaks = memory.end()
            good, total = senders.goodput(0, seconds), senders.total
            tried, together = sum(total.values()), max(r[1] for r in senders.rows)
            findings.say("in %d s: %s" % (seconds, dict(total)))
            findings.expect(slack > 1 or max(tried / (TIMES * peak), senders.busy) >= OFFERED_MIN * seconds,
                "ten times the load, or all that a core of clients offers: %d attempts, %.0f a second, %.1f times the peak, for %.0f s of processor and %.0f s of their core; %d clients together" % (
                    tried, tried / seconds, tried / seconds / peak, senders.processor, senders.busy, together))
            findings.expect(good >= GOODPUT_MIN / slack * peak, "goodput %.0f a second, %.0f %% of the peak of %.0f" % (good, 100 * good / peak, peak))
            findings.expect(total["rejected"] == 0 and not senders.wrong, "nobody got a 5xx: %s" % senders.wrong[:3])
            findings.expect(total["refused"] + total["deferred"] > 0, "%d got 421 and %d another 4xx" % (total["refused"], total["deferred"]))
            unanswered = total["reset"] + total["closed"] + total["silent"]
            findings.expect(unanswered <= slack * UNANSWERED_MAX * (tried - total["outside"]), "%.1f %% of those connected went without an answer: %d reset, %d closed, %d silent (%d gave up before they were connected)" % (
                100 * unanswered / max(tried - total["outside"], 1),
                total["reset"], total["closed"], total["silent"], total["outside"]))
            findings.say("memory in MiB, without pages of files, the most: %s; before: %s" % (measure.in_mib(peaks), measure.in_mib(before)))
            findings.expect(sum(peaks.values()) < MEMORY_MIB_MAX * 1024, "memory stayed below %d MiB: %.0f" % (MEMORY_MIB_MAX, sum(peaks.values()) / 1024))
            findings.expect(0 < memory.connections <= CONNECTIONS, "smtpd had %d connections at most, %d allowed" % (memory.connections, CONNECTIONS))
            nothing_lost(findings, suite, files)
            errors = measure.log_lines(suite, "error")
            findings.expect(not errors and measure.restarts(suite) == 0, "no error in the log, no daemon restarted: %s" % dict(errors))
    finally:
        if senders is not None and senders.process.poll() is None:
            senders.process.kill()
            senders.end()
        suite.close()
