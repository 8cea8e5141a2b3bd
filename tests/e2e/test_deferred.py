"""A queue with many messages that were put off: what its commands say and do, and that mail goes on meanwhile. make bench-queue measures it at scale."""
import collections
import os
import subprocess
import time

import pytest

from mailwain import BIN, BUILD, Instance, until
from remote import Mute, remote_host
from test_submission import client

COUNT, DOMAINS, SENDERS = 600, 20, 500
EACH = COUNT // DOMAINS
FILL = os.path.join(BUILD, "tests", "fill")


@pytest.fixture(scope="module")
def mute():
    host = Mute("127.0.0.7")
    yield host
    host.close()


def fill(suite, count, domains, spread, *zones):
    """The suite is stopped, and started again with so many messages more."""
    suite.stop()
    subprocess.run([FILL, os.path.join(suite.root, "spool"), str(count), str(domains), str(spread), *zones], check=True, timeout=60)
    suite.start()
    until(lambda: len(suite.rows("queue", "list")) >= count)


@pytest.fixture(scope="module")
def suite(mute):
    """Two hundred messages to each of three kinds of domains, which nobody tries."""
    lines = ["transport *.%s.test { hold yes }" % zone for zone in ("one", "two", "three")] + ["transport *.mute.test { host %s }" % mute.place, "transport kept.test { hold yes }"]
    with Instance(lines).running("alice", "bob") as i:
        fill(i, COUNT, DOMAINS, 36000, "one.test", "two.test", "three.test", "one.test")
        yield i


def listed(suite, *filters):
    return suite.rows("queue", "list", *filters)


def test_all_are_listed_with_what_is_known(suite):
    rows = listed(suite)
    assert len(rows) == COUNT
    assert [r["id"] for r in rows] == sorted(r["id"] for r in rows)
    assert collections.Counter(r["recipient"].partition("@")[2] for r in rows) == {"d%d.%s.test" % (d, ("one", "two", "three", "one")[d % 4]): EACH for d in range(DOMAINS)}
    for row in rows[:: COUNT // 10]:
        shown = suite.rows("queue", "show", row["id"])[0]
        assert all(shown[key] == row[key] for key in ("id", "status", "size", "arrived", "sender", "recipient", "reason")), (shown, row)
        assert row["status"] == "deferred" and row["recipient_count"] == 1 and row["next"] > time.time() - 60
    lines = suite.mw("queue", "list").stdout.splitlines()
    assert len(lines) == COUNT + 1 and lines[1].startswith(rows[0]["id"])


def test_filters(suite):
    assert len(listed(suite, "--destination", "D3.one.TEST")) == EACH
    assert [r["recipient"] for r in listed(suite, "--recipient", "USER7@d7.one.test")] == ["user7@d7.one.test"]
    assert {r["recipient"].partition("@")[0] for r in listed(suite, "--sender", "sender7@example.com")} == {"user7", "user%d" % (7 + SENDERS)}
    assert len(listed(suite, "--reason", "mx.d5.")) == EACH
    assert len(listed(suite, "--status", "deferred", "--destination", "d3.one.test", "--sender", "sender23@example.com")) in (1, 2)
    half = len(listed(suite, "--older", "30m"))
    assert COUNT / 2 - 60 <= half <= COUNT / 2 + 60
    for none in (("--status", "held"), ("--recipient", "nobody@d7.one.test"), ("--destination", "one.test"), ("--older", "2h")):
        assert suite.mw("queue", "list", *none).stdout == "no message fits\n"


def test_figures(suite):
    rows = {r["destination"]: r for r in suite.rows("queue", "stats")}
    assert len(rows) == DOMAINS and all(r["total"] == EACH for r in rows.values())
    row = rows["d3.one.test"]
    assert sum(row[age] for age in ("5m", "10m", "20m", "40m", "80m", "160m", "320m", "older")) == EACH
    assert row["80m"] > 0 == row["160m"]


def test_what_has_several_recipients_is_read(suite):
    c = client(suite)
    c.expect("MAIL FROM:<alice@example.com>", 250)
    for name in ("first", "second"):
        c.expect("RCPT TO:<%s@kept.test>" % name, 250)
    qid = c.data("Subject: x\r\n\r\ny\r\n")
    c.close()
    until(lambda: [r for r in listed(suite, "--destination", "kept.test") if r["status"] == "deferred"])
    for filters in (("--recipient", "first@kept.test"), ("--recipient", "second@kept.test"), ("--reason", "administrator", "--recipient", "Second@kept.test")):
        row, = listed(suite, *filters)
        assert row["id"] == qid and row["recipient"] == "first@kept.test" and row["recipient_count"] == 2
    assert not listed(suite, "--recipient", "third@kept.test")
    assert suite.mw("queue", "delete", "--recipient", "second@kept.test").stdout == "1 message\n"
    assert not listed(suite, "--destination", "kept.test")


def test_many_are_held_and_released(suite):
    assert suite.mw("queue", "hold", "--destination", "d3.one.test").stdout == "%d messages\n" % EACH
    held = listed(suite, "--status", "held")
    assert {r["recipient"].partition("@")[2] for r in held} == {"d3.one.test"} and len(held) == EACH
    suite.stop()
    suite.start()
    until(lambda: len(listed(suite)) == COUNT)
    assert [r["id"] for r in listed(suite, "--status", "held")] == [r["id"] for r in held]
    assert suite.mw("queue", "release", "--destination", "d3.one.test").stdout == "%d messages\n" % EACH
    assert not listed(suite, "--status", "held") and len(listed(suite)) == COUNT


def test_nobody_waits_for_a_list_that_is_not_read(suite):
    """Whoever does not read it keeps neither mail nor other commands waiting."""
    fill(suite, 4000, 40, 36000, "two.test")
    before = len(listed(suite))
    command = subprocess.Popen([BIN, "--root", suite.root, "queue", "list", "--json"], stdout=subprocess.PIPE)
    try:
        first = command.stdout.readline()
        qid = suite.deliver("Subject: x\r\n\r\ny\r\n", to=("alice",))
        until(lambda: "queue_delivered qid=%s" % qid in suite.log(), what="mail waits for a list")
        assert suite.mw("queue", "delete", "--destination", "d39.two.test").stdout == "100 messages\n"
        rest = command.stdout.read().splitlines()
        assert command.wait(20) == 0
        # Of those that have gone meanwhile there is what had been said before.
        assert before - 100 <= 1 + len(rest) <= before and first.startswith(b"{") and all(r.startswith(b"{") and r.endswith(b"}") for r in rest)
    finally:
        command.kill()
        command.wait()
        command.stdout.close()
    with subprocess.Popen([BIN, "--root", suite.root, "queue", "list", "--json"], stdout=subprocess.PIPE) as gone:
        gone.stdout.readline()
        gone.kill()
    assert len(listed(suite)) == before - 100


def test_many_are_requeued_and_rerouted(suite):
    """All of a destination: they begin anew, and go another way, and come back."""
    usual, by_hand = "d1.two.test", "d1.two.test by kept.test"

    def waiting(destination):
        return len(listed(suite, "--destination", destination, "--status", "deferred"))

    count, all_of_them = waiting(usual), len(listed(suite))
    said = "%d messages\n" % count
    assert suite.mw("queue", "requeue", "--destination", usual).stdout == said
    until(lambda: waiting(usual) == count)
    assert suite.mw("queue", "reroute", "--destination", usual, "--to", "kept.test").stdout == said
    until(lambda: waiting(by_hand) == count)
    assert suite.mw("queue", "reroute", "--destination", by_hand, "--to", "-").stdout == said
    until(lambda: waiting(usual) == count)
    assert count >= EACH and len(listed(suite)) == all_of_them


def test_many_are_deleted(suite):
    ids = {r["id"] for r in listed(suite)}
    mine = {r["id"] for r in listed(suite, "--sender", "sender7@example.com")}
    assert suite.mw("queue", "delete", "--sender", "sender7@example.com").stdout == "%d messages\n" % len(mine)
    assert {r["id"] for r in listed(suite)} == ids - mine
    assert suite.mw("queue", "delete", "--all").stdout == "%d messages\n" % len(ids - mine)
    assert suite.mw("queue", "list").stdout == "the queue is empty\n"
    left = {name for _, _, names in os.walk(os.path.join(suite.root, "spool", "queue")) for name in names}
    assert not left & ids


def test_one_attempt_shows_that_a_host_is_dead(suite, mute):
    """However many wait for it: after a start that found all of them due, and after a flush."""
    fill(suite, 300, 30, 0, "mute.test")
    until(lambda: "queue_dead destination=" in suite.log())
    until(lambda: all(r["next"] > time.time() for r in listed(suite)))
    assert mute.connections == 1
    assert suite.mw("queue", "flush", "--all").stdout == "300 messages\n"
    until(lambda: mute.connections == 2)
    until(lambda: suite.log().count("queue_dead destination=") == 2)
    until(lambda: all(r["next"] > time.time() for r in listed(suite)))
    assert mute.connections == 2
    assert suite.rows("queue", "stats")[0]["state"] == "dead"
    assert {r["reason"].partition(":")[0] for r in listed(suite)} > {"451 4.4.1 d0.mute.test does not answer"}


def test_what_is_late_has_its_turn_at_a_host_that_answers():
    """A machine that was off comes back to more than may wait for one host at once, all of it past its life: none goes back without a try."""
    with remote_host("127.0.0.13") as remote, Instance(["transport *.late.test { host %s }" % remote.place, "queue-lifetime 1s"]).running("alice") as i:
        i.stop()
        subprocess.run([FILL, os.path.join(i.root, "spool"), "2100", "1", "0", "late.test"], check=True, timeout=60)
        i.start()
        until(lambda: len(remote.messages) == 2100, 300, what="not all were sent")
        i.wait_empty()
        assert "queue_expired" not in i.log() and "queue_dsn" not in i.log()
