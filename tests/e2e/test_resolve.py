"""The resolver in a world of its own: signed, unsigned and broken zones, silent and hostile name servers."""
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import threading

import pytest

from dns import HOST, Dns, Zone, free_port
from mailwain import BIN, BUILD, Instance, until

DIGEST = "ab" * 32
ZONES = {
    "secure.test": ["@ MX 10 mx", "mx A 192.0.2.1", "mx AAAA 2001:db8::1", "alias CNAME alias2", "alias2 CNAME mx.insecure.test.", "short CNAME mx",
                    "_25._tcp.mx TLSA 3 1 1 " + DIGEST, "null MX 0 .", '* TXT "any"'] + ["many A 10.0.%d.%d" % (n // 100, n % 100) for n in range(200)],
    "insecure.test": Zone(["mx A 192.0.2.2"] + ["n%d A 192.0.2.9" % n for n in range(1000)], signed=False),
    "wrong.test": Zone(["www A 192.0.2.3"], fault="wrong"),
    "expired.test": Zone(["www A 192.0.2.4"], fault="expired"),
    "loop.test": ["a CNAME b", "b CNAME a"],
}


@pytest.fixture(scope="module")
def world():
    with Dns(ZONES).running() as dns:
        yield dns


@pytest.fixture(scope="module")
def suite(world):
    with Instance(conf_lines=world.conf_lines()).running() as i:
        yield i


def query(suite, *args, ok=True):
    """The rows of an answer. ok: None when it may be either."""
    r = suite.mw("resolve", "query", *args, "--json", check=False)
    assert ok is None or r.returncode == (0 if ok else 75), (args, r.stdout, r.stderr)
    return [json.loads(line) for line in r.stdout.splitlines()]


def found(suite, *args):
    """(data of all records, security)"""
    rows = query(suite, *args)
    assert all(row["rcode"] == "NOERROR" for row in rows), rows
    return [row["data"] for row in rows], rows[0]["security"]


def test_a_signed_zone_is_secure(suite):
    assert found(suite, "mx.secure.test") == (["192.0.2.1"], "secure")
    assert found(suite, "mx.secure.test", "AAAA") == (["2001:db8::1"], "secure")
    assert found(suite, "secure.test", "mx") == (["10 mx.secure.test."], "secure")
    assert found(suite, "_25._tcp.mx.secure.test", "TLSA") == (["3 1 1 " + DIGEST.upper()], "secure")
    assert found(suite, "null.secure.test", "MX") == (["0 ."], "secure")


def test_what_the_zone_above_says_is_unsigned_is_insecure(suite):
    assert found(suite, "mx.insecure.test") == (["192.0.2.2"], "insecure")
    assert query(suite, "nothing.insecure.test")[0]["security"] == "insecure"


def test_denials_are_validated_and_kept_apart(suite):
    [row] = query(suite, "mx.secure.test", "MX")
    assert (row["rcode"], row["security"], row["why"]) == ("NOERROR", "secure", "the name exists, without records of this type")
    [row] = query(suite, "nothing.loop.test", "MX")
    assert (row["rcode"], row["security"], row["why"]) == ("NXDOMAIN", "secure", "the name does not exist")
    assert 0 < row["ttl"] <= 60


def test_an_alias_leads_into_a_less_secure_zone(suite):
    rows = query(suite, "alias.secure.test")
    assert [(row["name"], row["data"], row["security"]) for row in rows] == [("mx.insecure.test", "192.0.2.2", "insecure")]
    rows = query(suite, "short.secure.test")
    assert [(row["name"], row["security"]) for row in rows] == [("mx.secure.test", "secure")]
    assert found(suite, "alias.secure.test", "CNAME") == (["alias2.secure.test."], "secure")


@pytest.mark.parametrize("zone, words", [("wrong.test", "no keys have a DS"), ("expired.test", "signature expired")])
def test_a_broken_zone_is_bogus_and_says_why(suite, zone, words):
    [row] = query(suite, "www." + zone, ok=False)
    assert row["security"] == "bogus" and words in row["why"] and "data" not in row


def test_two_hundred_records_come_by_tcp(suite):
    data, security = found(suite, "many.secure.test")
    assert len(set(data)) == 200 and security == "secure"


def test_an_endless_alias_is_temporary(suite):
    [row] = query(suite, "a.loop.test", ok=False)
    assert row["rcode"] == "SERVFAIL" and "127.0.0.1" in row["why"]


def test_names_are_taken_as_people_write_them(suite):
    assert found(suite, "MX.Secure.Test.") == (["192.0.2.1"], "secure")
    assert query(suite, "b\u00fccher.secure.test", "A")[0]["name"] == "xn--bcher-kva.secure.test"
    for bad in ("192.0.2.1", "a..b", "a b.test"):
        assert suite.mw("resolve", "query", bad, check=False).returncode == 64
    assert "not a type" in suite.mw("resolve", "query", "secure.test", "AXFR", check=False).stderr


def test_special_names_stay_here(world):
    """Without a name server told for .test nobody outside hears of it."""
    with Instance(conf_lines=["resolver " + world.address, "resolver-trust-anchor " + world.anchor]).running() as i:
        assert query(i, "mx.secure.test")[0]["rcode"] == "NXDOMAIN"
        assert found(i, "localhost") == (["127.0.0.1"], "insecure")


def test_without_its_anchor_nothing_is_believed(world):
    """The built-in keys of the root are not those of this world."""
    with Instance(conf_lines=["resolver " + world.address, "resolver-zones test=" + world.address]).running() as i:
        [row] = query(i, "mx.secure.test", ok=False)
        assert row["security"] == "bogus"


def test_a_zone_may_be_left_unvalidated(world):
    with Instance(conf_lines=world.conf_lines() + ["resolver-insecure wrong.test"]).running() as i:
        assert found(i, "www.wrong.test") == (["192.0.2.3"], "insecure")
        assert query(i, "www.expired.test", ok=False)[0]["security"] == "bogus"


def test_stats_and_flush(suite):
    before = suite.rows("resolve", "stats")[0]
    query(suite, "mx.secure.test")
    query(suite, "www.wrong.test", ok=False)
    after = suite.rows("resolve", "stats")[0]
    assert after["questions"] == before["questions"] + 2 and after["under-way"] == 0 and after["bogus"] == before["bogus"] + 1
    suite.mw("resolve", "flush")
    assert found(suite, "mx.secure.test") == (["192.0.2.1"], "secure")


# ---- name servers that fail ----


def change(suite, **settings):
    """Other values in mailwain.conf, taken over."""
    with open(suite.conf) as f:
        lines = [line for line in f if line.split()[:1] not in [[name.replace("_", "-")] for name in settings]]
    with open(suite.conf, "w") as f:
        f.writelines(lines + ["%s %s\n" % (name.replace("_", "-"), value) for name, value in settings.items() if value])
    return suite.mw("reload", check=False)


def warm(i, name):
    """Kept from now on. A machine that stops for seconds may need more than one go, where there are only seconds for it."""
    until(lambda: query(i, name, ok=None)[0]["rcode"] == "NOERROR")


@contextlib.contextmanager
def own_world(*conf_lines):
    with Dns({"here.test": ["www A 192.0.2.7"]}).running() as dns, Instance(conf_lines=dns.conf_lines() + list(conf_lines)).running() as i:
        yield dns, i


def test_a_silent_name_server_is_temporary():
    with own_world("resolver-timeout 500ms") as (dns, i):
        dns.silence()
        [row] = query(i, "www.here.test", ok=False)
        assert row["rcode"] == "TIMEOUT" and row["security"] == ""
        assert "no answer from %s within 0.5 s" % dns.address in row["why"] and "mailwain.conf" in row["why"]
        assert i.rows("resolve", "stats")[0]["timeouts"] == 1


def has_ipv6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as s:
        s.bind(("::1", 0))
        return True
    return False


@pytest.mark.skipif(not has_ipv6(), reason="there is no ::1 here")
def test_a_name_server_is_asked_over_ipv6():
    with Dns({"here.test": ["www A 192.0.2.7"] + ["many A 10.0.0.%d" % n for n in range(200)]}, "::1").running() as dns:
        with Instance(conf_lines=dns.conf_lines()).running() as i:
            assert dns.address in open(i.conf).read() and "[::1]:" in dns.address
            assert found(i, "www.here.test") == (["192.0.2.7"], "secure")
            assert len(found(i, "many.here.test")[0]) == 200


def test_what_is_kept_outlives_the_name_server():
    with own_world("resolver-timeout 3s") as (dns, i):
        warm(i, "www.here.test")
        assert found(i, "www.here.test") == (["192.0.2.7"], "secure")
        dns.silence()
        assert found(i, "www.here.test") == (["192.0.2.7"], "secure")
        i.mw("resolve", "flush")
        assert query(i, "www.here.test", ok=False)[0]["rcode"] == "TIMEOUT"


def test_nobody_at_the_port_is_temporary():
    port, claim = free_port()
    with claim, Instance(conf_lines=["resolver %s:%d" % (HOST, port), "resolver-timeout 500ms"]).running() as i:
        [row] = query(i, "example.org", ok=False)
        assert row["rcode"] in ("TIMEOUT", "SERVFAIL") and "%s:%d" % (HOST, port) in row["why"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another /etc/resolv.conf, and port 53")
def test_the_name_servers_of_the_machine(tmp_path):
    """resolver system: those of resolv.conf, and others once it has changed."""
    own, host = tmp_path / "resolv.conf", "127.%d.%d.53" % (random.randrange(1, 255), random.randrange(256))
    own.write_text("# of this test\nsearch example.org\nnameserver %s\n" % host)
    mounted = ["unshare", "--mount", "sh", "-c", "mount --bind %s /etc/resolv.conf" % own]
    if subprocess.run(mounted, capture_output=True).returncode != 0:
        pytest.skip("no mount namespaces here")
    with Dns({"here.example": ["www A 192.0.2.7"]}, host, 53).running() as dns:
        i = Instance(conf_lines=["resolver system", "resolver-timeout 3s", "resolver-trust-anchor " + dns.anchor])
        try:
            subprocess.run(mounted[:-1] + [mounted[-1] + " && exec %s --root %s start" % (BIN, i.root)], check=True, timeout=20)
            i.started = True
            warm(i, "www.here.example")
            assert found(i, "www.here.example") == (["192.0.2.7"], "secure")
            own.write_text("nameserver 127.0.0.154\n")
            until(lambda: "no answer from 127.0.0.154" in query(i, "www.here.example", ok=None)[0].get("why", ""))
        finally:
            i.close()


def test_a_reload_loses_no_question():
    """Asked of one that is silent, answered by the one that the reload names."""
    with own_world("resolver-timeout 15s") as (dns, i), Dns({"here.test": ["www A 192.0.2.8"]}).running() as other:
        dns.silence()
        answer = []
        asking = threading.Thread(target=lambda: answer.extend(query(i, "www.here.test")))
        asking.start()
        until(lambda: i.rows("resolve", "stats")[0]["under-way"] == 1)
        r = change(i, resolver=other.address, resolver_zones="test=" + other.address, resolver_trust_anchor=other.anchor)
        assert r.returncode == 0, r.stderr
        asking.join(20)
        assert [(row["data"], row["security"]) for row in answer] == [("192.0.2.8", "secure")]


def test_what_a_reload_cannot_use_changes_nothing(tmp_path):
    with own_world() as (dns, i):
        wrong = tmp_path / "anchor"
        for text, words in (("nonsense\n", "no DS or DNSKEY record"), ("; empty\n", "has no record"), (". IN DS x\n", "trust-anchor")):
            wrong.write_text(text)
            r = change(i, resolver_trust_anchor=wrong)
            assert r.returncode != 0 and words in r.stderr, (text, r.stderr)
        wrong.unlink()
        assert "anchor: No such file" in i.mw("config", "check", check=False).stderr
        for settings in ({"resolver": "ns.example.org"}, {"resolver": "192.0.2.1:0"}, {"resolver_zones": "192.0.2.1"}, {"resolver_insecure": "a..b"}):
            r = change(i, **settings)
            assert r.returncode != 0 and "is n" in r.stderr, (settings, r.stderr)
            change(i, **{name: None for name in settings})
        assert found(i, "www.here.test") == (["192.0.2.7"], "secure")


# ---- name servers that lie ----


class Liar(threading.Thread):
    """A name server over UDP alone: replies(question) are the datagrams it answers with."""

    def __init__(self, replies):
        super().__init__(daemon=True)
        self.replies, self.asked = replies, 0
        self.socket = socket.socket(type=socket.SOCK_DGRAM)
        self.socket.bind((HOST, 0))
        self.address = "%s:%d" % self.socket.getsockname()
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                question, who = self.socket.recvfrom(4096)
                self.asked += 1
                for reply in self.replies(question):
                    self.socket.sendto(reply, who)


def a_record(question, ident=None):
    """The right form of an answer: 192.0.2.66."""
    end = question.index(b"\0", 12) + 5
    return (question[:2] if ident is None else ident) + b"\x81\x80\0\1\0\1\0\0\0\0" + question[12:end] + b"\xc0\x0c\0\1\0\1\0\0\1\x2c\0\4\xc0\0\2\x42"


def other_ids(question):
    first = int.from_bytes(question[:2], "big")
    return [a_record(question, ((first + n) % 65536).to_bytes(2, "big")) for n in range(1, 200)]


LIES = {
    "garbage": lambda q: [os.urandom(n) for n in (1, 11, 12, 13, 100, 512, 1400)],
    "nothing": lambda q: [b""],
    "cut": lambda q: [a_record(q)[:n] for n in range(len(a_record(q)))],
    "other ids": other_ids,
    "its own question": lambda q: [q],
    "pointer to itself": lambda q: [q[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + q[12 : q.index(b"\0", 12) + 5] + b"\xc0" + bytes([q.index(b"\0", 12) + 5]) + b"\0\1\0\1\0\0\1\x2c\0\4\xc0\0\2\x42"],
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_cost_one_question(lie):
    liar = Liar(LIES[lie])
    lines = ["resolver " + liar.address, "resolver-insecure example", "resolver-timeout 700ms"]
    with Instance(conf_lines=lines).running() as i:
        pid = i.daemons()["resolve"]

        def asked():
            """Its 700 ms may be over before the liar was asked."""
            [row] = query(i, "www.example", ok=False)
            assert row["rcode"] in ("TIMEOUT", "SERVFAIL") and "data" not in row
            return liar.asked > 0

        until(asked)
        assert i.daemons()["resolve"] == pid


def test_a_liar_would_be_believed_where_nothing_is_signed():
    """So that the tests above can fail."""
    liar = Liar(lambda q: [a_record(q)])
    with Instance(conf_lines=["resolver " + liar.address, "resolver-insecure example"]).running() as i:
        assert found(i, "www.example") == (["192.0.2.66"], "insecure")


# ---- as a daemon of the suite asks ----


class Asker:
    """build/tests/asker: master and a client of one resolve, without the rest of a suite."""

    def __init__(self, world, tmp_path, *conf_lines):
        conf = tmp_path / "asker.conf"
        conf.write_text("\n".join(["config-version 1", "hostname mail.example.com", "run-directory " + str(tmp_path), *world.conf_lines(), *conf_lines]) + "\n")
        (tmp_path / "empty").mkdir()
        self.process = subprocess.Popen([os.path.join(BUILD, "tests", "asker"), os.path.join(BUILD, "libexec", "resolve"), str(conf), world.anchor],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        assert self.line() == ["ready"]

    def say(self, line):
        self.process.stdin.write(line + "\n")

    def line(self):
        return self.process.stdout.readline().split()

    def ask(self, *names, type=1, deadline=0):
        for name in names:
            self.say("ask %s %d %d" % (name, type, deadline))

    def answers(self, count):
        """name -> (result, secure, records, why)"""
        out = {}
        for _ in range(count):
            name, result, secure, records, *why = self.line()
            out[name] = (result, secure == "secure", int(records), " ".join(why))
        return out

    @property
    def resolver(self):
        self.say("pid")
        return int(self.line()[0])

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(20) == 0


@contextlib.contextmanager
def asking(world, tmp_path, *conf_lines):
    asker = Asker(world, tmp_path, *conf_lines)
    try:
        yield asker
    finally:
        asker.close()


def test_daemons_get_all_results(world, tmp_path):
    with asking(world, tmp_path) as a:
        names = ["mx.secure.test", "mx.insecure.test", "nothing.loop.test", "www.wrong.test", "a.loop.test", "many.secure.test", "null.secure.test"]
        a.ask(*names)
        got = a.answers(len(names))
        assert got["mx.secure.test"][:3] == ("found", True, 1)
        assert got["mx.insecure.test"][:3] == ("found", False, 1)
        assert got["nothing.loop.test"][:3] == ("no-name", True, 0)
        assert got["null.secure.test"][:3] == ("no-data", True, 0)
        assert got["many.secure.test"][:3] == ("found", True, 200)
        assert got["www.wrong.test"][:3] == ("bogus", False, 0) and "DS" in got["www.wrong.test"][3]
        assert got["a.loop.test"][:3] == ("temporary", False, 0) and "SERVFAIL" in got["a.loop.test"][3]


def test_a_name_that_nobody_can_have_is_none(world, tmp_path):
    """An MX record may name an address, or what looks like a host and is none; nobody need wait for it."""
    with asking(world, tmp_path) as a:
        names = ["10.0.0.1", "mail-.secure.test", "-mail.secure.test"]
        a.ask(*names)
        got = a.answers(len(names))
        assert [got[n][:3] for n in names] == [("no-name", False, 0)] * 3


def test_a_thousand_questions_at_once(world, tmp_path):
    with asking(world, tmp_path) as a:
        names = ["n%d.insecure.test" % n for n in range(1000)]
        a.ask(*names)
        assert set(a.answers(1000).values()) == {("found", False, 1, "")}


def test_a_resolver_that_dies_is_asked_again(tmp_path):
    with Dns({"here.test": ["www A 192.0.2.7"]}).running() as dns, asking(dns, tmp_path) as a:
        dns.silence()
        a.ask("www.here.test")
        pid = a.resolver
        os.kill(pid, signal.SIGKILL)
        until(lambda: a.resolver != pid)
        dns.speak()
        assert a.answers(1)["www.here.test"][:3] == ("found", True, 1)


def test_a_deadline_is_kept(tmp_path):
    with Dns({"here.test": ["www A 192.0.2.7"]}).running() as dns, asking(dns, tmp_path) as a:
        dns.silence()
        a.ask("www.here.test", deadline=200)
        assert a.answers(1)["www.here.test"] == ("temporary", False, 0, "no answer from the name servers within 0.2 s")
