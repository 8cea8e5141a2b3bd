"""What an operation under the knife is: made ready, done, awaited, judged."""
import time

from account import contents, message_of
from killing import Killer, Log
from mailwain import Smtp, until

SETTLE = 15


class Broken(AssertionError):
    pass


class Path:
    """One operation of one process. A subclass says whose calls count and what may be there afterwards."""

    name = ""
    restarts = None  # the daemon that master starts again
    twice = 0  # how often what may come twice did

    def __init__(self, suite):
        self.suite, self.count = suite, 0

    # ---- to be said by each ----
    def prepare(self):
        """Makes the state before; self.before tells it."""

    def targets(self):
        """(processes, whether only their children count)"""

    def act(self):
        """True: acknowledged, False: refused, None: cut off."""

    def over(self):
        """True when the process has done all it does, without asking it."""
        return True

    def look_at_log(self, log):
        """Raises Broken."""

    def judge(self, outcome, hit):
        """Raises Broken."""

    # ---- the same for all ----
    def run(self, n, only=None):
        self.count += 1
        self.token = "%s-%d" % (self.name.split()[0], self.count)
        if self.suite.rest():
            self.restarted()
        self.prepare()
        pids, children = self.targets()
        log = Log(self.suite)
        killer = Killer(n, pids, children, only)
        outcome = self.act()
        deadline = time.monotonic() + SETTLE
        while not killer.struck(0.001) and not self.over():
            if time.monotonic() > deadline:
                killer.end()
                raise self.broken(n, only, None, outcome, "after %d s it is not over" % SETTLE)
        hit, calls = killer.end()
        try:
            if hit is not None:
                self.suite.deaths += self.restarts is not None
                self.wait_restart(log)
            elif outcome is not True:
                raise Broken("refused though nobody was killed")
            self.settle()
            self.look_at_log(log)
            self.judge(outcome, hit)
        except (AssertionError, OSError, EOFError) as e:
            raise self.broken(n, only, hit, outcome, e) from e
        return outcome, hit, calls

    def broken(self, n, only, hit, outcome, why):
        where = "%s, call %d%s" % (self.name, n, " of " + only if only else "")
        return Broken("%s (%s), %s: %s" % (where, hit[1] if hit else "nobody killed",
                                           {True: "acknowledged", False: "refused", None: "cut off"}[outcome], why))

    def wait_restart(self, log):
        if self.restarts is not None:
            log.wait([" %s[" % self.restarts, "queue_recovered" if self.restarts == "queue" else "daemon_ready"])

    def settle(self):
        """Until nothing is on its way any more."""
        until(self.suite.is_empty, SETTLE, "the queue is not empty")
        if self.suite.set_aside():
            raise Broken("set aside: %s" % self.suite.set_aside())

    def finish(self):
        """Leaves nothing behind for the next path."""

    def restarted(self):
        """The suite was stopped and started: sessions are gone."""


class AccountPath(Path):
    """Judged by an account that is as it was before, or as it should be afterwards, and nothing between."""

    kept = 40  # messages before the mailbox is emptied

    def __init__(self, suite, account):
        super().__init__(suite)
        self.account = account

    def restarted(self):
        self.account.close()

    def after(self):
        """self.before with what was asked for."""

    def may_be(self, outcome):
        return [self.after()] if outcome is True else [self.before, self.after()]

    def judge(self, outcome, hit):
        now = contents(self.account.look())
        may_be = self.may_be(outcome)
        if now not in may_be:
            raise Broken("there is %s" % differences(now, may_be[-1]))
        self.account.check()
        self.before = now


def differences(now, wanted):
    said = []
    for name in sorted(set(now) | set(wanted)):
        if now.get(name) != wanted.get(name):
            said.append("in %s %s, wanted %s" % (name, now.get(name, "no such mailbox"), wanted.get(name, "no such mailbox")))
    return "; ".join(said)


def with_message(before, mailbox, token, flags=()):
    after = dict(before)
    after[mailbox] = sorted(after[mailbox] + [(token, tuple(sorted(flags)))])
    return after


def converse(client, commands, message):
    """True: 250 at the end; False: some 4xx."""
    for command in commands:
        code, _ = client.command(command)
        if code not in (235, 250, 354):
            return refused(code)
    client.send(message + ".\r\n")
    code, _ = client.reply()
    if code != 250:
        return refused(code)
    client.send("QUIT\r\n")  # the answer is waited for by nobody: the message is theirs
    client.at_end()
    return True


def hand_in(suite, service, hello, token, to, sender="s@remote.test", size=600, parameters=""):
    """As converse; None: cut off."""
    commands = [hello, "MAIL FROM:<%s>" % sender, *("RCPT TO:<%s>%s" % (a, parameters) for a in to), "DATA"]
    try:
        client = Smtp(suite.port(service), timeout=15)
        try:
            return converse(client, commands, message_of(token, size))
        finally:
            client.close()
    except (OSError, EOFError, AssertionError, ValueError):
        return None


def send(suite, token, to, **parameters):
    return hand_in(suite, "smtp", "EHLO client.test", token, to, **parameters)


def refused(code):
    if code // 100 != 4:
        raise Broken("answered %d" % code)
    return False
