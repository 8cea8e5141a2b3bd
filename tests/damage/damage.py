#!/usr/bin/env python3
"""Damage to every file of the suite: nothing wrong is served, nothing undamaged is lost, the damage is named.

CASES (10000) in all, of which one in LIVE (50) under a whole instance; SEED; JOBS (2); WORLD, a kept world instead of a new one for the cases without an
instance. --sample: 400 cases. --plant NAME: against build/plant/NAME, in which that fault must be found.
"""
import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
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
        subprocess.run(["make", "-s", "-C", ROOT, "plant", "PLANT=" + o.plant, "B=" + os.environ["B"]], check=True)
        os.environ["MAILWAIN_BUILD"] = os.path.join(b, "plant", o.plant)
    if not os.path.exists(os.path.join(b, "libexec", "damage")):
        subprocess.run(["make", "-s", "-C", ROOT, "B=" + os.environ["B"], os.path.join(os.environ["B"], "libexec", "damage")], check=True)
    o.build = os.environ.setdefault("MAILWAIN_BUILD", os.path.join(os.path.abspath(ROOT), "build"))
    o.cases = int(os.environ.get("CASES", PLANT_CASES if o.plant else 400 if o.sample else 10000))
    o.live = o.cases // int(os.environ.get("LIVE", 16 if o.sample else 50))
    o.seed = int(os.environ.get("SEED", random.randrange(1 << 31)))
    return o


def log(text):
    print("damage: " + text, flush=True)


def commit():
    r = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return r.stdout.strip() or "no commit"


def program(o):
    """Of the plant, when the fault is in it."""
    own = os.path.join(o.build, "libexec", "damage")
    return own if os.path.exists(own) else os.path.join(os.path.abspath(os.environ["B"]), "libexec", "damage")


# ---- cases without an instance ----


class Batches:
    """Some processes, each with some cases at a time."""

    def __init__(self, o, world, scratch, total):
        self.o, self.world, self.scratch, self.total = o, world, scratch, total
        self.next, self.running, self.figures, self.wrong = 0, {}, {}, []

    def start(self, slot):
        count = min(PLANT_BATCH if self.o.plant else BATCH, self.total - self.next)
        if count <= 0 or (self.o.plant and self.wrong):
            return
        scratch = os.path.join(self.scratch, str(slot))
        os.makedirs(scratch, exist_ok=True)
        command = [program(self.o), self.world, scratch, str(self.o.seed), str(self.next), str(count)]
        self.running[slot] = (subprocess.Popen(command, stdout=subprocess.PIPE, text=True), command)
        self.next += count

    def take(self, slot):
        child, command = self.running.pop(slot)
        out = child.communicate(timeout=1800)[0].splitlines()
        if child.returncode not in (0, 1) or not out or not out[-1].startswith("{"):
            raise SystemExit("damage: %s: exit %d" % (" ".join(command), child.returncode))
        for key, value in json.loads(out.pop()).items():
            self.figures[key] = self.figures.get(key, 0) + value
        self.wrong += out

    def run(self):
        for slot in range(PROCESSES):
            self.start(slot)
        while self.running:
            slot = next(iter(self.running))
            self.take(slot)
            self.start(slot)
            if not self.o.plant and self.next % 2000 < BATCH:
                log("%d of %d cases, %d promises broken" % (self.next, self.total, self.figures.get("wrong", 0)))


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
    log("seed %d, commit %s, %d s" % (o.seed, commit(), seconds))
    log("%d cases of files alone: %s" % (figures.get("cases", 0), ", ".join("%s %d" % (k, v) for k, v in figures.items() if k != "cases")))
    log("%d cases under an instance: %s" % (live["cases"], ", ".join("%s %d" % (k, v) for k, v in live.items() if k != "cases")))


def main():
    o = settings()
    began = time.monotonic()
    world = tempfile.mkdtemp(prefix="mailwain-world-")
    scratch = tempfile.mkdtemp(prefix="mailwain-damage-", dir="/dev/shm")
    suite, wrong = None, []
    try:
        import world as maker

        suite = maker.make(world, o.seed, log)
        batches = Batches(o, os.environ.get("WORLD", world), scratch, o.cases - o.live)
        if not o.plant or os.path.exists(os.path.join(o.build, "libexec", "damage")):
            batches.run()
        live, wrong = ({"cases": 0}, []) if o.plant and batches.wrong else run_live(o, suite, world)
        wrong = batches.wrong + wrong
        report(o, batches.figures, live, wrong, time.monotonic() - began)
    finally:
        if suite is not None:
            suite.close()
        shutil.rmtree(scratch, ignore_errors=True)
        if not wrong or o.plant:
            shutil.rmtree(world, ignore_errors=True)
    if o.plant:
        log("%s %s" % (o.plant, "FOUND" if wrong else "not found"))
        return 0 if wrong else 1
    if wrong:
        log("the world is kept in %s; again: %s %s DIR %d CASE 1" % (world, program(o), world, o.seed))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
