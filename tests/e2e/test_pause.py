"""Destinations that an administrator has paused stay so, whatever becomes of the process that was told."""
import os
import signal

import pytest

from mailwain import Instance, until
from remote import remote_host
from test_outbound import gone, send
from tools import Strace, needs_strace


@pytest.fixture(scope="module")
def remote():
    with remote_host("127.0.0.14") as r:
        yield r


@pytest.fixture(scope="module")
def suite(remote):
    with Instance(['transport "*" { host %s }' % remote.place, 'transport later.test { error "4.4.1 not yet" }', "queue-retry-first 1s", "queue-retry-max 2s"]).running("alice") as i:
        yield i


def paused(suite):
    return {r["destination"] for r in suite.rows("queue", "stats") if r["state"] == "paused"}


def restart(suite):
    suite.stop()
    suite.start()


def spool(suite, *names):
    return os.path.join(suite.root, "spool", *names)


def test_a_restart_and_a_crash(suite, remote):
    suite.mw("queue", "pause", remote.place)
    suite.mw("queue", "pause", "Elsewhere.Test")
    assert paused(suite) == {remote.place, "elsewhere.test"}
    until(lambda: next(r["note"] for r in suite.rows("status") if r["name"] == "queue") == "2 destinations paused")
    restart(suite)
    assert paused(suite) == {remote.place, "elsewhere.test"}
    suite.mw("queue", "resume", "elsewhere.test")
    pid = suite.daemons()["queue"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: suite.daemons().get("queue") not in (None, 0, pid))
    assert paused(suite) == {remote.place}
    qid = send(suite, "one@elsewhere.test")
    until(lambda: [r for r in suite.rows("queue", "show", qid) if "kept by this server's administrator" in r["reason"] and r["status"] != "active"])
    assert not remote.messages
    suite.mw("queue", "resume", remote.place)
    suite.mw("queue", "flush", qid)
    until(lambda: gone(suite, qid))
    assert len(remote.messages) == 1 and not paused(suite)
    r = suite.mw("queue", "resume", remote.place, check=False)
    assert r.returncode == 65 and "is not paused" in r.stderr
    restart(suite)
    assert not paused(suite)


@pytest.mark.parametrize("damage", ["changed", "cut", "link"])
def test_a_damaged_list_is_set_aside(suite, damage):
    suite.mw("queue", "pause", "elsewhere.test")
    suite.stop()
    path, aside = spool(suite, "paused"), spool(suite, "corrupt", "paused")
    with open(path) as f:
        text = f.read()
    assert text.splitlines()[:2] == ["mailwain-paused 1", "elsewhere.test"]
    if damage == "link":
        os.rename(path, path + ".old")
        os.symlink("paused.old", path)
    else:
        with open(path, "w") as f:
            f.write(text.replace("elsewhere", "elsewhera") if damage == "changed" else text[:-1])
    before = suite.log().count("queue_corrupt file=paused")
    suite.start()
    assert not paused(suite)
    until(lambda: suite.log().count("queue_corrupt file=paused") == before + 1)
    assert os.path.lexists(aside) and not os.path.lexists(path)
    os.unlink(aside)
    suite.mw("queue", "pause", "elsewhere.test")
    suite.mw("queue", "resume", "elsewhere.test")


def test_names_that_are_none(suite):
    for name in ("", "x" * 641, "a\nb"):
        r = suite.mw("queue", "pause", name, check=False)
        assert r.returncode == 65 and "cannot be the name" in r.stderr


def test_a_name_that_is_known_by_its_mail_alone(suite, remote):
    """Where a transport block refuses it all, and behind a start, nothing has gone to it yet."""
    qid = send(suite, "one@later.test")
    until(lambda: [r for r in suite.rows("queue", "show", qid) if "not yet" in r["reason"] and r["status"] != "active"])
    suite.mw("queue", "hold", qid)
    until(lambda: [r for r in suite.rows("queue", "stats") if r["destination"] == "later.test"])
    assert "nothing more goes to later.test until" in suite.mw("queue", "pause", "Later.test").stdout
    assert next(r for r in suite.rows("queue", "stats") if r["destination"] == "later.test")["state"] == "paused"
    suite.mw("queue", "resume", "later.test")
    restart(suite)
    until(lambda: suite.rows("queue", "list"))
    assert suite.mw("queue", "pause", "later.test").stdout.startswith("nothing more goes")
    suite.mw("queue", "resume", "later.test")
    suite.mw("queue", "delete", qid)
    said = suite.mw("queue", "pause", "none.test").stdout
    assert "nothing goes to none.test until" in said and "no message waits for that name alone" in said
    suite.mw("queue", "resume", "none.test")


@needs_strace
def test_a_list_says_what_it_does_not_know_yet(suite, remote):
    """Until the last file has been read, and not until somebody has been told to read it."""
    suite.mw("queue", "pause", remote.place)
    for n in range(3):
        send(suite, "later%d@elsewhere.test" % n)

    def meanwhile():
        """What is said after a crash; None when this machine took longer to ask than queue to read."""
        pid = suite.daemons()["queue"]
        os.kill(pid, signal.SIGKILL)
        until(lambda: suite.daemons().get("queue") not in (None, 0, pid))
        said = suite.mw("queue", "list").stdout
        return said if "the spool is being read: " in said else None

    with Strace(suite.daemons()["master"], "pread64:delay_enter=60000"):
        assert "later" not in until(meanwhile)
        until(lambda: "being read" not in suite.mw("queue", "list").stdout)
        assert suite.mw("queue", "list").stdout.count("later") == 3
    suite.mw("queue", "delete", "--all")
    suite.mw("queue", "resume", remote.place)
