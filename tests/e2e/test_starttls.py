"""
STARTTLS on every port that has it (RFC 3207, RFC 3501 section 6.2.1): what is said in clear has no effect behind the
handshake, whoever put it there, and nothing that the server said in clear comes after it.
"""
import base64
import re
import ssl

import pytest

from mailwain import PASSWORD, TIMEOUT, Imap, Instance, Smtp, tls_context, until
from tools import all_read, count, in_time, with_conf

SMTP, IMAP = ("smtp", "submission"), ("imap",)
SERVICES = SMTP + IMAP
FENCE = "127.0.0.77"
MESSAGE = "RCPT TO:<alice@example.com>\r\nDATA\r\nSubject: injected\r\n\r\nx\r\n.\r\n"


def plain(user="alice@example.com"):
    return base64.b64encode(("\0%s\0%s" % (user, PASSWORD)).encode()).decode()


# What an attacker would like to be run as if it had come through TLS: each would leave a message, a mailbox or a login behind.
TAILS = {
    "smtp": ["MAIL FROM:<eve@remote.test>\r\n" + MESSAGE, "EHLO eve.test\r\nMAIL FROM:<eve@remote.test>\r\n" + MESSAGE, "RSET\r\n", "NOOP", "\r\n", "X",
             "EHLO eve.test\r\nMAIL FROM:<eve@remote.test>\r\nRCPT TO:<alice@example.com>\r\nBDAT 20\r\nSubject: x"],
    "submission": ["AUTH PLAIN %s\r\nMAIL FROM:<alice@example.com>\r\n%s" % (plain(), MESSAGE), "EHLO eve.test\r\nAUTH PLAIN %s\r\nMAIL FROM:<alice@example.com>\r\n%s" % (plain(), MESSAGE),
                   "EHLO eve.test\r\nAUTH PLAIN\r\n", "NOOP", "\r\n", "X"],
    "imap": ['i1 LOGIN alice@example.com "%s"\r\ni2 CREATE injected\r\n' % PASSWORD, "i1 LOGIN {17+}\r\nalice@example.com {%d+}\r\n%s\r\ni2 CREATE injected\r\n" % (len(PASSWORD), PASSWORD),
             "i1 AUTHENTICATE PLAIN %s\r\ni2 CREATE injected\r\n" % plain(), "i1 AUTHENTICATE PLAIN\r\n", "i1 LOGIN {30}\r\n", "i1 LOGIN {30+}\r\n", "i1 LOGIN {30+}\r\nali", 'i1 LOGIN "ali', "i1 NOOP", "\r\n", "X", "i1 LOGOUT\r\n"],
}
CASES = [(service, tail) for service in SERVICES for tail in TAILS[service]]


def starttls(service):
    return "STARTTLS\r\n" if service in SMTP else "a STARTTLS\r\n"


def connect(suite, service):
    """In clear, as far as STARTTLS may be said."""
    if service in IMAP:
        return Imap(suite.port(service))
    c = Smtp(suite.port(service))
    c.hello()
    return c


def rest(c, seconds=TIMEOUT):
    """All octets up to the end of the connection."""
    c.sock.settimeout(seconds)
    assert c.at_end()
    return c.buffer


def imap_login(suite):
    return Imap(suite.port("imap"), source=FENCE).ok('LOGIN alice@example.com "%s"' % PASSWORD)


def smtp_login(suite):
    c = Smtp(suite.port("submission"), source=FENCE)
    c.hello()
    return c.expect("AUTH PLAIN " + plain(), 235)


def begin(suite):
    """
    The length of the log when all that was said until now is in it: lines have the time at which master writes them, but those of one daemon keep
    their order. So both that take log-ins say something last, of an address that nobody else comes from.
    """
    before = len(suite.log())
    in_time(lambda: imap_login(suite))
    in_time(lambda: smtp_login(suite))
    for event in ("imap_login", "smtp_login"):
        until(lambda: re.search(event + " .*rip=" + FENCE, suite.log()[before:]))
    return len(suite.log())


def nothing_ran(suite, begun):
    """No login since then, and nothing that needs one; no mail."""
    end = begin(suite)
    assert not [line for line in suite.log()[begun:end].splitlines() if "_login user=" in line and FENCE not in line]
    suite.wait_empty()
    box = suite.imap("alice")
    assert b"MESSAGES 0" in box.ok("STATUS INBOX (MESSAGES)")[0]
    assert not any(b"injected" in line for line in box.ok('LIST "" *'))
    box.close()


@pytest.fixture(scope="module")
def suite():
    with Instance(listeners=["lmtp"]).running("alice") as i:
        yield i


@pytest.fixture(scope="module")
def hasty_suite():
    """Quick to end a handshake that does not come."""
    with Instance(conf_lines=["login-timeout 2s", "smtp-timeout 2s"]).running("alice") as i:
        yield i


@pytest.fixture
def untouched(suite):
    begun = begin(suite)
    yield
    nothing_ran(suite, begun)


@pytest.fixture
def hasty(hasty_suite):
    begun = begin(hasty_suite)
    yield hasty_suite
    nothing_ran(hasty_suite, begun)


def is_forgotten(c, service):
    """Behind the handshake the server is as it is at the beginning, and says nothing on its own."""
    c.start_tls()
    if service in SMTP:
        c.expect("MAIL FROM:<alice@example.com>", 503)
        c.hello()
        c.expect("RCPT TO:<alice@example.com>", 503)
        assert service == "smtp" or c.command("MAIL FROM:<alice@example.com>")[0] == 530
        c.expect("QUIT", 221)
    else:
        assert c.ok("NOOP") == []
        c.no("SELECT INBOX", b"BAD")
        c.ok("LOGOUT")


# ---- client to server ----


@pytest.mark.parametrize("service,tail", CASES)
def test_what_comes_in_one_piece_with_it(suite, untouched, service, tail):
    c = connect(suite, service)
    c.send(starttls(service) + tail)
    if service in SMTP:
        code, words = c.reply()
        assert code == 554 and words.startswith("5.5.1") and rest(c) == b""
    else:
        assert c.line().startswith(b"a OK")
        is_forgotten(c, service)


def hello_of_a_client():
    """The first octets of a handshake."""
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        tls_context().wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("service", SERVICES)
def test_with_the_handshake_behind_it(hasty, service):
    """As somebody on the way puts it together for a client that does not wait for the answer."""
    c = in_time(lambda: connect(hasty, service))
    c.send((starttls(service) + TAILS[service][0]).encode() + hello_of_a_client())
    said = rest(c)
    assert re.fullmatch(rb"554 5\.5\.1 [^\r]*\r\n" if service in SMTP else rb"a OK [^\r]*\r\n", said), said


@pytest.mark.parametrize("service", SERVICES)
def test_the_handshake_alone_behind_it(hasty, service):
    """A client that does not wait has no handshake: it is not told apart from the others."""
    c = in_time(lambda: connect(hasty, service))
    c.send(starttls(service).encode() + hello_of_a_client())
    said = rest(c)
    assert said.startswith(b"554 " if service in SMTP else b"a OK ") and said.count(b"\r\n") == 1


@pytest.mark.parametrize("service", SERVICES)
def test_at_every_cut(suite, untouched, service):
    """The server has read the first part before it gets the second."""
    command, text = starttls(service), starttls(service) + TAILS[service][0]
    for at in range(1, len(text) - 5):  # less than the head of a TLS record may be the beginning of one
        c = connect(suite, service)
        c.send(text[:at])
        all_read(c)
        try:
            c.send(text[at:])
        except OSError:
            pass  # it was closed already
        if service in IMAP and at < len(command):
            assert c.line().startswith(b"a OK"), at
            is_forgotten(c, service)
            continue
        # Either refused, or what stood in place of a handshake was none; then an alert may follow.
        said = rest(c)
        good = (rb"220 [^\r]*\r\n" if at == len(command) else rb"554 [^\r]*\r\n") if service in SMTP else rb"a OK [^\r]*\r\n"
        assert re.fullmatch(good + rb"(\x15\x03.*)?", said, re.S), (at, said)
        c.close()


@pytest.mark.parametrize("service", SERVICES)
def test_the_command_itself_in_pieces(suite, service):
    """However it came, what follows is a handshake."""
    for at in range(1, len(starttls(service))):
        c = connect(suite, service)
        c.send(starttls(service)[:at])
        all_read(c)
        c.send(starttls(service)[at:])
        assert c.line().startswith(b"220 " if service in SMTP else b"a OK")
        is_forgotten(c, service)


def before_the_handshake(suite, service):
    c = connect(suite, service)
    c.send(starttls(service))
    line = c.line()
    assert line.startswith(b"220 " if service in SMTP else b"a OK"), line
    return c


@pytest.mark.parametrize("service", SERVICES + ("submissions", "imaps"))
@pytest.mark.parametrize("instead", ["EHLO x\r\n", "i1 NOOP\r\n", "\r\n", "STARTTLS\r\n", "i1 STARTTLS\r\n"])
def test_text_in_place_of_the_handshake(hasty, service, instead):
    """Text is answered with no text, the end for want of a handshake included."""
    if service in SERVICES:
        c = in_time(lambda: before_the_handshake(hasty, service))
    else:
        c = Smtp(hasty.port(service), greeting=False)
    c.send(instead)
    said = rest(c)
    assert re.fullmatch(rb"(\x15\x03.*)?", said, re.S), said


# ---- STARTTLS where it has no place ----


@pytest.mark.parametrize("service", SERVICES)
def test_twice(suite, service):
    c = connect(suite, service)
    c.send(starttls(service) * 2)
    if service in SMTP:
        assert c.reply()[0] == 554 and rest(c) == b""
    else:
        assert c.line().startswith(b"a OK")
        is_forgotten(c, service)
    c = connect(suite, service)
    c.send(starttls(service))
    c.line()
    c.start_tls()
    for _ in range(2):
        if service in SMTP:
            assert "STARTTLS" not in c.hello()
            c.expect("STARTTLS", 503)
        else:
            assert not any(b"STARTTLS" in line for line in c.ok("CAPABILITY"))
            c.no("STARTTLS", b"BAD")
    # Nor over the port that has TLS from the first octet.
    c = Smtp(suite.port("submissions"), tls=True) if service in SMTP else Imap(suite.port("imaps"), tls=True)
    if service in SMTP:
        assert "STARTTLS" not in c.hello()
        c.expect("STARTTLS", 503)
    else:
        assert b"STARTTLS" not in c.greeting
        c.no("STARTTLS", b"BAD")


def test_as_an_answer_it_is_none(suite, untouched):
    """Within an exchange of AUTH, and within a literal, it is what was asked for, and no TLS begins."""
    c = connect(suite, "submission")
    c.expect("AUTH PLAIN", 334)
    c.expect("STARTTLS", 501)
    c.expect("NOOP", 250)
    c = connect(suite, "imap")
    c.send("a AUTHENTICATE PLAIN\r\n")
    assert c.line().startswith(b"+")
    c.send("STARTTLS\r\n")
    assert re.match(rb"a (BAD|NO)", c.line())
    for form in ("{8}", "{8+}"):
        c = connect(suite, "imap")
        c.send("b LOGIN %s\r\n" % form)
        assert form != "{8}" or c.line().startswith(b"+")
        c.send("STARTTLS wrong\r\n")
        assert c.line().startswith(b"b NO")
    c = connect(suite, "imap")
    c.send("c STARTTLS {3+}\r\nnow\r\nd NOOP\r\n")
    assert c.line().startswith(b"c BAD") and c.line().startswith(b"d OK")


def test_behind_a_login(suite):
    c = connect(suite, "submission")
    c.expect("AUTH PLAIN " + plain(), 235)
    c.expect("STARTTLS", 503)
    c.expect("MAIL FROM:<alice@example.com>", 250)
    c = suite.imap("alice")
    c.no("STARTTLS", b"BAD")
    c.ok("SELECT INBOX")


def test_where_there_is_none(suite):
    c = Smtp(suite.port("lmtp"))
    assert "STARTTLS" not in c.expect("LHLO client.test", 250)
    assert c.command("STARTTLS")[0] in (500, 502)
    c.expect("MAIL FROM:<bob@remote.test>", 250)


# ---- what is forgotten, what changes ----


@pytest.mark.parametrize("service,sender", [("smtp", "bob@remote.test"), ("submission", "alice@example.com")])
def test_the_name_of_the_client_is_forgotten(suite, account, service, sender):
    """What a message says of its way is what was said through TLS."""
    c = Smtp(suite.port(service))
    c.expect("EHLO plain.test", 250)
    if service == "smtp":
        c.expect("MAIL FROM:<before@remote.test>", 250)
        c.expect("RCPT TO:<alice@example.com>", 250)
    c.expect("STARTTLS", 220)
    c.start_tls()
    c.expect("EHLO secret.test", 250)
    if service == "submission":
        c.expect("AUTH PLAIN " + plain(), 235)
    c.expect("MAIL FROM:<%s>" % sender, 250)
    c.expect("RCPT TO:<%s@example.com>" % account, 250)
    c.data("Subject: x\n\ny\n")
    assert count(suite, account) == 1 and count(suite, "alice") == 0
    box = suite.imap(account)
    box.ok("SELECT INBOX")
    text = box.ok("FETCH 1 BODY[HEADER]")[0]
    assert b"plain.test" not in text and b"before@" not in text
    assert (b"with ESMTPS id" if service == "smtp" else b"with ESMTPSA id") in text
    assert service != "smtp" or b"secret.test" in text


def test_half_a_chunk_is_forgotten(suite, untouched):
    c = connect(suite, "smtp")
    for command in ("MAIL FROM:<bob@remote.test>", "RCPT TO:<alice@example.com>"):
        c.expect(command, 250)
    c.send("BDAT 15\r\nSubject: half\r\n")
    assert c.reply()[0] == 250
    c.expect("STARTTLS", 220)
    c.start_tls()
    c.expect("BDAT 0 LAST", 503)
    c.hello()
    c.expect("BDAT 0 LAST", 503)


@pytest.fixture(scope="module")
def strict():
    """Without TLS it takes no password from anybody."""
    i = Instance()
    with_conf(i, lambda text: re.sub(r"plain-login-from [^\n]*\n", "", text))
    with i.running("alice"):
        yield i


def test_capabilities_change(strict):
    c = connect(strict, "submission")
    assert "AUTH" not in c.hello() and "STARTTLS" in c.hello()
    c.expect("STARTTLS", 220)
    c.start_tls()
    said = c.hello()
    assert "STARTTLS" not in said
    # Once more without -PLUS, for who cannot do it and reads the last list.
    assert re.findall("AUTH .*", said, re.I) == ["AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-1 PLAIN LOGIN", "auth SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN"], said
    c = connect(strict, "imap")
    offered = b" ".join(c.ok("CAPABILITY"))
    assert b"LOGINDISABLED" in offered and b"AUTH=" not in offered and b"STARTTLS" in offered
    c.ok("STARTTLS")
    c.start_tls()
    offered = b" ".join(c.ok("CAPABILITY"))
    assert b"AUTH=SCRAM-SHA-256-PLUS" in offered and b"LOGINDISABLED" not in offered and b"STARTTLS" not in offered


def test_a_refused_login_is_not_taken_up_again(strict):
    """What was refused in clear is refused for good: TLS does not make it true."""
    c = connect(strict, "submission")
    c.expect("AUTH PLAIN " + plain(), 538)
    c.expect("STARTTLS", 220)
    is_forgotten(c, "submission")
    c = connect(strict, "imap")
    c.no('LOGIN alice@example.com "%s"' % PASSWORD)
    c.ok("STARTTLS")
    is_forgotten(c, "imap")
    assert "_login user=" not in strict.log()


# ---- server to client ----


@pytest.mark.parametrize("service", SERVICES)
def test_all_answers_in_clear_come_before_the_handshake(suite, service):
    """However many wait to be sent: a client that read one of them behind it would take it for the answer to something else."""
    c = connect(suite, service)
    times = 80 if service in SMTP else 5000
    c.send(("HELP\r\n" if service in SMTP else "x CAPABILITY\r\n") * times + starttls(service))
    if service in SMTP:
        assert [c.reply()[0] for _ in range(times + 1)] == [214] * times + [220]
    else:
        lines = [c.line() for _ in range(2 * times + 1)]
        assert all(line.startswith((b"* CAPABILITY ", b"x OK ")[n % 2]) for n, line in enumerate(lines[:-1])) and lines[-1].startswith(b"a OK")
    assert c.buffer == b""
    is_forgotten(c, service)
