"""FUTURERELEASE (RFC 4865): a submitted message that waits for its time, whatever happens meanwhile."""
import calendar
import os
import re
import signal
import time

import pytest

from mailwain import until
from test_submission import client, newest, server  # noqa: F401

ALICE = "alice@example.com"


def send(c, parameter, subject, to=ALICE):
    c.expect("MAIL FROM:<%s> %s" % (ALICE, parameter), 250)
    c.expect("RCPT TO:<%s>" % to, 250)
    c.expect("DATA", 354)
    return c.expect("Subject: %s\r\n\r\nLater.\r\n." % subject, 250).split()[-1]


def row(suite, qid):
    return next((r for r in suite.rows("queue", "list") if r["id"] == qid), None)


def at(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def test_what_is_offered(server):  # noqa: F811
    c = client(server)
    begun = int(time.time()) - 1  # another clock may be a little behind
    offer = re.search(r"FUTURERELEASE (\d+) (\S+)Z", c.hello())
    until_when = calendar.timegm(time.strptime(offer[2], "%Y-%m-%dT%H:%M:%S"))
    assert int(offer[1]) == 60 * 86400
    assert begun <= until_when - 60 * 86400 <= time.time() + 1


@pytest.mark.parametrize("parameter", [
    "HOLDFOR=5184001", "HOLDFOR=", "HOLDFOR=-1", "HOLDFOR=1x", "HOLDFOR=9999999999", "HOLDFOR=60 HOLDFOR=60",
    "HOLDFOR=60 HOLDUNTIL=2026-12-24T00:00:00Z", "HOLDUNTIL=tomorrow", "HOLDUNTIL=2020-01-01T00:00:00Z", "HOLDUNTIL=2199-01-01T00:00:00Z",
])
def test_what_is_refused(server, parameter):  # noqa: F811
    c = client(server)
    assert "5.5.4" in c.expect("MAIL FROM:<%s> %s" % (ALICE, parameter), 501)
    c.expect("MAIL FROM:<%s> HOLDFOR=60" % ALICE, 250)


def test_it_comes_at_its_time(server):  # noqa: F811
    c = client(server)
    begun = time.time()
    qid = send(c, "HOLDFOR=6", "held for a moment")
    waiting = row(server, qid)
    assert waiting["status"] == "scheduled" if waiting else time.time() - begun > 4  # a machine may take that long for the question
    assert "held for a moment" in newest(server, ALICE, "held for a moment")
    assert time.time() - begun > 4  # it is counted in whole seconds, by two clocks
    until(lambda: row(server, qid) is None)


def test_neither_a_flush_nor_a_restart_sends_it(server):  # noqa: F811
    c = client(server)
    qid = send(c, "HOLDUNTIL=" + at(86400), "tomorrow")
    c.close()
    assert "before the time" in server.mw("queue", "flush", qid, check=False).stderr
    server.mw("queue", "flush", "--all")
    server.mw("queue", "hold", qid)
    assert row(server, qid)["status"] == "held"
    server.mw("queue", "release", qid)
    os.kill(server.daemons()["queue"], signal.SIGKILL)
    until(lambda: row(server, qid))
    waiting = row(server, qid)
    assert waiting["status"] == "scheduled" and abs(waiting["next"] - time.time() - 86400) < 60
    assert not [r for r in server.rows("queue", "show", qid) if r["attempts"]]
    server.mw("queue", "delete", qid)


def test_an_account_that_goes_meanwhile(server):  # noqa: F811
    """Its mail comes back; none is put where nobody can read it. One that is added again is another account."""
    gone, anew = "gone@example.com", "anew@example.com"
    server.add_cheap(gone, anew)
    c = client(server)
    for seconds in (6, 15):  # on a machine so slow that the first two have come before they are held
        sent = [send(c, "HOLDFOR=%d" % seconds, "waits for " + to, to) for to in (gone, anew)]
        server.mw("queue", "hold", *sent, check=False)
        if all((row(server, qid) or {"status": "gone"})["status"] == "held" for qid in sent):
            break
    c.close()
    before = [server.account_dir(to) for to in (gone, anew)]
    for to in (gone, anew):
        server.mw("account", "remove", to)
    server.add(anew)
    server.mw("queue", "release", *sent)
    assert newest(server, anew, "waits for " + anew)
    text = until(lambda: notification(server, gone))
    assert "Status: 5.1.1" in text and "no such user here" in text
    assert not any(os.path.exists(path) for path in before)
    server.mw("account", "remove", anew)


def test_a_notification_says_what_was_asked(server):  # noqa: F811
    c = client(server)
    until_when = at(6)
    c.expect("MAIL FROM:<%s> HOLDUNTIL=%s" % (ALICE, until_when), 250)
    c.expect("RCPT TO:<%s> NOTIFY=SUCCESS" % ALICE, 250)
    c.expect("DATA", 354)
    c.expect("Subject: told\r\n\r\nLater.\r\n.", 250)
    assert until(lambda: notification(server, "Future-Release-Request: until;" + until_when))


def notification(suite, part):
    imap = suite.imap(ALICE)
    imap.ok("SELECT INBOX")
    lines, _ = imap.run('UID SEARCH HEADER CONTENT-TYPE "delivery-status"')
    for uid in lines[0].split()[2:]:
        text = b"\r\n".join(imap.run("UID FETCH %s BODY.PEEK[]" % uid.decode())[0]).decode()
        if part in text:
            return text
    return None
