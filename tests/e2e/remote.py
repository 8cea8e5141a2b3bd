"""Other hosts that take mail, and say what a test wants them to say."""
import contextlib
import re
import socketserver
import threading


class Remote(socketserver.ThreadingTCPServer):
    """A host that takes mail, or does what `answers` says to a command: {"RCPT": "450 4.2.0 later"}. tls: a context, then STARTTLS is offered."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address, port=0, tls=None):
        super().__init__((address, port), Conversation)
        self.tls = tls
        self.answers, self.messages, self.sessions, self.at_once, self.most = {}, [], 0, 0, 0
        self.lock, self.gate = threading.Lock(), threading.Event()
        self.gate.set()

    @property
    def place(self):
        return "%s:%d" % self.server_address


class Conversation(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def content(self):
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)

    def start_tls(self):
        self.say("220 go on")
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)

    def handle(self):
        remote, sender, to, clear = self.server, None, [], True
        with remote.lock:
            remote.sessions += 1
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
                    self.wfile.write(b"250-remote.test\r\n" + b"250-STARTTLS\r\n" * (remote.tls is not None and clear) + b"250-PIPELINING\r\n250-8BITMIME\r\n250 DSN\r\n")
                elif verb == "STARTTLS" and remote.tls is not None and clear:
                    self.start_tls()
                    clear = False
                elif verb == "DATA" and not to:
                    self.say("554 5.5.1 no recipients")
                elif verb == "DATA":
                    self.say("354 go on")
                    content = self.content()
                    remote.gate.wait(20)
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
def remote_host(address="127.0.0.6", port=0, tls=None, **answers):
    remote = Remote(address, port, tls)
    remote.answers.update(answers)
    threading.Thread(target=remote.serve_forever, daemon=True).start()
    try:
        yield remote
    finally:
        remote.shutdown()
        remote.server_close()
