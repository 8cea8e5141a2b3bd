"""Mail in: smtp-source's first connection until the last message shows in its mailbox over IMAP."""
import subprocess
import time

import config
import imapclient
import procs

LIMIT = 300


class Run:
    def __init__(self, messages, seconds, acknowledged, cpu_ms, driver_ms):
        self.rate = messages / seconds
        self.acknowledged_rate = messages / acknowledged
        self.cpu_ms = cpu_ms / messages
        self.driver_ms = driver_ms / messages

    def __repr__(self):
        return "%.0f messages/s in their mailboxes (%.0f/s acknowledged), %.2f ms of CPU each" % (
            self.rate, self.acknowledged_rate, self.cpu_ms)


def send(suite, each, keep_connection):
    """Starts one smtp-source with two sessions for every account."""
    sessions = config.SESSIONS // len(config.ACCOUNTS)
    command = ["smtp-source", "-4", "-s", str(sessions), "-m", str(each), "-l", str(config.MESSAGE_SIZE),
               "-f", "sender@remote.test", "-M", "client.remote.test"] + (["-d"] if keep_connection else [])
    sources = []
    try:
        for account in config.ACCOUNTS:
            sources.append(subprocess.Popen(command + ["-t", suite.address(account), "127.0.0.1:%d" % suite.smtp],
                                            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE))
    except OSError:
        stop(sources)
        raise
    return sources


def stop(sources):
    for s in sources:
        if s.poll() is None:
            s.kill()
        s.communicate()


def wait_sent(sources, deadline):
    for s in sources:
        _, error = s.communicate(timeout=max(0.1, deadline - time.monotonic()))
        if s.returncode != 0:
            raise RuntimeError("smtp-source: exit %d: %s" % (s.returncode, error.decode("utf-8", "replace")))


def wait_arrived(clients, each, started, deadline):
    """Asks for the counts, account after account, about as often as the rate so far says is of use:
    asking costs the servers time that is measured."""
    for client in clients:
        while True:
            have = client.messages()
            now = time.monotonic()
            if have >= each:
                break
            if now > deadline:
                raise TimeoutError("%d of %d messages have arrived" % (have, each))
            left = (each - have) * (now - started) / max(have, 1)
            time.sleep(min(0.2, max(0.002, left / 2)))


def run(suite, messages=None, keep_connection=True):
    """One measured run into empty mailboxes."""
    each = (messages or config.MESSAGES) // len(config.ACCOUNTS)
    clients = []
    sources = []
    try:
        for account in config.ACCOUNTS:
            clients.append(imapclient.Imap(suite.imap, account))
            clients[-1].empty()
        time.sleep(0.5)
        cpu, driver = procs.cpu_ms(suite.roots()), procs.own_cpu_ms()
        start = time.monotonic()
        sources = send(suite, each, keep_connection)
        wait_sent(sources, start + LIMIT)
        acknowledged = time.monotonic() - start
        wait_arrived(clients, each, start, start + LIMIT)
        seconds = time.monotonic() - start
        # What is left to do behind the last delivery (files removed, queue tidied) belongs to these messages.
        time.sleep(0.5)
        cpu, driver = procs.cpu_ms(suite.roots()) - cpu, procs.own_cpu_ms() - driver
        for client in clients:
            if client.messages() != each:
                raise RuntimeError("%d messages in a mailbox that was sent %d" % (client.messages(), each))
        return Run(each * len(clients), seconds, acknowledged, cpu, driver)
    finally:
        stop(sources)
        for client in clients:
            client.close()
