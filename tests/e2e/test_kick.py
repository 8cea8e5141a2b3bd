"""Sessions that are open end when what they logged in with is taken back, or an administrator wants it."""
import os
import signal

import pytest

from mailwain import PASSWORD, Imap, Smtp
from test_app_passwords import new
from test_submission import client, plain
from tools import all_read, until, worker_of

CLOSED = 421
LETTER = "Subject: x\r\n\r\nx\r\n"


def disable(suite, address):
    suite.mw("account", "disable", address)


def remove(suite, address):
    suite.mw("account", "remove", address)


def password(suite, address):
    suite.mw("account", "passwd", address, "--password-stdin", input="another horse\n")


def kick(suite, address):
    assert suite.mw("account", "kick", address).stdout == address + ": its sessions end\n"


def revoke(suite, address):
    suite.mw("account", "app-password", "revoke", address, "phone")


def imported(suite, address):
    suite.mw("directory", "import", "-", input="account %s disabled\n" % address)


CHANGES = [disable, remove, password, kick, revoke, imported]


def imap_sessions(suite, address, secret):
    """One over TLS, one without, one that waits in IDLE."""
    clients = []
    for service in ("imaps", "imap", "imap"):
        c = Imap(suite.port(service), tls=service == "imaps")
        c.ok('LOGIN %s "%s"' % (address, secret))
        clients.append(c)
    clients[2].ok("SELECT INBOX")
    clients[2].begin("IDLE")
    assert clients[2].line().startswith(b"+ ")
    return clients


def submitting(suite, address, secret):
    """One between messages, one behind its recipients, one within a message."""
    clients = [Smtp(suite.port("submission")) for _ in range(3)]
    for c in clients:
        c.hello()
        c.expect("AUTH PLAIN " + plain(address, secret), 235)
    for c in clients[1:]:
        c.expect("MAIL FROM:<%s>" % address, 250)
        c.expect("RCPT TO:<carol@example.com>", 250)
    clients[2].expect("DATA", 354)
    clients[2].send("Subject: never\r\n\r\nhalf")
    return clients


@pytest.mark.parametrize("change", CHANGES)
def test_sessions_end(suite, account, change):
    address = account + "@example.com"
    secret = new(suite, address, "phone") if change is revoke else PASSWORD
    readers, senders, other = imap_sessions(suite, address, secret), submitting(suite, address, secret), client(suite)
    bystander = suite.imap("alice")
    change(suite, address)
    for c in readers:
        assert c.line() == b"* BYE Log in again" and c.at_end()
    for c in senders:
        code, text = c.reply()
        assert code == CLOSED and text.endswith("Log in again") and c.at_end()
    other.expect("NOOP", 250)
    bystander.ok("NOOP")
    suite.until_logged(" smtp_kicked user=%s rip=127.0.0.1" % address, " imap_disconnect user=%s rip=127.0.0.1 commands=0 reason=kicked" % address)
    assert "never" not in str(suite.rows("queue", "list"))


def test_who_knows_a_password_comes_back(suite, account):
    address = account + "@example.com"
    kick(suite, address)  # nobody is there
    suite.imap(account)
    kick(suite, address)
    suite.imap(account).ok("NOOP")
    client(suite, address).expect("MAIL FROM:<%s>" % address, 250)
    suite.until_logged(" auth_kicked user=" + address)
    assert suite.mw("account", "kick", "nobody@example.com", check=False).returncode == 67


def test_an_import_of_what_was_there_ends_nothing(suite, account):
    c = suite.imap(account)
    other = suite.imap("carol")
    text = suite.mw("directory", "export").stdout
    suite.mw("directory", "import", "-", input=text)
    c.ok("NOOP")
    suite.mw("directory", "import", "-", input="\n".join(line for line in text.splitlines() if " %s@" % account in line).replace(" id=", " quota=1M id="))
    c.ok("NOOP")
    other.ok("NOOP")


def test_what_queue_is_asked_to_keep_is_kept_and_nothing_behind_it(suite, account):
    """Commands that came ahead, behind the message that waits for queue, are not done."""
    address = account + "@example.com"
    c, idle = client(suite, address), client(suite, address)
    c.envelope("carol@example.com", address)
    c.expect("DATA", 354)
    queue = suite.daemons()["queue"]
    os.kill(queue, signal.SIGSTOP)
    try:
        c.send(LETTER + ".\r\nMAIL FROM:<%s>\r\nRSET\r\n" % address)
        all_read(c)
        kick(suite, address)
        assert idle.reply()[0] == CLOSED  # so submission knows
    finally:
        os.kill(queue, signal.SIGCONT)
    assert c.reply()[0] == 250
    assert c.reply()[0] == CLOSED and c.at_end()


LARGE = b"Subject: large\r\n\r\n" + 120_000 * (b"y" * 68 + b"\r\n")


def begun(suite, account, commands):
    """A client that has seen the first answer begin and takes no more, with all of its commands read."""
    c = suite.imap(account)
    c.ok("SELECT INBOX")
    c.send(commands)
    assert c.line() == b"* 1 FETCH (BODY[] {%d}" % len(LARGE)
    all_read(c)
    return c


def test_what_a_client_has_asked_for_ahead_is_not_done(suite, account):
    """Neither the commands nor the messages behind the one that is being sent; and who does not take that one is not waited for."""
    address = account + "@example.com"
    first = suite.imap(account)
    first.append("INBOX", LARGE)
    first.ok("SELECT INBOX")
    first.ok("COPY 1 INBOX")
    commands = begun(suite, account, "a FETCH 1 (BODY.PEEK[])\r\nb FETCH 2 (BODY.PEEK[])\r\n" + 200 * "c CREATE late\r\n")
    messages = begun(suite, account, "a FETCH 1:2 (BODY.PEEK[])\r\n" + 200 * "c CREATE late\r\n")
    silent = begun(suite, account, "a FETCH 1 (BODY.PEEK[])\r\n" + 200 * "c CREATE late\r\n")
    kick(suite, address)
    assert first.at_end()  # the oldest session is told last, so all others have been told before they go on
    for c, end in ((commands, b")\r\na OK Fetched\r\n"), (messages, b")\r\n")):
        assert c.at_end()
        rest = c.buffer
        assert b" FETCH (" not in rest and b"\r\nc " not in rest
        # On a machine that takes seconds for it, not even the first.
        assert len(rest) < len(LARGE) or rest[len(LARGE):] == end + b"* BYE Log in again\r\n"
    until(lambda: worker_of(suite, "imap-session", account) is None, what="a session waits for who does not read")
    assert silent.at_end() and b"\r\nc " not in silent.buffer
    assert not any(b"late" in line for line in suite.imap(account).ok('LIST "" *'))
