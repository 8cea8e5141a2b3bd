"""
What a hostile or broken SMTP client may send, and what must come of it. The numbers are those of the list in
tests/README.md; what takes many clients or much time is in test_overload.py.
"""
import base64
import os
import re
import select
import signal
import socket
import struct
import threading
import time

import pytest

from mailwain import DOMAIN, Instance, Smtp, until
from tools import Clock, all_read, cpu, count, in_time, last_words, memory

HEADER = b"Subject: s\r\n\r\nbody"
SMUGGLES = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r\r\n", b"\r\n\0.\r\n", b"\r.\r\n", b"\n.\r"]
SMUGGLED = b"MAIL FROM:<x@evil.test>\r\nRCPT TO:<alice@example.com>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@pytest.fixture(scope="module")
def limits():
    """An instance whose limits are near, so that they are reached at once."""
    with Instance(conf_lines=["message-size 1M", "received-lines 50", "greeting-delay 200ms"]).running("alice") as i:
        yield i


@pytest.fixture(scope="module")
def impatient():
    """One that waits for nobody: for what is to run into it alone."""
    with Instance(conf_lines=["smtp-timeout 2s", "login-timeout 2s"]).running() as i:
        yield i


def in_data(suite, account):
    c = suite.smtp()
    c.envelope(to=account + "@example.com")
    c.expect("DATA", 354)
    return c


def spool_sizes(suite):
    found = []
    for base, _, files in os.walk(os.path.join(suite.root, "spool", "queue")):
        for name in files:
            try:
                found.append(os.path.getsize(os.path.join(base, name)))
            except OSError:
                pass
    return found


def written_since(suite, since):
    """Files of the queue with octets of that time or later; those of delivered messages wait to be used again."""
    found = []
    for base, _, files in os.walk(os.path.join(suite.root, "spool", "queue")):
        for name in files:
            try:
                st = os.stat(os.path.join(base, name))
            except OSError:
                continue
            if st.st_size > 0 and st.st_mtime >= since:
                found.append(name)
    return found


def nothing_left(suite, since):
    """Of what was not accepted no octet stays. The file system's clock is a little behind ours."""
    until(lambda: not written_since(suite, since - 0.02), what="the spool holds what was not accepted")


# ---- 1, 2: ends of data ----


@pytest.mark.parametrize("end", SMUGGLES, ids=lambda e: e.hex())
def test_01_no_second_message_is_smuggled(suite, account, end):
    c = in_data(suite, account)
    c.send(HEADER + end + SMUGGLED.replace(b"alice", account.encode()) + b"\r\n.\r\n")
    code, text = c.reply()
    assert code == 550 and text.startswith("5.5.2"), text
    assert c.at_end() and count(suite, account) == 0


@pytest.mark.parametrize("end", SMUGGLES[:6] + [b"\r\n.\r\n"], ids=lambda e: e.hex())
def test_02_the_same_at_every_split(suite, account, end):
    """The server has read the first part before it gets the second."""
    text = HEADER + end + b"NOOP\r\n" + (b"" if end == b"\r\n.\r\n" else b"\r\n.\r\n")
    outcomes = set()
    for at in range(len(HEADER) - 2, len(text)):
        c = in_data(suite, account)
        c.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        c.send(text[:at])
        all_read(c)
        try:
            c.send(text[at:] + b"QUIT\r\n")
        except OSError:
            pass  # it was closed already
        codes, closed = last_words(c)
        assert closed
        outcomes.add(tuple(codes))
    assert outcomes == {(250, 250, 221) if end == b"\r\n.\r\n" else (550,)}


# ---- 3, 4: STARTTLS ----


def test_03_nothing_behind_starttls_is_run(suite):
    c = suite.smtp()
    c.hello()
    c.send("STARTTLS\r\nMAIL FROM:<a@b.test>\r\n")
    code, text = c.reply()
    assert code == 554 and text.startswith("5.5.1") and c.at_end()


def test_03_starttls_twice(suite):
    c = suite.smtp()
    c.hello()
    c.expect("STARTTLS", 220)
    c.start_tls()
    assert "STARTTLS" not in c.hello()
    c.expect("STARTTLS", 503)
    c.expect("QUIT", 221)


def test_03_starttls_within_data_is_text(suite, account):
    c = in_data(suite, account)
    c.send("Subject: x\r\n\r\n\r\nSTARTTLS\r\n.\r\n")
    assert c.reply()[0] == 250
    assert count(suite, account) == 1
    box = suite.imap(account)
    box.ok("SELECT INBOX")
    assert b"\r\nSTARTTLS\r\n" in box.ok("FETCH 1 BODY[TEXT]")[0]


@pytest.mark.parametrize("hello", [b"\0" * 100, b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\x00\x00" * 50, b"\x16\x03\x01\xff\xff" + b"\0" * 100, b"EHLO x\r\n", b"\x80\x2e\x01\x00\x02", None],
                         ids=["zeros", "empty record", "empty records", "too long", "plain text", "SSL 2", "closed"])
@pytest.mark.parametrize("service", ["smtp", "imap"])
def test_03_what_is_no_handshake(impatient, service, hello):
    """Ended at once where it can be told, at the deadline where more might come; never later than ten seconds."""

    def begun():
        c = impatient.smtp() if service == "smtp" else impatient.imap(login=False)
        c.send("EHLO client.test\r\nSTARTTLS\r\n" if service == "smtp" else "a STARTTLS\r\n")
        while not (line := c.line()).startswith((b"220 ", b"a OK")):
            assert line.startswith(b"250"), line
        return c

    c = in_time(begun)
    if hello is None:
        c.sock.shutdown(socket.SHUT_WR)
    else:
        c.send(hello)
    with Clock() as t:
        assert c.at_end()
    assert t.seconds < 10
    in_time(begun)


def test_04_state_is_forgotten_with_tls(suite):
    c = suite.smtp()
    c.envelope()
    c.expect("STARTTLS", 220)
    c.start_tls()
    c.expect("DATA", 503)
    c.expect("MAIL FROM:<a@b.test>", 503)
    c.hello()
    c.expect("RCPT TO:<alice@example.com>", 503)
    c.expect("AUTH PLAIN AGEAYg==", 502)


# ---- 5: clients that do not wait ----


def test_05_early_talker(limits):
    smtpd = limits.daemons()["smtpd"]
    os.kill(smtpd, signal.SIGSTOP)  # so that it comes early on a slow machine, too
    try:
        c = Smtp(limits.port("smtp"), greeting=False)
        c.send("EHLO x\r\n")
    finally:
        os.kill(smtpd, signal.SIGCONT)
    assert c.reply()[0] == 554 and c.at_end()
    polite = Smtp(limits.port("smtp"))
    polite.hello()


def test_05_early_talker_that_waits_for_some_time(fresh):
    """It has been taken, and nothing was said to it; the greeting is still far off on any machine."""
    suite = fresh(conf_lines=["greeting-delay 1m"])
    c = Smtp(suite.port("smtp"), greeting=False)
    until(lambda: [r["connections"] for r in suite.rows("status") if r["name"] == "smtpd"] == [1])
    assert not select.select([c.sock], [], [], 0)[0]
    c.send("EHLO x\r\n")
    assert c.reply()[0] == 554 and c.at_end()
    suite.until_logged("reason=early-talker")


@pytest.mark.parametrize("rcpt", ["nobody@example.com", "alice@elsewhere.test", "alice@[127.0.0.1]"])
def test_05_text_behind_a_refused_data_is_no_command(suite, account, rcpt):
    c = suite.smtp()
    c.hello()
    c.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<%s>\r\nDATA\r\nSubject: x\r\nRSET\r\n" % rcpt + SMUGGLED.decode().replace("alice", account) + ".\r\nNOOP\r\n")
    codes, closed = last_words(c)
    assert codes == [250, 550, 503, 421] and closed
    assert count(suite, account) == 0


def test_05_text_behind_an_accepted_data_is_text(suite, account):
    c = suite.smtp()
    c.hello()
    c.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<%s@example.com>\r\nDATA\r\nRSET\r\nMAIL FROM:<x@evil.test>\r\n.\r\n" % account)
    assert [c.reply()[0] for _ in range(4)] == [250, 250, 354, 250]
    assert count(suite, account) == 1


# ---- 6, 7: long lines ----


def test_06_long_command_lines(suite):
    c = suite.smtp()
    c.hello()
    for length, code in ((513, 250), (1000, 250), (2048, 250), (2049, 500), (4096, 500), (513, 250)):
        got, text = c.command("NOOP " + "x" * (length - 7))
        assert got == code, (length, text)
        assert code == 250 or text.startswith("5.5.2"), text


def test_06_a_line_without_end(suite):
    c = suite.smtp()
    c.hello()
    try:
        for _ in range(64):
            c.send(b"x" * 16384)
    except OSError:
        pass
    code, text = c.reply()
    assert code == 500 and text.startswith("5.5.2") and c.at_end()


def test_06_memory_of_unfinished_lines(suite):
    before = memory(suite)
    clients = [suite.smtp() for _ in range(100)]
    for c in clients:
        c.send(b"x" * 2000)
        all_read(c)
    assert (memory(suite) - before) / len(clients) < 64 * 1024


@pytest.mark.parametrize("length", [998, 2048, 60000, 10 * 1024 * 1024])
def test_07_long_lines_of_a_message(suite, account, length):
    c = in_data(suite, account)
    before = memory(suite)
    c.send(b"Subject: l\r\n\r\n" + b"x" * length + b"\r\n.\r\n")
    code, text = c.reply()
    assert (code == 250) == (length <= 65536 - 2), text
    if code != 250:
        assert code == 554 and text.startswith("5.6.0")
    assert memory(suite) - before < 1024 * 1024
    if code == 250:
        assert count(suite, account) == 1
        box = suite.imap(account)
        box.ok("SELECT INBOX")
        assert b"x" * length + b"\r\n" in box.ok("FETCH 1 BODY[TEXT]")[0]


# ---- 8, 9: headers and octets ----


@pytest.mark.parametrize(
    "header,code",
    [
        (b"X: " + b" y\r\n" * 2500000, 552),
        (b"Received: from a by b\r\n" * 100000, 554),
        (b"To: a@b.test\r\n" * 500000, 552),
        (b"X:\r\n" * 1000000, 552),
        (b":\r\n" * 1000000, 552),
        (b"\r\n" * 1000000, 250),
        (b"Received: from a by b\r\n" * 101, 554),
        (b"Received: from a by b\r\n" * 100, 250),
    ],
    ids=["one of 10 MB", "100k Received", "500k To", "1M without a value", "1M without a name", "1M empty lines", "101 hops", "100 hops"],
)
def test_08_headers(suite, header, code):
    c = suite.smtp()
    c.envelope()
    c.expect("DATA", 354)
    before = cpu(suite)
    c.send(b"Subject: h\r\n" + header + b"\r\n\r\n.\r\n")
    got, text = c.reply()
    assert got == code, text
    assert cpu(suite) - before < (1 if "SANITIZED" not in os.environ else 20)
    if b"Received" in header and code == 554:
        assert text.startswith("5.4.6")


@pytest.mark.parametrize("hops,code", [(50, 250), (51, 554)])
def test_08_hops_are_a_setting(limits, hops, code):
    c = in_data(limits, "alice")
    c.send(b"rEcEiVeD: from a by b\r\n" * hops + b"\r\n.\r\n")
    assert c.reply()[0] == code


JUNK = [b"\0", b"\xc0\x80", b"\xed\xa0\x80", b"\xff", b"\r"]


@pytest.mark.parametrize("junk", JUNK, ids=lambda j: j.hex())
@pytest.mark.parametrize("command", [b"MAIL FROM:<a%sb@c.test>", b"MAIL FROM:<a%sb@c.test> SMTPUTF8", b"MAIL FROM:<a@c%s.test>", b"MAIL FROM:<%s>", b"RCPT TO:<alice%s@example.com>", b"RCPT TO:<alice@example.com%s>",
                                     b'RCPT TO:<"alice%s"@example.com>', b"NOOP %s", b"EHLO x%sy", b"HE%sLO", b"%s"], ids=lambda c: c.decode())
def test_09_octets_that_do_not_belong_into_commands(suite, command, junk):
    c = suite.smtp()
    if not command.startswith(b"EHLO"):
        c.hello()
    if command.startswith(b"RCPT"):
        c.expect("MAIL FROM:<a@b.test>", 250)
    code, text = c.command(command % junk)
    assert code in (500, 501, 553), text


@pytest.mark.parametrize("command", ["MAIL FROM:<b\u00f6b@c.test>", "MAIL FROM:<a@b\u00f6b.test>", "MAIL FROM:<a@b.test>", "MAIL FROM:<a@b.test> BODY=8BITMIME"])
def test_09_eight_bits_without_being_asked(suite, command):
    """21 too: an address that needs SMTPUTF8 is 553 5.6.7 without it."""
    c = suite.smtp()
    c.hello()
    code, text = c.command(command)
    if code == 250:
        code, text = c.command("RCPT TO:<al\u00edce@example.com>")
    assert code == 553 and text.startswith("5.6.7")


@pytest.mark.parametrize("junk", JUNK, ids=lambda j: j.hex())
@pytest.mark.parametrize("place", [b"Subj%sect: x\r\n\r\n", b"Subject: x%sy\r\n\r\n", b"From: a%s@b.test\r\n\r\n", b"Subject: x\r\n\r\ntext%stext\r\n"], ids=["name", "value", "address", "body"])
def test_09_octets_of_a_message(suite, account, place, junk):
    """NUL and CR end it; other octets are somebody's old charset and are kept as they came, none is cut off."""
    c = in_data(suite, account)
    c.send(place % junk + b"behind it\r\n.\r\n")
    code, text = c.reply()
    if junk in (b"\0", b"\r"):
        assert code == 550 and text.startswith("5.5.2") and c.at_end()
        assert count(suite, account) == 0
    else:
        assert code == 250
        assert count(suite, account) == 1
        box = suite.imap(account)
        box.ok("SELECT INBOX")
        whole = box.ok("FETCH 1 (FLAGS BODY.PEEK[])")[0]
        assert whole.endswith(place % junk + b"behind it\r\n)")


# ---- 10, 11: recipients ----


def test_10_recipients_up_to_the_limit(suite, account):
    """A thousand for the null sender, then 452, and 421 when it goes on and on."""
    c = suite.smtp()
    c.hello()
    c.expect("MAIL FROM:<>", 250)
    c.send(b"".join(b"RCPT TO:<%s+%d@example.com>\r\n" % (account.encode(), n) for n in range(1010)))
    answers = [c.reply() for _ in range(1010)]
    assert [code for code, _ in answers] == [250] * 1000 + [452] * 10
    assert answers[-1][1].startswith("4.5.3")
    c.data("Subject: many\n\nx\n")


def test_10_a_flood_of_recipients(suite, account):
    c = suite.smtp()
    c.hello()
    c.expect("MAIL FROM:<>", 250)
    line = b"RCPT TO:<%s@example.com>\r\n" % account.encode()
    sender = threading.Thread(target=lambda: flood(c, line, 100000))
    sender.start()
    with Clock() as t:
        codes, closed = last_words(c)
    sender.join()
    assert codes == [250] * 1000 + [452] * 20 + [421] and closed
    assert t.seconds < 30


def flood(c, text, times):
    """As much of it as the server takes."""
    try:
        for _ in range(0, times, 1000):
            c.send(text * 1000)
    except OSError:
        pass


def test_10_unknown_recipients_end_the_session(suite):
    """And none of the answers is held back for a second."""
    c = suite.smtp()
    c.hello()
    c.expect("MAIL FROM:<a@b.test>", 250)
    codes = []
    with Clock() as t:
        try:
            for n in range(50000):
                codes.append(c.command("RCPT TO:<none%d@example.com>" % n)[0])
        except (EOFError, OSError):
            pass
    assert codes[:20] == [550] * 20 and codes[20:] in ([], [421]) and t.seconds < 15


def test_10_unknown_recipients_in_one_piece(suite):
    c = suite.smtp()
    c.hello()
    c.expect("MAIL FROM:<a@b.test>", 250)
    sender = threading.Thread(target=lambda: flood(c, b"RCPT TO:<none@example.com>\r\n", 50000))
    sender.start()
    codes, closed = last_words(c)
    sender.join()
    assert codes == [550] * 20 + [421] and closed


FORMS = [
    "a%remote.test@us", "@us,@x.test:a@remote.test", '"a@remote.test"@us', "a@[127.0.0.1]", "a@us.", "x!a@us", "remote.test!a@us", "a@remote.test@us",
    "a@us@remote.test", '""@us', "a" * 65 + "@us", "alice@" + ".".join(["b" * 63] * 3 + ["b" * 59, "com"]), "alice@" + "b" * 250 + ".test", "a@xn--zzzzzzzz--.test", "a@xn--0.test", "a@remote.test.", "a@remote.test",
    "a@REMOTE.TEST", "a%remote.test", "a@[IPv6:::1]", "a@[10.0.0.1]", "a@127.0.0.1", "a@localhost", "@us:a@remote.test", "a@us%remote.test",
    "a:b@remote.test", "a@us\\@remote.test", '"a b"@remote.test', "a@us,b@remote.test", "us!remote.test!a", "a@remote.test%us", "|cat@us", "/etc/passwd@us",
    "a;b@us", "<a@remote.test>@us", "a@[us]", "a@us:25", "a@#123", "a@us_", "a@.us", "a..b@remote.test", ".a@remote.test", '"alice%remote.test"@us', "alice%remote.test@us",
]


@pytest.mark.parametrize("sender", ["a@b.test", "", "alice@example.com", "a%remote.test@example.com"])
def test_11_nothing_is_relayed(suite, sender):
    assert len(FORMS) >= 40
    for form in FORMS:
        c = suite.smtp()
        c.hello()
        c.expect("MAIL FROM:<%s>" % sender, 250)
        code, text = c.command("RCPT TO:<%s>" % form.replace("us", DOMAIN))
        assert code in (550, 501, 553), (form, text)
        c.close()


# ---- 12, 13: sizes and chunks ----


@pytest.mark.parametrize("size,code", [("99999999999999999999", 552), ("-1", 501), ("999999999999999999999999999", 501), ("0x10", 501), ("", 501), ("1048577", 552), ("1048576", 250)])
def test_12_declared_sizes(limits, size, code):
    c = limits.smtp()
    c.hello()
    c.expect("MAIL FROM:<a@b.test> SIZE=" + size, code)


def test_12_more_than_was_declared(limits):
    """Ten octets declared, fifty million sent: the excess is not stored, and the file goes away."""
    since = time.time()
    c = limits.smtp()
    c.hello()
    c.expect("MAIL FROM:<a@b.test> SIZE=10", 250)
    c.expect("RCPT TO:<alice@example.com>", 250)
    c.expect("DATA", 354)
    c.send(b"Subject: x\r\n\r\n")
    piece, largest = (b"y" * 998 + b"\r\n") * 5000, 0
    for _ in range(10):
        c.send(piece)
        largest = max([largest] + spool_sizes(limits))
    c.send(b".\r\n")
    code, text = c.reply()
    assert code == 552 and text.startswith("5.3.4"), text
    assert largest <= 1024 * 1024
    nothing_left(limits, since)
    c.expect("RSET", 250)


@pytest.mark.parametrize("chunk", ["BDAT 18446744073709551615", "BDAT 18446744073709551616 LAST", "BDAT 9223372036854775808 LAST", "BDAT -1", "BDAT 5 FIRST", "BDAT", "BDAT x LAST", "BDAT LAST"])
def test_13_chunk_sizes(suite, account, chunk):
    c = suite.smtp()
    c.envelope(to=account + "@example.com")
    c.send(chunk + "\r\nRSET\r\n" + SMUGGLED.decode().replace("alice", account))
    code, text = c.reply()
    assert code == 501, text
    assert c.at_end() and count(suite, account) == 0


def test_13_a_million_empty_last_chunks(suite, account):
    c = suite.smtp()
    c.envelope(to=account + "@example.com")
    sender = threading.Thread(target=lambda: flood(c, b"BDAT 0 LAST\r\n", 1000000))
    sender.start()
    codes, closed = last_words(c)
    sender.join()
    assert codes == [250] + [503] * 20 + [421] and closed
    assert count(suite, account) == 1


@pytest.mark.parametrize("tail", [b"BDAT 5\r\nabcd", b"BDAT 20\r\nSubject: x\r\n\r\nabcd", b"BDAT 5 LAST\r\nabcd", b"BDAT 0\r\n", b"BDAT 5\r\nabcdeQUIT\r\n", b"BDAT 5\r\nabcdeRSET\r\n", b"BDAT 5\r\nabcdeDATA\r\n.\r\n"],
                         ids=["4 of 5", "no LAST", "4 of 5 LAST", "0", "QUIT", "RSET", "DATA"])
def test_13_without_a_whole_last_chunk_there_is_no_message(suite, account, tail):
    since = time.time()
    c = suite.smtp()
    c.envelope(to=account + "@example.com")
    c.send(tail)
    all_read(c)
    if b"DATA" in tail:
        assert c.reply()[0] == 250 and c.reply()[0] == 503
    c.close()
    assert count(suite, account) == 0
    nothing_left(suite, since)


def test_13_chunks_behind_data(suite, account):
    """And the other way round: BDAT within DATA is text."""
    c = in_data(suite, account)
    c.send("BDAT 5 LAST\r\nabcde\r\n.\r\n")
    assert c.reply()[0] == 250
    c.expect("BDAT 0 LAST", 503)
    assert count(suite, account) == 1


# ---- 14: logins where there are none ----


def plain(user, password=b"b", who=b""):
    return base64.b64encode(who + b"\0" + user + b"\0" + password)


@pytest.mark.parametrize("argument", [plain(b"alice@example.com", b"correct horse"), b"", b"=", b"*", b"!!!!", b"AAA", plain(b"a\0\0"), plain(b"\0"), b"AAAA"],
                         ids=["a login", "nothing", "=", "*", "no base64", "cut base64", "many NULs", "NUL user", "3 NULs"])
@pytest.mark.parametrize("within", [False, True])
def test_14_no_logins_on_this_port(suite, argument, within):
    c = suite.smtp()
    if within:
        c.envelope()
    else:
        c.hello()
    assert c.command(b"AUTH PLAIN " + argument)[0] == 502
    c.expect("NOOP", 250)
    c.expect("DATA" if within else "RCPT TO:<alice@example.com>", 354 if within else 503)


@pytest.mark.parametrize("octets", [65536, 1048576])
def test_14_a_login_that_is_too_long(suite, octets):
    c = suite.smtp()
    c.hello()
    try:
        c.send(b"AUTH PLAIN " + plain(b"x" * octets) + b"\r\n")
    except OSError:
        pass
    assert c.reply()[0] == 500 and c.at_end()


# ---- 17, 18: connections lost ----


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("text", ["", "Subject: half", "Subject: half\r\n\r\nx\r\n", "Subject: half\r\n\r\nx\r\n.", "Subject: half\r\n\r\nx\r\n.\r"])
def test_17_connection_lost_in_data(suite, account, text, reset):
    since = time.time()
    c = in_data(suite, account)
    c.send(text)
    all_read(c)
    if reset:
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    c.close()
    assert count(suite, account) == 0
    nothing_left(suite, since)


WHOLE = "Message-ID: <once@b.test>\r\nSubject: whole\r\n\r\nx\r\n.\r\n"


def ids(suite, account):
    box = suite.imap(account)
    box.ok("SELECT INBOX")
    found = re.findall(rb"Message-ID: (\S+)", b"".join(box.ok("FETCH 1:* BODY[HEADER.FIELDS (MESSAGE-ID)]")))
    box.close()
    return found


@pytest.mark.parametrize("reset", [True, False])
def test_17_gone_before_the_reply(fresh, reset):
    """The message is kept and the log says that nobody was told; the sender's second try is a second copy."""
    suite = fresh()
    suite.add("alice")
    c = in_data(suite, "alice")
    queue = suite.daemons()["queue"]
    os.kill(queue, signal.SIGSTOP)
    try:
        c.send(WHOLE)
        all_read(c)
        place = c.sock.getsockname(), c.sock.getpeername()
        if reset:
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        c.close()
        until(lambda: not connected(*place))
    finally:
        os.kill(queue, signal.SIGCONT)
    until(lambda: "smtp_reply_lost" in suite.log())
    assert count(suite, "alice") == 1
    again = in_data(suite, "alice")
    again.send(WHOLE)
    assert again.reply()[0] == 250
    assert count(suite, "alice") == 2 and set(ids(suite, "alice")) == {b"<once@b.test>"}


def connected(local, remote):
    """Whether the server still holds its end."""
    with open("/proc/net/tcp") as f:
        for line in f:
            fields = line.split()
            if fields[1].endswith(":%04X" % remote[1]) and fields[2].endswith(":%04X" % local[1]) and fields[3] in ("01", "08"):
                return True
    return False


def test_18_the_reply_is_lost_on_its_way(suite, account):
    """Nothing tells the server; the message is there once for each time it was accepted."""
    for copies in (1, 2):
        c = in_data(suite, account)
        c.send(WHOLE)
        until(lambda: count(suite, account) == copies)
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        c.close()
    assert ids(suite, account) == [b"<once@b.test>"] * 2


# ---- 19 to 21: nonsense, names ----


@pytest.mark.parametrize("line,codes", [(b"VRFY x\r\n", {252}), (b"EXPN x\r\n", {502}), (b"NOOP\r\n", {250}), (b"RSET\r\n", {250}), (b"HELP\r\n", {214}), (b"EHLO x\r\n", {250}), (b"FOO\r\n", {500}), (b"MAIL FROM:<a@b.test>\r\nRSET\r\n", {250}),
                                        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", {500}), (b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n" + SMUGGLED, {500, 250, 354, 503}), (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n", {500})],
                         ids=["VRFY", "EXPN", "NOOP", "RSET", "HELP", "EHLO", "unknown", "MAIL", "GET", "POST", "TLS"])
def test_19_a_million_of_anything_but_mail_ends(suite, line, codes):
    c = suite.smtp()
    if b"POST" not in line:
        c.hello()
    sender = threading.Thread(target=lambda: flood(c, line, 1000000))
    sender.start()
    with Clock() as t:
        got, closed = last_words(c)
    sender.join()
    assert closed and t.seconds < 30
    assert set(got[:-1]) <= codes
    assert got[-1] == 421 or b"\x16" in line and got == [500] or b"DATA" in line and got[-1] == 503
    assert len(got) <= 210


def test_19_the_polite_may_ask_again_after_each_message(suite):
    """What is counted is what brings no mail: a client that sends some is never ended."""
    c = suite.smtp()
    c.hello()
    for _ in range(4):
        for _ in range(90):
            c.expect("NOOP", 250)
        c.expect("MAIL FROM:<a@b.test>", 250)
        c.expect("RCPT TO:<alice@example.com>", 250)
        c.data("Subject: x\n\ny\n")


@pytest.mark.parametrize("name", ["a%0d%0ab", "a%0d%0aMAIL", "[IPv6:zz]", "[IPv6:1:2:3:4:5:6:7:8:9]", "[IPv6:]", "[IPv6:::1", "[1.2.3]", "[1.2.3.256]", "[]", "[", "a b", "", "-a", "a_b c", "a..b", ".", "x" * 64 + ".test", "a." * 127 + "test"])
def test_20_names_of_clients(suite, name):
    c = suite.smtp()
    for verb in ("EHLO", "HELO"):
        code, _ = c.command(verb + " " + name)
        assert code == 501
    c.expect("MAIL FROM:<a@b.test>", 503)


def test_20_a_name_of_64_kilobytes(suite):
    c = suite.smtp()
    c.send("EHLO " + "x" * 65536 + "\r\n")
    assert c.reply()[0] in (500, 501)


@pytest.mark.parametrize("domain", ["ex\u0430mple.com", "example.c\u043em", "\u0435xample.com", "example\u3002com\u0430", "exa\u00admple.c\u0430m", "xn--exmple-4nf.com"])
def test_21_a_homograph_is_foreign(suite, domain):
    c = suite.smtp()
    c.hello()
    c.expect("MAIL FROM:<a@b.test> SMTPUTF8", 250)
    c.expect("RCPT TO:<alice@%s>" % domain, 550)
