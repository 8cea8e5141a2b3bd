#!/usr/bin/env python3
"""Damage to every file of the suite: nothing wrong is served, nothing undamaged is lost, the damage is named.

CASES (10000) in all, of which one in LIVE (50) under a whole instance; SEED; JOBS (2); WORLD, a kept world instead of a new one for the cases without an
instance. --sample: 400 cases, one round of them under an instance. --plant NAME: against build/plant/NAME, in which that fault must be found.
"""
import argparse
import concurrent.futures
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
sys.path.insert(0, os.path.join(HERE, ".."))
import rig  # noqa: E402

PROCESSES = int(os.environ.get("JOBS", 2))
BATCH = 250
PLANT_CASES, PLANT_BATCH = 6000, 60  # until it is found


def settings():
    p = argparse.ArgumentParser()
    p.add_argument("--sample", action="store_true")
    p.add_argument("--plant")
    o = p.parse_args()
    b = os.path.abspath(os.environ.setdefault("B", os.path.join(os.path.abspath(ROOT), "build")))
    if o.plant:
        os.environ["MAILWAIN_BUILD"] = rig.build_planted(o.plant)
    if not os.path.exists(os.path.join(b, "libexec", "damage")):
        subprocess.run(["make", "-s", "-C", ROOT, "B=" + os.environ["B"], os.path.join(os.environ["B"], "libexec", "damage")], check=True)
    o.build = os.environ.setdefault("MAILWAIN_BUILD", os.path.join(os.path.abspath(ROOT), "build"))
    o.cases = int(os.environ.get("CASES", PLANT_CASES if o.plant else 400 if o.sample else 10000))
    o.live = o.cases // int(os.environ.get("LIVE", 40 if o.sample else 50))
    o.seed = int(os.environ.get("SEED", random.randrange(1 << 31)))
    return o


def log(text):
    print("damage: " + text, flush=True)


def program(o):
    """Of the plant, when the fault is in it."""
    own = os.path.join(o.build, "libexec", "damage")
    return own if os.path.exists(own) else os.path.join(os.path.abspath(os.environ["B"]), "libexec", "damage")


# ---- cases without an instance ----


class Batches:
    """Some processes, each with some cases at a time, while the instance has its own."""

    def __init__(self, o, world, scratch, total):
        self.o, self.world, self.scratch, self.total = o, world, scratch, total
        self.done, self.figures, self.wrong = 0, {}, []
        self.lock = threading.Lock()
        self.size = PLANT_BATCH if o.plant else BATCH
        self.pool = concurrent.futures.ThreadPoolExecutor(PROCESSES)
        self.futures = [self.pool.submit(self.batch, first) for first in range(0, total, self.size)]

    def batch(self, first):
        if self.o.plant and self.wrong:
            return
        count = min(self.size, self.total - first)
        scratch = os.path.join(self.scratch, str(threading.get_ident()))
        os.makedirs(scratch, exist_ok=True)
        command = [program(self.o), self.world, scratch, str(self.o.seed), str(first), str(count)]
        r = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        out = r.stdout.splitlines()
        if r.returncode not in (0, 1) or not out or not out[-1].startswith("{"):
            raise RuntimeError("%s: exit %d" % (" ".join(command), r.returncode))
        with self.lock:
            self.take(out, count)

    def take(self, out, count):
        for key, value in json.loads(out.pop()).items():
            self.figures[key] = self.figures.get(key, 0) + value
        self.wrong += out
        before, self.done = self.done, self.done + count
        if not self.o.plant and self.done // 1000 > before // 1000:
            log("%d of %d cases of files alone, %d promises broken" % (self.done, self.total, self.figures["wrong"]))

    def finish(self):
        for future in self.futures:
            future.result()

    def stop(self):
        self.pool.shutdown(cancel_futures=True)


# ---- cases under an instance ----


def run_live(o, suite, world):
    from live import Live

    live, wrong, n = Live(suite, world, log), [], 0
    while live.figures["cases"] < o.live and not (o.plant and wrong):
        found = live.run(o.seed + n)
        wrong += ["live run %d (SEED=%d): %s" % (n, o.seed + n, text) for text in found]
        n += 1
    return live.figures, wrong


def report(o, figures, live, wrong, seconds):
    for line in wrong[:200]:
        print(line)
    log("seed %d, commit %s, %d s" % (o.seed, rig.commit(), seconds))
    log("%d cases of files alone: %s" % (figures.get("cases", 0), ", ".join("%s %d" % (k, v) for k, v in figures.items() if k != "cases")))
    log("%d cases under an instance: %s" % (live["cases"], ", ".join("%s %d" % (k, v) for k, v in live.items() if k != "cases")))


def main():
    o = settings()
    began = time.monotonic()
    world = tempfile.mkdtemp(prefix="mailwain-world-")
    scratch = tempfile.mkdtemp(prefix="mailwain-damage-", dir="/dev/shm")
    suite, wrong, batches = None, [], None
    try:
        import world as maker

        suite = maker.make(world, o.seed, log)
        alone = not o.plant or os.path.exists(os.path.join(o.build, "libexec", "damage"))
        batches = Batches(o, os.environ.get("WORLD", world), scratch, o.cases - o.live if alone else 0)
        if o.plant:
            batches.finish()
        live, wrong = ({"cases": 0}, []) if o.plant and batches.wrong else run_live(o, suite, world)
        batches.finish()
        wrong = batches.wrong + wrong
        report(o, batches.figures, live, wrong, time.monotonic() - began)
    finally:
        if batches is not None:
            batches.stop()
        if suite is not None:
            suite.close(may_crash=True)
        shutil.rmtree(scratch, ignore_errors=True)
        if not wrong or o.plant:
            shutil.rmtree(world, ignore_errors=True)
    if o.plant:
        log("%d wrong among %d cases of files alone and %d under an instance; seed %d, commit %s" % (len(wrong), batches.done, live["cases"], o.seed, rig.commit()))
        log("%s %s" % (o.plant, "FOUND" if wrong else "not found"))
        return 0 if wrong else 1
    if wrong:
        log("the world is kept in %s; again: %s %s DIR %d CASE 1" % (world, program(o), world, o.seed))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
