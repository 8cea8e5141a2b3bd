"""Name servers of an own little world: a signed root, and zones below it that are written down in a test. nsd serves them on a high port."""
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from mailwain import TIMEOUT, claim

HOST = "127.0.0.1"
NSD = shutil.which("nsd") or "/usr/sbin/nsd"


class Zone:
    """Records as lines of a zone file, relative to the zone.

    signed: whether there are signatures, and a DS in the zone above.
    fault: "wrong": the DS above belongs to another key; "expired": the signatures have ended; "lame": its server does not know it.
    """

    def __init__(self, records=(), signed=True, fault=None):
        self.records, self.signed, self.fault = list(records), signed, fault


def free_port(host=HOST):
    """(a port that is ours, the claim that keeps it so until it is closed); it is below those that clients get."""
    while True:
        port = random.randrange(10000, 32000)
        with contextlib.suppress(OSError):
            return port, claim(port, host)


class Dns:
    """zones: name -> Zone, or a list of records. The root and test. are made when they are not there; each zone is delegated by the nearest above it."""

    def __init__(self, zones, host=HOST, port=None):
        self.host = host
        self.dir = tempfile.mkdtemp(prefix="mailwain-dns-")
        os.chmod(self.dir, 0o755)
        self.port, self.claim = (port, None) if port else free_port(host)
        self.zones = {"": Zone(), "test": Zone()}
        for name, zone in zones.items():
            self.zones[name] = zone if isinstance(zone, Zone) else Zone(zone)
        self.keys = {name: self.make_key(name) for name, zone in self.zones.items() if zone.signed}
        for name in sorted(self.zones, key=len, reverse=True):
            self.write(name)
        self.anchor = self.path("anchor")
        with open(self.anchor, "w") as f:
            f.write("; of the tests\n" + self.dnskey(""))
        self.configure()
        self.process = None

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def run(self, *command):
        r = subprocess.run(command, cwd=self.dir, capture_output=True, text=True, timeout=TIMEOUT)
        assert r.returncode == 0, (command, r.stdout, r.stderr)
        return r.stdout

    # ---- zones ----

    def make_key(self, name):
        return self.run("ldns-keygen", "-a", "ED25519", "-r", "/dev/urandom", "-k", name or ".").strip()

    def dnskey(self, name):
        with open(self.path(self.keys[name] + ".key")) as f:
            return f.read()

    def ds(self, name):
        key = self.make_key(name) if self.zones[name].fault == "wrong" else self.keys[name]
        return self.run("ldns-key2ds", "-n", "-2", key + ".key")

    def parent(self, name):
        while name:
            name = name.partition(".")[2]
            if name in self.zones:
                return name
        return None

    def text(self, name):
        zone, full = self.zones[name], name + "."
        lines = ["$ORIGIN " + full, "$TTL 300", "@ SOA ns hostmaster 1 3600 600 86400 60", "@ NS ns", "ns A " + HOST]
        for child in self.zones:
            if child and self.parent(child) == name:
                lines += ["%s. NS ns.%s." % (child, child), "ns.%s. A %s" % (child, HOST)]
                if self.zones[child].signed:
                    lines.append(self.ds(child).strip())
        return "\n".join(lines + zone.records) + "\n"

    def write(self, name):
        """The zone's file, signed when it is to be."""
        zone, plain = self.zones[name], self.path("zone." + name)
        with open(plain, "w") as f:
            f.write(self.text(name))
        if not zone.signed:
            os.replace(plain, plain + ".signed")
            return
        now = int(time.time())
        until = now - 86400 if zone.fault == "expired" else now + 30 * 86400
        self.run("ldns-signzone", "-o", name + ".", "-i", str(now - 3 * 86400), "-e", str(until), "-f", plain + ".signed", plain, self.keys[name])

    # ---- the server ----

    def configure(self):
        lines = ["server:"]
        settings = {"ip-address": "%s@%d" % (self.host, self.port), "username": '""', "chroot": '""', "zonesdir": '"%s"' % self.dir, "database": '""',
                    "pidfile": '""', "xfrdfile": '"%s"' % self.path("xfrd"), "zonelistfile": '"%s"' % self.path("list"), "logfile": '"%s"' % self.path("log"),
                    "server-count": "1", "rrl-ratelimit": "0", "xfrdir": '"%s"' % self.dir, "minimal-responses": "yes"}
        lines += ["  %s: %s" % item for item in settings.items()] + ["remote-control:", "  control-enable: no"]
        for name in (n for n, zone in self.zones.items() if zone.fault != "lame"):
            lines += ["zone:", '  name: "%s."' % name, '  zonefile: "zone.%s.signed"' % name]
        with open(self.path("nsd.conf"), "w") as f:
            f.write("\n".join(lines) + "\n")

    def answers(self):
        query = b"\0\1\0\0\0\1\0\0\0\0\0\0\0\0\6\0\1"
        with socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.1)
            try:
                s.connect((self.host, self.port))
                s.send(query)
                return len(s.recv(4096)) > len(query)
            except OSError:
                return False

    def start(self):
        self.process = subprocess.Popen([NSD, "-d", "-c", self.path("nsd.conf")], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + TIMEOUT
        while not self.answers():
            assert self.process.poll() is None and time.monotonic() < deadline, open(self.path("log")).read()
        return self

    def silence(self):
        """Takes questions and says nothing."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def speak(self):
        os.killpg(self.process.pid, signal.SIGCONT)

    def close(self):
        if self.process is not None:
            self.speak()
            self.process.terminate()
            self.process.wait(TIMEOUT)
        if self.claim is not None:
            self.claim.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    @contextlib.contextmanager
    def running(self):
        try:
            yield self.start()
        finally:
            self.close()

    # ---- for an instance ----

    @property
    def address(self):
        return ("[%s]:%d" if ":" in self.host else "%s:%d") % (self.host, self.port)

    def conf_lines(self):
        """What stands in mailwain.conf of an instance that lives in this world; .test leaves libunbound only because a zone's name server is told."""
        return ["resolver " + self.address, "resolver-zones test=" + self.address, "resolver-trust-anchor " + self.anchor]
