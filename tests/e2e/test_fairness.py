"""Who sends a great many messages waits behind himself, and nobody behind him: at the sizes at which they have no room any more."""
import pytest

from mailwain import Instance, until
from remote import remote_host
from test_outbound import gone, send
from test_submission import client

WAITING = 2000  # jobs of a destination in memory
PACED = 500  # of a domain with send-rate


@pytest.fixture(scope="module")
def remote():
    with remote_host("127.0.0.36") as r:
        yield r


@pytest.fixture(scope="module")
def suite(remote):
    lines = ["transport %s { host %s }" % (domain, remote.place) for domain in ["elsewhere.test"] + ["far%d.test" % n for n in range(PACED + 1)]]
    with Instance(lines + ["messages-per-hour 0", "recipients-per-hour 0", "domain paced.test { send-rate 500 }"]).running("alice", "bob", "ann@paced.test", "bea@paced.test") as i:
        yield i


@pytest.fixture(autouse=True)
def fresh(remote):
    yield
    remote.gate.set()


def send_many(suite, user, count, at_once=20):
    """In several sessions, all in one go in each, and then the answers."""
    text = b"Subject: one of many\r\n\r\nx\r\n"
    sessions = [client(suite, user) for _ in range(at_once)]
    for c in sessions:
        c.send(b"MAIL FROM:<%s>\r\nRCPT TO:<many@elsewhere.test>\r\nBDAT %d LAST\r\n%s" % (user.encode(), len(text), text) * (count // at_once))
    for c in sessions:
        assert [c.reply()[0] for _ in range(3 * (count // at_once))] == [250] * (3 * (count // at_once))
        c.close()


def test_a_domains_pace_has_room_for_another(suite, remote):
    """Ann has as many turns to wait for as there may be in memory; bea has hers at once."""
    bea = client(suite, "bea@paced.test")
    send(suite, *("x@far%d.test" % n for n in range(PACED + 1)), user="ann@paced.test")
    one = send(suite, "one@elsewhere.test", user="bea@paced.test", c=bea)
    until(lambda: gone(suite, one))


def test_a_full_destination_has_room_for_another(suite, remote):
    """Alice has more there than may wait in memory. A message of bob's that comes, and one that waits in its file, have their turns among the first."""
    destination = remote.place + " for elsewhere.test"
    suite.mw("queue", "pause", destination)
    kept = send(suite, "kept@elsewhere.test", user="bob@example.com")
    suite.mw("queue", "hold", kept)
    suite.mw("queue", "resume", destination)
    remote.messages.clear()
    remote.gate.clear()
    send_many(suite, "alice@example.com", WAITING + 100)
    until(lambda: any("others wait" in r["reason"] for r in suite.rows("queue", "list", "--sender", "alice@example.com")))
    one = send(suite, "one@elsewhere.test", user="bob@example.com")
    suite.mw("queue", "release", kept)
    remote.gate.set()
    until(lambda: gone(suite, one) and gone(suite, kept), 120)
    order = [to[0] for _, to, _ in remote.messages]
    assert max(order.index("one@elsewhere.test"), order.index("kept@elsewhere.test")) < WAITING / 2
