"""Mail for other hosts leaves the queue: what is handed to the relay, when, and what becomes of it."""
import os
import re
import signal
import socket
import threading
import time

import pytest

from mailwain import HELD, Instance, until
from remote import remote_host
from test_submission import client
from tools import with_conf

ALICE = "alice@example.com"


@pytest.fixture(scope="module")
def remote():
    with remote_host() as r:
        yield r


@pytest.fixture(scope="module")
def old():
    """One that knows no notifications."""
    with remote_host("127.0.0.8") as r:
        r.answers["EHLO"] = "250 old.test"
        yield r


@pytest.fixture(scope="module")
def suite(remote, old):
    with socket.socket() as s:  # nobody listens there
        s.bind(("127.0.0.7", 0))
        dead = "127.0.0.7:%d" % s.getsockname()[1]
        lines = ['transport "*" { host %s }' % remote.place, "transport dead.test { host %s }" % dead, "transport old.test { host %s }" % old.place,
                 "transport snail.test { host %s; relay-rate 1 }" % remote.place, "transport quick.test { host %s; relay-rate 240 }" % remote.place,
                 'transport kept.test { hold yes }', 'transport never.test { error "5.7.1 we do not write to them" }',
                 "queue-retry-first 1s", "queue-retry-max 2s"]
        with Instance(lines).running("alice", "bob") as i:
            yield i


@pytest.fixture(autouse=True)
def fresh(remote, suite):
    remote.answers, remote.messages = {}, []
    remote.gate.set()
    yield
    remote.gate.set()
    for row in suite.rows("queue", "list"):
        suite.mw("queue", "delete", row["id"], check=False)


def send(suite, *to, subject="x", parameters="", user=ALICE, c=None):
    """c: the user's, who has logged in already."""
    c = c or client(suite, user)
    c.expect("MAIL FROM:<%s>%s" % (user, parameters), 250)
    for address in to:
        c.expect("RCPT TO:<%s>" % address, 250)
    c.expect("DATA", 354)
    qid = c.expect("Subject: %s\r\n\r\nHello.\r\n..dot\r\n." % subject, 250).split()[-1]
    c.close()
    return qid


def gone(suite, *qids):
    return all(r["id"] not in qids for r in suite.rows("queue", "list"))


def notification(suite, part, user="alice"):
    def found():
        imap = suite.imap(user)
        imap.ok("SELECT INBOX")
        lines, _ = imap.run('UID SEARCH HEADER CONTENT-TYPE "delivery-status"')
        texts = [b"\r\n".join(imap.run("UID FETCH %s BODY.PEEK[]" % uid.decode())[0]).decode("utf-8", "replace") for uid in lines[0].split()[2:]]
        return next((t for t in texts if part in t), None)

    return until(found)


def test_a_message_goes_out_once(suite, remote):
    qid = send(suite, "one@elsewhere.test", "two@elsewhere.test")
    until(lambda: gone(suite, qid))
    (sender, to, content), = remote.messages
    assert sender == ALICE and to == ["one@elsewhere.test", "two@elsewhere.test"]
    assert content.endswith("\r\n\r\nHello.\r\n.dot\r\n") and "id " + qid in content


def test_local_and_remote_recipients_of_one_message(suite, remote):
    qid = send(suite, "bob@example.com", "one@elsewhere.test", subject="both")
    until(lambda: gone(suite, qid))
    assert remote.messages[0][1] == ["one@elsewhere.test"]
    imap = suite.imap("bob")
    imap.ok("SELECT INBOX")
    assert b"1" in imap.run('SEARCH SUBJECT "both"')[0][0]


def test_what_is_refused_for_good_goes_back(suite, remote):
    remote.answers["RCPT"] = lambda line: "550 5.1.1 no such user here" if "nobody@" in line else None
    qid = send(suite, "nobody@elsewhere.test", "one@elsewhere.test")
    until(lambda: gone(suite, qid))
    assert remote.messages[0][1] == ["one@elsewhere.test"]
    text = notification(suite, "nobody@elsewhere.test")
    assert "Action: failed" in text and "Status: 5.1.1" in text and "host [127.0.0.6] (no TLS) said: 550 5.1.1 no such user here" in text
    assert "Remote-MTA: dns; [127.0.0.6]" in text and "Diagnostic-Code: smtp; 550 5.1.1 no such user here\r\nLast-Attempt-Date: " in text
    assert "Check the address for a slip." in text


def test_what_is_put_off_is_tried_again(suite, remote):
    remote.answers["RCPT"] = "450 4.2.1 busy, come again"
    qid = send(suite, "one@elsewhere.test")
    row = until(lambda: next((r for r in suite.rows("queue", "list", "--destination", remote.place) if r["id"] == qid and r["reason"]), None))
    assert row["reason"] == "host [127.0.0.6] (no TLS) said: 450 4.2.1 busy, come again"
    until(lambda: [r for r in suite.rows("queue", "attempts", qid) if r["recipient"] == "one@elsewhere.test" and r["reason"] == row["reason"]])
    suite.until_logged('status="450 4.2.1 busy, come again"')
    remote.answers.clear()
    until(lambda: gone(suite, qid))
    assert len(remote.messages) == 1


def test_all_that_is_known_of_a_message(suite, remote):
    remote.answers["RCPT"] = lambda line: "450 4.2.1 busy" if "one@" in line else None
    c = client(suite)
    c.expect("MAIL FROM:<%s> ENVID=a+2Bb RET=HDRS BODY=8BITMIME" % ALICE, 250)
    c.expect("RCPT TO:<one@elsewhere.test> NOTIFY=FAILURE,DELAY ORCPT=rfc822;One@elsewhere.test", 250)
    c.expect("RCPT TO:<two@dead.test>", 250)
    qid = c.data("Subject: x\n\nx\n")
    one, two = until(lambda: [rows for rows in [suite.rows("queue", "show", qid)] if rows[0]["attempts"] == len(rows[0].get("tried", ())) >= 2])[0]
    account = next(r["id"] for r in suite.rows("account", "list") if r["address"] == ALICE)
    envelope = {"source": "submission", "account": account, "client": "127.0.0.1", "helo": "client.test", "envid": "a+b", "ret": "HDRS", "body": "8BITMIME", "smtputf8": False}
    assert one["envelope"] == two["envelope"] == {**envelope, "requiretls": False, "tls_optional": False}
    assert (one["notify"], one["orcpt"], two["notify"], two["orcpt"]) == ("FAILURE,DELAY", "rfc822;One@elsewhere.test", "", "")
    assert [r["attempts"] for r in one["tried"]] == list(range(1, one["attempts"] + 1)) and one["tried"][-1]["reason"] == one["reason"]
    assert two["reason"].startswith("host [127.0.0.7]: 451 4.4.1 ")  # nobody has said that
    lines = suite.mw("queue", "show", qid).stdout.splitlines()
    assert lines[3] == lines[6] == "" and lines[4].split()[:3] == ["source", "account", "client"]
    assert lines[7].split()[:3] == ["when", "recipient", "status"]


def test_who_has_it_does_not_get_it_again(suite, remote):
    """Two destinations: one takes it, one is dead. A queue that is killed meanwhile does not send the first copy again."""
    qid = send(suite, "one@elsewhere.test", "two@dead.test")
    file = os.path.join(suite.root, "spool", "queue", qid[-1], qid)
    until(lambda: [r for r in suite.rows("queue", "show", qid) if r["recipient_status"] == "delivered"])
    until(lambda: os.stat(file).st_mode & 0o100, what="nothing is written down")
    os.kill(suite.daemons()["queue"], signal.SIGKILL)
    until(lambda: [r for r in suite.rows("queue", "show", qid) if r["attempts"] > 1 and r["recipient"] == "two@dead.test"])
    assert len(remote.messages) == 1


def test_a_dead_destination_holds_nobody_up(suite, remote):
    dead = [send(suite, "x%d@dead.test" % n) for n in range(6)]
    qid = send(suite, "one@elsewhere.test")
    until(lambda: gone(suite, qid), what="it waits for those that nobody takes")
    assert len(remote.messages) == 1
    row = until(lambda: next((r for r in suite.rows("queue", "stats") if "dead.test" in r["destination"] and r["total"] == len(dead)), None))
    assert row["state"] in ("dead", "open") and row["reason"]
    suite.until_logged("queue_dead destination=")


def test_a_flush_tries_a_dead_destination():
    """It would be left alone for minutes."""
    with remote_host("127.0.0.10", connect="421 4.3.2 not now") as shy, Instance(['transport "*" { host %s }' % shy.place]).running("alice") as i:

        def is_dead():
            return any(r["state"] == "dead" for r in i.rows("queue", "stats"))

        sent = []
        while not until(lambda: all(r["status"] != "active" for r in i.rows("queue", "list"))) or not is_dead():
            assert len(sent) < 20
            sent.append(send(i, "x%d@elsewhere.test" % len(sent)))
        shy.answers.clear()
        i.mw("queue", "flush", sent[-1])
        until(lambda: gone(i, sent[-1]))
        assert len(shy.messages) == 1


def test_what_a_host_does_not_take_in_utf8(suite, remote):
    """An address beyond ASCII, and a header section: the notification is one of RFC 6533, its address as it is. What is plain stays plain."""
    c = client(suite)
    c.expect("MAIL FROM:<%s> SMTPUTF8" % ALICE, 250)
    c.expect("RCPT TO:<jürgen@elsewhere.test> ORCPT=utf-8;j\\x{FC}rgen@elsewhere.test", 250)
    c.data("Subject: Grüße\r\n\r\nx\r\n")
    text = notification(suite, "jürgen@elsewhere.test")
    eight = "\r\nContent-Transfer-Encoding: 8bit\r\n"
    assert "Content-Type: message/global-delivery-status" + eight in text and "Content-Type: message/global-headers" + eight in text
    assert "Original-Recipient: utf-8;jürgen@elsewhere.test\r\nFinal-Recipient: utf-8; jürgen@elsewhere.test\r\n" in text
    assert "Status: 5.6.7" in text and "letters beyond plain ASCII" in " ".join(text.split()) and "Subject: Grüße" in text and "Remote-MTA" not in text
    c.expect("MAIL FROM:<%s> SMTPUTF8 RET=FULL" % ALICE, 250)
    c.expect("RCPT TO:<plain@never.test>", 250)
    c.data("Subject: Größe\r\n\r\nx\r\n")
    text = notification(suite, "plain@never.test")
    assert "Content-Type: message/delivery-status\r\n\r\n" in text and "Final-Recipient: rfc822; plain@never.test" in text
    assert "Content-Type: message/global" + eight in text and "Subject: Größe" in text
    c.expect("MAIL FROM:<%s> SMTPUTF8 RET=FULL" % ALICE, 250)
    c.expect("RCPT TO:<ascii@never.test>", 250)
    c.data("Subject: ascii\r\n\r\nx\r\n")
    text = notification(suite, "ascii@never.test")
    assert "message/global" not in text and "Content-Type: message/rfc822\r\n\r\n" in text and "8bit" not in text


def test_what_to_do_goes_by_what_was_said(suite, remote):
    remote.answers["RCPT"] = "552 5.3.4 zu groß"
    send(suite, "large@elsewhere.test")
    text = notification(suite, "large@elsewhere.test")
    assert "552 5.3.4 zu groß\r\n    The message is too large" in text and "address for a slip" not in text
    assert "Diagnostic-Code: smtp; 552 5.3.4 zu gro??\r\n" in text  # that part is ASCII


def test_success_is_told_where_the_next_host_does_not(suite, remote):
    c = client(suite)
    c.expect("MAIL FROM:<%s>" % ALICE, 250)
    c.expect("RCPT TO:<told@old.test> NOTIFY=SUCCESS", 250)
    c.expect("DATA", 354)
    c.expect("Subject: told\r\n\r\nx\r\n.", 250)
    text = notification(suite, "told@old.test")
    assert "Action: relayed" in text


def test_a_host_that_tells_is_left_to_it(suite, remote):
    asked = []
    remote.answers["RCPT"] = lambda line: asked.append(line)
    c = client(suite)
    c.expect("MAIL FROM:<%s> ENVID=e1" % ALICE, 250)
    c.expect("RCPT TO:<passed-on@elsewhere.test> NOTIFY=SUCCESS,FAILURE", 250)
    c.expect("DATA", 354)
    qid = c.expect("Subject: passed on\r\n\r\nx\r\n.", 250).split()[-1]
    until(lambda: gone(suite, qid))
    assert "NOTIFY=SUCCESS,FAILURE" in asked[0]
    assert "for=" + qid not in suite.log()


@pytest.mark.parametrize("here,away,told", [("one@old.test", "two@elsewhere.test", 1), ("one@elsewhere.test", "two@old.test", 0)])
def test_success_is_told_once_while_another_waits(suite, remote, old, here, away, told):
    """By us, or by the host that has it, before the other one has answered."""
    go_on, slow = threading.Event(), remote if "elsewhere" in away else old
    slow.answers["RCPT"] = lambda line: go_on.wait(HELD) and "450 4.2.1 not now"
    c = client(suite)
    c.expect("MAIL FROM:<%s>" % ALICE, 250)
    c.expect("RCPT TO:<%s> NOTIFY=SUCCESS" % here, 250)
    c.expect("RCPT TO:<%s> NOTIFY=NEVER" % away, 250)
    qid = c.data("Subject: told once\n\nx\n")
    until(lambda: [r for r in suite.rows("queue", "show", qid) if r["recipient_status"] == "delivered"])
    go_on.set()
    until(lambda: [r for r in suite.rows("queue", "show", qid) if r["recipient"] == away and r["attempts"] >= 3])
    del slow.answers["RCPT"]
    until(lambda: gone(suite, qid))
    until(lambda: suite.log().count("queue_dsn for=" + qid) >= told)
    assert suite.log().count("queue_dsn for=" + qid) == told


def test_transports_that_refuse_and_keep(suite, remote):
    send(suite, "one@never.test")
    text = notification(suite, "one@never.test")
    assert "we do not write to them" in text and "Remote-MTA" not in text  # it is this server's word
    qid = send(suite, "one@kept.test")
    row = until(lambda: next((r for r in suite.rows("queue", "stats") if r["destination"] == "kept.test"), None))
    assert row["state"] == "kept" and not gone(suite, qid)


def test_a_block_that_keeps_no_more(suite, remote):
    """From the reload on its mail can go; and from the one that puts it back new mail is kept."""
    keeps, goes = "transport kept.test { hold yes }", "transport kept.test { host %s }" % remote.place

    def is_kept(qid):
        return any(r["id"] == qid and r["status"] == "deferred" for r in suite.rows("queue", "list", "--destination", "kept.test"))

    first = send(suite, "one@kept.test")
    until(lambda: is_kept(first))
    with_conf(suite, lambda text: text.replace(keeps, goes))
    suite.mw("reload")
    assert suite.mw("queue", "flush", "--destination", "kept.test").stdout == "1 message\n"
    until(lambda: gone(suite, first))
    with_conf(suite, lambda text: text.replace(goes, keeps))
    suite.mw("reload")
    second = send(suite, "two@kept.test")
    until(lambda: is_kept(second))
    assert [to for _, to, _ in remote.messages] == [["one@kept.test"]]


def test_pause_and_resume(suite, remote):
    suite.mw("queue", "pause", remote.place)
    qid = send(suite, "one@elsewhere.test")
    until(lambda: [r for r in suite.rows("queue", "stats") if r["destination"] == remote.place and r["state"] == "paused" and r["total"] == 1])
    assert not remote.messages
    suite.mw("queue", "resume", remote.place)
    suite.mw("queue", "flush", qid)
    until(lambda: gone(suite, qid))
    assert len(remote.messages) == 1


def test_given_up_by_the_administrator(suite, remote):
    remote.answers["RCPT"] = "450 4.2.1 not now"
    qid = send(suite, "given-up@elsewhere.test")
    until(lambda: [r for r in suite.rows("queue", "show", qid) if r["attempts"]])

    def bounced():
        return suite.mw("queue", "bounce", qid, check=False).returncode == 0

    until(bounced)
    until(lambda: gone(suite, qid))
    assert "administrator" in notification(suite, "given-up@elsewhere.test")


def test_a_relay_that_is_killed(suite, remote):
    remote.gate.clear()
    qid = send(suite, "one@elsewhere.test")
    until(lambda: remote.at_once > 0)
    os.kill(suite.daemons()["relay"], signal.SIGKILL)
    remote.gate.set()
    until(lambda: gone(suite, qid))
    assert 1 <= len(remote.messages) <= 2  # a duplicate where the 250 was not heard, never a loss


def test_one_senders_many_do_not_keep_another_waiting(suite, remote):
    """Whoever has a hundred waiting behind a slow host waits behind himself."""
    remote.gate.clear()
    many = [send(suite, "m%d@elsewhere.test" % n, subject="many") for n in range(40)]
    one = send(suite, "alone@elsewhere.test", subject="one", user="bob@example.com")
    remote.gate.set()
    until(lambda: gone(suite, one, *many))
    order = [to[0] for _, to, _ in remote.messages]
    assert order.index("alone@elsewhere.test") < 30


def test_figures_of_what_is_under_way(suite, remote):
    """A host that is slow has all of it in memory, and none of it waits in a file but what is held."""
    suite.mw("queue", "pause", remote.place)
    held = send(suite, "held@elsewhere.test")
    until(lambda: [r for r in suite.rows("queue", "list") if r["id"] == held and r["status"] == "deferred"])
    suite.mw("queue", "hold", held)
    suite.mw("queue", "resume", remote.place)
    remote.gate.clear()
    sent = [send(suite, "x%d@elsewhere.test" % n) for n in range(9)]
    row, = until(lambda: [r for r in suite.rows("queue", "stats") if r["destination"] == remote.place and r["under_way"]])
    assert (row["total"], row["active"], row["5m"]) == (10, 9, 10) and row["under_way"] <= 9
    assert suite.mw("queue", "stats").stdout.split()[:3] == ["destination", "total", "active"]
    remote.gate.set()
    suite.mw("queue", "release", held)
    until(lambda: gone(suite, held, *sent))


def test_a_slow_rate_is_nobody_elses(suite, remote):
    """One destination has a turn a minute, another one each quarter of a second."""
    at = []
    remote.answers["MAIL"] = lambda line: at.append(time.monotonic())
    first, waits = send(suite, "x1@snail.test"), send(suite, "x2@snail.test")
    until(lambda: gone(suite, first))
    at.clear()
    begun = time.monotonic()  # the first one may be noted late
    sent = [send(suite, "x%d@quick.test" % n) for n in range(4)]
    until(lambda: gone(suite, *sent))
    assert len(at) == 4 and at[3] - begun > 3 * 0.25 - 0.1
    assert not gone(suite, waits)


def test_a_filter_without_a_value_means_nothing(suite, remote):
    """It is a variable of a script that was not set, and all mail would be gone."""
    qid = send(suite, "x@kept.test")
    for option in ("--sender", "--recipient", "--destination", "--reason", "--older"):
        assert suite.mw("queue", "delete", option, "", check=False).returncode == 64
    assert any(row["id"] == qid for row in suite.rows("queue", "list"))


def test_what_is_held_is_not_flushed(suite, remote):
    qid = send(suite, "x@kept.test", subject="held")
    suite.mw("queue", "hold", qid)
    said = suite.mw("queue", "flush", qid, check=False)
    assert said.returncode != 0 and "queue release " + qid in said.stderr
    assert "0 messages" in suite.mw("queue", "flush", "--recipient", "x@kept.test").stdout


def test_a_notification_has_a_destination_when_auth_has_said_that_it_goes_elsewhere(suite, remote):
    suite.mw("alias", "add", "nowhere@example.com", "one@never.test")
    c = suite.smtp()
    c.hello()
    c.expect("MAIL FROM:<stranger@kept.test>", 250)
    c.expect("RCPT TO:<nowhere@example.com>", 250)
    c.data("Subject: x\r\n\r\nx\r\n")
    c.close()
    row, = until(lambda: [r for r in suite.rows("queue", "list", "--destination", "kept.test") if r["status"] == "deferred"])
    assert (row["sender"], row["recipient"]) == ("", "stranger@kept.test")
    assert next(r for r in suite.rows("queue", "stats") if r["destination"] == "kept.test")["total"] == 1
    assert "1 message" in suite.mw("queue", "hold", "--destination", "kept.test").stdout
    assert suite.rows("queue", "list", "--destination", "kept.test")[0]["status"] == "held"
    assert "1 message" in suite.mw("queue", "delete", "--destination", "kept.test").stdout
    assert gone(suite, row["id"])


@pytest.mark.parametrize("stranger", ["al@mail.de", "albert@mail.test"])
def test_a_notification_that_fails_is_told_to_postmaster(suite, remote, stranger):
    """Whoever it was for: an address may be as long as that word."""
    alias = "of-%d@example.com" % len(stranger)
    suite.mw("alias", "add", alias, "one@never.test")
    remote.answers["RCPT"] = "550 5.1.1 no such user"
    c = suite.smtp()
    c.hello()
    c.expect("MAIL FROM:<%s>" % stranger, 250)
    c.expect("RCPT TO:<%s>" % alias, 250)
    qid = c.data("Subject: x\r\n\r\nx\r\n")
    c.close()
    to_stranger = until(lambda: re.search(r"queue_bounced qid=(\S+) to=%s " % stranger, suite.log()), what="it was not refused")[1]
    assert to_stranger != qid
    until(lambda: "queue_dsn for=%s to=postmaster kind=failure" % to_stranger in suite.log(), what="postmaster hears nothing")


def test_smtputf8_that_is_not_needed(suite, remote):
    """RFC 6531 section 3.5: the remote has no SMTPUTF8. It gets what could have been sent without it; what could not comes back."""
    c = client(suite, ALICE)
    ids = []
    for subject, body in ("plain", "b\u00f6dy"), ("b\u00fccher", "plain"):
        c.expect("MAIL FROM:<%s> SMTPUTF8 BODY=8BITMIME" % ALICE, 250)
        c.expect("RCPT TO:<x@elsewhere.test>", 250)
        c.expect("DATA", 354)
        ids.append(c.expect("Subject: %s\r\n\r\n%s\r\n." % (subject, body), 250).split()[-1])
    c.close()
    until(lambda: re.search("relay_sent .*qid=" + ids[0], suite.log()) or re.search("queue_bounced qid=" + ids[0], suite.log()))
    bounce = until(lambda: re.search("queue_bounced qid=%s .*" % ids[1], suite.log()))[0]
    assert "SMTPUTF8" in bounce, bounce
    assert len(remote.messages) == 1 and "Subject: plain" in remote.messages[0][2]
