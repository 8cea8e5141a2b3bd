"""What a hostile or broken IMAP client may send, and what must come of it (doc/hostile.md, 50 to 62)."""
import os
import re
import threading
import time

import pytest

from mailwain import PASSWORD, Imap, until
from test_hostile_smtp import cpu, memory


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


# ---- 50: literals ----


@pytest.mark.parametrize("literal", ["{4294967296}", "{99999999999999999999}", "{-1}", "{}", "{+}", "{1x}", "{10", "{1"])
def test_50_sizes_before_login(suite, literal):
    c = suite.imap(login=False)
    c.send("a LOGIN %s\r\n" % literal)
    assert re.match(rb"a BAD|\* BYE", c.line())


@pytest.mark.parametrize("literal", ["{4294967296}", "{-1}", "{}", "{1x}"])
def test_50_sizes_after_login(imap, literal):
    imap.send("a APPEND INBOX %s\r\n" % literal)
    assert re.match(rb"a (BAD|NO \[TOOBIG\])", imap.line())
    imap.ok("NOOP")


@pytest.mark.parametrize("literal", ["{4294967296+}", "{99999999+}"])
def test_50_too_large_to_be_skipped(imap, literal):
    imap.send("a APPEND INBOX %s\r\n" % literal)
    assert re.match(rb"a NO \[TOOBIG\]", imap.line())
    assert imap.line().startswith(b"* BYE") and closes(imap)


def test_50_too_large_before_login(suite):
    c = suite.imap(login=False)
    c.send(b"a LOGIN {9000+}\r\n" + b"x" * 9000 + b" {1+}\r\nx\r\n")
    assert closes(c)


def test_50_empty_literals(imap):
    imap.send(b"a SEARCH" + b" SUBJECT {0+}\r\n" * 2000 + b"\r\n")
    assert imap.end(b"a")[1].startswith((b"OK", b"BAD"))


def test_50_message_that_ends_too_soon(suite, account, imap):
    imap.send("a APPEND INBOX {10+}\r\n123456789")
    imap.close()
    c = suite.imap(account)
    until(lambda: b"MESSAGES 1)" in c.ok("STATUS INBOX (MESSAGES)")[0])
    assert "no faults" in str(suite.mw("store", "check", account + "@example.com"))


# ---- 51: tags and lines ----


@pytest.mark.parametrize("login", [True, False])
@pytest.mark.parametrize("line", ["* NOOP", "+ NOOP", "NOOP", "", " ", "a", "a ", "(a) NOOP", "a+ NOOP", "t" * 1000 + " NOOP", "a NOOP x", "a\tNOOP"])
def test_51_tags(suite, account, line, login):
    c = suite.imap(account, login=login)
    c.send(line + "\r\n")
    assert b" BAD " in c.line() + b" "
    c.ok("NOOP")


@pytest.mark.parametrize("login", [True, False])
def test_51_endless_line(suite, account, login):
    c = suite.imap(account, login=login)
    try:
        for _ in range(64):
            c.send(b"t" * 16384)
    except OSError:
        pass
    assert re.match(rb".* BAD|\* BYE", c.line()) and closes(c)


@pytest.mark.parametrize("login,most", [(True, 21), (False, 11)])
def test_51_nonsense_ends(suite, account, login, most):
    c = suite.imap(account, login=login)
    c.send(b"?\r\n" * 40)
    lines = []
    try:
        while True:
            lines.append(c.line())
    except (EOFError, OSError):
        pass
    assert len(lines) <= most + 1 and lines[-1].startswith(b"* BYE")


# ---- 52, 54: nesting and sets ----


@pytest.mark.parametrize("command", ["SEARCH " + "(" * 30000, "FETCH 1 " + "(" * 30000, "STORE 1 FLAGS " + "(" * 30000, "SEARCH " + "NOT " * 10000 + "ALL", "SEARCH " + "OR ALL " * 9000 + "ALL", "SEARCH " + "(" * 31 + "ALL" + ")" * 31])
def test_52_nesting(imap, command):
    untagged, tagged = imap.run(command)
    assert tagged.startswith(b"OK" if command.endswith("ALL" + ")" * 31) else b"BAD"), tagged
    imap.ok("NOOP")


def test_52_nesting_before_login(suite):
    c = suite.imap(login=False)
    c.send("a ID " + "(" * 7000 + "\r\n")
    assert c.line().startswith(b"a BAD")
    c.ok("NOOP")


def test_52_nested_message(suite, account, imap):
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(10000))
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
    imap.send(b"a SEARCH UID " + b"1:4294967295," * 10000 + b"1\r\n")
    assert b"BAD [TOOBIG]" in imap.line()


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
