"""What an administrator changes about mail that waits for other hosts: requeue and reroute."""
import os
import signal
import socket
import threading

import pytest

from mailwain import HELD, Instance, until
from remote import remote_host
from test_outbound import gone, send
from test_sendmail import sendmail


@pytest.fixture(scope="module")
def remote():
    with remote_host("127.0.0.11") as r:
        yield r


@pytest.fixture(scope="module")
def other():
    with remote_host("127.0.0.12") as r:
        yield r


@pytest.fixture(scope="module")
def dead():
    """A place where nobody listens, kept from others."""
    with socket.socket() as s:
        s.bind(("127.0.0.13", 0))
        yield "127.0.0.13:%d" % s.getsockname()[1]


@pytest.fixture(scope="module")
def suite(remote, other, dead):
    lines = ['transport "*" { host %s }' % remote.place, "transport dead.test { host %s }" % dead, "transport other.test { host %s }" % other.place,
             'transport kept.test { hold yes }', "queue-retry-first 1h", "queue-retry-max 1h"]
    with Instance(lines).running("alice", "bob") as i:
        yield i


@pytest.fixture(autouse=True)
def fresh(remote, other, suite):
    yield
    for r in (remote, other):
        r.gate.set()
        r.answers, r.messages = {}, []
    for row in suite.rows("queue", "list"):
        suite.mw("queue", "delete", row["id"], check=False)


def waits(suite, qid, address):
    """It was tried, and nothing of it is under way."""
    def found():
        return [r for r in suite.rows("queue", "show", qid) if r["recipient"] == address and r["recipient_status"] == "deferred" and r["status"] == "deferred"]

    return until(found)[0]


def kill_queue(suite):
    pid = suite.daemons()["queue"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: suite.daemons().get("queue") not in (None, 0, pid))


# ---- reroute ----

def test_a_destinations_mail_goes_another_way(suite, remote, other, dead):
    """Of a message to several, those who have it do not get it again."""
    qid = send(suite, "one@elsewhere.test", "two@dead.test")
    waits(suite, qid, "two@dead.test")
    assert suite.mw("queue", "reroute", "--destination", dead + " for dead.test", "--to", other.place).stdout == "1 message\n"
    until(lambda: gone(suite, qid))
    assert [to for _, to, _ in other.messages] == [["two@dead.test"]] and [to for _, to, _ in remote.messages] == [["one@elsewhere.test"]]


def test_as_a_transport_block_says(suite, other):
    qid = send(suite, "one@kept.test")
    until(lambda: [r for r in suite.rows("queue", "show", qid) if r["status"] == "deferred"])
    suite.mw("queue", "reroute", qid, "--to", "OTHER.test")
    until(lambda: gone(suite, qid))
    assert len(other.messages) == 1


def test_the_way_outlasts_a_crash_and_is_undone(suite, remote, dead):
    remote.answers["RCPT"] = "450 4.2.1 not now"
    qid = send(suite, "one@elsewhere.test")
    waits(suite, qid, "one@elsewhere.test")
    suite.mw("queue", "reroute", qid, "--to", dead)
    kill_queue(suite)
    row = until(lambda: next((r for r in suite.rows("queue", "show", qid) if "4.4.1" in r["reason"] and r["status"] == "deferred"), None))
    assert row["way"] == "host " + dead
    assert [r["status"] for r in suite.rows("queue", "attempts", qid)].count("rerouted") == 1
    assert [r for r in suite.rows("queue", "stats") if r["destination"] == dead + " by reroute" and r["total"] == 1]
    remote.answers.clear()
    suite.mw("queue", "reroute", qid, "--to", "-")
    until(lambda: gone(suite, qid))
    assert len(remote.messages) == 1


def test_what_waits_behind_a_slow_host_goes_at_once(suite, remote, other):
    """Five of them are under way there, and stay; the sixth has not begun."""
    remote.gate.clear()
    many = [send(suite, "m%d@elsewhere.test" % n) for n in range(6)]
    until(lambda: remote.at_once == 5)
    suite.mw("queue", "reroute", *many, "--to", other.place)
    until(lambda: len(other.messages) == 1)
    remote.gate.set()
    until(lambda: gone(suite, *many))
    assert len(remote.messages) == 5 and len(other.messages) == 1


def test_ways_that_are_none(suite, remote):
    remote.answers["RCPT"] = "450 4.2.1 not now"
    qid = send(suite, "one@elsewhere.test")
    waits(suite, qid, "one@elsewhere.test")
    for way in ("smarthost", "x.test:0", "2001:db8::1", "a b.test", "[", ":25", "[]"):
        r = suite.mw("queue", "reroute", qid, "--to", way, check=False)
        assert r.returncode == 64 and "is neither the pattern of a transport block nor a host" in r.stderr, (way, r)
    assert suite.mw("queue", "reroute", qid, check=False).returncode == 64
    assert suite.mw("queue", "reroute", "--to", "x.test:25", check=False).returncode == 64
    assert suite.mw("queue", "reroute", "--destination", "nobody.test", "--to", "x.test").stdout == "0 messages\n"
    r = suite.mw("queue", "reroute", send_kept(suite), "--to", "x.test", check=False)
    assert r.returncode == 65 and "no recipient of" in r.stderr
    assert not suite.rows("queue", "show", qid)[0]["way"]


def send_kept(suite):
    """A message of which nothing leaves this machine."""
    qid = send(suite, "bob@example.com", parameters=" HOLDFOR=3600")
    until(lambda: [r for r in suite.rows("queue", "list") if r["id"] == qid])
    return qid


# ---- requeue ----

def test_an_alias_that_was_changed(suite, remote, other, dead):
    """Who has the message behind it does not get it again, neither a mailbox nor another host."""
    suite.mw("alias", "add", "team@example.com", "bob@example.com", "one@elsewhere.test", "two@dead.test")
    qid = send(suite, "team@example.com", subject="to the team")
    row = waits(suite, qid, "team@example.com")
    assert row["attempts"] == 1
    kill_queue(suite)
    suite.mw("alias", "remove", "team@example.com")
    suite.mw("alias", "add", "team@example.com", "bob@example.com", "one@elsewhere.test", "three@other.test")
    suite.mw("queue", "requeue", qid)
    until(lambda: gone(suite, qid))
    assert [to for _, to, _ in remote.messages] == [["one@elsewhere.test"]] and [to for _, to, _ in other.messages] == [["three@other.test"]]
    imap = suite.imap("bob")
    imap.ok("SELECT INBOX")
    assert imap.run('SEARCH SUBJECT "to the team"')[0][0].split()[2:] == [b"1"]


def test_a_domain_that_has_become_ours(suite, remote):
    remote.answers["RCPT"] = "450 4.2.1 not now"
    qid = send(suite, "carol@new.test", subject="late")
    waits(suite, qid, "carol@new.test")
    suite.mw("domain", "add", "new.test")
    suite.add("carol@new.test")
    suite.mw("queue", "requeue", "--recipient", "carol@new.test")
    until(lambda: gone(suite, qid))
    imap = suite.imap("carol@new.test")
    imap.ok("SELECT INBOX")
    assert imap.run('SEARCH SUBJECT "late"')[0][0].split()[2:] == [b"1"]
    assert not remote.messages


def test_what_was_learnt_is_forgotten_and_stays_so(suite, remote):
    remote.answers["RCPT"] = "450 4.2.1 not now"
    qid = send(suite, "one@elsewhere.test", "two@elsewhere.test")
    waits(suite, qid, "two@elsewhere.test")
    remote.answers["RCPT"] = lambda line: "450 4.2.1 not now" if "two@" in line else None
    suite.mw("queue", "requeue", qid)
    row = until(lambda: next((r for r in suite.rows("queue", "show", qid) if r["recipient_status"] == "delivered"), None))
    assert row["recipient"] == "one@elsewhere.test"
    assert waits(suite, qid, "two@elsewhere.test")["attempts"] == 1  # as if it had been the first
    remote.answers.clear()
    suite.mw("queue", "requeue", "--all")
    until(lambda: gone(suite, qid))
    assert sorted(to for _, to, _ in remote.messages) == [["one@elsewhere.test"], ["two@elsewhere.test"]]


def test_requeued_while_held(suite, remote):
    remote.answers["RCPT"] = "450 4.2.1 not now"
    qid = send(suite, "one@elsewhere.test")
    waits(suite, qid, "one@elsewhere.test")
    suite.mw("queue", "hold", qid)
    remote.answers.clear()
    suite.mw("queue", "requeue", qid)
    row = suite.rows("queue", "show", qid)[0]
    assert (row["status"], row["recipient_status"], row["attempts"]) == ("held", "pending", 0)
    suite.mw("queue", "release", qid)
    until(lambda: gone(suite, qid))
    assert len(remote.messages) == 1


# ---- a recipient with several copies, none of which auth was asked for at its acceptance ----

def test_one_copy_is_not_all_of_a_recipient(suite, remote, other):
    """A program's letter to an alias: one of its hosts has it while another is still asked, and then puts it off."""
    suite.mw("alias", "add", "both@example.com", "one@elsewhere.test", "two@other.test")
    go_on = threading.Event()
    other.answers["RCPT"] = lambda line: go_on.wait(HELD) and "450 4.2.1 not now"
    assert sendmail(suite, "-f", "bob@example.com", "both@example.com", input="Subject: both\n\nx\n").returncode == 0
    qid = until(lambda: [r["id"] for r in suite.rows("queue", "list")])[0]
    until(lambda: remote.messages)
    go_on.set()
    assert waits(suite, qid, "both@example.com")
    other.answers.clear()
    suite.mw("queue", "flush", qid)
    until(lambda: gone(suite, qid))
    assert len(remote.messages) == 1 and len(other.messages) == 1


def test_a_copy_is_written_down_while_another_is_put_off(suite, remote, dead):
    """Two hosts behind an alias: one takes it at the second attempt, when the other is not even tried."""
    place = dead + " for dead.test"
    suite.mw("alias", "add", "pair@example.com", "one@elsewhere.test", "two@dead.test")
    remote.answers["RCPT"] = "450 4.2.1 not now"
    qid = send(suite, "pair@example.com")
    waits(suite, qid, "pair@example.com")
    suite.mw("queue", "pause", place)
    try:
        remote.answers.clear()
        suite.mw("queue", "flush", qid)
        until(lambda: remote.messages)
        assert waits(suite, qid, "pair@example.com")["attempts"] == 1  # of the other one nothing was learnt
    finally:
        suite.mw("queue", "resume", place)
    suite.mw("queue", "flush", qid)
    until(lambda: waits(suite, qid, "pair@example.com")["attempts"] == 2)
    assert len(remote.messages) == 1


def test_a_lists_members_have_one_copy_over_a_crash(suite, remote, other):
    """One host has the list's message, another is still asked: that the first one has it is written down by then."""
    suite.mw("alias", "add", "list@example.com", "one@elsewhere.test", "bob@example.com", "two@other.test")
    go_on = threading.Event()
    other.answers["RCPT"] = lambda line: go_on.wait(HELD) and None
    qid = send(suite, "list@example.com")
    file = os.path.join(suite.root, "spool", "queue", qid[-1], qid)
    until(lambda: remote.messages)
    until(lambda: os.stat(file).st_mode & 0o100, what="nothing is written down")
    kill_queue(suite)
    go_on.set()
    until(lambda: gone(suite, qid))
    assert [to for _, to, _ in remote.messages] == [["one@elsewhere.test"]]
    assert [to for _, to, _ in other.messages][-1] == ["two@other.test"]
