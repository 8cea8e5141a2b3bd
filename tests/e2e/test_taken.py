"""What a daemon that was taken over gets when it asks for more than its part."""
import os
import socket

import pytest

from mailwain import until
from taken import channels, descriptor, message

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
