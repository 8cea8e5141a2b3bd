import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from mailwain import BIN, Instance
from tools import small_disk  # noqa: F401


# With several at once, those that take longest begin first.
LONGEST = ["test_dane", "test_hostile_relay", "test_foreign", "test_faults", "test_hostile_smtp", "test_hostile_imap", "test_guessing", "test_tls", "test_sasl", "test_keys", "test_tokens", "test_hibernate", "test_others", "test_admin"]


def pytest_configure(config):
    config.addinivalue_line("markers", "alone: measures time, or takes the whole machine: runs while no other test does")
    # On a new machine the first init makes the daemons' users: not several at the same time.
    if not hasattr(config, "workerinput") and os.geteuid() == 0 and os.path.exists(BIN):
        Instance().close()


def pytest_collection_modifyitems(items):
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONGEST)))


@pytest.fixture(scope="session")
def suite():
    """One running instance with two accounts that most tests share."""
    with Instance().running("alice", "carol") as i:
        yield i


@pytest.fixture
def fresh():
    """Makes instances of a test's own; they end with it."""
    made = []

    def make(*args, **kw):
        i = Instance(*args, **kw)
        made.append(i)
        i.start()
        return i

    yield make
    for i in made:
        i.close()


_count = [0]


@pytest.fixture
def account(suite):
    """A new account's name."""
    _count[0] += 1
    name = "user%d" % _count[0]
    suite.add_cheap(name)
    return name
