"""How long refusals take: whether there is an account, and what it has, must not be seen by a clock (doc/reliability.md)."""
import base64
import hashlib
import hmac
import os
import re
import statistics
import subprocess
import time

import measure
from machine import machine_users
from mailwain import Imap, Instance
from test_sasl import IMPORTED, hashed

SPREAD = 0.02  # of the medians of the differences in each round
LEAST = 0.24  # seconds: the grid
CONTROL = "unknown, too"
SYSTEM = "users.example.com"


def accounts(suite, rounds):
    """kind -> names; each is guessed at once."""
    own = re.search(r"^account u0@\S+ (.*)$", suite.mw("directory", "export").stdout, re.M).group(1)
    own = re.sub(r"id=\d+ ?", "", own)
    kinds = {"known": own, "disabled": "disabled " + own, "no SCRAM keys": re.sub(r" scram=\S+", "", own), "no password": "", "unknown": None, CONTROL: None}
    kinds.update({"crypt " + kind: "hash=" + hashed(kind) for kind in ("md5", "sha512", "bcrypt")})
    assert "scram=" in own and "scram=" not in kinds["no SCRAM keys"] and "md5" in IMPORTED
    names, lines = {}, []
    for number, (kind, row) in enumerate(kinds.items()):
        names[kind] = ["k%dn%d@example.com" % (number, n) for n in range(rounds)]
        lines += ["account %s %s\n" % (name, row) for name in names[kind] if row is not None]
    suite.mw("directory", "import", "-", input="".join(lines))
    return names


def users_of_the_machine(suite, users, rounds):
    """kind -> names: the same user each time, as the counts are cleared between the rounds."""
    with_mailbox, expired, locked, other_hash, plain = users
    suite.deliver("Subject: x\n\nmakes the account\n", to=["%s@%s" % (with_mailbox, SYSTEM)])
    subprocess.run(["chage", "-E", "0", expired], check=True)
    subprocess.run(["usermod", "-L", locked], check=True)
    subprocess.run(["usermod", "-p", hashed("sha512"), other_hash], check=True)
    kinds = {"user": plain, "user with mail": with_mailbox, "expired": expired, "locked": locked, "another hash": other_hash, "unknown": "nobody-here", CONTROL: "nobody-there", "of the system": "daemon"}
    return {kind: ["%s@%s" % (name, SYSTEM)] * rounds for kind, name in kinds.items()}


def by_password(c, name):
    """Seconds until the refusal."""
    begun = time.monotonic()
    c.no('LOGIN %s "wrong password"' % name, b"NO [AUTHENTICATIONFAILED]")
    return time.monotonic() - begun


def send_wrong_proof(c, name):
    """Of SCRAM-SHA-256; the answer is still to come."""
    bare = "n=%s,r=clientnonce" % name
    c.send("a AUTHENTICATE SCRAM-SHA-256 %s\r\n" % base64.b64encode(("n,," + bare).encode()).decode())
    first = base64.b64decode(c.line()[2:]).decode()
    nonce, salt, count = re.fullmatch(r"r=([^,]+),s=([^,]+),i=(\d+)", first).groups()
    final = "c=biws,r=" + nonce
    key = hmac.digest(hashlib.pbkdf2_hmac("sha256", b"wrong password", base64.b64decode(salt), int(count)), b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(key).digest(), ",".join([bare, first, final]).encode(), "sha256")
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature))).decode()
    c.send(base64.b64encode((final + ",p=" + proof).encode()) + b"\r\n")


def by_proof(c, name):
    """Seconds until a wrong proof is refused; from the first word on, where the grid begins."""
    begun = time.monotonic()
    send_wrong_proof(c, name)
    line = c.line()
    assert line.startswith(b"a NO [AUTHENTICATIONFAILED]"), line
    return time.monotonic() - begun


def times_of(suite, names, rounds, way, part):
    """kind -> seconds, a value for each round. In turns that begin with another kind each time, each from an address of its own, so that nothing is delayed for what was before."""
    times = {kind: [] for kind in names}
    for n in range(rounds):
        order = list(enumerate(names))
        for number, kind in order[n % len(order):] + order[:n % len(order)]:
            c = Imap(suite.port("imap"), source="127.%d.%d.%d" % (part, n, number + 1))
            times[kind].append(way(c, names[kind][n]))
            c.close()
            suite.mw("auth", "failures", "clear")  # what all strangers may cost is not what is measured
    return times


def noise_of(differences):
    """How far the median of these may be from the true one by chance: three standard errors, by the differences' own spread."""
    middle = statistics.median(differences)
    return 3 * 1.2533 * 1.4826 * statistics.median(abs(d - middle) for d in differences) / len(differences) ** 0.5


def judge(findings, what, times):
    """Of each kind against that of nobody in the same rounds: other work of the machine meets both. CONTROL is nobody as well, and says what that leaves."""
    usual = statistics.median(times["unknown"])
    off = {kind: [a - b for a, b in zip(seconds, times["unknown"])] for kind, seconds in times.items() if kind != "unknown"}
    noise = max(noise_of(off[CONTROL]), abs(statistics.median(off[CONTROL])))
    found = {kind: statistics.median(differences) for kind, differences in off.items()}
    findings.say("%s: unknown %.2f ms; %s" % (what, 1000 * usual, ", ".join("%s %+.2f" % (kind, 1000 * s) for kind, s in found.items())))
    kind = max(found, key=lambda k: abs(found[k]))
    findings.expect(usual > LEAST and abs(found[kind]) < SPREAD * usual + noise, "%s: refusals wait, and differ from nobody's by less than %d %% and what chance does (%.2f %%): %s %.2f %%" % (
        what, 100 * SPREAD, 100 * noise / usual, kind, 100 * found[kind] / usual))


def timing(findings, rounds, ways=(by_password, by_proof)):
    suite = measure.instance(1)
    try:
        names = accounts(suite, rounds)
        for part, way in enumerate(ways):
            judge(findings, way.__name__, times_of(suite, names, rounds, way, 2 + part))
    finally:
        suite.close()


def timing_of_users(findings, rounds):
    """The same of users of this machine, whom PAM knows; only root can make some."""
    if os.geteuid() != 0:
        findings.say("users of the machine: not looked at, that needs root")
        return
    service = "mailwain-timing-%d" % os.getpid()
    users = ["mwtime%s%d" % (letter, os.getpid() % 10000) for letter in "abcde"]
    with machine_users(users, lambda name: "pw of " + name, service):
        with Instance(conf_lines=["pam-service " + service, "domain %s { accounts system }" % SYSTEM]).running() as suite:
            judge(findings, "users of the machine", times_of(suite, users_of_the_machine(suite, users, rounds), rounds, by_password, 6))
