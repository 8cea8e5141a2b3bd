"""All paths of the second part of kill.py, each on the suite it wants."""
import shutil
import subprocess
import sys
import tempfile
import time

from admin_paths import admin_paths
from agent_paths import agent_conf, agent_paths
from elsewhere import Elsewhere
from killing import Victims
from lmtp_paths import lmtp_paths
from mail_paths import bounce_paths, mail_paths, send
from mailwain import PASSWORD
from path import Broken, Path
from relay_paths import relay_paths
from session_paths import session_paths
from sweep import Sweep

ACCOUNTS = ("alice", "bob", "carol", "rita")
CHEAP = "fay"  # logs in for each message
QUOTA = "6K"  # of dora: what she expunges is soon more than may be kept


def prepare(suite):
    for name in ACCOUNTS:
        suite.add(name)
    suite.add_cheap(CHEAP)
    suite.mw("account", "add", "dora@example.com", "--password-stdin", "--quota", QUOTA, input=PASSWORD + "\n")
    suite.mw("alias", "add", "away@example.com", "x@elsewhere.test")
    for name in ("carol", "dora", "rita"):
        suite.imap(name).close()
    for name in ("alice", "bob"):
        send(suite, "first", [name + "@example.com"])


def sweep_all(suite, paths, words, step, say, totals):
    problems = []
    for path in paths(suite):
        if words and not any(word in path.name for word in words):
            continue
        totals.append(Sweep(path, say))
        try:
            totals[-1].run(step)
        except (AssertionError, OSError, EOFError, RuntimeError, subprocess.TimeoutExpired) as e:
            where = "" if isinstance(e, Broken) else "%s, behind kill %d: " % (path.name, totals[-1].killed)
            problems.append((where + str(e))[:1500])
            path.restarted()
            say("%-28s %s" % (path.name, problems[-1][:300]))
        path.finish()
    return problems


def wanted(paths, words):
    """Is one of them chosen? Else no suite has to be started for them."""
    kinds = [kind for kind in vars(sys.modules[paths.__module__]).values() if isinstance(kind, type) and issubclass(kind, Path)]
    return not words or any(word in kind.name for word in words for kind in kinds)


def every_call(words, step, say):
    began, problems, totals = time.monotonic(), [], []
    far, place = Elsewhere(), tempfile.mkdtemp(prefix="mailwain-kill-")
    for paths, conf in ((mail_paths, []), (lmtp_paths, []), (admin_paths, []), (session_paths, []), (bounce_paths, ["queue-lifetime 1s"]), (relay_paths, [far.transport()]),
                        (agent_paths, agent_conf(place))):
        if not wanted(paths, words):
            continue
        suite = Victims(conf_lines=conf, listeners=["lmtp"] if paths is lmtp_paths else [])
        try:
            suite.start()
            suite.far, suite.place = far, place
            prepare(suite)
            problems += sweep_all(suite, paths, words, step, say, totals)
        finally:
            suite.close()
    far.close()
    shutil.rmtree(place, ignore_errors=True)
    kills = sum(sweep.killed for sweep in totals)
    say("a kill at every call: %d kills, %d paths, %.0f s" % (kills, len(totals), time.monotonic() - began))
    return kills, problems
