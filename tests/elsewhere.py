"""A host elsewhere for the rigs: it takes mail and keeps account of what it has answered 250 to. Nothing of what the rigs kill, or cut the power of, is in it."""
import contextlib
import random
import re
import socketserver
import threading
import time

DOMAIN = "far.test"
REFUSED = "nobody@" + DOMAIN
HOST = "127.0.0.6"
# How often of a hundred times. "lost": the connection ends before it has taken the content; "unsaid": after that, and before its 250.
MISCHIEF = {"connect": 3, "recipient": 20, "later": 5, "lost": 4, "unsaid": 3, "hang up": 6}


class Elsewhere(socketserver.ThreadingTCPServer):
    """
    takes: what it has taken, as notes: op "taken", qid, key (the body's first line), to, body. "began" stands at the transaction's
    MAIL, "begin" before the 250 was sent, "end" behind it, None when it was not sent; "began_s" and "end_s" are seconds. mischief: chances of what it does beside.
    answers: what it says to a verb, or to the "end" of a content, in place of what it would say, once for each in the list; "250" is what it would say.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, position=time.monotonic, seed=0, mischief=None):
        super().__init__((HOST, 0), Conversation)
        self.position, self.rng, self.mischief = position, random.Random(seed), dict(mischief or {})
        self.takes, self.answers, self.lock = [], {}, threading.Lock()
        self.sessions = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """A client that has died is what it is here for."""

    @property
    def place(self):
        return "%s:%d" % self.server_address

    def transport(self):
        """The line of the configuration that leads to it."""
        return "transport %s { host %s }" % (DOMAIN, self.place)

    def does(self, what):
        with self.lock:
            return self.rng.randrange(100) < self.mischief.get(what, 0)

    def next_answer(self, verb):
        with self.lock:
            told = self.answers.get(verb)
            return told.pop(0) if told else None

    def taken(self, **facts):
        note = dict(op="taken", begin=self.position(), end=None, **facts)
        with self.lock:
            self.takes.append(note)
        return note

    def taken_of(self, key):
        """The addresses that it has taken this message for, each as often."""
        with self.lock:
            return sorted(a for note in self.takes if note["key"] == key for a in note["to"])

    def close(self):
        self.shutdown()
        self.server_close()


class Ended(Exception):
    """The conversation."""


class Conversation(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        self.began, self.began_s, self.to = 0, 0, []
        with self.server.lock:
            self.server.sessions += 1
        with contextlib.suppress(OSError, Ended):
            if self.server.does("connect"):
                self.say("421 4.3.2 not now")
                return
            self.say("220 far.test ESMTP")
            while line := self.rfile.readline():
                verb = re.split(rb"[ :\r]", line, maxsplit=1)[0].decode("ascii", "replace").upper()
                said = self.server.next_answer(verb)
                if said is None or said.startswith("2"):
                    self.command(verb, line)
                else:
                    self.say(said)

    def command(self, verb, line):
        if verb == "EHLO":
            self.wfile.write(b"250-far.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
        elif verb == "MAIL":
            self.began, self.began_s, self.to = self.server.position(), time.monotonic(), []
            self.say("250 2.1.0 ok")
        elif verb == "RCPT":
            self.recipient(re.search(rb"<(.*?)>", line)[1].decode())
        elif verb == "DATA":
            self.data()
        elif verb == "QUIT":
            self.say("221 2.0.0 bye")
            raise Ended
        else:
            self.say("250 2.0.0 ok")

    def recipient(self, address):
        if address == REFUSED:
            self.say("550 5.1.1 nobody of this name is here")
        elif self.server.does("recipient"):
            self.say("450 4.2.1 not now")
        else:
            self.to.append(address)
            self.say("250 2.1.5 ok")

    def data(self):
        if not self.to:
            self.say("554 5.5.1 no recipients")
            return
        self.say("354 go on")
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            if not line.endswith(b"\n"):
                raise Ended
            lines.append(line[1:] if line.startswith(b".") else line)
        if self.server.does("lost"):
            raise Ended
        said = self.server.next_answer("end")
        if said is None and self.server.does("later"):
            said = "451 4.3.0 not now"
        if said is not None and not said.startswith("2"):
            self.say(said)
        else:
            self.take(b"".join(lines), said or "250 2.0.0 taken")
        self.to = []

    def take(self, content, said):
        head, _, body = content.partition(b"\r\n\r\n")
        qid = re.search(rb"\bid ([0-9A-Z]{11})\b", head)
        note = self.server.taken(qid=qid[1].decode() if qid else "", key=body.split(b"\r", 1)[0].decode("ascii", "replace"), began=self.began, began_s=self.began_s, to=self.to,
                                 body=body.decode("latin-1"))
        if self.server.does("unsaid"):
            raise Ended
        self.say(said)
        note["end_s"] = time.monotonic()
        note["end"] = self.server.position()
        if self.server.does("hang up"):
            raise Ended
