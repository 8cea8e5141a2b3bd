"""What the rigs hold against the suite: notes made by hand, and what must be said of them."""
import os
import subprocess
import sys
from types import SimpleNamespace

from mailwain import DOMAIN, ROOT

sys.path[:0] = [os.path.join(ROOT, "tests"), os.path.join(ROOT, "tests", "crash")]
import wake  # noqa: E402
from notes import Found, Ledger  # noqa: E402

QID = "0ABCDEFGHJK"
BOTH = ["x0@far.test", "x3@far.test"]


def take(at, to, key="r1"):
    """Positions are tenths of a second."""
    return dict(op="taken", key=key, qid=QID, to=[to], began=at - 3, began_s=(at - 3) / 10, begin=at - 1, end=at, end_s=at / 10)


def said_of(notes, key="r1"):
    """Of a message for two, which is in the spool for both at the end of all that was noted."""
    mail = dict(op="mail", key=key, id=None, to=BOTH, begin=1, end=5)
    ledger = Ledger([mail, *notes], [], orders_syncs=True)
    ledger.advance(1000)
    return ledger.check_again(dict(key=key, id=QID, to=BOTH))


def test_a_record_that_must_be_there():
    others_later = [take(20, BOTH[1]), take(40, BOTH[0])]
    assert [line.split(" was")[0] for line in said_of(others_later)] == ["r1 for x3@far.test"]
    removed = [take(20, BOTH[1]), dict(op="gone", id=QID, begin=30, end=31), dict(op="mail", key="m2", id="X", to=[], begin=40, end=50)]
    assert "done with at 31, a mail that began at 40 was synced" in said_of(removed)[0]


def test_a_record_that_queue_may_have_had_no_time_for():
    """Killed between the host's 250 and the record: both are tried again, and the one who has it is refused this time."""
    killed = dict(op="broken", begin=21, end=30)
    assert said_of([take(20, BOTH[1]), killed, take(40, BOTH[0])]) == []
    assert said_of([take(20, BOTH[1])]) == []
    assert said_of([take(20, BOTH[1], "d1"), take(40, BOTH[0], "d1")], "d1") == []  # two transactions of one try: auth answered for one later
    assert said_of([take(20, BOTH[1]), dict(killed, begin=5, end=10), take(40, BOTH[0])]) != []
    # Its sync began before it was gone.
    removed = [take(20, BOTH[1]), dict(op="gone", id=QID, begin=30, end=31), dict(op="mail", key="m2", id="X", to=[], begin=25, end=50)]
    assert said_of(removed) == []


def changes_of(*later):
    """What is said of an account whose last MODSEQ is found to be 10: its reader noted 10, and changed something behind that, or not."""
    found = Found("account a0@example.com 1\nstore 1 good 10\nmailbox 1 1 1 INBOX\n")
    state = dict(op="state", account="a0", begin=1, end=2, boxes=dict(INBOX=dict(validity=1, top=1, uids={})))
    ledger = Ledger([state, dict(op="modseq", account="a0", modseq=10, begin=3, end=4), *later], ["a0"])
    ledger.advance(1000)
    return ledger.problems(found)


def test_a_modseq_that_went_back():
    """Held against what was noted last, and what was acknowledged since."""
    made = [dict(op="create", account="a0", box="f1", begin=5, end=6), dict(op="delete-box", account="a0", box="f1", begin=7, end=8)]
    assert changes_of() == []
    assert changes_of(*made) == ["account a0: the last MODSEQ is 10, and 12 at least were given"]
    assert changes_of(*made, dict(op="modseq", account="a0", modseq=11, begin=9, end=10))[0] == "account a0: the last MODSEQ was 11, and 12 at least had been given"


class Suite:
    """What wake.py asks of one."""

    def __init__(self, root, rows, log):
        self.root, self.list, self.text = str(root), rows, log
        for name in ("spool/corrupt", "data/drop"):
            os.makedirs(os.path.join(self.root, name))

    def mw(self, *args):
        return SimpleNamespace(stdout="")

    def rows(self, *args):
        return self.list

    def log(self):
        return self.text


def test_mail_that_never_arrives(tmp_path, monkeypatch):
    monkeypatch.setattr(wake, "SECONDS", 0)
    rows = [dict(id="1", recipient=who, status="deferred") for who in ("a0@" + DOMAIN, wake.AWAY)]
    suite = Suite(tmp_path, rows, "")
    (tmp_path / "data" / "drop" / "new.1").touch()
    assert wake.wait_for_deliveries(suite)[1] == ["letter new.1 in the drop is not taken", "1 for a0@%s still waits: deferred" % DOMAIN]


def test_what_a_suite_says_of_damage(tmp_path):
    suite = Suite(tmp_path, [], "1 info queue_ready x\n2 warn store_rebuilt account=1\n3 error queue_corrupt qid=2\n")
    (tmp_path / "spool" / "corrupt" / "X").touch()
    assert [text.split(" ")[0] for text in wake.damage(suite)] == ["spool", "in", "in"]


def test_every_planted_fault_has_a_rig():
    listed = subprocess.run([os.path.join(ROOT, "tests", "rigs.sh"), "--list"], capture_output=True, text=True, check=True).stdout.split("\n")
    sources = {name.removesuffix(".c") for name in os.listdir(os.path.join(ROOT, "tests", "plant")) if name.endswith(".c")}
    within = {"memory-kept", "memory-unseen"}  # of the rig's own program
    assert {line.split(" ")[1] for line in listed if line} == (sources - {"clock-set", "pauses"}) | within
