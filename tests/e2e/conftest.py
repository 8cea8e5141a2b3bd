import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from mailwain import Instance
from tools import small_disk  # noqa: F401


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
    suite.add(name)
    return name
