"""What one client, one account or one bad message must not do to everybody else."""
import os
import re
import signal
import subprocess
import time

import pytest

from mailwain import BIN, Imap, until
from tools import Strace, all_read, needs_strace


def start_with_few_files(suite, count):
    suite.stop()
    subprocess.run(["sh", "-c", 'ulimit -n "$1"; shift; exec "$@"', "sh", str(count), BIN, "--root", suite.root, "start"], check=True, timeout=60)
    suite.started = True


def test_slow_messages_do_not_use_up_the_spool_files(fresh):
    """More clients than queue hands out files stop within a message. When they are gone mail flows again."""
    suite = fresh()
    suite.add("alice")
    start_with_few_files(suite, 2100)
    slow = []
    for _ in range(560):
        c = suite.smtp()
        c.send("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<alice@example.com>\r\nDATA\r\n")
        slow.append(c)
    for c in slow[:320]:  # strangers get 384 of 512, of which smtpd and submission keep some in hand
        while c.reply()[0] != 354:
            pass
    for c in slow:
        c.close()
    suite.deliver("Subject: flows\n\nx\n")


def status_of(suite, name):
    return [row for row in suite.rows("status") if row["name"] == name][0]


def test_an_account_that_cannot_be_opened_is_not_tried_without_end(fresh):
    suite = fresh()
    suite.add("alice")
    suite.add("carol")
    suite.deliver("Subject: first\n\nx\n")
    suite.wait_empty()
    lock = os.path.join(suite.account_dir("alice"), "lock")
    suite.stop()
    os.unlink(lock)
    os.mkdir(lock)
    suite.start()
    qid = suite.deliver("Subject: waits\n\nx\n")
    row = until(lambda: [r for r in suite.rows("queue", "list") if r["id"] == qid and r["status"] == "deferred"])[0]
    assert row["reason"].startswith("451")
    assert status_of(suite, "deliver")["total"] < 10
    os.rmdir(lock)
    suite.deliver("Subject: flows\n\nx\n", to=["carol"])
    suite.mw("queue", "flush", "--all")
    suite.wait_empty()


def written(pid):
    with open("/proc/%d/io" % pid) as f:
        return int(re.search(r"wchar: (\d+)", f.read()).group(1))


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        return [int(p) for p in f.read().split()]


def test_more_accounts_than_workers(fresh):
    """An account whose worker has nothing to do makes room; none has to come again minutes later."""
    suite = fresh(conf_lines=["delivery-workers 2"])
    names = ["a%d" % n for n in range(6)]
    for name in names:
        suite.add(name)
    suite.deliver("Subject: all\n\nx\n", to=names)
    for name in names:
        suite.deliver("Subject: each\n\nx\n", to=[name])
    suite.wait_empty()
    assert "queue_deferred" not in suite.log()
    assert len(children(suite.daemons()["deliver"])) <= 2


@needs_strace
def test_a_worker_that_is_told_to_end_while_it_works_does(fresh):
    """And not only once it has had nothing to do for a minute, or stop-timeout is over."""
    suite = fresh(conf_lines=["delivery-workers 1", "stop-timeout 1m"])
    suite.add("alice")
    suite.add("carol")
    suite.deliver("Subject: first\n\nx\n")
    suite.wait_empty()
    with Strace(children(suite.daemons()["deliver"])[0], "fsync:delay_enter=1500000"):
        suite.deliver("Subject: both\n\nx\n", to=["alice", "carol"])
        suite.wait_empty()
    assert "queue_deferred" not in suite.log() and "store_error" not in suite.log()


def test_a_worker_that_hangs_makes_room(fresh):
    suite = fresh(conf_lines=["delivery-workers 1", "stop-timeout 1s"])
    suite.add("alice")
    suite.add("carol")
    suite.deliver("Subject: first\n\nx\n")
    suite.wait_empty()
    os.kill(children(suite.daemons()["deliver"])[0], signal.SIGSTOP)
    suite.deliver("Subject: hangs\n\nx\n")
    suite.deliver("Subject: flows\n\nx\n", to=["carol"])
    suite.wait_empty()


def test_one_mailbox_named_many_times_is_written_once(fresh):
    suite = fresh()
    suite.add("alice")
    suite.deliver("Subject: first\n\nx\n")
    suite.wait_empty()
    worker = children(suite.daemons()["deliver"])[0]
    before = written(worker)
    size = 1 << 20
    suite.deliver(b"Subject: many\n\n" + (b"x" * 75 + b"\n") * (size // 77), to=["alice+%d" % n for n in range(60)])
    suite.wait_empty()
    assert written(worker) - before < 4 * size
    c = suite.imap("alice")
    assert c.ok("STATUS INBOX (MESSAGES)")[0].endswith(b"(MESSAGES 2)")


def test_mail_of_many_parts_does_not_fill_the_index(fresh):
    suite = fresh()
    suite.add("alice")
    parts = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\n" * 5000 + b"--b--\n"
    for n in range(10):
        suite.deliver(b"Subject: %d\n" % n + parts)
    suite.wait_empty()
    index = os.path.join(suite.account_dir("alice"), "index", "data.mdb")
    assert os.path.getsize(index) < 10 * 2 * len(parts)
    c = suite.imap("alice")
    c.ok("SELECT INBOX")
    assert c.ok("FETCH 1 BODYSTRUCTURE")[0].count(b'"US-ASCII"') == 5000
    assert suite.mw("store", "check", "alice@example.com").stdout.startswith("no faults")


def test_mail_of_many_parts_can_be_listed_and_searched(fresh):
    """What one message takes of the session's memory is given back for the next."""
    suite = fresh()
    suite.add("alice")
    c = suite.imap("alice")
    parts = b"Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * 9000
    for _ in range(50):
        c.append("INBOX", parts)
    c.ok("SELECT INBOX")
    assert c.ok("SEARCH SENTSINCE 1-Jan-2000")[0].count(b" ") == 51
    tag = c.begin("FETCH 1:50 (BODYSTRUCTURE)")
    count = 0
    while not (line := c.line()).startswith(tag + b" "):
        count += b"FETCH (BODYSTRUCTURE" in line[:40]
    assert line.startswith(tag + b" OK") and count == 50


def test_one_account_cannot_have_all_sessions(fresh):
    suite = fresh(conf_lines=["imap-sessions 5", "imap-sessions-per-account 3"])
    suite.add("alice")
    suite.add("carol")
    open_ones = [suite.imap("alice") for _ in range(3)]
    refused = suite.imap("alice", login=False)
    refused.send('x LOGIN alice@example.com "correct horse"\r\n')
    assert refused.response().startswith(b"x NO [LIMIT]") and refused.response().startswith(b"* BYE") and refused.at_end()
    suite.imap("carol").ok("NOOP")
    open_ones[0].ok("LOGOUT")

    def again():
        c = suite.imap("alice", login=False)
        return c.run('LOGIN alice@example.com "correct horse"')[1].startswith(b"OK")

    until(again)  # when the process of the one that left has ended


def test_quota_holds_for_what_is_removed_too(fresh):
    suite = fresh()
    suite.mw("account", "add", "small@example.com", "--password-stdin", "--quota", "100K", input="correct horse\n")
    c = suite.imap("small")
    c.ok("SELECT INBOX")
    for n in range(8):
        c.append("INBOX", b"Subject: x\r\n\r\n" + b"x" * 40000 + b"\r\n", flags="\\Deleted")
        c.ok("EXPUNGE")
    mail = os.path.join(suite.account_dir("small"), "mail")
    assert sum(os.path.getsize(os.path.join(base, f)) for base, _, files in os.walk(mail) for f in files) < 150000


def guess(c, n):
    c.send('x LOGIN nobody%d@example.com "wrong"\r\n' % n)


def answered(c):
    c.sock.setblocking(False)
    try:
        return len(c.sock.recv(4096)) > 0
    except BlockingIOError:
        return False


def test_guessing_does_not_keep_others_from_logging_in(fresh):
    """120 checks wait, more than there is room for; the next one from elsewhere comes almost at once. auth gets all of them together, however slow their clients are."""
    suite = fresh(conf_lines=["password-hashes 1"])
    suite.add("alice")
    guessers = [Imap(suite.port("imap"), source="127.0.0.2") for _ in range(120)]
    polite = Imap(suite.port("imap"), source="127.0.0.3")
    auth = suite.daemons()["auth"]
    os.kill(auth, signal.SIGSTOP)
    try:
        for n, c in enumerate(guessers):
            guess(c, n)
        for c in guessers:
            all_read(c)
        tag = polite.begin('LOGIN alice@example.com "correct horse"')
        all_read(polite)
    finally:
        os.kill(auth, signal.SIGCONT)
    assert polite.end(tag)[1].startswith(b"OK")
    suite.until_logged(" auth_ok user=alice@example.com ")
    assert suite.log().partition(" auth_ok user=alice@example.com ")[0].count(" auth_failed ") < 40


@pytest.mark.alone
def test_one_address_that_tries_many_accounts_is_slowed_down(fresh):
    suite = fresh()
    with open(suite.conf) as f:
        text = f.read().replace("unlimited-from 127.0.0.0/8", "unlimited-from 127.0.0.1")
    with open(suite.conf, "w") as f:
        f.write(text)
    suite.mw("reload")
    guessers = [Imap(suite.port("imap"), source="127.0.0.2") for _ in range(24)]
    for n, c in enumerate(guessers):
        guess(c, n)
    until(lambda: suite.log().count("auth_failed") == 24)
    got = set()
    until(lambda: got.update(c for c in guessers if answered(c)) or len(got) >= 20)
    time.sleep(0.3)
    got.update(c for c in guessers if answered(c))
    assert len(got) < 24  # the first of those who wait may have been answered meanwhile
