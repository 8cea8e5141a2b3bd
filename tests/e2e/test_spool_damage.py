"""What lies damaged or strange in the spool when queue starts (28, 29 of tests/README.md)."""
import hashlib
import os
import shutil
import struct
import time

import pytest

from mailwain import until
from tools import AS_ROOT

MAGIC = struct.pack("<I", 0x4D57524A)
DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def spool_file(suite, qid):
    return os.path.join(suite.root, "spool", "queue", qid[-1], qid)


def listed(suite):
    return {r["id"] for r in suite.rows("queue", "list")}


def set_aside(suite):
    return set(os.listdir(os.path.join(suite.root, "spool", "corrupt")))


def deliver_many(suite, count, to="away@example.com"):
    """Messages of one size, all handed in by one client without waiting; their ids."""
    c = suite.smtp()
    c.hello()
    ids = []
    for first in range(0, count, 200):
        numbers = range(first, min(first + 200, count))
        c.send(b"".join(b"MAIL FROM:<bob@remote.test>\r\nRCPT TO:<%s>\r\nBDAT 26 LAST\r\nSubject: m%06d\r\n\r\ntext\r\n" % (to.encode(), n) for n in numbers))
        for _ in numbers:
            assert c.reply()[0] == 250 and c.reply()[0] == 250
            ids.append(c.reply()[1].split()[-1])
    c.close()
    return ids


def parts(data):
    """(length of the content, length of content and envelope, offset of the commit record)"""
    at = max(i for i in range(0, len(data), 64) if data[i : i + 5] == MAGIC + b"\1")
    content, envelope = struct.unpack("<QQ", data[at + 12 : at + 28])
    return content, content + envelope, at


def all_tried(suite, count):
    """Each of the queue has been, and its file says so: the log does before it. One that was handed in is active until then."""
    until(lambda: [r["status"] for r in suite.rows("queue", "list")] == ["deferred"] * count, 120)
    until(lambda: suite.log().count("queue_deferred") >= count)


@pytest.fixture
def waiting(fresh):
    """Makes a stopped instance with messages that wait for another host, each tried once."""

    def make(count):
        suite = fresh()
        suite.add("alice")
        suite.mw("alias", "add", "away@example.com", "x@elsewhere.test")
        ids = deliver_many(suite, count)
        all_tried(suite, count)
        suite.stop()
        sizes = {os.path.getsize(spool_file(suite, i)) for i in ids}
        assert len(sizes) == 1, sizes
        return suite, ids

    return make


def restart(suite):
    """Starts and reads the whole spool; then everything is tried, which reads the contents too."""
    before = suite.log().count("queue_recovered")
    suite.start()
    until(lambda: suite.log().count("queue_recovered") > before)


def check(suite, good, damaged):
    """All of `good` are in the queue, all of `damaged` are in corrupt/, nothing else is, and mail flows."""
    suite.mw("queue", "flush", "--all")
    until(lambda: set_aside(suite) >= damaged, what="not set aside: %s" % sorted(damaged - set_aside(suite))[:5])
    suite.deliver("Subject: flows\n\nx\n")
    until(lambda: suite.imap("alice").ok("STATUS INBOX (MESSAGES)")[0].endswith(b"1)"))
    until(lambda: listed(suite) == good, what="listed, or not, and should be the other: %s" % sorted(listed(suite) ^ good)[:5])
    assert set_aside(suite) == damaged
    if damaged:
        suite.until_logged("queue_corrupt")
    else:
        assert "queue_corrupt" not in suite.log()


# ---- 28: damaged files ----


def test_28_each_byte_flipped(waiting):
    """One message for each byte of a queue file. Damage to the padding harms nothing, damage to a delivery record only that record."""
    suite, ids = waiting(1)
    size = os.path.getsize(spool_file(suite, ids[0]))
    suite.start()
    ids += deliver_many(suite, size + 2)
    all_tried(suite, size + 3)
    suite.stop()
    good, damaged = set(ids[size:]), set()
    for at, qid in enumerate(ids[:size]):
        with open(spool_file(suite, qid), "r+b") as f:
            data = f.read()
            assert len(data) == size
            _, end, commit = parts(data)
            f.seek(at)
            f.write(bytes([data[at] ^ (1 << at % 8)]))
        (damaged if at < end or commit <= at < commit + 64 else good).add(qid)
    assert len(damaged) > 300
    restart(suite)
    check(suite, good, damaged)


def test_28_truncated_at_each_length(waiting):
    suite, ids = waiting(1)
    size = os.path.getsize(spool_file(suite, ids[0]))
    suite.start()
    ids += deliver_many(suite, size + 2)
    all_tried(suite, size + 3)
    suite.stop()
    good, damaged = set(ids[size:]), set()
    for at, qid in enumerate(ids[:size]):
        with open(spool_file(suite, qid), "r+b") as f:
            commit = parts(f.read())[2]
            f.truncate(at)
        (damaged if at < commit + 64 else good).add(qid)
    restart(suite)
    check(suite, good, damaged)


def record(suite, qid, offset, kind=2, status=1, recipient=0, attempts=1):
    """A record that only queue could have written: it has the key."""
    with open(os.path.join(suite.root, "spool", "key"), "rb") as f:
        key = f.read()
    number = 0
    for digit in qid:
        number = number * 32 + DIGITS.index(digit)
    body = MAGIC + bytes([kind, 0, 0, 0]) + struct.pack("<IBIIqqH", 64, status, recipient, attempts, 0, 0, 0)
    body += bytes(48 - len(body))
    return body + hashlib.blake2b(struct.pack("<4Q", 3, number, offset, 64) + body, key=key, digest_size=16).digest()


def test_28_other_damage(waiting):
    suite, ids = waiting(14)
    paths = iter([(i, spool_file(suite, i)) for i in ids])
    good, damaged, gone = set(ids[12:]), set(), set()

    def append(path, data):
        with open(path, "ab") as f:
            f.write(data)

    qid, path = next(paths)  # 10 GB, nearly all of it holes
    os.truncate(path, 10 * 1024**3)
    damaged.add(qid)
    qid, path = next(paths)  # 8 MB of holes: the commit record is still found
    os.truncate(path, 8 * 1024**2)
    good.add(qid)
    qid, path = next(paths)  # junk at the end, as a torn write leaves it
    append(path, b"\xff" * 500)
    good.add(qid)
    qid, path = next(paths)  # zero length
    os.truncate(path, 0)
    damaged.add(qid)
    qid, path = next(paths)  # a file that was never committed: nobody was told 250
    os.truncate(path, 100)
    os.chmod(path, 0o600)
    gone.add(qid)
    qid, path = next(paths)  # another message's file
    shutil.copyfile(spool_file(suite, ids[13]), path)
    damaged.add(qid)
    qid, path = next(paths)  # a record of a kind nobody writes, well sealed
    append(path, record(suite, qid, os.path.getsize(path), kind=9))
    damaged.add(qid)
    qid, path = next(paths)  # a status nobody writes, well sealed
    append(path, record(suite, qid, os.path.getsize(path), status=99))
    damaged.add(qid)
    qid, path = next(paths)  # the same without the seal: a torn record
    append(path, record(suite, qid, os.path.getsize(path) + 64, kind=9))
    good.add(qid)
    qid, path = next(paths)  # a recipient there is none of: of no effect
    append(path, record(suite, qid, os.path.getsize(path), recipient=7))
    good.add(qid)
    qid, path = next(paths)  # well sealed and known: delivered, so the records above were what they should be
    append(path, record(suite, qid, os.path.getsize(path)))
    gone.add(qid)
    qid, path = next(paths)  # the commit record's bytes replaced by zeros
    with open(path, "r+b") as f:
        f.seek(parts(f.read())[2])
        f.write(bytes(64))
    damaged.add(qid)
    restart(suite)
    check(suite, good, damaged)
    assert not any(os.path.exists(spool_file(suite, i)) for i in gone)


# ---- what is not damaged, and long ----


def lengthen(suite, qid, octets):
    """As if it had been tried ever so often: all but the last record torn, which is as long as others."""
    path = spool_file(suite, qid)
    os.truncate(path, octets)
    with open(path, "ab") as f:
        f.write(record(suite, qid, octets, status=2, attempts=40))


def deferrals(suite):
    return suite.log().count("queue_deferred")


def try_again(suite, *command):
    """Its row once it has been tried and waits again."""
    before, now = deferrals(suite), time.time()
    suite.mw(*command)
    until(lambda: deferrals(suite) > before)
    until(lambda: any(r["next"] > now + 60 for r in suite.rows("queue", "list")))
    return suite.rows("queue", "list")[0]


def test_a_long_file_does_not_grow_and_is_given_up(waiting):
    """Past 32 MiB tries that only put off are not written down; the message waits, is requeued and expires as others."""
    suite, (qid,) = waiting(1)
    path = spool_file(suite, qid)
    lengthen(suite, qid, 33 << 20)
    size = os.path.getsize(path)
    row = try_again(suite, "start")
    suite.started = True  # the fixture stops it
    assert row["next"] > time.time() + 2 * 3600, "the wait does not go by the number of tries"
    assert os.path.getsize(path) == size
    assert len(suite.mw("queue", "attempts", qid).stdout.splitlines()) < 5
    # What an administrator says is; and then tries, as far as waiting and giving up go by them.
    assert try_again(suite, "queue", "requeue", qid)["next"] < time.time() + 3600
    until(lambda: os.path.getsize(path) > size + 64, what="the try is not written down")
    size = os.path.getsize(path)
    with open(os.path.join(suite.root, "etc", "mailwain.conf"), "a") as f:
        f.write("queue-lifetime 1s\n")
    suite.mw("reload")
    until(lambda: time.time() > row["arrived"] + 2, what="it is not older than its lifetime")
    suite.mw("queue", "flush", qid)
    until(lambda: "queue_expired" in suite.log())
    until(lambda: qid not in listed(suite))


def test_a_file_that_is_full_takes_what_ends_the_waiting(waiting):
    suite, (qid,) = waiting(1)
    lengthen(suite, qid, 66 << 20)
    suite.start()
    for verb in ("hold", "requeue"):
        assert "too many records" in suite.mw("queue", verb, qid, check=False).stderr
    assert "too many records" in suite.mw("queue", "hold", "--all", check=False).stderr
    until(lambda: suite.mw("queue", "bounce", qid, check=False).returncode == 0)  # not while it is being tried
    until(lambda: qid not in listed(suite))


# ---- 29: what is no queue file ----


def test_29_entries_that_are_no_queue_files(waiting):
    """All at once: refused and logged, neither followed nor waited for. A genuine file of a strange date is one like all others."""
    suite, ids = waiting(9)
    model = spool_file(suite, ids[0])
    directory = os.path.dirname(model)
    secret = os.path.join(suite.root, "secret")
    with open(secret, "w") as f:
        f.write("not for the queue")
    odd = {}

    def place(name, like=None):
        odd[name] = os.path.join(directory, "1AAAAAAA%02d" % len(odd) + model[-1])
        if like is not None:
            shutil.copyfile(like, odd[name])
            os.chown(odd[name], os.stat(like).st_uid, os.stat(like).st_gid)
            os.chmod(odd[name], os.stat(like).st_mode)
        return odd[name]

    os.symlink(secret, place("a link"))
    os.symlink(spool_file(suite, ids[1]), place("a link to a queue file"))
    os.symlink("nowhere", place("a link to nothing"))
    os.mkfifo(place("a FIFO"))  # these stay where they are: queue may make no such thing, not even by moving it
    os.mkdir(place("a directory"))
    unmoved = [odd["a FIFO"], odd["a directory"]]
    os.link(spool_file(suite, ids[2]), place("a second name"))
    place("a copy", spool_file(suite, ids[3]))
    os.utime(place("a copy of 2099", spool_file(suite, ids[3])), (4070908800, 4070908800))
    os.utime(place("a copy of 1970", spool_file(suite, ids[3])), (0, 0))
    if AS_ROOT:
        os.chown(place("somebody else's", spool_file(suite, ids[3])), 12345, 12345)
        os.mknod(place("a device"), 0o20600, os.makedev(1, 5))
        unmoved.append(odd["a device"])
    misplaced = os.path.join(suite.root, "spool", "queue", "0" if model[-1] != "0" else "1", "1AAAAAAA99" + model[-1])
    shutil.copyfile(model, misplaced)
    nameless = os.path.join(directory, "..x" + "y" * 100), os.path.join(directory, "lower-case-1")
    for path in nameless:
        open(path, "w").close()
    for qid, when in ((ids[4], 4070908800), (ids[5], 0), (ids[6], -1)):
        os.utime(spool_file(suite, qid), (when, when))
    if AS_ROOT:
        os.chown(spool_file(suite, ids[7]), 12345, 12345)
    restart(suite)
    refused = {os.path.basename(p) for name, p in odd.items() if p not in unmoved and name != "a second name"} | ({ids[7]} if AS_ROOT else set())
    check(suite, set(ids) - refused, refused)
    assert all(os.path.exists(p) for p in unmoved)
    until(lambda: suite.log().count("cannot be moved to corrupt/") == len(unmoved))
    assert not os.path.exists(odd["a second name"]) and os.path.exists(misplaced) and os.path.exists(secret)
    suite.until_logged("is no regular file", "a second name of another message's file; removed", "the commit record or the envelope is damaged", "is not the name of a queue file")
    with open(secret) as f:
        assert f.read() == "not for the queue"


def test_29_a_queue_file_replaced_while_queue_runs(waiting):
    """Read again before each attempt: what is no file of queue's own by then is set aside."""
    suite, ids = waiting(5)
    suite.start()
    until(lambda: listed(suite) == set(ids))
    os.unlink(spool_file(suite, ids[0]))
    os.symlink("/etc/passwd", spool_file(suite, ids[0]))
    os.truncate(spool_file(suite, ids[1]), 300)
    os.link(spool_file(suite, ids[2]), os.path.join(suite.root, "second"))
    os.unlink(spool_file(suite, ids[3]))
    check(suite, {ids[2], ids[4]}, set(ids[:2]))  # a second name takes nothing from a message that is whole under its own
