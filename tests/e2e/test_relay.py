"""The relay in a world of its own: name servers with signed zones, and hosts on 127.0.0.x; by `relay test`, and by mail. test_outbound.py has queue's part."""
import os
import signal
import socket
import subprocess
import time

import pytest

from dns import Dns, Zone
from mailwain import Instance, until
from remote import remote_host, swallows
from test_submission import client

@pytest.fixture(scope="module")
def remote():
    """Another suite: a host that offers TLS."""
    with Instance(["domain far.test { }"], listeners=["lmtp"], hostname="mx.far.test").running("bob@far.test") as i:
        yield i


@pytest.fixture(scope="module")
def world(remote):
    pem = os.path.join(remote.root, "etc", "tls.pem")
    key = subprocess.run(["openssl", "x509", "-in", pem, "-noout", "-pubkey"], check=True, capture_output=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=key, check=True, capture_output=True).stdout
    digest = subprocess.run(["openssl", "dgst", "-sha256"], input=der, check=True, capture_output=True).stdout.decode().split()[-1]
    port = remote.port("smtp")
    zones = {
        "plain.test": Zone(["@ MX 10 mx", "mx A 127.0.0.2"], signed=False),
        "two.test": Zone(["@ MX 10 first", "@ MX 20 second", "first A 127.0.0.9", "second A 127.0.0.2"], signed=False),
        "no.test": Zone(["@ MX 10 mx", "mx A 127.0.0.3"], signed=False),
        "later.test": Zone(["@ MX 10 mx", "mx A 127.0.0.4"], signed=False),
        "both.test": Zone(["@ MX 10 mx", "mx AAAA ::1", "mx A 127.0.0.2"], signed=False),
        "six.test": Zone(["@ MX 10 mx", "mx AAAA ::1", "mx A 127.0.0.5"], signed=False),
        "null.test": ["@ MX 0 ."],
        "own.test": ["@ MX 10 mail.example.com."],
        "empty.test": ["@ TXT x"],
        "broken.test": Zone(["@ MX 10 mx", "mx A 127.0.0.2"], fault="wrong"),
        "dane.test": ["@ MX 10 mx", "mx A 127.0.0.1", "_%d._tcp.mx TLSA 3 1 1 %s" % (port, digest)],
        "deceived.test": ["@ MX 10 mx", "mx A 127.0.0.1", "_%d._tcp.mx TLSA 3 1 1 %s" % (port, "ab" * 32)],
        "far.test": ["@ MX 10 mx", "mx A 127.0.0.1", "_%d._tcp.mx TLSA 3 1 1 %s" % (port, digest)],
        "tls.test": Zone(["@ MX 10 mx", "mx A 127.0.0.1"], signed=False),
    }
    with Dns(zones).running() as dns:
        yield dns


@pytest.fixture(scope="module")
def suite(world, remote):
    """Its port for other hosts is the remote's; other hosts have the same one on other addresses."""
    lines = world.conf_lines() + ["relay-port %d" % remote.port("smtp"), 'transport error.test { error "5.7.1 We do not write to them" }', 'transport lmtp.test { lmtp 127.0.0.1:%d }' % remote.port("lmtp")]
    with Instance(conf_lines=lines).running("alice") as i:
        yield i


@pytest.fixture(scope="module")
def hosts(remote):
    port = remote.port("smtp")
    with remote_host("127.0.0.2", port), remote_host("127.0.0.3", port, RCPT="500 5.3.0 no"), remote_host("127.0.0.4", port, RCPT="450 4.3.0 later"):
        yield port


def probe(suite, address, status=0, *options):
    r = suite.mw("relay", "test", address, *options, check=False)
    assert r.returncode == status, (address, r.returncode, r.stdout, r.stderr)
    return r.stdout + r.stderr


def test_every_step_is_shown(suite, hosts):
    said = probe(suite, "bob@plain.test", 0, "--from", "ann@example.com").splitlines()
    assert "plain.test has MX 10 mx.plain.test" in said
    assert "mx.plain.test has the addresses 127.0.0.2" in said
    assert "connected to mx.plain.test [127.0.0.2]:%d" % hosts in said
    for line in ("> EHLO mail.example.com", "> MAIL FROM:<ann@example.com>", "> RCPT TO:<bob@plain.test>", "> RSET"):
        assert line in said
    assert "> DATA" not in said
    assert said[-1] == "bob@plain.test would be taken by mx.plain.test [127.0.0.2], TLS: none"


def test_refusals_and_what_is_put_off(suite, hosts):
    assert "bob@no.test at mx.no.test: 500 5.3.0 " in probe(suite, "bob@no.test", 69)
    assert "bob@later.test at mx.later.test: 450 4.3.0 " in probe(suite, "bob@later.test", 75)
    assert "550 5.7.1 We do not write to them" in probe(suite, "bob@error.test", 69)


def test_the_next_host_when_the_first_does_not_answer(suite, hosts):
    said = probe(suite, "bob@two.test")
    assert "connecting to first.two.test [127.0.0.9]" in said and "4.4.1 Connection refused" in said
    assert "would be taken by second.two.test" in said


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6")
def test_a_family_that_swallows_packets_keeps_nobody_waiting(suite, hosts):
    """After a second (DIAL_STAGGER_MS) the other one is tried beside it; its own time-out is 30."""
    with swallows("::1", hosts):
        begun = time.monotonic()
        assert "would be taken by mx.both.test [127.0.0.2]" in probe(suite, "bob@both.test")
        assert time.monotonic() - begun > 0.9  # and mw() waits for less than that time-out
    with swallows("127.0.0.5", hosts), remote_host("::1", hosts):
        assert "would be taken by mx.six.test [::1]" in probe(suite, "bob@six.test")


def test_domains_without_hosts(suite):
    assert "556 5.1.10 null.test takes no mail" in probe(suite, "bob@null.test", 69)
    assert "550 5.1.2 there is no domain nothing.test" in probe(suite, "bob@nothing.test", 68)
    assert "554 5.4.4 empty.test has neither mail hosts (MX) nor an address" in probe(suite, "bob@empty.test", 69)
    assert "554 5.4.6 " in probe(suite, "bob@own.test", 69)
    assert "450 4.7.5 the mail hosts of broken.test cannot be believed" in probe(suite, "bob@broken.test", 75)


def test_tls_where_it_is_offered(suite, remote):
    said = probe(suite, "bob@tls.test", 69)
    assert "> STARTTLS" in said and "TLSv1.3, TLS_" in said
    assert "DNSSEC" not in said


def test_records_vouch_for_the_key(suite, remote):
    said = probe(suite, "bob@dane.test", 69)
    assert "dane.test has MX 10 mx.dane.test (DNSSEC)" in said
    assert "1 TLSA records, of which 1 can be used (DNSSEC)" in said
    assert "TLS: dane" in said and "TLSv1.3 DANE" in said
    assert "> RCPT TO:<bob@dane.test>" in said


def test_a_wrong_key_gets_no_mail(suite, remote):
    said = probe(suite, "bob@deceived.test", 75)
    assert "450 4.7.5 its certificate: " in said
    assert "> MAIL" not in said


def test_lmtp(suite, remote):
    said = probe(suite, "bob@lmtp.test", 69)
    assert "> LHLO mail.example.com" in said and "> RCPT TO:<bob@lmtp.test>" in said


def send(suite, to, body=b"Subject: x\r\n\r\nHello.\r\n"):
    c = client(suite)
    c.expect("MAIL FROM:<alice@example.com> BODY=8BITMIME", 250)
    c.expect("RCPT TO:<%s>" % to, 250)
    qid = c.data(body).split()[-1]
    c.close()
    return qid


def words(suite, event, qid):
    """The lines of the log about a message."""
    return [line for line in suite.log().splitlines() if event in line and "qid=%s " % qid in line]


def test_mail_goes_all_the_way(suite, remote):
    """From a user of ours into a mailbox at another suite, by signed records; large ones as a file."""
    large = b"Subject: large\r\n\r\n" + b"Zw\xc3\xb6lf Boxk\xc3\xa4mpfer jagen Viktor.\r\n" * 20000
    box = remote.imap("bob@far.test", tls=True)
    for n, body in enumerate((b"Subject: x\r\n\r\n.dot\r\n", large), 1):
        qid = send(suite, "bob@far.test", body)
        until(lambda: words(suite, "relay_sent", qid))
        line = words(suite, "relay_sent", qid)[0]
        assert 'tls="TLSv1.3 DANE"' in line and "host=mx.far.test" in line and "address=127.0.0.1" in line
        until(lambda: b"MESSAGES %d" % n in b"".join(box.ok("STATUS INBOX (MESSAGES)")))
        box.ok("SELECT INBOX")
        octets = b"".join(box.ok("FETCH %d BODY[]" % n))
        assert body.partition(b"\r\n\r\n")[2] in octets
    suite.wait_empty()


def test_one_connection_is_enough(suite, remote):
    """It is kept for a while, which on a slow machine may be over before the second message comes."""
    def kept():
        for _ in range(2):
            qid = send(suite, "bob@far.test")
            until(lambda: words(suite, "relay_sent", qid))
        return any((r["host"], r["tls"], r["state"]) == ("mx.far.test", "TLSv1.3 DANE", "idle") and r["messages"] > 1 for r in suite.rows("relay", "status"))

    until(kept)
    suite.wait_empty()


def test_mail_for_a_wrong_key_waits(suite, remote):
    qid = send(suite, "bob@deceived.test")
    until(lambda: words(suite, "relay_deferred", qid))
    assert "4.7.5 its certificate: " in words(suite, "relay_deferred", qid)[0]
    assert [r["id"] for r in suite.rows("queue", "list")] == [qid]
    suite.mw("queue", "delete", qid)


def test_words_that_are_none(suite):
    for words, text in (((), "ADDRESS is missing"), (("bob",), "that is no address"), (("bob@a.test", "--from", "x y"), "that is no address")):
        r = suite.mw("relay", "test", *words, check=False)
        assert r.returncode == 64 and text in r.stderr
    assert "messages on their way" in suite.mw("relay", "status").stdout


def test_it_comes_back_and_so_does_its_resolver(suite, hosts):
    for name in ("relay", "resolve"):
        pid = suite.daemons()[name]
        os.kill(pid, signal.SIGKILL)
        until(lambda: suite.daemons().get(name) not in (None, pid))

        def works():
            return suite.mw("relay", "test", "bob@plain.test", check=False).returncode == 0

        until(works)
