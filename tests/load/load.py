#!/usr/bin/python3
"""Load: thousands of idle clients, ten times the load it can do, thousands of slow clients (doc/reliability.md).

usage: load.py [--sample] [--plant NAME] [idling | overload | slowness]...
Settings: IDLE_CLIENTS, SMTP_SESSIONS, OVERLOAD_SECONDS, SLOW_CLIENTS, SEED (of the slow clients' moments).
"""
import os
import sys

import measure
from idling import idling


def setting(name, full, sample, is_sample):
    return int(os.environ.get(name, sample if is_sample else full))


def main(args):
    is_sample = "--sample" in args
    parts = [a for a in args if not a.startswith("-")] or ["idling", "overload", "slowness"]
    rig = measure.Rig("load", "make check-load" + (" RIG=" + "'%s'" % " ".join(args) if args else ""))
    if "idling" in parts:
        rig.part(idling, setting("IDLE_CLIENTS", 10000, 400, is_sample), setting("SMTP_SESSIONS", 2000, 200, is_sample), 100 if is_sample else 500)
    return rig.end()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
