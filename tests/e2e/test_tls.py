"""Which certificate a client is shown, and what becomes of its connection and its session when that changes."""
import os
import re
import time

import pytest

from mailwain import Instance, until
from tls_files import context, der_of, handshake, issued, make, openssl, reissued


@pytest.fixture(scope="module")
def suite():
    i = Instance(conf_lines=["domain example.net { tls certificate net.pem key net.key }", "domain example.org {", "\tquota 1G", "\ttls certificate org.pem key org.key", "}", "imapd-workers 2"])
    etc = os.path.join(i.root, "etc")
    make(etc, "mail.example.net", "rsa2048", ["mail.example.net", "*.sub.example.net"], stem="net")
    make(etc, "mx.example.org", "ed25519", stem="org")
    with i.running("alice"):
        yield i


def etc(suite, name=""):
    return os.path.join(suite.root, "etc", name)


def s_client(suite, *args, service="imaps", input=""):
    starttls = ["-starttls", service] if service in ("smtp", "imap") else []
    r = openssl("s_client", "-connect", "127.0.0.1:%d" % suite.port(service), *starttls, *args, check=False, input=input)
    return r.stdout + r.stderr


# ---- by name ----


@pytest.mark.parametrize(
    "name, stem",
    [(None, "tls"), ("mail.example.com", "tls"), ("mail.example.net", "net"), ("MAIL.Example.NET", "net"), ("example.net", "net"), ("a.sub.example.net", "net"), ("a.b.sub.example.net", "tls"),
     ("sub.example.net", "tls"), ("mx.example.org", "org"), ("example.org", "org"), ("nowhere.test", "tls")],
)
def test_the_certificate_is_of_the_name_that_is_asked_for(suite, name, stem):
    for service in ("imaps", "smtp"):
        assert handshake(suite, service, name)[1] == der_of(etc(suite, stem + ".pem")), (service, name)


def test_openssl_sees_the_same(suite):
    for service, name, subject, kind in (("imaps", "mail.example.net", "CN = mail.example.net", "RSA-PSS"), ("imap", "mx.example.org", "CN = mx.example.org", "ed25519"), ("smtp", "x.test", "CN = mail.example.com", "ECDSA")):
        text = s_client(suite, "-servername", name, service=service)
        assert "subject=" + subject in text and "Peer signature type: " + kind in text, text[-2000:]


# ---- policy ----


def test_what_is_not_offered(suite):
    for args in (["-tls1_1"], ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"], ["-tls1_2", "-cipher", "AES128-GCM-SHA256"]):
        assert "Cipher is (NONE)" in s_client(suite, *args, "-cipher", "ALL@SECLEVEL=0") or "Cipher is (NONE)" in s_client(suite, *args)
    text = s_client(suite, "-tls1_2")
    assert "Compression: NONE" in text and "Secure Renegotiation IS supported" in text


def test_renegotiation_is_refused(suite):
    text = s_client(suite, "-tls1_2", input="R\n")
    assert "no renegotiation" in text or "RENEGOTIATING" in text and "verify return" not in text.split("RENEGOTIATING")[1]


def test_protocols(suite):
    assert "ALPN protocol: imap" in s_client(suite, "-alpn", "imap")
    assert "ALPN protocol: imap" in s_client(suite, "-alpn", "pop3,imap", service="imap")
    text = s_client(suite, "-alpn", "http/1.1")
    assert "no application protocol" in text and "Cipher is (NONE)" in text
    assert "No ALPN negotiated" in s_client(suite)
    assert "No ALPN negotiated" in s_client(suite, "-alpn", "http/1.1", service="smtp")


# ---- sessions that are taken up again ----


def resumed(suite, path, *args):
    """Comes twice; is the second time the same session?"""
    first = s_client(suite, "-sess_out", path, "-ign_eof", *args, input="a LOGOUT\n")
    assert "BYE" in first and os.path.exists(path), first[-2000:]
    return "Reused, TLS" in s_client(suite, "-sess_in", path, "-ign_eof", *args, input="a LOGOUT\n")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_tickets_are_taken_by_all_workers(suite, tmp_path, version):
    for i in range(8):
        assert resumed(suite, str(tmp_path / str(i)), version)


def test_tickets_are_taken_after_a_restart_of_the_daemon(suite, tmp_path):
    path = str(tmp_path / "s")
    s_client(suite, "-sess_out", path, "-ign_eof", input="a LOGOUT\n")
    before = {row["pid"] for row in suite.rows("status") if row["name"] == "imapd"}
    for pid in before:
        os.kill(pid, 9)
    until(lambda: all(row["pid"] not in before and row["state"] == "ready" for row in suite.rows("status") if row["name"] == "imapd"))
    assert "Reused, TLS" in s_client(suite, "-sess_in", path, "-ign_eof", input="a LOGOUT\n")


def test_tickets_of_one_service_mean_nothing_to_another(suite, tmp_path):
    path = str(tmp_path / "s")
    s_client(suite, "-sess_out", path, "-ign_eof", input="a LOGOUT\n")
    assert "New, TLS" in s_client(suite, "-sess_in", path, service="smtp", input="QUIT\n")


# ---- tls show ----


def test_what_is_served_is_shown(suite):
    rows = {row["domain"]: row for row in suite.rows("tls", "show")}
    assert set(rows) == {"", "example.net", "example.org"}
    assert rows["example.net"]["names"] == "mail.example.net *.sub.example.net" and rows["example.net"]["key"] == "RSA 2048"
    assert rows[""]["names"] == "mail.example.com" and rows[""]["key"] == "EC P-256"
    for row in rows.values():
        assert row["listeners"] == ", ".join("%s 127.0.0.1:%d" % (s, suite.port(s)) for s in ("smtp", "submission", "submissions", "imap", "imaps"))
        assert row["note"] == "" and row["days"] > 21
        ends = openssl("x509", "-in", row["file"], "-noout", "-enddate").stdout.split("=")[1].strip()
        assert row["until"] == time.strftime("%Y-%m-%d", time.strptime(ends, "%b %d %H:%M:%S %Y %Z"))
    text = suite.mw("tls", "show").stdout
    assert text.splitlines()[0].split() == ["domain", "names", "key", "until", "days", "listeners", "file", "note"] and "*.sub.example.net" in text
    assert suite.mw("tls", "shwo", check=False).returncode == 64


def test_what_is_on_disk_and_not_served_is_not_shown(fresh):
    suite = fresh()

    def shown():
        """But for the days that are left, which become fewer."""
        return [{key: value for key, value in row.items() if key != "days"} for row in suite.rows("tls", "show")]

    before = shown()
    os.rename(etc(suite, "tls.pem"), etc(suite, "gone"))
    assert shown() == before
    os.rename(etc(suite, "gone"), etc(suite, "tls.pem"))
    make(etc(suite), "soon.test", days=20)
    suite.mw("reload")
    row = suite.rows("tls", "show")[0]
    assert row["names"] == "soon.test" and row["days"] in (19, 20) and row["note"] == "the certificate ends on " + row["until"]


# ---- what changes ----


def test_a_reload_drops_no_connection(suite):
    old = suite.imap("alice", tls=True)
    old.ok("SELECT INBOX")
    pem, _ = make(etc(suite), "mail.example.com", "p256")
    new = der_of(pem)
    assert "reloaded" in suite.mw("reload").stdout
    assert handshake(suite)[1] == new and handshake(suite, "smtp")[1] == new
    old.ok("NOOP")


def test_files_that_change_are_read_again(suite):
    """Nobody says reload; and what is being written in the configuration is not taken over."""
    old = suite.imap("alice", tls=True)
    with open(suite.conf) as f:
        conf = f.read()
    with open(suite.conf, "a") as f:
        f.write("not a setting\n")
    try:
        pem, _ = make(etc(suite), "mx.example.org", "p256", stem="org")
        new = der_of(pem)
        until(lambda: handshake(suite, name="mx.example.org")[1] == new)
        suite.until_logged("tls_reload")
    finally:
        with open(suite.conf, "w") as f:
            f.write(conf)
    old.ok("NOOP")


def test_half_a_change_is_not_taken_over(suite):
    shown = handshake(suite)[1]
    directory = etc(suite, "half")
    os.mkdir(directory)
    pem, key = make(directory, "mail.example.com")
    count = suite.log().count("master_reload_refused")  # it is said once of these files
    os.replace(pem, etc(suite, "tls.pem"))
    until(lambda: suite.log().count("master_reload_refused") > count)
    suite.until_logged("tls-key does not belong to tls-certificate")
    assert handshake(suite)[1] == shown
    os.replace(key, etc(suite, "tls.key"))
    until(lambda: handshake(suite)[1] == der_of(etc(suite, "tls.pem")))


def test_tls_is_taken_away_by_a_restart_only(fresh):
    suite = fresh()
    with open(suite.conf) as f:
        text = f.read()
    without = "\n".join(l for l in text.splitlines() if not l.startswith(("tls", "listen imaps", "listen submissions"))) + "\n"
    with open(suite.conf, "w") as f:
        f.write(without)
    for _ in range(3):
        assert "removed tls" in suite.mw("reload").stdout
        handshake(suite)[0].close()
    suite.mw("stop")
    suite.mw("start")
    assert "STARTTLS" not in suite.smtp().hello()
    with open(suite.conf, "w") as f:
        f.write(text)
    suite.mw("reload")
    assert "STARTTLS" in suite.smtp().hello()
    handshake(suite, "smtp")[0].close()


# ---- what is wrong is told, where, and what to do ----


def refused(suite, *words):
    for verb in (["config", "check"], ["reload"]):
        r = suite.mw(*verb, check=False)
        assert r.returncode == 78, (verb, r.stdout, r.stderr)
        for word in words:
            assert word in r.stderr, (verb, r.stderr)


@pytest.fixture
def quiet(fresh):
    """With a certificate of an authority, and the watch on its files out of the way: they are others at each step."""
    suite = fresh()
    directory = etc(suite)

    def use(stem):
        with open(suite.conf) as f:
            text = f.read()
        with open(suite.conf, "w") as f:
            f.write(re.sub(r"tls certificate .*", 'tls certificate "%s/%s.pem" key "%s/%s.key"' % (directory, stem, directory, stem), text))

    suite.use = use
    return suite


def test_errors_of_certificates(quiet):
    suite, directory, here = quiet, etc(quiet), "mailwain.conf:"
    shown = handshake(suite)[1]
    year = time.gmtime().tm_year
    issued(directory, "mail.example.com", "ended", begins="20200101000000Z", ends="%d0101000000Z" % year)
    suite.use("ended")
    refused(suite, here, "tls-certificate ended on %d-01-01; have it renewed" % year)
    issued(directory, "mail.example.com", "early", begins="%d0101000000Z" % (year + 2))
    suite.use("early")
    refused(suite, here, "tls-certificate begins on %d-01-01 only; is this machine's clock right?" % (year + 2))
    pem, _ = issued(directory, "mail.example.com", "order")
    with open(pem) as f:
        leaf, ca = re.findall("-----BEGIN CERT.*?-----END CERTIFICATE-----\n", f.read(), re.S)
    with open(pem, "w") as f:
        f.write(ca + leaf)
    suite.use("order")
    refused(suite, here, "certificate 2 in the file is not the issuer of the one before it; put the server's own first")
    with open(pem, "w") as f:
        f.write(leaf + ca.replace("M", "!", 1))
    refused(suite, here, "a further certificate in the file is damaged")
    make(directory, "Test Authority", stem="namesake")
    with open(pem, "w") as f, open(directory + "/namesake.pem") as namesake:
        f.write(leaf + namesake.read())
    refused(suite, here, "certificate 2 in the file has the name of the issuer of the one before it, and did not sign it")
    with open(pem, "w") as f:
        f.write(leaf + reissued(directory, ends="%d0101000000Z" % year))
    refused(suite, here, "tls-certificate: certificate 2 in the file, of an issuer, ended on %d-01-01; put there the one" % year)
    with open(pem, "w") as f:
        f.write(leaf + ca)
    make(directory, "mail.example.com", stem="other")
    os.replace(directory + "/other.key", directory + "/order.key")
    refused(suite, here, "tls-key does not belong to tls-certificate; name the key that the certificate was made for")
    openssl("req", "-x509", "-newkey", "rsa:1024", "-nodes", "-days", "90", "-subj", "/CN=weak", "-keyout", directory + "/weak.key", "-out", directory + "/weak.pem")
    suite.use("weak")
    refused(suite, here, "RSA of 1024 bits is too weak")
    assert handshake(suite)[1] == shown, "nothing of it was taken over"
    issued(directory, "mail.example.com", "alone", chain=False)
    suite.use("alone")
    assert "the certificates of its issuers are missing" in suite.mw("config", "check").stderr
    suite.mw("reload")
    assert "issuers are missing" in [row["note"] for row in suite.rows("status") if row["name"] == "keys"][0]
    issued(directory, "mail.example.com", "whole")
    suite.use("whole")
    assert suite.mw("config", "check").stderr == ""
    suite.mw("reload")
    text = s_client(suite, "-CAfile", directory + "/ca.pem", "-verify_return_error")
    assert "Verify return code: 0 (ok)" in text
    assert not [row["note"] for row in suite.rows("status") if row["name"] == "keys"][0]


def test_a_certificate_that_has_ended_does_not_stop_mail(quiet):
    """At a start, and at a reload that is about something else."""
    suite = quiet
    suite.stop()
    issued(etc(suite), "mail.example.com", "ended", ends="20250101000000Z")
    suite.use("ended")
    suite.start()
    handshake(suite, "smtp")[0].close()
    suite.until_logged("the certificate ended on 2025-01-01")
    with open(suite.conf, "a") as f:
        f.write("recipients 7\n")
    suite.mw("reload")
    assert handshake(suite)[1] == der_of(etc(suite, "ended.pem"))


def test_an_issuer_that_ends_is_told_of(quiet):
    suite, directory = quiet, etc(quiet)
    pem, _ = issued(directory, "mail.example.com", "soon", chain=False)
    ends = time.gmtime(time.time() + 10 * 86400)
    day = time.strftime("%Y-%m-%d", ends)
    with open(pem, "a") as f:
        f.write(reissued(directory, ends=time.strftime("%Y%m%d000000Z", ends)))
    suite.use("soon")
    said = "certificate 2 in its file ends on " + day
    assert said in suite.mw("config", "check").stderr
    suite.mw("reload")
    row = suite.rows("tls", "show")[0]
    assert (row["until"], row["note"]) == (day, said) and row["days"] in (8, 9)
    assert said in [row["note"] for row in suite.rows("status") if row["name"] == "keys"][0]
    suite.until_logged(said)


@pytest.mark.parametrize(
    "lines, words",
    [(["domain example.net { tls-certificate x.pem }"], "only half of what TLS needs"), (["listen imap on 127.0.0.1:1143 { tls certificate a key b }"], "unknown setting 'tls'"),
     (["domain example.net { tls certificate nothing.pem key nothing.key }"], "nothing.pem: No such file"), (["tls-client-authorities nothing.pem"], "nothing.pem: No such file"),
     (["tls-client-authorities mailwain.conf"], "tls-client-authorities has no PEM certificate")],
)
def test_errors_of_the_configuration(quiet, lines, words):
    with open(quiet.conf, "a") as f:
        f.write("\n".join(lines) + "\n")
    refused(quiet, words, "mailwain.conf:")


# ---- clients' certificates ----


def test_clients_are_asked_for_certificates_when_it_is_set(quiet):
    suite, directory = quiet, etc(quiet)
    issued(directory, "alice", "alice", email="alice@example.com")
    make(directory, "stranger", stem="stranger")
    assert "Acceptable client certificate CA names" not in s_client(suite)
    with open(suite.conf, "a") as f:
        f.write("tls-client-authorities ca.pem\n")
    suite.mw("reload")
    for service in ("imaps", "smtp"):
        assert "CN = Test Authority" in s_client(suite, service=service)
    for stem in (None, "alice", "stranger"):  # whoever has none, or another's, can still give a password
        ctx = context()
        if stem:
            ctx.load_cert_chain(directory + "/%s.pem" % stem, directory + "/%s.key" % stem)
        connection, _ = handshake(suite, ctx=ctx)
        assert connection.recv(1000).startswith(b"* OK"), stem
