"""Mail in by SMTP and LMTP, until it has left the queue; and messages that wait."""
import re
import shutil

from answers import Answer
from mailwain import DOMAIN, full
from operation import Operation, command, smtp_at_door, text_of
from subject import SETTLE, Broken, until


class Send(Operation):
    """A message by SMTP, until it has left the queue. copies: account -> how many."""

    sender = "s@remote.test"

    def __init__(self, subject, name, to, copies, size=0, service="smtp", end_workers=False, anew=False):
        super().__init__(subject)
        self.name, self.to, self.copies, self.size, self.service = name, to, copies, size, service
        self.end_workers, self.anew = end_workers, anew
        # The copy of the names is written before the commit: with it a making that failed looks like an index that was lost.
        self.may_log = ("store_rebuilt",) if anew else ()
        self.accounts = tuple(copies)
        self.observers = {}

    def before(self):
        for account in self.copies:
            if self.end_workers or self.anew:
                self.s.end_workers(account)
            if self.anew:
                self.close_observer(account)
                self.s.wait_no_sessions(account)
                shutil.rmtree(self.s.store_of(account), ignore_errors=True)
                self.s.expected[account] = {}
        self.files = {a: self.s.mail_files(a) for a in self.copies}

    def run(self):
        self.number = self.s.next_number()
        self.qid = None
        replies = self.send()
        if self.qid is not None:
            self.wait_rest()
        return replies

    def send(self):
        try:
            c, said = smtp_at_door(self.s.port(self.service))
            if c is None:
                return [said]
            c.command(("LHLO" if self.service == "lmtp" else "EHLO") + " client.test")
            for command in ["MAIL FROM:<%s>" % self.sender] + ["RCPT TO:<%s>" % full(t) for t in self.to] + ["DATA"]:
                code, words = c.command(command)
                if code not in (250, 354):
                    return [Answer("smtp", "%d %s" % (code, words))]
            c.send(text_of(self.number, self.size) + ".\r\n")
            replies = [c.reply() for _ in (self.to if self.service == "lmtp" else [0])]
            if self.service == "smtp" and replies[0][0] == 250:
                self.qid = replies[0][1].split()[-1]
            c.close()
            return [Answer("smtp", "%d %s" % r) for r in replies]
        except (EOFError, OSError) as e:
            return [Answer("smtp", "the connection was lost: %s" % e, closed=True)]

    def wait_rest(self):
        log = self.s.events
        until(lambda: log.find("queue_removed", self.qid) or log.find("queue_deferred", self.qid), SETTLE, "message %s is neither delivered nor put off" % self.qid)
        if log.find("queue_removed", self.qid):
            self.s.quiet()

    def deferred(self):
        return bool(self.qid) and not self.s.events.find("queue_removed", self.qid)

    def verify(self, answers):
        if self.qid is not None and self.deferred():
            self.s.flush()
        accepted = [a.ok for a in answers]
        if self.service == "smtp" or len(answers) < len(self.to):
            accepted = [all(accepted)] * len(self.to)
        if any(a.closed for a in answers):
            self.verify_unanswered()
            return
        for account, copies in self.copies.items():
            took = copies if self.service == "smtp" and accepted[0] else sum(a for a, t in zip(accepted, self.to) if t == account)
            self.s.settled(lambda: self.s.mail_files(account) - self.files[account] - took, "files of %s too many (or, negative, too few) for %d copies" % (account, took))
            if took:
                self.s.expected[account][self.number] = (took, text_of(self.number, self.size))
            self.observe(account)

    def verify_unanswered(self):
        """The client does not know: it is there as a whole or not at all."""
        self.s.flush()
        self.s.settled(self.s.spool_left_over, "left over in the spool")
        for account, copies in self.copies.items():
            found = self.s.mail_files(account) - self.files[account]
            if found not in (0, copies):
                raise Broken("%d copies for %s in place of %d or none" % (found, account, copies))
            if found:
                self.s.expected[account][self.number] = (found, text_of(self.number, self.size))
            self.observe(account)

    def observe(self, account):
        """The mailbox has what was acknowledged, and nothing else."""
        count = sum(n for n, _ in self.s.expected[account].values())
        if account not in self.observers:
            self.observers[account] = self.s.imap(account)
        found = int(re.search(rb"MESSAGES (\d+)", self.observers[account].ok("STATUS INBOX (MESSAGES)")[0]).group(1))
        if found != count:
            raise Broken("%d messages in the mailbox of %s, acknowledged were %d" % (found, account, count))

    def close_observer(self, account):
        if account in self.observers:
            self.observers.pop(account).close()


class PutOff(Operation):
    """A message that waits for another host: written down, then held, released and deleted by commands."""

    name = "put off, hold, release, delete"

    def run(self):
        s, answers = self.s, []
        self.qid = None
        c, said = smtp_at_door(s.port("smtp"))
        if c is None:
            return [said]
        try:
            for line in ("EHLO client.test", "MAIL FROM:<s@remote.test>", "RCPT TO:<away@%s>" % DOMAIN, "DATA"):
                code, text = c.command(line)
                if code not in (250, 354):
                    break
            else:
                c.send(text_of(s.next_number()) + ".\r\n")
                code, text = c.reply()
                self.qid = text.split()[-1] if code == 250 else None
        except (EOFError, OSError) as e:
            return [Answer("smtp", "the connection was lost: %s" % e, closed=True)]
        c.close()
        answers.append(Answer("smtp", "%d %s" % (code, text)))
        if self.qid is None:
            return answers
        until(lambda: s.events.find("queue_deferred", self.qid), SETTLE, "%s is not put off" % self.qid)
        self.go_on(answers)
        return answers

    def go_on(self, answers):
        for verb in ("hold", "release", "delete"):
            answers.append(command(self.s, "queue", verb, self.qid))
        self.s.quiet()

    def verify(self, answers):
        s = self.s
        if self.qid is None:
            return
        waits = lambda: self.qid in [r["id"] for r in s.rows("queue", "list")]  # noqa: E731
        if answers[-1].ok:
            s.settled(waits, "deleted, but it is there")
            return
        if not waits():
            return  # it is gone, but whether for good the disk did not say
        s.mw("queue", "delete", "--all")
        s.settled(waits, "deleted, but it is there")
