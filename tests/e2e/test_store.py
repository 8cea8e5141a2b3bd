"""The commands on an account's store, and what happens when its files are damaged."""
import glob
import os
import shutil

import pytest

from mailwain import take_lock, until

TEXT = "Subject: one\r\n\r\nfirst\r\n"


@pytest.fixture
def box(suite, account):
    c = suite.imap(account)
    for n in range(3):
        c.append("INBOX", TEXT.replace("one", "number %d" % n))
    c.ok("SELECT INBOX")
    yield suite, account, c
    c.close()


def address(account):
    return account + "@example.com"


def end_sessions(suite, account, client):
    """Sessions and the worker of the account are gone: nothing has its index open. A session tidies up when its client has gone."""
    client.run("LOGOUT")
    until(client.at_end)
    with open(os.path.join(suite.account_dir(account), "lock")) as lock:
        until(lambda: take_lock(lock))


def subjects(suite, account):
    c = suite.imap(account)
    c.ok("SELECT INBOX")
    lines = c.ok("FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]") if c.ok("SEARCH ALL") != [b"* SEARCH"] else []
    c.close()
    return sorted(line.split(b"Subject: ")[1].split(b"\r\n")[0].decode() for line in lines if b"Subject: " in line)


def test_check_of_a_sound_store(box):
    suite, account, _ = box
    r = suite.mw("store", "check", address(account))
    assert "no faults" in r.stdout + r.stderr
    assert suite.mw("store", "check", "nobody@example.com", check=False).returncode != 0


def test_mailbox_list(box):
    suite, account, _ = box
    rows = {r["name"]: r for r in suite.rows("mailbox", "list", address(account))}
    assert rows["INBOX"]["messages"] == 3 and rows["Sent"]["use"] == "sent"


def test_undo_of_expunge(box):
    suite, account, c = box
    c.ok("STORE 1:2 +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    assert subjects(suite, account) == ["number 2"]
    suite.mw("mailbox", "undo", address(account), "--since", "1h")
    assert subjects(suite, account) == ["number 0", "number 1", "number 2"]
    c.ok("NOOP")
    assert b"UID 5" in c.ok("FETCH 3 UID")[0]  # never a UID twice
    assert "no faults" in str(suite.mw("store", "check", address(account)))


def test_message_file_missing_or_short(box):
    suite, account, c = box
    files = sorted(glob.glob(suite.account_dir(account) + "/mail/*/*"))
    os.unlink(files[0])
    with open(files[1], "r+b") as f:
        f.truncate(5)
    untagged, tagged = c.run("FETCH 1:3 BODY.PEEK[]")
    assert tagged.startswith(b"NO [SERVERBUG]") and len(untagged) == 1 and b"Subject: number" in untagged[0]
    assert c.ok("FETCH 1:* FLAGS")
    r = suite.mw("store", "check", address(account), check=False)
    assert r.returncode == 65 and r.stdout.count("mailbox INBOX UID") == 2


@pytest.mark.parametrize("damage", ["missing", "garbage", "truncated", "lock"])
def test_damaged_index(box, damage):
    suite, account, c = box
    c.ok("CREATE kept/deep")
    c.ok("COPY 1 kept/deep")
    end_sessions(suite, account, c)
    index = suite.account_dir(account) + "/index"
    data = index + "/data.mdb"
    if damage == "missing":
        shutil.rmtree(index)
    elif damage == "garbage":
        with open(data, "r+b") as f:
            f.write(os.urandom(os.path.getsize(data)))
    elif damage == "truncated":
        with open(data, "r+b") as f:
            f.truncate(10000)
    else:
        os.unlink(index + "/lock.mdb")
    assert subjects(suite, account) == ["number 0", "number 1", "number 2"]
    assert {"kept", "kept/deep", "INBOX"} <= {r["name"] for r in suite.rows("mailbox", "list", address(account))}
    suite.deliver("Subject: later\n\nx\n", to=[account])
    until(lambda: "later" in subjects(suite, account))
    assert "no faults" in str(suite.mw("store", "check", address(account)))


def test_rebuild_index(box):
    suite, account, c = box
    suite.deliver("Subject: delivered\n\nx\n", to=[account])
    until(lambda: "delivered" in subjects(suite, account))
    assert suite.mw("store", "rebuild-index", address(account), check=False).returncode == 75  # a session is open
    end_sessions(suite, account, c)
    until(lambda: suite.mw("store", "rebuild-index", address(account), check=False).returncode == 0)
    assert subjects(suite, account) == ["delivered", "number 0", "number 1", "number 2"]


def test_quota_counts(suite):
    suite.mw("account", "add", "tight@example.com", "--password-stdin", "--quota", "3K", input="correct horse\n")
    c = suite.imap("tight")
    body = "Subject: x\r\n\r\n" + "y" * 2000 + "\r\n"
    c.append("INBOX", body)
    c.send("q APPEND INBOX {%d+}\r\n%s\r\n" % (len(body), body))
    assert c.end(b"q")[1].startswith(b"NO [OVERQUOTA]")
    c.ok("SELECT INBOX")
    c.no("COPY 1 Trash", b"NO [OVERQUOTA]")
    c.ok("MOVE 1 Trash")
