"""Logins a second over TLS 1.3, and the processor time of each: the same accounts and password, checked at next to no cost by both
(Dovecot has it in plain text, Mailwain remembers it), so that what is compared is handshake, login and the session behind it."""
import os
import subprocess
import time

import config
import procs

CLIENTS = 8
SECONDS = float(os.environ.get("BENCH_LOGIN_SECONDS", "5"))
MODES = [("imap", 0), ("imap", 1), ("smtp", 0), ("smtp", 1)]
NAMES = {("imap", 0): "Logins, IMAP", ("imap", 1): "  the session taken up again", ("smtp", 0): "Logins, submission", ("smtp", 1): "  the session taken up again"}
DRIVER = os.path.join(config.BUILD, "tests", "logins")


def measure_one(suite, protocol, resume):
    port = suite.imaps if protocol == "imap" else suite.smtps
    before = procs.cpu_ms(suite.roots())
    r = subprocess.run([DRIVER, str(port), protocol, config.DOMAIN, config.PASSWORD, str(CLIENTS), str(SECONDS), str(resume)],
                       capture_output=True, text=True, timeout=SECONDS + 60)
    if r.returncode != 0:
        raise RuntimeError("%s: %s logins: %s%s" % (suite.name, protocol, r.stdout, r.stderr))
    time.sleep(0.5)  # what ends behind the clients' backs is its cost, too
    count, resumed, seconds = r.stdout.split()
    # Dovecot's login processes do not know each other's tickets: that is how it is, and is said.
    if resume and suite.key == "mailwain" and int(resumed) < 0.9 * int(count):
        raise RuntimeError("%s: only %s of %s sessions were taken up again" % (suite.name, resumed, count))
    return {"resumed": int(resumed) / int(count), "rate": int(count) / float(seconds), "cpu_ms": (procs.cpu_ms(suite.roots()) - before) / int(count)}


def measure(suites, say):
    results = {mode: {s.key: [] for s in suites} for mode in MODES}
    for suite in suites:
        for protocol, _ in MODES:
            measure_one(suite, protocol, 0)  # warm: processes, and passwords that are remembered
    for number in range(config.LOGIN_RUNS):
        for mode in MODES:
            for suite in suites:
                one = measure_one(suite, *mode)
                results[mode][suite.key].append(one)
                say("logins: run %d: %s: %s%s: %.0f a second, %.2f ms of CPU each%s" % (
                    number + 1, suite.name, mode[0], ", taken up again" if mode[1] else "", one["rate"], one["cpu_ms"], ", %.0f %% were" % (100 * one["resumed"]) if mode[1] else ""))
    return {"%s%d" % mode: runs for mode, runs in results.items()}
