#!/usr/bin/python3
"""Kills: `make check-kill` (doc/reliability.md).

  kill.py [--sample] [--plant NAME]     a short run; with a planted fault, which must be found

First every process dies at random moments under mixed load, then each at every system call of what it does to mail. What
was acknowledged is held against what is there. Environment: KILLS (1000), SEED, PART (random, calls), PATHS (words: only
those paths of the second part whose names have one of them), B (the build).
"""
import os
import random
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests", "e2e")]

# A planted fault is looked for where it can show itself.
PLANTS = {"commit-lost": ("random", ""), "uid-reused": ("calls", "expunge"), "mark-early": ("calls", "rebuild"), "answer-early": ("calls", "deliver-worker")}
SAMPLE_KILLS = 60
SAMPLE_PATHS = "accept-smtpd accept-deliver-queue deliver-spawner append move rename expunge rebuild"
SAMPLE_STEP = 5  # every fifth call


def say(text):
    print(text, flush=True)


def build_plant(name):
    subprocess.run(["make", "-s", "-C", ROOT, "plant", "PLANT=" + name], check=True, stdout=subprocess.DEVNULL)
    os.environ["MAILWAIN_BUILD"] = os.path.join(ROOT, os.environ.get("B", "build"), "plant", name)


def random_part(kills, seed):
    from random_kills import RandomKills
    return RandomKills(kills, seed, say).run()


def calls_part(words, step):
    from every_call import every_call
    return every_call(words.split(), step, say)


def main():
    sample = "--sample" in sys.argv
    plant = sys.argv[sys.argv.index("--plant") + 1] if "--plant" in sys.argv else None
    if os.geteuid() != 0:
        say("kills need root, who may trace the daemons: not tried")
        return 0
    part, words = os.environ.get("PART", ""), os.environ.get("PATHS", SAMPLE_PATHS if sample else "")
    if plant:
        build_plant(plant)
        part, words = PLANTS[plant]
    seed = int(os.environ.get("SEED", str(random.randrange(1 << 30))))
    kills = int(os.environ.get("KILLS", str(SAMPLE_KILLS if sample or plant else 1000)))
    say("kills: seed %d" % seed)
    began, problems = time.monotonic(), []
    if part in ("", "random"):
        problems += ["SEED=%d KILLS=%d PART=random: %s" % (seed, kills, p) for p in random_part(kills, seed)]
    if part in ("", "calls"):
        problems += ["PART=calls: " + p for p in calls_part(words, SAMPLE_STEP if sample else 1)]
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    for problem in problems[:20]:
        say("BROKEN " + problem)
    say("kills: %d broken promises; seed %d, commit %s, %.0f s" % (len(problems), seed, commit or "none", time.monotonic() - began))
    if plant:
        say("planted fault %s: %s" % (plant, "FOUND" if problems else "NOT FOUND"))
        return 0 if problems else 1
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
