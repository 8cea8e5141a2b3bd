"""send-rate: a domain's mail leaves at its pace, and nobody else waits for it."""
import time

import pytest

from mailwain import Instance, until
from remote import remote_host
from test_outbound import gone, send
from test_sendmail import sent as sendmail
from test_submission import client
from tools import with_conf

RATE = 80  # one in 0.75 seconds


class Arrivals:
    """Senders and when their messages came."""

    def __init__(self, remote):
        self.all = []
        remote.answers["MAIL"] = self.take

    def take(self, line):
        self.all.append((line.split("<")[1].split(">")[0], time.monotonic()))

    def of(self, sender):
        return [at for who, at in self.all if who == sender]

    def order(self):
        return [who.split("@")[0] for who, _ in self.all]


@pytest.fixture(scope="module")
def remote():
    with remote_host("127.0.0.15") as r:
        yield r


@pytest.fixture(scope="module")
def suite(remote):
    lines = ["transport %s { host %s }" % (pattern, remote.place) for pattern in ['"*"'] + ["far%d.test" % n for n in range(5)]]
    lines += ["domain slow.test { send-rate %d }" % RATE, "domain snail.test { send-rate 1 }", "domain posed.test { send-rate 1 }", "domain root.test { send-rate 1 }"]
    with Instance(lines).running("alice", "ann@slow.test", "bea@slow.test", "carl@snail.test", "dora@posed.test") as i:
        yield i


@pytest.fixture
def arrivals(suite, remote):
    remote.messages = []
    time.sleep(60 / RATE)  # the last turn of another test has passed
    yield Arrivals(remote)
    remote.answers = {}
    for row in suite.rows("queue", "list"):
        suite.mw("queue", "delete", row["id"], check=False)


def test_at_its_pace(suite, remote, arrivals):
    begun = time.monotonic()
    sent = [send(suite, "x%d@elsewhere.test" % n, user="ann@slow.test") for n in range(3)]
    until(lambda: all(gone(suite, qid) for qid in sent))
    assert len(remote.messages) == 3 and max(arrivals.of("ann@slow.test")) - begun > 2 * 60 / RATE - 0.05


def test_turns_among_those_of_one_domain(suite, arrivals):
    """A message to five destinations is five turns; that of another user is not the last."""
    for _ in range(5):
        arrivals.all.clear()
        bea, begun = client(suite, "bea@slow.test"), time.monotonic()
        many = send(suite, *["x@far%d.test" % n for n in range(5)], user="ann@slow.test")
        one = send(suite, "y@elsewhere.test", user="bea@slow.test", c=bea)
        took = time.monotonic() - begun
        until(lambda: gone(suite, many) and gone(suite, one))
        if took < 3 * 60 / RATE:
            break  # else the most of the five may have gone before the other one was there
    else:
        pytest.fail("two messages took %.1f s each time" % took)
    assert len(arrivals.all) == 6 and arrivals.order().index("bea") < 5


def test_what_would_wait_for_long_waits_in_its_file(suite, remote, arrivals):
    sent = [send(suite, "x%d@elsewhere.test" % n, user="carl@snail.test") for n in range(4)]
    row = until(lambda: next((r for r in suite.rows("queue", "list") if "(send-rate)" in r["reason"] and r["status"] != "active"), None))
    assert row["status"] == "deferred" and "snail.test has had as much sent as it may" in row["reason"]
    until(lambda: arrivals.of("carl@snail.test"))
    other = send(suite, "y@elsewhere.test")
    until(lambda: gone(suite, other))
    assert len(arrivals.of("carl@snail.test")) == 1
    limits = [r["says"] for r in suite.rows("queue", "explain", "x@elsewhere.test", "--from", "carl@snail.test") if r["step"] == "limit"]
    assert limits == ["send-rate: at most 1 messages a minute leave from senders of the domain of carl@snail.test"]
    with_conf(suite, lambda text: text.replace("snail.test { send-rate 1 }", "snail.test { send-rate 0 }"))
    suite.mw("reload")
    waiting = [r["id"] for r in suite.rows("queue", "list") if r["status"] == "deferred"]
    suite.mw("queue", "requeue", *sent[1:], check=False)  # also those whose turn was awaited in memory
    until(lambda: all(gone(suite, qid) for qid in sent))
    assert waiting and len(arrivals.of("carl@snail.test")) == 4 and len(remote.messages) == 5


def test_a_stranger_does_not_use_up_a_pace(suite, remote, arrivals):
    """Whoever it says it is from."""
    suite.mw("alias", "add", "on@example.com", "x@elsewhere.test")
    strangers = [suite.deliver("Subject: posed %d\n\nx\n" % n, to=("on",), sender="dora@posed.test") for n in range(3)]
    until(lambda: all(gone(suite, qid) for qid in strangers))
    own = send(suite, "x@elsewhere.test", user="dora@posed.test")
    until(lambda: gone(suite, own))
    assert len(arrivals.of("dora@posed.test")) == 4 and len(remote.messages) == 4


def test_what_a_program_of_this_machine_sends_counts(suite, arrivals):
    for n in range(4):
        sendmail(suite, "-f", "eve@root.test", "x@elsewhere.test", input="Subject: of a program %d\n\nx\n" % n)
    until(lambda: [r for r in suite.rows("queue", "list") if "root.test has had as much sent as it may" in r["reason"]])
    until(lambda: len(arrivals.of("eve@root.test")) == 1)


def test_mail_within_the_suite_has_no_such_limit(suite, arrivals):
    for n in range(3):
        qid = send(suite, "alice@example.com", user="ann@slow.test")
    until(lambda: gone(suite, qid))
    assert not arrivals.all
