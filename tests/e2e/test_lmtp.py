"""The LMTP listener (RFC 2033)."""
import contextlib
import os
import signal
import time

import pytest

from mailwain import Smtp, take_lock, until
from tools import children


@pytest.fixture(scope="module")
def lmtp_suite():
    from mailwain import Instance

    with Instance(listeners=["lmtp"]).running("alice", "carol") as i:
        i.mw("account", "add", "small@example.com", "--password-stdin", "--quota", "1K", input="correct horse\n")
        yield i


def test_one_answer_for_each_recipient(lmtp_suite):
    c = Smtp(lmtp_suite.port("lmtp"))
    c.expect("EHLO x", 500)
    c.expect("LHLO client.test", 250)
    c.expect("MAIL FROM:<bob@remote.test>", 250)
    c.expect("RCPT TO:<alice@example.com>", 250)
    c.expect("RCPT TO:<nobody@example.com>", 550)
    c.expect("RCPT TO:<x@elsewhere.test>", 550)
    c.expect("RCPT TO:<small@example.com>", 250)
    c.expect("RCPT TO:<carol@example.com>", 250)
    c.expect("DATA", 354)
    c.send("Subject: lmtp\r\n\r\n" + "x" * 2000 + "\r\n.\r\n")
    answers = [c.reply() for _ in range(3)]
    assert [code for code, _ in answers] == [250, 452, 250]
    assert "alice@example.com" in answers[0][1] and "quota" in answers[1][1]
    c.expect("MAIL FROM:<>", 250)
    c.expect("RCPT TO:<alice@example.com>", 250)
    c.expect("DATA", 354)
    c.send("Subject: two\r\n\r\n.\r\n")
    assert c.reply()[0] == 250
    c.expect("QUIT", 221)
    box = lmtp_suite.imap("alice")
    box.ok("SELECT INBOX")
    text = box.ok("FETCH 1 BODY.PEEK[HEADER]")[0]
    assert b"Return-Path: <bob@remote.test>\r\nDelivered-To: alice@example.com\r\nReceived: from client.test ([127.0.0.1])\r\n" in text
    assert b"* SEARCH 1 2" in box.ok("SEARCH ALL")


def test_too_many_unknown_recipients_end_it(lmtp_suite):
    """Each is waited for; the last answer comes with nothing behind it."""
    c = Smtp(lmtp_suite.port("lmtp"))
    c.expect("LHLO client.test", 250)
    c.expect("MAIL FROM:<bob@remote.test>", 250)
    for n in range(19):
        c.expect("RCPT TO:<nobody%d@example.com>" % n, 550)
    c.send(b"RCPT TO:<nobody@example.com>\r\n")
    assert c.reply()[0] == 550
    assert c.reply() == (421, "4.7.0 Too many errors, closing")
    assert c.at_end()


def test_client_that_leaves(lmtp_suite):
    c = Smtp(lmtp_suite.port("lmtp"))
    c.expect("LHLO client.test", 250)
    c.expect("MAIL FROM:<bob@remote.test>", 250)
    c.expect("RCPT TO:<carol@example.com>", 250)
    c.expect("DATA", 354)
    c.send("Subject: left\r\n\r\nx\r\n.\r\n")
    c.close()
    lmtp_suite.mw("status")
    assert "ended badly" not in lmtp_suite.log()


def to_one(suite, count):
    """A client that has sent a message for alice under so many names, and waits."""
    c = Smtp(suite.port("lmtp"))
    c.expect("LHLO client.test", 250)
    c.expect("MAIL FROM:<bob@remote.test>", 250)
    for n in range(count):
        c.expect("RCPT TO:<alice+%d@example.com>" % n, 250)
    c.expect("DATA", 354)
    c.send("Subject: many\r\n\r\nx\r\n.\r\n")
    return c


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to stop a worker")
def test_many_recipients_of_a_worker_that_hangs(lmtp_suite):
    """Nobody else is short of descriptors for them, and what their client has left behind is forgotten when they have ended."""
    pids = lmtp_suite.daemons()

    def held():
        count = 0
        for fd in os.listdir("/proc/%d/fd" % pids["lmtpd"]):
            with contextlib.suppress(FileNotFoundError):
                count += "memfd:message" in os.readlink("/proc/%d/fd/%s" % (pids["lmtpd"], fd))
        return count

    c = to_one(lmtp_suite, 1)
    assert c.reply()[0] == 250
    c.close()
    workers = children(pids["deliver"])
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        c = to_one(lmtp_suite, 200)
        until(held)
        lmtp_suite.mw("status")  # all of them have been handed on by now
        assert held() < 40
        c.close()
        carol = Smtp(lmtp_suite.port("lmtp"))
        carol.expect("LHLO client.test", 250)
        assert 0 < held() < 40
        carol.close()
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    until(lambda: held() == 0)


def to_both(suite):
    """A client that has sent a message for alice and carol, and waits for two answers."""
    c = Smtp(suite.port("lmtp"))
    c.expect("LHLO client.test", 250)
    c.expect("MAIL FROM:<bob@remote.test>", 250)
    for name in ("alice", "carol"):
        c.expect("RCPT TO:<%s@example.com>" % name, 250)
    c.expect("DATA", 354)
    c.send("Subject: both\r\n\r\nx\r\n.\r\n")
    return c


def test_more_recipients_than_workers(fresh):
    suite = fresh(conf_lines=["delivery-workers 1"], listeners=["lmtp"])
    for name in ("alice", "carol"):
        suite.add(name)
    c = to_both(suite)
    assert [c.reply()[0] for _ in range(2)] == [250, 250]


def test_a_worker_that_begins_slowly_is_not_ended_before_it_has_delivered(fresh):
    """Another account waits for its place; it was told to end, and 451 was all that its client got."""
    suite = fresh(conf_lines=["delivery-workers 1"], listeners=["lmtp"])
    for name in ("alice", "carol"):
        suite.add(name)
        suite.imap(name).close()
    with open(os.path.join(suite.account_dir("alice"), "lock")) as lock:
        until(lambda: take_lock(lock))
        c = to_both(suite)
        time.sleep(0.6)  # it is told to end after 0.2 s, and shows that to nobody
    assert [c.reply()[0] for _ in range(2)] == [250, 250]
