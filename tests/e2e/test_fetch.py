"""The fetch process: what it gets from a host, and what a host cannot make it do."""
import json
import os
import signal
import socket
import threading
import time

import pytest

from dns import Dns, Zone
from idp import Provider
from mailwain import TIMEOUT, Instance, until

LIMIT = 57344


def redirect(h):
    h.answer(b"", 302, Location=h.server.owner.url("/elsewhere"))


def big(h):
    h.answer(b"x" * 1_000_000)


def just_right(h):
    h.answer(b"x" * LIMIT)


def one_too_many(h):
    h.answer(b"x" * (LIMIT + 1))


def raw(*pieces):
    """Sends these as they are, and then says no more."""

    def send(h):
        h.close_connection = True
        for piece in pieces:
            h.wfile.write(piece)
        h.wfile.flush()

    return send


def endless(head, piece):
    """Until the other side has had enough."""

    def send(h):
        h.close_connection = True
        try:
            h.wfile.write(head)
            while True:
                h.wfile.write(piece)
        except OSError:
            h.server.owner.gone.set()

    return send


def drip(head):
    """An octet each tenth of a second, for ever."""

    def send(h):
        h.close_connection = True
        try:
            h.wfile.write(head)
            while True:
                h.wfile.write(b"a")
                h.wfile.flush()
                time.sleep(0.1)
        except OSError:
            h.server.owner.gone.set()

    return send


def compressed(h):
    h.answer(b"\x1f\x8b" + b"\0" * 100, Content_Encoding="gzip")


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def host():
    with Provider() as p:
        p.gone = threading.Event()
        p.answers = {
            "/redirect": redirect, "/big": big, "/most": just_right, "/more": one_too_many, "/gzip": compressed,
            "/hello": lambda h: h.answer(b"hello", kind="text/plain", Cache_Control='private, MAX-AGE="17"'),
            "/uncached": lambda h: h.answer(b"", Cache_Control="max-age=9, no-store"),
            "/0.9": raw(b"hello\n"),
            "/nothing": raw(),
            "/short": raw(OK + b"Content-Length: 100\r\n\r\nabc"),
            "/interim": raw(b"HTTP/1.1 103 Early Hints\r\nCache-Control: max-age=3\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\n{}"),
            "/headers": endless(OK, b"X-Y: " + b"z" * 1000 + b"\r\n"),
            "/header": endless(OK + b"X-Y: ", b"z" * 1000),
            "/interims": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
            "/chunks": endless(CHUNKED, b"1000\r\n" + b"x" * 4096 + b"\r\n"),
            "/trailers": endless(CHUNKED + b"1\r\nx\r\n0\r\n", b"X-Y: " + b"z" * 1000 + b"\r\n"),
            "/body": endless(OK + b"\r\n", b"x" * 1000),
            "/drip": drip(OK + b"\r\n"),
            "/dripping-header": drip(OK + b"X-Y: "),
        }
        yield p


@pytest.fixture(scope="module")
def asks(host):
    with Instance(host.settings()).running() as i:
        yield i


def get(suite, url, *more):
    r = suite.mw("fetch", "get", url, *more, "--json", check=False, timeout=90)
    return r.returncode, json.loads(r.stdout) if r.returncode == 0 else r.stderr


def test_what_a_host_answers(asks, host):
    assert get(asks, host.url("/hello")) == (0, {"status": 200, "size": 5, "max_age": 17, "type": "text/plain", "url": host.url("/hello")})
    assert get(asks, host.url("/uncached"))[1]["max_age"] == 0
    assert get(asks, host.url("/interim"))[1] == {"status": 200, "size": 2, "max_age": -1, "type": "", "url": host.url("/interim")}
    assert get(asks, host.url("/none"))[1]["status"] == 404


def test_a_redirect_is_an_answer_and_is_not_followed(asks, host):
    assert get(asks, host.url("/redirect"))[1]["status"] == 302
    assert host.count("/elsewhere") == 0


def test_nothing_is_decoded(asks, host):
    assert get(asks, host.url("/gzip"))[1]["size"] == 102


def test_the_size_is_bounded(asks, host):
    assert get(asks, host.url("/most"))[1]["size"] == LIMIT
    for path in ("/more", "/big"):
        code, said = get(asks, host.url(path))
        assert code == 65 and "too long" in said, path


@pytest.mark.parametrize("path", ["/headers", "/header", "/interims", "/chunks", "/trailers", "/body"])
def test_what_never_ends_is_ended(asks, host, path):
    host.gone.clear()
    code, said = get(asks, host.url(path))
    assert code in (65, 69), said
    assert host.gone.wait(TIMEOUT)
    assert get(asks, host.url("/hello"))[0] == 0


@pytest.mark.parametrize("path", ["/drip", "/dripping-header"])
def test_what_takes_too_long_is_ended(asks, host, path):
    host.gone.clear()
    before = host.count(path)

    def ended():
        """Once it has come so far that the host had the request: a machine that stands still may take longer than that for the connection alone."""
        code, said = get(asks, host.url(path), "--timeout", "1s")
        assert code == 69 and "in time" in said, said
        return host.count(path) > before

    until(ended)
    assert host.gone.wait(TIMEOUT)


@pytest.mark.parametrize("path", ["/0.9", "/nothing", "/short"])
def test_what_is_no_answer(asks, host, path):
    code, said = get(asks, host.url(path))
    assert code == 69, said


def test_only_https(asks, host):
    for url in ("http://127.0.0.1/", "file:///etc/passwd", "ftp://127.0.0.1/", "https://user:pass@127.0.0.1/", "gopher://127.0.0.1/", "https://", "nonsense", "https:///x"):
        code, said = get(asks, url)
        assert code == 64 and "https://" in said, url


def test_a_port_where_nobody_is(asks):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        code, said = get(asks, "https://127.0.0.1:%d/" % s.getsockname()[1])
    assert code == 69 and "connect" in said


def test_a_host_that_says_no_word_of_tls(asks):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        code, said = get(asks, "https://127.0.0.1:%d/" % s.getsockname()[1], "--timeout", "1s")
        assert code == 69 and "in time" in said


def test_a_certificate_of_a_foreign_authority(asks):
    with Provider() as other:
        code, said = get(asks, other.url("/jwks"))
        assert code == 77 and "certificate" in said
        assert other.requests == []  # nothing was said to it


@pytest.mark.parametrize("what,certificate", [("subject", {"address": None}), ("subject", {"address": "127.0.0.2"}), ("expired", {"ends": "20210101000000Z"}), ("yet valid", {"begins": "20980101000000Z"})])
def test_a_certificate_that_is_not_the_hosts_or_not_of_today(what, certificate):
    with Provider(**certificate) as other, Instance(other.settings()).running() as i:
        code, said = get(i, other.url("/jwks"))
        assert code == 77 and what in said
        assert other.requests == []


def test_eight_at_once_of_one_host(asks, host):
    at_once, most, lock = [0], [0], threading.Lock()
    full = threading.Event()

    def hold(h):
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
            if at_once[0] == 8:
                full.set()
        full.wait(TIMEOUT)
        time.sleep(0.1)
        with lock:
            at_once[0] -= 1
        h.answer(b"")

    host.answers["/hold"] = hold
    codes = []
    threads = [threading.Thread(target=lambda: codes.append(get(asks, host.url("/hold"), "--timeout", "1m")[0])) for _ in range(11)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert codes == [0] * 11 and most[0] == 8


def test_private_addresses_are_not_asked(host):
    """Neither by number nor in any other spelling, unless the configuration names them."""
    with Instance(["fetch-authorities " + host.authorities]).running() as i:
        before = len(host.requests)
        for name in ("127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "127.1", "0.0.0.0", "[::]", "10.1.2.3", "169.254.169.254", "[fe80::1]", "[fd00::1]"):
            code, said = get(i, "https://%s:%d/jwks" % (name, host.port))
            assert code == 77 and "no public address" in said, (name, code, said)
        assert len(host.requests) == before
        # A reload is enough to allow it, and to take it back.
        with open(i.conf, "a") as f:
            f.write("fetch-private-networks 127.0.0.1\n")
        i.mw("reload")
        assert get(i, host.url("/hello"))[0] == 0
        with open(i.conf) as f:
            text = f.read()
        with open(i.conf, "w") as f:
            f.write(text.replace("fetch-private-networks 127.0.0.1\n", ""))
        i.mw("reload")
        assert get(i, host.url("/hello"))[0] == 77


def test_authorities_come_with_a_reload(host):
    with Provider() as other, Instance(host.settings()).running() as i:
        assert get(i, other.url("/jwks"))[0] == 77 and get(i, host.url("/hello"))[0] == 0
        with open(i.conf) as f:
            text = f.read()
        with open(i.conf, "w") as f:
            f.write(text.replace(host.authorities, other.authorities))
        i.mw("reload")
        assert get(i, other.url("/jwks"))[0] == 0 and get(i, host.url("/hello"))[0] == 77
        # A file without a certificate is refused, and the old ones stay.
        empty = other.where + "/empty.pem"
        open(empty, "w").close()
        with open(i.conf, "w") as f:
            f.write(text.replace(host.authorities, empty))
        r = i.mw("reload", check=False)
        assert r.returncode != 0 and "fetch-authorities has no PEM certificate" in r.stderr
        # Neither is one passed over that is damaged, with all that stand behind it.
        damaged = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
        with open(empty, "w") as f, open(host.authorities) as first, open(other.authorities) as last:
            f.write(first.read() + damaged + last.read())
        r = i.mw("reload", check=False)
        assert r.returncode != 0 and "fetch-authorities: certificate 2 in the file is damaged: " in r.stderr and i.conf + ":" in r.stderr
        assert get(i, other.url("/jwks"))[0] == 0


# ---- names ----


@pytest.fixture(scope="module")
def named():
    """A host with a name, and the name servers that know it and others."""
    zones = {
        "here.test": ["id A 127.0.0.1", "both A 127.0.0.1", "both AAAA ::1", "other A 127.0.0.1", "alias CNAME id", "none TXT x", "away A 127.0.0.1", "away AAAA 2001:db8::1"],
        "broken.test": Zone(["id A 127.0.0.1"], fault="wrong"),
    }
    with Provider(address=None, name="id.here.test") as host, Dns(zones).running() as dns:
        host.answers["/hello"] = lambda h: h.answer(b"hello")
        yield host, dns


def test_names_are_resolved_and_held_against_the_certificate(named):
    host, dns = named
    with Instance(host.settings() + dns.conf_lines()).running() as i:
        url = "https://%%s:%d/hello" % host.port
        for name in ("id.here.test", "ID.Here.Test.", "id.here.test"):
            assert get(i, url % name)[0] == 0, name
        for name, code, words in [
            ("other.here.test", 77, "subject"),
            ("alias.here.test", 77, "subject"),
            ("nobody.here.test", 68, "does not exist"),
            ("none.here.test", 68, "has no address"),
            ("id.broken.test", 69, "cannot be resolved now"),
            ("127.0.0.1", 77, "subject"),
        ]:
            got, said = get(i, url % name)
            assert got == code and words in said, (name, got, said)


def test_a_name_that_leads_to_ourselves(named):
    host, dns = named
    with Instance(["fetch-authorities " + host.authorities] + dns.conf_lines()).running() as i:
        before = len(host.requests)
        for name in ("id.here.test", "both.here.test", "away.here.test"):
            code, said = get(i, "https://%s:%d/hello" % (name, host.port))
            assert code == 77 and "is no public address" in said, (name, said)
        assert len(host.requests) == before


def test_without_a_resolver_it_waits_and_says_so(named):
    host, dns = named
    with Instance(host.settings() + dns.conf_lines()).running() as i:
        url = "https://id.here.test:%d/hello" % host.port
        assert get(i, url)[0] == 0
        os.kill(i.daemons()["resolve"], signal.SIGSTOP)
        code, said = get(i, url, "--timeout", "500ms")
        assert code == 69 and "not resolved in time" in said, said
        os.kill(i.daemons()["resolve"], signal.SIGKILL)
        assert get(i, url)[0] == 0
