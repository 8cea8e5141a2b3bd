#!/usr/bin/python3
"""
What testssl.sh says of the ports with TLS: `make check-testssl`, half a minute for each on a quiet machine. Exit 1 when it finds anything above LOW
but for what a certificate that nobody has signed must be told. TESTSSL_JOBS (1) ports are looked at at once.

usage: testssl.py [SERVICE]...
"""
import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "e2e"))
from mailwain import Instance
from tls_files import make

SERVICES = {"submissions": None, "submission": "smtp", "imaps": None, "imap": "imap", "smtp": "smtp"}
BELOW = ("OK", "INFO", "LOW", "DEBUG")
# An authority's certificate has a chain, and says where it can be asked after.
SELF_SIGNED = ("cert_chain_of_trust", "cert_revocation")
# Its client may leave before the ticket comes, and then cannot tell (WARN); tests/e2e/test_tls.py has clients that take sessions up again.
LEFT_EARLY = ("sessionresumption_ticket", "sessionresumption_ID")
# It warns that its own openssl has no GOST, where Debian's engine for that is not installed: that says nothing of a port.
OF_ITSELF = ("engine_problem",)
LOOKED_AT = {"TLS1_3", "cipherlist_NULL", "PFS_ciphers", "cipher_order", "cert_chain_of_trust", "heartbleed", "ROBOT", "secure_client_renego", "LUCKY13", "RC4"}


def findings(suite, service, directory):
    """(each as testssl.sh says it, seconds)"""
    begun = time.monotonic()
    out = os.path.join(directory, service)
    starttls = ["--starttls", SERVICES[service]] if SERVICES[service] else []
    with open(out + ".log", "w") as log:
        subprocess.run(["testssl", "--quiet", "--color", "0", "--warnings", "batch", "--ip", "127.0.0.1", "--jsonfile", out + ".json", *starttls,
                        "--protocols", "--std", "--pfs", "--server-preference", "--server-defaults", "--vulnerable", "mail.example.com:%d" % suite.port(service)],
                       stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=1500)
    with open(out + ".json") as f:
        return json.load(f), time.monotonic() - begun


def is_fault(row):
    return row["severity"] not in BELOW and row["id"] not in SELF_SIGNED and not (row["severity"] == "WARN" and row["id"] in LEFT_EARLY + OF_ITSELF)


def main():
    services = sys.argv[1:] or list(SERVICES)
    bad, begun = 0, time.monotonic()
    instance = Instance(conf_lines=["connections-per-address 1000"])
    make(os.path.join(instance.root, "etc"), "mail.example.com")
    with tempfile.TemporaryDirectory(prefix="mailwain-testssl-") as directory, instance.running() as suite:
        with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("TESTSSL_JOBS", "1"))) as pool:
            found = dict(zip(services, pool.map(lambda s: findings(suite, s, directory), services)))
    for service, (rows, seconds) in found.items():
        above = [r for r in rows if is_fault(r)]
        missing = LOOKED_AT - {r["id"] for r in rows}
        if missing:
            print("%s: testssl.sh has not looked at %s" % (service, " ".join(sorted(missing))))
            bad += 1
        for r in above:
            print("%s: %s %s: %s" % (service, r["severity"], r["id"], r["finding"]))
        low = sorted({r["id"] for r in rows if r["severity"] == "LOW"})
        print("%s: %d findings above LOW of %d, in %.0f s; LOW: %s" % (service, len(above), len(rows), seconds, " ".join(low) or "none"))
        bad += len(above)
    print("testssl: %d ports, %d faults, %.0f s" % (len(found), bad, time.monotonic() - begun))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
