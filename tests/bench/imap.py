"""IMAP on one large mailbox: each command's time from its first byte sent to its tagged OK, by one client."""
import os
import re

import config
import corpus
import imapclient

OPERATIONS = ["SELECT", "FETCH FLAGS", "FETCH ENVELOPE", "FETCH BODYSTRUCTURE", "FETCH BODY.PEEK[]",
              "SEARCH TEXT", "STORE +FLAGS", "COPY half", "EXPUNGE half", "APPEND half"]
WINDOW = 32


class Mailbox:
    """The messages of one suite's account `imap`, and the client that times commands on it."""

    def __init__(self, suite, data, places, hits):
        self.suite, self.data, self.places, self.hits = suite, data, places, hits
        self.count = len(places)
        self.octets = sum(size for _, size in places)
        self.client = None

    def fill(self):
        self.connect()
        self.append(self.places)

    def connect(self):
        self.close()
        self.client = imapclient.Imap(self.suite.imap, "imap")

    def close(self):
        if self.client is not None:
            self.client.close()
            self.client = None

    def append(self, places):
        """Pipelined with LITERAL+: while the server works on one window, the next is on its way."""
        client, waiting = self.client, []
        with open(self.data, "rb") as f:
            for start in range(0, len(places), WINDOW):
                batch, tags = [], []
                for at, size in places[start:start + WINDOW]:
                    f.seek(at)
                    tags.append(client.tag())
                    batch.append(tags[-1] + b" APPEND INBOX {%d+}\r\n" % size + f.read(size) + b"\r\n")
                client.sock.sendall(b"".join(batch))
                client.tagged(waiting)
                waiting = tags
            client.tagged(waiting)

    def expect(self, what, have, want):
        if have != want:
            raise RuntimeError("%s, %s: %d instead of %d" % (self.suite.name, what, have, want))

    def fetch(self, item):
        answer, seconds = self.client.run("FETCH 1:* (%s)" % item)
        self.expect("FETCH " + item, len(re.findall(rb"^\* \d+ FETCH \(", answer, re.M)), self.count)
        return seconds

    def bodies(self):
        octets, seconds = self.client.run("FETCH 1:* (BODY.PEEK[])", keep=False)
        if octets < self.octets:
            raise RuntimeError("%s: %d octets of %d" % (self.suite.name, octets, self.octets))
        return seconds

    def search(self):
        answer, seconds = self.client.run("SEARCH TEXT %s" % corpus.WORD)
        found = re.search(rb"^\* SEARCH([ \d]*)", answer, re.M)
        self.expect("SEARCH TEXT", len(found.group(1).split()), self.hits)
        return seconds

    def select(self):
        """The middle one of five, by new connections."""
        times = []
        for _ in range(5):
            self.connect()
            answer, seconds = self.client.run("SELECT INBOX")
            self.expect("SELECT", int(re.search(rb"\* (\d+) EXISTS", answer).group(1)), self.count)
            times.append(seconds)
        return sorted(times)[2]

    def store(self):
        answer, seconds = self.client.run("STORE 1:* +FLAGS (\\Flagged)")
        self.expect("STORE", len(re.findall(rb"^\* \d+ FETCH \(", answer, re.M)), self.count)
        self.client.run("STORE 1:* -FLAGS.SILENT (\\Flagged)")
        return seconds

    def copy(self):
        self.client.run("CREATE Half")
        _, seconds = self.client.run("COPY 1:%d Half" % (self.count // 2))
        self.expect("COPY", self.client.messages("Half"), self.count // 2)
        self.client.run("DELETE Half")
        return seconds

    def expunge(self):
        self.client.run("STORE 1:%d +FLAGS.SILENT (\\Deleted)" % (self.count // 2))
        answer, seconds = self.client.run("EXPUNGE")
        self.expect("EXPUNGE", len(re.findall(rb"^\* \d+ EXPUNGE", answer, re.M)), self.count // 2)
        return seconds

    def refill(self):
        """The messages that EXPUNGE took come back at the end, so the next run has the same mailbox."""
        half = self.count // 2
        start = imapclient.now()
        self.append(self.places[:half])
        seconds = imapclient.now() - start
        self.places = self.places[half:] + self.places[:half]
        return seconds

    def run(self):
        """Operation -> seconds."""
        times = {"SELECT": self.select()}
        for item in ("FLAGS", "ENVELOPE", "BODYSTRUCTURE"):
            times["FETCH " + item] = self.fetch(item)
        times["FETCH BODY.PEEK[]"] = self.bodies()
        times["SEARCH TEXT"] = self.search()
        times["STORE +FLAGS"] = self.store()
        times["COPY half"] = self.copy()
        times["EXPUNGE half"] = self.expunge()
        times["APPEND half"] = self.refill()
        return times


def measure(suites, say):
    """suite key -> one dictionary of times a run; the suites take turns."""
    data = os.path.join(config.DIRECTORY, "mailwain-bench-corpus.%d" % os.getpid())
    boxes, results = [], {s.key: [] for s in suites}
    try:
        places, hits = corpus.write(data, config.IMAP_MESSAGES)
        for suite in suites:
            boxes.append(Mailbox(suite, data, list(places), hits))
            start = imapclient.now()
            boxes[-1].fill()
            say("imap: %s: %d messages, %d MB, appended in %.1f s" % (
                suite.name, len(places), boxes[-1].octets // 1000000, imapclient.now() - start))
        for number in range(config.IMAP_RUNS):
            for box in boxes:
                times = box.run()
                results[box.suite.key].append(times)
                say("imap: run %d: %s: %s" % (number + 1, box.suite.name, ", ".join(
                    "%s %.1f ms" % (name, times[name] * 1000) for name in OPERATIONS)))
        return results
    finally:
        for box in boxes:
            box.close()
        if os.path.exists(data):
            os.unlink(data)
