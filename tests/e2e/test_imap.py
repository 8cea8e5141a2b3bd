"""The IMAP session against RFC 3501 and the extensions it announces."""
import re
import select
import time

import pytest

from mailwain import PASSWORD, until

PLAIN = (
    "From: Ann Example <ann@remote.test>\nTo: alice@example.com\nSubject: Greetings\n"
    "Date: Mon, 2 Mar 2026 10:11:12 +0100\nMessage-ID: <1@remote.test>\n\nHello world\nsecond line\n"
)
MULTI = (
    "From: ann@remote.test\nTo: alice@example.com, \"Smith, J.\" <j@remote.test>\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= =?iso-8859-1?Q?_aus_K=F6ln?=\n"
    "Date: Tue, 3 Mar 2026 00:11:12 +0100\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"b1\"\n\npreamble\n"
    "--b1\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n"
    "w4RwZmVsIHVuZCBCaXJuZW4K\n"
    "--b1\nContent-Type: text/html; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\n<p>Stra=DFe und soft=\nbreak</p>\n"
    "--b1\nContent-Type: message/rfc822\n\nSubject: inner\nFrom: x@y.test\nContent-Type: multipart/alternative; boundary=b2\n\n"
    "--b2\n\npart one\n--b2\nContent-Type: text/html\n\n<b>part two</b>\n--b2--\n"
    "--b1--\n"
).replace("\n", "\r\n")


def crlf(text):
    return text.replace("\n", "\r\n")


@pytest.fixture
def imap(suite, account):
    c = suite.imap(account)
    yield c
    c.close()


@pytest.fixture
def filled(imap):
    for text in (crlf(PLAIN), MULTI, crlf(PLAIN.replace("Greetings", "Third"))):
        imap.append("INBOX", text)
    imap.ok("SELECT INBOX")
    return imap


def test_login_states(suite):
    c = suite.imap(login=False)
    assert b"IMAP4rev1" in c.greeting and b"LOGINDISABLED" not in c.greeting
    c.no("SELECT INBOX", b"BAD")
    c.no("LOGIN alice@example.com wrong")
    untagged, tagged = c.run('LOGIN alice@example.com "%s"' % PASSWORD)
    assert tagged.startswith(b"OK [CAPABILITY ") and b"APPENDLIMIT=" in tagged
    c.no("LOGIN a b", b"BAD")
    assert c.ok("LOGOUT")[0].startswith(b"* BYE")
    assert c.at_end()


def test_starttls(suite):
    c = suite.imap(login=False)
    c.ok("STARTTLS")
    c.start_tls()
    c.ok('LOGIN alice@example.com "%s"' % PASSWORD)
    c.ok("LOGOUT")


def test_authenticate_plain(suite):
    import base64

    c = suite.imap(tls=True, login=False)
    token = base64.b64encode(b"\0alice@example.com\0" + PASSWORD.encode()).decode()
    c.ok("AUTHENTICATE PLAIN " + token)
    c.ok("LOGOUT")


def test_select(filled):
    out = b"\n".join(filled.ok("EXAMINE INBOX"))
    assert b"* 3 EXISTS" in out and b"[UIDVALIDITY " in out and b"[UIDNEXT 4]" in out and b"[UNSEEN 1]" in out
    assert b"\\Seen" in out
    filled.no("STORE 1 FLAGS (\\Seen)", b"NO [READ-ONLY]")
    filled.no("SELECT nothere", b"NO [NONEXISTENT]")
    filled.no("FETCH 1 FLAGS", b"BAD")  # a SELECT that fails leaves nothing selected
    filled.ok("SELECT inbox")
    filled.ok("CLOSE")
    filled.ok("SELECT INBOX")
    filled.ok("UNSELECT")


def test_fetch_items(filled):
    line = filled.ok("FETCH 1 (FLAGS INTERNALDATE RFC822.SIZE ENVELOPE UID)")[0]
    assert line.startswith(b"* 1 FETCH (FLAGS (") and b"RFC822.SIZE %d" % len(crlf(PLAIN)) in line
    assert b'ENVELOPE ("Mon, 2 Mar 2026 10:11:12 +0100" "Greetings" (("Ann Example" NIL "ann" "remote.test"))' in line
    assert b"UID 1" in line
    assert filled.ok("FETCH 1 BODY")[0].startswith(b'* 1 FETCH (BODY ("text" "plain" ')
    structure = filled.ok("FETCH 2 BODYSTRUCTURE")[0].lower()
    assert structure.count(b"message") == 1 and b'"base64"' in structure and b'"alternative"' in structure
    for macro in ("ALL", "FAST", "FULL"):
        assert len(filled.ok("FETCH 1:* " + macro)) == 3
    filled.no("FETCH 1 (FLAGS", b"BAD")
    filled.no("FETCH 4 FLAGS", b"BAD")
    assert filled.ok("UID FETCH 100 FLAGS") == []


def literal(line):
    return line.split(b"\r\n", 1)[1]


@pytest.mark.parametrize(
    "section,text",
    [
        ("1", "w4RwZmVsIHVuZCBCaXJuZW4K"),
        ("2", "<p>Stra=DFe und soft=\r\nbreak</p>"),
        ("3.HEADER", "Subject: inner\r\nFrom: x@y.test\r\nContent-Type: multipart/alternative; boundary=b2\r\n\r\n"),
        ("3.1", "part one"),
        ("3.2", "<b>part two</b>"),
        ("3.2.MIME", "Content-Type: text/html\r\n\r\n"),
        ("2.MIME", "Content-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"),
        ("HEADER.FIELDS (MIME-Version)", "MIME-Version: 1.0\r\n\r\n"),
        ("3.HEADER.FIELDS (FROM)", "From: x@y.test\r\n\r\n"),
        ("3.HEADER.FIELDS.NOT (FROM CONTENT-TYPE)", "Subject: inner\r\n\r\n"),
    ],
)
def test_fetch_section(filled, section, text):
    line = filled.ok("FETCH 2 BODY.PEEK[%s]" % section)[0]
    assert b"{%d}\r\n%s" % (len(text), text.encode()) in line, line


def test_fetch_whole(filled):
    text = MULTI.encode()
    assert text in filled.ok("FETCH 2 BODY.PEEK[]")[0]
    head, body = text.split(b"\r\n\r\n", 1)
    assert b"RFC822.HEADER {%d}\r\n%s\r\n\r\n" % (len(head) + 4, head) in filled.ok("FETCH 2 RFC822.HEADER")[0]
    assert b"BODY[TEXT] {%d}\r\n%s" % (len(body), body) in filled.ok("FETCH 2 BODY.PEEK[TEXT]")[0]
    assert b"BODY[]<10> {5}\r\n%s" % text[10:15] in filled.ok("FETCH 2 BODY.PEEK[]<10.5>")[0]
    assert b"BODY[]<99999> {0}\r\n" in filled.ok("FETCH 2 BODY.PEEK[]<99999.5>")[0]
    assert b"BODY[9] NIL" in filled.ok("FETCH 2 BODY.PEEK[9]")[0]


def test_fetch_sets_seen(filled):
    assert b"\\Seen" in filled.ok("FETCH 1 BODY[TEXT]")[0]
    assert b"\\Seen" in filled.ok("FETCH 1 FLAGS")[0]
    filled.ok("FETCH 2 BODY.PEEK[TEXT]")
    assert b"\\Seen" not in filled.ok("FETCH 2 FLAGS")[0]


@pytest.mark.parametrize(
    "keys,numbers",
    [
        ("ALL", "1 2 3"),
        ("SUBJECT greetings", "1"),
        ("SUBJECT {6}", "2"),
        ("FROM ann", "1 2 3"),
        ("TO smith", "2"),
        ("BODY apfel", ""),
        ("BODY und", "2"),
        ("TEXT second", "1 3"),
        ("TEXT softbreak", "2"),
        ("BODY third", ""),
        ("TEXT third", "3"),
        ("HEADER Message-ID remote", "1 3"),
        ("HEADER X-None \"\"", ""),
        ("NOT SUBJECT third", "1 2"),
        ("OR SUBJECT third SUBJECT greet", "1 3"),
        ("(SUBJECT greet FROM ann)", "1"),
        ("SENTON 3-Mar-2026", "2"),
        ("SENTBEFORE 3-Mar-2026", "1 3"),
        ("SENTSINCE 3-Mar-2026", "2"),
        ("LARGER 500", "2"),
        ("SMALLER 500", "1 3"),
        ("2:*", "2 3"),
        ("UID 1,3", "1 3"),
        ("UNSEEN", "1 2 3"),
        ("SEEN", ""),
        ("NEW", "1 2 3"),
        ("OLD", ""),
        ("KEYWORD work", ""),
        ("UNKEYWORD work", "1 2 3"),
        ("SINCE 1-Jan-2020 BEFORE 1-Jan-2100", "1 2 3"),
    ],
)
def test_search(filled, keys, numbers):
    if "{6}" in keys:
        command = b"SEARCH CHARSET UTF-8 SUBJECT {7+}\r\n" + "GRÜSSE".encode()
    else:
        command = "SEARCH " + keys
    assert filled.ok(command)[0].decode() == ("* SEARCH " + numbers).strip()


def test_search_decoded(filled):
    assert filled.ok(b"SEARCH CHARSET UTF-8 BODY {6+}\r\n" + "äpfel".encode())[0] == b"* SEARCH 2"
    assert filled.ok(b"SEARCH CHARSET UTF-8 BODY {7+}\r\n" + "strasse".encode())[0] == b"* SEARCH 2"
    assert filled.ok(b"SEARCH CHARSET UTF-8 SUBJECT {5+}\r\n" + "KÖLN".encode())[0] == b"* SEARCH 2"
    filled.no("SEARCH CHARSET klingon ALL", b"NO [BADCHARSET")


def test_esearch(filled):
    assert filled.ok("SEARCH RETURN (MIN MAX COUNT ALL) ALL")[0].endswith(b" MIN 1 MAX 3 COUNT 3 ALL 1:3")
    assert filled.ok("UID SEARCH RETURN () SUBJECT third")[0].endswith(b" UID ALL 3")
    assert filled.ok("SEARCH RETURN (MIN COUNT) SUBJECT none")[0].endswith(b" COUNT 0")


def test_store_flags(filled):
    assert b"FLAGS (\\Flagged \\Recent work)" in filled.ok("STORE 1 +FLAGS (\\Flagged work)")[0]
    assert filled.ok("STORE 2 +FLAGS.SILENT (\\Seen)") == []
    assert b"\\Seen" in filled.ok("FETCH 2 FLAGS")[0]
    assert b"\\Seen" not in filled.ok("UID STORE 2 -FLAGS \\Seen")[0]
    assert b"work" not in filled.ok("STORE 1 FLAGS (\\Answered)")[0]
    assert filled.ok("SEARCH ANSWERED")[0] == b"* SEARCH 1"
    filled.no("STORE 1 +FLAGS (\\Recent)", b"BAD")


def test_expunge_numbers(filled):
    filled.ok("STORE 1,3 +FLAGS (\\Deleted)")
    assert filled.ok("EXPUNGE") == [b"* 1 EXPUNGE", b"* 2 EXPUNGE"]
    assert b"UID 2" in filled.ok("FETCH 1 UID")[0]


def test_uid_expunge(filled):
    filled.ok("STORE 1:3 +FLAGS.SILENT (\\Deleted)")
    assert filled.ok("UID EXPUNGE 2") == [b"* 2 EXPUNGE"]
    assert filled.ok("SEARCH DELETED") == [b"* SEARCH 1 2"]


def test_copy_and_move(filled):
    tagged = filled.run("COPY 1:2 Archive")[1]
    assert re.match(rb"OK \[COPYUID \d+ 1:2 1:2\]", tagged)
    filled.no("COPY 1 nowhere", b"NO [TRYCREATE]")
    untagged, tagged = filled.run("UID MOVE 3 Archive")
    assert re.match(rb"\* OK \[COPYUID \d+ 3 3\]", untagged[0]) and untagged[1] == b"* 3 EXPUNGE"
    status = filled.ok("STATUS Archive (MESSAGES UIDNEXT UNSEEN RECENT UIDVALIDITY)")[0]
    assert status.startswith(b'* STATUS "Archive" (MESSAGES 3 RECENT 3 UIDNEXT 4 UIDVALIDITY ') and status.endswith(b"UNSEEN 3)")


def test_append_uid_and_flags(imap):
    tagged = imap.append("Drafts", "Subject: x\r\n\r\nbody\r\n", "\\Draft \\Seen draft1")
    assert re.match(rb"OK \[APPENDUID \d+ 1\]", tagged)
    imap.ok("SELECT Drafts")
    assert b"FLAGS (\\Seen \\Draft \\Recent draft1)" in imap.ok("FETCH 1 FLAGS")[0]
    imap.send('a APPEND INBOX "01-Jan-2020 10:00:00 +0100" {3+}\r\nx\r\n\r\n')
    imap.end(b"a")
    imap.ok("SELECT INBOX")
    assert b'INTERNALDATE "01-Jan-2020 09:00:00 +0000"' in imap.ok("FETCH 1 INTERNALDATE")[0]
    imap.send("b APPEND nowhere {3}\r\n")
    assert imap.end(b"b")[1].startswith(b"NO [TRYCREATE]")


def test_append_synchronising(imap):
    imap.send("a APPEND INBOX {12}\r\n")
    assert imap.line().startswith(b"+ ")
    imap.send("A: b\r\n\r\nok\r\n\r\n")
    assert imap.end(b"a")[1].startswith(b"OK")


def names(lines):
    return [re.search(rb'"/" "?([^"]*)"?$', line).group(1).decode() for line in lines]


def test_mailboxes(imap):
    listed = imap.ok('LIST "" "*"')
    assert names(listed) == ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"]
    assert any(b"\\Sent" in line for line in listed)
    assert imap.ok('LIST "" ""') == [b'* LIST (\\Noselect) "/" ""']
    imap.ok("CREATE work/2026/june")
    assert names(imap.ok('LIST "" work*')) == ["work", "work/2026", "work/2026/june"]
    assert names(imap.ok('LIST "" work/%')) == ["work/2026"]
    assert b"\\HasChildren" in imap.ok('LIST "" work')[0]
    imap.no("CREATE work/2026", b"NO [ALREADYEXISTS]")
    imap.ok("RENAME work job")
    assert names(imap.ok('LIST "job" *')) == ["job", "job/2026", "job/2026/june"]
    imap.ok("DELETE job/2026/june")
    imap.no("DELETE job/2026/june", b"NO [NONEXISTENT]")
    imap.no("DELETE INBOX")
    imap.ok("SUBSCRIBE job/2026")
    assert names(imap.ok('LSUB "" job/%')) == ["job/2026"]
    assert imap.ok('LSUB "" job%')[0].startswith(b"* LSUB (\\Noselect)")
    imap.ok("UNSUBSCRIBE job/2026")
    assert imap.ok('LSUB "" job*') == []
    assert imap.ok("NAMESPACE") == [b'* NAMESPACE (("" "/")) NIL NIL']


def test_mailbox_utf7(imap):
    imap.ok('CREATE "Entw&APw-rfe"')
    assert names(imap.ok('LIST "" Entw*')) == ["Entw&APw-rfe"]
    for bad in ("&AAA-", "x&", "&APw", "&AGE-"):
        imap.no('CREATE "%s"' % bad, b"BAD")


@pytest.mark.parametrize("name", ["../../etc", "/", "a//b", "x" * 2000, "/".join("a" * 100)])
def test_mailbox_bad_names(imap, name):
    imap.no('CREATE "%s"' % name, b"NO [CANNOT]")


def test_rename_inbox(filled):
    filled.ok("UNSELECT")
    filled.ok("RENAME INBOX old")
    assert b"MESSAGES 3" in filled.ok("STATUS old (MESSAGES)")[0]
    assert b"MESSAGES 0" in filled.ok("STATUS INBOX (MESSAGES)")[0]


def test_changes_of_others(suite, account, filled):
    other = suite.imap(account)
    other.ok("SELECT INBOX")
    other.ok("STORE 1 +FLAGS (\\Flagged)")
    assert b"* 1 FETCH (FLAGS (\\Flagged" in filled.ok("NOOP")[0]
    other.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
    other.ok("EXPUNGE")
    other.append("INBOX", "Subject: new\r\n\r\n\r\n")
    # Sequence numbers must not change under a FETCH (section 7.4.1).
    out = filled.ok("FETCH 1 UID")
    assert b"* 4 EXISTS" in out and not any(b"EXPUNGE" in line for line in out)
    assert filled.ok("NOOP") == [b"* 2 EXPUNGE"]
    assert b"UID 4" in filled.ok("FETCH 3 UID")[0]
    other.ok("LOGOUT")


@pytest.mark.alone
def test_idle_is_told_at_once(suite, account, filled):
    tag = filled.begin("IDLE")
    assert filled.line().startswith(b"+ ")
    start = time.monotonic()
    suite.deliver(crlf(PLAIN), to=[account])
    assert filled.line() == b"* 4 EXISTS"
    assert time.monotonic() - start < 9  # by the watch: who looks by himself does it each ten seconds
    filled.line()  # RECENT
    other = suite.imap(account)
    other.ok("SELECT INBOX")
    other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    assert b"* 1 FETCH (FLAGS" in filled.line()
    other.ok("EXPUNGE")
    assert filled.line() == b"* 1 EXPUNGE"
    filled.send("DONE\r\n")
    assert filled.end(tag)[1].startswith(b"OK")


def test_idle_many_in_a_row(suite, account, filled):
    tag = filled.begin("IDLE")
    filled.line()
    for _ in range(20):
        suite.deliver(crlf(PLAIN), to=[account])
    until(lambda: filled.line() == b"* 23 EXISTS")
    filled.send("DONE\r\n")
    filled.end(tag)


def test_another_changes_very_much(suite, account, imap):
    """What is to be told is more than a session gathers of one answer."""
    imap.append("INBOX", crlf(PLAIN))
    imap.ok("SELECT INBOX")
    for _ in range(10):
        imap.ok("COPY 1:* INBOX")
    other = suite.imap(account)
    other.ok("SELECT INBOX")
    words = [("%d" % n).ljust(128, "x") for n in range(64)]
    for n in range(0, 64, 16):
        other.ok("STORE 1:* +FLAGS.SILENT (%s)" % " ".join(words[n : n + 16]))
    other.ok("STORE 2:9 +FLAGS.SILENT (\\Deleted)")
    other.ok("EXPUNGE")
    told = imap.ok("STORE 1 +FLAGS.SILENT (\\Seen)")  # it finds them within a transaction of its own
    assert len([line for line in told if b" FETCH (FLAGS " in line]) == 1024 - 8 + 1
    assert b"\\Seen" in told[-1]  # of the message that both have changed what it has come to
    assert imap.ok("NOOP") == [b"* 2 EXPUNGE"] * 8
    other.ok("STORE 1:* FLAGS.SILENT ()")
    assert len(imap.ok("NOOP")) == 1024 - 8


def test_deleting_the_selected_mailbox(suite, account, imap):
    imap.ok("CREATE gone")
    imap.ok("SELECT gone")
    other = suite.imap(account)
    other.ok("DELETE gone")
    untagged, _ = imap.run("NOOP")
    assert any(line.startswith(b"* BYE") for line in untagged)


def selected_with_new_mail(imap):
    """A message has come while it is selected: that it is no longer recent is still to be written."""
    imap.ok("CREATE gone")
    imap.ok("SELECT gone")
    imap.append("gone", crlf(PLAIN))
    assert imap.ok("NOOP") == []


def test_deleting_ones_own_selected_mailbox(imap):
    selected_with_new_mail(imap)
    imap.ok("DELETE gone")
    imap.ok("NOOP")
    imap.no("SELECT gone", b"NO [NONEXISTENT]")
    imap.ok("SELECT INBOX")


def test_deleting_a_selected_mailbox_with_new_mail(suite, account, imap):
    selected_with_new_mail(imap)
    suite.imap(account).ok("DELETE gone")
    assert imap.run("NOOP")[0] == [b"* BYE The selected mailbox was deleted"]


def test_deleting_a_mailbox_that_is_being_fetched(suite, account, imap):
    imap.ok("CREATE gone")
    large = 12 * 1024 * 1024
    imap.append("gone", "Subject: x\r\n\r\n" + ("y" * 78 + "\r\n") * (large // 80), "work")
    for _ in range(2):
        imap.append("gone", crlf(PLAIN), "work play")
    imap.ok("SELECT gone")
    tag = imap.begin("FETCH 1:3 (FLAGS BODY.PEEK[])")
    select.select([imap.sock], [], [], 10)  # it is at the first one, and waits for its client
    suite.imap(account).ok("DELETE gone")
    untagged, tagged = imap.end(tag)
    assert [line[:16] for line in untagged] == [b"* 1 FETCH (FLAGS", b"* BYE The select"]
    assert tagged.startswith(b"NO [NONEXISTENT]")


def test_pipelined(filled):
    filled.send(b"a FETCH 1 UID\r\nb SEARCH ALL\r\nc NOOP\r\n")
    assert filled.end(b"a")[1].startswith(b"OK")
    assert filled.end(b"b")[0] == [b"* SEARCH 1 2 3"]
    assert filled.end(b"c")[1].startswith(b"OK")


def test_login_and_commands_in_one_segment(suite):
    c = suite.imap(login=False)
    c.send('a LOGIN alice@example.com "%s"\r\nb EXAMINE INBOX\r\nc LOGOUT\r\n' % PASSWORD)
    assert c.end(b"a")[1].startswith(b"OK")
    assert c.end(b"b")[1].startswith(b"OK [READ-ONLY]")
    assert c.end(b"c")[1].startswith(b"OK")
