"""REQUIRETLS and "TLS-Required: No" (RFC 8689), from who hands a message in to the host that takes it."""
import re

import pytest

from mailwain import Smtp, until
from test_sendmail import sent
from test_sts import files, got, hosts, notification, settings, suite, web, world  # noqa: F401
from test_submission import plain

GOOD, NAME, EXPIRED, UNTRUSTED, CLEAR = ("%s.sts.test" % label for label in ("enforce-good", "enforce-name", "enforce-expired", "absent-untrusted", "absent-clear"))
OFFER = "250-remote.test\r\n250-STARTTLS\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-REQUIRETLS\r\n250 DSN"


@pytest.fixture
def heard(hosts):  # noqa: F811
    """The MAIL commands that the good host gets, which promises to pass such messages on over TLS only."""
    lines = []
    hosts["good"].answers = {"EHLO": OFFER, "MAIL": lines.append}
    yield lines
    hosts["good"].answers = {}


def send(suite, domain, parameters="", field="", sender="alice@example.com"):  # noqa: F811
    """A message to bob there, handed in over TLS, and the line of the log that says what became of it."""
    c = Smtp(suite.port("submissions"), tls=True)
    assert "REQUIRETLS" in c.hello().split()
    c.expect("AUTH PLAIN " + plain("alice@example.com"), 235)
    c.expect("MAIL FROM:<%s>%s" % (sender, parameters), 250)
    c.expect("RCPT TO:<bob@%s>" % domain, 250)
    qid = c.data("Subject: x\r\n%s\r\nHello, body.\r\n" % field).split()[-1]
    c.close()
    return until(lambda: next((line for line in suite.log().splitlines() if "qid=%s " % qid in line and re.search("relay_(sent|deferred|refused)", line)), None))


def test_it_is_offered_over_tls_alone(suite):  # noqa: F811
    for port in ("smtp", "submission"):
        c = Smtp(suite.port(port))
        assert "REQUIRETLS" not in c.hello()
        if port == "smtp":
            assert "5.5.4" in c.expect("MAIL FROM:<a@there.test> REQUIRETLS", 555)
        c.expect("STARTTLS", 220)
        c.start_tls()
        assert "REQUIRETLS" in c.hello().split()
        c.close()


def test_the_demand_goes_with_the_message(suite, heard, hosts):  # noqa: F811
    assert "relay_sent" in send(suite, GOOD, " REQUIRETLS")
    assert "relay_sent" in send(suite, GOOD)
    assert len(heard) == 2 and heard[0].rstrip().endswith(" REQUIRETLS") and "REQUIRETLS" not in heard[1]


@pytest.mark.parametrize("host, domain, why", [("good", GOOD, "5.7.30"), ("clear", CLEAR, "5.7.10"), ("name", NAME, "5.7.10")])
def test_rather_not_at_all(fresh, world, web, hosts, files, host, domain, why):  # noqa: F811
    """One that does not promise it, one that offers no TLS, one with another's certificate: the sender is told at once, and the body is not sent around."""
    i = fresh(settings(world, web, hosts, files))
    i.add("alice")
    before = len(got(hosts[host], domain))
    assert "relay_refused" in send(i, domain, " REQUIRETLS RET=FULL")
    text = notification(i, domain)
    assert "Status: %s" % why in text and "Hello, body." not in text
    assert len(got(hosts[host], domain)) == before


def test_a_notification_opens_no_way_for_others(suite, hosts):  # noqa: F811
    """It may go to a host that nobody vouches for, and the connection is kept a moment; a message that requires TLS does not take that one."""
    hosts["untrusted"].answers = {"EHLO": OFFER}
    try:
        assert "relay_sent" in send(suite, UNTRUSTED, " REQUIRETLS", sender="")
        assert "relay_refused" in send(suite, UNTRUSTED, " REQUIRETLS")
    finally:
        hosts["untrusted"].answers = {}
    assert [m[0] for m in got(hosts["untrusted"], UNTRUSTED)] == [""]


def test_who_asks_for_it_gets_it_in_clear(suite, hosts):  # noqa: F811
    """A policy that is broken is passed over for who says so, and for nobody else; what the command asks for weighs more."""
    before = len(got(hosts["expired"], EXPIRED))
    assert "relay_deferred" in send(suite, EXPIRED)
    assert "relay_sent" in send(suite, EXPIRED, field="TLS-Required: No\r\n")
    assert "relay_refused" in send(suite, EXPIRED, " REQUIRETLS", "TLS-Required: No\r\n")
    assert len(got(hosts["expired"], EXPIRED)) == before + 1


def test_programs_of_the_machine_may_say_so(suite, hosts):  # noqa: F811
    before = len(got(hosts["expired"], EXPIRED))
    sent(suite, "-f", "alice@example.com", "bob@" + EXPIRED, input="Subject: x\nTLS-Required: No\n\nHello.\n")
    until(lambda: len(got(hosts["expired"], EXPIRED)) == before + 1)
