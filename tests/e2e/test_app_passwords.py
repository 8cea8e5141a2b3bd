"""App passwords: one for each program, for its protocols only, taken back one by one."""
import os
import re
import subprocess

import pytest

from mailwain import BIN, CHEAP_HASH, PASSWORD, until
from test_sasl import gsasl

USAGE, NOUSER, NOPERM = 64, 67, 77  # sysexits(3)


def app(suite, verb, address, *args, check=True):
    return suite.mw("account", "app-password", verb, address, *args, check=check)


def new(suite, address, label, *args):
    text = app(suite, "add", address, "--name", label, *args).stdout
    assert re.fullmatch(r"([a-km-z]{4}-){6}[a-km-z]{4}\n", text), text
    return text.strip()


def logs_in(suite, user, password):
    c = suite.imap(login=False)
    line = c.run('LOGIN %s "%s"' % (user, password))[1]
    c.close()
    assert line.startswith((b"OK", b"NO [AUTHENTICATIONFAILED]")), line
    return line.startswith(b"OK")


def tried(suite, address, password, *args):
    r = suite.mw("auth", "test", address, "--password-stdin", *args, input=password + "\n", check=False)
    assert r.returncode == 0 or r.stdout == "", r.stdout
    return r.returncode, r.stdout + r.stderr


def test_auth_test_says_who_would_be_let_in(suite, account):
    """Without a login, a failure or a change: neither counts nor hashes are other ones behind it."""
    address = account + "@example.com"
    suite.mw("alias", "add", "tested-%s" % address, address)
    suite.mw("directory", "import", "-", input="account imported-%s hash=%s\naccount dear-%s hash=$6$rounds=800000$saltsalt$%s\naccount none-%s\n" % (address, CHEAP_HASH, address, "x" * 86, address))
    phone = new(suite, address, "My phone", "--protocols", "imap")
    before = suite.mw("directory", "export").stdout
    assert tried(suite, address, PASSWORD) == (0, address + " would be let in\n")
    assert tried(suite, address, phone) == (0, address + " would be let in, by the app password My phone\n")
    assert tried(suite, "imported-" + address, PASSWORD) == (0, "imported-%s would be let in, by SCRAM not before a login that sends the password\n" % address)
    for who, password, args, code, why in (
        (address, "wrong horse", [], NOPERM, "the password is wrong"),
        (address, phone, ["--service", "submission"], NOPERM, "the password is wrong"),
        ("nobody-" + address, PASSWORD, [], NOUSER, "there is no such account"),
        ("tested-" + address, PASSWORD, [], NOUSER, "it is an alias, not an account"),
        ("dear-" + address, "x" * 500, [], NOPERM, "the account's imported hash costs too much to be checked; it needs a new password"),
        ("none-" + address, PASSWORD, [], NOPERM, "the account has no password"),
    ):
        assert tried(suite, who, password, *args) == (code, "mailwain: %s would not be let in: %s\n" % (who, why))
    for args in ([], ["--service", "imap,pop3"], ["--service", "telnet"]):
        assert tried(suite, address, "" if not args else PASSWORD, *args)[0] == USAGE
    assert suite.mw("directory", "export").stdout == before and suite.rows("auth", "failures", "list", address) == []
    suite.mw("account", "disable", address)
    for password in (PASSWORD, phone):
        assert tried(suite, address, password) == (NOPERM, "mailwain: %s would not be let in: the password is right, but the account is disabled\n" % address)
    suite.until_logged("auth_tested object=" + address)
    assert "auth_ok user=" + address not in suite.log() and "auth_failed user=" + address not in suite.log()


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes a member of the group")
def test_who_may_set_passwords_may_not_try_them(fresh):
    suite = fresh(conf_lines=["control-group nogroup"])
    suite.add_cheap("alice")

    def as_member(*args):
        command = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", BIN, "--root", suite.root, *args]
        r = subprocess.run(command, input=PASSWORD + "\n", capture_output=True, text=True, timeout=30)
        return r.returncode, r.stdout + r.stderr

    assert as_member("auth", "test", "alice@example.com", "--password-stdin") == (NOPERM, "mailwain: only root may test passwords\n")
    assert as_member("account", "passwd", "alice@example.com", "--password-stdin") == (0, "alice@example.com has a new password\n")


def test_it_is_a_password_until_it_is_revoked(suite, account):
    address = account + "@example.com"
    phone, desk = new(suite, address, "My phone"), new(suite, address, "desk")
    assert phone != desk
    assert logs_in(suite, address, phone) and logs_in(suite, address, desk) and logs_in(suite, address, PASSWORD)
    assert logs_in(suite, address, phone.replace("-", " ").upper())
    app(suite, "revoke", address, "My phone")
    assert not logs_in(suite, address, phone)
    assert logs_in(suite, address, desk) and logs_in(suite, address, PASSWORD)
    assert [r["label"] for r in suite.rows("account", "app-password", "list", address)] == ["desk"]
    assert not logs_in(suite, "alice@example.com", desk)


def test_the_last_use_is_seen(suite, account):
    address = account + "@example.com"
    password = new(suite, address, "tablet", "--protocols", "imap,submission")
    row = suite.rows("account", "app-password", "list", address)[0]
    assert row["protocols"] == "imap,submission" and row["created"] > 0 and row["used"] is None and row["from"] == ""
    assert logs_in(suite, address, password)
    row = until(lambda: [r for r in suite.rows("account", "app-password", "list", address) if r["used"]])[0]
    assert row["from"] == "127.0.0.1" and row["used"] >= row["created"]
    suite.until_logged('app_password=tablet')
    assert "tablet" in app(suite, "list", address).stdout


def test_it_holds_for_its_protocols_only(suite, account):
    address = account + "@example.com"
    assert not logs_in(suite, address, new(suite, address, "sender", "--protocols", "submission"))
    assert logs_in(suite, address, new(suite, address, "reader", "--protocols", "imap"))
    assert "imap,pop3,submission" in app(suite, "add", address, "--name", "x", "--protocols", "smtp", check=False).stderr


def test_real_clients_and_no_proofs(suite, account):
    """By PLAIN and LOGIN; SCRAM knows only the account's own password."""
    address = account + "@example.com"
    password = new(suite, address, "curl")
    r = subprocess.run(["curl", "-sSk", "--url", "imaps://127.0.0.1:%d/" % suite.port("imaps"), "-u", "%s:%s" % (address, password)],
                       capture_output=True, text=True, timeout=30)
    assert r.returncode == 0 and "INBOX" in r.stdout, r.stderr
    for mechanism in ("PLAIN", "LOGIN"):
        assert gsasl(suite, mechanism, user=address, password=password)[0] == 0
    assert gsasl(suite, "SCRAM-SHA-256", user=address, password=password)[0] != 0


def test_what_cannot_be(suite, account):
    address = account + "@example.com"
    new(suite, address, "one")
    assert "already" in app(suite, "add", address, "--name", "one", check=False).stderr
    for label in ("", " x", "x\ty", "x" * 65):
        assert app(suite, "add", address, "--name", label, check=False).returncode == 64
    assert app(suite, "add", "nobody@example.com", "--name", "x", check=False).returncode == 67
    assert app(suite, "revoke", address, "two", check=False).returncode == 67
    for n in range(31):
        new(suite, address, "n%d" % n)
    assert "32 app passwords" in app(suite, "add", address, "--name", "more", check=False).stderr


def test_a_disabled_account_has_none(suite, account):
    address = account + "@example.com"
    password = new(suite, address, "phone")
    assert logs_in(suite, address, password)
    suite.mw("account", "disable", address)
    assert not logs_in(suite, address, password)
    suite.mw("account", "enable", address)
    assert logs_in(suite, address, password)


def test_they_come_back_with_an_import(fresh):
    suite = fresh()
    suite.add("alice")
    password, other = new(suite, "alice@example.com", "the blue phone"), new(suite, "alice@example.com", "b", "--protocols", "pop3")
    text = suite.mw("directory", "export").stdout
    assert re.search(r"^app-password alice@example.com protocols=imap,pop3,submission created=\d+ hash=\S+ name=the blue phone$", text, re.M)
    assert password not in text and other not in text
    suite.mw("account", "remove", "alice@example.com")
    suite.add("alice")  # a new one, without
    assert not logs_in(suite, "alice@example.com", password)
    suite.mw("account", "remove", "alice@example.com")
    suite.mw("directory", "import", "-", input=text)
    assert suite.mw("directory", "export").stdout == text
    assert logs_in(suite, "alice@example.com", password)
    # What the text does not name is removed only with --replace.
    less = "".join(line + "\n" for line in text.splitlines() if "the blue phone" not in line)
    suite.mw("directory", "import", "-", input=less)
    assert suite.mw("directory", "export").stdout == text
    suite.mw("directory", "import", "--replace", "-", input=less)
    assert suite.mw("directory", "export").stdout == less
    suite.mw("directory", "import", "-", input=text)
    assert "1 entries removed" not in suite.mw("directory", "import", "--replace", "-", input=text).stdout
    # With the account they go too, once.
    none = "".join(line + "\n" for line in text.splitlines() if "alice" not in line) + "account bob@example.com\n"
    assert "3 entries removed" in suite.mw("directory", "import", "--replace", "-", input=none).stdout


def test_a_line_that_is_wrong(suite):
    good = "app-password alice@example.com protocols=imap created=1 hash=%s:%s name=x" % ("A" * 22 + "==", "A" * 43 + "=")
    for line in (good.replace("alice", "nobody"), good.replace("imap", "http"), good.replace("created=1", "created=x"), good.replace("==:", "="),
                 good.replace(" name=x", ""), good.replace("name=x", "name="), good.replace("name=x", "name=" + "y" * 65), good.replace("protocols=imap ", "")):
        r = suite.mw("directory", "import", "-", input=line + "\n", check=False)
        assert r.returncode == 65 and "nothing was changed" in r.stderr, line
    suite.mw("directory", "import", "-", input=good + "\n")
    app(suite, "revoke", "alice@example.com", "x")
