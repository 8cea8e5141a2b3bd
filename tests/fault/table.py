"""The table: each call of each operation x each error, at every occurrence, until the operation goes through without being hit."""
import collections
import os
import random
import shutil
import tempfile
import time

import mailwain
from answers import wrong
from elsewhere import Elsewhere
from injector import SHORT, Injector, place, suite_with_injection
from mailwain import NOWHERE
from operations import all_operations
from subject import SETTLE, SYSTEM, Broken, Subject, until

ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EINTR", SHORT, "ENOMEM", "EMFILE", "ECONNRESET", "EPIPE")
OF_FILES = ERRORS[:7]
WRITES = ("write", "pwrite", "writev", "pwritev")
# Of these only what can happen to them; all others fail in every way.
SPECIAL = {"close": ("EIO", "ENOSPC", "EDQUOT", "EINTR"), "mmap_memory": ("ENOMEM",), "alloc": ("ENOMEM",), "fork": ("ENOMEM",), "recvmsg": ("EMFILE",), "accept4": ("EMFILE", "ENOMEM"), "socketpair": ("EMFILE", "ENOMEM"), "dupfd": ("EMFILE",)}
# Of relay alone: others have no connection to another host, and wait for each other's turns.
NETWORK = {"socket": ("EMFILE", "ENOMEM"), "connect": ("ECONNRESET", "ENOMEM", "EINTR"), "so_error": ("ECONNRESET",), "epoll_ctl": ("ENOMEM",), "epoll_wait": ("EINTR",),
           "recv": ("ECONNRESET", "ENOMEM", "EINTR", SHORT), "send": ("ECONNRESET", "EPIPE", "ENOMEM", "EINTR", SHORT)}
UNFINISHED = ("index.new", "rebuilding")
SYNCS = ("fsync", "fdatasync")
OCCURRENCES = 5000
# What must not be in the log: nothing was damaged, no daemon died, no message bounces.
WRONG_EVENTS = {"ipc_bad_message", "ipc_peer_lost", "queue_corrupt", "store_corrupt", "store_rebuilt", "master_child_died", "queue_bounced"}
ACCOUNTS = ("alice", "bob", "carol", "dave", "dora", "erin", "frank", "gus@dir.example")


def operation_names():
    return [o.name for o in all_operations(None)]


class Case:
    def __init__(self, operation, role, call, error, when, every=False):
        self.operation, self.role, self.call, self.error, self.when, self.every = operation, role, call, error, when, every

    def __str__(self):
        return "%s/%s/%s/%s/%d%s" % (self.operation, self.role, self.call, self.error, self.when, "+" if self.every else "")


def errors_of(call):
    return SPECIAL.get(call) or NETWORK.get(call) or [e for e in OF_FILES if e != SHORT or call in WRITES]


def tries(o, role, call):
    """Is it made to fail?"""
    return (call not in NETWORK or role == "relay") and (o.only is None or role in o.only) and (o.calls is None or call in o.calls)


class Result:
    def __init__(self):
        self.cases = collections.Counter()  # (call, error) -> cases
        self.outcomes = collections.Counter()  # refused, done all the same, put off
        self.sites = set()  # (process, module, offset) of what failed
        self.seen = set()  # of all that was seen to be called
        self.broken = []  # (case, place, what)
        self.not_reached = []

    def add(self, other):
        self.cases += other.cases
        self.outcomes += other.outcomes
        self.sites |= other.sites
        self.seen |= other.seen
        self.broken += other.broken
        self.not_reached += other.not_reached

    def report(self):
        """The table, and the figures."""
        calls = sorted({c for c, _ in self.cases})
        errors = [e for e in ERRORS if any(self.cases[(c, e)] for c in calls)]
        print("%-16s" % "call" + "".join("%11s" % e for e in errors))
        for call in calls:
            print("%-16s" % call + "".join("%11s" % (self.cases[(call, e)] or "-") for e in errors))
        print("table: %d cases at %d places of the code: %s; %d calls were not made again" % (
            sum(self.cases.values()), len(self.sites), ", ".join("%d %s" % (n, o) for o, n in self.outcomes.most_common()), len(self.not_reached)))
        for case in self.not_reached:
            print("not reached: %s" % case)


class Table(Result):
    """One operation's cases, in an instance of its own."""

    def __init__(self, injector, build, sample=False, only=None, seed=0, stop_at=None, watch=False):
        super().__init__()
        self.injector, self.build, self.sample, self.only, self.stop_at, self.watch = injector, build, sample, only, stop_at, watch
        self.rng = random.Random(seed)
        self.subject = None
        self.far = Elsewhere()
        self.site = ("", 0)

    # ---- the suite ----

    def fresh(self):
        """A new instance, with all accounts there."""
        self.end()
        s = self.subject = Subject(self.injector, [self.far.transport(), NOWHERE] + SYSTEM)
        s.far = self.far
        self.far.takes.clear()  # numbers begin again
        self.injector.go_ahead("", 0)  # so do days
        s.make_aliases()
        s.start()
        s.expected = {a: {} for a in ACCOUNTS}
        s.kept = {}
        s.mw("domain", "add", "dir.example")
        for name in ACCOUNTS:
            s.add(name)
        s.mw("alias", "add", "both@example.com", "alice@example.com", "bob@example.com")
        s.mw("alias", "add", "away@example.com", "x@elsewhere.test")
        s.mw("alias", "add", "far@example.com", "x@far.test")
        s.mw("alias", "add", "farther@example.com", "y@far.test")
        s.quiet = lambda: s.settled(lambda: not self.injector.hit() and s.spool_left_over(), "left over in the spool")
        self.operations = {o.name: o for o in all_operations(s)}
        self.prepared = set()

    def end(self):
        if self.subject is not None:
            s, self.subject = self.subject, None
            s.close()

    def operation(self, name):
        o = self.operations[name]
        if name not in self.prepared:
            o.prepare()
            self.prepared.add(name)
        return o

    # ---- one case ----

    def once(self, o, must=False):
        """Runs it without a fault."""
        o.before()
        self.subject.events.mark()
        answers = o.run()
        if must and not all(a.ok for a in answers):
            raise Broken("without a fault: %s" % answers)
        o.verify(answers)

    def calls(self, name):
        """(role, call) -> how often, as the operation makes them now. Twice, as the first run may be special."""
        o = self.operation(name)
        found = collections.Counter()
        self.once(o, must=True)  # the first may find things to make
        for _ in range(2):
            o.before()
            self.subject.events.mark()
            self.injector.trace()
            answers = o.run()
            for (role, call), places in self.injector.traced().items():
                if tries(o, role, call):
                    found[role, call] = max(found[role, call], places.total())
                    self.seen |= {(role, *place) for place in places}
            o.verify(answers)
        return found

    def strike(self, case):
        """False when the operation went through without being hit."""
        s, o = self.subject, self.operation(case.operation)
        o.before()
        pids = dict(s.pids())
        s.events.mark()
        self.injector.arm(case.role, case.call, case.error, case.when, case.every)
        try:
            answers = o.run()
        finally:
            hits, self.site = self.injector.disarm()
        if hits == 0:
            if not all(a.ok for a in answers):
                raise Broken("refused without a fault: %s" % answers)
            o.verify(answers)
            return False
        troubled = self.check(case, o, answers)
        self.at_rest(o, pids)
        if troubled:
            self.once(o, must=True)  # by itself, without a restart
            for name in o.accounts:
                s.settled(lambda: s.account_left_over(name), "left over in the account's directory")
        return True

    def check(self, case, o, answers):
        refused = [a for a in answers if not a.ok]
        for a in refused:
            w = wrong(a, case.role, case.call, case.error)
            if w is not None:
                raise Broken("%s: %s" % (w, a))
        deferred = getattr(o, "qid", None) is not None and hasattr(o, "deferred") and o.deferred()
        if refused or deferred:
            until(self.subject.events.telling, SETTLE, "nothing in the log says why: %s" % answers)
        if case.call in SYNCS and not refused and not deferred:
            until(self.subject.events.telling, SETTLE, "a sync that failed was taken for one that succeeded: %s" % answers)
        self.outcomes["refused" if refused else "put off" if deferred else "done all the same"] += 1
        o.verify(answers)
        return bool(refused or deferred)

    def at_rest(self, o, pids):
        s = self.subject
        s.settled(s.spool_left_over, "left over in the spool")
        for name in o.accounts:
            s.settled(lambda: s.account_left_over(name, UNFINISHED), "left over in the account's directory")
        if s.set_aside():
            raise Broken("set aside as damaged: %s" % s.set_aside())
        if s.pids() != pids and not o.restarts:
            raise Broken("daemons ended: %s became %s" % (pids, s.pids()))
        for event in WRONG_EVENTS - set(o.may_log):
            if s.events.find(event):
                raise Broken("in the log: %s" % s.events.find(event)[0])
        # SIGTERM is the rig's, which ends workers; it may come before they have learnt to take it.
        died = [l for l in s.events.find("store_error", "ended badly") if "signal=15" not in l]
        if died:
            raise Broken("a worker died: %s" % died[0])

    # ---- all of an operation ----

    def run(self, name):
        start = time.monotonic()
        self.fresh()
        self.run_operation(name)
        try:
            self.last_look()
        except (Broken, AssertionError) as e:
            self.broken.append((name, "", "at the end: %s" % e))
        self.outcomes["come twice"] += self.operations[name].twice
        self.end()
        print("%-55s %5d cases, %4.0f s" % (name, sum(self.cases.values()), time.monotonic() - start), flush=True)

    def run_operation(self, name):
        begin = self.subject.descriptors()
        calls = self.calls(name)
        for role, call in sorted(calls) if not self.watch else ():
            errors = [e for e in errors_of(call) if e in (self.operations[name].errors or ERRORS)]
            for error in [self.rng.choice(errors)] if self.sample and errors else errors:
                self.run_calls(name, role, call, error)
        try:
            self.subject.settled(lambda: self.more_open(begin), "descriptors that are not given back")
        except Broken as e:
            self.broken.append((name, "", str(e)))

    def run_calls(self, name, role, call, error):
        one = "%s/%s/%s/%s/" % (name, role, call, error)
        if self.only and not one.startswith(self.only) and not self.only.startswith(one):
            return
        self.gone_through = False
        every = [c for c in ((True,) if call not in SPECIAL and call not in NETWORK and error in ("EIO", "ENOSPC") else ())]
        for when, lasting in [(n, False) for n in range(1, OCCURRENCES)] + [(1, e) for e in every]:
            case = Case(name, role, call, error, when, lasting)
            if self.is_enough(name):
                return
            if self.only and self.only.startswith(one) and self.only not in (one, str(case)):
                continue
            if lasting is False and when > 1 and self.gone_through:
                continue
            if self.sample and (when > 1 or lasting):
                break
            self.gone_through = not self.one(case)
            if when == 1 and self.gone_through:
                self.not_reached.append(str(case))

    def is_enough(self, name):
        return self.stop_at and sum(b[0].startswith(name + "/") for b in self.broken) >= self.stop_at

    def one(self, case):
        try:
            if not self.strike(case):
                return False
        except (Broken, AssertionError, EOFError, OSError) as e:
            self.broken.append((str(case), place(self.build, *self.site), "%s: %s" % (type(e).__name__, e)))
            print("BROKEN %s at %s: %s" % self.broken[-1], flush=True)
            self.injector.disarm()
            self.fresh()
        self.cases[(case.call, case.error)] += 1
        self.sites.add((case.role,) + self.site)
        return True

    def more_open(self, before):
        now = self.subject.descriptors()
        return {n: "%d, were %d" % (now[n], before.get(n, 0)) for n in now if now[n] > before.get(n, 0) + 4}

    def last_look(self):
        """Everything that was acknowledged, once, whole; nothing else."""
        s = self.subject
        s.flush()
        for account, messages in s.expected.items():
            if messages:
                s.compare(account, "INBOX", messages, alone=True)
        for (account, mailbox), messages in s.kept.items():
            s.compare(account, mailbox, {n: (1, text) for n, text in messages.items()}, alone=False)
        s.check_stores(ACCOUNTS)


def run_alone(name, build, library, sample, only, seed, stop_at, watch):
    """In a process of its own: what one operation gives."""
    scratch = tempfile.mkdtemp(prefix="mailwain-fault-")
    os.chmod(scratch, 0o755)
    injector = Injector(os.path.join(scratch, "control"))
    copy = suite_with_injection(build, os.path.join(scratch, "build"), library, injector.path)
    mailwain.BUILD, mailwain.BIN = copy, os.path.join(copy, "bin", "mailwain")
    table, result = Table(injector, copy, sample, only, seed, stop_at, watch), Result()
    try:
        table.run(name)
    except Exception as e:  # the operation itself does not work
        table.broken.append((name, "", "%s: %s" % (type(e).__name__, e)))
    finally:
        try:
            table.end()
            table.far.close()
        except (AssertionError, OSError) as e:
            table.broken.append((name, "", "at the end: %s" % e))
        shutil.rmtree(scratch, ignore_errors=True)
    result.add(table)
    return result
