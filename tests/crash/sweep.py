"""One kill at every system call of an operation."""
import collections
import time


class Sweep:
    """n = 1, 2, ... until the operation is done before the n-th call; then what the count over all threads has missed."""

    PAST = 3  # so many n in a row that are not reached: the calls are never quite the same in number

    def __init__(self, path, say):
        self.path, self.say = path, say
        self.killed = 0
        self.at = set()  # (call, the how manieth of its name)
        self.whole = []  # the calls of runs in which nobody was killed
        self.answers = collections.Counter()

    def point(self, n, only=None):
        """True when somebody was killed there."""
        outcome, hit, calls = self.path.run(n, only)
        if hit is None:
            self.whole.append(calls)
            return False
        self.killed += 1
        self.answers[outcome] += 1
        self.at.add((hit[1], n if only else calls.count(hit[1])))
        return True

    def run(self, step=1):
        start = time.monotonic()
        n, past = 1, 0
        while past < self.PAST:
            past = 0 if self.point(n) else past + 1
            n += step
        left = self.catch_up() if step == 1 else set()
        twice = "; came twice %d" % self.path.twice if self.path.twice else ""
        unreached = "; never reached: " + " ".join("%s#%d" % c for c in sorted(left)) if left else ""
        self.say("%-28s %5d kills in %4.0f s; %d whole runs, %d calls; acknowledged %d, refused %d, cut off %d%s%s" % (
            self.path.name, self.killed, time.monotonic() - start, len(self.whole), max(len(w) for w in self.whole),
            self.answers[True], self.answers[False], self.answers[None], twice, unreached))
        return self

    def missing(self):
        """Calls of every whole run at which nobody was killed."""
        everywhere = None
        for calls in self.whole:
            seen, count = set(), collections.Counter()
            for call in calls:
                count[call] += 1
                seen.add((call, count[call]))
            everywhere = seen if everywhere is None else everywhere & seen
        return everywhere - self.at

    def catch_up(self):
        for call, n in sorted(self.missing()):
            for _ in range(3):
                if self.point(n, call):
                    break
        return self.missing()
