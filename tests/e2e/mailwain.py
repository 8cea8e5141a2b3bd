"""An instance of the suite in a scratch directory, and plain clients for SMTP and IMAP."""
import contextlib
import fcntl
import json
import os
import random
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("MAILWAIN_BUILD", os.path.join(ROOT, "build"))
BIN = os.path.join(BUILD, "bin", "mailwain")
PORTS = {"lmtp": 24, "smtp": 25, "submission": 587, "submissions": 465, "imap": 143, "imaps": 993}
DOMAIN = "example.com"
PASSWORD = "correct horse"
# Argon2id of it with the least memory there is.
CHEAP_HASH = "$argon2id$v=19$m=8,t=1,p=1$Y22Guo7YSA/pM5BOkq6sNQ$8GQOLmdWsT9y4WhadsyBho6I/drpT2xj3vnQ/yD4cII"
SCRAM_KEYS = (
    "scram=SCRAM-SHA-1$32768:LHcusDHCN5ZSrRX9iQjQcw==$eMCWzM1WaKQnvAJXa/hCDAjTp54=:cTWU7xT/YVKmC99QONAZfRDkc1Y= "
    "scram=SCRAM-SHA-256$32768:levlNuNaj6iypwmlGiIEQw==$Uc5gAMmnfMjTbPvj9OP0SPioOaf//b1QM9No7+CktHY=:fnHevix1XHaewRwrw8XZmX/w/zmpPJKW2dTIyptjv38="
)
# Seconds for what takes parts of one on a machine that has nothing else to do. Less than the thirty after which daemons look again by
# themselves, or try again: an event that was lost does not pass for one that was slow. What takes longer has its own limit in its test.
TIMEOUT = 28
HELD = 10 * TIMEOUT  # for so long a host of ours does not answer when nobody lets it go on: longer than a test waits meanwhile

# How master, spawner and deliverer name a child that crashed: ILL, TRAP, ABRT, BUS, FPE, SEGV, SYS. A damaged index may do it to a session (doc/store.md).
CRASH = re.compile(r"(?:master_child_died|imap_error|store_error) .*signal=(?:4|5|6|7|8|11|31)\b")


def claim(port, host="127.0.0.1"):
    """
    A socket whose name tells every other test that this port is ours for as long as it is open; OSError when the port is
    somebody's. That a port is free now says little: another test may be about to listen there.
    """
    held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        held.bind("\0mailwain-test-port-%d" % port)
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as s:
                s.bind((host, port))
        return held
    except OSError:
        held.close()
        raise


def claimed(offset):
    """Claims of all ports of an instance; None when one of them is somebody's."""
    held = []
    try:
        for port in PORTS.values():
            held.append(claim(port + offset))
        return held
    except OSError:
        for s in held:
            s.close()
        return None


_claims = {}


def free_offset():
    """A port offset that is ours until it is given back or this process ends. All ports are below those that clients get."""
    while True:
        offset = random.randrange(10000, 31000)
        held = claimed(offset)
        if held:
            _claims[offset] = held
            return offset


def give_back(offset):
    for s in _claims.pop(offset, ()):
        s.close()


def full(name):
    """An address: of the first domain, when none is told."""
    return name if "@" in name else "%s@%s" % (name, DOMAIN)


# A test that is not about mail to other hosts has none to send to: what is for them waits.
NOWHERE = 'transport "*" { error "4.4.1 mail to other hosts waits" }'


class Instance:
    def __init__(self, conf_lines=(), listeners=(), below=None, hostname="mail.example.com"):
        self.root = tempfile.mkdtemp(prefix="mailwain-test-", dir=below)
        os.chmod(self.root, 0o755)
        self.offset = free_offset()
        self.mw("init", "--hostname", hostname, "--domain", DOMAIN, "--port-offset", str(self.offset))
        self.conf = os.path.join(self.root, "etc", "mailwain.conf")
        lines = list(conf_lines) + ["listen %s on 127.0.0.1:%d { }" % (service, self.port(service)) for service in listeners]
        if not any(line.startswith("transport") for line in lines):
            lines.append(NOWHERE)
        with open(self.conf, "a") as f:
            f.writelines(line + "\n" for line in lines)
            f.flush()
            os.fsync(f.fileno())  # init's own part is on the disk, too: a rig may cut its power
        self.started = False

    @classmethod
    def existing(cls, root, offset):
        """One that was made before, and is not running."""
        self = cls.__new__(cls)
        self.root, self.offset, self.started = root, offset, False
        self.conf = os.path.join(root, "etc", "mailwain.conf")
        return self

    @contextlib.contextmanager
    def running(self, *accounts):
        """Started, with these accounts; it ends with the block."""
        try:
            self.start()
            for name in accounts:
                self.add(name)
            yield self
        finally:
            self.close()

    def port(self, service):
        return PORTS[service] + self.offset

    def mw(self, *args, input=None, check=True, timeout=TIMEOUT):
        r = subprocess.run([BIN, "--root", self.root, *args], input=input, capture_output=True, text=True, timeout=timeout)
        if check and r.returncode != 0:
            raise AssertionError("mailwain %s: exit %d: %s%s" % (" ".join(args), r.returncode, r.stdout, r.stderr))
        return r

    def rows(self, *args):
        """What a command prints with --json, as a list. Of the queue: when all of the spool has been read, which after a start lasts a while."""

        def whole():
            r = self.mw(*args, "--json")
            return None if "the spool is being read" in r.stderr else r

        return [json.loads(line) for line in until(whole).stdout.splitlines() if line.strip()]

    def start(self):
        self.mw("start")
        self.started = True
        return self

    def stop(self):
        if self.started:
            self.mw("stop", timeout=90)
            self.started = False

    def add(self, name, password=PASSWORD):
        self.mw("account", "add", full(name), "--password-stdin", input=password + "\n")

    def add_cheap(self, *names):
        """Accounts whose password is this one, without the time that making its hash takes: the first login makes one in its place."""
        self.mw("directory", "import", "-", input="".join("account %s hash=%s %s\n" % (full(name), CHEAP_HASH, SCRAM_KEYS) for name in names))

    def close(self, may_crash=False):
        try:
            self.stop()
            log = self.log()
            for word in ("AddressSanitizer", "runtime error:", "LeakSanitizer", "invariant"):
                assert word not in log, log[max(0, log.index(word) - 500) :][:3000]
            crashes = [line for line in log.splitlines() if CRASH.search(line)]
            assert may_crash or not crashes, "processes that crashed:\n" + "\n".join(crashes)
        finally:
            if os.environ.get("MAILWAIN_KEEP") is None:
                shutil.rmtree(self.root, ignore_errors=True)
            give_back(self.offset)

    def log(self):
        """Its whole lines: one that crosses a page may be read while its second half is still being written."""
        path = os.path.join(self.root, "log", "mailwain.log")
        if not os.path.exists(path):
            return ""
        with open(path, errors="replace") as f:
            text = f.read()
        return text[: text.rfind("\n") + 1]

    def until_logged(self, *words):
        """Each is in the log, or comes: a daemon may answer before it sends its lines to master, who writes them."""
        for text in words:
            until(lambda: text in self.log(), what="not in the log: " + text)

    def daemons(self):
        """name -> pid of every daemon of status."""
        return {row["name"]: row["pid"] for row in self.rows("status")}

    def account_dir(self, name):
        """The only place that looks into the store from outside."""
        number = int(self.rows("account", "show", full(name))[0]["id"])
        return os.path.join(self.root, "data", "store", "%02x" % (number & 255), str(number))

    def smtp(self, **kw):
        return Smtp(self.port("smtp"), **kw)

    def imap(self, user="alice", tls=False, login=True):
        c = Imap(self.port("imaps" if tls else "imap"), tls=tls)
        if login:
            c.ok('LOGIN %s "%s"' % (full(user), PASSWORD))
        return c

    def deliver(self, message, to=("alice",), sender="bob@remote.test"):
        """One message through SMTP; returns its queue id."""
        c = self.smtp()
        c.hello()
        c.expect("MAIL FROM:<%s>" % sender, 250)
        for name in to:
            c.expect("RCPT TO:<%s>" % (name if "@" in name else name + "@" + DOMAIN), 250)
        qid = c.data(message)
        c.expect("QUIT", 221)
        c.close()
        return qid

    def wait_empty(self, seconds=TIMEOUT):
        until(lambda: not self.rows("queue", "list"), seconds, "the queue is not empty")


def take_lock(file):
    """An account's `lock`, alone: true when nobody has the account open. It is held until the file is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def until(condition, seconds=TIMEOUT, what="nothing happened"):
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("after %s s: %s" % (seconds, what))
        time.sleep(0.02)


def tls_context():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Line:
    """A connection read line by line."""

    def __init__(self, port, tls=False, source=None, timeout=TIMEOUT):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout, source_address=(source, 0) if source else None)
        if tls:
            self.sock = tls_context().wrap_socket(self.sock)
        self.buffer = b""

    def start_tls(self, context=None, session=None):
        self.sock = (context or tls_context()).wrap_socket(self.sock, session=session)
        self.buffer = b""

    def send(self, data):
        self.sock.sendall(data.encode() if isinstance(data, str) else data)

    def fill(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError("closed; left over: %r" % self.buffer[:200])
        self.buffer += data

    def line(self):
        while b"\n" not in self.buffer:
            self.fill()
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.rstrip(b"\r")

    def octets(self, count):
        while len(self.buffer) < count:
            self.fill()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def at_end(self):
        """True when the other side closes, after whatever it still says."""
        try:
            while True:
                self.fill()
        except (EOFError, ConnectionError):
            return True

    def close(self):
        self.sock.close()


class Smtp(Line):
    def __init__(self, port, greeting=True, **kw):
        super().__init__(port, **kw)
        if greeting:
            code, text = self.reply()
            assert code == 220, text

    def reply(self):
        lines = []
        while True:
            line = self.line().decode("utf-8", "replace")
            lines.append(line[4:])
            if line[3:4] != "-":
                return int(line[:3]), "\n".join(lines)

    def command(self, text):
        self.send(text + "\r\n" if isinstance(text, str) else text + b"\r\n")
        return self.reply()

    def expect(self, text, code):
        got, words = self.command(text)
        assert got == code, "%s: %d %s" % (text[:100], got, words)
        return words

    def hello(self, name="client.test"):
        return self.expect("EHLO " + name, 250)

    def envelope(self, to="alice@example.com", sender="bob@remote.test"):
        self.hello()
        self.expect("MAIL FROM:<%s>" % sender, 250)
        self.expect("RCPT TO:<%s>" % to, 250)

    def data(self, message):
        """Dot-stuffs and ends it; returns the queue id."""
        self.expect("DATA", 354)
        if isinstance(message, str):
            message = message.encode()
        message = message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        stuffed = b"\r\n".join(b"." + l if l.startswith(b".") else l for l in message.split(b"\r\n"))
        self.send(stuffed + (b"" if stuffed.endswith(b"\r\n") else b"\r\n") + b".\r\n")
        code, text = self.reply()
        assert code == 250, text
        return text.split()[-1]


class Imap(Line):
    def __init__(self, port, **kw):
        super().__init__(port, **kw)
        self.greeting = self.line()
        self.count = 0

    def response(self):
        """One response with its literals."""
        out = self.line()
        while out.endswith(b"}"):
            size = int(out[out.rindex(b"{") + 1 : -1])
            out += b"\r\n" + self.octets(size) + self.line()
        return out

    def begin(self, command):
        self.count += 1
        tag = b"t%d" % self.count
        self.send(tag + b" " + (command.encode() if isinstance(command, str) else command) + b"\r\n")
        return tag

    def end(self, tag):
        """(untagged responses, tagged line)"""
        untagged = []
        while True:
            line = self.response()
            if line.startswith(tag + b" "):
                return untagged, line[len(tag) + 1 :]
            untagged.append(line)

    def run(self, command):
        return self.end(self.begin(command))

    def ok(self, command):
        untagged, tagged = self.run(command)
        assert tagged.startswith(b"OK"), "%s: %s" % (command, tagged)
        return untagged

    def no(self, command, start=b"NO"):
        untagged, tagged = self.run(command)
        assert tagged.startswith(start), "%s: %s" % (command, tagged)
        return tagged

    def append(self, mailbox, message, flags=""):
        if isinstance(message, str):
            message = message.encode()
        self.count += 1
        tag = b"t%d" % self.count
        self.send(tag + b" APPEND " + mailbox.encode() + (b" (" + flags.encode() + b")" if flags else b"") + b" {%d+}\r\n" % len(message) + message + b"\r\n")
        untagged, tagged = self.end(tag)
        assert tagged.startswith(b"OK"), tagged
        return tagged
