"""Logins by every mechanism, with clients that are not ours; what is stored of a password."""
import base64
import hashlib
import hmac
import imaplib
import os
import re
import smtplib
import socket
import ssl
import subprocess

import pytest

from mailwain import CHEAP_HASH, PASSWORD, TIMEOUT, Instance, tls_context, until
from tls_files import issued, make, revocations
from tools import cpu, with_conf

MECHANISMS = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"]
# Of "correct horse", by crypt(3): what other servers have.
IMPORTED = {
    "sha512": "$6$rounds=5000$saltsalt$",
    "sha256": "$5$saltsalt$",
    "bcrypt": "$2b$05$abcdefghijklmnopqrstuu",
    "md5": "$1$saltsalt$",
    "yescrypt": "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$",
    "argon2": CHEAP_HASH[: CHEAP_HASH.rindex("$") + 1],
}
OURS = " hash=$argon2id$v=19$m=65536,t=2,p=1$"


def gsasl(suite, mechanism, user="alice@example.com", password=PASSWORD, authzid="", tls=True, protocol="imap", version=None):
    """GNU SASL as a client of IMAP or (protocol "smtp") of submission: its exit status, and what both said. mechanism: None for its own choice."""
    command = ["gsasl", "--" + protocol, "--connect=127.0.0.1:%d" % suite.port("imap" if protocol == "imap" else "submission"), "--authentication-id=" + user,
               "--authorization-id=" + authzid, "--password=" + password, "--x509-ca-file="]
    command += ["--starttls"] if tls else ["--no-starttls"]
    if version:
        command.append("--priority=NORMAL:-VERS-ALL:+VERS-TLS" + version)
    if mechanism:
        command.append("--mechanism=" + mechanism)
        command += [] if mechanism.endswith("PLUS") else ["--no-cb"]
    r = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    return r.returncode, r.stdout + r.stderr


def base64_words(said):
    """What the lines of a conversation hold when they are decoded."""
    out = []
    for word in re.findall(r"[A-Za-z0-9+/]{8,}={0,2}", said):
        try:
            out.append(base64.b64decode(word + "=" * (-len(word) % 4)).decode("latin-1"))
        except ValueError:
            pass
    return "\n".join(out)


def hashed(kind):
    """By the C library's own crypt(3), which knows no Argon2."""
    if kind == "argon2":
        return CHEAP_HASH
    code = "import ctypes, sys; c = ctypes.CDLL('libcrypt.so.1').crypt; c.restype = ctypes.c_char_p; print(c(sys.argv[1].encode(), sys.argv[2].encode()).decode())"
    return subprocess.run(["/usr/bin/python3", "-c", code, PASSWORD, IMPORTED[kind]], capture_output=True, text=True, check=True).stdout.strip()


def exported(suite, address):
    return next(line for line in suite.mw("directory", "export").stdout.splitlines() if line.startswith("account %s " % address))


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_gnu_sasl_logs_in(suite, mechanism):
    code, said = gsasl(suite, mechanism)
    assert code == 0 and "OK Logged out" in said, said
    code, said = gsasl(suite, mechanism, password="wrong horse")
    assert code != 0 and "NO [AUTHENTICATIONFAILED]" in said, said
    code, said = gsasl(suite, mechanism, user="nobody-%s@example.com" % mechanism.lower())
    assert code != 0 and "NO [AUTHENTICATIONFAILED] User name or password is wrong" in said, said


@pytest.mark.parametrize("protocol", ["imap", "smtp"])
@pytest.mark.parametrize("version, binding", [("1.3", "tls-exporter"), ("1.2", "tls-unique")])
@pytest.mark.parametrize("mechanism", [None, *MECHANISMS[:2]])
def test_gnu_sasl_is_bound_to_the_channel(suite, account, mechanism, version, binding, protocol):
    """Also when it may choose among what is offered; the log tells which TLS it was. The account has no other log-in whose line might come late."""
    user = account + "@example.com"
    code, said = gsasl(suite, mechanism, user=user, protocol=protocol, version=version)
    assert code == 0, said
    assert binding in base64_words(said) and (mechanism or "SCRAM-SHA-256-PLUS") in said, said
    event = r"%s_login user=%s .*tls=TLSv%s mechanism=%s\n" % (protocol, user, re.escape(version), mechanism or "SCRAM-SHA-256-PLUS")
    until(lambda: re.search(event, suite.log()))


@pytest.mark.parametrize("mechanism", [*MECHANISMS, "login-command"])
def test_the_log_says_by_what(suite, mechanism, account):
    """Of a login that succeeded; the line of one that failed is promised to stay as it is."""
    address = account + "@example.com"
    for password in ("wrong horse", PASSWORD):
        if mechanism == "login-command":
            suite.imap(login=False).run('LOGIN %s "%s"' % (address, password))
        else:
            gsasl(suite, mechanism, user=address, password=password)
    reason = "proof" if "SCRAM" in mechanism else "password"
    suite.until_logged("auth_failed user=%s service=imap rip=127.0.0.1 reason=%s\n" % (address, reason))
    suite.until_logged("auth_ok user=%s service=imap rip=127.0.0.1 mechanism=%s\n" % (address, mechanism))
    suite.until_logged("imap_login user=%s rip=127.0.0.1 tls=%s mechanism=%s\n" % (address, "no" if mechanism == "login-command" else "TLSv1.3", mechanism))


NO_EXTENDED_MASTER_SECRET = 1  # SSL_OP_NO_EXTENDED_MASTER_SECRET, which Python's ssl has no name for


def over_tls_12(suite, options=0, session=None, context=None):
    """An IMAP connection over TLS 1.2."""
    context = context or tls_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.options |= options
    c = suite.imap(login=False)
    c.ok("STARTTLS")
    c.start_tls(context, session)
    return c


def test_tls_unique(suite):
    """Over TLS 1.2: of a new session, of one that is taken up again, and not of another connection's."""
    context = tls_context()
    first = over_tls_12(suite, context=context)
    unique = first.sock.get_channel_binding("tls-unique")
    exchange = Scram(suite, "alice@example.com", first, "p=tls-unique,,", unique)
    assert exchange.proof().startswith(b"+ ") and exchange.say(b"").startswith(b"a OK")
    again = over_tls_12(suite, session=first.sock.session, context=context)
    assert again.sock.session_reused and again.sock.get_channel_binding("tls-unique") != unique
    assert Scram(suite, "alice@example.com", again, "p=tls-unique,,", unique).proof().startswith(b"a NO [AUTHENTICATIONFAILED]")
    exchange = Scram(suite, "alice@example.com", again, "p=tls-unique,,", again.sock.get_channel_binding("tls-unique"))
    assert exchange.proof().startswith(b"+ ") and exchange.say(b"").startswith(b"a OK")


@pytest.mark.parametrize("version", ["1.3", "1.2"])
def test_tls_server_end_point(suite, version):
    """RFC 5929 section 4: bound to the certificate that this server shows, and to no other."""
    if version == "1.2":
        c = over_tls_12(suite)
    else:
        c = suite.imap(login=False, tls=True)
    shown = hashlib.sha256(c.sock.getpeercert(binary_form=True)).digest()
    other = hashlib.sha256(shown).digest()
    assert Scram(suite, "alice@example.com", c, "p=tls-server-end-point,,", other).proof().startswith(b"a NO [AUTHENTICATIONFAILED]")
    exchange = Scram(suite, "alice@example.com", c, "p=tls-server-end-point,,", shown)
    assert exchange.proof().startswith(b"+ ") and exchange.say(b"").startswith(b"a OK")


def test_plus_is_offered_where_clients_can_bind(suite):
    """Not over TLS 1.2 without an extended master secret (RFC 7627): and whoever says that it was not offered is right."""
    c = over_tls_12(suite, NO_EXTENDED_MASTER_SECRET)
    offers = b" ".join(c.run("CAPABILITY")[0])
    assert b"AUTH=SCRAM-SHA-256 " in offers and b"PLUS" not in offers
    assert Scram(suite, "alice@example.com", c, "p=tls-unique,,", c.sock.get_channel_binding("tls-unique")).answer.startswith(b"a NO [CANNOT]")
    exchange = Scram(suite, "alice@example.com", c, "y,,")
    assert exchange.proof().startswith(b"+ ") and exchange.say(b"").startswith(b"a OK")
    smtp = smtplib.SMTP("127.0.0.1", suite.port("submission"))
    context = tls_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.options |= NO_EXTENDED_MASTER_SECRET
    smtp.starttls(context=context)
    smtp.ehlo()
    assert smtp.esmtp_features["auth"].split() == ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"]
    assert smtp.docmd("AUTH SCRAM-SHA-256 " + base64.b64encode(b"y,,n=alice@example.com,r=abcdefgh").decode())[0] == 334
    smtp.close()


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "PLAIN"])
def test_nobody_acts_for_another(suite, mechanism):
    assert gsasl(suite, mechanism, authzid="alice@EXAMPLE.com")[0] == 0
    code, said = gsasl(suite, mechanism, authzid="carol@example.com")
    assert code != 0 and "NO [AUTHENTICATIONFAILED]" in said, said


def test_without_tls_nothing_is_bound(suite):
    assert gsasl(suite, "SCRAM-SHA-256", tls=False)[0] == 0
    c = suite.imap(login=False)
    assert c.run("AUTHENTICATE SCRAM-SHA-256-PLUS")[1].startswith(b"NO [CANNOT]")
    offers = next(line for line in c.run("CAPABILITY")[0] if b"AUTH=" in line)
    assert b"PLUS" not in offers and b"AUTH=SCRAM-SHA-256 " in offers


def test_a_client_that_was_not_shown_plus_is_warned(suite):
    """RFC 5802 section 6: with "y" it says that it could bind to the channel and was not offered that. Over TLS it was."""
    for tls in (None, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        c = suite.imap(login=False)
        if tls:
            context = tls_context()
            context.maximum_version = tls
            c.ok("STARTTLS")
            c.start_tls(context)
        first = base64.b64encode(b"y,,n=alice@example.com,r=abcdefgh").decode()
        c.send("a AUTHENTICATE SCRAM-SHA-256 %s\r\n" % first)
        line = c.line()
        assert line.startswith(b"a NO [AUTHENTICATIONFAILED]") if tls else line.startswith(b"+ "), line


def test_the_configuration_says_which_are_offered(fresh):
    """At the top level for every service, in a listen block for its port; what is not offered is not taken either."""
    suite = fresh(conf_lines=["sasl-mechanisms \"SCRAM-SHA-256 PLAIN\""])
    suite.add_cheap("alice")

    def offers():
        smtp = smtplib.SMTP("127.0.0.1", suite.port("submission"))
        smtp.starttls(context=tls_context())
        smtp.ehlo()
        c = suite.imap(login=False)
        c.ok("STARTTLS")
        c.start_tls()
        words = b" ".join(c.run("CAPABILITY")[0]).decode().split()
        return smtp, smtp.esmtp_features.get("auth", "").split(), c, [w[5:] for w in words if w.startswith("AUTH=")], "LOGINDISABLED" in words

    smtp, of_smtp, c, of_imap, disabled = offers()
    assert of_smtp == of_imap == ["SCRAM-SHA-256", "PLAIN"] and not disabled
    assert smtp.docmd("AUTH LOGIN")[0] == 504 and c.run("AUTHENTICATE LOGIN")[1].startswith(b"NO [CANNOT]")
    # Nobody was told of -PLUS: "y" is no lie.
    assert smtp.docmd("AUTH SCRAM-SHA-256 " + base64.b64encode(b"y,,n=alice@example.com,r=abcdefgh").decode())[0] == 334
    assert c.run('LOGIN alice@example.com "%s"' % PASSWORD)[1].startswith(b"OK")
    with_conf(suite, lambda text: re.sub(r"(listen imap on [^{]*{)", r"\1\n\tsasl-mechanisms LOGIN\n", text).replace('"SCRAM-SHA-256 PLAIN"', "EXTERNAL"))
    suite.mw("reload")
    smtp, of_smtp, c, of_imap, disabled = offers()
    assert of_smtp == [] and "auth" not in smtp.esmtp_features and of_imap == ["LOGIN"] and disabled
    assert smtp.docmd("AUTH PLAIN")[0] == 504
    assert c.run('LOGIN alice@example.com "%s"' % PASSWORD)[1].startswith(b"NO [CANNOT]")
    assert c.run("AUTHENTICATE PLAIN")[1].startswith(b"NO [CANNOT]")
    c.send("a AUTHENTICATE LOGIN\r\n")
    for said in (b"alice@example.com", PASSWORD.encode()):
        assert c.line().startswith(b"+ ")
        c.send(base64.b64encode(said) + b"\r\n")
    assert c.line().startswith(b"a OK")
    with_conf(suite, lambda text: text.replace("sasl-mechanisms EXTERNAL", "sasl-mechanisms CRAM-MD5"))
    assert "'CRAM-MD5' is none of: EXTERNAL" in suite.mw("reload", check=False).stderr
    with_conf(suite, lambda text: text.replace("sasl-mechanisms CRAM-MD5\n", ""))
    said = suite.mw("config", "explain", "sasl-mechanisms").stdout
    assert "Items with blanks between them, of: EXTERNAL | SCRAM-SHA-256-PLUS" in said, said


def test_imaplib_and_curl(suite):
    c = imaplib.IMAP4("127.0.0.1", suite.port("imap"))
    assert c.authenticate("PLAIN", lambda _: ("\0alice@example.com\0" + PASSWORD).encode())[0] == "OK"
    c.logout()
    c = imaplib.IMAP4("127.0.0.1", suite.port("imap"))
    words = iter([b"alice@example.com", PASSWORD.encode()])
    assert c.authenticate("LOGIN", lambda _: next(words))[0] == "OK"
    c.logout()
    for mechanism in ("PLAIN", "LOGIN", "SCRAM-SHA-1", "SCRAM-SHA-256"):
        r = subprocess.run(["curl", "-sSk", "--url", "imaps://127.0.0.1:%d/" % suite.port("imaps"), "-u", "alice@example.com:" + PASSWORD,
                            "--login-options", "AUTH=" + mechanism], capture_output=True, text=True, timeout=30)
        # Debian's curl is built without GNU SASL: it has no SCRAM, and says so.
        assert r.returncode == 0 or ("SCRAM" in mechanism and "SCRAM" not in subprocess.run(["curl", "-V"], capture_output=True, text=True).stdout), r.stderr


def test_the_unknown_have_salts_of_their_own(suite):
    """The same one each time, as an account has: who guesses names learns nothing."""

    def salt(user):
        c = suite.imap(login=False)
        c.send("a AUTHENTICATE SCRAM-SHA-256 %s\r\n" % base64.b64encode(b"n,,n=%s,r=abc" % user).decode())
        return re.search(rb",s=([^,]+),i=(\d+)", base64.b64decode(c.line()[2:])).groups()

    assert salt(b"unknown@example.com") == salt(b"unknown@example.com") != salt(b"unknown2@example.com")
    assert salt(b"unknown@example.com")[1] == salt(b"alice@example.com")[1]


@pytest.mark.parametrize("asked", ["i=1", "i=2147483648", "i=0", "i=-1"])
def test_the_client_does_not_choose_how_often_is_hashed(suite, asked):
    """What it puts behind its first message is no count, and its last message has no place for one."""
    suite.add_cheap("counted")
    stored = re.search(r"SCRAM-SHA-256\$(\d+):", exported(suite, "counted@example.com")).group(1)
    c = suite.imap(login=False)
    c.send("a AUTHENTICATE SCRAM-SHA-256 %s\r\n" % base64.b64encode(b"n,,n=counted@example.com,r=abc," + asked.encode()).decode())
    line = c.line()
    first = base64.b64decode(line[2:]).decode() if line.startswith(b"+ ") else None
    assert line.startswith(b"a NO") or re.fullmatch(r"r=abc[^,]+,s=[^,]+,i=" + stored, first), line
    if first:
        c.send(base64.b64encode(("c=biws,%s,%s,p=AAAA" % (first.split(",")[0], asked)).encode()) + b"\r\n")
        assert c.line().startswith(b"a NO [AUTHENTICATIONFAILED]")
    text = exported(suite, "counted@example.com")
    for count in ("1", "0", "2147483648", "4294967296"):
        changed = re.sub(r"(SCRAM-SHA-256\$)\d+:", r"\g<1>%s:" % count, text)
        assert changed != text and suite.mw("directory", "import", "-", input=changed + "\n", check=False).returncode != 0, count
    assert exported(suite, "counted@example.com") == text


class Scram:
    """An exchange by hand, so that something can happen within it."""

    def __init__(self, suite, user, c=None, header="n,,", binding=b""):
        self.c = c or suite.imap(login=False)
        bare = "n=%s,r=abc" % user
        self.binding = base64.b64encode(header.encode() + binding).decode()
        self.c.send("a AUTHENTICATE SCRAM-SHA-256%s %s\r\n" % ("-PLUS" if header.startswith("p=") else "", base64.b64encode((header + bare).encode()).decode()))
        self.answer = self.c.line()
        if self.answer.startswith(b"+ "):
            self.said = bare + "," + base64.b64decode(self.answer[2:]).decode()

    def proof(self):
        """Sends it; what the server says."""
        nonce, salt, count = re.search(r"(r=abc[^,]+),s=([^,]+),i=(\d+)$", self.said).groups()
        key = hmac.digest(hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), base64.b64decode(salt), int(count)), b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(key).digest(), ("%s,c=%s,%s" % (self.said, self.binding, nonce)).encode(), "sha256")
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature))).decode()
        return self.say(("c=%s,%s,p=%s" % (self.binding, nonce, proof)).encode())

    def say(self, text):
        self.c.send(base64.b64encode(text) + b"\r\n")
        return self.c.line()


@pytest.mark.parametrize("change", ["", "passwd --password-stdin", "disable", "remove"])
@pytest.mark.parametrize("when", ["before the proof", "behind it"])
def test_what_is_taken_from_a_client_within_an_exchange(suite, change, when):
    """It chooses when the exchange goes on; what it began with does not hold."""
    address = "within-%s-%s@example.com" % (change[:6] or "none", when[:6])
    suite.add_cheap(address.split("@")[0])
    exchange = Scram(suite, address)
    answer = exchange.proof() if when == "behind it" else None
    if change:
        verb, *options = change.split()
        suite.mw("account", verb, address, *options, input="another horse\n")
    answer = answer or exchange.proof()
    if answer.startswith(b"+ "):  # the server's own proof
        answer = exchange.say(b"")
    assert answer.startswith(b"a NO [AUTHENTICATIONFAILED]" if change else b"a OK"), answer


PASSWORDS = {
    "NUL quoted": b'"a\0b"', "NUL": b"{3+}\r\na\0b", "right one and NUL": b"{%d+}\r\n%s\0" % (len(PASSWORD) + 1, PASSWORD.encode()), "no UTF-8": b"{2+}\r\n\xff\xfe", "overlong UTF-8": b"{2+}\r\n\xc0\x80",
    "surrogate": b"{3+}\r\n\xed\xa0\x80", "1025 octets": b"{1025+}\r\n" + b"p" * 1025, "nothing": b'""',
}


@pytest.mark.parametrize("what", PASSWORDS)
def test_passwords_that_are_none(suite, what):
    c = suite.imap(login=False)
    c.send(b"a LOGIN alice@example.com " + PASSWORDS[what] + b"\r\n")
    assert re.match(rb"a (NO|BAD)", c.line())
    c.ok('LOGIN alice@example.com "%s"' % PASSWORD)


@pytest.mark.parametrize("form", ["{1048576}", "{1048576+}", "quoted"])
def test_a_password_of_a_megabyte(suite, form):
    c = suite.imap(login=False)
    c.send(b"a LOGIN alice@example.com " + (b'"' if form == "quoted" else form.encode() + b"\r\n"))
    try:
        if form != "{1048576}":  # that one is not asked for
            c.send(b"p" * 1048576 + (b'"' if form == "quoted" else b"") + b"\r\n")
    except OSError:
        pass  # it may be closed before all of it is sent
    assert c.line().startswith(b"* BYE") and c.at_end()
    suite.imap("alice").ok("NOOP")


@pytest.mark.parametrize("kind", IMPORTED)
def test_an_imported_hash_is_replaced_at_the_login(suite, kind):
    address = "imported-%s@example.com" % kind
    suite.mw("directory", "import", "-", input="account %s hash=%s\n" % (address, hashed(kind)))
    assert " hash=" + IMPORTED[kind] in exported(suite, address)
    c = suite.imap(login=False)
    assert c.run('LOGIN %s "wrong"' % address)[1].startswith(b"NO [AUTHENTICATIONFAILED]")
    assert " hash=" + IMPORTED[kind] in exported(suite, address)
    assert c.run('LOGIN %s "%s"' % (address, PASSWORD))[1].startswith(b"OK")
    line = exported(suite, address)
    assert OURS in line and "scram=SCRAM-SHA-1$" in line and "scram=SCRAM-SHA-256$" in line
    # Only now are there keys that a proof can be checked with.
    assert gsasl(suite, "SCRAM-SHA-256-PLUS", user=address)[0] == 0


COMPOSED, DECOMPOSED = "p\u00e4ss word", "pa\u0308ss word"  # the same to who types it; keyboards differ
# Of DECOMPOSED: by crypt(3); and by libsodium, with today's costs, of the octets as they are.
OF_OCTETS = {"md5": "$1$saltsalt$BjWjy/zp34b9igYHgoOMF0", "argon2": "$argon2id$v=19$m=65536,t=2,p=1$WkGGA0cByvTcQmiGVR7IgA$IgHJR4Fo3ZdgWKq+80HmLw7kTfxHh9Y/hjA/INMebLk"}


def logs_in(suite, address, password):
    c = suite.imap(login=False)
    c.send(b"a AUTHENTICATE PLAIN " + base64.b64encode(b"\0" + address.encode() + b"\0" + password.encode()) + b"\r\n")
    return c.line().startswith(b"a OK")


def test_a_password_is_the_same_however_it_is_typed(suite):
    """SASLprep (RFC 4013) for PLAIN (RFC 4616 section 2), as it is for SCRAM."""
    for name, password in (("composed", COMPOSED), ("decomposed", DECOMPOSED)):
        address = name + "@example.com"
        suite.mw("account", "add", address, "--password-stdin", input=password + "\n")
        before = exported(suite, address)
        for typed in (COMPOSED, DECOMPOSED):
            assert logs_in(suite, address, typed) and gsasl(suite, "SCRAM-SHA-256", user=address, password=typed)[0] == 0
        assert not logs_in(suite, address, "pass word")
        assert exported(suite, address) == before


@pytest.mark.parametrize("kind", OF_OCTETS)
def test_an_imported_hash_is_of_the_octets_that_were_typed(suite, kind):
    """And one of ours takes its place."""
    address = "typed-%s@example.com" % kind
    suite.mw("directory", "import", "-", input="account %s hash=%s\n" % (address, OF_OCTETS[kind]))
    assert not logs_in(suite, address, COMPOSED)
    assert logs_in(suite, address, DECOMPOSED)
    line = exported(suite, address)
    assert OURS in line and OF_OCTETS[kind] not in line
    assert logs_in(suite, address, COMPOSED) and logs_in(suite, address, DECOMPOSED)
    assert exported(suite, address) == line


@pytest.mark.parametrize("setting", ["$6$rounds=5000000$saltsalt$", "$2b$16$abcdefghijklmnopqrstuu", "$y$jFT$F5Jx5fExrKuPp53xLKQ..1$", "$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$"])
def test_a_hash_that_costs_too_much_is_not_imported(suite, setting):
    r = suite.mw("directory", "import", "-", input="domain example.com\naccount dear@example.com hash=%s%s\n" % (setting, "x" * 43), check=False)
    assert r.returncode == 65 and "line 2: the hash of dear@example.com costs a log-in more than 1.0 s or 256 MiB" in r.stderr and "nothing was changed" in r.stderr, r.stderr
    assert "dear@example.com" not in suite.mw("directory", "export").stdout


def test_a_hash_too_dear_is_refused_as_a_wrong_password_is(suite):
    """As one in a directory from before there was a limit: nothing of it is computed, nobody can tell it from no account at all, and the log says why."""
    suite.mw("directory", "import", "-", input="account dear@example.com hash=$6$rounds=800000$saltsalt$%s\n" % ("x" * 86))
    c = suite.imap(login=False)
    costs = []
    while not costs or (costs[-1] >= 0.8 and len(costs) < 3):  # other work on the machine may make it dear, but not each time
        before = cpu(suite, "auth")
        answers = [c.run('LOGIN %s@example.com "%s"' % (name, "x" * 500))[1] for name in ("dear", "no-such-one")]
        costs.append(cpu(suite, "auth") - before)
        assert answers[0] == answers[1] and answers[0].startswith(b"NO [AUTHENTICATIONFAILED] "), answers
    assert costs[-1] < 0.8, costs
    suite.until_logged("auth_failed user=dear@example.com service=imap rip=127.0.0.1 reason=hash-cost")
    suite.mw("account", "passwd", "dear@example.com", "--password-stdin", input=PASSWORD + "\n")
    assert c.run('LOGIN dear@example.com "%s"' % PASSWORD)[1].startswith(b"OK")


def test_credentials_come_back_with_an_import(fresh):
    suite = fresh()
    suite.add("alice")
    text = suite.mw("directory", "export").stdout
    suite.mw("account", "remove", "alice@example.com")
    suite.mw("directory", "import", "-", input=text)
    assert suite.mw("directory", "export").stdout == text
    assert gsasl(suite, "SCRAM-SHA-256")[0] == 0
    assert gsasl(suite, "PLAIN")[0] == 0
    assert "is not understood" in suite.mw("directory", "import", "-", input="account x@example.com hash=plain\n", check=False).stderr
    assert "is not understood" in suite.mw("directory", "import", "-", input="account x@example.com scram=SCRAM-SHA-1$1:x$y:z\n", check=False).stderr


def test_who_leaves_in_the_middle_costs_nothing(suite):
    for _ in range(3):
        c = suite.imap(login=False)
        c.send("a AUTHENTICATE SCRAM-SHA-256 %s\r\n" % base64.b64encode(b"n,,n=alice@example.com,r=abc").decode())
        assert c.line().startswith(b"+ ")
        c.close()
    until(lambda: [r["connections"] for r in suite.rows("status") if r["name"] == "imapd"] == [0], what="the front keeps connections")
    assert gsasl(suite, "SCRAM-SHA-256")[0] == 0


@pytest.mark.alone
def test_thousands_who_never_answer(fresh):
    """More exchanges than auth keeps (4096): the oldest go, whoever means it gets in, and who went is told to try again."""
    suite = fresh(conf_lines=["connections-per-address 5000", "login-timeout 10m"])
    suite.add("alice")
    first = base64.b64encode(b"n,,n=alice@example.com,r=abc").decode()
    dawdlers = []
    for _ in range(4200):
        c = suite.imap(login=False)
        c.send("a AUTHENTICATE SCRAM-SHA-256 %s\r\n" % first)
        dawdlers.append(c)
    for c in dawdlers:
        assert c.line().startswith(b"+ ")
    assert gsasl(suite, "SCRAM-SHA-256-PLUS")[0] == 0
    assert suite.imap("alice").run("NOOP")[1].startswith(b"OK")
    dawdlers[0].send(base64.b64encode(b"c=biws,r=abc,p=AAAA").decode() + "\r\n")
    assert dawdlers[0].line().startswith(b"a NO [UNAVAILABLE]")
    dawdlers[-1].send(base64.b64encode(b"c=biws,r=abc,p=AAAA").decode() + "\r\n")
    assert dawdlers[-1].line().startswith(b"a NO [AUTHENTICATIONFAILED]")
    for c in dawdlers:
        c.close()


# ---- EXTERNAL: a certificate in place of a password ----


@pytest.fixture(scope="module")
def certified():
    """Asks clients for certificates of an authority of its own; alice has one, and so has somebody without an account."""
    suite = Instance(conf_lines=["tls-client-authorities ca.pem"])
    etc = os.path.join(suite.root, "etc")
    issued(etc, "alice", "alice", email="alice@example.com")
    issued(etc, "nobody", "nobody", email="nobody@example.com")
    issued(etc, "host", "host")
    make(etc, "stranger", stem="stranger")
    with suite.running("alice", "carol"):
        yield suite


def shown(suite, stem):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if stem:
        context.load_cert_chain(*("%s/etc/%s.%s" % (suite.root, stem, end) for end in ("pem", "key")))
    return context


@pytest.mark.parametrize("stem,offered", [("alice", True), ("nobody", True), ("host", False), ("stranger", False), (None, False)])
def test_external_is_for_who_has_a_certificate(certified, stem, offered):
    imap = imaplib.IMAP4("127.0.0.1", certified.port("imap"))
    imap.starttls(shown(certified, stem))
    assert ("AUTH=EXTERNAL" in imap.capabilities) == offered
    smtp = smtplib.SMTP_SSL("127.0.0.1", certified.port("submissions"), context=shown(certified, stem))
    smtp.ehlo()
    assert ("EXTERNAL" in smtp.esmtp_features["auth"]) == offered
    try:
        worked = imap.authenticate("EXTERNAL", lambda _: b"")[0] == "OK"
    except imaplib.IMAP4.error as e:
        worked = False
        assert "AUTHENTICATIONFAILED" in str(e) or "CANNOT" in str(e)
    assert worked == (stem == "alice")
    code, _ = smtp.docmd("AUTH EXTERNAL =")
    assert code == (235 if stem == "alice" else 535 if offered else 504)
    if stem == "alice":
        assert smtp.docmd("MAIL FROM:<alice@example.com>")[0] == 250
    else:
        imap.login("carol@example.com", PASSWORD)  # a password still is one
    imap.logout()
    smtp.close()


def test_a_certificate_is_for_its_own_account_alone(certified):
    for authzid, code in (("alice@example.com", 235), ("Alice@Example.com", 235), ("carol@example.com", 535)):
        smtp = smtplib.SMTP_SSL("127.0.0.1", certified.port("submissions"), context=shown(certified, "alice"))
        smtp.ehlo()
        assert smtp.docmd("AUTH EXTERNAL " + base64.b64encode(authzid.encode()).decode())[0] == code
        smtp.close()
    certified.mw("account", "disable", "alice@example.com")
    smtp = smtplib.SMTP_SSL("127.0.0.1", certified.port("submissions"), context=shown(certified, "alice"))
    smtp.ehlo()
    assert smtp.docmd("AUTH EXTERNAL =")[0] == 535
    smtp.close()
    certified.mw("account", "enable", "alice@example.com")


@pytest.fixture
def revoking():
    """The same with a list of revoked certificates, on which nobody is yet."""
    suite = Instance(conf_lines=["tls-client-authorities ca.pem", "tls-client-revocations crl.pem"])
    etc = os.path.join(suite.root, "etc")
    for name in "alice", "bob":
        issued(etc, name, name, email=name + "@example.com")
    revocations(etc)
    with suite.running():
        suite.add_cheap("alice", "bob")
        yield suite


def external(suite, context, session=None):
    """(whether its certificate opens a mailbox, its TLS session, whether that was taken up again)"""
    with context.wrap_socket(socket.create_connection(("127.0.0.1", suite.port("imaps")), timeout=TIMEOUT), session=session) as tls:
        lines = tls.makefile("rwb")
        assert lines.readline().startswith(b"* OK")
        lines.write(b"a AUTHENTICATE EXTERNAL =\r\n")
        lines.flush()
        answer = next(line for line in lines if line.startswith(b"a "))
        return answer.startswith(b"a OK"), tls.session, tls.session_reused


def test_a_revoked_certificate_opens_no_mailbox(revoking):
    suite, etc = revoking, os.path.join(revoking.root, "etc")
    alice, bob = shown(suite, "alice"), shown(suite, "bob")
    worked, session, _ = external(suite, alice)
    assert worked and external(suite, bob)[0]
    assert external(suite, alice, session)[::2] == (True, True)
    revocations(etc, "alice")
    suite.mw("reload")
    assert not external(suite, alice)[0] and external(suite, bob)[0]
    assert external(suite, alice, session)[::2] == (False, False), "nor by a session of before"
    smtp = smtplib.SMTP_SSL("127.0.0.1", suite.port("submissions"), context=alice)
    smtp.ehlo()
    assert "EXTERNAL" not in smtp.esmtp_features["auth"]
    smtp.login("alice@example.com", PASSWORD)  # it is the certificate that is revoked
    smtp.close()


def test_a_list_that_is_out_of_date_lets_nobody_in_by_certificate(revoking):
    suite, etc = revoking, os.path.join(revoking.root, "etc")
    assert suite.mw("config", "check").stderr == ""
    revocations(etc, ends="20200102000000Z")
    assert "a list of tls-client-revocations is out of date since 2020-01-02" in suite.mw("config", "check").stderr
    suite.mw("reload")
    assert not external(suite, shown(suite, "bob"))[0]
    suite.until_logged("tls_revocations_old ended=2020-01-02")
    revocations(etc)
    suite.mw("reload")
    assert external(suite, shown(suite, "bob"))[0]


def told_of_lists(suite):
    return re.findall(r" imapd\[\d+\] warn: tls_revocations_old (\S+)", suite.log())


def test_who_is_refused_for_a_list_is_in_the_log_once_a_day(revoking):
    suite, etc = revoking, os.path.join(revoking.root, "etc")
    before = []

    def told(line):
        """Of three that are refused."""
        for _ in range(3):
            assert not external(suite, shown(suite, "bob"))[0]
        until(lambda: told_of_lists(suite)[len(before):], what="the log does not tell")
        assert told_of_lists(suite)[len(before):] == [line]

    revocations(etc, begins="20980102000000Z", ends="20990102000000Z")
    suite.mw("reload")
    assert not external(suite, shown(suite, None))[0] and not told_of_lists(suite), "nobody has shown a certificate"
    told("begins=2098-01-02")
    revocations(etc, ends="20200102000000Z")
    suite.mw("reload")
    until(lambda: "ended=2020-01-02" in told_of_lists(suite), what="the log does not tell of what was read")
    before = told_of_lists(suite)
    told("ended=2020-01-02")
    before = told_of_lists(suite)
    revocations(etc, "bob")
    suite.mw("reload")
    assert not external(suite, shown(suite, "bob"))[0] and told_of_lists(suite) == before, "that list is good, and has him"


def test_errors_of_lists(revoking):
    suite, etc = revoking, os.path.join(revoking.root, "etc")

    def refused(text, words):
        with open(etc + "/crl.pem", "w") as f:
            f.write(text)
        for verb in ["config", "check"], ["reload"]:
            r = suite.mw(*verb, check=False)
            assert r.returncode == 78 and "mailwain.conf:" in r.stderr and words in r.stderr, r.stderr

    with open(etc + "/crl.pem") as f:
        right = f.read()
    os.mkdir(etc + "/other")
    issued(etc + "/other", "x")
    revocations(etc + "/other")
    with open(etc + "/other/crl.pem") as f:
        namesake = f.read()
    make(etc, "Another", stem="another")
    refused("nothing", "tls-client-revocations has no PEM revocation list")
    refused(right + right.replace("M", "!", 1), "tls-client-revocations: a list in the file is damaged")
    refused(right + namesake, "tls-client-revocations: the list of /CN=Test Authority was signed by none of tls-client-authorities")
    with open(etc + "/ca.pem", "a") as f, open(etc + "/another.pem") as another:
        f.write(another.read())
    refused(right, "tls-client-revocations has no list of /CN=Another, which is one of tls-client-authorities")
    with open(suite.conf) as f:
        conf = f.read()
    with open(suite.conf, "w") as f:
        f.write(conf.replace("tls-client-authorities ca.pem", ""))
    refused(right, "tls-client-revocations is of no use without tls-client-authorities")
    assert external(suite, shown(suite, "bob"))[0], "nothing of it was taken over"
