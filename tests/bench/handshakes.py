"""TLS handshakes a second, and the processor time of each, by `openssl s_time` at imapd, and at `openssl s_server`, which is one process and
has its key in its memory.

What makes them comparable: the same client, certificate and key (P-256); TLS 1.3, no session taken up, the same cipher and key agreement, which
is looked at first; one ticket from each server. One client, a connection after the other, so that nobody gains by a second processor what the
other cannot: s_server serves one at a time. The client's own time is in both figures, so the ratio of the processor time is told as well: of all
processes of the suite against that of s_server alone. imapd also greets, counts, and writes its log; s_server (-www -quiet) only waits for a request.
Rounds alternate, and so does who begins."""
import os
import re
import socket
import subprocess
import time

import config
import procs

SECONDS = int(os.environ.get("BENCH_HANDSHAKE_SECONDS", "5"))
SAME = [r"New, (.*)", r"Server Temp Key: (.*)", r"Peer signature type: (.*)", r"Server public key is (.*)"]


def wait_listener(port, process):
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
            return
        except OSError:
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError("openssl s_server does not answer on port %d" % port)
            time.sleep(0.02)


class Reference:
    """openssl s_server with the suite's certificate."""

    key = "peers"
    name = "openssl s_server"

    def __init__(self, suite):
        self.port = config.free_ports(1)[0]
        pem, key = (os.path.join(suite.dir, "etc", "tls." + end) for end in ("pem", "key"))
        self.process = subprocess.Popen(["openssl", "s_server", "-accept", "127.0.0.1:%d" % self.port, "-cert", pem, "-key", key, "-num_tickets", "1", "-www", "-quiet"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_listener(self.port, self.process)

    def roots(self):
        return [self.process.pid]

    def close(self):
        self.process.terminate()
        self.process.wait(10)


def openssl(*args, timeout=60):
    return subprocess.run(["openssl", *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)


def kind_of_handshake(port):
    text = openssl("s_client", "-connect", "127.0.0.1:%d" % port, "-tls1_3").stdout
    return [re.search(line, text)[1] for line in SAME]


def measure_one(server, port, seconds):
    before, begun = procs.cpu_ms(server.roots()), time.monotonic()
    # Authorities, which it would read first, are of no use: the certificate is nobody's.
    r = openssl("s_time", "-connect", "127.0.0.1:%d" % port, "-new", "-tls1_3", "-time", str(seconds), "-no-CAfile", "-no-CApath", "-no-CAstore", timeout=seconds + 60)
    passed = time.monotonic() - begun  # what s_time says are whole seconds
    done = re.search(r"(\d+) connections in [\d.]+s;", r.stdout)
    if r.returncode != 0 or not done or int(done[1]) == 0:
        raise RuntimeError("%s: s_time: %s%s" % (server.name, r.stdout[-500:], r.stderr[-500:]))
    return {"rate": int(done[1]) / passed, "cpu_ms": (procs.cpu_ms(server.roots()) - before) / int(done[1])}


def measure(suite, say):
    reference = Reference(suite)
    servers = [(suite, suite.imaps), (reference, reference.port)]
    results = {server.key: [] for server, _ in servers}
    try:
        kinds = [kind_of_handshake(port) for _, port in servers]
        if kinds[0] != kinds[1] or "TLSv1.3" not in kinds[0][0] or kinds[0][2] != "ECDSA":
            raise RuntimeError("handshakes: not the same is compared: %s, %s" % tuple(kinds))
        say("handshakes: %s" % ", ".join(kinds[0]))
        for server, port in servers:
            measure_one(server, port, 1)  # warm
        for number in range(config.HANDSHAKE_RUNS):
            for server, port in servers if number % 2 == 0 else servers[::-1]:
                one = measure_one(server, port, SECONDS)
                results[server.key].append(one)
                say("handshakes: run %d: %s: %.0f a second, %.2f ms of CPU each" % (number + 1, server.name, one["rate"], one["cpu_ms"]))
    finally:
        reference.close()
    return results
