"""Bearer tokens (RFC 7628, XOAUTH2): by a key set and by introspection, with clients that are not ours, and tokens that are not good."""
import base64
import hashlib
import hmac
import imaplib
import json
import os
import select
import signal
import smtplib
import subprocess
import threading
import time
import urllib.parse

import pytest

from idp import CLIENT, ISSUER, Provider, b64, claims, token
from mailwain import Instance, until
from test_keys import memory_of

ALICE = "alice@example.com"


@pytest.fixture(scope="module")
def provider():
    with Provider() as p:
        p.keys = [p.key(a, a.lower()) for a in ("RS256", "PS256", "ES256", "EdDSA")]
        yield p


@pytest.fixture(scope="module")
def by_keys(provider):
    with Instance(provider.with_keys() + ["oauth-scope mail"]).running("alice", "dave") as i:
        i.mw("account", "disable", "dave@example.com")
        yield i


@pytest.fixture(scope="module")
def by_introspection(provider):
    with Instance(provider.with_introspection()).running("alice") as i:
        yield i


def first(mechanism, user, text):
    if mechanism == "XOAUTH2":
        return ("user=%s\1auth=Bearer %s\1\1" % (user, text)).encode()
    return ("n,%s,\1host=mail.example.com\1port=993\1auth=Bearer %s\1\1" % ("a=" + user if user else "", text)).encode()


def imap(suite, text, user=ALICE, mechanism="OAUTHBEARER"):
    """("OK", "") or ("NO", the challenge, the words of the refusal)."""
    c = suite.imap(login=False, tls=True)
    c.send("a AUTHENTICATE %s %s\r\n" % (mechanism, base64.b64encode(first(mechanism, user, text)).decode()))
    line, challenge = c.line(), ""
    if line.startswith(b"+ "):
        challenge = base64.b64decode(line[2:]).decode()
        c.send(base64.b64encode(b"\1") + b"\r\n")
        line = c.line()
    c.close()
    return line.decode(), challenge


def refused(suite, text, reason, **more):
    """With the failure that every refusal is, and the reason in the log alone."""
    said = "reason=%s" % reason
    before = suite.log().count(said)
    line, challenge = imap(suite, text, **more)
    assert line.startswith("a NO [AUTHENTICATIONFAILED] User name or password is wrong"), line
    until(lambda: suite.log().count(said) == before + 1, what="it was not for " + reason)
    suite.mw("auth", "failures", "clear")
    return json.loads(challenge)


def accepted(suite, text, **more):
    line, _ = imap(suite, text, **more)
    assert line.startswith("a OK "), line + suite.log()[-600:]


# ---- good tokens, by all algorithms ----


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
def test_each_algorithm(by_keys, provider, which, mechanism):
    accepted(by_keys, token(provider.keys[which], claims(ALICE)), mechanism=mechanism)


def test_the_token_alone_says_who_it_is(by_keys, provider):
    accepted(by_keys, token(provider.keys[0], claims(ALICE)), user="")
    accepted(by_keys, token(provider.keys[0], claims("ALICE@Example.com")), user="alice@EXAMPLE.com")
    accepted(by_keys, token(provider.keys[0], claims(ALICE)), user="alice")


def test_clocks_may_differ(by_keys, provider):
    now = int(time.time())
    accepted(by_keys, token(provider.keys[0], claims(ALICE, exp=now - 20)))
    accepted(by_keys, token(provider.keys[0], claims(ALICE, nbf=now + 20, iat=now + 20)))


def test_a_long_token(by_keys, provider):
    """With what some providers put into them: three quarters of what a login may have."""
    text = token(provider.keys[2], claims(ALICE, groups=["/staff/%04d" % n for n in range(300)]))
    assert 6000 < len(text) < 8000
    accepted(by_keys, text)
    for initial in (True, False):
        s = smtplib.SMTP_SSL("127.0.0.1", by_keys.port("submissions"))
        s.ehlo()
        assert s.auth("XOAUTH2", lambda challenge=None: first("XOAUTH2", ALICE, text).decode() if initial or challenge is not None else None, initial_response_ok=initial)[0] == 235
        s.quit()


# ---- tokens that are not good ----


def test_what_a_token_says_of_itself(by_keys, provider):
    """All cases are in tests/unit/lib/oauth; these are told to a client and written to the log."""
    now, key = int(time.time()), provider.keys[0]
    for reason, more in [
        ("token-expired", {"exp": now - 120}),
        ("token-issuer", {"iss": ISSUER + "/"}),
        ("token-audience", {"aud": "another"}),
        ("token-without-user", {"email_verified": False}),
        ("token-of-another", {"email": "bob@example.com"}),
    ]:
        assert refused(by_keys, token(key, claims(ALICE, **more)), reason)["status"] == "invalid_token"
    challenge = refused(by_keys, token(key, claims(ALICE, scope="openid mailbox")), "token-scope")
    assert challenge == {"status": "insufficient_scope", "scope": "mail", "openid-configuration": ISSUER + "/.well-known/openid-configuration"}
    challenge = refused(by_keys, token(key, claims(ALICE, exp=now - 120)), "token-expired", mechanism="XOAUTH2")
    assert challenge == {"status": "401", "schemes": "bearer", "scope": "mail"}


def test_signatures_that_are_none(by_keys, provider):
    rsa, es = provider.keys[0], provider.keys[2]
    head, body, signature = token(rsa, claims(ALICE)).split(".")
    refused(by_keys, token(None, claims(ALICE)), "token-algorithm")
    refused(by_keys, ".".join([head, token(rsa, claims("bob@example.com")).split(".")[1], signature]), "token-signature")
    # The public key as the shared secret of HS256.
    secret = subprocess.run(["openssl", "pkey", "-in", rsa.path, "-pubout"], capture_output=True, check=True).stdout
    text = b64(json.dumps({"alg": "HS256", "kid": rsa.kid}).encode()) + "." + body
    refused(by_keys, text + "." + b64(hmac.new(secret, text.encode(), hashlib.sha256).digest()), "token-algorithm")
    # The numbers of ECDSA as nulls; a key that the token itself brings.
    refused(by_keys, token(es, claims(ALICE)).rsplit(".", 1)[0] + "." + b64(bytes(64)), "token-signature")
    refused(by_keys, token(provider.key("RS256", "own"), claims(ALICE), kid=rsa.kid, jwk=rsa.jwk()), "token-signature")


def test_what_is_no_token(by_keys):
    for text in ("x", "..", b64(b"[" * 5000) + ".e30.x"):
        refused(by_keys, text, "token-malformed")


def test_accounts_that_are_not_there(by_keys, provider):
    for user, reason in (("nobody@example.com", "unknown-user"), ("dave@example.com", "disabled")):
        assert refused(by_keys, token(provider.keys[0], claims(user)), reason, user=user)["status"] == "invalid_token"
        assert refused(by_keys, token(provider.keys[0], claims(user)), reason, user="")["status"] == "invalid_token"


def test_guesses_are_counted_also_of_those_who_leave(by_keys):
    by_keys.mw("auth", "failures", "clear")
    for _ in range(3):
        c = by_keys.imap(login=False, tls=True)
        c.send("a AUTHENTICATE OAUTHBEARER %s\r\n" % base64.b64encode(first("OAUTHBEARER", ALICE, "x.y.z")).decode())
        assert c.line().startswith(b"+ ")
        c.close()
    rows = by_keys.rows("auth", "failures", "list")
    assert [r["failures"] for r in rows if r["of"] == "pair"] == [3], rows
    by_keys.mw("auth", "failures", "clear")


# ---- keys ----


def test_keys_that_are_changed():
    with Provider() as p:
        p.keys = [p.key("ES256", "old")]
        with Instance(p.with_keys()).running("alice") as i:
            accepted(i, token(p.keys[0], claims(ALICE)))
            accepted(i, token(p.keys[0], claims(ALICE)))
            assert p.count("/jwks") == 1
            old, p.keys = p.keys[0], [p.key("EdDSA", "new")]
            accepted(i, token(p.keys[0], claims(ALICE)))  # an unknown key: so they are asked for
            assert p.count("/jwks") == 2
            refused(i, token(old, claims(ALICE)), "token-unknown-key")
            # Who makes up keys does not make us ask for each.
            for n in range(2):
                refused(i, token(old, claims(ALICE), kid="made-up-%d" % n), "token-unknown-key")
            assert p.count("/jwks") == 3
            accepted(i, token(p.keys[0], claims(ALICE)))


BAD_SETS = {
    "nothing": lambda h: h.answer(b""),
    "text": lambda h: h.answer(b"<html>", kind="text/html"),
    "list": lambda h: h.answer(b"[]"),
    "no keys": lambda h: h.answer(b'{"keys":[]}'),
    "deep": lambda h: h.answer(b'{"keys":' + b"[" * 50000),
    "error": lambda h: h.answer(b"{}", 500),
    "redirect": lambda h: h.answer(b"", 302, Location="/jwks2"),
    "megabyte": lambda h: h.answer(b" " * 1_000_000),
    "weak": lambda h: h.answer(json.dumps({"keys": [{"kty": "RSA", "kid": "rs256", "n": b64(b"\xff" * 64), "e": "AQAB"}]}).encode()),
    "off the curve": lambda h: h.answer(json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "kid": "x", "x": b64(b"\1" * 32), "y": b64(b"\1" * 32)}]}).encode()),
    "secret": lambda h: h.answer(b'{"keys":[{"kty":"oct","kid":"rs256","k":"c2VjcmV0","alg":"HS256"}]}'),
}


@pytest.fixture(scope="module")
def bad_sets():
    with Provider() as p:
        p.keys = [p.key("RS256", "rs256")]
        with Instance(p.with_keys()).running("alice") as i:
            yield p, i


@pytest.mark.parametrize("what", BAD_SETS)
def test_without_keys_nobody_can_say(bad_sets, what):
    p, i = bad_sets
    i.mw("reload")  # all is forgotten
    p.answers["/jwks"] = BAD_SETS[what]
    before = len(i.log())
    line, challenge = imap(i, token(p.keys[0], claims(ALICE)))
    assert line.startswith("a NO [UNAVAILABLE]") and challenge == "", line
    until(lambda: "auth_keys_failed" in i.log()[before:] and "auth_error user=alice@example.com" in i.log()[before:])
    del p.answers["/jwks"]
    accepted(i, token(p.keys[0], claims(ALICE)))
    assert "auth_failed" not in i.log()


def test_a_provider_that_is_away_and_comes_back(provider):
    with Instance(provider.with_keys()).running("alice") as i:
        provider.answers["/jwks"] = lambda h: h.answer(b"", 503)
        for _ in range(4):  # nobody is shut out for it
            assert imap(i, token(provider.keys[0], claims(ALICE)))[0].startswith("a NO [UNAVAILABLE]")
        assert not i.rows("auth", "failures", "list")
        c = i.imap()  # and passwords are as good as before
        c.ok("NOOP")
        del provider.answers["/jwks"]
        i.mw("reload")
        accepted(i, token(provider.keys[0], claims(ALICE)))
        # What is known serves on; and when fetch dies it comes back.
        provider.answers["/jwks"] = lambda h: h.answer(b"", 503)
        accepted(i, token(provider.keys[0], claims(ALICE)))
        del provider.answers["/jwks"]
        pid = i.daemons()["fetch"]
        os.kill(pid, signal.SIGKILL)
        until(lambda: i.daemons().get("fetch") not in (None, 0, pid))  # or master waits for the dead one to take the configuration
        i.mw("reload")
        accepted(i, token(provider.keys[0], claims(ALICE)))


# ---- introspection ----


def test_introspection(by_introspection, provider):
    i, now = by_introspection, int(time.time())
    provider.tokens = {
        "good+/~token": {"active": True, "username": ALICE, "exp": now + 60},
        "sub": {"active": True, "username": "Alice", "sub": ALICE},
        "short": {"active": True, "sub": ALICE, "exp": now - 30},
        "expired": {"active": True, "sub": ALICE, "exp": now - 90},
        "not-active": {"active": False, "sub": ALICE},
        "other": {"active": True, "sub": "bob@example.com"},
        "nobody": {"active": True, "sub": "1234"},
        "not-quite": {"active": "true", "sub": ALICE},
        "number": {"active": 1, "sub": ALICE},
    }
    before = provider.count("/introspect")
    for _ in range(3):
        accepted(i, "good+/~token")
    assert provider.count("/introspect") == before + 1  # it is good for a minute
    accepted(i, "sub", user="")
    accepted(i, "short")
    refused(i, "expired", "token-expired")
    refused(i, "not-active", "token-inactive")
    refused(i, "never-heard-of", "token-inactive")
    refused(i, "other", "token-of-another")
    refused(i, "nobody", "token-without-user")
    for text in ("not-quite", "number"):
        assert imap(i, text)[0].startswith("a NO [UNAVAILABLE]")
    i.mw("reload")
    accepted(i, "good+/~token")
    assert provider.count("/introspect") == before + 11


ANSWERS = {
    "status": lambda h: h.answer(b'{"active":true,"sub":"alice@example.com"}', 500),
    "denied": lambda h: h.answer(b'{"error":"invalid_client"}', 401),
    "redirect": lambda h: h.answer(b"", 307, Location=h.server.owner.url("/introspect2")),
    "text": lambda h: h.answer(b"active: true", kind="text/plain"),
    "deep": lambda h: h.answer(b'{"active":' + b"[" * 50000),
    "megabyte": lambda h: h.answer(b'{"active":true,"sub":"alice@example.com","x":"' + b"x" * 1_000_000 + b'"}'),
    "twice": lambda h: h.answer(b'{"active":false,"active":true,"sub":"alice@example.com"}'),
    "nothing": lambda h: h.answer(b""),
}


@pytest.mark.parametrize("what", ANSWERS)
def test_an_endpoint_that_makes_no_sense(by_introspection, provider, what):
    provider.answers["/introspect"] = ANSWERS[what]
    try:
        line, challenge = imap(by_introspection, "t-" + what)
    finally:
        del provider.answers["/introspect"]
    assert line.startswith("a NO [UNAVAILABLE]") and challenge == "", line
    assert provider.count("/introspect2") == 0
    until(lambda: 'error="identity provider: ' in by_introspection.log())


def test_as_many_as_come_at_once_from_where_the_account_is_known(by_introspection, provider):
    """More than the thirty wrong checks that a known address has in a minute."""
    i, count, ended = by_introspection, 31, threading.Event()
    i.imap(tls=True).close()  # now it is known
    provider.tokens = {"at-once-%d" % n: {"active": True, "sub": ALICE} for n in range(count)}
    introspect, before = provider.introspect, provider.count("/introspect")
    provider.introspect = lambda handler, text: (provider.requests.append(handler.path), ended.wait(60), introspect(handler, text))
    *clients, other = [i.imap(login=False, tls=True) for _ in range(count + 1)]
    try:
        for n, c in enumerate(clients):
            c.send("a AUTHENTICATE XOAUTH2 %s\r\n" % base64.b64encode(first("XOAUTH2", ALICE, "at-once-%d" % n)).decode())
        until(lambda: provider.count("/introspect") > before, what="no token is asked about")
        other.no('LOGIN nobody@example.com "guess"')  # auth has heard of all of them
    finally:
        del provider.introspect
        ended.set()
    lines = [c.line() for c in clients]
    assert not [line for line in lines if b"Too many failed" in line], "those that the provider was too slow for are told something else"
    assert [line for line in lines if line.startswith(b"a OK")]
    for c in clients + [other]:
        c.close()
    i.mw("auth", "failures", "clear")


def test_an_endpoint_that_is_slow_keeps_nobody_else_waiting(by_introspection, provider):
    ended = threading.Event()
    provider.answers["/introspect"] = lambda h: ended.wait(60)
    begun, before = time.monotonic(), provider.count("/introspect")
    c = by_introspection.imap(login=False, tls=True)
    c.send("a AUTHENTICATE XOAUTH2 %s\r\n" % base64.b64encode(first("XOAUTH2", ALICE, "slow")).decode())
    gone = by_introspection.imap(login=False, tls=True)  # one that does not wait for it
    gone.send("a AUTHENTICATE XOAUTH2 %s\r\n" % base64.b64encode(first("XOAUTH2", ALICE, "slower")).decode())
    until(lambda: provider.count("/introspect") == before + 2)
    gone.close()
    by_introspection.imap(tls=True).ok("NOOP")
    assert not select.select([c.sock], [], [], 0)[0] or time.monotonic() - begun > 4  # a machine that stood still has come to the end
    try:
        assert c.line().startswith(b"a NO [UNAVAILABLE]") and time.monotonic() - begun > 4
    finally:
        del provider.answers["/introspect"]
        ended.set()


def test_a_wrong_certificate_gets_no_token():
    with Provider(address="127.0.0.9") as p:
        p.tokens = {"t": {"active": True, "sub": ALICE}}
        with Instance(p.with_introspection()).running("alice") as i:
            assert imap(i, "t")[0].startswith("a NO [UNAVAILABLE]")
            assert p.requests == []


# ---- clients ----


def test_imaplib_and_smtplib(by_keys, provider):
    good, bad = token(provider.keys[0], claims(ALICE)), "a.b.c"
    for mechanism in ("OAUTHBEARER", "XOAUTH2"):
        answers = iter([first(mechanism, ALICE, bad), b"\1"])
        c = imaplib.IMAP4_SSL("127.0.0.1", by_keys.port("imaps"))
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            c.authenticate(mechanism, lambda _: next(answers))
        assert c.authenticate(mechanism, lambda _: first(mechanism, ALICE, good))[0] == "OK"
        assert c.select()[0] == "OK"
        c.logout()
        s = smtplib.SMTP_SSL("127.0.0.1", by_keys.port("submissions"))
        s.ehlo()
        assert mechanism in s.esmtp_features["auth"].split()
        assert s.auth(mechanism, lambda challenge=None: first(mechanism, ALICE, good).decode())[0] == 235
        assert s.sendmail(ALICE, [ALICE], "Subject: by %s\r\n\r\nx\r\n" % mechanism) == {}
        s.quit()
        s = smtplib.SMTP_SSL("127.0.0.1", by_keys.port("submissions"))
        s.ehlo()
        assert s.docmd("AUTH", mechanism)[0] == 334  # without an initial response
        code, text = s.docmd(base64.b64encode(first(mechanism, ALICE, bad)).decode())
        assert code == 334 and json.loads(base64.b64decode(text))["status"] in ("invalid_request", "401")
        assert s.docmd("AQ==")[0] == 535
        s.quit()
    by_keys.mw("auth", "failures", "clear")


def curl(suite, scheme, port, text, *more):
    return subprocess.run(["curl", "-sSk", "--url", "%s://127.0.0.1:%d/" % (scheme, suite.port(port)), "-u", ALICE + ":", "--oauth2-bearer", text, *more],
                          capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
def test_curl(by_keys, provider, tmp_path, mechanism):
    (tmp_path / "mail").write_bytes(("From: %s\r\nSubject: curl %s\r\n\r\nx\r\n" % (ALICE, mechanism)).encode())
    send = ["--mail-from", ALICE, "--mail-rcpt", ALICE, "-T", str(tmp_path / "mail"), "--login-options", "AUTH=" + mechanism]
    good = token(provider.keys[2], claims(ALICE))
    r = curl(by_keys, "smtps", "submissions", good, *send)
    assert r.returncode == 0, r.stderr
    r = curl(by_keys, "imaps", "imaps", good, "--login-options", "AUTH=" + mechanism)
    assert r.returncode == 0 and "INBOX" in r.stdout, r.stderr
    for scheme, port, more in (("smtps", "submissions", send), ("imaps", "imaps", ["--login-options", "AUTH=" + mechanism])):
        r = curl(by_keys, scheme, port, "a.b.c", *more)
        assert r.returncode == 67, r.stderr  # the login was denied
    by_keys.mw("auth", "failures", "clear")


def test_tokens_are_offered_when_they_can_be_checked(suite, by_keys):
    for i, offered in ((suite, False), (by_keys, True)):
        c = i.imap(login=False, tls=True)
        assert (b"AUTH=OAUTHBEARER AUTH=XOAUTH2" in c.ok("CAPABILITY")[0]) == offered
        if not offered:
            assert c.run("AUTHENTICATE OAUTHBEARER")[1].startswith(b"NO [CANNOT]")


def test_tokens_need_tls(provider):
    i = Instance(provider.with_keys())
    with open(i.conf) as f:
        text = f.read()
    with open(i.conf, "w") as f:
        f.write(text.replace("plain-login-from 127.0.0.0/8 ::1", "plain-login-from 192.0.2.1"))
    with i.running("alice"):
        c = i.imap(login=False)
        assert b"AUTH=" not in c.ok("CAPABILITY")[0]
        assert c.run("AUTHENTICATE OAUTHBEARER")[1].startswith(b"NO [PRIVACYREQUIRED]")


def test_settings_that_do_not_go_together(tmp_path):
    suite = Instance()
    secret = tmp_path / "secret"
    secret.write_text("x\n")
    pair = ["oauth-client-id x", "oauth-client-secret %s" % secret]
    with open(suite.conf) as f:
        text = f.read()
    for lines, words in [
        (["oauth-jwks https://id.test/k"], "needs oauth-issuer and oauth-audience"),
        (["oauth-introspection https://id.test/i"], "needs oauth-client-id and oauth-client-secret"),
        (["oauth-introspection http://id.test/i"] + pair, "is not a URL"),
        (["oauth-jwks https:///k"], "is not a URL"),
        (["oauth-introspection https://id.test/i", "oauth-client-id x", "oauth-client-secret %s" % (tmp_path / "none")], "oauth-client-secret"),
        (["fetch-authorities %s" % (tmp_path / "none")], "fetch-authorities"),
        (["oauth-jwks https://id.test/k", "oauth-issuer x", "oauth-audience y", "oauth-introspection https://id.test/i"] + pair, "not by both"),
    ]:
        with open(suite.conf, "w") as f:
            f.write(text + "\n".join(lines) + "\n")
        r = suite.mw("config", "check", check=False)
        assert r.returncode != 0 and words in r.stdout + r.stderr, (lines, r)
    suite.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to read the memory of daemons")
@pytest.mark.skipif("SANITIZED" in os.environ, reason="the sanitizer's own memory is endless, and keeps what was freed")
def test_nothing_of_a_token_stays(by_introspection, provider):
    text = "a-token-that-is-nowhere-else-%d" % time.time_ns()
    provider.tokens = {text: {"active": True, "sub": ALICE}}
    accepted(by_introspection, text)
    credentials = base64.b64encode(":".join(urllib.parse.quote(part, safe="") for part in CLIENT).encode())
    secrets = (text.encode(), base64.b64encode(first("OAUTHBEARER", ALICE, text)), credentials)

    def has_one(name):
        return any(secret in piece for piece in memory_of(by_introspection.daemons()[name]) for secret in secrets)

    for name in ("imapd", "auth", "fetch"):  # which answer before they have cleared all away
        until(lambda: not has_one(name), what="it stays in " + name)
