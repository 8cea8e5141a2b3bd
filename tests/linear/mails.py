"""The worst mails that have been made against mail systems, and what each costs a careless one."""

MB = 1024 * 1024


def multipart(part, count, end=True):
    text = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"".join(b"--x\r\n" + part(n) for n in range(count))
    return text + (b"--x--\r\n" if end else b"")


def nested_parts(count):
    return b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(count)) + b"\r\nx\r\n"


def folded(values, separator):
    """In lines of fifty."""
    return (separator + b"\r\n ").join(separator.join(values[i : i + 50]) for i in range(0, len(values), 50))


def lines(text):
    return b"\r\n ".join(text[i : i + 900] for i in range(0, len(text), 900))


def address_list(count):
    return folded([b"a%d <a%d@example.org>" % (n, n) for n in range(count)], b", ")


def encoded(encoding, line, size):
    head = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n"
    return head + line * ((size - len(head)) // len(line))


def headers(scale):
    """Header sections. They are longer than header-size allows; a message within a message may be as long."""
    count = int(100000 * scale)
    lists = b"".join(name + b": " + address_list(count) + b"\r\n" for name in (b"From", b"To", b"Cc", b"Bcc", b"Reply-To"))
    return {
        "100k address headers": b"".join(b"To: a%d <a%d@example.org>\r\n" % (n, n) for n in range(count)),
        "500k short headers": b"To: a@b.test\r\n" * (5 * count),
        "five lists of 100k addresses": lists,
        "1M parameters": b"Content-Type: text/plain" + folded([b"; p%d=x" % n for n in range(10 * count)], b"") + b"\r\n",
        "1M parts of one parameter": b"Content-Disposition: attachment" + folded([b"; filename*%d*=%%41" % n for n in range(10 * count)], b"") + b"\r\n",
        "one header of 10 MB": b"Subject: x" + b"\r\n y" * int(2.5 * MB * scale) + b"\r\n",
        "1M headers without a value": b"X:\r\n" * (10 * count),
        "encoded words": b"Subject: " + b"=?utf-8?q?a?= =?koi8-r?b?8A==?=\r\n " * (3 * count) + b"\r\n",
        "open comments": b"From: " + lines(b"(" * 200000) + b"\r\nTo: " + lines(b"\"\\" * 100000) + b"\r\n",
    }


def bodies(scale):
    """Whole messages that any server takes."""
    size = int(48 * MB * scale)
    boundary = b"y" * 60000 # a line may have 64 KiB
    return {
        "10k nested parts": nested_parts(int(10000 * scale)),
        "10k nested messages": b"Content-Type: message/rfc822\r\n\r\n" * int(10000 * scale) + b"x\r\n",
        "100k parts": multipart(lambda n: b"\r\nx\r\n", int(100000 * scale)),
        "100k parts with names": multipart(lambda n: b"Content-Type: a/b; name=\"f%d\"\r\n\r\nx\r\n" % n, int(100000 * scale), end=False),
        "a boundary of 60 kB": b"Content-Type: multipart/mixed; boundary=\"" + boundary + b"\"\r\n\r\n" + (b"--" + boundary + b"\r\n\r\nx\r\n") * 500,
        "beginnings of a boundary": b"Content-Type: multipart/mixed; boundary=" + b"z" * 60 + b"\r\n\r\n" + (b"--" + b"z" * 59 + b"\r\n") * (size // 63),
        "lines of dashes": b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--\r\n" * (size // 4),
        "empty lines": b"Content-Type: text/plain\r\n\r\n" + b"\r\n" * (size // 2),
        "soft line breaks": encoded(b"quoted-printable", b"=\r\n", int(15 * MB * scale)),
        "soft line breaks, 48 MB": encoded(b"quoted-printable", b"=\r\n", size),
        "base64, 48 MB": encoded(b"base64", b"QUJD" * 19 + b"\r\n", size),
        "base64 in lines of one": encoded(b"base64", b"A\r\n", size),
        "a parameter of a huge number": b"Content-Type: a/b; filename*999999999999=x; filename*0=y\r\n\r\nx\r\n",
    }


def within(header):
    """As a message in a message: no limit of the header section's."""
    return b"Content-Type: message/rfc822\r\n\r\n" + header + b"\r\nx\r\n"


def all_mails(scale):
    """(name, content, whether it needs a long header section) for each."""
    for name, header in headers(scale).items():
        yield name, header + b"\r\nx\r\n", True
        yield name + ", inside", within(header), False
    for name, body in bodies(scale).items():
        yield name, body, False
