"""What an administrator sees: commands, their mistakes and their answers, the log."""
import json
import os
import signal
import socket
import subprocess

import pytest

from mailwain import BIN, BUILD, DOMAIN, PASSWORD, TIMEOUT, Instance, until

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
    assert story == ["smtp_queued", "queue_delivered", "queue_removed"], story
    assert not [e for e in events if "text" in e], events
    assert {e["daemon"] for e in events} >= {"master", "auth", "queue", "deliver", "smtpd", "imapd", "imap-session"}


def test_the_level_holds_for_all_daemons(fresh):
    suite = fresh(conf_lines=["log-level warn"])
    suite.add("alice")
    suite.deliver(MESSAGE % "quiet")
    suite.stop()
    assert suite.log() == ""


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
    i.close()


def refused(suite, code, *words, verb="start"):
    r = suite.mw(*verb.split(), check=False)
    assert r.returncode == code, (r.returncode, r.stderr)
    for word in words:
        assert word in r.stderr, (word, r.stderr)
    return r.stderr


def test_a_second_start_is_told_by_whom_it_runs(suite):
    refused(suite, 73, "already running", str(suite.daemons()["master"]))


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
    assert "master_reload_refused" in suite.log() and "daemon_reload_refused" in suite.log()


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
    with open(path + ".2") as f:
        assert "master_reload" in f.read()
    edit(suite, "log file:/nowhere/at/all", drop=["log "])
    refused(suite, 78, "/nowhere/at/all", "the old configuration stays", verb="reload")
