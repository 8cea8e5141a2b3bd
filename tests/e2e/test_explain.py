"""queue explain: which way a message would take, and why; nothing is sent."""
import os
import signal
import threading

import pytest

from dns import Dns, Zone
from mailwain import Instance, until
from tools import with_conf

DIGEST = "ab" * 32
PORT = 2525  # nobody is connected to


@pytest.fixture(scope="module")
def world():
    zones = {
        "plain.test": Zone(["@ MX 20 second", "@ MX 10 first", "first A 127.0.0.2", "second A 127.0.0.3", "second AAAA ::1"], signed=False),
        "null.test": ["@ MX 0 ."],
        "own.test": ["@ MX 10 mail.example.com."],
        "empty.test": ["@ TXT x"],
        "implicit.test": ["@ A 127.0.0.4"],
        "broken.test": Zone(["@ MX 10 mx", "mx A 127.0.0.2"], fault="wrong"),
        "dane.test": ["@ MX 10 mx", "mx A 127.0.0.5", "_%d._tcp.mx TLSA 3 1 1 %s" % (PORT, DIGEST)],
        "smart.test": ["host A 127.0.0.6"],
    }
    with Dns(zones).running() as dns:
        yield dns


@pytest.fixture(scope="module")
def suite(world, tmp_path_factory):
    secret = tmp_path_factory.mktemp("secrets") / "password"
    secret.write_text("the smarthost's own secret\n")
    lines = world.conf_lines() + [
        "relay-port %d" % PORT,
        'transport never.test { error "5.7.1 We do not write to them" }',
        'transport later.test { error "4.7.1 Not today" }',
        "transport kept.test { hold yes }",
        'transport "*.smart.test" { host host.smart.test:587; login us@smart.test; password-file %s; relay-rate 30 }' % secret,
        "transport one@lmtp.test { lmtp 127.0.0.1:2424 }",
        "transport strict.test { relay-tls dane-only }",
        "domain caught.test { catch-all alice@example.com }",
    ]
    with Instance(lines).running("alice", "bob") as i:
        i.mw("alias", "add", "team@example.com", "bob@example.com", "x@dane.test", "y@null.test")
        yield i


def explain(suite, address, *options):
    return suite.rows("queue", "explain", address, *options)


def steps(rows, step, address=None):
    return [r["says"] for r in rows if r["step"] == step and address in (None, r["address"])]


def result(suite, address, *options):
    one, = steps(explain(suite, address, *options), "result")
    return one


# ---- here ----

def test_a_mailbox(suite):
    rows = explain(suite, "alice@example.com")
    assert steps(rows, "directory") == ["an account of the directory"]
    assert steps(rows, "result") == ["it goes into the mailbox of alice@example.com"]
    assert "more than 52428800 bytes" in steps(rows, "size")[0]


def test_a_detail_a_catch_all_and_a_role(suite):
    rows = explain(suite, "alice+lists@example.com")
    assert steps(rows, "directory") == ["without its detail 'lists' it is alice@example.com, an account of the directory"]
    assert "the detail is lists" in steps(rows, "mailbox")[0]
    assert "the domain's catch-all takes it: alice@example.com" in steps(explain(suite, "whoever@caught.test"), "directory")[0]
    assert "always leads somewhere" in steps(explain(suite, "postmaster@example.com"), "directory")[0]
    assert steps(explain(suite, "postmaster"), "result")


def test_nobody(suite):
    rows = explain(suite, "nobody@example.com")
    assert "there is nobody of this name" in steps(rows, "directory")[0]
    assert steps(rows, "result") == ["it is refused, or goes back to its sender: 550 5.1.1 no such user here"]


def test_an_alias_and_all_it_leads_to(suite):
    rows = explain(suite, "team@example.com")
    assert steps(rows, "directory") == ["an alias of the directory"]
    assert steps(rows, "result", "bob@example.com") == ["it goes into the mailbox of bob@example.com"]
    assert steps(rows, "result", "x@dane.test") == ["it goes to the first of these hosts that takes it"]
    assert "null.test takes no mail" in steps(rows, "result", "y@null.test")[0]


# ---- elsewhere ----

def test_hosts_in_their_order(suite):
    rows = explain(suite, "someone@plain.test")
    assert "none of this server's" in steps(rows, "directory")[0]
    assert steps(rows, "transport") == ["no transport block holds for it: MX records tell the way"]
    assert "plain.test: 0 of at most 5 messages" in steps(rows, "destination")[0]
    assert "plain.test has MX 10 first.plain.test" in steps(rows, "dns")
    hosts = [r for r in rows if r["step"] == "host"]
    assert [(h["host"], h["preference"], h["dnssec"]) for h in hosts] == [("first.plain.test", 10, False), ("second.plain.test", 20, False)]
    assert hosts[0]["says"] == "first.plain.test, port %d: TLS where the host offers it, whatever its certificate, else in clear; 127.0.0.2" % PORT
    assert hosts[1]["says"].startswith("then second.plain.test") and hosts[1]["says"].endswith("; ::1 127.0.0.3")
    assert "5.7.10" in steps(rows, "requiretls")[0]
    assert steps(rows, "result") == ["it goes to the first of these hosts that takes it"]
    table = suite.mw("queue", "explain", "someone@plain.test").stdout.splitlines()
    assert table[0].split() == ["address", "step", "says"] and table[-1] == "nothing was sent"


def test_keys_of_signed_records(suite):
    rows = explain(suite, "someone@dane.test")
    assert "_%d._tcp.mx.dane.test has 1 TLSA records, of which 1 can be used (DNSSEC)" % PORT in steps(rows, "dns")
    host = next(r for r in rows if r["step"] == "host")
    assert host["dnssec"] and "always TLS, with a key that its TLSA records name (DANE)" in host["says"]
    assert steps(rows, "requiretls")[0].startswith("a message with REQUIRETLS: always TLS, with a key")


def test_domains_without_hosts(suite):
    assert result(suite, "a@null.test") == "it is refused, or goes back to its sender: 556 5.1.10 null.test takes no mail: its MX record says so"
    assert "there is no domain nothing.test" in result(suite, "a@nothing.test")
    assert "has neither mail hosts (MX) nor an address" in result(suite, "a@empty.test")
    assert "would come back to this server" in result(suite, "a@own.test")
    assert "mail.example.com is this server" in " ".join(steps(explain(suite, "a@own.test"), "dns"))
    waits = result(suite, "a@broken.test")
    assert waits.startswith("it waits in the queue: 450 4.7.5") and "DNSSEC" in waits
    assert "it is its own mail host" in steps(explain(suite, "a@implicit.test"), "dns")[0]


def test_addresses_in_brackets(suite):
    rows = explain(suite, "a@[127.0.0.9]")
    assert "127.0.0.9, port %d" % PORT in steps(rows, "host")[0]


def test_blocks_that_decide(suite):
    assert result(suite, "a@never.test") == "it is refused, or goes back to its sender: 5.7.1 We do not write to them"
    assert result(suite, "a@later.test") == "it waits in the queue: 4.7.1 Not today"
    assert result(suite, "a@kept.test") == "it waits in the queue: its transport block says hold"
    assert steps(explain(suite, "a@kept.test"), "transport") == ['transport "kept.test" holds, for its domain: its mail is kept in the queue (hold)']
    rows = explain(suite, "a@strict.test")
    assert "its settings count, and MX records tell the way" in steps(rows, "transport")[0]
    rows = explain(suite, "one@lmtp.test")
    assert steps(rows, "transport") == ['transport "one@lmtp.test" holds, for this very address: all goes to 127.0.0.1:2424 by LMTP, and no MX records are asked for']
    assert "speaks LMTP" in steps(rows, "session")[0]


def test_a_smarthost_and_no_secret(suite):
    everything = suite.mw("queue", "explain", "a@below.smart.test", "--json").stdout
    rows = explain(suite, "a@below.smart.test")
    assert 'transport "*.smart.test" holds, for what is below that domain' in steps(rows, "transport")[0]
    assert steps(rows, "login") == ["logs in as us@smart.test with a password, never without TLS"]
    assert steps(rows, "limit") == ["relay-rate: at most 30 messages a minute go there"]
    assert "host.smart.test, port 587: always TLS, whatever the host's certificate; 127.0.0.6" == steps(rows, "host")[0]
    assert "own secret" not in everything


def test_a_destination_that_is_paused(suite):
    suite.mw("queue", "pause", "plain.test")
    rows = explain(suite, "a@plain.test")
    assert steps(rows, "now") == ["nothing goes there until 'mailwain queue resume plain.test'"]
    assert steps(rows, "host")  # and then goes there
    suite.mw("queue", "resume", "plain.test")


def test_the_senders_domain_has_its_say(suite):
    with_conf(suite, lambda text: text + "domain sends.test { send-as out.sends.test; send-from 127.0.0.1 }\n")
    suite.mw("reload")
    assert steps(explain(suite, "a@plain.test", "--from", "x@sends.test"), "session")[0].startswith("this server calls itself out.sends.test, ")


def test_words_that_are_none(suite):
    for address in ("", "alice", "a b@example.com", "<a@example.com>", "a@", "@b", "x" * 400 + "@example.com"):
        r = suite.mw("queue", "explain", address, check=False)
        assert r.returncode == 64 and "that is no address" in r.stderr, address
    assert suite.mw("queue", "explain", "a@b.test", "--from", "nobody", check=False).returncode == 64


def test_relay_may_die_over_it(suite, world):
    """That is said, and the next question finds the one that came after it."""
    said = []
    asking = threading.Thread(target=lambda: said.append(suite.mw("queue", "explain", "a@silent.test", check=False)))
    world.silence()
    try:
        asking.start()
        until(lambda: suite.mw("relay", "status").stdout.startswith("1 messages on their way"))
        pid = suite.daemons()["relay"]
        os.kill(pid, signal.SIGKILL)
        asking.join()
    finally:
        world.speak()
    assert said[0].returncode == 75 and "relay has just ended; try again" in said[0].stderr
    until(lambda: suite.daemons().get("relay") not in (None, 0, pid))
    until(lambda: suite.mw("queue", "explain", "a@plain.test", check=False).returncode == 0)
