"""What queue does beside delivering: a start with messages in the spool, notifications, destinations that are paused, messages that begin again or go another way."""
import os

from answers import Answer
from mailwain import full
from operation import Operation, command, text_of
from operations_mail import PutOff
from operations_relay import Relay
from subject import SETTLE, Broken, until

PAUSED = "far.test"


class Bounce(Relay):
    """To another host that refuses it for good: the sender is told, once; twice only when queue could not write down that it was."""

    only = ("queue",)
    sender = full("hal")

    def __init__(self, subject):
        super().__init__(subject, "a notification", ("refused",), ())
        self.accounts, self.may_log = ("hal",), ("queue_bounced",)

    def prepare(self):
        self.s.add("hal")
        self.s.mw("alias", "add", full("refused"), "nobody@far.test")
        c = self.s.imap("hal")
        c.close()

    def before(self):
        super().before()
        self.told = self.s.mail_files("hal")

    def wait_rest(self):
        """It stays, when the notification cannot be written down; then the log says so."""
        log = self.s.events
        until(lambda: log.find("queue_removed", self.qid) or log.find("queue_deferred", self.qid) or log.find("queue_error"), SETTLE, "message %s is neither done nor put off" % self.qid)
        if log.find("queue_removed", self.qid):
            self.s.quiet()

    def verify(self, answers):
        self.leave()
        found = self.s.mail_files("hal") - self.told
        if found > 2 or (found == 0 and all(a.ok for a in answers)) or (found and not any(a.ok or a.closed for a in answers)):
            raise Broken("%d notifications, and the answers were %s" % (found, answers))
        self.twice += found == 2


class Pause(Operation):
    """The list of what is paused is that of the last command that went well."""

    name = "pause, resume"

    def run(self):
        self.listed = []
        answers = []
        for verb in ("pause", "resume"):
            if answers and not answers[0].ok:
                break  # there is nothing to resume
            answers.append(command(self.s, "queue", verb, PAUSED))
            self.listed.append(self.is_listed())
        return answers

    def is_listed(self):
        path = os.path.join(self.s.root, "spool", "paused")
        if not os.path.exists(path):
            return False
        with open(path) as f:
            return PAUSED in f.read().split("\n")

    def verify(self, answers):
        for answer, listed, verb in zip(answers, self.listed, ("pause", "resume")):
            if answer.ok != (listed == (verb == "pause")):
                raise Broken("%s: %s, and it is %sin the list" % (verb, answer, "" if listed else "not "))
        self.s.mw("queue", "resume", PAUSED, check=False)
        if self.is_listed():
            raise Broken("it stays paused")


class Reroute(PutOff):
    """A message that waits begins again; then it goes to the host elsewhere, whatever happened on the way, and once."""

    name = "put off, requeue, reroute"

    def go_on(self, answers):
        s = self.s
        answers.append(command(s, "queue", "requeue", self.qid))
        answers.append(command(s, "queue", "reroute", "--to", "far.test", self.qid))

    def verify(self, answers):
        s = self.s
        if self.qid is None:
            return
        if not answers[-1].ok:
            s.mw("queue", "reroute", "--to", "far.test", self.qid)
        until(lambda: s.mw("queue", "flush", self.qid, check=False) and s.events.find("queue_removed", self.qid), SETTLE, "%s does not go the other way" % self.qid)
        s.quiet()
        count = len(s.far.taken_of("message %d" % s.number))
        if count not in (1, 2):
            raise Broken("taken %d times" % count)
        self.twice += count == 2


class Restart(Operation):
    """A suite that ends and begins with a message that waits and a destination that is paused: both are there afterwards, or it is tried again."""

    name = "a start with messages in the spool"
    only = ("queue",)
    restarts = True
    may_log = ("master_child_died", "ipc_peer_lost")

    def prepare(self):
        self.number = self.s.next_number()
        self.qid = self.s.deliver(text_of(self.number), to=("away",), sender="s@remote.test")
        until(lambda: self.s.events.find("queue_deferred", self.qid), SETTLE, "%s is not put off" % self.qid)
        self.s.mw("queue", "hold", self.qid)
        self.s.mw("queue", "pause", PAUSED)

    def run(self):
        self.s.stop()
        r = self.s.mw("start", check=False, timeout=60)
        self.s.started = True
        return [Answer("command", "exit 0" if r.returncode == 0 else "exit 75 %s" % (r.stdout + r.stderr).strip()[:300])]

    def verify(self, answers):
        s = self.s
        s.mw("start", check=False, timeout=60)  # a start that failed has been taken back
        until(lambda: self.qid in s.mw("queue", "list", check=False).stdout, 3 * SETTLE, "the message is not there any more")
        if "paused" not in s.mw("queue", "stats").stdout:
            raise Broken("nothing is paused any more")


def queue_operations(s):
    return [Bounce(s), Pause(s), Reroute(s), Restart(s)]
