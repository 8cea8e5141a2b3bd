"""Delivery by another MTA: LMTP's answer is the account's own (D2)."""
from account import Account, message_of
from mail_paths import MailPath, without_workers
from mailwain import Smtp, until
from path import SETTLE, refused


def send_lmtp(suite, token, to):
    try:
        c = Smtp(suite.port("lmtp"), timeout=15)
        try:
            for command in ("LHLO client.test", "MAIL FROM:<s@remote.test>", "RCPT TO:<%s>" % to, "DATA"):
                code, _ = c.command(command)
                if code not in (250, 354):
                    return refused(code)
            c.send(message_of(token) + ".\r\n")
            code, _ = c.reply()
            if code != 250:
                return refused(code)
            c.send("QUIT\r\n")
            c.at_end()
            return True
        finally:
            c.close()
    except (OSError, EOFError, AssertionError, ValueError):
        return None


class LmtpPath(MailPath):
    def act(self):
        return send_lmtp(self.suite, self.token, self.to[0])

    def over(self):
        return True


class LmtpFront(LmtpPath):
    name = "lmtp-front"
    restarts = "lmtpd"

    def targets(self):
        without_workers(self.suite)
        return [self.suite.pid("lmtpd")], False

    def act(self):
        self.answer = super().act()
        return self.answer

    def settle(self):
        """What was not answered may still be with the worker, which goes on until it has filed it."""
        if self.answer is not True:
            until(lambda: not self.suite.accounts_processes("deliver"), SETTLE, "a worker without lmtpd does not end")


class LmtpWorker(LmtpPath):
    """What it had is given to the next worker, or the client is told to come again."""

    name = "lmtp-worker"

    def targets(self):
        return [without_workers(self.suite)], True


def lmtp_paths(suite):
    account = Account(suite, "alice")
    return [LmtpFront(suite, account), LmtpWorker(suite, account)]
