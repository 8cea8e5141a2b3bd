"""Mail to another host: queue that hands it over, writes down what became of it and is done with it; relay; and pickup, from sendmail(1) and from the drop."""
import base64
import os
import secrets
import subprocess

import mailwain
from account import text_of
from killing import Log
from mail_paths import has_record
from mailwain import DOMAIN, PASSWORD, Smtp, until
from path import SETTLE, Broken, Path, converse, message_of

WRITER = "fay@" + DOMAIN
LOGIN = "AUTH PLAIN " + base64.b64encode(("\0%s\0%s" % (WRITER, PASSWORD)).encode()).decode()
OVER = 60


def submit(suite, token, to, size=600):
    """By a user of ours; as path.hand_in."""
    try:
        client = Smtp(suite.port("submission"), timeout=15)
        try:
            return converse(client, ["EHLO client.test", LOGIN, "MAIL FROM:<%s>" % WRITER, *("RCPT TO:<%s>" % a for a in to), "DATA"], message_of(token, size))
        finally:
            client.close()
    except (OSError, EOFError, AssertionError, ValueError):
        return None


class RelayPath(Path):
    """A message for a host elsewhere that takes it. It may come there twice after a kill: the host's notes tell."""

    restarts = "queue"
    to = ["x@far.test"]
    size = 600
    hangs_up = 0  # of a hundred times, the host elsewhere, behind its 250

    def prepare(self):
        self.suite.far.answers.clear()
        self.suite.far.mischief = {"hang up": self.hangs_up}

    def targets(self):
        return [self.suite.pid(self.restarts)], False

    def act(self):
        return submit(self.suite, self.token, self.to, self.size)

    def over(self):
        return not self.suite.spooled()

    def settle(self):
        """What was put off is tried at once, until nothing is left."""

        def is_empty():
            self.suite.mw("queue", "flush", "--all", check=False)
            return self.over() and not self.suite.spooled()
        until(is_empty, SETTLE, "the queue is not empty")
        if self.suite.set_aside():
            raise Broken("set aside: %s" % self.suite.set_aside())

    def judge(self, outcome, hit):
        taken = self.suite.far.taken_of(text_of(self.token).split("\r", 1)[0])
        for address in self.to:
            count = taken.count(address)
            if count == 0 and outcome is True:
                raise Broken("acknowledged, and not there for %s" % address)
            if count > (2 if hit else 1):
                raise Broken("it came to %s %d times" % (address, count))
            self.twice += count == 2
        if set(taken) - set(self.to):
            raise Broken("it came to %s" % taken)


class RelayQueue(RelayPath):
    """From the commit over the hand-over and the result to the removal."""

    name = "relay-queue"


class RelayQueueLarge(RelayPath):
    """Relay is lent a descriptor."""

    name = "relay-queue-large"
    size = 40000


class RelayRelay(RelayPath):
    """The connection, which is a new one each time, the conversation, the result."""

    name = "relay-relay"
    restarts = "relay"
    hangs_up = 100


class RelayAgain(RelayRelay):
    """By the connection that is open from the message before."""

    name = "relay-again-relay"
    hangs_up = 0

    def prepare(self):
        super().prepare()
        if submit(self.suite, self.token + ".0", self.to) is not True:
            raise Broken("refused though nobody was killed")
        until(lambda: not self.suite.spooled(), SETTLE, "the queue is not empty")


class RelayRecord(RelayPath):
    """One recipient has it, another is put off: the record. Who is written down does not get it again, though queue dies as it rests."""

    name = "relay-record-queue"
    to = ["x@far.test", "y@far.test"]

    def prepare(self):
        super().prepare()
        self.suite.far.answers = {"RCPT": ["250", "450 4.2.1 not now"]}

    def over(self):
        return any(has_record(path) for path in self.suite.spooled())

    def settle(self):
        rested = self.over()
        if rested:
            log = Log(self.suite)
            os.kill(self.suite.pid("queue"), 9)
            self.suite.deaths += 1
            self.wait_restart(log)

        def is_empty():
            self.suite.mw("queue", "flush", "--all", check=False)
            return not self.suite.spooled()
        until(is_empty, SETTLE, "the queue is not empty")
        if self.suite.set_aside():
            raise Broken("set aside: %s" % self.suite.set_aside())


class PickupPath(RelayPath):
    """A letter that a program hands in by sendmail(1); with nobody to take it, it lies in the drop."""

    name = "pickup-sendmail"
    restarts = "pickup"

    def dropped(self):
        return [name for name in os.listdir(os.path.join(self.suite.root, "data", "drop")) if name.startswith(("new.", "bad."))]

    def act(self):
        r = subprocess.run([os.path.join(mailwain.BUILD, "sbin", "sendmail"), "-i", "-f", WRITER, "--", *self.to], input=message_of(self.token, self.size).encode(),
                           env={"MAILWAIN_ROOT": self.suite.root, "PATH": "/usr/bin:/bin"}, capture_output=True, timeout=OVER)
        if r.returncode not in (0, 75):
            raise Broken("sendmail ended with %d: %s" % (r.returncode, r.stderr.decode()))
        return r.returncode == 0

    def over(self):
        return not self.dropped() and not self.suite.spooled()


class PickupDrop(PickupPath):
    """A letter of the drop, until it is out of it."""

    name = "pickup-drop"

    def act(self):
        name = secrets.token_hex(16)
        head = ["mailwain-drop 1", "handover " + name, "user root", "sender " + WRITER] + ["recipient " + a for a in self.to]
        path = os.path.join(self.suite.root, "data", "drop", "%s." + name)
        with open(path % "tmp", "wb") as f:
            f.write(("\n".join(head) + "\n\n" + message_of(self.token, self.size)).encode())
        os.chmod(path % "tmp", 0o640)
        os.rename(path % "tmp", path % "new")
        return True


class PickupQueue(PickupPath):
    """Queue dies while it takes a letter."""

    name = "pickup-queue"
    restarts = "queue"


def relay_paths(suite):
    return [kind(suite) for kind in (RelayQueue, RelayQueueLarge, RelayRelay, RelayAgain, RelayRecord, PickupPath, PickupDrop, PickupQueue)]
