#!/usr/bin/python3
"""
No input costs more than its length: `make check-linear`.

First unit/lib/linear_time_test and linear_records_test with inputs up to 50 MB: twice the input takes at most 2.3 times as long. Then the worst
known mails (mails.py) through a whole suite: SMTP in, delivery, FETCH ENVELOPE and BODYSTRUCTURE, SEARCH; what all its processes
together take of the processor, and the most that any of them has of memory of its own (a message's file that is mapped is the page
cache's), stay within CPU_MAX and MEMORY_MAX.

--sample: the mails alone; `make check` has the first part with shorter inputs. --plant NAME: the mails alone, with that planted fault, which must be found
(fields-walked). MAILS="TEXT" chooses mails by their name.
"""
import os
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "e2e")]
from mails import all_mails
from mailwain import Instance, until
from rig import BUILD, Options

CPU_MAX = 2.0
MEMORY_MAX = 64 * 1024 * 1024
PLANT_SCALE = 0.15  # of a mail that costs the square of it: well above what is allowed, or a fast machine would not find it
READ_EVERY = 0.01


def tree(pid):
    """pid and all below it."""
    out, todo = [], [pid]
    while todo:
        pid = todo.pop()
        try:
            with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
                todo += [int(p) for p in f.read().split()]
            out.append(pid)
        except OSError:
            pass
    return out


def cpu_seconds(master):
    """Of all processes that live, and of those that they have waited for."""
    total = 0
    for pid in tree(master):
        try:
            with open("/proc/%d/stat" % pid) as f:
                total += sum(int(n) for n in f.read().rsplit(")", 1)[1].split()[11:15])
        except OSError:
            pass
    return total / os.sysconf("SC_CLK_TCK")


def own_memory(pid):
    """Anonymous pages: what is mapped of a message's file is the page cache's and goes when it is needed."""
    try:
        with open("/proc/%d/status" % pid) as f:
            fields = dict(line.split(":", 1) for line in f if line.startswith(("Name", "RssAnon", "VmSwap")))
        return (int(fields["RssAnon"].split()[0]) + int(fields["VmSwap"].split()[0])) * 1024, fields["Name"].strip()
    except (OSError, KeyError):
        return 0, ""


class Watch(threading.Thread):
    """The most memory that one process has had, read a hundred times a second."""

    def __init__(self, master):
        super().__init__(daemon=True)
        self.master = master
        self.most = (0, "")
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(READ_EVERY):
            self.most = max([self.most] + [own_memory(pid) for pid in tree(self.master)])

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


def send(suite, content):
    """Through SMTP; the text is as it will be, with CR LF. True when it was taken."""
    c = suite.smtp(timeout=120)
    c.envelope()
    c.expect("DATA", 354)
    content = b"X-Linear: 1\r\n" + content
    text = content.replace(b"\r\n.", b"\r\n..")
    c.send(text + (b"" if text.endswith(b"\r\n") else b"\r\n") + b".\r\n")
    code, words = c.reply()
    c.close()
    assert code == 250, words


def ask(imap, exists):
    """What a client asks for first."""
    for command in ("FETCH %d (ENVELOPE BODYSTRUCTURE)", "UID SEARCH %d TEXT nothing", "SEARCH %d OR FROM nothing OR SUBJECT nothing BODY nothing",
                    "SEARCH %d HEADER X-Linear 2 SENTSINCE 1-Jan-2000", "FETCH %d (BODY.PEEK[HEADER.FIELDS (SUBJECT FROM)])"):
        imap.ok(command % exists)


class Rig:
    def __init__(self):
        self.suite = Instance(["header-size 64M"]).start()
        self.suite.add("alice")
        self.master = self.suite.daemons()["master"] if "master" in self.suite.daemons() else self.master_pid()
        self.bad = []
        self.rows = []

    def master_pid(self):
        with open("/proc/%d/stat" % next(iter(self.suite.daemons().values()))) as f:
            return int(f.read().rsplit(")", 1)[1].split()[1])

    def judge(self, name, step, cpu, most):
        if cpu > CPU_MAX or most[0] > MEMORY_MAX:
            self.bad.append("%s, %s: %.2f s of processor, %.1f MB in %s (most: %.0f s, %d MB)" % (
                name, step, cpu, most[0] / 2**20, most[1], CPU_MAX, MEMORY_MAX >> 20))
            print("FAULT " + self.bad[-1], flush=True)

    def measured(self, name, step, work):
        before = cpu_seconds(self.master)
        with Watch(self.master) as watch:
            work()
        took = cpu_seconds(self.master) - before
        self.judge(name, step, took, watch.most)
        return took, watch.most

    def one(self, name, content):
        def deliver():
            send(self.suite, content)
            until(lambda: "EXISTS" in status(), 120, "%s was not delivered" % name)

        def status():
            imap = self.imap
            return "EXISTS" if imap.ok("STATUS INBOX (MESSAGES)")[0].endswith(b"(MESSAGES %d)" % self.exists) else ""

        self.imap = self.suite.imap()
        self.imap.sock.settimeout(120)
        self.exists = 1
        cpu_in, memory_in = self.measured(name, "in and delivered", deliver)
        self.imap.ok("SELECT INBOX")
        cpu_out, memory_out = self.measured(name, "looked at", lambda: ask(self.imap, 1))
        self.imap.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
        self.imap.ok("EXPUNGE")
        self.imap.close()
        most = max(memory_in, memory_out)
        self.rows.append((name, len(content), cpu_in, cpu_out, most))
        print("%-38s %9.1f MB  in %5.2f s  looked at %5.2f s  most memory %5.1f MB (%s)" % (
            name, len(content) / 2**20, cpu_in, cpu_out, most[0] / 2**20, most[1]), flush=True)

    def close(self):
        self.suite.close()


def check_parsers():
    env = dict(os.environ, LINEAR_MB="50", LINEAR_VERBOSE="1")
    tests = ["linear_time_test", "linear_records_test"]
    return ["twice the input takes more than 2.3 times as long: LINEAR_MB=50 build/tests/lib/%s" % test
            for test in tests if subprocess.run([os.path.join(BUILD, "tests/lib", test)], env=env).returncode != 0]


def check_mails(choice, scale=1.0):
    """Faults, and a row of figures for each mail."""
    rig = Rig()
    try:
        for name, content, _ in all_mails(scale):
            if choice in name:
                rig.one(name, content)
    finally:
        rig.close()
    return rig.bad, rig.rows


def main():
    options = Options()
    bad = [] if options.sample or options.plant else check_parsers()
    if options.plant:
        more, rows = check_mails("100k address headers, inside", PLANT_SCALE)
    else:
        more, rows = check_mails(os.environ.get("MAILS", ""))
    bad += more
    for line in bad:
        print("FAULT " + line)
    return options.verdict("%d mails; most of processor %.2f s, of memory %.1f MB; %d faults" % (
        len(rows), max(max(r[2], r[3]) for r in rows), max(r[4][0] for r in rows) / 2**20, len(bad)), bad)


if __name__ == "__main__":
    sys.exit(main())
