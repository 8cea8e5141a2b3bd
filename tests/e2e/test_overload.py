"""Many clients, slow clients, clients that do not read: others are served all the same (15, 16, 22 of tests/README.md)."""
import contextlib
import os
import select
import socket
import time

import pytest

from dns import free_port
from mailwain import Imap, Instance, Line, Smtp, until
from tools import Clock, all_read, memory, server_side, with_conf

SLOW = int(os.environ.get("SLOW_CLIENTS", "2000"))
FILES = int(os.environ.get("SPOOL_FILES", "4096"))  # QUEUE_OUTSTANDING_MAX
MANY = int(os.environ.get("MANY_CLIENTS", "10000"))
HELLO = b"EHLO slow\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<alice@example.com>\r\nDATA\r\n"
CLIENT_HELLO = b"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03" + b"x" * 200

# What each kind of slow client says at once, what it goes on with an octet at a time, and what it may take in seconds.
KINDS = [
    ("smtp", b"EHLO slow\r\nMAIL FR", b"O" * 100, 1),
    ("smtp", b"", b"E" * 100, 1),
    ("smtp", HELLO + b"Subject: ", b"h" * 100, 2),
    ("smtp", HELLO + b"Subject: h\r\n\r\n", b"b\r\n" * 40, 2),
    ("smtp", b"EHLO slow\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<alice@example.com>\r\nBDAT 5000\r\n", b"c" * 100, 2),
    ("smtp", b"EHLO slow\r\nBDAT 5000\r\n", b"t" * 100, 2),
    ("smtp", b"EHLO slow\r\nSTARTTLS\r\n", CLIENT_HELLO, 1),
    ("imap", b"a LOGIN al", b"i" * 100, 1),
    ("imap", b"a LOGIN {100+}\r\n", b"l" * 100, 1),
    ("imap", b"a STARTTLS\r\n", CLIENT_HELLO, 1),
    ("imaps", b"", CLIENT_HELLO, 1),
]


@pytest.fixture(scope="module")
def hurried():
    """Ports in `hurry` end their clients soon. Those of the usual ports have time: nobody else is ended for what this machine is slow at."""
    with contextlib.ExitStack() as stack:
        ports = {}
        for service in ("smtp", "imap", "imaps"):
            ports[service], claim = free_port()
            stack.enter_context(claim)
        lines = ["listen %s on 127.0.0.1:%d { %s }" % (service, port, "smtp-timeout 2s; login-timeout 1s" if service == "smtp" else "login-timeout 1s") for service, port in ports.items()]
        i = stack.enter_context(Instance(conf_lines=lines).running("alice"))
        i.hurry = ports
        yield i


class Slow:
    def __init__(self, suite, kind):
        service, first, self.rest, self.seconds = kind
        self.name = "%s %r" % (service, first[-20:])
        self.sock = socket.create_connection(("127.0.0.1", suite.hurry[service]))
        self.born = time.monotonic()
        self.sock.sendall(first)
        self.at = 0
        self.life = None

    def drip(self):
        """One more octet, and whatever the server said is passed over."""
        try:
            self.sock.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass
        except OSError:
            return
        try:
            self.sock.send(self.rest[self.at : self.at + 1], socket.MSG_DONTWAIT)
            self.at += 1
        except OSError:
            pass


def served_in(suite):
    """Seconds that somebody else's message and log-in take."""
    with Clock() as t:
        suite.deliver("Subject: quick\n\nx\n")
        suite.imap("alice").ok("NOOP")
    return t.seconds


class Crowd:
    """Slow clients, each watched from its birth on, and how quickly others are served meanwhile."""

    def __init__(self, suite):
        self.suite, self.all, self.waiting, self.served = suite, [], {}, []
        self.poll = select.poll()
        self.looked = self.next_drip = self.next_good = time.monotonic()
        self.blind = 0  # the longest time between two looks at who has gone

    def join(self, s):
        self.all.append(s)
        self.waiting[s.sock.fileno()] = s
        self.poll.register(s.sock, select.POLLRDHUP | select.POLLHUP)

    def look(self, ms):
        gone, now = self.poll.poll(ms), time.monotonic()
        self.blind, self.looked = max(self.blind, now - self.looked), now
        for fd, _ in gone:
            s = self.waiting.pop(fd)
            s.life = now - s.born
            self.poll.unregister(fd)

    def go_on(self, ms):
        self.look(ms)
        if time.monotonic() > self.next_drip:
            self.next_drip = time.monotonic() + 0.4
            for s in self.waiting.values():
                s.drip()
        if time.monotonic() > self.next_good and self.waiting:
            self.next_good = time.monotonic() + 0.5
            self.served.append(served_in(self.suite))


@pytest.mark.alone
def test_15_slow_clients(hurried):
    """Thousands that send an octet now and then, in every state: all go at their deadline, and nobody else waits for them."""
    quiet = max(served_in(hurried) for _ in range(3))  # what this machine takes for it now
    crowd = Crowd(hurried)
    for n in range(SLOW):
        crowd.join(Slow(hurried, KINDS[n % len(KINDS)]))
        if n % 20 == 0:
            crowd.go_on(0)
    start = time.monotonic()
    while crowd.waiting and time.monotonic() - start < 40:
        crowd.go_on(50)
    assert not crowd.waiting, {s.name for s in crowd.waiting.values()}
    late = {s.name: s.life for s in crowd.all if s.life > s.seconds + 5 + 10 * quiet + crowd.blind}
    assert not late, (quiet, crowd.blind)
    served = sorted(crowd.served)
    assert served[len(served) // 2] < 1 + 10 * quiet and served[-1] < 5 + 10 * quiet, (quiet, served)
    for s in crowd.all:
        s.sock.close()


@pytest.mark.alone
def test_15_more_messages_begun_than_files_can_be_had(hurried):
    """The queue hands out only so many files; who waits for one gets it when others are done, and nothing is stuck after it."""
    begun = [Slow(hurried, ("smtp", HELLO, b"", 2)) for _ in range(FILES + 100)]
    all_read(begun[-1])
    last = hurried.smtp()
    last.envelope()
    last.send("DATA\r\n")
    for s in begun:
        s.sock.close()
    assert last.reply()[0] == 354
    for _ in range(40):
        hurried.deliver("Subject: after\n\nx\n")


@pytest.mark.alone
def test_15_many_messages_begun_at_once(suite):
    """Far more than the files kept ready: each gets its own."""
    begun = [Smtp(suite.port("smtp")) for _ in range(600)]
    for c in begun:
        c.send(HELLO.replace(b"DATA\r\n", b""))
    for c in begun:
        assert [c.reply()[0] for _ in range(3)] == [250] * 3
    for c in begun:
        c.send("DATA\r\n")
    with Clock() as t:
        for c in begun:
            assert c.reply()[0] == 354
    assert t.seconds < 10
    for c in begun:
        c.close()


@pytest.mark.alone
def test_15_failed_logins_buy_no_time(hurried):
    """What a client may take until it is logged in is for all its attempts together."""
    c = Imap(hurried.hurry["imap"])
    with Clock() as t:
        try:
            for n in range(40):
                c.send("a%d LOGIN nobody%d@example.com x\r\n" % (n, n))
                c.line()
                time.sleep(0.2)
        except (OSError, EOFError):
            pass
    assert t.seconds < 7


@pytest.mark.alone
def test_15_a_slow_link_is_no_slow_client(hurried):
    """More than smtp-timeout in all, but faster than 500 octets a second: such a message is taken."""
    for last in (False, False, True):
        pauses = []
        try:
            c = Smtp(hurried.hurry["smtp"])
            c.envelope()
            c.expect("DATA", 354)
            c.send("Subject: slow\r\n\r\n")
            for _ in range(12):
                c.send(b"x" * 398 + b"\r\n")
                with Clock() as t:
                    time.sleep(0.25)
                pauses.append(t.seconds)
            c.send(".\r\n")
            assert c.reply()[0] == 250
            return
        except (EOFError, OSError, AssertionError):
            if last or sum(pauses) < 4.5 and max(pauses, default=1) < 1:  # this machine was slower than the link
                raise


def not_reading(port):
    """A connection with as small a window as can be had."""
    c = Smtp.__new__(Smtp)
    c.sock = socket.socket()
    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # what is sent is with the server
    c.sock.settimeout(20)
    c.sock.connect(("127.0.0.1", port))
    c.buffer = b""
    return c


@pytest.mark.alone
@pytest.mark.parametrize("text", [b"NOOP\r\n" * 10000, (b"MAIL FROM:<a@b.test>\r\n" + b"RCPT TO:<alice+x@example.com>\r\n" * 900 + b"RSET\r\n") * 90], ids=["NOOP", "RCPT"])
def test_16_replies_that_nobody_reads(hurried, text):
    """The server stops reading when a little more than 64 kB wait, of its own or of the kernel's memory, and closes in time."""
    before = memory(hurried)

    def stuck():
        """(the client, octets sent, octets that the server has not read); None when its two seconds were over before that was seen."""
        c = not_reading(hurried.hurry["smtp"])
        c.sock.settimeout(0.5)
        sent = c.sock.send(b"EHLO x\r\n")
        try:
            while sent < len(text):
                sent += c.sock.send(text[sent - 8 :])
        except OSError:
            pass
        state, unread = server_side(c) or (None, 0)
        return (c, sent, unread) if state == 1 else None

    c, sent, unread = until(stuck)
    assert memory(hurried) - before < 256 * 1024
    if b"RCPT" in text:
        assert unread > 0
        assert (sent - unread) / 30 * 14 < 300 * 1024  # what was answered
    until(lambda: (server_side(c) or (7,))[0] not in (1, 8), 20, "the connection is held for ever")
    c.close()
    hurried.deliver("Subject: next\n\nx\n")


@pytest.mark.alone
@pytest.mark.parametrize("service", ["smtp", "imap"])
def test_22_ten_thousand_connections_from_two_hundred_addresses(fresh, service):
    suite = fresh(conf_lines=["connections-per-address 45"])
    with_conf(suite, lambda text: text.replace("unlimited-from 127.0.0.0/8", "unlimited-from 127.0.0.1"))
    suite.mw("reload")
    suite.add("alice")
    addresses, each = 200, MANY // 200
    quiet = max(served_in(suite) for _ in range(3))
    master = suite.daemons()["master"]
    clients, refused = [], 0
    try:
        for n in range(MANY):
            clients.append(Line(suite.port(service), source="127.0.1.%d" % (1 + n % addresses)))
        for c in clients:
            line = c.line()
            refused += line.startswith((b"421 4.7.0", b"* BYE"))
        assert refused == addresses * max(0, each - 45)
        served = [served_in(suite) for _ in range(3)]  # one may meet something else
        assert min(served) < 1 + 10 * quiet, (quiet, served)
        daemons = suite.daemons()
        assert daemons["master"] == master
    finally:
        for c in clients:
            c.close()
    until(lambda: Line(suite.port(service), source="127.0.1.1").line().startswith((b"220", b"* OK")))


def test_who_finds_no_session_free_waits_for_one_in_turn(fresh):
    suite = fresh(conf_lines=["connections 2"])
    inside = [Smtp(suite.port("smtp")) for _ in range(2)]
    with Clock() as late:
        first, second = (Line(suite.port("smtp")) for _ in range(2))
        until(lambda: "2 clients wait" in suite.mw("status").stdout, 5, "status does not tell of those who wait")
        with Clock() as t:
            inside[0].expect("QUIT", 221)
            assert first.line().startswith(b"220 ")
        assert t.seconds < 9
        assert not select.select([second.sock], [], [], 0)[0]
        assert second.line() == b"421 4.7.0 Too many connections; try again later"
    assert 9 < late.seconds < 30
    assert second.at_end()
    until(lambda: "clients wait" not in suite.mw("status").stdout)
    # One that has gone meanwhile takes no session with it, and an end of the suite is told.
    gone, third = Line(suite.port("smtp")), Line(suite.port("smtp"))
    until(lambda: "2 clients wait" in suite.mw("status").stdout)
    gone.close()
    inside[1].expect("QUIT", 221)
    assert third.line().startswith(b"220 ")
    fourth = Line(suite.port("smtp"))
    until(lambda: "1 clients wait" in suite.mw("status").stdout)
    suite.stop()
    assert fourth.line().startswith(b"421 ")
