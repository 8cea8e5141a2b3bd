"""
What a hostile or broken IMAP client may send, and what must come of it. The numbers are those of the list in
tests/README.md.
"""
import base64
import contextlib
import hashlib
import hmac
import os
import re
import select
import socket
import struct
import threading
import time

import pytest

from mailwain import PASSWORD, until
from tools import Clock, Strace, children, cpu_of, memory, needs_strace, private_memory, sound, with_conf, worker_of


@pytest.fixture
def imap(suite, account):
    c = suite.imap(account)
    c.append("INBOX", "Subject: x\r\n\r\ny\r\n")
    c.ok("SELECT INBOX")
    yield c
    c.close()


class Cost:
    """The processor time that an account's session has taken: `with Cost(suite, account) as cost: ...; assert cost.seconds < 1`."""

    def __init__(self, suite, account):
        self.pid = worker_of(suite, "imap-session", account)

    def __enter__(self):
        self.before = cpu_of(self.pid)
        return self

    def __exit__(self, *_):
        self.seconds = cpu_of(self.pid) - self.before


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


@pytest.fixture
def patient(suite):
    """A client in the middle of its own login while another one misbehaves."""
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
        if response == b"=":
            answer = b"BAD"
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

    def one_more():
        suite.imap("alice").close()
        return len(bad) > 20

    for _ in range(4):
        one_more()
    until(one_more, what="nobody disturbs")
    stop.set()
    for t in threads:
        t.join()
    assert not any(b" OK" in line for line in bad)


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


@pytest.mark.parametrize(
    "behind,ends",
    [(" {18+}\r\nx CREATE inserted\r\n\r\n", True), (" x" * 1000, True), (" surplus\r\n", False), (" {3}\r\n", False)],
)
def test_50_behind_the_message_of_an_append(suite, account, imap, behind, ends):
    imap.send("a APPEND INBOX {14+}\r\nSubject: x\r\n\r\n" + behind)
    assert imap.line().startswith(b"a BAD ")
    if ends:
        assert imap.line().startswith(b"* BYE ") and closes(imap)
    imap = suite.imap(account)
    assert not any(b"inserted" in line for line in imap.ok('LIST "" "*"'))
    assert imap.ok("STATUS INBOX (MESSAGES)") == [b'* STATUS "INBOX" (MESSAGES 1)']


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


@pytest.mark.alone
@pytest.mark.parametrize("login", [True, False])
@pytest.mark.parametrize("command", ["SEARCH ", "FETCH 1 ", "FETCH 1 BODY[HEADER.FIELDS ", "STORE 1 FLAGS ", "ID ", "LIST ", "BODYSTRUCTURE "])
def test_52_a_million_levels(suite, account, command, login):
    c = suite.imap(account, login=login)
    with Clock() as t:
        swallowed(c, b"a " + command.encode() + b"(" * 1000000 + b"\r\n")
        assert re.match(rb"\* (BAD|BYE)", c.line()) and closes(c)
    assert t.seconds < 10


@pytest.mark.alone
@pytest.mark.parametrize("field", [b"From: ", b"To: ", b"Content-Type: text/plain", b"Content-Type: ", b"Content-Disposition: inline", b"Date: ", b"Message-ID: ", b"Content-Language: "])
def test_52_nested_comments_of_a_message(suite, account, imap, field):
    text = field + b"(" * 200000 + b"x" + b")" * 200000
    imap.append("INBOX", b"\r\n".join([b"Subject: deep", b"\r\n ".join(text[i : i + 900] for i in range(0, len(text), 900)), b"", b"x", b""]))
    with Cost(suite, account) as cost:
        imap.ok("FETCH 2 (ENVELOPE BODYSTRUCTURE)")
        imap.ok("SEARCH FROM x SENTSINCE 1-Jan-2000 TEXT nothing")
    assert cost.seconds < 2


def test_52_nesting_before_login(suite):
    c = suite.imap(login=False)
    c.send("a ID " + "(" * 7000 + "\r\n")
    assert c.line().startswith(b"a BAD")
    c.ok("NOOP")


@pytest.mark.alone
def test_52_nested_message(suite, account, imap):
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(10000))
    deep += b"Content-Type: message/rfc822\r\n\r\n" * 10000
    imap.append("INBOX", b"Subject: deep\r\n" + deep + b"\r\nx\r\n")
    with Cost(suite, account) as cost:
        assert b"BODYSTRUCTURE" in imap.ok("FETCH 2 BODYSTRUCTURE")[-1]
        assert b"* SEARCH" in imap.ok("SEARCH TEXT nothing")[0]
    assert cost.seconds < 2


@pytest.mark.alone
def test_54_a_very_long_set(suite, account, imap):
    command = b"UID SEARCH UID " + b"1:4294967295," * 4900 + b"1"
    with Cost(suite, account) as cost:
        assert imap.ok(command) == [b"* SEARCH 1"]
        assert imap.ok(b"UID FETCH " + b",".join(b"%d" % n for n in range(1, 9000)) + b" UID") == [b"* 1 FETCH (UID 1)"]
    assert cost.seconds < 2


@pytest.mark.alone
@pytest.mark.parametrize("command", [b"SEARCH UID ", b"UID SEARCH UID ", b"UID FETCH ", b"UID STORE ", b"UID MOVE ", b"SEARCH "])
def test_54_a_million_ranges(imap, command):
    with Clock() as t:
        swallowed(imap, b"a " + command + b"1:4294967295," * 1000000 + b"1\r\n")
        assert b"BAD [TOOBIG]" in imap.line() and closes(imap)
    assert t.seconds < 10


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
    for pid in children(spawner):
        with contextlib.suppress(OSError):
            assert private_memory(pid) < 20 * 1024 * 1024
    assert memory(suite, "imapd") - before < 4 * 1024 * 1024


def test_53_nobody_waits_for_a_search(fresh):
    """
    One that takes a quarter of a minute ends when its client goes, and when the suite stops. The other client's was begun before, in half as many
    messages: if none ended with its client, that one would be done first.
    """
    suite = fresh()
    suite.add("alice")
    c = suite.imap("alice")
    c.append("INBOX", "Subject: x\r\n\r\n" + ("x" * 70 + "\r\n") * 3000)
    c.ok("SELECT INBOX")
    for _ in range(14):
        c.ok("COPY 1:* INBOX")
    c.ok("CREATE half")
    c.ok("COPY 1:* half")
    c.ok("COPY 1:* INBOX")
    stays = suite.imap("alice")
    stays.ok("SELECT half")
    for client in (stays, c):
        client.begin("SEARCH TEXT nowhere")
    c.close()
    until(lambda: len(children(suite.daemons()["imap-session"])) == 2)  # the keeper, and that of the other client
    assert not select.select([stays.sock], [], [], 0)[0]
    suite.stop()
    assert stays.line() == b"* BYE The server is stopping"


# ---- 23: an index that cannot be written ----


@needs_strace
def test_23_what_is_there_can_be_read(suite, account):
    """As on a full disk. Nothing is told that is not so."""
    c = suite.imap(account)
    c.append("INBOX", "Subject: x\r\n\r\ny\r\n")
    c.append("INBOX", "Subject: x\r\n\r\ny\r\n", "\\Deleted")
    with Strace(worker_of(suite, "imap-session", account), "pwrite64,pwritev,writev:error=ENOSPC:when=1+"):
        assert b"* 2 EXISTS" in c.ok("SELECT INBOX")
        untagged, tagged = c.run("FETCH 1 BODY[]")
        assert tagged.startswith(b"NO") and b"FLAGS (\\Seen \\Recent)" in untagged[0]
        assert untagged[1:] == [b"* 1 FETCH (FLAGS (\\Recent))"]
        c.no("CLOSE")
        assert c.ok("FETCH 1 FLAGS") == [b"* 1 FETCH (FLAGS (\\Recent))"]
    c.ok("CLOSE")
    assert b"* 1 EXISTS" in c.ok("SELECT INBOX")
    c.close()


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


COMMANDS = ["DELETE %s", "SELECT %s", "EXAMINE %s", "STATUS %s (MESSAGES)", "COPY 1 %s", "MOVE 1 %s", "RENAME %s new", "RENAME INBOX %s", "CREATE %s"]


@pytest.mark.parametrize("command", COMMANDS)
def test_56_names_everywhere(suite, account, imap, command):
    """Whatever stands where a name should, nothing is made, and nothing outside the account's mailboxes is seen."""
    before = set(os.listdir(suite.account_dir(account)))
    names = [b'"../../etc"', b'"/"', b'"INBOX/../.."', b'"mail"', b'"../index"', b'"index/data.mdb"', b'"&AAA-"', b'"&*-"', b'"\xff"', b'"' + b"/".join([b"x"] * 10000) + b'"', b'"' + b"x" * 1001 + b'"']
    for name in names:
        if name in (b'"mail"', b'"index/data.mdb"') and command.startswith(("CREATE", "RENAME INBOX")):
            continue  # names as good as any
        tag = imap.begin(command.encode() % name)
        assert re.match(rb"NO|BAD", imap.end(tag)[1]), name
        imap.ok("NOOP")
    assert set(os.listdir(suite.account_dir(account))) == before
    assert sound(suite, account)


@pytest.mark.parametrize("size,sync,answer", [(1048576, True, b"a NO [CANNOT]"), (1048576, False, b"a NO [CANNOT]"), (1048577, True, b"a NO [TOOBIG]"), (1048577, False, b"a NO [TOOBIG]")])
def test_56_a_name_of_a_megabyte(imap, size, sync, answer):
    imap.send(b"a CREATE {%d%s}\r\n" % (size, b"" if sync else b"+"))
    if sync and b"CANNOT" in answer:
        assert imap.line().startswith(b"+")
    if not sync or b"CANNOT" in answer:
        swallowed(imap, b"x" * size + b"\r\n")
    assert imap.line().startswith(answer)
    if not sync and b"TOOBIG" in answer:
        assert imap.line().startswith(b"* BYE") and closes(imap)
    else:
        imap.ok("NOOP")


# ---- 58: two clients and a kill ----


class Boxes:
    """What was seen in two mailboxes: a UID that once named a message never names another."""

    def __init__(self, suite, account):
        self.suite, self.account = suite, account
        self.known = {}

    def look(self):
        """subject -> mailbox of all messages; fails when one is in both or a UID came twice."""
        found = {}
        c = self.suite.imap(self.account)
        for box in ("INBOX", "Archive"):
            c.ok("SELECT " + box)
            if c.ok("SEARCH ALL") == [b"* SEARCH"]:
                continue
            for line in c.ok("UID FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]"):
                if b"Subject: " not in line:
                    continue  # news from another client
                subject, uid = re.search(rb"Subject: (m\d+)", line).group(1), int(re.search(rb"UID (\d+)", line).group(1))
                assert self.known.setdefault((box, uid), subject) == subject, "a UID came twice"
                assert subject not in found, "a message is in two mailboxes"
                found[subject] = box
        c.close()
        return found


def calls_of(tracer):
    """(name, how often) of what was traced."""
    names = [m.group(1) for line in tracer.calls for m in [re.match(r"(?:\d+ +)?(\w+)\(", line)] if m]
    return [(name, names.count(name)) for name in dict.fromkeys(names)]


@needs_strace
@pytest.mark.parametrize("command", ["MOVE 1:* %s", "UID MOVE 1:* %s", "COPY 1:* %s", "STORE 1:* +FLAGS (\\Deleted)", "EXPUNGE"])
def test_58_killed_within_a_command(suite, account, command):
    """At each system call of it: all of it was done, or nothing."""
    c = suite.imap(account)
    for n in range(5):
        c.append("INBOX", "Subject: m%d\r\n\r\nx\r\n" % n)
    c.close()
    boxes = Boxes(suite, account)
    copies = "COPY" in command
    everything = set(boxes.look())

    def run(inject=None):
        """One command, in a session of its own; the source is wherever the messages are."""
        place = boxes.look()
        source = "INBOX" if copies or not place or "INBOX" in place.values() else "Archive"
        until(lambda: worker_of(suite, "imap-session", account) is None)
        c = suite.imap(account)
        c.ok("SELECT " + source)
        if command == "EXPUNGE":
            c.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")
        with Strace(worker_of(suite, "imap-session", account), inject, trace=None if inject else "all") as tracer:
            try:
                c.run(command % ("Archive" if source == "INBOX" else "INBOX") if "%" in command else command)
            except (EOFError, OSError):
                pass
        c.close()
        return tracer

    def set_back():
        c = suite.imap(account)
        if command == "EXPUNGE":
            suite.mw("mailbox", "undo", account + "@example.com", "--since", "1h")
        elif copies:
            c.ok("SELECT Archive")
            c.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")
            c.ok("EXPUNGE")
        c.close()

    calls = [(name, k) for name, often in calls_of(run()) if name not in ("poll", "exit_group", "restart_syscall") for k in range(1, often + 1)]
    assert {"pwrite64", "fdatasync"} <= {name for name, _ in calls}
    set_back()
    for name, k in calls:
        run("%s:signal=KILL:when=%d" % (name, k))
        if copies:
            c = suite.imap(account)
            assert re.search(rb"MESSAGES (0|5)\)", c.ok("STATUS Archive (MESSAGES)")[0]), (name, k)
            if b"MESSAGES 5" in c.ok("STATUS Archive (MESSAGES)")[0]:
                set_back()
            c.close()
        found = boxes.look()
        assert set(found) in ((everything, set()) if command == "EXPUNGE" else (everything,)), (name, k)
        assert len(set(found.values())) <= 1, (name, k)
        if not found:
            set_back()
    assert sound(suite, account)


def test_58_two_clients_and_kills(suite, account):
    """MOVE back and forth, flags, EXPUNGE of nothing, while session processes die: every message is in exactly one mailbox, no UID comes twice."""
    c = suite.imap(account)
    for n in range(20):
        c.append("INBOX", "Subject: m%d\r\n\r\nx\r\n" % n)
    boxes = Boxes(suite, account)
    everything = set(boxes.look())
    stop = threading.Event()

    def mover(source, target):
        while not stop.is_set():
            try:
                b = suite.imap(account)
                b.ok("SELECT " + source)
                for _ in range(5):
                    b.run("MOVE 1:* " + target)
                    b.run("STORE 1:* +FLAGS (\\Seen)")
                    b.run("EXPUNGE")
            except (OSError, EOFError, AssertionError):
                pass

    threads = [threading.Thread(target=mover, args=pair) for pair in (("INBOX", "Archive"), ("Archive", "INBOX"))]
    for t in threads:
        t.start()
    spawner = suite.daemons()["imap-session"]
    for _ in range(15):
        time.sleep(0.1)
        for pid in children(spawner)[:2]:
            try:
                os.kill(pid, 9)
            except OSError:
                pass
        try:
            boxes.look()
        except (OSError, EOFError, AssertionError) as e:
            assert "a UID came twice" not in str(e)  # in two mailboxes it may be seen, moved from one look to the next
    stop.set()
    for t in threads:
        t.join(30)
    assert set(boxes.look()) == everything
    assert sound(suite, account)


# ---- 60: APPEND ----


def test_60_append_of_two_gigabytes(imap):
    imap.send("a APPEND INBOX {2147483648}\r\n")
    assert imap.line().startswith(b"a NO [TOOBIG]")
    imap.ok("NOOP")


def message_files(suite, account):
    return sum(len(files) for _, _, files in os.walk(os.path.join(suite.account_dir(account), "mail")))


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("sent", [0, 1, 100, 65536, 500000, 999999])
@pytest.mark.parametrize("sync", [b"", b"+"])
def test_60_client_lost_in_a_literal(suite, account, imap, sent, reset, sync):
    imap.send(b"a APPEND INBOX {1000000%s}\r\n" % sync)
    if not sync:
        assert imap.line().startswith(b"+")
    imap.send((b"Subject: x\r\n\r\n" + b"y" * 1000000)[:sent])
    if reset:
        imap.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    imap.close()
    until(lambda: worker_of(suite, "imap-session", account) is None)
    assert message_files(suite, account) == 1
    assert b"MESSAGES 1)" in suite.imap(account).ok("STATUS INBOX (MESSAGES)")[0]
    assert sound(suite, account)


@pytest.mark.parametrize("literal", ["{2147483648+}", "{52428801+}", "~{2147483648}"])
def test_60_too_large_and_on_its_way(suite, account, imap, literal):
    swallowed(imap, "a APPEND INBOX %s\r\nSubject: x\r\n" % literal + "y" * 1000000)
    assert imap.line().startswith(b"a NO [TOOBIG]") or literal.startswith("~")
    assert message_files(suite, account) == 1


def test_60_append_over_quota(suite):
    suite.mw("account", "add", "full@example.com", "--password-stdin", "--quota", "10K", input=PASSWORD + "\n")
    c = suite.imap("full")
    text = b"Subject: x\r\n\r\n" + b"y" * 20000 + b"\r\n"
    c.send(b"a APPEND INBOX {%d+}\r\n" % len(text) + text + b"\r\n")
    assert c.end(b"a")[1].startswith(b"NO [OVERQUOTA]")
    assert b"MESSAGES 0" in c.ok("STATUS INBOX (MESSAGES)")[0]
    assert "no faults" in str(suite.mw("store", "check", "full@example.com"))


# ---- 48: passwords that are none; SCRAM's iterations ----


def test_48_a_password_of_a_megabyte(suite, patient):
    c = suite.imap(login=False)
    swallowed(c, b"a LOGIN alice@example.com {1048576+}\r\n" + b"p" * 1048576 + b"\r\n")
    line = c.line()
    assert line.startswith((b"a NO", b"a BAD", b"* BYE")), line
    suite.imap("alice").ok("NOOP")


@pytest.mark.parametrize("password", [b"\xff\xfe\xc0\x80", b"\xed\xa0\x80", b"p" * 1024, b"%n%s%n"], ids=["no UTF-8", "a surrogate", "1 kB", "format"])
def test_48_a_password_of_odd_octets(suite, patient, password):
    """Wrong, like any other; and right where it is the account's."""
    c = suite.imap(login=False)
    c.send(b"a LOGIN alice@example.com {%d+}\r\n" % len(password) + password + b"\r\n")
    assert c.line().startswith(b"a NO [AUTHENTICATIONFAILED]")
    c.ok('LOGIN alice@example.com "%s"' % PASSWORD)


@pytest.mark.parametrize("count", ["1", "2147483648", "99999999999999999999"])
def test_48_the_server_says_how_often_scram_iterates(suite, patient, count):
    """What a client says of it, in the first message or in the last one, changes nothing, and no proof made with it is right."""
    c = suite.imap(login=False)
    bare = "n=alice@example.com,r=clientnonce,i=" + count
    c.send("a AUTHENTICATE SCRAM-SHA-256 %s\r\n" % base64.b64encode(("n,," + bare).encode()).decode())
    first = base64.b64decode(c.line()[2:]).decode()
    nonce, salt, said = re.fullmatch(r"r=([^,]+),s=([^,]+),i=(\d+)", first).groups()
    assert said == "32768"
    final = "c=biws,r=%s,i=%s" % (nonce, count)
    key = hmac.digest(hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), base64.b64decode(salt), 1), b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(key).digest(), ",".join([bare, first, final]).encode(), "sha256")
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature))).decode()
    c.send(base64.b64encode((final + ",p=" + proof).encode()) + b"\r\n")
    assert c.line().startswith(b"a NO [AUTHENTICATIONFAILED]")
    suite.mw("auth", "failures", "clear")


# ---- 62: no login in clear ----


def test_62_login_in_clear_is_refused(fresh):
    suite = fresh()
    suite.add("alice")
    with_conf(suite, lambda text: text.replace("plain-login-from", "#"))
    suite.mw("reload")
    c = suite.imap(login=False)
    assert c.greeting.startswith(b"* OK ") and b"LOGINDISABLED" in c.greeting and b"AUTH=" not in c.greeting
    for command in ("LOGIN a@example.com b", 'LOGIN alice@example.com "%s"' % PASSWORD, "AUTHENTICATE PLAIN AGEAYg==", "AUTHENTICATE PLAIN", "authenticate plain " + plain(b"alice@example.com", PASSWORD.encode()).decode()):
        assert c.no(command).startswith(b"NO [PRIVACYREQUIRED]"), command
    c.no("SELECT INBOX", b"BAD")
    c.ok("STARTTLS")
    c.start_tls()
    assert b"AUTH=PLAIN" in c.ok("CAPABILITY")[0]
    c.ok('LOGIN alice@example.com "%s"' % PASSWORD)
    suite.imap("alice", tls=True).ok("NOOP")
    assert PASSWORD not in suite.log() and "auth_failed" not in suite.log()  # nothing was even asked


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
