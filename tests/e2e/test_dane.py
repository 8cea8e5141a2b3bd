"""
Every case of RFC 7672 sections 2 and 3, each with a right certificate and a wrong one; doc/dane.md has them in the RFC's order.

A world of signed and unsigned zones, and hosts that differ in the certificates they show. A case is a domain of that world: records, and
what must come of mail for it.
"""
import base64
import contextlib
import hashlib
import os
import re
import ssl

import pytest

from dns import Dns, Zone, free_port
from mailwain import ROOT, Instance, until
from remote import remote_host
from test_outbound import notification
from test_submission import client
from tls_files import KINDS, issued, openssl
from tools import with_conf

HOSTS = {
    "ee": "127.0.0.20",  # a certificate for another name that has ended
    "ta": "127.0.0.21",  # one for the name that it is asked for, with its authority behind it
    "leaf": "127.0.0.22",  # the same without the authority
    "clear": "127.0.0.23",  # no TLS
    "broken": "127.0.0.24",  # STARTTLS that comes to nothing
}

# What must come of it: exit code, what is shown, what is not.
DANE = (0, ["TLSv1.3 DANE"], [])
WRONG = (75, ["450 4.7.5 its certificate: "], ["> MAIL"])
TLS = (0, ["TLS: TLSv1.3"], ["DANE"])  # encrypted, to whom nobody knows
CLEAR = (0, ["TLS: none"], ["DANE"])
REFUSED = (75, ["450 4.7.5 "], ["> MAIL"])  # the host cannot give the TLS that it must
UNKNOWN = (75, ["450 4.7.5 the TLSA records of ", "cannot be told now"], ["> MAIL", "connecting"])

VERIFIED = (0, ["TLSv1.3 verified"], ["DANE"])

CASES = {}  # name of the domain below dane.test, or with a dot another domain -> what must come of it
RECORDS = []  # of dane.test; {p}: the port, {CERTIFICATE_SELECTOR_MATCHING}: what TLSA has of it


def case(name, come_of_it, *records, sni=None):
    """Records, relative to the case's own domain: "@" and names below it."""
    CASES[name] = come_of_it + (sni,)
    for record in records:
        owner, rest = record.split(" ", 1)
        RECORDS.append("%s %s" % (name if owner == "@" else owner + "." + name, rest.replace("$", name + ".dane.test.")))


def host(name, come_of_it, where, *tlsa, sni=None):
    """The plainest form: a domain with one host and its TLSA records."""
    case(name, come_of_it, "@ MX 10 mx.$", "mx A " + HOSTS[where], *("_{p}._tcp.mx TLSA " + t for t in tlsa), sni=sni)


# ---- 2.1, 2.2: what is found, and whether it is signed ----

EE, BAD = "3 1 1 {ee_1_1}", "3 1 1 {bad_1_1}"
for right, data, found in (("", EE, DANE), ("wrong-", BAD, WRONG)):
    host(right + "secure", found, "ee", data, sni="mx.%ssecure.dane.test" % right)
    case(right + "no-mx", found, "@ A " + HOSTS["ee"], "_{p}._tcp TLSA " + data)
    case(right + "port", found, "mx A " + HOSTS["ee"], "_{q}._tcp.mx TLSA " + data, "_{p}._tcp.mx TLSA 3 1 1 {bad_1_1}")  # a smarthost at another port
    host(right + "no-starttls", REFUSED, "clear", data)
    host(right + "broken-starttls", REFUSED, "broken", data)
    # 2.2.1, 2.2.2, 2.2.3: aliases
    case(right + "domain-alias", found, "@ CNAME to.$", "to MX 10 mx.$", "mx A " + HOSTS["ee"], "_{p}._tcp.mx TLSA " + data)
    case(right + "host-alias", found, "@ MX 10 mx.$", "mx CNAME real.$", "real A " + HOSTS["ee"], "_{p}._tcp.real TLSA " + data, sni="real.%shost-alias.dane.test" % right)
    case(right + "host-alias-itself", found, "@ MX 10 mx.$", "mx CNAME real.$", "real A " + HOSTS["ee"], "_{p}._tcp.mx TLSA " + data,
         sni="mx.%shost-alias-itself.dane.test" % right)
    case(right + "host-alias-both", found, "@ MX 10 mx.$", "mx CNAME real.$", "real A " + HOSTS["ee"], "_{p}._tcp.real TLSA " + data,
         "_{p}._tcp.mx TLSA " + (BAD if data == EE else EE))  # where the alias leads comes first
    case(right + "host-alias-between", CLEAR, "@ MX 10 mx.$", "mx CNAME middle.$", "middle CNAME real.$", "real A " + HOSTS["clear"], "_{p}._tcp.middle TLSA " + data)
    case(right + "host-alias-insecure", found, "@ MX 10 mx.$", "mx CNAME ee.unsigned.test.", "_{p}._tcp.mx TLSA " + data, sni="mx.%shost-alias-insecure.dane.test" % right)
    case(right + "tlsa-alias", found, "@ MX 10 mx.$", "mx A " + HOSTS["ee"], "_{p}._tcp.mx CNAME tlsa.$", "tlsa TLSA " + data, sni="mx.%stlsa-alias.dane.test" % right)
    case(right + "tlsa-alias-insecure", TLS, "@ MX 10 mx.$", "mx A " + HOSTS["ee"], "_{p}._tcp.mx CNAME %stlsa.unsigned.test." % right)
    # 2.1.2: several hosts, the first of which is of no use
    case(right + "second-host", found, "@ MX 10 first.$", "@ MX 20 second.$", "first A " + HOSTS["ee"], "_{p}._tcp.first TLSA 3 1 1 {bad_1_1}",
         "second A " + HOSTS["ee"], "_{p}._tcp.second TLSA " + data)
    case(right + "second-host-told", found, "@ MX 10 mx.tlsa-bogus.dane.test.", "@ MX 20 second.$", "second A " + HOSTS["ee"], "_{p}._tcp.second TLSA " + data)
    case(right + "second-host-found", found, "@ MX 10 mx.forged.test.", "@ MX 20 second.$", "second A " + HOSTS["ee"], "_{p}._tcp.second TLSA " + data)

host("no-records", CLEAR, "clear")
host("no-records-tls", TLS, "ee")
case("no-such-name", TLS, "@ MX 10 mx.$", "mx A " + HOSTS["ee"], "_tcp.mx TXT x")
case("preferred", CLEAR, "@ MX 10 first.$", "@ MX 20 second.$", "first A " + HOSTS["clear"], "second A " + HOSTS["ee"], "_{p}._tcp.second TLSA " + EE)
case("host-unsigned", TLS, "@ MX 10 host.unsigned.test.")  # whose name server cannot answer for TLSA
case("host-alias-unsigned", TLS, "@ MX 10 alias.unsigned.test.")
for fault in ("bogus", "expired", "lame"):
    case("tlsa-" + fault, UNKNOWN, "@ MX 10 mx.$", "mx A " + HOSTS["ee"], "_{p}._tcp.mx CNAME tlsa.%s.test." % fault)
CASES["insecure.test"] = TLS + (None,)  # its MX leads to a host whose records are for another key
CASES["forged.test"] = (75, ["450 4.7.5 the mail hosts of forged.test cannot be believed"], ["connecting"], None)
CASES["[%s]" % HOSTS["ee"]] = TLS + (None,)
host("only-none", (75, ["450 4.7.5 ", "dane-only"], ["connecting"]), "ee")
host("only", DANE, "ee", EE)
CASES["only.test"] = (75, ["450 4.7.5 ", "dane-only"], ["connecting"], None)  # unsigned MX
case("verify-lame", WRONG, "@ MX 10 mx.$", "mx A " + HOSTS["ee"], "_{p}._tcp.mx CNAME tlsa.lame.test.")  # the administrator asks for an authority's word instead

# ---- 3.1: usages, selectors, matching types ----

for selector in "01":
    for matching in "012":
        kind = "%s-%s" % (("cert", "key")[int(selector)], ("full", "sha256", "sha512")[int(matching)])
        for right, found, ee, ca in (("", DANE, "ee", "ca"), ("wrong-", WRONG, "bad", "bad")):
            what = "%s %s " % (selector, matching)
            ee_data, ca_data = ("{%s_%s_%s}" % (c, selector, matching) for c in (ee, ca))
            host(right + "ee-" + kind, found, "ee", "3 " + what + ee_data)
            host(right + "ta-" + kind, found, "ta", "2 " + what + ca_data)
            # What is whole in DNS need not be in the chain; of a digest nothing can be made.
            host(right + "ta-absent-" + kind, found if matching == "0" else WRONG, "leaf", "2 " + what + ca_data)
        for usage, name in (("0", "pkix-ta-"), ("1", "pkix-ee-")):
            host(name + kind, TLS, "ee", "%s %s %s {bad_%s_%s}" % (usage, selector, matching, selector, matching))

host("pkix-no-starttls", REFUSED, "clear", "1 1 1 {ee_1_1}")
for name, data in (("usage", "4 1 1 {ee_1_1}"), ("usage-private", "255 1 1 {ee_1_1}"), ("selector", "3 2 1 {ee_1_1}"), ("matching", "3 1 3 {ee_1_1}"), ("length", "3 1 1 {ee_1_2}"), ("data", "3 1 0 {ee_1_1}")):
    host("unknown-" + name, TLS, "ee", data)
    host("unknown-%s-no-starttls" % name, REFUSED, "clear", data)
    host("unknown-%s-and-right" % name, DANE, "ee", data.replace("ee_", "bad_"), EE)
    host("unknown-%s-and-wrong" % name, WRONG, "ee", data, BAD)
LARGE = "3 0 0 {large_0_0}"  # a certificate of more than 4096 octets
host("large", DANE, "ta", LARGE, sni="mx.large.dane.test")
host("wrong-large", WRONG, "ee", LARGE)
host("large-beside", DANE, "ee", LARGE, "2 0 0 {large_0_0}", "2 1 0 {ca_1_0}", EE)
host("many", DANE, "ee", *("3 1 1 %064x" % n for n in range(200)), EE)
host("wrong-many", WRONG, "ee", *("3 1 1 %064x" % n for n in range(200)))
host("too-large", (75, ["450 4.7.5 the TLSA records of mx.too-large.dane.test have more than "], ["connecting"]), "ee", *("3 0 0 %02x%s" % (n, "00" * 5000) for n in range(12)))
host("mixed", DANE, "ee", "1 1 1 {bad_1_1}", BAD, "2 0 1 {bad_0_1}", EE)
host("wrong-mixed", WRONG, "ee", "1 1 1 {ee_1_1}", BAD, "2 1 1 {ca_1_1}")
host("ta-of-itself", WRONG, "ta", "2 1 1 {leaf_1_1}")
host("ta-expired", WRONG, "ta", "2 1 1 {ca_1_1}")

# RFC 7671 section 9: of one selector, the strongest digest counts alone, and what is whole.
host("digest", DANE, "ee", "3 1 2 {ee_1_2}", BAD)
host("wrong-digest", WRONG, "ee", "3 1 2 {bad_1_2}", EE)
host("digest-full", DANE, "ee", "3 1 2 {bad_1_2}", "3 1 0 {ee_1_0}")
host("digest-selectors", DANE, "ee", "3 0 2 {bad_0_2}", EE)
host("digest-unusable", DANE, "ee", "3 1 2 {bad_1_1}", EE)

# ---- 3.2: names. Usage 3 has had another name all along ----

TA = "2 0 1 {ca_0_1}"
NAMES = {}  # which certificate a host shows that is asked for this name; what is not here is "ta"


def named(name, come_of_it, *names, records=None, common=None, sni=None):
    """names: of the certificate."""
    sni = sni or "mx.%s.dane.test" % name
    NAMES[sni] = (common or "x.test", [n.replace("$", name + ".dane.test") for n in names])
    if records:
        case(name, come_of_it, *records, sni=sni)
    else:
        host(name, come_of_it, "ta", TA, sni=sni)


named("verified", VERIFIED, "mx.$")  # as the administrator asks for an authority's word: without records
named("name-base", DANE, "other.test", "mx.$")
named("name-domain", DANE, "$")
named("name-other", WRONG, "other.test", "x.$")
named("name-wildcard", DANE, "*.$")
named("name-wildcard-domain", DANE, "*.dane.test")
named("name-wildcard-part", WRONG, "m*.$")
named("name-common", DANE, common="mx.name-common.dane.test")
named("name-common-beside-others", WRONG, "other.test", common="mx.name-common-beside-others.dane.test")
ALIASES = ["@ CNAME to.$", "to MX 10 mx.$", "mx CNAME real.$", "real A " + HOSTS["ta"], "_{p}._tcp.real TLSA " + TA]
for which, shown in (("base", "real.$"), ("host", "mx.$"), ("domain", "$"), ("expanded", "to.$"), ("other", "other.$")):
    name = "alias-" + which
    named(name, WRONG if which == "other" else DANE, shown, records=ALIASES, sni="real.%s.dane.test" % name)
for which, shown in (("base", "real.$"), ("domain", "$"), ("other", "other.$")):
    name = "no-mx-" + which
    named(name, WRONG if which == "other" else DANE, shown, records=["@ CNAME real.$", "real A " + HOSTS["ta"], "_{p}._tcp.real TLSA " + TA], sni="real.%s.dane.test" % name)


HURRY = "resolver-timeout 3s\n"

# ---- the world ----


class Authority:
    """Certificates, and what TLSA records have of them."""

    def __init__(self, etc):
        self.etc, self.data = etc, {}
        self.expired = issued(etc, "expired.test", stem="expired", ends="20200201000000Z")
        self.ee = issued(etc, "elsewhere.test", stem="ee", ends="20200201000000Z", chain=False)
        self.note("ca", etc + "/ca.pem")
        self.note("ee", self.ee[0])
        openssl("req", "-x509", *KINDS["p256"], "-nodes", "-subj", "/CN=bad", "-keyout", etc + "/bad.key", "-out", etc + "/bad.pem")
        self.note("bad", etc + "/bad.pem")
        self.key = etc + "/leaf.key"
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", self.key)
        self.leaf = self.issue("leaf", "x.test", ["mx.%s.dane.test" % name for name in CASES if name not in NAMES])
        self.note("leaf", self.leaf)
        self.large = self.issue("large", "x.test", ["host-%03d.of-a-rather-long-name.test" % n for n in range(120)])
        self.note("large", self.large)

    def issue(self, stem, common, names):
        """Of one key, with its chain."""
        pem = "%s/%s.pem" % (self.etc, stem)
        extensions = ["-addext", "subjectAltName=" + ",".join("DNS:" + n for n in names)] if names else []
        openssl("req", "-x509", "-CA", self.etc + "/ca.pem", "-CAkey", self.etc + "/ca.key", "-key", self.key, "-days", "30", "-subj", "/CN=" + common, *extensions,
                "-addext", "basicConstraints=critical,CA:FALSE", "-out", pem)
        with open(pem, "a") as f, open(self.etc + "/ca.pem") as ca:
            f.write(ca.read())
        return pem

    def note(self, name, pem):
        with open(pem) as f:
            whole = base64.b64decode(re.search("-----BEGIN CERT.*?-----\n(.*?)-----END", f.read(), re.S)[1])
        key = base64.b64decode("".join(openssl("x509", "-in", pem, "-noout", "-pubkey").stdout.splitlines()[1:-1]))
        for selector, der in enumerate((whole, key)):
            for matching, digest in enumerate((lambda d: d, lambda d: hashlib.sha256(d).digest(), lambda d: hashlib.sha512(d).digest())):
                self.data["%s_%d_%d" % (name, selector, matching)] = digest(der).hex()


def context(pem, key, by_name=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.load_cert_chain(pem, key)

    def chosen(sock, name, _):
        sock.handshake.name = name
        if by_name and name in by_name:
            sock.context = by_name[name]

    c.sni_callback = chosen
    return c


def alone(pem):
    """The first certificate of a chain."""
    with open(pem) as f:
        text = f.read()
    with open(pem + ".alone", "w") as f:
        f.write(text[: text.index("-----END") + 26])
    return pem + ".alone"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(str(tmp_path_factory.mktemp("authority")))


@pytest.fixture(scope="module")
def hosts(authority):
    """All on one port."""
    with contextlib.ExitStack() as stack:
        port, claim = free_port()  # nobody else's on any of their addresses
        stack.enter_context(claim)
        made = {name: stack.enter_context(remote_host(address, port)) for name, address in HOSTS.items()}
        made["other port"] = stack.enter_context(remote_host(HOSTS["ee"]))
        by_name = {name: context(authority.issue("named%d" % n, *names), authority.key) for n, (name, names) in enumerate(NAMES.items())}
        by_name["mx.ta-expired.dane.test"] = context(*authority.expired)
        by_name["mx.large.dane.test"] = context(authority.large, authority.key)
        made["ee"].tls = made["other port"].tls = context(*authority.ee)
        made["ta"].tls = context(authority.leaf, authority.key, by_name)
        made["leaf"].tls = context(alone(authority.leaf), authority.key)
        made["broken"].answers["EHLO"] = "250-broken.test\r\n250 STARTTLS"
        made["broken"].answers["STARTTLS"] = "454 4.7.0 not now"
        yield made


@pytest.fixture(scope="module")
def world(authority, hosts):
    p, q = (hosts[name].server_address[1] for name in ("ee", "other port"))

    def written(records):
        return [r.format(p=p, q=q, **authority.data) for r in records]

    tlsa = written(["tlsa TLSA " + BAD])
    zones = {
        "dane.test": written(RECORDS),
        "insecure.test": Zone(["@ MX 10 mx.wrong-secure.dane.test."], signed=False),
        "only.test": Zone(["@ MX 10 mx.secure.dane.test."], signed=False),
        "forged.test": Zone(["@ MX 10 mx", "mx A " + HOSTS["ee"]], fault="wrong"),
        "unsigned.test": Zone(["ee A " + HOSTS["ee"], "host A " + HOSTS["ee"], "alias CNAME mx.wrong-secure.dane.test."]
                              + written(["_{p}._tcp.host CNAME tlsa.lame.test.", "tlsa TLSA " + BAD, "wrong-tlsa TLSA " + BAD]), signed=False),
        "bogus.test": Zone(tlsa, fault="wrong"),
        "expired.test": Zone(tlsa, fault="expired"),
        "lame.test": Zone(fault="lame"),
    }
    with Dns(zones).running() as dns:
        yield dns


@pytest.fixture(scope="module")
def suite(world, hosts, authority):
    p, q = (hosts[name].server_address[1] for name in ("ee", "other port"))
    lines = world.conf_lines() + ["relay-port %d" % p, "relay-authorities %s/ca.pem" % authority.etc, "queue-lifetime 1s", "queue-retry-first 1s"]
    lines += ["transport %s.dane.test { host mx.%s.dane.test:%d }" % (name, name, q) for name in ("port", "wrong-port")]
    lines += ["transport %s { relay-tls dane-only }" % name for name in ("only.dane.test", "only-none.dane.test", "only.test")]
    lines += ["transport %s.dane.test { relay-tls verify }" % name for name in ("verify-lame", "verified")]
    os.chmod(authority.etc, 0o755)
    with Instance(lines).running("alice") as i:
        yield i


def probe(suite, domain, *options):
    r = suite.mw("relay", "test", "bob@" + domain, *options, check=False)
    return r.returncode, r.stdout + r.stderr


@pytest.fixture
def patience(suite, request):
    """Whoever never answers is not waited for as long as all others may take on a machine that stands still."""
    if request.node.callspec.params["name"] != "tlsa-lame":
        yield
        return
    with_conf(suite, lambda text: text + HURRY)
    suite.mw("reload")
    yield
    with_conf(suite, lambda text: text.replace(HURRY, ""))
    suite.mw("reload")


@pytest.mark.parametrize("name", CASES)
def test_case(suite, hosts, patience, name):
    status, there, absent, sni = CASES[name]
    for remote in hosts.values():
        remote.handshakes.clear()
    got, said = probe(suite, name if "." in name else name + ".dane.test")
    assert got == status, said
    assert all(words in said for words in there) and not any(words in said for words in absent), said
    if sni:
        assert [h.name for remote in hosts.values() for h in remote.handshakes] == [sni]


def test_all_cases_are_written_down():
    with open(os.path.join(ROOT, "doc", "dane.md")) as f:
        told = {name for text in re.findall(r"`([^`]+)`", f.read()) for name in text.split()}
    assert {re.sub("^wrong-", "", name) for name in CASES} - told == set()


# ---- messages ----


def send(suite, domain):
    c = client(suite)
    c.expect("MAIL FROM:<alice@example.com>", 250)
    c.expect("RCPT TO:<bob@%s.dane.test>" % domain, 250)
    qid = c.data("Subject: to %s\r\n\r\nHello.\r\n" % domain).split()[-1]
    c.close()
    return qid


def line_of(suite, event, qid):
    return until(lambda: next((line for line in suite.log().splitlines() if event in line and "qid=%s " % qid in line), None))


def test_the_right_one_gets_the_message(suite, hosts):
    hosts["ee"].messages.clear()
    line = line_of(suite, "relay_sent", send(suite, "secure"))
    assert 'tls="TLSv1.3 DANE"' in line and "host=mx.secure.dane.test" in line
    assert [to for _, to, _ in hosts["ee"].messages] == [["bob@secure.dane.test"]]


@pytest.mark.parametrize("domain, why", [("wrong-secure", "its certificate: "), ("name-other", "its certificate: "), ("no-starttls", "does not offer STARTTLS"), ("tlsa-bogus", "cannot be told now: ")])
def test_a_wrong_one_never_gets_it_and_the_sender_hears_why(suite, hosts, domain, why):
    for remote in hosts.values():
        remote.messages.clear()
    line = line_of(suite, "relay_deferred", send(suite, domain))
    assert "4.7.5" in line and why in line
    told = notification(suite, "bob@%s.dane.test" % domain)
    assert re.search(r"  host mx\.%s\.dane\.test( \[[0-9.]+\])?: 45" % domain, told) and "Remote-MTA" not in told  # no host has said that
    assert "as its domain demands (TLS)" in re.sub(r"\s+", " ", told)
    assert "Action: failed" in told and re.search("Status: [45].7.5", told) and why in re.sub(r"\s+", " ", told)
    assert not any(remote.messages for remote in hosts.values())


# ---- sessions that come again ----


@pytest.mark.parametrize("domain, where, again", [("no-records-tls", "ee", True), ("secure", "ee", False), ("ta-key-sha256", "ta", False), ("verified", "ta", False)])
def test_who_is_verified_shows_its_certificate_each_time(suite, hosts, domain, where, again):
    """A resumed session shows none: it is for those alone where anybody will do."""
    hosts[where].handshakes.clear()
    for _ in range(3):
        probe(suite, domain + ".dane.test")
    assert [h.resumed for h in hosts[where].handshakes][1:] == [again, again]


def test_another_certificate_is_seen_at_the_next_connection(suite, hosts, authority):
    before = hosts["ee"].tls
    assert probe(suite, "secure.dane.test")[0] == 0
    try:
        hosts["ee"].tls = context(authority.etc + "/bad.pem", authority.etc + "/bad.key")
        assert "4.7.5 its certificate: " in probe(suite, "secure.dane.test")[1]
        assert probe(suite, "wrong-secure.dane.test")[0] == 0  # that is who its records are for
    finally:
        hosts["ee"].tls = before
