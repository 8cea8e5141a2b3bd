"""sendmail(1): as its callers call it, when the suite is up, down and slow; and what others may put into the drop."""
import fcntl
import glob
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time

import pytest

from mailwain import BUILD, Instance, until
from test_taken import imap_logs_in
from tools import lacks, unpacked

AS_ROOT = os.geteuid() == 0
SENDMAIL = os.path.join(BUILD, "sbin", "sendmail")
needs_root = pytest.mark.skipif(not AS_ROOT, reason="needs root to be another user")
NOBODY = pwd.getpwnam("nobody").pw_uid
OK, USAGE, DATAERR, UNAVAILABLE, TEMPFAIL, NOPERM = 0, 64, 65, 69, 75, 77


@pytest.fixture(scope="module")
def local():
    """An instance with mailboxes for the users that the tests run as."""
    with Instance().running("alice", "carol", "root", "nobody") as i:
        yield i


def environment(i, **more):
    return {"MAILWAIN_ROOT": i.root, "PATH": os.path.dirname(SENDMAIL) + ":" + os.path.join(BUILD, "bin") + ":/usr/bin:/bin", **more}


def sendmail(i, *args, input="", as_nobody=False, program=SENDMAIL, env=None, timeout=60):
    """bytes in, the finished process out."""
    command = [program, *args]
    if as_nobody:
        command = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", *command]
    if isinstance(input, str):
        input = input.encode()
    return subprocess.run(command, input=input, capture_output=True, timeout=timeout, env=environment(i, **(env or {})))


def sent(i, *args, **kw):
    r = sendmail(i, *args, **kw)
    assert r.returncode == OK, (args, r.returncode, r.stdout, r.stderr)
    return r


def mails(i, user="alice"):
    c = i.imap(user)
    c.ok("EXAMINE INBOX")
    if not c.ok("SEARCH ALL")[0].strip().split()[2:]:
        return []
    found = [re.sub(rb"^\* \d+ FETCH .*?\}\r\n", b"", r, flags=re.S)[:-1] for r in c.ok("FETCH 1:* BODY.PEEK[]") if b"FETCH" in r]
    c.close()
    return found


def arrives(i, what, user="alice"):
    """The one message that has these bytes in it."""
    what = what.encode() if isinstance(what, str) else what
    found = until(lambda: [m for m in mails(i, user) if what in m], what="%r came not" % what)
    assert len(found) == 1, found
    return found[0]


def field(message, name):
    found = re.findall(rb"^" + name.encode() + rb":\s*((?:[^\r]|\r\n[ \t])*)\r\n", message.split(b"\r\n\r\n")[0] + b"\r\n", flags=re.M | re.I)
    assert len(found) <= 1, (name, found)
    return found[0].decode() if found else None


def drop(i):
    return os.path.join(i.root, "data", "drop")


def dropped(i):
    return sorted(os.path.basename(p) for p in glob.glob(drop(i) + "/*"))


# ---- callers ----


def test_cron(local):
    sent(local, "-FCronDaemon", "-i", "-B8BITMIME", "-oem", "alice", input="From: root (Cron Daemon)\nTo: alice\nSubject: Cron <root@here> job\nContent-Type: text/plain; charset=UTF-8\n\nüber .\n.\nend\n")
    m = arrives(local, "Cron <root@here> job")
    assert m.endswith("über .\r\n.\r\nend\r\n".encode()) and field(m, "From") == "root@example.com (Cron Daemon)" and field(m, "To") == "alice@example.com"
    assert field(m, "Message-ID") and field(m, "Date")


def test_sender_and_from_of_who_calls(local):
    sent(local, "alice", input="Subject: who am I\n\nx\n", env={"NAME": 'Anna "the" Änderung'})
    m = arrives(local, "who am I")
    user = pwd.getpwuid(os.geteuid()).pw_name
    assert field(m, "Return-Path") == "<%s@example.com>" % user
    assert "=?UTF-8?B?" in field(m, "From") and field(m, "From").endswith(" <%s@example.com>" % user)


@needs_root
def test_the_kernel_says_who(local):
    sent(local, "alice", input="Subject: from nobody\n\nx\n", as_nobody=True)
    m = arrives(local, "from nobody")
    assert "from userid %d)" % NOBODY in field(m, "Received") and field(m, "Return-Path") == "<nobody@example.com>"
    until(lambda: re.search(r"pickup_queued .*uid=%d user=nobody" % NOBODY, local.log()))


def test_extracts_recipients(local):
    header = ('To: Friends: "Alice, A" <alice@\n example.com>;, (a comment) carol\nBcc: Hidden <hidden@remote.test>,\n\tother@remote.test\n'
              "Subject: =?UTF-8?Q?extract,_x@y.test?=\n")
    sent(local, "-t", "-i", "-f", "sender@example.com", "root", input=header + "\nTo: not-this@remote.test\n")
    m = arrives(local, "=?UTF-8?Q?extract")
    assert field(m, "Bcc") is None and b"hidden" not in m and field(m, "Return-Path") == "<sender@example.com>"
    for user in ("carol", "root"):  # of arguments too
        arrives(local, "=?UTF-8?Q?extract", user)
    row = [r for r in local.rows("queue", "list") if r["sender"] == "sender@example.com"][0]
    shown = {r["recipient"] for r in local.rows("queue", "show", row["id"]) if "recipient" in r}
    assert {"hidden@remote.test", "other@remote.test"} <= shown and len(shown) == 5
    local.mw("queue", "delete", row["id"])


def test_resent(local):
    sent(local, "-t", input="Resent-To: alice\nResent-Bcc: carol\nReceived: by x\nResent-To: old@remote.test\nTo: elsewhere@remote.test\nSubject: resent\n\nx\n")
    m = arrives(local, "Subject: resent")
    assert b"Resent-Bcc" not in m
    arrives(local, "Subject: resent", "carol")
    local.wait_empty()


def test_php(local):
    if shutil.which("php") is None:
        lacks("php")
    code = 'exit(mail("alice@example.com", "by php", "one\\ntwo", "From: web@example.com\\r\\nBcc: carol@example.com", "-fbounces@example.com") ? 0 : 1);'
    r = subprocess.run(["php", "-d", "sendmail_path=%s -t -i" % SENDMAIL, "-r", code], env=environment(local), capture_output=True, text=True, timeout=30)
    assert r.returncode == 0, r.stdout + r.stderr
    m = arrives(local, "Subject: by php")
    assert m.endswith(b"one\r\ntwo\r\n") and field(m, "Return-Path") == "<bounces@example.com>" and field(m, "Bcc") is None
    assert b"Bcc" not in arrives(local, "Subject: by php", "carol")


def test_as_symfony_does(local):
    """Its transport speaks SMTP with `sendmail -bs`: several messages, each reply awaited; a RSET in between."""
    p = subprocess.Popen([SENDMAIL, "-bs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(local))

    def say(text, code):
        if text is not None:
            p.stdin.write(text.encode() + b"\r\n")
            p.stdin.flush()
        while True:
            line = p.stdout.readline()
            assert line.startswith(b"%d" % code), (text, line)
            if line[3:4] == b" ":
                return line

    say(None, 220)
    say("EHLO [127.0.0.1]", 250)
    for n in (1, 2):
        say("MAIL FROM:<app@example.com>", 250)
        say("RCPT TO:<alice@example.com>", 250)
        say("DATA", 354)
        assert b"queued as" in say("Subject: by -bs %d\r\nBcc: x@remote.test\r\n\r\n..dots\r\n." % n, 250)
        say("RSET", 250)
    say("MAIL FROM:<app@example.com>", 250)
    say("RCPT TO:<not an address>", 501)
    say("QUIT", 221)
    p.stdin.close()
    assert p.wait(10) == OK
    for n in (1, 2):
        m = arrives(local, "Subject: by -bs %d" % n)
        assert m.endswith(b"\r\n.dots\r\n") and b"Bcc" not in m


def test_bs_in_one_piece(local):
    text = "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<alice@example.com>\r\nDATA\r\nSubject: piped -bs\r\n\r\nx\r\n.\r\nQUIT\r\n"
    assert sent(local, "-bs", input=text).stdout.rstrip().endswith(b"221 2.0.0 Bye")
    assert field(arrives(local, "piped -bs"), "Return-Path") == "<>"


def test_git_send_email(local, tmp_path):
    env = environment(local, HOME=str(tmp_path), GIT_AUTHOR_NAME="A", GIT_AUTHOR_EMAIL="a@example.com", GIT_COMMITTER_NAME="A", GIT_COMMITTER_EMAIL="a@example.com")

    def git(*args):
        return subprocess.run(["git", *args], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=30)

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "nothing")
    (tmp_path / "f").write_text(".\nx\n")
    git("add", "f")
    git("commit", "-q", "-m", "git by sendmail")
    r = git("send-email", "--smtp-server=" + SENDMAIL, "--envelope-sender=a@example.com", "--from=a@example.com", "--to=alice@example.com", "--confirm=never", "--suppress-cc=all", "HEAD^")
    if "is not a git command" in r.stderr:
        lacks("git send-email")
    assert r.returncode == 0, r.stdout + r.stderr
    assert field(arrives(local, "git by sendmail"), "Return-Path") == "<a@example.com>"


def test_s_nail(local, tmp_path):
    r = subprocess.run(["s-nail", "-n", "-S", "v15-compat", "-S", "mta=" + SENDMAIL, "-S", "sendwait", "-r", "carol@example.com", "-s", "s-nail by sendmail", "alice"],
                       input="x\n", env=environment(local, HOME=str(tmp_path)), capture_output=True, text=True, timeout=30)
    assert r.returncode == 0, r.stdout + r.stderr
    assert field(arrives(local, "s-nail by sendmail"), "Return-Path") == "<carol@example.com>"


def test_mutt(local, tmp_path):
    conf = tmp_path / "muttrc"
    conf.write_text('set sendmail="%s -oem -oi"\nset from="carol@example.com"\nset use_envelope_from=yes\nset dsn_notify="failure,delay"\nset dsn_return=hdrs\nset copy=no\n' % SENDMAIL)
    r = subprocess.run(["mutt", "-n", "-F", conf, "-s", "mutt by sendmail", "-b", "root@example.com", "--", "alice@example.com"], input="x\n",
                       env=environment(local, HOME=str(tmp_path), TERM="dumb"), capture_output=True, text=True, timeout=30)
    assert r.returncode == 0, r.stdout + r.stderr
    assert b"Bcc" not in arrives(local, "mutt by sendmail")
    arrives(local, "mutt by sendmail", "root")


def test_bsd_mailx(local, tmp_path):
    mailx, where = unpacked("bsd-mailx")
    (tmp_path / "mailrc").write_text("set sendmail=%s\n" % SENDMAIL)
    r = subprocess.run([mailx, "-n", "-r", "carol@example.com", "-s", "mailx by sendmail", "alice"], input="x\n.\ny\n",
                       env=environment(local, HOME=str(tmp_path), MAILRC=str(tmp_path / "mailrc"), **where), capture_output=True, text=True, timeout=30)
    assert r.returncode == 0, r.stdout + r.stderr
    assert field(arrives(local, "mailx by sendmail"), "Return-Path") == "<carol@example.com>"


def test_notifications_asked_for(local):
    """-N success -R hdrs -V: a program that wants to know."""
    sent(local, "-N", "success", "-R", "hdrs", "-V", "envelope-7", "-f", "carol", "alice", input="Subject: with notice\n\nsecret body\n")
    m = arrives(local, "Original-Envelope-Id: envelope-7", "carol")
    assert b"with notice" in m and b"secret body" not in m


def test_flags_that_mean_nothing_here(local):
    sent(local, "-m", "-G", "-U", "-n", "-odq", "-oeq", "-oQ/tmp/x", "-O", "DeliveryMode=b", "-Cx", "-h", "5", "-p", "ESMTP:x", "-X", "/dev/null", "-L", "tag", "-Z", "-bm", "-v", "--", "alice",
         input="Subject: flags\n\nx\n")
    arrives(local, "Subject: flags")


# ---- content ----


@pytest.mark.parametrize("name, flags, given, wanted", [
    ("lone dot", [], b"a\n.\nb\n", b"a\r\n"),
    ("dot kept", ["-i"], b"a\n.\nb\n", b"a\r\n.\r\nb\r\n"),
    ("dot kept oi", ["-oi"], b"a\n.\n", b"a\r\n.\r\n"),
    ("CR LF", [], b"a\r\nb\r\n", b"a\r\nb\r\n"),
    ("lone CR", [], b"a\rBcc: x\rb\n", b"a Bcc: x b\r\n"),
    ("NUL", [], b"a\0b\n", b"ab\r\n"),
    ("no last line end", [], b"a", b"a\r\n"),
])
def test_lines(local, name, flags, given, wanted):
    sent(local, *flags, "alice", input=b"Subject: lines, " + name.encode() + b"\n\n" + given)
    assert arrives(local, "Subject: lines, " + name + "\r\n").split(b"\r\n\r\n", 1)[1] == wanted


def test_header_that_is_none(local):
    sent(local, "alice", input="just text, no header\nSubject: x\n")
    m = arrives(local, "just text, no header")
    assert m.split(b"\r\n\r\n", 1)[1] == b"just text, no header\r\nSubject: x\r\n" and field(m, "Subject") is None and field(m, "From")
    sent(local, "-t", input="To: alice\nno field\nCc: x@remote.test\n")
    assert arrives(local, "no field").split(b"\r\n\r\n", 1)[1] == b"no field\r\nCc: x@remote.test\r\n"
    sent(local, "alice", input="From someone Thu Jan  1 00:00:00 1970\n>From other\nSubject: of an mbox\n\nFrom here on\n")
    assert b"someone" not in arrives(local, "of an mbox")


def test_large(local):
    body = b"".join(b"line %07d of a large message\n" % n for n in range(100000))
    sent(local, "alice", input=b"Subject: large\n\n" + body)
    assert arrives(local, "Subject: large").split(b"\r\n\r\n", 1)[1] == body.replace(b"\n", b"\r\n")


# ---- refusals ----


@pytest.mark.parametrize("args, input, status, words", [
    ([], "x\n", USAGE, "recipient addresses must be given"),
    (["-t"], "Subject: x\n\nx\n", USAGE, "no recipient addresses"),
    (["-t"], "To: undisclosed-recipients:;\n\nx\n", USAGE, "no recipient addresses"),
    (["alice@exa_mple..com"], "x\n", DATAERR, "recipient"),
    (["-f", "a@@b", "alice"], "x\n", DATAERR, "sender"),
    (["-N", "sometimes", "alice"], "x\n", USAGE, "-N takes"),
    (["-R", "all", "alice"], "x\n", USAGE, "-R takes"),
    (["-f"], "x\n", USAGE, "-f needs a value"),
    (["-bd"], "", USAGE, "mailwain start"),
    (["-bv", "alice"], "", USAGE, "not supported"),
    (["-bt"], "", USAGE, "not supported"),
    (["-t"], "To: %s\n\nx\n" % ", ".join("a%d@remote.test" % n for n in range(1001)), DATAERR, "more than 1000 recipients"),
    (["alice"], "".join("Received: by x\n" for _ in range(101)) + "\nx\n", DATAERR, "going in circles"),
])
def test_refused(local, args, input, status, words):
    r = sendmail(local, *args, input=input)
    assert (r.returncode, words in r.stderr.decode()) == (status, True), r.stderr


def test_too_large(fresh):
    i = fresh(conf_lines=["message-size 100K"])
    i.add("alice")
    r = sendmail(i, "alice", input="Subject: x\n\n" + "x\n" * 60000)
    assert r.returncode == UNAVAILABLE and b"larger than the 102400 octets" in r.stderr
    sent(i, "alice", input="Subject: x\n\n" + "x\n" * 20000)


def test_unknown_local_user_gets_the_message_back(local):
    sent(local, "-f", "carol", "nobody-of-this-name", input="Subject: to nobody known\n\nx\n")
    assert b"550 5.1.1" in arrives(local, "Subject: to nobody known", "carol")


def test_local_domain(fresh):
    i = fresh(conf_lines=["local-domain host.example.com", "domain host.example.com { }"])
    i.add("alice@host.example.com")
    sent(i, "-f", "root", "alice", input="Subject: other domain\n\nx\n")
    assert field(arrives(i, "other domain", "alice@host.example.com"), "Return-Path") == "<root@host.example.com>"


# ---- other modes ----


def test_mailq(local):
    local.wait_empty()
    assert sent(local, program=os.path.join(BUILD, "bin", "mailq")).stdout == b"Mail queue is empty\n"
    sent(local, "-f", "carol", "far@remote.test", input="Subject: waits\n\nx\n")
    row = until(lambda: [r for r in local.rows("queue", "list") if r["status"] == "deferred"])[0]
    for command in (dict(program=os.path.join(BUILD, "bin", "mailq")), dict()):
        out = sent(local, *([] if command else ["-bp"]), **command).stdout.decode()
        assert row["id"] in out and "carol@example.com" in out and "far@remote.test" in out and "in 1 Request." in out, out
    assert sendmail(local, "-q").returncode == OK
    local.mw("queue", "delete", row["id"])


def test_what_stays_here_does_not_wait_for_the_smarthost(fresh):
    smart = "127.0.0.1:9"
    i = fresh(conf_lines=['transport "*" { host %s }' % smart, "queue-retry-first 1s", "queue-retry-max 1s"])
    i.add("alice")
    i.mw("account", "quota", "alice@example.com", "1")
    i.mw("queue", "pause", smart)
    sent(i, "alice", input="Subject: stays here\n\nx\n")
    sent(i, "Far@Remote.TEST", input="Subject: leaves\n\nx\n")
    until(lambda: [r["status"] for r in i.rows("queue", "list")] == ["deferred", "deferred"])
    assert [r["recipient"] for r in i.rows("queue", "list", "--destination", smart)] == ["Far@Remote.TEST"]
    i.mw("account", "quota", "alice@example.com", "0")
    arrives(i, "stays here")


@needs_root
def test_mailq_is_for_those_who_may(local):
    r = sendmail(local, "-bp", as_nobody=True)
    assert r.returncode == NOPERM and b"control-group" in r.stderr


def test_newaliases(local):
    assert sent(local, program=os.path.join(BUILD, "bin", "newaliases")).returncode == OK
    sent(local, "-bi")


DSN_DIALOGUE = """EHLO x
MAIL FROM:<carol@example.com> RET=HDRS ENVID=e+2B1
RCPT TO:<nobody1@example.com> NOTIFY=NEVER ORCPT=rfc822;first@elsewhere.test
RCPT TO:<nobody2@example.com> NOTIFY=FAILURE ORCPT=rfc822;sec+2Bond@elsewhere.test
RCPT TO:<nobody3@example.com>
DATA
Subject: %s

x
.
QUIT
"""


@pytest.mark.parametrize("way", ["socket", "drop"])
def test_bs_keeps_what_each_recipient_asked_for(local, way):
    """NOTIFY and ORCPT (RFC 3461) are said of one recipient: the first one's NEVER is not the others'."""
    subject = "asked by " + way
    if way == "drop":
        os.kill(local.daemons()["pickup"], signal.SIGKILL)
    sent(local, "-bs", input=(DSN_DIALOGUE % subject).replace("\n", "\r\n"))
    text = arrives(local, subject, "carol").decode()
    told = re.findall(r"^((?:Original|Final)-Recipient: .*)\r$", text, re.M)
    assert told == ["Original-Recipient: rfc822;sec+ond@elsewhere.test", "Final-Recipient: rfc822; nobody2@example.com", "Final-Recipient: rfc822; nobody3@example.com"], told
    assert "Original-Envelope-Id: e+1" in text


# ---- when the suite is down, or a part of it ----


def test_down_then_up(fresh):
    i = fresh()
    i.add("alice")
    i.stop()
    for n in range(3):
        sent(i, "-i", "-f", "root@example.com", "alice", input="Subject: kept %d\n\n.\nx\n" % n, as_nobody=AS_ROOT)
    names = dropped(i)
    assert len(names) == 3 and all(re.fullmatch(r"new\.[0-9a-f]{32}", n) for n in names)
    assert all(stat.S_IMODE(os.stat(os.path.join(drop(i), n)).st_mode) == 0o640 for n in names)
    for n in names:
        os.utime(os.path.join(drop(i), n), (0, 86400 * 365))
    i.start()
    for n in range(3):
        m = arrives(i, "Subject: kept %d" % n)
        assert field(m, "Date").startswith("Fri, 1 Jan 1971 00:00:00") or field(m, "Date").startswith("Fri, 01 Jan 1971"), field(m, "Date")
        assert m.endswith(b".\r\nx\r\n") and "from userid %d)" % (NOBODY if AS_ROOT else os.geteuid()) in field(m, "Received")
    until(lambda: not dropped(i))


def test_taken_up_while_it_runs(local):
    """pickup is stopped, so nobody takes the letter; then it runs again and finds the file."""
    pid = local.daemons()["pickup"]
    os.kill(pid, signal.SIGKILL)
    sent(local, "alice", input="Subject: in between\n\nx\n")
    arrives(local, "Subject: in between")
    until(lambda: not dropped(local))


def test_auth_and_queue_away(local):
    """Both are stopped for a moment: the letter waits and comes once."""
    pids = [local.daemons()[n] for n in ("auth", "queue")]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    sent(local, "alice", input="Subject: without auth\n\nx\n")
    until(lambda: imap_logs_in(local))
    arrives(local, "Subject: without auth")


def test_kills_lose_nothing(fresh):
    """pickup and queue die again and again while letters are handed in; each that sendmail called safe arrives."""
    i = fresh()
    i.add("alice")
    safe, over = set(), threading.Event()

    def hand_in(first):
        number = first
        while not over.is_set():
            if sendmail(i, "alice", input="Subject: number %d.\n\nx\n" % number).returncode == OK:
                safe.add(number)
            number += 3

    senders = [threading.Thread(target=hand_in, args=(n,)) for n in range(3)]
    for s in senders:
        s.start()
    for n in range(10):
        name = ("pickup", "queue")[n % 2]
        pid = until(lambda: i.daemons().get(name))
        time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
        until(lambda: i.daemons().get(name) not in (None, 0, pid))
    until(lambda: len(safe) > 30, 60, "few are safe")
    over.set()
    for s in senders:
        s.join()
    until(lambda: not dropped(i))
    until(lambda: not safe - {int(n) for m in mails(i) for n in re.findall(rb"Subject: number (\d+)\.", m)}, what="lost")


def test_a_letter_of_the_drop_that_queue_cannot_take_is_tried_again(fresh):
    """queue is stopped, not dead: pickup waits for a file of its, gives up, and comes back by itself."""
    i = fresh()
    i.add("alice")
    pid = i.daemons()["queue"]
    os.kill(pid, signal.SIGSTOP)
    lay(i, "new.waits", letter(95, subject="when queue is back"))
    until(lambda: "pickup_failed" in i.log())
    assert dropped(i) == ["new.waits"]
    os.kill(pid, signal.SIGCONT)
    arrives(i, "when queue is back")
    until(lambda: not dropped(i))


def test_bs_when_down(fresh):
    i = fresh()
    i.add("alice")
    i.stop()
    r = sent(i, "-bs", input="EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<alice@example.com>\r\nDATA\r\nSubject: -bs kept\r\n\r\nx\r\n.\r\nQUIT\r\n")
    assert b"250 2.0.0 Ok: kept" in r.stdout
    i.start()
    arrives(i, "-bs kept")


def test_nowhere_to_go(fresh):
    i = fresh()
    i.stop()
    os.rename(drop(i), drop(i) + ".away")
    r = sendmail(i, "alice", input="x\n")
    assert r.returncode == TEMPFAIL and b"nor could it be kept" in r.stderr
    os.rename(drop(i) + ".away", drop(i))


def test_the_same_letter_twice(local):
    """What a client that has lost patience does: the answer is there already, and it lays the letter into the drop."""
    name = "f" * 31 + "0"
    head = "mailwain-drop 1\nhandover %s\nuser root\nname \nenvid \nret 0\nnotify 0\nrecipient alice\n\nSubject: twice\n\nx\n" % name
    for n in (1, 2):
        lay(local, "new." + name, head)
        until(lambda: not dropped(local))
    arrives(local, "Subject: twice")
    local.until_logged("pickup_repeated")


# ---- the drop, as an attacker would use it ----


def lay(i, name, text, mode=0o640, uid=None):
    path = os.path.join(drop(i), name)
    writing = os.path.join(drop(i), "tmp." + name)
    with open(writing, "w") as f:
        f.write(text)
    if uid is not None:
        os.chown(writing, uid, -1)
    os.chmod(writing, mode)
    os.rename(writing, path)
    return path


def letter(number, recipient="alice", subject="laid"):
    return "mailwain-drop 1\nhandover %032x\nuser nobody\nrecipient %s\n\nSubject: %s\n\nx\n" % (number, recipient, subject)


@needs_root
def test_drop_is_closed_to_others(local):
    def nobody(*command):
        return subprocess.run(["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", *command], capture_output=True, text=True)

    assert nobody("ls", drop(local)).returncode != 0
    path = os.path.join(drop(local), "other.file")
    with open(path, "w") as f:
        f.write("root's")
    os.chmod(path, 0o640)
    for command in (["rm", "-f", path], ["mv", path, path + "x"], ["cat", path]):
        assert nobody(*command).returncode != 0, command
    os.remove(path)


def test_bad_files_are_set_aside(local, tmp_path):
    secret = os.path.join(drop(local), "secret")
    with open(secret, "w") as f:
        f.write(letter(77, subject="another's"))
    os.chmod(secret, 0o640)
    os.link(secret, os.path.join(drop(local), "new.link"))
    os.symlink(secret, os.path.join(drop(local), "new.symlink"))
    os.mkfifo(os.path.join(drop(local), "new.fifo"), 0o640)
    os.mkdir(os.path.join(drop(local), "new.directory"))
    s = socket.socket(socket.AF_UNIX)
    s.bind(os.path.join(drop(local), "new.socket"))
    s.close()
    lay(local, "new.readable", letter(78), mode=0o644)
    lay(local, "new.nonsense", "nonsense\n")
    lay(local, "new.cut", "mailwain-drop 1\nhandover %032x\nuser x\nrecipient alice\n" % 79)
    lay(local, "new.address", letter(80, recipient="a b c@@"))
    lay(local, "new.good", letter(81, subject="the good one"))
    arrives(local, "the good one")
    bad = ["bad.new." + n for n in ("address", "cut", "directory", "link", "nonsense", "readable", "symlink")]
    until(lambda: dropped(local) == bad + ["secret"], what=str(dropped(local)))
    until(lambda: local.log().count("pickup_bad_file") >= len(bad))
    assert not [m for m in mails(local) if b"another's" in m]
    assert local.daemons()["pickup"]
    for name in dropped(local):
        path = os.path.join(drop(local), name)
        os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.remove(path)


def test_a_lease_keeps_nobody_waiting(local):
    """Whoever opens the file would wait until its owner gives the lease up."""
    path = os.path.join(drop(local), "tmp.leased")
    with open(path, "w") as f:
        f.write(letter(85, subject="the leased one"))
    os.chmod(path, 0o640)
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    f = open(path, "r+")
    fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    os.rename(path, os.path.join(drop(local), "new.leased"))
    lay(local, "new.other", letter(86, subject="beside the lease"))
    arrives(local, "beside the lease")
    until(lambda: dropped(local) == ["new.leased"])
    f.close()
    arrives(local, "the leased one")


def test_unfinished_files_go_when_they_are_old(local):
    old, young = (os.path.join(drop(local), "tmp." + n) for n in ("old", "young"))
    for path in (old, young):
        open(path, "w").close()
    os.utime(old, (time.time() - 90000, time.time() - 90000))
    lay(local, "new.sweep", letter(90, subject="sweeps"))
    until(lambda: not os.path.exists(old))
    assert os.path.exists(young)
    os.remove(young)


@needs_root
def test_many_files_of_one_user_do_not_keep_another_waiting(fresh):
    i = fresh()
    i.add("alice")
    i.add("carol")
    i.stop()
    for n in range(200):
        lay(i, "new.%032x" % n, letter(1000 + n, recipient="carol"), uid=NOBODY)
    lay(i, "new.z", letter(5, subject="root's own").replace("user nobody", "user root"))
    i.start()
    arrives(i, "root's own")
    until(lambda: not dropped(i))


# ---- the socket, as an attacker would use it ----


def connect(i):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(20)
    s.connect(os.path.join(i.root, "run", "sendmail.sock"))
    return s


def text(s):
    s = s.encode()
    return len(s).to_bytes(4, "big") + s


def u(n, size=4):
    return n.to_bytes(size, "big")


def message(number, *fields):
    return u(number, 2) + u(0) + b"".join(fields)


def hand_over(s, fd, size, handover=b"h" * 16, recipients=("alice",)):
    for r in recipients:
        s.send(message(1, text(r), u(0), text("")))
    body = message(2, u(len(handover)) + handover, u(size, 8), text("root"), b"\0", text(""), text(""), u(0), text(""))
    socket.send_fds(s, [body], [fd])
    return s.recv(4096)


def test_only_sealed_memory(local, tmp_path):
    content = b"Subject: by hand\n\nx\n"
    path = tmp_path / "content"
    path.write_bytes(content)
    unsealed = os.memfd_create("x", os.MFD_ALLOW_SEALING)
    os.write(unsealed, content)
    r, w = os.pipe()
    with open(path, "rb") as f:
        for fd in (f.fileno(), unsealed, r):
            s = connect(local)
            assert hand_over(s, fd, len(content)) == b""  # its connection ends
            s.close()
    seals = 1 | 2 | 4 | 8
    fcntl.fcntl(unsealed, 1033, seals)  # F_ADD_SEALS
    s = connect(local)
    assert hand_over(s, unsealed, len(content) + 1) == b""
    s = connect(local)
    answer = hand_over(s, unsealed, len(content), os.urandom(16))
    assert answer[6:10] == u(0)
    s.close()
    for fd in (unsealed, r, w):
        os.close(fd)
    arrives(local, "Subject: by hand")


def test_nonsense_costs_its_connection(local):
    before = local.daemons()["pickup"]
    for datagram in (b"x", b"\0" * 6, message(2), message(1, text("a" * 2000), u(0), text("")), message(1, text("a\0b"), u(0), text("")), message(1, text("a"), u(16), text("")), message(9)):
        s = connect(local)
        s.send(datagram)
        assert s.recv(100) == b"", datagram
        s.close()
    assert local.daemons()["pickup"] == before


def crowd_of_nobody(i):
    """As many connections as a user may have; they end with the process's input."""
    code = "import socket,sys,time\nc=[]\nfor n in range(50):\n s=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET);s.connect(sys.argv[1]);c.append(s)\nprint('there',flush=True)\nsys.stdin.read()\n"
    holder = subprocess.Popen(["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "/usr/bin/python3", "-c", code, os.path.join(i.root, "run", "sendmail.sock")],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"there\n"
    return holder


@needs_root
def test_connections_of_a_user_are_counted(local):
    """Fifty of nobody's wait; the next one is turned away, its letter goes into the drop, and root is served."""
    holder = crowd_of_nobody(local)
    r = sent(local, "-v", "alice", input="Subject: of the crowd\n\nx\n", as_nobody=True)
    assert b"kept in" in r.stdout and b"Too many letters" in r.stdout
    assert b"queued as" in sent(local, "-v", "alice", input="Subject: root's turn\n\nx\n").stdout
    holder.communicate()
    arrives(local, "Subject: of the crowd")
    local.until_logged("pickup_crowded")


@needs_root
def test_what_waits_of_a_user_is_counted(fresh):
    """queue is stopped, and nobody's connections are taken: the drop is used until a thousand of nobody's letters wait there."""
    i = fresh()
    i.add("alice")
    pid = i.daemons()["queue"]
    os.kill(pid, signal.SIGSTOP)
    for n in range(998):
        lay(i, "new.many%d" % n, letter(5000 + n, subject="many"), uid=NOBODY)
    holder = crowd_of_nobody(i)
    assert b"kept in" in sent(i, "-v", "alice", input="Subject: the last but one\n\nx\n", as_nobody=True).stdout
    # pickup looks at all of them, one after the other.
    refused = until(lambda: (r := sendmail(i, "alice", input="Subject: many\n\nx\n", as_nobody=True)).returncode and r, 300)
    assert refused.returncode == TEMPFAIL and b"Too many of your letters wait" in refused.stderr, refused
    count = len(dropped(i))
    assert count >= 1000
    assert sendmail(i, "alice", input="Subject: many\n\nx\n", as_nobody=True).returncode == TEMPFAIL
    assert len(dropped(i)) == count
    os.kill(pid, signal.SIGCONT)
    until(lambda: not dropped(i), 300)
    assert b"kept in" in sent(i, "-v", "alice", input="Subject: again\n\nx\n", as_nobody=True).stdout
    holder.communicate()
    arrives(i, "Subject: again")
