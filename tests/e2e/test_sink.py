"""Postfix's smtp-sink as the best host of a domain, in the modes in which it refuses, stalls, hangs up and knows little; behind it is a host that takes all mail."""
import contextlib
import os
import re
import signal
import socket
import subprocess

import pytest

from dns import Dns, Zone
from foreign import OTHERS
from mailwain import Instance, until
from remote import remote_host
from test_outbound import gone, send

PROGRAM = os.path.join(OTHERS, "usr/sbin/smtp-sink")
BEHIND = "127.0.0.69"

NEXT, TAKEN, WAITS, MAYBE, REFUSED = "next", "taken", "waits", "maybe", "refused"
MODES = {
    "-r CONNECT": NEXT, "-f CONNECT": NEXT, "-q CONNECT": NEXT, "-Q CONNECT": NEXT, "-r EHLO": NEXT, "-q EHLO": NEXT, "-Q EHLO": NEXT,
    "-r MAIL": NEXT, "-q MAIL": NEXT, "-Q MAIL": NEXT, "-r RCPT": NEXT, "-q RCPT": NEXT, "-Q RCPT": NEXT, "-r DATA": NEXT, "-q DATA": NEXT, "-Q DATA": NEXT,
    "-r .": WAITS, "-Q .": WAITS, "-q .": MAYBE,
    "-f MAIL": REFUSED, "-f RCPT": REFUSED, "-f DATA": REFUSED, "-f .": REFUSED, "-A 0": REFUSED,
    "-f EHLO": TAKEN,  # by HELO
    "-q RSET": TAKEN, "-f QUIT": TAKEN, "-q QUIT": TAKEN, "-e": TAKEN, "-p": TAKEN, "-P": TAKEN, "-8 -E -N": TAKEN, "-w 1": TAKEN, "-H 1": TAKEN,
}
EVENTS = {NEXT: "relay_sent", TAKEN: "relay_sent", WAITS: "relay_deferred", MAYBE: "relay_deferred", REFUSED: "relay_refused"}
STALLS = "-w 600"


DOMAINS = {mode: "sink%d.test" % n for n, mode in enumerate([*MODES, STALLS])}


@contextlib.contextmanager
def sink(mode, address, port):
    """Whoever started it as root gives that up, as it would write files."""
    environment = {"LD_LIBRARY_PATH": os.path.join(OTHERS, "usr/lib/postfix"), "LANG": "C"}
    process = subprocess.Popen([PROGRAM, "-4", *(["-u", "nobody"] if os.getuid() == 0 else []), *mode.split(), "%s:%d" % (address, port), "20"], env=environment,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: answers(address, port) or process.poll() is not None, what="smtp-sink does not listen")
        assert process.poll() is None
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def answers(address, port):
    with contextlib.suppress(OSError), socket.create_connection((address, port), 1):
        return True


@pytest.fixture(scope="module")
def world():
    """(suite, the host behind, mode -> id of the message for it, the sink that stalls); all messages are on their way at once."""
    if not os.path.exists(PROGRAM):
        pytest.skip("install-deps.sh has not unpacked it")
    places = {mode: "127.0.0.%d" % (100 + n) for n, mode in enumerate(DOMAINS)}
    zones = {DOMAINS[mode]: Zone(["@ MX 10 sink", "@ MX 20 behind", "sink A " + place, "behind A " + BEHIND], signed=False) for mode, place in places.items()}
    with contextlib.ExitStack() as stack:
        behind = stack.enter_context(remote_host(BEHIND))
        port = behind.server_address[1]
        dns = stack.enter_context(Dns(zones).running())
        suite = stack.enter_context(Instance(dns.conf_lines() + ["relay-port %d" % port, "transport nobody.test { hold yes }"]).running("alice"))
        sinks = {mode: stack.enter_context(sink(mode, places[mode], port)) for mode in DOMAINS}
        yield suite, behind, {mode: send(suite, "x@" + DOMAINS[mode]) for mode in DOMAINS}, sinks[STALLS]


@pytest.mark.parametrize("mode", MODES)
def test_it_is_told_apart(world, mode):
    suite, behind, sent, _ = world
    wanted, words = MODES[mode], "qid=%s " % sent[mode]

    def line():
        return next((line for line in suite.log().splitlines() if words in line and re.search("relay_(sent|deferred|refused)", line)), None)

    said = until(line, what=suite.log()[-1000:])
    assert EVENTS[wanted] in said, said
    assert ("host=behind." if wanted == NEXT else "host=sink.") in said and ("maybe=1" in said) == (wanted == MAYBE), said
    assert [to for _, to, _ in behind.messages].count(["x@" + DOMAINS[mode]]) == (wanted == NEXT)


def test_one_that_stalls_keeps_its_own_message_alone(world):
    """It waits for an answer when all others have had theirs; then the sink dies, and the host behind gets it."""
    suite, behind, sent, stalled = world
    until(lambda: any(row["id"] == sent[STALLS] and row["status"] == "active" for row in suite.rows("queue", "list")))
    stalled.send_signal(signal.SIGKILL)
    until(lambda: gone(suite, sent[STALLS]))
    assert ["x@" + DOMAINS[STALLS]] in [to for _, to, _ in behind.messages]
