#!/usr/bin/python3
"""Guessing at the size of a botnet: many addresses guess at many accounts, and their owners notice nothing (doc/reliability.md).

usage: guessing.py [--sample] [--plant NAME] [guessing | timing]...
Settings: TIMING_ROUNDS; GUESSES, GUESS_SECONDS, GUESS_ADDRESSES, GUESS_ACCOUNTS, SEED (which account is whose turn). The pace is GUESSES over GUESS_SECONDS, whatever becomes of them.
"""
import asyncio
import collections
import datetime
import os
import random
import re
import signal
import sys
import threading
import time

import measure
from mailwain import DOMAIN, PASSWORD, Imap
from rig import Options
from timing import timing, timing_of_users

MINUTE, CHECKS = 60, 10
FAILED = re.compile(r"^(\S+) auth\[\d+\] auth_failed user=(\S+) service=\S+ rip=(\S+) reason=(\S+)", re.M)
HASHES_KIB = 2 * 64 * 1024  # what two hashes at once take: password-hashes
OWNERS = 5
USUAL_HASH = 0.15  # seconds of a processor for a log-in, at most, on a quiet machine
PARTS = ("timing", "guessing")
PART_OF_PLANT = {"defence-off": "guessing", "refusal-early": "timing"}


class Attack:
    """Guesses at a pace, each on a connection of its own; what became of them."""

    def __init__(self, port, guesses, seconds, addresses, accounts, seed):
        self.port, self.guesses, self.seconds, self.addresses, self.accounts = port, guesses, seconds, addresses, accounts
        self.random = random.Random(seed)
        self.said = collections.Counter()

    async def guess(self, number, account):
        source = "127.1.%d.%d" % (number % self.addresses // 250, number % self.addresses % 250 + 1)
        writer = None
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(source, 0))
            await reader.readline()
            writer.write(b'a LOGIN u%d@%s "guess %d"\r\n' % (account, DOMAIN.encode(), number))
            line = await asyncio.wait_for(reader.readline(), 30)
            self.said[line.split(b"]")[0].split(b"[")[-1].decode() if line else "closed"] += 1
        except (OSError, asyncio.TimeoutError) as e:
            self.said[type(e).__name__] += 1
        finally:
            if writer is not None:
                writer.close()

    async def run(self):
        begun, tasks = time.monotonic(), set()
        for number in range(self.guesses):
            await asyncio.sleep(max(0, begun + number * self.seconds / self.guesses - time.monotonic()))
            task = asyncio.create_task(self.guess(number, self.random.randrange(self.accounts)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        self.took = time.monotonic() - begun
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Owners(threading.Thread):
    """People who log in from where they always do; and in turns with them others, at a suite that nobody attacks: what the machine makes of a log-in just now."""

    def __init__(self, suite, control):
        super().__init__(daemon=True)
        self.suite, self.control = suite, control
        self.seconds, self.control_seconds, self.refused, self.done = [], [], [], threading.Event()

    def login(self, n):
        self.login_at(self.control, n, self.control_seconds)
        self.login_at(self.suite, n, self.seconds)

    def login_at(self, suite, n, seconds):
        begun = time.monotonic()
        c = Imap(suite.port("imap"))
        line = c.run('LOGIN u%d@%s "%s"' % (n, DOMAIN, PASSWORD))[1]
        c.close()
        if line.startswith(b"OK"):
            seconds.append(time.monotonic() - begun)
        else:
            self.refused.append(line)

    def run(self):
        n = 0
        while not self.done.wait(1):
            self.login(n % OWNERS)
            n += 1


def cpu_of(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def most_checks(log):
    """The most guesses of strangers that were checked for one account in any minute; how many were checked in all."""
    times = collections.defaultdict(list)
    for when, user, rip, reason in FAILED.findall(log):
        if reason in ("password", "unknown-user", "proof") and rip != "127.0.0.1":
            times[user].append(datetime.datetime.fromisoformat(when.replace("Z", "+00:00")).timestamp())
    most = 0
    for seen in times.values():
        for i, t in enumerate(seen):
            most = max(most, sum(t - MINUTE < other <= t for other in seen[max(0, i - 2 * CHECKS) : i + 1]))
    return most, sum(len(seen) for seen in times.values())


def guessing(findings, guesses, seconds, addresses, accounts, seed):
    suite = measure.instance(max(accounts, OWNERS), conf_lines=["password-cache 0s"], limited=True)
    control = None
    try:
        control = measure.instance(OWNERS, conf_lines=["password-cache 0s"])
        pid, control_pid, owners = suite.daemons()["auth"], control.daemons()["auth"], Owners(suite, control)
        for n in range(OWNERS):
            owners.login(n)  # now their place is known
        owners.seconds.clear()
        owners.control_seconds.clear()
        peak = measure.Peak(suite)
        before, control_before, attack = cpu_of(pid), cpu_of(control_pid), Attack(suite.port("imap"), guesses, seconds, addresses, accounts, seed)
        owners.start()
        asyncio.run(attack.run())
        spent, control_spent = cpu_of(pid) - before, cpu_of(control_pid) - control_before
        owners.done.set()
        owners.join()
        # A hash takes more processor time where others want the memory, and so do the owners' own: on a quiet machine there is no extra.
        extra = max(0, control_spent - USUAL_HASH * len(owners.control_seconds))
        cores, slowest = (spent - extra) / attack.took, max(owners.control_seconds, default=0)
        most, checked = most_checks(suite.log())
        findings.say("%d guesses in %.0f s: %s; %d checked" % (guesses, attack.took, dict(attack.said), checked))
        findings.expect(most <= CHECKS, "at most %d checks a minute of one account: %d" % (CHECKS, most))
        findings.expect(cores < 0.5, "auth takes less than half a processor: %.2f" % cores)
        findings.expect(owners.seconds and not owners.refused, "owners get in: %d times, refused %s" % (len(owners.seconds), owners.refused[:3]))
        slow = max(owners.seconds, default=0)
        findings.expect(slow - slowest < 2, "within 2 s of what it takes where nobody guesses: at most %.2f s, there %.2f" % (slow, slowest))
        memory = peak.end()["auth"]
        findings.expect("SANITIZED" in os.environ or memory < HASHES_KIB + 32 * 1024, "auth's memory is bounded: %.1f MiB, hashes included" % (memory / 1024))
        findings.expect(suite.daemons()["auth"] == pid, "auth is the one that it was")
    finally:
        suite.close()
        if control is not None:
            control.close()


def main():
    options = Options()
    parts = [a for a in sys.argv[1:] if a in PARTS] or ([PART_OF_PLANT[options.plant]] if options.plant in PART_OF_PLANT else PARTS)
    findings = measure.Findings()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that instances are ended
    if "timing" in parts:
        rounds = options.number("TIMING_ROUNDS", 30, 7)
        findings.part(timing, rounds)
        findings.part(timing_of_users, rounds)
    if "guessing" in parts:
        guessing_part(findings, options)
    findings.repeat("make check-guessing", options)
    return options.verdict("guessing (%s): %d promises kept, %d broken" % (", ".join(parts), findings.kept, len(findings.faults)), findings.faults)


def guessing_part(findings, options):
    """One account shows a planted fault at once."""
    guesses, seconds, accounts = (2000, 12, 1) if options.plant else (10000, 60, 1000)
    findings.part(guessing, options.number("GUESSES", 100000, guesses), options.number("GUESS_SECONDS", 600, seconds),
                  options.number("GUESS_ADDRESSES", 200, 200), options.number("GUESS_ACCOUNTS", 1000, accounts), options.seed)


if __name__ == "__main__":
    sys.exit(main())
