"""An IMAP client that costs little: it reads in large pieces and looks for the tagged line only."""
import re
import socket
import ssl
import time

import config

TIMEOUT = 300
PIECE = 1 << 20
now = time.perf_counter


def wait_port(port, seconds, process=None):
    """Until 127.0.0.1:port speaks first (SMTP, IMAP)."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as s:
                if s.recv(1):
                    return
        except OSError:
            pass
        if time.monotonic() > deadline or (process is not None and process.poll() is not None):
            raise RuntimeError("nobody answers on port %d" % port)
        time.sleep(0.02)


def tls_context():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Imap:
    """One connection, logged in. `run` gives the answer's bytes and how long it took."""

    def __init__(self, port, account, tls=None):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock)
        self.space = bytearray(PIECE)
        self.count = 0
        self.rest = b""
        self.sock.recv(4096)
        self.run("LOGIN %s@%s %s" % (account, config.DOMAIN, config.PASSWORD))

    def tag(self):
        self.count += 1
        return b"zq%07dqz" % self.count

    def run(self, command, keep=True, seconds=TIMEOUT):
        """(answer or its length when it is not kept, seconds); a tagged NO or BAD is an exception."""
        tag = self.tag()
        start = time.perf_counter()
        self.sock.sendall(tag + b" " + command.encode() + b"\r\n")
        answer = self.answer(tag, keep, start + seconds)
        return answer, time.perf_counter() - start

    def answer(self, tag, keep, deadline):
        pieces, total, tail = [], 0, b""
        mark = b"\n" + tag + b" "
        view = memoryview(self.space)
        while True:
            n = self.sock.recv_into(self.space)
            if n == 0:
                raise EOFError("the server closed the connection")
            if time.perf_counter() > deadline:
                raise TimeoutError("no end of the answer")
            total += n
            if keep:
                pieces.append(bytes(view[:n]))
            tail = (tail + bytes(view[max(0, n - 4096):n]))[-4096:]
            if tail.endswith(b"\r\n"):
                at = tail.rfind(mark)
                if at < 0 and not tail.startswith(tag + b" "):
                    continue
                last = tail[at + 1:]
                if not last.startswith(tag + b" OK"):
                    raise RuntimeError("the server said: %s" % last.decode("utf-8", "replace").strip())
                return b"".join(pieces) if keep else total

    def tagged(self, tags):
        """Reads until each of these commands, sent before, has its OK; one that failed is an exception."""
        for tag in tags:
            while True:
                line = self.line()
                if line.startswith(tag):
                    break
            if not line.startswith(tag + b" OK"):
                raise RuntimeError("the server said: %s" % line.decode("utf-8", "replace").strip())

    def line(self):
        while b"\n" not in self.rest:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError("the server closed the connection")
            self.rest += data
        line, _, self.rest = self.rest.partition(b"\n")
        return line

    def messages(self, mailbox="INBOX"):
        """How many messages STATUS counts."""
        answer, _ = self.run("STATUS %s (MESSAGES)" % mailbox)
        return int(re.search(rb"MESSAGES (\d+)", answer).group(1))

    def empty(self, mailbox="INBOX"):
        """Removes all messages of a mailbox for good."""
        self.run("SELECT %s" % mailbox)
        if self.messages_selected():
            self.run("STORE 1:* +FLAGS.SILENT (\\Deleted)")
            self.run("EXPUNGE", keep=False)
        self.run("CLOSE")

    def messages_selected(self):
        answer, _ = self.run("SEARCH ALL")
        return len(re.search(rb"\* SEARCH([ \d]*)", answer).group(1).split())

    def close(self):
        self.sock.close()
