"""Commands of an administrator: stores looked at and made again, the directory changed."""
import errno
import os
import re
import shutil

from mailwain import DOMAIN, PASSWORD
from operation import LARGE, Operation, command, expect, text_of


def names_failure(text):
    """A file that the disk does not give back is a fault for `store check`, and is named."""
    return "cannot be read" in text or any(os.strerror(getattr(errno, e)) in text for e in ("EIO", "ENOSPC", "EDQUOT", "EINTR", "ENOMEM", "EMFILE"))


class StoreCheck(Operation):
    accounts = ("carol",)
    name = "store check"

    def prepare(self):
        c = self.s.imap("carol")
        for size in (0, LARGE):
            c.append("INBOX", text_of(self.s.next_number(), size))
        c.close()

    def run(self):
        answer = command(self.s, "store", "check", "carol@" + DOMAIN)
        answer.ok |= answer.text.startswith("exit 65") and names_failure(answer.text)
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
