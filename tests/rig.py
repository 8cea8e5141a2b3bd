"""What the rigs of doc/reliability.md have in common: options, a suite with a planted fault, the last lines."""
import os
import random
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, os.environ.get("B", "build"))
BEGAN = time.monotonic()
NOT_HERE = 77  # what a rig ends with that cannot be run on this machine


def build_planted(plant):
    """The directory of a suite that has the fault."""
    subprocess.run(["make", "-s", "-C", ROOT, "plant", "PLANT=" + plant, "B=" + os.environ.get("B", "build")], check=True)
    return os.path.join(BUILD, "plant", plant)


def commit():
    r = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return r.stdout.strip() or "none"


class Options:
    """sample: small numbers. plant: the name of a planted fault, with which the suite now runs; or None."""

    def __init__(self):
        self.sample = "--sample" in sys.argv
        self.plant = sys.argv[sys.argv.index("--plant") + 1] if "--plant" in sys.argv else None
        self.seed = int(os.environ.get("SEED", str(random.randrange(100000))))
        if self.plant and os.environ.get("MAILWAIN_PLANT") != self.plant:
            self.run_planted()

    def run_planted(self):
        """Begins the script again, with instances that have the fault."""
        os.environ.update(MAILWAIN_BUILD=build_planted(self.plant), MAILWAIN_PLANT=self.plant)
        os.execv(sys.executable, [sys.executable] + sys.argv)

    def number(self, name, full, sample):
        """A figure that the environment may set."""
        return int(os.environ.get(name, sample if self.sample or self.plant else full))

    def verdict(self, figures, bad):
        """The last lines; what the script ends with."""
        print("%s; seed %d, commit %s, %.0f s" % (figures, self.seed, commit(), time.monotonic() - BEGAN))
        if self.plant:
            print("planted fault %s: %s" % (self.plant, "FOUND" if bad else "NOT FOUND"))
            return 0 if bad else 1
        return 1 if bad else 0
