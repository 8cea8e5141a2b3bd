#!/usr/bin/python3
"""Power cuts: `make check-powercut` (doc/reliability.md).

Records everything that a disk was asked for while the whole suite works on it, makes the disk again as it may have been at
many instants, and holds what is there, after the daemons' own recovery, against what clients had been told.

  powercut.py [--sample] [--plant NAME]     a few points; with a planted fault, which must be found
  powercut.py --beside                      the same power cuts under Postfix and Dovecot

Environment: POINTS (10000, of ext4), XFS_POINTS, BTRFS_POINTS (1000), SEED, B (the build).
"""
import contextlib
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import elsewhere  # noqa: E402
import load  # noqa: E402
import rig  # noqa: E402
from disk import MKFS, Record, RecordedDisk  # noqa: E402
from mailwain import Instance, until  # noqa: E402

SECONDS = 25  # of load in one recording
POINTS_EACH = 2500  # of one recording
WORKERS = 2
SECONDS_SHORT = 6
REMOVAL_SECONDS = 1  # until a removal must be durable; ext4 would see to it by itself in five
WAKE_EVERY = 30  # at one point in so many the whole suite is started
SHOWN = 5  # problems of one point
LAST_REMOVAL = "removal-lost"  # the fault that last_removal is there for
# Few where most of them show it (doc/reliability.md); many of those that show only while a file is written, or while some recipients have had a message and others not.
POINTS_OF_PLANT = {"spool-no-sync": 40, "index-no-sync": 40, "ack-early": 60, "uid-reused": 100, LAST_REMOVAL: 0, "mark-early": 1500, "record-no-sync": 1500, "relay-record-lost": 1500}


def kill_all(suite):
    """As the power would: nobody has time for anything. All that will not die are waited for."""
    pids = [int(p) for p in os.listdir("/proc") if p.isdigit() and suite.root.encode() in command_line(p)]
    master = suite.daemons()["master"]
    family = subprocess.run(["ps", "-o", "pid=", "--ppid", str(master)], capture_output=True, text=True).stdout.split()
    dying = []
    for pid in [master] + [int(p) for p in family] + pids:
        try:
            dying.append(os.pidfd_open(pid))
            signal.pidfd_send_signal(dying[-1], signal.SIGKILL)
        except ProcessLookupError:
            pass
    for fd in dying:  # readable once it has ended: until then it may have its ports
        select.select([fd], [], [], 30)
        os.close(fd)


def command_line(pid):
    try:
        with open("/proc/%s/cmdline" % pid, "rb") as f:
            return f.read()
    except OSError:
        return b""


def under_load(suite, disk, far, seed, seconds):
    """The whole suite is killed and started, and stopped and started, on the way."""
    load.Load.prepare(suite)
    clients = load.Load(suite, disk.position, seed, far).start()
    for end in ("kill", "stop", None):
        time.sleep(seconds / 3)
        if end == "kill":
            note = clients.notes.begin("broken")
            kill_all(suite)
        elif end == "stop":
            suite.stop()
        if end is not None:
            suite.start()
        if end == "kill":  # what the dead had sent may be read only now
            clients.notes.done(note)
    clients.stop()
    suite.stop()
    if clients.changed_on_the_way():
        raise AssertionError(clients.changed_on_the_way()[0])
    return clients.all_notes()


def record(fs, seed, directory, place, mischief, work, orders_syncs):
    """On a disk that remembers: what work(suite, disk, far) does with the suite, which it returns notes of. orders_syncs: of Ledger."""
    disk = RecordedDisk(os.path.join(rig.BUILD, "tests", "recorder"), fs, directory, place)
    far = elsewhere.Elsewhere(disk.position, seed, mischief)
    try:
        suite = Instance([*load.Load.conf_lines(far), "queue-retry-first 1s"], listeners=load.Load.LISTENERS, below=place)
        suite.start()
        notes = work(suite, disk, far)
        suite.stop()
        with open(os.path.join(directory, "notes"), "w") as f:
            f.writelines(json.dumps(note) + "\n" for note in notes)
        with open(os.path.join(directory, "facts"), "w") as f:
            json.dump(dict(root=suite.root, offset=suite.offset, fs=fs, seed=seed, place=place, orders_syncs=orders_syncs), f)
        return notes, disk.position()
    finally:
        far.close()
        disk.close()


def choose(directory, first, last, points, seed):
    """Entries of the log behind which the power goes: from the first acknowledgement until the suite has stopped; what the unmounting writes is the kernel's."""
    entries = Record(os.path.join(directory, "disk.log"))
    there = range(entries.first_after(first), entries.first_after(last))
    return sorted(random.Random(seed).sample(there, min(points, len(there)))), len(entries.entries), len(entries.flushes)


def replay(directory, cuts, workers):
    """Each worker takes a run of them, in its own namespaces: every disk is mounted at the place where it was made."""
    processes = []
    for w in range(workers):
        own = os.path.join(directory, "worker%d" % w)
        os.makedirs(own)
        with open(os.path.join(own, "cuts"), "w") as f:
            json.dump(cuts[w * len(cuts) // workers : (w + 1) * len(cuts) // workers], f)
        command = ["unshare", "-m", "-n", "--propagation", "private", sys.executable, os.path.join(os.path.dirname(__file__), "replay.py"), directory, own, str(WAKE_EVERY)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    for p in processes:
        for line in p.stdout:
            yield json.loads(line)
        if p.wait() != 0:
            raise RuntimeError("a replay ended with %d" % p.returncode)


class Figures:
    def __init__(self):
        self.points = self.woken = self.bad = 0
        self.twice = 0
        self.shown = []

    def take(self, fs, seed, result):
        self.points += 1
        self.woken += result["woken"]
        self.twice += result["twice"]
        if result["problems"]:
            self.bad += 1
            if len(self.shown) < 20:
                self.shown.append("%s, seed %d, entry %d%s: %s" % (fs, seed, result["entry"], ", whole suite" if result["woken"] else "", "; ".join(result["problems"][:SHOWN])))


@contextlib.contextmanager
def scratch_directory():
    scratch = tempfile.mkdtemp(prefix="mailwain-powercut-", dir="/dev/shm")
    os.chmod(scratch, 0o755)
    try:
        yield scratch, os.path.join(scratch, "disk")
    finally:
        if os.environ.get("MAILWAIN_KEEP") is None:
            shutil.rmtree(scratch, ignore_errors=True)


def one_recording(fs, seed, points, seconds):
    figures = Figures()
    with scratch_directory() as (scratch, place):
        began = time.monotonic()
        notes, last = record(fs, seed, scratch, place, elsewhere.MISCHIEF, lambda suite, disk, far: under_load(suite, disk, far, seed, seconds), fs != "btrfs")
        acknowledged = [n for n in notes if n["op"] not in ("taken", "modseq") and n["end"] is not None]
        cuts, entries, flushes = choose(scratch, acknowledged[0]["begin"], last, points, seed)
        recorded = time.monotonic()
        # Two of the same btrfs cannot be mounted at once.
        for result in replay(scratch, cuts, 1 if fs == "btrfs" else WORKERS):
            figures.take(fs, seed, result)
        spent = time.monotonic() - recorded
        print("%-5s seed %d: %d acknowledged, %d taken elsewhere, %d writes, %d flushes; %d points, %d of them with the whole suite, %d where mail would go out a second time, %d bad; %.0f + %.0f s, %.1f points a second"
              % (fs, seed, len(acknowledged), sum(n["op"] == "taken" for n in notes), entries - flushes, flushes, figures.points, figures.woken, figures.twice, figures.bad, recorded - began, spent, figures.points / spent), flush=True)
    for text in figures.shown:
        print("  " + text)
    return figures


def gone_for_good(suite, far, notes):
    """The letter that was taken last has left the queue; REMOVAL_SECONDS later that is durable."""
    suite.wait_empty()
    notes.done(notes.begin("gone", id=far.takes[-1]["qid"]))
    time.sleep(REMOVAL_SECONDS)  # what must not happen has no event
    notes.done(notes.begin("synced"))


def send_letter(suite, notes):
    key = notes.key("d")
    note = notes.begin("mail", key=key, to=["x0@" + elsewhere.DOMAIN], id=None)
    load.sendmail(suite, note["to"], key)
    notes.done(note)


def two_letters(suite, disk, far):
    """
    To elsewhere, and nothing behind them whose sync could make their removal durable: queue has to ask for that. The first one's file
    serves again; the second's is unlinked, as nobody remembers after a start who wrote it.
    """
    notes = load.Notes(disk.position)
    suite.add(load.WRITER.split("@")[0])
    send_letter(suite, notes)
    gone_for_good(suite, far, notes)
    far.answers["end"] = ["451 4.3.0 not now"]
    send_letter(suite, notes)
    until(lambda: [row for row in suite.rows("queue", "list") if row["status"] == "deferred"], what="it was not put off")
    suite.stop()
    suite.start()
    gone_for_good(suite, far, notes)
    return notes.all + load.takes_of(far)


def last_removal(fs, seed):
    """Power that fails a second behind the last removal."""
    figures = Figures()
    with scratch_directory() as (scratch, place):
        notes, _ = record(fs, seed, scratch, place, None, two_letters, True)
        log = Record(os.path.join(scratch, "disk.log"))
        for result in replay(scratch, [log.first_after(n["end"]) for n in notes if n["op"] == "synced"], 1):
            figures.take(fs, seed, result)
    print("%-5s seed %d: a second behind the last removal, %s" % (fs, seed, "; ".join(figures.shown) or "nothing is in the spool"), flush=True)
    return figures


def last_removal_again(fs, seed, is_planted):
    """A machine that stands still is late for that second, or gives ext4 its five: it does not each time, so that what is right is so twice of three times, once the first was wrong."""
    figures = last_removal(fs, seed)
    if (figures.bad > 0) == is_planted:
        return figures
    return max((last_removal(fs, seed) for _ in range(2)), key=lambda again: (again.bad > 0) != is_planted)


def plan(options):
    """(file system, points) for each recording."""
    points = options.number("POINTS", 10000, POINTS_OF_PLANT.get(options.plant, 300))
    others = [("xfs", options.number("XFS_POINTS", 1000, 0)), ("btrfs", options.number("BTRFS_POINTS", 1000, 0))]
    out = [("ext4", min(POINTS_EACH, points - n)) for n in range(0, points, POINTS_EACH)]
    return out + [(fs, count) for fs, count in others if count > 0 and shutil.which(MKFS[fs][0])]


def main():
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        print("power cuts need root and /dev/fuse")
        return rig.NOT_HERE
    if "--beside" in sys.argv:
        os.execv(sys.executable, [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "beside.py")] + sys.argv[1:])
    options = rig.Options()
    recordings = plan(options)
    removals = {"ext4"} if options.plant == LAST_REMOVAL else set() if options.plant else {fs for fs, _ in recordings}
    all_figures = [last_removal_again(fs, options.seed, options.plant == LAST_REMOVAL) for fs in sorted(removals)]
    seconds = SECONDS_SHORT if options.sample or options.plant else SECONDS
    all_figures += [one_recording(fs, options.seed + n, count, seconds) for n, (fs, count) in enumerate(recordings)]
    bad = sum(figures.bad for figures in all_figures)
    return options.verdict("power cuts: %d points, %d of them bad" % (sum(figures.points for figures in all_figures), bad), bad)


if __name__ == "__main__":
    sys.exit(main())
