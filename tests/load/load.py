#!/usr/bin/python3
"""Load: thousands of idle clients, ten times the load it can do, thousands of slow clients (doc/reliability.md).

usage: load.py [--sample] [--plant NAME] [idling | overload | slowness]...
Settings: IDLE_CLIENTS, SMTP_SESSIONS, OVERLOAD_SECONDS, SLOW_CLIENTS, SEED (of the slow clients' moments).
With --plant the rig that guards against that fault runs on build/plant/NAME: exit 0 when it was found.
"""
import os
import random
import signal
import subprocess
import sys

# What a planted fault is found by (tests/plant/README.md).
PLANTS = {"shedding-off": ("load.py", "overload"), "count-kept": ("load.py", "slowness"), "sleeper-lost": ("load.py", "idling"),
          "command-leak": ("soak.py",), "descriptor-left": ("soak.py",), "spool-left": ("soak.py",), "tls-left": ("soak.py",)}


def plant(name):
    """The rig that has to find this fault, on the suite with it."""
    here = os.path.dirname(os.path.abspath(__file__))
    root = os.path.join(here, "..", "..")
    build = os.path.join(os.environ.get("B", "build"), "plant", name)
    if name not in PLANTS:
        print("load.py: no such planted fault: %s (%s)" % (name, ", ".join(PLANTS)))
        return 2
    subprocess.run(["make", "-s", "-C", root, "plant", "PLANT=" + name], check=True, stdout=subprocess.DEVNULL)
    rig, *parts = PLANTS[name]
    r = subprocess.run([sys.executable, os.path.join(here, rig), "--sample"] + parts, env=dict(os.environ, MAILWAIN_BUILD=os.path.join(os.path.abspath(root), build)))
    print("planted fault %s: %s" % (name, "found" if r.returncode == 1 else "NOT FOUND"))
    return 0 if r.returncode == 1 else 1


def setting(name, full, sample, is_sample):
    return int(os.environ.get(name, sample if is_sample else full))


def main(args):
    if "--plant" in args:
        return plant(args[args.index("--plant") + 1])
    import measure
    from idling import idling
    from overload import overload
    from slowness import slowness

    short = "--sample" in args
    parts = [a for a in args if not a.startswith("-")] or ["idling", "overload", "slowness"]
    seed = int(os.environ.get("SEED", random.randrange(1 << 31)))
    rig = measure.Rig("load", "SEED=%d make check-load%s" % (seed, " RIG='%s'" % " ".join(args) if args else ""))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that instances are ended
    if "idling" in parts:
        rig.part(idling, setting("IDLE_CLIENTS", 10000, 400, short), setting("SMTP_SESSIONS", 2000, 200, short), 100 if short else 500)
    if "overload" in parts:
        rig.part(overload, setting("OVERLOAD_SECONDS", 300, 10, short), 3 if short else 10)
    if "slowness" in parts:
        rig.part(slowness, setting("SLOW_CLIENTS", 5000, 300, short), 6 if short else 40, 3 if short else 20, seed)
    return rig.end()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
