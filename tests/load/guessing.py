#!/usr/bin/python3
"""Guessing at the size of a botnet: many addresses guess at many accounts, and their owners notice nothing (doc/reliability.md).

usage: guessing.py [--sample] [--plant NAME] [guessing | timing]...
Settings: TIMING_ROUNDS; GUESSES, GUESS_SECONDS, GUESS_ADDRESSES, GUESS_ACCOUNTS, SEED (which account is whose turn). The pace is GUESSES over GUESS_SECONDS, whatever becomes of them.
"""
import asyncio
import base64
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

MINUTE, CHECKS, CHECKS_NEXT_DOOR, PROOFS = 60, 10, 30, 2000  # auth/defence.h
LATE = 1  # seconds at most between auth's look at its clock and master's, which the log's lines have: the next check may come with the minute's end
FAILED = re.compile(r"^(\S+) auth\[\d+\] auth_failed user=(\S+) service=\S+ rip=(\S+) reason=(\S+)", re.M)
HASHES_KIB = 2 * 64 * 1024  # what two hashes at once take: password-hashes
OWNERS = 5  # u0 to u4, at home; u5 lives next door to one who guesses, at the account of u6
GUESSED_AT = OWNERS + 1
HOME, NEXT_DOOR = "127.0.0.1", "127.2.0.1"
NAMES_A_SECOND, NEIGHBOUR_A_SECOND, TELEPHONE_A_SECOND = 100, 13, 2
OWNER_WAITS, OWNER_USUALLY_WAITS = 2, 0.4  # seconds
CORES, AT_FIRST = 0.5, 2  # strangers' guesses and those next door may take a quarter each, and take less: what is right and what is refused is in it as well; seconds before they wait
USUAL_HASH = 0.15  # seconds of a processor for a log-in, at most, on a quiet machine
PARTS = ("timing", "guessing")
PART_OF_PLANT = {"defence-off": "guessing", "refusal-early": "timing"}


async def at_pace(count, seconds, step):
    """step(0), step(1), ...: so many in so many seconds, whatever becomes of them; seconds that it took to begin them all."""
    begun, tasks = time.monotonic(), set()
    for number in range(count):
        await asyncio.sleep(max(0, begun + number * seconds / count - time.monotonic()))
        task = asyncio.create_task(step(number))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    took = time.monotonic() - begun
    for task in list(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return took


def code_of(line):
    return line.split(b"]")[0].split(b"[")[-1].decode() if line else "closed"


class Attack:
    """What is done at once to one suite for so many seconds, each guess on a connection of its own; what became of it.

    Strangers guess at all accounts. Others, of a few addresses, invent names without end, with proofs that are wrong or none at all, so that what is counted may be
    forgotten for want of room. A neighbour guesses at one account behind an address that it knows. A telephone at an owner's home has the old password."""

    def __init__(self, port, guesses, seconds, addresses, accounts, seed):
        self.port, self.guesses, self.seconds, self.addresses, self.accounts = port, guesses, seconds, addresses, accounts
        self.random = random.Random(seed)
        self.said = {name: collections.Counter() for name in ("guesses", "names", "neighbour", "telephone")}

    async def talk(self, name, source, lines, wait=30):
        writer = None
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(source, 0))
            await reader.readline()
            for line in lines:
                answer = line(answer) if callable(line) else line
                writer.write(answer)
                answer = await asyncio.wait_for(reader.readline(), wait)
            self.said[name][code_of(answer)] += 1
        except (OSError, asyncio.TimeoutError) as e:
            self.said[name][type(e).__name__] += 1
        finally:
            if writer is not None:
                writer.close()

    def source(self, number):
        return "127.1.%d.%d" % (number % self.addresses // 250, number % self.addresses % 250 + 1)

    def log_in(self, account, password):
        return b'a LOGIN u%d@%s "%s"\r\n' % (account, DOMAIN.encode(), password.encode())

    async def guess(self, number):
        await self.talk("guesses", self.source(number), [self.log_in(self.random.randrange(self.accounts), "guess %d" % number)])

    async def invent(self, number):
        """What is no proof, from eight addresses, and then four wrong ones, from eight hundred; of twenty names one is always the same."""
        name = b"nobody%d@%s" % (number if number % 20 != 1 else 1, DOMAIN.encode())
        begin = b"a AUTHENTICATE SCRAM-SHA-256 %s\r\n" % base64.b64encode(b"n,,n=%s,r=nonce" % name)
        if number % 5 == 0:
            await self.talk("names", "127.3.0.%d" % (number // 5 % 8 + 1), [begin, b"Z2FyYmFnZQ==\r\n"], 1)
        else:
            await self.talk("names", "127.4.%d.%d" % (number // 250 % 4, number % 250 + 1), [begin, wrong_proof], 1)

    async def guess_next_door(self, number):
        await self.talk("neighbour", NEXT_DOOR, [self.log_in(GUESSED_AT, "guess %d" % number)], 1)

    async def ring(self, _, wait=3):
        await self.talk("telephone", HOME, [self.log_in(0, "the old password")], wait)

    async def run(self):
        rates = ((NAMES_A_SECOND, self.invent), (NEIGHBOUR_A_SECOND, self.guess_next_door), (TELEPHONE_A_SECOND, self.ring))
        took = await asyncio.gather(at_pace(self.guesses, self.seconds, self.guess), *[at_pace(int(rate * self.seconds), self.seconds, step) for rate, step in rates])
        self.took = max(took)


def wrong_proof(challenge):
    """To the first message of SCRAM's server: as long as one is, and nobody's."""
    nonce = re.match(rb"r=([^,]+)", base64.b64decode(challenge[2:]) if challenge.startswith(b"+ ") else b"r=none").group(1)
    return base64.b64encode(b"c=biws,r=%s,p=%s" % (nonce, base64.b64encode(b"x" * 32))) + b"\r\n"


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
        c = Imap(suite.port("imap"), source=HOME if n < OWNERS else NEXT_DOOR)
        line = c.run('LOGIN u%d@%s "%s"' % (n, DOMAIN, PASSWORD))[1]
        c.close()
        if line.startswith(b"OK"):
            seconds.append(time.monotonic() - begun)
        else:
            self.refused.append(line)

    def run(self):
        n = 0
        while not self.done.wait(1):
            self.login(n % (OWNERS + 1))
            n += 1


def cpu_of(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def times_of_checks(log):
    """(account, address) -> when one of its passwords or proofs was found wrong."""
    times = collections.defaultdict(list)
    for when, user, rip, reason in FAILED.findall(log):
        if reason in ("password", "unknown-user", "proof"):
            times[user, rip].append((datetime.datetime.fromisoformat(when.replace("Z", "+00:00")).timestamp(), reason))
    return times


def most_in_a_minute(times):
    """The most of these in any minute, as far as the log can tell."""
    times, first, most = sorted(times), 0, 0
    for i, t in enumerate(times):
        while times[first] <= t - MINUTE + LATE:
            first += 1
        most = max(most, i + 1 - first)
    return most


def judge_checks(findings, log):
    """What was checked, of each account and of all: by strangers, and next door; what the telephone had is known again."""
    guessed_at = "u%d@%s" % (GUESSED_AT, DOMAIN)
    strangers, next_door, proofs = collections.defaultdict(list), [], []
    for (user, rip), seen in times_of_checks(log).items():
        if rip == NEXT_DOOR and user == guessed_at:
            next_door += [t for t, _ in seen]
        elif rip != HOME:
            strangers[user] += [t for t, _ in seen]
            proofs += [t for t, reason in seen if reason == "proof"]
    most = max(map(most_in_a_minute, strangers.values()), default=0)
    findings.say("%d guesses of strangers were checked, %d of them proofs; %d next door" % (sum(map(len, strangers.values())), len(proofs), len(next_door)))
    findings.expect(most <= CHECKS, "at most %d checks a minute of one account: %d" % (CHECKS, most))
    findings.expect(most_in_a_minute(proofs) <= 2 * PROOFS, "at most %d proofs of strangers in a minute: %d" % (2 * PROOFS, most_in_a_minute(proofs)))
    findings.expect(most_in_a_minute(next_door) <= CHECKS_NEXT_DOOR, "at most %d checks a minute of an account behind an address that it knows: %d" % (CHECKS_NEXT_DOOR, most_in_a_minute(next_door)))


def judge_owners(findings, owners):
    """Within 2 s; on a machine so busy that a log-in takes more than 0.4 s at a suite that nobody attacks, within five times that."""
    findings.expect(owners.seconds and not owners.refused, "owners get in: %d times, refused %s" % (len(owners.seconds), owners.refused[:3]))
    slow, control = max(owners.seconds, default=0), max(owners.control_seconds, default=0)
    most = max(OWNER_WAITS, OWNER_WAITS / OWNER_USUALLY_WAITS * control)
    findings.expect(slow < most, "within %.1f s: at most %.2f s; where nobody guesses %.2f s" % (most, slow, control))


def guessing(findings, guesses, seconds, addresses, accounts, seed):
    suite = measure.instance(max(accounts, GUESSED_AT + 1), conf_lines=["password-cache 0s"], limited=True)
    control = None
    try:
        control = measure.instance(OWNERS + 1, conf_lines=["password-cache 0s"])
        pid, control_pid, owners = suite.daemons()["auth"], control.daemons()["auth"], Owners(suite, control)
        for n in range(OWNERS + 1):
            owners.login(n)  # now their place is known
        owners.login_at(suite, GUESSED_AT, [])
        attack = Attack(suite.port("imap"), guesses, seconds, addresses, accounts, seed)
        asyncio.run(attack.ring(0, 30))  # it is known again once it was found wrong: two that come together on a slow machine would both be checked
        owners.seconds.clear()
        owners.control_seconds.clear()
        peak = measure.Peak(suite)
        before, control_before = cpu_of(pid), cpu_of(control_pid)
        owners.start()
        asyncio.run(attack.run())
        spent, control_spent = cpu_of(pid) - before, cpu_of(control_pid) - control_before
        owners.done.set()
        owners.join()
        # A hash takes more processor time where others want the memory, and so do the owners' own: on a quiet machine there is no extra.
        extra = max(0, control_spent - USUAL_HASH * len(owners.control_seconds))
        cores = (spent - extra) / attack.took
        findings.say("%d guesses in %.0f s, and beside them: %s" % (guesses, attack.took, {name: dict(said) for name, said in attack.said.items()}))
        judge_checks(findings, suite.log())
        known = [r["failures"] for r in suite.rows("auth", "failures", "list", "u0@" + DOMAIN) if r["of"] == "known"]
        findings.expect(attack.said["telephone"]["AUTHENTICATIONFAILED"] > 0 and max(known, default=0) <= 1, "the old password, again and again, is one check: %s" % known)
        most = CORES + AT_FIRST / attack.took
        findings.expect(cores < most, "auth takes less than %.2f of a processor: %.2f" % (most, cores))
        judge_owners(findings, owners)
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
    """Half a minute shows a planted fault: however little of a busy machine is left to hash guesses, the proofs for one name are too many."""
    guesses, seconds, accounts = (2000, 24, 1) if options.plant else (10000, 60, 1000)
    findings.part(guessing, options.number("GUESSES", 100000, guesses), options.number("GUESS_SECONDS", 600, seconds),
                  options.number("GUESS_ADDRESSES", 200, 200), options.number("GUESS_ACCOUNTS", 1000, accounts), options.seed)


if __name__ == "__main__":
    sys.exit(main())
