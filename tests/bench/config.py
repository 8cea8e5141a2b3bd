"""What the benchmark is made with: the environment, with its defaults."""
import os
import random
import socket

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.path.abspath(os.environ.get("B", os.path.join(ROOT, "build")))

DOMAIN = "bench.test"
PASSWORD = "bench-secret"
ACCOUNTS = ["u%d" % i for i in range(10)]
SESSIONS = 20
MESSAGE_SIZE = 4096

MESSAGES = int(os.environ.get("BENCH_MESSAGES", "4000"))
RUNS = int(os.environ.get("BENCH_RUNS", "5"))
IMAP_MESSAGES = int(os.environ.get("BENCH_IMAP_MESSAGES", "20000"))
LOGIN_RUNS = int(os.environ.get("BENCH_LOGIN_RUNS", "3"))
HANDSHAKE_RUNS = int(os.environ.get("BENCH_HANDSHAKE_RUNS", "7"))
IMAP_RUNS = int(os.environ.get("BENCH_IMAP_RUNS", "3"))
ONLY = [p for p in os.environ.get("BENCH_ONLY", "inbound,relay,imap,logins,handshakes,memory").split(",") if p]
SUITES = [s for s in os.environ.get("BENCH_SUITES", "mailwain,peers").split(",") if s]
# A real disk: on a tmpfs the syncs, which are most of what is measured, cost nothing.
DIRECTORY = os.environ.get("BENCH_DIR", "/var/tmp")


def free_ports(count):
    """Ports of 127.0.0.1 that nobody has now."""
    sockets = []
    try:
        for _ in range(count):
            s = socket.socket()
            sockets.append(s)
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def free_offset(ports):
    """A number that, added to each port, gives ports that nobody has now."""
    while True:
        offset = random.randrange(10000, 30000)
        sockets = []
        try:
            for port in ports:
                s = socket.socket()
                sockets.append(s)
                s.bind(("127.0.0.1", port + offset))
            return offset
        except OSError:
            continue
        finally:
            for s in sockets:
                s.close()
