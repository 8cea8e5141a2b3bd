"""What lies about, is damaged or old: a start of queue and a store set it aside, make it again or remove it."""
import glob
import os
import shutil
import time

from answers import Answer
from injector import SHORT
from mailwain import PASSWORD, full
from operation import LARGE, Operation, command, expect, text_of
from operations_command import names_failure
from operations_imap import Append, Login, Session
from operations_mail import Send
from operations_queue import Restart
from subject import SETTLE, Broken, until


def like(path, other):
    """Its owner and mode are the other's."""
    st = os.stat(other)
    os.chown(path, st.st_uid, st.st_gid)
    os.chmod(path, st.st_mode & 0o7777)


# ---- queue ----


class OddStart(Restart):
    """Beside a message that waits: one that is damaged, a second name of it, a file that was never acknowledged, a list of pauses that is none."""

    name = "a start with odd files in the spool"
    calls = ("lstat", "rename", "unlink")
    errors = ("EIO", "ENOSPC")
    may_log = Restart.may_log + ("queue_corrupt",)

    def run(self):
        s = self.s
        s.stop()
        waiting = glob.glob("%s/spool/queue/*/%s" % (s.root, self.qid))[0]
        self.damaged, self.second, self.empty = (waiting[:-4] + other + waiting[-3:] for other in self.digits(waiting[-4]))
        shutil.copy(waiting, self.damaged)
        os.link(waiting, self.second)
        open(self.empty, "w").close()
        self.pauses = s.root + "/spool/paused"
        with open(self.pauses, "w") as f:
            f.write("nonsense\n" * 3)
        for path in (self.damaged, self.empty, self.pauses):
            like(path, waiting)
        for path in (self.empty, self.pauses):
            os.chmod(path, 0o600)
        return self.begin()

    @staticmethod
    def digits(own):
        return [d for d in "0123" if d != own][:3]

    def begin(self):
        r = self.s.mw("start", check=False, timeout=60)
        self.s.started = True
        until(lambda: r.returncode != 0 or self.s.events.find("queue_recovered"), SETTLE, "the spool is not read")
        return [Answer("command", "exit 0" if r.returncode == 0 else "exit 75 %s" % (r.stdout + r.stderr).strip()[:300])]

    def verify(self, answers):
        s = self.s
        s.mw("start", check=False, timeout=60)
        until(lambda: self.qid in s.mw("queue", "list", check=False).stdout, 3 * SETTLE, "the message is not there any more")
        for path in (self.damaged, self.pauses):
            aside = os.path.join(s.root, "spool", "corrupt", os.path.basename(path))
            if not os.path.exists(path) and not os.path.exists(aside):
                raise Broken("what is damaged is not kept: %s" % path)
        for path in (self.empty, self.second):
            until(lambda: not os.path.exists(path), 3 * SETTLE, "%s is still there" % path)
        for path in [self.damaged, self.pauses] + glob.glob(s.root + "/spool/corrupt/*"):
            if os.path.exists(path):
                os.unlink(path)


class Keyless(Restart):
    """A spool without messages and without its key gets another one; the clock that was written with the old one is none."""

    name = "a start without the spool's key"
    errors = ("EIO", SHORT)  # each is a start
    may_log = Restart.may_log + ("queue_corrupt",)
    calls = ("open", "opendir", "readdir", "fstatat", "write", "fsync", "rename")

    def prepare(self):
        """There are no messages."""

    def run(self):
        self.s.stop()
        key = self.s.root + "/spool/key"
        empty = self.s.root + "/spool/queue/0/" + "0" * 11
        open(empty, "w").close()
        like(empty, key)
        os.unlink(key)
        return OddStart.begin(self)

    def verify(self, answers):
        s = self.s
        s.mw("start", check=False, timeout=60)
        expect(os.path.getsize(s.root + "/spool/key"), 32, "octets of the key")
        if os.path.exists(s.root + "/spool/corrupt/clock"):
            os.unlink(s.root + "/spool/corrupt/clock")
        s.deliver(text_of(s.next_number()), to=("far",))
        s.flush()


class StartOthers(Restart):
    """What auth and pickup look at when they begin: the aliases, the accounts' numbers, the drop."""

    name = "a start of auth and pickup"
    only = ("auth", "pickup")
    calls = ("opendir", "readdir", "fstat", "pread", "stat")
    errors = ("EIO",)

    def verify(self, answers):
        super().verify(answers)
        number = self.s.next_number()
        self.s.deliver(text_of(number), to=("frank",))
        self.s.expected["frank"][number] = (1, text_of(number))
        until(lambda: [r["id"] for r in self.s.rows("queue", "list")] == [self.qid], SETTLE, "a message is not delivered")


class Cat(Operation):
    """What is told of a message that waits is all of it, or the command says that it is not."""

    name = "queue show, cat, attempts"
    only = ("queue",)

    def prepare(self):
        self.number = self.s.next_number()
        self.qid = self.s.deliver(text_of(self.number, LARGE), to=("away",), sender="s@remote.test")
        until(lambda: self.s.events.find("queue_deferred", self.qid), SETTLE, "%s is not put off" % self.qid)
        self.s.mw("queue", "hold", self.qid)

    def run(self):
        self.told = self.s.mw("queue", "cat", self.qid, check=False)
        answers = [command(self.s, "queue", verb, self.qid) for verb in ("show", "attempts")]
        return answers + [Answer("command", "exit %d %s" % (self.told.returncode, self.told.stderr.strip()))]

    def verify(self, answers):
        if answers[-1].ok and not self.told.stdout.endswith(text_of(self.number, LARGE).replace("\r\n", "\n")) and not self.told.stdout.endswith(text_of(self.number, LARGE)):
            raise Broken("exit 0, and %d octets of the message" % len(self.told.stdout))


class Shorter(Send):
    """Each is shorter than all before: what an earlier message left in the file that serves again is cut off. None is so large that a worker gets the file itself."""

    only = ("queue",)
    calls = ("ftruncate",)

    def __init__(self, subject):
        super().__init__(subject, "send, each shorter", ["alice"], {"alice": 1}, size=17 * 1000)

    def prepare(self):
        """As many as queue and smtpd have files ready."""
        for _ in range(48):
            number = self.s.next_number()
            self.s.deliver(text_of(number, self.size))
            self.s.expected["alice"][number] = (1, text_of(number, self.size))
        self.s.wait_empty()

    def before(self):
        super().before()
        self.size = max(0, self.size - 17 * 8)


class BadLetters(Operation):
    """The drop: a letter that is none keeps what it holds, what is no file goes, what was never finished goes when it is old."""

    name = "the drop, bad and old files"
    only = ("pickup",)
    calls = ("lstat", "unlink", "renameat2")
    begun = 0

    def before(self):
        """It tells of both files within a millisecond, and a warning is told a hundred times a second: behind that the log would have none."""
        super().before()
        time.sleep(max(0, self.begun + 0.03 - time.monotonic()))
        self.begun = time.monotonic()

    def run(self):
        self.drop = drop = os.path.join(self.s.root, "data", "drop")
        with open(drop + "/tmp.old", "w"), open(drop + "/tmp.new", "w") as f:
            f.write("nonsense\n")
        os.utime(drop + "/tmp.old", (0, 0))
        os.mkfifo(drop + "/new.pipe", 0o640)
        os.chmod(drop + "/tmp.new", 0o640)
        os.rename(drop + "/tmp.new", drop + "/new.bad")
        try:
            until(lambda: len(self.s.events.find("pickup_bad_file") + self.s.events.find("pickup_failed")) >= 2, SETTLE)
        except AssertionError:
            raise Broken("nobody looks at the drop: %s; in the log: %s" % (os.listdir(drop), [l for l in self.s.events.more() if "pickup_" in l])) from None
        return [Answer("command", "exit 0")]

    def verify(self, answers):
        if not self.s.injector.hit():
            until(lambda: not {"tmp.old", "new.pipe"} & set(os.listdir(self.drop)), SETTLE, "what is to go stays in the drop")
        left = os.listdir(self.drop)
        if "new.bad" not in left and "bad.new.bad" not in left:
            raise Broken("what the letter holds is gone: %s" % left)
        for name in left:
            os.unlink(os.path.join(self.drop, name))


# ---- stores ----


class Suspect(Login):
    """A process died in the index: the next that opens it looks at all of it."""

    def __init__(self, subject):
        super().__init__(subject, "erin")
        self.name, self.only, self.calls = "login, a suspect index", ("imap-session+",), ("faccessat", "unlinkat")

    def prepare(self):
        c = self.s.imap(self.account)
        c.append("INBOX", text_of(self.s.next_number()))
        c.close()

    def before(self):
        super().before()
        self.leave("suspect")

    def leave(self, name):
        path = os.path.join(self.s.store_of(self.account), name)
        open(path, "a").close()
        like(path, os.path.join(self.s.store_of(self.account), "lock"))

    def verify(self, answers):
        c = self.s.imap(self.account)
        found = c.ok("STATUS INBOX (MESSAGES)")[0]
        c.close()
        self.s.wait_no_sessions(self.account)
        if b"MESSAGES 1)" not in found:
            raise Broken("the message is gone: %s" % found)


class CutShort(Suspect):
    """An index that is shorter than it says is made again; as one is whose making was interrupted."""

    def __init__(self, subject, interrupted=False):
        super().__init__(subject)
        self.name = "login, a rebuild that was interrupted" if interrupted else "login, an index cut short"
        self.interrupted, self.may_log, self.calls = interrupted, ("store_rebuilt", "store_corrupt"), ("fallocate", "faccessat", "renameat", "unlinkat")

    def before(self):
        Login.before(self)
        index = os.path.join(self.s.store_of(self.account), "index", "data.mdb")
        if self.interrupted:
            self.leave("rebuilding")
        else:
            os.truncate(index, 2 * 4096)

    def verify(self, answers):
        super().verify(answers)
        for path in glob.glob(self.s.store_of(self.account) + "/index.damaged*"):
            shutil.rmtree(path)


class Damaged(Operation):
    """A message file that was damaged is set aside by a rebuild, and `store check` tells of it, and of a file that no index knows."""

    accounts = ("ida",)
    only = ("deliver+",)
    may_log = ("store_rebuilt",)

    def prepare(self):
        self.s.add("ida")
        c = self.s.imap("ida")
        c.append("INBOX", text_of(self.s.next_number()))
        c.close()
        self.s.wait_no_sessions("ida")
        self.whole, = self.files()

    def files(self):
        return set(glob.glob(self.s.store_of("ida") + "/mail/*/*"))

    def aside(self):
        return glob.glob(self.s.store_of("ida") + "/damaged/*")

    def verify(self, answers):
        for path in self.aside() + list(self.files() - {self.whole}):
            os.unlink(path)
        shutil.rmtree(self.s.store_of("ida") + "/damaged", ignore_errors=True)
        for path in glob.glob(self.s.store_of("ida") + "/index.damaged*"):
            shutil.rmtree(path)


class RebuildDamaged(Damaged):
    name = "store rebuild-index, a damaged file"
    calls = ("mkdirat", "renameat")

    def before(self):
        c = self.s.imap("ida")
        c.append("Drafts", text_of(self.s.next_number()))
        c.close()
        self.s.wait_no_sessions("ida")
        damaged, = self.files() - {self.whole}
        with open(damaged, "r+b") as f:
            f.write(b"damaged")
        self.damaged = os.path.basename(damaged)

    def run(self):
        return [command(self.s, "store", "rebuild-index", full("ida"))]

    def verify(self, answers):
        kept = [p for p in self.aside() + list(self.files()) if os.path.basename(p) == self.damaged]
        expect(len(kept), 1, "files with what is damaged")
        if not answers[0].ok:
            self.run()
        c = self.s.imap("ida")
        if b"MESSAGES 1)" not in c.ok("STATUS INBOX (MESSAGES)")[0]:
            raise Broken("the other message is gone")
        c.close()
        self.s.wait_no_sessions("ida")
        super().verify(answers)


class CheckDamaged(Damaged):
    name = "store check, faults"
    calls = ("fdopendir", "readdir", "fstatat", "mmap", "openat")

    def before(self):
        store = self.s.store_of("ida")
        directory, lost = store + "/damaged", store + "/mail/000/%016x.1.0.%016x" % (1, 1)
        for path in (directory, os.path.dirname(lost)):
            os.makedirs(path, exist_ok=True)
            like(path, store)
        for path in (directory + "/some", lost):
            open(path, "w").close()
            like(path, self.whole)
            os.utime(path, (0, 0))

    def run(self):
        answer = command(self.s, "store", "check", full("ida"))
        # The others are not looked for when there are faults.
        answer.ok = answer.text.startswith("exit 65") and ("is not in the index" in answer.text and "was damaged" in answer.text or names_failure(answer.text))
        if answer.text.startswith("exit 74") and ": " not in answer.text.split("\n")[-2]:
            raise Broken("what could not be read is not named: %s" % answer.text)
        return [answer]


class CutOff(Append):
    """A client that goes away in the middle of its message: the file is removed, or by the next day's tidying."""

    calls = ("unlinkat",)

    def __init__(self, subject):
        super().__init__(subject)
        self.name = "APPEND, cut off"

    def run(self):
        c = self.s.imap(self.account)
        c.send(b"a APPEND Drafts {%d+}\r\n" % (2 * LARGE) + b"x" * LARGE)
        until(lambda: self.s.mail_files(self.account) > self.files, SETTLE, "no file is made")
        c.close()
        until(lambda: len(self.s.children("imap-session", self.account)) == 2, SETTLE, "a session does not end")
        return [Answer("command", "exit 0")]

    def verify(self, answers):
        expect(self.count("Drafts"), self.had, "messages")
        for path in glob.glob(self.s.store_of(self.account) + "/mail/*/*.new"):
            os.unlink(path)
        expect(self.s.mail_files(self.account), self.files, "files")


class LoginTls(Login):
    """The session's process has a channel through imapd in place of the client's connection."""

    def __init__(self, subject):
        super().__init__(subject, "erin")
        self.name, self.only, self.calls = "login by TLS", ("imapd",), ("socketpair", "fcntl", "recvmsg")

    def run(self):
        c = self.s.imap(tls=True, login=False)
        _, tagged = c.run('LOGIN %s "%s"' % (full(self.account), PASSWORD))
        c.close()
        self.s.wait_no_sessions(self.account)
        if b"No session can be started" in tagged:
            until(lambda: self.s.events.find("imap_error"), SETTLE, "the log does not say whose session could not be started")
        return [Answer("imap", tagged.decode())]


class Tidy(Login):
    """A session that ends a day later: what was expunged is gone, and what lay about; nothing else, whatever fails."""

    def __init__(self, subject):
        super().__init__(subject, "erin")
        self.name, self.only, self.days = "login, a day later", ("imap-session+",), 0
        self.calls = ("openat", "fstat", "mmap", "unlinkat", "fdopendir", "readdir")
        self.errors = ("EIO", "EMFILE")  # there are many calls

    def prepare(self):
        c = self.s.imap("erin")
        c.append("INBOX", text_of(self.s.next_number()))
        c.close()

    def before(self):
        super().before()
        c = self.s.imap("erin")
        c.append("Trash", text_of(self.s.next_number()))
        c.ok("SELECT Trash")
        c.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")
        c.ok("EXPUNGE")
        c.close()
        self.s.wait_no_sessions("erin")
        store = self.s.store_of("erin")
        os.makedirs(store + "/mail/000", exist_ok=True)
        like(store + "/mail/000", store)
        for name in ("%016x.new" % 1, "%016x.1.0.%016x" % (2, 2)):
            with open(os.path.join(store, "mail", "000", name), "w") as f:
                f.write("cut sho")
            like(f.name, store)
            os.chmod(f.name, 0o600)
        self.later()

    def later(self):
        self.days += 2
        self.s.injector.go_ahead("imap-session+", self.days * 86400)

    def verify(self, answers):
        store = self.s.store_of("erin")
        self.later()
        self.run()
        kept = glob.glob(store + "/mail/*/*")
        c = self.s.imap("erin")
        found = c.ok("STATUS INBOX (MESSAGES)")[0]
        c.close()
        self.s.wait_no_sessions("erin")
        if b"MESSAGES 1)" not in found or not kept:
            raise Broken("the message is gone: %s, %s" % (found, kept))
        if glob.glob(store + "/mail/000/*"):
            raise Broken("what lies about is not removed the next time: %s" % glob.glob(store + "/mail/000/*"))


class FetchLarge(Session):
    """One that is mapped."""

    name = "FETCH, large"
    calls = ("mmap",)

    def prepare(self):
        super().prepare()
        self.o.append("Archive", text_of(self.s.next_number(), 4 * LARGE))
        self.c.ok("SELECT Archive")

    def run(self):
        return self.ask("FETCH 1 BODY.PEEK[]")

    def verify(self, answers):
        if answers[0].ok and not any(b"message " in u for u in self.untagged):
            raise Broken("OK, but the answer is %r" % (self.untagged,))


def care_operations(s):
    return [OddStart(s), Keyless(s), StartOthers(s), Cat(s), BadLetters(s), Shorter(s), LoginTls(s), Suspect(s), CutShort(s), CutShort(s, interrupted=True), RebuildDamaged(s), CheckDamaged(s), CutOff(s), Tidy(s), FetchLarge(s)]
