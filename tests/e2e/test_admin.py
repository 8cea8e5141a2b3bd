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
