"""
The clock of the machine is set while the suite runs, and while it does not: mail in the queue neither ends nor waits for that. The daemons are
those of the suite, linked with a clock that a test can set (tests/plant/clock-set.c).
"""
import array
import hashlib
import hmac
import os
import re
import struct
import time

import pytest

import mailwain
from mailwain import BUILD, Instance, until
from remote import remote_host
from test_keys import AS_ROOT, held, memory_of
from test_outbound import send
from test_submission import newest
from test_tls import s_client
from tls_files import make

PLANT = os.path.join(BUILD, "plant", "clock-set")
CLOCK = os.path.join(PLANT, "clock")
HOUR, DAY = 3600, 86400


def set_clock(seconds, passed=0):
    """So much later than it is; passed: by that much the count since boot, too."""
    with open(CLOCK, "r+b") as f:
        f.write(struct.pack("=qq", seconds * 1000, passed * 1000))


@pytest.fixture(scope="module")
def remote():
    with remote_host() as r:
        yield r


@pytest.fixture(scope="module")
def suite(remote):
    with open(CLOCK, "wb") as f:
        f.write(bytes(16))
    before, mailwain.BIN = mailwain.BIN, os.path.join(PLANT, "bin", "mailwain")
    try:
        with Instance(['transport "*" { host %s }' % remote.place, "transport paused.test { host 127.0.0.9:9 }", "queue-retry-first 1s", "queue-retry-max 1s"]).running("alice", "bob") as i:
            yield i
    finally:
        mailwain.BIN = before


@pytest.fixture(autouse=True)
def put_off(remote, suite):
    """Nothing waits, nobody takes mail, and the clock is right."""
    set_clock(0)
    for row in suite.rows("queue", "list"):
        suite.mw("queue", "delete", row["id"], check=False)
    remote.answers, remote.messages = {"RCPT": "450 4.2.0 not now"}, []


def attempts(suite, qid):
    """0: it is not in the queue."""
    return max((r["attempts"] for r in suite.rows("queue", "show", qid)), default=0) if row(suite, qid) else 0


def row(suite, qid):
    return next((r for r in suite.rows("queue", "list") if r["id"] == qid), None)


def tried_again(suite, qid, times=1):
    """By itself, so many times more."""
    before = attempts(suite, qid)
    until(lambda: attempts(suite, qid) >= before + times, what="it is not tried again")


def jumps(suite):
    return [line for line in suite.log().splitlines() if "clock_jumped" in line]


def jump(suite, seconds, **kw):
    """Until the queue has noticed."""
    before = len(jumps(suite))
    set_clock(seconds, **kw)
    return until(lambda: jumps(suite)[before:], what="nobody has noticed")[0]


def booted(suite):
    """What queue has written down is of another boot of the machine; the suite is stopped. doc/spool.md has the form."""
    spool = os.path.join(suite.root, "spool")
    with open(os.path.join(spool, "key"), "rb") as f:
        key = f.read()
    with open(os.path.join(spool, "clock"), "r+b") as f:
        text = re.sub(rb"(?m)^boot .*", b"boot of-another-day", f.read().rpartition(b"checksum ")[0])
        mac = hashlib.blake2b(struct.pack("<QQQQ", 5, len(text), 0, 0) + text, key=key, digest_size=16).hexdigest()
        f.seek(0)
        f.truncate()
        f.write(text + b"checksum " + mac.encode() + b"\n")


def deliver(suite, subject):
    """To an account of the suite's own; its id. What auth said of bob within the last five seconds may have run out by the jump: a client comes again."""
    def accepted():
        try:
            return send(suite, "bob@example.com", subject=subject)
        except AssertionError as e:
            if ": 451 " not in str(e):
                raise
            return None

    qid = until(accepted)
    assert subject in newest(suite, "bob", subject)
    return qid


def busy(suite):
    """Seconds of a processor that all daemons have had."""
    ticks = 0
    for pid in suite.daemons().values():
        with open("/proc/%d/stat" % pid) as f:
            ticks += sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def test_a_month_ahead_ends_no_message(suite):
    qid = send(suite, "x@far.test")
    until(lambda: attempts(suite, qid) >= 1)
    told = jump(suite, 30 * DAY)
    assert abs(int(re.search(r" seconds=(\d+) while=running", told)[1]) - 30 * DAY) <= 1, told
    tried_again(suite, qid)
    waiting = row(suite, qid)
    assert abs(waiting["arrived"] - time.time() - 30 * DAY) < 60 and abs(waiting["next"] - time.time() - 30 * DAY) < 60
    assert not [r for r in suite.rows("queue", "list", "--older", "1h") if r["id"] == qid]
    suite.stop()
    suite.start()
    tried_again(suite, qid)
    jump(suite, 0)
    tried_again(suite, qid)
    assert "queue_expired" not in suite.log() and "queue_dsn" not in suite.log()


def test_a_jump_while_it_is_stopped(suite, remote):
    qid = send(suite, "x@far.test")
    tried_again(suite, qid, 2)  # queue has seen the clock since it was right again
    for seconds in 30 * DAY, -DAY, 1000 - int(time.time()):
        suite.stop()
        before = len(jumps(suite))
        set_clock(seconds)
        suite.start()
        assert "while=stopped" in until(lambda: jumps(suite)[before:], what="nobody has noticed")[0]
        tried_again(suite, qid)
    assert "queue_expired" not in suite.log() and "queue_dsn" not in suite.log()
    remote.answers = {}
    until(lambda: row(suite, qid) is None)
    assert len(remote.messages) == 1


def test_a_boot_is_no_jump(suite):
    """Ten minutes are counted for it, so that no id comes twice. But a day back is one."""
    qid = send(suite, "x@far.test")
    tried_again(suite, qid, 2)
    suite.stop()
    before = len(jumps(suite))
    booted(suite)
    suite.start()
    tried_again(suite, qid)
    assert send(suite, "x@far.test") > qid
    assert jumps(suite)[before:] == []
    suite.stop()
    booted(suite)
    set_clock(-DAY)
    suite.start()
    assert re.search(r" seconds=-\d+ while=stopped", until(lambda: jumps(suite)[before:], what="nobody has noticed")[0])
    jump(suite, 0)
    assert "queue_corrupt" not in suite.log()


def test_mail_flows_whatever_the_clock_says(suite):
    ids = [deliver(suite, "it is right")]
    waiting = send(suite, "x@far.test")
    for name, seconds in ("a day ago", -DAY), ("1970", 1000 - int(time.time())), ("ten years ahead", 3650 * DAY), ("right again", 0):
        jump(suite, seconds)
        ids.append(deliver(suite, name))
        tried_again(suite, waiting)
        begun, at = busy(suite), time.monotonic()
        until(lambda: time.monotonic() - at > 0.5)
        used = busy(suite) - begun
        assert used < 0.6 * (time.monotonic() - at), "something spins: " + name
    assert len(set(ids)) == len(ids), "an id is given twice"


def test_a_recipient_that_was_granted_stays_so(suite):
    c = suite.smtp()
    c.hello()
    c.expect("MAIL FROM:<x@far.test>", 250)
    c.expect("RCPT TO:<bob@example.com>", 250)
    set_clock(30 * DAY)
    c.expect("DATA", 354)
    c.expect("Subject: under way at a jump\r\n\r\nHello.\r\n.", 250)
    c.close()
    assert "under way at a jump" in newest(suite, "bob", "under way at a jump")


def test_ids_ascend_over_a_start_with_an_empty_spool(suite):
    before = deliver(suite, "the last one of that day")
    suite.wait_empty()
    suite.stop()
    set_clock(-DAY)
    suite.start()
    assert deliver(suite, "the first one of the day before") > before


def test_what_arrives_under_a_wrong_clock_has_its_age_all_the_same(suite):
    jump(suite, 1000 - int(time.time()))
    qid = send(suite, "x@far.test")
    until(lambda: attempts(suite, qid) >= 1)
    suite.stop()
    set_clock(0)
    suite.start()
    tried_again(suite, qid)
    assert abs(row(suite, qid)["arrived"] - time.time()) < 60
    assert "queue_expired" not in suite.log()


def test_a_wish_waits_no_longer_than_was_asked(suite):
    qid = send(suite, "bob@example.com", parameters=" HOLDFOR=2", subject="held for some seconds")
    set_clock(-DAY)
    assert "held for some seconds" in newest(suite, "bob", "held for some seconds")
    until(lambda: row(suite, qid) is None)


def test_a_wish_has_come_when_the_clock_says_so(suite):
    qid = send(suite, "bob@example.com", parameters=" HOLDFOR=%d" % DAY, subject="held for a day")
    assert row(suite, qid)["status"] == "scheduled"
    send(suite, "x@far.test")  # what is tried every second lets queue see the clock at once
    set_clock(DAY + 60)
    assert "held for a day" in newest(suite, "bob", "held for a day")


def test_time_that_has_passed_counts(suite):
    """The same as in the first test, but for the machine: were it not for the count since boot, that test could not tell."""
    qid = send(suite, "x@far.test")
    until(lambda: attempts(suite, qid) >= 1)
    set_clock(30 * DAY, passed=30 * DAY)
    suite.mw("queue", "flush", "--all")
    until(lambda: row(suite, qid) is None, what="it was not given up")
    suite.until_logged("queue_expired")


def test_who_waits_is_told_by_the_age_of_the_message(suite):
    """Its file was handed out ahead, and its id is an hour older. Of what waits for one that is paused nothing is read but to tell its sender."""
    def passed(hours):
        """Other mail is tried since, by which queue sees the clock."""
        set_clock(hours * HOUR + 30, passed=hours * HOUR + 30)
        before = attempts(suite, far)
        until(lambda: suite.mw("queue", "flush", "--recipient", "x@far.test") and attempts(suite, far) >= before + 2)

    def told(kind):
        return re.search("queue_dsn for=%s .* kind=%s" % (qid, kind), suite.log())

    suite.mw("queue", "pause", "127.0.0.9:9 for paused.test")
    far = send(suite, "x@far.test")
    passed(1)
    qid = send(suite, "x@paused.test")
    until(lambda: [r for r in suite.rows("queue", "stats") if r["state"] == "paused" and r["total"] == 1])
    passed(4)
    assert not told("delay")
    passed(5)
    until(lambda: told("delay"), what="no warning")
    set_clock(5 * DAY + 2 * HOUR, passed=5 * DAY + 2 * HOUR)
    until(lambda: suite.mw("queue", "flush", "--all") and told("failure"), what="it was not given up")


def test_a_clock_that_begins_centuries_off(suite):
    """Queue's time is begun anew from a clock that is far ahead; what comes when that is far behind is not a century old."""
    expired = suite.log().count("queue_expired")
    suite.stop()
    os.unlink(suite.root + "/spool/clock")
    set_clock(round(125 * 365.25 * DAY))
    suite.start()
    ids = [deliver(suite, "it is 2150 or so")]
    for name, seconds in ("1970 after that", 1000 - int(time.time())), ("right after that", 0):
        jump(suite, seconds)
        ids.append(deliver(suite, name))
        ids.append(send(suite, "x@far.test"))
        tried_again(suite, ids[-1])
    assert len(set(ids)) == len(ids), "an id is given twice"
    assert suite.log().count("queue_expired") == expired


# ---- session tickets ----

PERIOD = 4 * HOUR


@pytest.fixture
def planted():
    """Of a test alone, with the clocks at their beginning."""
    set_clock(0)
    before, mailwain.BIN = mailwain.BIN, os.path.join(PLANT, "bin", "mailwain")
    try:
        with Instance(["imapd-workers 2"]).running() as i:
            yield i
    finally:
        mailwain.BIN = before


def visit(suite, *args):
    """By TLS 1.2: there a ticket's key opens what was recorded."""
    return s_client(suite, "-tls1_2", "-ign_eof", *args, input="a LOGOUT\n")


def is_resumed(suite, path):
    text = visit(suite, "-sess_in", path)
    assert ("Reused, TLS" in text) != ("New, TLS" in text), text[-2000:]
    return "Reused, TLS" in text


def hkdf(secret):
    """What a ticket's secret makes: 16 octets that stand before each ticket, and the keys of AES and HMAC."""
    key, last, out = hmac.digest(b"mailwain session tickets\0", secret, "sha256"), b"", b""
    for i in 1, 2, 3:
        last = hmac.digest(key, last + bytes([i]), "sha256")
        out += last
    return out[:16], out[16:48], out[48:80]


def secrets_in(pid, fits):
    """Of all 32 octets of what a process may write to, that begin as a number does, the first that fits."""
    for piece in memory_of(pid, "rw"):
        words = array.array("Q", piece[: len(piece) & ~7])
        for i in range(len(words) - 3):
            if words[i] >> 32 and words[i + 1] >> 32 and words[i + 2] >> 32 and words[i + 3] >> 32 and fits(piece[8 * i : 8 * i + 32]):
                return piece[8 * i : 8 * i + 32]
    return None


@pytest.mark.skipif(not AS_ROOT, reason="needs root to read the memory of daemons")
@pytest.mark.skipif(os.environ.get("SANITIZED") is not None, reason="a sanitizer's shadow has terabytes")
def test_a_ticket_is_good_for_two_periods_and_nobody_can_open_it_after_them(planted, tmp_path):
    suite, first, second = planted, str(tmp_path / "1"), str(tmp_path / "2")
    shown = visit(suite, "-sess_out", first)
    name = bytes.fromhex("".join(re.search(r"TLS session ticket:\s+0000 - ([0-9a-f -]+?)   ", shown)[1].replace("-", " ").split()))
    workers = [row["pid"] for row in suite.rows("status") if row["name"] == "imapd"]
    master = next(row["pid"] for row in suite.rows("status") if row["name"] == "master")
    secret = secrets_in(workers[0], lambda octets: hkdf(octets)[0] == name)
    drawn = secrets_in(master, lambda octets: hashlib.blake2b(b"imapd", key=octets, digest_size=32).digest() == secret)
    assert secret and drawn, "the test sees them where they must be"

    def known():
        """Who could open it."""
        seen = {row["pid"]: memory_of(row["pid"], "rw") for row in suite.rows("status")}
        return {pid for pid, memory in seen.items() if any(held(memory, octets) for octets in (secret, drawn, *hkdf(secret)[1:]))}

    assert known() == {master, *workers}
    set_clock(0, passed=PERIOD)
    until(lambda: suite.log().count("tls_tickets") == 1)
    assert all(is_resumed(suite, first) for _ in range(4)), "all workers know the period before this one"
    visit(suite, "-sess_out", second)
    assert known() == {master, *workers}
    os.kill(workers[0], 9)
    until(lambda: all(row["pid"] != workers[0] and row["state"] == "ready" for row in suite.rows("status") if row["name"] == "imapd"))
    assert all(is_resumed(suite, first) for _ in range(4)), "so does one that has just been started"
    set_clock(0, passed=2 * PERIOD)
    until(lambda: suite.log().count("tls_tickets") == 2)
    until(lambda: not known(), what="what opened it is still somewhere")
    assert not any(is_resumed(suite, first) for _ in range(4))
    assert all(is_resumed(suite, second) for _ in range(4)), "who came in between has a ticket of that time"


# ---- certificates that end ----


def test_each_certificate_that_ends_is_told_of_and_every_day(planted):
    suite, etc = planted, os.path.join(planted.root, "etc")
    make(etc, "mail.example.com", days=10, stem="com")  # files that are not watched yet
    make(etc, "mail.example.net", days=3, stem="net")
    make(etc, "mail.example.org", days=90, stem="org")
    with open(suite.conf) as f:
        conf = re.sub(r"tls certificate .*", "tls certificate com.pem key com.key", f.read())
    with open(suite.conf, "w") as f:
        f.write(conf + "".join("domain example.%s { tls certificate %s.pem key %s.key }\n" % (top, top, top) for top in ("org", "net")))
    suite.mw("reload")
    shown = {row["domain"]: row["note"] for row in suite.rows("tls", "show")}
    assert shown["example.org"] == "" and shown[""] and shown["example.net"] != shown[""]

    def told():
        return [re.search(r'warning="(.*?)"', line)[1] for line in suite.log().splitlines() if "tls_certificate_old" in line]

    def note():
        return next(row["note"] for row in suite.rows("status") if row["name"] == "keys")

    both = ["example.net: " + shown["example.net"], shown[""]]
    until(lambda: told() == both, what="the one that ends first ahead, and the other as well")
    until(lambda: note() == both[0] + "; 1 more: mailwain tls show")
    set_clock(0, passed=DAY - HOUR)
    assert note() and told() == both, "a day is not over"
    set_clock(0, passed=DAY)
    assert note()
    until(lambda: told() == both + both, what="told again the next day")
    assert note() and told() == both + both, "and not twice"
