"""Mail through: from smtp-source by an alias to another host, which is smtp-sink. What counts is what the sink has taken.

Both write and sync their queue files as they always do. The sink is one process without TLS; what clients and sink can do
with nothing between them is measured first."""
import os
import re
import subprocess
import tempfile
import time

import config
import imapclient
import inbound
import peers
import procs
import suite

LIMIT = 300
REMOTE = "sink.test"
TAKEN = re.compile(rb"mesg=(\d+)")


class Sink:
    """smtp-sink, and how many messages it has taken."""

    def __init__(self):
        (self.port,) = config.free_ports(1)
        self.counts = tempfile.TemporaryFile(dir=config.DIRECTORY)
        self.process = subprocess.Popen(["smtp-sink", "-4", "-c", "-u", "nobody", "127.0.0.1:%d" % self.port, "1000"],
                                        stdin=subprocess.DEVNULL, stdout=self.counts, stderr=subprocess.DEVNULL)
        imapclient.wait_port(self.port, 20, self.process)

    def taken(self):
        """The last of the counters that it has written."""
        fd = self.counts.fileno()
        found = TAKEN.findall(os.pread(fd, 200, max(0, os.fstat(fd).st_size - 200)))
        return int(found[-1]) if found else 0

    def cpu_ms(self):
        return procs.cpu_ms([self.process.pid])

    def close(self):
        procs.end(self.process.pid)
        self.process.wait(timeout=10)
        self.counts.close()


class Mailwain(suite.Mailwain):
    def __init__(self, sink):
        super().__init__()
        self.sink = sink

    def start(self):
        self.command("init", "--hostname", "mail.bench.test", "--domain", config.DOMAIN, "--port-offset", str(self.offset))
        with open(os.path.join(self.dir, "etc", "mailwain.conf"), "a") as f:
            f.write('transport "%s" { host 127.0.0.1:%d }\n' % (REMOTE, self.sink.port))
        self.started = True
        self.command("start")
        self.master = self.daemons()["master"]
        for account in config.ACCOUNTS:
            self.command("alias", "add", self.address(account), "%s@%s" % (account, REMOTE))
        imapclient.wait_port(self.smtp, 20)
        return self


POSTFIX_RELAY = """\
virtual_alias_domains = {domain}
virtual_alias_maps = hash:{dir}/etc/accounts
relayhost = [127.0.0.1]:{sink}
"""


class Postfix(peers.Peers):
    name = "Postfix"

    def __init__(self, sink):
        super().__init__()
        self.sink = sink

    def start(self):
        self.start_postfix(POSTFIX_RELAY.format(dir=self.dir, domain=config.DOMAIN, sink=self.sink.port),
                           "".join("%s@%s %s@%s\n" % (n, config.DOMAIN, n, REMOTE) for n in config.ACCOUNTS))
        return self


def run(s, sink, messages, keep_connection=True):
    """One measured run: until the sink has them all, and no more."""
    each = messages // len(config.ACCOUNTS)
    wanted = sink.taken() + each * len(config.ACCOUNTS)
    cpu, driver, sinks = procs.cpu_ms(s.roots()), procs.own_cpu_ms(), sink.cpu_ms()
    start = time.monotonic()
    sources = inbound.send(s, each, keep_connection)
    try:
        inbound.wait_sent(sources, start + LIMIT)
        acknowledged = time.monotonic() - start
        while sink.taken() < wanted:
            if time.monotonic() > start + LIMIT:
                raise TimeoutError("%d of %d messages have come out" % (sink.taken(), wanted))
            time.sleep(0.005)
        seconds = time.monotonic() - start
    finally:
        inbound.stop(sources)
    time.sleep(0.5)  # what is left to do behind the last message is theirs, too
    if sink.taken() != wanted:
        raise RuntimeError("%d messages have come out, and %d were wanted" % (sink.taken(), wanted))
    made = inbound.Run(each * len(config.ACCOUNTS), seconds, acknowledged, procs.cpu_ms(s.roots()) - cpu, procs.own_cpu_ms() - driver)
    made.sink_share = (sink.cpu_ms() - sinks) / 1000 / seconds
    return made


class Direct:
    """The sink itself, to know what it could take."""

    def __init__(self, sink):
        self.smtp = sink.port

    def roots(self):
        return []

    def address(self, account):
        return "%s@%s" % (account, REMOTE)


def alone(say):
    sink = Sink()
    try:
        rate = run(Direct(sink), sink, config.MESSAGES).rate
        say("relay: clients and sink alone: %.0f messages/s" % rate)
        return rate
    finally:
        sink.close()


def measure(say):
    """key -> runs; each of a new instance that is warm, in turns."""
    results = {"sink": [{"rate": alone(say)}]}
    kinds = [k for k in (Mailwain, Postfix) if k.key in config.SUITES]
    for number in range(config.RUNS):
        for kind in kinds:
            sink = Sink()
            s = kind(sink)
            try:
                s.start()
                run(s, sink, min(500, config.MESSAGES))
                one = run(s, sink, config.MESSAGES)
                results.setdefault(s.key, []).append(vars(one))
                say("relay: run %d: %s: %.0f messages/s out (%.0f/s taken), %.2f ms of CPU each; the sink took %.2f of a processor" % (
                    number + 1, s.name, one.rate, one.acknowledged_rate, one.cpu_ms, one.sink_share))
            finally:
                s.close()
                sink.close()
    return results
