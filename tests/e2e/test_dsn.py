"""Notifications of what became of a message: who gets one, and that programs can read it (RFC 3461, RFC 3464)."""
import email
import email.policy
import re
from email.utils import parsedate_to_datetime

import pytest

from mailwain import until
from remote import Mute
from test_outbound import send as submit

MESSAGE = "Subject: a trip\r\nMessage-ID: <1@b.test>\r\n\r\nsecret text\r\n"


@pytest.fixture
def quick(fresh):
    """Gives up at the second attempt; away@ leads where no mail goes."""
    i = fresh(conf_lines=["queue-lifetime 1s", "queue-retry-first 1s"])
    i.add("alice")
    i.add("bob")
    i.mw("alias", "add", "away@example.com", "someone@elsewhere.test")
    return i


def send(i, recipients, mail=""):
    c = i.smtp()
    c.hello()
    c.expect("MAIL FROM:<bob@example.com>" + mail, 250)
    for r in recipients:
        c.expect("RCPT TO:" + r, 250)
    c.data(MESSAGE)
    c.close()


def notification(i):
    """The one in bob's INBOX: fields of the message, of each recipient, and the part with the message."""
    c = i.imap("bob")
    until(lambda: b'* STATUS "INBOX" (MESSAGES 1)' in c.ok("STATUS INBOX (MESSAGES)"), what="no notification")
    c.ok("SELECT INBOX")
    answer = c.ok("FETCH 1 BODY[]")[0]
    m = email.message_from_bytes(answer.split(b"\r\n", 1)[1], policy=email.policy.default)
    assert m["Return-Path"] == "<>" and m["To"] == "bob@example.com" and m["Auto-Submitted"].startswith("auto-")
    assert m.get_content_type() == "multipart/report" and m.get_param("report-type") == "delivery-status"
    text, status, original = m.iter_parts()
    assert text.get_content_type() == "text/plain" and status.get_content_type() == "message/delivery-status"
    fields = [dict(part.items()) for part in status.get_payload()]
    return fields[0], fields[1:], original


def test_a_message_that_cannot_be_delivered_goes_back(quick):
    send(quick, ["<away@example.com> ORCPT=rfc822;Away@example.com", "<alice@example.com>"], " ENVID=trip+2B1 RET=HDRS")
    message, recipients, original = notification(quick)
    assert message["Original-Envelope-Id"] == "trip+1" and message["Reporting-MTA"] == "dns; mail.example.com"
    assert len(recipients) == 1  # alice has it, and nobody asked
    assert recipients[0]["Final-Recipient"] == "rfc822; away@example.com"
    assert recipients[0]["Original-Recipient"] == "rfc822;Away@example.com"
    assert recipients[0]["Action"] == "failed" and recipients[0]["Status"].startswith(("4.", "5."))
    assert original.get_content_type() == "text/rfc822-headers"
    assert "Subject: a trip" in original.get_content() and "secret text" not in original.get_content()


def test_the_whole_message_comes_back_when_asked_for(quick):
    send(quick, ["<away@example.com>"], " RET=FULL")
    original = notification(quick)[2]
    assert original.get_content_type() == "message/rfc822"
    assert original.get_content()["Subject"] == "a trip" and "secret text" in original.get_content().get_content()


def test_delivery_is_told_when_asked_for(quick):
    send(quick, ["<alice@example.com> NOTIFY=SUCCESS"])
    recipients = notification(quick)[1]
    assert recipients[0]["Final-Recipient"] == "rfc822; alice@example.com" and recipients[0]["Action"] == "delivered"


def test_who_wants_to_hear_nothing_hears_nothing(quick):
    send(quick, ["<away@example.com> NOTIFY=NEVER"])
    quick.wait_empty()
    assert b'* STATUS "INBOX" (MESSAGES 0)' in quick.imap("bob").ok("STATUS INBOX (MESSAGES)")


def test_a_delay_says_until_when_it_is_tried(fresh):
    host = Mute("127.0.0.37")
    i = fresh(['transport "*" { host %s }' % host.place, "queue-retry-first 1s", "queue-warn-after 1s", "queue-lifetime 3d"])
    i.add("bob")
    i.mw("alias", "add", "away@example.com", "someone@elsewhere.test")
    send(i, ["<away@example.com>"])
    message, (recipient,), _ = notification(i)
    assert recipient["Action"] == "delayed" and recipient["Status"].startswith("4.")
    arrived, tried, until_when = (parsedate_to_datetime(s) for s in (message["Arrival-Date"], recipient["Last-Attempt-Date"], recipient["Will-Retry-Until"]))
    assert arrived <= tried and abs((until_when - arrived).total_seconds() - 3 * 86400) <= 2
    host.close()


def test_what_is_late_at_a_start_goes_back_at_once(fresh):
    """Whatever its destination does: nothing else of this one would be read."""
    host = Mute("127.0.0.12")
    i = fresh(['transport "*" { host %s }' % host.place, "queue-retry-first 1s", "queue-retry-max 1s"])
    i.add("alice")
    ids = {submit(i, "x%d@far.test" % n) for n in range(5)}
    until(lambda: all(r["reason"] for r in i.rows("queue", "list")))
    i.mw("queue", "pause", host.place)
    i.stop()
    with open(i.conf, "a") as f:
        f.write("queue-lifetime 1s\n")
    i.start()
    until(lambda: ids <= set(re.findall(r"queue_dsn for=(\S+) .*kind=failure", i.log())), what="not all have gone back")
    host.close()
