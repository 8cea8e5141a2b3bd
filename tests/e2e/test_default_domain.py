"""Names without a domain, as users of other servers type them: by every mechanism, with one domain and with several."""
import smtplib

import pytest

from mailwain import PASSWORD, until
from test_sasl import MECHANISMS, gsasl
from tools import with_conf


@pytest.mark.parametrize("mechanism,protocol", [(m, "imap") for m in MECHANISMS] + [("SCRAM-SHA-256-PLUS", "smtp"), ("PLAIN", "smtp")])
def test_by_every_mechanism(suite, mechanism, protocol):
    """SCRAM's proof is made of the name as it was sent."""
    code, said = gsasl(suite, mechanism, user="Alice", protocol=protocol)
    assert code == 0, said


def test_it_is_the_account_of_the_domain(suite):
    c = suite.imap(login=False, tls=True)
    c.ok('LOGIN alice "%s"' % PASSWORD)
    c.close()
    suite.until_logged(" auth_ok user=alice@example.com service=imap ")
    c = suite.imap(login=False, tls=True)
    c.no("LOGIN nobody-here guess")
    c.close()
    until(lambda: " auth_failed user=nobody-here@example.com service=imap rip=127.0.0.1 reason=unknown-user" in suite.log())
    assert gsasl(suite, "PLAIN", user="alice", authzid="alice@example.com")[0] == 0
    assert gsasl(suite, "PLAIN", user="alice@example.com", authzid="alice")[0] == 0
    assert gsasl(suite, "PLAIN", user="alice", authzid="carol")[0] != 0
    assert gsasl(suite, "SCRAM-SHA-256", user="alice", password="wrong horse")[0] != 0
    suite.mw("auth", "failures", "clear")
    s = smtplib.SMTP("127.0.0.1", suite.port("submission"))
    s.starttls()
    s.login("alice", PASSWORD)
    s.sendmail("alice@example.com", ["carol@example.com"], "Subject: x\r\n\r\nx\r\n")
    s.quit()


def test_with_several_domains(fresh):
    """Nobody is guessed at; the setting says whose they are, after a reload too."""
    i = fresh(conf_lines=["domain second.example.org { }"])
    i.add("alice")
    i.add("alice@second.example.org", "of the second")
    for password in (PASSWORD, "of the second"):
        i.imap(login=False).no('LOGIN alice "%s"' % password)
    i.until_logged(" auth_failed user=alice service=imap ")
    with_conf(i, lambda text: text + "login-default-domain second.example.org\n")
    i.mw("reload")
    i.imap(login=False).ok('LOGIN alice "of the second"')
    i.imap(login=False).no('LOGIN alice "%s"' % PASSWORD)
    assert gsasl(i, "SCRAM-SHA-256", user="alice", password="of the second")[0] == 0
    assert gsasl(i, "SCRAM-SHA-256-PLUS", user="alice@example.com")[0] == 0
    with_conf(i, lambda text: text.replace("login-default-domain second.example.org", "login-default-domain not/a/name"))
    assert "is not a host name" in i.mw("reload", check=False).stderr
