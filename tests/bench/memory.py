"""Memory, as proportional set size (PSS): a page shared by n processes counts 1/n in each."""
import re
import resource
import socket
import time

import config
import imapclient
import procs

SMTP_CONNECTIONS = 1000
POSTFIX_CONNECTIONS = 100  # its default process limit: one smtpd a connection
IDLE_CLIENTS = 100


def allow_descriptors(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard) if hard != resource.RLIM_INFINITY else count, hard))


def idle(suite):
    return procs.settled_pss_kib(suite.roots())


def greet(suite):
    """One SMTP connection that has said EHLO and been answered."""
    s = socket.create_connection(("127.0.0.1", suite.smtp), timeout=20)
    try:
        if not read_reply(s).startswith(b"220"):
            raise RuntimeError("%s does not greet" % suite.name)
        s.sendall(b"EHLO client.remote.test\r\n")
        if not read_reply(s).startswith(b"250"):
            raise RuntimeError("%s does not answer EHLO" % suite.name)
    except BaseException:
        s.close()
        raise
    return s


def read_reply(s):
    data = b""
    while not re.search(rb"(^|\n)\d{3} [^\n]*\n$", data):
        piece = s.recv(4096)
        if not piece:
            raise EOFError("the connection was closed: %r" % data)
        data += piece
    return data


def smtp_processes(suite):
    return [pid for root in suite.roots() for pid in procs.tree(root) if procs.name(pid) == "smtpd"]


def smtp(suite, count):
    """(KiB that `count` connections add to the suite, KiB of the smtpd processes that hold them, how many those are)"""
    allow_descriptors(count + 200)
    connections = []
    try:
        before = idle(suite)
        for _ in range(count):
            connections.append(greet(suite))
        after = idle(suite)
        smtpd = smtp_processes(suite)
        return after - before, procs.pss_kib(smtpd), len(smtpd)
    finally:
        for c in connections:
            c.close()


def imap_idle(suite, count=IDLE_CLIENTS):
    """KiB that each TLS client adds which is logged in, has selected its INBOX and says IDLE."""
    tls = imapclient.tls_context()
    clients = []
    try:
        # Once without counting: what the first client of all loads is no client's own.
        for _ in range(2):
            warm = imapclient.Imap(suite.imaps, config.ACCOUNTS[0], tls)
            warm.run("SELECT INBOX")
            warm.close()
        time.sleep(1)
        before = idle(suite)
        for i in range(count):
            client = imapclient.Imap(suite.imaps, config.ACCOUNTS[i % len(config.ACCOUNTS)], tls)
            clients.append(client)
            client.run("SELECT INBOX")
            client.sock.sendall(client.tag() + b" IDLE\r\n")
            if not client.line().startswith(b"+"):
                raise RuntimeError("%s does not idle" % suite.name)
        return (idle(suite) - before) / count
    finally:
        for client in clients:
            client.close()


def measure(suites, say):
    """suite key -> what was measured, in KiB"""
    results = {}
    for suite in suites:
        r = results[suite.key] = {"idle": idle(suite)}
        say("memory: %s: idle %.1f MiB" % (suite.name, r["idle"] / 1024))
    for suite in suites:
        r = results[suite.key]
        count = SMTP_CONNECTIONS if suite.key == "mailwain" else POSTFIX_CONNECTIONS
        added, r["smtpd"], r["smtpd_processes"] = smtp(suite, count)
        r["smtp_connections"], r["smtp_connection"] = count, added / count
        say("memory: %s: %d SMTP connections: %.1f KiB each; smtpd %.1f MiB in %d process(es)" % (
            suite.name, count, r["smtp_connection"], r["smtpd"] / 1024, r["smtpd_processes"]))
        r["imap_client"] = imap_idle(suite)
        say("memory: %s: an idle TLS IMAP client: %.0f KiB" % (suite.name, r["imap_client"]))
    return results
