#!/usr/bin/python3
"""Kills: `make check-kill` (doc/reliability.md).

  kill.py [--sample] [--plant NAME]     a short run; with a planted fault, which must be found

First every process dies at random moments under mixed load, then each at every system call of what it does to mail. What
was acknowledged is held against what is there. Environment: KILLS (1000), SEED, PART (random, calls), PATHS (words: only
those paths of the second part whose names have one of them), B (the build).
"""
import os
import signal
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "e2e"), os.path.join(HERE, "..")]
import rig  # noqa: E402

# A planted fault is looked for where it can show itself.
PLANTS = {"commit-lost": ("random", ""), "uid-reused": ("calls", "expunge"), "rebuilt-early": ("calls", "rebuild"), "answer-early": ("calls", "deliver-worker"),
          "relay-done-early": ("random", ""), "relay-record-lost": ("calls", "relay-record")}
SAMPLE_PATHS = "accept-smtpd accept-deliver-queue deliver-spawner deliver-worker alias-remove append move rename expunge rebuild relay-record relay-relay pickup-drop"
SAMPLE_STEP = 7  # one call in seven


def say(text):
    print(text, flush=True)


def random_part(kills, seed):
    from random_kills import RandomKills
    run = RandomKills(kills, seed, say)
    problems = run.run()
    return sum(run.killed.values()), ["SEED=%d KILLS=%d PART=random: %s" % (seed, kills, p) for p in problems]


def calls_part(words, step):
    from every_call import every_call
    kills, problems = every_call(words.split(), step, say)
    return kills, ["PART=calls: " + p for p in problems]


def main():
    options = rig.Options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what it has started ends with it
    if os.geteuid() != 0:
        say("kills need root, who may trace the daemons: not tried")
        return 77
    part, words = os.environ.get("PART", ""), os.environ.get("PATHS", SAMPLE_PATHS if options.sample else "")
    if options.plant:
        part, words = PLANTS[options.plant]
    kills, done, problems = options.number("KILLS", 1000, 60), 0, []
    say("kills: seed %d" % options.seed)
    if part in ("", "random"):
        count, found = random_part(kills, options.seed)
        done, problems = done + count, problems + found
    if part in ("", "calls"):
        count, found = calls_part(words, SAMPLE_STEP if options.sample else 1)
        done, problems = done + count, problems + found
    for problem in problems[:20]:
        say("BROKEN " + problem)
    return options.verdict("kills: %d, %d broken promises" % (done, len(problems)), len(problems))


if __name__ == "__main__":
    sys.exit(main())
