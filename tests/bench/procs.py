"""Processes of a suite: their tree, CPU time and memory, and how they are ended (by pid alone)."""
import os
import shutil
import signal
import time

TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


def stat(pid):
    """(parent, state, utime + stime + what reaped children used, in ms), or None when it is gone."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            # The name is in brackets and may itself hold spaces and brackets.
            fields = f.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(fields[1]), fields[0], sum(int(fields[i]) for i in (11, 12, 13, 14)) * TICK_MS


def tree(root):
    """root and every descendant that lives now."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            s = stat(int(name))
            if s is not None and s[1] != "Z":
                children.setdefault(s[0], []).append(int(name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo.extend(children.get(pid, ()))
    return found


def cpu_ms(roots):
    """CPU time used so far by the trees: a process that ended counts with the parent that reaped it."""
    total = 0
    for root in roots:
        for pid in tree(root):
            s = stat(pid)
            total += s[2] if s else 0
    return total


def own_cpu_ms():
    """CPU time of this program and of the children that it has waited for: the clients' share."""
    t = os.times()
    return 1000 * (t.user + t.system + t.children_user + t.children_system)


def pss_kib(pids):
    """Proportional set size of these processes together, in KiB."""
    total = 0
    for pid in pids:
        try:
            with open("/proc/%d/smaps_rollup" % pid) as f:
                for line in f:
                    if line.startswith("Pss:"):
                        total += int(line.split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def trees_pss_kib(roots):
    return pss_kib([pid for root in roots for pid in tree(root)])


def settled_pss_kib(roots, seconds=10):
    """The size once it has stopped changing, or after `seconds`."""
    deadline = time.monotonic() + seconds
    before = trees_pss_kib(roots)
    while time.monotonic() < deadline:
        time.sleep(1)
        now = trees_pss_kib(roots)
        if abs(now - before) < 16:
            return now
        before = now
    return before


def name(pid):
    try:
        with open("/proc/%d/comm" % pid) as f:
            return f.read().strip()
    except OSError:
        return ""


def end(root, seconds=10):
    """Ends a tree that this program started: SIGTERM to its root, SIGKILL to what is left."""
    known = tree(root) if stat(root) else []
    started = {pid: start_time(pid) for pid in known}
    if known:
        signal_pid(root, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(same(pid, t) for pid, t in started.items()):
        time.sleep(0.05)
    for pid, t in started.items():
        if same(pid, t):
            signal_pid(pid, signal.SIGKILL)


def start_time(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[19]
    except OSError:
        return None


def same(pid, started):
    """Whether that process lives and is not another one with its number."""
    s = stat(pid)
    return s is not None and s[1] != "Z" and start_time(pid) == started


def signal_pid(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


_done_with = []


def remove_at_end(directory):
    """Not at once: thousands of inodes freed by the last run make the next one's files dearer, for a while."""
    _done_with.append(directory)


def remove_all():
    for directory in _done_with:
        shutil.rmtree(directory, ignore_errors=True)
