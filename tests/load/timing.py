"""How long refusals take: whether there is an account, and what it has, must not be seen by a clock (doc/reliability.md)."""
import base64
import hashlib
import hmac
import re
import statistics
import time

import measure
from mailwain import Imap
from test_sasl import IMPORTED, hashed

SPREAD = 0.02  # of the medians


def accounts(suite, rounds):
    """kind -> names; each is guessed at once."""
    own = re.search(r"^account u0@\S+ (.*)$", suite.mw("directory", "export").stdout, re.M).group(1)
    own = re.sub(r"id=\d+ ?", "", own)
    kinds = {"known": own, "disabled": "disabled " + own, "no SCRAM keys": re.sub(r" scram=\S+", "", own), "no password": "", "unknown": None}
    kinds.update({"crypt " + kind: "hash=" + hashed(kind) for kind in ("md5", "sha512", "bcrypt")})
    assert "scram=" in own and "scram=" not in kinds["no SCRAM keys"] and "md5" in IMPORTED
    names, lines = {}, []
    for number, (kind, row) in enumerate(kinds.items()):
        names[kind] = ["k%dn%d@example.com" % (number, n) for n in range(rounds)]
        lines += ["account %s %s\n" % (name, row) for name in names[kind] if row is not None]
    suite.mw("directory", "import", "-", input="".join(lines))
    return names


def by_password(c, name):
    """Seconds until the refusal."""
    begun = time.monotonic()
    c.no('LOGIN %s "wrong password"' % name, b"NO [AUTHENTICATIONFAILED]")
    return time.monotonic() - begun


def by_proof(c, name):
    """Seconds from a wrong proof of SCRAM-SHA-256 until the refusal."""
    bare = "n=%s,r=clientnonce" % name
    c.send("a AUTHENTICATE SCRAM-SHA-256 %s\r\n" % base64.b64encode(("n,," + bare).encode()).decode())
    first = base64.b64decode(c.line()[2:]).decode()
    nonce, salt, count = re.fullmatch(r"r=([^,]+),s=([^,]+),i=(\d+)", first).groups()
    final = "c=biws,r=" + nonce
    key = hmac.digest(hashlib.pbkdf2_hmac("sha256", b"wrong password", base64.b64decode(salt), int(count)), b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(key).digest(), ",".join([bare, first, final]).encode(), "sha256")
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature))).decode()
    begun = time.monotonic()
    c.send(base64.b64encode((final + ",p=" + proof).encode()) + b"\r\n")
    line = c.line()
    assert line.startswith(b"a NO [AUTHENTICATIONFAILED]"), line
    return time.monotonic() - begun


def medians(suite, names, rounds, way, part):
    """kind -> seconds. In turns, each from an address of its own, so that nothing is delayed for what was before."""
    times = {kind: [] for kind in names}
    for n in range(rounds):
        for number, kind in enumerate(names):
            c = Imap(suite.port("imap"), source="127.%d.%d.%d" % (part, n, number + 1))
            times[kind].append(way(c, names[kind][n]))
            c.close()
        suite.mw("auth", "failures", "clear")  # what all strangers may cost is not what is measured
    return {kind: statistics.median(seconds) for kind, seconds in times.items()}


def timing(findings, rounds, ways=(by_password, by_proof)):
    suite = measure.instance(1)
    try:
        names = accounts(suite, rounds)
        for part, way in enumerate(ways):
            found = medians(suite, names, rounds, way, 2 + part)
            findings.say("%s: %s" % (way.__name__, ", ".join("%s %.2f ms" % (kind, 1000 * s) for kind, s in found.items())))
            spread = max(found.values()) / min(found.values()) - 1
            findings.expect(spread < SPREAD, "%s: medians of refusals differ by less than %d %%: %.2f %%" % (way.__name__, 100 * SPREAD, 100 * spread))
    finally:
        suite.close()
