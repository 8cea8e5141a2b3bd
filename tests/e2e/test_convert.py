"""Messages made 7 bit for servers that take no more (lib/mime/convert.h), read with Python's email package before and after."""
import email
import email.policy
import os
import random
import subprocess

import pytest

from mailwain import BUILD

CONVERT = os.path.join(BUILD, "tests", "lib", "mime", "convert_test")
MESSAGES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "dialog", "messages")

pytestmark = pytest.mark.skipif(not os.path.exists(CONVERT), reason="make tests")


def convert(tmp_path, message):
    path = tmp_path / "message"
    path.write_bytes(message)
    done = subprocess.run([CONVERT, str(path)], capture_output=True, check=True, timeout=30)
    return done.stdout, [flag == "1" for flag in done.stderr.decode().strip()]


def leaves(message):
    parsed = email.message_from_bytes(message, policy=email.policy.compat32)
    return [(part.get_content_type(), part.get_payload(decode=True)) for part in parsed.walk() if not part.is_multipart()]


def is_fit(text):
    return text.isascii() and b"\0" not in text and all(len(line) <= 998 for line in text.split(b"\r\n"))


def compare(tmp_path, message):
    converted, (changed, _, left, _) = convert(tmp_path, message)
    assert leaves(converted) == leaves(message)
    assert left or is_fit(converted)
    if not changed and not left:
        assert converted == message


def body(rng, text):
    kind = rng.randrange(5)
    if kind == 0:
        return b"plain\r\n.\r\n-- \r\nline"
    if kind == 1:
        return "\r\n".join(rng.choice(["Grüße", "--", "漢字 " * 40, "= =20", "tab\t", "blank ", ""]) for _ in range(12)).encode()
    if kind == 2:
        return b"x" * rng.randrange(900, 1100) + b"\r\n"
    # A line end of a text is CRLF for everybody; in other parts it may be anything.
    octets = bytes(rng.randrange(256) for _ in range(rng.randrange(400)))
    return octets if not text else octets.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"") + b"\r\n\xff"


def part(rng, depth):
    kind = rng.randrange(7 if depth < 4 else 4)
    if kind < 2:
        charset = rng.choice([b"utf-8", b"iso-8859-1"])
        return b"Content-Type: text/plain; charset=" + charset + b"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + body(rng, True)
    if kind < 4:
        label = rng.choice([b"", b"Content-Transfer-Encoding: binary\r\n"])
        return b"Content-Type: application/octet-stream\r\n" + label + b"\r\n" + body(rng, False)
    if kind == 4:
        return b"Content-Type: message/rfc822\r\n\r\n" + message_of(rng, depth + 1)
    boundary = b"b%d" % rng.randrange(1 << 30)
    children = b"".join(b"--" + boundary + b"\r\n" + part(rng, depth + 1) + b"\r\n" for _ in range(rng.randrange(1, 4)))
    head = b"Content-Type: multipart/mixed; boundary=" + boundary + b"\r\nContent-Transfer-Encoding: 8bit\r\n\r\npreamble\r\n"
    return head + children + b"--" + boundary + b"--\r\n"


def message_of(rng, depth=0):
    return b"Subject: x\r\nMIME-Version: 1.0\r\n" + part(rng, depth)


def test_messages_that_others_wrote(tmp_path):
    names = sorted(os.listdir(MESSAGES))
    assert names
    for name in names:
        with open(os.path.join(MESSAGES, name), "rb") as f:
            compare(tmp_path, f.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))


@pytest.mark.parametrize("seed", range(4))
def test_random_messages(tmp_path, seed):
    rng = random.Random(seed)
    for _ in range(40):
        compare(tmp_path, message_of(rng))


def test_the_oracle_sees_a_lost_octet(tmp_path):
    message = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xc3\xa9\r\n"
    converted, _ = convert(tmp_path, message)
    assert leaves(converted) == leaves(message)
    assert leaves(converted.replace(b"=A9", b"=A8")) != leaves(message)
