"""A world to be damaged: the files that a real instance leaves, now and at an earlier time."""
import os
import random
import shutil
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

from mailwain import PASSWORD, Instance, until  # noqa: E402

LIVE_ACCOUNTS = ["live%02d" % n for n in range(8)]
WAITING = 24  # messages that wait in the spool for room in an account
TWO_HOURS = 7200


def text(rng, name, size=300, crlf=False):
    """A message with a name of its own; some with parts, some not in ASCII."""
    lines = ["From: =?utf-8?q?J=C3=BCrgen?= <j@remote.test>", "To: a@example.com", "Subject: %s" % name, "Date: Mon, 2 Jan 2023 04:05:06 +0000", "Message-ID: <%s@x>" % name]
    if rng.random() < 0.4:
        lines += ["MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=b", "", "--b", "", "first", "--b", "Content-Type: text/html; charset=utf-8", "", "<p>zwölf</p>", "--b--"]
    lines.append("")
    while size > 0:
        lines.append("".join(rng.choice("abcdefghij klmnop qrstuvwxyzäß") for _ in range(60)))
        size -= 62
    return ("\r\n" if crlf else "\n").join(lines) + ("\r\n" if crlf else "\n")


def wait_for(c, mailbox, count):
    until(lambda: c.ok("STATUS %s (MESSAGES)" % mailbox)[0].endswith(b"MESSAGES %d)" % count), what="%d messages in %s" % (count, mailbox))


def deliver(suite, rng, name, to, sizes):
    """Through SMTP, in one connection."""
    c = suite.smtp()
    c.hello()
    for n, size in enumerate(sizes):
        c.expect("MAIL FROM:<bob@remote.test>", 250)
        c.expect("RCPT TO:<%s@example.com>" % to, 250)
        c.data(text(rng, "%s-%s-%d" % (to, name, n), size).encode())
    c.close()


def first_time(suite, rng):
    """A mailbox with all there is to one."""
    deliver(suite, rng, "old", "alice", [200] * 12 + [9000, 30000, 90000, 400000])
    c = suite.imap("alice")
    wait_for(c, "INBOX", 16)
    for name in ("kept", "kept/deep", "gone/below", "Gr&APYA3w-e", "n" * 600):
        c.ok('CREATE "%s"' % name)
    c.ok("SUBSCRIBE kept")
    c.ok("SUBSCRIBE ghost")
    for n in range(40):
        c.append("kept", text(rng, "kept-%d" % n, rng.randrange(100, 3000), crlf=True), rng.choice(["", "\\Seen", "\\Flagged Work", "Red $Junk"]))
    c.ok("SELECT INBOX")
    c.ok("STORE 1:5 +FLAGS (\\Seen Important)")
    c.ok("COPY 2:6 kept/deep")
    c.ok("MOVE 7 Archive")
    c.close()


def later(suite, rng):
    """What an older version of a file does not know."""
    deliver(suite, rng, "new", "alice", [200, 700, 70000])
    c = suite.imap("alice")
    wait_for(c, "INBOX", 18)
    c.ok("CREATE later")
    c.ok("DELETE gone")
    c.ok("RENAME kept/deep deeper")
    c.ok("SELECT INBOX")
    c.ok("STORE 3:9 FLAGS (\\Answered)")
    c.ok("STORE 1,4 +FLAGS (\\Deleted)")
    c.ok("EXPUNGE")
    c.ok("COPY 1:3 later")
    c.close()


def fill_live(suite, rng):
    for name in LIVE_ACCOUNTS:
        deliver(suite, rng, "live", name, [300, 2000, 300, 40000])
    for name in LIVE_ACCOUNTS:
        c = suite.imap(name)
        wait_for(c, "INBOX", 4)
        c.ok("CREATE box/inner")
        c.append("Sent", text(rng, name + "-sent", 500, crlf=True), "\\Seen Blue")
        c.append("box/inner", text(rng, name + "-large", 300000, crlf=True))
        c.ok("SELECT INBOX")
        c.ok("STORE 1:2 +FLAGS (\\Flagged Green)")
        c.ok("COPY 2:3 box/inner")
        c.close()


def fill_spool(suite, rng):
    suite.mw("account", "add", "full@example.com", "--password-stdin", "--quota", "1K", input=PASSWORD + "\n")
    suite.mw("alias", "add", "away@example.com", "x@elsewhere.test", "y@elsewhere.test")
    deliver(suite, rng, "full", "full", [1500] * WAITING)
    deliver(suite, rng, "away", "away", [400] * 20 + [30000, 120000])
    until(lambda: suite.log().count("queue_deferred") >= WAITING + 22)


def fill_directory(suite, names):
    for name in names:
        suite.mw("account", "add", name + "@example.com", "--password-stdin", "--name", "N. " + name, "--quota", "5M", input=PASSWORD + "\n")
        suite.mw("alias", "add", "to-" + name + "@example.com", name + "@example.com")


def settle(suite):
    """Everything is closed and on the disk, and older than what may be about to be filed."""
    suite.stop()


def make_old(path):
    when = time.time() - TWO_HOURS
    for directory, _, names in os.walk(path):
        for name in names:
            os.utime(os.path.join(directory, name), (when, when))


def copy_parts(suite, world, suffix, account):
    for part, source in (("account", account), ("spool", os.path.join(suite.root, "spool")), ("directory", os.path.join(suite.root, "data", "directory"))):
        target = os.path.join(world, part + suffix)
        shutil.copytree(source, target)
        make_old(target)


def copy_whole(suite, target):
    """data and spool as they are, owners too."""
    for part in ("data", "spool"):
        make_old(os.path.join(suite.root, part))
        os.makedirs(target, exist_ok=True)
        if os.system("cp -a '%s' '%s/'" % (os.path.join(suite.root, part), target)) != 0:
            raise OSError("cp")


def make(world, seed, log):
    """Returns the instance, stopped; its files are in world/: account, spool, directory, each also as .old, and live/."""
    rng = random.Random(seed)
    suite = Instance()
    suite.start()
    for name in ["alice", *LIVE_ACCOUNTS]:
        suite.add(name)
    log("an instance with mail")
    fill_directory(suite, ["early%d" % n for n in range(8)])
    fill_spool(suite, rng)
    fill_live(suite, rng)
    first_time(suite, rng)
    account = suite.account_dir("alice")
    settle(suite)
    copy_parts(suite, world, ".old", account)
    suite.start()
    later(suite, rng)
    fill_directory(suite, ["late%d" % n for n in range(4)])
    suite.mw("account", "passwd", "early1@example.com", "--password-stdin", input="other horse\n")
    suite.mw("account", "remove", "early2@example.com")
    tried = suite.log().count("queue_deferred")
    suite.mw("queue", "flush", "--all")
    until(lambda: suite.log().count("queue_deferred") >= tried + WAITING + 22)
    settle(suite)
    copy_parts(suite, world, "", account)
    copy_whole(suite, os.path.join(world, "live"))
    return suite
