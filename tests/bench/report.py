"""The table at the end, and the same figures with every run in build/bench.json."""
import json
import os
import platform
import statistics
import subprocess

import config
import imap
import logins

FORMAT = "%-42s %14s %18s %8s  %-22s %s"


def output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, cwd=config.ROOT).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def machine():
    return {
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "directory": config.DIRECTORY,
        "filesystem": output("stat", "-f", "-c", "%T", config.DIRECTORY),
        "postfix": output("postconf", "-d", "-h", "mail_version"),
        "dovecot": output("dovecot", "--version"),
        "commit": output("git", "rev-parse", "--short", "HEAD"),
    }


def about(m):
    text = "Mailwain %(commit)s, Postfix %(postfix)s, Dovecot %(dovecot)s; %(cpus)d CPUs, Linux %(kernel)s; %(directory)s on %(filesystem)s" % m
    if m["filesystem"] == "tmpfs":
        text += "\nThe scratch directory is in memory: syncs cost nothing there, and these figures say little (BENCH_DIR)."
    return text


def median(runs, key):
    return statistics.median(r[key] for r in runs) if runs else None


class Table:
    def __init__(self):
        self.lines = [FORMAT % ("", "Mailwain", "Postfix+Dovecot", "ratio", "wanted", ""), "-" * 112]

    def row(self, name, ours, theirs, unit, wanted="", met=None):
        ratio = ours / theirs if ours is not None and theirs else None
        if callable(met):
            met = met(ours, theirs, ratio) if ours is not None and (theirs is not None or "peers" not in config.SUITES) else None
        self.lines.append(FORMAT % (
            name, number(ours, unit), number(theirs, unit), "" if ratio is None else "%.2f" % ratio, wanted,
            {None: "", True: "yes", False: "NO"}[met]))

    def __str__(self):
        return "\n".join(line.rstrip() for line in self.lines)


def number(value, unit):
    if value is None:
        return "-"
    return ("%.0f %s" if value >= 100 else "%.1f %s" if value >= 10 else "%.2f %s") % (value, unit)


def less(_ours, _theirs, ratio):
    return None if ratio is None else ratio <= 1


def table(results):
    t = Table()
    for mode, name in (("kept", "sessions stay"), ("each", "a connection each")):
        if "inbound" in results:
            ours, theirs = (results["inbound"][mode].get(k) for k in ("mailwain", "peers"))
            t.row("Mail in, 20 sessions, " + name, median(ours, "rate"), median(theirs, "rate"), "/s", "4 times, aim 10",
                  lambda a, b, r: None if r is None else r >= 4)
            t.row("  CPU a message", median(ours, "cpu_ms"), median(theirs, "cpu_ms"), "ms")
            t.row("  (the clients' own)", median(ours, "driver_ms"), median(theirs, "driver_ms"), "ms")
    if "relay" in results:
        ours, theirs, sink = (results["relay"].get(k) for k in ("mailwain", "peers", "sink"))
        t.row("Mail through to another host, 20 sessions", median(ours, "rate"), median(theirs, "rate"), "/s", "3 times, aim 5", lambda a, b, r: None if r is None else r >= 3)
        t.row("  CPU a message", median(ours, "cpu_ms"), median(theirs, "cpu_ms"), "ms")
        t.row("  (clients and the other host alone)", median(sink, "rate"), None, "/s")
    if "imap" in results:
        for name in imap.OPERATIONS:
            ours, theirs = (median(results["imap"].get(k), name) for k in ("mailwain", "peers"))
            asked = not name.startswith("APPEND")
            t.row("IMAP %d: %s" % (config.IMAP_MESSAGES, name), ours and ours * 1000, theirs and theirs * 1000, "ms",
                  "not slower" if asked else "", less if asked else None)
    if "logins" in results:
        for mode in logins.MODES:
            ours, theirs = (results["logins"]["%s%d" % mode].get(k) for k in ("mailwain", "peers"))
            t.row(logins.NAMES[mode], median(ours, "rate"), median(theirs, "rate"), "/s", "at least as many", lambda a, b, r: None if r is None else r >= 1)
            t.row("  CPU a login", median(ours, "cpu_ms"), median(theirs, "cpu_ms"), "ms")
    if "handshakes" in results:
        ours, theirs = (results["handshakes"].get(k) for k in ("mailwain", "peers"))
        t.row("TLS handshakes (right: openssl s_server)", median(ours, "rate"), median(theirs, "rate"), "/s", "0.80 of its", lambda a, b, r: r >= 0.8)
        t.row("  CPU a handshake", median(ours, "cpu_ms"), median(theirs, "cpu_ms"), "ms")
    if "memory" in results:
        ours, theirs = (results["memory"].get(k, {}) for k in ("mailwain", "peers"))
        mib = lambda r, key: r[key] / 1024 if key in r else None
        t.row("Memory, idle after start", mib(ours, "idle"), mib(theirs, "idle"), "MiB", "under 32 MiB", lambda a, b, r: a < 32)
        t.row("  smtpd with 1,000 connections", mib(ours, "smtpd"), None, "MiB", "under 64 MiB",
              ours and ours["smtpd"] < 64 * 1024 and ours["smtpd_processes"] == 1)
        t.row("  an SMTP connection", ours.get("smtp_connection"), theirs.get("smtp_connection"), "KiB")
        t.row("  an idle TLS IMAP client", ours.get("imap_client"), theirs.get("imap_client"), "KiB", "less", less)
    return str(t)


def save(results):
    os.makedirs(config.BUILD, exist_ok=True)
    path = os.path.join(config.BUILD, "bench.json")
    with open(path + ".new", "w") as f:
        json.dump(results, f, indent=1)
        f.write("\n")
    os.rename(path + ".new", path)
