"""Starts the whole suite on what a power cut left, lets it finish, and says what is there in the lines of order.c."""
import hashlib
import os
import re
import time

from account import counters
from load import ACCOUNTS, AWAY, DOMAIN, FLAGS, WRITER, elsewhere
from mailwain import Imap

SECONDS = 30
DAMAGE = ("queue_corrupt", "store_corrupt", "store_rebuilt")  # events: a cut or a kill is none


def digest(message):
    head, _, body = message.partition(b"\r\n\r\n")
    told = re.findall(rb"\r\nSubject: ([^\r]*)", body) if b"multipart/report" in head else []
    key = b"told:" + told[-1] if told else body.split(b"\r", 1)[0]
    return key.decode("ascii", "replace") or "-", hashlib.blake2b(body, digest_size=16).hexdigest()


def is_elsewhere(row):
    """Its recipient is the first that is still to be served: of one whose mail may wait, none of ours is."""
    return row["status"] != "active" and (row["recipient"] == AWAY or row["recipient"].endswith("@" + elsewhere.DOMAIN))


def open_recipients(suite, row):
    if row["recipient_count"] == 1:
        return [row["recipient"]]
    return [r["recipient"] for r in suite.rows("queue", "show", row["id"]) if r.get("recipient_status") in ("pending", "deferred")]


def is_known(suite):
    """Queue has read its spool. Before, a list has not all, and says so."""
    return "the spool is being read" not in suite.mw("queue", "list").stdout


def wait_for_deliveries(suite):
    """Until only mail for other hosts is in the queue, and nothing in the drop; returns its rows, and what waits all the same."""
    deadline = time.monotonic() + SECONDS
    while True:
        late = ["letter %s in the drop is not taken" % name for name in os.listdir(os.path.join(suite.root, "data", "drop")) if name.startswith("new.")]
        late += [] if is_known(suite) else ["the spool is still being read"]
        rows = suite.rows("queue", "list")
        late += ["%s for %s still waits: %s" % (row["id"], row["recipient"], row["status"]) for row in rows if not is_elsewhere(row)]
        if not late or time.monotonic() > deadline:
            return rows, late
        time.sleep(0.05)


def damage(suite):
    """What was set aside or made again, and what the log says of it."""
    yield from ("spool file %s was set aside" % name for name in os.listdir(os.path.join(suite.root, "spool", "corrupt")))
    yield from ("in the log: " + line for line in suite.log().splitlines() if any(" %s " % event in line for event in DAMAGE))


def lines_of_mailbox(client, number, name):
    text = b" ".join(client.ok('EXAMINE "%s"' % name))
    yield "mailbox %s %s %s %s" % (number, *(re.search(word + rb" (\d+)", text).group(1).decode() for word in (b"UIDVALIDITY", b"UIDNEXT")), name)
    if b"* 0 EXISTS" in text:
        return
    for line in client.ok("UID FETCH 1:* (UID FLAGS BODY.PEEK[])"):
        if b" FETCH " not in line:
            continue
        uid = re.search(rb"UID (\d+)", line).group(1).decode()
        flags = sum(FLAGS.get(f, 0) for f in re.search(rb"FLAGS \(([^)]*)\)", line).group(1).decode().split())
        size = int(re.search(rb"BODY\[\] \{(\d+)\}", line).group(1))
        at = line.index(b"}\r\n") + 3
        yield "message %s %s %d %s %s" % (number, uid, flags, *digest(line[at : at + size]))


def lines(suite):
    rows, late = wait_for_deliveries(suite)
    yield from ("odd after %d s: %s" % (SECONDS, text) for text in late)
    for row in rows:
        message = suite.mw("queue", "cat", row["id"]).stdout
        yield "spool %s %s %s %s %s" % (row["id"], "held" if row["status"] == "held" else "open", *digest(message.replace("\n", "\r\n").encode()), " ".join(open_recipients(suite, row)))
    for row in suite.rows("account", "list"):
        yield "account %s %s" % (row["address"], row["id"])
        name, number = row["address"].split("@")[0], row["id"]
        if name not in ACCOUNTS and row["address"] != WRITER:
            continue
        check = suite.mw("store", "check", row["address"], check=False)
        if "no faults" not in check.stdout:
            yield "odd store check of %s: %s" % (name, (check.stdout + check.stderr).replace("\n", " "))
        client = Imap(suite.port("imap"), timeout=SECONDS)
        client.ok('LOGIN %s@%s "correct horse"' % (name, DOMAIN))
        for line in client.ok('LIST "" "*"'):
            yield from lines_of_mailbox(client, number, line.rsplit(b" ", 1)[1].strip(b'"').decode())
        client.close()
        yield "store %s good %d" % (number, counters(suite.account_dir(name))["modseq"])
    for row in suite.rows("alias", "list"):
        yield "alias %s" % row["address"]
    yield from ("odd " + text for text in damage(suite))


def text_of(suite):
    """The suite is started and stopped again."""
    suite.start()
    try:
        return "\n".join(lines(suite)) + "\n"
    finally:
        suite.stop()
