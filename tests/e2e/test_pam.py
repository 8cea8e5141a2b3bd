"""Users of the machine: they log in through PAM and get mail, beside accounts of the directory."""
import base64
import glob
import imaplib
import json
import os
import random
import shutil
import smtplib
import subprocess
import tempfile
import threading
import time

import pytest

import mailwain
from idp import Provider, claims, token
from machine import machine_users
from mailwain import BUILD, PASSWORD, Imap, Instance, tls_context, until
from test_aliases import file, status_of, taken, write
from test_sasl import gsasl
from test_tokens import first
from test_tokens import imap as imap_by_token
from tls_files import issued
from tools import Clock, is_alive, with_conf

AS_ROOT = os.geteuid() == 0
SYSTEM, OTHER = "users.example.com", "others.example.com"
WRAPPERS = {"pam": "libpam_wrapper.so", "nss": "libnss_wrapper.so"}
needs_root = pytest.mark.skipif(not AS_ROOT, reason="makes users of this machine")


class Machine:
    """What a test knows of the suite with such a domain."""

    def __init__(self, suite):
        self.suite = suite

    def login(self, user, password, service="imap"):
        """None, or what the server said."""
        try:
            if service == "imap":
                c = imaplib.IMAP4_SSL("127.0.0.1", self.suite.port("imaps"), ssl_context=tls_context(), timeout=30)
                c.login(user, password)
                c.logout()
            else:
                c = smtplib.SMTP("127.0.0.1", self.suite.port("submission"), timeout=30)
                c.starttls(context=tls_context())
                c.ehlo()
                c.user, c.password = user, password
                c.auth("PLAIN", c.auth_plain)
                c.quit()
        except (imaplib.IMAP4.error, smtplib.SMTPAuthenticationError) as e:
            return str(e)
        return None

    def verdict(self, address):
        c = self.suite.smtp()
        c.hello()
        c.expect("MAIL FROM:<bob@remote.test>", 250)
        code, text = c.command("RCPT TO:<%s>" % address)
        c.close()
        return code, text

    def inbox(self, user, password, mailbox="INBOX"):
        c = imaplib.IMAP4_SSL("127.0.0.1", self.suite.port("imaps"), ssl_context=tls_context(), timeout=30)
        c.login(user, password)
        c.select(mailbox)
        out = [c.fetch(n, "BODY[TEXT]")[1][0][1].strip() for n in c.search(None, "ALL")[1][0].split()]
        c.logout()
        return out


# ---- with users of the machine that runs the test ----

# Others than those that a run left behind which was killed.
RUN = random.randrange(10**8)
NAMES = {name: "mwtest%s%d" % (name[:4], RUN) for name in ("good", "expired", "locked", "gone", "other")}


@pytest.fixture(scope="module")
def real():
    """Users made for the test; the suite's own file for PAM, under another name."""
    service = "mailwain-test-%d" % os.getpid()
    lines = ["pam-service " + service, "domain %s { accounts system }" % SYSTEM]
    with machine_users(NAMES.values(), lambda name: "pw of " + name, service):
        subprocess.run(["chage", "-E", "0", NAMES["expired"]], check=True)
        subprocess.run(["usermod", "-L", NAMES["locked"]], check=True)
        i = Instance(conf_lines=lines + ["aliases-allow pipes"])
        i.aliases, i.out = (os.path.join(i.root, name) for name in ("aliases", "out"))
        with open(i.conf, "a") as f:
            f.write("aliases %s\n" % i.aliases)
        os.mkdir(i.out)
        os.chmod(i.out, 0o777)
        write(i, "")
        with i.running("alice"):
            yield Machine(i)


def user(kind):
    return "%s@%s" % (NAMES[kind], SYSTEM)


def password(kind):
    return "pw of " + NAMES[kind]


@needs_root
def test_a_user_gets_mail_and_logs_in(real):
    real.suite.deliver("Subject: x\n\nfor a user\n", to=[user("good")])
    until(lambda: real.inbox(user("good"), password("good")) == [b"for a user"])
    account = [a for a in real.suite.rows("account", "list") if a["address"] == user("good")][0]
    assert account["system"] is True and account["password"] is False and account["name"] == "Full Name"
    assert "auth-pam" in real.suite.daemons()


@needs_root
@pytest.mark.parametrize("service", ["imap", "submission"])
def test_only_with_the_password_of_the_machine(real, service):
    assert real.login(user("good"), password("good"), service) is None
    assert real.login(user("good"), "wrong", service)
    assert real.login("nobodyhere@" + SYSTEM, "wrong", service)
    assert real.login("alice@example.com", PASSWORD, service) is None


@needs_root
def test_the_name_of_the_user_is_enough(real):
    assert real.login(NAMES["good"], password("good"))  # there are two domains
    with_conf(real.suite, lambda text: text + "login-default-domain %s\n" % SYSTEM)
    real.suite.mw("reload")
    for service in ("imap", "submission"):
        assert real.login(NAMES["good"], password("good"), service) is None
    with_conf(real.suite, lambda text: text.replace("login-default-domain %s\n" % SYSTEM, ""))
    real.suite.mw("reload")


@needs_root
def test_expired_and_locked_users_stay_out(real):
    assert real.login(user("expired"), password("expired"))
    assert real.login(user("locked"), password("locked"))
    real.suite.until_logged("user=%s service=imap rip=127.0.0.1 reason=disabled" % user("expired"), "user=%s service=imap rip=127.0.0.1 reason=password" % user("locked"))
    # Mail is theirs all the same, as their mailbox is.
    assert real.verdict(user("expired"))[0] == 250


@needs_root
def test_unknown_users_and_those_of_the_system(real):
    assert real.verdict("nobodyhere@" + SYSTEM)[0] == 550
    assert real.verdict("-x@" + SYSTEM)[0] == 550
    # root has no mailbox: that is postmaster's.
    real.suite.deliver("Subject: x\n\nfor root\n", to=["root@" + SYSTEM])
    until(lambda: b"for root" in real.inbox("alice@example.com", PASSWORD))
    assert real.login("root@" + SYSTEM, "x")
    assert not [a for a in real.suite.rows("account", "list") if a["address"].startswith("root@")]
    real.suite.mw("alias", "add", "root@" + SYSTEM, user("good"))
    real.suite.deliver("Subject: x\n\nby the alias\n", to=["root@" + SYSTEM])
    until(lambda: b"by the alias" in real.inbox(user("good"), password("good")))
    real.suite.mw("alias", "remove", "root@" + SYSTEM)


@needs_root
def test_aliases_lead_to_users(real):
    real.suite.mw("alias", "add", "team@example.com", user("other"), user("good"), "alice@example.com", "nobodyhere@" + SYSTEM)
    shown = {row["address"]: row["local"] for row in real.suite.rows("alias", "show", "team@example.com")}
    assert shown == {user("other"): True, user("good"): True, "alice@example.com": True}
    real.suite.deliver("Subject: x\n\nfor the team\n", to=["team@example.com"])
    for who, word in ((user("other"), password("other")), (user("good"), password("good")), ("alice@example.com", PASSWORD)):
        until(lambda: b"for the team" in real.inbox(who, word))


def has(m, who, text):
    box = (user(who), password(who)) if who in NAMES else ("alice@example.com", PASSWORD)
    return text.encode() in m.inbox(*box)


@pytest.fixture
def machine_aliases(real):
    """For one test."""
    yield lambda text: taken(real.suite, text % NAMES)
    taken(real.suite, "")


@needs_root
def test_aliases_of_the_machine_come_before_its_users(real, machine_aliases):
    machine_aliases("%(good)s: %(good)s, alice@example.com\n%(other)s: \\%(other)s\n%(locked)s: %(good)s\n")
    shown = {row["address"] for row in real.suite.rows("alias", "show", user("good"))}
    assert shown == {user("good"), "alice@example.com"}
    for to, text, whose in ((user("good"), "to himself and her", ("good", "alice")), (user("other"), "as it is", ("other",)),
                            (user("locked"), "to another", ("good", "alice")), (user("good").replace("@", "+x@"), "with a detail, too", ("good", "alice"))):
        real.suite.deliver("Subject: x\n\n%s\n" % text, to=[to])
        for who in whose:
            until(lambda: has(real, who, text), what="%s for %s" % (text, who))
    assert not has(real, "alice", "as it is")
    # An address of its own is none of the alias's.
    machine_aliases("%(good)s+x: alice@example.com\n")
    assert [row["address"] for row in real.suite.rows("alias", "show", user("good").replace("@", "+x@"))] == ["alice@example.com"]


@needs_root
def test_an_alias_for_root_comes_before_postmaster(real, machine_aliases):
    machine_aliases("root: %(other)s\ndaemon: root\n")
    for name in ("root", "daemon"):
        real.suite.deliver("Subject: x\n\nby /etc/aliases to %s\n" % name, to=["%s@%s" % (name, SYSTEM)])
        until(lambda: has(real, "other", "by /etc/aliases to " + name))
        assert not has(real, "alice", "by /etc/aliases to " + name)
    machine_aliases("root: no-such-user, \\root\n")
    real.suite.deliver("Subject: x\n\nroot as it is\n", to=["root@" + SYSTEM])
    until(lambda: has(real, "alice", "root as it is"))


@needs_root
def test_a_command_beside_a_mailbox(real, machine_aliases):
    """It runs as the user whose name the alias has. One that leads to nobody holds up neither."""
    machine_aliases('%(other)s: nobody-of-this-name, \\%(other)s, "|id -un > OUT/who", %(good)s\n')
    qid = real.suite.deliver("Subject: x\n\nbeside a command\n", to=[user("other")])
    assert file(real.suite, "who").split() == [NAMES["other"]]
    for who in ("other", "good"):
        until(lambda: has(real, who, "beside a command"))
    assert status_of(real.suite, qid)[0] == "queue_delivered"


@needs_root
def test_plus_addressing_and_senders(real):
    name = user("good").replace("@", "+detail@")
    real.suite.deliver("Subject: x\n\nwith a detail\n", to=[name])
    until(lambda: b"with a detail" in real.inbox(user("good"), password("good")))
    c = smtplib.SMTP("127.0.0.1", real.suite.port("submission"), timeout=30)
    c.starttls(context=tls_context())
    c.login(user("good"), password("good"))
    c.sendmail(user("good"), ["alice@example.com"], "Subject: x\n\nfrom a user\n")
    with pytest.raises(smtplib.SMTPSenderRefused):
        c.sendmail(user("other"), ["alice@example.com"], "Subject: x\n\nx\n")
    c.quit()
    until(lambda: b"from a user" in real.inbox("alice@example.com", PASSWORD))


@needs_root
def test_a_changed_password_counts(real):
    name = NAMES["other"]
    assert real.login(user("other"), password("other")) is None
    subprocess.run(["chpasswd"], input="%s:another\n" % name, text=True, check=True)
    try:
        assert real.login(user("other"), "another") is None
        # What was right is remembered with what this machine knew of the password then.
        real.suite.mw("reload")
        assert real.login(user("other"), password("other"))
        assert real.login(user("other"), "another") is None
    finally:
        subprocess.run(["chpasswd"], input="%s:%s\n" % (name, password("other")), text=True, check=True)
        real.suite.mw("reload")


@needs_root
def test_what_commands_say_of_users(real):
    assert real.login(user("gone"), password("gone")) is None
    r = real.suite.mw("account", "passwd", user("gone"), "--password-stdin", input="x\n", check=False)
    assert r.returncode != 0 and "passwd(1)" in r.stderr
    r = real.suite.mw("account", "add", user("locked"), "--password-stdin", input="x\n", check=False)
    assert r.returncode != 0 and "is a user of this machine" in r.stderr
    real.suite.mw("account", "add", "virtual@" + SYSTEM, "--password-stdin", input="virtual pw\n")
    assert real.login("virtual@" + SYSTEM, "virtual pw") is None
    assert real.login("virtual@" + SYSTEM, "wrong")
    real.suite.mw("account", "disable", user("gone"))
    assert real.login(user("gone"), password("gone"))
    assert real.verdict(user("gone"))[0] == 550
    real.suite.mw("account", "enable", user("gone"))
    real.suite.mw("account", "quota", user("gone"), "1M")
    assert "quota=1048576 system" in real.suite.mw("directory", "export").stdout
    assert "makes a new, empty account" in real.suite.mw("account", "remove", user("gone")).stdout
    assert real.login(user("gone"), password("gone")) is None


def failures_of(suite, address):
    return [line for line in suite.log().splitlines() if "auth_failed user=" + address in line]


@needs_root
def test_no_scram_for_users(real):
    """As with a wrong password: PAM has no keys."""
    assert real.login(user("good"), password("good")) is None
    since = len(failures_of(real.suite, user("good")))
    for word in (password("good"), "wrong"):
        assert gsasl(real.suite, "SCRAM-SHA-256", user=user("good"), password=word)[0] != 0
    failed = until(lambda: lines[since:] if len(lines := failures_of(real.suite, user("good"))) >= since + 2 else None)
    assert len(failed) == 2 and all("reason=proof" in line for line in failed), failed


@needs_root
def test_app_passwords_of_users(real):
    real.login(user("good"), password("good"))
    word = real.suite.mw("account", "app-password", "add", user("good"), "--name", "phone").stdout.split()[-1]
    assert real.login(user("good"), word) is None
    real.suite.until_logged("app_password=phone")
    # One whom the account phase keeps out has no other way in.
    real.verdict(user("expired"))
    word = real.suite.mw("account", "app-password", "add", user("expired"), "--name", "phone").stdout.split()[-1]
    assert real.login(user("expired"), word)


@needs_root
def test_who_is_removed_is_no_user_any_more(real):
    assert real.login(user("gone"), password("gone")) is None
    subprocess.run(["userdel", NAMES["gone"]], check=True)
    real.suite.mw("reload")
    assert real.login(user("gone"), password("gone"))
    assert real.verdict(user("gone"))[0] == 550


# ---- with modules and users of the test's own ----


def wrapper(name):
    found = [os.path.join(d, name) for d in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib") if os.path.exists(os.path.join(d, name))]
    return found[0] if found else pytest.skip("there is no " + name)


PASSWD = """slow:x:5001:5001:Slow:/:/bin/false
quick:x:5002:5002:Quick,here:/:/bin/false
crash:x:5003:5003::/:/bin/false
daemonish:x:99:99::/:/bin/false
barred:x:5004:5004::/:/bin/false
waits:x:5005:5005::/:/bin/false
babbler:x:5006:5006::/:/bin/false
"""
# What a module may do: hang, or crash.
MODULE = """#!/bin/sh
[ "$PAM_USER" != slow ] || { touch %(dir)s/hangs; exec sleep 20; }
[ "$PAM_USER" != crash ] || kill -SEGV $PPID
[ "$PAM_USER" != babbler ] || { printf '%%%%n%%%%n%%%%s babble \\001\\377\\033[2J\\n'; head -c 100000 /dev/zero | tr '\\0' x; }
exit 0
"""
ACCOUNT = """#!/bin/sh
[ "$PAM_USER" = waits ] || exit 0
touch %(dir)s/waits
until [ -e %(dir)s/go ]; do sleep 0.05; done
"""


def is_left(path):
    """Whether a directory of the wrapper is of a process that is no more."""
    try:
        with open(os.path.join(path, "pid")) as f:
            return not is_alive(int(f.read()))
    except (OSError, ValueError):
        return False


@pytest.fixture(scope="module")
def wrapped(tmp_path_factory):
    """The suite with another libexec, in which auth-pam sees PAM and NSS as the test wants it."""
    if os.environ.get("SANITIZED"):
        pytest.skip("a sanitizer wants to be the first library of a process")
    preload = "%s:%s" % (wrapper("libpam_wrapper.so"), wrapper("libnss_wrapper.so"))
    matrix = wrapper("pam_wrapper/pam_matrix.so")
    before_us = set(glob.glob("/tmp/pam.?"))
    provider = Provider()
    provider.keys = [provider.key("ES256", "es256")]
    top = tempfile.mkdtemp(prefix="mailwain-test-pam-")
    os.chmod(top, 0o755)
    d = {"dir": top, "matrix": matrix}
    files = {"passwd": PASSWD, "group": "", "shadow": "", "passdb": "slow:pw:mail\nquick:pw:mail\ncrash:pw:mail\ndaemonish:pw:mail\nbarred:pw:elsewhere\nwaits:pw:mail\nbabbler:pw:mail\n", "module": MODULE % d, "account": ACCOUNT % d,
             "pam.d/mail": """auth optional pam_exec.so quiet stdout %(dir)s/module
auth required %(matrix)s passdb=%(dir)s/passdb
account optional pam_exec.so quiet %(dir)s/account
account required %(matrix)s passdb=%(dir)s/passdb
""" % d}
    os.mkdir(os.path.join(top, "pam.d"))
    for name, text in files.items():
        with open(os.path.join(top, name), "w") as f:
            f.write(text)
    for name in ("module", "account"):
        os.chmod(os.path.join(top, name), 0o755)
    for name in ("bin", "libexec"):
        subprocess.run(["cp", "-d", "-r", os.path.join(BUILD, name), top], check=True)
    real_one = os.path.join(top, "libexec", "auth-pam.real")
    os.rename(os.path.join(top, "libexec", "auth-pam"), real_one)
    with open(os.path.join(top, "libexec", "auth-pam"), "w") as f:
        f.write("""#!/bin/sh
export LD_PRELOAD=%s PAM_WRAPPER=1 PAM_WRAPPER_SERVICE_DIR=%s/pam.d NSS_WRAPPER_PASSWD=%s/passwd NSS_WRAPPER_GROUP=%s/group
exec %s
""" % (preload, top, top, top, real_one))
    os.chmod(os.path.join(top, "libexec", "auth-pam"), 0o755)
    before = mailwain.BIN
    mailwain.BIN = os.path.join(top, "bin", "mailwain")
    try:
        i = Instance(conf_lines=["pam-service mail", "domain %s { accounts system }" % SYSTEM, "domain %s { accounts system }" % OTHER, "tls-client-authorities ca.pem"] + provider.with_keys())
        for name in ("quick", "barred"):
            issued(os.path.join(i.root, "etc"), name, name, email="%s@%s" % (name, SYSTEM))
        with i.running("alice"):
            m = Machine(i)
            m.dir, m.provider = top, provider
            yield m
    finally:
        provider.__exit__()
        mailwain.BIN = before
        # The wrapper's own, of which it leaves one for each process that was killed, and can make a few dozen.
        for left in [top] + sorted(path for path in set(glob.glob("/tmp/pam.?")) - before_us if is_left(path)):
            shutil.rmtree(left, ignore_errors=True)


def test_modules_decide(wrapped):
    assert wrapped.login("quick@" + SYSTEM, "pw") is None
    assert wrapped.login("quick@" + SYSTEM, "wrong")
    assert wrapped.login("daemonish@" + SYSTEM, "pw"), "below system-first-uid"
    assert wrapped.login("barred@" + SYSTEM, "pw"), "the account phase says no"
    wrapped.suite.until_logged("pam_refused user=barred service=imap rip=127.0.0.1")
    wrapped.suite.deliver("Subject: x\n\nhello\n", to=["quick@" + SYSTEM])
    until(lambda: wrapped.inbox("quick@" + SYSTEM, "pw") == [b"hello"])


@pytest.mark.parametrize("name,code", [("quick", 235), ("barred", 535)])
def test_a_certificate_is_no_way_round_the_account_phase(wrapped, name, code):
    context = tls_context()
    context.load_cert_chain(*("%s/etc/%s.%s" % (wrapped.suite.root, name, end) for end in ("pem", "key")))
    c = smtplib.SMTP_SSL("127.0.0.1", wrapped.suite.port("submissions"), context=context, timeout=30)
    c.ehlo()
    assert c.docmd("AUTH EXTERNAL =")[0] == code
    c.close()


@pytest.mark.parametrize("says_who,mechanism", [(True, "XOAUTH2"), (False, "OAUTHBEARER")])
def test_nor_is_a_token(wrapped, says_who, mechanism):
    """Who is refused gets the same challenge as with a token that is not good (RFC 7628 section 3.2.2)."""

    def said(name):
        address = "%s@%s" % (name, SYSTEM)
        return imap_by_token(wrapped.suite, token(wrapped.provider.keys[0], claims(address)), user=address if says_who else "", mechanism=mechanism)

    line, challenge = said("quick")
    assert line.startswith("a OK ") and challenge == ""
    for name, reason in (("barred", "disabled"), ("daemonish", "unknown-user"), ("nobodyhere", "unknown-user")):
        line, challenge = said(name)
        assert line.startswith("a NO [AUTHENTICATIONFAILED] User name or password is wrong"), name
        assert json.loads(challenge)["status"] == ("invalid_token" if mechanism == "OAUTHBEARER" else "401"), name
        wrapped.suite.until_logged("auth_failed user=%s@%s service=imap rip=127.0.0.1 reason=%s" % (name, SYSTEM, reason))
    wrapped.suite.mw("auth", "failures", "clear")


def test_who_leaves_while_the_account_phase_hangs(wrapped):
    """What PAM says then is nobody's; the exchange has ended. Others log in meanwhile, and behind it."""
    address = "waits@" + SYSTEM
    c = wrapped.suite.imap(login=False, tls=True)
    text = first("OAUTHBEARER", address, token(wrapped.provider.keys[0], claims(address)))
    c.send("a AUTHENTICATE OAUTHBEARER %s\r\n" % base64.b64encode(text).decode())
    until(lambda: os.path.exists(os.path.join(wrapped.dir, "waits")))
    c.close()
    assert wrapped.login("quick@" + SYSTEM, "pw") is None
    with open(os.path.join(wrapped.dir, "go"), "w"):
        pass
    until(lambda: "auth_ok user=%s service=imap" % address in wrapped.suite.log())
    assert wrapped.login("quick@" + SYSTEM, "pw") is None


def test_auth_test_asks_pam(wrapped):
    def tested(name, password):
        r = wrapped.suite.mw("auth", "test", "%s@%s" % (name, SYSTEM), "--password-stdin", input=password + "\n", check=False)
        return r.returncode, (r.stdout + r.stderr).split(SYSTEM)[1].strip()

    assert tested("quick", "pw") == (0, "would be let in, by PAM")
    assert tested("quick", "wrong") == (77, "would not be let in: PAM says that the password is wrong")
    assert tested("barred", "pw") == (77, "would not be let in: PAM's account phase does not let this user in")
    assert tested("daemonish", "pw") == (77, "would not be let in: system-first-uid says that this user of the machine has no mailbox")
    assert tested("nobodyhere", "pw") == (67, "would not be let in: there is no such account, and no such user of this machine")


def test_46_a_clock_does_not_tell_who_there_is(wrapped):
    """Refusals are on a grid of a second in such a domain, whatever PAM took, and for accounts of the directory, too; tests/load/timing.py looks closer."""
    wrapped.suite.mw("account", "add", "virtual@" + SYSTEM, "--password-stdin", input="virtual pw\n")
    for name in ("quick", "virtual", "nobodyhere", "barred"):
        c = wrapped.suite.imap(tls=True, login=False)
        with Clock() as t:
            c.no("LOGIN %s@%s wrong" % (name, SYSTEM), b"NO [AUTHENTICATIONFAILED]")
        c.close()
        assert t.seconds > 0.99, name
    wrapped.suite.mw("auth", "failures", "clear")


def asked_of_pam(suite):
    return {row["name"]: row["total"] for row in suite.rows("status")}["auth-pam"]


def test_45_strangers_do_not_shut_a_user_out(wrapped):
    """As with accounts of the directory: ten checks a minute of one user, whatever the domain in the address, at a pace; his own place has none."""
    suite = wrapped.suite
    assert wrapped.login("quick@" + SYSTEM, "pw") is None
    before = len(suite.log())
    Imap(suite.port("imap"), source="127.0.2.99", timeout=30).no('LOGIN nobodyhere@%s "guess"' % SYSTEM, b"NO [AUTHENTICATIONFAILED]")
    clients = [Imap(suite.port("imap"), source="127.0.2.%d" % n, timeout=30) for n in range(1, 13)]
    begun, asked = time.monotonic(), asked_of_pam(suite)
    for n, c in enumerate(clients):
        c.send('a LOGIN quick@%s "guess %d"\r\n' % ((SYSTEM, OTHER)[n % 2], n))
    assert wrapped.login("quick@" + SYSTEM, "pw") is None
    assert wrapped.login("quick@" + SYSTEM, "not remembered")
    said = [c.line() for c in clients]
    assert sum(line.startswith(b"a NO [AUTHENTICATIONFAILED]") for line in said) == 10 and sum(line.startswith(b"a NO [UNAVAILABLE]") for line in said) == 2, said
    assert time.monotonic() - begun > 9 * 0.4  # one guess begins so long behind another
    until(lambda: suite.log()[before:].count("reason=password") == 11 and suite.log()[before:].count("reason=refused-account") == 2)
    asked = asked_of_pam(suite) - asked
    assert asked in (11, 12), "all checks, and perhaps who quick is, which is forgotten after 30 s"
    counts = [row for row in suite.rows("auth", "failures", "list", "quick@" + OTHER) if row["of"] == "account"]
    assert len(counts) == 1 and counts[0]["failures"] == 10
    # Whether there is such a user nobody is asked before a stranger's turn.
    asked = asked_of_pam(suite)
    for n, c in enumerate(clients[:3]):
        c.no('LOGIN nobodyhere%d@%s "guess"' % (n, SYSTEM), b"NO [AUTHENTICATIONFAILED]")
    assert asked_of_pam(suite) - asked == 3
    suite.until_logged("user=nobodyhere2@%s service=imap rip=127.0.2.3 reason=unknown-user" % SYSTEM)
    for c in clients:
        c.close()
    suite.mw("auth", "failures", "clear", "quick@" + SYSTEM)
    assert suite.rows("auth", "failures", "list", "quick@" + SYSTEM) == []
    suite.mw("auth", "failures", "clear")


def test_what_is_no_name_of_a_user(wrapped):
    """PAM is not asked, and the answer is the same."""
    before = wrapped.suite.rows("status")
    for name in ("x" * 200, "-rf", "5002", "quick ", "quick+tag", "../quick"):
        assert "AUTHENTICATIONFAILED" in wrapped.login('"%s@%s"' % (name, SYSTEM), "pw")
    asked = [{row["name"]: row["total"] for row in rows}["auth-pam"] for rows in (before, wrapped.suite.rows("status"))]
    assert asked[0] == asked[1]


def test_48_a_password_with_nul_is_wrong(wrapped):
    """The LOGIN mechanism carries any octets. Those behind it are not compared by PAM, so there is no such password."""
    c = wrapped.suite.imap(tls=True, login=False)
    c.send(b"a AUTHENTICATE LOGIN\r\n")
    for word in (b"quick@" + SYSTEM.encode(), b"pw\0x"):
        c.line()
        c.send(base64.b64encode(word) + b"\r\n")
    assert c.line().startswith(b"a NO [AUTHENTICATIONFAILED]")
    assert wrapped.login("quick@" + SYSTEM, "pw") is None
    assert "ipc_bad_message" not in wrapped.suite.log()


def test_47_one_that_hangs_holds_nobody_up(wrapped):
    said = []
    t = threading.Thread(target=lambda: said.append(wrapped.login("slow@" + SYSTEM, "pw")))
    t.start()
    until(lambda: os.path.exists(os.path.join(wrapped.dir, "hangs")))
    assert wrapped.login("quick@" + SYSTEM, "not remembered")
    assert wrapped.login("alice@example.com", PASSWORD) is None
    assert wrapped.verdict("slow@" + SYSTEM)[0] == 250
    assert t.is_alive() and not said
    # auth-pam dies: who waits is told to try again, and others log in as soon as it is back.
    os.kill(wrapped.suite.daemons()["auth-pam"], 9)
    t.join(30)
    assert said and "UNAVAILABLE" in said[0]
    until(lambda: "AUTHENTICATIONFAILED" in wrapped.login("quick@" + SYSTEM, "not remembered"))
    assert wrapped.login("quick@" + SYSTEM, "pw") is None


def test_47_a_crash_costs_one_login(wrapped):
    assert "UNAVAILABLE" in wrapped.login("crash@" + SYSTEM, "pw")
    wrapped.suite.until_logged("pam_failed user=crash")
    assert wrapped.login("quick@" + SYSTEM, "pw") is None


def test_47_what_a_module_says_is_nobodys_format(wrapped):
    """Text of a module reaches neither client nor log."""
    assert wrapped.login("babbler@" + SYSTEM, "pw") is None
    assert "AUTHENTICATIONFAILED" in wrapped.login("babbler@" + SYSTEM, "%n%n%s")
    assert "babble" not in wrapped.suite.log().replace("babbler", "") and "pam_failed user=babbler" not in wrapped.suite.log()
    assert wrapped.login("quick@" + SYSTEM, "pw") is None
    wrapped.suite.mw("auth", "failures", "clear")


def test_the_first_such_domain_waits_for_a_restart():
    with Instance().running() as i:
        assert "auth-pam" not in i.daemons()
        with open(i.conf, "a") as f:
            f.write("domain %s { accounts system }\n" % SYSTEM)
        assert "waits for a restart: the first domain with accounts system" in i.mw("reload").stdout
        m = Machine(i)
        assert m.verdict("somebody@" + SYSTEM)[0] == 451
        assert "UNAVAILABLE" in m.login("somebody@" + SYSTEM, "x")
        i.stop()
        i.start()
        assert m.verdict("no.such.user@" + SYSTEM)[0] == 550
