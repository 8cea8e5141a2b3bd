#!/usr/bin/python3
"""A queue with very many messages for hosts that do not answer: what it costs, and what everybody else notices of it.

usage: deferred.py [COUNT]...            (make bench-queue N=10000,100000)

For each COUNT a suite gets so many messages that were put off, for 1,000 domains: half of them refuse connections, half take them and
say nothing. What is measured: the start, memory, the queue's commands, and all the while how long a fresh message to a live host takes. The
ends promised in doc/performance.md are held against it, and the step from one COUNT to the next must not be worse than linear. Where the machine has
other work than this, processor time takes the place of the commands' time.
"""
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

import measure
from dns import Dns, Zone
from mailwain import BIN, Instance, until
from remote import Mute, remote_host

DOMAINS = 1000
BYTES_A_MESSAGE, BYTES_FIXED = 200, 64 << 20
LIST_S, READY_S, FRESH_S = 2.0, 5.0, 1.0
COUNT_OF_ENDS = 100000  # of which doc/performance.md promises the times; a larger queue may take longer in proportion
LINEAR = 1.5  # times what is proportional, or this many seconds
SLACK_S = 1.0
SPREAD = 600  # seconds within which all are tried again, for so many; longer for more, so that what a command is measured beside is the same
FILL = os.path.join(measure.CLIENTS, "fill")


class Fresh(threading.Thread):
    """A message to a live host by SMTP and an alias, again and again: seconds from the connection of its sender until it is there."""

    def __init__(self, suite, remote):
        super().__init__(daemon=True)
        self.suite, self.remote, self.seconds, self.fault = suite, remote, [], None
        self.stopped = threading.Event()
        self.start()

    def once(self):
        before, begun = len(self.remote.messages), time.monotonic()
        self.suite.deliver("Subject: fresh\r\n\r\nHello.\r\n", to=("out",))
        until(lambda: len(self.remote.messages) > before, 60, "a fresh message did not leave")
        return time.monotonic() - begun

    def run(self):
        try:
            while not self.stopped.wait(0.2):
                self.seconds.append(self.once())
        except (AssertionError, OSError, EOFError) as e:
            self.fault = e

    def end(self):
        self.stopped.set()
        self.join(90)
        if self.fault:
            raise self.fault
        return self.seconds


def queue_pid(suite):
    return suite.daemons()["queue"]


def memory(pid):
    """What it has of its own, in bytes."""
    return measure.rollup_kib([pid], "Pss_Anon:") << 10


def cpu(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_busy():
    """Others want the processors: how long something takes says more of them."""
    return os.getloadavg()[0] > 1.5 * os.cpu_count()


def timed(function, *args):
    begun = time.monotonic()
    result = function(*args)
    return time.monotonic() - begun, result


def lines(suite, *args):
    """How many lines a command prints; 300 seconds at most."""
    r = subprocess.run([BIN, "--root", suite.root, "queue", *args], capture_output=True, timeout=300)
    if r.returncode != 0:
        raise measure.Broken("queue %s: %s" % (" ".join(args), r.stderr.decode()))
    return r.stdout.count(b"\n")


class Run:
    def __init__(self, findings, suite, remote, count):
        self.findings, self.suite, self.remote, self.count = findings, suite, remote, count
        self.figures, self.scale = {}, max(1.0, count / COUNT_OF_ENDS)

    def figure(self, name, value, end=None):
        self.figures[name] = value
        text = "%d messages: %s %.2f" % (self.count, name, value)
        if end is None:
            self.findings.say(text)
        else:
            self.findings.expect(value <= end, "%s (at most %.2f)" % (text, end))

    def fill(self, spread):
        spool = os.path.join(self.suite.root, "spool")
        seconds, _ = timed(lambda: subprocess.run([FILL, spool, str(self.count), str(DOMAINS), str(spread), "refused.test", "silent.test"], check=True, timeout=900))
        self.findings.say("%d messages: written in %.1f s" % (self.count, seconds))

    def start(self):
        seconds, _ = timed(lambda: self.suite.start())
        self.figure("ready, s", seconds, READY_S * self.scale)

    def recovered(self):
        """All files read; the log says so."""
        begun, pid = time.monotonic(), queue_pid(self.suite)
        until(lambda: "queue_recovered" in self.suite.log(), 600, "the spool was not read")
        self.findings.say("%d messages: all read after %.2f s more" % (self.count, time.monotonic() - begun))
        self.figure("processor time of queue until all are read, s", cpu(pid))

    def fresh_while(self, name, function, *args):
        fresh = Fresh(self.suite, self.remote)
        seconds, result = timed(function, *args)
        left = fresh.end() or [fresh.once()]
        self.findings.say("%d messages: %s: %d fresh ones, median %.3f s" % (self.count, name, len(left), statistics.median(left)))
        self.figure("slowest fresh message, %s, s" % name, max(left), FRESH_S)
        return seconds, result

    def command(self, name, *args, expected=None, end=None):
        pid = queue_pid(self.suite)
        before, clients = cpu(pid), resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds, got = self.fresh_while(name, lines, self.suite, *args)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used, own = cpu(pid) - before, after.ru_utime + after.ru_stime - clients.ru_utime - clients.ru_stime
        self.findings.say("%d messages: %s: %.2f s; processor time of queue %.2f s, of the command %.2f s" % (self.count, name, seconds, used, own))
        if is_busy():
            self.figure("%s, s of processor time" % name, used + own, end)
        else:
            self.figure("%s, s" % name, seconds, end)
        if expected is not None:
            self.findings.expect(abs(got - expected) <= 20, "%d messages: %s prints %d lines (%d)" % (self.count, name, got, expected))

    def footprint(self, empty, when):
        used = memory(queue_pid(self.suite))
        limit = self.count * BYTES_A_MESSAGE + BYTES_FIXED
        self.figure("memory %s, MiB" % when, used / (1 << 20), limit / (1 << 20))
        self.figures["bytes"] = (used - empty) / self.count
        self.findings.say("%d messages: %.0f bytes a message more than when it was empty, %s" % (self.count, self.figures["bytes"], when))


def commands(run):
    run.command("list", "list", expected=run.count + 1, end=LIST_S * run.scale)
    run.command("list --json", "list", "--json", expected=run.count, end=LIST_S * run.scale)
    run.command("list --destination", "list", "--destination", "d7.silent.test", expected=run.count / DOMAINS + 1, end=LIST_S * run.scale)
    run.command("list --recipient", "list", "--recipient", "user7@d7.silent.test", expected=2, end=LIST_S * run.scale)
    run.command("list --reason", "list", "--reason", "d8.refused", expected=run.count / DOMAINS + 1, end=LIST_S * run.scale)
    run.command("stats", "stats", end=LIST_S * run.scale)


def one(findings, count):
    with socket.socket() as s:
        s.bind(("127.0.0.99", 0))
        port = s.getsockname()[1]
    zones = {"refused.test": Zone(["*.refused.test. MX 10 mx", "mx A 127.0.0.99"], signed=False), "silent.test": Zone(["*.silent.test. MX 10 mx", "mx A 127.0.0.98"], signed=False),
             "live.test": Zone(["@ MX 10 mx", "mx A 127.0.0.6"], signed=False)}
    with remote_host("127.0.0.6", port) as remote, Dns(zones).running() as dns:
        silent = Mute("127.0.0.98", port, holds=True)
        suite = Instance(dns.conf_lines() + ["relay-port %d" % port, "transport none.test { hold yes }"])
        try:
            return measure_one(findings, suite, remote, silent, count)
        finally:
            suite.close()
            silent.close()


def measure_one(findings, suite, remote, silent, count):
    run = Run(findings, suite, remote, count)
    suite.start()
    suite.mw("alias", "add", "out@example.com", "somebody@live.test")
    Fresh(suite, remote).end()
    empty = memory(queue_pid(suite))
    suite.stop()
    os.remove(os.path.join(suite.root, "log", "mailwain.log"))
    run.fill(int(SPREAD * run.scale))
    run.start()
    run.fresh_while("while the spool is read", run.recovered)
    run.footprint(empty, "at rest")
    commands(run)
    run.footprint(empty, "after that")
    pid = queue_pid(suite)
    used = cpu(pid)
    run.command("flush --all", "flush", "--all")
    run.fresh_while("while all are tried", time.sleep, 10)
    run.figure("processor time of queue for a flush, and the 10 s behind it, s", cpu(pid) - used)
    run.figure("connections to each silent host, since the start", silent.connections / (DOMAINS / 2), 2)
    run.footprint(empty, "while all are tried")
    run.command("delete --all", "delete", "--all")
    until(lambda: lines(suite, "list", "--json") == 0, 30, "the queue is not empty")
    left = sum(len(names) for _, _, names in os.walk(os.path.join(suite.root, "spool", "queue")))
    findings.expect(left < 2000, "%d messages: %d files are left, for new messages" % (count, left))
    findings.say("%d messages: memory after all are gone: %.1f MiB" % (count, memory(pid) / (1 << 20)))
    return run.figures


def linear(findings, runs):
    """From each count to the next: in proportion, give or take."""
    counts = sorted(runs)
    for less, more in zip(counts, counts[1:]):
        for name, value in runs[more].items():
            if ", s" not in name or "fresh" in name or name not in runs[less]:
                continue
            most = max(runs[less][name] * more / less * LINEAR, SLACK_S)
            findings.expect(value <= most, "%s: from %.2f to %.2f for %d times as many" % (name, runs[less][name], value, more // less))


def main():
    counts = [int(a) for a in sys.argv[1:]] or [10000, 100000]
    findings, runs = measure.Findings(), {}
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    for count in counts:
        free = shutil.disk_usage("/tmp").free
        if free < count * 5000 * 2:
            sys.exit("not enough room on the disk for %d messages" % count)
        runs[count] = one(findings, count)
    linear(findings, runs)
    for fault in findings.faults:
        print("  " + fault)
    print("queue with %s messages: %d promises kept, %d broken" % (", ".join(map(str, counts)), findings.kept, len(findings.faults)))
    return 1 if findings.faults else 0


if __name__ == "__main__":
    sys.exit(main())
