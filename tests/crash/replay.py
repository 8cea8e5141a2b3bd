"""One worker of powercut.py: makes the disk at each of its points, puts it in order, holds it against the notes.

  replay.py RECORDING OWN WAKE_EVERY      in mount and network namespaces of its own; a line of JSON for each point
"""
import json
import os
import subprocess
import sys

import notes
import wake
from disk import unmount, Record, Replay, run
from load import ACCOUNTS
from mailwain import ROOT, Instance

ORDER = os.path.join(ROOT, os.environ.get("B", "build"), "tests", "order")
ORDER_SECONDS = 60
# Two of the same file system at once are no danger in namespaces that do not see each other.
OPTIONS = {"ext4": "loop", "xfs": "loop,nouuid", "btrfs": "loop"}


def order(root):
    """(what is there, what went wrong with finding out)"""
    r = subprocess.run([ORDER, root], capture_output=True, timeout=ORDER_SECONDS)
    found, log = notes.Found(r.stdout.decode("utf-8", "replace")), r.stderr.decode("utf-8", "replace")
    if r.returncode != 0:
        return found, ["order ended with %d: %s" % (r.returncode, log[-500:])]
    return found, [line for line in log.splitlines() if "error" in line or "corrupt" in line]


def awake(facts):
    suite = Instance.existing(facts["root"], facts["offset"])
    try:
        return notes.Found(wake.text_of(suite)), []
    except (AssertionError, OSError, EOFError, subprocess.TimeoutExpired) as e:
        return None, ["the suite does not start or serve: %s; its log: %s" % (e, suite.log()[-1500:])]


def mount(facts, image):
    """As a machine's keeper does at its start: what cannot be mounted is looked at first. A superblock is several sectors, and some of them may be old; there are copies."""
    mend = {"ext4": ["e2fsck", "-fy", image], "btrfs": ["btrfs", "rescue", "super-recover", "-y", image]}
    command = ("mount", "-t", facts["fs"], "-o", OPTIONS[facts["fs"]], image, facts["place"])
    try:
        run(*command)
    except RuntimeError:
        if facts["fs"] not in mend:
            raise
        subprocess.run(mend[facts["fs"]], capture_output=True)
        run(*command)


def look(facts, image, ledger, whole):
    try:
        mount(facts, image)
    except RuntimeError as e:
        return ["the disk cannot be mounted: %s" % e]
    try:
        found, problems = awake(facts) if whole else order(facts["root"])
        return problems + (ledger.problems(found) if found else [])
    finally:
        unmount(facts["place"])


def main():
    recording, own, every = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with open(os.path.join(recording, "facts")) as f:
        facts = json.load(f)
    with open(os.path.join(own, "cuts")) as f:
        cuts = json.load(f)
    run("ip", "link", "set", "lo", "up")
    record = Record(os.path.join(recording, "disk.log"))
    replay = Replay(record, os.path.join(recording, "begin.img"), own, facts["seed"])
    ledger = notes.Ledger(notes.read(os.path.join(recording, "notes")), ACCOUNTS, orders_syncs=facts["orders_syncs"])
    for n, entry in enumerate(cuts):
        whole = n % every == every - 1
        image = replay.at(entry)
        ledger.advance(record.ends[entry])
        ledger.twice.clear()
        problems = look(facts, image, ledger, whole)
        print(json.dumps(dict(entry=entry, woken=whole, problems=problems, twice=int(ledger.twice[notes.IN_SPOOL] > 0))), flush=True)


if __name__ == "__main__":
    main()
