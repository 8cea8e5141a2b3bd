"""mailwain directory: the text of export is what import takes, all of it or nothing."""
import glob
import os

import pytest

from mailwain import until

PASSWORD = "correct horse\n"


@pytest.fixture
def server(fresh):
    i = fresh()
    i.add("alice")
    i.mw("account", "add", "bob@example.com", "--password-stdin", "--quota", "500M", "--name", "Bob B", input=PASSWORD)
    i.mw("alias", "add", "sales@example.com", "alice@example.com", "bob@example.com")
    i.mw("domain", "add", "b\u00fccher.example")
    return i


def export(i):
    return i.mw("directory", "export").stdout


def do_import(i, text, *args, check=True):
    return i.mw("directory", "import", *args, "-", input=text, check=check)


def test_what_was_exported_comes_back(server):
    before, ids = export(server), {a["address"]: a["id"] for a in server.rows("account", "list")}
    assert "domain xn--bcher-kva.example\n" in before and " name=Bob B\n" in before
    server.mw("account", "remove", "bob@example.com")
    server.mw("alias", "remove", "sales@example.com")
    do_import(server, before)
    assert export(server) == before
    assert {a["address"]: a["id"] for a in server.rows("account", "list")}["alice@example.com"] == ids["alice@example.com"]


def test_replace_removes_what_the_text_does_not_name(server):
    text = "".join(line + "\n" for line in export(server).splitlines() if "bob@" not in line.split()[1])
    text = text.replace("sales@example.com alice@example.com bob@example.com", "SALES@example.com alice@example.com")
    do_import(server, text)
    assert "account bob@example.com" in export(server)
    do_import(server, text.replace("xn--bcher-kva", "BU\u0308CHER"), "--replace")
    assert [a["address"] for a in server.rows("account", "list")] == ["alice@example.com"]
    assert [d["domain"] for d in server.rows("domain", "list") if d["origin"] == "directory"] == ["xn--bcher-kva.example"]
    assert [a["targets"] for a in server.rows("alias", "list")] == [["alice@example.com"]]


@pytest.mark.parametrize("line,why", [
    ("account nobody", "local-part@domain"),
    ("account dora@example.com quota=5X", "'quota=5X' is not understood"),
    ("domain a@b", "not a domain name"),
    ("alias many@example.com" + " a@example.com" * 1001, "at most 1000 targets"),
    ("alias alone@example.com", "needs a target"),
    ("group x", "domain, account, app-password or alias"),
])
def test_a_line_that_is_wrong_changes_nothing(server, line, why):
    before = export(server)
    r = do_import(server, "domain new.example\n%s\n" % line, "--replace", "--all", check=False)
    assert r.returncode == 65 and "line 2: " in r.stderr and why in r.stderr and "nothing was changed" in r.stderr
    assert export(server) == before


def test_what_is_too_much_is_no_matter_of_time(server):
    r = server.mw("account", "senders", "alice@example.com", *["another-address-%d@example.com" % n for n in range(50)], check=False)
    assert r.returncode == 65 and "longer than 1024 octets" in r.stderr, (r.returncode, r.stderr)


def test_a_name_cannot_begin_a_line_of_its_own(server):
    r = server.mw("account", "add", "eve@example.com", "--password-stdin", "--name", "Eve\nalias root@example.com eve@evil.test",
                  input=PASSWORD, check=False)
    assert r.returncode == 64 and "control characters" in r.stderr
    assert "eve@" not in export(server)        # keys and hashes are base64: three letters alone may stand in them by chance


def test_a_lost_directory_gives_nobody_anothers_mail(server):
    """Without an export the numbers of the accounts are lost, but not that mail lies under them."""
    c = server.imap("alice")
    c.append("INBOX", "Subject: private\r\n\r\nfor alice\r\n")
    c.close()
    ids = {int(a["id"]) for a in server.rows("account", "list") if a["address"] == "alice@example.com"}
    server.stop()
    for path in glob.glob(os.path.join(server.root, "data", "directory", "*.mdb")):
        os.unlink(path)
    server.start()
    server.add("mallory")
    assert int(server.rows("account", "list")[0]["id"]) not in ids
    c = server.imap("mallory")
    assert c.ok("STATUS INBOX (MESSAGES)")[0].endswith(b"(MESSAGES 0)")
    c.close()


def flip(path, text):
    """One bit of each place where the directory's file says this."""
    with open(path, "r+b") as f:
        data = bytearray(f.read())
        at = data.find(text)
        assert at >= 0
        while at >= 0:
            data[at + len(text) // 2] ^= 1
            at = data.find(text, at + 1)
        f.seek(0)
        f.write(data)


def test_a_damaged_record_is_nobody(server):
    """One bit of bob's address: alice is as before, bob is neither somebody else nor refused for good."""
    server.stop()
    flip(os.path.join(server.root, "data", "directory", "data.mdb"), b"bob@example.com")
    server.start()
    server.deliver("Subject: x\n\nx\n")
    c = server.smtp()
    c.hello()
    c.expect("MAIL FROM:<a@remote.test>", 250)
    assert c.command("RCPT TO:<bob@example.com>")[0] == 451
    assert c.command("RCPT TO:<nobody@example.com>")[0] == 451  # it may be one that was lost
    c.expect("RCPT TO:<alice@example.com>", 250)
    c.close()
    server.until_logged("auth_directory_error", "records are damaged")


@pytest.mark.parametrize("what", ["bob@example.com", "xn--bcher-kva.example", "sales@example.com", "of a phone"])
def test_a_damaged_record_is_missed_in_what_is_listed(server, what):
    """A backup that lacks it does not pass for one of all."""
    server.mw("account", "app-password", "add", "alice@example.com", "--name", "of a phone")
    server.stop()
    flip(os.path.join(server.root, "data", "directory", "data.mdb"), what.encode())
    server.start()
    r = server.mw("directory", "export", check=False)
    assert r.returncode == 65 and "not all is here" in r.stderr
    assert "account alice@example.com id=" in r.stdout and what not in r.stdout
    listing = {"bob@example.com": "account", "sales@example.com": "alias", "xn--bcher-kva.example": "domain"}.get(what)
    r = server.mw(*([listing, "list"] if listing else ["account", "app-password", "list", "alice@example.com"]), check=False)
    assert r.returncode == 65 and "not all is here" in r.stderr


def test_a_directory_cut_short_or_of_garbage(server):
    """auth does not start, and says what to do; mail waits with the others."""
    server.stop()
    path = os.path.join(server.root, "data", "directory", "data.mdb")
    with open(path, "rb") as f:
        sound = f.read()
    for damaged in (sound[:8192] + os.urandom(len(sound) - 8192), sound[: len(sound) // 2 // 4096 * 4096]):
        with open(path, "wb") as f:
            f.write(damaged)
        before = len(server.log())
        r = server.mw("start", check=False)
        server.started = r.returncode == 0
        until(lambda: "import what `directory export` wrote" in server.log()[before:])
        server.stop()
    with open(path, "wb") as f:
        f.write(sound)
    server.start()
    server.deliver("Subject: x\n\nx\n", to=["alice", "bob"])
