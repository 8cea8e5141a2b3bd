"""The LMTP listener (RFC 2033)."""
import os
import time

import pytest

from mailwain import Smtp, take_lock, until


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
