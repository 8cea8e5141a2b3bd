"""Messages for the IMAP part: the same ones each time, 1 to 40 KiB, some with attachments or encoded text."""
import base64
import quopri
import random

WORD = "quizzaciously"
KIB = 1024
LETTERS = "aaabcdeeefghiiijklmnooopqrrssttuuvwxyzäéß"
HEADER = """\
Return-Path: <{n}@lists.remote.test>
Received: from mx.remote.test by mail.bench.test; Tue, 3 Feb 2026 10:{minute:02}:{second:02} +0000
From: "{family}, {given}" <person{n}@remote.test>
To: Somebody <u@bench.test>, Else <else{n}@remote.test>
Cc: list@lists.remote.test
Subject: =?utf-8?B?{subject}?=
Date: Tue, 3 Feb 2026 10:{minute:02}:{second:02} +0100
Message-ID: <{n}.bench@remote.test>
References: <{before}.bench@remote.test>
In-Reply-To: <{before}.bench@remote.test>
MIME-Version: 1.0
""".replace("\n", "\r\n")
ATTACHMENT = """\
Content-Type: application/octet-stream; name="file{i}.bin"
Content-Disposition: attachment; filename="file{i}.bin"
Content-Transfer-Encoding: base64

""".replace("\n", "\r\n")


def base64_lines(data):
    return base64.encodebytes(data).decode().replace("\n", "\r\n")


def text_part(text, encoding, subtype="plain"):
    head = "Content-Type: text/%s; charset=utf-8\r\nContent-Transfer-Encoding: %s\r\n\r\n" % (subtype, encoding)
    if encoding == "base64":
        return head + base64_lines(text.encode())
    if encoding == "quoted-printable":
        return head + quopri.encodestring(text.encode().replace(b"\r\n", b"\n")).decode().replace("\n", "\r\n")
    return head + text


class Corpus:
    def __init__(self, seed=1):
        r = random.Random(seed)
        self.words = ["".join(r.choices(LETTERS, k=r.randint(2, 11))) for _ in range(5000)]
        self.lines = [" ".join(r.choices(self.words, k=9)) for _ in range(4000)]

    def text(self, r, size, with_word):
        out, length = [], 0
        while length < size:
            out.append(self.lines[r.randrange(len(self.lines))])
            length += len(out[-1]) + 2
        if with_word:
            out.insert(r.randrange(len(out) + 1), "and so it went %s on" % WORD)
        return "\r\n".join(out) + "\r\n"

    def header(self, r, number):
        family, given = (w.encode("ascii", "ignore").decode() or "x" for w in r.choices(self.words, k=2))
        subject = base64.b64encode(" ".join(r.choices(self.words, k=4)).encode()[:45]).decode()
        return HEADER.format(n=number, before=number - 1, minute=number // 60 % 60, second=number % 60,
                             family=family, given=given, subject=subject)

    def parts(self, r, kind, size, with_word):
        yield text_part(self.text(r, size // 5, with_word), "quoted-printable")
        if kind == 6:
            html = self.text(r, size // 2, False).replace("\r\n", "<br>\r\n")
            yield text_part("<html><body><p>%s</p></body></html>\r\n" % html, "8bit", "html")
        else:
            for i in range(kind - 6):
                yield ATTACHMENT.format(i=i) + base64_lines(r.randbytes(size * 5 // 9 // (kind - 6)))

    def message(self, number):
        """(bytes, whether WORD is in its text): six in ten are one text, one an alternative, three have attachments."""
        r = random.Random(number * 7919 + 13)
        size = r.randint(1 * KIB, 40 * KIB)
        with_word = r.random() < 0.01
        kind = number % 10
        head = self.header(r, number)
        if kind < 6:
            encoding = {4: "quoted-printable", 5: "base64"}.get(kind, "8bit")
            return (head + text_part(self.text(r, size * 2 // 3, with_word), encoding)).encode(), with_word
        bound = "=_bench_%d" % number
        body = "".join("--%s\r\n%s\r\n" % (bound, p) for p in self.parts(r, kind, size, with_word))
        return (head + 'Content-Type: multipart/%s; boundary="%s"\r\n\r\n%s--%s--\r\n' % (
            "alternative" if kind == 6 else "mixed", bound, body, bound)).encode(), with_word


def write(path, count):
    """All messages one after the other in a file, so that an append only reads: (their places and sizes, how many have WORD)."""
    corpus, places, hits, at = Corpus(), [], 0, 0
    with open(path, "wb") as f:
        for number in range(count):
            message, hit = corpus.message(number)
            f.write(message)
            places.append((at, len(message)))
            at += len(message)
            hits += hit
    return places, hits
