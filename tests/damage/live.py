"""Damage under a whole instance: real daemons, an IMAP client, store check, the log."""
import glob
import os
import random
import re
import shutil

from mailwain import DOMAIN, until
from world import LIVE_ACCOUNTS

TRIES = 40
WAIT = 30


class Broken(Exception):
    """A promise was."""


# ---- what there is ----

ITEMS = "UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE"


def login(suite, name):
    """A session; one that dies or finds the account busy comes again."""

    def attempt():
        c = suite.imap(name, login=False)
        try:
            if c.run('LOGIN %s@%s "correct horse"' % (name, DOMAIN))[1].startswith(b"OK"):
                return c
        except (EOFError, OSError):
            pass
        c.close()
        return None

    return until(attempt, WAIT, "no login of " + name)


def fetch(c, number):
    """(uid, facts without \\Recent, content) of a message, or None when it was refused."""
    facts, tagged = c.run("FETCH %d (%s)" % (number, ITEMS))
    lines, tagged2 = c.run("FETCH %d BODY.PEEK[]" % number)
    if not (tagged.startswith(b"OK") and tagged2.startswith(b"OK")):
        if b"SERVERBUG" not in tagged + tagged2:
            raise Broken("FETCH: %r %r" % (tagged, tagged2))
        return None
    facts = next(line for line in facts if b" FETCH (" in line).replace(b"\\Recent", b"")
    content = next(line for line in lines if b" FETCH (" in line)
    uid = int(re.search(rb"UID (\d+)", facts).group(1))
    facts = re.sub(rb"FLAGS \(([^)]*)\)", lambda m: b"FLAGS " + b" ".join(sorted(m.group(1).split())), facts)
    return uid, facts.split(b" ", 2)[2], content.split(b"\r\n", 1)[1][:-1]


def read_account(suite, name):
    """mailbox -> {uid: (facts, content)}, and how many answers were NO."""
    c = login(suite, name)
    boxes, refused = {}, 0
    try:
        listed, tagged = c.run('LIST "" *')
        if not tagged.startswith(b"OK"):
            return {}, 1
        for line in listed:
            box = line.split(b' "/" ', 1)[1]
            if b"\\Noselect" in line:
                continue
            selected, tagged = c.run(b"EXAMINE " + box)
            if not tagged.startswith(b"OK"):
                refused += 1
                continue
            count = next(int(line.split()[1]) for line in selected if line.endswith(b"EXISTS"))
            read = [fetch(c, n) for n in range(1, count + 1)]
            refused += read.count(None)
            boxes[box] = {m[0]: m[1:] for m in read if m is not None}
        c.run("LOGOUT")
    finally:
        c.close()
    return boxes, refused


def read_again(suite, name, deaths):
    """The same; a session that dies of the index may, twice at most."""
    for _ in range(3):
        try:
            return read_account(suite, name)
        except (EOFError, ConnectionError):
            deaths.append(name)
    raise Broken("the session dies again and again")


# ---- damage ----


def changed(rng, data):
    """(way, new content or None for a file that is gone)"""
    at = rng.randrange(len(data)) if data else 0
    ways = {
        "bits flipped": lambda: data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :],
        "bytes replaced": lambda: data[:at] + os.urandom(min(40, len(data) - at)) + data[at + 40 :],
        "truncated": lambda: data[:at],
        "extended": lambda: data + os.urandom(1 + rng.randrange(5000)),
        "zeros": lambda: data[: at // 4096 * 4096] + bytes(min(4096, len(data) - at // 4096 * 4096)) + data[at // 4096 * 4096 + 4096 :],
        "deleted": lambda: None,
    }
    while True:
        way = rng.choice(["bits flipped"] * 4 + list(ways))
        new = ways[way]()
        if new != data:
            return way, new


def damage_file(rng, path):
    with open(path, "rb") as f:
        data = f.read()
    way, new = changed(rng, data)
    times = os.stat(path)
    if new is None:
        os.unlink(path)
    else:
        with open(path, "r+b") as f:
            f.truncate(0)
            f.write(new)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return way


class Case:
    def __init__(self, what, path, way):
        self.what, self.path, self.way = what, path, way

    def __str__(self):
        return "%s: %s: %s" % (self.what, os.path.basename(self.path), self.way)


# ---- a run: a fresh copy of the world, some damage, a start, a look at everything ----


class Live:
    def __init__(self, suite, world, log):
        self.suite, self.world, self.log = suite, world, log
        self.figures = {"cases": 0, "refused": 0, "rebuilt": 0, "died": 0, "set aside": 0, "harmless": 0}
        self.restore()
        suite.start()
        self.truth = {name: read_account(suite, name)[0] for name in LIVE_ACCOUNTS}
        self.dirs = {name: suite.account_dir(name) for name in LIVE_ACCOUNTS}
        self.waiting = {row["id"] for row in suite.rows("queue", "list")}
        suite.stop()
        self.spooled = {}
        for path in glob.glob(os.path.join(self.spool(), "queue", "*", "*")):
            with open(path, "rb") as f:
                self.spooled[os.path.basename(path)] = f.read()

    def spool(self):
        return os.path.join(self.suite.root, "spool")

    def restore(self):
        for part in ("data", "spool"):
            shutil.rmtree(os.path.join(self.suite.root, part))
            if os.system("cp -a '%s' '%s/'" % (os.path.join(self.world, "live", part), self.suite.root)) != 0:
                raise OSError("cp")
        open(os.path.join(self.suite.root, "log", "mailwain.log"), "w").close()

    def pick(self, rng, name):
        directory = self.dirs[name]
        kind = rng.choice(["mail"] * 5 + ["index"] * 4 + ["lock", "mailboxes"])
        if kind == "mail":
            return rng.choice(sorted(glob.glob(directory + "/mail/*/*")))
        return os.path.join(directory, {"index": "index/data.mdb", "lock": "index/lock.mdb", "mailboxes": "mailboxes"}[kind])

    def run(self, seed):
        rng = random.Random(seed)
        self.earlier = ""
        self.restore()
        cases = {name: None for name in LIVE_ACCOUNTS[:-1]}  # the last one is not damaged
        for name in cases:
            path = self.pick(rng, name)
            cases[name] = Case("store of " + name, path, damage_file(rng, path))
        spool = []
        for qid in rng.sample(sorted(self.spooled), 5):
            path = os.path.join(self.spool(), "queue", qid[-1], qid)
            spool.append(Case("spool", path, damage_file(rng, path)))
        special = self.damage_special(rng)
        self.suite.start()
        try:
            wrong = self.judge(cases, spool)
        finally:
            self.suite.stop()
        self.figures["cases"] += len(cases) + len(spool) + (special is not None)
        return wrong + ([special] if isinstance(special, str) else [])

    # ---- keys and the directory: without them a daemon does not start, and says why ----

    def damage_special(self, rng):
        kind = rng.choice([None, "key", "directory"])
        if kind is None:
            return None
        path = os.path.join(self.spool(), "key") if kind == "key" else os.path.join(self.suite.root, "data", "directory", "data.mdb")
        words = "key file is" if kind == "key" else "directory export"
        with open(path, "rb") as f:
            sound = f.read()
        with open(path, "r+b") as f:
            f.truncate(rng.randrange(len(sound)) if kind == "key" else rng.randrange(4096, len(sound) // 2))
        self.suite.started = self.suite.mw("start", check=False).returncode == 0
        try:
            until(lambda: words in self.suite.log(), WAIT, "the damaged %s is not named" % path)
        except AssertionError as e:
            return str(e)
        finally:
            self.suite.stop()
            self.suite.mw("stop", check=False)
            with open(path, "r+b") as f:
                f.write(sound)
        # What queue said of its files in this start counts.
        self.earlier = self.suite.log()
        open(os.path.join(self.suite.root, "log", "mailwain.log"), "w").close()
        return True

    # ---- what must hold ----

    def judge(self, cases, spool):
        wrong = []
        for name in LIVE_ACCOUNTS:
            case = cases.get(name)
            try:
                self.judge_account(name, case)
            except (Broken, AssertionError, OSError, EOFError) as e:
                wrong.append("%s: %s" % (case or name + ", not damaged", e))
        try:
            self.judge_spool(spool)
        except (Broken, AssertionError, OSError, EOFError) as e:
            wrong.append("%s: %s" % ("; ".join(map(str, spool)), e))
        return wrong

    def judge_account(self, name, case):
        deaths = []
        index = case is not None and "/index/data" in case.path
        boxes, refused = read_again(self.suite, name, deaths)
        self.compare(name, case, boxes, refused)
        self.judge_check(name, case, refused)
        if refused and not index:
            number = self.number(case)
            until(lambda: any("store_corrupt" in line and number in line for line in self.suite.log().splitlines()), WAIT, "what was refused is not named in the log")
        self.suite.deliver("Subject: after %s\n\nafter the damage\n" % name, to=[name])
        again = until(lambda: self.arrived(name, deaths), WAIT, "mail no longer arrives")
        if refused and index and not self.was_rebuilt(name) and again[1]:
            raise Broken("the index was not put in order")
        self.compare(name, case, again[0], again[1])
        if deaths and not index:
            raise Broken("a session died")
        self.figures["died"] += len(deaths)
        self.figures["refused"] += refused
        self.figures["rebuilt"] += self.was_rebuilt(name)

    def arrived(self, name, deaths):
        boxes, refused = read_again(self.suite, name, deaths)
        return (boxes, refused) if any(b"after the damage" in content for box in boxes.values() for _, content in box.values()) else None

    def number(self, case):
        """Of the message file that is damaged."""
        return os.path.basename(case.path)[:16] if case is not None and "/mail/" in case.path else "nothing"

    def was_rebuilt(self, name):
        return bool(glob.glob(self.dirs[name] + "/index.damaged-*")) and "store_rebuilt" in self.suite.log()

    def compare(self, name, case, boxes, refused):
        truth = self.truth[name]
        contents = {content for box in truth.values() for _, content in box.values()}
        shown = {content for box in boxes.values() for _, content in box.values() if b"after the damage" not in content}
        if shown - contents:
            raise Broken("wrong mail was served: %r" % next(iter(shown - contents))[:300])
        if case is None and refused:
            raise Broken("an account that is not damaged was refused something")
        one_message = case is not None and "/mail/" in case.path
        index = case is not None and "/index/data" in case.path
        if not index and len(contents - shown) > one_message:
            raise Broken("%d messages that are not damaged cannot be read" % (len(contents - shown) - one_message))
        if self.was_rebuilt(name):
            if contents - shown:
                raise Broken("the index was made again, without %d messages" % len(contents - shown))
            return
        if index and (refused or not boxes):
            return
        for box, messages in boxes.items():
            for uid, (facts, content) in messages.items():
                if b"after the damage" not in content and truth.get(box, {}).get(uid) != (facts, content):
                    raise Broken("%r UID %d is not what it was: %r" % (box, uid, facts[:300]))

    def judge_check(self, name, case, refused):
        r = self.suite.mw("store", "check", "%s@%s" % (name, DOMAIN), check=False)
        lines = [line for line in r.stdout.splitlines() if re.search(r"mail/|index|mailboxes|usage|counts", line)]
        if r.returncode not in (0, 65):
            raise Broken("store check: exit %d: %s" % (r.returncode, r.stderr))
        if case is None or "lock.mdb" in case.path:
            if r.returncode:
                raise Broken("store check finds fault with what is sound: " + r.stdout)
        elif "/mail/" in case.path:
            if not lines or not all(self.number(case) in line for line in lines):
                raise Broken("store check names not exactly %s: %s" % (self.number(case), r.stdout))
        elif case.path.endswith("mailboxes") and "mailboxes:" not in r.stdout:
            raise Broken("store check does not name the copy of the names")
        if refused and r.returncode == 0 and not self.was_rebuilt(name):
            raise Broken("store check finds nothing, but %d were refused" % refused)

    def judge_spool(self, spool):
        """What is damaged is set aside, everything else is delivered as it was."""
        self.suite.mw("account", "quota", "full@" + DOMAIN, "0")
        self.suite.mw("queue", "flush", "--all")
        damaged = {os.path.basename(case.path): case for case in spool}
        aside = lambda: set(os.listdir(os.path.join(self.spool(), "corrupt")))  # noqa: E731
        local = {qid for qid, data in self.spooled.items() if b"Subject: full-" in data}
        until(lambda: not {row["id"] for row in self.suite.rows("queue", "list")} & local, WAIT, "the queue does not empty")
        # The others are tried too; each that is damaged is seen then.
        until(lambda: all(self.is_settled(qid, aside()) for qid in damaged), WAIT, "neither tried nor set aside: %s" % sorted(set(damaged) - aside()))
        if aside() - set(damaged):
            raise Broken("set aside, but not damaged: %s" % (aside() - set(damaged)))
        logged = lambda: set(re.findall(r"queue_corrupt.*?\b([0-9A-Z]{11})\b", self.earlier + self.suite.log()))  # noqa: E731
        until(lambda: aside() <= logged(), WAIT, "set aside without a word in the log: %s" % sorted(aside() - logged()))
        self.figures["set aside"] += len(aside())
        self.judge_delivered(local, damaged, aside())

    def is_settled(self, qid, aside):
        path = os.path.join(self.spool(), "queue", qid[-1], qid)
        return qid in aside or not os.path.exists(path) or re.search(r"queue_(deferred|delivered).*%s" % qid, self.suite.log()) is not None

    def judge_delivered(self, local, damaged, aside):
        boxes, refused = read_account(self.suite, "full")
        contents = [content for _, content in boxes.get(b"INBOX", boxes.get(b'"INBOX"', {})).values()]
        if refused:
            raise Broken("what was delivered cannot be read")
        for content in contents:
            body = content.split(b"\r\n", 2)[2]  # Return-Path and Delivered-To are ours
            if not any(data.startswith(body) for data in self.spooled.values()):
                raise Broken("wrong mail was delivered: %r" % body[:300])
        for qid in local - set(damaged):
            name = re.search(rb"Subject: (full-\S+)", self.spooled[qid]).group(1)
            if sum(b"Subject: " + name + b"\r\n" in content for content in contents) != 1:
                raise Broken("%s, which is not damaged, was not delivered once" % qid)
        for qid in (local & set(damaged)) - aside:
            name = re.search(rb"Subject: (full-\S+)", self.spooled[qid]).group(1)
            if damaged[qid].way != "deleted" and not any(b"Subject: " + name + b"\r\n" in content for content in contents):
                raise Broken("%s is neither delivered nor set aside" % qid)
