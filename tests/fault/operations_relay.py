"""Mail that leaves: to another host, by queue and relay; handed in by sendmail(1) and from the drop; into the file of an alias, by agent."""
import os
import secrets
import subprocess

import mailwain
from answers import Answer
from mailwain import DOMAIN
from operation import LARGE, text_of
from operations_mail import Send
from subject import SETTLE, SYSTEM_DOMAIN, Broken, until

TO = ["x@far.test", "y@far.test"]


class Relay(Send):
    """By SMTP for an alias that leads to another host, until it is there and has left the queue."""

    only = ("queue", "relay")

    def __init__(self, subject, name="relay", to=("far",), far=TO[:1], size=0, anew=False):
        super().__init__(subject, name, list(to), {}, size)
        self.far, self.hangs_up = list(far), 100 if anew else 0

    def before(self):
        self.s.far.answers, self.s.far.mischief = {}, {"hang up": self.hangs_up}

    def taken(self):
        return self.s.far.taken_of("message %d" % self.number)

    def deferred(self):
        return bool(self.qid) and bool(self.s.events.find("queue_deferred", self.qid))

    def verify(self, answers):
        self.leave()
        if not all(a.ok or a.closed for a in answers):
            if self.taken():
                raise Broken("refused, and it is there")
        elif not any(a.closed for a in answers):
            for address in self.far:
                self.verify_taken(address)

    def leave(self):
        """What was put off goes by itself; here it does so at once."""
        self.s.flush()
        self.s.settled(self.s.spool_left_over, "left over in the spool")

    def verify_taken(self, address):
        """Twice only when queue has not heard of the first: it tells of each result that it gets."""
        count = self.taken().count(address)
        if count == 0:
            raise Broken("acknowledged, gone from the queue, and not there")
        told = "mailbox=%s " % address
        # It is gone from the spool a moment before the log has the line.
        until(lambda: self.s.events.find("queue_delivered", told), SETTLE, "taken %d times, of which queue has heard none" % count)
        heard = len(self.s.events.find("queue_delivered", told))
        if count > 2 or heard > 1:
            raise Broken("taken %d times, of which queue has heard %d" % (count, heard))
        self.twice += count == 2


class Record(Relay):
    """For two, one of whom is put off: what became of the other is written down, and it is not sent to him again."""

    only = ("queue",)

    def __init__(self, subject):
        super().__init__(subject, "relay, one put off", ("far", "farther"), TO)

    def before(self):
        super().before()
        self.s.far.answers = {"RCPT": ["250", "450 4.2.1 not now"]}

    def deferred(self):
        """It always is; that it is put off is no refusal."""
        return False

    def wait_rest(self):
        log = self.s.events
        until(lambda: log.find("queue_deferred", self.qid), SETTLE, "message %s is not put off" % self.qid)


class Letter(Relay):
    """By sendmail(1), which puts into the drop what pickup does not take."""

    only = ("pickup", "queue")

    def __init__(self, subject):
        super().__init__(subject, "sendmail")

    def run(self):
        self.number, self.qid = self.s.next_number(), None
        r = subprocess.run([os.path.join(mailwain.BUILD, "sbin", "sendmail"), "-i", "-f", "alice@" + DOMAIN, "--", *self.far], input=text_of(self.number, self.size),
                           env={"MAILWAIN_ROOT": self.s.root, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=60)
        if r.returncode == 0:
            self.wait_rest()
        return [Answer("command", "exit %d %s" % (r.returncode, r.stderr.strip()[:300]))]

    def wait_rest(self):
        """No id is told: it has left when the host elsewhere has it, and nothing waits anywhere."""
        until(lambda: self.s.events.find("queue_removed") or self.s.events.find("queue_deferred") or self.dropped(), SETTLE, "the letter is neither sent nor put off")

    def dropped(self):
        return [name for name in os.listdir(os.path.join(self.s.root, "data", "drop")) if name.startswith(("new.", "bad."))]

    def deferred(self):
        return bool(self.s.events.find("queue_deferred")) or bool(self.dropped())

    def leave(self):
        until(lambda: not self.dropped(), SETTLE, "left over in the drop")
        super().leave()


class Drop(Letter):
    """A letter of the drop."""

    def __init__(self, subject):
        super().__init__(subject)
        self.name = "the drop"

    def run(self):
        self.number, self.qid = self.s.next_number(), None
        name = secrets.token_hex(16)
        head = ["mailwain-drop 1", "handover " + name, "user root", "sender alice@" + DOMAIN] + ["recipient " + a for a in self.far]
        path = os.path.join(self.s.root, "data", "drop", "%s." + name)
        with open(path % "tmp", "w") as f:
            f.write("\n".join(head) + "\n\n" + text_of(self.number, self.size))
        os.chmod(path % "tmp", 0o640)
        os.rename(path % "tmp", path % "new")
        self.wait_rest()
        return [Answer("command", "exit 0")]

    def wait_rest(self):
        until(lambda: self.s.events.find("queue_removed") or self.s.events.find("queue_deferred") or self.s.events.find("pickup_failed") or self.s.events.find("pickup_bad_file"), SETTLE, "the letter is neither sent nor put off")


class Filed(Relay):
    """Into the file of an alias of the machine: agent's process writes it."""

    only = ("queue", "agent", "agent+")

    def __init__(self, subject):
        super().__init__(subject, "a file of an alias", ("filed@" + SYSTEM_DOMAIN,), ("filed",))

    def taken(self):
        if not os.path.exists(self.s.filed):
            return []
        with open(self.s.filed) as f:
            return self.far * f.read().count("message %d\n" % self.number)

    def verify_taken(self, address):
        count = len(self.taken())
        if count not in (1, 2):
            raise Broken("it is in the file %d times" % count)
        self.twice += count == 2


def relay_operations(s):
    return [Relay(s), Relay(s, "relay, a new connection", anew=True), Relay(s, "relay, large", size=LARGE), Record(s), Letter(s), Drop(s), Filed(s)]
