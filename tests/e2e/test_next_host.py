"""Several hosts of a domain: from one that is of no use, or has put a message off, it goes to the next."""
import contextlib
import os
import signal
import socket
import socketserver
import threading

import pytest

from dns import Dns, Zone, free_port
from mailwain import Instance, until
from remote import Mute, remote_host
from test_outbound import gone, notification, send
from test_spool_damage import spool_file

FIRST, SECOND, NOBODY, ROUTER, TAKES, HOLDS = "127.0.0.62", "127.0.0.63", "127.0.0.64", "127.0.0.65", "127.0.0.85", "127.0.0.86"


class Router(socketserver.ThreadingTCPServer):
    """An address that leads back to the suite, and is none of its own."""

    allow_reuse_address = daemon_threads = True

    class RequestHandler(socketserver.BaseRequestHandler):
        def handle(self):
            with socket.create_connection(self.server.to) as there:
                back = threading.Thread(target=self.pass_on, args=(there, self.request), daemon=True)
                back.start()
                self.pass_on(self.request, there)
                back.join(20)

        @staticmethod
        def pass_on(source, to):
            with contextlib.suppress(OSError):
                while data := source.recv(4096):
                    to.sendall(data)
                to.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def hosts():
    """Two on one port, which is nobody's on the other addresses either."""
    port, held = free_port(FIRST)
    with held, remote_host(FIRST, port) as first, remote_host(SECOND, port) as second:
        yield first, second


@pytest.fixture(scope="module")
def suite(hosts):
    zones = {"two.test": Zone(["@ MX 10 first", "@ MX 20 second", "first A " + FIRST, "second A " + SECOND], signed=False)}
    for name in ("one-dead.test", "other-dead.test"):
        zones[name] = Zone(["@ MX 10 dead", "@ MX 20 second", "dead A " + NOBODY, "second A " + SECOND], signed=False)
    zones["one.test"] = Zone(["@ MX 10 first", "first A " + FIRST], signed=False)
    zones["loop.test"] = Zone(["@ MX 10 router", "router A " + ROUTER], signed=False)
    with contextlib.ExitStack() as stack:
        dns = stack.enter_context(Dns(zones).running())
        lines = dns.conf_lines() + ["relay-port %d" % hosts[0].server_address[1], "transport nobody.test { hold yes }", "queue-retry-first 1s", "queue-retry-max 2s"]
        yield stack.enter_context(Instance(lines).running("alice"))


@pytest.fixture(autouse=True)
def fresh(hosts, suite):
    for host in hosts:
        host.answers, host.messages = {}, []
    yield
    for row in suite.rows("queue", "list"):
        suite.mw("queue", "delete", row["id"], check=False)


def lines_of(suite, event, qid):
    return [line for line in suite.log().splitlines() if event in line and "qid=%s " % qid in line]


def test_the_other_host_takes_what_one_has_put_off(suite, hosts):
    """Each once, and in one go: nothing waits for another attempt."""
    first, second = hosts
    first.answers["RCPT"] = lambda line: "451 4.3.1 disk full" if "later" in line else "550 5.1.1 no such user" if "nobody" in line else None
    qid = send(suite, "later1@two.test", "nobody@two.test", "now@two.test", "later2@two.test")
    until(lambda: gone(suite, qid))
    assert [to for _, to, _ in first.messages] == [["now@two.test"]]
    assert [to for _, to, _ in second.messages] == [["later1@two.test", "later2@two.test"]]
    until(lambda: len(lines_of(suite, "relay_sent", qid)) == 3)
    line, = lines_of(suite, "relay_next_host", qid)
    assert 'host=first.two.test' in line and 'reply="451 4.3.1 disk full"' in line and "recipients=2" in line
    assert len(lines_of(suite, "relay_refused", qid)) == 1 and not lines_of(suite, "relay_deferred", qid)


def content_of(path):
    with open(path, "rb") as f:
        return f.read()


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_what_one_host_has_taken_it_gets_once(how):
    """Whatever ends while the others' next host takes its time."""
    with contextlib.ExitStack() as stack:
        port, held = free_port(TAKES)
        stack.enter_context(held)
        first = stack.enter_context(remote_host(TAKES, port))
        second = stack.enter_context(contextlib.closing(Mute(HOLDS, port, holds=True)))
        zone = Zone(["@ MX 10 first", "@ MX 20 second", "first A " + TAKES, "second A " + HOLDS], signed=False)
        dns = stack.enter_context(Dns({"two.test": zone}).running())
        lines = dns.conf_lines() + ["relay-port %d" % port, "transport nobody.test { hold yes }", "queue-retry-first 1s", "queue-retry-max 2s", "stop-timeout 1s"]
        suite = stack.enter_context(Instance(lines).running("alice"))
        first.answers["RCPT"] = lambda line: "451 4.3.1 disk full" if "later" in line else None
        qid = send(suite, "now@two.test", "later@two.test")
        until(lambda: second.connections)
        until(lambda: b"250 2.0.0 taken" in content_of(spool_file(suite, qid)))
        first.answers.clear()
        if how == "kill":
            os.kill(suite.daemons()["queue"], signal.SIGKILL)
        else:
            suite.stop()
            suite.start()
        until(lambda: len(first.messages) >= 2)
        assert [to for _, to, _ in first.messages] == [["now@two.test"], ["later@two.test"]]


def test_what_all_hosts_put_off_waits(suite, hosts):
    first, second = hosts
    asked = []
    for host in hosts:
        host.answers["RCPT"] = lambda line, host=host: asked.append(host) or "451 4.7.1 greylisted, come again"
    qid = send(suite, "x@two.test")
    until(lambda: lines_of(suite, "relay_deferred", qid))
    assert set(asked[:2]) == {first, second}  # it may have been tried again by now
    first.answers.clear()
    until(lambda: gone(suite, qid))
    assert len(first.messages) == 1 and not second.messages


def test_where_there_is_no_other_host_none_is_told_of(suite, hosts):
    """Also where the connection was another message's, and nobody has looked yet which hosts there are."""
    first, second = hosts
    qid = send(suite, "x@one.test")
    until(lambda: gone(suite, qid))
    first.answers["MAIL"] = "451 4.3.1 disk full"
    qid = send(suite, "x@one.test")
    until(lambda: lines_of(suite, "relay_deferred", qid))
    assert not lines_of(suite, "relay_next_host", qid) and not second.messages


def test_a_dead_host_keeps_the_first_message_alone(suite, hosts):
    """The second one is for another domain, so that it has a connection of its own."""
    for domain in ("one-dead.test", "other-dead.test"):
        qid = send(suite, "x@" + domain)
        until(lambda: gone(suite, qid))
    assert len(hosts[1].messages) == 2
    suite.until_logged("relay_session_failed host=dead.")
    assert suite.log().count("relay_session_failed host=dead.") == 1
    assert "dead.other-dead.test could not be reached lately: it comes last" in suite.mw("relay", "test", "x@other-dead.test").stdout


def test_mail_does_not_come_back(suite, hosts):
    with Router((ROUTER, hosts[0].server_address[1]), Router.RequestHandler) as router:
        router.to = ("127.0.0.1", suite.port("smtp"))
        threading.Thread(target=router.serve_forever, daemon=True).start()
        try:
            send(suite, "x@loop.test")
            text = notification(suite, "x@loop.test")
        finally:
            router.shutdown()
    assert "Status: 5.4.6" in text and "mail for loop.test comes back to this server" in " ".join(text.split())
