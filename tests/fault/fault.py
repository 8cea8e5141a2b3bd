#!/usr/bin/python3
"""Calls that fail, a disk that is full, memory that is not there (D6 of doc/reliability.md, and Faults there).

    fault.py [--sample | --plant NAME]

The environment says: PART=table,disk,memory (all; places: watches the operations of the table, and lets nothing fail), CASE=OPERATION/PROCESS/CALL/ERROR/N of the table, or the front of it,
FULL_ROUNDS (50), JOBS (4 instances at once), SEED, STOP (broken promises of an operation that are enough). Ends with 1 when a promise was broken; with --plant, when the planted fault was not found.
"""
import argparse
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "..", ".."))
sys.path[:0] = [HERE, os.path.join(HERE, ".."), os.path.join(HERE, "..", "e2e")]
import rig  # noqa: E402

B = os.path.join(ROOT, os.environ.get("B", "build"))
# Where each planted fault must show: the part, and the cases that are enough.
PLANTED = {
    "sync-retried": ("table", "send/queue/fsync/"),
    "file-left": ("table", "APPEND/imap-session+/fsync/"),
    "memory-ignored": ("table", "APPEND/imap-session+/alloc/"),
    "full-ignored": ("disk", None),
    "memory-kept": ("memory", "keeps"),
    "memory-unseen": ("memory", "ignores"),
}


# Operations that are begun first, as they take longest.
LONG = ("a start with messages in the spool", "the drop", "store rebuild-index", "send, two accounts and an alias", "send, a new worker", "send, a new account", "put off, hold, release, delete", "send, large")


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--sample", action="store_true", help="one occurrence and one error of each call, two rounds of a full disk")
    p.add_argument("--plant", choices=sorted(PLANTED), help="a planted fault that must be found")
    return p.parse_args()


def run_table(build, only, sample, seed, stop_at, watch=False):
    from table import Result, operation_names, run_alone

    result = Result()
    names = [n for n in operation_names() if not only or n.startswith(only) or only.startswith(n + "/")]
    library = os.path.join(B, "tests", "inject.so")
    with ProcessPoolExecutor(int(os.environ.get("JOBS", "4"))) as pool:
        for one in [pool.submit(run_alone, n, build, library, sample, only, seed, stop_at, watch) for n in sorted(names, key=lambda n: n not in LONG)]:
            result.add(one.result())
    result.report()
    broken = ["%s at %s: %s (again: CASE=%r)" % (b + (b[0],)) for b in result.broken]
    return broken + (tell_places(build, library, result, sample, watch) if not only else [])


def tell_places(build, library, result, sample, watch):
    """What no operation reaches; a sample only counts."""
    import places

    # Each call that was seen fails in the whole run.
    reached = result.seen if sample or watch else result.sites
    counts, missing = places.compare(os.path.join(build, "libexec"), library, {(module, site) for _, module, site in reached})
    print("%s: %s" % ("places" if watch else "table", counts), flush=True)
    return missing if watch or not sample else []


def run_disk(build, rounds, seed):
    os.environ["MAILWAIN_BUILD"] = build
    import mailwain

    mailwain.BUILD, mailwain.BIN = build, os.path.join(build, "bin", "mailwain")
    from full_disk import fill_rounds
    from subject import Broken

    broken = []
    for kind, count in (("space", rounds - rounds // 2), ("inodes", rounds // 2)):
        start = time.monotonic()
        try:
            acked, refused, done = fill_rounds(kind, count, seed)
            print("full disk, no %s: %d rounds, %d messages acknowledged, %d refused, %.0f s" % (kind, done, acked, refused, time.monotonic() - start), flush=True)
        except Broken as e:
            broken.append("%s (again: PART=disk SEED=%d)" % (e, seed))
    return broken


def run_memory(plant):
    env = dict(os.environ, ASAN_OPTIONS="detect_leaks=1", **({"MEMORY_PLANT": plant} if plant else {}))
    r = subprocess.run([os.path.join(B, "sanitized", "tests", "memory")], env=env, capture_output=True, text=True, timeout=600)
    print(r.stdout, end="", flush=True)
    return [] if r.returncode == 0 else ["allocations: exit %d: %s" % (r.returncode, r.stderr.strip()[-2000:])]


def run(args, seed):
    build, parts, only = B, os.environ.get("PART", "table,disk,memory").split(","), os.environ.get("CASE")
    if only and "PART" not in os.environ:
        parts = ["table"]
    rounds = int(os.environ.get("FULL_ROUNDS", "2" if args.sample else "50"))
    plant = None
    if args.plant:
        part, only = PLANTED[args.plant]
        parts = [part]
        if part == "memory":
            plant = only
        else:
            build = rig.build_planted(args.plant)
    broken = []
    if "table" in parts:
        broken += run_table(build, only, args.sample, seed, 3 if args.plant else int(os.environ.get("STOP", "0")))
    if "places" in parts:
        broken += run_table(build, only, False, seed, 0, watch=True)
    if "disk" in parts:
        broken += run_disk(build, rounds, seed)
    if "memory" in parts:
        broken += run_memory(plant)
    return broken


def main():
    args = arguments()
    seed = int(os.environ.get("SEED", random.randrange(1 << 20)))
    start = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    broken = run(args, seed)
    for b in broken:
        print("BROKEN %s" % b)
    print("check-fault: %d broken promises, seed %d, commit %s, %.0f s" % (len(broken), seed, rig.commit(), time.monotonic() - start))
    if args.plant:
        print("planted fault %s: %s" % (args.plant, "FOUND" if broken else "NOT FOUND"))
        return 0 if broken else 1
    return 1 if broken else 0


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("check-fault mounts file systems and starts whole suites: it must be root")
        sys.exit(77)
    sys.exit(main())
