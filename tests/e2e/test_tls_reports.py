"""TLS reports (RFC 8460): mail goes to hosts that are right and wrong in every way, and the domains that ask are told, by mail and by HTTPS."""
import email
import gzip
import json
import os
import re
import shutil
import tempfile
import time

import pytest

from dns import Dns, Zone
from mailwain import Instance, until
from policies import Handler, PolicyHost, policy
from remote import remote_host
from test_submission import client
from test_sts import context, digest_of
from tls_files import issued, make

# The last part of a host's address.
HOSTS = {"good": 21, "untrusted": 23, "expired": 24, "clear": 25}
# How its mail fares: the domain's host, what the report says of the policy, and of the failure.
DOMAINS = {
    "dane.test": ("good", "tlsa", None),
    "deceived.test": ("good", "tlsa", "validation-failure"),
    "unusable.test": ("good", "tlsa", "tlsa-invalid"),
    "bogus.test": ("good", "tlsa", "dnssec-invalid"),
    "nostarttls.test": ("clear", "tlsa", "starttls-not-supported"),
    "required.test": ("good", "tlsa", "dane-required"),
    "any.test": ("untrusted", "no-policy-found", None),
    "plain.test": ("clear", "no-policy-found", "starttls-not-supported"),
    "expired.test": ("expired", "no-policy-found", "certificate-expired"),
    "untrusted.test": ("untrusted", "no-policy-found", "certificate-not-trusted"),
    "sts.test": ("expired", "sts", "certificate-expired"),
    "named.test": ("good", "sts", "certificate-host-mismatch"),
    "webless.test": ("good", "sts", "sts-policy-fetch-error"),
}
SIGNED = {name for name, (_, kind, _) in DOMAINS.items() if kind == "tlsa"} - {"required.test"}
PLACES = "mailto:tls%2Breports@reports.test"


class Receiver(Handler):
    """Takes reports by POST as well."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        owner = self.server.owner
        owner.reports.append((self.path, dict(self.headers), body))
        self.answer(b"", owner.status)


@pytest.fixture(scope="module")
def files():
    where = tempfile.mkdtemp(prefix="mailwain-tls-reports-")
    os.chmod(where, 0o755)
    made = {"good": issued(where, "mx.dane.test", stem="good"), "untrusted": make(where, "mx.untrusted.test", stem="untrusted"),
            "expired": issued(where, "mx.expired.test", stem="expired", ends="20210101000000Z", hosts=["mx.expired.test", "mx.sts.test"]),
            "web": issued(where, "web", stem="web", hosts=["web.test", "mta-sts.sts.test", "mta-sts.named.test", "mta-sts.webless.test"])}
    made["ca"] = os.path.join(where, "ca.pem")
    yield made
    shutil.rmtree(where)


@pytest.fixture(scope="module")
def hosts(files):
    with remote_host("127.0.0.21", tls=context(*files["good"])) as good:
        port = good.server_address[1]
        with remote_host("127.0.0.23", port, context(*files["untrusted"])) as untrusted, remote_host("127.0.0.24", port, context(*files["expired"])) as expired, \
                remote_host("127.0.0.25", port) as clear:
            yield {"good": good, "untrusted": untrusted, "expired": expired, "clear": clear}


@pytest.fixture(scope="module")
def web(files):
    host = PolicyHost(*files["web"])
    host.server.RequestHandlerClass = Receiver
    host.reports, host.status = [], 201
    host.policies["sts.test"] = policy("enforce", "*.sts.test")
    host.policies["named.test"] = policy("testing", "*.named.test")
    yield host
    host.close()


def records_of(name, port, digest, web):
    host, kind, failure = DOMAINS[name]
    lines = ["@ MX 10 mx", "mx A 127.0.0.%d" % HOSTS[host], '_smtp._tls 1 TXT "v=TLSRPTv1; rua=" "%s"' % PLACES]
    if kind == "sts":
        lines += ['_mta-sts TXT "v=STSv1; id=1"', "mta-sts A 127.0.0.1"]
    data = {"dane.test": "3 1 1 " + digest, "deceived.test": "3 1 1 " + "ab" * 32, "unusable.test": "0 0 1 " + "ab" * 32, "nostarttls.test": "3 1 1 " + digest}.get(name)
    return lines + (["_%d._tcp.mx TLSA %s" % (port, data)] if data else [])


@pytest.fixture(scope="module")
def world(files, hosts, web):
    port, digest = hosts["good"].server_address[1], digest_of(files["good"][0])
    zones = {name: Zone(records_of(name, port, digest, web), signed=name in SIGNED) for name in DOMAINS}
    any_host = ["@ MX 10 mx", "mx A 127.0.0.21"]
    zones.update({
        "_tcp.mx.bogus.test": Zone(["_%d TLSA 3 1 1 %s" % (port, digest)], fault="wrong"),
        "reports.test": Zone(["@ MX 10 mx", "mx A 127.0.0.25", '_smtp._tls TXT "v=TLSRPTv1; rua=%s"' % PLACES], signed=False),
        "strict.test": ["@ MX 10 mx", "mx A 127.0.0.21", "_%d._tcp.mx TLSA 3 1 1 %s" % (port, "cd" * 32)],
        "web.test": Zone(["@ A 127.0.0.1"], signed=False),
        "posted.test": Zone(any_host + ['_smtp._tls TXT "v=TLSRPTv1; rua=https://web.test:%d/in?x=1"' % web.port], signed=False),
        "both.test": Zone(any_host + ['_smtp._tls TXT "v=TLSRPTv1; rua=https://web.test:%d/no,%s; x=y;"' % (web.port, PLACES)], signed=False),
        "tostrict.test": Zone(any_host + ['_smtp._tls TXT "v=TLSRPTv1; rua=mailto:tls@strict.test"'], signed=False),
        "silent.test": Zone(any_host + ['_smtp._tls TXT "v=spf1 -all"'], signed=False),
        "twice.test": Zone(any_host + ['_smtp._tls TXT "v=TLSRPTv1; rua=%s"' % PLACES, '_smtp._tls TXT "v=TLSRPTv1; rua=mailto:x@reports.test"'], signed=False),
    })
    with Dns(zones).running() as dns:
        yield dns


def settings(world, web, hosts, files, *more):
    return world.conf_lines() + ["relay-port %d" % hosts["good"].server_address[1], "relay-mta-sts-port %d" % web.port, "relay-authorities " + files["ca"],
                                 "fetch-authorities " + files["ca"], "fetch-private-networks 127.0.0.0/8", "transport expired.test { relay-tls verify }",
                                 "transport untrusted.test { relay-tls verify }", "transport required.test { relay-tls dane-only }", "queue-retry-first 1h",
                                 'relay-tls-reports-organization "Example & Co"', "relay-tls-reports-contact tls-reports@example.com", *more]


@pytest.fixture(scope="module")
def suite(world, web, hosts, files):
    with Instance(settings(world, web, hosts, files)).running("alice") as i:
        yield i


@pytest.fixture(autouse=True)
def fresh(suite, hosts, web):
    """Nothing is counted, nothing waits, and a message makes a connection of its own; the day, in UTC, does not end in mid-test."""
    left = 86400 - time.time() % 86400
    if left < 60:
        time.sleep(left)
    yield
    suite.mw("reload")
    web.status = 201
    suite.mw("relay", "report", "--send", check=False)
    web.reports = []
    for row in suite.rows("queue", "list"):
        suite.mw("queue", "delete", row["id"], check=False)
    suite.wait_empty()  # one that is being tried goes when that has ended
    for host in hosts.values():
        host.messages = []


def send(suite, *domains):
    """A message each."""
    for domain in domains:
        c = client(suite, "alice@example.com")
        c.expect("MAIL FROM:<alice@example.com>", 250)
        c.expect("RCPT TO:<bob@%s>" % domain, 250)
        c.expect("DATA", 354)
        c.expect("Subject: x\r\n\r\nx\r\n.", 250)
        c.close()


def counted(suite, domain):
    return [row for row in suite.rows("relay", "report") if row["domain"] == domain]


def send_and_count(suite, *domains):
    send(suite, *domains)
    for domain in domains:
        until(lambda: counted(suite, domain))


def rows_of_send(suite, *args, check=True):
    r = suite.mw("relay", "report", *args, "--send", "--json", check=check)
    return {row["domain"]: row for row in map(json.loads, r.stdout.splitlines())}


def mailed(host, about):
    """The report's message about a domain, when it has come."""
    def found():
        for sender, to, text in host.messages:
            m = email.message_from_string(text)
            if m["TLS-Report-Domain"] == about:
                return sender, to, m
        return None

    return until(found)


def check_report(report, domain):
    """Section 4.4: what there must be, and nothing else."""
    assert set(report) == {"organization-name", "date-range", "contact-info", "report-id", "policies"}
    assert report["organization-name"] == "Example & Co" and report["contact-info"] == "tls-reports@example.com"
    for end in ("start-datetime", "end-datetime"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", report["date-range"][end])
    assert report["date-range"]["start-datetime"] <= report["date-range"]["end-datetime"]
    for p in report["policies"]:
        assert set(p) <= {"policy", "summary", "failure-details"} and {"policy", "summary"} <= set(p)
        assert set(p["policy"]) <= {"policy-type", "policy-string", "policy-domain", "mx-host"}
        assert set(p["summary"]) == {"total-successful-session-count", "total-failure-session-count"}
        details = p.get("failure-details", [])
        assert sum(d["failed-session-count"] for d in details) == p["summary"]["total-failure-session-count"]
        for d in details:
            assert set(d) <= {"result-type", "sending-mta-ip", "receiving-mx-hostname", "receiving-ip", "failed-session-count", "failure-reason-code"}


def report_in(message, domain):
    """Section 5.3, held against a message; the report in it."""
    assert message.get_content_type() == "multipart/report" and message.get_param("report-type") == "tlsrpt"
    assert message["From"] == "<tls-reports@example.com>" and message["TLS-Report-Submitter"] == "example.com" and message["TLS-Required"] == "No"
    text, attached = message.get_payload()
    assert text.get_content_type() == "text/plain" and attached.get_content_type() == "application/tlsrpt+gzip"
    report = json.loads(gzip.decompress(attached.get_payload(decode=True)))
    subject = re.sub(r"\s+", " ", message["Subject"])
    assert subject == "Report Domain: %s Submitter: example.com Report-ID: <%s>" % (domain, report["report-id"])
    assert re.fullmatch(r"example\.com!%s!\d+!\d+\.json\.gz" % re.escape(domain), attached.get_filename())
    check_report(report, domain)
    return report


def test_each_domain_is_told_what_failed(suite, hosts):
    send_and_count(suite, *DOMAINS)
    for domain in ("webless.test", "named.test"):  # the policy is fetched beside the mail
        until(lambda: any(row["policy"] == "sts" for row in counted(suite, domain)))
    rows = rows_of_send(suite)
    for domain, (host, kind, failure) in DOMAINS.items():
        assert rows[domain]["result"] == "sent", rows[domain]
        sender, to, message = mailed(hosts["clear"], domain)
        assert sender == "tls-reports@example.com" and to == ["tls+reports@reports.test"]
        report = report_in(message, domain)
        p = next(p for p in report["policies"] if p["policy"]["policy-type"] == kind)
        assert p["policy"]["policy-domain"] == ("mx." + domain if kind == "tlsa" else domain), report
        results = {d["result-type"] for d in p.get("failure-details", [])}
        assert results == ({failure} if failure else set()), (domain, report)
        if failure is None:
            assert p["summary"]["total-successful-session-count"] == 1
        for d in p.get("failure-details", []):
            if "receiving-ip" in d:
                assert d["receiving-ip"] == "127.0.0.%d" % HOSTS[host] and d["sending-mta-ip"].startswith("127.") and d["receiving-mx-hostname"] == "mx." + domain
            assert d["failure-reason-code"], d
    assert counted(suite, "dane.test") == []


def test_policies_are_told(suite, hosts, world):
    send_and_count(suite, "deceived.test", "sts.test")
    shown = suite.mw("relay", "report", "deceived.test").stdout
    p, = json.loads(shown)["policies"]
    assert p["policy"]["policy-string"] == ["3 1 1 " + "ab" * 32]
    assert "TLSA" in p["failure-details"][0]["failure-reason-code"]
    p, = json.loads(suite.mw("relay", "report", "sts.test").stdout)["policies"]
    assert p["policy"]["policy-string"] == ["version: STSv1", "mode: enforce", "max_age: 86400", "mx: *.sts.test"] and p["policy"]["mx-host"] == ["*.sts.test"]


def test_by_https(suite, web, hosts):
    send_and_count(suite, "posted.test")
    assert rows_of_send(suite, "posted.test")["posted.test"]["result"] == "sent"
    (path, fields, body), = web.reports
    assert path == "/in?x=1" and fields["Content-Type"] == "application/tlsrpt+gzip"
    report = json.loads(gzip.decompress(body))
    check_report(report, "posted.test")
    assert report["policies"][0]["summary"]["total-successful-session-count"] == 1


def test_what_is_not_taken_is_tried_again_as_the_same(suite, web, hosts):
    send_and_count(suite, "posted.test")
    web.status = 503
    row = rows_of_send(suite, "posted.test", check=False)["posted.test"]
    assert row["result"] == "put off" and "503" in row["why"]
    until(lambda: "relay_report_deferred domain=posted.test attempts=1" in suite.log())
    row, = counted(suite, "posted.test")
    assert row["state"] == "tried 1 times"
    web.status = 200
    assert rows_of_send(suite, "posted.test")["posted.test"]["result"] == "sent"
    first, second = (json.loads(gzip.decompress(body)) for _, _, body in web.reports)
    assert first == second
    assert counted(suite, "posted.test") == []


def test_one_of_several_places_is_enough(suite, web, hosts):
    send_and_count(suite, "both.test")
    web.status = 404
    row = rows_of_send(suite, "both.test")["both.test"]
    assert row["result"] == "sent" and "404" in row["why"]
    report_in(mailed(hosts["clear"], "both.test")[2], "both.test")
    assert counted(suite, "both.test") == []


def test_who_does_not_ask_gets_none(suite, web, hosts):
    send_and_count(suite, "silent.test", "twice.test")
    rows = rows_of_send(suite)
    assert rows["silent.test"]["result"] == rows["twice.test"]["result"] == "not asked for"
    assert "several" in rows["twice.test"]["why"]
    until(lambda: suite.rows("queue", "list") == [])
    assert web.reports == [] and counted(suite, "twice.test") == []
    assert not any("TLS-Report-Domain" in text for host in hosts.values() for _, _, text in host.messages)


def test_a_report_goes_whatever_the_receivers_policy_says_and_is_in_none(suite, hosts):
    """The TLSA records of strict.test fit nobody: other mail does not get there."""
    send_and_count(suite, "strict.test", "tostrict.test")
    assert [m for m in hosts["good"].messages if m[1] == ["bob@strict.test"]] == []
    before = counted(suite, "strict.test")
    assert before[0]["failures"] == 1
    rows_of_send(suite, "tostrict.test")
    report_in(mailed(hosts["good"], "tostrict.test")[2], "tostrict.test")
    assert counted(suite, "strict.test") == before


def test_counters_outlive_a_restart_and_an_early_report(suite, web):
    before = suite.log().count("relay_sent")
    send(suite, "posted.test")
    until(lambda: suite.log().count("relay_sent") > before)  # `relay report` itself would write what was counted
    suite.mw("stop")
    suite.mw("start")
    send(suite, "posted.test")
    row, = until(lambda: [r for r in counted(suite, "posted.test") if r["successes"] == 2])
    assert row["state"] == "counting"
    rows_of_send(suite, "posted.test")
    end = json.loads(gzip.decompress(web.reports[0][2]))["date-range"]["end-datetime"]
    suite.mw("reload")  # the connection that is open is used no more
    send_and_count(suite, "posted.test")
    begin = json.loads(suite.mw("relay", "report", "posted.test").stdout)["date-range"]["start-datetime"]
    assert begin > end


def test_none_are_counted_when_they_are_off(world, web, hosts, files):
    with Instance(settings(world, web, hosts, files, "relay-tls-reports no")).running("alice") as i:
        send(i, "posted.test")
        until(lambda: "relay_sent" in i.log())
        assert i.rows("relay", "report") == []
        r = i.mw("relay", "report", "--send", check=False)
        assert r.returncode == 69 and "relay-tls-reports is no" in r.stderr
        said = i.mw("relay", "status").stdout + i.mw("relay", "status").stderr
        assert "0 without TLS, 1 not verified, 0 verified, 0 MTA-STS, 0 DANE; 0 TLSv1.2, 1 TLSv1.3" in said
