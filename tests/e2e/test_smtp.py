"""smtpd from outside: RFC 5321 and the extensions it announces."""

import pytest

from mailwain import until

MESSAGE = "From: bob@remote.test\nSubject: hi\n\nbody\n.dot\n..two\n"


@pytest.fixture
def smtp(suite):
    c = suite.smtp()
    yield c
    c.close()


def only_message(suite, account):
    """The one message of an inbox, when it has come."""
    c = suite.imap(account)
    until(lambda: c.ok("SELECT INBOX") and b"1" in c.ok("SEARCH ALL")[0])
    text = c.ok("FETCH 1:* BODY.PEEK[]")
    c.close()
    assert len(text) == 1
    return text[0].split(b"\r\n", 1)[1][:-1]


def test_delivery_is_exact(suite, account):
    qid = suite.deliver(MESSAGE, to=[account])
    text = only_message(suite, account)
    assert text.startswith(b"Return-Path: <bob@remote.test>\r\nDelivered-To: %s@example.com\r\nReceived: from client.test " % account.encode())
    assert b"id " + qid.encode() in text
    assert text.endswith(b"\r\nFrom: bob@remote.test\r\nSubject: hi\r\n\r\nbody\r\n.dot\r\n..two\r\n")
    suite.wait_empty()


def test_ehlo(smtp):
    words = smtp.hello()
    for keyword in ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "CHUNKING", "BINARYMIME", "DSN", "ENHANCEDSTATUSCODES", "STARTTLS", "LIMITS RCPTMAX=1000"):
        assert keyword in words.splitlines(), keyword


def test_small_commands(smtp):
    smtp.expect("HELO x.test", 250)
    smtp.expect("NOOP", 250)
    smtp.expect("HELP", 214)
    smtp.expect("VRFY alice", 252)
    smtp.expect("EXPN list", 502)
    smtp.expect("RSET", 250)
    smtp.expect("WHAT", 500)
    smtp.expect("MAIL FROM:<a@b.test> WHAT=1", 555)
    smtp.expect("DATA", 503)
    smtp.expect("QUIT", 221)
    assert smtp.at_end()


def test_order(smtp):
    smtp.expect("MAIL FROM:<a@b.test>", 503)
    smtp.hello()
    smtp.expect("RCPT TO:<alice@example.com>", 503)
    smtp.expect("MAIL FROM:<a@b.test>", 250)
    smtp.expect("MAIL FROM:<a@b.test>", 503)
    smtp.expect("DATA", 503)
    smtp.expect("RCPT TO:<alice@example.com>", 250)
    smtp.hello()  # ends the transaction
    smtp.expect("RCPT TO:<alice@example.com>", 503)


@pytest.mark.parametrize(
    "address,code,enhanced",
    [
        ("nobody@example.com", 550, "5.1.1"),
        ("someone@elsewhere.test", 550, "5.7.1"),
        ("alice%remote.test@example.com", 550, "5.1.1"),
        ("@a.test,@b.test:alice@example.com", 250, "2.1.5"),
        ('"alice"@example.com', 250, "2.1.5"),
        ("ALICE@EXAMPLE.COM", 250, "2.1.5"),
        ("alice+lists@example.com", 250, "2.1.5"),
        ("postmaster", 250, "2.1.5"),
        ("PostMaster@example.com", 250, "2.1.5"),
        ("abuse@example.com", 250, "2.1.5"),
        ('"a@remote.test"@example.com', 550, "5.1.1"),
        ("alice@[127.0.0.1]", 550, "5.7.1"),
        ("x!alice@example.com", 550, "5.1.1"),
        ("a@y@example.com", 501, "5.1.3"),
        ('""@example.com', 501, "5.1.3"),
        ("a" * 65 + "@example.com", 501, "5.1.3"),
        ("a@" + "b" * 256, 501, "5.1.3"),
        ("alice@example..com", 501, "5.1.3"),
        ("alice@-x.com", 501, "5.1.3"),
        ("al ice@example.com", 501, "5.1.3"),
        ("alice", 501, "5.1.3"),
        ("", 501, "5.1.3"),
        ("\u00e4@example.com", 553, "5.6.7"),
    ],
)
def test_recipients(smtp, address, code, enhanced):
    smtp.hello()
    smtp.expect("MAIL FROM:<a@b.test>", 250)
    got, words = smtp.command("RCPT TO:<%s>" % address)
    assert (got, words.split()[0]) == (code, enhanced), words


def test_utf8_address_with_the_option(smtp):
    smtp.hello()
    smtp.expect("MAIL FROM:<b\u00f6b@remote.test> SMTPUTF8", 250)
    smtp.expect("RCPT TO:<nobody\u00e4@example.com>", 550)


@pytest.mark.parametrize("sender", ["<>", "<a@b.test>", "<@x.test:a@b.test>", '<"a b"@b.test>', "<a@[192.0.2.1]>", "<a@[IPv6:2001:db8::1]>"])
def test_senders(smtp, sender):
    smtp.hello()
    smtp.expect("MAIL FROM:" + sender, 250)


@pytest.mark.parametrize("sender", ["a@b.test", "<a@b.test", "<a b@c.test>", "<a@[IPv6:zz]>", "<a@[999.1.1.1]>", "<a>"])
def test_bad_senders(smtp, sender):
    smtp.hello()
    smtp.expect("MAIL FROM:" + sender, 501)


@pytest.mark.parametrize("parameter,code", [("SIZE=99999999999999999999", 552), ("SIZE=-1", 501), ("SIZE=999999999", 552), ("BODY=9BIT", 501), ("RET=FULL ENVID=x", 250), ("RET=SOME", 501), ("ENVID=+G", 501), ("SIZE=1 SIZE=1", 501)])
def test_mail_parameters(smtp, parameter, code):
    smtp.hello()
    smtp.expect("MAIL FROM:<a@b.test> " + parameter, code)


@pytest.mark.parametrize("parameter,code", [("NOTIFY=NEVER", 250), ("NOTIFY=SUCCESS,DELAY", 250), ("NOTIFY=NEVER,DELAY", 501), ("ORCPT=rfc822;a@b.test", 250), ("ORCPT=nothing", 501), ("FOO", 555)])
def test_rcpt_parameters(smtp, parameter, code):
    smtp.hello()
    smtp.expect("MAIL FROM:<a@b.test>", 250)
    smtp.expect("RCPT TO:<alice@example.com> " + parameter, code)


def test_bdat(suite, account, smtp):
    smtp.envelope(to=account + "@example.com")
    body = b"Subject: x\r\n\r\n.not stuffed\r\n.\r\nmore\r\n"
    smtp.send(b"BDAT 10\r\n" + body[:10] + b"BDAT %d LAST\r\n" % (len(body) - 10) + body[10:])
    assert smtp.reply()[0] == 250
    assert smtp.reply()[0] == 250
    assert only_message(suite, account).endswith(body)


def test_bdat_errors(smtp):
    smtp.hello()
    smtp.send("BDAT 4\r\nabcd")
    assert smtp.reply()[0] == 503
    smtp.expect("NOOP", 250)
    smtp.expect("MAIL FROM:<a@b.test>", 250)
    smtp.expect("RCPT TO:<alice@example.com>", 250)
    smtp.send("BDAT 4\r\nabcd")
    assert smtp.reply()[0] == 250
    smtp.expect("DATA", 503)
    smtp.expect("RSET", 250)


def test_bdat_of_no_known_size_ends_the_session(smtp):
    smtp.hello()
    smtp.expect("BDAT x", 501)
    assert smtp.reply()[0] == 421  # where the next command begins cannot be known
    assert smtp.at_end()


def test_pipelining(suite, account, smtp):
    smtp.hello()
    smtp.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<%s@example.com>\r\nRCPT TO:<none@example.com>\r\nDATA\r\n" % account)
    assert [smtp.reply()[0] for _ in range(4)] == [250, 250, 550, 354]
    smtp.send("Subject: p\r\n\r\nx\r\n.\r\nQUIT\r\n")
    assert smtp.reply()[0] == 250
    assert smtp.reply()[0] == 221
    assert only_message(suite, account).endswith(b"Subject: p\r\n\r\nx\r\n")


def test_starttls(suite, account):
    c = suite.smtp()
    c.hello()
    c.expect("MAIL FROM:<a@b.test>", 250)
    c.expect("STARTTLS", 220)
    c.start_tls()
    c.expect("RCPT TO:<alice@example.com>", 503)  # nothing said in clear counts
    words = c.hello()
    assert "STARTTLS" not in words
    c.expect("STARTTLS", 503)
    c.expect("MAIL FROM:<a@b.test>", 250)
    c.expect("RCPT TO:<%s@example.com>" % account, 250)
    c.data("Subject: t\n\nx\n")
    assert b"with ESMTPS" in only_message(suite, account)


def test_received_says_that_addresses_may_be_utf8(suite, smtp, account):
    """RFC 6531 section 4.3."""
    smtp.hello()
    smtp.expect("MAIL FROM:<a@b.test> SMTPUTF8", 250)
    smtp.expect("RCPT TO:<%s@example.com>" % account, 250)
    smtp.data("Subject: u\n\nx\n")
    assert b"with UTF8SMTP id" in only_message(suite, account)


def test_two_recipients_get_one_each(suite):
    for name in ("twin1", "twin2"):
        suite.add(name)
    suite.deliver(MESSAGE, to=["twin1", "twin2"])
    for name in ("twin1", "twin2"):
        assert b"Delivered-To: %s@example.com\r\n" % name.encode() in only_message(suite, name)


def test_plus_detail_goes_to_its_mailbox(suite, account):
    c = suite.imap(account)
    c.ok("CREATE Lists")
    suite.deliver(MESSAGE, to=[account + "+lists"])
    until(lambda: b"MESSAGES 1" in c.ok("STATUS Lists (MESSAGES)")[0])
    suite.deliver(MESSAGE, to=[account + "+none"])
    until(lambda: b"MESSAGES 1" in c.ok("STATUS INBOX (MESSAGES)")[0])


def test_more_accounts_than_workers(fresh):
    """An idle worker makes room: nothing is put off because of the limit."""
    suite = fresh(conf_lines=["delivery-workers 2"])
    names = ["user%d" % n for n in range(6)]
    for name in names:
        suite.add(name)
    for _ in range(2):
        for name in names:
            suite.deliver(MESSAGE, to=[name])
    suite.wait_empty()
    assert "queue_deferred" not in suite.log()
    for name in names:
        c = suite.imap(name)
        assert b"MESSAGES 2" in c.ok("STATUS INBOX (MESSAGES)")[0]


def test_alias_and_catch_all(suite, account):
    suite.mw("alias", "add", "team@example.com", account + "@example.com", "carol@example.com")
    suite.deliver(MESSAGE, to=["team"])
    assert b"Subject: hi" in only_message(suite, account)
    suite.mw("alias", "remove", "team@example.com")
    c = suite.smtp()
    c.hello()
    c.expect("MAIL FROM:<a@b.test>", 250)
    c.expect("RCPT TO:<team@example.com>", 550)


def test_remote_member_waits_in_the_queue(suite):
    suite.mw("alias", "add", "away@example.com", "someone@elsewhere.test")
    qid = suite.deliver(MESSAGE, to=["away"])
    row = until(lambda: [r for r in suite.rows("queue", "list") if r["id"] == qid])[0]
    assert row["recipient"] == "away@example.com"
    until(lambda: [r for r in suite.rows("queue", "show", qid) if "other hosts" in r["reason"] and r["status"] == "deferred"])
    assert MESSAGE.split("\n")[0] in suite.mw("queue", "cat", qid).stdout
    suite.mw("queue", "hold", qid)
    assert [r for r in suite.rows("queue", "list") if r["id"] == qid][0]["status"] == "held"
    suite.mw("queue", "release", qid)
    suite.mw("queue", "delete", qid)
    assert not [r for r in suite.rows("queue", "list") if r["id"] == qid]
    suite.mw("alias", "remove", "away@example.com")


def test_disabled_account(suite, account):
    suite.mw("account", "disable", account + "@example.com")
    c = suite.imap(account, login=False)
    c.no('LOGIN %s@example.com "correct horse"' % account)


def test_mail_for_a_full_account_waits(suite, account):
    suite.add("small")
    suite.mw("account", "quota", "small@example.com", "2K")
    suite.deliver("Subject: big\n\n" + "x" * 70 + "\n" + ("y" * 70 + "\n") * 60, to=["small"], sender=account + "@example.com")
    row = until(lambda: [r for r in suite.rows("queue", "list") if r["recipient"].startswith("small@") and r["status"] == "deferred"])[0]
    assert "quota" in row["reason"]
    suite.mw("queue", "delete", row["id"])


def test_show_has_a_row_for_each_recipient(suite):
    suite.mw("alias", "add", "away@example.com", "someone@elsewhere.test")
    names = ["away"] + ["alice+%d%s" % (i, "x" * 50) for i in range(999)]
    qid = suite.deliver(MESSAGE, to=names)
    rows = until(lambda: [r for r in [suite.rows("queue", "show", qid)] if all(x["attempts"] and x["status"] != "active" for x in r)])[0]
    assert [r["recipient"].split("@")[0] for r in rows] == names
    assert [r["recipient_status"] for r in rows] == ["deferred"] + 999 * ["delivered"]
    assert {r["status"] for r in rows} == {"deferred"} and {r["id"] for r in rows} == {qid}
    suite.mw("queue", "delete", qid)
    suite.mw("alias", "remove", "away@example.com")


def test_too_many_unknown_recipients_end_it(suite):
    """Each is waited for; the last answer comes with nothing behind it."""
    c = suite.smtp()
    c.hello()
    c.expect("MAIL FROM:<a@b.test>", 250)
    for n in range(19):
        c.expect("RCPT TO:<nobody%d@example.com>" % n, 550)
    c.send(b"RCPT TO:<nobody@example.com>\r\n")
    assert c.reply()[0] == 550
    assert c.reply() == (421, "4.7.0 Too many errors, closing")
    assert c.at_end()
