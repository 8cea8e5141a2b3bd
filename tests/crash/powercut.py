#!/usr/bin/python3
"""Power cuts: `make check-powercut` (doc/reliability.md).

Records everything that a disk was asked for while the whole suite works on it, makes the disk again as it may have been at
many instants, and holds what is there, after the daemons' own recovery, against what clients had been told.

  powercut.py [--sample] [--plant NAME]     a few points; with a planted fault, which must be found
  powercut.py --beside                      the same power cuts under Postfix and Dovecot

Environment: POINTS (10000, of ext4), XFS_POINTS, BTRFS_POINTS (1000), SEED, B (the build).
"""
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
import load  # noqa: E402
import rig  # noqa: E402
from elsewhere import MISCHIEF, Elsewhere  # noqa: E402
from disk import MKFS, Record, RecordedDisk  # noqa: E402
from mailwain import Instance  # noqa: E402

SECONDS = 25  # of load in one recording
POINTS_EACH = 2500  # of one recording
WORKERS = 2
SECONDS_SHORT = 6
WAKE_EVERY = 30  # at one point in so many the whole suite is started
SHOWN = 5  # problems of one point
# Those that show only while a file is written, or while some recipients have had a message and others not.
POINTS_OF_PLANT = {"mark-early": 1500, "record-no-sync": 1500, "relay-record-lost": 1500}


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


def record(fs, seed, directory, place, seconds):
    """The whole suite under load on a disk that remembers; it is killed and started, and stopped and started, on the way."""
    disk = RecordedDisk(os.path.join(rig.BUILD, "tests", "recorder"), fs, directory, place)
    far = Elsewhere(disk.position, seed, MISCHIEF)
    try:
        suite = Instance([*load.Load.conf_lines(far), "queue-retry-first 1s"], below=place)
        suite.start()
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
        clients.save(os.path.join(directory, "notes"))
        if clients.changed_on_the_way():
            raise AssertionError(clients.changed_on_the_way()[0])
        facts = dict(root=suite.root, offset=suite.offset, fs=fs, seed=seed, place=place)
        with open(os.path.join(directory, "facts"), "w") as f:
            json.dump(facts, f)
        acknowledged = [n for n in clients.notes.all if n["end"] is not None]
        return len(acknowledged), len(far.takes), acknowledged[0]["begin"], disk.position()
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


def one_recording(fs, seed, points, seconds):
    scratch = tempfile.mkdtemp(prefix="mailwain-powercut-", dir="/dev/shm")
    os.chmod(scratch, 0o755)
    place = os.path.join(scratch, "disk")
    figures = Figures()
    try:
        began = time.monotonic()
        acknowledged, taken, first, last = record(fs, seed, scratch, place, seconds)
        cuts, entries, flushes = choose(scratch, first, last, points, seed)
        recorded = time.monotonic()
        # Two of the same btrfs cannot be mounted at once.
        for result in replay(scratch, cuts, 1 if fs == "btrfs" else WORKERS):
            figures.take(fs, seed, result)
        spent = time.monotonic() - recorded
        print("%-5s seed %d: %d acknowledged, %d taken elsewhere, %d writes, %d flushes; %d points, %d of them with the whole suite, %d where mail would go out a second time, %d bad; %.0f + %.0f s, %.1f points a second"
              % (fs, seed, acknowledged, taken, entries - flushes, flushes, figures.points, figures.woken, figures.twice, figures.bad, recorded - began, spent, figures.points / spent), flush=True)
        for text in figures.shown:
            print("  " + text)
        return figures
    finally:
        if os.environ.get("MAILWAIN_KEEP") is None:
            shutil.rmtree(scratch, ignore_errors=True)


def plan(options):
    """(file system, points) for each recording."""
    points = options.number("POINTS", 10000, POINTS_OF_PLANT.get(options.plant, 300))
    others = [("xfs", options.number("XFS_POINTS", 1000, 0)), ("btrfs", options.number("BTRFS_POINTS", 1000, 0))]
    out = [("ext4", min(POINTS_EACH, points - n)) for n in range(0, points, POINTS_EACH)]
    return out + [(fs, count) for fs, count in others if count > 0 and shutil.which(MKFS[fs][0])]


def main():
    if "--beside" in sys.argv:
        os.execv(sys.executable, [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "beside.py")] + sys.argv[1:])
    options = rig.Options()
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        print("power cuts need root and /dev/fuse")
        return rig.NOT_HERE
    points, bad = 0, 0
    for n, (fs, count) in enumerate(plan(options)):
        figures = one_recording(fs, options.seed + n, count, SECONDS_SHORT if options.sample or options.plant else SECONDS)
        points += figures.points
        bad += figures.bad
    return options.verdict("power cuts: %d points, %d of them bad" % (points, bad), bad)


if __name__ == "__main__":
    sys.exit(main())
