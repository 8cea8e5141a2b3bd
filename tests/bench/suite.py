"""A Mailwain instance in a scratch directory, with the same face as peers.Peers."""
import json
import os
import subprocess
import tempfile

import config
import imapclient
import procs

PORTS = {"lmtp": 24, "smtp": 25, "submission": 587, "submissions": 465, "imap": 143, "imaps": 993}


class Mailwain:
    name = "Mailwain"
    key = "mailwain"

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="mailwain-bench-", dir=config.DIRECTORY)
        os.chmod(self.dir, 0o755)
        self.offset = config.free_offset(PORTS.values())
        self.smtp, self.smtps, self.imap, self.imaps = (PORTS[s] + self.offset for s in ("smtp", "submissions", "imap", "imaps"))
        self.master = None
        self.started = False

    def command(self, *args, input=None, timeout=60):
        r = subprocess.run([os.path.join(config.BUILD, "bin", "mailwain"), "--root", self.dir, *args],
                           input=input, capture_output=True, text=True, timeout=timeout)
        if r.returncode != 0:
            raise RuntimeError("mailwain %s: exit %d: %s%s" % (" ".join(args), r.returncode, r.stdout, r.stderr))
        return r.stdout

    def start(self):
        self.command("init", "--hostname", "mail.bench.test", "--domain", config.DOMAIN, "--port-offset", str(self.offset))
        self.started = True
        self.command("start")
        self.master = self.daemons()["master"]
        for account in config.ACCOUNTS + ["imap"]:
            self.command("account", "add", "%s@%s" % (account, config.DOMAIN), "--password-stdin",
                         input=config.PASSWORD + "\n")
        imapclient.wait_port(self.imap, 20)
        return self

    def daemons(self):
        """name -> pid, as status says it."""
        rows = [json.loads(line) for line in self.command("status", "--json").splitlines() if line.strip()]
        return {row["name"]: row["pid"] for row in rows}

    def roots(self):
        return [self.master]

    def address(self, account):
        return "%s@%s" % (account, config.DOMAIN)

    def log(self):
        path = os.path.join(self.dir, "log", "mailwain.log")
        if not os.path.exists(path):
            return ""
        with open(path, errors="replace") as f:
            return f.read()

    def close(self):
        try:
            if self.started:
                self.command("stop", timeout=90)
        except (RuntimeError, subprocess.TimeoutExpired):
            pass
        finally:
            if self.master:
                procs.end(self.master)
            if not os.environ.get("BENCH_KEEP"):
                procs.remove_at_end(self.dir)
