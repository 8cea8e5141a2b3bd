"""What a client was told, and whether that was right while a call of the machine failed."""
import re

FRONTS = ("smtpd", "lmtpd", "imapd")
FULL = ("ENOSPC", "EDQUOT")


class Answer:
    """closed: the connection ended without it, which is right only when there was no memory for the connection itself."""

    def __init__(self, protocol, text, closed=False):
        self.protocol, self.text, self.closed = protocol, text, closed
        self.ok = {"smtp": text.startswith("250"), "imap": text.startswith("OK"), "command": text.startswith("exit 0")}[protocol]

    def __repr__(self):
        return "%s: %s" % (self.protocol, self.text)


def wrong(answer, role, call, error):
    """What is wrong with it when `error` was injected; None: nothing. None is told for good, nothing is said to be damaged."""
    if answer.ok:
        return None
    if answer.closed:
        return None if call == "alloc" and role in FRONTS else "closed without an answer"
    if answer.protocol == "smtp":
        if not re.match(r"4\d\d 4\.\d\.\d ", answer.text):
            return "no temporary reply with an enhanced code"
        if error in FULL and not answer.text.startswith("452 4.3.1 "):
            return "not 452 4.3.1, as a full disk has"
        if error not in FULL and answer.text.startswith("452 4.3.1 "):
            return "says that the disk is full"
        return None
    if answer.protocol == "imap":
        return None if re.match(r"NO \[(UNAVAILABLE|INUSE|OVERQUOTA)\] ", answer.text) else "not NO [UNAVAILABLE]"
    if not re.match(r"exit (71|74|75) .", answer.text):
        return "not a temporary exit code with a reason"
    return None
