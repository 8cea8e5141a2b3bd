"""Files of the spool serve again: fewer are made than messages come, and none shows what was in it before."""
import glob
import os
import signal

from mailwain import until


def files(suite):
    """inode -> size of every file of the queue."""
    out = {}
    for path in glob.glob(os.path.join(suite.root, "spool", "queue", "*", "*")):
        try:
            st = os.stat(path)
        except FileNotFoundError:
            continue
        out[st.st_ino] = st.st_size
    return out


def subjects(client, mailbox="INBOX"):
    client.ok("SELECT " + mailbox)
    return [line for line in client.ok("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])") if b"FETCH" in line]


def send(suite, first, count, size=200):
    for n in range(first, first + count):
        suite.deliver("Subject: number %d\n\n%s\n" % (n, "x" * 60 + ("\n" + "y" * 70) * (size // 71)))


def test_files_serve_again(fresh):
    suite = fresh()
    suite.add("alice")
    send(suite, 0, 1)
    suite.wait_empty()
    seen = set(files(suite))
    for n in range(1, 120):
        send(suite, n, 1, size=(n * 37) % 3000)
        seen |= set(files(suite))
        if n % 10 == 0:
            suite.wait_empty()  # where delivering is slow, more of them are in use at once
    suite.wait_empty()
    assert len(seen) < 110, "%d files for 120 messages and what was handed out ahead" % len(seen)
    c = suite.imap("alice")
    assert len(subjects(c)) == 120
    for n in range(1, 121):
        text = b"".join(c.ok("FETCH %d (BODY.PEEK[])" % n))
        assert text.count(b"Subject: number") == 1 and text.count(b"Received:") == 1, text


def test_a_large_file_serves_once(fresh):
    """Its descriptor went to a worker."""
    suite = fresh()
    suite.add("alice")
    suite.deliver("Subject: large\n\n" + ("z" * 70 + "\n") * 1000)
    suite.wait_empty()
    until(lambda: max(files(suite).values(), default=0) < 40000, what="a file of 70 KB stays in the spool")


def test_killed_with_spare_files(fresh):
    """What is done with stays done with, and damages nothing."""
    suite = fresh()
    suite.add("alice")
    send(suite, 0, 100)
    suite.wait_empty()
    pid = suite.daemons()["queue"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: suite.daemons().get("queue") not in (pid, 0, None), what="queue was not started again")
    send(suite, 100, 5)
    suite.wait_empty()
    assert len(subjects(suite.imap("alice"))) == 105
    suite.stop()  # what is logged is in the log then
    log = suite.log()
    assert "queue_corrupt" not in log
    assert log.count("queue_delivered") == 105, "something was delivered again"
