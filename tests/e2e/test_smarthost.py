"""Mail by a smarthost that wants a login, another suite's submission or one that knows PLAIN alone; and the address and name that each domain's mail leaves with."""
import base64
import os
import ssl

import pytest

from idp import Provider, claims, token
from mailwain import DOMAIN, PASSWORD, Instance, until
from remote import remote_host
from test_outbound import gone, send
from test_submission import newest
from tls_files import make

USER = "alice@" + DOMAIN


@pytest.fixture(scope="module")
def far():
    """The smarthost: whoever logs in there sends to these domains, which are its own."""
    with Instance(["domain implicit.test { }", "domain starttls.test { }", "domain changed.test { }"]).running("alice", "bob@implicit.test", "bob@starttls.test", "bob@changed.test") as i:
        yield i


# What relay is to choose -> what a smarthost offers.
LESSER = {"SCRAM-SHA-256": "LOGIN PLAIN SCRAM-SHA-1 SCRAM-SHA-256", "SCRAM-SHA-1": "PLAIN SCRAM-SHA-1", "LOGIN": "LOGIN XOAUTH2", "XOAUTH2": "PLAIN SCRAM-SHA-256-PLUS XOAUTH2"}


@pytest.fixture(scope="module")
def provider():
    with Provider() as p:
        p.keys = [p.key("ES256", "es256")]
        yield p


@pytest.fixture(scope="module", params=sorted(LESSER))
def lesser(request, provider):
    """A smarthost at which this mechanism is the best for who has a password, or for who has a token."""
    mechanism, to = request.param, "lesser.test"
    i = Instance(provider.with_keys() + ["domain %s { }" % to])
    i.mechanism, i.to = mechanism, "bob@" + to
    i.place = "127.0.0.2:%d" % i.port("submission")
    with open(i.conf, "a") as f:
        f.write("listen submission on %s { sasl-mechanisms %s }\n" % (i.place, LESSER[mechanism]))
    with i.running("alice", i.to):
        yield i


@pytest.fixture(scope="module")
def simple(tmp_path_factory):
    """TLS from the first octet, then PLAIN."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*make(str(tmp_path_factory.mktemp("tls")), "simple.test"))
    with remote_host("127.0.0.66") as r:
        r.implicit_tls = tls
        yield r


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    """Where passwords are: name -> file."""
    d = str(tmp_path_factory.mktemp("secrets"))
    os.chmod(d, 0o755)
    files = {name: os.path.join(d, name) for name in ("right", "wrong", "changed")}
    for name, path in files.items():
        with open(path, "w") as f:
            f.write((PASSWORD if name == "right" else "not " + PASSWORD) + "\n")
        os.chmod(path, 0o600)
    return files


@pytest.fixture(scope="module")
def suite(far, simple, secrets):
    def transport(pattern, place, secret, *more):
        return 'transport %s { host %s; login %s; password-file "%s"%s }' % (pattern, place, USER, secrets[secret], "".join("; " + m for m in more))

    # Connections are shared by who says the same of TLS and the login: what is to fail has none of another's.
    places = {service: "127.0.0.1:%d" % far.port(service) for service in ("submission", "submissions")}
    lines = [transport("implicit.test", places["submissions"], "right", "implicit-tls yes"), transport("starttls.test", places["submission"], "right"),
             transport("changed.test", places["submission"], "changed", "relay-tls encrypt"), transport("plain.test", simple.place, "right", "implicit-tls yes"),
             transport("plain-wrong.test", simple.place, "wrong", "implicit-tls yes", "relay-tls encrypt"), "transport bound.test { host %s; implicit-tls yes }" % simple.place,
             "domain second.test { send-as out.second.test; send-from 127.0.0.67 }", "queue-retry-first 1s", "queue-retry-max 1s"]
    with Instance(lines).running("alice", "carol@second.test") as i:
        yield i


@pytest.fixture(autouse=True)
def fresh(simple, suite):
    simple.answers = {"EHLO": "250-simple.test\r\n250 AUTH PLAIN LOGIN", "AUTH": check_plain}
    simple.messages, simple.clients = [], []
    yield
    for row in suite.rows("queue", "list"):
        suite.mw("queue", "delete", row["id"], check=False)
    suite.wait_empty()  # one that is being tried goes when that has ended; no client of it comes to the next test


def check_plain(line):
    verb, mechanism, initial = line.split()
    right = mechanism == "PLAIN" and base64.b64decode(initial).decode() == "\0%s\0%s" % (USER, PASSWORD)
    return "235 2.7.0 welcome" if right else "535 5.7.8 who are you"


def line_of(suite, event, qid):
    return until(lambda: next((line for line in suite.log().splitlines() if event in line and "qid=%s " % qid in line), None))


@pytest.mark.parametrize("how, service", [("implicit", "submissions"), ("starttls", "submission")])
def test_a_login_at_another_suite(suite, far, how, service):
    """By the best mechanism, which proves the server as well, and binds the login to the TLS of the connection."""
    to = "bob@%s.test" % how
    qid = send(suite, to, subject="by " + how)
    assert "tls=TLSv1.3 " in line_of(suite, "relay_sent", qid)
    assert "Hello." in newest(far, to, "by " + how)
    far.until_logged("auth_ok user=%s service=submission" % USER)
    shown = suite.mw("relay", "test", to, "--from", USER).stdout
    assert "> AUTH SCRAM-SHA-256-PLUS [secret]" in shown and "< 235 " in shown and PASSWORD not in shown
    assert ("> STARTTLS" in shown) == (how == "starttls")


def test_the_mechanism_that_a_smarthost_knows(lesser, provider, tmp_path):
    """A password, or a token that the smarthost has checked with the provider; neither is shown."""
    secret = tmp_path / "secret"
    secret.write_text((token(provider.keys[0], claims(USER)) if lesser.mechanism == "XOAUTH2" else PASSWORD) + "\n")
    os.chmod(secret, 0o600)
    line = 'transport "*" { host %s; login %s; %s-file "%s" }' % (lesser.place, USER, "token" if lesser.mechanism == "XOAUTH2" else "password", secret)
    with Instance([line]).running("alice") as suite:
        subject = "by " + lesser.mechanism
        qid = send(suite, lesser.to, subject=subject)
        assert "tls=TLSv1.3 " in line_of(suite, "relay_sent", qid)
        assert "Hello." in newest(lesser, lesser.to, subject)
        lesser.until_logged("auth_ok user=%s service=submission rip=127.0.0.1 mechanism=%s\n" % (USER, lesser.mechanism))
        shown = suite.mw("relay", "test", lesser.to, "--from", USER).stdout
        assert "> AUTH %s" % lesser.mechanism in shown and "< 235 " in shown
        assert secret.read_text().strip() not in shown + suite.log()


def test_a_wrong_password_keeps_mail_here_until_it_is_mended(suite, far, secrets):
    qid = send(suite, "bob@changed.test", subject="changed")
    assert "4.7.8 " in line_of(suite, "relay_deferred", qid)
    assert not gone(suite, qid)
    with open(secrets["changed"], "w") as f:
        f.write(PASSWORD + "\n")
    suite.mw("reload")
    suite.mw("queue", "flush", qid, check=False)
    until(lambda: gone(suite, qid))
    assert "Hello." in newest(far, "bob@changed.test", "changed")
    assert PASSWORD not in suite.log()


def test_plain_within_tls(suite, simple):
    qid = send(suite, "bob@plain.test")
    until(lambda: gone(suite, qid))
    assert [(sender, to) for sender, to, _ in simple.messages] == [(USER, ["bob@plain.test"])]
    shown = suite.mw("relay", "test", "bob@plain.test", "--from", USER).stdout
    assert "> AUTH PLAIN [secret]" in shown and base64.b64encode(PASSWORD.encode()).decode()[:8] not in shown


def test_plain_and_a_wrong_password(suite, simple):
    qid = send(suite, "bob@plain-wrong.test")
    line = line_of(suite, "relay_deferred", qid)
    assert "4.7.8 " in line and "535 who are you" in line
    assert not simple.messages


@pytest.mark.parametrize("sender, address, name", [(USER, "127.0.0.1", "mail.example.com"), ("carol@second.test", "127.0.0.67", "out.second.test")])
def test_where_mail_of_a_domain_comes_from(suite, simple, sender, address, name):
    said = []
    simple.answers = {"EHLO": lambda line: said.append(line.split()[1])}
    qid = send(suite, "bob@bound.test", user=sender)
    until(lambda: gone(suite, qid))
    assert [m[0] for m in simple.messages] == [sender]
    assert said == [name] and simple.clients == [address]
