"""
Hosts and name servers that do not mean well, and mail that has nowhere to go (the numbers are those of tests/README.md): each costs one
session and one line of the log, and what becomes of the message is told.
"""
import contextlib
import os
import signal
import socketserver
import ssl
import threading
import time

import pytest

from dns import Dns, Zone
from mailwain import Instance, until
from test_outbound import notification
from test_resolve import LIES, Liar, a_record
from test_submission import client
from tools import Clock, Strace, needs_strace

ALICE = "alice@example.com"


class Hostile(socketserver.ThreadingTCPServer):
    """`behave` has each connection, as a file, until it returns."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address):
        super().__init__((address, 0), Connection)
        self.behave, self.sessions, self.messages, self.certificate = well, 0, [], None


class Connection(socketserver.StreamRequestHandler):
    def handle(self):
        self.server.sessions += 1
        with contextlib.suppress(OSError):
            self.server.behave(self)

    def say(self, octets):
        self.wfile.write(octets)

    def up_to(self, verb, offers=b""):
        """Answers well until this verb comes."""
        while line := self.rfile.readline():
            if line.upper().startswith(verb):
                return
            self.say(b"250-hostile.test\r\n" + offers + b"250 PIPELINING\r\n" if line.startswith(b"EHLO") else b"250 2.0.0 ok\r\n")
        raise ConnectionError

    def begin(self, verb, offers=b""):
        self.say(b"220 hostile.test ESMTP\r\n")
        self.up_to(verb, offers)

    def content(self):
        self.say(b"354 go on\r\n")
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line)
        return b"".join(lines)


def well(c):
    c.begin(b"DATA")
    while True:
        c.server.messages.append(c.content())
        c.say(b"250 2.0.0 taken\r\n")
        c.up_to(b"DATA")


def at(verb, octets, offers=b"", then=None):
    """Says this where an answer to the verb belongs, and reads on."""

    def behave(c):
        c.begin(verb, offers)
        c.say(octets)
        if then != "close":
            while c.rfile.readline():
                pass

    return behave


def greets(octets):
    def behave(c):
        c.say(octets)
        while c.rfile.readline():
            pass

    return behave


def drips(c):
    for octet in b"220 hello, I am":
        c.say(bytes([octet]))
        time.sleep(0.05)


def at_the_end(octets):
    """Takes the content, and then..."""

    def behave(c):
        c.begin(b"DATA")
        c.content()
        c.say(octets)

    return behave


PATH = b"250-" + b"x" * 60 + b"\r\n"

# Name: what it does, what the log says of the session, what of the message.
ROWS = {
    "a line of 10 MB": (at(b"MAIL", b"250 " + b"a" * 10_000_000 + b"\r\n"), "longer than 2048 octets", "451 4.5.0 "),
    "a greeting without end": (greets(b"220 " + b"a" * 1_000_000), "longer than 2048 octets", "450 4.5.0 "),
    "a million lines": (at(b"EHLO", PATH * 150_000), "longer than 16384 octets", "450 4.5.0 "),
    "a million lines to RCPT": (at(b"RCPT", PATH * 150_000), "longer than 16384 octets", "451 4.5.0 "),
    "NUL": (at(b"MAIL", b"250 o\0k\r\n"), "CR or NUL within a line", "451 4.5.0 "),
    "CR alone": (at(b"MAIL", b"250 o\rk\r\n"), "CR or NUL within a line", "451 4.5.0 "),
    "no reply": (at(b"MAIL", b"hello\r\n"), "does not begin with a code", "451 4.5.0 "),
    "two codes": (at(b"EHLO", b"250-one\r\n251 two\r\n"), "different codes", "450 4.5.0 "),
    "closes in a reply": (at(b"EHLO", b"250-half", then="close"), "closed by the other side", "451 4.4.2 "),
    "closes at RCPT": (at(b"RCPT", b"", then="close"), "closed by the other side", "451 4.4.2 "),
    "drips and closes": (drips, "closed by the other side", "451 4.4.2 "),
    "250 where 354 belongs": (at(b"DATA", b"250 2.0.0 fine\r\n"), "answers DATA with 250", "451 4.5.0 "),
    "more than was asked": (at(b"DATA", b"451 no\r\n250 2.0.0 taken\r\n", then="close"), "", "451 4.0.0 no"),
    "421 within": (at(b"DATA", b"421 4.3.2 going down\r\n", then="close"), "", "421 4.3.2 going down"),
    "421 as a greeting": (greets(b"421 4.7.0 not you\r\n"), "421 not you", "451 4.4.2 The server closes the connection: 421 not you"),
    "a reply of its own to the end": (at_the_end(b"354 more\r\n"), "answers", "451 4.5.0 "),
}


@pytest.fixture(scope="module")
def hosts():
    with contextlib.ExitStack() as stack:
        made = {}
        for n, name in enumerate(list(ROWS) + ["closes", "closes in the reply", "injects", "words", "bounces", "dead", "good", "slow disk"]):
            made[name] = stack.enter_context(Hostile("127.0.0.%d" % (50 + n)))
            made[name].domain = "h%d.test" % n
            threading.Thread(target=made[name].serve_forever, args=[0.02], daemon=True).start()
            stack.callback(made[name].shutdown)
        yield made


CHAIN = 20


@pytest.fixture(scope="module")
def world():
    own = ["127.0.0.1", "0.0.0.0"]
    zones = {
        "null.test": ["@ MX 0 ."],
        "self.test": ["@ MX 10 mail.example.com."],
        "chain.test": ["@ CNAME c0"] + ["c%d CNAME c%d" % (n, n + 1) for n in range(CHAIN)] + ["c%d MX 10 mx" % CHAIN, "mx A 127.0.0.99"],
        "many.test": Zone(["@ MX %d m%d" % (n, n) for n in range(1000)] + ["m%d A 127.0.1.%d" % (n, n % 250 + 1) for n in range(1000)], signed=False),
        "points.test": Zone(["v%d A %s" % item for item in enumerate(own)] + ["v2 AAAA ::", "v3 AAAA ::ffff:0.0.0.0"], signed=False),
        "bogus.test": Zone(["@ MX 10 mx", "mx A 127.0.0.99"], fault="wrong"),
        "tlsa.test": ["@ MX 10 mx", "mx A 127.0.0.99", "*._tcp.mx CNAME tlsa.bogus.test."],
        "lame.test": Zone(fault="lame"),
    }
    with Dns(zones).running() as dns:
        yield dns


# Answers that are none, for the domains they are named for. Those of test_resolve.py, and some for MX.
def keytrap(q):
    """Six hundred keys and signatures, none of which fits."""
    end = q.index(b"\0", 12) + 5
    record = b"\xc0\x0c\0\x2e\0\1\0\0\1\x2c\0\x16\0\x0f\x0d\1\0\0\1\x2c\x7f\xff\xff\xff\0\0\0\0\xab\xcd\0x"
    return [q[:2] + b"\x81\x80\0\1\0\x1e\0\0\0\0" + q[12:end] + record * 30]


LIARS = {"garbage": LIES["garbage"], "cut": LIES["cut"], "otherids": LIES["other ids"], "loop": LIES["pointer to itself"], "keytrap": keytrap,
         "truncated": lambda q: [a_record(q)[:2] + b"\x83\x80" + a_record(q)[4:]], "servfail": lambda q: [q[:2] + b"\x81\x82" + q[4:]], "silence": lambda q: []}


@pytest.fixture(scope="module")
def suite(world, hosts):
    liars = {name: Liar(replies) for name, replies in LIARS.items()}
    zones = "".join(" %s.liar=%s" % (name, liar.address) for name, liar in liars.items())
    lines = [line + (zones if line.startswith("resolver-zones") else "") for line in world.conf_lines()]
    lines += ["transport %s { host 127.0.0.%d:%d }" % (h.domain, 50 + n, h.server_address[1]) for n, h in enumerate(hosts.values())]
    lines += ["resolver-timeout 2s", "resolver-insecure liar", "queue-retry-first 1m", "queue-lifetime 1h"]
    i = Instance(lines)
    with open(i.conf, "a") as f:
        f.write("relay-port %d\n" % i.port("smtp"))  # mail to ourselves would come back
    with i.running("alice"):
        i.add_cheap("full")
        yield i


@pytest.fixture(autouse=True)
def clean(suite):
    yield
    for row in suite.rows("queue", "list"):
        suite.mw("queue", "delete", row["id"], check=False)


def send(suite, to, body="Hello.\r\n", sender=ALICE):
    c = client(suite) if sender == ALICE else suite.smtp()
    if sender != ALICE:
        c.hello()
    c.expect("MAIL FROM:<%s>" % sender, 250)
    c.expect("RCPT TO:<%s>" % to, 250)
    qid = c.data("Subject: x\r\n\r\n" + body).split()[-1]
    c.close()
    return qid


def lines_of(suite, event, part):
    return [line for line in suite.log().splitlines() if event in line and part in line]


def outcome(suite, qid, event="relay_deferred"):
    return until(lambda: next(iter(lines_of(suite, event, "qid=%s " % qid)), None), what="no " + event)


def gone(suite, qid):
    return all(r["id"] != qid for r in suite.rows("queue", "list"))


def again(suite, qid):
    """Now, once queue knows that it has waited."""
    until(lambda: [r for r in suite.rows("queue", "list") if r["id"] == qid and r["status"] == "deferred"])
    suite.mw("queue", "flush", qid)
    until(lambda: gone(suite, qid))


# ---- 32, 33: hosts ----


@pytest.mark.parametrize("name", ROWS)
def test_32_replies(suite, hosts, name):
    host = hosts[name]
    host.behave, error, reply = ROWS[name]
    address = "address=" + host.server_address[0] + " "
    qid = send(suite, "bob@" + host.domain)
    line = outcome(suite, qid)
    assert 'reply="%s' % reply in line and len(line) < 1200, line
    assert host.sessions == 1
    failed = lines_of(suite, "relay_session_failed", address)
    assert len(failed) == (1 if error else len(failed)) and all(error in f and len(f) < 800 for f in failed), failed
    assert suite.rows("queue", "list")[0]["id"] == qid and not host.messages
    host.behave = well
    again(suite, qid)
    assert len(host.messages) == 1


@needs_strace
def test_a_flush_while_the_deferral_is_written_down(suite, hosts):
    """It is tried again now, not after its minute."""
    host = hosts["slow disk"]
    host.behave = at(b"RCPT", b"", then="close")
    with Strace(suite.daemons()["queue"], "fdatasync:delay_enter=1000000"):
        qid = send(suite, "bob@" + host.domain)
        outcome(suite, qid)
        host.behave = well
        suite.mw("queue", "flush", qid)
    until(lambda: gone(suite, qid))
    assert len(host.messages) == 1


def test_32_what_is_said_before_tls_is_not_heard(suite, hosts):
    """With what was injected read as if it had come over TLS, the second 250 would be the answer to EHLO."""
    host, served = hosts["injects"], ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(*(os.path.join(suite.root, "etc", name) for name in ("tls.pem", "tls.key")))

    def behave(c):
        c.begin(b"STARTTLS", b"250-STARTTLS\r\n")
        c.say(b"220 go on\r\n250-injected.test\r\n250 AUTH PLAIN\r\n")
        with contextlib.suppress(OSError):
            c.request = served.wrap_socket(c.request, server_side=True)
            c.rfile, c.wfile = c.request.makefile("rb"), c.request.makefile("wb", 0)
            c.up_to(b"DATA")
            c.server.messages.append(c.content())

    host.behave = behave
    qid = send(suite, "bob@" + host.domain)
    line = outcome(suite, qid)
    assert "4.5.0" in line and "injected" not in line
    assert not host.messages and lines_of(suite, "relay_session_failed", "address=%s " % host.server_address[0])


def test_32_words_are_made_harmless(suite, hosts):
    """Control octets, other lines and great lengths do not come into a notification or the log."""
    host = hosts["words"]

    def behave(c):
        c.begin(b"RCPT")
        c.say(b"550-5.1.1 \x1b[31mred\x07 \xff\xfe\r\n550-5.1.1 Subject: forged\r\n550 5.1.1 " + b"y" * 900 + b"\r\n")
        c.up_to(b"DATA")
        c.say(b"554 5.5.1 no recipients\r\n")
        c.up_to(b"QUIT")

    host.behave = behave
    qid = send(suite, "words@" + host.domain)
    assert "\x1b" not in outcome(suite, qid, "relay_refused")
    told = notification(suite, "words@" + host.domain)
    assert "?[31mred?" in told and "\x1b" not in told and "\nSubject: forged" not in told
    assert all(len(line) <= 998 for line in told.split("\r\n")) and told.count("y") < 1100


@pytest.mark.parametrize("how", ["closes", "closes in the reply"])
def test_33_nothing_behind_the_end(suite, hosts, how):
    """It may have the message: it is sent again, and that is told."""
    host = hosts[how]
    host.behave = at_the_end(b"" if how == "closes" else b"250-2.0.0 ta")
    qid = send(suite, "bob@" + host.domain)
    line = outcome(suite, qid)
    assert "maybe=1" in line and 'reply="451 4.4.2 closed by the other side, when an answer to ' in line
    assert not gone(suite, qid)
    host.behave = well
    again(suite, qid)
    assert len(host.messages) == 1


# ---- 34: where mail must not go ----


@pytest.mark.parametrize("domain, words", [("null.test", "556 5.1.10 null.test takes no mail"), ("self.test", "554 5.4.6 "), ("v0.points.test", "554 5.4.6 "), ("v1.points.test", "554 5.4.6 "),
                                           ("v2.points.test", "554 5.4.6 "), ("v3.points.test", "554 5.4.6 "), ("[127.0.0.1]", "554 5.4.6 "), ("[0.0.0.0]", "554 5.4.6 "), ("[IPv6:::]", "554 5.4.6 ")])
def test_34_ways_that_lead_back_or_nowhere(suite, domain, words):
    qid = send(suite, "bob@" + domain)
    assert 'reply="' + words in outcome(suite, qid, "relay_refused")
    until(lambda: gone(suite, qid))
    assert words[4:] in notification(suite, "bob@" + domain)


def test_34_an_alias_of_an_alias(suite):
    """libunbound follows eleven of them."""
    qid = send(suite, "bob@chain.test")
    assert "450 4.4.3" in outcome(suite, qid) or "451 4.4.3" in outcome(suite, qid)
    assert not gone(suite, qid)


def test_34_a_thousand_hosts(suite):
    qid = send(suite, "bob@many.test")
    line = outcome(suite, qid)
    assert "451 4.4." in line and not gone(suite, qid)
    assert len([f for f in lines_of(suite, "relay_session_failed", ".many.test ")]) == 5


# ---- 35: name servers ----


def cpu(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("lie", LIARS)
def test_35_name_servers_that_lie(suite, lie):
    pids = [suite.daemons()[name] for name in ("resolve", "relay")]
    before = sum(map(cpu, pids))
    qid = send(suite, "bob@%s.liar" % lie)
    line = outcome(suite, qid)
    assert "4.4.3 the mail hosts of %s.liar cannot be told now" % lie in line
    assert sum(map(cpu, pids)) - before < 0.3
    assert not gone(suite, qid) and [suite.daemons()[name] for name in ("resolve", "relay")] == pids


@pytest.mark.parametrize("domain, words", [("bogus.test", "450 4.7.5 the mail hosts of bogus.test cannot be believed"), ("lame.test", "4.4.3 the mail hosts of lame.test cannot be told now")])
def test_35_zones_that_are_broken(suite, domain, words):
    qid = send(suite, "bob@" + domain)
    assert words in outcome(suite, qid)
    assert not gone(suite, qid)


def test_36_records_that_cannot_be_told(suite):
    """The policy of a host that is missing because somebody keeps it away is not none; test_dane.py has all cases."""
    qid = send(suite, "bob@tlsa.test")
    line = outcome(suite, qid)
    assert "450 4.7.5 the TLSA records of mx.tlsa.test cannot be told now" in line
    assert not gone(suite, qid) and not lines_of(suite, "relay_session_failed", "mx.tlsa.test")


# ---- 37: notifications ----


def refuses(c):
    """Everything that has a recipient."""
    c.begin(b"RCPT")
    while True:
        c.say(b"550 5.1.1 nobody here\r\n")
        c.up_to(b"DATA")
        c.say(b"554 5.5.1 no recipients\r\n")
        c.up_to(b"RCPT")


def dsns(suite, since):
    return [line for line in suite.log()[since:].splitlines() if "queue_dsn" in line]


@pytest.fixture(scope="module")
def away(suite, hosts):
    """An alias that leads to a host whose users there are none of."""
    suite.mw("alias", "add", "away@example.com", "nobody@" + hosts["bounces"].domain)
    return "away@example.com"


def test_37_a_notification_that_is_refused(suite, hosts, away):
    """It goes to postmaster, once, and what is refused there as well ends."""
    hosts["bounces"].behave = refuses
    since = len(suite.log())
    send(suite, away, sender="stranger@" + hosts["bounces"].domain)
    told = notification(suite, "stranger@" + hosts["bounces"].domain)  # alice is postmaster
    assert "nobody here" in told
    suite.wait_empty()
    until(lambda: len(dsns(suite, since)) >= 2)
    assert len(dsns(suite, since)) == 2


def test_37_nobody_is_told_of_a_message_without_a_sender(suite, hosts, away):
    hosts["bounces"].behave = refuses
    since = len(suite.log())
    send(suite, away, sender="")
    suite.wait_empty()
    assert len(dsns(suite, since)) <= 1


def test_37_a_notification_about_ten_megabytes_is_small(suite, hosts):
    hosts["bounces"].behave = refuses
    send(suite, "large@" + hosts["bounces"].domain, "x" * 76 + "\r\n" + ("y" * 76 + "\r\n") * 130_000)
    assert len(notification(suite, "large@" + hosts["bounces"].domain)) < 100_000


# ---- 30: dead hosts ----


def seconds_until_sent(suite, host):
    with Clock() as t:
        qid = send(suite, "bob@" + host.domain)
        until(lambda: gone(suite, qid))
    return t.seconds


def test_30_dead_hosts_keep_nobody_waiting(suite, hosts):
    """A hundred messages for one, and a hundred domains of others; what is known of them outlives queue."""
    dead, good = hosts["dead"], hosts["good"]
    quiet = seconds_until_sent(suite, good)
    dead.behave = greets(b"421 4.3.2 not now\r\n")
    c = client(suite)
    for n in range(100):
        for to in ("d%d@%s" % (n, dead.domain), "x@d%d.points.test" % n):
            c.expect("MAIL FROM:<%s>" % ALICE, 250)
            c.expect("RCPT TO:<%s>" % to, 250)
            c.data("Subject: x\r\n\r\nx\r\n")
    assert seconds_until_sent(suite, good) < 5 + 10 * quiet and len(good.messages) == 2
    until(lambda: all(r["status"] != "active" for r in suite.rows("queue", "list")))
    assert [r for r in suite.rows("queue", "stats") if r["state"] == "dead" and dead.server_address[0] in r["destination"]]
    tried, pid = dead.sessions, suite.daemons()["queue"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: suite.daemons().get("queue") not in (None, 0, pid))
    qid = until(lambda: send_or_none(suite, "bob@" + good.domain))
    until(lambda: gone(suite, qid))
    assert dead.sessions <= tried + 1 and len(good.messages) == 3


def send_or_none(suite, to):
    try:
        return send(suite, to)
    except (AssertionError, EOFError):
        return None
