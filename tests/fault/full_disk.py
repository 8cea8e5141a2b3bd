"""A file system of a few megabytes under spool and data, filled under load and freed again, many times."""
import hashlib
import os
import random
import re
import shutil
import subprocess
import threading
import time

from mailwain import DOMAIN, Imap, Instance, Smtp
from subject import Broken, Log, fd_links

MEGA = 1 << 20
REFUSALS = 12  # of each kind before the disk is freed
PATIENCE = 30


class Volume:
    """An ext4 file system in a file, mounted below an instance's root; its spool and data lie on it."""

    def __init__(self, root, kind):
        self.root, self.image, self.at = root, root + "/volume.img", root + "/volume"
        self.kind, self.filler, self.mounted = kind, self.at + "/filler", []
        with open(self.image, "wb") as f:
            f.truncate(24 * MEGA)
        inodes = ["-N", "400"] if kind == "inodes" else []
        run("mkfs.ext4", "-q", "-F", "-m", "0", *inodes, self.image)
        os.mkdir(self.at)
        self.mount("-o", "loop", self.image, self.at)
        for name in ("spool", "data"):
            run("cp", "-a", "%s/%s" % (root, name), self.at)
            self.mount("--bind", "%s/%s" % (self.at, name), "%s/%s" % (root, name))

    def mount(self, *words):
        run("mount", *words)
        self.mounted.append(words[-1])

    def fill(self):
        """All but a little: the load takes the rest."""
        st = os.statvfs(self.at)
        try:
            if self.kind == "inodes":
                self.fill_inodes(st.f_favail - 12)
            else:
                self.fill_space(st.f_bavail * st.f_frsize - MEGA // 2)
        except OSError:
            pass  # the load was faster

    def fill_inodes(self, count):
        os.makedirs(self.filler, exist_ok=True)
        for i in range(count):
            open("%s/%d-%d" % (self.filler, time.monotonic_ns(), i), "w").close()

    def fill_space(self, left):
        with open(self.filler, "ab", buffering=0) as f:
            while left > 0:
                f.write(bytes(min(left, MEGA)))
                left -= MEGA
            os.fsync(f.fileno())

    def free(self):
        if os.path.isdir(self.filler):
            shutil.rmtree(self.filler)
        elif os.path.exists(self.filler):
            os.unlink(self.filler)

    def close(self):
        for path in reversed(self.mounted):
            subprocess.run(["umount", "-l", path], check=False)


def run(*words):
    r = subprocess.run(words, capture_output=True, text=True)
    if r.returncode != 0:
        raise Broken("%s: %s" % (" ".join(words), r.stderr))


class Load(threading.Thread):
    """One client; keeps what was acknowledged, and what was said that should not have been."""

    def __init__(self, round_, number):
        super().__init__(daemon=True)
        self.round, self.rng, self.number = round_, random.Random(round_.seed * 1000 + number), number
        self.acked, self.wrong, self.refused, self.count = {}, [], 0, 0

    def run(self):
        while not self.round.stop.is_set():
            self.count += 1
            key = "%d-%d-%d" % (self.round.seed, self.number, self.count)
            text = "Subject: %s\r\n\r\n%s" % (key, "".join("%032x\r\n" % self.rng.getrandbits(128) for _ in range(self.rng.choice((5, 50, 3000)))))
            try:
                self.once(key, text)
            except (OSError, EOFError, AssertionError, ValueError) as e:
                self.wrong.append("%s: the connection was lost: %s" % (key, e))
            if self.refused:
                time.sleep(0.005)

    def done(self, key, text, answer, taken, fine):
        if taken:
            self.acked[key] = digest(text.encode())
        elif fine:
            self.refused += 1
        else:
            self.wrong.append("%s: %s" % (key, answer))


class SmtpLoad(Load):
    client = None

    def once(self, key, text):
        if self.client is None:
            self.client = Smtp(self.round.suite.port("smtp"))
            self.client.hello()
        c = self.client
        for line in ("MAIL FROM:<s@remote.test>", "RCPT TO:<%s@%s>" % (self.round.account(self.number), DOMAIN), "DATA"):
            code, words = c.command(line)
            if code not in (250, 354):
                break
        else:
            c.send(text + ".\r\n")
            code, words = c.reply()
        # A refusal between its commands leaves the transaction open.
        if code != 250:
            c.expect("RSET", 250)
        self.done(key, text, "%d %s" % (code, words), code == 250, code == 452 and words.startswith("4.3.1 "))


class ImapLoad(Load):
    client = None

    def once(self, key, text):
        if self.client is None:
            self.client = Imap(self.round.suite.port("imap"))
            self.client.ok('LOGIN %s@%s "correct horse"' % (self.round.account(self.number), DOMAIN))
        c = self.client
        c.count += 1
        tag = b"t%d" % c.count
        c.send(tag + b" APPEND INBOX {%d+}\r\n" % len(text) + text.encode() + b"\r\n")
        tagged = c.end(tag)[1].decode()
        self.done(key, text, tagged, tagged.startswith("OK"), tagged.startswith("NO [UNAVAILABLE] "))


def digest(body):
    return hashlib.blake2b(body.rstrip(b"\r\n"), digest_size=16).hexdigest()


class Round:
    def __init__(self, suite, volume, seed):
        self.suite, self.volume, self.seed, self.stop = suite, volume, seed, threading.Event()
        self.names = ["r%da%d" % (seed, i) for i in range(2)]
        for name in self.names:
            suite.add(name)
            suite.imap(name).close()  # its store is made

    def account(self, number):
        return self.names[number % len(self.names)]

    def run(self):
        load = [kind(self, i) for i, kind in enumerate((SmtpLoad, SmtpLoad, SmtpLoad, ImapLoad, ImapLoad))]
        for one in load:
            one.start()
        self.volume.fill()
        start = time.monotonic()
        try:
            while min(self.refusals(load, SmtpLoad), self.refusals(load, ImapLoad)) < REFUSALS and not any(one.wrong for one in load):
                if time.monotonic() > start + PATIENCE:
                    raise Broken("the disk did not become full: %s" % [(type(l).__name__, l.refused, len(l.acked)) for l in load])
                time.sleep(0.01)
            self.volume.free()
            self.wait_resumed(load)
        finally:
            self.stop.set()
            self.volume.free()
        for one in load:
            one.join(PATIENCE)
            if one.client is not None:
                one.client.close()
        wrong = [w for one in load for w in one.wrong]
        if wrong:
            raise Broken("%d answers that are not right: %s" % (len(wrong), wrong[0]))
        self.look(load)
        return sum(len(one.acked) for one in load), sum(one.refused for one in load)

    @staticmethod
    def refusals(load, kind):
        return sum(one.refused for one in load if isinstance(one, kind))

    def wait_resumed(self, load):
        """Every client is served again, without a restart."""
        had, start = [len(one.acked) for one in load], time.monotonic()
        while any(len(one.acked) == n for one, n in zip(load, had)):
            if time.monotonic() > start + PATIENCE:
                raise Broken("not everybody is served again after %d s: %s" % (PATIENCE, [(len(one.acked) - n, one.wrong[:1]) for one, n in zip(load, had)]))
            time.sleep(0.01)

    def look(self, load):
        """All that was acknowledged is there, once, whole, and nothing else; the queue empties by itself."""
        start = time.monotonic()
        while self.suite.rows("queue", "list"):
            if time.monotonic() > start + PATIENCE:
                raise Broken("the queue does not empty: %s" % self.suite.rows("queue", "list")[:2])
            time.sleep(0.1)
        for name in self.names:
            acked = {k: d for one in load if self.account(one.number) == name for k, d in one.acked.items()}
            found = self.read(name)
            twice = [k for k, v in found.items() if len(v) > 1]
            damaged = [k for k, d in acked.items() if k in found and found[k][0] != d]
            problems = (sorted(set(acked) - set(found)), twice, damaged, sorted(set(found) - set(acked)))
            if any(problems):
                raise Broken("%s: lost %s, twice %s, damaged %s, refused but there %s" % ((name,) + problems))
            files = sum(len(f) for _, _, f in os.walk(self.suite.account_dir(name) + "/mail"))
            if files != len(acked):
                raise Broken("%s: %d files for %d messages" % (name, files, len(acked)))
            r = self.suite.mw("store", "check", name + "@" + DOMAIN, check=False)
            if "no faults" not in r.stdout + r.stderr:
                raise Broken("store check %s: %s%s" % (name, r.stdout, r.stderr))
        self.look_at_spool()

    def look_at_spool(self):
        start = time.monotonic()
        while True:
            held = fd_links(self.suite.daemons()["queue"])
            left = [os.path.join(d, n) for d, _, names in os.walk(self.suite.root + "/spool/queue") for n in names if os.path.join(d, n) not in held]
            if not left:
                return
            if time.monotonic() > start + 10:
                raise Broken("left over in the spool: %s" % left)
            time.sleep(0.05)

    def read(self, name):
        c = self.suite.imap(name)
        c.ok("SELECT INBOX")
        found = {}
        for line in c.ok("FETCH 1:* BODY.PEEK[]"):
            m = re.search(rb"BODY\[\] \{(\d+)\}\r\n", line)
            if m is None:
                continue
            body = line[m.end() : m.end() + int(m.group(1))]
            at = body.index(b"Subject: ")
            found.setdefault(body[at + 9 :].split(b"\r\n")[0].decode(), []).append(digest(body[at:]))
        c.close()
        return found

    def clear(self):
        """Room for the next round."""
        for name in self.names:
            directory = self.suite.account_dir(name)
            self.suite.mw("account", "remove", name + "@" + DOMAIN)
            shutil.rmtree(directory, ignore_errors=True)


def fill_rounds(kind, rounds, seed):
    """(acknowledged, refused, rounds done); Broken names the round."""
    suite = Instance(conf_lines=["queue-retry-first 1s", "queue-retry-max 2s"])
    volume = Volume(suite.root, kind)
    acked = refused = 0
    log = Log(os.path.join(suite.root, "log", "mailwain.log"))
    try:
        suite.start()
        pids = suite.daemons()
        for n in range(rounds):
            one = Round(suite, volume, seed + n)
            try:
                a, r = one.run()
                if suite.daemons() != pids:
                    raise Broken("daemons ended: %s became %s" % (pids, suite.daemons()))
                if not log.telling():
                    raise Broken("nothing in the log says that the disk is full")
                log.mark()
                one.clear()
            except (Broken, AssertionError) as e:
                raise Broken("full disk (%s), seed %d: %s" % (kind, one.seed, e))
            acked, refused = acked + a, refused + r
    finally:
        try:
            suite.close()
        finally:
            volume.close()
            shutil.rmtree(suite.root, ignore_errors=True)
    return acked, refused, rounds
