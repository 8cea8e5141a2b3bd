"""Certificates and keys made on the spot with openssl(1), and clients of TLS."""
import os
import re
import socket
import ssl
import subprocess

from mailwain import TIMEOUT, Smtp

KINDS = {
    "rsa2048": ["-newkey", "rsa:2048"],
    "rsa4096": ["-newkey", "rsa:4096"],
    "p256": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "ed25519": ["-newkey", "ed25519"],
}


def openssl(*args, check=True, input=None):
    return subprocess.run(["openssl", *args], check=check, input=input, capture_output=True, text=True, timeout=3 * TIMEOUT)  # RSA of 4096 bits takes its time


def make(etc, name, kind="p256", hosts=(), days=90, stem="tls"):
    """etc/stem.pem and .key, self-signed, for CN=name and the hosts."""
    pem, key = ("%s/%s.%s" % (etc, stem, end) for end in ("pem", "key"))
    names = ",".join("DNS:" + h for h in hosts or [name])
    openssl("req", "-x509", *KINDS[kind], "-nodes", "-days", str(days), "-subj", "/CN=" + name, "-addext", "subjectAltName=" + names, "-keyout", key + ".new", "-out", pem + ".new")
    os.replace(key + ".new", key)
    os.replace(pem + ".new", pem)
    return pem, key


def issued(etc, name, stem="tls", begins="20200101000000Z", ends="20990101000000Z", chain=True, email=None, address=None, hosts=()):
    """The same, by an authority etc/ca.pem that is made when it is not there."""
    ca, ca_key = etc + "/ca.pem", etc + "/ca.key"
    if not os.path.exists(ca):
        openssl("req", "-x509", *KINDS["p256"], "-nodes", "-days", "900", "-subj", "/CN=Test Authority", "-keyout", ca_key, "-out", ca)
    pem, key, request, extensions = ("%s/%s.%s" % (etc, stem, end) for end in ("pem", "key", "csr", "ext"))
    openssl("req", *KINDS["p256"], "-nodes", "-subj", "/CN=" + name, "-keyout", key, "-out", request)
    with open(extensions, "w") as f:
        f.write("subjectAltName=%s\n" % ("email:" + email if email else "IP:" + address if address else ",".join("DNS:" + h for h in hosts or [name])))
    database = etc + "/index.txt"
    open(database, "w").close()
    with open(etc + "/ca.cnf", "w") as f:
        f.write("[ca]\ndefault_ca=a\n[a]\ndatabase=%s\nnew_certs_dir=%s\ndefault_md=sha256\npolicy=p\nrand_serial=yes\nunique_subject=no\n[p]\ncommonName=supplied\n" % (database, etc))
    openssl("ca", "-config", etc + "/ca.cnf", "-batch", "-notext", "-cert", ca, "-keyfile", ca_key, "-in", request, "-out", pem, "-startdate", begins, "-enddate", ends, "-extfile", extensions)
    if chain:
        with open(pem, "a") as f, open(ca) as more:
            f.write(more.read())
    return pem, key


def reissued(etc, begins="20200101000000Z", ends="20990101000000Z"):
    """The text of another certificate of the authority of issued(), with its name and its key."""
    request, pem = etc + "/again.csr", etc + "/again.pem"
    openssl("req", "-new", "-key", etc + "/ca.key", "-subj", "/CN=Test Authority", "-out", request)
    openssl("ca", "-config", etc + "/ca.cnf", "-batch", "-notext", "-selfsign", "-keyfile", etc + "/ca.key", "-in", request, "-out", pem, "-startdate", begins, "-enddate", ends)
    with open(pem) as f:
        return f.read()


def revocations(etc, *stems, name="crl.pem", begins="20200101000000Z", ends=None):
    """The list of the authority of issued(), with these certificates of its own on it; ends: 30 days from now, or as -enddate of openssl-ca(1), and begins as -startdate."""
    common = ["ca", "-config", etc + "/ca.cnf", "-cert", etc + "/ca.pem", "-keyfile", etc + "/ca.key"]
    open(etc + "/index.txt", "w").close()
    for stem in stems:
        openssl(*common, "-revoke", "%s/%s.pem" % (etc, stem))
    openssl(*common, "-gencrl", "-out", etc + "/crl.new", *(["-crldays", "30"] if ends is None else ["-crl_lastupdate", begins, "-crl_nextupdate", ends]))
    os.replace(etc + "/crl.new", etc + "/" + name)


def secrets_of(key):
    """What must be nowhere else: the private numbers as octets."""
    text = openssl("pkey", "-in", key, "-text", "-noout").stdout
    fields = {m[0]: bytes.fromhex(re.sub(r"[:\s]", "", m[1])) for m in re.findall(r"^(\w+):[^\n]*\n((?:    [0-9a-f:]+\n)+)", text, re.M)}
    return {name: octets.lstrip(b"\0") for name, octets in fields.items() if name in ("priv", "privateExponent", "prime1", "prime2")}


def context(version=None):
    c = ssl.create_default_context()
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    if version:
        c.minimum_version = c.maximum_version = version
    return c


def handshake(suite, service="imaps", name=None, version=None, ctx=None, timeout=TIMEOUT):
    """A TLS connection to the service, and the certificate in DER that it showed."""
    if service in ("smtp", "submission"):
        c = Smtp(suite.port(service), timeout=timeout)
        c.hello()
        c.expect("STARTTLS", 220)
        s = c.sock
    else:
        s = socket.create_connection(("127.0.0.1", suite.port(service)), timeout=timeout)
    t = (ctx or context(version)).wrap_socket(s, server_hostname=name)
    return t, t.getpeercert(True)


def der_of(pem):
    with open(pem) as f:
        return ssl.PEM_cert_to_DER_cert(re.search("-----BEGIN CERT.*?-----END CERTIFICATE-----", f.read(), re.S)[0])
