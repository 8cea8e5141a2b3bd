"""
What a hostile or broken IMAP client may send, and what must come of it. The numbers are those of the list in
tests/README.md.
"""
import base64
import os
import re
import socket
import struct
import threading
import time

import pytest

from mailwain import PASSWORD, Imap, until
from tools import Clock, Strace, children, cpu, needs_strace, private_memory, memory, sound, with_conf, worker_of


@pytest.fixture
def imap(suite, account):
    c = suite.imap(account)
    c.append("INBOX", "Subject: x\r\n\r\ny\r\n")
    c.ok("SELECT INBOX")
    yield c
    c.close()


def closes(c):
    c.sock.settimeout(10)
    return c.at_end()


def swallowed(c, text):
    """Sends what the server may not want to have in full."""
    try:
        c.send(text)
    except OSError:
        pass


# ---- 14: AUTHENTICATE ----


def plain(user, password=b"b", who=b""):
    return base64.b64encode(who + b"\0" + user + b"\0" + password)


RESPONSES = {
    "no base64": (b"!!!!", b"BAD"), "cut base64": (b"AGF", b"BAD"), "padding alone": (b"====", b"BAD"), "=": (b"=", b"NO"), "*": (b"*", b"BAD"), "nothing": (b"", b"NO"), "3 NULs": (b"AAAA", b"NO"),
    "4 NULs": (plain(b"\0"), b"NO"), "NUL user": (plain(b"\0alice"), b"NO"), "no user": (plain(b""), b"NO"), "NUL in the password": (plain(b"alice@example.com", b"a\0b"), b"NO"), "no password": (plain(b"a", b""), b"NO"),
    "another's name": (plain(b"alice@example.com", PASSWORD.encode(), b"carol@example.com"), b"NO"), "user of 400": (plain(b"u" * 400), b"NO"), "password of 2000": (plain(b"a", b"p" * 2000), b"NO"), "no UTF-8": (plain(b"\xff\xc0\x80@example.com"), b"NO"),
    "line end in it": (plain(b"a\r\nb LOGIN x y"), b"NO"), "format": (plain(b"%n%s%n@example.com"), b"NO"),
}


@pytest.fixture(scope="module")
def patient(suite):
    """A client in the middle of its own login, from the beginning of the tests of row 14 to their end."""
    c = suite.imap(login=False)
    c.send("mine AUTHENTICATE PLAIN\r\n")
    assert c.line().startswith(b"+")
    yield c
    c.send(plain(b"alice@example.com", PASSWORD.encode()) + b"\r\n")
    assert c.line().startswith(b"mine OK")


@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("what", RESPONSES)
def test_14_responses_that_are_no_login(suite, patient, what, initial):
    response, answer = RESPONSES[what]
    c = suite.imap(login=False)
    if initial:
        c.send(b"a AUTHENTICATE PLAIN " + response + b"\r\n")
        if response in (b"*", b""):
            answer = b"BAD"
    else:
        c.send(b"a AUTHENTICATE PLAIN\r\n")
        assert c.line().startswith(b"+")
        c.send(response + b"\r\n")
    assert c.line().startswith(b"a " + answer)
    c.ok("NOOP")
    c.ok('LOGIN alice@example.com "%s"' % PASSWORD)


@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("response", [b"A" * 1048576, plain(b"u" * 65536), b"!" * 65536, b"\0" * 65536], ids=["1 MB of base64", "user of 64 kB", "no base64", "NUL"])
def test_14_responses_that_are_too_long(suite, patient, response, initial):
    c = suite.imap(login=False)
    if initial:
        swallowed(c, b"a AUTHENTICATE PLAIN " + response + b"\r\n")
    else:
        c.send(b"a AUTHENTICATE PLAIN\r\n")
        assert c.line().startswith(b"+")
        swallowed(c, response + b"\r\n")
    assert c.line().startswith(b"* BYE") and closes(c)
    suite.imap("alice").ok("NOOP")


@pytest.mark.parametrize("user", [b'"a\0b"', b'"' + b"u" * 400 + b'"', b"{3+}\r\na\0b", b'"\xff"', b'""', b"{400+}\r\n" + b"u" * 400])
def test_14_users_that_are_none(suite, patient, user):
    c = suite.imap(login=False)
    c.send(b"a LOGIN " + user + b" x\r\n")
    assert re.match(rb"a (NO|BAD)", c.line())
    c.ok('LOGIN alice@example.com "%s"' % PASSWORD)


def test_14_errors_while_others_log_in(suite, patient):
    """Bad responses on many connections at once; a login under way on another one is not touched."""
    stop, bad = threading.Event(), []

    def disturb():
        while not stop.is_set():
            c = suite.imap(login=False)
            c.send(b"a AUTHENTICATE PLAIN\r\n!!!!\r\nb AUTHENTICATE PLAIN AAAA\r\nc AUTHENTICATE PLAIN\r\n*\r\n")
            bad.extend(c.line() for _ in range(5))
            c.close()

    threads = [threading.Thread(target=disturb) for _ in range(4)]
    for t in threads:
        t.start()
    for _ in range(5):
        suite.imap("alice").close()
    stop.set()
    for t in threads:
        t.join()
    assert len(bad) > 20 and not any(b" OK" in line for line in bad)


# ---- 50: literals ----


@pytest.mark.parametrize("literal", ["{4294967296}", "{4294967296+}", "{8193}", "{8193+}", "{99999999999999999999}", "{-1}", "{}", "{+}", "{1x}", "{10", "{1", "~{4294967296}"])
def test_50_sizes_before_login(suite, literal):
    c = suite.imap(login=False)
    c.send("a LOGIN %s\r\n" % literal)
    assert re.match(rb"a BAD|\* BYE", c.line())


@pytest.mark.parametrize("literal", ["{4294967296}", "{99999999999999999999}", "{-1}", "{}", "{1x}", "{+}", "~{4294967296}"])
def test_50_sizes_after_login(imap, literal):
    imap.send("a APPEND INBOX %s\r\n" % literal)
    assert re.match(rb"a (BAD|NO \[TOOBIG\])", imap.line())
    imap.ok("NOOP")


@pytest.mark.parametrize("literal", ["{4294967296+}", "{99999999+}", "~{4294967296+}"])
def test_50_too_large_to_be_skipped(imap, literal):
    imap.send("a APPEND INBOX %s\r\n" % literal)
    assert re.match(rb"a NO \[TOOBIG\]", imap.line())
    assert imap.line().startswith(b"* BYE") and closes(imap)


def test_50_too_large_before_login(suite):
    c = suite.imap(login=False)
    c.send(b"a LOGIN {9000+}\r\n" + b"x" * 9000 + b" {1+}\r\nx\r\n")
    assert closes(c)


@pytest.mark.parametrize("login", [True, False])
def test_50_a_million_empty_literals(suite, account, login):
    """The line they stand in has an end, however little each of them holds."""
    c = suite.imap(account, login=login)
    swallowed(c, b"a SEARCH" + b" {0+}\r\n" * 1000000 + b"\r\n")
    assert re.match(rb"\* (BAD|BYE)", c.line()) and closes(c)


@pytest.mark.parametrize("login", [True, False])
def test_50_empty_literals_that_wait(suite, account, login):
    c = suite.imap(account, login=login)
    c.send(b"a SEARCH")
    for _ in range(100):
        c.send(b" {0}\r\n")
        assert c.line().startswith(b"+")
    c.send(b"\r\n")
    assert re.match(rb"a BAD", c.line())
    c.ok("NOOP")


@pytest.mark.parametrize("command", [b"a APPEND INBOX ~{10}\r\n", b"a APPEND INBOX ~{10+}\r\n0123456789\r\n", b"a APPEND INBOX CATENATE (TEXT {5+}\r\n01234)\r\n", b'a APPEND INBOX CATENATE (URL "/INBOX;UID=1")\r\n',
                                     b"a APPEND INBOX UTF8 (~{5+}\r\n01234)\r\n", b"a APPEND INBOX {3+}\r\na\0b\r\n", b"a APPEND INBOX {0}\r\n", b"a APPEND INBOX {0+}\r\n\r\n", b"a APPEND INBOX\r\n"])
def test_50_what_is_no_append(imap, command):
    imap.send(command)
    line = imap.line()
    if line.startswith(b"+"):
        imap.send(b"0123456789\r\n")
        line = imap.line()
    assert re.match(rb"a (BAD|NO)", line)
    imap.ok("NOOP")
    assert b"MESSAGES 1)" in imap.ok("STATUS INBOX (MESSAGES)")[0]


def test_50_empty_literals(imap):
    imap.send(b"a SEARCH" + b" SUBJECT {0+}\r\n" * 2000 + b"\r\n")
    assert imap.end(b"a")[1].startswith((b"OK", b"BAD"))


def test_50_message_that_ends_too_soon(suite, account, imap):
    imap.send("a APPEND INBOX {10+}\r\n123456789")
    imap.close()
    c = suite.imap(account)
    until(lambda: b"MESSAGES 1)" in c.ok("STATUS INBOX (MESSAGES)")[0])
    assert sound(suite, account)


# ---- 51: tags and lines ----


@pytest.mark.parametrize("login", [True, False])
@pytest.mark.parametrize("line", ["* NOOP", "+ NOOP", "NOOP", "", " ", "a", "a ", "(a) NOOP", "a+ NOOP", "t" * 1000 + " NOOP", "a NOOP x", "a\tNOOP", "*", "+", "* * *", "a\0b NOOP", "\0 NOOP", "a" * 65 + " NOOP"])
def test_51_tags(suite, account, line, login):
    c = suite.imap(account, login=login)
    c.send(line + "\r\n")
    assert b" BAD " in c.line() + b" "
    c.ok("NOOP")


@pytest.mark.parametrize("login", [True, False])
@pytest.mark.parametrize("line", [b"t" * 1048576 + b" NOOP\r\n", b"t" * 1048576, b"a " + b"N" * 1048576 + b"\r\n", b"a NOOP " + b"x" * (65537 - 7) + b"\r\n", b'a LOGIN "' + b"x" * 65537 + b'" y\r\n', b"\0" * 65537 + b"\r\n"],
                         ids=["tag", "no line end", "command", "64 kB and 1", "string", "NUL"])
def test_51_long_lines(suite, account, login, line):
    c = suite.imap(account, login=login)
    swallowed(c, line)
    assert re.match(rb".* BAD|\* BYE", c.line()) and closes(c)


@pytest.mark.parametrize("login,most", [(True, 11), (False, 11)])
def test_51_nonsense_ends(suite, account, login, most):
    c = suite.imap(account, login=login)
    c.send(b"?\r\n" * 40)
    lines = []  # ten times BAD, and BYE
    try:
        while True:
            lines.append(c.line())
    except (EOFError, OSError):
        pass
    assert len(lines) <= most + 1 and lines[-1].startswith(b"* BYE")


# ---- 52, 54: nesting and sets ----


@pytest.mark.parametrize("command", ["SEARCH " + "(" * 30000, "FETCH 1 " + "(" * 30000, "STORE 1 FLAGS " + "(" * 30000, "SEARCH " + "NOT " * 10000 + "ALL", "SEARCH " + "OR ALL " * 9000 + "ALL", "SEARCH " + "(" * 31 + "ALL" + ")" * 31, "SEARCH " + "(" * 101 + "ALL" + ")" * 101, "FETCH 1 (BODY[" + "1." * 20000 + "1])", "FETCH 1 " + "(FLAGS " * 9000])
def test_52_nesting(imap, command):
    untagged, tagged = imap.run(command)
    assert tagged.startswith(b"OK" if command.endswith("ALL" + ")" * 31) else b"BAD"), tagged
    imap.ok("NOOP")


@pytest.mark.parametrize("login", [True, False])
@pytest.mark.parametrize("command", ["SEARCH ", "FETCH 1 ", "FETCH 1 BODY[HEADER.FIELDS ", "STORE 1 FLAGS ", "ID ", "LIST ", "BODYSTRUCTURE "])
def test_52_a_million_levels(suite, account, command, login):
    c = suite.imap(account, login=login)
    with Clock() as t:
        swallowed(c, b"a " + command.encode() + b"(" * 1000000 + b"\r\n")
        assert re.match(rb"\* (BAD|BYE)", c.line()) and closes(c)
    assert t.seconds < 2


@pytest.mark.parametrize("field", [b"From: ", b"To: ", b"Content-Type: text/plain", b"Content-Type: ", b"Content-Disposition: inline", b"Date: ", b"Message-ID: ", b"Content-Language: "])
def test_52_nested_comments_of_a_message(imap, field):
    text = field + b"(" * 200000 + b"x" + b")" * 200000
    imap.append("INBOX", b"\r\n".join([b"Subject: deep", b"\r\n ".join(text[i : i + 900] for i in range(0, len(text), 900)), b"", b"x", b""]))
    with Clock() as t:
        imap.ok("FETCH 2 (ENVELOPE BODYSTRUCTURE)")
        imap.ok("SEARCH FROM x SENTSINCE 1-Jan-2000 TEXT nothing")
    assert t.seconds < 2


def test_52_nesting_before_login(suite):
    c = suite.imap(login=False)
    c.send("a ID " + "(" * 7000 + "\r\n")
    assert c.line().startswith(b"a BAD")
    c.ok("NOOP")


def test_52_nested_message(suite, account, imap):
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(10000))
    deep += b"Content-Type: message/rfc822\r\n\r\n" * 10000
    imap.append("INBOX", b"Subject: deep\r\n" + deep + b"\r\nx\r\n")
    start = time.monotonic()
    assert b"BODYSTRUCTURE" in imap.ok("FETCH 2 BODYSTRUCTURE")[-1]
    assert b"* SEARCH" in imap.ok("SEARCH TEXT nothing")[0]
    assert time.monotonic() - start < 2


def test_54_a_very_long_set(imap):
    command = b"UID SEARCH UID " + b"1:4294967295," * 4900 + b"1"
    start = time.monotonic()
    assert imap.ok(command) == [b"* SEARCH 1"]
    assert imap.ok(b"UID FETCH " + b",".join(b"%d" % n for n in range(1, 9000)) + b" UID") == [b"* 1 FETCH (UID 1)"]
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("command", [b"SEARCH UID ", b"UID SEARCH UID ", b"UID FETCH ", b"UID STORE ", b"UID MOVE ", b"SEARCH "])
def test_54_a_million_ranges(imap, command):
    with Clock() as t:
        swallowed(imap, b"a " + command + b"1:4294967295," * 1000000 + b"1\r\n")
        assert b"BAD [TOOBIG]" in imap.line() and closes(imap)
    assert t.seconds < 2


@pytest.mark.parametrize("text", [b"0", b"1:0", b"4294967296", b"1:4294967296", b"1,", b",1", b"1::2", b"1:2:3", b"-1", b"*:*:*", b"1 :2", b"1;2", b"$"])
def test_54_sets_that_are_none(imap, text):
    assert imap.run(b"UID FETCH " + text + b" FLAGS")[1].startswith(b"BAD")
    assert imap.run(b"SEARCH UID " + text)[1].startswith(b"BAD")
    imap.ok("NOOP")


# ---- 53: a client that does not read ----


def test_53_answers_that_nobody_reads(suite, account, imap):
    for _ in range(20):
        imap.append("INBOX", "Subject: x\r\n\r\n" + "y" * 50000 + "\r\n")
    spawner = suite.daemons()["imap-session"]
    before = memory(suite, "imapd")
    try:
        imap.sock.settimeout(1)
        for n in range(2000):
            imap.send("a%d FETCH 1:* (BODY.PEEK[])\r\n" % n)
    except OSError:
        pass
    with open("/proc/%d/task/%d/children" % (spawner, spawner)) as f:
        sessions = f.read().split()
    for pid in sessions:
        try:
            with open("/proc/%s/smaps_rollup" % pid) as f:
                private = sum(int(line.split()[1]) for line in f if line.startswith("Private")) * 1024
        except OSError:
            continue
        assert private < 20 * 1024 * 1024
    assert memory(suite, "imapd") - before < 4 * 1024 * 1024


# ---- 56: names of mailboxes ----


@pytest.mark.parametrize("name", ["../../etc", "/", "//", "a//b", "/a", ".", "..", "a/../b", "x" * 1001, "/".join("x" * 10000), "a*b", "a%b"])
def test_56_names(suite, account, imap, name):
    before = set(os.listdir(suite.account_dir(account)))
    assert imap.no('CREATE "%s"' % name).startswith(b"NO [CANNOT]")
    imap.no('RENAME INBOX "%s"' % name)
    assert set(os.listdir(suite.account_dir(account))) == before


@pytest.mark.parametrize("name", [b'"a\0b"', b'"a\rb"', b'"&AAA-"', b'"&*-"', b'"&AGE-"', b'"\xff"', b"{3+}\r\na\0b", b'"' + b"x" * 100000 + b'"'])
def test_56_names_that_are_none(imap, name):
    tag = imap.begin(b"CREATE " + name)
    assert re.match(rb"(%s|\*) BAD" % tag, imap.line())


# ---- 58: two clients and a kill ----


def test_58_two_clients_and_kills(suite, account):
    """MOVE back and forth while session processes die: every message is in exactly one mailbox, no UID comes twice."""
    c = suite.imap(account)
    for n in range(20):
        c.append("INBOX", "Subject: m%d\r\n\r\nx\r\n" % n)
    stop = threading.Event()

    def mover(source, target):
        while not stop.is_set():
            try:
                b = suite.imap(account)
                b.ok("SELECT " + source)
                for _ in range(5):
                    b.run("MOVE 1:* " + target)
                    b.run("STORE 1:* +FLAGS (\\Seen)")
                    b.run("NOOP")
            except (OSError, EOFError, AssertionError):
                pass

    threads = [threading.Thread(target=mover, args=pair) for pair in (("INBOX", "Archive"), ("Archive", "INBOX"))]
    for t in threads:
        t.start()
    spawner = suite.daemons()["imap-session"]
    for _ in range(15):
        time.sleep(0.1)
        with open("/proc/%d/task/%d/children" % (spawner, spawner)) as f:
            pids = f.read().split()
        for pid in pids[:2]:
            try:
                os.kill(int(pid), 9)
            except OSError:
                pass
    stop.set()
    for t in threads:
        t.join(30)
    c = suite.imap(account)
    subjects, uids = [], []
    for box in ("INBOX", "Archive"):
        c.ok("SELECT " + box)
        for line in c.ok("UID FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]"):
            subjects.append(re.search(rb"Subject: (m\d+)", line).group(1))
    assert sorted(subjects) == sorted(b"m%d" % n for n in range(20))
    assert "no faults" in str(suite.mw("store", "check", account + "@example.com"))


# ---- 60: APPEND ----


def test_60_append_of_two_gigabytes(imap):
    imap.send("a APPEND INBOX {2147483648}\r\n")
    assert imap.line().startswith(b"a NO [TOOBIG]")
    imap.ok("NOOP")


def test_60_append_over_quota(suite):
    suite.mw("account", "add", "full@example.com", "--password-stdin", "--quota", "10K", input=PASSWORD + "\n")
    c = suite.imap("full")
    text = b"Subject: x\r\n\r\n" + b"y" * 20000 + b"\r\n"
    c.send(b"a APPEND INBOX {%d+}\r\n" % len(text) + text + b"\r\n")
    assert c.end(b"a")[1].startswith(b"NO [OVERQUOTA]")
    assert b"MESSAGES 0" in c.ok("STATUS INBOX (MESSAGES)")[0]
    assert "no faults" in str(suite.mw("store", "check", "full@example.com"))


# ---- 62: no login in clear ----


def test_62_login_in_clear_is_refused(fresh):
    suite = fresh()
    with open(suite.conf) as f:
        text = f.read()
    with open(suite.conf, "w") as f:
        f.write(text.replace("plain-login-from", "#"))
    suite.mw("reload")
    c = suite.imap(login=False)
    assert b"LOGINDISABLED" in c.greeting
    assert c.no("LOGIN a@example.com b").startswith(b"NO [PRIVACYREQUIRED]")
    assert c.no("AUTHENTICATE PLAIN AGEAYg==").startswith(b"NO [PRIVACYREQUIRED]")


# ---- 3, for IMAP: what stands behind STARTTLS ----


def test_03_nothing_behind_starttls_is_run(suite):
    c = suite.imap(login=False)
    c.send('a STARTTLS\r\nb LOGIN alice@example.com "%s"\r\n' % PASSWORD)
    line = c.line()
    if line.startswith(b"a OK"):
        c.buffer = b""
        c.start_tls()
        c.no("SELECT INBOX", b"BAD")
    else:
        assert closes(c)
