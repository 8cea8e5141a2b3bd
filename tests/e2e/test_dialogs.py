"""The conversations of tests/dialog against a running suite; tests/dialog/README.md says how they are written."""
import glob
import os
import re
import socket

import pytest

from mailwain import DOMAIN, PASSWORD, TIMEOUT, ROOT, tls_context

DIALOGS = os.path.join(ROOT, "tests", "dialog")
ESCAPES = {"r": b"\r", "n": b"\n", "0": b"\0", "\\": b"\\"}
PATTERNS = {"number": rb"[0-9]+", "id": rb"[0-9A-Za-z]+", "text": rb".*"}
CAPABILITIES = """250-mail.example.com
250-PIPELINING
250-SIZE 52428800
250-8BITMIME
250-SMTPUTF8
250-CHUNKING
250-BINARYMIME
250-DSN
250-LIMITS RCPTMAX=1000
250-STARTTLS
250 ENHANCEDSTATUSCODES""".splitlines()
FAREWELLS = {"smtp": [("C", "QUIT"), ("S", "221 <text>")], "imap": [("C", "bye LOGOUT"), ("S", "* BYE <text>"), ("S", "bye OK <text>")]}


class Connection:
    """Bytes to and from the server, with a deadline for each read."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self.buffer = b""

    def line(self):
        """Up to the next CR LF, or None when the server has closed."""
        while b"\r\n" not in self.buffer:
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return self.buffer or None
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line


def repeated(text):
    return re.sub(r"<([^<>]+)\*(\d+)>", lambda m: m[1] * int(m[2]), text)


def unescaped(text):
    def one(m):
        return bytes([int(m[1][1:], 16)]) if m[1][0] == "x" else ESCAPES[m[1]]

    return re.sub(rb"\\(x[0-9a-fA-F]{2}|[rn0\\])", lambda m: one([None, m[1].decode()]), repeated(text).encode())


class Dialog:
    def __init__(self, path, suite, protocol):
        self.path, self.suite, self.protocol = path, suite, protocol
        self.account = os.path.splitext(os.path.basename(path))[0]
        self.address = "%s@%s" % (self.account, DOMAIN)
        self.open = {}
        self.unsent = {}
        self.known = {}
        self.number = 0

    def fail(self, what):
        pytest.fail("%s:%d: %s" % (os.path.relpath(self.path, ROOT), self.number, what), pytrace=False)

    def connection(self, who):
        if who not in self.open:
            self.open[who] = Connection(self.suite.port(self.protocol))
        return self.open[who]

    def flush(self):
        """Lines of the client that follow each other leave in one piece."""
        for who, data in self.unsent.items():
            self.connection(who).sock.sendall(data)
        self.unsent = {}

    def send(self, who, data):
        self.unsent[who] = self.unsent.get(who, b"") + data

    def pattern(self, text):
        """The regular expression of one S: line."""
        out = b""
        for part in re.split(r"(<(?:number|id|text)(?: \w+)?>)", repeated(text).replace("<account>", self.address)):
            m = re.fullmatch(r"<(number|id|text)(?: (\w+))?>", part)
            if m is None:
                out += re.escape(part.encode())
            elif m[2] in self.known:
                out += re.escape(self.known[m[2]])
            else:
                out += b"(" + (b"?P<%s>" % m[2].encode() if m[2] else b"?:") + PATTERNS[m[1]] + b")"
        return out

    def expect(self, who, text):
        self.flush()
        try:
            got = self.connection(who).line()
        except TimeoutError:
            self.fail("the server is silent\n  expected %s" % text)
        if text == "<close>" and got is None:
            return
        m = got is not None and re.fullmatch(self.pattern(text), got, re.DOTALL)
        if text == "<close>" or not m:
            shown = "the end of the connection" if got is None else got.decode("utf-8", "backslashreplace")
            self.fail("not what was expected\n  expected %s\n  got      %s" % (text, shown))
        self.known.update(m.groupdict())

    def log_in(self, who):
        self.expect(who, "* OK <text>")
        self.send(who, b'login LOGIN %s "%s"\r\n' % (self.address.encode(), PASSWORD.encode()))
        self.expect(who, "login OK <text>")

    def set_up(self, words, text):
        self.flush()
        who = words[1] if words[0] in ("hello", "login") and len(words) > 1 else ""
        if words[0] == "tls":
            c = self.connection("")
            c.sock = tls_context().wrap_socket(c.sock)
        elif words[0] == "hello":
            if who not in self.open:
                self.expect(who, "220 <text>")
            self.send(who, b"EHLO client.test\r\n")
            for text in CAPABILITIES:
                self.expect(who, text)
        elif words[0] == "login":
            self.log_in(who)
        elif words[0] == "append":
            if "put" not in self.open:
                self.log_in("put")
            with open(os.path.join(DIALOGS, "messages", words[1]), "rb") as f:
                message = f.read().replace(b"\n", b"\r\n")
            what = b" ".join(w.encode() for w in words[2:])
            self.send("put", b"put APPEND %s {%d+}\r\n%s\r\n" % (what, len(message), message))
            self.expect("put", "put OK <text>")
        else:
            self.fail("no such step: @" + text)

    def step(self, line):
        m = re.match(r"(?:(C|S)(2?)(-raw)?: ?|(@))(.*)$", line, re.DOTALL)
        if m is None:
            self.fail("neither C: nor S: nor @ nor #: " + line)
        side, who, raw, at, text = m.groups()
        if at:
            self.set_up(text.split(), text)
        elif side == "S":
            self.expect(who, text)
        elif text == "<close>":
            self.flush()
            self.connection(who).sock.close()
            del self.open[who]
        elif raw:
            self.send(who, unescaped(text))
        else:
            self.send(who, repeated(text).replace("<account>", self.address).encode() + b"\r\n")

    def run(self):
        with open(self.path, encoding="utf-8") as f:
            lines = f.read().split("\n")
        for self.number, line in enumerate(lines, 1):
            if line and not line.startswith("#"):
                self.step(line)
        if "S: <close>" not in lines and "C: <close>" not in lines:
            for side, text in FAREWELLS[self.protocol]:
                self.step("%s: %s" % (side, text))
        for who, c in self.open.items():
            if c.buffer:
                self.fail("more than was expected: %r" % c.buffer)
            c.sock.close()


def cases(daemon):
    """All files of the directory: one with another ending is a test that would never run."""
    paths = sorted(glob.glob(os.path.join(DIALOGS, daemon, "*")))
    assert paths and all(p.endswith(".dlg") for p in paths), paths
    return [pytest.param(p, id=os.path.splitext(os.path.basename(p))[0]) for p in paths]


@pytest.mark.parametrize("path", cases("smtpd"))
def test_smtp(suite, path):
    Dialog(path, suite, "smtp").run()


@pytest.mark.parametrize("path", cases("imapd"))
def test_imap(suite, path):
    dialog = Dialog(path, suite, "imap")
    suite.add_cheap(dialog.account)
    dialog.run()
