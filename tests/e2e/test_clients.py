"""Mail clients of Debian log in by every mechanism that they and the suite have in common (doc/logins.md is the table), and by the one that they choose."""
import os
import re
import shutil
import smtplib
import subprocess

import pytest

from mailwain import DOMAIN, PASSWORD, tls_context, until
from tools import lacks

USER = "alice@example.com"
OWN_CHOICE = None
MECHANISMS = ["PLAIN", "LOGIN", "SCRAM-SHA-1", "SCRAM-SHA-256", OWN_CHOICE]
TWO = ["PLAIN", "LOGIN", OWN_CHOICE]


def run(*command, input="", env=None, where=None):
    if shutil.which(command[0]) is None:
        lacks(command[0])
    return subprocess.run(command, input=input, capture_output=True, text=True, timeout=120, env=dict(os.environ, **(env or {})), cwd=where)


def arrives(suite, subject, account="carol"):
    imap = suite.imap(account)

    def found():
        imap.ok("SELECT INBOX")
        return [line for line in imap.ok('SEARCH SUBJECT "%s"' % subject) if re.match(rb"\* SEARCH \d", line)]

    until(found, what="%s does not arrive" % subject)


def told(suite, tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


# ---- submission ----


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("service", ["submission", "submissions"])
def test_msmtp(suite, tmp_path, service, mechanism):
    conf = told(suite, tmp_path, "msmtprc", """account default
host 127.0.0.1
port %d
tls on
tls_starttls %s
tls_certcheck off
auth %s
user %s
password "%s"
from %s
""" % (suite.port(service), "on" if service == "submission" else "off", mechanism.lower() if mechanism else "on", USER, PASSWORD, USER))
    subject = "msmtp %s %s" % (service, mechanism)
    r = run("msmtp", "-C", conf, "carol@example.com", input="Subject: %s\n\nx\n" % subject)
    assert r.returncode == 0, r.stderr
    arrives(suite, subject)


@pytest.mark.parametrize("mechanism", TWO)
@pytest.mark.parametrize("service", ["submission", "submissions"])
def test_swaks_over_tls(suite, service, mechanism):
    subject = "swaks %s %s" % (service, mechanism)
    r = run("swaks", "--server", "127.0.0.1:%d" % suite.port(service), "--tls" if service == "submission" else "--tls-on-connect", "--auth", *([mechanism] if mechanism else []), "--auth-user", USER,
            "--auth-password", PASSWORD, "--from", USER, "--to", "carol@example.com", "--header", "Subject: " + subject)
    if "requires Net::SSLeay" in r.stdout + r.stderr:
        lacks("Net::SSLeay")
    assert r.returncode == 0, r.stdout + r.stderr
    arrives(suite, subject)


@pytest.mark.parametrize("mechanism", TWO)
@pytest.mark.parametrize("service", ["submission", "submissions"])
def test_curl_sends(suite, service, mechanism):
    subject = "curl %s %s" % (service, mechanism)
    r = run("curl", "-sSkv", "--url", "%s://127.0.0.1:%d" % ("smtp" if service == "submission" else "smtps", suite.port(service)), "--ssl-reqd", "-u", USER + ":" + PASSWORD, *(["--login-options", "AUTH=" + mechanism] if mechanism else []),
            "--mail-from", USER, "--mail-rcpt", "carol@example.com", "-T", "-", input="Subject: %s\r\n\r\nx\r\n" % subject)
    assert r.returncode == 0 and "> AUTH " + (mechanism or "") in r.stderr, r.stderr
    arrives(suite, subject)


@pytest.mark.parametrize("mechanism", TWO)
@pytest.mark.parametrize("service", ["submission", "submissions"])
def test_smtplib(suite, service, mechanism):
    subject = "smtplib %s %s" % (service, mechanism)
    if service == "submission":
        s = smtplib.SMTP("127.0.0.1", suite.port(service))
        s.starttls(context=tls_context())
    else:
        s = smtplib.SMTP_SSL("127.0.0.1", suite.port(service), context=tls_context())
    s.ehlo()
    s.user, s.password = USER, PASSWORD
    code = s.auth(mechanism, s.auth_plain if mechanism == "PLAIN" else s.auth_login)[0] if mechanism else s.login(USER, PASSWORD)[0]
    assert code == 235
    s.sendmail(USER, ["carol@example.com"], "Subject: %s\r\n\r\nx\r\n" % subject)
    s.quit()
    arrives(suite, subject)


@pytest.mark.parametrize("mechanism", TWO)
def test_s_nail(suite, tmp_path, mechanism):
    subject = "s-nail %s" % mechanism
    r = run("s-nail", "-n", "-S", "v15-compat", "-S", "mta=submission://alice%%40example.com:%s@127.0.0.1:%d" % (PASSWORD.replace(" ", "%20"), suite.port("submission")),
            "-S", "smtp-use-starttls", "-S", "tls-verify=ignore", *(["-S", "smtp-auth=" + mechanism.lower()] if mechanism else []), "-S", "from=" + USER, "-S", "sendwait", "-s", subject, "carol@example.com",
            input="x\n", env={"HOME": str(tmp_path)})
    assert r.returncode == 0, r.stdout + r.stderr
    arrives(suite, subject)


@pytest.mark.parametrize("service, tls_13, mechanism", [("submissions", "yes", m) for m in MECHANISMS] + [("submissions", "no", OWN_CHOICE)] + [("submission", version, OWN_CHOICE) for version in ("yes", "no")])
def test_mutt_sends(suite, tmp_path, service, tls_13, mechanism):
    """Its own choice is the best of what it has read last, and with a -PLUS there it would fail (lib/smtp/server_auth.c)."""
    conf = told(suite, tmp_path, "muttrc", """set smtp_url="%s://alice@example.com@127.0.0.1:%d/"
set smtp_pass="%s"
set smtp_authenticators="%s"
set ssl_use_tlsv1_3=%s
set from="%s"
set envelope_from=yes
set ssl_verify_host=no
set certificate_file=%s
set copy=no
set ssl_starttls=yes
""" % ("smtp" if service == "submission" else "smtps", suite.port(service), PASSWORD, (mechanism or "").lower(), tls_13, USER, suite.root + "/etc/tls.pem"))
    subject = "mutt %s %s %s" % (service, tls_13, mechanism)
    r = run("mutt", "-n", "-F", conf, "-s", subject, "--", "carol@example.com", input="x\n", env={"HOME": str(tmp_path), "TERM": "dumb"})
    assert r.returncode == 0, r.stdout + r.stderr
    arrives(suite, subject)


@pytest.mark.parametrize("mechanism", TWO)
@pytest.mark.parametrize("service", ["submission", "submissions"])
def test_git_send_email(suite, tmp_path, service, mechanism):
    subject = "git send-email %s %s" % (service, mechanism)
    env = {"HOME": str(tmp_path), "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": USER, "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": USER}
    (tmp_path / "f").write_text("x\n")
    for command in (("init", "-q"), ("commit", "-q", "--allow-empty", "-m", "nothing"), ("add", "f"), ("commit", "-q", "-m", subject)):
        assert run("git", *command, env=env, where=tmp_path).returncode == 0
    r = run("git", "-c", "sendemail.smtpsslcertpath=", "send-email", "--smtp-server=127.0.0.1", "--smtp-server-port=%d" % suite.port(service), "--smtp-encryption=" + ("tls" if service == "submission" else "ssl"),
            "--smtp-user=" + USER, "--smtp-pass=" + PASSWORD, *(["--smtp-auth=" + mechanism] if mechanism else []), "--smtp-debug=1", "--from=" + USER, "--to=carol@example.com", "--confirm=never", "--suppress-cc=all", "HEAD^", env=env, where=tmp_path)
    if "is not a git command" in r.stderr:
        lacks("git send-email")
    assert r.returncode == 0 and ">>> AUTH " + (mechanism or "") in r.stderr, r.stdout + r.stderr
    arrives(suite, subject)


# ---- IMAP ----


@pytest.fixture
def reader(suite, account):
    """An account with a message. Nobody has logged in to it, so that no line of the log is of another log-in."""
    suite.deliver("Subject: to be read\n\nx\n", to=[account])
    suite.wait_empty()
    return account


def logins(suite, account):
    return suite.log().count("imap_login user=%s@%s " % (account, DOMAIN))


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_mutt_reads(suite, tmp_path, reader, mechanism):
    """It wants a terminal, shows the mailbox, and is told to leave."""
    conf = told(suite, tmp_path, "muttrc", """set imap_user="%s"
set imap_pass="%s"
set imap_authenticators="%s"
set ssl_verify_host=no
set certificate_file=%s
set ssl_force_tls=yes
set folder="%s"
push "<exit>"
""" % (reader + "@" + DOMAIN, PASSWORD, (mechanism or "").lower(), suite.root + "/etc/tls.pem", tmp_path))
    command = "mutt -n -F %s -R -f imaps://127.0.0.1:%d/INBOX" % (conf, suite.port("imaps"))
    r = run("script", "-qec", command, "/dev/null", env={"HOME": str(tmp_path), "TERM": "xterm"})
    until(lambda: logins(suite, reader) == 1, what=r.stdout[-2000:] + r.stderr)


@pytest.mark.parametrize("how", [["-S", "imap-auth=login"], []])
def test_s_nail_reads(suite, tmp_path, reader, how):
    """Its own way is the LOGIN command."""
    url = "imaps://%s%%40%s:%s@127.0.0.1:%d/INBOX" % (reader, DOMAIN, PASSWORD.replace(" ", "%20"), suite.port("imaps"))
    r = run("s-nail", "-n", "-R", "-S", "v15-compat", "-S", "tls-verify=ignore", *how, "-f", url, input="from\nxit\n", env={"HOME": str(tmp_path)})
    assert r.returncode == 0, r.stdout + r.stderr
    until(lambda: logins(suite, reader) == 1, what=r.stdout + r.stderr)
