"""Mixed load on a running suite, by clients that note what they asked for, and what was acknowledged.

A note has a position where it begins (taken before the request is sent) and, when the answer was OK, one where it
ends (taken after the answer was read). What a position is says whoever starts the load: how far a log of the disk
has come, or the time. notes.py says what must be there, given the notes.
"""
import base64
import copy
import functools
import hashlib
import os
import random
import re
import subprocess
import sys
import threading

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), *way) for way in (("..", "e2e"), ("..",))]
import elsewhere  # noqa: E402
import mailwain  # noqa: E402
from account import counters  # noqa: E402
from mailwain import DOMAIN, NOWHERE, PASSWORD, Imap, Smtp  # noqa: E402

ACCOUNTS = ["a%d" % n for n in range(4)]
MESSAGES_MAX = 80  # in one account; past it more is removed than added
BROKEN = (OSError, EOFError, AssertionError, ValueError, IndexError, subprocess.TimeoutExpired)
FLAGS = {"\\Seen": 1, "\\Answered": 2, "\\Flagged": 4, "\\Deleted": 8, "\\Draft": 16}
AWAY = "away@" + DOMAIN  # an alias that leads to another host: its mail waits in the queue
WRITER = "b0@" + DOMAIN  # who writes to other hosts, and is told what does not arrive; nobody reads this account meanwhile


@functools.lru_cache(maxsize=100000)
def body_of(key):
    """Told by its key: small ones, and some that do not fit into one message between processes."""
    rng = random.Random(key)
    lines = rng.randrange(1, 80) if rng.random() < 0.93 else rng.randrange(1200, 2500)
    return "\r\n".join([key] + ["%032x" % rng.getrandbits(128) for _ in range(lines)]) + "\r\n"


@functools.lru_cache(maxsize=100000)
def hash_of(key):
    return hashlib.blake2b(body_of(key).encode(), digest_size=16).hexdigest()


def message_of(key):
    return "From: s@remote.test\r\nSubject: %s\r\n\r\n%s" % (key, body_of(key))


class Notes:
    def __init__(self, position):
        self.position, self.all, self.lock = position, [], threading.Lock()
        self.keys = 0

    def begin(self, op, **facts):
        note = dict(op=op, begin=self.position(), end=None, **copy.deepcopy(facts))
        with self.lock:
            self.all.append(note)
        return note

    def done(self, note, **facts):
        note.update(copy.deepcopy(facts))  # what the client knows goes on changing
        note["end"] = self.position()
        return note

    def key(self, kind):
        with self.lock:
            self.keys += 1
            return "%s%06d" % (kind, self.keys)



class Worker(threading.Thread):
    """Does one thing after the other until told to end; after a failure it begins with a new connection."""

    def __init__(self, load, seed):
        super().__init__(daemon=True)
        self.load, self.suite, self.notes, self.rng = load, load.suite, load.notes, random.Random(seed)
        self.client = None

    def run(self):
        while not self.load.ended.is_set():
            try:
                if self.client is None:
                    self.client = self.connect()
                self.step()
            except BROKEN as e:
                self.load.failures.append(repr(e))
                self.drop()
                self.load.ended.wait(0.05)
            self.load.ended.wait(self.pause())
        self.drop()

    def drop(self):
        if isinstance(self.client, (Imap, Smtp)):
            self.client.close()
        self.client = None

    def pause(self):
        return self.load.pace * self.rng.random()


class Sender(Worker):
    """Mail from outside, for one account or several."""

    def connect(self):
        client = Smtp(self.suite.port("smtp"), timeout=15)
        client.hello()
        return client

    def pause(self):
        return 4 * super().pause()

    def send(self, key, names):
        note = self.notes.begin("mail", key=key, to=names)
        self.client.expect("MAIL FROM:<s@remote.test>", 250)
        for name in names:
            self.client.expect("RCPT TO:<%s>" % name, 250)
        return self.notes.done(note, id=self.client.data(message_of(key)))

    def step(self):
        count = 1 if self.rng.random() < 0.7 else self.rng.randrange(2, len(ACCOUNTS) + 1)
        self.send(self.notes.key("m"), ["%s@%s" % (name, DOMAIN) for name in self.rng.sample(ACCOUNTS, count)])


class LmtpSender(Sender):
    """Another MTA: the 250 that it gets is of the account itself, and no queue stands between."""

    def connect(self):
        client = Smtp(self.suite.port("lmtp"), timeout=15)
        client.expect("LHLO client.test", 250)
        return client

    def step(self):
        note = self.notes.begin("mail", key=self.notes.key("l"), to=["%s@%s" % (self.rng.choice(ACCOUNTS), DOMAIN)], id=None)
        self.client.expect("MAIL FROM:<s@remote.test>", 250)
        self.client.expect("RCPT TO:<%s>" % note["to"][0], 250)
        self.client.data(message_of(note["key"]))
        self.notes.done(note)


def far_recipients(rng, names):
    """Of one message: names that the host elsewhere knows, now and then one that it does not, and the writer himself."""
    to = ["%s@%s" % (name, elsewhere.DOMAIN) for name in rng.sample(names, 1 if rng.random() < 0.6 else rng.randrange(2, len(names) + 1))]
    return to + [elsewhere.REFUSED] * (rng.random() < 0.15) + [WRITER] * (rng.random() < 0.25)


def written(key):
    return message_of(key).replace("s@remote.test", WRITER, 1)


def takes_of(far):
    """What far has taken, as notes; without the bodies."""
    return [{k: v for k, v in note.items() if k != "body"} for note in far.takes]


def sendmail(suite, to, key):
    """Hands a letter in as a program does; fails unless sendmail took it."""
    r = subprocess.run([os.path.join(mailwain.BUILD, "sbin", "sendmail"), "-i", "-f", WRITER, "--", *to], input=written(key).encode(),
                       env={"MAILWAIN_ROOT": suite.root, "PATH": "/usr/bin:/bin"}, capture_output=True, timeout=60)
    if r.returncode != 0:
        raise AssertionError(r.stderr.decode())


class Writer(Sender):
    """A user's mail to other hosts."""

    NAMES = ["x%d" % n for n in range(4)]

    def connect(self):
        client = Smtp(self.suite.port("submission"), timeout=15)
        client.hello()
        client.expect("AUTH PLAIN " + base64.b64encode(("\0%s\0%s" % (WRITER, PASSWORD)).encode()).decode(), 235)
        return client

    def pause(self):
        return super().pause() / 2

    def step(self):
        key = self.notes.key("r")
        note = self.notes.begin("mail", key=key, to=far_recipients(self.rng, self.NAMES))
        self.client.expect("MAIL FROM:<%s>" % WRITER, 250)
        for address in note["to"]:
            self.client.expect("RCPT TO:<%s>" % address, 250)
        self.notes.done(note, id=self.client.data(written(key)))


class Program(Writer):
    """A program of this machine that sends by sendmail(1): while the suite is away, its mail goes into the drop. Nobody tells it an id."""

    def connect(self):
        return True

    def step(self):
        key = self.notes.key("d")
        note = self.notes.begin("mail", key=key, to=far_recipients(self.rng, self.NAMES), id=None)
        sendmail(self.suite, note["to"], key)
        self.notes.done(note)


class Watcher(Worker):
    """Notes when queue is done with a message, and its file has lost its mark or its name."""

    def connect(self):
        self.at = 0
        return True

    def pause(self):
        return 0.02

    def step(self):
        path = os.path.join(self.suite.root, "log", "mailwain.log")
        with open(path, "rb") as f:
            f.seek(self.at)
            text = f.read()
        whole = text[: text.rfind(b"\n") + 1]
        for qid in re.findall(rb" queue_removed qid=(\S+)", whole):
            self.gone(qid.decode())
        self.at += len(whole)

    def gone(self, qid):
        path = os.path.join(self.suite.root, "spool", "queue", qid[-1], qid)
        try:
            if not os.stat(path).st_mode & 0o010:
                return
        except FileNotFoundError:
            pass
        self.notes.done(self.notes.begin("gone", id=qid))


class QueueKeeper(Sender):
    """Mail that waits for another host, and what an administrator does with it."""

    def __init__(self, *args):
        super().__init__(*args)
        self.ids = []

    def change(self, verb, qid):
        note = self.notes.begin(verb, id=qid)
        r = self.suite.mw("queue", verb, qid, check=False)
        if r.returncode != 0:
            raise AssertionError(r.stdout + r.stderr)
        self.notes.done(note)

    def step(self):
        if len(self.ids) < 5:
            self.ids.append(self.send(self.notes.key("w"), [AWAY])["id"])
            return
        verb = self.rng.choice(["hold", "hold", "release", "delete"])
        qid = self.rng.choice(self.ids)
        if verb == "delete":
            self.ids.remove(qid)
        self.change(verb, qid)


class Admin(Worker):
    """Accounts and aliases come and go."""

    def __init__(self, *args):
        super().__init__(*args)
        self.there = []

    def connect(self):
        return True

    def step(self):
        if len(self.there) < 4 or self.rng.random() < 0.5:
            kind, name = self.rng.choice(["account", "alias", "alias"]), "%s@%s" % (self.notes.key("x"), DOMAIN)
            note = self.notes.begin("add", kind=kind, name=name)
            if kind == "account":
                self.suite.mw("account", "add", name, "--password-stdin", input="secret of %s\n" % name)
            else:
                self.suite.mw("alias", "add", name, "a0@" + DOMAIN)
            self.there.append((kind, name))
        else:
            kind, name = self.there.pop(self.rng.randrange(len(self.there)))
            note = self.notes.begin("remove", kind=kind, name=name)
            self.suite.mw(kind, "remove", name)
        self.notes.done(note)


class Box:
    """What the client knows of a mailbox. top: above every UID it has seen or been told."""

    def __init__(self, validity=None, top=1, uids=None):
        self.validity, self.top, self.uids = validity, top, uids or {}


UIDS = re.compile(rb"(\d+)(?::(\d+))?")


def uid_list(text):
    out = []
    for first, last in UIDS.findall(text):
        out += range(int(first), int(last or first) + 1)
    return out


def uid_set(uids):
    return ",".join(str(u) for u in uids)


class Reader(Worker):
    """An IMAP client of its own account, the only one that changes anything there; only mail comes in beside it."""

    def __init__(self, load, seed, name):
        super().__init__(load, seed)
        self.name, self.boxes, self.selected, self.directory = name, {}, None, None

    # ---- finding out what there is ----

    def connect(self):
        self.client = client = Imap(self.suite.port("imap"), timeout=15)
        client.ok('LOGIN %s@%s "correct horse"' % (self.name, DOMAIN))
        note = self.notes.begin("state", account=self.name)
        self.boxes = {}
        for line in client.ok('LIST "" "*"'):
            name = line.rsplit(b" ", 1)[1].strip(b'"').decode()
            if b"\\Noselect" not in line and b"\\NonExistent" not in line:
                self.boxes[name] = Box()
        for name in self.boxes:
            self.select(name, True)
            self.boxes[name].uids = self.fetch(1)
        self.notes.done(note, boxes={name: dict(validity=b.validity, top=b.top, uids=b.uids) for name, b in self.boxes.items()})
        self.note_modseq()
        return client

    def note_modseq(self):
        """The last one that was given, by the index itself, as no client is told (there is no CONDSTORE): what its reader was answered for is in it."""
        self.directory = self.directory or self.suite.account_dir(self.name)
        note = self.notes.begin("modseq", account=self.name)
        self.notes.done(note, modseq=counters(self.directory)["modseq"])

    def select(self, name, anew=False):
        if self.selected == name and not anew:
            return
        self.selected = None
        text = b" ".join(self.client.ok('SELECT "%s"' % name))
        validity, uidnext = (int(re.search(word + rb" (\d+)", text).group(1)) for word in (rb"UIDVALIDITY", rb"UIDNEXT"))
        box = self.boxes[name]
        if (box.validity or validity) != validity or uidnext < box.top:
            self.fault("%s had UIDVALIDITY %s and UIDs below %d, now %d and UIDNEXT %d" % (name, box.validity, box.top, validity, uidnext))
        box.validity, box.top, self.selected = validity, max(box.top, uidnext if anew else 0), name

    def fetch(self, first):
        found = {}
        for line in self.client.ok("UID FETCH %d:* (UID FLAGS BODY.PEEK[TEXT]<0.40>)" % first):
            m = re.search(rb"UID (\d+)", line)
            if m and int(m.group(1)) >= first and b" FETCH " in line:
                flags = re.search(rb"FLAGS \(([^)]*)\)", line).group(1).decode().split()
                text = re.search(rb"\}\r\n([^\r]*)", line)
                found[int(m.group(1))] = [text.group(1).decode() if text else "-", sum(FLAGS.get(f, 0) for f in flags)]
        return found

    def fault(self, text):
        """Promises that the client itself sees broken."""
        self.notes.done(self.notes.begin("fault", text="account %s: %s" % (self.name, text)))

    def new_uids(self, name, uids):
        if uids and min(uids) < self.boxes[name].top:
            self.fault("UID %d of %s was given before: UIDs below %d were" % (min(uids), name, self.boxes[name].top))
        self.boxes[name].top = max([self.boxes[name].top] + [u + 1 for u in uids])

    # ---- what it does ----

    def own(self):
        return [name for name in self.boxes if name.startswith("f")]

    def some(self):
        """A mailbox that has messages, selected, and a few of its UIDs."""
        names = [name for name, box in self.boxes.items() if box.uids]
        name = self.rng.choice(names) if names else "INBOX"
        self.select(name)
        uids = sorted(self.boxes[name].uids)
        return name, sorted(self.rng.sample(uids, min(len(uids), self.rng.randrange(1, 6))))

    def look(self):
        self.select("INBOX")
        self.client.ok("NOOP")
        box = self.boxes["INBOX"]
        note = self.notes.begin("seen", account=self.name)
        new = {u: v for u, v in self.fetch(max(box.uids, default=0) + 1).items() if u not in box.uids}
        box.top = max([box.top] + [u + 1 for u in new])
        box.uids.update(new)
        self.notes.done(note, uids=new)

    def append(self):
        name, key = self.rng.choice(self.own() + ["INBOX", "Drafts"]), self.notes.key("p")
        flag = self.rng.choice(["", "\\Seen", "\\Flagged"])
        note = self.notes.begin("append", account=self.name, box=name, key=key, flags=FLAGS.get(flag, 0))
        tagged = self.client.append('"%s"' % name, message_of(key), flag)
        uid = int(re.search(rb"APPENDUID \d+ (\d+)", tagged).group(1))
        self.new_uids(name, [uid])
        self.boxes[name].uids[uid] = [key, FLAGS.get(flag, 0)]
        self.notes.done(note, uid=uid)

    def store(self):
        name, uids = self.some()
        if not uids:
            return
        flag, on = self.rng.choice(["\\Seen", "\\Flagged", "\\Answered"]), self.rng.random() < 0.7
        now = {u: self.boxes[name].uids[u][1] for u in uids}
        new = {u: (f | FLAGS[flag]) if on else (f & ~FLAGS[flag]) for u, f in now.items()}
        self.change_flags(name, new, "%sFLAGS (%s)" % ("+" if on else "-", flag))

    def change_flags(self, name, new, how):
        note = self.notes.begin("store", account=self.name, box=name, flags=new)
        self.client.ok("UID STORE %s %s" % (uid_set(new), how))
        for u, flags in new.items():
            self.boxes[name].uids[u][1] = flags
        self.notes.done(note)
        self.note_modseq()

    def copy(self, move=False):
        name, uids = self.some()
        others = [n for n in self.own() + ["Archive" if "Archive" in self.boxes else "Drafts"] if n != name]
        if not uids or not others:
            return
        to = self.rng.choice(others)
        note = self.notes.begin("move" if move else "copy", account=self.name, box=name, to=to, uids=uids)
        untagged, tagged = self.client.run('UID %s %s "%s"' % ("MOVE" if move else "COPY", uid_set(uids), to))
        assert tagged.startswith(b"OK"), tagged
        code = re.search(rb"COPYUID \d+ (\S+) (\S+)\]", b" ".join(untagged + [tagged]))
        pairs = dict(zip(uid_list(code.group(1)), uid_list(code.group(2))))
        self.new_uids(to, list(pairs.values()))
        for u, new in pairs.items():
            self.boxes[to].uids[new] = list(self.boxes[name].uids[u])
            if move:
                del self.boxes[name].uids[u]
        if sorted(pairs) != uids:
            self.fault("%s of %s of %s took %s" % (note["op"], uids, name, sorted(pairs)))
        self.notes.done(note, pairs=pairs)

    def move(self):
        self.copy(True)

    def expunge(self):
        name, uids = self.some()
        if not uids:
            return
        self.change_flags(name, {u: self.boxes[name].uids[u][1] | 8 for u in uids}, "+FLAGS (\\Deleted)")
        note = self.notes.begin("expunge", account=self.name, box=name, uids=uids)
        self.client.ok("UID EXPUNGE " + uid_set(uids))
        for u in uids:
            del self.boxes[name].uids[u]
        self.notes.done(note)

    def create(self):
        if len(self.own()) >= 6:
            self.remove()
            return
        name = self.notes.key("f")
        note = self.notes.begin("create", account=self.name, box=name)
        self.client.ok('CREATE "%s"' % name)
        self.boxes[name] = Box()
        self.notes.done(note)
        self.select(name)
        self.notes.done(self.notes.begin("validity", account=self.name, box=name, validity=self.boxes[name].validity))

    def rename(self):
        if not self.own():
            return
        name, to = self.rng.choice(self.own()), self.notes.key("f")
        note = self.notes.begin("rename", account=self.name, box=name, to=to)
        self.client.ok('RENAME "%s" "%s"' % (name, to))
        self.boxes[to] = self.boxes.pop(name)
        self.selected = to if self.selected == name else self.selected
        self.notes.done(note)

    def remove(self):
        if not self.own():
            return
        name = self.rng.choice(self.own())
        if self.selected == name:
            self.select("INBOX")
        note = self.notes.begin("delete-box", account=self.name, box=name)
        self.client.ok('DELETE "%s"' % name)
        del self.boxes[name]
        self.notes.done(note)

    ADDING = ["look"] * 4 + ["append"] * 4 + ["copy"] * 3 + ["move"] * 4 + ["store"] * 5 + ["expunge"] * 3 + ["create"] * 2 + ["rename"]
    REMOVING = ["look"] * 2 + ["move"] * 2 + ["store"] * 2 + ["expunge"] * 8 + ["remove"]

    def step(self):
        full = sum(len(b.uids) for b in self.boxes.values()) > MESSAGES_MAX
        getattr(self, self.rng.choice(self.REMOVING if full else self.ADDING))()


class Load:
    """Everything at once. suite: a started Instance with conf_lines(), LISTENERS and the accounts of prepare(). far: the host elsewhere."""

    LISTENERS = ["lmtp"]

    def __init__(self, suite, position, seed, far, pace=0.1):
        self.suite, self.notes, self.pace, self.far = suite, Notes(position), pace, far
        self.ended, self.failures = threading.Event(), []
        self.workers = [Sender(self, seed * 100 + n) for n in range(3)] + [QueueKeeper(self, seed * 100 + 10), Admin(self, seed * 100 + 11)]
        self.workers += [Writer(self, seed * 100 + 12), Writer(self, seed * 100 + 14), Program(self, seed * 100 + 13), LmtpSender(self, seed * 100 + 15), Watcher(self, 0)]
        self.workers += [Reader(self, seed * 100 + 20 + n, name) for n, name in enumerate(ACCOUNTS)]

    @staticmethod
    def conf_lines(far):
        return [far.transport(), NOWHERE, "queue-retry-max 3s"]

    def all_notes(self):
        return self.notes.all + takes_of(self.far)

    def changed_on_the_way(self):
        """What the host elsewhere has got that is not what was sent."""
        return ["%s came to %s changed" % (note["key"], note["to"]) for note in self.far.takes if note["body"] != body_of(note["key"])]

    @staticmethod
    def prepare(suite):
        for name in ACCOUNTS + [WRITER]:
            suite.add(name)
        suite.mw("alias", "add", AWAY, "x@elsewhere.test")

    def start(self):
        for worker in self.workers:
            worker.start()
        return self

    def stop(self):
        self.ended.set()
        for worker in self.workers:
            worker.join(60)
            assert not worker.is_alive(), "a client hangs: %s" % type(worker).__name__
