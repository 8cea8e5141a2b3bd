"""Accept, deliver and bounce: the processes a message goes through."""
import contextlib
import os
import re
import signal

from account import Account, contents, text_of
from mailwain import until
from path import AccountPath, Broken, Path, send, with_message


class MailPath(AccountPath):
    """A message for alice."""

    size = 600
    to = ["alice@example.com"]
    before = None

    def prepare(self):
        if self.count % self.kept == 1:
            empty(self.account, "INBOX")
            self.before = None
        if self.before is None:
            self.before = contents(self.account.look())

    def act(self):
        return send(self.suite, self.token, self.to, size=self.size)

    def over(self):
        return not self.suite.spooled()

    def after(self):
        return with_message(self.before, "INBOX", self.token)


def empty(account, mailbox):
    c = account.session()
    c.ok("SELECT " + mailbox)
    c.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)") if has_messages(account, mailbox) else None
    c.ok("CLOSE")


def has_messages(account, mailbox):
    return b"MESSAGES 0" not in account.session().ok('STATUS "%s" (MESSAGES)' % mailbox)[0]


def without_workers(suite):
    """The spawner, when the idle workers have ended: the next delivery begins with a fork."""
    for pid in suite.accounts_processes("deliver"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    until(lambda: not suite.accounts_processes("deliver"), what="a worker does not end")
    return suite.pid("deliver")


class AcceptSmtpd(MailPath):
    name = "accept-smtpd"
    restarts = "smtpd"

    def targets(self):
        return [self.suite.pid("smtpd")], False


class DeliverQueue(MailPath):
    """From the offer of a file to the message's removal: accept and deliver are one row of calls in queue."""

    name = "accept-deliver-queue"
    restarts = "queue"

    def targets(self):
        return [self.suite.pid("queue")], False


class DeliverQueueLarge(DeliverQueue):
    """More than 32 KiB: the worker is lent a descriptor, and the file is not used again."""

    name = "accept-deliver-queue-large"
    size = 40000
    kept = 10


class DeliverWorker(MailPath):
    """From its fork: confinement, opening of the store, batch, answer."""

    name = "deliver-worker"

    def targets(self):
        return [without_workers(self.suite)], True

    def look_at_log(self, log):
        """What a dead worker had goes to the next one at once: it does not wait for its next attempt."""
        late = [line for line in log.lines() if "queue_deferred" in line]
        if late:
            raise Broken("put off: %s" % late[0])


class DeliverWorkerLarge(DeliverWorker):
    name = "deliver-worker-large"
    size = 200000
    kept = 10


class DeliverBatch(DeliverWorker):
    """Three messages that wait when the worker begins: they are filed in one transaction."""

    name = "deliver-batch-worker"
    kept = 15

    def prepare(self):
        super().prepare()
        self.spawner = without_workers(self.suite)
        os.kill(self.spawner, signal.SIGSTOP)
        for n in range(3):
            if send(self.suite, "%s.%d" % (self.token, n), self.to) is not True:
                raise Broken("refused though nobody was killed")

    def targets(self):
        return [self.spawner], True

    def act(self):
        os.kill(self.spawner, signal.SIGCONT)
        return True

    def after(self):
        after = self.before
        for n in range(3):
            after = with_message(after, "INBOX", "%s.%d" % (self.token, n))
        return after


class DeliverSpawner(MailPath):
    name = "deliver-spawner"
    restarts = "deliver"

    def targets(self):
        return [without_workers(self.suite)], False


class Defer(Path):
    """Accepted, tried, put off: the delivery record behind the message."""

    name = "accept-defer-queue"
    restarts = "queue"

    def targets(self):
        return [self.suite.pid("queue")], False

    def prepare(self):
        for row in self.suite.rows("queue", "list"):
            self.suite.mw("queue", "delete", row["id"], check=False)
        until(lambda: not self.suite.spooled(), what="a deleted message stays")

    finish = prepare

    def act(self):
        return send(self.suite, self.token, ["away@example.com"])

    def over(self):
        return any(has_record(path) for path in self.suite.spooled())

    def settle(self):
        if self.suite.set_aside():
            raise Broken("set aside: %s" % self.suite.set_aside())

    def judge(self, outcome, hit):
        listed = [row["id"] for row in self.suite.rows("queue", "list")]
        files = [path for path in self.suite.spooled() if is_whole(path, self.token)]
        if len(files) > 1 or [os.path.basename(path) for path in files] != listed:
            raise Broken("listed %s, in the spool %s" % (listed, files))
        if outcome is True and not files:
            raise Broken("the message is gone")


def is_whole(path, token):
    with open(path, "rb") as f:
        return text_of(token).encode() in f.read()


def has_record(path):
    try:
        with open(path, "rb") as f:
            return b"JRWM\x02\0\0\0" in f.read()
    except FileNotFoundError:
        return False


class Bounce(Path):
    """Put off, given up at the second attempt; the sender is told. Its suite has `queue-lifetime 1s`."""

    name = "bounce-queue"
    restarts = "queue"
    parameters = ""
    to = ["away@example.com"]

    def __init__(self, suite, account):
        super().__init__(suite)
        self.account = account

    def restarted(self):
        self.account.close()

    def prepare(self):
        if self.count % 40 == 1:
            empty(self.account, "INBOX")

    def targets(self):
        return [self.suite.pid("queue")], False

    def act(self):
        return send(self.suite, self.token, self.to, sender="bob@example.com", parameters=self.parameters)

    def over(self):
        return self.suite.is_empty()

    def judge(self, outcome, hit):
        c = self.account.session()
        c.ok("EXAMINE INBOX")
        told = sum(re.search(rb"Subject: %s \d+\r\n" % self.token.encode(), line) is not None for line in c.ok("FETCH 1:* BODY.PEEK[]")) if has_messages(self.account, "INBOX") else 0
        c.run("UNSELECT")
        if told > 2 or (outcome is True and told == 0) or (hit is None and told != 1):
            raise Broken("the sender was told %d times" % told)
        self.twice += told == 2
        self.account.look_at_counters()
        self.account.check()


class Told(Bounce):
    """Delivered, and the sender asked to be told."""

    name = "success-dsn-queue"
    to = ["alice@example.com"]
    parameters = " NOTIFY=SUCCESS"


def bounce_paths(suite):
    return [Bounce(suite, Account(suite, "bob"))]


def mail_paths(suite):
    alice, bob = Account(suite, "alice"), Account(suite, "bob")
    return [AcceptSmtpd(suite, alice), DeliverQueue(suite, alice), DeliverQueueLarge(suite, alice), DeliverSpawner(suite, alice),
            DeliverWorker(suite, alice),
            DeliverBatch(suite, alice), DeliverWorkerLarge(suite, alice), Defer(suite), Told(suite, bob)]
