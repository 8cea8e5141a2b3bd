"""A client that waits in IDLE for long keeps no process, and does not notice."""
import fcntl
import os
import signal
import time

import pytest

from mailwain import Instance, until
from tools import Strace, children, needs_strace

LETTER = "Subject: x\r\n\r\nx\r\n"


@pytest.fixture(scope="module")
def sleepy():
    with Instance(conf_lines=["imap-hibernate-after 100ms"]).running("alice", "bob", "carol") as i:
        yield i


def directory(pid):
    try:
        return os.readlink("/proc/%d/cwd" % pid)
    except OSError:
        return ""


def forked(suite, name):
    """Process ids: "session" are those in an account's directory, "keeper" is the one in the store's."""
    store = os.path.join(os.path.realpath(suite.root), "data", "store")
    where = {pid: directory(pid) for pid in children(suite.daemons()["imap-session"])}
    return [pid for pid in where if (where[pid] == store if name == "keeper" else where[pid].startswith(store + "/"))]


def processes(suite):
    return len(forked(suite, "session"))


def sessions(suite):
    return [row["connections"] for row in suite.rows("status") if row["name"] == "imap-session"][0]


def asleep(suite, count=1):
    """Those that have just logged out are counted until the spawner knows of their end."""
    until(lambda: processes(suite) == 0 and sessions(suite) == count, what="not %d sessions hibernate" % count)


def idling(suite, user="alice", tls=True, mailbox="INBOX"):
    c = suite.imap(user, tls=tls)
    c.ok("SELECT " + mailbox)
    tag = c.begin("IDLE")
    assert c.line().startswith(b"+ ")
    return c, tag


def done(c, tag):
    c.send("DONE\r\n")
    untagged, tagged = c.end(tag)
    assert tagged.startswith(b"OK"), tagged
    return untagged


def leave(suite, *clients):
    for c in clients:
        c.close()
    until(lambda: sessions(suite) == 0, what="the client has gone and its session stays")


def expunge(suite, user, numbers):
    other = suite.imap(user)
    other.ok("SELECT INBOX")
    other.ok("STORE %s +FLAGS.SILENT (\\Deleted)" % numbers)
    other.ok("EXPUNGE")
    other.ok("LOGOUT")


def until_told(c, wanted):
    """All lines up to the wanted one."""
    lines = [c.line()]
    while lines[-1] != wanted:
        lines.append(c.line())
    return lines


@pytest.mark.parametrize("user", ["alice", "bob"])
def test_it_goes_on_as_if_nothing_had_been(sleepy, user):
    """Its numbers are as they were, with a gap in the UIDs, whoever asks first: the client or another."""
    for _ in range(5):
        sleepy.deliver(LETTER, to=[user])
    sleepy.wait_empty()
    expunge(sleepy, user, "2")
    c, tag = idling(sleepy, user, tls=user == "bob")
    asleep(sleepy)
    assert done(c, tag) == []
    assert c.ok("UID SEARCH ALL") == [b"* SEARCH 1 3 4 5"]
    tag = c.begin("IDLE")
    c.line()
    asleep(sleepy)
    sleepy.deliver(LETTER, to=[user])
    assert until_told(c, b"* 5 EXISTS") == [b"* 5 EXISTS"]
    c.line()  # RECENT
    asleep(sleepy)
    expunge(sleepy, user, "1,3")
    assert [line for line in until_told(c, b"* 2 EXPUNGE") if b"EXPUNGE" in line] == [b"* 1 EXPUNGE", b"* 2 EXPUNGE"]
    asleep(sleepy)
    assert done(c, tag) == []
    assert c.ok("UID SEARCH ALL") == [b"* SEARCH 3 5 6"]
    expunge(sleepy, user, "1:*")
    c.ok("NOOP")
    leave(sleepy, c)
    ends = [line for line in sleepy.log().splitlines() if " imap_disconnect " in line]
    assert all(" user=" + user + "@example.com rip=127.0.0.1 " in line for line in ends[-1:]), ends


def test_pipelined_behind_it(sleepy):
    c, tag = idling(sleepy)
    asleep(sleepy)
    c.send("DONE\r\na NOOP\r\nb LOGOUT\r\n")
    assert c.end(tag)[1].startswith(b"OK") and c.end(b"a")[1].startswith(b"OK") and c.end(b"b")[1].startswith(b"OK")
    leave(sleepy, c)


def test_what_is_not_done_is_bad(sleepy):
    c, tag = idling(sleepy)
    asleep(sleepy)
    c.send("a NOOP\r\n")
    assert c.end(tag)[1].startswith(b"BAD")
    leave(sleepy, c)


def test_silence_ends_it():
    with Instance(conf_lines=["imap-hibernate-after 100ms", "imap-timeout 8s"]).running("alice") as suite:
        begun = time.monotonic()
        c, _ = idling(suite)
        asleep(suite)
        assert c.line() == b"* BYE Silent for too long"
        assert time.monotonic() - begun > 7
        leave(suite, c)


def test_its_mailbox_is_deleted(sleepy):
    other = sleepy.imap("bob")
    other.ok("CREATE gone")
    c, _ = idling(sleepy, "bob", mailbox="gone")
    until(lambda: processes(sleepy) == 1)
    other.ok("DELETE gone")
    assert c.line() == b"* BYE The selected mailbox was deleted"
    leave(sleepy, c, other)


def make_index_again(suite, user):
    """It waits for whoever has the account open."""
    command = ("store", "rebuild-index", user + "@example.com")
    until(lambda: suite.mw(*command, check=False).returncode == 0)


def test_its_index_is_made_again(sleepy):
    """Under the same UIDs there are other messages now."""
    for _ in range(3):
        sleepy.deliver(LETTER, to=["alice"])
    sleepy.wait_empty()
    expunge(sleepy, "alice", "1")
    waiting = [idling(sleepy)[0] for _ in range(2)]
    asleep(sleepy, 2)
    make_index_again(sleepy, "alice")
    assert [c.line() for c in waiting] == [b"* BYE The selected mailbox has a new UIDVALIDITY"] * 2
    leave(sleepy, *waiting)


def test_a_watch_is_for_one_index():
    """One client has no mailbox selected, and stays when the index is made again; who comes after that hears of new mail all the same."""
    with Instance(conf_lines=["imap-hibernate-after 100ms"]).running("alice") as suite:
        stays = suite.imap("alice")
        stays.begin("IDLE")
        stays.line()
        asleep(suite)
        make_index_again(suite, "alice")
        c, _ = idling(suite)
        asleep(suite, 2)
        suite.deliver(LETTER, to=["alice"])
        assert c.line() == b"* 1 EXISTS"
        leave(suite, c, stays)


@needs_strace
def test_an_index_that_cannot_be_watched(sleepy):
    """Its sessions look now and then by themselves, and not all the time."""
    with Strace(sleepy.daemons()["imap-session"], "inotify_add_watch:error=ENOSPC:when=1+", follow=False) as tracer:
        c, tag = idling(sleepy)
        asleep(sleepy)
        assert done(c, tag) == []
    assert len(tracer.calls) < 10
    sleepy.until_logged("max_user_watches")
    leave(sleepy, c)


def test_without_a_mailbox(sleepy):
    c = sleepy.imap("alice")
    tag = c.begin("IDLE")
    c.line()
    asleep(sleepy)
    sleepy.deliver(LETTER, to=["alice"])
    until(lambda: processes(sleepy) == 0)
    assert done(c, tag) == []
    leave(sleepy, c)


def test_many_of_one_account_are_all_told():
    with Instance(conf_lines=["imap-hibernate-after 100ms"]).running("bob") as suite:
        clients = [idling(suite, "bob", tls=False)[0] for _ in range(30)]
        asleep(suite, 30)
        suite.deliver(LETTER, to=["bob"])
        for c in clients:
            assert c.line().endswith(b" EXISTS")
        assert "max_user_watches" not in suite.log()  # none was told because it looked by itself
        leave(suite, *clients)


def test_an_account_that_does_not_open_keeps_nobody_asleep(sleepy):
    """Its index is locked as if it were made again; carol gets no mail, so no worker has it open."""
    clients = [idling(sleepy, "carol", tls=False) for _ in range(10)]
    other, tag = idling(sleepy)
    asleep(sleepy, 11)
    with open(os.path.join(sleepy.account_dir("carol"), "lock")) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for c, _ in clients:
            c.send("DONE\r\n")
        until(lambda: processes(sleepy) > 0)
        assert done(other, tag) == []
    for c, its_tag in clients:
        assert c.end(its_tag)[1].startswith(b"OK")
    leave(sleepy, other, *[c for c, _ in clients])


def test_a_place_that_becomes_free_by_falling_asleep():
    with Instance(conf_lines=["imap-hibernate-after 100ms", "imap-sessions 1"]).running("alice") as suite:
        first, tag = idling(suite)
        asleep(suite)
        second = suite.imap("alice")
        first.send("DONE\r\n")
        second.begin("IDLE")
        assert first.end(tag)[1].startswith(b"OK")
        leave(suite, first, second)


def test_changes_while_it_falls_asleep(sleepy):
    """Each delivery is told, whatever the moment it comes at."""
    c, tag = idling(sleepy, "bob")
    for n in range(60):
        sleepy.deliver(LETTER, to=["bob"])
        while not c.line().endswith(b" EXISTS"):
            pass
        time.sleep(n % 20 / 100)  # the moments are what is tried
    done(c, tag)
    leave(sleepy, c)


def test_a_session_that_ends_badly_leaves_nothing(sleepy):
    c, _ = idling(sleepy)
    asleep(sleepy)
    c.send("D")
    until(lambda: processes(sleepy) == 1)
    os.kill(forked(sleepy, "session")[0], signal.SIGKILL)
    assert c.at_end()
    leave(sleepy, c)


def test_the_keeper_dies(sleepy):
    """Its clients connect again, and there is another one."""
    c, _ = idling(sleepy)
    asleep(sleepy)
    os.kill(forked(sleepy, "keeper")[0], signal.SIGKILL)
    assert c.at_end()
    leave(sleepy, c)
    c, tag = idling(sleepy)
    asleep(sleepy)
    assert done(c, tag) == []
    leave(sleepy, c)


@needs_strace
def test_the_keeper_is_not_to_be_had_at_once(sleepy):
    old = forked(sleepy, "keeper")
    with Strace(sleepy.daemons()["imap-session"], "clone,clone3,fork,vfork:error=EAGAIN:when=1", follow=False):
        os.kill(old[0], signal.SIGKILL)
        until(lambda: forked(sleepy, "keeper") not in ([], old), what="there is no keeper")
    c, tag = idling(sleepy)
    asleep(sleepy)
    assert done(c, tag) == []
    leave(sleepy, c)


def test_it_is_woken_to_be_ended(sleepy):
    clients = [idling(sleepy, "bob", tls=tls)[0] for tls in (True, False, True)]
    other, tag = idling(sleepy)
    asleep(sleepy, 4)
    sleepy.mw("account", "kick", "bob@example.com")
    for c in clients:
        assert c.line() == b"* BYE Log in again" and c.at_end()
    until(lambda: sessions(sleepy) == 1, what="a session that was ended stays")
    assert done(other, tag) == []
    leave(sleepy, other)


def test_the_end_of_the_suite(sleepy):
    c, _ = idling(sleepy)
    asleep(sleepy)
    sleepy.stop()
    assert c.line() == b"* BYE The server is stopping"
    assert c.at_end()
    sleepy.start()
