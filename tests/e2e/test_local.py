"""What an ordinary user of the machine must not get by it."""
import os
import pwd
import stat
import subprocess

import pytest

from mailwain import BIN, free_offset

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be fooled")
NOBODY = 65534


def init(root):
    return subprocess.run([BIN, "--root", str(root), "init", "--hostname", "mail.example.com", "--port-offset", str(free_offset())],
                          capture_output=True, text=True, timeout=20)


def test_root_gives_nothing_away_through_a_directory_of_another(tmp_path):
    """Somebody was there first, with links where the store will be."""
    victim, root = tmp_path / "victim", tmp_path / "mw"
    victim.mkdir(mode=0o755)
    (root / "data").mkdir(parents=True)
    (root / "data" / "store").symlink_to(victim)
    for path in (root, root / "data"):
        os.chown(path, NOBODY, NOBODY)
    r = init(root)
    assert r.returncode != 0 and "belongs to another user" in r.stderr
    st = victim.stat()
    assert (st.st_uid, stat.S_IMODE(st.st_mode)) == (0, 0o755)
    assert sorted(os.listdir(root)) == ["data"]


def test_a_link_of_root_s_own_is_followed_but_not_given_away(tmp_path):
    victim, root = tmp_path / "victim", tmp_path / "mw"
    victim.mkdir(mode=0o755)
    (root / "data").mkdir(parents=True)
    (root / "data" / "store").symlink_to(victim)
    r = init(root)
    assert r.returncode != 0
    assert victim.stat().st_uid == 0


def test_a_new_place_is_taken(tmp_path):
    r = init(tmp_path / "mw")
    assert r.returncode == 0, r.stderr
    for name, user in (("data/store", "mw-store"), ("data/directory", "mw-auth"), ("spool", "mw-queue")):
        st = (tmp_path / "mw" / name).stat()
        assert (st.st_uid, stat.S_IMODE(st.st_mode)) == (pwd.getpwnam(user).pw_uid, 0o700)


def test_a_run_directory_of_another_is_refused(fresh):
    suite = fresh()
    suite.stop()
    os.chown(os.path.join(suite.root, "run"), NOBODY, NOBODY)
    r = suite.mw("start", check=False)
    assert r.returncode != 0 and "run-directory" in r.stderr
    os.chown(os.path.join(suite.root, "run"), 0, 0)
    suite.start()
