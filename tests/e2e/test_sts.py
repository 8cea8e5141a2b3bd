"""MTA-STS (RFC 8461): policies of domains in a world of its own, found by DNS, fetched by HTTPS, and hosts with right and wrong certificates."""
import os
import shutil
import signal
import ssl
import subprocess
import tempfile

import pytest

from dns import Dns, Zone
from mailwain import Instance, until
from policies import PolicyHost, policy
from remote import remote_host
from test_outbound import notification
from test_submission import client
from tls_files import issued, make

MODES = ("enforce", "testing", "none", "absent")
# Whose certificate is what: the last part of its address.
HOSTS = {"good": 11, "name": 12, "untrusted": 13, "expired": 14, "clear": 15}
WRONG = {"name": "hostname mismatch", "untrusted": "self-signed certificate", "expired": "certificate has expired", "clear": "does not offer STARTTLS"}
RESULTS = {"name": "certificate-host-mismatch", "untrusted": "certificate-not-trusted", "expired": "certificate-expired", "clear": "starttls-not-supported"}
# What is wrong with the policy, or with the web server that has it.
BROKEN = {
    "redirect": (lambda r: r.answer(b"", 302, Location="/elsewhere"), "its host answers 302, and not 200"),
    "large": (lambda r: r.answer(policy("enforce", "good.hosts.test") + b"x: y\n" * 20000), "its answer is too long"),
    "page": (lambda r: r.answer(policy("enforce", "good.hosts.test"), kind="text/html"), "its host sends 'text/html' and not text/plain"),
    "missing": (None, "its host answers 404, and not 200"),
    "malformed": (policy("enforce"), "the policy has no mx"),
    "stranger": (policy("enforce", "good.hosts.test"), "SSL"),
}


def single():
    """Domains with one host."""
    return [(mode, host) for mode in MODES for host in HOSTS]


def name_of(mode, host):
    return "%s-%s.sts.test" % (mode, host)


def records():
    out = domain_records("off", "clear.hosts.test.") + domain_records("plain", "good.hosts.test.")
    for mode, host in single():
        out += domain_records("%s-%s" % (mode, host), host + ".hosts.test.", txt=mode != "absent")
    for label in BROKEN:
        out += domain_records(label, "clear.hosts.test.")
    out += domain_records("other", "good.hosts.test.")
    out += domain_records("sub", "sub.good.hosts.test.")
    out += domain_records("two", "name.hosts.test.") + ["two MX 20 good.hosts.test."]
    out += domain_records("kept", "name.hosts.test.") + domain_records("changed", "name.hosts.test.") + domain_records("bogus", "name.hosts.test.")
    out += ['twice MX 10 clear.hosts.test.', '_mta-sts.twice TXT "v=STSv1; id=1"', '_mta-sts.twice TXT "v=STSv1; id=2"', "mta-sts.twice A 127.0.0.1"]
    return out


def domain_records(label, host, txt=True, id=1):
    return ["%s MX 10 %s" % (label, host), "mta-sts.%s A 127.0.0.1" % label] + (['_mta-sts.%s 1 TXT "v=STSv1; id=%s;"' % (label, id)] if txt else [])


@pytest.fixture(scope="module")
def files():
    where = tempfile.mkdtemp(prefix="mailwain-sts-")
    os.chmod(where, 0o755)
    made = {"good": issued(where, "good.hosts.test", stem="good", hosts=["good.hosts.test", "mx.deceived.test"]), "name": issued(where, "another.test", stem="name"),
            "expired": issued(where, "expired.hosts.test", stem="expired", ends="20210101000000Z"), "untrusted": make(where, "untrusted.hosts.test", stem="untrusted")}
    labels = [name_of(*pair) for pair in single()] + [label + ".sts.test" for label in [*BROKEN, "other", "sub", "two", "kept", "changed", "bogus", "twice", "off", "plain"] if label != "stranger"]
    made["web"] = issued(where, "web", stem="web", hosts=["mta-sts." + label for label in [*labels, "dane.test", "deceived.test", "name.hosts.test"]])
    made["ca"] = os.path.join(where, "ca.pem")
    yield made
    shutil.rmtree(where)


def context(pem, key):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.load_cert_chain(pem, key)
    return c


@pytest.fixture(scope="module")
def hosts(files):
    """One of each kind, on one port of several addresses."""
    with remote_host("127.0.0.11", tls=context(*files["good"])) as good:
        port = good.server_address[1]
        with remote_host("127.0.0.12", port, context(*files["name"])) as name, remote_host("127.0.0.13", port, context(*files["untrusted"])) as untrusted, \
                remote_host("127.0.0.14", port, context(*files["expired"])) as expired, remote_host("127.0.0.15", port) as clear:
            yield {"good": good, "name": name, "untrusted": untrusted, "expired": expired, "clear": clear}


@pytest.fixture(scope="module")
def web(files):
    host = PolicyHost(*files["web"])
    for mode, server in single():
        host.policies[name_of(mode, server)] = policy(mode, "*.hosts.test", end="\n" if server == "good" else "\r\n")
    for label, (said, _) in BROKEN.items():
        host.policies[label + ".sts.test"] = said
    host.policies["other.sts.test"] = policy("enforce", "mail.other.test", "*.other.test")
    host.policies["sub.sts.test"] = policy("enforce", "*.hosts.test")
    for label in ("two", "kept", "changed", "bogus", "twice", "off", "plain"):
        host.policies[label + ".sts.test"] = policy("enforce", "*.hosts.test")
    host.policies["name.hosts.test"] = policy("enforce", "name.hosts.test")
    host.policies["dane.test"] = policy("enforce", "somewhere.else.test")
    host.policies["deceived.test"] = policy("enforce", "mx.deceived.test")
    yield host
    host.close()


def digest_of(pem):
    key = subprocess.run(["openssl", "x509", "-in", pem, "-noout", "-pubkey"], check=True, capture_output=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=key, check=True, capture_output=True).stdout
    return subprocess.run(["openssl", "dgst", "-sha256"], input=der, check=True, capture_output=True).stdout.decode().split()[-1]


@pytest.fixture(scope="module")
def world(files, hosts):
    port = hosts["good"].server_address[1]
    sts = ['_mta-sts TXT "v=STSv1; id=1"', "mta-sts A 127.0.0.1"]
    zones = {
        "hosts.test": Zone(["%s A 127.0.0.%d" % pair for pair in HOSTS.items()] + ["sub.good A 127.0.0.11", *domain_records("name", ".")[1:]], signed=False),
        "sts.test": Zone(records(), signed=False),
        "dane.test": ["@ MX 10 mx", "mx A 127.0.0.13", "_%d._tcp.mx TLSA 3 1 1 %s" % (port, digest_of(files["untrusted"][0])), *sts],
        "deceived.test": ["@ MX 10 mx", "mx A 127.0.0.11", "_%d._tcp.mx TLSA 3 1 1 %s" % (port, "ab" * 32), *sts],
        "broken.test": Zone(["x TXT y"], fault="wrong"),
    }
    with Dns(zones).running() as dns:
        yield dns


def settings(world, web, hosts, files):
    return world.conf_lines() + ["relay-port %d" % hosts["good"].server_address[1], "relay-mta-sts-port %d" % web.port, "relay-authorities " + files["ca"],
                                 "fetch-authorities " + files["ca"], "fetch-private-networks 127.0.0.0/8", 'transport off.sts.test { relay-mta-sts no }',
                                 "transport plain.sts.test { relay-tls none }", "transport smart.sts.test { host name.hosts.test:%d }" % hosts["good"].server_address[1],
                                 "queue-retry-first 1h"]


@pytest.fixture(scope="module")
def suite(world, web, hosts, files):
    with Instance(settings(world, web, hosts, files)).running("alice") as i:
        yield i


def send(suite, domain):
    """A message to bob there, and the line of the log that says what became of it."""
    c = client(suite)
    c.expect("MAIL FROM:<alice@example.com>", 250)
    c.expect("RCPT TO:<bob@%s>" % domain, 250)
    qid = c.data(b"Subject: x\r\n\r\nHello.\r\n").split()[-1]
    c.close()
    return until(lambda: next((line for line in suite.log().splitlines() if "qid=%s " % qid in line and any(e in line for e in ("relay_sent", "relay_deferred", "relay_refused"))), None))


def got(remote, domain):
    return [m for m in remote.messages if "bob@" + domain in m[1]]


def change(world, suite, label, lines):
    """Other records of a domain below sts.test, of whose policy the id was 1; it returns when the name server has them."""
    zone = world.zones["sts.test"]
    zone.records = [r for r in zone.records if r.split()[0] not in (label, "mta-sts." + label, "_mta-sts." + label)] + lines
    world.write("sts.test")
    os.kill(world.process.pid, signal.SIGHUP)

    def is_told():
        suite.mw("resolve", "flush")
        r = suite.mw("resolve", "query", "_mta-sts.%s.sts.test" % label, "TXT", check=False)
        return "id=1" not in r.stdout + r.stderr

    until(is_told)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("mode", MODES)
def test_each_mode_with_each_certificate(suite, hosts, web, mode, host):
    """What is wrong keeps mail back where the policy says so, and says why; nowhere else."""
    domain = name_of(mode, host)
    line = send(suite, domain)
    fits = host == "good" or mode != "enforce"
    assert len(got(hosts[host], domain)) == fits
    assert ("relay_sent" in line) == fits
    tls = "none" if host == "clear" else '"TLSv1.3 MTA-STS"' if (mode, host) == ("enforce", "good") else "TLSv1.3"
    if fits:
        assert "tls=%s " % tls in line
    else:
        assert "4.7.5 " in line and WRONG[host] in line and "(the MTA-STS policy of %s wants TLS with a valid certificate)" % domain in line
    assert web.requests.count(domain) == (mode != "absent")
    noted = [r for r in suite.log().splitlines() if "relay_sts_testing" in r and "domain=%s " % domain in r]
    assert len(noted) == (mode == "testing" and host != "good")
    assert all("result=%s " % RESULTS[host] in r and WRONG[host] in r for r in noted)


def test_a_host_that_is_not_named(suite, hosts):
    line = send(suite, "other.sts.test")
    assert "relay_deferred" in line and "4.7.5 the MTA-STS policy of other.sts.test does not name the host good.hosts.test" in line
    line = send(suite, "sub.sts.test")  # an asterisk is one label
    assert "relay_deferred" in line and "does not name the host sub.good.hosts.test" in line
    assert not got(hosts["good"], "other.sts.test") + got(hosts["good"], "sub.sts.test")


def test_the_next_host_when_the_first_is_wrong(suite, hosts):
    line = send(suite, "two.sts.test")
    assert "relay_sent" in line and "host=good.hosts.test" in line and 'tls="TLSv1.3 MTA-STS"' in line
    assert not got(hosts["name"], "two.sts.test")


@pytest.mark.parametrize("label", BROKEN)
def test_a_policy_that_cannot_be_had(suite, hosts, web, label):
    """Mail goes, once it is clear that there is none; the web server is left alone afterwards, and no redirect is followed."""
    domain = label + ".sts.test"
    for _ in range(2):
        assert "relay_sent" in send(suite, domain)
    assert len(got(hosts["clear"], domain)) == 2
    told = [r for r in suite.log().splitlines() if "relay_sts_failed" in r and "domain=%s " % domain in r]
    assert len(told) == 1 and BROKEN[label][1] in told[0]
    assert web.requests.count(domain) == (label != "stranger") and "/elsewhere" not in web.requests


def test_two_records_are_none(suite, hosts, web):
    assert "relay_sent" in send(suite, "twice.sts.test") and "twice.sts.test" not in web.requests


def test_keys_from_dnssec_go_ahead(suite, hosts, world):
    """RFC 8461 section 2: a certificate of nobody's and a host that the policy does not name, but the right key; and all but the key."""
    line = send(suite, "dane.test")
    assert "relay_sent" in line and 'tls="TLSv1.3 DANE"' in line
    assert len(got(hosts["untrusted"], "dane.test")) == 1
    line = send(suite, "deceived.test")
    assert "relay_deferred" in line and "4.7.5 its certificate: " in line
    assert not got(hosts["good"], "deceived.test")


def test_a_policy_is_kept(suite, hosts, web, world, files):
    """Neither DNS nor the web server nor a restart takes it away; an administrator does."""
    domain = "kept.sts.test"
    assert "relay_deferred" in send(suite, domain)
    change(world, suite, "kept", ["kept MX 10 name.hosts.test."])
    web.policies[domain] = None
    suite.stop()
    suite.start()
    line = send(suite, domain)
    assert "relay_deferred" in line and "(the MTA-STS policy of kept.sts.test wants" in line
    row = next(r for r in suite.rows("relay", "policies") if r["domain"] == domain)
    assert (row["mode"], row["id"], row["hosts"]) == ("enforce", "1", "*.hosts.test") and row["until"] > row["fetched"]
    assert suite.rows("relay", "policies", domain) == [row]
    assert web.requests.count(domain) == 1
    suite.mw("relay", "forget", domain)
    assert suite.mw("relay", "policies", domain, check=False).returncode == 69
    assert suite.mw("relay", "forget", domain, check=False).returncode == 69
    assert "relay_sent" in send(suite, domain)


def test_a_forged_answer_takes_no_policy_away(suite, hosts, world):
    assert "relay_deferred" in send(suite, "bogus.sts.test")
    change(world, suite, "bogus", ["bogus MX 10 name.hosts.test.", "_mta-sts.bogus CNAME x.broken.test."])
    assert "relay_deferred" in send(suite, "bogus.sts.test")
    said = suite.mw("relay", "test", "bob@bogus.sts.test", check=False).stdout
    assert "the MTA-STS policy of bogus.sts.test: its TXT record cannot be told now" in said
    assert not got(hosts["name"], "bogus.sts.test")


def test_another_id_is_another_policy(suite, hosts, web, world):
    domain = "changed.sts.test"
    assert "relay_deferred" in send(suite, domain)
    web.policies[domain] = policy("none")
    change(world, suite, "changed", domain_records("changed", "name.hosts.test.", id=2))
    assert "relay_sent" in send(suite, domain)
    assert web.requests.count(domain) == 2
    assert suite.rows("relay", "policies", domain)[0]["mode"] == "none"


def test_a_smarthost_has_a_policy_of_its_own(suite, hosts):
    """RFC 8461 section 3.4"""
    line = send(suite, "smart.sts.test")
    assert "relay_deferred" in line and "hostname mismatch (the MTA-STS policy of name.hosts.test wants" in line
    assert not got(hosts["name"], "smart.sts.test")


def test_the_sender_is_told_why(fresh, world, web, hosts, files):
    i = fresh(settings(world, web, hosts, files)[:-1] + ["queue-lifetime 1s", "queue-retry-first 1s"])
    i.add("alice")
    send(i, "enforce-expired.sts.test")
    text = " ".join(notification(i, "enforce-expired.sts.test").split())
    assert "certificate has expired" in text and "the MTA-STS policy of enforce-expired.sts.test wants TLS with a valid certificate" in text


def test_it_is_told_by_relay_test(suite):
    said = suite.mw("relay", "test", "bob@enforce-good.sts.test").stdout
    assert "enforce-good.sts.test has an MTA-STS policy, enforce, id 1, of the hosts *.hosts.test" in said
    assert "TLS: mta-sts" in said and "TLSv1.3 MTA-STS" in said.splitlines()[-1]
    said = suite.mw("relay", "test", "bob@absent-good.sts.test").stdout
    assert "absent-good.sts.test has no MTA-STS policy in force" in said
    said = suite.mw("relay", "test", "bob@testing-name.sts.test").stdout
    assert "hostname mismatch; the MTA-STS policy is in testing, mail goes all the same" in said


def test_who_has_the_last_word(suite, web):
    """The administrator: policies may be passed over, and TLS left out, for some domains."""
    for domain in ("off.sts.test", "plain.sts.test"):
        line = send(suite, domain)
        assert "relay_sent" in line and "tls=none " in line and domain not in web.requests
    assert "MTA-STS" not in suite.mw("relay", "test", "bob@off.sts.test").stdout
