"""Submission (RFC 6409) on 587 and 465: who may send, as whom, how much, and what becomes of the message."""
import base64
import os
import re
import signal
import smtplib
import ssl
import subprocess
import time

import pytest

from mailwain import PASSWORD, Smtp, until
from tools import with_conf

REMOTE = "somebody@elsewhere.test"


def tls():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def plain(user, password=PASSWORD):
    return base64.b64encode(("\0%s\0%s" % (user, password)).encode()).decode()


@pytest.fixture(scope="module")
def server(suite):
    suite.mw("alias", "add", "sales@example.com", "alice@example.com", "carol@example.com")
    suite.mw("alias", "add", "board@example.com", "carol@example.com")
    yield suite
    # What is for other hosts would wait in the way of others.
    for row in suite.rows("queue", "list"):
        suite.mw("queue", "delete", row["id"], check=False)  # it may have gone meanwhile
    for alias in ("sales", "board"):
        suite.mw("alias", "remove", alias + "@example.com")


def client(suite, user="alice@example.com"):
    c = Smtp(suite.port("submission"))
    c.hello()
    c.expect("AUTH PLAIN " + plain(user), 235)
    return c


def newest(suite, account, subject):
    """The message of this subject, whole."""
    imap = suite.imap(account)

    def found():
        imap.ok("SELECT INBOX")
        lines, _ = imap.run('UID SEARCH SUBJECT "%s"' % subject)
        uids = lines[0].split()[2:]
        return uids and b"\r\n".join(imap.run("UID FETCH %s BODY.PEEK[]" % uids[-1].decode())[0])

    return until(found).decode()


def test_04_nobody_sends_without_a_login(server):
    c = Smtp(server.port("submission"))
    c.hello()
    assert "5.7.0" in c.expect("MAIL FROM:<alice@example.com>", 530)
    c.expect("RCPT TO:<alice@example.com>", 503)
    c.expect("AUTH PLAIN " + plain("alice@example.com", "wrong"), 535)
    c.expect("MAIL FROM:<alice@example.com>", 530)
    c.expect("AUTH PLAIN " + plain("alice@example.com"), 235)
    c.expect("AUTH PLAIN " + plain("alice@example.com"), 503)
    c.expect("STARTTLS", 503)
    c.expect("MAIL FROM:<alice@example.com> AUTH=<>", 250)
    c.expect("AUTH PLAIN " + plain("alice@example.com"), 503)
    # Port 25 knows no logins.
    c = Smtp(server.port("smtp"))
    assert "AUTH" not in c.hello()
    c.expect("AUTH PLAIN " + plain("alice@example.com"), 502)


@pytest.mark.parametrize("sender,code", [
    ("alice@example.com", 250), ("ALICE@Example.com", 250), ("alice+news@example.com", 250), ("sales@example.com", 250), ("", 250),
    ("carol@example.com", 553), ("board@example.com", 553), ("nobody@example.com", 553), ("alice@elsewhere.test", 553), (REMOTE, 553),
])
def test_only_as_oneself(server, sender, code):
    c = client(server)
    words = c.expect("MAIL FROM:<%s>" % sender, code)
    if code == 553:
        assert "5.7.1" in words and "not an address of yours" in words
        c.expect("RCPT TO:<alice@example.com>", 503)
        c.expect("MAIL FROM:<alice@example.com>", 250)
    c.expect("RCPT TO:<%s>" % REMOTE, 250)


def test_mail_arrives_or_waits_for_the_relay(server):
    s = smtplib.SMTP("127.0.0.1", server.port("submission"))
    s.starttls(context=tls())
    s.login("alice@example.com", PASSWORD)
    s.sendmail("alice@example.com", ["carol@example.com", REMOTE], "Subject: two ways\r\nBcc: hidden@example.com,\r\n hidden2@example.com\r\nTo: x@y.test\r\n\r\nHello\r\n")
    s.quit()
    text = newest(server, "carol", "two ways")
    assert "hidden" not in text and re.search(r"\r\nTo: x@y.test\r\n", text)
    assert re.search(r"\r\nDate: \w{3}, \d+ \w{3} \d{4} [\d:]{8} \+0000\r\n", text)
    assert re.search(r"\r\nMessage-ID: <[0-9A-Z]{11}\.[0-9a-f]+@mail\.example\.com>\r\n", text)
    received = re.search(r"\r\nReceived: (.*?);", text, re.S).group(1)
    assert "127.0.0.1" not in received and "with ESMTPSA id" in received
    # carol may read hers before queue hears that she has it.
    until(lambda: [row["status"] for row in server.rows("queue", "list") if row["recipient"] == REMOTE] == ["deferred"])


def test_the_log_tells_who_it_was(server):
    """The sender is an alias of two, the client's address anybody's."""
    c = client(server)
    c.expect("MAIL FROM:<sales@example.com>", 250)
    c.expect("RCPT TO:<carol@example.com>", 250)
    qid = c.data("Subject: who\r\n\r\nx\r\n")
    other = server.deliver("Subject: x\r\n\r\nx\r\n")
    server.until_logged(*(" smtp_queued qid=%s " % id for id in (qid, other)))
    lines = {id: next(line for line in server.log().splitlines() if " smtp_queued qid=%s " % id in line) for id in (qid, other)}
    assert re.search(r" from=sales@example\.com .* rip=127\.0\.0\.1 user=alice@example\.com$", lines[qid])
    assert " user=" not in lines[other]


def test_what_is_there_stays(server):
    s = smtplib.SMTP_SSL("127.0.0.1", server.port("submissions"), context=tls())
    s.login("carol@example.com", PASSWORD)
    s.sendmail("carol@example.com", ["alice@example.com"], "DATE: yesterday\r\nMessage-Id : <mine@example.com>\r\nX-Bcc: kept\r\nSubject: as it was\r\n\r\nBcc: in the body\r\n")
    s.quit()
    text = newest(server, "alice", "as it was")
    assert text.count("Date:") + text.count("DATE:") == 1 and len(re.findall("(?i)message-id", text)) == 1
    assert "X-Bcc: kept" in text and "\r\n\r\nBcc: in the body" in text


def test_the_world_is_no_way_around_the_queue(server):
    """smtpd has no right to send mail out, whoever asks."""
    c = Smtp(server.port("smtp"))
    c.hello()
    c.expect("MAIL FROM:<alice@example.com>", 250)
    assert "5.7.1" in c.expect("RCPT TO:<%s>" % REMOTE, 550)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"])
def test_gnu_sasl(server, mechanism):
    command = ["gsasl", "--smtp", "--connect=127.0.0.1:%d" % server.port("submission"), "--mechanism=" + mechanism, "--authentication-id=alice@example.com",
               "--authorization-id=", "--password=" + PASSWORD, "--starttls", "--x509-ca-file="] + ([] if mechanism.endswith("PLUS") else ["--no-cb"])
    r = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    assert r.returncode == 0 and "235 2.7.0" in r.stdout, r.stdout + r.stderr


def test_curl_and_swaks(server):
    r = subprocess.run(["curl", "-sSk", "--url", "smtps://127.0.0.1:%d" % server.port("submissions"), "-u", "alice@example.com:" + PASSWORD, "--mail-from", "alice@example.com",
                        "--mail-rcpt", "carol@example.com", "-T", "-"], input="Subject: by curl\r\n\r\nx\r\n", capture_output=True, text=True, timeout=30)
    assert r.returncode == 0, r.stderr
    assert "by curl" in newest(server, "carol", "by curl")
    r = subprocess.run(["swaks", "--server", "127.0.0.1:%d" % server.port("submission"), "--auth", "LOGIN", "--auth-user", "alice@example.com", "--auth-password", PASSWORD,
                        "--from", "alice@example.com", "--to", "carol@example.com", "--header", "Subject: by swaks"], capture_output=True, text=True, timeout=30)
    assert r.returncode == 0, r.stdout + r.stderr
    assert "by swaks" in newest(server, "carol", "by swaks")


def test_an_exchange_that_is_given_up(server):
    c = Smtp(server.port("submission"))
    c.expect("AUTH PLAIN", 503)
    c.hello()
    for line, code in (("*", 501), ("!!!", 501), ("A" * 11000, 500), (plain("alice@example.com", "wrong"), 535)):
        c.expect("AUTH PLAIN", 334)
        c.expect(line, code)
    c.expect("AUTH CRAM-MD5", 504)
    c.expect("AUTH", 504)
    c.expect("AUTH PLAIN =", 501)
    c.expect("AUTH PLAIN", 334)
    c.expect(plain("alice@example.com"), 235)


@pytest.fixture
def patient(server):
    """A client in the middle of its own login while another one misbehaves."""
    c = Smtp(server.port("submission"))
    c.hello()
    c.expect("AUTH PLAIN", 334)
    yield c
    c.expect(plain("alice@example.com"), 235)


def encoded(octets):
    return base64.b64encode(octets).decode()


RIGHT = PASSWORD.encode()
NO_LOGINS = {
    "no base64": ("!!!!", 501), "cut base64": ("AGF", 501), "padding alone": ("====", 501), "padding in the middle": ("AG==AG==", 501), "given up": ("*", 501), "empty": ("", 501), "3 NULs": (encoded(b"\0\0\0"), 501),
    "4 NULs": (encoded(b"\0\0\0\0"), 501), "NUL user": (encoded(b"\0\0alice\0x"), 501), "no user": (encoded(b"\0\0" + RIGHT), 501), "no password": (encoded(b"\0alice@example.com\0"), 501),
    "NUL behind the password": (encoded(b"\0alice@example.com\0" + RIGHT + b"\0"), 501), "NUL behind the user": (encoded(b"\0alice@example.com\0\0" + RIGHT), 501), "no UTF-8": (encoded(b"\0\xff\xc0\x80@example.com\0x"), 535),
    "password of no UTF-8": (encoded(b"\0alice@example.com\0\xed\xa0\x80"), 535), "another's name": (encoded(b"carol@example.com\0alice@example.com\0" + RIGHT), 535),
    "user of 400": (encoded(b"\0" + b"u" * 400 + b"\0x"), 501), "password of 2000": (encoded(b"\0alice@example.com\0" + b"p" * 2000), 501), "line end in it": (encoded(b"\0alice@example.com\r\nMAIL FROM:<x>\0x"), 535),
    "format": (encoded(b"\0%n%s%n@example.com\0%n"), 535),
}


@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("what", NO_LOGINS)
def test_14_what_is_no_login(server, patient, what, initial):
    response, code = NO_LOGINS[what]
    c = Smtp(server.port("submission"))
    c.hello()
    if initial:
        assert c.command("AUTH PLAIN " + (response or "="))[0] == code
    else:
        c.expect("AUTH PLAIN", 334)
        assert c.command(response)[0] == code
    c.expect("MAIL FROM:<alice@example.com>", 530)
    c.expect("AUTH PLAIN " + plain("alice@example.com"), 235)


@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("response", ["A" * 1048576, encoded(b"\0" + b"u" * 65536 + b"\0x"), encoded(b"\0alice@example.com\0" + b"p" * 1048576), "!" * 65536, "\0" * 65536],
                         ids=["1 MB of base64", "user of 64 kB", "password of 1 MB", "no base64", "NUL"])
def test_14_a_login_that_is_too_long(server, patient, response, initial):
    c = Smtp(server.port("submission"))
    c.hello()
    if not initial:
        c.expect("AUTH PLAIN", 334)
    try:
        c.send(("AUTH PLAIN " if initial else "") + response + "\r\n")
    except OSError:
        pass  # it may be closed before all of it is sent
    assert c.reply()[0] == 500 and c.at_end()


def not_at_the_end_of_an_hour():
    """Of those that submission counts in: what was sent before its end counts a little less behind it."""
    left = 3600 - time.monotonic() % 3600
    if left < 60:
        time.sleep(left)


def note(suite):
    return next(row["note"] for row in suite.rows("status") if row["name"] == "submission")


def sends(suite, user):
    """A message, or the answer to MAIL that refuses it."""
    c = client(suite, user)
    code, _ = c.command("MAIL FROM:<%s>" % user)
    if code == 250:
        c.expect("RCPT TO:<bob@example.com>", 250)
        c.data("Subject: x\r\n\r\nx\r\n")
    c.expect("QUIT", 221)
    assert c.at_end()
    return code


def test_what_is_not_sent_does_not_count(fresh):
    """Nor does it help: what is being sent counts from its MAIL on."""
    not_at_the_end_of_an_hour()
    suite = fresh(conf_lines=["messages-per-hour 2", "recipients-per-hour 2", "header-size 1K"])
    suite.add_cheap("alice", "bob")
    a, b, c = (client(suite) for _ in range(3))
    for end in ("RSET", "EHLO x", "DATA"):
        for _ in range(3):
            a.expect("MAIL FROM:<alice@example.com>", 250)
            a.expect("RCPT TO:<bob@example.com>", 250)
            a.expect(end, 354 if end == "DATA" else 250)
            if end == "DATA":
                a.send("Subject: %s\r\n\r\nx\r\n.\r\n" % ("too much " * 200))
                assert a.reply()[0] // 100 == 5
    b.expect("MAIL FROM:<alice@example.com>", 250)
    c.expect("MAIL FROM:<alice@example.com>", 250)
    a.expect("MAIL FROM:<alice@example.com>", 450)
    for other in (b, c):
        other.expect("QUIT", 221)
        assert other.at_end()
    assert [sends(suite, "alice@example.com") for _ in range(3)] == [250, 250, 450]


def test_all_who_send_too_much_are_named(fresh):
    """The last first, as many as there is room for."""
    not_at_the_end_of_an_hour()
    suite = fresh(conf_lines=["messages-per-hour 1"])
    domain = ".".join(["d" * 60] * 3) + ".test"
    long = ["%s%s@%s" % (c, "l" * 50, domain) for c in "ab"]
    suite.mw("domain", "add", domain)
    suite.add_cheap("alice", "bob", "carol", *long)
    assert note(suite) == ""
    for user in ("alice@example.com", "bob@example.com", "alice@example.com", "carol@example.com", long[0]):
        assert 450 in [sends(suite, user) for _ in range(2)]
    assert note(suite) == "send more than they may: %s, carol@example.com, alice@example.com, bob@example.com" % long[0]
    assert [sends(suite, long[1]) for _ in range(2)] == [250, 450]
    assert note(suite) == "send more than they may: %s and 4 more" % long[1]


def test_an_hour_has_its_share(fresh):
    not_at_the_end_of_an_hour()
    suite = fresh(conf_lines=["messages-per-hour 3", "recipients-per-hour 5"])
    suite.add("alice")
    suite.add("bob")
    c = client(suite)
    for n in range(2):
        c.expect("MAIL FROM:<alice@example.com>", 250)
        c.expect("RCPT TO:<bob@example.com>", 250)
        c.expect("RCPT TO:<alice@example.com>", 250)
        c.data("Subject: %d\n\nx\n" % n)
    c.expect("MAIL FROM:<alice@example.com>", 250)
    c.expect("RCPT TO:<bob@example.com>", 250)
    assert "450" not in c.expect("NOOP", 250)
    assert "4.7.1" in c.expect("RCPT TO:<alice@example.com>", 450)
    c.data("Subject: 3\n\nx\n")
    assert "4.7.1 this account may send 3 messages an hour" in c.expect("MAIL FROM:<alice@example.com>", 450)
    # Not by another connection either; others are not held up, and an administrator sees it.
    assert "4.7.1" in client(suite).expect("MAIL FROM:<alice@example.com>", 450)
    client(suite, "bob@example.com").expect("MAIL FROM:<bob@example.com>", 250)
    assert note(suite) == "sends more than it may: alice@example.com"
    suite.until_logged("smtp_rate user=alice@example.com what=recipients limit=5")


def test_auth_comes_back_in_the_middle(fresh):
    """An exchange that went down with auth is refused for now, and the next one works."""
    suite = fresh()
    suite.add("alice")
    c = Smtp(suite.port("submission"))
    c.hello()
    c.expect("AUTH LOGIN", 334)
    before = suite.daemons()["auth"]
    os.kill(before, signal.SIGKILL)
    until(lambda: suite.daemons().get("auth") not in (None, 0, before))
    other = Smtp(suite.port("submission"))
    other.hello()
    until(lambda: other.command("AUTH PLAIN " + plain("alice@example.com"))[0] == 235)  # submission has its channel to the new one
    assert c.command(base64.b64encode(b"alice@example.com").decode())[0] == 454
    c.expect("AUTH PLAIN " + plain("alice@example.com"), 235)


def test_62_without_tls_no_password_travels(fresh):
    suite = fresh()
    suite.add("alice")
    with_conf(suite, lambda text: re.sub(r"plain-login-from [^\n]*\n", "", text))
    suite.mw("reload")
    c = Smtp(suite.port("submission"))
    assert "AUTH" not in c.hello()
    assert "5.7.11" in c.expect("AUTH PLAIN " + plain("alice@example.com"), 538)
    c.expect("AUTH SCRAM-SHA-256", 538)
    c.expect("MAIL FROM:<alice@example.com>", 530)
    c.expect("STARTTLS", 220)
    c.start_tls()
    assert "AUTH SCRAM-SHA-256-PLUS" in c.hello()
    c.expect("AUTH PLAIN " + plain("alice@example.com"), 235)


@pytest.mark.parametrize("tail", ["EHLO x\r\n", "AUTH PLAIN AAAA\r\n", "MAIL FROM:<alice@example.com>\r\nRCPT TO:<x@elsewhere.test>\r\n"])
def test_04_what_comes_with_starttls_is_not_taken(server, tail):
    """The injections of 2011 and 2021: nothing of the plain text is left behind the handshake."""
    c = Smtp(server.port("submission"))
    c.hello()
    c.send("STARTTLS\r\n" + tail)
    assert c.reply()[0] == 554 and c.at_end()
    # Nor is a login, or a transaction, from before it.
    c = Smtp(server.port("submission"))
    c.hello()
    c.expect("STARTTLS", 220)
    c.start_tls()
    c.expect("MAIL FROM:<alice@example.com>", 503)
    c.hello()
    c.expect("MAIL FROM:<alice@example.com>", 530)


def test_an_account_may_be_allowed_more(fresh):
    suite = fresh()
    suite.add("alice")
    suite.add("bob")

    def says(sender, code):
        c = client(suite)
        c.expect("MAIL FROM:<%s>" % sender, code)

    says("bob@example.com", 553)
    suite.mw("account", "senders", "alice@example.com", "Bob@Example.com", "*@b\u00fccher.example", "me@elsewhere.test")
    for sender, code in (("bob@example.com", 250), ("BOB@EXAMPLE.COM", 250), ("anybody@xn--bcher-kva.example", 250), ("anybody@sub.xn--bcher-kva.example", 553), ("me@elsewhere.test", 250),
                         ("you@elsewhere.test", 553), ("root@example.com", 553), ("alice@example.com", 250)):
        says(sender, code)
    assert client(suite, "bob@example.com").expect("MAIL FROM:<alice@example.com>", 553)
    row = suite.rows("account", "show", "alice@example.com")[0]
    assert row["senders"] == "bob@example.com *@xn--bcher-kva.example me@elsewhere.test"
    # A new password, and an export and import, leave them.
    suite.mw("account", "passwd", "alice@example.com", "--password-stdin", input=PASSWORD + "\n")
    text = suite.mw("directory", "export").stdout
    assert " senders=bob@example.com,*@xn--bcher-kva.example,me@elsewhere.test " in text
    suite.mw("account", "senders", "alice@example.com", "none")
    says("bob@example.com", 553)
    suite.mw("directory", "import", "-", input=text)
    assert suite.mw("directory", "export").stdout == text
    says("bob@example.com", 250)
    for wrong in ("", "nobody", "*@", "*@@", "a,b@example.com", "*"):
        r = suite.mw("account", "senders", "alice@example.com", wrong, check=False)
        assert r.returncode in (64, 65), (wrong, r.stdout)
    assert suite.rows("account", "show", "alice@example.com")[0] == row
