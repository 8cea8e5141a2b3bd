"""mailwain directory: the text of export is what import takes, all of it or nothing."""
import pytest

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
    ("group x", "domain, account or alias"),
])
def test_a_line_that_is_wrong_changes_nothing(server, line, why):
    before = export(server)
    r = do_import(server, "domain new.example\n%s\n" % line, "--replace", "--all", check=False)
    assert r.returncode == 65 and "line 2: " in r.stderr and why in r.stderr and "nothing was changed" in r.stderr
    assert export(server) == before


def test_a_name_cannot_begin_a_line_of_its_own(server):
    r = server.mw("account", "add", "eve@example.com", "--password-stdin", "--name", "Eve\nalias root@example.com eve@evil.test",
                  input=PASSWORD, check=False)
    assert r.returncode == 64 and "control characters" in r.stderr
    assert "eve" not in export(server)
