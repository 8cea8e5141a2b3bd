"""What an IMAP session does to an account, and the making of its index again."""
import shutil
import glob
import os

from account import Account, contents, message_of
from mailwain import DOMAIN, until
from path import AccountPath, Broken

FLAGGED = ("\\Flagged", "kept")


class SessionPath(AccountPath):
    """One command of a session of its own; another one, which lives on, looks at what became of it."""

    command = ""
    children = False
    mailboxes = {"W": 3, "T": 1}  # and how many messages each has before
    flags = ()
    extra = ()

    def prepare(self):
        c = self.account.session()
        self.reset(c)
        for name, count in self.mailboxes.items():
            for n in range(count):
                c.append(name, message_of("%s-%s-%d" % (self.token, name.replace("/", "_"), n)), " ".join(self.flags))
        self.before = contents(self.account.look())
        known = set(self.suite.accounts_processes("imap-session"))
        self.victim = self.suite.imap(self.account.name)
        self.victim.ok("SELECT W")
        self.victim_pid = (set(self.suite.accounts_processes("imap-session")) - known).pop()

    def reset(self, c):
        for name in sorted(self.account.names(), reverse=True):
            if name not in ("INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"):
                c.ok("DELETE " + name)
            elif b"MESSAGES 0" not in c.ok("STATUS %s (MESSAGES)" % name)[0]:
                c.ok("SELECT " + name)
                c.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")
                c.ok("CLOSE")
        for name in self.mailboxes:
            if name != "INBOX":
                c.ok("CREATE " + name)

    def targets(self):
        return [self.victim_pid], False

    def act(self):
        try:
            _, tagged = self.victim.end(self.begin(self.victim))
            return tagged.startswith(b"OK")
        except (OSError, EOFError):
            return None

    def begin(self, c):
        return c.begin(self.command)

    def settle(self):
        self.victim.close()

    def may_be(self, outcome):
        return {True: [self.after()], False: [self.before], None: [self.before, self.after()]}[outcome]

    def changed(self, **boxes):
        """self.before with these mailboxes; None: gone."""
        after = dict(self.before, **boxes)
        return {name: sorted(box) for name, box in after.items() if box is not None}


class Append(SessionPath):
    name = "append"
    size = 600

    def begin(self, c):
        text = message_of(self.token, self.size)
        return c.begin("APPEND W {%d+}\r\n%s" % (len(text), text))

    def after(self):
        return self.changed(W=self.before["W"] + [(self.token, ())])


class AppendLarge(Append):
    name = "append-large"
    size = 300000


class Store(SessionPath):
    name = "store"
    command = "STORE 1:3 +FLAGS (\\Flagged kept)"

    def after(self):
        return self.changed(W=[(token, FLAGGED) for token, _ in self.before["W"]])


class Copy(SessionPath):
    name = "copy"
    command = "COPY 1:3 T"

    def after(self):
        return self.changed(T=self.before["T"] + self.before["W"])


class Move(SessionPath):
    name = "move"
    command = "MOVE 1:2 T"

    def after(self):
        return self.changed(T=self.before["T"] + self.before["W"][:2], W=self.before["W"][2:])


class Expunge(SessionPath):
    name = "expunge"
    command = "EXPUNGE"
    flags = ("\\Deleted",)

    def after(self):
        return self.changed(W=[])


class ExpungePurge(Expunge):
    """More is expunged than the quota lets be kept: the oldest goes for good, file and all."""

    name = "expunge-purge"
    mailboxes = {"W": 6, "T": 1}


class Create(SessionPath):
    name = "create"
    command = "CREATE W/deep/er"

    def after(self):
        return self.changed(**{"W/deep/er": [], "W/deep": []} if self.makes_parents else {"W/deep/er": []})

    makes_parents = True


class Rename(SessionPath):
    name = "rename"
    mailboxes = {"W": 2, "W/a": 1, "T": 1}
    command = "RENAME W V"

    def after(self):
        return self.changed(**{"W": None, "W/a": None, "V": self.before["W"], "V/a": self.before["W/a"]})


class RenameInbox(SessionPath):
    name = "rename-inbox"
    mailboxes = {"W": 0, "INBOX": 2}
    command = "RENAME INBOX V"

    def after(self):
        return self.changed(INBOX=[], V=self.before["INBOX"])


class Delete(SessionPath):
    name = "delete"
    mailboxes = {"W": 0, "T": 3}
    command = "DELETE T"

    def after(self):
        return self.changed(T=None)


class Logout(SessionPath):
    """The session's end, with what it tidies."""

    name = "logout"
    command = "LOGOUT"

    def after(self):
        return self.before


class Rebuild(AccountPath):
    """`store rebuild-index`, which a child of deliver does; who opens the store after its death does it again."""

    name = "rebuild-index"

    def __init__(self, suite, account):
        super().__init__(suite, account)
        c = account.session()
        for name in ("W", "W/a"):
            c.ok("CREATE " + name)
        for n, name in enumerate(("W", "INBOX", "W", "W/a", "INBOX")):
            c.append(name, message_of("rebuild-%d" % n))
        self.before = contents(account.look())

    def prepare(self):
        self.account.close()
        until(lambda: not self.suite.accounts_processes("imap-session", self.account.directory), what="a session does not end")
        for path in glob.glob(self.account.directory + "/index.damaged-*"):
            shutil.rmtree(path)

    def targets(self):
        return [self.suite.pid("deliver")], True

    def act(self):
        done = self.suite.mw("store", "rebuild-index", "%s@%s" % (self.account.name, DOMAIN), check=False)
        return True if done.returncode == 0 else None

    def after(self):
        return self.before

    def settle(self):
        pass

    def judge(self, outcome, hit):
        super().judge(outcome, hit)
        if os.path.exists(os.path.join(self.account.directory, "rebuilding")):
            raise Broken("its mark is still there")


def session_paths(suite):
    carol, dora, rita = (Account(suite, name) for name in ("carol", "dora", "rita"))
    kinds = [Append, AppendLarge, Store, Copy, Move, Expunge, Create, Rename, RenameInbox, Delete, Logout]
    return [kind(suite, carol) for kind in kinds] + [ExpungePurge(suite, dora), Rebuild(suite, rita)]
