"""An operation: something that is done while a call fails; and what all of them need."""
from answers import Answer
from mailwain import Imap, Smtp
from subject import SETTLE, Broken

LARGE = 100 * 1024  # more than travels in one message between daemons


def text_of(number, size=0):
    return "From: s@remote.test\r\nSubject: m%d\r\n\r\nmessage %d\r\n" % (number, number) + "0123456789abcde\r\n" * (size // 17)


def smtp_at_door(port):
    """(client, None), or (None, what was said in place of a greeting)."""
    c = Smtp(port, greeting=False, timeout=SETTLE)
    try:
        code, words = c.reply()
    except (EOFError, OSError) as e:
        return None, Answer("smtp", "no greeting: %s" % e, closed=True)
    return (c, None) if code == 220 else (None, Answer("smtp", "%d %s" % (code, words)))


def imap_at_door(port):
    try:
        c = Imap(port, timeout=SETTLE)
    except (EOFError, OSError) as e:
        return None, Answer("imap", "no greeting: %s" % e, closed=True)
    if c.greeting.startswith(b"* OK"):
        return c, None
    return None, Answer("imap", "NO [UNAVAILABLE] at the door: %s" % c.greeting.decode())


class Operation:
    """`run` does it, under the fault; `verify` says whether what is there is what the answers said."""

    name = ""
    accounts = ()
    only = None  # roles whose calls are made to fail; None: all that it makes
    calls = None  # of those of other operations it repeats, only these; None: all
    errors = None  # which; None: all
    twice = 0  # how often what may come twice did
    restarts = False  # the suite's processes are others afterwards
    may_log = ()  # events that would be wrong for others

    def __init__(self, subject):
        self.s = subject

    def prepare(self):
        """Once."""

    def before(self):
        """Before each run, without a fault."""

    def run(self):
        raise NotImplementedError

    def verify(self, answers):
        pass


def command(s, *words, input=None):
    r = s.mw(*words, check=False, input=input)
    return Answer("command", "exit %d %s" % (r.returncode, (r.stdout + r.stderr).strip()[:300]))


def expect(found, expected, what):
    if found != expected:
        raise Broken("%d %s in place of %d" % (found, what, expected))
