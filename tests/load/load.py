#!/usr/bin/python3
"""Load: thousands of idle clients, ten times the load it can do, thousands of slow clients (doc/reliability.md).

usage: load.py [--sample] [--plant NAME] [idling | overload | slowness]...
Settings: IDLE_CLIENTS, SMTP_SESSIONS, OVERLOAD_SECONDS, SLOW_CLIENTS, SEED (of the slow clients' moments).
"""
import signal
import sys

import measure
from idling import idling
from overload import overload
from rig import Options
from slowness import slowness

PARTS = ("idling", "overload", "slowness")
PART_OF_PLANT = {"shedding-off": "overload", "count-kept": "slowness", "sleeper-lost": "idling"}


def main():
    options = Options()
    short = options.sample or options.plant
    parts = [a for a in sys.argv[1:] if a in PARTS] or ([PART_OF_PLANT[options.plant]] if options.plant in PART_OF_PLANT else PARTS)
    findings = measure.Findings()
    slack = 5 if short else 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that instances are ended
    if "idling" in parts:
        findings.part(idling, options.number("IDLE_CLIENTS", 10000, 400), options.number("SMTP_SESSIONS", 2000, 200), 100 if short else 500, slack)
    if "overload" in parts:
        findings.part(overload, options.number("OVERLOAD_SECONDS", 300, 10), 3 if short else 10, slack)
    if "slowness" in parts:
        findings.part(slowness, options.number("SLOW_CLIENTS", 5000, 300), 6 if short else 40, 3 if short else 20, options.seed)
    findings.repeat("make check-load", options)
    return options.verdict("load (%s): %d promises kept, %d broken" % (", ".join(parts), findings.kept, len(findings.faults)), findings.faults)


if __name__ == "__main__":
    sys.exit(main())
