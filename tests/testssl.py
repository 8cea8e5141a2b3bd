#!/usr/bin/python3
"""
What testssl.sh says of the ports with TLS: `make check-testssl`, some minutes. Exit 1 when it finds anything above LOW but for
what a certificate that nobody has signed must be told. TESTSSL_JOBS (4) ports are looked at at once.

usage: testssl.py [SERVICE]...
"""
import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "e2e"))
from mailwain import Instance
from tls_files import make

SERVICES = {"submissions": None, "submission": "smtp", "imaps": None, "imap": "imap", "smtp": "smtp"}
BELOW = ("OK", "INFO", "LOW", "DEBUG")
# An authority's certificate has a chain, and says where it can be asked after.
SELF_SIGNED = ("cert_chain_of_trust", "cert_revocation")
LOOKED_AT = {"TLS1_3", "cipherlist_NULL", "PFS_ciphers", "cipher_order", "cert_chain_of_trust", "heartbleed", "ROBOT", "secure_client_renego", "LUCKY13", "RC4"}


def findings(suite, service, directory):
    """Each as testssl.sh says it."""
    out = os.path.join(directory, service)
    starttls = ["--starttls", SERVICES[service]] if SERVICES[service] else []
    with open(out + ".log", "w") as log:
        subprocess.run(["testssl", "--quiet", "--color", "0", "--warnings", "batch", "--ip", "127.0.0.1", "--jsonfile", out + ".json", *starttls,
                        "--protocols", "--std", "--pfs", "--server-preference", "--server-defaults", "--vulnerable", "mail.example.com:%d" % suite.port(service)],
                       stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=1500)
    with open(out + ".json") as f:
        return json.load(f)


def main():
    services = sys.argv[1:] or list(SERVICES)
    bad = 0
    instance = Instance(conf_lines=["connections-per-address 1000"])
    make(os.path.join(instance.root, "etc"), "mail.example.com")
    with tempfile.TemporaryDirectory(prefix="mailwain-testssl-") as directory, instance.running() as suite:
        with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("TESTSSL_JOBS", "4"))) as pool:
            found = dict(zip(services, pool.map(lambda s: findings(suite, s, directory), services)))
    for service, rows in found.items():
        above = [r for r in rows if r["severity"] not in BELOW and r["id"] not in SELF_SIGNED]
        missing = LOOKED_AT - {r["id"] for r in rows}
        if missing:
            print("%s: testssl.sh has not looked at %s" % (service, " ".join(sorted(missing))))
            bad += 1
        for r in above:
            print("%s: %s %s: %s" % (service, r["severity"], r["id"], r["finding"]))
        low = sorted({r["id"] for r in rows if r["severity"] == "LOW"})
        print("%s: %d findings above LOW of %d; LOW: %s" % (service, len(above), len(rows), " ".join(low) or "none"))
        bad += len(above)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
