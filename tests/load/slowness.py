"""Thousands of clients that send an octet now and then, in every state a connection can be in: none is there for longer
than the settings say, and others do not notice."""
import collections
import random
import select
import socket
import threading
import time

import measure
from measure import Line

ADDRESSES = 200
PER_ADDRESS = 50  # the default of connections-per-address
GRACE = 3.0  # seconds that the end may come late
ENVELOPE = b"EHLO slow\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u0@example.com>\r\n"
HANDSHAKE = b"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03" + b"x" * 200
GOOD_MS_MAX = 1000
# name, service, said at once, said slowly, the setting that ends it, the answer.
KINDS = [
    ("first command", "smtp", b"", b"E" * 400, "login-timeout", b"421 4.4.2"),
    ("command", "smtp", b"EHLO slow\r\nMAIL FR", b"O" * 400, "login-timeout", b"421 4.4.2"),
    ("header", "smtp", ENVELOPE + b"DATA\r\nSubject: ", b"h" * 400, "smtp-timeout", b"421 4.4.2"),
    ("body", "smtp", ENVELOPE + b"DATA\r\nSubject: h\r\n\r\n", b"b\r\n" * 140, "smtp-timeout", b"421 4.4.2"),
    ("chunk", "smtp", ENVELOPE + b"BDAT 5000\r\n", b"c" * 400, "smtp-timeout", b"421 4.4.2"),
    ("handshake after STARTTLS", "smtp", b"EHLO slow\r\nSTARTTLS\r\n", HANDSHAKE, "login-timeout", None),
    ("nothing", "smtp", b"", b"", "smtp-timeout", b"421 4.4.2"),
    ("log-in", "imap", b"a LOGIN al", b"i" * 400, "login-timeout", b"* BYE"),
    ("literal", "imap", b"a LOGIN {100+}\r\n", b"l" * 400, "login-timeout", b"* BYE"),
    ("handshake after STARTTLS, IMAP", "imap", b"a STARTTLS\r\n", HANDSHAKE, "login-timeout", None),
    ("handshake", "imaps", b"", HANDSHAKE, "login-timeout", None),
]


class Slow:
    def __init__(self, suite, number, chance):
        self.kind = KINDS[number % len(KINDS)]
        self.source = "127.0.1.%d" % (1 + number % ADDRESSES)
        self.sock = socket.socket()
        self.sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        self.sock.bind((self.source, 0))
        self.sock.connect(("127.0.0.1", suite.port(self.kind[1])))
        self.sock.setblocking(False)
        self.born = time.monotonic()
        self.heard, self.at, self.life = b"", 0, None
        self.next = self.born + chance.uniform(0.2, 1.5)
        self.sock.send(self.kind[2])

    def drip(self, chance):
        self.next = time.monotonic() + chance.uniform(0.5, 2.5)
        if self.at == 0 and self.kind[0] == "first command":
            self.born = time.monotonic()  # until now it was silent, not slow
        try:
            self.sock.send(self.kind[3][self.at : self.at + 1])
            self.at += 1
        except OSError:
            pass

    def listen(self):
        """True at its end."""
        try:
            data = self.sock.recv(4096)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        self.heard += data
        if not data:
            self.life = time.monotonic() - self.born
            self.sock.close()
        return not data


class Good(threading.Thread):
    """Delivers and reads as others do, all the time; seconds each took."""

    def __init__(self, suite):
        super().__init__(daemon=True)
        self.suite, self.smtp, self.imap, self.failed = suite, [], [], []
        self.stopped = threading.Event()
        self.start()

    def run(self):
        while not self.stopped.wait(0.05):
            try:
                begun = time.monotonic()
                self.suite.deliver("Subject: good\n\nx\n", to=["u1"])
                middle = time.monotonic()
                c = self.suite.imap("u1")
                c.ok("SELECT INBOX")
                c.ok("LOGOUT")
                c.close()
                self.smtp.append((middle - begun) * 1000)
                self.imap.append((time.monotonic() - middle) * 1000)
            except (AssertionError, OSError, EOFError) as e:
                self.failed.append("%s: %s" % (type(e).__name__, e))

    def end(self):
        self.stopped.set()
        self.join()


def come(suite, count, chance):
    """Not all in one moment: a thousand messages begun at once wait for their files, and that is another deadline (10 s)."""
    slow = []
    for n in range(count):
        slow.append(Slow(suite, n, chance))
        if n % 50 == 49:
            time.sleep(0.1)
    return slow


def drip_until_ended(slow, chance, seconds):
    poll = select.epoll()
    waiting = {s.sock.fileno(): s for s in slow}
    for fd in waiting:
        poll.register(fd, select.EPOLLIN | select.EPOLLRDHUP)
    deadline = time.monotonic() + seconds
    while waiting and time.monotonic() < deadline:
        for fd, _ in poll.poll(0.05):
            if waiting[fd].listen():
                del waiting[fd]
        now = time.monotonic()
        for s in waiting.values():
            if s.next < now and s.at < len(s.kind[3]):
                s.drip(chance)
    poll.close()
    for s in waiting.values():
        s.sock.close()
    return list(waiting.values())


def judge(findings, slow, left, limits):
    findings.expect(not left, "every slow client was ended: %s" % dict(collections.Counter(s.kind[0] for s in left)))
    for kind in KINDS:
        lives = [s for s in slow if s.kind is kind and s.life is not None]
        if not lives:
            continue
        limit = limits[kind[4]]
        longest, shortest = max(s.life for s in lives), min(s.life for s in lives)
        told = sum(1 for s in lives if kind[5] is not None and kind[5] in s.heard)
        findings.expect(longest <= limit + GRACE and shortest >= limit - GRACE and (kind[5] is None or told == len(lives)),
            "slow in %s: %d ended after %.1f to %.1f s (%s is %d s), %s" % (kind[0], len(lives), shortest, longest, kind[4], limit,
                "%d told %s" % (told, kind[5].decode()) if kind[5] else "within TLS nothing can be said"))


def counted_back(findings, suite, address):
    """An address whose connections have ended may have as many as ever."""
    for service, hello in (("smtp", b"220"), ("imap", b"* OK")):
        clients = [Line(suite.port(service), source=address) for _ in range(PER_ADDRESS)]
        refused = sum(1 for c in clients if not c.line().startswith(hello))
        for c in clients:
            c.close()
        findings.expect(refused == 0, "after it %s may have %d connections to %s: %d refused" % (address, PER_ADDRESS, service, refused))


def slowness(findings, count, smtp_timeout, login_timeout, seed):
    chance = random.Random(seed)
    limits = {"smtp-timeout": smtp_timeout, "login-timeout": login_timeout}
    suite = measure.instance(2, ["smtp-timeout %ds" % smtp_timeout, "login-timeout %ds" % login_timeout], limited=True)
    good = None
    try:
        before = measure.memory_kib(suite)
        slow = come(suite, count, chance)
        findings.say("%d slow clients from %d addresses, seed %d" % (count, ADDRESSES, seed))
        good = Good(suite)
        time.sleep(1)
        findings.say("memory in MiB: %s; before: %s" % (measure.in_mib(measure.memory_kib(suite)), measure.in_mib(before)))
        left = drip_until_ended(slow, chance, smtp_timeout + 30)
        good.end()
        judge(findings, slow, left, limits)
        findings.expect(not good.failed, "no good client failed: %s" % good.failed[:3])
        for what, times in (("a message is taken", good.smtp), ("a mailbox is opened", good.imap)):
            p99 = measure.percentile(times, 99)
            findings.expect(p99 < GOOD_MS_MAX, "meanwhile %s: median %.1f ms, p99 %.1f, slowest %.1f of %d (p99 under %d)" % (
                what, measure.percentile(times, 50), p99, max(times), len(times), GOOD_MS_MAX))
        measure.until(lambda: measure.connections(suite, "smtpd") + measure.connections(suite, "imapd") == 0, 10, "slow clients were ended and still count")
        counted_back(findings, suite, slow[0].source)
        errors = measure.log_lines(suite, "error")
        findings.expect(not errors and measure.restarts(suite) == 0, "no error in the log, no daemon restarted: %s" % dict(errors))
    finally:
        if good is not None:
            good.end()
        suite.close()
