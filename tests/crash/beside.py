#!/usr/bin/python3
"""The same power cuts under Mailwain and under Debian's Postfix + Dovecot: `make check-powercut RIG=--beside`.

Mail comes in over SMTP and by APPEND. At each cut the disk is mounted and all files are read, by the same reader for
both: a mail that was acknowledged and that no file holds, whole, is lost. That is kinder than powercut.py, which
asks the suite itself. Environment: POINTS (300), SEED.
"""
import os
import random
import re
import shutil
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, ".."), os.path.join(HERE, "..", "bench")]
import config  # noqa: E402
import disk  # noqa: E402
import load  # noqa: E402
import peers  # noqa: E402
import rig  # noqa: E402
from mailwain import Imap, Instance, Smtp  # noqa: E402

SECONDS = 15
KEY = re.compile(rb"\n\n([mp]\d{6})\n")


class Ours:
    name = "Mailwain"

    def __init__(self, place):
        self.suite = Instance(below=place)
        self.suite.start()
        self.accounts = ["a%d@example.com" % n for n in range(4)]
        for account in self.accounts:
            self.suite.mw("account", "add", account, "--password-stdin", input="secret\n")
        self.smtp, self.imap, self.password = self.suite.port("smtp"), self.suite.port("imap"), "secret"

    def stop(self):
        self.suite.stop()


class Others:
    name = "Postfix + Dovecot"

    def __init__(self, place):
        config.DIRECTORY = place
        self.peers = peers.Peers().start()
        self.accounts = [self.peers.address(name) for name in config.ACCOUNTS[:4]]
        self.smtp, self.imap, self.password = self.peers.smtp, self.peers.imap, config.PASSWORD

    def stop(self):
        os.environ["BENCH_KEEP"] = "1"  # the disk goes as a whole
        self.peers.close()


def send(side, notes, rng, ended):
    client = Smtp(side.smtp, timeout=30)
    client.hello()
    while not ended.is_set():
        note = notes.begin("mail", key=notes.key("m"))
        client.expect("MAIL FROM:<s@remote.test>", 250)
        client.expect("RCPT TO:<%s>" % rng.choice(side.accounts), 250)
        client.data(load.message_of(note["key"]))
        notes.done(note)
        ended.wait(0.05 * rng.random())


def append(side, notes, rng, ended):
    client = Imap(side.imap, timeout=30)
    client.ok('LOGIN %s "%s"' % (rng.choice(side.accounts), side.password))
    while not ended.is_set():
        note = notes.begin("append", key=notes.key("p"))
        client.append("INBOX", load.message_of(note["key"]))
        notes.done(note)
        ended.wait(0.05 * rng.random())


def record(kind, directory, place, seed):
    recorded = disk.RecordedDisk(os.path.join(rig.BUILD, "tests", "recorder"), "ext4", directory, place)
    try:
        side, notes, ended = kind(place), load.Notes(recorded.position), threading.Event()
        clients = [threading.Thread(target=what, args=(side, notes, random.Random(seed + n), ended), daemon=True) for n, what in enumerate((send, send, send, append, append))]
        for client in clients:
            client.start()
        time.sleep(SECONDS)
        ended.set()
        for client in clients:
            client.join(60)
        side.stop()
        return sorted((n["end"], n["key"]) for n in notes.all if n["end"] is not None), recorded.position()
    finally:
        recorded.close()


def postfix_text(data):
    """A queue file of Postfix is records: a type, a length of seven bits an octet, the bytes; N ends a line, L does not."""
    out, at = [], 0
    while at + 1 < len(data):
        kind, length, shift, at = data[at : at + 1], 0, 0, at + 1
        while at < len(data):
            octet, at = data[at], at + 1
            length |= (octet & 127) << shift
            shift += 7
            if octet < 128:
                break
        if kind in b"NL":
            out.append(data[at : at + length] + (b"\n" if kind == b"N" else b""))
        at += length
    return b"".join(out)


def held(place):
    """Keys of all mails that some file holds, whole."""
    keys = set()
    for directory, _, names in os.walk(place):
        for name in names:
            path = os.path.join(directory, name)
            if not os.path.isfile(path) or os.path.islink(path) or name.endswith((".mdb", ".log")):
                continue
            with open(path, "rb") as f:
                data = f.read()
            text = postfix_text(data) if re.search("/queue/(incoming|active|deferred|hold)/", path) and data[:1] == b"C" else data.replace(b"\r\n", b"\n")
            for m in KEY.finditer(text):
                key = m.group(1).decode()
                if text.startswith(load.body_of(key).replace("\r\n", "\n").encode(), m.start(1)):
                    keys.add(key)
    return keys


def replay(directory, place, acknowledged, stopped, points, seed):
    """(cuts, cuts at which something was lost, the most that was lost); cuts lie between the first acknowledgement and the stop."""
    log = disk.Record(os.path.join(directory, "disk.log"))
    there = range(log.first_after(acknowledged[0][0]), log.first_after(stopped))
    cuts = sorted(random.Random(seed).sample(there, min(points, len(there))))
    again, lost = disk.Replay(log, os.path.join(directory, "begin.img"), directory, seed), []
    for cut in cuts:
        disk.run("mount", "-o", "loop", again.at(cut), place)
        try:
            found = held(place)
        finally:
            disk.unmount(place)
        lost.append(sum(1 for end, key in acknowledged if end <= log.ends[cut] and key not in found))
    return len(cuts), sum(1 for n in lost if n), max(lost, default=0)


def one(kind, points, seed):
    scratch = tempfile.mkdtemp(prefix="mailwain-beside-", dir="/dev/shm")
    os.chmod(scratch, 0o755)
    try:
        acknowledged, stopped = record(kind, scratch, os.path.join(scratch, "disk"), seed)
        cuts, bad, most = replay(scratch, os.path.join(scratch, "disk"), acknowledged, stopped, points, seed)
        print("%-18s %d mails acknowledged, %d cuts of the power: mail is lost at %d of them, at most %d mails" % (kind.name, len(acknowledged), cuts, bad, most), flush=True)
        return bad
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def alone():
    """A daemon that is started anywhere takes copies of all mounts into its own namespace, and what is unmounted here lives on there."""
    if os.environ.get("BESIDE_ALONE") != "yes":
        os.environ["BESIDE_ALONE"] = "yes"
        os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable] + sys.argv)


def main():
    alone()
    options = rig.Options()
    points = options.number("POINTS", 300, 50)
    bad = [one(kind, points, options.seed) for kind in (Ours, Others)]
    return options.verdict("power cuts, side by side, %d each" % points, bad[0])


if __name__ == "__main__":
    sys.exit(main())
