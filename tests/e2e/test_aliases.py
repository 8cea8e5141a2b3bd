"""/etc/aliases: where its names lead, its lists, its commands and files, and what must not come of them."""
import contextlib
import os
import pwd
import re
import signal
import subprocess

import pytest

from mailwain import BUILD, DOMAIN, Instance, until
from tools import is_alive

AS_ROOT = os.geteuid() == 0
ME = pwd.getpwuid(os.geteuid()).pw_name
FALLBACK = "nobody" if AS_ROOT else ME
NEWALIASES = os.path.join(BUILD, "libexec", "newaliases")


def made(allow="all", more=()):
    i = Instance(conf_lines=["aliases-allow " + allow, "aliases-user " + FALLBACK, *more])
    i.aliases = os.path.join(i.root, "aliases")
    with open(i.conf) as f:
        text = f.read()
    with open(i.conf, "w") as f:
        f.write(text.replace("domain %s { }" % DOMAIN, "domain %s { accounts system }" % DOMAIN) + "aliases %s\n" % i.aliases)
    i.out = os.path.join(i.root, "out")
    os.mkdir(i.out)
    os.chmod(i.out, 0o777)
    write(i, "")
    return i


def write(i, text):
    with open(i.aliases + ".new", "w") as f:
        f.write(text.replace("OUT", i.out))
    os.rename(i.aliases + ".new", i.aliases)


def taken(i, text):
    """Writes the aliases and has them read; master may have seen the change and be at it."""
    write(i, text)

    def reloaded():
        r = i.mw("aliases", "reload", check=False)
        return "a reload is under way" not in r.stderr and r
    r = until(reloaded)
    assert r.returncode == 0, r.stderr
    return r


@pytest.fixture(scope="module")
def suite():
    with made().running("alice", "dora") as i:
        yield i


@pytest.fixture
def fresh_aliases():
    with made(more=["queue-warn-after 1s", "queue-retry-first 1s"]).running("alice", "dora") as i:
        yield i


def shown(i, name):
    return {(row["address"], row["account"] != 0) for row in i.rows("alias", "show", name + "@" + DOMAIN)}


def file(i, name):
    path = os.path.join(i.out, name)
    return until(lambda: os.path.exists(path) and os.path.getsize(path) > 0 and open(path).read(), what=name)


def status_of(i, qid):
    """The last line of the log that says what became of this message at a target."""
    pattern = r"(queue_(?:delivered|deferred|bounced)) qid=%s .*?status=\"([^\"]*)\"" % qid
    return until(lambda: re.findall(pattern, i.log()), what=qid)[-1]


def mails(i, name):
    """All that is in the INBOX; FETCH refuses when that is nothing."""
    c = i.imap(name)
    try:
        c.ok("SELECT INBOX")
        untagged, tagged = c.run("FETCH 1:* BODY.PEEK[]")
        return untagged if tagged.startswith(b"OK") else []
    finally:
        c.close()


def mail(i, name, *texts):
    """Waits for one that says all of this."""
    until(lambda: any(all(text.encode() in m for text in texts) for m in mails(i, name)), what="no mail to %s: %s" % (name, texts))


def bounce(i, text):
    """Waits for a notification to alice that says this."""
    mail(i, "alice", text)


# ---- addresses ----


def test_names_lead_to_mailboxes_and_elsewhere(suite):
    taken(suite, "Bob: alice, carol@remote.test\ndeep: bob, dora\nonly: alice@example.com\n")
    assert shown(suite, "bob") == {("alice@example.com", True), ("carol@remote.test", False)}
    assert shown(suite, "deep+x") == {("alice@example.com", True), ("carol@remote.test", False), ("dora@example.com", True)}
    qid = suite.deliver("Subject: to the alias\n\nx\n", to=["BOB"])
    until(lambda: {"queue_delivered", "queue_deferred"} <= set(re.findall(r"(queue_\w+) qid=%s" % qid, suite.log())))
    suite.mw("queue", "delete", qid)


def test_an_account_comes_before_an_alias_of_its_name(suite):
    taken(suite, "alice: dora\n")
    assert shown(suite, "alice") == {("alice@example.com", True)}


def test_a_name_that_leads_to_itself_is_the_mailbox(suite):
    taken(suite, "dora: dora, alice\nx: \\dora\nloop: pool\npool: loop, alice\nown: own\n")
    assert shown(suite, "x") == {("dora@example.com", True)}
    assert shown(suite, "loop") == {("alice@example.com", True)}
    assert suite.mw("alias", "show", "own@example.com", check=False).returncode != 0


def test_postmaster_is_somebody(suite):
    taken(suite, "postmaster: root\nroot: nobody-of-this-name\n")
    assert shown(suite, "postmaster") == {("alice@example.com", True)}


def test_a_domain_of_accounts_alone_has_no_aliases(suite):
    taken(suite, "bob: alice\n")
    suite.mw("domain", "add", "other.example")
    c = suite.smtp()
    c.hello()
    c.expect("MAIL FROM:<s@remote.test>", 250)
    c.expect("RCPT TO:<bob@other.example>", 550)
    c.expect("RCPT TO:<bob@example.com>", 250)
    c.close()


# ---- the file ----


def test_newaliases_says_what_sendmail_says(suite):
    write(suite, "# two\nroot: alice, bob\nbob: x\n")
    r = subprocess.run([NEWALIASES, "--root", suite.root], capture_output=True, text=True, timeout=20)
    assert (r.returncode, r.stderr) == (0, "")
    assert r.stdout == "%s: 2 aliases, longest 10 bytes, 18 bytes total\n" % suite.aliases
    assert [row["name"] for row in suite.rows("aliases", "list")] == ["bob", "root"]
    assert [(row["kind"], row["target"]) for row in suite.rows("aliases", "show", "ROOT")] == [("address", "alice"), ("address", "bob")]


def test_a_file_that_is_wrong_changes_nothing(suite):
    taken(suite, "bob: alice\n")
    write(suite, "bob: dora\nbob: alice\n")
    r = subprocess.run([NEWALIASES, "--root", suite.root], capture_output=True, text=True, timeout=20)
    assert r.returncode == 65 and "aliases:2:1: bob is an alias already, in line 1" in r.stderr
    assert "aliases:2:1" in suite.mw("config", "check", check=False).stderr
    assert "aliases:2:1: bob is an alias already" in suite.mw("reload").stdout
    assert "aliases:2:1" in [row["note"] for row in suite.rows("status") if row["name"] == "master"][0]
    suite.until_logged("alias_refused")
    assert shown(suite, "bob") == {("alice@example.com", True)}


def test_a_start_with_a_wrong_file():
    """Nobody's mail is refused because of it; mailboxes get theirs."""
    i = made()
    write(i, "bob: (\n")
    with i.running("alice"):
        c = i.smtp()
        c.hello()
        c.expect("MAIL FROM:<s@remote.test>", 250)
        c.expect("RCPT TO:<bob@example.com>", 451)
        c.expect("RCPT TO:<alice@example.com>", 250)
        taken(i, "bob: alice\n")
        c.expect("RCPT TO:<bob@example.com>", 250)
        c.close()


def test_a_change_is_seen_without_a_command(suite):
    taken(suite, "bob: alice\n")
    write(suite, "bob: dora\n")
    until(lambda: shown(suite, "bob") == {("dora@example.com", True)}, what="the change was not seen")


# ---- lists ----


def listed(i, text, mode=0o644):
    path = os.path.join(i.root, "members")
    with contextlib.suppress(FileNotFoundError):
        os.remove(path)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)
    return path


def refused_list(i, path, why):
    """The names that lead to it wait; the others go on."""
    r = taken(i, "list: dora, :include:%s\nbob: alice\n" % path)
    assert why in r.stderr, r.stderr
    r = i.mw("alias", "show", "list@example.com", check=False)
    assert r.returncode == 75 and "cannot be read now" in r.stderr
    assert shown(i, "bob") == {("alice@example.com", True)}


def test_lists(suite):
    path = listed(suite, "# members\nalice\nmember@remote.test, dora\n")
    taken(suite, "list: :include:%s\n" % path)
    assert shown(suite, "list") == {("alice@example.com", True), ("dora@example.com", True), ("member@remote.test", False)}


def test_a_list_that_cannot_be_read_loses_nobody(suite):
    refused_list(suite, os.path.join(suite.root, "nothing"), "no such file")
    c = suite.smtp()
    c.hello()
    c.expect("MAIL FROM:<s@remote.test>", 250)
    c.expect("RCPT TO:<list@example.com>", 451)
    c.close()


def test_a_list_that_leads_to_what_others_may_not_read(suite):
    secret = os.path.join(suite.root, "secret")
    with open(secret, "w") as f:
        f.write("secret@remote.test\n")
    os.chmod(secret, 0o600)
    link = os.path.join(suite.root, "link")
    with contextlib.suppress(FileNotFoundError):
        os.remove(link)
    os.symlink(secret, link)
    refused_list(suite, link, "symbolic link")
    os.remove(link)
    os.symlink(suite.root, link)
    refused_list(suite, link + "/secret", "symbolic link")
    os.remove(link)
    os.link(secret, link)
    refused_list(suite, link, "hard links")
    os.remove(link)
    os.mkfifo(link)
    refused_list(suite, link, "not a plain file")
    os.remove(link)
    refused_list(suite, "/dev/zero", "not a plain file")


def test_a_list_that_others_may_write(suite):
    refused_list(suite, listed(suite, "alice\n", 0o666), "may write it")


@pytest.mark.skipif(not AS_ROOT, reason="only root can give files away")
def test_a_list_of_a_user(suite):
    path = listed(suite, "dora\n")
    os.chown(path, 65534, 65534)
    taken(suite, "list: :include:%s\n" % path)
    assert shown(suite, "list") == {("dora@example.com", True)}
    os.chmod(path, 0o600)
    refused_list(suite, path, "not everybody may read it")


def test_lists_run_nothing(suite):
    path = listed(suite, '"|touch %s/from-list"\n/%s/from-list\nalice\n' % (suite.out, suite.out))
    taken(suite, "list: :include:%s\n" % path)
    qid = suite.deliver("Subject: x\n\nx\n", to=["list"], sender="alice@example.com")
    bounce(suite, "a command, which is not allowed here")
    suite.until_logged("queue_delivered qid=%s" % qid)
    assert not os.path.exists(os.path.join(suite.out, "from-list"))


# ---- commands and files ----


def test_a_command_runs_as_nobody_in_particular(suite):
    taken(suite, 'prog: "|id -un > OUT/who; pwd >> OUT/who; umask >> OUT/who; cat > OUT/mail; env > OUT/env; ls /proc/self/fd > OUT/fds"\n')
    assert status_of(suite, suite.deliver("Subject: x\n\nline\nFrom here\n", to=["prog+ext"]))[0] == "queue_delivered"
    assert file(suite, "who").split()[0] == FALLBACK and file(suite, "who").split()[-1] == "0077"
    assert file(suite, "fds").split() == ["0", "1", "2", "3"]  # the last one is of ls itself
    environment = dict(line.split("=", 1) for line in file(suite, "env").splitlines())
    assert {k: environment[k] for k in ("USER", "LOGNAME", "SENDER", "RECIPIENT", "EXTENSION", "LOCAL", "DOMAIN", "SHELL", "PATH")} == {
        "USER": FALLBACK, "LOGNAME": FALLBACK, "SENDER": "bob@remote.test", "RECIPIENT": "prog+ext@example.com", "EXTENSION": "ext",
        "LOCAL": "prog+ext", "DOMAIN": "example.com", "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"}
    mail = file(suite, "mail")
    assert mail.startswith("From bob@remote.test  ") and "\r" not in mail
    assert "\nReturn-Path: <bob@remote.test>\nDelivered-To: prog+ext@example.com\nReceived: " in mail
    assert mail.endswith("\nline\nFrom here\n")


@pytest.mark.skipif(not AS_ROOT, reason="needs root to become another user")
def test_a_command_runs_as_the_user_of_its_name(suite):
    taken(suite, 'daemon: "|id -un > OUT/daemon; id -G >> OUT/daemon; cat /etc/shadow; grep ^Cap /proc/self/status > OUT/caps; true"\n')
    assert status_of(suite, suite.deliver("Subject: x\n\nx\n", to=["daemon"]))[0] == "queue_delivered"
    user = pwd.getpwnam("daemon")
    assert file(suite, "daemon").split() == ["daemon", str(user.pw_gid)]
    caps = dict(line.split(":\t") for line in file(suite, "caps").splitlines())
    assert all(int(caps[c], 16) == 0 for c in ("CapInh", "CapPrm", "CapEff", "CapAmb"))


@pytest.mark.skipif(not AS_ROOT, reason="needs root to become another user")
def test_root_and_our_own_users_run_nothing(suite):
    for name in ("root", "mw-store"):
        taken(suite, '%s: "|id > OUT/forbidden"\n' % name)
        qid = suite.deliver("Subject: x\n\nx\n", to=[name])
        event, text = status_of(suite, qid)
        assert event == "queue_bounced" and text.startswith("550 5.7.1"), text
    assert not os.path.exists(os.path.join(suite.out, "forbidden"))


def test_addresses_do_not_reach_the_shell(suite):
    """Not even by a script that takes no care of its variables."""
    taken(suite, 'meta: "|eval echo $EXTENSION $SENDER > OUT/meta"\n')
    script = os.path.join(suite.out, "e")
    with open(script, "w") as f:
        f.write("#!/bin/sh\ntouch %s/evil\n" % suite.out)
    os.chmod(script, 0o755)
    for address in ("meta+`%s`" % script, "meta+|%s|" % script, "meta+$$&%s&" % script):
        qid = suite.deliver("Subject: x\n\nx\n", to=[address + "@example.com"], sender="`%s`@remote.test" % script)
        assert status_of(suite, qid)[0] == "queue_delivered"
    text = file(suite, "meta")
    assert script in text and not set("$()`;|&'?") & set(text), text
    assert not os.path.exists(os.path.join(suite.out, "evil"))


def test_exit_codes(suite):
    taken(suite, "".join('x%d: "|echo said so; exit %d"\n' % (n, n) for n in (0, 1, 67, 75, 77, 127)) + 'sig: "|kill -9 $$"\n')
    expected = {"x0": ("queue_delivered", "250"), "x1": ("queue_bounced", "554 5.3.0"), "x67": ("queue_bounced", "550 5.1.1"),
                "x75": ("queue_deferred", "451 4.3.0"), "x77": ("queue_bounced", "550 5.7.1"), "x127": ("queue_bounced", "554 5.3.0"),
                "sig": ("queue_deferred", "451 4.3.0")}
    qids = {name: suite.deliver("Subject: x\n\nx\n", to=[name], sender="alice@example.com") for name in expected}
    for name, (event, code) in expected.items():
        got = status_of(suite, qids[name])
        assert got[0] == event and got[1].startswith(code), (name, got)
    bounce(suite, "554 5.3.0 a command of the recipient's ended with status 1: said so")
    for name in ("x75", "sig"):
        suite.mw("queue", "delete", qids[name])


def test_what_was_done_is_not_done_again():
    """A command that had the message does not get it again when another has to be tried again."""
    with made(more=["queue-retry-first 1s", "queue-retry-max 1s"]).running("alice") as i:
        taken(i, 'two: "|echo once >> OUT/first", "|test -e OUT/go || exit 75; echo at last > OUT/second"\n')
        qid = i.deliver("Subject: x\n\nx\n", to=["two"])
        status_of(i, qid)
        until(lambda: len(re.findall("queue_deferred qid=%s" % qid, i.log())) >= 2)
        open(os.path.join(i.out, "go"), "w").close()
        assert file(i, "second") == "at last\n"
        i.wait_empty()
        assert file(i, "first") == "once\n"


def test_a_command_that_takes_too_long_ends_with_all_it_began():
    with made(more=["aliases-timeout 1s", "queue-retry-first 1s", "queue-retry-max 1s"]).running("alice") as i:
        taken(i, 'slow: "|sleep 77 & echo $! > OUT/slow; wait"\nstays: "|sleep 77 & echo $! > OUT/stays"\n')

        def ended(name):
            """What it began last."""
            return not is_alive(int(file(i, name)))

        qid = i.deliver("Subject: x\n\nx\n", to=["slow"])
        event, text = status_of(i, qid)
        assert event == "queue_deferred" and "took too long" in text
        file(i, "slow")  # on a machine that stands still a try may be over before it has begun anything; another follows
        i.mw("queue", "delete", qid)
        until(lambda: ended("slow"))
        qid = i.deliver("Subject: x\n\nx\n", to=["stays"])
        i.until_logged("queue_delivered qid=%s " % qid)
        until(lambda: ended("stays"))


def test_a_command_that_says_too_much(suite):
    taken(suite, 'loud: "|yes | head -c 20000000; exit 70"\n')
    qid = suite.deliver("Subject: x\n\nx\n", to=["loud"])
    event, text = status_of(suite, qid)
    assert event == "queue_bounced" and len(text) < 400 and "y y y" in text


def test_a_command_finds_the_machine_as_it_is(suite):
    """No filter, no no_new_privs, no rule for its memory: none that a program of the user's has elsewhere does not have."""
    wanted = "".join(line for line in open("/proc/self/status") if line.startswith(("NoNewPrivs:", "Seccomp:")))
    map_it = "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)"
    taken(suite, "as-it-is: \"|grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status > OUT/status; exec /usr/bin/python3 -c '%s'\"\n" % map_it)
    assert status_of(suite, suite.deliver("Subject: x\n\nx\n", to=["as-it-is"]))[0] == "queue_delivered"
    assert file(suite, "status") == wanted


def test_a_command_twice_is_run_once(suite):
    taken(suite, 'twice: again-twice, "|echo x >> OUT/twice", "|echo x >> OUT/twice"\nagain-twice: twice\n')
    assert status_of(suite, suite.deliver("Subject: x\n\nx\n", to=["twice"]))[0] == "queue_delivered"
    assert file(suite, "twice") == "x\n"


def test_an_owner_is_told_of_failures(suite):
    """Of one list; the sender's notification of the other is one of its own."""
    taken(suite, 'l: inner, "|echo $SENDER > OUT/owner; exit 70"\ninner: dora\nowner-l: alice\nplain: "|exit 69"\n')
    qid = suite.deliver("Subject: to the list\n\nx\n", to=["l", "plain"], sender="dora@example.com")
    until(lambda: len(re.findall("queue_dsn for=%s to=(owner-l|dora)@example.com kind=failure" % qid, suite.log())) == 2)
    bounce(suite, "a command of the recipient's ended with status 70")
    assert file(suite, "owner") == "owner-l@example.com\n"
    mail(suite, "dora", "status 69")
    mail(suite, "dora", "Return-Path: <owner-l@example.com>", "to the list")
    assert not any(b"status 70" in m for m in mails(suite, "dora"))


def test_two_owners_are_told_in_two_messages(suite):
    """Of one message, in the same second: who reads both mailboxes, and drops what has come before, must see both."""
    taken(suite, 'l1: "|exit 70"\nowner-l1: alice\nl2: "|exit 71"\nowner-l2: alice\n')
    suite.deliver("Subject: to both lists\n\nx\n", to=["l1", "l2"], sender="dora@example.com")
    for status in (70, 71):
        mail(suite, "alice", "a command of the recipient's ended with status %d" % status, "Subject: to both lists")
    c = suite.imap("alice")
    c.ok("SELECT INBOX")
    (found,) = c.ok('SEARCH BODY "Subject: to both lists"')
    numbers = found.split()[2:]
    assert len(numbers) == 2
    ids = {c.ok(b"FETCH %s BODY.PEEK[HEADER.FIELDS (Message-ID)]" % n)[0].split()[-2] for n in numbers}
    assert len(ids) == 2, ids
    c.close()


def test_an_owner_is_warned_of_delays(fresh_aliases):
    """Each addressee once, of what is theirs; the sender of the rest."""
    i = fresh_aliases
    taken(i, 'l: dora, "|echo is held up; exit 75"\nowner-l: alice\nplain: "|exit 75"\n')
    qid = i.deliver("Subject: to the list\n\nx\n", to=["l", "plain"], sender="dora@example.com")
    until(lambda: len(re.findall("queue_dsn for=%s to=\\S+ kind=delay" % qid, i.log())) == 2, what="two warnings")
    told = {}
    for name in ("alice", "dora"):
        mail(i, name, "Your message is delayed")
        told[name] = b"".join(m for m in mails(i, name) if b"is delayed" in m)
    assert b"To: <owner-l@example.com>" in told["alice"] and b"l@example.com" in told["alice"] and b"plain@example.com" not in told["alice"]
    assert b"To: <dora@example.com>" in told["dora"] and b"plain@example.com" in told["dora"] and b" l@example.com" not in told["dora"]
    # Tried again, and nobody is told again.
    tries = max(row["attempts"] for row in i.rows("queue", "show", qid))
    i.mw("queue", "flush", qid)
    until(lambda: all(row["attempts"] > tries and row["status"] == "deferred" for row in i.rows("queue", "show", qid)))
    assert len(re.findall("queue_dsn for=%s .*kind=delay" % qid, i.log())) == 2


def test_an_owner_is_told_of_what_an_administrator_gives_up(suite):
    """Whose list it is stands in the message's file by then."""
    taken(suite, 'l: "|exit 75"\nowner-l: alice\n')
    qid = suite.deliver("Subject: to the list\n\nx\n", to=["l"], sender="dora@example.com")
    status_of(suite, qid)
    until(lambda: suite.mw("queue", "bounce", qid, check=False).returncode == 0)
    until(lambda: "queue_dsn for=%s to=owner-l@example.com kind=failure" % qid in suite.log(), what="the owner is not told")


def test_files_are_mboxes(suite):
    taken(suite, "box: OUT/box\nlinked: OUT/link\ndir: OUT/\n")
    open(os.path.join(suite.out, "target"), "w").close()
    os.symlink(os.path.join(suite.out, "target"), os.path.join(suite.out, "link"))
    for n in (1, 2):
        qid = suite.deliver("Subject: %d\n\nFrom me\n" % n, to=["box"])
        assert status_of(suite, qid)[0] == "queue_delivered"
    import mailbox
    box = mailbox.mbox(os.path.join(suite.out, "box"))
    assert [m["Subject"] for m in box] == ["1", "2"]
    assert box[0].get_payload() == ">From me\n"
    for name in ("linked", "dir"):
        assert status_of(suite, suite.deliver("Subject: x\n\nx\n", to=[name]))[0] == "queue_bounced"
    assert os.path.getsize(os.path.join(suite.out, "target")) == 0


@pytest.mark.parametrize("allow", ["none", "files"])
def test_commands_are_refused_where_they_are_not_allowed(allow):
    with made(allow=allow).running("alice") as i:
        taken(i, 'prog: "|touch OUT/ran"\nboth: alice, "|touch OUT/ran"\nnull: /dev/null\n')
        c = i.smtp()
        c.hello()
        c.expect("MAIL FROM:<alice@example.com>", 250)
        assert "leads to a command, which is not allowed here" in c.expect("RCPT TO:<prog@example.com>", 554)
        c.close()
        i.deliver("Subject: x\n\nx\n", to=["both"], sender="alice@example.com")
        bounce(i, "554 5.3.0 an alias leads to a command, which is not allowed here")
        i.deliver("Subject: x\n\nx\n", to=["null"])
        i.wait_empty()
        assert not os.path.exists(os.path.join(i.out, "ran"))
        assert ("agent" in i.daemons()) == (allow != "none")


def test_the_agent_is_killed(suite):
    """What it had is tried again; nothing of it goes on."""
    taken(suite, 'wait: "|echo $$ > OUT/wait; sleep 77"\n')
    qid = suite.deliver("Subject: x\n\nx\n", to=["wait"])
    pid, agent = int(file(suite, "wait")), suite.daemons()["agent"]
    os.kill(agent, signal.SIGKILL)
    assert status_of(suite, qid)[0] == "queue_deferred"
    until(lambda: not is_alive(pid))
    suite.mw("queue", "delete", qid)
    taken(suite, 'again: "|echo again > OUT/again"\n')
    until(lambda: suite.daemons()["agent"] not in (0, agent))
    suite.deliver("Subject: x\n\nx\n", to=["again"])
    assert file(suite, "again") == "again\n"


@pytest.mark.skipif(not AS_ROOT, reason="capabilities are root's")
def test_the_agent_has_few_powers(suite):
    with open("/proc/%d/status" % suite.daemons()["agent"]) as f:
        s = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    kept = 1 << 5 | 1 << 6 | 1 << 7  # CAP_KILL, CAP_SETGID, CAP_SETUID
    assert (int(s["CapEff"], 16), int(s["CapPrm"], 16), int(s["CapBnd"], 16), int(s["CapAmb"], 16)) == (kept, kept, kept, 0)
