"""Commands of IMAP sessions, and logins."""
import re
import shutil

from answers import Answer
from mailwain import DOMAIN, PASSWORD
from operation import Operation, expect, imap_at_door, text_of
from subject import Broken


class Session(Operation):
    """One command of a session that goes on; the mailboxes are the account's own."""

    account = "carol"
    accounts = ("carol",)
    only = ("imap-session+",)

    def prepare(self):
        self.c = self.s.imap(self.account)
        self.o = self.s.imap(self.account)  # observes
        self.c.ok("SELECT INBOX")
        if self.count("INBOX") == 0:
            self.append_plain("INBOX")
            self.c.ok("NOOP")

    def count(self, mailbox):
        return int(re.search(rb"MESSAGES (\d+)", self.o.ok('STATUS "%s" (MESSAGES)' % mailbox)[0]).group(1))

    def names(self, command="LIST"):
        return {re.search(rb'"/" "?([^"]*)"?$', l).group(1).decode() for l in self.o.ok(command + ' "" *')}

    def append_plain(self, mailbox, flags=""):
        number = self.s.next_number()
        self.o.append(mailbox, text_of(number), flags)
        return number

    def ask(self, command, literal=None):
        try:
            self.c.count += 1
            tag = b"t%d" % self.c.count
            line = tag + b" " + command.encode()
            self.c.send(line + (b" {%d+}\r\n" % len(literal) + literal if literal is not None else b"") + b"\r\n")
            self.untagged, tagged = self.c.end(tag)
        except (EOFError, OSError) as e:
            self.c = self.s.imap(self.account)
            self.c.ok("SELECT INBOX")
            raise Broken("the session was lost: %s" % e)
        return [Answer("imap", tagged.decode("utf-8", "replace"))]


class Append(Session):
    def __init__(self, subject, size=0):
        super().__init__(subject)
        self.name, self.size = "APPEND" + (", large" if size else ""), size

    def before(self):
        self.number = self.s.next_number()
        self.files, self.had = self.s.mail_files(self.account), self.count("Drafts")

    def run(self):
        return self.ask("APPEND Drafts", text_of(self.number, self.size).encode())

    def verify(self, answers):
        expect(self.count("Drafts") - self.had, int(answers[0].ok), "messages appended")
        expect(self.s.mail_files(self.account) - self.files, int(answers[0].ok), "files made")
        if answers[0].ok:
            self.s.kept.setdefault((self.account, "Drafts"), {})[self.number] = text_of(self.number, self.size)


class Copy(Session):
    name = "COPY"

    def before(self):
        self.files, self.had = self.s.mail_files(self.account), self.count("Archive")

    def run(self):
        return self.ask("COPY 1 Archive")

    def verify(self, answers):
        expect(self.count("Archive") - self.had, int(answers[0].ok), "messages copied")
        expect(self.s.mail_files(self.account) - self.files, 0, "files made")


class Move(Session):
    name = "MOVE"

    def before(self):
        if self.count("INBOX") < 2:
            self.append_plain("INBOX")
        self.c.ok("NOOP")
        self.had = self.count("Trash"), self.count("INBOX")

    def run(self):
        return self.ask("MOVE * Trash")

    def verify(self, answers):
        moved = int(answers[0].ok)
        expect(self.count("Trash") - self.had[0], moved, "messages moved in")
        expect(self.had[1] - self.count("INBOX"), moved, "messages moved out")


class Expunge(Session):
    name = "EXPUNGE"

    def before(self):
        if self.count("INBOX") < 2:
            self.append_plain("INBOX")
        self.c.ok("NOOP")
        self.c.ok("STORE * +FLAGS (\\Deleted)")
        self.had = self.count("INBOX")

    def run(self):
        return self.ask("EXPUNGE")

    def verify(self, answers):
        expect(self.had - self.count("INBOX"), int(answers[0].ok), "messages expunged")


class Store(Session):
    name = "STORE"

    def flagged(self):
        """As another session sees it, when it looks."""
        self.o.ok("SELECT INBOX")
        flags = b"\\Flagged" in self.o.ok("FETCH 1 FLAGS")[0]
        self.o.ok("UNSELECT")
        return flags

    def before(self):
        self.was = self.flagged()

    def run(self):
        return self.ask("STORE 1 %sFLAGS (\\Flagged)" % ("-" if self.was else "+"))

    def verify(self, answers):
        expect(int(self.flagged() != self.was), int(answers[0].ok), "flags changed")


class Create(Session):
    name = "CREATE, SUBSCRIBE, RENAME"

    def run(self):
        one, two = "box%d" % self.s.next_number(), "box%d" % self.s.next_number()
        self.one, self.two = one, two
        answers = self.ask("CREATE " + one) + self.ask("SUBSCRIBE " + one)
        return answers + (self.ask("RENAME %s %s" % (one, two)) if answers[0].ok else [])

    def verify(self, answers):
        created, subscribed = answers[0].ok, answers[1].ok
        renamed = created and answers[2].ok
        names = self.names()
        expect(int(self.one in names), int(created and not renamed), "mailboxes under the first name")
        expect(int(self.two in names), int(renamed), "mailboxes under the second name")
        expect(int(self.one in self.names("LSUB")), int(subscribed), "subscriptions")
        for name in (self.one, self.two):
            if name in names:
                self.o.ok("DELETE " + name)
        if subscribed:
            self.o.ok("UNSUBSCRIBE " + self.one)


class Delete(Session):
    name = "DELETE"

    def before(self):
        self.box = "gone%d" % self.s.next_number()
        self.o.ok("CREATE " + self.box)
        self.append_plain(self.box)

    def run(self):
        return self.ask("DELETE " + self.box)

    def verify(self, answers):
        gone = self.box not in self.names()
        expect(int(gone), int(answers[0].ok), "mailboxes deleted")
        if not gone:
            self.o.ok("DELETE " + self.box)


class Read(Session):
    """Nothing is changed: what is told must be so, or NO."""

    def __init__(self, subject, name, command, must):
        super().__init__(subject)
        self.name, self.command, self.must = name, command, must

    def run(self):
        return self.ask(self.command)

    def verify(self, answers):
        if answers[0].ok and not any(self.must in u for u in self.untagged):
            raise Broken("OK, but the answer is %r" % (self.untagged,))


class Login(Operation):
    """A login with a new session process, a look at INBOX, and the end."""

    def __init__(self, subject, account, anew=False, forgotten=False):
        super().__init__(subject)
        self.account, self.anew, self.forgotten, self.accounts = account, anew, forgotten, (account,)
        self.name = "login, a new account" if anew else "login, the password not remembered" if forgotten else "login"
        self.only = ("auth",) if forgotten else None
        self.may_log = ("store_rebuilt",) if anew else ()

    def before(self):
        if self.forgotten:
            self.s.mw("account", "passwd", "%s@%s" % (self.account, DOMAIN), "--password-stdin", input=PASSWORD + "\n")
        self.s.wait_no_sessions(self.account)
        if self.anew:
            shutil.rmtree(self.s.store_of(self.account), ignore_errors=True)

    def run(self):
        try:
            c, said = imap_at_door(self.s.port("imap"))
            if c is None:
                return [said]
            _, tagged = c.run('LOGIN %s@%s "%s"' % (self.account, DOMAIN, PASSWORD))
            answers = [Answer("imap", tagged.decode())]
            if answers[0].ok:
                untagged, tagged = c.run("STATUS INBOX (MESSAGES)")
                answers.append(Answer("imap", tagged.decode()))
                c.run("LOGOUT")
        except (EOFError, OSError) as e:
            answers = [Answer("imap", "the connection was lost: %s" % e, closed=True)]
        c.close()
        self.s.wait_no_sessions(self.account)
        return answers
