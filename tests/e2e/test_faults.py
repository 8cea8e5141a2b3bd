"""Damaged files, failing system calls, deaths at chosen moments."""
import glob
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest

from mailwain import HELD, NOWHERE, Smtp, until
from remote import remote_host
from test_kill import body_of, read_all
from test_sendmail import arrives, dropped, lay, letter
from test_submission import client
from tools import flushed

AS_ROOT = os.geteuid() == 0
needs_strace = pytest.mark.skipif(shutil.which("strace") is None or not AS_ROOT, reason="needs strace and root")
TEXT = "Subject: m%d\n\nx\n"


@pytest.fixture
def waiting(fresh):
    """An instance, stopped, with three messages that wait for another host, and rest: one that was committed a moment ago may be none when it is damaged."""
    suite = fresh()
    suite.add("alice")
    suite.mw("alias", "add", "away@example.com", "x@elsewhere.test")
    ids = [suite.deliver(TEXT % n, to=["away"]) for n in range(3)]
    until(lambda: sum(os.stat(p).st_mode & 0o7777 == 0o700 for p in spool_files(suite)) == 3, what="not all rest")
    suite.stop()
    return suite, ids


def spool_files(suite):
    return sorted(p for p in glob.glob(suite.root + "/spool/queue/**", recursive=True) if os.path.isfile(p))


def listed(suite):
    """When the spool has been read."""
    until(lambda: "being read" not in suite.mw("queue", "list").stdout)
    return sorted(r["id"] for r in suite.rows("queue", "list"))


def set_aside(suite):
    return os.listdir(suite.root + "/spool/corrupt")


def keep_owner(path, like):
    st = os.stat(like)
    os.chown(path, st.st_uid, st.st_gid)
    os.chmod(path, st.st_mode)


# ---- 28, 29: what lies in the spool ----


@pytest.mark.parametrize("damage", ["a flipped byte in the envelope", "truncated", "empty", "sparse", "junk at the end"])
def test_28_damaged_queue_files(waiting, damage):
    suite, ids = waiting
    victim = [p for p in spool_files(suite) if ids[1] in p][0]
    size = os.path.getsize(victim)
    with open(victim, "r+b") as f:
        if damage.startswith("a flipped"):
            data = f.read()
            at = data.rindex(b"elsewhere") if b"elsewhere" in data else data.rindex(b"away@")
            f.seek(at)
            f.write(bytes([data[at] ^ 1]))
        elif damage == "truncated":
            f.truncate(size - 7)
        elif damage == "empty":
            f.truncate(0)
        elif damage == "sparse":
            f.truncate(10 * 1024**3)
        else:
            f.seek(0, 2)
            f.write(b"\xff" * 500)
    suite.start()
    until(lambda: set(listed(suite)) >= {ids[0], ids[2]})
    if ids[1] not in listed(suite):
        assert set_aside(suite)
        suite.until_logged("queue_corrupt")
    suite.deliver("Subject: flows\n\nx\n")
    until(lambda: suite.imap("alice").ok("STATUS INBOX (MESSAGES)")[0].endswith(b"1)"))


def test_28_every_byte_of_a_queue_file(waiting):
    """The content is checked when it is delivered, everything else at start: no flip makes another message of it."""
    suite, ids = waiting
    victim = [p for p in spool_files(suite) if ids[1] in p][0]
    with open(victim, "rb") as f:
        good = f.read()
    rng = random.Random(1)
    for at in sorted(rng.sample(range(len(good)), 12)):
        with open(victim, "wb") as f:
            f.write(good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :])
        suite.start()
        now = listed(suite)
        assert {ids[0], ids[2]} <= set(now), at
        suite.stop()
        for name in set_aside(suite):
            os.unlink(os.path.join(suite.root, "spool/corrupt", name))
        if not os.path.exists(victim):
            with open(victim, "wb") as f:
                f.write(good)
            keep_owner(victim, [p for p in spool_files(suite) if ids[0] in p][0])
            os.chmod(victim, 0o700)
        else:
            with open(victim, "wb") as f:
                f.write(good)


@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory", "hardlink", "owner", "future", "past", "name", "elsewhere"])
def test_29_entries_that_are_no_queue_files(waiting, kind):
    suite, ids = waiting
    model = [p for p in spool_files(suite) if ids[0] in p][0]
    odd = os.path.join(os.path.dirname(model), "1AAAAAAA00" + model[-1])
    if kind == "symlink":
        os.symlink("/etc/passwd", odd)
    elif kind == "fifo":
        os.mkfifo(odd)
    elif kind == "directory":
        os.mkdir(odd)
    elif kind == "hardlink":
        os.link(model, odd)
    elif kind == "elsewhere":
        odd = os.path.join(os.path.dirname(model), "1AAAAAAA00" + ("0" if model[-1] != "0" else "1"))
        shutil.copy(model, odd)
    elif kind == "name":
        odd = os.path.join(os.path.dirname(model), "..x" + "y" * 100)
        open(odd, "w").close()
    else:
        shutil.copy(model, odd)
        os.chmod(odd, 0o700)
        if kind == "owner" and AS_ROOT:
            os.chown(odd, 12345, 12345)
        elif kind in ("future", "past"):
            keep_owner(odd, model)
            when = 4070908800 if kind == "future" else 0
            os.utime(odd, (when, when))
    suite.start()  # which a pipe would hold up for ever
    now = set(listed(suite))
    assert set(ids[1:]) <= now and os.path.basename(odd) not in now
    assert kind != "hardlink" or ids[0] in now  # it is whole under its own name
    until(lambda: "queue_corrupt" in suite.log() or "queue_error" in suite.log() or kind == "name")
    suite.deliver("Subject: flows\n\nx\n")


# ---- 23, 24: system calls that fail ----


class Strace:
    """Injects a fault into a running daemon (and its children) until it is left."""

    def __init__(self, pid, inject, follow=True):
        self.log = "/tmp/strace.%d" % pid
        self.p = subprocess.Popen(["strace", "-f" if follow else "-q", "-o", self.log, "-p", str(pid), "-e", "trace=" + inject.split(":")[0], "-e", "inject=" + inject], stderr=subprocess.PIPE)
        line = self.p.stderr.readline()
        assert b"attached" in line, line

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.send_signal(signal.SIGINT)
        try:
            self.p.wait(2)
        except subprocess.TimeoutExpired:
            self.p.kill()  # it waits for a thread that its own injection has ended
            self.p.wait()
        self.injected = self.seen()
        os.unlink(self.log)

    def seen(self):
        """How often it has struck."""
        with open(self.log) as f:
            return len(re.findall("INJECTED|killed by SIGKILL", f.read()))


def attempt(suite, number, to="alice@example.com"):
    """(code, text) of the last reply of one try to send; code 0 when the connection broke, or its greeting said to come again."""
    try:
        c = Smtp(suite.port("smtp"), greeting=False, timeout=15)
        code, text = c.reply()
        if code != 220:
            return 0 if code == 421 else code, text
        for command in ("EHLO client.test", "MAIL FROM:<s@remote.test>", "RCPT TO:<%s>" % to, "DATA"):
            code, text = c.command(command)
            if code not in (250, 354):
                return code, text
        c.send(body_of(number) + ".\r\n")
        return c.reply()
    except (EOFError, OSError) as e:
        return 0, str(e)


@needs_strace
@pytest.mark.parametrize("call", ["fsync,fdatasync,sync_file_range", "pwrite64,write", "rename,renameat,renameat2,linkat,fchmod"])
@pytest.mark.parametrize("error,codes", [("EIO", (451,)), ("ENOSPC", (452, 451)), ("EDQUOT", (452, 451)), ("EFBIG", (452, 451, 552))])
def test_23_24_queue_cannot_write(fresh, call, error, codes):
    suite = fresh()
    suite.add("alice")
    assert attempt(suite, 1)[0] == 250
    got = []
    # smtpd writes the content, queue everything else.
    pid = suite.daemons()["smtpd" if "write" in call else "queue"]
    with Strace(pid, "%s:error=%s:when=1+" % (call, error)) as tracer:
        for n in range(2, 14):
            got.append(attempt(suite, n))
        until(tracer.seen)  # some of it happens only when a message is done with
    accepted = [n for n, (code, _) in enumerate(got, 2) if code == 250]
    # 250 may come when the call was not needed for it; otherwise it is a temporary failure with a reason.
    for code, text in got:
        assert code in (250, 0) + codes, (code, text)
    assert attempt(suite, 100)[0] == 250  # by itself, without a restart
    flushed(suite)
    found = read_all(suite, "alice")
    for n in [1, 100] + accepted:
        assert found[n] == [body_of(n).split("\r\n\r\n", 1)[1].encode()], (n, got)


@needs_strace
@pytest.mark.parametrize("call", ["fsync,fdatasync", "pwrite64,write,writev,pwritev", "openat",
                                  # A sanitizer that gets no memory for itself ends the process.
                                  pytest.param("mmap", marks=pytest.mark.skipif("SANITIZED" in os.environ, reason="the sanitizer's own"))])
@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "ENOMEM"])
def test_24_delivery_cannot_write(fresh, call, error):
    suite = fresh(conf_lines=["queue-retry-first 1s"])
    suite.add("alice")
    # The worker for alice is not there yet: made by a process that is traced, it is traced too.
    with Strace(suite.daemons()["deliver"], "%s:error=%s:when=2+3" % (call, error)) as tracer:
        for n in range(1, 8):
            assert attempt(suite, n)[0] == 250
        until(tracer.seen)
    assert tracer.injected
    flushed(suite)
    found = read_all(suite, "alice")
    assert sorted(found) == [1, 2, 3, 4, 5, 6, 7]
    assert all(len(bodies) == 1 for bodies in found.values())
    assert "no faults" in str(suite.mw("store", "check", "alice@example.com"))


@needs_strace
def test_23_a_result_that_cannot_be_written_down_is_not_forgotten(fresh):
    """Who has had the message does not get it again and again while the disk is full."""
    with remote_host("127.0.0.11") as remote:
        suite = fresh(["transport far.test { host %s }" % remote.place, NOWHERE, "queue-retry-first 1s"])
        suite.add("alice")
        remote.answers["RCPT"] = lambda line: "450 4.2.1 not now" if "later@" in line else None
        remote.gate.clear()
        c = client(suite)
        c.expect("MAIL FROM:<alice@example.com>", 250)
        for name in ("one", "later"):
            c.expect("RCPT TO:<%s@far.test>" % name, 250)
        qid = c.data("Subject: x\n\nx\n")
        until(lambda: remote.at_once)
        with Strace(suite.daemons()["queue"], "pwritev:error=ENOSPC:when=1+") as tracer:
            remote.gate.set()
            until(tracer.seen)
        until(lambda: [r for r in suite.rows("queue", "show", qid) if r["recipient_status"] == "delivered" and r["status"] == "deferred"])
        until(lambda: [r for r in suite.rows("queue", "show", qid) if r["recipient_status"] == "deferred" and r["attempts"] > 1])
        remote.answers.clear()
        suite.mw("queue", "flush", "--all")
        suite.wait_empty()
        assert [to for _, to, _ in remote.messages] == [["one@far.test"], ["later@far.test"]]


@needs_strace
def test_23_a_notification_that_could_not_be_made_is_made_once(fresh):
    """While another recipient of the message goes on being tried."""
    with remote_host("127.0.0.11") as remote:
        suite = fresh(["transport far.test { host %s }" % remote.place, NOWHERE, "queue-retry-first 1s", "queue-retry-max 1s"])
        suite.add("alice")
        go_on = threading.Event()
        remote.answers["RCPT"] = lambda line: go_on.wait(HELD) and ("450 4.2.1 not now" if "later@" in line else "550 5.1.1 nobody")
        c = client(suite)
        c.expect("MAIL FROM:<alice@example.com>", 250)
        for name in ("nobody", "later"):
            c.expect("RCPT TO:<%s@far.test>" % name, 250)
        qid = c.data("Subject: x\n\nx\n")
        until(lambda: remote.at_once)
        with Strace(suite.daemons()["queue"], "openat:error=ENOSPC:when=1") as tracer:
            go_on.set()
            until(tracer.seen)
        told = "queue_dsn for=" + qid
        until(lambda: told in suite.log())
        tries = max(r["attempts"] for r in suite.rows("queue", "show", qid))
        until(lambda: max(r["attempts"] for r in suite.rows("queue", "show", qid)) >= tries + 3)
        assert suite.log().count(told) == 1


@needs_strace
def test_23_a_notification_that_is_not_committed_undoes_nothing(fresh):
    """Of one step: who has the message does not get it again because of the other, whose failure cannot be told yet."""
    with remote_host("127.0.0.11") as remote:
        suite = fresh(["transport far.test { host %s }" % remote.place, NOWHERE, "queue-retry-first 1s", "queue-retry-max 1s"])
        suite.add("alice")
        remote.answers["RCPT"] = lambda line: "550 5.1.1 nobody" if "nobody@" in line else None
        remote.gate.clear()
        c = client(suite)
        c.expect("MAIL FROM:<alice@example.com>", 250)
        for name in ("one", "nobody"):
            c.expect("RCPT TO:<%s@far.test>" % name, 250)
        qid = c.data("Subject: x\n\nx\n")
        until(lambda: remote.at_once)
        with Strace(suite.daemons()["queue"], "pwritev:error=ENOSPC:when=1") as tracer:
            remote.gate.set()
            until(tracer.seen)
        until(lambda: suite.log().count("queue_dsn for=%s to=alice@example.com kind=failure" % qid) == 2)
        suite.mw("queue", "flush", "--all")
        suite.wait_empty()
        assert [to for _, to, _ in remote.messages] == [["one@far.test"]]


@needs_strace
def test_23_what_was_held_is_given_up_though_it_cannot_be_told_yet(fresh):
    suite = fresh(["queue-retry-first 1s", "queue-retry-max 1s"])
    suite.add("alice")
    c = client(suite)
    c.expect("MAIL FROM:<alice@example.com>", 250)
    c.expect("RCPT TO:<one@far.test>", 250)
    qid = c.data("Subject: x\n\nx\n")
    until(lambda: [r for r in suite.rows("queue", "show", qid) if r["attempts"]])
    until(lambda: suite.mw("queue", "hold", qid, check=False).returncode == 0)
    until(lambda: suite.rows("queue", "show", qid)[0]["status"] == "held")
    with Strace(suite.daemons()["queue"], "pwritev:error=ENOSPC:when=1") as tracer:
        assert suite.mw("queue", "bounce", qid).stdout == "1 message\n"
        until(tracer.seen)
    suite.wait_empty()
    until(lambda: suite.log().count("queue_dsn for=%s to=alice@example.com kind=failure" % qid) == 2)


@needs_strace
@pytest.mark.parametrize("call", ["newfstatat", "getdents64", "unlink"])
def test_24_the_drop_cannot_be_read(fresh, call):
    suite = fresh()
    suite.add("alice")
    with Strace(suite.daemons()["pickup"], "%s:error=EIO:when=1" % call) as tracer:
        lay(suite, "new.late", letter(96, subject="when the disk is back"))
        until(tracer.seen)
    arrives(suite, "when the disk is back")
    until(lambda: not dropped(suite))
    suite.wait_empty()
    arrives(suite, "when the disk is back")


# ---- 26, 27: deaths ----


@needs_strace
@pytest.mark.parametrize("daemon,call", [("queue", "pwritev"), ("queue", "fsync"), ("queue", "fdatasync"), ("queue", "rename"), ("queue", "openat"), ("queue", "fchmod"), ("queue", "sendmsg"),
                                          ("deliver", "openat"), ("deliver", "fdatasync"), ("deliver", "pwrite64"), ("deliver", "write"), ("deliver", "sendmsg"), ("deliver", "mkdir"), ("smtpd", "sendmsg"), ("smtpd", "pwrite64"), ("auth", "sendmsg")])
def test_26_killed_at_a_system_call(fresh, daemon, call):
    suite = fresh(conf_lines=["queue-retry-first 1s"])
    suite.add("alice")
    suite.mw("alias", "add", "away@example.com", "x@elsewhere.test")
    acked, number, deaths = [], 0, 0
    for when in (1, 2, 3, 5, 8):
        try:
            tracer = Strace(until(lambda: suite.daemons()[daemon]), "%s:signal=KILL:when=%d" % (call, when))
        except AssertionError:
            continue  # it had died before strace was there
        with tracer:
            for _ in range(3):
                number += 1
                if attempt(suite, number)[0] == 250:
                    acked.append(number)
            attempt(suite, 0, to="away@example.com")  # put off: written behind its message
            # What the client does not wait for: the first call there is in any case, the eighth perhaps.
            for _ in range(100 if when == 1 else 10):
                rows = suite.mw("queue", "list", "--json", check=False).stdout
                if tracer.seen() or (when > 1 and "alice" not in rows and "away" in rows):
                    break
                time.sleep(0.05)
        deaths += tracer.injected
    assert deaths
    suite.mw("queue", "delete", "--recipient", "away@example.com", check=False)
    until(lambda: attempt(suite, 1000)[0] == 250)
    flushed(suite)
    found = read_all(suite, "alice")
    for n in acked:
        assert set(found[n]) == {body_of(n).split("\r\n\r\n", 1)[1].encode()}, n
    assert "no faults" in str(suite.mw("store", "check", "alice@example.com"))


def test_27_two_daemons_and_master_at_once(fresh):
    suite = fresh()
    suite.add("alice")
    acked, stop, lock = [], threading.Event(), threading.Lock()

    def sender(first):
        n = first
        while not stop.is_set():
            if attempt(suite, n)[0] == 250:
                with lock:
                    acked.append(n)
            else:
                time.sleep(0.02)
            n += 4

    threads = [threading.Thread(target=sender, args=(i,)) for i in range(1, 5)]
    for t in threads:
        t.start()
    rng = random.Random(7)
    for _ in range(int(os.environ.get("KILL_ROUNDS", "6"))):
        time.sleep(0.2)
        daemons = suite.daemons()
        master = daemons.pop("master")
        for pid in rng.sample(sorted(pid for pid in daemons.values() if pid), 2) + [master]:
            os.kill(pid, signal.SIGKILL)
        until(lambda: suite.mw("start", check=False).returncode == 0, what="it does not start again")
    stop.set()
    for t in threads:
        t.join(30)
    flushed(suite)  # what the spool that was read last had put off, and what is put off once more
    found = read_all(suite, "alice")
    assert acked and all(found[n] for n in acked)


# ---- 66: master ----


def test_66_a_daemon_that_crashes_at_once_is_not_started_in_a_circle(fresh):
    suite = fresh()
    killed = set()  # one that takes its time to be gone is killed twice and counts once
    start = time.monotonic()
    while time.monotonic() - start < 4:
        pid = suite.daemons().get("imapd")
        if pid:
            try:
                os.kill(int(pid), signal.SIGKILL)
                killed.add(pid)
            except OSError:
                pass
        time.sleep(0.005)
    assert len(killed) <= 40, len(killed)  # thirty at once, then it backs off
    suite.add("alice")
    suite.deliver("Subject: x\n\nx\n")


def test_66_a_start_that_is_cut_short_is_begun_anew_at_once(fresh):
    suite = fresh()

    def ready(pid=None):
        now = {row["name"]: row["pid"] for row in suite.rows("status") if row["state"] == "ready"}.get("imapd")
        return now if now != pid else None

    for _ in range(5):  # that it died before, when it had started well, does not count
        pid = until(ready)
        os.kill(pid, signal.SIGKILL)
        until(lambda: ready(pid))
    master, before = suite.daemons()["master"], until(ready)
    os.kill(before, signal.SIGKILL)
    os.kill(until(lambda: imapd_of(master, before)), signal.SIGKILL)
    deaths = until(lambda: found if len(found := [line for line in suite.log().splitlines() if "master_child_died daemon=imapd " in line]) == 7 else None)
    assert all(line.endswith(" restart_in=0") for line in deaths), deaths
    suite.imap(login=False)


def test_66_what_everybody_leans_on_comes_back(fresh):
    """It is handed a connection with each of those who run, however many they are."""
    suite = fresh(conf_lines=["imapd-workers 32"])
    suite.add("alice")
    pid = suite.daemons()["auth"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: suite.daemons()["auth"] not in (0, pid))
    assert suite.rows("account", "show", "alice@example.com")
    assert "daemon_failed" not in suite.log()


def imapd_of(master, but):
    """As soon as there is one, long before it is ready."""
    for pid in re.findall(r"\d+", open("/proc/%d/task/%d/children" % (master, master)).read()):
        try:
            if int(pid) != but and open("/proc/%s/cmdline" % pid).read().startswith("mailwain-imapd"):
                return int(pid)
        except OSError:
            continue
    return None


def test_66_a_full_disk_for_the_log(fresh):
    suite = fresh()
    with open(suite.conf) as f:
        text = f.read()
    with open(suite.conf, "w") as f:
        f.write(re.sub(r"log file:\S+", "log file:/dev/full", text))
    suite.stop()
    suite.start()
    assert "/dev/full" in {os.readlink(fd) for fd in glob.glob("/proc/%d/fd/*" % suite.daemons()["master"])}
    suite.add("alice")
    for n in range(20):
        suite.deliver(TEXT % n)
    suite.wait_empty()
    assert len(read_all(suite, "alice")) == 20
