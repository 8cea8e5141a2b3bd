"""What a daemon that was taken over gets when it asks for more than its part."""
import base64
import contextlib
import os
import random
import re
import signal
import socket
import struct
import subprocess
import time

import pytest

from mailwain import BIN, BUILD, PASSWORD, TIMEOUT, Imap, Smtp, until
from remote import remote_host
from taken import Raw, channel_to, channels, descriptor, give_channel, message

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to take a daemon's sockets")


def say(suite, name, *wires, fds=()):
    """On every channel of the daemon but master's: it does not matter which is which, the others close theirs."""
    for number, s in channels(suite.daemons()[name]).items():
        for wire in wires:
            if number > 3:
                try:
                    socket.send_fds(s, [wire], list(fds))
                except OSError:
                    pass
        s.close()


def test_lmtpd_opens_no_account_that_auth_has_not_named(fresh):
    suite = fresh(listeners=["lmtp"])
    suite.add("alice")
    say(suite, "lmtpd", message(1, 4242, 0, "", b""), message(1, 4242, 0, "alice@example.com", b"x" * 24))
    until(lambda: suite.log().count("auth has not granted this account") == 2)
    assert not os.path.exists(os.path.join(suite.root, "data", "store", "92", "4242"))


def test_one_daemon_cannot_silence_the_log(fresh):
    """And what it writes into it cannot move a terminal's cursor."""
    suite = fresh()
    log = socket.socket(fileno=descriptor(suite.daemons()["smtpd"], 2))
    log.send(b"hello\x1b[2J\xc2\x9b")
    until(lambda: "hello\\x1b[2J\\xc2\\x9b" in suite.log())
    log.shutdown(socket.SHUT_RDWR)
    suite.add("alice")
    until(lambda: "auth_directory_changed" in suite.log())


def envelope(address, canonical, grant, account=0):
    """doc/spool.md; one recipient that says it is ours."""
    def text(s):
        s = s.encode() if isinstance(s, str) else s
        return struct.pack("<I", len(s)) + s

    head = struct.pack("<BBqBBB", 1, 1, int(time.time()), 0, 0, 0) + text("bob@remote.test") + 4 * text("") + struct.pack("<I", 1)
    return head + text(address) + text("") + struct.pack("<BBQQ", 0, 1, account, 0) + text(canonical) + text("") + text(grant)


def ask(s, wire, answer):
    """The first message of this type that comes back, and its descriptors."""
    s.settimeout(TIMEOUT)
    s.send(wire)
    while True:
        got, fds, _, _ = socket.recv_fds(s, 65536, 4)
        assert got, "closed"
        if struct.unpack(">H", got[:2])[0] == answer:
            return got[6:], fds


def test_an_empty_message_is_not_the_end_of_a_daemons_log(fresh):
    """A session's empty write to standard error must not silence its siblings; a sanitizer's report begins with one."""
    suite = fresh()
    out = socket.socket(fileno=descriptor(suite.daemons()["queue"], 2))
    out.send(b"")
    out.send(b"behind nothing\n")
    out.close()
    until(lambda: "behind nothing" in suite.log())
    suite.add("alice")
    qid = suite.deliver("Subject: x\n\nx\n", to=["alice"])
    until(lambda: "queue_removed qid=%s" % qid in suite.log())


def test_smtpd_cannot_lend_a_grant_to_another_address(fresh):
    """Auth's word that an alias is ours, shown for a recipient elsewhere, is no way to relay."""
    suite = fresh()
    suite.add("alice")
    suite.mw("alias", "add", "list@example.com", "alice@example.com")
    pids = suite.daemons()
    pid = pids["smtpd"]
    os.kill(pid, signal.SIGSTOP)
    try:
        auth, queue = (channel_to(pid, pids[name]) for name in ("auth", "queue"))
        answer, _ = ask(auth, message(1, "list@example.com"), 2)
        code, account, quota, length = struct.unpack(">iQQI", answer[:24])
        at = 24 + length + 4 + struct.unpack(">I", answer[24 + length : 28 + length])[0]
        grant = answer[at + 4 : at + 4 + struct.unpack(">I", answer[at : at + 4])[0]]
        assert (code, account, len(grant)) == (0, 0, 24)
        got, (fd,) = ask(queue, message(1, ("u32", 1)), 2)
        content = b"Subject: relayed\r\n\r\nx\r\n"
        os.pwrite(fd, content, 0)
        committed, _ = ask(queue, message(5, Raw(got[:8]), len(content), envelope("x@elsewhere.test", "list@example.com", grant)), 6)
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: "queue_bounced" in suite.log() or "queue_deferred" in suite.log())
    suite.until_logged("does not relay")


def test_a_queue_that_does_not_read_loses_no_answer(fresh):
    """Ten megabytes of answers, of which four may wait: auth takes no further questions until they are read."""
    suite = fresh()
    suite.mw("directory", "import", "-", input="alias list@example.com %s\n" % " ".join("member-%d@remote.test" % i for i in range(900)))
    queue = give_channel(suite, "auth", "auth", "queue", True)
    asked, ended, targets = 0, [], 0
    queue.settimeout(0.5)
    with contextlib.suppress(TimeoutError):  # as many as go, before the first answer is read
        while asked < 100:
            queue.send(message(3, "list@example.com", id=asked))
            asked += 1
    queue.settimeout(TIMEOUT)
    while len(ended) < asked:
        kind, number = struct.unpack(">HI", queue.recv(65536)[:6])
        targets += kind == 4
        if kind == 5:
            ended.append(number)
    assert asked > 10 and ended == list(range(asked)) and targets == asked * 900


def target(address):
    """auth_target: somebody elsewhere."""
    return 4, ("u32", 0), 0, 0, address, "", "", ("u32", 0), "", "", b"", ""


def asked(auth):
    """The next address that queue asks the auth about that we are, and the question's number."""
    wire = auth.recv(65536)
    assert struct.unpack(">H", wire[:2])[0] == 3
    return wire[10:].decode(), struct.unpack(">I", wire[2:6])[0]


def test_an_answer_of_auth_that_breaks_off_is_taken_once(fresh):
    """Half of it came before auth died, all of it comes from the next one: nobody elsewhere has two copies."""
    members = ["one@elsewhere.test", "two@elsewhere.test"]
    with remote_host("127.0.0.9") as there:
        suite = fresh(['transport "*" { host %s }' % there.place])
        suite.mw("alias", "add", "list@example.com", *members)
        auth = give_channel(suite, "queue", "auth", "queue", False)
        suite.deliver("Subject: x\n\nx\n", to=["list"])
        address, number = asked(auth)
        assert address == "list@example.com"
        auth.send(message(*target(members[0]), id=number))
        auth.close()
        suite.wait_empty()
        assert sorted(to for _, recipients, _ in there.messages for to in recipients) == members


def test_queue_asks_again_over_a_second_channel(fresh):
    """Two pairs may be made for one death: what was asked over the first must not wait for it for ever."""
    with remote_host("127.0.0.9") as there:
        suite = fresh(['transport "*" { host %s }' % there.place])
        suite.mw("alias", "add", "list@example.com", "one@elsewhere.test")
        first = give_channel(suite, "queue", "auth", "queue", False)
        suite.deliver("Subject: x\n\nx\n", to=["list"])
        question = asked(first)
        second = give_channel(suite, "queue", "auth", "queue", False)
        assert asked(second) == question and first.recv(1) == b""
        second.send(message(*target("one@elsewhere.test"), id=question[1]))
        second.send(message(5, ("u32", 0), "", id=question[1]))
        suite.wait_empty()
        assert len(there.messages) == 1
        second.settimeout(1.5)
        with pytest.raises(TimeoutError):  # no third one takes its place
            second.recv(1)


def test_questions_that_find_no_room_are_asked_later(fresh):
    """Four megabytes of them wait while auth takes none; the others are asked when it has taken those."""
    suite = fresh()
    auth = give_channel(suite, "queue", "auth", "queue", False)
    domain, count = ".".join(["d" * 60] * 4), 15000
    for first in range(0, count, 1000):
        to = ["%s%05d@%s" % ("r" * 50, n, domain) for n in range(first, first + 1000)]
        subprocess.run([os.path.join(BUILD, "sbin", "sendmail"), *to], input=b"Subject: x\n\nx\n", check=True, env={"MAILWAIN_ROOT": suite.root})
    questions = set()
    while len(questions) < count:
        address, number = asked(auth)
        questions.add(address)
        auth.send(message(5, ("u32", 0), "", id=number))


def test_clients_are_put_off_when_a_second_channel_comes(fresh):
    """Each of them waits for an answer over the first, which nobody will give."""
    suite = fresh(listeners=["lmtp"])
    suite.add("alice")

    def replaced(name, service, begin, end):
        first = give_channel(suite, name, service, name, False)
        client = begin()
        first.recv(65536)
        second = give_channel(suite, name, service, name, False)
        end(client)
        first.close()
        second.close()

    def recipient(port, hello):
        def begin():
            c = Smtp(suite.port(port))
            c.expect(hello, 250)
            c.expect("MAIL FROM:<bob@remote.test>", 250)
            c.send("RCPT TO:<alice@example.com>\r\n")
            return c

        return begin

    def letter():
        c = recipient("lmtp", "LHLO client.test")()
        assert c.reply()[0] == 250
        c.expect("DATA", 354)
        c.send("Subject: x\r\n\r\nx\r\n.\r\n")
        return c

    def login():
        c = suite.imap(login=False)
        c.send('t LOGIN alice@example.com "%s"\r\n' % PASSWORD)
        return c

    def look():
        return subprocess.Popen([BIN, "--root", suite.root, "mailbox", "list", "alice@example.com"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def is_put_off(client):
        assert client.reply()[0] == 451

    replaced("lmtpd", "deliver", letter, is_put_off)
    replaced("lmtpd", "auth", recipient("lmtp", "LHLO client.test"), is_put_off)
    replaced("smtpd", "auth", recipient("smtp", "EHLO client.test"), is_put_off)
    replaced("imapd", "auth", login, lambda c: c.at_end())
    replaced("deliver", "auth", look, lambda p: p.wait(10))


def test_strangers_leave_files_to_users(fresh):
    """smtpd holds as many as it gets, as for thousands of clients that have begun a message and wait; then submission does."""
    suite = fresh()
    suite.add("alice")
    held = []

    def taken(role):
        """How many files it gets: all come before the answer to a commit, which is refused."""
        channel, count = give_channel(suite, "queue", "queue", role, True), 0
        held.append(channel)
        channel.send(message(1, ("u32", 100000)))
        while True:
            got, fds, _, _ = socket.recv_fds(channel, 4096, 1)
            if struct.unpack(">H", got[:2])[0] == 6:
                return count
            os.close(fds[0])
            count += 1
            if count == 1:
                channel.send(message(5, Raw(got[6:14]), 0, envelope("x@elsewhere.test", "x@elsewhere.test", b"")))

    strangers, users, machine = taken("smtpd"), taken("submission"), taken("pickup")
    assert users == machine > 30
    assert 5 * users < strangers <= 6 * users  # the real daemons hold a few as well
    for channel in reversed(held):
        channel.close()
    suite.deliver("Subject: x\n\nx\n")


def imap_logs_in(suite):
    """False also when the channel by which it is asked for is replaced meanwhile: then the connection ends."""
    try:
        return suite.imap(login=False).run('LOGIN alice@example.com "%s"' % PASSWORD)[1].startswith(b"OK")
    except (EOFError, ConnectionError):
        return False


@pytest.mark.parametrize("name", ["smtpd", "imapd", "queue"])
def test_a_broken_channel_is_made_again(fresh, name):
    """Nobody died: without a question nobody would make another one."""
    suite = fresh()
    suite.add("alice")
    pids = suite.daemons()
    for number, s in channels(pids[name]).items():
        if number > 3:
            s.shutdown(socket.SHUT_RDWR)
        s.close()

    def serves():
        try:
            suite.deliver("Subject: flows\n\nx\n")
            return True
        except (AssertionError, EOFError, ConnectionError):
            return False

    until(serves if name != "imapd" else lambda: imap_logs_in(suite))
    suite.wait_empty()
    assert suite.daemons() == pids


LOGIN, SASL_BEGIN = 6, 9
FOUR_GIB = struct.pack(">I", 0xFFFFFFFF)


def frames():
    """What no daemon says to auth: each closes the channel it comes on."""
    rng = random.Random(49)
    whole = message(LOGIN, "imap", "alice@example.com", PASSWORD, "127.0.0.1", True)
    begin = message(SASL_BEGIN, "imap", "PLAIN", "127.0.0.1", True, b"", b"", "", False, b"")
    return [b"\0", b"\0\6\0\0\0", whole[:6], whole[:6] + FOUR_GIB, whole[:6] + FOUR_GIB + b"x" * 60000, whole[:-1], whole[: len(whole) // 2], whole + b"\0",
            message(LOGIN, "imap", "u" * 321, PASSWORD, "127.0.0.1", True), message(LOGIN, "imap", "alice@example.com", "p" * 1025, "127.0.0.1", True),
            begin[:-1] + FOUR_GIB[:1], message(7, 0, 1, 0, "", b"", ""), message(0xFFFF), message(3, "alice@example.com")] + [rng.randbytes(n) for n in (7, 64, 1000, 60000)]


@pytest.mark.parametrize("name", ["imapd", "submission"])
def test_49_auth_outlives_whatever_a_daemon_says(fresh, name):
    """That daemon's channel is closed, and made again; who is in the middle of a login by another daemon notices nothing."""
    suite = fresh()
    suite.add("alice")
    pids = suite.daemons()
    good = base64.b64encode(("\0alice@example.com\0" + PASSWORD).encode()).decode()
    mail = Smtp(suite.port("submission"))
    mail.hello()
    box = suite.imap(login=False)
    patient = mail if name == "imapd" else box
    patient.send("AUTH LOGIN\r\n" if patient is mail else "a AUTHENTICATE LOGIN\r\n")
    patient.line()

    def logs_in():
        if name == "imapd":
            return imap_logs_in(suite)
        c = Smtp(suite.port("submission"))
        c.hello()
        return c.command("AUTH PLAIN " + good)[0] == 235

    for number, wire in enumerate(frames(), 1):
        s = until(lambda: channel_to(pids[name], pids["auth"]))
        s.send(wire)
        s.close()
        until(lambda: suite.log().count("ipc_bad_message") == number, what="the channel is not closed for %r" % wire[:40])
        until(logs_in)
    for word in ("alice@example.com", PASSWORD):
        patient.send(base64.b64encode(word.encode()) + b"\r\n")
        line = patient.line()
    assert line.startswith((b"235", b"a OK")), line
    assert suite.daemons() == pids


def test_49_half_a_message_and_gone(fresh):
    """A daemon that dies in the middle of what it says."""
    suite = fresh()
    suite.add("alice")
    pids = suite.daemons()
    s = channel_to(pids["imapd"], pids["auth"])
    s.send(message(LOGIN, "imap", "alice@example.com")[:-3])
    os.kill(pids["imapd"], signal.SIGKILL)
    s.close()
    until(lambda: suite.daemons().get("imapd", pids["imapd"]) != pids["imapd"])
    assert suite.daemons()["auth"] == pids["auth"]
    until(lambda: imap_logs_in(suite))


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        return [int(p) for p in f.read().split()]


def memory(pid):
    """What the process could write to, as one piece for each mapping."""
    with open("/proc/%d/maps" % pid) as f, open("/proc/%d/mem" % pid, "rb", 0) as mem:
        for line in f:
            start, end, flags = re.match(r"(\w+)-(\w+) (\S+)", line).groups()
            if flags.startswith("rw") and "/index/" not in line and "[v" not in line:
                mem.seek(int(start, 16))
                yield mem.read(int(end, 16) - int(start, 16))


def grant_key(pid):
    """As the spawner has it: behind a pointer in its state."""
    nm = subprocess.run(["nm", os.path.join(BUILD, "libexec", "imap-session")], capture_output=True, text=True, check=True).stdout
    at = int(re.search(r"^(\w+) b spawner(\.\d+)?$", nm, re.M).group(1), 16)
    with open("/proc/%d/maps" % pid) as f:
        base = int(f.readline().split("-")[0], 16)
    with open("/proc/%d/mem" % pid, "rb", 0) as mem:
        mem.seek(base + at + 8)
        return mem.read(32)


@pytest.mark.skipif("SANITIZED" in os.environ, reason="the sanitizer lays memory out in its own way")
def test_a_session_has_neither_the_key_of_grants_nor_the_words_of_others(fresh):
    suite = fresh()
    suite.add("alice")
    suite.add("carol")
    first = Imap(suite.port("imap"))
    first.send('a LOGIN alice@example.com "correct horse"\r\nb NOOP\r\nc ID ("name" "' + "confidential" * 50 + '")\r\n')
    while not first.response().startswith(b"c OK"):
        pass
    spawner = suite.daemons()["imap-session"]
    before = children(spawner)
    second = suite.imap("carol")
    sessions = children(spawner)
    carols, = set(sessions) - set(before)
    assert len(sessions) == 3  # the keeper of sessions that hibernate, and one for each client
    key = grant_key(spawner)
    assert any(key in m for m in memory(spawner)) and key.count(0) < 8
    for pid in sessions:
        assert not any(key in m for m in memory(pid))
    assert not any(b"confidential" in m for m in memory(carols))
    assert any(b"carol" in m for m in memory(carols))
    second.ok("NOOP")
