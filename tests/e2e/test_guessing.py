"""Guessing: what is refused, whom that spares, what an administrator sees of it, and the line that other programs read."""
import base64
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time

import pytest

from mailwain import PASSWORD, ROOT, Imap, until
from tools import all_read, unpacked, with_conf
from test_sasl import gsasl

sys.path.insert(0, os.path.join(ROOT, "tests", "load"))
from timing import send_wrong_proof  # noqa: E402


def login(suite, user, password, source="127.0.0.1"):
    """"OK", or the response code of the refusal."""
    c = Imap(suite.port("imap"), source=source, timeout=30)
    line = c.run('LOGIN "%s" "%s"' % (user.replace('"', '\\"'), password))[1]
    c.close()
    return "OK" if line.startswith(b"OK") else re.match(rb"NO \[(\w+)\]", line).group(1).decode()


def failures(suite, *args):
    return suite.rows("auth", "failures", "list", *args)


@pytest.fixture
def guarded(fresh):
    """An instance in which the limits for each address hold, but for 127.0.0.1."""
    suite = fresh()
    with_conf(suite, lambda text: text.replace("unlimited-from 127.0.0.0/8", "unlimited-from 127.0.0.1"))
    suite.mw("reload")
    for name in ("alice", "bob"):
        suite.add(name)
    return suite


def test_45_strangers_do_not_shut_the_owner_out(guarded):
    """Ten checks a minute of an account for all strangers together; from where it logged in before it goes in at once."""
    assert login(guarded, "alice@example.com", PASSWORD, "127.0.1.1") == "OK"
    said = [login(guarded, "alice@example.com", "guess %d" % n, "127.0.2.%d" % n) for n in range(1, 13)]
    assert said == ["AUTHENTICATIONFAILED"] * 10 + ["UNAVAILABLE"] * 2
    assert login(guarded, "alice@example.com", PASSWORD, "127.0.3.1") == "UNAVAILABLE"  # another stranger, though right
    begun = time.monotonic()
    assert login(guarded, "alice@example.com", PASSWORD, "127.0.1.1") == "OK"
    assert time.monotonic() - begun < 10
    assert login(guarded, "bob@example.com", PASSWORD, "127.0.3.1") == "OK"
    row = [r for r in failures(guarded) if r["of"] == "account" and r["account"] == "alice@example.com"]
    assert row[0]["failures"] == 10 and row[0]["refused"] == 3
    guarded.until_logged("reason=refused-account")


def counted(suite, address, reason):
    return len(re.findall(r"rip=%s reason=%s$" % (re.escape(address), reason), suite.log(), re.M))


def test_45_what_is_malformed_counts_for_the_address(guarded):
    """A response to SCRAM that is none of a client's: 60 of them, and the address is refused, so that no names without end are looked up for it."""
    for n in range(65):
        c = Imap(guarded.port("imap"), source="127.0.6.1")
        c.send("a AUTHENTICATE SCRAM-SHA-256 %s\r\n" % base64.b64encode(b"n,,n=nobody%d,r=nonce" % n).decode())
        assert c.line().startswith(b"+ ")
        c.send(b"Z2FyYmFnZQ==\r\n")
        c.close()  # nobody waits for the answer, which is late
    until(lambda: counted(guarded, "127.0.6.1", "malformed") == 60 and counted(guarded, "127.0.6.1", "refused-address") == 5)
    assert [(r["of"], r["failures"]) for r in failures(guarded)] == [("address", 60)]
    assert login(guarded, "alice@example.com", PASSWORD, "127.0.6.1") == "UNAVAILABLE"
    assert login(guarded, "alice@example.com", PASSWORD, "127.0.6.2") == "OK"


def test_45_from_a_known_address_there_are_thirty_checks_a_minute(guarded):
    """Of one account; its owner elsewhere, others at that address, and strangers go on as ever."""
    for name, source in (("alice", "127.0.7.1"), ("alice", "127.0.7.2"), ("bob", "127.0.7.1")):
        assert login(guarded, name + "@example.com", PASSWORD, source) == "OK"
    clients = [Imap(guarded.port("imap"), source="127.0.7.1") for _ in range(33)]
    for c in clients:
        send_wrong_proof(c, "alice@example.com")
        c.close()
    until(lambda: counted(guarded, "127.0.7.1", "proof") == 30 and counted(guarded, "127.0.7.1", "refused-pair") == 3)
    assert login(guarded, "alice@example.com", PASSWORD, "127.0.7.1") == "UNAVAILABLE"
    assert login(guarded, "alice@example.com", PASSWORD, "127.0.7.2") == "OK"
    assert login(guarded, "alice@example.com", PASSWORD, "127.0.7.3") == "OK"
    assert login(guarded, "bob@example.com", PASSWORD, "127.0.7.1") == "OK"
    rows = {(r["of"], r["account"]): r for r in failures(guarded)}
    assert rows["known", "alice@example.com"]["failures"] == 30 and rows["known", "alice@example.com"]["refused"] == 4
    assert rows["place", ""]["failures"] == 30
    guarded.mw("auth", "failures", "clear", "alice@example.com")
    assert login(guarded, "alice@example.com", PASSWORD, "127.0.7.1") == "OK"


def test_45_a_client_with_the_old_password_does_not_keep_the_right_one_out(guarded):
    """At the same address: what was wrong is known to be, and takes neither a hash nor one of the minute's checks; until it is the right one."""
    assert login(guarded, "alice@example.com", PASSWORD, "127.0.8.1") == "OK"
    assert login(guarded, "alice@example.com", "the old one", "127.0.8.1") == "AUTHENTICATIONFAILED"
    for _ in range(40):
        c = Imap(guarded.port("imap"), source="127.0.8.1")
        c.send(b'a LOGIN alice@example.com "the old one"\r\n')
        c.close()
    until(lambda: counted(guarded, "127.0.8.1", "password") == 41)
    assert login(guarded, "alice@example.com", PASSWORD, "127.0.8.1") == "OK"
    assert {(r["of"], r["failures"]) for r in failures(guarded)} == {("known", 1), ("place", 1)}
    guarded.mw("account", "passwd", "alice@example.com", "--password-stdin", input="the old one\n")
    assert login(guarded, "alice@example.com", "the old one", "127.0.8.1") == "OK"


def test_lists_without_a_row_say_so(guarded):
    guarded.mw("auth", "failures", "clear")
    assert guarded.mw("auth", "failures", "list").stdout == "no failed log-in is counted\n"
    assert guarded.mw("alias", "list").stdout == "there is no alias\n"
    assert guarded.mw("account", "app-password", "list", "alice@example.com").stdout == "there is no app password\n"
    assert guarded.mw("auth", "failures", "list", "--json").stdout == ""
    login(guarded, "alice@example.com", "wrong", "127.0.2.1")
    assert "no failed" not in guarded.mw("auth", "failures", "list").stdout
    assert guarded.mw("auth", "failures", "list", "127.0.2.2").stdout == "none is counted of it\n"
    for name in ("alice", "bob"):
        guarded.mw("account", "remove", name + "@example.com")
    assert guarded.mw("account", "list").stdout == "there is no account\n"


def test_45_a_place_is_known_after_a_restart(guarded):
    assert login(guarded, "alice@example.com", PASSWORD, "127.0.1.1") == "OK"
    guarded.stop()
    guarded.start()
    for n in range(1, 12):
        login(guarded, "alice@example.com", "guess", "127.0.2.%d" % n)
    assert login(guarded, "alice@example.com", PASSWORD, "127.0.1.1") == "OK"
    assert login(guarded, "alice@example.com", PASSWORD, "127.0.4.1") == "UNAVAILABLE"


def test_passwords_that_are_too_long_for_a_hash_do_not_fill_the_log(guarded):
    """They are refused like wrong ones (test_sasl.py), and count like them."""
    guarded.mw("directory", "import", "-", input="account dear@example.com hash=$6$rounds=800000$saltsalt$%s\n" % ("x" * 86))
    said = [login(guarded, "dear@example.com", "x" * 500, "127.0.2.%d" % n) for n in range(1, 13)]
    assert said == ["AUTHENTICATIONFAILED"] * 10 + ["UNAVAILABLE"] * 2
    until(lambda: guarded.log().count("reason=hash-cost") == 10)
    assert "auth_error" not in guarded.log()


def test_an_app_password_gets_in_whatever_strangers_do(guarded):
    password = guarded.mw("account", "app-password", "add", "alice@example.com", "--name", "x").stdout.strip()
    for n in range(1, 12):
        login(guarded, "alice@example.com", "guess", "127.0.2.%d" % n)
    assert login(guarded, "alice@example.com", PASSWORD, "127.0.3.1") == "UNAVAILABLE"
    assert login(guarded, "alice@example.com", password, "127.0.3.1") == "OK"


def test_45_proofs_count_like_passwords(guarded):
    for n in range(10):
        assert gsasl(guarded, "SCRAM-SHA-256", user="nobody%d@example.com" % n, password="x")[0] != 0
        login(guarded, "bob@example.com", "guess", "127.0.2.%d" % (n + 1))
    code, said = gsasl(guarded, "SCRAM-SHA-256", user="bob@example.com", password=PASSWORD)
    assert code != 0 and "NO [UNAVAILABLE] Too many failed logins" in said, said
    guarded.mw("auth", "failures", "clear", "bob@example.com")
    assert gsasl(guarded, "SCRAM-SHA-256", user="bob@example.com", password=PASSWORD)[0] == 0
    # The proof made the place known.
    for n in range(10):
        login(guarded, "bob@example.com", "guess", "127.0.5.%d" % (n + 1))
    assert gsasl(guarded, "SCRAM-SHA-256", user="bob@example.com", password=PASSWORD)[0] == 0


@pytest.mark.alone
def test_46_a_clock_does_not_tell_who_there_is(guarded):
    """Refusals are on a grid of 250 ms, with an account and without; tests/load/timing.py looks closer, and at more kinds.

    What the machine does beside only adds, so the quickest of each kind is looked at, and a busy machine gets more rounds: a difference that is ours stays."""
    times = {"alice": [], "nobody": []}
    for n in range(24):
        if n >= 3 and max(min(seconds) for seconds in times.values()) < 0.275:
            break
        for number, name in enumerate(times):
            begun = time.monotonic()
            assert login(guarded, name + "@example.com", "wrong", "127.0.%d.%d" % (10 + n, 1 + number)) == "AUTHENTICATIONFAILED"
            times[name].append(time.monotonic() - begun)
            guarded.mw("auth", "failures", "clear")  # the next one waits for no other
    known, unknown = (min(seconds) for seconds in times.values())
    assert min(known, unknown) > 0.24 and max(known, unknown) / min(known, unknown) < 1.15, times


@pytest.mark.alone
def test_46_what_is_too_much_is_shed_before_it_is_hashed(guarded):
    """A hundred wait; one more is told so at once. The owner, from where he logged in before, gets in meanwhile. auth has all of them together, however slow their clients are."""
    assert login(guarded, "alice@example.com", PASSWORD, "127.0.1.1") == "OK"
    owner = [Imap(guarded.port("imap"), source="127.0.1.1", timeout=30) for _ in range(2)]
    clients = [Imap(guarded.port("imap"), source="127.0.%d.%d" % (2 + n // 200, 1 + n % 200), timeout=30) for n in range(150)]
    owners = " auth_ok user=alice@example.com "
    guarded.until_logged(owners)
    since, auth = len(guarded.log()), guarded.daemons()["auth"]
    os.kill(auth, signal.SIGSTOP)
    try:
        for n, c in enumerate(clients):
            c.send('a LOGIN nobody%d@example.com "guess %d"\r\n' % (n, n))
            all_read(c)
        for c, password in zip(owner, ("not remembered", PASSWORD)):
            c.send('a LOGIN alice@example.com "%s"\r\n' % password)
            all_read(c)
    finally:
        os.kill(auth, signal.SIGCONT)
    assert owner[0].line().startswith(b"a NO [AUTHENTICATIONFAILED]") and owner[1].line().startswith(b"a OK ")
    shed = 150 - 101 - 10
    log = until(lambda: log if (log := guarded.log()[since:]).count("reason=overload") >= shed and " reason=password" in log and owners in log else None)
    # Not behind the hundred who wait: so few were hashed before what is told at once, and before the owner's, however long that took.
    for line in ("reason=overload", " reason=password", owners):
        assert log.rpartition(line)[0].count("reason=unknown-user") < 30, line

    def told():
        answered = select.select([c.sock for c in clients], [], [], 0)[0]
        return sum(s.recv(1000, socket.MSG_PEEK).startswith(b"a NO [UNAVAILABLE] Too many logins at once") for s in answered)

    until(lambda: told() >= shed)
    for c in clients + owner:
        c.close()


def test_what_the_administrator_sees_and_forgets(guarded):
    assert failures(guarded) == []
    login(guarded, "alice@example.com", "wrong", "127.0.2.1")
    login(guarded, "NOBODY@example.com", "wrong", "127.0.2.1")
    rows = failures(guarded)
    assert sorted((r["of"], r["address"], r["account"], r["failures"]) for r in rows) == [
        ("account", "", "alice@example.com", 1), ("account", "", "nobody@example.com", 1), ("address", "127.0.2.1", "", 2),
        ("pair", "127.0.2.1", "alice@example.com", 1), ("pair", "127.0.2.1", "nobody@example.com", 1)]
    assert all(abs(r["last"] - time.time()) < 60 for r in rows)
    assert {r["of"] for r in failures(guarded, "nobody@example.com")} == {"account", "pair"}
    assert len(failures(guarded, "127.0.2.1")) == 3
    assert guarded.mw("auth", "failures", "clear", "127.0.2.1").stdout == "3 counts are forgotten\n"
    assert {r["of"] for r in failures(guarded)} == {"account"}
    assert guarded.mw("auth", "failures", "clear").stdout == "2 counts are forgotten\n"
    assert failures(guarded) == []
    assert guarded.mw("auth", "failures", "sort", check=False).returncode == 64
    guarded.until_logged("auth_failures_cleared object=127.0.2.1")


def test_the_lines_have_their_form(guarded):
    login(guarded, "alice@example.com", "wrong", "127.0.2.1")
    login(guarded, 'a"b rip=192.0.2.9 reason=password', "wrong", "127.0.2.2")
    until(lambda: guarded.log().count(" auth_failed ") == 2)
    lines = [line.split(" ", 2)[2] for line in guarded.log().splitlines() if " auth_failed " in line]
    assert lines == ["auth_failed user=alice@example.com service=imap rip=127.0.2.1 reason=password",
                     'auth_failed user="a\\"b rip=192.0.2.9 reason=password@example.com" service=imap rip=127.0.2.2 reason=unknown-user'], lines


# ---- fail2ban ----

FILTER = os.path.join(ROOT, "packaging", "fail2ban", "filter.conf")
BANNED = ["password", "unknown-user", "proof", "disabled", "acts-for-another", "refused-pair", "refused-address",
          "token-malformed", "token-algorithm", "token-unknown-key", "token-signature", "token-inactive"]
SPARED = ["malformed", "overload", "refused-account", "refused-load", "hash-cost",
          "token-expired", "token-not-yet-valid", "token-issuer", "token-audience", "token-scope", "token-without-user", "token-of-another"]


def source(*path):
    with open(os.path.join(ROOT, *path)) as f:
        return f.read()


def test_of_each_reason_it_is_known_whether_it_is_a_guess():
    page = source("man", "mailwain-log.5.in").split("Reasons are now:")[1].split(".El")[0]
    told = [reason for line in re.findall(r"^\.It (.*)", page, re.M) for reason in line.split(" , ")]
    assert sorted(told) == sorted(BANNED + SPARED)
    used = set(re.findall(r'"(token-[a-z-]+)"', source("lib", "oauth", "claims.c") + source("auth", "sasl.c"))) - {"token-good"}
    assert used == {reason for reason in told if reason.startswith("token-")}
    comment = re.sub(r"\n#\s*", " ", source("packaging", "fail2ban", "filter.conf").split("[Definition]")[0])
    assert not [reason for reason in SPARED if not re.search(r"[ ,]%s[ ,:]" % reason, comment)]


def matched(log):
    """The addresses that fail2ban would count."""
    program, where = unpacked("fail2ban-regex")
    # -c: not what this machine has for a fail2ban of its own.
    out = subprocess.run([program, "-c", os.path.dirname(program), "--print-all-matched", "--print-all-missed", log, FILTER], env=dict(os.environ, **where), capture_output=True, text=True, timeout=60).stdout
    return out, int(re.search(r"Lines: \d+ lines, \d+ ignored, (\d+) matched", out).group(1))


@pytest.mark.parametrize("form", ["text", "json"])
def test_fail2ban_reads_them(fresh, tmp_path, form):
    suite = fresh(conf_lines=["log-format json"] if form == "json" else [])
    suite.add("alice")
    for n in range(3):
        login(suite, "alice@example.com", "wrong", "127.0.2.%d" % (n + 1))
    login(suite, 'x rip=192.0.2.9 reason=password', "wrong", "127.0.2.4")
    login(suite, "alice@example.com", PASSWORD)
    until(lambda: suite.log().count("auth_failed") == 4)
    out, count = matched(os.path.join(suite.root, "log", "mailwain.log"))
    assert count == 4, out


def test_fail2ban_counts_guesses_only(tmp_path):
    log = tmp_path / "log"
    line = "2026-11-24T04:06:26.271Z auth[21830] auth_failed user=%s service=imap rip=192.0.2.7 reason=%s\n"
    syslog = "Nov 24 04:06:26 host mailwain: auth[21830] auth_failed user=a@b service=submission rip=2001:db8::1 reason=%s\n"
    log.write_text("".join(line % ("a@example.com", r) for r in BANNED) + "".join(syslog % r for r in BANNED))
    assert matched(str(log))[1] == 2 * len(BANNED)
    log.write_text("".join(line % ("a@example.com", r) for r in SPARED) + line % ('"x auth_failed user=y service=imap rip=192.0.2.1 reason=password"', "overload")
                   + "2026-11-24T04:06:26.271Z imapd[7] imap_refused rip=192.0.2.1 reason=\"auth[1] auth_failed user=a service=imap rip=192.0.2.3 reason=password\"\n"
                   + "2026-11-24T04:06:26.271Z auth[7] auth_ok user=a@example.com service=imap rip=192.0.2.1\n")
    assert matched(str(log))[1] == 0


# ---- at the size of a botnet: tests/load/guessing.py, for a moment ----


@pytest.mark.alone
def test_45_a_botnet_is_not_noticed_by_owners():
    import measure
    from guessing import guessing

    findings = measure.Findings()
    guessing(findings, 700, 4, 200, 10, 1)
    assert not findings.faults, findings.faults
