"""
What a hostile or broken SMTP client may send, and what must come of it. The numbers are those of the project's list of
hostile inputs (doc/hostile.md).
"""
import itertools
import os
import re
import socket
import time

import pytest

from mailwain import DOMAIN, Line, Smtp, until

HEADER = b"Subject: s\r\n\r\nbody"
SMUGGLES = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r\r\n", b"\r\n\0.\r\n", b"\r.\r\n", b"\n.\r"]
SMUGGLED = b"MAIL FROM:<x@evil.test>\r\nRCPT TO:<alice@example.com>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"


def memory(suite, name="smtpd"):
    """Private memory of a daemon in bytes; the sanitizers' own is no measure."""
    if "SANITIZED" in os.environ:
        return 0
    with open("/proc/%d/smaps_rollup" % suite.daemons()[name]) as f:
        return sum(int(line.split()[1]) for line in f if line.startswith("Private")) * 1024


def cpu(suite, name="smtpd"):
    with open("/proc/%d/stat" % suite.daemons()[name]) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def replies(c):
    """All codes until the connection ends or is silent."""
    codes = []
    c.sock.settimeout(0.3)
    try:
        while True:
            codes.append(c.reply()[0])
    except (EOFError, OSError):
        return codes


def count(suite, account):
    suite.wait_empty()
    c = suite.imap(account)
    status = c.ok("STATUS INBOX (MESSAGES)")[0]
    c.close()
    return int(re.search(rb"MESSAGES (\d+)", status).group(1))


@pytest.mark.parametrize("end", SMUGGLES, ids=lambda e: e.hex())
def test_01_no_second_message_is_smuggled(suite, account, end):
    c = suite.smtp()
    c.envelope(to=account + "@example.com")
    c.expect("DATA", 354)
    c.send(HEADER + end + SMUGGLED.replace(b"alice", account.encode()) + b"\r\n.\r\n")
    codes = replies(c)
    assert codes[0] in (250, 550, 554, 500, 421), codes
    assert count(suite, account) <= 1
    if count(suite, account):
        box = suite.imap(account)
        box.ok("SELECT INBOX")
        assert b"Return-Path: <bob@remote.test>" in box.ok("FETCH 1 BODY[HEADER]")[0]


@pytest.mark.parametrize("end", [b"\n.\n", b"\r\n.\r\r\n", b"\r\n.\r\n"], ids=lambda e: e.hex())
def test_02_the_same_at_every_split(suite, account, end):
    text = HEADER + end + b"NOOP\r\n" + (b"" if end == b"\r\n.\r\n" else b"\r\n.\r\n")
    outcomes = set()
    for at in range(len(HEADER) - 2, len(text)):
        c = suite.smtp()
        c.envelope(to=account + "@example.com")
        c.expect("DATA", 354)
        c.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        c.send(text[:at])
        try:
            c.send(text[at:])
            c.send("QUIT\r\n")
        except OSError:
            pass  # it was closed already
        outcomes.add(tuple(replies(c)))
    assert len(outcomes) == 1, outcomes


def test_03_nothing_behind_starttls_is_run(suite):
    c = suite.smtp()
    c.hello()
    c.send("STARTTLS\r\nMAIL FROM:<a@b.test>\r\n")
    code, _ = c.reply()
    if code == 220:
        c.buffer = b""
        c.start_tls()
        c.hello()
        c.expect("RCPT TO:<alice@example.com>", 503)
    else:
        assert code == 554 and c.at_end()


def test_03_garbage_for_a_handshake(suite):
    c = suite.smtp()
    c.hello()
    c.expect("STARTTLS", 220)
    c.send(b"\0" * 100)
    start = time.monotonic()
    assert c.at_end() and time.monotonic() - start < 10


def test_04_state_is_forgotten_with_tls(suite):
    c = suite.smtp()
    c.envelope()
    c.expect("STARTTLS", 220)
    c.start_tls()
    c.expect("DATA", 503)
    c.expect("MAIL FROM:<a@b.test>", 503)


def test_05_early_talker(fresh):
    suite = fresh(conf_lines=["greeting-delay 500ms"])
    c = Smtp(suite.port("smtp"), greeting=False)
    c.send("EHLO x\r\n")
    assert c.reply()[0] == 554 and c.at_end()
    polite = Smtp(suite.port("smtp"))
    polite.hello()


def test_05_data_without_waiting(suite):
    c = suite.smtp()
    c.hello()
    c.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<nobody@example.com>\r\nDATA\r\nSubject: x\r\nRSET\r\n.\r\nNOOP\r\n")
    codes = replies(c)
    assert codes[:3] == [250, 550, 503] and 354 not in codes


def test_06_long_command_lines(suite):
    c = suite.smtp()
    c.expect("EHLO " + "a." * 100 + "test", 250)
    c.expect("NOOP " + "x" * 1000, 250)
    c.expect("NOOP " + "x" * 4000, 500)
    before = memory(suite)
    c = suite.smtp()
    try:
        for _ in range(64):
            c.send(b"x" * 16384)
    except OSError:
        pass
    assert memory(suite) - before < 512 * 1024
    assert 500 in replies(c)
    assert c.at_end()


@pytest.mark.parametrize("length", [998, 2048, 60000, 10 * 1024 * 1024])
def test_07_long_lines_of_a_message(suite, account, length):
    c = suite.smtp()
    c.envelope(to=account + "@example.com")
    c.expect("DATA", 354)
    before = memory(suite)
    c.send(b"Subject: l\r\n\r\n" + b"x" * length + b"\r\n.\r\n")
    code, text = c.reply()
    assert (code == 250) == (length <= 65536 - 2), text
    if code != 250:
        assert code == 554 and text.startswith("5.6.0")
    assert memory(suite) - before < 1024 * 1024


@pytest.mark.parametrize(
    "header,code",
    [
        (b"X: " + b" y\r\n" * 2500000, 552),
        (b"Received: from a by b\r\n" * 100000, 554),
        (b"To: a@b.test\r\n" * 500000, 552),
        (b"Received: from a by b\r\n" * 101, 554),
        (b"Received: from a by b\r\n" * 50, 250),
    ],
    ids=["one of 10 MB", "100k Received", "500k To", "101 hops", "50 hops"],
)
def test_08_headers(suite, header, code):
    c = suite.smtp()
    c.envelope()
    c.expect("DATA", 354)
    before = cpu(suite)
    c.send(b"Subject: h\r\n" + header + b"\r\n\r\n.\r\n")
    got, text = c.reply()
    assert got == code, text
    assert cpu(suite) - before < 1.5
    if b"Received" in header and code == 554:
        assert text.startswith("5.4.6")


@pytest.mark.parametrize("junk", [b"\0", b"\xc0\x80", b"\xed\xa0\x80", b"\xff", b"\r"], ids=lambda j: j.hex())
@pytest.mark.parametrize("command", [b"MAIL FROM:<a%sb@c.test>", b"RCPT TO:<alice%s@example.com>", b"NOOP %s", b"EHLO x%sy", b"HE%sLO"], ids=lambda c: c.split()[0].decode())
def test_09_bytes_that_do_not_belong_into_commands(suite, command, junk):
    c = suite.smtp()
    if not command.startswith(b"EHLO"):
        c.hello()
    if command.startswith(b"RCPT"):
        c.expect("MAIL FROM:<a@b.test>", 250)
    code, text = c.command(command % junk)
    assert code in (500, 501, 553), text


def test_10_recipients_up_to_the_limit(fresh):
    suite = fresh(conf_lines=["recipients 100"])
    suite.add("alice")
    c = suite.smtp()
    c.hello()
    c.expect("MAIL FROM:<>", 250)
    codes = [c.command("RCPT TO:<alice+%d@example.com>" % n)[0] for n in range(110)]
    assert codes == [250] * 100 + [452] * 10
    c.data("Subject: many\n\nx\n")


def test_10_unknown_recipients_end_the_session(suite):
    c = suite.smtp()
    c.hello()
    c.expect("MAIL FROM:<a@b.test>", 250)
    codes = []
    try:
        for n in range(50):
            codes.append(c.command("RCPT TO:<none%d@example.com>" % n)[0])
    except (EOFError, OSError):
        pass
    assert set(codes[:19]) == {550} and codes[-1] == 421 and len(codes) <= 21


FORMS = [
    "a%remote.test@us", "@us,@x.test:a@remote.test", '"a@remote.test"@us', "a@[127.0.0.1]", "a@us.", "x!a@us", "remote.test!a@us", "a@remote.test@us",
    "a@us@remote.test", '""@us', "a" * 65 + "@us", "a@" + "b" * 250 + ".test", "a@xn--zzzzzzzz--.test", "a@remote.test.", "a@remote.test",
    "a@REMOTE.TEST", "a%remote.test", "a@[IPv6:::1]", "a@[10.0.0.1]", "a@127.0.0.1", "a@localhost", "@us:a@remote.test", "a@us%remote.test",
    "a:b@remote.test", "a@us\\@remote.test", '"a b"@remote.test', "a@us,b@remote.test", "us!remote.test!a", "a@remote.test%us", "|cat@us", "/etc/passwd@us",
    "a;b@us", "<a@remote.test>@us", "a@[us]", "a@us:25", "a@#123", "a@us_", "a@.us", "a..b@remote.test", ".a@remote.test",
]


@pytest.mark.parametrize("form", FORMS)
def test_11_nothing_is_relayed(suite, form):
    c = suite.smtp()
    c.hello()
    c.expect("MAIL FROM:<a@b.test>", 250)
    code, text = c.command("RCPT TO:<%s>" % form.replace("us", DOMAIN))
    assert code in (550, 501, 553, 555), text


def test_12_more_than_was_declared(fresh):
    suite = fresh(conf_lines=["message-size 1M"])
    suite.add("alice")
    c = suite.smtp()
    c.hello()
    c.expect("MAIL FROM:<a@b.test> SIZE=10", 250)
    c.expect("RCPT TO:<alice@example.com>", 250)
    c.expect("DATA", 354)
    c.send(b"Subject: x\r\n\r\n" + (b"y" * 70 + b"\r\n") * 60000 + b".\r\n")
    code, text = c.reply()
    assert code == 552, text
    spool = os.path.join(suite.root, "spool")
    # What was begun does not stay: only empty files kept ready do.
    until(lambda: all(os.path.getsize(os.path.join(b, f)) < 65536 for b, _, fs in os.walk(os.path.join(spool, "queue")) for f in fs))
    c.expect("RSET", 250)


@pytest.mark.parametrize("chunk", ["BDAT 18446744073709551615", "BDAT 18446744073709551616 LAST", "BDAT -1", "BDAT 5 FIRST"])
def test_13_chunk_sizes(suite, account, chunk):
    c = suite.smtp()
    c.envelope(to=account + "@example.com")
    c.send(chunk + "\r\n")
    assert c.reply()[0] in (501, 552)
    c.close()
    assert count(suite, account) == 0


def test_13_empty_last_chunks(suite, account):
    c = suite.smtp()
    c.envelope(to=account + "@example.com")
    c.send("BDAT 0 LAST\r\n" * 1000)
    codes = replies(c)
    assert codes[-1] == 421 and len(codes) < 40
    assert count(suite, account) <= 1


def test_13_no_last_no_message(suite, account):
    c = suite.smtp()
    c.envelope(to=account + "@example.com")
    c.send("BDAT 20\r\nSubject: x\r\n\r\nabcd")
    c.close()
    assert count(suite, account) == 0


def test_15_slow_clients(fresh):
    suite = fresh(conf_lines=["smtp-timeout 2s", "login-timeout 2s"])
    suite.add("alice")
    slow = [Smtp(suite.port("smtp")) for _ in range(300)]
    for c in slow[::2]:
        c.send("EHLO slow\r\nMAIL FR")
    start = time.monotonic()
    suite.deliver("Subject: quick\n\nx\n")
    assert time.monotonic() - start < 1
    for c in slow:
        assert c.at_end()
    assert time.monotonic() - start < 10


def test_16_replies_that_nobody_reads(suite):
    before = memory(suite)
    c = suite.smtp()
    c.hello()
    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    c.sock.settimeout(1)
    sent = 0
    try:
        while sent < 50 * 1024 * 1024:
            sent += c.sock.send(b"NOOP\r\n" * 10000)
    except OSError:
        pass
    assert sent < 50 * 1024 * 1024  # it stopped reading
    assert memory(suite) - before < 1024 * 1024
    c.close()


@pytest.mark.parametrize("reset", [True, False])
def test_17_connection_lost_in_data(suite, account, reset):
    c = suite.smtp()
    c.envelope(to=account + "@example.com")
    c.expect("DATA", 354)
    c.send("Subject: half\r\n\r\nx\r\n")
    if reset:
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    c.close()
    assert count(suite, account) == 0


def test_17_18_gone_before_the_reply(suite, account):
    c = suite.smtp()
    c.envelope(to=account + "@example.com")
    c.expect("DATA", 354)
    c.send("Subject: whole\r\n\r\nx\r\n.\r\n")
    c.close()
    until(lambda: count(suite, account) == 1)


@pytest.mark.parametrize("lines", [b"VRFY x\r\n", b"EXPN x\r\n", b"FOO\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n"])
def test_19_nonsense_ends(suite, lines):
    c = suite.smtp()
    try:
        for _ in range(3000):
            c.send(lines)
    except OSError:
        pass
    codes = replies(c)
    assert set(codes) <= {252, 500, 501, 502, 503, 421, 554}
    assert lines.startswith(b"VRFY") or codes[-1] in (421, 554) or c.at_end()


@pytest.mark.parametrize("name", ["x" * 60000, "a%0d%0ab", "[IPv6:zz]", "[1.2.3]", "a b", ""])
def test_20_names_of_clients(suite, name):
    c = suite.smtp()
    code, _ = c.command("EHLO " + name)
    assert code in (500, 501)


def test_21_a_homograph_is_foreign(suite):
    c = suite.smtp()
    c.hello()
    c.expect("MAIL FROM:<a@b.test> SMTPUTF8", 250)
    c.expect("RCPT TO:<alice@ex\u0430mple.com>", 550)  # a Cyrillic a


def test_22_connections_past_the_limit(fresh):
    suite = fresh(conf_lines=["connections-per-address 20"])
    with open(suite.conf) as f:
        text = f.read()
    with open(suite.conf, "w") as f:
        f.write(text.replace("unlimited-from 127.0.0.0/8", "unlimited-from 127.0.0.1"))
    suite.mw("reload")
    suite.add("alice")
    kept, refused = [], 0
    for source in ("127.0.1.1", "127.0.1.2"):
        for _ in range(30):
            c = Smtp(suite.port("smtp"), greeting=False, source=source)
            code, text = c.reply()
            kept.append(c)
            refused += code == 421 and text.startswith("4.7.0")
    assert refused == 20
    start = time.monotonic()
    suite.deliver("Subject: ok\n\nx\n")
    assert time.monotonic() - start < 1
