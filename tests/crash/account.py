"""An account as an IMAP client sees it, and what may never change in it."""
import functools
import hashlib
import json
import os
import random
import re
import subprocess

import rig

NUMBERS = os.path.join(rig.BUILD, "tests", "numbers")
FETCHED = re.compile(rb"\* \d+ FETCH \((.*)$", re.S)


@functools.lru_cache(maxsize=256)
def text_of(token, size=600):
    """The body of a message is made of its token: what is whole is known by itself."""
    rng = random.Random(token)
    return "".join("%032x\r\n" % rng.getrandbits(128) for _ in range(size // 34 + 1))


def message_of(token, size=600):
    return "From: a@remote.test\r\nSubject: %s %d\r\n\r\n%s" % (token, size, text_of(token, size))


def token_in(content):
    """The token of a message as IMAP gives it; what was damaged has another name."""
    m = re.search(rb"^Subject: (\S+) (\d+)\r$", content, re.M)
    if m is None:
        return "?" + hashlib.sha256(content).hexdigest()[:12]
    token, size = m.group(1).decode(), int(m.group(2))
    body = content.split(b"\r\n\r\n", 1)[1] if b"\r\n\r\n" in content else b""
    return token if body == text_of(token, size).encode() else "DAMAGED:" + token


def counters(directory):
    """What numbers.c says of a store; None when there is none yet."""
    if not os.path.exists(os.path.join(directory, "index", "data.mdb")):
        return None
    done = subprocess.run([NUMBERS, directory], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Mailbox:
    def __init__(self, uidvalidity, uidnext):
        self.uidvalidity, self.uidnext, self.messages = uidvalidity, uidnext, {}  # uid -> (token, flags)


def read_status(line):
    return {key: int(value) for key, value in re.findall(r"(MESSAGES|UIDNEXT|UIDVALIDITY) (\d+)", line.decode())}


def read_fetched(line):
    uid = int(re.search(rb"UID (\d+)", line).group(1))
    flags = re.search(rb"FLAGS \(([^)]*)\)", line).group(1).decode().split()
    literal = re.search(rb"BODY\[\] \{(\d+)\}\r\n", line)
    content = line[literal.end() : literal.end() + int(literal.group(1))]
    return uid, token_in(content), frozenset(f for f in flags if f != "\\Recent")


class Account:
    """Reads it by a session of its own, and holds each look against those before: numbers that were used stay used (D4)."""

    def __init__(self, suite, name):
        self.suite, self.name = suite, name
        self.c = None
        self.given = {}  # (uidvalidity, uid) -> token
        self.uidnext = {}  # uidvalidity -> the highest seen
        self.counters = {}
        self.directory = suite.account_dir(name)
        self.unknown = 0

    def session(self):
        if self.c is None:
            self.c = self.suite.imap(self.name)
        return self.c

    def close(self):
        if self.c is not None:
            self.c.close()
        self.c = None

    def names(self):
        names = []
        for line in self.session().ok('LIST "" "*"'):
            m = re.match(rb'\* LIST \(([^)]*)\) \S+ "?(.*?)"?$', line)
            if m and b"\\Noselect" not in m.group(1):
                names.append(m.group(2).decode())
        return names

    def look(self):
        """name -> Mailbox; raises when a number has come back."""
        found = {}
        for name in self.names():
            found[name] = self.mailbox(name)
        for name, box in found.items():
            self.hold_against(name, box)
        self.session().run("UNSELECT")
        self.look_at_counters()
        return found

    def mailbox(self, name):
        c = self.session()
        status = read_status(c.ok('STATUS "%s" (MESSAGES UIDNEXT UIDVALIDITY)' % name)[0])
        box = Mailbox(status["UIDVALIDITY"], status["UIDNEXT"])
        if status["MESSAGES"] > 0:
            c.ok('EXAMINE "%s"' % name)
            for line in c.ok("FETCH 1:* (UID FLAGS BODY.PEEK[])"):
                if FETCHED.match(line):
                    uid, token, flags = read_fetched(line)
                    box.messages[uid] = (token, flags)
            assert len(box.messages) == status["MESSAGES"], "%s: STATUS says %d messages, FETCH %d" % (name, status["MESSAGES"], len(box.messages))
        return box

    def hold_against(self, name, box):
        before = self.uidnext.get(box.uidvalidity, 0)
        assert box.uidnext >= before, "%s: UIDNEXT went back from %d to %d" % (name, before, box.uidnext)
        for uid, (token, _) in box.messages.items():
            assert uid < box.uidnext, "%s: UID %d and UIDNEXT %d" % (name, uid, box.uidnext)
            was = self.given.get((box.uidvalidity, uid))
            assert was in (None, token), "%s: UID %d was %s and is now %s" % (name, uid, was, token)
            assert was or uid >= before, "%s: UID %d is new, UIDNEXT was %d" % (name, uid, before)
            self.given[box.uidvalidity, uid] = token
        self.uidnext[box.uidvalidity] = box.uidnext

    def look_at_counters(self):
        now = counters(self.directory)
        for what in ("modseq", "uidvalidity", "next_mailbox"):
            assert now[what] >= self.counters.get(what, 0), "%s went back from %d to %d" % (what, self.counters[what], now[what])
        assert now["message_modseq"] <= now["modseq"], "a message's modseq %d is beyond the account's %d" % (now["message_modseq"], now["modseq"])
        self.counters = now
        self.unknown = max(self.unknown, now["unknown"])

    def check(self):
        said = self.suite.mw("store", "check", "%s@example.com" % self.name, check=False)
        assert "no faults" in said.stdout, "store check: %s%s" % (said.stdout, said.stderr)


def contents(found):
    """What two looks have in common: names, and what lies in them; not the numbers."""
    return {name: sorted((token, tuple(sorted(flags))) for token, flags in box.messages.values()) for name, box in found.items()}
