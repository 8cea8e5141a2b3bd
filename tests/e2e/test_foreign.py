"""
Mail to other mail servers: Postfix, Exim and OpenSMTPD from Debian's packages, found by signed MX records. Two of them require TLS, with keys that
their TLSA records vouch for. What they took is compared octet by octet.
"""
import base64
import os
import socket

import pytest

from dns import Dns, free_port
from foreign import ALL
from mailwain import Instance, until
from test_dane import Authority
from test_outbound import notification
from test_submission import client

ALICE = "alice@example.com"
# Whom each is known by: its own key, its authority, its whole certificate.
RECORDS = {"postfix": "3 1 1 {own_1_1}", "exim": "2 0 1 {ca_0_1}"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(str(tmp_path_factory.mktemp("authority")))


@pytest.fixture(scope="module")
def port():
    number, held = free_port("127.0.0.70")  # ours on the other addresses as well: it is below those that clients and other tests' hosts get
    with held:
        yield number


@pytest.fixture(scope="module")
def foreign(authority, port):
    """name -> server, of those that there are; all begin before the first test, the suite when they have."""
    made = {}
    for kind in ALL:
        if kind.is_there():
            pem = authority.issue(kind.name, "mx.%s.test" % kind.name, ["mx.%s.test" % kind.name])
            made[kind.name] = kind(port, pem, authority.key)
    if not made:
        pytest.skip("there is no other mail server")
    authority.notes = {}
    for name, server in made.items():
        authority.note("own", server.certificate)
        authority.notes[name] = dict(authority.data)
    yield made
    for server in made.values():
        server.close()


@pytest.fixture(scope="module")
def suite(foreign, authority, port):
    zones = {}
    for name, server in foreign.items():
        for prefix, data in (("", authority.notes[name]), ("wrong-", dict.fromkeys(authority.data, "ab" * 32))):
            tlsa = ["_%d._tcp.mx TLSA %s" % (port, RECORDS[name].format(**data))] if server.tls else []
            zones[prefix + server.domain] = ["@ MX 10 mx", "mx A " + server.address] + tlsa
    with Dns(zones).running() as dns:
        i = Instance(dns.conf_lines() + ["relay-port %d" % port, "transport nobody.test { hold yes }"])
        for server in foreign.values():
            server.start(i.port("smtp"))
        with i.running("alice"):
            yield i


@pytest.fixture(params=[kind.name for kind in ALL])
def server(request, foreign):
    if request.param not in foreign:
        pytest.skip(request.param + " is not there")
    return foreign[request.param]


def send(suite, recipients, body, mail="", rcpt="", header=""):
    c = client(suite)
    c.expect("MAIL FROM:<%s>%s" % (ALICE, mail), 250)
    for to in recipients:
        c.expect(b"RCPT TO:<%s>%s" % (to.encode(), rcpt.encode()), 250)
    qid = c.data("Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n{}\r\n".format(header).encode() + body).split()[-1]
    c.close()
    return qid


def word():
    return base64.b32encode(os.urandom(10)).decode()


def arrived(server, token, count=1):
    """The bodies of those with this word in their header."""

    def found():
        there = [m.partition(b"\r\n\r\n") for m in server.mail()]
        there = [body for header, _, body in there if token.encode() in header]
        return there if len(there) >= count else None

    return until(found, what="it did not arrive")


def line_of(suite, qid, event="relay_sent"):
    return until(lambda: next((line for line in suite.log().splitlines() if event in line and "qid=%s " % qid in line), None), what=suite.log()[-1500:])


BODIES = {
    "short": b"Hello.\r\n",
    "empty": b"",
    "dots": b".\r\n..\r\n.x\r\n...\r\n. \r\nx\r\n.\r\n" * 50,
    "eight bits": "Zwölf Boxkämpfer, žluťoučký kůň, Съешь ещё\r\n".encode() * 100,
    "long lines": (b"x" * 900 + b"\r\n") * 20,
    "large": b"".join(b"." * (n % 5) + base64.b64encode(os.urandom(54)) + b"\r\n" for n in range(70_000)),
}


@pytest.mark.parametrize("what", BODIES)
def test_it_arrives_whole(suite, server, what):
    """Over the TLS that its records ask for; 5 MB and dots among them."""
    token = word()
    qid = send(suite, ["bob@" + server.domain], BODIES[what], " BODY=8BITMIME", header="X-Word: %s\r\n" % token)
    line = line_of(suite, qid)
    assert "host=mx.%s " % server.domain in line and ('tls="TLSv1.3 DANE"' if server.tls else "tls=none") in line
    [body] = arrived(server, token)
    assert body == BODIES[what]


def test_several_recipients(suite, server):
    token = word()
    qid = send(suite, ["%s@%s" % (name, server.domain) for name in ("bob", "carol", "dan")], b"to three\r\n", header="X-Word: %s\r\n" % token)
    line_of(suite, qid)
    assert arrived(server, token, 3) == [b"to three\r\n"] * 3
    suite.wait_empty()


def test_one_of_them_is_refused(suite, server):
    token = word()
    qid = send(suite, ["bob@" + server.domain, "nobody@" + server.domain], b"to one\r\n", header="X-Word: %s\r\n" % token)
    assert "to=nobody@" in line_of(suite, qid, "relay_refused")
    assert arrived(server, token) == [b"to one\r\n"]
    told = notification(suite, "nobody@" + server.domain)
    assert "Action: failed" in told and "Status: 5." in told and "Diagnostic-Code: smtp; 5" in told


def test_wishes_for_notifications_are_passed_on(suite, server):
    """Its own success notification comes back to us, with what we had said."""
    if "DSN" not in server.offers:
        pytest.skip("it knows none")
    token = word()
    send(suite, ["bob@" + server.domain], b"tell me\r\n", " ENVID=%s RET=HDRS" % token, " NOTIFY=SUCCESS ORCPT=rfc822;Bob.%s@%s" % (token, server.domain))
    told = notification(suite, "Bob.%s@%s" % (token, server.domain))
    assert "action: delivered" in told.lower() and "mx." + server.domain in told


def test_chunks(suite, server):
    """Where it offers CHUNKING no dot is doubled, and none is taken away."""
    if "CHUNKING" not in server.offers:
        pytest.skip("it takes none")
    token = word()
    qid = send(suite, ["bob@" + server.domain], BODIES["dots"], header="X-Word: %s\r\n" % token)
    assert server.chunk in line_of(suite, qid)
    assert arrived(server, token) == [BODIES["dots"]]


def test_addresses_in_utf8(suite, server):
    """Postfix knows them; who does not gets none, and the sender hears it."""
    token = word()
    qid = send(suite, ["bücher@" + server.domain], b"to b\xc3\xbccher\r\n", " SMTPUTF8 BODY=8BITMIME", header="X-Word: %s\r\n" % token)
    if "SMTPUTF8" in server.offers:
        line_of(suite, qid)
        assert arrived(server, token) == [b"to b\xc3\xbccher\r\n"]
    else:
        line_of(suite, qid, "relay_refused")


def test_a_wrong_key(suite, server):
    if not server.tls:
        pytest.skip("it has none")
    qid = send(suite, ["bob@wrong-" + server.domain], b"for nobody\r\n")
    assert "4.7.5 its certificate: " in line_of(suite, qid, "relay_deferred")
    assert not any(b"for nobody" in m for m in server.mail())
    suite.mw("queue", "delete", qid)


def test_without_tls_it_takes_nothing(suite, server):
    """So that the tests above can fail: it does insist."""
    if not server.tls:
        pytest.skip("it has none")
    with socket.create_connection((server.address, server.port), 20) as s, s.makefile("rwb", 0) as f:
        f.readline()
        f.write(b"EHLO x.test\r\n")
        while f.readline()[3:4] == b"-":
            pass
        f.write(b"MAIL FROM:<x@x.test>\r\n")
        assert f.readline()[:1] == b"5"
