"""What an administrator sees: commands, their mistakes and their answers, the log."""
import fcntl
import json
import os
import pathlib
import re
import signal
import socket
import stat
import subprocess
import time

import pytest

from mailwain import BIN, TIMEOUT, Instance, until
from remote import remote_host
from test_submission import client, not_at_the_end_of_an_hour
from tools import in_time

MESSAGE = "Subject: %s\n\nhello\n"


def no_duplicates(pairs):
    keys = [k for k, _ in pairs]
    assert len(keys) == len(set(keys)), keys
    return dict(pairs)


# ---- the log ----


def test_the_json_log_is_json(fresh):
    suite = fresh(conf_lines=["log-format json"])
    suite.add("alice")
    qid = suite.deliver(MESSAGE % "json")
    suite.wait_empty()
    suite.stop()
    events = [json.loads(line, object_pairs_hook=no_duplicates) for line in suite.log().splitlines()]
    story = [e["event"] for e in events if e.get("qid") == qid]
    # Two processes, each in its own time.
    assert sorted(story) == ["queue_delivered", "queue_removed", "smtp_queued"], story
    assert not [e for e in events if "text" in e], events
    assert {e["daemon"] for e in events} >= {"master", "auth", "queue", "deliver", "smtpd", "imapd", "imap-session"}


def test_the_level_holds_for_all_daemons(fresh):
    suite = fresh(conf_lines=["log-level warn"])
    suite.add("alice")
    suite.deliver(MESSAGE % "quiet")
    suite.stop()
    assert not [l for l in suite.log().splitlines() if not re.search(r"\] (warn|error): ", l)]


# ---- start, stop, reload ----


def edit(suite, *lines, drop=()):
    """Takes the lines beginning with one of drop out of the configuration, and adds lines."""
    with open(suite.conf) as f:
        kept = [l for l in f.read().splitlines() if not (drop and l.startswith(tuple(drop)))]
    with open(suite.conf, "w") as f:
        f.write("\n".join(kept + list(lines)) + "\n")


@pytest.fixture
def stopped(fresh):
    """An instance that does not run."""
    i = Instance()
    yield i
    i.mw("stop", check=False, timeout=90)
    i.started = False
    i.close()


def refused(suite, code, *words, verb="start"):
    r = suite.mw(*verb.split(), check=False)
    assert r.returncode == code, (r.returncode, r.stderr)
    for word in words:
        assert word in r.stderr, (word, r.stderr)
    return r.stderr


def test_a_second_start_is_told_by_whom_it_runs(suite):
    refused(suite, 73, "already running", str(suite.daemons()["master"]))


def test_what_others_may_read_holds_up_neither_start_nor_stop(stopped):
    """Whoever may read a file may lock it."""
    stopped.start()
    stopped.stop()
    run = os.path.join(stopped.root, "run")
    held = [open(os.path.join(run, name)) for name in os.listdir(run) if stat.S_ISREG(os.lstat(os.path.join(run, name)).st_mode)]
    held = [f for f in held if os.fstat(f.fileno()).st_mode & (stat.S_IRGRP | stat.S_IROTH)]
    assert held
    for f in held:
        fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    stopped.start()
    refused(stopped, 73, "already running", str(stopped.daemons()["master"]))
    stopped.stop()
    for f in held:
        f.close()


def test_a_start_that_fails_says_why_and_so_does_the_log(stopped):
    edit(stopped, "control-group no-such-group")
    refused(stopped, 78, "control-group", "no-such-group", "groupadd", "mailwain.conf:")
    assert "error: master_failed" in stopped.log() and "no-such-group" in stopped.log()


def test_a_port_in_use_is_named(stopped):
    with socket.socket() as other:
        other.bind(("127.0.0.1", stopped.port("imap")))
        other.listen()
        refused(stopped, 78, ":%d (imap)" % stopped.port("imap"), "in use", "ss -ltnp")
    stopped.start()


def test_a_daemon_that_cannot_start_says_why(stopped):
    """Its last words were lost when the end of the process was seen first."""
    with open(os.path.join(stopped.root, "etc", "tls.key"), "w") as f:
        f.write("no key\n")
    for _ in range(10):
        refused(stopped, 78, "tls-key is not a PEM private key")
    assert "worker[" not in stopped.log()


def test_a_missing_key_is_named_with_the_line_that_names_it(stopped):
    os.rename(os.path.join(stopped.root, "etc", "tls.key"), os.path.join(stopped.root, "key"))
    refused(stopped, 78, "mailwain.conf:", "tls-key", "etc/tls.key", "No such file")


def test_implicit_tls_without_a_certificate_is_refused(stopped):
    edit(stopped, drop=["tls "])
    refused(stopped, 78, "submissions needs a certificate", "mailwain.conf:")
    edit(stopped, drop=["listen submissions"])
    refused(stopped, 78, "imaps needs a certificate", "mailwain.conf:")
    refused(stopped, 78, "imaps needs a certificate", verb="config check")


def test_the_log_on_standard_error_needs_the_foreground(stopped):
    edit(stopped, "log stderr", drop=["log "])
    refused(stopped, 78, "log stderr", "--foreground")


def test_a_reload_that_one_daemon_refuses_changes_nothing(fresh):
    suite = fresh()
    suite.add("alice")
    key = os.path.join(suite.root, "etc", "tls.key")
    with open(key) as f:
        good = f.read()
    edit(suite, "message-size 1M")
    with open(key, "w") as f:
        f.write("no key\n")
    refused(suite, 78, "tls-key is not a PEM private key", "the old configuration stays", verb="reload")
    assert "SIZE 52428800" in suite.smtp().hello()
    # A daemon that dies now comes back with what the others have.
    pid = suite.daemons()["imapd"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: suite.daemons()["imapd"] not in (pid, 0))
    suite.imap(tls=True).ok("NOOP")
    os.unlink(key)
    refused(suite, 78, "No such file", "the old configuration stays", verb="reload")
    with open(key, "w") as f:
        f.write(good)
    suite.mw("reload")
    assert "SIZE 1048576" in suite.smtp().hello()
    suite.until_logged("master_reload_refused", "daemon_reload_refused")


def test_a_reload_says_what_waits_for_a_restart(fresh):
    suite = fresh()
    assert suite.mw("reload").stdout == "reloaded\n"
    edit(suite, "smtpd-workers 2", "listen lmtp on 127.0.0.1:%d { }" % suite.port("lmtp"))
    for _ in range(2):
        said = suite.mw("reload").stdout
        assert "restart" in said and "smtpd-workers" in said and "listen lmtp on" in said
    assert "smtpd-workers" in suite.mw("status").stdout


def test_a_reload_opens_the_log_anew(fresh):
    suite = fresh()
    path = os.path.join(suite.root, "log", "mailwain.log")
    os.rename(path, path + ".1")
    suite.mw("reload")
    until(lambda: os.path.exists(path) and "daemon_reloaded" in suite.log())
    edit(suite, "log file:%s.2" % path, drop=["log "])
    suite.mw("reload")
    until(lambda: os.path.exists(path + ".2") and "master_reload" in pathlib.Path(path + ".2").read_text())
    edit(suite, "log file:/nowhere/at/all", drop=["log "])
    refused(suite, 78, "/nowhere/at/all", "the old configuration stays", verb="reload")


# ---- the configuration ----


@pytest.mark.parametrize(
    "line, words",
    [
        ("log-level loud", "log-level: 'loud' is none of: error | warn | info | debug"),
        ("log-format xml", "log-format: 'xml' is none of: text | json"),
        ("durability fast", "durability: 'fast' is none of: normal | strict"),
        ("recipients 0", "recipients: must be from 1 to 1000"),
        ("message-size 100", "message-size: must be from 1K to 4095M"),
        ("smtpd-workers 33", "smtpd-workers: must be from 1 to 32"),
        ("stop-timeout 0s", "stop-timeout: must be from 1s to 1h"),
        ("undo-days 99999999999", "undo-days: must be from 0 to 36500"),
        ("smtp-timeout 0s", "smtp-timeout: must be at least 1s"),
        ("greeting-delay 2m", "greeting-delay: must be at most 1m"),
        ("postmaster nobody", "postmaster: 'nobody' is not an address"),
        ("domain a.test { catch-all nobody }", "catch-all: 'nobody' is not an address"),
        ("domain -a..test { }", "'-a..test' is not a domain name"),
        ("listen smtp on ::1:26 { }", "in brackets: [::1]:26"),
        ("listen pop3 on 127.0.0.1:110 { }", "there are smtp, submission, submissions, imap, imaps and lmtp"),
        ("listen smtp on 127.0.0.1:26 { recipients 0 }", "recipients: must be from 1 to 1000"),
        ("listen smtp on 127.0.0.1:26 { quota 5G }", "at the top level or in a domain block"),
        ("domian a.test { }", "unknown block 'domian'; did you mean 'domain'?"),
        ("qouta 5G", "unknown setting 'qouta'; did you mean 'quota'?"),
        ("control-group no-such-group", "there is no group no-such-group"),
        ("tls-key /tmp/other", "tls-key is set twice"),
    ],
)
def test_mistakes_are_found_by_check_with_their_place(stopped, line, words):
    with open(stopped.conf) as f:
        number = len(f.read().splitlines()) + 1
    edit(stopped, line)
    said = refused(stopped, 78, words, "mailwain.conf:%d" % number, verb="config check")
    assert refused(stopped, 78, words, verb="start").split(": ", 2)[2] == said.split(": ", 2)[2]


def test_the_hostname_must_be_one(stopped):
    edit(stopped, 'hostname "a host"', drop=["hostname"])
    refused(stopped, 78, "hostname: 'a host' is not a host name", verb="config check")
    edit(stopped, drop=["hostname"])
    refused(stopped, 78, "the hostname is missing; write: hostname", verb="config check")


def test_check_looks_into_the_files_of_tls(stopped):
    assert "is right" in stopped.mw("config", "check").stdout
    key = os.path.join(stopped.root, "etc", "tls.key")
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True, capture_output=True)
    refused(stopped, 78, "tls-key does not belong to tls-certificate", "mailwain.conf:", verb="config check")
    os.unlink(key)
    refused(stopped, 78, "tls-key", "No such file", verb="config check")


def test_check_looks_into_the_files_of_logins(stopped):
    password = os.path.join(stopped.root, "etc", "password")
    edit(stopped, "transport far.test { host mx.example.com:587; login alice; password-file password }")
    refused(stopped, 78, "password-file %s: No such file" % password, "mailwain.conf:", verb="config check")
    with open(password, "w") as f:
        f.write("\nsecret\n")
    refused(stopped, 78, "password-file: the file's first line is empty", "mailwain.conf:", verb="config check")
    with open(password, "w") as f:
        f.write("secret\n")
    assert "is right" in stopped.mw("config", "check").stdout


@pytest.mark.parametrize("setting", ["relay-authorities", "resolver-trust-anchor", "fetch-authorities", "oauth-client-secret"])
def test_check_opens_what_a_start_reads(stopped, setting):
    path = os.path.join(stopped.root, "etc", "pem")
    edit(stopped, "%s %s" % (setting, path))
    refused(stopped, 78, "%s %s: No such file" % (setting, path), "mailwain.conf:", verb="config check")
    os.mkdir(path)
    refused(stopped, 78, "%s %s: Is a directory" % (setting, path), "mailwain.conf:", verb="config check")
    os.rmdir(path)
    with open(os.path.join(stopped.root, "etc", "tls.pem")) as f:
        pathlib.Path(path).write_text(f.read())
    assert "is right" in stopped.mw("config", "check").stdout


@pytest.mark.parametrize("setting", ["relay-authorities", "fetch-authorities"])
def test_check_reads_authorities_to_the_end(stopped, setting):
    path = os.path.join(stopped.root, "etc", "pem")
    edit(stopped, "%s %s" % (setting, path))
    pathlib.Path(path).write_text("x")
    refused(stopped, 78, setting + " has no PEM certificate", "mailwain.conf:", verb="config check")
    with open(os.path.join(stopped.root, "etc", "tls.pem")) as f:
        good = f.read()
    pathlib.Path(path).write_text(good + good.replace("-----BEGIN CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----\n####") + good)
    for verb in ("config check", "start"):
        refused(stopped, 78, setting + ": certificate 2 in the file is damaged: ", "mailwain.conf:", verb=verb)


def test_check_looks_where_the_log_goes(stopped):
    path = os.path.join(stopped.root, "log", "another")
    edit(stopped, "log file:/nowhere/at/all", drop=["log "])
    refused(stopped, 78, "log /nowhere/at: No such file", "mailwain.conf:", verb="config check")
    edit(stopped, "log file:" + path, drop=["log "])
    assert "is right" in stopped.mw("config", "check").stdout
    assert not os.path.exists(path)
    os.symlink("elsewhere", path)
    refused(stopped, 78, "log %s: Too many levels" % path, "mailwain.conf:", verb="config check")
    os.unlink(path)
    pathlib.Path(path).write_text("before\n")
    assert "is right" in stopped.mw("config", "check").stdout
    assert pathlib.Path(path).read_text() == "before\n"


def test_a_certificate_that_ends_soon_is_told(fresh):
    suite = fresh()
    etc = os.path.join(suite.root, "etc")
    assert not suite.rows("status")[-1]["note"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "20", "-subj", "/CN=x", "-keyout", etc + "/tls.key", "-out", etc + "/tls.pem"],
        check=True,
        capture_output=True,
    )
    assert "the certificate ends on 20" in suite.mw("config", "check").stderr
    suite.mw("reload")
    # What a daemon that is late has to say is shown the next time.
    told = until(lambda: {r["name"] for r in suite.rows("status") if "the certificate ends on" in r["note"]})
    assert told == {"keys"}
    suite.until_logged("warn: tls_certificate_old")


def test_a_daemon_that_does_not_answer_is_named(fresh):
    """Its figures are not known: they are not none."""
    suite = fresh()
    assert {r["note"] for r in suite.rows("status")[1:]} == {""}
    pid = suite.daemons()["auth"]
    os.kill(pid, signal.SIGSTOP)
    try:
        notes = {r["name"]: r["note"] for r in suite.rows("status")}
    finally:
        os.kill(pid, signal.SIGCONT)
    assert notes.pop("auth") == "no answer within 3 s: its figures are not known" and set(notes.values()) <= {"", notes["master"]}
    until(lambda: {r["note"] for r in suite.rows("status")[1:]} == {""})


def test_explain_tells_value_place_default_and_meaning(stopped):
    edit(stopped, "quota 1G", "domain example.net { quota 5G }")
    text = stopped.mw("config", "explain", "quota").stdout
    assert text.startswith("quota: 1G, from %s:" % stopped.conf)
    assert "in domain example.net: 5G, from %s:" % stopped.conf in text
    assert "Default: 0\n" in text and "How much an account of the domain may keep" in text and "A size such as" in text
    assert stopped.mw("config", "explain", "quota", "--domain", "example.net").stdout.startswith("quota: 5G, from")
    assert stopped.mw("config", "explain", "quota", "--domain=example.net").stdout.startswith("quota: 5G, from")
    assert stopped.mw("config", "explain", "recipients").stdout.startswith("recipients: 1000, which is the default\n")
    assert stopped.mw("config", "explain", "postmaster").stdout.startswith("postmaster: not set, which is the default\n")
    row = json.loads(stopped.mw("config", "explain", "quota", "--domain", "example.net", "--json").stdout)
    assert (row["value"], row["default"], row["in"]) == ("5G", "0", "domain example.net") and row["origin"].startswith(stopped.conf)
    edit(stopped, 'transport *.example.com { host "[::1]:25"; relay-tls verify }')
    assert stopped.mw("config", "explain", "relay-tls", "--transport", "*.example.com").stdout.startswith("relay-tls: verify, from")
    assert "in transport *.example.com: verify, from" in stopped.mw("config", "explain", "relay-tls").stdout
    assert "stands in a transport block." in stopped.mw("config", "explain", "hold").stdout
    refused(stopped, 65, "no block transport a.test", verb="config explain hold --transport a.test")
    refused(stopped, 65, "did you mean 'quota'?", verb="config explain qouta")
    refused(stopped, 65, "no block domain nowhere.test", verb="config explain quota --domain nowhere.test")
    refused(stopped, 64, "which setting?", verb="config explain")
    refused(stopped, 64, "did you mean 'explain'?", verb="config explian quota")
    refused(stopped, 64, "'--domian'", verb="config explain quota --domian x")


def test_diff_shows_what_is_not_the_default(stopped):
    edit(stopped, "message-size 51200K", "recipients 7", "domain example.net { quota 5G }")
    rows = {(r["in"], r["setting"]): r for r in map(json.loads, stopped.mw("config", "diff", "--json").stdout.splitlines())}
    assert rows["", "recipients"]["value"] == "7" and rows["", "recipients"]["default"] == "1000"
    assert rows["domain example.net", "quota"]["value"] == "5G"
    assert ("", "message-size") not in rows, "51200K is 50M, the default"
    assert ("", "quota") not in rows
    assert "recipients" in stopped.mw("config", "diff").stdout


# ---- the command line ----


@pytest.mark.parametrize(
    "line, code, words",
    [
        ("account add a@example.com --qouta 5M --password-stdin", 64, ["has no option '--qouta'; did you mean '--quota'?", "usage: mailwain account add ADDRESS"]),
        ("account add a@example.com b@example.com --password-stdin", 64, ["'b@example.com' is too much"]),
        ("account add --password-stdin", 64, ["ADDRESS is missing", "usage: mailwain account add"]),
        ("account add a@example.com --quota", 64, ["--quota needs a value"]),
        ("account disable alice@example.com carol@example.com", 64, ["'carol@example.com' is too much"]),
        ("account list all", 64, ["'all' is too much"]),
        ("account lsit", 64, ["did you mean 'list'?"]),
        ("account list --root", 64, ["--root needs a directory"]),
        ("account quota alice@example.com", 64, ["SIZE|domain is missing"]),
        ("acount list", 64, ["there is no 'acount'; did you mean 'account'?"]),
        ("queue list --status lost", 64, ["active, deferred, scheduled or held"]),
        ("queue show", 64, ["ID is missing", "usage: mailwain queue show ID"]),
        ("queue delete", 64, ["--all for all 0 of them"]),
        ("directory import", 64, ["a file name is missing"]),
        ("store check 77777", 67, ["there is no mail store of an account 77777"]),
        ("mailbox list alice@example.com carol@example.com", 64, ["is too much"]),
        ("status --jason", 64, ["--jason is not understood"]),
        ("init --hostname a.test --port-offset 70000", 64, ["--port-offset takes a number up to 60000"]),
        ("init --hostname", 64, ["--hostname needs a value"]),
        ("init --hostname a..b", 64, ["--hostname takes a host name"]),
    ],
)
def test_wrong_usage_names_the_right_one(suite, line, code, words):
    suite.wait_empty()  # mail of the test before may still be there, and is counted
    before = suite.mw("account", "list").stdout
    r = suite.mw(*line.split(), check=False, input="secret\n")
    assert r.returncode == code, (r.returncode, r.stdout, r.stderr)
    for word in words:
        assert word in r.stderr, (word, r.stderr)
    assert r.stdout == ""
    assert suite.mw("account", "list").stdout == before


def test_options_may_stand_before_the_words(suite):
    suite.mw("account", "add", "--quota=5M", "--name", "A Z", "order@example.com", "--password-stdin", input="secret\n")
    row = suite.rows("account", "show", "order@example.com")[0]
    assert row["quota"] == 5 << 20 and row["name"] == "A Z"


def test_an_empty_root_is_not_the_machine(suite):
    for words in (["--root", "", "status"], ["--root=", "stop"], ["status", "--root", ""], ["account", "list", "--root", ""], ["config", "show", "--root", ""]):
        r = subprocess.run([BIN, *words], capture_output=True, text=True, timeout=TIMEOUT)
        assert r.returncode == 64 and "--root needs a" in r.stderr, (words, r.stderr)


def test_with_json_nothing_else_is_on_standard_output(suite, account):
    r = suite.mw("mailbox", "undo", account + "@example.com", "--since", "1h", "--json")
    assert r.stdout == "" and "brought back" in r.stderr


# ---- setting up ----


def test_a_directory_with_blanks_and_quotes(tmp_path):
    root = str(tmp_path / 'a "b;c#')
    subprocess.run([BIN, "--root", root, "init", "--hostname", "a.test", "--domain", "a.test"], check=True, capture_output=True)
    r = subprocess.run([BIN, "--root", root, "config", "check"], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    r = subprocess.run([BIN, "--root", root, "config", "diff", "--json"], capture_output=True, text=True)
    assert root + "/data" in {json.loads(line)["value"] for line in r.stdout.splitlines()}


def test_a_path_that_no_socket_can_have_is_refused_at_once(tmp_path):
    root = str(tmp_path / ("x" * 100))
    r = subprocess.run([BIN, "--root", root, "init", "--hostname", "a.test"], capture_output=True, text=True)
    assert r.returncode == 64 and "too long for a socket" in r.stderr
    assert not os.path.exists(root)


# ---- accounts, aliases, domains ----


def test_an_alias_that_leads_only_to_itself_is_refused(suite):
    suite.mw("alias", "add", "loop1@example.com", "loop2@example.com")
    r = suite.mw("alias", "add", "loop2@example.com", "loop1@example.com", check=False)
    assert r.returncode == 65 and "leads only to itself" in r.stderr
    assert "loop2@example.com" not in [row["address"] for row in suite.rows("alias", "list")]
    r = suite.mw("alias", "add", "self@example.com", "self@example.com", check=False)
    assert r.returncode == 65
    # With a way out it is an alias like others.
    suite.mw("alias", "add", "loop2@example.com", "loop1@example.com", "alice@example.com")
    assert [row["address"] for row in suite.rows("alias", "show", "loop1@example.com")] == ["alice@example.com"]


def test_an_alias_that_leads_nowhere_yet_says_so(suite):
    said = suite.mw("alias", "add", "early@example.com", "later@example.com").stdout
    assert "leads nowhere yet" in said
    suite.add("later")
    suite.deliver(MESSAGE % "early", to=["early"])


def test_removing_a_domain_says_what_stays(suite):
    suite.mw("domain", "add", "gone.test")
    suite.mw("account", "add", "a@gone.test", "--password-stdin", input="secret\n")
    suite.mw("alias", "add", "b@gone.test", "a@gone.test")
    assert "1 accounts and 1 aliases of it stay and get no mail" in suite.mw("domain", "remove", "gone.test").stdout
    suite.mw("account", "remove", "a@gone.test")
    suite.mw("domain", "add", "example.com")
    assert "stands in the configuration as well" in suite.mw("domain", "remove", "example.com").stdout


def test_every_change_of_the_directory_is_in_the_log(suite):
    a = "logged@example.com"
    suite.mw("account", "add", a, "--password-stdin", input="secret\n")
    suite.mw("account", "quota", a, "1G")
    suite.mw("account", "passwd", a, "--password-stdin", input="secret\n")
    suite.mw("account", "disable", a)
    suite.mw("account", "remove", a)
    want = ["auth_directory_changed kind=account change=%s object=%s" % (c, a) for c in ("added", "quota", "password", "disabled", "removed")]
    until(lambda: want[-1] in suite.log())
    log = suite.log()
    assert [log.index(w) for w in want] == sorted(log.index(w) for w in want)


def test_the_mail_of_a_disabled_account_can_be_looked_after(suite, account):
    a = account + "@example.com"
    suite.deliver(MESSAGE % "x", to=[account])
    suite.wait_empty()
    suite.mw("account", "disable", a)
    assert suite.mw("store", "check", a).stdout == "no faults\n"
    assert [m["messages"] for m in suite.rows("mailbox", "list", a) if m["name"] == "INBOX"] == [1]


def test_a_reload_changes_where_addresses_lead(fresh):
    """Answers of auth are remembered for moments, but not over a reload."""
    suite = fresh()
    suite.add("alice")
    c = suite.smtp()
    c.hello()
    c.expect("MAIL FROM:<bob@remote.test>", 250)
    c.expect("RCPT TO:<whoever@example.com>", 550)
    edit(suite, "domain example.com { catch-all alice@example.com }", drop=["domain example.com"])
    suite.mw("reload")
    c.expect("RCPT TO:<whoever@example.com>", 250)
    edit(suite, "domain example.com { }", drop=["domain example.com"])
    suite.mw("reload")
    c.expect("RCPT TO:<whoever@example.com>", 550)
    c.close()


# ---- the queue ----


@pytest.fixture
def waiting(suite):
    """A message that waits for a relay: its id."""
    suite.mw("alias", "add", "far@example.com", "someone@elsewhere.test")
    qid = suite.deliver(MESSAGE % "far", to=["far"])
    until(lambda: [r for r in suite.rows("queue", "list") if r["id"] == qid and r["status"] == "deferred"])
    yield qid
    suite.mw("queue", "delete", qid, check=False)
    suite.mw("alias", "remove", "far@example.com")


def test_a_damaged_message_is_no_matter_of_time(fresh):
    suite = fresh()
    suite.mw("alias", "add", "far@example.com", "someone@elsewhere.test")
    qid = suite.deliver(MESSAGE % "far", to=["far"])
    until(lambda: [r for r in suite.rows("queue", "list") if r["id"] == qid and r["status"] == "deferred"])
    os.truncate(os.path.join(suite.root, "spool", "queue", qid[-1], qid), 100)
    r = suite.mw("queue", "cat", qid, check=False)
    assert r.returncode == 65 and r.stderr, r


def test_tables_are_for_people(suite, waiting):
    row = [r for r in suite.rows("queue", "list") if r["id"] == waiting][0]
    text = suite.mw("queue", "list").stdout
    assert str(row["arrived"]) not in text and time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["arrived"])) in text
    shown = suite.mw("queue", "show", waiting).stdout.splitlines()
    assert shown[0].split()[:2] == ["id", "status"] and shown[2] == ""  # a row for each recipient
    assert shown[1].startswith(waiting) and "far@example.com" in shown[1] and str(row["arrived"]) not in shown[1]
    assert "M  " in suite.mw("status").stdout and "created" in suite.mw("account", "list").stdout


def test_an_empty_list_says_so(suite):
    suite.wait_empty()
    assert suite.mw("queue", "list").stdout == "the queue is empty\n"
    assert suite.mw("queue", "list", "--sender", "x@y.test").stdout == "no message fits\n"
    assert suite.mw("queue", "list", "--json").stdout == ""


def test_the_story_of_a_message_that_waits(suite, waiting):
    suite.mw("queue", "hold", waiting)
    suite.mw("queue", "release", waiting)
    until(lambda: suite.log().count("queue_deferred qid=" + waiting) == 2)
    suite.mw("queue", "delete", waiting)
    until(lambda: "qid=%s action=delete" % waiting in suite.log())
    lines = [l.split("] ", 1)[1] for l in suite.log().splitlines() if waiting in l]
    # Each daemon writes in its own time; and the attempt may just be ending when it is deleted, and says that it has gone.
    assert sorted(l.split(" ")[0] for l in lines if not l.startswith("queue_removed")) == ["queue_admin"] * 3 + ["queue_deferred"] * 2 + ["smtp_queued"], lines
    deferred = [l for l in lines if l.startswith("queue_deferred")][0]
    assert 'to=far@example.com mailbox=someone@elsewhere.test status="450 4.4.1' in deferred
    assert 150 < int(deferred.rsplit("retry_in=", 1)[1]) < 450


# ---- what is wrong with the machine ----


@pytest.mark.skipif(os.geteuid() != 0, reason="owners are told apart only by root's suite")
def test_a_directory_of_somebody_else_is_named_at_the_start(stopped):
    for path, user in (("spool", "mw-queue"), ("data/store", "mw-store"), ("data/directory", "mw-auth")):
        path = os.path.join(stopped.root, path)
        owner = os.stat(path)
        os.chown(path, 0, 0)
        for _ in range(5):
            refused(stopped, 78, path + " must be " + user + "'s", "chown -R " + user)
        os.chown(path, owner.st_uid, owner.st_gid)
    stopped.start()


def test_a_directory_that_is_missing_is_named_with_its_setting(stopped):
    os.rename(os.path.join(stopped.root, "spool"), os.path.join(stopped.root, "spool.away"))
    refused(stopped, 78, "/spool: No such file or directory", "spool-directory")
    assert "error: daemon_failed" in stopped.log()


# ---- an instance of an earlier version ----


def kept(suite):
    """{name: owner, group, mode} below the data directory."""
    found = [(e.name, e.stat()) for e in os.scandir(os.path.join(suite.root, "data"))]
    return {name: (st.st_uid, st.st_gid, st.st_mode) for name, st in found}


def test_what_an_earlier_version_did_without_is_made_at_the_start():
    with remote_host("127.0.0.31") as remote:
        i = Instance(["transport far.test { host %s }" % remote.place])
        before = kept(i)
        for name in ("drop", "relay"):
            os.rmdir(os.path.join(i.root, "data", name))
        os.mkdir(os.path.join(i.root, "data", "relay.new"))  # a power cut ended an earlier start
        with i.running("alice"):
            assert kept(i) == before
            made = ["directory=%s/data/%s" % (i.root, name) for name in ("drop", "relay")]
            until(lambda: [l.partition("master_made ")[2] for l in i.log().splitlines() if "master_made" in l] == made)
            i.mw("alias", "add", "out@example.com", "bob@far.test")
            i.deliver(MESSAGE % "relayed", to=("out",))
            until(lambda: remote.messages)
            assert "relay_state_failed" not in i.log()
            i.stop()
            i.start()
            assert i.log().count("master_made") == 2 and kept(i) == before


def test_a_disk_that_is_not_mounted_is_not_taken_for_an_earlier_version(stopped):
    """In the place of the store, or of all data, nothing is made: mail would be lost in it, or refused."""
    data = os.path.join(stopped.root, "data")
    for name in ("store", "directory"):
        for left in (name, "relay"):
            os.rename(os.path.join(data, left), os.path.join(data, left + ".away"))
        refused(stopped, 78, "/data/%s: No such file" % name, "data-directory")
        assert name not in os.listdir(data) and "relay" not in os.listdir(data)
        for left in (name, "relay"):
            os.rename(os.path.join(data, left + ".away"), os.path.join(data, left))
    stopped.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="owners are told apart only by root's suite")
def test_what_is_there_and_wrong_is_named_and_stays(stopped):
    path = os.path.join(stopped.root, "data", "relay")
    os.chown(path, 0, 0)
    os.chmod(path, 0o755)
    refused(stopped, 78, path + " must be mw-relay's")
    assert kept(stopped)["relay"][::2] == (0, 0o40755) and "master_made" not in stopped.log()
    os.rmdir(path)
    os.chown(os.path.dirname(path), 65534, -1)
    refused(stopped, 78, os.path.dirname(path) + " belongs to another user")
    assert "relay" not in kept(stopped)
    # Nor behind a link: whoever owns the directory there could put another one in the place of what is root's.
    data, others = os.path.dirname(path), os.path.join(stopped.root, "others")
    os.mkdir(others)
    os.rename(data, os.path.join(others, "data"))
    os.symlink(os.path.join(others, "data"), data)
    os.chown(os.path.join(others, "data"), 0, -1)
    os.chown(others, 65534, -1)
    refused(stopped, 78, others + " belongs to another user")
    os.rename(os.path.join(others, "data"), data + ".real")
    os.symlink(data + ".real", os.path.join(others, "data"))  # on to what is root's
    refused(stopped, 78, others + " belongs to another user")
    assert "relay" not in kept(stopped)
    os.remove(data)
    os.symlink(os.path.basename(data) + ".real", data)
    stopped.start()
    assert "relay" in kept(stopped)


def become(pid):
    """Takes the user of a process, who alone may change its limits."""
    with open("/proc/%d/status" % pid) as f:
        uid, gid = [int(l.split()[1]) for l in f if l.startswith(("Uid:", "Gid:"))]
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)


def test_a_full_disk_of_the_store_is_an_error_in_the_log(fresh):
    suite = fresh()
    suite.add("alice")
    suite.deliver(MESSAGE % "first")
    suite.wait_empty()
    deliver = suite.daemons()["deliver"]
    with open("/proc/%d/task/%d/children" % (deliver, deliver)) as f:
        worker = int(f.read())
    # What is larger does not fit.
    subprocess.run(["prlimit", "--pid", str(worker), "--fsize=100"], check=True, preexec_fn=lambda: become(worker))
    suite.deliver(MESSAGE % "second")
    until(lambda: "queue_deferred" in suite.log())
    suite.until_logged("error: store_error")


# ---- the directory as text ----


@pytest.mark.parametrize("address", ["a b@example.com", '"a b"@example.com', "a@b@example.com", "<a@example.com", "a..b@example.com", ".a@example.com", "x" * 65 + "@example.com"])
def test_addresses_that_could_not_be_exported_are_refused(suite, address):
    r = suite.mw("account", "add", address, "--password-stdin", input="secret\n", check=False)
    assert r.returncode == 65 and "quotes" in r.stderr, r.stderr
    r = suite.mw("alias", "add", address, "alice@example.com", check=False)
    assert r.returncode == 65 and "quotes" in r.stderr, r.stderr
    r = suite.mw("alias", "add", "target@example.com", address, check=False)
    assert r.returncode == 65 and "quotes" in r.stderr, r.stderr


def test_an_export_can_be_imported(fresh, tmp_path):
    suite = fresh()
    for local in ("alice", "o'brien", "a/b", "plus+tag", "ü", "%s%n", "-x", "x" * 64):
        suite.add(local)
    suite.mw("alias", "add", "sales@example.com", "alice@example.com", "b.c@elsewhere.test")
    suite.mw("domain", "add", "bücher.example")
    text = suite.mw("directory", "export").stdout
    path = tmp_path / "directory.txt"
    path.write_text(text)
    assert "11 lines imported, 0 entries removed" in suite.mw("directory", "import", "--replace", str(path)).stdout
    assert suite.mw("directory", "export").stdout == text
    # What an export to a full disk leaves must not take everybody away.
    r = suite.mw("directory", "import", "--replace", "/dev/null", check=False)
    assert r.returncode == 65 and "all 8 would be removed" in r.stderr
    assert suite.mw("directory", "export").stdout == text
    assert "0 lines imported, 10 entries removed" in suite.mw("directory", "import", "--replace", "--all", "/dev/null").stdout
    r = suite.mw("directory", "import", "-", input="account alice@example.com hash=$1$abc\n", check=False)
    assert r.returncode == 65 and "line 1: 'hash=$1$abc' is not understood; nothing was changed" in r.stderr


def test_a_restored_directory_leads_to_the_same_mail(fresh):
    suite = fresh()
    for name in ("gone", "alice", "bob"):
        suite.add(name)
        suite.deliver("Subject: for %s\n\nx\n" % name, to=[name])
    suite.wait_empty()
    suite.mw("account", "remove", "gone@example.com")
    before = {r["address"]: r["id"] for r in suite.rows("account", "list")}
    text = suite.mw("directory", "export").stdout
    suite.stop()
    directory = os.path.join(suite.root, "data", "directory")
    for name in os.listdir(directory):
        os.unlink(os.path.join(directory, name))
    suite.start()
    suite.mw("directory", "import", "-", input=text)
    assert {r["address"]: r["id"] for r in suite.rows("account", "list")} == before
    for name in ("alice", "bob"):
        c = suite.imap(name)
        c.ok("SELECT INBOX")
        assert b"for " + name.encode() in c.ok("FETCH 1 BODY[HEADER.FIELDS (SUBJECT)]")[0]
    # Nobody gets the number, and with it the mail, of somebody else.
    suite.add("new")
    assert suite.rows("account", "show", "new@example.com")[0]["id"] > max(before.values())
    r = suite.mw("directory", "import", "-", input="account thief@example.com id=%d\n" % before["bob@example.com"], check=False)
    assert r.returncode == 65 and "another account's" in r.stderr


# ---- the spool's key ----


def test_a_missing_key_costs_no_message(fresh):
    suite = fresh()
    suite.mw("alias", "add", "far@example.com", "someone@elsewhere.test")
    qid = suite.deliver(MESSAGE % "far", to=["far"])
    until(lambda: [r for r in suite.rows("queue", "list") if r["id"] == qid and r["status"] == "deferred"])
    suite.stop()
    key = os.path.join(suite.root, "spool", "key")
    os.rename(key, key + ".away")
    refused(suite, 78, "its key file is missing")
    assert not os.path.exists(key)
    os.rename(key + ".away", key)
    suite.start()
    until(lambda: [r["id"] for r in suite.rows("queue", "list")] == [qid])


def test_what_was_put_off_by_a_wrong_clock_is_tried(fresh):
    suite = fresh(conf_lines=["queue-retry-first 400d", "queue-retry-max 400d"])
    suite.mw("alias", "add", "far@example.com", "someone@elsewhere.test")
    qid = suite.deliver(MESSAGE % "far", to=["far"])
    until(lambda: suite.log().count("queue_deferred qid=" + qid) == 1)
    suite.stop()
    edit(suite, drop=["queue-retry"])
    suite.start()
    until(lambda: suite.log().count("queue_deferred qid=" + qid) == 2)
    assert suite.rows("queue", "list")[0]["next"] < time.time() + 86400


def test_a_listen_block_has_settings_of_its_own(stopped):
    """Of daemons that hand the client on, and of those that do not; also behind a reload and a session that hibernated."""
    imap, imaps, lmtp = (stopped.port(service) for service in ("imap", "imaps", "lmtp"))
    edit(
        stopped,
        "listen imap on 127.0.0.1:%d { message-size 7K; imap-timeout 2s }" % imap,
        "listen imaps on 127.0.0.1:%d { message-size 9K }" % imaps,
        "listen lmtp on 127.0.0.1:%d { smtp-timeout 1s }" % lmtp,
        "listen submission on 127.0.0.1:%d { messages-per-hour 1 }" % stopped.port("submission"),
        "imap-hibernate-after 100ms",
        drop=["listen imap ", "listen imaps ", "listen submission "],
    )
    stopped.start()
    stopped.add("alice")
    not_at_the_end_of_an_hour()
    submitter = client(stopped)
    submitter.expect("MAIL FROM:<alice@example.com>", 250)
    submitter.expect("RCPT TO:<alice@example.com>", 250)
    submitter.data("Subject: x\r\n\r\nx\r\n")
    stopped.mw("reload")
    submitter.expect("MAIL FROM:<alice@example.com>", 450)

    def idle():
        """A client that waits."""
        c = stopped.imap("alice")
        c.ok("SELECT INBOX")
        c.begin("IDLE")
        line = c.line()
        assert line.startswith(b"+ "), line
        return c

    limits = [in_time(lambda: re.search(rb"APPENDLIMIT=(\d+)", stopped.imap("alice", tls=tls).ok("CAPABILITY")[0]).group(1)) for tls in (False, True)]
    assert limits == [b"7168", b"9216"]
    assert in_time(idle).line().startswith(b"* BYE")
    with socket.create_connection(("127.0.0.1", lmtp), timeout=TIMEOUT) as s:
        assert s.recv(1000).startswith(b"220 ")
        assert s.recv(1000) == b""
