"""Thousands of IMAP clients in IDLE over TLS and of SMTP sessions at once, and how others fare meanwhile."""
import os
import queue
import socket
import ssl
import subprocess
import threading
import time

import measure
from measure import CLIENTS, PASSWORD, Imap, until

SESSIONS_OF_ACCOUNT = 20
HIBERNATE = 5  # seconds; so that the rig need not wait for the default
CLIENT_KIB_MAX = 64  # of memory for each client that waits: 10,000 in well under 1 GiB
DELIVERY_MS_MAX, LOGIN_MS_MAX, SMTP_MS_MAX = 5000, 200, 1000


class Idlers(threading.Thread):
    """tests/load/idlers.c: what it says, line by line."""

    def __init__(self, suite, clients, accounts):
        super().__init__(daemon=True)
        self.lines = queue.Queue()
        self.process = subprocess.Popen([os.path.join(CLIENTS, "idlers"), str(suite.port("imaps")), str(clients), str(accounts), "250", PASSWORD],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lost = []
        self.start()

    def run(self):
        for line in self.process.stdout:
            self.lines.put(line.split())
        self.lines.put(["lost", "its end"])

    def until(self, word, seconds):
        """The words of the next line that begins so."""
        deadline = time.monotonic() + seconds
        while len(self.lost) < 100:
            try:
                words = self.lines.get(timeout=max(deadline - time.monotonic(), 0))
            except queue.Empty:
                raise measure.Broken("no client said '%s' within %d s; lost: %s" % (word, seconds, self.lost[:3])) from None
            if words[0] == word:
                return words
            if words[0] == "lost":
                self.lost.append(" ".join(words))
        raise measure.Broken("the clients were lost: %s" % self.lost[:3])

    def stir(self, count):
        self.process.stdin.write("stir %d\n" % count)
        self.process.stdin.flush()
        return [float(word) for word in self.until("done", 120)[1:]]

    def end(self):
        self.process.stdin.close()
        self.process.wait(60)
        self.join()
        self.process.stdout.close()


class SmtpHolders:
    """tests/load/senders.c, whose sessions say EHLO and stay."""

    def __init__(self, suite, count):
        self.process = subprocess.Popen([os.path.join(CLIENTS, "senders"), str(suite.port("smtp")), "1", "250", str(count), "0", "0", os.devnull, "0"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("ready"):
            raise measure.Broken("SMTP sessions are not all greeted: %s" % line)

    def end(self):
        self.process.stdin.close()
        last = self.process.stdout.read().split()
        self.process.wait(60)
        return last


def login_times(suite, accounts, count):
    """ms from the connection to the OK of LOGIN, over TLS, of every account in turn."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    times = []
    for n in range(count):
        begun = time.monotonic()
        c = Imap.__new__(Imap)
        c.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", suite.port("imaps")), timeout=20))
        c.buffer, c.count = b"", 0
        c.line()
        c.ok('LOGIN u%d@example.com "%s"' % (n % accounts, PASSWORD))
        times.append((time.monotonic() - begun) * 1000)
        c.ok("LOGOUT")
        c.close()
    return times


def smtp_times(suite, count):
    times = []
    for _ in range(count):
        begun = time.monotonic()
        c = suite.smtp()
        c.hello()
        times.append((time.monotonic() - begun) * 1000)
        c.expect("QUIT", 221)
        c.close()
    return times


def delivery_times(findings, suite, idlers, accounts, count):
    """ms until the last of an account's clients was told of a message."""
    times = []
    for n in range(count):
        account = n * accounts // count
        begun = time.monotonic() * 1000
        suite.deliver("Subject: told\n\nx\n", to=["u%d" % account])
        told = 0
        while told < SESSIONS_OF_ACCOUNT:
            words = idlers.until("told", 2 * DELIVERY_MS_MAX / 1000)
            told += int(words[1]) == account
        times.append(float(words[2]) - begun)
    return times


def settled(suite):
    until(lambda: measure.forked(suite, "imap-session") == 0, 120, "sessions that wait in IDLE keep their processes")


def each(findings, suite, before, after, clients):
    added = sum((after - before).values())
    findings.say("descriptors: %s" % dict(measure.descriptors(suite)))
    findings.say("memory in MiB: %s; added: %s" % (measure.in_mib(after), measure.in_mib(after - before)))
    findings.expect(added / clients <= CLIENT_KIB_MAX, "%.1f KiB of memory (PSS) for each of %d idle TLS clients, %.0f MiB in all (at most %d KiB)" % (
        added / clients, clients, added / 1024, CLIENT_KIB_MAX))


def fares(findings, what, times, limit):
    p99 = measure.percentile(times, 99)
    findings.expect(p99 < limit, "%s: median %.1f ms, p99 %.1f, slowest %.1f of %d (p99 under %d)" % (what, measure.percentile(times, 50), p99, max(times), len(times), limit))


def idling(findings, clients, holders, probes, slack):
    """slack: the limits of time are so many times as long, for a short run beside others."""
    accounts = max(clients // SESSIONS_OF_ACCOUNT, 1)
    suite = measure.instance(accounts, ["imapd-workers 2", "imap-hibernate-after %ds" % HIBERNATE], limited=True)
    idlers = smtp = None
    try:
        suite.deliver("Subject: warm\n\nx\n", to=["u0"])
        before = measure.memory_kib(suite)
        idlers = Idlers(suite, clients, accounts)
        ready = idlers.until("ready", 60 + clients / 20)
        findings.say("%s clients in IDLE after %.1f s, %d processes of sessions" % (ready[1], float(ready[2]) / 1000, measure.forked(suite, "imap-session")))
        settled(suite)
        each(findings, suite, before, measure.memory_kib(suite), clients)
        smtp_before = measure.memory_kib(suite)["smtpd"]
        smtp = SmtpHolders(suite, holders)
        findings.say("%d SMTP sessions at the same time: %.1f KiB each" % (holders, (measure.memory_kib(suite)["smtpd"] - smtp_before) / holders))
        fares(findings, "a delivery is told to %d clients in IDLE" % SESSIONS_OF_ACCOUNT, delivery_times(findings, suite, idlers, accounts, probes // 5), slack * DELIVERY_MS_MAX)
        fares(findings, "a new log-in over TLS", login_times(suite, accounts, probes), slack * LOGIN_MS_MAX)
        fares(findings, "a new log-in over TLS, password known", login_times(suite, 10, probes), slack * LOGIN_MS_MAX)
        fares(findings, "a new SMTP session", smtp_times(suite, probes), slack * SMTP_MS_MAX)
        median, p99, worst = idlers.stir(max(clients // 10, 1))
        findings.expect(p99 < slack * DELIVERY_MS_MAX, "%d clients say DONE at once: answered in %.0f ms (median), p99 %.0f, slowest %.0f" % (max(clients // 10, 1), median, p99, worst))
        findings.expect(not idlers.lost, "no client was lost (%s)" % (idlers.lost[:3] or "none"))
        last = smtp.end()
        findings.expect(last[1:9] == ["0"] * 8, "no SMTP session was refused or lost: %s" % " ".join(last))
        smtp = None
        idlers.end()
        idlers = None
        begun = time.monotonic()
        until(lambda: measure.connections(suite, "imapd") + measure.connections(suite, "imap-session") == 0, 60, "clients have gone and their sessions stay")
        findings.say("all gone %.1f s after their end; memory in MiB: %s" % (time.monotonic() - begun, measure.in_mib(measure.memory_kib(suite))))
        errors = measure.log_lines(suite, "error") + measure.log_lines(suite, "warn")
        findings.expect(not errors and measure.restarts(suite) == 0, "no error in the log, no daemon restarted: %s" % dict(errors))
    finally:
        for driver in (idlers, smtp):
            if driver is not None:
                driver.process.kill()
                driver.process.wait()
        suite.close()
