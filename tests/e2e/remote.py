"""Other hosts that take mail, and say what a test wants them to say."""
import contextlib
import re
import socket
import socketserver
import threading

from mailwain import HELD

BACKLOG = 1024  # past a queue of five a connection waits for seconds, until its client's kernel tries again


class Remote(socketserver.ThreadingTCPServer):
    """A host that takes mail, or does what `answers` says to a command: {"RCPT": "450 4.2.0 later"}. tls: a context, then STARTTLS is offered."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = BACKLOG

    def __init__(self, address, port=0, tls=None):
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), Conversation)
        self.answers, self.messages, self.sessions, self.at_once, self.most = {}, [], 0, 0, 0
        self.tls, self.handshakes = tls, []  # a context of ssl: STARTTLS is offered; Handshake of each that was begun
        self.implicit_tls, self.clients = None, []  # a context: TLS begins with the connection; addresses that came
        self.lock, self.gate = threading.Lock(), threading.Event()
        self.gate.set()

    @property
    def place(self):
        return "%s:%d" % self.server_address[:2]


class Mute(threading.Thread):
    """A host that takes connections, counts them, and says not a word: it closes them at once, or, when it holds them, with itself."""

    def __init__(self, address, port=0, holds=False):
        super().__init__(daemon=True)
        self.socket = socket.create_server((address, port), backlog=BACKLOG)
        self.connections, self.holds, self.held = 0, holds, []
        self.place = "%s:%d" % self.socket.getsockname()
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            if self.holds:
                self.held.append(connection)
            else:
                connection.close()

    def close(self):
        self.socket.close()
        for connection in self.held:
            connection.close()


class Handshake:
    """What a client asked for; resumed: None when the handshake failed."""

    def __init__(self):
        self.name, self.resumed = None, None


class Conversation(socketserver.StreamRequestHandler):
    def start_tls(self):
        """False: it did not come about."""
        handshake = Handshake()
        self.server.handshakes.append(handshake)
        self.say("220 go on")
        try:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True, do_handshake_on_connect=False)
            self.request.handshake = handshake
            self.request.do_handshake()
            handshake.resumed = self.request.session_reused
        except OSError:
            return False
        self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb", 0)
        return True

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def content(self):
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)

    def setup(self):
        if self.server.implicit_tls:
            self.request = self.server.implicit_tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle(self):
        remote, sender, to = self.server, None, []
        with remote.lock:
            remote.sessions += 1
            remote.clients.append(self.client_address[0])
            remote.at_once += 1
            remote.most = max(remote.most, remote.at_once)
        try:
            if "connect" in remote.answers:
                self.say(remote.answers["connect"])
                return
            self.say("220 remote.test ESMTP")
            while line := self.rfile.readline():
                verb = re.split(rb"[ :\r]", line, maxsplit=1)[0].decode().upper()
                address = re.search(rb"<(.*?)>", line)
                answer = remote.answers.get(verb)
                if callable(answer):
                    answer = answer(line.decode())
                if answer:
                    self.say(answer)
                elif verb == "EHLO":
                    offer = b"250-STARTTLS\r\n" if remote.tls and not hasattr(self.request, "handshake") else b""
                    self.wfile.write(b"250-remote.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n" + offer + b"250 DSN\r\n")
                elif verb == "STARTTLS" and remote.tls:
                    if not self.start_tls():
                        return
                elif verb == "DATA" and not to:
                    self.say("554 5.5.1 no recipients")
                elif verb == "DATA":
                    self.say("354 go on")
                    content = self.content()
                    remote.gate.wait(HELD)
                    end = remote.answers.get("end", "250 2.0.0 taken")
                    if end.startswith("2"):
                        with remote.lock:
                            remote.messages.append((sender, to, content.decode("latin-1")))
                    self.say(end)
                    to = []
                elif verb == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    if verb == "MAIL":
                        sender, to = address[1].decode(), []
                    elif verb == "RCPT":
                        to.append(address[1].decode())
                    self.say("250 2.1.0 ok")
        except OSError:
            pass
        finally:
            with remote.lock:
                remote.at_once -= 1


@contextlib.contextmanager
def swallows(address, port):
    """A place where connections are neither taken nor refused: the kernel drops what comes while its queue is full."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(8):
            s = stack.enter_context(socket.socket(family))
            s.setblocking(False)
            s.connect_ex((address, port))
        yield


@contextlib.contextmanager
def remote_host(address="127.0.0.6", port=0, tls=None, **answers):
    remote = Remote(address, port, tls)
    remote.answers.update(answers)
    threading.Thread(target=remote.serve_forever, daemon=True).start()
    try:
        yield remote
    finally:
        remote.shutdown()
        remote.server_close()
