"""What one client, one account or one bad message must not do to everybody else."""
import os
import subprocess
import time

import pytest

from mailwain import BIN, Smtp, until

AS_ROOT = os.geteuid() == 0


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
    for c in slow[:500]:
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
