#!/usr/bin/python3
"""make bench: Mailwain beside Debian's Postfix and Dovecot, on this machine, in one run, by the same clients.

The suites take turns; what is printed is the median of the runs. Environment: BENCH_ONLY=inbound,relay,imap,logins,handshakes,memory
BENCH_RUNS=5 BENCH_MESSAGES=4000 BENCH_IMAP_RUNS=3 BENCH_IMAP_MESSAGES=20000 BENCH_LOGIN_RUNS=3 BENCH_LOGIN_SECONDS=5 BENCH_HANDSHAKE_RUNS=7
BENCH_HANDSHAKE_SECONDS=5 BENCH_SUITES=mailwain,peers
BENCH_DIR=/var/tmp (a real disk) BENCH_KEEP=1 (leaves the scratch directories) BENCH_LIMIT=2400 (seconds).
"""
import contextlib
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import config
import handshakes
import imap
import inbound
import logins
import memory
import peers
import procs
import relay
import report
import suite


def say(text):
    print(text, flush=True)


@contextlib.contextmanager
def running(keys=tuple(config.SUITES)):
    """New instances of these suites; they end with it, whatever happens."""
    with contextlib.ExitStack() as stack:
        made = []
        for kind in (suite.Mailwain, peers.Peers):
            if kind.key in keys:
                made.append(kind())
                stack.callback(made[-1].close)
        try:
            for s in made:
                s.start()
            yield made
        except Exception:
            for s in made:
                print("--- the end of %s's log ---\n%s" % (s.name, s.log()[-2000:]), file=sys.stderr)
            raise


def measure_inbound():
    """mode -> suite key -> runs. Sessions that stay (one connection each) and a connection for each message.

    Each run has a new instance, warmed up: mailboxes that have seen earlier runs slow Dovecot down."""
    results = {}
    for mode, keep in (("kept", True), ("each", False)):
        results[mode] = {key: [] for key in config.SUITES}
        for number in range(config.RUNS):
            for key in config.SUITES:
                with running([key]) as (s,):
                    inbound.run(s, min(500, config.MESSAGES), keep)
                    run = inbound.run(s, None, keep)
                    results[mode][key].append(vars(run))
                    say("inbound: %s: run %d: %s: %s" % (
                        "sessions stay" if keep else "a connection a message", number + 1, s.name, run))
    return results


def side_by_side(measure):
    with running() as suites:
        return measure(suites, say)


def measure_handshakes():
    """Of the suite alone: beside it is openssl s_server."""
    with running(["mailwain"]) as (s,):
        return handshakes.measure(s, say)


PARTS = {
    "memory": lambda: side_by_side(memory.measure),
    "inbound": measure_inbound,
    "relay": lambda: relay.measure(say),
    "imap": lambda: side_by_side(imap.measure),
    "logins": lambda: side_by_side(logins.measure),
    "handshakes": measure_handshakes,
}


def interrupted(number, _frame):
    raise SystemExit("bench: ended by %s" % ("its time limit" if number == signal.SIGALRM else "a signal"))


def main():
    if os.geteuid() != 0:
        raise SystemExit("bench: Postfix and Dovecot want root to be started")
    for part in config.ONLY:
        if part not in PARTS:
            raise SystemExit("bench: BENCH_ONLY knows %s, not %s" % (", ".join(PARTS), part))
    for key in config.SUITES:
        if key not in ("mailwain", "peers"):
            raise SystemExit("bench: BENCH_SUITES knows mailwain and peers, not %s" % key)
    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGALRM, interrupted)
    signal.alarm(int(os.environ.get("BENCH_LIMIT", "2400")))
    results = {"machine": report.machine()}
    say(report.about(results["machine"]))
    for part, measure in PARTS.items():
        if part in config.ONLY:
            results[part] = measure()
            report.save(results)
    say("\n" + report.table(results))


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError, EOFError, subprocess.SubprocessError) as e:
        raise SystemExit("bench: %s: %s" % (type(e).__name__, e))
    finally:
        procs.remove_all()
