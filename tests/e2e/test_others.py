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
