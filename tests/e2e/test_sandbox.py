"""What each process is held to: read from /proc, and tried from inside."""
import glob
import os
import pwd
import re
import subprocess
import tempfile

import pytest

from mailwain import BUILD, Instance, until

AS_ROOT = os.geteuid() == 0
CONFINED = ["keys", "resolve", "auth", "fetch", "queue", "relay", "deliver", "imap-session", "smtpd", "submission", "pickup", "imapd", "lmtpd"]
# Runs code of others as root, and has rules of its own.
OTHERS = "auth-pam"
# CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, SETGID, SETUID, AUDIT_WRITE
OTHERS_CAPABILITIES = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 7 | 1 << 29


@pytest.fixture(scope="module")
def busy():
    """An instance with a session process and a delivery worker."""
    with Instance(conf_lines=["domain users.example.com { accounts system }"], listeners=["lmtp"]).running("alice") as i:
        i.deliver("Subject: x\n\nx\n")
        c = i.imap("alice", tls=True)
        c.ok("SELECT INBOX")
        until(lambda: b"1" in c.ok("SEARCH ALL")[0])
        yield i


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        return [int(p) for p in f.read().split()]


def processes(suite):
    """(name, pid) of everything but master and auth-pam, children of the spawners too."""
    daemons = suite.daemons()
    out = [(name, pid) for name, pid in daemons.items() if name not in ("master", OTHERS)]
    for name in ("deliver", "imap-session"):
        kids = children(daemons[name])
        assert kids, name
        out += [(name + "'s child", kid) for kid in kids]
    return out


def status(pid):
    with open("/proc/%d/status" % pid) as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def test_all_are_there(busy):
    assert set(busy.daemons()) == set(CONFINED) | {"master", OTHERS}


def test_where_modules_of_others_run(busy):
    """PAM sees the machine; it has none of root's rights but those that its modules need, and no_new_privs is off for their helpers."""
    pid = busy.daemons()[OTHERS]
    s = status(pid)
    assert s["NoNewPrivs"] == "0"
    if AS_ROOT:
        assert s["Seccomp"] == "2"
        assert int(s["CapBnd"], 16) & ~OTHERS_CAPABILITIES == 0
        assert int(s["CapEff"], 16) == int(s["CapBnd"], 16)
    else:
        busy.until_logged("pam_unprivileged lacks=root")
    for link in glob.glob("/proc/%d/fd/*" % pid):
        assert re.match(r"socket:|pipe:|anon_inode:|/dev/null|/memfd:|.*mailwain\.conf", os.readlink(link)), os.readlink(link)


def test_no_privileges(busy):
    for name, pid in processes(busy):
        s = status(pid)
        assert s["NoNewPrivs"] == "1", name
        assert s["Seccomp"] == "2", name
        for capabilities in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
            assert int(s[capabilities], 16) == 0, (name, capabilities)


@pytest.mark.skipif(not AS_ROOT, reason="users are separate only when started as root")
def test_own_users_and_roots(busy):
    users = {}
    for name, pid in processes(busy):
        s = status(pid)
        uids, gids = set(s["Uid"].split()), set(s["Gid"].split())
        assert len(uids) == 1 and len(gids) == 1 and "0" not in uids | gids, name
        assert s["Groups"].strip() == "", name
        assert int(s["CapBnd"], 16) == 0, name
        assert os.readlink("/proc/%d/root" % pid) != "/", name
        users[name] = pwd.getpwuid(int(uids.pop())).pw_name
    assert len({users[n] for n in ("keys", "resolve", "smtpd", "submission", "pickup", "imapd", "auth", "fetch", "queue", "deliver", "lmtpd")}) == 11


@pytest.mark.skipif(not AS_ROOT, reason="the roots are empty only when started as root")
def test_network_daemons_see_an_empty_directory(busy):
    for name in ("smtpd", "submission", "imapd", "lmtpd", "fetch", "resolve"):
        assert os.listdir("/proc/%d/root/" % busy.daemons()[name]) == []


def test_descriptors_are_few_and_known(busy):
    """A network daemon has sockets, pipes and its event loop open, no file and no directory."""
    for name in ("smtpd", "submission", "imapd", "lmtpd", "fetch", "resolve"):
        pid = busy.daemons()[name]
        for link in glob.glob("/proc/%d/fd/*" % pid):
            target = os.readlink(link)
            known = r"socket:|pipe:|anon_inode:|/dev/null|/memfd:|.*/queue/|.*mailwain\.conf"
            assert re.match(known, target) and "tls-key" not in target, (name, target)


def trees(tmp_path):
    for name in ("directory", "spool", "store/01/1", "store/02/2", "empty"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "store/02/2/secret").write_text("another's mail")
    top = tmp_path
    while str(top) != "/" and AS_ROOT:  # the daemons' users must get there
        os.chmod(top, os.stat(top).st_mode | 0o055)
        top = top.parent
        if str(top) == "/tmp":
            break
    if AS_ROOT:
        uid = pwd.getpwnam("mw-store").pw_uid
        for base, _, files in os.walk(tmp_path / "store"):
            os.chown(base, uid, -1)
            for f in files:
                os.chown(os.path.join(base, f), uid, -1)
    return [str(tmp_path / n) for n in ("directory", "spool", "store", "empty")]


def test_forbidden_acts_are_refused(busy, tmp_path):
    r = subprocess.run([os.path.join(BUILD, "tests", "confine"), *trees(tmp_path)], capture_output=True, text=True, timeout=120)
    assert r.returncode == 0, r.stdout + r.stderr
    assert re.search(r"[23][0-9][0-9] acts tried, 0 succeeded", r.stdout)


@pytest.mark.skipif(not AS_ROOT, reason="most acts need root to succeed")
def test_the_acts_are_real(busy, tmp_path):
    r = subprocess.run([os.path.join(BUILD, "tests", "confine"), *trees(tmp_path), "--free"], capture_output=True, text=True, timeout=120)
    assert r.returncode == 1
    for act in ("open /etc/passwd", "execute a program", "kill a sibling", "trace a process", "connect to a port", "change the root directory",
                "limit a sibling", "have the kernel signal a sibling", "make the close of a socket wait"):
        assert "smtpd could " + act in r.stdout, act


def test_status_says_when_users_are_not_separate(busy):
    note = [row["note"] for row in busy.rows("status") if row["name"] == "master"][0]
    assert ("user" in note) == (not AS_ROOT)


@pytest.mark.skipif(not AS_ROOT, reason="needs root to become an ordinary user")
def test_as_an_ordinary_user():
    """The same suite, started by nobody in particular."""
    script = """
set -e
m="$1 --root $2"
$m init --hostname mail.example.com --domain example.com --port-offset $3
$m start
printf 'secret\\n' | $m account add alice@example.com --password-stdin
swaks --server 127.0.0.1:$((25 + $3)) --from b@remote.test --to alice@example.com >/dev/null
for i in $(seq 200); do
	curl -sk --url "imaps://127.0.0.1:$((993 + $3))/INBOX;MAILINDEX=1" -u alice@example.com:secret && break
	sleep 0.1
done
$m status --json
grep master_no_user_separation $2/log/mailwain.log
$m stop
"""
    from mailwain import BIN, free_offset

    with tempfile.TemporaryDirectory(prefix="mailwain-test-") as home:  # pytest's own is for root alone
        os.chown(home, 65534, 65534)
        r = subprocess.run(
            ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "sh", "-c", script, "sh", BIN, os.path.join(home, "mw"), str(free_offset())],
            capture_output=True, text=True, timeout=120, cwd="/")
    assert r.returncode == 0, r.stdout + r.stderr
    assert "This is a test mailing" in r.stdout and "nobody" in r.stdout
