"""What is done while a call fails: every way by which something gets into a spool, a store or the directory, or out of it."""
import os
import re
import shutil

from answers import Answer
from mailwain import DOMAIN, PASSWORD, Imap, Smtp, full
from subject import SETTLE, Broken, until

LARGE = 100 * 1024  # more than travels in one message between daemons


def text_of(number, size=0):
    return "From: s@remote.test\r\nSubject: m%d\r\n\r\nmessage %d\r\n" % (number, number) + "0123456789abcde\r\n" * (size // 17)


def smtp_at_door(port):
    """(client, None), or (None, what was said in place of a greeting)."""
    c = Smtp(port, greeting=False, timeout=SETTLE)
    try:
        code, words = c.reply()
    except (EOFError, OSError) as e:
        return None, Answer("smtp", "no greeting: %s" % e, closed=True)
    return (c, None) if code == 220 else (None, Answer("smtp", "%d %s" % (code, words)))


def imap_at_door(port):
    try:
        c = Imap(port, timeout=SETTLE)
    except (EOFError, OSError) as e:
        return None, Answer("imap", "no greeting: %s" % e, closed=True)
    if c.greeting.startswith(b"* OK"):
        return c, None
    return None, Answer("imap", "NO [UNAVAILABLE] at the door: %s" % c.greeting.decode())


class Operation:
    """`run` does it, under the fault; `verify` says whether what is there is what the answers said."""

    name = ""
    accounts = ()
    only = None  # roles whose calls are made to fail; None: all that it makes
    may_log = ()  # events that would be wrong for others

    def __init__(self, subject):
        self.s = subject

    def prepare(self):
        """Once."""

    def before(self):
        """Before each run, without a fault."""

    def run(self):
        raise NotImplementedError

    def verify(self, answers):
        pass


# ---- mail in ----


class Send(Operation):
    """A message by SMTP, until it has left the queue. copies: account -> how many."""

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
            for command in ["MAIL FROM:<s@remote.test>"] + ["RCPT TO:<%s>" % full(t) for t in self.to] + ["DATA"]:
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
        for account, copies in self.copies.items():
            took = copies if self.service == "smtp" and accepted[0] else sum(a for a, t in zip(accepted, self.to) if t == account)
            self.s.settled(lambda: self.s.mail_files(account) - self.files[account] - took, "files of %s too many (or, negative, too few) for %d copies" % (account, took))
            if took:
                self.s.expected[account][self.number] = (took, text_of(self.number, self.size))
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
        for verb in ("hold", "release", "delete"):
            answers.append(command(s, "queue", verb, self.qid))
        s.quiet()
        return answers

    def verify(self, answers):
        s = self.s
        if self.qid is None:
            return
        waits = lambda: self.qid in [r["id"] for r in s.rows("queue", "list")]  # noqa: E731
        if answers[-1].ok:
            s.settled(waits, "deleted, but it is there")
            return
        if not waits():
            raise Broken("not deleted, but it is gone")
        s.mw("queue", "delete", "--all")
        s.settled(waits, "deleted, but it is there")


# ---- IMAP ----


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


# ---- commands ----


def command(s, *words, input=None):
    r = s.mw(*words, check=False, input=input)
    return Answer("command", "exit %d %s" % (r.returncode, (r.stdout + r.stderr).strip()[:300]))


class StoreCheck(Operation):
    accounts = ("carol",)
    name = "store check"

    def run(self):
        answer = command(self.s, "store", "check", "carol@" + DOMAIN)
        # A file that the disk does not give back is a fault, and is named.
        if answer.text.startswith("exit 65") and "Input/output error" in answer.text:
            answer.text = answer.text.replace("exit 65", "exit 74", 1)
        return [answer]


class Rebuild(Operation):
    """The index is made again: whatever fails, no message is missing afterwards."""

    accounts = ("erin",)
    name = "store rebuild-index"
    may_log = ("store_rebuilt",)  # one that was interrupted is finished at the next opening

    def prepare(self):
        self.s.imap("erin").ok("CREATE kept")
        for _ in range(5):
            number = self.s.next_number()
            c = self.s.imap("erin")
            c.append("INBOX", text_of(number))
            c.close()
        self.s.wait_no_sessions("erin")

    def run(self):
        return [command(self.s, "store", "rebuild-index", "erin@" + DOMAIN)]

    def verify(self, answers):
        if "cannot be read" in answers[0].text:
            self.run()  # a file that the disk did not give back was named and left out
        c = self.s.imap("erin")
        found = int(re.search(rb"MESSAGES (\d+)", c.ok("STATUS INBOX (MESSAGES)")[0]).group(1))
        names = len(c.ok('LIST "" kept'))
        c.close()
        self.s.wait_no_sessions("erin")
        expect(found, 5, "messages after the rebuild")
        expect(names, 1, "mailboxes of its own after the rebuild")
        directory = self.s.store_of("erin")
        for name in os.listdir(directory):
            if name.startswith("index.damaged"):
                shutil.rmtree(os.path.join(directory, name))


class Directory(Operation):
    name = "account disable, enable, alias add, remove"

    def run(self):
        self.alias = "a%d@%s" % (self.s.next_number(), DOMAIN)
        words = (("account", "disable", "frank@" + DOMAIN), ("account", "enable", "frank@" + DOMAIN), ("alias", "add", self.alias, "alice@" + DOMAIN))
        answers = [command(self.s, *w) for w in words]
        return answers + [command(self.s, "alias", "remove", self.alias)] * answers[2].ok

    def verify(self, answers):
        disabled, enabled, added = (a.ok for a in answers[:3])
        removed = added and answers[3].ok
        there = self.alias in str(self.s.rows("alias", "list"))
        expect(int(there), int(added and not removed), "aliases")
        row = self.s.rows("account", "show", "frank@" + DOMAIN)[0]
        expect(int(bool(row["disabled"])), int(disabled and not enabled), "accounts disabled")
        if there:
            self.s.mw("alias", "remove", self.alias)
        if row["disabled"]:
            self.s.mw("account", "enable", "frank@" + DOMAIN)


class Import(Operation):
    """A text of the whole directory, with one alias more: all of it or nothing."""

    name = "directory import"

    def before(self):
        self.alias = "i%d@%s" % (self.s.next_number(), DOMAIN)
        self.path = os.path.join(self.s.root, "directory.txt")
        with open(self.path, "w") as f:
            f.write(self.s.mw("directory", "export").stdout + "alias %s alice@%s\n" % (self.alias, DOMAIN))

    def run(self):
        return [command(self.s, "directory", "import", self.path, "--replace")]

    def verify(self, answers):
        expect(int(self.alias in str(self.s.rows("alias", "list"))), int(answers[0].ok), "aliases imported")
        expect(len(self.s.rows("account", "list")), len(self.s.expected), "accounts")
        if answers[0].ok:
            self.s.mw("alias", "remove", self.alias)


class AccountAdd(Operation):
    name = "account add, account remove"

    def run(self):
        self.account = "n%d@%s" % (self.s.next_number(), DOMAIN)
        return [command(self.s, "account", "add", self.account, "--password-stdin", input=PASSWORD + "\n")]

    def verify(self, answers):
        there = self.account in str(self.s.rows("account", "list"))
        expect(int(there), int(answers[0].ok), "accounts made")
        if there:
            self.s.mw("account", "remove", self.account)


def expect(found, expected, what):
    if found != expected:
        raise Broken("%d %s in place of %d" % (found, what, expected))


def all_operations(s):
    return [
        Send(s, "send", ["alice"], {"alice": 1}),
        Send(s, "send, large", ["alice"], {"alice": 1}, size=LARGE),
        Send(s, "send, two accounts and an alias", ["alice", "bob", "both"], {"alice": 1, "bob": 1}),
        Send(s, "send, a new worker", ["alice"], {"alice": 1}, end_workers=True),
        Send(s, "send, a new account", ["dave"], {"dave": 1}, anew=True),
        Send(s, "send, a domain of the directory", ["gus@dir.example"], {"gus@dir.example": 1}),
        Send(s, "LMTP", ["alice", "bob"], {"alice": 1, "bob": 1}, service="lmtp"),
        Send(s, "LMTP, large", ["bob"], {"bob": 1}, size=LARGE, service="lmtp"),
        PutOff(s),
        Append(s),
        Append(s, size=LARGE),
        Copy(s),
        Move(s),
        Expunge(s),
        Store(s),
        Create(s),
        Delete(s),
        Read(s, "FETCH", "FETCH 1 BODY.PEEK[]", b"message "),
        Read(s, "SEARCH", "SEARCH TEXT message", b"SEARCH 1"),
        Read(s, "SELECT", "SELECT INBOX", b"EXISTS"),
        Login(s, "erin"),
        Login(s, "dora", anew=True),
        Login(s, "erin", forgotten=True),
        StoreCheck(s),
        Rebuild(s),
        Directory(s),
        AccountAdd(s),
        Import(s),
    ]
