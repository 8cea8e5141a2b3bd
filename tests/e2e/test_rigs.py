"""What the rigs hold against the suite: notes made by hand, and what must be said of them."""
import os
import sys
from types import SimpleNamespace

from mailwain import ROOT

sys.path[:0] = [os.path.join(ROOT, "tests"), os.path.join(ROOT, "tests", "crash")]
from notes import Ledger  # noqa: E402

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
